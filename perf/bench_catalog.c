/* SPDX-License-Identifier: MIT */

/* bench_catalog — looking keys up (store_find, store_have), and what the index costs in memory:
 * G18.
 *
 * A store is filled with `--keys` small blocks through its keeper, then random keys are looked up
 * in batches. With --memory-mib 0 nothing is in memory and store_find answers with places on disk:
 * the bare catalog. With room for all, every answer is a proved frame with a lease. */

#include "perf/kit.h"
#include "perf/shelf.h"

#include <stdlib.h>

#define BATCH_MAX 1024u
#define PICKS     65536u

static uint64_t keys = 1000000, batch = 64, bytes = 64, memory_mib = 2048, millis = 500, quick;

struct answers {
    double ns;
    uint64_t frames, places, other;
};

/* `asked` holds copies in the order they are asked for: a request's bytes lie in a row as well. */
static struct answers find_all(struct shelf *shelf, const struct key *asked, uint64_t size) {
    static struct find finds[BATCH_MAX];
    struct store *store = shelf_store(shelf);
    struct answers answers = {0};
    uint64_t at = 0, done = 0;
    uint64_t start = kit_ns(), now = start, end = start + millis * NS_PER_MS;
    while (now < end) {
        for (uint32_t round = 0; round < 32; round++) {
            at = at + size > PICKS ? 0 : at;
            for (uint64_t i = 0; i < size; i++) {
                finds[i].key = &asked[at + i];
            }
            store_turn(store, 0);
            store_find(store, 0, finds, (uint32_t)size);
            for (uint64_t i = 0; i < size; i++) {
                answers.frames += finds[i].state == FIND_FRAME;
                answers.places += finds[i].state == FIND_DISK;
                answers.other += finds[i].state == FIND_ABSENT || finds[i].state == FIND_RETRY;
                if (finds[i].state == FIND_FRAME) {
                    frame_give_back(finds[i].frame);
                }
            }
            at += size;
            done += size;
        }
        now = kit_ns();
    }
    answers.ns = (double)(now - start) / (double)done;
    return answers;
}

static double have_all(struct shelf *shelf, const struct key *asked) {
    static uint8_t present[BATCH_MAX];
    struct store *store = shelf_store(shelf);
    uint64_t at = 0, done = 0;
    uint64_t start = kit_ns(), now = start, end = start + millis * NS_PER_MS;
    while (now < end) {
        for (uint32_t round = 0; round < 32; round++) {
            at = at + batch > PICKS ? 0 : at;
            store_turn(store, 0);
            store_have(store, 0, asked + at, present, (uint32_t)batch);
            for (uint64_t i = 0; i < batch; i++) {
                if (present[i] != 1) {
                    kit_fail("a stored block was said to be absent");
                }
            }
            at += batch;
            done += batch;
        }
        now = kit_ns();
    }
    return (double)(now - start) / (double)done;
}

int main(int argc, char **argv) {
    const struct kit_option options[] = {
        {"--keys", &keys, "blocks"},
        {"--size", &bytes, "bytes of a block, from 8"},
        {"--batch", &batch, "keys looked up at once, 1..1024"},
        {"--memory-mib", &memory_mib, "budget for frames; 0: the smallest"},
        {"--millis", &millis, "how long each part runs"},
        {"--quick", &quick, "small and short, to see that it works"},
    };
    kit_options(argc, argv, options, array_count(options));
    keys = quick ? 20000 : keys;
    millis = quick ? 50 : millis;
    if (keys < 1 || keys > UINT32_MAX || batch < 1 || batch > BATCH_MAX || bytes < 8) {
        kit_skip("--keys 1..2^32-1, --batch 1..1024, --size from 8");
    }
    kit_pin(0);
    const struct shelf_config config = {.blocks = keys,
                                        .bytes = (uint32_t)bytes,
                                        .memory_bytes = memory_mib ? memory_mib * MiB : MiB,
                                        .segment_bytes = quick ? STORE_SEGMENT_BYTES_MIN : 0};
    struct shelf *shelf = shelf_open(&config);
    uint64_t frames = memory_mib ? shelf_warm(shelf) : 0;
    static struct key asked[PICKS];
    struct kit_random random = {.state = 42};
    for (uint32_t i = 0; i < PICKS; i++) {
        asked[i] = shelf_keys(shelf)[kit_below(&random, keys)];
    }
    struct store_usage usage;
    store_usage(shelf_store(shelf), &usage);
    struct answers batched = find_all(shelf, asked, batch);
    struct answers single = find_all(shelf, asked, 1);
    if (batched.other + single.other != 0) {
        kit_fail("a stored block was not found");
    }
    double have_ns = have_all(shelf, asked);
    kit_begin("bench_catalog");
    kit_number("keys", (double)keys, "blocks");
    kit_number("frames", (double)frames, "of them in memory");
    kit_number("fill_rate", (double)keys / shelf_fill_seconds(shelf), "puts/s, durable");
    kit_number("find_ns", batched.ns, "ns a key, batched");
    kit_number("find_single_ns", single.ns, "ns a key, one by one");
    kit_number("have_ns", have_ns, "ns a key, batched");
    kit_number("index_bytes_per_block", (double)usage.catalog_bytes / (double)keys, "bytes");
    kit_end();
    shelf_close(shelf);
    return 0;
}
