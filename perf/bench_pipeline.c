/* SPDX-License-Identifier: MIT */

/* bench_pipeline — a want through the whole pipeline in one process: G1, and G16's instructions.
 *
 *   request bytes -> tlv_reader -> job from the pool -> store_find: lease and proof
 *                 -> reply head and body into the send buffer -> lease and job given back
 *
 * It is the turn of a net tile over light jobs without sockets: the same calls in the same order.
 * As there, GETs of one class that find the policy empty are answered as they are read; --policy 1
 * puts each through it, which is what happens once a second class is there. Besides: two clock
 * reads a batch, the histogram the engine keeps. A batch is what one peer sent, so it is one flow;
 * 64 peers take turns. Blocks are all in memory; keys are drawn at random. A latency is from a
 * batch's bytes at the reader to its last reply byte. Heap calls are counted by wrapping the
 * allocator at link time, heap bytes as the allocator itself counts them.
 *
 * What others publish for this shape, on their machines (issue of the engine, performance brief):
 * 471,000 wants/s at 2.3 us (Go, 8 cores, in process); 648,000/s, and 111,000/s at 9 us through a
 * request queue with a balancer. */

#include "base/clock.h"
#include "base/hist.h"
#include "base/mem.h"
#include "base/pool.h"
#include "engine/sched.h"
#include "perf/kit.h"
#include "perf/shelf.h"
#include "proto/tlv/tlv.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_MAX 64u
#define REQUESTS  65536u
#define SAMPLES   (1u << 20)
#define COPY_MAX  2048u /* bodies up to here are copied, as in the engine */

static uint64_t keys = 1000000, bytes = 64, millis = 1000, wants_fixed, only_batch, policy, quick;

/* ---- heap calls ------------------------------------------------------------------------------ */

static uint64_t heap_calls;

void *__real_malloc(size_t count);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t count);
void *__real_aligned_alloc(size_t align, size_t count);
int __real_posix_memalign(void **ret, size_t align, size_t count);
void *__wrap_malloc(size_t count);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t count);
void *__wrap_aligned_alloc(size_t align, size_t count);
int __wrap_posix_memalign(void **ret, size_t align, size_t count);

void *__wrap_malloc(size_t count) {
    heap_calls++;
    return __real_malloc(count);
}
void *__wrap_calloc(size_t count, size_t size) {
    heap_calls++;
    return __real_calloc(count, size);
}
void *__wrap_realloc(void *old, size_t count) {
    heap_calls++;
    return __real_realloc(old, count);
}
void *__wrap_aligned_alloc(size_t align, size_t count) {
    heap_calls++;
    return __real_aligned_alloc(align, count);
}
int __wrap_posix_memalign(void **ret, size_t align, size_t count) {
    heap_calls++;
    return __real_posix_memalign(ret, align, count);
}

/* ---- the pipeline ---------------------------------------------------------------------------- */

struct pipeline {
    struct store *store;
    struct sched *sched;
    struct pool jobs;
    struct tlv_reader reader;
    struct hist hists[CLASS_COUNT];
    struct sched_pick picks[BATCH_MAX];
    struct job *direct[BATCH_MAX];
    uint32_t direct_count;
    struct find finds[BATCH_MAX];
    uint8_t *requests;
    uint32_t offsets[REQUESTS + 1];
    uint8_t *out;
    uint64_t out_bytes, answered, not_frames;
    uint16_t flow;
};

/* Bytes to jobs in the policy's hands. */
static void admit(struct pipeline *pipeline, const uint8_t *bytes_in, size_t count,
                  uint64_t now_ns) {
    uint16_t flow = pipeline->flow++ & 63;
    struct tlv_step step;
    for (;;) {
        struct job *job = pool_get(&pipeline->jobs); /* ahead of the parser, which fills its key */
        if (!job) {
            kit_fail("no job free");
        }
        enum tlv_event event =
            tlv_reader_step(&pipeline->reader, bytes_in, count, &step, &job->key);
        bytes_in += step.used;
        count -= step.used;
        if (event == TLV_EVENT_MORE) {
            pool_put(&pipeline->jobs, job);
            return;
        }
        if (event != TLV_EVENT_REQUEST) {
            kit_fail("the reader did not take its own request");
        }
        job->arrived_ns = now_ns;
        job->queued_ns = 0;
        job->id = step.request.id;
        job->kind = JOB_GET;
        job->class = step.request.class < CLASS_COUNT ? step.request.class : CLASS_NORMAL;
        job->flow = flow;
        job->deadline_ms = step.request.deadline_ms;
        job->arg = 0;
        job->data_bytes = 0;
        if (!policy) {
            pipeline->direct[pipeline->direct_count++] = job;
        } else if (!sched_push(pipeline->sched, job, 500, now_ns)) {
            kit_fail("the policy is full");
        }
    }
}

static size_t reply(uint8_t *out, const struct job *job, const struct find *find) {
    if (find->state != FIND_FRAME) {
        return tlv_plain(out, TLV_NOT_FOUND, job->id);
    }
    uint32_t body_bytes = frame_bytes(find->frame);
    size_t used =
        tlv_value_head(out, job->id, (uint32_t)frame_codec(find->frame), body_bytes, 0, body_bytes);
    if (body_bytes <= COPY_MAX) {
        memcpy(out + used, frame_body(find->frame), body_bytes);
        return used + body_bytes;
    }
    kit_keep(frame_body(find->frame)); /* larger ones leave by reference, with the lease */
    return used;
}

static uint32_t from_policy(struct pipeline *pipeline, uint32_t count, uint64_t now_ns) {
    uint32_t picked = sched_pick(pipeline->sched, pipeline->picks, count, 0, now_ns);
    for (uint32_t i = 0; i < picked; i++) {
        pipeline->direct[i] = pipeline->picks[i].job;
    }
    return picked;
}

/* One turn over one connection's bytes. Not inlined, so that callgrind can be told its name. */
__attribute__((noinline)) static uint64_t pipeline_turn(struct pipeline *pipeline, uint32_t first,
                                                        uint32_t count) {
    uint64_t arrived_ns = clock_ns();
    store_turn(pipeline->store, 0);
    admit(pipeline, pipeline->requests + pipeline->offsets[first],
          pipeline->offsets[first + count] - pipeline->offsets[first], arrived_ns);
    uint32_t picked = policy ? from_policy(pipeline, count, arrived_ns) : pipeline->direct_count;
    pipeline->direct_count = 0;
    for (uint32_t i = 0; i < picked; i++) {
        pipeline->finds[i].key = &pipeline->direct[i]->key;
    }
    store_find(pipeline->store, 0, pipeline->finds, picked);
    size_t used = 0;
    for (uint32_t i = 0; i < picked; i++) {
        struct job *job = pipeline->direct[i];
        const struct find *find = &pipeline->finds[i];
        used += reply(pipeline->out + used, job, find);
        pipeline->not_frames += find->state != FIND_FRAME;
        if (find->state == FIND_FRAME) {
            frame_give_back(find->frame);
        }
    }
    uint64_t took_ns = clock_ns() - arrived_ns;
    for (uint32_t i = 0; i < picked; i++) {
        struct job *job = pipeline->direct[i];
        hist_record(&pipeline->hists[job->class], took_ns, 1);
        pool_put(&pipeline->jobs, job);
    }
    kit_keep(pipeline->out);
    pipeline->out_bytes += used;
    pipeline->answered += picked;
    return took_ns;
}

static void pipeline_open(struct pipeline *pipeline, struct shelf *shelf) {
    const struct sched_config *config = &sched_config_default;
    pipeline->store = shelf_store(shelf);
    pipeline->sched = sched_init(kit_map(sched_footprint(config)), config);
    pool_init(&pipeline->jobs, kit_map(pool_footprint(sizeof(struct job), 4096)),
              sizeof(struct job), 4096);
    tlv_reader_init(&pipeline->reader);
    pipeline->requests = kit_map((size_t)REQUESTS * TLV_REQUEST_MAX);
    pipeline->out = kit_map(BATCH_MAX * (COPY_MAX + TLV_VALUE_HEAD));
    struct kit_random random = {.state = 42};
    for (uint32_t i = 0; i < REQUESTS; i++) {
        const struct tlv_request request = {.type = TLV_GET, .class = TLV_CLASS_DEFAULT, .id = i};
        const struct key *key = &shelf_keys(shelf)[kit_below(&random, keys)];
        size_t used = tlv_request_write(&request, key, pipeline->requests + pipeline->offsets[i]);
        pipeline->offsets[i + 1] = pipeline->offsets[i] + (uint32_t)used;
    }
}

struct outcome {
    double rate, ns, p50_ns, p99_ns;
    uint64_t heap_calls;
    int64_t heap_bytes;
    uint64_t answered;
};

static struct outcome run(struct pipeline *pipeline, uint32_t batch) {
    static uint64_t samples[SAMPLES];
    uint64_t sampled = 0, turns = 0;
    uint32_t first = 0;
    pipeline->answered = 0;
    pipeline->not_frames = 0;
    size_t heap_before = mallinfo2().uordblks;
    uint64_t calls_before = heap_calls;
    uint64_t start = kit_ns(), now = start, end = start + millis * NS_PER_MS;
    bool more = true;
    while (more) {
        for (uint32_t round = 0; round < 64; round++) {
            first = first + batch > REQUESTS ? 0 : first;
            uint64_t took_ns = pipeline_turn(pipeline, first, batch);
            samples[sampled++ & (SAMPLES - 1)] = took_ns;
            first += batch;
            turns++;
        }
        now = kit_ns();
        more = wants_fixed ? pipeline->answered < wants_fixed : now < end;
    }
    uint64_t calls = heap_calls - calls_before;
    size_t heap_after = mallinfo2().uordblks;
    if (pipeline->answered != turns * batch || pipeline->not_frames != 0) {
        kit_fail("a want was not answered with its block");
    }
    size_t kept = sampled < SAMPLES ? sampled : SAMPLES;
    double ns = (double)(now - start);
    return (struct outcome){.rate = (double)pipeline->answered / ns * 1e9,
                            .ns = ns / (double)pipeline->answered,
                            .p50_ns = (double)kit_quantile(samples, kept, 0.5),
                            .p99_ns = (double)kit_quantile(samples, kept, 0.99),
                            .heap_calls = calls,
                            .heap_bytes = (int64_t)heap_after - (int64_t)heap_before,
                            .answered = pipeline->answered};
}

static void print(uint32_t batch, const struct outcome *outcome) {
    static const char *const names[3][6] = {
        {"b1_rate", "b1_ns", "b1_p50_ns", "b1_p99_ns", "b1_heap_calls", "b1_heap_bytes_per_op"},
        {"b16_rate", "b16_ns", "b16_p50_ns", "b16_p99_ns", "b16_heap_calls",
         "b16_heap_bytes_per_op"},
        {"b64_rate", "b64_ns", "b64_p50_ns", "b64_p99_ns", "b64_heap_calls",
         "b64_heap_bytes_per_op"},
    };
    const char *const *name = names[batch == 1 ? 0 : batch == 16 ? 1 : 2];
    kit_number(name[0], outcome->rate, "wants/s");
    kit_number(name[1], outcome->ns, "ns a want");
    kit_number(name[2], outcome->p50_ns, "ns, bytes in to last reply byte of the batch");
    kit_number(name[3], outcome->p99_ns, "ns");
    kit_number(name[4], (double)outcome->heap_calls, "heap calls in the run");
    kit_number(name[5], (double)outcome->heap_bytes / (double)outcome->answered, "bytes a want");
}

int main(int argc, char **argv) {
    const struct kit_option options[] = {
        {"--keys", &keys, "blocks, all in memory"},
        {"--size", &bytes, "bytes of a block, 8 to 2048"},
        {"--millis", &millis, "how long each batch size runs"},
        {"--wants", &wants_fixed, "instead: this many wants of each batch size (rounded up)"},
        {"--batch", &only_batch, "only this batch size: 1, 16 or 64"},
        {"--policy", &policy, "1: through the policy, as where classes compete"},
        {"--quick", &quick, "small and short, to see that it works"},
    };
    kit_options(argc, argv, options, array_count(options));
    keys = quick ? 5000 : keys;
    millis = quick ? 50 : millis;
    if (keys < 1 || bytes < 8 || bytes > COPY_MAX) {
        kit_skip("--keys from 1, --size 8..2048");
    }
    kit_pin(0);
    const struct shelf_config config = {.blocks = keys,
                                        .bytes = (uint32_t)bytes,
                                        .memory_bytes = keys * (bytes + 1024) + 64 * MiB,
                                        .segment_bytes = quick ? STORE_SEGMENT_BYTES_MIN : 0};
    struct shelf *shelf = shelf_open(&config);
    if (shelf_warm(shelf) != keys) {
        kit_fail("not every block came into memory");
    }
    struct pipeline *pipeline = kit_map(sizeof *pipeline);
    pipeline_open(pipeline, shelf);
    kit_begin("bench_pipeline");
    kit_number("keys", (double)keys, "blocks");
    const uint32_t batches[] = {1, 16, 64};
    for (uint32_t i = 0; i < array_count(batches); i++) {
        if (only_batch == 0 || only_batch == batches[i]) {
            (void)run(pipeline, batches[i]); /* warm */
            struct outcome outcome = run(pipeline, batches[i]);
            print(batches[i], &outcome);
        }
    }
    kit_text("published", "471k/s at 2.3 us (Go, 8 cores); 648k/s; 111k/s at 9 us by a queue");
    kit_end();
    shelf_close(shelf);
    return 0;
}
