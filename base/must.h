/* SPDX-License-Identifier: MIT */
#pragma once

/* must — assertions that are always on, and the panic they end in.
 *
 * must() is for our own bugs: arguments, states, limits. What a peer or a disk says is never
 * asserted: it is an outcome. A panic prints the condition, the error trace and every dump that was
 * registered, then aborts (so that a core file and the service manager see it). */

#include "base/base.h"

#define must(cond)    (likely(cond) ? (void)0 : panic(#cond, __FILE__, __LINE__))
#define never(reason) panic(reason, __FILE__, __LINE__)

#ifdef MILLRACE_SLOW_CHECKS
#define slow_must(cond) must(cond)
#else
#define slow_must(cond) ((void)0)
#endif

_Noreturn cold_path void panic(const char *what, const char *file, int line);

/* panic_dump_add registers a function that describes one object on a panic; it must only read,
 * never allocate, and write its words with dprintf(fd). At most PANIC_DUMPS_MAX; more are refused
 * (false). Thread: boot. */
#define PANIC_DUMPS_MAX 64
typedef void (*panic_dump_fn)(int fd, const void *object);
bool panic_dump_add(panic_dump_fn dump, const void *object);
