/* SPDX-License-Identifier: MIT */
#include "store/repair.h"

#include "base/bits.h"
#include "base/err.h"
#include "base/hash.h"
#include "store/inside.h"

#include <errno.h>
#include <string.h>
#include <xxhash.h>

int repair_open(struct repair *repair, struct store *store, uint32_t reader) {
    *repair = (struct repair){.store = store, .reader = reader};
    repair->body_bytes = round_up(STORE_BLOCK_HARD_MAX, PAGE_BYTES);
    repair->body = vm_map(repair->body_bytes);
    repair->page = vm_map(PAGE_BYTES);
    int r = repair->body && repair->page ? 0 : err_raise(-ENOMEM);
    return r == 0 ? peek_open(&repair->peek, store) : r;
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

void repair_header(struct record_header *header, const struct repair_want *want, uint32_t bytes,
                   uint64_t payload_xxh3) {
    uint8_t multihash[KEY_MULTIHASH_MAX];
    uint32_t count = (uint32_t)key_write(want->key, multihash);
    memset(header, 0, RECORD_HEADER_MAX);
    *header = (struct record_header){.magic = RECORD_MAGIC,
                                     .type = RECORD_BLOCK,
                                     .header_bytes = (uint16_t)record_header_bytes(count),
                                     .stored_bytes = bytes,
                                     .logical_bytes = bytes,
                                     .codec = want->codec,
                                     .multihash_bytes = (uint16_t)count,
                                     .version = 1,
                                     .payload_xxh3 = payload_xxh3,
                                     .birth_lsn = want->birth_lsn};
    memcpy((uint8_t *)header + RECORD_FIXED, multihash, count);
}

static bool sound(const struct key *key, const uint8_t *bytes, uint32_t count) {
    uint8_t digest[HASH_DIGEST_MAX];
    return hash_compute(key->code, bytes, count, digest, key->digest_bytes) == 0 &&
           memcmp(digest, key->digest, key->digest_bytes) == 0;
}

static void found(struct repair *repair, const struct repair_want *want, const uint8_t *bytes,
                  uint32_t count) {
    repair->payload = bytes;
    repair_header(&repair->header, want, count, XXH3_64bits(bytes, count));
}

static bool in_memory(struct repair *repair, const struct repair_want *want) {
    struct store *store = repair->store;
    uint64_t places[CATALOG_MATCHES_MAX];
    bool taken = false;
    turn_begin(&store->turns, repair->reader);
    uint32_t count = catalog_find(&store->catalog, want->hash, places);
    for (uint32_t i = 0; i < count && count != UINT32_MAX && !taken; i++) {
        struct frame *frame = place_resident(places[i]) ? store_frame(store, places[i]) : NULL;
        if (!frame || !frame_lease(frame)) {
            continue;
        }
        uint32_t bytes = frame_bytes(frame);
        if (key_equal(&frame->key, want->key) && bytes <= repair->body_bytes) {
            memcpy(repair->body, frame_body(frame), bytes);
            taken = sound(want->key, repair->body, bytes);
        }
        frame_give_back(frame);
        if (taken) {
            found(repair, want, repair->body, bytes);
        }
    }
    turn_park(&store->turns, repair->reader);
    return taken;
}

static bool same_key(const struct footer_entry *entry, const struct repair_want *want) {
    return entry->hash == want->hash && (entry->type_flags & 15) == RECORD_BLOCK &&
           entry->hash_code == want->key->code && entry->digest_bytes == want->key->digest_bytes &&
           memcmp(entry->digest, want->key->digest, min_u32(entry->digest_bytes, FOOTER_PREFIX)) ==
               0;
}

static bool in_segment(struct repair *repair, const struct repair_want *want,
                       const struct segment *segment) {
    struct store *store = repair->store;
    struct segment_trailer trailer;
    if (trailer_read(&store->segments, segment, repair->page) != 0) {
        return false;
    }
    memcpy(&trailer, repair->page, sizeof trailer);
    if (footer_read(&store->segments, segment, &trailer, &repair->footer) != 0) {
        return false;
    }
    for (uint32_t i = 0; i < repair->footer.count; i++) {
        const struct footer_entry *entry = &repair->footer.entries[i];
        if (!same_key(entry, want)) {
            continue;
        }
        uint64_t place = footer_place(store, segment->id, entry);
        bool other = ((place ^ want->place) & PLACE_MASK) != 0;
        if (other && peek_look(&repair->peek, place, PEEK_MULTIHASH) == 0 &&
            key_equal(&repair->peek.key, want->key)) {
            found(repair, want, repair->peek.payload, repair->peek.bytes);
            return true;
        }
    }
    return false;
}

int repair_find(struct repair *repair, const struct repair_want *want) {
    struct segments *segments = &repair->store->segments;
    if (in_memory(repair, want)) {
        return 0;
    }
    for (uint32_t id = 1; id < segments->top; id++) {
        struct segment *segment = &segments->all[id];
        if (segment_state(segment) != SEGMENT_SEALED || !segment_pin(segment)) {
            continue;
        }
        bool there = in_segment(repair, want, segment);
        segment_unpin(segment);
        if (there) {
            return 0;
        }
    }
    return STORE_ABSENT;
}
