/* SPDX-License-Identifier: MIT */
#include "engine/io.h"

#include "base/clock.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* On the real kernel: what the engine takes for granted about io_uring is asserted here. */

#define GROUP      2u
#define BUFFERS    8u
#define SLOT       41u
#define GENERATION 0x00abcdefu

struct rig {
    struct io io;
    uint8_t *memory;
    struct io_event events[64];
    uint32_t count; /* of events */
    int near, far;  /* a connected pair: near is the ring's */
};
static struct rig rig;

static void open_ring(struct io *io) {
    cr_assert_eq(io_open(io, 64), 0);
}

static void open_rig(void) {
    open_ring(&rig.io);
    rig.memory = aligned_alloc(PAGE_BYTES, io_group_footprint(BUFFERS));
    cr_assert_eq(io_group_open(&rig.io, GROUP, rig.memory, BUFFERS), 0);
    cr_assert_eq(io_start(&rig.io), 0);
    int pair[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    rig.near = pair[0];
    rig.far = pair[1];
}

static void close_rig(void) {
    io_close(&rig.io);
    free(rig.memory);
    close(rig.near);
    close(rig.far);
}

TestSuite(io, .init = open_rig, .fini = close_rig, .timeout = 30);

/* Enters until at least `wanted` events came; a test that hangs is ended by its timeout. */
static void gather(uint32_t wanted) {
    rig.count = 0;
    while (rig.count < wanted) {
        cr_assert_eq(io_enter(&rig.io, true, NS_PER_S), 0);
        rig.count += io_reap(&rig.io, rig.events + rig.count, 64 - rig.count);
    }
    cr_assert_eq(rig.count, wanted);
}

/* Lets everything arrive that is already there. */
static void settle(void) {
    rig.count = 0;
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(io_enter(&rig.io, false, 0), 0);
        rig.count += io_reap(&rig.io, rig.events + rig.count, 64 - rig.count);
    }
}

static void far_writes(const void *bytes, size_t count) {
    cr_assert_eq(write(rig.far, bytes, count), (ssize_t)count);
}

static void is_event(const struct io_event *event, enum io_op op, int32_t result) {
    cr_assert_eq(event->op, op, "op %u", event->op);
    cr_assert_eq(event->result, result, "result %d", event->result);
    if (op == IO_RECEIVE || op == IO_SEND || op == IO_CANCEL) {
        cr_assert_eq(event->slot, SLOT);
        cr_assert_eq(event->generation, GENERATION);
    }
}

/* ---- receive */

Test(io, multishot_receive_goes_on_with_a_buffer_each_time) {
    io_receive(&rig.io, rig.near, SLOT, GENERATION, GROUP, true);
    for (uint32_t i = 0; i < 3; i++) {
        far_writes("hello", 5);
        gather(1);
        is_event(&rig.events[0], IO_RECEIVE, 5);
        cr_assert(rig.events[0].more);
        const uint8_t *bytes = io_buffer_take(&rig.io, GROUP, rig.events[0].buffer);
        cr_assert_eq(memcmp(bytes, "hello", 5), 0);
        cr_assert_eq(bytes, io_buffer(&rig.io, GROUP, rig.events[0].buffer));
        cr_assert_eq(io_buffers_free(&rig.io, GROUP), BUFFERS - 1 - i);
    }
}

Test(io, one_shot_receive_ends_with_its_first_bytes) {
    io_receive(&rig.io, rig.near, SLOT, GENERATION, GROUP, false);
    far_writes("abc", 3);
    gather(1);
    is_event(&rig.events[0], IO_RECEIVE, 3);
    cr_assert_not(rig.events[0].more);
}

Test(io, a_receive_fills_at_most_one_buffer) {
    static uint8_t much[IO_BUFFER_BYTES + 100];
    io_receive(&rig.io, rig.near, SLOT, GENERATION, GROUP, true);
    far_writes(much, sizeof much);
    gather(2);
    is_event(&rig.events[0], IO_RECEIVE, IO_BUFFER_BYTES);
    is_event(&rig.events[1], IO_RECEIVE, 100);
    cr_assert_neq(rig.events[0].buffer, rig.events[1].buffer);
}

/* The kernel's half of backpressure: a group without buffers ends its receives, and bytes wait in
 * the socket until buffers came back and a receive was armed again. */
Test(io, an_empty_group_says_enobufs_and_goes_on_after_buffers_return) {
    static uint8_t much[IO_BUFFER_BYTES * (BUFFERS + 2)];
    for (size_t i = 0; i < sizeof much; i++) {
        much[i] = (uint8_t)(i / IO_BUFFER_BYTES);
    }
    io_receive(&rig.io, rig.near, SLOT, GENERATION, GROUP, true);
    far_writes(much, sizeof much);
    gather(BUFFERS + 1);
    for (uint32_t i = 0; i < BUFFERS; i++) {
        is_event(&rig.events[i], IO_RECEIVE, IO_BUFFER_BYTES);
        cr_assert_eq(*io_buffer_take(&rig.io, GROUP, rig.events[i].buffer), i);
    }
    is_event(&rig.events[BUFFERS], IO_RECEIVE, -ENOBUFS);
    cr_assert_not(rig.events[BUFFERS].more);
    cr_assert_eq(io_buffers_free(&rig.io, GROUP), 0);

    uint16_t first = rig.events[0].buffer, second = rig.events[1].buffer;
    io_buffer_return(&rig.io, GROUP, first);
    io_buffer_return(&rig.io, GROUP, second);
    io_receive(&rig.io, rig.near, SLOT, GENERATION, GROUP, true);
    gather(1); /* returned, but not published: the kernel does not know them yet */
    is_event(&rig.events[0], IO_RECEIVE, -ENOBUFS);

    io_publish_buffers(&rig.io);
    cr_assert_eq(io_buffers_free(&rig.io, GROUP), 2);
    io_receive(&rig.io, rig.near, SLOT, GENERATION, GROUP, true);
    gather(2);
    for (uint32_t i = 0; i < 2; i++) {
        is_event(&rig.events[i], IO_RECEIVE, IO_BUFFER_BYTES);
        uint16_t buffer = rig.events[i].buffer;
        cr_assert(buffer == first || buffer == second);
        cr_assert_eq(*io_buffer_take(&rig.io, GROUP, buffer), BUFFERS + i);
    }
}

Test(io, buffers_go_round_for_ever) {
    io_receive(&rig.io, rig.near, SLOT, GENERATION, GROUP, true);
    for (uint32_t round = 0; round < 10 * BUFFERS; round++) {
        far_writes(&round, sizeof round);
        gather(1);
        is_event(&rig.events[0], IO_RECEIVE, sizeof round);
        const uint8_t *bytes = io_buffer_take(&rig.io, GROUP, rig.events[0].buffer);
        cr_assert_eq(memcmp(bytes, &round, sizeof round), 0);
        io_buffer_return(&rig.io, GROUP, rig.events[0].buffer);
        io_publish_buffers(&rig.io);
    }
}

Test(io, the_peers_end_is_a_receive_of_nothing) {
    io_receive(&rig.io, rig.near, SLOT, GENERATION, GROUP, true);
    cr_assert_eq(shutdown(rig.far, SHUT_WR), 0);
    gather(1);
    is_event(&rig.events[0], IO_RECEIVE, 0);
    cr_assert_not(rig.events[0].more);
}

/* Both end: the receive with ECANCELED, the cancel with what it found. */
Test(io, a_cancelled_receive_ends_and_the_cancel_too) {
    io_receive(&rig.io, rig.near, SLOT, GENERATION, GROUP, true);
    settle();
    cr_assert_eq(rig.count, 0);
    io_cancel_receive(&rig.io, SLOT, GENERATION);
    gather(2);
    for (uint32_t i = 0; i < 2; i++) {
        if (rig.events[i].op == IO_RECEIVE) {
            is_event(&rig.events[i], IO_RECEIVE, -ECANCELED);
            cr_assert_not(rig.events[i].more);
        } else {
            is_event(&rig.events[i], IO_CANCEL, 0);
        }
    }
    far_writes("x", 1);
    settle();
    cr_assert_eq(rig.count, 0, "nothing receives any more");
}

Test(io, a_cancel_of_another_generation_finds_nothing) {
    io_receive(&rig.io, rig.near, SLOT, GENERATION, GROUP, true);
    io_cancel_receive(&rig.io, SLOT, GENERATION + 1);
    gather(1);
    cr_assert_eq(rig.events[0].op, IO_CANCEL);
    cr_assert_eq(rig.events[0].result, -ENOENT);
    far_writes("on", 2);
    gather(1);
    is_event(&rig.events[0], IO_RECEIVE, 2);
}

/* ---- send */

Test(io, a_send_delivers_its_bytes) {
    io_send(&rig.io, rig.near, SLOT, GENERATION, "reply", 5, true);
    gather(1);
    is_event(&rig.events[0], IO_SEND, 5);
    char text[8];
    cr_assert_eq(read(rig.far, text, sizeof text), 5);
    cr_assert_eq(memcmp(text, "reply", 5), 0);
}

/* wait_all: one completion for the whole, though the socket takes it in parts. */
Test(io, a_send_that_waits_for_all_completes_once) {
    enum { MUCH = 1024 * 1024 };
    uint8_t *much = calloc(1, MUCH);
    io_send(&rig.io, rig.near, SLOT, GENERATION, much, MUCH, true);
    settle();
    cr_assert_eq(rig.count, 0, "the socket is full: it waits");
    size_t drained = 0;
    uint8_t bytes[16384];
    rig.count = 0;
    while (rig.count == 0) {
        ssize_t n = read(rig.far, bytes, sizeof bytes);
        drained += n > 0 ? (size_t)n : 0;
        cr_assert_eq(io_enter(&rig.io, false, 0), 0);
        rig.count += io_reap(&rig.io, rig.events, 64);
    }
    is_event(&rig.events[0], IO_SEND, MUCH);
    cr_assert_gt(drained, 0);
    free(much);
}

Test(io, a_message_sends_its_pieces_in_order) {
    struct iovec pieces[3] = {{(void *)(uintptr_t) "one ", 4},
                              {(void *)(uintptr_t) "two ", 4},
                              {(void *)(uintptr_t) "three", 5}};
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 3};
    io_send_message(&rig.io, rig.near, SLOT, GENERATION, &message, true);
    cr_assert_eq(io_enter(&rig.io, false, 0), 0);
    memset(pieces, 0, sizeof pieces); /* they need to stay no longer than the enter */
    memset(&message, 0, sizeof message);
    gather(1);
    is_event(&rig.events[0], IO_SEND, 13);
    char text[16] = "";
    cr_assert_eq(read(rig.far, text, sizeof text), 13);
    cr_assert_str_eq(text, "one two three");
}

Test(io, a_send_to_nobody_is_an_error_and_no_signal) {
    close(rig.far);
    rig.far = -1;
    io_send(&rig.io, rig.near, SLOT, GENERATION, "x", 1, true);
    gather(1);
    is_event(&rig.events[0], IO_SEND, -EPIPE);
}

/* ---- accept, close, and handing over */

static int listening(struct sockaddr_in *ret_address) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    *ret_address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof *ret_address;
    cr_assert_eq(bind(fd, (struct sockaddr *)ret_address, length), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)ret_address, &length), 0);
    cr_assert_eq(listen(fd, 16), 0);
    return fd;
}

/* Over TCP: loopback copies at delivery, and the kernel says so. */
Test(io, a_send_without_a_copy_says_when_its_bytes_are_free_and_that_they_were_copied) {
    struct sockaddr_in address;
    int listener = listening(&address);
    int far = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(far, (struct sockaddr *)&address, sizeof address), 0);
    int near = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    cr_assert_geq(near, 0);
    enum { BYTES = 40000 };
    static uint8_t bytes[BYTES], got[BYTES];
    memset(bytes, 6, BYTES);
    io_send_zero(&rig.io, near, SLOT, GENERATION, bytes, BYTES, true);
    gather(2);
    is_event(&rig.events[0], IO_ZERO, BYTES);
    cr_assert(rig.events[0].more);
    is_event(&rig.events[1], IO_ZERO_DONE, 1);
    cr_assert_not(rig.events[1].more);
    for (size_t at = 0; at < BYTES;) {
        ssize_t n = read(far, got + at, BYTES - at);
        cr_assert_gt(n, 0);
        at += (size_t)n;
    }
    cr_assert_eq(memcmp(bytes, got, BYTES), 0);
    close(near);
    close(far);
    close(listener);
}

/* A failed send may be notified of all the same: only `more` says. */
Test(io, a_socket_that_cannot_send_without_a_copy_says_so) {
    io_send_zero(&rig.io, rig.near, SLOT, GENERATION, "reply", 5, true);
    settle();
    cr_assert_geq(rig.count, 1);
    is_event(&rig.events[0], IO_ZERO, -EOPNOTSUPP);
    cr_assert_eq(rig.count, rig.events[0].more ? 2 : 1);
    if (rig.events[0].more) {
        cr_assert_eq(rig.events[1].op, IO_ZERO_DONE);
    }
}

Test(io, a_multishot_accept_takes_one_connection_after_another) {
    struct sockaddr_in address;
    int fd = listening(&address);
    io_accept(&rig.io, fd, 3);
    for (int i = 0; i < 3; i++) {
        int peer = socket(AF_INET, SOCK_STREAM, 0);
        cr_assert_eq(connect(peer, (struct sockaddr *)&address, sizeof address), 0);
        gather(1);
        cr_assert_eq(rig.events[0].op, IO_ACCEPT);
        cr_assert_eq(rig.events[0].slot, 3);
        cr_assert_geq(rig.events[0].result, 0);
        cr_assert(rig.events[0].more);
        cr_assert_neq(fcntl(rig.events[0].result, F_GETFL) & O_NONBLOCK, 0);
        cr_assert_neq(fcntl(rig.events[0].result, F_GETFD) & FD_CLOEXEC, 0);
        close(rig.events[0].result);
        close(peer);
    }
    /* How a drain ends it: */
    cr_assert_eq(shutdown(fd, SHUT_RDWR), 0);
    gather(1);
    cr_assert_eq(rig.events[0].op, IO_ACCEPT);
    cr_assert_lt(rig.events[0].result, 0);
    cr_assert_not(rig.events[0].more);
    close(fd);
}

Test(io, a_close_is_heard_by_nobody_but_the_peer) {
    io_close_fd(&rig.io, rig.near);
    settle();
    cr_assert_eq(rig.count, 0);
    char byte;
    cr_assert_eq(read(rig.far, &byte, 1), 0);
    cr_assert_eq(fcntl(rig.near, F_GETFD), -1);
    rig.near = -1;
}

struct sleeper {
    struct io io;
    struct io_event event;
    uint64_t slept_ns;
    int started;
};

static void *sleep_in_ring(void *argument) {
    struct sleeper *sleeper = argument;
    sleeper->started = io_start(&sleeper->io);
    uint64_t before = clock_ns();
    while (io_enter(&sleeper->io, true, 20 * NS_PER_S) == 0 &&
           io_reap(&sleeper->io, &sleeper->event, 1) == 0) {
        /* the event is what it sleeps for */
    }
    sleeper->slept_ns = clock_ns() - before;
    return NULL;
}

Test(io, a_bell_wakes_another_threads_ring) {
    static struct sleeper sleeper;
    open_ring(&sleeper.io);
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, sleep_in_ring, &sleeper), 0);
    /* Until its ring is enabled a bell is refused, silently: the engine waits for CORE_RUN, and
     * here ringing again does. */
    while (pthread_tryjoin_np(thread, NULL) != 0) {
        io_bell(&rig.io, io_fd(&sleeper.io));
        settle();
        cr_assert_eq(rig.count, 0, "who rings hears nothing");
        sched_yield();
    }
    cr_assert_eq(sleeper.started, 0);
    cr_assert_eq(sleeper.event.op, IO_BELL);
    cr_assert_lt(sleeper.slept_ns, 10 * NS_PER_S);
    io_close(&sleeper.io);
}

Test(io, an_adopted_descriptor_arrives_with_its_listener) {
    struct io other;
    open_ring(&other);
    cr_assert_eq(io_start(&other), 0);
    io_adopt(&other, io_fd(&rig.io), 77, 5);
    cr_assert_eq(io_enter(&other, false, 0), 0);
    gather(1);
    is_event(&rig.events[0], IO_ADOPT, 77);
    cr_assert_eq(rig.events[0].slot, 5);
    io_close(&other);
}

Test(io, a_descriptor_nobody_could_be_given_comes_back) {
    struct io asleep;
    open_ring(&asleep); /* never started: it takes nothing */
    io_adopt(&rig.io, io_fd(&asleep), 77, 5);
    gather(1);
    cr_assert_eq(rig.events[0].op, IO_ADOPTED);
    cr_assert_lt(rig.events[0].result, 0);
    cr_assert_eq(rig.events[0].slot, 77);
    cr_assert_eq(rig.events[0].generation, (uint32_t)io_fd(&asleep));
    io_close(&asleep);
}

/* ---- disk */

static uint32_t finished;
static void count_done(struct disk_op *op) {
    (void)op;
    finished++;
}

static int disk_file(void) {
    char path[] = "/tmp/millrace-io-XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    (void)unlink(path);
    return fd;
}

static void gather_disk(uint32_t wanted) {
    while (finished < wanted) {
        cr_assert_eq(io_enter(&rig.io, true, NS_PER_S), 0);
        cr_assert_eq(io_reap(&rig.io, rig.events, 64), 0, "disk operations make no event");
    }
}

Test(io, disk_operations_finish_inside_reap) {
    int fd = disk_file();
    uint8_t *out = aligned_alloc(PAGE_BYTES, 2 * PAGE_BYTES);
    uint8_t *in = aligned_alloc(PAGE_BYTES, 2 * PAGE_BYTES);
    memset(out, 0x5a, 2 * PAGE_BYTES);
    memset(in, 0, 2 * PAGE_BYTES);
    struct disk_op write_op = {.kind = DISK_WRITE,
                               .fd = fd,
                               .buffer = out,
                               .bytes = 2 * PAGE_BYTES,
                               .offset = PAGE_BYTES,
                               .dsync = true,
                               .done = count_done};
    io_disk(&rig.io, &write_op);
    cr_assert_eq(finished, 0, "never within the submission");
    cr_assert_eq(rig.io.disk_out, 1);
    gather_disk(1);
    cr_assert_eq(write_op.result, 2 * PAGE_BYTES);
    cr_assert_eq(rig.io.disk_out, 0);

    struct disk_op read_op = {.kind = DISK_READ,
                              .fd = fd,
                              .buffer = in,
                              .bytes = 2 * PAGE_BYTES,
                              .offset = PAGE_BYTES,
                              .done = count_done};
    struct disk_op sync_op = {.kind = DISK_SYNC, .fd = fd, .done = count_done};
    io_disk(&rig.io, &read_op);
    io_disk(&rig.io, &sync_op);
    gather_disk(3);
    cr_assert_eq(read_op.result, 2 * PAGE_BYTES);
    cr_assert_eq(sync_op.result, 0);
    cr_assert_eq(memcmp(in, out, 2 * PAGE_BYTES), 0);

    read_op.offset = 2 * PAGE_BYTES; /* the file ends one page in */
    io_disk(&rig.io, &read_op);
    gather_disk(4);
    cr_assert_eq(read_op.result, PAGE_BYTES);
    read_op.fd = -1;
    io_disk(&rig.io, &read_op);
    gather_disk(5);
    cr_assert_eq(read_op.result, -EBADF);
    close(fd);
    free(out);
    free(in);
}

Test(io, many_disk_reads_begin_and_end_a_few_at_a_time) {
    enum { READS = 11 };
    int fd = disk_file();
    static uint8_t bytes[READS][PAGE_BYTES];
    struct disk_op reads[READS];
    cr_assert_eq(write(fd, bytes, sizeof bytes), (ssize_t)sizeof bytes);
    uint64_t before = rig.io.enters;
    for (uint32_t i = 0; i < READS; i++) {
        reads[i] = (struct disk_op){.kind = DISK_READ,
                                    .fd = fd,
                                    .buffer = bytes[i],
                                    .bytes = PAGE_BYTES,
                                    .offset = (uint64_t)i * PAGE_BYTES,
                                    .done = count_done};
        io_disk(&rig.io, &reads[i]);
    }
    cr_assert_eq(rig.io.enters - before, READS / 2);
    cr_assert_eq(io_uring_sq_ready(&rig.io.ring), 1);
    cr_assert_eq(finished, 0, "never within the submission");
    while (io_uring_cq_ready(&rig.io.ring) < READS) {
        cr_assert_eq(io_enter(&rig.io, false, 0), 0);
    }
    (void)io_reap(&rig.io, rig.events, 64);
    cr_assert_eq(finished, IO_DISKS, "the others wait for the next turn");
    cr_assert(io_pending(&rig.io));
    gather_disk(READS);
    for (uint32_t i = 0; i < READS; i++) {
        cr_assert_eq(reads[i].result, PAGE_BYTES);
    }
    close(fd);
}

Test(io, of_large_disk_reads_a_turn_finishes_one) {
    enum { READS = 3, BYTES = 256 * 1024 };
    int fd = disk_file();
    static uint8_t bytes[READS][BYTES];
    struct disk_op reads[READS];
    cr_assert_eq(write(fd, bytes, sizeof bytes), (ssize_t)sizeof bytes);
    for (uint32_t i = 0; i < READS; i++) {
        reads[i] = (struct disk_op){
            .kind = DISK_READ, .fd = fd, .buffer = bytes[i], .bytes = BYTES, .done = count_done};
        io_disk(&rig.io, &reads[i]);
    }
    while (io_uring_cq_ready(&rig.io.ring) < READS) {
        cr_assert_eq(io_enter(&rig.io, false, 0), 0);
    }
    for (uint32_t i = 1; i <= READS; i++) {
        (void)io_reap(&rig.io, rig.events, 64);
        cr_assert_eq(finished, i);
    }
    close(fd);
}

/* ---- the ring itself */

Test(io, a_wait_ends_at_its_timeout) {
    uint64_t before = clock_ns();
    cr_assert_eq(io_enter(&rig.io, true, 20 * NS_PER_MS), 0);
    uint64_t took = clock_ns() - before;
    cr_assert_geq(took, 19 * NS_PER_MS);
    cr_assert_lt(took, 5 * NS_PER_S);
    cr_assert_eq(io_reap(&rig.io, rig.events, 64), 0);
}

Test(io, a_wait_with_a_completion_does_not_wait) {
    far_writes("x", 1);
    io_receive(&rig.io, rig.near, SLOT, GENERATION, GROUP, true);
    uint64_t before = clock_ns();
    cr_assert_eq(io_enter(&rig.io, true, 20 * NS_PER_S), 0);
    cr_assert_lt(clock_ns() - before, 10 * NS_PER_S);
    cr_assert(io_pending(&rig.io));
    cr_assert_eq(io_reap(&rig.io, rig.events, 64), 1);
    cr_assert_not(io_pending(&rig.io));
}

/* DEFER_TASKRUN: completions appear only when this thread enters. */
Test(io, completions_appear_only_with_an_enter) {
    io_receive(&rig.io, rig.near, SLOT, GENERATION, GROUP, true);
    cr_assert_eq(io_enter(&rig.io, false, 0), 0);
    far_writes("x", 1);
    cr_assert_not(io_pending(&rig.io));
    gather(1);
    is_event(&rig.events[0], IO_RECEIVE, 1);
}

Test(io, more_submissions_than_the_queue_holds_are_flushed_and_counted) {
    for (uint32_t i = 0; i < 200; i++) {
        io_send(&rig.io, rig.near, SLOT, GENERATION, "y", 1, true);
    }
    cr_assert_geq(rig.io.flushes, 2);
    uint32_t count = 0;
    while (count < 200) {
        cr_assert_eq(io_enter(&rig.io, true, NS_PER_S), 0);
        uint32_t got = io_reap(&rig.io, rig.events, 64);
        for (uint32_t i = 0; i < got; i++) {
            is_event(&rig.events[i], IO_SEND, 1);
        }
        count += got;
    }
    char bytes[256];
    cr_assert_eq(read(rig.far, bytes, sizeof bytes), 200);
}

/* ---- connect */

static int listen_here(struct sockaddr_in *ret_address, int backlog) {
    socklen_t bytes = sizeof *ret_address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    *ret_address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    cr_assert_eq(bind(fd, (struct sockaddr *)ret_address, bytes), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)ret_address, &bytes), 0);
    if (backlog >= 0) {
        cr_assert_eq(listen(fd, backlog), 0);
    }
    return fd;
}

static int dial(const struct sockaddr_in *address) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    io_connect(&rig.io, fd, SLOT, GENERATION, (const struct sockaddr *)address, sizeof *address);
    return fd;
}

static void is_connect(const struct io_event *event, int32_t result) {
    is_event(event, IO_CONNECT, result);
    cr_assert_eq(event->slot, SLOT);
    cr_assert_eq(event->generation, GENERATION);
}

Test(io, a_connect_says_when_the_peer_is_there) {
    struct sockaddr_in address;
    int listener = listen_here(&address, 1);
    int fd = dial(&address);
    gather(1);
    is_connect(&rig.events[0], 0);
    cr_assert_eq(write(fd, "x", 1), 1);
    close(fd);
    close(listener);
}

Test(io, a_connect_to_nobody_is_refused) {
    struct sockaddr_in address;
    int closed = listen_here(&address, -1);
    int fd = dial(&address);
    gather(1);
    is_connect(&rig.events[0], -ECONNREFUSED);
    close(fd);
    close(closed);
}

/* A backlog that is full leaves the third without an answer: what a dead host looks like. */
Test(io, a_connect_that_hangs_ends_when_it_is_cancelled) {
    struct sockaddr_in address;
    int listener = listen_here(&address, 0);
    int fds[3];
    for (int i = 0; i < 2; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)!connect(fds[i], (struct sockaddr *)&address, sizeof address);
    }
    fds[2] = dial(&address);
    settle();
    cr_assert_eq(rig.count, 0);
    io_cancel_connect(&rig.io, SLOT, GENERATION + 1); /* somebody else's */
    settle();
    cr_assert_eq(rig.count, 0);
    io_cancel_connect(&rig.io, SLOT, GENERATION);
    gather(1);
    is_connect(&rig.events[0], -ECANCELED);
    for (int i = 0; i < 3; i++) {
        close(fds[i]);
    }
    close(listener);
}

/* More completions than the queue holds (64 * 8): the kernel keeps the rest, none is lost. */
Test(io, completions_beyond_their_queue_are_kept) {
    enum { MANY = 2000 };
    for (uint32_t i = 0; i < MANY; i++) {
        io_send(&rig.io, -1, SLOT, GENERATION, "z", 1, false);
    }
    uint32_t count = 0;
    while (count < MANY) {
        cr_assert_eq(io_enter(&rig.io, true, NS_PER_S), 0);
        uint32_t got = io_reap(&rig.io, rig.events, 64);
        for (uint32_t i = 0; i < got; i++) {
            is_event(&rig.events[i], IO_SEND, -EBADF);
        }
        count += got;
    }
    cr_assert_eq(count, MANY);
}

Test(io, reap_copies_no_more_than_asked_and_keeps_the_rest) {
    for (uint32_t i = 0; i < 10; i++) {
        io_send(&rig.io, rig.near, SLOT, GENERATION, "w", 1, true);
    }
    cr_assert_eq(io_enter(&rig.io, false, 0), 0);
    cr_assert_eq(io_reap(&rig.io, rig.events, 4), 4);
    cr_assert(io_pending(&rig.io));
    cr_assert_eq(io_reap(&rig.io, rig.events, 64), 6);
}

Test(io, a_return_that_was_never_taken_is_a_bug, .signal = SIGABRT) {
    io_buffer_return(&rig.io, GROUP, 0);
}
