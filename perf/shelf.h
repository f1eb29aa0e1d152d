/* SPDX-License-Identifier: MIT */
#pragma once

/* shelf — a store with blocks in it, for benches that read: made in a directory of its own, filled
 * through a keeper as a client's puts would be, removed at the end.
 *
 * Blocks are `bytes` long, number i begins with i, its key is its sha2-256. Everything runs on the
 * calling thread over the plain disk backend; store_housekeep has a thread of its own, as in the
 * daemon. Blocks: yes. Thread: main, but shelf_key. */

#include "base/base.h"
#include "store/store.h"

struct shelf;

struct shelf_config {
    const char *dir; /* parent; NULL: TMPDIR, /dev/shm or /var/tmp, the first there is */
    uint64_t blocks;
    uint32_t bytes; /* 8 and more */
    uint64_t memory_bytes;
    uint64_t segment_bytes; /* 0: the store's default */
    bool keep;              /* the store stays where it is after shelf_close */
    bool porter;            /* background work has a thread too: compaction and the like */
};

/* Ends the program in words when it cannot. */
struct shelf *shelf_open(const struct shelf_config *config);
struct store *shelf_store(struct shelf *shelf);
const char *shelf_dir(const struct shelf *shelf);
const struct key *shelf_keys(const struct shelf *shelf);
double shelf_fill_seconds(const struct shelf *shelf);
/* Reads every block once, so that it is a frame where memory allows. Returns: how many are. */
uint64_t shelf_warm(struct shelf *shelf);
/* Takes block `index` out and puts one in that never was there: its number is `number`. Both may be
 * under way until shelf_drain. */
void shelf_replace(struct shelf *shelf, uint64_t index, uint64_t number);
void shelf_drain(struct shelf *shelf);
/* Background steps so far that did something. */
uint64_t shelf_maintained(const struct shelf *shelf);
void shelf_close(struct shelf *shelf);
