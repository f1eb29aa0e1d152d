/* SPDX-License-Identifier: MIT */
#pragma once

/* rig — a store on a simulated disk, driven by hand: one operation at a time, clock and all. */

#include "store/inside.h"
#include "tests/sim/disk.h"

struct rig {
    struct sim_disk *sim;
    struct disk disk;
    struct store_config config;
    struct store_report report;
    struct store *store;
    uint64_t now_ns;
};

/* A formatted store with one keeper, one reader, 4 MiB segments, 1 MiB of memory. */
void rig_start(struct rig *rig, uint64_t seed);
/* Opens with rig->config. Returns: what store_open did. */
int rig_open(struct rig *rig);
/* Closes in order; must succeed. */
void rig_close(struct rig *rig);
/* Power goes, and comes back; the store is not opened. */
void rig_crash(struct rig *rig);
void rig_end(struct rig *rig);
/* One turn of everything. */
void rig_turn(struct rig *rig);
/* Begins and finishes one operation. Returns: its result. */
int32_t rig_do(struct rig *rig, struct store_op *op);

/* Block number i: `bytes` of it, and its key. */
const uint8_t *rig_block(uint32_t i, uint32_t bytes, struct key *ret_key);
int32_t rig_put(struct rig *rig, uint32_t i, uint32_t bytes);
/* Reads it back; a result of 0 means that every byte is right. */
int32_t rig_get(struct rig *rig, uint32_t i, uint32_t bytes);
int32_t rig_delete(struct rig *rig, uint32_t i, uint32_t bytes);
/* Where block i lies on disk, resident or not, with the bits of its tier. It must be there. */
uint64_t rig_place(struct rig *rig, uint32_t i, uint32_t bytes);
/* Flips a bit on the platter, `at` bytes behind the beginning of the record at a place. */
void rig_spoil(struct rig *rig, uint64_t place, uint64_t at);
/* Waits for the batch that says what is durable. */
void rig_mark(struct rig *rig);
/* Removes all snapshots: the next start reads the segments. Returns: how many there were. */
uint32_t rig_forget(struct rig *rig);
/* One step of the background work and one turn, `steps` times. */
void rig_maintain(struct rig *rig, uint32_t steps);
/* A tombstone that moved while the older copy was away: blocks 0 to `old` lie on tier "a", block
 * `victim` of them was deleted on tier "ssd", and its tombstone carried on by a compaction there
 * with RIG_BURIED others. The store is open without "a". */
enum { RIG_BURIED = 60 };
void rig_bury_elsewhere(struct rig *rig, uint32_t old, uint32_t victim, uint32_t bytes);
/* Closes the store and ends the rig. Returns: what the file held then, the caller's to free, and
 * how many disk calls closing took. */
uint8_t *rig_closed_bytes(struct rig *rig, const char *path, uint64_t *ret_bytes,
                          uint64_t *ret_calls);
