/* SPDX-License-Identifier: MIT */
#include "store/arrival.h"

#include "base/bits.h"
#include "base/err.h"
#include "base/must.h"
#include "store/compact.h"
#include "store/inside.h"
#include "store/intake.h"
#include "store/load.h"
#include "store/muster.h"
#include "store/seal.h"

#include <errno.h>
#include <string.h>

#define STEP_ENTRIES 8192u
#define UNREAD_NS    (1 * NS_PER_S) /* till what was not read is tried again; then twice that */
#define UNREAD_TRIES 6u

enum phase {
    ARRIVAL_MUSTER,
    ARRIVAL_ASK,    /* those that are here: what they kill, and which bundles count */
    ARRIVAL_GATHER, /* its own */
    ARRIVAL_BURY,
    ARRIVAL_TAKE,
    ARRIVAL_DOUBT, /* the same for copies that nothing calls durable: their sources go first */
    ARRIVAL_SETTLE,
    ARRIVAL_FORGET
};

/* The deletes that a keeper remembers are asked for no more. */
struct forget {
    struct note note;
    struct graves *graves; /* the keeper's until now */
};

struct arrival {
    struct porter *porter;
    struct store *store;
    struct tier *tier; /* NULL: what a start could not read */
    enum phase phase;
    struct muster muster;
    uint64_t at;          /* of those found; ASK: an id */
    struct footer footer; /* of that one */
    bool records_here;
    uint64_t next; /* entry of it */
    struct load load;
    const char *stop;
    struct intake intake;
    void *buffer; /* SEAL_BUFFER */
    struct forget forgets[STORE_KEEPERS_MAX];
};

static struct found *found_at(struct arrival *arrival) {
    return &arrival->muster.recovery.found[arrival->at];
}
static uint64_t found_count(const struct arrival *arrival) {
    return arrival->muster.recovery.count;
}

/* --- the start -------------------------------------------------------------------------------- */

static const char *const tried_again =
    "some of its segments could not be read when the daemon started; they are tried again";
static const char *const given_up =
    "some of its segments cannot be read: what only they hold is not found until the disk is well "
    "and the daemon is started again";

/* In words, where there are segments which the disk did not give. */
static void say_unread(struct store *store, const char *words) {
    for (uint32_t id = 1; id < store->segments.top; id++) {
        const struct segment *segment = &store->segments.all[id];
        if (muster_unsettled(store, segment)) {
            atomic_store_explicit(&tier_of(store, segment)->waits, words, memory_order_relaxed);
        }
    }
}

int arrival_prepare(struct store *store) {
    if (!tiers_unknown(&store->tiers)) {
        return 0;
    }
    if (store->tiers.unread) {
        say_unread(store, tried_again);
    }
    store->porter->carried = graves_open();
    bool all = store->porter->carried != NULL;
    for (uint32_t k = 0; k < store->config.keepers; k++) {
        store->keepers[k].graves = graves_open();
        all = all && store->keepers[k].graves;
    }
    return all ? 0 : err_raise(-ENOMEM);
}

static void let_go(struct porter *porter) {
    struct arrival *arrival = porter->arrival;
    if (!arrival) {
        return;
    }
    intake_close(&arrival->intake);
    for (uint32_t k = 0; k < STORE_KEEPERS_MAX; k++) {
        graves_close(arrival->forgets[k].graves);
    }
    load_close(&arrival->load);
    footer_close(&arrival->footer);
    muster_close(&arrival->muster);
    vm_unmap(arrival->buffer, SEAL_BUFFER);
    vm_unmap(arrival, sizeof *arrival);
    porter->arrival = NULL;
}

void arrival_close(struct porter *porter) {
    struct store *store = porter->store;
    let_go(porter);
    graves_close(porter->carried);
    for (uint32_t k = 0; store->keepers && k < store->config.keepers; k++) {
        graves_close(store->keepers[k].graves);
    }
}

/* --- begin ------------------------------------------------------------------------------------ */

static int begin(struct porter *porter, struct tier *tier) {
    struct arrival *arrival = vm_map(sizeof *arrival);
    struct store *store = porter->store;
    if (!arrival) {
        return err_raise(-ENOMEM);
    }
    porter->arrival = arrival;
    arrival->porter = porter;
    arrival->store = store;
    arrival->tier = tier;
    arrival->buffer = vm_map(SEAL_BUFFER);
    int r = intake_open(&arrival->intake, store);
    r = arrival->buffer ? r : err_raise(-ENOMEM);
    r = r == 0 ? load_open(&arrival->load, store, &(struct load_room){.tombstones = 0}) : r;
    return r == 0 ? muster_open(&arrival->muster, store, tier) : r;
}

bool arrival_may(const struct porter *porter, const struct tier *tier) {
    bool waits =
        atomic_load_explicit(&tier->waits, memory_order_relaxed) != NULL; /* the porter's */
    return !waits && (!porter->arrival || porter->arrival->tier == tier);
}

uint32_t arrival_welcome(struct porter *porter, struct tier *tier) {
    if (!porter->arrival && begin(porter, tier) != 0) {
        let_go(porter);
        return 0; /* at one of the next looks */
    }
    porter->arrival->muster.tries = 0;
    porter->arrival->muster.lost = false;
    tier_set_state(tier, TIER_LOADING);
    return 1;
}

/* Is the disk there under all that was not read? */
static bool unread_here(struct store *store) {
    bool here = true;
    for (uint32_t id = 1; id < store->segments.top; id++) {
        const struct segment *segment = &store->segments.all[id];
        here = here && (!muster_unsettled(store, segment) || tier_here(tier_of(store, segment)));
    }
    return here;
}

static uint32_t unread_try(struct porter *porter) {
    const struct tiers *tiers = &porter->store->tiers;
    if (!tiers->unread || porter->arrival || porter->now_ns < porter->unread_ns) {
        return 0;
    }
    porter->unread_ns = porter->now_ns + UNREAD_NS;
    if (!porter->unread_waited || !unread_here(porter->store)) {
        porter->unread_waited = true;
        return 0;
    }
    porter->unread_tries = min_u32(porter->unread_tries + 1, UNREAD_TRIES);
    porter->unread_ns = porter->now_ns + (UNREAD_NS << porter->unread_tries);
    if (begin(porter, NULL) != 0) { /* no memory for it now */
        let_go(porter);
        return 0;
    }
    return 1;
}

/* --- records ---------------------------------------------------------------------------------- */

/* A footer of a segment that is here, or of one that comes. Returns: it is there. */
static bool footer_open(struct arrival *arrival, const struct segment *segment) {
    struct store *store = arrival->store;
    struct segment_trailer trailer;
    void *page = arrival->muster.recovery.page;
    int r = trailer_read(&store->segments, segment, page);
    if (r == 0) {
        memcpy(&trailer, page, sizeof trailer);
        r = footer_read(&store->segments, segment, &trailer, &arrival->footer);
    }
    return r == 0;
}

static void phase_begin(struct arrival *arrival, enum phase phase) {
    arrival->phase = phase;
    arrival->at = 0;
    arrival->records_here = false;
}

/* Its footer is damaged: its batches are acknowledged by the trailer, and which of their records
 * count by the commits. Where nobody needed those so far, all are asked again. */
static void scan_instead(struct arrival *arrival) {
    struct muster *muster = &arrival->muster;
    struct recovery *recovery = &muster->recovery;
    struct found *found = found_at(arrival);
    if (found_scan(recovery, arrival->at, found->trailer.data_bytes) != 0) {
        arrival->stop = "no memory for its blocks: restart the daemon to take it up";
        return;
    }
    for (uint64_t i = 0; i < found->scan->entry_count; i++) {
        found->scan->entries[i].accepted = true;
    }
    recovery->partial = found_late(recovery) || recovery->partial;
    if (!muster->scans) {
        muster->scans = true;
        muster->at = 1;
        muster->phase = MUSTER_TRAILERS;
        phase_begin(arrival, ARRIVAL_MUSTER);
    } else if (arrival->phase > ARRIVAL_GATHER) { /* before, gather_end does */
        recover_uncommitted(&arrival->load, found, recovery->partial);
    }
}

/* The records of found_at, from its footer or from its scan. Returns: they are there. */
static bool records_open(struct arrival *arrival) {
    const struct found *found = found_at(arrival);
    if (arrival->records_here) {
        return true;
    }
    arrival->next = 0;
    arrival->footer.count = 0;
    if (!found->scan && found->sealed && !footer_open(arrival, found->segment)) {
        if (muster_trouble(&arrival->muster)) {
            scan_instead(arrival);
        }
        return false;
    }
    arrival->muster.tries = 0;
    arrival->records_here = true;
    return true;
}

static uint64_t records_count(struct arrival *arrival) {
    const struct scan *scan = found_at(arrival)->scan;
    return scan ? scan->entry_count : arrival->footer.count;
}

/* NULL: it does not count. */
static const struct footer_entry *record_at(struct arrival *arrival, uint64_t i) {
    const struct scan *scan = found_at(arrival)->scan;
    if (!scan) {
        return &arrival->footer.entries[i];
    }
    return scan->entries[i].accepted ? &scan->entries[i].entry : NULL;
}

static void records_end(struct arrival *arrival) {
    arrival->records_here = false;
    arrival->at++;
}

/* --- gather ----------------------------------------------------------------------------------- */

static void gather_record(struct arrival *arrival, uint32_t segment,
                          const struct footer_entry *entry) {
    uint32_t type = entry->type_flags & 15;
    if (type == RECORD_TOMBSTONE || type == RECORD_UNPIN) {
        load_tombstone(&arrival->load, segment, entry);
    } else if (type == RECORD_COMMIT) {
        load_commit(&arrival->load, entry->hash);
    }
    if (arrival->load.result != 0) {
        arrival->stop = "no memory for its blocks: restart the daemon to take it up";
    }
}

/* Holds it what kills, or what says which bundles count, from before this start? */
static bool is_asked(const struct arrival *arrival, const struct segment *segment) {
    return segment_state(segment) == SEGMENT_SEALED &&
           segment->epoch < arrival->store->segments.epoch &&
           (segment->tombstones > 0 || arrival->muster.commits[segment->id]);
}

static uint32_t ask_others(struct arrival *arrival) {
    const struct segments *segments = &arrival->store->segments;
    while (arrival->at < segments->top && !is_asked(arrival, &segments->all[arrival->at])) {
        arrival->at++;
    }
    if (arrival->at >= segments->top) {
        phase_begin(arrival, ARRIVAL_GATHER);
        return 1;
    }
    const struct segment *segment = &segments->all[arrival->at];
    if (!footer_open(arrival, segment)) {
        bool here = tier_here(tier_of(arrival->store, segment));
        if ((here || !arrival->tier) && muster_trouble(&arrival->muster)) {
            arrival->stop = "a segment that is here is damaged, and is asked what was deleted: "
                            "restart the daemon to take it up";
        }
        return 0;
    }
    arrival->muster.tries = 0;
    for (uint32_t i = 0; i < arrival->footer.count; i++) {
        gather_record(arrival, segment->id, &arrival->footer.entries[i]);
    }
    arrival->at++;
    return 1;
}

/* Commits that moves carried into segments of this start. */
static void gather_carried(struct arrival *arrival) {
    const struct graves *carried = arrival->porter->carried;
    const struct footer_entry commit = {.type_flags = RECORD_COMMIT};
    uint64_t check = tombstone_check(&commit);
    for (uint32_t i = 0; i < GRAVES_SLOTS; i++) {
        if (carried->slots[i].hash != 0 && carried->slots[i].check == check) {
            load_commit(&arrival->load, carried->slots[i].hash);
        }
    }
}

/* All is known that there is: which of the scanned records count? */
static void gather_end(struct arrival *arrival) {
    struct recovery *recovery = &arrival->muster.recovery;
    gather_carried(arrival);
    for (uint64_t i = 0; i < recovery->count; i++) {
        if (recovery->found[i].scan) {
            recover_uncommitted(&arrival->load, &recovery->found[i], recovery->partial);
        }
    }
    phase_begin(arrival, ARRIVAL_BURY);
}

static uint32_t gather(struct arrival *arrival) {
    if (arrival->at == found_count(arrival)) {
        gather_end(arrival);
        return 1;
    }
    if (!records_open(arrival)) {
        return 0;
    }
    for (uint64_t i = 0; i < records_count(arrival); i++) {
        const struct footer_entry *entry = record_at(arrival, i);
        if (entry) {
            gather_record(arrival, found_at(arrival)->segment->id, entry);
        }
    }
    records_end(arrival);
    return 1;
}

/* --- bury, take ------------------------------------------------------------------------------- */

static bool is_dead(struct arrival *arrival, const struct footer_entry *entry) {
    const struct graves *carried = arrival->porter->carried;
    if (carried->full) {
        arrival->stop = intake_too_many;
    }
    struct grave born = {entry->hash, tombstone_check(entry), entry->birth_lsn};
    return load_dead(&arrival->load, entry) || graves_dead(carried, &born);
}

/* Returns: false: not now. */
static bool hand_over_pin(struct arrival *arrival, const struct footer_entry *entry) {
    struct store_pin pin;
    int r = load_pin_read(&arrival->load, found_at(arrival)->segment->id, entry, &pin);
    if (r < 0 && !muster_trouble(&arrival->muster)) {
        return false;
    }
    if (r != 0 && !load_pin_guess(entry, &pin)) {
        arrival->stop = "a record of a pin is damaged: restart the daemon to take it up";
        return false;
    }
    struct intake_want want = {.kind = INTAKE_PIN, .entry = entry, .pin = &pin};
    return intake_add(&arrival->intake, &want);
}

/* Returns: false: not now. */
static bool hand_over(struct arrival *arrival, const struct footer_entry *entry) {
    uint32_t type = entry->type_flags & 15;
    bool kills = type == RECORD_TOMBSTONE || type == RECORD_UNPIN;
    bool taken = type == RECORD_BLOCK || type == RECORD_PIN;
    if (!(arrival->phase == ARRIVAL_BURY ? kills : taken) || entry->hash == 0 ||
        entry->digest_bytes > HASH_DIGEST_MAX || (taken && is_dead(arrival, entry))) {
        return true;
    }
    if (type == RECORD_PIN) {
        return hand_over_pin(arrival, entry);
    }
    struct intake_want want = {.kind = type == RECORD_BLOCK       ? INTAKE_BLOCK
                                       : type == RECORD_TOMBSTONE ? INTAKE_TOMBSTONE
                                                                  : INTAKE_UNPIN,
                               .entry = entry};
    if (taken) {
        want.place = footer_place(arrival->store, found_at(arrival)->segment->id, entry);
    }
    return intake_add(&arrival->intake, &want);
}

/* Copies that no word on the disk calls durable come after all others, and where their sources may
 * lie on a tier that is away they do not come yet. */
static bool is_of_phase(struct arrival *arrival) {
    bool doubtful = found_at(arrival)->segment->unproven;
    switch (arrival->phase) {
    case ARRIVAL_TAKE:
        return !doubtful;
    case ARRIVAL_DOUBT:
        return doubtful && !arrival->muster.recovery.partial;
    case ARRIVAL_MUSTER:
    case ARRIVAL_ASK:
    case ARRIVAL_GATHER:
    case ARRIVAL_BURY:
    case ARRIVAL_SETTLE:
    case ARRIVAL_FORGET:
        break;
    }
    return true;
}

static uint32_t hand_over_some(struct arrival *arrival) {
    uint32_t looked = 0;
    if (!is_of_phase(arrival)) {
        records_end(arrival);
        return 1;
    }
    if (!records_open(arrival)) {
        return 0;
    }
    uint64_t count = records_count(arrival);
    for (; arrival->next < count && looked < STEP_ENTRIES; looked++) {
        const struct footer_entry *entry = record_at(arrival, arrival->next);
        if (entry && !hand_over(arrival, entry)) {
            return looked;
        }
        arrival->next++;
    }
    if (arrival->next == count) {
        records_end(arrival);
        looked++;
    }
    return looked;
}

static uint32_t pass(struct arrival *arrival) {
    uint32_t work = intake_collect(&arrival->intake);
    arrival->stop = arrival->stop ? arrival->stop : arrival->intake.failed;
    if (arrival->at < found_count(arrival) && !arrival->stop) {
        work += hand_over_some(arrival);
    }
    if (!arrival->stop) {
        intake_post(&arrival->intake);
    }
    if (!arrival->stop && arrival->at == found_count(arrival) && intake_idle(&arrival->intake)) {
        phase_begin(arrival, (enum phase)(arrival->phase + 1));
        work++;
    }
    return work;
}

/* --- settle ----------------------------------------------------------------------------------- */

/* What counts in it shows later: when more of the store is there, or at the next start. */
static void leave(struct found *found) {
    struct segment *segment = found->segment;
    atomic_store_explicit(&segment->data_bytes, max_u64(found->data_bytes, PAGE_BYTES),
                          memory_order_relaxed); /* the state publishes it */
    atomic_store_explicit(&segment->min_birth_lsn, 0, memory_order_relaxed);
    atomic_store_explicit(&segment->unsettled, true, memory_order_relaxed);
    segment_set_state(segment, SEGMENT_CLOSED);
}

/* As a start does. Where it cannot be written it is scanned again at the next. */
static void seal_found(struct arrival *arrival, struct found *found) {
    struct store *store = arrival->store;
    struct segment *segment = found->segment;
    segment->recovered = true;
    struct seal_order order = {.segments = &store->segments,
                               .segment = segment,
                               .scan = found->scan,
                               .data_bytes = max_u64(found->data_bytes, PAGE_BYTES),
                               .buffer = arrival->buffer};
    if (seal_segment(&order) != 0) {
        leave(found);
        return;
    }
    atomic_store_explicit(&segment->unsettled, false, memory_order_relaxed);
}

static void settle_one(struct arrival *arrival, uint64_t index) {
    struct store *store = arrival->store;
    struct found *found = &arrival->muster.recovery.found[index];
    struct segment *segment = found->segment;
    const struct tier *tier = tier_of(store, segment);
    bool arrived = index < arrival->muster.arrived;
    bool read_only = arrived ? arrival->muster.read_only : tier_state(tier) >= TIER_READONLY;
    bool partial = arrival->muster.recovery.partial;
    if (found->late || found->open_end || (partial && (!found->sealed || segment->unproven))) {
        leave(found);
    } else if (found->sealed) {
        atomic_store_explicit(&segment->data_bytes, found->data_bytes, memory_order_relaxed);
        atomic_store_explicit(&segment->unsettled, false, memory_order_relaxed);
        segment_set_state(segment, SEGMENT_SEALED);
    } else if (read_only) {
        leave(found);
    } else if (found->keep) {
        seal_found(arrival, found);
    } else {
        compact_drop(arrival->porter, segment);
    }
}

static void forget_run(struct keeper *keeper, struct note *note) {
    struct forget *forget = (struct forget *)(void *)note;
    forget->graves = keeper->graves;
    keeper->graves = NULL;
}

/* words: why it is given up for this start; NULL: all of it is there. */
static void unread_end(struct store *store, const char *words) {
    struct tiers *tiers = &store->tiers;
    for (uint32_t i = 0; i < tiers->count; i++) {
        const char *waits = atomic_load_explicit(&tiers->all[i].waits, memory_order_relaxed);
        if (waits == tried_again) {
            atomic_store_explicit(&tiers->all[i].waits, words, memory_order_relaxed);
        }
    }
    tiers->unread = false;
    tiers->given_up = tiers->given_up || words;
}

/* What the start could not read is there by now, or is given up for this start. */
static bool unread_over(struct arrival *arrival) {
    struct porter *porter = arrival->porter;
    struct tiers *tiers = &arrival->store->tiers;
    bool late = false;
    for (uint64_t i = 0; i < found_count(arrival); i++) {
        late = late || arrival->muster.recovery.found[i].late;
    }
    if (!tiers->unread && late) { /* of the tier that came back */
        tiers->unread = true;
        atomic_fetch_add_explicit(&tiers->unknown, 1, memory_order_relaxed);
        porter->unread_tries = 0;
        say_unread(arrival->store, tried_again);
    }
    if (!tiers->unread || (late && porter->unread_tries < UNREAD_TRIES)) {
        return false;
    }
    unread_end(arrival->store, late ? given_up : NULL);
    return true;
}

/* So many more of `tiers->unknown` are known. */
static void known(struct arrival *arrival, uint32_t count) {
    struct porter *porter = arrival->porter;
    struct tiers *tiers = &arrival->store->tiers;
    /* release: its entries are all in; pairs with tiers_unknown */
    atomic_fetch_sub_explicit(&tiers->unknown, count, memory_order_release);
    if (tiers_unknown(tiers)) {
        let_go(porter);
        return;
    }
    arrival->phase = ARRIVAL_FORGET;
    graves_close(porter->carried);
    porter->carried = NULL;
    for (uint32_t k = 0; k < arrival->store->config.keepers; k++) {
        arrival->forgets[k].note.run = forget_run;
        note_post(arrival->store, k, &arrival->forgets[k].note);
    }
}

static void finish(struct arrival *arrival) {
    struct porter *porter = arrival->porter;
    struct tier *tier = arrival->tier;
    uint32_t count = unread_over(arrival);
    if (tier) {
        bool read_only = tier->leaving || arrival->muster.read_only;
        tier_set_state(tier, read_only ? TIER_READONLY : TIER_ONLINE);
        atomic_store_explicit(&tier->known, true, memory_order_relaxed); /* the porter's */
        counter_add(&porter->counters.arrivals, 1);
        count++;
    }
    known(arrival, count);
}

static uint32_t settle(struct arrival *arrival) {
    if (arrival->at < found_count(arrival)) {
        settle_one(arrival, arrival->at++);
    } else {
        finish(arrival);
    }
    return 1;
}

/* Returns: how many were freed. */
static uint32_t forget(struct arrival *arrival) {
    uint32_t freed = 0;
    for (uint32_t k = 0; k < arrival->store->config.keepers; k++) {
        if (!note_done(&arrival->forgets[k].note)) {
            return freed;
        }
        freed += arrival->forgets[k].graves != NULL;
        graves_close(arrival->forgets[k].graves);
        arrival->forgets[k].graves = NULL;
    }
    let_go(arrival->porter);
    return freed;
}

/* --- the step --------------------------------------------------------------------------------- */

/* A tier waits for the next start. What was not read stays as the start left it and is tried again,
 * but neither without end nor where that would help nothing. */
static void give_up(struct arrival *arrival) {
    struct porter *porter = arrival->porter;
    const char *stop = arrival->stop;
    if (arrival->tier) {
        tier_set_state(arrival->tier, TIER_MISSING);
        atomic_store_explicit(&arrival->tier->waits, stop, memory_order_relaxed);
        counter_add(&porter->counters.arrivals_waiting, 1);
        let_go(porter);
    } else if (porter->unread_tries < UNREAD_TRIES && stop != intake_too_many) {
        let_go(porter);
    } else {
        unread_end(arrival->store, stop);
        arrival->stop = NULL;
        known(arrival, 1);
    }
}

static uint32_t muster_some(struct arrival *arrival) {
    struct muster *muster = &arrival->muster;
    uint32_t work = muster_step(muster);
    arrival->stop = muster->stop;
    if (muster->phase == MUSTER_DONE) {
        arrival->phase = ARRIVAL_ASK;
        arrival->at = 1;
    }
    return work;
}

static uint32_t arrival_go_on(struct arrival *arrival) {
    switch (arrival->phase) {
    case ARRIVAL_MUSTER:
        return muster_some(arrival);
    case ARRIVAL_ASK:
        return ask_others(arrival);
    case ARRIVAL_GATHER:
        return gather(arrival);
    case ARRIVAL_BURY:
    case ARRIVAL_TAKE:
    case ARRIVAL_DOUBT:
        return pass(arrival);
    case ARRIVAL_SETTLE:
        return settle(arrival);
    case ARRIVAL_FORGET:
        return forget(arrival);
    }
    never("an arrival in no phase");
}

uint32_t arrival_step(struct porter *porter) {
    struct arrival *arrival = porter->arrival;
    if (!arrival) {
        return unread_try(porter);
    }
    if (arrival->stop) {
        if (!intake_out(&arrival->intake)) {
            give_up(arrival);
        }
        return 1;
    }
    bool loads = !arrival->tier || tier_state(arrival->tier) == TIER_LOADING;
    if (!loads && arrival->phase != ARRIVAL_FORGET) {
        return 0;
    }
    uint32_t work = arrival_go_on(arrival);
    if (porter->arrival == arrival && arrival->muster.lost) {
        arrival->muster.lost = false;
        tier_set_state(arrival->tier, TIER_MISSING);
    }
    return work;
}
