/* SPDX-License-Identifier: MIT */
/* Blocking calls of the client library against a server that does what it should not:
 * tools/client/calls.c, tools/client/connect.c, tools/client/client.c. */

#include "tools/client/millrace_client.h"

#include "base/bits.h"
#include "base/must.h"
#include "tests/tools/fake_server.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char block[] = "a block of some bytes";
#define BLOCK_BYTES ((uint32_t)(sizeof block - 1))

static struct mr_cid block_cid(void) {
    struct mr_cid cid;
    cr_assert_eq(mr_cid_of_data(block, BLOCK_BYTES, 0, 0, &cid), 0);
    return cid;
}

static struct mr_client *connected_with(struct fake *fake, const struct mr_options *options) {
    struct mr_client *client = mr_new();
    cr_assert_not_null(client);
    cr_assert_eq(mr_connect(client, fake->address, options), 0, "%s", mr_error(client));
    return client;
}

static void done(struct mr_client *client, struct fake *fake) {
    mr_free(client);
    fake_stop(fake);
}

/* ---- connection ---- */

static void script_credentials(struct fake *fake) {
    struct fake_request request;
    struct tlv_credentials credentials;
    uint8_t frame[TLV_REPLY_MAX];
    must(fake_take(fake, &request));
    must(request.head.type == TLV_HELLO && request.head.version == TLV_VERSION);
    must(request.head.class == MR_HIGH);
    must(tlv_credentials_read(request.body, request.head.body_bytes, &credentials) == 0);
    must(credentials.name_bytes == 3 && memcmp(credentials.name, "ann", 3) == 0);
    must(credentials.token_bytes == 6 && memcmp(credentials.token, "secret", 6) == 0);
    fake_send_bytewise(fake, frame, tlv_welcome(frame, request.head.id, 1, 0, 99, 1 << 20));
    fake_swallow(fake);
}

Test(client, connecting_says_who_asks_and_learns_the_limits) {
    struct fake fake;
    struct mr_options options;
    struct mr_server server;
    fake_start(&fake, script_credentials, NULL);
    mr_options_default(&options);
    options.class_ = MR_HIGH;
    options.name = "ann";
    options.token = "secret";
    options.token_size = 6;
    struct mr_client *client = connected_with(&fake, &options);
    mr_server(client, &server);
    cr_assert_eq(server.version, 1);
    cr_assert_eq(server.class_, MR_HIGH);
    cr_assert_eq(server.credits, 99);
    cr_assert_eq(server.block_max, 1 << 20);
    cr_assert(mr_connected(client));
    done(client, &fake);
}

static void script_unauthorized(struct fake *fake) {
    struct fake_request request;
    uint8_t frame[TLV_REPLY_MAX];
    must(fake_take(fake, &request));
    fake_send(fake, frame, tlv_fault(frame, request.head.id, TLV_CODE_UNAUTHORIZED, NULL));
}

Test(client, refused_hello_is_refused_with_code_and_words) {
    struct fake fake;
    struct mr_client *client = mr_new();
    fake_start(&fake, script_unauthorized, NULL);
    cr_assert_eq(mr_connect(client, fake.address, NULL), MR_REFUSED);
    cr_assert_eq(mr_fault(client), TLV_CODE_UNAUTHORIZED);
    cr_assert_str_eq(mr_error(client), "credentials missing or refused");
    cr_assert_not(mr_connected(client));
    done(client, &fake);
}

Test(client, connecting_to_nobody_or_nowhere_says_so) {
    static const char *const wrong[] = {
        "", "nohost", ":7411", "127.0.0.1:", "::1:80", "[::1]", "h:12345678901", "127.0.0.1:x"};
    struct mr_client *client = mr_new();
    for (size_t i = 0; i < array_count(wrong); i++) {
        cr_assert_eq(mr_connect(client, wrong[i], NULL), MR_BAD_ARGUMENT, "%s", wrong[i]);
    }
    cr_assert_eq(mr_connect(client, "127.0.0.1:1", NULL), -ECONNREFUSED);
    cr_assert(strstr(mr_error(client), "127.0.0.1:1"));
    cr_assert_eq(mr_ping(client), MR_CLOSED);
    mr_free(client);
    mr_free(NULL);
}

static void script_silent(struct fake *fake) {
    fake_swallow(fake);
}

Test(client, a_server_that_does_not_greet_is_left_in_time) {
    struct fake fake;
    struct mr_options options;
    struct mr_client *client = mr_new();
    fake_start(&fake, script_silent, NULL);
    mr_options_default(&options);
    options.connect_timeout_ms = 50;
    cr_assert_eq(mr_connect(client, fake.address, &options), MR_TIMEOUT);
    cr_assert_not(mr_connected(client));
    done(client, &fake);
}

static void script_silent_after_welcome(struct fake *fake) {
    fake_welcome(fake);
    fake_swallow(fake);
}

/* ---- get ---- */

static void script_bytewise_value(struct fake *fake) {
    struct fake_request request;
    uint8_t frame[TLV_VALUE_HEAD + sizeof block];
    fake_welcome(fake);
    while (fake_take(fake, &request)) {
        size_t head = tlv_value_head(frame, request.head.id, 0x55, BLOCK_BYTES, 0, BLOCK_BYTES);
        memcpy(frame + head, block, BLOCK_BYTES);
        fake_send_bytewise(fake, frame, head + BLOCK_BYTES);
    }
}

Test(client, get_puts_split_replies_together) {
    struct fake fake;
    struct mr_block got;
    struct mr_cid cid = block_cid();
    fake_start(&fake, script_bytewise_value, NULL);
    struct mr_client *client = connected_with(&fake, NULL);
    cr_assert_eq(mr_get(client, &cid, &got), 0, "%s", mr_error(client));
    cr_assert_eq(got.size, BLOCK_BYTES);
    cr_assert_eq(memcmp(got.data, block, BLOCK_BYTES), 0);
    cr_assert_eq(got.codec, 0x55);
    mr_block_free(&got);
    done(client, &fake);
}

Test(client, get_into_a_small_buffer_says_the_size_it_needs) {
    struct fake fake;
    char buffer[sizeof block];
    size_t size = 0;
    struct mr_cid cid = block_cid();
    fake_start(&fake, script_bytewise_value, NULL);
    struct mr_client *client = connected_with(&fake, NULL);
    cr_assert_eq(mr_get_into(client, &cid, buffer, 3, &size), MR_TOO_SMALL);
    cr_assert_eq(size, BLOCK_BYTES);
    cr_assert_eq(mr_get_into(client, &cid, NULL, 0, &size), MR_TOO_SMALL);
    cr_assert_eq(mr_get_into(client, &cid, buffer, sizeof buffer, &size), 0);
    cr_assert_eq(memcmp(buffer, block, BLOCK_BYTES), 0);
    done(client, &fake);
}

static void script_lie(struct fake *fake) {
    struct fake_request request;
    fake_welcome(fake);
    while (fake_take(fake, &request)) {
        fake_value(fake, request.head.id, "a lie", 5);
    }
}

Test(client, wrong_bytes_are_never_handed_out_unless_asked_for) {
    struct fake fake;
    struct mr_options options;
    struct mr_block got;
    struct mr_cid cid = block_cid();
    fake_start(&fake, script_lie, NULL);
    struct mr_client *client = connected_with(&fake, NULL);
    cr_assert_eq(mr_get(client, &cid, &got), MR_CORRUPT);
    cr_assert(mr_connected(client));
    done(client, &fake);
    fake_start(&fake, script_lie, NULL);
    mr_options_default(&options);
    options.verify = false;
    client = connected_with(&fake, &options);
    cr_assert_eq(mr_get(client, &cid, &got), 0);
    cr_assert_eq(got.size, 5);
    mr_block_free(&got);
    done(client, &fake);
}

static uint8_t big[MR_BLOCK_MAX];

static void script_big(struct fake *fake) {
    struct fake_request request;
    fake_welcome(fake);
    while (fake_take(fake, &request)) {
        if (request.head.type == TLV_PUT) {
            must(request.head.body_bytes == sizeof big);
            must(memcmp(request.body, big, sizeof big) == 0);
            fake_plain(fake, TLV_DONE, request.head.id);
        } else {
            fake_value(fake, request.head.id, big, sizeof big);
        }
    }
}

Test(client, large_blocks_go_and_come_whole) {
    struct fake fake;
    struct mr_cid cid;
    struct mr_block got;
    for (size_t i = 0; i < sizeof big; i++) {
        big[i] = (uint8_t)(i * 2654435761u >> 13);
    }
    fake_start(&fake, script_big, NULL);
    struct mr_client *client = connected_with(&fake, NULL);
    cr_assert_eq(mr_put(client, big, sizeof big, 0, 0, &cid), 0, "%s", mr_error(client));
    cr_assert_eq(mr_get(client, &cid, &got), 0, "%s", mr_error(client));
    cr_assert_eq(got.size, sizeof big);
    cr_assert_eq(memcmp(got.data, big, sizeof big), 0);
    mr_block_free(&got);
    done(client, &fake);
}

static void script_range(struct fake *fake) {
    struct fake_request request;
    uint8_t head[TLV_VALUE_HEAD];
    fake_welcome(fake);
    while (fake_take(fake, &request)) {
        must(request.head.type == TLV_GET_RANGE);
        uint32_t rest = BLOCK_BYTES - request.head.offset;
        uint32_t bytes = min_u32(rest, request.head.length);
        fake_send(
            fake, head,
            tlv_value_head(head, request.head.id, 0x55, BLOCK_BYTES, request.head.offset, bytes));
        fake_send(fake, block + request.head.offset, bytes);
    }
}

Test(client, ranges_are_cut_at_the_end_of_the_block) {
    struct fake fake;
    char buffer[16];
    size_t size = 0;
    uint32_t total = 0;
    struct mr_cid cid = block_cid();
    fake_start(&fake, script_range, NULL);
    struct mr_client *client = connected_with(&fake, NULL);
    cr_assert_eq(mr_get_range(client, &cid, 2, 5, buffer, &size, &total), 0);
    cr_assert_eq(size, 5);
    cr_assert_eq(total, BLOCK_BYTES);
    cr_assert_eq(memcmp(buffer, block + 2, 5), 0);
    cr_assert_eq(mr_get_range(client, &cid, BLOCK_BYTES - 3, 16, buffer, &size, NULL), 0);
    cr_assert_eq(size, 3);
    cr_assert_eq(mr_get_range(client, &cid, 0, 0, buffer, &size, NULL), MR_BAD_ARGUMENT);
    done(client, &fake);
}

/* ---- later, no, and the end ---- */

static void script_busy_then_value(struct fake *fake) {
    struct fake_request request;
    uint8_t frame[TLV_REPLY_MAX];
    uint32_t *asked = fake->user;
    fake_welcome(fake);
    while (fake_take(fake, &request)) {
        *asked += 1;
        if (*asked % 3 == 1) {
            fake_send(fake, frame, tlv_busy(frame, request.head.id, 1, 8));
        } else if (*asked % 3 == 2) {
            fake_send(fake, frame, tlv_retry(frame, request.head.id, 2));
        } else {
            fake_value(fake, request.head.id, block, BLOCK_BYTES);
        }
    }
}

Test(client, busy_and_retry_are_waited_out_and_asked_again) {
    struct fake fake;
    struct mr_block got;
    struct mr_server server;
    uint32_t asked = 0;
    struct mr_cid cid = block_cid();
    fake_start(&fake, script_busy_then_value, &asked);
    struct mr_client *client = connected_with(&fake, NULL);
    cr_assert_eq(mr_get(client, &cid, &got), 0, "%s", mr_error(client));
    mr_block_free(&got);
    mr_server(client, &server);
    cr_assert_eq(server.credits, 8, "BUSY lowers the credits");
    done(client, &fake);
    cr_assert_eq(asked, 3);
}

static void script_always_busy(struct fake *fake) {
    struct fake_request request;
    uint8_t frame[TLV_REPLY_MAX];
    uint32_t *asked = fake->user;
    fake_welcome(fake);
    while (fake_take(fake, &request)) {
        *asked += 1;
        fake_send(fake, frame, tlv_busy(frame, request.head.id, 60000, 8));
    }
}

Test(client, retries_are_bounded_in_number_and_time) {
    struct fake fake;
    struct mr_options options;
    uint32_t asked = 0;
    fake_start(&fake, script_always_busy, &asked);
    mr_options_default(&options);
    options.retries = 3;
    options.retry_max_ms = 2;
    struct mr_client *client = connected_with(&fake, &options);
    cr_assert_eq(mr_ping(client), MR_BUSY);
    done(client, &fake);
    cr_assert_eq(asked, 4);
    asked = 0;
    fake_start(&fake, script_always_busy, &asked);
    options.retry_max_ms = 60000;
    options.timeout_ms = 5000;
    client = connected_with(&fake, &options);
    cr_assert_eq(mr_ping(client), MR_BUSY, "a pause past the timeout is not begun");
    done(client, &fake);
    cr_assert_eq(asked, 1);
}

static void script_faults(struct fake *fake) {
    struct fake_request request;
    uint8_t frame[TLV_REPLY_MAX];
    static const enum tlv_code codes[] = {TLV_CODE_MISMATCH, TLV_CODE_TOO_LARGE, TLV_CODE_FULL};
    fake_welcome(fake);
    for (uint32_t i = 0; fake_take(fake, &request); i++) {
        fake_send(fake, frame, tlv_fault(frame, request.head.id, codes[i % 3], NULL));
    }
}

Test(client, faults_become_results_and_keep_their_code) {
    struct fake fake;
    struct mr_cid cid = block_cid();
    fake_start(&fake, script_faults, NULL);
    struct mr_client *client = connected_with(&fake, NULL);
    cr_assert_eq(mr_put_cid(client, &cid, block, BLOCK_BYTES), MR_CORRUPT);
    cr_assert_eq(mr_put_cid(client, &cid, block, BLOCK_BYTES), MR_TOO_LARGE);
    cr_assert_eq(mr_put_cid(client, &cid, block, BLOCK_BYTES), MR_REFUSED);
    cr_assert_eq(mr_fault(client), TLV_CODE_FULL);
    cr_assert_str_eq(mr_error(client), "no space left");
    cr_assert(mr_connected(client));
    done(client, &fake);
}

static void script_cut(struct fake *fake) {
    struct fake_request request;
    uint8_t head[TLV_VALUE_HEAD];
    fake_welcome(fake);
    must(fake_take(fake, &request));
    fake_send(fake, head, tlv_value_head(head, request.head.id, 0x55, BLOCK_BYTES, 0, BLOCK_BYTES));
    fake_send(fake, block, 5);
    fake_next_connection(fake);
    fake_welcome(fake);
    must(fake_take(fake, &request));
    fake_value(fake, request.head.id, block, BLOCK_BYTES);
    fake_swallow(fake);
}

Test(client, early_close_is_told_and_the_client_can_connect_again) {
    struct fake fake;
    struct mr_block got;
    struct mr_cid cid = block_cid();
    fake_start(&fake, script_cut, NULL);
    struct mr_client *client = connected_with(&fake, NULL);
    cr_assert_eq(mr_get(client, &cid, &got), MR_CLOSED);
    cr_assert_str_eq(mr_error(client), "the server closed the connection");
    cr_assert_eq(mr_ping(client), MR_CLOSED);
    cr_assert_eq(mr_fd(client), -1);
    cr_assert_eq(mr_connect(client, fake.address, NULL), 0);
    cr_assert_eq(mr_get(client, &cid, &got), 0);
    mr_block_free(&got);
    done(client, &fake);
}

static void script_protocol(struct fake *fake) {
    static const uint32_t wrong_ids[] = {0xffffffff, 0};
    struct fake_request request;
    uint8_t frame[TLV_REPLY_MAX];
    fake_welcome(fake);
    for (size_t i = 0; i < array_count(wrong_ids); i++) {
        must(fake_take(fake, &request));
        fake_plain(fake, TLV_PONG, wrong_ids[i]);
        fake_next_connection(fake);
        fake_welcome(fake);
    }
    must(fake_take(fake, &request));
    fake_plain(fake, TLV_DONE, request.head.id); /* not what answers a PING */
    fake_next_connection(fake);
    fake_welcome(fake);
    must(fake_take(fake, &request));
    fake_send(fake, "\x20\x08", 2); /* a request */
    fake_next_connection(fake);
    fake_welcome(fake);
    must(fake_take(fake, &request));
    fake_send(fake, frame, tlv_fault(frame, 0, TLV_CODE_BAD_LENGTH, "\x1b[31mno")); /* and close */
}

Test(client, answers_the_protocol_does_not_have_end_the_connection) {
    struct fake fake;
    fake_start(&fake, script_protocol, NULL);
    struct mr_client *client = mr_new();
    for (uint32_t i = 0; i < 4; i++) {
        cr_assert_eq(mr_connect(client, fake.address, NULL), 0);
        cr_assert_eq(mr_ping(client), MR_PROTOCOL, "%u: %s", i, mr_error(client));
        cr_assert_not(mr_connected(client));
    }
    cr_assert_eq(mr_connect(client, fake.address, NULL), 0);
    cr_assert_eq(mr_ping(client), MR_CLOSED);
    cr_assert_eq(mr_fault(client), TLV_CODE_BAD_LENGTH);
    cr_assert(strstr(mr_error(client), "code 2"), "%s", mr_error(client));
    cr_assert_null(strchr(mr_error(client), '\x1b'), "what the server says is escaped");
    done(client, &fake);
}

static void script_late(struct fake *fake) {
    struct fake_request first, second;
    fake_welcome(fake);
    must(fake_take(fake, &first));
    must(fake_take(fake, &second)); /* only now is the first answered: its call has left */
    fake_value(fake, first.head.id, block, BLOCK_BYTES);
    do {
        fake_plain(fake, TLV_PONG, second.head.id);
    } while (fake_take(fake, &second));
}

Test(client, an_answer_after_the_timeout_is_thrown_away) {
    struct fake fake;
    struct mr_options options;
    char buffer[sizeof block] = "untouched";
    size_t size = 0;
    struct mr_cid cid = block_cid();
    fake_start(&fake, script_late, NULL);
    mr_options_default(&options);
    options.timeout_ms = 30;
    struct mr_client *client = connected_with(&fake, &options);
    cr_assert_eq(mr_get_into(client, &cid, buffer, sizeof buffer, &size), MR_TIMEOUT);
    cr_assert_eq(mr_unanswered(client), 1);
    int r;
    while ((r = mr_ping(client)) == MR_TIMEOUT) {
        /* a slow machine: the fake server answers every ping in the end */
        cr_assert(mr_connected(client));
    }
    cr_assert_eq(r, 0, "%s", mr_error(client));
    cr_assert_str_eq(buffer, "untouched");
    done(client, &fake);
}

/* ---- put, have, list and the rest ---- */

static void script_put(struct fake *fake) {
    struct fake_request request;
    fake_welcome(fake);
    while (fake_take(fake, &request)) {
        must(request.head.type == TLV_PUT && request.head.codec == 0x55);
        must(request.head.body_bytes == BLOCK_BYTES);
        must(memcmp(request.body, block, BLOCK_BYTES) == 0);
        fake_plain(fake, TLV_DONE, request.head.id);
    }
}

struct giving {
    size_t at;
    size_t step;
    size_t stop_at;
};

static long give(void *user, void *buffer, size_t size) {
    struct giving *giving = user;
    if (giving->at >= giving->stop_at) {
        return -1;
    }
    size_t bytes = min_u64(size, giving->step);
    memcpy(buffer, block + giving->at, bytes);
    giving->at += bytes;
    return (long)bytes;
}

Test(client, put_streams_a_body_piece_by_piece) {
    struct fake fake;
    struct giving giving = {.step = 4, .stop_at = SIZE_MAX};
    struct mr_cid cid = block_cid(), identity;
    fake_start(&fake, script_put, NULL);
    struct mr_client *client = connected_with(&fake, NULL);
    cr_assert_eq(mr_put_stream(client, &cid, BLOCK_BYTES, give, &giving), 0, "%s",
                 mr_error(client));
    cr_assert_eq(giving.at, BLOCK_BYTES);
    cr_assert_eq(mr_cid_read("\x01\x55\x00\x02hi", 6, &identity), 0);
    cr_assert_eq(mr_put_stream(client, &identity, 2, give, &giving), MR_BAD_CID);
    giving = (struct giving){.step = 4, .stop_at = 8};
    cr_assert_eq(mr_put_stream(client, &cid, BLOCK_BYTES, give, &giving), MR_STOPPED);
    cr_assert_not(mr_connected(client));
    done(client, &fake);
}

Test(client, put_checks_before_it_sends) {
    struct fake fake;
    struct mr_cid cid = block_cid();
    static uint8_t too_big[MR_BLOCK_MAX + 1];
    fake_start(&fake, script_put, NULL);
    struct mr_client *client = connected_with(&fake, NULL);
    cr_assert_eq(mr_put_cid(client, &cid, "other bytes", 11), MR_CORRUPT);
    cr_assert_eq(mr_put(client, too_big, sizeof too_big, 0, 0, NULL), MR_TOO_LARGE);
    cr_assert_eq(mr_put(client, block, BLOCK_BYTES, 0, 0x1e, NULL), MR_BAD_CID);
    cr_assert_eq(mr_put_cid(client, &cid, block, BLOCK_BYTES), 0);
    done(client, &fake);
}

static void script_have(struct fake *fake) {
    struct fake_request request;
    uint8_t frame[TLV_REPLY_MAX], answers[TLV_HAVE_KEYS_MAX];
    uint32_t *keys = fake->user;
    fake_welcome(fake);
    while (fake_take(fake, &request)) {
        must(request.head.type == TLV_HAVE);
        size_t at = 0, used = 0;
        for (uint32_t i = 0; i < request.head.count; i++) {
            struct key key;
            must(key_read(request.body + at, request.head.body_bytes - at, &key, &used) == 0);
            at += used;
            answers[i] = key.digest[0] & 1;
        }
        *keys += request.head.count;
        fake_send(fake, frame, tlv_haves_head(frame, request.head.id, request.head.count));
        fake_send(fake, answers, request.head.count);
    }
}

Test(client, have_asks_for_any_number_and_knows_some_itself) {
    enum { COUNT = 2500 };
    static struct mr_cid cids[COUNT];
    static uint8_t present[COUNT];
    struct fake fake;
    uint32_t keys = 0;
    for (uint32_t i = 0; i < COUNT; i++) {
        cr_assert_eq(mr_cid_of_data(&i, sizeof i, 0, 0, &cids[i]), 0);
    }
    cr_assert_eq(mr_cid_read("\x01\x55\x00\x02hi", 6, &cids[7]), 0); /* identity */
    uint8_t blake3[4 + 32] = {1, 0x55, 0x1e, 32};
    cr_assert_eq(mr_cid_read(blake3, sizeof blake3, &cids[8]), 0); /* no such hash here */
    fake_start(&fake, script_have, &keys);
    struct mr_client *client = connected_with(&fake, NULL);
    cr_assert_eq(mr_have(client, cids, COUNT, present), 0, "%s", mr_error(client));
    for (uint32_t i = 0; i < COUNT; i++) {
        uint8_t wanted = i == 7 ? 1 : i == 8 ? 0 : cids[i].bytes[4] & 1;
        cr_assert_eq(present[i], wanted, "%u", i);
    }
    cr_assert_eq(mr_have(client, cids + 7, 2, present), 0, "nothing to ask");
    cids[0].size = 3;
    cr_assert_eq(mr_have(client, cids, 2, present), MR_BAD_CID);
    cr_assert_eq(mr_unanswered(client), 0);
    done(client, &fake);
    cr_assert_eq(keys, COUNT - 2);
}

static void script_list_and_stat(struct fake *fake) {
    struct fake_request request;
    uint8_t frame[TLV_REPLY_MAX], items[2 * TLV_ITEM_MAX];
    fake_welcome(fake);
    while (fake_take(fake, &request)) {
        if (request.head.type == TLV_STAT) {
            fake_send(fake, frame, tlv_stats_head(frame, request.head.id, 12));
            fake_send(fake, "{\"blocks\":2}", 12);
            continue;
        }
        must(request.head.type == TLV_LIST && request.head.count == 10);
        struct tlv_item item = {.codec = 0x70, .bytes = 5, .key = {.code = 0x12}};
        item.key.digest_bytes = 32;
        memset(item.key.digest, 7, 32);
        bool last = request.head.cursor == 55;
        uint32_t bytes = (uint32_t)tlv_item_write(&item, items);
        fake_send(fake, frame, tlv_items_head(frame, request.head.id, last ? 0 : 55, 1, bytes));
        fake_send(fake, items, bytes);
    }
}

Test(client, list_goes_page_by_page_and_stat_is_text) {
    struct fake fake;
    struct mr_item items[10];
    char *json = NULL, text[MR_CID_TEXT];
    size_t json_bytes = 0;
    uint64_t cursor = 0;
    uint32_t count = 0, pages = 0;
    fake_start(&fake, script_list_and_stat, NULL);
    struct mr_client *client = connected_with(&fake, NULL);
    do {
        cr_assert_eq(mr_list(client, &cursor, items, 10, &count), 0);
        cr_assert_eq(count, 1);
        cr_assert_eq(items[0].size, 5);
        cr_assert_eq(mr_cid_codec(&items[0].cid), 0x70);
        cr_assert_gt(mr_cid_format(&items[0].cid, text), 0);
        pages++;
    } while (cursor != 0);
    cr_assert_eq(pages, 2);
    cr_assert_eq(mr_list(client, &cursor, items, 0, &count), MR_BAD_ARGUMENT);
    cr_assert_eq(mr_stat(client, &json, &json_bytes), 0);
    cr_assert_str_eq(json, "{\"blocks\":2}");
    free(json);
    done(client, &fake);
}

static void script_absent(struct fake *fake) {
    struct fake_request request;
    fake_welcome(fake);
    while (fake_take(fake, &request)) {
        fake_plain(fake, TLV_NOT_FOUND, request.head.id);
    }
}

Test(client, absent_blocks_are_not_found) {
    struct fake fake;
    struct mr_block got;
    struct mr_cid cid = block_cid();
    fake_start(&fake, script_absent, NULL);
    struct mr_client *client = connected_with(&fake, NULL);
    cr_assert_eq(mr_get(client, &cid, &got), MR_NOT_FOUND);
    cr_assert_eq(mr_delete(client, &cid), MR_NOT_FOUND);
    cr_assert_eq(mr_verify(client, &cid), MR_NOT_FOUND);
    cr_assert_eq(mr_pin(client, &cid, false), MR_NOT_FOUND);
    cr_assert_eq(mr_unpin(client, &cid), MR_NOT_FOUND);
    cr_assert_str_eq(mr_error(client), "not found");
    done(client, &fake);
}

Test(client, identity_cids_are_their_own_block) {
    struct fake fake;
    struct mr_block got;
    struct mr_cid cid;
    char buffer[4];
    size_t size = 0;
    cr_assert_eq(mr_cid_read("\x01\x55\x00\x02hi", 6, &cid), 0);
    fake_start(&fake, script_silent_after_welcome, NULL);
    struct mr_client *client = connected_with(&fake, NULL);
    cr_assert_eq(mr_get(client, &cid, &got), 0);
    cr_assert_eq(got.size, 2);
    cr_assert_eq(memcmp(got.data, "hi", 2), 0);
    mr_block_free(&got);
    cr_assert_eq(mr_get_range(client, &cid, 1, 4, buffer, &size, NULL), 0);
    cr_assert_eq(size, 1);
    cr_assert_eq(buffer[0], 'i');
    cr_assert_eq(mr_put_cid(client, &cid, "hi", 2), 0);
    cr_assert_eq(mr_delete(client, &cid), MR_NOT_FOUND);
    cr_assert_eq(mr_verify(client, &cid), 0);
    done(client, &fake);
}

Test(client, results_have_words) {
    for (int result = 0; result <= MR_BAD_ARGUMENT; result++) {
        cr_assert_str_neq(mr_result_text(result), "unknown result");
    }
    cr_assert_str_eq(mr_result_text(99), "unknown result");
    cr_assert_str_eq(mr_result_text(-ENOENT), "No such file or directory");
}
