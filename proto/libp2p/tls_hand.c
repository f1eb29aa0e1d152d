/* SPDX-License-Identifier: MIT */
#include "proto/libp2p/tls_hand.h"

#include "base/err.h"
#include "base/must.h"
#include "proto/libp2p/tls_cert.h"

#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include <errno.h>
#include <string.h>

#define IN_MAX 65536u /* bytes of a whole handshake; honest ones have about 2,000 */

/* What we offer by ALPN, each with its length before it, in the order we like it. */
static const uint8_t alpn[] = "\x0c/yamux/1.0.0\x06libp2p";
#define ALPN_BYTES (sizeof alpn - 1)
#define YAMUX      "/yamux/1.0.0"
#define YAMUX_LEN  (sizeof YAMUX - 1)

/* Suites whose hash is SHA-256, so that one key schedule serves both; every peer has the first. */
#define SUITES "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256"
#define GROUPS "X25519:P-256"

struct tls_self {
    SSL_CTX *context;
    BIO_METHOD *method;
};

struct tls_hand {
    SSL *ssl;
    bool dialer;
    bool begun;
    bool stranger;
    bool proved;          /* the peer's certificate was good */
    uint8_t secrets_seen; /* bit 0 dialer's, bit 1 listener's */
    uint32_t in_total;
    const struct peer_id *expected; /* these five: within a step */
    const uint8_t *in;
    size_t in_count;
    uint8_t *out;
    size_t out_count;
    struct tls_result result;
};

/* ---- the BIO: a step's bytes ---- */

static int bio_read(BIO *bio, char *to, size_t room, size_t *ret_count) {
    struct tls_hand *hand = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (hand->in_count == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    size_t some = room < hand->in_count ? room : hand->in_count;
    memcpy(to, hand->in, some);
    hand->in += some;
    hand->in_count -= some;
    *ret_count = some;
    return 1;
}

/* What we say in one step is shorter than the buffer whatever the peer says. */
static int bio_write(BIO *bio, const char *from, size_t count, size_t *ret_count) {
    struct tls_hand *hand = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (count > SECURE_HANDSHAKE_OUT_MAX - hand->out_count) {
        return 0;
    }
    memcpy(hand->out + hand->out_count, from, count);
    hand->out_count += count;
    *ret_count = count;
    return 1;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer) {
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *bio_method(void) {
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "step");
    if (method && BIO_meth_set_read_ex(method, bio_read) &&
        BIO_meth_set_write_ex(method, bio_write) && BIO_meth_set_ctrl(method, bio_ctrl)) {
        return method;
    }
    BIO_meth_free(method);
    return NULL;
}

/* ---- what libssl asks us ---- */

/* Who is it? In place of walking a chain to a root: there is none. */
static int verify(X509_STORE_CTX *store, void *argument) {
    (void)argument;
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls_hand *hand = SSL_get_app_data(ssl);
    STACK_OF(X509) *sent = X509_STORE_CTX_get0_untrusted(store);
    X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);
    if (sk_X509_num(sent) != 1 || tls_cert_peer(sk_X509_value(sent, 0), &hand->result.peer) != 0) {
        return 0;
    }
    if (hand->expected->count && !peer_id_equal(hand->expected, &hand->result.peer)) {
        hand->stranger = true;
        return 0;
    }
    hand->proved = true;
    X509_STORE_CTX_set_error(store, X509_V_OK);
    return 1;
}

/* As a listener: the first of ours that the dialer offers. Whoever offers something, and nothing of
 * ours, is refused. */
static int choose(SSL *ssl, const uint8_t **ret_name, uint8_t *ret_count, const uint8_t *offered,
                  unsigned offered_count, void *argument) {
    (void)ssl, (void)argument;
    uint8_t *name = NULL; /* not const in libssl */
    if (SSL_select_next_proto(&name, ret_count, alpn, ALPN_BYTES, offered, offered_count) !=
        OPENSSL_NPN_NEGOTIATED) {
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    *ret_name = name;
    return SSL_TLSEXT_ERR_OK;
}

static uint8_t hex_digit(char c) {
    return (uint8_t)(c >= 'a' ? c - 'a' + 10 : c - '0');
}

/* libssl's one way to hand out secrets is a line of text: LABEL, random, secret. */
static void take_secret(const SSL *ssl, const char *line) {
    static const char *const labels[2] = {"CLIENT_TRAFFIC_SECRET_0 ", "SERVER_TRAFFIC_SECRET_0 "};
    struct tls_hand *hand = SSL_get_app_data(ssl);
    for (uint32_t i = 0; i < 2; i++) {
        const char *secret = strrchr(line, ' ');
        if (strncmp(line, labels[i], strlen(labels[i])) != 0 ||
            strlen(secret + 1) != 2 * CRYPTO_HASH_BYTES) {
            continue;
        }
        uint8_t *out = i == 0 ? hand->result.dialer_secret : hand->result.listener_secret;
        for (uint32_t at = 0; at < CRYPTO_HASH_BYTES; at++) {
            out[at] = (uint8_t)(hex_digit(secret[1 + 2 * at]) << 4 | hex_digit(secret[2 + 2 * at]));
        }
        hand->secrets_seen |= (uint8_t)BIT(i);
    }
}

/* ---- the context ---- */

static SSL_CTX *context_of(EVP_PKEY *key, X509 *cert) {
    SSL_CTX *context = SSL_CTX_new(TLS_method());
    if (!context) {
        return NULL;
    }
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_max_cert_list(context, TLS_CERT_MAX);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_cert_verify_callback(context, verify, NULL);
    SSL_CTX_set_alpn_select_cb(context, choose, NULL);
    SSL_CTX_set_keylog_callback(context, take_secret);
    if (SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) &&
        SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) &&
        SSL_CTX_set_num_tickets(context, 0) && SSL_CTX_set_ciphersuites(context, SUITES) &&
        SSL_CTX_set1_groups_list(context, GROUPS) &&
        SSL_CTX_set_alpn_protos(context, alpn, ALPN_BYTES) == 0 /* 0 is well, here alone */ &&
        SSL_CTX_use_certificate(context, cert) && SSL_CTX_use_PrivateKey(context, key)) {
        return context;
    }
    SSL_CTX_free(context);
    return NULL;
}

int tls_self_open(EVP_PKEY *identity, const uint8_t *public_key, size_t public_key_bytes,
                  struct tls_self **ret_self) {
    X509 *cert = NULL;
    EVP_PKEY *key = NULL;
    struct tls_self *self = crypto_take(sizeof *self);
    if (!self) {
        return err_raise(-EIO);
    }
    int r = tls_cert_make(identity, public_key, public_key_bytes, &cert, &key);
    if (r == 0) {
        self->method = bio_method();
        self->context = context_of(key, cert);
        r = self->method && self->context ? 0 : err_raise(-EIO);
        X509_free(cert);
        EVP_PKEY_free(key);
    }
    if (r < 0) {
        crypto_forget_errors();
        tls_self_close(self);
        return err_pass(r);
    }
    *ret_self = self;
    return 0;
}

void tls_self_close(struct tls_self *self) {
    if (self) {
        SSL_CTX_free(self->context);
        BIO_meth_free(self->method);
        crypto_give(self, sizeof *self);
    }
}

/* ---- a handshake ---- */

struct tls_hand *tls_hand_open(const struct tls_self *self, bool dialer) {
    struct tls_hand *hand = crypto_take(sizeof *hand);
    SSL *ssl = hand ? SSL_new(self->context) : NULL;
    BIO *bio = ssl && SSL_set_app_data(ssl, hand) ? BIO_new(self->method) : NULL;
    if (!bio) {
        SSL_free(ssl);
        crypto_give(hand, hand ? sizeof *hand : 0);
        crypto_forget_errors();
        return NULL;
    }
    BIO_set_data(bio, hand);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio); /* the one reference serves both directions */
    if (dialer) {
        SSL_set_connect_state(ssl);
    } else {
        SSL_set_accept_state(ssl);
    }
    hand->ssl = ssl;
    hand->dialer = dialer;
    return hand;
}

void tls_hand_close(struct tls_hand *hand) {
    if (hand) {
        SSL_free(hand->ssl);
        crypto_give(hand, sizeof *hand);
    }
}

bool tls_hand_wants_step(const struct tls_hand *hand, size_t count) {
    return count > 0 || (hand->dialer && !hand->begun);
}

/* libssl says it is done: what came of it? */
static bool conclude(struct tls_hand *hand) {
    const uint8_t *protocol = NULL;
    unsigned count = 0;
    SSL_get0_alpn_selected(hand->ssl, &protocol, &count);
    hand->result.muxer_agreed = count == YAMUX_LEN && memcmp(protocol, YAMUX, YAMUX_LEN) == 0;
    uint16_t suite = SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(hand->ssl));
    hand->result.cipher = suite == 0x1301 ? CRYPTO_AES128_GCM : CRYPTO_CHACHA20_POLY1305;
    must(suite == 0x1301 || suite == 0x1303);
    return hand->proved && hand->secrets_seen == 3;
}

int tls_hand_step(struct tls_hand *hand, const struct peer_id *expected, const uint8_t *in,
                  size_t count, size_t *ret_used, uint8_t *out, size_t *ret_out) {
    hand->begun = true;
    hand->expected = expected;
    hand->in = in;
    hand->in_count = count;
    hand->out = out;
    hand->out_count = 0;
    crypto_forget_errors();
    int r = SSL_do_handshake(hand->ssl);
    int wants = r == 1 ? SSL_ERROR_NONE : SSL_get_error(hand->ssl, r);
    *ret_used = count - hand->in_count;
    *ret_out = hand->out_count;
    hand->in_total += (uint32_t)*ret_used;
    crypto_forget_errors();
    if (r == 1) {
        return conclude(hand) ? 0 : SECURE_BAD;
    }
    if (hand->stranger) {
        return SECURE_STRANGER;
    }
    return wants == SSL_ERROR_WANT_READ && hand->in_total <= IN_MAX ? SECURE_MORE : SECURE_BAD;
}

void tls_hand_result(const struct tls_hand *hand, struct tls_result *ret_result) {
    *ret_result = hand->result;
}
