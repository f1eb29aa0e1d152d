/* SPDX-License-Identifier: MIT */
#include "engine/swarm/fetch.h"

#include "base/bits.h"
#include "base/must.h"
#include "engine/swarm/fetch_inside.h"
#include "proto/ipld/links.h"
#include "store/scan.h"

#include <stdio.h>
#include <string.h>

#define AHEAD_MAX       64u /* wants that are known to be missing and not asked for yet */
#define DUPLICATES_FREE 64u
#define LOCAL_MAX       256u /* wants whose local answer is out */

/* ---- wants ---------------------------------------------------------------------------------- */

void list_push(struct fetch *fetch, struct fetch_list *list, struct fetch_want *want, bool front) {
    uint32_t index = want_index(fetch, want);
    want->prev = front ? FETCH_NONE : list->tail;
    want->next = front ? list->head : FETCH_NONE;
    if (want->prev != FETCH_NONE) {
        want_at(fetch, want->prev)->next = index;
    } else {
        list->head = index;
    }
    if (want->next != FETCH_NONE) {
        want_at(fetch, want->next)->prev = index;
    } else {
        list->tail = index;
    }
    list->count++;
}

void list_remove(struct fetch *fetch, struct fetch_list *list, struct fetch_want *want) {
    if (want->prev != FETCH_NONE) {
        want_at(fetch, want->prev)->next = want->next;
    } else {
        list->head = want->next;
    }
    if (want->next != FETCH_NONE) {
        want_at(fetch, want->next)->prev = want->prev;
    } else {
        list->tail = want->prev;
    }
    must(list->count > 0);
    list->count--;
}

static uint32_t *head_of(const struct fetch *fetch, const struct key *key) {
    return &fetch->heads[key_hash(fetch->config.seed, key) & fetch->heads_mask];
}

struct fetch_want *fetch_find(const struct fetch *fetch, const struct key *key, uint32_t codec) {
    struct fetch_want *found = NULL;
    for (uint32_t i = *head_of(fetch, key); i != FETCH_NONE; i = want_at(fetch, i)->next_key) {
        struct fetch_want *want = want_at(fetch, i);
        if (key_equal(&want->key, key)) {
            found = want;
            if (want->codec == codec) {
                break; /* else one of another codec: the bytes are the same */
            }
        }
    }
    return found;
}

static struct fetch_want *want_make(struct fetch *fetch, const struct key *key,
                                    const struct cid *cid) {
    uint32_t index = fetch->free;
    must(index != FETCH_NONE);
    struct fetch_want *want = want_at(fetch, index);
    fetch->free = want->next;
    fetch->used++;
    *want = (struct fetch_want){.key = *key,
                                .codec = (uint32_t)cid->codec,
                                .version = (uint8_t)cid->version,
                                .state = WANT_ASKING,
                                .peer = FETCH_PEER_NONE,
                                .order = fetch->order++};
    uint32_t *head = head_of(fetch, key);
    want->next_key = *head;
    *head = index;
    return want;
}

static void want_free(struct fetch *fetch, struct fetch_want *want) {
    uint32_t index = want_index(fetch, want);
    uint32_t *link = head_of(fetch, &want->key);
    while (*link != index) {
        must(*link != FETCH_NONE);
        link = &want_at(fetch, *link)->next_key;
    }
    *link = want->next_key;
    want->state = WANT_FREE;
    want->next = fetch->free;
    fetch->free = index;
    fetch->used--;
}

/* Nothing more is to be done for it here; peers may still have to be told. */
static void want_over(struct fetch *fetch, struct fetch_want *want) {
    if (want->listed) {
        want->state = WANT_TELLING;
    } else {
        want_free(fetch, want);
    }
}

/* ---- the session ---------------------------------------------------------------------------- */

static uint32_t heads_count(uint32_t wants_max) {
    return (uint32_t)power_of_two_above(wants_max) * 2;
}

size_t fetch_wants_footprint(uint32_t wants_max) {
    return round_up(wants_max * sizeof(struct fetch_want), CACHE_LINE) +
           heads_count(wants_max) * sizeof(uint32_t);
}

static void cid_of_want(const struct fetch_want *want, struct cid *ret_cid) {
    cid_of_key(&want->key, want->codec, ret_cid);
    ret_cid->version = want->version;
}

void fetch_fail(struct fetch *fetch, enum fetch_why why, const struct cid *culprit) {
    if (fetch->state != FETCH_RUNNING) {
        return;
    }
    fetch->state = FETCH_FAILED;
    fetch->why = why;
    fetch->culprit_known = culprit != NULL;
    if (culprit) {
        fetch->culprit = *culprit;
    }
}

void fetch_fail_want(struct fetch *fetch, enum fetch_why why, const struct fetch_want *want) {
    struct cid cid;
    cid_of_want(want, &cid);
    fetch_fail(fetch, why, &cid);
}

void fetch_cancel(struct fetch *fetch) {
    fetch_fail(fetch, FETCH_WHY_CANCELED, NULL);
}

void fetch_abandon(struct fetch *fetch) {
    if (fetch->live == 0) {
        if (fetch->seeking.head != FETCH_NONE) {
            fetch_fail_want(fetch, FETCH_WHY_NO_PEER, want_at(fetch, fetch->seeking.head));
        } else {
            fetch->config.patience_ns = 0; /* what is here already may be all there is */
        }
    }
}

const struct key *fetch_key(const struct fetch *fetch, uint32_t want) {
    must(want < fetch->config.wants_max);
    return &want_at(fetch, want)->key;
}

uint32_t fetch_codec(const struct fetch *fetch, uint32_t want) {
    must(want < fetch->config.wants_max);
    return want_at(fetch, want)->codec;
}

/* A block is known by its key and codec: under another codec it has other links. */
static uint64_t name_hash(const struct fetch *fetch, const struct key *key, uint64_t codec) {
    return key_hash(fetch->config.seed ^ codec * UINT64_C(0x9e3779b97f4a7c15), key);
}

static bool codec_may_link(uint64_t codec) {
    return codec == CID_DAG_PB || codec == CID_DAG_CBOR || codec == CID_DAG_JSON;
}

/* Puts a link in line unless it was there before. Returns: false: the session has failed. */
static bool follow(struct fetch *fetch, const struct cid *cid) {
    struct key key;
    int r = cid_key(cid, &key);
    if (r == CID_IDENTITY && !codec_may_link(cid->codec)) {
        return true; /* it is here, in its name */
    }
    if (r == 0) {
        r = visited_add(&fetch->visited, name_hash(fetch, &key, cid->codec));
        if (r == VISITED_SEEN) {
            return true;
        }
        if (r != 0) {
            fetch_fail(fetch, r == VISITED_FULL ? FETCH_WHY_BLOCKS : FETCH_WHY_MEMORY, cid);
            return false;
        }
    } /* else spawn() will say what is wrong with it */
    r = frontier_push(&fetch->frontier, cid);
    if (r != 0) {
        fetch_fail(fetch, r == FRONTIER_FULL ? FETCH_WHY_FRONTIER : FETCH_WHY_MEMORY, cid);
        return false;
    }
    return true;
}

static void follow_all(struct fetch *fetch, const struct cid *of, const uint8_t *block,
                       size_t bytes) {
    if (!fetch->dag || !codec_may_link(of->codec)) {
        return;
    }
    struct links links;
    struct cid cid;
    size_t mark = fetch->frontier.used;
    int r;
    links_init(&links, of->codec, block, bytes);
    while ((r = links_next(&links, &cid)) == 0) {
        if (!follow(fetch, &cid)) {
            return;
        }
    }
    if (r == LINKS_BAD) {
        fetch_fail(fetch, FETCH_WHY_LINKS, of);
        return;
    }
    frontier_turn(&fetch->frontier, mark);
}

static void follow_want(struct fetch *fetch, const struct fetch_want *want, const uint8_t *block,
                        size_t bytes) {
    struct cid cid;
    cid_of_want(want, &cid);
    follow_all(fetch, &cid, block, bytes);
}

void fetch_init(struct fetch *fetch, void *memory, const struct fetch_config *config,
                const struct lender *lender, const struct cid *root, bool dag, uint64_t now_ns) {
    must(config->wants_max >= 16 && config->wants_max <= 65536);
    memset(fetch, 0, sizeof *fetch);
    fetch->config = *config;
    fetch->dag = dag;
    fetch->wants = memory;
    fetch->heads =
        (uint32_t *)(void *)((uint8_t *)memory +
                             round_up(config->wants_max * sizeof(struct fetch_want), CACHE_LINE));
    fetch->heads_mask = heads_count(config->wants_max) - 1;
    memset(fetch->heads, 0xff, heads_count(config->wants_max) * sizeof(uint32_t));
    for (uint32_t i = 0; i < config->wants_max; i++) {
        fetch->wants[i] = (struct fetch_want){
            .state = WANT_FREE, .next = i + 1 < config->wants_max ? i + 1 : FETCH_NONE};
    }
    fetch->seeking = fetch->telling = (struct fetch_list){.head = FETCH_NONE, .tail = FETCH_NONE};
    fetch->due_ns = UINT64_MAX;
    fetch->lonely_ns = now_ns;
    fetch->size_raw = 256 * KiB; /* what importers make */
    fetch->size_other = 16 * KiB;
    visited_init(&fetch->visited, lender, config->blocks_max);
    frontier_init(&fetch->frontier, lender, config->frontier_bytes);
    (void)follow(fetch, root); /* false: failed already */
}

void fetch_fini(struct fetch *fetch) {
    visited_fini(&fetch->visited);
    frontier_fini(&fetch->frontier);
}

/* ---- actions -------------------------------------------------------------------------------- */

void fetch_act(const struct fetch *fetch, const struct fetch_want *want, enum fetch_kind kind,
               uint8_t peer, struct fetch_action *action) {
    *action = (struct fetch_action){
        .key = want->key,
        .form = {.codec = want->codec, .version = want->version},
        .priority = INT32_MAX - (int32_t)(want->order & INT32_MAX), /* first known, first sent */
        .want = want_index(fetch, want),
        .kind = (uint8_t)kind,
        .peer = peer,
    };
}

/* Takes a want back from all whose list may hold it, but `except`. Returns: actions. */
static uint32_t withdraw(const struct fetch *fetch, struct fetch_want *want,
                         struct fetch_action actions[]) {
    uint32_t count = 0;
    uint64_t told = want->told;
    want->told = 0;
    while (told) {
        uint8_t peer = (uint8_t)__builtin_ctzll(told);
        told &= told - 1;
        fetch_act(fetch, want, FETCH_CANCEL, peer, &actions[count++]);
    }
    return count;
}

static uint32_t tell(struct fetch *fetch, struct fetch_action actions[], uint32_t max) {
    uint32_t count = 0;
    while (fetch->telling.head != FETCH_NONE && count + FETCH_PEERS_MAX <= max) {
        struct fetch_want *want = want_at(fetch, fetch->telling.head);
        list_remove(fetch, &fetch->telling, want);
        want->listed = false;
        count += withdraw(fetch, want, &actions[count]);
        if (want->state == WANT_TELLING) {
            want_free(fetch, want);
        }
    }
    return count;
}

/* The session has ended: every peer that was asked is told. */
static uint32_t tell_end(struct fetch *fetch, struct fetch_action actions[], uint32_t max) {
    uint32_t count = 0;
    while (fetch->tell_cursor < fetch->config.wants_max && count + FETCH_PEERS_MAX <= max) {
        struct fetch_want *want = want_at(fetch, fetch->tell_cursor++);
        if (want->state != WANT_FREE) {
            count += withdraw(fetch, want, &actions[count]);
        }
    }
    return count;
}

/* One link becomes a want that is looked for here first. Returns: whether there was one. */
static bool spawn(struct fetch *fetch, struct fetch_action actions[], uint32_t *count) {
    struct cid cid;
    struct key key;
    if (!frontier_pop(&fetch->frontier, &cid)) {
        return false;
    }
    int r = cid_key(&cid, &key);
    if (fetch->dag && !links_codec_known(cid.codec)) {
        fetch_fail(fetch, FETCH_WHY_CODEC, &cid);
    } else if (r == CID_IDENTITY) {
        fetch->numbers.here_blocks++;
        follow_all(fetch, &cid, cid.digest, cid.digest_bytes);
    } else if (r != 0) {
        fetch_fail(fetch, FETCH_WHY_HASH, &cid);
    } else if (cid.codec > UINT32_MAX) {
        fetch_fail(fetch, FETCH_WHY_CODEC, &cid);
    } else {
        struct fetch_want *want = want_make(fetch, &key, &cid);
        fetch->local++;
        fetch_act(fetch, want, FETCH_ASK_LOCAL, FETCH_PEER_NONE, &actions[(*count)++]);
    }
    return fetch->state == FETCH_RUNNING;
}

static bool may_spawn(const struct fetch *fetch) {
    return fetch->free != FETCH_NONE && fetch->seeking.count < AHEAD_MAX &&
           fetch->local < LOCAL_MAX;
}

/* Nobody is there to be asked, and nobody is expected. */
static void mind_loneliness(struct fetch *fetch, uint64_t now_ns) {
    if (fetch->live != 0 || fetch->expected > 0) {
        fetch->lonely_ns = 0;
    } else if (fetch->lonely_ns == 0) {
        fetch->lonely_ns = now_ns;
    } else if (fetch->seeking.count > 0 && now_ns - fetch->lonely_ns >= fetch->config.patience_ns) {
        fetch_fail_want(fetch, FETCH_WHY_NO_PEER, want_at(fetch, fetch->seeking.head));
    }
}

uint32_t fetch_next(struct fetch *fetch, uint64_t now_ns, struct fetch_action actions[],
                    uint32_t max) {
    must(max >= FETCH_ACTIONS_MIN);
    if (fetch->state != FETCH_RUNNING) {
        return tell_end(fetch, actions, max);
    }
    ask_late(fetch, now_ns);
    mind_loneliness(fetch, now_ns);
    uint32_t count = tell(fetch, actions, max);
    count += ask_all(fetch, now_ns, &actions[count], max - count);
    while (count < max && may_spawn(fetch) && spawn(fetch, actions, &count)) {
    }
    if (fetch->state == FETCH_RUNNING && fetch->used == 0 && fetch->frontier.used == 0) {
        fetch->state = FETCH_DONE;
    }
    if (fetch->state == FETCH_FAILED) {
        /* With nothing else to say the caller would take the end for the end of all actions. */
        count += tell_end(fetch, &actions[count], max - count);
    }
    return count;
}

uint64_t fetch_due_ns(const struct fetch *fetch) {
    if (fetch->state != FETCH_RUNNING) {
        return fetch->tell_cursor < fetch->config.wants_max ? 0 : UINT64_MAX;
    }
    uint64_t lonely = fetch->lonely_ns && fetch->seeking.count > 0
                          ? fetch->lonely_ns + fetch->config.patience_ns
                          : UINT64_MAX;
    return min_u64(fetch->due_ns, lonely);
}

/* ---- local events --------------------------------------------------------------------------- */

static bool is_empty(const struct key *key) {
    uint8_t digest[HASH_DIGEST_MAX];
    return hash_compute(key->code, "", 0, digest, key->digest_bytes) == 0 &&
           memcmp(digest, key->digest, key->digest_bytes) == 0;
}

/* It was here all the time. */
static void want_here(struct fetch *fetch, struct fetch_want *want) {
    fetch->numbers.here_blocks++;
    if (want->told) {
        want->listed = true;
        list_push(fetch, &fetch->telling, want, false);
    }
    want_over(fetch, want);
}

enum fetch_order fetch_local(struct fetch *fetch, uint32_t index, bool present) {
    struct fetch_want *want = want_at(fetch, index);
    must(want->state == WANT_ASKING && fetch->local > 0);
    if (fetch->state != FETCH_RUNNING) {
        fetch->local--;
        want_over(fetch, want);
        return FETCH_ORDER_NONE;
    }
    if (present && fetch->dag && codec_may_link(want->codec)) {
        want->state = WANT_READING;
        return FETCH_ORDER_READ;
    }
    fetch->local--;
    if (present) {
        want_here(fetch, want);
        return FETCH_ORDER_NONE;
    }
    if (is_empty(&want->key)) {
        want->state = WANT_STORING;
        fetch->numbers.storing++;
        return FETCH_ORDER_STORE_EMPTY;
    }
    ask_seek(fetch, want, false);
    return FETCH_ORDER_NONE;
}

void fetch_read(struct fetch *fetch, uint32_t index, const uint8_t *block, size_t bytes) {
    struct fetch_want *want = want_at(fetch, index);
    must(want->state == WANT_READING && fetch->local > 0);
    fetch->local--;
    if (fetch->state != FETCH_RUNNING) {
        want_over(fetch, want);
    } else if (!block) {
        ask_seek(fetch, want, false);
    } else {
        follow_want(fetch, want, block, bytes);
        want_here(fetch, want);
    }
}

void fetch_stored(struct fetch *fetch, uint32_t index, enum fetch_stored how) {
    struct fetch_want *want = want_at(fetch, index);
    must(want->state == WANT_STORING && fetch->numbers.storing > 0);
    fetch->numbers.storing--;
    fetch->numbers.held_bytes -= want->bytes;
    if (how == FETCH_STORED) {
        fetch->numbers.blocks++;
        fetch->numbers.bytes += want->bytes;
    } else {
        fetch_fail_want(fetch, how == FETCH_STORE_FULL ? FETCH_WHY_FULL : FETCH_WHY_STORE, want);
    }
    want_over(fetch, want);
}

/* ---- peers' events -------------------------------------------------------------------------- */

bool fetch_knows(const struct fetch *fetch, const struct key *key, uint32_t codec) {
    return fetch_find(fetch, key, codec) != NULL ||
           visited_has(&fetch->visited, name_hash(fetch, key, codec));
}

/* One more that came for nothing. A peer may send some twice and is still owed an ear; one that
 * sends more of them than wanted ones uses up what it may send. */
static enum fetch_verdict duplicate(struct fetch *fetch, struct fetch_peer *peer, uint32_t bytes) {
    fetch->numbers.duplicate_blocks++;
    fetch->numbers.duplicate_bytes += bytes;
    if (peer && ++peer->duplicates > peer->blocks + DUPLICATES_FREE) {
        peer->owed -= peer->owed > 0;
    }
    return FETCH_DUPLICATE;
}

/* A block came that is no want of ours. Once a name of the DAG, it is late; else a lie, or noise.
 * Where others could be asked, what it was asked longest ago is sought with them first. */
static enum fetch_verdict not_wanted(struct fetch *fetch, uint8_t slot, const struct key *key,
                                     uint32_t codec, uint32_t bytes) {
    struct fetch_peer *peer = slot != FETCH_PEER_NONE ? &fetch->peers[slot] : NULL;
    if (visited_has(&fetch->visited, name_hash(fetch, key, codec))) {
        return duplicate(fetch, peer, bytes);
    }
    fetch->numbers.unwanted_blocks++;
    if (!peer || peer->out) {
        return FETCH_UNWANTED;
    }
    peer->bad++;
    if (peer->bad >= FETCH_BAD_MAX) {
        peer->out = true;
        peer->owed = 0; /* nothing more of it is looked at */
        ask_leave(fetch, slot);
    } else if (peer->list.head != FETCH_NONE) {
        struct fetch_want *want = want_at(fetch, peer->list.head);
        if (fetch->live & ~(peer_bit(slot) | want->dont_have | want->late)) {
            want->late |= peer_bit(slot);
            ask_end(fetch, want);
            ask_seek(fetch, want, true);
        }
    }
    return FETCH_UNWANTED;
}

enum fetch_verdict fetch_block(struct fetch *fetch, uint8_t slot, const struct key *key,
                               const struct bitswap_form *form, const uint8_t *block,
                               uint32_t bytes, uint64_t now_ns, uint32_t *ret_want) {
    struct fetch_peer *peer = slot != FETCH_PEER_NONE ? &fetch->peers[slot] : NULL;
    struct fetch_want *want = fetch_find(fetch, key, form->codec);
    must(!peer || peer->up);
    if (!want && fetch->state == FETCH_RUNNING) {
        return not_wanted(fetch, slot, key, form->codec, bytes);
    }
    if (fetch->state != FETCH_RUNNING ||
        (want->state != WANT_SEEKING && want->state != WANT_ASKED)) {
        return duplicate(fetch, peer, bytes);
    }
    if (peer) {
        if (want->state == WANT_ASKED && want->peer == slot) {
            ask_learn(fetch, peer, want, bytes, now_ns);
        }
        peer->owed -= peer->owed > 0;
        peer->bad = (uint8_t)(peer->bad - (peer->bad > 0));
        peer->heard_ns = peer->arrived_ns = now_ns;
        peer->blocks++;
        peer->block_bytes += bytes;
        want->told &= ~peer_bit(slot);
    }
    ask_end(fetch, want);
    want->state = WANT_STORING;
    want->bytes = bytes;
    if (want->told) {
        want->listed = true;
        list_push(fetch, &fetch->telling, want, false);
    }
    fetch->numbers.storing++;
    fetch->numbers.held_bytes += bytes;
    follow_want(fetch, want, block, bytes);
    *ret_want = want_index(fetch, want);
    return FETCH_TAKE;
}

void fetch_presence(struct fetch *fetch, uint8_t slot, const struct key *key,
                    const struct bitswap_form *form, bool have) {
    struct fetch_peer *peer = &fetch->peers[slot];
    must(peer->up);
    struct fetch_want *want = fetch_find(fetch, key, form->codec);
    if (!want || fetch->state != FETCH_RUNNING) {
        return;
    }
    uint64_t bit = peer_bit(slot);
    peer->owed -= peer->owed > 0 && !((want->have | want->dont_have) & bit);
    bool of_it = want->state == WANT_ASKED && want->peer == slot;
    if (have) {
        want->have |= bit;
        want->dont_have &= ~bit;
        if (!(want->asked & bit)) {
            want->told &= ~bit; /* a HAVE ends a want-have */
        }
        return;
    }
    fetch->numbers.dont_haves++;
    peer->dont_haves++;
    want->dont_have |= bit;
    want->have &= ~bit;
    if (of_it) {
        ask_end(fetch, want);
        ask_seek(fetch, want, true);
    }
}

void fetch_heard(struct fetch *fetch, uint8_t slot, uint64_t now_ns) {
    fetch->peers[slot].heard_ns = now_ns;
}

uint32_t fetch_owes(const struct fetch *fetch, uint8_t slot) {
    return fetch->peers[slot].owed;
}

/* ---- what is said --------------------------------------------------------------------------- */

static const char *const whys[FETCH_WHY_COUNT] = {
    [FETCH_WHY_NONE] = "",
    [FETCH_WHY_ABSENT] = "no peer that was asked has it",
    [FETCH_WHY_NO_PEER] = "no peer is connected that could be asked for it",
    [FETCH_WHY_HASH] = "its hash function is not available here",
    [FETCH_WHY_CODEC] = "links of its codec cannot be read here",
    [FETCH_WHY_LINKS] = "the block is not what its codec says",
    [FETCH_WHY_BLOCKS] = "the DAG has more blocks than a fetch can remember",
    [FETCH_WHY_FRONTIER] = "the DAG has too many links to follow at once",
    [FETCH_WHY_MEMORY] = "no memory is left to remember the DAG in",
    [FETCH_WHY_FULL] = "the store takes no more blocks",
    [FETCH_WHY_STORE] = "the store failed to take it",
    [FETCH_WHY_CANCELED] = "canceled",
};

size_t fetch_say(const struct fetch *fetch, char text[FETCH_SAY_MAX]) {
    char cid[CID_TEXT_MAX];
    text[0] = '\0';
    if (fetch->state != FETCH_FAILED) {
        return 0;
    }
    int used;
    if (fetch->culprit_known) {
        cid_format(&fetch->culprit, cid);
        used = snprintf(text, FETCH_SAY_MAX, "%s: %s", cid, whys[fetch->why]);
    } else {
        used = snprintf(text, FETCH_SAY_MAX, "%s", whys[fetch->why]);
    }
    return (size_t)used;
}

void fetch_count(const struct fetch *fetch, struct fetch_numbers *ret_numbers) {
    *ret_numbers = fetch->numbers;
    ret_numbers->known = fetch->visited.entries;
    ret_numbers->frontier = fetch->frontier.entries;
}
