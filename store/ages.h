/* SPDX-License-Identifier: MIT */
#pragma once

/* ages — what had been acknowledged when, as LSNs noted with the time: how old a block is at least,
 * told by its birth alone.
 *
 * A sample is one LSN a keeper. The time is read after the LSNs, so what was born later than a
 * sample's is younger than the sample. Nothing is known of the time before this start. Of the older
 * half of AGES_SAMPLES every second one goes when there are too many: the further back, the
 * coarser.
 *
 * Thread: the porter's; the LSNs are read by notes. */

#include "store/note.h"
#include "store/store.h"

#define AGES_SAMPLES 512u

struct porter;

struct age_sample {
    uint64_t at_ns;
    uint64_t lsn[STORE_KEEPERS_MAX];
};

struct age_ask {
    struct note note;
    uint64_t lsn;
};

struct ages {
    struct age_sample samples[AGES_SAMPLES];
    uint32_t count;
    uint64_t sampled_ns; /* the last */
    bool sampling;       /* the notes are out */
    struct age_ask asks[STORE_KEEPERS_MAX];
};

/* Sends the notes of a sample. */
void ages_ask(struct ages *ages, struct porter *porter);
/* Returns: true when all have answered: the sample is there. */
bool ages_take(struct ages *ages, const struct porter *porter);
/* Of every keeper what was acknowledged at least so long ago; 0: nothing that is known of. */
void ages_limit(const struct ages *ages, uint64_t now_ns, uint64_t grace_ns,
                uint64_t ret_limit[STORE_KEEPERS_MAX]);
