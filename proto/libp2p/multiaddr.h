/* SPDX-License-Identifier: MIT */
#pragma once

/* multiaddr — where a peer listens: host, TCP port, and who it should be.
 *
 *   /ip4/127.0.0.1/tcp/4001[/p2p/12D3Koo...]   also /ip6, /dns, /dns4, /dns6, and /ipfs for /p2p
 *
 * Only what this node can dial or say has a struct; a well-formed address of other protocols
 * (QUIC, WebSocket, relays) is MULTIADDR_OTHER, to be passed over. IPv6 zones are refused.
 * Thread: any. Source: multiformats/multiaddr, protocols.csv. */

#include "base/base.h"
#include "proto/libp2p/peer_id.h"

#define MULTIADDR_NAME_MAX  254u
#define MULTIADDR_BYTES_MAX 352u
#define MULTIADDR_TEXT_MAX  448u

enum multiaddr_host { MULTIADDR_IP4, MULTIADDR_IP6, MULTIADDR_DNS, MULTIADDR_DNS4, MULTIADDR_DNS6 };

struct multiaddr {
    enum multiaddr_host host;
    uint16_t port;
    uint8_t address[16];           /* IP4: the first four, IP6: all; network order */
    char name[MULTIADDR_NAME_MAX]; /* DNS*: terminated */
    struct peer_id peer;           /* count 0: not said */
};

enum { MULTIADDR_BAD = 1, MULTIADDR_OTHER = 2 };

/* Returns: 0; MULTIADDR_BAD or MULTIADDR_OTHER with a sentence for people in `why`. */
must_check int multiaddr_parse(const char *text, struct multiaddr *ret_address, char *why,
                               size_t why_bytes);
size_t multiaddr_format(const struct multiaddr *address, char text[MULTIADDR_TEXT_MAX]);
/* The binary form, all of `bytes`. */
must_check int multiaddr_read(const uint8_t *bytes, size_t count, struct multiaddr *ret_address);
size_t multiaddr_write(const struct multiaddr *address, uint8_t out[MULTIADDR_BYTES_MAX]);
