/* SPDX-License-Identifier: MIT */
#pragma once

/* gone — which ranges of LSNs went in order: those of segments that compaction let go.
 *
 * Recovery finds an acknowledged range that nobody holds: was it lost, or let go? DIR/GONE lists
 * the latter, and is written before a segment is unlinked. It is a hint that only quiets a false
 * alarm: without it the same blocks are found.
 *
 * It is made with room to spare, so that a full disk can still be told: then it is written over in
 * its place, and a loss of power just then costs the quiet.
 *
 *   | header 40 B: magic, version, count, XXH3 of the ranges, UUID | ranges of 24 B | zeroes |
 *
 * Thread: boot, then the porter. */

#include "base/base.h"
#include "store/disk.h"

#define GONE_MAGIC 0x454e4f47u /* "GONE" */

struct gone_range {
    uint64_t first_lsn, last_lsn;
    uint32_t log;
    uint32_t zero;
};
static_assert(sizeof(struct gone_range) == 24, "format");

struct gone_header {
    uint32_t magic;
    uint32_t version;
    uint32_t count;
    uint32_t zero;
    uint64_t xxh3;
    uint8_t uuid[16];
};
static_assert(sizeof(struct gone_header) == 40, "format");

struct gone {
    uint8_t *file;  /* as it is written: header, then ranges */
    uint64_t room;  /* bytes */
    uint64_t there; /* bytes of the file on disk; 0: there is none */
    uint32_t count;
};

static inline struct gone_range *gone_ranges(const struct gone *gone) {
    return (struct gone_range *)(void *)(gone->file + sizeof(struct gone_header));
}

struct segments;

/* Reads the file; one that is not there or does not verify is an empty one. Returns: 0 or -ENOMEM.
 */
must_check int gone_open(struct gone *gone, const struct segments *segments);
void gone_close(struct gone *gone);
/* How many ranges a file of so many bytes holds soundly; UINT32_MAX: it is none. */
uint32_t gone_check(const void *file, uint64_t bytes, const uint8_t uuid[16]);
/* Adds one, joined with its neighbours. Returns: 0 or -ENOMEM. */
must_check int gone_add(struct gone *gone, const struct gone_range *range);
/* The bytes of the file as it would be written now, in memory of the caller's (vm_unmap). No
 * ranges: NULL and 0. Returns: 0 or -ENOMEM. */
must_check int gone_copy(struct gone *gone, const struct segments *segments, uint8_t **ret_file,
                         uint64_t *ret_bytes);
/* Forgets logs of earlier starts of which no segment is left (all_here: no tier is away, that may
 * hold some), and makes the rest durable. Returns: 0 or -errno. */
must_check int gone_write(struct gone *gone, const struct segments *segments, bool all_here);
