/* SPDX-License-Identifier: MIT */
#include "tests/engine/house.h"

#include "base/clock.h"
#include "engine/net.h"
#include "engine/swarm/swarm.h"

#include <criterion/criterion.h>
#include <stdio.h>

void house_init(struct rig *rig) {
    rig_init(rig);
    (void)snprintf(rig->settings.bitswap_listen, sizeof rig->settings.bitswap_listen,
                   "127.0.0.1:0");
    rig->settings.bitswap_peers_max = 64;
    rig->settings.bitswap_wants_max = 8192;
    rig->check = house_check;
}

void house_split(struct rig *rig) {
    (void)snprintf(rig->settings.cores_net, sizeof rig->settings.cores_net, "0-1");
    (void)snprintf(rig->settings.cores_work, sizeof rig->settings.cores_work, "2-3");
    rig->settings.sched_shed = false; /* more cores than CPUs: delays say nothing of overload */
}

uint64_t house_counter(struct rig *rig, const char *group, const char *name) {
    json_t *stat = rig_ask(rig, "stat");
    json_t *core;
    size_t i;
    uint64_t sum = 0;
    json_array_foreach(json_object_get(stat, "cores"), i, core) {
        json_t *counters = json_object_get(core, group);
        if (counters) {
            json_t *value = json_object_get(counters, name);
            cr_assert_not_null(value, "no counter %s of %s", name, group);
            sum += (uint64_t)json_integer_value(value);
        }
    }
    json_decref(stat);
    return sum;
}

void house_expect(struct rig *rig, const char *group, const char *name, uint64_t value) {
    uint64_t limit = clock_ns() + PATIENCE_NS;
    uint64_t seen = house_counter(rig, group, name);
    while (seen != value) {
        cr_assert_lt(clock_ns(), limit, "%s of %s is %lu, not %lu", name, group,
                     (unsigned long)seen, (unsigned long)value);
        seen = house_counter(rig, group, name);
    }
}

void house_put(struct rig *rig, const struct block *block) {
    struct caller caller = caller_open(rig);
    caller_put(&caller, 1, block);
    (void)caller_expect(&caller, TLV_DONE, 1);
    caller_close(&caller);
}

void house_warm(struct rig *rig, const struct block *block) {
    struct caller caller = caller_open(rig);
    caller_put(&caller, 1, block);
    (void)caller_expect(&caller, TLV_DONE, 1);
    caller_get(&caller, 2, &block->key);
    caller_expect_value(&caller, 2, block);
    caller_close(&caller);
}

void house_delete(struct rig *rig, const struct block *block) {
    struct caller caller = caller_open(rig);
    struct tlv_request request = {.type = TLV_DELETE, .id = 1, .class = TLV_CLASS_DEFAULT};
    caller_ask(&caller, &request, &block->key);
    (void)caller_expect(&caller, TLV_DONE, 1);
    caller_close(&caller);
}

void house_check(struct engine *engine) {
    for (uint32_t i = 0; i < engine->layout.count; i++) {
        const struct net *net = engine->cores[i].net;
        if (!net) {
            continue;
        }
        const struct swarm *swarm = net->swarm;
        cr_assert_eq(pool_used(&net->conns), 0);
        cr_assert_eq(pool_used(&net->jobs), net->spare_job ? 1 : 0);
        cr_assert_eq(pool_used(&net->outs.small), 0);
        cr_assert_eq(pool_used(&net->outs.large), 0);
        cr_assert_eq(pool_used(&net->outs.leased), 0);
        cr_assert_eq(pool_used(&swarm->peers), 0);
        cr_assert_eq(pool_used(&swarm->streams), 0);
        cr_assert_eq(pool_used(&swarm->handshakes), 0);
        cr_assert_eq(pool_used(&swarm->ledger.wants), 0);
        cr_assert_eq(swarm->record_bytes, 0);
        cr_assert_eq(swarm->early_bytes, 0);
        cr_assert_eq(swarm->identifies, 0);
        cr_assert_eq(swarm->shaking, 0);
        cr_assert_null(swarm->shaking_head);
    }
}

void house_close(struct rig *rig) {
    house_expect(rig, "swarm", "peers", 0);
    house_expect(rig, "swarm", "streams", 0);
    house_expect(rig, "ledger", "wants", 0);
    house_expect(rig, "ledger", "waiting", 0);
    house_expect(rig, "net", "connections", 0);
    house_expect(rig, "net", "jobs_used", 0);
    cr_assert_eq(rig_close(rig), 0, "every test ends in a clean drain");
}
