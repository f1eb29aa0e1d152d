/* SPDX-License-Identifier: MIT */
#include "store/tier.h"

#include "base/bits.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/must.h"
#include "store/inside.h"
#include "store/text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define DEFAULT_PATH "ssd"

bool tier_lost(int32_t error) {
    return error == -EIO || error == -ENODEV || error == -ENXIO || error == -ESTALE ||
           error == -ENOTCONN || error == -EHOSTDOWN || error == -ETIMEDOUT || error == -EREMOTEIO;
}

void tier_error(struct tier *tier, int32_t error) {
    if (tier_lost(error)) {
        atomic_fetch_add_explicit(&tier->errors, 1, memory_order_relaxed); /* the probe looks */
    }
}

static int write_file(struct store *store, const struct tier *tier) {
    struct tier_page page = {.magic = TIER_FILE_MAGIC,
                             .version = FORMAT_MAJOR,
                             .kind = tier->kind,
                             .epoch = tier->epoch,
                             .created_us = clock_wall_us()};
    memcpy(page.store_uuid, store->super.slot.uuid, 16);
    memcpy(page.uuid, tier->uuid, 16);
    return tier_write(&store->config.disk, tier->dir, &page, store->page);
}

void tiers_mark(struct store *store) {
    for (uint32_t i = 0; i < store->tiers.count; i++) {
        struct tier *tier = &store->tiers.all[i];
        if (tier_state(tier) >= TIER_READONLY) {
            continue;
        }
        uint32_t before = tier->epoch;
        tier->epoch = store->super.slot.epoch;
        if (write_file(store, tier) == 0) {
            store->super.end.epochs[i] = tier->epoch;
        } else {
            tier->epoch = before;
        }
    }
}

/* --- the paths as configured ------------------------------------------------------------------ */

/* Words about one path: the first refusal counts, oddities are gathered. */
static int refuse(struct store_report *report, const struct tier *tier, const char *words, int r) {
    if (report->why[0] == 0) {
        struct text text = {report->why, sizeof report->why, 0};
        text_add(&text, "the tier at ");
        text_add(&text, tier->dir);
        text_add(&text, " ");
        text_add(&text, words);
        if (r < 0) {
            text_add(&text, ": ");
            text_add(&text, err_text(r));
        }
    }
    return r;
}

static void remark(struct store_report *report, const struct tier *tier, const char *words) {
    struct text text = {report->tiers, sizeof report->tiers, strlen(report->tiers)};
    text_add(&text, text.used > 0 ? "; " : "");
    text_add(&text, tier->dir);
    text_add(&text, " ");
    text_add(&text, words);
}

static struct tier *add(struct store *store, const struct store_tier *given) {
    struct tiers *tiers = &store->tiers;
    if (tiers->count == TIERS_MAX) {
        return NULL;
    }
    struct tier *tier = &tiers->all[tiers->count];
    *tier = (struct tier){.kind = (uint8_t)given->kind, .size_bytes = given->bytes, .lock_fd = -1};
    struct text text = {tier->dir, sizeof tier->dir, 0};
    if (given->dir[0] != '/') {
        text_add(&text, store->dir);
        text_add(&text, "/");
    }
    text_add(&text, given->dir);
    while (text.used > 1 && tier->dir[text.used - 1] == '/') {
        tier->dir[--text.used] = 0;
    }
    text = (struct text){tier->given, sizeof tier->given, 0};
    text_add(&text, given->dir);
    tier->index = (uint8_t)tiers->count++;
    atomic_init(&tier->state, TIER_MISSING);
    return tier;
}

static int add_default(struct store *store) {
    return add(store, &(struct store_tier){DEFAULT_PATH, store->config.quota_bytes, TIER_SSD})
               ? 0
               : err_raise(-EINVAL);
}

int tiers_take(struct store *store, struct store_report *report) {
    const struct store_config *config = &store->config;
    bool fast = false;
    for (uint32_t i = 0; i < config->tier_count; i++) {
        const struct store_tier *given = &config->tiers[i];
        struct tier *tier = add(store, given);
        if (!tier || given->dir[0] == 0 ||
            strlen(given->dir) + strlen(store->dir) + 2 > TIER_PATH_MAX) {
            struct text text = {report->why, sizeof report->why, 0};
            text_add(&text, tier ? "a tier's path is empty or too long" : "too many tiers");
            return tier ? err_raise(-ENAMETOOLONG) : err_raise(-EINVAL);
        }
        for (uint32_t k = 0; k + 1 < store->tiers.count; k++) {
            if (strcmp(store->tiers.all[k].dir, tier->dir) == 0) {
                return refuse(report, tier, "is named twice", err_raise(-EINVAL));
            }
        }
        fast = fast || given->kind == TIER_SSD;
    }
    return fast ? 0 : add_default(store);
}

/* --- what the paths hold ---------------------------------------------------------------------- */

struct seen {
    uint32_t segments;
    bool tier_file, foreign;
};

static int see(void *context, const char *name) {
    struct seen *seen = context;
    bool segment = segment_id_of(name) != 0;
    bool file = strcmp(name, "TIER") == 0;
    seen->segments += segment;
    seen->tier_file = seen->tier_file || file;
    bool ours = segment || file || strcmp(name, "TIER.new") == 0 || strcmp(name, "LOCK") == 0;
    seen->foreign = seen->foreign || !(ours || name[0] == '.' || strcmp(name, "lost+found") == 0);
    return 0;
}

static int look(const struct store *store, const struct tier *tier, struct seen *ret_seen) {
    const struct disk *disk = &store->config.disk;
    *ret_seen = (struct seen){0};
    return disk->calls->list_dir(disk->backend, tier->dir, see, ret_seen);
}

static void add_size(struct text *text, uint64_t bytes) {
    bool whole = bytes >= MiB && bytes % MiB == 0;
    text_add_number(text, whole ? bytes / MiB : bytes);
    text_add(text, whole ? " MiB" : " bytes");
}

static bool was_there(const struct store *store, const struct tier *tier) {
    for (uint32_t i = 0; i < store->super.tiers.count; i++) {
        if (strcmp(store->super.tiers.tiers[i].path, tier->given) == 0) {
            return true;
        }
    }
    return false;
}

/* A log leaves room for one that is moved (tier_room), so it takes two to make any. To be of use it
 * holds what all logs write and keep ready, one more each that is written out, and those two. */
bool tiers_too_small(const struct store *store, uint64_t segment_bytes,
                     struct store_report *report) {
    uint32_t keepers = store->config.keepers;
    for (uint32_t i = 0; i < store->tiers.count; i++) {
        const struct tier *tier = &store->tiers.all[i];
        if (tier->size_bytes == 0 || tier->size_bytes >= 2 * segment_bytes ||
            was_there(store, tier)) {
            continue;
        }
        struct text why = {report->why, sizeof report->why, 0};
        text_add(&why, "the tier at ");
        text_add(&why, tier->dir);
        text_add(&why, " may take ");
        add_size(&why, tier->size_bytes);
        text_add(&why, " and would never hold a block: with segments of ");
        add_size(&why, segment_bytes);
        text_add(&why, " it needs ");
        add_size(&why, 2 * segment_bytes);
        text_add(&why, ", and is of use from ");
        add_size(&why, ((LOG_SPARES + 2) * (uint64_t)keepers + 2) * segment_bytes);
        text_add(&why, keepers == 1 ? " on with 1 work core" : " on with ");
        if (keepers > 1) {
            text_add_number(&why, keepers);
            text_add(&why, " work cores");
        }
        report->misconfigured = true;
        return true;
    }
    return false;
}

bool tiers_used(const struct store *store, struct store_report *report) {
    for (uint32_t i = 0; i < store->tiers.count; i++) {
        struct seen seen;
        int r = look(store, &store->tiers.all[i], &seen);
        if (r == 0 && (seen.segments > 0 || seen.tier_file)) {
            (void)refuse(report, &store->tiers.all[i],
                         "holds segments but there is no SUPER: will not format over them",
                         STORE_FORMAT);
            return true;
        }
    }
    return false;
}

/* What opening works on. */
struct opening {
    struct store *store;
    struct store_report *report;
    struct super_tiers before; /* what SUPER knew */
    struct super_end end;
    bool claimed[SUPER_TIERS_MAX];
};

static struct super_tier *known_by(struct opening *opening, struct tier *tier, bool by_path) {
    for (uint32_t i = 0; i < opening->before.count; i++) {
        struct super_tier *known = &opening->before.tiers[i];
        bool is = by_path ? !opening->claimed[i] && strcmp(known->path, tier->given) == 0
                          : memcmp(known->uuid, tier->uuid, 16) == 0;
        if (is) {
            opening->claimed[i] = true;
            tier->epoch = opening->end.epochs[i];
            return known;
        }
    }
    return NULL;
}

static const char outdated[] =
    "is an older copy of itself: what was deleted since would be back and what was put since is "
    "not there. Put the newer one in its place and start anew";

/* One that speaks of an earlier start than SUPER remembers is left as if it were missing: what was
 * deleted since is on it, and what was put since is not. */
static void set_aside(struct opening *opening, struct tier *tier) {
    atomic_store_explicit(&tier->waits, outdated, memory_order_relaxed); /* nobody else is here */
    remark(opening->report, tier, outdated);
}

/* Nobody else may use it from now on. Returns: 0, STORE_LOCKED. */
static int hold(struct opening *opening, struct tier *tier) {
    const struct store_config *config = &opening->store->config;
    uint32_t pid = 0;
    int r = tier_lock(&config->disk, tier, config->read_only, &pid);
    if (r == -EAGAIN) {
        char words[160];
        struct text text = {words, sizeof words, 0};
        text_add(&text, "is in use by another process");
        if (pid != 0) {
            text_add(&text, ", pid ");
            text_add_number(&text, pid);
        }
        text_add(&text,
                 ": stop that one, or, where this store is a copy, give it tiers of its own");
        return refuse(opening->report, tier, words, STORE_LOCKED);
    }
    if (r != 0) {
        remark(opening->report, tier, "cannot be locked, nothing keeps another process from it: ");
        struct text text = {opening->report->tiers, sizeof opening->report->tiers,
                            strlen(opening->report->tiers)};
        text_add(&text, err_text(r));
    }
    return 0;
}

/* A path with a sound TIER file: which tier is it? Returns: 0, or refused. */
static int claim(struct opening *opening, struct tier *tier) {
    struct store *store = opening->store;
    struct tier_page found;
    memcpy(&found, store->page, sizeof found);
    if (memcmp(found.store_uuid, store->super.slot.uuid, 16) != 0) {
        return refuse(opening->report, tier, "belongs to another store", STORE_FORMAT);
    }
    for (uint32_t i = 0; i < store->tiers.count; i++) {
        const struct tier *other = &store->tiers.all[i];
        if (other != tier && memcmp(other->uuid, found.uuid, 16) == 0) {
            return refuse(opening->report, tier, "is the same as another one's", STORE_FORMAT);
        }
    }
    int held = hold(opening, tier);
    if (held != 0) {
        return held;
    }
    memcpy(tier->uuid, found.uuid, 16);
    const struct super_tier *known = known_by(opening, tier, false);
    if (known && strcmp(known->path, tier->given) != 0 && known->path[0] != 0) {
        remark(opening->report, tier, "holds the tier that was at");
        struct text text = {opening->report->tiers, sizeof opening->report->tiers,
                            strlen(opening->report->tiers)};
        text_add(&text, " ");
        text_add(&text, known->path);
    }
    if (found.epoch < tier->epoch) {
        set_aside(opening, tier);
        return 0;
    }
    tier->epoch = found.epoch;
    if (found.kind != tier->kind) {
        remark(opening->report, tier,
               tier->kind == TIER_SSD ? "was an HDD and is used as an SSD"
                                      : "was an SSD and is used as an HDD");
        if (!store->config.read_only) {
            int r = write_file(store, tier);
            (void)r; /* what the file says of the kind is for people */
        }
    }
    tier_set_state(tier, TIER_ONLINE);
    return 0;
}

/* Gives the tier its file, under the name it has or a new one. */
static int make(struct opening *opening, struct tier *tier, bool adopted) {
    struct store *store = opening->store;
    const struct disk *disk = &store->config.disk;
    static const uint8_t none[16];
    int r = hold(opening, tier);
    if (r != 0) {
        return r;
    }
    if (memcmp(tier->uuid, none, 16) == 0) {
        r = super_entropy(disk, tier->uuid, sizeof tier->uuid);
    }
    r = r == 0 && !store->config.read_only ? write_file(store, tier) : r;
    if (r != 0 && !adopted) {
        return refuse(opening->report, tier, "cannot be set up", r);
    }
    tier_set_state(tier, TIER_ONLINE); /* an adopted one that cannot be written is read */
    return 0;
}

/* A directory that is not there: a new tier's is made, a known one is missing. */
static int make_dir(struct opening *opening, struct tier *tier) {
    const struct disk *disk = &opening->store->config.disk;
    if (opening->store->config.read_only) {
        tier_set_state(tier, TIER_READONLY); /* a tool finds what there is: nothing */
        return 0;
    }
    int r = disk->calls->make_dir(disk->backend, tier->dir, 0750);
    if (r != 0 && r != -EEXIST) {
        return refuse(opening->report, tier, "cannot be made", r);
    }
    /* the name must be on the disk before SUPER knows the tier: its parent is ours to sync where it
     * is the store's directory, and else as good as any other */
    char parent[TIER_PATH_MAX];
    memcpy(parent, tier->dir, sizeof parent);
    char *slash = strrchr(parent, '/');
    if (slash && slash != parent) {
        *slash = 0;
        r = disk->calls->sync_dir(disk->backend, parent);
        if (r != 0) {
            return refuse(opening->report, tier, "cannot be made durable", r);
        }
    }
    return make(opening, tier, false);
}

/* A path without a sound TIER file (`r` says what reading it gave). */
static int settle(struct opening *opening, struct tier *tier, int r) {
    struct store *store = opening->store;
    const struct super_tier *known = known_by(opening, tier, true);
    /* Version 1.0 knew one tier and gave it no file. */
    bool old = !store->super.tiers_listed && strcmp(tier->given, DEFAULT_PATH) == 0;
    if (known) {
        memcpy(tier->uuid, known->uuid, 16);
    }
    struct seen seen;
    int listed = look(store, tier, &seen);
    if (listed == -ENOENT && !known && !old) {
        return make_dir(opening, tier);
    }
    if (listed != 0 || (r < 0 && r != -ENOENT)) {
        int why = listed != 0 ? listed : r;
        if (!known && !old) {
            return refuse(opening->report, tier, "cannot be used", why);
        }
        remark(opening->report, tier, "is missing: ");
        struct text text = {opening->report->tiers, sizeof opening->report->tiers,
                            strlen(opening->report->tiers)};
        text_add(&text, err_text(why));
        return 0;
    }
    if (old || (known && (seen.segments > 0 || seen.tier_file))) {
        return make(opening, tier, true);
    }
    if (known) {
        remark(opening->report, tier,
               "is missing: the directory is empty, as a mount point is without its disk");
        return 0;
    }
    if (seen.segments > 0 || seen.tier_file || seen.foreign) {
        return refuse(opening->report, tier,
                      seen.segments > 0 || seen.tier_file
                          ? "holds segments but no sound TIER file: whose they are is not known"
                          : "is not empty: name an empty or new directory",
                      STORE_FORMAT);
    }
    return make(opening, tier, false);
}

/* What SUPER knows and the configuration does not name: read, and left as soon as it is empty. */
static int take_up(struct opening *opening, const struct super_tier *known) {
    struct store *store = opening->store;
    struct tiers *tiers = &store->tiers;
    struct tier *tier =
        add(store, &(struct store_tier){known->path, known->bytes, (enum tier_kind)known->kind});
    if (!tier) {
        return refuse(opening->report, &tiers->all[0],
                      "cannot be taken: with those the store knows there are more than 16",
                      err_raise(-EINVAL));
    }
    memcpy(tier->uuid, known->uuid, 16);
    tier->leaving = true;
    bool named = false;
    for (uint32_t i = 0; i + 1 < tiers->count; i++) {
        named = named || strcmp(tiers->all[i].dir, tier->dir) == 0;
    }
    struct seen seen;
    const struct tier_page *page = store->page;
    bool here = !named && known->path[0] != 0 &&
                tier_read(&store->config.disk, tier->dir, store->page) == 0 &&
                memcmp(page->uuid, tier->uuid, 16) == 0 &&
                memcmp(page->store_uuid, store->super.slot.uuid, 16) == 0;
    uint32_t epoch = here ? page->epoch : 0;
    if (here && look(store, tier, &seen) == 0 && seen.segments == 0) {
        tiers->count--;
        return 0;
    }
    int r = here ? hold(opening, tier) : 0;
    if (r != 0) {
        return r;
    }
    tier->epoch = opening->end.epochs[known - opening->before.tiers];
    if (here && epoch < tier->epoch) {
        set_aside(opening, tier);
        return 0;
    }
    tier_set_state(tier, here ? TIER_READONLY : TIER_MISSING);
    remark(opening->report, tier,
           here ? "is no longer configured: it is read and gets nothing new"
                : "is known to the store, not configured, and not there");
    return 0;
}

/* What SUPER will say from now on. */
static void list(struct store *store) {
    struct super_tiers *said = &store->super.tiers;
    bool other = false;
    *said = (struct super_tiers){
        .magic = SUPER_TIERS_MAGIC, .count = store->tiers.count, .ids_top = said->ids_top};
    for (uint32_t i = 0; i < store->tiers.count; i++) {
        const struct tier *tier = &store->tiers.all[i];
        struct super_tier *at = &said->tiers[i];
        store->super.end.epochs[i] = tier->epoch;
        memcpy(at->uuid, tier->uuid, 16);
        at->kind = tier->kind;
        at->bytes = tier->size_bytes;
        if (strlen(tier->given) < SUPER_TIER_PATH) {
            memcpy(at->path, tier->given, strlen(tier->given));
        }
        other = other || strcmp(tier->given, DEFAULT_PATH) != 0;
    }
    store->super.tiers_listed = true;
    store->super.slot.minor = (uint16_t)max_u32(store->super.slot.minor, FORMAT_MINOR);
    store->super.slot.incompat &= ~SUPER_INCOMPAT_TIERS;
    store->super.slot.incompat |= other ? SUPER_INCOMPAT_TIERS : 0;
}

/* Nobody named a tier: those that were there last time. */
static int as_before(struct store *store) {
    const struct super_tiers *before = &store->super.tiers;
    store->tiers.count = 0;
    for (uint32_t i = 0; i < before->count; i++) {
        const struct super_tier *known = &before->tiers[i];
        bool usual = strcmp(known->path, DEFAULT_PATH) == 0;
        uint64_t bytes = usual ? store->config.quota_bytes : known->bytes;
        if (known->path[0] != 0) {
            (void)add(store, &(struct store_tier){known->path, bytes, (enum tier_kind)known->kind});
        }
    }
    return store->tiers.count > 0 ? 0 : add_default(store);
}

static int open_all(struct opening *opening) {
    struct store *store = opening->store;
    struct tiers *tiers = &store->tiers;
    int found[TIERS_MAX];
    int r = 0;
    for (uint32_t i = 0; i < tiers->count && r == 0; i++) {
        found[i] = tier_read(&store->config.disk, tiers->all[i].dir, store->page);
        r = found[i] == 0 ? claim(opening, &tiers->all[i]) : 0;
    }
    uint32_t named = tiers->count;
    for (uint32_t i = 0; i < named && r == 0; i++) {
        r = found[i] != 0 ? settle(opening, &tiers->all[i], found[i]) : 0;
    }
    for (uint32_t i = 0; i < opening->before.count && r == 0; i++) {
        if (!opening->claimed[i]) {
            r = take_up(opening, &opening->before.tiers[i]);
        }
    }
    return r;
}

int tiers_open(struct store *store, struct store_report *report) {
    struct tiers *tiers = &store->tiers;
    struct opening opening = {
        .store = store, .report = report, .before = store->super.tiers, .end = store->super.end};
    int r = store->config.tier_count == 0 && store->super.tiers_listed ? as_before(store) : 0;
    r = r == 0 ? open_all(&opening) : r;
    if (r != 0) {
        return r;
    }
    uint32_t here = 0;
    bool old = false;
    for (uint32_t i = 0; i < tiers->count; i++) {
        struct tier *tier = &tiers->all[i];
        bool missing = tier_state(tier) == TIER_MISSING;
        here += !missing;
        old = old || tier->waits != NULL;
        atomic_init(&tier->unit, PAGE_BYTES);
        if (!missing) {
            tier_measure(&store->config.disk, tier);
        }
        atomic_init(&tier->known, !missing);
        atomic_fetch_add_explicit(&tiers->unknown, missing, memory_order_relaxed);
    }
    if (here == 0) {
        return refuse(report, &tiers->all[0], old ? outdated : "is missing, and there is no other",
                      STORE_FORMAT);
    }
    list(store);
    return 0;
}
