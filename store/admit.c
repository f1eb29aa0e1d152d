/* SPDX-License-Identifier: MIT */
#include "base/bits.h"
#include "base/must.h"
#include "store/inside.h"

#include <string.h>

/* Memory: who gets in, who goes. The keeper that read a block makes the frame, out of its own
 * memory; the keeper that owns the shard publishes and evicts it. Where these are two, the frame
 * crosses on the owner's adopt stack, with one lease that the message holds. */

#define EVICT_MAX      256u /* frames that one fill may push out */
#define SWEEP_MAX      1024u
#define SWEEP_FRACTION 256u

/* A ghost should be remembered until about nine tenths as many others have come as there are
 * frames. The hand meets it after half a round on the average, so a round takes twice that: so many
 * buckets for each new ghost. Their number is told from where the hand is: tables are about alike.
 */
static uint64_t sweep_share(const struct keeper *keeper) {
    const struct store *store = keeper->store;
    uint64_t shards = CATALOG_SHARDS / store->config.keepers;
    uint64_t buckets =
        catalog_shard_buckets(&store->catalog, keeper->sweep_shard, keeper->sweep_cursor) * shards;
    uint64_t round = max_u64(keeper->evictor.frames * 18 / 10, 1);
    return min_u64(buckets * SWEEP_FRACTION / round, SWEEP_MAX * SWEEP_FRACTION);
}

static void sweep_ghosts(struct keeper *keeper) {
    struct store *store = keeper->store;
    keeper->sweep_due += sweep_share(keeper) << (store_rung(store) >= LADDER_GHOSTS);
    uint32_t buckets = (uint32_t)(keeper->sweep_due / SWEEP_FRACTION);
    keeper->sweep_due %= SWEEP_FRACTION;
    if (buckets == 0) {
        return;
    }
    uint64_t before = keeper->sweep_cursor;
    catalog_sweep(&store->catalog, keeper->sweep_shard, &keeper->sweep_cursor, buckets);
    if ((before & ~(UINT64_C(0xff) << 56)) > (keeper->sweep_cursor & ~(UINT64_C(0xff) << 56))) {
        keeper->sweep_cursor = 0;
        keeper->sweep_shard += store->config.keepers;
        if (keeper->sweep_shard >= CATALOG_SHARDS) {
            keeper->sweep_shard = keeper->index;
        }
    }
}

/* Takes the policy's next victim out of memory. Returns: false: there is none, or it is leased. */
static bool evict_one(struct keeper *keeper) {
    struct evictor *evictor = &keeper->evictor;
    bool ghost = false;
    struct frame *frame = evictor->policy->victim(evictor, &ghost);
    if (!frame) {
        return false;
    }
    /* After frame_evict its home may fill it anew: what is needed of it is taken before. */
    uint64_t hash = store_hash(keeper->store, &frame->key);
    uint64_t place = atomic_load_explicit(&frame->place, memory_order_relaxed);
    uint64_t freq = frame_freq(frame);
    uint64_t resident = frame_name(frame) | PLACE_RESIDENT;
    evictor->policy->leave(evictor, frame);
    if (!frame_evict(frame)) {
        evictor->policy->enter(evictor, frame, true);
        return false;
    }
    struct entry entry = catalog_entry(&keeper->store->catalog, hash, resident);
    must(entry.bucket != NULL);
    place = (place & ~(PLACE_GHOST | UINT64_C(3) << PLACE_FREQ_SHIFT)) | freq << PLACE_FREQ_SHIFT;
    /* Read again from there, it is worth a fast tier: remembered whatever the policy says. */
    ghost = ghost || (place & PLACE_STATE_MASK) == PLACE_HDD;
    entry_set(&entry, place | (ghost ? PLACE_GHOST : 0));
    counter_add(&keeper->counters.evictions, 1);
    if (ghost) {
        sweep_ghosts(keeper);
    }
    return true;
}

/* Bodies of frames that left but are still leased weigh too, if they are of our memory. */
static bool over_budget(const struct keeper *keeper, uint64_t bytes) {
    uint64_t ours = evictor_bytes(&keeper->evictor);
    uint64_t budget = keeper->evictor.budget_bytes;
    return ours + bytes > budget || (keeper->home.bytes + bytes > budget && ours > budget / 2);
}

uint32_t admit_room(struct keeper *keeper, uint64_t bytes) {
    uint32_t left = 0;
    if (over_budget(keeper, bytes)) {
        (void)frame_home_poll(&keeper->home); /* what has left already must not cost another */
    }
    for (uint32_t looks = 0; looks < EVICT_MAX && over_budget(keeper, bytes); looks++) {
        if (keeper->evictor.frames == 0) {
            break;
        }
        left += evict_one(keeper);
        (void)frame_home_poll(&keeper->home);
    }
    return left;
}

uint32_t admit_press(struct keeper *keeper) {
    const struct store *store = keeper->store;
    /* relaxed: a number that may be seen late */
    uint64_t bytes = atomic_load_explicit(&store->frames_bytes, memory_order_relaxed);
    uint64_t share = bytes / store->config.keepers;
    if (unlikely(share != keeper->evictor.budget_bytes)) {
        keeper->evictor.budget_bytes = share;
    }
    return unlikely(store_rung(store) >= LADDER_FRAMES) ? admit_room(keeper, 0) : 0;
}

static struct frame *take_frame(struct keeper *keeper, uint32_t bytes) {
    struct frame *frame = NULL;
    for (uint32_t looks = 0; looks < EVICT_MAX; looks++) {
        frame = frame_take_free(&keeper->home, bytes);
        if (frame || keeper->evictor.frames == 0) {
            break;
        }
        (void)evict_one(keeper);
        (void)frame_home_poll(&keeper->home);
    }
    return frame;
}

/* The entry now names the frame, if the block still lies where the frame's bytes came from. */
static bool publish(struct keeper *keeper, struct frame *frame, uint64_t hash, uint64_t place) {
    struct entry entry = catalog_entry(&keeper->store->catalog, hash, place);
    if (!entry.bucket) {
        return false;
    }
    uint64_t word = entry_place(&entry);
    uint64_t keep = word & PLACE_PINNED;
    atomic_store_explicit(&frame->place, place | keep, memory_order_relaxed);
    keeper->evictor.policy->enter(&keeper->evictor, frame, (word & PLACE_GHOST) != 0);
    entry_set(&entry, frame_name(frame) | PLACE_RESIDENT | keep);
    counter_add(&keeper->counters.fills, 1);
    return true;
}

static void adopt_push(struct keeper *keeper, struct frame *frame, uint32_t owner) {
    struct keeper *other = &keeper->store->keepers[owner];
    uint32_t head = atomic_load_explicit(&other->adopt, memory_order_relaxed);
    do {
        frame->next = head;
    } while (!atomic_compare_exchange_weak_explicit(
        &other->adopt, &head, frame_name(frame), memory_order_release, /* pairs with admit_poll */
        memory_order_relaxed));
    keeper->rings |= UINT64_C(1) << owner;
}

struct frame *admit_open(struct keeper *keeper, const struct record_header *record,
                         int32_t *ret_result) {
    (void)admit_room(keeper, frame_charge(record->logical_bytes));
    struct frame *frame = take_frame(keeper, record->logical_bytes);
    *ret_result = STORE_RETRY;
    if (frame) {
        const uint8_t *stored = (const uint8_t *)record + record->header_bytes;
        *ret_result = unzip_record(&keeper->unzip, record, stored, frame->body);
    }
    if (frame && *ret_result != 0) {
        admit_drop(frame);
        frame = NULL;
    }
    return frame;
}

void admit_drop(struct frame *frame) {
    frame_fill(frame, 1, false);
    frame_give_back(frame);
}

/* The block in a frame of its own. NULL: no memory. */
static struct frame *block_frame(struct keeper *keeper, const struct admission *admission) {
    const struct record_header *record = admission->record;
    if (record_zipped(record)) {
        return admission->opened;
    }
    (void)admit_room(keeper, frame_charge(record->stored_bytes));
    struct frame *frame = take_frame(keeper, record->stored_bytes);
    if (frame && record->stored_bytes > 0) {
        memcpy(frame->body, (const uint8_t *)record + record->header_bytes, record->stored_bytes);
    }
    return frame;
}

struct frame *admit_frame(struct keeper *keeper, const struct admission *admission) {
    const struct record_header *record = admission->record;
    uint32_t charge = frame_charge(record_block_bytes(record));
    uint32_t owner = hash_keeper(keeper->store, admission->hash);
    bool admit = admission->admit && charge <= keeper->evictor.budget_bytes;
    struct frame *frame = block_frame(keeper, admission);
    if (!frame) {
        return NULL;
    }
    frame->key = *admission->key;
    frame->codec = record->codec;
    atomic_store_explicit(&frame->place, admission->place, memory_order_relaxed);
    if (!admit) {
        frame_fill(frame, admission->leases, false);
    } else if (owner == keeper->index) {
        bool here =
            catalog_entry(&keeper->store->catalog, admission->hash, admission->place).bucket;
        frame_fill(frame, admission->leases, here);
        must(!here || publish(keeper, frame, admission->hash, admission->place));
    } else {
        frame_fill(frame, admission->leases + 1, true);
        adopt_push(keeper, frame, owner);
    }
    return frame;
}

uint32_t admit_poll(struct keeper *keeper) {
    if (atomic_load_explicit(&keeper->adopt, memory_order_relaxed) == FRAME_NONE) {
        return 0;
    }
    uint32_t count = 0;
    uint32_t name = atomic_exchange_explicit(&keeper->adopt, FRAME_NONE, memory_order_acquire);
    while (name != FRAME_NONE) {
        struct frame *frame = store_frame(keeper->store, name);
        uint64_t place = atomic_load_explicit(&frame->place, memory_order_relaxed);
        name = frame->next;
        (void)admit_room(keeper, frame->charge);
        if (!publish(keeper, frame, store_hash(keeper->store, &frame->key), place)) {
            frame_kill(frame);
        }
        frame_give_back(frame);
        count++;
    }
    return count;
}
