/* SPDX-License-Identifier: MIT */
#include "base/bits.h"
#include "base/hash.h"
#include "base/must.h"
#include "store/aborts.h"
#include "store/bundle.h"
#include "store/inside.h"
#include "store/load.h"
#include "store/sweep.h"

#include <string.h>

/* Puts and deletes of the shards this keeper owns.
 *
 *   begin ─ verify ─► resolve: is it here? ─► append ─► (durable) ─► publish
 *                        │  frame: proven in memory
 *                        │  disk:  read first (a put is a duplicate only of a copy that is sound)
 *                        └► duplicate: acknowledged at once, absent: delete is over
 *
 * One operation a key at a time: a later one waits behind the first and begins anew when that is
 * done, except that a put behind a put is acknowledged with it. So the order of a key's records is
 * the order of its operations. A put of an atomic bundle holds its key from the time it is resolved
 * until the bundle is decided (bundle.h), be it a duplicate or not. Between resolve and publish the
 * block may come to memory or leave it, but its place on disk stays, and store_entry finds it
 * either way. */

static struct store_op **pending_bucket(struct keeper *keeper, uint64_t hash) {
    return &keeper->pending[hash % PENDING_BUCKETS];
}

static struct store_op *pending_find(struct keeper *keeper, const struct store_op *op,
                                     uint64_t hash) {
    struct store_op *at = *pending_bucket(keeper, hash);
    while (at && !(op_state(at)->hash == hash && key_equal(&at->key, &op->key))) {
        at = op_state(at)->pending;
    }
    return at;
}

static void pending_remove(struct keeper *keeper, struct store_op *op) {
    struct store_op **at = pending_bucket(keeper, op_state(op)->hash);
    while (*at != op) {
        must(*at != NULL);
        at = &op_state(*at)->pending;
    }
    *at = op_state(op)->pending;
}

static void order_start(struct keeper *keeper, struct store_op *op);

/* The end of one: those that waited for its key go on. */
static void order_end(struct keeper *keeper, struct store_op *op, int32_t result) {
    struct op_list waiters = op_state(op)->waiters;
    bool put = op->kind == STORE_PUT;
    pending_remove(keeper, op);
    keeper_finish(keeper, op, result);
    for (struct store_op *next = op_list_pop(&waiters); next; next = op_list_pop(&waiters)) {
        struct store_op *before = pending_find(keeper, next, op_state(next)->hash);
        if (before) {
            op_list_push(&op_state(before)->waiters, next);
        } else if (put && result == 0 && next->kind == STORE_PUT && !bundle_atomic(next)) {
            counter_add(&keeper->counters.put_duplicates, 1);
            keeper_finish(keeper, next, 0);
        } else {
            order_start(keeper, next);
        }
    }
}

void order_fail(struct keeper *keeper, struct store_op *op, int32_t result) {
    if (op->kind == STORE_COMMIT) {
        bundle_uncommitted(keeper, op, result);
        return;
    }
    pins_release(keeper, op);
    if (result == STORE_FULL) {
        counter_add(&keeper->counters.full, 1);
    }
    order_end(keeper, op, result);
}

static int32_t put_check(const struct keeper *keeper, const struct store_op *op) {
    if (op->bytes > keeper->store->config.block_bytes_max) {
        return STORE_SIZE;
    }
    if (hash_check(op->key.code, op->key.digest_bytes) != 0) {
        return STORE_HASH;
    }
    if (op->hashed) {
        return 0;
    }
    uint8_t digest[HASH_DIGEST_MAX];
    int r = hash_compute(op->key.code, op->data, op->bytes, digest, op->key.digest_bytes);
    if (r != 0) {
        return r < 0 ? r : STORE_HASH;
    }
    return memcmp(digest, op->key.digest, op->key.digest_bytes) == 0 ? 0 : STORE_MISMATCH;
}

void order_begin(struct keeper *keeper, struct store_op *op) {
    int32_t r = op->kind == STORE_PUT ? put_check(keeper, op) : 0;
    if (r != 0) {
        if (r == STORE_MISMATCH) {
            counter_add(&keeper->counters.put_mismatches, 1);
        }
        keeper_finish(keeper, op, r);
        return;
    }
    struct store_op *before = pending_find(keeper, op, op_state(op)->hash);
    if (before && bundle_atomic(op) && bundle_meets(keeper, op, before)) {
        return;
    }
    if (before) {
        op_list_push(&op_state(before)->waiters, op);
        return;
    }
    order_start(keeper, op);
}

/* The block lies at `place` on disk; a collection under way spares it, and the next. */
static void order_duplicate(struct keeper *keeper, struct store_op *op, uint64_t place) {
    (void)sweep_touch(keeper, op_state(op)->hash, place, true);
    counter_add(&keeper->counters.put_duplicates, 1);
    if (bundle_atomic(op)) {
        op->duplicate = true;
        bundle_hold(keeper, op);
        return;
    }
    order_end(keeper, op, 0);
}

/* It needs a record: one of an atomic bundle when all of that have come so far. */
static void order_append(struct keeper *keeper, struct store_op *op) {
    if (bundle_atomic(op)) {
        bundle_hold(keeper, op);
    } else {
        log_append(keeper, op);
    }
}

/* Looks at the entries of op's hash, past those already proven to be of other keys. */
static void order_resolve(struct keeper *keeper, struct store_op *op) {
    struct op_state *state = op_state(op);
    uint64_t places[CATALOG_MATCHES_MAX];
    bool unknown = tiers_unknown(&keeper->store->tiers); /* before the look-up */
    uint32_t count = catalog_find(&keeper->store->catalog, state->hash, places);
    must(count <= CATALOG_MATCHES_MAX); /* nobody but us moves entries of our shards */
    for (uint32_t i = state->match; i < count; i++) {
        if (!place_resident(places[i])) {
            state->place = places[i] & (PLACE_MASK | PLACE_STATE_MASK);
            if (!place_here(keeper->store, places[i])) {
                order_append(keeper, op); /* as for a copy that cannot be read */
                return;
            }
            if (!fetch_begin(keeper, op, op->kind == STORE_DELETE)) {
                order_again(keeper, op);
            }
            return;
        }
        struct frame *frame = store_frame(keeper->store, places[i]);
        if (key_equal(&frame->key, &op->key)) { /* ours to evict: it stays while we look */
            uint64_t place = atomic_load_explicit(&frame->place, memory_order_relaxed);
            if (op->kind == STORE_PUT && !unknown) {
                order_duplicate(keeper, op, place);
                return;
            }
            state->place = place;
            order_append(keeper, op);
            return;
        }
        state->match++;
    }
    state->place = 0;
    if (op->kind == STORE_DELETE) {
        /* relaxed: it is set before the failure that it explains is told */
        bool in_doubt = atomic_load_explicit(&keeper->store->in_doubt, memory_order_relaxed);
        order_end(keeper, op, in_doubt ? STORE_READONLY : unknown ? STORE_RETRY : STORE_ABSENT);
        return;
    }
    order_append(keeper, op);
}

/* What is live has a place that can be read, unless its whole tier is away. */
void order_again(struct keeper *keeper, struct store_op *op) {
    struct op_state *state = op_state(op);
    state->match = 0;
    if (state->tries++ == 0) {
        order_resolve(keeper, op);
    } else {
        order_fail(keeper, op, STORE_RETRY);
    }
}

static void order_start(struct keeper *keeper, struct store_op *op) {
    struct op_state *state = op_state(op);
    *state = (struct op_state){.hash = state->hash};
    struct store_op **bucket = pending_bucket(keeper, state->hash);
    state->pending = *bucket;
    *bucket = op;
    if (keeper->log.read_only || keeper->store->config.read_only) {
        order_end(keeper, op, STORE_READONLY);
        return;
    }
    if (op->kind == STORE_PIN || op->kind == STORE_UNPIN) {
        pins_resolve(keeper, op);
        return;
    }
    if (op->kind == STORE_SWEEP) {
        sweep_resolve(keeper, op);
        return;
    }
    order_resolve(keeper, op);
}

/* The same bytes on the disk and in hand: the strongest check there is. */
static bool same_block(struct keeper *keeper, const struct store_op *op,
                       const struct record_header *record) {
    const uint8_t *payload = (const uint8_t *)record + record->header_bytes;
    if (record_block_bytes(record) != op->bytes) {
        return false;
    }
    if (!record_zipped(record)) {
        return op->bytes == 0 || memcmp(payload, op->data, op->bytes) == 0;
    }
    int32_t result = 0; /* without memory to look it is written anew, which is never wrong */
    struct frame *frame = admit_open(keeper, record, &result);
    bool same = frame && memcmp(frame->body, op->data, op->bytes) == 0;
    if (frame) {
        admit_drop(frame);
    }
    return same;
}

/* A tier that is away may hold a tombstone of what this start takes for live: a put of such a block
 * is a new birth, or it would die with the old one when the tier is back. */
static bool may_be_dead(const struct keeper *keeper, const struct record_header *record) {
    return tiers_unknown(&keeper->store->tiers) &&
           lsn_epoch(record->birth_lsn) != keeper->store->segments.epoch;
}

void order_fetched(struct keeper *keeper, struct store_op *op, const struct record_header *record,
                   int32_t result) {
    struct key key;
    if (result == 0 && record_key(record, &key) == 0 && !key_equal(&key, &op->key)) {
        op_state(op)->match++;
        order_resolve(keeper, op);
        return;
    }
    if (op->kind == STORE_PUT && result == 0 && same_block(keeper, op, record) &&
        !may_be_dead(keeper, record)) {
        order_duplicate(keeper, op, op_state(op)->place);
        return;
    }
    /* A damaged copy: a put writes it anew in its stead; a delete goes by the keyed hash. */
    order_append(keeper, op);
}

static uint64_t place_bytes(uint64_t place) {
    return (uint64_t)place_spot(place).length_units * RECORD_UNIT;
}

/* Live bytes change under several keepers' hands, whence the atomic adds. Release: who finds none
 * left finds every entry changed; pairs with settle in compact.c. */
void order_account(struct keeper *keeper, uint64_t place, int sign) {
    struct segment *segment = &keeper->store->segments.all[place_spot(place).segment];
    uint64_t bytes = place_bytes(place);
    struct store_counters *counters = &keeper->counters;
    if (sign > 0) {
        atomic_fetch_add_explicit(&segment->live_bytes, bytes, memory_order_relaxed);
        atomic_fetch_add_explicit(&segment->live_blocks, 1, memory_order_relaxed);
        counter_add(&counters->blocks, 1);
        counter_add(&counters->bytes, bytes);
    } else {
        atomic_fetch_sub_explicit(&segment->live_bytes, bytes, memory_order_release);
        atomic_fetch_sub_explicit(&segment->live_blocks, 1, memory_order_relaxed);
        counter_set(&counters->blocks, counter_get(&counters->blocks) - 1);
        counter_set(&counters->bytes, counter_get(&counters->bytes) - bytes);
    }
}

/* Its record is durable and counts, and for want of memory the catalog does not have it: the next
 * start will. Till then its segment is not taken for known, nor is an absent key. */
static void put_unlisted(struct keeper *keeper, uint64_t place) {
    struct segment *segment = &keeper->store->segments.all[place_spot(place).segment];
    atomic_store_explicit(&segment->unsettled, true, memory_order_relaxed);
    atomic_store_explicit(&keeper->store->in_doubt, true, memory_order_relaxed);
}

static int publish_put(struct keeper *keeper, const struct op_state *state, uint64_t place) {
    struct entry entry = {NULL, 0};
    if (state->place != 0) {
        entry = store_entry(keeper->store, state->hash, state->place);
    }
    if (!entry.bucket) {
        int r = catalog_insert(&keeper->store->catalog, state->hash, place);
        if (r == 0) {
            order_account(keeper, place, 1);
        } else {
            put_unlisted(keeper, place);
        }
        return r;
    }
    uint64_t word = entry_place(&entry);
    if (place_resident(word)) {
        struct frame *frame = store_frame(keeper->store, word);
        atomic_store_explicit(&frame->place, place, memory_order_relaxed);
    } else {
        entry_set(&entry, place | (word & ~(PLACE_MASK | PLACE_STATE_MASK)));
    }
    order_account(keeper, state->place, -1);
    order_account(keeper, place, 1);
    return 0;
}

void order_drop(struct keeper *keeper, uint64_t hash, uint64_t place) {
    struct entry entry = store_entry(keeper->store, hash, place);
    if (!entry.bucket) {
        return;
    }
    uint64_t word = entry_place(&entry);
    catalog_remove(&keeper->store->catalog, hash, &entry);
    if (place_resident(word)) {
        struct frame *frame = store_frame(keeper->store, word);
        keeper->evictor.policy->leave(&keeper->evictor, frame);
        frame_kill(frame);
    }
    order_account(keeper, place, -1);
}

void order_bury(struct keeper *keeper, const struct store_op *op, enum record_type type,
                uint64_t lsn) {
    if (keeper->graves) {
        uint64_t hash = store_hash(keeper->store, &op->key);
        struct footer_entry entry = {.hash_code = (uint16_t)op->key.code,
                                     .digest_bytes = op->key.digest_bytes,
                                     .type_flags = (uint8_t)type};
        memcpy(entry.digest, op->key.digest, min_u32(op->key.digest_bytes, FOOTER_PREFIX));
        graves_add(keeper->graves, &(struct grave){hash, tombstone_check(&entry), lsn});
    }
}

static void publish_delete(struct keeper *keeper, struct store_op *op, uint64_t lsn) {
    const struct op_state *state = op_state(op);
    order_drop(keeper, state->hash, state->place);
    order_bury(keeper, op, RECORD_TOMBSTONE, lsn);
}

bool order_busy(const struct keeper *keeper, uint64_t hash) {
    struct store_op *op = keeper->pending[hash % PENDING_BUCKETS];
    while (op && op_state(op)->hash != hash) {
        op = op_state(op)->pending;
    }
    return op != NULL;
}

/* Its record lies there and does not count: no commit record was written, or nobody knows. */
static void put_aborted(struct keeper *keeper, struct segment *segment, struct store_op *op) {
    int32_t why = op->bundle->commit.result;
    bool surely = why == 0 || why == STORE_FULL;
    if (surely && aborts_add(keeper->store->segments.aborts, op_state(op)->durable)) {
        atomic_fetch_add_explicit(&segment->aborted, 1, memory_order_relaxed);
    } else {
        atomic_store_explicit(&segment->unsettled, true, memory_order_relaxed);
    }
}

void order_decide(struct keeper *keeper, struct store_op *op, bool committed) {
    const struct op_state *state = op_state(op);
    int32_t why = op->bundle->commit.result; /* where the commit record failed */
    int32_t r = committed ? 0 : why != 0 ? why : STORE_ABORTED;
    if (state->durable != 0) {
        struct segment *segment = &keeper->store->segments.all[place_spot(state->durable).segment];
        if (committed) {
            r = publish_put(keeper, state, state->durable);
            /* Born before it was there: a collection that began between would take it for old. */
            (void)sweep_touch(keeper, state->hash, state->durable, true);
            counter_add(&keeper->counters.puts, 1);
        } else {
            put_aborted(keeper, segment, op);
        }
        /* release: the catalog has it, or the words of put_aborted and put_unlisted say why not;
         * pairs with housekeeping */
        atomic_fetch_sub_explicit(&segment->undecided, 1, memory_order_release);
    }
    order_end(keeper, op, r);
}

void order_publish(struct keeper *keeper, struct store_op *op, uint64_t place, uint64_t lsn) {
    int r = 0;
    if (op->kind == STORE_COMMIT || bundle_atomic(op)) {
        bundle_durable(keeper, op, place);
        return;
    }
    if (op->kind == STORE_PUT) {
        r = publish_put(keeper, op_state(op), place);
        counter_add(&keeper->counters.puts, 1);
    } else if (op->kind == STORE_DELETE || op->kind == STORE_SWEEP) {
        publish_delete(keeper, op, lsn);
        counter_add(&keeper->counters.deletes, 1);
    } else {
        pins_publish(keeper, op, lsn);
    }
    order_end(keeper, op, r);
}

static bool same_place(uint64_t a, uint64_t b) {
    return ((a ^ b) & (PLACE_MASK | PLACE_STATE_MASK)) == 0;
}

bool order_relocate(struct keeper *keeper, uint64_t hash, uint64_t from, uint64_t to) {
    bool promoted = (from & PLACE_STATE_MASK) == PLACE_HDD && (to & PLACE_STATE_MASK) == PLACE_SSD;
    /* It was read again and again, or it would not have come up: so that it is not the next to go
     * down, also where its frame was filled anew and has no uses yet. */
    uint64_t used = promoted ? UINT64_C(2) << PLACE_FREQ_SHIFT : 0;
    struct entry entry = store_entry(keeper->store, hash, from);
    if (!entry.bucket) {
        return false;
    }
    uint64_t word = entry_place(&entry);
    if (place_resident(word)) {
        struct frame *frame = store_frame(keeper->store, word);
        uint64_t flags = atomic_load_explicit(&frame->place, memory_order_relaxed) &
                         ~(PLACE_MASK | PLACE_STATE_MASK);
        atomic_store_explicit(&frame->place, to | flags | used, memory_order_relaxed);
    } else {
        entry_set(&entry, to | used | (word & ~(PLACE_MASK | PLACE_STATE_MASK)));
    }
    for (struct store_op *op = *pending_bucket(keeper, hash); op; op = op_state(op)->pending) {
        if (op_state(op)->hash == hash && same_place(op_state(op)->place, from)) {
            op_state(op)->place = to;
        }
    }
    order_account(keeper, to, 1);
    order_account(keeper, from, -1);
    return true;
}
