/* SPDX-License-Identifier: MIT */
#include "tools/load/worker.h"

#include "base/bits.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/must.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define OUTBOX_MAX  (64u * 1024u)
#define BUFFERS_MAX (16u * 1024u * 1024u)
#define PARTS_MAX   1024u /* IOV_MAX */
#define BACKLOG_MAX (1u << 20)

static uint32_t power_of_two(uint64_t at_least, uint32_t low, uint32_t high) {
    uint32_t power = low;
    while (power < at_least && power < high) {
        power *= 2;
    }
    return power;
}

static int fail(struct worker *worker, int result, const char *what) {
    snprintf(worker->failure, sizeof worker->failure, "%s: %s", what, err_text(result));
    return err_raise(result);
}

/* ---- memory -----------------------------------------------------------------------------------
 */

static uint32_t request_room(const struct worker *worker) {
    const struct plan *plan = worker->plan;
    uint32_t room = worker->wire->head_max + 4 + plan->have * 34;
    if (plan->filling || plan->writes > 0) {
        room += plan->size <= INLINE_BODY_MAX ? plan->size : CONTENT_STAMP_BYTES;
    }
    return room;
}

static int conns_carve(struct worker *worker) {
    const struct plan *plan = worker->plan;
    uint32_t depth = plan->depth;
    uint32_t places = power_of_two(depth, 1, PLAN_DEPTH_MAX);
    bool pointing = (plan->filling || plan->writes > 0) && plan->size > INLINE_BODY_MAX;
    uint32_t parts = pointing ? (2 * depth + 1 < PARTS_MAX ? 2 * depth + 1 : PARTS_MAX) : 0;
    worker->free_mask = places - 1;
    worker->request_room = request_room(worker);
    size_t room = (size_t)depth * worker->request_room;
    room = room < OUTBOX_MAX ? room : OUTBOX_MAX;
    room = room < worker->request_room ? worker->request_room : room;
    room = (room + 15) & ~(size_t)15;
    size_t slots_bytes = depth * sizeof(struct slot);
    size_t parts_bytes = parts * sizeof(struct iovec);
    size_t free_bytes = (places * sizeof(uint16_t) + 15) & ~(size_t)15;
    size_t one = slots_bytes + parts_bytes + free_bytes + room;
    one = (one + 15) & ~(size_t)15;
    worker->conns = calloc(worker->conn_count, sizeof *worker->conns);
    worker->memory = calloc(worker->conn_count, one);
    if (worker->conns == NULL || worker->memory == NULL) {
        return fail(worker, -ENOMEM, "connections times depth do not fit into memory");
    }
    for (uint32_t i = 0; i < worker->conn_count; i++) {
        struct conn *conn = &worker->conns[i];
        uint8_t *at = (uint8_t *)worker->memory + (size_t)i * one;
        conn->fd = -1;
        conn->state = CONN_DEAD;
        conn->limit = depth;
        conn->slots = (struct slot *)(void *)at;
        at += slots_bytes;
        struct iovec *iov = parts > 0 ? (struct iovec *)(void *)at : NULL;
        at += parts_bytes;
        conn->free = (uint16_t *)(void *)at;
        at += free_bytes;
        outbox_init(&conn->outbox, at, (uint32_t)room, iov, parts);
        for (uint32_t s = 0; s < depth; s++) {
            conn->slots[s].id = s;
            conn->free[conn->free_tail++] = (uint16_t)s;
        }
        wire_reader_init(&conn->reader);
    }
    return 0;
}

static int lists_take(struct worker *worker) {
    const struct plan *plan = worker->plan;
    worker->scratch = malloc(plan->size + CONTENT_DIGEST_BYTES);
    worker->digests = calloc(plan->have + 1, sizeof *worker->digests);
    worker->again = calloc((size_t)worker->conn_count * plan->depth, sizeof *worker->again);
    if (worker->scratch == NULL || worker->digests == NULL || worker->again == NULL) {
        return fail(worker, -ENOMEM, "no memory");
    }
    for (uint32_t class = 0; class < TALLY_CLASSES; class ++) {
        if (!worker->paced[class]) {
            continue;
        }
        /* One second's worth: a server that far behind is not catching up. */
        double rate = (double)NS_PER_S / worker->pace[class].gap_ns;
        uint32_t room = power_of_two((uint64_t)rate, 1024, BACKLOG_MAX);
        worker->backlog[class].mask = room - 1;
        worker->backlog[class].due = calloc(room, sizeof(uint64_t));
        if (worker->backlog[class].due == NULL) {
            return fail(worker, -ENOMEM, "no memory for the backlog");
        }
    }
    return 0;
}

/* ---- the ring ---------------------------------------------------------------------------------
 */

static int buffers_open(struct worker *worker) {
    const struct plan *plan = worker->plan;
    uint64_t turn_bytes = (uint64_t)plan->depth * (plan->size + 64u);
    worker->buffer_size = power_of_two(turn_bytes, 512, 64 * 1024);
    worker->buffer_count = power_of_two(worker->conn_count, 64, BUFFERS_MAX / worker->buffer_size);
    worker->buffer_count = power_of_two(worker->buffer_count, 64, 8192);
    worker->buffer_ring_bytes = worker->buffer_count * sizeof(struct io_uring_buf);
    worker->buffers = mmap(NULL, worker->buffer_ring_bytes, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    worker->buffer_bytes = malloc((size_t)worker->buffer_size * worker->buffer_count);
    if (worker->buffers == MAP_FAILED || worker->buffer_bytes == NULL) {
        return fail(worker, -ENOMEM, "no memory for receive buffers");
    }
    struct io_uring_buf_reg reg = {
        .ring_addr = (uint64_t)(uintptr_t)worker->buffers,
        .ring_entries = worker->buffer_count,
    };
    int r = io_uring_register_buf_ring(&worker->ring, &reg, 0);
    if (r < 0) {
        return fail(worker, r, "io_uring takes no receive buffers");
    }
    io_uring_buf_ring_init(worker->buffers);
    for (uint32_t i = 0; i < worker->buffer_count; i++) {
        io_uring_buf_ring_add(
            worker->buffers, worker->buffer_bytes + (size_t)i * worker->buffer_size,
            worker->buffer_size, (uint16_t)i, (int)worker->buffer_count - 1, (int)i);
    }
    io_uring_buf_ring_advance(worker->buffers, (int)worker->buffer_count);
    return 0;
}

static int ring_setup(struct worker *worker) {
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE |
                 IORING_SETUP_SUBMIT_ALL,
        .cq_entries = power_of_two((uint64_t)worker->conn_count * 3, 1024, 32768),
    };
    int r = io_uring_queue_init_params(power_of_two(worker->conn_count * 2, 64, 2048),
                                       &worker->ring, &params);
    if (r < 0) {
        return fail(worker, r, "io_uring cannot be set up here (see: millrace doctor)");
    }
    worker->ring_open = true;
    r = io_uring_register_ring_fd(&worker->ring);
    if (r < 0) {
        return fail(worker, r, "io_uring takes no ring of its own");
    }
    return err_pass(buffers_open(worker));
}

/* ---- connections ------------------------------------------------------------------------------
 */

static int source_bind(const struct worker *worker, int fd, uint32_t number) {
    if (worker->plan->sources <= 1 || worker->plan->to.ss_family != AF_INET) {
        return 0;
    }
    int one = 1;
    struct sockaddr_in from = {
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK + number % worker->plan->sources),
    };
    /* The port is then chosen at connect, when the other end is known: 28k to each source. */
    if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one) != 0 ||
        bind(fd, (struct sockaddr *)&from, sizeof from) != 0) {
        return -errno;
    }
    return 0;
}

static int conn_connect(struct worker *worker, struct conn *conn, uint32_t number) {
    const struct plan *plan = worker->plan;
    int one = 1;
    struct timeval limit = {.tv_sec = 10};
    conn->fd = socket(plan->to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (conn->fd < 0) {
        return err_raise(-errno);
    }
    int r = source_bind(worker, conn->fd, number);
    if (r != 0) {
        return err_raise(r);
    }
    (void)setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    (void)setsockopt(conn->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(conn->fd, (const struct sockaddr *)&plan->to, plan->to_bytes) != 0) {
        /* SO_SNDTIMEO makes a connect that waits too long look like one in progress. */
        return err_raise(errno == EINPROGRESS ? -ETIMEDOUT : -errno);
    }
    return 0;
}

static const char *connect_advice(int result) {
    switch (result) {
    case -EMFILE:
    case -ENFILE:
        return " (raise the limit of open files: ulimit -n)";
    case -EADDRNOTAVAIL:
        return " (the local ports are used up: spread with --sources 4)";
    case -ECONNREFUSED:
        return " (is the server running there?)";
    default:
        return "";
    }
}

/* Connection classes follow their weights evenly along the numbers, so every thread has its share.
 */
static uint8_t class_of(const struct plan *plan, uint32_t number) {
    uint32_t sum = 0;
    for (uint32_t class = 0; class < TALLY_CLASSES; class ++) {
        sum += plan->class_weight[class];
    }
    if (sum == 0) {
        return 2; /* normal */
    }
    /* The n-th connection lies at this place of the sum of weights. */
    uint64_t place = ((uint64_t)number * 2 + 1) * sum / ((uint64_t)plan->conns * 2);
    uint8_t class = 0;
    while (place >= plan->class_weight[class]) {
        place -= plan->class_weight[class];
        class ++;
    }
    return class;
}

static int conns_open(struct worker *worker) {
    const struct plan *plan = worker->plan;
    int *fds = calloc(worker->conn_count, sizeof *fds);
    if (fds == NULL) {
        return fail(worker, -ENOMEM, "no memory");
    }
    for (uint32_t i = 0; i < worker->conn_count; i++) {
        struct conn *conn = &worker->conns[i];
        uint32_t number = i * plan->threads + worker->index;
        int r = conn_connect(worker, conn, number);
        if (r != 0) {
            snprintf(worker->failure, sizeof worker->failure,
                     "cannot connect to %s (connection %u of %u): %s%s", plan->to_text, number + 1,
                     plan->conns, err_text(r), connect_advice(r));
            free(fds);
            return err_pass(r);
        }
        fds[i] = conn->fd;
        conn->class = class_of(plan, number);
        worker->alive++;
        client_hello(worker, conn);
        client_able(worker, conn);
    }
    /* Registered files save a look-up each op; without them all works as well. */
    worker->files_registered = io_uring_register_files(&worker->ring, fds, worker->conn_count) == 0;
    free(fds);
    return 0;
}

/* A class's rate is its own where --class gave one, else its share of --rate; a thread's part goes
 * with its connections. */
static void paces_init(struct worker *worker) {
    const struct plan *plan = worker->plan;
    if (plan->rate <= 0 || plan->filling) {
        return;
    }
    uint32_t total[TALLY_CLASSES] = {0}, mine[TALLY_CLASSES] = {0}, shared = 0;
    for (uint32_t number = 0; number < plan->conns; number++) {
        uint8_t class = class_of(plan, number);
        total[class]++;
        mine[class] += number % plan->threads == worker->index;
        shared += plan->class_rate[class] <= 0;
    }
    for (uint32_t class = 0; class < TALLY_CLASSES; class ++) {
        if (mine[class] == 0) {
            continue;
        }
        double rate = plan->class_rate[class] > 0
                          ? plan->class_rate[class]
                          : plan->rate * (double)total[class] / (double)shared;
        worker->paced[class] = true;
        worker->pace[class].gap_ns =
            (double)NS_PER_S / (rate * (double)mine[class] / (double)total[class]);
    }
}

int worker_open(struct worker *worker) {
    const struct plan *plan = worker->plan;
    worker->wire = plan->wire;
    worker->conn_count =
        plan->conns / plan->threads + (worker->index < plan->conns % plan->threads);
    worker->draw.state = draw_mix(plan->seed * 977 + worker->index + (plan->filling ? 500 : 0));
    worker->fresh = draw_mix(clock_wall_us() * 64 + worker->index) | UINT64_C(1) << 63;
    worker->from_ns = UINT64_MAX;
    if (plan->zipf_s > 0) {
        zipf_init(&worker->zipf, plan->keys, plan->zipf_s);
    }
    paces_init(worker);
    int r = conns_carve(worker);
    r = r != 0 ? r : lists_take(worker);
    r = r != 0 ? r : ring_setup(worker);
    r = r != 0 ? r : conns_open(worker);
    return r;
}

void worker_close(struct worker *worker) {
    if (worker->ring_open) {
        io_uring_queue_exit(&worker->ring);
        worker->ring_open = false;
    }
    for (uint32_t i = 0; worker->conns != NULL && i < worker->conn_count; i++) {
        if (worker->conns[i].fd >= 0) {
            close(worker->conns[i].fd);
        }
        wire_reader_fini(&worker->conns[i].reader);
    }
    for (uint32_t class = 0; class < TALLY_CLASSES; class ++) {
        free(worker->backlog[class].due);
    }
    if (worker->buffers != NULL && worker->buffers != MAP_FAILED) {
        munmap(worker->buffers, worker->buffer_ring_bytes);
    }
    free(worker->buffer_bytes);
    free(worker->again);
    free(worker->digests);
    free(worker->scratch);
    free(worker->memory);
    free(worker->conns);
}
