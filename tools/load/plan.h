/* SPDX-License-Identifier: MIT */
#pragma once

/* plan — what a run of the generator does, as the command line said it; fixed from then on. */

#include "tools/load/content.h"
#include "tools/load/tally.h"
#include "tools/load/wire.h"

#include <netinet/in.h>

#define PLAN_THREADS_MAX 64u
#define PLAN_DEPTH_MAX   4096u
#define PLAN_CONNS_MAX   100000u

struct plan {
    const struct wire *wire;
    struct sockaddr_storage to;
    socklen_t to_bytes;
    char to_text[80];
    uint32_t conns;
    uint32_t depth; /* most requests in flight on a connection */
    uint32_t size;
    uint64_t keys;
    uint32_t reads, writes; /* weights */
    double seconds, warmup, drain;
    double rate; /* 0: closed loop */
    bool poisson;
    bool classed;                         /* --class was given */
    uint32_t class_weight[TALLY_CLASSES]; /* of connections */
    double class_rate[TALLY_CLASSES];     /* requests a second of that class, 0: its share */
    double zipf_s;                        /* 0: uniform */
    uint32_t threads;
    uint32_t sources;
    uint32_t have; /* keys a HAVE, 0: reads are GETs */
    bool ranges;
    bool fill;    /* put the keys first */
    bool filling; /* this run is the filling */
    bool verify;
    bool spin;
    uint64_t seed;
    uint32_t cpus[PLAN_THREADS_MAX];
    uint32_t cpu_count;     /* 0: unpinned */
    char request_text[512]; /* http */
    uint32_t request_text_bytes;
    const uint8_t *expect; /* http: the body that must come, NULL: length only */
    uint32_t expect_bytes;
    bool json, live;
    const char *plot;
    int server_pid; /* 0: none */
};
