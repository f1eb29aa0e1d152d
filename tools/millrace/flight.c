/* SPDX-License-Identifier: MIT */
#include "tools/millrace/flight.h"

#include "base/clock.h"
#include "base/must.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define TRIES_MAX   200u
#define WAIT_MS_MAX 1000u
#define FLUSH_EVERY 16u /* requests a send carries, while the caller is still making more */

void flight_begin(struct flight *flight, struct mr_client *client, flight_done done,
                  void *context) {
    memset(flight, 0, sizeof *flight);
    flight->client = client;
    flight->done = done;
    flight->context = context;
}

static void slot_free(struct flight *flight, struct flight_slot *slot) {
    free(slot->copy);
    flight->out--;
    flight->out_bytes -= slot->ask.bytes;
    *slot = (struct flight_slot){.used = false};
}

void flight_end(struct flight *flight) {
    for (uint32_t i = 0; i < FLIGHT_MAX; i++) {
        if (flight->slots[i].used) {
            slot_free(flight, &flight->slots[i]);
        }
    }
}

/* Gives the slot's request to the client. Returns: as the client does. */
static int submit(struct flight *flight, struct flight_slot *slot) {
    const struct flight_ask *ask = &slot->ask;
    switch (ask->kind) {
    case MR_KIND_GET:
        return mr_submit_get(flight->client, &ask->cid, 0, 0, NULL, 0, NULL, slot);
    case MR_KIND_PUT:
        if (ask->in_file) {
            return mr_submit_put_file(flight->client, &ask->cid, ask->fd, ask->offset, ask->bytes,
                                      NULL, slot);
        }
        return mr_submit_put(flight->client, &ask->cid, slot->copy, ask->bytes, NULL, slot);
    case MR_KIND_VERIFY:
        return mr_submit_verify(flight->client, &ask->cid, NULL, slot);
    case MR_KIND_PING:
    case MR_KIND_HAVE:
    case MR_KIND_DELETE:
        break;
    default:
        break;
    }
    never("a flight carries get, put and verify");
}

/* Asks again what is due. Returns: how long until the next is, in ms; -1: none waits. */
static int ask_again(struct flight *flight) {
    uint64_t now = clock_ns(), next = UINT64_MAX;
    for (uint32_t i = 0; i < FLIGHT_MAX; i++) {
        struct flight_slot *slot = &flight->slots[i];
        if (!slot->used || !slot->again) {
            continue;
        }
        if (slot->due_ns <= now && submit(flight, slot) == 0) {
            slot->again = false;
        } else {
            /* Full or closed: the answers of the others, or their absence, will show. */
            uint64_t due = slot->due_ns > now ? slot->due_ns : now + NS_PER_MS;
            next = due < next ? due : next;
        }
    }
    return next == UINT64_MAX ? -1 : (int)((next - now + NS_PER_MS - 1) / NS_PER_MS);
}

static int settle(struct flight *flight, struct mr_completion *completion) {
    struct flight_slot *slot = completion->user;
    bool busy = completion->result == MR_BUSY || completion->result == MR_RETRY;
    if (completion->result == MR_CLOSED) {
        return MR_CLOSED;
    }
    if (busy && ++slot->tries < TRIES_MAX) {
        uint32_t wait_ms = completion->retry_ms < WAIT_MS_MAX ? completion->retry_ms : WAIT_MS_MAX;
        slot->again = true;
        slot->due_ns = clock_ns() + (wait_ms > 0 ? wait_ms : 1) * NS_PER_MS;
        return 0;
    }
    int r = flight->done(flight->context, &slot->ask, completion);
    slot_free(flight, slot);
    return r;
}

int flight_step(struct flight *flight) {
    struct mr_completion completions[FLIGHT_MAX];
    int result = 0;
    if (flight->out == 0) {
        return 0;
    }
    int wait_ms = ask_again(flight);
    /* Answers that came while a blocking call waited for its own are kept for mr_poll. */
    if (mr_unanswered(flight->client) == 0 && !mr_ready(flight->client)) {
        if (!mr_connected(flight->client)) {
            return MR_CLOSED;
        }
        poll(NULL, 0, wait_ms > 0 ? wait_ms : 1);
        return 0;
    }
    int count = mr_poll(flight->client, completions, (int)FLIGHT_MAX, wait_ms);
    for (int i = 0; i < count; i++) {
        int r = settle(flight, &completions[i]);
        result = result != 0 ? result : r;
        mr_completion_free(&completions[i]);
    }
    return count < 0 ? count : result;
}

int flight_drain(struct flight *flight) {
    int r = 0;
    while (r == 0 && flight->out > 0) {
        r = flight_step(flight);
    }
    return r;
}

static struct flight_slot *slot_take(struct flight *flight) {
    for (uint32_t i = 0; i < FLIGHT_MAX; i++) {
        if (!flight->slots[i].used) {
            return &flight->slots[i];
        }
    }
    never("a flight that is not full has a free slot");
}

int flight_ask(struct flight *flight, const struct flight_ask *ask) {
    void *copy = NULL;
    int r = 0;
    while (flight->out == FLIGHT_MAX ||
           (flight->out > 0 && flight->out_bytes + ask->bytes > FLIGHT_BYTES_MAX)) {
        r = flight_step(flight);
        if (r != 0) {
            return r;
        }
    }
    if (ask->kind == MR_KIND_PUT && !ask->in_file) {
        copy = malloc(ask->bytes > 0 ? ask->bytes : 1);
        if (copy == NULL) {
            return -ENOMEM;
        }
        memcpy(copy, ask->data, ask->bytes);
    }
    struct flight_slot *slot = slot_take(flight);
    *slot = (struct flight_slot){.used = true, .ask = *ask, .copy = copy};
    flight->out++;
    flight->out_bytes += ask->bytes;
    while ((r = submit(flight, slot)) == MR_FULL) {
        r = flight->out > 1 ? flight_step(flight) : MR_FULL;
        if (r != 0) {
            break;
        }
    }
    if (r == 0 && flight->out % FLUSH_EVERY == 0) {
        r = mr_flush(flight->client) < 0 ? MR_CLOSED : 0;
    }
    if (r != 0 && slot->used) {
        slot_free(flight, slot);
    }
    return r;
}
