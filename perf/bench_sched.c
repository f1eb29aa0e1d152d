/* SPDX-License-Identifier: MIT */

/* bench_sched — what the policy costs a job: one push and one pick of engine/sched.h.
 *
 * Three states: empty but for the batch in hand with one class and flow (the common turn), the same
 * with four classes and many flows, and those above a standing backlog. Time comes in as an
 * argument and grows as it would, so that shedding and boosts do what they do. */

#include "engine/sched.h"
#include "perf/kit.h"

#define BATCH_MAX 64u

struct shape {
    const char *name;
    uint32_t classes, flows, backlog;
};

static uint64_t batch = 64, jobs_each = 4000000, quick;
static struct job *jobs; /* a circle: as many as the policy can hold, and a batch more */
static uint32_t job_count;

static struct job *fresh(struct kit_random *random, const struct shape *shape, uint64_t now_ns) {
    static uint32_t at;
    struct job *job = &jobs[at];
    at = at + 1 < job_count ? at + 1 : 0;
    job->arrived_ns = now_ns;
    job->class = (uint8_t)kit_below(random, shape->classes);
    job->flow = (uint16_t)kit_below(random, shape->flows);
    job->kind = JOB_GET;
    return job;
}

static double run(const struct shape *shape) {
    struct sched_config config = sched_config_default;
    config.jobs_max = 65536;
    config.shed = false; /* a shed job is a cheap one: count only those that run */
    struct sched *sched = sched_init(kit_map(sched_footprint(&config)), &config);
    struct kit_random random = {.state = 7};
    struct sched_pick picks[BATCH_MAX];
    uint64_t now_ns = NS_PER_S;
    for (uint32_t i = 0; i < shape->backlog; i++) {
        if (!sched_push(sched, fresh(&random, shape, now_ns), 500, now_ns)) {
            kit_fail("the backlog did not fit");
        }
    }
    uint64_t start = kit_ns();
    uint64_t picked = 0;
    while (picked < jobs_each) {
        for (uint64_t i = 0; i < batch; i++) {
            if (!sched_push(sched, fresh(&random, shape, now_ns), 500, now_ns)) {
                kit_fail("the queue filled up");
            }
        }
        uint32_t left = (uint32_t)batch;
        while (left > 0) {
            uint32_t count = sched_pick(sched, picks, left, 0, now_ns);
            if (count == 0) {
                kit_fail("a pick of a backlog gave nothing");
            }
            left -= count;
        }
        picked += batch;
        now_ns += batch * 500;
    }
    return (double)(kit_ns() - start) / (double)picked;
}

int main(int argc, char **argv) {
    const struct kit_option options[] = {
        {"--batch", &batch, "jobs pushed, then picked, 1..64"},
        {"--jobs", &jobs_each, "jobs through each shape"},
        {"--quick", &quick, "few jobs, to see that it works"},
    };
    kit_options(argc, argv, options, array_count(options));
    if (batch < 1 || batch > BATCH_MAX) {
        kit_skip("--batch must be 1..64");
    }
    jobs_each = quick ? 100000 : jobs_each;
    job_count = 65536 + BATCH_MAX;
    jobs = kit_map(job_count * sizeof *jobs);
    kit_pin(0);
    const struct shape shapes[] = {
        {"one_class_ns", 1, 1, 0},
        {"four_classes_ns", CLASS_COUNT, 100, 0},
        {"backlog_1000_ns", CLASS_COUNT, 100, 1000},
        {"backlog_20000_ns", CLASS_COUNT, 100, 20000},
    };
    kit_begin("bench_sched");
    for (uint32_t i = 0; i < array_count(shapes); i++) {
        kit_number(shapes[i].name, run(&shapes[i]), "ns a job, push and pick");
    }
    kit_end();
    return 0;
}
