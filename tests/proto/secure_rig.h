/* SPDX-License-Identifier: MIT */
#pragma once

/* Two ends of an encrypted channel in one process, with the bytes between them in our hands. */

#include "base/must.h"
#include "proto/libp2p/secure.h"

#include <stdlib.h>
#include <string.h>

/* secure_memory that counts, and that can refuse. */
struct rig_memory {
    struct secure_memory memory;
    uint32_t held, takes, refuse_after; /* refuse_after: takes that still succeed */
    size_t held_bytes, most_bytes;
};

static inline void *rig_take(void *context, size_t bytes) {
    struct rig_memory *rig = context;
    if (rig->takes >= rig->refuse_after) {
        return NULL;
    }
    rig->takes++;
    rig->held++;
    rig->held_bytes += bytes;
    rig->most_bytes = rig->held_bytes > rig->most_bytes ? rig->held_bytes : rig->most_bytes;
    return malloc(bytes);
}

static inline void rig_give(void *context, void *memory, size_t bytes) {
    struct rig_memory *rig = context;
    rig->held--;
    rig->held_bytes -= bytes;
    free(memory);
}

static inline void rig_memory_init(struct rig_memory *rig) {
    *rig = (struct rig_memory){.refuse_after = UINT32_MAX};
    rig->memory = (struct secure_memory){.take = rig_take, .give = rig_give, .context = rig};
    rig->memory.scratch = malloc(SECURE_SCRATCH_BYTES);
}

static inline void rig_memory_fini(struct rig_memory *rig) {
    must(rig->held == 0);
    free(rig->memory.scratch);
}

/* One end and what is on its way to it. */
struct rig_end {
    struct secure *secure;
    uint8_t in[65536];
    size_t in_count;
    int result; /* of the last step */
};

struct rig {
    struct secure_self *dialer_self, *listener_self;
    struct rig_memory dialer_memory, listener_memory;
    struct rig_end dialer, listener;
};

static inline void rig_seed(uint8_t seed[32], uint8_t number) {
    memset(seed, number, 32);
}

static inline void rig_open(struct rig *rig, enum secure_kind kind,
                            const struct peer_id *dialer_expects,
                            const struct peer_id *listener_expects) {
    uint8_t seed[32];
    memset(rig, 0, sizeof *rig);
    rig_seed(seed, 1);
    must(secure_self_open(seed, &rig->dialer_self) == 0);
    rig_seed(seed, 2);
    must(secure_self_open(seed, &rig->listener_self) == 0);
    rig_memory_init(&rig->dialer_memory);
    rig_memory_init(&rig->listener_memory);
    rig->dialer.secure =
        secure_open(rig->dialer_self, kind, true, dialer_expects, &rig->dialer_memory.memory);
    rig->listener.secure = secure_open(rig->listener_self, kind, false, listener_expects,
                                       &rig->listener_memory.memory);
    must(rig->dialer.secure && rig->listener.secure);
    rig->dialer.result = rig->listener.result = SECURE_MORE;
}

static inline void rig_close(struct rig *rig) {
    secure_close(rig->dialer.secure);
    secure_close(rig->listener.secure);
    secure_self_close(rig->dialer_self);
    secure_self_close(rig->listener_self);
    rig_memory_fini(&rig->dialer_memory);
    rig_memory_fini(&rig->listener_memory);
}

/* Steps one end with at most `piece` of what waits for it; its answer goes to the other. What may
 * change bytes on their way is `spoil`. Returns: whether anything happened. */
typedef void (*rig_spoil_fn)(void *context, bool to_listener, uint8_t *bytes, size_t count);

static inline bool rig_step(struct rig_end *end, struct rig_end *other, size_t piece,
                            rig_spoil_fn spoil, void *context, bool to_listener) {
    uint8_t out[SECURE_HANDSHAKE_OUT_MAX];
    size_t used = 0, made = 0;
    bool moved = false;
    for (size_t give = piece;; give += piece) { /* what a step left is given again, with more */
        give = give < end->in_count ? give : end->in_count;
        if (end->result == SECURE_MORE && secure_wants_step(end->secure, end->in, give)) {
            end->result = secure_step(end->secure, end->in, give, &used, out, &made);
            must(used <= give && made <= sizeof out);
            memmove(end->in, end->in + used, end->in_count - used);
            end->in_count -= used;
            must(other->in_count + made <= sizeof other->in);
            memcpy(other->in + other->in_count, out, made);
            if (spoil) {
                spoil(context, to_listener, other->in + other->in_count, made);
            }
            other->in_count += made;
            moved |= used > 0 || made > 0;
            give = 0;
        }
        if (end->result != SECURE_MORE || give >= end->in_count) {
            return moved;
        }
    }
}

/* Runs the handshake until nothing moves. */
static inline void rig_shake(struct rig *rig, size_t piece, rig_spoil_fn spoil, void *context) {
    bool moved = true;
    while (moved) {
        moved = rig_step(&rig->dialer, &rig->listener, piece, spoil, context, true);
        moved |= rig_step(&rig->listener, &rig->dialer, piece, spoil, context, false);
    }
}
