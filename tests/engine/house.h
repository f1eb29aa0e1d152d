/* SPDX-License-Identifier: MIT */
#pragma once

/* house — a rig whose engine also listens for libp2p peers, and the proof that nothing of a guest
 * stays behind: when all have gone every want, stream, peer, job, record and piece of output is
 * back where it came from. */

#include "tests/engine/guest.h"
#include "tests/engine/rig.h"

/* Settings may be changed before rig_run. */
void house_init(struct rig *rig);
/* Two net cores and two work cores, each its own thread. Before rig_run. */
void house_split(struct rig *rig);
/* The sum of a counter of all net tiles. group: "swarm", "ledger" or "net". */
uint64_t house_counter(struct rig *rig, const char *group, const char *name);
/* Waits for it. */
void house_expect(struct rig *rig, const char *group, const char *name, uint64_t value);
/* Stores a block, over TLV. */
void house_put(struct rig *rig, const struct block *block);
/* And reads it, so that it is in memory from here on. */
void house_warm(struct rig *rig, const struct block *block);
void house_delete(struct rig *rig, const struct block *block);
/* All guests have gone: so has all that was theirs. Then drains. */
void house_close(struct rig *rig);
/* What house_close looks at last, once the cores have ended. */
void house_check(struct engine *engine);
