/* SPDX-License-Identifier: MIT */
#include "tests/sim/memory.h"

#include "base/bits.h"
#include "base/err.h"
#include "base/must.h"
#include "store/vm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define KEPT 64u
/* Zeroed memory of these sizes is touched whole: cleaning it is cheaper than faulting it in. */
#define CLEAN_LEAST (1 * MiB)
#define CLEAN_MOST  (12 * MiB)

struct kept {
    void *at;
    size_t bytes;
    bool reserved;
};

static struct {
    uint64_t from, to, requests, held;
    struct kept kept[KEPT];
    uint32_t kept_count;
    void *reserved[KEPT];
    uint32_t reserved_count;
} memory;

void sim_memory_refuse(uint64_t from, uint64_t to) {
    memory.from = from;
    memory.to = to;
    memory.requests = 0;
}

uint64_t sim_memory_requests(void) {
    return memory.requests;
}

uint64_t sim_memory_held(void) {
    return memory.held;
}

static bool refused(void) {
    memory.requests++;
    return memory.requests >= memory.from && memory.requests <= memory.to;
}

static void *take_kept(size_t bytes, bool reserved) {
    for (uint32_t i = memory.kept_count; i-- > 0;) {
        if (memory.kept[i].bytes == bytes && memory.kept[i].reserved == reserved) {
            void *at = memory.kept[i].at;
            memory.kept_count--;
            memmove(&memory.kept[i], &memory.kept[i + 1],
                    (memory.kept_count - i) * sizeof memory.kept[0]);
            return at;
        }
    }
    return NULL;
}

/* The oldest goes where there is no room: sizes that are asked for often stay. */
static void keep(void *at, size_t bytes, bool reserved) {
    if (memory.kept_count == KEPT) {
        munmap(memory.kept[0].at, memory.kept[0].bytes);
        memory.kept_count--;
        memmove(&memory.kept[0], &memory.kept[1], memory.kept_count * sizeof memory.kept[0]);
    }
    memory.kept[memory.kept_count++] = (struct kept){at, bytes, reserved};
}

/* Address space is kept in few sizes, so that it is used again. */
static size_t reserve_bytes(size_t bytes) {
    size_t rounded = 64 * MiB;
    while (rounded < bytes) {
        rounded *= 2;
    }
    return rounded;
}

static void clean(uint8_t *at, size_t bytes) {
    for (size_t page = 0; page < bytes; page += PAGE_BYTES) {
        size_t count = min_u64(PAGE_BYTES, bytes - page);
        uint64_t first;
        memcpy(&first, at + page, sizeof first);
        if (first != 0 || memcmp(at + page, at + page + 8, count - 8) != 0) {
            memset(at + page, 0, count);
        }
    }
}

static bool worth_keeping(size_t bytes) {
    return bytes >= CLEAN_LEAST && bytes <= CLEAN_MOST && bytes % 8 == 0;
}

void *vm_map(size_t bytes) {
    if (refused()) {
        return NULL;
    }
    void *at = worth_keeping(bytes) ? take_kept(bytes, false) : NULL;
    if (at) {
        clean(at, bytes);
    } else {
        at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                  -1, 0);
        must(at != MAP_FAILED);
    }
    memory.held += bytes;
    return at;
}

void *vm_map_huge(size_t bytes) {
    return vm_map(bytes);
}

int vm_reserve(void **ret_base, size_t bytes) {
    if (refused()) {
        return err_raise(-ENOMEM);
    }
    must(memory.reserved_count < KEPT);
    void *at = take_kept(reserve_bytes(bytes), true);
    if (!at) {
        at = mmap(NULL, reserve_bytes(bytes), PROT_NONE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        must(at != MAP_FAILED);
    }
    memory.reserved[memory.reserved_count++] = at;
    memory.held += bytes;
    *ret_base = at;
    return 0;
}

int vm_commit(void *from, size_t bytes) {
    if (refused()) {
        return err_raise(-ENOMEM);
    }
    must(mprotect(from, bytes, PROT_READ | PROT_WRITE) == 0);
    return 0;
}

static bool was_reserved(const void *at) {
    for (uint32_t i = 0; i < memory.reserved_count; i++) {
        if (memory.reserved[i] == at) {
            memory.reserved[i] = memory.reserved[--memory.reserved_count];
            return true;
        }
    }
    return false;
}

void vm_drop(void *at, size_t bytes) {
    memset(at, 0, bytes);
}

void vm_unmap(void *at, size_t bytes) {
    if (!at) {
        return;
    }
    bool reserved = was_reserved(at);
    must(memory.held >= bytes);
    memory.held -= bytes;
    if (reserved || worth_keeping(bytes)) {
        keep(at, reserved ? reserve_bytes(bytes) : bytes, reserved);
    } else {
        munmap(at, bytes);
    }
}

void *sim_memory_take(void *context, size_t bytes, size_t align) {
    (void)context;
    if (refused()) {
        return NULL;
    }
    void *body = aligned_alloc(align, round_up(max_u64(bytes, 1), align));
    must(body != NULL);
    memory.held += bytes;
    return body;
}

void sim_memory_give(void *context, void *body, size_t bytes) {
    (void)context;
    memory.held -= bytes;
    free(body);
}
