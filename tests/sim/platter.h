/* SPDX-License-Identifier: MIT */
#pragma once

/* platter — the files of a simulated disk: pages with two images, and names with two.
 *
 * A page pointer of NULL is a page of zeroes. Pages are shared, between the two images of a file
 * and between the copies of a whole platter, and are copied when one of them is written: space that
 * is reserved or filled with zeroes costs nothing, nor does losing power.
 *
 * `now` is what reads see; `disk` is what is there once power has gone. They differ only where a
 * page is dirty, or was dropped by a sync that failed. */

#include "base/base.h"

#define SIM_FILES      256u
#define SIM_NAME_MAX   192u
#define SIM_FILE_BYTES (64 * MiB)
#define SIM_SECTOR     512u

struct sim_page {
    uint32_t refs;
    struct sim_page *next; /* in the pool */
    uint8_t bytes[PAGE_BYTES];
};

struct sim_leaf {
    struct sim_page *now, *disk;
    bool dirty;
};

struct sim_file {
    char now[SIM_NAME_MAX];  /* its name; "" = none */
    char disk[SIM_NAME_MAX]; /* its name once power has gone */
    struct sim_leaf *leaves;
    uint64_t leaves_max;
    uint64_t top; /* leaves that may hold something */
    uint64_t now_size, disk_size;
    uint32_t open;
    uint32_t replaced_by; /* 1 + index of the file that was renamed over it; 0 = none */
    bool used, directory;
    bool hidden; /* lies under a device that is away */
};

struct sim_platter {
    struct sim_file files[SIM_FILES];
    uint8_t *flat; /* the file that platter_flat was last asked for */
    uint64_t flat_max;
};

struct sim_file *platter_find(struct sim_platter *platter, const char *path);
/* A file of that name with nothing in it. */
struct sim_file *platter_make(struct sim_platter *platter, const char *path, bool directory);
void platter_close(struct sim_platter *platter);
/* Makes `to` what `from` is. */
void platter_copy(struct sim_platter *to, const struct sim_platter *from);
/* Both names of a file, and what it held, go. */
void platter_remove(struct sim_file *file);

/* Reads and writes of `now`; whole pages, but for reads. `durable` writes reach `disk` too. */
void platter_read(const struct sim_file *file, void *buffer, uint64_t bytes, uint64_t offset);
void platter_write(struct sim_file *file, const void *buffer, uint64_t bytes, uint64_t offset,
                   bool durable);
void platter_truncate(struct sim_file *file, uint64_t bytes);
void platter_sync(struct sim_file *file);
/* Changes bytes of both images: damage. */
void platter_spoil(struct sim_file *file, const void *with, uint64_t bytes, uint64_t offset);
/* The `disk` image in one piece, until the next call. */
const uint8_t *platter_flat(struct sim_platter *platter, const struct sim_file *file);

/* A write that got somewhere, and nobody knows where: in `now`, or as power went in `disk`. */
enum platter_image { PLATTER_NOW, PLATTER_DISK };
void platter_write_somewhat(struct sim_file *file, const void *buffer, uint64_t bytes,
                            uint64_t offset, enum platter_image image, uint64_t *random);
/* Power goes: decides for every page, size and name that was not synced. */
void platter_settle(struct sim_platter *platter, uint64_t *random);
/* Power is back: `now` becomes `disk`. */
void platter_restart(struct sim_platter *platter);

/* Is `path` an entry of directory `dir` (deep: or of one below it)? */
bool sim_lies_in(const char *path, const char *dir, bool deep);

/* splitmix64. */
uint64_t sim_random(uint64_t *state);
static inline uint32_t sim_pick(uint64_t *state, uint32_t below) {
    return (uint32_t)(sim_random(state) % below);
}
