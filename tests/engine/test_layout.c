/* SPDX-License-Identifier: MIT */
#include "engine/layout.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* Machines that the test makes up. */

static struct layout_host plain_host(uint32_t cpus) {
    struct layout_host host = {.count = cpus};
    for (uint32_t i = 0; i < cpus; i++) {
        host.cpus[i] = i;
        host.core_of[i] = (uint16_t)i;
    }
    return host;
}

/* As Linux numbers them: the first half are first siblings, the second half their twins. */
static struct layout_host smt_host(uint32_t cpus) {
    struct layout_host host = plain_host(cpus);
    for (uint32_t i = 0; i < cpus; i++) {
        host.core_of[i] = (uint16_t)(i % (cpus / 2));
    }
    return host;
}

static struct settings lists(const char *net, const char *work, const char *sched,
                             const char *ctl) {
    struct settings settings;
    memset(&settings, 0, sizeof settings);
    (void)snprintf(settings.cores_net, sizeof settings.cores_net, "%s", net);
    (void)snprintf(settings.cores_work, sizeof settings.cores_work, "%s", work);
    (void)snprintf(settings.cores_sched, sizeof settings.cores_sched, "%s", sched);
    (void)snprintf(settings.cores_ctl, sizeof settings.cores_ctl, "%s", ctl);
    return settings;
}

static struct layout made(const struct settings *settings, const struct layout_host *host) {
    struct layout layout;
    char why[512] = "";
    int r = layout_make(settings, host, &layout, why, sizeof why);
    cr_assert_eq(r, 0, "%s", why);
    return layout;
}

static struct layout made_auto(const struct layout_host *host) {
    struct settings settings = lists("auto", "auto", "auto", "auto");
    return made(&settings, host);
}

/* The sentence a refusal comes with. */
static const char *refused(const struct settings *settings, const struct layout_host *host) {
    static char why[512];
    struct layout layout;
    why[0] = '\0';
    int r = layout_make(settings, host, &layout, why, sizeof why);
    cr_assert_eq(r, OPTION_BAD, "it was taken");
    cr_assert_gt(strlen(why), 10, "a refusal is a sentence: '%s'", why);
    return why;
}

static void is_core(const struct layout_core *core, uint32_t cpu, const char *parts) {
    char have[4] = "";
    (void)snprintf(have, sizeof have, "%s%s%s", core->net ? "n" : "", core->work ? "w" : "",
                   core->sched ? "s" : "");
    cr_assert_eq(core->cpu, cpu, "cpu %u, not %u", core->cpu, cpu);
    cr_assert_str_eq(have, parts);
}

/* ---- auto */

Test(layout, auto_on_one_cpu_puts_everything_there) {
    struct layout_host host = plain_host(1);
    struct layout layout = made_auto(&host);
    cr_assert_eq(layout.count, 1);
    is_core(&layout.cores[0], 0, "nws");
    cr_assert_eq(layout.net_count, 1);
    cr_assert_eq(layout.work_count, 1);
    cr_assert(layout.automatic);
    cr_assert_eq(layout.ctl_cpu, -1);
}

Test(layout, auto_below_four_cpus_shares_the_last_with_the_scheduler) {
    for (uint32_t cpus = 2; cpus <= 3; cpus++) {
        struct layout_host host = plain_host(cpus);
        struct layout layout = made_auto(&host);
        cr_assert_eq(layout.count, cpus);
        for (uint32_t i = 0; i < cpus; i++) {
            is_core(&layout.cores[i], i, i == cpus - 1 ? "nws" : "nw");
        }
        cr_assert_eq(layout.net_count, cpus);
        cr_assert_eq(layout.work_count, cpus);
    }
}

Test(layout, auto_from_four_cpus_on_gives_the_last_to_the_scheduler_alone) {
    for (uint32_t cpus = 4; cpus <= 8; cpus++) {
        struct layout_host host = plain_host(cpus);
        struct layout layout = made_auto(&host);
        cr_assert_eq(layout.count, cpus);
        for (uint32_t i = 0; i < cpus; i++) {
            is_core(&layout.cores[i], i, i == cpus - 1 ? "s" : "nw");
        }
        cr_assert_eq(layout.net_count, cpus - 1);
        cr_assert_eq(layout.work_count, cpus - 1);
        cr_assert_eq(layout.ctl_cpu, (int32_t)cpus - 1, "control runs beside the scheduler");
    }
}

Test(layout, auto_takes_one_sibling_of_each_core_where_four_cores_are_left) {
    struct layout_host host = smt_host(8);
    struct layout layout = made_auto(&host);
    cr_assert_eq(layout.count, 4);
    is_core(&layout.cores[0], 0, "nw");
    is_core(&layout.cores[2], 2, "nw");
    is_core(&layout.cores[3], 3, "s");
}

Test(layout, auto_takes_siblings_too_where_cores_are_few) {
    struct layout_host host = smt_host(4);
    struct layout layout = made_auto(&host);
    cr_assert_eq(layout.count, 4);
    is_core(&layout.cores[2], 2, "nw");
    is_core(&layout.cores[3], 3, "s");
    host = smt_host(2);
    layout = made_auto(&host);
    cr_assert_eq(layout.count, 2);
    is_core(&layout.cores[1], 1, "nws");
}

Test(layout, auto_follows_an_allowed_set_with_holes) {
    struct layout_host host = {.count = 3, .cpus = {3, 17, 200}, .core_of = {3, 17, 200}};
    struct layout layout = made_auto(&host);
    cr_assert_eq(layout.count, 3);
    is_core(&layout.cores[0], 3, "nw");
    is_core(&layout.cores[1], 17, "nw");
    is_core(&layout.cores[2], 200, "nws");
}

Test(layout, a_core_carries_its_numa_node_and_whether_it_is_ours_alone) {
    struct layout_host host = plain_host(4);
    host.node_of[2] = host.node_of[3] = 1;
    host.isolated[1] = true;
    struct layout layout = made_auto(&host);
    cr_assert_eq(layout.cores[0].node, 0);
    cr_assert_eq(layout.cores[2].node, 1);
    cr_assert_eq(layout.cores[3].node, 1);
    cr_assert_not(layout.cores[0].alone);
    cr_assert(layout.cores[1].alone);
}

Test(layout, auto_stops_at_as_many_cores_as_bells_can_name) {
    struct layout_host host = plain_host(128);
    struct layout layout = made_auto(&host);
    cr_assert_eq(layout.count, LAYOUT_CORES_MAX);
    cr_assert_eq(layout.work_count, LAYOUT_CORES_MAX - 1);
    cr_assert(layout.cores[LAYOUT_CORES_MAX - 1].sched);
}

Test(layout, empty_lists_mean_auto) {
    struct layout_host host = plain_host(2);
    struct settings settings = lists("", "", "", "");
    struct layout layout = made(&settings, &host);
    cr_assert_eq(layout.count, 2);
    cr_assert(layout.automatic);
}

/* ---- lists */

Test(layout, lists_split_net_from_work) {
    struct layout_host host = plain_host(8);
    struct settings settings = lists("0-3", "5-6", "4", "7");
    struct layout layout = made(&settings, &host);
    cr_assert_not(layout.automatic);
    cr_assert_eq(layout.count, 7);
    for (uint32_t i = 0; i < 4; i++) {
        is_core(&layout.cores[i], i, "n");
    }
    is_core(&layout.cores[4], 5, "w");
    is_core(&layout.cores[5], 6, "w");
    is_core(&layout.cores[6], 4, "s");
    cr_assert_eq(layout.net_count, 4);
    cr_assert_eq(layout.work_count, 2);
    cr_assert_eq(layout.ctl_cpu, 7);
}

Test(layout, lists_take_strides_and_overlap) {
    struct layout_host host = plain_host(8);
    struct settings settings = lists("0-6/2", "2,7", "7", "auto");
    struct layout layout = made(&settings, &host);
    cr_assert_eq(layout.count, 5);
    is_core(&layout.cores[0], 0, "n");
    is_core(&layout.cores[1], 2, "nw");
    is_core(&layout.cores[3], 6, "n");
    is_core(&layout.cores[4], 7, "ws");
}

Test(layout, one_list_alone_places_the_other_part_with_it) {
    struct layout_host host = plain_host(8);
    struct settings settings = lists("1,3", "auto", "auto", "auto");
    struct layout layout = made(&settings, &host);
    cr_assert_eq(layout.count, 2);
    is_core(&layout.cores[0], 1, "nw");
    is_core(&layout.cores[1], 3, "nws");
    settings = lists("auto", "2", "auto", "auto");
    layout = made(&settings, &host);
    cr_assert_eq(layout.count, 1);
    is_core(&layout.cores[0], 2, "nws");
}

Test(layout, a_scheduler_core_alone_leaves_the_rest_to_auto) {
    struct layout_host host = plain_host(2);
    struct settings settings = lists("auto", "auto", "0", "auto");
    struct layout layout = made(&settings, &host);
    cr_assert_eq(layout.net_count, 2);
    cr_assert_eq(layout.work_count, 2);
    uint32_t scheds = 0;
    for (uint32_t i = 0; i < layout.count; i++) {
        scheds += layout.cores[i].sched;
        cr_assert(!layout.cores[i].sched || layout.cores[i].cpu == 0);
    }
    cr_assert_eq(scheds, 1);
}

Test(layout, auto_scheduler_beside_lists_goes_to_the_last_work_core) {
    struct layout_host host = plain_host(8);
    struct settings settings = lists("0-1", "2-3", "auto", "auto");
    struct layout layout = made(&settings, &host);
    is_core(&layout.cores[3], 3, "ws");
}

Test(layout, what_is_no_core_list_is_named_with_its_flag) {
    struct layout_host host = plain_host(4);
    const char *bad[] = {"zero", "1-", "3-1", "0,0", "0-2,1", "5000"};
    for (size_t i = 0; i < array_count(bad); i++) {
        struct settings settings = lists(bad[i], "auto", "auto", "auto");
        const char *why = refused(&settings, &host);
        cr_assert(strstr(why, "--net-cores"), "%s", why);
        cr_assert(strstr(why, bad[i]), "%s", why);
        settings = lists("auto", bad[i], "auto", "auto");
        cr_assert(strstr(refused(&settings, &host), "--work-cores"));
        settings = lists("auto", "auto", "auto", bad[i]);
        cr_assert(strstr(refused(&settings, &host), "--ctl-core"));
    }
}

Test(layout, a_core_offline_or_outside_the_set_is_named) {
    struct layout_host host = {.count = 2, .cpus = {0, 2}, .core_of = {0, 2}};
    struct settings settings = lists("0-2", "auto", "auto", "auto");
    const char *why = refused(&settings, &host);
    cr_assert(strstr(why, "core 1 "), "%s", why);
    cr_assert(strstr(why, "--overcommit"), "it says the way out: %s", why);
    settings = lists("0", "0", "0", "9");
    why = refused(&settings, &host);
    cr_assert(strstr(why, "--ctl-core") && strstr(why, "core 9 "), "%s", why);
}

Test(layout, two_scheduler_cores_are_refused) {
    struct layout_host host = plain_host(4);
    struct settings settings = lists("0", "1", "2-3", "auto");
    const char *why = refused(&settings, &host);
    cr_assert(strstr(why, "--sched-core"), "%s", why);
    cr_assert(strstr(why, "2"), "%s", why);
}

Test(layout, more_cores_than_bells_can_name_are_refused) {
    struct layout_host host = plain_host(128);
    struct settings settings = lists("0-100", "auto", "auto", "auto");
    const char *why = refused(&settings, &host);
    cr_assert(strstr(why, "62"), "%s", why);
}

/* ---- overcommit */

Test(layout, overcommit_takes_names_modulo_the_allowed_cpus) {
    struct layout_host host = {.count = 2, .cpus = {4, 9}, .core_of = {4, 9}};
    struct settings settings = lists("0-2", "3", "10", "auto");
    settings.cores_overcommit = true;
    struct layout layout = made(&settings, &host);
    cr_assert_eq(layout.count, 5);
    static const uint32_t cpus[] = {4, 9, 4, 9, 4};
    static const uint32_t names[] = {0, 1, 2, 3, 10};
    for (uint32_t i = 0; i < layout.count; i++) {
        cr_assert_eq(layout.cores[i].cpu, cpus[i]);
        cr_assert_eq(layout.cores[i].name, names[i]);
    }
}

Test(layout, overcommit_prefers_the_cpu_that_is_really_named) {
    struct layout_host host = {.count = 2, .cpus = {4, 9}, .core_of = {4, 9}};
    struct settings settings = lists("9", "auto", "auto", "auto");
    settings.cores_overcommit = true;
    struct layout layout = made(&settings, &host);
    cr_assert_eq(layout.cores[0].cpu, 9);
}

/* ---- words, and this machine */

Test(layout, description_names_cores_cpus_and_parts) {
    struct layout_host host = plain_host(2);
    struct layout layout = made_auto(&host);
    char text[256];
    size_t used = layout_describe(&layout, text, sizeof text);
    cr_assert_str_eq(text, "core 0 (cpu 0): net work | core 1 (cpu 1): net work sched");
    cr_assert_eq(used, strlen(text));
}

Test(layout, description_that_does_not_fit_is_cut_and_terminated) {
    struct layout_host host = plain_host(8);
    struct layout layout = made_auto(&host);
    for (size_t room = 1; room < 200; room++) {
        char text[200];
        memset(text, 'x', sizeof text);
        size_t used = layout_describe(&layout, text, room);
        cr_assert_lt(used, room);
        cr_assert_eq(strlen(text), used);
    }
}

Test(layout, host_read_finds_the_cpus_this_process_may_use) {
    static struct layout_host host;
    cr_assert_eq(layout_host_read(&host), 0);
    cr_assert_geq(host.count, 1);
    for (uint32_t i = 1; i < host.count; i++) {
        cr_assert_lt(host.cpus[i - 1], host.cpus[i], "rising");
    }
    struct layout layout = made_auto(&host);
    cr_assert_geq(layout.net_count, 1);
}
