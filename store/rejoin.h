/* SPDX-License-Identifier: MIT */
#pragma once

/* rejoin — tiers that go away while the store serves, and come back: a duty of the porter.
 *
 * Every second, and at once where operations failed as those of a lost disk do, the TIER file of
 * each tier is read through its path. One that cannot be read, or is another's, means that the tier
 * is missing: what lies there is answered with STORE_RETRY, logs leave it, nothing is made or
 * dropped on it. Once it is there again its files are opened anew, checked to be the same, and the
 * old descriptors closed when no reader holds them (segment.h: pins). A tier that was missing when
 * the store was opened is taken up then: store/arrival.h.
 *
 * Thread: the porter. */

#include "base/base.h"

struct porter;

must_check int rejoin_open(struct porter *porter);
uint32_t rejoin_step(struct porter *porter);
void rejoin_close(struct porter *porter);
