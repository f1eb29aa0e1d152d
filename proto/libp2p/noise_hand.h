/* SPDX-License-Identifier: MIT */
#pragma once

/* noise_hand — the handshake of noise.h: the Noise framework's symmetric state and the three
 * messages of XX, without their length prefixes.
 *
 *   dialer:   write 1 -> read 2 -> write 3 -> split
 *   listener: read 1 -> write 2 -> read 3 -> split
 *
 * Memory: one object of libcrypto's allocator, wiped when closed, and the plaintext of a message
 * while it is read. Thread: as secure.h. Source: Noise revision 34, sections 5.2, 5.3 and 7.5. */

#include "proto/libp2p/crypto.h"
#include "proto/libp2p/noise.h"

struct noise_hand;
must_check struct noise_hand *noise_hand_open(const struct noise_self *self, bool dialer,
                                              const uint8_t *ephemeral);
void noise_hand_close(struct noise_hand *hand); /* NULL is allowed */

bool noise_hand_speaks_first(const struct noise_hand *hand); /* and has not yet */
bool noise_hand_done(const struct noise_hand *hand);
/* One whole message. Returns: 0, SECURE_BAD, SECURE_STRANGER. */
must_check int noise_hand_read(struct noise_hand *hand, const uint8_t *in, size_t count,
                               const struct peer_id *expected);
/* out: room for SECURE_HANDSHAKE_OUT_MAX - 2 bytes. */
must_check bool noise_hand_write(struct noise_hand *hand, uint8_t *out, size_t *ret_count);
/* When done: keys of the two directions. */
must_check bool noise_hand_split(struct noise_hand *hand, struct crypto_aead *seal,
                                 struct crypto_aead *open);
void noise_hand_peer(const struct noise_hand *hand, struct peer_id *ret_peer,
                     bool *ret_muxer_agreed);
