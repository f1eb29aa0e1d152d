/* SPDX-License-Identifier: MIT */
#pragma once

/* memory — stands in for store/vm.c: counts what the store asks for, and refuses what it is told to
 * refuse. What is given back is kept and given again, so that thousands of starts do not spend
 * their time in page faults. */

#include "base/base.h"
#include "store/store.h"

/* Requests number from .. to (counted from this call) are refused; 0, 0: none is. */
void sim_memory_refuse(uint64_t from, uint64_t to);
/* Requests since then. */
uint64_t sim_memory_requests(void);
/* Bytes that are mapped or reserved now. */
uint64_t sim_memory_held(void);

/* Frame bodies from the general heap, refused by the same count. */
void *sim_memory_take(void *context, size_t bytes, size_t align);
void sim_memory_give(void *context, void *body, size_t bytes);
