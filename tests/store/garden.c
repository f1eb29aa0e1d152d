/* SPDX-License-Identifier: MIT */
#include "tests/store/garden.h"

#include "base/bits.h"
#include "base/cid.h"
#include "base/hash.h"
#include "base/must.h"

#include <string.h>

struct garden_block garden[GARDEN_BLOCKS];

void garden_plant(uint32_t i, bool inner, const uint32_t links[], uint32_t count) {
    must(i < GARDEN_BLOCKS && count <= GARDEN_LINKS);
    struct garden_block *block = &garden[i];
    *block = (struct garden_block){.inner = inner, .link_count = count};
    put_le32(block->bytes, i);
    put_le32(block->bytes + 4, inner);
    put_le32(block->bytes + 8, count);
    for (uint32_t n = 0; n < count; n++) {
        must(links[n] < i);
        block->links[n] = links[n];
        put_le32(block->bytes + 12 + 4 * n, links[n]);
    }
    block->count = 12 + 4 * count;
    block->key = (struct key){.code = HASH_SHA2_256, .digest_bytes = 32};
    must(hash_compute(HASH_SHA2_256, block->bytes, block->count, block->key.digest, 32) == 0);
}

static bool codec_known(uint64_t codec) {
    return codec == CID_RAW || codec == CID_DAG_PB;
}

static bool codec_has(uint64_t codec) {
    return codec == CID_DAG_PB;
}

static int links_read(uint64_t codec, const uint8_t *bytes, uint32_t count,
                      void (*each)(void *context, const struct cid *link), void *context) {
    must(codec == CID_DAG_PB);
    if (count < 12 || count != 12 + 4 * get_le32(bytes + 8)) {
        return 1;
    }
    for (uint32_t n = 0; n < get_le32(bytes + 8); n++) {
        uint32_t to = get_le32(bytes + 12 + 4 * n);
        struct cid cid;
        cid_of_key(&garden[to].key, garden[to].inner ? CID_DAG_PB : CID_RAW, &cid);
        each(context, &cid);
    }
    return 0;
}

const struct store_links garden_links = {codec_known, codec_has, links_read};

int32_t garden_put(struct rig *rig, uint32_t i) {
    struct store_op op = {.kind = STORE_PUT,
                          .key = garden[i].key,
                          .data = garden[i].bytes,
                          .bytes = garden[i].count,
                          .codec = garden[i].inner ? CID_DAG_PB : CID_RAW};
    return rig_do(rig, &op);
}

int32_t garden_delete(struct rig *rig, uint32_t i) {
    struct store_op op = {.kind = STORE_DELETE, .key = garden[i].key};
    return rig_do(rig, &op);
}

bool garden_has(struct rig *rig, uint32_t i) {
    uint8_t present = 0;
    store_have(rig->store, 0, &garden[i].key, &present, 1);
    return present == 1;
}

void garden_step(struct rig *rig) {
    rig_turn(rig);
    (void)store_housekeep(rig->store);
    (void)store_maintain(rig->store, rig->now_ns);
}

int32_t garden_run(struct rig *rig, struct store_task *task) {
    int r = store_task_begin(rig->store, task);
    must(r == 0);
    for (uint32_t i = 0; atomic_load(&task->state) != STORE_TASK_DONE; i++) {
        must(i < 100000);
        garden_step(rig);
    }
    return task->result;
}

int32_t garden_pin(struct rig *rig, uint32_t i, uint8_t mode, struct store_task *task) {
    struct store_task own;
    task = task ? task : &own;
    *task = (struct store_task){.kind = STORE_TASK_PIN};
    task->ask.pin = (struct store_pin){
        .key = garden[i].key, .codec = garden[i].inner ? CID_DAG_PB : CID_RAW, .mode = mode};
    return garden_run(rig, task);
}

int32_t garden_unpin(struct rig *rig, uint32_t i) {
    struct store_task task = {.kind = STORE_TASK_UNPIN};
    task.ask.pin = (struct store_pin){.key = garden[i].key};
    return garden_run(rig, &task);
}

int32_t garden_gc(struct rig *rig, uint64_t grace_ns, bool dry_run, struct store_task *task) {
    *task = (struct store_task){.kind = STORE_TASK_GC};
    task->ask.gc = (struct store_gc){.grace_ns = grace_ns, .dry_run = dry_run};
    return garden_run(rig, task);
}
