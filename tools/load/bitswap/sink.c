/* SPDX-License-Identifier: MIT */
#include "tools/load/bitswap/peer.h"
#include "tools/load/bitswap/swarm_plan.h"

#include "base/bits.h"
#include "base/clock.h"
#include "base/err.h"
#include "tools/load/machine.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* What attackers are aimed at when the honest client's calm figures are taken, so that they cost
 * the machine what they cost it otherwise, and the sink next to nothing. It shakes hands; from then
 * on, or once the peer breaks the rules, bytes are dropped as they come. The peer's first stream is
 * given a window nobody fills. It ends with its standard input. */

#define EVENTS_MAX   256
#define INBOX_BYTES  (256u * 1024u)
#define GUESTS_MAX   16384u
#define LISTEN_QUEUE 4096
#define WINDOW_BYTES (UINT32_C(1) << 30)
#define WINDOW_READS 3u /* its stream is open by then */

struct guest {
    struct peer peer;
    struct bytes unsent;
    uint32_t reads; /* since it was READY */
    int fd;
};

struct sink {
    struct peer_host host;
    struct secure_self *self;
    uint8_t *inbox;
    int epoll, listener;
};

static void on_ready(struct peer *peer) {
    (void)peer;
}

static void on_bitswap(struct peer *peer, struct peer_stream *stream, enum bitswap_event event,
                       const struct bitswap_step *step) {
    (void)peer;
    (void)stream;
    (void)event;
    (void)step;
}

static int sink_open(struct sink *sink, const char *port) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    uint8_t seed[SECURE_SEED_BYTES];
    socklen_t bytes = sizeof at;
    int one = 1;
    char why[200];
    at.sin_port = htons((uint16_t)strtoul(port, NULL, 10));
    *sink =
        (struct sink){.host = {.agent = "sink",
                               .window_max = 1u << 20,
                               .on_ready = on_ready,
                               .on_bitswap = on_bitswap,
                               .on_want_lost = on_ready},
                      .inbox = malloc(INBOX_BYTES),
                      .epoll = epoll_create1(EPOLL_CLOEXEC),
                      .listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    if (at.sin_port != 0) { /* a port that is chosen must be nobody's */
        (void)setsockopt(sink->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    }
    int r = machine_files(GUESTS_MAX, why, sizeof why);
    if (r != 0) {
        fprintf(stderr, "millrace-load: sink: %s\n", why); /* fewer will do for a while */
    }
    r = secure_seed_make(seed);
    r = r != 0 ? r : secure_self_open(seed, &sink->self);
    r = r != 0 ? r : peer_host_open(&sink->host);
    if (r == 0 && (sink->inbox == NULL || sink->epoll < 0 ||
                   bind(sink->listener, (struct sockaddr *)&at, sizeof at) != 0 ||
                   listen(sink->listener, LISTEN_QUEUE) != 0 ||
                   getsockname(sink->listener, (struct sockaddr *)&at, &bytes) != 0)) {
        r = -errno;
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    struct epoll_event input = {.events = EPOLLIN, .data.ptr = sink};
    if (r == 0) {
        (void)epoll_ctl(sink->epoll, EPOLL_CTL_ADD, sink->listener, &event);
        (void)epoll_ctl(sink->epoll, EPOLL_CTL_ADD, STDIN_FILENO, &input);
        printf("127.0.0.1:%u\n", ntohs(at.sin_port));
        fflush(stdout);
    }
    return err_raise(r);
}

static void guest_write(const struct sink *sink, struct guest *guest) {
    bool more = true;
    while (more) {
        if (bytes_left(&guest->unsent) == 0) {
            const uint8_t *from;
            size_t count = peer_write(&guest->peer, &from);
            if (count == 0) {
                break;
            }
            bytes_add(&guest->unsent, from, count);
        }
        ssize_t sent = send(guest->fd, guest->unsent.at + guest->unsent.sent,
                            bytes_left(&guest->unsent), MSG_NOSIGNAL);
        more = sent > 0;
        guest->unsent.sent += more ? (uint32_t)sent : 0;
    }
    bool full = bytes_left(&guest->unsent) > 0;
    struct epoll_event event = {.events = (uint32_t)EPOLLIN | (full ? (uint32_t)EPOLLOUT : 0),
                                .data.ptr = guest};
    (void)epoll_ctl(sink->epoll, EPOLL_CTL_MOD, guest->fd, &event);
}

static void guest_come(struct sink *sink) {
    int fd = accept4(sink->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct guest *guest = fd >= 0 ? calloc(1, sizeof *guest) : NULL;
    if (guest == NULL) {
        return;
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = guest};
    guest->fd = fd;
    peer_init(&guest->peer, &sink->host, sink->self, NULL, SECURE_NOISE, false);
    (void)epoll_ctl(sink->epoll, EPOLL_CTL_ADD, fd, &event);
    guest_write(sink, guest);
}

static void guest_read(struct sink *sink, struct guest *guest, size_t count) {
    struct peer *peer = &guest->peer;
    if (peer->state < PEER_READY) {
        peer_feed(peer, sink->inbox, count);
        return;
    }
    if (peer->state == PEER_READY && ++guest->reads <= WINDOW_READS) {
        uint8_t frame[YAMUX_HEAD_BYTES] = {0, 1};
        put_be32(frame + 4, 1); /* its first stream */
        put_be32(frame + 8, WINDOW_BYTES);
        peer_raw(peer, frame, sizeof frame);
    }
}

static void guest_turn(struct sink *sink, struct guest *guest) {
    ssize_t got = recv(guest->fd, sink->inbox, INBOX_BYTES, 0);
    if (got > 0) {
        guest_read(sink, guest, (size_t)got);
    }
    if (got == 0 || (got < 0 && errno != EAGAIN)) {
        peer_fini(&guest->peer);
        bytes_free(&guest->unsent);
        close(guest->fd);
        free(guest);
        return;
    }
    guest_write(sink, guest);
}

int sink_main(int count, char *const words[]) {
    static struct sink sink;
    if (count > 2 || (count == 2 && words[1][0] == '-')) {
        printf("usage: millrace-load sink [PORT]\n\n"
               "Shakes hands with libp2p peers and drops what they send; prints where it listens,\n"
               "and ends with its standard input.\n");
        return count > 2 ? 2 : 0;
    }
    int r = sink_open(&sink, count == 2 ? words[1] : "0");
    if (r != 0) {
        fprintf(stderr, "millrace-load: sink: %s\n", err_text(r));
        return 1;
    }
    for (;;) {
        struct epoll_event events[EVENTS_MAX];
        int ready = epoll_wait(sink.epoll, events, EVENTS_MAX, -1);
        sink.host.now_ns = clock_ns();
        for (int i = 0; i < ready; i++) {
            char byte;
            if (events[i].data.ptr == NULL) {
                guest_come(&sink);
            } else if (events[i].data.ptr != &sink) {
                guest_turn(&sink, events[i].data.ptr);
            } else if (read(STDIN_FILENO, &byte, 1) <= 0) {
                return 0;
            }
        }
    }
}
