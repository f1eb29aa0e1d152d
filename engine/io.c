/* SPDX-License-Identifier: MIT */
#include "engine/io.h"

#include "base/bits.h"
#include "base/err.h"
#include "base/must.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>

#ifndef IORING_SEND_ZC_REPORT_USAGE /* newer than the header liburing 2.3 brings; Linux 6.2 */
#define IORING_SEND_ZC_REPORT_USAGE  (1U << 3)
#define IORING_NOTIF_USAGE_ZC_COPIED (1U << 31)
#endif

#define READS_HELD_MAX 2u /* of more at once the kernel keeps the first until it has the last */

/* user_data = {op:8, generation:24, slot:32}; a disk operation is {IO_DISK:8, pointer:56}. */
static uint64_t tag(enum io_op op, uint32_t generation, uint32_t slot) {
    return (uint64_t)op << 56 | (uint64_t)(generation & 0xffffffu) << 32 | slot;
}

int io_open(struct io *io, uint32_t entries) {
    memset(io, 0, sizeof *io);
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_R_DISABLED |
                 IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE,
        .cq_entries = entries * 8,
    };
    int r = io_uring_queue_init_params(entries, &io->ring, &params);
    return err_raise(r);
}

void io_close(struct io *io) {
    for (uint32_t g = 0; g < IO_GROUPS; g++) {
        struct io_group *group = &io->groups[g];
        if (group->ring) {
            munmap(group->ring, round_up(group->count * sizeof(struct io_uring_buf), PAGE_BYTES));
        }
    }
    io_uring_queue_exit(&io->ring);
}

size_t io_group_footprint(uint32_t count) {
    return (size_t)count * IO_BUFFER_BYTES;
}

int io_group_open(struct io *io, uint32_t index, void *memory, uint32_t count) {
    must(index < IO_GROUPS);
    must(is_power_of_two(count) && count <= 32768);
    struct io_group *group = &io->groups[index];
    size_t ring_bytes = round_up(count * sizeof(struct io_uring_buf), PAGE_BYTES);
    void *ring = mmap(NULL, ring_bytes, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
    if (ring == MAP_FAILED) {
        return err_raise(-errno);
    }
    struct io_uring_buf_reg registration = {
        .ring_addr = (uint64_t)(uintptr_t)ring, .ring_entries = count, .bgid = (uint16_t)index};
    int r = io_uring_register_buf_ring(&io->ring, &registration, 0);
    if (r < 0) {
        munmap(ring, ring_bytes);
        return err_raise(r);
    }
    *group = (struct io_group){.ring = ring, .memory = memory, .count = count};
    io_uring_buf_ring_init(group->ring);
    for (uint32_t i = 0; i < count; i++) {
        io_uring_buf_ring_add(group->ring, group->memory + (size_t)i * IO_BUFFER_BYTES,
                              IO_BUFFER_BYTES, (unsigned short)i, io_uring_buf_ring_mask(count),
                              (int)i);
    }
    io_uring_buf_ring_advance(group->ring, (int)count);
    return 0;
}

int io_start(struct io *io) {
    /* As io_uring_enable_rings(3), which the shared liburing 2.3 declares and does not export. */
    int r = io_uring_register((unsigned)io->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
    if (r < 0) {
        return err_raise(r);
    }
    /* Saves a descriptor look-up on every enter; a kernel that refuses costs 30 ns a turn, no more.
     */
    (void)io_uring_register_ring_fd(&io->ring);
    io->started = true;
    return 0;
}

int io_fd(const struct io *io) {
    return io->ring.ring_fd;
}

static struct io_uring_sqe *take_sqe(struct io *io) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(&io->ring);
    if (unlikely(!sqe)) {
        int r = io_uring_submit(&io->ring);
        must(r > 0 || r == -EBUSY || r == -EAGAIN || r == -EINTR);
        io->enters++;
        io->flushes++;
        sqe = io_uring_get_sqe(&io->ring);
        while (!sqe) { /* the completion queue is overfull: let the kernel move it to its list */
            (void)io_uring_get_events(&io->ring);
            (void)io_uring_submit(&io->ring);
            sqe = io_uring_get_sqe(&io->ring);
        }
    }
    return sqe;
}

void io_accept(struct io *io, int fd, uint32_t listener) {
    struct io_uring_sqe *sqe = take_sqe(io);
    io_uring_prep_multishot_accept(sqe, fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    sqe->user_data = tag(IO_ACCEPT, 0, listener);
}

void io_receive(struct io *io, int fd, uint32_t slot, uint32_t generation, uint32_t group,
                bool multishot) {
    struct io_uring_sqe *sqe = take_sqe(io);
    if (multishot) {
        io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
    } else {
        io_uring_prep_recv(sqe, fd, NULL, IO_BUFFER_BYTES, 0);
    }
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = (uint16_t)group;
    sqe->user_data = tag(IO_RECEIVE, generation, slot);
}

void io_send(struct io *io, int fd, uint32_t slot, uint32_t generation, const void *bytes,
             uint32_t count, bool wait_all) {
    struct io_uring_sqe *sqe = take_sqe(io);
    io_uring_prep_send(sqe, fd, bytes, count, MSG_NOSIGNAL | (wait_all ? MSG_WAITALL : 0));
    sqe->user_data = tag(IO_SEND, generation, slot);
}

void io_send_zero(struct io *io, int fd, uint32_t slot, uint32_t generation, const void *bytes,
                  uint32_t count, bool wait_all) {
    struct io_uring_sqe *sqe = take_sqe(io);
    io_uring_prep_send_zc(sqe, fd, bytes, count, MSG_NOSIGNAL | (wait_all ? MSG_WAITALL : 0),
                          IORING_SEND_ZC_REPORT_USAGE);
    sqe->user_data = tag(IO_ZERO, generation, slot);
}

void io_send_message(struct io *io, int fd, uint32_t slot, uint32_t generation,
                     const struct msghdr *message, bool wait_all) {
    struct io_uring_sqe *sqe = take_sqe(io);
    io_uring_prep_sendmsg(sqe, fd, message,
                          (unsigned)(MSG_NOSIGNAL | (wait_all ? MSG_WAITALL : 0)));
    sqe->user_data = tag(IO_SEND, generation, slot);
}

void io_connect(struct io *io, int fd, uint32_t slot, uint32_t generation,
                const struct sockaddr *address, socklen_t address_bytes) {
    struct io_uring_sqe *sqe = take_sqe(io);
    io_uring_prep_connect(sqe, fd, address, address_bytes);
    sqe->user_data = tag(IO_CONNECT, generation, slot);
}

void io_cancel_connect(struct io *io, uint32_t slot, uint32_t generation) {
    struct io_uring_sqe *sqe = take_sqe(io);
    io_uring_prep_cancel64(sqe, tag(IO_CONNECT, generation, slot), 0);
    sqe->user_data = tag(IO_NOTHING, 0, IO_SLOT_NONE); /* the connect itself says how it ended */
}

void io_cancel_receive(struct io *io, uint32_t slot, uint32_t generation) {
    struct io_uring_sqe *sqe = take_sqe(io);
    io_uring_prep_cancel64(sqe, tag(IO_RECEIVE, generation, slot), 0);
    sqe->user_data = tag(IO_CANCEL, generation, slot);
}

void io_close_fd(struct io *io, int fd) {
    struct io_uring_sqe *sqe = take_sqe(io);
    io_uring_prep_close(sqe, fd);
    sqe->user_data = tag(IO_NOTHING, 0, IO_SLOT_NONE);
}

void io_bell(struct io *io, int target_fd) {
    struct io_uring_sqe *sqe = take_sqe(io);
    io_uring_prep_msg_ring(sqe, target_fd, 0, tag(IO_BELL, 0, IO_SLOT_NONE), 0);
    sqe->user_data = tag(IO_NOTHING, 0, IO_SLOT_NONE);
}

void io_adopt(struct io *io, int target_fd, int fd, uint32_t listener) {
    struct io_uring_sqe *sqe = take_sqe(io);
    io_uring_prep_msg_ring(sqe, target_fd, (unsigned)fd, tag(IO_ADOPT, 0, listener), 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS; /* every kernel with DEFER_TASKRUN has it */
    sqe->user_data = tag(IO_ADOPTED, (uint32_t)target_fd, (uint32_t)fd);
}

/* What the kernel does not take now it takes with the next enter. */
static void submit_reads(struct io *io) {
    int r = io_uring_submit(&io->ring);
    must(r >= 0 || r == -EBUSY || r == -EAGAIN || r == -EINTR);
    io->enters++;
    io->reads_held = 0;
}

void io_disk(struct io *io, struct disk_op *op) {
    struct io_uring_sqe *sqe = take_sqe(io);
    switch ((enum disk_kind)op->kind) {
    case DISK_READ:
        io_uring_prep_read(sqe, op->fd, op->buffer, op->bytes, op->offset);
        break;
    case DISK_WRITE:
        io_uring_prep_write(sqe, op->fd, op->buffer, op->bytes, op->offset);
        sqe->rw_flags = op->dsync ? RWF_DSYNC : 0;
        break;
    case DISK_SYNC:
        io_uring_prep_fsync(sqe, op->fd, IORING_FSYNC_DATASYNC);
        break;
    }
    sqe->user_data = (uint64_t)IO_DISK << 56 | (uint64_t)(uintptr_t)op;
    io->disk_out++;
    io->reads_held += op->kind == DISK_READ;
    if (io->reads_held == READS_HELD_MAX && io->started) {
        submit_reads(io);
    }
}

void io_tick(struct io *io, uint64_t after_ns) {
    io->tick = (struct __kernel_timespec){.tv_sec = (long long)(after_ns / NS_PER_S),
                                          .tv_nsec = (long long)(after_ns % NS_PER_S)};
    struct io_uring_sqe *sqe = take_sqe(io);
    io_uring_prep_timeout(sqe, &io->tick, 0, 0);
    sqe->user_data = tag(IO_TICK, 0, IO_SLOT_NONE);
}

int io_enter(struct io *io, bool wait, uint64_t timeout_ns) {
    io->enters++;
    io->reads_held = 0;
    int r;
    if (wait && timeout_ns == 0) {
        r = io_uring_submit_and_wait(&io->ring, 1);
    } else if (wait) {
        struct __kernel_timespec limit = {.tv_sec = (long long)(timeout_ns / NS_PER_S),
                                          .tv_nsec = (long long)(timeout_ns % NS_PER_S)};
        struct io_uring_cqe *cqe = NULL;
        r = io_uring_submit_and_wait_timeout(&io->ring, &cqe, 1, &limit, NULL);
    } else {
        r = io_uring_submit_and_get_events(&io->ring);
    }
    if (r >= 0 || r == -ETIME || r == -EINTR || r == -EAGAIN || r == -EBUSY) {
        return 0;
    }
    return err_raise(r);
}

/* Completions that are not events as they stand; false: this one is not for anybody to see. */
static bool reap_special(struct io *io, const struct io_uring_cqe *cqe, struct io_event *event) {
    enum io_op op = (enum io_op)(cqe->user_data >> 56);
    if (op == IO_DISK) {
        struct disk_op *disk = (struct disk_op *)(uintptr_t)(cqe->user_data & 0xffffffffffffffu);
        disk->result = cqe->res;
        must(io->disk_out > 0);
        io->disk_out--;
        disk->done(disk);
        return false;
    }
    if (op == IO_ZERO && (cqe->flags & IORING_CQE_F_NOTIF) != 0) {
        event->op = IO_ZERO_DONE;
        event->result = ((uint32_t)cqe->res & IORING_NOTIF_USAGE_ZC_COPIED) != 0;
    }
    return op != IO_NOTHING;
}

/* What finishing it may cost the turn. */
static uint32_t disk_weight(const struct io_uring_cqe *cqe) {
    return 1 + (cqe->res > 0 ? (uint32_t)cqe->res / (uint32_t)IO_DISK_BYTES : 0);
}

uint32_t io_reap(struct io *io, struct io_event events[], uint32_t max) {
    uint32_t count = 0;
    uint32_t taken = 0, disks = 0; /* weighed */
    unsigned head;
    struct io_uring_cqe *cqe;
    io_uring_for_each_cqe(&io->ring, head, cqe) {
        enum io_op op = (enum io_op)(cqe->user_data >> 56);
        if (count == max || (op == IO_DISK && disks >= IO_DISKS)) {
            break;
        }
        disks += op == IO_DISK ? disk_weight(cqe) : 0;
        taken++;
        events[count] = (struct io_event){
            .slot = (uint32_t)cqe->user_data,
            .generation = (uint32_t)(cqe->user_data >> 32) & 0xffffffu,
            .result = cqe->res,
            .buffer = (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT),
            .op = (uint8_t)op,
            .more = (cqe->flags & IORING_CQE_F_MORE) != 0,
        };
        if (likely(op > IO_ZERO) || reap_special(io, cqe, &events[count])) {
            count++;
        }
    }
    io_uring_cq_advance(&io->ring, taken);
    return count;
}

bool io_pending(struct io *io) {
    return io_uring_cq_ready(&io->ring) != 0;
}

void io_buffer_return(struct io *io, uint32_t index, uint32_t buffer) {
    struct io_group *group = &io->groups[index];
    must(group->out > 0);
    group->out--;
    io_uring_buf_ring_add(group->ring, group->memory + (size_t)buffer * IO_BUFFER_BYTES,
                          IO_BUFFER_BYTES, (unsigned short)buffer,
                          io_uring_buf_ring_mask(group->count), (int)group->returned);
    group->returned++;
}

void io_publish_buffers(struct io *io) {
    for (uint32_t g = 0; g < IO_GROUPS; g++) {
        struct io_group *group = &io->groups[g];
        if (group->returned) {
            io_uring_buf_ring_advance(group->ring, (int)group->returned);
            group->returned = 0;
        }
    }
}
