/* SPDX-License-Identifier: MIT */
#pragma once

/* loan — a part of a frame that the kernel sends from without a copy.
 *
 *   loan_make (takes a lease) ──► send ──► notification, or a send that failed ──► loan_end
 *
 * The kernel says when it needs the bytes no more: once the peer has acknowledged them, or the
 * connection was reset. That may be long after the send has completed and after its connection has
 * ended, so a loan holds a lease of its own and only remembers the connection. What all loans hold
 * together is bounded: a peer that stops reading keeps no more frames from being evicted than
 * that, and whoever asks beyond it sends plainly.
 *
 * Thread: the net tile that owns them. */

#include "base/base.h"
#include "base/pool.h"

struct frame;

#define LOANS_MAX 1024u /* of one net tile */

struct loan {
    struct frame *frame;
    uint32_t bytes;
    uint32_t conn, generation; /* the connection it was sent on, which may be gone */
};

struct loans {
    struct pool pool;
    uint64_t bytes, bytes_max;
};

size_t loans_footprint(void);
void loans_init(struct loans *loans, void *memory);
/* Another lease on a frame its caller leases. Returns: NULL: too much is lent. */
struct loan *loan_make(struct loans *loans, struct frame *frame, uint32_t bytes);
void loan_end(struct loans *loans, struct loan *loan);
