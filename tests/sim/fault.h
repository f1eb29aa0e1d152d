/* SPDX-License-Identifier: MIT */
#pragma once

/* fault — what a simulated disk is made of, and when its calls go wrong. Only tests/sim includes
 * it. */

#include "tests/sim/disk.h"

#define SIM_BAD_PAGES 1100u
#define SIM_DEVICES   8u
#define SIM_OUT       512u

struct sim_submitted {
    struct disk_op *op;
    uint64_t due_ns; /* UINT64_MAX: hangs */
};

struct sim_disk {
    uint64_t random;
    struct sim_platter platter;
    struct sim_submitted out[SIM_OUT];
    uint32_t out_count;
    struct sim_faults faults;
    struct sim_plan plan;
    struct {
        char dir[SIM_NAME_MAX];
        struct sim_device is;
    } devices[SIM_DEVICES];
    uint32_t device_count;
    uint64_t *clock;
    uint32_t read_unit; /* sim_disk_read_unit */
    uint64_t stick;     /* submissions until one hangs; 0: none does */
    uint64_t calls, crash_at;
    bool dead;
    struct {
        uint32_t file;
        uint64_t offset;
    } bad[SIM_BAD_PAGES];
    uint32_t bad_count;
};

/* What a call needs, so that the right ones fail. */
enum fault_needs {
    FAULT_PLAIN = 0,
    FAULT_CHANGE = 1,     /* changes something */
    FAULT_SPACE = 2,      /* takes space */
    FAULT_DESCRIPTOR = 4, /* takes a descriptor */
};

bool fault_chance(struct sim_disk *sim, uint32_t of_65536);
/* Counts a call on `path`. Returns: 0, or what it fails with before it does anything. */
int fault_gate(struct sim_disk *sim, const char *path, uint32_t needs);
/* The same for a file that is open. */
int fault_gate_file(struct sim_disk *sim, const struct sim_file *file, uint32_t needs);
/* Is the call that was counted last one that the plan misreads? */
bool fault_misread(const struct sim_disk *sim);
/* How long a call on `path` takes. */
uint64_t fault_latency(struct sim_disk *sim, const char *path);
/* Space left where `path` lies; UINT64_MAX: no limit. */
uint64_t fault_space_left(struct sim_disk *sim, const char *path);
/* Does a read touch a page that was made bad? */
bool fault_bad_page(const struct sim_disk *sim, const struct sim_file *file, uint64_t offset,
                    uint64_t bytes);
