/* SPDX-License-Identifier: MIT */
#pragma once

/* frame — one block in memory: a header of two lines that never goes away, and a body that does.
 *
 *   FREE ──fill──► LIVE ──no lease left: evict──► FREE
 *                   └──────► DEAD (unpublished, still leased) ──last lease given back──► FREE
 *
 * The header's word says it all: generation 32 | FREE 1 | DEAD 1 | leases 30. FREE implies DEAD.
 *
 *   take       add one; if DEAD was set, give back and look the entry up again
 *   give back  subtract one (release); whoever leaves DEAD with no lease and no FREE tries to set
 *              FREE by compare-and-swap: exactly one wins, and it hands the frame home
 *   evict      0 leases, LIVE -> DEAD|FREE by compare-and-swap
 *   kill       set DEAD; then as the last giver-back
 *   fill       content is written while FREE; then one release add turns FREE|DEAD off, counts the
 *              generation and gives the filler its leases, leaving passing increments in place
 *
 * Proof of content: a taker reads header and body only after its add (acquire) returned a word
 * without DEAD, so it has synchronised with the fill, and its lease keeps the content until it
 * gives back: content changes only under FREE, FREE needs a count of zero. The key in the header is
 * then compared in full, so a stale frame number in an old entry is found out. A late increment on
 * a FREE frame is undone by its maker and survives a fill that happens between (the fill adds).
 *
 * Exposed: pages that sendfile was given may wait in sockets, long after the send and its lease
 * have ended, so nobody may ever write them again: home drops them (punch) before the body is free.
 *
 * Home: the keeper whose memory the body is from. A freed frame goes onto its home's stack (any
 * thread pushes, home takes all at once, so no ABA), and home gives the body back on its own
 * thread.
 */

#include "base/base.h"
#include "base/key.h"
#include "store/store.h"

#include <stdatomic.h>

#define FRAME_DEAD       (UINT64_C(1) << 30)
#define FRAME_FREE       (UINT64_C(1) << 31)
#define FRAME_LEASES     (FRAME_DEAD - 1)
#define FRAME_GENERATION (UINT64_C(1) << 32)
#define FRAME_USES_MAX   3u

#define FRAME_NUMBER_BITS 26u /* a frame's name: keeper 6 | number 26 */
#define FRAMES_MAX        ((1u << FRAME_NUMBER_BITS) - 1)
#define FRAME_NONE        UINT32_MAX

struct frame_home;

struct frame {
    /* First line: all that a hit touches for a digest of up to 32 bytes. */
    alignas(CACHE_PAIR) _Atomic uint64_t word; /* any thread */
    uint8_t *body;                             /* from here on: the filler's, while FREE */
    uint32_t bytes;
    uint32_t codec;
    _Atomic uint8_t uses;    /* readers count up to 3, the owner of the shard folds it */
    _Atomic uint8_t sends;   /* of a large body, saturating: any holder of a lease counts */
    _Atomic uint8_t exposed; /* sendfile was given its pages: set with a lease, read by home */
    uint8_t zero;
    struct key key;
    /* Second line: the owner's. */
    _Atomic uint64_t place; /* on disk, in the catalog's form; its owner changes it, any may look */
    struct frame_home *home;
    uint32_t next, prev; /* in the owner's eviction list, or on a stack */
    uint8_t queue;       /* enum frame_queue */
    uint8_t freq;        /* the policy's */
    uint16_t zero16;
    uint32_t charge; /* bytes counted against the budget */
};
static_assert(sizeof(struct frame) == CACHE_PAIR, "two lines a frame");
static_assert(offsetof(struct frame, key) + 4 + 32 == CACHE_LINE, "a hit touches one line");

enum frame_queue { FRAME_LOOSE, FRAME_SMALL, FRAME_MAIN };

/* One keeper's frames. */
struct frame_home {
    /* set at boot */
    struct frame *frames;
    uint32_t frames_max;
    uint32_t keeper;
    struct store_memory memory;
    /* owner only */
    uint32_t frames_top; /* numbers below it have been used */
    uint32_t free_list;  /* headers given back, by next */
    uint64_t bytes;      /* charges of all bodies out of this home's memory */
    uint64_t frames_out;
    uint64_t punches, punch_failures;
    /* pushed to by any thread, emptied by the owner */
    alignas(CACHE_PAIR) _Atomic uint32_t dead; /* stack by next */
};

/* A frame's name in the catalog. */
static inline uint32_t frame_name(const struct frame *frame) {
    return frame->home->keeper << FRAME_NUMBER_BITS | (uint32_t)(frame - frame->home->frames);
}

must_check int frame_home_open(struct frame_home *home, uint32_t keeper, uint64_t budget_bytes,
                               const struct store_memory *memory);
/* Gives every body back. All leases must be in. Thread: boot. */
void frame_home_close(struct frame_home *home);

/* What a frame of this many bytes costs. */
uint32_t frame_charge(uint32_t bytes);

/* frame_take_free gets a FREE header with a body of that size. NULL: no memory, or no header.
 * Thread: home. */
struct frame *frame_take_free(struct frame_home *home, uint32_t bytes);
/* Ends FREE; the caller has filled key, body, codec, place. leases: its own. live: readers may find
 * it; not live: it is freed by its last lease. */
void frame_fill(struct frame *frame, uint32_t leases, bool live);
/* Returns: false if it was DEAD: nothing is held. Thread: any. */
static inline bool frame_lease(struct frame *frame) {
    /* acquire pairs with frame_fill */
    uint64_t before = atomic_fetch_add_explicit(&frame->word, 1, memory_order_acquire);
    if (unlikely(before & FRAME_DEAD)) {
        frame_give_back(frame);
        return false;
    }
    return true;
}
static inline void frame_used(struct frame *frame) {
    /* Relaxed and not one step: a lost count is a lost vote, and a saturated one costs no store. */
    uint8_t uses = atomic_load_explicit(&frame->uses, memory_order_relaxed);
    if (uses < FRAME_USES_MAX) {
        atomic_store_explicit(&frame->uses, (uint8_t)(uses + 1), memory_order_relaxed);
    }
}
/* Frees it if nobody leases it. Its entry must be changed by the caller, before or right after: a
 * reader that meets the dead frame looks the entry up again. Thread: owner of the shard. */
bool frame_evict(struct frame *frame);
/* Frees it now or with its last lease. Thread: owner of the shard, after changing the entry. */
void frame_kill(struct frame *frame);
/* Takes dead frames off the stack and gives their bodies back. Thread: home. Returns: how many. */
uint32_t frame_home_poll(struct frame_home *home);
