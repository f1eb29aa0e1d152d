/* SPDX-License-Identifier: MIT */
/* Any input is tried as an address in bytes, as one in text, as a peer's name in bytes and in text,
 * and as a key to be named. What is accepted must come back the same from every form. */

#include "tests/fuzz/fuzz.h"

#include "base/must.h"
#include "proto/libp2p/multiaddr.h"

#include <string.h>

static void check_peer(const struct peer_id *id) {
    char text[PEER_ID_TEXT_MAX];
    struct peer_id again;
    must(peer_id_format(id, text) == strlen(text));
    must(peer_id_parse(text, &again) == 0);
    must(peer_id_equal(id, &again));
    must(peer_id_read(id->bytes, id->count, &again) == 0);
    must(peer_id_equal(id, &again));
}

static bool same_address(const struct multiaddr *a, const struct multiaddr *b) {
    return a->host == b->host && a->port == b->port && strcmp(a->name, b->name) == 0 &&
           memcmp(a->address, b->address, sizeof a->address) == 0 &&
           peer_id_equal(&a->peer, &b->peer);
}

static void check_address(const struct multiaddr *address) {
    uint8_t bytes[MULTIADDR_BYTES_MAX];
    char text[MULTIADDR_TEXT_MAX];
    struct multiaddr again;
    size_t count = multiaddr_write(address, bytes);
    must(multiaddr_read(bytes, count, &again) == 0);
    must(same_address(address, &again));
    must(multiaddr_format(address, text) == strlen(text));
    must(multiaddr_parse(text, &again, NULL, 0) == 0);
    must(same_address(address, &again));
    if (address->peer.count > 0) {
        check_peer(&address->peer);
    }
}

static void check_text(const uint8_t *data, size_t bytes) {
    char text[600], why[160] = "";
    struct multiaddr address;
    struct peer_id id;
    if (bytes >= sizeof text) {
        return;
    }
    memcpy(text, data, bytes);
    text[bytes] = 0;
    int r = multiaddr_parse(text, &address, why, sizeof why);
    if (r == 0) {
        check_address(&address);
    } else {
        must(r == MULTIADDR_BAD || r == MULTIADDR_OTHER);
        must(strlen(why) > 0);
    }
    if (peer_id_parse(text, &id) == 0) {
        check_peer(&id);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    struct multiaddr address;
    struct peer_id id;
    if (multiaddr_read(data, bytes, &address) == 0) {
        uint8_t out[MULTIADDR_BYTES_MAX];
        must(multiaddr_write(&address, out) == bytes);
        must(memcmp(out, data, bytes) == 0); /* one spelling for each address */
        check_address(&address);
    }
    if (peer_id_read(data, bytes, &id) == 0) {
        check_peer(&id);
    }
    if (peer_id_of_key(data, bytes, &id) == 0) {
        check_peer(&id);
    }
    check_text(data, bytes);
    return 0;
}
