/* SPDX-License-Identifier: MIT */
#include "proto/libp2p/keys.h"

#include "proto/libp2p/crypto.h"
#include "tests/proto/hex.h"
#include "tests/proto/peer_keys.h"

#include <criterion/criterion.h>

static uint8_t bytes[8192];

static int reads(const char *text, enum keys_kind *ret_kind) {
    struct keys_key key;
    size_t count = hex_read(text, bytes);
    int r = keys_read(bytes, count, &key);
    if (r == 0) {
        *ret_kind = key.kind;
        cr_assert_eq(key.data + key.data_bytes, bytes + count);
    }
    return r;
}

/* The published ones (libp2p specs, peer-ids). */
#define ED25519   "080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e"
#define SECP256K1 "08021221037777e994e452c21604f91de093ce415f5432f701dd8cd1a7a6fea0e630bfca99"
#define ECDSA                                                                                     \
    "0803125b3059301306072a8648ce3d020106082a8648ce3d03010703420004de3d300fa36ae0e8f5d530899d83a" \
    "bab44abf3161f162a4bc901d8e6ecda020e8b6d5f8da30525e71d6851510c098e5c47c646a597fb4dcec034e9f7" \
    "7c409e62"

Test(keys, published_keys_are_read) {
    enum keys_kind kind;
    cr_assert(reads(ED25519, &kind) == 0 && kind == KEYS_ED25519);
    cr_assert(reads(SECP256K1, &kind) == 0 && kind == KEYS_SECP256K1);
    cr_assert(reads(ECDSA, &kind) == 0 && kind == KEYS_ECDSA);
}

Test(keys, only_the_one_encoding_is_read) {
    enum keys_kind kind;
    struct keys_key key;
    cr_assert_eq(reads(ED25519 "00", &kind), KEYS_BAD, "something behind it");
    cr_assert_eq(
        reads("12201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e0801", &kind),
        KEYS_BAD, "fields in another order");
    cr_assert_eq(reads("08011220", &kind), KEYS_BAD, "no data");
    cr_assert_eq(reads("08041220", &kind), KEYS_BAD, "no such kind");
    cr_assert_eq(reads("0880011220", &kind), KEYS_BAD, "the kind is not minimal");
    cr_assert_eq(
        reads("0801121f1ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce2", &kind),
        KEYS_BAD, "a byte short");
    cr_assert_eq(
        reads("08021221047777e994e452c21604f91de093ce415f5432f701dd8cd1a7a6fea0e630bfca99", &kind),
        KEYS_BAD, "not a compressed point");
    size_t count = hex_read("080112a0001ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fc"
                            "e27e",
                            bytes);
    cr_assert_eq(keys_read(bytes, count, &key), KEYS_BAD, "the length is not minimal");
    count = hex_read(ED25519, bytes);
    for (size_t cut = 0; cut < count; cut++) {
        cr_assert_eq(keys_read(bytes, cut, &key), KEYS_BAD);
    }
    count = hex_read(ECDSA, bytes);
    for (size_t i = 4; i < 31; i++) { /* every byte of the head counts */
        bytes[i] ^= 1;
        cr_assert_eq(keys_read(bytes, count, &key), KEYS_BAD);
        bytes[i] ^= 1;
    }
}

Test(keys, ours_is_written_as_it_is_read) {
    uint8_t out[KEYS_ED25519_BYTES], want[64];
    size_t count = hex_read(ED25519, want);
    keys_write_ed25519(want + 4, out);
    cr_assert_eq(count, sizeof out);
    cr_assert_arr_eq(out, want, count);
}

static void proves(struct peer_key *peer) {
    static const uint8_t message[] = "what is signed here";
    uint8_t signature[1024], changed[sizeof message];
    struct keys_key key;
    cr_assert_eq(crypto_open(), 0);
    cr_assert_eq(keys_read(peer->bytes, peer->count, &key), 0);
    size_t count = peer_key_sign(peer, message, sizeof message, signature);
    cr_assert_eq(keys_verify(&key, message, sizeof message, signature, count), 0);
    memcpy(changed, message, sizeof message);
    changed[3] ^= 1;
    cr_assert_eq(keys_verify(&key, changed, sizeof changed, signature, count), KEYS_BAD);
    for (size_t i = 0; i < count; i += 1 + count / 50) {
        signature[i] ^= 0x40;
        cr_assert_eq(keys_verify(&key, message, sizeof message, signature, count), KEYS_BAD);
        signature[i] ^= 0x40;
    }
    cr_assert_eq(keys_verify(&key, message, sizeof message, signature, count - 1), KEYS_BAD);
    cr_assert_eq(keys_verify(&key, message, sizeof message, signature, 0), KEYS_BAD);
    cr_assert_eq(keys_verify(&key, message, sizeof message, signature, count), 0);
    peer_key_close(peer);
}

Test(keys, ed25519_proves) {
    struct peer_key peer;
    peer_key_ed25519(&peer);
    proves(&peer);
}
Test(keys, secp256k1_proves) {
    struct peer_key peer;
    peer_key_secp256k1(&peer);
    proves(&peer);
}
Test(keys, ecdsa_proves) {
    struct peer_key peer;
    peer_key_ecdsa(&peer, "P-256");
    proves(&peer);
}
Test(keys, rsa_proves) {
    struct peer_key peer;
    peer_key_rsa(&peer, 2048);
    proves(&peer);
}

Test(keys, other_curves_and_small_rsa_are_refused) {
    struct peer_key peer;
    struct keys_key key;
    peer_key_ecdsa(&peer, "P-384");
    cr_assert_eq(keys_read(peer.bytes, peer.count, &key), KEYS_BAD);
    peer_key_close(&peer);
    peer_key_rsa(&peer, 1024);
    cr_assert_eq(keys_read(peer.bytes, peer.count, &key), KEYS_BAD);
    peer_key_close(&peer);
    peer_key_rsa(&peer, 2040);
    cr_assert_eq(keys_read(peer.bytes, peer.count, &key), KEYS_BAD);
    peer_key_close(&peer);
}

/* A key of `n_bytes` and `e_bytes` of ones, which nobody checks for being a product of primes. */
static size_t rsa_of(size_t n_bytes, size_t e_bytes) {
    static const uint8_t algorithm[] = {0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86,
                                        0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00};
    static uint8_t data[8192];
    size_t pair = 4 + 1 + n_bytes + 4 + e_bytes;
    uint8_t *at = data;
    struct peer_key peer = {0};
#define HEAD(tag, count) \
    (*at++ = (tag), *at++ = 0x82, *at++ = (uint8_t)((count) >> 8), *at++ = (uint8_t)(count))
    HEAD(0x30, sizeof algorithm + 4 + 1 + 4 + pair);
    memcpy(at, algorithm, sizeof algorithm);
    at += sizeof algorithm;
    HEAD(0x03, 1 + 4 + pair);
    *at++ = 0;
    HEAD(0x30, pair);
    HEAD(0x02, n_bytes + 1);
    *at++ = 0;
    memset(at, 0xff, n_bytes);
    at += n_bytes;
    *at++ = 0x02; /* short enough for a length of one byte, or it is made two */
    if (e_bytes < 0x80) {
        *at++ = (uint8_t)e_bytes;
    } else {
        *at++ = 0x82, *at++ = (uint8_t)(e_bytes >> 8), *at++ = (uint8_t)e_bytes;
    }
    memset(at, 0x7f, e_bytes);
    at += e_bytes;
    size_t count = (size_t)(at - data);
    size_t shorter = e_bytes < 0x80 ? 2 : 0; /* the heads counted four bytes */
    data[2] = (uint8_t)((count - 4) >> 8), data[3] = (uint8_t)(count - 4);
    data[21] = (uint8_t)((count - 23) >> 8), data[22] = (uint8_t)(count - 23);
    data[26] = (uint8_t)((pair - shorter) >> 8), data[27] = (uint8_t)(pair - shorter);
    if (count > KEYS_MAX) {
        return 0;
    }
    peer_key_write(&peer, 0, data, count);
    memcpy(bytes, peer.bytes, peer.count);
    return peer.count;
}

Test(keys, giant_rsa_is_refused_before_any_arithmetic) {
    struct keys_key key;
    cr_assert_eq(keys_read(bytes, rsa_of(256, 3), &key), 0, "the maker makes what is read");
    cr_assert_eq(keys_read(bytes, rsa_of(1024, 4), &key), 0);
    cr_assert_eq(keys_read(bytes, rsa_of(1025, 3), &key), KEYS_BAD);
    cr_assert_eq(keys_read(bytes, rsa_of(255, 3), &key), KEYS_BAD);
    cr_assert_eq(keys_read(bytes, rsa_of(256, 5), &key), KEYS_BAD, "an exponent over 31 bits");
    cr_assert_eq(keys_read(bytes, rsa_of(256, 256), &key), KEYS_BAD);
    cr_assert_eq(keys_read(bytes, KEYS_MAX + 1, &key), KEYS_BAD);
}

Test(keys, a_point_off_its_curve_proves_nothing) {
    struct peer_key peer;
    struct keys_key key;
    uint8_t signature[1024];
    cr_assert_eq(crypto_open(), 0);
    peer_key_ecdsa(&peer, "P-256");
    size_t count = peer_key_sign(&peer, bytes, 10, signature);
    peer.bytes[peer.count - 1] ^= 1;
    cr_assert_eq(keys_read(peer.bytes, peer.count, &key), 0);
    cr_assert_eq(keys_verify(&key, bytes, 10, signature, count), KEYS_BAD);
    peer_key_close(&peer);
}
