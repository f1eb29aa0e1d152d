/* SPDX-License-Identifier: MIT */
#include "tests/sim/disk.h"

#include "base/bits.h"
#include "base/must.h"
#include "tests/sim/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FD_BASE 1000

static struct sim_file *file_of(struct sim_disk *sim, int fd) {
    must(fd >= FD_BASE && fd < FD_BASE + (int)SIM_FILES);
    return &sim->platter.files[fd - FD_BASE];
}

/* A blocking call holds everybody up for as long as it takes. */
static void dawdle(struct sim_disk *sim, const char *path) {
    uint64_t latency_ns = fault_latency(sim, path);
    if (latency_ns > 0) {
        *sim->clock += latency_ns;
    }
}

/* --- power ------------------------------------------------------------------------------------ */

void sim_disk_crash(struct sim_disk *sim) {
    must(!sim->dead);
    for (uint32_t i = 0; i < sim->out_count; i++) {
        const struct disk_op *op = sim->out[i].op;
        sim->out[i].due_ns = 0;
        if (op->kind == DISK_WRITE) {
            platter_write_somewhat(file_of(sim, op->fd), op->buffer, op->bytes, op->offset,
                                   PLATTER_DISK, &sim->random);
        }
    }
    platter_settle(&sim->platter, &sim->random);
    sim->dead = true;
}

void sim_disk_restart(struct sim_disk *sim) {
    must(sim->out_count == 0);
    platter_restart(&sim->platter);
    sim->dead = false;
    sim->crash_at = 0;
    sim->stick = 0;
}

/* --- blocking calls --------------------------------------------------------------------------- */

static int sim_open_file(void *backend, const char *path, int flags, int mode) {
    struct sim_disk *sim = backend;
    (void)mode;
    dawdle(sim, path);
    struct sim_file *file = platter_find(&sim->platter, path);
    bool makes = !file && (flags & O_CREAT);
    uint32_t changes = makes ? FAULT_CHANGE | FAULT_SPACE : FAULT_PLAIN;
    changes |= (flags & O_ACCMODE) != O_RDONLY ? FAULT_CHANGE : 0;
    int r = fault_gate(sim, path, FAULT_DESCRIPTOR | changes);
    if (r != 0 || fault_chance(sim, sim->faults.open_eio)) {
        return r != 0 ? r : -EIO;
    }
    if (file && (flags & O_EXCL)) {
        return -EEXIST;
    }
    if (!file && !makes) {
        return -ENOENT;
    }
    file = file ? file : platter_make(&sim->platter, path, false);
    if (flags & O_TRUNC) {
        platter_truncate(file, 0);
    }
    file->open++;
    return FD_BASE + (int)(file - sim->platter.files);
}

static int sim_close_file(void *backend, int fd) {
    struct sim_file *file = file_of(backend, fd);
    if (file->open > 0) {
        file->open--;
    }
    return 0;
}

static int sim_allocate(void *backend, int fd, uint64_t bytes) {
    struct sim_disk *sim = backend;
    struct sim_file *file = file_of(sim, fd);
    dawdle(sim, file->now);
    int r = fault_gate_file(sim, file, FAULT_CHANGE | FAULT_SPACE);
    if (r != 0) {
        /* what was had until then stays with the file */
        file->now_size = r == -ENOSPC ? max_u64(file->now_size, bytes / 2) : file->now_size;
        return r;
    }
    uint64_t left = fault_space_left(sim, file->now);
    if (bytes > file->now_size && bytes - file->now_size > left) {
        file->now_size += left;
        return -ENOSPC;
    }
    file->now_size = max_u64(file->now_size, bytes);
    return 0;
}

static int sim_truncate(void *backend, int fd, uint64_t bytes) {
    struct sim_disk *sim = backend;
    struct sim_file *file = file_of(sim, fd);
    dawdle(sim, file->now);
    int r = fault_gate_file(sim, file, FAULT_CHANGE);
    if (r == 0) {
        platter_truncate(file, bytes);
    }
    return r;
}

/* A page-aligned place of the file where this many bytes are, other than the right one if it can.
 */
static uint64_t astray(struct sim_disk *sim, const struct sim_file *file, uint64_t bytes) {
    uint64_t pages = file->now_size > bytes ? (file->now_size - bytes) / PAGE_BYTES : 0;
    return (sim_random(&sim->random) % (pages + 1)) * PAGE_BYTES;
}

/* As the kernel has it of a file that is O_DIRECT, which all of ours are. */
static int64_t read_now(struct sim_disk *sim, const struct sim_file *file, void *buffer,
                        size_t bytes, uint64_t offset) {
    if (offset % sim->read_unit != 0 || bytes % sim->read_unit != 0) {
        return -EINVAL;
    }
    if (fault_chance(sim, sim->faults.read_eio) || fault_bad_page(sim, file, offset, bytes)) {
        return -EIO;
    }
    if (offset >= file->now_size) {
        return 0;
    }
    size_t n = (size_t)min_u64(bytes, file->now_size - offset);
    uint64_t from = offset;
    if (fault_chance(sim, sim->faults.read_astray)) {
        from = astray(sim, file, n);
    }
    platter_read(file, buffer, n, from);
    if (fault_misread(sim)) {
        memset(buffer, 0, n);
    }
    if (n > 0 && fault_chance(sim, sim->faults.read_flip)) {
        ((uint8_t *)buffer)[sim_pick(&sim->random, (uint32_t)n)] ^=
            (uint8_t)BIT(sim_pick(&sim->random, 8));
    }
    return (int64_t)n;
}

static int64_t sim_pread(void *backend, int fd, void *buffer, size_t bytes, uint64_t offset) {
    struct sim_disk *sim = backend;
    const struct sim_file *file = file_of(sim, fd);
    dawdle(sim, file->now);
    int r = fault_gate_file(sim, file, FAULT_PLAIN);
    return r != 0 ? r : read_now(sim, file, buffer, bytes, offset);
}

struct sim_write {
    struct sim_file *file;
    const void *buffer;
    uint64_t bytes, offset;
    bool durable;
};

/* A write that failed got somewhere, and nobody knows where. */
static int write_refused(struct sim_disk *sim, const struct sim_write *write, int error) {
    if (error == -EIO && !sim->dead) {
        platter_write_somewhat(write->file, write->buffer, write->bytes, write->offset, PLATTER_NOW,
                               &sim->random);
    }
    return error;
}

static int64_t write_now(struct sim_disk *sim, const struct sim_write *write) {
    struct sim_file *file = write->file;
    uint64_t bytes = write->bytes;
    if (fault_chance(sim, sim->faults.write_eio)) {
        return write_refused(sim, write, -EIO);
    }
    uint64_t end = write->offset + bytes;
    if (end > file->now_size && end - file->now_size > fault_space_left(sim, file->now)) {
        return -ENOSPC;
    }
    if (bytes > PAGE_BYTES && fault_chance(sim, sim->faults.write_short)) {
        bytes = (1 + sim_pick(&sim->random, (uint32_t)(bytes / PAGE_BYTES) - 1)) * PAGE_BYTES;
    }
    uint64_t offset = write->offset;
    if (fault_chance(sim, sim->faults.write_astray)) {
        offset = astray(sim, file, bytes);
    }
    platter_write(file, write->buffer, bytes, offset, write->durable);
    if (fault_chance(sim, sim->faults.write_flip)) {
        uint64_t at = sim_random(&sim->random) % bytes;
        uint8_t value = ((const uint8_t *)write->buffer)[at];
        value ^= (uint8_t)BIT(sim_pick(&sim->random, 8));
        platter_spoil(file, &value, 1, offset + at);
    }
    return (int64_t)bytes;
}

static int64_t sim_pwrite(void *backend, int fd, const void *buffer, size_t bytes,
                          uint64_t offset) {
    struct sim_disk *sim = backend;
    struct sim_file *file = file_of(sim, fd);
    dawdle(sim, file->now);
    uint32_t grows = offset + bytes > file->now_size ? FAULT_SPACE : 0;
    int r = fault_gate_file(sim, file, FAULT_CHANGE | grows);
    struct sim_write write = {file, buffer, bytes, offset, false};
    return r != 0 ? write_refused(sim, &write, r) : write_now(sim, &write);
}

static int sim_sync_file(void *backend, int fd) {
    struct sim_disk *sim = backend;
    struct sim_file *file = file_of(sim, fd);
    dawdle(sim, file->now);
    int r = fault_gate_file(sim, file, FAULT_PLAIN);
    if (r == 0 && fault_chance(sim, sim->faults.sync_eio)) {
        r = -EIO;
    }
    if (r != 0 && !sim->dead) {
        /* As Linux does: the pages count as clean from here on, and were not written. */
        for (uint64_t page = 0; page < file->top; page++) {
            file->leaves[page].dirty = file->leaves[page].dirty && sim_pick(&sim->random, 2);
        }
    }
    if (r == 0) {
        platter_sync(file);
    }
    return r;
}

static int sim_sync_dir(void *backend, const char *path) {
    struct sim_disk *sim = backend;
    dawdle(sim, path);
    int r = fault_gate(sim, path, FAULT_PLAIN);
    if (r != 0 || fault_chance(sim, sim->faults.sync_eio)) {
        return r != 0 ? r : -EIO;
    }
    for (uint32_t i = 0; i < SIM_FILES; i++) {
        struct sim_file *file = &sim->platter.files[i];
        bool here = sim_lies_in(file->now, path, false) || sim_lies_in(file->disk, path, false);
        if (file->used && !file->hidden && here) {
            memcpy(file->disk, file->now, sizeof file->disk);
            file->replaced_by = 0;
        }
    }
    return 0;
}

static int sim_make_dir(void *backend, const char *path, int mode) {
    struct sim_disk *sim = backend;
    (void)mode;
    dawdle(sim, path);
    int r = fault_gate(sim, path, FAULT_CHANGE | FAULT_SPACE);
    if (r != 0) {
        return r;
    }
    if (platter_find(&sim->platter, path)) {
        return -EEXIST;
    }
    (void)platter_make(&sim->platter, path, true);
    return 0;
}

static int sim_rename_file(void *backend, const char *from, const char *to) {
    struct sim_disk *sim = backend;
    dawdle(sim, from);
    int r = fault_gate(sim, from, FAULT_CHANGE);
    if (r != 0) {
        return r;
    }
    struct sim_file *file = platter_find(&sim->platter, from);
    struct sim_file *old = platter_find(&sim->platter, to);
    if (!file) {
        return -ENOENT;
    }
    if (old && old != file) {
        old->now[0] = 0;
        old->replaced_by = 1 + (uint32_t)(file - sim->platter.files);
    }
    snprintf(file->now, sizeof file->now, "%s", to);
    return 0;
}

static int sim_unlink_file(void *backend, const char *path) {
    struct sim_disk *sim = backend;
    dawdle(sim, path);
    int r = fault_gate(sim, path, FAULT_CHANGE);
    if (r != 0) {
        return r;
    }
    struct sim_file *file = platter_find(&sim->platter, path);
    if (!file) {
        return -ENOENT;
    }
    memset(file->now, 0, sizeof file->now);
    return 0;
}

static int64_t sim_file_bytes(void *backend, int fd) {
    struct sim_disk *sim = backend;
    const struct sim_file *file = file_of(sim, fd);
    int r = fault_gate_file(sim, file, FAULT_PLAIN);
    return r != 0 ? r : (int64_t)file->now_size;
}

static uint32_t sim_read_unit(void *backend, int fd) {
    const struct sim_disk *sim = backend;
    (void)fd;
    return sim->read_unit;
}

static int sim_list_dir(void *backend, const char *path,
                        int (*each)(void *context, const char *name), void *context) {
    struct sim_disk *sim = backend;
    dawdle(sim, path);
    int r = fault_gate(sim, path, FAULT_PLAIN);
    if (r != 0) {
        return r;
    }
    const struct sim_file *dir = platter_find(&sim->platter, path);
    if (!dir || !dir->directory) {
        return dir ? -ENOTDIR : -ENOENT;
    }
    for (uint32_t i = 0; i < SIM_FILES && r == 0; i++) {
        const struct sim_file *file = &sim->platter.files[i];
        if (file->used && !file->hidden && sim_lies_in(file->now, path, false)) {
            r = each(context, file->now + strlen(path) + 1);
        }
    }
    return r;
}

static int64_t sim_free_bytes(void *backend, const char *path) {
    struct sim_disk *sim = backend;
    uint64_t left = sim->faults.space_hidden ? UINT64_MAX : fault_space_left(sim, path);
    return (int64_t)min_u64(left, 4 * GiB);
}

static int sim_lock_file(void *backend, const char *path, bool shared, uint32_t *ret_pid) {
    (void)shared;
    (void)ret_pid;
    return sim_open_file(backend, path, O_RDWR | O_CREAT, 0);
}

static int sim_entropy(void *backend, void *bytes, size_t count) {
    struct sim_disk *sim = backend;
    for (size_t i = 0; i < count; i++) {
        ((uint8_t *)bytes)[i] = (uint8_t)sim_random(&sim->random);
    }
    return 0;
}

/* --- submitted operations --------------------------------------------------------------------- */

static void sim_submit(void *backend, struct disk_op *op) {
    struct sim_disk *sim = backend;
    must(sim->out_count < SIM_OUT);
    must((uintptr_t)op->buffer % PAGE_BYTES == 0);
    must(op->kind != DISK_WRITE || (op->offset % PAGE_BYTES == 0 && op->bytes % PAGE_BYTES == 0));
    must(op->kind != DISK_WRITE || op->dsync);
    uint64_t latency_ns = fault_latency(sim, file_of(sim, op->fd)->now);
    uint64_t due_ns = latency_ns > 0 ? *sim->clock + latency_ns : 0;
    if (sim->stick > 0 && --sim->stick == 0) {
        due_ns = UINT64_MAX;
    }
    sim->out[sim->out_count++] = (struct sim_submitted){op, due_ns};
}

static int32_t perform(struct sim_disk *sim, const struct disk_op *op) {
    struct sim_file *file = file_of(sim, op->fd);
    bool writes = op->kind == DISK_WRITE;
    int r = fault_gate_file(sim, file, writes ? FAULT_CHANGE : FAULT_PLAIN);
    if (writes) {
        struct sim_write write = {file, op->buffer, op->bytes, op->offset, true};
        return (int32_t)(r != 0 ? write_refused(sim, &write, r) : write_now(sim, &write));
    }
    int64_t n = r != 0 ? r : read_now(sim, file, op->buffer, op->bytes, op->offset);
    bool cut = n > sim->read_unit && fault_chance(sim, sim->faults.read_short);
    return (int32_t)(cut ? (int64_t)round_down((uint64_t)n - 1, sim->read_unit) : n);
}

/* One of those that are due, any of them. Returns: SIM_OUT: none is. */
static uint32_t pick_due(struct sim_disk *sim) {
    uint32_t due = 0;
    uint64_t now_ns = sim->clock ? *sim->clock : 0;
    for (uint32_t i = 0; i < sim->out_count; i++) {
        due += sim->out[i].due_ns <= now_ns;
    }
    if (due == 0) {
        return SIM_OUT;
    }
    uint32_t n = sim_pick(&sim->random, due);
    for (uint32_t i = 0; i < sim->out_count; i++) {
        if (sim->out[i].due_ns <= now_ns && n-- == 0) {
            return i;
        }
    }
    never("one was due");
}

bool sim_disk_step(struct sim_disk *sim) {
    uint32_t i = pick_due(sim);
    if (i == SIM_OUT) {
        return false;
    }
    struct disk_op *op = sim->out[i].op;
    op->result = perform(sim, op);
    sim->out[i] = sim->out[--sim->out_count];
    op->done(op);
    return true;
}

static const struct disk_calls sim_calls = {
    .submit = sim_submit,
    .open_file = sim_open_file,
    .close_file = sim_close_file,
    .allocate = sim_allocate,
    .truncate = sim_truncate,
    .pread = sim_pread,
    .pwrite = sim_pwrite,
    .sync_file = sim_sync_file,
    .sync_dir = sim_sync_dir,
    .make_dir = sim_make_dir,
    .rename_file = sim_rename_file,
    .unlink_file = sim_unlink_file,
    .file_bytes = sim_file_bytes,
    .read_unit = sim_read_unit,
    .list_dir = sim_list_dir,
    .free_bytes = sim_free_bytes,
    .lock_file = sim_lock_file,
    .entropy = sim_entropy,
};

struct sim_disk *sim_disk_open(uint64_t seed, struct disk *ret_disk) {
    struct sim_disk *sim = calloc(1, sizeof *sim);
    must(sim != NULL);
    sim->random = seed;
    sim->read_unit = SIM_SECTOR;
    *ret_disk = (struct disk){&sim_calls, sim};
    return sim;
}

void sim_disk_close(struct sim_disk *sim) {
    platter_close(&sim->platter);
    free(sim);
}

bool sim_disk_dead(const struct sim_disk *sim) {
    return sim->dead;
}

uint64_t sim_disk_calls(const struct sim_disk *sim) {
    return sim->calls;
}
