/* SPDX-License-Identifier: MIT */
#include "tools/load/options.h"

#include "tools/load/options_value.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct plan plan;
static char why[400];

static int read_line(const char *line) {
    static char copy[500];
    char *words[64];
    int count = 0;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *rest = copy, *word; (word = strsep(&rest, " ")) != NULL;) {
        words[count++] = word;
    }
    words[count] = NULL;
    why[0] = '\0';
    return options_read(count, words, &plan, why, sizeof why);
}

Test(load_options, the_issues_command_line_is_understood) {
    cr_assert_eq(read_line("tlv --to 127.0.0.1:7411 --conns 100 --depth 16 --size 1KiB --keys 1000 "
                           "--mix 90:10 --seconds 3 --rate 50000 --json"),
                 0, "%s", why);
    cr_assert(plan.conns == 100 && plan.depth == 16 && plan.size == 1024 && plan.keys == 1000);
    cr_assert(plan.reads == 90 && plan.writes == 10 && plan.json && plan.fill);
    cr_assert_float_eq(plan.rate, 50000, 0);
    cr_assert_eq(plan.wire, &wire_tlv);
}

Test(load_options, classes_take_weights_and_rates) {
    cr_assert_eq(read_line("tlv --to 127.0.0.1:1 --conns 110 --class critical=10@500,low=100@9000"),
                 0, "%s", why);
    cr_assert(plan.class_weight[0] == 10 && plan.class_weight[3] == 100);
    cr_assert_float_eq(plan.class_rate[3], 9000, 0);
    cr_assert_float_eq(plan.rate, 9500, 0, "rates of the classes make an open loop");
    cr_assert_eq(plan.depth, 64, "an open loop keeps sending");
    cr_assert_eq(read_line("tlv --to 127.0.0.1:1 --class low"), 0, "%s", why);
    cr_assert(plan.class_weight[3] == 1 && plan.rate <= 0);
}

Test(load_options, distributions_and_times_have_their_words) {
    cr_assert_eq(read_line("tlv --to 127.0.0.1:1 --dist zipf:1.2 --seconds 200ms --warmup 0"), 0);
    cr_assert_float_eq(plan.zipf_s, 1.2, 1e-9);
    cr_assert_float_eq(plan.seconds, 0.2, 1e-9);
    cr_assert_eq(read_line("tlv --to [::1]:7411 --dist zipf --cpus 1,3-4"), 0, "%s", why);
    cr_assert_float_eq(plan.zipf_s, 0.99, 1e-9);
    cr_assert(plan.cpu_count == 3 && plan.cpus[2] == 4);
}

Test(load_options, http_needs_no_size_and_asks_for_its_path) {
    cr_assert_eq(read_line("http --to 127.0.0.1:80 --path /x"), 0, "%s", why);
    cr_assert_str_eq(plan.request_text, "GET /x HTTP/1.1\r\nHost: 127.0.0.1:80\r\n\r\n");
    cr_assert(plan.size == 0 && !plan.fill);
}

Test(load_options, every_mistake_is_a_sentence_that_names_it) {
    static const char *const lines[][2] = {
        {"", "protocol"},
        {"gopher", "gopher"},
        {"tlv", "--to"},
        {"tlv --to nowhere", "nowhere"},
        {"tlv --to 127.0.0.1:1 --conns 0", "--conns"},
        {"tlv --to 127.0.0.1:1 --conns x", "--conns"},
        {"tlv --to 127.0.0.1:1 --size 7", "--size"},
        {"tlv --to 127.0.0.1:1 --mix 0:0", "--mix"},
        {"tlv --to 127.0.0.1:1 --rate -5", "--rate"},
        {"tlv --to 127.0.0.1:1 --seconds soon", "soon"},
        {"tlv --to 127.0.0.1:1 --class urgent", "urgent"},
        {"tlv --to 127.0.0.1:1 --dist normal", "normal"},
        {"tlv --to 127.0.0.1:1 --fill maybe", "maybe"},
        {"tlv --to 127.0.0.1:1 --frobnicate", "frobnicate"},
        {"tlv --to 127.0.0.1:1 stray", "stray"},
        {"tlv --to 127.0.0.1:1 --have 3 --ranges", "--have"},
        {"tlv --to 127.0.0.1:1 --class critical=1@10,low=1", "--rate"},
        {"echo --to 127.0.0.1:1 --mix 1:1", "--mix"},
        {"resp --to 127.0.0.1:1 --have 3", "tlv"},
        {"http --to 127.0.0.1:1 --body /nonexistent/body", "/nonexistent/body"},
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        cr_assert_eq(read_line(lines[i][0]), OPTIONS_BAD, "%s", lines[i][0]);
        cr_assert_not_null(strstr(why, lines[i][1]), "'%s' says: %s", lines[i][0], why);
    }
    cr_assert_eq(read_line("tlv --help"), OPTIONS_HELP);
}
