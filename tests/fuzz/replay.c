/* SPDX-License-Identifier: MIT */
/* replay — runs a fuzz target once over every file of the corpora named on its command line.
 *
 * This is how corpora run as plain tests, without libFuzzer: each file is read into a block of
 * exactly its size, so that a sanitizer sees a read past its end. An empty corpus is a failure: it
 * would test nothing and say nothing. */

#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool replay_file(const char *path) {
    FILE *file = fopen(path, "rb");
    struct stat status;
    if (file == NULL || fstat(fileno(file), &status) != 0) {
        fprintf(stderr, "replay: %s cannot be read\n", path);
        if (file) {
            fclose(file);
        }
        return false;
    }
    size_t bytes = (size_t)status.st_size;
    uint8_t *data = malloc(bytes ? bytes : 1);
    bool whole = data && fread(data, 1, bytes, file) == bytes;
    fclose(file);
    if (whole) {
        LLVMFuzzerTestOneInput(data, bytes);
    } else {
        fprintf(stderr, "replay: %s cannot be read\n", path);
    }
    free(data);
    return whole;
}

/* Returns: files run, or -1 after saying what failed. */
static int replay_directory(const char *path) {
    struct dirent **entries;
    int count = scandir(path, &entries, NULL, alphasort);
    if (count < 0) {
        fprintf(stderr, "replay: %s cannot be listed\n", path);
        return -1;
    }
    int ran = 0;
    bool sound = true;
    for (int i = 0; i < count; i++) {
        char name[4096];
        snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.') {
            sound = replay_file(name) && sound;
            ran++;
        }
        free(entries[i]);
    }
    free(entries);
    return sound ? ran : -1;
}

int main(int argc, char **argv) {
    int ran = 0;
    for (int i = 1; i < argc; i++) {
        int here = replay_directory(argv[i]);
        if (here < 0) {
            return 1;
        }
        ran += here;
    }
    printf("%d inputs\n", ran);
    return ran > 0 ? 0 : 1;
}
