/* SPDX-License-Identifier: MIT */
/* Our TLS (tls.h, tls_hand.h) against libssl's own, which does here all that ours leaves out:
 * tickets, padding, changes of keys, alerts, other suites and names. */
#include "proto/libp2p/tls.h"

#include "proto/libp2p/keys.h"
#include "proto/libp2p/tls_cert.h"
#include "proto/libp2p/tls_hand.h"
#include "tests/proto/hex.h"
#include "tests/proto/secure_rig.h"

#include <criterion/criterion.h>

#include <openssl/bio.h>
#include <openssl/ssl.h>

struct pair {
    struct secure_self *self;
    struct secure *ours;
    struct rig_memory memory;
    SSL_CTX *context;
    SSL *ssl;
    BIO *to_ssl, *from_ssl;
    int result; /* of our last step */
    struct peer_id theirs;
};

static uint8_t record[SECURE_RECORD_BYTES], body[SECURE_PLAIN_MAX];

static int takes_anybody(X509_STORE_CTX *store, void *argument) {
    (void)store, (void)argument;
    return 1;
}

static int selects(SSL *ssl, const uint8_t **name, uint8_t *count, const uint8_t *in,
                   unsigned bytes, void *argument) {
    (void)ssl;
    const uint8_t *wanted = argument;
    uint8_t *found = NULL;
    int r = SSL_select_next_proto(&found, count, wanted, wanted[0] + 1u, in, bytes);
    *name = found;
    return r == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* libssl's end, which a test may change before the handshake. certified: it has a certificate. */
static void pair_open(struct pair *pair, bool we_dial, bool certified) {
    uint8_t seed[32] = {1}, public[32], key[KEYS_ED25519_BYTES];
    memset(pair, 0, sizeof *pair);
    cr_assert_eq(secure_self_open(seed, &pair->self), 0);
    rig_memory_init(&pair->memory);
    pair->ours = secure_open(pair->self, SECURE_TLS, we_dial, NULL, &pair->memory.memory);
    cr_assert(pair->ours);
    pair->context = SSL_CTX_new(TLS_method());
    SSL_CTX_set_cert_verify_callback(pair->context, takes_anybody, NULL);
    SSL_CTX_set_verify(pair->context, SSL_VERIFY_PEER, NULL);
    if (certified) {
        X509 *cert = NULL;
        EVP_PKEY *cert_key = NULL;
        seed[0] = 2;
        struct evp_pkey_st *identity = crypto_ed25519_key(seed, public);
        keys_write_ed25519(public, key);
        cr_assert_eq(peer_id_of_key(key, sizeof key, &pair->theirs), 0);
        cr_assert_eq(tls_cert_make(identity, key, sizeof key, &cert, &cert_key), 0);
        cr_assert(SSL_CTX_use_certificate(pair->context, cert));
        cr_assert(SSL_CTX_use_PrivateKey(pair->context, cert_key));
        X509_free(cert);
        EVP_PKEY_free(cert_key);
        crypto_key_close(identity);
    }
    pair->ssl = SSL_new(pair->context);
    pair->to_ssl = BIO_new(BIO_s_mem());
    pair->from_ssl = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(pair->to_ssl, -1);
    SSL_set_bio(pair->ssl, pair->to_ssl, pair->from_ssl);
    if (we_dial) {
        SSL_set_accept_state(pair->ssl);
    } else {
        SSL_set_connect_state(pair->ssl);
        SSL_set_alpn_protos(pair->ssl, (const uint8_t *)"\x0c/yamux/1.0.0\x06libp2p", 20);
    }
    pair->result = SECURE_MORE;
    for (size_t i = 0; i < sizeof body; i++) {
        body[i] = (uint8_t)(i * 5 + i / 249);
    }
}

static void pair_close(struct pair *pair) {
    secure_close(pair->ours);
    secure_self_close(pair->self);
    SSL_free(pair->ssl);
    SSL_CTX_free(pair->context);
    rig_memory_fini(&pair->memory);
}

static int step_ours(struct pair *pair, const uint8_t *in, size_t count, size_t *ret_used) {
    uint8_t out[SECURE_HANDSHAKE_OUT_MAX];
    size_t made = 0;
    int r = secure_step(pair->ours, in, count, ret_used, out, &made);
    if (made > 0) {
        BIO_write(pair->to_ssl, out, (int)made);
    }
    return r;
}

/* To the end, whatever it is; bytes behind our part of the handshake stay in from_ssl. */
static void shake(struct pair *pair) {
    bool moved = true;
    while (moved) {
        size_t used = 0;
        int there = (int)BIO_ctrl_pending(pair->to_ssl);
        SSL_do_handshake(pair->ssl);
        moved = (int)BIO_ctrl_pending(pair->to_ssl) != there;
        uint8_t *in = NULL;
        size_t count = (size_t)BIO_get_mem_data(pair->from_ssl, (char **)&in);
        if (pair->result == SECURE_MORE && secure_wants_step(pair->ours, in, count)) {
            pair->result = step_ours(pair, in, count, &used);
            uint8_t taken[65536];
            if (used > 0) {
                cr_assert_eq(BIO_read(pair->from_ssl, taken, (int)used), (int)used);
            }
            moved = true;
        }
    }
}

static void agreed(struct pair *pair) {
    cr_assert_eq(pair->result, 0);
    cr_assert(SSL_is_init_finished(pair->ssl));
    cr_assert(peer_id_equal(secure_peer(pair->ours), &pair->theirs));
}

static void send_to_ssl(struct pair *pair, uint32_t first, uint32_t rest) {
    static uint8_t got[SECURE_PLAIN_MAX];
    uint32_t start = 0, bytes = 0, plain = 0;
    memcpy(record + SECURE_HEAD, body, first);
    cr_assert_eq(secure_seal(pair->ours, record, first, body + first, rest, &start, &bytes), 0);
    BIO_write(pair->to_ssl, record + start, (int)bytes);
    while (plain < first + rest) {
        int some = SSL_read(pair->ssl, got + plain, (int)(sizeof got - plain));
        cr_assert_gt(some, 0);
        plain += (uint32_t)some;
    }
    cr_assert_eq(plain, first + rest);
    cr_assert_arr_eq(got, body, plain);
}

/* Reads all that libssl has said. Returns: plaintext bytes; the last outcome in *ret_r. */
static size_t hear_ssl(struct pair *pair, size_t piece, int *ret_r) {
    uint8_t *in = NULL;
    size_t count = (size_t)BIO_get_mem_data(pair->from_ssl, (char **)&in), plain = 0;
    *ret_r = SECURE_MORE;
    for (size_t at = 0; at < count && (*ret_r == 0 || *ret_r == SECURE_MORE);) {
        size_t some = piece < count - at ? piece : count - at, used = 0, made = 0;
        const uint8_t *out = NULL;
        *ret_r = secure_read(pair->ours, in + at, some, &used, &out, &made);
        if (*ret_r == 0) {
            cr_assert_arr_eq(out, body + plain, made);
            plain += made;
        }
        at += used;
    }
    (void)BIO_reset(pair->from_ssl);
    return plain;
}

static void send_from_ssl(struct pair *pair, int count, size_t piece) {
    int r;
    cr_assert_eq(SSL_write(pair->ssl, body, count), count);
    cr_assert_eq(hear_ssl(pair, piece, &r), (size_t)count);
    cr_assert(r == 0 || r == SECURE_MORE);
}

static void talk(struct pair *pair) {
    send_to_ssl(pair, 12, 0);
    send_to_ssl(pair, 1, 0);
    send_to_ssl(pair, 0, 1);
    send_to_ssl(pair, 16384, 0);
    send_to_ssl(pair, 64, SECURE_PLAIN_MAX - 64);
    send_to_ssl(pair, 16385, 20000);
    send_to_ssl(pair, 40000, 100);
    send_to_ssl(pair, SECURE_PLAIN_MAX, 0);
    send_to_ssl(pair, 16383, 2);
    send_from_ssl(pair, 1, 1);
    send_from_ssl(pair, 100, SIZE_MAX);
    send_from_ssl(pair, 50000, 7000);
    send_from_ssl(pair, 60000, SIZE_MAX);
    send_from_ssl(pair, 200, 1);
}

Test(tls, libssl_and_we_understand_each_other_whoever_dials) {
    for (uint32_t i = 0; i < 2; i++) {
        struct pair pair;
        pair_open(&pair, i == 0, true);
        shake(&pair);
        agreed(&pair);
        talk(&pair);
        pair_close(&pair);
    }
}

Test(tls, aes_is_chosen_first_and_chacha_where_a_peer_has_nothing_else) {
    const char *suites[2] = {
        "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256",
        "TLS_CHACHA20_POLY1305_SHA256"};
    const uint16_t chosen[2] = {0x1301, 0x1303};
    for (uint32_t i = 0; i < 2; i++) {
        struct pair pair;
        pair_open(&pair, false, true);
        cr_assert(SSL_set_ciphersuites(pair.ssl, suites[i]));
        shake(&pair);
        agreed(&pair);
        cr_assert_eq(SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(pair.ssl)), chosen[i]);
        talk(&pair);
        pair_close(&pair);
    }
}

Test(tls, no_common_suite_is_bad_and_the_peer_is_told) {
    struct pair pair;
    pair_open(&pair, false, true);
    cr_assert(SSL_set_ciphersuites(pair.ssl, "TLS_AES_256_GCM_SHA384"));
    shake(&pair);
    cr_assert_eq(pair.result, SECURE_BAD);
    cr_assert_not(SSL_is_init_finished(pair.ssl));
    cr_assert_eq(SSL_get_shutdown(pair.ssl), SSL_RECEIVED_SHUTDOWN, "by an alert");
    pair_close(&pair);
}

Test(tls, an_older_tls_is_refused) {
    for (uint32_t i = 0; i < 2; i++) {
        struct pair pair;
        pair_open(&pair, i == 0, true);
        SSL_set_max_proto_version(pair.ssl, TLS1_2_VERSION);
        shake(&pair);
        cr_assert_eq(pair.result, SECURE_BAD);
        pair_close(&pair);
    }
}

Test(tls, a_peer_without_a_certificate_is_refused) {
    struct pair pair;
    pair_open(&pair, false, false);
    shake(&pair);
    cr_assert_eq(pair.result, SECURE_BAD);
    pair_close(&pair);
}

Test(tls, a_chain_of_two_is_refused) {
    struct pair pair;
    pair_open(&pair, false, true);
    SSL_add1_chain_cert(pair.ssl, SSL_get_certificate(pair.ssl));
    shake(&pair);
    cr_assert_eq(pair.result, SECURE_BAD);
    pair_close(&pair);
}

Test(tls, muxers_are_agreed_by_alpn) {
    static const struct {
        const char *names;
        unsigned count;
        int r;
        bool agreed;
    } rows[] = {
        {"\x06libp2p\x0c/yamux/1.0.0", 20, 0, true},
        {"\x0c/mplex/6.7.0\x06libp2p", 20, 0, false},
        {"\x06libp2p", 7, 0, false},
        {"", 0, 0, false}, /* no ALPN at all */
        {"\x02h2", 3, SECURE_BAD, false},
    };
    for (size_t i = 0; i < array_count(rows); i++) {
        struct pair pair;
        pair_open(&pair, false, true);
        SSL_set_alpn_protos(pair.ssl, (const uint8_t *)rows[i].names, rows[i].count);
        shake(&pair);
        cr_assert_eq(pair.result, rows[i].r, "row %zu", i);
        cr_assert_eq(rows[i].r == 0 && secure_muxer_agreed(pair.ours), rows[i].agreed);
        pair_close(&pair);
    }
}

Test(tls, a_listener_that_picks_the_plain_name_leaves_the_muxer_open) {
    static uint8_t names[2][16] = {"\x06libp2p", "\x0c/yamux/1.0.0"};
    for (uint32_t i = 0; i < 2; i++) {
        struct pair pair;
        pair_open(&pair, true, true);
        SSL_CTX_set_alpn_select_cb(pair.context, selects, names[i]);
        shake(&pair);
        agreed(&pair);
        cr_assert_eq(secure_muxer_agreed(pair.ours), i == 1);
        pair_close(&pair);
    }
}

Test(tls, tickets_are_passed_over) {
    struct pair pair;
    pair_open(&pair, true, true); /* libssl, as a server, sends two by default */
    shake(&pair);
    agreed(&pair);
    cr_assert_gt(BIO_ctrl_pending(pair.from_ssl), 0);
    talk(&pair);
    pair_close(&pair);
}

Test(tls, padding_is_taken_off) {
    struct pair pair;
    pair_open(&pair, true, true);
    SSL_set_block_padding(pair.ssl, 512);
    shake(&pair);
    agreed(&pair);
    send_from_ssl(&pair, 100, SIZE_MAX);
    send_from_ssl(&pair, 20000, 3000);
    pair_close(&pair);
}

Test(tls, changes_of_keys_are_followed_and_answered) {
    for (uint32_t i = 0; i < 2; i++) {
        struct pair pair;
        pair_open(&pair, i == 0, true);
        shake(&pair);
        agreed(&pair);
        for (uint32_t round = 0; round < 3; round++) {
            cr_assert(SSL_key_update(pair.ssl, SSL_KEY_UPDATE_NOT_REQUESTED));
            talk(&pair);
            cr_assert(SSL_key_update(pair.ssl, SSL_KEY_UPDATE_REQUESTED));
            send_from_ssl(&pair, 100, 1);
            send_to_ssl(&pair, 64, SECURE_PLAIN_MAX - 64); /* our answer comes before it */
            cr_assert(SSL_key_update(pair.ssl, SSL_KEY_UPDATE_REQUESTED));
            send_from_ssl(&pair, 100, SIZE_MAX);
            send_to_ssl(&pair, SECURE_PLAIN_MAX, 0);
        }
        talk(&pair);
        pair_close(&pair);
    }
}

Test(tls, close_notify_is_the_end_and_any_other_alert_is_bad) {
    struct pair pair;
    int r;
    pair_open(&pair, true, true);
    shake(&pair);
    send_from_ssl(&pair, 10, SIZE_MAX);
    SSL_shutdown(pair.ssl);
    cr_assert_eq(hear_ssl(&pair, SIZE_MAX, &r), 0);
    cr_assert_eq(r, SECURE_END);
    size_t used = 0, made = 0;
    const uint8_t *out;
    cr_assert_eq(secure_read(pair.ours, record, 100, &used, &out, &made), SECURE_END);
    cr_assert_eq(used, 100);
    pair_close(&pair);

    pair_open(&pair, true, true);
    shake(&pair);
    uint32_t start = 0, bytes = 0;
    memcpy(record + SECURE_HEAD, "spoiled", 7);
    cr_assert_eq(secure_seal(pair.ours, record, 7, body, 0, &start, &bytes), 0);
    record[start + bytes - 1] ^= 1; /* libssl will complain */
    BIO_write(pair.to_ssl, record + start, (int)bytes);
    cr_assert_lt(SSL_read(pair.ssl, body, 10), 1);
    hear_ssl(&pair, SIZE_MAX, &r);
    cr_assert_eq(r, SECURE_BAD);
    pair_close(&pair);
}

Test(tls, a_dialer_offers_no_server_name) {
    struct pair pair;
    pair_open(&pair, true, true);
    shake(&pair);
    agreed(&pair);
    cr_assert_null(SSL_get_servername(pair.ssl, TLSEXT_NAMETYPE_host_name));
    pair_close(&pair);
}

/* RFC 8448, section 3: what the client sends first, and how it looks on its way. */
Test(tls, a_record_is_that_of_rfc_8448) {
    struct tls_result result = {.cipher = CRYPTO_AES128_GCM};
    uint8_t want[72];
    uint32_t start = 0, bytes = 0;
    cr_assert_eq(crypto_open(), 0);
    hex_read("9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5",
             result.dialer_secret);
    hex_read(
        "1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b9819a8a5b46b395bd54a9a"
        "20441e2b62974e1f5a6292a2977014bd1e3deae63aeebb21694915e4",
        want);
    struct tls *tls = tls_open_agreed(&result, true);
    cr_assert(tls);
    for (uint8_t i = 0; i < 50; i++) {
        record[SECURE_HEAD + i] = i;
    }
    cr_assert_eq(tls_seal(tls, record, 50, NULL, 0, &start, &bytes), 0);
    cr_assert_eq(bytes, sizeof want);
    cr_assert_arr_eq(record + start, want, sizeof want);
    tls_close(tls, NULL);
}

Test(tls, keys_are_changed_unasked_after_2_to_the_24_records) {
    const struct tls_result result = {.dialer_secret = {1}, .listener_secret = {2}};
    struct rig_memory memory;
    uint32_t start = 0, bytes = 0;
    cr_assert_eq(crypto_open(), 0);
    rig_memory_init(&memory);
    struct tls *dialer = tls_open_agreed(&result, true);
    struct tls *listener = tls_open_agreed(&result, false);
    tls_skip_to(dialer, (1 << 24) - 1, 0);
    tls_skip_to(listener, 0, (1 << 24) - 1);
    for (uint32_t i = 0; i < 3; i++) {
        const uint8_t *plain = NULL;
        size_t used = 0, made = 0;
        memcpy(record + SECURE_HEAD, "hello", 5);
        cr_assert_eq(tls_seal(dialer, record, 5, NULL, 0, &start, &bytes), 0);
        cr_assert_eq(bytes, 27 + (i == 1 ? 27 : 0));
        cr_assert_eq(
            tls_read(listener, &memory.memory, record + start, bytes, &used, &plain, &made), 0);
        cr_assert_arr_eq(plain, "hello", 5);
    }
    tls_close(dialer, NULL);
    tls_close(listener, NULL);
    rig_memory_fini(&memory);
}

Test(tls, noise_of_any_kind_is_bad) {
    uint8_t in[200];
    for (uint32_t seed = 1; seed < 200; seed++) {
        struct pair pair;
        size_t used = 0;
        uint32_t state = seed;
        for (size_t i = 0; i < sizeof in; i++) {
            state = state * 1103515245 + 12345;
            in[i] = (uint8_t)(state >> 16);
        }
        if (seed % 2) {
            memcpy(in, "\x16\x03\x01\x00\xc3\x01\x00\x00\xbf\x03\x03", 11); /* nearly a hello */
        }
        pair_open(&pair, false, true);
        cr_assert_eq(step_ours(&pair, in, sizeof in, &used), SECURE_BAD);
        pair_close(&pair);
    }
}
