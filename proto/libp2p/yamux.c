/* SPDX-License-Identifier: MIT */
#include "proto/libp2p/yamux.h"

#include "base/bits.h"
#include "base/must.h"

#include <string.h>

/* A frame in progress:
 *
 *   HEAD -> ACT -> (SYN answered) -> FLAGS -> PAYLOAD -> FIN -> HEAD       any -> DEAD
 *
 * Each phase but PAYLOAD is left before its event is returned, so the next step goes on behind it;
 * FULL leaves the phase as it is. FIN acts behind the payload it came with. */
enum phase { PHASE_HEAD, PHASE_ACT, PHASE_FLAGS, PHASE_PAYLOAD, PHASE_FIN, PHASE_DEAD };

enum { TYPE_DATA = 0, TYPE_WINDOW = 1, TYPE_PING = 2, TYPE_GOAWAY = 3, TYPE_COUNT };
enum { FLAG_SYN = 1, FLAG_ACK = 2, FLAG_FIN = 4, FLAG_RST = 8, FLAGS_KNOWN = 15 };

/* What a stream owes; SYN, ACK and a delta share a frame, FIN has its own behind them. */
enum { OWES_SYN = FLAG_SYN, OWES_ACK = FLAG_ACK, OWES_FIN = FLAG_FIN, OWES_WINDOW = 16 };

#define GROW_ROUND_TRIPS 4u

void yamux_init(struct yamux *yamux, bool dialer, uint32_t streams_max, uint32_t window_max) {
    must(window_max >= YAMUX_WINDOW_BYTES && window_max <= 16 * MiB);
    *yamux = (struct yamux){.dialer = dialer,
                            .streams_max = streams_max,
                            .window_max = window_max,
                            .next_id = dialer ? 1 : 2};
}

/* ---- streams by id ---- */

static struct yamux_stream **bucket_of(struct yamux *yamux, uint32_t id) {
    return &yamux->buckets[(id >> 1) % YAMUX_BUCKETS]; /* one side's ids are all odd or all even */
}

static struct yamux_stream *find(struct yamux *yamux, uint32_t id) {
    if (likely(yamux->recent && yamux->recent->id == id)) {
        return yamux->recent;
    }
    for (struct yamux_stream *stream = *bucket_of(yamux, id); stream; stream = stream->next) {
        if (stream->id == id) {
            yamux->recent = stream;
            return stream;
        }
    }
    return NULL;
}

static void stream_insert(struct yamux *yamux, struct yamux_stream *stream, uint32_t id) {
    struct yamux_stream **bucket = bucket_of(yamux, id);
    *stream = (struct yamux_stream){.next = *bucket,
                                    .id = id,
                                    .send_window = YAMUX_WINDOW_BYTES,
                                    .receive_left = YAMUX_WINDOW_BYTES,
                                    .receive_window = YAMUX_WINDOW_BYTES};
    *bucket = stream;
    yamux->recent = stream;
    yamux->streams++;
}

/* ---- what streams owe ---- */

static void owe(struct yamux *yamux, struct yamux_stream *stream, uint8_t what) {
    if (!stream->owes) {
        stream->next_owed = NULL;
        stream->previous_owed = yamux->owed_tail;
        *(yamux->owed_tail ? &yamux->owed_tail->next_owed : &yamux->owed_head) = stream;
        yamux->owed_tail = stream;
    }
    stream->owes |= what;
}

static void settle(struct yamux *yamux, struct yamux_stream *stream, uint8_t what) {
    if (!stream->owes) {
        return;
    }
    stream->owes &= (uint8_t)~what;
    if (stream->owes) {
        return;
    }
    struct yamux_stream *next = stream->next_owed, *previous = stream->previous_owed;
    *(previous ? &previous->next_owed : &yamux->owed_head) = next;
    *(next ? &next->previous_owed : &yamux->owed_tail) = previous;
    stream->next_owed = stream->previous_owed = NULL;
}

void yamux_unlink(struct yamux *yamux, struct yamux_stream *stream) {
    struct yamux_stream **at = bucket_of(yamux, stream->id);
    while (*at != stream) {
        must(*at);
        at = &(*at)->next;
    }
    *at = stream->next;
    stream->next = NULL;
    settle(yamux, stream, UINT8_MAX);
    if (yamux->recent == stream) {
        yamux->recent = NULL;
    }
    if (yamux->frame_stream == stream) {
        yamux->frame_stream = NULL; /* the rest of its frame is drained */
    }
    must(yamux->streams > 0);
    yamux->streams--;
}

static void owe_reset(struct yamux *yamux, uint32_t id) {
    must(yamux->resets_owed < YAMUX_OWED_MAX);
    yamux->resets[yamux->resets_owed++] = id;
}

/* ---- reading ---- */

static enum yamux_event bad(struct yamux *yamux, enum yamux_fault fault) {
    yamux->phase = PHASE_DEAD;
    yamux->fault = fault;
    return YAMUX_BAD;
}

/* Takes what is missing of a head. Returns: it is whole, and taken apart. */
static bool read_head(struct yamux *yamux, const uint8_t *bytes, size_t count, size_t *used) {
    const uint8_t *head = bytes + *used;
    if (likely(yamux->head_used == 0 && count - *used >= YAMUX_HEAD_BYTES)) {
        *used += YAMUX_HEAD_BYTES;
    } else {
        size_t take = min_u64(count - *used, YAMUX_HEAD_BYTES - yamux->head_used);
        if (take > 0) {
            memcpy(yamux->head + yamux->head_used, head, take);
        }
        yamux->head_used = (uint8_t)(yamux->head_used + take);
        *used += take;
        if (yamux->head_used < YAMUX_HEAD_BYTES) {
            return false;
        }
        head = yamux->head;
    }
    yamux->head_used = 0;
    yamux->frame_type = head[1];
    yamux->frame_flags = get_be16(head + 2);
    yamux->frame_id = get_be32(head + 4);
    yamux->frame_left = get_be32(head + 8);
    yamux->frame_stream = NULL;
    yamux->fault = head[0] == 0 ? YAMUX_FAULT_NONE : YAMUX_FAULT_VERSION;
    yamux->phase = PHASE_ACT;
    return true;
}

static enum yamux_event act_ping(struct yamux *yamux, uint64_t now_ns) {
    if (yamux->frame_flags == FLAG_SYN) {
        if (yamux->pongs_owed == YAMUX_OWED_MAX) {
            return YAMUX_FULL;
        }
        yamux->pongs[yamux->pongs_owed++] = yamux->frame_left;
        yamux->phase = PHASE_HEAD;
        return YAMUX_MORE;
    }
    if (yamux->frame_flags != FLAG_ACK) {
        return bad(yamux, YAMUX_FAULT_FLAGS);
    }
    if (!yamux->ping_out || yamux->frame_left != yamux->ping_value) {
        return bad(yamux, YAMUX_FAULT_PONG);
    }
    uint64_t took = max_u64(now_ns > yamux->ping_ns ? now_ns - yamux->ping_ns : 0, 1);
    yamux->round_trip_ns = yamux->round_trip_ns ? yamux->round_trip_ns / 2 + took / 2 : took;
    yamux->ping_out = false;
    yamux->phase = PHASE_HEAD;
    return YAMUX_PONG;
}

/* A SYN: checked before anybody hears of it, and only with room for the answer no. */
static enum yamux_event act_syn(struct yamux *yamux, struct yamux_step *step) {
    bool ours = (yamux->frame_id % 2 == 1) == yamux->dialer;
    if (ours || find(yamux, yamux->frame_id)) {
        return bad(yamux, YAMUX_FAULT_STREAM_ID);
    }
    if (yamux->frame_type == TYPE_DATA && yamux->frame_left > YAMUX_WINDOW_BYTES) {
        return bad(yamux, YAMUX_FAULT_WINDOW);
    }
    if (yamux->frame_flags & FLAG_RST) {
        yamux->phase = PHASE_FLAGS; /* opened and gone in one breath: nobody needs to know */
        return YAMUX_MORE;
    }
    if (yamux->resets_owed == YAMUX_OWED_MAX) {
        return YAMUX_FULL;
    }
    yamux->phase = PHASE_FLAGS;
    if (yamux->streams >= yamux->streams_max) {
        owe_reset(yamux, yamux->frame_id);
        yamux->refused++;
        return YAMUX_MORE;
    }
    yamux->opened_id = yamux->frame_id;
    step->id = yamux->frame_id;
    return YAMUX_OPENED;
}

/* The head is whole: what it says of the session, and whether it opens a stream. */
static enum yamux_event act(struct yamux *yamux, uint64_t now_ns, struct yamux_step *step) {
    if (yamux->fault != YAMUX_FAULT_NONE) {
        return bad(yamux, yamux->fault);
    }
    if (yamux->frame_type >= TYPE_COUNT) {
        return bad(yamux, YAMUX_FAULT_TYPE);
    }
    if (yamux->frame_flags & ~FLAGS_KNOWN) {
        return bad(yamux, YAMUX_FAULT_FLAGS);
    }
    bool of_session = yamux->frame_type >= TYPE_PING;
    if (of_session != (yamux->frame_id == 0)) {
        return bad(yamux, YAMUX_FAULT_STREAM_ID);
    }
    if (yamux->frame_type == TYPE_PING) {
        return act_ping(yamux, now_ns);
    }
    if (yamux->frame_type == TYPE_GOAWAY) {
        yamux->gone_away = true;
        yamux->phase = PHASE_HEAD;
        step->id = yamux->frame_left;
        return YAMUX_GOAWAY;
    }
    if (yamux->frame_flags & FLAG_SYN) {
        return act_syn(yamux, step);
    }
    yamux->frame_stream = find(yamux, yamux->frame_id);
    yamux->phase = PHASE_FLAGS;
    return YAMUX_MORE;
}

static enum yamux_event act_window(struct yamux *yamux, struct yamux_stream *stream,
                                   struct yamux_step *step) {
    uint32_t delta = yamux->frame_left;
    yamux->frame_left = 0;
    yamux->phase = PHASE_FIN;
    if (!stream || delta == 0) {
        return YAMUX_MORE;
    }
    if (delta > UINT32_MAX - stream->send_window) {
        return bad(yamux, YAMUX_FAULT_WINDOW);
    }
    stream->send_window += delta;
    step->stream = stream;
    return stream->self_done ? YAMUX_MORE : YAMUX_WINDOW;
}

/* What the frame says of its stream, before its payload. */
static enum yamux_event act_flags(struct yamux *yamux, uint64_t now_ns, struct yamux_step *step) {
    struct yamux_stream *stream = yamux->frame_stream;
    bool data = yamux->frame_type == TYPE_DATA;
    if (unlikely(yamux->frame_flags & FLAG_RST)) {
        if (!data) {
            yamux->frame_left = 0; /* a reason, not a delta */
        }
        yamux->phase = PHASE_PAYLOAD;
        if (!stream) {
            return YAMUX_MORE;
        }
        yamux_unlink(yamux, stream);
        step->stream = stream;
        return YAMUX_RESET;
    }
    if (!data) {
        return act_window(yamux, stream, step);
    }
    yamux->phase = PHASE_PAYLOAD;
    if (stream && stream->peer_done) {
        yamux->frame_stream = NULL;
    } else if (stream) {
        if (yamux->frame_left > stream->receive_left) {
            return bad(yamux, YAMUX_FAULT_WINDOW);
        }
        stream->receive_left -= yamux->frame_left;
        if (stream->update_ns == 0) {
            stream->update_ns = now_ns;
        }
    }
    return YAMUX_MORE;
}

static enum yamux_event read_payload(struct yamux *yamux, const uint8_t *bytes, size_t count,
                                     struct yamux_step *step) {
    uint32_t take = (uint32_t)min_u64(count - step->used, yamux->frame_left);
    if (take == 0) {
        yamux->phase = PHASE_FIN;
        return YAMUX_MORE;
    }
    yamux->frame_left -= take;
    step->bytes = bytes + step->used;
    step->used += take;
    if (!yamux->frame_stream) {
        yamux->drained_bytes += take;
        return YAMUX_MORE;
    }
    step->stream = yamux->frame_stream;
    step->count = take;
    return YAMUX_DATA;
}

static enum yamux_event act_fin(struct yamux *yamux, struct yamux_step *step) {
    struct yamux_stream *stream = yamux->frame_stream;
    yamux->phase = PHASE_HEAD;
    if (likely(!(yamux->frame_flags & FLAG_FIN)) || !stream || stream->peer_done) {
        return YAMUX_MORE;
    }
    stream->peer_done = true;
    settle(yamux, stream, OWES_WINDOW); /* nobody would use it */
    step->stream = stream;
    return YAMUX_FIN;
}

enum yamux_event yamux_step(struct yamux *yamux, const uint8_t *bytes, size_t count,
                            uint64_t now_ns, struct yamux_step *ret_step) {
    must(yamux->opened_id == 0); /* OPENED must be answered first */
    struct yamux_step step = {.used = 0};
    enum yamux_event event = YAMUX_MORE;
    while (event == YAMUX_MORE) {
        switch ((enum phase)yamux->phase) {
        case PHASE_HEAD:
            if (!read_head(yamux, bytes, count, &step.used)) {
                goto taken;
            }
            break;
        case PHASE_ACT:
            event = act(yamux, now_ns, &step);
            break;
        case PHASE_FLAGS:
            event = act_flags(yamux, now_ns, &step);
            break;
        case PHASE_PAYLOAD:
            if (yamux->frame_left > 0 && step.used == count) {
                goto taken;
            }
            event = read_payload(yamux, bytes, count, &step);
            break;
        case PHASE_FIN:
            event = act_fin(yamux, &step);
            break;
        case PHASE_DEAD:
            event = YAMUX_BAD;
            break;
        }
    }
taken:
    step.fault = event == YAMUX_BAD ? yamux->fault : YAMUX_FAULT_NONE;
    *ret_step = step;
    return event;
}

/* ---- what the owner asks for ---- */

void yamux_accept(struct yamux *yamux, struct yamux_stream *stream) {
    must(yamux->opened_id != 0);
    stream_insert(yamux, stream, yamux->opened_id);
    owe(yamux, stream, OWES_ACK);
    yamux->frame_stream = stream;
    yamux->opened_id = 0;
}

void yamux_refuse(struct yamux *yamux) {
    must(yamux->opened_id != 0);
    owe_reset(yamux, yamux->opened_id);
    yamux->opened_id = 0;
}

bool yamux_open_stream(struct yamux *yamux, struct yamux_stream *stream) {
    if (yamux->gone_away || yamux->streams >= yamux->streams_max ||
        yamux->next_id > UINT32_MAX - 2) {
        return false;
    }
    stream_insert(yamux, stream, yamux->next_id);
    owe(yamux, stream, OWES_SYN);
    yamux->next_id += 2;
    return true;
}

void yamux_finish(struct yamux *yamux, struct yamux_stream *stream) {
    if (!stream->self_done) {
        stream->self_done = true;
        owe(yamux, stream, OWES_FIN);
    }
}

bool yamux_reset(struct yamux *yamux, struct yamux_stream *stream) {
    if (!(stream->owes & OWES_SYN)) {
        if (yamux->resets_owed == YAMUX_OWED_MAX) {
            return false;
        }
        owe_reset(yamux, stream->id);
    }
    yamux_unlink(yamux, stream);
    return true;
}

bool yamux_over(const struct yamux_stream *stream) {
    return stream->peer_done && stream->self_done && !stream->owes;
}

void yamux_consumed(struct yamux *yamux, struct yamux_stream *stream, uint32_t count,
                    uint64_t now_ns) {
    must(count <= stream->receive_window - stream->receive_left - stream->consumed);
    stream->consumed += count;
    if (stream->consumed < stream->receive_window / 2 || stream->peer_done) {
        return;
    }
    if (!(stream->owes & OWES_WINDOW)) {
        uint64_t took = now_ns - stream->update_ns;
        if (yamux->round_trip_ns && took < GROW_ROUND_TRIPS * yamux->round_trip_ns) {
            uint32_t before = stream->receive_window;
            stream->receive_window = min_u32(2 * before, yamux->window_max);
            stream->consumed += stream->receive_window - before; /* given with the update */
        }
        stream->update_ns = now_ns;
    }
    owe(yamux, stream, OWES_WINDOW);
}

/* ---- writing ---- */

static void put_head(uint8_t *out, uint8_t type, uint16_t flags, uint32_t id, uint32_t length) {
    out[0] = 0;
    out[1] = type;
    put_be16(out + 2, flags);
    put_be32(out + 4, id);
    put_be32(out + 8, length);
}

void yamux_data_head(struct yamux *yamux, struct yamux_stream *stream, uint32_t count,
                     uint8_t out[YAMUX_HEAD_BYTES]) {
    must(count > 0 && count <= stream->send_window);
    must(!stream->self_done);
    uint8_t flags = stream->owes & (OWES_SYN | OWES_ACK);
    put_head(out, TYPE_DATA, flags, stream->id, count);
    stream->send_window -= count;
    if (unlikely(flags)) {
        settle(yamux, stream, flags);
    }
}

bool yamux_ping(struct yamux *yamux) {
    if (yamux->ping_owed || yamux->ping_out) {
        return false;
    }
    yamux->ping_owed = true;
    return true;
}

void yamux_go_away(struct yamux *yamux, uint32_t code) {
    yamux->goaway_owed = true;
    yamux->goaway_code = code;
}

bool yamux_owes(const struct yamux *yamux) {
    return yamux->owed_head || yamux->pongs_owed || yamux->resets_owed || yamux->ping_owed ||
           yamux->goaway_owed;
}

/* Writes the first of `list`, as many as fit. Returns: bytes. */
static size_t write_list(uint32_t *list, uint32_t *list_count, bool pongs, uint8_t *out,
                         size_t room) {
    uint32_t count = (uint32_t)min_u64(*list_count, room / YAMUX_HEAD_BYTES);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *at = out + (size_t)i * YAMUX_HEAD_BYTES;
        if (pongs) {
            put_head(at, TYPE_PING, FLAG_ACK, 0, list[i]);
        } else {
            put_head(at, TYPE_WINDOW, FLAG_RST, list[i], 0);
        }
    }
    *list_count -= count;
    memmove(list, list + count, *list_count * sizeof *list);
    return (size_t)count * YAMUX_HEAD_BYTES;
}

static void write_stream(struct yamux *yamux, struct yamux_stream *stream, uint8_t *out) {
    uint8_t first = stream->owes & (OWES_SYN | OWES_ACK | OWES_WINDOW);
    if (!first) {
        put_head(out, TYPE_WINDOW, FLAG_FIN, stream->id, 0);
        settle(yamux, stream, OWES_FIN);
        return;
    }
    uint32_t delta = 0;
    if (first & OWES_WINDOW) {
        delta = stream->consumed;
        stream->receive_left += delta;
        stream->consumed = 0;
    }
    put_head(out, TYPE_WINDOW, first & (OWES_SYN | OWES_ACK), stream->id, delta);
    settle(yamux, stream, first);
}

size_t yamux_write_owed(struct yamux *yamux, uint64_t now_ns, uint8_t *out, size_t room) {
    if (room < YAMUX_WRITE_MIN) {
        return 0;
    }
    size_t used = write_list(yamux->pongs, &yamux->pongs_owed, true, out, room);
    if (yamux->ping_owed && room - used >= YAMUX_HEAD_BYTES) {
        put_head(out + used, TYPE_PING, FLAG_SYN, 0, ++yamux->ping_value);
        used += YAMUX_HEAD_BYTES;
        yamux->ping_owed = false;
        yamux->ping_out = true;
        yamux->ping_ns = now_ns;
    }
    used += write_list(yamux->resets, &yamux->resets_owed, false, out + used, room - used);
    while (yamux->owed_head && room - used >= YAMUX_HEAD_BYTES) {
        write_stream(yamux, yamux->owed_head, out + used);
        used += YAMUX_HEAD_BYTES;
    }
    if (yamux->goaway_owed && room - used >= YAMUX_HEAD_BYTES) {
        put_head(out + used, TYPE_GOAWAY, 0, 0, yamux->goaway_code);
        used += YAMUX_HEAD_BYTES;
        yamux->goaway_owed = false;
    }
    return used;
}
