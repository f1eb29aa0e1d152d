/* SPDX-License-Identifier: MIT */
#include "engine/settings.h"

#include "base/option.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct settings defaults(void) {
    struct settings settings;
    memset(&settings, 0, sizeof settings);
    option_defaults(settings_table, settings_rows, &settings);
    return settings;
}

static int listeners(const char *text, struct listener_address *list, uint32_t *count) {
    static char why[512];
    return settings_listeners(text, list, count, why, sizeof why);
}

Test(settings, defaults_lie_in_their_ranges_and_pass_the_check) {
    struct settings settings = defaults();
    const char *name = NULL;
    char why[256] = "";
    cr_assert_eq(settings_check(&settings, &name, why, sizeof why), 0, "%s", why);
    cr_assert_str_eq(settings.tlv_listen, "127.0.0.1:7411");
    cr_assert_str_eq(settings.store_dir, "./run");
    cr_assert_eq(settings.cores_idle, IDLE_ADAPTIVE);
    cr_assert(settings.sched_shed);
    cr_assert_not(settings.cores_overcommit);
}

Test(settings, every_row_has_help_and_a_name_of_section_and_key) {
    for (size_t i = 0; i < settings_rows; i++) {
        const struct option *row = &settings_table[i];
        cr_assert(strchr(row->name, '.') != NULL, "%s", row->name);
        cr_assert(row->help[strlen(row->help) - 1] == '.', "%s: a sentence ends in a stop",
                  row->name);
        cr_assert_eq(option_find(settings_table, settings_rows, row->name), row);
        cr_assert(row->unit != NULL && row->fallback != NULL);
    }
}

Test(settings, every_default_survives_format_and_parse) {
    struct settings settings = defaults(), again = defaults();
    for (size_t i = 0; i < settings_rows; i++) {
        char text[1200], why[256];
        option_format(&settings_table[i], &settings, text, sizeof text);
        cr_assert_eq(option_parse(&settings_table[i], &again, text, why, sizeof why), 0, "%s", why);
    }
    cr_assert_eq(memcmp(&settings, &again, sizeof settings), 0);
}

Test(settings, a_listener_has_address_port_and_ceiling) {
    struct listener_address list[SETTINGS_LISTENERS_MAX];
    uint32_t count = 0;
    cr_assert_eq(listeners("127.0.0.1:7411  0.0.0.0:80,ceiling=low\t[::1]:1,ceiling=high "
                           "localhost:0 [2001:db8::1]:65535",
                           list, &count),
                 0);
    cr_assert_eq(count, 5);
    cr_assert_str_eq(list[0].host, "127.0.0.1");
    cr_assert_eq(list[0].port, 7411);
    cr_assert_eq(list[0].ceiling, CLASS_CRITICAL, "loopback");
    cr_assert(list[0].loopback);
    cr_assert_eq(list[1].ceiling, CLASS_LOW);
    cr_assert_not(list[1].loopback);
    cr_assert_str_eq(list[2].host, "::1");
    cr_assert_eq(list[2].ceiling, CLASS_HIGH);
    cr_assert(list[2].loopback);
    cr_assert_str_eq(list[3].host, "127.0.0.1");
    cr_assert_eq(list[3].port, 0);
    cr_assert_eq(list[4].ceiling, CLASS_NORMAL, "not loopback");
}

Test(settings, what_is_no_listener_is_refused_with_a_sentence) {
    static const char *const bad[] = {
        "",
        "   ",
        "7411",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:+1",
        "127.0.0.1:7411x",
        "::1:7411",
        "[::1:7411",
        "[127.0.0.1]:7411",
        "example.org:7411",
        "127.0.0.1:1,ceiling=vip",
        "127.0.0.1:1,roof=low",
        "127.0.0.1:1,",
        "256.0.0.1:1",
        ":7411",
    };
    for (size_t i = 0; i < array_count(bad); i++) {
        struct listener_address list[SETTINGS_LISTENERS_MAX];
        uint32_t count = 77;
        char why[512] = "";
        cr_assert_eq(settings_listeners(bad[i], list, &count, why, sizeof why), OPTION_BAD,
                     "'%s' was taken", bad[i]);
        cr_assert_gt(strlen(why), 10);
        cr_assert_eq(count, 77, "untouched");
    }
}

Test(settings, sixteen_listeners_fit_and_seventeen_do_not) {
    struct listener_address list[SETTINGS_LISTENERS_MAX];
    uint32_t count = 0;
    char text[1024] = "";
    for (int i = 0; i < SETTINGS_LISTENERS_MAX; i++) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "127.0.0.1:%d ", 7000 + i);
    }
    cr_assert_eq(listeners(text, list, &count), 0);
    cr_assert_eq(count, SETTINGS_LISTENERS_MAX);
    size_t used = strlen(text);
    snprintf(text + used, sizeof text - used, "127.0.0.1:9");
    cr_assert_eq(listeners(text, list, &count), OPTION_BAD);
}

static const char *checked(const struct settings *settings) {
    static char why[512];
    const char *name = NULL;
    return settings_check(settings, &name, why, sizeof why) == 0 ? NULL : name;
}

Test(settings, the_check_names_the_row_that_is_wrong) {
    struct settings settings = defaults();
    settings.store_segment_bytes = 5 * MiB;
    cr_assert_str_eq(checked(&settings), "store.segment_size");
    settings.store_segment_bytes = 2 * MiB;
    cr_assert_str_eq(checked(&settings), "store.segment_size");
    settings.store_segment_bytes = 4 * MiB;
    cr_assert_null(checked(&settings));
    snprintf(settings.cores_net, sizeof settings.cores_net, "0-");
    cr_assert_str_eq(checked(&settings), "cores.net");
    snprintf(settings.cores_net, sizeof settings.cores_net, "0-3,8");
    snprintf(settings.cores_sched, sizeof settings.cores_sched, "1-2");
    cr_assert_str_eq(checked(&settings), "cores.sched");
    snprintf(settings.cores_sched, sizeof settings.cores_sched, "4");
    snprintf(settings.tlv_listen, sizeof settings.tlv_listen, "nowhere");
    cr_assert_str_eq(checked(&settings), "tlv.listen");
}
