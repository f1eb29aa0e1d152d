/* SPDX-License-Identifier: MIT */
#include "proto/ipld/unixfs_file.h"

#include "base/must.h"

static_assert(UNIXFS_FILE_LINKS * (UNIXFS_LINK_MAX + 11u) + 64u <= UNIXFS_FILE_NODE_MAX,
              "a full node fits");

void unixfs_file_init(struct unixfs_file *file) {
    file->ended = file->waiting = false;
    for (uint32_t i = 0; i < UNIXFS_FILE_LEVELS; i++) {
        file->levels[i].count = 0;
    }
}

static void put(struct unixfs_file *file, uint32_t level, const struct unixfs_link *link) {
    must(level < UNIXFS_FILE_LEVELS);
    struct unixfs_level *place = &file->levels[level];
    must(place->count < UNIXFS_FILE_LINKS);
    place->links[place->count++] = *link;
}

void unixfs_file_add(struct unixfs_file *file, const struct unixfs_link *leaf) {
    must(!file->ended);
    must(!file->waiting);
    put(file, 0, leaf);
}

void unixfs_file_end(struct unixfs_file *file) {
    must(!file->ended);
    must(!file->waiting);
    file->ended = true;
}

/* The lowest level that has anything; the levels' count where none has. */
static uint32_t lowest(const struct unixfs_file *file) {
    uint32_t level = 0;
    while (level < UNIXFS_FILE_LEVELS && file->levels[level].count == 0) {
        level++;
    }
    return level;
}

static bool nothing_above(const struct unixfs_file *file, uint32_t level) {
    for (level++; level < UNIXFS_FILE_LEVELS; level++) {
        if (file->levels[level].count > 0) {
            return false;
        }
    }
    return true;
}

/* Returns: the level whose links become a node now; the levels' count where none does. */
static uint32_t level_due(const struct unixfs_file *file) {
    for (uint32_t level = 0; level < UNIXFS_FILE_LEVELS; level++) {
        if (file->levels[level].count == UNIXFS_FILE_LINKS) {
            return level;
        }
    }
    if (!file->ended) {
        return UNIXFS_FILE_LEVELS;
    }
    uint32_t level = lowest(file);
    must(level < UNIXFS_FILE_LEVELS);
    bool root = file->levels[level].count == 1 && nothing_above(file, level);
    return root ? UNIXFS_FILE_LEVELS : level;
}

size_t unixfs_file_node(struct unixfs_file *file, uint8_t out[UNIXFS_FILE_NODE_MAX]) {
    must(!file->waiting);
    uint32_t level = level_due(file);
    if (level == UNIXFS_FILE_LEVELS) {
        return 0;
    }
    size_t bytes = unixfs_file_write(file->levels[level].links, file->levels[level].count, out);
    file->waiting = true;
    file->due = level;
    file->made = (uint32_t)bytes;
    return bytes;
}

void unixfs_file_named(struct unixfs_file *file, const struct cid *cid) {
    must(file->waiting);
    struct unixfs_level *level = &file->levels[file->due];
    struct unixfs_link link;
    unixfs_link_init(&link, cid, file->made);
    for (uint32_t i = 0; i < level->count; i++) {
        link.total_bytes += level->links[i].total_bytes;
        link.file_bytes += level->links[i].file_bytes;
    }
    level->count = 0;
    file->waiting = false;
    put(file, file->due + 1, &link);
}

const struct unixfs_link *unixfs_file_root(const struct unixfs_file *file) {
    must(file->ended);
    must(!file->waiting);
    uint32_t level = lowest(file);
    must(level < UNIXFS_FILE_LEVELS);
    must(file->levels[level].count == 1);
    return &file->levels[level].links[0];
}
