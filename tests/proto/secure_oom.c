/* SPDX-License-Identifier: MIT */
/* libcrypto's memory runs out at any moment of a handshake, once or for a while: the handshake may
 * fail, and nothing else may happen; where it agrees all the same, both ends know each other and
 * their words arrive. A program by itself, as secure_heap.c is. */
#include "tests/proto/secure_rig.h"

#include <openssl/crypto.h>
#include <stdio.h>

static uint64_t calls, fail_from = UINT64_MAX, fail_count;

static bool refused(void) {
    uint64_t call = calls++;
    return call >= fail_from && call - fail_from < fail_count;
}
static void *take(size_t bytes, const char *file, int line) {
    (void)file, (void)line;
    return refused() ? NULL : malloc(bytes);
}
static void *again(void *old, size_t bytes, const char *file, int line) {
    (void)file, (void)line;
    return refused() ? NULL : realloc(old, bytes);
}
static void give(void *memory, const char *file, int line) {
    (void)file, (void)line;
    free(memory);
}

static struct secure_self *self;
static struct rig_memory memory;
static struct rig_end dialer, listener;
static uint8_t record[SECURE_RECORD_BYTES];

static void carry(struct secure *from, struct secure *to) {
    uint32_t start = 0, bytes = 0;
    size_t used = 0, count = 0;
    const uint8_t *plain = NULL;
    memcpy(record + SECURE_HEAD, "still here", 10);
    must(secure_seal(from, record, 10, record, 0, &start, &bytes) == 0);
    must(secure_read(to, record + start, bytes, &used, &plain, &count) == 0);
    must(count == 10 && memcmp(plain, "still here", 10) == 0);
}

/* Returns: whether the failure came, however it ended. */
static bool shake(enum secure_kind kind, uint64_t from, uint64_t count, uint32_t *agreed) {
    calls = 0;
    fail_from = from;
    fail_count = count;
    dialer = listener = (struct rig_end){.result = SECURE_MORE};
    dialer.secure = secure_open(self, kind, true, secure_self_id(self), &memory.memory);
    listener.secure = secure_open(self, kind, false, NULL, &memory.memory);
    for (bool moved = dialer.secure && listener.secure; moved;) {
        moved = rig_step(&dialer, &listener, SIZE_MAX, NULL, NULL, true);
        moved |= rig_step(&listener, &dialer, SIZE_MAX, NULL, NULL, false);
    }
    bool came = calls > from;
    fail_from = UINT64_MAX;
    if (dialer.result == 0 && listener.result == 0) {
        must(peer_id_equal(secure_peer(dialer.secure), secure_self_id(self)));
        carry(dialer.secure, listener.secure);
        carry(listener.secure, dialer.secure);
        (*agreed)++;
    }
    secure_close(dialer.secure);
    secure_close(listener.secure);
    return came;
}

static void run(enum secure_kind kind, uint64_t stride, uint64_t count) {
    uint32_t agreed = 0, rounds = 0;
    for (uint64_t from = 0; shake(kind, from, count, &agreed); from += stride) {
        rounds++;
    }
    must(rounds > 10 && agreed < rounds);
    printf("%s: %u rounds, %llu takes refused in each, %u agreed\n", secure_protocols[kind], rounds,
           (unsigned long long)count, agreed);
}

int main(void) {
    uint8_t seed[32] = {5};
    must(CRYPTO_set_mem_functions(take, again, give));
    must(secure_self_open(seed, &self) == 0);
    rig_memory_init(&memory);
    run(SECURE_NOISE, 1, 1);
    run(SECURE_NOISE, 1, UINT64_MAX);
    run(SECURE_TLS, 7, 1);
    run(SECURE_TLS, 7, UINT64_MAX);
    secure_self_close(self);
    rig_memory_fini(&memory);
    return 0;
}
