/* SPDX-License-Identifier: MIT */
/* The Bitswap generator over loopback, against a toy server: tools/load/bitswap/swarm.c,
 * tools/load/bitswap/swarm_run.c, tools/load/bitswap/swarm_main.c, tools/load/machine.c. */

#include "tools/load/bitswap/swarm.h"

#include "base/hash.h"
#include "tests/tools/toy_swarm.h"
#include "tools/load/machine.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define KEYS 2000u

static struct content content;
static struct toy_swarm toy;

static void set_up(void) {
    cr_assert_eq(hash_open(), 0);
    cr_assert_eq(content_open(&content, KEYS, 700, 1, true), 0);
    cr_assert(toy_swarm_start(&toy, &content));
}

static void tear_down(void) {
    toy_swarm_stop(&toy);
    content_close(&content);
}

static void run(const char *more, struct result *result) {
    static struct swarm swarm;
    static struct swarm_plan plan;
    char line[300], why[400] = "", *words[40] = {"bitswap"}, *rest = NULL;
    int count = 1;
    snprintf(line, sizeof line, "--to 127.0.0.1:%u --size 700 --keys %u --warmup 0.1 %s", toy.port,
             KEYS, more);
    for (char *word = strtok_r(line, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        words[count++] = word;
    }
    cr_assert_eq(swarm_options(count, words, &plan, why, sizeof why), 0, "%s", why);
    cr_assert_eq(swarm_open(&swarm, &plan, &content, why, sizeof why), 0, "%s", why);
    cr_assert_eq(swarm_dial(&swarm, why, sizeof why), 0, "%s", why);
    cr_assert_eq(swarm.settled, plan.plan.conns);
    swarm_run(&swarm, result);
    swarm_close(&swarm);
}

Test(swarm_run, a_closed_loop_measures_what_it_was_answered, .init = set_up, .fini = tear_down,
     .timeout = 60) {
    static struct result result;
    run("--conns 20 --active 5 --depth 16 --seconds 0.5", &result);
    cr_assert_gt(result.total.requests, 100);
    cr_assert_leq(result.total.requests, toy.wants);
    cr_assert_eq(result.total.bytes, result.total.requests * 700);
    cr_assert_eq(result.total.errors + result.total.wrong + result.unanswered, 0);
    cr_assert_eq(toy.accepted, 20);
    cr_assert_gt(result.sample_count, 0);
    cr_assert_gt(result.cpu_seconds, 0);
}

Test(swarm_run, an_open_loop_asks_at_its_rate, .init = set_up, .fini = tear_down, .timeout = 60) {
    static struct result result;
    run("--conns 4 --rate 2000 --seconds 1 --mix 1:1", &result);
    uint64_t all = result.total.requests + result.total.late;
    cr_assert_geq(all, 1999);
    cr_assert_leq(all, 2001);
    cr_assert_eq(result.total.errors + result.total.wrong + result.unanswered, 0);
    cr_assert_str_eq(result.extras[0].name, "haves");
    cr_assert_gt(result.extras[0].count, 100);
}

Test(swarm_run, nobody_there_is_said, .init = set_up, .fini = tear_down, .timeout = 60) {
    char command[300];
    struct toy_swarm gone;
    cr_assert(toy_swarm_start(&gone, &content));
    toy_swarm_stop(&gone);
    snprintf(command, sizeof command, "%s bitswap --to 127.0.0.1:%u --keys 200 --seconds 1 2>&1",
             LOAD_PROGRAM, gone.port);
    FILE *out = popen(command, "r");
    char text[400] = "";
    cr_assert_gt(fread(text, 1, sizeof text - 1, out), 0);
    cr_assert_eq(WEXITSTATUS(pclose(out)), 1);
    cr_assert(strstr(text, "could not connect") != NULL, "%s", text);
}

Test(machine, a_process_that_is_not_there_has_no_cpu_time) {
    char why[200];
    cr_assert_lt(machine_cpu(0), 0);
    cr_assert_geq(machine_cpu(getpid()), 0);
    cr_assert_eq(machine_files(10, why, sizeof why), 0);
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    cr_assert_geq(limit.rlim_cur, 74);
}
