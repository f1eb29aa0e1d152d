/* SPDX-License-Identifier: MIT */
#include "proto/libp2p/tls_cert.h"

#include "proto/libp2p/crypto.h"
#include "proto/libp2p/keys.h"
#include "tests/proto/hex.h"
#include "tests/proto/peer_keys.h"

#include <criterion/criterion.h>

#include <openssl/x509v3.h>

static uint8_t der[8192];

/* What all published certificates (libp2p specs, tls/tls.md) begin with, up to their extension. */
#define BEGINS                                                                                     \
    "a0030201020204499602d2300a06082a8648ce3d040302302031123010060355040a13096c69627032702e696f31" \
    "0a300806035504051301313020170d3735303130313133303030305a180f34303936303130313133303030305a30" \
    "2031123010060355040a13096c69627032702e696f310a300806035504051301313059301306072a8648ce3d0201" \
    "06082a8648ce3d030107034200040c901d423c831ca85e27c73c263ba132721bb9d7a84c4f0380b2a6756fd60133" \
    "1c8870234dec878504c174144fa4b14b66a651691606d8173e55bd37e381569ea3"
#define ED25519                                                                                    \
    "308201ae30820156" BEGINS                                                                      \
    "7c307a3078060a2b0601040183a25a0101046a3068042408011220a77f1d92fedb59dddaea5a1c4abd1ac2fbde7d" \
    "7b879ed364501809923d7c11b90440d90d2769db992d5e6195dbb08e706b6651e024fda6cfb8846694a435519941" \
    "cac215a8207792e42849cccc6cd8136c6e4bde92a58c5e08cfd4206eb5fe0bf909300a06082a8648ce3d04030203" \
    "46003043021f50f6b6c52711a881778718238f650c9fb48943ae6ee6d28427dc6071ae55e702203625f116a7a454" \
    "db9c56986c82a25682f7248ea1cb764d322ea983ed36a31b77"
#define ECDSA                                                                                      \
    "308201f63082019d" BEGINS                                                                      \
    "81c23081bf3081bc060a2b0601040183a25a01010481ad3081aa045f0803125b3059301306072a8648ce3d020106" \
    "082a8648ce3d03010703420004bf30511f909414ebdd3242178fd290f093a551cf75c973155de0bb5a96fedf6cb5" \
    "d52da7563e794b512f66e60c7f55ba8a3acf3dd72a801980d205e8a1ad29f2044730450220064ea8124774caf8f5" \
    "0e57f436aa62350ce652418c019df5d98a3ac666c9386a022100aa59d704a931b5f72fb9222cb6cc51f954d04a4e" \
    "2e5450f8805fe8918f71eaae300a06082a8648ce3d04030203470030440220799395b0b6c1e940a7e4484705f610" \
    "ab51ed376f19ff9d7c16757cfbf61b8d4302206205c03fbb0f95205c779be86581d3e31c01871ad5d1f3435bcf37" \
    "5cb0e5088a"
#define SECP256K1                                                                                  \
    "308201ba3082015f" BEGINS                                                                      \
    "8184308181307f060a2b0601040183a25a01010471306f0425080212210206dc6968726765b820f050263ececf7f" \
    "71e4955892776c0970542efd689d2382044630440220145e15a991961f0d08cd15425bb95ec93f6ffa03c5a385ee" \
    "dc34ecf464c7a8ab022026b3109b8a3f40ef833169777eb2aa337cfb6282f188de0666d1bcec2a4690dd300a0608" \
    "2a8648ce3d0403020349003046022100e1a217eeef9ec9204b3f774a08b70849646b6a1e6b8b27f93dc00ed58545" \
    "d9fe022100b00dafa549d0f03547878338c7b15e7502888f6d45db387e5ae6b5d46899cef0"
#define MISMATCH                                                                                   \
    "308201f73082019d" BEGINS                                                                      \
    "81c23081bf3081bc060a2b0601040183a25a01010481ad3081aa045f0803125b3059301306072a8648ce3d020106" \
    "082a8648ce3d03010703420004bf30511f909414ebdd3242178fd290f093a551cf75c973155de0bb5a96fedf6cb5" \
    "d52da7563e794b512f66e60c7f55ba8a3acf3dd72a801980d205e8a1ad29f204473045022100bb6e03577b7cc7a3" \
    "cd1558df0da2b117dfdcc0399bc2504ebe7de6f65cade72802206de96e2a5be9b6202adba24ee0362e490641ac45" \
    "c240db71fe955f2c5cf8df6e300a06082a8648ce3d0403020348003045022100e847f267f43717358f850355bdca" \
    "bbefb2cfbf8a3c043b203a14788a092fe8db022027c1d04a2d41fd6b57a7e8b3989e470325de4406e52e084e34a3" \
    "fd56eef0d0df"

static void is_of(const char *text, const char *name) {
    struct peer_id peer;
    char formatted[PEER_ID_TEXT_MAX];
    cr_assert_eq(crypto_open(), 0);
    size_t count = hex_read(text, der);
    cr_assert_eq(tls_cert_read(der, count, &peer), 0);
    peer_id_format(&peer, formatted);
    cr_assert_str_eq(formatted, name);
    cr_assert_eq(tls_cert_read(der, count - 1, &peer), TLS_CERT_BAD);
    cr_assert_eq(tls_cert_read(der, count + 1, &peer), TLS_CERT_BAD);
}

Test(tls_cert, published_certificates_are_of_the_published_peers) {
    is_of(ED25519, "12D3KooWM6CgA9iBFZmcYAHA6A2qvbAxqfkmrYiRQuz3XEsk4Ksv");
    is_of(ECDSA, "QmfXbAwNjJLXfesgztEHe8HwgVDCMMpZ9Eax1HYq6hn9uE");
    is_of(SECP256K1, "16Uiu2HAkutTMoTzDw1tCvSRtu6YoixJwS46S1ZFxW8hSx9fWHiPs");
}

Test(tls_cert, the_published_mismatch_is_refused) {
    struct peer_id peer;
    cr_assert_eq(crypto_open(), 0);
    cr_assert_eq(tls_cert_read(der, hex_read(MISMATCH, der), &peer), TLS_CERT_BAD);
}

Test(tls_cert, no_byte_may_be_another) {
    struct peer_id peer;
    cr_assert_eq(crypto_open(), 0);
    size_t count = hex_read(ED25519, der);
    for (size_t i = 0; i < count; i++) {
        der[i] ^= 1;
        cr_assert_eq(tls_cert_read(der, count, &peer), TLS_CERT_BAD, "byte %zu", i);
        der[i] ^= 1;
    }
}

/* ---- certificates of our own making ---- */

struct plan {
    const char *first, *last; /* validity */
    EVP_PKEY *key;            /* of the certificate */
    EVP_PKEY *signs;          /* it; NULL: its own key */
    uint32_t extensions;      /* libp2p's, how many times */
    bool critical;            /* libp2p's is */
    const char *stranger;     /* OID of another extension, critical or not */
    bool stranger_critical;
    bool tail; /* a byte behind the signed key */
};

static EVP_PKEY *p256(void) {
    return EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
}

static struct plan good(void) {
    return (struct plan){
        .first = "20000101000000Z", .last = "99991231235959Z", .key = p256(), .extensions = 1};
}

static void add(X509 *cert, const char *oid_text, bool critical, const uint8_t *value,
                size_t count) {
    ASN1_OBJECT *oid = OBJ_txt2obj(oid_text, 1);
    ASN1_OCTET_STRING *octets = ASN1_OCTET_STRING_new();
    must(ASN1_OCTET_STRING_set(octets, value, (int)count));
    X509_EXTENSION *extension = X509_EXTENSION_create_by_OBJ(NULL, oid, critical, octets);
    must(X509_add_ext(cert, extension, -1));
    X509_EXTENSION_free(extension);
    ASN1_OCTET_STRING_free(octets);
    ASN1_OBJECT_free(oid);
}

/* The same extension as keys of every kind write it: lengths of up to two bytes. */
static size_t signed_key(X509 *cert, const struct peer_key *peer, uint8_t out[4096]) {
    uint8_t message[2100] = "libp2p-tls-handshake:", signature[1024], *at = message + 21;
    int spki = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &at);
    size_t count = peer_key_sign(peer, message, 21 + (size_t)spki, signature);
    ASN1_OCTET_STRING *first = ASN1_OCTET_STRING_new(), *second = ASN1_OCTET_STRING_new();
    ASN1_OCTET_STRING_set(first, peer->bytes, (int)peer->count);
    ASN1_OCTET_STRING_set(second, signature, (int)count);
    uint8_t inner[4096], *end = inner;
    i2d_ASN1_OCTET_STRING(first, &end);
    i2d_ASN1_OCTET_STRING(second, &end);
    uint8_t *run = out;
    ASN1_put_object(&run, 1, (int)(end - inner), V_ASN1_SEQUENCE, V_ASN1_UNIVERSAL);
    memcpy(run, inner, (size_t)(end - inner));
    ASN1_OCTET_STRING_free(first);
    ASN1_OCTET_STRING_free(second);
    return (size_t)(run - out) + (size_t)(end - inner);
}

static int meets(struct plan plan, const struct peer_key *peer) {
    uint8_t value[4096];
    struct peer_id id, want;
    X509 *cert = X509_new();
    X509_set_version(cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 7);
    ASN1_TIME_set_string_X509(X509_getm_notBefore(cert), plan.first);
    ASN1_TIME_set_string_X509(X509_getm_notAfter(cert), plan.last);
    X509_set_pubkey(cert, plan.key);
    size_t count = signed_key(cert, peer, value);
    value[count] = 0;
    count += plan.tail;
    for (uint32_t i = 0; i < plan.extensions; i++) {
        add(cert, "1.3.6.1.4.1.53594.1.1", plan.critical, value, count);
    }
    if (plan.stranger) {
        add(cert, plan.stranger, plan.stranger_critical, (const uint8_t *)"\x30\x00", 2);
    }
    EVP_PKEY *signs = plan.signs ? plan.signs : plan.key;
    must(X509_sign(cert, signs, EVP_PKEY_is_a(signs, "ED25519") ? NULL : EVP_sha256()) > 0);
    uint8_t *at = der;
    int bytes = i2d_X509(cert, NULL);
    must(bytes > 0 && bytes < (int)sizeof der);
    i2d_X509(cert, &at);
    int r = tls_cert_read(der, (size_t)bytes, &id);
    if (r == 0) {
        must(peer_id_of_key(peer->bytes, peer->count, &want) == 0);
        cr_assert(peer_id_equal(&id, &want));
    }
    X509_free(cert);
    EVP_PKEY_free(plan.key);
    EVP_PKEY_free(plan.signs);
    return r;
}

Test(tls_cert, peers_with_keys_of_every_kind_are_found) {
    struct peer_key peer;
    cr_assert_eq(crypto_open(), 0);
    peer_key_ed25519(&peer);
    cr_assert_eq(meets(good(), &peer), 0);
    peer_key_close(&peer);
    peer_key_secp256k1(&peer);
    cr_assert_eq(meets(good(), &peer), 0);
    peer_key_close(&peer);
    peer_key_ecdsa(&peer, "P-256");
    cr_assert_eq(meets(good(), &peer), 0);
    peer_key_close(&peer);
    peer_key_rsa(&peer, 2048);
    cr_assert_eq(meets(good(), &peer), 0);
    peer_key_close(&peer);
}

Test(tls_cert, certificates_have_keys_of_a_known_price) {
    struct peer_key peer;
    struct plan plan = good();
    cr_assert_eq(crypto_open(), 0);
    peer_key_ed25519(&peer);
    const struct {
        EVP_PKEY *key;
        int r;
    } rows[] = {
        {EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-384"), 0},
        {EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), 0},
        {EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048), 0},
        {EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)1024), TLS_CERT_BAD},
        {EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-224"), TLS_CERT_BAD},
        {EVP_PKEY_Q_keygen(NULL, NULL, "EC", "sect571r1"), TLS_CERT_BAD},
    };
    EVP_PKEY_free(plan.key);
    for (size_t i = 0; i < array_count(rows); i++) {
        plan.key = rows[i].key;
        cr_assert_eq(meets(plan, &peer), rows[i].r, "row %zu", i);
    }
    peer_key_close(&peer);
}

Test(tls_cert, dates_are_looked_at) {
    struct peer_key peer;
    cr_assert_eq(crypto_open(), 0);
    peer_key_ed25519(&peer);
    struct plan plan = good();
    plan.last = "20200101000000Z";
    cr_assert_eq(meets(plan, &peer), TLS_CERT_BAD, "it was");
    plan = good();
    plan.first = "90200101000000Z";
    cr_assert_eq(meets(plan, &peer), TLS_CERT_BAD, "it will be");
    peer_key_close(&peer);
}

Test(tls_cert, extensions_are_looked_at) {
    struct peer_key peer;
    cr_assert_eq(crypto_open(), 0);
    peer_key_ed25519(&peer);
    struct plan plan = good();
    plan.critical = true;
    cr_assert_eq(meets(plan, &peer), 0, "critical, but known");
    plan = good();
    plan.extensions = 0;
    cr_assert_eq(meets(plan, &peer), TLS_CERT_BAD, "none");
    plan = good();
    plan.extensions = 2;
    cr_assert_eq(meets(plan, &peer), TLS_CERT_BAD, "twice");
    plan = good();
    plan.tail = true;
    cr_assert_eq(meets(plan, &peer), TLS_CERT_BAD, "something behind it");
    plan = good();
    plan.stranger = "1.3.6.1.4.1.53594.99";
    cr_assert_eq(meets(plan, &peer), 0, "unknown, and not critical");
    plan = good();
    plan.stranger = "1.3.6.1.4.1.53594.99";
    plan.stranger_critical = true;
    cr_assert_eq(meets(plan, &peer), TLS_CERT_BAD, "unknown and critical");
    peer_key_close(&peer);
}

Test(tls_cert, it_signs_itself) {
    struct peer_key peer;
    cr_assert_eq(crypto_open(), 0);
    peer_key_ed25519(&peer);
    struct plan plan = good();
    plan.signs = p256();
    cr_assert_eq(meets(plan, &peer), TLS_CERT_BAD);
    peer_key_close(&peer);
}

Test(tls_cert, ours_is_read_as_ours) {
    uint8_t secret[32] = {4}, public[32], key[KEYS_ED25519_BYTES];
    struct peer_id want, id;
    X509 *cert = NULL;
    EVP_PKEY *cert_key = NULL;
    cr_assert_eq(crypto_open(), 0);
    struct evp_pkey_st *identity = crypto_ed25519_key(secret, public);
    keys_write_ed25519(public, key);
    cr_assert_eq(tls_cert_make(identity, key, sizeof key, &cert, &cert_key), 0);
    cr_assert_eq(peer_id_of_key(key, sizeof key, &want), 0);
    cr_assert_eq(tls_cert_peer(cert, &id), 0);
    cr_assert(peer_id_equal(&want, &id));
    cr_assert_lt(i2d_X509(cert, NULL), 600, "it is sent with every handshake");
    X509_free(cert);
    EVP_PKEY_free(cert_key);
    crypto_key_close(identity);
}
