/* SPDX-License-Identifier: MIT */
#pragma once

/* sim disk — files behind store/disk.h that lose power.
 *
 * Every file has two images: what reads see now, and what is on the platter. A write changes the
 * first; a sync, or a write with dsync as it completes, copies it to the second. When power goes,
 * every page that was not synced keeps its old bytes, takes its new ones, or is torn at 512 bytes;
 * names and sizes that were not synced are either; and writes that were under way may have got
 * anywhere. After that the disk is dead (everything is -EIO) until sim_disk_restart.
 *
 * Submitted operations complete in any order, one a sim_disk_step. Faults come by rate, in units of
 * one in 65536. One seed, one run: nothing else is random. */

#include "store/disk.h"

struct sim_faults {
    uint32_t write_eio, write_short, read_eio, sync_eio, open_eio;
    uint32_t read_flip; /* a bit wrong in what is handed over; the platter is right */
    uint64_t space;     /* bytes of all files together; 0: no limit */
    bool space_hidden;  /* free_bytes knows nothing of it */
};

struct sim_disk;

struct sim_disk *sim_disk_open(uint64_t seed, struct disk *ret_disk);
void sim_disk_close(struct sim_disk *sim);
void sim_disk_faults(struct sim_disk *sim, const struct sim_faults *faults);
/* Completes one submitted operation. Returns: false: none is out. */
bool sim_disk_step(struct sim_disk *sim);
/* Power goes at the n-th disk call or completion from now on; 0: never. */
void sim_disk_crash_after(struct sim_disk *sim, uint64_t calls);
bool sim_disk_dead(const struct sim_disk *sim);
void sim_disk_crash(struct sim_disk *sim);
void sim_disk_restart(struct sim_disk *sim);
uint64_t sim_disk_calls(const struct sim_disk *sim);

/* The platter, and ways to spoil it (both images). */
const uint8_t *sim_disk_bytes(struct sim_disk *sim, const char *name, uint64_t *ret_bytes);
void sim_disk_spoil(struct sim_disk *sim, const char *name, uint64_t offset, const void *with,
                    size_t bytes);
void sim_disk_set_size(struct sim_disk *sim, const char *name, uint64_t bytes);
/* Removes a file from both images. */
void sim_disk_remove(struct sim_disk *sim, const char *name);
/* Name of the n-th file that exists, or NULL. */
const char *sim_disk_name(struct sim_disk *sim, uint32_t n);
/* Copies all files of one disk over those of another. */
void sim_disk_copy(struct sim_disk *to, const struct sim_disk *from);
/* Reads of this page fail from now on; cleared by restart with `heal`. */
void sim_disk_bad_page(struct sim_disk *sim, const char *name, uint64_t offset);
void sim_disk_heal(struct sim_disk *sim);

/* splitmix64. */
uint64_t sim_random(uint64_t *state);
