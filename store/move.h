/* SPDX-License-Identifier: MIT */
#pragma once

/* move — the one way a stored record gets another place: compaction, promotion, demotion, repair.
 *
 *   move_add ─► batch of a stream ─► written ─► synced ─► notes to owners: from -> to ─► published
 *   move_flush: what is there is written now, and then that it is durable
 *
 * A stream leads to one tier: a segment of log move_log(tier), in the format of every other log, so
 * that recovery knows nothing of moves. Records keep their birth; equal births are copies of one
 * put. The copy is durable before any entry names it, and an entry is changed by its owner, only if
 * it still says `from`: who deletes or replaces the block meanwhile wins, and the copy is dead. The
 * source goes only when nothing live is left in it (store/compact.h), so a loss of power at any
 * point leaves one copy or two, never none.
 *
 * A failed write or sync: the segment is left as suspect and the batch written to another under the
 * same LSNs; without space the batch is dropped, as nobody knows of it. Thread: porter. */

#include "store/inside.h"

#define MOVE_STREAMS      16u /* as many as there may be tiers */
#define MOVE_BATCH_BYTES  (2u * 1024 * 1024)
#define MOVE_ITEMS_MAX    4096u
#define MOVE_NOTE_ITEMS   128u
#define MOVE_ROLL_RECORDS 65536u /* what a stream keeps in mind of a segment, at most */
#define MOVE_NOTES_MAX    (MOVE_ITEMS_MAX / MOVE_NOTE_ITEMS + STORE_KEEPERS_MAX)

enum move_phase { MOVE_FILLING, MOVE_WRITING, MOVE_PUBLISHING };

struct move_item {
    uint64_t hash;
    uint64_t from; /* 0: carried along, no entry names it */
    uint64_t to;
    uint32_t at; /* offset in the batch */
    uint32_t keeper;
    bool moved; /* out: the entry was still `from` */
};

struct move_note {
    struct note note;
    struct move_item *items;
    uint32_t count;
};

struct move_stream {
    enum move_phase phase;
    uint32_t tier;
    bool opened;
    bool flush; /* asked for */
    bool full;  /* no space: what was in hand was dropped; the asker clears it */
    uint32_t failures;
    uint64_t rest_ns; /* after failures: not before then */
    struct segment *open;
    struct roll rolls[LOG_ROLLS];
    struct roll *roll; /* as a log's */
    uint64_t write_at;
    uint64_t segment_records;
    uint64_t previous_generation;
    uint64_t next_lsn, durable_lsn;
    uint64_t data_lsn;      /* last durable one that carries records */
    uint64_t marked_lsn;    /* highest durable_lsn that a durable batch carries */
    uint64_t min_birth_lsn; /* of the batch */
    struct log_batch batch;
    struct move_item *items, *sorted; /* [MOVE_ITEMS_MAX] */
    uint32_t item_count;
    struct move_note *notes; /* [MOVE_NOTES_MAX] */
    uint32_t note_count;
    uint8_t *memory;
    size_t memory_bytes;
};

struct mover {
    struct porter *porter;
    struct store *store;
    struct move_stream streams[MOVE_STREAMS];
    void *page;
    struct zip zip;    /* opened with the first stream */
    uint32_t zip_rest; /* blocks to come that are not compressed: SUPER could not be told */
};

must_check int mover_open(struct mover *mover, struct porter *porter);
/* Leaves its segments, and seals those it knows. The keepers' threads are gone. */
void mover_close(struct mover *mover);

/* move_add takes a record along: header (with its multihash behind it) and payload as stored; LSN,
 * generation and CRC are made anew. A block that goes to an HDD tier is compressed there if that is
 * wanted and worth it, one that goes to an SSD tier is not compressed any more. Returns: 0;
 * MOVE_BUSY: step, then ask again; MOVE_FULL: there is no space on that tier; MOVE_ROTTEN: what is
 * compressed does not open; -ENOMEM. */
enum { MOVE_BUSY = 1, MOVE_FULL, MOVE_ROTTEN };
struct move_record {
    const struct record_header *header;
    const uint8_t *payload;
    uint64_t hash; /* keyed */
    uint64_t from; /* the place its entry names; 0: it has none (tombstones, pins) */
};
must_check int move_add(struct mover *mover, uint32_t tier, const struct move_record *record);

/* Writes what is there, without waiting for more. */
void move_flush(struct mover *mover);
/* Goes on with what is under way. Returns: how much it did. */
uint32_t move_step(struct mover *mover);
/* All that was added is published, and batches behind it say that it is durable. */
bool move_settled(const struct mover *mover);
/* Births of what was added and is not in a segment yet are not below this. */
uint64_t mover_min_birth(const struct mover *mover);
/* What the stream of a log of moves left behind it: [LOG_ROLLS]. NULL: there is no such stream.
 * Thread: helper, boot. */
struct roll *move_rolls(struct store *store, uint32_t log);
/* Some stream dropped what it had in hand since the last call. */
bool move_dropped(struct mover *mover);
