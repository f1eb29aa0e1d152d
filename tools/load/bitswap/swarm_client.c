/* SPDX-License-Identifier: MIT */
#include "tools/load/bitswap/swarm.h"

#include "base/bits.h"
#include "base/clock.h"
#include "base/must.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LETTER_WANTS_MAX 1024u
#define UNSENT_MAX       (256u * 1024u) /* wants waiting for a window */
#define DRAWS_MAX        64u            /* tries to draw a block that is not asked for already */

static struct node *node_of(struct peer *peer) {
    return container_of(peer, struct node, peer);
}

void swarm_fault(struct swarm *swarm, const char *what, const char *text) {
    if (swarm->fault[0] == '\0') {
        snprintf(swarm->fault, sizeof swarm->fault, "%s%s%s", what, text[0] ? ": " : "", text);
    }
}

/* ---- answers ---- */

enum answer { ANSWER_BLOCK, ANSWER_HAVE, ANSWER_DONT_HAVE, ANSWER_WRONG };

static void count_answer(struct swarm *swarm, const struct ask *ask, enum answer answer,
                         uint32_t bytes) {
    struct tally *tally = &swarm->tally;
    swarm->haves += answer == ANSWER_HAVE;
    swarm->dont_haves += answer == ANSWER_DONT_HAVE;
    if (answer == ANSWER_WRONG) {
        tally_count(&tally->wrong, 1);
        return;
    }
    if (ask->intended_ns < swarm->from_ns || ask->intended_ns >= swarm->to_ns) {
        return;
    }
    if (answer == ANSWER_DONT_HAVE) {
        tally_count(&tally->not_found, 1);
        return;
    }
    tally_count(&tally->requests, 1);
    tally_count(&tally->bytes, bytes);
    atomic_store_explicit(&tally->last_ns, swarm->now_ns, memory_order_relaxed);
    hist_record(&tally->latency, swarm->now_ns - ask->intended_ns, 1);
}

static void answered(struct node *node, uint32_t index, enum answer answer, uint32_t bytes) {
    struct swarm *swarm = node->swarm;
    struct ask *ask = index < swarm->catalog.count && node->asks.table != NULL
                          ? asks_find(&node->asks, index)
                          : NULL;
    if (ask == NULL) {
        if (answer == ANSWER_WRONG) {
            tally_count(&swarm->tally.wrong, 1);
        } else {
            swarm->extra_blocks++; /* of a want taken back, or sent twice */
        }
        return;
    }
    if (answer == ANSWER_HAVE && !ask->have) {
        return; /* the block is still owed */
    }
    count_answer(swarm, ask, answer, bytes);
    asks_remove(&node->asks, ask);
    node->touched = true;
}

/* ---- blocks ---- */

static bool sampled(const struct swarm *swarm, uint64_t index) {
    uint32_t percent = swarm->plan->verify_percent;
    return percent >= 100 || draw_mix(index ^ swarm->draw.state) % 100 < percent;
}

/* Own content says in its first bytes which block it is; those may come in pieces. */
static void block_piece(struct swarm *swarm, struct peer_stream *stream, const uint8_t *bytes,
                        uint32_t count) {
    const struct content *content = swarm->catalog.content;
    if (stream->block_at < CONTENT_BYTES_MIN) {
        uint32_t take = min_u32(CONTENT_BYTES_MIN - stream->block_at, count);
        if (stream->block_at == 0 && count >= CONTENT_BYTES_MIN) {
            stream->block_index = content_find(content, bytes);
        } else {
            bytes_add(&stream->block, bytes, take);
            if (stream->block.used < CONTENT_BYTES_MIN) {
                stream->block_at += take;
                return;
            }
            stream->block_index = content_find(content, stream->block.at);
            bytes += take;
            count -= take;
            stream->block_at = CONTENT_BYTES_MIN;
        }
        if (stream->block_index >= content->keys || stream->block_bytes != content->bytes) {
            stream->block_good = false;
        } else if (!sampled(swarm, stream->block_index)) {
            stream->block_at = UINT32_MAX; /* taken on trust */
        }
    }
    if (stream->block_good && stream->block_at != UINT32_MAX && count > 0) {
        stream->block_good =
            content_equal(content, stream->block_index, stream->block_at, bytes, count);
        stream->block_at += count;
    }
}

/* Blocks of a list are known by their hash. */
static void block_hash(struct swarm *swarm, struct peer_stream *stream,
                       const struct bitswap_prefix *prefix) {
    struct key key = {.code = (uint16_t)prefix->hash};
    uint32_t bytes =
        prefix->digest_bytes == UINT32_MAX ? hash_full_bytes(prefix->hash) : prefix->digest_bytes;
    stream->block_index = CATALOG_NONE;
    if (bytes > HASH_DIGEST_MAX ||
        hash_compute(prefix->hash, stream->block.at, stream->block.used, key.digest, bytes) != 0) {
        stream->block_good = false;
        return;
    }
    key.digest_bytes = (uint8_t)bytes;
    stream->block_index = catalog_find(&swarm->catalog, &key);
    stream->block_good = stream->block_index != CATALOG_NONE;
}

static void block_end(struct node *node, struct peer_stream *stream,
                      const struct bitswap_prefix *prefix) {
    struct swarm *swarm = node->swarm;
    bool good = prefix->known;
    if (swarm->catalog.content == NULL && good) {
        block_hash(swarm, stream, prefix);
    } else if (good) {
        good = stream->block_index < swarm->catalog.count && prefix->hash == HASH_SHA2_256 &&
               prefix->form.version == 1 && prefix->form.codec == 0x55;
    }
    good = good && stream->block_good;
    if (!good) {
        swarm_fault(swarm, "a block that is not what was asked for", "");
    }
    uint32_t index =
        stream->block_index < CATALOG_NONE ? (uint32_t)stream->block_index : CATALOG_NONE;
    answered(node, index, good ? ANSWER_BLOCK : ANSWER_WRONG, stream->block_bytes);
}

static void on_bitswap(struct peer *peer, struct peer_stream *stream, enum bitswap_event event,
                       const struct bitswap_step *step) {
    struct node *node = node_of(peer);
    struct swarm *swarm = node->swarm;
    switch (event) {
    case BITSWAP_BLOCK:
        stream->block_bytes = step->block_bytes;
        stream->block_at = 0;
        stream->block_index = UINT64_MAX;
        stream->block_good = true;
        stream->block.used = stream->block.sent = 0;
        break;
    case BITSWAP_DATA:
        if (swarm->catalog.content != NULL) {
            block_piece(swarm, stream, step->bytes, step->count);
        } else {
            bytes_add(&stream->block, step->bytes, step->count);
        }
        break;
    case BITSWAP_BLOCK_END:
        block_end(node, stream, &step->prefix);
        break;
    case BITSWAP_PRESENCE:
        answered(node, catalog_find(&swarm->catalog, &step->presence.key),
                 step->presence.have ? ANSWER_HAVE : ANSWER_DONT_HAVE, 0);
        break;
    case BITSWAP_BEGIN:
        swarm->messages_in++;
        break;
    case BITSWAP_MORE:
    case BITSWAP_WANT: /* we serve nobody */
    case BITSWAP_FULL:
    case BITSWAP_PENDING:
    case BITSWAP_END:
    case BITSWAP_BAD:
        break;
    }
}

/* ---- wants ---- */

static void letter_ask(struct swarm *swarm, struct letter *letter, const struct ask *ask,
                       bool cancel) {
    struct bitswap_want want = {
        .priority = ask->priority, .have = ask->have, .cancel = cancel, .send_dont_have = !cancel};
    catalog_name(&swarm->catalog, ask->index, &want.key, &want.form);
    letter_add(letter, &want);
}

static uint32_t walk(const struct swarm *swarm, struct node *node) {
    uint64_t next = (uint64_t)node->walk_at + node->walk_stride;
    node->walk_at = (uint32_t)(next % swarm->catalog.count);
    return node->walk_at;
}

static bool draw_ask(struct swarm *swarm, struct node *node, struct ask *ask) {
    const struct plan *plan = &swarm->plan->plan;
    for (uint32_t tries = 0; tries < DRAWS_MAX; tries++) {
        uint64_t index =
            plan->zipf_s > 0 ? zipf_draw(&swarm->zipf, &swarm->draw) : walk(swarm, node);
        if (asks_find(&node->asks, (uint32_t)index) != NULL) {
            continue;
        }
        ask->index = (uint32_t)index;
        ask->have =
            plan->writes > 0 && draw_below(&swarm->draw, plan->reads + plan->writes) >= plan->reads;
        ask->priority =
            swarm->plan->priorities[draw_below(&swarm->draw, swarm->plan->priority_count)];
        return true;
    }
    return false;
}

static bool has_room(const struct swarm *swarm, const struct node *node) {
    return node->peer.state == PEER_READY && node->active && node->peer.want != NULL &&
           node->asks.count < swarm->plan->plan.depth &&
           bytes_left(&node->peer.want->out) < UNSENT_MAX;
}

/* Asks for one more block. Returns: it did. */
static bool ask_one(struct swarm *swarm, struct node *node, uint64_t intended_ns) {
    struct ask ask = {.intended_ns = intended_ns};
    if (!draw_ask(swarm, node, &ask)) {
        return false;
    }
    letter_ask(swarm, &swarm->letter, &ask, false);
    double cancels = swarm->plan->cancels;
    if (cancels > 0 && draw_unit(&swarm->draw) <= cancels) {
        letter_ask(swarm, &swarm->regrets, &ask, true); /* it races with the answer */
        swarm->cancelled++;
    } else {
        asks_add(&node->asks, &ask);
    }
    return true;
}

static void letters_send(struct swarm *swarm, struct node *node) {
    if (swarm->letter.count > 0) {
        letter_send(&swarm->letter, &node->peer, node->peer.want);
    }
    if (swarm->regrets.count > 0) {
        letter_send(&swarm->regrets, &node->peer, node->peer.want);
    }
}

void client_refill(struct swarm *swarm, struct node *node) {
    bool closed = swarm->plan->plan.rate <= 0;
    node->touched = false;
    if (swarm->stopping || !has_room(swarm, node)) {
        return;
    }
    if (!closed) {
        if (!node->listed) {
            node->listed = true;
            node->next = NULL;
            *(swarm->able_tail ? &swarm->able_tail->next : &swarm->able_head) = node;
            swarm->able_tail = node;
        }
        return;
    }
    while (swarm->letter.count < LETTER_WANTS_MAX && has_room(swarm, node) &&
           ask_one(swarm, node, swarm->now_ns)) {
    }
    letters_send(swarm, node);
}

static void on_ready(struct peer *peer) {
    struct node *node = node_of(peer);
    if (!peer_open(peer, STREAM_WANT, peer_bitswap, &peer->want)) {
        peer_fail(peer, "no stream can be opened");
    }
    node->touched = true;
}

/* The want stream is a new one: all that is not answered is asked again. */
static void on_want_lost(struct peer *peer) {
    struct node *node = node_of(peer);
    struct swarm *swarm = node->swarm;
    for (uint32_t i = 0; node->asks.count > 0 && i <= node->asks.mask; i++) {
        if (node->asks.table[i].index != ASKS_NONE) {
            letter_ask(swarm, &swarm->letter, &node->asks.table[i], false);
        }
    }
    letters_send(swarm, node);
    swarm->reconnects++;
}

void client_hooks(struct swarm *swarm) {
    swarm->host.on_ready = on_ready;
    swarm->host.on_bitswap = on_bitswap;
    swarm->host.on_want_lost = on_want_lost;
}

void client_lost(struct swarm *swarm, struct node *node) {
    if (node->asks.count > 0 && !swarm->stopping) {
        tally_count(&swarm->tally.errors, node->asks.count);
    }
    while (node->asks.count > 0) {
        for (uint32_t i = 0; i <= node->asks.mask; i++) {
            if (node->asks.table[i].index != ASKS_NONE) {
                asks_remove(&node->asks, &node->asks.table[i]);
            }
        }
    }
}

/* ---- the open loop ---- */

static void dues_collect(struct swarm *swarm) {
    struct backlog_ring *ring = &swarm->backlog;
    while (!swarm->stopping && pace_peek(&swarm->pace) <= swarm->now_ns) {
        uint64_t due_ns = pace_take(&swarm->pace);
        if (ring->tail - ring->head > ring->mask) {
            tally_count(&swarm->tally.late, due_ns >= swarm->from_ns && due_ns < swarm->to_ns);
        } else {
            ring->due[ring->tail++ & ring->mask] = due_ns;
        }
    }
}

void client_turn(struct swarm *swarm) {
    if (swarm->plan->plan.rate <= 0 || swarm->backlog.due == NULL) {
        return;
    }
    struct backlog_ring *ring = &swarm->backlog;
    dues_collect(swarm);
    while (ring->head != ring->tail && swarm->able_head != NULL) {
        struct node *node = swarm->able_head;
        swarm->able_head = node->next;
        if (swarm->able_head == NULL) {
            swarm->able_tail = NULL;
        }
        node->listed = false;
        if (!has_room(swarm, node)) {
            continue; /* it comes back with an answer */
        }
        /* Its share of what is due now: a run of wants in one message costs the least. */
        uint32_t share = 1 + (ring->tail - ring->head) / max_u32(swarm->active_alive, 1);
        for (; share > 0 && ring->head != ring->tail && has_room(swarm, node); share--) {
            if (!ask_one(swarm, node, ring->due[ring->head & ring->mask])) {
                break;
            }
            ring->head++;
        }
        letters_send(swarm, node);
        client_refill(swarm, node);
        swarm_flush(swarm, node);
    }
}

uint64_t client_next_ns(const struct swarm *swarm) {
    if (swarm->plan->plan.rate <= 0 || swarm->backlog.due == NULL || swarm->stopping) {
        return UINT64_MAX;
    }
    return pace_peek(&swarm->pace);
}
