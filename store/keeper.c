/* SPDX-License-Identifier: MIT */
#include "store/inside.h"

#include "base/bits.h"
#include "base/must.h"
#include "store/bundle.h"

/* The keeper's door: operations in, results out, and the turn's work in between. */

COUNTER_NAMES(store, STORE_COUNTERS);

void keeper_finish(struct keeper *keeper, struct store_op *op, int32_t result) {
    must(counter_get(&keeper->ops) > 0);
    op->result = result;
    if (op->bundle) {
        keeper_leaves(keeper);
        bundle_finished(keeper, op);
        return;
    }
    if (op->done) {
        keeper_leaves(keeper);
        op->done(op);
        return;
    }
    op_list_push(&keeper->done, op);
}

void keeper_begin(struct keeper *keeper, struct store_op *op) {
    *op_state(op) = (struct op_state){.hash = store_hash(keeper->store, &op->key)};
    op->result = 0;
    op->frame = NULL;
    keeper_enters(keeper);
    switch ((enum store_op_kind)op->kind) {
    case STORE_PUT:
    case STORE_DELETE:
    case STORE_PIN:
    case STORE_UNPIN:
    case STORE_SWEEP:
        must(hash_keeper(keeper->store, op_state(op)->hash) == keeper->index);
        order_begin(keeper, op);
        return;
    case STORE_READ:
    case STORE_VERIFY:
        read_begin(keeper, op);
        return;
    case STORE_COMMIT:
        break;
    }
    never("an operation of no kind");
}

static enum keeper_wait wait_now(const struct keeper *keeper) {
    const struct log *log = &keeper->log;
    if (log->writing > 0 || keeper->fetches.out > 0) {
        return KEEPER_WAITS_DISK;
    }
    if (log->count > 0) {
        return log->stalled ? KEEPER_WAITS_SPARE : KEEPER_WAITS_HELPER;
    }
    return counter_get(&keeper->ops) > 0 ? KEEPER_WAITS_OTHERS : KEEPER_WAITS_NOT;
}

enum keeper_wait keeper_waits(const struct keeper *keeper) {
    return (enum keeper_wait)counter_get(&keeper->waits);
}

void keeper_flight(const struct keeper *keeper, struct keeper_flight *ret_flight) {
    *ret_flight = (struct keeper_flight){counter_get(&keeper->ops), counter_get(&keeper->ended)};
}

const char *keeper_wait_name(enum keeper_wait wait) {
    static const char *const names[] = {
        [KEEPER_WAITS_NOT] = "nothing",   [KEEPER_WAITS_DISK] = "disk",
        [KEEPER_WAITS_SPARE] = "spare",   [KEEPER_WAITS_HELPER] = "helper",
        [KEEPER_WAITS_OTHERS] = "others",
    };
    return names[wait];
}

uint32_t keeper_poll(struct keeper *keeper, uint64_t now_ns) {
    keeper->now_ns = now_ns;
    uint32_t work = frame_home_poll(&keeper->home);
    work += admit_press(keeper);
    work += admit_poll(keeper);
    work += note_poll(keeper);
    work += bundle_poll(keeper);
    work += feature_waits(&keeper->gate) ? feature_poll(keeper) : 0;
    work += log_poll(keeper);
    work += catalog_poll(&keeper->store->catalog, keeper->index);
    struct store_counters *counters = &keeper->counters;
    counter_set(&keeper->waits, wait_now(keeper));
    counter_set(&counters->frames, keeper->evictor.frames);
    counter_set(&counters->frame_bytes, evictor_bytes(&keeper->evictor));
    counter_set(&counters->punches, keeper->home.punches);
    counter_set(&counters->punch_failures, keeper->home.punch_failures);
    counter_set(&counters->catalog_grows, keeper->store->arenas[keeper->index].grows);
    return work;
}

struct store_op *keeper_done(struct keeper *keeper) {
    struct store_op *op = op_list_pop(&keeper->done);
    if (op) {
        keeper_leaves(keeper);
    }
    return op;
}

uint64_t keeper_due_ns(const struct keeper *keeper) {
    uint64_t due_ns = log_due_ns(keeper);
    return feature_waits(&keeper->gate) ? min_u64(due_ns, keeper->now_ns + LOG_STALL_NS) : due_ns;
}

bool keeper_idle(const struct keeper *keeper) {
    return counter_get(&keeper->ops) == 0 && keeper->log.writing == 0 && keeper->fetches.out == 0;
}

bool keeper_has_messages(const struct keeper *keeper) {
    /* acquire: the caller has armed its bell before it looks; pairs with the push */
    return atomic_load_explicit(&keeper->adopt, memory_order_acquire) != FRAME_NONE ||
           atomic_load_explicit(&keeper->notes, memory_order_acquire) != NULL ||
           keeper->notes_taken != NULL ||
           atomic_load_explicit(&keeper->errands, memory_order_acquire) != NULL ||
           keeper->errands_taken.head != NULL;
}

uint64_t keeper_take_rings(struct keeper *keeper) {
    uint64_t rings = keeper->rings;
    keeper->rings = 0;
    return rings;
}

const struct store_counters *keeper_counters(const struct keeper *keeper) {
    return &keeper->counters;
}
