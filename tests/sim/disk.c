/* SPDX-License-Identifier: MIT */
#include "tests/sim/disk.h"

#include "base/bits.h"
#include "base/must.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILES     192u
#define FILE_MAX  (4u * 1024 * 1024 + 64 * 1024)
#define PAGES     (FILE_MAX / PAGE_BYTES)
#define FD_BASE   1000
#define SECTOR    512u
#define BAD_PAGES 16u

struct file {
    char now[192];  /* its name; "" = none */
    char disk[192]; /* its name once power has gone */
    uint8_t *now_bytes, *disk_bytes;
    uint64_t now_size, disk_size;
    uint64_t high; /* both images are zero from here on */
    bool dirty[PAGES];
    uint32_t open;
    bool used, directory;
};

struct sim_disk {
    uint64_t random;
    struct file files[FILES];
    struct disk_op *out[256];
    uint32_t out_count;
    struct sim_faults faults;
    uint64_t calls, crash_at;
    bool dead;
    struct {
        uint32_t file;
        uint64_t offset;
    } bad[BAD_PAGES];
    uint32_t bad_count;
};

uint64_t sim_random(uint64_t *state) {
    uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static uint32_t pick(struct sim_disk *sim, uint32_t below) {
    return (uint32_t)(sim_random(&sim->random) % below);
}
static bool chance(struct sim_disk *sim, uint32_t of_65536) {
    return of_65536 > 0 && pick(sim, 65536) < of_65536;
}

static struct file *file_of(struct sim_disk *sim, int fd) {
    must(fd >= FD_BASE && fd < FD_BASE + (int)FILES);
    return &sim->files[fd - FD_BASE];
}

static struct file *find_file(struct sim_disk *sim, const char *path) {
    for (uint32_t i = 0; i < FILES; i++) {
        if (sim->files[i].used && strcmp(sim->files[i].now, path) == 0) {
            return &sim->files[i];
        }
    }
    return NULL;
}

static struct file *new_file(struct sim_disk *sim, const char *path) {
    for (uint32_t i = 0; i < FILES; i++) {
        struct file *file = &sim->files[i];
        bool unused = !file->used || (file->now[0] == 0 && file->disk[0] == 0 && file->open == 0);
        if (!unused) {
            continue;
        }
        uint8_t *now = file->now_bytes, *disk = file->disk_bytes;
        if (now) {
            memset(now, 0, file->high);
            memset(disk, 0, file->high);
        } else {
            now = calloc(1, FILE_MAX);
            disk = calloc(1, FILE_MAX);
            must(now && disk);
        }
        *file = (struct file){.now_bytes = now, .disk_bytes = disk, .used = true};
        snprintf(file->now, sizeof file->now, "%s", path);
        return file;
    }
    never("the simulated disk has no room for another file");
}

/* --- power ------------------------------------------------------------------------------------ */

/* One page on its way to the platter when power went. */
static void settle_page(struct sim_disk *sim, uint8_t *disk, const uint8_t *now) {
    switch (pick(sim, 4)) {
    case 0:
        return;
    case 1:
        memcpy(disk, now, PAGE_BYTES);
        return;
    case 2: { /* torn: a prefix got there */
        uint32_t sectors = pick(sim, PAGE_BYTES / SECTOR + 1);
        memcpy(disk, now, (size_t)sectors * SECTOR);
        return;
    }
    default:
        for (uint32_t i = 0; i < PAGE_BYTES / SECTOR; i++) {
            if (pick(sim, 2)) {
                memcpy(disk + i * SECTOR, now + i * SECTOR, SECTOR);
            }
        }
    }
}

static void settle_file(struct sim_disk *sim, struct file *file) {
    /* Often a whole file's worth of pages shares one fate, as write-back does. */
    uint32_t mode = pick(sim, 3);
    for (uint32_t page = 0; page < PAGES; page++) {
        if (file->dirty[page] && mode > 0) {
            uint8_t *disk = file->disk_bytes + (size_t)page * PAGE_BYTES;
            const uint8_t *now = file->now_bytes + (size_t)page * PAGE_BYTES;
            if (mode == 1) {
                memcpy(disk, now, PAGE_BYTES);
            } else {
                settle_page(sim, disk, now);
            }
        }
    }
    if (pick(sim, 2)) {
        file->disk_size = file->now_size;
    }
    if (strcmp(file->now, file->disk) != 0 && pick(sim, 2)) {
        memcpy(file->disk, file->now, sizeof file->disk);
    }
}

static void settle_op(struct sim_disk *sim, const struct disk_op *op) {
    struct file *file = file_of(sim, op->fd);
    if (op->kind != DISK_WRITE || op->offset + op->bytes > FILE_MAX) {
        return;
    }
    file->high = max_u64(file->high, op->offset + op->bytes);
    for (uint32_t at = 0; at < op->bytes; at += PAGE_BYTES) {
        settle_page(sim, file->disk_bytes + op->offset + at, (const uint8_t *)op->buffer + at);
        file->dirty[(op->offset + at) / PAGE_BYTES] = true; /* the images differ here */
    }
}

void sim_disk_crash(struct sim_disk *sim) {
    must(!sim->dead);
    for (uint32_t i = 0; i < sim->out_count; i++) {
        settle_op(sim, sim->out[i]);
    }
    for (uint32_t i = 0; i < FILES; i++) {
        if (sim->files[i].used && !sim->files[i].directory) {
            settle_file(sim, &sim->files[i]);
        } else if (sim->files[i].used && pick(sim, 2)) {
            memcpy(sim->files[i].disk, sim->files[i].now, sizeof sim->files[i].disk);
        }
    }
    sim->dead = true;
}

void sim_disk_restart(struct sim_disk *sim) {
    must(sim->out_count == 0);
    for (uint32_t i = 0; i < FILES; i++) {
        struct file *file = &sim->files[i];
        if (!file->used) {
            continue;
        }
        memcpy(file->now, file->disk, sizeof file->now);
        for (uint32_t page = 0; page < PAGES; page++) {
            if (file->dirty[page]) {
                size_t at = (size_t)page * PAGE_BYTES;
                memcpy(file->now_bytes + at, file->disk_bytes + at, PAGE_BYTES);
            }
        }
        if (file->disk_size < file->high) {
            memset(file->disk_bytes + file->disk_size, 0, file->high - file->disk_size);
            memset(file->now_bytes + file->disk_size, 0, file->high - file->disk_size);
        }
        file->high = round_up(file->disk_size, PAGE_BYTES);
        file->now_size = file->disk_size;
        memset(file->dirty, 0, sizeof file->dirty);
        file->open = 0;
    }
    sim->dead = false;
    sim->crash_at = 0;
}

/* Counts a call. Returns: true: power is gone. */
static bool tick(struct sim_disk *sim) {
    sim->calls++;
    if (!sim->dead && sim->crash_at != 0 && sim->calls >= sim->crash_at) {
        sim_disk_crash(sim);
    }
    return sim->dead;
}

/* --- blocking calls --------------------------------------------------------------------------- */

static int sim_open_file(void *backend, const char *path, int flags, int mode) {
    struct sim_disk *sim = backend;
    (void)mode;
    if (tick(sim) || chance(sim, sim->faults.open_eio)) {
        return -EIO;
    }
    struct file *file = find_file(sim, path);
    if (file && (flags & O_EXCL)) {
        return -EEXIST;
    }
    if (!file && !(flags & O_CREAT)) {
        return -ENOENT;
    }
    file = file ? file : new_file(sim, path);
    if (flags & O_TRUNC) {
        memset(file->now_bytes, 0, file->high);
        memset(file->dirty, 1, sizeof file->dirty);
        file->now_size = 0;
    }
    file->open++;
    return FD_BASE + (int)(file - sim->files);
}

static int sim_close_file(void *backend, int fd) {
    struct file *file = file_of(backend, fd);
    if (file->open > 0) {
        file->open--;
    }
    return 0;
}

static uint64_t space_used(const struct sim_disk *sim) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < FILES; i++) {
        bytes += sim->files[i].used && sim->files[i].now[0] ? sim->files[i].now_size : 0;
    }
    return bytes;
}

static int sim_allocate(void *backend, int fd, uint64_t bytes) {
    struct sim_disk *sim = backend;
    struct file *file = file_of(sim, fd);
    if (tick(sim)) {
        return -EIO;
    }
    must(bytes <= FILE_MAX);
    uint64_t used = space_used(sim) - file->now_size;
    if (sim->faults.space != 0 && used + bytes > sim->faults.space) {
        file->now_size = sim->faults.space > used ? sim->faults.space - used : 0;
        return -ENOSPC;
    }
    file->now_size = bytes;
    return 0;
}

static int sim_truncate(void *backend, int fd, uint64_t bytes) {
    struct sim_disk *sim = backend;
    struct file *file = file_of(sim, fd);
    if (tick(sim)) {
        return -EIO;
    }
    must(bytes <= FILE_MAX);
    if (bytes < file->high) {
        memset(file->now_bytes + bytes, 0, file->high - bytes);
    }
    for (uint64_t page = bytes / PAGE_BYTES; page < (file->high + PAGE_BYTES - 1) / PAGE_BYTES;
         page++) {
        file->dirty[page] = true;
    }
    file->now_size = bytes;
    return 0;
}

static bool is_bad(const struct sim_disk *sim, const struct file *file, uint64_t offset,
                   uint64_t bytes) {
    for (uint32_t i = 0; i < sim->bad_count; i++) {
        if (&sim->files[sim->bad[i].file] == file && sim->bad[i].offset >= offset &&
            sim->bad[i].offset < offset + bytes) {
            return true;
        }
    }
    return false;
}

static int64_t read_now(struct sim_disk *sim, const struct file *file, void *buffer, size_t bytes,
                        uint64_t offset) {
    if (chance(sim, sim->faults.read_eio) || is_bad(sim, file, offset, bytes)) {
        return -EIO;
    }
    if (offset >= file->now_size) {
        return 0;
    }
    size_t n = (size_t)min_u64(bytes, file->now_size - offset);
    memcpy(buffer, file->now_bytes + offset, n);
    if (n > 0 && chance(sim, sim->faults.read_flip)) {
        ((uint8_t *)buffer)[pick(sim, (uint32_t)n)] ^= (uint8_t)BIT(pick(sim, 8));
    }
    return (int64_t)n;
}

static int64_t sim_pread(void *backend, int fd, void *buffer, size_t bytes, uint64_t offset) {
    struct sim_disk *sim = backend;
    return tick(sim) ? -EIO : read_now(sim, file_of(sim, fd), buffer, bytes, offset);
}

static void write_now(struct file *file, const void *buffer, size_t bytes, uint64_t offset,
                      bool durable) {
    must(offset + bytes <= FILE_MAX && offset % PAGE_BYTES == 0 && bytes % PAGE_BYTES == 0);
    file->high = max_u64(file->high, offset + bytes);
    memcpy(file->now_bytes + offset, buffer, bytes);
    if (offset + bytes > file->now_size) {
        file->now_size = offset + bytes;
    }
    for (uint64_t page = offset / PAGE_BYTES; page < (offset + bytes) / PAGE_BYTES; page++) {
        file->dirty[page] = !durable;
    }
    if (durable) {
        memcpy(file->disk_bytes + offset, buffer, bytes);
        file->disk_size = file->disk_size > file->now_size ? file->disk_size : file->now_size;
    }
}

/* A write that failed got somewhere, and nobody knows where. */
static void write_somewhat(struct sim_disk *sim, struct file *file, const void *buffer,
                           size_t bytes, uint64_t offset) {
    file->high = max_u64(file->high, offset + bytes);
    for (size_t at = 0; at < bytes; at += PAGE_BYTES) {
        settle_page(sim, file->now_bytes + offset + at, (const uint8_t *)buffer + at);
        file->dirty[(offset + at) / PAGE_BYTES] = true;
    }
}

static int64_t sim_pwrite(void *backend, int fd, const void *buffer, size_t bytes,
                          uint64_t offset) {
    struct sim_disk *sim = backend;
    struct file *file = file_of(sim, fd);
    if (tick(sim)) {
        return -EIO;
    }
    if (chance(sim, sim->faults.write_eio)) {
        write_somewhat(sim, file, buffer, bytes, offset);
        return -EIO;
    }
    write_now(file, buffer, bytes, offset, false);
    return (int64_t)bytes;
}

static int sim_sync_file(void *backend, int fd) {
    struct sim_disk *sim = backend;
    struct file *file = file_of(sim, fd);
    if (tick(sim)) {
        return -EIO;
    }
    if (chance(sim, sim->faults.sync_eio)) {
        /* As Linux does: the pages count as clean from here on, and were not written. */
        for (uint32_t page = 0; page < PAGES; page++) {
            file->dirty[page] = file->dirty[page] && pick(sim, 2);
        }
        return -EIO;
    }
    for (uint32_t page = 0; page < PAGES; page++) {
        if (file->dirty[page]) {
            size_t at = (size_t)page * PAGE_BYTES;
            memcpy(file->disk_bytes + at, file->now_bytes + at, PAGE_BYTES);
            file->dirty[page] = false;
        }
    }
    file->disk_size = file->now_size;
    return 0;
}

static bool lies_in(const char *path, const char *dir) {
    size_t n = strlen(dir);
    return strncmp(path, dir, n) == 0 && path[n] == '/' && strchr(path + n + 1, '/') == NULL;
}

static int sim_sync_dir(void *backend, const char *path) {
    struct sim_disk *sim = backend;
    if (tick(sim) || chance(sim, sim->faults.sync_eio)) {
        return -EIO;
    }
    for (uint32_t i = 0; i < FILES; i++) {
        struct file *file = &sim->files[i];
        if (file->used && (lies_in(file->now, path) || lies_in(file->disk, path))) {
            memcpy(file->disk, file->now, sizeof file->disk);
        }
    }
    return 0;
}

static int sim_make_dir(void *backend, const char *path, int mode) {
    struct sim_disk *sim = backend;
    (void)mode;
    if (tick(sim)) {
        return -EIO;
    }
    if (find_file(sim, path)) {
        return -EEXIST;
    }
    new_file(sim, path)->directory = true;
    return 0;
}

static int sim_rename_file(void *backend, const char *from, const char *to) {
    struct sim_disk *sim = backend;
    if (tick(sim)) {
        return -EIO;
    }
    struct file *file = find_file(sim, from);
    struct file *old = find_file(sim, to);
    if (!file) {
        return -ENOENT;
    }
    if (old) {
        old->now[0] = 0;
    }
    snprintf(file->now, sizeof file->now, "%s", to);
    return 0;
}

static int sim_unlink_file(void *backend, const char *path) {
    struct sim_disk *sim = backend;
    if (tick(sim)) {
        return -EIO;
    }
    struct file *file = find_file(sim, path);
    if (!file) {
        return -ENOENT;
    }
    memset(file->now, 0, sizeof file->now);
    return 0;
}

static int64_t sim_file_bytes(void *backend, int fd) {
    struct sim_disk *sim = backend;
    return tick(sim) ? -EIO : (int64_t)file_of(sim, fd)->now_size;
}

static int sim_list_dir(void *backend, const char *path,
                        int (*each)(void *context, const char *name), void *context) {
    struct sim_disk *sim = backend;
    if (tick(sim)) {
        return -EIO;
    }
    struct file *dir = find_file(sim, path);
    if (!dir || !dir->directory) {
        return -ENOENT;
    }
    int r = 0;
    for (uint32_t i = 0; i < FILES && r == 0; i++) {
        if (sim->files[i].used && lies_in(sim->files[i].now, path)) {
            r = each(context, sim->files[i].now + strlen(path) + 1);
        }
    }
    return r;
}

static int64_t sim_free_bytes(void *backend, const char *path) {
    struct sim_disk *sim = backend;
    (void)path;
    uint64_t used = space_used(sim);
    bool limited = sim->faults.space != 0 && !sim->faults.space_hidden;
    uint64_t space = limited ? sim->faults.space : 4 * GiB;
    return space > used ? (int64_t)(space - used) : 0;
}

static int sim_lock_file(void *backend, const char *path, bool shared, uint32_t *ret_pid) {
    (void)shared;
    (void)ret_pid;
    return sim_open_file(backend, path, O_CREAT, 0);
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
    must(sim->out_count < array_count(sim->out));
    must((uintptr_t)op->buffer % PAGE_BYTES == 0 && op->bytes % PAGE_BYTES == 0);
    must(op->kind != DISK_WRITE || op->dsync);
    sim->out[sim->out_count++] = op;
}

static int32_t perform(struct sim_disk *sim, const struct disk_op *op) {
    struct file *file = file_of(sim, op->fd);
    if (op->kind == DISK_READ) {
        return (int32_t)read_now(sim, file, op->buffer, op->bytes, op->offset);
    }
    if (chance(sim, sim->faults.write_eio)) {
        write_somewhat(sim, file, op->buffer, op->bytes, op->offset);
        return -EIO;
    }
    if (op->bytes > PAGE_BYTES && chance(sim, sim->faults.write_short)) {
        uint32_t bytes = (1 + pick(sim, op->bytes / PAGE_BYTES - 1)) * PAGE_BYTES;
        write_now(file, op->buffer, bytes, op->offset, true);
        return (int32_t)bytes;
    }
    write_now(file, op->buffer, op->bytes, op->offset, true);
    return (int32_t)op->bytes;
}

bool sim_disk_step(struct sim_disk *sim) {
    if (sim->out_count == 0) {
        return false;
    }
    bool dead = tick(sim);
    uint32_t i = pick(sim, sim->out_count);
    struct disk_op *op = sim->out[i];
    sim->out[i] = sim->out[--sim->out_count];
    op->result = dead ? -EIO : perform(sim, op);
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
    .list_dir = sim_list_dir,
    .free_bytes = sim_free_bytes,
    .lock_file = sim_lock_file,
    .entropy = sim_entropy,
};

/* --- for tests -------------------------------------------------------------------------------- */

struct sim_disk *sim_disk_open(uint64_t seed, struct disk *ret_disk) {
    struct sim_disk *sim = calloc(1, sizeof *sim);
    must(sim != NULL);
    sim->random = seed;
    *ret_disk = (struct disk){&sim_calls, sim};
    return sim;
}

void sim_disk_close(struct sim_disk *sim) {
    for (uint32_t i = 0; i < FILES; i++) {
        free(sim->files[i].now_bytes);
        free(sim->files[i].disk_bytes);
    }
    free(sim);
}

void sim_disk_faults(struct sim_disk *sim, const struct sim_faults *faults) {
    sim->faults = *faults;
}

void sim_disk_crash_after(struct sim_disk *sim, uint64_t calls) {
    sim->crash_at = calls ? sim->calls + calls : 0;
}

bool sim_disk_dead(const struct sim_disk *sim) {
    return sim->dead;
}

uint64_t sim_disk_calls(const struct sim_disk *sim) {
    return sim->calls;
}

const uint8_t *sim_disk_bytes(struct sim_disk *sim, const char *name, uint64_t *ret_bytes) {
    struct file *file = find_file(sim, name);
    if (!file) {
        return NULL;
    }
    *ret_bytes = file->disk_size;
    return file->disk_bytes;
}

void sim_disk_spoil(struct sim_disk *sim, const char *name, uint64_t offset, const void *with,
                    size_t bytes) {
    struct file *file = find_file(sim, name);
    must(file != NULL && offset + bytes <= file->disk_size);
    memcpy(file->disk_bytes + offset, with, bytes);
    memcpy(file->now_bytes + offset, with, bytes);
}

void sim_disk_set_size(struct sim_disk *sim, const char *name, uint64_t bytes) {
    struct file *file = find_file(sim, name);
    must(file != NULL);
    file->disk_size = bytes;
    file->now_size = bytes;
}

void sim_disk_remove(struct sim_disk *sim, const char *name) {
    struct file *file = find_file(sim, name);
    must(file != NULL);
    memset(file->now, 0, sizeof file->now);
    memset(file->disk, 0, sizeof file->disk);
}

const char *sim_disk_name(struct sim_disk *sim, uint32_t n) {
    for (uint32_t i = 0; i < FILES; i++) {
        struct file *file = &sim->files[i];
        if (file->used && !file->directory && file->now[0] && n-- == 0) {
            return file->now;
        }
    }
    return NULL;
}

void sim_disk_copy(struct sim_disk *to, const struct sim_disk *from) {
    for (uint32_t i = 0; i < FILES; i++) {
        struct file *file = &to->files[i];
        const struct file *source = &from->files[i];
        uint8_t *now = file->now_bytes, *disk = file->disk_bytes;
        uint64_t high = file->high;
        if (source->used && !now) {
            now = calloc(1, FILE_MAX);
            disk = calloc(1, FILE_MAX);
            must(now && disk);
            high = 0;
        }
        *file = *source;
        file->now_bytes = now;
        file->disk_bytes = disk;
        if (source->used) {
            memcpy(now, source->now_bytes, source->high);
            memcpy(disk, source->disk_bytes, source->high);
            if (high > source->high) {
                memset(now + source->high, 0, high - source->high);
                memset(disk + source->high, 0, high - source->high);
            }
        }
    }
    to->out_count = 0;
    to->dead = from->dead;
    to->bad_count = 0;
}

void sim_disk_bad_page(struct sim_disk *sim, const char *name, uint64_t offset) {
    struct file *file = find_file(sim, name);
    must(file != NULL && sim->bad_count < BAD_PAGES);
    sim->bad[sim->bad_count].file = (uint32_t)(file - sim->files);
    sim->bad[sim->bad_count++].offset = round_down(offset, PAGE_BYTES);
}

void sim_disk_heal(struct sim_disk *sim) {
    sim->bad_count = 0;
}
