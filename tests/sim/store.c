/* SPDX-License-Identifier: MIT */
#include "store/store.h"

#include "base/bits.h"
#include "base/hash.h"
#include "base/must.h"
#include "tests/sim/life.h"
#include "tests/sim/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

/* sim_store — the real store on a simulated disk, against an oracle of what was acknowledged.
 *
 *   sim_store [--crashes N | --seconds S] [--seed N] [--lives N] [--verbose]
 *
 * A life is one seed: a store that is opened (by one to three keepers), worked on with puts,
 * deletes, reads and housekeeping, and loses power at some disk call, often while it is being
 * opened or closed; then again, some thirty times. After every start all keys are looked up and the
 * invariants of tests/sim/life.h hold. --seed replays one life alone. */

static void work(struct life *life, uint32_t turns) {
    for (uint32_t i = 0; i < turns && !sim_disk_dead(life->sim); i++) {
        for (uint32_t n = life_pick(life, 4); n > 0; n--) {
            struct slot *slot = &life->slots[life_pick(life, OPS)];
            uint32_t key = life_canonical(life_pick(life, ORDINARY));
            uint32_t what = life_pick(life, 10);
            struct pack *pack = &life->packs[life_pick(life, PACKS)];
            if (!slot->out && life_pick(life, 12) == 0) {
                life_keep(life, slot, key, life_pick(life, 3) ? STORE_PIN : STORE_UNPIN);
            } else if (life_pick(life, 400) == 0) {
                life_collect(life);
            } else if (life_pick(life, 300) == 0) {
                life_scrub(life);
            } else if (life_pick(life, 300) == 0) {
                life_backup(life);
            } else if (life->rotting && life_pick(life, 60) == 0) {
                life_rot(life);
            } else if (!pack->out && life_pick(life, 4) == 0) {
                life_bundle(life, pack);
            } else if (!slot->out && life_pick(life, 6) == 0) {
                life_ungroup(life, slot);
            } else if (!slot->out) {
                life_begin(life, slot, key,
                           what < 5   ? STORE_PUT
                           : what < 7 ? STORE_DELETE
                           : what < 9 ? STORE_READ
                                      : STORE_VERIFY);
            }
        }
        (void)life_turn(life);
        if (life->trouble != SIM_DEVICE_FINE && life_pick(life, 40) == 0) {
            life_device(life, life->away ? SIM_DEVICE_FINE : life->trouble);
        }
        if (life_pick(life, 12) == 0) {
            (void)store_housekeep(life->store);
        }
        /* Some porters do much between two losses of power: the oldest get to the slow tier. */
        for (uint32_t n = life->seed % 4 < 2 ? 4 : life_pick(life, 6) == 0; n > 0; n--) {
            (void)store_maintain(life->store, life->now_ns);
        }
    }
}

/* What goes wrong while the store works; a start finds a disk that only lost power. */
static void choose_faults(struct life *life) {
    struct sim_faults *faults = &life->faults;
    *faults = (struct sim_faults){0};
    enum sim_device_state away = SIM_DEVICE_FINE;
    switch (life_pick(life, 13)) {
    case 0:
        faults->write_eio = life_pick(life, 1500);
        break;
    case 1:
        faults->write_short = life_pick(life, 1500);
        break;
    case 2:
        faults->read_eio = life_pick(life, 600);
        break;
    case 3:
        faults->sync_eio = life_pick(life, 4000);
        break;
    case 4:
    case 5:
        faults->space = (10 + life_pick(life, 40)) * MiB;
        faults->space_hidden = life_pick(life, 2);
        break;
    case 6:
        faults->read_flip = life_pick(life, 3000);
        break;
    case 7:
        faults->read_astray = life_pick(life, 3000);
        faults->read_short = life_pick(life, 3000);
        break;
    case 8:
        faults->open_emfile = life_pick(life, 30000);
        break;
    case 9:
        faults->slow = life_pick(life, 4000);
        faults->slow_ns = 10 * NS_PER_S;
        break;
    case 10:
    case 11:
        away = (enum sim_device_state)(1 + life_pick(life, 3));
        break;
    default:
        break;
    }
    if (life->lied) {
        faults->write_flip = life_pick(life, 600);
        faults->write_astray = life_pick(life, 300);
        faults->read_flip = life_pick(life, 600);
        faults->read_astray = life_pick(life, 300);
    }
    life->trouble = life->tiered ? away : SIM_DEVICE_FINE;
    sim_disk_faults(life->sim, faults);
    if (life->verbose) {
        fprintf(stderr,
                "  faults from here: write %u short %u, read %u short %u flip %u astray %u, "
                "sync %u, descriptors %u, slow %u, space %" PRIu64 " MiB, tier %d\n",
                faults->write_eio, faults->write_short, faults->read_eio, faults->read_short,
                faults->read_flip, faults->read_astray, faults->sync_eio, faults->open_emfile,
                faults->slow, faults->space / MiB, life->trouble);
    }
}

/* What a start is asked to bear. A disk that hands over other bytes while the store finds out what
 * it holds is believed: what such a start decides is not held against it, so only a disk that lies
 * anyhow does that. */
static void start_faults(struct life *life, const struct sim_faults *faults) {
    life->faults = *faults;
    if (!life->lied) {
        life->faults.read_flip = life->faults.read_astray = life->faults.read_short = 0;
    }
    sim_disk_faults(life->sim, &life->faults);
}

static void crash_round(struct life *life) {
    struct store_report report;
    struct sim_faults faults = life->faults;
    start_faults(life, &faults);
    /* Some starts are themselves cut short, several in a row. */
    for (uint32_t i = 0; i < 3 && life_pick(life, 2) == 0; i++) {
        sim_disk_crash_after(life->sim, 1 + life_pick(life, 60));
        /* A tier that was made in the directory under its disk is not on the disk: not at first. */
        if (life->trouble != SIM_DEVICE_FINE && life_pick(life, 2) && life->made) {
            life_device(life, life->trouble);
            sim_disk_crash_after(life->sim, 20 + life_pick(life, 300));
        }
        if (!life_open(life, &report)) {
            if (sim_disk_dead(life->sim)) {
                life_power_off(life);
            }
            life_device(life, SIM_DEVICE_FINE);
            continue;
        }
        work(life, life->away ? 40 : 0);
        life_power_off(life);
        life_device(life, SIM_DEVICE_FINE);
    }
    sim_disk_crash_after(life->sim, 0);
    start_faults(life,
                 &(struct sim_faults){.space = faults.space, .space_hidden = faults.space_hidden});
    if (!life_open(life, &report)) {
        life->faults = faults;
        return; /* no space: nothing else can be wrong now */
    }
    life_check_all(life);
    if (life_pick(life, 4) == 0) {
        life_check_again(life);
    }
    if (life_pick(life, 4) == 0) {
        life_restore(life);
    }
    life->faults = faults;
    sim_disk_faults(life->sim, &faults);
    if (life->store) {
        sim_disk_crash_after(life->sim, life_pick(life, 3) ? 1 + life_pick(life, 500) : 0);
        work(life, 30 + life_pick(life, 170));
        if (!sim_disk_dead(life->sim) && life_pick(life, 4) == 0) {
            life_stop_tasks(life);
            life_drain(life);
            if (!sim_disk_dead(life->sim)) {
                sim_disk_crash_after(life->sim, life_pick(life, 2) ? 1 + life_pick(life, 40) : 0);
                life_tally(life);
                int r = store_close(life->store);
                (void)r; /* faults may keep it from closing clean */
                life->store = NULL;
                if (!sim_disk_dead(life->sim)) {
                    life_device(life, SIM_DEVICE_FINE);
                    return;
                }
            }
        }
    }
    life_power_off(life);
    life_device(life, SIM_DEVICE_FINE);
    if (life_pick(life, 8) == 0) {
        life_forget_backups(life); /* they take space and are all of one directory */
    }
    choose_faults(life);
}

static void live(uint64_t seed, bool verbose, struct life *totals) {
    struct life *life = calloc(1, sizeof *life);
    must(life != NULL);
    life->seed = seed;
    life->random = seed * 77 + 5;
    life->verbose = verbose;
    life->now_ns = NS_PER_S;
    life->tiered = seed % 3 != 0;
    life->lied = seed % 16 == 15;
    life->rotting = seed % 4 == 2 && !life->lied;
    life->sim = sim_disk_open(seed, &life->disk);
    sim_disk_clock(life->sim, &life->now_ns);
    must(life->disk.calls->make_dir(life->disk.backend, "/s", 0750) == 0);
    must(life->disk.calls->sync_dir(life->disk.backend, "/") == 0);
    choose_faults(life);
    for (uint32_t i = 0; i < 24; i++) {
        crash_round(life);
        if (life->lied) {
            (void)sim_disk_rot(life->sim);
        }
    }
    if (life->store) {
        life_power_off(life);
    }
    totals->crashes += life->crashes;
    totals->opens += life->opens;
    totals->puts += life->puts;
    totals->deletes += life->deletes;
    totals->reads += life->reads;
    totals->commits += life->commits;
    totals->aborts += life->aborts;
    totals->compactions += life->compactions;
    totals->demotions += life->demotions;
    totals->promotions += life->promotions;
    totals->segments_freed += life->segments_freed;
    totals->moves += life->moves;
    totals->collections += life->collections;
    totals->rots += life->rots;
    totals->scrubs += life->scrubs;
    totals->repairs += life->repairs;
    totals->quarantines += life->quarantines;
    totals->backups += life->backups;
    totals->restores += life->restores;
    sim_disk_close(life->sim);
    free(life);
}

struct options {
    uint64_t crashes; /* go on until so many; fewer is a failure */
    uint64_t seconds; /* and no longer than this */
    uint64_t seed, lives;
    bool verbose;
};

static bool options_take(struct options *options, int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc;
        if (strcmp(argv[i], "--seconds") == 0 && more) {
            options->seconds = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--crashes") == 0 && more) {
            options->crashes = strtoull(argv[++i], NULL, 10);
            options->seconds = UINT32_MAX;
        } else if (strcmp(argv[i], "--seed") == 0 && more) {
            options->seed = strtoull(argv[++i], NULL, 10);
            options->lives = 1;
        } else if (strcmp(argv[i], "--lives") == 0 && more) {
            options->lives = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--verbose") == 0) {
            options->verbose = true;
        } else {
            fprintf(stderr, "usage: sim_store [--crashes N | --seconds S] [--seed N] [--lives N]"
                            " [--verbose]\n");
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv) {
    struct options options = {.seconds = 20, .lives = UINT64_MAX};
    if (!options_take(&options, argc, argv)) {
        return 2;
    }
    (void)prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0); /* zeroing 2 MiB for a table of 4 KiB is slow */
    must(hash_open() == 0);
    life_blocks();
    struct life totals = {0};
    time_t began = time(NULL);
    uint64_t done = 0;
    while (done < options.lives) {
        bool over = (uint64_t)(time(NULL) - began) >= options.seconds ||
                    (options.crashes != 0 && totals.crashes >= options.crashes);
        if (options.lives == UINT64_MAX && over) {
            break;
        }
        live(options.seed + done++, options.verbose, &totals);
    }
    printf("%" PRIu64 " lives from seed %" PRIu64 " in %" PRIu64 " s: %" PRIu64
           " power losses, %" PRIu64 " starts, %" PRIu64 " puts, %" PRIu64 " deletes, %" PRIu64
           " reads, %" PRIu64 " commits, %" PRIu64 " aborts, %" PRIu64 " collections, %" PRIu64
           " compactions, %" PRIu64 " demotions, %" PRIu64 " promotions, %" PRIu64
           " blocks moved, %" PRIu64 " segments freed, %" PRIu64 " bits flipped, %" PRIu64
           " scrubs, %" PRIu64 " repairs, %" PRIu64 " found damaged, %" PRIu64 " backups, %" PRIu64
           " restored\n",
           done, options.seed, (uint64_t)(time(NULL) - began), totals.crashes, totals.opens,
           totals.puts, totals.deletes, totals.reads, totals.commits, totals.aborts,
           totals.collections, totals.compactions, totals.demotions, totals.promotions,
           totals.moves, totals.segments_freed, totals.rots, totals.scrubs, totals.repairs,
           totals.quarantines, totals.backups, totals.restores);
    if (totals.crashes < options.crashes) {
        fprintf(stderr, "%" PRIu64 " power losses are fewer than %" PRIu64 "\n", totals.crashes,
                options.crashes);
        return 1;
    }
    return 0;
}
