/* SPDX-License-Identifier: MIT */

/* floor_handshake (F6) — what one end of a handshake must compute however it is written: nothing
 * but the calls to libcrypto that no implementation can leave out, in a loop, no sockets.
 *
 *   Noise XX: one X25519 key, three X25519 secrets, four HKDFs, one Ed25519 verification
 *   --tls:    one X25519 key, one secret, one P-256 signature, two P-256 verifications (the
 *             certificate's own and the handshake's), one Ed25519 verification
 *
 * Static keys, certificates and our own proof of identity are made once a process, so they are not
 * in it. */

#include "perf/kit.h"

#include <openssl/evp.h>
#include <string.h>

static uint64_t millis = 1000, tls, quick;

struct keys {
    EVP_PKEY *ours, *theirs;      /* X25519 */
    EVP_PKEY *identity, *signing; /* Ed25519, P-256 */
    uint8_t their_public[32];
    uint8_t proof[64], signature[80];
    size_t signature_bytes;
};
static const uint8_t message[128] = "what is signed";

static EVP_PKEY *new_x25519(uint64_t number) {
    uint8_t secret[32] = {1};
    memcpy(secret + 8, &number, sizeof number);
    return EVP_PKEY_new_raw_private_key_ex(NULL, "X25519", NULL, secret, sizeof secret);
}

static void sign(EVP_PKEY *key, const char *hash, uint8_t *out, size_t *count) {
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (!EVP_DigestSignInit_ex(ctx, NULL, hash, NULL, NULL, key, NULL) ||
        !EVP_DigestSign(ctx, out, count, message, sizeof message)) {
        kit_fail("signing");
    }
    EVP_MD_CTX_free(ctx);
}

static void verify(EVP_PKEY *key, const char *hash, const uint8_t *signature, size_t count) {
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (!EVP_DigestVerifyInit_ex(ctx, NULL, hash, NULL, NULL, key, NULL) ||
        EVP_DigestVerify(ctx, signature, count, message, sizeof message) != 1) {
        kit_fail("verifying");
    }
    EVP_MD_CTX_free(ctx);
}

static void derive(EVP_PKEY *mine, const uint8_t theirs[32], uint8_t out[32]) {
    size_t count = 32;
    EVP_PKEY *peer = EVP_PKEY_new_raw_public_key_ex(NULL, "X25519", NULL, theirs, 32);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, mine, NULL);
    if (EVP_PKEY_derive_init(ctx) <= 0 || EVP_PKEY_derive_set_peer_ex(ctx, peer, 0) <= 0 ||
        EVP_PKEY_derive(ctx, out, &count) <= 0) {
        kit_fail("a secret of two keys");
    }
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(peer);
}

/* Extract and two outputs: four HMACs, eight hashes of little; by the one-shot digest. */
static void hkdf(const uint8_t in[32], uint8_t out[64]) {
    unsigned count = 0;
    uint8_t block[96];
    memset(block, 0x36, sizeof block);
    memcpy(block, in, 32);
    for (uint32_t i = 0; i < 4; i++) {
        EVP_Digest(block, sizeof block, out, &count, EVP_sha256(), NULL);
        EVP_Digest(block, sizeof block, out + 32, &count, EVP_sha256(), NULL);
        memcpy(block, out, 64);
    }
}

static void once(const struct keys *keys, uint64_t number) {
    uint8_t shared[32], chain[64], public[32];
    size_t count = sizeof public;
    EVP_PKEY *ephemeral = new_x25519(number);
    EVP_PKEY_get_raw_public_key(ephemeral, public, &count);
    derive(ephemeral, keys->their_public, shared);
    hkdf(shared, chain);
    if (tls) {
        uint8_t signature[80];
        count = sizeof signature;
        sign(keys->signing, "SHA2-256", signature, &count);
        verify(keys->signing, "SHA2-256", keys->signature, keys->signature_bytes);
        verify(keys->signing, "SHA2-256", keys->signature, keys->signature_bytes);
    } else {
        derive(keys->ours, keys->their_public, shared);
        hkdf(shared, chain);
        derive(ephemeral, keys->their_public, shared);
        hkdf(shared, chain);
        hkdf(chain, chain);
    }
    verify(keys->identity, NULL, keys->proof, sizeof keys->proof);
    EVP_PKEY_free(ephemeral);
    kit_keep(chain);
}

int main(int argc, char **argv) {
    const struct kit_option options[] = {
        {"--millis", &millis, "how long to run"},
        {"--tls", &tls, "TLS's calls instead of Noise's"},
        {"--quick", &quick, "short, to see that it works"},
    };
    kit_options(argc, argv, options, array_count(options));
    millis = quick ? 50 : millis;
    (void)kit_cpus();
    kit_pin(0);
    struct keys keys = {.ours = new_x25519(1),
                        .theirs = new_x25519(2),
                        .identity = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"),
                        .signing = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256"),
                        .signature_bytes = sizeof keys.signature};
    size_t count = 32;
    EVP_PKEY_get_raw_public_key(keys.theirs, keys.their_public, &count);
    count = sizeof keys.proof;
    sign(keys.identity, NULL, keys.proof, &count);
    sign(keys.signing, "SHA2-256", keys.signature, &keys.signature_bytes);

    uint64_t done = 0, cpu = kit_cpu_ns(), start = kit_ns(), now = start;
    while (now - start < millis * NS_PER_MS) {
        for (uint32_t i = 0; i < 8; i++) {
            once(&keys, done++);
        }
        now = kit_ns();
    }
    cpu = kit_cpu_ns() - cpu;
    kit_begin("floor_handshake");
    kit_text("kind", tls ? "tls" : "noise");
    kit_number("rate", (double)done / (double)(now - start) * 1e9, "handshakes/s");
    kit_number("cpu", (double)cpu / (double)done / 1e3, "us/handshake");
    kit_end();
    return 0;
}
