/* SPDX-License-Identifier: MIT */
#include "proto/libp2p/crypto.h"

#include "tests/proto/hex.h"

#include <criterion/criterion.h>

Test(crypto, sha256_of_pieces_is_that_of_their_concatenation) {
    uint8_t hash[32], want[32];
    const struct crypto_piece pieces[] = {{"a", 1}, {"", 0}, {"bc", 2}};
    hex_read("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", want);
    crypto_sha256(pieces, 3, hash);
    cr_assert_arr_eq(hash, want, 32);
}

/* RFC 4231, case 1: a key of 20 bytes is one of 32 that ends in zeros. */
Test(crypto, hmac_is_that_of_rfc_4231) {
    uint8_t key[32] = {0}, mac[32], want[32];
    memset(key, 0x0b, 20);
    hex_read("b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7", want);
    crypto_hmac(key, &(struct crypto_piece){"Hi There", 8}, 1, mac);
    cr_assert_arr_eq(mac, want, 32);
}

Test(crypto, hkdf_outputs_may_lie_over_the_chain) {
    uint8_t chain[32], first[32], second[32], again[32];
    memset(chain, 7, sizeof chain);
    crypto_hkdf(chain, (const uint8_t *)"input", 5, first, second);
    cr_assert_neq(memcmp(first, second, 32), 0);
    crypto_hkdf(chain, (const uint8_t *)"input", 5, chain, again);
    cr_assert_arr_eq(chain, first, 32);
    cr_assert_arr_eq(again, second, 32);
}

/* RFC 7748, section 6.1: Bob's key, Alice's public one, their secret. */
Test(crypto, x25519_is_that_of_rfc_7748) {
    uint8_t secret[32], mine[32], theirs[32], want[32], shared[32];
    cr_assert_eq(crypto_open(), 0);
    hex_read("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb", secret);
    struct evp_pkey_st *key = crypto_x25519_key(secret, mine);
    hex_read("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f", want);
    cr_assert_arr_eq(mine, want, 32);
    hex_read("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a", theirs);
    cr_assert(crypto_x25519(key, theirs, shared));
    hex_read("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742", want);
    cr_assert_arr_eq(shared, want, 32);
    crypto_key_close(key);
}

Test(crypto, a_point_of_low_order_makes_no_secret) {
    uint8_t secret[32] = {1}, mine[32], shared[32];
    const uint8_t zero[32] = {0}, one[32] = {1};
    cr_assert_eq(crypto_open(), 0);
    struct evp_pkey_st *key = crypto_x25519_key(secret, mine);
    cr_assert_not(crypto_x25519(key, zero, shared));
    cr_assert_not(crypto_x25519(key, one, shared));
    crypto_key_close(key);
    crypto_forget_errors();
}

/* RFC 8032, section 7.1, test 2. */
Test(crypto, ed25519_signs_as_in_rfc_8032) {
    uint8_t secret[32], mine[32], want[64], signature[64];
    const uint8_t message = 0x72;
    cr_assert_eq(crypto_open(), 0);
    hex_read("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb", secret);
    struct evp_pkey_st *key = crypto_ed25519_key(secret, mine);
    hex_read("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", want);
    cr_assert_arr_eq(mine, want, 32);
    cr_assert(crypto_sign(key, &message, 1, signature));
    hex_read("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
             "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
             want);
    cr_assert_arr_eq(signature, want, 64);
    crypto_key_close(key);
}

static void seal(struct crypto_aead *aead, const uint8_t *plain, size_t count, size_t piece,
                 uint8_t *out) {
    cr_assert(crypto_aead_begin(aead));
    cr_assert(crypto_aead_associate(aead, (const uint8_t *)"about", 5));
    for (size_t at = 0; at < count; at += piece) {
        size_t some = piece < count - at ? piece : count - at;
        cr_assert(crypto_aead_turn(aead, out + at, plain + at, some));
    }
    cr_assert(crypto_aead_seal_end(aead, out + count));
}

Test(crypto, a_message_in_pieces_is_the_message_in_one) {
    uint8_t key[32] = {9}, plain[1000], whole[1016], parts[1016];
    struct crypto_aead aead = {0};
    memset(plain, 'p', sizeof plain);
    cr_assert_eq(crypto_open(), 0);
    cr_assert(crypto_aead_init(&aead));
    cr_assert(crypto_aead_key(&aead, CRYPTO_CHACHA20_POLY1305, key, NULL, true));
    seal(&aead, plain, sizeof plain, sizeof plain, whole);
    for (size_t piece = 1; piece < 200; piece += 7) {
        cr_assert(crypto_aead_key(&aead, CRYPTO_CHACHA20_POLY1305, key, NULL, true));
        seal(&aead, plain, sizeof plain, piece, parts);
        cr_assert_arr_eq(whole, parts, sizeof whole);
    }
    crypto_aead_fini(&aead);
}

static void flip(uint8_t *bytes, size_t bit, bool really) {
    if (really) {
        bytes[bit / 8] = (uint8_t)(bytes[bit / 8] ^ 1u << bit % 8);
    }
}

Test(crypto, what_was_changed_does_not_open) {
    uint8_t key[32] = {9}, plain[40] = "nobody may change this", sealed[56], opened[40];
    struct crypto_aead sealer = {0}, opener = {0};
    cr_assert_eq(crypto_open(), 0);
    cr_assert(crypto_aead_init(&sealer) && crypto_aead_init(&opener));
    cr_assert(crypto_aead_key(&sealer, CRYPTO_CHACHA20_POLY1305, key, NULL, true));
    seal(&sealer, plain, sizeof plain, sizeof plain, sealed);
    for (size_t bit = 0; bit <= 8 * sizeof sealed; bit++) { /* the last round changes nothing */
        bool changed = bit < 8 * sizeof sealed;
        flip(sealed, bit, changed);
        cr_assert(crypto_aead_key(&opener, CRYPTO_CHACHA20_POLY1305, key, NULL, false));
        cr_assert(crypto_aead_begin(&opener));
        cr_assert(crypto_aead_associate(&opener, (const uint8_t *)"about", 5));
        cr_assert(crypto_aead_turn(&opener, opened, sealed, sizeof plain));
        cr_assert_eq(crypto_aead_open_end(&opener, sealed + sizeof plain), !changed);
        flip(sealed, bit, changed);
    }
    cr_assert_arr_eq(opened, plain, sizeof plain);
    crypto_aead_fini(&sealer);
    crypto_aead_fini(&opener);
    crypto_forget_errors();
}

Test(crypto, the_last_nonce_is_never_used) {
    uint8_t key[32] = {9};
    struct crypto_aead aead = {0};
    cr_assert_eq(crypto_open(), 0);
    cr_assert(crypto_aead_init(&aead));
    cr_assert(crypto_aead_key(&aead, CRYPTO_CHACHA20_POLY1305, key, NULL, true));
    aead.nonce = UINT64_MAX - 1;
    cr_assert(crypto_aead_begin(&aead));
    cr_assert_not(crypto_aead_begin(&aead));
    crypto_aead_fini(&aead);
}
