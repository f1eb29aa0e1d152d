/* SPDX-License-Identifier: MIT */
#pragma once

/* bitswap — messages of /ipfs/bitswap/1.2.0, 1.1.0, 1.0.0: bytes in any split become events, and
 * back.
 *
 * A stream carries messages, each behind its varint length, at most BITSWAP_MESSAGE_MAX long. The
 * reader holds one entry or presence (a few hundred bytes) and never a message or a block: block
 * bytes are handed out as they arrive. So a promised length costs nobody memory.
 *
 *   (BEGIN -> (WANT | FULL | BLOCK -> DATA* -> BLOCK_END | PRESENCE | PENDING)* -> END)*   or BAD
 *
 * Fields may come in any order, unknown ones are skipped, repeated scalars take the last. FULL
 * ("this list replaces all") comes behind the entries it covers, just before END. A block whose
 * prefix comes behind its data is legal: the prefix counts at BLOCK_END; data given twice in one
 * payload ends the first as a block of unknown prefix. Messages of length 0 are passed over. An
 * entry whose CID is
 * longer than BITSWAP_CID_MAX, undecodable, or carries its block in itself (identity) is skipped
 * and counted in `skipped`. Blocks of the 1.0.0 field have prefix_bytes 0 and are CIDv0.
 *
 * Priorities and types out of range are legal: an unknown want type is a want-block, as in Go.
 * Thread: owner. Source: ipfs/specs src/bitswap-protocol.md; boxo bitswap/message/pb. */

#include "base/base.h"
#include "base/cid.h"
#include "base/key.h"

#define BITSWAP_MESSAGE_MAX (4u << 20)
#define BITSWAP_CID_MAX     168u
#define BITSWAP_PREFIX_MAX  40u
#define BITSWAP_ENTRY_MAX   256u

/* What a CID is but its hash: enough, with a key, to say it again byte for byte. */
struct bitswap_form {
    uint32_t codec;
    uint8_t version; /* 0 or 1 */
};

struct bitswap_want {
    struct key key;
    struct bitswap_form form;
    int32_t priority;
    bool cancel;
    bool have; /* want-have, else want-block */
    bool send_dont_have;
};

struct bitswap_presence {
    struct key key;
    struct bitswap_form form;
    bool have; /* else DONT_HAVE */
};

enum bitswap_event {
    BITSWAP_MORE,
    BITSWAP_BEGIN, /* step.message_bytes */
    BITSWAP_WANT,  /* step.want */
    BITSWAP_FULL,
    BITSWAP_BLOCK,     /* step.block_bytes follow */
    BITSWAP_DATA,      /* step.bytes, step.count */
    BITSWAP_BLOCK_END, /* step.prefix: what the block must hash under */
    BITSWAP_PRESENCE,  /* step.presence */
    BITSWAP_PENDING,   /* step.pending_bytes */
    BITSWAP_END,
    BITSWAP_BAD
};

/* How to name a received block. */
struct bitswap_prefix {
    struct bitswap_form form;
    uint64_t hash;         /* multihash code */
    uint32_t digest_bytes; /* UINT32_MAX: the hash's own length */
    bool known;            /* false: unreadable, or a hash function we do not have */
};

struct bitswap_step {
    size_t used;
    union {
        struct bitswap_want want;
        struct bitswap_presence presence;
        struct bitswap_prefix prefix;
        uint32_t message_bytes;
        uint32_t block_bytes;
        int32_t pending_bytes;
    };
    const uint8_t *bytes;
    uint32_t count;
};

struct bitswap_reader {
    uint32_t skipped; /* entries and presences passed over, since init: the owner may read it */
    uint8_t state, inside; /* private to bitswap.c from here on */
    uint8_t varint_count;
    bool full, block_open;
    bool held; /* the last byte of the step before comes again */
    uint64_t varint;
    uint32_t field;
    uint32_t left, outer_left;
    uint32_t run, gathered;
    struct bitswap_prefix prefix;
    uint8_t buffer[BITSWAP_ENTRY_MAX];
};

void bitswap_reader_init(struct bitswap_reader *reader);
/* Yields one event; MORE once all of `bytes` is taken. An event that needs no more bytes (an END)
 * is not left standing behind the last one: until it was told, a byte is kept back in `used`. So a
 * loop until MORE and a loop while bytes are left tell the same. BAD is for good. Cost: an entry
 * that lies whole in `bytes` is read in place. */
must_check enum bitswap_event bitswap_step(struct bitswap_reader *reader, const uint8_t *bytes,
                                           size_t count, struct bitswap_step *ret_step);
/* Between messages: a stream may end here. */
bool bitswap_reader_idle(const struct bitswap_reader *reader);

/* ---- writing: parts of one message; sizes first, since the length comes before everything ---- */

/* Every message begins with a wantlist, empty where there is none to send (older Go peers need it).
 */
#define BITSWAP_EMPTY_LIST_BYTES 2u
#define BITSWAP_LENGTH_MAX       4u
size_t bitswap_put_length(uint32_t message_bytes, uint8_t *out); /* 1..4 bytes */
size_t bitswap_put_empty_list(uint8_t *out);

/* The wantlist field: its head, then entries of exactly entry_bytes each in sum; `full` adds its
 * two bytes. */
size_t bitswap_entry_size(const struct bitswap_want *want);
size_t bitswap_put_list_head(uint32_t entries_bytes, bool full, uint8_t *out); /* <= 8 bytes */
size_t bitswap_put_entry(const struct bitswap_want *want, uint8_t *out);
size_t bitswap_put_full(uint8_t *out); /* behind the entries, where full was announced */

/* A block's field up to its data; block_bytes of data follow. */
#define BITSWAP_BLOCK_HEAD_MAX 64u
size_t bitswap_block_size(const struct key *key, const struct bitswap_form *form,
                          uint32_t block_bytes); /* head and data */
size_t bitswap_put_block_head(const struct key *key, const struct bitswap_form *form,
                              uint32_t block_bytes, uint8_t out[BITSWAP_BLOCK_HEAD_MAX]);
/* The same for 1.0.0 peers (field 2, data alone). */
size_t bitswap_block_size_100(uint32_t block_bytes);
size_t bitswap_put_block_head_100(uint32_t block_bytes, uint8_t out[BITSWAP_BLOCK_HEAD_MAX]);

#define BITSWAP_PRESENCE_MAX 192u
size_t bitswap_put_presence(const struct key *key, const struct bitswap_form *form, bool have,
                            uint8_t out[BITSWAP_PRESENCE_MAX]);
