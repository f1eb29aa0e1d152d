/* SPDX-License-Identifier: MIT */
#include "store/arrival.h"

#include "base/bits.h"
#include "store/graves.h"
#include "store/intake.h"
#include "tests/store/rig.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* A tier that was missing at the start is taken up while the store serves (store/arrival.c,
 * store/muster.c, store/intake.c, store/graves.c). */

enum { BYTES = 60000, SEGMENT_BLOCKS = 68, COUNT = 8 * SEGMENT_BLOCKS };

static struct rig rig;
/* The fast one takes three segments: the rest spills. */
static const struct store_tier small_fast[] = {{"ssd", 20 * MiB, TIER_SSD}, {"hdd", 0, TIER_HDD}};
static const struct store_tier large_fast[] = {{"ssd", 0, TIER_SSD}, {"hdd", 0, TIER_HDD}};
static const struct store_tier three[] = {
    {"ssd", 20 * MiB, TIER_SSD}, {"b", 20 * MiB, TIER_SSD}, {"hdd", 0, TIER_HDD}};

static void start(void) {
    rig_start(&rig, 23);
}
static void end(void) {
    rig_end(&rig);
}
TestSuite(arrival, .init = start, .fini = end);

static void use(const struct store_tier *tiers, uint32_t count) {
    rig.config.tiers = tiers;
    rig.config.tier_count = count;
}
static void device(const char *dir, enum sim_device_state state) {
    sim_disk_device(rig.sim, dir, &(struct sim_device){.state = state});
}
static struct store_tier_usage usage_of(uint32_t tier) {
    struct store_tier_usage usages[TIERS_MAX];
    cr_assert_lt(tier, store_tiers(rig.store, usages, TIERS_MAX));
    return usages[tier];
}
static void put_many(uint32_t from, uint32_t to) {
    for (uint32_t i = from; i < to; i++) {
        cr_assert_eq(rig_put(&rig, i, BYTES), 0, "block %u", i);
    }
}
static void get_many(uint32_t from, uint32_t to, int32_t result) {
    for (uint32_t i = from; i < to; i++) {
        cr_assert_eq(rig_get(&rig, i, BYTES), result, "block %u", i);
    }
}
static void step(void) {
    rig.now_ns += NS_PER_S / 4;
    (void)store_maintain(rig.store, rig.now_ns);
    rig_turn(&rig);
    (void)store_housekeep(rig.store);
}
static void wait_for(uint32_t tier, enum tier_state state) {
    for (uint32_t i = 0; usage_of(tier).state != state; i++) {
        cr_assert_lt(i, 2000, "tier %u is %s: %s", tier, tier_state_name(usage_of(tier).state),
                     usage_of(tier).waits ? usage_of(tier).waits : "");
        step();
    }
}
/* Till it says that it waits. */
static const char *wait_in_vain(uint32_t tier) {
    for (uint32_t i = 0; !usage_of(tier).waits; i++) {
        cr_assert_lt(i, 2000);
        step();
    }
    for (uint32_t i = 0; i < 40; i++) {
        step();
    }
    cr_assert_eq(usage_of(tier).state, TIER_MISSING);
    cr_assert_eq(counter_get(&store_upkeep(rig.store)->arrivals_waiting), 1, "said once");
    return usage_of(tier).waits;
}
static uint32_t count_here(uint32_t count) {
    uint32_t here = 0;
    for (uint32_t i = 0; i < count; i++) {
        int32_t r = rig_get(&rig, i, BYTES);
        cr_assert(r == 0 || r == STORE_RETRY, "block %u: %d", i, r);
        here += r == 0;
    }
    return here;
}
/* Filled, closed, and opened again without its slow tier. */
static void open_without(void) {
    use(small_fast, 2);
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    put_many(0, COUNT);
    rig_close(&rig);
    device("/s/hdd", SIM_DEVICE_GONE);
    use(large_fast, 2);
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    cr_assert_eq(usage_of(1).state, TIER_MISSING);
}

static void comes_back(uint32_t keepers) {
    rig.config.keepers = keepers;
    open_without();
    uint32_t here = count_here(COUNT);
    cr_assert_lt(here, COUNT / 2);
    cr_assert_eq(rig_put(&rig, COUNT - 1, BYTES), 0, "also put while it is away");
    cr_assert_eq(rig_put(&rig, COUNT - 2, BYTES), 0);
    cr_assert_eq(rig_delete(&rig, COUNT - 2, BYTES), 0, "a copy lies on the tier");
    uint32_t first = 0; /* of those that are not away */
    while (rig_get(&rig, first, BYTES) != 0) {
        first++;
    }
    cr_assert_eq(rig_delete(&rig, first, BYTES), 0);
    put_many(COUNT, COUNT + 10);
    device("/s/hdd", SIM_DEVICE_FINE);
    wait_for(1, TIER_ONLINE);
    cr_assert_eq(counter_get(&store_upkeep(rig.store)->arrivals), 1);
    cr_assert_gt(usage_of(1).blocks, COUNT / 2);
    for (uint32_t round = 0; round < 2; round++) {
        get_many(0, first, 0);
        get_many(first + 1, COUNT - 2, 0);
        get_many(COUNT - 1, COUNT + 10, 0);
        cr_assert_eq(rig_get(&rig, COUNT - 2, BYTES), STORE_ABSENT, "round %u", round);
        cr_assert_eq(rig_get(&rig, first, BYTES), STORE_ABSENT);
        cr_assert_eq(rig_get(&rig, 99999, BYTES), STORE_ABSENT, "a miss is a miss again");
        uint64_t blocks = usage_of(0).blocks + usage_of(1).blocks;
        cr_assert_eq(blocks, COUNT - 2 + 10);
        for (uint32_t i = 0; i < 8; i++) {
            step();
        }
        for (uint32_t k = 0; k < keepers; k++) {
            cr_assert_null(rig.store->keepers[k].graves, "no longer remembered");
        }
        if (round == 0) {
            rig_close(&rig);
            cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
        }
    }
}

Test(arrival, case_14_missing_at_the_start_is_taken_up_without_another) {
    comes_back(1);
}
Test(arrival, case_14_of_many_keepers_each_takes_its_own) {
    comes_back(3);
}

Test(arrival, while_it_is_taken_up_nothing_is_absent_and_a_delete_holds) {
    open_without();
    device("/s/hdd", SIM_DEVICE_FINE);
    wait_for(1, TIER_LOADING);
    uint32_t steps = 0;
    for (; usage_of(1).state == TIER_LOADING; steps++) {
        uint32_t i = COUNT - 1 - steps;
        int32_t r = rig_get(&rig, i, BYTES);
        cr_assert(r == STORE_RETRY || r == 0, "block %u: %d", i, r);
        cr_assert_eq(rig_put(&rig, i, BYTES), 0);
        cr_assert_eq(rig_delete(&rig, i, BYTES), 0);
        step();
    }
    cr_assert_gt(steps, 5);
    get_many(COUNT - steps, COUNT, STORE_ABSENT);
    get_many(0, COUNT - steps, 0);
    rig_crash(&rig);
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    get_many(COUNT - steps, COUNT, STORE_ABSENT);
    get_many(0, COUNT - steps, 0);
}

/* It is lost again after any number of steps, then power is, or it is back. */
Test(arrival, lost_again_on_the_way_it_goes_on_when_it_is_back) {
    bool online = false;
    uint32_t lost = 0;
    for (uint32_t steps = 0; !online; steps++) {
        if (steps > 0) {
            rig_end(&rig);
            rig_start(&rig, steps);
        }
        open_without();
        device("/s/hdd", SIM_DEVICE_FINE);
        wait_for(1, TIER_LOADING);
        for (uint32_t i = 0; i < steps; i++) {
            step();
        }
        online = usage_of(1).state == TIER_ONLINE;
        device("/s/hdd", steps % 2 == 0 ? SIM_DEVICE_GONE : SIM_DEVICE_FAILING);
        wait_for(1, TIER_MISSING);
        (void)count_here(COUNT);
        bool unknown = tiers_unknown(&rig.store->tiers);
        cr_assert(!online || !unknown);
        cr_assert_eq(rig_get(&rig, 99999, BYTES), unknown ? STORE_RETRY : STORE_ABSENT);
        lost += unknown;
        device("/s/hdd", SIM_DEVICE_FINE);
        if (steps % 3 == 2) {
            rig_crash(&rig);
            cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
        } else {
            wait_for(1, TIER_ONLINE);
        }
        get_many(0, COUNT, 0);
        cr_assert_eq(rig_get(&rig, 99999, BYTES), STORE_ABSENT);
    }
    cr_assert_gt(lost, 5);
}

/* Its own tombstone kills what another tier has. */
Test(arrival, what_it_says_is_deleted_goes) {
    static const struct store_tier first[] = {{"a", 0, TIER_SSD}};
    static const struct store_tier both[] = {{"ssd", 0, TIER_SSD}, {"a", 1, TIER_SSD}};
    use(first, 1);
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    put_many(0, 20);
    rig_close(&rig);
    use(both, 2);
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    cr_assert_eq(rig_delete(&rig, 7, BYTES), 0);
    cr_assert_eq(rig_delete(&rig, 8, BYTES), 0);
    cr_assert_eq(rig_put(&rig, 8, BYTES), 0);
    rig_close(&rig);
    (void)rig_forget(&rig);
    device("/s/ssd", SIM_DEVICE_GONE);
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    get_many(0, 20, 0);
    device("/s/ssd", SIM_DEVICE_FINE);
    wait_for(0, TIER_ONLINE);
    cr_assert_eq(rig_get(&rig, 7, BYTES), STORE_ABSENT);
    get_many(0, 7, 0);
    get_many(8, 20, 0);
    rig_close(&rig);
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    cr_assert_eq(rig_get(&rig, 7, BYTES), STORE_ABSENT);
    get_many(8, 20, 0);
}

/* Two are away; each is taken up as it comes, and only then is a miss a miss. */
Test(arrival, one_of_two_comes_back_before_the_other) {
    use(three, 3);
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    put_many(0, 12 * SEGMENT_BLOCKS);
    rig_close(&rig);
    device("/s/hdd", SIM_DEVICE_GONE);
    device("/s/b", SIM_DEVICE_EMPTY);
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    uint32_t here = count_here(12 * SEGMENT_BLOCKS);
    device("/s/hdd", SIM_DEVICE_FINE);
    wait_for(2, TIER_ONLINE);
    cr_assert_gt(count_here(12 * SEGMENT_BLOCKS), here);
    cr_assert_eq(rig_get(&rig, 99999, BYTES), STORE_RETRY);
    cr_assert_eq(rig_delete(&rig, 12 * SEGMENT_BLOCKS - 1, BYTES), 0);
    device("/s/b", SIM_DEVICE_FINE);
    wait_for(1, TIER_ONLINE);
    get_many(0, 12 * SEGMENT_BLOCKS - 1, 0);
    cr_assert_eq(rig_get(&rig, 12 * SEGMENT_BLOCKS - 1, BYTES), STORE_ABSENT);
}

/* The tombstone of a block on it was moved while it was away, and lies in no footer. */
Test(arrival, case_12_a_tombstone_that_was_moved_meanwhile_still_kills) {
    enum { OLD = 2 * SEGMENT_BLOCKS, VICTIM = 7 };
    rig_bury_elsewhere(&rig, OLD, VICTIM, BYTES);
    device("/s/a", SIM_DEVICE_FINE);
    for (uint32_t i = 0; tiers_unknown(&rig.store->tiers); i++) {
        cr_assert_lt(i, 2000);
        step();
    }
    cr_assert_eq(rig_get(&rig, VICTIM, BYTES), STORE_ABSENT);
    get_many(VICTIM + 1, OLD, 0);
    rig_close(&rig);
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    cr_assert_eq(rig_get(&rig, VICTIM, BYTES), STORE_ABSENT);
    get_many(VICTIM + 1, OLD, 0);
}

/* Power went while it was there: nothing on it was sealed in order. */
Test(arrival, what_was_not_sealed_is_judged_and_sealed_when_it_comes_back) {
    for (uint32_t keepers = 1; keepers <= 3; keepers += 2) {
        rig_end(&rig);
        rig_start(&rig, keepers);
        rig.config.keepers = keepers;
        use(small_fast, 2);
        cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
        put_many(0, COUNT);
        rig_crash(&rig);
        device("/s/hdd", SIM_DEVICE_GONE);
        cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
        uint32_t here = count_here(COUNT);
        cr_assert_lt(here, COUNT);
        device("/s/hdd", SIM_DEVICE_FINE);
        wait_for(1, TIER_ONLINE);
        for (uint32_t round = 0; round < 2; round++) {
            get_many(0, COUNT, 0);
            cr_assert_eq(rig_get(&rig, 99999, BYTES), STORE_ABSENT);
            for (uint32_t id = 1; id < rig.store->segments.top; id++) {
                const struct segment *segment = &rig.store->segments.all[id];
                bool before = segment_state(segment) != SEGMENT_NONE &&
                              segment->epoch < rig.store->segments.epoch;
                cr_assert(!before || segment_state(segment) == SEGMENT_SEALED);
            }
            rig_close(&rig);
            cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
            cr_assert_eq(rig.report.corrupt_ranges + rig.report.segments_scanned, 0);
        }
    }
}

/* Power goes at every call while that is done. */
Test(arrival, power_may_go_at_any_call_while_it_is_judged_and_sealed) {
    for (uint32_t at = 1, died = 1; died; at += 5) {
        rig_end(&rig);
        rig_start(&rig, at);
        use(small_fast, 2);
        cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
        put_many(0, 5 * SEGMENT_BLOCKS);
        rig_crash(&rig);
        device("/s/hdd", SIM_DEVICE_GONE);
        cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
        device("/s/hdd", SIM_DEVICE_FINE);
        sim_disk_crash_after(rig.sim, at);
        for (uint32_t i = 0; i < 200 && !sim_disk_dead(rig.sim) && usage_of(1).state != TIER_ONLINE;
             i++) {
            step();
        }
        died = sim_disk_dead(rig.sim);
        rig_crash(&rig);
        cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
        get_many(0, 5 * SEGMENT_BLOCKS, 0);
        cr_assert_eq(rig.report.corrupt_ranges, 0);
    }
}

Test(arrival, more_deletes_than_are_remembered_wait_for_the_next_start) {
    open_without();
    for (uint64_t i = 1; i <= GRAVES_MAX; i++) {
        graves_add(rig.store->keepers[0].graves, &(struct grave){i, i, 1});
    }
    cr_assert_eq(rig_put(&rig, COUNT - 1, BYTES), 0);
    cr_assert_eq(rig_delete(&rig, COUNT - 1, BYTES), 0, "it is not remembered");
    device("/s/hdd", SIM_DEVICE_FINE);
    cr_assert_not_null(strstr(wait_in_vain(1), "restart the daemon"));
    (void)rig_get(&rig, 0, BYTES);
    rig_close(&rig);
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    get_many(0, COUNT - 1, 0);
    cr_assert_eq(rig_get(&rig, COUNT - 1, BYTES), STORE_ABSENT);
}

static int32_t pin(uint32_t i, enum store_op_kind kind, const char *name) {
    static uint8_t payload[PIN_PAYLOAD_MAX];
    struct store_pin pin = {.mode = STORE_PIN_DIRECT, .name_bytes = (uint8_t)strlen(name)};
    memcpy(pin.name, name, strlen(name));
    struct store_op op = {.kind = (uint8_t)kind, .codec = 0x55, .data = payload};
    (void)rig_block(i, BYTES, &op.key);
    op.bytes = kind == STORE_PIN ? pin_write(&pin, payload) : 0;
    return rig_do(&rig, &op);
}

/* "" where it is not pinned. */
static const char *pinned_as(uint32_t i) {
    static char name[STORE_PIN_NAME_MAX + 1];
    struct key key;
    (void)rig_block(i, BYTES, &key);
    uint64_t hash = store_hash(rig.store, &key);
    const struct pins *pins = &rig.store->keepers[hash_keeper(rig.store, hash)].pins;
    const struct pin_slot *slot = pins_find(pins, hash, &key);
    memset(name, 0, sizeof name);
    if (slot) {
        memcpy(name, pins->names[slot - pins->slots], slot->name_bytes);
    }
    return name;
}

static void expect_pins(void) {
    static const char *const names[] = {"", "one", "two again", "three again", "", "", "six"};
    for (uint32_t i = 0; i < array_count(names); i++) {
        cr_assert_str_eq(pinned_as(i), names[i], "block %u", i);
    }
}

/* Both tiers hold records of pins; what came last of a key counts, wherever it lies. */
static void pins_come_back(uint32_t keepers, bool crash) {
    static const struct store_tier pair[] = {{"a", 0, TIER_SSD}, {"b", 0, TIER_SSD}};
    rig.config.keepers = keepers;
    use(pair, 1);
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    put_many(0, 7);
    static const char *const first[] = {"", "one", "two", "three", "four", "five"};
    for (uint32_t i = 1; i < array_count(first); i++) {
        cr_assert_eq(pin(i, STORE_PIN, first[i]), 0);
    }
    cr_assert_eq(pin(6, STORE_PIN, "ended"), 0);
    rig_close(&rig);
    use((const struct store_tier[]){{"a", 1, TIER_SSD}, {"b", 0, TIER_SSD}}, 2);
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why); /* from here on the other is written */
    cr_assert_eq(pin(2, STORE_PIN, "two again"), 0);
    cr_assert_eq(pin(4, STORE_UNPIN, ""), 0);
    cr_assert_eq(pin(6, STORE_UNPIN, ""), 0);
    cr_assert_eq(pin(6, STORE_PIN, "six"), 0);
    if (crash) {
        rig_crash(&rig);
    } else {
        rig_close(&rig);
    }
    const char *gone = keepers % 2 ? "/s/a" : "/s/b";
    device(gone, SIM_DEVICE_GONE);
    use(pair, 2);
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    int32_t unpinned = pin(5, STORE_UNPIN, "");
    cr_assert_eq(unpinned, keepers % 2 ? STORE_RETRY : 0);
    cr_assert_eq(pin(3, STORE_PIN, "three again"), 0);
    struct store_task gc = {.kind = STORE_TASK_GC};
    cr_assert_eq(store_task_begin(rig.store, &gc), 0);
    step();
    cr_assert_eq(gc.result, STORE_RETRY, "nothing is collected meanwhile");
    device(gone, SIM_DEVICE_FINE);
    wait_for(keepers % 2 ? 0 : 1, TIER_ONLINE);
    if (unpinned != 0) {
        cr_assert_eq(pin(5, STORE_UNPIN, ""), 0, "now it is known");
    }
    for (uint32_t round = 0; round < 3; round++) {
        expect_pins();
        get_many(0, 7, 0);
        if (round == 1) {
            rig_crash(&rig);
            (void)rig_forget(&rig);
        } else {
            rig_close(&rig);
        }
        cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    }
}

Test(arrival, pins_on_it_count_and_the_last_word_about_a_key) {
    for (uint32_t n = 0; n < 8; n++) {
        rig_end(&rig);
        rig_start(&rig, n);
        pins_come_back(1 + n % 4, n >= 4);
    }
}

Test(arrival, a_grave_is_of_one_key_and_keeps_the_latest_word) {
    struct graves *graves = graves_open();
    graves_add(graves, &(struct grave){5, 1, 10});
    graves_add(graves, &(struct grave){5, 2, 20});
    graves_add(graves, &(struct grave){5 + GRAVES_SLOTS, 1, 30});
    graves_add(graves, &(struct grave){5, 1, 9});
    cr_assert(graves_dead(graves, &(struct grave){5, 1, 10}));
    cr_assert_not(graves_dead(graves, &(struct grave){5, 1, 11}));
    cr_assert(graves_dead(graves, &(struct grave){5, 2, 20}));
    cr_assert(graves_dead(graves, &(struct grave){5 + GRAVES_SLOTS, 1, 30}));
    cr_assert_not(graves_dead(graves, &(struct grave){6, 1, 1}));
    cr_assert_eq(graves->count, 3);
    cr_assert_not(graves->full);
    graves_close(graves);
}

/* Anything at any time: what was acknowledged is there when all is back, and after a start. */
static void life(uint32_t seed) {
    enum { KEYS = 400 };
    uint8_t present[KEYS] = {0};
    srand(seed);
    rig.config.keepers = 1 + seed % 3;
    use(small_fast, 2);
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    for (uint32_t turn = 0; turn < 3; turn++) {
        for (uint32_t i = 0; i < 600; i++) {
            uint32_t key = (uint32_t)rand() % KEYS;
            bool put = rand() % 4 != 0;
            int32_t r = put ? rig_put(&rig, key, BYTES) : rig_delete(&rig, key, BYTES);
            cr_assert(r == 0 || (r == STORE_ABSENT && !put && !present[key]) ||
                          (r == STORE_RETRY && !put) || r == STORE_FULL,
                      "seed %u key %u: %d", seed, key, r);
            present[key] = r == 0 ? put : present[key];
            if (i == 300 && turn == 1) {
                device("/s/hdd", SIM_DEVICE_FINE);
            }
            if (turn == 1 && rand() % 3 == 0) {
                step();
            }
        }
        if (turn == 1) {
            wait_for(1, TIER_ONLINE);
        }
        for (uint32_t key = 0; key < KEYS; key++) {
            cr_assert_eq(rig_get(&rig, key, BYTES), present[key] ? 0 : STORE_ABSENT,
                         "seed %u turn %u key %u", seed, turn, key);
        }
        rig_close(&rig);
        device("/s/hdd", turn == 0 ? SIM_DEVICE_GONE : SIM_DEVICE_FINE);
        use(turn == 0 ? large_fast : small_fast, 2);
        cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    }
    rig_close(&rig);
}

Test(arrival, whatever_was_done_meanwhile_holds) {
    for (uint32_t seed = 1; seed <= 8; seed++) {
        life(seed);
        rig_end(&rig);
        rig_start(&rig, seed);
    }
}
