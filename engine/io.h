/* SPDX-License-Identifier: MIT */
#pragma once

/* io — the one user of io_uring: operations go in, events come out.
 *
 *   prepare (accept, connect, receive, send, cancel, bell, disk) ... -> io_enter (one system call)
 * -> io_reap
 *
 * Completions are copied out as struct io_event before anything acts on them, so handlers never
 * recurse. An event carries {op, slot, generation} as its submitter gave them; the encoding lives
 * in io.c alone. A full submission queue is flushed at once and counted.
 *
 * Receive buffers lie in groups, one per class and one for handshakes: a multishot receive takes
 * buffers from its group until the group is empty, which is how a class is held back without a
 * system call: its buffers are simply not returned.
 *
 * Thread: the ring is made disabled by the main thread (so that bells know its descriptor) and from
 * io_start on belongs to one thread (SINGLE_ISSUER, DEFER_TASKRUN: completions appear only when
 * that thread enters the kernel). Errors: 0 or -errno. Source: io_uring_setup(2),
 * io_uring_enter(2). */

#include "base/base.h"
#include "store/disk.h"

#include <liburing.h>
#include <sys/socket.h>

#define IO_GROUPS       5 /* four classes and the handshake */
#define IO_BUFFER_BYTES 4096u
#define IO_SLOT_NONE    UINT32_MAX
#define IO_DISKS        8u /* disk operations finished by one io_reap: each counts for one */
#define IO_DISK_BYTES   (32 * KiB) /* ... and for one more as often as it moved this much */

enum io_op {
    IO_NOTHING,   /* nobody waits for it */
    IO_DISK,      /* handled inside io_reap: calls disk_op->done */
    IO_ZERO,      /* slot: as its submitter gave it; result: bytes; more: an IO_ZERO_DONE follows */
    IO_ZERO_DONE, /* the kernel needs those bytes no more; result: 1 if it copied them after all */
    IO_ACCEPT,    /* slot: listener; result: descriptor */
    IO_RECEIVE,   /* slot: connection; result: bytes, buffer: where */
    IO_SEND,      /* slot: connection; result: bytes */
    IO_CANCEL,    /* slot: connection */
    IO_BELL,      /* somebody has work for this core */
    IO_ADOPT,     /* slot: listener; result: a descriptor handed over by another core */
    IO_ADOPTED,   /* a hand-over failed; slot: the descriptor, generation: the ring it was for */
    IO_TICK,      /* the timer of io_tick ran out */
    IO_CONNECT,   /* slot: of the dialler; result: 0 or -errno */
};

struct io_event {
    uint32_t slot;
    uint32_t generation; /* 24 bits */
    int32_t result;      /* count, descriptor or -errno */
    uint16_t buffer;     /* IO_RECEIVE with result > 0 */
    uint8_t op;
    bool more; /* a multishot goes on */
};

struct io_group {
    struct io_uring_buf_ring *ring;
    uint8_t *memory;
    uint32_t count;    /* buffers, a power of two */
    uint32_t out;      /* with connections or the kernel's completions */
    uint32_t returned; /* since the last publish */
};

struct io {
    struct io_uring ring;
    struct io_group groups[IO_GROUPS];
    struct __kernel_timespec tick;
    uint32_t disk_out;   /* disk operations in the kernel */
    uint32_t reads_held; /* disk reads prepared and not submitted */
    uint64_t enters;     /* system calls made to enter the ring */
    uint64_t flushes;    /* of those, because the submission queue was full */
    bool started;
};

/* io_open makes the ring (disabled). entries: submission queue, a power of two.
 * Returns: 0; -ENOSYS, -EPERM, -EACCES where io_uring is not to be had (millrace doctor says why).
 */
must_check int io_open(struct io *io, uint32_t entries);
void io_close(struct io *io);
/* Bytes of memory one group of `count` buffers needs, aligned to PAGE_BYTES. */
size_t io_group_footprint(uint32_t count);
/* Thread: before io_start. */
must_check int io_group_open(struct io *io, uint32_t group, void *memory, uint32_t count);
/* io_start enables the ring for the calling thread. */
must_check int io_start(struct io *io);
int io_fd(const struct io *io);

/* Each takes one submission; none can fail. */
void io_accept(struct io *io, int fd, uint32_t listener);
void io_receive(struct io *io, int fd, uint32_t slot, uint32_t generation, uint32_t group,
                bool multishot);
void io_send(struct io *io, int fd, uint32_t slot, uint32_t generation, const void *bytes,
             uint32_t count, bool wait_all);
/* A send that does not copy: the bytes must not change before IO_ZERO_DONE, or IO_ZERO without
 * `more`. The kernel may not have it, or not for this socket: -EOPNOTSUPP, -EINVAL, -ENOMEM. */
void io_send_zero(struct io *io, int fd, uint32_t slot, uint32_t generation, const void *bytes,
                  uint32_t count, bool wait_all);
/* message and its iovecs must stay until the next io_enter. */
void io_send_message(struct io *io, int fd, uint32_t slot, uint32_t generation,
                     const struct msghdr *message, bool wait_all);
/* address must stay until the next io_enter. Ends by itself when the kernel gives up (minutes);
 * before that by io_cancel_connect, with -ECANCELED. */
void io_connect(struct io *io, int fd, uint32_t slot, uint32_t generation,
                const struct sockaddr *address, socklen_t address_bytes);
void io_cancel_connect(struct io *io, uint32_t slot, uint32_t generation);
void io_cancel_receive(struct io *io, uint32_t slot, uint32_t generation);
void io_close_fd(struct io *io, int fd);
/* Wakes the core whose ring is target_fd; it sees IO_BELL. */
void io_bell(struct io *io, int target_fd);
/* Hands a descriptor to another core, which sees IO_ADOPT. Where the kernel cannot, this ring sees
 * IO_ADOPTED and the descriptor is its own still. */
void io_adopt(struct io *io, int target_fd, int fd, uint32_t listener);
/* Reads are submitted two by two: a turn may prepare many, and the disk would stand idle until its
 * end. */
void io_disk(struct io *io, struct disk_op *op);
/* An IO_TICK event after `after_ns`; one at a time. A standing timer makes plain waits cheap: a
 * wait with a timeout of its own sets and cancels a timer every time. */
void io_tick(struct io *io, uint64_t after_ns);

/* io_enter submits what was prepared and lets completions arrive. wait: sleep until one does, at
 * most timeout_ns (0: for as long as it takes; io_tick is the backstop). Returns: 0 or -errno of a
 * ring that is broken. Cost: one system call. */
must_check int io_enter(struct io *io, bool wait, uint64_t timeout_ns);
/* Copies up to `max` completions. Disk operations finish in here, eight small ones or a large
 * one: each may cost a hash and a copy of a block, and what others wait for comes before the next
 * ones; those stay, and io_pending says so. Returns: how many events. */
uint32_t io_reap(struct io *io, struct io_event events[], uint32_t max);
/* Completions that wait to be reaped. */
bool io_pending(struct io *io);

/* The bytes of a buffer that a receive event named; it is out until io_buffer_return. */
static inline const uint8_t *io_buffer_take(struct io *io, uint32_t group, uint32_t buffer) {
    io->groups[group].out++;
    return io->groups[group].memory + (size_t)buffer * IO_BUFFER_BYTES;
}
static inline const uint8_t *io_buffer(const struct io *io, uint32_t group, uint32_t buffer) {
    return io->groups[group].memory + (size_t)buffer * IO_BUFFER_BYTES;
}
/* Buffers of a group that the kernel may still fill. */
static inline uint32_t io_buffers_free(const struct io *io, uint32_t group) {
    return io->groups[group].count - io->groups[group].out;
}
/* The kernel may fill this buffer again, from the next io_publish_buffers on. */
void io_buffer_return(struct io *io, uint32_t group, uint32_t buffer);
void io_publish_buffers(struct io *io);
