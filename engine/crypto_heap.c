/* SPDX-License-Identifier: MIT */
#include "engine/crypto_heap.h"

#include "base/err.h"
#include "engine/arena.h"

#include <errno.h>
#include <openssl/crypto.h>

/* Set once at boot, before any other thread is; lives as long as the process, as libcrypto does. */
static struct arena *heap;

static void *take(size_t bytes, const char *file, int line) {
    (void)file, (void)line;
    return arena_shared_take(heap, bytes);
}

static void give(void *memory, const char *file, int line) {
    (void)file, (void)line;
    if (memory) {
        arena_shared_give(heap, memory);
    }
}

static void *again(void *old, size_t bytes, const char *file, int line) {
    if (bytes == 0) { /* libcrypto means free by it */
        give(old, file, line);
        return NULL;
    }
    return arena_shared_again(heap, old, bytes);
}

int crypto_heap_open(void) {
    if (heap) {
        return 0;
    }
    struct arena *arena = NULL;
    int r = arena_open(CRYPTO_HEAP_BYTES, &arena);
    if (r < 0) {
        return err_pass(r);
    }
    heap = arena;
    if (!CRYPTO_set_mem_functions(take, again, give)) {
        heap = NULL;
        arena_close(arena);
        return CRYPTO_HEAP_LATE;
    }
    return OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT, NULL)
               ? 0
               : err_raise(-ENOMEM);
}

uint64_t crypto_heap_used(void) {
    return heap ? arena_used(heap) : 0;
}
