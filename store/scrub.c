/* SPDX-License-Identifier: MIT */
#include "store/scrub.h"

#include "base/bits.h"
#include "base/clock.h"
#include "base/err.h"
#include "store/choose.h"
#include "store/compact.h"
#include "store/inside.h"
#include "store/move.h"
#include "store/pass.h"
#include "store/promote.h"
#include "store/repair.h"
#include "store/standing.h"
#include "store/text.h"

#include <errno.h>

#define REST_NS  (60 * NS_PER_S)  /* between two passes, and where there is no memory for one */
#define SAVE_NS  (600 * NS_PER_S) /* between two words to the disk of where the lanes stand */
#define BURST_NS (10 * NS_PER_S)
#define RUSH     4u
#define LOOKS    256u /* at its speed, in a cycle */

/* Standing work over the tiers of one kind. */
struct lane {
    struct pass pass;
    struct allowance allowance;
    uint64_t rated_ns;   /* its speed was set when so much of the cycle had gone */
    uint64_t seen_ns;    /* time counts from here on; 0: not begun */
    uint64_t elapsed_ns; /* of the cycle */
    uint64_t ended_us;   /* wall clock: the last pass; 0: none */
    uint64_t rest_ns;
};

struct scrub {
    struct porter *porter;
    struct store *store;
    struct lane lanes[STANDING_KINDS];
    struct pass asked;       /* a task's */
    struct store_task *task; /* whose; NULL: nobody asked */
    bool through;            /* it has looked at everything */
    struct allowance fast;   /* a task's */
    struct repair repair;    /* of the pass that mends */
    struct pass *mending;    /* NULL: none */
    uint64_t saved_ns;
    bool begun;   /* the lanes stand where they stood before the start */
    bool changed; /* since it was saved */
    uint8_t *page;
};

/* --- open and close --------------------------------------------------------------------------- */

int scrub_open(struct porter *porter) {
    struct scrub *scrub = vm_map(sizeof *scrub);
    if (!scrub) {
        return err_raise(-ENOMEM);
    }
    porter->scrub = scrub;
    scrub->porter = porter;
    scrub->store = porter->store;
    scrub->page = vm_map(PAGE_BYTES);
    if (!scrub->page) {
        return err_raise(-ENOMEM);
    }
    scrub->fast =
        (struct allowance){.rate = porter->store->config.scrub_rate, .burst_ns = NS_PER_S};
    return 0;
}

/* SUPER is read only after the porter is opened. */
static void stood_before(struct scrub *scrub) {
    struct standing_lane stood[STANDING_KINDS];
    standing_read(scrub->store, scrub->page, stood);
    for (uint32_t kind = 0; kind < STANDING_KINDS; kind++) {
        struct lane *lane = &scrub->lanes[kind];
        lane->allowance.burst_ns = BURST_NS;
        lane->elapsed_ns = stood[kind].elapsed_ns;
        lane->ended_us = stood[kind].ended_us;
        lane->pass = (struct pass){.porter = scrub->porter, .kinds = 1u << kind};
        lane->pass.id = stood[kind].id;
        lane->pass.bytes = stood[kind].bytes;
    }
    scrub->saved_ns = scrub->porter->now_ns;
    scrub->begun = true;
}

/* Where the lanes stand, to the disk. What it cannot be told costs a part of a cycle. */
static void save(struct scrub *scrub) {
    struct standing_lane stand[STANDING_KINDS];
    for (uint32_t kind = 0; kind < STANDING_KINDS; kind++) {
        const struct lane *lane = &scrub->lanes[kind];
        uint32_t id = lane->pass.id - (lane->pass.segment ? 1 : 0);
        stand[kind] = (struct standing_lane){.elapsed_ns = lane->elapsed_ns,
                                             .bytes = lane->pass.bytes,
                                             .ended_us = lane->ended_us,
                                             .id = id};
    }
    scrub->saved_ns = scrub->porter->now_ns;
    scrub->changed = standing_write(scrub->store, scrub->page, stand) != 0;
}

void scrub_close(struct porter *porter) {
    struct scrub *scrub = porter->scrub;
    if (!scrub) {
        return;
    }
    if (scrub->changed) {
        save(scrub);
    }
    for (uint32_t kind = 0; kind < STANDING_KINDS; kind++) {
        pass_close(&scrub->lanes[kind].pass);
    }
    pass_close(&scrub->asked);
    if (scrub->repair.store) {
        repair_close(&scrub->repair);
    }
    vm_unmap(scrub->page, PAGE_BYTES);
    vm_unmap(scrub, sizeof *scrub);
    porter->scrub = NULL;
}

/* --- mending ---------------------------------------------------------------------------------- */

static int mender_open(struct scrub *scrub) {
    return scrub->repair.store ? 0 : repair_open(&scrub->repair, scrub->porter);
}

/* A run is over: what it found damaged is looked for before the next. */
static void mend_begin(struct scrub *scrub, struct pass *pass) {
    struct porter *porter = scrub->porter;
    if (scrub->repair.count == 0) {
        return;
    }
    if (compact_idle(porter) && !promote_busy(porter)) {
        (void)move_dropped(porter_mover(porter)); /* or a tier that was full once stays so */
    }
    scrub->mending = pass;
}

static uint32_t mend(struct scrub *scrub) {
    bool over;
    uint32_t work = repair_step(&scrub->repair, &over);
    if (over) {
        pass_tell(scrub->mending, &scrub->repair);
        repair_clear(&scrub->repair);
        scrub->mending = NULL;
    }
    return work;
}

/* --- the lanes -------------------------------------------------------------------------------- */

static int lane_open(struct scrub *scrub, struct lane *lane) {
    struct pass *pass = &lane->pass;
    if (pass->page) {
        return 0;
    }
    uint32_t id = pass->id;
    uint64_t bytes = pass->bytes;
    int r = pass_open(pass, scrub->porter, 1u << (lane - scrub->lanes));
    pass->id = id;
    pass->bytes = bytes;
    return r;
}

/* How fast from here on, that the cycle is kept. */
static void set_speed(struct lane *lane, uint64_t cycle_ns) {
    uint64_t cycle_s = max_u64(cycle_ns / NS_PER_S, 1);
    uint64_t gone_s = min_u64(lane->elapsed_ns / NS_PER_S, cycle_s - 1);
    uint64_t left = pass_left(&lane->pass);
    uint64_t most = RUSH * (lane->pass.bytes + left) / cycle_s;
    lane->allowance.rate = 1 + min_u64(left / (cycle_s - gone_s), most);
    lane->rated_ns = lane->elapsed_ns;
}

static void lane_show(struct scrub *scrub, const struct lane *lane) {
    struct store_scrub *shown = &scrub->porter->scrubs[lane - scrub->lanes];
    counter_set(&shown->elapsed_ns, lane->elapsed_ns);
    counter_set(&shown->bytes, lane->pass.bytes);
    counter_set(&shown->total_bytes, lane->pass.bytes + pass_left(&lane->pass));
    counter_set(&shown->ended_us, lane->ended_us);
}

/* All that its tiers hold was looked at, by itself or by a task. */
static void lane_through(struct scrub *scrub, struct lane *lane) {
    lane->ended_us = clock_wall_us();
    lane->elapsed_ns = 0;
    lane->rest_ns = scrub->porter->now_ns + REST_NS;
    lane->allowance.rate = 0;
    pass_begin(&lane->pass);
    lane_show(scrub, lane);
    scrub->changed = true;
    scrub->saved_ns = 0;
}

static void lane_over(struct scrub *scrub, struct lane *lane) {
    if (lane->pass.bytes > 0) {
        counter_add(&scrub->porter->counters.scrub_passes, 1);
        lane_through(scrub, lane);
    } else {
        lane->rest_ns = scrub->porter->now_ns + REST_NS;
        pass_begin(&lane->pass);
    }
}

static uint32_t lane_step(struct scrub *scrub, struct lane *lane) {
    uint64_t now_ns = scrub->porter->now_ns;
    uint64_t cycle_ns = scrub->store->config.scrub_cycle_ns[lane - scrub->lanes];
    if (cycle_ns == 0 || now_ns < lane->rest_ns) {
        lane->seen_ns = now_ns;
        return 0;
    }
    if (lane_open(scrub, lane) != 0 || mender_open(scrub) != 0) {
        lane->rest_ns = now_ns + REST_NS;
        return 0;
    }
    lane->elapsed_ns += lane->seen_ns != 0 ? now_ns - lane->seen_ns : 0;
    lane->seen_ns = now_ns;
    bool anew = lane->allowance.rate == 0;
    if (anew || lane->elapsed_ns >= lane->rated_ns + cycle_ns / LOOKS) {
        lane->allowance.free_ns = max_u64(lane->allowance.free_ns, anew ? now_ns : 0);
        set_speed(lane, cycle_ns);
        lane_show(scrub, lane);
    }
    bool over = false;
    struct pass_run run = {.allowance = &lane->allowance,
                           .repair = &scrub->repair,
                           .bytes =
                               min_u64(lane->allowance.rate * (BURST_NS / NS_PER_S), PEEK_AHEAD)};
    uint32_t work = pass_step(&lane->pass, &run, &over);
    if (work > 0) {
        scrub->changed = true;
        mend_begin(scrub, &lane->pass);
        lane_show(scrub, lane);
    }
    if (over) {
        lane_over(scrub, lane);
    }
    return work;
}

uint32_t scrub_step(struct porter *porter) {
    struct scrub *scrub = porter->scrub;
    uint32_t work = 0;
    if (!scrub->begun) {
        stood_before(scrub);
    }
    if (scrub->mending) {
        return mend(scrub);
    }
    for (uint32_t kind = 0; kind < STANDING_KINDS && !scrub->task && !scrub->mending; kind++) {
        work += lane_step(scrub, &scrub->lanes[kind]);
    }
    if (scrub->changed && (scrub->saved_ns == 0 || porter->now_ns >= scrub->saved_ns + SAVE_NS)) {
        save(scrub);
    }
    return work;
}

/* --- the task --------------------------------------------------------------------------------- */

static void add_count(struct text *text, uint64_t count, const char *one, const char *more) {
    if (count > 0) {
        text_add(text, text->used > 0 ? "; " : "");
        text_add_number(text, count);
        text_add(text, count == 1 ? one : more);
    }
}

static void say(const struct pass *pass, char why[], size_t room) {
    struct text text = {why, room, 0};
    add_count(&text, pass->damaged, " block is damaged and without another copy",
              " blocks are damaged and without another copy");
    add_count(&text, pass->waiting, " damaged block has another copy and no room to be written to",
              " damaged blocks have another copy and no room to be written to");
    add_count(&text, pass->unlisted, " segment has a damaged list of its records",
              " segments have damaged lists of their records");
    add_count(&text, pass->unread, " segment could not be looked at: its list cannot be read",
              " segments could not be looked at: their lists cannot be read");
    add_count(&text, pass->left_out,
              " segment was left out: it is not sealed before its tier can be written, or a start",
              " segments were left out: they are not sealed before their tier can be written, or a "
              "start");
    add_count(&text, pass->repaired, " was written anew from another copy",
              " were written anew from another copy");
}

static int32_t outcome(const struct pass *pass) {
    return pass->damaged + pass->unlisted > 0  ? STORE_CORRUPT
           : pass->waiting > 0                 ? STORE_FULL
           : pass->unread + pass->left_out > 0 ? STORE_RETRY
                                               : 0;
}

static void task_end(struct scrub *scrub, int32_t result, const char *why) {
    struct store_task *task = scrub->task;
    if (scrub->mending == &scrub->asked) {
        scrub->mending = NULL;
    }
    if (scrub->repair.store && !scrub->mending) {
        repair_clear(&scrub->repair);
    }
    pass_close(&scrub->asked);
    scrub->task = NULL;
    porter_finish(scrub->porter, task, result, why);
}

static void task_begin(struct scrub *scrub, struct store_task *task) {
    scrub->task = task;
    scrub->through = false;
    counter_set(&task->total, catalog_entries(&scrub->store->catalog));
    for (uint32_t kind = 0; kind < STANDING_KINDS; kind++) {
        pass_rest(&scrub->lanes[kind].pass);
    }
    int r = pass_open(&scrub->asked, scrub->porter, 1u << TIER_SSD | 1u << TIER_HDD);
    r = r == 0 ? mender_open(scrub) : r;
    if (r != 0) {
        task_end(scrub, r, "there is no memory for it now");
    }
}

static void task_show(const struct scrub *scrub) {
    struct store_task *task = scrub->task;
    const struct pass *pass = &scrub->asked;
    counter_set(&task->seen, pass->seen);
    counter_set(&task->bytes, pass->bytes);
    counter_set(&task->blocks, pass->repaired);
    counter_set(&task->phase, pass->damaged);
}

/* The last block of the last segment was looked at, and what it took to mend is done. */
static void task_through(struct scrub *scrub) {
    char why[sizeof scrub->task->why];
    int32_t result = outcome(&scrub->asked);
    task_show(scrub);
    say(&scrub->asked, why, sizeof why);
    counter_add(&scrub->porter->counters.scrub_passes, 1);
    for (uint32_t kind = 0; kind < STANDING_KINDS; kind++) {
        lane_through(scrub, &scrub->lanes[kind]);
    }
    task_end(scrub, result, result != 0 ? why : NULL);
}

uint32_t scrub_task(struct porter *porter, struct store_task *task) {
    struct scrub *scrub = porter->scrub;
    bool over = false;
    if (porter_canceled(porter, task)) {
        if (scrub->task == task) {
            task_end(scrub, STORE_RETRY, "canceled");
        } else {
            porter_finish(porter, task, STORE_RETRY, "canceled");
        }
        return 1;
    }
    if (scrub->mending || (scrub->task && scrub->task != task)) {
        return 0; /* another's comes first, and mending is the duty's */
    }
    if (!scrub->task) {
        task_begin(scrub, task);
        return 1;
    }
    if (scrub->through) {
        task_through(scrub);
        return 1;
    }
    struct pass_run run = {.allowance = &scrub->fast, .repair = &scrub->repair};
    uint32_t work = pass_step(&scrub->asked, &run, &over);
    scrub->through = over;
    mend_begin(scrub, &scrub->asked);
    task_show(scrub);
    return work;
}
