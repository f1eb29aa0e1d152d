/* SPDX-License-Identifier: MIT */
#include "tests/sim/platter.h"

#include "base/bits.h"
#include "base/must.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECTORS (PAGE_BYTES / SIM_SECTOR)

uint64_t sim_random(uint64_t *state) {
    uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

bool sim_lies_in(const char *path, const char *dir, bool deep) {
    size_t n = strcmp(dir, "/") == 0 ? 0 : strlen(dir);
    return strncmp(path, dir, n) == 0 && path[n] == '/' &&
           (deep || strchr(path + n + 1, '/') == NULL);
}

/* --- pages ------------------------------------------------------------------------------------ */

/* Pages that no platter uses: lives follow each other, and warm memory serves them all. */
static struct sim_page *pool;
static const uint8_t zeroes[PAGE_BYTES];

static const uint8_t *bytes_of(const struct sim_page *page) {
    return page ? page->bytes : zeroes;
}

static struct sim_page *page_ref(struct sim_page *page) {
    if (page) {
        page->refs++;
    }
    return page;
}

static void page_drop(struct sim_page *page) {
    if (page && --page->refs == 0) {
        page->next = pool;
        pool = page;
    }
}

static struct sim_page *page_new(void) {
    struct sim_page *page = pool;
    if (page) {
        pool = page->next;
    } else {
        page = malloc(sizeof *page);
        must(page != NULL);
    }
    page->refs = 1;
    return page;
}

static bool all_zero(const uint8_t *bytes) {
    uint64_t first;
    memcpy(&first, bytes, sizeof first);
    return first == 0 && memcmp(bytes, zeroes, PAGE_BYTES) == 0;
}

static struct sim_page *page_of(const uint8_t *bytes) {
    if (all_zero(bytes)) {
        return NULL;
    }
    struct sim_page *page = page_new();
    memcpy(page->bytes, bytes, PAGE_BYTES);
    return page;
}

static void leaf_set(struct sim_page **slot, struct sim_page *page) {
    struct sim_page *old = *slot;
    *slot = page;
    page_drop(old);
}

/* One page on its way to the platter when power went. Returns: what is there after. */
static struct sim_page *settle_page(const uint8_t *old, const uint8_t *new, uint64_t *random) {
    uint8_t mixed[PAGE_BYTES];
    memcpy(mixed, old, PAGE_BYTES);
    switch (sim_pick(random, 4)) {
    case 0:
        break;
    case 1:
        memcpy(mixed, new, PAGE_BYTES);
        break;
    case 2: /* torn: a prefix got there */
        memcpy(mixed, new, (size_t)sim_pick(random, SECTORS + 1) * SIM_SECTOR);
        break;
    default:
        for (uint32_t i = 0; i < SECTORS; i++) {
            if (sim_pick(random, 2)) {
                memcpy(mixed + i * SIM_SECTOR, new + i *SIM_SECTOR, SIM_SECTOR);
            }
        }
    }
    return page_of(mixed);
}

/* --- files ------------------------------------------------------------------------------------ */

static void reach(struct sim_file *file, uint64_t bytes) {
    uint64_t leaves = (bytes + PAGE_BYTES - 1) / PAGE_BYTES;
    must(bytes <= SIM_FILE_BYTES);
    if (leaves > file->leaves_max) {
        uint64_t max = max_u64(leaves, file->leaves_max * 2);
        file->leaves = realloc(file->leaves, max * sizeof *file->leaves);
        must(file->leaves != NULL);
        memset(file->leaves + file->leaves_max, 0, (max - file->leaves_max) * sizeof *file->leaves);
        file->leaves_max = max;
    }
    file->top = max_u64(file->top, leaves);
}

static void empty(struct sim_file *file) {
    for (uint64_t i = 0; i < file->top; i++) {
        page_drop(file->leaves[i].now);
        page_drop(file->leaves[i].disk);
        file->leaves[i] = (struct sim_leaf){NULL, NULL, false};
    }
    file->top = 0;
}

struct sim_file *platter_find(struct sim_platter *platter, const char *path) {
    for (uint32_t i = 0; i < SIM_FILES; i++) {
        struct sim_file *file = &platter->files[i];
        if (file->used && !file->hidden && file->now[0] && strcmp(file->now, path) == 0) {
            return file;
        }
    }
    return NULL;
}

struct sim_file *platter_make(struct sim_platter *platter, const char *path, bool directory) {
    for (uint32_t i = 0; i < SIM_FILES; i++) {
        struct sim_file *file = &platter->files[i];
        if (file->used && (file->now[0] || file->disk[0] || file->open > 0)) {
            continue;
        }
        empty(file);
        *file = (struct sim_file){.leaves = file->leaves,
                                  .leaves_max = file->leaves_max,
                                  .used = true,
                                  .directory = directory};
        snprintf(file->now, sizeof file->now, "%s", path);
        return file;
    }
    never("the simulated disk has no room for another file");
}

void platter_close(struct sim_platter *platter) {
    for (uint32_t i = 0; i < SIM_FILES; i++) {
        empty(&platter->files[i]);
        free(platter->files[i].leaves);
    }
    free(platter->flat);
}

void platter_copy(struct sim_platter *to, const struct sim_platter *from) {
    for (uint32_t i = 0; i < SIM_FILES; i++) {
        struct sim_file *file = &to->files[i];
        const struct sim_file *source = &from->files[i];
        empty(file);
        reach(file, source->top * PAGE_BYTES);
        for (uint64_t k = 0; k < source->top; k++) {
            file->leaves[k] =
                (struct sim_leaf){page_ref(source->leaves[k].now), page_ref(source->leaves[k].disk),
                                  source->leaves[k].dirty};
        }
        struct sim_leaf *leaves = file->leaves;
        uint64_t leaves_max = file->leaves_max;
        *file = *source;
        file->leaves = leaves;
        file->leaves_max = leaves_max;
    }
}

void platter_remove(struct sim_file *file) {
    empty(file);
    file->now[0] = file->disk[0] = 0;
    file->now_size = file->disk_size = 0;
}

void platter_read(const struct sim_file *file, void *buffer, uint64_t bytes, uint64_t offset) {
    for (uint64_t at = 0; at < bytes;) {
        uint64_t page = (offset + at) / PAGE_BYTES;
        uint64_t from = (offset + at) % PAGE_BYTES;
        uint64_t count = min_u64(PAGE_BYTES - from, bytes - at);
        const struct sim_page *here = page < file->top ? file->leaves[page].now : NULL;
        memcpy((uint8_t *)buffer + at, bytes_of(here) + from, count);
        at += count;
    }
}

void platter_write(struct sim_file *file, const void *buffer, uint64_t bytes, uint64_t offset,
                   bool durable) {
    must(offset % PAGE_BYTES == 0 && bytes % PAGE_BYTES == 0);
    reach(file, offset + bytes);
    for (uint64_t at = 0; at < bytes; at += PAGE_BYTES) {
        struct sim_leaf *leaf = &file->leaves[(offset + at) / PAGE_BYTES];
        leaf_set(&leaf->now, page_of((const uint8_t *)buffer + at));
        leaf->dirty = !durable;
        if (durable) {
            leaf_set(&leaf->disk, page_ref(leaf->now));
        }
    }
    file->now_size = max_u64(file->now_size, offset + bytes);
    if (durable) {
        file->disk_size = max_u64(file->disk_size, file->now_size);
    }
}

void platter_truncate(struct sim_file *file, uint64_t bytes) {
    for (uint64_t i = bytes / PAGE_BYTES; i < file->top; i++) {
        struct sim_leaf *leaf = &file->leaves[i];
        uint64_t kept = i * PAGE_BYTES < bytes ? bytes - i * PAGE_BYTES : 0;
        uint8_t left[PAGE_BYTES] = {0};
        memcpy(left, bytes_of(leaf->now), kept);
        leaf_set(&leaf->now, page_of(left));
        leaf->dirty = true;
    }
    file->now_size = bytes;
}

void platter_sync(struct sim_file *file) {
    for (uint64_t i = 0; i < file->top; i++) {
        struct sim_leaf *leaf = &file->leaves[i];
        if (leaf->dirty) {
            leaf_set(&leaf->disk, page_ref(leaf->now));
            leaf->dirty = false;
        }
    }
    file->disk_size = file->now_size;
}

static void spoil_image(struct sim_page **slot, const void *with, uint64_t bytes, uint64_t from) {
    uint8_t changed[PAGE_BYTES];
    memcpy(changed, bytes_of(*slot), PAGE_BYTES);
    memcpy(changed + from, with, bytes);
    leaf_set(slot, page_of(changed));
}

void platter_spoil(struct sim_file *file, const void *with, uint64_t bytes, uint64_t offset) {
    reach(file, offset + bytes);
    for (uint64_t at = 0; at < bytes;) {
        struct sim_leaf *leaf = &file->leaves[(offset + at) / PAGE_BYTES];
        uint64_t from = (offset + at) % PAGE_BYTES;
        uint64_t count = min_u64(PAGE_BYTES - from, bytes - at);
        spoil_image(&leaf->now, (const uint8_t *)with + at, count, from);
        spoil_image(&leaf->disk, (const uint8_t *)with + at, count, from);
        at += count;
    }
}

const uint8_t *platter_flat(struct sim_platter *platter, const struct sim_file *file) {
    uint64_t bytes = max_u64(file->top * PAGE_BYTES, file->disk_size);
    if (bytes > platter->flat_max) {
        platter->flat = realloc(platter->flat, bytes);
        must(platter->flat != NULL);
        platter->flat_max = bytes;
    }
    if (bytes > 0) {
        memset(platter->flat, 0, platter->flat_max);
    }
    for (uint64_t i = 0; i < file->top; i++) {
        memcpy(platter->flat + i * PAGE_BYTES, bytes_of(file->leaves[i].disk), PAGE_BYTES);
    }
    return platter->flat;
}

/* --- power ------------------------------------------------------------------------------------ */

void platter_write_somewhat(struct sim_file *file, const void *buffer, uint64_t bytes,
                            uint64_t offset, enum platter_image image, uint64_t *random) {
    reach(file, offset + bytes);
    for (uint64_t at = 0; at < bytes; at += PAGE_BYTES) {
        struct sim_leaf *leaf = &file->leaves[(offset + at) / PAGE_BYTES];
        struct sim_page **slot = image == PLATTER_NOW ? &leaf->now : &leaf->disk;
        leaf_set(slot, settle_page(bytes_of(*slot), (const uint8_t *)buffer + at, random));
        leaf->dirty = leaf->dirty || image == PLATTER_NOW;
    }
}

static void settle_file(struct sim_file *file, uint64_t *random) {
    /* Often a whole file's worth of pages shares one fate, as write-back does. */
    uint32_t mode = sim_pick(random, 3);
    for (uint64_t i = 0; i < file->top; i++) {
        struct sim_leaf *leaf = &file->leaves[i];
        if (!leaf->dirty || mode == 0 || leaf->now == leaf->disk) {
            continue;
        }
        struct sim_page *page =
            mode == 1 ? page_ref(leaf->now)
                      : settle_page(bytes_of(leaf->disk), bytes_of(leaf->now), random);
        leaf_set(&leaf->disk, page);
    }
    if (sim_pick(random, 2)) {
        file->disk_size = file->now_size;
    }
}

/* A file that was renamed over keeps its name until the other takes it: never both, never none. */
static void settle_name(struct sim_platter *platter, struct sim_file *file, uint64_t *random) {
    if (file->replaced_by != 0 || strcmp(file->now, file->disk) == 0 || sim_pick(random, 2) == 0) {
        return;
    }
    uint32_t self = 1 + (uint32_t)(file - platter->files);
    for (uint32_t i = 0; i < SIM_FILES; i++) {
        struct sim_file *other = &platter->files[i];
        if (other->used && other->replaced_by == self && strcmp(other->disk, file->now) == 0) {
            other->disk[0] = 0;
        }
    }
    memcpy(file->disk, file->now, sizeof file->disk);
}

void platter_settle(struct sim_platter *platter, uint64_t *random) {
    for (uint32_t i = 0; i < SIM_FILES; i++) {
        struct sim_file *file = &platter->files[i];
        if (!file->used) {
            continue;
        }
        if (!file->directory) {
            settle_file(file, random);
        }
        settle_name(platter, file, random);
    }
}

/* What lies in a directory that was made and lost is lost. What nobody made (the root) is there. */
static bool orphan(struct sim_platter *platter, const struct sim_file *file) {
    char parent[SIM_NAME_MAX];
    memcpy(parent, file->disk, sizeof parent);
    char *slash = strrchr(parent, '/');
    if (!slash || slash == parent) {
        return false;
    }
    *slash = 0;
    bool lost = false;
    for (uint32_t i = 0; i < SIM_FILES; i++) {
        const struct sim_file *dir = &platter->files[i];
        if (dir->used && dir->directory && strcmp(dir->disk, parent) == 0) {
            return false;
        }
        lost = lost || (dir->used && dir->directory && strcmp(dir->now, parent) == 0);
    }
    return lost;
}

void platter_restart(struct sim_platter *platter) {
    bool again = true;
    while (again) {
        again = false;
        for (uint32_t i = 0; i < SIM_FILES; i++) {
            struct sim_file *file = &platter->files[i];
            if (file->used && file->disk[0] && orphan(platter, file)) {
                file->disk[0] = 0;
                again = true;
            }
        }
    }
    for (uint32_t i = 0; i < SIM_FILES; i++) {
        struct sim_file *file = &platter->files[i];
        file->open = 0;
        file->replaced_by = 0;
        if (!file->used || file->disk[0] == 0) {
            platter_remove(file);
            file->used = false;
            continue;
        }
        memcpy(file->now, file->disk, sizeof file->now);
        uint64_t pages = (file->disk_size + PAGE_BYTES - 1) / PAGE_BYTES;
        for (uint64_t k = 0; k < file->top; k++) {
            struct sim_leaf *leaf = &file->leaves[k];
            if (k >= pages) {
                leaf_set(&leaf->disk, NULL);
            }
            leaf_set(&leaf->now, page_ref(leaf->disk));
            leaf->dirty = false;
        }
        file->top = min_u64(file->top, pages);
        file->now_size = file->disk_size;
        if (file->disk_size % PAGE_BYTES != 0 && pages <= file->top) {
            uint64_t kept = file->disk_size % PAGE_BYTES;
            platter_spoil(file, zeroes, PAGE_BYTES - kept, (pages - 1) * PAGE_BYTES + kept);
        }
    }
}
