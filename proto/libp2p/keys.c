/* SPDX-License-Identifier: MIT */
#include "proto/libp2p/keys.h"

#include "proto/libp2p/crypto.h"
#include "proto/libp2p/der.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <string.h>

#define RSA_BYTES_MIN         256u  /* 2048 bits */
#define RSA_BYTES_MAX         1024u /* 8192 bits */
#define RSA_EXPONENT_MAX      4u
#define POINT_BYTES           65u /* of P-256, written plain: 4, x, y */
#define SECP256K1_BYTES       33u
#define ECDSA_SIGNATURE_BYTES 72u /* at most, in DER */

/* Before a point on P-256: SEQUENCE {SEQUENCE {id-ecPublicKey, prime256v1}, BIT STRING {0, ...}} */
static const uint8_t p256_head[] = {0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48,
                                    0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
                                    0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00};
/* SEQUENCE {rsaEncryption, NULL} */
static const uint8_t rsa_algorithm[] = {0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86,
                                        0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00};

static bool read_rsa(const uint8_t *data, size_t count, struct der *ret_n, struct der *ret_e) {
    struct der run = {data, data + count}, info, bits, pair;
    if (!der_take(&run, DER_SEQUENCE, &info) || der_count(&run) != 0 ||
        !der_take_exact(&info, rsa_algorithm, sizeof rsa_algorithm) ||
        !der_take(&info, DER_BITS, &bits) || der_count(&info) != 0 || der_count(&bits) == 0 ||
        *bits.at++ != 0 /* no unused bits */ || !der_take(&bits, DER_SEQUENCE, &pair) ||
        der_count(&bits) != 0 || !der_take_positive(&pair, ret_n) ||
        !der_take_positive(&pair, ret_e) || der_count(&pair) != 0) {
        return false;
    }
    /* Both odd, of sizes whose arithmetic has a known price. */
    size_t n_bytes = der_count(ret_n), e_bytes = der_count(ret_e);
    return n_bytes >= RSA_BYTES_MIN && n_bytes <= RSA_BYTES_MAX &&
           (n_bytes > RSA_BYTES_MIN || ret_n->at[0] & 0x80) && (ret_n->end[-1] & 1) &&
           e_bytes <= RSA_EXPONENT_MAX && (e_bytes < RSA_EXPONENT_MAX || !(ret_e->at[0] & 0x80)) &&
           (ret_e->end[-1] & 1) && (e_bytes > 1 || ret_e->at[0] > 1);
}

int keys_read(const uint8_t *bytes, size_t count, struct keys_key *ret_key) {
    if (count < 4 || count > KEYS_MAX || bytes[0] != 0x08 || bytes[1] > KEYS_ECDSA ||
        bytes[2] != 0x12) {
        return KEYS_BAD;
    }
    struct keys_key key = {.kind = (enum keys_kind)bytes[1], .data_bytes = bytes[3]};
    size_t head = 4;
    if (bytes[3] & 0x80) { /* a length of two bytes, whose second is its high part */
        if (count < 5 || bytes[4] & 0x80 || bytes[4] == 0) {
            return KEYS_BAD;
        }
        key.data_bytes = (size_t)(bytes[3] & 0x7f) | (size_t)bytes[4] << 7;
        head = 5;
    }
    key.data = bytes + head;
    if (count - head != key.data_bytes) {
        return KEYS_BAD;
    }
    struct der n, e;
    bool good = false;
    switch (key.kind) {
    case KEYS_RSA:
        good = read_rsa(key.data, key.data_bytes, &n, &e);
        break;
    case KEYS_ED25519:
        good = key.data_bytes == CRYPTO_KEY_BYTES;
        break;
    case KEYS_SECP256K1:
        good = key.data_bytes == SECP256K1_BYTES && (key.data[0] == 2 || key.data[0] == 3);
        break;
    case KEYS_ECDSA:
        good = key.data_bytes == sizeof p256_head + POINT_BYTES &&
               memcmp(key.data, p256_head, sizeof p256_head) == 0 &&
               key.data[sizeof p256_head] == 4;
        break;
    }
    if (!good) {
        return KEYS_BAD;
    }
    *ret_key = key;
    return 0;
}

void keys_write_ed25519(const uint8_t key[32], uint8_t out[KEYS_ED25519_BYTES]) {
    static const uint8_t head[4] = {0x08, KEYS_ED25519, 0x12, 32};
    memcpy(out, head, sizeof head);
    memcpy(out + sizeof head, key, 32);
}

/* ---- verification ---- */

static EVP_PKEY *key_from(const char *kind, OSSL_PARAM *params) {
    EVP_PKEY *pkey = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, kind, NULL);
    if (ctx && EVP_PKEY_fromdata_init(ctx) > 0 &&
        EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) <= 0) {
        pkey = NULL;
    }
    EVP_PKEY_CTX_free(ctx);
    return pkey;
}

static size_t reverse(const struct der *digits, uint8_t *out, size_t room) {
    size_t count = 0;
    for (const uint8_t *at = digits->end; at > digits->at && count < room; count++) {
        out[count] = *--at;
    }
    return count;
}

/* OpenSSL's parameters are not const, and numbers in them are of the machine's byte order. */
static EVP_PKEY *rsa_key(const struct keys_key *key) {
    struct der n, e;
    if (!read_rsa(key->data, key->data_bytes, &n, &e)) {
        return NULL;
    }
    uint8_t n_little[RSA_BYTES_MAX], e_little[RSA_EXPONENT_MAX];
    size_t n_bytes = reverse(&n, n_little, sizeof n_little);
    size_t e_bytes = reverse(&e, e_little, sizeof e_little);
    OSSL_PARAM params[] = {OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_RSA_N, n_little, n_bytes),
                           OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_RSA_E, e_little, e_bytes),
                           OSSL_PARAM_construct_end()};
    return key_from("RSA", params);
}

static EVP_PKEY *point_key(const char *curve, const uint8_t *point, size_t count) {
    char name[16];
    uint8_t copy[POINT_BYTES];
    memcpy(name, curve, strlen(curve) + 1);
    memcpy(copy, point, count);
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, name, 0),
                           OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, copy, count),
                           OSSL_PARAM_construct_end()};
    return key_from("EC", params);
}

static EVP_PKEY *key_open(const struct keys_key *key) {
    switch (key->kind) {
    case KEYS_RSA:
        return rsa_key(key);
    case KEYS_ED25519:
        return EVP_PKEY_new_raw_public_key_ex(NULL, "ED25519", NULL, key->data, key->data_bytes);
    case KEYS_SECP256K1:
        return point_key("secp256k1", key->data, key->data_bytes);
    case KEYS_ECDSA:
        return point_key("P-256", key->data + sizeof p256_head, POINT_BYTES);
    }
    return NULL;
}

static bool signature_fits(const struct keys_key *key, size_t signature_bytes) {
    switch (key->kind) {
    case KEYS_RSA:
        return signature_bytes >= RSA_BYTES_MIN && signature_bytes <= RSA_BYTES_MAX;
    case KEYS_ED25519:
        return signature_bytes == CRYPTO_SIGNATURE_BYTES;
    case KEYS_SECP256K1:
    case KEYS_ECDSA:
        return signature_bytes <= ECDSA_SIGNATURE_BYTES;
    }
    return false;
}

int keys_verify(const struct keys_key *key, const uint8_t *message, size_t message_bytes,
                const uint8_t *signature, size_t signature_bytes) {
    if (!signature_fits(key, signature_bytes)) {
        return KEYS_BAD;
    }
    const char *hash = key->kind == KEYS_ED25519 ? NULL : "SHA2-256";
    EVP_PKEY *pkey = key_open(key);
    EVP_MD_CTX *ctx = pkey ? EVP_MD_CTX_new() : NULL;
    /* RSA's padding is PKCS#1 v1.5 unless another is asked for. */
    bool good = ctx && EVP_DigestVerifyInit_ex(ctx, NULL, hash, NULL, NULL, pkey, NULL) > 0 &&
                EVP_DigestVerify(ctx, signature, signature_bytes, message, message_bytes) == 1;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(pkey);
    crypto_forget_errors();
    return good ? 0 : KEYS_BAD;
}
