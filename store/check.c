/* SPDX-License-Identifier: MIT */
#include "base/bits.h"
#include "base/err.h"
#include "base/hash.h"
#include "store/inside.h"
#include "store/seal.h"
#include "store/text.h"
#include "store/zip.h"

#include <errno.h>
#include <string.h>

/* Verification of all there is: every segment is scanned; every record of a block that the catalog
 * says lies there is held against its multihash; what a footer promises and the scan does not find
 * is named; places that are neither are counted. Records of deleted blocks are nobody's loss. */

struct checking {
    struct store *store;
    struct segment *segment;
    void (*bad)(void *context, const struct store_damage *);
    void (*progress)(void *context, const struct store_check_totals *);
    void *context;
    struct store_check_totals totals;
    struct scan_window window;
    struct unzip unzip;
    uint8_t *block; /* what was compressed: STORE_BLOCK_HARD_MAX */
};

static void report(struct checking *checking, uint64_t offset, const struct key *key,
                   const char *what) {
    struct store_damage damage = {.offset = offset, .what = what, .key_known = key != NULL};
    struct text text = {damage.segment, sizeof damage.segment, 0};
    text_add(&text, tier_of(checking->store, checking->segment)->given);
    text_add(&text, "/");
    text_add_hex(&text, checking->segment->id, 5);
    text_add(&text, ".seg");
    if (key) {
        damage.key = *key;
    }
    checking->totals.bad++;
    if (checking->bad) {
        checking->bad(checking->context, &damage);
    }
}

static bool is_live(struct checking *checking, const struct footer_entry *entry, uint32_t span) {
    struct store *store = checking->store;
    struct spot spot = {.segment = checking->segment->id,
                        .offset_units = entry->offset_units,
                        .length_units = span / RECORD_UNIT};
    turn_begin(&store->turns, store->helper);
    bool live = store_entry(store, entry->hash,
                            place_pack(&spot) | place_of_segment(store, checking->segment))
                    .bucket != NULL;
    turn_park(&store->turns, store->helper);
    return live;
}

static bool hashes_to(const struct key *key, const uint8_t *block, uint32_t bytes) {
    uint8_t digest[HASH_DIGEST_MAX];
    return hash_compute(key->code, block, bytes, digest, key->digest_bytes) == 0 &&
           memcmp(digest, key->digest, key->digest_bytes) == 0;
}

static void check_record(void *context, const struct record_header *record,
                         const struct scan_entry *entry) {
    struct checking *checking = context;
    struct key key;
    uint32_t span = record_span(record->header_bytes, record->stored_bytes);
    if (record->type != RECORD_BLOCK || record_key(record, &key) != 0 ||
        !is_live(checking, &entry->entry, span)) {
        return;
    }
    uint64_t offset = (uint64_t)entry->entry.offset_units * RECORD_UNIT;
    const uint8_t *payload = (const uint8_t *)record + record->header_bytes;
    checking->totals.blocks++;
    checking->totals.bytes += record->stored_bytes;
    bool zipped = record_zipped(record);
    if (entry->bad_payload) {
        report(checking, offset, &key, "payload checksum");
    } else if (!zip_header_sound(record) ||
               (zipped && unzip_record(&checking->unzip, record, payload, checking->block) != 0)) {
        report(checking, offset, &key, "compressed payload");
    } else if (!hashes_to(&key, zipped ? checking->block : payload, record_block_bytes(record))) {
        report(checking, offset, &key, "multihash");
    }
    if (checking->progress && checking->totals.blocks % 1024 == 0) {
        checking->progress(checking->context, &checking->totals);
    }
}

/* Live records that the footer names and the scan did not come upon. Both stand by offset. */
static void check_footer(struct checking *checking, const struct scan *scan) {
    const struct segments *segments = &checking->store->segments;
    struct segment_trailer trailer;
    struct footer footer = {0};
    uint8_t *page = vm_map(PAGE_BYTES);
    int r = page ? trailer_read(segments, checking->segment, page) : FORMAT_BAD;
    if (r == 0) {
        memcpy(&trailer, page, sizeof trailer);
        r = footer_read(segments, checking->segment, &trailer, &footer);
    }
    vm_unmap(page, PAGE_BYTES);
    if (r != 0) {
        report(checking, checking->segment->footer_offset, NULL, "footer");
        footer_close(&footer);
        return;
    }
    uint64_t seen = 0;
    for (uint32_t i = 0; i < footer.count; i++) {
        const struct footer_entry *entry = &footer.entries[i];
        while (seen < scan->entry_count &&
               scan->entries[seen].entry.offset_units < entry->offset_units) {
            seen++;
        }
        bool found = seen < scan->entry_count &&
                     scan->entries[seen].entry.offset_units == entry->offset_units;
        struct key key = {.code = entry->hash_code, .digest_bytes = entry->digest_bytes};
        uint8_t multihash[KEY_MULTIHASH_MAX];
        if (found || (entry->type_flags & 15) != RECORD_BLOCK ||
            entry->digest_bytes > HASH_DIGEST_MAX) {
            continue;
        }
        memcpy(key.digest, entry->digest, min_u32(entry->digest_bytes, FOOTER_PREFIX));
        uint32_t header = record_header_bytes((uint32_t)key_write(&key, multihash));
        if (is_live(checking, entry, record_span(header, entry->stored_bytes))) {
            checking->totals.blocks++;
            report(checking, (uint64_t)entry->offset_units * RECORD_UNIT,
                   entry->digest_bytes <= FOOTER_PREFIX ? &key : NULL, "record header");
        }
    }
    footer_close(&footer);
}

static int check_segment(struct checking *checking) {
    const struct segment *segment = checking->segment;
    bool sealed = segment_state(segment) == SEGMENT_SEALED;
    struct scan scan;
    uint64_t end = atomic_load_explicit(&segment->data_bytes, memory_order_acquire);
    int r = scan_open(&scan, &(struct scan_source){&checking->store->config.disk, segment,
                                                   &checking->window, end});
    if (r != 0) {
        return r;
    }
    scan.hash_seed = checking->store->hash_seed;
    scan.each = check_record;
    scan.context = checking;
    scan_run(&scan);
    /* After a failed write or a torn tail a segment has places that never counted. */
    bool holes_count = !(segment->suspect || segment->recovered) || segment->damaged_ranges > 0;
    uint64_t reached = PAGE_BYTES;
    for (uint64_t i = 0; i < scan.batch_count; i++) {
        const struct scan_batch *batch = &scan.batches[i];
        if (batch->offset != reached && holes_count) {
            report(checking, reached, NULL, "batch record");
        }
        if (!batch->whole && holes_count) {
            report(checking, batch->offset, NULL, "batch");
        }
        reached = batch->offset + batch->head.batch_bytes;
    }
    if (reached < end && holes_count) {
        report(checking, reached, NULL, "batch record");
    }
    if (scan.unreadable > 0) {
        report(checking, 0, NULL, "unreadable");
    }
    if (sealed) {
        check_footer(checking, &scan);
    }
    scan_close(&scan);
    return 0;
}

static int check_all(struct checking *checking) {
    for (uint32_t id = 1; id < checking->store->segments.top; id++) {
        checking->segment = &checking->store->segments.all[id];
        if (!segment_pin(checking->segment)) {
            continue;
        }
        int r = check_segment(checking);
        segment_unpin(checking->segment);
        if (r != 0) {
            return r;
        }
        checking->totals.segments++;
        if (checking->progress) {
            checking->progress(checking->context, &checking->totals);
        }
    }
    return 0;
}

int store_check(struct store *store, void (*bad)(void *context, const struct store_damage *),
                void (*progress)(void *context, const struct store_check_totals *), void *context,
                struct store_check_totals *ret_totals) {
    struct checking checking = {
        .store = store, .bad = bad, .progress = progress, .context = context};
    checking.block = vm_map(STORE_BLOCK_HARD_MAX);
    int r = checking.block ? scan_window_open(&checking.window) : err_raise(-ENOMEM);
    r = r == 0 ? unzip_open(&checking.unzip) : r;
    r = r == 0 ? check_all(&checking) : r;
    unzip_close(&checking.unzip);
    scan_window_close(&checking.window);
    vm_unmap(checking.block, STORE_BLOCK_HARD_MAX);
    if (r == 0) {
        *ret_totals = checking.totals;
    }
    return r;
}
