/* SPDX-License-Identifier: MIT */
#pragma once

/* crypto_heap — where libcrypto and libssl take their memory: an arena of their own, in a region
 * reserved at boot.
 *
 * An encrypted connection's contexts are made on one thread, used on another and freed on a third,
 * and libcrypto takes memory whenever it likes (a handshake some hundred times, a record never). In
 * the general heap that would be heap calls of sealed tiles, without a bound; here it is neither:
 * NULL when the region is full, which fails that handshake. The hook can be set only before
 * libcrypto was ever used, lasts as long as the process, and cannot be undone.
 *
 * libcrypto is started here as well: it reads no configuration file, and leaves nothing to be done
 * at exit. Builds with a sanitizer take from the general heap with the same bound. */

#include "base/base.h"

#define CRYPTO_HEAP_BYTES (256 * MiB) /* address space; pages are taken when touched */

enum { CRYPTO_HEAP_LATE = 1 };

/* Further calls do nothing. Returns: 0; CRYPTO_HEAP_LATE when libcrypto is in use already and stays
 * with the heap it has (test runners use it before they run anything); -errno. Thread: boot, before
 * anything else of libcrypto, and before hash_open. */
must_check int crypto_heap_open(void);
/* Bytes libcrypto holds now; 0 when it is not hooked. Thread: any. */
uint64_t crypto_heap_used(void);
