/* SPDX-License-Identifier: MIT */
/* Any input is read as identify messages, whole and cut as the first byte says: what is learnt must
 * be the same, texts are printable, and no message is larger than the buffer. */

#include "tests/fuzz/fuzz.h"

#include "base/must.h"
#include "proto/libp2p/identify.h"

#include <stdlib.h>
#include <string.h>

static struct peer_id somebody(void) {
    struct peer_id id;
    must(peer_id_parse("12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq", &id) == 0);
    return id;
}

static void check_info(const struct identify_info *info) {
    const char *end = memchr(info->agent, 0, sizeof info->agent);
    must(end != NULL);
    for (const char *c = info->agent; c < end; c++) {
        must(*c >= ' ');
        must(*c <= '~');
    }
    must(info->key_seen || !info->key_matches);
}

struct outcome {
    struct identify_info info;
    size_t used;
    uint32_t messages;
    bool bad;
};

static struct outcome read_messages(const uint8_t *data, size_t bytes, size_t piece) {
    struct peer_id peer = somebody();
    struct outcome outcome = {0};
    struct identify_reader reader;
    uint8_t *buffer = malloc(IDENTIFY_BYTES_MAX); /* of its exact size, for sanitizers */
    must(buffer != NULL);
    identify_reader_init(&reader, &peer, buffer);
    while (outcome.used < bytes && !outcome.bad) {
        size_t give = piece < bytes - outcome.used ? piece : bytes - outcome.used, used;
        enum identify_event event = identify_step(&reader, data + outcome.used, give, &used);
        must(used <= give);
        must(event != IDENTIFY_MORE || used == give);
        outcome.used += used;
        outcome.messages += event == IDENTIFY_MESSAGE;
        outcome.bad = event == IDENTIFY_BAD;
    }
    must(outcome.messages <= IDENTIFY_MESSAGES_MAX);
    outcome.info = reader.info;
    check_info(&outcome.info);
    free(buffer);
    return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    if (bytes == 0) {
        return 0;
    }
    struct outcome whole = read_messages(data + 1, bytes - 1, bytes);
    struct outcome split = read_messages(data + 1, bytes - 1, 1 + data[0] % 61);
    must(whole.used == split.used);
    must(whole.bad == split.bad);
    must(whole.messages == split.messages);
    must(whole.info.speaks == split.info.speaks);
    must(whole.info.key_seen == split.info.key_seen);
    must(whole.info.key_matches == split.info.key_matches);
    must(strcmp(whole.info.agent, split.info.agent) == 0);
    return 0;
}
