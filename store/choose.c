/* SPDX-License-Identifier: MIT */
#include "store/choose.h"

#include "base/bits.h"
#include "base/must.h"

const struct choose_rules choose_default = {
    .garbage = 400, .forced = 900, .least = 50, .high = 850, .crumbs = 16};

const char *choose_word(enum choose_reason reason) {
    static const char *const words[] = {
        [CHOOSE_NOTHING] = "nothing", [CHOOSE_DEAD] = "dead",       [CHOOSE_FORCED] = "forced",
        [CHOOSE_DEMOTE] = "demote",   [CHOOSE_GARBAGE] = "garbage", [CHOOSE_CRUMBS] = "crumbs",
    };
    must((uint32_t)reason < array_count(words));
    return words[reason];
}

void allowance_spend(struct allowance *allowance, uint64_t now_ns, uint64_t amount) {
    if (allowance->rate == 0) {
        return;
    }
    uint64_t earliest = now_ns > allowance->burst_ns ? now_ns - allowance->burst_ns : 0;
    uint64_t seconds = amount / allowance->rate;
    uint64_t rest = (amount % allowance->rate) * (NS_PER_S / 1000) / allowance->rate * 1000;
    allowance->free_ns = max_u64(allowance->free_ns, earliest) + seconds * NS_PER_S + rest;
}

static uint64_t kept(const struct choose_segment *segment) {
    return min_u64(segment->live_bytes + segment->needed_bytes, segment->data_bytes);
}

static uint32_t garbage(const struct choose_segment *segment) {
    return segment->data_bytes == 0
               ? 1000
               : (uint32_t)((segment->data_bytes - kept(segment)) * 1000 / segment->data_bytes);
}

/* What cannot be moved holds a segment; as long as nothing else is in it, it is no choice. */
static bool is_stuck(const struct choose_segment *segment) {
    return segment->stuck_bytes != 0 && segment->live_bytes <= segment->stuck_bytes;
}

/* How many of the others are younger, of 1000: age without a clock. */
static uint64_t age(const struct choose_segment *segment, const struct choose_segment segments[],
                    uint32_t count) {
    uint64_t younger = 0;
    for (uint32_t i = 0; i < count; i++) {
        younger += segments[i].generation > segment->generation;
    }
    return 200 + younger * 1000 / count; /* the youngest counts too */
}

/* (1 - u) x age / (1 + u): what is won, over what it costs to read all and write what lives. */
static uint64_t score(const struct choose_segment *segment, const struct choose_segment segments[],
                      uint32_t count) {
    uint32_t dead = garbage(segment);
    return dead * age(segment, segments, count) * 1000 / (2000 - dead);
}

static struct choice best_garbage(const struct choose_rules *rules,
                                  const struct choose_segment segments[], uint32_t count) {
    struct choice best = {CHOOSE_NOTHING, 0};
    uint64_t most = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (is_stuck(&segments[i]) || garbage(&segments[i]) < rules->garbage) {
            continue;
        }
        uint64_t points = score(&segments[i], segments, count);
        if (points > most) {
            most = points;
            best = (struct choice){CHOOSE_GARBAGE, segments[i].id};
        }
    }
    return best;
}

static bool at_least(const struct choose_tier *tier, uint32_t fill) {
    return tier->full || tier->fill >= fill;
}

static struct choice most_garbage(const struct choose_rules *rules,
                                  const struct choose_segment segments[], uint32_t count,
                                  const struct choose_tier tiers[]) {
    struct choice best = {CHOOSE_NOTHING, 0};
    uint32_t most = rules->least;
    for (uint32_t i = 0; i < count; i++) {
        bool tight = at_least(&tiers[segments[i].tier], rules->forced);
        if (tight && !is_stuck(&segments[i]) && garbage(&segments[i]) > most) {
            most = garbage(&segments[i]);
            best = (struct choice){CHOOSE_FORCED, segments[i].id};
        }
    }
    return best;
}

static bool slow_has_room(const struct choose_rules *rules, const struct choose_tier tiers[],
                          uint32_t tier_count) {
    for (uint32_t t = 0; t < tier_count; t++) {
        if (tiers[t].present && tiers[t].slow && !at_least(&tiers[t], rules->forced)) {
            return true;
        }
    }
    return false;
}

static struct choice oldest_fast(const struct choose_rules *rules,
                                 const struct choose_segment segments[], uint32_t count,
                                 const struct choose_tier tiers[]) {
    const struct choose_segment *oldest = NULL;
    for (uint32_t i = 0; i < count; i++) {
        const struct choose_tier *tier = &tiers[segments[i].tier];
        if (!tier->slow && at_least(tier, rules->high) && !is_stuck(&segments[i]) &&
            (!oldest || segments[i].generation < oldest->generation)) {
            oldest = &segments[i];
        }
    }
    return oldest ? (struct choice){CHOOSE_DEMOTE, oldest->id} : (struct choice){CHOOSE_NOTHING, 0};
}

static bool is_crumb(const struct choose_rules *rules, const struct choose_segment *segment) {
    return segment->data_bytes < rules->segment_bytes / 8 && !is_stuck(segment);
}

static struct choice oldest_crumb(const struct choose_rules *rules,
                                  const struct choose_segment segments[], uint32_t count) {
    const struct choose_segment *oldest = NULL;
    uint32_t crumbs = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (is_crumb(rules, &segments[i])) {
            crumbs++;
            oldest = !oldest || segments[i].generation < oldest->generation ? &segments[i] : oldest;
        }
    }
    return crumbs > rules->crumbs ? (struct choice){CHOOSE_CRUMBS, oldest->id}
                                  : (struct choice){CHOOSE_NOTHING, 0};
}

struct choice choose(const struct choose_rules *rules, const struct choose_segment segments[],
                     uint32_t count, const struct choose_tier tiers[], uint32_t tier_count) {
    for (uint32_t i = 0; i < count; i++) {
        must(segments[i].tier < tier_count);
        if (kept(&segments[i]) == 0 && segments[i].stuck_bytes != CHOOSE_STUCK_DEAD) {
            return (struct choice){CHOOSE_DEAD, segments[i].id};
        }
    }
    struct choice choice = best_garbage(rules, segments, count);
    if (choice.reason == CHOOSE_NOTHING) {
        choice = most_garbage(rules, segments, count, tiers);
    }
    if (choice.reason == CHOOSE_NOTHING && slow_has_room(rules, tiers, tier_count)) {
        choice = oldest_fast(rules, segments, count, tiers);
    }
    return choice.reason == CHOOSE_NOTHING ? oldest_crumb(rules, segments, count) : choice;
}
