/* SPDX-License-Identifier: MIT */

/* floor_echo (F1, F2) — the least that answering a request over TCP can cost.
 *
 *   accept -> multishot receive into provided buffers -> count frames by their length byte
 *          -> that many constant replies in one send -> one enter a turn
 *
 * Requests are TLV GETs (type, length, payload), replies VALUEs of --size bytes; nothing else of
 * the protocol is looked at. The reply is a static buffer, so nothing is copied; with --keys N each
 * body is copied from a table of N bodies, at a place the request names, which is what a store in
 * memory must do too. One thread, one ring with DEFER_TASKRUN, fixed files. --epoll does the same
 * with epoll, recv and send. No product code. */

#include "perf/kit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <liburing.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#define HEAD_BYTES   22u /* of a VALUE */
#define NAME_AT      12u /* where a GET's digest begins */
#define BUFFER_BYTES 4096u
#define BUFFER_COUNT 1024u
#define CONNS_MAX    65536u
#define TURN_MAX     (256u * 1024u) /* constant replies are laid out this far */

enum { OP_ACCEPT, OP_RECV, OP_SEND, OP_CLOSE };

struct conn {
    uint8_t *out; /* --keys: bodies of this turn */
    uint8_t *sent;
    uint32_t out_used, out_room, sent_room;
    uint32_t due; /* replies owed and not yet sent */
    uint8_t part[2 + 255];
    uint32_t part_used;
    bool send_out, listed;
};

static uint64_t port = 7400, size = 64, keys, use_epoll, quick;
static struct conn *conns;
static uint32_t *dirty, dirty_count;
static uint8_t *replies, *table;
static uint32_t reply_bytes, replies_max;
static struct io_uring ring;
static struct io_uring_buf_ring *buffers;
static uint8_t *buffer_bytes;
static _Atomic uint32_t stopping; /* the smoke test's client is done */

/* ---- frames -----------------------------------------------------------------------------------
 */

static void head_write(uint8_t *out) {
    uint32_t body = htonl((uint32_t)size);
    memset(out, 0, HEAD_BYTES);
    out[0] = 0x40;
    out[1] = HEAD_BYTES - 2;
    out[9] = 0x55;
    memcpy(out + 10, &body, 4);
    memcpy(out + 18, &body, 4);
}

static void out_grow(struct conn *conn) {
    conn->out_room = conn->out_room == 0 ? reply_bytes * 2 : conn->out_room * 2;
    conn->out = realloc(conn->out, conn->out_room); /* warm-up only: rooms never shrink */
    if (conn->out == NULL) {
        kit_fail("no memory for replies");
    }
}

/* One whole request. */
static void frame_answer(struct conn *conn, const uint8_t *frame) {
    conn->due++;
    if (keys == 0) {
        return;
    }
    uint64_t name;
    memcpy(&name, frame + NAME_AT, sizeof name);
    if (conn->out_room - conn->out_used < reply_bytes) {
        out_grow(conn);
    }
    memcpy(conn->out + conn->out_used, replies, HEAD_BYTES);
    memcpy(conn->out + conn->out_used + HEAD_BYTES, table + name % keys * size, size);
    conn->out_used += reply_bytes;
}

static void bytes_take(uint32_t index, const uint8_t *bytes, size_t count) {
    struct conn *conn = &conns[index];
    size_t at = 0;
    while (conn->part_used > 0 && at < count) {
        conn->part[conn->part_used++] = bytes[at++];
        if (conn->part_used >= 2 && conn->part_used == 2u + conn->part[1]) {
            frame_answer(conn, conn->part);
            conn->part_used = 0;
        }
    }
    while (count - at >= 2 && count - at >= 2u + bytes[at + 1]) {
        frame_answer(conn, bytes + at);
        at += 2u + bytes[at + 1];
    }
    if (at < count) {
        memcpy(conn->part, bytes + at, count - at);
        conn->part_used = (uint32_t)(count - at);
    }
    if (conn->due > 0 && !conn->listed) {
        conn->listed = true;
        dirty[dirty_count++] = index;
    }
}

/* What is to be sent now. Returns: its bytes, 0 for nothing. */
static size_t send_cut(struct conn *conn, const uint8_t **ret_bytes) {
    if (keys == 0) {
        uint32_t count = conn->due < replies_max ? conn->due : replies_max;
        conn->due -= count;
        *ret_bytes = replies;
        return (size_t)count * reply_bytes;
    }
    uint8_t *bytes = conn->out;
    uint32_t room = conn->out_room, used = conn->out_used;
    conn->out = conn->sent;
    conn->out_room = conn->sent_room;
    conn->sent = bytes;
    conn->sent_room = room;
    conn->out_used = 0;
    conn->due = 0;
    *ret_bytes = bytes;
    return used;
}

static void conn_reset(uint32_t index) {
    struct conn *conn = &conns[index];
    conn->out_used = 0;
    conn->due = 0;
    conn->part_used = 0;
    conn->send_out = false;
}

/* ---- io_uring ---------------------------------------------------------------------------------
 */

static struct io_uring_sqe *sqe_take(uint32_t op, uint32_t index) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
    while (sqe == NULL) {
        (void)io_uring_submit(&ring);
        sqe = io_uring_get_sqe(&ring);
    }
    io_uring_sqe_set_data64(sqe, (uint64_t)op << 32 | index);
    return sqe;
}

static void recv_arm(uint32_t index) {
    struct io_uring_sqe *sqe = sqe_take(OP_RECV, index);
    uint64_t data = sqe->user_data;
    io_uring_prep_recv_multishot(sqe, (int)index, NULL, 0, 0);
    sqe->flags |= IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT;
    sqe->buf_group = 0;
    sqe->user_data = data;
}

static void send_start(uint32_t index) {
    struct conn *conn = &conns[index];
    const uint8_t *bytes;
    size_t count = send_cut(conn, &bytes);
    struct io_uring_sqe *sqe = sqe_take(OP_SEND, index);
    uint64_t data = sqe->user_data;
    io_uring_prep_send(sqe, (int)index, bytes, count, MSG_WAITALL | MSG_NOSIGNAL);
    sqe->flags |= IOSQE_FIXED_FILE;
    sqe->user_data = data;
    conn->send_out = true;
}

static void accept_arm(int listener) {
    struct io_uring_sqe *sqe = sqe_take(OP_ACCEPT, 0);
    uint64_t data = sqe->user_data;
    io_uring_prep_multishot_accept_direct(sqe, listener, NULL, NULL, 0);
    sqe->user_data = data;
}

static void conn_close(uint32_t index) {
    struct io_uring_sqe *sqe = sqe_take(OP_CLOSE, index);
    uint64_t data = sqe->user_data;
    io_uring_prep_close_direct(sqe, index);
    sqe->user_data = data;
}

static void recv_done(const struct io_uring_cqe *cqe, uint32_t index) {
    if (cqe->flags & IORING_CQE_F_BUFFER) {
        uint32_t place = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
        uint8_t *bytes = buffer_bytes + (size_t)place * BUFFER_BYTES;
        if (cqe->res > 0) {
            bytes_take(index, bytes, (size_t)cqe->res);
        }
        io_uring_buf_ring_add(buffers, bytes, BUFFER_BYTES, (uint16_t)place, BUFFER_COUNT - 1, 0);
        io_uring_buf_ring_advance(buffers, 1);
    }
    if (cqe->flags & IORING_CQE_F_MORE) {
        return;
    }
    if (cqe->res > 0 || cqe->res == -ENOBUFS) {
        recv_arm(index);
    } else {
        conn_close(index);
    }
}

static void cqe_take(const struct io_uring_cqe *cqe, int listener) {
    uint32_t index = (uint32_t)cqe->user_data;
    switch (cqe->user_data >> 32) {
    case OP_ACCEPT:
        if (cqe->res >= 0) {
            conn_reset((uint32_t)cqe->res);
            recv_arm((uint32_t)cqe->res);
        }
        if ((cqe->flags & IORING_CQE_F_MORE) == 0) {
            accept_arm(listener);
        }
        return;
    case OP_RECV:
        recv_done(cqe, index);
        return;
    case OP_SEND:
        conns[index].send_out = false;
        if (conns[index].due > 0 && !conns[index].listed) {
            conns[index].listed = true;
            dirty[dirty_count++] = index;
        }
        return;
    default:
        return;
    }
}

static void ring_open(void) {
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE |
                 IORING_SETUP_SUBMIT_ALL,
        .cq_entries = 32768,
    };
    if (io_uring_queue_init_params(4096, &ring, &params) != 0) {
        kit_skip("io_uring with DEFER_TASKRUN is not to be had here");
    }
    if (io_uring_register_ring_fd(&ring) < 0) {
        kit_skip("io_uring takes no registered ring");
    }
    struct rlimit limit;
    uint32_t files = CONNS_MAX;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
        files = limit.rlim_cur < files ? (uint32_t)limit.rlim_cur : files;
    }
    if (io_uring_register_files_sparse(&ring, files) != 0) {
        kit_fail("io_uring takes no table of files");
    }
    buffers = kit_map(BUFFER_COUNT * sizeof(struct io_uring_buf));
    buffer_bytes = kit_map((size_t)BUFFER_COUNT * BUFFER_BYTES);
    struct io_uring_buf_reg reg = {.ring_addr = (uint64_t)(uintptr_t)buffers,
                                   .ring_entries = BUFFER_COUNT};
    if (io_uring_register_buf_ring(&ring, &reg, 0) != 0) {
        kit_fail("io_uring takes no receive buffers");
    }
    io_uring_buf_ring_init(buffers);
    for (uint32_t i = 0; i < BUFFER_COUNT; i++) {
        io_uring_buf_ring_add(buffers, buffer_bytes + (size_t)i * BUFFER_BYTES, BUFFER_BYTES,
                              (uint16_t)i, BUFFER_COUNT - 1, (int)i);
    }
    io_uring_buf_ring_advance(buffers, (int)BUFFER_COUNT);
}

static void serve_uring(int listener) {
    ring_open();
    accept_arm(listener);
    struct __kernel_timespec second = {.tv_sec = 1};
    while (!stopping) {
        struct io_uring_cqe *cqe;
        unsigned head, count = 0;
        (void)io_uring_submit_and_wait_timeout(&ring, &cqe, 1, &second, NULL);
        io_uring_for_each_cqe(&ring, head, cqe) {
            cqe_take(cqe, listener);
            count++;
        }
        io_uring_cq_advance(&ring, count);
        uint32_t waiting = dirty_count;
        dirty_count = 0;
        for (uint32_t i = 0; i < waiting; i++) {
            struct conn *conn = &conns[dirty[i]];
            conn->listed = false;
            if (conn->due > 0 && !conn->send_out) {
                send_start(dirty[i]);
            }
        }
    }
    io_uring_queue_exit(&ring);
}

/* ---- epoll ------------------------------------------------------------------------------------
 */

static void epoll_read(int fd) {
    static uint8_t bytes[64 * 1024];
    ssize_t got = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN)) {
        close(fd);
        return;
    }
    if (got < 0) {
        return;
    }
    struct conn *conn = &conns[fd];
    bytes_take((uint32_t)fd, bytes, (size_t)got);
    conn->listed = false;
    dirty_count = 0;
    while (conn->due > 0) {
        const uint8_t *out;
        size_t count = send_cut(conn, &out);
        /* Blocking: the generator always reads. */
        if (send(fd, out, count, MSG_NOSIGNAL) < 0) {
            return;
        }
    }
}

static void serve_epoll(int listener) {
    int set = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    if (set < 0 || epoll_ctl(set, EPOLL_CTL_ADD, listener, &event) != 0) {
        kit_fail("epoll");
    }
    while (!stopping) {
        struct epoll_event events[512];
        int count = epoll_wait(set, events, 512, 1000);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd != listener) {
                epoll_read(events[i].data.fd);
                continue;
            }
            int fd = accept(listener, NULL, NULL);
            if (fd >= 0 && fd < (int)CONNS_MAX) {
                conn_reset((uint32_t)fd);
                event.data.fd = fd;
                (void)epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
            }
        }
    }
    close(set);
}

/* ---- set-up -----------------------------------------------------------------------------------
 */

static int listener_open(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)(quick ? 0 : port)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    /* Accepted sockets inherit it; fixed files cannot be asked one by one. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    socklen_t bytes = sizeof at;
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(fd, 16384) != 0 ||
        getsockname(fd, (struct sockaddr *)&at, &bytes) != 0) {
        kit_fail("cannot listen on that port");
    }
    port = ntohs(at.sin_port);
    return fd;
}

static void memory_take(void) {
    reply_bytes = HEAD_BYTES + (uint32_t)size;
    replies_max = reply_bytes * 64 > TURN_MAX ? 64 : TURN_MAX / reply_bytes;
    replies = kit_map((size_t)replies_max * reply_bytes);
    for (uint32_t i = 0; i < replies_max; i++) {
        head_write(replies + (size_t)i * reply_bytes);
    }
    if (keys > 0) {
        struct kit_random random = {.state = 1};
        table = kit_map(keys * size + sizeof(uint64_t));
        for (uint64_t at = 0; at + 8 <= keys * size; at += 8) {
            uint64_t word = kit_random(&random);
            memcpy(table + at, &word, sizeof word);
        }
    }
    conns = calloc(CONNS_MAX, sizeof *conns);
    dirty = calloc(CONNS_MAX, sizeof *dirty);
    if (conns == NULL || dirty == NULL) {
        kit_fail("no memory for connections");
    }
}

/* The smoke test: requests cut in odd places come back as that many replies. */
static void *ask(void *unused) {
    (void)unused;
    enum { REQUESTS = 1000, REQUEST_BYTES = 46 };
    static uint8_t out[REQUESTS * REQUEST_BYTES], in[64 * 1024];
    for (uint32_t i = 0; i < REQUESTS; i++) {
        out[i * REQUEST_BYTES] = 0x20;
        out[i * REQUEST_BYTES + 1] = REQUEST_BYTES - 2;
    }
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&at, sizeof at) != 0) {
        kit_fail("cannot connect to itself");
    }
    for (size_t sent = 0; sent < sizeof out;) {
        size_t piece = sizeof out - sent < 777 ? sizeof out - sent : 777;
        ssize_t r = send(fd, out + sent, piece, MSG_NOSIGNAL);
        sent += r > 0 ? (size_t)r : sizeof out;
    }
    size_t want = (size_t)REQUESTS * reply_bytes, got = 0;
    while (got < want) {
        ssize_t r = recv(fd, in, sizeof in, 0);
        if (r <= 0) {
            kit_fail("the floor closed its own connection");
        }
        got += (size_t)r;
    }
    if (got != want) {
        kit_fail("more bytes came than were asked for");
    }
    close(fd);
    stopping = 1;
    return NULL;
}

int main(int argc, char **argv) {
    const struct kit_option options[] = {
        {"--port", &port, "port on 127.0.0.1"},
        {"--size", &size, "bytes of a reply's body"},
        {"--keys", &keys, "copy bodies from a table of this many (0: one constant reply)"},
        {"--epoll", &use_epoll, "epoll, recv and send instead of io_uring"},
        {"--quick", &quick, "ask itself a thousand times and end"},
    };
    kit_options(argc, argv, options, array_count(options));
    memory_take();
    int listener = listener_open();
    pthread_t client;
    if (quick && pthread_create(&client, NULL, ask, NULL) != 0) {
        kit_fail("no thread");
    }
    if (use_epoll) {
        serve_epoll(listener);
    } else {
        serve_uring(listener);
    }
    if (quick) {
        pthread_join(client, NULL);
    }
    close(listener);
    return 0;
}
