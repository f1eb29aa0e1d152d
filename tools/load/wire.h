/* SPDX-License-Identifier: MIT */
#pragma once

/* wire — the protocols the generator speaks, each as two pure functions behind one reader.
 *
 * A protocol writes the head of a request and reads the head of a reply from contiguous bytes. The
 * reader does what they share: heads cut anywhere, bodies of known length, what follows a body. It
 * gives the same events however the bytes are split. All protocols run through one engine, so a
 * comparison of servers does not compare generators. Thread: owner. */

#include "base/base.h"

#define WIRE_REPLY_MAX 1024u /* longest head of a reply */
#define WIRE_TEXT_MAX  72u

enum wire_op { WIRE_GET, WIRE_RANGE, WIRE_HAVE, WIRE_PUT };

struct wire_request {
    uint8_t op;
    bool first; /* of the run of reads a connection writes at once: memcache joins them */
    uint32_t id;
    uint64_t index;        /* of the block */
    const uint8_t *digest; /* of the block */
    uint32_t offset, length;
    uint32_t body_bytes;     /* PUT: follows the head */
    const uint8_t **digests; /* HAVE: the digests asked for */
    uint32_t count;          /* HAVE */
    const char *text;        /* http: the whole request */
    uint32_t text_bytes;
};

enum wire_answer {
    WIRE_VALUE, /* body follows */
    WIRE_DONE,  /* written */
    WIRE_HAVES, /* body: one byte a key */
    WIRE_NOT_FOUND,
    WIRE_BUSY,    /* later, please */
    WIRE_FAULT,   /* refused; `text` says why */
    WIRE_WELCOME, /* to the hello */
    WIRE_END,     /* memcache: a run of reads is over */
};

struct wire_reply {
    uint8_t answer;
    bool keyed;            /* index is the key the server named */
    uint8_t class;         /* WELCOME */
    uint8_t trailer_bytes; /* CR LF after the body */
    uint32_t id;
    uint32_t body_bytes;
    uint32_t total, offset; /* VALUE of TLV */
    uint32_t credits, retry_ms;
    uint32_t block_max; /* WELCOME: bytes of the largest block; 0: not said */
    uint64_t index;
    char text[WIRE_TEXT_MAX];
};

enum { WIRE_SHORT = 1, WIRE_BAD = 2 };

struct wire {
    const char *name;
    const char *about;
    bool ordered;        /* replies come in the order of requests, without ids */
    bool hashed;         /* content is named by its sha2-256 digest */
    bool fills;          /* PUT exists */
    bool verifies;       /* the server has our content */
    bool keeps;          /* what was put may not be gone */
    uint32_t head_max;   /* longest request without body and HAVE keys */
    const char *trailer; /* after the body of a PUT, NULL: nothing */
    const char *run_end; /* after a run of reads, NULL: reads stand alone */
    /* The first bytes of a connection, NULL where there are none. */
    size_t (*hello)(uint8_t class, uint8_t *out);
    size_t (*write)(const struct wire_request *request, uint8_t *out);
    /* Returns: 0 with *ret_used bytes taken, WIRE_SHORT, WIRE_BAD. */
    int (*read)(const uint8_t *bytes, size_t count, struct wire_reply *ret_reply, size_t *ret_used);
};

extern const struct wire wire_tlv, wire_echo, wire_resp, wire_memcache, wire_http;
/* Returns: the protocol of that name or NULL. */
const struct wire *wire_find(const char *name);
/* The n-th protocol, NULL past the last. */
const struct wire *wire_at(uint32_t n);

/* The words of a fault, as far as there is room; they are the peer's, so what is not printable
 * becomes a dot. */
void wire_text_keep(struct wire_reply *reply, const char *text, size_t bytes);

struct wire_reader {
    struct wire_reply reply;
    uint32_t body_left;
    uint8_t trailer_left;
    bool begun; /* a head was read, its reply is not complete */
    uint16_t stashed;
    uint8_t *stash; /* WIRE_REPLY_MAX bytes, taken when a head is first cut */
};

enum wire_event { WIRE_EVENT_MORE, WIRE_EVENT_BODY, WIRE_EVENT_REPLY, WIRE_EVENT_BAD };

struct wire_run {
    const uint8_t *body; /* BODY: a run of body bytes inside the caller's bytes */
    uint32_t body_bytes;
    uint32_t body_at; /* place of the run in the body */
    size_t used;      /* bytes taken from the caller's */
};

void wire_reader_init(struct wire_reader *reader);
void wire_reader_fini(struct wire_reader *reader);
/* MORE: all bytes were taken. BODY and REPLY: reader->reply is the reply. After BAD the stream
 * cannot be trusted. */
enum wire_event wire_reader_step(const struct wire *wire, struct wire_reader *reader,
                                 const uint8_t *bytes, size_t count, struct wire_run *ret_run);
