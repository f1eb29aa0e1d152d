/* SPDX-License-Identifier: MIT */
#include "tools/load/bitswap/peer.h"

#include "base/bits.h"
#include "base/err.h"
#include "base/must.h"
#include "tools/load/bitswap/peer_stream.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PLAIN_MAX      (64u * 1024u) /* answers owed to a peer that does not read */
#define RECORD_MAX     16384u        /* one TLS record; for Noise it is large enough to pay */
#define EARLY_READ_MAX 65536u

static const char muxer_name[] = "/yamux/1.0.0";

/* ---- bytes ---- */

uint8_t *bytes_room(struct bytes *bytes, size_t count) {
    if (bytes->sent == bytes->used) {
        bytes->sent = bytes->used = 0;
    }
    if (bytes->room - bytes->used < count && bytes->sent > 0) {
        memmove(bytes->at, bytes->at + bytes->sent, bytes_left(bytes));
        bytes->used -= bytes->sent;
        bytes->sent = 0;
    }
    if (bytes->room - bytes->used < count) {
        uint64_t room = power_of_two_above(max_u64(bytes->used + count, 256));
        uint8_t *grown = realloc(bytes->at, room);
        if (grown == NULL || room > UINT32_MAX) {
            never("the generator is out of memory");
        }
        bytes->at = grown;
        bytes->room = (uint32_t)room;
    }
    return bytes->at + bytes->used;
}

void bytes_add(struct bytes *bytes, const void *from, size_t count) {
    if (count > 0) {
        memcpy(bytes_room(bytes, count), from, count);
        bytes->used += (uint32_t)count;
    }
}

void bytes_free(struct bytes *bytes) {
    free(bytes->at);
    *bytes = (struct bytes){0};
}

/* ---- the host ---- */

static void *memory_take(void *context, size_t bytes) {
    (void)context;
    return malloc(bytes);
}

static void memory_give(void *context, void *memory, size_t bytes) {
    (void)context;
    (void)bytes;
    free(memory);
}

int peer_host_open(struct peer_host *host) {
    host->memory.take = memory_take;
    host->memory.give = memory_give;
    host->memory.scratch = malloc(SECURE_SCRATCH_BYTES);
    host->record = malloc(SECURE_RECORD_BYTES);
    if (host->memory.scratch == NULL || host->record == NULL) {
        peer_host_close(host);
        return err_raise(-ENOMEM);
    }
    return 0;
}

void peer_host_close(struct peer_host *host) {
    while (host->free) {
        struct peer_stream *stream = host->free;
        host->free = stream->next;
        bytes_free(&stream->out);
        bytes_free(&stream->block);
        free(stream);
    }
    free(host->memory.scratch);
    free(host->record);
    host->memory.scratch = host->record = NULL;
}

/* ---- names ---- */

static void propose(struct bytes *out, const char *name) {
    uint8_t token[MULTISTREAM_WRITE_MAX];
    bytes_add(out, token, multistream_write(name, token));
}

void peer_fail(struct peer *peer, const char *why) {
    if (peer->state != PEER_DEAD) {
        peer->state = PEER_DEAD;
        snprintf(peer->why, sizeof peer->why, "%s", why);
    }
}

void peer_init(struct peer *peer, struct peer_host *host, struct secure_self *self,
               const struct peer_id *expected, enum secure_kind kind, bool dialer) {
    *peer = (struct peer){.host = host,
                          .self = self,
                          .expected = expected,
                          .kind = (uint8_t)kind,
                          .dialer = dialer,
                          .state = PEER_SECURITY};
    multistream_init(&peer->names);
    propose(&peer->early, multistream_header);
    if (dialer) {
        propose(&peer->early, secure_protocols[kind]);
    }
}

void peer_fini(struct peer *peer) {
    while (peer->streams) {
        stream_free(peer, peer->streams);
    }
    secure_close(peer->secure);
    peer->secure = NULL;
    bytes_free(&peer->early);
    bytes_free(&peer->inbox);
    bytes_free(&peer->plain);
}

/* One token of a negotiation about `name`. Returns: it is agreed on. */
static bool negotiate(struct peer *peer, struct bytes *out, const char *name, const uint8_t *bytes,
                      size_t count, size_t *used) {
    while (*used < count && peer->state != PEER_DEAD) {
        size_t took = 0;
        enum multistream_event event =
            multistream_step(&peer->names, bytes + *used, count - *used, &took);
        *used += took;
        if (event == MULTISTREAM_BAD) {
            peer_fail(peer, "what came is no negotiation of protocols");
        } else if (event == MULTISTREAM_TOKEN && multistream_is(&peer->names, name)) {
            if (!peer->dialer) {
                propose(out, name);
            }
            return true;
        } else if (event == MULTISTREAM_TOKEN && peer->dialer) {
            char why[PEER_WHY_MAX];
            snprintf(why, sizeof why, "it does not speak %s", name);
            peer_fail(peer, why);
        } else if (event == MULTISTREAM_TOKEN) {
            propose(out, multistream_na);
        }
    }
    return false;
}

/* ---- reading ---- */

static void ready(struct peer *peer) {
    peer->state = PEER_READY;
    yamux_init(&peer->yamux, peer->dialer, PEER_STREAMS_MAX, peer->host->window_max);
    (void)yamux_ping(&peer->yamux);
    peer->host->on_ready(peer);
}

/* Steps with what there is. Returns: bytes taken. */
static size_t handshake(struct peer *peer, const uint8_t *bytes, size_t count) {
    size_t used = 0;
    while (peer->state == PEER_HANDSHAKE &&
           secure_wants_step(peer->secure, bytes + used, count - used)) {
        size_t took = 0, wrote = 0;
        uint8_t *out = bytes_room(&peer->early, SECURE_HANDSHAKE_OUT_MAX);
        int r = secure_step(peer->secure, bytes + used, count - used, &took, out, &wrote);
        used += took;
        peer->early.used += (uint32_t)wrote;
        if (r == 0) {
            bool muxed = secure_muxer_agreed(peer->secure);
            peer->state = PEER_MUXER;
            if (muxed) {
                ready(peer);
            } else {
                multistream_init(&peer->names);
                propose(&peer->plain, multistream_header);
                if (peer->dialer) {
                    propose(&peer->plain, muxer_name);
                }
            }
        } else if (r == SECURE_STRANGER) {
            peer_fail(peer, "it is another peer than the one named");
        } else if (r != SECURE_MORE) {
            peer_fail(peer, "the handshake failed");
        } else if (took == 0 && wrote == 0) {
            break;
        }
    }
    return used;
}

/* Plain bytes of a secured connection. */
static void plain_read(struct peer *peer, const uint8_t *bytes, size_t count) {
    size_t used = 0;
    if (peer->state == PEER_MUXER &&
        negotiate(peer, &peer->plain, muxer_name, bytes, count, &used)) {
        ready(peer);
    }
    if (peer->state == PEER_READY) {
        peer_streams_read(peer, bytes + used, count - used);
    }
}

static void secured_read(struct peer *peer, const uint8_t *bytes, size_t count) {
    bool more = true;
    while (more && peer->state != PEER_DEAD) {
        size_t took = 0, plain_bytes = 0;
        const uint8_t *plain = NULL;
        int r = secure_read(peer->secure, bytes, count, &took, &plain, &plain_bytes);
        bytes += took;
        count -= took;
        if (r == 0) {
            plain_read(peer, plain, plain_bytes);
        } else if (r == SECURE_MORE) {
            more = false;
        } else {
            peer_fail(peer, r == SECURE_END ? "it said goodbye" : "a record cannot be opened");
        }
    }
}

void peer_feed(struct peer *peer, const uint8_t *bytes, size_t count) {
    size_t used = 0;
    if (peer->host->blind && peer->state == PEER_READY) {
        return;
    }
    if (peer->raw) {
        if (peer->host->on_raw != NULL) {
            peer->host->on_raw(peer, bytes, count);
        }
        return;
    }
    if (peer->state == PEER_SECURITY &&
        negotiate(peer, &peer->early, secure_protocols[peer->kind], bytes, count, &used)) {
        peer->secure = secure_open(peer->self, (enum secure_kind)peer->kind, peer->dialer,
                                   peer->expected, &peer->host->memory);
        peer->state = PEER_HANDSHAKE;
        if (peer->secure == NULL) {
            peer_fail(peer, "no memory");
        }
    }
    if (peer->state == PEER_HANDSHAKE) {
        bytes_add(&peer->inbox, bytes + used, count - used);
        uint32_t left = bytes_left(&peer->inbox);
        static const uint8_t nothing[1];
        const uint8_t *from = left > 0 ? peer->inbox.at + peer->inbox.sent : nothing;
        peer->inbox.sent += (uint32_t)handshake(peer, from, left);
        if (peer->state == PEER_HANDSHAKE || peer->state == PEER_DEAD) {
            if (bytes_left(&peer->inbox) > SECURE_HANDSHAKE_IN_MAX + EARLY_READ_MAX) {
                peer_fail(peer, "the handshake does not end");
            }
            return;
        }
        left = bytes_left(&peer->inbox);
        if (left > 0) {
            secured_read(peer, peer->inbox.at + peer->inbox.sent, left);
        }
        bytes_free(&peer->inbox);
    } else if (peer->state == PEER_MUXER || peer->state == PEER_READY) {
        secured_read(peer, bytes + used, count - used);
    }
}

/* ---- writing ---- */

void peer_raw(struct peer *peer, const void *bytes, size_t count) {
    bytes_add(&peer->plain, bytes, count);
}

void peer_spill(struct peer *peer) {
    uint8_t *out = bytes_room(&peer->plain, 4096);
    peer->plain.used += (uint32_t)yamux_write_owed(&peer->yamux, peer->host->now_ns, out, 4096);
    if (bytes_left(&peer->plain) > PLAIN_MAX) {
        peer_fail(peer, "it asks for answers and does not read them");
    }
}

static uint32_t bytes_move(struct bytes *bytes, uint8_t *out, size_t room) {
    uint32_t count = (uint32_t)min_u64(bytes_left(bytes), room);
    if (count > 0) {
        memcpy(out, bytes->at + bytes->sent, count);
        bytes->sent += count;
    }
    return count;
}

size_t peer_write(struct peer *peer, const uint8_t **ret_bytes) {
    uint32_t early = bytes_left(&peer->early), start = 0, count = 0;
    if (early > 0) {
        *ret_bytes = peer->early.at + peer->early.sent;
        peer->early.sent += early;
        return early;
    }
    if (!peer->raw && (peer->state == PEER_READY || peer->state == PEER_MUXER)) {
        bytes_free(&peer->early);
        uint8_t *plain = peer->host->record + SECURE_HEAD;
        uint32_t used = bytes_move(&peer->plain, plain, RECORD_MAX);
        if (peer->state == PEER_READY) {
            used += (uint32_t)peer_streams_write(peer, plain + used, RECORD_MAX - used);
        }
        if (used > 0 &&
            secure_seal(peer->secure, peer->host->record, used, NULL, 0, &start, &count) != 0) {
            peer_fail(peer, "encryption failed");
            return 0;
        }
    }
    *ret_bytes = peer->host->record + start;
    return count;
}
