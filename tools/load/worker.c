/* SPDX-License-Identifier: MIT */
#include "tools/load/worker.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/must.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#define HELLO_LIMIT_NS (10 * NS_PER_S)
#define FILL_LIMIT_NS  (30 * NS_PER_S) /* without a single answer */
#define WAIT_MAX_NS    (100 * NS_PER_MS)

enum op { OP_RECV, OP_SEND };

static uint64_t tag_of(const struct worker *worker, const struct conn *conn, enum op op) {
    return (uint64_t)op << 32 | (uint64_t)(conn - worker->conns);
}

static struct io_uring_sqe *sqe_take(struct worker *worker) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(&worker->ring);
    while (sqe == NULL) {
        (void)io_uring_submit(&worker->ring);
        sqe = io_uring_get_sqe(&worker->ring);
    }
    return sqe;
}

static void sqe_aim(struct worker *worker, struct io_uring_sqe *sqe, struct conn *conn,
                    enum op op) {
    io_uring_sqe_set_data64(sqe, tag_of(worker, conn, op));
    if (worker->files_registered) {
        sqe->fd = (int)(conn - worker->conns);
        sqe->flags |= IOSQE_FIXED_FILE;
    }
}

static void recv_arm(struct worker *worker, struct conn *conn) {
    struct io_uring_sqe *sqe = sqe_take(worker);
    io_uring_prep_recv_multishot(sqe, conn->fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = 0;
    sqe_aim(worker, sqe, conn, OP_RECV);
    conn->recv_out = true;
}

static void send_start(struct worker *worker, struct conn *conn) {
    client_run_close(worker, conn);
    struct io_uring_sqe *sqe = sqe_take(worker);
    struct msghdr *message = outbox_message(&conn->outbox);
    if (message != NULL) {
        io_uring_prep_sendmsg(sqe, conn->fd, message, MSG_WAITALL | MSG_NOSIGNAL);
    } else {
        io_uring_prep_send(sqe, conn->fd, conn->outbox.bytes, conn->outbox.used,
                           MSG_WAITALL | MSG_NOSIGNAL);
    }
    sqe_aim(worker, sqe, conn, OP_SEND);
    conn->send_out = true;
}

static void unsent_flush(struct worker *worker) {
    struct conn *conn = worker->unsent;
    worker->unsent = NULL;
    while (conn != NULL) {
        struct conn *next = conn->unsent_next;
        conn->unsent_listed = false;
        if (conn->state != CONN_DEAD && !conn->send_out && !outbox_empty(&conn->outbox)) {
            send_start(worker, conn);
        }
        conn = next;
    }
}

static void send_done(struct worker *worker, struct conn *conn, int result) {
    conn->send_out = false;
    if (conn->state == CONN_DEAD) {
        return;
    }
    if (result < 0 || (size_t)result != outbox_bytes(&conn->outbox)) {
        client_dead(worker, conn, result < 0 ? err_text(result) : "a send was cut short");
        return;
    }
    outbox_clear(&conn->outbox);
    if (conn->inflight < conn->limit) {
        client_able(worker, conn);
    }
}

/* Returns: buffers to give back, 0 or 1. */
static int recv_done(struct worker *worker, struct conn *conn, const struct io_uring_cqe *cqe,
                     int given) {
    bool had_buffer = (cqe->flags & IORING_CQE_F_BUFFER) != 0;
    if ((cqe->flags & IORING_CQE_F_MORE) == 0) {
        conn->recv_out = false;
    }
    if (had_buffer) {
        uint32_t place = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
        uint8_t *bytes = worker->buffer_bytes + (size_t)place * worker->buffer_size;
        if (cqe->res > 0) {
            client_bytes(worker, conn, bytes, (size_t)cqe->res);
        }
        io_uring_buf_ring_add(worker->buffers, bytes, worker->buffer_size, (uint16_t)place,
                              (int)worker->buffer_count - 1, given);
    }
    if (cqe->res == 0) {
        client_dead(worker, conn, "the server closed the connection");
    } else if (cqe->res < 0 && cqe->res != -ENOBUFS) {
        client_dead(worker, conn, err_text(cqe->res));
    }
    return had_buffer;
}

/* A connection whose receive ended (out of buffers, or the kernel's patience) gets a new one, but
 * only after the buffers of this turn are back. */
static void reap(struct worker *worker) {
    struct io_uring_cqe *cqe;
    unsigned head, count = 0;
    int given = 0;
    uint32_t ended[64];
    uint32_t ended_count = 0;
    io_uring_for_each_cqe(&worker->ring, head, cqe) {
        struct conn *conn = &worker->conns[(uint32_t)cqe->user_data];
        count++;
        if (cqe->user_data >> 32 == OP_SEND) {
            send_done(worker, conn, cqe->res);
            continue;
        }
        given += recv_done(worker, conn, cqe, given);
        if (!conn->recv_out && conn->state != CONN_DEAD) {
            ended[ended_count++] = (uint32_t)(conn - worker->conns);
            if (ended_count == array_count(ended)) {
                break;
            }
        }
    }
    io_uring_buf_ring_advance(worker->buffers, given);
    io_uring_cq_advance(&worker->ring, count);
    for (uint32_t i = 0; i < ended_count; i++) {
        recv_arm(worker, &worker->conns[ended[i]]);
    }
}

/* One turn; waits for a completion, but not past until_ns. */
static void turn(struct worker *worker, uint64_t until_ns) {
    client_write(worker);
    unsent_flush(worker);
    if (worker->plan->spin) {
        (void)io_uring_submit(&worker->ring);
        (void)io_uring_get_events(&worker->ring);
    } else {
        uint64_t due_ns = client_due_ns(worker);
        due_ns = due_ns < until_ns ? due_ns : until_ns;
        uint64_t wait_ns = due_ns > worker->now_ns ? due_ns - worker->now_ns : 0;
        wait_ns = wait_ns < WAIT_MAX_NS ? wait_ns : WAIT_MAX_NS;
        struct __kernel_timespec wait = {.tv_sec = 0, .tv_nsec = (long long)wait_ns};
        struct io_uring_cqe *cqe;
        (void)io_uring_submit_and_wait_timeout(&worker->ring, &cqe, 1, &wait, NULL);
    }
    worker->now_ns = clock_ns();
    reap(worker);
}

static int greet(struct worker *worker) {
    uint64_t limit_ns = clock_ns() + HELLO_LIMIT_NS;
    worker->stopping = true; /* no requests yet */
    for (uint32_t i = 0; i < worker->conn_count; i++) {
        recv_arm(worker, &worker->conns[i]);
    }
    for (;;) {
        uint32_t waiting = 0;
        for (uint32_t i = 0; i < worker->conn_count; i++) {
            waiting += worker->conns[i].state == CONN_HELLO;
        }
        if (worker->alive < worker->conn_count) {
            snprintf(worker->failure, sizeof worker->failure, "%s: a connection was refused: %s",
                     worker->plan->to_text, worker->fault);
            return -ECONNRESET;
        }
        if (waiting == 0) {
            break;
        }
        if (clock_ns() > limit_ns) {
            snprintf(worker->failure, sizeof worker->failure,
                     "%s: %u connections got no answer to HELLO within 10 s", worker->plan->to_text,
                     waiting);
            return -ETIMEDOUT;
        }
        turn(worker, limit_ns);
    }
    for (uint32_t i = 0; i < worker->conn_count; i++) {
        client_able(worker, &worker->conns[i]);
    }
    worker->stopping = false;
    return 0;
}

static uint64_t thread_cpu_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static void fill_run(struct worker *worker) {
    uint64_t left = worker->fill_left, moved_ns = clock_ns();
    while (worker->fill_left > 0 && worker->alive > 0) {
        turn(worker, UINT64_MAX);
        if (worker->fill_left != left) {
            left = worker->fill_left;
            moved_ns = worker->now_ns;
        } else if (worker->now_ns - moved_ns > FILL_LIMIT_NS) {
            snprintf(worker->failure, sizeof worker->failure,
                     "filling: no block was acknowledged for 30 s");
            return;
        }
    }
    if (worker->fill_left > 0) {
        snprintf(worker->failure, sizeof worker->failure, "filling: %s", worker->fault);
    }
}

static void measure_run(struct worker *worker, uint64_t start_ns) {
    const struct plan *plan = worker->plan;
    worker->from_ns = start_ns + (uint64_t)(plan->warmup * (double)NS_PER_S);
    worker->to_ns = worker->from_ns + (uint64_t)(plan->seconds * (double)NS_PER_S);
    for (uint32_t class = 0; class < TALLY_CLASSES; class ++) {
        if (worker->paced[class]) {
            double rate = (double)NS_PER_S / worker->pace[class].gap_ns;
            pace_init(&worker->pace[class], start_ns, rate,
                      (double)worker->index / (double)plan->threads, plan->poisson,
                      plan->seed * 131 + worker->index * TALLY_CLASSES + class);
        }
    }
    uint64_t cpu_ns = 0;
    while (worker->now_ns < worker->to_ns && worker->alive > 0) {
        turn(worker, worker->now_ns < worker->from_ns ? worker->from_ns : worker->to_ns);
        if (cpu_ns == 0 && worker->now_ns >= worker->from_ns) {
            cpu_ns = thread_cpu_ns();
        }
    }
    worker->cpu_ns = thread_cpu_ns() - cpu_ns;
    if (plan->rate > 0) {
        /* What fell due since the last turn belongs to the window, however late we look. */
        uint64_t now_ns = worker->now_ns;
        worker->now_ns = worker->to_ns - 1;
        client_write(worker);
        worker->now_ns = now_ns;
    }
    worker->stopping = true;
    uint64_t drain_ns = worker->to_ns + (uint64_t)(plan->drain * (double)NS_PER_S);
    while (worker->inflight > 0 && worker->alive > 0 && worker->now_ns < drain_ns) {
        turn(worker, drain_ns);
    }
    client_finish(worker);
}

static void pin(struct worker *worker) {
    const struct plan *plan = worker->plan;
    if (plan->cpu_count == 0) {
        return;
    }
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(plan->cpus[worker->index % plan->cpu_count], &set);
    int r = pthread_setaffinity_np(pthread_self(), sizeof set, &set);
    if (r != 0) {
        snprintf(worker->failure, sizeof worker->failure, "cannot run on CPU %u: %s",
                 plan->cpus[worker->index % plan->cpu_count], err_text(-r));
    }
}

void *worker_main(void *argument) {
    struct worker *worker = argument;
    (void)prctl(PR_SET_TIMERSLACK, 1); /* intended times are meant to the microsecond */
    pin(worker);
    if (worker->failure[0] == '\0' && worker_open(worker) == 0) {
        (void)greet(worker);
    }
    pthread_barrier_wait(worker->barrier);
    pthread_barrier_wait(worker->barrier); /* start_ns is set in between; 0: somebody failed */
    if (*worker->start_ns != 0) {
        worker->now_ns = clock_ns();
        if (worker->plan->filling) {
            fill_run(worker);
        } else {
            measure_run(worker, *worker->start_ns);
        }
    }
    worker_close(worker);
    return NULL;
}
