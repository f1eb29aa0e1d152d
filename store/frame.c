/* SPDX-License-Identifier: MIT */
#include "store/frame.h"

#include "base/bits.h"
#include "base/err.h"
#include "base/must.h"
#include "store/vm.h"

#include <errno.h>

#define CHARGE_MIN    192u   /* header and the least body: decides how many headers there can be */
#define ALIGNED_BYTES 16384u /* bodies from here on start a page: they may be sent by sendfile */

static uint8_t empty_body[1];

int frame_home_open(struct frame_home *home, uint32_t keeper, uint64_t budget_bytes,
                    const struct store_memory *memory) {
    *home = (struct frame_home){.keeper = keeper, .memory = *memory, .free_list = FRAME_NONE};
    atomic_init(&home->dead, FRAME_NONE);
    /* More headers than the budget pays for: the dead but leased ones, and fills on the way. */
    uint64_t max = budget_bytes / CHARGE_MIN + 4096;
    home->frames_max = (uint32_t)min_u64(max, FRAMES_MAX);
    home->frames = vm_map_huge((size_t)home->frames_max * sizeof *home->frames);
    return home->frames ? 0 : err_raise(-ENOMEM);
}

void frame_home_close(struct frame_home *home) {
    if (!home->frames) {
        return;
    }
    (void)frame_home_poll(home);
    for (uint32_t i = 0; i < home->frames_top; i++) {
        struct frame *frame = &home->frames[i];
        if (frame->body && frame->bytes > 0) {
            home->memory.give(home->memory.context, frame->body, frame->bytes);
        }
    }
    vm_unmap(home->frames, (size_t)home->frames_max * sizeof *home->frames);
    home->frames = NULL;
}

uint32_t frame_charge(uint32_t bytes) {
    uint32_t unit = bytes >= ALIGNED_BYTES ? PAGE_BYTES : 16;
    return (uint32_t)round_up(bytes, unit) + (uint32_t)sizeof(struct frame);
}

struct frame *frame_take_free(struct frame_home *home, uint32_t bytes) {
    struct frame *frame;
    if (home->free_list == FRAME_NONE && home->frames_top == home->frames_max) {
        return NULL;
    }
    uint8_t *body = empty_body;
    if (bytes > 0) {
        size_t align = bytes >= ALIGNED_BYTES ? PAGE_BYTES : 16;
        body = home->memory.take(home->memory.context, bytes, align);
    }
    if (!body) {
        return NULL;
    }
    if (home->free_list != FRAME_NONE) {
        frame = &home->frames[home->free_list];
        home->free_list = frame->next;
        must((atomic_load_explicit(&frame->word, memory_order_relaxed) & FRAME_FREE) != 0);
    } else {
        frame = &home->frames[home->frames_top++];
        frame->home = home;
        atomic_init(&frame->word, FRAME_FREE | FRAME_DEAD);
    }
    frame->body = body;
    frame->bytes = bytes;
    frame->queue = FRAME_LOOSE;
    frame->freq = 0;
    frame->charge = frame_charge(bytes);
    /* relaxed: published by frame_fill */
    atomic_store_explicit(&frame->uses, 0, memory_order_relaxed);
    atomic_store_explicit(&frame->sends, 0, memory_order_relaxed);
    atomic_store_explicit(&frame->exposed, 0, memory_order_relaxed);
    home->bytes += frame->charge;
    home->frames_out++;
    return frame;
}

void frame_fill(struct frame *frame, uint32_t leases, bool live) {
    uint64_t off = live ? FRAME_FREE | FRAME_DEAD : FRAME_FREE;
    must(leases > 0 || live);
    uint64_t before = atomic_fetch_add_explicit(&frame->word, FRAME_GENERATION + leases - off,
                                                memory_order_release); /* pairs with frame_lease */
    must((before & FRAME_FREE) != 0);
}

/* Sets FREE if the frame is DEAD and unleased, and hands it home. Many may try; one wins. */
static void frame_reap(struct frame *frame, uint64_t word) {
    while ((word & (FRAME_FREE | FRAME_DEAD | FRAME_LEASES)) == FRAME_DEAD) {
        /* acquire: everything leases did with the body comes before its reuse */
        if (atomic_compare_exchange_weak_explicit(&frame->word, &word, word | FRAME_FREE,
                                                  memory_order_acquire, memory_order_relaxed)) {
            struct frame_home *home = frame->home;
            uint32_t number = (uint32_t)(frame - home->frames);
            uint32_t head = atomic_load_explicit(&home->dead, memory_order_relaxed);
            do {
                frame->next = head;
            } while (!atomic_compare_exchange_weak_explicit(
                &home->dead, &head, number, memory_order_release, /* pairs with frame_home_poll */
                memory_order_relaxed));
            return;
        }
    }
}

void frame_give_back(struct frame *frame) {
    /* release: our reads of the body come before whoever frees it. After this line the frame may
     * be anything, so only its word is touched, and the compare-and-swap looks at it again. */
    uint64_t before = atomic_fetch_sub_explicit(&frame->word, 1, memory_order_release);
    must((before & FRAME_LEASES) != 0);
    if (unlikely(before & FRAME_DEAD)) {
        frame_reap(frame, before - 1);
    }
}

void frame_lease_again(struct frame *frame) {
    /* relaxed: the caller's own lease already holds everything in place */
    uint64_t before = atomic_fetch_add_explicit(&frame->word, 1, memory_order_relaxed);
    must((before & FRAME_LEASES) != 0);
}

bool frame_evict(struct frame *frame) {
    uint64_t word = atomic_load_explicit(&frame->word, memory_order_relaxed);
    must((word & FRAME_DEAD) == 0);
    if ((word & FRAME_LEASES) != 0 ||
        !atomic_compare_exchange_strong_explicit(&frame->word, &word, word | FRAME_DEAD,
                                                 memory_order_acq_rel, memory_order_relaxed)) {
        return false;
    }
    frame_reap(frame, word | FRAME_DEAD);
    return true;
}

void frame_kill(struct frame *frame) {
    uint64_t before = atomic_fetch_or_explicit(&frame->word, FRAME_DEAD, memory_order_acq_rel);
    must((before & FRAME_DEAD) == 0);
    frame_reap(frame, before | FRAME_DEAD);
}

/* The body may be used again after this, unless its pages are with sockets and cannot be dropped:
 * then it never is. */
static void body_give(struct frame_home *home, const struct frame *frame) {
    /* relaxed: set under a lease, and the last one's end came before frame_reap */
    if (unlikely(atomic_load_explicit(&frame->exposed, memory_order_relaxed))) {
        if (home->memory.punch(home->memory.context, frame->body, frame->bytes) != 0) {
            home->punch_failures++;
            return;
        }
        home->punches++;
    }
    home->memory.give(home->memory.context, frame->body, frame->bytes);
}

uint32_t frame_home_poll(struct frame_home *home) {
    uint32_t at = atomic_load_explicit(&home->dead, memory_order_relaxed);
    if (at == FRAME_NONE) {
        return 0;
    }
    at = atomic_exchange_explicit(&home->dead, FRAME_NONE, memory_order_acquire); /* frame_reap */
    uint32_t count = 0;
    while (at != FRAME_NONE) {
        struct frame *frame = &home->frames[at];
        uint32_t next = frame->next;
        if (frame->bytes > 0) {
            body_give(home, frame);
        }
        frame->body = NULL;
        home->bytes -= frame->charge;
        home->frames_out--;
        frame->next = home->free_list;
        home->free_list = at;
        at = next;
        count++;
    }
    return count;
}

uint32_t frame_count_send(struct frame *frame) {
    /* Relaxed and not one step: a lost count is a send more until it pays. */
    uint8_t sends = atomic_load_explicit(&frame->sends, memory_order_relaxed);
    if (sends < UINT8_MAX) {
        atomic_store_explicit(&frame->sends, (uint8_t)(sends + 1), memory_order_relaxed);
    }
    return sends;
}

bool frame_expose(struct frame *frame, const uint8_t *part, int *ret_file, uint64_t *ret_offset) {
    const struct store_memory *memory = &frame->home->memory;
    uint64_t offset = (uint64_t)((uintptr_t)part - (uintptr_t)memory->file_base);
    if (offset >= memory->file_bytes) {
        return false;
    }
    /* relaxed: the lease that protects this store is given back with release */
    atomic_store_explicit(&frame->exposed, 1, memory_order_relaxed);
    *ret_file = memory->file;
    *ret_offset = offset;
    return true;
}

const uint8_t *frame_body(const struct frame *frame) {
    return frame->body;
}
uint32_t frame_bytes(const struct frame *frame) {
    return frame->bytes;
}
uint64_t frame_codec(const struct frame *frame) {
    return frame->codec;
}
