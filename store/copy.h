/* SPDX-License-Identifier: MIT */
#pragma once

/* copy — one table of the catalog as a chunk of a snapshot (store/image.h).
 *
 * Resident blocks are named by their place on disk. Of an entry's small bits the use count, the
 * touched bit and the ghost bit are kept; a resident block gets the ghost bit, as it would by being
 * evicted: when it is read again it is known to be wanted. A table that is mostly empty becomes a
 * list of its entries.
 *
 * Thread: the table's owner, in one turn: an insert may carry any entry of a table to its other
 * bucket, so half a table is none. Cost: at most 768 KiB, mostly some 400. */

#include "store/catalog.h"
#include "store/image.h"

struct store;

#define COPY_BYTES_MAX (TABLE_CHUNKS * CHUNK_PAGES * PAGE_BYTES)

/* The table that holds `hash`. to: COPY_BYTES_MAX, aligned to 8. The chunk's offset and checksum
 * are left to whoever writes it. */
void copy_table(const struct store *store, uint64_t hash, void *to, struct image_chunk *ret_chunk);
