/* SPDX-License-Identifier: MIT */
#include "engine/swarm/desk.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/must.h"
#include "engine/engine_private.h"
#include "engine/io.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define ASK_NS NS_PER_S /* what a tile has to answer a question at once */

int desk_open(struct engine *engine, struct desk **ret_desk) {
    struct desk *desk = calloc(1, sizeof *desk);
    if (!desk) {
        return err_raise(-ENOMEM);
    }
    desk->engine = engine;
    *ret_desk = desk;
    return 0;
}

void desk_close(struct desk *desk) {
    free(desk);
}

struct desk_request *desk_take(struct desk *desk, enum desk_kind kind) {
    struct desk_request *best = NULL;
    for (uint32_t i = 0; i < DESK_REQUESTS; i++) {
        struct desk_request *request = &desk->requests[i];
        if (desk_state(request) == DESK_FREE) {
            best = request;
            break;
        }
        if (desk_ended(request) && (!best || request->taken_ns < best->taken_ns)) {
            best = request; /* the oldest answer goes first */
        }
    }
    if (best) {
        desk->page_out = best == desk->page_out ? NULL : desk->page_out; /* the page is back */
        memset(best, 0, sizeof *best);
        best->kind = (uint8_t)kind;
        best->number = ++desk->next_number;
        best->taken_ns = clock_ns();
        atomic_store_explicit(&best->asked_ns, best->taken_ns, memory_order_relaxed);
        atomic_store_explicit(&best->state, DESK_TAKEN, memory_order_relaxed); /* control's own */
    }
    return best;
}

void desk_give(struct desk_request *request) {
    atomic_store_explicit(&request->state, DESK_FREE, memory_order_relaxed); /* control's own */
}

void desk_ring(struct desk *desk, const struct desk_request *request) {
    struct bell *bell = &desk->engine->cores[request->core].bell;
    if (bell_must_ring(bell) && desk->bells) {
        io_bell(desk->bells, bell->ring_fd);
        int r = io_enter(desk->bells, false, 0);
        must(r == 0);
    }
}

void desk_hand(struct desk *desk, struct desk_request *request, uint32_t core) {
    request->core = core;
    atomic_store_explicit(&request->state, DESK_ASKED,
                          memory_order_relaxed); /* the ring releases */
    bool pushed = ring_push_spsc(desk->engine->mesh.desk[core], request);
    must(pushed); /* as large as all requests there are */
    desk_ring(desk, request);
}

bool desk_settle(const struct desk_request *request) {
    uint64_t give_up_ns = clock_ns() + ASK_NS;
    while (desk_state(request) == DESK_ASKED) {
        if (clock_ns() > give_up_ns) {
            return false;
        }
        (void)poll(NULL, 0, 1);
    }
    return true;
}

void desk_target(struct desk_request *request, const struct multiaddr *address) {
    bool failed = false;
    uint32_t at = request->target_count++;
    must(at < CLIENT_FROM_MAX);
    request->resolves[at] = resolve_begin(address, &request->targets[at], &failed);
    request->no_memory |= failed;
}

void desk_target_peer(struct desk_request *request, const struct peer_id *peer) {
    must(request->target_count < CLIENT_FROM_MAX);
    request->targets[request->target_count++] = (struct dial_target){.peer = *peer};
}

int desk_resolved(struct desk_request *request) {
    int result = request->no_memory ? DESK_UNRESOLVED : 0;
    for (uint32_t i = 0; i < request->target_count; i++) {
        if (!request->resolves[i]) {
            continue;
        }
        int r = resolve_poll(request->resolves[i], &request->targets[i], request->why,
                             sizeof request->why);
        if (r == RESOLVE_WAIT) {
            return DESK_RESOLVING; /* all of them: none is left behind */
        }
        request->resolves[i] = NULL;
        request->no_memory |= r == RESOLVE_FAILED; /* the sentence says which */
        result = r == RESOLVE_FAILED ? DESK_UNRESOLVED : result;
    }
    return request->no_memory ? DESK_UNRESOLVED : result;
}

bool desk_ask(struct desk *desk, struct desk_request *request, uint32_t core) {
    desk_hand(desk, request, core);
    uint64_t give_up_ns = clock_ns() + ASK_NS;
    while (desk_state(request) == DESK_ASKED || desk_state(request) == DESK_UNDER_WAY) {
        if (clock_ns() > give_up_ns) {
            return false;
        }
        (void)poll(NULL, 0, 1);
    }
    return true;
}

struct desk_request *desk_find(struct desk *desk, uint32_t number, enum desk_kind kind) {
    for (uint32_t i = 0; i < DESK_REQUESTS; i++) {
        struct desk_request *request = &desk->requests[i];
        if (desk_state(request) != DESK_FREE && request->number == number &&
            request->kind == kind) {
            return request;
        }
    }
    return NULL;
}

struct desk_request *desk_pop(struct core *core) {
    return ring_pop_spsc(core->engine->mesh.desk[core->index]);
}

bool desk_waits(const struct core *core) {
    return ring_count(core->engine->mesh.desk[core->index]) > 0;
}
