/* SPDX-License-Identifier: MIT */
#pragma once

/* core — a pinned thread with one io_uring and one bell, hosting a net, a sched and a work tile, or
 * some.
 *
 *            BOOT ──► RUN ──► HALT ──► DONE        control asks, the core moves
 *              └────────────► FAIL
 *
 * One turn: reap completions, let each tile work a bounded amount in a written-out order, enter the
 * kernel once. A core waits in the kernel only when no tile has backlog and, its bell armed, one
 * more look at every input finds nothing; a standing tick of 100 ms is the backstop of any wait.
 * Where a core is ours alone (isolated CPU) it spins before parking, for at most what a park costs.
 *
 * Thread: core_open, core_launch, core_join, core_close: main; the rest its own. */

#include "base/base.h"
#include "base/counter.h"
#include "base/mem.h"
#include "engine/arena.h"
#include "engine/io.h"
#include "engine/layout.h"
#include "rings/bell.h"

#include <pthread.h>

struct engine;
struct net;
struct dispatch;
struct work;
struct helper;
struct settings;

enum core_life { CORE_BOOT, CORE_RUN, CORE_HALT, CORE_DONE, CORE_FAIL };
/* What control asks of a core, in rising order. */
enum core_wish { WISH_RUN, WISH_DRAIN, WISH_DRAIN_HARD, WISH_HALT };

#define CORE_COUNTERS(X)                                                                         \
    X(turns, "turns", "turns of the loop")                                                       \
    X(enters, "calls", "system calls that entered the ring")                                     \
    X(parks, "parks", "waits in the kernel with nothing to do")                                  \
    X(rings_sent, "bells", "sleeping cores woken")                                               \
    X(rings_spurious, "bells", "bells that found nothing new")                                   \
    X(adopts_failed, "connections", "accepted, and closed because their core could not be told") \
    X(busy_ns, "ns", "time not parked")                                                          \
    X(spin_ns, "ns", "time spent spinning before a park")                                        \
    X(heap_calls, "calls",                                                                       \
      "general heap calls made on the sealed core: 0 unless a library misbehaves")
COUNTER_STRUCT(core, CORE_COUNTERS);

struct core {
    /* set at boot */
    struct engine *engine;
    struct layout_core place;
    uint32_t index;
    uint64_t spin_ns_max; /* 0: parks at once */
    pthread_t thread;
    bool launched;
    struct mem_region region;
    struct arena *arena;  /* everything of varying size but what stands in the next one */
    struct arena *frames; /* where it has a work tile: bodies of CORE_FILED_BYTES and more */
    struct net *net;      /* NULL where this core has no such tile */
    struct dispatch *dispatch;
    struct work *work;
    struct helper *helper; /* an unpinned core: housekeeping */
    bool porter;           /* the other unpinned one: background work of the store */

    /* owner only */
    struct io io;
    uint64_t now_ns;    /* read once a turn */
    uint64_t bells;     /* bit k: core k got something since its bell was last looked at */
    uint64_t tick_ns;   /* next lazy tick */
    uint32_t wish_seen; /* enum core_wish, as last acted on */
    bool rung;          /* this turn reaped a bell */

    /* written here, read elsewhere */
    struct core_counters counters;
    _Atomic uint32_t
        life;        /* enum core_life; the core moves it, control waits for it (acquire/release) */
    int32_t failure; /* -errno, valid once life is FAIL */
    _Atomic(const struct settings *) settings; /* in use since the last tick (release) */
    _Atomic bool drained; /* the net tile has no connection left, the work tile no job (release) */
    /* written elsewhere, read here */
    _Atomic uint32_t wish; /* enum core_wish (control releases; acquired at each tick and wake) */

    struct bell bell; /* its own cache-line pair */
};

#define CORE_TICK_NS (100 * NS_PER_MS)
#define CORE_FILED_BYTES \
    (16 * KiB) /* frames from here on lie in a memfd, each from a page's start */

/* Opens the core's ring, so that bells have a target. Returns: 0 or -errno. */
must_check int core_open(struct core *core, struct engine *engine, uint32_t index,
                         const struct layout_core *place);
must_check int core_launch(struct core *core);
/* Tells the core what control wants, and wakes it; without a ring (NULL) it finds out by itself, at
 * its tick. Thread: control (with any open ring of its own). */
void core_ask(struct core *core, enum core_wish wish, struct io *control_io);
void core_join(struct core *core);
void core_close(struct core *core);
/* Gives free pages of the arenas back to the kernel where more than a little is free and the daemon
 * has a budget. Thread: own. */
void core_trim(struct core *core);

/* Notes that core `target` has new input; its bell is looked at once, at core_ring_bells. */
static inline void core_tell(struct core *core, uint32_t target) {
    core->bells |= UINT64_C(1) << target;
}
/* Rings those told that sleep. Returns: how many (their bells leave with the next io_enter). */
uint32_t core_ring_bells(struct core *core);
/* As above, and enters the kernel at once: before work that takes longer than a wake should wait.
 */
void core_ring_now(struct core *core);
