/* SPDX-License-Identifier: MIT */

/* bench_churn — a store whose blocks are replaced again and again, in a drawn order: how many bytes
 * go to the disk for each byte that is put, how many lie there for each that lives, and what it
 * costs to check everything.
 *
 * Written bytes are the kernel's count of this process (/proc/self/io): space prepared ahead, foot
 * and side writing, moved blocks and snapshots are all in it. At the end background work is waited
 * for until it has done nothing for a second. */

#include "perf/kit.h"
#include "perf/shelf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t blocks = 20000, bytes = 16 * KiB, turns = 4, segment_mib = 16, quick;

static uint64_t written_bytes(void) {
    FILE *file = fopen("/proc/self/io", "re");
    char line[128];
    unsigned long long value = 0;
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "write_bytes: %llu", &value) == 1) {
            break;
        }
    }
    if (file) {
        fclose(file);
    }
    return value;
}

/* Until the porter has had nothing to do for a second, a minute at most. */
static void settle(struct shelf *shelf) {
    uint64_t start = kit_ns(), quiet = start, before = shelf_maintained(shelf);
    while (kit_ns() - quiet < (quick ? 50 * NS_PER_MS : NS_PER_S) &&
           kit_ns() - start < 60 * NS_PER_S) {
        shelf_drain(shelf);
        uint64_t now = shelf_maintained(shelf);
        quiet = now != before ? kit_ns() : quiet;
        before = now;
    }
}

static void check(struct shelf *shelf) {
    struct store_check_totals totals = {0};
    uint64_t start = kit_ns(), cpu = kit_cpu_ns();
    if (store_check(shelf_store(shelf), NULL, NULL, NULL, &totals) != 0 || totals.bad > 0) {
        kit_fail("the check found damage");
    }
    kit_number("check_rate", (double)totals.bytes * 1e9 / (double)(kit_ns() - start), "bytes/s");
    kit_number("check_cpu_ns_per_byte", (double)(kit_cpu_ns() - cpu) / (double)totals.bytes, "ns");
    if (totals.blocks != blocks) {
        kit_fail("blocks are missing");
    }
}

int main(int argc, char **argv) {
    const struct kit_option options[] = {
        {"--blocks", &blocks, "that live at any time"},
        {"--size", &bytes, "bytes of a block, from 8"},
        {"--turns", &turns, "how often each is replaced, on the average"},
        {"--segment-mib", &segment_mib, "size of segments"},
        {"--quick", &quick, "small and short, to see that it works"},
    };
    kit_options(argc, argv, options, array_count(options));
    blocks = quick ? 500 : blocks;
    segment_mib = quick ? 4 : segment_mib;
    if (blocks < 1 || bytes < 8 || bytes > STORE_BLOCK_MAX) {
        kit_skip("--blocks from 1, --size 8..2 MiB");
    }
    const char *parent = getenv("TMPDIR");
    const struct shelf_config config = {.dir = parent ? parent : "/var/tmp",
                                        .blocks = blocks,
                                        .bytes = (uint32_t)bytes,
                                        .memory_bytes = MiB,
                                        .segment_bytes = segment_mib * MiB,
                                        .porter = true};
    uint64_t before = written_bytes();
    struct shelf *shelf = shelf_open(&config);
    struct kit_random random = {.state = 42};
    uint64_t number = blocks;
    for (uint64_t i = 0; i < blocks * turns; i++) {
        shelf_replace(shelf, kit_below(&random, blocks), number++);
    }
    shelf_drain(shelf);
    settle(shelf);
    struct store_usage usage;
    store_usage(shelf_store(shelf), &usage);
    const struct upkeep_counters *upkeep = store_upkeep(shelf_store(shelf));
    kit_begin("bench_churn");
    kit_number("blocks", (double)blocks, "live");
    kit_number("turns", (double)turns, "times replaced");
    kit_number("write_amplification", (double)(written_bytes() - before) / (double)(number * bytes),
               "written / put");
    kit_number("moved", (double)counter_get(&upkeep->moved_bytes) / (double)(number * bytes),
               "written by moves / put");
    kit_number("space_amplification", (double)usage.bytes_on_disk / (double)(blocks * bytes),
               "on the disk / live");
    check(shelf);
    kit_end();
    shelf_close(shelf);
    return 0;
}
