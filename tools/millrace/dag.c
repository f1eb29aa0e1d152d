/* SPDX-License-Identifier: MIT */
#include "tools/millrace/dag.h"

#include "base/bits.h"
#include "base/cid.h"
#include "base/hash.h"
#include "base/must.h"
#include "proto/ipld/links.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SEEN_ROOM_FIRST  4096u
#define LINKS_ROOM_FIRST 1024u
#define LARGEST_FIRST    (256u << 10) /* taken for the largest block until a larger one came */

static bool tag_equal(const uint8_t *a, const uint8_t *b) {
    return memcmp(a, b, DAG_TAG_BYTES) == 0;
}

/* A hash that nobody can aim at: two CIDs with one tag would lose a block. */
static void tag_make(const uint8_t *name, size_t bytes, uint8_t tag[DAG_TAG_BYTES]) {
    uint8_t digest[32];
    must(hash_compute(HASH_SHA2_256, name, bytes, digest, sizeof digest) == 0);
    memcpy(tag, digest, DAG_TAG_BYTES);
    tag[0] |= 1; /* all zero is a free place */
}

/* ---- CIDs seen ---- */

static uint8_t *seen_place(struct dag *dag, const uint8_t *tag) {
    static const uint8_t none[DAG_TAG_BYTES];
    uint64_t mask = dag->seen_room - 1;
    for (uint64_t at = get_le64(tag + 8) & mask;; at = (at + 1) & mask) {
        uint8_t *place = dag->seen[at];
        if (tag_equal(place, tag) || tag_equal(place, none)) {
            return place;
        }
    }
}

static bool seen_has(struct dag *dag, const uint8_t *tag) {
    return tag_equal(seen_place(dag, tag), tag);
}

static int seen_grow(struct dag *dag) {
    static const uint8_t none[DAG_TAG_BYTES];
    uint64_t old_room = dag->seen_room;
    uint8_t(*old)[DAG_TAG_BYTES] = dag->seen;
    uint64_t room = old_room == 0 ? SEEN_ROOM_FIRST : 2 * old_room;
    uint8_t(*seen)[DAG_TAG_BYTES] = calloc(room, sizeof *seen);
    if (seen == NULL) {
        return -ENOMEM;
    }
    dag->seen = seen;
    dag->seen_room = room;
    for (uint64_t i = 0; i < old_room; i++) {
        if (!tag_equal(old[i], none)) {
            memcpy(seen_place(dag, old[i]), old[i], DAG_TAG_BYTES);
        }
    }
    free(old);
    return 0;
}

static int seen_add(struct dag *dag, const uint8_t *tag) {
    if (4 * (dag->seen_count + 1) > 3 * dag->seen_room) {
        int r = seen_grow(dag);
        if (r != 0) {
            return r;
        }
    }
    memcpy(seen_place(dag, tag), tag, DAG_TAG_BYTES);
    dag->seen_count++;
    return 0;
}

/* ---- what waits ---- */

static int stack_reserve(struct dag *dag, uint64_t links, uint64_t name_bytes) {
    if (dag->count + links > dag->room) {
        uint64_t room = max_u64(max_u64(2 * dag->room, LINKS_ROOM_FIRST), dag->count + links);
        struct dag_link *more = realloc(dag->links, room * sizeof *more);
        if (more == NULL) {
            return -ENOMEM;
        }
        dag->links = more;
        dag->room = room;
    }
    if (dag->names_used + name_bytes > dag->names_room) {
        uint64_t room = max_u64(max_u64(2 * dag->names_room, (uint64_t)LINKS_ROOM_FIRST * 40),
                                dag->names_used + name_bytes);
        uint8_t *more = realloc(dag->names, room);
        if (more == NULL) {
            return -ENOMEM;
        }
        dag->names = more;
        dag->names_room = room;
    }
    return 0;
}

static void link_name(const struct dag *dag, uint64_t index, struct mr_cid *ret_cid) {
    uint64_t from = dag->links[index].name;
    uint64_t to = index + 1 < dag->count ? dag->links[index + 1].name : dag->names_used;
    must(to - from <= sizeof ret_cid->bytes);
    ret_cid->size = (uint32_t)(to - from);
    memcpy(ret_cid->bytes, dag->names + from, to - from);
}

static void stack_pop(struct dag *dag) {
    dag->count--;
    dag->names_used = dag->links[dag->count].name;
}

static void link_set(struct dag *dag, uint64_t index, uint64_t name, const uint8_t *bytes,
                     size_t count) {
    struct dag_link *link = &dag->links[index];
    memcpy(dag->names + name, bytes, count);
    link->name = name;
    link->looked = false;
    tag_make(bytes, count, link->tag);
}

static int push_root(struct dag *dag, const struct mr_cid *root) {
    int r = stack_reserve(dag, 1, root->size);
    if (r == 0) {
        link_set(dag, dag->count++, dag->names_used, root->bytes, root->size);
        dag->names_used += root->size;
    }
    return r;
}

static int trouble(struct dag *dag, const struct mr_cid *cid, enum dag_fault fault) {
    struct dag_trouble what = {.cid = cid, .fault = fault};
    return dag->calls.on_trouble(dag->calls.context, &what);
}

/* Puts what a block links to on the stack, the first link on top. The names are laid down from the
 * last to the first too, so that popping a link gives back the room of its name. */
static int push_links(struct dag *dag, const struct mr_cid *name, uint64_t codec, const void *data,
                      uint32_t bytes) {
    struct links links;
    struct cid cid;
    uint8_t out[CID_BYTES_MAX];
    uint64_t count = 0, name_bytes = 0;
    int r;
    if (!links_codec_known(codec)) {
        return trouble(dag, name, DAG_STRANGE);
    }
    links_init(&links, codec, data, bytes);
    while ((r = links_next(&links, &cid)) == 0) {
        count++;
        name_bytes += cid_write(&cid, out);
    }
    if (r == LINKS_BAD) {
        return trouble(dag, name, DAG_MALFORMED);
    }
    if (dag->count + count > DAG_WAITING_MAX) {
        return trouble(dag, name, DAG_TOO_WIDE);
    }
    r = stack_reserve(dag, count, name_bytes);
    if (r != 0) {
        return r;
    }
    dag->count += count;
    dag->names_used += name_bytes;
    uint64_t index = dag->count, place = dag->names_used;
    links_init(&links, codec, data, bytes);
    while (links_next(&links, &cid) == 0) {
        size_t size = cid_write(&cid, out);
        place -= size;
        link_set(dag, --index, place, out, size);
    }
    return 0;
}

/* ---- blocks asked for ---- */

static struct dag_slot *slot_of(struct dag *dag, const uint8_t *tag) {
    for (uint32_t i = 0; i < DAG_SLOTS; i++) {
        if (dag->slots[i].used && tag_equal(dag->slots[i].tag, tag)) {
            return &dag->slots[i];
        }
    }
    return NULL;
}

static struct dag_slot *slot_free(struct dag *dag) {
    for (uint32_t i = 0; i < DAG_SLOTS; i++) {
        if (!dag->slots[i].used) {
            return &dag->slots[i];
        }
    }
    return NULL;
}

static void slot_drop(struct dag *dag, struct dag_slot *slot) {
    dag->held -= slot->bytes;
    free(slot->data);
    *slot = (struct dag_slot){.used = false};
}

/* Drops the held block whose turn is farthest away, if that is farther than link `index`'s. */
static bool slot_make(struct dag *dag, uint64_t index) {
    struct dag_slot *farthest = NULL;
    for (uint32_t i = 0; i < DAG_SLOTS; i++) {
        struct dag_slot *slot = &dag->slots[i];
        if (slot->used && slot->here && (farthest == NULL || slot->link < farthest->link)) {
            farthest = slot;
        }
    }
    if (farthest == NULL || farthest->link >= index) {
        return false;
    }
    struct dag_link *link = &dag->links[farthest->link];
    if (farthest->link < dag->count && tag_equal(link->tag, farthest->tag)) {
        link->looked = false;
    }
    slot_drop(dag, farthest);
    return true;
}

static int on_answer(void *context, const struct flight_ask *ask,
                     struct mr_completion *completion) {
    struct dag *dag = context;
    struct dag_slot *slot = &dag->slots[ask->tag];
    must(slot->used);
    must(!slot->here);
    slot->here = true;
    slot->result = completion->result;
    slot->code = completion->fault;
    if (completion->result == 0) {
        must(completion->data_owned || completion->size == 0);
        slot->data = completion->data_owned ? completion->data : NULL;
        completion->data_owned = false;
        slot->bytes = (uint32_t)completion->size;
        dag->held += slot->bytes;
        dag->largest = max_u32(dag->largest, slot->bytes);
    }
    return 0;
}

static int ask(struct dag *dag, struct dag_slot *slot, uint64_t index) {
    struct flight_ask ask = {.kind = MR_KIND_GET, .tag = (uint64_t)(slot - dag->slots)};
    link_name(dag, index, &ask.cid);
    *slot = (struct dag_slot){.used = true, .link = index};
    memcpy(slot->tag, dag->links[index].tag, DAG_TAG_BYTES);
    dag->links[index].looked = true;
    int r = flight_ask(&dag->flight, &ask);
    if (r != MR_BAD_CID) {
        return r;
    }
    /* A hash function that is not known here; told when its turn comes. */
    slot->here = true;
    slot->result = MR_BAD_CID;
    return 0;
}

static bool is_identity(const struct dag *dag, uint64_t index, struct cid *ret_cid,
                        struct mr_cid *ret_name) {
    size_t used;
    link_name(dag, index, ret_name);
    must(cid_read(ret_name->bytes, ret_name->size, ret_cid, &used) == 0);
    return ret_cid->hash == HASH_IDENTITY;
}

static bool room_for_more(const struct dag *dag) {
    return dag->held + (uint64_t)(dag->flight.out + 1) * dag->largest <= DAG_HELD_MAX;
}

/* Asks for what will be wanted soon, nearest first, as far as there is room for the answers. */
static int look_ahead(struct dag *dag) {
    uint64_t end = dag->count > DAG_LOOK ? dag->count - DAG_LOOK : 0;
    for (uint64_t index = dag->count; index-- > end;) {
        struct dag_link *link = &dag->links[index];
        struct mr_cid name;
        struct cid cid;
        if (link->looked) {
            continue;
        }
        if (dag->flight.out == FLIGHT_MAX) {
            return 0;
        }
        if (seen_has(dag, link->tag) || slot_of(dag, link->tag) ||
            is_identity(dag, index, &cid, &name)) {
            link->looked = true;
            continue;
        }
        struct dag_slot *slot;
        while ((slot = slot_free(dag)) == NULL || !room_for_more(dag)) {
            if (!slot_make(dag, index)) {
                return 0;
            }
        }
        int r = ask(dag, slot, index);
        if (r != 0) {
            return r;
        }
    }
    return 0;
}

/* ---- turns ---- */

/* The link on top has its block: tells it, and puts what it links to in its place. */
static int visit(struct dag *dag, const struct mr_cid *name, uint64_t codec, const void *data,
                 uint32_t bytes) {
    int r = seen_add(dag, dag->links[dag->count - 1].tag);
    if (r != 0) {
        return r;
    }
    stack_pop(dag);
    data = data != NULL ? data : "";
    r = dag->calls.on_block(dag->calls.context, name, data, bytes);
    return r != 0 ? r : push_links(dag, name, codec, data, bytes);
}

static int miss(struct dag *dag, const struct mr_cid *name, const struct dag_slot *slot) {
    struct dag_trouble what = {
        .cid = name, .fault = DAG_NOT_HAD, .result = slot->result, .code = slot->code};
    int r = seen_add(dag, dag->links[dag->count - 1].tag); /* once is enough to say it */
    stack_pop(dag);
    return r != 0 ? r : dag->calls.on_trouble(dag->calls.context, &what);
}

static int turn(struct dag *dag) {
    uint64_t top = dag->count - 1;
    struct mr_cid name;
    struct cid cid;
    if (seen_has(dag, dag->links[top].tag)) {
        stack_pop(dag);
        return 0;
    }
    if (is_identity(dag, top, &cid, &name)) {
        return visit(dag, &name, cid.codec, cid.digest, cid.digest_bytes);
    }
    int r = look_ahead(dag);
    struct dag_slot *slot = slot_of(dag, dag->links[top].tag);
    if (r == 0 && slot == NULL) {
        /* No room was found for it: its turn makes room. Not all slots can be out at once. */
        static_assert(DAG_SLOTS > FLIGHT_MAX, "a slot is free or held");
        slot = slot_free(dag);
        if (slot == NULL) {
            must(slot_make(dag, UINT64_MAX));
            slot = slot_free(dag);
        }
        return ask(dag, slot, top);
    }
    if (r != 0 || !slot->here) {
        return r != 0 ? r : flight_step(&dag->flight);
    }
    r = slot->result != 0 ? miss(dag, &name, slot)
                          : visit(dag, &name, cid.codec, slot->data, slot->bytes);
    slot_drop(dag, slot);
    return r;
}

int dag_walk(struct dag *dag, struct mr_client *client, const struct mr_cid *root,
             const struct dag_calls *calls) {
    memset(dag, 0, sizeof *dag);
    dag->calls = *calls;
    dag->largest = LARGEST_FIRST;
    flight_begin(&dag->flight, client, on_answer, dag);
    int r = seen_grow(dag);
    r = r == 0 ? push_root(dag, root) : r;
    while (r == 0 && dag->count > 0) {
        r = turn(dag);
    }
    must(r != 0 || dag->flight.out == 0);
    /* Else what was asked for ahead of its turn may be out: the client forgets it with itself. */
    flight_end(&dag->flight);
    for (uint32_t i = 0; i < DAG_SLOTS; i++) {
        free(dag->slots[i].data);
    }
    free(dag->links);
    free(dag->names);
    free(dag->seen);
    return r;
}
