/* SPDX-License-Identifier: MIT */
#include "perf/cache.h"

#include "base/hash.h"
#include "base/must.h"
#include "tests/sim/disk.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

/* store/evict.c and the ghosts of store/admit.c against exact versions of the policies: a tenth of
 * what perf/bench_policy asks, one seed. */

enum { OBJECTS = 50000, REQUESTS = 300000, SEED = 42, NEAR = 20 /* in 1000 */ };

static double share[OBJECTS];

/* What the exact policies miss of 1000, so that the loads stay what they are. */
static const struct {
    uint32_t frames;
    uint32_t lru[DEMAND_KINDS], s3fifo[DEMAND_KINDS];
} known[] = {{OBJECTS / 100, {679, 790, 680, 876}, {567, 698, 611, 789}},
             {OBJECTS / 10, {409, 635, 424, 767}, {350, 561, 429, 708}}};

static struct cache *open_cache(enum store_policy policy, uint32_t frames, uint32_t objects,
                                struct sim_disk **ret_sim) {
    struct cache_config config = {
        .dir = "/s", .policy = policy, .objects = objects, .frames = frames};
    must(hash_open() == 0);
    *ret_sim = sim_disk_open(1, &config.disk);
    return cache_open(&config);
}

static double ours(enum store_policy policy, uint32_t frames, struct demand *demand) {
    struct sim_disk *sim = NULL;
    struct cache *cache = open_cache(policy, frames, demand_objects(demand), &sim);
    uint32_t misses = cache_misses(cache, demand, SEED);
    cache_close(cache);
    sim_disk_close(sim);
    return misses * 1000.0 / REQUESTS;
}

static double exact(enum exact_policy policy, uint32_t frames, struct demand *demand) {
    return exact_misses(policy, frames, demand, SEED) * 1000.0 / REQUESTS;
}

Test(policy, the_loads_are_what_they_were) {
    for (size_t i = 0; i < array_count(known); i++) {
        for (uint32_t kind = 0; kind < DEMAND_KINDS; kind++) {
            struct demand demand;
            demand_open(&demand, (enum demand_kind)kind, OBJECTS, REQUESTS, share);
            double lru = exact(EXACT_LRU, known[i].frames, &demand);
            double s3fifo = exact(EXACT_S3FIFO, known[i].frames, &demand);
            cr_expect_lt(fabs(lru - known[i].lru[kind]), 1, "%s, %u frames: LRU %.1f",
                         demand_names[kind], known[i].frames, lru);
            cr_expect_lt(fabs(s3fifo - known[i].s3fifo[kind]), 1, "%s, %u frames: S3-FIFO %.1f",
                         demand_names[kind], known[i].frames, s3fifo);
        }
    }
}

Test(policy, each_misses_as_its_exact_version_does) {
    for (size_t i = 0; i < array_count(known); i++) {
        for (uint32_t kind = 0; kind < DEMAND_KINDS; kind++) {
            struct demand demand;
            uint32_t frames = known[i].frames;
            demand_open(&demand, (enum demand_kind)kind, OBJECTS, REQUESTS, share);
            double lru = ours(STORE_POLICY_LRU, frames, &demand);
            double s3fifo = ours(STORE_POLICY_S3FIFO, frames, &demand);
            double lrfu = ours(STORE_POLICY_LRFU, frames, &demand);
            cr_expect_lt(fabs(lru - known[i].lru[kind]), NEAR, "%s, %u frames: LRU %.1f not %u",
                         demand_names[kind], frames, lru, known[i].lru[kind]);
            /* A ghost of ours lives for a drawn time: of a loop longer than memory some parts are
             * caught that an exact queue never catches. */
            double below = kind == DEMAND_LOOP ? 1000 : NEAR;
            double more = s3fifo - known[i].s3fifo[kind];
            cr_expect(more < NEAR && more > -below, "%s, %u frames: S3-FIFO %.1f not %u",
                      demand_names[kind], frames, s3fifo, known[i].s3fifo[kind]);
            cr_expect_lt(lrfu, lru + 1, "%s, %u frames: LRFU %.1f, LRU %.1f", demand_names[kind],
                         frames, lrfu, lru);
        }
    }
}

Test(policy, a_scan_that_may_not_admit_pushes_nothing_out) {
    enum { FRAMES = 1000, SCAN = 20000 };
    for (uint32_t policy = STORE_POLICY_S3FIFO; policy <= STORE_POLICY_LRFU; policy++) {
        struct sim_disk *sim = NULL;
        struct cache *cache = open_cache((enum store_policy)policy, FRAMES, FRAMES + SCAN, &sim);
        for (uint32_t i = 0; i < FRAMES; i++) {
            (void)cache_ask(cache, i);
        }
        for (uint32_t i = 0; i < SCAN; i++) {
            cr_assert_not(cache_scan(cache, FRAMES + i));
        }
        uint32_t hits = 0;
        for (uint32_t i = 0; i < FRAMES; i++) {
            hits += cache_scan(cache, i);
        }
        cr_expect_geq(hits, FRAMES - 2, "policy %u: %u left", policy, hits);
        cache_close(cache);
        sim_disk_close(sim);
    }
}
