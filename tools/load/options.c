/* SPDX-License-Identifier: MIT */
#include "tools/load/options.h"

#include "base/must.h"
#include "tools/load/options_value.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct option_row {
    const char *name;
    int id;
    const char *value; /* NULL: a flag */
    const char *help;
} rows[] = {
    {"to", O_TO, "ADDR:PORT", "the server"},
    {"conns", O_CONNS, "N", "connections, 1 to 100,000 (50)"},
    {"depth", O_DEPTH, "N", "most requests in flight on a connection (1; open loop 64)"},
    {"size", O_SIZE, "BYTES", "size of every block, 8 to 4 MiB (64)"},
    {"keys", O_KEYS, "N", "how many blocks there are (10000)"},
    {"mix", O_MIX, "R:W", "reads to writes (100:0); every write is a new block"},
    {"seconds", O_SECONDS, "T", "how long to measure (10)"},
    {"warmup", O_WARMUP, "T", "run this long before measuring (0.5)"},
    {"drain", O_DRAIN, "T", "wait this long for the last replies (2)"},
    {"rate", O_RATE, "R", "open loop: R requests a second in all, at intended times"},
    {"poisson", O_POISSON, NULL, "open loop: gaps as independent users make them, not even ones"},
    {"class", O_CLASS, "NAME[=W[@R]],...",
     "class of the connections: critical, high, normal, low; W weighs connections, R is a rate"},
    {"dist", O_DIST, "uniform|zipf[:S]", "how keys are drawn (uniform; S 0.99)"},
    {"threads", O_THREADS, "N", "generator threads, one io_uring each (1)"},
    {"cpus", O_CPUS, "LIST", "pin the threads to these CPUs, as taskset takes them"},
    {"spin", O_SPIN, NULL, "open loop: poll instead of sleeping until the next intended time"},
    {"fill", O_FILL, "yes|no", "put the blocks first (yes where the protocol can)"},
    {"verify", O_VERIFY, "yes|no", "compare every body with the content (yes)"},
    {"sources", O_SOURCES, "N", "spread connections over 127.0.0.1 .. 127.0.0.N"},
    {"ranges", O_RANGES, NULL, "tlv: read random ranges of the blocks"},
    {"have", O_HAVE, "N", "tlv: ask whether N blocks are there instead of reading one"},
    {"seed", O_SEED, "N", "same seed, same blocks and draws (1)"},
    {"json", O_JSON, NULL, "print one JSON object instead of the table"},
    {"plot", O_PLOT, "FILE.svg", "draw throughput over time and latency percentiles"},
    {"live", O_LIVE, NULL, "a line each second, also where stderr is no terminal"},
    {"path", O_PATH, "PATH", "http: what to ask for (/)"},
    {"body", O_BODY, "FILE", "http: the body that must come back"},
    {"server-pid", O_SERVER_PID, "PID", "also report CPU time of that process per request"},
    {"help", O_HELP, NULL, "this text"},
};

void options_help(void) {
    printf("usage: millrace-load PROTOCOL --to ADDR:PORT [option]...\n\n"
           "Puts a server under load and checks every reply. Without --rate each connection keeps\n"
           "--depth requests in flight; with it requests have intended times, and latencies count\n"
           "from those. Exit status: 0 all replies right, 1 some wrong or failed, or\n"
           "none with a block, 2 usage.\n\n"
           "protocols\n");
    for (uint32_t i = 0; wire_at(i) != NULL; i++) {
        printf("  %-10s %s\n", wire_at(i)->name, wire_at(i)->about);
    }
    printf("  %-10s %s\n  %-10s %s\n", "bitswap",
           "libp2p peers that want blocks, and attacks: millrace-load bitswap --help", "sink",
           "a server that takes bytes and says nothing: millrace-load sink PORT");
    printf("\noptions\n");
    for (size_t i = 0; i < array_count(rows); i++) {
        char left[48];
        snprintf(left, sizeof left, "--%s %s", rows[i].name,
                 rows[i].value == NULL ? "" : rows[i].value);
        printf("  %-30s %s\n", left, rows[i].help);
    }
}

static int body_load(const struct parse *parse) {
    FILE *file = fopen(parse->body, "rb");
    if (file == NULL) {
        return options_refuse(parse, "--body: %s: %s", parse->body, strerror(errno));
    }
    size_t room = 64 * MiB;
    uint8_t *bytes = malloc(room);
    size_t got = bytes == NULL ? room : fread(bytes, 1, room, file);
    fclose(file);
    if (got == room) {
        free(bytes);
        return options_refuse(parse, "--body: %s is 64 MiB or more", parse->body);
    }
    parse->plan->expect = bytes; /* for the life of the program */
    parse->plan->expect_bytes = (uint32_t)got;
    return 0;
}

static int http_check(const struct parse *parse) {
    struct plan *plan = parse->plan;
    int bytes = snprintf(plan->request_text, sizeof plan->request_text,
                         "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", parse->path, plan->to_text);
    if (bytes < 0 || (size_t)bytes >= sizeof plan->request_text) {
        return options_refuse(parse, "--path: too long");
    }
    plan->request_text_bytes = (uint32_t)bytes;
    if (!parse->size_given) {
        plan->size = 0; /* any length will do */
    }
    return parse->body == NULL ? 0 : body_load(parse);
}

/* What each option allowed alone may still not go together. */
static int plan_check(const struct parse *parse) {
    struct plan *plan = parse->plan;
    const struct wire *wire = plan->wire;
    double rates = 0;
    for (uint32_t class = 0; class < TALLY_CLASSES; class ++) {
        rates += plan->class_rate[class];
    }
    if (plan->to_bytes == 0) {
        return options_refuse(parse, "--to ADDR:PORT is missing");
    }
    if ((plan->have > 0 || plan->ranges || plan->classed) && wire != &wire_tlv) {
        return options_refuse(parse, "--have, --ranges and --class are for tlv only");
    }
    if (plan->have > 0 && plan->ranges) {
        return options_refuse(parse, "--have and --ranges: one of them");
    }
    if (plan->writes > 0 && !wire->fills) {
        return options_refuse(parse, "--mix: %s only reads", wire->name);
    }
    if (plan->threads > plan->conns) {
        plan->threads = plan->conns;
    }
    if (rates > 0 && plan->rate <= 0) {
        plan->rate =
            rates; /* the classes without a rate of their own share what is left: nothing */
        for (uint32_t class = 0; class < TALLY_CLASSES; class ++) {
            if (plan->class_weight[class] > 0 && plan->class_rate[class] <= 0) {
                return options_refuse(parse,
                                      "--class: give every class a rate, or a --rate for the rest");
            }
        }
    }
    if (plan->rate > 0 && !parse->depth_given) {
        plan->depth = 64;
    }
    if (!parse->fill_given) {
        plan->fill = wire->fills && plan->reads > 0;
    } else if (plan->fill && !wire->fills) {
        return options_refuse(parse, "--fill: %s has no way to put blocks", wire->name);
    }
    if (plan->sources == 0) {
        plan->sources = 1 + plan->conns / 25000; /* 28k local ports to a source */
    }
    return wire == &wire_http ? http_check(parse) : 0;
}

int options_read(int count, char *const words[], struct plan *ret_plan, char *why,
                 size_t why_bytes) {
    *ret_plan = (struct plan){
        .conns = 50,
        .depth = 1,
        .size = 64,
        .keys = 10000,
        .reads = 100,
        .seconds = 10,
        .warmup = 0.5,
        .drain = 2,
        .threads = 1,
        .verify = true,
        .seed = 1,
    };
    struct parse parse = {.plan = ret_plan, .why = why, .why_bytes = why_bytes, .path = "/"};
    if (count < 1) {
        return options_refuse(&parse, "say which protocol: tlv, resp, memcache, http or echo");
    }
    if (strcmp(words[0], "--help") == 0 || strcmp(words[0], "help") == 0) {
        return OPTIONS_HELP;
    }
    ret_plan->wire = wire_find(words[0]);
    if (ret_plan->wire == NULL) {
        return options_refuse(&parse, "'%s' is no protocol: tlv, resp, memcache, http or echo",
                              words[0]);
    }
    struct option longs[array_count(rows) + 1] = {0};
    for (size_t i = 0; i < array_count(rows); i++) {
        longs[i] = (struct option){rows[i].name, rows[i].value != NULL, NULL, rows[i].id};
    }
    optind = 0; /* tests parse more than one line */
    opterr = 0;
    for (int id; (id = getopt_long(count, words, "", longs, NULL)) != -1;) {
        if (id == O_HELP) {
            return OPTIONS_HELP;
        }
        if (id == '?') {
            return options_refuse(&parse, "'%s' is no option, or lacks its value (see --help)",
                                  words[optind - 1]);
        }
        int r = options_value(&parse, id, optarg);
        if (r != 0) {
            return r;
        }
    }
    if (optind < count) {
        return options_refuse(&parse, "'%s' is one word too many", words[optind]);
    }
    return plan_check(&parse);
}
