/* SPDX-License-Identifier: MIT */
/* Any input is read as a Bitswap stream, whole and cut as the first byte says: the events must be
 * the same. Every want and presence that is read is written again and must come back the same. */

#include "tests/fuzz/fuzz.h"

#include "base/must.h"
#include "proto/bitswap/bitswap.h"

#include <string.h>

struct story {
    uint64_t digest;
    uint32_t skipped;
    uint32_t block_left; /* of the block being handed out */
    bool in_message, in_block;
};

static void mix(struct story *story, const void *data, size_t bytes) {
    const uint8_t *p = data;
    for (size_t i = 0; i < bytes; i++) {
        story->digest = (story->digest ^ p[i]) * UINT64_C(0x100000001b3);
    }
}

static void mix_name(struct story *story, const struct key *key, const struct bitswap_form *form) {
    mix(story, &key->code, sizeof key->code);
    mix(story, key->digest, key->digest_bytes);
    mix(story, &form->codec, sizeof form->codec);
    mix(story, &form->version, sizeof form->version);
}

static void same_name(const struct key *a, const struct bitswap_form *a_form, const struct key *b,
                      const struct bitswap_form *b_form) {
    must(key_equal(a, b));
    must(a_form->codec == b_form->codec);
    must(a_form->version == b_form->version);
}

/* Reads one message made of `bytes`, which holds one thing. */
static enum bitswap_event read_back(const uint8_t *bytes, size_t count, struct bitswap_step *step) {
    struct bitswap_reader reader;
    uint8_t length[BITSWAP_LENGTH_MAX];
    bitswap_reader_init(&reader);
    size_t length_bytes = bitswap_put_length((uint32_t)count, length);
    must(bitswap_step(&reader, length, length_bytes, step) == BITSWAP_BEGIN);
    must(step->message_bytes == count);
    return bitswap_step(&reader, bytes, count, step);
}

static void check_want(const struct bitswap_want *want) {
    uint8_t out[BITSWAP_ENTRY_MAX];
    struct bitswap_step step;
    size_t entry = bitswap_entry_size(want);
    size_t used = bitswap_put_list_head((uint32_t)entry, false, out);
    must(bitswap_put_entry(want, out + used) == entry);
    must(read_back(out, used + entry, &step) == BITSWAP_WANT);
    same_name(&want->key, &want->form, &step.want.key, &step.want.form);
    must(step.want.priority == want->priority);
    must(step.want.cancel == want->cancel);
    must(step.want.have == want->have);
    must(step.want.send_dont_have == want->send_dont_have);
}

static void check_presence(const struct bitswap_presence *presence) {
    uint8_t out[BITSWAP_PRESENCE_MAX];
    struct bitswap_step step;
    size_t used = bitswap_put_presence(&presence->key, &presence->form, presence->have, out);
    must(read_back(out, used, &step) == BITSWAP_PRESENCE);
    same_name(&presence->key, &presence->form, &step.presence.key, &step.presence.form);
    must(step.presence.have == presence->have);
}

static void mix_prefix(struct story *story, const struct bitswap_prefix *prefix) {
    mix(story, &prefix->known, sizeof prefix->known);
    mix(story, &prefix->form.codec, sizeof prefix->form.codec);
    mix(story, &prefix->form.version, sizeof prefix->form.version);
    mix(story, &prefix->hash, sizeof prefix->hash);
    mix(story, &prefix->digest_bytes, sizeof prefix->digest_bytes);
}

static void tell(struct story *story, enum bitswap_event event, const struct bitswap_step *step) {
    if (event != BITSWAP_DATA) {
        mix(story, &event, sizeof event);
    }
    must(event == BITSWAP_BEGIN || event == BITSWAP_BAD || story->in_message);
    must(!story->in_block || event == BITSWAP_DATA || event == BITSWAP_BLOCK_END ||
         event == BITSWAP_BAD);
    switch (event) {
    case BITSWAP_MORE:
    case BITSWAP_FULL:
    case BITSWAP_BAD:
        return;
    case BITSWAP_BEGIN:
        must(!story->in_message);
        must(step->message_bytes > 0 && step->message_bytes <= BITSWAP_MESSAGE_MAX);
        story->in_message = true;
        return;
    case BITSWAP_END:
        story->in_message = false;
        return;
    case BITSWAP_WANT:
        mix_name(story, &step->want.key, &step->want.form);
        mix(story, &step->want.priority, sizeof step->want.priority);
        check_want(&step->want);
        return;
    case BITSWAP_PRESENCE:
        mix_name(story, &step->presence.key, &step->presence.form);
        check_presence(&step->presence);
        return;
    case BITSWAP_BLOCK:
        must(step->block_bytes <= BITSWAP_MESSAGE_MAX);
        story->block_left = step->block_bytes;
        story->in_block = true;
        return;
    case BITSWAP_DATA:
        must(step->count > 0 && step->count <= story->block_left);
        story->block_left -= step->count;
        mix(story, step->bytes, step->count);
        return;
    case BITSWAP_BLOCK_END:
        must(story->in_block && story->block_left == 0);
        story->in_block = false;
        mix_prefix(story, &step->prefix);
        return;
    case BITSWAP_PENDING:
        mix(story, &step->pending_bytes, sizeof step->pending_bytes);
        return;
    }
}

/* to_more: a loop until MORE; else one while bytes are left. */
static struct story read_stream(const uint8_t *data, size_t bytes, size_t piece, bool to_more) {
    struct story story = {.digest = UINT64_C(0xcbf29ce484222325)};
    struct bitswap_reader reader;
    enum bitswap_event event = BITSWAP_MORE;
    bitswap_reader_init(&reader);
    for (size_t at = 0; at < bytes && event != BITSWAP_BAD;) {
        size_t give = piece < bytes - at ? piece : bytes - at;
        do {
            struct bitswap_step step;
            event = bitswap_step(&reader, data + at, give, &step);
            must(step.used <= give);
            at += step.used;
            give -= step.used;
            if (event != BITSWAP_MORE) {
                tell(&story, event, &step);
            }
        } while (event != BITSWAP_BAD && (to_more ? event != BITSWAP_MORE : give > 0));
        must(event == BITSWAP_BAD || give == 0);
    }
    must(event == BITSWAP_BAD || bitswap_reader_idle(&reader) <= !story.in_message);
    story.skipped = reader.skipped;
    return story;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    if (bytes == 0) {
        return 0;
    }
    struct story whole = read_stream(data + 1, bytes - 1, bytes, true);
    struct story split = read_stream(data + 1, bytes - 1, 1 + data[0] % 61, data[0] & 1);
    must(whole.digest == split.digest);
    must(whole.skipped == split.skipped);
    must(whole.in_message == split.in_message);
    return 0;
}
