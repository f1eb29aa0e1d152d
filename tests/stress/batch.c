/* SPDX-License-Identifier: MIT */
#include "rings/batch.h"

#include "engine/sched.h"
#include "rings/ring.h"
#include "tests/stress/kit.h"

#include <stdatomic.h>

/* The whole hand-off in small: net threads fill containers with jobs and push them on the ring of
 * their class; one scheduler takes jobs out, sends the containers home, orders jobs by the policy
 * and hands batches of its own to two workers; these finish the jobs and send each home on the done
 * ring of its net thread. Every job comes home once, finished, and every container is back at its
 * owner at the end. Job fields are plain words throughout: ThreadSanitizer sees each passing on. */

enum { NETS = 3, WORKERS = 2, JOBS = 700, CONTAINERS = 12, INBOX = 4, CLASS_RING = 16 };

struct net {
    struct job jobs[JOBS];
    struct batch containers[CONTAINERS];
    struct job_chain unused;
    struct batch *empty[CONTAINERS];
    uint32_t empty_count;
    struct ring *home;          /* containers, from the scheduler */
    struct ring *done[WORKERS]; /* jobs, from each worker */
    uint64_t random;
    uint64_t made;
    uint64_t finished;
};

struct worker {
    struct ring *inbox;
    struct ring *home; /* containers, back to the scheduler */
    struct batch containers[INBOX];
    struct batch *empty[INBOX]; /* the scheduler's */
    uint32_t empty_count;
};

static struct ring *class_rings[CLASS_COUNT];
static struct net nets[NETS];
static struct worker workers[WORKERS];
static _Atomic bool ended;
static _Atomic uint32_t nets_left, sched_left;
static struct stress stress;

static struct ring *spsc(uint32_t size) {
    return ring_init_spsc(stress_memory(ring_footprint(size)), size);
}

/* --- net -------------------------------------------------------------------------------------- */

static uint32_t net_welcome(struct net *net, uint32_t me) {
    void *items[64];
    uint32_t found = 0;
    for (uint32_t w = 0; w < WORKERS; w++) {
        uint32_t n = ring_pop_many_spsc(net->done[w], items, array_count(items));
        for (uint32_t i = 0; i < n; i++) {
            struct job *job = items[i];
            stress_check(&stress, job->net == me, "a job of %u came to %u", job->net, me);
            stress_check(&stress, job->finished_ns == job->id, "not finished, or twice");
            job->finished_ns = 0;
            job->id = 0;
            job_chain_push(&net->unused, job);
        }
        net->finished += n;
        found += n;
    }
    void *container;
    while ((container = ring_pop_spsc(net->home)) != NULL) {
        net->empty[net->empty_count++] = container;
    }
    return found;
}

static bool net_send(struct net *net, uint32_t me) {
    if (net->empty_count == 0 || !net->unused.head) {
        return false;
    }
    struct batch *batch = net->empty[--net->empty_count];
    uint32_t class = (uint32_t)(stress_random(&net->random) % CLASS_COUNT);
    uint32_t want = 1 + (uint32_t)(stress_random(&net->random) % BATCH_JOBS_MAX);
    batch->count = 0;
    batch->class = (uint8_t) class;
    batch->from = (uint8_t)me;
    while (batch->count < want && net->unused.head) {
        struct job *job = job_chain_pop(&net->unused);
        job->net = me & 0x7f;
        job->class = (uint8_t) class;
        job->flow = (uint16_t)(stress_random(&net->random) % 40);
        job->id = (uint32_t)stress_random(&net->random) | 1;
        batch->jobs[batch->count++] = job;
    }
    uint32_t count = batch->count; /* after the push the container is another's */
    if (ring_push_mpmc(class_rings[class], batch)) {
        net->made += count;
        return true;
    }
    for (uint32_t i = 0; i < count; i++) {
        job_chain_push(&net->unused, batch->jobs[i]);
    }
    net->empty[net->empty_count++] = batch;
    return false;
}

static void *net_run(void *argument) {
    uint32_t me = (uint32_t)(uintptr_t)argument;
    struct net *net = &nets[me];
    while (!atomic_load(&ended)) {
        bool sent = net_send(net, me);
        if (net_welcome(net, me) == 0 && !sent) {
            sched_yield();
        }
    }
    while (net->finished != net->made || net->empty_count != CONTAINERS) {
        if (net_welcome(net, me) == 0) {
            sched_yield();
        }
    }
    atomic_fetch_sub(&nets_left, 1);
    return NULL;
}

/* --- scheduler -------------------------------------------------------------------------------- */

static uint32_t sched_take_in(struct sched *sched) {
    uint32_t found = 0;
    for (uint32_t c = 0; c < CLASS_COUNT; c++) {
        struct batch *batch = ring_pop_mpmc(class_rings[c]);
        if (batch) {
            stress_check(&stress, batch->class == c, "batch of %u on ring %u", batch->class, c);
            for (uint32_t i = 0; i < batch->count; i++) {
                stress_check(&stress, sched_push(sched, batch->jobs[i], 1000 + 100 * i, 1),
                             "the policy is full");
            }
            found += batch->count;
            stress_check(&stress, ring_push_spsc(nets[batch->from].home, batch), "home is full");
        }
    }
    return found;
}

static uint32_t sched_give_out(struct sched *sched) {
    uint32_t given = 0;
    for (uint32_t w = 0; w < WORKERS; w++) {
        struct worker *worker = &workers[w];
        void *container;
        while ((container = ring_pop_spsc(worker->home)) != NULL) {
            worker->empty[worker->empty_count++] = container;
        }
        if (worker->empty_count == 0 || sched_backlog(sched) == 0) {
            continue;
        }
        struct batch *batch = worker->empty[--worker->empty_count];
        struct sched_pick picks[BATCH_JOBS_MAX];
        batch->class = (uint8_t)sched_next(sched, 1);
        batch->count =
            sched_pick_class(sched, (enum job_class)batch->class, picks, BATCH_JOBS_MAX, 40000, 1);
        for (uint32_t i = 0; i < batch->count; i++) {
            batch->jobs[i] = picks[i].job;
        }
        given += batch->count;
        stress_check(&stress, ring_push_spsc(worker->inbox, batch), "inbox is full");
    }
    return given;
}

static void *sched_run(void *argument) {
    struct sched *sched = argument;
    while (atomic_load(&nets_left) != 0) {
        uint32_t moved = sched_take_in(sched);
        moved += sched_give_out(sched);
        if (moved == 0) {
            sched_yield();
        }
    }
    stress_check(&stress, sched_backlog(sched) == 0, "left in the policy");
    atomic_store(&sched_left, 0);
    return NULL;
}

/* --- work ------------------------------------------------------------------------------------- */

static void *worker_run(void *argument) {
    uint32_t me = (uint32_t)(uintptr_t)argument;
    struct worker *worker = &workers[me];
    while (atomic_load(&sched_left) != 0) {
        struct batch *batch = ring_pop_spsc(worker->inbox);
        if (!batch) {
            sched_yield();
            continue;
        }
        for (uint32_t i = 0; i < batch->count; i++) {
            struct job *job = batch->jobs[i];
            stress_check(&stress, job->class == batch->class, "a stranger in the batch");
            stress_check(&stress, job->finished_ns == 0, "finished before");
            job->finished_ns = job->id;
            stress_check(&stress, ring_push_spsc(nets[job->net].done[me], job), "done is full");
        }
        stress_check(&stress, ring_push_spsc(worker->home, batch), "home is full");
    }
    return NULL;
}

int main(int argc, char **argv) {
    stress = stress_args(argc, argv);
    struct sched_config config = sched_config_default;
    config.jobs_max = NETS * JOBS;
    struct sched *sched = sched_init(stress_memory(sched_footprint(&config)), &config);
    for (uint32_t c = 0; c < CLASS_COUNT; c++) {
        class_rings[c] = ring_init_mpmc(stress_memory(ring_footprint(CLASS_RING)), CLASS_RING);
    }
    for (uint32_t w = 0; w < WORKERS; w++) {
        workers[w].inbox = spsc(2 * INBOX);
        workers[w].home = spsc(2 * INBOX);
        for (uint32_t i = 0; i < INBOX; i++) {
            workers[w].empty[workers[w].empty_count++] = &workers[w].containers[i];
        }
    }
    for (uint32_t n = 0; n < NETS; n++) {
        struct net *net = &nets[n];
        net->home = spsc(16);
        net->random = stress_seed(stress.seed, n);
        for (uint32_t w = 0; w < WORKERS; w++) {
            net->done[w] = spsc(1024);
        }
        for (uint32_t i = 0; i < CONTAINERS; i++) {
            net->empty[net->empty_count++] = &net->containers[i];
        }
        for (uint32_t i = 0; i < JOBS; i++) {
            job_chain_push(&net->unused, &net->jobs[i]);
        }
    }
    atomic_store(&nets_left, NETS);
    atomic_store(&sched_left, 1);
    pthread_t threads[NETS + WORKERS + 1];
    uint32_t count = 0;
    for (uintptr_t n = 0; n < NETS; n++) {
        threads[count++] = stress_thread(net_run, (void *)n);
    }
    for (uintptr_t w = 0; w < WORKERS; w++) {
        threads[count++] = stress_thread(worker_run, (void *)w);
    }
    threads[count++] = stress_thread(sched_run, sched);
    while (!stress_over(&stress)) {
        sched_yield();
    }
    atomic_store(&ended, true);
    uint64_t finished = 0;
    for (uint32_t i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
    }
    for (uint32_t n = 0; n < NETS; n++) {
        stress_check(&stress, nets[n].unused.count == JOBS, "net %u: %u jobs", n,
                     nets[n].unused.count);
        finished += nets[n].finished;
    }
    printf("%llu jobs through %d nets, one scheduler, %d workers\n", (unsigned long long)finished,
           NETS, WORKERS);
    free(sched);
    return 0;
}
