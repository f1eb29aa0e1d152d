/* SPDX-License-Identifier: MIT */
#include "tools/millrace/human.h"

#include <stdio.h>
#include <string.h>

const char *human_bytes(uint64_t bytes, char text[HUMAN_MAX]) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1024 && unit + 1 < array_count(units)) {
        value /= 1024;
        unit++;
    }
    snprintf(text, HUMAN_MAX, unit == 0 || value >= 100 ? "%.0f %s" : "%.1f %s", value,
             units[unit]);
    return text;
}

const char *human_count(uint64_t count, char text[HUMAN_MAX]) {
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%llu", (unsigned long long)count);
    size_t used = 0;
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0) {
            text[used++] = ',';
        }
        text[used++] = digits[i];
    }
    text[used] = '\0';
    return text;
}

const char *human_time(double seconds, char text[HUMAN_MAX]) {
    uint64_t whole = (uint64_t)seconds;
    if (seconds < 10) {
        snprintf(text, HUMAN_MAX, "%.1fs", seconds);
    } else if (whole < 60) {
        snprintf(text, HUMAN_MAX, "%llus", (unsigned long long)whole);
    } else if (whole < 3600) {
        snprintf(text, HUMAN_MAX, "%llum%02llus", (unsigned long long)(whole / 60),
                 (unsigned long long)(whole % 60));
    } else if (whole < 48 * 3600) {
        snprintf(text, HUMAN_MAX, "%lluh%02llum", (unsigned long long)(whole / 3600),
                 (unsigned long long)(whole / 60 % 60));
    } else {
        snprintf(text, HUMAN_MAX, "%llud%02lluh", (unsigned long long)(whole / 86400),
                 (unsigned long long)(whole / 3600 % 24));
    }
    return text;
}

const char *human_us(double us, char text[HUMAN_MAX]) {
    if (us < 1000) {
        snprintf(text, HUMAN_MAX, "%.0f us", us);
    } else if (us < 1e6) {
        snprintf(text, HUMAN_MAX, us < 1e5 ? "%.1f ms" : "%.0f ms", us / 1e3);
    } else {
        snprintf(text, HUMAN_MAX, "%.1f s", us / 1e6);
    }
    return text;
}
