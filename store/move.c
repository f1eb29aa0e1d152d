/* SPDX-License-Identifier: MIT */
#include "store/move.h"

#include "base/bits.h"
#include "base/err.h"
#include "base/must.h"
#include "store/compact.h"
#include "store/seal.h"

#include <errno.h>
#include <string.h>
#include <xxhash.h>

#define REST_NS  (10 * NS_PER_S) /* after two failed writes in a row */
#define ZIP_REST 1024u           /* blocks, after SUPER could not be written */

int mover_open(struct mover *mover, struct porter *porter) {
    *mover = (struct mover){.porter = porter, .store = porter->store};
    for (uint32_t i = 0; i < MOVE_STREAMS; i++) {
        mover->streams[i].tier = i;
    }
    mover->page = vm_map(PAGE_BYTES);
    return mover->page ? 0 : err_raise(-ENOMEM);
}

static void segment_leave(struct move_stream *stream, bool suspect) {
    struct segment *segment = stream->open;
    segment->suspect = suspect;
    if (stream->roll) {
        roll_leave(stream->roll, suspect);
        stream->roll = NULL;
    }
    stream->previous_generation = segment->generation;
    stream->marked_lsn = stream->data_lsn;      /* its footer will say that it is durable */
    segment_set_state(segment, SEGMENT_CLOSED); /* pairs with housekeeping, which seals it */
    stream->open = NULL;
}

struct roll *move_rolls(struct store *store, uint32_t log) {
    bool moves = log <= MOVE_LOG && log > MOVE_LOG - MOVE_STREAMS && store->porter;
    return moves ? porter_mover(store->porter)->streams[MOVE_LOG - log].rolls : NULL;
}

/* Where that fails the closer tries again, by reading it. */
static void seal_left(struct mover *mover, struct move_stream *stream) {
    struct store *store = mover->store;
    for (uint32_t i = 0; i < LOG_ROLLS; i++) {
        struct segment *segment = &store->segments.all[stream->rolls[i].segment];
        bool sealable = roll_state(&stream->rolls[i]) == ROLL_LEFT &&
                        segment_state(segment) == SEGMENT_CLOSED && seal_may(segment) &&
                        tier_state(tier_of(store, segment)) < TIER_READONLY;
        int r = sealable && stream->rolls[i].count > 0 ? spare_seal(store, segment) : 0;
        (void)r;
    }
}

void mover_close(struct mover *mover) {
    if (!mover->store) { /* opening did not come to it */
        return;
    }
    for (uint32_t i = 0; i < MOVE_STREAMS; i++) {
        struct move_stream *stream = &mover->streams[i];
        if (stream->open) {
            segment_leave(stream, stream->failures > 0);
        }
        seal_left(mover, stream);
        vm_unmap(stream->memory, stream->memory_bytes);
    }
    zip_close(&mover->zip);
    vm_unmap(mover->page, PAGE_BYTES);
    *mover = (struct mover){0};
}

/* Fewer where the budget leaves the logs fewer batches. */
static uint32_t roll_records(const struct store *store) {
    uint32_t batches = store->config.batches ? store->config.batches : LOG_BATCHES;
    return MOVE_ROLL_RECORDS / LOG_BATCHES * batches;
}

/* A stream's memory is taken when it is first used. */
static int stream_open(struct mover *mover, struct move_stream *stream) {
    const struct store *store = mover->store;
    if (!mover->zip.context) {
        int r = zip_open(&mover->zip);
        if (r != 0) {
            zip_close(&mover->zip);
            return r;
        }
    }
    uint64_t batch =
        round_up(max_u64(MOVE_BATCH_BYTES, store->record_bytes_max) + BATCH_RECORD, PAGE_BYTES);
    uint64_t items = round_up(MOVE_ITEMS_MAX * sizeof *stream->items, PAGE_BYTES);
    uint64_t notes = round_up(MOVE_NOTES_MAX * sizeof *stream->notes, PAGE_BYTES);
    uint64_t roll = round_up(roll_records(store) * sizeof *stream->rolls[0].entries, PAGE_BYTES);
    stream->memory_bytes = batch + PAGE_BYTES + 2 * items + notes + LOG_ROLLS * roll;
    stream->memory = vm_map(stream->memory_bytes);
    if (!stream->memory) {
        return err_raise(-ENOMEM);
    }
    stream->batch.buffer = stream->memory;
    stream->items = (void *)(stream->memory + batch + PAGE_BYTES);
    stream->sorted = (void *)((uint8_t *)stream->items + items);
    stream->notes = (void *)((uint8_t *)stream->sorted + items);
    for (uint32_t i = 0; i < LOG_ROLLS; i++) { /* counts only as far as it is filled */
        stream->rolls[i].entries = (void *)((uint8_t *)stream->notes + notes + i * roll);
        stream->rolls[i].max = roll_records(store);
    }
    stream->next_lsn = lsn_make(store->segments.epoch, 1);
    stream->durable_lsn = stream->data_lsn = stream->marked_lsn =
        lsn_make(store->segments.epoch, 0);
    batch_reset(&stream->batch);
    stream->min_birth_lsn = UINT64_MAX;
    stream->opened = true;
    return 0;
}

static void stream_empty(struct move_stream *stream) {
    batch_reset(&stream->batch);
    stream->item_count = 0;
    stream->note_count = 0;
    stream->min_birth_lsn = UINT64_MAX;
    stream->phase = MOVE_FILLING;
}

/* May what is compressed be written? SUPER says so first. Where it cannot be written the next
 * blocks are moved as they are: each would else write and sync it again. */
static bool may_zip(struct mover *mover) {
    if (mover->zip_rest > 0) {
        mover->zip_rest--;
        return false;
    }
    bool may = feature_set(mover->store, FEATURE_ZSTD, mover->page) == 0;
    mover->zip_rest = may ? 0 : ZIP_REST;
    return may;
}

/* The payload behind its header, in the form it has on that tier; the header then says so. Returns:
 * 0 or STORE_CORRUPT. */
static int put_payload(struct mover *mover, const struct move_stream *stream,
                       const struct move_record *record, struct record_header *header) {
    const struct store *store = mover->store;
    struct upkeep_counters *counters = &mover->porter->counters;
    bool slow = store->tiers.all[stream->tier].kind == TIER_HDD;
    uint8_t *to = (uint8_t *)header + header->header_bytes;
    uint32_t bytes = header->stored_bytes;
    if (record_zipped(header) && !slow) {
        int r = zip_header_sound(header)
                    ? unzip_record(&mover->zip.unzip, header, record->payload, to)
                    : STORE_CORRUPT;
        header->flags &= (uint8_t)~RECORD_ZSTD;
        header->stored_bytes = header->logical_bytes;
        header->payload_xxh3 = XXH3_64bits(to, header->stored_bytes);
        return r;
    }
    bool wanted = slow && store->config.compress == STORE_COMPRESS_HDD &&
                  header->type == RECORD_BLOCK && !record_zipped(header) && may_zip(mover);
    uint32_t count = wanted ? zip_block(&mover->zip, record->payload, bytes, to) : 0;
    if (count > 0) {
        header->flags |= RECORD_ZSTD;
        header->stored_bytes = count;
        header->logical_bytes = bytes;
        header->dict = 0;
        header->payload_xxh3 = XXH3_64bits(to, count);
        counter_add(&counters->zipped_blocks, 1);
        counter_add(&counters->zipped_saved, bytes - count);
    } else if (bytes > 0) {
        memcpy(to, record->payload, bytes);
    }
    return 0;
}

int move_add(struct mover *mover, uint32_t tier, const struct move_record *record) {
    must(tier < MOVE_STREAMS);
    struct move_stream *stream = &mover->streams[tier];
    int r = stream->opened ? 0 : stream_open(mover, stream);
    if (r != 0) {
        return r;
    }
    if (stream->full) {
        return MOVE_FULL;
    }
    if (stream->phase != MOVE_FILLING) {
        return MOVE_BUSY;
    }
    struct log_batch *batch = &stream->batch;
    const struct record_header *from = record->header;
    uint32_t span = record_span(from->header_bytes, record_block_bytes(from)); /* at most */
    if (stream->item_count == MOVE_ITEMS_MAX ||
        (batch->records > 0 && batch->used + span > MOVE_BATCH_BYTES)) {
        stream->phase = MOVE_WRITING;
        return MOVE_BUSY;
    }
    uint8_t *at = batch->buffer + batch->used;
    struct record_header *header = (struct record_header *)(void *)at;
    memcpy(at, from, from->header_bytes);
    if (put_payload(mover, stream, record, header) != 0) {
        return MOVE_ROTTEN;
    }
    uint32_t end = header->header_bytes + header->stored_bytes;
    span = record_span(header->header_bytes, header->stored_bytes);
    memset(at + end, 0, span - end);
    header->flags |= RECORD_MOVED_IN;
    header->txn = from->type == RECORD_COMMIT ? from->txn : 0;
    stream->items[stream->item_count++] =
        (struct move_item){.hash = record->hash, .from = record->from, .at = batch->used};
    if (from->type != RECORD_TOMBSTONE) {
        stream->min_birth_lsn = min_u64(stream->min_birth_lsn, from->birth_lsn);
    }
    batch->used += span;
    batch->records++;
    return 0;
}

/* --- writing ---------------------------------------------------------------------------------- */

static bool has_room(const struct mover *mover, const struct move_stream *stream) {
    uint64_t records = stream->segment_records + stream->batch.records;
    uint64_t footer = round_up(records * sizeof(struct footer_entry), PAGE_BYTES);
    return stream->write_at + round_up(stream->batch.used, PAGE_BYTES) + footer + PAGE_BYTES <=
           mover->store->segments.segment_bytes;
}

static int segment_for(struct mover *mover, const struct move_stream *stream,
                       struct segment **ret_segment) {
    struct store *store = mover->store;
    struct tier *tier = &store->tiers.all[stream->tier];
    struct segment_order order = {.tier = stream->tier,
                                  .log = move_log(stream->tier),
                                  .create_lsn = lsn_make(store->segments.epoch, 0),
                                  .claimed = true, /* a move is not waited for */
                                  .page = mover->page};
    (void)pthread_mutex_lock(&store->files);
    int r = tier_room(store, tier, ROOM_MOVE) ? segment_make(&store->segments, &order, ret_segment)
                                              : -ENOSPC;
    tier_error(tier, r);
    (void)pthread_mutex_unlock(&store->files);
    return r;
}

static void roll_open(const struct mover *mover, struct move_stream *stream) {
    bool wanted = store_rung(mover->store) < LADDER_BATCHES;
    for (uint32_t i = 0; i < LOG_ROLLS && wanted && !stream->roll; i++) {
        if (roll_state(&stream->rolls[i]) == ROLL_FREE) {
            stream->roll = &stream->rolls[i];
            roll_begin(stream->roll, stream->open);
        }
    }
}

/* The batch is durable: its footer will name what is in it by what was written, and not by what is
 * read of it later, when the place that it was copied from may be gone. */
static void tell(const struct mover *mover, const struct move_stream *stream) {
    const struct log_batch *batch = &stream->batch;
    if (!stream->roll) {
        return;
    }
    roll_batch(stream->roll, batch_of(batch->buffer));
    for (uint32_t i = 0; i < stream->item_count; i++) {
        uint32_t at = stream->items[i].at;
        roll_record(stream->roll, (const void *)(batch->buffer + at), batch->offset + at,
                    mover->store->hash_seed);
    }
}

/* Sees to an open segment with room. Returns: 0 or -errno. */
static int stream_ready(struct mover *mover, struct move_stream *stream) {
    if (stream->open && has_room(mover, stream)) {
        return 0;
    }
    if (stream->open) {
        segment_leave(stream, false);
    }
    struct segment *segment = NULL;
    int r = segment_for(mover, stream, &segment);
    if (r != 0) {
        return r;
    }
    stream->open = segment;
    roll_open(mover, stream);
    stream->write_at = PAGE_BYTES;
    stream->segment_records = 0;
    atomic_store_explicit(&segment->min_birth_lsn, UINT64_MAX, memory_order_relaxed);
    atomic_store_explicit(&segment->published_bytes, PAGE_BYTES, memory_order_relaxed);
    segment_set_state(segment, SEGMENT_OPEN);
    return 0;
}

static int write_batch(struct mover *mover, struct move_stream *stream) {
    const struct disk *disk = &mover->store->config.disk;
    struct log_batch *batch = &stream->batch;
    struct segment *segment = stream->open;
    uint64_t bytes = round_up(batch->used, PAGE_BYTES);
    batch->segment = segment;
    batch->offset = stream->write_at;
    batch_stamp(batch, &(struct batch_stamp){.segment = segment,
                                             .offset = batch->offset,
                                             .durable_lsn = stream->durable_lsn,
                                             .previous_generation = stream->previous_generation,
                                             .log = move_log(stream->tier)});
    /* Before the bytes are there: whoever asks what old births a segment may hold must not be told
     * too late. Relaxed: it is asked on this thread. */
    uint64_t birth = atomic_load_explicit(&segment->min_birth_lsn, memory_order_relaxed);
    atomic_store_explicit(&segment->min_birth_lsn, min_u64(birth, stream->min_birth_lsn),
                          memory_order_relaxed);
    int64_t n =
        disk->calls->pwrite(disk->backend, segment->fd, batch->buffer, bytes, batch->offset);
    int r = n == (int64_t)bytes ? 0 : n < 0 ? (int)n : err_raise(-EIO);
    r = r == 0 ? disk->calls->sync_file(disk->backend, segment->fd) : r;
    counter_add(&mover->porter->counters.moved_bytes, n > 0 ? (uint64_t)n : 0);
    return r;
}

static void stream_fail(struct mover *mover, struct move_stream *stream) {
    counter_add(&mover->porter->counters.move_errors, 1);
    segment_leave(stream, true);
    if (++stream->failures >= 2) {
        stream->rest_ns = mover->porter->now_ns + REST_NS;
    }
}

/* Nobody knows of the batch: as if it had never been filled. */
static void stream_undo(struct move_stream *stream) {
    if (stream->batch.first_lsn != 0) {
        stream->next_lsn = stream->batch.first_lsn;
    }
    stream_empty(stream);
}

static void stream_drop(struct move_stream *stream) {
    stream_undo(stream);
    stream->full = true;
}

/* A batch that only says what is durable is not worth a segment: where it does not fit, the last
 * one is left, and sealed. On a full tier there is none to be had before this one is done with. */
static void marker_spare(struct move_stream *stream) {
    if (stream->open) {
        segment_leave(stream, false);
    }
    stream_undo(stream);
}

/* Items that name an entry, grouped by its owner, one note for so many. */
static void post_notes(struct mover *mover, struct move_stream *stream);

static uint32_t stream_write(struct mover *mover, struct move_stream *stream) {
    struct log_batch *batch = &stream->batch;
    if (mover->porter->now_ns < stream->rest_ns) {
        return 0;
    }
    if (batch->records == 0 && !(stream->open && has_room(mover, stream))) {
        marker_spare(stream);
        return 1;
    }
    int r = stream_ready(mover, stream);
    if (r != 0) {
        stream_drop(stream);
        return 0;
    }
    if (batch->first_lsn == 0) {
        batch->first_lsn = stream->next_lsn;
        batch->last_lsn = batch->first_lsn + batch->records;
        stream->next_lsn = batch->last_lsn + 1;
    }
    if (write_batch(mover, stream) != 0) {
        stream_fail(mover, stream);
        return 1;
    }
    tell(mover, stream);
    stream->failures = 0;
    stream->write_at += round_up(batch->used, PAGE_BYTES);
    stream->segment_records += batch->records;
    stream->durable_lsn = batch->last_lsn;
    stream->marked_lsn = max_u64(stream->marked_lsn, batch->durable_lsn);
    if (batch->records > 0) {
        stream->data_lsn = batch->last_lsn;
    }
    atomic_store_explicit(&stream->open->data_bytes, stream->write_at,
                          memory_order_release); /* pairs with housekeeping */
    stream->phase = MOVE_PUBLISHING;
    post_notes(mover, stream);
    return 1;
}

/* --- publishing ------------------------------------------------------------------------------- */

static void relocate(struct keeper *keeper, struct note *note) {
    struct move_note *move = container_of(note, struct move_note, note);
    for (uint32_t i = 0; i < move->count; i++) {
        struct move_item *item = &move->items[i];
        item->moved = order_relocate(keeper, item->hash, item->from, item->to);
    }
}

static void sort_items(struct mover *mover, struct move_stream *stream, uint32_t *ret_count) {
    const struct store *store = mover->store;
    const struct log_batch *batch = &stream->batch;
    uint32_t count = 0;
    for (uint32_t i = 0; i < stream->item_count; i++) {
        struct move_item *item = &stream->items[i];
        const struct record_header *header = (const void *)(batch->buffer + item->at);
        uint32_t span = record_span(header->header_bytes, header->stored_bytes);
        struct spot spot = {.segment = batch->segment->id,
                            .offset_units = (uint32_t)((batch->offset + item->at) / RECORD_UNIT),
                            .length_units = span / RECORD_UNIT};
        item->to = store_place(store, &spot);
        item->keeper = hash_keeper(store, item->hash);
    }
    for (uint32_t k = 0; k < store->config.keepers; k++) {
        for (uint32_t i = 0; i < stream->item_count; i++) {
            if (stream->items[i].from != 0 && stream->items[i].keeper == k) {
                stream->sorted[count++] = stream->items[i];
            }
        }
    }
    *ret_count = count;
}

static void post_notes(struct mover *mover, struct move_stream *stream) {
    uint32_t count = 0;
    sort_items(mover, stream, &count);
    stream->note_count = 0;
    for (uint32_t from = 0; from < count;) {
        uint32_t to = from + 1;
        while (to < count && to - from < MOVE_NOTE_ITEMS &&
               stream->sorted[to].keeper == stream->sorted[from].keeper) {
            to++;
        }
        must(stream->note_count < MOVE_NOTES_MAX);
        struct move_note *note = &stream->notes[stream->note_count++];
        *note = (struct move_note){
            .note.run = relocate, .items = &stream->sorted[from], .count = to - from};
        note_post(mover->store, stream->sorted[from].keeper, &note->note);
        from = to;
    }
}

/* Blocks that changed tiers, for stat. */
static void count_move(struct store *store, const struct move_item *item) {
    struct tier *from = tier_of(store, &store->segments.all[place_spot(item->from).segment]);
    struct tier *to = tier_of(store, &store->segments.all[place_spot(item->to).segment]);
    if (item->moved && from != to) {
        atomic_fetch_add_explicit(&from->moved_out, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&to->moved_in, 1, memory_order_relaxed);
        if (from->kind == TIER_HDD && to->kind == TIER_SSD) {
            struct upkeep_counters *counters = &store->porter->counters;
            counter_add(&counters->promotions, 1);
            counter_add(&counters->promoted_bytes,
                        (uint64_t)place_spot(item->to).length_units * RECORD_UNIT);
        }
    }
}

static uint32_t stream_publish(struct mover *mover, struct move_stream *stream) {
    for (uint32_t i = 0; i < stream->note_count; i++) {
        if (!note_done(&stream->notes[i].note)) {
            return 0;
        }
    }
    for (uint32_t n = 0; n < stream->note_count; n++) {
        for (uint32_t i = 0; i < stream->notes[n].count; i++) {
            counter_add(&mover->porter->counters.moves, stream->notes[n].items[i].moved);
            count_move(mover->store, &stream->notes[n].items[i]);
        }
    }
    /* release: the entries come before; pairs with whoever copies the catalog */
    atomic_store_explicit(&stream->open->published_bytes, stream->write_at, memory_order_release);
    stream_empty(stream);
    return 1;
}

/* --- the step --------------------------------------------------------------------------------- */

static bool stream_settled(const struct move_stream *stream) {
    return !stream->opened || (stream->phase == MOVE_FILLING && stream->batch.records == 0 &&
                               stream->marked_lsn >= stream->data_lsn);
}

static uint32_t stream_step(struct mover *mover, struct move_stream *stream) {
    if (stream->phase == MOVE_FILLING && stream->flush) {
        stream->flush = !stream_settled(stream);
        stream->phase = stream->flush ? MOVE_WRITING : MOVE_FILLING;
    }
    switch (stream->phase) {
    case MOVE_FILLING:
        return 0;
    case MOVE_WRITING:
        return stream_write(mover, stream);
    case MOVE_PUBLISHING:
        return stream_publish(mover, stream);
    }
    never("a stream in no phase");
}

uint32_t move_step(struct mover *mover) {
    uint32_t work = 0;
    for (uint32_t i = 0; i < MOVE_STREAMS; i++) {
        work += mover->streams[i].opened ? stream_step(mover, &mover->streams[i]) : 0;
    }
    return work;
}

void move_flush(struct mover *mover) {
    for (uint32_t i = 0; i < MOVE_STREAMS; i++) {
        mover->streams[i].flush = mover->streams[i].opened;
    }
}

bool move_settled(const struct mover *mover) {
    for (uint32_t i = 0; i < MOVE_STREAMS; i++) {
        if (!stream_settled(&mover->streams[i])) {
            return false;
        }
    }
    return true;
}

uint64_t mover_min_birth(const struct mover *mover) {
    uint64_t birth = UINT64_MAX;
    for (uint32_t i = 0; i < MOVE_STREAMS; i++) {
        const struct move_stream *stream = &mover->streams[i];
        birth = stream->opened ? min_u64(birth, stream->min_birth_lsn) : birth;
    }
    return birth;
}

bool move_dropped(struct mover *mover) {
    bool dropped = false;
    for (uint32_t i = 0; i < MOVE_STREAMS; i++) {
        dropped = dropped || mover->streams[i].full;
        mover->streams[i].full = false;
    }
    return dropped;
}
