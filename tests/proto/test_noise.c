/* SPDX-License-Identifier: MIT */
/* Records: whole, in parts, empty, changed, with no memory to be had. */
#include "proto/libp2p/noise.h"

#include "proto/libp2p/crypto.h"
#include "proto/libp2p/keys.h"
#include "tests/proto/secure_rig.h"

#include <criterion/criterion.h>

#include <errno.h>

struct pair {
    struct noise_self self[2];
    struct noise *end[2]; /* dialer, listener */
    struct rig_memory memory;
};

static const struct peer_id anybody;
static uint8_t record[SECURE_RECORD_BYTES], other[SECURE_RECORD_BYTES], body[SECURE_PLAIN_MAX];

static void pair_step(struct pair *pair, uint32_t which, const uint8_t *in, size_t count,
                      uint8_t *out, size_t *ret_out) {
    struct peer_id peer;
    bool muxer = false;
    size_t used = 0;
    int r = noise_step(pair->end[which], &anybody, in, count, &used, out, ret_out, &peer, &muxer);
    cr_assert(r == 0 || r == SECURE_MORE);
    cr_assert_eq(used, count);
    cr_assert(r != 0 || muxer);
}

static void pair_open(struct pair *pair) {
    uint8_t a[SECURE_HANDSHAKE_OUT_MAX], b[SECURE_HANDSHAKE_OUT_MAX];
    size_t a_count = 0, b_count = 0;
    memset(pair, 0, sizeof *pair);
    rig_memory_init(&pair->memory);
    cr_assert_eq(crypto_open(), 0);
    for (uint8_t i = 0; i < 2; i++) {
        uint8_t secret[32] = {1, i}, public[32], key[KEYS_ED25519_BYTES];
        struct evp_pkey_st *identity = crypto_ed25519_key(secret, public);
        keys_write_ed25519(public, key);
        cr_assert_eq(noise_self_init(&pair->self[i], identity, key, sizeof key, secret), 0);
        crypto_key_close(identity);
        pair->end[i] = noise_open(&pair->self[i], i == 0, NULL);
        cr_assert(pair->end[i]);
    }
    pair_step(pair, 0, a, 0, a, &a_count);
    pair_step(pair, 1, a, a_count, b, &b_count);
    pair_step(pair, 0, b, b_count, a, &a_count);
    pair_step(pair, 1, a, a_count, b, &b_count);
    cr_assert_eq(b_count, 0);
    for (size_t i = 0; i < sizeof body; i++) {
        body[i] = (uint8_t)(i * 7 + i / 251);
    }
}

static void pair_close(struct pair *pair) {
    for (uint32_t i = 0; i < 2; i++) {
        noise_close(pair->end[i], &pair->memory.memory);
        noise_self_fini(&pair->self[i]);
    }
    rig_memory_fini(&pair->memory);
}

/* Seals `first` and `rest` bytes of body into `into`. Returns: where they begin. */
static uint8_t *seal(struct pair *pair, uint8_t *into, uint32_t first, uint32_t rest,
                     size_t *ret_bytes) {
    uint32_t start = 0, bytes = 0;
    memcpy(into + SECURE_HEAD, body, first);
    cr_assert_eq(noise_seal(pair->end[0], into, first, body + first, rest, &start, &bytes), 0);
    cr_assert_eq(bytes, 2 + first + rest + 16);
    *ret_bytes = bytes;
    return into + start;
}

struct piece {
    const uint8_t *bytes;
    size_t count, used;
    int r;
};

static struct piece read_some(struct pair *pair, const uint8_t *in, size_t count) {
    struct piece piece = {0};
    piece.r = noise_read(pair->end[1], &pair->memory.memory, in, count, &piece.used, &piece.bytes,
                         &piece.count);
    cr_assert_leq(piece.used, count);
    return piece;
}

Test(noise, a_whole_record_opens_in_the_scratch) {
    struct pair pair;
    size_t count = 0;
    pair_open(&pair);
    for (uint32_t first = 0; first < 200; first += 13) {
        for (uint32_t rest = first == 0; rest < 300; rest += 41) {
            const uint8_t *in = seal(&pair, record, first, rest, &count);
            struct piece piece = read_some(&pair, in, count);
            cr_assert_eq(piece.r, 0);
            cr_assert_eq(piece.used, count);
            cr_assert_eq(piece.bytes, pair.memory.memory.scratch);
            cr_assert_eq(piece.count, first + rest);
            cr_assert_arr_eq(piece.bytes, body, piece.count);
        }
    }
    cr_assert_eq(pair.memory.takes, 0);
    pair_close(&pair);
}

/* Feeds `count` bytes in pieces and wants exactly `plain` bytes of body. */
static void opens_in_pieces(struct pair *pair, const uint8_t *in, size_t count, size_t piece,
                            size_t plain) {
    for (size_t at = 0; at < count;) {
        size_t some = piece < count - at ? piece : count - at;
        struct piece got = read_some(pair, in + at, some);
        cr_assert_eq(got.used, some);
        at += some;
        cr_assert_eq(got.r, at == count ? 0 : SECURE_MORE);
        cr_assert_eq(noise_in_record(pair->end[1]), at < count);
        if (at == count) {
            cr_assert_eq(got.count, plain);
            cr_assert_arr_eq(got.bytes, body, plain);
        }
    }
}

Test(noise, a_record_opens_the_same_however_it_is_cut) {
    struct pair pair;
    size_t count = 0;
    pair_open(&pair);
    for (size_t piece = 1; piece < 330; piece++) {
        const uint8_t *in = seal(&pair, record, 11, 300, &count);
        opens_in_pieces(&pair, in, count, piece, 311);
    }
    for (size_t piece = 1000; piece < 70000; piece += 3000) {
        const uint8_t *in = seal(&pair, record, 64, SECURE_PLAIN_MAX - 64, &count);
        opens_in_pieces(&pair, in, count, piece, SECURE_PLAIN_MAX);
    }
    cr_assert_eq(read_some(&pair, record, 0).r, SECURE_MORE);
    cr_assert_eq(pair.memory.held, 0, "memory of the last piece goes back with the next call");
    pair_close(&pair);
}

Test(noise, records_of_one_byte_are_accepted) {
    struct pair pair;
    size_t count = 0;
    pair_open(&pair);
    const uint8_t *in = seal(&pair, record, 0, 1, &count);
    opens_in_pieces(&pair, in, count, 1, 1);
    in = seal(&pair, record, 1, 0, &count);
    opens_in_pieces(&pair, in, count, count, 1);
    pair_close(&pair);
}

Test(noise, memory_for_a_record_grows_as_it_comes) {
    struct pair pair;
    size_t count = 0;
    pair_open(&pair);
    const uint8_t *in = seal(&pair, record, 0, SECURE_PLAIN_MAX, &count);
    cr_assert_eq(read_some(&pair, in, 2).used, 2);
    cr_assert_eq(pair.memory.held, 0, "a length alone costs nothing");
    read_some(&pair, in + 2, 1);
    cr_assert_eq(pair.memory.held_bytes, 4096);
    read_some(&pair, in + 3, 4095);
    cr_assert_eq(pair.memory.held_bytes, 4096);
    read_some(&pair, in + 4098, 1);
    cr_assert_eq(pair.memory.held_bytes, 16384);
    read_some(&pair, in + 4099, 20000);
    cr_assert_eq(pair.memory.held_bytes, 65535);
    struct piece piece = read_some(&pair, in + 24099, count - 24099);
    cr_assert_eq(piece.r, 0);
    cr_assert_arr_eq(piece.bytes, body, SECURE_PLAIN_MAX);
    cr_assert_eq(pair.memory.held, 1);
    pair_close(&pair); /* gives back what a piece still lies in */
}

Test(noise, no_memory_takes_nothing_and_can_be_tried_again) {
    struct pair pair;
    size_t count = 0;
    pair_open(&pair);
    const uint8_t *in = seal(&pair, record, 0, 10000, &count);
    pair.memory.refuse_after = 0;
    struct piece piece = read_some(&pair, in, 100);
    cr_assert_eq(piece.r, SECURE_MEMORY);
    cr_assert_eq(piece.used, 0);
    cr_assert_not(noise_in_record(pair.end[1]));
    pair.memory.refuse_after = 1;
    cr_assert_eq(read_some(&pair, in, 100).used, 100);
    piece = read_some(&pair, in + 100, 5000);
    cr_assert_eq(piece.r, SECURE_MEMORY);
    cr_assert_eq(piece.used, 0);
    pair.memory.refuse_after = UINT32_MAX;
    opens_in_pieces(&pair, in + 100, count - 100, 5000, 10000);
    pair_close(&pair);
}

Test(noise, empty_records_are_passed_over) {
    struct pair pair;
    pair_open(&pair);
    uint32_t start = 0, bytes = 0;
    size_t count = 0;
    /* secure_seal makes none; the primitive does. */
    cr_assert_eq(noise_seal(pair.end[0], record, 0, body, 0, &start, &bytes), 0);
    cr_assert_eq(bytes, 18);
    memmove(record, record + start, bytes);
    const uint8_t *in = seal(&pair, other, 0, 5, &count);
    memcpy(record + bytes, in, count);
    struct piece piece = read_some(&pair, record, bytes + count);
    cr_assert_eq(piece.r, 0);
    cr_assert_eq(piece.used, bytes + count);
    cr_assert_eq(piece.count, 5);
    cr_assert_eq(noise_seal(pair.end[0], record, 0, body, 0, &start, &bytes), 0);
    for (uint32_t i = 0; i < bytes; i++) {
        piece = read_some(&pair, record + start + i, 1);
        cr_assert_eq(piece.r, SECURE_MORE);
        cr_assert_eq(piece.used, 1);
    }
    cr_assert_not(noise_in_record(pair.end[1]));
    cr_assert_eq(pair.memory.takes, 0);
    pair_close(&pair);
}

Test(noise, a_changed_byte_is_bad_and_nothing_comes_out) {
    for (size_t piece_bytes = 7; piece_bytes < 100; piece_bytes += 60) {
        for (size_t spoiled = 2; spoiled < 2 + 50 + 16; spoiled++) {
            struct pair pair;
            size_t count = 0, at = 0;
            pair_open(&pair);
            uint8_t *in = seal(&pair, record, 10, 40, &count);
            in[spoiled] ^= 0x10;
            struct piece piece = {.r = SECURE_MORE};
            while (piece.r == SECURE_MORE && at < count) {
                size_t some = piece_bytes < count - at ? piece_bytes : count - at;
                piece = read_some(&pair, in + at, some);
                at += piece.used;
            }
            cr_assert_eq(piece.r, SECURE_BAD);
            cr_assert_null(piece.bytes);
            pair_close(&pair);
        }
    }
}

Test(noise, a_record_out_of_turn_is_bad) {
    struct pair pair;
    size_t first_count = 0, count = 0;
    pair_open(&pair);
    const uint8_t *first = seal(&pair, record, 0, 50, &first_count);
    seal(&pair, other, 0, 50, &count);
    cr_assert_eq(read_some(&pair, first, first_count).r, 0);
    cr_assert_eq(read_some(&pair, first, first_count).r, SECURE_BAD, "the first one, again");
    pair_close(&pair);
}

Test(noise, a_length_without_room_for_a_tag_is_bad) {
    struct pair pair;
    pair_open(&pair);
    const uint8_t head[2] = {0, 15};
    cr_assert_eq(read_some(&pair, head, 2).r, SECURE_BAD);
    pair_close(&pair);
}

Test(noise, used_up_nonces_end_both_directions) {
    struct pair pair;
    size_t count = 0;
    uint32_t start = 0, bytes = 0;
    pair_open(&pair);
    noise_skip_to(pair.end[0], UINT64_MAX - 1, 0);
    noise_skip_to(pair.end[1], 0, UINT64_MAX - 1);
    const uint8_t *in = seal(&pair, record, 0, 5, &count);
    cr_assert_eq(read_some(&pair, in, count).r, 0);
    cr_assert_eq(noise_seal(pair.end[0], other, 0, body, 5, &start, &bytes), -EIO);
    cr_assert_eq(read_some(&pair, in, count).r, SECURE_BAD);
    pair_close(&pair);
}
