/* SPDX-License-Identifier: MIT */
#pragma once

/* samples — real archives in a folder beside the checkout, for programs that read them all. */

#include "base/base.h"

#include <stdio.h>
#include <stdlib.h>

static uint8_t bytes[1 << 20]; /* of the sample at hand */

/* Where they lie: $MILLRACE_TEST_DATA, else the first argument. */
static inline const char *samples_root(int argc, char **argv) {
    const char *root = getenv("MILLRACE_TEST_DATA");
    return root ? root : argc > 1 ? argv[1] : "../shared/data";
}

/* Returns: how many bytes; 0: it is not there. */
static inline size_t samples_load(const char *root, const char *name) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", root, name);
    FILE *file = fopen(path, "rb");
    if (!file) {
        return 0;
    }
    size_t count = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    return count;
}
