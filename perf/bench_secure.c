/* SPDX-License-Identifier: MIT */

/* bench_secure — the encrypted channel in one process: sealing, opening, shaking hands; each
 * divided by libcrypto doing nothing but the AEAD of the same bytes in one call.
 *
 *   bodies, one of many -> secure_seal -> record -> secure_read -> scratch
 *
 * --first bytes of every record lie in it already, as a muxer's and a message's heads do; the rest
 * comes from its block. --pieces N cuts what is read into N parts, as a socket does. Rounds of
 * floor and product alternate, so that both see the same machine. */

#include "perf/kit.h"

#include "base/must.h"
#include "proto/libp2p/secure.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#define BODY_STRIDE 65536u
#define TAG         16u

static uint64_t size = 65519, first = 76, blocks = 64, pieces = 1, millis = 1000, tls, quick;

static void *take(void *context, size_t bytes) {
    (void)context;
    return malloc(bytes);
}
static void give(void *context, void *memory, size_t bytes) {
    (void)context, (void)bytes;
    free(memory);
}

struct floor {
    EVP_CIPHER_CTX *seal, *open;
    uint64_t nonce;
};

static EVP_CIPHER_CTX *context_of(bool seals) {
    static const uint8_t key[32] = {1};
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, tls ? "AES-128-GCM" : "ChaCha20-Poly1305", NULL);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    if (!cipher || !ctx || !EVP_CipherInit_ex2(ctx, cipher, key, NULL, seals, NULL)) {
        kit_fail("libcrypto has no such cipher");
    }
    return ctx;
}

static void floor_seal(struct floor *floor, uint8_t *out, const uint8_t *in, size_t count) {
    uint8_t nonce[12] = {0};
    int made = 0;
    memcpy(nonce + 4, &floor->nonce, 8);
    must(EVP_CipherInit_ex2(floor->seal, NULL, NULL, nonce, -1, NULL) == 1 &&
         EVP_CipherUpdate(floor->seal, out, &made, in, (int)count) == 1 &&
         EVP_CipherFinal_ex(floor->seal, out + count, &made) == 1 &&
         EVP_CIPHER_CTX_ctrl(floor->seal, EVP_CTRL_AEAD_GET_TAG, TAG, out + count) == 1);
}

static void floor_open(struct floor *floor, uint8_t *out, const uint8_t *in, size_t count) {
    uint8_t nonce[12] = {0}, tag[TAG];
    int made = 0;
    memcpy(nonce + 4, &floor->nonce, 8);
    memcpy(tag, in + count, TAG);
    must(EVP_CipherInit_ex2(floor->open, NULL, NULL, nonce, -1, NULL) == 1 &&
         EVP_CIPHER_CTX_ctrl(floor->open, EVP_CTRL_AEAD_SET_TAG, TAG, tag) == 1 &&
         EVP_CipherUpdate(floor->open, out, &made, in, (int)count) == 1 &&
         EVP_CipherFinal_ex(floor->open, tag, &made) == 1);
    floor->nonce++;
}

struct ends {
    struct secure_self *self;
    struct secure *dialer, *listener;
    struct secure_memory memory;
};

/* Returns: steps' time in ns, both ends together. */
static uint64_t shake(struct ends *ends) {
    uint8_t a[SECURE_HANDSHAKE_OUT_MAX], b[SECURE_HANDSHAKE_OUT_MAX];
    size_t used = 0, a_count = 0, b_count = 0;
    enum secure_kind kind = tls ? SECURE_TLS : SECURE_NOISE;
    uint64_t start = kit_ns();
    ends->dialer = secure_open(ends->self, kind, true, NULL, &ends->memory);
    ends->listener = secure_open(ends->self, kind, false, NULL, &ends->memory);
    memset(a, 0, sizeof a);
    must(ends->dialer && ends->listener);
    must(secure_step(ends->dialer, b, 0, &used, a, &a_count) == SECURE_MORE);
    must(secure_step(ends->listener, a, a_count, &used, b, &b_count) == SECURE_MORE);
    must(secure_step(ends->dialer, b, b_count, &used, a, &a_count) == 0);
    must(secure_step(ends->listener, a, a_count, &used, b, &b_count) == 0);
    return kit_ns() - start;
}

static void hear(struct ends *ends, const uint8_t *in, size_t count) {
    size_t plain = 0, piece = count / pieces + 1;
    for (size_t at = 0; at < count;) {
        size_t some = piece < count - at ? piece : count - at, used = 0, made = 0;
        const uint8_t *out = NULL;
        int r = secure_read(ends->listener, in + at, some, &used, &out, &made);
        must(r == 0 || r == SECURE_MORE);
        kit_keep(out);
        plain += r == 0 ? made : 0;
        at += used;
    }
    must(plain == size);
}

struct times {
    uint64_t seal, read, floor_seal, floor_open, rounds;
};

static void round_of(struct ends *ends, struct floor *floor, const uint8_t *bodies,
                     struct times *times) {
    static uint8_t record[SECURE_RECORD_BYTES], other[SECURE_RECORD_BYTES];
    const uint8_t *body = bodies + BODY_STRIDE * (times->rounds % blocks);
    uint32_t start = 0, bytes = 0;
    uint64_t at[5];
    at[0] = kit_ns();
    must(secure_seal(ends->dialer, record, (uint32_t)first, body, (uint32_t)(size - first), &start,
                     &bytes) == 0);
    at[1] = kit_ns();
    hear(ends, record + start, bytes);
    at[2] = kit_ns();
    floor_seal(floor, other, bodies + BODY_STRIDE * ((times->rounds + blocks / 2) % blocks), size);
    at[3] = kit_ns();
    floor_open(floor, ends->memory.scratch, other, size);
    at[4] = kit_ns();
    times->seal += at[1] - at[0];
    times->read += at[2] - at[1];
    times->floor_seal += at[3] - at[2];
    times->floor_open += at[4] - at[3];
    times->rounds++;
}

int main(int argc, char **argv) {
    const struct kit_option options[] = {
        {"--size", &size, "bytes of plaintext of a record"},
        {"--first", &first, "of them that lie in the record already"},
        {"--blocks", &blocks, "different bodies, in turn"},
        {"--pieces", &pieces, "parts a record is read in"},
        {"--millis", &millis, "how long to run"},
        {"--tls", &tls, "TLS instead of Noise"},
        {"--quick", &quick, "short, to see that it works"},
    };
    kit_options(argc, argv, options, array_count(options));
    millis = quick ? 50 : millis;
    if (size == 0 || size > SECURE_PLAIN_MAX || first > size || blocks == 0 || pieces == 0) {
        kit_skip("--size to 65519, --first at most that");
    }
    (void)kit_cpus();
    kit_pin(0);
    uint8_t seed[32] = {1};
    struct ends ends = {.memory = {.take = take, .give = give, .scratch = kit_map(MiB)}};
    must(secure_self_open(seed, &ends.self) == 0);
    struct floor floor = {.seal = context_of(true), .open = context_of(false)};
    uint8_t *bodies = kit_map(BODY_STRIDE * blocks);
    uint64_t shakes = 0, shaking = 0, start = kit_ns();
    while (kit_ns() - start < millis * NS_PER_MS / 4 || shakes == 0) {
        secure_close(ends.dialer);
        secure_close(ends.listener);
        shaking += shake(&ends);
        shakes++;
    }
    struct times times = {0}, warm = {0};
    round_of(&ends, &floor, bodies, &warm);
    start = kit_ns();
    while (kit_ns() - start < millis * NS_PER_MS) {
        round_of(&ends, &floor, bodies, &times);
    }
    double bytes = (double)(times.rounds * size);
    kit_begin("bench_secure");
    kit_text("kind", tls ? "tls" : "noise");
    kit_number("size", (double)size, "bytes");
    kit_number("seal", bytes / (double)times.seal * 1e3, "MB/s");
    kit_number("read", bytes / (double)times.read * 1e3, "MB/s");
    kit_number("floor_seal", bytes / (double)times.floor_seal * 1e3, "MB/s");
    kit_number("floor_open", bytes / (double)times.floor_open * 1e3, "MB/s");
    kit_number("seal_to_floor", (double)times.floor_seal / (double)times.seal, "");
    kit_number("read_to_floor", (double)times.floor_open / (double)times.read, "");
    kit_number("handshake", (double)shaking / (double)shakes / 2e3, "us/end");
    kit_end();
    secure_close(ends.dialer);
    secure_close(ends.listener);
    secure_self_close(ends.self);
    return 0;
}
