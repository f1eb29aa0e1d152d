/* SPDX-License-Identifier: MIT */
#include "store/vm.h"

#include "base/err.h"

#include <errno.h>
#include <sys/mman.h>

/* All memory of the store that is not handed to it comes from here: tests/sim/memory.c stands in
 * for this file, to fail the n-th of these calls. */

void *vm_map(size_t bytes) {
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

void *vm_map_huge(size_t bytes) {
    void *at = vm_map(bytes);
    if (at) {
        (void)madvise(at, bytes, MADV_HUGEPAGE); /* a wish: without it look-ups are slower */
    }
    return at;
}

void vm_unmap(void *at, size_t bytes) {
    if (at) {
        munmap(at, bytes);
    }
}

void vm_drop(void *at, size_t bytes) {
    (void)madvise(at, bytes, MADV_DONTNEED);
}

int vm_reserve(void **ret_base, size_t bytes) {
    /* PROT_NONE is charged to no memory limit, whatever the overcommit mode. */
    void *at = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) {
        return err_raise(-ENOMEM);
    }
    *ret_base = at;
    return 0;
}

int vm_commit(void *from, size_t bytes) {
    if (mprotect(from, bytes, PROT_READ | PROT_WRITE) != 0) {
        return err_raise(-ENOMEM);
    }
    (void)madvise(from, bytes, MADV_HUGEPAGE); /* a wish: without it look-ups are slower */
    return 0;
}
