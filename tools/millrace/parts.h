/* SPDX-License-Identifier: MIT */
#pragma once

/* parts — a folder of CARv1 archives of bounded size, written one after another, each named only
 * when it is whole and on the disk; and which blocks those that stand there already hold.
 *
 *   DIR/000001.car, DIR/000002.car, ...   the one at hand: DIR/000003.car.part
 *
 * So what was cut off goes on where it was, and what comes later goes into archives of its own.
 * Blocks are known by the first PARTS_DIGEST bytes of their digest: what a hash function is trusted
 * with is more than that any two of them differ in there.
 * Memory: 24 to 48 bytes a block known. Thread: one. */

#include "base/base.h"
#include "base/cid.h"

#include <stdio.h>

#define PARTS_DIGEST   16u
#define PARTS_PATH_MAX 4200u

enum { PARTS_BAD = 1 }; /* parts->why says it */

struct parts {
    const char *dir;       /* the caller's, as the next */
    const uint8_t *header; /* that each begins with */
    size_t header_bytes;
    uint64_t bytes_max;
    uint32_t number;      /* of the archive at hand, or of the last */
    uint64_t known_count; /* blocks that whole archives hold */
    FILE *file;           /* NULL: none is begun */
    uint64_t bytes;       /* in it */
    char path[PARTS_PATH_MAX], part[PARTS_PATH_MAX + 8];
    char why[PARTS_PATH_MAX + 128];
    uint8_t (*known)[PARTS_DIGEST]; /* a table with open addressing; all zero: free */
    uint64_t known_room;
};

/* parts_open makes the folder where there is none, and reads which blocks its archives hold; header
 * is not needed for that. Returns: 0; PARTS_BAD: one is not whole, or no CARv1; -errno. */
must_check int parts_open(struct parts *parts, const char *dir, uint64_t bytes_max);
bool parts_have(const struct parts *parts, const struct cid *cid);
/* parts_room gives the file for a section of that many bytes in all: a new one when the last is
 * full. Returns: NULL with errno set. */
FILE *parts_room(struct parts *parts, uint64_t bytes);
/* parts_close ends the last archive: whole, or away with it. Returns: 0 or -errno. */
must_check int parts_close(struct parts *parts, bool whole);
