/* SPDX-License-Identifier: MIT */
#include "engine/swarm/ledger.h"

#include "base/bits.h"
#include "base/must.h"
#include "engine/swarm/ledger_index.h"

COUNTER_NAMES(ledger, LEDGER_COUNTERS);

/* Arrivals are remembered by this many hashes: a want that was looked up while its block arrived is
 * looked up again. One in so many lookups that miss is repeated for nothing per arrival meanwhile.
 */
#define ARRIVED_SLOTS 4096u

/* --- set-up ----------------------------------------------------------------------------------- */

static size_t table_bytes(const struct ledger_config *config) {
    return round_up(power_of_two_above(config->wants_max) * sizeof(uint32_t), CACHE_PAIR);
}

static size_t wants_bytes(const struct ledger_config *config) {
    return round_up(pool_footprint(sizeof(struct ledger_want), config->wants_max), CACHE_PAIR);
}

size_t ledger_footprint(const struct ledger_config *config) {
    return wants_bytes(config) + 2 * table_bytes(config) + ARRIVED_SLOTS * sizeof(uint64_t);
}

void ledger_init(struct ledger *ledger, void *memory, const struct ledger_config *config) {
    must((uintptr_t)memory % CACHE_PAIR == 0);
    must(config->peer_wants_max >= 1);
    uint8_t *at = memory;
    *ledger = (struct ledger){
        .config = *config,
        .table_mask = (uint32_t)power_of_two_above(config->wants_max) - 1,
        .rescan_at = LEDGER_NONE,
    };
    pool_init(&ledger->wants, at, sizeof(struct ledger_want), config->wants_max);
    at += wants_bytes(config);
    ledger->peer_table = (uint32_t *)(void *)at;
    at += table_bytes(config);
    ledger->key_table = (uint32_t *)(void *)at;
    at += table_bytes(config);
    ledger->arrived_at = (uint64_t *)(void *)at;
    memset(ledger->peer_table, 0xff, 2 * table_bytes(config)); /* both: LEDGER_NONE */
    memset(ledger->arrived_at, 0, ARRIVED_SLOTS * sizeof(uint64_t));
}

void ledger_peer_init(struct ledger *ledger, struct ledger_peer *peer) {
    uint64_t salt = ledger->config.salt + ++ledger->peers_made;
    *peer = (struct ledger_peer){
        .queued_root = LEDGER_NONE,
        .waiting_root = LEDGER_NONE,
        .list_head = LEDGER_NONE,
        .list_tail = LEDGER_NONE,
        .canceled_head = LEDGER_NONE,
        .salt = (uint32_t)(salt * UINT64_C(0x9e3779b97f4a7c15) >> 32),
    };
}

/* Slots are handed out from 0 up, so all that were ever used stand below this. */
static uint32_t slots_used(const struct ledger *ledger) {
    return ledger->wants.slots_max - ledger->wants.low_water;
}

/* A time no want has yet. */
static uint64_t stamp(struct ledger *ledger, uint64_t now_ns) {
    ledger->named_ns = max_u64(now_ns, ledger->named_ns + 1);
    return ledger->named_ns;
}

/* --- the peer's list: in the order of names; canceled ones stand in a list of their own --------
 */

static void list_add(struct ledger *ledger, struct ledger_want *want) {
    struct ledger_peer *peer = want->peer;
    uint32_t slot = pool_index(&ledger->wants, want);
    want->list_next = want->canceled ? peer->canceled_head : LEDGER_NONE;
    want->list_prev = want->canceled ? LEDGER_NONE : peer->list_tail;
    if (want->list_prev != LEDGER_NONE) {
        ledger_at(ledger, want->list_prev)->list_next = slot;
    } else if (want->canceled) {
        peer->canceled_head = slot;
    } else {
        peer->list_head = slot;
    }
    if (want->list_next != LEDGER_NONE) {
        ledger_at(ledger, want->list_next)->list_prev = slot;
    } else if (!want->canceled) {
        peer->list_tail = slot;
    }
}

static void list_remove(struct ledger *ledger, struct ledger_want *want) {
    struct ledger_peer *peer = want->peer;
    if (want->list_prev != LEDGER_NONE) {
        ledger_at(ledger, want->list_prev)->list_next = want->list_next;
    } else if (want->canceled) {
        peer->canceled_head = want->list_next;
    } else {
        peer->list_head = want->list_next;
    }
    if (want->list_next != LEDGER_NONE) {
        ledger_at(ledger, want->list_next)->list_prev = want->list_prev;
    } else if (!want->canceled) {
        peer->list_tail = want->list_prev;
    }
}

/* --- states: every move goes through leave and one of the three that enter ----------------------
 */

static void leave(struct ledger *ledger, struct ledger_want *want) {
    struct ledger_peer *peer = want->peer;
    uint32_t slot = pool_index(&ledger->wants, want);
    switch ((enum ledger_state)want->state) {
    case LEDGER_QUEUED:
        ledger_tree_remove(ledger, &peer->queued_root, slot);
        peer->queued--;
        break;
    case LEDGER_WAITING:
        ledger_tree_remove(ledger, &peer->waiting_root, slot);
        ledger_group_remove(ledger, slot);
        want->offset = 0; /* it shared its word */
        peer->waiting--;
        ledger->waiting--;
        break;
    case LEDGER_SERVING:
        peer->serving--;
        break;
    case LEDGER_FREE:
        never("a want that nobody holds");
    }
}

static void enter_queued(struct ledger *ledger, struct ledger_want *want) {
    want->state = LEDGER_QUEUED;
    want->peer->queued++;
    ledger_tree_add(ledger, &want->peer->queued_root, pool_index(&ledger->wants, want));
}

static void enter_waiting(struct ledger *ledger, struct ledger_want *want) {
    uint32_t slot = pool_index(&ledger->wants, want);
    want->state = LEDGER_WAITING;
    want->peer->waiting++;
    ledger->waiting++;
    ledger_tree_add(ledger, &want->peer->waiting_root, slot);
    ledger_group_add(ledger, slot);
}

/* Takes a want out of everything and frees it. */
static void drop(struct ledger *ledger, struct ledger_want *want) {
    leave(ledger, want);
    list_remove(ledger, want);
    ledger_name_remove(ledger, pool_index(&ledger->wants, want));
    want->peer->wants--;
    want->state = LEDGER_FREE;
    want->peer = NULL;
    pool_put(&ledger->wants, want);
}

/* What moved is told to the counters once a call, not once a want. */
static void count(struct ledger *ledger) {
    counter_set(&ledger->counters.wants, pool_used(&ledger->wants));
    counter_set(&ledger->counters.waiting, ledger->waiting);
    counter_set(&ledger->counters.wants_peak, slots_used(ledger));
}

void ledger_peer_gone(struct ledger *ledger, struct ledger_peer *peer) {
    while (peer->canceled_head != LEDGER_NONE) {
        drop(ledger, ledger_at(ledger, peer->canceled_head));
    }
    counter_add(&ledger->counters.gone, peer->wants);
    while (peer->list_head != LEDGER_NONE) {
        drop(ledger, ledger_at(ledger, peer->list_head));
    }
    must(peer->wants == 0);
    count(ledger);
}

/* --- messages --------------------------------------------------------------------------------- */

uint64_t ledger_mark(struct ledger *ledger, uint64_t now_ns) {
    return stamp(ledger, now_ns);
}

static void merge(struct ledger *ledger, struct ledger_want *held, const struct bitswap_want *want,
                  enum job_class class, uint64_t now_ns) {
    bool serving = held->state == LEDGER_SERVING;
    if (!serving) {
        leave(ledger, held);
    }
    list_remove(ledger, held);
    if (held->canceled) {
        counter_add(&ledger->counters.added, 1);
        held->have = want->have;
        held->send_dont_have = want->send_dont_have;
    } else {
        counter_add(&ledger->counters.merged, 1);
        held->have = held->have && want->have;
        held->send_dont_have = held->send_dont_have || want->send_dont_have;
    }
    held->canceled = false;
    held->told = false;
    held->priority = want->priority;
    held->class = (uint8_t) class;
    held->named_ns = stamp(ledger, now_ns);
    list_add(ledger, held);
    if (!serving) {
        enter_queued(ledger, held);
    }
}

/* Makes room for one more want of the peer, at the cost of a lesser one of its own if need be. */
static bool make_room(struct ledger *ledger, struct ledger_peer *peer,
                      const struct bitswap_want *want, enum job_class class) {
    uint32_t share = ledger->wants.free_count / 4;
    if (peer->wants < min_u32(share, ledger->config.peer_wants_max)) {
        return true;
    }
    uint32_t slot = ledger_tree_last(ledger, peer->waiting_root);
    if (slot == LEDGER_NONE) {
        slot = ledger_tree_last(ledger, peer->queued_root);
        const struct ledger_want *last = slot == LEDGER_NONE ? NULL : ledger_at(ledger, slot);
        if (!last || last->class < class ||
            (last->class == class && last->priority >= want->priority)) {
            bool full = peer->wants >= ledger->config.peer_wants_max;
            counter_add(full ? &ledger->counters.refused_peer_full : &ledger->counters.refused_pool,
                        1);
            return false;
        }
    }
    counter_add(&ledger->counters.evicted, 1);
    drop(ledger, ledger_at(ledger, slot));
    return true;
}

int ledger_add(struct ledger *ledger, struct ledger_peer *peer, const struct bitswap_want *want,
               enum job_class class, uint64_t now_ns) {
    must(!want->cancel);
    must(class < CLASS_COUNT);
    peer->wants_received++;
    uint32_t slot = ledger_name_find(ledger, peer, &want->key, &want->form);
    if (slot != LEDGER_NONE) {
        merge(ledger, ledger_at(ledger, slot), want, class, now_ns);
        count(ledger);
        return LEDGER_MERGED;
    }
    if (!make_room(ledger, peer, want, class)) {
        return LEDGER_REFUSED;
    }
    struct ledger_want *held = pool_get(&ledger->wants);
    must(held);
    *held = (struct ledger_want){
        .key = want->key,
        .codec = want->form.codec,
        .version = want->form.version,
        .peer = peer,
        .named_ns = stamp(ledger, now_ns),
        .priority = want->priority,
        .class = (uint8_t) class,
        .have = want->have,
        .send_dont_have = want->send_dont_have,
    };
    peer->wants++;
    list_add(ledger, held);
    ledger_name_add(ledger, pool_index(&ledger->wants, held));
    enter_queued(ledger, held);
    counter_add(&ledger->counters.added, 1);
    count(ledger);
    return 0;
}

/* The peer does not want it any more: dropped, or marked while a job is out. */
static void withdraw(struct ledger *ledger, struct ledger_want *want) {
    if (want->state != LEDGER_SERVING) {
        drop(ledger, want);
        return;
    }
    list_remove(ledger, want);
    want->canceled = true;
    list_add(ledger, want);
}

bool ledger_cancel(struct ledger *ledger, struct ledger_peer *peer,
                   const struct bitswap_want *want) {
    peer->cancels_received++;
    uint32_t slot = ledger_name_find(ledger, peer, &want->key, &want->form);
    if (slot == LEDGER_NONE || ledger_at(ledger, slot)->canceled) {
        return false;
    }
    withdraw(ledger, ledger_at(ledger, slot));
    counter_add(&ledger->counters.cancelled, 1);
    count(ledger);
    return true;
}

uint32_t ledger_message_full(struct ledger *ledger, struct ledger_peer *peer, uint64_t mark) {
    uint32_t dropped = 0;
    while (peer->list_head != LEDGER_NONE) {
        struct ledger_want *want = ledger_at(ledger, peer->list_head);
        if (want->named_ns > mark) {
            break;
        }
        withdraw(ledger, want);
        dropped++;
    }
    counter_add(&ledger->counters.replaced, dropped);
    count(ledger);
    return dropped;
}

/* --- serving ---------------------------------------------------------------------------------- */

const struct ledger_want *ledger_peek(const struct ledger *ledger, const struct ledger_peer *peer) {
    uint32_t slot = ledger_tree_first(ledger, peer->queued_root);
    return slot == LEDGER_NONE ? NULL : ledger_at(ledger, slot);
}

struct ledger_want *ledger_next(struct ledger *ledger, struct ledger_peer *peer) {
    if (peer->queued_root == LEDGER_NONE) {
        return NULL;
    }
    struct ledger_want *want = ledger_at(ledger, ledger_tree_pop(ledger, &peer->queued_root));
    peer->queued--;
    peer->serving++;
    want->state = LEDGER_SERVING;
    want->served_at = ledger->sequence;
    return want;
}

struct ledger_handle ledger_handle(const struct ledger *ledger, const struct ledger_want *want) {
    uint32_t slot = pool_index(&ledger->wants, want);
    return (struct ledger_handle){slot, pool_generation(&ledger->wants, slot)};
}

struct ledger_want *ledger_find(const struct ledger *ledger, struct ledger_handle handle) {
    return pool_find(&ledger->wants, handle.slot, handle.generation);
}

void ledger_done(struct ledger *ledger, struct ledger_want *want, enum ledger_answer answer,
                 uint32_t bytes) {
    struct ledger_peer *peer = want->peer;
    must(want->state == LEDGER_SERVING);
    switch (answer) {
    case LEDGER_BLOCK:
        peer->blocks_sent++;
        peer->bytes_sent += bytes;
        break;
    case LEDGER_HAVE:
        peer->haves_sent++;
        break;
    case LEDGER_DONT_HAVE:
        peer->dont_haves_sent++;
        break;
    case LEDGER_NOTHING:
        break;
    }
    if (!want->canceled) { /* else it was counted when it was withdrawn */
        counter_add(
            answer == LEDGER_NOTHING ? &ledger->counters.unanswered : &ledger->counters.served, 1);
    }
    drop(ledger, want);
    count(ledger);
}

bool ledger_put_back(struct ledger *ledger, struct ledger_want *want) {
    must(want->state == LEDGER_SERVING);
    if (want->canceled) {
        drop(ledger, want);
        count(ledger);
        return false;
    }
    leave(ledger, want);
    enter_queued(ledger, want);
    return true;
}

int ledger_absent(struct ledger *ledger, struct ledger_want *want) {
    must(want->state == LEDGER_SERVING);
    if (want->canceled) {
        drop(ledger, want);
        count(ledger);
        return LEDGER_GONE;
    }
    leave(ledger, want);
    uint64_t hash = ledger_hash(ledger, &want->key);
    uint64_t arrived = max_u64(ledger->arrived_at[hash % ARRIVED_SLOTS], ledger->missed_at);
    if (unlikely(arrived > want->served_at)) {
        want->offset = 0;
        enter_queued(ledger, want);
        return LEDGER_AGAIN;
    }
    enter_waiting(ledger, want);
    counter_set(&ledger->counters.waiting, ledger->waiting);
    if (!want->send_dont_have || want->told) {
        return 0;
    }
    want->told = true;
    want->peer->dont_haves_sent++;
    return LEDGER_TELL;
}

/* --- blocks and time -------------------------------------------------------------------------- */

static struct ledger_peer *wake(struct ledger *ledger, struct ledger_want *want) {
    leave(ledger, want);
    enter_queued(ledger, want);
    return want->peer;
}

uint32_t ledger_arrived(struct ledger *ledger, const struct key *key, struct ledger_peer *woken[],
                        uint32_t max) {
    uint64_t hash = ledger_hash(ledger, key);
    ledger->arrived_at[hash % ARRIVED_SLOTS] = ++ledger->sequence;
    uint32_t moved = 0;
    while (moved < max) {
        uint32_t slot = ledger_group_find(ledger, key, hash);
        if (slot == LEDGER_NONE) {
            break;
        }
        woken[moved++] = wake(ledger, ledger_at(ledger, slot));
    }
    if (moved > 0) {
        counter_add(&ledger->counters.arrivals, 1);
        counter_add(&ledger->counters.arrived, moved);
        counter_set(&ledger->counters.waiting, ledger->waiting);
    }
    return moved;
}

void ledger_rescan_begin(struct ledger *ledger) {
    ledger->missed_at = ++ledger->sequence;
    ledger->rescan_at = 0;
}

uint32_t ledger_rescan(struct ledger *ledger, struct ledger_peer *woken[], uint32_t max) {
    if (!ledger_rescanning(ledger)) {
        return 0;
    }
    uint32_t end = slots_used(ledger);
    uint32_t stop = ledger->rescan_at + min_u32(max, end - ledger->rescan_at);
    uint32_t moved = 0;
    for (; ledger->rescan_at < stop; ledger->rescan_at++) {
        struct ledger_want *want = ledger_at(ledger, ledger->rescan_at);
        if (want->state == LEDGER_WAITING) {
            woken[moved++] = wake(ledger, want);
        }
    }
    if (ledger->rescan_at == end) {
        ledger->rescan_at = LEDGER_NONE;
    }
    counter_add(&ledger->counters.rescanned, moved);
    counter_set(&ledger->counters.waiting, ledger->waiting);
    return moved;
}

uint32_t ledger_expire(struct ledger *ledger, uint64_t before_ns, uint32_t slots) {
    uint32_t end = slots_used(ledger);
    uint32_t dropped = 0;
    for (uint32_t n = min_u32(slots, end); n > 0 && ledger->waiting > 0; n--) {
        uint32_t slot = ledger->expire_at < end ? ledger->expire_at : 0;
        struct ledger_want *want = ledger_at(ledger, slot);
        if (want->state == LEDGER_WAITING && want->named_ns < before_ns) {
            drop(ledger, want);
            dropped++;
        }
        ledger->expire_at = slot + 1;
    }
    counter_add(&ledger->counters.expired, dropped);
    count(ledger);
    return dropped;
}
