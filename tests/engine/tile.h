/* SPDX-License-Identifier: MIT */
#pragma once

/* tile — an engine of one core whose turns the test makes, on its own thread: nothing happens
 * between two lines of a test but what it asks for, time passes when it says so, and pools may be
 * emptied under the engine's hands.
 *
 * The core's thread is started as ever, halted at once, and its ring opened anew for this one. The
 * rig's callers and guests make turns while they wait. No admin socket: counters are read in place.
 */

#include "engine/net.h"
#include "engine/swarm/peer.h"
#include "tests/engine/house.h"

struct tile {
    struct rig rig;
    struct core *core;
    struct net *net;
    struct swarm *swarm;
    uint64_t ticked_ns;
};

/* Settings may be changed before tile_open. */
void tile_init(struct tile *tile);
void tile_open(struct tile *tile);
void tile_turn(struct tile *tile);
/* Turns until nothing more is to be done at once. */
void tile_rest(struct tile *tile);
/* A lazy tick that looks at every connection. */
void tile_tick(struct tile *tile);
/* Everything that waits has waited so much longer. */
void tile_age(struct tile *tile, uint64_t ns);
/* A peer that has shaken hands, has said who it is and has read what it was told. */
struct guest tile_enter(struct tile *tile, const struct guest_manners *manners);
/* The one peer that is connected. */
struct peer *tile_peer(struct tile *tile);
#define tile_counter(tile, name) counter_get(&(tile)->swarm->counters.name)
/* All guests have gone, and with them all that was theirs. */
void tile_close(struct tile *tile);
