/* SPDX-License-Identifier: MIT */
#pragma once

/* garden — DAGs of blocks in a store of the rig, for tests of pins and collections. A block of
 * codec 0x70 is a number and the numbers of the blocks it links to; every block is known by number.
 */

#include "store/gc.h"
#include "store/pinning.h"
#include "tests/store/rig.h"

#define GARDEN_BLOCKS 512u
#define GARDEN_LINKS  8u

struct garden_block {
    struct key key;
    uint8_t bytes[16 + 4 * GARDEN_LINKS];
    uint32_t count;
    bool inner; /* has links, though maybe none */
    uint32_t link_count;
    uint32_t links[GARDEN_LINKS];
};

extern struct garden_block garden[GARDEN_BLOCKS];

/* Plants block i: links go to blocks of lower numbers. inner: codec 0x70, else raw. */
void garden_plant(uint32_t i, bool inner, const uint32_t links[], uint32_t count);
extern const struct store_links garden_links;

int32_t garden_put(struct rig *rig, uint32_t i);
int32_t garden_delete(struct rig *rig, uint32_t i);
bool garden_has(struct rig *rig, uint32_t i);
/* Runs the porter and everything else until the task is over. Returns: its result. */
int32_t garden_run(struct rig *rig, struct store_task *task);
/* One turn of everything and one step of the porter. */
void garden_step(struct rig *rig);
int32_t garden_pin(struct rig *rig, uint32_t i, uint8_t mode, struct store_task *task);
int32_t garden_unpin(struct rig *rig, uint32_t i);
/* A collection; the task says what it did. */
int32_t garden_gc(struct rig *rig, uint64_t grace_ns, bool dry_run, struct store_task *task);
