/* SPDX-License-Identifier: MIT */
#pragma once

/* tls_cert — the self-signed certificate by which a libp2p peer proves its key over TLS.
 *
 * The extension 1.3.6.1.4.1.53594.1.1 holds SEQUENCE {OCTET STRING public key, OCTET STRING its
 * signature of "libp2p-tls-handshake:" and the certificate's own SubjectPublicKeyInfo}. A good
 * certificate stands alone, signs itself, has the extension once, no critical one that nobody here
 * knows, a key whose arithmetic has a known price (P-256, P-384, P-521, Ed25519, RSA of 2048..8192
 * bits), and is of today; a day's difference between two clocks is forgiven.
 * Thread: any. Source: libp2p specs tls/tls.md; RFC 5280. */

#include "proto/libp2p/peer_id.h"

struct evp_pkey_st;
struct x509_st;

#define TLS_CERT_MAX 8192u /* bytes of a certificate that is looked at */

enum { TLS_CERT_BAD = 1 };

/* Ours, for a new P-256 key. identity: our Ed25519 key, `public_key` its serialized public half.
 * Owns: both results are the caller's. Returns: 0 or -EIO. */
must_check int tls_cert_make(struct evp_pkey_st *identity, const uint8_t *public_key,
                             size_t public_key_bytes, struct x509_st **ret_cert,
                             struct evp_pkey_st **ret_key);
/* Whose is it? Returns: 0 or TLS_CERT_BAD. Cost: two verifications, 0.2 ms. */
must_check int tls_cert_peer(struct x509_st *cert, struct peer_id *ret_peer);
/* The same from DER, all of it. */
must_check int tls_cert_read(const uint8_t *der, size_t count, struct peer_id *ret_peer);
