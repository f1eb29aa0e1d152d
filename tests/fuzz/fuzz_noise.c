/* SPDX-License-Identifier: MIT */
/* Input is taken for what a peer says: handshake messages to either end, or records to a channel
 * between two ends whose keys are always the same. In the second case the input is a script:
 * records are sealed, and bytes of it thrown among them. The first byte chooses which, the second
 * how the bytes are cut. Nothing but what was sealed may come out, and all of it up to the first
 * stray byte.
 */
#include "tests/fuzz/fuzz.h"

#include "base/must.h"
#include "proto/libp2p/crypto.h"
#include "proto/libp2p/keys.h"
#include "proto/libp2p/noise.h"
#include "tests/fuzz/fuzz_secure.h"

#include <stdlib.h>
#include <string.h>

static struct noise_self selves[2];
static const struct peer_id anybody;

static void setup(void) {
    if (selves[0].key) {
        return;
    }
    must(crypto_open() == 0);
    for (uint8_t i = 0; i < 2; i++) {
        uint8_t secret[32] = {7, i}, public[32], key[KEYS_ED25519_BYTES];
        struct evp_pkey_st *identity = crypto_ed25519_key(secret, public);
        keys_write_ed25519(public, key);
        must(noise_self_init(&selves[i], identity, key, sizeof key, secret) == 0);
        crypto_key_close(identity);
    }
}

static struct noise *end_of(bool dialer) {
    const uint8_t ephemeral[32] = {9, dialer};
    struct noise *noise = noise_open(&selves[dialer], dialer, ephemeral);
    must(noise);
    return noise;
}

/* One step. Returns: its outcome; what it used and said. */
static int step(struct noise *noise, const uint8_t *in, size_t count, size_t *used, uint8_t *out,
                size_t *made) {
    struct peer_id peer;
    bool muxer;
    *used = *made = 0;
    int r = noise_step(noise, &anybody, in, count, used, out, made, &peer, &muxer);
    must(r >= 0 && r <= SECURE_STRANGER && *used <= count && *made <= SECURE_HANDSHAKE_OUT_MAX);
    return r;
}

/* data: what the peer says from its first byte on. */
static void hear_handshake(bool dialer, const uint8_t *data, size_t bytes) {
    uint8_t out[SECURE_HANDSHAKE_OUT_MAX];
    struct noise *noise = end_of(dialer);
    size_t used = 0, made = 0;
    int r = SECURE_MORE;
    while (r == SECURE_MORE && noise_wants_step(noise, data, bytes)) {
        r = step(noise, data, bytes, &used, out, &made);
        data += used;
        bytes -= used;
    }
    noise_close(noise, &memory);
}

static void shake(struct noise *ends[2]) {
    uint8_t a[SECURE_HANDSHAKE_OUT_MAX], b[SECURE_HANDSHAKE_OUT_MAX];
    size_t a_count, b_count, used;
    must(step(ends[1], scratch, 0, &used, a, &a_count) == SECURE_MORE);
    must(step(ends[0], a, a_count, &used, b, &b_count) == SECURE_MORE);
    must(step(ends[1], b, b_count, &used, a, &a_count) == 0);
    must(step(ends[0], a, a_count, &used, b, &b_count) == 0);
}

struct script {
    uint8_t way[1 << 18], plain[1 << 18];
    size_t way_count, plain_count;
    bool strayed;
};

/* Two bytes a record: its plaintext's length, whether stray bytes follow and how many. */
static void seal(struct script *script, struct noise *noise, const uint8_t *data, size_t bytes) {
    static uint8_t record[SECURE_RECORD_BYTES];
    for (; bytes >= 2 && script->way_count < sizeof script->way / 2; data += 2, bytes -= 2) {
        uint32_t start = 0, made = 0, count = 1u + data[0] * (uint32_t)data[0];
        uint32_t first = count < data[1] ? count : data[1];
        memset(record + SECURE_HEAD, data[0], count);
        must(noise_seal(noise, record, first, record + SECURE_HEAD + first, count - first, &start,
                        &made) == 0);
        memcpy(script->way + script->way_count, record + start, made);
        script->way_count += made;
        if (!script->strayed) {
            memset(script->plain + script->plain_count, data[0], count);
            script->plain_count += count;
        }
        if (data[1] >= 0xf0 && bytes > 2) {
            size_t stray = bytes - 2 < (data[1] & 15u) ? bytes - 2 : data[1] & 15u;
            memcpy(script->way + script->way_count, data + 2, stray);
            script->way_count += stray;
            script->strayed |= stray > 0;
        }
    }
}

static void hear_records(size_t piece, const uint8_t *data, size_t bytes) {
    static struct script script;
    struct noise *ends[2] = {end_of(false), end_of(true)};
    memset(&script, 0, offsetof(struct script, plain_count));
    script.plain_count = 0;
    script.strayed = false;
    shake(ends);
    seal(&script, ends[1], data, bytes);
    size_t plain = 0;
    int r = SECURE_MORE;
    for (size_t at = 0; at < script.way_count && r != SECURE_BAD;) {
        const uint8_t *out = NULL;
        size_t some = piece < script.way_count - at ? piece : script.way_count - at, used, made = 0;
        r = noise_read(ends[0], &memory, script.way + at, some, &used, &out, &made);
        must(used <= some && (r != SECURE_MORE || used == some));
        at += used;
        if (r == 0) {
            must(made > 0 && plain + made <= script.plain_count);
            must(memcmp(out, script.plain + plain, made) == 0);
            plain += made;
        }
    }
    must(plain == script.plain_count);
    must(script.strayed || r != SECURE_BAD);
    noise_close(ends[0], &memory);
    noise_close(ends[1], &memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    if (bytes < 2) {
        return 0;
    }
    setup();
    if (data[0] & 1) {
        size_t piece = 1 + (size_t)data[1] * data[1];
        hear_records(piece, data + 2, bytes - 2);
    } else {
        hear_handshake(data[0] & 2, data + 2, bytes - 2);
    }
    return 0;
}
