/* SPDX-License-Identifier: MIT */
#include "tests/sim/life.h"

#include "base/bits.h"
#include "base/hash.h"
#include "base/must.h"
#include "store/inside.h"
#include "store/porter.h"
#include "tests/sim/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint8_t *bodies[KEYS];
static uint32_t body_bytes[KEYS];
static struct key keys[KEYS];

uint32_t life_pick(struct life *life, uint32_t below) {
    return (uint32_t)(sim_random(&life->random) % below);
}

_Noreturn void life_fail(const struct life *life, uint32_t key, const char *what) {
    fprintf(stderr, "%s %" PRIu64 ": key %u: %s (crash %" PRIu64 ", opening %" PRIu64 ")\n",
            life->what ? life->what : "seed", life->what ? life->at : life->seed, key, what,
            life->crashes, life->opens);
    exit(1);
}

void life_blocks(void) {
    uint64_t random = 42;
    for (uint32_t i = 0; i < KEYS; i++) {
        uint32_t kind = (uint32_t)(sim_random(&random) % 10);
        uint32_t bytes = kind == 0   ? (uint32_t)(sim_random(&random) % BYTES_MAX)
                         : kind == 1 ? 0
                         : kind < 5  ? (uint32_t)(sim_random(&random) % 200)
                                     : (uint32_t)(sim_random(&random) % 12000);
        bytes = i >= ORDINARY && bytes < 4 ? 60 : bytes; /* no key twice in a group */
        bodies[i] = malloc(bytes + 8);
        must(bodies[i] != NULL);
        for (uint32_t b = 0; b < bytes; b++) {
            bodies[i][b] = (uint8_t)sim_random(&random);
        }
        if (i % 3 == 1 && bytes > 64) { /* worth compressing */
            memset(bodies[i] + 64, (int)i, bytes - 64);
        }
        if (bytes >= 4) {
            memcpy(bodies[i], &i, 4);
        }
        body_bytes[i] = bytes;
        bool wide = i % 7 == 3;
        keys[i] = (struct key){.code = wide ? HASH_SHA2_512 : HASH_SHA2_256,
                               .digest_bytes = wide ? 64 : 32};
        must(hash_compute(keys[i].code, bodies[i], bytes, keys[i].digest, keys[i].digest_bytes) ==
             0);
    }
}

/* Two keys of one content (the empty blocks) are one key. */
uint32_t life_canonical(uint32_t key) {
    for (uint32_t i = 0; i < key; i++) {
        if (key_equal(&keys[i], &keys[key])) {
            return i;
        }
    }
    return key;
}

/* --- operations ------------------------------------------------------------------------------- */

bool life_misread(const struct life *life) {
    const struct sim_faults *faults = &life->faults;
    return life->lied || faults->read_flip > 0 || faults->read_astray > 0 || faults->read_short > 0;
}

static void check_body(const struct life *life, const struct slot *slot) {
    const struct frame *frame = slot->op.frame;
    uint32_t key = slot->key;
    if (!frame || frame_bytes(frame) != body_bytes[key] ||
        memcmp(frame_body(frame), bodies[key], body_bytes[key]) != 0) {
        life_fail(life, key, "I2: other bytes than were put");
    }
}

/* A tier that was away is back in steps. */
static bool may_retry(const struct life *life) {
    return life->tiered || life->scripted || life->unread;
}

/* A full store that is being compacted asks for another try. */
static bool put_may_retry(const struct life *life) {
    return may_retry(life) || life->faults.space != 0;
}

static void learn_write(struct life *life, struct slot *slot) {
    uint32_t key = slot->key;
    int32_t result = slot->op.result;
    bool put = slot->op.kind == STORE_PUT;
    life->writes_out[key]--;
    life->writes_done[key]++;
    if (put && result == 0) {
        life->puts++;
        life->known[key] = KNOWN_PRESENT;
        life->may_go[key] =
            life->may_go[key] && !(slot->after_marks && slot->collections == life->collections);
    } else if (!put && (result == 0 || result == STORE_ABSENT)) {
        if (result == STORE_ABSENT && life->known[key] == KNOWN_PRESENT &&
            life->writes_out[key] == 0 && slot->alone && !life->lied && !life->may_go[key]) {
            life_fail(life, key, "I1: a delete did not find an acknowledged block");
        }
        life->deletes++;
        life->known[key] = KNOWN_ABSENT;
    } else {
        bool expected = result < 0 || result == STORE_FULL || result == STORE_READONLY ||
                        (result == STORE_RETRY && (put ? put_may_retry(life) : may_retry(life))) ||
                        (result == STORE_CORRUPT && (life_misread(life) || life->hurt[key]));
        if (!expected) {
            life_fail(life, key, "an outcome that nothing explains");
        }
        /* A write that was refused for want of space or kept out never began: all others may have
         * reached the disk. */
        if (result != STORE_FULL && result != STORE_RETRY) {
            life->known[key] = KNOWN_EITHER;
        }
    }
}

static void learn_read(struct life *life, struct slot *slot) {
    int32_t result = slot->op.result;
    bool quiet = slot->alone && life->writes_out[slot->key] == 0;
    life->reads++;
    if (slot->op.kind == STORE_READ && result == 0) {
        check_body(life, slot);
        frame_give_back(slot->op.frame);
    }
    if (sim_disk_dead(life->sim) || !quiet || life->lied) {
        return;
    }
    if (result == STORE_ABSENT && life->known[slot->key] == KNOWN_PRESENT &&
        !life->may_go[slot->key]) {
        life_fail(life, slot->key, "I1: an acknowledged block is said to be absent");
    }
    if (result == 0 && life->known[slot->key] == KNOWN_ABSENT && !life->unknown) {
        life_fail(life, slot->key, "I3: a deleted block is back");
    }
    if (result == STORE_CORRUPT && !life_misread(life) && !life->hurt[slot->key]) {
        life_fail(life, slot->key, "a sound block is said to be damaged");
    }
    life->corrupt += result == STORE_CORRUPT;
}

/* The bundle ends later than each of its operations: what others did to the key meanwhile may have
 * come after. */
static void learn_pack_write(struct life *life, const struct pack *pack, uint32_t i) {
    uint32_t key = pack->keys[i];
    int32_t result = pack->ops[i].result;
    bool nothing = result == STORE_FULL || (result == STORE_RETRY && put_may_retry(life)) ||
                   (pack->bundle.atomic && (result == STORE_ABORTED || result == STORE_RETRY));
    bool expected = result <= 0 || nothing || result == STORE_READONLY ||
                    (result == STORE_ABSENT && pack->ops[i].kind == STORE_DELETE) ||
                    (result == STORE_CORRUPT && (life_misread(life) || life->rotting));
    if (!expected) {
        life_fail(life, key, "an outcome of a bundle that nothing explains");
    }
    if (pack->bundle.atomic && (result == 0) != pack->bundle.committed) {
        life_fail(life, key, "I6: an atomic bundle's results differ");
    }
    life->writes_out[key]--;
    if (nothing) {
        return;
    }
    bool alone = life->writes_done[key] == pack->done_before[i];
    bool known = result == 0 || result == STORE_ABSENT;
    life->known[key] = !alone || !known                 ? KNOWN_EITHER
                       : pack->ops[i].kind == STORE_PUT ? KNOWN_PRESENT
                                                        : KNOWN_ABSENT;
    life->writes_done[key]++;
    for (uint32_t n = i + 1; n < pack->bundle.count; n++) {
        bool twin = pack->keys[n] == key && pack->bundle.atomic; /* counted by itself */
        life->packs[pack - life->packs].done_before[n] += twin;
    }
}

static void learn_pack(struct life *life, struct pack *pack) {
    must(pack->out);
    pack->out = false;
    life->commits += pack->bundle.atomic && pack->bundle.committed;
    life->aborts += pack->bundle.atomic && !pack->bundle.committed;
    for (uint32_t i = 0; i < pack->bundle.count; i++) {
        struct store_op *op = &pack->ops[i];
        if (op->kind == STORE_READ) {
            life->reads++;
            if (op->result == 0) {
                struct slot slot = {.op = *op, .key = pack->keys[i]};
                check_body(life, &slot);
                frame_give_back(op->frame);
            }
        } else {
            learn_pack_write(life, pack, i);
        }
    }
}

static void reap(struct life *life) {
    for (uint32_t k = 0; k < life->keepers; k++) {
        struct store_op *op;
        struct store_bundle *bundle;
        while ((bundle = keeper_bundle_done(store_keeper(life->store, k))) != NULL) {
            learn_pack(life, container_of(bundle, struct pack, bundle));
        }
        while ((op = keeper_done(store_keeper(life->store, k))) != NULL) {
            struct slot *slot = container_of(op, struct slot, op);
            must(slot->out);
            slot->out = false;
            bool write = op->kind == STORE_PUT || op->kind == STORE_DELETE;
            if (op->kind == STORE_PIN || op->kind == STORE_UNPIN) {
                life_learn_keep(life, slot);
            } else if (write) {
                learn_write(life, slot);
            } else {
                learn_read(life, slot);
            }
        }
    }
}

/* A read's answer says something of the oracle only if no write of its key overlapped it. */
static void overlap(struct life *life, uint32_t key) {
    for (uint32_t i = 0; i < OPS; i++) {
        if (life->slots[i].out && life->slots[i].key == key) {
            life->slots[i].alone = false;
        }
    }
    life->writes_out[key]++;
}

/* Every key of the group is known to be absent, and nobody is at it. */
static bool group_clear(const struct life *life, uint32_t group) {
    for (uint32_t i = 0; i < GROUP_KEYS; i++) {
        uint32_t key = ORDINARY + group * GROUP_KEYS + i;
        if (life->known[key] != KNOWN_ABSENT || life->writes_out[key] != 0) {
            return false;
        }
    }
    return true;
}

void life_bundle(struct life *life, struct pack *pack) {
    uint32_t group = life_pick(life, GROUPS), what = life_pick(life, 3);
    bool grouped = what == 0 && group_clear(life, group);
    pack->bundle = (struct store_bundle){
        .ops = pack->ops,
        .count = grouped ? GROUP_KEYS : 1 + life_pick(life, PACK_OPS),
        .atomic = what < 2,
    };
    for (uint32_t i = 0; i < pack->bundle.count; i++) {
        uint32_t key =
            grouped ? ORDINARY + group * GROUP_KEYS + i : life_canonical(life_pick(life, ORDINARY));
        uint32_t kind = pack->bundle.atomic ? 0 : life_pick(life, 4);
        pack->keys[i] = key;
        pack->done_before[i] = life->writes_done[key];
        pack->ops[i] = (struct store_op){.kind = kind < 2    ? STORE_PUT
                                                 : kind == 2 ? STORE_DELETE
                                                             : STORE_READ,
                                         .key = keys[key],
                                         .data = bodies[key],
                                         .bytes = body_bytes[key],
                                         .codec = 0x55};
        if (pack->ops[i].kind != STORE_READ) {
            overlap(life, key);
        }
    }
    life->whole[group] |= grouped;
    pack->out = true;
    keeper_bundle(store_keeper(life->store, life_pick(life, life->keepers)), &pack->bundle);
}

void life_begin(struct life *life, struct slot *slot, uint32_t key, enum store_op_kind kind) {
    bool write = kind == STORE_PUT || kind == STORE_DELETE;
    slot->op = (struct store_op){.kind = (uint8_t)kind,
                                 .key = keys[key],
                                 .data = bodies[key],
                                 .bytes = body_bytes[key],
                                 .codec = 0x55,
                                 .no_admit = life_pick(life, 8) == 0};
    slot->alone = life->writes_out[key] == 0;
    if (write) {
        overlap(life, key);
    }
    if (write && key >= ORDINARY) {
        life->whole[(key - ORDINARY) / GROUP_KEYS] = false;
        life->ungroups[(key - ORDINARY) / GROUP_KEYS]++;
    }
    slot->out = true;
    slot->key = key;
    slot->collections = life->collections;
    slot->after_marks = !life->collecting || counter_get(&life->gc.phase) >= 2;
    uint32_t owner = store_keeper_of(life->store, &keys[key]);
    uint32_t where = write ? owner : life_pick(life, life->keepers);
    keeper_begin(store_keeper(life->store, where), &slot->op);
}

const struct key *life_key(uint32_t key) {
    return &keys[key];
}

uint32_t life_turn(struct life *life) {
    uint32_t work = 0;
    life->now_ns += life_pick(life, 400 * 1000);
    if (life_pick(life, 200) == 0) {
        life->now_ns += NS_PER_S;
    }
    for (uint32_t k = 0; k < life->keepers; k++) {
        work += keeper_poll(store_keeper(life->store, k), life->now_ns);
    }
    for (uint32_t i = life_pick(life, 6); i > 0; i--) {
        work += sim_disk_step(life->sim);
    }
    reap(life);
    life_learn_scrub(life);
    life_learn_backup(life);
    return work;
}

static bool all_idle(const struct life *life) {
    for (uint32_t k = 0; k < life->keepers; k++) {
        if (!keeper_idle(store_keeper(life->store, k))) {
            return false;
        }
    }
    return true;
}

/* Until nothing is under way: on a dead disk everything ends in errors. */
void life_drain(struct life *life) {
    for (uint32_t i = 0; !all_idle(life); i++) {
        (void)life_turn(life);
        if (i % 16 == 15) {
            (void)store_housekeep(life->store);
        }
        if (sim_disk_dead(life->sim) && i > 20000) { /* a slow operation takes 10 s of turns */
            life_fail(life, 0, "operations that never end on a dead disk");
        }
        if (i > 200000) {
            life_fail(life, 0, "operations that never end");
        }
    }
}

/* Reads every key once, all alone. */
void life_check_all(struct life *life) {
    struct slot *slot = &life->slots[0];
    for (uint32_t i = 0; i < KEYS; i++) {
        uint32_t key = life_canonical(i);
        if (key != i) {
            continue;
        }
        int32_t result = 0;
        for (uint32_t tries = 0; tries < 50; tries++) {
            life_begin(life, slot, key, STORE_READ);
            while (slot->out && !sim_disk_dead(life->sim)) {
                (void)life_turn(life);
            }
            result = slot->op.result;
            if (sim_disk_dead(life->sim) || result == 0 || result == STORE_ABSENT) {
                break; /* others are faults of the disk, by rate: try again */
            }
        }
        if (sim_disk_dead(life->sim)) {
            return;
        }
        if (result != 0 && result != STORE_ABSENT &&
            !((life->lied || life->hurt[key]) && result == STORE_CORRUPT)) {
            life_fail(life, key, "I1: cannot be read, try as one may");
        }
        life->known[key] = result == STORE_ABSENT       ? KNOWN_ABSENT
                           : result == 0 || !life->lied ? KNOWN_PRESENT /* be it damaged */
                                                        : KNOWN_EITHER;
        life->may_go[key] = false;
    }
    life_check_pins(life);
    for (uint32_t g = 0; g < GROUPS && !life->lied; g++) {
        uint32_t present = 0;
        for (uint32_t i = 0; i < GROUP_KEYS; i++) {
            present += life->known[ORDINARY + g * GROUP_KEYS + i] == KNOWN_PRESENT;
        }
        if (life->whole[g] && present != 0 && present != GROUP_KEYS) {
            life_fail(life, ORDINARY + g * GROUP_KEYS, "I6: a part of an atomic bundle");
        }
    }
}

/* A group that is there goes again, key by key, so that another bundle can bring it. */
void life_ungroup(struct life *life, struct slot *slot) {
    uint32_t key = ORDINARY + life_pick(life, GROUPS * GROUP_KEYS);
    uint32_t first = key - (key - ORDINARY) % GROUP_KEYS;
    for (uint32_t i = 0; i < GROUP_KEYS; i++) {
        if (life->writes_out[first + i] != 0) {
            return;
        }
    }
    life_begin(life, slot, key, STORE_DELETE);
}

/* A digest of all that is listed: order and content. */
uint64_t life_listing(struct life *life) {
    struct store_item items[64];
    uint64_t cursor = 0, sum = 0, count = 0;
    while (cursor != UINT64_MAX) {
        uint32_t n = 0;
        must(store_page(life->store, &cursor, items, 64, &n) == 0);
        for (uint32_t i = 0; i < n; i++) {
            uint64_t x = items[i].birth_lsn ^ (uint64_t)items[i].bytes << 40;
            for (uint32_t b = 0; b < 8; b++) {
                x ^= (uint64_t)items[i].key.digest[b] << (8 * b);
            }
            sum += sim_random(&x);
            count++;
        }
    }
    return sum ^ count;
}

/* --- starts and ends -------------------------------------------------------------------------- */

/* What the porter did in this start goes to the totals. */
void life_tally(struct life *life) {
    const struct upkeep_counters *counters = &life->store->porter->counters;
    life->compactions += counter_get(&counters->compactions);
    life->segments_freed += counter_get(&counters->segments_freed);
    life->moves += counter_get(&counters->moves);
    life->demotions += counter_get(&counters->demotions);
    life->promotions += counter_get(&counters->promotions);
    life->repairs += counter_get(&counters->repairs);
    life->quarantines += counter_get(&counters->quarantined);
}

/* Why a store may refuse to open. */
static bool excused(const struct life *life, int r) {
    const struct sim_faults *faults = &life->faults;
    return sim_disk_dead(life->sim) || r == -ENOSPC || faults->read_eio > 0 ||
           faults->sync_eio > 0 || faults->open_eio > 0 || faults->write_eio > 0 ||
           faults->open_emfile > 0 || life_misread(life) || life->scripted || life->away;
}

bool life_open(struct life *life, struct store_report *report) {
    static const struct store_memory memories[KEEPERS_MAX] = {
        {.take = sim_memory_take, .give = sim_memory_give},
        {.take = sim_memory_take, .give = sim_memory_give},
        {.take = sim_memory_take, .give = sim_memory_give},
    };
    /* Hardly room for the spares of all keepers: what is written spills to the slow one. */
    const struct store_tier tiers[] = {{"ssd", (12 + life->seed % 4 * 8) * MiB, TIER_SSD},
                                       {"hdd", 0, TIER_HDD}};
    life->keepers = 1 + life_pick(life, KEEPERS_MAX);
    life->opens++;
    life->unread = life->faults.read_eio != 0;
    life->unknown = life->away || life->unread;
    uint64_t memory_bytes = 200 * KiB + life_pick(life, 1000) * KiB;
    struct store_config config = {
        .dir = "/s",
        .keepers = life->keepers,
        .readers = 1,
        .segment_bytes = STORE_SEGMENT_BYTES_MIN,
        .memory_bytes = memory_bytes,
        .policy = (enum store_policy)life_pick(life, STORE_POLICY_LRFU + 1),
        .compress = life->seed % 8 ? STORE_COMPRESS_HDD : STORE_COMPRESS_OFF,
        .snapshot_interval_ns = life_pick(life, 4) * 100 * NS_PER_MS,
        .tiers = life->tiered ? tiers : NULL,
        .tier_count = life->tiered ? array_count(tiers) : 0,
        .promote_budget = GiB,
        .create = true,
        .memory = life_pick(life, 2) ? memories : NULL,
        .disk = life->disk};
    int r = store_open(&config, report, &life->store);
    if (r != 0) {
        life->store = NULL;
        if (!excused(life, r) || report->why[0] == 0) {
            fprintf(stderr, "%d: %s\n", r, report->why);
            life_fail(life, 0, "I4: the store does not open, or does not say why");
        }
        return false;
    }
    if (life->verbose) {
        fprintf(stderr,
                "open %" PRIu64 ": %u keepers, clean %d, %" PRIu64 " blocks in %u"
                " segments, torn %" PRIu64 ", corrupt %" PRIu64 "\n",
                life->opens, life->keepers, report->clean, report->blocks, report->segments,
                report->torn_batches, report->corrupt_ranges);
    }
    if (report->corrupt_ranges != 0 && !life->scripted && !life->away && !life_misread(life)) {
        life_fail(life, 0, "damage reported where there is none");
    }
    life->made = life->made || !life->away;
    return true;
}

void life_power_off(struct life *life) {
    if (!sim_disk_dead(life->sim)) {
        sim_disk_crash(life->sim);
    }
    life->crashes++;
    if (life->store) {
        life_stop_tasks(life);
        life_drain(life);
        life_tally(life);
        int r = store_close(life->store);
        (void)r; /* the disk is dead */
        life->store = NULL;
    }
    sim_disk_restart(life->sim);
    for (uint32_t i = 0; i < KEYS; i++) {
        must(life->writes_out[i] == 0);
    }
    life_settle_backups(life);
}

/* I5: power lost right after a start, and again: the second start shows what the first did. */
void life_check_again(struct life *life) {
    struct store_report report;
    uint64_t before = life_listing(life);
    life_power_off(life);
    if (!life_open(life, &report)) {
        return;
    }
    if (life_listing(life) != before) {
        life_fail(life, 0, "I5: a second recovery shows something else");
    }
}

void life_device(struct life *life, enum sim_device_state state) {
    sim_disk_device(life->sim, "/s/hdd", &(struct sim_device){.state = state});
    life->away = state != SIM_DEVICE_FINE;
}
