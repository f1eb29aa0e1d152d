/* SPDX-License-Identifier: MIT */
#pragma once

/* disk — the one seam between the store and any kernel: three backends stand behind it.
 *
 *   engine/io.c        io_uring: submit prepares an SQE of the core's ring (keeper's disk)
 *   store/disk_sync.c  plain system calls, done at once (tools, tests, housekeeping thread)
 *   tests/sim          a simulated disk with faults and a virtual clock
 *
 * Two kinds of work. On tiles: reads and writes, submitted and completed later (struct disk_op).
 * Off tiles (boot, helper thread, tools): files are made, sized, synced, listed and removed with
 * the blocking calls. Every call names its result as 0, a count, or -errno. */

#include "base/base.h"

enum disk_kind { DISK_READ, DISK_WRITE, DISK_SYNC };

struct disk_op {
    struct disk_op *next; /* the backend's while the op is out */
    void *buffer;         /* aligned to PAGE_BYTES: files are O_DIRECT */
    uint64_t offset;      /* multiple of PAGE_BYTES; of a read, of the file's read_unit */
    uint32_t bytes;       /* the same */
    int fd;
    int32_t result; /* bytes done, or -errno; set before `done` is called */
    uint8_t kind;   /* enum disk_kind */
    bool dsync;     /* DISK_WRITE: RWF_DSYNC, complete only when durable */
    void (*done)(
        struct disk_op *op); /* called on the submitting thread, never from within submit */
    void *owner;
};

#define DISK_FREE_UNKNOWN (INT64_C(1) << 50)

struct disk_calls {
    /* submit never fails and never blocks: a refusal arrives as op->result. Thread: keeper's tile.
     */
    void (*submit)(void *backend, struct disk_op *op);
    /* Blocking, off tiles. */
    int (*open_file)(void *backend, const char *path, int flags, int mode); /* fd or -errno */
    int (*close_file)(void *backend, int fd);
    int (*allocate)(void *backend, int fd, uint64_t bytes); /* reserve and set the size */
    int (*truncate)(void *backend, int fd, uint64_t bytes);
    int64_t (*pread)(void *backend, int fd, void *buffer, size_t bytes, uint64_t offset);
    int64_t (*pwrite)(void *backend, int fd, const void *buffer, size_t bytes, uint64_t offset);
    int (*sync_file)(void *backend, int fd);
    int (*sync_dir)(void *backend, const char *path);
    int (*make_dir)(void *backend, const char *path, int mode);
    int (*rename_file)(void *backend, const char *from, const char *to);
    int (*unlink_file)(void *backend, const char *path);
    int64_t (*file_bytes)(void *backend, int fd);
    /* What offset and length of a read of this file must be multiples of, into a buffer aligned to
     * PAGE_BYTES; 0: not known. NULL: of no file. */
    uint32_t (*read_unit)(void *backend, int fd);
    /* Calls each(context, name) for every entry but . and .. ; stops when it returns non-zero. */
    int (*list_dir)(void *backend, const char *path, int (*each)(void *context, const char *name),
                    void *context);
    /* Of the file system; one that does not say has DISK_FREE_UNKNOWN: what is too much fails. */
    int64_t (*free_bytes)(void *backend, const char *path);
    /* Takes the advisory lock of a file it makes where missing (not when shared), and writes the
     * pid into it. Returns: an fd that holds the lock, -EAGAIN with the holder's pid in *ret_pid
     * (0: unknown), -errno. NULL: the plain backend's. */
    int (*lock_file)(void *backend, const char *path, bool shared, uint32_t *ret_pid);
    /* Random bytes for a new store's names and keys. NULL: the plain backend's. */
    int (*entropy)(void *backend, void *bytes, size_t count);
};

struct disk {
    const struct disk_calls *calls;
    void *backend;
};

/* The plain backend. Its submit queues; disk_sync_poll performs what is queued and calls `done`.
 * Lives: until disk_sync_close. */
struct disk_sync;
must_check int disk_sync_open(struct disk_sync **ret_sync, struct disk *ret_disk);
uint32_t disk_sync_poll(struct disk_sync *sync);
void disk_sync_close(struct disk_sync *sync);

/* The blocking half of the plain backend, for backends that only replace submit (engine/io.c). */
extern const struct disk_calls disk_sync_calls;
