/* SPDX-License-Identifier: MIT */
#include "base/bits.h"
#include "base/must.h"
#include "tests/sim/fault.h"

#include <stdio.h>
#include <string.h>

/* What tests do to a simulated disk behind the store's back. */

const uint8_t *sim_disk_bytes(struct sim_disk *sim, const char *name, uint64_t *ret_bytes) {
    struct sim_file *file = platter_find(&sim->platter, name);
    if (!file) {
        return NULL;
    }
    *ret_bytes = file->disk_size;
    return platter_flat(&sim->platter, file);
}

void sim_disk_spoil(struct sim_disk *sim, const char *name, uint64_t offset, const void *with,
                    size_t bytes) {
    struct sim_file *file = platter_find(&sim->platter, name);
    must(file != NULL && offset + bytes <= file->disk_size);
    platter_spoil(file, with, bytes, offset);
}

bool sim_disk_rot(struct sim_disk *sim) {
    for (uint32_t tries = 0; tries < 64; tries++) {
        struct sim_file *file = &sim->platter.files[sim_pick(&sim->random, SIM_FILES)];
        uint64_t bytes = min_u64(file->disk_size, file->top * PAGE_BYTES);
        if (!file->used || file->now[0] == 0 || bytes == 0) {
            continue;
        }
        uint64_t at = sim_random(&sim->random) % bytes;
        const struct sim_page *page = file->leaves[at / PAGE_BYTES].now;
        uint8_t value = page ? page->bytes[at % PAGE_BYTES] : 0;
        value ^= (uint8_t)BIT(sim_pick(&sim->random, 8));
        platter_spoil(file, &value, 1, at);
        return true;
    }
    return false;
}

void sim_disk_set_size(struct sim_disk *sim, const char *name, uint64_t bytes) {
    struct sim_file *file = platter_find(&sim->platter, name);
    must(file != NULL);
    platter_truncate(file, bytes);
    platter_sync(file);
}

void sim_disk_remove(struct sim_disk *sim, const char *name) {
    struct sim_file *file = platter_find(&sim->platter, name);
    must(file != NULL);
    platter_remove(file);
}

const char *sim_disk_name(struct sim_disk *sim, uint32_t n) {
    for (uint32_t i = 0; i < SIM_FILES; i++) {
        struct sim_file *file = &sim->platter.files[i];
        if (file->used && !file->directory && !file->hidden && file->now[0] && n-- == 0) {
            return file->now;
        }
    }
    return NULL;
}

void sim_disk_copy(struct sim_disk *to, const struct sim_disk *from) {
    platter_copy(&to->platter, &from->platter);
    to->out_count = 0;
    to->dead = from->dead;
    to->bad_count = 0;
}

void sim_disk_duplicate(struct sim_disk *sim, const char *name, const char *as) {
    struct sim_file *from = platter_find(&sim->platter, name);
    must(from != NULL && platter_find(&sim->platter, as) == NULL);
    struct sim_file *to = platter_make(&sim->platter, as, false);
    for (uint64_t i = 0; i < from->top; i++) {
        const struct sim_page *page = from->leaves[i].now;
        if (page) {
            platter_write(to, page->bytes, PAGE_BYTES, i * PAGE_BYTES, true);
        }
    }
    platter_truncate(to, from->now_size);
    platter_sync(to);
    memcpy(to->disk, to->now, sizeof to->disk);
}

static void swap_name(char *name, const char *dir, const char *with) {
    const char *to = sim_lies_in(name, dir, true)    ? with
                     : sim_lies_in(name, with, true) ? dir
                                                     : NULL;
    if (to) {
        char old[SIM_NAME_MAX];
        memcpy(old, name, sizeof old);
        const char *rest = old + strlen(to == with ? dir : with);
        must((size_t)snprintf(name, SIM_NAME_MAX, "%s%s", to, rest) < SIM_NAME_MAX);
    }
}

void sim_disk_swap(struct sim_disk *sim, const char *dir, const char *with) {
    for (uint32_t i = 0; i < SIM_FILES; i++) {
        struct sim_file *file = &sim->platter.files[i];
        if (file->used) {
            swap_name(file->now, dir, with);
            swap_name(file->disk, dir, with);
        }
    }
}
