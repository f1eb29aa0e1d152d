/* SPDX-License-Identifier: MIT */
#include "store/sweep.h"

#include "base/err.h"
#include "store/inside.h"
#include "store/mark.h"

#include <errno.h>

int sweep_open(struct sweep *sweep, struct porter *porter) {
    sweep->porter = porter;
    sweep->window = vm_map(WALK_BYTES);
    sweep->lots = vm_map(porter->store->config.keepers * sizeof *sweep->lots);
    return sweep->window && sweep->lots ? 0 : err_raise(-ENOMEM);
}

void sweep_close(struct sweep *sweep) {
    vm_unmap(sweep->window, WALK_BYTES);
    vm_unmap(sweep->lots, sweep->porter->store->config.keepers * sizeof *sweep->lots);
}

/* --- at the keeper ---------------------------------------------------------------------------- */

bool sweep_touch(struct keeper *keeper, uint64_t hash, uint64_t place, bool touched) {
    struct entry entry = store_entry(keeper->store, hash, place);
    if (!entry.bucket) {
        return false;
    }
    uint64_t word = entry_place(&entry);
    uint64_t next = touched ? word | PLACE_PINNED : word & ~PLACE_PINNED;
    bool was = (word & PLACE_PINNED) != 0;
    if (place_resident(word)) { /* what the entry is given back when the frame goes */
        struct frame *frame = store_frame(keeper->store, word);
        uint64_t kept = atomic_load_explicit(&frame->place, memory_order_relaxed);
        kept = touched ? kept | PLACE_PINNED : kept & ~PLACE_PINNED;
        atomic_store_explicit(&frame->place, kept, memory_order_relaxed); /* the owner's word */
    }
    if (next != word) {
        entry_set(&entry, next);
    }
    return was;
}

void sweep_resolve(struct keeper *keeper, struct store_op *op) {
    struct sweep_item *item = container_of(op, struct sweep_item, op);
    struct op_state *state = op_state(op);
    if (!store_entry(keeper->store, state->hash, item->place).bucket) {
        order_fail(keeper, op, STORE_ABSENT);
    } else if (sweep_touch(keeper, state->hash, item->place, false)) {
        order_fail(keeper, op, STORE_RETRY);
    } else if (pins_has(&keeper->pins, state->hash)) {
        order_fail(keeper, op, STORE_PINNED);
    } else {
        state->place = item->place;
        log_append(keeper, op);
    }
}

static void swept(struct store_op *op) {
    struct sweep_lot *lot = op->user;
    atomic_fetch_sub_explicit(&lot->left, 1, memory_order_release); /* pairs with lot_in */
}

static void lot_note(struct keeper *keeper, struct note *note) {
    struct sweep_lot *lot = container_of(note, struct sweep_lot, note);
    for (uint32_t i = 0; i < lot->count; i++) {
        keeper_begin(keeper, &lot->items[i].op);
    }
}

/* --- at the porter ---------------------------------------------------------------------------- */

static bool lot_in(const struct sweep_lot *lot) {
    return lot->count == 0 ||
           (note_done(&lot->note) && atomic_load_explicit(&lot->left, memory_order_acquire) == 0);
}

/* Returns: true when no delete is out any more; their results are counted. */
static bool lots_in(struct sweep *sweep) {
    uint32_t keepers = sweep->porter->store->config.keepers;
    for (uint32_t k = 0; k < keepers; k++) {
        if (!lot_in(&sweep->lots[k])) {
            return false;
        }
    }
    for (uint32_t k = 0; k < keepers; k++) {
        struct sweep_lot *lot = &sweep->lots[k];
        for (uint32_t i = 0; i < lot->count; i++) {
            const struct store_op *op = &lot->items[i].op;
            if (op->result == 0) {
                counter_add(&sweep->task->blocks, 1);
                counter_add(&sweep->task->bytes, op->bytes);
            } else if (op->result == STORE_RETRY || op->result == STORE_PINNED) {
                counter_add(op->result == STORE_RETRY ? &sweep->task->again : &sweep->task->pinned,
                            1);
            } else if (op->result < 0 || op->result == STORE_FULL || op->result == STORE_READONLY) {
                sweep->failed = sweep->failed ? sweep->failed : op->result;
            }
        }
        lot->count = 0;
    }
    sweep->out = false;
    return true;
}

static bool is_touched(struct porter *porter, const struct store_item *item) {
    struct store *store = porter->store;
    turn_begin(&store->turns, porter->reader);
    struct entry entry = store_entry(store, item->hash, item->place.word);
    bool touched = entry.bucket && (entry_place(&entry) & PLACE_PINNED) != 0;
    turn_park(&store->turns, porter->reader);
    return touched;
}

static void take(struct sweep *sweep, const struct store_item *item) {
    struct porter *porter = sweep->porter;
    uint32_t keeper = hash_keeper(porter->store, item->hash);
    if (mark_has(sweep->marks, item->hash)) {
        counter_add(&sweep->task->pinned, 1);
        return;
    }
    if (item->birth_lsn > sweep->limit[keeper]) {
        counter_add(&sweep->task->young, 1);
        return;
    }
    if (sweep->task->ask.gc.dry_run) {
        bool touched = is_touched(porter, item);
        counter_add(touched ? &sweep->task->again : &sweep->task->blocks, 1);
        counter_add(&sweep->task->bytes, touched ? 0 : item->bytes);
        return;
    }
    struct sweep_lot *lot = &sweep->lots[keeper];
    struct sweep_item *to = &lot->items[lot->count++];
    *to = (struct sweep_item){.op = {.user = lot,
                                     .key = item->key,
                                     .kind = STORE_SWEEP,
                                     .bytes = item->bytes,
                                     .done = swept},
                              .place = item->place.word};
}

static void lots_out(struct sweep *sweep) {
    struct store *store = sweep->porter->store;
    for (uint32_t k = 0; k < store->config.keepers; k++) {
        struct sweep_lot *lot = &sweep->lots[k];
        if (lot->count > 0) {
            atomic_store_explicit(&lot->left, lot->count, memory_order_relaxed);
            lot->note.run = lot_note;
            note_post(store, k, &lot->note);
            sweep->out = true;
        }
    }
}

void sweep_begin(struct sweep *sweep, const struct sweep_order *order) {
    sweep->task = order->task;
    sweep->marks = order->marks;
    sweep->limit = order->limit;
    sweep->cursor = 0;
    sweep->failed = 0;
    sweep->out = sweep->walk_waits = false;
}

bool sweep_busy(struct sweep *sweep) {
    sweep->walk_waits |= sweep->out;
    return sweep->out;
}

static uint32_t over(struct sweep *sweep, int32_t result, const char *why) {
    sweep->result = result;
    sweep->why = why;
    return 1;
}

uint32_t sweep_step(struct sweep *sweep, bool *ret_over) {
    struct porter *porter = sweep->porter;
    *ret_over = false;
    if (sweep->out && !lots_in(sweep)) {
        return 0;
    }
    *ret_over = true;
    if (porter_canceled(porter, sweep->task)) {
        return over(sweep, STORE_RETRY, "canceled; what was deleted stays deleted");
    }
    if (sweep->walk_waits) { /* a pin's walk has this round */
        sweep->walk_waits = *ret_over = false;
        return 1;
    }
    if (sweep->failed != 0) {
        return over(sweep, sweep->failed,
                    sweep->failed == STORE_FULL
                        ? "there is no space for more tombstones; what was deleted stays deleted"
                        : "the store takes no writes");
    }
    if (sweep->cursor == UINT64_MAX) {
        return over(sweep, 0, NULL);
    }
    uint32_t count = 0;
    struct page_view view = {sweep->window, porter->reader, .stored = true};
    int r = page_read(porter->store, &view, &sweep->cursor, sweep->items, GC_BATCH, &count);
    if (r != 0) {
        return over(sweep, r, "the list of blocks cannot be read");
    }
    for (uint32_t i = 0; i < count; i++) {
        take(sweep, &sweep->items[i]);
    }
    counter_add(&sweep->task->seen, count);
    lots_out(sweep);
    *ret_over = false;
    return 1;
}
