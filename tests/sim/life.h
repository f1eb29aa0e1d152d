/* SPDX-License-Identifier: MIT */
#pragma once

/* life — one seed's store on a simulated disk, and an oracle of what was acknowledged.
 *
 *   I1  an acknowledged put is there, or (only where the disk itself lied) a typed error
 *   I2  bytes are those that were put
 *   I3  an acknowledged delete stays deleted
 *   I4  the store opens, or says why not, and then there is a reason
 *   I5  opening again without work in between changes nothing
 *   I7  an acknowledged pin or unpin holds, and no collection takes a block that is surely pinned
 *   I6  of an atomic bundle all blocks are there or none, acknowledged or not
 *
 * An operation that had no answer, or an error, may have happened or not; what the next start shows
 * of it holds from then on. A disk that lies (what it wrote is not what it was given) frees the
 * store of I1, I3 and I6, of nothing else. */

#include "store/pins.h"
#include "store/store.h"
#include "tests/sim/disk.h"

/* Behind the ordinary keys come groups that only whole bundles put. */
enum { ORDINARY = 112, GROUPS = 4, GROUP_KEYS = 6, KEYS = ORDINARY + GROUPS * GROUP_KEYS };
enum { OPS = 48, PACKS = 6, PACK_OPS = 8, BYTES_MAX = 300 * 1024, KEEPERS_MAX = 3 };

enum known { KNOWN_ABSENT, KNOWN_PRESENT, KNOWN_EITHER };

struct slot {
    struct store_op op;
    bool out;
    uint32_t key;
    bool alone; /* no write of its key overlapped it: its answer says something of the oracle */
    bool after_marks; /* no collection was between its begin and its marks when it was begun */
    uint64_t collections;
    uint8_t payload[PIN_PAYLOAD_MAX]; /* of a pin */
};

struct pack {
    struct store_bundle bundle;
    struct store_op ops[PACK_OPS];
    uint32_t keys[PACK_OPS];
    uint64_t done_before[PACK_OPS]; /* writes of its key that had ended when it was begun */
    bool out;
};

/* What a backup is to hold: what was acknowledged when it was begun and that nobody touched while
 * it ran. */
struct copy {
    uint64_t number; /* of it in its directory; 0: none */
    enum known known[KEYS], pinned[KEYS];
    uint64_t writes[KEYS], pins[KEYS]; /* begun by then */
    bool whole[GROUPS];
    uint64_t ungroups[GROUPS];
    bool hurt[KEYS];
    bool misread; /* what was read for it may be other bytes than the store wrote */
    bool unknown; /* tombstones were not known */
};
enum { COPIES = 4 };

struct life {
    const char *what; /* is done to it, where it is not the seed that says so */
    uint64_t at;      /* and where */
    uint64_t seed, random, now_ns;
    struct sim_disk *sim;
    struct disk disk;
    struct store *store;
    uint32_t keepers;
    enum known known[KEYS];
    uint32_t writes_out[KEYS]; /* puts and deletes under way */
    uint64_t writes_done[KEYS];
    bool whole[GROUPS];        /* nothing was deleted of it since a bundle put it or tried to */
    uint64_t ungroups[GROUPS]; /* how often something was */
    struct slot slots[OPS];
    struct pack packs[PACKS];
    enum known pinned[KEYS];
    uint32_t pins_out[KEYS];
    uint64_t pins_done[KEYS];
    bool may_go[KEYS]; /* a collection found no surely acknowledged pin of it when it began */
    struct store_task gc;
    bool collecting;
    uint64_t collections;
    struct store_task scrub, backup;
    bool scrubbing, copying;
    struct copy copies[COPIES]; /* the last that was whole, then those of which that is not known */
    uint32_t doubts;
    struct copy copy; /* that is being made */
    bool hurt[KEYS];  /* a bit of its record was flipped, by us */
    bool rotting;     /* such is done in this life */
    uint64_t rots, scrubs, repairs, quarantines, backups, restores;
    struct sim_faults faults;
    bool lied;     /* the platter is not what was written */
    bool scripted; /* calls of the disk or for memory fail by number */
    bool tiered;   /* a small fast tier and a slow one */
    bool away;     /* the slow one is */
    bool unknown;  /* and was when the store was opened: its tombstones are not known */
    enum sim_device_state trouble; /* that comes over the slow one now and then */
    bool verbose;
    bool made;   /* opened whole once, no device away */
    bool unread; /* this start could not read now and then: what it did not find may be there */
    uint64_t crashes, opens, puts, deletes, reads, corrupt, commits, aborts;
    uint64_t compactions, demotions, promotions, segments_freed,
        moves; /* by the porter, of all starts */
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
/* Begins a bundle in a pack that is not out: of a whole group, of other keys all or nothing, or of
 * operations of all kinds. */
void life_bundle(struct life *life, struct pack *pack);
/* Deletes one of a group that nobody is at, so that a bundle can bring it again. */
void life_ungroup(struct life *life, struct slot *slot);
/* One turn of all. Returns: how much was done. */
uint32_t life_turn(struct life *life);
/* Until nothing is under way: on a dead disk everything ends in errors. */
void life_drain(struct life *life);
/* Reads every key once, all alone: what the oracle knows from then on. */
void life_check_all(struct life *life);
/* A digest of all that is listed. */
uint64_t life_listing(struct life *life);

/* Opens with one to three keepers. Returns: false: it did not, and there was a reason. */
bool life_open(struct life *life, struct store_report *report);
/* Power goes, and is back; the store is not opened. */
void life_power_off(struct life *life);
/* I5: power lost right after a start, and again: the second start shows what the first did. */
void life_check_again(struct life *life);

/* The slow tier goes, or comes back. */
void life_device(struct life *life, enum sim_device_state state);

/* --- keep.c: pins and collections --- */
/* Pins a key directly, or ends that, in a slot that is not out. */
void life_keep(struct life *life, struct slot *slot, uint32_t key, enum store_op_kind kind);
void life_learn_keep(struct life *life, struct slot *slot);
/* Begins a collection of all that is not pinned; one at a time. */
void life_collect(struct life *life);
/* The pins are those that were acknowledged; what the oracle knows from then on. */
void life_check_pins(struct life *life);
/* Ends what the porter has under way: nothing of it may be in a keeper when the store closes. */
void life_stop_tasks(struct life *life);
const struct key *life_key(uint32_t key);
/* Before a store is closed. */
void life_tally(struct life *life);

/* --- rot.c: single bits that flip, and the scrub that looks for them --- */
/* Flips a bit of a block that is there, in a segment that is sealed. */
void life_rot(struct life *life);
/* Begins a scrub; one at a time. */
void life_scrub(struct life *life);
/* Looks at one that has ended. */
void life_learn_scrub(struct life *life);

/* --- copy.c: backups, and stores made of them --- */
/* Begins a backup into /b; one at a time. */
void life_backup(struct life *life);
/* Looks at one that has ended. */
void life_learn_backup(struct life *life);
/* The power is back: which of those that were cut off came to be? */
void life_settle_backups(struct life *life);
/* Makes a store of the last backup, on a disk of its own, cut short now and then, and looks at
 * everything in it. */
void life_restore(struct life *life);
/* All backups go. */
void life_forget_backups(struct life *life);
