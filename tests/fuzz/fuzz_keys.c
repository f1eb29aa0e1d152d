/* SPDX-License-Identifier: MIT */
/* Input: a length, a serialized key of that length, then a signature. What is read must be read the
 * same again, fit a peer's id, and survive being asked to prove something. */
#include "tests/fuzz/fuzz.h"

#include "base/must.h"
#include "proto/libp2p/crypto.h"
#include "proto/libp2p/der.h"
#include "proto/libp2p/keys.h"
#include "proto/libp2p/peer_id.h"

static void walk(struct der run) {
    static const enum der_tag tags[] = {DER_INTEGER, DER_BITS, DER_OCTETS,
                                        DER_NULL,    DER_OID,  DER_SEQUENCE};
    struct der content;
    for (size_t i = 0; i < array_count(tags); i++) {
        struct der copy = run;
        if (der_take(&copy, tags[i], &content)) {
            must(content.at >= run.at + 2 && content.end == copy.at && copy.end == run.end);
        }
        copy = run;
        if (der_take_positive(&copy, &content)) {
            must(der_count(&content) > 0 && content.at[0] != 0);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    if (bytes < 2) {
        return 0;
    }
    size_t count = (size_t)(data[0] << 8 | data[1]);
    data += 2;
    bytes -= 2;
    count = count < bytes ? count : bytes;
    must(crypto_open() == 0);
    walk((struct der){data, data + count});
    struct keys_key key;
    if (keys_read(data, count, &key) != 0) {
        return 0;
    }
    struct peer_id id;
    must(count <= KEYS_MAX && key.kind <= KEYS_ECDSA);
    must(key.data > data && key.data + key.data_bytes == data + count);
    must(peer_id_of_key(data, count, &id) == 0);
    (void)!keys_verify(&key, (const uint8_t *)"message", 7, data + count, bytes - count);
    return 0;
}
