/* SPDX-License-Identifier: MIT */
#include "engine/stall.h"

uint64_t stall_look(struct stall *stall, bool waiting, uint64_t done) {
    bool stands = waiting && done == stall->done;
    stall->done = done;
    stall->still = stands ? stall->still + 1 : 0;
    if (!stands) {
        stall->said = 0;
        return 0;
    }
    uint64_t next = stall->said > 0 ? 2 * stall->said : STALL_FIRST_S;
    if (stall->still < next) {
        return 0;
    }
    stall->said = stall->still;
    return stall->still;
}
