/* SPDX-License-Identifier: MIT */

/* millrace-load — puts a server under load over the network and checks every reply. */

#include "base/err.h"
#include "base/hash.h"
#include "tools/load/bitswap/swarm_plan.h"
#include "tools/load/options.h"
#include "tools/load/report.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

static int result_show(const struct plan *plan, const struct result *result) {
    if (plan->json) {
        char *text = report_json(plan, result);
        if (text == NULL) {
            fprintf(stderr, "millrace-load: no memory\n");
            return EXIT_FAILED;
        }
        puts(text);
        free(text);
    } else {
        report_table(plan, result);
    }
    if (plan->plot != NULL) {
        int r = plot_write(plan->plot, plan, result);
        if (r != 0) {
            fprintf(stderr, "millrace-load: %s: %s\n", plan->plot, err_text(r));
            return EXIT_FAILED;
        }
    }
    if (result->total.requests == 0) {
        fprintf(stderr, "millrace-load: not one request was answered with what it asked for%s\n",
                result->total.not_found > 0 ? ": the blocks are not there (--fill no?)" : "");
    }
    return report_good(result) ? EXIT_DONE : EXIT_FAILED;
}

/* What would end the run badly after all its work, found before it. Returns: 0 or the status. */
static int foresee(const struct plan *plan) {
    char why[400] = "";
    uint32_t block_max = 0;
    FILE *plot = plan->plot != NULL ? fopen(plan->plot, "a") : NULL;
    if (plan->plot != NULL && plot == NULL) {
        fprintf(stderr, "millrace-load: --plot: %s: %s\n", plan->plot, strerror(errno));
        return EXIT_USAGE;
    }
    if (plot != NULL) {
        fclose(plot);
    }
    if (plan->server_pid > 0 && kill(plan->server_pid, 0) != 0 && errno == ESRCH) {
        fprintf(stderr, "millrace-load: --server-pid: there is no process %d\n", plan->server_pid);
        return EXIT_USAGE;
    }
    int r = run_limit(plan, &block_max, why, sizeof why);
    if (r != 0) {
        fprintf(stderr, "millrace-load: %s\n", why[0] != '\0' ? why : err_text(r));
        return EXIT_FAILED;
    }
    if (block_max > 0 && plan->size > block_max && (plan->fill || plan->writes > 0)) {
        fprintf(stderr, "millrace-load: --size: %u bytes; this server takes blocks up to %u\n",
                plan->size, block_max);
        return EXIT_USAGE;
    }
    return EXIT_DONE;
}

static int load(const struct plan *plan) {
    int foreseen = foresee(plan);
    if (foreseen != EXIT_DONE) {
        return foreseen;
    }
    char why[400] = "";
    struct content content;
    struct result *result = malloc(sizeof *result);
    uint32_t bytes = plan->size < CONTENT_BYTES_MIN ? CONTENT_BYTES_MIN : plan->size;
    /* Names of blocks that nobody puts or asks for are not worth their hashes. */
    bool hashed = plan->wire->hashed && (plan->fill || plan->reads > 0);
    if (hashed && plan->keys * bytes > GiB) {
        fprintf(stderr, "hashing %llu blocks of %u bytes\n", (unsigned long long)plan->keys, bytes);
    }
    if (result == NULL || hash_open() != 0 ||
        content_open(&content, plan->keys, bytes, plan->seed, hashed) != 0) {
        fprintf(stderr, "millrace-load: no memory for %llu keys\n", (unsigned long long)plan->keys);
        free(result);
        return EXIT_FAILED;
    }
    int r = plan->fill ? run_fill(plan, &content, why, sizeof why) : 0;
    r = r != 0 ? r : run_plan(plan, &content, result, why, sizeof why);
    int status = EXIT_FAILED;
    if (r != 0) {
        fprintf(stderr, "millrace-load: %s\n", why[0] != '\0' ? why : err_text(r));
    } else {
        status = result_show(plan, result);
    }
    content_close(&content);
    free(result);
    return status;
}

int main(int count, char *words[]) {
    static struct plan plan;
    char why[400];
    if (count > 1 && strcmp(words[1], "bitswap") == 0) {
        return swarm_main(count - 1, words + 1);
    }
    if (count > 1 && strcmp(words[1], "sink") == 0) {
        return sink_main(count - 1, words + 1);
    }
    switch (options_read(count - 1, words + 1, &plan, why, sizeof why)) {
    case 0:
        return load(&plan);
    case OPTIONS_HELP:
        options_help();
        return EXIT_DONE;
    default:
        fprintf(stderr, "millrace-load: %s\n", why);
        return EXIT_USAGE;
    }
}
