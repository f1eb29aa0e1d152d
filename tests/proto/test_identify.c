/* SPDX-License-Identifier: MIT */
#include "proto/libp2p/identify.h"

#include "base/multibase.h"
#include "base/varint.h"
#include "proto/wire.h"

#include <criterion/criterion.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>

static const char key_hex[] =
    "080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e";
static const char *const protocols[] = {"/ipfs/id/1.0.0", "/ipfs/id/push/1.0.0", "/ipfs/ping/1.0.0",
                                        "/ipfs/bitswap/1.2.0", NULL};

static size_t peer_key(uint8_t key[64]) {
    size_t count;
    cr_assert_eq(multibase_read('f', key_hex, strlen(key_hex), key, 64, &count), 0);
    return count;
}

/* A run of messages as bytes. */
struct script {
    uint8_t bytes[IDENTIFY_BYTES_MAX * 12];
    size_t count;
};

static void add_message(struct script *script, const void *body, size_t count) {
    script->count += varint_write(count, script->bytes + script->count);
    memcpy(script->bytes + script->count, body, count);
    script->count += count;
}

static size_t put_text(uint8_t *out, uint32_t number, const char *text) {
    return wire_put_bytes(out, number, text, strlen(text));
}

struct outcome {
    struct identify_info info;
    int messages;
    bool bad;
    size_t used;
};

static struct outcome read_pieces(const struct script *script, size_t piece) {
    static uint8_t buffer[IDENTIFY_BYTES_MAX];
    struct identify_reader reader;
    struct outcome outcome = {0};
    struct peer_id peer;
    uint8_t key[64];
    size_t key_bytes = peer_key(key), used;
    cr_assert_eq(peer_id_of_key(key, key_bytes, &peer), 0);
    identify_reader_init(&reader, &peer, buffer);
    while (outcome.used < script->count) {
        size_t left = script->count - outcome.used, give = left < piece ? left : piece;
        enum identify_event event =
            identify_step(&reader, script->bytes + outcome.used, give, &used);
        cr_assert(used <= give);
        outcome.used += used;
        if (event == IDENTIFY_BAD) {
            outcome.bad = true;
            cr_assert_eq(identify_step(&reader, script->bytes, 1, &used), IDENTIFY_BAD);
            cr_assert_eq(used, 0);
            break;
        }
        cr_assert(event == IDENTIFY_MESSAGE || used == give);
        outcome.messages += event == IDENTIFY_MESSAGE;
    }
    outcome.info = reader.info;
    return outcome;
}

static struct outcome read_script(const struct script *script) {
    struct outcome whole = read_pieces(script, script->count);
    for (size_t piece = 1; piece < 40; piece += 3) {
        struct outcome cut = read_pieces(script, piece);
        cr_assert_eq(cut.used, whole.used);
        cr_assert_eq(cut.messages, whole.messages);
        cr_assert_eq(cut.bad, whole.bad);
        cr_assert_eq(cut.info.speaks, whole.info.speaks);
        cr_assert_str_eq(cut.info.agent, whole.info.agent);
        cr_assert_eq(cut.info.key_matches, whole.info.key_matches);
    }
    return whole;
}

static struct identify_self self_of(uint8_t key[64], const struct multiaddr *addresses,
                                    uint32_t address_count) {
    return (struct identify_self){
        .key_bytes = peer_key(key),
        .key = key,
        .agent = "millrace/0.1.0",
        .protocol_version = "ipfs/0.1.0",
        .protocols = protocols,
        .addresses = addresses,
        .address_count = address_count,
    };
}

Test(identify, what_we_say_is_understood) {
    struct multiaddr address;
    uint8_t key[64];
    struct script script = {0};
    cr_assert_eq(multiaddr_parse("/ip4/127.0.0.1/tcp/7412", &address, NULL, 0), 0);
    struct identify_self self = self_of(key, &address, 1);
    self.observed = &address;
    script.count = identify_write(&self, script.bytes);
    struct outcome outcome = read_script(&script);
    cr_assert(!outcome.bad && outcome.messages == 1 && outcome.used == script.count);
    cr_assert(outcome.info.key_seen && outcome.info.key_matches);
    cr_assert_eq(outcome.info.speaks,
                 SPEAKS_IDENTIFY | SPEAKS_IDENTIFY_PUSH | SPEAKS_PING | SPEAKS_BITSWAP_120);
    cr_assert_str_eq(outcome.info.agent, "millrace/0.1.0");
}

/* Counts the fields of the one message that was written. */
static uint32_t fields_of(const uint8_t *out, size_t count, uint32_t number) {
    uint64_t length;
    size_t prefix;
    struct wire_field field;
    uint32_t found = 0;
    cr_assert_eq(varint_read(out, count, &length, &prefix), 0);
    cr_assert_eq(prefix + length, count);
    const uint8_t *at = out + prefix, *end = out + count;
    while (wire_next(&at, end, &field) == 0) {
        found += field.number == number;
    }
    cr_assert_eq(at, end);
    return found;
}

Test(identify, every_field_that_other_peers_ask_for_is_there) {
    struct multiaddr addresses[2];
    uint8_t key[64], out[IDENTIFY_WRITE_MAX];
    cr_assert_eq(multiaddr_parse("/ip4/127.0.0.1/tcp/7412", &addresses[0], NULL, 0), 0);
    cr_assert_eq(multiaddr_parse("/ip6/::1/tcp/7412", &addresses[1], NULL, 0), 0);
    struct identify_self self = self_of(key, addresses, 2);
    size_t count = identify_write(&self, out);
    static const uint32_t expected[] = {[1] = 1, [2] = 2, [3] = 4, [4] = 0, [5] = 1, [6] = 1};
    for (uint32_t number = 1; number < array_count(expected); number++) {
        cr_assert_eq(fields_of(out, count, number), expected[number], "field %u", number);
    }
    self.observed = addresses;
    count = identify_write(&self, out);
    cr_assert_eq(fields_of(out, count, 4), 1);
}

Test(identify, addresses_beyond_the_room_are_left_out_and_nothing_else_is) {
    static struct multiaddr addresses[40];
    char name[MULTIADDR_NAME_MAX], text[MULTIADDR_TEXT_MAX];
    uint8_t key[64], out[IDENTIFY_WRITE_MAX];
    memset(name, 'a', sizeof name);
    name[sizeof name - 1] = 0;
    snprintf(text, sizeof text, "/dns4/%s/tcp/1", name);
    for (size_t i = 0; i < array_count(addresses); i++) {
        cr_assert_eq(multiaddr_parse(text, &addresses[i], NULL, 0), 0);
    }
    struct identify_self self = self_of(key, addresses, array_count(addresses));
    size_t count = identify_write(&self, out);
    cr_assert(count <= IDENTIFY_WRITE_MAX && count > IDENTIFY_WRITE_MAX - 262);
    cr_assert_eq(fields_of(out, count, 2), IDENTIFY_ADDRESSES_MAX - 1);
    cr_assert_eq(fields_of(out, count, 3), 4);
    cr_assert_eq(fields_of(out, count, 6), 1);
    cr_assert_eq(multiaddr_parse("/ip4/1.1.1.1/tcp/1", &addresses[0], NULL, 0), 0);
    for (size_t i = 1; i < array_count(addresses); i++) {
        addresses[i] = addresses[0];
    }
    count = identify_write(&self, out);
    cr_assert_eq(fields_of(out, count, 2), IDENTIFY_ADDRESSES_MAX);
}

Test(identify, several_messages_are_merged_and_absent_fields_change_nothing) {
    struct script script = {0};
    uint8_t body[200];
    add_message(&script, body, put_text(body, 6, "first/1"));
    add_message(&script, body, put_text(body, 3, "/ipfs/bitswap/1.1.0"));
    add_message(&script, body, 0);
    add_message(&script, body, put_text(body, 3, "/ipfs/bitswap"));
    struct outcome outcome = read_script(&script);
    cr_assert(!outcome.bad && outcome.messages == 4);
    cr_assert_eq(outcome.info.speaks, SPEAKS_BITSWAP_110 | SPEAKS_BITSWAP);
    cr_assert_str_eq(outcome.info.agent, "first/1");
    cr_assert_not(outcome.info.key_seen);
    cr_assert_not(outcome.info.key_matches);
}

Test(identify, unknown_fields_and_unknown_protocols_are_passed_over) {
    struct script script = {0};
    uint8_t body[600];
    size_t count = wire_put_varint(body, 7, UINT64_MAX);
    count += put_text(body + count, 8, "a signed record that nobody opens");
    count += put_text(body + count, 15, "?");
    count += wire_put_varint(body + count, 6, 5); /* not the text it should be */
    count += put_text(body + count, 3, "/ipfs/kad/1.0.0");
    count += put_text(body + count, 3, "/ipfs/bitswap/1.0.0");
    count += put_text(body + count, 3, "/ipfs/bitswap/1.2.0/more");
    count += put_text(body + count, 2, "\x04nonsense");
    count += put_text(body + count, 3, "");
    add_message(&script, body, count);
    struct outcome outcome = read_script(&script);
    cr_assert(!outcome.bad);
    cr_assert_eq(outcome.info.speaks, SPEAKS_BITSWAP_100);
    cr_assert_str_empty(outcome.info.agent);
}

Test(identify, an_agent_is_escaped_and_cut) {
    struct script script = {0};
    static uint8_t body[3000];
    char text[2000];
    add_message(&script, body, put_text(body, 6, "kubo/\x1b[2J\n\xff\"q\""));
    cr_assert_str_eq(read_script(&script).info.agent, "kubo/\\x1b[2J\\x0a\\xff\"q\"");
    memset(text, 'v', sizeof text);
    text[sizeof text - 1] = 0;
    script.count = 0;
    add_message(&script, body, put_text(body, 6, text));
    cr_assert_eq(strlen(read_script(&script).info.agent), IDENTIFY_AGENT_MAX - 1);
    memset(text, '\n', sizeof text - 1);
    script.count = 0;
    add_message(&script, body, put_text(body, 6, text));
    cr_assert_eq(strlen(read_script(&script).info.agent) % 4, 0, "no escape is cut in two");
}

Test(identify, a_key_of_somebody_else_does_not_match_nor_does_one_beside_the_right_one) {
    struct script script = {0};
    uint8_t body[200], key[64];
    size_t key_bytes = peer_key(key), count = wire_put_bytes(body, 1, key, key_bytes);
    body[count - 1] ^= 1;
    add_message(&script, body, count);
    struct outcome outcome = read_script(&script);
    cr_assert(outcome.info.key_seen && !outcome.info.key_matches);
    add_message(&script, body, wire_put_bytes(body, 1, key, key_bytes));
    cr_assert_not(read_script(&script).info.key_matches);
    script.count = 0;
    add_message(&script, body, wire_put_bytes(body, 1, key, key_bytes));
    add_message(&script, body, wire_put_bytes(body, 1, key, 0));
    outcome = read_script(&script);
    cr_assert(outcome.info.key_seen && !outcome.info.key_matches);
}

Test(identify, a_message_of_8_KiB_is_read_and_a_larger_one_refused_by_its_length) {
    static struct script script;
    static uint8_t body[IDENTIFY_BYTES_MAX];
    static uint8_t filler[IDENTIFY_BYTES_MAX];
    script.count = 0;
    size_t count = put_text(body, 6, "large");
    count += wire_put_bytes(body + count, 9, filler, IDENTIFY_BYTES_MAX - count - 3);
    cr_assert_eq(count, IDENTIFY_BYTES_MAX);
    add_message(&script, body, count);
    struct outcome outcome = read_script(&script);
    cr_assert(!outcome.bad && outcome.messages == 1);
    cr_assert_str_eq(outcome.info.agent, "large");
    script.count = varint_write(IDENTIFY_BYTES_MAX + 1, script.bytes);
    script.count += 100;
    outcome = read_script(&script);
    cr_assert(outcome.bad && outcome.used == 2);
}

Test(identify, more_messages_than_ten_are_refused) {
    struct script script = {0};
    uint8_t body[200];
    for (uint32_t i = 0; i <= IDENTIFY_MESSAGES_MAX; i++) {
        add_message(&script, body, put_text(body, 6, "again"));
    }
    struct outcome outcome = read_script(&script);
    cr_assert(outcome.bad && outcome.messages == (int)IDENTIFY_MESSAGES_MAX);
}

Test(identify, damage_is_refused_and_merges_nothing) {
    static const struct {
        const char *bytes;
        size_t count;
    } bad[] = {
        {"\x03\x32\x05x", 4},          /* a field beyond its message */
        {"\x01\x0b", 2},               /* a group */
        {"\x81\x00", 2},               /* a length spelt long */
        {"\xff\xff\xff\xff\x7f", 5},   /* a length without an end */
        {"\x06\x32\x01x\x1a\x05/", 7}, /* a good field before the bad one */
    };
    for (size_t i = 0; i < array_count(bad); i++) {
        struct script script = {.count = bad[i].count};
        memcpy(script.bytes, bad[i].bytes, bad[i].count);
        struct outcome outcome = read_script(&script);
        cr_assert(outcome.bad, "%zu", i);
        cr_assert_str_empty(outcome.info.agent);
    }
}

Test(identify, an_agent_that_cannot_fit_is_our_bug, .signal = SIGABRT) {
    static char agent[IDENTIFY_WRITE_MAX];
    uint8_t key[64], out[IDENTIFY_WRITE_MAX];
    memset(agent, 'a', sizeof agent - 1);
    struct identify_self self = self_of(key, NULL, 0);
    self.agent = agent;
    identify_write(&self, out);
}
