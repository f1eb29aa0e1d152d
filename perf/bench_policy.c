/* SPDX-License-Identifier: MIT */

/* bench_policy — how often each memory policy misses, on four loads and two sizes of memory.
 *
 * The store's own look-ups, admission and eviction answer (perf/cache.h says how), and exact
 * versions of the policies answer the same requests beside them. Ratios depend on the seed in the
 * fourth digit. */

#include "base/hash.h"
#include "perf/cache.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint64_t objects = 1000000, requests = 6000000, seed = 42, quick, exact_too = 1, loop, only;

static const char *const ours[] = {"s3fifo", "lru", "lrfu"};

static int remove_one(const char *path, const struct stat *stat, int kind, struct FTW *walk) {
    (void)stat;
    (void)kind;
    (void)walk;
    return remove(path);
}

static uint32_t run(enum store_policy policy, uint32_t frames, struct demand *demand,
                    double *ret_ns) {
    const char *parent = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/var/tmp";
    char dir[64];
    struct disk_sync *sync = NULL;
    snprintf(dir, sizeof dir, "%s/millrace-policy-XXXXXX", parent);
    struct cache_config config = {
        .dir = mkdtemp(dir), .policy = policy, .objects = demand_objects(demand), .frames = frames};
    if (!config.dir || disk_sync_open(&sync, &config.disk) != 0) {
        kit_fail("no directory for the store");
    }
    struct cache *cache = cache_open(&config);
    uint64_t start = kit_ns();
    uint32_t misses = cache_misses(cache, demand, seed);
    *ret_ns = (double)(kit_ns() - start) / (double)demand->requests;
    cache_close(cache);
    disk_sync_close(sync);
    (void)nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return misses;
}

static void say(const char *who, const struct demand *demand, uint32_t percent, double value,
                const char *unit) {
    char name[64];
    snprintf(name, sizeof name, "%s_%s_%u", who, demand_names[demand->kind], percent);
    kit_number(name, value, unit);
}

static void judge(struct demand *demand, uint32_t percent) {
    uint32_t frames = demand->objects / 100 * percent;
    for (uint32_t i = 0; i < array_count(ours); i++) {
        double ns = 0;
        uint32_t misses = run((enum store_policy)i, frames, demand, &ns);
        say(ours[i], demand, percent, (double)misses / demand->requests, "miss ratio");
        char who[32];
        snprintf(who, sizeof who, "%s_ns", ours[i]);
        say(who, demand, percent, ns, "ns a request");
    }
    for (uint32_t i = 0; exact_too && i < EXACT_POLICIES; i++) {
        char who[32];
        snprintf(who, sizeof who, "exact_%s", exact_names[i]);
        uint32_t misses = exact_misses((enum exact_policy)i, frames, demand, seed);
        say(who, demand, percent, (double)misses / demand->requests, "miss ratio");
    }
}

int main(int argc, char **argv) {
    const struct kit_option options[] = {
        {"--objects", &objects, "popular objects"},
        {"--requests", &requests, "requests of each load"},
        {"--seed", &seed, "of what is drawn"},
        {"--only", &only, "one load: 1 plain, 2 scans, 3 drift, 4 loop; 0: all"},
        {"--loop", &loop, "objects of the loop, 0: 15 for each 100 popular ones"},
        {"--exact", &exact_too, "0: only the store's own policies"},
        {"--quick", &quick, "small and short, to see that it works"},
    };
    kit_options(argc, argv, options, array_count(options));
    objects = quick ? 10000 : objects;
    requests = quick ? 60000 : requests;
    if (objects < 1000 || objects > 100 * 1000000 || requests < 1000 || requests > UINT32_MAX / 2 ||
        loop > 100 * 1000000 || only > DEMAND_KINDS) {
        kit_skip("--objects 1000..100000000, --requests 1000..2147483647, --loop up to 100000000");
    }
    if (hash_open() != 0) {
        kit_fail("hash");
    }
    double *share = kit_map(objects * sizeof *share);
    kit_begin("bench_policy");
    for (uint32_t kind = 0; kind < DEMAND_KINDS; kind++) {
        struct demand demand;
        if (only != 0 && kind + 1 != only) {
            continue;
        }
        demand_open(&demand, (enum demand_kind)kind, (uint32_t)objects, (uint32_t)requests, share);
        demand.loop_objects = loop != 0 ? (uint32_t)loop : demand.loop_objects;
        judge(&demand, 1);
        judge(&demand, 10);
    }
    kit_end();
    return 0;
}
