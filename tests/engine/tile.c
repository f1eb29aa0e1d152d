/* SPDX-License-Identifier: MIT */
#include "tests/engine/tile.h"

#include "base/clock.h"
#include "base/log.h"
#include "engine/core.h"
#include "engine/dispatch.h"
#include "engine/listen.h"
#include "engine/swarm/intake.h"
#include "engine/swarm/swarm.h"
#include "engine/work.h"

#include <criterion/criterion.h>

void tile_init(struct tile *tile) {
    *tile = (struct tile){0};
    house_init(&tile->rig);
}

static void look_at_all(struct tile *tile) {
    for (uint32_t i = 0; i < 9; i++) { /* an eighth of the connections each */
        net_tick(tile->net);
    }
    dispatch_tick(tile->core->dispatch);
}

/* While somebody waits ticks come by the clock, as on a core. */
static void make_turn(void *context) {
    struct tile *tile = context;
    tile_turn(tile);
    if (tile->core->now_ns - tile->ticked_ns > CORE_TICK_NS) {
        tile->ticked_ns = tile->core->now_ns;
        look_at_all(tile);
    }
}

/* The halted thread was the ring's only user for ever: this thread gets a ring of its own, with the
 * same buffers. */
static void reopen(struct core *core) {
    uint8_t *memory[IO_GROUPS];
    uint32_t count[IO_GROUPS];
    for (uint32_t g = 0; g < IO_GROUPS; g++) {
        memory[g] = core->io.groups[g].memory;
        count[g] = core->io.groups[g].count;
    }
    io_close(&core->io);
    cr_assert_eq(io_open(&core->io, 4096), 0);
    for (uint32_t g = 0; g < IO_GROUPS; g++) {
        cr_assert_eq(io_group_open(&core->io, g, memory[g], count[g]), 0);
    }
    cr_assert_eq(io_start(&core->io), 0);
    core->bell.ring_fd = io_fd(&core->io);
}

/* Halting drained the tile and shut what listens; the old ring may still accept from it. */
static void listen_again(struct engine *engine) {
    char why[256] = "";
    listen_close(engine);
    cr_assert_eq(listen_open(engine, why, sizeof why), 0, "%s", why);
    cr_assert_eq(listen_start(engine, why, sizeof why), 0, "%s", why);
}

void tile_open(struct tile *tile) {
    char why[512] = "";
    struct rig *rig = &tile->rig;
    log_setup(LOG_LEVEL_ERROR, LOG_FORM_TEXT);
    int r = engine_open(&rig->settings, &rig->hooks, why, sizeof why, &rig->engine);
    cr_assert_eq(r, 0, "%s", why);
    tile->core = &rig->engine->cores[0];
    core_ask(tile->core, WISH_HALT, NULL);
    core_join(tile->core);
    reopen(tile->core);
    listen_again(rig->engine);
    tile->net = tile->core->net;
    tile->net->draining = false;
    tile->swarm = tile->net->swarm;
    rig->turn = make_turn;
    rig->context = tile;
    net_start(tile->net);
}

/* As a core's own turn, but that it never waits. Returns: whether anything came of it. */
static bool turn(struct tile *tile) {
    struct core *core = tile->core;
    struct io_event events[64];
    core->now_ns = clock_ns();
    store_turn(core->engine->store, core->index);
    uint32_t count = io_reap(&core->io, events, 64);
    bool more = count > 0;
    for (uint32_t i = 0; i < count; i++) {
        if (events[i].op != IO_BELL && events[i].op != IO_TICK) {
            net_event(tile->net, &events[i]);
        }
    }
    more |= net_poll(tile->net);
    more |= dispatch_poll(core->dispatch);
    more |= work_poll(core->work);
    more |= net_collect(tile->net) > 0;
    more |= net_flush(tile->net);
    (void)core_ring_bells(core);
    int r = io_enter(&core->io, false, 0);
    cr_assert_eq(r, 0);
    return more || io_pending(&core->io) || net_has_input(tile->net) ||
           dispatch_has_input(core->dispatch) || work_has_input(core->work);
}

void tile_turn(struct tile *tile) {
    (void)turn(tile);
}

void tile_rest(struct tile *tile) {
    uint32_t quiet = 0, turns = 0;
    while (quiet < 3) { /* loopback delivers within a turn or two */
        quiet = turn(tile) ? 0 : quiet + 1;
        cr_assert_lt(turns++, 100000, "the tile is never done");
    }
}

void tile_tick(struct tile *tile) {
    tile->core->now_ns = clock_ns();
    look_at_all(tile);
    tile_rest(tile);
}

static void age(uint64_t *stamp, uint64_t ns) {
    if (*stamp != 0) {
        cr_assert_gt(*stamp, ns, "the machine has not run for so long");
        *stamp -= ns;
    }
}

void tile_age(struct tile *tile, uint64_t ns) {
    for (uint32_t i = 0; i < tile->net->conns.slots_max; i++) {
        struct conn *conn = pool_at(&tile->net->conns, i);
        if (conn->state == CONN_FREE) {
            continue;
        }
        age(&conn->progress_ns, ns);
        if (conn->peer) {
            struct peer *peer = conn->peer;
            uint64_t *stamps[] = {&peer->opened_ns, &peer->heard_ns, &peer->useful_ns,
                                  &peer->pinged_ns, &peer->pause_ns, &peer->part_ns};
            for (uint32_t s = 0; s < array_count(stamps); s++) {
                age(stamps[s], ns);
            }
            for (struct stream *stream = peer->streams; stream; stream = stream->next) {
                age(&stream->since_ns, ns);
                if (stream->intake) {
                    age(&stream->intake->moved_ns, ns);
                }
            }
        }
    }
}

struct guest tile_enter(struct tile *tile, const struct guest_manners *manners) {
    struct guest guest = guest_open(&tile->rig, manners);
    guest_settle(&guest);
    guest_settle(&guest); /* what it was told last is read, too */
    tile_rest(tile);
    return guest;
}

struct peer *tile_peer(struct tile *tile) {
    struct peer *found = NULL;
    for (uint32_t i = 0; i < tile->net->conns.slots_max; i++) {
        struct conn *conn = pool_at(&tile->net->conns, i);
        if (conn->state != CONN_FREE && conn->peer) {
            cr_assert_null(found, "more than one");
            found = conn->peer;
        }
    }
    cr_assert_not_null(found);
    return found;
}

void tile_close(struct tile *tile) {
    uint64_t limit = clock_ns() + PATIENCE_NS;
    while (pool_used(&tile->net->conns) > 0) {
        cr_assert_lt(clock_ns(), limit, "a connection stays");
        tile_tick(tile);
    }
    net_drain(tile->net, true);
    tile_rest(tile);
    cr_assert(net_drained(tile->net));
    while (!work_idle(tile->core->work)) { /* an append that waits for its batch */
        cr_assert_lt(clock_ns(), limit, "the store is never idle");
        tile_turn(tile);
    }
    house_check(tile->rig.engine);
    engine_close(tile->rig.engine);
    rig_remove(&tile->rig);
}
