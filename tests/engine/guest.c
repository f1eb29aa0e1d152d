/* SPDX-License-Identifier: MIT */
#include "tests/engine/guest.h"

#include "base/bits.h"
#include "base/clock.h"
#include "base/hash.h"
#include "proto/wire.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WINDOW_MAX (16 * MiB)
#define FRAME_MAX  65000u

/* ---- bytes in and out ---- */

static void *heap_take(void *context, size_t bytes) {
    (void)context;
    return malloc(bytes);
}

static void heap_give(void *context, void *memory, size_t bytes) {
    (void)context;
    (void)bytes;
    free(memory);
}

static bool receive(struct guest *guest) {
    if (guest->turn) {
        guest->turn(guest->context);
    } else {
        struct pollfd waiting = {.fd = guest->fd, .events = POLLIN};
        (void)poll(&waiting, 1, 20);
    }
    if (guest->in_room - guest->in_used < 256 * KiB) {
        guest->in_room = guest->in_room * 2 + 512 * KiB;
        guest->in = realloc(guest->in, guest->in_room);
    }
    ssize_t n =
        recv(guest->fd, guest->in + guest->in_used, guest->in_room - guest->in_used, MSG_DONTWAIT);
    if (n > 0) {
        guest->in_used += (size_t)n;
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        guest->ended = true;
    }
    return n > 0;
}

static void drop_in(struct guest *guest, size_t count) {
    memmove(guest->in, guest->in + count, guest->in_used - count);
    guest->in_used -= count;
}

static void write_some(struct guest *guest, const uint8_t *bytes, size_t count) {
    uint64_t limit = clock_ns() + PATIENCE_NS;
    while (count > 0 && !guest->ended) {
        ssize_t n = send(guest->fd, bytes, count, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            bytes += n;
            count -= (size_t)n;
        } else if (errno == EAGAIN) {
            cr_assert_lt(clock_ns(), limit, "what the guest says is not read");
            (void)receive(guest); /* so that neither side waits for the other */
        } else {
            guest->ended = true; /* the other side would not hear more */
        }
    }
}

void guest_write(struct guest *guest, const void *bytes, size_t count) {
    size_t step = guest->manners.write_bytes ? guest->manners.write_bytes : count;
    for (size_t at = 0; at < count; at += step) {
        write_some(guest, (const uint8_t *)bytes + at, min_u64(step, count - at));
        if (guest->turn && step < count) {
            guest->turn(guest->context);
        }
    }
}

void guest_say(struct guest *guest, const void *bytes, size_t count) {
    static uint8_t record[SECURE_RECORD_BYTES];
    const uint8_t *from = bytes;
    while (count > 0) {
        uint32_t start = 0, sealed = 0;
        uint32_t part = (uint32_t)min_u64(count, SECURE_PLAIN_MAX);
        cr_assert_eq(secure_seal(guest->secure, record, 0, from, part, &start, &sealed), 0);
        guest_write(guest, record + start, sealed);
        from += part;
        count -= part;
    }
}

void guest_frame(struct guest *guest, struct guest_frame frame, const void *bytes, size_t count) {
    uint8_t *plain = malloc(YAMUX_HEAD_BYTES + count);
    plain[0] = 0;
    plain[1] = frame.type;
    put_be16(plain + 2, frame.flags);
    put_be32(plain + 4, frame.id);
    put_be32(plain + 8, frame.length);
    if (count > 0) {
        memcpy(plain + YAMUX_HEAD_BYTES, bytes, count);
    }
    guest_say(guest, plain, YAMUX_HEAD_BYTES + count);
    free(plain);
}

static void say_owed(struct guest *guest) {
    while (!guest->ended && yamux_owes(&guest->yamux)) {
        uint8_t owed[1024];
        guest_say(guest, owed, yamux_write_owed(&guest->yamux, clock_ns(), owed, sizeof owed));
    }
}

/* ---- coming and going ---- */

struct guest guest_call(struct rig *rig, const struct guest_manners *manners) {
    struct guest guest = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    guest.manners = manners ? *manners : (struct guest_manners){0};
    guest.memory = malloc(sizeof *guest.memory); /* the channel keeps its address */
    *guest.memory = (struct secure_memory){.take = heap_take, .give = heap_give};
    guest.memory->scratch = malloc(SECURE_SCRATCH_BYTES);
    guest.turn = rig->turn;
    guest.context = rig->context;
    guest.in_room = 512 * KiB;
    guest.in = malloc(guest.in_room);
    uint32_t at = 0;
    while (rig->engine->listeners[at].address.protocol != LISTENER_BITSWAP) {
        at++;
    }
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons(rig->engine->listeners[at].address.port)};
    cr_assert_eq(connect(guest.fd, (struct sockaddr *)&address, sizeof address), 0);
    int one = 1; /* what it writes is there at once */
    (void)setsockopt(guest.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    uint8_t seed[SECURE_SEED_BYTES];
    memset(seed, guest.manners.seed ? guest.manners.seed : 1, sizeof seed);
    cr_assert_eq(secure_self_open(seed, &guest.self), 0);
    return guest;
}

static void say_token(struct guest *guest, const char *name, bool sealed) {
    uint8_t token[MULTISTREAM_WRITE_MAX];
    size_t count = multistream_write(name, token);
    if (sealed) {
        guest_say(guest, token, count);
    } else {
        guest_write(guest, token, count);
    }
}

/* Tokens in the clear until one is `name`. */
static void await_token(struct guest *guest, const char *name) {
    struct multistream select;
    multistream_init(&select);
    for (;;) {
        size_t used = 0;
        enum multistream_event event = multistream_step(&select, guest->in, guest->in_used, &used);
        drop_in(guest, used);
        if (event == MULTISTREAM_TOKEN) {
            cr_assert_str_eq(select.name, name);
            return;
        }
        cr_assert_neq(event, MULTISTREAM_BAD);
        if (event == MULTISTREAM_MORE) {
            uint64_t limit = clock_ns() + PATIENCE_NS;
            while (!receive(guest)) {
                cr_assert_not(guest->ended, "it ended instead of saying %s", name);
                cr_assert_lt(clock_ns(), limit, "no token %s", name);
            }
        }
    }
}

static void shake_hands(struct guest *guest) {
    uint8_t out[SECURE_HANDSHAKE_OUT_MAX];
    uint64_t limit = clock_ns() + PATIENCE_NS;
    int r = SECURE_MORE;
    while (r == SECURE_MORE) {
        size_t used = 0, said = 0;
        r = secure_step(guest->secure, guest->in, guest->in_used, &used, out, &said);
        drop_in(guest, used);
        guest_write(guest, out, said);
        if (r == SECURE_MORE && used == 0) {
            cr_assert_lt(clock_ns(), limit, "the handshake does not end");
            cr_assert_not(guest->ended, "it ended inside the handshake");
            (void)receive(guest);
        }
    }
    cr_assert_eq(r, 0, "handshake: %d", r);
}

void guest_enter(struct guest *guest) {
    const char *name = secure_protocols[guest->manners.kind];
    say_token(guest, multistream_header, false);
    say_token(guest, name, false);
    await_token(guest, name);
    guest->secure = secure_open(guest->self, guest->manners.kind, true, NULL, guest->memory);
    cr_assert_not_null(guest->secure);
    shake_hands(guest);
    cr_assert(secure_muxer_agreed(guest->secure));
    yamux_init(&guest->yamux, true, 100000, WINDOW_MAX);
    guest->open = true;
}

struct guest guest_open(struct rig *rig, const struct guest_manners *manners) {
    struct guest guest = guest_call(rig, manners);
    guest_enter(&guest);
    return guest;
}

void guest_close(struct guest *guest) {
    close(guest->fd);
    secure_close(guest->secure);
    secure_self_close(guest->self);
    while (guest->streams) {
        struct guest_stream *stream = guest->streams;
        guest->streams = stream->next;
        free(stream->bytes);
        free(stream->block);
        free(stream);
    }
    free(guest->answers);
    free(guest->wanted);
    free(guest->in);
    free(guest->memory->scratch);
    free(guest->memory);
    *guest = (struct guest){.fd = -1, .ended = true};
}

void guest_abort(struct guest *guest) {
    struct linger none = {.l_onoff = 1};
    (void)setsockopt(guest->fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    guest_close(guest);
}

/* ---- streams ---- */

static struct guest_stream *add_stream(struct guest *guest) {
    struct guest_stream *stream = calloc(1, sizeof *stream);
    stream->next = guest->streams;
    guest->streams = stream;
    multistream_init(&stream->select);
    return stream;
}

struct guest_stream *guest_stream(struct guest *guest, const char *protocol) {
    struct guest_stream *stream = add_stream(guest);
    cr_assert(yamux_open_stream(&guest->yamux, &stream->yamux));
    stream->id = stream->yamux.id;
    uint8_t tokens[2 * MULTISTREAM_WRITE_MAX];
    size_t used = multistream_write(multistream_header, tokens);
    used += multistream_write(protocol, tokens + used);
    guest_send(guest, stream, tokens, used);
    return stream;
}

void guest_send(struct guest *guest, struct guest_stream *stream, const void *bytes, size_t count) {
    const uint8_t *from = bytes;
    uint8_t *frame = malloc(YAMUX_HEAD_BYTES + FRAME_MAX);
    while (count > 0 && !guest->ended) {
        guest_until(guest, stream->yamux.send_window > 0 || stream->reset);
        cr_assert_not(stream->reset, "the stream was reset under its writer");
        uint32_t part = (uint32_t)min_u64(count, min_u32(stream->yamux.send_window, FRAME_MAX));
        yamux_data_head(&guest->yamux, &stream->yamux, part, frame);
        memcpy(frame + YAMUX_HEAD_BYTES, from, part);
        guest_say(guest, frame, YAMUX_HEAD_BYTES + part);
        from += part;
        count -= part;
    }
    free(frame);
}

void guest_finish(struct guest *guest, struct guest_stream *stream) {
    if (!stream->reset) {
        yamux_finish(&guest->yamux, &stream->yamux);
        say_owed(guest);
    }
}

void guest_reset(struct guest *guest, struct guest_stream *stream) {
    if (!stream->reset) {
        stream->reset = true;
        cr_assert(yamux_reset(&guest->yamux, &stream->yamux));
        say_owed(guest);
    }
}

/* ---- Bitswap ---- */

struct bitswap_want guest_want(const struct block *block) {
    return (struct bitswap_want){
        .key = block->key, .form = {.codec = CID_RAW, .version = 1}, .priority = 1};
}

void guest_wants(struct guest *guest, struct guest_stream *stream, const struct bitswap_want *wants,
                 uint32_t count, bool full) {
    uint32_t entries = 0;
    for (uint32_t i = 0; i < count; i++) {
        entries += (uint32_t)bitswap_entry_size(&wants[i]);
    }
    uint8_t *message = malloc(entries + 64), head[8];
    size_t head_bytes = bitswap_put_list_head(entries, full, head);
    size_t used = bitswap_put_length((uint32_t)(head_bytes + entries + (full ? 2u : 0u)), message);
    memcpy(message + used, head, head_bytes);
    used += head_bytes;
    for (uint32_t i = 0; i < count; i++) {
        used += bitswap_put_entry(&wants[i], message + used);
    }
    used += full ? bitswap_put_full(message + used) : 0;
    guest_send(guest, stream, message, used);
    free(message);
}

void guest_ask(struct guest *guest, struct guest_stream *stream, const struct block *block) {
    struct bitswap_want want = guest_want(block);
    guest_wants(guest, stream, &want, 1, false);
}

static struct guest_answer *add_answer(struct guest *guest, const struct guest_stream *stream,
                                       enum guest_kind kind) {
    guest->answers = realloc(guest->answers, (guest->answer_count + 1) * sizeof *guest->answers);
    struct guest_answer *answer = &guest->answers[guest->answer_count++];
    *answer =
        (struct guest_answer){.kind = kind, .stream = stream->id, .message = stream->messages};
    return answer;
}

static void block_ended(struct guest *guest, struct guest_stream *stream,
                        const struct bitswap_prefix *prefix) {
    struct guest_answer *answer = add_answer(guest, stream, GUEST_BLOCK);
    cr_assert_eq(stream->block_used, stream->block_bytes);
    answer->bytes = stream->block_used;
    answer->form = prefix->form;
    answer->key = (struct key){.code = HASH_SHA2_256, .digest_bytes = 32};
    cr_assert_eq(
        hash_compute(HASH_SHA2_256, stream->block, stream->block_used, answer->key.digest, 32), 0);
}

static void read_bitswap(struct guest *guest, struct guest_stream *stream, const uint8_t *bytes,
                         size_t count) {
    while (count > 0) {
        struct bitswap_step step;
        enum bitswap_event event = bitswap_step(&stream->reader, bytes, count, &step);
        bytes += step.used;
        count -= step.used;
        cr_assert_neq(event, BITSWAP_BAD, "what it answers is no message");
        if (event == BITSWAP_BLOCK) {
            stream->block_bytes = step.block_bytes;
            stream->block_used = 0;
            stream->block = realloc(stream->block, step.block_bytes + 1);
        } else if (event == BITSWAP_DATA) {
            memcpy(stream->block + stream->block_used, step.bytes, step.count);
            stream->block_used += step.count;
        } else if (event == BITSWAP_BLOCK_END) {
            block_ended(guest, stream, &step.prefix);
        } else if (event == BITSWAP_PRESENCE) {
            struct guest_answer *answer =
                add_answer(guest, stream, step.presence.have ? GUEST_HAVE : GUEST_DONT_HAVE);
            answer->key = step.presence.key;
            answer->form = step.presence.form;
        } else if (event == BITSWAP_WANT) {
            guest->wanted =
                realloc(guest->wanted, (guest->wanted_count + 1) * sizeof *guest->wanted);
            guest->wanted[guest->wanted_count++] = step.want;
            guest->want_stream = stream;
        } else if (event == BITSWAP_END) {
            stream->messages++;
        }
    }
}

/* ---- who it is ---- */

static void say_who(struct guest *guest, struct guest_stream *stream) {
    const struct guest_manners *manners = &guest->manners;
    const char *protocols[] = {manners->speaks ? manners->speaks : "/ipfs/bitswap/1.2.0",
                               "/ipfs/id/1.0.0", NULL};
    struct identify_self self = {.agent = manners->agent ? manners->agent : "guest/1",
                                 .protocol_version = "ipfs/0.1.0",
                                 .protocols = protocols};
    self.key = secure_self_key(guest->self, &self.key_bytes);
    uint8_t message[IDENTIFY_WRITE_MAX];
    guest_send(guest, stream, message, identify_write(&self, message));
    guest_finish(guest, stream);
}

static void say_on(struct guest *guest, struct guest_stream *stream, const char *name) {
    uint8_t token[MULTISTREAM_WRITE_MAX];
    guest_send(guest, stream, token, multistream_write(name, token));
}

/* A stream that was opened to it: the header, then what is proposed. */
static void answer_token(struct guest *guest, struct guest_stream *stream, const char *name) {
    struct guest_manners *manners = &guest->manners;
    if (strcmp(name, "/ipfs/id/1.0.0") == 0) {
        stream->agreed = stream->identify = true;
        if (!manners->keeps_identify) {
            say_on(guest, stream, multistream_header);
            say_on(guest, stream, name);
            say_who(guest, stream);
        }
        return;
    }
    stream->bitswap = true;
    if (manners->keeps_tokens) {
        stream->agreed = true;
        return;
    }
    say_on(guest, stream, multistream_header);
    bool speaks = strcmp(name, manners->speaks ? manners->speaks : "/ipfs/bitswap/1.2.0") == 0;
    if (manners->refuses > 0 || !speaks) {
        manners->refuses -= manners->refuses > 0;
        say_on(guest, stream, multistream_na);
        stream->agreed = true; /* on nothing: the rest is read away */
        stream->bitswap = false;
        return;
    }
    say_on(guest, stream, name);
    stream->agreed = true;
    if (manners->ends_at_once) {
        guest_finish(guest, stream);
    }
}

static void keep_bytes(struct guest_stream *stream, const uint8_t *bytes, size_t count) {
    if (stream->used + count > stream->room) {
        stream->room = (uint32_t)(2 * (stream->used + count));
        stream->bytes = realloc(stream->bytes, stream->room);
    }
    if (count > 0) {
        memcpy(stream->bytes + stream->used, bytes, count);
    }
    stream->used += (uint32_t)count;
}

static void on_data(struct guest *guest, struct guest_stream *stream, const uint8_t *bytes,
                    size_t count) {
    stream->taken += (uint32_t)count;
    if (!guest->manners.holds_windows) {
        yamux_consumed(&guest->yamux, &stream->yamux, (uint32_t)count, clock_ns());
    }
    while (count > 0 && !stream->agreed && stream->theirs) {
        size_t used = 0;
        enum multistream_event event = multistream_step(&stream->select, bytes, count, &used);
        bytes += used;
        count -= used;
        cr_assert_neq(event, MULTISTREAM_BAD, "what it proposes is no token");
        if (event == MULTISTREAM_TOKEN) {
            answer_token(guest, stream, stream->select.name);
        }
    }
    if (stream->bitswap && stream->agreed) {
        if (!stream->told) {
            stream->told = true;
            bitswap_reader_init(&stream->reader);
        }
        read_bitswap(guest, stream, bytes, count);
        if (guest->manners.resets_after && stream->taken >= guest->manners.resets_after) {
            guest->manners.resets_after = 0;
            guest_reset(guest, stream);
        }
    } else if (!stream->theirs) {
        keep_bytes(stream, bytes, count);
    }
}

static void on_event(struct guest *guest, enum yamux_event event, const struct yamux_step *step) {
    struct guest_stream *stream = (struct guest_stream *)(void *)step->stream;
    switch (event) {
    case YAMUX_OPENED:
        stream = add_stream(guest);
        stream->theirs = true;
        stream->id = step->id;
        guest->opened++;
        yamux_accept(&guest->yamux, &stream->yamux);
        break;
    case YAMUX_DATA:
        on_data(guest, stream, step->bytes, step->count);
        break;
    case YAMUX_FIN:
        stream->ended = true;
        if (stream->theirs) {
            guest_finish(guest, stream); /* as Go does when its reader came to the end */
        }
        break;
    case YAMUX_RESET:
        stream->reset = true;
        guest->resets++;
        break;
    case YAMUX_PONG:
        guest->pongs++;
        break;
    case YAMUX_GOAWAY:
        guest->goaway = step->id + 1;
        break;
    case YAMUX_FULL:
        say_owed(guest);
        break;
    case YAMUX_WINDOW:
    case YAMUX_MORE:
        break;
    case YAMUX_BAD:
        cr_assert(false, "it breaks yamux: %u", step->fault);
    }
}

static void read_plain(struct guest *guest, const uint8_t *bytes, size_t count) {
    enum yamux_event event = YAMUX_WINDOW;
    while (event != YAMUX_MORE) {
        struct yamux_step step;
        event = yamux_step(&guest->yamux, bytes, count, clock_ns(), &step);
        bytes += step.used;
        count -= step.used;
        on_event(guest, event, &step);
    }
}

void guest_step(struct guest *guest) {
    say_owed(guest);
    (void)receive(guest);
    int r = guest->open && guest->in_used > 0 ? 0 : SECURE_MORE;
    while (r != SECURE_MORE && !guest->ended) {
        size_t used = 0, count = 0;
        const uint8_t *plain = NULL;
        r = secure_read(guest->secure, guest->in, guest->in_used, &used, &plain, &count);
        cr_assert(r == 0 || r == SECURE_MORE || r == SECURE_END, "its record: %d", r);
        guest->ended |= r == SECURE_END;
        if (r == 0) { /* copied: answering may receive more, and step in here again */
            uint8_t *copy = malloc(count + 1);
            memcpy(copy, plain, count);
            drop_in(guest, used);
            read_plain(guest, copy, count);
            free(copy);
        } else {
            drop_in(guest, used);
        }
    }
    say_owed(guest);
}

void guest_settle(struct guest *guest) {
    uint32_t pongs = guest->pongs;
    guest_until(guest, yamux_ping(&guest->yamux));
    guest_until(guest, guest->pongs > pongs);
}

void guest_expect_end(struct guest *guest) {
    uint64_t limit = clock_ns() + PATIENCE_NS;
    while (!guest->ended) {
        cr_assert_lt(clock_ns(), limit, "the connection does not end");
        guest_step(guest);
    }
}

uint32_t guest_count(const struct guest *guest, enum guest_kind kind, const struct key *key) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < guest->answer_count; i++) {
        const struct guest_answer *answer = &guest->answers[i];
        count += answer->kind == kind && (!key || key_equal(&answer->key, key));
    }
    return count;
}

uint32_t guest_count_all(const struct guest *guest, enum guest_kind kind) {
    return guest_count(guest, kind, NULL);
}

const struct guest_answer *guest_find(const struct guest *guest, const struct key *key) {
    for (uint32_t i = 0; i < guest->answer_count; i++) {
        if (key_equal(&guest->answers[i].key, key)) {
            return &guest->answers[i];
        }
    }
    return NULL;
}

const struct guest_answer *guest_expect_block(struct guest *guest, const struct block *block) {
    guest_until(guest, guest_count(guest, GUEST_BLOCK, &block->key) > 0);
    const struct guest_answer *answer = guest_find(guest, &block->key);
    while (answer->kind != GUEST_BLOCK || !key_equal(&answer->key, &block->key)) {
        answer++;
    }
    cr_assert_eq(answer->bytes, block->count);
    return answer;
}

uint32_t guest_wanted(const struct guest *guest, const struct key *key, bool cancel) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < guest->wanted_count; i++) {
        count += guest->wanted[i].cancel == cancel && key_equal(&guest->wanted[i].key, key);
    }
    return count;
}

void guest_give(struct guest *guest, const struct block *block, uint64_t codec) {
    struct bitswap_form form = {.codec = (uint32_t)codec, .version = 1};
    uint8_t *message = malloc(block->count + 128), head[BITSWAP_BLOCK_HEAD_MAX];
    size_t field = bitswap_block_size(&block->key, &form, block->count);
    size_t used = bitswap_put_length((uint32_t)(field + BITSWAP_EMPTY_LIST_BYTES), message);
    used += bitswap_put_empty_list(message + used);
    size_t head_bytes = bitswap_put_block_head(&block->key, &form, block->count, head);
    memcpy(message + used, head, head_bytes);
    memcpy(message + used + head_bytes, block->bytes, block->count);
    used += head_bytes + block->count;
    struct guest_stream *stream = guest_stream(guest, "/ipfs/bitswap/1.2.0");
    guest_send(guest, stream, message, used);
    guest_finish(guest, stream);
    free(message);
}

void guest_presence(struct guest *guest, const struct block *block, bool have) {
    struct bitswap_form form = {.codec = CID_RAW, .version = 1};
    uint8_t message[BITSWAP_PRESENCE_MAX + 16], item[BITSWAP_PRESENCE_MAX];
    size_t count = bitswap_put_presence(&block->key, &form, have, item);
    size_t used = bitswap_put_length((uint32_t)(count + BITSWAP_EMPTY_LIST_BYTES), message);
    used += bitswap_put_empty_list(message + used);
    memcpy(message + used, item, count);
    struct guest_stream *stream = guest_stream(guest, "/ipfs/bitswap/1.2.0");
    guest_send(guest, stream, message, used + count);
    guest_finish(guest, stream);
}

uint32_t guest_replies(const struct guest *guest) {
    uint32_t count = 0;
    for (const struct guest_stream *stream = guest->streams; stream; stream = stream->next) {
        count += stream->theirs && stream->bitswap && !stream->ended && !stream->reset;
    }
    return count;
}
