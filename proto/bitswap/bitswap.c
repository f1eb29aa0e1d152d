/* SPDX-License-Identifier: MIT */
#include "proto/bitswap/bitswap.h"

#include "base/bits.h"
#include "base/must.h"
#include "base/varint.h"
#include "proto/bitswap/bitswap_entry.h"
#include "proto/wire.h"

#include <string.h>

/*   LENGTH -> FIELD -+- varint --> VALUE ------------------------> FIELD
 *     ^        |     +- bytes ---> SIZE -+- a list or payload opens: FIELD inside it
 *     |        |     |                   +- entry, presence, prefix: GATHER -> FIELD
 *     |        |     |                   +- block: BLOCK -> DATA ----------> FIELD
 *     |        |     +- fixed ---> SKIP  +- the rest: SKIP ----------------> FIELD
 *     +- END --+ what is open has no bytes left: a payload ends, then a list, then the message
 *
 * `left` counts down what is left of the innermost thing open; `outer_left` what follows it in the
 * message. A length is taken off `left` as a whole where it is read, so nothing nested can reach
 * beyond what holds it, and the runs of GATHER, DATA and SKIP need no look at it. */
enum bitswap_state {
    STATE_LENGTH, /* the varint before a message; `left` is what a varint may still take */
    STATE_FIELD,  /* a key, or the end of what is open */
    STATE_VALUE,  /* a varint field's value */
    STATE_SIZE,   /* a bytes field's length */
    STATE_GATHER, /* `run` bytes that are understood as a whole */
    STATE_BLOCK,  /* a block of `run` bytes is to be announced */
    STATE_DATA,   /* `run` bytes of block */
    STATE_SKIP,   /* `run` bytes to pass over */
    STATE_DEAD    /* bad, for good */
};

enum bitswap_inside { IN_MESSAGE, IN_LIST, IN_PAYLOAD };

/* Numbers of the fields. */
enum { MESSAGE_LIST = 1, MESSAGE_BLOCK_100, MESSAGE_PAYLOAD, MESSAGE_PRESENCE, MESSAGE_PENDING };
enum { LIST_ENTRY = 1, LIST_FULL };
enum { PAYLOAD_PREFIX = 1, PAYLOAD_DATA };

/* What a state returns beside an event: it has moved on, and there is nothing to tell. */
enum { GO_ON = -1 };

struct input {
    const uint8_t *at;
    const uint8_t *end;
};

static size_t input_left(const struct input *input) {
    return (size_t)(input->end - input->at);
}

void bitswap_reader_init(struct bitswap_reader *reader) {
    /* Not the buffer: it is written before it is read. */
    memset(reader, 0, offsetof(struct bitswap_reader, buffer));
    reader->state = STATE_LENGTH;
    reader->left = BITSWAP_LENGTH_MAX;
}

bool bitswap_reader_idle(const struct bitswap_reader *reader) {
    return reader->state == STATE_LENGTH && reader->varint_count == 0;
}

static int bad(struct bitswap_reader *reader) {
    reader->state = STATE_DEAD;
    return BITSWAP_BAD;
}

/* ---- taking bytes ---- */

/* Protobuf's varint: up to ten bytes, minimal or not. Returns: 0, VARINT_SHORT (the input is used
 * up), VARINT_BAD (more than 64 bits, or beyond what holds it). */
static int varint_take(struct bitswap_reader *reader, struct input *input, uint64_t *ret_value) {
    if (likely(reader->varint_count == 0 && reader->left > 0 && input->at < input->end &&
               *input->at < 0x80)) {
        *ret_value = *input->at++;
        reader->left--;
        return 0;
    }
    while (reader->left > 0 && input->at < input->end) {
        uint8_t byte = *input->at++;
        uint32_t index = reader->varint_count++;
        reader->left--;
        if (index == 9 && byte > 1) {
            return VARINT_BAD;
        }
        reader->varint |= (uint64_t)(byte & 0x7fu) << (7 * index);
        if (byte < 0x80) {
            *ret_value = reader->varint;
            reader->varint = 0;
            reader->varint_count = 0;
            return 0;
        }
    }
    return reader->left > 0 ? VARINT_SHORT : VARINT_BAD;
}

/* Returns: the `run` bytes in one piece, or NULL when they are not all there yet. */
static const uint8_t *gather(struct bitswap_reader *reader, struct input *input) {
    const uint8_t *here = input->at;
    if (likely(reader->gathered == 0 && input_left(input) >= reader->run)) {
        input->at += reader->run;
        return here;
    }
    size_t take = min_u64(reader->run - reader->gathered, input_left(input));
    if (take > 0) {
        memcpy(reader->buffer + reader->gathered, here, take);
    }
    reader->gathered += (uint32_t)take;
    input->at += take;
    return reader->gathered == reader->run ? reader->buffer : NULL;
}

static int run_start(struct bitswap_reader *reader, enum bitswap_state state, uint32_t bytes) {
    reader->state = (uint8_t)state;
    reader->run = bytes;
    reader->gathered = 0;
    return GO_ON;
}

static int open_inside(struct bitswap_reader *reader, enum bitswap_inside inside, uint32_t bytes) {
    reader->inside = (uint8_t)inside;
    reader->outer_left = reader->left;
    reader->left = bytes;
    reader->state = STATE_FIELD;
    return GO_ON;
}

/* ---- what the bytes mean ---- */

static int length_take(struct bitswap_reader *reader, struct input *input,
                       struct bitswap_step *step) {
    uint64_t length;
    int r = varint_take(reader, input, &length);
    if (r == VARINT_SHORT) {
        return BITSWAP_MORE;
    }
    /* As Go reads it: the shortest form only. */
    if (r != 0 || length > BITSWAP_MESSAGE_MAX ||
        varint_bytes(length) != BITSWAP_LENGTH_MAX - reader->left) {
        return bad(reader);
    }
    if (length == 0) {
        reader->left = BITSWAP_LENGTH_MAX;
        return GO_ON;
    }
    reader->left = (uint32_t)length;
    reader->inside = IN_MESSAGE;
    reader->state = STATE_FIELD;
    step->message_bytes = (uint32_t)length;
    return BITSWAP_BEGIN;
}

static int payload_end(struct bitswap_reader *reader, struct bitswap_step *step) {
    if (!reader->block_open) {
        /* A payload without data is an empty block, as in protobuf. */
        reader->block_open = true;
        step->block_bytes = 0;
        return BITSWAP_BLOCK;
    }
    reader->block_open = false;
    reader->inside = IN_MESSAGE;
    reader->left = reader->outer_left;
    step->prefix = reader->prefix;
    return BITSWAP_BLOCK_END;
}

/* The innermost thing open has no bytes left. */
static int inside_end(struct bitswap_reader *reader, struct bitswap_step *step) {
    switch ((enum bitswap_inside)reader->inside) {
    case IN_PAYLOAD:
        return payload_end(reader, step);
    case IN_LIST:
        reader->inside = IN_MESSAGE;
        reader->left = reader->outer_left;
        return GO_ON;
    case IN_MESSAGE:
        break;
    }
    if (reader->full) {
        reader->full = false;
        return BITSWAP_FULL;
    }
    reader->state = STATE_LENGTH;
    reader->left = BITSWAP_LENGTH_MAX;
    return BITSWAP_END;
}

static int field_take(struct bitswap_reader *reader, struct input *input,
                      struct bitswap_step *step) {
    if (reader->left == 0 && reader->varint_count == 0) {
        return inside_end(reader, step);
    }
    uint64_t key;
    int r = varint_take(reader, input, &key);
    if (r == VARINT_SHORT) {
        return BITSWAP_MORE;
    }
    if (r != 0 || key > UINT32_MAX || key >> 3 == 0) {
        return bad(reader);
    }
    reader->field = (uint32_t)key >> 3;
    uint32_t fixed_bytes = 4;
    switch (key & 7) {
    case WIRE_VARINT:
        reader->state = STATE_VALUE;
        return GO_ON;
    case WIRE_BYTES:
        reader->state = STATE_SIZE;
        return GO_ON;
    case WIRE_FIXED64:
        fixed_bytes = 8;
        break;
    case WIRE_FIXED32:
        break;
    default:
        return bad(reader);
    }
    if (fixed_bytes > reader->left) {
        return bad(reader);
    }
    reader->left -= fixed_bytes;
    return run_start(reader, STATE_SKIP, fixed_bytes);
}

static int value_take(struct bitswap_reader *reader, struct input *input,
                      struct bitswap_step *step) {
    uint64_t value;
    int r = varint_take(reader, input, &value);
    if (r != 0) {
        return r == VARINT_SHORT ? BITSWAP_MORE : bad(reader);
    }
    reader->state = STATE_FIELD;
    if (reader->inside == IN_LIST && reader->field == LIST_FULL) {
        reader->full = value != 0; /* told at the end: a later one may say otherwise */
    } else if (reader->inside == IN_MESSAGE && reader->field == MESSAGE_PENDING) {
        step->pending_bytes = (int32_t)(uint32_t)value;
        return BITSWAP_PENDING;
    }
    return GO_ON;
}

static int data_start(struct bitswap_reader *reader, uint32_t bytes, struct bitswap_step *step) {
    run_start(reader, STATE_BLOCK, bytes);
    if (!reader->block_open) {
        return GO_ON;
    }
    /* Data for the second time in one payload: the last counts, so nobody can name the first. */
    reader->block_open = false;
    step->prefix = (struct bitswap_prefix){.known = false};
    return BITSWAP_BLOCK_END;
}

static int small_start(struct bitswap_reader *reader, uint32_t bytes) {
    if (bytes > BITSWAP_ENTRY_MAX) {
        reader->skipped++;
        return run_start(reader, STATE_SKIP, bytes);
    }
    return run_start(reader, STATE_GATHER, bytes);
}

static int message_field(struct bitswap_reader *reader, uint32_t bytes) {
    switch (reader->field) {
    case MESSAGE_LIST:
        return open_inside(reader, IN_LIST, bytes);
    case MESSAGE_BLOCK_100:
        /* As if it were a payload of nothing but data, whose prefix everybody knows. */
        open_inside(reader, IN_PAYLOAD, 0);
        reader->prefix = (struct bitswap_prefix){
            .form = {CID_DAG_PB, 0}, .hash = HASH_SHA2_256, .digest_bytes = 32, .known = true};
        return run_start(reader, STATE_BLOCK, bytes);
    case MESSAGE_PAYLOAD:
        reader->prefix = (struct bitswap_prefix){.known = false};
        return open_inside(reader, IN_PAYLOAD, bytes);
    case MESSAGE_PRESENCE:
        return small_start(reader, bytes);
    default:
        return run_start(reader, STATE_SKIP, bytes);
    }
}

static int payload_field(struct bitswap_reader *reader, uint32_t bytes, struct bitswap_step *step) {
    if (reader->field == PAYLOAD_DATA) {
        return data_start(reader, bytes, step);
    }
    if (reader->field != PAYLOAD_PREFIX) {
        return run_start(reader, STATE_SKIP, bytes);
    }
    reader->prefix = (struct bitswap_prefix){.known = false};
    return run_start(reader, bytes > BITSWAP_PREFIX_MAX ? STATE_SKIP : STATE_GATHER, bytes);
}

static int size_take(struct bitswap_reader *reader, struct input *input,
                     struct bitswap_step *step) {
    uint64_t bytes;
    int r = varint_take(reader, input, &bytes);
    if (r == VARINT_SHORT) {
        return BITSWAP_MORE;
    }
    if (r != 0 || bytes > reader->left) {
        return bad(reader);
    }
    reader->left -= (uint32_t)bytes;
    switch ((enum bitswap_inside)reader->inside) {
    case IN_MESSAGE:
        return message_field(reader, (uint32_t)bytes);
    case IN_LIST:
        return reader->field == LIST_ENTRY ? small_start(reader, (uint32_t)bytes)
                                           : run_start(reader, STATE_SKIP, (uint32_t)bytes);
    case IN_PAYLOAD:
        return payload_field(reader, (uint32_t)bytes, step);
    }
    never("a place that does not exist");
}

static int gather_take(struct bitswap_reader *reader, struct input *input,
                       struct bitswap_step *step) {
    const uint8_t *bytes = gather(reader, input);
    if (!bytes) {
        return BITSWAP_MORE;
    }
    reader->state = STATE_FIELD;
    if (reader->inside == IN_PAYLOAD) {
        bitswap_prefix_read(bytes, reader->run, &reader->prefix);
        return GO_ON;
    }
    bool want = reader->inside == IN_LIST;
    int r = want ? bitswap_want_read(bytes, reader->run, &step->want)
                 : bitswap_presence_read(bytes, reader->run, &step->presence);
    if (r == BITSWAP_ENTRY_BAD) {
        return bad(reader);
    }
    if (r == BITSWAP_ENTRY_SKIP) {
        reader->skipped++;
        return GO_ON;
    }
    return want ? BITSWAP_WANT : BITSWAP_PRESENCE;
}

static int data_take(struct bitswap_reader *reader, struct input *input,
                     struct bitswap_step *step) {
    if (reader->run == 0) {
        reader->state = STATE_FIELD;
        return GO_ON;
    }
    uint32_t take = (uint32_t)min_u64(reader->run, input_left(input));
    if (take == 0) {
        return BITSWAP_MORE;
    }
    step->bytes = input->at;
    step->count = take;
    input->at += take;
    reader->run -= take;
    return BITSWAP_DATA;
}

static int skip_take(struct bitswap_reader *reader, struct input *input) {
    uint32_t take = (uint32_t)min_u64(reader->run, input_left(input));
    input->at += take;
    reader->run -= take;
    if (reader->run > 0) {
        return BITSWAP_MORE;
    }
    reader->state = STATE_FIELD;
    return GO_ON;
}

static int state_take(struct bitswap_reader *reader, struct input *input,
                      struct bitswap_step *step) {
    switch ((enum bitswap_state)reader->state) {
    case STATE_LENGTH:
        return length_take(reader, input, step);
    case STATE_FIELD:
        return field_take(reader, input, step);
    case STATE_VALUE:
        return value_take(reader, input, step);
    case STATE_SIZE:
        return size_take(reader, input, step);
    case STATE_GATHER:
        return gather_take(reader, input, step);
    case STATE_BLOCK:
        reader->state = STATE_DATA;
        reader->block_open = true;
        step->block_bytes = reader->run;
        return BITSWAP_BLOCK;
    case STATE_DATA:
        return data_take(reader, input, step);
    case STATE_SKIP:
        return skip_take(reader, input);
    case STATE_DEAD:
        return BITSWAP_BAD;
    }
    never("a state that does not exist");
}

/* Is there something to tell that needs no further byte? */
static bool event_due(const struct bitswap_reader *reader) {
    if (reader->state == STATE_BLOCK) {
        return true;
    }
    bool between = reader->state == STATE_FIELD && reader->varint_count == 0;
    bool behind_data = reader->state == STATE_DATA && reader->run == 0;
    return (between || behind_data) && reader->left == 0 &&
           (reader->inside != IN_LIST || reader->outer_left == 0);
}

hot_path enum bitswap_event bitswap_step(struct bitswap_reader *reader, const uint8_t *bytes,
                                         size_t count, struct bitswap_step *ret_step) {
    struct input input = {bytes, bytes + count};
    int event;
    if (reader->held && count > 0) {
        reader->held = false;
        input.at++;
    }
    do {
        event = state_take(reader, &input, ret_step);
    } while (event == GO_ON);
    if (input.at == input.end && count > 0 && event != BITSWAP_MORE && event_due(reader)) {
        reader->held = true;
        input.at--;
    }
    ret_step->used = (size_t)(input.at - bytes);
    return (enum bitswap_event)event;
}
