/* SPDX-License-Identifier: MIT */
#pragma once

/* tls — the TLS 1.3 half of secure.h. The handshake is libssl's (tls_hand.h); records are ours.
 *
 * libssl would copy every byte of a record twice and keep 34 KiB a connection; here bytes are
 * sealed from their place into the record, opened from the input into the scratch, and a connection
 * is two cipher contexts and two secrets. What a peer may still say of TLS itself is answered:
 * tickets are passed over (nothing is resumed), a change of keys is followed and, where it was
 * asked for, made before our next record; after 2^24 records we change ours unasked; close_notify
 * is the end. Anything else is a breach.
 *
 * Room: a record of secure_seal becomes up to four of TLS, each of 16,384 bytes and the last of
 * less. The first stays where its plaintext lies, its head before it; each later one begins 22
 * bytes further behind, so all growth goes into SECURE_TAIL (17 + 3 * 22 = 83 bytes) and only a
 * change of keys (27 bytes) goes before the first head.
 * Thread: as secure.h. Source: RFC 8446, 4.6, 5, 6.1, 7.1-7.3. */

#include "proto/libp2p/secure.h"
#include "proto/libp2p/tls_hand.h"

struct tls;
must_check struct tls *tls_open(const struct tls_self *self, bool dialer);
void tls_close(struct tls *tls, const struct secure_memory *memory);

/* These are secure.h's verbs. expected: count 0 is anybody. */
bool tls_wants_step(const struct tls *tls, size_t count);
must_check int tls_step(struct tls *tls, const struct peer_id *expected, const uint8_t *in,
                        size_t count, size_t *ret_used, uint8_t *out, size_t *ret_out,
                        struct peer_id *ret_peer, bool *ret_muxer_agreed);
must_check int tls_seal(struct tls *tls, uint8_t *record, uint32_t first, const uint8_t *body,
                        uint32_t body_bytes, uint32_t *ret_start, uint32_t *ret_bytes);
must_check int tls_read(struct tls *tls, const struct secure_memory *memory, const uint8_t *in,
                        size_t count, size_t *ret_used, const uint8_t **ret_plain,
                        size_t *ret_plain_bytes);
bool tls_in_record(const struct tls *tls);

/* For tests: a channel behind a handshake that had this result. */
must_check struct tls *tls_open_agreed(const struct tls_result *result, bool dialer);
/* For tests: seals `count` bytes at `at` (five before it and 17 + zeros behind it are free) as a
 * record of any inner type, with that many zeros behind the type. */
must_check bool tls_seal_as(struct tls *tls, uint8_t type, uint8_t *at, uint32_t count,
                            uint32_t zeros);
/* For tests: the next records' numbers. */
void tls_skip_to(struct tls *tls, uint64_t seal_number, uint64_t open_number);
