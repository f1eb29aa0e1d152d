/* SPDX-License-Identifier: MIT */
#include "tools/millrace/reader.h"

#include "base/bits.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/must.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PARTS_ROOM_FIRST 256u
#define LARGEST_FIRST    (256u << 10) /* taken for the largest block until a larger one came */
#define ASK_TOGETHER     16u
#define NO_SLOT          READER_SLOTS
#define NO_LEAF_YET      UINT32_MAX
#define NOT_KNOWN        UINT64_MAX

static int trouble(struct reader *reader, enum reader_fault fault, const struct mr_cid *cid) {
    reader->trouble = (struct reader_trouble){.fault = fault, .cid = *cid};
    return READER_TROUBLE;
}

/* Gives what lies between the offset and the end that were asked for. */
static int give(struct reader *reader, const uint8_t *bytes, size_t count) {
    uint64_t skip = min_u64(reader->skip, count);
    uint64_t take = min_u64(reader->left, count - skip);
    reader->skip -= skip;
    reader->left -= take;
    reader->given += take;
    return take > 0 ? reader->give(reader->context, bytes + skip, (size_t)take) : 0;
}

/* ---- blocks asked for ------------------------------------------------------------------------ */

static void slot_drop(struct reader *reader, struct reader_slot *slot) {
    reader->held -= slot->bytes;
    free(slot->data);
    *slot = (struct reader_slot){.used = false};
}

static int on_answer(void *context, const struct flight_ask *ask,
                     struct mr_completion *completion) {
    struct reader *reader = context;
    struct reader_slot *slot = &reader->slots[ask->tag];
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
        reader->held += slot->bytes;
        reader->largest = max_u32(reader->largest, slot->bytes);
    }
    return 0;
}

static uint32_t slot_free(const struct reader *reader) {
    uint32_t i = 0;
    while (i < READER_SLOTS && reader->slots[i].used) {
        i++;
    }
    return i;
}

/* Drops the held block whose turn is farthest away; it is asked for again in time. */
static bool slot_make(struct reader *reader) {
    struct reader_slot *farthest = NULL;
    for (uint32_t i = 0; i < READER_SLOTS; i++) {
        struct reader_slot *slot = &reader->slots[i];
        if (slot->used && slot->here && (farthest == NULL || slot->part < farthest->part)) {
            farthest = slot;
        }
    }
    if (farthest == NULL) {
        return false;
    }
    reader->parts[farthest->part].slot = NO_SLOT;
    slot_drop(reader, farthest);
    return true;
}

static int ask(struct reader *reader, uint64_t index, uint32_t number) {
    struct reader_part *part = &reader->parts[index];
    struct flight_ask ask = {.kind = MR_KIND_GET, .tag = number, .cid = part->cid};
    struct reader_slot *slot = &reader->slots[number];
    *slot = (struct reader_slot){.used = true, .part = index};
    part->slot = number;
    int r = flight_ask(&reader->flight, &ask);
    if (r != MR_BAD_CID) {
        return r;
    }
    /* A hash function that is not known here; told when its turn comes. */
    slot->here = true;
    slot->result = MR_BAD_CID;
    return 0;
}

static bool is_identity(const struct reader_part *part, struct cid *ret_cid) {
    size_t used;
    must(cid_read(part->cid.bytes, part->cid.size, ret_cid, &used) == 0);
    return ret_cid->hash == HASH_IDENTITY;
}

static bool room_for_more(const struct reader *reader) {
    uint64_t out = reader->flight.out;
    return out < FLIGHT_MAX && reader->held + (out + 1) * reader->largest <= READER_HELD_MAX;
}

/* ---- the stack ------------------------------------------------------------------------------- */

static int reserve(struct reader *reader, uint64_t more) {
    if (reader->count + more > reader->room) {
        uint64_t room = max_u64(max_u64(2 * reader->room, PARTS_ROOM_FIRST), reader->count + more);
        struct reader_part *parts = realloc(reader->parts, room * sizeof *parts);
        if (parts == NULL) {
            return -ENOMEM;
        }
        reader->parts = parts;
        reader->room = room;
    }
    return 0;
}

/* How many parts of a node are to be fetched: of the node on top those that lie in what was asked
 * for, of another all that have bytes. *ret_before: content of the parts left out in front. */
static int parts_count(const struct reader *reader, const struct unixfs_node *whole, bool top,
                       uint64_t *ret_count, uint64_t *ret_before) {
    struct unixfs_node node = *whole;
    struct unixfs_child child;
    uint64_t before = 0, count = 0, at = 0;
    uint64_t end = reader->left < INT64_MAX ? reader->skip + reader->left : NOT_KNOWN;
    int r;
    while ((r = unixfs_next(&node, &child)) == 0 && !(top && at >= end)) {
        at += child.file_bytes;
        if (top && at <= reader->skip) {
            before = at;
        } else if (child.file_bytes > 0) {
            count++;
        }
    }
    *ret_count = count;
    *ret_before = before;
    return r == UNIXFS_BAD ? UNIXFS_BAD : 0;
}

/* Puts a node's parts in its place, the first nearest to the top. The node's own CID is `name`: its
 * part is gone when this returns. */
static int take_apart(struct reader *reader, uint64_t index, const struct unixfs_node *whole,
                      const struct mr_cid *name) {
    bool top = index + 1 == reader->count;
    uint32_t depth = reader->parts[index].depth + 1;
    struct unixfs_node node = *whole;
    struct unixfs_child child;
    uint64_t count, before, at = 0;
    if (parts_count(reader, whole, top, &count, &before) != 0) {
        return trouble(reader, READER_MALFORMED, name);
    }
    if (depth > READER_DEPTH_MAX || reader->count + count > READER_WAITING_MAX) {
        return trouble(reader, READER_TOO_DEEP, name);
    }
    int r = reserve(reader, count);
    if (r != 0) {
        return r;
    }
    uint64_t above = reader->count - index - 1;
    memmove(&reader->parts[index + count], &reader->parts[index + 1],
            above * sizeof reader->parts[0]);
    for (uint32_t i = 0; i < READER_SLOTS; i++) {
        struct reader_slot *slot = &reader->slots[i];
        slot->part += slot->used && slot->part > index ? count - 1 : 0;
    }
    reader->count += count;
    reader->count--;
    reader->skip -= before;
    for (uint64_t place = index + count; place > index && unixfs_next(&node, &child) == 0;) {
        at += child.file_bytes;
        if (child.file_bytes == 0 || at <= before) {
            continue;
        }
        struct reader_part *part = &reader->parts[--place];
        *part = (struct reader_part){.bytes = child.file_bytes, .slot = NO_SLOT, .depth = depth};
        part->cid.size = (uint32_t)cid_write(&child.cid, part->cid.bytes);
    }
    return 0;
}

/* A part with parts of its own, as far as can be told before it is here: leaves of a file lie at
 * one depth, which is known once one was met. */
static bool is_node(const struct reader *reader, const struct reader_part *part) {
    bool above_leaves = reader->leaf_depth == NO_LEAF_YET || part->depth < reader->leaf_depth;
    return above_leaves && mr_cid_codec(&part->cid) == CID_DAG_PB;
}

/* A node that is here before its turn: its parts can be asked for now. Returns: 0 and *ret_done;
 * what is wrong with it is found at its turn. */
static int take_apart_early(struct reader *reader, uint64_t index, bool *ret_done) {
    struct reader_part *part = &reader->parts[index];
    struct reader_slot *slot = &reader->slots[part->slot];
    struct unixfs_node node;
    struct mr_cid name = part->cid;
    *ret_done = false;
    bool sound = slot->here && slot->result == 0 && slot->bytes > 0 &&
                 unixfs_read(slot->data, slot->bytes, &node) == 0 && node.type == UNIXFS_FILE &&
                 node.links > 0 && node.data_bytes == 0 && node.file_bytes == part->bytes;
    if (!sound) {
        return 0;
    }
    int r = take_apart(reader, index, &node, &name);
    if (r == 0) {
        slot_drop(reader, slot);
        *ret_done = true;
    }
    return r;
}

/* Asks for what will be wanted soon, nearest first, as far as there is room for the answers. */
static int look_ahead(struct reader *reader) {
    uint64_t ahead = 0;
    uint64_t wanted = reader->left < INT64_MAX ? reader->skip + reader->left : NOT_KNOWN;
    for (uint64_t index = reader->count; index-- > 0 && ahead < wanted;) {
        struct reader_part *part = &reader->parts[index];
        struct cid cid;
        bool asked = part->slot != NO_SLOT;
        if (!asked && !is_identity(part, &cid)) {
            uint32_t number = slot_free(reader);
            if (number == NO_SLOT || !room_for_more(reader)) {
                return 0;
            }
            int r = ask(reader, index, number);
            if (r != 0) {
                return r;
            }
            part = &reader->parts[index];
            asked = true;
        }
        ahead += part->bytes;
        if (!is_node(reader, part)) {
            continue;
        }
        if (!asked) {
            return 0; /* its turn takes it apart */
        }
        /* What is behind a node is not near; its parts are, once it is here. */
        bool done = false;
        int r = index + 1 < reader->count ? take_apart_early(reader, index, &done) : 0;
        if (r != 0 || !done) {
            return r;
        }
        index = reader->count;
        ahead = 0;
    }
    return 0;
}

/* ---- turns ----------------------------------------------------------------------------------- */

static int no_file(struct reader *reader, const struct mr_cid *name,
                   const struct unixfs_node *node) {
    (void)trouble(reader, READER_NO_FILE, name);
    reader->trouble.type = node->type;
    if (node->type == UNIXFS_SYMLINK) {
        size_t shown = node->data_bytes < 60 ? node->data_bytes : 60;
        log_escape(reader->trouble.target, sizeof reader->trouble.target, node->data, shown);
    }
    return READER_TROUBLE;
}

/* The part on top has its block. */
static int visit(struct reader *reader, const struct mr_cid *name, uint64_t codec,
                 const uint8_t *data, size_t count) {
    struct reader_part *part = &reader->parts[reader->count - 1];
    struct unixfs_node node = {.type = UNIXFS_RAW, .data = data, .data_bytes = count};
    node.file_bytes = count;
    if (codec == CID_DAG_PB && unixfs_read(data, count, &node) != 0) {
        return trouble(reader, READER_MALFORMED, name);
    }
    if (codec != CID_DAG_PB && codec != CID_RAW) {
        return trouble(reader, READER_STRANGE, name);
    }
    if (node.type != UNIXFS_FILE && node.type != UNIXFS_RAW) {
        return no_file(reader, name, &node);
    }
    if (part->bytes == NOT_KNOWN) {
        reader->size = node.file_bytes;
    } else if (part->bytes != node.file_bytes) {
        return trouble(reader, READER_UNEVEN, name);
    }
    int r = give(reader, node.data, node.data_bytes);
    if (r != 0) {
        return r;
    }
    if (node.links == 0) {
        reader->leaf_depth = part->depth;
        reader->count--;
        return 0;
    }
    return take_apart(reader, reader->count - 1, &node, name);
}

static int turn(struct reader *reader) {
    struct reader_part *part = &reader->parts[reader->count - 1];
    struct mr_cid name = part->cid;
    struct cid cid;
    if (is_identity(part, &cid)) {
        return visit(reader, &name, cid.codec, cid.digest, cid.digest_bytes);
    }
    /* Several at a time: one for each that came would be a packet each. */
    bool thirsty = part->slot == NO_SLOT || reader->flight.out + ASK_TOGETHER <= FLIGHT_MAX;
    int r = thirsty ? look_ahead(reader) : 0;
    if (r != 0) {
        return r;
    }
    part = &reader->parts[reader->count - 1];
    if (part->slot == NO_SLOT) {
        /* No room was found for it: its turn makes room. */
        return slot_make(reader) ? 0 : flight_step(&reader->flight);
    }
    struct reader_slot *slot = &reader->slots[part->slot];
    if (!slot->here) {
        return flight_step(&reader->flight);
    }
    if (slot->result != 0) {
        (void)trouble(reader, READER_NOT_HAD, &name);
        reader->trouble.result = slot->result;
        reader->trouble.code = slot->code;
        return READER_TROUBLE;
    }
    static const uint8_t nothing[1];
    r = visit(reader, &name, cid.codec, slot->data != NULL ? slot->data : nothing, slot->bytes);
    slot_drop(reader, slot);
    return r;
}

int reader_file(struct reader *reader, struct mr_client *client, const struct mr_cid *root,
                uint64_t offset, uint64_t length, reader_give give_, void *context) {
    memset(reader, 0, sizeof *reader);
    reader->give = give_;
    reader->context = context;
    reader->skip = offset;
    reader->left = length;
    reader->largest = LARGEST_FIRST;
    reader->leaf_depth = NO_LEAF_YET;
    flight_begin(&reader->flight, client, on_answer, reader);
    int r = reserve(reader, 1);
    if (r == 0) {
        reader->parts[reader->count++] =
            (struct reader_part){.bytes = NOT_KNOWN, .slot = NO_SLOT, .cid = *root};
    }
    while (r == 0 && reader->count > 0 && reader->left > 0) {
        r = turn(reader);
    }
    /* What was asked for ahead of its turn may be out: the client forgets it with itself. */
    flight_end(&reader->flight);
    for (uint32_t i = 0; i < READER_SLOTS; i++) {
        free(reader->slots[i].data);
    }
    free(reader->parts);
    reader->parts = NULL;
    return r;
}
