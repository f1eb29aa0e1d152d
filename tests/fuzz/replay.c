/* SPDX-License-Identifier: MIT */
/* replay — runs a fuzz target over every file of a corpus, and over seeded mutations of them.
 *
 *   fuzz_cid CORPUS [ROUNDS [SEED]]
 *
 * This is how corpora run as plain tests, without libFuzzer: each input lies in a block of exactly
 * its size, so that a sanitizer sees a read past its end. ROUNDS mutations of each file follow it,
 * the same ones for the same seed. The input that ends the process is left in ./crash-input, to be
 * named and moved into the corpus. An empty corpus is a failure: it would test nothing and say
 * nothing. */

#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define GROWTH_MAX 64 /* bytes that one mutation adds at most */

struct input {
    size_t bytes;
    uint8_t *data;
};

/* What is being run, for the words that are said when it ends the process. */
static struct input running;
static const char *running_path;
static unsigned long running_round;

void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void leave_crash(void) {
    int fd = open("crash-input", O_WRONLY | O_CREAT | O_TRUNC, 0644);
    bool kept = fd >= 0 && write(fd, running.data, running.bytes) == (ssize_t)running.bytes;
    dprintf(STDERR_FILENO, "replay: round %lu of %s ended the process%s\n", running_round,
            running_path, kept ? "; its input is in crash-input" : "");
}

static void on_signal(int signal_number) {
    signal(signal_number, SIG_DFL);
    leave_crash();
    raise(signal_number);
}

static void run(const uint8_t *data, size_t bytes) {
    running.bytes = bytes;
    running.data = malloc(bytes ? bytes : 1);
    if (running.data == NULL) {
        abort();
    }
    memcpy(running.data, data, bytes);
    LLVMFuzzerTestOneInput(running.data, bytes);
    free(running.data);
    running = (struct input){0, NULL};
}

static size_t below(unsigned short state[3], size_t limit) {
    return limit == 0 ? 0 : (size_t)nrand48(state) % limit;
}

/* One small change in place; `data` has room for GROWTH_MAX more. Returns: the new size. */
static size_t mutate(uint8_t *data, size_t bytes, unsigned short state[3]) {
    static const uint8_t edges[] = {0, 1, 0x12, 0x20, 0x7f, 0x80, 0xfe, 0xff};
    size_t at = below(state, bytes), count = 1 + below(state, GROWTH_MAX);
    switch (below(state, bytes == 0 ? 1 : 7)) {
    case 0: /* insert */
        memmove(data + at + count, data + at, bytes - at);
        for (size_t i = 0; i < count; i++) {
            data[at + i] = (uint8_t)nrand48(state);
        }
        return bytes + count;
    case 1: /* remove */
        count = count < bytes - at ? count : bytes - at;
        memmove(data + at, data + at + count, bytes - at - count);
        return bytes - count;
    case 2: /* cut off */
        return at;
    case 3: /* repeat a piece elsewhere */
        count = count < bytes - at ? count : bytes - at;
        memmove(data + below(state, bytes - count + 1), data + at, count);
        return bytes;
    case 4:
        data[at] = edges[below(state, sizeof edges)];
        return bytes;
    case 5:
        data[at] = (uint8_t)nrand48(state);
        return bytes;
    default:
        data[at] ^= (uint8_t)(1u << below(state, 8));
        return bytes;
    }
}

static void run_mutations(const struct input *seed, unsigned long rounds, unsigned short state[3]) {
    const size_t changes_max = 8;
    uint8_t *data = malloc(seed->bytes + changes_max * GROWTH_MAX);
    if (data == NULL) {
        abort();
    }
    for (running_round = 1; running_round <= rounds; running_round++) {
        size_t bytes = seed->bytes;
        memcpy(data, seed->data, bytes);
        for (size_t changes = 1 + below(state, changes_max); changes > 0; changes--) {
            bytes = mutate(data, bytes, state);
        }
        run(data, bytes);
    }
    free(data);
}

static bool read_input(const char *path, struct input *ret_input) {
    FILE *file = fopen(path, "rb");
    struct stat status;
    bool whole = false;
    if (file && fstat(fileno(file), &status) == 0) {
        struct input input = {.bytes = (size_t)status.st_size};
        input.data = malloc(input.bytes ? input.bytes : 1);
        whole = input.data && fread(input.data, 1, input.bytes, file) == input.bytes;
        *ret_input = input;
    }
    if (file) {
        fclose(file);
    }
    return whole;
}

static bool run_file(const char *path, unsigned long rounds, unsigned short state[3]) {
    struct input input = {0, NULL};
    bool whole = read_input(path, &input);
    if (whole) {
        running_path = path;
        running_round = 0;
        run(input.data, input.bytes);
        run_mutations(&input, rounds, state);
    } else {
        fprintf(stderr, "replay: %s cannot be read\n", path);
    }
    free(input.data);
    return whole;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: %s CORPUS [ROUNDS [SEED]]\n", argv[0]);
        return 2;
    }
    unsigned long rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
    unsigned long seed = argc > 3 ? strtoul(argv[3], NULL, 10) : 1;
    unsigned short state[3] = {(unsigned short)seed, (unsigned short)(seed >> 16), 0x330e};
    signal(SIGABRT, on_signal);
    signal(SIGSEGV, on_signal);
    if (__sanitizer_set_death_callback) {
        __sanitizer_set_death_callback(leave_crash);
    }
    struct dirent **entries;
    int count = scandir(argv[1], &entries, NULL, alphasort);
    if (count < 0) {
        fprintf(stderr, "replay: %s cannot be listed\n", argv[1]);
        return 1;
    }
    int ran = 0;
    bool sound = true;
    for (int i = 0; i < count; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", argv[1], entries[i]->d_name);
        if (entries[i]->d_name[0] != '.') {
            sound = run_file(path, rounds, state) && sound;
            ran++;
        }
        free(entries[i]);
    }
    free(entries);
    printf("%d inputs, %lu mutations of each, seed %lu\n", ran, rounds, seed);
    return sound && ran > 0 ? 0 : 1;
}
