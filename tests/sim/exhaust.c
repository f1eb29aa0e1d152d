/* SPDX-License-Identifier: MIT */
#include "base/bits.h"
#include "base/hash.h"
#include "base/must.h"
#include "tests/sim/life.h"
#include "tests/sim/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

/* sim_exhaust — one fixed script, and everything that can go wrong at every step of it.
 *
 *   sim_exhaust [--stride N] [--only MODE] [--at I]
 *
 * The script's disk calls are counted, and it is run again for every one of them: power goes at
 * call i; call i fails, or all from i on; there is no space, or no descriptor, from i on; call i
 * reads nothing but zeroes; a tier is gone from i on. Its requests for memory likewise. After each
 * run the store is opened on a disk that works, and what the oracle of tests/sim/life.h knows must
 * be true of it; after a power loss also where recovery itself is cut short, three times in a row.
 * --stride looks at every N-th step only. */

#define SCRIPT_SEED 20u

enum mode {
    MODE_NONE,
    MODE_CRASH,
    MODE_CRASH_DEEP,
    MODE_EIO_ONCE,
    MODE_EIO_ON,
    MODE_ENOSPC_ON,
    MODE_EMFILE_ON,
    MODE_MISREAD,
    MODE_TIER_ON,
    MODE_MEMORY_ONCE,
    MODE_MEMORY_ON,
    MODE_COUNT,
};
static const char *const mode_names[MODE_COUNT] = {
    [MODE_NONE] = "none",
    [MODE_CRASH] = "power loss at call i",
    [MODE_CRASH_DEEP] = "the same, and three times while recovering",
    [MODE_EIO_ONCE] = "EIO at call i",
    [MODE_EIO_ON] = "EIO from call i on",
    [MODE_ENOSPC_ON] = "ENOSPC from call i on",
    [MODE_EMFILE_ON] = "EMFILE from call i on",
    [MODE_MISREAD] = "zeroes read at call i",
    [MODE_TIER_ON] = "a tier gone from call i on",
    [MODE_MEMORY_ONCE] = "no memory at request i",
    [MODE_MEMORY_ON] = "no memory from request i on",
};

struct run {
    enum mode mode;
    uint64_t at;
    bool verbose;
};

#define STARTS_MAX 8u

/* What a run without faults took. */
struct script_size {
    uint64_t calls, requests;
    struct {
        uint64_t from, to; /* calls of an opening */
    } starts[STARTS_MAX];
    uint32_t start_count;
};

/* --- the script ------------------------------------------------------------------------------- */

/* The slot of this key, once it is free. */
static struct slot *slot_of(struct life *life, uint32_t key) {
    struct slot *slot = &life->slots[key % OPS];
    for (uint32_t i = 0; slot->out; i++) {
        (void)life_turn(life);
        must(i < 100000);
        if (i % 8 == 7) {
            (void)store_housekeep(life->store);
        }
    }
    return slot;
}

static void ask(struct life *life, uint32_t key, enum store_op_kind kind) {
    life_begin(life, slot_of(life, key), life_canonical(key), kind);
}

static void keep(struct life *life, uint32_t key, enum store_op_kind kind) {
    life_keep(life, slot_of(life, key), life_canonical(key), kind);
}

static void rest(struct life *life, uint32_t turns) {
    for (uint32_t i = 0; i < turns && !sim_disk_dead(life->sim); i++) {
        (void)life_turn(life);
        (void)store_housekeep(life->store);
        (void)store_maintain(life->store, life->now_ns);
    }
}

/* Puts and deletes, in batches of several and alone; then what runs behind them. */
static void chapter(struct life *life, uint32_t n) {
    for (uint32_t i = 0; i < 24 && !sim_disk_dead(life->sim); i++) {
        uint32_t key = (i * 7 + n * 31) % ORDINARY;
        ask(life, key, STORE_PUT);
        if (i % 3 == 2) {
            ask(life, (key + ORDINARY - 7) % ORDINARY, STORE_DELETE);
        }
        if (i % 4 == 3) {
            ask(life, (key + 7) % ORDINARY, i % 8 == 3 ? STORE_READ : STORE_VERIFY);
            life_drain(life);
        }
        if (i % 6 == 1) {
            keep(life, key, i % 12 == 1 ? STORE_PIN : STORE_UNPIN);
        }
        if (i == 12) {
            life_collect(life);
        }
        if (i % 8 == 5) {
            life_bundle(life, &life->packs[i / 8 % PACKS]);
        }
    }
    if (!sim_disk_dead(life->sim)) {
        life_drain(life);
        life->now_ns += NS_PER_S;
        rest(life, 6);
    }
}

static bool script_open(struct life *life, struct script_size *size) {
    struct store_report report;
    uint64_t from = sim_disk_calls(life->sim) + 1;
    bool opened = life_open(life, &report);
    must(size->start_count < STARTS_MAX);
    size->starts[size->start_count].from = from;
    size->starts[size->start_count++].to = sim_disk_calls(life->sim);
    return opened;
}

/* Closes in order where it can. */
static void script_close(struct life *life) {
    if (sim_disk_dead(life->sim)) {
        return;
    }
    life_stop_tasks(life);
    life_drain(life);
    if (!sim_disk_dead(life->sim)) {
        int r = store_close(life->store);
        (void)r; /* where something fails it may not be clean */
        life->store = NULL;
    }
}

static void script(struct life *life, struct script_size *size) {
    for (uint32_t n = 0; n < 2 && !sim_disk_dead(life->sim); n++) {
        if (!script_open(life, size)) {
            return;
        }
        chapter(life, 2 * n);
        chapter(life, 2 * n + 1);
        script_close(life);
    }
}

/* --- one run ---------------------------------------------------------------------------------- */

static void arrange(struct life *life, const struct run *run) {
    uint64_t i = run->at;
    switch (run->mode) {
    case MODE_CRASH:
    case MODE_CRASH_DEEP:
        sim_disk_crash_after(life->sim, i);
        break;
    case MODE_EIO_ONCE:
        sim_disk_plan(life->sim, &(struct sim_plan){SIM_EIO, i, i, NULL});
        break;
    case MODE_EIO_ON:
        sim_disk_plan(life->sim, &(struct sim_plan){SIM_EIO, i, UINT64_MAX, NULL});
        break;
    case MODE_ENOSPC_ON:
        sim_disk_plan(life->sim, &(struct sim_plan){SIM_ENOSPC, i, UINT64_MAX, NULL});
        break;
    case MODE_EMFILE_ON:
        sim_disk_plan(life->sim, &(struct sim_plan){SIM_EMFILE, i, UINT64_MAX, NULL});
        break;
    case MODE_MISREAD:
        sim_disk_plan(life->sim, &(struct sim_plan){SIM_MISREAD, i, i, NULL});
        break;
    case MODE_TIER_ON:
        sim_disk_plan(life->sim, &(struct sim_plan){SIM_ENODEV, i, UINT64_MAX, "/s/hdd"});
        break;
    case MODE_MEMORY_ONCE:
        sim_memory_refuse(i, i);
        break;
    case MODE_MEMORY_ON:
        sim_memory_refuse(i, UINT64_MAX);
        break;
    case MODE_NONE:
    case MODE_COUNT:
        break;
    }
}

/* The faults are over: what is there must be what the oracle knows. */
static void look(struct life *life, bool crash) {
    struct store_report report;
    sim_disk_plan(life->sim, &(struct sim_plan){.error = SIM_FINE});
    sim_memory_refuse(0, 0);
    life->scripted = false;
    if (crash || life->store || sim_disk_dead(life->sim)) {
        life_power_off(life);
    }
    must(life_open(life, &report));
    life_check_all(life);
    life_check_again(life);
    life_power_off(life);
}

static void cut_short(struct life *life, uint64_t seed) {
    struct store_report report;
    life_power_off(life);
    for (uint32_t depth = 0; depth < 3; depth++) {
        sim_disk_crash_after(life->sim, 1 + sim_random(&seed) % 40);
        (void)life_open(life, &report);
        life_power_off(life);
    }
}

static struct script_size run_one(const struct run *run) {
    struct life *life = calloc(1, sizeof *life);
    must(life != NULL);
    life->seed = SCRIPT_SEED;
    life->random = SCRIPT_SEED;
    life->now_ns = NS_PER_S;
    life->sim = sim_disk_open(SCRIPT_SEED, &life->disk);
    life->tiered = true;
    life->scripted = run->mode != MODE_NONE;
    life->what = mode_names[run->mode];
    life->at = run->at;
    life->verbose = run->verbose;
    struct script_size size = {0};
    sim_memory_refuse(0, 0);
    arrange(life, run);
    script(life, &size);
    size.calls = sim_disk_calls(life->sim);
    size.requests = sim_memory_requests();
    if (run->mode == MODE_CRASH_DEEP) {
        cut_short(life, run->at);
    }
    look(life, run->at % 2 == 0);
    sim_disk_close(life->sim);
    free(life);
    must(sim_memory_held() == 0);
    return size;
}

/* A start believes what it reads: zeroes in its place are a disk that lies, and not looked at. */
static bool in_a_start(const struct script_size *size, uint64_t call) {
    for (uint32_t i = 0; i < size->start_count; i++) {
        if (call >= size->starts[i].from && call <= size->starts[i].to) {
            return true;
        }
    }
    return false;
}

static uint64_t run_mode(enum mode mode, const struct script_size *size, uint64_t stride) {
    bool memory = mode == MODE_MEMORY_ONCE || mode == MODE_MEMORY_ON;
    uint64_t steps = memory ? size->requests : size->calls;
    uint64_t runs = 0;
    for (uint64_t i = 1; i <= steps; i += stride) {
        if (mode == MODE_MISREAD && in_a_start(size, i)) {
            continue;
        }
        (void)run_one(&(struct run){mode, i, false});
        runs++;
    }
    printf("%d  %s: %" PRIu64 " runs of %" PRIu64 " steps\n", mode, mode_names[mode], runs, steps);
    fflush(stdout);
    return runs;
}

int main(int argc, char **argv) {
    uint64_t stride = 1, only = MODE_NONE, at = 0;
    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc;
        if (strcmp(argv[i], "--stride") == 0 && more) {
            stride = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--only") == 0 && more) {
            only = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--at") == 0 && more) {
            at = strtoull(argv[++i], NULL, 10);
        } else {
            fprintf(stderr, "usage: sim_exhaust [--stride N] [--only MODE (1 .. %d)] [--at I]\n",
                    MODE_COUNT - 1);
            return 2;
        }
    }
    if (stride == 0 || only >= MODE_COUNT) {
        return 2;
    }
    (void)prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    must(hash_open() == 0);
    life_blocks();
    if (at != 0) {
        (void)run_one(&(struct run){(enum mode)only, at, true});
        return 0;
    }
    struct script_size size = run_one(&(struct run){MODE_NONE, 0, false});
    uint64_t runs = 0;
    for (enum mode mode = MODE_CRASH; mode < MODE_COUNT; mode++) {
        if (only == MODE_NONE || only == (uint64_t)mode) {
            runs += run_mode(mode, &size, mode == MODE_CRASH_DEEP ? stride * 3 : stride);
        }
    }
    printf("%" PRIu64 " runs of a script of %" PRIu64 " disk calls and %" PRIu64
           " requests for memory\n",
           runs, size.calls, size.requests);
    return 0;
}
