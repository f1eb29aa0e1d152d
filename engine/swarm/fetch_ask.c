/* SPDX-License-Identifier: MIT */
/* fetch_ask — whom to ask for a block, and when again.
 *
 * A peer's speed is what its blocks cost it (time between two of them while it had work, by size)
 * and its latency (the time of an answer while it had none). The peer with the least expected
 * finish is asked; one of unknown speed counts as fast, and its small first window bounds the bet.
 */
#include "base/bits.h"
#include "base/must.h"
#include "engine/swarm/fetch_inside.h"

#define WINDOW_WANTS_FIRST 16u
#define WINDOW_WANTS_MIN   2u
#define WINDOW_BYTES_FIRST (2 * MiB)
#define WINDOW_BYTES_MIN   (512 * KiB)
#define LATENCY_FIRST_NS   (20 * NS_PER_MS)
#define OWED_MAX           4096u

static uint32_t expected_bytes(const struct fetch *fetch, const struct fetch_want *want) {
    return (uint32_t)(want_is_leaf(want) ? fetch->size_raw : fetch->size_other);
}

static uint64_t units(uint64_t bytes, uint64_t blocks) {
    return bytes / FETCH_UNIT + blocks * FETCH_BLOCK_UNITS;
}

static bool has_room(const struct fetch_peer *peer) {
    return peer->wants < peer->window_wants && (peer->bytes < peer->window_bytes);
}

bool ask_has_room(const struct fetch *fetch) {
    for (uint64_t live = fetch->live; live; live &= live - 1) {
        if (has_room(&fetch->peers[__builtin_ctzll(live)])) {
            return true;
        }
    }
    return false;
}

/* ---- peers come and go ---------------------------------------------------------------------- */

uint8_t fetch_peer_up(struct fetch *fetch, uint64_t round_trip_ns, uint64_t now_ns) {
    for (uint8_t slot = 0; slot < FETCH_PEERS_MAX; slot++) {
        struct fetch_peer *peer = &fetch->peers[slot];
        if (!peer->up) {
            *peer = (struct fetch_peer){
                .up = true,
                .window_wants = WINDOW_WANTS_FIRST,
                .window_bytes = WINDOW_BYTES_FIRST,
                .latency_ns = round_trip_ns ? round_trip_ns : LATENCY_FIRST_NS,
                .heard_ns = now_ns,
                .list = {.head = FETCH_NONE, .tail = FETCH_NONE},
            };
            fetch->live |= peer_bit(slot);
            return slot;
        }
    }
    return FETCH_PEER_NONE;
}

void fetch_expect(struct fetch *fetch, int32_t more) {
    must(more >= 0 || fetch->expected >= (uint32_t)-more);
    fetch->expected += (uint32_t)more;
}

void ask_leave(struct fetch *fetch, uint8_t slot) {
    struct fetch_peer *peer = &fetch->peers[slot];
    fetch->live &= ~peer_bit(slot);
    while (peer->list.tail != FETCH_NONE) { /* from the end, so that the first is first again */
        struct fetch_want *want = want_at(fetch, peer->list.tail);
        ask_end(fetch, want);
        ask_seek(fetch, want, true);
    }
}

void fetch_peer_down(struct fetch *fetch, uint8_t slot) {
    must(fetch->peers[slot].up);
    ask_leave(fetch, slot);
    fetch->peers[slot].up = false;
    for (uint32_t i = 0; i < fetch->config.wants_max; i++) {
        struct fetch_want *want = want_at(fetch, i);
        want->have &= ~peer_bit(slot);
        want->dont_have &= ~peer_bit(slot);
        want->late &= ~peer_bit(slot);
        want->told &= ~peer_bit(slot);
        want->asked &= ~peer_bit(slot);
    }
}

/* ---- learning ------------------------------------------------------------------------------- */

static uint64_t blend(uint64_t average, uint64_t sample, uint32_t shift) {
    return average == 0 ? sample : average - (average >> shift) + (sample >> shift);
}

void ask_learn(struct fetch *fetch, struct fetch_peer *peer, const struct fetch_want *want,
               uint32_t bytes, uint64_t now_ns) {
    uint64_t took = now_ns - want->sent_ns;
    uint64_t busy = now_ns - max_u64(want->sent_ns, peer->arrived_ns);
    peer->response_ns = max_u64(blend(peer->response_ns, took, 3), 1);
    if (want->idle_ask) {
        peer->latency_ns = max_u64(blend(peer->latency_ns, took, 3), 1);
    }
    peer->cost_ns = max_u64(blend(peer->cost_ns, busy / units(bytes, 1), 4), 1);
    peer->window_wants = min_u32(peer->window_wants + 1, FETCH_PEER_WANTS);
    peer->window_bytes = min_u64(peer->window_bytes + bytes, FETCH_PEER_BYTES);
    uint64_t *size = want_is_leaf(want) ? &fetch->size_raw : &fetch->size_other;
    *size = max_u64(blend(*size, bytes, 3), 64);
}

/* ---- asking --------------------------------------------------------------------------------- */

void ask_end(struct fetch *fetch, struct fetch_want *want) {
    if (want->state == WANT_SEEKING) {
        list_remove(fetch, &fetch->seeking, want);
        return;
    }
    must(want->state == WANT_ASKED);
    struct fetch_peer *peer = &fetch->peers[want->peer];
    list_remove(fetch, &peer->list, want);
    must(peer->bytes >= want->bytes && fetch->numbers.held_bytes >= want->bytes);
    peer->wants--;
    peer->bytes -= want->bytes;
    fetch->numbers.held_bytes -= want->bytes;
    fetch->numbers.in_flight--;
    want->peer = FETCH_PEER_NONE;
}

void ask_seek(struct fetch *fetch, struct fetch_want *want, bool front) {
    want->state = WANT_SEEKING;
    want->bytes = 0;
    list_push(fetch, &fetch->seeking, want, front);
}

static uint64_t finish_ns(const struct fetch_peer *peer, uint32_t bytes) {
    return peer->latency_ns + units(peer->bytes + bytes, peer->wants + 1) * peer->cost_ns;
}

/* The best peer with room among `candidates`; holders come first. */
static uint8_t choose(const struct fetch *fetch, const struct fetch_want *want,
                      uint64_t candidates) {
    uint32_t bytes = expected_bytes(fetch, want);
    uint8_t best = FETCH_PEER_NONE;
    uint64_t best_ns = UINT64_MAX;
    bool best_holds = false;
    for (; candidates; candidates &= candidates - 1) {
        uint8_t slot = (uint8_t)__builtin_ctzll(candidates);
        const struct fetch_peer *peer = &fetch->peers[slot];
        bool holds = (want->have & peer_bit(slot)) != 0;
        uint64_t ns = finish_ns(peer, bytes);
        if (has_room(peer) && (holds > best_holds || (holds == best_holds && ns < best_ns))) {
            best = slot;
            best_ns = ns;
            best_holds = holds;
        }
    }
    return best;
}

/* Who may be asked for it now; when all were, in vain, another round begins. Returns: 0: nobody. */
static uint64_t candidates_of(struct fetch *fetch, struct fetch_want *want) {
    uint64_t able = fetch->live & ~want->dont_have;
    uint64_t fresh = able & ~want->late;
    if (!fresh && able && want->round < FETCH_ROUNDS_MAX) {
        want->round++;
        want->late = 0;
        fresh = able;
    }
    return fresh;
}

static void push_asked(struct fetch *fetch, struct fetch_want *want, uint8_t slot,
                       uint64_t now_ns) {
    struct fetch_peer *peer = &fetch->peers[slot];
    want->state = WANT_ASKED;
    want->peer = slot;
    want->bytes = expected_bytes(fetch, want);
    want->idle_ask = peer->wants == 0;
    want->sent_ns = now_ns;
    want->told |= peer_bit(slot);
    want->asked = peer_bit(slot);
    list_push(fetch, &peer->list, want, false);
    peer->wants++;
    peer->bytes += want->bytes;
    peer->owed = min_u32(peer->owed + 1, OWED_MAX);
    fetch->numbers.held_bytes += want->bytes;
    fetch->numbers.in_flight++;
    fetch->numbers.asked++;
}

/* How long an answer may take: twice the usual, and more with every round. */
static uint64_t patience(const struct fetch_peer *peer, const struct fetch_want *want) {
    uint64_t usual =
        peer->response_ns ? min_u64(2 * peer->response_ns, FETCH_LATE_MAX) : FETCH_LATE_FIRST;
    return min_u64(max_u64(usual, FETCH_LATE_MIN) << min_u32(want->round, 6), FETCH_LATE_MAX);
}

/* While its blocks come, what else was asked of it waits its turn, within reason. */
static uint64_t late_at(const struct fetch_peer *peer, const struct fetch_want *want) {
    uint64_t wait = patience(peer, want);
    uint64_t since = max_u64(want->sent_ns, min_u64(peer->heard_ns, want->sent_ns + 3 * wait));
    return since + wait;
}

/* The want-block, what it takes back elsewhere, and a few want-haves. Returns: actions. */
static uint32_t ask_one(struct fetch *fetch, struct fetch_want *want, uint8_t slot,
                        uint64_t candidates, uint64_t now_ns, struct fetch_action actions[]) {
    uint32_t count = 0;
    uint64_t told = want->told & ~peer_bit(slot);
    uint64_t others = candidates & ~told & ~want->have & ~peer_bit(slot);
    want->told &= ~told;
    for (; told; told &= told - 1) {
        uint8_t other = (uint8_t)__builtin_ctzll(told);
        fetch_act(fetch, want, FETCH_CANCEL, other, &actions[count++]);
    }
    list_remove(fetch, &fetch->seeking, want);
    push_asked(fetch, want, slot, now_ns);
    fetch_act(fetch, want, FETCH_WANT_BLOCK, slot, &actions[count++]);
    fetch->due_ns = min_u64(fetch->due_ns, late_at(&fetch->peers[slot], want));
    for (uint32_t haves = 0; others && haves < FETCH_HAVES; haves++) {
        /* Begin behind the peer that was asked: so all of them are heard of in turn. */
        uint64_t behind = others & ~((peer_bit(slot) << 1) - 1);
        uint8_t other = (uint8_t)__builtin_ctzll(behind ? behind : others);
        others &= ~peer_bit(other);
        want->told |= peer_bit(other);
        fetch->peers[other].owed = min_u32(fetch->peers[other].owed + 1, OWED_MAX);
        fetch_act(fetch, want, FETCH_WANT_HAVE, other, &actions[count++]);
    }
    return count;
}

/* All were asked in vain: perhaps it has come here by another way; if not, that is the end. */
static uint32_t give_up(struct fetch *fetch, struct fetch_want *want, struct fetch_action *action) {
    if (want->last_look) {
        fetch_fail_want(fetch, FETCH_WHY_ABSENT, want);
        return 0;
    }
    want->last_look = true;
    list_remove(fetch, &fetch->seeking, want);
    want->state = WANT_ASKING;
    fetch->local++;
    fetch_act(fetch, want, FETCH_ASK_LOCAL, FETCH_PEER_NONE, action);
    return 1;
}

uint32_t ask_all(struct fetch *fetch, uint64_t now_ns, struct fetch_action actions[],
                 uint32_t max) {
    uint32_t count = 0;
    uint32_t index = fetch->seeking.head;
    bool room = ask_has_room(fetch);
    while (index != FETCH_NONE && count + FETCH_ACTIONS_MIN <= max && fetch->live &&
           fetch->state == FETCH_RUNNING) {
        struct fetch_want *want = want_at(fetch, index);
        index = want->next;
        uint64_t candidates = candidates_of(fetch, want);
        if (!candidates) {
            if (fetch->expected == 0) {
                count += give_up(fetch, want, &actions[count]);
            }
            continue;
        }
        if (!room || (fetch->numbers.held_bytes > 0 &&
                      fetch->numbers.held_bytes + expected_bytes(fetch, want) >
                          fetch->config.window_bytes)) {
            break;
        }
        uint8_t slot = choose(fetch, want, candidates);
        if (slot != FETCH_PEER_NONE) {
            count += ask_one(fetch, want, slot, candidates, now_ns, &actions[count]);
            room = has_room(&fetch->peers[slot]) || ask_has_room(fetch);
        }
    }
    return count;
}

/* ---- late answers --------------------------------------------------------------------------- */

static void ask_late_peer(struct fetch *fetch, uint8_t slot, uint64_t now_ns, uint64_t *due_ns) {
    struct fetch_peer *peer = &fetch->peers[slot];
    bool any = false;
    uint32_t index = peer->list.head;
    while (index != FETCH_NONE) {
        struct fetch_want *want = want_at(fetch, index);
        index = want->next;
        uint64_t at = late_at(peer, want);
        if (now_ns < at) {
            *due_ns = min_u64(*due_ns, at);
            continue;
        }
        any = true;
        peer->late++;
        fetch->numbers.late++;
        want->late |= peer_bit(slot);
        want->have &= ~peer_bit(slot);
        ask_end(fetch, want);
        ask_seek(fetch, want, true);
    }
    if (any) {
        peer->window_wants = max_u32(peer->window_wants / 2, WINDOW_WANTS_MIN);
        peer->window_bytes = max_u64(peer->window_bytes / 2, WINDOW_BYTES_MIN);
    }
}

void ask_late(struct fetch *fetch, uint64_t now_ns) {
    if (now_ns < fetch->due_ns) {
        return;
    }
    uint64_t due_ns = UINT64_MAX;
    for (uint64_t live = fetch->live; live; live &= live - 1) {
        ask_late_peer(fetch, (uint8_t)__builtin_ctzll(live), now_ns, &due_ns);
    }
    fetch->due_ns = due_ns;
}
