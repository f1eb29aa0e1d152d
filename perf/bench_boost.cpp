/* SPDX-License-Identifier: MIT */

/* bench_boost — a peer: boost::lockfree::queue, bounded, item by item, as its users use it.
 *
 * The only C++ in the tree; built where boost and a C++ compiler are, and linked into nothing. */

#include "perf/crowd.h"

#include <boost/lockfree/queue.hpp>
#include <cstdio>
#include <cstdlib>
#include <cstring>

/* 4,096 nodes taken at the start, none later: the queue's own fixed-size form. */
using fifo = boost::lockfree::queue<void *, boost::lockfree::capacity<4096>>;

static fifo there, back;

static bool push(void *queue, void *item) {
    return static_cast<fifo *>(queue)->push(item);
}
static void *pop(void *queue) {
    void *item;
    return static_cast<fifo *>(queue)->pop(item) ? item : nullptr;
}

int main(int argc, char **argv) {
    bool json = false;
    bool quick = false;
    unsigned long pairs = 1, millis = 500;
    for (int i = 1; i < argc; i++) {
        if (std::strcmp(argv[i], "--json") == 0) {
            json = true;
        } else if (std::strcmp(argv[i], "--quick") == 0) {
            quick = true;
        } else if (std::strcmp(argv[i], "--pairs") == 0 && i + 1 < argc) {
            pairs = std::strtoul(argv[++i], nullptr, 10);
        } else if (std::strcmp(argv[i], "--millis") == 0 && i + 1 < argc) {
            millis = std::strtoul(argv[++i], nullptr, 10);
        } else {
            std::fputs("usage: bench_boost [--pairs N] [--millis N] [--quick] [--json]\n", stderr);
            return 2;
        }
    }
    struct crowd crowd = {};
    crowd.push = push;
    crowd.pop = pop;
    crowd.queue = &there;
    crowd.pairs = static_cast<uint32_t>(pairs);
    crowd.weight = 1;
    crowd.millis = quick ? 50 : millis;
    struct crowd_result result;
    crowd_run(&crowd, &result);
    struct crowd answers = crowd;
    answers.queue = &back;
    double rtt_ns = crowd_rtt_ns(&crowd, &answers, quick ? 10000 : 200000);
    const char *form = json ? "{\"program\":\"bench_boost\",\"pairs\":%lu,\"ns_per_item\":%.6g,"
                              "\"rate\":%.6g,\"worst_push_us\":%.6g,\"rtt_ns\":%.6g}\n"
                            : "bench_boost\n  pairs %lu\n  ns_per_item %.2f\n  rate %.0f\n"
                              "  worst_push_us %.1f\n  rtt_ns %.1f\n";
    std::printf(form, pairs, result.ns_per_item, result.rate, result.worst_push_us, rtt_ns);
    return 0;
}
