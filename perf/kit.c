/* SPDX-License-Identifier: MIT */
#include "perf/kit.h"

#include <errno.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static bool kit_json;

static void kit_help(const char *program, const struct kit_option options[], uint32_t count) {
    printf("%s: a program of perf/, see docs/performance.md\n", program);
    for (uint32_t i = 0; i < count; i++) {
        printf("  %-14s %s (%llu)\n", options[i].name, options[i].help,
               (unsigned long long)*options[i].value);
    }
    printf("  %-14s one JSON object instead of lines\n", "--json");
}

static const struct kit_option *kit_option_of(const char *name, const struct kit_option options[],
                                              uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(options[i].name, name) == 0) {
            return &options[i];
        }
    }
    fprintf(stderr, "no such option: %s (--help lists them)\n", name);
    exit(2);
}

void kit_options(int argc, char **argv, const struct kit_option options[], uint32_t count) {
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            kit_json = true;
            continue;
        }
        if (strcmp(argv[i], "--help") == 0) {
            kit_help(argv[0], options, count);
            exit(0);
        }
        const struct kit_option *option = kit_option_of(argv[i], options, count);
        if (i + 1 == argc || argv[i + 1][0] == '-') {
            *option->value = 1;
            continue;
        }
        char *end = NULL;
        errno = 0;
        *option->value = strtoull(argv[++i], &end, 10);
        if (errno != 0 || *end != '\0') {
            fprintf(stderr, "%s needs a number, not %s\n", option->name, argv[i]);
            exit(2);
        }
    }
}

void kit_fail(const char *what) {
    fprintf(stderr, "failed: %s (%s)\n", what, strerror(errno));
    exit(1);
}

void kit_skip(const char *why) {
    fprintf(stderr, "skipped: %s\n", why);
    exit(77);
}

bool kit_pin(uint32_t cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    return sched_setaffinity(0, sizeof set, &set) == 0;
}

uint32_t kit_cpus(void) {
    static uint32_t cpus; /* asked once: kit_pin shrinks the set */
    cpu_set_t set;
    if (cpus == 0) {
        cpus = sched_getaffinity(0, sizeof set, &set) == 0 ? (uint32_t)CPU_COUNT(&set) : 1;
    }
    return cpus;
}

void *kit_map(size_t bytes) {
    size_t whole = (bytes + 2 * MiB - 1) & ~(size_t)(2 * MiB - 1);
    /* Two MiB more, so that the part we use can start on a huge page's edge. */
    uint8_t *base = mmap(NULL, whole + 2 * MiB, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) {
        kit_fail("memory for the bench");
    }
    uint8_t *start = (uint8_t *)(((uintptr_t)base + 2 * MiB - 1) & ~(uintptr_t)(2 * MiB - 1));
    (void)madvise(start, whole, MADV_HUGEPAGE); /* refused: slower, and still right */
    memset(start, 0, whole);
    return start;
}

uint64_t kit_cpu_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static int kit_order(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

uint64_t kit_quantile(uint64_t samples[], size_t count, double q) {
    if (count == 0) {
        return 0;
    }
    qsort(samples, count, sizeof samples[0], kit_order);
    size_t at = (size_t)((double)count * q);
    return samples[at < count ? at : count - 1];
}

void kit_begin(const char *program) {
    if (kit_json) {
        printf("{\"program\":\"%s\"", program);
    } else {
        printf("%s\n", program);
    }
}

void kit_number(const char *name, double value, const char *unit) {
    if (kit_json && !isfinite(value)) {
        printf(",\"%s\":null", name);
    } else if (kit_json) {
        printf(",\"%s\":%.6g", name, value);
    } else {
        printf("  %-28s %14.2f %s\n", name, value, unit);
    }
}

void kit_text(const char *name, const char *value) {
    if (kit_json) {
        printf(",\"%s\":\"%s\"", name, value);
    } else {
        printf("  %-28s %s\n", name, value);
    }
}

void kit_end(void) {
    if (kit_json) {
        printf("}\n");
    }
    fflush(stdout);
}
