/* SPDX-License-Identifier: MIT */
/* Pipelined calls of the client library and its names of content: tools/client/pipeline.c,
 * tools/client/requests.c, tools/client/slots.c, tools/client/wire.c, tools/client/names.c. */

#include "tools/client/millrace_client.h"

#include "base/must.h"
#include "tests/tools/fake_server.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { MANY = 40 };

static char texts[MANY][16];
static struct mr_cid cids[MANY];

static void make_blocks(void) {
    for (uint32_t i = 0; i < MANY; i++) {
        memset(texts[i], 'a' + (int)(i % 26), sizeof texts[i]);
        texts[i][15] = (char)i;
        must(mr_cid_of_data(texts[i], sizeof texts[i], 0, 0, &cids[i]) == 0);
    }
}

static const char *text_of(const struct key *key) {
    for (uint32_t i = 0; i < MANY; i++) {
        if (memcmp(cids[i].bytes + 4, key->digest, 32) == 0) {
            return texts[i];
        }
    }
    return NULL;
}

static struct mr_client *connected(struct fake *fake, void (*script)(struct fake *), void *user) {
    make_blocks();
    fake_start(fake, script, user);
    struct mr_client *client = mr_new();
    cr_assert_eq(mr_connect(client, fake->address, NULL), 0, "%s", mr_error(client));
    return client;
}

static void done(struct mr_client *client, struct fake *fake) {
    mr_free(client);
    fake_stop(fake);
}

/* Takes all requests first, then answers the last one first, all in one piece. */
static void script_backwards(struct fake *fake) {
    struct fake_request requests[MANY];
    uint8_t frames[MANY * 64];
    size_t at = 0;
    fake_welcome(fake);
    for (uint32_t i = 0; i < MANY; i++) {
        must(fake_take(fake, &requests[i]));
    }
    for (uint32_t i = MANY; i-- > 0;) {
        at += tlv_value_head(frames + at, requests[i].head.id, 0x55, 16, 0, 16);
        memcpy(frames + at, text_of(&requests[i].key), 16);
        at += 16;
    }
    fake_send(fake, frames, at);
    fake_swallow(fake);
}

Test(client_pipeline, answers_out_of_order_find_their_request) {
    struct fake fake;
    struct mr_client *client = connected(&fake, script_backwards, NULL);
    char buffers[MANY][16];
    uint32_t seen = 0;
    for (uint32_t i = 0; i < MANY; i++) {
        void *buffer = i % 2 ? buffers[i] : NULL;
        cr_assert_eq(mr_submit_get(client, &cids[i], 0, 0, buffer, 16, NULL, texts[i]), 0);
    }
    cr_assert_eq(mr_unanswered(client), MANY);
    while (seen < MANY) {
        struct mr_completion completions[7];
        int count = mr_poll(client, completions, 7, -1);
        cr_assert_gt(count, 0);
        for (int c = 0; c < count; c++) {
            const char *wanted = texts[MANY - 1 - seen];
            cr_assert_eq(completions[c].user, wanted);
            cr_assert_eq(completions[c].result, 0, "%s", completions[c].text);
            cr_assert_eq(completions[c].size, 16);
            cr_assert_eq(memcmp(completions[c].data, wanted, 16), 0);
            cr_assert_eq(completions[c].data_owned, seen % 2 != 0);
            mr_completion_free(&completions[c]);
            seen++;
        }
    }
    cr_assert_eq(mr_unanswered(client), 0);
    cr_assert_eq(mr_poll(client, NULL, 0, -1), 0, "nothing to wait for");
    done(client, &fake);
}

static void script_echo(struct fake *fake) {
    struct fake_request request;
    uint8_t frame[TLV_REPLY_MAX];
    fake_welcome(fake);
    while (fake_take(fake, &request)) {
        uint32_t id = request.head.id;
        switch (request.head.type) {
        case TLV_PING:
            fake_plain(fake, TLV_PONG, id);
            break;
        case TLV_GET:
            must(request.head.class == MR_LOW && request.head.deadline_ms == 77);
            fake_send(fake, frame, tlv_busy(frame, id, 33, 5));
            break;
        case TLV_PUT:
        case TLV_DELETE:
            fake_plain(fake, TLV_DONE, id);
            break;
        case TLV_HAVE:
            fake_send(fake, frame, tlv_haves_head(frame, id, request.head.count));
            fake_send(fake, "\1\2\0", request.head.count);
            break;
        default:
            fake_send(fake, frame, tlv_fault(frame, id, TLV_CODE_CORRUPT, NULL));
            break;
        }
    }
}

Test(client_pipeline, every_kind_completes_with_what_it_is) {
    struct fake fake;
    struct mr_client *client = connected(&fake, script_echo, NULL);
    struct mr_ask ask = {.class_set = true, .class_ = MR_LOW, .deadline_ms = 77};
    cr_assert_eq(mr_submit_ping(client, NULL, NULL), 0);
    cr_assert_eq(mr_submit_get(client, &cids[0], 0, 0, NULL, 0, &ask, NULL), 0);
    cr_assert_eq(mr_submit_put(client, &cids[1], texts[1], 16, NULL, NULL), 0);
    cr_assert_eq(mr_submit_have(client, cids, 3, NULL, NULL), 0);
    cr_assert_eq(mr_submit_delete(client, &cids[1], NULL, NULL), 0);
    cr_assert_eq(mr_submit_verify(client, &cids[1], NULL, NULL), 0);
    struct mr_completion got[6];
    for (int count = 0; count < 6;) {
        int more = mr_poll(client, got + count, 6 - count, -1);
        cr_assert_gt(more, 0);
        count += more;
    }
    cr_assert_eq(got[0].kind, MR_KIND_PING);
    cr_assert_eq(got[1].result, MR_BUSY);
    cr_assert_eq(got[1].retry_ms, 33);
    cr_assert_eq(got[2].kind, MR_KIND_PUT);
    cr_assert_eq(got[2].result, 0);
    cr_assert_eq(got[3].size, 3);
    cr_assert_eq(memcmp(got[3].data, "\1\2\0", 3), 0);
    cr_assert_eq(got[4].kind, MR_KIND_DELETE);
    cr_assert_eq(got[5].result, MR_CORRUPT);
    cr_assert_eq(got[5].fault, TLV_CODE_CORRUPT);
    mr_completion_free(&got[3]);
    done(client, &fake);
}

Test(client_pipeline, blocking_calls_mix_with_pipelined_ones) {
    struct fake fake;
    struct mr_client *client = connected(&fake, script_echo, NULL);
    struct mr_completion got[2];
    cr_assert_eq(mr_submit_put(client, &cids[0], texts[0], 16, NULL, texts[0]), 0);
    cr_assert_eq(mr_ping(client), 0);
    cr_assert(mr_ready(client), "it was answered before the ping and kept");
    cr_assert_eq(mr_poll(client, got, 2, 0), 1);
    cr_assert_eq(got[0].user, texts[0]);
    done(client, &fake);
}

/* ---- blocks that lie in files ---- */

enum { FILE_BYTES = 1000 * 1000, FILE_BLOCKS = 70 };

static uint8_t file_byte(size_t at) {
    return (uint8_t)(at * 31 ^ at >> 8);
}

/* Every put holds the bytes of the file from its number times a thousand on, then zeros. */
static void script_of_files(struct fake *fake) {
    struct fake_request request;
    fake_welcome(fake);
    for (uint32_t i = 0; fake_take(fake, &request); i++) {
        if (request.head.type == TLV_PING) {
            fake_plain(fake, TLV_PONG, request.head.id);
            i--;
            continue;
        }
        bool same = request.head.type == TLV_PUT;
        for (size_t n = 0; n < request.head.body_bytes && same; n++) {
            size_t at = (size_t)i * 1000 + n;
            same = request.body[n] == (at < FILE_BYTES ? file_byte(at) : 0);
        }
        fake_plain(fake, same ? TLV_DONE : TLV_NOT_FOUND, request.head.id);
    }
}

static int file_make(void) {
    static uint8_t bytes[FILE_BYTES];
    FILE *file = tmpfile();
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = file_byte(i);
    }
    must(file && fwrite(bytes, 1, sizeof bytes, file) == sizeof bytes && fflush(file) == 0);
    return fileno(file);
}

static uint32_t poll_done(struct mr_client *client, int wait_ms) {
    struct mr_completion got[MANY];
    int count = mr_poll(client, got, MANY, wait_ms);
    cr_assert_geq(count, 0);
    for (int i = 0; i < count; i++) {
        cr_assert_eq(got[i].kind, MR_KIND_PUT);
        cr_assert_eq(got[i].result, 0, "%s", got[i].text);
    }
    return (uint32_t)count;
}

Test(client_pipeline, blocks_go_out_of_a_file_in_their_place, .timeout = 30) {
    struct fake fake;
    struct mr_client *client = connected(&fake, script_of_files, NULL);
    int fd = file_make();
    uint32_t seen = 0;
    for (uint32_t i = 0; i < FILE_BLOCKS; i++) {
        /* Of all sizes; the last ones reach past the end of the file. */
        uint32_t bytes = i % 5 == 0 ? 0 : i % 5 == 1 ? 1 : i < 60 ? i * 9000 : FILE_BYTES;
        int r;
        while ((r = mr_submit_put_file(client, &cids[1], fd, (uint64_t)i * 1000, bytes, NULL,
                                       NULL)) == MR_FULL) {
            seen += poll_done(client, -1);
        }
        cr_assert_eq(r, 0);
        cr_assert_neq(mr_events(client) & POLLOUT, 0);
        cr_assert_eq(i % 7 != 0 ? 0 : mr_ping(client), 0);
    }
    while (seen < FILE_BLOCKS) {
        seen += poll_done(client, -1);
    }
    cr_assert_eq(mr_events(client) & POLLOUT, 0);
    struct mr_cid inlined;
    cr_assert_eq(mr_cid_read("\x01\x55\x00\x01x", 5, &inlined), 0);
    cr_assert_eq(mr_submit_put_file(client, &inlined, fd, 0, 1, NULL, NULL), MR_BAD_CID);
    done(client, &fake);
}

static void script_leaves(struct fake *fake) {
    fake_welcome(fake);
    (void)shutdown(fake->fd, SHUT_RDWR);
}

/* sendfile into a closed connection must not end the process. */
Test(client_pipeline, a_file_for_a_server_that_left_is_closed_no_signal, .timeout = 30) {
    struct fake fake;
    struct mr_client *client = connected(&fake, script_leaves, NULL);
    int fd = file_make();
    struct mr_completion got[4];
    for (uint32_t i = 0; i < 4; i++) {
        cr_assert_eq(mr_submit_put_file(client, &cids[1], fd, 0, FILE_BYTES, NULL, NULL), 0);
    }
    for (int count = 0; count < 4;) {
        int more = mr_poll(client, got, 4, -1);
        cr_assert_gt(more, 0);
        for (int i = 0; i < more; i++) {
            cr_assert_eq(got[i].result, MR_CLOSED);
        }
        count += more;
    }
    done(client, &fake);
}

Test(client_pipeline, requests_beyond_the_credits_are_full) {
    struct fake fake;
    struct mr_client *client = connected(&fake, script_echo, NULL);
    struct mr_completion got[64];
    for (uint32_t i = 0; i < 64; i++) {
        cr_assert_eq(mr_submit_ping(client, NULL, NULL), 0);
    }
    cr_assert_eq(mr_submit_ping(client, NULL, NULL), MR_FULL);
    cr_assert_eq(mr_ping(client), 0, "a blocking call waits for room");
    for (int count = 0; count < 64;) {
        int more = mr_poll(client, got, 64, -1);
        cr_assert_gt(more, 0);
        count += more;
    }
    done(client, &fake);
}

static void script_stop(struct fake *fake) {
    struct fake_request request;
    uint8_t frame[TLV_REPLY_MAX];
    fake_welcome(fake);
    must(fake_take(fake, &request));
    fake_plain(fake, TLV_PONG, request.head.id);
    must(fake_take(fake, &request));
    must(fake_take(fake, &request));
    fake_send(fake, frame, tlv_fault(frame, 0, TLV_CODE_UNKNOWN_TYPE, NULL));
}

Test(client_pipeline, a_lost_connection_completes_every_request) {
    struct fake fake;
    struct mr_client *client = connected(&fake, script_stop, NULL);
    struct mr_completion got[4];
    for (uint32_t i = 0; i < 3; i++) {
        cr_assert_eq(mr_submit_ping(client, NULL, texts[i]), 0);
    }
    for (int count = 0; count < 3;) {
        int more = mr_poll(client, got + count, 4 - count, -1);
        cr_assert_gt(more, 0);
        count += more;
    }
    cr_assert_eq(got[0].result, 0);
    cr_assert_eq(got[1].result, MR_CLOSED);
    cr_assert_eq(got[2].result, MR_CLOSED);
    cr_assert_eq(got[2].user, texts[2]);
    cr_assert(strstr(got[2].text, "unknown frame type"), "%s", got[2].text);
    cr_assert_eq(mr_submit_ping(client, NULL, NULL), MR_CLOSED);
    done(client, &fake);
}

enum { ROUNDS = 400, ASKED = 5 };

/* The right answer to a request, in `out`. */
static size_t answer_of(const struct fake_request *request, uint8_t *out) {
    uint32_t id = request->head.id;
    size_t at;
    switch (request->head.type) {
    case TLV_GET:
        at = tlv_value_head(out, id, 0x55, 16, 0, 16);
        memcpy(out + at, text_of(&request->key), 16);
        return at + 16;
    case TLV_HAVE:
        at = tlv_haves_head(out, id, request->head.count);
        memset(out + at, 1, request->head.count);
        return at + request->head.count;
    default:
        return tlv_plain(out, request->head.type == TLV_PING ? TLV_PONG : TLV_DONE, id);
    }
}

/* Each connection gets right answers with one to three wrong bytes, in two pieces, and ends. */
static void script_damage(struct fake *fake) {
    uint32_t seed = 5;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        struct fake_request request;
        uint8_t stream[512];
        size_t count = 0;
        fake_welcome(fake);
        for (uint32_t i = 0; i < ASKED; i++) {
            must(fake_take(fake, &request));
            count += answer_of(&request, stream + count);
        }
        for (uint32_t i = 0; i <= round % 3; i++) {
            stream[(size_t)rand_r(&seed) % count] = (uint8_t)rand_r(&seed);
        }
        size_t cut = (size_t)rand_r(&seed) % count;
        fake_send(fake, stream, cut);
        fake_send(fake, stream + cut, count - cut);
        if (round + 1 < ROUNDS) {
            fake_next_connection(fake);
        }
    }
}

Test(client_pipeline, damaged_answers_end_in_results_and_never_in_wrong_bytes) {
    struct fake fake;
    struct mr_client *client = connected(&fake, script_damage, NULL);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        struct mr_completion got[ASKED];
        if (round > 0) {
            cr_assert_eq(mr_connect(client, fake.address, NULL), 0, "%s", mr_error(client));
        }
        cr_assert_eq(mr_submit_get(client, &cids[1], 0, 0, NULL, 0, NULL, texts[1]), 0);
        cr_assert_eq(mr_submit_have(client, cids, 9, NULL, NULL), 0);
        cr_assert_eq(mr_submit_ping(client, NULL, NULL), 0);
        cr_assert_eq(mr_submit_put(client, &cids[2], texts[2], 16, NULL, NULL), 0);
        cr_assert_eq(mr_submit_get(client, &cids[3], 0, 0, NULL, 0, NULL, texts[3]), 0);
        for (int count = 0; count < ASKED;) {
            int more = mr_poll(client, got, ASKED, -1);
            cr_assert_gt(more, 0);
            for (int i = 0; i < more; i++) {
                if (got[i].kind == MR_KIND_GET && got[i].result == 0) {
                    cr_assert_eq(memcmp(got[i].data, got[i].user, 16), 0);
                }
                mr_completion_free(&got[i]);
            }
            count += more;
        }
        cr_assert_eq(mr_unanswered(client), 0);
    }
    done(client, &fake);
}

Test(client_pipeline, disconnecting_completes_what_is_open) {
    struct fake fake;
    struct mr_client *client = connected(&fake, script_echo, NULL);
    struct mr_completion got;
    cr_assert_eq(mr_submit_ping(client, NULL, NULL), 0);
    mr_disconnect(client);
    cr_assert_eq(mr_poll(client, &got, 1, -1), 1);
    cr_assert_eq(got.result, MR_CLOSED);
    cr_assert_eq(mr_poll(client, &got, 1, -1), 0);
    done(client, &fake);
}

Test(client_pipeline, an_event_loop_can_wait_by_itself) {
    struct fake fake;
    struct mr_client *client = connected(&fake, script_echo, NULL);
    struct mr_completion got;
    cr_assert_eq(mr_events(client), POLLIN);
    cr_assert_eq(mr_submit_ping(client, NULL, NULL), 0);
    cr_assert_eq(mr_events(client), POLLIN | POLLOUT);
    cr_assert_eq(mr_flush(client), 0);
    cr_assert_eq(mr_events(client), POLLIN);
    struct pollfd waiting = {.fd = mr_fd(client), .events = mr_events(client)};
    cr_assert_eq(poll(&waiting, 1, -1), 1);
    cr_assert_eq(mr_poll(client, &got, 1, 0), 1);
    cr_assert_eq(got.result, 0);
    done(client, &fake);
}

Test(client_pipeline, bad_requests_are_refused_before_they_are_queued) {
    struct fake fake;
    struct mr_client *client = connected(&fake, script_echo, NULL);
    struct mr_cid bad = {.size = 3, .bytes = {1, 2, 3}};
    struct mr_ask ask = {.class_set = true, .class_ = 9};
    cr_assert_eq(mr_submit_get(client, &bad, 0, 0, NULL, 0, NULL, NULL), MR_BAD_CID);
    cr_assert_eq(mr_submit_ping(client, &ask, NULL), MR_BAD_ARGUMENT);
    cr_assert_eq(mr_submit_have(client, cids, 0, NULL, NULL), MR_BAD_ARGUMENT);
    cr_assert_eq(mr_submit_have(client, cids, 1025, NULL, NULL), MR_BAD_ARGUMENT);
    cr_assert_eq(mr_submit_put(client, &cids[0], texts[0], (4u << 20) + 1, NULL, NULL),
                 MR_TOO_LARGE);
    cr_assert_eq(mr_unanswered(client), 0);
    cr_assert_eq(mr_events(client), POLLIN);
    done(client, &fake);
}

Test(client_pipeline, names_of_content_come_back_in_every_form) {
    struct mr_cid cid, again;
    char text[MR_CID_TEXT];
    cr_assert_eq(mr_cid_of_data("hello", 5, 0, 0, &cid), 0);
    cr_assert_gt(mr_cid_format(&cid, text), 0);
    cr_assert_str_eq(text, "bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq");
    cr_assert_eq(mr_cid_parse(text, &again), 0);
    cr_assert_eq(again.size, cid.size);
    cr_assert_eq(memcmp(again.bytes, cid.bytes, cid.size), 0);
    cr_assert_eq(mr_cid_codec(&cid), 0x55);
    cr_assert_eq(mr_cid_of_multihash(cid.bytes + 2, cid.size - 2, 0x55, &again), 0);
    cr_assert_eq(memcmp(again.bytes, cid.bytes, cid.size), 0);
    cr_assert_eq(mr_cid_check(&cid, "hello", 5), 0);
    cr_assert_eq(mr_cid_check(&cid, "hellO", 5), MR_CORRUPT);
    cr_assert_eq(mr_cid_parse("not a cid", &again), MR_BAD_CID);
    cr_assert_eq(mr_cid_read(cid.bytes, cid.size - 1, &again), MR_BAD_CID);
    again.size = 0;
    cr_assert_eq(mr_cid_format(&again, text), 0);
    cr_assert_str_eq(text, "");
}
