/* SPDX-License-Identifier: MIT */
#include "proto/libp2p/tls.h"

#include "base/err.h"
#include "base/must.h"
#include "proto/libp2p/records.h"

#include <errno.h>
#include <string.h>

#define HEAD        5u
#define TAG         CRYPTO_TAG_BYTES
#define PIECE_MAX   16384u              /* content of one record */
#define OVERHEAD    (HEAD + 1u + TAG)   /* head, type, tag */
#define UPDATE      (OVERHEAD + 5u)     /* a record that changes keys */
#define RECORDS_MAX (UINT64_C(1) << 24) /* by one key: RFC 8446, 5.5 says 2^24.5 */
#define SECRET      CRYPTO_HASH_BYTES

enum content { CONTENT_ALERT = 21, CONTENT_HANDSHAKE = 22, CONTENT_DATA = 23 };
enum message { MESSAGE_TICKET = 4, MESSAGE_KEY_UPDATE = 24 };
enum alert { ALERT_CLOSE_NOTIFY = 0, ALERT_USER_CANCELED = 90 };

static_assert(HEAD + UPDATE <= SECURE_HEAD, "a change of keys fits before the first record");
static_assert(1 + TAG + 3 * OVERHEAD <= SECURE_TAIL, "four records grow by no more");
static_assert(SECURE_PLAIN_MAX <= 4 * PIECE_MAX, "and more than four there are not");

struct tls {
    struct tls_hand *hand; /* NULL once the channel is keyed */
    bool dialer;
    bool ended;      /* close_notify came */
    bool update_due; /* the peer asked for new keys */
    enum crypto_cipher cipher;
    struct crypto_aead seal;
    struct records records;
    uint8_t seal_secret[SECRET];
    uint8_t open_secret[SECRET];
};

static struct tls *tls_new(bool dialer) {
    struct tls *tls = crypto_take(sizeof *tls);
    if (!tls) {
        return NULL;
    }
    tls->dialer = dialer;
    if (!crypto_aead_init(&tls->seal) || !records_init(&tls->records, true)) {
        tls_close(tls, NULL);
        return NULL;
    }
    return tls;
}

struct tls *tls_open(const struct tls_self *self, bool dialer) {
    struct tls *tls = tls_new(dialer);
    if (!tls) {
        return NULL;
    }
    tls->hand = tls_hand_open(self, dialer);
    if (!tls->hand) {
        tls_close(tls, NULL);
        return NULL;
    }
    return tls;
}

void tls_close(struct tls *tls, const struct secure_memory *memory) {
    if (tls) {
        tls_hand_close(tls->hand);
        crypto_aead_fini(&tls->seal);
        records_fini(&tls->records, memory);
        crypto_give(tls, sizeof *tls);
    }
}

/* ---- keys ---- */

/* HKDF-Expand-Label without context, for outputs of one block. */
static void expand(const uint8_t secret[SECRET], const char *label, uint8_t count, uint8_t *out) {
    uint8_t head[3] = {0, count, (uint8_t)(6 + strlen(label))}, text[24], mac[SECRET];
    static const uint8_t tail[2] = {0, 1}; /* no context; the first block */
    must(strlen(label) <= sizeof text - 6 && count <= SECRET);
    memcpy(text, "tls13 ", 6);
    memcpy(text + 6, label, strlen(label));
    const struct crypto_piece pieces[] = {{head, sizeof head}, {text, head[2]}, {tail, 2}};
    crypto_hmac(secret, pieces, 3, mac);
    memcpy(out, mac, count);
    crypto_wipe(mac, sizeof mac);
}

static bool key_from(struct crypto_aead *aead, enum crypto_cipher cipher,
                     const uint8_t secret[SECRET], bool seals) {
    uint8_t key[CRYPTO_KEY_BYTES], iv[CRYPTO_IV_BYTES];
    expand(secret, "key", cipher == CRYPTO_AES128_GCM ? 16 : 32, key);
    expand(secret, "iv", sizeof iv, iv);
    bool done = crypto_aead_key(aead, cipher, key, iv, seals);
    crypto_wipe(key, sizeof key);
    return done;
}

/* The next generation. */
static bool key_update(struct tls *tls, uint8_t secret[SECRET], bool seals) {
    uint8_t next[SECRET];
    expand(secret, "traffic upd", SECRET, next);
    memcpy(secret, next, SECRET);
    crypto_wipe(next, sizeof next);
    return key_from(seals ? &tls->seal : &tls->records.open, tls->cipher, secret, seals);
}

static bool key_both(struct tls *tls, const struct tls_result *result) {
    tls->cipher = result->cipher;
    memcpy(tls->seal_secret, tls->dialer ? result->dialer_secret : result->listener_secret, SECRET);
    memcpy(tls->open_secret, tls->dialer ? result->listener_secret : result->dialer_secret, SECRET);
    return key_from(&tls->seal, tls->cipher, tls->seal_secret, true) &&
           key_from(&tls->records.open, tls->cipher, tls->open_secret, false);
}

struct tls *tls_open_agreed(const struct tls_result *result, bool dialer) {
    struct tls *tls = tls_new(dialer);
    if (tls && !key_both(tls, result)) {
        tls_close(tls, NULL);
        return NULL;
    }
    return tls;
}

bool tls_wants_step(const struct tls *tls, size_t count) {
    return tls_hand_wants_step(tls->hand, count);
}

int tls_step(struct tls *tls, const struct peer_id *expected, const uint8_t *in, size_t count,
             size_t *ret_used, uint8_t *out, size_t *ret_out, struct peer_id *ret_peer,
             bool *ret_muxer_agreed) {
    struct tls_result result;
    must(tls->hand);
    int r = tls_hand_step(tls->hand, expected, in, count, ret_used, out, ret_out);
    if (r == SECURE_STRANGER) {
        tls_hand_result(tls->hand, &result); /* no secrets are agreed on yet */
        *ret_peer = result.peer;
    }
    if (r != 0) {
        return r;
    }
    tls_hand_result(tls->hand, &result);
    tls_hand_close(tls->hand);
    tls->hand = NULL;
    bool keyed = key_both(tls, &result);
    crypto_wipe(result.dialer_secret, SECRET);
    crypto_wipe(result.listener_secret, SECRET);
    if (!keyed) {
        return SECURE_BAD;
    }
    *ret_peer = result.peer;
    *ret_muxer_agreed = result.muxer_agreed;
    return 0;
}

/* ---- sealing ---- */

/* One record, whose content is to begin at `at`: the first `here` bytes lie there already, `count`
 * more come from `from`. */
static bool seal_record(struct tls *tls, uint8_t type, uint8_t *at, uint32_t here,
                        const uint8_t *from, uint32_t count) {
    struct crypto_aead *aead = &tls->seal;
    uint32_t content = here + count, length = content + 1 + TAG;
    uint8_t *head = at - HEAD;
    head[0] = CONTENT_DATA; /* what it is really, its last byte says */
    head[1] = head[2] = 3;
    head[3] = (uint8_t)(length >> 8);
    head[4] = (uint8_t)length;
    at[content] = type;
    here += count == 0; /* then the type is sealed with the rest */
    return crypto_aead_begin(aead) && crypto_aead_associate(aead, head, HEAD) &&
           crypto_aead_turn(aead, at, at, here) &&
           (count == 0 || (crypto_aead_turn(aead, at + here, from, count) &&
                           crypto_aead_turn(aead, at + content, at + content, 1))) &&
           crypto_aead_seal_end(aead, at + content + 1);
}

bool tls_seal_as(struct tls *tls, uint8_t type, uint8_t *at, uint32_t count, uint32_t zeros) {
    memset(at + count + 1, 0, zeros);
    at[count] = type;
    /* The last zero, or the type itself, is what seal_record adds. */
    return zeros > 0 ? seal_record(tls, 0, at, count + zeros, NULL, 0)
                     : seal_record(tls, type, at, count, NULL, 0);
}

/* A change of our keys, right before the head that lies before `plain`. */
static bool seal_update(struct tls *tls, uint8_t *plain) {
    uint8_t *at = plain - HEAD - UPDATE + HEAD;
    const uint8_t message[5] = {MESSAGE_KEY_UPDATE, 0, 0, 1, 0 /* theirs need not change */};
    memcpy(at, message, sizeof message);
    tls->update_due = false;
    return seal_record(tls, CONTENT_HANDSHAKE, at, sizeof message, NULL, 0) &&
           key_update(tls, tls->seal_secret, true);
}

int tls_seal(struct tls *tls, uint8_t *record, uint32_t first, const uint8_t *body,
             uint32_t body_bytes, uint32_t *ret_start, uint32_t *ret_bytes) {
    uint8_t *plain = record + SECURE_HEAD;
    uint32_t whole = first + body_bytes, start = SECURE_HEAD - HEAD;
    bool done = true;
    if (tls->update_due || tls->seal.nonce >= RECORDS_MAX) {
        start -= UPDATE;
        done = seal_update(tls, plain);
    }
    /* Plaintext already here, beyond the first record, makes room for heads and tags. */
    for (uint32_t i = first == 0 ? 0 : (first - 1) / PIECE_MAX; i > 0; i--) {
        uint32_t from = i * PIECE_MAX, end = from + PIECE_MAX < first ? from + PIECE_MAX : first;
        memmove(plain + from + i * OVERHEAD, plain + from, end - from);
    }
    uint32_t at = 0, grown = 0;
    for (; at < whole && done; at += PIECE_MAX, grown += OVERHEAD) {
        uint32_t count = whole - at < PIECE_MAX ? whole - at : PIECE_MAX;
        uint32_t here = first <= at ? 0 : first - at < count ? first - at : count;
        done = seal_record(tls, CONTENT_DATA, plain + at + grown, here,
                           here < count ? body + (at + here - first) : NULL, count - here);
    }
    if (!done) {
        crypto_forget_errors();
        return err_raise(-EIO);
    }
    *ret_start = start;
    *ret_bytes = SECURE_HEAD - HEAD - start + whole + grown;
    return 0;
}

/* ---- reading ---- */

/* What TLS says of itself, once there is data. Returns: MORE, BAD. */
static int hear(struct tls *tls, const uint8_t *at, size_t count) {
    while (count > 0) {
        size_t length = count < 4 ? SIZE_MAX : (size_t)(at[1] << 16 | at[2] << 8 | at[3]);
        if (count < 4 || length > count - 4) {
            return SECURE_BAD; /* none that we take is cut over records by anybody */
        }
        if (at[0] == MESSAGE_KEY_UPDATE) {
            /* The last of its record, or what follows was sealed with a key it ended. */
            if (length != 1 || at[4] > 1 || count != 5 ||
                !key_update(tls, tls->open_secret, false)) {
                return SECURE_BAD;
            }
            tls->update_due |= at[4] == 1;
        } else if (at[0] != MESSAGE_TICKET || !tls->dialer) {
            return SECURE_BAD;
        }
        at += 4 + length;
        count -= 4 + length;
    }
    return SECURE_MORE;
}

/* A record's plaintext: content, its type, zeros. Returns: 0 when it is data, with its bytes; MORE
 * when it was none; BAD, END. */
static int unwrap(struct tls *tls, const uint8_t *plain, size_t *count) {
    size_t end = *count;
    while (end > 0 && plain[end - 1] == 0) {
        end--;
    }
    if (end == 0 || end - 1 > PIECE_MAX) {
        return SECURE_BAD;
    }
    end--;
    *count = end;
    switch ((enum content)plain[end]) {
    case CONTENT_DATA:
        return end > 0 ? 0 : SECURE_MORE;
    case CONTENT_HANDSHAKE:
        return end > 0 ? hear(tls, plain, end) : SECURE_BAD;
    case CONTENT_ALERT:
        if (end == 2 && plain[1] == ALERT_CLOSE_NOTIFY) {
            tls->ended = true;
            return SECURE_END;
        }
        return end == 2 && plain[1] == ALERT_USER_CANCELED ? SECURE_MORE : SECURE_BAD;
    }
    return SECURE_BAD;
}

int tls_read(struct tls *tls, const struct secure_memory *memory, const uint8_t *in, size_t count,
             size_t *ret_used, const uint8_t **ret_plain, size_t *ret_plain_bytes) {
    size_t at = 0, used = 0, plain_bytes = 0;
    const uint8_t *plain = NULL;
    int r;
    if (tls->ended) { /* what comes after the end is nobody's */
        *ret_used = count;
        return SECURE_END;
    }
    do {
        r = records_read(&tls->records, memory, in + at, count - at, &used, &plain, &plain_bytes);
        at += used;
        r = r == 0 ? unwrap(tls, plain, &plain_bytes) : r;
    } while (r == SECURE_MORE && at < count);
    *ret_used = r == SECURE_END ? count : at;
    if (r == 0) {
        *ret_plain = plain;
        *ret_plain_bytes = plain_bytes;
    }
    return r;
}

bool tls_in_record(const struct tls *tls) {
    return records_in_record(&tls->records);
}

void tls_skip_to(struct tls *tls, uint64_t seal_number, uint64_t open_number) {
    tls->seal.nonce = seal_number;
    tls->records.open.nonce = open_number;
}
