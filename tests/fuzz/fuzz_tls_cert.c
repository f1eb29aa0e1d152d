/* SPDX-License-Identifier: MIT */
/* Any bytes are taken for a certificate. What is accepted must be so for all of its bytes alone. */
#include "tests/fuzz/fuzz.h"

#include "base/must.h"
#include "proto/libp2p/crypto.h"
#include "proto/libp2p/tls_cert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    struct peer_id id;
    must(crypto_open() == 0);
    if (tls_cert_read(data, bytes, &id) == 0) {
        must(id.count > 0 && bytes > 0);
        must(tls_cert_read(data, bytes - 1, &id) == TLS_CERT_BAD);
    }
    return 0;
}
