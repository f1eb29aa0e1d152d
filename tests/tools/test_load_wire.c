/* SPDX-License-Identifier: MIT */
#include "tools/load/wire.h"

#include "base/hash.h"
#include "base/key.h"
#include "proto/tlv/tlv.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* The protocols are tools/load/wire_tlv.c and tools/load/wire_text.c.
 * Writes what a stream means as text, one reply a line, so that two readings can be compared. */
static void read_all(const struct wire *wire, const uint8_t *bytes, size_t count, size_t piece,
                     char *out, size_t out_bytes) {
    struct wire_reader reader;
    wire_reader_init(&reader);
    uint64_t sum = 0, body = 0;
    size_t at = 0, used = 0;
    for (size_t from = 0; from < count; from += piece) {
        size_t rest = count - from < piece ? count - from : piece;
        const uint8_t *run_at = bytes + from;
        for (enum wire_event event = WIRE_EVENT_BODY; event != WIRE_EVENT_MORE;) {
            struct wire_run run;
            event = wire_reader_step(wire, &reader, run_at, rest, &run);
            cr_assert(run.used <= rest);
            if (event == WIRE_EVENT_BODY) {
                cr_assert_eq(run.body_at, body);
                for (uint32_t i = 0; i < run.body_bytes; i++) {
                    sum = sum * 31 + run.body[i];
                }
                body += run.body_bytes;
            } else if (event == WIRE_EVENT_REPLY) {
                used = (size_t)snprintf(out + at, out_bytes - at, "%d id %u body %lu %lx %s\n",
                                        reader.reply.answer, wire->ordered ? 0 : reader.reply.id,
                                        body, sum,
                                        reader.reply.answer == WIRE_FAULT ? reader.reply.text : "");
                at += used;
                sum = body = 0;
            } else if (event == WIRE_EVENT_BAD) {
                snprintf(out + at, out_bytes - at, "bad\n");
                wire_reader_fini(&reader);
                return;
            }
            run_at += run.used;
            rest -= run.used;
        }
    }
    out[at] = '\0';
    wire_reader_fini(&reader);
}

static void any_split_reads_alike(const struct wire *wire, const uint8_t *bytes, size_t count,
                                  const char *expected) {
    char whole[2000], split[2000];
    read_all(wire, bytes, count, count, whole, sizeof whole);
    cr_assert_str_eq(whole, expected);
    for (size_t piece = 1; piece < count; piece++) {
        read_all(wire, bytes, count, piece, split, sizeof split);
        cr_assert_str_eq(split, whole, "in pieces of %zu", piece);
    }
}

Test(load_wire, tlv_replies_read_alike_however_they_are_split) {
    uint8_t bytes[1000];
    size_t count = tlv_welcome(bytes, 0, 2, 0, 128, 2097152);
    count += tlv_value_head(bytes + count, 7, 0x55, 3, 0, 3);
    memcpy(bytes + count, "abc", 3);
    count += 3;
    count += tlv_busy(bytes + count, 8, 5, 64);
    count += tlv_value_head(bytes + count, 9, 0x55, 0, 0, 0);
    count += tlv_fault(bytes + count, 10, TLV_CODE_FULL, "no room");
    count += tlv_plain(bytes + count, TLV_DONE, 11);
    count += tlv_plain(bytes + count, TLV_NOT_FOUND, 12);
    count += tlv_haves_head(bytes + count, 13, 2);
    memcpy(bytes + count, "\1\0", 2);
    count += 2;
    char expected[400];
    snprintf(expected, sizeof expected,
             "%d id 0 body 0 0 \n%d id 7 body 3 17862 \n%d id 8 body 0 0 \n%d id 9 body 0 0 \n"
             "%d id 10 body 0 0 no room\n%d id 11 body 0 0 \n%d id 12 body 0 0 \n"
             "%d id 13 body 2 1f \n",
             WIRE_WELCOME, WIRE_VALUE, WIRE_BUSY, WIRE_VALUE, WIRE_FAULT, WIRE_DONE, WIRE_NOT_FOUND,
             WIRE_HAVES);
    any_split_reads_alike(&wire_tlv, bytes, count, expected);
}

static void text_reads(const struct wire *wire, const char *text, const char *expected) {
    any_split_reads_alike(wire, (const uint8_t *)text, strlen(text), expected);
}

Test(load_wire, resp_replies_read_alike_however_they_are_split) {
    char expected[200];
    snprintf(expected, sizeof expected,
             "%d id 0 body 3 17862 \n%d id 0 body 0 0 \n%d id 0 body 0 0 \n%d id 0 body 0 0 \n"
             "%d id 0 body 0 0 ERR odd\n",
             WIRE_VALUE, WIRE_NOT_FOUND, WIRE_DONE, WIRE_VALUE, WIRE_FAULT);
    text_reads(&wire_resp, "$3\r\nabc\r\n$-1\r\n+OK\r\n$0\r\n\r\n-ERR odd\r\n", expected);
}

Test(load_wire, memcache_replies_read_alike_however_they_are_split) {
    char expected[200];
    snprintf(expected, sizeof expected,
             "%d id 0 body 3 17862 \n%d id 0 body 1 78 \n%d id 0 body 0 0 \n%d id 0 body 0 0 \n"
             "%d id 0 body 0 0 SERVER_ERROR out of memory\n",
             WIRE_VALUE, WIRE_VALUE, WIRE_END, WIRE_DONE, WIRE_FAULT);
    text_reads(&wire_memcache,
               "VALUE k:0000000000000001 0 3\r\nabc\r\nVALUE k:00000000000000ff 0 1\r\nx\r\nEND\r\n"
               "STORED\r\nSERVER_ERROR out of memory\r\n",
               expected);
}

Test(load_wire, http_replies_read_alike_however_they_are_split) {
    char expected[200];
    snprintf(expected, sizeof expected,
             "%d id 0 body 3 17862 \n%d id 0 body 1 78 \n%d id 0 body 0 0 \n"
             "%d id 0 body 0 0 HTTP/1.1 500 Oh\n",
             WIRE_VALUE, WIRE_NOT_FOUND, WIRE_BUSY, WIRE_FAULT);
    text_reads(&wire_http,
               "HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Length: 3\r\n\r\nabc"
               "HTTP/1.1 404 Not Found\r\ncontent-length:1\r\n\r\nx"
               "HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
               "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n",
               expected);
}

Test(load_wire, what_is_no_reply_is_bad_however_it_is_split) {
    text_reads(&wire_resp, "hello\r\n", "bad\n");
    text_reads(&wire_resp, "$12x\r\n", "bad\n");
    text_reads(&wire_resp, "$99999999999\r\n", "bad\n");
    text_reads(&wire_resp, "$1\r\nab\r\n", "bad\n");
    text_reads(&wire_http, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "bad\n");
    text_reads(&wire_memcache, "VALUE short 0 1\r\n", "bad\n");
    uint8_t frame[2] = {0x20, 0}; /* a request comes back */
    any_split_reads_alike(&wire_tlv, frame, 2, "bad\n");
}

Test(load_wire, a_head_without_end_is_bad_before_it_fills_the_memory) {
    uint8_t bytes[3 * WIRE_REPLY_MAX];
    memset(bytes, 'x', sizeof bytes);
    char out[100];
    for (size_t piece = 1; piece < sizeof bytes; piece = piece * 3 + 1) {
        read_all(&wire_http, bytes, sizeof bytes, piece, out, sizeof out);
        cr_assert_str_eq(out, "bad\n");
    }
}

Test(load_wire, a_tlv_get_is_what_the_protocol_writes) {
    struct key key = {.code = HASH_SHA2_256, .digest_bytes = 32};
    for (int i = 0; i < 32; i++) {
        key.digest[i] = (uint8_t)(i * 7);
    }
    struct wire_request request = {.op = WIRE_GET, .id = 0x01020304, .digest = key.digest};
    struct tlv_request same = {.type = TLV_GET, .class = TLV_CLASS_DEFAULT, .id = 0x01020304};
    uint8_t ours[TLV_REQUEST_MAX], theirs[TLV_REQUEST_MAX];
    size_t count = wire_tlv.write(&request, ours);
    cr_assert_eq(count, tlv_request_write(&same, &key, theirs));
    cr_assert_arr_eq(ours, theirs, count);
}

Test(load_wire, puts_ranges_and_haves_are_read_back_as_they_were_meant) {
    uint8_t digest[32] = {1, 2, 3}, out[TLV_REQUEST_MAX + 100];
    const uint8_t *digests[2] = {digest, digest};
    struct tlv_request read;
    struct key key;
    size_t used;
    enum tlv_code code;
    struct wire_request put = {.op = WIRE_PUT, .id = 5, .digest = digest, .body_bytes = 77};
    size_t count = wire_tlv.write(&put, out);
    cr_assert_eq(tlv_request_read(out, count, &read, &key, &used, &code), 0);
    cr_assert(read.type == TLV_PUT && read.body_bytes == 77 && read.id == 5 && used == count);
    struct wire_request range = {.op = WIRE_RANGE, .digest = digest, .offset = 9, .length = 10};
    count = wire_tlv.write(&range, out);
    cr_assert_eq(tlv_request_read(out, count, &read, &key, &used, &code), 0);
    cr_assert(read.type == TLV_GET_RANGE && read.offset == 9 && read.length == 10);
    struct wire_request have = {.op = WIRE_HAVE, .digests = digests, .count = 2};
    count = wire_tlv.write(&have, out);
    cr_assert_eq(tlv_request_read(out, count, &read, &key, &used, &code), 0);
    cr_assert(read.type == TLV_HAVE && read.count == 2 && count == used + read.body_bytes);
}

Test(load_wire, text_requests_are_what_the_servers_documents_say) {
    uint8_t out[200] = {0};
    struct wire_request get = {.op = WIRE_GET, .index = 0x2a, .first = true};
    out[wire_resp.write(&get, out)] = 0;
    cr_assert_str_eq((char *)out, "*2\r\n$3\r\nGET\r\n$18\r\nk:000000000000002a\r\n");
    size_t used = wire_memcache.write(&get, out);
    get.first = false;
    out[used + wire_memcache.write(&get, out + used)] = 0;
    cr_assert_str_eq((char *)out, "get k:000000000000002a k:000000000000002a");
    struct wire_request set = {.op = WIRE_PUT, .index = 1, .body_bytes = 10};
    out[wire_resp.write(&set, out)] = 0;
    cr_assert_str_eq((char *)out, "*3\r\n$3\r\nSET\r\n$18\r\nk:0000000000000001\r\n$10\r\n");
    out[wire_memcache.write(&set, out)] = 0;
    cr_assert_str_eq((char *)out, "set k:0000000000000001 0 0 10\r\n");
}

Test(load_wire, every_protocol_is_found_by_its_name) {
    for (uint32_t i = 0; wire_at(i) != NULL; i++) {
        cr_assert_eq(wire_find(wire_at(i)->name), wire_at(i));
    }
    cr_assert_null(wire_find("gopher"));
}
