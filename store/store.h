/* SPDX-License-Identifier: MIT */
#pragma once

/* store — content-addressed blocks: an in-memory catalog over log-structured segment files, with a
 * memory tier of verified frames read without copying.
 *
 * 256 virtual shards by keyed hash of the key; each shard has one writer, its keeper (one per work
 * tile); readers are any tile, without locks.
 *
 *   any tile   store_find, store_have, frame leases       (lock-free: catalog and frames)
 *   its tile   keeper_begin, keeper_poll, keeper_done     (puts, deletes, disk reads, eviction)
 *   helper     store_housekeep                            (spare segments, sealing: may block)
 *   porter     store_maintain                             (background work, tasks: may block)
 *   boot       store_open, store_close, store_walk
 *
 * A read (STORE_READ, STORE_VERIFY) may run on any keeper; a put or delete runs on the keeper
 * that owns the key's shard (store_keeper_of). A frame filled by another keeper is told to the
 * owner over a ring between keepers; the owner alone publishes and evicts.
 *
 * An entry is a hint: the record on disk or the frame in memory proves it, and a failed proof is
 * looked up again. Nothing is acknowledged before it is durable. No byte that does not match its
 * multihash is ever handed out. This folder starts no thread and enters the kernel only through
 * store/disk.h. */

#include "base/base.h"
#include "base/counter.h"
#include "base/key.h"
#include "store/disk.h"
#include "store/ladder.h"

#define STORE_SHARDS            256u
#define STORE_BLOCK_MAX         (2u * 1024 * 1024) /* default limit of one block */
#define STORE_BLOCK_HARD_MAX    4193664u           /* what the index's 16-bit length can say */
#define STORE_KEEPERS_MAX       64u
#define STORE_SEGMENT_BYTES_MIN (4 * MiB)
#define STORE_SEGMENT_BYTES_MAX (256 * MiB)
#define TIERS_MAX               16u /* directories that segments lie in */

struct store;
struct keeper;

/* Outcomes, everywhere in the store (r > 0). */
enum store_outcome {
    STORE_ABSENT = 1, /* no such block */
    STORE_RETRY,      /* cannot tell now: tier missing, loading, or caught in a move */
    STORE_CORRUPT,    /* it was here and is damaged */
    STORE_MISMATCH,   /* put: the bytes do not hash to the key */
    STORE_HASH,       /* put: a hash function we do not have */
    STORE_SIZE,       /* put: larger than a block may be */
    STORE_FULL,       /* no space: puts are refused, reads and deletes go on; STORE_RETRY where
                         compaction is about to free some */
    STORE_LOCKED,     /* open: another process has it */
    STORE_FORMAT,     /* open: not a store, or a version we cannot read */
    STORE_READONLY,   /* a write failed twice: the keeper of this key takes no more */
    STORE_PINNED,     /* pin: direct was asked for, and recursive is what it is already */
    STORE_ABORTED,    /* put, all or nothing: another of its bundle failed */
};

/* Frame bodies come from here (the core's arenas); all run on the keeper's own thread.
 * take: NULL = none left, which evicts. A NULL `memory` in the config means the general heap.
 * file: bodies within file_base and file_bytes lie in this file and may be sent out of it; punch
 * drops the pages of one of them, whole, before it is used again. Returns: 0, or -errno: then the
 * body is given up. */
struct store_memory {
    void *(*take)(void *context, size_t bytes, size_t align);
    void (*give)(void *context, void *body, size_t bytes);
    int (*punch)(void *context, void *body, size_t bytes);
    void *context;
    const uint8_t *file_base;
    uint64_t file_bytes; /* 0: no file */
    int file;
};

/* Which tiers hold blocks compressed, where that saves an eighth. */
enum store_compress { STORE_COMPRESS_OFF, STORE_COMPRESS_HDD };

enum store_policy { STORE_POLICY_S3FIFO, STORE_POLICY_LRU, STORE_POLICY_LRFU };

/* How the links of a block are read: what the store cannot know by itself. */
struct cid;
struct store_links {
    bool (*known)(uint64_t codec); /* its links, or that it has none, can be told */
    bool (*has)(uint64_t codec);   /* its blocks can have links */
    /* Calls `each` for every link. Returns: 0, or the block is not what its codec says. */
    int (*read)(uint64_t codec, const uint8_t *bytes, uint32_t count,
                void (*each)(void *context, const struct cid *link), void *context);
};

/* A directory that segments lie in (store/tier.h). */
enum tier_kind { TIER_SSD, TIER_HDD };
enum tier_state { TIER_ONLINE, TIER_FULL, TIER_READONLY, TIER_LOADING, TIER_MISSING };

struct store_tier {
    const char *dir; /* relative: to the store's directory */
    uint64_t bytes;  /* 0: the file system's free space less a reserve */
    enum tier_kind kind;
};

struct store_config {
    const char *dir;
    uint32_t keepers;       /* 1 .. STORE_KEEPERS_MAX; any count opens any store */
    uint32_t readers;       /* tiles that call store_find: reader ids 0 .. readers-1 */
    uint64_t segment_bytes; /* a power of two; 0: as formatted, and chosen when formatting */
    uint64_t memory_bytes;  /* budget for frames, all keepers together: store_press lessens it */
    uint32_t batches;       /* of each log, 2 .. LOG_BATCHES; 0: that many */
    uint32_t fetches[3];    /* reads under way per keeper: up to 16 KiB, up to 256 KiB, larger;
                             * 0: as many as there can be */
    uint64_t quota_bytes;   /* of the tier "ssd" where no SSD path is given; 0: as for a tier */
    const struct store_tier *tiers; /* paths; where none is an SSD, there is also DIR/ssd */
    uint32_t tier_count;
    uint32_t block_bytes_max;   /* 0: STORE_BLOCK_MAX */
    uint64_t move_rate;         /* bytes a second that moves may write; 0: no limit */
    uint64_t promote_budget;    /* bytes a day from slow tiers to fast ones; 0: none go there */
    uint64_t scrub_cycle_ns[2]; /* by enum tier_kind: every block there is read again in so long;
                                 * 0: only when asked */
    uint64_t scrub_rate;        /* bytes a second when asked; 0: no limit */
    enum store_compress compress;
    enum store_policy policy;
    uint64_t snapshot_interval_ns; /* between snapshots while it is open; 0: only at the end */
    struct store_links links;
    /* A block is damaged and has no other copy here; key: NULL where it is not known which. Called
     * on the porter's thread with every finding, so for one block now and then; may be NULL. */
    void (*lost)(void *context, const struct key *key, uint32_t codec);
    void *lost_context;
    uint64_t gc_grace_ns;              /* blocks younger than this are not collected */
    uint64_t gc_memory_bytes;          /* of a mark set; 0: 64 MiB */
    uint32_t gc_watermark_percent;     /* of quota or disk: collect when more is used; 0: never */
    bool read_only;                    /* tools: recover in memory, write nothing */
    bool create;                       /* format an empty directory */
    const struct store_memory *memory; /* [keepers], or NULL */
    struct disk disk;                  /* blocking calls at boot and in housekeeping */
    const struct disk *keeper_disks;   /* [keepers] for submit, or NULL: use `disk` for all */
};

/* What opening found; every count is said to the operator. */
struct store_report {
    char why[512]; /* a sentence for people when the result is not 0 */
    bool formatted, clean;
    bool misconfigured; /* what was asked for cannot be: the disks are not to blame */
    uint32_t segments, segments_suspect;
    uint64_t blocks, bytes, tombstones, records_scanned;
    uint64_t torn_batches;   /* unacknowledged tails that were ignored */
    uint64_t corrupt_ranges; /* acknowledged data that is damaged: reported, kept going */
    /* Which way the catalog came: shards from a snapshot (of STORE_SHARDS), and segments whose
     * records were read, from footers or by a scan. */
    uint64_t snapshot; /* generation of the newest one used, 0: none */
    uint32_t snapshot_shards, snapshots_bad, segments_footer, segments_scanned;
    uint32_t load_parts; /* looks at the footers: more where deletes are many and memory small */
    uint32_t segments_unread; /* not damaged, but the disk did not give all of them: tried again */
    uint32_t segments_gone;   /* files that a clean end left and that are not there any more */
    char gone[128];           /* those of them that are known by name */
    uint32_t segments_twice;  /* files under an id that another tier has too: given their own */
    uint64_t open_ns;
    char tiers[512]; /* what is odd about the tiers, in sentences; empty: nothing */
};

/* Returns: 0, STORE_LOCKED, STORE_FORMAT, STORE_CORRUPT, -errno; report->why says it in words.
 * Thread: boot. Blocks: yes, for the length of the scan. */
must_check int store_open(const struct store_config *config, struct store_report *report,
                          struct store **ret_store);
/* store_close ends a clean run: seals, syncs, marks the store clean, unlocks. All keepers must be
 * drained (keeper_idle) and their threads gone. Returns: 0 or -errno. */
must_check int store_close(struct store *store);

/* ---- reading: any tile ----------------------------------------------------------------------- */

/* A place on disk, as the catalog packs it. */
struct place {
    uint64_t word;
};

enum find_state { FIND_ABSENT, FIND_FRAME, FIND_DISK, FIND_RETRY };

/* One look-up. In: key. Out: the rest. */
struct find {
    const struct key *key;
    uint64_t hash;       /* keyed 64-bit hash */
    struct frame *frame; /* FIND_FRAME: leased to the caller: frame_give_back() it */
    struct place place;  /* FIND_DISK: pass it on with STORE_READ */
    enum find_state state;
};
/* store_find looks up any number, in prefetched groups of 16. Thread: any tile, with its reader id.
 * Cost: about 50 ns a key in groups at 1 M keys. */
void store_find(struct store *store, uint32_t reader, struct find finds[], uint32_t count);
/* store_have answers from the keyed hash alone: present[i] = 1, 0, or 2 for "cannot tell now". */
void store_have(struct store *store, uint32_t reader, const struct key keys[], uint8_t present[],
                uint32_t count);
/* store_turn says that this reader holds no pointer into the catalog from before: tables are freed
 * only after every reader has said so. Call once a turn, before anything else. Cost: one store. */
void store_turn(struct store *store, uint32_t reader);
/* A reader that parks says so, and is not waited for until its next store_turn. */
void store_park(struct store *store, uint32_t reader);

/* FIND_DISK: bytes of the record there: more than the block has, unless it is compressed. */
uint32_t find_record_bytes(const struct find *find);

uint32_t store_keeper_of(const struct store *store, const struct key *key);
struct keeper *store_keeper(struct store *store, uint32_t index);

/* ---- frames: blocks in memory, verified, immutable ---------------------------------------------
 */

struct frame; /* header: type-stable, never unmapped while the store is open */

/* Valid while leased. */
const uint8_t *frame_body(const struct frame *frame);
uint32_t frame_bytes(const struct frame *frame);
uint64_t frame_codec(const struct frame *frame);
/* Counts one more send of a large body. Returns: how many there were before, up to UINT8_MAX.
 * Thread: any, with a lease. */
uint32_t frame_count_send(struct frame *frame);
/* frame_expose says where in which file a part of the body lies, for sendfile, and sees to it that
 * those pages are never written again. Returns: false: it is in no file. Thread: any, with a lease.
 */
bool frame_expose(struct frame *frame, const uint8_t *part, int *ret_file, uint64_t *ret_offset);
/* Another lease for a holder of one. Thread: any. */
void frame_lease_again(struct frame *frame);
/* Ends a lease; the last one of an evicted frame frees it. Thread: any. Cost: one atomic decrement.
 */
void frame_give_back(struct frame *frame);

/* ---- writing and disk reads: a keeper, on its own tile -----------------------------------------
 */

enum store_op_kind {
    STORE_READ,
    STORE_PUT,
    STORE_DELETE,
    STORE_VERIFY,
    STORE_PIN,
    STORE_UNPIN,
    STORE_COMMIT, /* of a bundle: the keeper's own */
    STORE_SWEEP,  /* the porter's: deletes a block unless somebody wants it (store/gc.h) */
};

struct store_bundle;

/* A request to a keeper: the caller's memory, the keeper's until it comes out of keeper_done. */
struct store_op {
    struct store_op *next;
    void *user; /* the caller's */
    struct key key;
    uint8_t kind;        /* enum store_op_kind */
    bool hashed;         /* PUT: the caller has hashed these very bytes to this key */
    bool no_admit;       /* READ: a scan; do not let it push others out of memory */
    int32_t result;      /* 0, enum store_outcome, -errno */
    const uint8_t *data; /* PUT: the block, valid until done; PIN: pin_write's (store/pins.h) */
    uint32_t bytes;
    uint32_t codec;
    struct frame *frame; /* READ done with 0: leased to the caller */
    /* NULL: it comes out of keeper_done. Else it is called with the result instead, on the keeper's
     * thread, and the operation is its maker's again. */
    void (*done)(struct store_op *op);
    struct store_bundle *bundle; /* whose it is; NULL: it stands alone */
    uint8_t step;                /* in its bundle: bundle.c's */
    uint8_t at;                  /* index of the keeper that runs it */
    bool held, duplicate, echo, over;
    uint64_t scratch[7]; /* the keeper's */
};

/* keeper_begin starts an operation; it cannot fail: results arrive by keeper_done.
 * PUT: verify the multihash, append, acknowledge when durable (a duplicate of a verified stored
 * block is acknowledged at once; of one in flight, with it). DELETE: a durable tombstone; absent
 * blocks give STORE_ABSENT. PIN, UNPIN: a durable record; what is under it is not looked at, that
 * is the porter's task; no such pin gives STORE_ABSENT. READ: disk, CRC and XXH3 and, on first read
 * after an unclean start, multihash; fills a frame. VERIFY: reads the disk copy again and checks
 * the multihash. */
void keeper_begin(struct keeper *keeper, struct store_op *op);
/* keeper_poll closes batches that are due, takes messages from other keepers, evicts to budget.
 * Returns: how much it did. Thread: owner. Blocks: never. */
uint32_t keeper_poll(struct keeper *keeper, uint64_t now_ns);
/* Returns: the next finished operation, or NULL. */
struct store_op *keeper_done(struct keeper *keeper);
/* When keeper_poll next has something due by time (a batch to close); UINT64_MAX: nothing. */
uint64_t keeper_due_ns(const struct keeper *keeper);
/* No operation is in the keeper and no write is out. */
bool keeper_idle(const struct keeper *keeper);
/* A message waits from another keeper: part of the last look before sleeping. Thread: owner. */
bool keeper_has_messages(const struct keeper *keeper);
/* Bit k set: keeper k got a message from this one since the last call: its core must be rung. */
uint64_t keeper_take_rings(struct keeper *keeper);

/* ---- bundles: many operations as one -----------------------------------------------------------
 */

/* A bundle is begun at any keeper, which hands each operation to the keeper that owns its key and
 * collects the results. Each has a result of its own; those that have one other than 0 when it is
 * begun are left out. atomic: puts only, all or nothing: what fails says why, the others are
 * STORE_ABORTED, and no crash leaves a part of them (store/bundle.h). STORE_RETRY then means that
 * another atomic bundle has the same key: nothing was done, ask again.
 * Its memory, the operations and their data are the caller's, the store's until it comes out. */
struct store_bundle {
    struct store_bundle *next;
    void *user; /* the caller's */
    struct store_op *ops;
    uint32_t count;
    bool atomic;
    /* the keeper's */
    bool failed, committed;
    uint8_t phase;
    uint32_t waiting; /* operations that have not reported */
    struct keeper *keeper;
    uint64_t txn; /* unique in the store; 0 where it is not atomic */
    struct store_op commit;
    uint8_t record[16]; /* payload of the commit record */
};
/* It cannot fail: it comes out of keeper_bundle_done of the same keeper. Cost: 50 ns an operation
 * here, the rest where they run. */
void keeper_bundle(struct keeper *keeper, struct store_bundle *bundle);
struct store_bundle *keeper_bundle_done(struct keeper *keeper);

/* ---- housekeeping, walking, numbers
 * -------------------------------------------------------------- */

/* store_housekeep makes spare segments, seals and syncs closed ones. Thread: one helper, not a
 * tile. Blocks: yes. Returns: how much it did (0: sleep a little). */
uint32_t store_housekeep(struct store *store);

/* ---- background work and long tasks ---------------------------------------------------------- */

/* store_maintain does one bounded step of background work (store/porter.h says what there is).
 * Thread: the porter, not a tile. Blocks: on disks. Returns: how much it did (0: rest a little). */
uint32_t store_maintain(struct store *store, uint64_t now_ns);
/* Bit k set: keeper k got a note since the last call: its core must be rung. Thread: porter. */
uint64_t store_take_rings(struct store *store);

enum store_task_kind {
    STORE_TASK_NONE,
    STORE_TASK_PIN,    /* ask.pin: the block, or all under it, must be here */
    STORE_TASK_UNPIN,  /* ask.pin.key */
    STORE_TASK_PINS,   /* ask.pins */
    STORE_TASK_GC,     /* ask.gc */
    STORE_TASK_SCRUB,  /* blocks: damaged, and written anew from another copy */
    STORE_TASK_BACKUP, /* ask.backup (store/backup.h) */
    STORE_TASK_KINDS,
};
enum store_task_state { STORE_TASK_WAITING, STORE_TASK_RUNNING, STORE_TASK_DONE };

/* What people want kept. */
enum store_pin_mode {
    STORE_PIN_RECURSIVE = 1, /* the block and all under it */
    STORE_PIN_DIRECT,        /* the block alone */
};
#define STORE_PIN_NAME_MAX 255u
struct store_pin {
    struct key key;
    uint32_t codec; /* of the CID: says how links are read */
    uint8_t mode;   /* enum store_pin_mode */
    uint8_t name_bytes;
    char name[STORE_PIN_NAME_MAX + 1]; /* any bytes */
};

/* What is asked, by kind of task; plain values, the task's own. */
struct store_pins {
    uint64_t cursor;        /* 0 first; moved; UINT64_MAX: there are no more */
    struct store_pin *pins; /* [max], the asker's */
    uint32_t max, count;
};
struct store_gc {
    uint64_t grace_ns; /* UINT64_MAX: config.gc_grace_ns */
    bool dry_run;      /* count only */
};
#define STORE_BACKUP_FILES 8u
#define STORE_BACKUP_KEPT  64u
#define STORE_BACKUP_NAME  32u
struct store_backup {
    char path[512]; /* the directory it goes into */
    /* Files of the configuration: they go in beside the store's own; the first is the main one. */
    uint32_t files_count;
    char files[STORE_BACKUP_FILES][256];
    /* The porter's: files that are in it beside the segments, by name. */
    uint32_t kept_count;
    char kept[STORE_BACKUP_KEPT][STORE_BACKUP_NAME];
};
union store_ask {
    struct store_pin pin;
    struct store_pins pins;
    struct store_gc gc;
    struct store_backup backup;
};

/* A long request: the asker's memory, the porter's from store_task_begin until state is DONE
 * (acquire), or, where `finished` is given, until that is called on the porter's thread. */
struct store_task {
    struct store_task *next;                   /* the porter's */
    void *user;                                /* the asker's */
    void (*finished)(struct store_task *task); /* may be NULL */
    uint8_t kind;                              /* enum store_task_kind */
    _Atomic uint32_t state;                    /* enum store_task_state */
    _Atomic bool cancel;                       /* set by the asker: end soon, with STORE_RETRY */
    union store_ask ask;
    /* progress, for whoever looks */
    counter_t seen, total;   /* blocks looked at, and about how many there are; 0: unknown */
    counter_t blocks, bytes; /* that the task did something about */
    counter_t phase;         /* GC: up to 1 it begins, 2 marks, 4 sweeps; SCRUB: damaged for good;
                                BACKUP: files of the configuration that are in it */
    /* GC: why blocks that were looked at stay: a pin reaches them; younger than the grace; put
     * again since the last collection. Whole when it ends. */
    counter_t pinned, young, again;
    int32_t result; /* 0, enum store_outcome, -errno */
    char why[512];  /* a sentence for people where the result is not 0 */
};
/* Returns: 0; STORE_RETRY: too many are under way; STORE_READONLY: this store takes none.
 * Thread: any. */
must_check int store_task_begin(struct store *store, struct store_task *task);
/* Before the keepers' threads end: no new tasks (STORE_RETRY), those under way end soon with
 * STORE_RETRY. Returns: none is left, and none of their operations is in a keeper. Thread: the
 * porter, which goes on with store_maintain until then. */
bool store_tasks_stop(struct store *store);

/* One stored block, for listing, export and verification. */
struct store_item {
    struct key key;
    uint64_t codec;
    uint32_t bytes;
    uint64_t birth_lsn;
    uint64_t hash;      /* the store's own */
    struct place place; /* where it lay */
};
/* store_page lists blocks in an order that is stable while the store is open: starts at *cursor (0
 * first), reads record headers where it must, fills up to max items, and moves *cursor; UINT64_MAX
 * when there are no more. Thread: helper or tools (may block on disk reads). */
must_check int store_page(struct store *store, uint64_t *cursor, struct store_item items[],
                          uint32_t max, uint32_t *ret_count);

/* store_check walks every record of every segment and verifies it to the multihash, calling `bad`
 * for each that is not. Blocks: for long. Thread: tools, helper. */
struct store_damage {
    char segment[192];
    uint64_t offset;
    bool key_known;
    struct key key;
    const char *what; /* "payload checksum", "multihash", "record header" ... */
};
struct store_check_totals {
    uint64_t blocks, bytes, bad, segments;
};
must_check int store_check(struct store *store,
                           void (*bad)(void *context, const struct store_damage *),
                           void (*progress)(void *context, const struct store_check_totals *),
                           void *context, struct store_check_totals *ret_totals);

#define STORE_COUNTERS(X)                                                       \
    X(blocks, "blocks", "blocks in the catalog")                                \
    X(bytes, "bytes", "stored bytes of those blocks")                           \
    X(puts, "requests", "blocks stored and acknowledged")                       \
    X(put_duplicates, "requests", "puts of blocks already stored")              \
    X(put_mismatches, "requests", "puts refused: bytes do not hash to the key") \
    X(deletes, "requests", "blocks deleted")                                    \
    X(reads, "requests", "blocks read from disk")                               \
    X(read_bytes, "bytes", "bytes read from disk")                              \
    X(write_bytes, "bytes", "bytes written to disk")                            \
    X(batches, "batches", "group commits")                                      \
    X(io_errors, "errors", "disk operations that failed")                       \
    X(corrupt, "errors", "reads that did not verify")                           \
    X(frames, "frames", "blocks in memory")                                     \
    X(frame_bytes, "bytes", "bytes of blocks in memory")                        \
    X(fills, "frames", "frames filled from disk")                               \
    X(evictions, "frames", "frames evicted")                                    \
    X(punches, "frames", "frames whose pages were dropped before reuse")        \
    X(punch_failures, "frames", "frames given up: their pages did not go")      \
    X(stalls_spare, "waits", "times a log had to wait for a spare segment")     \
    X(full, "requests", "puts refused: no space")                               \
    X(bundles, "bundles", "of many operations, begun here")                     \
    X(commits, "commits", "all-or-nothing bundles made durable")                \
    X(aborts, "aborts", "all-or-nothing bundles that came to nothing")          \
    X(catalog_grows, "tables", "catalog tables that grew")                      \
    X(pins, "pins", "blocks and DAGs that are pinned")                          \
    X(promotions_dropped, "blocks", "blocks not promoted: too many at once")    \
    X(proof_retries, "lookups", "lookups repeated because the hint did not prove")
COUNTER_STRUCT(store, STORE_COUNTERS);

/* What the porter did: one writer, no keeper's. */
#define UPKEEP_COUNTERS(X)                                                          \
    X(moves, "blocks", "blocks that got another place")                             \
    X(moved_bytes, "bytes", "bytes written to move them")                           \
    X(zipped_blocks, "blocks", "blocks written to an HDD tier compressed")          \
    X(zipped_saved, "bytes", "bytes that saved there")                              \
    X(move_errors, "errors", "writes of moves that failed")                         \
    X(compactions, "segments", "segments rewritten to let their dead bytes go")     \
    X(demotions, "segments", "segments moved from SSD to HDD")                      \
    X(promotions, "blocks", "blocks moved from HDD to SSD because they are read")   \
    X(promoted_bytes, "bytes", "bytes of those")                                    \
    X(promotions_over_budget, "blocks", "blocks not promoted: the day's budget")    \
    X(promotions_no_room, "blocks", "blocks not promoted: the SSD tiers are full")  \
    X(segments_freed, "segments", "segments let go")                                \
    X(dropped_bytes, "bytes", "bytes that went with them")                          \
    X(tombstones_carried, "records", "tombstones and pins rewritten, still needed") \
    X(tombstones_dropped, "records", "tombstones let go: nothing older is left")    \
    X(repairs, "blocks", "damaged blocks written anew from another copy")           \
    X(repairs_no_room, "blocks", "damaged blocks with a copy and no room for it")   \
    X(quarantined, "blocks", "damaged blocks found that have no other copy")        \
    X(scrubbed_blocks, "blocks", "blocks that the scrub read and verified")         \
    X(scrubbed_bytes, "bytes", "bytes of those")                                    \
    X(scrub_passes, "passes", "times the scrub has been through all of some tiers") \
    X(arrivals, "tiers", "missing at the start and taken up without another")       \
    X(arrivals_waiting, "tiers", "that came back and wait for the next start")
COUNTER_STRUCT(upkeep, UPKEEP_COUNTERS);
const struct upkeep_counters *store_upkeep(const struct store *store);

/* The standing scrub of all tiers of one kind: where its pass is. */
struct store_scrub {
    counter_t elapsed_ns;         /* of its cycle */
    counter_t bytes, total_bytes; /* looked at in it; about how many there are */
    counter_t ended_us;           /* wall clock: when the last one was through; 0: never */
};
const struct store_scrub *store_scrub(const struct store *store, enum tier_kind kind);

/* What a keeper with operations in it waits for, when it last looked. */
enum keeper_wait {
    KEEPER_WAITS_NOT,
    KEEPER_WAITS_DISK,   /* reads or writes are out */
    KEEPER_WAITS_SPARE,  /* its log has no segment to go on with */
    KEEPER_WAITS_HELPER, /* its log has batches, and the helper is at work ahead of it */
    KEEPER_WAITS_OTHERS, /* none of these: other keepers, or a turn */
};
/* Operations of every kind, of bundles and of the porter too. */
struct keeper_flight {
    uint64_t now;   /* in the keeper; one that ended is until it is taken (keeper_done) */
    uint64_t ended; /* moves whenever one of them ends or gets on */
};
/* Thread: any. */
void keeper_flight(const struct keeper *keeper, struct keeper_flight *ret_flight);
enum keeper_wait keeper_waits(const struct keeper *keeper);
const char *keeper_wait_name(enum keeper_wait wait);

/* Counters of one keeper; sums are the reader's. Thread: any. */
const struct store_counters *keeper_counters(const struct keeper *keeper);

/* Snapshots of the catalog since the start, and the last one. */
struct store_snapshots {
    counter_t written, failed;
    counter_t blocks, bytes; /* of the last */
};

/* Memory is short, or is no more: what frames may take from now on, and the rung (ladder.h). Any
 * time after open. Thread: any one. */
void store_press(struct store *store, const struct ladder_step *step);
/* Thread: any. */
enum ladder_rung store_rung(const struct store *store);
/* Memory of the catalog; of all keepers' log and fetch buffers. Thread: any. */
uint64_t store_index_bytes(const struct store *store);
uint64_t store_buffers_bytes(const struct store *store);

struct store_usage {
    uint64_t segments, spare_segments, bytes_on_disk, live_bytes, free_bytes, catalog_bytes;
    uint64_t snapshots_written, snapshots_failed, snapshot_blocks, snapshot_bytes;
    uint64_t stopped; /* keepers that take no puts and deletes before a restart: a bit each */
    bool read_only;   /* there are such, or the store was opened so */
};
void store_usage(const struct store *store, struct store_usage *ret_usage);

/* One tier in numbers. */
struct store_tier_usage {
    const char *dir; /* as configured; lives as long as the store */
    enum tier_kind kind;
    enum tier_state state;
    const char *waits;   /* why what is on it is not all there, though it is; or NULL */
    uint64_t size_bytes; /* 0: not limited */
    uint64_t bytes_on_disk, live_bytes, blocks;
    uint64_t hits;   /* reads served from here */
    uint64_t misses; /* an SSD: reads that went on to an HDD */
    uint64_t moved_in, moved_out;
};
/* Returns: how many tiers there are; fills up to `max`. Thread: any. */
uint32_t store_tiers(const struct store *store, struct store_tier_usage tiers[], uint32_t max);
/* What people are told of one tier: its directory as configured, its state, and why it waits (or
 * NULL); words that are the same are the same pointer. Returns: false: there is no such tier.
 * Thread: any. Cost: three loads. */
struct store_tier_word {
    const char *dir, *waits;
    enum tier_state state;
};
bool store_tier_word(const struct store *store, uint32_t tier, struct store_tier_word *ret_word);
/* Lookups that memory answered, by all readers. */
uint64_t store_frame_hits(const struct store *store);
uint32_t store_keepers(const struct store *store);
/* The word for it: "online", "full", "readonly", "loading", "missing". */
const char *tier_state_name(enum tier_state state);
const char *tier_kind_name(enum tier_kind kind);
