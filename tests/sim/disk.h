/* SPDX-License-Identifier: MIT */
#pragma once

/* sim disk — files behind store/disk.h that lose power, fail, lie and dawdle.
 *
 * Every file has two images (tests/sim/platter.h): what reads see now, and what is on the platter.
 * A write changes the first; a sync, or a write with dsync as it completes, copies it to the
 * second. When power goes, every page that was not synced keeps its old bytes, takes its new ones,
 * or is torn at 512 bytes; names, renames and sizes that were not synced are either; what lies in a
 * directory whose own name was lost is lost; and writes that were under way may have got anywhere.
 * After that the disk is dead (everything is -EIO) until sim_disk_restart.
 *
 * Submitted operations complete in any order, one a sim_disk_step. Every blocking call and every
 * completion is one numbered call. Faults come by rate, in units of one in 65536; by the number of
 * the call; or by directory, as when a device goes. One seed, one run: nothing else is random. */

#include "store/disk.h"
#include "tests/sim/platter.h"

struct sim_faults {
    uint32_t write_eio, write_short, read_eio, read_short, open_eio, open_emfile;
    uint32_t sync_eio;     /* half of the pages count as clean from then on, and are lost */
    uint32_t read_flip;    /* a bit wrong in what is handed over; the platter is right */
    uint32_t read_astray;  /* other pages of the same file are handed over */
    uint32_t write_flip;   /* a bit wrong on the platter; the write succeeds */
    uint32_t write_astray; /* lands elsewhere in the file; the write succeeds */
    uint32_t slow;         /* takes slow_ns by the clock of sim_disk_clock */
    uint64_t slow_ns;
    uint64_t space;    /* bytes of all files together; 0: no limit */
    bool space_hidden; /* free_bytes knows nothing of it */
};

struct sim_disk;

struct sim_disk *sim_disk_open(uint64_t seed, struct disk *ret_disk);
void sim_disk_close(struct sim_disk *sim);
void sim_disk_faults(struct sim_disk *sim, const struct sim_faults *faults);
/* Completes one submitted operation that is due. Returns: false: there is none. */
bool sim_disk_step(struct sim_disk *sim);
/* Power goes at the n-th disk call or completion from now on; 0: never. */
void sim_disk_crash_after(struct sim_disk *sim, uint64_t calls);
bool sim_disk_dead(const struct sim_disk *sim);
void sim_disk_crash(struct sim_disk *sim);
void sim_disk_restart(struct sim_disk *sim);
uint64_t sim_disk_calls(const struct sim_disk *sim);

/* Calls number from .. to (as sim_disk_calls counts; UINT64_MAX: for ever) fail. SIM_ENOSPC fails
 * only what takes space, SIM_EMFILE only what takes a descriptor; SIM_MISREAD hands over zeroes for
 * what is read. SIM_FINE ends it. */
enum sim_error { SIM_FINE, SIM_EIO, SIM_ENODEV, SIM_ENOSPC, SIM_EMFILE, SIM_MISREAD };
struct sim_plan {
    enum sim_error error;
    uint64_t from, to;
    const char *dir; /* only there and below; NULL: everywhere */
};
void sim_disk_plan(struct sim_disk *sim, const struct sim_plan *plan);

/* A directory and what lies below it as a device of its own. */
enum sim_device_state {
    SIM_DEVICE_FINE,
    SIM_DEVICE_FAILING, /* every call there is -EIO */
    SIM_DEVICE_GONE,    /* every call there is -ENODEV */
    SIM_DEVICE_EMPTY,   /* unmounted: an empty directory, in which files can be made */
};
struct sim_device {
    enum sim_device_state state;
    uint64_t space;      /* bytes; 0: no limit of its own */
    uint64_t latency_ns; /* of every call */
    bool read_only;      /* -EROFS for all that changes something */
};
void sim_disk_device(struct sim_disk *sim, const char *dir, const struct sim_device *device);
/* Two directories take each other's place. */
void sim_disk_swap(struct sim_disk *sim, const char *dir, const char *with);

/* Reads begin and end at multiples of this, SIM_SECTOR at first; others are -EINVAL. */
void sim_disk_read_unit(struct sim_disk *sim, uint32_t bytes);

/* Where calls take time they take it from here: blocking ones move the clock, submitted ones are
 * due later. NULL: nothing takes time. */
void sim_disk_clock(struct sim_disk *sim, uint64_t *now_ns);
/* The n-th operation submitted from now on hangs until sim_disk_unstick (or the end of power). */
void sim_disk_stick(struct sim_disk *sim, uint64_t n);
void sim_disk_unstick(struct sim_disk *sim);

/* The platter, and ways to spoil it (both images). The bytes are valid until the next such call. */
const uint8_t *sim_disk_bytes(struct sim_disk *sim, const char *name, uint64_t *ret_bytes);
void sim_disk_spoil(struct sim_disk *sim, const char *name, uint64_t offset, const void *with,
                    size_t bytes);
/* Flips one bit of one file. Returns: false: there was nothing to flip. */
bool sim_disk_rot(struct sim_disk *sim);
void sim_disk_set_size(struct sim_disk *sim, const char *name, uint64_t bytes);
/* Removes a file from both images. */
void sim_disk_remove(struct sim_disk *sim, const char *name);
/* Name of the n-th file that exists, or NULL. */
const char *sim_disk_name(struct sim_disk *sim, uint32_t n);
/* Copies all files of one disk over those of another. */
void sim_disk_copy(struct sim_disk *to, const struct sim_disk *from);
/* Copies one file under another name. */
void sim_disk_duplicate(struct sim_disk *sim, const char *name, const char *as);
/* Reads of this page fail from now on, until sim_disk_heal. */
void sim_disk_bad_page(struct sim_disk *sim, const char *name, uint64_t offset);
void sim_disk_heal(struct sim_disk *sim);
