/* SPDX-License-Identifier: MIT */
#include "base/hash.h"
#include "base/must.h"
#include "store/inside.h"

/* READ and VERIFY, on any keeper, whoever owns the shard: look up, prove, and where the proof fails
 * look up again. Only a lookup that says so makes a block absent; only a record that is still in
 * the catalog and does not verify makes it damaged. */

static void read_end(struct keeper *keeper, struct store_op *op, int32_t result) {
    if (result == STORE_CORRUPT) {
        counter_add(&keeper->counters.corrupt, 1);
    }
    keeper_finish(keeper, op, result);
}

enum look { LOOK_AGAIN, LOOK_NEXT, LOOK_TAKEN };

/* A resident candidate: under a lease its key can be compared. */
static enum look look_frame(struct keeper *keeper, struct store_op *op, uint64_t place) {
    struct frame *frame = store_frame(keeper->store, place);
    if (!frame_lease(frame)) {
        return LOOK_AGAIN; /* it was evicted under our eyes */
    }
    if (!key_equal(&frame->key, &op->key)) {
        bool same = catalog_entry(&keeper->store->catalog, op_state(op)->hash, place).bucket;
        frame_give_back(frame);
        return same ? LOOK_NEXT : LOOK_AGAIN;
    }
    if (op->kind == STORE_READ) {
        frame_used(frame);
        counter_add(&keeper->store->turns.readers[keeper->reader].frame_hits, 1);
        op->frame = frame;
        read_end(keeper, op, 0);
        return LOOK_TAKEN;
    }
    op_state(op)->place = atomic_load_explicit(&frame->place, memory_order_relaxed);
    frame_give_back(frame);
    return fetch_begin(keeper, op, false) ? LOOK_TAKEN : LOOK_AGAIN;
}

static enum look look_up(struct keeper *keeper, struct store_op *op) {
    struct op_state *state = op_state(op);
    uint64_t places[CATALOG_MATCHES_MAX];
    bool unknown = tiers_unknown(&keeper->store->tiers); /* before the look-up */
    uint32_t count = catalog_find(&keeper->store->catalog, state->hash, places);
    if (count == UINT32_MAX) {
        return LOOK_AGAIN;
    }
    while (state->match < count) {
        uint64_t place = places[state->match];
        if (!place_resident(place)) {
            state->place = place & (PLACE_MASK | PLACE_STATE_MASK);
            if (!place_here(keeper->store, place)) {
                read_end(keeper, op, STORE_RETRY);
                return LOOK_TAKEN;
            }
            return fetch_begin(keeper, op, false) ? LOOK_TAKEN : LOOK_AGAIN;
        }
        enum look look = look_frame(keeper, op, place);
        if (look != LOOK_NEXT) {
            return look;
        }
        state->match++;
    }
    read_end(keeper, op, unknown ? STORE_RETRY : STORE_ABSENT);
    return LOOK_TAKEN;
}

void read_begin(struct keeper *keeper, struct store_op *op) {
    struct turns *turns = &keeper->store->turns;
    turn_begin(turns, keeper->reader);
    enum look look = LOOK_AGAIN;
    while (look == LOOK_AGAIN && op_state(op)->tries < RESOLVE_TRIES) {
        look = look_up(keeper, op);
        if (look == LOOK_AGAIN) {
            op_state(op)->tries++;
            counter_add(&keeper->counters.proof_retries, 1);
        }
    }
    turn_park(turns, keeper->reader);
    if (look == LOOK_AGAIN) {
        read_end(keeper, op, STORE_RETRY);
    }
}

/* Does the catalog still say that this hash lies at this place? */
static bool still_there(struct keeper *keeper, const struct fetch *fetch) {
    struct turns *turns = &keeper->store->turns;
    turn_begin(turns, keeper->reader);
    bool there = store_entry(keeper->store, fetch->hash, fetch->place).bucket != NULL;
    turn_park(turns, keeper->reader);
    return there;
}

static bool multihash_sound(const uint8_t *block, uint32_t bytes, const struct key *key) {
    uint8_t digest[HASH_DIGEST_MAX];
    return hash_compute(key->code, block, bytes, digest, key->digest_bytes) == 0 &&
           memcmp(digest, key->digest, key->digest_bytes) == 0;
}

/* What the record is worth to those who asked for its key. */
static int32_t judge(struct keeper *keeper, const struct fetch *fetch,
                     const struct admission *admission, bool verify) {
    const struct store *store = keeper->store;
    const struct segment *segment = &store->segments.all[place_spot(fetch->place).segment];
    const struct record_header *record = admission->record;
    bool suspect = (store->unclean && segment->epoch != store->segments.epoch) ||
                   (fetch->place & PLACE_STATE_MASK) == PLACE_HDD;
    const uint8_t *block = admission->opened ? admission->opened->body
                                             : (const uint8_t *)record + record->header_bytes;
    bool sound =
        !(verify || suspect) || multihash_sound(block, record_block_bytes(record), admission->key);
    return sound ? 0 : STORE_CORRUPT;
}

void read_again(struct keeper *keeper, struct store_op *op) {
    counter_add(&keeper->counters.proof_retries, 1);
    op_state(op)->tries++;
    read_begin(keeper, op);
}

/* Hands one frame to every READ that waited, and ends every VERIFY. */
struct share {
    struct op_list reads, verifies;
    uint32_t read_count;
    bool admit;
};
static void share_out(struct keeper *keeper, const struct fetch *fetch,
                      const struct record_header *record, const struct key *key,
                      struct share *share) {
    bool verify = share->verifies.head != NULL;
    struct admission admission = {.record = record,
                                  .key = key,
                                  .hash = fetch->hash,
                                  .place = fetch->place,
                                  .leases = share->read_count,
                                  .admit = share->admit};
    int32_t result = 0;
    if (record_zipped(record)) {
        admission.opened = admit_open(keeper, record, &result);
    }
    result = result == 0 ? judge(keeper, fetch, &admission, verify) : result;
    struct frame *frame = NULL;
    if (share->read_count > 0 && result == 0) {
        if (share->admit) {
            promote_read(keeper, fetch->hash, fetch->place);
        }
        frame = admit_frame(keeper, &admission);
    } else if (admission.opened) {
        admit_drop(admission.opened);
    }
    for (struct store_op *op = op_list_pop(&share->reads); op; op = op_list_pop(&share->reads)) {
        op->frame = frame;
        read_end(keeper, op, result != 0 ? result : frame ? 0 : STORE_RETRY);
    }
    for (struct store_op *op = op_list_pop(&share->verifies); op;
         op = op_list_pop(&share->verifies)) {
        read_end(keeper, op, result);
    }
}

void read_fetched(struct keeper *keeper, struct fetch *fetch, const struct record_header *record,
                  int32_t result) {
    struct op_list waiters = fetch->waiters;
    fetch->waiters = (struct op_list){NULL, NULL};
    struct key key = {0};
    if (record && record_key(record, &key) != 0) {
        record = NULL;
        result = STORE_CORRUPT;
    }
    bool there = record || still_there(keeper, fetch);
    if (!record && !place_here(keeper->store, fetch->place)) {
        result = STORE_RETRY; /* the tier went away under it: nothing is said of the block */
    }
    struct share share = {.admit = false};
    for (struct store_op *op = op_list_pop(&waiters); op; op = op_list_pop(&waiters)) {
        bool order = op->kind == STORE_PUT || op->kind == STORE_DELETE;
        if (order) {
            order_fetched(keeper, op, record, result);
        } else if (record && key_equal(&key, &op->key)) {
            share.admit |= op->kind == STORE_READ && !op->no_admit;
            share.read_count += op->kind == STORE_READ;
            op_list_push(op->kind == STORE_READ ? &share.reads : &share.verifies, op);
        } else if (record && op_state(op)->tries < RESOLVE_TRIES) {
            op_state(op)->match += still_there(keeper, fetch);
            read_again(keeper, op);
        } else if (!there && op_state(op)->tries < RESOLVE_TRIES) {
            read_again(keeper, op);
        } else {
            read_end(keeper, op, there ? result : STORE_RETRY);
        }
    }
    if (share.read_count > 0 || share.verifies.head) {
        share_out(keeper, fetch, record, &key, &share);
    }
}
