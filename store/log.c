/* SPDX-License-Identifier: MIT */
#include "base/bits.h"
#include "base/must.h"
#include "store/inside.h"

/* A keeper's log: operations become batches, batches become durable, durable ones are acknowledged.
 *
 *   FREE ─► FILLING ─► CLOSED ─► WRITING ─► WRITTEN ─► (every earlier one acknowledged) ─► FREE
 *                        ▲           └────► FAILED ─┐
 *                        └── into another segment ──┘
 *
 * A batch closes at 1 MiB, 200 us after its first record, or at once while no write is out. Up to
 * four writes are out, and while there are four it goes on filling: it could only wait.
 * Acknowledgements leave in LSN order. All writes that are out go to one
 * segment: before the next is begun the last must be in, so that a failure concerns one segment,
 * and the file order of a log is its LSN order.
 *
 * A failed or short write: the segment is never written again; when the other writes are in, what
 * is not acknowledged is stamped for, and written to, another segment under the same LSNs. If that
 * fails too this log takes no more. */

/* Where memory is short commits are small: what they do not touch is no memory. */
static uint32_t batch_bytes(const struct keeper *keeper) {
    return likely(store_rung(keeper->store) < LADDER_BATCHES) ? LOG_BATCH_BYTES
                                                              : LOG_BATCH_BYTES / 8;
}

static struct log_batch *batch_at(struct log *log, uint32_t i) {
    return &log->batches[(log->head + i) % log->batches_max];
}

static struct log_batch *batch_last(struct log *log) {
    return log->count > 0 ? batch_at(log, log->count - 1) : NULL;
}

static struct log_batch *batch_open(struct keeper *keeper) {
    struct log *log = &keeper->log;
    if (log->count == log->batches_max) {
        return NULL;
    }
    log->count++;
    struct log_batch *batch = batch_last(log);
    must(batch->phase == BATCH_FREE);
    batch_reset(batch);
    batch->phase = BATCH_FILLING;
    batch->first_ns = keeper->now_ns;
    return batch;
}

/* The batch this operation can go to now, or NULL: all are on their way. */
static struct log_batch *batch_for(struct keeper *keeper, uint32_t bytes) {
    struct log_batch *batch = batch_last(&keeper->log);
    if (batch && batch->phase == BATCH_FILLING) {
        if (batch->records == 0 || batch->used + bytes <= batch_bytes(keeper)) {
            return batch;
        }
        batch->phase = BATCH_CLOSED;
    }
    return batch_open(keeper);
}

void log_append(struct keeper *keeper, struct store_op *op) {
    struct log *log = &keeper->log;
    if (log->read_only) {
        order_fail(keeper, op, STORE_READONLY);
        return;
    }
    struct log_batch *batch = log->queue.head ? NULL : batch_for(keeper, batch_record_bytes(op));
    if (!batch) {
        op_list_push(&log->queue, op);
        return;
    }
    batch_add(batch, op);
}

static uint32_t queue_drain(struct keeper *keeper) {
    struct log *log = &keeper->log;
    uint32_t count = 0;
    while (log->queue.head) {
        struct log_batch *batch = batch_for(keeper, batch_record_bytes(log->queue.head));
        if (!batch) {
            break;
        }
        batch_add(batch, op_list_pop(&log->queue));
        count++;
    }
    return count;
}

/* --- the end of a write ----------------------------------------------------------------------- */

static uint64_t op_place(const struct log_batch *batch, struct store_op *op) {
    struct spot spot = {.segment = batch->segment->id,
                        .offset_units =
                            (uint32_t)((batch->offset + op_state(op)->record_offset) / RECORD_UNIT),
                        .length_units = batch_record_bytes(op) / RECORD_UNIT};
    return place_pack(&spot) | place_of_segment(batch->keeper->store, batch->segment);
}

static void batch_tell(const struct keeper *keeper, const struct log_batch *batch) {
    struct roll *roll = keeper->log.roll;
    if (!roll) {
        return;
    }
    roll_batch(roll, batch_of(batch->buffer));
    for (struct store_op *op = batch->ops.head; op; op = op->next) {
        uint32_t at = op_state(op)->record_offset;
        roll_record(roll, (const void *)(batch->buffer + at), batch->offset + at,
                    keeper->store->hash_seed);
    }
}

static void note_size(struct log *log, uint32_t bytes) {
    uint32_t mean = atomic_load_explicit(&log->commit_bytes, memory_order_relaxed);
    mean = mean == 0 ? bytes : (uint32_t)(((uint64_t)mean * 7 + bytes) / 8);
    atomic_store_explicit(&log->commit_bytes, mean, memory_order_relaxed); /* a number */
}

static void batch_acknowledge(struct keeper *keeper, struct log_batch *batch) {
    struct log *log = &keeper->log;
    batch_tell(keeper, batch); /* before its operations end, and with them their memory */
    log->durable_lsn = batch->last_lsn;
    log->marked_lsn = max_u64(log->marked_lsn, batch->durable_lsn);
    if (batch->records > 0) {
        log->data_lsn = batch->last_lsn;
        note_size(log, batch->used);
    }
    log->last_ack_ns = keeper->now_ns;
    log->failures = 0;
    log->segment_records += batch->records;
    if (batch->undecided > 0) {
        atomic_fetch_add_explicit(&batch->segment->undecided, batch->undecided,
                                  memory_order_relaxed);
    }
    atomic_store_explicit(&batch->segment->data_bytes,
                          batch->offset + round_up(batch->used, PAGE_BYTES),
                          memory_order_release); /* pairs with housekeeping */
    struct op_list ops = batch->ops;
    batch->ops = (struct op_list){NULL, NULL};
    for (struct store_op *op = op_list_pop(&ops); op; op = op_list_pop(&ops)) {
        const struct record_header *record =
            (const void *)(batch->buffer + op_state(op)->record_offset);
        order_publish(keeper, op, op_place(batch, op), record->lsn);
    }
}

static void log_acknowledge(struct keeper *keeper) {
    struct log *log = &keeper->log;
    while (log->count > 0 && batch_at(log, 0)->phase == BATCH_WRITTEN) {
        struct log_batch *batch = batch_at(log, 0);
        batch_acknowledge(keeper, batch);
        batch->phase = BATCH_FREE;
        if (unlikely(store_rung(keeper->store) >= LADDER_BATCHES)) {
            vm_drop(batch->buffer, log->buffer_bytes);
        }
        log->head = (log->head + 1) % log->batches_max;
        log->count--;
    }
}

/* No more writes of this keeper, and so of its share of the keys, till the next start: everything
 * that waits is refused. The others go on, whose segments may be on other disks. Puts that failed
 * may have reached the disk; to their callers they are unknown, and an error says so. */
static void log_give_up(struct keeper *keeper) {
    struct log *log = &keeper->log;
    log->read_only = true;
    atomic_fetch_or_explicit(&keeper->store->stopped, UINT64_C(1) << keeper->index,
                             memory_order_relaxed);
    struct op_list ops = {NULL, NULL};
    for (; log->count > 0; log->count--) {
        struct log_batch *batch = batch_at(log, 0);
        for (struct store_op *op = op_list_pop(&batch->ops); op; op = op_list_pop(&batch->ops)) {
            op_list_push(&ops, op);
        }
        batch->phase = BATCH_FREE;
        log->head = (log->head + 1) % log->batches_max;
    }
    for (struct store_op *op = op_list_pop(&log->queue); op; op = op_list_pop(&log->queue)) {
        op_list_push(&ops, op);
    }
    for (struct store_op *op = op_list_pop(&ops); op; op = op_list_pop(&ops)) {
        order_fail(keeper, op, STORE_READONLY);
    }
}

static void segment_leave(struct log *log, bool suspect) {
    log->open->suspect = suspect;
    if (log->roll) {
        roll_leave(log->roll, suspect); /* where a write failed the disk is asked what it has */
        log->roll = NULL;
    }
    segment_unpin(log->open); /* no write of it is out */
    log->previous_generation = log->open->generation;
    segment_set_state(log->open, SEGMENT_CLOSED); /* pairs with housekeeping, which seals it */
    log->open = NULL;
}

void log_leave(struct log *log) {
    if (log->open) {
        segment_leave(log, log->open->suspect);
    }
}

/* All writes are in, one failed: what is not acknowledged goes to another segment. */
static void log_rewrite(struct keeper *keeper) {
    struct log *log = &keeper->log;
    log->failed = false;
    segment_leave(log, true);
    log->failures++;
    if (log->failures >= 2) {
        log_give_up(keeper);
        return;
    }
    for (uint32_t i = 0; i < log->count; i++) {
        struct log_batch *batch = batch_at(log, i);
        if (batch->phase == BATCH_WRITTEN || batch->phase == BATCH_FAILED) {
            batch->phase = BATCH_CLOSED;
        }
    }
}

static void log_written(struct disk_op *disk) {
    struct log_batch *batch = container_of(disk, struct log_batch, disk);
    struct keeper *keeper = batch->keeper;
    struct log *log = &keeper->log;
    must(batch->phase == BATCH_WRITING);
    log->writing--;
    if (disk->result == (int32_t)disk->bytes) {
        batch->phase = BATCH_WRITTEN;
        counter_add(&keeper->counters.write_bytes, disk->bytes);
    } else {
        batch->phase = BATCH_FAILED;
        log->failed = true;
        counter_add(&keeper->counters.io_errors, 1);
        tier_error(tier_of(keeper->store, batch->segment), disk->result);
    }
    log_acknowledge(keeper);
    if (log->failed && log->writing == 0) {
        log_rewrite(keeper);
    }
}

/* --- the beginning of a write ----------------------------------------------------------------- */

/* A footer of 64 bytes a record and the trailer must fit behind the batches. */
static bool segment_has_room(const struct log *log, const struct log_batch *batch,
                             uint64_t segment_bytes) {
    uint64_t records = log->segment_records + batch->records;
    for (uint32_t i = 0; i < log->batches_max; i++) {
        records += log->batches[i].phase >= BATCH_WRITING ? log->batches[i].records : 0;
    }
    uint64_t footer = round_up(records * sizeof(struct footer_entry), PAGE_BYTES);
    return log->write_at + round_up(batch->used, PAGE_BYTES) + footer + PAGE_BYTES <= segment_bytes;
}

/* What is kept back is not for puts, unless they have their LSNs already. */
static bool batch_kept_out(const struct log_batch *batch) {
    return batch->puts > 0 && batch->first_lsn == 0;
}

/* The last spare is for tombstones, also while space seems to be had: whether there is any,
 * housekeeping finds out only when it makes the next. */
static struct segment *spare_take(struct keeper *keeper, const struct log_batch *batch) {
    uint32_t count = batch_kept_out(batch) ? LOG_SPARES - 1 : LOG_SPARES;
    struct segment *segment = NULL;
    for (uint32_t i = 0; i < count && !segment; i++) {
        segment = atomic_exchange_explicit(&keeper->spares[i], NULL, memory_order_acq_rel);
        if (segment && tier_state(tier_of(keeper->store, segment)) >= TIER_READONLY) {
            segment_set_state(segment, SEGMENT_CLOSED); /* empty; sealed when its tier is back */
            segment = NULL;
        }
        keeper->log.kept_open = segment ? i == LOG_SPARES - 1 : keeper->log.kept_open;
    }
    return segment;
}

/* The open segment is the one kept back, and none has been made in its stead: puts that filled it
 * would leave the next delete without room, and nothing that makes any. */
static bool open_is_kept(const struct keeper *keeper, const struct log_batch *batch) {
    return keeper->log.kept_open && batch_kept_out(batch) &&
           /* relaxed: whether there is one, not what is in it */
           atomic_load_explicit(&keeper->spares[LOG_SPARES - 1], memory_order_relaxed) == NULL;
}

/* The batch cannot be written for want of space. Its puts are refused and its tombstones may still
 * find the spare that is kept back for them; where they were alone and did not, they go too. */
static struct op_list batch_refuse(struct log_batch *batch) {
    bool all = batch->puts == 0;
    struct op_list ops = batch->ops;
    struct op_list refused = {NULL, NULL};
    uint64_t first_ns = batch->first_ns;
    batch_reset(batch);
    batch->first_ns = first_ns;
    for (struct store_op *op = op_list_pop(&ops); op; op = op_list_pop(&ops)) {
        if (all || op->kind == STORE_PUT) {
            op_list_push(&refused, op);
        } else {
            batch_add(batch, op);
        }
    }
    return refused;
}

/* No spare: wait for one; where there will be none, refuse what needs one. Then every earlier batch
 * is acknowledged, as no write is out. */
static void batch_stall(struct keeper *keeper, struct log_batch *batch) {
    struct log *log = &keeper->log;
    if (!log->stalled) {
        log->stalled = true;
        counter_add(&keeper->counters.stalls_spare, 1);
    }
    int32_t trouble = atomic_load_explicit(&keeper->store->trouble, memory_order_relaxed);
    if (trouble == 0) {
        return;
    }
    if (batch->first_lsn != 0) {
        log_give_up(keeper); /* its LSNs are spoken for: nothing may follow without them */
        return;
    }
    must(batch == batch_at(log, 0));
    struct op_list refused = batch_refuse(batch);
    if (batch->records == 0) {
        batch->phase = BATCH_FREE;
        log->head = (log->head + 1) % log->batches_max;
        log->count--;
    }
    for (struct store_op *op = op_list_pop(&refused); op; op = op_list_pop(&refused)) {
        /* relaxed: a hint. A commit record is refused for good: a bundle must know that it is. */
        bool again = trouble == STORE_FULL && op->kind == STORE_PUT &&
                     atomic_load_explicit(&keeper->store->freeing, memory_order_relaxed);
        order_fail(keeper, op, again ? STORE_RETRY : trouble);
    }
}

static void roll_open(struct keeper *keeper, const struct segment *segment) {
    struct log *log = &keeper->log;
    bool wanted = store_rung(keeper->store) < LADDER_BATCHES;
    for (uint32_t i = 0; i < LOG_ROLLS && wanted && !log->roll; i++) {
        if (roll_state(&log->rolls[i]) == ROLL_FREE) {
            log->roll = &log->rolls[i];
            roll_begin(log->roll, segment);
        }
    }
}

/* Sees to an open segment with room. Returns: false: not now. */
static bool segment_ready(struct keeper *keeper, struct log_batch *batch) {
    struct log *log = &keeper->log;
    struct store *store = keeper->store;
    bool writable = log->open && tier_state(tier_of(store, log->open)) < TIER_READONLY;
    bool kept = writable && open_is_kept(keeper, batch);
    if (writable && !kept && segment_has_room(log, batch, store->segments.segment_bytes)) {
        log->stalled = false;
        return true;
    }
    if (log->writing > 0) {
        return false;
    }
    struct segment *spare = spare_take(keeper, batch);
    if (!spare) {
        batch_stall(keeper, batch);
        return false;
    }
    if (log->open) {
        segment_leave(log, false);
    }
    log->stalled = false;
    log->open = spare;
    log->write_at = PAGE_BYTES;
    log->segment_records = 0;
    roll_open(keeper, spare);
    /* what comes into it was not acknowledged before */
    atomic_store_explicit(&spare->min_birth_lsn, log->durable_lsn + 1, memory_order_relaxed);
    segment_set_state(spare, SEGMENT_OPEN);
    must(segment_pin(spare)); /* till segment_leave: its file is not opened anew under a write */
    return true;
}

static bool batch_issue(struct keeper *keeper, struct log_batch *batch) {
    struct log *log = &keeper->log;
    if (!segment_ready(keeper, batch) || batch->phase != BATCH_CLOSED) {
        return false;
    }
    uint64_t bytes = round_up(batch->used, PAGE_BYTES);
    if (!segment_claim(log->open, log->write_at + bytes)) {
        return false;
    }
    if (batch->first_lsn == 0) {
        batch->first_lsn = log->next_lsn;
        batch->last_lsn = batch->first_lsn + batch->records;
        log->next_lsn = batch->last_lsn + 1;
    }
    batch->segment = log->open;
    batch->offset = log->write_at;
    batch_stamp(batch, &(struct batch_stamp){.segment = log->open,
                                             .offset = batch->offset,
                                             .durable_lsn = log->durable_lsn,
                                             .previous_generation = log->previous_generation,
                                             .log = keeper->index});
    batch->disk = (struct disk_op){.buffer = batch->buffer,
                                   .offset = batch->offset,
                                   .bytes = (uint32_t)bytes,
                                   .fd = segment_fd(log->open),
                                   .kind = DISK_WRITE,
                                   .dsync = true,
                                   .done = log_written};
    batch->phase = BATCH_WRITING;
    log->write_at += bytes;
    log->writing++;
    counter_add(&keeper->counters.batches, 1);
    keeper->disk.calls->submit(keeper->disk.backend, &batch->disk);
    return true;
}

static void close_due(struct keeper *keeper) {
    struct log *log = &keeper->log;
    struct log_batch *batch = batch_last(log);
    if (!batch) {
        bool mark = log->data_lsn > log->marked_lsn && !log->read_only &&
                    keeper->now_ns >= log->last_ack_ns + LOG_MARK_NS;
        if (mark && (batch = batch_open(keeper))) {
            batch->phase = BATCH_CLOSED; /* an empty batch: says what is durable, and no more */
        }
        return;
    }
    if (batch->phase != BATCH_FILLING || batch->records == 0) {
        return;
    }
    bool late = keeper->now_ns >= batch->first_ns + LOG_CLOSE_NS && log->writing < LOG_WRITES_MAX;
    if (log->writing == 0 || batch->used >= batch_bytes(keeper) || late) {
        batch->phase = BATCH_CLOSED;
    }
}

uint32_t log_poll(struct keeper *keeper) {
    struct log *log = &keeper->log;
    uint32_t work = queue_drain(keeper);
    close_due(keeper);
    for (uint32_t i = 0; i < log->count && log->writing < LOG_WRITES_MAX && !log->failed; i++) {
        struct log_batch *batch = batch_at(log, i);
        if (batch->phase == BATCH_CLOSED) {
            if (!batch_issue(keeper, batch)) {
                break;
            }
            work++;
        }
    }
    return work;
}

uint64_t log_due_ns(const struct keeper *keeper) {
    const struct log *log = &keeper->log;
    if (log->count == 0) {
        return log->data_lsn > log->marked_lsn && !log->read_only ? log->last_ack_ns + LOG_MARK_NS
                                                                  : UINT64_MAX;
    }
    const struct log_batch *last = &log->batches[(log->head + log->count - 1) % log->batches_max];
    bool waits = log->writing == 0; /* for a spare, or for the helper to be done with zeroes */
    if (last->phase == BATCH_FILLING && last->records > 0 && log->writing < LOG_WRITES_MAX) {
        return waits ? keeper->now_ns : last->first_ns + LOG_CLOSE_NS;
    }
    return waits ? keeper->now_ns + LOG_STALL_NS : UINT64_MAX;
}
