/* SPDX-License-Identifier: MIT */
#include "tools/load/bitswap/swarm_plan.h"

#include "base/err.h"
#include "base/hash.h"
#include "tools/load/bitswap/attack.h"
#include "tools/load/bitswap/swarm.h"
#include "tools/load/options.h"
#include "tools/load/report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

static int complain(int result, const char *why) {
    fprintf(stderr, "millrace-load: %s\n", why[0] != '\0' ? why : err_text(result));
    return EXIT_FAILED;
}

/* The blocks are put over TLV, by the same engine that loads it. */
static int fill(const struct swarm_plan *swarm, const struct content *content, char *why,
                size_t why_bytes) {
    struct plan plan = swarm->plan;
    plan.wire = &wire_tlv;
    plan.to = swarm->fill_to;
    plan.to_bytes = swarm->fill_to_bytes;
    memcpy(plan.to_text, swarm->fill_to_text, sizeof plan.to_text);
    plan.sources = 1;
    plan.rate = 0;
    plan.reads = 100;
    plan.writes = 0;
    plan.zipf_s = 0;
    plan.fill = true;
    return err_pass(run_fill(&plan, content, why, why_bytes));
}

static int result_show(const struct plan *plan, const struct result *result) {
    if (plan->json) {
        char *text = report_json(plan, result);
        if (text == NULL) {
            return complain(0, "no memory");
        }
        puts(text);
        free(text);
    } else {
        report_table(plan, result);
        printf("unanswered %llu\n", (unsigned long long)result->unanswered);
    }
    if (plan->plot != NULL) {
        int r = plot_write(plan->plot, plan, result);
        if (r != 0) {
            return complain(r, err_text(r));
        }
    }
    return report_good(result) && result->unanswered == 0 ? EXIT_DONE : EXIT_FAILED;
}

static int swarm_load(const struct swarm_plan *plan, const struct content *content) {
    char why[400] = "";
    struct swarm *swarm = malloc(sizeof *swarm);
    struct result *result = malloc(sizeof *result);
    int status = EXIT_FAILED, r = -ENOMEM;
    if (swarm == NULL || result == NULL) {
        complain(r, why);
        goto done;
    }
    r = swarm_open(swarm, plan, content, why, sizeof why);
    if (r == 0 && plan->attack != NULL) {
        status = attack_run(swarm, plan->attack);
    } else if (r == 0) {
        r = swarm_dial(swarm, why, sizeof why);
        if (r == 0) {
            swarm_run(swarm, result);
            status = result_show(&plan->plan, result);
        }
    }
    if (r != 0) {
        complain(r, why);
    }
    swarm_close(swarm);
done:
    free(result);
    free(swarm);
    return status;
}

static int swarm_start(const struct swarm_plan *plan) {
    char why[400] = "";
    struct content content = {0};
    int r = hash_open();
    if (plan->cids == NULL) {
        r = r != 0
                ? r
                : content_open(&content, plan->plan.keys, plan->plan.size, plan->plan.seed, true);
    }
    r = r == 0 && plan->fill_to_bytes > 0 ? fill(plan, &content, why, sizeof why) : r;
    if (r == 0 && plan->car != NULL) {
        r = catalog_car(&content, plan->car);
        content_close(&content);
        return r == 0 ? EXIT_DONE : complain(r, why);
    }
    int status = r != 0 ? complain(r, why) : swarm_load(plan, plan->cids == NULL ? &content : NULL);
    content_close(&content);
    return status;
}

int swarm_main(int count, char *const words[]) {
    static struct swarm_plan plan;
    char why[400] = "";
    for (int i = 1; i + 1 < count; i++) {
        if (strcmp(words[i], "--hostile") == 0 && strcmp(words[i + 1], "list") == 0) {
            attack_list();
            return EXIT_DONE;
        }
    }
    switch (swarm_options(count, words, &plan, why, sizeof why)) {
    case 0:
        return swarm_start(&plan);
    case OPTIONS_HELP:
        swarm_help();
        return EXIT_DONE;
    default:
        fprintf(stderr, "millrace-load: %s\n", why);
        return EXIT_USAGE;
    }
}
