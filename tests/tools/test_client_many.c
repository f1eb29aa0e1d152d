/* SPDX-License-Identifier: MIT */
/* Many blocks in one request of the client library, against a server that answers in parts, puts
 * off, lies, or knows no such request: tools/client/many.c. */

#include "tools/client/millrace_client.h"

#include "base/bits.h"
#include "base/must.h"
#include "tests/tools/fake_server.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { COUNT = 5 };
static char texts[COUNT][8];
static struct mr_cid cids[COUNT];

static void setup(void) {
    for (uint32_t i = 0; i < COUNT; i++) {
        memcpy(texts[i], "block 0", 8);
        texts[i][6] = (char)('0' + i);
        must(mr_cid_of_data(texts[i], 7, 0, 0, &cids[i]) == 0);
    }
}
TestSuite(client_many, .init = setup, .timeout = 60);

static struct mr_client *connected(struct fake *fake, void (*script)(struct fake *)) {
    struct mr_client *client = mr_new();
    fake_start(fake, script, NULL);
    cr_assert_eq(mr_connect(client, fake->address, NULL), 0, "%s", mr_error(client));
    return client;
}

static void done(struct mr_client *client, struct fake *fake) {
    mr_free(client);
    fake_stop(fake);
}

/* VALUES of these results, the block of its number where it is 0. */
static void values(struct fake *fake, uint32_t id, const uint16_t results[], const uint32_t which[],
                   uint32_t count) {
    uint8_t body[COUNT * (TLV_VALUE_ITEM_HEAD + 8)], head[TLV_REPLY_MAX];
    uint32_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct tlv_value_item item = {.result = results[i], .bytes = results[i] == 0 ? 7 : 0};
        tlv_value_item_head(&item, body + bytes);
        bytes += TLV_VALUE_ITEM_HEAD;
        memcpy(body + bytes, texts[which[i]], item.bytes);
        bytes += item.bytes;
    }
    fake_send(fake, head, tlv_many_head(head, TLV_VALUES, id, (uint16_t)count, bytes));
    fake_send_bytewise(fake, body, bytes);
}

static void results(struct fake *fake, uint32_t id, const uint16_t codes[], uint32_t count) {
    uint8_t frame[TLV_REPLY_MAX];
    size_t used = tlv_many_head(frame, TLV_RESULTS, id, (uint16_t)count, 2 * count);
    for (uint32_t i = 0; i < count; i++) {
        put_be16(frame + used, codes[i]);
        used += 2;
    }
    fake_send(fake, frame, used);
}

static void script_get_in_parts(struct fake *fake) {
    struct fake_request request;
    fake->features = TLV_FEATURE_MANY;
    fake_welcome(fake);
    must(fake_take(fake, &request) && request.head.type == TLV_GET_MANY);
    must(request.head.count == COUNT);
    values(fake, request.head.id, (const uint16_t[]){0, 2, TLV_CODE_CORRUPT, 1, 2},
           (const uint32_t[]){0, 1, 2, 3, 4}, COUNT);
    must(fake_take(fake, &request) && request.head.count == 2); /* those put off, and no more */
    values(fake, request.head.id, (const uint16_t[]){2, 2}, (const uint32_t[]){1, 4}, 2);
    must(fake_take(fake, &request) && request.head.count == 2); /* after a pause */
    values(fake, request.head.id, (const uint16_t[]){0, 0}, (const uint32_t[]){1, 3}, 2);
    fake_swallow(fake);
}

Test(client_many, what_is_put_off_is_asked_for_again_and_every_block_is_checked) {
    struct fake fake;
    struct mr_block blocks[COUNT];
    int got[COUNT];
    struct mr_client *client = connected(&fake, script_get_in_parts);
    cr_assert_eq(mr_get_many(client, cids, COUNT, blocks, got), MR_CORRUPT);
    static const int wanted[COUNT] = {0, 0, MR_CORRUPT, MR_NOT_FOUND, MR_CORRUPT};
    for (uint32_t i = 0; i < COUNT; i++) {
        cr_assert_eq(got[i], wanted[i], "block %u: %d", i, got[i]);
        cr_assert_eq(blocks[i].size, got[i] == 0 ? 7 : 0);
        cr_assert(got[i] != 0 || memcmp(blocks[i].data, texts[i], 7) == 0);
        mr_block_free(&blocks[i]);
    }
    done(client, &fake);
}

/* Says whether reads carry the flag of a scan, for two requests. */
static void script_scan(struct fake *fake) {
    struct fake_request request;
    fake_welcome(fake);
    for (uint32_t i = 0; i < 2; i++) {
        must(fake_take(fake, &request) && request.head.type == TLV_GET_MANY);
        bool wanted = i == 0 && (fake->features & TLV_FEATURE_SCAN) != 0;
        must(request.head.flags == (wanted ? TLV_FLAG_SCAN : 0));
        values(fake, request.head.id, (const uint16_t[]){0, 0}, (const uint32_t[]){0, 1}, 2);
    }
    fake_swallow(fake);
}
static void script_new(struct fake *fake) {
    fake->features = TLV_FEATURE_MANY | TLV_FEATURE_SCAN;
    script_scan(fake);
}
static void script_old(struct fake *fake) {
    fake->features = TLV_FEATURE_MANY;
    script_scan(fake);
}

Test(client_many, a_scan_says_so_to_servers_that_know_of_it) {
    for (uint32_t old = 0; old < 2; old++) {
        struct fake fake;
        struct mr_block blocks[COUNT];
        int got[COUNT];
        struct mr_client *client = connected(&fake, old ? script_old : script_new);
        for (uint32_t i = 0; i < 2; i++) {
            mr_scan(client, i == 0);
            cr_assert_eq(mr_get_many(client, cids, 2, blocks, got), 0, "%s", mr_error(client));
            mr_block_free(&blocks[0]);
            mr_block_free(&blocks[1]);
        }
        done(client, &fake);
    }
}

static void script_short_values(struct fake *fake) {
    struct fake_request request;
    fake->features = TLV_FEATURE_MANY;
    fake_welcome(fake);
    must(fake_take(fake, &request));
    values(fake, request.head.id, (const uint16_t[]){1, 1}, (const uint32_t[]){0, 1}, 2);
    fake_swallow(fake);
}

Test(client_many, an_answer_with_fewer_items_than_asked_is_a_broken_protocol) {
    struct fake fake;
    struct mr_block blocks[COUNT];
    int got[COUNT];
    struct mr_client *client = connected(&fake, script_short_values);
    cr_assert_eq(mr_get_many(client, cids, COUNT, blocks, got), MR_PROTOCOL);
    done(client, &fake);
}

static void script_put_all(struct fake *fake) {
    struct fake_request request;
    fake->features = TLV_FEATURE_MANY;
    fake_welcome(fake);
    must(fake_take(fake, &request) && request.head.type == TLV_PUT_MANY);
    must(request.head.flags == TLV_FLAG_ALL && request.head.count == COUNT);
    size_t at = 0;
    for (uint32_t i = 0; i < COUNT; i++) {
        struct tlv_put_item item;
        size_t used = 0;
        must(tlv_put_item_read(request.body + at, request.head.body_bytes - at, &item, &used) == 0);
        must(item.bytes == 7 && item.codec == 0x55 && memcmp(item.block, texts[i], 7) == 0);
        at += used;
    }
    must(at == request.head.body_bytes);
    /* It met another transaction: the whole comes again. */
    results(fake, request.head.id, (const uint16_t[]){3, 3, 2, 3, 3}, COUNT);
    must(fake_take(fake, &request) && request.head.count == COUNT);
    results(fake, request.head.id, (const uint16_t[]){3, TLV_CODE_FULL, 3, 3, 3}, COUNT);
    fake_swallow(fake);
}

Test(client_many, all_or_nothing_comes_again_whole_and_says_which_block_was_to_blame) {
    struct fake fake;
    struct mr_put_item items[COUNT];
    for (uint32_t i = 0; i < COUNT; i++) {
        items[i] = (struct mr_put_item){.cid = cids[i], .data = texts[i], .size = 7};
    }
    struct mr_client *client = connected(&fake, script_put_all);
    cr_assert_eq(mr_put_many(client, items, COUNT, true), MR_REFUSED);
    cr_assert_eq(mr_fault(client), TLV_CODE_FULL);
    cr_assert(strstr(mr_error(client), "no space left"), "%s", mr_error(client));
    for (uint32_t i = 0; i < COUNT; i++) {
        cr_assert_eq(items[i].result, i == 1 ? MR_REFUSED : MR_ABORTED);
    }
    items[3].data = texts[0]; /* the caller's own mistake is found before anything is sent */
    cr_assert_eq(mr_put_many(client, items, COUNT, true), MR_CORRUPT);
    done(client, &fake);
}

static void script_old_server(struct fake *fake) {
    struct fake_request request;
    fake_welcome(fake);
    for (uint32_t i = 0; i < COUNT; i++) {
        must(fake_take(fake, &request) && request.head.type == TLV_PUT);
        fake_plain(fake, TLV_DONE, request.head.id);
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        must(fake_take(fake, &request) && request.head.type == TLV_GET);
        fake_value(fake, request.head.id, texts[i], 7);
    }
    fake_swallow(fake);
}

Test(client_many, a_server_without_them_gets_single_requests_but_for_all_or_nothing) {
    struct fake fake;
    struct mr_put_item items[COUNT];
    struct mr_block blocks[COUNT];
    int got[COUNT];
    for (uint32_t i = 0; i < COUNT; i++) {
        items[i] = (struct mr_put_item){.cid = cids[i], .data = texts[i], .size = 7};
    }
    struct mr_client *client = connected(&fake, script_old_server);
    cr_assert_eq(mr_put_many(client, items, COUNT, true), MR_REFUSED);
    cr_assert_eq(mr_put_many(client, items, COUNT, false), 0, "%s", mr_error(client));
    cr_assert_eq(mr_get_many(client, cids, COUNT, blocks, got), 0, "%s", mr_error(client));
    for (uint32_t i = 0; i < COUNT; i++) {
        cr_assert_eq(memcmp(blocks[i].data, texts[i], 7), 0);
        mr_block_free(&blocks[i]);
    }
    done(client, &fake);
}
