/* SPDX-License-Identifier: MIT */
#include "store/bundle.h"

#include "base/bits.h"
#include "base/hash.h"
#include "base/must.h"
#include "base/pile.h"

#define TXN_KEEPER_BITS 6u
static_assert(STORE_KEEPERS_MAX <= 1u << TXN_KEEPER_BITS, "a txn id has room for its keeper");

enum bundle_step {
    STEP_BEGIN, /* to the owner */
    STEP_APPEND,
    STEP_END,
    STEP_READY, /* to the home */
    STEP_DURABLE,
    STEP_OVER,
};
enum bundle_phase { PHASE_READY, PHASE_DURABLE, PHASE_COMMIT, PHASE_END };

/* --- errands ---------------------------------------------------------------------------------- */

static void errand_send(struct keeper *from, uint32_t to, struct store_op *op,
                        enum bundle_step step) {
    op->step = (uint8_t)step;
    if (to == from->index) {
        op_list_push(&from->errands_taken, op);
        return;
    }
    struct keeper *keeper = &from->store->keepers[to];
    pile_push(&keeper->errands, op);
    from->rings |= UINT64_C(1) << to;
}

static void errands_take(struct keeper *keeper) {
    if (atomic_load_explicit(&keeper->errands, memory_order_relaxed) == NULL) {
        return;
    }
    struct store_op *next;
    for (struct store_op *op = pile_take(&keeper->errands); op; op = next) {
        next = op->next; /* the list's from here */
        op_list_push(&keeper->errands_taken, op);
    }
}

static void report(struct keeper *keeper, struct store_op *op, enum bundle_step step) {
    errand_send(keeper, op->bundle->keeper->index, op, step);
}

/* --- at the owner ----------------------------------------------------------------------------- */

void bundle_finished(struct keeper *keeper, struct store_op *op) {
    report(keeper, op, STEP_OVER);
}

void bundle_hold(struct keeper *keeper, struct store_op *op) {
    op->held = true;
    report(keeper, op, STEP_READY);
}

bool bundle_meets(struct keeper *keeper, struct store_op *op, struct store_op *first) {
    bool older = true;
    for (const struct store_op *at = first; at;
         at = at == first ? op_state(first)->waiters.head : at->next) {
        if (at->bundle == op->bundle) {
            op->echo = true; /* what becomes of that one becomes of this */
            report(keeper, op, STEP_READY);
            return true;
        }
        older = older && (!bundle_atomic(at) || op->bundle->txn < at->bundle->txn);
    }
    if (!older) {
        keeper_finish(keeper, op, STORE_RETRY);
    }
    return !older;
}

static void decide(struct keeper *keeper, struct store_op *op) {
    bool committed = op->bundle->committed;
    if (op->echo) {
        counter_add(&keeper->counters.put_duplicates, committed);
        int32_t why = op->bundle->commit.result;
        keeper_finish(keeper, op, committed ? 0 : why != 0 ? why : STORE_ABORTED);
        return;
    }
    order_decide(keeper, op, committed);
}

/* --- at home ---------------------------------------------------------------------------------- */

static void bundle_end(struct store_bundle *bundle) {
    struct keeper *keeper = bundle->keeper;
    bundle->next = NULL;
    if (keeper->bundles_done) {
        keeper->bundles_last->next = bundle;
    } else {
        keeper->bundles_done = bundle;
    }
    keeper->bundles_last = bundle;
}

/* All that are not over yet get this step, but for those that need no record where it is APPEND.
 * Returns: how many. */
static uint32_t spread(struct store_bundle *bundle, enum bundle_step step) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < bundle->count; i++) {
        struct store_op *op = &bundle->ops[i];
        bool idle = step == STEP_APPEND && (op->duplicate || op->echo);
        count += !op->over && !idle;
    }
    bundle->waiting = count; /* before the first can report */
    for (uint32_t i = 0; i < bundle->count; i++) {
        struct store_op *op = &bundle->ops[i];
        bool idle = step == STEP_APPEND && (op->duplicate || op->echo);
        if (!op->over && !idle) {
            errand_send(bundle->keeper, op->at, op, step);
        }
    }
    return count;
}

static void finish(struct store_bundle *bundle, bool committed) {
    struct store_counters *counters = &bundle->keeper->counters;
    bundle->committed = committed;
    bundle->phase = PHASE_END;
    counter_add(committed ? &counters->commits : &counters->aborts, 1);
    if (spread(bundle, STEP_END) == 0) {
        bundle_end(bundle);
    }
}

static void commit(struct store_bundle *bundle) {
    struct keeper *keeper = bundle->keeper;
    bundle->phase = PHASE_COMMIT;
    put_le32(bundle->record, bundle->count);
    bundle->commit = (struct store_op){.kind = STORE_COMMIT,
                                       .bundle = bundle,
                                       .data = bundle->record,
                                       .bytes = sizeof bundle->record};
    keeper_enters(keeper);
    log_append(keeper, &bundle->commit);
}

void bundle_granted(struct store_bundle *bundle, bool granted) {
    if (!granted) {
        bundle->commit.result = STORE_READONLY;
        finish(bundle, false);
        return;
    }
    bundle->phase = PHASE_DURABLE;
    if (spread(bundle, STEP_APPEND) == 0) {
        finish(bundle, true); /* all are there already, durably */
    }
}

static bool needs_records(const struct store_bundle *bundle) {
    bool needs = false;
    for (uint32_t i = 0; i < bundle->count; i++) {
        const struct store_op *op = &bundle->ops[i];
        needs = needs || !(op->over || op->duplicate || op->echo);
    }
    return needs;
}

/* Every operation has reported what this phase asked for. */
static void phase_over(struct store_bundle *bundle) {
    if (!bundle->atomic || bundle->phase == PHASE_END) {
        bundle_end(bundle);
    } else if (bundle->failed) {
        finish(bundle, false);
    } else if (bundle->phase == PHASE_DURABLE) {
        commit(bundle);
    } else if (needs_records(bundle)) {
        feature_gate(bundle->keeper, bundle);
    } else {
        bundle_granted(bundle, true);
    }
}

static void reported(struct store_op *op) {
    struct store_bundle *bundle = op->bundle;
    if (op->step == STEP_OVER) {
        op->over = true;
        bundle->failed |= op->result != 0;
    }
    must(bundle->waiting > 0);
    counter_add(&bundle->keeper->ended, 1); /* a long one goes on elsewhere: this is no stall */
    if (--bundle->waiting == 0) {
        phase_over(bundle);
    }
}

void bundle_durable(struct keeper *keeper, struct store_op *op, uint64_t place) {
    if (op->kind == STORE_COMMIT) {
        keeper_leaves(keeper);
        finish(op->bundle, true);
        return;
    }
    op_state(op)->durable = place;
    report(keeper, op, STEP_DURABLE);
}

void bundle_uncommitted(struct keeper *keeper, struct store_op *op, int32_t result) {
    struct store_bundle *bundle = op->bundle;
    keeper_leaves(keeper);
    if (result != STORE_FULL) { /* it may have reached the disk */
        atomic_store_explicit(&keeper->store->in_doubt, true, memory_order_relaxed);
    }
    bundle->commit.result = result;
    finish(bundle, false);
}

/* --- both ------------------------------------------------------------------------------------- */

/* Returns: the estimated cost, ns. */
static uint64_t errand(struct keeper *keeper, struct store_op *op) {
    bool hashes = op->kind == STORE_PUT && !op->hashed;
    switch ((enum bundle_step)op->step) {
    case STEP_BEGIN:
        keeper_begin(keeper, op);
        return 1000 + (hashes ? (uint64_t)op->bytes * 3 / 4 : 0);
    case STEP_APPEND:
        log_append(keeper, op);
        return 300 + op->bytes / 8;
    case STEP_END:
        decide(keeper, op);
        return 300;
    case STEP_READY:
    case STEP_DURABLE:
    case STEP_OVER:
        reported(op);
        return 50;
    }
    never("an errand of no kind");
}

static struct hash_claim claim_of(const struct store_op *op) {
    return (struct hash_claim){op->data, op->bytes, op->key.code, op->key.digest,
                               op->key.digest_bytes};
}

/* Two puts that begin one after the other are hashed side by side. Returns: the estimated cost, ns.
 */
static uint64_t prove_ahead(struct store_op *first, struct store_op *second) {
    if (!second || first->step != STEP_BEGIN || second->step != STEP_BEGIN ||
        first->kind != STORE_PUT || second->kind != STORE_PUT || first->hashed || second->hashed) {
        return 0;
    }
    struct hash_claim a = claim_of(first), b = claim_of(second);
    uint32_t proven = hash_prove_two(&a, &b);
    first->hashed = (proven & 1) != 0;
    second->hashed = (proven & 2) != 0;
    return proven ? (uint64_t)(first->bytes + second->bytes) * 3 / 8 : 0;
}

uint32_t bundle_poll(struct keeper *keeper) {
    uint64_t spent_ns = 0;
    uint32_t count = 0;
    errands_take(keeper);
    while (keeper->errands_taken.head && spent_ns < BUNDLE_TURN_NS) {
        struct store_op *op = op_list_pop(&keeper->errands_taken);
        spent_ns += prove_ahead(op, keeper->errands_taken.head);
        spent_ns += errand(keeper, op);
        count++;
    }
    return count;
}

/* Reads go to the owners too: a frame is best filled where it is evicted. */
void keeper_bundle(struct keeper *keeper, struct store_bundle *bundle) {
    struct store *store = keeper->store;
    keeper_enters(keeper);
    counter_add(&keeper->counters.bundles, 1);
    bundle->keeper = keeper;
    bundle->failed = bundle->committed = false;
    bundle->phase = PHASE_READY;
    bundle->txn = 0;
    bundle->commit.result = 0;
    if (bundle->atomic) {
        bundle->txn =
            lsn_make(store->segments.epoch, ++keeper->txn_next << TXN_KEEPER_BITS | keeper->index);
    }
    for (uint32_t i = 0; i < bundle->count; i++) {
        struct store_op *op = &bundle->ops[i];
        must(!bundle->atomic || op->kind == STORE_PUT);
        op->bundle = bundle;
        op->over = op->result != 0;
        op->held = op->duplicate = op->echo = false;
        op->at = (uint8_t)(op->over ? 0 : hash_keeper(store, store_hash(store, &op->key)));
        bundle->failed |= op->over;
    }
    if (bundle->atomic && bundle->failed) {
        for (uint32_t i = 0; i < bundle->count; i++) {
            struct store_op *op = &bundle->ops[i];
            op->result = op->over ? op->result : STORE_ABORTED;
            op->over = true;
        }
        counter_add(&keeper->counters.aborts, 1);
    }
    if (spread(bundle, STEP_BEGIN) == 0) {
        bundle_end(bundle);
    }
}

struct store_bundle *keeper_bundle_done(struct keeper *keeper) {
    struct store_bundle *bundle = keeper->bundles_done;
    if (bundle) {
        keeper->bundles_done = bundle->next;
        keeper_leaves(keeper);
    }
    return bundle;
}
