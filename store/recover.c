/* SPDX-License-Identifier: MIT */
#include "base/bits.h"
#include "base/err.h"
#include "store/found.h"
#include "store/load.h"
#include "store/text.h"

#include <errno.h>

/* From files to a catalog:
 *
 *   list ─► header of each (or, damaged, what its batches say it was)
 *        ─► trailer: sealed; else scan
 *   judge ─► which batches count, what is torn, what is damaged
 *   load  ─► what a snapshot knows; then commits, tombstones and blocks of the rest, from
 *            footers or from the scan
 *   seal  ─► every unsealed segment gets a footer, or goes if it holds nothing
 *
 * A scanned record of a transaction counts only if its commit record does; footers name no other.
 * A trailer whose footer does not verify is believed for its range of LSNs, and the batches are
 * scanned. Nothing is written before all is read, and doing it again finds the same. */

#define BURY_FREE  1024u
#define BURY_SHARE 256u

#define MEMORY_LEAST (64 * KiB) /* for tombstones, at a time */

/* --- judge ------------------------------------------------------------------------------------ */

static void accept_batch(struct recovery *recovery, const struct judge_item *item) {
    if (item->sealed || !item->accepted) {
        return;
    }
    struct found *found = &recovery->found[item->segment];
    struct scan_batch *batch = &found->scan->batches[item->batch];
    batch->accepted = true;
    found->keep = true;
    found->data_bytes = max_u64(found->data_bytes, batch->offset + batch->head.batch_bytes);
    if (item->damaged && !found->late) {
        found->segment->damaged_ranges++;
        recovery->report->corrupt_ranges++;
    }
}

static bool in_gap(const struct judge_verdict *verdict, uint32_t log, uint64_t lsn) {
    uint32_t count = min_u32(verdict->gap_count, verdict->gaps_max);
    for (uint32_t i = 0; i < count; i++) {
        const struct judge_gap *gap = &verdict->gaps[i];
        if (gap->log == log && lsn >= gap->first_lsn && lsn <= gap->last_lsn) {
            return true;
        }
    }
    return false;
}

static void accept_entries(struct found *found, const struct judge_verdict *verdict) {
    struct scan *scan = found->scan;
    for (uint64_t i = 0; i < scan->entry_count; i++) {
        struct scan_entry *entry = &scan->entries[i];
        if (entry->batch != SCAN_STRAY) {
            entry->accepted = scan->batches[entry->batch].accepted;
            continue;
        }
        /* Its batch record is damaged, its LSN was acknowledged and is nowhere else. */
        entry->accepted = in_gap(verdict, found->segment->log, entry->lsn);
        if (entry->accepted) {
            uint64_t end = (uint64_t)entry->entry.offset_units * RECORD_UNIT + RECORD_HEADER_MAX +
                           entry->entry.stored_bytes;
            found->data_bytes = max_u64(found->data_bytes, round_up(end, PAGE_BYTES));
            found->keep = true;
        }
    }
}

static bool same_log(const struct judge_item *a, const struct judge_item *b) {
    return a->log == b->log && lsn_epoch(a->first_lsn) == lsn_epoch(b->first_lsn);
}

/* Copies above all that their log calls durable: their sources, if they are there, come first. */
static void doubt_moves(struct recovery *recovery) {
    for (uint64_t from = 0, to = 0; from < recovery->item_count; from = to) {
        const struct judge_item *items = recovery->items; /* sorted by log */
        uint64_t durable_lsn = 0;
        for (to = from; to < recovery->item_count && same_log(&items[from], &items[to]); to++) {
            durable_lsn = max_u64(durable_lsn, items[to].durable_lsn);
        }
        for (uint64_t i = from; i < to && items[from].log >= MOVE_LOG_FIRST; i++) {
            if (!items[i].accepted || items[i].sealed || items[i].segment == FOUND_NONE) {
                continue;
            }
            struct found *found = &recovery->found[items[i].segment];
            bool empty = found->scan->batches[items[i].batch].head.records == 0;
            found->segment->unproven |= items[i].last_lsn > durable_lsn && !empty;
        }
    }
}

void recover_judge(struct recovery *recovery) {
    struct judge_gap gaps[256];
    struct judge_verdict verdict = {.gaps = gaps, .gaps_max = array_count(gaps)};
    struct store_report *report = recovery->report;
    judge(recovery->items, recovery->item_count, &verdict);
    for (uint64_t i = 0; i < recovery->item_count; i++) {
        accept_batch(recovery, &recovery->items[i]);
    }
    doubt_moves(recovery);
    /* What a tier holds that is away, or cannot be read, is not lost: such a gap says nothing. */
    uint32_t gap_count = recovery->partial ? 0 : verdict.gap_count;
    for (uint32_t i = 0; i < min_u32(gap_count, verdict.gaps_max); i++) {
        if (gaps[i].segment == FOUND_NONE) {
            continue;
        }
        struct found *found = &recovery->found[gaps[i].segment];
        if (!found->sealed) { /* between sealed segments it is found anew at every start */
            found->segment->damaged_ranges++;
            found->keep = true;
        }
    }
    report->corrupt_ranges += gap_count;
    report->torn_batches += verdict.ignored;
    for (uint64_t i = 0; i < recovery->count; i++) {
        struct found *found = &recovery->found[i];
        if (found->scan && !found->sealed) {
            accept_entries(found, &verdict);
            bool torn = found->segment->damaged_ranges == 0 && !found->late;
            report->torn_batches += torn ? found->scan->torn : 0;
        }
    }
}

/* --- load ------------------------------------------------------------------------------------- */

/* One pass over the records of one segment that count: TOMBSTONE stands for all that kill others,
 * BLOCK for all that can be killed; or COMMIT. */
static void load_entries(struct load *load, uint32_t segment, const struct footer_entry *entries,
                         uint64_t count, enum record_type type) {
    for (uint64_t i = 0; i < count; i++) {
        if (i + 8 < count && type == RECORD_BLOCK) {
            load_prefetch(load, &entries[i + 8]);
        }
        uint32_t found = entries[i].type_flags & 15;
        if (type == RECORD_COMMIT && found == RECORD_COMMIT) {
            load_commit(load, entries[i].hash);
        } else if (type != RECORD_COMMIT && !load_is_ours(load, entries[i].hash)) {
            continue;
        } else if (type == RECORD_TOMBSTONE &&
                   (found == RECORD_TOMBSTONE || found == RECORD_UNPIN)) {
            load_tombstone(load, segment, &entries[i]);
        } else if (type == RECORD_BLOCK && found == RECORD_BLOCK) {
            load_block(load, segment, &entries[i]);
        } else if (type == RECORD_BLOCK && found == RECORD_PIN) {
            load_pin(load, segment, &entries[i]);
        }
    }
}

static void load_scanned(struct load *load, const struct found *found, enum record_type type) {
    for (uint64_t i = 0; i < found->scan->entry_count; i++) {
        const struct scan_entry *entry = &found->scan->entries[i];
        if (entry->accepted) {
            load_entries(load, found->segment->id, &entry->entry, 1, type);
        }
    }
}

/* All commit records are known: what has none was under way when power went. Where a tier is
 * missing its record may lie there: the segment is left until all are there. */
void recover_uncommitted(const struct load *load, struct found *found, bool partial) {
    for (uint64_t i = 0; i < found->scan->entry_count; i++) {
        struct scan_entry *entry = &found->scan->entries[i];
        bool committed = load_committed(load, entry->txn);
        found->open_end |= entry->accepted && !committed && partial && !found->sealed;
        entry->accepted = entry->accepted && committed;
    }
}

static uint64_t count_type(const struct scan *scan, enum record_type type) {
    uint64_t count = 0;
    for (uint64_t i = 0; i < scan->entry_count; i++) {
        count += (scan->entries[i].entry.type_flags & 15) == type;
    }
    return count;
}

/* Does the scan of a sealed segment show less than its footer named? Where that was made from what
 * a start or a failed write left behind, gaps between its batches tell nothing. */
static bool falls_short(const struct found *found) {
    const struct scan *scan = found->scan;
    const struct segment_trailer *trailer = &found->trailer;
    const struct segment *segment = found->segment;
    bool orderly = !segment->recovered && !segment->suspect && trailer->damaged_ranges == 0;
    uint64_t kills = count_type(scan, RECORD_TOMBSTONE) + count_type(scan, RECORD_UNPIN);
    return scan->entry_count < trailer->footer_count || kills < trailer->tombstones ||
           count_type(scan, RECORD_PIN) < trailer->pins ||
           count_type(scan, RECORD_COMMIT) < trailer->commits || (orderly && !scan_whole(scan));
}

/* A sealed segment whose footer is damaged: its batches are acknowledged by the trailer. */
static int scan_sealed(struct recovery *recovery, uint64_t index) {
    struct found *found = &recovery->found[index];
    int r = found_scan(recovery, index, found->trailer.data_bytes);
    for (uint64_t i = 0; r == 0 && i < found->scan->entry_count; i++) {
        found->scan->entries[i].accepted = true;
    }
    if (r == 0 && !found->unread && falls_short(found)) {
        found->segment->damaged_ranges++;
        recovery->report->corrupt_ranges++;
    }
    return r;
}

/* Every record of the segment is in the catalog by a snapshot, or was deleted from it. */
static bool is_known(const struct recall *recall, const struct found *found) {
    return recall_known_bytes(recall, found->segment->id) >= found->data_bytes;
}

/* Which segments a pass has to look at. */
struct needs {
    const struct recall *recall;
    bool all_tombstones, commits;
};

static bool is_needed(const struct needs *needs, const struct found *found, enum record_type type) {
    bool known = is_known(needs->recall, found);
    if (type == RECORD_COMMIT) {
        return found->trailer.commits > 0 && needs->commits;
    }
    if (type == RECORD_TOMBSTONE) {
        return found->trailer.tombstones > 0 && (needs->all_tombstones || !known);
    }
    return found->trailer.pins > 0 || !known;
}

/* What a start could not read is as if its tier were away: taken up later (store/arrival.h). */
static void wait_for_unread(struct recovery *recovery) {
    struct tiers *tiers = &recovery->store->tiers;
    if (found_late(recovery) && !tiers->unread) {
        tiers->unread = true;
        atomic_fetch_add_explicit(&tiers->unknown, 1, memory_order_relaxed);
    }
    recovery->partial = tiers_unknown(tiers);
}

static int load_pass(struct recovery *recovery, struct load *load, const struct needs *needs,
                     enum record_type type) {
    for (uint64_t i = 0; i < recovery->count; i++) {
        struct found *found = &recovery->found[i];
        if (found->sealed && !found->scan && is_needed(needs, found, type)) {
            struct footer *footer = &recovery->footer;
            int r =
                footer_read(&recovery->store->segments, found->segment, &found->trailer, footer);
            if (r == 0) {
                load_entries(load, found->segment->id, footer->entries, footer->count, type);
                found->read = true;
                continue;
            }
            r = r == -ENOMEM ? r : scan_sealed(recovery, i);
            if (r != 0) {
                return r;
            }
            wait_for_unread(recovery);
        }
        if (found->scan && found->keep && type != RECORD_COMMIT) {
            recover_uncommitted(load, found, recovery->partial);
        }
        if (found->scan && found->keep) {
            load_scanned(load, found, type);
        }
    }
    return load->result;
}

/* What a snapshot knows can only be killed by a record that it does not know, so tombstones that it
 * knows matter only to records that it does not know and that may be older: copies in a segment of
 * moves or of an earlier start, what a failed write left behind, anything in a shard that no
 * snapshot has, and pins. */
static bool needs_all_tombstones(const struct recovery *recovery, const struct recall *recall) {
    uint32_t newest = 0;
    if (!recall_whole(recall) || recall->images[0].loose) {
        return true;
    }
    for (uint64_t i = 0; i < recovery->count; i++) {
        const struct found *found = &recovery->found[i];
        bool known = is_known(recall, found) && found->keep;
        newest = known ? max_u32(newest, found->segment->epoch) : newest;
    }
    for (uint64_t i = 0; i < recovery->count; i++) {
        const struct found *found = &recovery->found[i];
        bool in_order = found->segment->log < STORE_KEEPERS_MAX && found->segment->epoch >= newest;
        if (found->trailer.pins > 0 || (found->keep && !is_known(recall, found) && !in_order)) {
            return true;
        }
    }
    return false;
}

/* Commit records tell something only of records that are scanned, now or because a footer that is
 * asked for turns out to be damaged. */
static bool needs_commits(const struct recovery *recovery, const struct recall *recall) {
    for (uint64_t i = 0; i < recovery->count; i++) {
        const struct found *found = &recovery->found[i];
        if (found->scan || found->trailer.pins > 0 || !is_known(recall, found)) {
            return true;
        }
    }
    return false;
}

/* What older programs would not know. */
static uint32_t features_of(const struct found *found) {
    uint32_t features = found->trailer.pins > 0 ? FEATURE_PINS : 0;
    features |= found->trailer.commits > 0 ? FEATURE_COMMITS : 0;
    for (uint64_t i = 0; found->scan && i < found->scan->entry_count; i++) {
        const struct scan_entry *entry = &found->scan->entries[i];
        uint32_t type = entry->entry.type_flags & 15;
        bool zstd = (entry->entry.type_flags >> 4 & RECORD_ZSTD) != 0;
        features |= type == RECORD_PIN || type == RECORD_UNPIN ? FEATURE_PINS : 0;
        features |= type == RECORD_COMMIT || entry->txn != 0 ? FEATURE_COMMITS : 0;
        features |= zstd ? FEATURE_ZSTD : 0;
    }
    return features;
}

/* Every block that was deleted after the snapshot costs a read of its header: past some number the
 * footers are the shorter way. */
static bool recall_pays(const struct recovery *recovery, const struct recall *recall) {
    uint64_t tombstones = 0;
    for (uint64_t i = 0; i < recovery->count && recall->count > 0; i++) {
        const struct found *found = &recovery->found[i];
        if (recall->images[0].covered[found->segment->id] < found->data_bytes) {
            tombstones += found->trailer.tombstones;
            tombstones += found->scan ? count_type(found->scan, RECORD_TOMBSTONE) : 0;
        }
    }
    return recall->count > 0 &&
           tombstones <= BURY_FREE + recall->images[0].tail.entries / BURY_SHARE;
}

/* How much of each there may be; records: those that are still to be inserted. */
struct amounts {
    struct load_room room;
    uint64_t records;
};

static struct amounts count_amounts(const struct recovery *recovery, const struct recall *recall) {
    struct amounts amounts = {{0, 0, max_u64(recovery->store->config.memory_bytes, MEMORY_LEAST)},
                              0};
    for (uint64_t i = 0; i < recovery->count; i++) {
        const struct found *found = &recovery->found[i];
        amounts.room.tombstones += found->trailer.tombstones;
        amounts.room.commits += found->trailer.commits;
        amounts.records += is_known(recall, found) ? 0 : found->trailer.footer_count;
        if (found->scan) {
            amounts.room.tombstones += found->scan->entry_count;
            amounts.room.commits += count_type(found->scan, RECORD_COMMIT);
            amounts.records += found->scan->entry_count;
        }
    }
    amounts.records -= min_u64(amounts.records, amounts.room.tombstones);
    return amounts;
}

static int load_records(struct recovery *recovery, const struct recall *recall) {
    struct load load;
    struct needs needs = {recall, needs_all_tombstones(recovery, recall),
                          needs_commits(recovery, recall)};
    struct amounts amounts = count_amounts(recovery, recall);
    int r = load_open(&load, recovery->store, &amounts.room);
    load.recall = recall;
    if (r == 0 && amounts.records > 4 * 65536 && recovery->report->snapshot_shards == 0) {
        r = catalog_reserve(&recovery->store->catalog, amounts.records);
    }
    r = r == 0 ? load_pass(recovery, &load, &needs, RECORD_COMMIT) : r;
    recovery->report->load_parts = load.parts;
    for (uint32_t part = 0; part < load.parts && r == 0; part++) {
        load_part(&load, part);
        r = load_pass(recovery, &load, &needs, RECORD_TOMBSTONE);
        if (r == 0 && recovery->report->snapshot_shards > 0) {
            (void)load_bury(&load);
        }
        r = r == 0 ? load_pass(recovery, &load, &needs, RECORD_BLOCK) : r;
        recovery->report->tombstones += load.tombstone_count;
    }
    load_close(&load);
    if (r == STORE_CORRUPT && recovery->report->why[0] == 0) {
        struct text why = {recovery->report->why, sizeof recovery->report->why, 0};
        text_add(&why, "a segment lists more blocks under one keyed hash than chance brings about: "
                       "somebody made that list; use another backup, or take the segment away");
    }
    return r;
}

static int load_all(struct recovery *recovery) {
    struct recall recall;
    int r = recall_open(&recall, recovery);
    if (recovery->report->segments_gone > 0) {
        recall_name_gone(&recall);
    }
    if (r == 0 && recall_pays(recovery, &recall)) {
        r = recall_load(&recall);
    }
    r = r == 0 ? load_records(recovery, &recall) : r;
    recall_settle(&recall);
    recall_close(&recall);
    return r;
}

/* --- seal ------------------------------------------------------------------------------------- */

static int seal_found(struct recovery *recovery, struct found *found, void *buffer) {
    struct store *store = recovery->store;
    struct segment *segment = found->segment;
    if (found->late) {
        found->open_end = true;
        atomic_store_explicit(&segment->min_birth_lsn, 0, memory_order_relaxed);
    }
    if (found->sealed && !found->late) {
        segment_set_state(segment, SEGMENT_SEALED);
        atomic_store_explicit(&segment->data_bytes, found->data_bytes, memory_order_relaxed);
        return 0;
    }
    /* What the scan found is known here alone: nobody else may seal it. */
    bool read_only =
        store->config.read_only || tier_state(tier_of(store, segment)) == TIER_READONLY;
    atomic_store_explicit(&segment->unsettled, found->open_end || read_only, memory_order_relaxed);
    if (found->open_end || read_only) {
        atomic_store_explicit(&segment->data_bytes, max_u64(found->data_bytes, PAGE_BYTES),
                              memory_order_relaxed);
        return 0; /* CLOSED: walked by its records */
    }
    if (!found->keep) {
        return segment_drop(&store->segments, segment);
    }
    segment->recovered = true;
    return seal_segment(&(struct seal_order){.segments = &store->segments,
                                             .segment = segment,
                                             .scan = found->scan,
                                             .data_bytes = max_u64(found->data_bytes, PAGE_BYTES),
                                             .buffer = buffer});
}

static int seal_all(struct recovery *recovery) {
    void *buffer = vm_map(SEAL_BUFFER);
    int r = buffer ? 0 : err_raise(-ENOMEM);
    for (uint64_t i = 0; i < recovery->count && r == 0; i++) {
        r = seal_found(recovery, &recovery->found[i], buffer);
        recovery->report->segments += recovery->found[i].keep;
        recovery->report->segments_footer += recovery->found[i].read;
        recovery->report->segments_scanned += recovery->found[i].scan != NULL;
        recovery->report->segments_suspect += recovery->found[i].segment->suspect;
        recovery->report->segments_unread += recovery->found[i].unread;
        recovery->store->features.found |= features_of(&recovery->found[i]);
    }
    vm_unmap(buffer, SEAL_BUFFER);
    return r;
}

/* After a clean end as many files are there as it left: the last of a log leaves no gap behind it.
 * Each is a damaged range, as a sealed one holds something. */
static void miss_segments(struct recovery *recovery) {
    const struct store *store = recovery->store;
    struct store_report *report = recovery->report;
    const struct super_end *end = &store->super.end;
    bool told = store->super.slot.clean != 0 && end->magic == SUPER_END_MAGIC;
    if (told && !recovery->partial && recovery->count < end->segments) {
        report->segments_gone = end->segments - (uint32_t)recovery->count;
        report->corrupt_ranges = max_u64(report->corrupt_ranges, report->segments_gone);
    }
}

int recover(struct store *store, struct store_report *report) {
    struct recovery recovery = {
        .store = store, .report = report, .max = SEGMENT_IDS, .page = store->page};
    recovery.found = vm_map(SEGMENT_IDS * sizeof *recovery.found);
    recovery.scans = vm_map(SEGMENT_IDS * sizeof *recovery.scans);
    int r =
        recovery.found && recovery.scans ? scan_window_open(&recovery.window) : err_raise(-ENOMEM);
    r = r == 0 ? found_list(&recovery) : r;
    for (uint64_t i = 0; i < recovery.count && r == 0; i++) {
        r = found_read(&recovery, i);
    }
    r = r == 0 ? gone_open(&store->gone, &store->segments) : r;
    r = r == 0 ? found_gone(&recovery) : r;
    if (r == 0) {
        wait_for_unread(&recovery);
        recover_judge(&recovery);
        miss_segments(&recovery);
        r = load_all(&recovery);
    }
    r = r == 0 ? seal_all(&recovery) : r;
    for (uint64_t i = 0; i < recovery.count; i++) {
        if (recovery.found[i].scan) {
            scan_close(recovery.found[i].scan);
        }
    }
    scan_window_close(&recovery.window);
    footer_close(&recovery.footer);
    vm_unmap(recovery.items, recovery.items_max * sizeof *recovery.items);
    vm_unmap(recovery.found, SEGMENT_IDS * sizeof *recovery.found);
    vm_unmap(recovery.scans, SEGMENT_IDS * sizeof *recovery.scans);
    return r;
}
