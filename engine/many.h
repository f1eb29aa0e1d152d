/* SPDX-License-Identifier: MIT */
#pragma once

/* many — GET_MANY and PUT_MANY on a net tile: one job, whatever its items.
 *
 *   GET_MANY  body ─► policy ─► looked up here in groups: all in memory or absent ─► VALUES
 *                                  └► some on disk: one bundle of reads, through the scheduler ─►
 * VALUES PUT_MANY  body ─► one bundle of puts, through the scheduler ─► RESULTS
 *
 * A request's memory is one piece: its body, this struct, and an operation for each item. It is
 * taken when the request's head has come and counts as its class's upload memory; it goes with the
 * answer, or with the connection. What a VALUES holds is bounded by MANY_BYTES_MAX: frames that
 * would go beyond are given back, and those items are to be asked for again.
 * Thread: the net tile's; the bundle is a work tile's while the job is away. */

#include "base/base.h"
#include "proto/tlv/tlv.h"
#include "rings/job.h"
#include "store/store.h"

struct conn;
struct net;

#define MANY_BYTES_MAX TLV_MANY_MOST /* of blocks in one VALUES that has more than one */

struct many {
    struct store_bundle bundle;
    uint32_t body_bytes;
    uint32_t most;
    bool scan; /* what is read from disk stays out of memory */
    struct store_op ops[];
};

/* Bytes that a request takes. */
uint32_t many_footprint(const struct tlv_request *request);
/* The head has come: what must be remembered until the body has. job->data is that memory. */
void many_begin(struct job *job, const struct tlv_request *request);
/* The body of a PUT_MANY has come. Returns: false: it is not what it says. */
must_check bool many_take_puts(struct job *job);
static inline struct store_bundle *many_bundle(struct job *job) {
    return job->data;
}
/* Where the body of a request that is still coming goes. */
uint8_t *many_body(struct job *job);

/* How a GET_MANY goes on. */
enum many_way { MANY_BAD, MANY_WRITE, MANY_READ };
/* Looks all keys up: BAD: the body is not what it says; WRITE: nothing is on disk; READ: there is a
 * bundle to run. */
must_check enum many_way many_look_up(struct net *net, struct job *job);
/* Writes the answer. Returns: false for want of room: nothing was written. */
must_check bool many_write(struct net *net, struct conn *conn, struct job *job);
/* Gives the frames back that a looked-up or finished request holds. */
void many_drop(struct job *job);
