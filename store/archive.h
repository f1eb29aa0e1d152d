/* SPDX-License-Identifier: MIT */
#pragma once

/* archive — what a backup directory looks like.
 *
 *   DIR/BACKUP                    the manifest: written last, by a rename; it alone counts
 *   DIR/segments/IIIII-G-B.seg    segments: id, generation and bytes in hex
 *   DIR/files/NAME-X              what else lies beside a store (identity.key), X = its XXH3
 *
 *   manifest: | head, a page | what SUPER said, a page | entries of 64 bytes, zeroes to a page |
 *
 * A file's name changes with its content, so a later backup writes beside what an earlier one
 * needs, and a sealed segment that is there already is not copied again. */

#include "store/disk.h"
#include "store/format.h"
#include "store/store.h"

#define ARCHIVE_MAGIC       0x4b41424du /* "MBAK" */
#define ARCHIVE_VERSION     1u
#define ARCHIVE_NAME_MAX    32u /* of a file beside the store, with its end */
#define ARCHIVE_FILES_MAX   64u
#define ARCHIVE_FILE_BYTES  (64u * 1024 * 1024) /* GONE with all it can hold has 24 MiB */
#define ARCHIVE_PATH_MAX    768u
#define ARCHIVE_CONFIG      0x10000u /* in a file's mode: the main one of the configuration */
#define ARCHIVE_SEGMENT_MAX (2 * STORE_SEGMENT_BYTES_MAX) /* with its footer */

struct archive_head {
    uint32_t magic;
    uint16_t version;
    uint16_t zero;
    uint8_t uuid[16];
    uint64_t number;     /* of this backup in its directory, from 1 */
    uint64_t created_us; /* wall clock, for people */
    uint64_t entries_xxh3;
    uint64_t super_xxh3; /* of the second page */
    uint32_t count;
    uint32_t zero32;
};
static_assert(sizeof(struct archive_head) == 64, "format");
static_assert(offsetof(struct archive_head, number) == 24, "format");
static_assert(offsetof(struct archive_head, count) == 56, "format");

struct archive_entry {
    uint64_t generation; /* of a segment; 0: a file beside the store */
    uint64_t bytes;
    uint64_t xxh3;
    uint32_t id;
    uint32_t mode; /* of a file: permissions, and ARCHIVE_CONFIG */
    char name[ARCHIVE_NAME_MAX];
};
static_assert(sizeof(struct archive_entry) == 64, "format");
static_assert(offsetof(struct archive_entry, id) == 24, "format");
static_assert(offsetof(struct archive_entry, name) == 32, "format");

/* A manifest in memory. */
struct archive {
    uint8_t *pages;
    uint64_t bytes;
};
static inline struct archive_head *archive_head(const struct archive *archive) {
    return (struct archive_head *)(void *)archive->pages;
}
static inline struct super_slot *archive_super(const struct archive *archive) {
    return (struct super_slot *)(void *)(archive->pages + PAGE_BYTES);
}
static inline struct archive_entry *archive_entries(const struct archive *archive) {
    return (struct archive_entry *)(void *)(archive->pages + 2 * PAGE_BYTES);
}

/* Pages for a manifest of up to `count` entries, all zeroes. Returns: 0 or -ENOMEM. */
must_check int archive_make(struct archive *archive, uint32_t count);
void archive_free(struct archive *archive);
uint64_t archive_bytes(uint32_t count);
/* Fills in what the head says of the rest. */
void archive_seal(struct archive *archive);
/* Could these bytes be a manifest that was written whole? Returns: 0 or FORMAT_BAD. */
must_check int archive_check(const struct archive *archive);
/* Reads DIR/BACKUP. Returns: 0, FORMAT_BAD, -ENOENT and other -errno. */
must_check int archive_read(struct archive *archive, const struct disk *disk, const char *dir);

/* The entry whose file has the same name as that of `wanted` (of a segment its hash is not needed).
 * NULL: none. */
const struct archive_entry *archive_find(const struct archive *archive,
                                         const struct archive_entry *wanted);

/* A file's place below the directory. */
void archive_path(const char *dir, const struct archive_entry *entry, char path[ARCHIVE_PATH_MAX]);
/* Makes a directory where it is missing, with its name durable. Returns: 0 or -errno. */
must_check int archive_make_dir(const struct disk *disk, const char *path, int mode);
/* dir / name, then `more`. */
void archive_join(const char *dir, const char *name, const char *more, char path[ARCHIVE_PATH_MAX]);
/* May a file of this name be copied beside a store? Not what a daemon makes anew, and no path. */
bool archive_takes(const char *name);
