/* SPDX-License-Identifier: MIT */
#pragma once

/* client — the inside of the client library: one connection and the requests on it.
 *
 *   submit -> slot WAITING, frame in `out` -> turn: send, receive -> reply fills the slot -> DONE
 *   a pipelined slot goes to the done list, a blocking one is looked at by the call that waits
 *
 * The id of a request is its slot (low 16 bits) and the slot's generation (high 16): the answer to
 * a request that was given up can never be taken for the answer to another. Everything belongs to
 * the thread that calls; nothing here is shared. */

#include "base/base.h"
#include "proto/tlv/tlv.h"
#include "tools/client/millrace_client.h"

#define CLIENT_SLOTS_MAX  65536u
#define CLIENT_IN_BYTES   (64u * 1024)
#define CLIENT_OUT_MAX    (16u * 1024 * 1024) /* unsent bytes before a submit is MR_FULL */
#define CLIENT_TEXT_BYTES 160u
#define CLIENT_NONE       UINT32_MAX
#define CLIENT_PIECES     64u /* unsent bodies that lie in files before a submit is MR_FULL */

/* Kinds of requests that never become completions. */
enum {
    KIND_STAT = MR_KIND_VERIFY + 1,
    KIND_LIST,
    KIND_HELLO,
    KIND_GET_MANY,
    KIND_PUT_MANY,
    KIND_PIN,
    KIND_UNPIN
};

enum slot_state { SLOT_FREE, SLOT_WAITING, SLOT_DONE };

struct slot {
    uint8_t state;
    uint8_t kind;
    bool blocking;   /* a call waits for it: never on the done list */
    bool forgotten;  /* nobody waits any more: the answer is thrown away */
    bool check;      /* whole block: verify against cid */
    bool buffer_set; /* the memory in `done.data` is the caller's */
    uint16_t generation;
    uint32_t next;        /* in the free or the done list */
    uint32_t asked_bytes; /* GET: length of the range asked for, 0: all */
    size_t capacity;      /* of the caller's buffer */
    size_t filled;        /* bytes of the body taken so far; HAVE: place in the answers */
    uint64_t cursor;      /* LIST: of the answer */
    struct mr_cid cid;
    struct mr_completion done;
    char text[CLIENT_TEXT_BYTES];
};

/* A body that lies in a file: it goes out when `at` bytes of the buffer have. */
struct client_piece {
    uint64_t at;
    uint64_t offset;
    uint32_t left;
    int fd; /* -1: the file has ended, zeros take the place of what is missing */
};

struct mr_client {
    int fd; /* -1: not connected */
    struct mr_options options;
    struct mr_server server;
    bool scan; /* reads say so */

    uint8_t *out; /* unsent bytes: out[out_head .. out_tail) */
    size_t out_head, out_tail, out_capacity;
    uint64_t out_gone; /* bytes of the buffer sent, ever */
    struct client_piece pieces[CLIENT_PIECES];
    uint32_t piece_head, pieces_count;
    uint8_t *in; /* received and not yet parsed: in[in_head .. in_tail) */
    size_t in_head, in_tail;
    uint32_t body_left; /* of the reply in progress */
    uint32_t body_slot; /* whose it is; CLIENT_NONE: thrown away */

    struct slot *slots;
    uint32_t slots_count; /* made so far */
    uint32_t slots_free;  /* list */
    uint32_t done_head, done_tail;
    uint32_t unanswered;

    uint32_t fault;
    char error[512];
    char lost[256]; /* why the connection ended */
};

/* client_say notes the sentence of mr_error and returns `result`. */
int client_say(struct mr_client *client, int result, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same for a call on a connection that is gone. */
int client_say_closed(struct mr_client *client);

/* ---- wire.c: bytes ---- */

/* Returns: where to write `bytes` more unsent bytes (client_out_push counts them), or NULL. */
uint8_t *client_out_room(struct mr_client *client, size_t bytes);
void client_out_push(struct mr_client *client, size_t bytes);
/* Sends bytes of a file behind what was pushed so far; one of CLIENT_PIECES is free. */
void client_out_file(struct mr_client *client, int fd, uint64_t offset, uint32_t bytes);
bool client_unsent(const struct mr_client *client);
/* One turn: send and receive what is possible, after waiting at most until `deadline_ns` (0: not at
 * all, UINT64_MAX: as long as it takes). A connection that breaks is client_fail()ed, not an error.
 * Returns: 0 or -errno of poll(2). */
must_check int client_turn(struct mr_client *client, uint64_t deadline_ns);
/* Ends the connection: every WAITING slot is DONE with `result`. */
void client_fail(struct mr_client *client, int result, const char *why);

/* ---- slots.c: requests and their answers ---- */

/* Takes a slot for a request of `kind`. Returns: MR_FULL, MR_CLOSED, -ENOMEM. */
must_check int slot_take(struct mr_client *client, int kind, uint32_t *ret_slot);
void slot_release(struct mr_client *client, uint32_t index);
/* Gives a request up: its memory is the caller's again at once. */
void slot_forget(struct mr_client *client, uint32_t index);
void slot_finish(struct mr_client *client, uint32_t index, int result);
uint32_t slot_id(const struct mr_client *client, uint32_t index);
/* Feeds received bytes; returns how many were taken (fewer: an incomplete head). */
size_t client_feed(struct mr_client *client, const uint8_t *bytes, size_t count);
/* Where the rest of the body goes in one piece; NULL where it must go through client_feed. */
uint8_t *client_body_room(struct mr_client *client);
/* `bytes` were written there. */
void client_body_push(struct mr_client *client, uint32_t bytes);

/* ---- requests.c: frames ---- */

/* What goes into a request, for all kinds. */
struct asking {
    int kind;
    const struct mr_cid *cid;
    const struct mr_cid *cids; /* HAVE */
    size_t cids_count;
    uint32_t offset, length; /* GET */
    const void *data;        /* PUT; NULL: the caller streams `data_bytes` itself */
    size_t data_bytes;
    bool in_file; /* PUT: the data are those of `fd` from `file_offset` on */
    int fd;
    uint64_t file_offset;
    void *buffer; /* GET */
    size_t buffer_bytes;
    uint64_t cursor; /* LIST */
    uint16_t count;  /* LIST, GET_MANY, PUT_MANY: their data is the body */
    uint8_t flags;
    uint8_t mode; /* PIN */
    bool check;
    bool blocking;
    const struct mr_ask *ask;
    void *user;
};
must_check int client_ask(struct mr_client *client, const struct asking *asking,
                          uint32_t *ret_slot);
/* As client_ask and client_wait, again while the server says later. */
must_check int client_call(struct mr_client *client, struct asking asking,
                           struct mr_completion *ret_done);
/* Works on the connection for so long. */
must_check int client_pause(struct mr_client *client, uint32_t pause_ms);
/* Returns: 0, CID_IDENTITY, or MR_BAD_CID said. */
struct cid;
must_check int client_key_of(struct mr_client *client, const struct mr_cid *from,
                             struct cid *ret_cid, struct key *ret_key);
int client_result_of_fault(uint32_t code);
/* Waits for one slot; the result is its own. The slot is still the caller's to release, except
 * after MR_TIMEOUT, when it is gone. */
must_check int client_wait(struct mr_client *client, uint32_t index, uint64_t deadline_ns);
