/* SPDX-License-Identifier: MIT */
#include "tools/millrace/human.h"

#include <criterion/criterion.h>

static char text[HUMAN_MAX];

Test(human, bytes_are_in_powers_of_1024) {
    cr_assert_str_eq(human_bytes(0, text), "0 B");
    cr_assert_str_eq(human_bytes(1023, text), "1023 B");
    cr_assert_str_eq(human_bytes(1536, text), "1.5 KiB");
    cr_assert_str_eq(human_bytes(200 * MiB, text), "200 MiB");
    cr_assert_str_eq(human_bytes(UINT64_MAX, text), "16.0 EiB");
}

Test(human, counts_have_commas) {
    cr_assert_str_eq(human_count(7, text), "7");
    cr_assert_str_eq(human_count(1000, text), "1,000");
    cr_assert_str_eq(human_count(UINT64_MAX, text), "18,446,744,073,709,551,615");
}

Test(human, times_and_latencies_keep_two_figures) {
    cr_assert_str_eq(human_time(0.25, text), "0.2s");
    cr_assert_str_eq(human_time(59, text), "59s");
    cr_assert_str_eq(human_time(185, text), "3m05s");
    cr_assert_str_eq(human_time(7260, text), "2h01m");
    cr_assert_str_eq(human_time(3 * 86400, text), "3d00h");
    cr_assert_str_eq(human_us(850, text), "850 us");
    cr_assert_str_eq(human_us(12400, text), "12.4 ms");
    cr_assert_str_eq(human_us(2.5e6, text), "2.5 s");
}
