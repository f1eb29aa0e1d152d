/* SPDX-License-Identifier: MIT */
#include "tests/store/rig.h"

#include "base/bits.h"
#include "base/must.h"
#include "store/aborts.h"
#include "store/seal.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

/* Many operations as one, and all or nothing: store/bundle.c, with what store/order.c, store/log.c,
 * store/batch.c, store/scan.c, store/seal.c, store/aborts.c and store/recover.c do for it. */

enum { MANY = 12, BYTES = 3000 };

static struct rig rig;
static uint8_t bodies[64][BYTES];
static struct key keys[64];
static struct store_op ops[64];
static struct store_bundle bundle;

/* Not the first bundle of its store: that one waits for the helper (store/feature.h). */
static void open_marked(void) {
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    cr_assert_eq(feature_set(rig.store, FEATURE_COMMITS, rig.store->page), 0);
}

static void start(void) {
    rig_start(&rig, 1);
    rig.config.keepers = 3;
    open_marked();
    for (uint32_t i = 0; i < array_count(bodies); i++) {
        memcpy(bodies[i], rig_block(i, BYTES, &keys[i]), BYTES);
    }
}
static void end(void) {
    rig_end(&rig);
}
TestSuite(bundle, .init = start, .fini = end, .timeout = 120);

static void fill(struct store_op *op, uint32_t i, enum store_op_kind kind) {
    *op = (struct store_op){.kind = (uint8_t)kind,
                            .key = keys[i],
                            .data = bodies[i],
                            .bytes = kind == STORE_PUT ? BYTES : 0,
                            .codec = 0x55};
}

/* Puts of blocks from .. from + count - 1. */
static void puts_of(uint32_t from, uint32_t count, bool atomic) {
    bundle = (struct store_bundle){.ops = ops, .count = count, .atomic = atomic};
    for (uint32_t i = 0; i < count; i++) {
        fill(&ops[i], from + i, STORE_PUT);
    }
}

static bool over(struct store_bundle *wanted) {
    for (uint32_t k = 0; k < rig.config.keepers; k++) {
        struct store_bundle *done = keeper_bundle_done(store_keeper(rig.store, k));
        if (done) {
            cr_assert_eq(done, wanted);
            return true;
        }
    }
    return false;
}

static void finish(struct store_bundle *wanted) {
    for (uint32_t i = 0; !over(wanted); i++) {
        cr_assert_lt(i, 10000);
        rig_turn(&rig);
        (void)store_housekeep(rig.store);
    }
}

static void run(void) {
    keeper_bundle(store_keeper(rig.store, 1), &bundle);
    finish(&bundle);
}

static uint32_t present(uint32_t from, uint32_t count) {
    uint32_t found = 0;
    for (uint32_t i = from; i < from + count; i++) {
        int32_t r = rig_get(&rig, i, BYTES);
        cr_assert(r == 0 || r == STORE_ABSENT, "block %u: %d", i, r);
        found += r == 0;
    }
    return found;
}

static uint64_t sum(size_t offset) {
    uint64_t total = 0;
    for (uint32_t k = 0; k < rig.config.keepers; k++) {
        const uint8_t *counters = (const void *)keeper_counters(store_keeper(rig.store, k));
        total += counter_get((const counter_t *)(const void *)(counters + offset));
    }
    return total;
}
#define COUNTER(name) sum(offsetof(struct store_counters, name))

Test(bundle, each_operation_has_a_result_of_its_own) {
    puts_of(0, MANY, false);
    bodies[3][7] ^= 1;
    run();
    for (uint32_t i = 0; i < MANY; i++) {
        cr_assert_eq(ops[i].result, i == 3 ? STORE_MISMATCH : 0);
    }
    bundle = (struct store_bundle){.ops = ops, .count = 4};
    fill(&ops[0], 0, STORE_READ);
    fill(&ops[1], 3, STORE_READ);
    fill(&ops[2], 1, STORE_DELETE);
    fill(&ops[3], 2, STORE_READ);
    ops[3].result = STORE_HASH; /* refused before it began */
    run();
    cr_assert_eq(ops[0].result, 0);
    cr_assert_eq(frame_bytes(ops[0].frame), BYTES);
    cr_assert_eq(memcmp(frame_body(ops[0].frame), bodies[0], BYTES), 0);
    frame_give_back(ops[0].frame);
    cr_assert_eq(ops[1].result, STORE_ABSENT);
    cr_assert_eq(ops[2].result, 0);
    cr_assert_eq(ops[3].result, STORE_HASH);
    cr_assert_eq(rig_get(&rig, 1, BYTES), STORE_ABSENT);
}

/* What is looked at to see that a keeper stands still. */
Test(bundle, its_operations_are_under_way_until_it_is_taken) {
    struct keeper_flight before, flight;
    keeper_flight(store_keeper(rig.store, 1), &before);
    cr_assert_eq(before.now, 0);
    puts_of(0, MANY, true);
    keeper_bundle(store_keeper(rig.store, 1), &bundle);
    keeper_flight(store_keeper(rig.store, 1), &flight);
    cr_assert_gt(flight.now, 0);
    finish(&bundle);
    keeper_flight(store_keeper(rig.store, 1), &flight);
    cr_assert_eq(flight.now, 0);
    cr_assert_geq(flight.ended, before.ended + MANY, "each step of it is a sign of life");
    struct store_op pin = {.kind = STORE_UNPIN, .key = keys[40]};
    uint32_t at = store_keeper_of(rig.store, &pin.key);
    keeper_flight(store_keeper(rig.store, at), &before);
    cr_assert_eq(rig_do(&rig, &pin), STORE_ABSENT);
    keeper_flight(store_keeper(rig.store, at), &flight);
    cr_assert_eq(flight.ended, before.ended + 1);
}

Test(bundle, an_empty_remainder_ends_at_once) {
    puts_of(0, 2, false);
    ops[0].result = ops[1].result = STORE_HASH;
    keeper_bundle(store_keeper(rig.store, 0), &bundle);
    cr_assert(over(&bundle));
}

Test(bundle, all_of_an_atomic_one_are_there_after_it_and_after_a_crash) {
    puts_of(0, MANY, true);
    run();
    cr_assert(bundle.committed);
    for (uint32_t i = 0; i < MANY; i++) {
        cr_assert_eq(ops[i].result, 0);
    }
    cr_assert_eq(present(0, MANY), MANY);
    cr_assert_eq(COUNTER(commits), 1);
    for (uint32_t again = 0; again < 3; again++) {
        rig_crash(&rig);
        rig.config.keepers = 1 + again; /* and whoever owns them then */
        cr_assert_eq(rig_open(&rig), 0);
        cr_assert_eq(rig.report.corrupt_ranges, 0);
        cr_assert_eq(present(0, MANY), MANY);
    }
}

Test(bundle, nothing_of_an_atomic_one_is_there_where_one_is_refused) {
    for (uint32_t bad = 0; bad < 3; bad++) {
        puts_of(0, MANY, true);
        uint32_t at = bad * 5;
        if (bad == 0) {
            ops[at].key.digest[0] ^= 1;
        } else if (bad == 1) {
            ops[at].key.code = 0x1e;
        } else {
            ops[at].result = STORE_SIZE;
        }
        run();
        cr_assert_not(bundle.committed);
        for (uint32_t i = 0; i < MANY; i++) {
            int32_t expected = bad == 0 ? STORE_MISMATCH : bad == 1 ? STORE_HASH : STORE_SIZE;
            cr_assert_eq(ops[i].result, i == at ? expected : STORE_ABORTED);
        }
        cr_assert_eq(present(0, MANY), 0);
        cr_assert_eq(COUNTER(puts), 0);
        cr_assert_eq(COUNTER(write_bytes), 0, "what is wrong is known before anything is written");
    }
    puts_of(0, MANY, true);
    run();
    cr_assert_eq(present(0, MANY), MANY);
}

Test(bundle, nobody_sees_a_block_before_the_commit_is_durable) {
    puts_of(0, MANY, true);
    keeper_bundle(store_keeper(rig.store, 0), &bundle);
    uint32_t seen_without = 0;
    while (!over(&bundle)) {
        rig_turn(&rig);
        for (uint32_t i = 0; i < MANY; i++) {
            struct find find = {.key = &keys[i]};
            store_turn(rig.store, 0);
            store_find(rig.store, 0, &find, 1);
            store_park(rig.store, 0);
            seen_without += find.state != FIND_ABSENT && !bundle.committed;
        }
    }
    cr_assert_eq(seen_without, 0);
}

Test(bundle, a_block_that_comes_twice_or_is_there_already_counts_as_put) {
    cr_assert_eq(rig_put(&rig, 2, BYTES), 0);
    puts_of(0, 5, true);
    fill(&ops[4], 1, STORE_PUT); /* again */
    run();
    for (uint32_t i = 0; i < 5; i++) {
        cr_assert_eq(ops[i].result, 0);
    }
    cr_assert_eq(COUNTER(puts), 4);
    cr_assert_eq(COUNTER(put_duplicates), 2);
    puts_of(0, 4, true); /* all of it: no record at all */
    uint64_t batches = COUNTER(batches);
    run();
    cr_assert(bundle.committed);
    cr_assert_eq(COUNTER(batches), batches);
    rig_crash(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(present(0, 4), 4);
}

Test(bundle, a_delete_behind_it_waits_for_the_end_and_stays) {
    cr_assert_eq(rig_put(&rig, 0, BYTES), 0); /* a duplicate is held as well */
    puts_of(0, MANY, true);
    keeper_bundle(store_keeper(rig.store, 0), &bundle);
    rig_turn(&rig);
    struct store_op deletes[2];
    for (uint32_t i = 0; i < 2; i++) {
        fill(&deletes[i], i, STORE_DELETE);
        keeper_begin(store_keeper(rig.store, store_keeper_of(rig.store, &keys[i])), &deletes[i]);
    }
    uint32_t done = 0;
    bool ended = false;
    for (uint32_t turns = 0; done < 2 || !ended; turns++) {
        cr_assert_lt(turns, 1000);
        rig_turn(&rig);
        for (uint32_t k = 0; k < rig.config.keepers; k++) {
            while (keeper_done(store_keeper(rig.store, k))) {
                cr_assert(bundle.committed, "a delete did not wait");
                done++;
            }
        }
        ended = ended || over(&bundle);
    }
    cr_assert_eq(deletes[0].result, 0);
    cr_assert_eq(deletes[1].result, 0);
    cr_assert_eq(present(0, MANY), MANY - 2);
    rig_crash(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(present(0, MANY), MANY - 2);
}

Test(bundle, two_that_meet_both_end_and_the_older_one_counts) {
    static struct store_op others[MANY];
    struct store_bundle other = {.ops = others, .count = MANY, .atomic = true};
    for (uint32_t round = 0; round < 20; round++) {
        puts_of(0, MANY, true);
        for (uint32_t i = 0; i < MANY; i++) {
            fill(&others[i], MANY - 1 - i, STORE_PUT);
        }
        keeper_bundle(store_keeper(rig.store, round % 3), &bundle);
        if (round % 2) {
            rig_turn(&rig);
        }
        keeper_bundle(store_keeper(rig.store, (round + 1) % 3), &other);
        uint32_t ended = 0;
        for (uint32_t turns = 0; ended < 2; turns++) {
            cr_assert_lt(turns, 1000, "they wait for each other");
            rig_turn(&rig);
            for (uint32_t k = 0; k < 3; k++) {
                while (keeper_bundle_done(store_keeper(rig.store, k))) {
                    ended++;
                }
            }
        }
        cr_assert(bundle.committed || other.committed);
        for (uint32_t i = 0; i < MANY && !other.committed; i++) {
            cr_assert(others[i].result == STORE_RETRY || others[i].result == STORE_ABORTED);
        }
        for (uint32_t i = 0; i < MANY; i++) {
            cr_assert_eq(rig_delete(&rig, i, BYTES), 0);
        }
    }
}

/* Power is lost at every disk call there is, and whoever was a part of it may have written or not.
 */
Test(bundle, a_crash_at_any_moment_leaves_all_or_nothing) {
    uint32_t none = 0, all = 0;
    for (uint32_t seed = 0; seed < 6; seed++) {
        for (uint32_t at = 1;; at++) {
            rig_end(&rig);
            rig_start(&rig, seed);
            rig.config.keepers = 3;
            open_marked();
            cr_assert_eq(rig_put(&rig, 20, BYTES), 0);
            sim_disk_crash_after(rig.sim, at);
            puts_of(0, MANY, true);
            fill(&ops[5], 20, STORE_PUT);
            keeper_bundle(store_keeper(rig.store, 1), &bundle);
            bool acked = false;
            for (uint32_t i = 0; i < 40 && !sim_disk_dead(rig.sim); i++) {
                rig_turn(&rig);
                acked = acked || over(&bundle);
            }
            bool died = sim_disk_dead(rig.sim);
            while (!acked && !over(&bundle)) {
                rig_turn(&rig);
                (void)store_housekeep(rig.store);
            }
            rig_crash(&rig);
            cr_assert_eq(rig_open(&rig), 0);
            uint32_t found = present(0, 5) + present(6, MANY - 6);
            cr_assert(found == 0 || found == MANY - 1, "%u of %u at call %u", found, MANY - 1, at);
            cr_assert(!acked || found == MANY - 1, "acknowledged at call %u and gone", at);
            cr_assert_eq(present(20, 1), 1);
            none += found == 0;
            all += found != 0;
            if (!died) {
                break;
            }
        }
    }
    cr_assert_gt(none, 6);
    cr_assert_gt(all, 6);
}

Test(bundle, a_segment_is_sealed_with_its_commits_and_without_what_came_to_nothing) {
    /* One keeper has no space for its part: the others' records come to nothing. */
    puts_of(0, MANY, true);
    run();
    sim_disk_faults(rig.sim, &(struct sim_faults){.write_eio = 65536});
    puts_of(20, MANY, true);
    run();
    cr_assert_not(bundle.committed);
    sim_disk_faults(rig.sim, &(struct sim_faults){0});
    rig_crash(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(present(0, MANY), MANY);
    uint32_t found = present(20, MANY);
    cr_assert(found == 0 || found == MANY);
    uint32_t commits = 0, undecided = 0;
    for (uint32_t id = 1; id < rig.store->segments.top; id++) {
        const struct segment *segment = &rig.store->segments.all[id];
        if (segment_state(segment) == SEGMENT_SEALED) {
            cr_assert_eq(trailer_read(&rig.store->segments, segment, rig.store->page), 0);
            commits += ((const struct segment_trailer *)rig.store->page)->commits;
        }
        undecided += atomic_load(&segment->undecided);
    }
    cr_assert_eq(commits, 1 + (found != 0));
    cr_assert_eq(undecided, 0);
}

/* One keeper refuses its part when the others have begun to write theirs. */
static void come_to_nothing(uint32_t from) {
    puts_of(from, MANY, true);
    keeper_bundle(store_keeper(rig.store, 1), &bundle);
    rig_turn(&rig); /* all parts are held */
    rig.store->keepers[2].log.read_only = true;
    finish(&bundle);
    rig.store->keepers[2].log.read_only = false;
    cr_assert_not(bundle.committed);
}

/* Segments of this start that hold records of bundles which came to nothing. */
static uint32_t with_aborted(enum segment_state state) {
    uint32_t count = 0;
    for (uint32_t id = 1; id < rig.store->segments.top; id++) {
        const struct segment *segment = &rig.store->segments.all[id];
        count += atomic_load(&segment->aborted) > 0 && segment_state(segment) == state;
        cr_assert_not(atomic_load(&segment->unsettled));
    }
    return count;
}

/* Until every log has left the segment it had. */
static void fill_up(uint32_t from) {
    for (uint32_t i = 0; i < 40 && !sim_disk_dead(rig.sim); i++) {
        int32_t r = rig_put(&rig, from + i, 400000);
        cr_assert(r == 0 || sim_disk_dead(rig.sim));
    }
    for (uint32_t i = 0; i < 4; i++) {
        (void)store_housekeep(rig.store);
    }
}

static void spoil_footers_in(const char *dir) {
    for (uint32_t n = 0; sim_disk_name(rig.sim, n); n++) {
        uint64_t size = 0;
        const char *name = sim_disk_name(rig.sim, n);
        (void)sim_disk_bytes(rig.sim, name, &size);
        if (strstr(name, ".seg") && strstr(name, dir) && size > 2 * PAGE_BYTES) {
            sim_disk_spoil(rig.sim, name, size - 2 * PAGE_BYTES, "spoilt", 6);
        }
    }
}
static void spoil_footers(void) {
    spoil_footers_in("");
}

Test(bundle, what_came_to_nothing_is_left_out_of_the_footer_in_the_same_start) {
    puts_of(0, MANY, true);
    run();
    come_to_nothing(20);
    cr_assert_gt(with_aborted(SEGMENT_OPEN), 0);
    come_to_nothing(20); /* the same blocks again */
    fill_up(1000);
    cr_assert_eq(with_aborted(SEGMENT_OPEN) + with_aborted(SEGMENT_CLOSED), 0, "all are sealed");
    cr_assert_eq(with_aborted(SEGMENT_SEALED), 0);
    for (uint32_t i = 0; i < ABORTS_MAX; i++) {
        cr_assert_eq(atomic_load(&rig.store->segments.aborts->places[i]), 0, "forgotten");
    }
    for (uint32_t round = 0; round < 3; round++) {
        cr_assert_eq(present(0, MANY), MANY);
        cr_assert_eq(present(20, MANY), 0, "round %u", round);
        rig_crash(&rig);
        if (round == 1) {
            (void)rig_forget(&rig);
            spoil_footers();
        }
        cr_assert_eq(rig_open(&rig), 0);
        cr_assert_eq(rig.report.torn_batches, 0);
    }
    puts_of(20, MANY, true);
    run();
    cr_assert_eq(present(20, MANY), MANY);
}

Test(bundle, power_may_go_at_any_call_while_such_a_segment_is_sealed) {
    for (uint32_t at = 1, died = 1; died; at += 3) {
        rig_end(&rig);
        rig_start(&rig, at);
        rig.config.keepers = 3;
        open_marked();
        puts_of(0, MANY, true);
        run();
        come_to_nothing(20);
        sim_disk_crash_after(rig.sim, at);
        fill_up(1000);
        died = sim_disk_dead(rig.sim);
        rig_crash(&rig);
        cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
        cr_assert_eq(present(0, MANY), MANY, "call %u", at);
        cr_assert_eq(present(20, MANY), 0, "call %u", at);
    }
}

/* No memory for one more entry of this key, and none to grow. Returns: how many stand in its way.
 */
static uint32_t crowd(const struct key *key, bool crowded) {
    struct catalog *catalog = &rig.store->catalog;
    uint64_t hash = store_hash(rig.store, key);
    struct slab *slab = &catalog->arenas[hash_keeper(rig.store, hash)].slab;
    slab->first_free = crowded ? slab->pages_max : 0;
    for (uint32_t i = 0;; i++) {
        struct spot spot = {.segment = 1, .offset_units = 1000 + i, .length_units = 1};
        uint64_t place = store_place(rig.store, &spot);
        if (crowded && catalog_insert(catalog, hash, place) != 0) {
            return i;
        }
        struct entry entry = catalog_entry(catalog, hash, place);
        if (!crowded && !entry.bucket) {
            return i;
        }
        if (!crowded) {
            catalog_remove(catalog, hash, &entry);
        }
    }
}

/* It is committed, and the catalog has no room for one of its blocks: that one is in no snapshot,
 * so none may say that the segment of it is known. */
Test(bundle, a_block_of_it_that_found_no_memory_is_there_after_the_next_start) {
    enum { LEFT_OUT = 5 };
    puts_of(0, MANY, true);
    keeper_bundle(store_keeper(rig.store, 1), &bundle);
    for (uint32_t i = 0; op_state(&ops[LEFT_OUT])->durable == 0; i++) {
        cr_assert_lt(i, 10000);
        rig_turn(&rig);
        (void)store_housekeep(rig.store);
    }
    uint32_t crowding = crowd(&keys[LEFT_OUT], true);
    cr_assert_gt(crowding, 0);
    finish(&bundle);
    cr_assert_eq(ops[LEFT_OUT].result, -EOVERFLOW);
    cr_assert_eq(crowd(&keys[LEFT_OUT], false), crowding);
    cr_assert_eq(present(0, MANY), MANY - 1);
    cr_assert_eq(rig_delete(&rig, LEFT_OUT, BYTES), STORE_READONLY, "not absent: it will be there");
    rig_close(&rig);
    for (uint32_t starts = 0; starts < 2; starts++) {
        cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
        cr_assert_eq(present(0, MANY), MANY);
        rig_close(&rig);
    }
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
}

Test(bundle, more_that_came_to_nothing_than_is_remembered_waits_for_the_next_start) {
    for (uint32_t i = 0; i < ABORTS_MAX; i++) {
        atomic_store(&rig.store->segments.aborts->places[i], UINT64_C(1));
    }
    come_to_nothing(20);
    fill_up(1000);
    uint32_t unsettled = 0;
    for (uint32_t id = 1; id < rig.store->segments.top; id++) {
        const struct segment *segment = &rig.store->segments.all[id];
        unsettled += atomic_load(&segment->unsettled) && segment_state(segment) == SEGMENT_CLOSED;
    }
    cr_assert_gt(unsettled, 0);
    rig_close(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(present(20, MANY), 0);
    cr_assert_eq(with_aborted(SEGMENT_SEALED), 0);
}

/* The commit stands in one segment's footer, the records in others whose footers are damaged. */
Test(bundle, with_damaged_footers_the_commit_records_decide_again) {
    puts_of(0, MANY, true);
    run();
    rig_crash(&rig);
    cr_assert_eq(rig_open(&rig), 0); /* sealed by recovery */
    rig_close(&rig);
    spoil_footers();
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(present(0, MANY), MANY);
}

/* Its records lie on two devices, one of which is missing at a start in between. */
Test(bundle, a_missing_tier_does_not_make_a_bundle_come_to_nothing) {
    static const struct store_tier pair[] = {{"a", 0, TIER_SSD}, {"b", 0, TIER_SSD}};
    uint32_t without = 0;
    for (uint32_t round = 0; round < 6; round++) {
        const char *missing = round < 3 ? "/s/a" : "/s/b";
        rig_end(&rig);
        rig_start(&rig, round);
        rig.config.keepers = 3;
        rig.config.tiers = pair;
        rig.config.tier_count = 2;
        cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
        puts_of(0, MANY, true);
        keeper_bundle(store_keeper(rig.store, round % 3), &bundle);
        finish(&bundle);
        cr_assert(bundle.committed);
        rig_crash(&rig);
        sim_disk_device(rig.sim, missing, &(struct sim_device){.state = SIM_DEVICE_GONE});
        if (rig_open(&rig) == 0) {
            without++;
            for (uint32_t i = 0; i < MANY; i++) {
                int32_t r = rig_get(&rig, i, BYTES);
                cr_assert(r == 0 || r == STORE_RETRY, "block %u: %d", i, r);
            }
            rig_crash(&rig);
        }
        sim_disk_device(rig.sim, missing, &(struct sim_device){.state = SIM_DEVICE_FINE});
        cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
        cr_assert_eq(present(0, MANY), MANY, "without %s, begun at %u", missing, round % 3);
    }
    cr_assert_gt(without, 0);
}

static void steps(uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        rig.now_ns += NS_PER_S / 4;
        (void)store_maintain(rig.store, rig.now_ns);
        rig_turn(&rig);
    }
}

/* The disk as `image` has it, opened without `missing`, which is taken up for so many steps; then
 * its lists of records rot. Returns: it was taken up before they did. */
static bool taken_up_while_lists_rot(const struct rig *image, const char *missing, uint32_t count) {
    static const struct store_tier pair[] = {{"a", 0, TIER_SSD}, {"b", 0, TIER_SSD}};
    rig_end(&rig);
    rig_start(&rig, count);
    rig.config.keepers = 3;
    rig.config.tiers = pair;
    rig.config.tier_count = 2;
    sim_disk_copy(rig.sim, image->sim);
    sim_disk_device(rig.sim, missing, &(struct sim_device){.state = SIM_DEVICE_GONE});
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    cr_assert(tiers_unknown(&rig.store->tiers));
    sim_disk_device(rig.sim, missing, &(struct sim_device){.state = SIM_DEVICE_FINE});
    const struct tier *tier = &rig.store->tiers.all[strcmp(missing, "/s/a") != 0];
    for (uint32_t i = 0; tier_state(tier) != TIER_LOADING; i++) {
        cr_assert_lt(i, 100);
        steps(1);
    }
    steps(count);
    bool over = !tiers_unknown(&rig.store->tiers);
    spoil_footers_in(missing);
    for (uint32_t i = 0; tiers_unknown(&rig.store->tiers); i++) {
        cr_assert_lt(i, 1000, "after %u steps: %s", count, tier->waits ? tier->waits : "");
        steps(1);
    }
    return over;
}

Test(bundle, a_list_that_rots_while_its_tier_is_taken_up_brings_back_nothing_and_loses_nothing) {
    static const struct store_tier pair[] = {{"a", 0, TIER_SSD}, {"b", 0, TIER_SSD}};
    struct rig image;
    rig_end(&rig);
    rig_start(&rig, 3);
    rig.config.keepers = 3;
    rig.config.tiers = pair;
    rig.config.tier_count = 2;
    open_marked();
    puts_of(0, MANY, true);
    run();
    come_to_nothing(20);
    fill_up(1000);
    rig_close(&rig);
    (void)rig_forget(&rig);
    rig_start(&image, 4);
    sim_disk_copy(image.sim, rig.sim);
    for (uint32_t side = 0; side < 2; side++) {
        const char *missing = side ? "/s/b" : "/s/a";
        uint32_t count = 0;
        for (bool over = false; !over; count++) {
            over = taken_up_while_lists_rot(&image, missing, count);
            cr_assert_eq(present(0, MANY), MANY, "%s rots after %u steps", missing, count);
            cr_assert_eq(present(20, MANY), 0, "%s rots after %u steps", missing, count);
        }
        cr_assert_gt(count, 5);
    }
    rig_end(&image);
}

Test(bundle, a_full_store_refuses_all_of_it) {
    sim_disk_faults(rig.sim, &(struct sim_faults){.space = 30 * MiB});
    uint32_t refused = 0, stored = 0;
    static uint8_t large[4][400000];
    for (uint32_t n = 0; n < 40 && refused < 3; n++) {
        bundle = (struct store_bundle){.ops = ops, .count = 4, .atomic = true};
        for (uint32_t i = 0; i < 4; i++) {
            ops[i] = (struct store_op){.kind = STORE_PUT, .bytes = 400000, .codec = 0x55};
            memcpy(large[i], rig_block(1000 + n * 4 + i, 400000, &ops[i].key), 400000);
            ops[i].data = large[i];
        }
        run();
        uint32_t good = 0;
        for (uint32_t i = 0; i < 4; i++) {
            good += ops[i].result == 0;
            cr_assert(ops[i].result == 0 || ops[i].result == STORE_FULL ||
                      ops[i].result == STORE_ABORTED);
        }
        cr_assert_eq(good, bundle.committed ? 4 : 0);
        refused += !bundle.committed;
        stored += bundle.committed;
    }
    cr_assert_geq(refused, 3);
    cr_assert_gt(stored, 3);
    cr_assert_eq(COUNTER(blocks), stored * 4);
    rig_crash(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig.report.blocks, stored * 4);
}
