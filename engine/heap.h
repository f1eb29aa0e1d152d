/* SPDX-License-Identifier: MIT */
#pragma once

/* heap — proof that tiles take nothing from the general heap: malloc and its kin pass through here.
 *
 * In the daemon the C allocator's entry points are ours and go straight to jemalloc; on a thread
 * that has called mem_seal() each call is counted (and in builds with MILLRACE_SLOW_CHECKS it
 * panics), so `millrace stat` can show heap_calls: 0 per core. Builds with a sanitizer leave the
 * allocator alone and always read 0. */

#include "base/base.h"

/* Heap calls made on this thread since it was sealed. Thread: any, of itself. */
uint64_t heap_sealed_calls(void);
/* Makes the linker keep this file: called once at boot. Returns: whether calls are being counted.
 */
bool heap_watch(void);
