/* SPDX-License-Identifier: MIT */
#include "engine/swarm/trim.h"

#include "base/must.h"

void trim_init(struct trim *trim, const struct trim_config *config) {
    must(config->low < config->high);
    *trim = (struct trim){.config = *config};
}

/* 0 for 0, else one more than the logarithm: a peer doubles what it did to gain one step. */
static int32_t steps(uint64_t amount) {
    return amount == 0 ? 0 : 64 - __builtin_clzll(amount);
}

int32_t trim_worth(const struct trim_candidate *candidate) {
    int32_t worth = 0;
    worth += 4 * steps(candidate->bytes_received / KiB);
    worth += 2 * steps(candidate->bytes_sent / KiB);
    worth += candidate->wants_queued > 0 ? 8 : 0;
    worth += candidate->outbound ? 6 : 0;
    worth -= 3 * steps(candidate->idle_ns / NS_PER_S);
    worth -= 2 * steps(candidate->neighbours);
    return worth;
}

bool trim_begin(struct trim *trim, uint32_t connections) {
    if (connections > trim->config.high) {
        trim->trimming = true;
    } else if (connections <= trim->config.low) {
        trim->trimming = false;
    }
    if (!trim->trimming) {
        trim->open = false;
        return false;
    }
    if (!trim->open) {
        uint32_t surplus = connections - trim->config.low;
        trim->open = true;
        trim->quota = surplus < TRIM_BATCH ? surplus : TRIM_BATCH;
        trim->count = 0;
        trim->rounds++;
    }
    return true;
}

/* Whether worst[a] goes before worst[b]: less worth, or as much and idle for longer. */
static bool goes_before(const struct trim *trim, uint32_t a, uint32_t b) {
    if (trim->worst[a].worth != trim->worst[b].worth) {
        return trim->worst[a].worth < trim->worst[b].worth;
    }
    return trim->worst[a].idle_ns > trim->worst[b].idle_ns;
}

static void swap(struct trim *trim, uint32_t a, uint32_t b) {
    __typeof__(trim->worst[0]) kept = trim->worst[a];
    trim->worst[a] = trim->worst[b];
    trim->worst[b] = kept;
}

static void sift_down(struct trim *trim, uint32_t count) {
    for (uint32_t at = 0;;) {
        uint32_t top = at;
        for (uint32_t child = 2 * at + 1; child <= 2 * at + 2 && child < count; child++) {
            top = goes_before(trim, top, child) ? child : top;
        }
        if (top == at) {
            return;
        }
        swap(trim, at, top);
        at = top;
    }
}

void trim_offer(struct trim *trim, const struct trim_candidate *candidate) {
    if (!trim->open || candidate->protected || candidate->in_use ||
        candidate->age_ns < trim->config.grace_ns) {
        return;
    }
    int32_t worth = trim_worth(candidate);
    if (trim->count == trim->quota) {
        bool worse = worth < trim->worst[0].worth ||
                     (worth == trim->worst[0].worth && candidate->idle_ns > trim->worst[0].idle_ns);
        if (!worse) {
            return;
        }
        trim->worst[0].worth = worth;
        trim->worst[0].idle_ns = candidate->idle_ns;
        trim->worst[0].id = candidate->id;
        sift_down(trim, trim->count);
        return;
    }
    uint32_t at = trim->count++;
    trim->worst[at].worth = worth;
    trim->worst[at].idle_ns = candidate->idle_ns;
    trim->worst[at].id = candidate->id;
    while (at > 0 && goes_before(trim, (at - 1) / 2, at)) {
        swap(trim, at, (at - 1) / 2);
        at = (at - 1) / 2;
    }
}

uint32_t trim_end(struct trim *trim, uint64_t ids[TRIM_BATCH]) {
    uint32_t count = trim->open ? trim->count : 0;
    for (uint32_t left = count; left > 0; left--) {
        ids[left - 1] = trim->worst[0].id; /* the best of them goes last */
        swap(trim, 0, left - 1);
        sift_down(trim, left - 1);
    }
    trim->open = false;
    trim->count = 0;
    trim->chosen += count;
    return count;
}
