/* SPDX-License-Identifier: MIT */
#include "tools/load/bitswap/swarm.h"

#include "base/bits.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"
#include "tools/load/machine.h"
#include "tools/load/options.h"
#include "tools/load/report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLES   60u
#define TURN_NS   (100 * NS_PER_MS)
#define CLASS_ALL 2u /* one class is all there is */

static double cpu_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / (double)NS_PER_S;
}

static void sample_take(struct swarm *swarm, struct tally *older, uint64_t *then_ns,
                        struct result *result) {
    struct tally since = swarm->tally;
    tally_since(&since, older);
    *older = swarm->tally;
    double span_s = (double)(swarm->now_ns - *then_ns) / (double)NS_PER_S;
    *then_ns = swarm->now_ns;
    if (result->sample_count == RUN_SAMPLES_MAX || span_s <= 0) {
        return;
    }
    struct sample *sample = &result->samples[result->sample_count++];
    *sample = (struct sample){
        .at_s = (double)(swarm->now_ns - swarm->from_ns) / (double)NS_PER_S,
        .span_s = span_s,
        .rate = (double)since.requests / span_s,
        .p50_ns = hist_quantile_ns(&since.latency, 0.5),
        .p99_ns = hist_quantile_ns(&since.latency, 0.99),
    };
    report_live(&swarm->plan->plan, older, sample);
}

static void turns_until(struct swarm *swarm, uint64_t until_ns) {
    do {
        swarm_turn(swarm, min_u64(until_ns, clock_ns() + TURN_NS));
    } while (swarm->now_ns < until_ns);
}

static uint64_t asks_out(const struct swarm *swarm) {
    uint64_t out = 0;
    for (uint32_t i = 0; i < swarm->count; i++) {
        out += swarm->nodes[i].asks.count;
    }
    return out;
}

static void extras_say(const struct swarm *swarm, struct result *result) {
    const struct extra extras[] = {
        {"haves", swarm->haves},
        {"dont_haves", swarm->dont_haves},
        {"cancelled", swarm->cancelled},
        {"unasked", swarm->extra_blocks},
        {"messages", swarm->messages_in},
        {"peers_lost", swarm->lost},
        {"streams_lost", swarm->reconnects},
        {"handshake_p50_us", hist_quantile_ns(&swarm->handshake, 0.5) / 1000},
        {"handshake_p95_us", hist_quantile_ns(&swarm->handshake, 0.95) / 1000},
    };
    memcpy(result->extras, extras, sizeof extras);
    result->extra_count = array_count(extras);
}

static void begin(struct swarm *swarm) {
    const struct plan *plan = &swarm->plan->plan;
    swarm->now_ns = swarm->host.now_ns = clock_ns();
    swarm->from_ns = swarm->now_ns + (uint64_t)(plan->warmup * (double)NS_PER_S);
    swarm->to_ns = swarm->from_ns + (uint64_t)(plan->seconds * (double)NS_PER_S);
    swarm->stopping = false;
    if (plan->rate > 0) {
        pace_init(&swarm->pace, swarm->now_ns, plan->rate, 0, plan->poisson, plan->seed);
    }
    for (uint32_t i = 0; i < swarm->count; i++) {
        client_refill(swarm, &swarm->nodes[i]);
        swarm_flush(swarm, &swarm->nodes[i]);
    }
}

void swarm_run(struct swarm *swarm, struct result *ret_result) {
    const struct plan *plan = &swarm->plan->plan;
    memset(ret_result, 0, sizeof *ret_result);
    begin(swarm);
    turns_until(swarm, swarm->from_ns);
    double server_cpu = machine_cpu(plan->server_pid), own_cpu = cpu_seconds();
    struct tally older = swarm->tally;
    uint64_t then_ns = swarm->now_ns, step_ns = (swarm->to_ns - swarm->from_ns) / SAMPLES;
    step_ns = max_u64(step_ns, NS_PER_S / 10);
    for (uint64_t next_ns = swarm->from_ns; next_ns < swarm->to_ns;) {
        next_ns = min_u64(next_ns + step_ns, swarm->to_ns);
        turns_until(swarm, next_ns);
        sample_take(swarm, &older, &then_ns, ret_result);
    }
    double server_cpu_end = machine_cpu(plan->server_pid);
    ret_result->cpu_seconds = cpu_seconds() - own_cpu;
    ret_result->server_cpu_seconds =
        server_cpu < 0 || server_cpu_end < 0 ? -1 : server_cpu_end - server_cpu;
    swarm->stopping = true;
    uint64_t drained_ns = clock_ns() + (uint64_t)(plan->drain * (double)NS_PER_S);
    while (asks_out(swarm) > 0 && clock_ns() < drained_ns) {
        swarm_turn(swarm, min_u64(drained_ns, clock_ns() + 20 * NS_PER_MS));
    }
    ret_result->unanswered = asks_out(swarm);
    uint64_t due = swarm->backlog.tail - swarm->backlog.head;
    tally_count(&swarm->tally.late, due);
    ret_result->classes[CLASS_ALL] = swarm->tally;
    ret_result->total = swarm->tally;
    ret_result->seconds = plan->seconds;
    uint64_t last_ns = swarm->tally.last_ns;
    if (last_ns > swarm->to_ns) {
        ret_result->seconds = (double)(last_ns - swarm->from_ns) / (double)NS_PER_S;
    }
    extras_say(swarm, ret_result);
    memcpy(ret_result->fault, swarm->fault, sizeof ret_result->fault);
    report_live_end(plan);
}
