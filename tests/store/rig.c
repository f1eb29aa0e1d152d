/* SPDX-License-Identifier: MIT */
#include "tests/store/rig.h"

#include "base/hash.h"
#include "base/must.h"

#include <stdlib.h>
#include <string.h>

static uint8_t body[STORE_BLOCK_MAX + 16];

void rig_start(struct rig *rig, uint64_t seed) {
    must(hash_open() == 0);
    *rig = (struct rig){.now_ns = NS_PER_S};
    rig->sim = sim_disk_open(seed, &rig->disk);
    rig->config = (struct store_config){.dir = "/s",
                                        .keepers = 1,
                                        .readers = 1,
                                        .segment_bytes = STORE_SEGMENT_BYTES_MIN,
                                        .memory_bytes = 1 * MiB,
                                        .create = true,
                                        .disk = rig->disk};
}

int rig_open(struct rig *rig) {
    must(rig->store == NULL);
    int r = store_open(&rig->config, &rig->report, &rig->store);
    if (r != 0) {
        rig->store = NULL;
    }
    return r;
}

static bool idle(const struct rig *rig) {
    for (uint32_t k = 0; k < rig->config.keepers; k++) {
        if (!keeper_idle(store_keeper(rig->store, k))) {
            return false;
        }
    }
    return true;
}

void rig_turn(struct rig *rig) {
    rig->now_ns += 50 * NS_PER_US;
    for (uint32_t k = 0; k < rig->config.keepers; k++) {
        (void)keeper_poll(store_keeper(rig->store, k), rig->now_ns);
    }
    while (sim_disk_step(rig->sim)) {
    }
}

static void settle(struct rig *rig) {
    for (uint32_t i = 0; !idle(rig); i++) {
        must(i < 10000);
        rig_turn(rig);
        (void)store_housekeep(rig->store);
        for (uint32_t k = 0; k < rig->config.keepers; k++) {
            while (keeper_done(store_keeper(rig->store, k))) {
            }
        }
    }
}

void rig_close(struct rig *rig) {
    settle(rig);
    must(store_close(rig->store) == 0);
    rig->store = NULL;
}

void rig_crash(struct rig *rig) {
    if (!sim_disk_dead(rig->sim)) {
        sim_disk_crash(rig->sim);
    }
    if (rig->store) {
        settle(rig);
        int r = store_close(rig->store);
        (void)r; /* the disk is dead */
        rig->store = NULL;
    }
    sim_disk_restart(rig->sim);
}

void rig_end(struct rig *rig) {
    if (rig->store) {
        rig_crash(rig);
    }
    sim_disk_close(rig->sim);
}

int32_t rig_do(struct rig *rig, struct store_op *op) {
    struct keeper *keeper = store_keeper(rig->store, store_keeper_of(rig->store, &op->key));
    keeper_begin(keeper, op);
    for (uint32_t i = 0; i < 10000; i++) {
        struct store_op *done = keeper_done(keeper);
        if (done) {
            must(done == op);
            return op->result;
        }
        rig_turn(rig);
        if (i > 2) {
            (void)store_housekeep(rig->store);
        }
    }
    never("an operation that does not end");
}

const uint8_t *rig_block(uint32_t i, uint32_t bytes, struct key *ret_key) {
    must(bytes <= STORE_BLOCK_MAX + 1);
    for (uint32_t at = 0; at < bytes; at++) {
        body[at] = (uint8_t)(at * 7 + i * 13 + (at >> 8));
    }
    memcpy(body, &i, bytes < 4 ? bytes : 4);
    *ret_key = (struct key){.code = HASH_SHA2_256, .digest_bytes = 32};
    must(hash_compute(HASH_SHA2_256, body, bytes, ret_key->digest, 32) == 0);
    return body;
}

int32_t rig_put(struct rig *rig, uint32_t i, uint32_t bytes) {
    struct store_op op = {.kind = STORE_PUT, .bytes = bytes, .codec = 0x55};
    op.data = rig_block(i, bytes, &op.key);
    return rig_do(rig, &op);
}

int32_t rig_get(struct rig *rig, uint32_t i, uint32_t bytes) {
    struct store_op op = {.kind = STORE_READ};
    const uint8_t *expected = rig_block(i, bytes, &op.key);
    int32_t result = rig_do(rig, &op);
    if (result == 0) {
        must(frame_bytes(op.frame) == bytes);
        must(memcmp(frame_body(op.frame), expected, bytes) == 0);
        must(frame_codec(op.frame) == 0x55);
        frame_give_back(op.frame);
    }
    return result;
}

int32_t rig_delete(struct rig *rig, uint32_t i, uint32_t bytes) {
    struct store_op op = {.kind = STORE_DELETE};
    (void)rig_block(i, bytes, &op.key);
    return rig_do(rig, &op);
}

uint64_t rig_place(struct rig *rig, uint32_t i, uint32_t bytes) {
    struct key key;
    (void)rig_block(i, bytes, &key);
    struct find find = {.key = &key};
    store_turn(rig->store, 0);
    store_find(rig->store, 0, &find, 1);
    store_park(rig->store, 0);
    must(find.state == FIND_DISK || find.state == FIND_FRAME);
    uint64_t place = find.place.word;
    if (find.state == FIND_FRAME) {
        place = atomic_load(&find.frame->place);
        frame_give_back(find.frame);
    }
    return place & (PLACE_MASK | PLACE_STATE_MASK);
}

void rig_spoil(struct rig *rig, uint64_t place, uint64_t at) {
    char path[SEGMENT_PATH_MAX];
    uint64_t bytes = 0;
    uint64_t offset = (uint64_t)place_spot(place).offset_units * RECORD_UNIT + at;
    segment_path(&rig->store->segments, place_spot(place).segment, path);
    uint8_t byte = sim_disk_bytes(rig->sim, path, &bytes)[offset] ^ 4;
    sim_disk_spoil(rig->sim, path, offset, &byte, 1);
}

void rig_mark(struct rig *rig) {
    rig->now_ns += NS_PER_S;
    for (uint32_t i = 0; i < 4; i++) {
        rig_turn(rig);
    }
}

uint32_t rig_forget(struct rig *rig) {
    uint32_t gone = 0;
    for (uint32_t n = 0; sim_disk_name(rig->sim, n);) {
        const char *name = sim_disk_name(rig->sim, n);
        if (strstr(name, ".snap")) {
            sim_disk_remove(rig->sim, name);
            gone++;
            n = 0;
        } else {
            n++;
        }
    }
    return gone;
}

void rig_maintain(struct rig *rig, uint32_t steps) {
    for (uint32_t i = 0; i < steps; i++) {
        (void)store_maintain(rig->store, rig->now_ns);
        rig_turn(rig);
    }
}

static void use(struct rig *rig, const struct store_tier *tiers, uint32_t count) {
    rig->config.tiers = tiers;
    rig->config.tier_count = count;
    must(rig_open(rig) == 0);
}

void rig_bury_elsewhere(struct rig *rig, uint32_t old, uint32_t victim, uint32_t bytes) {
    static const struct store_tier first[] = {{"a", 0, TIER_SSD}};
    static const struct store_tier both[] = {{"ssd", 0, TIER_SSD}, {"a", 1, TIER_SSD}};
    use(rig, first, 1);
    for (uint32_t i = 0; i < old; i++) {
        must(rig_put(rig, i, bytes) == 0);
    }
    rig_close(rig);
    use(rig, both, 2);
    for (uint32_t i = old; i < old + RIG_BURIED; i++) {
        must(rig_put(rig, i, bytes) == 0);
    }
    must(rig_delete(rig, victim, bytes) == 0);
    for (uint32_t i = old; i < old + RIG_BURIED; i++) {
        must(rig_delete(rig, i, bytes) == 0);
    }
    rig_close(rig);
    sim_disk_device(rig->sim, "/s/a", &(struct sim_device){.state = SIM_DEVICE_GONE});
    must(rig_open(rig) == 0);
    const _Atomic uint64_t *freed = &store_upkeep(rig->store)->segments_freed;
    for (uint32_t i = 0; i < 400 && counter_get(freed) == 0; i++) {
        rig->now_ns += NS_PER_S;
        rig_maintain(rig, 10);
    }
    must(counter_get(freed) > 0);
}

uint8_t *rig_closed_bytes(struct rig *rig, const char *path, uint64_t *ret_bytes,
                          uint64_t *ret_calls) {
    uint64_t before = sim_disk_calls(rig->sim);
    rig_close(rig);
    *ret_calls = sim_disk_calls(rig->sim) - before;
    const uint8_t *bytes = sim_disk_bytes(rig->sim, path, ret_bytes);
    uint8_t *copy = malloc(*ret_bytes);
    must(copy != NULL);
    memcpy(copy, bytes, *ret_bytes);
    rig_end(rig);
    return copy;
}
