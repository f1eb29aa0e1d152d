/* SPDX-License-Identifier: MIT */
#include "store/arrival.h"

#include "base/bits.h"
#include "base/err.h"
#include "base/must.h"
#include "store/inside.h"
#include "store/intake.h"
#include "store/load.h"
#include "store/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define STEP_SEGMENTS 8u
#define STEP_ENTRIES  8192u
#define TRIES_MAX     3u

enum phase { ARRIVAL_OPEN, ARRIVAL_GATHER, ARRIVAL_BURY, ARRIVAL_TAKE, ARRIVAL_FORGET };

/* The deletes that a keeper remembers are asked for no more. */
struct forget {
    struct note note;
    struct graves *graves; /* the keeper's until now */
};

struct arrival {
    struct porter *porter;
    struct store *store;
    struct tier *tier;
    enum phase phase;
    uint32_t *ids; /* [SEGMENT_IDS], of its segments */
    uint32_t id_count;
    uint32_t at; /* of ids; when gathering: an id */
    void *page;
    struct footer footer; /* of ids[at] */
    bool footer_here;
    uint32_t next; /* entry of it */
    struct load load;
    uint64_t room;  /* tombstones that may still come */
    uint32_t tries; /* reads that failed while the tier was there */
    bool read_only; /* its files cannot be written */
    const char *stop;
    struct intake intake;
    struct forget forgets[STORE_KEEPERS_MAX];
};

int arrival_prepare(struct store *store) {
    if (!tiers_unknown(&store->tiers)) {
        return 0;
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
    vm_unmap(arrival->page, PAGE_BYTES);
    vm_unmap(arrival->ids, SEGMENT_IDS * sizeof *arrival->ids);
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

static int list_one(void *context, const char *name) {
    struct arrival *arrival = context;
    uint32_t id = segment_id_of(name);
    if (id != 0 && arrival->id_count < SEGMENT_IDS) {
        arrival->ids[arrival->id_count++] = id;
    }
    return 0;
}

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
    arrival->load.store = store;
    arrival->page = vm_map(PAGE_BYTES);
    arrival->ids = vm_map(SEGMENT_IDS * sizeof *arrival->ids);
    int r = intake_open(&arrival->intake, store);
    r = arrival->page && arrival->ids ? r : err_raise(-ENOMEM);
    const struct disk *disk = &store->config.disk;
    return r == 0 ? disk->calls->list_dir(disk->backend, tier->dir, list_one, arrival) : r;
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
    porter->arrival->tries = 0;
    tier_set_state(tier, TIER_LOADING);
    return 1;
}

/* --- trouble ---------------------------------------------------------------------------------- */

/* A read of it failed: is it away again, or ill? */
static void trouble(struct arrival *arrival) {
    struct store *store = arrival->store;
    if (tier_present(&store->config.disk, arrival->tier, arrival->page) != 0) {
        tier_set_state(arrival->tier, TIER_MISSING);
    } else if (++arrival->tries == TRIES_MAX) {
        arrival->stop = "it cannot be read: taken up at the next start";
    }
}

/* --- open ------------------------------------------------------------------------------------- */

static const char *const not_sealed = "its segments were not sealed: taken up at the next start";

static int open_file(struct arrival *arrival, uint32_t id) {
    const struct disk *disk = &arrival->store->config.disk;
    char path[SEGMENT_PATH_MAX];
    segment_path_at(&arrival->store->segments, &(struct segment_at){arrival->tier->index, id},
                    path);
    int fd = disk->calls->open_file(disk->backend, path, O_RDWR | O_DIRECT, 0);
    if (fd == -EROFS || fd == -EACCES || fd == -EPERM) {
        fd = disk->calls->open_file(disk->backend, path, O_RDONLY | O_DIRECT, 0);
        arrival->read_only = arrival->read_only || fd >= 0;
    }
    return fd;
}

/* Header and trailer. Returns: 0, FORMAT_BAD, -errno. */
static int read_ends(struct arrival *arrival, struct segment *segment) {
    struct segments *segments = &arrival->store->segments;
    const struct disk *disk = &arrival->store->config.disk;
    const struct segment_header *header = arrival->page;
    int fd = segment_fd(segment);
    int64_t bytes = disk->calls->file_bytes(disk->backend, fd);
    int64_t n = disk->calls->pread(disk->backend, fd, arrival->page, PAGE_BYTES, 0);
    if (bytes < 0 || n < 0) {
        return (int)(bytes < 0 ? bytes : n);
    }
    if (n != PAGE_BYTES || segment_header_check(header, segments->uuid, segment->id) != 0 ||
        header->epoch >= segments->epoch) {
        return FORMAT_BAD;
    }
    segment->generation = header->generation;
    segment->create_lsn = header->create_lsn;
    segment->log = header->log;
    segment->epoch = header->epoch;
    segment->crc_base = format_crc_base(segments->uuid, header->generation);
    atomic_store_explicit(&segment->file_bytes, (uint64_t)bytes, memory_order_relaxed);
    return trailer_read(segments, segment, arrival->page);
}

static void take_trailer(struct segment *segment, const struct segment_trailer *trailer) {
    segment->damaged_ranges = trailer->damaged_ranges;
    segment->suspect = (trailer->flags & TRAILER_SUSPECT) != 0;
    segment->recovered = (trailer->flags & TRAILER_RECOVERED) != 0;
    segment->unproven = (trailer->flags & TRAILER_UNPROVEN) != 0;
    segment->footer_count = trailer->footer_count;
    segment->tombstones = trailer->tombstones;
    segment->footer_offset = trailer->footer_offset;
    atomic_store_explicit(&segment->min_birth_lsn, trailer->min_birth_lsn, memory_order_relaxed);
    atomic_store_explicit(&segment->data_bytes, trailer->data_bytes, memory_order_relaxed);
}

static void open_one(struct arrival *arrival) {
    struct store *store = arrival->store;
    uint32_t id = arrival->ids[arrival->at];
    struct segment *segment = &store->segments.all[id];
    if (segment_state(segment) != SEGMENT_NONE || id >= store->segments.id_first) {
        arrival->stop = "it has segments under ids of others: taken up at the next start";
        return;
    }
    int fd = open_file(arrival, id);
    if (fd < 0) {
        trouble(arrival);
        return;
    }
    segment_clear(segment, id);
    segment->tier = arrival->tier->index;
    atomic_store_explicit(&segment->fd, fd, memory_order_relaxed); /* the state publishes it */
    int r = read_ends(arrival, segment);
    const struct segment_trailer *trailer = arrival->page;
    if (r != 0 || trailer->pins > 0) {
        (void)store->config.disk.calls->close_file(store->config.disk.backend, fd);
        if (r < 0) {
            trouble(arrival);
        } else {
            arrival->stop = r != 0 ? not_sealed : "it holds pins: taken up at the next start";
        }
        return;
    }
    take_trailer(segment, trailer);
    (void)pthread_mutex_lock(&store->files);
    store->segments.top = max_u32(store->segments.top, id + 1);
    segment_set_state(segment, SEGMENT_LOADING);
    (void)pthread_mutex_unlock(&store->files);
    arrival->at++;
}

/* --- gather ----------------------------------------------------------------------------------- */

static bool is_ours(const struct arrival *arrival, const struct segment *segment) {
    return segment_state(segment) == SEGMENT_LOADING && segment->tier == arrival->tier->index;
}

/* Does it hold tombstones from before this start, or something to be looked at? */
static bool is_asked(const struct arrival *arrival, const struct segment *segment) {
    bool before = segment->epoch != arrival->store->segments.epoch;
    return is_ours(arrival, segment) ||
           (segment_state(segment) == SEGMENT_SEALED && before && segment->tombstones > 0);
}

static void gather_begin(struct arrival *arrival) {
    const struct segments *segments = &arrival->store->segments;
    for (uint32_t id = 1; id < segments->top; id++) {
        const struct segment *segment = &segments->all[id];
        if (segment_state(segment) == SEGMENT_CLOSED && segment->epoch != segments->epoch) {
            arrival->stop = not_sealed;
        }
        arrival->room += is_asked(arrival, segment) ? segment->tombstones : 0;
    }
    if (arrival->store->tiers.untold) {
        arrival->stop = "it may say which bundles count: taken up at the next start";
    }
    if (load_open(&arrival->load, arrival->store,
                  &(struct load_room){.tombstones = arrival->room}) != 0) {
        arrival->stop = "no memory for its blocks: taken up at the next start";
    }
    arrival->phase = ARRIVAL_GATHER;
    arrival->at = 1;
}

/* Returns: it is there. */
static bool footer_open(struct arrival *arrival, struct segment *segment) {
    struct store *store = arrival->store;
    struct segment_trailer trailer;
    int r = trailer_read(&store->segments, segment, arrival->page);
    if (r == 0) {
        memcpy(&trailer, arrival->page, sizeof trailer);
        r = footer_read(&store->segments, segment, &trailer, &arrival->footer);
    }
    if (r != 0 && tier_here(tier_of(store, segment))) {
        if (++arrival->tries == TRIES_MAX) {
            arrival->stop = "a segment is damaged: taken up at the next start";
        }
    } else if (r != 0 && segment->tier == arrival->tier->index) {
        trouble(arrival);
    }
    return r == 0;
}

static void gather_one(struct arrival *arrival, struct segment *segment) {
    if (!footer_open(arrival, segment)) {
        return;
    }
    const struct footer *footer = &arrival->footer;
    for (uint32_t i = 0; i < footer->count && !arrival->stop; i++) {
        uint32_t type = footer->entries[i].type_flags & 15;
        if (type == RECORD_TOMBSTONE && arrival->room == 0) {
            arrival->stop = "a segment is damaged: taken up at the next start";
        } else if (type == RECORD_TOMBSTONE) {
            arrival->room--;
            load_tombstone(&arrival->load, segment->id, &footer->entries[i]);
        } else if (is_ours(arrival, segment) && (type == RECORD_PIN || type == RECORD_UNPIN)) {
            arrival->stop = "it holds pins: taken up at the next start";
        }
    }
    arrival->at++;
}

static uint32_t gather(struct arrival *arrival) {
    struct segments *segments = &arrival->store->segments;
    while (arrival->at < segments->top && !is_asked(arrival, &segments->all[arrival->at])) {
        arrival->at++;
    }
    if (arrival->at < segments->top) {
        uint32_t before = arrival->at;
        gather_one(arrival, &segments->all[arrival->at]);
        return arrival->at != before;
    }
    arrival->phase = ARRIVAL_BURY;
    arrival->at = 0;
    return 1;
}

/* --- bury, take ------------------------------------------------------------------------------- */

static bool is_dead(struct arrival *arrival, const struct footer_entry *entry) {
    const struct graves *carried = arrival->porter->carried;
    if (carried->full) {
        arrival->stop = "too much was deleted while it was away: taken up at the next start";
    }
    struct grave born = {entry->hash, tombstone_check(entry), entry->birth_lsn};
    return load_dead(&arrival->load, entry) || graves_dead(carried, &born);
}

/* Returns: false: not now. */
static bool hand_over(struct arrival *arrival, const struct footer_entry *entry) {
    bool take = arrival->phase == ARRIVAL_TAKE;
    uint32_t wanted = take ? RECORD_BLOCK : RECORD_TOMBSTONE;
    if ((entry->type_flags & 15) != wanted || entry->digest_bytes > HASH_DIGEST_MAX ||
        entry->hash == 0 || (take && is_dead(arrival, entry))) {
        return true;
    }
    uint64_t place = take ? footer_place(arrival->store, arrival->ids[arrival->at], entry) : 0;
    return intake_add(&arrival->intake, take ? INTAKE_BLOCK : INTAKE_TOMBSTONE, entry, place);
}

static uint32_t hand_over_some(struct arrival *arrival) {
    uint32_t looked = 0;
    struct footer *footer = &arrival->footer;
    if (!arrival->footer_here) {
        struct segment *segment = &arrival->store->segments.all[arrival->ids[arrival->at]];
        arrival->footer_here = footer_open(arrival, segment);
        arrival->next = 0;
    }
    while (arrival->footer_here && arrival->next < footer->count && looked < STEP_ENTRIES &&
           hand_over(arrival, &footer->entries[arrival->next])) {
        arrival->next++;
        looked++;
    }
    if (arrival->footer_here && arrival->next == footer->count) {
        arrival->footer_here = false;
        arrival->at++;
        looked++;
    }
    return looked;
}

static void forget_run(struct keeper *keeper, struct note *note) {
    struct forget *forget = (struct forget *)(void *)note;
    forget->graves = keeper->graves;
    keeper->graves = NULL;
}

static void finish(struct arrival *arrival) {
    struct porter *porter = arrival->porter;
    struct tier *tier = arrival->tier;
    struct tiers *tiers = &arrival->store->tiers;
    for (uint32_t i = 0; i < arrival->id_count; i++) {
        segment_set_state(&arrival->store->segments.all[arrival->ids[i]], SEGMENT_SEALED);
    }
    tier_set_state(tier, tier->leaving || arrival->read_only ? TIER_READONLY : TIER_ONLINE);
    atomic_store_explicit(&tier->known, true, memory_order_relaxed); /* the porter's */
    /* release: its entries are all in; pairs with tiers_unknown */
    atomic_fetch_sub_explicit(&tiers->unknown, 1, memory_order_release);
    counter_add(&porter->counters.arrivals, 1);
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

static void give_up(struct arrival *arrival) {
    struct porter *porter = arrival->porter;
    tier_set_state(arrival->tier, TIER_MISSING);
    atomic_store_explicit(&arrival->tier->waits, arrival->stop, memory_order_relaxed);
    counter_add(&porter->counters.arrivals_waiting, 1);
    let_go(porter);
}

static uint32_t open_some(struct arrival *arrival) {
    uint32_t opened = 0;
    for (; opened < STEP_SEGMENTS && arrival->at < arrival->id_count && !arrival->stop; opened++) {
        uint32_t before = arrival->at;
        open_one(arrival);
        if (arrival->at == before) {
            return opened;
        }
    }
    if (arrival->at == arrival->id_count && !arrival->stop) {
        gather_begin(arrival);
    }
    return opened + 1;
}

static uint32_t pass(struct arrival *arrival) {
    uint32_t work = intake_collect(&arrival->intake);
    arrival->stop = arrival->stop ? arrival->stop : arrival->intake.failed;
    if (arrival->at < arrival->id_count && !arrival->stop) {
        work += hand_over_some(arrival);
    }
    if (!arrival->stop) {
        intake_post(&arrival->intake);
    }
    if (arrival->stop || arrival->at < arrival->id_count || !intake_idle(&arrival->intake)) {
        return work;
    }
    if (arrival->phase == ARRIVAL_BURY) {
        arrival->phase = ARRIVAL_TAKE;
        arrival->at = 0;
        return work + 1;
    }
    finish(arrival);
    return work + 1;
}

uint32_t arrival_step(struct porter *porter) {
    struct arrival *arrival = porter->arrival;
    if (!arrival) {
        return 0;
    }
    if (arrival->stop) {
        if (!intake_out(&arrival->intake)) {
            give_up(arrival);
        }
        return 1;
    }
    if (arrival->phase == ARRIVAL_FORGET) {
        return forget(arrival);
    }
    if (tier_state(arrival->tier) != TIER_LOADING) {
        return 0;
    }
    switch (arrival->phase) {
    case ARRIVAL_OPEN:
        return open_some(arrival);
    case ARRIVAL_GATHER:
        return gather(arrival);
    case ARRIVAL_BURY:
    case ARRIVAL_TAKE:
        return pass(arrival);
    case ARRIVAL_FORGET:
        break;
    }
    never("an arrival in no phase");
}
