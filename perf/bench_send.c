/* SPDX-License-Identifier: MIT */

/* bench_send — the three ways a body can leave, by themselves: a plain send of the ring, sendfile
 * from a memfd, and a ring send without a copy (SEND_ZC); over loopback, and over a pair of virtual
 * interfaces to another network namespace, as another host would be reached. What a GB costs the
 * sending process, how many a second, and which share of the sends without a copy the kernel
 * copied.
 *
 * One connection, one send out at a time, bodies in turn; notifications are waited for
 * only where 64 are out. The reader is a process on another CPU. */

#include "perf/kit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <liburing.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef IORING_SEND_ZC_REPORT_USAGE /* newer than the header liburing 2.3 brings; Linux 6.2 */
#define IORING_SEND_ZC_REPORT_USAGE  (1U << 3)
#define IORING_NOTIF_USAGE_ZC_COPIED (1U << 31)
#endif

#define NOTES_MAX 64u
#define OURS      "10.78.0.1"
#define THEIRS    "10.78.0.2"

enum way { PLAIN, FILE_WAY, ZERO, WAYS };
static const char *const way_names[WAYS] = {"send", "sendfile", "send_zc"};

struct sender {
    struct io_uring ring;
    int fd, file;
    uint8_t *pool;
    uint64_t at;
    uint32_t notes; /* notifications that are still to come */
    uint64_t zeros, copied;
};

#define ROUNDS_MAX 32u

static const uint64_t sizes[] = {32 * KiB, 256 * KiB, 1 * MiB};
static uint64_t millis = 200, rounds = 7, pool_mib = 64, quick;

/* ---- the reader: takes all there is, until the other end closes ------------------------------ */

static void read_all(int listener) {
    static uint8_t buffer[1 * MiB];
    (void)kit_pin(1);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        while (fd >= 0 && recv(fd, buffer, sizeof buffer, 0) > 0) {
        }
        if (fd < 0) {
            _exit(0);
        }
        close(fd);
    }
}

static int listen_at(const char *host, struct sockaddr_in *ret_address) {
    socklen_t length = sizeof *ret_address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *ret_address = (struct sockaddr_in){.sin_family = AF_INET};
    inet_pton(AF_INET, host, &ret_address->sin_addr);
    if (fd < 0 || bind(fd, (struct sockaddr *)ret_address, length) != 0 || listen(fd, 8) != 0 ||
        getsockname(fd, (struct sockaddr *)ret_address, &length) != 0) {
        kit_fail("no listener");
    }
    return fd;
}

/* In a network of its own when apart: it says when it has one, and waits for its interface. */
static pid_t reader_start(bool apart, struct sockaddr_in *ret_address) {
    int up[2], go[2];
    char word;
    if (pipe(up) != 0 || pipe(go) != 0) {
        kit_fail("pipe");
    }
    pid_t pid = fork();
    if (pid == 0) {
        close(go[1]);
        bool made = !apart || unshare(CLONE_NEWNET) == 0;
        if (write(up[1], made ? "y" : "n", 1) != 1 || !made || read(go[0], &word, 1) != 1) {
            _exit(1);
        }
        int listener = listen_at(apart ? THEIRS : "127.0.0.1", ret_address);
        if (write(up[1], ret_address, sizeof *ret_address) != sizeof *ret_address) {
            _exit(1);
        }
        read_all(listener);
    }
    close(up[1]);
    if (pid < 0 || read(up[0], &word, 1) != 1 || word != 'y') {
        kit_skip("no network of its own (needs root)");
    }
    if (apart) {
        char line[512];
        snprintf(line, sizeof line,
                 "ip link add name mb0 type veth peer name mb1 netns %d && ip addr add " OURS
                 "/30 dev mb0 && ip link set mb0 up && nsenter -t %d -n ip addr add " THEIRS
                 "/30 dev mb1 && nsenter -t %d -n ip link set mb1 up",
                 (int)pid, (int)pid, (int)pid);
        if (system(line) != 0) { /* NOLINT: words of our own */
            kill(pid, SIGKILL);
            kit_skip("no pair of virtual interfaces");
        }
    }
    if (write(go[1], "g", 1) != 1 ||
        read(up[0], ret_address, sizeof *ret_address) != sizeof *ret_address) {
        kit_fail("the reader did not start");
    }
    close(up[0]);
    close(go[1]);
    return pid;
}

/* ---- the sender ------------------------------------------------------------------------------ */

/* Takes one completion. Returns: the result of a send, or -EAGAIN for a notification. */
static int take(struct sender *sender) {
    struct io_uring_cqe *cqe;
    int r = io_uring_wait_cqe(&sender->ring, &cqe);
    if (r != 0) {
        kit_fail("io_uring_wait_cqe");
    }
    r = cqe->res;
    if (cqe->flags & IORING_CQE_F_NOTIF) {
        sender->notes--;
        sender->copied += ((uint32_t)r & IORING_NOTIF_USAGE_ZC_COPIED) != 0;
        r = -EAGAIN;
    } else if (cqe->flags & IORING_CQE_F_MORE) {
        sender->notes++;
    }
    io_uring_cqe_seen(&sender->ring, cqe);
    return r;
}

static void send_ring(struct sender *sender, enum way way, uint64_t bytes) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(&sender->ring);
    const uint8_t *from = sender->pool + sender->at;
    if (way == ZERO) {
        io_uring_prep_send_zc(sqe, sender->fd, from, bytes, MSG_WAITALL,
                              IORING_SEND_ZC_REPORT_USAGE);
        sender->zeros++;
    } else {
        io_uring_prep_send(sqe, sender->fd, from, bytes, MSG_WAITALL);
    }
    if (io_uring_submit(&sender->ring) != 1) {
        kit_fail("io_uring_submit");
    }
    int r;
    while ((r = take(sender)) == -EAGAIN) {
    }
    if (r != (int)bytes) {
        kit_fail("a send fell short");
    }
    while (sender->notes >= NOTES_MAX) {
        (void)take(sender);
    }
}

static void send_one(struct sender *sender, enum way way, uint64_t bytes) {
    if (way != FILE_WAY) {
        send_ring(sender, way, bytes);
    } else {
        off_t at = (off_t)sender->at;
        for (uint64_t left = bytes; left > 0;) {
            ssize_t n = sendfile(sender->fd, sender->file, &at, left);
            if (n <= 0) {
                kit_fail("sendfile");
            }
            left -= (uint64_t)n;
        }
    }
    sender->at = sender->at + 2 * bytes > pool_mib * MiB ? 0 : sender->at + bytes;
}

/* What one run gave. */
struct sample {
    uint64_t cpu, rate; /* ps a byte; bytes a second */
};

static struct sample measure(struct sender *sender, const struct sockaddr_in *address, enum way way,
                             uint64_t bytes) {
    uint64_t sent = 0;
    sender->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sender->at = 0;
    if (connect(sender->fd, (const struct sockaddr *)address, sizeof *address) != 0) {
        kit_fail("connect");
    }
    for (uint32_t i = 0; i < 32; i++) {
        send_one(sender, way, bytes);
    }
    uint64_t start = kit_ns(), cpu = kit_cpu_ns();
    while (kit_ns() - start < millis * NS_PER_MS) {
        send_one(sender, way, bytes);
        sent += bytes;
    }
    uint64_t took = kit_ns() - start;
    while (sender->notes > 0) {
        (void)take(sender);
    }
    cpu = kit_cpu_ns() - cpu;
    close(sender->fd);
    return (struct sample){cpu * 1000 / sent, sent * 1000 / (took / NS_PER_MS)};
}

static void say(const char *place, enum way way, uint64_t bytes, const struct sample samples[]) {
    uint64_t cpus[ROUNDS_MAX], rates[ROUNDS_MAX];
    char name[64];
    for (uint32_t r = 0; r < rounds; r++) {
        cpus[r] = samples[r].cpu;
        rates[r] = samples[r].rate;
    }
    int used = snprintf(name, sizeof name, "%s_%s_%llu", place, way_names[way],
                        (unsigned long long)(bytes / KiB));
    kit_number(name, (double)kit_quantile(cpus, rounds, 0.5) / 1e3, "CPU s/GB");
    snprintf(name + used, sizeof name - (size_t)used, "_least");
    kit_number(name, (double)kit_quantile(cpus, rounds, 0) / 1e3, "CPU s/GB");
    snprintf(name + used, sizeof name - (size_t)used, "_rate");
    kit_number(name, (double)kit_quantile(rates, rounds, 0.5), "bytes/s");
}

/* The ways take turns, so that what the machine does besides meets all of them. */
static void place(struct sender *sender, const char *name, bool apart) {
    static struct sample samples[array_count(sizes)][WAYS][ROUNDS_MAX];
    struct sockaddr_in address;
    pid_t reader = reader_start(apart, &address);
    sender->zeros = sender->copied = 0;
    for (uint32_t r = 0; r < rounds; r++) {
        for (uint32_t i = 0; i < array_count(sizes) * WAYS; i++) {
            enum way way = (enum way)(i % WAYS);
            samples[i / WAYS][way][r] = measure(sender, &address, way, sizes[i / WAYS]);
        }
    }
    kill(reader, SIGKILL);
    (void)waitpid(reader, NULL, 0);
    for (uint32_t s = 0; s < array_count(sizes); s++) {
        for (uint32_t way = 0; way < WAYS; way++) {
            say(name, (enum way)way, sizes[s], samples[s][way]);
        }
    }
    char copied[64];
    snprintf(copied, sizeof copied, "%s_copied", name);
    kit_number(copied, (double)sender->copied / (double)sender->zeros, "of all sends without one");
}

int main(int argc, char **argv) {
    uint64_t apart = 0;
    const struct kit_option options[] = {
        {"--apart", &apart, "also over a pair of virtual interfaces (needs root)"},
        {"--millis", &millis, "of each measurement"},
        {"--pool", &pool_mib, "MiB of bodies that are sent in turn"},
        {"--rounds", &rounds, "of all of them, at most 32; medians and least are said"},
        {"--quick", &quick, "short, to see that it works"},
    };
    kit_options(argc, argv, options, array_count(options));
    millis = quick ? 5 : millis;
    rounds = quick ? 1 : rounds;
    if (rounds < 1 || rounds > ROUNDS_MAX || millis < 1 || pool_mib < 1 || pool_mib > 4096) {
        kit_skip("--rounds 1..32, --pool 1..4096");
    }
    if (apart && unshare(CLONE_NEWNET) != 0) {
        kit_skip("no network of its own (needs root)");
    }
    if (apart && system("ip link set lo up") != 0) { /* NOLINT: words of our own */
        kit_skip("no ip");
    }
    struct sender sender = {.file = memfd_create("bodies", MFD_CLOEXEC)};
    if (sender.file < 0 || ftruncate(sender.file, (off_t)(pool_mib * MiB)) != 0) {
        kit_fail("memfd");
    }
    sender.pool = mmap(NULL, pool_mib * MiB, PROT_READ | PROT_WRITE, MAP_SHARED, sender.file, 0);
    if (sender.pool == MAP_FAILED || io_uring_queue_init(256, &sender.ring, 0) != 0) {
        kit_skip("no io_uring");
    }
    memset(sender.pool, 7, pool_mib * MiB);
    (void)kit_cpus();
    kit_begin("bench_send");
    (void)kit_pin(0);
    place(&sender, "loopback", false);
    if (apart) {
        place(&sender, "veth", true);
    }
    kit_end();
    return 0;
}
