/* SPDX-License-Identifier: MIT */
#include "base/cid.h"

#include "base/hash.h"
#include "base/key.h"
#include "base/multibase.h"
#include "base/must.h"
#include "base/varint.h"

#include <stdio.h>
#include <string.h>

#define CID_V0_BYTES 34 /* 0x12 0x20 and a SHA-256 */
#define CID_V0_CHARS 46 /* the same in base58btc: always Qm... */

struct cid_codec_row {
    uint64_t codec;
    const char *name;
};

static const struct cid_codec_row cid_codecs[] = {
    {CID_RAW, "raw"},
    {CID_DAG_PB, "dag-pb"},
    {CID_DAG_CBOR, "dag-cbor"},
    {CID_CBOR, "cbor"},
    {CID_LIBP2P_KEY, "libp2p-key"},
    {CID_DAG_JSON, "dag-json"},
    {CID_JSON, "json"},
    {0x0202, "car"},
    {0x0300, "ipns-record"},
    {0x0400, "car-index-sorted"},
    {0x0401, "car-multihash-index-sorted"},
};

static int cid_varint(const uint8_t *bytes, size_t count, size_t *at, uint64_t *ret_value) {
    size_t used;
    int r = varint_read(bytes + *at, count - *at, ret_value, &used);
    if (r != 0) {
        return r == VARINT_SHORT ? CID_SHORT : CID_BAD;
    }
    *at += used;
    return 0;
}

static int cid_read_v0(const uint8_t *bytes, size_t count, struct cid *ret_cid, size_t *ret_used) {
    if (count >= 2 && bytes[1] != 32) {
        return CID_BAD; /* there is no version 18 */
    }
    if (count < CID_V0_BYTES) {
        return CID_SHORT;
    }
    ret_cid->version = 0;
    ret_cid->codec = CID_DAG_PB;
    ret_cid->hash = HASH_SHA2_256;
    ret_cid->digest_bytes = 32;
    memcpy(ret_cid->digest, bytes + 2, 32);
    *ret_used = CID_V0_BYTES;
    return 0;
}

int cid_read(const uint8_t *bytes, size_t count, struct cid *ret_cid, size_t *ret_used) {
    if (count == 0) {
        return CID_SHORT;
    }
    if (bytes[0] == HASH_SHA2_256) {
        return cid_read_v0(bytes, count, ret_cid, ret_used);
    }
    if (bytes[0] != 1) {
        return CID_BAD;
    }
    size_t at = 1;
    uint64_t field[3]; /* codec, hash, digest length */
    for (size_t i = 0; i < array_count(field); i++) {
        int r = cid_varint(bytes, count, &at, &field[i]);
        if (r != 0) {
            return r;
        }
    }
    if (field[2] > CID_DIGEST_MAX) {
        return CID_BAD;
    }
    if (field[2] > count - at) {
        return CID_SHORT;
    }
    ret_cid->version = 1;
    ret_cid->codec = field[0];
    ret_cid->hash = field[1];
    ret_cid->digest_bytes = (uint32_t)field[2];
    memcpy(ret_cid->digest, bytes + at, field[2]);
    *ret_used = at + field[2];
    return 0;
}

size_t cid_write(const struct cid *cid, uint8_t out[CID_BYTES_MAX]) {
    must(cid->version <= 1);
    must(cid->digest_bytes <= CID_DIGEST_MAX);
    size_t used = 0;
    if (cid->version == 0) {
        must(cid->hash == HASH_SHA2_256);
        must(cid->digest_bytes == 32);
    } else {
        out[used++] = 1;
        used += varint_write(cid->codec, out + used);
    }
    used += varint_write(cid->hash, out + used);
    used += varint_write(cid->digest_bytes, out + used);
    memcpy(out + used, cid->digest, cid->digest_bytes);
    return used + cid->digest_bytes;
}

static int cid_refuse(char *why, size_t why_bytes, const char *sentence) {
    if (why && why_bytes > 0) {
        snprintf(why, why_bytes, "%s", sentence);
    }
    return CID_BAD;
}

/* The first character that no content identifier has; 0 if all are letters and digits. */
static char cid_odd_char(const char *text) {
    for (; *text; text++) {
        bool plain = (*text >= '0' && *text <= '9') || (*text >= 'a' && *text <= 'z') ||
                     (*text >= 'A' && *text <= 'Z');
        if (!plain) {
            return *text;
        }
    }
    return 0;
}

int cid_parse(const char *text, struct cid *ret_cid, char *why, size_t why_bytes) {
    if (strncmp(text, "/ipfs/", 6) == 0 || strncmp(text, "ipfs://", 7) == 0) {
        text += text[0] == '/' ? 6 : 7;
    }
    size_t chars = strnlen(text, CID_TEXT_MAX);
    if (chars == 0) {
        return cid_refuse(why, why_bytes, "an empty text is not a CID");
    }
    if (chars == CID_TEXT_MAX) {
        return cid_refuse(why, why_bytes, "too long for a CID");
    }
    char odd = cid_odd_char(text);
    if (odd == '/') {
        return cid_refuse(why, why_bytes, "a path goes on behind the CID: only the CID is wanted");
    }
    if (odd) {
        return cid_refuse(why, why_bytes, "not a CID: it has a character other than A-Z, a-z, 0-9");
    }
    bool v0 = chars == CID_V0_CHARS && strncmp(text, "Qm", 2) == 0;
    char base = v0 ? 'z' : text[0];
    if (!multibase_known(base)) {
        return cid_refuse(why, why_bytes,
                          "not a CID: it begins neither with Qm (46 characters long) nor with one "
                          "of b, k, z, f");
    }
    uint8_t bytes[CID_TEXT_MAX];
    size_t count;
    const char *digits = v0 ? text : text + 1;
    if (multibase_read(base, digits, strlen(digits), bytes, sizeof bytes, &count) != 0) {
        return cid_refuse(why, why_bytes,
                          "not a CID: the text is cut off or has a character its base lacks");
    }
    if (!v0 && count > 0 && bytes[0] == HASH_SHA2_256) {
        return cid_refuse(why, why_bytes, "not a CID: version 0 is written without a base prefix");
    }
    struct cid cid;
    size_t used;
    int r = cid_read(bytes, count, &cid, &used);
    if (r == CID_SHORT) {
        return cid_refuse(why, why_bytes, "the CID ends too early: its digest is cut off");
    }
    if (r != 0 || (v0 && cid.version != 0)) {
        return cid_refuse(why, why_bytes,
                          "not a CID: version, codec, hash and length are not as they should be");
    }
    if (used != count) {
        return cid_refuse(why, why_bytes, "the CID is followed by bytes that are not part of it");
    }
    *ret_cid = cid;
    return 0;
}

size_t cid_format(const struct cid *cid, char text[CID_TEXT_MAX]) {
    return cid_format_base(cid, cid->version == 0 ? 'z' : 'b', text);
}

size_t cid_format_base(const struct cid *cid, char base, char text[CID_TEXT_MAX]) {
    uint8_t bytes[CID_BYTES_MAX];
    size_t count = cid_write(cid, bytes);
    if (cid->version == 0) {
        must(base == 'z');
        return multibase_write(base, bytes, count, text, CID_TEXT_MAX);
    }
    text[0] = base;
    return 1 + multibase_write(base, bytes, count, text + 1, CID_TEXT_MAX - 1);
}

int cid_key(const struct cid *cid, struct key *ret_key) {
    if (cid->hash == HASH_IDENTITY) {
        return CID_IDENTITY;
    }
    int r = hash_check(cid->hash, cid->digest_bytes);
    if (r != 0) {
        return r == HASH_UNKNOWN ? CID_UNKNOWN_HASH : CID_BAD;
    }
    ret_key->code = (uint16_t)cid->hash;
    ret_key->digest_bytes = (uint8_t)cid->digest_bytes;
    ret_key->zero = 0;
    memcpy(ret_key->digest, cid->digest, cid->digest_bytes);
    return 0;
}

void cid_of_key(const struct key *key, uint64_t codec, struct cid *ret_cid) {
    must(key->digest_bytes <= HASH_DIGEST_MAX);
    ret_cid->version = 1;
    ret_cid->codec = codec;
    ret_cid->hash = key->code;
    ret_cid->digest_bytes = key->digest_bytes;
    memcpy(ret_cid->digest, key->digest, key->digest_bytes);
}

const char *cid_codec_name(uint64_t codec) {
    for (size_t i = 0; i < array_count(cid_codecs); i++) {
        if (cid_codecs[i].codec == codec) {
            return cid_codecs[i].name;
        }
    }
    return NULL;
}

int cid_codec_of(const char *name, uint64_t *ret_codec) {
    for (size_t i = 0; i < array_count(cid_codecs); i++) {
        if (strcmp(cid_codecs[i].name, name) == 0) {
            *ret_codec = cid_codecs[i].codec;
            return 0;
        }
    }
    return CID_BAD;
}
