/* SPDX-License-Identifier: MIT */
#include "store/dag.h"

#include "base/err.h"
#include "base/must.h"
#include "store/inside.h"
#include "store/text.h"

#include <errno.h>
#include <string.h>

int dag_open(struct dag *dag, struct store *store, struct mark *seen) {
    *dag = (struct dag){.store = store, .seen = seen};
    dag->stack = vm_map(DAG_STACK_MAX * sizeof *dag->stack);
    return dag->stack ? 0 : err_raise(-ENOMEM);
}

void dag_close(struct dag *dag) {
    vm_unmap(dag->stack, DAG_STACK_MAX * sizeof *dag->stack);
    dag->stack = NULL;
}

static void fail(struct dag *dag, int result, const struct cid *at, const char *reason) {
    if (dag->failed == 0) {
        dag->failed = result;
        dag->missing = *at;
        dag->reason = reason;
    }
}

/* --- leaves ----------------------------------------------------------------------------------- */

static void leaves_look(struct dag *dag) {
    struct key keys[DAG_LEAVES];
    uint8_t present[DAG_LEAVES];
    struct store *store = dag->store;
    uint32_t reader = store->porter->reader;
    for (uint32_t i = 0; i < dag->leaf_count; i++) {
        int r = cid_key(&dag->leaves[i], &keys[i]);
        must(r == 0); /* as when it was added */
    }
    turn_begin(&store->turns, reader);
    store_have(store, reader, keys, present, dag->leaf_count);
    turn_park(&store->turns, reader);
    for (uint32_t i = 0; i < dag->leaf_count; i++) {
        if (present[i] != 1) {
            fail(dag, present[i] == 0 ? STORE_ABSENT : STORE_RETRY, &dag->leaves[i], NULL);
        }
    }
    dag->leaf_count = 0;
}

/* --- links ------------------------------------------------------------------------------------ */

/* The set's word for "gone into": a block reached as raw may have links when reached as dag-pb. */
static uint64_t gone_into(uint64_t hash, uint64_t codec) {
    return (hash ^ codec * UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xff51afd7ed558ccd) ^
           hash >> 32;
}

static bool add(struct dag *dag, struct mark *mark, uint64_t hash, const struct cid *cid) {
    int r = mark_add(mark, hash);
    if (r == MARK_FULL) {
        fail(dag, STORE_FULL, cid, "more blocks are pinned than the memory of a walk has room for");
    } else if (r < 0) {
        fail(dag, r, cid, NULL);
    }
    return r == 0;
}

static void reach(struct dag *dag, const struct cid *cid) {
    const struct store_links *links = &dag->store->config.links;
    struct key key;
    int r = cid_key(cid, &key);
    bool inner = links->has && links->has(cid->codec);
    if (!links->known || !links->known(cid->codec)) {
        fail(dag, -ENOTSUP, cid, "its codec is one whose links cannot be read here");
        return;
    }
    if (r == CID_IDENTITY && !inner) {
        return;
    }
    if (r != 0 && r != CID_IDENTITY) {
        fail(dag, STORE_ABSENT, cid, "no such hash is stored here");
        return;
    }
    bool again = false;
    if (r == 0) {
        uint64_t hash = store_hash(dag->store, &key);
        if (dag->marks) {
            (void)add(dag, dag->marks, hash, cid);
        }
        again = !(inner && !dag->shared) && !add(dag, dag->seen, hash, cid);
        again = inner ? !add(dag, dag->seen, gone_into(hash, cid->codec), cid) : again;
    }
    if (again || dag->failed != 0) {
        return;
    }
    dag->blocks += r == 0;
    if (!inner) {
        dag->leaves[dag->leaf_count++] = *cid;
        if (dag->leaf_count == DAG_LEAVES) {
            leaves_look(dag);
        }
    } else if (dag->depth < DAG_STACK_MAX) {
        dag->stack[dag->depth++] = *cid;
    } else {
        fail(dag, STORE_FULL, cid, "its DAG is wider than the memory of a walk");
    }
}

static void reach_link(void *context, const struct cid *cid) {
    struct dag *dag = context;
    if (dag->failed == 0) {
        reach(dag, cid);
    }
}

static int go_into(struct dag *dag, uint64_t codec, const uint8_t *bytes, uint32_t count) {
    return dag->store->config.links.read(codec, bytes, count, reach_link, dag) == 0 ? 0
                                                                                    : STORE_CORRUPT;
}

/* --- blocks ----------------------------------------------------------------------------------- */

enum look { LOOK_AGAIN = -1000001, LOOK_OTHER = -1000002 };

static int look_frame(struct dag *dag, uint64_t place, const struct key *key, uint64_t codec) {
    struct frame *frame = store_frame(dag->store, place);
    if (!frame_lease(frame)) {
        return LOOK_AGAIN; /* it was evicted under our eyes */
    }
    int r = LOOK_OTHER;
    if (key_equal(&frame->key, key)) {
        r = go_into(dag, codec, frame_body(frame), frame_bytes(frame));
    }
    frame_give_back(frame);
    return r;
}

static int look_disk(struct dag *dag, uint64_t place, const struct key *key, uint64_t codec) {
    int r = peek_look(dag->peek, place, PEEK_MULTIHASH);
    if (r == STORE_RETRY) {
        return LOOK_AGAIN;
    }
    if (r != 0) {
        return r;
    }
    return key_equal(&dag->peek->key, key)
               ? go_into(dag, codec, dag->peek->payload, dag->peek->bytes)
               : LOOK_OTHER;
}

static uint32_t places_of(struct dag *dag, uint64_t hash, uint64_t places[CATALOG_MATCHES_MAX]) {
    struct store *store = dag->store;
    turn_begin(&store->turns, store->porter->reader);
    uint32_t count = catalog_find(&store->catalog, hash, places);
    turn_park(&store->turns, store->porter->reader);
    return count;
}

/* One pass over what the catalog has under the hash. */
static int look(struct dag *dag, const struct key *key, uint64_t codec) {
    uint64_t hash = store_hash(dag->store, key);
    uint64_t places[CATALOG_MATCHES_MAX];
    uint32_t count = places_of(dag, hash, places);
    if (count == UINT32_MAX) {
        return LOOK_AGAIN;
    }
    int r = LOOK_OTHER;
    for (uint32_t i = 0; i < count && r == LOOK_OTHER; i++) {
        r = place_resident(places[i])
                ? look_frame(dag, places[i], key, codec)
                : look_disk(dag, places[i] & (PLACE_MASK | PLACE_STATE_MASK), key, codec);
    }
    if (r > 0) { /* damaged: but is it where the block lies still? */
        uint64_t now[CATALOG_MATCHES_MAX];
        bool same = places_of(dag, hash, now) == count;
        for (uint32_t i = 0; same && i < count; i++) {
            same = now[i] == places[i];
        }
        r = same ? r : LOOK_AGAIN;
    }
    return r;
}

static void visit(struct dag *dag, const struct cid *cid) {
    struct key key;
    if (cid_key(cid, &key) == CID_IDENTITY) {
        int r = go_into(dag, cid->codec, cid->digest, cid->digest_bytes);
        if (r != 0) {
            fail(dag, r, cid, NULL);
        }
        return;
    }
    int r = LOOK_AGAIN;
    for (uint32_t tries = 0; tries < RESOLVE_TRIES && r == LOOK_AGAIN; tries++) {
        r = look(dag, &key, cid->codec);
    }
    if (r == LOOK_OTHER) {
        uint8_t present = 0;
        struct store *store = dag->store;
        turn_begin(&store->turns, store->porter->reader);
        store_have(store, store->porter->reader, &key, &present, 1);
        turn_park(&store->turns, store->porter->reader);
        r = present == 2 ? STORE_RETRY : STORE_ABSENT;
    }
    if (r != 0) {
        fail(dag, r == LOOK_AGAIN ? STORE_RETRY : r, cid, NULL);
    }
}

/* --- the walk --------------------------------------------------------------------------------- */

void dag_begin(struct dag *dag, const struct key *root, uint64_t codec) {
    struct cid cid;
    cid_of_key(root, codec, &cid);
    dag->depth = 0;
    dag->leaf_count = 0;
    dag->failed = 0;
    dag->reason = NULL;
    reach(dag, &cid);
}

int dag_step(struct dag *dag) {
    for (uint32_t i = 0; i < DAG_STEP && dag->depth > 0 && dag->failed == 0; i++) {
        struct cid cid = dag->stack[--dag->depth];
        visit(dag, &cid);
    }
    if (dag->failed == 0 && dag->leaf_count > 0) {
        leaves_look(dag);
    }
    return dag->failed != 0 ? dag->failed : dag->depth > 0 ? DAG_MORE : 0;
}

void dag_why(const struct dag *dag, int result, char *why, size_t why_bytes) {
    struct text text = {why, why_bytes, strnlen(why, why_bytes)};
    char name[CID_TEXT_MAX];
    (void)cid_format(&dag->missing, name);
    text_add(&text, "block ");
    text_add(&text, name);
    if (dag->reason) {
        text_add(&text, ": ");
        text_add(&text, dag->reason);
    } else if (result == STORE_ABSENT) {
        text_add(&text, " is not here");
    } else if (result == STORE_CORRUPT) {
        text_add(&text, " is damaged");
    } else if (result == STORE_RETRY) {
        text_add(&text, " cannot be read now");
    } else {
        text_add(&text, ": ");
        text_add(&text, result < 0 ? err_text(result) : "it failed");
    }
}
