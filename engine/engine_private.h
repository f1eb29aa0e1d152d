/* SPDX-License-Identifier: MIT */
#pragma once

/* engine_private — the engine as its own files see it: who hosts what, and what control publishes.
 * Everything here is set at boot and constant while cores run, but for the words marked otherwise.
 */

#include "engine/budget.h"
#include "engine/core.h"
#include "engine/engine.h"
#include "engine/layout.h"
#include "engine/mesh.h"
#include "engine/settings.h"
#include "engine/swarm/self.h"
#include "store/store.h"

struct listener {
    int fd;
    struct listener_address address;
    bool accepting; /* the acceptor's own, at any time: a multishot accept is out */
};

struct admin;
struct desk;
struct secure_self;
struct tasks;

struct engine {
    struct settings settings;           /* as started, within memory.budget */
    struct budget_sizes sizes;          /* what follows from them and has no setting */
    struct settings published[2];       /* reload writes the one not in use, then moves `current` */
    _Atomic(struct settings *) current; /* release by control; acquire by each core at its tick */
    struct engine_hooks hooks;
    struct layout layout;
    struct layout_host host;
    struct mesh mesh;
    struct store *store;
    struct store_report report;
    struct store_memory memories[LAYOUT_CORES_MAX];
    struct disk disks[LAYOUT_CORES_MAX];
    struct core cores[LAYOUT_CORES_MAX + 2]; /* the last two in use: helper, porter */
    uint32_t keeper_core[LAYOUT_CORES_MAX];  /* keeper index -> core index */
    struct listener listeners[SETTINGS_LISTENERS_MAX];
    uint32_t listener_count;
    struct secure_self *self;                       /* our key and what follows from it */
    struct multiaddr addresses[SELF_ADDRESSES_MAX]; /* where peers are told to dial us */
    uint32_t address_count;
    struct admin *admin;
    struct desk *desk;   /* control's: what it asks of net tiles about peers */
    struct tasks *tasks; /* control's: long requests to the store */
    uint64_t started_ns;
    uint64_t budget_ns;            /* helper's: when to look at memory again */
    _Atomic uint64_t frames_limit; /* what frames may take now; the helper writes */
    uint64_t park_cost_ns;         /* measured at boot: the bound of spinning */
    _Atomic uint32_t state;        /* enum engine_state; control writes */
    _Atomic bool go; /* every ring is enabled; release by launch, acquire by each core */
    bool counts_heap;
};

/* Threads of ours with a struct core: those that are pinned, then helper and porter. */
static inline uint32_t engine_threads(const struct engine *engine) {
    return engine->layout.count + 2;
}

enum engine_state { ENGINE_SERVING, ENGINE_DRAINING, ENGINE_STOPPING };
