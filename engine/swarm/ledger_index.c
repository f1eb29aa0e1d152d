/* SPDX-License-Identifier: MIT */
#include "engine/swarm/ledger_index.h"

#include "base/must.h"

#define XXH_INLINE_ALL /* a call through the library costs as much as the hash */
#include <xxhash.h>

/* Every bit of the result hangs on every bit of x. Source: Appleby, MurmurHash3 (its finalizer). */
static inline uint64_t mix(uint64_t x) {
    x = (x ^ x >> 33) * UINT64_C(0xff51afd7ed558ccd);
    x = (x ^ x >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    return x ^ x >> 33;
}

uint64_t ledger_hash(const struct ledger *ledger, const struct key *key) {
    uint64_t code = (uint64_t)key->code << 8 | key->digest_bytes;
    return XXH3_64bits_withSeed(key->digest, key->digest_bytes, ledger->config.salt ^ mix(code));
}

/* --- names ------------------------------------------------------------------------------------ */

static uint32_t *name_bucket(const struct ledger *ledger, const struct ledger_peer *peer,
                             const struct key *key, uint32_t codec, uint8_t version) {
    uint64_t form = (uint64_t)peer->salt << 32 ^ (uint64_t)codec << 1 ^ (version & 1);
    uint64_t hash = mix(ledger_hash(ledger, key) ^ form);
    return &ledger->peer_table[hash & ledger->table_mask];
}

uint32_t ledger_name_find(const struct ledger *ledger, const struct ledger_peer *peer,
                          const struct key *key, const struct bitswap_form *form) {
    uint32_t slot = *name_bucket(ledger, peer, key, form->codec, form->version);
    while (slot != LEDGER_NONE) {
        const struct ledger_want *want = ledger_at(ledger, slot);
        if (want->peer == peer && want->codec == form->codec && want->version == form->version &&
            key_equal(&want->key, key)) {
            return slot;
        }
        slot = want->peer_chain;
    }
    return LEDGER_NONE;
}

void ledger_name_add(struct ledger *ledger, uint32_t slot) {
    struct ledger_want *want = ledger_at(ledger, slot);
    uint32_t *bucket = name_bucket(ledger, want->peer, &want->key, want->codec, want->version);
    want->peer_chain = *bucket;
    *bucket = slot;
}

void ledger_name_remove(struct ledger *ledger, uint32_t slot) {
    struct ledger_want *want = ledger_at(ledger, slot);
    uint32_t *link = name_bucket(ledger, want->peer, &want->key, want->codec, want->version);
    while (*link != slot) {
        must(*link != LEDGER_NONE);
        link = &ledger_at(ledger, *link)->peer_chain;
    }
    *link = want->peer_chain;
}

/* --- groups ----------------------------------------------------------------------------------- */

uint32_t ledger_group_find(const struct ledger *ledger, const struct key *key, uint64_t hash) {
    uint32_t slot = ledger->key_table[hash & ledger->table_mask];
    while (slot != LEDGER_NONE) {
        const struct ledger_want *want = ledger_at(ledger, slot);
        if (key_equal(&want->key, key)) {
            return slot;
        }
        slot = want->key_chain;
    }
    return LEDGER_NONE;
}

void ledger_group_add(struct ledger *ledger, uint32_t slot) {
    struct ledger_want *want = ledger_at(ledger, slot);
    uint64_t hash = ledger_hash(ledger, &want->key);
    uint32_t first_slot = ledger_group_find(ledger, &want->key, hash);
    if (first_slot == LEDGER_NONE) {
        uint32_t *bucket = &ledger->key_table[hash & ledger->table_mask];
        want->key_chain = *bucket;
        want->group_first = true;
        want->group_next = slot;
        want->group_prev = slot;
        *bucket = slot;
        return;
    }
    struct ledger_want *first = ledger_at(ledger, first_slot);
    want->group_first = false;
    want->group_next = first_slot;
    want->group_prev = first->group_prev;
    ledger_at(ledger, first->group_prev)->group_next = slot;
    first->group_prev = slot;
}

void ledger_group_remove(struct ledger *ledger, uint32_t slot) {
    struct ledger_want *want = ledger_at(ledger, slot);
    struct ledger_want *next = ledger_at(ledger, want->group_next);
    if (want->group_first) {
        uint64_t hash = ledger_hash(ledger, &want->key);
        uint32_t *link = &ledger->key_table[hash & ledger->table_mask];
        while (*link != slot) {
            must(*link != LEDGER_NONE);
            link = &ledger_at(ledger, *link)->key_chain;
        }
        if (next == want) {
            *link = want->key_chain;
        } else {
            *link = want->group_next;
            next->key_chain = want->key_chain;
            next->group_first = true;
        }
        want->group_first = false;
    }
    next->group_prev = want->group_prev;
    ledger_at(ledger, want->group_prev)->group_next = want->group_next;
}

/* --- trees ------------------------------------------------------------------------------------ */

static bool stands_before(const struct ledger_want *a, const struct ledger_want *b) {
    if (a->class != b->class) {
        return a->class < b->class;
    }
    if (a->priority != b->priority) {
        return a->priority > b->priority;
    }
    return (a->named_ns < b->named_ns) != (a->state == LEDGER_WAITING);
}

static uint64_t rank(const struct ledger *ledger, uint32_t slot) {
    return mix(ledger->config.salt + slot);
}

void ledger_tree_add(struct ledger *ledger, uint32_t *root, uint32_t slot) {
    struct ledger_want *want = ledger_at(ledger, slot);
    uint64_t want_rank = rank(ledger, slot);
    uint32_t *link = root;
    while (*link != LEDGER_NONE && rank(ledger, *link) >= want_rank) {
        struct ledger_want *at = ledger_at(ledger, *link);
        link = stands_before(want, at) ? &at->left : &at->right;
    }
    /* What hangs here is split around the new want, which takes its place. */
    uint32_t rest = *link;
    *link = slot;
    uint32_t *left = &want->left, *right = &want->right;
    while (rest != LEDGER_NONE) {
        struct ledger_want *at = ledger_at(ledger, rest);
        if (stands_before(want, at)) {
            *right = rest;
            right = &at->left;
            rest = at->left;
        } else {
            *left = rest;
            left = &at->right;
            rest = at->right;
        }
    }
    *left = LEDGER_NONE;
    *right = LEDGER_NONE;
}

/* Joins two trees, all of `left` before all of `right`, at `link`. */
static void join(struct ledger *ledger, uint32_t *link, uint32_t left, uint32_t right) {
    while (left != LEDGER_NONE && right != LEDGER_NONE) {
        if (rank(ledger, left) >= rank(ledger, right)) {
            *link = left;
            link = &ledger_at(ledger, left)->right;
            left = *link;
        } else {
            *link = right;
            link = &ledger_at(ledger, right)->left;
            right = *link;
        }
    }
    *link = left != LEDGER_NONE ? left : right;
}

void ledger_tree_remove(struct ledger *ledger, uint32_t *root, uint32_t slot) {
    const struct ledger_want *want = ledger_at(ledger, slot);
    uint32_t *link = root;
    while (*link != slot) {
        must(*link != LEDGER_NONE);
        struct ledger_want *at = ledger_at(ledger, *link);
        link = stands_before(want, at) ? &at->left : &at->right;
    }
    join(ledger, link, want->left, want->right);
}

uint32_t ledger_tree_pop(struct ledger *ledger, uint32_t *root) {
    uint32_t *link = root;
    must(*link != LEDGER_NONE);
    struct ledger_want *at = ledger_at(ledger, *link);
    while (at->left != LEDGER_NONE) {
        link = &at->left;
        at = ledger_at(ledger, *link);
    }
    uint32_t slot = *link;
    *link = at->right;
    return slot;
}

uint32_t ledger_tree_first(const struct ledger *ledger, uint32_t root) {
    uint32_t slot = root;
    while (root != LEDGER_NONE) {
        slot = root;
        root = ledger_at(ledger, slot)->left;
    }
    return slot;
}

uint32_t ledger_tree_last(const struct ledger *ledger, uint32_t root) {
    uint32_t slot = root;
    while (root != LEDGER_NONE) {
        slot = root;
        root = ledger_at(ledger, slot)->right;
    }
    return slot;
}
