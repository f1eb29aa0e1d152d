/* SPDX-License-Identifier: MIT */
/* A program by itself: libcrypto can only be hooked before it was ever used, and Criterion uses it.
 * Whole handshakes run here with a sealed thread's memory counted; what one thread makes another
 * frees. */
#include "engine/crypto_heap.h"

#include "base/hash.h"
#include "base/mem.h"
#include "engine/heap.h"
#include "tests/proto/secure_rig.h"

#include <openssl/crypto.h>
#include <pthread.h>
#include <stdio.h>

enum { THREADS = 4, ROUNDS = 20 };

static struct secure_self *self;
static struct secure *made[THREADS][2 * ROUNDS];
static struct rig_memory memories[THREADS];
static uint64_t heap_calls[THREADS];

/* Both ends of one handshake. */
static void shake(struct rig_end *dialer, struct rig_end *listener) {
    bool moved = true;
    dialer->result = listener->result = SECURE_MORE;
    while (moved) {
        moved = rig_step(dialer, listener, SIZE_MAX, NULL, NULL, true);
        moved |= rig_step(listener, dialer, SIZE_MAX, NULL, NULL, false);
    }
    must(dialer->result == 0 && listener->result == 0);
}

static void *make(void *argument) {
    uint32_t number = *(uint32_t *)argument;
    static _Thread_local struct rig_end dialer, listener;
    const struct secure_memory *memory = &memories[number].memory;
    mem_seal();
    for (uint32_t i = 0; i < ROUNDS; i++) {
        enum secure_kind kind = i % 2 ? SECURE_TLS : SECURE_NOISE;
        dialer.secure = secure_open(self, kind, true, NULL, memory);
        listener.secure = secure_open(self, kind, false, NULL, memory);
        must(dialer.secure && listener.secure);
        shake(&dialer, &listener);
        made[number][2 * i] = dialer.secure;
        made[number][2 * i + 1] = listener.secure;
    }
    heap_calls[number] = heap_sealed_calls();
    mem_unseal();
    return NULL;
}

static void *end(void *argument) {
    uint32_t number = (*(uint32_t *)argument + 1) % THREADS;
    mem_seal();
    for (uint32_t i = 0; i < 2 * ROUNDS; i++) {
        secure_close(made[number][i]);
    }
    heap_calls[number] += heap_sealed_calls();
    mem_unseal();
    return NULL;
}

static void run(void *(*what)(void *)) {
    pthread_t threads[THREADS];
    uint32_t numbers[THREADS];
    for (uint32_t i = 0; i < THREADS; i++) {
        numbers[i] = i;
        must(pthread_create(&threads[i], NULL, what, &numbers[i]) == 0);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        must(pthread_join(threads[i], NULL) == 0);
    }
}

static void check_bound(void) {
    static void *taken[1024];
    uint32_t count = 0;
    must(OPENSSL_malloc(CRYPTO_HEAP_BYTES + 1) == NULL);
    while (count < array_count(taken) && (taken[count] = OPENSSL_malloc(MiB)) != NULL) {
        count++;
    }
    must(count > 128 && count <= 256);
    must(crypto_heap_used() <= CRYPTO_HEAP_BYTES);
    /* Full is an answer, and it passes. */
    struct secure_memory memory = {0};
    for (uint32_t i = 0; i < count; i++) {
        OPENSSL_free(taken[i]);
    }
    struct secure *secure = secure_open(self, SECURE_TLS, true, NULL, &memory);
    must(secure);
    secure_close(secure);
}

static void check_realloc(void) {
    uint64_t before = crypto_heap_used();
    uint8_t *memory = OPENSSL_realloc(NULL, 10);
    must(memory);
    memset(memory, 7, 10);
    memory = OPENSSL_realloc(memory, 100000);
    must(memory && memory[9] == 7);
    must(OPENSSL_realloc(memory, CRYPTO_HEAP_BYTES + 1) == NULL && memory[9] == 7);
    must(crypto_heap_used() >= before + 100000);
    must(OPENSSL_realloc(memory, 0) == NULL);
    must(crypto_heap_used() == before);
}

/* Else zero calls would prove nothing. */
static void check_counter(void) {
    mem_seal();
    void *memory = malloc(10);
    __asm__("" : "+r"(memory) : : "memory");
    free(memory);
    mem_unseal();
    must(heap_sealed_calls() == (heap_watch() ? 2 : 0));
}

int main(void) {
    uint8_t seed[32] = {5};
    check_counter();
    must(crypto_heap_used() == 0);
    must(crypto_heap_open() == 0);
    must(crypto_heap_open() == 0);
    must(hash_open() == 0);
    must(secure_self_open(seed, &self) == 0);
    must(crypto_heap_used() > 0);
    check_realloc();
    for (uint32_t i = 0; i < THREADS; i++) {
        rig_memory_init(&memories[i]);
    }
    run(make); /* once for what threads keep for themselves */
    run(end);
    uint64_t before = crypto_heap_used();
    run(make);
    uint64_t held = crypto_heap_used() - before;
    run(end);
    uint64_t after = crypto_heap_used();
    check_bound();
    uint64_t calls = 0;
    for (uint32_t i = 0; i < THREADS; i++) {
        calls += heap_calls[i];
        rig_memory_fini(&memories[i]);
    }
    secure_self_close(self);
    printf("%llu bytes a channel, %lld kept, %llu heap calls of sealed threads\n",
           (unsigned long long)held / (2 * ROUNDS * THREADS), (long long)(after - before),
           (unsigned long long)calls);
    return calls == 0 && after <= before + 4096 ? 0 : 1;
}
