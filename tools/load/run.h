/* SPDX-License-Identifier: MIT */
#pragma once

/* run — a plan carried out: threads started together, watched, added up. */

#include "tools/load/plan.h"

#define RUN_SAMPLES_MAX 1024u

/* A piece of the measured time. */
struct sample {
    double at_s, span_s; /* its end, since measuring began; how long it was */
    double rate;
    uint64_t p50_ns, p99_ns;
};

/* A count that one protocol alone has. */
struct extra {
    const char *name; /* of its key in JSON */
    uint64_t count;
};
#define RUN_EXTRAS_MAX 16u

struct result {
    struct tally classes[TALLY_CLASSES];
    struct tally total;
    uint64_t unanswered;
    double seconds;            /* from the first intended time to the last answer counted */
    double cpu_seconds;        /* of the generator */
    double server_cpu_seconds; /* --server-pid; below 0: not known */
    char fault[160];           /* the first refusal or break; empty: none */
    uint32_t extra_count;
    struct extra extras[RUN_EXTRAS_MAX];
    uint32_t sample_count;
    struct sample samples[RUN_SAMPLES_MAX];
};

/* run_limit asks the server for its largest block, over a connection of its own; 0 where its
 * protocol does not say. Returns: 0, or -errno with a sentence in `why`. Blocks: at most 5 s. */
must_check int run_limit(const struct plan *plan, uint32_t *ret_block_max, char *why,
                         size_t why_bytes);
/* Returns: 0 (whatever the server answered), or -errno with a sentence in `why` where the load
 * could not be made at all. Blocks: for as long as the plan says. */
must_check int run_plan(const struct plan *plan, const struct content *content,
                        struct result *ret_result, char *why, size_t why_bytes);
/* Puts every block of the content, over connections of its own. Returns: as run_plan. */
must_check int run_fill(const struct plan *plan, const struct content *content, char *why,
                        size_t why_bytes);
