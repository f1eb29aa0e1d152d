/* SPDX-License-Identifier: MIT */
#pragma once

/* life — one seed's store on a simulated disk, and an oracle of what was acknowledged.
 *
 *   I1  an acknowledged put is there, or (only where the disk itself lied) a typed error
 *   I2  bytes are those that were put
 *   I3  an acknowledged delete stays deleted
 *   I4  the store opens, or says why not, and then there is a reason
 *   I5  opening again without work in between changes nothing
 *
 * An operation that had no answer, or an error, may have happened or not; what the next start shows
 * of it holds from then on. A disk that lies (what it wrote is not what it was given) frees the
 * store of I1 and I3, of nothing else. */

#include "store/store.h"
#include "tests/sim/disk.h"

enum { KEYS = 112, OPS = 48, BYTES_MAX = 300 * 1024 };

enum known { KNOWN_ABSENT, KNOWN_PRESENT, KNOWN_EITHER };

struct slot {
    struct store_op op;
    bool out;
    uint32_t key;
    bool alone; /* no write of its key overlapped it: its answer says something of the oracle */
};

struct life {
    uint64_t seed, random, now_ns;
    struct sim_disk *sim;
    struct disk disk;
    struct store *store;
    uint32_t keepers;
    enum known known[KEYS];
    uint32_t writes_out[KEYS]; /* puts and deletes under way */
    struct slot slots[OPS];
    struct sim_faults faults;
    bool lied; /* the platter is not what was written */
    bool own_memory;
    bool verbose;
    uint64_t crashes, opens, puts, deletes, reads, corrupt;
};

/* Blocks, made once. */
void life_blocks(void);
uint32_t life_pick(struct life *life, uint32_t below);
_Noreturn void life_fail(const struct life *life, uint32_t key, const char *what);
/* The smallest key of the same content. */
uint32_t life_canonical(uint32_t key);
/* Reads may hand over other bytes than the store wrote. */
bool life_misread(const struct life *life);
/* Begins an operation in a slot that is not out. */
void life_begin(struct life *life, struct slot *slot, uint32_t key, enum store_op_kind kind);
/* One turn of all. Returns: how much was done. */
uint32_t life_turn(struct life *life);
/* Until nothing is under way: on a dead disk everything ends in errors. */
void life_drain(struct life *life);
/* Reads every key once, all alone: what the oracle knows from then on. */
void life_check_all(struct life *life);
/* A digest of all that is listed. */
uint64_t life_listing(struct life *life);
