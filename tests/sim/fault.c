/* SPDX-License-Identifier: MIT */
#include "tests/sim/fault.h"

#include "base/bits.h"
#include "base/must.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

bool fault_chance(struct sim_disk *sim, uint32_t of_65536) {
    return of_65536 > 0 && sim_pick(&sim->random, 65536) < of_65536;
}

/* The device a path lies on, or NULL. */
static const struct sim_device *device_of(const struct sim_disk *sim, const char *path) {
    for (uint32_t i = 0; i < sim->device_count; i++) {
        const char *dir = sim->devices[i].dir;
        if (strcmp(path, dir) == 0 || sim_lies_in(path, dir, true)) {
            return &sim->devices[i].is;
        }
    }
    return NULL;
}

static int device_error(const struct sim_device *device, uint32_t needs) {
    switch (device->state) {
    case SIM_DEVICE_FAILING:
        return -EIO;
    case SIM_DEVICE_GONE:
        return -ENODEV;
    case SIM_DEVICE_FINE:
    case SIM_DEVICE_EMPTY:
        break;
    }
    return device->read_only && (needs & FAULT_CHANGE) ? -EROFS : 0;
}

static bool planned(const struct sim_disk *sim) {
    return sim->calls >= sim->plan.from && sim->calls <= sim->plan.to;
}

bool fault_misread(const struct sim_disk *sim) {
    return sim->plan.error == SIM_MISREAD && planned(sim);
}

static int planned_error(const struct sim_disk *sim, const char *path, uint32_t needs) {
    const char *dir = sim->plan.dir;
    bool elsewhere = dir && strcmp(path, dir) != 0 && !sim_lies_in(path, dir, true);
    if (!planned(sim) || elsewhere) {
        return 0;
    }
    switch (sim->plan.error) {
    case SIM_EIO:
        return -EIO;
    case SIM_ENODEV:
        return -ENODEV;
    case SIM_ENOSPC:
        return needs & FAULT_SPACE ? -ENOSPC : 0;
    case SIM_EMFILE:
        return needs & FAULT_DESCRIPTOR ? -EMFILE : 0;
    case SIM_FINE:
    case SIM_MISREAD:
        break;
    }
    return 0;
}

uint64_t fault_latency(struct sim_disk *sim, const char *path) {
    if (!sim->clock || sim->dead) {
        return 0;
    }
    const struct sim_device *device = device_of(sim, path);
    return (device ? device->latency_ns : 0) +
           (fault_chance(sim, sim->faults.slow) ? sim->faults.slow_ns : 0);
}

/* Power may go at any call. Returns: 0 or -EIO. */
static int tick(struct sim_disk *sim) {
    sim->calls++;
    if (!sim->dead && sim->crash_at != 0 && sim->calls >= sim->crash_at) {
        sim_disk_crash(sim);
    }
    return sim->dead ? -EIO : 0;
}

int fault_gate(struct sim_disk *sim, const char *path, uint32_t needs) {
    const struct sim_device *device = device_of(sim, path);
    int r = tick(sim);
    r = r == 0 && device ? device_error(device, needs) : r;
    r = r == 0 ? planned_error(sim, path, needs) : r;
    if (r == 0 && (needs & FAULT_DESCRIPTOR) && fault_chance(sim, sim->faults.open_emfile)) {
        r = -EMFILE;
    }
    return r;
}

int fault_gate_file(struct sim_disk *sim, const struct sim_file *file, uint32_t needs) {
    int r = fault_gate(sim, file->now, needs);
    return r == 0 && file->hidden ? -ENODEV : r;
}

static uint64_t space_used(const struct sim_disk *sim, const char *dir) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < SIM_FILES; i++) {
        const struct sim_file *file = &sim->platter.files[i];
        bool counts = file->used && !file->hidden && file->now[0] != 0 &&
                      (!dir || sim_lies_in(file->now, dir, true));
        bytes += counts ? file->now_size : 0;
    }
    return bytes;
}

uint64_t fault_space_left(struct sim_disk *sim, const char *path) {
    uint64_t left = UINT64_MAX;
    if (sim->faults.space != 0) {
        uint64_t used = space_used(sim, NULL);
        left = sim->faults.space > used ? sim->faults.space - used : 0;
    }
    for (uint32_t i = 0; i < sim->device_count; i++) {
        const char *dir = sim->devices[i].dir;
        uint64_t space = sim->devices[i].is.space;
        if (space != 0 && (strcmp(path, dir) == 0 || sim_lies_in(path, dir, true))) {
            uint64_t used = space_used(sim, dir);
            left = min_u64(left, space > used ? space - used : 0);
        }
    }
    return left;
}

bool fault_bad_page(const struct sim_disk *sim, const struct sim_file *file, uint64_t offset,
                    uint64_t bytes) {
    for (uint32_t i = 0; i < sim->bad_count; i++) {
        uint64_t bad = sim->bad[i].offset;
        if (&sim->platter.files[sim->bad[i].file] == file && bad + PAGE_BYTES > offset &&
            bad < offset + bytes) {
            return true;
        }
    }
    return false;
}

/* --- for tests: what goes wrong from now on ----------------------------------------------------
 */

void sim_disk_faults(struct sim_disk *sim, const struct sim_faults *faults) {
    sim->faults = *faults;
}

void sim_disk_plan(struct sim_disk *sim, const struct sim_plan *plan) {
    sim->plan = *plan;
}

void sim_disk_crash_after(struct sim_disk *sim, uint64_t calls) {
    sim->crash_at = calls ? sim->calls + calls : 0;
}

void sim_disk_read_unit(struct sim_disk *sim, uint32_t bytes) {
    sim->read_unit = bytes;
}

void sim_disk_clock(struct sim_disk *sim, uint64_t *now_ns) {
    sim->clock = now_ns;
}

void sim_disk_stick(struct sim_disk *sim, uint64_t n) {
    sim->stick = n;
}

void sim_disk_unstick(struct sim_disk *sim) {
    sim->stick = 0;
    for (uint32_t i = 0; i < sim->out_count; i++) {
        sim->out[i].due_ns = 0;
    }
}

/* Unmounting hides the files; mounting shows them and hides for good what was made meanwhile. */
static void mount_change(struct sim_disk *sim, const char *dir, bool away) {
    for (uint32_t i = 0; i < SIM_FILES; i++) {
        struct sim_file *file = &sim->platter.files[i];
        if (!file->used ||
            !(sim_lies_in(file->now, dir, true) || sim_lies_in(file->disk, dir, true))) {
            continue;
        }
        if (away) {
            file->hidden = true;
        } else if (file->hidden) {
            file->hidden = false;
        } else {
            platter_remove(file);
        }
    }
}

void sim_disk_device(struct sim_disk *sim, const char *dir, const struct sim_device *device) {
    uint32_t i = 0;
    while (i < sim->device_count && strcmp(sim->devices[i].dir, dir) != 0) {
        i++;
    }
    must(i < SIM_DEVICES);
    if (i == sim->device_count) {
        snprintf(sim->devices[i].dir, sizeof sim->devices[i].dir, "%s", dir);
        sim->device_count++;
    }
    bool was_away = sim->devices[i].is.state == SIM_DEVICE_EMPTY;
    bool away = device->state == SIM_DEVICE_EMPTY;
    if (was_away != away) {
        mount_change(sim, dir, away);
    }
    sim->devices[i].is = *device;
}

void sim_disk_bad_page(struct sim_disk *sim, const char *name, uint64_t offset) {
    struct sim_file *file = platter_find(&sim->platter, name);
    must(file != NULL && sim->bad_count < SIM_BAD_PAGES);
    sim->bad[sim->bad_count].file = (uint32_t)(file - sim->platter.files);
    sim->bad[sim->bad_count++].offset = round_down(offset, PAGE_BYTES);
}

void sim_disk_heal(struct sim_disk *sim) {
    sim->bad_count = 0;
}
