/* SPDX-License-Identifier: MIT */
/* engine/swarm/fetch.c and engine/swarm/fetch_ask.c against a network that is made up: seeded
 * delays, losses, liars, slow peers and disconnects, in time that only the test moves. */

#include "engine/swarm/fetch.h"

#include "proto/ipld/links.h"
#include "tests/engine/dag.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define PEERS_MAX  8u
#define EVENTS_MAX 65536u
#define NOBODY     UINT8_MAX

/* What a peer does with a want. */
enum manner {
    HONEST,
    SILENT, /* never answers */
    LIAR,   /* says HAVE, sends something else */
    POOR,   /* has every third block */
    GONE    /* honest, and drops its connection now and then */
};

struct peer {
    enum manner manner;
    uint64_t delay_ns, byte_ns;
    uint32_t loss; /* of 100 answers */
    uint64_t free_ns;
    uint8_t slot; /* NOBODY: not connected */
    uint32_t generation;
    uint64_t sent;
};

enum what { BLOCK, RUBBISH, HAVE, DONT_HAVE, CONNECT, STORED };
struct event {
    uint64_t at_ns;
    enum what what;
    uint8_t peer;
    uint32_t generation, block, want;
};

struct sim {
    struct fetch fetch;
    void *memory;
    struct dag dag;
    uint64_t random, now_ns;
    struct peer peers[PEERS_MAX];
    uint32_t peer_count;
    struct event *events;
    uint32_t event_count;
    bool here[DAG_BLOCKS_MAX];
    uint32_t stored[DAG_BLOCKS_MAX];
    uint8_t asked_of[DAG_BLOCKS_MAX];
    uint64_t max_held;
    uint64_t lent, lent_max;
    uint32_t empties;
};

static void *take(void *context, size_t bytes) {
    struct sim *sim = context;
    sim->lent += bytes;
    sim->lent_max = sim->lent > sim->lent_max ? sim->lent : sim->lent_max;
    return malloc(bytes);
}
static void give(void *context, void *memory, size_t bytes) {
    ((struct sim *)context)->lent -= bytes;
    free(memory);
}

static uint64_t draw(struct sim *sim, uint64_t below) {
    return dag_random(&sim->random) % below;
}

static void later(struct sim *sim, uint64_t at_ns, struct event event) {
    cr_assert_lt(sim->event_count, EVENTS_MAX);
    event.at_ns = at_ns;
    sim->events[sim->event_count++] = event;
}

static const struct fetch_config plain_config = {
    .seed = 1,
    .wants_max = 256,
    .window_bytes = 1 * MiB,
    .blocks_max = 1 << 20,
    .frontier_bytes = 1 << 20,
    .patience_ns = 10 * NS_PER_S,
};

static struct sim *sim_make(uint64_t seed, uint32_t leaves) {
    struct sim *sim = calloc(1, sizeof *sim);
    sim->random = seed;
    sim->now_ns = NS_PER_S;
    sim->events = calloc(EVENTS_MAX, sizeof *sim->events);
    dag_make(&sim->dag, &sim->random, leaves, 3000, 12);
    memset(sim->asked_of, NOBODY, sizeof sim->asked_of);
    return sim;
}

static void sim_begin(struct sim *sim, const struct fetch_config *config) {
    struct lender lender = {.take = take, .give = give, .context = sim};
    sim->memory =
        aligned_alloc(CACHE_LINE, (fetch_wants_footprint(config->wants_max) + 63) & ~63ul);
    fetch_init(&sim->fetch, sim->memory, config, &lender, &dag_root(&sim->dag)->cid, true,
               sim->now_ns);
}

static void sim_free(struct sim *sim) {
    fetch_fini(&sim->fetch);
    cr_assert_eq(sim->lent, 0);
    dag_free(&sim->dag);
    free(sim->memory);
    free(sim->events);
    free(sim);
}

static struct peer *sim_peer(struct sim *sim, enum manner manner) {
    struct peer *peer = &sim->peers[sim->peer_count++];
    *peer = (struct peer){.manner = manner,
                          .delay_ns = 100 * NS_PER_US + draw(sim, 20 * NS_PER_MS),
                          .byte_ns = 1 + draw(sim, 100)};
    peer->slot = fetch_peer_up(&sim->fetch, 0, sim->now_ns);
    cr_assert_neq(peer->slot, FETCH_PEER_NONE);
    return peer;
}

static bool peer_has(const struct peer *peer, uint32_t block) {
    return peer->manner != POOR || block % 3 == 0;
}

static struct peer *peer_of(struct sim *sim, uint8_t slot) {
    for (uint32_t i = 0; i < sim->peer_count; i++) {
        if (sim->peers[i].slot == slot) {
            return &sim->peers[i];
        }
    }
    cr_assert_fail("an action for a peer that is not there");
    return NULL;
}

static void disconnect(struct sim *sim, struct peer *peer) {
    fetch_peer_down(&sim->fetch, peer->slot);
    for (uint32_t i = 0; i < sim->dag.count; i++) {
        if (sim->asked_of[i] == (uint8_t)(peer - sim->peers)) {
            sim->asked_of[i] = NOBODY;
        }
    }
    peer->slot = NOBODY;
    peer->generation++;
    later(sim, sim->now_ns + 50 * NS_PER_MS,
          (struct event){.what = CONNECT, .peer = (uint8_t)(peer - sim->peers)});
}

/* A peer gets a want: its answer comes when it has sent what came before. */
static void on_want(struct sim *sim, struct peer *peer, uint32_t block, bool want_have) {
    struct event event = {
        .peer = (uint8_t)(peer - sim->peers), .generation = peer->generation, .block = block};
    uint64_t start = sim->now_ns + peer->delay_ns;
    start = start > peer->free_ns ? start : peer->free_ns;
    if (peer->manner == SILENT || draw(sim, 100) < peer->loss) {
        return;
    }
    if (!peer_has(peer, block)) {
        event.what = DONT_HAVE;
    } else if (want_have) {
        event.what = HAVE;
    } else {
        event.what = peer->manner == LIAR ? RUBBISH : BLOCK;
        start += sim->dag.blocks[block].count * peer->byte_ns;
        peer->free_ns = start;
    }
    later(sim, start, event);
}

static void on_local(struct sim *sim, const struct fetch_action *action) {
    uint32_t block = dag_find(&sim->dag, &action->key);
    cr_assert_neq(block, UINT32_MAX);
    const struct dag_block *b = &sim->dag.blocks[block];
    switch (fetch_local(&sim->fetch, action->want, sim->here[block])) {
    case FETCH_ORDER_READ:
        fetch_read(&sim->fetch, action->want, b->bytes, b->count);
        break;
    case FETCH_ORDER_STORE_EMPTY:
        cr_assert_eq(b->count, 0);
        sim->empties++;
        sim->here[block] = true;
        sim->stored[block]++;
        fetch_stored(&sim->fetch, action->want, FETCH_STORED);
        break;
    case FETCH_ORDER_NONE:
        break;
    }
}

static void act(struct sim *sim, const struct fetch_action *action) {
    uint32_t block = dag_find(&sim->dag, &action->key);
    if (action->kind == FETCH_ASK_LOCAL) {
        on_local(sim, action);
        return;
    }
    struct peer *peer = peer_of(sim, action->peer);
    uint8_t who = (uint8_t)(peer - sim->peers);
    if (action->kind == FETCH_WANT_BLOCK) {
        cr_assert(sim->asked_of[block] == NOBODY || sim->asked_of[block] == who,
                  "one want-block per CID at a time");
        sim->asked_of[block] = who;
        on_want(sim, peer, block, false);
    } else if (action->kind == FETCH_WANT_HAVE) {
        on_want(sim, peer, block, true);
    } else if (sim->asked_of[block] == who) {
        sim->asked_of[block] = NOBODY;
    }
    if (peer->manner == GONE && ++peer->sent % 97 == 0) {
        disconnect(sim, peer);
    }
}

static void deliver(struct sim *sim, const struct event *event, struct peer *peer) {
    const struct dag_block *block = &sim->dag.blocks[event->block];
    struct bitswap_form form = {.codec = (uint32_t)block->cid.codec, .version = 1};
    uint32_t want;
    if (sim->asked_of[event->block] == event->peer && event->what != HAVE) {
        sim->asked_of[event->block] = NOBODY;
    }
    if (event->what == RUBBISH) {
        struct key other = block->key;
        other.digest[0] ^= 0xff;
        bool out = sim->fetch.peers[peer->slot].out;
        if (fetch_owes(&sim->fetch, peer->slot) && !out) {
            cr_assert_eq(fetch_block(&sim->fetch, peer->slot, &other, &form, block->bytes,
                                     block->count, sim->now_ns, &want),
                         FETCH_UNWANTED);
        }
    } else if (event->what == BLOCK) {
        cr_assert(fetch_owes(&sim->fetch, peer->slot));
        if (fetch_block(&sim->fetch, peer->slot, &block->key, &form, block->bytes, block->count,
                        sim->now_ns, &want) == FETCH_TAKE) {
            sim->stored[event->block]++;
            later(sim, sim->now_ns + NS_PER_MS,
                  (struct event){.what = STORED, .want = want, .block = event->block});
        }
    } else {
        fetch_presence(&sim->fetch, peer->slot, &block->key, &form, event->what == HAVE);
    }
}

static void on_event(struct sim *sim, const struct event *event) {
    struct peer *peer = &sim->peers[event->peer];
    if (event->what == STORED) {
        sim->here[event->block] = true;
        fetch_stored(&sim->fetch, event->want, FETCH_STORED);
    } else if (event->what == CONNECT) {
        peer->slot = fetch_peer_up(&sim->fetch, 0, sim->now_ns);
    } else if (peer->slot != NOBODY && peer->generation == event->generation) {
        deliver(sim, event, peer);
    }
}

static void pump(struct sim *sim) {
    struct fetch_action actions[256];
    uint32_t count;
    do {
        count = fetch_next(&sim->fetch, sim->now_ns, actions, 256);
        for (uint32_t i = 0; i < count; i++) {
            if (actions[i].kind == FETCH_ASK_LOCAL ||
                sim->fetch.peers[actions[i].peer].up) { /* it may have gone since */
                act(sim, &actions[i]);
            }
        }
        uint64_t held = sim->fetch.numbers.held_bytes;
        sim->max_held = held > sim->max_held ? held : sim->max_held;
    } while (count > 0);
}

/* Moves time to the next event or deadline. Returns: false: nothing will ever happen. */
static bool step(struct sim *sim) {
    uint32_t first = UINT32_MAX;
    for (uint32_t i = 0; i < sim->event_count; i++) {
        if (first == UINT32_MAX || sim->events[i].at_ns < sim->events[first].at_ns) {
            first = i;
        }
    }
    uint64_t due = fetch_due_ns(&sim->fetch);
    if (first == UINT32_MAX || due < sim->events[first].at_ns) {
        if (due == UINT64_MAX) {
            return false;
        }
        sim->now_ns = due > sim->now_ns ? due : sim->now_ns;
        return true;
    }
    struct event event = sim->events[first];
    sim->events[first] = sim->events[--sim->event_count];
    sim->now_ns = event.at_ns > sim->now_ns ? event.at_ns : sim->now_ns;
    on_event(sim, &event);
    return true;
}

static void run(struct sim *sim) {
    pump(sim);
    while (sim->fetch.state == FETCH_RUNNING) {
        cr_assert(step(sim), "the session waits for nothing");
        pump(sim);
        cr_assert_lt(sim->now_ns, 4000 * NS_PER_S, "the session does not end");
    }
    if (sim->fetch.state == FETCH_FAILED) {
        cr_assert_eq(sim->fetch.tell_cursor, sim->fetch.config.wants_max,
                     "all that were asked are told before nothing is left to say");
    }
}

static void all_here_once(struct sim *sim) {
    char why[FETCH_SAY_MAX];
    (void)fetch_say(&sim->fetch, why);
    cr_assert_eq(sim->fetch.state, FETCH_DONE, "%s", why);
    struct fetch_numbers numbers;
    fetch_count(&sim->fetch, &numbers);
    cr_assert_eq(numbers.blocks + numbers.here_blocks, sim->dag.count);
    cr_assert_eq(numbers.known, sim->dag.count);
    cr_assert_eq(numbers.in_flight + numbers.storing + numbers.held_bytes, 0);
    for (uint32_t i = 0; i < sim->dag.count; i++) {
        cr_assert(sim->here[i]);
        cr_assert_leq(sim->stored[i], 1, "block %u was stored %u times", i, sim->stored[i]);
    }
    cr_assert_leq(sim->max_held, sim->fetch.config.window_bytes + 256 * KiB);
    cr_assert_leq(sim->lent_max, 256 * KiB); /* links of a path, and hashes */
}

Test(fetch, one_honest_peer_gives_every_block_once) {
    struct sim *sim = sim_make(1, 500);
    sim_begin(sim, &plain_config);
    sim_peer(sim, HONEST);
    run(sim);
    all_here_once(sim);
    struct fetch_numbers numbers;
    fetch_count(&sim->fetch, &numbers);
    cr_assert_eq(numbers.bytes, sim->dag.bytes);
    cr_assert_eq(numbers.asked, sim->dag.count - 1); /* the empty block is made here */
    cr_assert_eq(numbers.duplicate_blocks, 0);
    cr_assert_eq(sim->empties, 1);
    sim_free(sim);
}

Test(fetch, with_liars_losses_and_deserters_every_block_comes_once) {
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct sim *sim = sim_make(seed, 300);
        sim_begin(sim, &plain_config);
        sim_peer(sim, HONEST);
        uint32_t others = 1 + (uint32_t)draw(sim, PEERS_MAX - 1);
        for (uint32_t i = 0; i < others; i++) {
            struct peer *peer = sim_peer(sim, (enum manner)draw(sim, 5));
            peer->loss = draw(sim, 4) == 0 ? 20 : 0;
        }
        run(sim);
        all_here_once(sim);
        sim_free(sim);
    }
}

Test(fetch, a_peer_that_loses_answers_is_asked_again) {
    struct sim *sim = sim_make(3, 200);
    sim_begin(sim, &plain_config);
    sim_peer(sim, HONEST)->loss = 10;
    run(sim);
    all_here_once(sim);
    cr_assert_gt(sim->fetch.numbers.late, 0);
    sim_free(sim);
}

Test(fetch, a_liar_is_asked_no_more) {
    struct sim *sim = sim_make(4, 300);
    sim_begin(sim, &plain_config);
    struct peer *liar = sim_peer(sim, LIAR);
    liar->delay_ns = 1000;
    liar->byte_ns = 1;
    sim_peer(sim, HONEST);
    run(sim);
    all_here_once(sim);
    cr_assert(sim->fetch.peers[liar->slot].out);
    cr_assert_eq(fetch_owes(&sim->fetch, liar->slot), 0);
    cr_assert_leq(sim->fetch.numbers.unwanted_blocks, FETCH_BAD_MAX);
    sim_free(sim);
}

Test(fetch, the_faster_peer_gives_more) {
    struct sim *sim = sim_make(5, 2000);
    sim_begin(sim, &plain_config);
    struct peer *fast = sim_peer(sim, HONEST), *slow = sim_peer(sim, HONEST);
    fast->delay_ns = NS_PER_MS;
    fast->byte_ns = 20;
    slow->delay_ns = NS_PER_MS;
    slow->byte_ns = 400;
    run(sim);
    all_here_once(sim);
    uint64_t of_fast = sim->fetch.peers[fast->slot].block_bytes;
    uint64_t of_slow = sim->fetch.peers[slow->slot].block_bytes;
    cr_assert_gt(of_fast, 4 * of_slow);
    cr_assert_gt(of_slow, 0);
    sim_free(sim);
}

Test(fetch, what_is_here_is_not_fetched_again_but_followed) {
    struct sim *sim = sim_make(6, 400);
    sim_begin(sim, &plain_config);
    sim_peer(sim, HONEST);
    for (uint32_t i = 0; i < sim->dag.count; i++) {
        sim->here[i] = i % 2 == 0 || i + 1 == sim->dag.count;
    }
    run(sim);
    all_here_once(sim);
    struct fetch_numbers numbers;
    fetch_count(&sim->fetch, &numbers);
    for (uint32_t i = 0; i < sim->dag.count; i += 2) {
        cr_assert_eq(sim->stored[i], 0);
    }
    cr_assert_eq(numbers.here_blocks, (sim->dag.count + 1) / 2 + (sim->dag.count % 2 == 0));
    sim_free(sim);
}

Test(fetch, a_dag_that_is_all_here_needs_nobody) {
    struct sim *sim = sim_make(7, 100);
    sim_begin(sim, &plain_config);
    memset(sim->here, true, sizeof sim->here);
    run(sim);
    all_here_once(sim);
    cr_assert_eq(sim->fetch.numbers.asked, 0);
    sim_free(sim);
}

static bool says(const struct sim *sim, const char *words) {
    char text[FETCH_SAY_MAX];
    (void)fetch_say(&sim->fetch, text);
    return strstr(text, words) != NULL;
}

static const char *name_of(const struct dag_block *block) {
    static char text[CID_TEXT_MAX];
    cid_format(&block->cid, text);
    return text;
}

Test(fetch, a_block_that_nobody_has_fails_by_its_name) {
    struct sim *sim = sim_make(8, 100);
    sim_begin(sim, &plain_config);
    sim_peer(sim, POOR);
    sim_peer(sim, POOR);
    run(sim);
    cr_assert_eq(sim->fetch.state, FETCH_FAILED);
    cr_assert_eq(sim->fetch.why, FETCH_WHY_ABSENT);
    struct key key;
    cr_assert_eq(cid_key(&sim->fetch.culprit, &key), 0);
    uint32_t block = dag_find(&sim->dag, &key);
    cr_assert_neq(block % 3, 0);
    cr_assert(says(sim, name_of(&sim->dag.blocks[block])));
    sim_free(sim);
}

Test(fetch, a_silent_peer_is_given_up_in_the_end) {
    struct sim *sim = sim_make(9, 20);
    sim_begin(sim, &plain_config);
    sim_peer(sim, SILENT);
    run(sim);
    cr_assert_eq(sim->fetch.why, FETCH_WHY_ABSENT);
    cr_assert_eq(sim->fetch.numbers.asked, FETCH_ROUNDS_MAX + 1);
    sim_free(sim);
}

Test(fetch, without_a_peer_it_waits_only_so_long) {
    struct sim *sim = sim_make(10, 20);
    sim_begin(sim, &plain_config);
    run(sim);
    cr_assert_eq(sim->fetch.why, FETCH_WHY_NO_PEER);
    cr_assert_eq(sim->now_ns, NS_PER_S + plain_config.patience_ns);
    sim_free(sim);
}

Test(fetch, nothing_is_given_up_while_a_peer_is_expected) {
    struct sim *sim = sim_make(11, 30);
    sim_begin(sim, &plain_config);
    fetch_expect(&sim->fetch, 1);
    sim_peer(sim, POOR)->manner = POOR;
    pump(sim);
    while (sim->fetch.state == FETCH_RUNNING && sim->event_count > 0) {
        cr_assert(step(sim));
        pump(sim);
    }
    cr_assert_eq(sim->fetch.state, FETCH_RUNNING);
    fetch_expect(&sim->fetch, -1);
    sim_peer(sim, HONEST);
    run(sim);
    all_here_once(sim);
    sim_free(sim);
}

Test(fetch, limits_fail_it_with_a_sentence) {
    static const struct {
        uint64_t blocks_max;
        size_t frontier_bytes;
        enum fetch_why why;
        const char *words;
    } cases[] = {
        {50, 1 << 20, FETCH_WHY_BLOCKS, "more blocks"},
        {1 << 20, 500, FETCH_WHY_FRONTIER, "too many links"},
    };
    for (size_t i = 0; i < 2; i++) {
        struct sim *sim = sim_make(12, 200);
        struct fetch_config config = plain_config;
        config.blocks_max = cases[i].blocks_max;
        config.frontier_bytes = cases[i].frontier_bytes;
        sim_begin(sim, &config);
        sim_peer(sim, HONEST);
        run(sim);
        cr_assert_eq(sim->fetch.why, cases[i].why);
        cr_assert(says(sim, cases[i].words));
        sim_free(sim);
    }
}

Test(fetch, an_end_before_the_end_cancels_what_was_asked) {
    struct sim *sim = sim_make(13, 200);
    sim_begin(sim, &plain_config);
    struct peer *peer = sim_peer(sim, HONEST);
    sim_peer(sim, HONEST);
    peer->delay_ns = NS_PER_S;
    pump(sim);
    for (uint32_t i = 0; i < 300 && sim->event_count > 0; i++) {
        cr_assert(step(sim));
        pump(sim);
    }
    cr_assert_eq(sim->fetch.state, FETCH_RUNNING);
    fetch_cancel(&sim->fetch);
    pump(sim);
    cr_assert_eq(sim->fetch.why, FETCH_WHY_CANCELED);
    for (uint32_t i = 0; i < sim->dag.count; i++) {
        cr_assert_eq(sim->asked_of[i], NOBODY);
    }
    while (sim->event_count > 0) {
        cr_assert(step(sim)); /* what still comes does no harm */
    }
    cr_assert_eq(sim->fetch.numbers.storing, 0);
    sim_free(sim);
}

static void one_block(struct sim *sim, const struct cid *root, bool dag) {
    struct lender lender = {.take = take, .give = give, .context = sim};
    sim->memory = aligned_alloc(CACHE_LINE, (fetch_wants_footprint(256) + 63) & ~63ul);
    fetch_init(&sim->fetch, sim->memory, &plain_config, &lender, root, dag, sim->now_ns);
}

Test(fetch, a_single_block_s_links_are_not_followed) {
    struct sim *sim = sim_make(14, 50);
    one_block(sim, &dag_root(&sim->dag)->cid, false);
    sim_peer(sim, HONEST);
    run(sim);
    cr_assert_eq(sim->fetch.state, FETCH_DONE);
    cr_assert_eq(sim->fetch.numbers.blocks, 1);
    cr_assert(sim->here[sim->dag.count - 1]);
    sim_free(sim);
}

Test(fetch, an_identity_cid_is_here_already) {
    struct sim *sim = sim_make(15, 5);
    struct cid identity = {.version = 1, .codec = CID_RAW, .hash = 0, .digest_bytes = 3};
    one_block(sim, &identity, true);
    run(sim);
    cr_assert_eq(sim->fetch.state, FETCH_DONE);
    sim_free(sim);
}

Test(fetch, what_cannot_be_fetched_is_said_at_once) {
    struct cid keccak = {.version = 1, .codec = CID_RAW, .hash = 0x1b, .digest_bytes = 32};
    struct cid git = {.version = 1, .codec = 0x78, .hash = HASH_SHA2_256, .digest_bytes = 32};
    struct sim *sim = sim_make(16, 5);
    one_block(sim, &keccak, false);
    run(sim);
    cr_assert_eq(sim->fetch.why, FETCH_WHY_HASH);
    fetch_fini(&sim->fetch);
    free(sim->memory);
    one_block(sim, &git, true);
    run(sim);
    cr_assert_eq(sim->fetch.why, FETCH_WHY_CODEC);
    sim_free(sim);
}

Test(fetch, a_block_that_is_not_what_its_codec_says_is_named) {
    struct sim *sim = sim_make(17, 5);
    struct dag_block *leaf = &sim->dag.blocks[1]; /* random bytes, now called a node */
    leaf->cid.codec = CID_DAG_CBOR;
    leaf->bytes[0] = 0xff;
    cr_assert_eq(hash_compute(HASH_SHA2_256, leaf->bytes, leaf->count, leaf->key.digest, 32), 0);
    memcpy(leaf->cid.digest, leaf->key.digest, 32);
    one_block(sim, &leaf->cid, true);
    sim_peer(sim, HONEST);
    run(sim);
    cr_assert_eq(sim->fetch.why, FETCH_WHY_LINKS);
    cr_assert(says(sim, name_of(leaf)));
    sim_free(sim);
}

Test(fetch, a_store_that_is_full_ends_it) {
    struct sim *sim = sim_make(18, 5);
    struct fetch_action actions[256];
    uint32_t want;
    const struct dag_block *root = dag_root(&sim->dag);
    struct bitswap_form form = {.codec = CID_DAG_PB, .version = 1};
    one_block(sim, &root->cid, false);
    uint8_t slot = fetch_peer_up(&sim->fetch, NS_PER_MS, sim->now_ns);
    cr_assert_eq(fetch_next(&sim->fetch, sim->now_ns, actions, 256), 1);
    cr_assert_eq(fetch_local(&sim->fetch, actions[0].want, false), FETCH_ORDER_NONE);
    cr_assert_eq(fetch_next(&sim->fetch, sim->now_ns, actions, 256), 1);
    cr_assert_eq(actions[0].kind, FETCH_WANT_BLOCK);
    cr_assert_eq(actions[0].priority, INT32_MAX);
    cr_assert_eq(fetch_block(&sim->fetch, slot, &root->key, &form, root->bytes, root->count,
                             sim->now_ns, &want),
                 FETCH_TAKE);
    cr_assert_eq(fetch_block(&sim->fetch, slot, &root->key, &form, root->bytes, root->count,
                             sim->now_ns, &want),
                 FETCH_DUPLICATE);
    fetch_stored(&sim->fetch, want, FETCH_STORE_FULL);
    cr_assert_eq(sim->fetch.why, FETCH_WHY_FULL);
    cr_assert(says(sim, name_of(root)));
    sim_free(sim);
}

Test(fetch, peers_beyond_its_slots_are_turned_away) {
    struct sim *sim = sim_make(19, 5);
    sim_begin(sim, &plain_config);
    for (uint32_t i = 0; i < FETCH_PEERS_MAX; i++) {
        cr_assert_eq(fetch_peer_up(&sim->fetch, 0, 0), i);
    }
    cr_assert_eq(fetch_peer_up(&sim->fetch, 0, 0), FETCH_PEER_NONE);
    fetch_peer_down(&sim->fetch, 7);
    cr_assert_eq(fetch_peer_up(&sim->fetch, 0, 0), 7);
    sim_free(sim);
}
