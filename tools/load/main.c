/* SPDX-License-Identifier: MIT */

/* millrace-load — puts a server under load over the network and checks every reply. */

#include "base/err.h"
#include "base/hash.h"
#include "tools/load/options.h"
#include "tools/load/report.h"

#include <stdio.h>
#include <stdlib.h>

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
    return report_good(result) ? EXIT_DONE : EXIT_FAILED;
}

static int load(const struct plan *plan) {
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
