/* SPDX-License-Identifier: MIT */
#include "tools/load/options_value.h"

#include "base/must.h"
#include "base/option.h"
#include "tools/load/options.h"

#include <errno.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const class_names[TALLY_CLASSES] = {"critical", "high", "normal", "low"};

int options_refuse(const struct parse *parse, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(parse->why, parse->why_bytes, format, args);
    va_end(args);
    return OPTIONS_BAD;
}

static bool number(const char *text, double low, double high, double *ret_number) {
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= low && value <= high)) {
        return false;
    }
    *ret_number = value;
    return true;
}

static int count_parse(const struct parse *parse, const char *name, const char *text, uint64_t low,
                       uint64_t high, uint64_t *ret_count) {
    char *end;
    errno = 0;
    uint64_t value = strtoull(text, &end, 10);
    if (end == text || *end != '\0' || *text == '-' || errno != 0 || value < low || value > high) {
        return options_refuse(parse, "--%s: '%s' is not a number from %llu to %llu", name, text,
                              (unsigned long long)low, (unsigned long long)high);
    }
    *ret_count = value;
    return 0;
}

static int count32_parse(const struct parse *parse, const char *name, const char *text,
                         uint32_t low, uint32_t high, uint32_t *ret_count) {
    uint64_t value = 0;
    int r = count_parse(parse, name, text, low, high, &value);
    if (r == 0) {
        *ret_count = (uint32_t)value;
    }
    return r;
}

/* Seconds: "10", "0.5", "10s" or "200ms". */
static int seconds_parse(const struct parse *parse, const char *name, const char *text,
                         double *ret_seconds) {
    uint64_t ns;
    if (number(text, 0, 1e6, ret_seconds)) {
        return 0;
    }
    if (option_duration(text, &ns) != 0) {
        return options_refuse(parse, "--%s: '%s' is not a time (try 10, 0.5 or 200ms)", name, text);
    }
    *ret_seconds = (double)ns / (double)NS_PER_S;
    return 0;
}

static int yes_no_parse(const struct parse *parse, const char *name, const char *text, bool *ret) {
    if (strcmp(text, "yes") != 0 && strcmp(text, "no") != 0) {
        return options_refuse(parse, "--%s: say yes or no, not '%s'", name, text);
    }
    *ret = text[0] == 'y';
    return 0;
}

static int to_parse(const struct parse *parse, const char *text) {
    char host[64];
    const char *colon = strrchr(text, ':');
    if (colon == NULL || (size_t)(colon - text) >= sizeof host || colon == text) {
        return options_refuse(parse, "--to: '%s' is not ADDR:PORT (try 127.0.0.1:7411)", text);
    }
    const char *from = text;
    size_t bytes = (size_t)(colon - text);
    if (bytes >= 2 && text[0] == '[' && colon[-1] == ']') {
        from++;
        bytes -= 2;
    }
    memcpy(host, from, bytes);
    host[bytes] = '\0';
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    int r = getaddrinfo(host, colon + 1, &hints, &found);
    if (r != 0) {
        return options_refuse(parse, "--to: '%s': %s", text, gai_strerror(r));
    }
    memcpy(&parse->plan->to, found->ai_addr, found->ai_addrlen);
    parse->plan->to_bytes = found->ai_addrlen;
    snprintf(parse->plan->to_text, sizeof parse->plan->to_text, "%s", text);
    freeaddrinfo(found);
    return 0;
}

static int mix_parse(const struct parse *parse, const char *text) {
    char end;
    if (sscanf(text, "%u:%u%c", &parse->plan->reads, &parse->plan->writes, &end) != 2 ||
        parse->plan->reads > 1000000 || parse->plan->writes > 1000000 ||
        parse->plan->reads + parse->plan->writes == 0) {
        return options_refuse(parse, "--mix: '%s' is not READS:WRITES (try 90:10)", text);
    }
    return 0;
}

static int dist_parse(const struct parse *parse, const char *text) {
    parse->plan->zipf_s = 0;
    if (strcmp(text, "uniform") == 0) {
        return 0;
    }
    if (strcmp(text, "zipf") == 0) {
        parse->plan->zipf_s = 0.99;
        return 0;
    }
    if (strncmp(text, "zipf:", 5) == 0 && number(text + 5, 0.01, 5, &parse->plan->zipf_s)) {
        return 0;
    }
    return options_refuse(parse, "--dist: '%s' is not uniform, zipf or zipf:0.01..5", text);
}

static int class_parse(const struct parse *parse, const char *text) {
    struct plan *plan = parse->plan;
    char copy[160];
    if (strlen(text) >= sizeof copy) {
        return options_refuse(parse, "--class: too long");
    }
    memcpy(copy, text, strlen(text) + 1);
    memset(plan->class_weight, 0, sizeof plan->class_weight);
    char *rest = NULL;
    for (char *word = strtok_r(copy, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
        char name[16] = "";
        uint32_t weight = 1;
        double rate = 0;
        int got = sscanf(word, "%15[a-z]=%u@%lf", name, &weight, &rate);
        uint32_t class = 0;
        while (class < TALLY_CLASSES && strcmp(class_names[class], name) != 0) {
            class ++;
        }
        if (got < 1 || class == TALLY_CLASSES || weight == 0 || weight > 100000 || rate < 0) {
            return options_refuse(
                parse,
                "--class: '%s' is not a class (critical, high, normal, low), with "
                "=WEIGHT and @RATE at will",
                word);
        }
        plan->class_weight[class] = weight;
        plan->class_rate[class] = rate;
    }
    plan->classed = true;
    return 0;
}

static int cpus_parse(const struct parse *parse, const char *text) {
    uint64_t map[CORES_MAX / 64];
    bool is_auto;
    if (option_cores(text, map, &is_auto) != 0 || is_auto) {
        return options_refuse(parse, "--cpus: '%s' is not a list of CPUs (try 1 or 2-3)", text);
    }
    struct plan *plan = parse->plan;
    plan->cpu_count = 0;
    for (uint32_t cpu = 0; cpu < CORES_MAX && plan->cpu_count < PLAN_THREADS_MAX; cpu++) {
        if ((map[cpu / 64] >> (cpu % 64) & 1) != 0) {
            plan->cpus[plan->cpu_count++] = cpu;
        }
    }
    return 0;
}

/* What is asked, and of whom. */
static int shape_apply(struct parse *parse, int id, const char *value) {
    struct plan *plan = parse->plan;
    uint64_t bytes;
    switch (id) {
    case O_TO:
        return to_parse(parse, value);
    case O_CONNS:
        return count32_parse(parse, "conns", value, 1, PLAN_CONNS_MAX, &plan->conns);
    case O_DEPTH:
        parse->depth_given = true;
        return count32_parse(parse, "depth", value, 1, PLAN_DEPTH_MAX, &plan->depth);
    case O_SIZE:
        parse->size_given = true;
        if (option_size(value, &bytes) != 0 || bytes < CONTENT_BYTES_MIN || bytes > 4 * MiB) {
            return options_refuse(parse, "--size: '%s' is not a size from 8 bytes to 4MiB", value);
        }
        plan->size = (uint32_t)bytes;
        return 0;
    case O_KEYS:
        return count_parse(parse, "keys", value, 1, UINT64_C(1) << 32, &plan->keys);
    case O_MIX:
        return mix_parse(parse, value);
    case O_DIST:
        return dist_parse(parse, value);
    case O_CLASS:
        return class_parse(parse, value);
    case O_RANGES:
        plan->ranges = true;
        return 0;
    case O_HAVE:
        return count32_parse(parse, "have", value, 1, 1024, &plan->have);
    case O_SEED:
        return count_parse(parse, "seed", value, 0, UINT64_MAX, &plan->seed);
    case O_PATH:
        parse->path = value;
        return 0;
    case O_BODY:
        parse->body = value;
        return 0;
    case O_FILL:
        parse->fill_given = true;
        return yes_no_parse(parse, "fill", value, &plan->fill);
    default:
        never("an option without a case");
    }
}

/* How, and what is said of it. */
int options_value(struct parse *parse, int id, const char *value) {
    struct plan *plan = parse->plan;
    uint32_t pid = 0;
    int r;
    switch (id) {
    case O_SECONDS:
        return seconds_parse(parse, "seconds", value, &plan->seconds);
    case O_WARMUP:
        return seconds_parse(parse, "warmup", value, &plan->warmup);
    case O_DRAIN:
        return seconds_parse(parse, "drain", value, &plan->drain);
    case O_RATE:
        return number(value, 1e-3, 1e9, &plan->rate)
                   ? 0
                   : options_refuse(parse, "--rate: '%s' is not requests a second", value);
    case O_POISSON:
        plan->poisson = true;
        return 0;
    case O_THREADS:
        return count32_parse(parse, "threads", value, 1, PLAN_THREADS_MAX, &plan->threads);
    case O_CPUS:
        return cpus_parse(parse, value);
    case O_SPIN:
        plan->spin = true;
        return 0;
    case O_VERIFY:
        return yes_no_parse(parse, "verify", value, &plan->verify);
    case O_SOURCES:
        return count32_parse(parse, "sources", value, 1, 250, &plan->sources);
    case O_JSON:
        plan->json = true;
        return 0;
    case O_PLOT:
        plan->plot = value;
        return 0;
    case O_LIVE:
        plan->live = true;
        return 0;
    case O_SERVER_PID:
        r = count32_parse(parse, "server-pid", value, 1, INT32_MAX, &pid);
        plan->server_pid = (int)pid;
        return r;
    default:
        return shape_apply(parse, id, value);
    }
}
