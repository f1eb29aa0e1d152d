/* SPDX-License-Identifier: MIT */
#include "tools/load/bitswap/swarm_plan.h"

#include "base/must.h"
#include "proto/libp2p/multiaddr.h"
#include "tools/load/bitswap/attack.h"
#include "tools/load/options.h"
#include "tools/load/options_value.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum swarm_option {
    S_TO = 512,
    S_SECURITY,
    S_ACTIVE,
    S_DIALING,
    S_VERIFY,
    S_CANCELS,
    S_PRIORITIES,
    S_TLV,
    S_CIDS,
    S_CAR,
    S_HOSTILE,
};

static const struct wire bitswap_wire = {
    .name = "bitswap",
    .about = "libp2p peers that want blocks: millrace-load bitswap --help",
    .hashed = true,
};

static const struct swarm_row {
    const char *name;
    int id;
    const char *value; /* NULL: a flag */
    const char *help;
} rows[] = {
    {"to", S_TO, "ADDR", "the server: a multiaddr, with or without /p2p/ID, or ADDR:PORT"},
    {"security", S_SECURITY, "noise|tls", "how connections are encrypted (noise)"},
    {"conns", O_CONNS, "N", "peers, each with an identity of its own (50)"},
    {"active", S_ACTIVE, "N", "of them, those that want something (all); the others only answer"},
    {"dialing", S_DIALING, "N", "handshakes at once (64)"},
    {"depth", O_DEPTH, "N", "most wants in flight of a peer (64)"},
    {"size", O_SIZE, "BYTES", "size of every block, 8 to 2 MiB (1KiB)"},
    {"keys", O_KEYS, "N", "how many blocks there are (10000)"},
    {"tlv", S_TLV, "ADDR:PORT", "put the blocks there first, over TLV"},
    {"car", S_CAR, "FILE", "write the blocks as a CAR, for servers without TLV, and end"},
    {"cids", S_CIDS, "FILE", "want these CIDs, one a line, instead of the generator's blocks"},
    {"mix", O_MIX, "B:H", "want-blocks to want-haves (100:0)"},
    {"priorities", S_PRIORITIES, "P,...", "a want has one of these priorities (1)"},
    {"cancels", S_CANCELS, "SHARE", "take this share of the wants back at once (0)"},
    {"verify", S_VERIFY, "N%|yes|no", "compare this part of the blocks (100%); of CIDs always all"},
    {"seconds", O_SECONDS, "T", "how long to measure (10)"},
    {"warmup", O_WARMUP, "T", "run this long before measuring (0.5)"},
    {"drain", O_DRAIN, "T", "wait this long for the last answers (2)"},
    {"rate", O_RATE, "R", "open loop: R wants a second in all, at intended times"},
    {"poisson", O_POISSON, NULL, "open loop: gaps as independent users make them"},
    {"dist", O_DIST, "uniform|zipf[:S]",
     "how blocks are drawn (uniform: each peer walks all; S 0.99)"},
    {"sources", O_SOURCES, "N", "spread connections over 127.0.0.1 .. 127.0.0.N"},
    {"seed", O_SEED, "N", "same seed, same blocks and draws (1)"},
    {"json", O_JSON, NULL, "print one JSON object instead of the table"},
    {"plot", O_PLOT, "FILE.svg", "draw throughput over time and latency percentiles"},
    {"live", O_LIVE, NULL, "a line each second, also where stderr is no terminal"},
    {"server-pid", O_SERVER_PID, "PID", "also report CPU time of that process per block"},
    {"hostile", S_HOSTILE, "NAME", "attack instead, for --seconds; 'list' says how"},
    {"help", O_HELP, NULL, "this text"},
};

void swarm_help(void) {
    printf("usage: millrace-load bitswap --to ADDR [option]...\n\n"
           "Many libp2p peers want blocks of one server over Bitswap and check what comes. Each\n"
           "keeps one stream for its wants and reads the streams that the server opens.\n"
           "Exit status: 0 all right, 1 some wrong, failed or unanswered, 2 usage.\n\n"
           "options\n");
    for (size_t i = 0; i < array_count(rows); i++) {
        char left[48];
        snprintf(left, sizeof left, "--%s %s", rows[i].name,
                 rows[i].value == NULL ? "" : rows[i].value);
        printf("  %-30s %s\n", left, rows[i].help);
    }
}

/* ---- values ---- */

static int number_parse(const struct parse *parse, const char *name, const char *text, uint32_t low,
                        uint32_t high, uint32_t *ret_number) {
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (end == text || *end != '\0' || *text == '-' || errno != 0 || value < low || value > high) {
        return options_refuse(parse, "--%s: '%s' is not a number from %u to %u", name, text, low,
                              high);
    }
    *ret_number = (uint32_t)value;
    return 0;
}

/* A multiaddr of a host with an address or a name. */
static int multi_parse(struct swarm_plan *swarm, const struct parse *parse, const char *text) {
    struct multiaddr address;
    char why[160], host[MULTIADDR_NAME_MAX + INET6_ADDRSTRLEN], port[8];
    if (multiaddr_parse(text, &address, why, sizeof why) != 0) {
        return options_refuse(parse, "--to: %s", why);
    }
    if (address.host == MULTIADDR_IP4 || address.host == MULTIADDR_IP6) {
        int family = address.host == MULTIADDR_IP4 ? AF_INET : AF_INET6;
        must(inet_ntop(family, address.address, host, sizeof host) != NULL);
    } else {
        snprintf(host, sizeof host, "%s", address.name);
    }
    snprintf(port, sizeof port, "%u", address.port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    hints.ai_family = address.host == MULTIADDR_DNS4   ? AF_INET
                      : address.host == MULTIADDR_DNS6 ? AF_INET6
                                                       : AF_UNSPEC;
    int r = getaddrinfo(host, port, &hints, &found);
    if (r != 0) {
        return options_refuse(parse, "--to: '%s': %s", text, gai_strerror(r));
    }
    memcpy(&swarm->plan.to, found->ai_addr, found->ai_addrlen);
    swarm->plan.to_bytes = found->ai_addrlen;
    snprintf(swarm->plan.to_text, sizeof swarm->plan.to_text, "%s", text);
    swarm->expected = address.peer;
    freeaddrinfo(found);
    return 0;
}

static int tlv_parse(struct swarm_plan *swarm, struct parse *parse, const char *text) {
    struct plan to = {0}, *kept = parse->plan;
    parse->plan = &to;
    int r = options_value(parse, O_TO, text);
    parse->plan = kept;
    swarm->fill_to = to.to;
    swarm->fill_to_bytes = to.to_bytes;
    memcpy(swarm->fill_to_text, to.to_text, sizeof to.to_text);
    return r;
}

static int priorities_parse(struct swarm_plan *swarm, const struct parse *parse, const char *text) {
    const char *at = text;
    swarm->priority_count = 0;
    for (char *end; swarm->priority_count < SWARM_PRIORITIES_MAX; at = end + 1) {
        long value = strtol(at, &end, 10);
        if (end == at || (*end != '\0' && *end != ',') || value < INT32_MIN || value > INT32_MAX) {
            return options_refuse(parse, "--priorities: '%s' is not 1 or 1,10,1000", text);
        }
        swarm->priorities[swarm->priority_count++] = (int32_t)value;
        if (*end == '\0') {
            return 0;
        }
    }
    return options_refuse(parse, "--priorities: at most %u", SWARM_PRIORITIES_MAX);
}

static int verify_parse(struct swarm_plan *swarm, const struct parse *parse, const char *text) {
    char end = '%';
    if (strcmp(text, "yes") == 0 || strcmp(text, "no") == 0) {
        swarm->verify_percent = text[0] == 'y' ? 100 : 0;
        return 0;
    }
    if (sscanf(text, "%u%c", &swarm->verify_percent, &end) < 1 || end != '%' ||
        swarm->verify_percent > 100) {
        return options_refuse(parse, "--verify: '%s' is not 10%%, yes or no", text);
    }
    return 0;
}

static int value_apply(struct swarm_plan *swarm, struct parse *parse, int id, const char *value) {
    char *end;
    switch (id) {
    case S_TO:
        return value[0] == '/' ? multi_parse(swarm, parse, value)
                               : options_value(parse, O_TO, value);
    case S_SECURITY:
        swarm->security = strcmp(value, "tls") == 0 ? SECURE_TLS : SECURE_NOISE;
        return strcmp(value, "tls") == 0 || strcmp(value, "noise") == 0
                   ? 0
                   : options_refuse(parse, "--security: say noise or tls, not '%s'", value);
    case S_ACTIVE:
        return number_parse(parse, "active", value, 1, PLAN_CONNS_MAX, &swarm->active);
    case S_DIALING:
        return number_parse(parse, "dialing", value, 1, PLAN_CONNS_MAX, &swarm->dialing);
    case S_VERIFY:
        return verify_parse(swarm, parse, value);
    case S_CANCELS:
        swarm->cancels = strtod(value, &end);
        return *end == '\0' && swarm->cancels >= 0 && swarm->cancels < 1
                   ? 0
                   : options_refuse(parse, "--cancels: '%s' is not a share (try 0.1)", value);
    case S_PRIORITIES:
        return priorities_parse(swarm, parse, value);
    case S_TLV:
        return tlv_parse(swarm, parse, value);
    case S_CIDS:
        swarm->cids = value;
        return 0;
    case S_CAR:
        swarm->car = value;
        return 0;
    case S_HOSTILE:
        swarm->attack = attack_find(value);
        return swarm->attack != NULL
                   ? 0
                   : options_refuse(parse, "--hostile: '%s' is no attack (--hostile list)", value);
    default:
        return options_value(parse, id, value);
    }
}

/* What each option allowed alone may still not go together. */
static int together(struct swarm_plan *swarm, const struct parse *parse, bool conns_given) {
    struct plan *plan = &swarm->plan;
    if (plan->to_bytes == 0 && swarm->car == NULL) {
        return options_refuse(parse, "--to ADDR is missing");
    }
    if (swarm->cids != NULL && (swarm->fill_to_bytes > 0 || swarm->car != NULL)) {
        return options_refuse(parse, "--cids names blocks that are there: no --tlv, no --car");
    }
    if (plan->size > 2 * MiB) {
        return options_refuse(parse, "--size: Bitswap carries blocks up to 2 MiB");
    }
    if (swarm->attack != NULL && !conns_given) {
        plan->conns = swarm->attack->conns;
    }
    swarm->active = swarm->active == 0 || swarm->active > plan->conns ? plan->conns : swarm->active;
    if (plan->keys < plan->depth * 2u && swarm->cids == NULL) {
        return options_refuse(parse, "--keys: at least twice the depth, so that all differ");
    }
    if (plan->sources == 0) {
        plan->sources = 1 + plan->conns / 25000; /* 28k local ports to a source */
    }
    return 0;
}

int swarm_options(int count, char *const words[], struct swarm_plan *ret_plan, char *why,
                  size_t why_bytes) {
    *ret_plan = (struct swarm_plan){.plan = {.wire = &bitswap_wire,
                                             .conns = 50,
                                             .depth = 64,
                                             .size = 1024,
                                             .keys = 10000,
                                             .reads = 100,
                                             .seconds = 10,
                                             .warmup = 0.5,
                                             .drain = 2,
                                             .threads = 1,
                                             .seed = 1,
                                             .verify = true},
                                    .dialing = 64,
                                    .verify_percent = 100,
                                    .priorities = {1},
                                    .priority_count = 1};
    struct parse parse = {.plan = &ret_plan->plan, .why = why, .why_bytes = why_bytes};
    struct option longs[array_count(rows) + 1] = {0};
    for (size_t i = 0; i < array_count(rows); i++) {
        longs[i] = (struct option){rows[i].name, rows[i].value != NULL, NULL, rows[i].id};
    }
    bool conns_given = false;
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
        conns_given = conns_given || id == O_CONNS;
        int r = value_apply(ret_plan, &parse, id, optarg);
        if (r != 0) {
            return r;
        }
    }
    if (optind < count) {
        return options_refuse(&parse, "'%s' is one word too many", words[optind]);
    }
    return together(ret_plan, &parse, conns_given);
}
