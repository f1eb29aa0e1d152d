/* SPDX-License-Identifier: MIT */
#include "engine/arena.h"

#include "base/bits.h"
#include "base/err.h"
#include "base/must.h"
#include "build_info.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#if HAVE_JEMALLOC
#include <jemalloc/jemalloc.h>
#else
#include <malloc.h>
#endif

struct arena {
    uint8_t *base;
    size_t bytes;
    _Atomic size_t cut; /* extents begin below this offset; jemalloc may call from its purge too */
    _Atomic uint64_t used;      /* owner writes, anyone reads; shared: anyone writes */
    _Atomic uint64_t committed; /* bytes that may have pages behind them; hooks write it */
    int file;                   /* the region is this memfd's; -1: it is anonymous */
    unsigned index;             /* jemalloc's */
#if HAVE_JEMALLOC
    extent_hooks_t hooks;
    size_t purge[3]; /* "arena.N.purge", looked up once */
    size_t purge_length;
#endif
};

#if HAVE_JEMALLOC

/* Relaxed, as the cut below: it orders nothing but itself. */
static void commit_count(struct arena *arena, size_t bytes) {
    atomic_fetch_add_explicit(&arena->committed, bytes, memory_order_relaxed);
}

static void *extent_alloc(extent_hooks_t *hooks, void *wanted, size_t size, size_t alignment,
                          bool *zero, bool *commit, unsigned index) {
    (void)index;
    struct arena *arena = container_of(hooks, struct arena, hooks);
    if (wanted) {
        return NULL;
    }
    size_t start = atomic_load_explicit(&arena->cut, memory_order_relaxed);
    size_t first, end;
    do { /* relaxed: the cut orders nothing but itself */
        first = round_up((uintptr_t)arena->base + start, alignment) - (uintptr_t)arena->base;
        end = first + size;
        if (end > arena->bytes || end < first) {
            return NULL;
        }
    } while (!atomic_compare_exchange_weak_explicit(&arena->cut, &start, end, memory_order_relaxed,
                                                    memory_order_relaxed));
    if (*commit) { /* what it cuts ahead it commits when it hands it out */
        commit_count(arena, size);
    }
    *zero = true; /* never handed out before: dalloc below keeps extents */
    return arena->base + first;
}

/* true: "not given back": jemalloc retains the extent and reuses it. */
static bool extent_keep(extent_hooks_t *hooks, void *address, size_t size, bool committed,
                        unsigned index) {
    (void)hooks, (void)address, (void)size, (void)committed, (void)index;
    return true;
}

static bool extent_commit(extent_hooks_t *hooks, void *address, size_t size, size_t offset,
                          size_t length, unsigned index) {
    (void)address, (void)size, (void)offset, (void)index;
    commit_count(container_of(hooks, struct arena, hooks), length);
    return false;
}

/* The pages go back to the kernel: of a file by a hole, since they are its content. */
static bool extent_drop(const struct arena *arena, void *address, size_t length) {
    return madvise(address, length, arena->file >= 0 ? MADV_REMOVE : MADV_DONTNEED) == 0;
}

static bool extent_decommit(extent_hooks_t *hooks, void *address, size_t size, size_t offset,
                            size_t length, unsigned index) {
    (void)size, (void)index;
    struct arena *arena = container_of(hooks, struct arena, hooks);
    if (!extent_drop(arena, (uint8_t *)address + offset, length)) {
        return true;
    }
    atomic_fetch_sub_explicit(&arena->committed, length, memory_order_relaxed);
    return false;
}

static bool extent_purge(extent_hooks_t *hooks, void *address, size_t size, size_t offset,
                         size_t length, unsigned index) {
    (void)size, (void)index;
    return !extent_drop(container_of(hooks, struct arena, hooks), (uint8_t *)address + offset,
                        length);
}

static bool extent_allow(extent_hooks_t *hooks, void *address, size_t size, size_t a, size_t b,
                         bool committed, unsigned index) {
    (void)hooks, (void)address, (void)size, (void)a, (void)b, (void)committed, (void)index;
    return false; /* splitting is always fine inside one mapping */
}

static bool extent_merge(extent_hooks_t *hooks, void *a, size_t a_bytes, void *b, size_t b_bytes,
                         bool committed, unsigned index) {
    (void)hooks, (void)a, (void)a_bytes, (void)b, (void)b_bytes, (void)committed, (void)index;
    return false; /* so is merging */
}

static int arena_create(struct arena *arena) {
    arena->hooks = (extent_hooks_t){
        .alloc = extent_alloc,
        .dalloc = extent_keep,
        .commit = extent_commit,
        .decommit = extent_decommit,
        .purge_forced = extent_purge,
        .split = extent_allow,
        .merge = extent_merge,
    };
    extent_hooks_t *hooks = &arena->hooks;
    size_t length = sizeof arena->index;
    int r = mallctl("arenas.create", &arena->index, &length, &hooks, sizeof hooks);
    if (r != 0) {
        return err_raise(-r);
    }
    arena->purge_length = array_count(arena->purge);
    r = mallctlnametomib("arena.0.purge", arena->purge, &arena->purge_length);
    arena->purge[1] = arena->index;
    return err_raise(-r);
}

static void arena_destroy(struct arena *arena) {
    size_t name[3];
    size_t length = array_count(name);
    if (mallctlnametomib("arena.0.destroy", name, &length) == 0) {
        name[1] = arena->index;
        (void)mallctlbymib(name, length, NULL, NULL, NULL, 0);
    }
}

static void free_pages_drop(struct arena *arena) {
    (void)mallctlbymib(arena->purge, arena->purge_length, NULL, NULL, NULL, 0);
}

static void *body_take(struct arena *arena, size_t bytes, size_t align) {
    int flags = (int)MALLOCX_ARENA(arena->index) | MALLOCX_TCACHE_NONE | (int)MALLOCX_ALIGN(align);
    void *body = mallocx(bytes, flags);
    if (unlikely(!body)) { /* what is free may be in pieces of other sizes: their pages go first */
        free_pages_drop(arena);
        body = mallocx(bytes, flags);
    }
    return body;
}
static void body_give(struct arena *arena, void *memory, size_t bytes) {
    (void)arena, (void)bytes;
    dallocx(memory, MALLOCX_TCACHE_NONE);
}

/* libcrypto takes and gives thousands of small pieces a handshake: each thread keeps a cache of
 * them, apart from the one for the general heap. It goes back when the thread ends; what other
 * destructors of that thread still give back goes around it. */
enum cache_state { CACHE_NEW, CACHE_OPEN, CACHE_NONE };
static _Thread_local struct {
    enum cache_state state;
    unsigned index;
} cache;
static pthread_key_t cache_key;
static pthread_once_t cache_once = PTHREAD_ONCE_INIT;
static bool cache_keyed;

static void cache_close(void *mark) {
    (void)mark;
    cache.state = CACHE_NONE;
    (void)mallctl("tcache.destroy", NULL, NULL, &cache.index, sizeof cache.index);
}

static void cache_key_make(void) {
    cache_keyed = pthread_key_create(&cache_key, cache_close) == 0;
}

static cold_path void cache_open(void) {
    size_t length = sizeof cache.index;
    cache.state = CACHE_NONE;
    (void)pthread_once(&cache_once, cache_key_make);
    if (cache_keyed && mallctl("tcache.create", &cache.index, &length, NULL, 0) == 0) {
        if (pthread_setspecific(cache_key, &cache) == 0) { /* anything but NULL */
            cache.state = CACHE_OPEN;
        } else {
            cache_close(NULL);
        }
    }
}

static int cache_flag(void) {
    if (unlikely(cache.state == CACHE_NEW)) {
        cache_open();
    }
    return cache.state == CACHE_OPEN ? (int)MALLOCX_TCACHE(cache.index) : MALLOCX_TCACHE_NONE;
}
static void *shared_take(struct arena *arena, size_t bytes) {
    return mallocx(bytes, (int)MALLOCX_ARENA(arena->index) | cache_flag());
}
static void *shared_again(struct arena *arena, void *old, size_t bytes) {
    return rallocx(old, bytes, (int)MALLOCX_ARENA(arena->index) | cache_flag());
}
static void shared_give(void *memory) {
    dallocx(memory, cache_flag());
}
static size_t shared_size(void *memory) {
    return sallocx(memory, 0);
}

#else

static bool shared_fits(const struct arena *arena, size_t bytes) {
    return bytes <= arena->bytes && arena_used(arena) <= arena->bytes - bytes;
}
static void *shared_take(struct arena *arena, size_t bytes) {
    return shared_fits(arena, bytes) ? malloc(bytes) : NULL;
}
static void *shared_again(struct arena *arena, void *old, size_t bytes) {
    return shared_fits(arena, bytes) ? realloc(old, bytes) : NULL;
}
static void shared_give(void *memory) {
    free(memory);
}
static size_t shared_size(void *memory) {
    return malloc_usable_size(memory);
}

static int arena_create(struct arena *arena) {
    (void)arena;
    return 0;
}
static void arena_destroy(struct arena *arena) {
    (void)arena;
}
static void free_pages_drop(struct arena *arena) {
    (void)arena;
}
static void *body_take(struct arena *arena, size_t bytes, size_t align) {
    if (arena_used(arena) + bytes > arena->bytes) {
        return NULL;
    }
    return aligned_alloc(align, round_up(bytes, align));
}
static void body_give(struct arena *arena, void *memory, size_t bytes) {
    (void)arena, (void)bytes;
    free(memory);
}

#endif

/* Not in huge pages where it is a file: a hole in a huge page that a socket still holds would be
 * zeroed in place, under the reader's eyes. */
static int map_region(struct arena *arena, bool in_file) {
    arena->file = -1;
    if (in_file) {
        arena->file = memfd_create("millrace-frames", MFD_CLOEXEC);
        if (arena->file < 0 || ftruncate(arena->file, (off_t)arena->bytes) != 0) {
            return err_raise(-errno);
        }
    }
    int flags = in_file ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;
    void *base =
        mmap(NULL, arena->bytes, PROT_READ | PROT_WRITE, flags | MAP_NORESERVE, arena->file, 0);
    if (base == MAP_FAILED) {
        return err_raise(-errno);
    }
    arena->base = base;
    (void)madvise(base, arena->bytes, in_file ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
    return 0;
}

static void unmap_region(struct arena *arena) {
    if (arena->base) {
        munmap(arena->base, arena->bytes);
    }
    if (arena->file >= 0) {
        close(arena->file);
    }
    free(arena);
}

static int open_region(size_t bytes, bool in_file, struct arena **ret_arena) {
    struct arena *arena = aligned_alloc(CACHE_PAIR, round_up(sizeof *arena, CACHE_PAIR));
    if (!arena) {
        return err_raise(-ENOMEM);
    }
    *arena = (struct arena){.bytes = round_up(bytes, 2 * MiB)};
    int r = map_region(arena, in_file);
    r = r == 0 ? arena_create(arena) : r;
    if (r < 0) {
        unmap_region(arena);
        return err_pass(r);
    }
    atomic_store_explicit(&arena->committed, 0, memory_order_relaxed); /* its first extent is kept
                                                                          for its own use */
    *ret_arena = arena;
    return 0;
}

int arena_open(size_t bytes, struct arena **ret_arena) {
    return open_region(bytes, false, ret_arena);
}

int arena_open_file(size_t bytes, struct arena **ret_arena) {
    return open_region(bytes, HAVE_JEMALLOC, ret_arena);
}

void arena_close(struct arena *arena) {
    if (arena) {
        arena_destroy(arena);
        unmap_region(arena);
    }
}

int arena_file(const struct arena *arena, const uint8_t **ret_base, uint64_t *ret_bytes) {
    *ret_base = arena->base;
    *ret_bytes = arena->file >= 0 ? arena->bytes : 0;
    return arena->file;
}

int arena_punch(struct arena *arena, void *memory, size_t bytes) {
    must(arena->file >= 0);
    size_t offset = (size_t)((uint8_t *)memory - arena->base);
    must(offset % PAGE_BYTES == 0 && offset + bytes <= arena->bytes);
    int r;
    do {
        r = fallocate(arena->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
                      (off_t)round_up(bytes, PAGE_BYTES));
    } while (r != 0 && errno == EINTR);
    return r == 0 ? 0 : err_raise(-errno);
}

void arena_trim(struct arena *arena) {
    free_pages_drop(arena);
}

uint64_t arena_committed(const struct arena *arena) {
    return atomic_load_explicit(&arena->committed, memory_order_relaxed);
}

void *arena_take(struct arena *arena, size_t bytes, size_t align) {
    must(bytes > 0);
    void *memory = body_take(arena, bytes, align < 16 ? 16 : align);
    if (memory) {
        atomic_store_explicit(&arena->used, arena_used(arena) + bytes, memory_order_relaxed);
    }
    return memory;
}

void arena_give(struct arena *arena, void *memory, size_t bytes) {
    must(arena_used(arena) >= bytes);
    atomic_store_explicit(&arena->used, arena_used(arena) - bytes, memory_order_relaxed);
    body_give(arena, memory, bytes);
}

/* Relaxed, here and below: nothing but the number itself follows from it. */
static void shared_count(struct arena *arena, size_t more, size_t less) {
    atomic_fetch_add_explicit(&arena->used, (uint64_t)more - less, memory_order_relaxed);
}

void *arena_shared_take(struct arena *arena, size_t bytes) {
    void *memory = shared_take(arena, bytes ? bytes : 1);
    if (memory) {
        shared_count(arena, shared_size(memory), 0);
    }
    return memory;
}

void *arena_shared_again(struct arena *arena, void *old, size_t bytes) {
    if (!old) {
        return arena_shared_take(arena, bytes);
    }
    size_t before = shared_size(old);
    void *memory = shared_again(arena, old, bytes ? bytes : 1);
    if (memory) {
        shared_count(arena, shared_size(memory), before);
    }
    return memory;
}

void arena_shared_give(struct arena *arena, void *memory) {
    shared_count(arena, 0, shared_size(memory));
    shared_give(memory);
}

/* Relaxed: a number for people and budgets, it orders nothing. */
uint64_t arena_used(const struct arena *arena) {
    return atomic_load_explicit(&arena->used, memory_order_relaxed);
}
