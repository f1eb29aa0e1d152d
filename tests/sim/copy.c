/* SPDX-License-Identifier: MIT */
#include "base/bits.h"
#include "base/must.h"
#include "store/archive.h"
#include "store/restore.h"
#include "tests/sim/life.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Backups of a life, and stores made of them.
 *
 *   B1  a finished backup holds all that was acknowledged before it began, pins included
 *   B2  one that failed, or that the power cut off, is there whole or the one before it is
 *   B3  a store made of it keeps I1 to I7; a restore that was cut off is no store, or a whole one
 *
 * A disk that lies frees a backup of all of it but I2. */

#define DIRECTORY "/b"

static uint64_t writes_begun(const struct life *life, uint32_t key) {
    return life->writes_done[key] + life->writes_out[key];
}

static uint64_t pins_begun(const struct life *life, uint32_t key) {
    return life->pins_done[key] + life->pins_out[key];
}

/* What the directory holds now, found out on a disk that works. Returns: its number, 0: none. */
static uint64_t manifest_number(struct life *life) {
    struct archive archive;
    uint64_t number = 0;
    sim_disk_faults(life->sim, &(struct sim_faults){0});
    if (archive_read(&archive, &life->disk, DIRECTORY) == 0) {
        number = archive_head(&archive)->number;
        archive_free(&archive);
    }
    sim_disk_faults(life->sim, &life->faults);
    return number;
}

static void mark(struct life *life, uint64_t number) {
    struct copy *copy = &life->copy;
    *copy = (struct copy){
        .number = number, .misread = life_misread(life), .unknown = life->unknown || life->away};
    for (uint32_t key = 0; key < KEYS; key++) {
        bool settled = life->writes_out[key] == 0 && !life->may_go[key];
        copy->known[key] = settled ? life->known[key] : KNOWN_EITHER;
        copy->pinned[key] = life->pins_out[key] == 0 ? life->pinned[key] : KNOWN_EITHER;
        copy->writes[key] = writes_begun(life, key);
        copy->pins[key] = pins_begun(life, key);
    }
    for (uint32_t g = 0; g < GROUPS; g++) {
        copy->whole[g] = true;
        for (uint32_t i = 0; i < GROUP_KEYS; i++) {
            copy->whole[g] &= life->known[ORDINARY + g * GROUP_KEYS + i] == KNOWN_ABSENT;
        }
        copy->whole[g] |= life->whole[g];
        copy->ungroups[g] = life->ungroups[g];
    }
}

/* Of the mark only that holds which nothing changed since. */
static void unmark(struct life *life) {
    struct copy *copy = &life->copy;
    for (uint32_t key = 0; key < KEYS; key++) {
        if (copy->writes[key] != writes_begun(life, key) || life->may_go[key]) {
            copy->known[key] = KNOWN_EITHER;
        }
        if (copy->pins[key] != pins_begun(life, key)) {
            copy->pinned[key] = KNOWN_EITHER;
        }
        copy->hurt[key] = life->hurt[key];
    }
    for (uint32_t g = 0; g < GROUPS; g++) {
        copy->whole[g] &= life->whole[g] && copy->ungroups[g] == life->ungroups[g];
    }
    copy->misread |= life_misread(life);
    copy->unknown |= life->unknown || life->away;
}

void life_backup(struct life *life) {
    if (life->copying || life->doubts + 1 == COPIES || sim_disk_dead(life->sim)) {
        return;
    }
    uint64_t number = manifest_number(life);
    if (sim_disk_dead(life->sim)) {
        return; /* the power went as we looked */
    }
    while (life->doubts > 0 && life->copies[life->doubts].number > number) {
        life->doubts--; /* it never came to be */
    }
    mark(life, number + 1);
    life->backup = (struct store_task){.kind = STORE_TASK_BACKUP};
    snprintf(life->backup.ask.backup.path, sizeof life->backup.ask.backup.path, DIRECTORY);
    life->copying = store_task_begin(life->store, &life->backup) == 0;
}

void life_learn_backup(struct life *life) {
    if (!life->copying || atomic_load(&life->backup.state) != STORE_TASK_DONE) {
        return;
    }
    life->copying = false;
    unmark(life);
    if (life->verbose) {
        fprintf(stderr, "  backup %" PRIu64 ": %d %s\n", life->copy.number, life->backup.result,
                life->backup.why);
    }
    if (life->backup.result == 0) {
        life->backups++;
        life->doubts = 0;
        if (life->copy.misread) { /* of the last manifest too: then it begins to count anew */
            life->copy.number = manifest_number(life);
        }
        life->copies[sim_disk_dead(life->sim) ? ++life->doubts : 0] = life->copy;
    } else if (life->backup.result == STORE_FORMAT && !life->lied) {
        fprintf(stderr, "%s\n", life->backup.why);
        life_fail(life, 0, "B2: its own directory is refused");
    } else {
        life->copies[++life->doubts] = life->copy;
    }
}

void life_forget_backups(struct life *life) {
    for (uint32_t n = 0; sim_disk_name(life->sim, n);) {
        char name[SIM_NAME_MAX];
        snprintf(name, sizeof name, "%s", sim_disk_name(life->sim, n));
        if (sim_lies_in(name, DIRECTORY, true)) {
            sim_disk_remove(life->sim, name);
        } else {
            n++;
        }
    }
    life->copies[0] = (struct copy){0};
    life->doubts = 0;
}

void life_settle_backups(struct life *life) {
    uint64_t number = manifest_number(life);
    must(!life->copying);
    for (; life->doubts > 0; life->doubts--) {
        const struct copy *copy = &life->copies[life->doubts];
        if (copy->misread) { /* it may have any number */
            life_forget_backups(life);
            return;
        }
        if (copy->number == number) {
            life->copies[0] = *copy;
            break;
        }
    }
    life->doubts = 0;
    if (life->copies[0].number != number && !life->lied) {
        fprintf(stderr, "backup %" PRIu64 " was finished, %" PRIu64 " is there\n",
                life->copies[0].number, number);
        life_fail(life, 0, "B1: a finished backup is gone");
    }
}

/* --- a store made of one ---------------------------------------------------------------------- */

/* A disk with nothing but the backup. */
static struct life *elsewhere(struct life *life) {
    struct life *made = calloc(1, sizeof *made);
    must(made != NULL);
    made->seed = life->seed;
    made->random = sim_random(&life->random);
    made->now_ns = life->now_ns;
    made->sim = sim_disk_open(made->random, &made->disk);
    sim_disk_clock(made->sim, &made->now_ns);
    sim_disk_copy(made->sim, life->sim);
    for (uint32_t n = 0; sim_disk_name(made->sim, n);) {
        char name[SIM_NAME_MAX];
        snprintf(name, sizeof name, "%s", sim_disk_name(made->sim, n));
        if (sim_lies_in(name, DIRECTORY, true)) {
            n++;
        } else {
            sim_disk_remove(made->sim, name);
        }
    }
    return made;
}

static bool has_super(struct life *made, const char *dir) {
    char path[SIM_NAME_MAX];
    uint64_t bytes = 0;
    snprintf(path, sizeof path, "%s/SUPER", dir);
    return sim_disk_bytes(made->sim, path, &bytes) != NULL;
}

/* Returns: where it is. */
static const char *restore(struct life *life, struct life *made) {
    struct restore restore = {.disk = &made->disk, .from = DIRECTORY, .to = "/r"};
    bool cut = life_pick(life, 2) == 0;
    sim_disk_crash_after(made->sim, cut ? 1 + life_pick(life, 120) : 0);
    int r = store_restore(&restore);
    bool dead = sim_disk_dead(made->sim);
    sim_disk_crash_after(made->sim, 0);
    if (dead) {
        sim_disk_restart(made->sim);
        if (has_super(made, "/r")) {
            return "/r"; /* all was done but to say so */
        }
        restore = (struct restore){.disk = &made->disk, .from = DIRECTORY, .to = "/q"};
        r = store_restore(&restore);
    }
    if (r != 0 && !life->lied) {
        fprintf(stderr, "%d: %s\n", r, restore.why);
        life_fail(life, 0, "B3: a backup cannot be restored");
    }
    if (r == 0 && restore.number != life->copies[0].number && !life->lied) {
        life_fail(life, 0, "B2: another backup than was there");
    }
    return r == 0 ? restore.to : NULL;
}

/* The oracle of what was made of it. */
static void expect(struct life *made, const struct copy *copy, const struct life *life) {
    made->what = "a backup of seed";
    made->at = life->seed;
    made->copies[0].number = copy->number;
    made->lied = life->lied || copy->misread;
    made->unknown = copy->unknown;
    made->unread = true; /* a damaged range that the store knew of is known there too */
    memcpy(made->known, copy->known, sizeof made->known);
    memcpy(made->pinned, copy->pinned, sizeof made->pinned);
    memcpy(made->whole, copy->whole, sizeof made->whole);
    memcpy(made->hurt, copy->hurt, sizeof made->hurt);
}

void life_restore(struct life *life) {
    if (life->copies[0].number == 0) {
        return;
    }
    struct life *made = elsewhere(life);
    const char *dir = restore(life, made);
    if (dir) {
        struct store_report report;
        sim_disk_swap(made->sim, "/s", dir);
        expect(made, &life->copies[0], life);
        if (life_open(made, &report)) {
            made->unknown = life->copies[0].unknown; /* no tier is missing there */
            life_check_all(made);
            life_power_off(made);
        }
        life->restores++;
    }
    sim_disk_close(made->sim);
    free(made);
}
