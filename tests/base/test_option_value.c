/* SPDX-License-Identifier: MIT */
/* Tests base/option_value.c: the parsers of option.h by themselves. */
#include "base/option.h"

#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

Test(option_value, sizes_are_read_with_every_unit) {
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {
        {"0", 0},
        {"1048576", 1048576},
        {"7B", 7},
        {"1K", 1024},
        {"1k", 1024},
        {"1KB", 1024},
        {"1kb", 1024},
        {"1KiB", 1024},
        {"64MiB", 64 * MiB},
        {"64m", 64 * MiB},
        {"2G", 2 * GiB},
        {"2GB", 2 * GiB},
        {"3T", 3072 * GiB},
        {"3TiB", 3072 * GiB},
        {"1.5GiB", 1536 * MiB},
        {"0.5K", 512},
        {"256 KiB", 256 * KiB},
        {"18446744073709551615", UINT64_MAX},
        {"16777215T", 16777215 * KiB * GiB},
    };
    for (size_t i = 0; i < array_count(good); i++) {
        uint64_t bytes;
        cr_assert_eq(option_size(good[i].text, &bytes), 0, "%s", good[i].text);
        cr_assert_eq(bytes, good[i].bytes, "%s", good[i].text);
    }
    static const char *const bad[] = {"",
                                      "K",
                                      "-1",
                                      "+1",
                                      " 1",
                                      "1  K",
                                      "1P",
                                      "1X",
                                      "1KiBs",
                                      "0.1K",
                                      "1.5",
                                      "1.",
                                      ".5K",
                                      "0x10",
                                      "1e3",
                                      "1,000",
                                      "1 K ",
                                      "1.0000000001K",
                                      "18446744073709551616",
                                      "16777216T"};
    for (size_t i = 0; i < array_count(bad); i++) {
        uint64_t bytes = 77;
        cr_assert_eq(option_size(bad[i], &bytes), OPTION_BAD, "%s", bad[i]);
        cr_assert_eq(bytes, 77);
    }
}

Test(option_value, durations_are_read_with_every_unit) {
    static const struct {
        const char *text;
        uint64_t ns;
    } good[] = {
        {"0", 0},
        {"0s", 0},
        {"5ns", 5},
        {"5us", 5000},
        {"10ms", 10 * NS_PER_MS},
        {"1s", NS_PER_S},
        {"2m", 120 * NS_PER_S},
        {"3h", 10800 * NS_PER_S},
        {"1d", 86400 * NS_PER_S},
        {"1.5s", 1500 * NS_PER_MS},
        {"10 s", 10 * NS_PER_S},
        {"1h30m", 5400 * NS_PER_S},
        {"1s500ms", 1500 * NS_PER_MS},
        {"0.000000001s", 1},
    };
    for (size_t i = 0; i < array_count(good); i++) {
        uint64_t ns;
        cr_assert_eq(option_duration(good[i].text, &ns), 0, "%s", good[i].text);
        cr_assert_eq(ns, good[i].ns, "%s", good[i].text);
    }
    static const char *const bad[] = {"",     "10",  "s",     "1 parsec",     "10 parsecs", "-1s",
                                      "1S",   "1MS", "1s1s",  "1m1h",         "1h30",       "1.5ns",
                                      "1sms", "1s ", "0.1.s", "999999999999d"};
    for (size_t i = 0; i < array_count(bad); i++) {
        uint64_t ns = 77;
        cr_assert_eq(option_duration(bad[i], &ns), OPTION_BAD, "%s", bad[i]);
        cr_assert_eq(ns, 77);
    }
}

Test(option_value, counts_are_plain_digits) {
    uint64_t count;
    cr_assert_eq(option_count("4096", &count), 0);
    cr_assert_eq(count, 4096);
    cr_assert_eq(option_count("18446744073709551615", &count), 0);
    cr_assert_eq(count, UINT64_MAX);
    static const char *const bad[] = {"", "4k", "1.0", "-1", "1 ", "18446744073709551616"};
    for (size_t i = 0; i < array_count(bad); i++) {
        cr_assert_eq(option_count(bad[i], &count), OPTION_BAD, "%s", bad[i]);
    }
}

Test(option_value, ratios_are_parts_or_percents) {
    double ratio;
    static const struct {
        const char *text;
        double ratio;
    } good[] = {{"0", 0}, {"1", 1}, {"0.25", .25}, {"25%", .25}, {"100%", 1}, {"12.5%", .125}};
    for (size_t i = 0; i < array_count(good); i++) {
        cr_assert_eq(option_ratio(good[i].text, &ratio), 0, "%s", good[i].text);
        cr_assert_float_eq(ratio, good[i].ratio, 1e-12);
    }
    static const char *const bad[] = {"", "1.1", "101%", "-0.1", "nan", "0.5 %", "0,5", "1e-3"};
    for (size_t i = 0; i < array_count(bad); i++) {
        cr_assert_eq(option_ratio(bad[i], &ratio), OPTION_BAD, "%s", bad[i]);
    }
}

Test(option_value, random_numbers_come_back_from_their_text) {
    srand(5);
    for (int round = 0; round < 20000; round++) {
        uint64_t value = 0;
        for (int i = 0; i < 4; i++) {
            value = value << 16 ^ (uint64_t)rand();
        }
        value >>= rand() % 64;
        value = value >> 1 << rand() % 2;
        char text[32];
        uint64_t again;
        cr_assert_eq(option_size_format(value, text, sizeof text), strlen(text));
        cr_assert_eq(option_size(text, &again), 0, "%s", text);
        cr_assert_eq(again, value);
        cr_assert_eq(option_duration_format(value, text, sizeof text), strlen(text));
        cr_assert_eq(option_duration(text, &again), 0, "%s", text);
        cr_assert_eq(again, value);
    }
}

static bool has(const uint64_t map[CORES_MAX / 64], uint32_t core) {
    return map[core / 64] >> core % 64 & 1;
}

static uint32_t cores_in(const uint64_t map[CORES_MAX / 64]) {
    uint32_t count = 0;
    for (uint32_t core = 0; core < CORES_MAX; core++) {
        count += has(map, core);
    }
    return count;
}

Test(option_value, core_lists_are_what_taskset_takes) {
    uint64_t map[CORES_MAX / 64];
    bool automatic = true;
    cr_assert_eq(option_cores("0-3,8", map, &automatic), 0);
    cr_assert_not(automatic);
    cr_assert_eq(map[0], 0x10f);
    cr_assert_eq(cores_in(map), 5);
    cr_assert_eq(option_cores("0-10/2", map, &automatic), 0);
    cr_assert_eq(map[0], 0x555);
    cr_assert_eq(option_cores("1-10:3", map, &automatic), 0);
    cr_assert_eq(map[0], 0x492);
    cr_assert_eq(option_cores("1023", map, &automatic), 0);
    cr_assert(has(map, 1023));
    cr_assert_eq(option_cores("0-1023", map, &automatic), 0);
    cr_assert_eq(cores_in(map), CORES_MAX);
    cr_assert_eq(option_cores("5-5", map, &automatic), 0);
    cr_assert_eq(map[0], 0x20);
    cr_assert_eq(option_cores("auto", map, &automatic), 0);
    cr_assert(automatic);
    cr_assert_eq(cores_in(map), 0);
}

Test(option_value, bad_core_lists_are_refused_and_change_nothing) {
    static const char *const bad[] = {
        "",    ",",   "1,",    "3-1",   "1024",     "0-1024",
        "a",   "0-",  "-3",    "0-3/0", "0-3/",     "1/2",
        "0 1", "0,0", "0-3,2", "autos", "0-3,auto", "99999999999999999999"};
    for (size_t i = 0; i < array_count(bad); i++) {
        uint64_t map[CORES_MAX / 64] = {77};
        bool automatic = true;
        cr_assert_eq(option_cores(bad[i], map, &automatic), OPTION_BAD, "%s", bad[i]);
        cr_assert_eq(map[0], 77);
        cr_assert(automatic);
    }
}
