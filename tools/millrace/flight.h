/* SPDX-License-Identifier: MIT */
#pragma once

/* flight — many requests at once over one connection, bounded in number and bytes; what the daemon
 * is too busy for is asked again when it said so.
 *
 *   flight_begin -> flight_ask ... -> flight_drain -> flight_end
 *
 * Answers come by the `done` function, in the daemon's order, from within ask, step and drain.
 * Thread: one. Blocks: ask while the flight is full, step and drain until answers come. */

#include "tools/client/millrace_client.h"

#include "base/base.h"

#define FLIGHT_MAX       64u
#define FLIGHT_BYTES_MAX (32u << 20)

struct flight_ask {
    enum mr_kind kind; /* MR_KIND_GET, MR_KIND_PUT or MR_KIND_VERIFY */
    uint32_t bytes;    /* PUT */
    const void *data;  /* PUT; copied, for it may have to be sent again */
    bool in_file;      /* PUT: the block lies in `fd`, from `offset` on, until it is answered */
    int fd;
    uint64_t offset;
    uint64_t tag; /* the caller's */
    struct mr_cid cid;
};

/* What came of one request. BUSY only after very many tries. Data of a GET is the flight's; take it
 * over by clearing completion->data_owned. Returns: 0 to go on; anything else ends the flight and
 * is what the caller gets. */
typedef int (*flight_done)(void *context, const struct flight_ask *ask,
                           struct mr_completion *completion);

struct flight_slot {
    bool used, again; /* again: waits for due_ns to be asked once more */
    uint32_t tries;
    uint64_t due_ns;
    struct flight_ask ask;
    void *copy; /* of a PUT's data */
};
struct flight {
    struct mr_client *client;
    flight_done done;
    void *context;
    uint32_t out;
    uint64_t out_bytes;
    struct flight_slot slots[FLIGHT_MAX];
};

void flight_begin(struct flight *flight, struct mr_client *client, flight_done done, void *context);
/* Each returns 0, what `done` ended it with, MR_CLOSED when the connection is lost, or what the
 * client gave for the request itself (MR_BAD_CID, MR_TOO_LARGE, -errno). */
must_check int flight_ask(struct flight *flight, const struct flight_ask *ask);
must_check int
flight_step(struct flight *flight); /* waits for at least one answer, if any is out */
must_check int flight_drain(struct flight *flight);
void flight_end(struct flight *flight);
