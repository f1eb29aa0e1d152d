/* SPDX-License-Identifier: MIT */
#include "tools/load/run.h"

#include "base/hash.h"
#include "proto/tlv/tlv.h"
#include "tools/load/options.h"
#include "tools/load/report.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A TLV server of a few hundred blocks, one thread a connection. It believes nothing: what is put
 * must have its hash. It answers the requests of one read in reverse order, as a server may. */

#define SIZE 3000u
#define KEYS 300u

enum mood { MOOD_WELL, MOOD_BUSY, MOOD_FORGETS, MOOD_MIXES_UP, MOOD_FULL };

static enum mood mood;
static struct content content;
static _Atomic bool held[KEYS]; /* was put */
static _Atomic uint32_t asked, put_count, fresh_put_count, low_hellos;
static int listener;

struct talk {
    int fd;
    struct tlv_reader reader;
    struct tlv_request request;
    struct key key;
    uint8_t body[TLV_HAVE_BODY_MAX];
    size_t body_bytes;
    uint8_t out[512 * 1024]; /* replies, the last first */
    size_t out_at;
};

static int64_t index_of(const uint8_t *digest) {
    for (int64_t i = 0; i < KEYS; i++) {
        if (memcmp(content_digest(&content, (uint64_t)i), digest, 32) == 0) {
            return i;
        }
    }
    return -1;
}

static void reply(struct talk *talk, const uint8_t *head, size_t head_bytes, const uint8_t *body,
                  size_t body_bytes) {
    talk->out_at -= body_bytes + head_bytes;
    memcpy(talk->out + talk->out_at, head, head_bytes);
    memcpy(talk->out + talk->out_at + head_bytes, body, body_bytes);
}

static void answer_get(struct talk *talk, uint32_t offset, uint32_t length) {
    uint8_t head[TLV_REPLY_MAX], block[SIZE];
    uint32_t id = talk->request.id;
    int64_t index = index_of(talk->key.digest);
    if (index < 0 || !held[index] || (mood == MOOD_FORGETS && asked % 5 == 0)) {
        reply(talk, head, tlv_plain(head, TLV_NOT_FOUND, id), head, 0);
        return;
    }
    bool mix = mood == MOOD_MIXES_UP && asked % 5 == 0;
    content_copy(&content, (uint64_t)(mix ? (index + 1) % KEYS : index), block);
    reply(talk, head, tlv_value_head(head, id, 0x55, SIZE, offset, length), block + offset, length);
}

static void answer_put(struct talk *talk) {
    uint8_t head[TLV_REPLY_MAX], digest[32];
    uint32_t id = talk->request.id;
    if (mood == MOOD_FULL) {
        reply(talk, head, tlv_fault(head, id, TLV_CODE_FULL, "no room at all"), head, 0);
        return;
    }
    if (hash_compute(HASH_SHA2_256, talk->body, talk->body_bytes, digest, 32) != 0 ||
        memcmp(digest, talk->key.digest, 32) != 0) {
        reply(talk, head, tlv_fault(head, id, TLV_CODE_MISMATCH, NULL), head, 0);
        return;
    }
    int64_t index = index_of(digest);
    if (index >= 0) {
        held[index] = true;
    } else {
        fresh_put_count++;
    }
    put_count++;
    reply(talk, head, tlv_plain(head, TLV_DONE, id), head, 0);
}

static void answer_have(struct talk *talk) {
    uint8_t head[TLV_REPLY_MAX], here[TLV_HAVE_KEYS_MAX];
    uint32_t count = talk->request.count;
    for (uint32_t i = 0; i < count; i++) {
        int64_t index = index_of(talk->body + i * 34 + 2);
        here[i] = index >= 0 && held[index];
    }
    reply(talk, head, tlv_haves_head(head, talk->request.id, (uint16_t)count), here, count);
}

static void answer(struct talk *talk) {
    uint8_t head[TLV_REPLY_MAX];
    const struct tlv_request *request = &talk->request;
    if (request->type == TLV_HELLO) {
        low_hellos += request->class == 3;
        reply(talk, head, tlv_welcome(head, request->id, 2, 0, 6, 2097152), head, 0);
        return;
    }
    asked++;
    if (mood == MOOD_BUSY && asked % 7 == 0) {
        reply(talk, head, tlv_busy(head, request->id, 1, 0), head, 0);
        return;
    }
    switch (request->type) {
    case TLV_GET:
        answer_get(talk, 0, SIZE);
        return;
    case TLV_GET_RANGE:
        answer_get(talk, request->offset, request->length);
        return;
    case TLV_PUT:
        answer_put(talk);
        return;
    default:
        answer_have(talk);
        return;
    }
}

static bool bytes_take(struct talk *talk, const uint8_t *bytes, size_t count) {
    for (;;) {
        struct tlv_step step;
        struct key key;
        enum tlv_event event = tlv_reader_step(&talk->reader, bytes, count, &step, &key);
        if (event == TLV_EVENT_MORE) {
            return true;
        }
        if (event == TLV_EVENT_BAD) {
            return false;
        }
        bytes += step.used;
        count -= step.used;
        if (event == TLV_EVENT_REQUEST) {
            talk->request = step.request;
            talk->key = key;
            talk->body_bytes = 0;
        } else {
            memcpy(talk->body + talk->body_bytes, step.body, step.body_bytes);
            talk->body_bytes += step.body_bytes;
        }
        if (talk->body_bytes == talk->request.body_bytes) {
            answer(talk);
        }
    }
}

static void *conn_serve(void *argument) {
    struct talk *talk = argument;
    uint8_t in[16384];
    tlv_reader_init(&talk->reader);
    for (ssize_t got; (got = read(talk->fd, in, sizeof in)) > 0;) {
        talk->out_at = sizeof talk->out;
        if (!bytes_take(talk, in, (size_t)got)) {
            break;
        }
        size_t bytes = sizeof talk->out - talk->out_at;
        if (write(talk->fd, talk->out + talk->out_at, bytes) != (ssize_t)bytes) {
            break;
        }
    }
    close(talk->fd);
    free(talk);
    return NULL;
}

static void *serve(void *unused) {
    (void)unused;
    for (int fd; (fd = accept(listener, NULL, NULL)) >= 0;) {
        struct talk *talk = calloc(1, sizeof *talk);
        talk->fd = fd;
        pthread_t thread;
        cr_assert_eq(pthread_create(&thread, NULL, conn_serve, talk), 0);
        pthread_detach(thread);
    }
    return NULL;
}

static struct result result;
static char why[400];

/* Returns: what the filling or, where that was well, the run returned. */
static int run(enum mood what, const char *more) {
    static struct plan plan;
    char line[300], *words[64];
    int count = 0;
    mood = what;
    cr_assert_eq(hash_open(), 0);
    cr_assert_eq(content_open(&content, KEYS, SIZE, 1, true), 0);
    listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof at;
    cr_assert_eq(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
    cr_assert_eq(listen(listener, 100), 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&at, &bytes), 0);
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, serve, NULL), 0);
    pthread_detach(thread);
    snprintf(line, sizeof line,
             "tlv --to 127.0.0.1:%u --size %u --keys %u --seconds 0.5 --warmup 0 --drain 5 %s",
             ntohs(at.sin_port), SIZE, KEYS, more);
    for (char *rest = line, *word; (word = strsep(&rest, " ")) != NULL;) {
        words[count++] = word;
    }
    words[count] = NULL;
    cr_assert_eq(options_read(count, words, &plan, why, sizeof why), 0, "%s", why);
    int r = run_fill(&plan, &content, why, sizeof why);
    return r != 0 ? r : run_plan(&plan, &content, &result, why, sizeof why);
}

static void all_held(void) {
    for (uint32_t i = 0; i < KEYS; i++) {
        cr_assert(held[i], "block %u was not put", i);
    }
}

Test(load_tlv, blocks_are_put_then_read_back_in_any_order_of_replies) {
    cr_assert_eq(run(MOOD_WELL, "--conns 3 --depth 6"), 0, "%s", why);
    all_held();
    cr_assert_eq(put_count, KEYS);
    cr_assert(result.total.requests > 0);
    cr_assert(report_good(&result), "%s", result.fault);
}

Test(load_tlv, credits_of_the_welcome_bound_what_is_in_flight) {
    cr_assert_eq(run(MOOD_WELL, "--conns 1 --depth 64"), 0, "%s", why);
    /* More than 6 of these replies at once would not fit what the server above writes from. */
    cr_assert(report_good(&result), "%s", result.fault);
}

Test(load_tlv, ranges_are_compared_with_their_place_in_the_block) {
    cr_assert_eq(run(MOOD_WELL, "--conns 2 --depth 3 --ranges"), 0, "%s", why);
    cr_assert(result.total.requests > 0);
    cr_assert(report_good(&result), "%s", result.fault);
}

Test(load_tlv, haves_ask_for_many_keys_at_once) {
    cr_assert_eq(run(MOOD_WELL, "--conns 2 --depth 2 --have 20"), 0, "%s", why);
    cr_assert(result.total.requests > 0);
    cr_assert_eq(result.total.bytes, result.total.requests * 20);
    cr_assert(report_good(&result), "%s", result.fault);
}

Test(load_tlv, writes_are_new_blocks_with_their_true_names) {
    cr_assert_eq(run(MOOD_WELL, "--conns 2 --depth 4 --mix 50:50"), 0, "%s", why);
    cr_assert(fresh_put_count > 0 && result.total.writes > 0);
    cr_assert(result.total.writes < result.total.requests);
    cr_assert(report_good(&result), "%s", result.fault);
}

Test(load_tlv, busy_is_counted_and_filling_comes_back_until_all_is_put) {
    cr_assert_eq(run(MOOD_BUSY, "--conns 2 --depth 4"), 0, "%s", why);
    all_held();
    cr_assert(result.total.busy > 0);
    cr_assert(report_good(&result), "busy alone is no failure");
}

Test(load_tlv, an_acknowledged_block_that_is_gone_is_wrong) {
    cr_assert_eq(run(MOOD_FORGETS, "--conns 2 --depth 4"), 0, "%s", why);
    cr_assert(result.total.not_found > 0);
    cr_assert(result.total.wrong >= result.total.not_found); /* also outside the window */
}

Test(load_tlv, another_blocks_bytes_are_wrong) {
    cr_assert_eq(run(MOOD_MIXES_UP, "--conns 2 --depth 4"), 0, "%s", why);
    cr_assert(result.total.wrong > 0);
}

Test(load_tlv, classes_are_said_in_hello_and_counted_apart) {
    cr_assert_eq(run(MOOD_WELL, "--conns 4 --class critical=1@200,low=3@1000"), 0, "%s", why);
    cr_assert_eq(low_hellos, 3);
    const struct tally *critical = &result.classes[0], *low = &result.classes[3];
    cr_assert_eq(critical->requests + critical->late, 100);
    cr_assert_eq(low->requests + low->late, 500);
    cr_assert(report_good(&result), "%s", result.fault);
}

Test(load_tlv, a_full_store_ends_the_filling_with_its_words) {
    cr_assert(run(MOOD_FULL, "--conns 1") < 0);
    cr_assert_not_null(strstr(why, "no room at all"), "%s", why);
}
