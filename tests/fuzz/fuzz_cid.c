/* SPDX-License-Identifier: MIT */
/* Any input is tried as a binary CID, as a CID's text, and as a multihash. What is accepted must
 * come back the same from every form it can be written in. */

#include "tests/fuzz/fuzz.h"

#include "base/cid.h"
#include "base/key.h"
#include "base/must.h"

#include <string.h>

static bool same_cid(const struct cid *a, const struct cid *b) {
    return a->version == b->version && a->codec == b->codec && a->hash == b->hash &&
           a->digest_bytes == b->digest_bytes && memcmp(a->digest, b->digest, a->digest_bytes) == 0;
}

static void check_text(const struct cid *cid) {
    const char *bases = cid->version == 0 ? "z" : "bkzfBKF";
    for (const char *base = bases; *base; base++) {
        char text[CID_TEXT_MAX];
        struct cid again;
        size_t chars = cid_format_base(cid, *base, text);
        must(chars == strlen(text));
        must(cid_parse(text, &again, NULL, 0) == 0);
        must(same_cid(cid, &again));
    }
}

static void check_key(const struct cid *cid) {
    struct key key, again;
    if (cid_key(cid, &key) != 0) {
        return;
    }
    uint8_t bytes[KEY_MULTIHASH_MAX];
    size_t count = key_write(&key, bytes);
    size_t used;
    must(key_read(bytes, count, &again, &used) == 0);
    must(used == count);
    must(key_equal(&key, &again));
    must(key_read(bytes, count - 1, &again, &used) == KEY_SHORT);
    struct cid raw;
    cid_of_key(&key, CID_RAW, &raw);
    must(raw.hash == cid->hash);
}

static void check_cid(const struct cid *cid) {
    uint8_t bytes[CID_BYTES_MAX];
    size_t count = cid_write(cid, bytes);
    size_t used;
    struct cid again;
    must(cid_read(bytes, count, &again, &used) == 0);
    must(used == count);
    must(same_cid(cid, &again));
    check_text(cid);
    check_key(cid);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    struct cid cid;
    size_t used;
    if (cid_read(data, bytes, &cid, &used) == 0) {
        uint8_t out[CID_BYTES_MAX];
        must(used <= bytes);
        must(cid_write(&cid, out) == used);
        must(memcmp(out, data, used) == 0); /* one spelling for each CID */
        must(cid_read(data, used - 1, &cid, &used) == CID_SHORT);
        check_cid(&cid);
    }
    struct key key;
    if (key_read(data, bytes, &key, &used) == 0) {
        uint8_t out[KEY_MULTIHASH_MAX];
        must(key_write(&key, out) == used);
        must(memcmp(out, data, used) == 0);
    }
    char text[512], why[160];
    if (bytes < sizeof text) {
        memcpy(text, data, bytes);
        text[bytes] = 0;
        int r = cid_parse(text, &cid, why, sizeof why);
        must(r == 0 || r == CID_BAD);
        if (r == 0) {
            check_cid(&cid);
        } else {
            must(strlen(why) > 0);
        }
    }
    return 0;
}
