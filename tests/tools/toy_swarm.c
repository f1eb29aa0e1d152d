/* SPDX-License-Identifier: MIT */
#include "tests/tools/toy_swarm.h"

#include "base/clock.h"
#include "base/must.h"
#include "tools/load/bitswap/catalog.h"
#include "tools/load/bitswap/peer.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define GUESTS_MAX 256u

struct guest {
    struct peer peer;
    struct house *house;
    struct peer_stream *answers;
    struct bytes unsent;
    int fd;
};

struct house {
    struct toy_swarm *toy;
    struct catalog catalog;
    struct peer_host host;
    struct secure_self *self;
    struct guest *guests[GUESTS_MAX];
    uint32_t count;
    uint8_t *block;
};

static struct guest *guest_of(struct peer *peer) {
    return container_of(peer, struct guest, peer);
}

static void on_ready(struct peer *peer) {
    must(peer_open(peer, STREAM_ANSWER, peer_bitswap, &guest_of(peer)->answers));
}

/* A message of its own for each answer; the field's bytes follow. */
static void message(struct bytes *out, size_t bytes) {
    uint8_t *at = bytes_room(out, 16);
    size_t used = bitswap_put_length((uint32_t)bytes + BITSWAP_EMPTY_LIST_BYTES, at);
    used += bitswap_put_empty_list(at + used);
    out->used += (uint32_t)used;
}

static void on_bitswap(struct peer *peer, struct peer_stream *stream, enum bitswap_event event,
                       const struct bitswap_step *step) {
    struct guest *guest = guest_of(peer);
    struct house *house = guest->house;
    struct bytes *out = &guest->answers->out;
    (void)stream;
    if (event != BITSWAP_WANT || step->want.cancel) {
        return;
    }
    house->toy->wants++;
    uint32_t index = catalog_find(&house->catalog, &step->want.key);
    const struct content *content = house->toy->content;
    if (index == CATALOG_NONE || step->want.have) {
        uint8_t presence[BITSWAP_PRESENCE_MAX];
        size_t bytes = bitswap_put_presence(&step->want.key, &step->want.form,
                                            index != CATALOG_NONE, presence);
        message(out, bytes);
        bytes_add(out, presence, bytes);
    } else {
        uint8_t head[BITSWAP_BLOCK_HEAD_MAX];
        content_copy(content, index, house->block);
        message(out, bitswap_block_size(&step->want.key, &step->want.form, content->bytes));
        bytes_add(out, head,
                  bitswap_put_block_head(&step->want.key, &step->want.form, content->bytes, head));
        bytes_add(out, house->block, content->bytes);
    }
    peer_queue(peer, guest->answers);
}

static void on_want_lost(struct peer *peer) {
    (void)peer;
}

static void guest_write(struct guest *guest) {
    for (;;) {
        if (bytes_left(&guest->unsent) == 0) {
            const uint8_t *from;
            size_t count = peer_write(&guest->peer, &from);
            if (count == 0) {
                return;
            }
            bytes_add(&guest->unsent, from, count);
        }
        ssize_t sent = send(guest->fd, guest->unsent.at + guest->unsent.sent,
                            bytes_left(&guest->unsent), MSG_NOSIGNAL);
        if (sent <= 0) {
            return;
        }
        guest->unsent.sent += (uint32_t)sent;
    }
}

static void guest_free(struct house *house, uint32_t i) {
    struct guest *guest = house->guests[i];
    house->guests[i] = house->guests[--house->count];
    peer_fini(&guest->peer);
    bytes_free(&guest->unsent);
    close(guest->fd);
    free(guest);
    house->toy->closed++;
}

static void guest_come(struct house *house) {
    int fd = accept4(house->toy->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        return;
    }
    struct guest *guest = calloc(1, sizeof *guest);
    if (guest == NULL || house->count == GUESTS_MAX) {
        free(guest);
        close(fd);
        return;
    }
    guest->fd = fd;
    guest->house = house;
    peer_init(&guest->peer, &house->host, house->self, NULL, SECURE_NOISE, false);
    guest_write(guest);
    house->guests[house->count++] = guest;
    house->toy->accepted++;
}

static void guest_turn(struct house *house, uint32_t i, short events) {
    static uint8_t inbox[65536];
    struct guest *guest = house->guests[i];
    ssize_t got = events & (POLLIN | POLLHUP) ? recv(guest->fd, inbox, sizeof inbox, 0) : 1;
    if (got > 0 && events & POLLIN) {
        peer_feed(&guest->peer, inbox, (size_t)got);
    }
    guest_write(guest);
    if (got <= 0 || guest->peer.state == PEER_DEAD) {
        guest_free(house, i);
    }
}

static void house_run(struct house *house) {
    while (!house->toy->stop) {
        struct pollfd fds[GUESTS_MAX + 1];
        uint32_t count = house->count;
        fds[count] = (struct pollfd){.fd = house->toy->listener, .events = POLLIN};
        for (uint32_t i = 0; i < count; i++) {
            bool full = bytes_left(&house->guests[i]->unsent) > 0;
            fds[i] = (struct pollfd){.fd = house->guests[i]->fd,
                                     .events = (short)(full ? POLLOUT : POLLIN)};
        }
        poll(fds, count + 1, 20);
        house->host.now_ns = clock_ns();
        for (uint32_t i = count; i > 0; i--) { /* downwards: the last fills a place that frees */
            if (fds[i - 1].revents != 0) {
                guest_turn(house, i - 1, fds[i - 1].revents);
            }
        }
        if (fds[count].revents != 0) {
            guest_come(house);
        }
    }
    while (house->count > 0) {
        guest_free(house, house->count - 1);
    }
}

static void *house_main(void *arg) {
    struct house house = {.toy = arg};
    uint8_t seed[SECURE_SEED_BYTES] = {3};
    house.host.agent = "toy";
    house.host.window_max = 1u << 20;
    house.host.on_ready = on_ready;
    house.host.on_bitswap = on_bitswap;
    house.host.on_want_lost = on_want_lost;
    house.block = malloc(house.toy->content->bytes);
    must(house.block != NULL);
    must(peer_host_open(&house.host) == 0);
    must(catalog_open(&house.catalog, house.toy->content) == 0);
    must(secure_self_open(seed, &house.self) == 0);
    house_run(&house);
    secure_self_close(house.self);
    catalog_close(&house.catalog);
    peer_host_close(&house.host);
    free(house.block);
    return NULL;
}

bool toy_swarm_start(struct toy_swarm *toy, const struct content *content) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof at;
    *toy = (struct toy_swarm){.content = content};
    toy->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (toy->listener < 0 || bind(toy->listener, (struct sockaddr *)&at, sizeof at) != 0 ||
        listen(toy->listener, 256) != 0 ||
        getsockname(toy->listener, (struct sockaddr *)&at, &bytes) != 0) {
        return false;
    }
    toy->port = ntohs(at.sin_port);
    return pthread_create(&toy->thread, NULL, house_main, toy) == 0;
}

void toy_swarm_stop(struct toy_swarm *toy) {
    toy->stop = true;
    pthread_join(toy->thread, NULL);
    close(toy->listener);
}
