/* SPDX-License-Identifier: MIT */

/* cmd_verify — is every stored block still what its name says: asked of a daemon, which reads each
 * copy from disk again, or offline of a store that nobody serves. */

#include "tools/millrace/commands.h"

#include "base/bits.h"
#include "base/cid.h"
#include "base/clock.h"
#include "store/store.h"
#include "tools/millrace/flight.h"
#include "tools/millrace/human.h"
#include "tools/millrace/progress.h"
#include "tools/millrace/task.h"
#include "tools/millrace/walk.h"

#include <jansson.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

struct totals {
    uint64_t blocks, bytes, gone, failed, repaired;
    uint64_t bad, bad_blocks; /* all damage; what of it is blocks */
    uint64_t ranges;          /* that the start found damaged or missing */
    bool json;
    json_t *damage; /* array */
    struct progress progress;
};

static void damage_add(struct totals *totals, const char *cid, const char *place,
                       const char *what) {
    totals->bad++;
    if (totals->json) {
        json_array_append_new(
            totals->damage, json_pack("{s:s, s:s, s:s}", "cid", cid, "place", place, "what", what));
        return;
    }
    progress_clear(&totals->progress);
    printf("%s  %s%s%s\n", cid, what, place[0] != '\0' ? " at " : "", place);
}

static int conclude(struct totals *totals) {
    char blocks[HUMAN_MAX], bytes[HUMAN_MAX], time[HUMAN_MAX];
    double seconds = progress_seconds(&totals->progress);
    progress_clear(&totals->progress);
    if (totals->json) {
        json_t *document =
            json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:O}", "ranges",
                      (json_int_t)totals->ranges, "blocks", (json_int_t)totals->blocks, "bytes",
                      (json_int_t)totals->bytes, "bad", (json_int_t)totals->bad, "repaired",
                      (json_int_t)totals->repaired, "gone", (json_int_t)totals->gone, "failed",
                      (json_int_t)totals->failed, "seconds", seconds, "damage", totals->damage);
        admin_print(document);
        json_decref(document);
    } else {
        uint64_t sound = totals->blocks - min_u64(totals->bad_blocks, totals->blocks);
        printf("%s sound block%s, %s read in %s: %llu damaged", human_count(sound, blocks),
               sound == 1 ? "" : "s", human_bytes(totals->bytes, bytes), human_time(seconds, time),
               (unsigned long long)totals->bad);
        if (totals->ranges > 0) {
            printf(", %llu ranges of acknowledged data damaged or gone",
                   (unsigned long long)totals->ranges);
        }
        if (totals->repaired > 0) {
            printf(", %llu written anew", (unsigned long long)totals->repaired);
        }
        if (totals->failed > 0) {
            printf(", %llu could not be checked", (unsigned long long)totals->failed);
        }
        printf("\n");
    }
    return totals->bad + totals->ranges > 0 ? CLI_DAMAGED
           : totals->failed > 0             ? CLI_FAILED
                                            : CLI_DONE;
}

/* ---- a daemon's store ------------------------------------------------------------------------ */

struct online {
    const struct cli *cli;
    struct totals *totals;
    struct walk walk;
    struct flight flight;
};

static int on_verified(void *context, const struct flight_ask *ask,
                       struct mr_completion *completion) {
    struct online *online = context;
    struct totals *totals = online->totals;
    char cid[MR_CID_TEXT];
    mr_cid_format(&ask->cid, cid);
    if (completion->result == 0) {
        totals->bytes += ask->tag;
        totals->blocks++;
    } else if (completion->result == MR_NOT_FOUND) {
        totals->gone++; /* deleted since it was listed */
    } else if (remote_status(completion->result, completion->fault) == CLI_DAMAGED) {
        totals->blocks++;
        totals->bad_blocks++;
        totals->bytes += ask->tag;
        damage_add(totals, cid, "", "damaged");
    } else {
        totals->failed++;
        progress_clear(&totals->progress);
        cli_fail(online->cli, CLI_FAILED, "%s: %s", cid, mr_result_text(completion->result));
    }
    progress_show(&totals->progress, totals->bytes, totals->blocks);
    return 0;
}

static int verify_all(struct online *online) {
    const struct mr_item *item = NULL;
    int r;
    while ((r = walk_next(&online->walk, &item)) == 0 && item != NULL) {
        struct flight_ask ask = {.kind = MR_KIND_VERIFY, .tag = item->size, .cid = item->cid};
        r = flight_ask(&online->flight, &ask);
        if (r != 0) {
            return r;
        }
    }
    return r == 0 ? flight_drain(&online->flight) : r;
}

static int verify_online(const struct cli *cli, struct totals *totals) {
    static struct online online;
    int status = CLI_DONE;
    struct mr_client *client = remote_open(cli, &status);
    if (client == NULL) {
        return status;
    }
    online.cli = cli;
    online.totals = totals;
    walk_begin(&online.walk, client);
    flight_begin(&online.flight, client, on_verified, &online);
    progress_begin(&totals->progress, "verify", 0, true);
    int r = verify_all(&online);
    flight_end(&online.flight);
    if (r != 0) {
        progress_clear(&totals->progress);
        status = remote_fail(cli, client, r, "verification broke off");
    }
    mr_free(client);
    int verdict = conclude(totals);
    return status == CLI_DONE || verdict == CLI_DAMAGED ? verdict : status;
}

/* ---- a store nobody serves ------------------------------------------------------------------- */

static void on_bad(void *context, const struct store_damage *damage) {
    char cid_text[CID_TEXT_MAX] = "unknown CID", place[256];
    if (damage->key_known) {
        struct cid cid;
        ((struct totals *)context)->bad_blocks++;
        cid_of_key(&damage->key, CID_RAW, &cid);
        cid_format(&cid, cid_text);
    }
    snprintf(place, sizeof place, "%s offset %llu", damage->segment,
             (unsigned long long)damage->offset);
    damage_add(context, cid_text, place, damage->what);
}

static void on_progress(void *context, const struct store_check_totals *now) {
    struct totals *totals = context;
    progress_show(&totals->progress, now->bytes, now->blocks);
}

static int open_fail(const struct cli *cli, const char *dir, int r,
                     const struct store_report *report) {
    int status = r == STORE_CORRUPT || r == STORE_FORMAT ? CLI_DAMAGED : CLI_FAILED;
    if (r == STORE_LOCKED) {
        return cli_fail(cli, CLI_FAILED,
                        "%s: %s; ask a daemon that serves it with --to ADDR:PORT, or stop it first",
                        dir, report->why);
    }
    return cli_fail(cli, status, "%s: %s", dir, report->why);
}

/* What is no store is no damage. Returns: CLI_DONE when there is one to look at. */
static int store_there(const struct cli *cli, const char *dir) {
    struct stat found;
    char super[4096];
    if (stat(dir, &found) != 0) {
        return cli_fail(cli, CLI_FAILED, "%s: %s", dir,
                        errno == ENOENT ? "no such directory" : strerror(errno));
    }
    if (!S_ISDIR(found.st_mode)) {
        return cli_fail(cli, CLI_USAGE, "%s: not a directory", dir);
    }
    snprintf(super, sizeof super, "%s/SUPER", dir);
    if (stat(super, &found) == 0 || errno != ENOENT) {
        return CLI_DONE;
    }
    snprintf(super, sizeof super, "%s/ssd/00001.seg", dir);
    if (stat(super, &found) == 0) {
        return CLI_DONE; /* segments without a SUPER: that is damage */
    }
    return cli_fail(cli, CLI_USAGE, "%s: not a store: it holds no SUPER", dir);
}

/* The store works for as long as a scrub takes: its keeper and its porter, turn by turn. */
static int repair_store(struct store *store, struct disk_sync *sync, struct totals *totals) {
    struct keeper *keeper = store_keeper(store, 0);
    struct store_task task = {.kind = STORE_TASK_SCRUB};
    int r = store_task_begin(store, &task);
    while (r == 0 && atomic_load_explicit(&task.state, memory_order_acquire) != STORE_TASK_DONE) {
        uint32_t work = store_maintain(store, clock_ns());
        (void)keeper_poll(keeper, clock_ns());
        work += disk_sync_poll(sync) + store_housekeep(store);
        progress_show(&totals->progress, counter_get(&task.bytes), counter_get(&task.seen));
        if (work == 0) {
            struct timespec rest = {.tv_nsec = (long)NS_PER_MS};
            (void)nanosleep(&rest, NULL);
        }
    }
    totals->repaired = counter_get(&task.blocks);
    /* what was written last is told to the keeper before the store closes */
    for (uint32_t i = 0; i < 64 || !keeper_idle(keeper); i++) {
        (void)store_maintain(store, clock_ns());
        (void)keeper_poll(keeper, clock_ns());
        (void)disk_sync_poll(sync);
    }
    return r;
}

static int repair_offline(const struct cli *cli, const char *dir, struct totals *totals) {
    struct store_report report = {0};
    struct store *store = NULL;
    struct disk_sync *sync = NULL;
    struct store_config config = {.dir = dir, .keepers = 1, .readers = 1, .memory_bytes = 16 * MiB};
    int r = disk_sync_open(&sync, &config.disk);
    if (r != 0) {
        return cli_fail(cli, CLI_FAILED, "%s: %s", dir, strerror(-r));
    }
    progress_begin(&totals->progress, "repair", 0, true);
    r = store_open(&config, &report, &store);
    if (r != 0) {
        disk_sync_close(sync);
        return open_fail(cli, dir, r, &report);
    }
    totals->ranges = report.corrupt_ranges; /* its end makes a new count of what is there */
    r = repair_store(store, sync, totals);
    int closed = store_close(store);
    disk_sync_close(sync);
    progress_clear(&totals->progress);
    return r != 0 || closed != 0 ? cli_fail(cli, CLI_FAILED, "%s: the repair broke off", dir)
                                 : CLI_DONE;
}

static int repair_online(const struct cli *cli, struct totals *totals) {
    json_t *answer = NULL;
    int status = scrub_follow(cli, totals->json, &answer);
    if (answer) {
        totals->repaired = (uint64_t)admin_number(answer, "repaired");
        json_decref(answer);
    }
    return status == CLI_DAMAGED ? CLI_DONE : status; /* what is damaged is named next */
}

static int verify_offline(const struct cli *cli, const char *dir, struct totals *totals) {
    struct store_report report = {0};
    struct store_check_totals checked = {0};
    struct store *store = NULL;
    struct disk_sync *sync = NULL;
    struct store_config config = {
        .dir = dir, .keepers = 1, .readers = 1, .memory_bytes = 16 * MiB, .read_only = true};
    int r = store_there(cli, dir);
    if (r == CLI_DONE && cli_has(cli, "repair")) {
        r = repair_offline(cli, dir, totals);
    }
    if (r != CLI_DONE) {
        return r;
    }
    r = disk_sync_open(&sync, &config.disk);
    if (r != 0) {
        return cli_fail(cli, CLI_FAILED, "%s: %s", dir, strerror(-r));
    }
    progress_begin(&totals->progress, "verify", 0, true);
    r = store_open(&config, &report, &store);
    if (r != 0) {
        disk_sync_close(sync);
        return open_fail(cli, dir, r, &report);
    }
    totals->ranges = max_u64(totals->ranges, report.corrupt_ranges);
    r = store_check(store, on_bad, on_progress, totals, &checked);
    totals->blocks = checked.blocks;
    totals->bytes = checked.bytes;
    if (store_close(store) != 0 && r == 0) {
        r = -1;
    }
    disk_sync_close(sync);
    if (r < 0) {
        progress_clear(&totals->progress);
        return cli_fail(cli, CLI_FAILED, "%s: verification broke off: %s", dir, strerror(-r));
    }
    return conclude(totals);
}

static int cmd_verify(struct cli *cli) {
    const char *dir = cli_value(cli, "store", NULL);
    if (dir != NULL && cli_has(cli, "to")) {
        return cli_misuse(cli, "--store looks at a store offline, --to asks a daemon: choose one");
    }
    struct totals totals = {.json = cli_has(cli, "json"), .damage = json_array()};
    int status = CLI_DONE;
    if (dir == NULL && cli_has(cli, "repair")) {
        status = repair_online(cli, &totals);
    }
    if (status == CLI_DONE) {
        status = dir != NULL ? verify_offline(cli, dir, &totals) : verify_online(cli, &totals);
    }
    json_decref(totals.damage);
    return status;
}

static const struct cli_flag flags[] = {
    CLI_FLAG_TO,
    {"store", 0, "DIR", "look at this store offline, while no daemon serves it"},
    {"repair", 0, NULL, "first write damaged blocks anew where there is another copy"},
    CLI_FLAG_ADMIN,
    CLI_FLAG_JSON,
    CLI_FLAG_END,
};

const struct cli_command command_verify = {
    .name = "verify",
    .args = "",
    .summary = "check every stored block again; exit status 4 if one is damaged",
    .flags = flags,
    .more = "With --repair a running daemon is asked to scrub (--admin), and an offline store is\n"
            "opened for writing. What has no other sound copy stays damaged, and is named.\n"
            "Offline the place is named too: segment and offset; a daemon names the CID alone. In\n"
            "--json 'blocks' is all that were looked at, 'bad' the damage among them.",
    .examples = "  millrace verify\n  millrace verify --store ./run --repair --json\n",
    .run = cmd_verify,
};
