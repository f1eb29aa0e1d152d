/* SPDX-License-Identifier: MIT */
#pragma once

/* identify — who a peer is and what it speaks: /ipfs/id/1.0.0 and /ipfs/id/push/1.0.0.
 *
 * The message is written whole, with its varint length, and read by an incremental reader that
 * keeps nothing but what is asked of it: it merges up to IDENTIFY_MESSAGES_MAX messages of at most
 * IDENTIFY_BYTES_MAX each, as Go does. Texts are cut to their room and made printable ASCII; the
 * signed peer record is passed over, never kept.
 * Thread: owner. Source: libp2p specs identify/README.md. */

#include "base/base.h"
#include "proto/libp2p/multiaddr.h"
#include "proto/libp2p/peer_id.h"

#define IDENTIFY_BYTES_MAX     8192u
#define IDENTIFY_MESSAGES_MAX  10u
#define IDENTIFY_AGENT_MAX     64u
#define IDENTIFY_ADDRESSES_MAX 16u
#define IDENTIFY_WRITE_MAX     4096u

/* What a peer says it speaks, as far as this node cares; a bit each. */
enum identify_speaks {
    SPEAKS_BITSWAP_120 = 1u << 0,
    SPEAKS_BITSWAP_110 = 1u << 1,
    SPEAKS_BITSWAP_100 = 1u << 2,
    SPEAKS_BITSWAP = 1u << 3, /* without a version */
    SPEAKS_PING = 1u << 4,
    SPEAKS_IDENTIFY = 1u << 5,
    SPEAKS_IDENTIFY_PUSH = 1u << 6,
};

/* What we say. Pointers are the caller's. */
struct identify_self {
    const uint8_t *key; /* serialized PublicKey */
    size_t key_bytes;
    const char *agent;
    const char *protocol_version; /* "ipfs/0.1.0" */
    const char *const *protocols; /* NULL-terminated */
    const struct multiaddr *addresses;
    uint32_t address_count;
    const struct multiaddr *observed; /* NULL: not said */
};
/* Returns: bytes, length prefix included; addresses that would exceed the room are left out. */
size_t identify_write(const struct identify_self *self, uint8_t out[IDENTIFY_WRITE_MAX]);

/* What a peer said, merged over its messages. */
struct identify_info {
    uint32_t speaks; /* enum identify_speaks */
    bool key_seen;
    bool key_matches; /* publicKey is that of `peer` given at init */
    char agent[IDENTIFY_AGENT_MAX];
};

enum identify_event { IDENTIFY_MORE, IDENTIFY_MESSAGE, IDENTIFY_BAD };

struct identify_reader {
    struct peer_id peer; /* whose key it must be */
    uint8_t *buffer;     /* the caller's, IDENTIFY_BYTES_MAX */
    uint8_t messages, varint_count;
    bool in_message, ended;
    uint8_t varint[4];
    uint32_t wanted, gathered;
    struct identify_info info;
};
void identify_reader_init(struct identify_reader *reader, const struct peer_id *peer,
                          uint8_t *buffer);
/* Returns: MESSAGE when one more was merged into reader->info; *ret_used bytes were taken. */
must_check enum identify_event identify_step(struct identify_reader *reader, const uint8_t *bytes,
                                             size_t count, size_t *ret_used);
