/* SPDX-License-Identifier: MIT */
#include "engine/loan.h"

#include "base/must.h"
#include "store/store.h"

static_assert(sizeof(struct loan) % 8 == 0, "a pool's slot");

size_t loans_footprint(void) {
    return pool_footprint(sizeof(struct loan), LOANS_MAX);
}

void loans_init(struct loans *loans, void *memory) {
    *loans = (struct loans){0};
    pool_init(&loans->pool, memory, sizeof(struct loan), LOANS_MAX);
}

struct loan *loan_make(struct loans *loans, struct frame *frame, uint32_t bytes) {
    if (loans->bytes + bytes > loans->bytes_max) {
        return NULL;
    }
    struct loan *loan = pool_get(&loans->pool);
    if (loan) {
        frame_lease_again(frame);
        *loan = (struct loan){.frame = frame, .bytes = bytes};
        loans->bytes += bytes;
    }
    return loan;
}

void loan_end(struct loans *loans, struct loan *loan) {
    must(loans->bytes >= loan->bytes);
    loans->bytes -= loan->bytes;
    frame_give_back(loan->frame);
    pool_put(&loans->pool, loan);
}
