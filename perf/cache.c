/* SPDX-License-Identifier: MIT */
#include "perf/cache.h"

#include "base/hash.h"
#include "base/must.h"
#include "store/inside.h"

#include <stdlib.h>
#include <string.h>

#define BODY 64u /* with its header a frame weighs 192 bytes, of which the store has enough */

struct cache {
    struct store *store;
    struct keeper *keeper;
    struct {
        struct record_header header;
        uint8_t body[BODY];
    } record;
};

/* Nothing is ever hashed: the number is the digest. */
static struct key key_of(uint32_t object) {
    struct key key = {.code = HASH_SHA2_256, .digest_bytes = 32};
    memcpy(key.digest, &object, sizeof object);
    return key;
}

static uint64_t place_of(uint32_t object) {
    struct spot spot = {
        .segment = 1 + (object >> 20), .offset_units = object & 0xfffff, .length_units = 1};
    return place_pack(&spot) | PLACE_SSD;
}

struct cache *cache_open(const struct cache_config *config) {
    struct cache *cache = calloc(1, sizeof *cache);
    struct store_config store = {.dir = config->dir,
                                 .keepers = 1,
                                 .readers = 1,
                                 .segment_bytes = STORE_SEGMENT_BYTES_MIN,
                                 .memory_bytes = (uint64_t)config->frames * frame_charge(BODY),
                                 .policy = config->policy,
                                 .create = true,
                                 .disk = config->disk};
    struct store_report report = {0};
    if (!cache || store_open(&store, &report, &cache->store) != 0) {
        kit_fail(report.why);
    }
    cache->keeper = store_keeper(cache->store, 0);
    cache->record.header =
        (struct record_header){.header_bytes = RECORD_FIXED, .stored_bytes = BODY, .codec = 0x55};
    store_turn(cache->store, 0);
    for (uint32_t i = 0; i < config->objects; i++) {
        struct key key = key_of(i);
        (void)keeper_poll(cache->keeper, 1); /* its turn: tables that grew are given back */
        store_turn(cache->store, 0);
        must(catalog_insert(&cache->store->catalog, store_hash(cache->store, &key), place_of(i)) ==
             0);
    }
    return cache;
}

static bool ask(struct cache *cache, uint32_t object, bool admit) {
    struct key key = key_of(object);
    struct find find = {.key = &key};
    store_find(cache->store, 0, &find, 1);
    if (find.state == FIND_FRAME) {
        must(memcmp(&find.frame->key.digest, &object, sizeof object) == 0);
        frame_give_back(find.frame);
        return true;
    }
    must(find.state == FIND_DISK);
    struct admission admission = {.record = &cache->record.header,
                                  .key = &key,
                                  .hash = find.hash,
                                  .place = place_of(object),
                                  .leases = 1,
                                  .admit = admit};
    struct frame *frame = admit_frame(cache->keeper, &admission);
    must(frame != NULL);
    frame_give_back(frame);
    return false;
}

bool cache_ask(struct cache *cache, uint32_t object) {
    return ask(cache, object, true);
}

bool cache_scan(struct cache *cache, uint32_t object) {
    return ask(cache, object, false);
}

void cache_close(struct cache *cache) {
    if (store_close(cache->store) != 0) {
        kit_fail("the store did not close");
    }
    free(cache);
}

uint32_t cache_misses(struct cache *cache, struct demand *demand, uint64_t seed) {
    uint32_t misses = 0;
    demand_start(demand, seed);
    while (demand->asked < demand->requests) {
        misses += !cache_ask(cache, demand_next(demand));
    }
    return misses;
}
