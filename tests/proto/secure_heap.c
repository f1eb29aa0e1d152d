/* SPDX-License-Identifier: MIT */
/* Records take nothing from libcrypto's heap, in either direction, whole or in parts. A program by
 * itself, because libcrypto's allocator can only be set before it was ever used. */
#include "tests/proto/secure_rig.h"

#include <openssl/crypto.h>
#include <stdio.h>

static uint64_t heap_calls;
static struct rig rig;
static uint8_t record[SECURE_RECORD_BYTES], body[SECURE_PLAIN_MAX];

static void *counted_take(size_t bytes, const char *file, int line) {
    (void)file, (void)line;
    heap_calls++;
    return malloc(bytes);
}
static void *counted_again(void *old, size_t bytes, const char *file, int line) {
    (void)file, (void)line;
    heap_calls++;
    return realloc(old, bytes);
}
static void counted_give(void *memory, const char *file, int line) {
    (void)file, (void)line;
    heap_calls += memory != NULL;
    free(memory);
}

static void carry(struct rig_end *from, struct rig_end *to, uint32_t count, size_t piece) {
    uint32_t start = 0, bytes = 0;
    must(secure_seal(from->secure, record, 64, body, count, &start, &bytes) == 0);
    size_t plain = 0;
    for (size_t at = 0; at < bytes;) {
        size_t some = piece < bytes - at ? piece : bytes - at, used = 0, made = 0;
        const uint8_t *out;
        int r = secure_read(to->secure, record + start + at, some, &used, &out, &made);
        must(r == 0 || r == SECURE_MORE);
        plain += r == 0 ? made : 0;
        at += used;
    }
    for (int r = 0; r == 0;) { /* until nothing more comes out */
        size_t used = 0, made = 0;
        const uint8_t *out;
        r = secure_read(to->secure, record, 0, &used, &out, &made);
        plain += r == 0 ? made : 0;
    }
    must(plain == 64 + count);
}

static int talk(enum secure_kind kind) {
    rig_open(&rig, kind, NULL, NULL);
    rig_shake(&rig, SIZE_MAX, NULL, NULL);
    must(rig.dialer.result == 0 && rig.listener.result == 0);
    must(heap_calls > 0); /* the counter counts */
    uint64_t before = 0;
    for (uint32_t i = 0; i < 50; i++) {
        carry(&rig.dialer, &rig.listener, 10, SIZE_MAX);
        carry(&rig.listener, &rig.dialer, 50000, 7000);
        carry(&rig.dialer, &rig.listener, SECURE_PLAIN_MAX - 64, SIZE_MAX);
        before = i == 0 ? heap_calls : before; /* the first records may set things up */
    }
    uint64_t calls = heap_calls - before;
    printf("%s: %llu heap calls for 147 records\n", secure_protocols[kind],
           (unsigned long long)calls);
    rig_close(&rig);
    return calls == 0 ? 0 : 1;
}

int main(void) {
    must(CRYPTO_set_mem_functions(counted_take, counted_again, counted_give));
    return talk(SECURE_NOISE) + talk(SECURE_TLS);
}
