/* SPDX-License-Identifier: MIT */
#include "store/disk.h"

#include "base/err.h"
#include "base/must.h"
#include "store/vm.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h> /* rename */
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

/* Plain system calls. Transfers go on after a short count or EINTR, as pread and pwrite of a
 * regular file may be cut at a signal; what the caller sees is short only at the end of a file or
 * of a disk. */

struct disk_sync {
    struct disk_op *head;
    struct disk_op *tail;
};

static int64_t sync_pread(void *backend, int fd, void *buffer, size_t bytes, uint64_t offset) {
    (void)backend;
    size_t done = 0;
    while (done < bytes) {
        ssize_t n = pread(fd, (uint8_t *)buffer + done, bytes - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return done > 0 ? (int64_t)done : err_raise(-errno);
        }
        if (n == 0) {
            break;
        }
        done += (size_t)n;
        if (done % PAGE_BYTES != 0) {
            break; /* the end of the file: an O_DIRECT read cannot go on from here */
        }
    }
    return (int64_t)done;
}

static int64_t write_with(int fd, const void *buffer, size_t bytes, uint64_t offset, int flags) {
    size_t done = 0;
    while (done < bytes) {
        struct iovec part = {(void *)((uintptr_t)buffer + done), bytes - done};
        ssize_t n = pwritev2(fd, &part, 1, (off_t)(offset + done), flags);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return done > 0 ? (int64_t)done : err_raise(-errno);
        }
        done += (size_t)n;
        if (n == 0) {
            break;
        }
    }
    return (int64_t)done;
}

static int64_t sync_pwrite(void *backend, int fd, const void *buffer, size_t bytes,
                           uint64_t offset) {
    (void)backend;
    return write_with(fd, buffer, bytes, offset, 0);
}

/* Opening a pipe waits for whoever writes to it, and a device has no end: neither is a file of
 * ours, whoever put it there under that name. Directories are left to the calls that follow. */
static int keep_file(int fd) {
    struct stat about;
    if (fstat(fd, &about) != 0) {
        return -errno;
    }
    if (!S_ISREG(about.st_mode) && !S_ISDIR(about.st_mode)) {
        return -EOPNOTSUPP;
    }
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) == 0 ? 0 : -errno;
}

static int sync_open_file(void *backend, const char *path, int flags, int mode) {
    (void)backend;
    flags |= O_CLOEXEC | O_NONBLOCK;
    int fd = open(path, flags, mode);
    if (fd < 0 && errno == EINVAL && (flags & O_DIRECT)) {
        /* A file system without O_DIRECT: slower, and just as durable by RWF_DSYNC. */
        fd = open(path, flags & ~O_DIRECT, mode);
    }
    if (fd < 0) {
        return err_raise(-errno);
    }
    int r = keep_file(fd);
    if (r != 0) {
        close(fd);
        return err_raise(r);
    }
    return fd;
}

static int sync_close_file(void *backend, int fd) {
    (void)backend;
    return close(fd) == 0 ? 0 : err_raise(-errno);
}

static int sync_allocate(void *backend, int fd, uint64_t bytes) {
    (void)backend;
    int r = fallocate(fd, 0, 0, (off_t)bytes) == 0 ? 0 : -errno;
    if (r == -EOPNOTSUPP) {
        r = ftruncate(fd, (off_t)bytes) == 0 ? 0 : -errno;
    }
    return err_raise(r);
}

static int sync_truncate(void *backend, int fd, uint64_t bytes) {
    (void)backend;
    return ftruncate(fd, (off_t)bytes) == 0 ? 0 : err_raise(-errno);
}

static int sync_sync_file(void *backend, int fd) {
    (void)backend;
    return fsync(fd) == 0 ? 0 : err_raise(-errno);
}

static int sync_sync_dir(void *backend, const char *path) {
    (void)backend;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return err_raise(-errno);
    }
    int r = fsync(fd) == 0 ? 0 : -errno;
    close(fd);
    return err_raise(r);
}

static int sync_make_dir(void *backend, const char *path, int mode) {
    (void)backend;
    return mkdir(path, (mode_t)mode) == 0 ? 0 : -errno; /* EEXIST is the caller's to judge */
}

static int sync_rename_file(void *backend, const char *from, const char *to) {
    (void)backend;
    return rename(from, to) == 0 ? 0 : err_raise(-errno);
}

static int sync_unlink_file(void *backend, const char *path) {
    (void)backend;
    return unlink(path) == 0 ? 0 : err_raise(-errno);
}

static int64_t sync_file_bytes(void *backend, int fd) {
    (void)backend;
    struct stat status;
    return fstat(fd, &status) == 0 ? (int64_t)status.st_size : err_raise(-errno);
}

static uint32_t sync_read_unit(void *backend, int fd) {
    (void)backend;
    struct statx about;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &about) != 0 ||
        !(about.stx_mask & STATX_DIOALIGN) || about.stx_dio_mem_align > PAGE_BYTES) {
        return 0;
    }
    return about.stx_dio_offset_align;
}

static int sync_list_dir(void *backend, const char *path,
                         int (*each)(void *context, const char *name), void *context) {
    (void)backend;
    DIR *dir = opendir(path);
    if (!dir) {
        return -errno; /* a missing directory is the caller's to judge */
    }
    int r = 0;
    errno = 0;
    for (struct dirent *entry = readdir(dir); entry && r == 0; entry = readdir(dir)) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            r = each(context, entry->d_name);
        }
        errno = 0;
    }
    if (r == 0 && errno != 0) {
        r = err_raise(-errno);
    }
    closedir(dir);
    return r;
}

static int64_t sync_free_bytes(void *backend, const char *path) {
    (void)backend;
    struct statvfs status;
    if (statvfs(path, &status) != 0) {
        return err_raise(-errno);
    }
    if (status.f_blocks == 0) { /* some file systems of users' own programs do not say */
        return DISK_FREE_UNKNOWN;
    }
    return (int64_t)((uint64_t)status.f_bavail * status.f_frsize);
}

/* The holder's pid stands in the file in digits; a stale number of a dead holder is harmless, as
 * the lock itself dies with its holder. */
static uint32_t lock_holder(int fd) {
    char text[16] = {0};
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    uint32_t pid = 0;
    for (ssize_t i = 0; i < n && text[i] >= '0' && text[i] <= '9'; i++) {
        pid = pid * 10 + (uint32_t)(text[i] - '0');
    }
    return pid;
}

static int lock_write_pid(int fd) {
    char text[16];
    size_t at = sizeof text;
    text[--at] = '\n';
    for (uint32_t pid = (uint32_t)getpid(); pid > 0; pid /= 10) {
        text[--at] = (char)('0' + pid % 10);
    }
    if (ftruncate(fd, 0) != 0 ||
        pwrite(fd, text + at, sizeof text - at, 0) != (ssize_t)(sizeof text - at)) {
        return err_raise(errno ? -errno : -EIO);
    }
    return 0;
}

static int sync_lock_file(void *backend, const char *path, bool shared, uint32_t *ret_pid) {
    (void)backend;
    int fd = open(path, shared ? O_RDONLY | O_CLOEXEC : O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0) {
        return err_raise(-errno);
    }
    struct flock lock = {.l_type = shared ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_OFD_SETLK, &lock) != 0) {
        int r = errno == EACCES ? -EAGAIN : -errno;
        *ret_pid = lock_holder(fd);
        close(fd);
        return r;
    }
    int r = shared ? 0 : lock_write_pid(fd);
    if (r != 0 && r != -ENOSPC && r != -EDQUOT) { /* on a full disk it holds without a pid */
        close(fd);
        return r;
    }
    return fd;
}

static int sync_entropy(void *backend, void *bytes, size_t count) {
    (void)backend;
    return getentropy(bytes, count) == 0 ? 0 : err_raise(-errno);
}

static void sync_submit(void *backend, struct disk_op *op) {
    struct disk_sync *sync = backend;
    must(op->done != NULL);
    op->next = NULL;
    if (sync->tail) {
        sync->tail->next = op;
    } else {
        sync->head = op;
    }
    sync->tail = op;
}

static int32_t perform(const struct disk_op *op) {
    switch ((enum disk_kind)op->kind) {
    case DISK_READ:
        return (int32_t)sync_pread(NULL, op->fd, op->buffer, op->bytes, op->offset);
    case DISK_WRITE:
        return (int32_t)write_with(op->fd, op->buffer, op->bytes, op->offset,
                                   op->dsync ? RWF_DSYNC : 0);
    case DISK_SYNC:
        return fdatasync(op->fd) == 0 ? 0 : err_raise(-errno);
    }
    never("a disk op of no kind");
}

uint32_t disk_sync_poll(struct disk_sync *sync) {
    struct disk_op *op = sync->head;
    uint32_t count = 0;
    sync->head = NULL; /* what `done` submits waits for the next call */
    sync->tail = NULL;
    while (op) {
        struct disk_op *next = op->next;
        op->result = perform(op);
        op->done(op);
        op = next;
        count++;
    }
    return count;
}

int disk_sync_open(struct disk_sync **ret_sync, struct disk *ret_disk) {
    struct disk_sync *sync = vm_map(sizeof *sync);
    if (!sync) {
        return err_raise(-ENOMEM);
    }
    *ret_sync = sync;
    *ret_disk = (struct disk){&disk_sync_calls, sync};
    return 0;
}

void disk_sync_close(struct disk_sync *sync) {
    if (sync) {
        vm_unmap(sync, sizeof *sync);
    }
}

const struct disk_calls disk_sync_calls = {
    .submit = sync_submit,
    .open_file = sync_open_file,
    .close_file = sync_close_file,
    .allocate = sync_allocate,
    .truncate = sync_truncate,
    .pread = sync_pread,
    .pwrite = sync_pwrite,
    .sync_file = sync_sync_file,
    .sync_dir = sync_sync_dir,
    .make_dir = sync_make_dir,
    .rename_file = sync_rename_file,
    .unlink_file = sync_unlink_file,
    .file_bytes = sync_file_bytes,
    .read_unit = sync_read_unit,
    .list_dir = sync_list_dir,
    .free_bytes = sync_free_bytes,
    .lock_file = sync_lock_file,
    .entropy = sync_entropy,
};
