/* SPDX-License-Identifier: MIT */
#pragma once

/* giant — a Noise handshake by hand, whose proof is an RSA key no honest peer has.
 *
 * A server that checks the signature before it looks at the key's size spends milliseconds on each.
 * Source: Noise revision 34, section 7.5; libp2p specs noise/README.md; CVE-2023-39533. */

#include "tools/load/bitswap/swarm.h"

/* For attack.begin: the node says header, proposal and its ephemeral key. */
void giant_begin(struct swarm *swarm, struct node *node);
/* The host's on_raw: what the server says, until the giant proof can be sent. */
void giant_hears(struct peer *peer, const uint8_t *bytes, size_t count);
