/* SPDX-License-Identifier: MIT */
#pragma once

/* sha256 — SHA-256 of two messages at once. The processor's own rounds take four cycles to give
 * their result and can be begun every other one, so two messages side by side cost what one does.
 * Only where the processor has them; everything else about hashes is hash.h's, and libcrypto's. */

#include "base/base.h"

#define SHA256_BYTES 32

struct sha256_piece {
    const void *data;
    size_t bytes;
};

/* Can this processor do it? Thread: any. */
bool sha256_two_here(void);

/* The digests of both. Where one is longer its rest is hashed alone, at the speed of one. Only
 * where sha256_two_here. Thread: any. */
void sha256_two(const struct sha256_piece pieces[2], uint8_t digests[2][SHA256_BYTES]);
