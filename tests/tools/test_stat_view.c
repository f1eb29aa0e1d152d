/* SPDX-License-Identifier: MIT */
#include "tools/millrace/stat_view.h"

#include "tools/millrace/admin.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* admin.c reads flags of the command line, and so wants a table of commands. */
const struct cli_command *const cli_commands[] = {NULL};

static json_t *answer(int requests, int corrupt) {
    json_t *json = json_pack(
        "{s:s, s:s, s:i, s:i, s:{s:i, s:i, s:i}, s:[{s:i, s:i, s:[s,s], s:f, s:{s:i, s:i}}],"
        " s:[{s:s, s:i, s:i, s:i, s:i}], s:[{s:s, s:i, s:i, s:i}]}",
        "version", "0.1.0", "state", "serving", "pid", 7, "uptime_s", 65, "store", "blocks", 12345,
        "puts", requests, "corrupt", corrupt, "cores", "core", 0, "cpu", 0, "tiles", "net", "work",
        "busy_ratio", 0.5, "net", "light", requests, "heavy", 0, "classes", "class", "critical",
        "requests", requests, "queued_light", 1, "queued_heavy", 2, "p99_us", 850, "rings", "ring",
        "class-low", "size", 64, "count", 3, "full", 0);
    cr_assert_not_null(json);
    return json;
}

static char *shown(const json_t *now, const json_t *before, double seconds) {
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    stat_view(out, now, before, seconds);
    fclose(out);
    return text;
}

Test(stat_view, totals_and_rates_come_of_the_same_answer) {
    json_t *before = answer(1000, 0), *now = answer(5000, 0);
    char *totals = shown(now, NULL, 0), *rates = shown(now, before, 2);
    cr_assert(strstr(totals, "12,345 blocks") != NULL, "%s", totals);
    cr_assert(strstr(totals, "5,000") != NULL);
    cr_assert(strstr(totals, "up 1m05s") != NULL);
    cr_assert(strstr(totals, "net+work") != NULL);
    cr_assert(strstr(totals, "850 us") != NULL);
    cr_assert(strstr(rates, "2,000") != NULL, "4,000 in 2 s: %s", rates);
    cr_assert(strstr(rates, "requests/s") != NULL);
    cr_assert_null(strstr(totals, "TROUBLE"));
    free(totals);
    free(rates);
    json_decref(before);
    json_decref(now);
}

Test(stat_view, trouble_is_named) {
    json_t *now = answer(1, 3);
    json_object_set_new(json_object_get(now, "store"), "full", json_integer(25));
    json_object_set_new(json_object_get(now, "store"), "free_bytes", json_integer(2 << 20));
    char *text = shown(now, NULL, 0);
    cr_assert(strstr(text, "TROUBLE  3 reads did not verify since the start") != NULL, "%s", text);
    cr_assert(strstr(text, "25 puts were refused since the start: no space; 2.0 MiB free now") !=
                  NULL,
              "%s", text);
    free(text);
    json_decref(now);
}

Test(stat_view, a_tier_that_is_not_all_there_says_why) {
    json_t *now = answer(1, 0);
    json_object_set_new(now, "tiers",
                        json_pack("[{}, {s:s, s:s, s:s, s:s}]", "name", "slow", "kind", "hdd",
                                  "state", "missing", "waits", "restart the daemon to take it up"));
    char *text = shown(now, NULL, 0);
    cr_assert(strstr(text, "TROUBLE  slow: restart the daemon to take it up") != NULL, "%s", text);
    free(text);
    json_decref(now);
}

Test(stat_view, an_answer_without_anything_is_shown_all_the_same) {
    json_t *empty = json_object();
    char *text = shown(empty, empty, 1);
    cr_assert_not_null(text);
    FILE *out = fopen("/dev/null", "we");
    topo_view(out, empty);
    why_view(out, empty);
    stat_line_heading(out);
    stat_line(out, empty, empty, 1);
    fclose(out);
    free(text);
    json_decref(empty);
}

Test(stat_view, admin_paths_go_down_and_missing_is_nothing) {
    json_t *now = answer(1, 0);
    cr_assert_eq((int)admin_number(now, "store.blocks"), 12345);
    cr_assert_eq((int)admin_number(now, "store.none"), 0);
    cr_assert_eq((int)admin_number(now, "none.at.all"), 0);
    cr_assert_str_eq(admin_text(now, "state"), "serving");
    cr_assert_str_eq(admin_text(now, "pid"), "");
    json_decref(now);
}
