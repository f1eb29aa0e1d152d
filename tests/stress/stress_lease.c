/* SPDX-License-Identifier: MIT */
#include "store/frame.h"

#include "store/heap.h"
#include "tests/stress/kit.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

/* Leases against eviction on another thread.
 *
 *   stress_lease [seed] [seconds]
 *
 * The owner fills frames, publishes their numbers in slots (as the catalog does), evicts those
 * nobody leases, kills others under their leases, and gives bodies back as they come home.
 * Readers take a number from a slot, lease, compare the key and read the whole body; some leases
 * travel to another reader and are given back there. A body is filled with its key's byte, and with
 * another when its memory goes back: a reader that sees anything but one key's bytes under a lease
 * has read what was no longer its own. Body and header are plain memory: ThreadSanitizer sees every
 * access that the word does not order. */

enum { READERS = 3, SLOTS = 24, BODY_MAX = 400, MAIL = 8 };

static struct stress stress;
static struct heap *heap;
static struct store_memory inner;
static struct frame_home home;
static _Atomic uint32_t slots[SLOTS];    /* frame number, or FRAME_NONE */
static struct frame *_Atomic mail[MAIL]; /* leases on their way to another reader */
static _Atomic bool over;

static void *take(void *context, size_t bytes, size_t align) {
    (void)context;
    return inner.take(inner.context, bytes, align);
}

static void give(void *context, void *body, size_t bytes) {
    (void)context;
    memset(body, 0xdd, bytes);
    inner.give(inner.context, body, bytes);
}

struct reader {
    uint32_t index;
    uint64_t random;
    uint64_t leases, refused, others, mailed;
};

static void check_body(const struct frame *frame, uint32_t slot) {
    const uint8_t *body = frame_body(frame);
    uint8_t value = frame->key.digest[1];
    stress_check(&stress, frame->key.digest[0] == slot, "the key changed under the lease");
    for (uint32_t i = 0; i < frame_bytes(frame); i++) {
        stress_check(&stress, body[i] == value, "byte %u is %u, not %u", i, body[i], value);
    }
}

static void read_one(struct reader *reader) {
    uint64_t random = stress_random(&reader->random);
    uint32_t slot = (uint32_t)(random % SLOTS);
    uint32_t number = atomic_load_explicit(&slots[slot], memory_order_acquire);
    if (number == FRAME_NONE) {
        return;
    }
    struct frame *frame = &home.frames[number];
    if (!frame_lease(frame)) {
        reader->refused++;
        return;
    }
    if (frame->key.digest[0] != slot) { /* used again for another block meanwhile */
        reader->others++;
        frame_give_back(frame);
        return;
    }
    reader->leases++;
    frame_used(frame);
    check_body(frame, slot);
    if (random >> 60 == 0) {
        frame_lease_again(frame);
        reader->mailed++;
        struct frame *before = atomic_exchange(&mail[random >> 32 & (MAIL - 1)], frame);
        if (before) {
            check_body(before, before->key.digest[0]);
            frame_give_back(before);
        }
        check_body(frame, slot);
    }
    frame_give_back(frame);
}

static void *reader_run(void *argument) {
    struct reader *reader = argument;
    while (!atomic_load_explicit(&over, memory_order_relaxed)) {
        read_one(reader);
    }
    return NULL;
}

struct counts {
    uint64_t filled, evicted, spared, killed;
};

static void drop(uint32_t slot, uint64_t random, struct counts *counts) {
    uint32_t number = atomic_load_explicit(&slots[slot], memory_order_relaxed);
    struct frame *frame = &home.frames[number];
    if (random & 1) { /* a delete: unpublish, then kill */
        atomic_store_explicit(&slots[slot], FRAME_NONE, memory_order_release);
        frame_kill(frame);
        counts->killed++;
        return;
    }
    if (frame_evict(frame)) { /* an eviction: then unpublish */
        atomic_store_explicit(&slots[slot], FRAME_NONE, memory_order_release);
        counts->evicted++;
    } else {
        counts->spared++;
    }
}

static void own(struct counts *counts) {
    uint64_t random_state = stress_seed(stress.seed, 77);
    while (!stress_over(&stress)) {
        uint64_t random = stress_random(&random_state);
        uint32_t slot = (uint32_t)(random % SLOTS);
        (void)frame_home_poll(&home);
        if (atomic_load_explicit(&slots[slot], memory_order_relaxed) != FRAME_NONE) {
            drop(slot, random >> 40, counts);
            continue;
        }
        uint32_t bytes = 1 + (uint32_t)(random >> 32) % BODY_MAX;
        struct frame *frame = frame_take_free(&home, bytes);
        if (!frame) {
            continue;
        }
        frame->key = (struct key){.code = 1, .digest_bytes = 32};
        frame->key.digest[0] = (uint8_t)slot;
        frame->key.digest[1] = (uint8_t)(random >> 56);
        memset(frame->body, frame->key.digest[1], bytes);
        frame_fill(frame, 0, true);
        atomic_store_explicit(&slots[slot], (uint32_t)(frame - home.frames), memory_order_release);
        counts->filled++;
    }
}

int main(int argc, char **argv) {
    stress = stress_args(argc, argv);
    struct store_memory memory = {.take = take, .give = give};
    stress_check(&stress, heap_open(&heap, 64 * MiB, &inner) == 0, "no memory");
    stress_check(&stress, frame_home_open(&home, 0, 64 * KiB, &memory) == 0, "no memory");
    for (uint32_t i = 0; i < SLOTS; i++) {
        atomic_store(&slots[i], FRAME_NONE);
    }
    struct reader state[READERS];
    pthread_t threads[READERS];
    struct counts counts = {0};
    for (uint32_t i = 0; i < READERS; i++) {
        state[i] = (struct reader){.index = i, .random = stress_seed(stress.seed, i)};
        threads[i] = stress_thread(reader_run, &state[i]);
    }
    own(&counts);
    atomic_store(&over, true);
    struct reader sum = {0};
    for (uint32_t i = 0; i < READERS; i++) {
        pthread_join(threads[i], NULL);
        sum.leases += state[i].leases;
        sum.refused += state[i].refused;
        sum.others += state[i].others;
        sum.mailed += state[i].mailed;
    }
    for (uint32_t i = 0; i < MAIL; i++) {
        struct frame *frame = atomic_load(&mail[i]);
        if (frame) {
            frame_give_back(frame);
        }
    }
    for (uint32_t i = 0; i < SLOTS; i++) {
        if (atomic_load(&slots[i]) != FRAME_NONE) {
            stress_check(&stress, frame_evict(&home.frames[atomic_load(&slots[i])]),
                         "a lease was lost");
        }
    }
    (void)frame_home_poll(&home);
    stress_check(&stress, home.bytes == 0 && home.frames_out == 0, "frames were lost");
    frame_home_close(&home);
    heap_close(heap);
    printf("%" PRIu64 " leases (%" PRIu64 " mailed, %" PRIu64 " refused, %" PRIu64
           " another's by then), %" PRIu64 " fills, %" PRIu64 " evicted, %" PRIu64
           " spared, %" PRIu64 " killed\n",
           sum.leases, sum.mailed, sum.refused, sum.others, counts.filled, counts.evicted,
           counts.spared, counts.killed);
    return 0;
}
