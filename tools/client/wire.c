/* SPDX-License-Identifier: MIT */
#include "base/bits.h"
#include "base/clock.h"
#include "base/must.h"
#include "tools/client/client.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Above this, the rest of a body is received where it belongs, not copied through `in`. */
#define DIRECT_BYTES (16u * 1024)

uint8_t *client_out_room(struct mr_client *client, size_t bytes) {
    size_t unsent = client->out_tail - client->out_head;
    if (client->out_head == client->out_tail) {
        client->out_head = 0;
        client->out_tail = 0;
    }
    if (client->out_capacity - client->out_tail >= bytes) {
        return client->out + client->out_tail;
    }
    if (client->out_head > 0 && client->out_capacity - unsent >= bytes) {
        memmove(client->out, client->out + client->out_head, unsent);
        client->out_head = 0;
        client->out_tail = unsent;
        return client->out + unsent;
    }
    size_t capacity = power_of_two_above(client->out_tail + bytes + 4096);
    uint8_t *out = realloc(client->out, capacity);
    if (!out) {
        return NULL;
    }
    client->out = out;
    client->out_capacity = capacity;
    return client->out + client->out_tail;
}

void client_out_push(struct mr_client *client, size_t bytes) {
    client->out_tail += bytes;
    must(client->out_tail <= client->out_capacity);
}

void client_out_file(struct mr_client *client, int fd, uint64_t offset, uint32_t bytes) {
    must(client->pieces_count < CLIENT_PIECES);
    uint32_t index = (client->piece_head + client->pieces_count) % CLIENT_PIECES;
    uint64_t at = client->out_gone + (client->out_tail - client->out_head);
    client->pieces[index] =
        (struct client_piece){.at = at, .offset = offset, .left = bytes, .fd = fd};
    client->pieces_count += bytes > 0;
}

bool client_unsent(const struct mr_client *client) {
    return client->out_tail > client->out_head || client->pieces_count > 0;
}

static void unsent_drop(struct mr_client *client) {
    client->out_gone += client->out_tail - client->out_head;
    client->out_head = client->out_tail;
    client->pieces_count = 0;
}

void client_fail(struct mr_client *client, int result, const char *why) {
    if (client->fd < 0) {
        return;
    }
    close(client->fd);
    client->fd = -1;
    if (why != client->lost) {
        snprintf(client->lost, sizeof client->lost, "%s", why);
    }
    unsent_drop(client);
    client->in_head = 0;
    client->in_tail = 0;
    client->body_left = 0;
    client->body_slot = CLIENT_NONE;
    for (uint32_t i = 0; i < client->slots_count; i++) {
        struct slot *slot = &client->slots[i];
        if (slot->state != SLOT_WAITING) {
            continue;
        }
        snprintf(slot->text, sizeof slot->text, "%.*s", (int)sizeof slot->text - 1, client->lost);
        slot_finish(client, i, result);
    }
}

static void fail_errno(struct mr_client *client, const char *what, int error) {
    char why[200];
    snprintf(why, sizeof why, "%s: %s", what, mr_result_text(-error));
    client_fail(client, MR_CLOSED, why);
}

/* sendfile(2) has no flag that keeps SIGPIPE away: it is held back, and taken if it came. */
static ssize_t send_file(int to, int from, uint64_t offset, size_t bytes) {
    sigset_t pipe_set, before, pending;
    off_t at = (off_t)offset;
    sigemptyset(&pipe_set);
    sigaddset(&pipe_set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_set, &before);
    sigpending(&pending);
    ssize_t sent = sendfile(to, from, &at, bytes);
    int error = errno;
    /* Part of it may have gone before the connection broke: then the signal came, and no error. */
    if (sent != (ssize_t)bytes && sigismember(&pending, SIGPIPE) == 0) {
        static const struct timespec at_once;
        (void)sigtimedwait(&pipe_set, NULL, &at_once);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return sent;
}

/* Returns: bytes sent, or -1 and errno. */
static ssize_t send_piece(struct mr_client *client) {
    static const uint8_t zeros[16 * 1024];
    struct client_piece *piece = &client->pieces[client->piece_head];
    ssize_t sent = 0;
    if (piece->fd >= 0) {
        sent = send_file(client->fd, piece->fd, piece->offset, piece->left);
    }
    if (sent == 0) {
        piece->fd = -1;
        sent = send(client->fd, zeros, min_u32(piece->left, sizeof zeros),
                    MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    if (sent > 0) {
        piece->offset += (uint64_t)sent;
        piece->left -= (uint32_t)sent;
    }
    if (piece->left == 0) {
        client->piece_head = (client->piece_head + 1) % CLIENT_PIECES;
        client->pieces_count--;
    }
    return sent;
}

/* Sends of the buffer what comes before the next piece of a file, or that piece. */
static ssize_t send_some(struct mr_client *client) {
    size_t bytes = client->out_tail - client->out_head;
    int more = 0;
    if (client->pieces_count > 0) {
        bytes = (size_t)(client->pieces[client->piece_head].at - client->out_gone);
        more = MSG_MORE;
    }
    if (bytes == 0) {
        return send_piece(client);
    }
    ssize_t sent =
        send(client->fd, client->out + client->out_head, bytes, MSG_NOSIGNAL | MSG_DONTWAIT | more);
    if (sent > 0) {
        client->out_head += (size_t)sent;
        client->out_gone += (uint64_t)sent;
    }
    return sent;
}

static void client_send(struct mr_client *client) {
    while (client->fd >= 0 && client_unsent(client)) {
        if (send_some(client) < 0) {
            if (errno == EINTR) {
                continue;
            }
            /* A server that refuses us sends a FAULT and closes: what it said may still be in the
             * socket, so a broken pipe is left for the receiving side to judge. */
            if (errno != EAGAIN && errno != EPIPE && errno != ECONNRESET) {
                fail_errno(client, "sending", errno);
            } else if (errno != EAGAIN) {
                unsent_drop(client);
            }
            return;
        }
    }
}

/* Returns: whether there may be more to receive. */
static bool received(struct mr_client *client, ssize_t got, size_t wanted) {
    if (got > 0) {
        return (size_t)got == wanted;
    }
    if (got == 0) {
        client_fail(client, MR_CLOSED, "the server closed the connection");
    } else if (errno != EAGAIN && errno != EINTR) {
        fail_errno(client, "receiving", errno);
    }
    return false;
}

static bool receive_direct(struct mr_client *client, uint8_t *room) {
    uint32_t wanted = client->body_left;
    ssize_t got = recv(client->fd, room, wanted, MSG_DONTWAIT);
    bool more = received(client, got, wanted);
    if (got > 0) {
        client_body_push(client, (uint32_t)got);
    }
    return more;
}

static bool receive_parsed(struct mr_client *client) {
    if (client->in_head > 0) {
        memmove(client->in, client->in + client->in_head, client->in_tail - client->in_head);
        client->in_tail -= client->in_head;
        client->in_head = 0;
    }
    /* What is left unparsed is less than one reply head. */
    must(client->in_tail < TLV_REPLY_MAX);
    size_t wanted = CLIENT_IN_BYTES - client->in_tail;
    ssize_t got = recv(client->fd, client->in + client->in_tail, wanted, MSG_DONTWAIT);
    bool more = received(client, got, wanted);
    if (got <= 0) {
        return more;
    }
    client->in_tail += (size_t)got;
    size_t used =
        client_feed(client, client->in + client->in_head, client->in_tail - client->in_head);
    if (client->fd >= 0) {
        client->in_head += used;
    }
    return more;
}

static void client_receive(struct mr_client *client) {
    bool more = true;
    while (more && client->fd >= 0) {
        uint8_t *room = client->body_left >= DIRECT_BYTES && client->in_head == client->in_tail
                            ? client_body_room(client)
                            : NULL;
        more = room ? receive_direct(client, room) : receive_parsed(client);
    }
}

/* Milliseconds to wait, rounded up so that a wait never ends before its time; -1 for ever. */
static int wait_ms(uint64_t deadline_ns) {
    if (deadline_ns == 0) {
        return 0;
    }
    if (deadline_ns == UINT64_MAX) {
        return -1;
    }
    uint64_t now_ns = clock_ns();
    if (deadline_ns <= now_ns) {
        return 0;
    }
    return (int)min_u64((deadline_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS, 1u << 30);
}

int client_turn(struct mr_client *client, uint64_t deadline_ns) {
    client_send(client);
    if (client->fd < 0) {
        return 0;
    }
    struct pollfd waiting = {.fd = client->fd, .events = mr_events(client)};
    int r = poll(&waiting, 1, wait_ms(deadline_ns));
    if (r < 0) {
        return errno == EINTR ? 0 : -errno;
    }
    if (waiting.revents & POLLOUT) {
        client_send(client);
    }
    if (client->fd >= 0 && (waiting.revents & (POLLIN | POLLHUP | POLLERR))) {
        client_receive(client);
    }
    return 0;
}

int mr_flush(struct mr_client *client) {
    if (client->fd < 0) {
        return client_say_closed(client);
    }
    client_send(client);
    return client->fd < 0 ? client_say_closed(client) : 0;
}
