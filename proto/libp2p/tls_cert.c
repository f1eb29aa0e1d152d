/* SPDX-License-Identifier: MIT */
#include "proto/libp2p/tls_cert.h"

#include "base/err.h"
#include "base/must.h"
#include "proto/libp2p/crypto.h"
#include "proto/libp2p/der.h"
#include "proto/libp2p/keys.h"

#include <openssl/asn1.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <errno.h>
#include <string.h>

#define EXTENSION     "1.3.6.1.4.1.53594.1.1"
#define SIGNS         "libp2p-tls-handshake:"
#define SIGNS_BYTES   (sizeof SIGNS - 1)
#define SPKI_MAX      2048u
#define RSA_BITS_MIN  2048
#define RSA_BITS_MAX  8192
#define EXPONENT_BITS 31
#define GRACE_DAYS    1 /* by which two clocks may differ */

/* Content of the extension, without its tag and length. */
static const uint8_t extension_oid[] = {0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xa2, 0x5a, 0x01, 0x01};

/* What the identity key signs. Returns: bytes, 0 for a key that is too long. */
static size_t signed_message(X509 *cert, uint8_t out[SIGNS_BYTES + SPKI_MAX]) {
    X509_PUBKEY *spki = X509_get_X509_PUBKEY(cert);
    uint8_t *at = out + SIGNS_BYTES;
    int count = i2d_X509_PUBKEY(spki, NULL);
    if (count <= 0 || count > (int)SPKI_MAX) {
        return 0;
    }
    memcpy(out, SIGNS, SIGNS_BYTES);
    (void)i2d_X509_PUBKEY(spki, &at);
    return SIGNS_BYTES + (size_t)count;
}

/* ---- making ours ---- */

/* SEQUENCE {OCTET STRING key, OCTET STRING signature}: both are short, so lengths are one byte. */
static size_t write_signed_key(const uint8_t *key, size_t key_bytes,
                               const uint8_t signature[CRYPTO_SIGNATURE_BYTES], uint8_t *out) {
    size_t inner = 2 + key_bytes + 2 + CRYPTO_SIGNATURE_BYTES, at = 0;
    must(inner < 0x80);
    out[at++] = DER_SEQUENCE;
    out[at++] = (uint8_t)inner;
    out[at++] = DER_OCTETS;
    out[at++] = (uint8_t)key_bytes;
    memcpy(out + at, key, key_bytes);
    at += key_bytes;
    out[at++] = DER_OCTETS;
    out[at++] = CRYPTO_SIGNATURE_BYTES;
    memcpy(out + at, signature, CRYPTO_SIGNATURE_BYTES);
    return at + CRYPTO_SIGNATURE_BYTES;
}

static bool add_extension(X509 *cert, EVP_PKEY *identity, const uint8_t *public_key,
                          size_t public_key_bytes) {
    uint8_t message[SIGNS_BYTES + SPKI_MAX], signature[CRYPTO_SIGNATURE_BYTES], value[128 + 2];
    size_t count = signed_message(cert, message);
    if (count == 0 || !crypto_sign(identity, message, count, signature)) {
        return false;
    }
    int value_bytes = (int)write_signed_key(public_key, public_key_bytes, signature, value);
    ASN1_OBJECT *oid = OBJ_txt2obj(EXTENSION, 1);
    ASN1_OCTET_STRING *octets = ASN1_OCTET_STRING_new();
    X509_EXTENSION *extension = NULL;
    if (oid && octets && ASN1_OCTET_STRING_set(octets, value, value_bytes)) {
        extension = X509_EXTENSION_create_by_OBJ(NULL, oid, 0, octets);
    }
    bool done = extension && X509_add_ext(cert, extension, -1);
    X509_EXTENSION_free(extension);
    ASN1_OCTET_STRING_free(octets);
    ASN1_OBJECT_free(oid);
    return done;
}

/* Names say nothing, but certificates must have them; the dates are as wide as the format. */
static bool fill(X509 *cert, EVP_PKEY *key) {
    uint8_t serial[8];
    if (!crypto_random(serial, sizeof serial)) {
        return false;
    }
    serial[0] &= 0x7f;
    serial[7] |= 1;
    BIGNUM *number = BN_bin2bn(serial, sizeof serial, NULL);
    bool done = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert));
    BN_free(number);
    X509_NAME *name = X509_get_subject_name(cert);
    return done && X509_set_version(cert, X509_VERSION_3) &&
           X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC, (const uint8_t *)"libp2p.io", -1, -1,
                                      0) &&
           X509_NAME_add_entry_by_txt(name, "serialNumber", MBSTRING_ASC, (const uint8_t *)"1", -1,
                                      -1, 0) &&
           X509_set_issuer_name(cert, name) &&
           ASN1_TIME_set_string_X509(X509_getm_notBefore(cert), "20000101000000Z") &&
           ASN1_TIME_set_string_X509(X509_getm_notAfter(cert), "99991231235959Z") &&
           X509_set_pubkey(cert, key);
}

int tls_cert_make(EVP_PKEY *identity, const uint8_t *public_key, size_t public_key_bytes,
                  X509 **ret_cert, EVP_PKEY **ret_key) {
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    X509 *cert = X509_new();
    if (!key || !cert || !fill(cert, key) ||
        !add_extension(cert, identity, public_key, public_key_bytes) ||
        X509_sign(cert, key, EVP_sha256()) <= 0) {
        X509_free(cert);
        EVP_PKEY_free(key);
        crypto_forget_errors();
        return err_raise(-EIO);
    }
    *ret_cert = cert;
    *ret_key = key;
    return 0;
}

/* ---- reading theirs ---- */

/* Before anything is computed with it. */
static bool key_has_a_price(EVP_PKEY *key) {
    if (EVP_PKEY_is_a(key, "ED25519")) {
        return true;
    }
    if (EVP_PKEY_is_a(key, "EC")) {
        char curve[32];
        size_t count = 0;
        return EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, curve, sizeof curve,
                                              &count) &&
               (strcmp(curve, "prime256v1") == 0 || strcmp(curve, "secp384r1") == 0 ||
                strcmp(curve, "secp521r1") == 0);
    }
    if (!EVP_PKEY_is_a(key, "RSA") || EVP_PKEY_get_bits(key) < RSA_BITS_MIN ||
        EVP_PKEY_get_bits(key) > RSA_BITS_MAX) {
        return false;
    }
    BIGNUM *exponent = NULL;
    bool small = EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &exponent) &&
                 BN_num_bits(exponent) <= EXPONENT_BITS;
    BN_free(exponent);
    return small;
}

/* A moment's distance from now in days, by libcrypto's clock; false: it is no moment. */
static bool days_since(const ASN1_TIME *moment, int *ret_days) {
    int seconds = 0;
    return ASN1_TIME_diff(ret_days, &seconds, moment, NULL);
}

static bool of_today(X509 *cert) {
    int since_first = 0, since_last = 0;
    return days_since(X509_get0_notBefore(cert), &since_first) &&
           days_since(X509_get0_notAfter(cert), &since_last) && since_first >= -GRACE_DAYS &&
           since_last <= GRACE_DAYS;
}

/* Finds libp2p's extension, which is there once; every other critical one must be known. */
static const ASN1_OCTET_STRING *find_extension(X509 *cert) {
    const ASN1_OCTET_STRING *found = NULL;
    for (int i = 0; i < X509_get_ext_count(cert); i++) {
        X509_EXTENSION *extension = X509_get_ext(cert, i);
        const ASN1_OBJECT *oid = X509_EXTENSION_get_object(extension);
        if (OBJ_length(oid) == sizeof extension_oid &&
            memcmp(OBJ_get0_data(oid), extension_oid, sizeof extension_oid) == 0) {
            if (found) {
                return NULL;
            }
            found = X509_EXTENSION_get_data(extension);
        } else if (X509_EXTENSION_get_critical(extension) && !X509_supported_extension(extension)) {
            return NULL;
        }
    }
    return found;
}

static bool read_signed_key(const ASN1_OCTET_STRING *value, struct der *ret_key,
                            struct der *ret_signature) {
    const uint8_t *bytes = ASN1_STRING_get0_data(value);
    struct der run = {bytes, bytes + ASN1_STRING_length(value)}, pair;
    return der_take(&run, DER_SEQUENCE, &pair) && der_count(&run) == 0 &&
           der_take(&pair, DER_OCTETS, ret_key) && der_take(&pair, DER_OCTETS, ret_signature) &&
           der_count(&pair) == 0;
}

static bool proves(X509 *cert, struct peer_id *ret_peer) {
    const ASN1_OCTET_STRING *value = find_extension(cert);
    EVP_PKEY *own = X509_get0_pubkey(cert);
    struct der key, signature;
    struct keys_key read;
    uint8_t message[SIGNS_BYTES + SPKI_MAX];
    if (!value || !own || !key_has_a_price(own) || !of_today(cert) ||
        !read_signed_key(value, &key, &signature) ||
        keys_read(key.at, der_count(&key), &read) != 0) {
        return false;
    }
    size_t count = signed_message(cert, message);
    return count > 0 &&
           keys_verify(&read, message, count, signature.at, der_count(&signature)) == 0 &&
           X509_verify(cert, own) == 1 && peer_id_of_key(key.at, der_count(&key), ret_peer) == 0;
}

int tls_cert_peer(X509 *cert, struct peer_id *ret_peer) {
    struct peer_id peer;
    bool good = proves(cert, &peer);
    crypto_forget_errors();
    if (!good) {
        return TLS_CERT_BAD;
    }
    *ret_peer = peer;
    return 0;
}

int tls_cert_read(const uint8_t *der, size_t count, struct peer_id *ret_peer) {
    if (count > TLS_CERT_MAX) {
        return TLS_CERT_BAD;
    }
    const uint8_t *at = der;
    X509 *cert = d2i_X509(NULL, &at, (long)count);
    int r = cert && at == der + count ? tls_cert_peer(cert, ret_peer) : TLS_CERT_BAD;
    X509_free(cert);
    crypto_forget_errors();
    return r;
}
