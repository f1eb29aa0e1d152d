/* SPDX-License-Identifier: MIT */
#include "tools/load/run.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/must.h"
#include "tools/load/machine.h"
#include "tools/load/report.h"
#include "tools/load/worker.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct crew {
    const struct plan *plan;
    const struct content *content;
    struct worker *workers;
    pthread_barrier_t barrier;
    uint64_t start_ns;
};

static void sleep_until(uint64_t ns) {
    struct timespec until = {.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) {
    }
}

/* ---- the crew ---------------------------------------------------------------------------------
 */

static void crew_sum(const struct crew *crew, struct tally classes[TALLY_CLASSES],
                     struct tally *total) {
    memset(classes, 0, TALLY_CLASSES * sizeof *classes);
    memset(total, 0, sizeof *total);
    for (uint32_t i = 0; i < crew->plan->threads; i++) {
        for (uint32_t class = 0; class < TALLY_CLASSES; class ++) {
            tally_merge(&classes[class], &crew->workers[i].tally[class]);
        }
    }
    for (uint32_t class = 0; class < TALLY_CLASSES; class ++) {
        tally_merge(total, &classes[class]);
    }
}

/* One of them could not get ready: start_ns stays 0, and all go home. */
static void crew_dismiss(struct crew *crew) {
    pthread_barrier_wait(&crew->barrier);
    for (uint32_t i = 0; i < crew->plan->threads; i++) {
        pthread_join(crew->workers[i].thread, NULL);
    }
    free(crew->workers);
    crew->workers = NULL;
}

/* Returns: 0 when every thread is ready to begin. */
static int crew_start(struct crew *crew, char *why, size_t why_bytes) {
    const struct plan *plan = crew->plan;
    crew->workers = calloc(plan->threads, sizeof *crew->workers);
    if (crew->workers == NULL) {
        snprintf(why, why_bytes, "no memory");
        return err_raise(-ENOMEM);
    }
    must(pthread_barrier_init(&crew->barrier, NULL, plan->threads + 1) == 0);
    uint64_t filled = 0;
    for (uint32_t i = 0; i < plan->threads; i++) {
        struct worker *worker = &crew->workers[i];
        worker->plan = plan;
        worker->content = crew->content;
        worker->index = i;
        worker->barrier = &crew->barrier;
        worker->start_ns = &crew->start_ns;
        worker->fill_next = filled;
        filled = plan->keys * (i + 1) / plan->threads;
        worker->fill_end = filled;
        worker->fill_left = filled - worker->fill_next;
        int r = pthread_create(&worker->thread, NULL, worker_main, worker);
        if (r != 0) {
            /* Those already begun wait at the barrier until the process ends, which is now. */
            snprintf(why, why_bytes, "cannot start %u threads: %s", plan->threads, err_text(-r));
            return err_raise(-r);
        }
    }
    pthread_barrier_wait(&crew->barrier);
    for (uint32_t i = 0; i < plan->threads; i++) {
        if (crew->workers[i].failure[0] != '\0') {
            snprintf(why, why_bytes, "%s", crew->workers[i].failure);
            crew_dismiss(crew);
            return err_raise(-ECONNABORTED);
        }
    }
    crew->start_ns = clock_ns() + 10 * NS_PER_MS;
    pthread_barrier_wait(&crew->barrier);
    return 0;
}

static int crew_end(struct crew *crew, struct result *result, char *why, size_t why_bytes) {
    int r = 0;
    for (uint32_t i = 0; i < crew->plan->threads; i++) {
        struct worker *worker = &crew->workers[i];
        pthread_join(worker->thread, NULL);
        result->unanswered += worker->unanswered;
        result->cpu_seconds += (double)worker->cpu_ns / (double)NS_PER_S;
        if (worker->fault[0] != '\0' && result->fault[0] == '\0') {
            memcpy(result->fault, worker->fault, sizeof result->fault);
        }
        if (worker->failure[0] != '\0') {
            snprintf(why, why_bytes, "%s", worker->failure);
            r = -ECONNABORTED;
        }
    }
    crew_sum(crew, result->classes, &result->total);
    pthread_barrier_destroy(&crew->barrier);
    free(crew->workers);
    return err_raise(r);
}

/* ---- watching ---------------------------------------------------------------------------------
 */

static void sample_take(const struct crew *crew, struct tally *older, uint64_t from_ns,
                        uint64_t *then_ns, struct result *result) {
    static struct tally classes[TALLY_CLASSES], now;
    crew_sum(crew, classes, &now);
    struct tally since = now;
    tally_since(&since, older);
    *older = now;
    uint64_t now_ns = clock_ns();
    double span_s = (double)(now_ns - *then_ns) / (double)NS_PER_S;
    if (result->sample_count < RUN_SAMPLES_MAX) {
        result->samples[result->sample_count++] = (struct sample){
            .at_s = (double)(now_ns - from_ns) / (double)NS_PER_S,
            .span_s = span_s,
            .rate = (double)since.requests / span_s,
            .p50_ns = hist_quantile_ns(&since.latency, 0.5),
            .p99_ns = hist_quantile_ns(&since.latency, 0.99),
        };
    }
    *then_ns = now_ns;
}

static void watch(const struct crew *crew, struct result *result) {
    const struct plan *plan = crew->plan;
    uint64_t from_ns = crew->start_ns + (uint64_t)(plan->warmup * (double)NS_PER_S);
    uint64_t to_ns = from_ns + (uint64_t)(plan->seconds * (double)NS_PER_S);
    uint64_t step_ns = (to_ns - from_ns) / 60;
    step_ns = step_ns < NS_PER_S / 10 ? NS_PER_S / 10 : step_ns;
    sleep_until(from_ns);
    double server_cpu = machine_cpu(plan->server_pid);
    struct tally older = {0};
    uint64_t then_ns = clock_ns(), shown_ns = then_ns;
    for (uint64_t next_ns = from_ns; next_ns < to_ns;) {
        next_ns = next_ns + step_ns < to_ns ? next_ns + step_ns : to_ns;
        sleep_until(next_ns);
        sample_take(crew, &older, from_ns, &then_ns, result);
        if (then_ns - shown_ns >= NS_PER_S) {
            report_live(plan, &older, &result->samples[result->sample_count - 1]);
            shown_ns += NS_PER_S;
        }
    }
    double server_cpu_end = machine_cpu(plan->server_pid);
    result->server_cpu_seconds =
        server_cpu < 0 || server_cpu_end < 0 ? -1 : server_cpu_end - server_cpu;
    result->seconds = plan->seconds;
}

/* Overload is answered after the end; the time that took belongs to the rate. */
static void seconds_correct(const struct crew *crew, struct result *result) {
    uint64_t from_ns = crew->start_ns + (uint64_t)(crew->plan->warmup * (double)NS_PER_S);
    uint64_t last_ns = result->total.last_ns;
    double answered_s = last_ns > from_ns ? (double)(last_ns - from_ns) / (double)NS_PER_S : 0;
    if (answered_s > result->seconds) {
        result->seconds = answered_s;
    }
}

int run_plan(const struct plan *plan, const struct content *content, struct result *ret_result,
             char *why, size_t why_bytes) {
    struct crew crew = {.plan = plan, .content = content};
    memset(ret_result, 0, sizeof *ret_result);
    int r = machine_files(plan->conns + PLAN_THREADS_MAX, why, why_bytes);
    if (r != 0) {
        return err_pass(r);
    }
    r = crew_start(&crew, why, why_bytes);
    if (r != 0) {
        return err_pass(r);
    }
    watch(&crew, ret_result);
    r = crew_end(&crew, ret_result, why, why_bytes);
    seconds_correct(&crew, ret_result);
    report_live_end(plan);
    return err_pass(r);
}

int run_fill(const struct plan *plan, const struct content *content, char *why, size_t why_bytes) {
    struct plan fill = *plan;
    fill.filling = true;
    fill.classed = false;
    fill.threads = 1;
    fill.conns = plan->keys < 8 ? 1 : 8;
    /* Enough in flight that group commit has groups, bounded at 32 MiB. */
    uint64_t depth = 32 * MiB / fill.conns / plan->size;
    fill.depth = depth > 128 ? 128 : depth < 1 ? 1 : (uint32_t)depth;
    struct crew crew = {.plan = &fill, .content = content};
    int r = crew_start(&crew, why, why_bytes);
    if (r != 0) {
        return err_pass(r);
    }
    struct result *result = calloc(1, sizeof *result);
    must(result != NULL);
    uint64_t shown_ns = clock_ns();
    struct timespec until;
    do {
        struct tally total, classes[TALLY_CLASSES];
        crew_sum(&crew, classes, &total);
        report_fill(plan, total.requests);
        shown_ns += NS_PER_S / 2;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 500000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
    } while (pthread_timedjoin_np(crew.workers[0].thread, NULL, &until) != 0);
    struct worker *worker = &crew.workers[0];
    crew_sum(&crew, result->classes, &result->total);
    report_fill(plan, result->total.requests);
    report_live_end(plan);
    if (worker->failure[0] != '\0') {
        snprintf(why, why_bytes, "%s", worker->failure);
        r = -ECONNABORTED;
    } else if (result->total.errors + result->total.wrong > 0) {
        snprintf(why, why_bytes, "filling: %" PRIu64 " blocks were not taken: %s",
                 (uint64_t)(result->total.errors + result->total.wrong), worker->fault);
        r = -EIO;
    }
    pthread_barrier_destroy(&crew.barrier);
    free(crew.workers);
    free(result);
    return err_raise(r);
}
