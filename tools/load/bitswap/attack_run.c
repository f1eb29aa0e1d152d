/* SPDX-License-Identifier: MIT */
#include "tools/load/bitswap/attack.h"

#include "base/bits.h"
#include "base/clock.h"
#include "tools/load/bitswap/giant.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TURN_NS  (2 * NS_PER_MS)
#define AGAIN_NS (20 * NS_PER_MS) /* a server that closes at once is dialled this often */

static const struct attack *current;

static void on_ready(struct peer *peer) {
    (void)peer; /* push sees it */
}

static void on_dial(struct swarm *swarm, struct node *node) {
    if (current->begin != NULL) {
        current->begin(swarm, node);
    }
}

static void on_bitswap(struct peer *peer, struct peer_stream *stream, enum bitswap_event event,
                       const struct bitswap_step *step) {
    (void)peer;
    (void)stream;
    (void)event;
    (void)step;
}

static void on_want_lost(struct peer *peer) {
    container_of(peer, struct node, peer)->step = 0; /* from the beginning */
}

const struct attack *attack_find(const char *name) {
    const struct attack *attack = NULL;
    for (uint32_t i = 0; (attack = attack_at(i)) != NULL; i++) {
        if (strcmp(attack->name, name) == 0) {
            break;
        }
    }
    return attack;
}

void attack_list(void) {
    const struct attack *attack;
    for (uint32_t i = 0; (attack = attack_at(i)) != NULL; i++) {
        printf("%-16s %4u  %s\n", attack->name, attack->conns, attack->about);
    }
}

static bool may_push(const struct swarm *swarm, const struct node *node) {
    const struct peer *peer = &node->peer;
    return node->connected && node->due_ns <= swarm->now_ns && bytes_left(&node->unsent) == 0 &&
           (peer->state == PEER_READY || peer->raw);
}

/* One look at a node. Returns: it moved. */
static bool node_turn(struct swarm *swarm, struct node *node) {
    if (node->fd < 0) {
        if (node->due_ns <= swarm->now_ns) {
            node->due_ns = UINT64_MAX; /* until it is dialled */
            swarm_dial_again(swarm, node);
        }
        return false;
    }
    if (current->push == NULL || !may_push(swarm, node)) {
        return false;
    }
    node->due_ns = swarm->now_ns + current->gap_ns;
    enum attack_next next = current->push(swarm, node);
    swarm_flush(swarm, node);
    if (next == ATTACK_LEAVE || node->peer.state == PEER_DEAD) {
        swarm_drop(swarm, node, true);
    }
    return true;
}

int attack_run(struct swarm *swarm, const struct attack *attack) {
    const struct plan *plan = &swarm->plan->plan;
    uint64_t end_ns = clock_ns() + (uint64_t)(plan->seconds * (double)NS_PER_S);
    uint32_t most = 0;
    current = attack;
    swarm->host.on_ready = on_ready;
    swarm->host.on_bitswap = on_bitswap;
    swarm->host.on_raw = giant_hears;
    swarm->on_dial = on_dial;
    swarm->host.on_want_lost = on_want_lost;
    swarm->host.mute = attack->mute;
    swarm->host.stingy = attack->stingy;
    swarm->host.blind = attack->blind;
    if (attack->begin != NULL) {
        swarm->dial_limit = swarm->count; /* handshakes that are not meant to end */
    }
    swarm_dial_all(swarm);
    for (uint32_t i = 0; i < swarm->count; i++) {
        swarm->nodes[i].due_ns = UINT64_MAX;
    }
    bool moved = false;
    while (swarm->now_ns < end_ns) {
        swarm_turn(swarm, moved ? 0 : clock_ns() + TURN_NS);
        moved = false;
        for (uint32_t i = 0; i < swarm->count; i++) {
            struct node *node = &swarm->nodes[i];
            if (node->fd < 0 && node->due_ns == 0) {
                node->due_ns = swarm->now_ns + AGAIN_NS;
            }
            moved = node_turn(swarm, node) || moved;
        }
        most = max_u32(most, swarm->alive);
    }
    printf("{\"attack\": \"%s\", \"seconds\": %.1f, \"conns\": %u, \"connections\": %" PRIu64
           ", \"handshakes\": %u, \"alive_most\": %u, \"lost\": %u, \"sent_bytes\": %" PRIu64 "}\n",
           attack->name, plan->seconds, swarm->count, swarm->dials, swarm->settled, most,
           swarm->lost, swarm->sent_bytes);
    return swarm->dials > 0 && most > 0 ? 0 : 1;
}
