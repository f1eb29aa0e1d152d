/* SPDX-License-Identifier: MIT */
#include "store/repair.h"

#include "base/bits.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/must.h"
#include "store/compact.h"
#include "store/inside.h"
#include "store/move.h"

#include <errno.h>
#include <string.h>
#include <xxhash.h>

#define STEP_BYTES (1 * MiB) /* of footers */

int repair_open(struct repair *repair, struct porter *porter) {
    *repair = (struct repair){.porter = porter, .store = porter->store};
    repair->body_bytes = round_up(STORE_BLOCK_HARD_MAX, PAGE_BYTES);
    repair->body = vm_map(repair->body_bytes);
    repair->page = vm_map(PAGE_BYTES);
    int r = repair->body && repair->page ? 0 : err_raise(-ENOMEM);
    return r == 0 ? peek_open(&repair->peek, repair->store) : r;
}

void repair_close(struct repair *repair) {
    peek_close(&repair->peek);
    footer_close(&repair->footer);
    vm_unmap(repair->body, repair->body_bytes);
    vm_unmap(repair->page, PAGE_BYTES);
    *repair = (struct repair){.store = NULL};
}

bool footer_key(const struct footer_entry *entry, struct key *ret_key) {
    if (entry->digest_bytes > FOOTER_PREFIX) {
        return false;
    }
    *ret_key = (struct key){.code = entry->hash_code, .digest_bytes = entry->digest_bytes};
    memcpy(ret_key->digest, entry->digest, entry->digest_bytes);
    return true;
}

void repair_header(struct record_header *header, const struct repair_item *item, uint32_t bytes,
                   uint64_t payload_xxh3) {
    uint8_t multihash[KEY_MULTIHASH_MAX];
    uint32_t count = (uint32_t)key_write(&item->key, multihash);
    memset(header, 0, RECORD_HEADER_MAX);
    *header = (struct record_header){.magic = RECORD_MAGIC,
                                     .type = RECORD_BLOCK,
                                     .header_bytes = (uint16_t)record_header_bytes(count),
                                     .stored_bytes = bytes,
                                     .logical_bytes = bytes,
                                     .codec = item->codec,
                                     .multihash_bytes = (uint16_t)count,
                                     .version = 1,
                                     .payload_xxh3 = payload_xxh3,
                                     .birth_lsn = item->birth_lsn};
    memcpy((uint8_t *)header + RECORD_FIXED, multihash, count);
}

static bool sound(const struct key *key, const uint8_t *bytes, uint32_t count) {
    uint8_t digest[HASH_DIGEST_MAX];
    return hash_compute(key->code, bytes, count, digest, key->digest_bytes) == 0 &&
           memcmp(digest, key->digest, key->digest_bytes) == 0;
}

static void found(struct repair *repair, const struct repair_item *item, const uint8_t *bytes,
                  uint32_t count) {
    repair->payload = bytes;
    repair_header(&repair->header, item, count, XXH3_64bits(bytes, count));
}

/* --- what is wanted --------------------------------------------------------------------------- */

static bool is_live(const struct repair *repair, const struct repair_item *item) {
    struct store *store = repair->store;
    turn_begin(&store->turns, repair->porter->reader);
    bool live = store_entry(store, item->hash, item->place).bucket != NULL;
    turn_park(&store->turns, repair->porter->reader);
    return live;
}

bool repair_add(struct repair *repair, const struct repair_item *item) {
    must(repair->phase == REPAIR_GATHER);
    if (repair->count == REPAIR_ITEMS_MAX) {
        return false;
    }
    struct repair_item *added = &repair->items[repair->count++];
    *added = *item;
    added->outcome = REPAIR_WANTED;
    repair->wanted++;
    repair->some[item->hash % 1024 / 8] |= (uint8_t)(1u << item->hash % 8);
    return true;
}

void repair_clear(struct repair *repair) {
    repair->phase = REPAIR_GATHER;
    repair->count = repair->wanted = repair->at = repair->id = 0;
    repair->loaded = repair->held = false;
    memset(repair->some, 0, sizeof repair->some);
}

uint32_t repair_count(const struct repair *repair, enum repair_outcome outcome) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < repair->count; i++) {
        count += repair->items[i].outcome == outcome;
    }
    return count;
}

/* --- where there is one ----------------------------------------------------------------------- */

static bool in_memory(struct repair *repair, const struct repair_item *item) {
    struct store *store = repair->store;
    uint64_t places[CATALOG_MATCHES_MAX];
    bool taken = false;
    turn_begin(&store->turns, repair->porter->reader);
    uint32_t count = catalog_find(&store->catalog, item->hash, places);
    for (uint32_t i = 0; i < count && count != UINT32_MAX && !taken; i++) {
        struct frame *frame = place_resident(places[i]) ? store_frame(store, places[i]) : NULL;
        if (!frame || !frame_lease(frame)) {
            continue;
        }
        uint32_t bytes = frame_bytes(frame);
        if (key_equal(&frame->key, &item->key) && bytes <= repair->body_bytes) {
            memcpy(repair->body, frame_body(frame), bytes);
            taken = sound(&item->key, repair->body, bytes);
        }
        frame_give_back(frame);
        if (taken) {
            found(repair, item, repair->body, bytes);
        }
    }
    turn_park(&store->turns, repair->porter->reader);
    return taken;
}

static bool same_key(const struct footer_entry *entry, const struct repair_item *item) {
    return entry->hash == item->hash && entry->hash_code == item->key.code &&
           entry->digest_bytes == item->key.digest_bytes &&
           memcmp(entry->digest, item->key.digest, min_u32(entry->digest_bytes, FOOTER_PREFIX)) ==
               0;
}

/* The item that this entry may be a copy of; NULL: none. */
static struct repair_item *item_of(struct repair *repair, const struct footer_entry *entry) {
    if (!(repair->some[entry->hash % 1024 / 8] >> entry->hash % 8 & 1) ||
        (entry->type_flags & 15) != RECORD_BLOCK) {
        return NULL;
    }
    for (uint32_t i = 0; i < repair->count; i++) {
        struct repair_item *item = &repair->items[i];
        if (item->outcome == REPAIR_WANTED && same_key(entry, item)) {
            return item;
        }
    }
    return NULL;
}

static bool copy_at(struct repair *repair, const struct repair_item *item,
                    const struct footer_entry *entry) {
    uint64_t place = footer_place(repair->store, repair->id, entry);
    bool other = ((place ^ item->place) & PLACE_MASK) != 0;
    if (!other || peek_look(&repair->peek, place, PEEK_MULTIHASH) != 0 ||
        !key_equal(&repair->peek.key, &item->key)) {
        return false;
    }
    found(repair, item, repair->peek.payload, repair->peek.bytes);
    return true;
}

/* --- the steps -------------------------------------------------------------------------------- */

static void hold(struct repair *repair, const struct repair_item *item) {
    repair->held = true;
    repair->holder = (uint32_t)(item - repair->items);
}

/* The copy goes to the mover. Returns: false: it is busy, come again. */
static bool hand_over(struct repair *repair) {
    struct repair_item *item = &repair->items[repair->holder];
    struct move_record record = {&repair->header, repair->payload, item->hash, item->place};
    int r = move_add(porter_mover(repair->porter), item->tier, &record);
    if (r == MOVE_BUSY) {
        return false;
    }
    item->outcome = r == 0 ? REPAIR_ADDED : REPAIR_NO_ROOM;
    repair->held = false;
    repair->wanted--;
    return true;
}

static void step_memory(struct repair *repair) {
    bool taken = false;
    while (repair->at < repair->count && !taken) {
        const struct repair_item *item = &repair->items[repair->at++];
        taken = in_memory(repair, item);
        if (taken) {
            hold(repair, item);
        }
    }
    if (!taken) {
        repair->phase = REPAIR_SEGMENTS;
        repair->id = repair->at = 0;
        repair->loaded = false;
    }
}

/* The footer of the segment after the last. Returns: bytes of it; 0: it has none that can be read.
 */
static uint64_t load(struct repair *repair) {
    struct segments *segments = &repair->store->segments;
    struct segment *segment = &segments->all[++repair->id];
    struct segment_trailer trailer;
    if (segment_state(segment) != SEGMENT_SEALED || !segment_pin(segment)) {
        return 0;
    }
    int r = trailer_read(segments, segment, repair->page);
    if (r == 0) {
        memcpy(&trailer, repair->page, sizeof trailer);
        r = footer_read(segments, segment, &trailer, &repair->footer);
    }
    segment_unpin(segment);
    repair->loaded = r == 0;
    repair->at = 0;
    return PAGE_BYTES + (r == 0 ? repair->footer.count * sizeof(struct footer_entry) : 0);
}

/* The rest of the footer that is loaded. Returns: true: a copy was found. */
static bool search(struct repair *repair) {
    while (repair->at < repair->footer.count) {
        const struct footer_entry *entry = &repair->footer.entries[repair->at++];
        const struct repair_item *item = item_of(repair, entry);
        if (item && copy_at(repair, item, entry)) {
            hold(repair, item);
            return true;
        }
    }
    repair->loaded = false;
    return false;
}

static void step_segments(struct repair *repair) {
    uint32_t top = repair->store->segments.top;
    for (uint64_t bytes = 0; bytes < STEP_BYTES && repair->wanted > 0;) {
        if (repair->loaded) {
            if (search(repair)) {
                return;
            }
        } else if (repair->id + 1 < top) {
            bytes += load(repair);
        } else {
            break;
        }
    }
    if (repair->wanted == 0 || (!repair->loaded && repair->id + 1 >= top)) {
        move_flush(porter_mover(repair->porter));
        repair->phase = REPAIR_SETTLE;
    }
}

/* What is there by now. Returns: every item has its outcome. */
static bool settle(struct repair *repair) {
    bool settled =
        move_settled(porter_mover(repair->porter)); /* before the entries are looked at */
    bool over = true;
    for (uint32_t i = 0; i < repair->count; i++) {
        struct repair_item *item = &repair->items[i];
        bool live = is_live(repair, item);
        if (item->outcome == REPAIR_WANTED) {
            item->outcome = live ? REPAIR_NO_COPY : REPAIR_GONE;
        } else if (item->outcome == REPAIR_ADDED && (!live || settled)) {
            item->outcome = live ? REPAIR_NO_ROOM : REPAIR_MENDED;
        }
        over = over && item->outcome != REPAIR_ADDED;
    }
    return over;
}

/* Counted, and whoever may know a copy elsewhere is told of what has none here. */
static void report(const struct repair *repair) {
    struct upkeep_counters *counters = &repair->porter->counters;
    counter_add(&counters->repairs, repair_count(repair, REPAIR_MENDED));
    counter_add(&counters->repairs_no_room, repair_count(repair, REPAIR_NO_ROOM));
    for (uint32_t i = 0; i < repair->count; i++) {
        if (repair->items[i].outcome == REPAIR_NO_COPY) {
            porter_lost(repair->porter, &repair->items[i].key, repair->items[i].codec);
        }
    }
}

uint32_t repair_step(struct repair *repair, bool *ret_over) {
    *ret_over = false;
    if (repair->held) {
        return hand_over(repair);
    }
    switch (repair->phase) {
    case REPAIR_GATHER:
        repair->phase = REPAIR_MEMORY;
        repair->at = 0;
        return 1;
    case REPAIR_MEMORY:
        step_memory(repair);
        return 1;
    case REPAIR_SEGMENTS:
        step_segments(repair);
        return 1;
    case REPAIR_SETTLE:
        *ret_over = settle(repair);
        if (*ret_over) {
            report(repair);
        }
        return *ret_over;
    }
    never("a repair in no phase");
}
