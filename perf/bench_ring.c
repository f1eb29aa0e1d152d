/* SPDX-License-Identifier: MIT */

/* bench_ring — hand-off between cores as the engine does it: G12 and G13.
 *
 *   bursts      one to one (inboxes, done rings): 32 pointers published at once
 *   containers  many to many (class rings): batches of up to 64 jobs ride one ring item, and the
 *               empty container travels home to whoever filled it
 *   crowd       the same containers with 4 writers and 4 readers on two CPUs
 *
 * The loops of the bursts are those of floor_handoff, with rings/ring.h in place of the bare
 * indices. Every job is looked at where it arrives. */

#include "perf/crowd.h"
#include "perf/kit.h"
#include "rings/batch.h"
#include "rings/ring.h"

#include <pthread.h>
#include <stdatomic.h>

#define SLOTS      4096u
#define BURST_MAX  256u
#define CONTAINERS 256u /* of one writer */

static uint64_t burst = 32, millis = 500, quick;

/* ---- bursts, one to one ---------------------------------------------------------------------- */

static struct {
    struct ring *ring;
    _Atomic uint32_t done;
    uint64_t received, bad, stop_ns;
} line;

static void *consume(void *unused) {
    (void)unused;
    kit_pin(1);
    uint64_t received = 0, bad = 0;
    void *got[BURST_MAX];
    for (;;) {
        bool done = atomic_load_explicit(&line.done, memory_order_acquire) != 0;
        uint32_t count = ring_pop_many_spsc(line.ring, got, (uint32_t)burst);
        if (count == 0) {
            if (done) {
                break;
            }
            kit_relax();
        }
        for (uint32_t i = 0; i < count; i++) {
            bad += (uintptr_t)got[i] != received + i + 1;
        }
        received += count;
    }
    line.received = received;
    line.bad = bad;
    line.stop_ns = kit_ns();
    return NULL;
}

static uint64_t produce(uint64_t until_ns) {
    uint64_t sent = 0;
    void *items[BURST_MAX];
    while (kit_ns() < until_ns) {
        for (uint32_t round = 0; round < 256; round++) {
            for (uint64_t i = 0; i < burst; i++) {
                items[i] = (void *)(uintptr_t)(sent + i + 1);
            }
            uint32_t pushed = 0;
            for (;;) {
                pushed += ring_push_many_spsc(line.ring, items + pushed, (uint32_t)burst - pushed);
                if (pushed == burst) {
                    break;
                }
                kit_relax();
            }
            sent += burst;
        }
    }
    atomic_store_explicit(&line.done, 1, memory_order_release);
    return sent;
}

static double bursts_ns(void) {
    line.ring = ring_init_spsc(kit_map(ring_footprint(SLOTS)), SLOTS);
    kit_pin(0);
    pthread_t thread;
    if (pthread_create(&thread, NULL, consume, NULL) != 0) {
        kit_fail("thread");
    }
    uint64_t start = kit_ns();
    uint64_t sent = produce(start + millis * NS_PER_MS);
    pthread_join(thread, NULL);
    if (line.received != sent || line.bad != 0) {
        kit_fail("items were lost or out of order");
    }
    return (double)(line.stop_ns - start) / (double)sent;
}

static bool push_one(void *ring, void *item) {
    return ring_push_spsc(ring, item);
}
static void *pop_one(void *ring) {
    return ring_pop_spsc(ring);
}

static double rtt_ns(void) {
    struct crowd there = {.push = push_one, .pop = pop_one, .weight = 1};
    struct crowd back = there;
    there.queue = ring_init_spsc(kit_map(ring_footprint(SLOTS)), SLOTS);
    back.queue = ring_init_spsc(kit_map(ring_footprint(SLOTS)), SLOTS);
    return crowd_rtt_ns(&there, &back, quick ? 10000 : 200000);
}

/* ---- containers, many to many ---------------------------------------------------------------- */

static struct {
    struct ring *class_ring;
    struct ring *homes[CROWD_PAIRS_MAX][CROWD_PAIRS_MAX]; /* [writer][reader], one to one */
    uint32_t pairs;
    _Atomic uint32_t writers, readers; /* names given so far */
} mesh;

/* A thread's own: its name, and as a writer the container that did not go in last time. */
static _Thread_local struct {
    struct batch *held;
    uint32_t number;
    uint32_t from; /* the home looked at first: each in turn */
    bool known;
} lane;

static void lane_open(_Atomic uint32_t *names) {
    if (!lane.known) {
        lane.known = true;
        lane.number = atomic_fetch_add_explicit(names, 1, memory_order_relaxed); /* only a name */
    }
}

static struct batch *take_home(void) {
    struct batch *batch = NULL;
    for (uint32_t i = 0; i < mesh.pairs && !batch; i++) {
        lane.from = lane.from + 1 < mesh.pairs ? lane.from + 1 : 0;
        batch = ring_pop_spsc(mesh.homes[lane.number][lane.from]);
    }
    return batch;
}

static bool push_batch(void *unused, void *item) {
    (void)unused;
    lane_open(&mesh.writers);
    struct batch *batch = lane.held;
    if (!batch) {
        batch = take_home();
        if (!batch) {
            return false;
        }
        for (uint32_t i = 0; i < BATCH_JOBS_MAX; i++) {
            batch->jobs[i] = item;
        }
        batch->count = BATCH_JOBS_MAX;
        batch->from = (uint8_t)lane.number;
    }
    bool in = ring_push_mpmc(mesh.class_ring, batch);
    lane.held = in ? NULL : batch;
    return in;
}

static void *pop_batch(void *unused) {
    (void)unused;
    lane_open(&mesh.readers);
    struct batch *batch = ring_pop_mpmc(mesh.class_ring);
    if (!batch) {
        return NULL;
    }
    void *item = batch->jobs[0];
    for (uint32_t i = 1; i < batch->count; i++) {
        if (batch->jobs[i] != (struct job *)item) {
            kit_fail("a job changed on its way");
        }
    }
    if (!ring_push_spsc(mesh.homes[batch->from][lane.number], batch)) {
        kit_fail("a container's way home was full");
    }
    return item;
}

static void containers(uint32_t pairs, struct crowd *ret_crowd, struct crowd_result *ret_result) {
    const uint32_t home_slots = 2 * CONTAINERS;
    mesh.class_ring = ring_init_mpmc(kit_map(ring_footprint(SLOTS)), SLOTS);
    mesh.pairs = pairs;
    atomic_store(&mesh.writers, 0);
    atomic_store(&mesh.readers, 0);
    for (uint32_t w = 0; w < pairs; w++) {
        struct batch *pool = kit_map(CONTAINERS * sizeof(struct batch));
        for (uint32_t r = 0; r < pairs; r++) {
            mesh.homes[w][r] = ring_init_spsc(kit_map(ring_footprint(home_slots)), home_slots);
        }
        for (uint32_t i = 0; i < CONTAINERS; i++) {
            if (!ring_push_spsc(mesh.homes[w][0], &pool[i])) {
                kit_fail("containers");
            }
        }
    }
    *ret_crowd = (struct crowd){.push = push_batch,
                                .pop = pop_batch,
                                .pairs = pairs,
                                .weight = BATCH_JOBS_MAX,
                                .millis = millis};
    crowd_run(ret_crowd, ret_result);
}

int main(int argc, char **argv) {
    const struct kit_option options[] = {
        {"--burst", &burst, "items published at once, 1..256"},
        {"--millis", &millis, "how long each part runs"},
        {"--quick", &quick, "short, to see that it works"},
    };
    kit_options(argc, argv, options, array_count(options));
    if (burst < 1 || burst > BURST_MAX || kit_cpus() < 2) {
        kit_skip("--burst must be 1..256, and a hand-off between cores needs two");
    }
    millis = quick ? 50 : millis;
    struct crowd crowd;
    struct crowd_result one, four;
    double ns = bursts_ns();
    double rtt = rtt_ns();
    containers(1, &crowd, &one);
    containers(4, &crowd, &four);
    kit_begin("bench_ring");
    kit_number("burst", (double)burst, "items");
    kit_number("ns_per_item", ns, "ns (bursts, one to one)");
    kit_number("rate", 1e9 / ns, "items/s");
    kit_number("rtt_ns", rtt, "ns (one item, there and back)");
    kit_number("container_ns_per_item", one.ns_per_item, "ns (containers of 64, 1 pair)");
    kit_number("container_rate", one.rate, "items/s");
    kit_number("crowd_ns_per_item", four.ns_per_item, "ns (containers, 4 pairs on 2 CPUs)");
    kit_number("crowd_rate", four.rate, "items/s");
    kit_number("crowd_worst_push_us", four.worst_push_us, "us");
    kit_end();
    return 0;
}
