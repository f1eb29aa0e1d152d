/* SPDX-License-Identifier: MIT */
/* Any input is what a peer sends to a listening session. The first byte chooses how it is cut: the
 * events, what is owed at the end and what is written must not depend on it. The owner here accepts
 * most streams, resets and finishes some, and consumes what it gets at once. */

#include "tests/fuzz/fuzz.h"

#include "base/must.h"
#include "proto/libp2p/yamux.h"

#include <string.h>

#define STREAMS_MAX 24u

struct owner {
    struct yamux yamux;
    struct yamux_stream streams[STREAMS_MAX];
    bool taken[STREAMS_MAX];
    uint64_t digest;
    bool bad;
};

static void mix(struct owner *owner, const void *data, size_t bytes) {
    const uint8_t *p = data;
    for (size_t i = 0; i < bytes; i++) {
        owner->digest = (owner->digest ^ p[i]) * UINT64_C(0x100000001b3);
    }
}

static void mix_number(struct owner *owner, uint64_t number) {
    mix(owner, &number, sizeof number);
}

static void give_back(struct owner *owner, struct yamux_stream *stream) {
    must(owner->taken[stream - owner->streams]);
    owner->taken[stream - owner->streams] = false;
}

static void write_all(struct owner *owner) {
    uint8_t out[256];
    size_t bytes;
    while ((bytes = yamux_write_owed(&owner->yamux, 7, out, sizeof out)) > 0) {
        must(bytes % YAMUX_HEAD_BYTES == 0 && bytes <= sizeof out);
        mix(owner, out, bytes);
    }
    must(!yamux_owes(&owner->yamux));
}

static void answer(struct owner *owner, uint32_t id) {
    if (id % 14 == 1) {
        yamux_refuse(&owner->yamux);
        return;
    }
    uint32_t i = 0;
    while (owner->taken[i]) {
        i++;
        must(i < STREAMS_MAX);
    }
    owner->taken[i] = true;
    yamux_accept(&owner->yamux, &owner->streams[i]);
}

/* What the owner does at a stream's end of input. */
static void on_fin(struct owner *owner, struct yamux_stream *stream) {
    if (stream->id % 6 == 1) {
        write_all(owner);
        must(yamux_reset(&owner->yamux, stream));
        give_back(owner, stream);
        return;
    }
    yamux_finish(&owner->yamux, stream);
    write_all(owner);
    must(yamux_over(stream));
    yamux_unlink(&owner->yamux, stream);
    give_back(owner, stream);
}

static void on_event(struct owner *owner, enum yamux_event event, const struct yamux_step *step) {
    if (event == YAMUX_DATA) {
        must(step->count > 0 && step->stream->id != 0);
        mix(owner, step->bytes, step->count); /* pieces of one frame run together */
        yamux_consumed(&owner->yamux, step->stream, step->count, 9);
        return;
    }
    if (event == YAMUX_MORE) {
        return;
    }
    mix_number(owner, (uint64_t)event << 32 | (step->stream ? step->stream->id : step->id));
    if (event == YAMUX_OPENED) {
        answer(owner, step->id);
    } else if (event == YAMUX_FIN) {
        on_fin(owner, step->stream);
    } else if (event == YAMUX_RESET) {
        give_back(owner, step->stream);
    } else if (event == YAMUX_FULL) {
        write_all(owner);
    } else if (event == YAMUX_BAD) {
        mix_number(owner, step->fault);
        owner->bad = true;
    }
}

/* Returns: a digest of all that happened. */
static uint64_t tell(struct owner *owner, const uint8_t *data, size_t bytes, size_t piece) {
    memset(owner, 0, sizeof *owner);
    yamux_init(&owner->yamux, false, STREAMS_MAX, 1u << 20);
    must(yamux_ping(&owner->yamux));
    write_all(owner);
    for (size_t at = 0; at < bytes && !owner->bad;) {
        size_t give = piece < bytes - at ? piece : bytes - at;
        struct yamux_step step;
        enum yamux_event event = yamux_step(&owner->yamux, data + at, give, 8, &step);
        must(step.used <= give);
        must(event != YAMUX_MORE || step.used == give);
        at += step.used;
        on_event(owner, event, &step);
    }
    uint32_t taken = 0;
    for (uint32_t i = 0; i < STREAMS_MAX; i++) {
        taken += owner->taken[i];
    }
    must(taken == owner->yamux.streams);
    if (!owner->bad) {
        struct yamux_step step; /* what the last byte completed may still be due */
        enum yamux_event event;
        while ((event = yamux_step(&owner->yamux, data, 0, 8, &step)) != YAMUX_MORE &&
               !owner->bad) {
            on_event(owner, event, &step);
        }
    }
    write_all(owner);
    return owner->digest;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    static struct owner owner;
    if (bytes == 0) {
        return 0;
    }
    size_t piece = 1 + data[0] % 29;
    uint64_t whole = tell(&owner, data + 1, bytes - 1, bytes);
    uint64_t split = tell(&owner, data + 1, bytes - 1, piece);
    must(whole == split);
    return 0;
}
