/* SPDX-License-Identifier: MIT */
#include "base/bits.h"
#include "engine/swarm/ledger.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* The ledger against a model of it that is a plain array, over random calls of one seed. The model
 * knows nothing of trees, tables or lists: it looks at every want it has. */

#define PEERS    5u
#define NUMBERS  24u
#define PEER_MAX 9u
#define STEPS    60000u

struct model_want {
    bool held;
    uint32_t number, version;
    enum ledger_state state;
    enum job_class class;
    int32_t priority;
    bool have, send_dont_have, canceled, told;
    uint64_t named, waited; /* waited: grows with each want that began to wait */
    uint64_t served_at;     /* the count of arrivals when it was given out */
    struct ledger_want *real;
};

struct model_peer {
    struct model_want wants[NUMBERS][2];
    uint64_t sent, told, received;
};

struct rig {
    struct ledger ledger;
    struct ledger_peer peers[PEERS];
    struct model_peer model[PEERS];
    uint64_t arrivals;            /* word of arrivals and rescans so far */
    uint64_t arrived_at[NUMBERS]; /* of them, the last of this block */
    uint64_t missed_at;           /* the last rescan */
    uint64_t random, now, waits;
    uint64_t left; /* times a want was withdrawn or went, in whatever way */
};

static uint32_t draw(struct rig *rig, uint32_t below) {
    rig->random = rig->random * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (uint32_t)(rig->random >> 33) % below;
}

static struct bitswap_want want_of(uint32_t number, uint32_t version) {
    struct bitswap_want want = {
        .key = {.code = HASH_SHA2_256, .digest_bytes = 32},
        .form = {.codec = version ? 0x55 : 0x70, .version = (uint8_t)version},
    };
    put_le32(want.key.digest, number);
    return want;
}

static struct model_want *model_of(struct rig *rig, const struct ledger_want *want) {
    ptrdiff_t peer = want->peer - rig->peers;
    cr_assert(peer >= 0 && peer < (ptrdiff_t)PEERS);
    return &rig->model[peer].wants[get_le32(want->key.digest)][want->version];
}

static uint32_t held_by(const struct model_peer *peer, enum ledger_state state, bool any) {
    uint32_t held = 0;
    for (uint32_t i = 0; i < NUMBERS * 2; i++) {
        const struct model_want *want = &peer->wants[i / 2][i % 2];
        held += want->held && (any || want->state == state);
    }
    return held;
}

static uint32_t held_by_all(const struct rig *rig) {
    uint32_t held = 0;
    for (uint32_t i = 0; i < PEERS; i++) {
        held += held_by(&rig->model[i], LEDGER_FREE, true);
    }
    return held;
}

static bool before(const struct model_want *a, const struct model_want *b) {
    if (a->class != b->class) {
        return a->class < b->class;
    }
    if (a->priority != b->priority) {
        return a->priority > b->priority;
    }
    return a->named < b->named;
}

/* The first QUEUED. */
static struct model_want *model_first(struct model_peer *peer) {
    struct model_want *first = NULL;
    for (uint32_t i = 0; i < NUMBERS * 2; i++) {
        struct model_want *want = &peer->wants[i / 2][i % 2];
        if (want->held && want->state == LEDGER_QUEUED && (!first || before(want, first))) {
            first = want;
        }
    }
    return first;
}

/* Whom the bound costs its place: of WAITING the lowest and of those the oldest; else of QUEUED the
 * last. */
static struct model_want *model_victim(struct model_peer *peer, enum ledger_state state) {
    struct model_want *victim = NULL;
    for (uint32_t i = 0; i < NUMBERS * 2; i++) {
        struct model_want *want = &peer->wants[i / 2][i % 2];
        if (!want->held || want->state != state) {
            continue;
        }
        bool level = victim && want->class == victim->class && want->priority == victim->priority;
        bool worse = !victim || (level && state == LEDGER_WAITING ? want->named < victim->named
                                                                  : before(victim, want));
        victim = worse ? want : victim;
    }
    return victim;
}

static void model_drop(struct rig *rig, struct model_want *want) {
    rig->left += !want->canceled;
    want->held = false;
}

static void step_add(struct rig *rig, uint32_t p) {
    uint32_t number = draw(rig, NUMBERS), version = draw(rig, 2);
    struct bitswap_want want = want_of(number, version);
    want.priority = (int32_t)draw(rig, 4) - 2;
    want.have = draw(rig, 2);
    want.send_dont_have = draw(rig, 2);
    enum job_class class = (enum job_class)(1 + draw(rig, 2));
    struct model_peer *peer = &rig->model[p];
    struct model_want *model = &peer->wants[number][version];
    int expected = 0;
    peer->received++;
    if (model->held) {
        expected = LEDGER_MERGED;
        model->have = want.have && (model->have || model->canceled);
        model->send_dont_have = want.send_dont_have || (model->send_dont_have && !model->canceled);
        model->state = model->state == LEDGER_SERVING ? LEDGER_SERVING : LEDGER_QUEUED;
    } else {
        uint32_t left = rig->ledger.config.wants_max - held_by_all(rig);
        if (held_by(peer, LEDGER_FREE, true) >= min_u32(PEER_MAX, left / 4)) {
            struct model_want *victim = model_victim(peer, LEDGER_WAITING);
            if (!victim) {
                victim = model_victim(peer, LEDGER_QUEUED);
                if (victim && (victim->class < class ||
                               (victim->class == class && victim->priority >= want.priority))) {
                    victim = NULL;
                }
            }
            if (victim) {
                model_drop(rig, victim);
            } else {
                expected = LEDGER_REFUSED;
            }
        }
        if (expected == 0) {
            *model = (struct model_want){.held = true,
                                         .number = number,
                                         .version = version,
                                         .state = LEDGER_QUEUED,
                                         .have = want.have,
                                         .send_dont_have = want.send_dont_have};
        }
    }
    cr_assert_eq(ledger_add(&rig->ledger, &rig->peers[p], &want, class, rig->now), expected);
    if (expected != LEDGER_REFUSED) {
        model->class = class;
        model->priority = want.priority;
        model->canceled = false;
        model->told = false;
        model->named = rig->ledger.named_ns;
    }
}

static void model_withdraw(struct rig *rig, struct model_want *want) {
    if (want->state == LEDGER_SERVING) {
        rig->left += !want->canceled;
        want->canceled = true;
    } else {
        model_drop(rig, want);
    }
}

static void step_cancel(struct rig *rig, uint32_t p) {
    uint32_t number = draw(rig, NUMBERS), version = draw(rig, 2);
    struct bitswap_want want = want_of(number, version);
    struct model_want *model = &rig->model[p].wants[number][version];
    bool expected = model->held && !model->canceled;
    if (expected) {
        model_withdraw(rig, model);
    }
    cr_assert_eq(ledger_cancel(&rig->ledger, &rig->peers[p], &want), expected);
}

static void step_full(struct rig *rig, uint32_t p) {
    uint64_t mark = ledger_mark(&rig->ledger, rig->now);
    for (uint32_t n = draw(rig, 4); n > 0; n--) {
        step_add(rig, p);
    }
    uint32_t dropped = 0;
    for (uint32_t i = 0; i < NUMBERS * 2; i++) {
        struct model_want *want = &rig->model[p].wants[i / 2][i % 2];
        if (want->held && !want->canceled && want->named <= mark) {
            model_withdraw(rig, want);
            dropped++;
        }
    }
    cr_assert_eq(ledger_message_full(&rig->ledger, &rig->peers[p], mark), dropped);
}

static void step_next(struct rig *rig, uint32_t p) {
    struct model_want *model = model_first(&rig->model[p]);
    struct ledger_want *want = ledger_next(&rig->ledger, &rig->peers[p]);
    cr_assert_eq(want != NULL, model != NULL);
    if (!want) {
        return;
    }
    cr_assert_eq(model_of(rig, want), model);
    cr_assert_eq(want->priority, model->priority);
    cr_assert_eq(want->have, model->have);
    cr_assert_eq(want->send_dont_have, model->send_dont_have);
    model->state = LEDGER_SERVING;
    model->real = want;
    model->served_at = rig->arrivals;
}

/* One of what the peer has SERVING comes back. */
static void step_back(struct rig *rig, uint32_t p) {
    struct model_peer *peer = &rig->model[p];
    struct model_want *model = NULL;
    uint32_t seen = 0;
    for (uint32_t i = 0; i < NUMBERS * 2; i++) {
        struct model_want *want = &peer->wants[i / 2][i % 2];
        if (want->held && want->state == LEDGER_SERVING && draw(rig, ++seen) == 0) {
            model = want;
        }
    }
    if (!model) {
        return;
    }
    cr_assert_eq(model->real->canceled, model->canceled);
    cr_assert_eq(model->real->have, model->have);
    bool canceled = model->canceled;
    switch (draw(rig, 3)) {
    case 0:
        peer->sent++;
        model_drop(rig, model);
        ledger_done(&rig->ledger, model->real, LEDGER_BLOCK, 1);
        break;
    case 1:
        if (canceled) {
            model_drop(rig, model);
        }
        cr_assert_eq(ledger_put_back(&rig->ledger, model->real), !canceled);
        model->state = LEDGER_QUEUED;
        break;
    default: {
        int r = ledger_absent(&rig->ledger, model->real);
        bool must_again =
            rig->arrived_at[model->number] > model->served_at || rig->missed_at > model->served_at;
        if (canceled) {
            cr_assert_eq(r, LEDGER_GONE);
            model_drop(rig, model);
        } else if (must_again || r == LEDGER_AGAIN) {
            cr_assert_eq(r, LEDGER_AGAIN);
            cr_assert_gt(rig->arrivals, model->served_at, "again only if something came");
            model->state = LEDGER_QUEUED;
        } else {
            bool tell = model->send_dont_have && !model->told;
            cr_assert_eq(r, tell ? LEDGER_TELL : 0);
            peer->told += tell;
            model->told = model->told || tell;
            model->state = LEDGER_WAITING;
            model->waited = ++rig->waits;
        }
        break;
    }
    }
}

static void step_arrive(struct rig *rig) {
    uint32_t number = draw(rig, NUMBERS);
    struct bitswap_want want = want_of(number, 0);
    struct ledger_peer *woken[3];
    uint32_t moved = ledger_arrived(&rig->ledger, &want.key, woken, 3);
    rig->arrived_at[number] = ++rig->arrivals;
    for (uint32_t i = 0; i < 3; i++) {
        struct model_want *first = NULL;
        uint32_t owner = 0;
        for (uint32_t p = 0; p < PEERS * 2; p++) {
            struct model_want *at = &rig->model[p / 2].wants[number][p % 2];
            if (at->held && at->state == LEDGER_WAITING && (!first || at->waited < first->waited)) {
                first = at;
                owner = p / 2;
            }
        }
        cr_assert_eq(first != NULL, i < moved);
        if (first) {
            first->state = LEDGER_QUEUED;
            cr_assert_eq(woken[i], &rig->peers[owner]);
        }
    }
}

static void step_rescan(struct rig *rig) {
    struct ledger_peer *woken[7];
    uint32_t expected = 0, moved = 0;
    for (uint32_t p = 0; p < PEERS; p++) {
        for (uint32_t i = 0; i < NUMBERS * 2; i++) {
            struct model_want *want = &rig->model[p].wants[i / 2][i % 2];
            if (want->held && want->state == LEDGER_WAITING) {
                want->state = LEDGER_QUEUED;
                expected++;
            }
        }
    }
    ledger_rescan_begin(&rig->ledger);
    rig->missed_at = ++rig->arrivals;
    while (ledger_rescanning(&rig->ledger)) {
        moved += ledger_rescan(&rig->ledger, woken, 7);
    }
    cr_assert_eq(moved, expected);
}

static void step_expire(struct rig *rig) {
    uint64_t before_ns = rig->now - draw(rig, 200);
    uint32_t expected = 0;
    for (uint32_t p = 0; p < PEERS; p++) {
        for (uint32_t i = 0; i < NUMBERS * 2; i++) {
            struct model_want *want = &rig->model[p].wants[i / 2][i % 2];
            if (want->held && want->state == LEDGER_WAITING && want->named < before_ns) {
                model_drop(rig, want);
                expected++;
            }
        }
    }
    cr_assert_eq(ledger_expire(&rig->ledger, before_ns, rig->ledger.config.wants_max), expected);
}

static void step_gone(struct rig *rig, uint32_t p) {
    for (uint32_t i = 0; i < NUMBERS * 2; i++) {
        struct model_want *want = &rig->model[p].wants[i / 2][i % 2];
        if (want->held) {
            model_drop(rig, want);
        }
    }
    ledger_peer_gone(&rig->ledger, &rig->peers[p]);
    cr_assert_eq(rig->peers[p].bytes_sent, rig->model[p].sent);
    cr_assert_eq(rig->peers[p].dont_haves_sent, rig->model[p].told);
    cr_assert_eq(rig->peers[p].wants_received, rig->model[p].received);
    rig->model[p] = (struct model_peer){0};
    ledger_peer_init(&rig->ledger, &rig->peers[p]);
}

static void check(struct rig *rig) {
    uint32_t waiting = 0;
    for (uint32_t p = 0; p < PEERS; p++) {
        const struct ledger_peer *peer = &rig->peers[p];
        const struct model_peer *model = &rig->model[p];
        cr_assert_eq(peer->wants, held_by(model, LEDGER_FREE, true));
        cr_assert_eq(peer->queued, held_by(model, LEDGER_QUEUED, false));
        cr_assert_eq(peer->serving, held_by(model, LEDGER_SERVING, false));
        cr_assert_eq(peer->waiting, held_by(model, LEDGER_WAITING, false));
        waiting += peer->waiting;
    }
    const struct ledger_counters *counters = &rig->ledger.counters;
    cr_assert_eq(counter_get(&counters->wants), held_by_all(rig));
    cr_assert_eq(counter_get(&counters->waiting), waiting);
    uint64_t left = counter_get(&counters->cancelled) + counter_get(&counters->replaced) +
                    counter_get(&counters->evicted) + counter_get(&counters->expired) +
                    counter_get(&counters->gone) + counter_get(&counters->served) +
                    counter_get(&counters->unanswered);
    cr_assert_leq(left, counter_get(&counters->added));
}

static void run(uint64_t seed, uint32_t wants_max, uint64_t seen[ledger_counter_count]) {
    struct rig *rig = calloc(1, sizeof *rig);
    struct ledger_config config = {
        .wants_max = wants_max, .peer_wants_max = PEER_MAX, .salt = seed};
    void *memory = aligned_alloc(CACHE_PAIR, round_up(ledger_footprint(&config), CACHE_PAIR));
    ledger_init(&rig->ledger, memory, &config);
    for (uint32_t p = 0; p < PEERS; p++) {
        ledger_peer_init(&rig->ledger, &rig->peers[p]);
    }
    rig->random = seed;
    rig->now = 1000;
    for (uint32_t i = 0; i < STEPS; i++) {
        uint32_t p = draw(rig, PEERS), dice = draw(rig, 1000);
        rig->now += draw(rig, 3);
        if (dice < 400) {
            step_add(rig, p);
        } else if (dice < 460) {
            step_cancel(rig, p);
        } else if (dice < 680) {
            step_next(rig, p);
        } else if (dice < 900) {
            step_back(rig, p);
        } else if (dice < 960) {
            step_arrive(rig);
        } else if (dice < 980) {
            step_full(rig, p);
        } else if (dice < 985) {
            step_rescan(rig);
        } else if (dice < 995) {
            step_expire(rig);
        } else {
            step_gone(rig, p);
        }
        check(rig);
    }
    const struct ledger_counters *counters = &rig->ledger.counters;
    for (uint32_t i = 0; i < (uint32_t)ledger_counter_count; i++) {
        seen[i] += counter_get((const counter_t *)(const void *)counters + i);
    }
    for (uint32_t p = 0; p < PEERS; p++) {
        step_gone(rig, p);
    }
    cr_assert_eq(counter_get(&counters->added), rig->left, "every want left in one counted way");
    cr_assert_eq(counter_get(&counters->cancelled) + counter_get(&counters->replaced) +
                     counter_get(&counters->evicted) + counter_get(&counters->expired) +
                     counter_get(&counters->gone) + counter_get(&counters->served),
                 counter_get(&counters->added));
    cr_assert_eq(pool_used(&rig->ledger.wants), 0);
    free(memory);
    free(rig);
}

Test(ledger_model, agrees_over_random_calls) {
    uint64_t seen[ledger_counter_count] = {0};
    for (uint64_t seed = 1; seed <= 4; seed++) {
        run(seed, seed % 2 ? 48 : 200, seen); /* the bound of all is met, or that of a peer */
    }
    for (uint32_t i = 0; i < (uint32_t)ledger_counter_count; i++) {
        bool never_here = strcmp(ledger_counter_info[i].name, "unanswered") == 0;
        cr_assert(seen[i] > 0 || never_here, "not met: %s", ledger_counter_info[i].name);
    }
}
