/* SPDX-License-Identifier: MIT */
#pragma once

/* chunk — where a file is cut into leaves: bytes in any split become the same cut positions that
 * Kubo finds.
 *
 *   size-N         every N bytes
 *   buzhash        where the low 17 bits of a cyclic hash over the last 32 bytes are zero; chunks
 *                  have 128 KiB to 512 KiB
 *   rabin-A-B-C    where the low floor(log2 B) bits of a Rabin fingerprint over the last 16 bytes
 *                  are zero; chunks have A to C bytes. rabin-B is rabin-B/3-B-B*3/2, rabin alone is
 *                  rabin-262144
 *
 * Both hashes begin anew with each chunk and see only what may end it: bytes before the shortest
 * chunk's end, less a window, are passed over unread. The last chunk ends with the file.
 * Nothing is copied: the caller keeps the bytes of the chunk in progress, CHUNK_MAX at most.
 * Thread: one per chunker. Source: boxo chunker (its buzhash table is data of that format),
 * whyrusleeping/chunker for the fingerprint. */

#include "base/base.h"

#define CHUNK_MAX     (2u << 20) /* longest chunk of any plan */
#define CHUNK_DEFAULT (256u << 10)

enum { CHUNK_BAD_PLAN = 1 };

enum chunk_kind { CHUNK_SIZE, CHUNK_BUZHASH, CHUNK_RABIN };
struct chunk_plan {
    enum chunk_kind kind;
    uint32_t min, average, max; /* SIZE: all three are N */
};

#define CHUNK_BUZHASH_WINDOW 32u
#define CHUNK_RABIN_WINDOW   16u

struct chunker {
    struct chunk_plan plan;
    uint32_t count; /* bytes of the chunk in progress */
    uint32_t begin; /* bytes of a chunk that are passed over before its hash begins */
    uint64_t mask;  /* cut where hash & mask is 0 */
    uint64_t hash;  /* cyclic hash or fingerprint */
    uint8_t window[CHUNK_BUZHASH_WINDOW]; /* last bytes hashed; used from the front by rabin */
    uint64_t leave[256], reduce[256];     /* RABIN: of its polynomial */
};

/* chunk_plan_read takes "size-262144", "buzhash", "rabin", "rabin-B" or "rabin-A-B-C". Returns: 0,
 * or CHUNK_BAD_PLAN with a sentence for people in `why`. */
must_check int chunk_plan_read(const char *text, struct chunk_plan *ret_plan, char *why,
                               size_t why_bytes);

/* Cost: rabin makes its tables, 70 us: a chunker serves any number of files. */
void chunker_init(struct chunker *chunker, const struct chunk_plan *plan);
/* What comes next is the start of a file. */
void chunker_restart(struct chunker *chunker);
/* chunker_step looks for the end of the chunk in progress. Returns: how many of `count` bytes
 * belong to it; all of them unless *ret_cut says that it ends behind them.
 * Cost: buzhash and rabin 0.5 and 2 ns a byte of a file. */
size_t chunker_step(struct chunker *chunker, const uint8_t *bytes, size_t count, bool *ret_cut);
