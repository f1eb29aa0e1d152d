/* SPDX-License-Identifier: MIT */
#pragma once

/* graves — the deletes of this start, kept while a tier is missing that was missing when the store
 * was opened: when it comes back (store/arrival.h), what they killed on it must stay dead.
 *
 * A key stands in here as its keyed hash and a second 64 bits (load.h: tombstone_check). Bounded:
 * past GRAVES_MAX keys the table says that it is full, and the tier waits for the next start, which
 * reads the tombstones themselves.
 *
 * Thread: one, whose table it is: a keeper's, or the porter's (tombstones that moves carried). */

#include "base/base.h"

#define GRAVES_MAX   (64u * 1024)
#define GRAVES_SLOTS (2 * GRAVES_MAX)

struct grave {
    uint64_t hash;  /* 0: free */
    uint64_t check; /* of the key */
    uint64_t lsn;   /* of the latest tombstone */
};
struct graves {
    uint32_t count;
    bool full; /* one was not taken in */
    struct grave slots[GRAVES_SLOTS];
};

/* NULL: no memory. Address space that becomes memory as deletes come. Thread: boot. */
struct graves *graves_open(void);
void graves_close(struct graves *graves);
void graves_add(struct graves *graves, const struct grave *grave);
/* Was what was born then under this key deleted? */
bool graves_dead(const struct graves *graves, const struct grave *born);
