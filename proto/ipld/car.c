/* SPDX-License-Identifier: MIT */
#include "proto/ipld/car.h"

#include "base/bits.h"
#include "base/must.h"
#include "base/varint.h"
#include "proto/ipld/car_header.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/*   LENGTH -> HEADER -+- v1 ------------------------------------+-> SECTION <-> BODY
 *                     +- v2 -> PREFACE -> SKIP -> LENGTH ... ---+       |
 *                                                                       +-> TAIL (all that follows)
 *   a section that cannot be right: BODY or LENGTH -> WRONG (its CID is read, to name it) -> DEAD
 */
enum car_state {
    STATE_LENGTH,  /* the varint before a header */
    STATE_HEADER,  /* `wanted` bytes of dag-cbor */
    STATE_PREFACE, /* the 40 bytes of a v2 */
    STATE_SKIP,    /* `skip` bytes up to the data of a v2 */
    STATE_SECTION, /* the varint before a section */
    STATE_BODY,    /* `wanted` bytes of CID and block */
    STATE_WRONG,   /* `wanted` bytes that may hold the CID of a section we refuse */
    STATE_TAIL,    /* behind the archive: index or padding, not read */
    STATE_DEAD,
};

enum { PREFACE_BYTES = 40, PRAGMA_BYTES = 11 };

void car_reader_init(struct car_reader *reader, void *buffer, size_t buffer_bytes, bool zero_ends) {
    must(buffer_bytes >= CAR_BUFFER_MIN);
    *reader = (struct car_reader){
        .buffer = buffer,
        .header_max = (uint32_t)min_u64(buffer_bytes, CAR_HEADER_MAX),
        .section_max = (uint32_t)min_u64(buffer_bytes, CAR_SECTION_MAX),
        .zero_ends = zero_ends,
        .window_end = UINT64_MAX,
    };
}

const char *car_fault_name(enum car_fault fault) {
    switch (fault) {
    case CAR_TRUNCATED:
        return "truncated";
    case CAR_BAD_VARINT:
        return "bad varint";
    case CAR_BAD_HEADER:
        return "bad header";
    case CAR_BAD_VERSION:
        return "bad version";
    case CAR_TOO_LONG:
        return "too long";
    case CAR_PAST_END:
        return "past the end";
    case CAR_ZERO_LENGTH:
        return "zero-length section";
    case CAR_BAD_CID:
        return "bad CID";
    }
    return "unknown";
}

static enum car_event bad(struct car_reader *reader, struct car_step *step, enum car_fault fault,
                          const char *format, ...) __attribute__((format(printf, 4, 5)));

/* The sentence gets the CID at its end, where it is known. */
static enum car_event bad(struct car_reader *reader, struct car_step *step, enum car_fault fault,
                          const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(step->text, sizeof step->text, format, arguments);
    va_end(arguments);
    if (step->cid_known) {
        char cid[CID_TEXT_MAX];
        size_t at = strlen(step->text);
        cid_format(&step->cid, cid);
        snprintf(step->text + at, sizeof step->text - at, " (CID %s)", cid);
    }
    step->fault = fault;
    step->offset = reader->start;
    reader->state = STATE_DEAD;
    return CAR_BAD;
}

/* ---- taking bytes ---- */

struct input {
    const uint8_t *at;
    const uint8_t *end;
};

static size_t input_left(const struct input *input) {
    return (size_t)(input->end - input->at);
}

static void input_take(struct car_reader *reader, struct input *input, size_t count) {
    input->at += count;
    reader->offset += count;
}

/* Returns: the `wanted` bytes in one piece, or NULL when they are not all there yet. */
static const uint8_t *gather(struct car_reader *reader, struct input *input) {
    const uint8_t *here = input->at;
    if (reader->gathered == 0 && input_left(input) >= reader->wanted) {
        input_take(reader, input, reader->wanted);
        return here;
    }
    size_t take = min_u64(reader->wanted - reader->gathered, input_left(input));
    if (take > 0) {
        memcpy(reader->buffer + reader->gathered, here, take);
    }
    reader->gathered += (uint32_t)take;
    input_take(reader, input, take);
    return reader->gathered == reader->wanted ? reader->buffer : NULL;
}

static void want(struct car_reader *reader, enum car_state state, uint64_t bytes) {
    reader->state = (uint8_t)state;
    reader->wanted = (uint32_t)bytes;
    reader->gathered = 0;
}

/* Byte by byte into `varint`. Returns: 0, VARINT_SHORT (the input is used up), VARINT_BAD. */
static int length_take(struct car_reader *reader, struct input *input, uint64_t *ret_length) {
    while (input_left(input) > 0 && reader->offset < reader->window_end) {
        if (reader->varint_count == 0) {
            reader->start = reader->offset;
        }
        size_t used;
        reader->varint[reader->varint_count++] = *input->at;
        input_take(reader, input, 1);
        int r = varint_read(reader->varint, reader->varint_count, ret_length, &used);
        if (r != VARINT_SHORT) {
            reader->varint_count = 0;
            return r;
        }
    }
    return VARINT_SHORT;
}

/* ---- what the bytes mean ---- */

static enum car_event header_length(struct car_reader *reader, struct input *input,
                                    struct car_step *step) {
    uint64_t length;
    int r = length_take(reader, input, &length);
    if (r == VARINT_SHORT && reader->offset == reader->window_end) {
        return bad(reader, step, CAR_PAST_END,
                   "the header's length at offset %llu leaves the data window, which ends at %llu",
                   (unsigned long long)reader->start, (unsigned long long)reader->window_end);
    }
    if (r == VARINT_SHORT) {
        return CAR_MORE;
    }
    if (r != 0) {
        return bad(reader, step, CAR_BAD_VARINT,
                   "the header's length at offset %llu is not a varint: not a CAR",
                   (unsigned long long)reader->start);
    }
    reader->announced = length;
    if (length == 0) {
        return bad(reader, step, CAR_ZERO_LENGTH, "the header at offset %llu has length zero",
                   (unsigned long long)reader->start);
    }
    if (length > reader->header_max) {
        return bad(reader, step, CAR_TOO_LONG,
                   "the header at offset %llu announces %llu bytes; at most %u are read",
                   (unsigned long long)reader->start, (unsigned long long)length,
                   reader->header_max);
    }
    if (length > reader->window_end - reader->offset) {
        return bad(reader, step, CAR_PAST_END,
                   "the header at offset %llu leaves the data window, which ends at %llu",
                   (unsigned long long)reader->start, (unsigned long long)reader->window_end);
    }
    want(reader, STATE_HEADER, length);
    return CAR_MORE;
}

static enum car_event header_take(struct car_reader *reader, struct input *input,
                                  struct car_step *step) {
    const uint8_t *bytes = gather(reader, input);
    if (!bytes) {
        return CAR_MORE;
    }
    struct car_header header;
    const char *why = car_header_read(bytes, reader->wanted, &header);
    if (why) {
        return bad(reader, step, CAR_BAD_HEADER, "the header at offset %llu is damaged: %s",
                   (unsigned long long)reader->start, why);
    }
    bool pragma = header.version == 2 && !reader->version_2;
    if (pragma && reader->wanted == PRAGMA_BYTES - 1) {
        reader->version_2 = true;
        want(reader, STATE_PREFACE, PREFACE_BYTES);
        return CAR_MORE;
    }
    if (header.version != 1) {
        return bad(reader, step, CAR_BAD_VERSION,
                   "the header at offset %llu has version %llu, which is not read here",
                   (unsigned long long)reader->start, (unsigned long long)header.version);
    }
    if (!header.roots_present) {
        return bad(reader, step, CAR_BAD_HEADER, "the header at offset %llu has no roots",
                   (unsigned long long)reader->start);
    }
    step->version = reader->version_2 ? 2 : 1;
    step->roots = header.roots;
    reader->state = STATE_SECTION;
    return CAR_HEADER;
}

static enum car_event preface_take(struct car_reader *reader, struct input *input,
                                   struct car_step *step) {
    const uint8_t *bytes = gather(reader, input);
    if (!bytes) {
        return CAR_MORE;
    }
    reader->start = PRAGMA_BYTES;
    uint64_t data_offset = get_le64(bytes + 16);
    uint64_t data_bytes = get_le64(bytes + 24);
    if (data_offset < PRAGMA_BYTES + PREFACE_BYTES || data_bytes == 0 ||
        data_bytes > (uint64_t)INT64_MAX || data_offset > (uint64_t)INT64_MAX) {
        return bad(reader, step, CAR_BAD_HEADER,
                   "the CARv2 header at offset %llu puts its data at %llu, %llu bytes long",
                   (unsigned long long)reader->start, (unsigned long long)data_offset,
                   (unsigned long long)data_bytes);
    }
    reader->skip = data_offset - reader->offset;
    reader->window_end = data_offset + data_bytes;
    reader->state = STATE_SKIP;
    return CAR_MORE;
}

static enum car_event skip_take(struct car_reader *reader, struct input *input) {
    size_t take = min_u64(reader->skip, input_left(input));
    reader->skip -= take;
    input_take(reader, input, take);
    if (reader->skip == 0) {
        reader->state = STATE_LENGTH;
    }
    return CAR_MORE;
}

/* A section whose length cannot be right: look for the CID it begins with, then say so. */
static enum car_event section_wrong(struct car_reader *reader) {
    uint64_t window = reader->window_end - reader->offset;
    want(reader, STATE_WRONG, min_u64(min_u64(reader->announced, window), CID_BYTES_MAX));
    return CAR_MORE;
}

static enum car_event section_length(struct car_reader *reader, struct input *input,
                                     struct car_step *step) {
    uint64_t length;
    if (reader->offset == reader->window_end) {
        if (reader->varint_count > 0) {
            return bad(reader, step, CAR_PAST_END,
                       "the length at offset %llu leaves the data window, which ends at %llu",
                       (unsigned long long)reader->start, (unsigned long long)reader->window_end);
        }
        reader->state = STATE_TAIL;
        return CAR_MORE;
    }
    int r = length_take(reader, input, &length);
    if (r == VARINT_SHORT) {
        return CAR_MORE;
    }
    if (r != 0) {
        return bad(reader, step, CAR_BAD_VARINT,
                   "the section's length at offset %llu is not a varint",
                   (unsigned long long)reader->start);
    }
    reader->announced = length;
    if (length == 0 && reader->zero_ends) {
        reader->state = STATE_TAIL;
        return CAR_MORE;
    }
    if (length == 0) {
        return bad(reader, step, CAR_ZERO_LENGTH, "the section at offset %llu has length zero",
                   (unsigned long long)reader->start);
    }
    if (length > reader->section_max || length > reader->window_end - reader->offset) {
        return section_wrong(reader);
    }
    want(reader, STATE_BODY, length);
    return CAR_MORE;
}

static enum car_event body_take(struct car_reader *reader, struct input *input,
                                struct car_step *step) {
    const uint8_t *bytes = gather(reader, input);
    if (!bytes) {
        return CAR_MORE;
    }
    size_t used;
    reader->state = STATE_SECTION;
    if (cid_read(bytes, reader->wanted, &step->cid, &used) != 0) {
        enum car_event event = bad(reader, step, CAR_BAD_CID,
                                   "the section at offset %llu, %u bytes long, has no valid CID",
                                   (unsigned long long)reader->start, reader->wanted);
        /* Its length was sound: what is behind it can still be read. */
        reader->state = STATE_SECTION;
        step->skipped = true;
        return event;
    }
    step->offset = reader->start;
    step->cid_bytes = bytes;
    step->cid_bytes_count = (uint32_t)used;
    step->data = bytes + used;
    step->data_bytes = reader->wanted - (uint32_t)used;
    return CAR_BLOCK;
}

static void cid_look(const uint8_t *bytes, size_t count, struct car_step *step) {
    size_t used;
    step->cid_known = cid_read(bytes, count, &step->cid, &used) == 0;
}

static enum car_event wrong_say(struct car_reader *reader, const uint8_t *bytes, size_t count,
                                struct car_step *step) {
    cid_look(bytes, count, step);
    if (reader->announced > reader->section_max) {
        return bad(reader, step, CAR_TOO_LONG,
                   "the section at offset %llu announces %llu bytes; at most %u are read",
                   (unsigned long long)reader->start, (unsigned long long)reader->announced,
                   reader->section_max);
    }
    return bad(reader, step, CAR_PAST_END,
               "the section at offset %llu announces %llu bytes but the data ends at offset %llu",
               (unsigned long long)reader->start, (unsigned long long)reader->announced,
               (unsigned long long)reader->window_end);
}

static enum car_event state_take(struct car_reader *reader, struct input *input,
                                 struct car_step *step) {
    const uint8_t *bytes;
    switch ((enum car_state)reader->state) {
    case STATE_LENGTH:
        return header_length(reader, input, step);
    case STATE_HEADER:
        return header_take(reader, input, step);
    case STATE_PREFACE:
        return preface_take(reader, input, step);
    case STATE_SKIP:
        return skip_take(reader, input);
    case STATE_SECTION:
        return section_length(reader, input, step);
    case STATE_BODY:
        return body_take(reader, input, step);
    case STATE_WRONG:
        bytes = gather(reader, input);
        return bytes ? wrong_say(reader, bytes, reader->wanted, step) : CAR_MORE;
    case STATE_TAIL:
        input_take(reader, input, input_left(input));
        return CAR_MORE;
    case STATE_DEAD:
        never("a CAR reader was used after its end");
    }
    never("a state that does not exist");
}

enum car_event car_reader_step(struct car_reader *reader, const uint8_t *bytes, size_t count,
                               struct car_step *ret_step) {
    struct input input = {bytes, bytes + count};
    enum car_event event = CAR_MORE;
    ret_step->skipped = false;
    ret_step->cid_known = false;
    while (event == CAR_MORE && input_left(&input) > 0) {
        event = state_take(reader, &input, ret_step);
    }
    ret_step->used = (size_t)(input.at - bytes);
    return event;
}

bool car_reader_peek(const struct car_reader *reader, const uint8_t *bytes, size_t count,
                     struct car_step *ret_step) {
    struct car_step *step = ret_step;
    uint64_t length;
    size_t head, used;
    if (reader->state != STATE_SECTION || reader->varint_count > 0 ||
        varint_read(bytes, count, &length, &head) != 0) {
        return false;
    }
    uint64_t window = reader->window_end - reader->offset;
    if (length == 0 || length > reader->section_max || head > window || length > window - head ||
        cid_read(bytes + head, min_u64(count - head, length), &step->cid, &used) != 0) {
        return false;
    }
    step->used = head + used;
    step->offset = reader->offset;
    step->cid_bytes = bytes + head;
    step->cid_bytes_count = (uint32_t)used;
    step->data = NULL;
    step->data_bytes = (uint32_t)(length - used);
    return true;
}

void car_reader_pass(struct car_reader *reader, const struct car_step *step) {
    must(reader->state == STATE_SECTION && reader->varint_count == 0);
    must(reader->offset == step->offset);
    reader->offset += step->used + step->data_bytes;
}

static const char *state_words(enum car_state state) {
    switch (state) {
    case STATE_LENGTH:
    case STATE_HEADER:
        return "header";
    case STATE_PREFACE:
    case STATE_SKIP:
        return "CARv2 header";
    case STATE_SECTION:
    case STATE_BODY:
    case STATE_WRONG:
    case STATE_TAIL:
    case STATE_DEAD:
        return "section";
    }
    never("a state that does not exist");
}

enum car_event car_reader_end(struct car_reader *reader, struct car_step *ret_step) {
    enum car_state state = (enum car_state)reader->state;
    struct car_step *step = ret_step;
    must(state != STATE_DEAD);
    step->used = 0;
    step->skipped = false;
    step->cid_known = false;
    bool window_open = reader->window_end != UINT64_MAX && reader->offset < reader->window_end;
    if (state == STATE_TAIL ||
        (state == STATE_SECTION && reader->varint_count == 0 && !window_open)) {
        reader->state = STATE_DEAD;
        return CAR_END;
    }
    if (reader->offset == 0) {
        return bad(reader, step, CAR_TRUNCATED, "the file is empty: not a CAR");
    }
    if (state == STATE_WRONG) {
        return wrong_say(reader, reader->buffer, reader->gathered, step);
    }
    if (state == STATE_BODY) {
        cid_look(reader->buffer, reader->gathered, step);
        return bad(reader, step, CAR_TRUNCATED,
                   "the section at offset %llu announces %llu bytes but the file ends after %u of "
                   "them, at offset %llu",
                   (unsigned long long)reader->start, (unsigned long long)reader->announced,
                   reader->gathered, (unsigned long long)reader->offset);
    }
    if (state == STATE_SECTION && reader->varint_count == 0) {
        reader->start = reader->offset;
    } else if (state == STATE_PREFACE || state == STATE_SKIP) {
        reader->start = PRAGMA_BYTES;
    }
    return bad(reader, step, CAR_TRUNCATED,
               "the file ends at offset %llu, inside the %s that begins at offset %llu",
               (unsigned long long)reader->offset, state_words(state),
               (unsigned long long)reader->start);
}
