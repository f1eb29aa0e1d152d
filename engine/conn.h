/* SPDX-License-Identifier: MIT */
#pragma once

/* conn — one TCP connection of a net tile: its life, what it sent us, what we owe it.
 *
 *            accept        first frame            peer ended or error,
 *   FREE ──────────► HELLO ───────────► READY ──────────────────────► CLOSING ──► FREE
 *                      └──────────────────────────────────────────────►│
 *
 * Input: received buffers wait on a list until there are jobs and room for their requests. Output:
 * a list of nodes, filled in chunks or leased from frames, sent in one operation at a time, so that
 * replies never reorder. A slot is free again only when the kernel holds no operation of it and no
 * job names it: the count is the guard, the generation finds stragglers.
 *
 * Thread: the net tile that owns it. */

#include "base/base.h"
#include "base/pool.h"
#include "proto/tlv/tlv.h"
#include "rings/job.h"

struct frame;
struct peer;

enum conn_state { CONN_FREE, CONN_HELLO, CONN_READY, CONN_CLOSING, CONN_STATE_COUNT };

/* Why a connection ended; counted, never logged by a tile. */
enum conn_end {
    CONN_END_PEER,
    CONN_END_ERROR,
    CONN_END_PROTOCOL,
    CONN_END_STALLED,
    CONN_END_IDLE,
    CONN_END_DRAIN,
    CONN_END_COUNT
};

/* How a piece leaves. A leased one that finds its way closed goes plain. */
enum out_way {
    OUT_PLAIN, /* by a send that copies */
    OUT_FILE,  /* by sendfile out of the memfd its frame lies in */
    OUT_ZERO,  /* by a send without a copy: the frame is lent until the kernel notifies (loan.h) */
};

/* A piece of output. Chunks carry their bytes behind them; leased nodes point into a frame. */
struct out {
    struct out *next;
    const uint8_t *bytes;
    struct frame *frame; /* leased; NULL for a chunk */
    uint32_t used;       /* bytes to send, from the front */
    uint32_t size;       /* room of a chunk; 0 for a leased node */
    uint32_t way;        /* enum out_way */
};

#define OUT_SMALL_BYTES 2048u
#define OUT_LARGE_BYTES 65728u /* holds a sealed record of the longest plaintext (secure.h) */
#define CONN_INPUT_HELD                                                      \
    4u /* buffers a connection may hold unread before its receive is stopped \
        */
#define CONN_NO_BUFFER UINT16_MAX
#define CONN_DIALLED   UINT8_MAX /* as `listener`: we dialled it */

/* One received buffer that waits to be read; the tile keeps one of these per buffer of each group.
 */
struct conn_input {
    uint16_t next;   /* buffer of the same group, or CONN_NO_BUFFER */
    uint16_t offset; /* read so far */
    uint16_t bytes;  /* received */
};

struct conn {
    /* set when accepted, or by the first frame */
    int fd;
    uint32_t slot;
    uint8_t listener;
    uint8_t ceiling;
    uint8_t class;
    uint8_t group; /* receive group: class + 1, or 0 while in HELLO */
    uint16_t flow;

    /* state */
    uint8_t state;    /* enum conn_state */
    uint8_t end;      /* enum conn_end, once CLOSING */
    bool receive_out; /* true exactly while the kernel holds a receive */
    bool many;        /* the receive takes buffers until it is canceled */
    bool send_out;    /* true exactly while the kernel holds a send */
    bool cancel_out;  /* true exactly while the kernel holds a cancel */
    bool peer_ended;  /* no more input will come; answer what came */
    bool starved;     /* waits for a buffer of its group */
    bool waiting;     /* on the tile's list of those that wait for jobs or room */
    bool dirty;       /* on the tile's list of those with output to send */
    bool skipping;    /* the body being received belongs to a refused request */
    bool slow;        /* its receive was stopped because it does not take its replies */
    uint8_t fault;    /* enum tlv_code of a frame that broke the protocol; 0: none. What came before
                       * it is answered, then it is said, then the connection ends */
    bool far;         /* its bytes leave the host, and no send of its was copied after all */
    bool lingering;   /* CLOSING: our side is shut, input is read away until the peer ends too */

    /* requests */
    uint32_t fault_id;         /* the broken frame's request id */
    uint32_t jobs;             /* in flight, named by slot */
    uint32_t requests;         /* since accept, saturating: HELLO must be the first */
    struct job *upload;        /* whose body is being received */
    uint32_t lingered;         /* CLOSING: bytes read away */
    uint32_t upload_bytes;     /* of its body, received so far */
    struct job_chain deferred; /* ready to be answered, but its output is full */

    /* output */
    struct out *out_head, *out_tail;
    uint32_t out_bytes;   /* in the list */
    uint32_t out_charge;  /* memory it holds: whole chunks, and the bytes of leased pieces */
    uint32_t out_nodes;   /* pieces in the list */
    uint32_t out_queued;  /* what the kernel still had to send when last asked (SIOCOUTQ) */
    uint32_t out_special; /* pieces that are not to go plain */
    uint32_t loans;       /* sends of its that the kernel has not notified of */
    uint32_t helped;      /* LIST, STAT, PIN, UNPIN in flight */
    uint32_t sending;     /* bytes the kernel was given */
    uint64_t progress_ns; /* last time output moved or was empty; for idling: last byte received */

    struct peer *peer; /* NULL: it speaks TLV */

    struct conn *next_waiting, *next_dirty, *next_starved;
    uint32_t input_count; /* buffers held, all of `group` */
    uint16_t input_head, input_tail;
    struct tlv_reader reader;
};
static_assert(sizeof(struct conn) <= 448, "an idle connection costs at most 512 bytes (G20)");

/* The only place that moves a connection's state. */
void conn_goto(struct conn *conn, enum conn_state to);
extern const char *const conn_end_names[CONN_END_COUNT];

/* Output memory of one net tile. */
struct out_pools {
    struct pool small, large, leased;
    uint64_t leased_bytes;     /* in leased pieces now */
    uint64_t leased_bytes_max; /* a bound on them: frames that slow peers keep alive */
};
/* What one connection may hold shrinks with what is left for all: at most a quarter of it, so that
 * any number of peers that do not read leave room for those that do. Source: Choudhury & Hahne,
 * "Dynamic queue length thresholds", 1998. One that owes nothing is full only where no chunk is
 * left.
 */
bool conn_output_full(const struct out_pools *pools, const struct conn *conn, uint32_t bytes_max);

/* May another piece of this size be leased? A first one always may. */
static inline bool out_lease_fits(const struct out_pools *pools, uint32_t bytes) {
    return pools->leased.free_count > 0 &&
           (pools->leased_bytes == 0 || pools->leased_bytes + bytes <= pools->leased_bytes_max);
}

size_t out_pools_footprint(uint32_t small, uint32_t large, uint32_t leased);
void out_pools_init(struct out_pools *pools, void *memory, uint32_t small, uint32_t large,
                    uint32_t leased);
/* Free nodes that could take a chunk. */
static inline uint32_t out_pools_free(const struct out_pools *pools) {
    return pools->small.free_count + pools->large.free_count;
}

/* conn_room gives `bytes` (<= OUT_SMALL_BYTES) of contiguous room at the end of the output and
 * counts them as written. Returns: NULL when the pools are empty. */
uint8_t *conn_room(struct out_pools *pools, struct conn *conn, uint32_t bytes);
/* Appends any number of bytes by copying. Returns: false if the pools ran out; nothing was
 * appended. */
must_check bool conn_append(struct out_pools *pools, struct conn *conn, const void *bytes,
                            uint32_t count);
/* Appends a leased range; the lease is the output's from here on. Returns: false: the caller keeps
 * it. */
must_check bool conn_append_frame(struct out_pools *pools, struct conn *conn, struct frame *frame,
                                  const uint8_t *bytes, uint32_t count, enum out_way way);
/* The first piece goes plain after all. */
void conn_head_plain(struct conn *conn);
/* A chunk that its taker fills by itself and then appends (out_append, with what is to be sent in
 * `bytes` and `used`) or puts back; bytes point at its room, `size` says how much. large: of
 * OUT_LARGE_BYTES, else of OUT_SMALL_BYTES. Returns: NULL: none of that size is free. */
struct out *out_take(struct out_pools *pools, bool large);
void out_append(struct out_pools *pools, struct conn *conn, struct out *out);
void out_put(struct out_pools *pools, struct out *out);
/* The kernel took `count` bytes off the front: nodes go back, leases end. */
void conn_sent(struct out_pools *pools, struct conn *conn, uint32_t count);
/* Drops all output. Not while a send is out. */
void conn_drop_output(struct out_pools *pools, struct conn *conn);
