/* SPDX-License-Identifier: MIT */
#include "tests/store/rig.h"

#include "base/bits.h"
#include "base/must.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

/* The store as its callers see it, on a simulated disk: store/store.c with store/super.c and
 * store/segment.c under it, looking up (store/find.c), the keeper's door (store/keeper.c), puts and
 * deletes (store/order.c, store/batch.c, store/log.c, store/spare.c), reads (store/read.c,
 * store/fetch.c, store/admit.c), listing and verifying (store/page.c, store/check.c). */

static struct rig rig;

static void start(void) {
    rig_start(&rig, 1);
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
}
static void end(void) {
    rig_end(&rig);
}
TestSuite(store, .init = start, .fini = end);

static const struct store_counters *counters(void) {
    return keeper_counters(store_keeper(rig.store, 0));
}

static struct find find_one(uint32_t i, uint32_t bytes, struct key *key) {
    (void)rig_block(i, bytes, key);
    struct find find = {.key = key};
    store_turn(rig.store, 0);
    store_find(rig.store, 0, &find, 1);
    store_park(rig.store, 0);
    return find;
}

Test(store, a_block_is_found_on_disk_and_then_in_memory) {
    struct key key;
    cr_assert_eq(find_one(1, 1000, &key).state, FIND_ABSENT);
    cr_assert_eq(rig_put(&rig, 1, 1000), 0);
    struct find find = find_one(1, 1000, &key);
    cr_assert_eq(find.state, FIND_DISK);
    cr_assert_neq(find.place.word, 0);
    cr_assert_eq(rig_get(&rig, 1, 1000), 0);
    find = find_one(1, 1000, &key);
    cr_assert_eq(find.state, FIND_FRAME);
    cr_assert_eq(frame_bytes(find.frame), 1000);
    cr_assert_eq(frame_codec(find.frame), 0x55);
    cr_assert_eq(memcmp(frame_body(find.frame), rig_block(1, 1000, &key), 1000), 0);
    frame_give_back(find.frame);
}

Test(store, finds_many_at_once_each_for_itself) {
    enum { COUNT = 100 };
    struct key keys[COUNT];
    struct find finds[COUNT];
    uint8_t present[COUNT];
    for (uint32_t i = 0; i < COUNT; i++) {
        if (i % 3 != 0) {
            cr_assert_eq(rig_put(&rig, i, 200 + i), 0);
        }
        if (i % 3 == 1) {
            cr_assert_eq(rig_get(&rig, i, 200 + i), 0);
        }
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        (void)rig_block(i, 200 + i, &keys[i]);
        finds[i] = (struct find){.key = &keys[i]};
    }
    store_turn(rig.store, 0);
    store_find(rig.store, 0, finds, COUNT);
    store_have(rig.store, 0, keys, present, COUNT);
    store_park(rig.store, 0);
    const enum find_state expected[3] = {FIND_ABSENT, FIND_FRAME, FIND_DISK};
    for (uint32_t i = 0; i < COUNT; i++) {
        cr_assert_eq(finds[i].state, expected[i % 3], "key %u", i);
        cr_assert_eq(present[i], i % 3 != 0);
        if (finds[i].frame) {
            cr_assert_eq(frame_bytes(finds[i].frame), 200 + i);
            frame_give_back(finds[i].frame);
        }
    }
}

Test(store, takes_blocks_from_empty_to_the_largest) {
    const uint32_t sizes[] = {0,     1,     55,     64,          4000,           4096,
                              16383, 16384, 262144, 1024 * 1024, STORE_BLOCK_MAX};
    for (uint32_t i = 0; i < array_count(sizes); i++) {
        cr_assert_eq(rig_put(&rig, i, sizes[i]), 0, "%u bytes", sizes[i]);
        cr_assert_eq(rig_get(&rig, i, sizes[i]), 0, "%u bytes", sizes[i]);
    }
    cr_assert_eq(rig_put(&rig, 99, STORE_BLOCK_MAX + 1), STORE_SIZE);
    rig_crash(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    for (uint32_t i = 0; i < array_count(sizes); i++) {
        cr_assert_eq(rig_get(&rig, i, sizes[i]), 0, "%u bytes", sizes[i]);
    }
}

Test(store, refuses_bytes_that_do_not_hash_to_their_key_and_unknown_hashes) {
    struct store_op op = {.kind = STORE_PUT, .bytes = 100};
    op.data = rig_block(1, 100, &op.key);
    op.key.digest[5] ^= 1;
    cr_assert_eq(rig_do(&rig, &op), STORE_MISMATCH);
    op.key.code = 0x1e; /* blake3 */
    cr_assert_eq(rig_do(&rig, &op), STORE_HASH);
    cr_assert_eq(counter_get(&counters()->put_mismatches), 1);
    cr_assert_eq(counter_get(&counters()->blocks), 0);
}

/* That it takes a wrong name shows that it did not hash: whoever says `hashed` answers for it. */
Test(store, what_its_caller_has_hashed_is_not_hashed_again) {
    struct store_op op = {.kind = STORE_PUT, .bytes = 100, .hashed = true};
    op.data = rig_block(1, 100, &op.key);
    op.key.digest[5] ^= 1;
    cr_assert_eq(rig_do(&rig, &op), 0);
    cr_assert_eq(counter_get(&counters()->puts), 1);
    op.key.code = 0x1e; /* blake3: what could never be verified is still refused */
    cr_assert_eq(rig_do(&rig, &op), STORE_HASH);
}

Test(store, a_block_put_twice_is_stored_once) {
    cr_assert_eq(rig_put(&rig, 1, 500), 0);
    cr_assert_eq(rig_put(&rig, 1, 500), 0);
    cr_assert_eq(rig_get(&rig, 1, 500), 0);
    cr_assert_eq(rig_put(&rig, 1, 500), 0);
    cr_assert_eq(counter_get(&counters()->puts), 1);
    cr_assert_eq(counter_get(&counters()->put_duplicates), 2);
    cr_assert_eq(counter_get(&counters()->blocks), 1);
}

Test(store, a_put_over_a_damaged_copy_heals_it) {
    cr_assert_eq(rig_put(&rig, 1, 500), 0);
    rig_close(&rig);
    uint64_t size = 0;
    for (uint32_t n = 0; sim_disk_name(rig.sim, n); n++) {
        const char *name = sim_disk_name(rig.sim, n);
        (void)sim_disk_bytes(rig.sim, name, &size);
        if (strstr(name, ".seg")) {
            sim_disk_spoil(rig.sim, name, PAGE_BYTES + 128 + 300, "x", 1);
        }
    }
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig_get(&rig, 1, 500), STORE_CORRUPT);
    cr_assert_eq(rig_put(&rig, 1, 500), 0);
    cr_assert_eq(rig_get(&rig, 1, 500), 0);
    cr_assert_eq(counter_get(&counters()->blocks), 1);
}

Test(store, a_deleted_block_is_absent_and_can_be_put_again) {
    cr_assert_eq(rig_delete(&rig, 1, 500), STORE_ABSENT);
    cr_assert_eq(rig_put(&rig, 1, 500), 0);
    cr_assert_eq(rig_get(&rig, 1, 500), 0);
    cr_assert_eq(rig_delete(&rig, 1, 500), 0);
    cr_assert_eq(rig_get(&rig, 1, 500), STORE_ABSENT);
    cr_assert_eq(counter_get(&counters()->blocks), 0);
    rig_crash(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig_get(&rig, 1, 500), STORE_ABSENT);
    cr_assert_eq(rig_put(&rig, 1, 500), 0);
    rig_crash(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig_get(&rig, 1, 500), 0);
}

Test(store, operations_on_one_key_take_effect_in_their_order) {
    struct keeper *keeper = store_keeper(rig.store, 0);
    const uint8_t kinds[6] = {STORE_PUT, STORE_DELETE, STORE_PUT,
                              STORE_PUT, STORE_DELETE, STORE_DELETE};
    const int32_t results[6] = {0, 0, 0, 0, 0, STORE_ABSENT};
    struct store_op ops[6];
    for (uint32_t i = 0; i < 6; i++) {
        ops[i] = (struct store_op){.kind = kinds[i], .bytes = 300};
        ops[i].data = rig_block(1, 300, &ops[i].key);
        keeper_begin(keeper, &ops[i]);
    }
    uint32_t done = 0;
    while (done < 6) {
        rig_turn(&rig);
        while (keeper_done(keeper)) {
            done++;
        }
    }
    for (uint32_t i = 0; i < 6; i++) {
        cr_assert_eq(ops[i].result, results[i], "operation %u: %d", i, ops[i].result);
    }
    cr_assert_eq(rig_get(&rig, 1, 300), STORE_ABSENT);
}

Test(store, readers_of_one_block_share_one_read) {
    cr_assert_eq(rig_put(&rig, 1, 5000), 0);
    struct keeper *keeper = store_keeper(rig.store, 0);
    struct store_op ops[20];
    for (uint32_t i = 0; i < 20; i++) {
        ops[i] = (struct store_op){.kind = STORE_READ};
        (void)rig_block(1, 5000, &ops[i].key);
        keeper_begin(keeper, &ops[i]);
    }
    rig_turn(&rig);
    cr_assert_eq(counter_get(&counters()->reads), 1);
    for (uint32_t i = 0; i < 20; i++) {
        cr_assert_eq(keeper_done(keeper), &ops[i]);
        cr_assert_eq(ops[i].result, 0);
        cr_assert_eq(ops[i].frame, ops[0].frame);
        frame_give_back(ops[i].frame);
    }
}

Test(store, more_reads_than_buffers_wait_their_turn) {
    enum { COUNT = 300 };
    for (uint32_t i = 0; i < COUNT; i++) {
        cr_assert_eq(rig_put(&rig, i, i % 50 == 0 ? 300000 : 1000), 0);
    }
    struct keeper *keeper = store_keeper(rig.store, 0);
    static struct store_op ops[COUNT];
    for (uint32_t i = 0; i < COUNT; i++) {
        ops[i] = (struct store_op){.kind = STORE_READ};
        (void)rig_block(i, i % 50 == 0 ? 300000 : 1000, &ops[i].key);
        keeper_begin(keeper, &ops[i]);
    }
    uint32_t done = 0;
    for (uint32_t turns = 0; turns < 1000 && done < COUNT; turns++) {
        rig_turn(&rig);
        struct store_op *op;
        while ((op = keeper_done(keeper)) != NULL) {
            cr_assert(op->result == 0 || op->result == STORE_RETRY);
            if (op->frame) {
                frame_give_back(op->frame);
            }
            done++;
        }
    }
    cr_assert_eq(done, COUNT);
}

Test(store, memory_stays_within_its_budget_and_evicted_blocks_come_back_from_disk) {
    enum { COUNT = 400, BYTES = 10000 };
    for (uint32_t i = 0; i < COUNT; i++) {
        cr_assert_eq(rig_put(&rig, i, BYTES), 0);
        cr_assert_eq(rig_get(&rig, i, BYTES), 0);
        cr_assert_leq(store_keeper(rig.store, 0)->home.bytes, 1 * MiB);
    }
    rig_turn(&rig);
    cr_assert_gt(counter_get(&counters()->evictions), 200);
    cr_assert_leq(counter_get(&counters()->frame_bytes), 1 * MiB);
    cr_assert_geq(counter_get(&counters()->frame_bytes), MiB / 2);
    for (uint32_t i = 0; i < COUNT; i++) {
        cr_assert_eq(rig_get(&rig, i, BYTES), 0);
    }
}

/* Short of memory: frames leave at once, commits are small and few, and all goes on. */
Test(store, pressed_it_evicts_and_serves_on_with_the_fewest_buffers) {
    rig_close(&rig);
    rig.config.batches = 2;
    rig.config.fetches[0] = rig.config.fetches[1] = rig.config.fetches[2] = 1;
    cr_assert_eq(rig_open(&rig), 0);
    for (uint32_t i = 0; i < 20; i++) {
        cr_assert_eq(rig_put(&rig, i, 20000), 0);
        cr_assert_eq(rig_get(&rig, i, 20000), 0);
    }
    const struct keeper *keeper = &rig.store->keepers[0];
    cr_assert_gt(keeper->evictor.frames, 0);
    store_press(rig.store, &(struct ladder_step){LADDER_PUTS, 0});
    rig_turn(&rig);
    cr_assert_eq(keeper->evictor.frames, 0);
    for (uint32_t i = 20; i < 60; i++) {
        cr_assert_eq(rig_put(&rig, i, i % 7 == 0 ? 600000 : 20000), 0);
        cr_assert_eq(rig_get(&rig, i, i % 7 == 0 ? 600000 : 20000), 0);
        cr_assert_eq(keeper->evictor.frames, 0);
    }
    store_press(rig.store, &(struct ladder_step){LADDER_ALL, rig.config.memory_bytes});
    for (uint32_t i = 0; i < 20; i++) {
        cr_assert_eq(rig_get(&rig, i, 20000), 0);
    }
    cr_assert_gt(keeper->evictor.frames, 0);
}

/* Readers of one block share a read: who joins one takes no buffer, and the next in line has it. */
Test(store, no_buffer_stays_idle_while_a_read_waits_for_one) {
    enum { BLOCKS = 9, READS = 24, BYTES = 5000 };
    for (uint32_t i = 0; i < BLOCKS; i++) {
        cr_assert_eq(rig_put(&rig, i, BYTES), 0);
    }
    rig_close(&rig);
    rig.config.fetches[0] = rig.config.fetches[1] = rig.config.fetches[2] = 1;
    cr_assert_eq(rig_open(&rig), 0);
    struct keeper *keeper = store_keeper(rig.store, 0);
    static struct store_op reads[READS];
    for (uint32_t i = 0; i < READS; i++) {
        reads[i] = (struct store_op){.kind = STORE_READ};
        uint32_t block = i < 3 ? i : 3 + (i - 3) / 4; /* three under way, then four of each */
        (void)rig_block(block, BYTES, &reads[i].key);
        keeper_begin(keeper, &reads[i]);
    }
    uint32_t done = 0;
    while (done < READS) {
        const struct fetches *fetches = &keeper->fetches;
        cr_assert(!fetches->waiting[0].head || fetches->out == 3, "%u are under way", fetches->out);
        cr_assert(sim_disk_step(rig.sim));
        for (struct store_op *op = keeper_done(keeper); op; op = keeper_done(keeper), done++) {
            cr_assert_eq(op->result, 0);
            frame_give_back(op->frame);
        }
    }
}

Test(store, a_scan_does_not_enter_memory) {
    cr_assert_eq(rig_put(&rig, 1, 5000), 0);
    struct store_op op = {.kind = STORE_READ, .no_admit = true};
    (void)rig_block(1, 5000, &op.key);
    cr_assert_eq(rig_do(&rig, &op), 0);
    frame_give_back(op.frame);
    struct key key;
    cr_assert_eq(find_one(1, 5000, &key).state, FIND_DISK);
    rig_turn(&rig);
    cr_assert_eq(store_keeper(rig.store, 0)->home.bytes, 0);
}

Test(store, damage_is_said_and_never_served) {
    cr_assert_eq(rig_put(&rig, 1, 5000), 0);
    sim_disk_faults(rig.sim, &(struct sim_faults){.read_flip = 65536});
    uint32_t corrupt = 0;
    for (uint32_t i = 0; i < 50; i++) {
        int32_t r = rig_get(&rig, 1, 5000); /* panics on wrong bytes; a flip may miss the record */
        cr_assert(r == 0 || r == STORE_CORRUPT);
        corrupt += r == STORE_CORRUPT;
        if (r == 0) {
            break;
        }
    }
    sim_disk_faults(rig.sim, &(struct sim_faults){0});
    cr_assert_eq(rig_get(&rig, 1, 5000), 0);
    cr_assert_eq(counter_get(&counters()->corrupt), corrupt);
}

Test(store, an_unreadable_disk_is_an_error_and_not_an_absence) {
    cr_assert_eq(rig_put(&rig, 1, 5000), 0);
    sim_disk_faults(rig.sim, &(struct sim_faults){.read_eio = 65536});
    cr_assert_eq(rig_get(&rig, 1, 5000), -EIO);
    struct store_op op = {.kind = STORE_VERIFY};
    (void)rig_block(1, 5000, &op.key);
    cr_assert_eq(rig_do(&rig, &op), -EIO);
    sim_disk_faults(rig.sim, &(struct sim_faults){0});
    cr_assert_eq(rig_do(&rig, &op), 0);
}

Test(store, a_failed_write_goes_to_another_segment_under_the_same_lsns) {
    cr_assert_eq(rig_put(&rig, 1, 700), 0);
    struct store_op op = {.kind = STORE_PUT, .bytes = 700, .codec = 0x55};
    op.data = rig_block(2, 700, &op.key);
    struct keeper *keeper = store_keeper(rig.store, 0);
    sim_disk_faults(rig.sim, &(struct sim_faults){.write_eio = 65536});
    keeper_begin(keeper, &op);
    rig_turn(&rig);
    cr_assert_null(keeper_done(keeper), "nothing is acknowledged");
    sim_disk_faults(rig.sim, &(struct sim_faults){0});
    while (!keeper_done(keeper)) {
        rig_turn(&rig);
    }
    cr_assert_eq(op.result, 0);
    cr_assert_eq(counter_get(&counters()->io_errors), 1);
    cr_assert_eq(rig_put(&rig, 3, 700), 0);
    rig_mark(&rig);
    rig_crash(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig.report.corrupt_ranges, 0);
    for (uint32_t i = 1; i <= 3; i++) {
        cr_assert_eq(rig_get(&rig, i, 700), 0);
    }
}

Test(store, a_second_failure_ends_writing_and_reading_goes_on) {
    cr_assert_eq(rig_put(&rig, 1, 700), 0);
    sim_disk_faults(rig.sim, &(struct sim_faults){.write_eio = 65536});
    cr_assert_eq(rig_put(&rig, 2, 700), STORE_READONLY);
    sim_disk_faults(rig.sim, &(struct sim_faults){0});
    cr_assert_eq(rig_put(&rig, 3, 700), STORE_READONLY);
    cr_assert_eq(rig_delete(&rig, 1, 700), STORE_READONLY);
    cr_assert_eq(rig_get(&rig, 1, 700), 0);
    struct store_usage usage;
    store_usage(rig.store, &usage);
    cr_assert(usage.read_only);
}

/* What one keeper's log cannot write is no word on the others, and usage says whose it was. */
Test(store, a_keeper_whose_writes_fail_stops_alone) {
    enum { KEEPERS = 3 };
    rig_close(&rig);
    rig.config.keepers = KEEPERS;
    cr_assert_eq(rig_open(&rig), 0);
    struct key key;
    (void)rig_block(1, 700, &key);
    uint32_t stopped = store_keeper_of(rig.store, &key);
    sim_disk_faults(rig.sim, &(struct sim_faults){.write_eio = 65536});
    cr_assert_eq(rig_put(&rig, 1, 700), STORE_READONLY);
    sim_disk_faults(rig.sim, &(struct sim_faults){0});
    struct store_usage usage;
    store_usage(rig.store, &usage);
    cr_assert_eq(usage.stopped, UINT64_C(1) << stopped);
    cr_assert(usage.read_only);
    for (uint32_t i = 2; i < 30; i++) {
        (void)rig_block(i, 700, &key);
        bool its = store_keeper_of(rig.store, &key) == stopped;
        cr_assert_eq(rig_put(&rig, i, 700), its ? STORE_READONLY : 0, "block %u", i);
        cr_assert_eq(rig_get(&rig, i, 700), its ? STORE_ABSENT : 0);
    }
}

Test(store, a_full_store_refuses_puts_and_still_deletes) {
    sim_disk_faults(rig.sim, &(struct sim_faults){.space = 18 * MiB});
    uint32_t stored = 0;
    while (stored < 1000 && rig_put(&rig, stored, 60000) == 0) {
        stored++;
    }
    cr_assert_lt(stored, 1000);
    cr_assert_gt(stored, 60);
    cr_assert_eq(rig_put(&rig, 5000, 60000), STORE_FULL);
    cr_assert_gt(counter_get(&counters()->full), 0);
    for (uint32_t i = 0; i < stored; i++) {
        cr_assert_eq(rig_delete(&rig, i, 60000), 0, "delete %u of %u", i, stored);
    }
    cr_assert_eq(rig_get(&rig, 0, 60000), STORE_ABSENT);
}

/* A delete opens the segment that is kept for deletes: from then on it has room for puts, too. */
Test(store, what_a_full_store_keeps_for_deletes_is_not_taken_by_puts) {
    enum { BYTES = 60000 };
    rig.store->tiers.all[0].size_bytes = 18 * MiB;
    uint32_t stored = 0;
    while (stored < 1000 && rig_put(&rig, stored, BYTES) == 0) {
        stored++;
    }
    cr_assert_gt(stored, 60);
    uint32_t small = stored + 1000;
    while (small < stored + 6000 && rig_put(&rig, small, 16) == 0) { /* to the last of the room */
        small++;
    }
    cr_assert_lt(small, stored + 6000);
    struct segment *open = store_keeper(rig.store, 0)->log.open;
    cr_assert_eq(rig_delete(&rig, 0, BYTES), 0);
    cr_assert_neq(store_keeper(rig.store, 0)->log.open, open, "of the one kept back");
    for (uint32_t i = 0; i < 100; i++) {
        cr_assert_eq(rig_put(&rig, 20000 + i, BYTES), STORE_FULL, "put %u", i);
    }
    for (uint32_t i = 1; i < stored; i++) {
        cr_assert_eq(rig_delete(&rig, i, BYTES), 0, "delete %u of %u", i, stored);
    }
    rig_maintain(&rig, 400);
    for (uint32_t i = 0; i < 20; i++) { /* there is space again, and it is had */
        (void)store_housekeep(rig.store);
    }
    cr_assert_eq(rig_put(&rig, 30000, BYTES), 0);
}

/* A put and a delete that come together: the one is refused, the other is done. */
Test(store, a_full_store_takes_deletes_out_of_the_company_of_puts) {
    rig.store->tiers.all[0].size_bytes = 18 * MiB;
    uint32_t stored = 0;
    while (stored < 1000 && rig_put(&rig, stored, 60000) == 0) {
        stored++;
    }
    for (uint32_t round = 0; round < 4; round++) {
        struct store_op put = {.kind = STORE_PUT, .bytes = 60000, .codec = 0x55};
        struct store_op delete = {.kind = STORE_DELETE};
        (void)rig_block(round, 60000, &delete.key);
        put.data = rig_block(7000 + round, 60000, &put.key);
        struct keeper *keeper = store_keeper(rig.store, 0);
        keeper_begin(keeper, &put);
        keeper_begin(keeper, &delete);
        for (uint32_t done = 0, i = 0; done < 2; i++) {
            cr_assert_lt(i, 10000);
            rig_turn(&rig);
            (void)store_housekeep(rig.store);
            done += keeper_done(keeper) != NULL;
        }
        cr_assert_eq(put.result, STORE_FULL);
        cr_assert_eq(delete.result, 0);
    }
}

Test(store, an_idle_log_says_what_is_durable_once) {
    cr_assert_eq(rig_put(&rig, 1, 700), 0);
    uint64_t batches = counter_get(&counters()->batches);
    cr_assert_neq(keeper_due_ns(store_keeper(rig.store, 0)), UINT64_MAX);
    rig_mark(&rig);
    cr_assert_eq(counter_get(&counters()->batches), batches + 1);
    cr_assert_eq(keeper_due_ns(store_keeper(rig.store, 0)), UINT64_MAX);
    rig_mark(&rig);
    cr_assert_eq(counter_get(&counters()->batches), batches + 1);
}

Test(store, lists_every_block_once_from_open_and_sealed_segments) {
    enum { COUNT = 700, BYTES = 9000 };
    bool seen[COUNT] = {false};
    for (uint32_t i = 0; i < COUNT; i++) {
        cr_assert_eq(rig_put(&rig, i, BYTES), 0);
    }
    for (uint32_t i = 0; i < COUNT; i += 7) {
        cr_assert_eq(rig_delete(&rig, i, BYTES), 0);
    }
    uint64_t cursor = 0;
    struct store_item items[13];
    uint32_t listed = 0;
    while (cursor != UINT64_MAX) {
        uint32_t count = 0;
        cr_assert_eq(store_page(rig.store, &cursor, items, 13, &count), 0);
        for (uint32_t n = 0; n < count; n++, listed++) {
            uint32_t i = 0;
            struct key key;
            do {
                (void)rig_block(i, BYTES, &key);
            } while (!key_equal(&key, &items[n].key) && ++i < COUNT);
            cr_assert(i < COUNT && !seen[i] && i % 7 != 0);
            seen[i] = true;
            cr_assert_eq(items[n].bytes, BYTES);
            cr_assert_eq(items[n].codec, 0x55);
        }
        (void)store_housekeep(rig.store); /* segments are sealed between pages */
    }
    cr_assert_eq(listed, COUNT - COUNT / 7);
}

static uint32_t damages;
static void note(void *context, const struct store_damage *damage) {
    (void)context;
    (void)damage;
    damages++;
}

Test(store, check_finds_nothing_wrong_in_a_sound_store_and_names_what_is_not) {
    for (uint32_t i = 0; i < 30; i++) {
        cr_assert_eq(rig_put(&rig, i, 3000), 0);
    }
    struct store_check_totals totals;
    cr_assert_eq(store_check(rig.store, note, NULL, NULL, &totals), 0);
    cr_assert_eq(damages, 0);
    cr_assert_eq(totals.blocks, 30);
    cr_assert_eq(totals.bytes, 30 * 3000);
    rig_close(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    for (uint32_t n = 0; sim_disk_name(rig.sim, n); n++) {
        const char *name = sim_disk_name(rig.sim, n);
        uint64_t size = 0;
        const uint8_t *bytes = sim_disk_bytes(rig.sim, name, &size);
        if (strstr(name, ".seg") && get_le32(bytes + PAGE_BYTES) == RECORD_MAGIC) {
            sim_disk_bad_page(rig.sim, name, 3 * PAGE_BYTES);
        }
    }
    cr_assert_eq(store_check(rig.store, note, NULL, NULL, &totals), 0);
    cr_assert_gt(damages, 0);
    cr_assert_gt(totals.bad, 0);
}

Test(store, does_not_format_over_segments_and_does_not_open_what_is_no_store) {
    cr_assert_eq(rig_put(&rig, 1, 700), 0);
    rig_close(&rig);
    sim_disk_remove(rig.sim, "/s/SUPER");
    cr_assert_eq(rig_open(&rig), STORE_FORMAT);
    rig.config.create = false;
    cr_assert_eq(rig_open(&rig), STORE_FORMAT);
    cr_assert_gt(strlen(rig.report.why), 10);
}

Test(store, refuses_another_segment_size_than_it_was_formatted_with) {
    rig_close(&rig);
    rig.config.segment_bytes = 8 * MiB;
    cr_assert_eq(rig_open(&rig), STORE_FORMAT);
    cr_assert_gt(strlen(rig.report.why), 10);
    rig.config.segment_bytes = 5 * MiB;
    cr_assert_eq(rig_open(&rig), -EINVAL);
    rig.config.segment_bytes = 0;
    cr_assert_eq(rig_open(&rig), 0);
}

Test(store, opened_read_only_it_writes_nothing) {
    cr_assert_eq(rig_put(&rig, 1, 700), 0);
    rig_mark(&rig);
    rig_crash(&rig);
    rig.config.read_only = true;
    for (uint32_t i = 0; i < 2; i++) {
        cr_assert_eq(rig_open(&rig), 0);
        cr_assert_not(rig.report.clean);
        cr_assert_eq(rig.report.blocks, 1);
        cr_assert_eq(rig_get(&rig, 1, 700), 0);
        cr_assert_eq(rig_put(&rig, 2, 700), STORE_READONLY);
        struct store_check_totals totals;
        cr_assert_eq(store_check(rig.store, note, NULL, NULL, &totals), 0);
        cr_assert_eq(totals.blocks, 1);
        cr_assert_eq(totals.bad, 0);
        cr_assert_eq(store_close(rig.store), 0);
        rig.store = NULL;
    }
}

Test(store, a_frame_filled_by_another_keeper_is_adopted_by_its_owner) {
    rig_close(&rig);
    rig.config.keepers = 2;
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig_put(&rig, 1, 5000), 0);
    struct store_op op = {.kind = STORE_READ};
    (void)rig_block(1, 5000, &op.key);
    uint32_t owner = store_keeper_of(rig.store, &op.key);
    struct keeper *other = store_keeper(rig.store, 1 - owner);
    keeper_begin(other, &op);
    while (sim_disk_step(rig.sim)) {
    }
    cr_assert_eq(keeper_done(other), &op);
    cr_assert_eq(op.result, 0);
    cr_assert_eq(keeper_take_rings(other), UINT64_C(1) << owner);
    cr_assert_eq(keeper_take_rings(other), 0);
    cr_assert(keeper_has_messages(store_keeper(rig.store, owner)));
    struct key key;
    cr_assert_eq(find_one(1, 5000, &key).state, FIND_DISK);
    rig_turn(&rig);
    struct find find = find_one(1, 5000, &key);
    cr_assert_eq(find.state, FIND_FRAME);
    cr_assert_eq(find.frame, op.frame);
    frame_give_back(find.frame);
    frame_give_back(op.frame);
    cr_assert_eq(rig_delete(&rig, 1, 5000), 0);
    rig_turn(&rig);
    cr_assert_eq(other->home.bytes, 0, "its body went home");
}

/* Bytes that reading block 0 from the disk takes. */
static uint64_t read_bytes(void) {
    uint64_t before = counter_get(&counters()->read_bytes);
    struct store_op op = {.kind = STORE_VERIFY};
    (void)rig_block(0, 4096, &op.key);
    cr_assert_eq(rig_do(&rig, &op), 0);
    return counter_get(&counters()->read_bytes) - before;
}

static uint64_t units_of(uint64_t place, uint64_t unit) {
    struct spot spot = place_spot(place);
    uint64_t from = (uint64_t)spot.offset_units * RECORD_UNIT;
    return round_up(from + (uint64_t)spot.length_units * RECORD_UNIT, unit) -
           round_down(from, unit);
}

Test(store, a_read_is_of_the_sectors_that_its_record_lies_in) {
    cr_assert_eq(rig_put(&rig, 0, 4096), 0);
    for (uint32_t unit = SIM_SECTOR; unit <= PAGE_BYTES; unit *= 8) {
        rig_close(&rig);
        sim_disk_read_unit(rig.sim, unit);
        cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
        cr_assert_eq(read_bytes(), units_of(rig_place(&rig, 0, 4096), unit));
    }
}

/* As where a tier's files lie on another disk than the directory it was asked of. */
Test(store, a_disk_that_wants_pages_after_all_gets_them) {
    cr_assert_eq(rig_put(&rig, 0, 4096), 0);
    sim_disk_read_unit(rig.sim, PAGE_BYTES);
    cr_assert_eq(read_bytes(), units_of(rig_place(&rig, 0, 4096), PAGE_BYTES));
    cr_assert_eq(counter_get(&counters()->io_errors), 1);
}
