/* SPDX-License-Identifier: MIT */
#include "engine/budget.h"

#include "build_info.h"
#include "engine/net.h"
#include "tests/engine/rig.h"

#include <criterion/criterion.h>
#include <string.h>

static struct settings defaults(uint64_t budget) {
    struct settings settings;
    memset(&settings, 0, sizeof settings);
    option_defaults(settings_table, settings_rows, &settings);
    settings.memory_budget_bytes = budget;
    return settings;
}

/* What all buffers come to when every one of them is touched. */
static uint64_t buffers(const struct settings *settings, const struct budget_sizes *sizes,
                        uint32_t tiles) {
    uint64_t block = settings->store_block_bytes_max;
    uint64_t keeper = sizes->batches * (block + 64 * KiB) + sizes->fetches[0] * 16 * KiB +
                      sizes->fetches[1] * (256 * KiB + 2 * PAGE_BYTES) + sizes->fetches[2] * block;
    uint64_t net = settings->net_buffers * IO_BUFFER_BYTES * IO_GROUPS +
                   (uint64_t)sizes->out_small * OUT_SMALL_BYTES +
                   (uint64_t)sizes->out_large * OUT_LARGE_BYTES + settings->net_body_bytes_max / 2;
    return tiles * (keeper + net);
}

Test(budget, none_changes_nothing) {
    struct settings before = defaults(0), after = before;
    struct budget_sizes sizes = budget_fit(&after, 2, 2);
    cr_assert_eq(memcmp(&before, &after, sizeof before), 0);
    cr_assert_eq(sizes.out_large, 512);
    cr_assert_eq(sizes.batches, 0, "the store's own numbers");
    cr_assert_eq(sizes.fetches[2], 0);
}

Test(budget, buffers_take_about_half_of_it_at_most) {
    for (uint64_t budget = 64 * MiB; budget <= 8 * GiB; budget *= 2) {
        for (uint32_t tiles = 1; tiles <= 2; tiles++) {
            struct settings settings = defaults(budget);
            settings.store_memory_bytes = 64 * GiB;
            struct budget_sizes sizes = budget_fit(&settings, tiles, tiles);
            uint64_t sum = buffers(&settings, &sizes, tiles);
            cr_assert_leq(sum, budget / 8 * 5, "%llu MiB, %u tiles: %llu", budget / MiB, tiles,
                          (unsigned long long)sum);
            cr_assert_leq(settings.store_memory_bytes, budget / 8 * 3);
        }
    }
}

Test(budget, nothing_is_made_larger_and_what_fits_stays) {
    struct settings before = defaults(64 * MiB);
    before.net_buffers = 16;
    before.net_jobs_max = 64;
    before.store_memory_bytes = MiB;
    before.net_output_bytes_max = 64 * KiB;
    struct settings after = before;
    (void)budget_fit(&after, 1, 1);
    cr_assert_eq(after.net_buffers, 16);
    cr_assert_eq(after.net_jobs_max, 64);
    cr_assert_eq(after.store_memory_bytes, MiB);
    cr_assert_eq(after.net_output_bytes_max, 64 * KiB);
    struct settings huge = defaults(UINT64_C(1) << 45), same = huge;
    (void)budget_fit(&huge, 1, 1);
    cr_assert_eq(memcmp(&huge, &same, sizeof same), 0, "a large budget limits nothing");
}

/* A reload fits again what was fitted already, or what the file says: both give the same. */
Test(budget, fitting_twice_is_fitting_once) {
    struct settings once = defaults(100 * MiB);
    struct budget_sizes first = budget_fit(&once, 3, 2);
    struct settings twice = once;
    struct budget_sizes second = budget_fit(&twice, 3, 2);
    cr_assert_eq(memcmp(&once, &twice, sizeof once), 0);
    cr_assert_eq(first.batches, second.batches);
    cr_assert_eq(first.out_large, second.out_large);
}

/* The largest block passes through the smallest budget. */
Test(budget, the_least_there_can_be_serves_the_largest_block, .timeout = 100) {
    struct rig rig;
    rig_init(&rig);
    rig.settings.memory_budget_bytes = 48 * MiB;
    rig.settings.net_buffers = 1024;
    rig_run(&rig);
    struct caller caller = caller_open(&rig);
    for (uint32_t i = 0; i < 12; i++) {
        struct block block = block_make(i + 1, i % 3 == 0 ? 2 * MiB : 10000 * i);
        caller_put(&caller, 1, &block);
        (void)caller_expect(&caller, TLV_DONE, 1);
        caller_get(&caller, 2, &block.key);
        caller_expect_value(&caller, 2, &block);
        block_free(&block);
    }
    json_t *stat = rig_ask(&rig, "stat");
    const json_t *memory = json_object_get(stat, "memory");
    cr_assert_eq(json_integer_value(json_object_get(memory, "whole_budget_bytes")), 48 * MiB);
    cr_assert_gt(json_integer_value(json_object_get(memory, "index_bytes")), 0);
    cr_assert_geq(json_integer_value(json_object_get(memory, "held_bytes")), HAVE_JEMALLOC ? 1 : 0);
    cr_assert_not_null(json_string_value(json_object_get(memory, "ladder_why")));
    json_decref(stat);
    caller_close(&caller);
    cr_assert_eq(rig_close(&rig), 0);
}

/* At the top of the ladder: what comes in is put off, everything else goes on. */
Test(budget, at_its_end_puts_are_busy_and_reads_and_deletes_are_not, .timeout = 100) {
    struct rig rig;
    rig_init(&rig);
    rig_run(&rig);
    struct caller caller = caller_open(&rig);
    struct block block = block_make(1, 50000), other = block_make(2, 50000);
    caller_put(&caller, 1, &block);
    (void)caller_expect(&caller, TLV_DONE, 1);
    store_press(rig.engine->store, &(struct ladder_step){LADDER_PUTS, 0});
    caller_put(&caller, 2, &other);
    (void)caller_expect(&caller, TLV_BUSY, 2);
    for (uint32_t i = 0; i < 5; i++) {
        caller_get(&caller, 3, &block.key);
        caller_expect_value(&caller, 3, &block);
    }
    struct tlv_request request = {.type = TLV_DELETE, .id = 4, .class = TLV_CLASS_DEFAULT};
    caller_ask(&caller, &request, &block.key);
    (void)caller_expect(&caller, TLV_DONE, 4);
    store_press(rig.engine->store, &(struct ladder_step){LADDER_ALL, 16 * MiB});
    caller_put(&caller, 5, &other);
    (void)caller_expect(&caller, TLV_DONE, 5);
    block_free(&block);
    block_free(&other);
    caller_close(&caller);
    cr_assert_eq(rig_close(&rig), 0);
}
