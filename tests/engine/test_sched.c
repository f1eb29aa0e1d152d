/* SPDX-License-Identifier: MIT */
#include "engine/sched.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* A policy with jobs to give it; time is whatever the test says. */
struct rig {
    struct sched *sched;
    struct job *jobs;
    struct job *unused; /* linked by next; what was taken may be looked at until the next give */
};

static struct rig rig_make(const struct sched_config *config, uint32_t jobs_max) {
    struct rig rig = {.unused = NULL};
    struct sched_config own = *config;
    own.jobs_max = jobs_max;
    rig.sched = sched_init(aligned_alloc(CACHE_PAIR, sched_footprint(&own)), &own);
    rig.jobs = calloc(jobs_max, sizeof *rig.jobs);
    for (uint32_t i = jobs_max; i-- > 0;) {
        rig.jobs[i].next = rig.unused;
        rig.unused = &rig.jobs[i];
    }
    return rig;
}

static struct rig rig_plain(uint32_t jobs_max) {
    return rig_make(&sched_config_default, jobs_max);
}

static void rig_free(struct rig *rig) {
    free(rig->sched);
    free(rig->jobs);
}

/* Gives the policy one more job. */
static struct job *give(struct rig *rig, uint32_t class, uint32_t flow, uint32_t cost,
                        uint64_t now) {
    struct job *job = rig->unused;
    cr_assert_not_null(job);
    rig->unused = job->next;
    *job = (struct job){.class = (uint8_t) class, .flow = (uint16_t)flow, .arrived_ns = now};
    cr_assert(sched_push(rig->sched, job, cost, now));
    return job;
}

static void taken_back(struct rig *rig, struct sched_pick picks[], uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        picks[i].job->next = rig->unused;
        rig->unused = picks[i].job;
    }
}

static struct sched_pick take(struct rig *rig, uint64_t now) {
    struct sched_pick pick = {0};
    cr_assert_eq(sched_pick(rig->sched, &pick, 1, 0, now), 1);
    taken_back(rig, &pick, 1);
    return pick;
}

static void keep_backlogged(struct rig *rig, uint32_t each, uint32_t cost, uint64_t now) {
    for (uint32_t c = 0; c < CLASS_COUNT; c++) {
        while (sched_backlog_of(rig->sched, (enum job_class)c) < each) {
            give(rig, c, c, cost, now);
        }
    }
}

/* --- classes ---------------------------------------------------------------------------------- */

Test(sched, hundred_equal_dispatches_are_25_25_33_17) {
    struct rig rig = rig_plain(400);
    for (int hundred = 0; hundred < 50; hundred++) {
        uint32_t got[CLASS_COUNT] = {0};
        for (int i = 0; i < 100; i++) {
            keep_backlogged(&rig, 40, 1000, 5);
            got[take(&rig, 5).job->class]++;
        }
        cr_assert_eq(got[CLASS_CRITICAL], 25);
        cr_assert_eq(got[CLASS_HIGH], 25);
        cr_assert_eq(got[CLASS_NORMAL], 33);
        cr_assert_eq(got[CLASS_LOW], 17);
    }
    rig_free(&rig);
}

Test(sched, order_is_that_of_virtual_finish_in_exact_fractions) {
    const uint64_t shares[CLASS_COUNT] = {25, 25, 33, 17};
    uint64_t served[CLASS_COUNT] = {0};
    struct rig rig = rig_plain(400);
    for (int i = 0; i < 1000; i++) {
        keep_backlogged(&rig, 40, 777, 5);
        uint32_t due = 0;
        for (uint32_t c = 1; c < CLASS_COUNT; c++) {
            due = served[c] * shares[due] < served[due] * shares[c] ? c : due;
        }
        cr_assert_eq(sched_next(rig.sched, 5), due);
        cr_assert_eq(take(&rig, 5).job->class, due, "dispatch %d", i);
        served[due]++;
    }
    rig_free(&rig);
}

Test(sched, one_class_alone_gets_everything) {
    struct rig rig = rig_plain(64);
    for (int i = 0; i < 1000; i++) {
        give(&rig, CLASS_LOW, 1, 100, 5);
        cr_assert_eq(take(&rig, 5).job->class, CLASS_LOW);
    }
    cr_assert_eq(sched_next(rig.sched, 5), CLASS_COUNT);
    rig_free(&rig);
}

Test(sched, an_idle_spell_earns_nothing) {
    struct rig rig = rig_plain(4096);
    for (int i = 0; i < 1000; i++) {
        while (sched_backlog(rig.sched) < 40) {
            give(&rig, CLASS_LOW, 1, 1000, 5);
        }
        cr_assert_eq(take(&rig, 5).job->class, CLASS_LOW);
    }
    uint8_t order[2000];
    for (int i = 0; i < 2000; i++) {
        keep_backlogged(&rig, 40, 1000, 5);
        order[i] = take(&rig, 5).job->class;
    }
    cr_assert_eq(order[0], CLASS_CRITICAL);
    for (int from = 0; from + 200 <= 2000; from++) {
        int low = 0;
        for (int i = from; i < from + 200; i++) {
            low += order[i] == CLASS_LOW;
        }
        cr_assert_geq(low, 34, "window at %d", from);
    }
    rig_free(&rig);
}

Test(sched, shares_hold_in_cost_whatever_jobs_cost_and_flows_there_are) {
    const uint32_t costs[CLASS_COUNT] = {200, 90000, 1500, 40};
    const uint32_t flows[CLASS_COUNT] = {1, 200, 10, 50};
    const double shares[CLASS_COUNT] = {25, 25, 33, 17};
    struct rig rig = rig_plain(8192);
    srand(7);
    double total = 0;
    for (int i = 0; i < 400000; i++) {
        for (uint32_t c = 0; c < CLASS_COUNT; c++) {
            while (sched_backlog_of(rig.sched, (enum job_class)c) < 400) {
                uint32_t cost = costs[c] / 2 + (uint32_t)rand() % costs[c];
                give(&rig, c, (uint32_t)rand() % flows[c], cost, 5);
            }
        }
        total += take(&rig, 5).cost_ns;
    }
    for (uint32_t c = 0; c < CLASS_COUNT; c++) {
        double share = 100.0 * (double)sched_stats(rig.sched)->cost_ns[c] / total;
        cr_assert_float_eq(share, shares[c], 2.0, "class %u got %.2f %%", c, share);
    }
    rig_free(&rig);
}

Test(sched, virtual_time_has_no_end) {
    struct sched_config config = sched_config_default;
    config.flow_quantum = BIT(30);
    for (uint32_t c = 0; c < CLASS_COUNT; c++) {
        config.shares[c] = 100; /* the most virtual time a job can add: 2^62 after 4,300 of them */
    }
    struct rig rig = rig_make(&config, 64);
    uint32_t got[CLASS_COUNT] = {0};
    for (int i = 0; i < 40000; i++) {
        keep_backlogged(&rig, 2, UINT32_MAX, 5);
        got[take(&rig, 5).job->class]++;
    }
    for (uint32_t c = 0; c < CLASS_COUNT; c++) {
        cr_assert_eq(got[c], 10000);
    }
    rig_free(&rig);
}

Test(sched, pick_class_serves_that_class_and_charges_it) {
    struct rig rig = rig_plain(256);
    struct sched_pick picks[64];
    keep_backlogged(&rig, 40, 1000, 5);
    cr_assert_eq(sched_pick_class(rig.sched, CLASS_CRITICAL, picks, 25, 0, 5), 25);
    for (int i = 0; i < 25; i++) {
        cr_assert_eq(picks[i].job->class, CLASS_CRITICAL);
    }
    taken_back(&rig, picks, 25);
    uint32_t got[CLASS_COUNT] = {0};
    for (int i = 0; i < 75; i++) {
        got[take(&rig, 5).job->class]++;
    }
    cr_assert_eq(got[CLASS_CRITICAL], 0);
    cr_assert_eq(got[CLASS_HIGH], 25);
    cr_assert_eq(got[CLASS_NORMAL], 33);
    cr_assert_eq(got[CLASS_LOW], 17);
    rig_free(&rig);
}

Test(sched, budget_ends_a_pick_once_it_is_reached) {
    struct rig rig = rig_plain(256);
    struct sched_pick picks[64];
    keep_backlogged(&rig, 40, 1000, 5);
    cr_assert_eq(sched_pick(rig.sched, picks, 64, 9500, 5), 10);
    cr_assert_eq(sched_pick(rig.sched, picks, 64, 10000, 5), 10);
    cr_assert_eq(sched_pick(rig.sched, picks, 64, 1, 5), 1);
    cr_assert_eq(sched_pick_class(rig.sched, CLASS_NORMAL, picks, 64, 2500, 5), 3);
    cr_assert_eq(sched_pick(rig.sched, picks, 64, 0, 5), 64);
    rig_free(&rig);
}

/* --- deadline boost --------------------------------------------------------------------------- */

Test(sched, a_late_class_goes_next_when_boosts_are_saved_up) {
    struct rig rig = rig_plain(256);
    for (int i = 0; i < 20; i++) { /* earns two boosts, and puts Critical ahead in virtual time */
        give(&rig, CLASS_LOW, 0, 1000, 5);
        give(&rig, CLASS_CRITICAL, 0, 1000, 5);
    }
    struct sched_pick picks[64];
    cr_assert_eq(sched_pick_class(rig.sched, CLASS_CRITICAL, picks, 19, 0, 5), 19);
    taken_back(&rig, picks, 19);
    cr_assert_eq(sched_next(rig.sched, 5 + 5 * NS_PER_MS), CLASS_LOW,
                 "half its target is not past");
    cr_assert_eq(sched_next(rig.sched, 6 + 5 * NS_PER_MS), CLASS_CRITICAL);
    cr_assert_eq(take(&rig, 6 + 5 * NS_PER_MS).job->class, CLASS_CRITICAL);
    cr_assert_eq(sched_stats(rig.sched)->boosted[CLASS_CRITICAL], 1);
    rig_free(&rig);
}

Test(sched, the_oldest_job_boosts_though_another_flow_is_first) {
    struct rig rig = rig_plain(256);
    uint64_t now = 100 * NS_PER_MS;
    give(&rig, CLASS_CRITICAL, 1, 1000, now);
    give(&rig, CLASS_CRITICAL, 2, 1000, now - 9 * NS_PER_MS);
    give(&rig, CLASS_CRITICAL, 1, 1000, now);
    cr_assert_eq(sched_oldest_ns(rig.sched, CLASS_CRITICAL),
                 now); /* order of push is what counts */
    cr_assert_eq(take(&rig, now).job->flow, 1);
    cr_assert_eq(sched_oldest_ns(rig.sched, CLASS_CRITICAL), now - 9 * NS_PER_MS);
    (void)take(&rig, now);
    (void)take(&rig, now);
    cr_assert_eq(sched_oldest_ns(rig.sched, CLASS_CRITICAL), 0);
    rig_free(&rig);
}

Test(sched, boosts_are_a_tenth_at_most_and_shares_hold) {
    struct sched_config config = sched_config_default;
    config.shed = false;
    struct rig rig = rig_make(&config, 1024);
    uint32_t got[CLASS_COUNT] = {0};
    uint64_t now = NS_PER_S;
    for (uint32_t i = 1; i <= 20000; i++) {
        keep_backlogged(&rig, 100, 1000, now - 8 * NS_PER_MS); /* only Critical is ever late */
        got[take(&rig, now).job->class]++;
        uint64_t boosted = sched_stats(rig.sched)->boosted[CLASS_CRITICAL];
        cr_assert_leq(boosted * 10, i);
    }
    cr_assert_gt(sched_stats(rig.sched)->boosted[CLASS_CRITICAL], 0);
    cr_assert_float_eq(got[CLASS_CRITICAL], 5000, 20);
    cr_assert_float_eq(got[CLASS_LOW], 3400, 20);
    rig_free(&rig);
}

Test(sched, a_boosted_class_is_before_its_turn_by_what_it_was_lent) {
    struct sched_config with = sched_config_default, without = sched_config_default;
    with.shed = without.shed = false;
    without.boost_percent = 0;
    uint32_t critical[2] = {0};
    for (int run = 0; run < 2; run++) {
        struct rig rig = rig_make(run == 0 ? &with : &without, 1024);
        uint64_t now = NS_PER_S;
        for (int i = 0; i < 200; i++) { /* Low alone: credit is earned */
            while (sched_backlog_of(rig.sched, CLASS_LOW) < 50) {
                give(&rig, CLASS_LOW, 0, 1000, now);
            }
            (void)take(&rig, now);
        }
        for (int i = 0; i < 12; i++) { /* as long as what was saved up lasts */
            keep_backlogged(&rig, 100, 1000, now - 8 * NS_PER_MS);
            critical[run] += take(&rig, now).job->class == CLASS_CRITICAL;
        }
        rig_free(&rig);
    }
    cr_assert_geq(critical[0], 11);
    cr_assert_leq(critical[1], 4);
}

/* 60 s of a server of 0.5 ms a job, offered half as much again, 300 peers a class of whom some hash
 * to one flow, four credits a flow. */
Test(sched, no_head_waits_ten_seconds_while_anything_is_dispatched) {
    struct rig rig = rig_plain(4096);
    static uint8_t queued[CLASS_COUNT][SCHED_FLOWS];
    uint64_t now = NS_PER_S;
    uint64_t worst = 0;
    srand(11);
    for (int i = 0; i < 120000; i++) {
        now += NS_PER_MS / 2;
        for (int k = 0; k < 2; k++) {
            uint32_t class = (uint32_t)rand() % CLASS_COUNT;
            uint32_t flow = (uint32_t)rand() % 300;
            if (rand() % 4 != 0 && queued[class][flow % SCHED_FLOWS] < 4) {
                give(&rig, class, flow, NS_PER_MS / 2, now);
                queued[class][flow % SCHED_FLOWS]++;
            }
        }
        for (uint32_t c = 0; c < CLASS_COUNT; c++) {
            uint64_t oldest = sched_oldest_ns(rig.sched, (enum job_class)c);
            uint64_t age = oldest ? now - oldest : 0;
            worst = age > worst ? age : worst;
        }
        struct sched_pick pick = {.fate = SCHED_SHED};
        while (sched_backlog(rig.sched) && pick.fate != SCHED_RUN) {
            pick = take(&rig, now);
            queued[pick.job->class][pick.job->flow % SCHED_FLOWS]--;
        }
    }
    cr_assert_lt(worst, 10 * NS_PER_S);
    rig_free(&rig);
}

/* --- flows ------------------------------------------------------------------------------------ */

Test(sched, jobs_of_one_flow_keep_their_order) {
    struct rig rig = rig_plain(128);
    struct job *given[100];
    for (int i = 0; i < 100; i++) {
        given[i] = give(&rig, CLASS_HIGH, 3, 1000, 5);
    }
    struct sched_pick picks[100];
    cr_assert_eq(sched_pick(rig.sched, picks, 100, 0, 5), 100);
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(picks[i].job, given[i]);
        cr_assert_eq(picks[i].fate, SCHED_RUN);
    }
    rig_free(&rig);
}

Test(sched, a_greedy_flow_delays_another_by_its_turn_alone) {
    struct rig rig = rig_plain(4096);
    for (int i = 0; i < 3000; i++) {
        give(&rig, CLASS_NORMAL, 1, 1000, 5);
    }
    for (int round = 0; round < 30; round++) {
        struct job *small = give(&rig, CLASS_NORMAL, 2, 1000, 5);
        uint64_t before = 0;
        struct sched_pick pick;
        while ((pick = take(&rig, 5)).job != small) {
            before += pick.cost_ns;
        }
        cr_assert_leq(before, 8192 + 1000, "quantum and the rest of a job, was %lu", before);
    }
    rig_free(&rig);
}

Test(sched, flows_share_by_cost_not_by_number) {
    const uint32_t costs[] = {150, 4000, 90000, 1000000}; /* up to 122 quanta */
    struct rig rig = rig_plain(4096);
    uint64_t got[4] = {0};
    uint32_t queued[4] = {0};
    for (int i = 0; i < 3000000; i++) {
        for (uint32_t f = 0; f < 4; f++) {
            for (; queued[f] < 20; queued[f]++) {
                give(&rig, CLASS_NORMAL, f * 17, costs[f], 5);
            }
        }
        struct sched_pick pick = take(&rig, 5);
        got[pick.job->flow / 17] += pick.cost_ns;
        queued[pick.job->flow / 17]--;
    }
    uint64_t least = UINT64_MAX, most = 0;
    for (uint32_t f = 0; f < 4; f++) {
        least = got[f] < least ? got[f] : least;
        most = got[f] > most ? got[f] : most;
    }
    cr_assert_leq(most - least, 1000000 + 2 * 8192, "%lu and %lu", least, most);
    rig_free(&rig);
}

Test(sched, a_flow_earns_nothing_by_running_empty) {
    struct rig rig = rig_plain(256);
    uint64_t steady = 0, hopping = 0;
    bool queued = false;
    for (int i = 0; i < 100000; i++) {
        while (sched_backlog(rig.sched) < 20) {
            give(&rig, CLASS_NORMAL, 1, 1000, 5);
        }
        if (!queued) { /* one costly job at a time: leaves in debt each time, and returns at once */
            give(&rig, CLASS_NORMAL, 2, 50000, 5);
            queued = true;
        }
        struct sched_pick pick = take(&rig, 5);
        if (pick.job->flow == 2) {
            hopping += pick.cost_ns;
            queued = false;
        } else {
            steady += pick.cost_ns;
        }
    }
    cr_assert_leq(hopping, steady + 50000 + 8192);
    cr_assert_geq(hopping * 10, steady * 9);
    rig_free(&rig);
}

Test(sched, any_cost_goes_through) {
    struct rig rig = rig_plain(256);
    for (uint32_t f = 0; f < 50; f++) {
        give(&rig, CLASS_LOW, f, UINT32_MAX, 5);
        give(&rig, CLASS_LOW, f, 0, 5);
        give(&rig, CLASS_LOW, f, 1, 5);
    }
    for (int i = 0; i < 150; i++) {
        (void)take(&rig, 5);
    }
    cr_assert_eq(sched_backlog(rig.sched), 0);
    rig_free(&rig);
}

/* --- conservation ----------------------------------------------------------------------------- */

Test(sched, full_is_an_answer) {
    struct rig rig = rig_plain(4);
    struct job extra = {.class = CLASS_HIGH};
    for (uint32_t i = 0; i < 4; i++) {
        give(&rig, i, i, 10, 5);
    }
    cr_assert_not(sched_push(rig.sched, &extra, 10, 5));
    cr_assert_eq(sched_backlog(rig.sched), 4);
    cr_assert_eq(sched_classes_backlogged(rig.sched), 4);
    (void)take(&rig, 5);
    cr_assert(sched_push(rig.sched, &extra, 10, 5));
    rig_free(&rig);
}

Test(sched, every_job_comes_out_once_and_in_order_of_its_flow) {
    enum { JOBS = 3000 };
    for (unsigned seed = 1; seed <= 20; seed++) {
        srand(seed);
        struct rig rig = rig_plain(JOBS);
        bool queued[JOBS] = {false};
        uint32_t born[JOBS] = {0}, last[CLASS_COUNT][SCHED_FLOWS] = {{0}};
        uint32_t serial = 0, in = 0, out = 0;
        uint64_t now = NS_PER_S;
        struct sched_pick picks[64];
        for (int step = 0; step < 6000; step++) {
            now += (uint64_t)rand() % (200 * NS_PER_US);
            for (int n = rand() % 40; n > 0; n--) {
                uint32_t slot = (uint32_t)rand() % JOBS;
                if (queued[slot]) {
                    continue;
                }
                struct job *job = &rig.jobs[slot];
                *job = (struct job){.arrived_ns = now - (uint64_t)rand() % NS_PER_MS,
                                    .class = (uint8_t)(rand() % CLASS_COUNT),
                                    .flow = (uint16_t)(rand() % (seed % 2 ? 5 : 70000)),
                                    .deadline_ms = (uint16_t)(rand() % 3 ? 0 : rand() % 50)};
                uint32_t cost = rand() % 50 ? (uint32_t)rand() % 20000 : (uint32_t)rand();
                cr_assert(sched_push(rig.sched, job, cost, now));
                queued[slot] = true;
                born[slot] = ++serial;
                in++;
            }
            uint32_t max = (uint32_t)rand() % 40;
            uint64_t budget = rand() % 3 ? 0 : (uint64_t)rand() % 100000;
            uint32_t class = (uint32_t)rand() % CLASS_COUNT;
            uint32_t had = sched_backlog(rig.sched);
            uint32_t n = rand() % 4 ? sched_pick(rig.sched, picks, max, budget, now)
                                    : sched_pick_class(rig.sched, (enum job_class) class, picks,
                                                       max, 0, now);
            for (uint32_t i = 0; i < n; i++) {
                const struct job *job = picks[i].job;
                uint32_t slot = (uint32_t)(job - rig.jobs);
                cr_assert(queued[slot], "seed %u: picked twice", seed);
                queued[slot] = false;
                uint32_t *before = &last[job->class][job->flow % SCHED_FLOWS];
                cr_assert_gt(born[slot], *before, "seed %u: overtaken in its flow", seed);
                *before = born[slot];
                bool late =
                    job->deadline_ms && now >= job->arrived_ns + job->deadline_ms * NS_PER_MS;
                cr_assert_eq(picks[i].fate == SCHED_EXPIRED, late, "seed %u", seed);
            }
            out += n;
            cr_assert_eq(sched_backlog(rig.sched), had - n);
            cr_assert_eq(in - out, had - n);
        }
        uint32_t n;
        while ((n = sched_pick(rig.sched, picks, 64, 0, now)) != 0) {
            out += n;
        }
        cr_assert_eq(in, out, "seed %u", seed);
        rig_free(&rig);
    }
}

/* --- shedding and deadlines ------------------------------------------------------------------- */

/* One job a millisecond, each with this delay at dequeue. Returns: its fate. */
static enum sched_fate codel_item(struct rig *rig, uint64_t at_ms, uint64_t delay_ms) {
    uint64_t now = NS_PER_S + at_ms * NS_PER_MS;
    give(rig, CLASS_CRITICAL, 1, 1000, now - delay_ms * NS_PER_MS);
    return take(rig, now).fate;
}

static struct rig codel_rig(bool shed) {
    struct sched_config config = sched_config_default;
    config.target_ns[CLASS_CRITICAL] = 25 * NS_PER_MS; /* CoDel's target: 5 ms */
    config.shed = shed;
    return rig_make(&config, 16);
}

Test(sched, codel_sheds_what_is_older_than_twice_the_target_once_overloaded) {
    struct rig rig = codel_rig(true);
    const uint64_t *overloaded = &sched_stats(rig.sched)->overloaded[CLASS_CRITICAL];
    uint64_t ms = 0;
    for (; ms < 250; ms++) {
        cr_assert_eq(codel_item(&rig, ms, 6), SCHED_RUN);
        cr_assert_eq(*overloaded, ms < 101 ? 0 : ms < 202 ? 1 : 2, "at %lu ms", ms);
    }
    for (; ms < 450; ms++) {
        cr_assert_eq(codel_item(&rig, ms, 12), SCHED_SHED, "at %lu ms", ms);
    }
    for (; ms < 510; ms++) { /* the interval that began at 404 ends at 505, with 3 ms seen */
        cr_assert_eq(codel_item(&rig, ms, 3), SCHED_RUN);
    }
    cr_assert_eq(codel_item(&rig, ms, 12), SCHED_RUN, "clear");
    cr_assert_eq(sched_stats(rig.sched)->shed[CLASS_CRITICAL], 200);
    cr_assert_eq(sched_stats(rig.sched)->picked[CLASS_CRITICAL], ms - 200 + 1);
    rig_free(&rig);
}

Test(sched, codel_forgets_over_a_quiet_interval) {
    struct rig rig = codel_rig(true);
    uint64_t ms = 0;
    for (; ms < 150; ms++) {
        (void)codel_item(&rig, ms, 12);
    }
    cr_assert_eq(codel_item(&rig, ms, 12), SCHED_SHED);
    cr_assert_eq(codel_item(&rig, ms + 1000, 12), SCHED_RUN);
    rig_free(&rig);
}

Test(sched, without_shedding_overload_is_counted_only) {
    struct rig rig = codel_rig(false);
    for (uint64_t ms = 0; ms < 350; ms++) {
        cr_assert_eq(codel_item(&rig, ms, 12), SCHED_RUN);
    }
    cr_assert_eq(sched_stats(rig.sched)->overloaded[CLASS_CRITICAL], 3);
    rig_free(&rig);
}

Test(sched, codel_target_follows_five_times_the_median_service) {
    struct rig rig = codel_rig(true);
    srand(3);
    for (int i = 0; i < 2000; i++) { /* median 4 ms: the target becomes about 20 ms */
        uint64_t each = NS_PER_MS * (uint64_t)(1 + rand() % 7);
        sched_served(rig.sched, CLASS_CRITICAL, each * 8, 8);
    }
    uint64_t ms = 0;
    for (; ms < 450; ms++) {
        cr_assert_eq(codel_item(&rig, ms, 14), SCHED_RUN);
    }
    cr_assert_eq(sched_stats(rig.sched)->overloaded[CLASS_CRITICAL], 0);
    for (; ms < 620; ms++) { /* to the end of the first interval that saw nothing else */
        (void)codel_item(&rig, ms, 60);
    }
    cr_assert_eq(codel_item(&rig, ms, 60), SCHED_SHED);
    rig_free(&rig);
}

Test(sched, what_is_shed_or_expired_is_not_charged) {
    struct rig rig = rig_plain(256);
    for (int i = 0; i < 50; i++) {
        struct job *job = give(&rig, CLASS_CRITICAL, 1, 1000000, 5);
        job->deadline_ms = 1;
    }
    keep_backlogged(&rig, 50, 1000, 5);
    struct sched_pick picks[50];
    uint64_t now = 5 + NS_PER_MS;
    cr_assert_eq(sched_pick_class(rig.sched, CLASS_CRITICAL, picks, 50, 0, now), 50);
    for (int i = 0; i < 50; i++) {
        cr_assert_eq(picks[i].fate, SCHED_EXPIRED);
    }
    taken_back(&rig, picks, 50);
    keep_backlogged(&rig, 50, 1000, now);
    cr_assert_eq(sched_next(rig.sched, now), CLASS_CRITICAL);
    cr_assert_eq(sched_stats(rig.sched)->expired[CLASS_CRITICAL], 50);
    cr_assert_eq(sched_stats(rig.sched)->cost_ns[CLASS_CRITICAL], 0);
    rig_free(&rig);
}

Test(sched, a_stamp_ahead_of_now_is_no_delay) {
    struct rig rig = rig_plain(16);
    struct job *job = give(&rig, CLASS_CRITICAL, 1, 1000, 2 * NS_PER_S);
    job->deadline_ms = 1;
    cr_assert_eq(take(&rig, NS_PER_S).fate, SCHED_RUN);
    rig_free(&rig);
}

/* --- batch closing ---------------------------------------------------------------------------- */

/* Jobs arrive every `gap_us`; the consumer is busy. Returns: why the batch closed; when and how
 * big. */
static enum close_reason batch_until_closed(uint64_t gap_us, struct batch_state *ret_state,
                                            uint64_t *ret_age_ns) {
    struct batch_rules rules;
    batch_rules_init(&rules);
    struct batch_state state = {.class = CLASS_CRITICAL, .first_ns = NS_PER_S};
    for (uint64_t us = 0;; us++) {
        uint64_t now = NS_PER_S + us * NS_PER_US;
        enum close_reason reason = batch_close(&rules, &state, now);
        if (reason == CLOSE_NOT_YET && us % gap_us == 0) {
            state.jobs++;
            reason = batch_close(&rules, &state, now);
        }
        if (reason != CLOSE_NOT_YET) {
            *ret_state = state;
            *ret_age_ns = now - state.first_ns;
            return reason;
        }
    }
}

Test(batch_rules, arrivals_every_10_us_make_batches_of_50) {
    struct batch_state state;
    uint64_t age;
    cr_assert_eq(batch_until_closed(10, &state, &age), CLOSE_SIZE);
    cr_assert_eq(state.jobs, 50);
    cr_assert_eq(age, 490 * NS_PER_US);
}

Test(batch_rules, arrivals_every_100_us_make_batches_of_10_at_1_ms) {
    struct batch_state state;
    uint64_t age;
    cr_assert_eq(batch_until_closed(100, &state, &age), CLOSE_AGE);
    cr_assert_eq(state.jobs, 10);
    cr_assert_eq(age, NS_PER_MS);
}

Test(batch_rules, an_idle_consumer_never_waits_and_nothing_is_no_batch) {
    struct batch_rules rules;
    batch_rules_init(&rules);
    struct batch_state state = {.class = CLASS_LOW, .first_ns = 100, .consumer_idle = true};
    cr_assert_eq(batch_close(&rules, &state, 100 + NS_PER_S), CLOSE_NOT_YET);
    state.jobs = 1;
    cr_assert_eq(batch_close(&rules, &state, 100), CLOSE_IDLE);
}

Test(batch_rules, bytes_cost_and_age_of_each_class_close) {
    const uint64_t ages[CLASS_COUNT] = {1, 5, 20, 100};
    struct batch_rules rules;
    batch_rules_init(&rules);
    for (uint32_t c = 0; c < CLASS_COUNT; c++) {
        struct batch_state state = {.class = (enum job_class)c, .jobs = 1, .first_ns = 100};
        uint64_t end = 100 + ages[c] * NS_PER_MS;
        cr_assert_eq(batch_close(&rules, &state, end - 1), CLOSE_NOT_YET);
        cr_assert_eq(batch_close(&rules, &state, end), CLOSE_AGE);
        state.bytes = 256 * KiB - 1;
        state.cost_ns = 500 * NS_PER_US - 1;
        cr_assert_eq(batch_close(&rules, &state, 100), CLOSE_NOT_YET);
        state.cost_ns++;
        cr_assert_eq(batch_close(&rules, &state, 100), CLOSE_COST);
        state.bytes++;
        cr_assert_eq(batch_close(&rules, &state, 100), CLOSE_BYTES);
    }
}

Test(batch_rules, size_grows_by_a_quarter_and_shrinks_by_a_fifth) {
    struct batch_rules rules;
    batch_rules_init(&rules);
    const uint32_t up[] = {50, 62, 77, 96, 120, 150};
    for (uint32_t i = 0; i < array_count(up); i++) {
        cr_assert_eq(rules.size, up[i]);
        batch_rules_adapt(&rules, CLOSE_SIZE);
        cr_assert_eq(rules.size, up[i], "once is not twice");
        batch_rules_adapt(&rules, CLOSE_SIZE);
    }
    for (int i = 0; i < 100; i++) {
        batch_rules_adapt(&rules, CLOSE_SIZE);
    }
    cr_assert_eq(rules.size, 1000);
    const uint32_t down[] = {1000, 800, 640, 512, 409};
    for (uint32_t i = 0; i < array_count(down); i++) {
        cr_assert_eq(rules.size, down[i]);
        batch_rules_adapt(&rules, CLOSE_AGE);
        batch_rules_adapt(&rules, CLOSE_AGE);
    }
    for (int i = 0; i < 100; i++) {
        batch_rules_adapt(&rules, CLOSE_AGE);
    }
    cr_assert_eq(rules.size, 50);
}

Test(batch_rules, another_reason_breaks_the_row) {
    struct batch_rules rules;
    batch_rules_init(&rules);
    for (int i = 0; i < 10; i++) {
        batch_rules_adapt(&rules, CLOSE_SIZE);
        batch_rules_adapt(&rules, i % 2 ? CLOSE_IDLE : CLOSE_AGE);
    }
    cr_assert_eq(rules.size, 50);
}
