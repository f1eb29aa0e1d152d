/* SPDX-License-Identifier: MIT */
#pragma once

/* pins — which blocks, and which DAGs under them, people want kept: one table a keeper.
 *
 *   PIN record    a key, how it is pinned, the codec of its CID, a name      born with its LSN
 *   UNPIN record  a key                                                      kills births <= its
 * LSN
 *
 * Of one key the PIN with the latest birth counts, unless an UNPIN is later: no order of records
 * matters, and a copy carried elsewhere keeps its birth. The table holds what counts; a slot stays
 * where it is while its key is pinned, so that a list read in pages is stable.
 *
 * Bounds: PINS_MAX over all keepers, then STORE_FULL; the address space is taken at boot and
 * becomes memory as pins come (100 bytes each, 256 more for a name).
 *
 * Thread: the keeper's; pins_record_live: any, without a lock (the sequence is odd while the table
 * changes, and a reader that sees it change says "live"). */

#include "base/base.h"
#include "base/key.h"
#include "store/format.h"
#include "store/store.h"

#include <stdatomic.h>

#define PINS_MAX  (1u << 20)
#define PINS_NONE UINT32_MAX

struct pin_slot {
    _Atomic uint64_t hash; /* keyed; 0: free */
    _Atomic uint64_t birth_lsn;
    _Atomic uint32_t next; /* in its bucket's chain, or in the free list */
    uint32_t codec;
    struct key key;
    uint8_t mode; /* enum store_pin_mode */
    uint8_t name_bytes;
};

struct pins {
    struct pin_slot *slots;
    char (*names)[STORE_PIN_NAME_MAX + 1];
    _Atomic uint32_t *buckets; /* the first slot of a chain */
    uint32_t bucket_count;     /* a power of two */
    uint32_t slots_max;        /* there is room for these: more than are admitted */
    uint32_t admitted_max;
    uint32_t top; /* slots ever used */
    uint32_t free;
    uint32_t count;
    uint32_t reserved; /* pins that are on their way to the disk */
    uint32_t unclear;  /* records that could not be read: what they pinned is not known */
    _Atomic uint64_t sequence;
};

/* Returns: 0 or -ENOMEM. Thread: boot. */
must_check int pins_open(struct pins *pins, uint32_t keepers);
void pins_close(struct pins *pins);

/* The payload of a PIN record. */
#define PIN_PAYLOAD_MAX (sizeof(struct pin_head) + STORE_PIN_NAME_MAX)
uint32_t pin_write(const struct store_pin *pin, uint8_t out[PIN_PAYLOAD_MAX]);
/* Fills mode and name of *ret_pin. Returns: 0 or FORMAT_BAD. */
must_check int pin_read(const uint8_t *bytes, uint64_t count, struct store_pin *ret_pin);

/* A record as recovery found it, or on a tier that comes back: the later birth of a key counts.
 * Returns: 0; STORE_FULL. Thread: boot, or the keeper's. */
must_check int pins_load(struct pins *pins, uint64_t hash, const struct store_pin *pin,
                         uint64_t birth_lsn);

/* An UNPIN record found as late as that: ends what was pinned before it. */
void pins_unload(struct pins *pins, const struct footer_entry *unpin);

const struct pin_slot *pins_find(const struct pins *pins, uint64_t hash, const struct key *key);
/* Some key of this hash is pinned. */
bool pins_has(const struct pins *pins, uint64_t hash);
/* Pins from slot *cursor on, in the order of slots; *cursor is moved, PINS_NONE at the end.
 * Returns: how many. */
uint32_t pins_page(const struct pins *pins, uint32_t *cursor, struct store_pin out[], uint32_t max);

struct store;
/* This start could not read a record of some pin: what it pinned is not known. Thread: any. */
bool pins_unclear(const struct store *store);

/* pins_record_live: does this PIN record still count? A compaction carries those that do. True also
 * where it cannot tell. An UNPIN record is carried by the rule of tombstones. Thread: any. */
bool pins_record_live(const struct store *store, uint64_t hash, uint64_t birth_lsn);

/* --- operations (order.c) --- */
struct keeper;
/* STORE_PIN, STORE_UNPIN: is there something to write? It is appended, or the operation ends. */
void pins_resolve(struct keeper *keeper, struct store_op *op);
/* It is durable. */
void pins_publish(struct keeper *keeper, struct store_op *op, uint64_t lsn);
/* It failed after pins_resolve had appended it. */
void pins_release(struct keeper *keeper, struct store_op *op);
