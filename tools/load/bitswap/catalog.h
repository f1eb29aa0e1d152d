/* SPDX-License-Identifier: MIT */
#pragma once

/* catalog — what there is to want: the generator's own content, or a list of CIDs.
 *
 * Own content is checked byte by byte against what it must be, and says itself which block it is;
 * blocks of a list are known by their hash alone. A CAR of the content lets any server have it.
 * Thread: owner; boot fills it. */

#include "base/key.h"
#include "proto/bitswap/bitswap.h"
#include "tools/load/content.h"

#define CATALOG_NONE UINT32_MAX

struct catalog_entry {
    struct key key;
    struct bitswap_form form;
};

struct catalog {
    const struct content *content; /* NULL: a list */
    uint32_t count;
    struct catalog_entry *entries; /* of a list */
    uint32_t *table;               /* by digest, CATALOG_NONE: free */
    uint32_t mask;
};

/* Returns: 0 or -ENOMEM. The content must have its digests and outlive the catalog. */
must_check int catalog_open(struct catalog *catalog, const struct content *content);
/* One CID a line. Returns: 0, or -errno with a sentence in `why`. */
must_check int catalog_read(struct catalog *catalog, const char *path, char *why, size_t why_bytes);
void catalog_close(struct catalog *catalog);

void catalog_name(const struct catalog *catalog, uint32_t index, struct key *ret_key,
                  struct bitswap_form *ret_form);
/* Returns: the block's number, CATALOG_NONE for one that is not in it. */
uint32_t catalog_find(const struct catalog *catalog, const struct key *key);

/* All blocks of the content as a CARv1 whose root is the first of them. Returns: 0 or -errno. */
must_check int catalog_car(const struct content *content, const char *path);
