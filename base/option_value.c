/* SPDX-License-Identifier: MIT */
#include "base/option.h"

#include "base/must.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Numbers are read here and not by strtod: the decimal point must not depend on the locale of a
 * terminal program, and a size must come out exact. */
#define OPTION_DECIMALS_MAX 9

struct option_unit {
    const char *name;
    uint64_t value;
};

static const struct option_unit option_sizes[] = {
    {"B", 1},        {"K", KiB},       {"KB", KiB},       {"KiB", KiB}, {"M", MiB},
    {"MB", MiB},     {"MiB", MiB},     {"G", GiB},        {"GB", GiB},  {"GiB", GiB},
    {"T", KiB *GiB}, {"TB", KiB *GiB}, {"TiB", KiB *GiB},
};

static const struct option_unit option_times[] = {
    {"ns", 1},
    {"us", NS_PER_US},
    {"ms", NS_PER_MS},
    {"s", NS_PER_S},
    {"m", 60 * NS_PER_S},
    {"h", 3600 * NS_PER_S},
    {"d", 86400 * NS_PER_S},
};

/* A decimal as it was written: (whole * scale + part) / scale. */
struct option_decimal {
    uint64_t whole, part, scale;
};

static bool option_is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* Returns: what follows the number, NULL where there is none or it is too long. */
static const char *option_decimal_read(const char *text, struct option_decimal *ret_decimal) {
    struct option_decimal decimal = {0, 0, 1};
    if (!option_is_digit(*text)) {
        return NULL;
    }
    for (; option_is_digit(*text); text++) {
        if (__builtin_mul_overflow(decimal.whole, 10u, &decimal.whole) ||
            __builtin_add_overflow(decimal.whole, (uint64_t)(*text - '0'), &decimal.whole)) {
            return NULL;
        }
    }
    if (*text == '.') {
        text++;
        uint32_t digits = 0;
        for (; option_is_digit(*text); text++) {
            if (++digits > OPTION_DECIMALS_MAX) {
                return NULL;
            }
            decimal.part = decimal.part * 10 + (uint64_t)(*text - '0');
            decimal.scale *= 10;
        }
        if (digits == 0) {
            return NULL;
        }
    }
    *ret_decimal = decimal;
    return text;
}

/* decimal * unit, if that is a whole number below 2^64. */
static bool option_scale(const struct option_decimal *decimal, uint64_t unit, uint64_t *ret_value) {
    unsigned __int128 part = (unsigned __int128)decimal->part * unit;
    if (part % decimal->scale != 0) {
        return false;
    }
    unsigned __int128 value = (unsigned __int128)decimal->whole * unit + part / decimal->scale;
    if (value > UINT64_MAX) {
        return false;
    }
    *ret_value = (uint64_t)value;
    return true;
}

int option_count(const char *text, uint64_t *ret_count) {
    struct option_decimal decimal;
    const char *rest = option_decimal_read(text, &decimal);
    if (rest == NULL || *rest || decimal.scale != 1) {
        return OPTION_BAD;
    }
    *ret_count = decimal.whole;
    return 0;
}

int option_size(const char *text, uint64_t *ret_bytes) {
    struct option_decimal decimal;
    const char *rest = option_decimal_read(text, &decimal);
    if (rest == NULL) {
        return OPTION_BAD;
    }
    rest += *rest == ' ';
    if (*rest == 0) {
        return option_scale(&decimal, 1, ret_bytes) ? 0 : OPTION_BAD;
    }
    for (size_t i = 0; i < array_count(option_sizes); i++) {
        if (strcasecmp(option_sizes[i].name, rest) == 0) {
            return option_scale(&decimal, option_sizes[i].value, ret_bytes) ? 0 : OPTION_BAD;
        }
    }
    return OPTION_BAD;
}

/* Case counts here: a month and a minute are not the same to everyone, and "MS" is nobody's unit.
 */
static const struct option_unit *option_time(const char *text, size_t chars) {
    for (size_t i = 0; i < array_count(option_times); i++) {
        const char *name = option_times[i].name;
        if (strlen(name) == chars && strncmp(name, text, chars) == 0) {
            return &option_times[i];
        }
    }
    return NULL;
}

int option_duration(const char *text, uint64_t *ret_ns) {
    if (strcmp(text, "0") == 0) {
        *ret_ns = 0;
        return 0;
    }
    uint64_t sum = 0;
    uint64_t above = UINT64_MAX; /* parts go from large units to small, each once: 1h30m */
    do {
        struct option_decimal decimal;
        const char *rest = option_decimal_read(text, &decimal);
        if (rest == NULL) {
            return OPTION_BAD;
        }
        rest += *rest == ' ';
        size_t chars = strspn(rest, "abcdefghijklmnopqrstuvwxyz");
        const struct option_unit *unit = option_time(rest, chars);
        uint64_t part;
        if (unit == NULL || unit->value >= above || !option_scale(&decimal, unit->value, &part) ||
            __builtin_add_overflow(sum, part, &sum)) {
            return OPTION_BAD;
        }
        above = unit->value;
        text = rest + chars;
    } while (*text);
    *ret_ns = sum;
    return 0;
}

int option_ratio(const char *text, double *ret_ratio) {
    struct option_decimal decimal;
    const char *rest = option_decimal_read(text, &decimal);
    if (rest == NULL) {
        return OPTION_BAD;
    }
    double value = (double)decimal.whole + (double)decimal.part / (double)decimal.scale;
    if (*rest == '%') {
        value /= 100;
        rest++;
    }
    if (*rest || value > 1.0) {
        return OPTION_BAD;
    }
    *ret_ratio = value;
    return 0;
}

/* The largest unit that leaves a whole number. Units stand in growing order. */
static size_t option_unit_format(uint64_t value, const struct option_unit *units, size_t count,
                                 char *text, size_t text_bytes) {
    const struct option_unit *best = &units[0];
    for (size_t i = 0; i < count; i++) {
        if (value != 0 && value % units[i].value == 0) {
            best = &units[i];
        }
    }
    const char *name = best->value == 1 && units == option_sizes ? "" : best->name;
    int n = snprintf(text, text_bytes, "%llu%s", (unsigned long long)(value / best->value), name);
    return n > 0 ? (size_t)n : 0;
}

size_t option_size_format(uint64_t bytes, char *text, size_t text_bytes) {
    return option_unit_format(bytes, option_sizes, array_count(option_sizes), text, text_bytes);
}

size_t option_duration_format(uint64_t ns, char *text, size_t text_bytes) {
    if (ns == 0) {
        return (size_t)snprintf(text, text_bytes, "0");
    }
    return option_unit_format(ns, option_times, array_count(option_times), text, text_bytes);
}

size_t option_ratio_format(double ratio, char *text, size_t text_bytes) {
    must(ratio >= 0.0 && ratio <= 1.0);
    const uint64_t scale = UINT64_C(1000000000); /* OPTION_DECIMALS_MAX digits */
    uint64_t parts = (uint64_t)(ratio * (double)scale + 0.5);
    char digits[32];
    int n = snprintf(digits, sizeof digits, "%llu.%09llu", (unsigned long long)(parts / scale),
                     (unsigned long long)(parts % scale));
    must(n > 0);
    while (digits[n - 1] == '0') {
        digits[--n] = 0;
    }
    if (digits[n - 1] == '.') {
        digits[--n] = 0;
    }
    return (size_t)snprintf(text, text_bytes, "%s", digits);
}

/* One number of a core list. Returns: what follows, NULL where there is none in range. */
static const char *option_core(const char *text, uint64_t most, uint64_t *ret_value) {
    uint64_t value = 0;
    const char *at = text;
    for (; option_is_digit(*at); at++) {
        value = value * 10 + (uint64_t)(*at - '0');
        if (value > most) {
            return NULL;
        }
    }
    *ret_value = value;
    return at == text ? NULL : at;
}

/* One "7", "0-3" or "0-10/2" into the map. Returns: what follows, NULL for a bad one. */
static const char *option_core_range(const char *text, uint64_t map[CORES_MAX / 64]) {
    uint64_t first;
    text = option_core(text, CORES_MAX - 1, &first);
    if (text == NULL) {
        return NULL;
    }
    uint64_t last = first, stride = 1;
    if (*text == '-') {
        text = option_core(text + 1, CORES_MAX - 1, &last);
        /* taskset itself writes the stride with a colon, the kernel's documents with a slash. */
        if (text && (*text == '/' || *text == ':')) {
            text = option_core(text + 1, CORES_MAX, &stride);
        }
        if (text == NULL || stride == 0 || last < first) {
            return NULL;
        }
    }
    for (uint64_t core = first; core <= last; core += stride) {
        uint64_t bit = UINT64_C(1) << core % 64;
        if (map[core / 64] & bit) {
            return NULL;
        }
        map[core / 64] |= bit;
    }
    return text;
}

int option_cores(const char *text, uint64_t ret_map[CORES_MAX / 64], bool *ret_auto) {
    uint64_t map[CORES_MAX / 64] = {0};
    bool automatic = strcmp(text, "auto") == 0;
    while (!automatic) {
        text = option_core_range(text, map);
        if (text == NULL || (*text != 0 && *text != ',')) {
            return OPTION_BAD;
        }
        if (*text == 0) {
            break;
        }
        text++;
    }
    memcpy(ret_map, map, sizeof map);
    *ret_auto = automatic;
    return 0;
}
