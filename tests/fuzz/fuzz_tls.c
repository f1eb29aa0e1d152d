/* SPDX-License-Identifier: MIT */
/* Input is taken for what a peer says over TLS: bytes of a handshake to either end, or, between two
 * ends that have agreed, records of any inner type with any content: the first byte chooses. In
 * handshakes libssl draws new keys every time; what comes of the input does not hang on them. */
#include "tests/fuzz/fuzz.h"

#include "base/must.h"
#include "proto/libp2p/keys.h"
#include "proto/libp2p/tls.h"
#include "tests/fuzz/fuzz_secure.h"

#include <stdlib.h>
#include <string.h>

static struct tls_self *self;
static const struct peer_id anybody;

static void setup(void) {
    uint8_t secret[32] = {7}, public[32], key[KEYS_ED25519_BYTES];
    if (!self) {
        must(crypto_open() == 0);
        struct evp_pkey_st *identity = crypto_ed25519_key(secret, public);
        keys_write_ed25519(public, key);
        must(tls_self_open(identity, key, sizeof key, &self) == 0);
        crypto_key_close(identity);
    }
}

static int step(struct tls *tls, const uint8_t *in, size_t count, size_t *used, uint8_t *out,
                size_t *made) {
    struct peer_id peer;
    bool muxer;
    int r = tls_step(tls, &anybody, in, count, used, out, made, &peer, &muxer);
    must(r >= 0 && r <= SECURE_STRANGER && *used <= count && *made <= SECURE_HANDSHAKE_OUT_MAX);
    must(r != SECURE_MORE || *used == count);
    return r;
}

static void hear_handshake(bool dialer, const uint8_t *data, size_t bytes) {
    uint8_t out[SECURE_HANDSHAKE_OUT_MAX];
    size_t used = 0, made = 0;
    struct tls *tls = tls_open(self, dialer);
    must(tls);
    int r = dialer ? step(tls, data, 0, &used, out, &made) : SECURE_MORE;
    must(r == SECURE_MORE);
    if (bytes > 0) {
        (void)step(tls, data, bytes, &used, out, &made);
    }
    tls_close(tls, &memory);
}

/* Each record: its inner type, bytes of content, zeros behind it, then the content. */
static void hear_records(const uint8_t *data, size_t bytes) {
    static uint8_t record[SECURE_RECORD_BYTES];
    const struct tls_result agreed = {.cipher = CRYPTO_AES128_GCM, .dialer_secret = {1}};
    struct tls *ends[2] = {tls_open_agreed(&agreed, false), tls_open_agreed(&agreed, true)};
    must(ends[0] && ends[1]);
    int r = SECURE_MORE;
    while (bytes >= 3 && (r == 0 || r == SECURE_MORE)) {
        uint32_t count = data[1] < bytes - 3 ? data[1] : (uint32_t)(bytes - 3);
        uint8_t *at = record + SECURE_HEAD;
        memcpy(at, data + 3, count);
        must(tls_seal_as(ends[1], data[0], at, count, data[2]));
        const uint8_t *plain = NULL;
        size_t used = 0, made = 0, whole = 5 + count + 1 + data[2] + 16;
        r = tls_read(ends[0], &memory, at - 5, whole, &used, &plain, &made);
        must(used == whole || r == SECURE_BAD);
        if (r == 0) { /* type 0 is padding: then the content's own end is the type */
            must(made <= count && memcmp(plain, data + 3, made) == 0);
            must(data[0] == 0 || (data[0] == 23 && made == count));
        }
        data += 3 + count;
        bytes -= 3 + count;
    }
    uint32_t start = 0, made = 0; /* whatever it was told, it can still speak */
    must(tls_seal(ends[0], record, 10, record, 0, &start, &made) == 0);
    must(start + made <= SECURE_HEAD + 10 + SECURE_TAIL);
    tls_close(ends[0], &memory);
    tls_close(ends[1], &memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    if (bytes < 1) {
        return 0;
    }
    setup();
    if (data[0] & 1) {
        hear_records(data + 1, bytes - 1);
    } else {
        hear_handshake(data[0] & 2, data + 1, bytes - 1);
    }
    return 0;
}
