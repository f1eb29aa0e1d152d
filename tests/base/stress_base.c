/* SPDX-License-Identifier: MIT */
/* stress_base — what base promises to several threads at once, for the thread sanitizer to watch:
 * a histogram with one writer and readers, a counter likewise, log lines and error traces from
 * every thread. The counts at the end are exact. */

#include "base/counter.h"
#include "base/err.h"
#include "base/hist.h"
#include "base/log.h"
#include "base/must.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RECORDS UINT64_C(2000000)
#define READERS 3

static struct hist hist;
static counter_t counter;
static _Atomic bool done;

static void *write_all(void *seed_of) {
    unsigned short state[3] = {*(const unsigned short *)seed_of, 2, 3};
    for (uint64_t i = 0; i < RECORDS; i++) {
        hist_record(&hist, (uint64_t)nrand48(state), 1);
        counter_add(&counter, 1);
    }
    atomic_store_explicit(&done, true, memory_order_release);
    return NULL;
}

/* What a reader sees only ever grows, and its quantiles stand in order. */
static void read_once(uint64_t *seen, uint64_t *counted) {
    struct hist copy = {{0}, 0, 0};
    hist_add(&copy, &hist);
    uint64_t total = hist_total(&copy);
    must(total >= *seen);
    must(total <= RECORDS);
    must(hist_quantile_ns(&copy, 0.5) <= hist_quantile_ns(&copy, 0.99));
    *seen = total;
    uint64_t count = counter_get(&counter);
    must(count >= *counted);
    *counted = count;
}

static void *read_all(void *reader_of) {
    int reader = *(const int *)reader_of;
    uint64_t seen = 0, counted = 0;
    while (!atomic_load_explicit(&done, memory_order_acquire)) {
        read_once(&seen, &counted);
        log_info("reader", log_i64("reader", reader), log_u64("seen", seen));
        char trace[256], wanted[64];
        int raised = err_note_slow(-EIO, "reader.c", reader, true);
        size_t chars = err_trace(trace, sizeof trace);
        snprintf(wanted, sizeof wanted, "reader.c:%d: Input/output error", reader);
        must(raised == -EIO);
        must(chars == strlen(wanted));
        must(strcmp(trace, wanted) == 0);
    }
    read_once(&seen, &counted);
    must(seen == RECORDS);
    return NULL;
}

int main(int argc, char **argv) {
    unsigned short seed = (unsigned short)(argc > 1 ? strtoul(argv[1], NULL, 10) : 1);
    int nowhere = open("/dev/null", O_WRONLY);
    int words = dup(STDERR_FILENO);
    must(nowhere >= 0);
    must(words >= 0);
    dup2(nowhere, STDERR_FILENO);
    log_setup(LOG_LEVEL_INFO, LOG_FORM_JSON);
    pthread_t writer, readers[READERS];
    int numbers[READERS];
    for (int i = 0; i < READERS; i++) {
        numbers[i] = i;
        must(pthread_create(&readers[i], NULL, read_all, &numbers[i]) == 0);
    }
    must(pthread_create(&writer, NULL, write_all, &seed) == 0);
    pthread_join(writer, NULL);
    for (int i = 0; i < READERS; i++) {
        pthread_join(readers[i], NULL);
    }
    dup2(words, STDERR_FILENO); /* a sanitizer's last words are for people */
    must(counter_get(&counter) == RECORDS);
    printf("%llu records, %d readers, seed %u: every count right\n", (unsigned long long)RECORDS,
           READERS, seed);
    return 0;
}
