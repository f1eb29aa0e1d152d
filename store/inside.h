/* SPDX-License-Identifier: MIT */
#pragma once

/* inside — what a store and a keeper are made of. Only files of this folder include it (and tests
 * that look inside).
 *
 * One keeper, one thread:
 *
 *   keeper_begin ─► order.c   puts and deletes: one at a time per key, duplicates, publishing
 *                   fetch.c   reads from disk: coalesced, verified, filled into frames
 *                   log.c     batches, group commit, acknowledgement in LSN order
 *   keeper_done  ◄─ finished operations, first in first out
 *
 * Words that other threads touch are atomic or in a type that says how (segment, frame, catalog).
 */

#include "store/catalog.h"
#include "store/evict.h"
#include "store/feature.h"
#include "store/frame.h"
#include "store/gone.h"
#include "store/graves.h"
#include "store/heap.h"
#include "store/note.h"
#include "store/pins.h"
#include "store/porter.h"
#include "store/promote.h"
#include "store/roll.h"
#include "store/segment.h"
#include "store/store.h"
#include "store/super.h"
#include "store/tier.h"
#include "store/zip.h"

#include <pthread.h>

#define LOG_BATCHES     6u
#define LOG_WRITES_MAX  4u
#define LOG_BATCH_BYTES (1u * 1024 * 1024)
#define LOG_CLOSE_NS    (200 * NS_PER_US)
#define LOG_MARK_NS     (500 * NS_PER_MS) /* idle this long after an ack: say what is durable */
#define LOG_STALL_NS    (1 * NS_PER_MS)
#define LOG_SPARES      2u  /* the last is kept back for tombstones, the others are for anyone */
#define LOG_ROLLS       2u  /* one fills while one is sealed by */
#define ROLL_SHARE      12u /* of the memory of its batches, each */
#define PENDING_BUCKETS 1024u
#define FETCH_CLASSES   3u
#define FETCH_SLOTS     84u
#define RESOLVE_TRIES   64u
#define WALK_BYTES      (64 * KiB)
#define HOUSEKEEP_STEP  (4 * MiB)
#define HOUSEKEEP_AHEAD (8 * MiB)
#define HOUSEKEEP_SMALL (160 * KiB) /* commits from here on do not wait less on written space */

/* A chain of operations by op->next. */
struct op_list {
    struct store_op *head, *tail;
};
static inline void op_list_push(struct op_list *list, struct store_op *op) {
    op->next = NULL;
    if (list->tail) {
        list->tail->next = op;
    } else {
        list->head = op;
    }
    list->tail = op;
}
static inline struct store_op *op_list_pop(struct op_list *list) {
    struct store_op *op = list->head;
    if (op) {
        list->head = op->next;
        list->tail = list->head ? list->tail : NULL;
    }
    return op;
}

/* What an operation remembers while it is in the keeper: lies in op->scratch. */
struct op_state {
    uint64_t hash;
    uint64_t place;           /* on disk: the entry this replaces or removes; 0 = none */
    struct store_op *pending; /* chain of a pending bucket */
    struct op_list waiters;   /* operations on the same key that came later */
    uint32_t record_offset;   /* in its batch */
    uint8_t tries;
    uint8_t match;     /* how many entries of its hash were proven to be another key's */
    uint16_t reserved; /* PIN: it has a place in the table */
    uint64_t durable;  /* held for its bundle: the place of its record; 0: none yet */
};
static_assert(sizeof(struct op_state) == sizeof((struct store_op *)NULL)->scratch, "scratch");
static inline struct op_state *op_state(struct store_op *op) {
    return (struct op_state *)(void *)op->scratch;
}

enum batch_phase {
    BATCH_FREE,
    BATCH_FILLING,
    BATCH_CLOSED,
    BATCH_WRITING,
    BATCH_WRITTEN,
    BATCH_FAILED
};

struct log_batch {
    struct disk_op disk;
    uint8_t *buffer; /* page-aligned */
    struct op_list ops;
    uint32_t used; /* bytes, with the batch record */
    uint32_t records;
    uint32_t puts;
    uint32_t undecided; /* puts of atomic bundles */
    enum batch_phase phase;
    uint64_t first_ns;  /* when its first record came */
    uint64_t first_lsn; /* 0: not stamped yet */
    uint64_t last_lsn;
    uint64_t durable_lsn; /* what it says */
    uint64_t offset;
    struct segment *segment;
    struct keeper *keeper;
};

struct log {
    struct log_batch batches[LOG_BATCHES]; /* a ring: head is the oldest not acknowledged */
    uint32_t head, count;
    uint32_t writing;
    uint32_t buffer_bytes;
    uint32_t batches_max; /* of `batches`, in use: those alone have buffers */
    uint32_t failures;    /* in a row, without an ack between */
    bool failed;          /* a write of the open segment failed: drain, then begin another */
    bool read_only;
    bool stalled;         /* waits for a spare: counted once */
    bool kept_open;       /* the open segment is the one that is kept back for tombstones */
    struct op_list queue; /* operations that found no batch */
    struct roll rolls[LOG_ROLLS];
    struct roll *roll; /* of the open segment; NULL: none was free, or memory is short */
    struct segment *open;
    uint64_t write_at; /* next offset in it */
    uint64_t segment_records;
    uint64_t previous_generation;
    uint64_t next_lsn;
    uint64_t durable_lsn; /* last acknowledged */
    uint64_t data_lsn;    /* last acknowledged that carries records */
    uint64_t marked_lsn;  /* highest durable_lsn that a durable batch carries */
    uint64_t last_ack_ns;
    /* Of its commits, smoothed; 0: none yet. The log's: for housekeeping a hint. */
    _Atomic uint32_t commit_bytes;
};

struct fetch {
    struct disk_op disk;
    struct keeper *keeper;
    struct op_list waiters;
    uint8_t *buffer;
    uint64_t hash;
    uint64_t place;
    struct fetch *next; /* in a free list or a bucket of those under way */
    uint32_t front;     /* of the record, in the buffer */
    uint8_t class;
    uint8_t tries;
    bool header_only;
    bool out;
};

struct fetches {
    struct fetch slots[FETCH_SLOTS];
    struct fetch *free[FETCH_CLASSES];
    struct fetch *busy[64];
    struct op_list waiting[FETCH_CLASSES];
    uint32_t class_bytes[FETCH_CLASSES];
    uint32_t out;
};

struct keeper {
    struct store *store;
    uint32_t index;
    uint32_t reader; /* its place in store->turns */
    uint64_t now_ns;
    uint64_t rings;  /* keepers that got a message */
    counter_t ops;   /* in the keeper: keeper_enters, keeper_leaves */
    counter_t ended; /* of those, and steps of its bundles */
    struct op_list done;
    struct store_op *pending[PENDING_BUCKETS];
    struct frame_home home;
    struct evictor evictor;
    uint64_t sweep_cursor;
    uint64_t sweep_due; /* buckets, in parts of one */
    uint32_t sweep_shard;
    struct fetches fetches;
    struct unzip unzip;
    struct log log;
    struct pins pins;
    struct feature_gate gate;
    struct wishes wishes; /* to the porter */
    struct heap *heap;    /* where no memory was given */
    void *buffers;
    size_t buffers_bytes;
    struct disk disk;
    struct store_counters counters;
    counter_t waits; /* enum keeper_wait */
    /* pushed to by other keepers, taken by this one: frames to adopt, by frame.next */
    alignas(CACHE_PAIR) _Atomic uint32_t adopt;
    /* pushed to by the porter, taken by this keeper (store/note.h) */
    alignas(CACHE_PAIR) _Atomic(struct note *) notes;
    struct note *notes_taken; /* this keeper's: oldest first */
    struct graves *graves;    /* while a tier is missing from the start on; else NULL */
    /* pushed to by other keepers, taken by this one: operations of bundles, by op->next */
    alignas(CACHE_PAIR) _Atomic(struct store_op *) errands;
    struct op_list errands_taken; /* this keeper's: oldest first */
    struct store_bundle *bundles_done, *bundles_last;
    uint64_t txn_next;
    /* filled by housekeeping, taken by this keeper */
    alignas(CACHE_PAIR) _Atomic(struct segment *) spares[LOG_SPARES];
};

struct store {
    struct store_config config;
    struct super super;
    struct features features;
    struct tiers tiers;
    struct segments segments;
    struct turns turns;
    struct catalog catalog;
    struct catalog_arena *arenas;
    struct frame_home *homes[STORE_KEEPERS_MAX];
    struct keeper *keepers; /* [config.keepers] */
    struct porter *porter;
    struct snapshot *snapshot;
    struct backup *backup; /* the porter's; NULL: none is under way */
    struct store_snapshots snapshots;
    pthread_mutex_t files; /* helper and porter: who makes and drops segments. No tile takes it */
    struct gone gone;      /* boot, then the porter */
    uint64_t hash_seed;
    uint32_t helper; /* reader of the helper thread; the porter's is the next */
    uint32_t record_bytes_max;
    int lock_fd;
    bool
        unclean; /* what was written before this start is verified to the multihash on first read */
    bool opened;
    void *page;   /* PAGE_BYTES, boot and helper */
    void *zeroes; /* HOUSEKEEP_STEP, helper */
    void *walk;   /* WALK_BYTES, whoever calls store_page */
    size_t keepers_bytes, readers_bytes;
    uint32_t spare_failures; /* in a row: helper */
    /* Why no spares can be made: 0, STORE_FULL, STORE_READONLY (the disk fails); housekeeping sets
     * and clears it, logs that wait for a spare refuse with it. */
    _Atomic int32_t trouble;
    /* Compaction found something to free: the porter sets it, puts without room may try again. */
    _Atomic bool freeing;
    _Atomic uint64_t stopped;      /* keepers whose logs take no more: a bit each */
    _Atomic uint32_t rung;         /* enum ladder_rung: store_press sets it, everybody looks */
    _Atomic uint64_t frames_bytes; /* what frames may take, all keepers together */
    /* Whether some atomic bundle counts, or what a put without memory came to, shows only at the
     * next start. */
    _Atomic bool in_doubt;
    char dir[512];
};

/* key -> keyed hash, never 0. */
uint64_t store_hash(const struct store *store, const struct key *key);
static inline uint32_t hash_keeper(const struct store *store, uint64_t hash) {
    return hash_shard(hash) % store->config.keepers;
}
static inline struct frame *store_frame(const struct store *store, uint64_t place) {
    uint32_t name = (uint32_t)place;
    return &store->homes[name >> FRAME_NUMBER_BITS]->frames[name & FRAMES_MAX];
}

/* What is known of its uses, for the entry: the policy's count, or what its place brought along
 * (order_relocate). Thread: owner of the shard. */
static inline uint32_t frame_freq(const struct frame *frame) {
    uint64_t place = atomic_load_explicit(&frame->place, memory_order_relaxed);
    uint32_t brought = (uint32_t)(place >> PLACE_FREQ_SHIFT & FRAME_USES_MAX);
    uint32_t counted = frame->freq > FRAME_USES_MAX ? FRAME_USES_MAX : frame->freq;
    return counted > brought ? counted : brought;
}

static inline struct tier *tier_of(struct store *store, const struct segment *segment) {
    return &store->tiers.all[segment->tier];
}
/* The state bits of a place in this segment. */
static inline uint64_t place_of_segment(const struct store *store, const struct segment *segment) {
    return store->tiers.all[segment->tier].kind == TIER_HDD ? PLACE_HDD : PLACE_SSD;
}

/* Can what lies at this place on disk be read now? */
static inline bool place_here(struct store *store, uint64_t place) {
    return tier_here(tier_of(store, &store->segments.all[place_spot(place).segment]));
}

/* A place as the catalog names it. */
static inline uint64_t store_place(const struct store *store, const struct spot *spot) {
    return place_pack(spot) | place_of_segment(store, &store->segments.all[spot->segment]);
}
static inline uint32_t store_tier_at(const struct store *store, uint64_t place) {
    return store->segments.all[place_spot(place).segment].tier;
}
static inline uint32_t move_log(uint32_t tier) {
    return MOVE_LOG - tier;
}

/* The place that a footer entry speaks of. */
uint64_t footer_place(const struct store *store, uint32_t segment,
                      const struct footer_entry *entry);

/* The entry of this hash whose block lies at `place` on disk, resident or not. Thread: the owner;
 * for others, within their turn, a hint. */
struct entry store_entry(const struct store *store, uint64_t hash, uint64_t place);

/* --- keeper.c --- */
static inline void keeper_enters(struct keeper *keeper) {
    counter_add(&keeper->ops, 1);
}
static inline void keeper_leaves(struct keeper *keeper) {
    counter_set(&keeper->ops, counter_get(&keeper->ops) - 1);
    counter_add(&keeper->ended, 1);
}
void keeper_finish(struct keeper *keeper, struct store_op *op, int32_t result);

/* --- page.c --- */
struct page_view {
    void *buffer; /* WALK_BYTES */
    uint32_t reader;
    bool stored; /* sizes as stored will do: for the block's own a header is read where the block is
                  * compressed, as footers do not say it */
};
/* store_page with a buffer and a reader's place of one's own. */
must_check int page_read(struct store *store, const struct page_view *view, uint64_t *cursor,
                         struct store_item items[], uint32_t max, uint32_t *ret_count);

/* --- order.c: puts and deletes --- */
void order_begin(struct keeper *keeper, struct store_op *op);
/* A disk read it asked for is in. record: NULL when unsound (then result is STORE_CORRUPT or
 * -errno). */
void order_fetched(struct keeper *keeper, struct store_op *op, const struct record_header *record,
                   int32_t result);
/* The place it waited to read is gone: it looks its key up again. */
void order_again(struct keeper *keeper, struct store_op *op);
/* Its batch is durable, its record lies there under this LSN: change the catalog, finish it. */
void order_publish(struct keeper *keeper, struct store_op *op, uint64_t place, uint64_t lsn);
/* One of an atomic bundle, held: takes effect or not, and ends. */
void order_decide(struct keeper *keeper, struct store_op *op, bool committed);
/* Ends it without effect. */
void order_fail(struct keeper *keeper, struct store_op *op, int32_t result);

/* The block was copied from one place to another: whatever names the old one names the new one now.
 * Returns: false: its entry no longer did, the copy is nobody's. Thread: the owner. */
bool order_relocate(struct keeper *keeper, uint64_t hash, uint64_t from, uint64_t to);

/* Is an operation under way on a key of this hash? */
bool order_busy(const struct keeper *keeper, uint64_t hash);
/* Takes the block that lies there on disk out of the catalog, and out of memory. */
void order_drop(struct keeper *keeper, uint64_t hash, uint64_t place);

/* It ended what was born under its key before: remembered while a tier is away that may hold some.
 */
void order_bury(struct keeper *keeper, const struct store_op *op, enum record_type type,
                uint64_t lsn);

/* Counts a block at this place in (sign 1) or out (-1). */
void order_account(struct keeper *keeper, uint64_t place, int sign);

/* --- log.c --- */
void log_append(struct keeper *keeper, struct store_op *op);
/* Leaves the open segment, if there is one. Thread: closer. */
void log_leave(struct log *log);
uint32_t log_poll(struct keeper *keeper);
uint64_t log_due_ns(const struct keeper *keeper);

/* --- batch.c: the bytes of a batch --- */
uint32_t batch_record_bytes(const struct store_op *op);
void batch_reset(struct log_batch *batch);
void batch_add(struct log_batch *batch, struct store_op *op);
/* Gives it its place in the log: LSNs where it has none yet, generation, offsets, checksums. */
struct batch_stamp {
    const struct segment *segment;
    uint64_t offset;
    uint64_t durable_lsn;
    uint64_t previous_generation;
    uint32_t log;
};
void batch_stamp(struct log_batch *batch, const struct batch_stamp *stamp);

/* --- fetch.c --- */
void fetch_open(struct keeper *keeper, uint8_t *buffers);
size_t fetch_footprint(const struct store *store);
/* Reads the record at op's place for it; header_only: no payload is needed. Returns: false: its
 * segment is going, and the block has another place by now: look it up again. */
must_check bool fetch_begin(struct keeper *keeper, struct store_op *op, bool header_only);

/* --- read.c: READ and VERIFY --- */
void read_begin(struct keeper *keeper, struct store_op *op);
void read_again(struct keeper *keeper, struct store_op *op);
/* Gives the sound record (or the reason why there is none) to every waiter of the fetch. */
void read_fetched(struct keeper *keeper, struct fetch *fetch, const struct record_header *record,
                  int32_t result);

/* --- admit.c: memory --- */
/* Copies a sound record into a frame with `leases` leases, admitted where allowed. NULL: no memory.
 */
struct admission {
    const struct record_header *record;
    struct frame *opened; /* the block, where the record is compressed: admit_open's */
    const struct key *key;
    uint64_t hash;
    uint64_t place;
    uint32_t leases;
    bool admit;
};
struct frame *admit_frame(struct keeper *keeper, const struct admission *admission);
/* admit_open decompresses a record into a frame that nobody knows yet: admit_frame takes it, or
 * admit_drop. NULL: *ret_result is STORE_CORRUPT, or STORE_RETRY where there is no memory now. */
struct frame *admit_open(struct keeper *keeper, const struct record_header *record,
                         int32_t *ret_result);
void admit_drop(struct frame *frame);
/* Takes frames that other keepers filled. */
uint32_t admit_poll(struct keeper *keeper);
/* Takes over what frames may take by now, and evicts what is over it where that is urgent. Returns:
 * how many left. */
uint32_t admit_press(struct keeper *keeper);
/* Evicts until `bytes` more fit the budget. Returns: how many left. */
uint32_t admit_room(struct keeper *keeper, uint64_t bytes);

/* --- recover.c: finds segments, decides what counts, fills the catalog --- */
must_check int recover(struct store *store, struct store_report *report);

/* --- spare.c: segments ahead of the logs --- */
/* Is there room for one more segment on this tier? A log leaves room for one that is moved, so that
 * a full tier can still be compacted. Thread: boot, or under store->files. */
enum room_use { ROOM_LOG, ROOM_MOVE };
bool tier_room(const struct store *store, const struct tier *tier, enum room_use use);
/* Making a segment on it gave this: keeps its state. */
void tier_made(struct tier *tier, int result);
/* One that was full and has room for a log's segment again is online: nobody asks for one while the
 * others hold the spares. Takes store->files where it is full. Thread: porter. */
void tier_freed(struct store *store, struct tier *tier);
/* How far ahead of its pen a log whose commits are of this size (0: not known) finds zeroes of use.
 */
uint64_t spare_ahead(enum segment_state state, uint32_t commit_bytes);
/* Seals a segment that its log has left, where seal_may. Returns: as seal_closed. Thread: helper,
 * boot. */
must_check int spare_seal(struct store *store, struct segment *segment);
/* Makes the spares that are missing. Returns: how many, or -errno other than -ENOSPC. Thread:
 * helper, boot. */
must_check int spare_refill(struct store *store);
/* Drops spares that were not used. Thread: boot. */
void spare_drop_all(struct store *store);
