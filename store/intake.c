/* SPDX-License-Identifier: MIT */
#include "store/intake.h"

#include "base/bits.h"
#include "base/err.h"
#include "base/must.h"
#include "store/inside.h"

#include <errno.h>
#include <string.h>

#define LOOKS_STEP 32u /* reads of headers in one step */

enum verdict { ITEM_ASK, ITEM_LOOK, ITEM_DONE, ITEM_FULL, ITEM_NOMEM, ITEM_PINS, ITEM_UNREADABLE };

struct item {
    struct footer_entry entry;
    uint64_t check;
    uint64_t place;
    uint64_t stale; /* what lies there gives way; 0: nothing */
    uint64_t seen[CATALOG_MATCHES_MAX];
    uint64_t others[CATALOG_MATCHES_MAX]; /* proven to be of other keys */
    uint8_t seen_count, other_count;
    enum intake_kind kind;
    enum verdict verdict;
    struct store_pin pin; /* INTAKE_PIN */
};

struct intake_batch {
    struct note note;
    uint32_t count;
    bool out;
    struct item items[INTAKE_ITEMS];
};

static size_t batches_bytes(const struct store *store) {
    return store->config.keepers * sizeof(struct intake_batch);
}

int intake_open(struct intake *intake, struct store *store) {
    *intake = (struct intake){.store = store};
    intake->batches = vm_map(batches_bytes(store));
    int r = peek_open(&intake->peek, store);
    return intake->batches ? r : err_raise(-ENOMEM);
}

void intake_close(struct intake *intake) {
    if (intake->store) {
        peek_close(&intake->peek);
        vm_unmap(intake->batches, batches_bytes(intake->store));
    }
    *intake = (struct intake){.store = NULL};
}

/* --- the owner's ------------------------------------------------------------------------------ */

static bool is_other(const struct item *item, uint64_t place) {
    bool other = false;
    for (uint32_t i = 0; i < item->other_count; i++) {
        other = other || item->others[i] == place;
    }
    return other;
}

/* Where the blocks of this hash lie that may be the item's. Returns: `place` is one of them. */
static bool see(struct keeper *keeper, struct item *item, uint64_t place) {
    uint64_t places[CATALOG_MATCHES_MAX];
    uint32_t count = catalog_find(&keeper->store->catalog, item->entry.hash, places);
    bool found = false;
    must(count <= CATALOG_MATCHES_MAX); /* nobody but us moves entries of our shards */
    item->seen_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t at = places[i];
        if (place_resident(at)) {
            struct frame *frame = store_frame(keeper->store, at);
            at = atomic_load_explicit(&frame->place, memory_order_relaxed); /* ours to change */
        }
        at &= PLACE_MASK | PLACE_STATE_MASK;
        if (!is_other(item, at)) {
            item->seen[item->seen_count++] = at;
            found = found || at == place;
        }
    }
    return found;
}

static enum verdict bury(struct keeper *keeper, struct item *item) {
    if (see(keeper, item, item->stale)) {
        order_drop(keeper, item->entry.hash, item->stale);
        return ITEM_DONE;
    }
    return item->seen_count > 0 ? ITEM_LOOK : ITEM_DONE;
}

static enum verdict settle(struct keeper *keeper, struct item *item) {
    uint64_t hash = item->entry.hash;
    struct grave born = {hash, item->check, item->entry.birth_lsn};
    if (keeper->graves->full) {
        return ITEM_FULL;
    }
    if (graves_dead(keeper->graves, &born) || see(keeper, item, item->place)) {
        return ITEM_DONE;
    }
    if (item->stale != 0 && see(keeper, item, item->stale)) {
        must(order_relocate(keeper, hash, item->stale, item->place));
        return ITEM_DONE;
    }
    if (item->seen_count > 0) {
        return ITEM_LOOK;
    }
    if (catalog_insert(&keeper->store->catalog, hash, item->place) != 0) {
        return ITEM_NOMEM;
    }
    order_account(keeper, item->place, 1);
    return ITEM_DONE;
}

static enum verdict settle_pin(struct keeper *keeper, const struct item *item) {
    uint64_t hash = item->entry.hash;
    struct grave born = {hash, item->check, item->entry.birth_lsn};
    if (keeper->graves->full) {
        return ITEM_FULL;
    }
    if (graves_dead(keeper->graves, &born)) {
        return ITEM_DONE;
    }
    int r = pins_load(&keeper->pins, hash, &item->pin, item->entry.birth_lsn);
    counter_set(&keeper->counters.pins, keeper->pins.count);
    return r == 0 ? ITEM_DONE : ITEM_PINS;
}

static enum verdict answer(struct keeper *keeper, struct item *item) {
    switch (item->kind) {
    case INTAKE_BLOCK:
        return settle(keeper, item);
    case INTAKE_TOMBSTONE:
        return bury(keeper, item);
    case INTAKE_PIN:
        return settle_pin(keeper, item);
    case INTAKE_UNPIN:
        pins_unload(&keeper->pins, &item->entry);
        counter_set(&keeper->counters.pins, keeper->pins.count);
        return ITEM_DONE;
    }
    never("a record of no kind");
}

static void run(struct keeper *keeper, struct note *note) {
    struct intake_batch *batch = (struct intake_batch *)(void *)note;
    for (uint32_t i = 0; i < batch->count; i++) {
        struct item *item = &batch->items[i];
        if (item->verdict == ITEM_ASK && !order_busy(keeper, item->entry.hash)) {
            item->verdict = answer(keeper, item);
        }
    }
}

/* --- the porter's ----------------------------------------------------------------------------- */

bool intake_add(struct intake *intake, const struct intake_want *want) {
    const struct footer_entry *entry = want->entry;
    struct intake_batch *batch = &intake->batches[hash_keeper(intake->store, entry->hash)];
    if (batch->out || batch->count == INTAKE_ITEMS) {
        return false;
    }
    struct item *item = &batch->items[batch->count++];
    *item = (struct item){.entry = *entry,
                          .check = tombstone_check(entry),
                          .place = want->place & (PLACE_MASK | PLACE_STATE_MASK),
                          .kind = want->kind};
    if (want->kind == INTAKE_PIN) {
        item->pin = *want->pin;
    }
    return true;
}

static bool same_key(const struct key *key, const struct footer_entry *entry) {
    return key->code == entry->hash_code && key->digest_bytes == entry->digest_bytes &&
           memcmp(key->digest, entry->digest, min_u32(key->digest_bytes, FOOTER_PREFIX)) == 0;
}

/* Whose are the blocks that its owner saw? What cannot be read gives way, as at a start; but what a
 * tombstone may kill must be known. */
static enum verdict look(struct intake *intake, struct item *item) {
    struct peek *peek = &intake->peek;
    bool tombstone = item->kind == INTAKE_TOMBSTONE;
    item->stale = 0;
    item->other_count = 0;
    for (uint32_t i = 0; i < item->seen_count; i++) {
        uint64_t place = item->seen[i];
        int r = peek_look(peek, place, PEEK_HEADER);
        if (r == STORE_RETRY) {
            return ITEM_ASK; /* it has another place by now */
        }
        if (r != 0 || peek->record->type != RECORD_BLOCK) {
            bool here = place_here(intake->store, place);
            item->stale = tombstone ? 0 : place;
            return tombstone && here ? ITEM_UNREADABLE : ITEM_ASK;
        }
        if (!same_key(&peek->key, &item->entry)) {
            item->others[item->other_count++] = place;
            continue;
        }
        bool kills = tombstone && peek->record->birth_lsn <= item->entry.birth_lsn;
        item->stale = kills ? place : 0;
        return kills ? ITEM_ASK : ITEM_DONE;
    }
    return ITEM_ASK;
}

const char *const intake_too_many =
    "more than 65,536 blocks of one core, or pins, were deleted while it was away, which is more "
    "than is remembered: restart the daemon to take it up";

static const char *words(enum verdict verdict) {
    switch (verdict) {
    case ITEM_FULL:
        return intake_too_many;
    case ITEM_NOMEM:
        return "no memory for its blocks: restart the daemon to take it up";
    case ITEM_PINS:
        return "there are more pins on it than there may be: restart the daemon to take it up";
    case ITEM_UNREADABLE:
        return "a block that it says is deleted cannot be read: restart the daemon to take it up";
    case ITEM_ASK:
    case ITEM_LOOK:
    case ITEM_DONE:
        break;
    }
    return NULL;
}

static uint32_t collect(struct intake *intake, struct intake_batch *batch, uint32_t *looks) {
    uint32_t kept = 0;
    uint32_t count = batch->count;
    for (uint32_t i = 0; i < count; i++) {
        struct item *item = &batch->items[i];
        if (item->verdict == ITEM_LOOK && *looks > 0) {
            --*looks;
            item->verdict = look(intake, item);
        }
        const char *why = words(item->verdict);
        intake->failed = intake->failed ? intake->failed : why;
        if (item->verdict != ITEM_DONE) {
            batch->items[kept++] = *item;
        }
    }
    batch->count = kept;
    return count - kept;
}

uint32_t intake_collect(struct intake *intake) {
    uint32_t work = 0;
    uint32_t looks = LOOKS_STEP;
    for (uint32_t k = 0; k < intake->store->config.keepers; k++) {
        struct intake_batch *batch = &intake->batches[k];
        if (batch->out && note_done(&batch->note)) {
            batch->out = false;
            work += collect(intake, batch, &looks);
        }
    }
    return work;
}

void intake_post(struct intake *intake) {
    for (uint32_t k = 0; k < intake->store->config.keepers; k++) {
        struct intake_batch *batch = &intake->batches[k];
        if (batch->count > 0 && !batch->out) {
            batch->out = true;
            batch->note.run = run;
            note_post(intake->store, k, &batch->note);
        }
    }
}

bool intake_idle(const struct intake *intake) {
    bool idle = true;
    for (uint32_t k = 0; k < intake->store->config.keepers; k++) {
        idle = idle && intake->batches[k].count == 0 && !intake->batches[k].out;
    }
    return idle;
}

bool intake_out(const struct intake *intake) {
    bool out = false;
    for (uint32_t k = 0; intake->batches && k < intake->store->config.keepers; k++) {
        out = out || (intake->batches[k].out && !note_done(&intake->batches[k].note));
    }
    return out;
}
