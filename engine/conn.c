/* SPDX-License-Identifier: MIT */
#include "engine/conn.h"

#include "base/bits.h"
#include "base/mem.h"
#include "base/must.h"
#include "store/store.h"

#include <string.h>

static const uint8_t conn_next[CONN_STATE_COUNT] = {
    /* the drawing in conn.h, as data */
    [CONN_FREE] = BIT(CONN_HELLO),
    [CONN_HELLO] = BIT(CONN_READY) | BIT(CONN_CLOSING),
    [CONN_READY] = BIT(CONN_CLOSING),
    [CONN_CLOSING] = BIT(CONN_FREE),
};

const char *const conn_end_names[CONN_END_COUNT] = {
    [CONN_END_PEER] = "peer",       [CONN_END_ERROR] = "error", [CONN_END_PROTOCOL] = "protocol",
    [CONN_END_STALLED] = "stalled", [CONN_END_IDLE] = "idle",   [CONN_END_DRAIN] = "drain",
};

void conn_goto(struct conn *conn, enum conn_state to) {
    must(to < CONN_STATE_COUNT);
    must((conn_next[conn->state] & BIT(to)) != 0);
    if (to == CONN_FREE) {
        must(!conn->receive_out && !conn->send_out && !conn->cancel_out);
        must(conn->jobs == 0);
        must(conn->out_head == NULL);
    }
    conn->state = (uint8_t)to;
}

#define SMALL_SLOT (sizeof(struct out) + OUT_SMALL_BYTES)
#define LARGE_SLOT (sizeof(struct out) + OUT_LARGE_BYTES)

size_t out_pools_footprint(uint32_t small, uint32_t large, uint32_t leased) {
    size_t sum = mem_need(0, pool_footprint(SMALL_SLOT, small), CACHE_PAIR);
    sum = mem_need(sum, pool_footprint(LARGE_SLOT, large), CACHE_PAIR);
    return mem_need(sum, pool_footprint(sizeof(struct out), leased), CACHE_PAIR);
}

void out_pools_init(struct out_pools *pools, void *memory, uint32_t small, uint32_t large,
                    uint32_t leased) {
    uint8_t *at = memory;
    pool_init(&pools->small, at, SMALL_SLOT, small);
    at += round_up(pool_footprint(SMALL_SLOT, small), CACHE_PAIR);
    pool_init(&pools->large, at, LARGE_SLOT, large);
    at += round_up(pool_footprint(LARGE_SLOT, large), CACHE_PAIR);
    pool_init(&pools->leased, at, sizeof(struct out), leased);
}

static void link_out(struct out_pools *pools, struct conn *conn, struct out *out) {
    out->next = NULL;
    if (conn->out_tail) {
        conn->out_tail->next = out;
    } else {
        conn->out_head = out;
    }
    conn->out_tail = out;
    conn->out_nodes++;
    conn->out_charge += out->size ? out->size : out->used;
    pools->leased_bytes += out->size ? 0 : out->used;
}

bool conn_output_full(const struct out_pools *pools, const struct conn *conn, uint32_t bytes_max) {
    uint64_t chunks = (uint64_t)pools->small.free_count * OUT_SMALL_BYTES +
                      (uint64_t)pools->large.free_count * OUT_LARGE_BYTES;
    uint64_t leases =
        pools->leased_bytes_max - min_u64(pools->leased_bytes, pools->leased_bytes_max);
    uint64_t left = min_u64(chunks, leases);
    if (conn->out_charge == 0) {
        return chunks == 0; /* it takes what it is given: others' leases are not its doing */
    }
    return conn->out_charge >= bytes_max || conn->out_charge >= left / 4 ||
           conn->out_nodes >= pools->leased.free_count / 4;
}

struct out *out_take(struct out_pools *pools, bool large) {
    struct out *out = pool_get(large ? &pools->large : &pools->small);
    if (out) {
        *out = (struct out){.bytes = (const uint8_t *)(out + 1),
                            .size = large ? OUT_LARGE_BYTES : OUT_SMALL_BYTES};
    }
    return out;
}

void out_append(struct out_pools *pools, struct conn *conn, struct out *out) {
    must(out->used > 0 && out->size > 0);
    link_out(pools, conn, out);
    conn->out_bytes += out->used;
}

void out_put(struct out_pools *pools, struct out *out) {
    must(out->size > 0);
    pool_put(out->size == OUT_LARGE_BYTES ? &pools->large : &pools->small, out);
}

/* What follows a full chunk is a stream of copies and gets a large one; else a small one does: it
 * holds a reply, or the head of a leased body. */
static struct out *take_chunk(struct out_pools *pools, const struct conn *conn) {
    bool stream = conn->out_tail && conn->out_tail->size != 0;
    struct out *out = out_take(pools, stream);
    return likely(out) ? out : out_take(pools, !stream);
}

uint8_t *conn_room(struct out_pools *pools, struct conn *conn, uint32_t bytes) {
    must(bytes <= OUT_SMALL_BYTES);
    struct out *tail = conn->out_tail;
    /* `used` counts from `bytes`, which moves as the front is sent: room is what lies behind both.
     */
    if (!tail || tail->size == 0 ||
        (size_t)(tail->bytes - (const uint8_t *)(tail + 1)) + tail->used + bytes > tail->size) {
        tail = take_chunk(pools, conn);
        if (unlikely(!tail)) {
            return NULL;
        }
        link_out(pools, conn, tail);
    }
    uint8_t *room = (uint8_t *)(uintptr_t)tail->bytes + tail->used;
    tail->used += bytes;
    conn->out_bytes += bytes;
    return room;
}

bool conn_append(struct out_pools *pools, struct conn *conn, const void *bytes, uint32_t count) {
    uint32_t chunks = count / OUT_SMALL_BYTES + 2;
    if (out_pools_free(pools) < chunks) {
        return false;
    }
    const uint8_t *from = bytes;
    while (count > 0) {
        uint32_t part = min_u32(count, OUT_SMALL_BYTES);
        uint8_t *room = conn_room(pools, conn, part);
        must(room != NULL); /* there were enough free chunks */
        memcpy(room, from, part);
        from += part;
        count -= part;
    }
    return true;
}

bool conn_append_frame(struct out_pools *pools, struct conn *conn, struct frame *frame,
                       const uint8_t *bytes, uint32_t count, enum out_way way) {
    struct out *out = pool_get(&pools->leased);
    if (!out) {
        return false;
    }
    *out = (struct out){.bytes = bytes, .frame = frame, .used = count, .way = way};
    link_out(pools, conn, out);
    conn->out_bytes += count;
    conn->out_special += way != OUT_PLAIN;
    return true;
}

void conn_head_plain(struct conn *conn) {
    conn->out_special -= conn->out_head->way != OUT_PLAIN;
    conn->out_head->way = OUT_PLAIN;
}

static void free_out(struct out_pools *pools, struct conn *conn, struct out *out) {
    conn->out_nodes--;
    pools->leased_bytes -= out->size ? 0 : out->used; /* what was not sent of it */
    if (out->frame) {
        conn->out_special -= out->way != OUT_PLAIN;
        frame_give_back(out->frame);
        pool_put(&pools->leased, out);
    } else {
        out_put(pools, out);
    }
}

void conn_sent(struct out_pools *pools, struct conn *conn, uint32_t count) {
    must(count <= conn->out_bytes);
    conn->out_bytes -= count;
    while (count > 0) {
        struct out *head = conn->out_head;
        must(head != NULL);
        uint32_t part = min_u32(count, head->used);
        head->bytes += part;
        head->used -= part;
        conn->out_charge -= head->size ? 0 : part;
        pools->leased_bytes -= head->size ? 0 : part;
        count -= part;
        if (head->used == 0) {
            conn->out_charge -= head->size;
            conn->out_head = head->next;
            if (!conn->out_head) {
                conn->out_tail = NULL;
            }
            free_out(pools, conn, head);
        }
    }
}

void conn_drop_output(struct out_pools *pools, struct conn *conn) {
    must(!conn->send_out);
    while (conn->out_head) {
        struct out *head = conn->out_head;
        conn->out_head = head->next;
        free_out(pools, conn, head);
    }
    conn->out_tail = NULL;
    conn->out_bytes = 0;
    must(conn->out_nodes == 0 && conn->out_special == 0);
    conn->out_charge = 0;
}
