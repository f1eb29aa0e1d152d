/* SPDX-License-Identifier: MIT */
#pragma once

/* format — what lies on the disk, byte for byte. Little-endian; every offset is asserted.
 *
 *   DIR/LOCK            advisory lock, holds the pid of its holder in words
 *   DIR/SUPER           two slots of 4 KiB, written in turn; the valid one with the larger sequence
 *                       counts
 *   DIR/index/G.snap    snapshots of the catalog (store/image.h): hints
 *   DIR/ssd/IIIII.seg   segments: I = id in hex, 1 .. 2^20-1, unique in the store. Other
 *                       directories may take them too: the tiers (store/tier.h)
 *   DIR/ssd/TIER        one page that says which tier this is
 *
 *   segment:  | header 4 KiB | batch | batch | ... | footer | trailer 4 KiB |
 *   batch:    | batch record 128 B | record | record | ... | zeroes to a multiple of 4 KiB |
 *   record:   | header 72 B + multihash, to 8 | payload | zeroes to a multiple of 64 |
 *
 * Footer and trailer exist only once a segment is sealed; the trailer is its last page. Both are
 * hints: without them the batches are scanned, and both ways give the same catalog.
 *
 * Every CRC32C of a segment is seeded with the store's UUID, the segment's generation (never used
 * twice) and the file offset, so recycled bytes of an older segment and misdirected reads or writes
 * are no more valid than noise. XXH3-64 covers payloads as stored; the multihash covers them as
 * said.
 *
 * LSN = boot epoch (24 bits) | counter (40 bits), one counter per keeper. (epoch, keeper) is a
 * "log": its batches carry LSNs without gaps, each batch record taking one for itself. A key
 * belongs to one keeper in one epoch, so LSNs of one key always compare. */

#include "base/base.h"
#include "base/key.h"

#define FORMAT_MAJOR 1u
#define FORMAT_MINOR 2u /* 1: SUPER lists the tiers behind its slot; 2: and says which records */

#define SUPER_MAGIC   0x5255534du /* "MSUR" */
#define SEGMENT_MAGIC 0x4745534du /* "MSEG" */
#define TRAILER_MAGIC 0x4c52544du /* "MTRL" */
#define RECORD_MAGIC  0x4345524du /* "MREC" */

#define RECORD_UNIT       64u
#define RECORD_FIXED      72u
#define RECORD_HEADER_MAX 144u /* 72 + the longest multihash, to 8 */
#define BATCH_RECORD      128u
#define SEGMENT_IDS       (1u << 20)
#define LSN_COUNTER_BITS  40u
#define EPOCH_MAX         ((1u << 24) - 1)

/* Logs of moves (store/move.h), one a tier, downwards from here; those of keepers are below 64. */
#define MOVE_LOG       255u
#define MOVE_LOG_FIRST 192u

enum record_type {
    RECORD_BLOCK = 1,
    RECORD_TOMBSTONE,
    RECORD_PAD,
    RECORD_BATCH,
    RECORD_COMMIT, /* of a transaction: no multihash; payload: count u32 of its operations, zeroes
                    */
    RECORD_PIN,
    RECORD_UNPIN,
};
enum record_flags { RECORD_ZSTD = 1, RECORD_MANIFEST = 2, RECORD_MOVED_IN = 4 };

struct record_header {
    uint32_t magic;
    uint8_t type;
    uint8_t flags;
    uint16_t header_bytes; /* with the multihash and its padding: a multiple of 8 */
    uint32_t stored_bytes;
    uint32_t logical_bytes;
    uint64_t lsn;
    uint64_t generation; /* of the segment */
    uint64_t txn;        /* 0 = none */
    uint64_t payload_xxh3;
    uint32_t codec;
    uint16_t multihash_bytes;
    uint16_t version; /* of this record type */
    uint32_t dict;    /* zstd dictionary, 0 = none */
    uint32_t crc;     /* of the header but this field, and of the multihash with its padding */
    uint64_t birth_lsn;
};
static_assert(sizeof(struct record_header) == RECORD_FIXED, "format");
static_assert(offsetof(struct record_header, type) == 4, "format");
static_assert(offsetof(struct record_header, flags) == 5, "format");
static_assert(offsetof(struct record_header, header_bytes) == 6, "format");
static_assert(offsetof(struct record_header, stored_bytes) == 8, "format");
static_assert(offsetof(struct record_header, logical_bytes) == 12, "format");
static_assert(offsetof(struct record_header, lsn) == 16, "format");
static_assert(offsetof(struct record_header, generation) == 24, "format");
static_assert(offsetof(struct record_header, txn) == 32, "format");
static_assert(offsetof(struct record_header, payload_xxh3) == 40, "format");
static_assert(offsetof(struct record_header, codec) == 48, "format");
static_assert(offsetof(struct record_header, multihash_bytes) == 52, "format");
static_assert(offsetof(struct record_header, version) == 54, "format");
static_assert(offsetof(struct record_header, dict) == 56, "format");
static_assert(offsetof(struct record_header, crc) == 60, "format");
static_assert(offsetof(struct record_header, birth_lsn) == 64, "format");

/* The payload of a batch record. */
struct batch_header {
    uint64_t first_lsn;    /* the batch record's own */
    uint64_t last_lsn;     /* of its last record; first_lsn when it has none */
    uint64_t durable_lsn;  /* highest LSN of this log known to be on the disk when this was made */
    uint64_t headers_xxh3; /* of all record headers, each seeded with the hash of those before */
    uint64_t previous_generation; /* of the segment this log wrote before this one; 0 = none */
    uint32_t records;
    uint32_t batch_bytes; /* with this record and the padding: a multiple of 4 KiB */
    uint32_t log;         /* keeper that wrote it */
    uint32_t zero;
};
static_assert(sizeof(struct batch_header) == BATCH_RECORD - RECORD_FIXED, "format");
static_assert(offsetof(struct batch_header, last_lsn) == 8, "format");
static_assert(offsetof(struct batch_header, durable_lsn) == 16, "format");
static_assert(offsetof(struct batch_header, headers_xxh3) == 24, "format");
static_assert(offsetof(struct batch_header, previous_generation) == 32, "format");
static_assert(offsetof(struct batch_header, records) == 40, "format");
static_assert(offsetof(struct batch_header, batch_bytes) == 44, "format");
static_assert(offsetof(struct batch_header, log) == 48, "format");

/* The payload of a PIN record: this, then the name. The codec of the CID stands in its header. */
struct pin_head {
    uint8_t mode; /* 1 recursive, 2 direct */
    uint8_t name_bytes;
    uint8_t zero[6];
};
static_assert(sizeof(struct pin_head) == 8, "format");
static_assert(offsetof(struct pin_head, name_bytes) == 1, "format");

#define PAGE_CRC_OFFSET \
    (PAGE_BYTES - 4) /* SUPER slots, segment headers and trailers end in theirs */

struct segment_header {
    uint32_t magic;
    uint16_t version;
    uint8_t tier; /* 0 ssd, 1 hdd */
    uint8_t flags;
    uint8_t uuid[16];
    uint64_t segment_id;
    uint64_t generation;
    uint64_t create_lsn; /* LSN of its log when it was made: a lower bound of what it holds */
    uint64_t segment_bytes;
    uint32_t log;
    uint32_t epoch;
};
static_assert(sizeof(struct segment_header) == 64, "format");
static_assert(offsetof(struct segment_header, uuid) == 8, "format");
static_assert(offsetof(struct segment_header, segment_id) == 24, "format");
static_assert(offsetof(struct segment_header, generation) == 32, "format");
static_assert(offsetof(struct segment_header, create_lsn) == 40, "format");
static_assert(offsetof(struct segment_header, segment_bytes) == 48, "format");
static_assert(offsetof(struct segment_header, log) == 56, "format");

enum trailer_flags { TRAILER_SUSPECT = 1, TRAILER_RECOVERED = 2, TRAILER_UNPROVEN = 4 };

struct segment_trailer {
    uint32_t magic;
    uint16_t version;
    uint8_t tier;
    uint8_t flags;
    uint8_t uuid[16];
    uint64_t segment_id;
    uint64_t generation;
    uint64_t create_lsn;
    uint64_t segment_bytes;
    uint32_t log;
    uint32_t epoch;
    uint64_t first_lsn; /* 0 when it holds no batch */
    uint64_t last_lsn;
    uint64_t durable_lsn;   /* highest that a batch in here carries */
    uint64_t data_bytes;    /* end of the last batch, from the start of the file */
    uint64_t footer_offset; /* multiple of 4 KiB, >= data_bytes */
    uint64_t footer_xxh3;
    uint64_t live_bytes;    /* when it was sealed */
    uint64_t min_birth_lsn; /* of all but tombstones; UINT64_MAX: there are no others */
    uint32_t footer_count;
    uint32_t tombstones;     /* and UNPIN records: all that kill others */
    uint32_t damaged_ranges; /* acknowledged ranges found damaged when it was sealed */
    uint32_t pins;           /* PIN records */
    uint32_t commits;        /* COMMIT records */
    uint32_t zero;
};
static_assert(sizeof(struct segment_trailer) == 152, "format");
static_assert(offsetof(struct segment_trailer, first_lsn) == 64, "format");
static_assert(offsetof(struct segment_trailer, durable_lsn) == 80, "format");
static_assert(offsetof(struct segment_trailer, footer_offset) == 96, "format");
static_assert(offsetof(struct segment_trailer, live_bytes) == 112, "format");
static_assert(offsetof(struct segment_trailer, footer_count) == 128, "format");
static_assert(offsetof(struct segment_trailer, damaged_ranges) == 136, "format");
static_assert(offsetof(struct segment_trailer, commits) == 144, "format");
static_assert(offsetof(struct segment_trailer, pins) == 140, "format");

#define FOOTER_PREFIX 32u

/* One record, in the footer of a sealed segment. */
struct footer_entry {
    uint8_t digest[FOOTER_PREFIX]; /* its first bytes, zero-filled */
    uint64_t hash;                 /* keyed: what the catalog holds; of a commit: its txn id */
    uint64_t birth_lsn;            /* of a tombstone: its LSN */
    uint32_t offset_units;         /* of 64 B */
    uint32_t stored_bytes;
    uint32_t codec;
    uint16_t hash_code;
    uint8_t digest_bytes;
    uint8_t type_flags; /* type in the low four bits, flags above */
};
static_assert(sizeof(struct footer_entry) == 64, "format");
static_assert(offsetof(struct footer_entry, hash) == 32, "format");
static_assert(offsetof(struct footer_entry, birth_lsn) == 40, "format");
static_assert(offsetof(struct footer_entry, offset_units) == 48, "format");
static_assert(offsetof(struct footer_entry, stored_bytes) == 52, "format");
static_assert(offsetof(struct footer_entry, codec) == 56, "format");
static_assert(offsetof(struct footer_entry, hash_code) == 60, "format");
static_assert(offsetof(struct footer_entry, type_flags) == 63, "format");

/* Snapshots may lie in DIR/index: a program that does not know them need not. */
#define SUPER_COMPAT_SNAPSHOTS UINT64_C(1)

struct super_slot {
    uint32_t magic;
    uint16_t major;
    uint16_t minor;
    uint64_t compat;    /* unknown bits: open */
    uint64_t ro_compat; /* unknown bits: open read-only */
    uint64_t incompat;  /* unknown bits: refuse */
    uint8_t uuid[16];
    uint64_t hash_seed; /* of the keyed hash */
    uint64_t segment_bytes;
    uint64_t sequence;
    uint64_t created_us; /* wall clock, for people */
    uint32_t epoch;      /* of the last start */
    uint32_t clean;      /* 1: closed in order */
    uint32_t shards;
    uint32_t zero;
};
static_assert(sizeof(struct super_slot) == 96, "format");
static_assert(offsetof(struct super_slot, compat) == 8, "format");
static_assert(offsetof(struct super_slot, uuid) == 32, "format");
static_assert(offsetof(struct super_slot, hash_seed) == 48, "format");
static_assert(offsetof(struct super_slot, segment_bytes) == 56, "format");
static_assert(offsetof(struct super_slot, sequence) == 64, "format");
static_assert(offsetof(struct super_slot, epoch) == 80, "format");
static_assert(offsetof(struct super_slot, clean) == 84, "format");
static_assert(offsetof(struct super_slot, shards) == 88, "format");

/* The tiers that a store knows: behind the slot in the same page, under the same CRC. A version 1.0
 * writer leaves zeroes there, hence the magic of its own. */
#define SUPER_TIERS_MAGIC  0x5352544du /* "MTRS" */
#define SUPER_TIERS_MAX    16u
#define SUPER_TIER_PATH    215u
#define SUPER_TIERS_OFFSET 96u

struct super_tier {
    uint8_t uuid[16];
    uint64_t bytes; /* path, kind and size: as configured last; who names no tiers gets these */
    uint8_t kind;
    char path[SUPER_TIER_PATH]; /* "" = too long to be kept */
};
static_assert(sizeof(struct super_tier) == 240, "format");
static_assert(offsetof(struct super_tier, bytes) == 16, "format");
static_assert(offsetof(struct super_tier, kind) == 24, "format");
static_assert(offsetof(struct super_tier, path) == 25, "format");

struct super_tiers {
    uint32_t magic;
    uint32_t count;
    uint32_t ids_top; /* no segment has an id of this or above */
    uint32_t zero;
    struct super_tier tiers[SUPER_TIERS_MAX];
};
static_assert(sizeof(struct super_tiers) == 3856, "format");
static_assert(offsetof(struct super_tiers, ids_top) == 8, "format");
static_assert(offsetof(struct super_tiers, tiers) == 16, "format");
static_assert(SUPER_TIERS_OFFSET + sizeof(struct super_tiers) <= PAGE_CRC_OFFSET, "one page");

/* How a run ended: behind the tiers, where who does not know it leaves zeroes. A start that follows
 * a clean end finds as many files as that left sealed segments, or some are gone. */
#define SUPER_END_MAGIC  0x444e454du /* "MEND" */
#define SUPER_END_OFFSET (SUPER_TIERS_OFFSET + sizeof(struct super_tiers))

struct super_end {
    uint32_t magic;    /* another: not known, as after a run without all tiers */
    uint32_t segments; /* sealed */
    /* In the order of the tiers, and not of the end alone: which start each one's file speaks of at
     * least. One that speaks of an earlier start is an older copy. */
    uint32_t epochs[SUPER_TIERS_MAX];
};
static_assert(offsetof(struct super_end, epochs) == 8, "format");
static_assert(sizeof(struct super_end) == 72, "format");
static_assert(SUPER_END_OFFSET == 3952, "format");
static_assert(SUPER_END_OFFSET + sizeof(struct super_end) <= PAGE_CRC_OFFSET, "one page");

/* In super_slot.incompat: segments lie on other tiers than DIR/ssd, so a reader that does not know
 * tiers would call blocks absent that are there. */
#define SUPER_INCOMPAT_TIERS UINT64_C(1)
/* Which records it may hold (store/feature.h). */
#define SUPER_INCOMPAT_COMMITS UINT64_C(2)
#define SUPER_INCOMPAT_ZSTD    UINT64_C(4)
#define SUPER_RO_COMPAT_PINS   UINT64_C(1)
#define SUPER_INCOMPAT_KNOWN   (SUPER_INCOMPAT_TIERS | SUPER_INCOMPAT_COMMITS | SUPER_INCOMPAT_ZSTD)
#define SUPER_RO_COMPAT_KNOWN  SUPER_RO_COMPAT_PINS

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "the files are read in place: a big-endian host must refuse them");

static inline uint32_t record_header_bytes(uint32_t multihash_bytes) {
    return (RECORD_FIXED + multihash_bytes + 7) & ~7u;
}
static inline uint32_t record_span(uint32_t header_bytes, uint32_t stored_bytes) {
    return (header_bytes + stored_bytes + RECORD_UNIT - 1) & ~(RECORD_UNIT - 1);
}
static inline uint64_t lsn_make(uint32_t epoch, uint64_t counter) {
    return (uint64_t)epoch << LSN_COUNTER_BITS | counter;
}
static inline uint32_t lsn_epoch(uint64_t lsn) {
    return (uint32_t)(lsn >> LSN_COUNTER_BITS);
}

/* What every CRC of one segment starts from: the store's UUID and the segment's generation. */
uint32_t format_crc_base(const uint8_t uuid[16], uint64_t generation);
/* The seed of a page or record at `offset`. */
uint32_t format_crc_at(uint32_t crc_base, uint64_t offset);

/* The CRC a record header at `offset` must carry. `header` spans header_bytes. */
uint32_t format_record_crc(uint32_t crc_base, uint64_t offset, const struct record_header *header);

enum format_outcome { FORMAT_BAD = 1 };

/* record_check says whether a sound record header stands at `offset`, of at most `bytes_max` bytes
 * of record (header and payload). Reads no more than `bytes_here` bytes. Returns: 0 or FORMAT_BAD.
 */
struct record_bounds {
    uint32_t crc_base;
    uint64_t generation;
    uint64_t offset;
    uint64_t bytes_here;
    uint64_t bytes_max;
};
must_check int record_check(const void *at, const struct record_bounds *bounds);

/* record_key takes the key out of a checked header. Returns: 0 or FORMAT_BAD. */
must_check int record_key(const struct record_header *header, struct key *ret_key);

/* batch_check says whether a sound batch record (header and payload) stands there. bytes_max: room
 * to the end of the file; the batch must fit. */
must_check int batch_check(const void *at, const struct record_bounds *bounds);
static inline const struct batch_header *batch_of(const void *at) {
    return (const struct batch_header *)(const void *)((const uint8_t *)at + RECORD_FIXED);
}

/* Pages that end in their CRC. */
void page_seal(void *page, uint32_t crc_seed);
bool page_sound(const void *page, uint32_t crc_seed);

/* segment_header_check and segment_trailer_check look at a page against the store it should belong
 * to (id: from the file name). Returns: 0 or FORMAT_BAD. */
must_check int segment_header_check(const void *page, const uint8_t uuid[16], uint32_t id);
struct trailer_bounds {
    const uint8_t *uuid;
    uint32_t id;
    uint64_t file_bytes;
};
must_check int segment_trailer_check(const void *page, const struct trailer_bounds *bounds);
