/* SPDX-License-Identifier: MIT */
#include "store/load.h"

#include "base/bits.h"
#include "base/err.h"
#include "base/must.h"
#include "store/seal.h"

#include <errno.h>
#include <string.h>
#include <xxhash.h>

#define BURY_TRIES      3u
#define PIN_TRIES       3u
#define LOAD_SLOTS_MIN  64u
#define LOAD_PARTS_MAX  64u /* a false trailer costs no more than so many looks at the footers */
#define PIN_PAGES_BYTES (3 * PAGE_BYTES) /* a PIN record, wherever in a page it begins */

/* In parts that fill three eighths of the slots, as no part is exactly as large as the others. */
static void split(struct load *load, const struct load_room *room) {
    load->parts = 1;
    load->slots = power_of_two_above(room->tombstones * 2);
    while (room->bytes_max != 0 && load->slots > LOAD_SLOTS_MIN &&
           load->slots * sizeof *load->tombstones > room->bytes_max) {
        load->slots /= 2;
        load->parts = 0;
    }
    if (load->parts == 0) {
        uint64_t each = load->slots / 8 * 3;
        load->parts = (uint32_t)min_u64(room->tombstones / each + 1, LOAD_PARTS_MAX);
    }
}

int load_open(struct load *load, struct store *store, const struct load_room *room) {
    *load = (struct load){.store = store, .parts = 1};
    if (room->tombstones > 0) {
        split(load, room);
        load->tombstones = vm_map(load->slots * sizeof *load->tombstones);
    }
    if (room->commits > 0) {
        load->commit_slots = power_of_two_above(room->commits * 2);
        load->commits = vm_map(load->commit_slots * sizeof *load->commits);
    }
    bool whole =
        (room->tombstones == 0 || load->tombstones) && (room->commits == 0 || load->commits);
    return whole ? 0 : err_raise(-ENOMEM);
}

void load_close(struct load *load) {
    vm_unmap(load->tombstones, load->slots * sizeof *load->tombstones);
    vm_unmap(load->commits, load->commit_slots * sizeof *load->commits);
    load->tombstones = NULL;
    load->commits = NULL;
}

void load_part(struct load *load, uint32_t part) {
    load->part = part;
    load->tombstone_count = 0;
    if (load->slots > 0) {
        vm_drop(load->tombstones, load->slots * sizeof *load->tombstones);
    }
}

static uint64_t *commit_slot(const struct load *load, uint64_t txn) {
    uint64_t at = XXH3_64bits(&txn, sizeof txn) & (load->commit_slots - 1);
    while (load->commits[at] != 0 && load->commits[at] != txn) {
        at = (at + 1) & (load->commit_slots - 1);
    }
    return &load->commits[at];
}

/* Trailers said how many there would be; what footers and scans hold counts. */
static bool commits_grow(struct load *load) {
    uint64_t slots = max_u64(load->commit_slots * 2, LOAD_SLOTS_MIN);
    struct load old = *load;
    uint64_t *commits = vm_map(slots * sizeof *commits);
    if (!commits) {
        load->result = load->result ? load->result : err_raise(-ENOMEM);
        return false;
    }
    load->commits = commits;
    load->commit_slots = slots;
    for (uint64_t i = 0; i < old.commit_slots; i++) {
        if (old.commits[i] != 0) {
            *commit_slot(load, old.commits[i]) = old.commits[i];
        }
    }
    vm_unmap(old.commits, old.commit_slots * sizeof *old.commits);
    return true;
}

void load_commit(struct load *load, uint64_t txn) {
    if (2 * load->commit_count >= load->commit_slots && !commits_grow(load)) {
        return;
    }
    uint64_t *slot = commit_slot(load, txn);
    load->commit_count += *slot == 0;
    *slot = txn;
}

bool load_committed(const struct load *load, uint64_t txn) {
    return txn == 0 || (load->commit_slots > 0 && *commit_slot(load, txn) == txn);
}

uint64_t tombstone_check(const struct footer_entry *entry) {
    uint32_t type = entry->type_flags & 15;
    uint64_t pins = type == RECORD_PIN || type == RECORD_UNPIN; /* a family of their own */
    return XXH3_64bits_withSeed(entry->digest, FOOTER_PREFIX,
                                pins << 32 | (uint64_t)entry->hash_code << 8 | entry->digest_bytes);
}

static struct tombstone *slot_of(const struct load *load, uint64_t hash, uint64_t check) {
    uint64_t at = hash & (load->slots - 1);
    while (load->tombstones[at].hash != 0 &&
           !(load->tombstones[at].hash == hash && load->tombstones[at].check == check)) {
        at = (at + 1) & (load->slots - 1);
    }
    return &load->tombstones[at];
}

/* Is what the record says in the catalog already, by a snapshot? */
static bool is_known(const struct load *load, uint32_t segment, const struct footer_entry *entry) {
    return load->recall && recall_knows(load->recall, segment, entry->hash,
                                        (uint64_t)entry->offset_units * RECORD_UNIT);
}

static bool tombstones_grow(struct load *load) {
    uint64_t slots = max_u64(load->slots * 2, LOAD_SLOTS_MIN);
    struct load old = *load;
    struct tombstone *tombstones = vm_map(slots * sizeof *tombstones);
    if (!tombstones) {
        load->result = load->result ? load->result : err_raise(-ENOMEM);
        return false;
    }
    load->tombstones = tombstones;
    load->slots = slots;
    for (uint64_t i = 0; i < old.slots; i++) {
        const struct tombstone *from = &old.tombstones[i];
        if (from->hash != 0) {
            *slot_of(load, from->hash, from->check) = *from;
        }
    }
    vm_unmap(old.tombstones, old.slots * sizeof *old.tombstones);
    return true;
}

void load_tombstone(struct load *load, uint32_t segment, const struct footer_entry *entry) {
    if (2 * load->tombstone_count >= load->slots && !tombstones_grow(load)) {
        return;
    }
    uint64_t check = tombstone_check(entry);
    struct tombstone *slot = slot_of(load, entry->hash, check);
    load->tombstone_count += slot->hash == 0;
    if (!is_known(load, segment, entry)) { /* what is known says nothing of those that are not */
        bool moved = (entry->type_flags >> 4 & RECORD_MOVED_IN) != 0;
        slot->moved = moved && (slot->moved || !slot->fresh);
        slot->fresh = true;
    }
    slot->hash = entry->hash;
    slot->check = check;
    slot->lsn = max_u64(slot->lsn, entry->birth_lsn);
}

bool load_dead(const struct load *load, const struct footer_entry *entry) {
    if (load->slots == 0) {
        return false;
    }
    const struct tombstone *slot = slot_of(load, entry->hash, tombstone_check(entry));
    return slot->hash != 0 && slot->lsn >= entry->birth_lsn;
}

/* The header of the block's record at a place, and its key. NULL: it cannot be read. */
static const struct record_header *header_at(const struct load *load, uint64_t place,
                                             uint8_t *pages, struct key *ret_key) {
    const struct store *store = load->store;
    const struct disk *disk = &store->config.disk;
    struct spot spot = place_spot(place);
    const struct segment *segment = &store->segments.all[spot.segment];
    uint64_t offset = (uint64_t)spot.offset_units * RECORD_UNIT;
    uint64_t from = round_down(offset, PAGE_BYTES);
    int64_t n =
        pages ? disk->calls->pread(disk->backend, segment->fd, pages, 2 * PAGE_BYTES, from) : 0;
    uint64_t front = offset - from;
    const struct record_header *header = (const void *)(pages + front);
    struct record_bounds bounds = {.crc_base = segment->crc_base,
                                   .generation = segment->generation,
                                   .offset = offset,
                                   .bytes_here = n > (int64_t)front ? (uint64_t)n - front : 0,
                                   .bytes_max = (uint64_t)spot.length_units * RECORD_UNIT};
    bool sound = pages && record_check(header, &bounds) == 0 && record_key(header, ret_key) == 0;
    return sound ? header : NULL;
}

/* How the record at an existing place stands to this entry. */
enum standing { STANDING_OTHER, STANDING_OLDER, STANDING_SAME, STANDING_NEWER };

static enum standing compare(struct load *load, uint64_t place, const struct footer_entry *entry) {
    uint8_t *pages = vm_map(2 * PAGE_BYTES);
    enum standing standing = STANDING_OLDER; /* what cannot be read gives way */
    struct key key;
    const struct record_header *header = header_at(load, place, pages, &key);
    if (header) {
        bool same =
            key.code == entry->hash_code && key.digest_bytes == entry->digest_bytes &&
            memcmp(key.digest, entry->digest, min_u32(key.digest_bytes, FOOTER_PREFIX)) == 0;
        /* Equal births are copies of one put: a rewrite after a failed one, or a move. */
        standing = !same                                   ? STANDING_OTHER
                   : header->birth_lsn < entry->birth_lsn  ? STANDING_OLDER
                   : header->birth_lsn == entry->birth_lsn ? STANDING_SAME
                                                           : STANDING_NEWER;
    }
    vm_unmap(pages, 2 * PAGE_BYTES);
    return standing;
}

/* What the footer of its segment says of the record at a place. False: nothing. */
static bool footer_at(const struct load *load, uint64_t place, uint8_t *page,
                      struct footer_entry *ret_entry) {
    const struct segments *segments = &load->store->segments;
    struct spot spot = place_spot(place);
    const struct segment *segment = &segments->all[spot.segment];
    struct segment_trailer trailer;
    struct footer footer = {0};
    bool found = false;
    if (trailer_read(segments, segment, page) != 0) {
        return false;
    }
    memcpy(&trailer, page, sizeof trailer);
    int r = footer_read(segments, segment, &trailer, &footer);
    for (uint32_t i = 0; r == 0 && !found && i < footer.count; i++) {
        found = footer.entries[i].offset_units == spot.offset_units;
        *ret_entry = footer.entries[i];
    }
    footer_close(&footer);
    return found;
}

/* Does the tombstone kill the block whose record lies there? Where neither that nor a footer can be
 * read, what came to the log after the snapshot is later than all that it holds. */
static bool kills(const struct load *load, const struct tombstone *tombstone, uint64_t place,
                  uint8_t *pages) {
    struct key key;
    struct footer_entry entry = {0};
    const struct record_header *header = NULL;
    for (uint32_t tries = 0; tries < BURY_TRIES && !header; tries++) {
        header = header_at(load, place, pages, &key);
    }
    if (header) {
        entry.birth_lsn = header->birth_lsn;
        entry.hash_code = (uint16_t)key.code;
        entry.digest_bytes = key.digest_bytes;
        memcpy(entry.digest, key.digest, min_u32(key.digest_bytes, FOOTER_PREFIX));
    } else if (!pages || !footer_at(load, place, pages, &entry)) {
        return !tombstone->moved;
    }
    entry.type_flags = RECORD_TOMBSTONE;
    return tombstone_check(&entry) == tombstone->check && entry.birth_lsn <= tombstone->lsn;
}

static uint64_t bury_one(struct load *load, const struct tombstone *tombstone, uint8_t *pages) {
    struct store *store = load->store;
    uint64_t places[CATALOG_MATCHES_MAX];
    uint32_t count = catalog_find(&store->catalog, tombstone->hash, places);
    uint64_t buried = 0;
    must(count <= CATALOG_MATCHES_MAX);
    for (uint32_t i = 0; i < count; i++) {
        if (kills(load, tombstone, places[i], pages)) {
            struct entry entry = catalog_entry(&store->catalog, tombstone->hash, places[i]);
            catalog_remove(&store->catalog, tombstone->hash, &entry);
            order_account(&store->keepers[hash_keeper(store, tombstone->hash)], places[i], -1);
            buried++;
        }
    }
    return buried;
}

uint64_t load_bury(struct load *load) {
    uint8_t *pages = vm_map(2 * PAGE_BYTES);
    uint64_t buried = 0;
    if (!pages) {
        load->result = load->result ? load->result : err_raise(-ENOMEM);
    }
    for (uint64_t i = 0; i < load->slots && pages; i++) {
        const struct tombstone *tombstone = &load->tombstones[i];
        if (tombstone->hash != 0 && tombstone->fresh) {
            buried += bury_one(load, tombstone, pages);
        }
    }
    vm_unmap(pages, 2 * PAGE_BYTES);
    return buried;
}

/* The record as it lies there. Returns: 0 with the key and what its payload says; FORMAT_BAD;
 * -errno. */
static int pin_record(const struct load *load, uint32_t segment_id, uint8_t *pages,
                      const struct footer_entry *entry, struct store_pin *ret_pin) {
    const struct disk *disk = &load->store->config.disk;
    const struct segment *segment = &load->store->segments.all[segment_id];
    uint64_t offset = (uint64_t)entry->offset_units * RECORD_UNIT;
    uint64_t front = offset % PAGE_BYTES;
    int64_t n =
        disk->calls->pread(disk->backend, segment->fd, pages, PIN_PAGES_BYTES, offset - front);
    if (n < 0) {
        return (int)n;
    }
    const struct record_header *header = (const void *)(pages + front);
    struct record_bounds bounds = {.crc_base = segment->crc_base,
                                   .generation = segment->generation,
                                   .offset = offset,
                                   .bytes_here = n > (int64_t)front ? (uint64_t)n - front : 0,
                                   .bytes_max = RECORD_HEADER_MAX + PIN_PAYLOAD_MAX};
    if (record_check(header, &bounds) != 0 || header->type != RECORD_PIN ||
        record_key(header, &ret_pin->key) != 0 ||
        (uint64_t)header->header_bytes + header->stored_bytes > bounds.bytes_here) {
        return FORMAT_BAD;
    }
    const uint8_t *payload = (const uint8_t *)header + header->header_bytes;
    if (XXH3_64bits(payload, header->stored_bytes) != header->payload_xxh3) {
        return FORMAT_BAD;
    }
    ret_pin->codec = header->codec;
    return pin_read(payload, header->stored_bytes, ret_pin);
}

int load_pin_read(const struct load *load, uint32_t segment, const struct footer_entry *entry,
                  struct store_pin *ret_pin) {
    uint8_t *pages = vm_map(PIN_PAGES_BYTES);
    int r = FORMAT_BAD;
    *ret_pin = (struct store_pin){.mode = 0};
    if (!pages) {
        return err_raise(-ENOMEM);
    }
    for (uint32_t tries = 0; tries < PIN_TRIES && r != 0; tries++) { /* the read is doubted first */
        r = pin_record(load, segment, pages, entry, ret_pin);
    }
    vm_unmap(pages, PIN_PAGES_BYTES);
    return r;
}

bool load_pin_guess(const struct footer_entry *entry, struct store_pin *ret_pin) {
    *ret_pin = (struct store_pin){.codec = entry->codec, .mode = STORE_PIN_RECURSIVE};
    ret_pin->key = (struct key){.code = entry->hash_code, .digest_bytes = entry->digest_bytes};
    memcpy(ret_pin->key.digest, entry->digest, min_u32(entry->digest_bytes, FOOTER_PREFIX));
    return entry->digest_bytes <= FOOTER_PREFIX;
}

void load_pin(struct load *load, uint32_t segment, const struct footer_entry *entry) {
    struct store *store = load->store;
    if (entry->digest_bytes > HASH_DIGEST_MAX || entry->hash == 0 || load_dead(load, entry)) {
        return;
    }
    struct pins *pins = &store->keepers[hash_keeper(store, entry->hash)].pins;
    struct store_pin pin;
    int r = load_pin_read(load, segment, entry, &pin);
    if (r != 0 && r != -ENOMEM) {
        if (!load_pin_guess(entry, &pin)) {
            pins->unclear++;
            return;
        }
        r = 0;
    }
    r = r == 0 ? pins_load(pins, entry->hash, &pin, entry->birth_lsn) : r;
    load->result = load->result ? load->result : r;
    counter_set(&store->keepers[hash_keeper(store, entry->hash)].counters.pins, pins->count);
}

uint64_t footer_place(const struct store *store, uint32_t segment,
                      const struct footer_entry *entry) {
    uint32_t digest_bytes = entry->digest_bytes;
    uint8_t multihash[KEY_MULTIHASH_MAX];
    struct key key = {.code = entry->hash_code, .digest_bytes = entry->digest_bytes};
    must(digest_bytes <= HASH_DIGEST_MAX);
    uint32_t header = record_header_bytes((uint32_t)key_write(&key, multihash));
    struct spot spot = {.segment = segment,
                        .offset_units = entry->offset_units,
                        .length_units = record_span(header, entry->stored_bytes) / RECORD_UNIT};
    return store_place(store, &spot);
}

/* A copy in a segment of moves that nothing says is durable: its sync may have failed, after which
 * the disk gives back what the next loss of power takes. Its source went only if it was durable. */
static bool unproven(const struct store *store, uint64_t place) {
    return store->segments.all[place_spot(place).segment].unproven;
}

/* Of two records of one put: the one known to be durable counts, then the one on the faster tier,
 * then the one written later. */
static bool goes_before(const struct store *store, uint64_t place, uint64_t other) {
    if (unproven(store, place) != unproven(store, other)) {
        return !unproven(store, place);
    }
    uint64_t slow = place & PLACE_STATE_MASK, slow_other = other & PLACE_STATE_MASK;
    return slow != slow_other ? slow < slow_other
                              : store->segments.all[place_spot(place).segment].generation >=
                                    store->segments.all[place_spot(other).segment].generation;
}

void load_block(struct load *load, uint32_t segment, const struct footer_entry *entry) {
    struct store *store = load->store;
    if (entry->digest_bytes > HASH_DIGEST_MAX || entry->hash == 0 ||
        is_known(load, segment, entry) || load_dead(load, entry)) {
        return;
    }
    struct keeper *keeper = &store->keepers[hash_keeper(store, entry->hash)];
    uint64_t place = footer_place(store, segment, entry);
    uint64_t places[CATALOG_MATCHES_MAX];
    uint32_t count = catalog_find(&store->catalog, entry->hash, places);
    must(count <= CATALOG_MATCHES_MAX);
    for (uint32_t i = 0; i < count; i++) {
        enum standing standing = compare(load, places[i], entry);
        if (standing == STANDING_NEWER ||
            (standing == STANDING_SAME && !goes_before(store, place, places[i]))) {
            return;
        }
        if (standing != STANDING_OTHER) {
            struct entry old = catalog_entry(&store->catalog, entry->hash, places[i]);
            entry_set(&old, place);
            order_account(keeper, places[i], -1);
            order_account(keeper, place, 1);
            return;
        }
    }
    int r = catalog_insert(&store->catalog, entry->hash, place);
    if (r != 0) { /* eight blocks under one keyed hash are a list somebody made up */
        r = r == -EOVERFLOW ? STORE_CORRUPT : r;
        load->result = load->result ? load->result : r;
        return;
    }
    order_account(keeper, place, 1);
}

void load_prefetch(const struct load *load, const struct footer_entry *entry) {
    struct bucket_pair pair = catalog_buckets(&load->store->catalog, entry->hash);
    __builtin_prefetch(pair.first, 1);
    __builtin_prefetch(pair.second, 1);
}
