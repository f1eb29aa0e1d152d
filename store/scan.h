/* SPDX-License-Identifier: MIT */
#pragma once

/* scan — reads a segment from front to back and says what stands in it: batches, their records, and
 * what is neither. It judges nothing: which batches count is recover.c's to say, as that takes all
 * segments of a log.
 *
 * Behind a bad batch the scan looks at every 64 B for records that verify by themselves (strays),
 * and at every page for the next batch. Pages that cannot be read count as bad, and are counted.
 * Memory: two arrays of address space, touched as far as there are records. Thread: boot, helper,
 * porter, tools. */

#include "store/segment.h"

struct scan_batch {
    uint64_t offset;
    struct batch_header head;
    uint64_t first_entry;
    uint32_t entries;
    uint32_t bad_payloads;
    bool whole;    /* every record header as the batch record says */
    bool accepted; /* recover.c's verdict */
};

#define SCAN_STRAY UINT32_MAX

struct scan_entry {
    struct footer_entry entry; /* hash is 0: filled by whoever knows the key's hash */
    uint64_t lsn;
    uint64_t txn;   /* 0: none; it counts only where a commit record says so */
    uint32_t batch; /* index, or SCAN_STRAY */
    bool bad_payload;
    bool accepted;
};

struct scan_window {
    uint8_t *buffer; /* page-aligned */
    uint64_t bytes;
    uint64_t at; /* file offset of what is in it */
    uint64_t filled;
};

struct scan {
    const struct disk *disk;
    const struct segment *segment;
    uint64_t end;  /* scan to here */
    bool payloads; /* verify them too */
    uint64_t hash_seed;
    /* Called for every sound record header, the whole record in memory; NULL: not wanted. */
    void (*each)(void *context, const struct record_header *record, const struct scan_entry *entry);
    void *context;
    struct scan_window *window;
    struct scan_batch *batches;
    struct scan_entry *entries;
    uint64_t batch_count, entry_count;
    uint64_t batches_max, entries_max;
    uint64_t at;   /* where to go on */
    uint64_t torn; /* bad places that begin like a batch */
    uint64_t records_seen;
    uint64_t unreadable; /* pages that the disk did not give: what they hold is not known */
    bool before_bad;
};

/* A window serves one scan at a time; opening many segments one uses one. Returns: 0 or -ENOMEM. */
must_check int scan_window_open(struct scan_window *window);
void scan_window_close(struct scan_window *window);

/* Prepares the arrays for a scan to `end`. Returns: 0 or -ENOMEM. */
struct scan_source {
    const struct disk *disk;
    const struct segment *segment;
    struct scan_window *window;
    uint64_t end;
};
must_check int scan_open(struct scan *scan, const struct scan_source *source);
void scan_close(struct scan *scan);
void scan_run(struct scan *scan);
/* scan_some goes on for about so many bytes. Returns: there is more. */
bool scan_some(struct scan *scan, uint64_t bytes);

/* Did it find nothing but sound batches, one behind the other to the end? Then no record is
 * missing.
 */
must_check bool scan_whole(const struct scan *scan);

/* What a footer says of a sound record that lies there. Returns: false: footers do not name it. */
must_check bool scan_name(const struct record_header *header, uint64_t offset, uint64_t hash_seed,
                          struct footer_entry *ret_entry);

/* The bytes at `offset`, at least `need` of them, or fewer at the end (*ret_here says). */
const uint8_t *scan_bytes(struct scan *scan, uint64_t offset, uint64_t need, uint64_t *ret_here);
/* The generation that the batches in this file carry, for one whose header is damaged; 0: none
 * found. */
uint64_t scan_generation(struct scan *scan, const uint8_t uuid[16], struct batch_header *ret_head);

/* keyed hash of a key under a store's seed. */
uint64_t key_hash(uint64_t seed, const struct key *key);
