/* SPDX-License-Identifier: MIT */
#include "proto/tlv/tlv_decode.h"

#include "base/cid.h"
#include "base/log.h"
#include "proto/tlv/tlv.h"

#include <stdarg.h>
#include <stdio.h>

#define KEYS_SHOWN    4u  /* of a HAVE or an ITEMS */
#define ANSWERS_SHOWN 64u /* of a HAVES */
#define TEXT_SHOWN    48u /* bytes of a STATS, a name */

static const char *const class_names[] = {"critical", "high", "normal", "low"};

static const char *const type_names[256] = {
    [TLV_HELLO] = "HELLO",       [TLV_WELCOME] = "WELCOME",
    [TLV_PING] = "PING",         [TLV_PONG] = "PONG",
    [TLV_GET] = "GET",           [TLV_GET_RANGE] = "GET_RANGE",
    [TLV_HAVE] = "HAVE",         [TLV_PUT] = "PUT",
    [TLV_DELETE] = "DELETE",     [TLV_STAT] = "STAT",
    [TLV_LIST] = "LIST",         [TLV_VERIFY] = "VERIFY",
    [TLV_PIN] = "PIN",           [TLV_UNPIN] = "UNPIN",
    [TLV_VALUE] = "VALUE",       [TLV_DONE] = "DONE",
    [TLV_HAVES] = "HAVES",       [TLV_STATS] = "STATS",
    [TLV_ITEMS] = "ITEMS",       [TLV_NOT_FOUND] = "NOT_FOUND",
    [TLV_BUSY] = "BUSY",         [TLV_RETRY] = "RETRY",
    [TLV_FAULT] = "FAULT",       [TLV_GET_MANY] = "GET_MANY",
    [TLV_PUT_MANY] = "PUT_MANY", [TLV_VALUES] = "VALUES",
    [TLV_RESULTS] = "RESULTS",
};

const char *tlv_type_name(uint8_t type) {
    return type_names[type];
}

struct line {
    char *text;
    size_t at;
};

static void say(struct line *line, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What does not fit any more is left out: the line stays terminated. */
static void say(struct line *line, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int bytes = vsnprintf(line->text + line->at, TLV_DECODE_TEXT_MAX - line->at, format, arguments);
    va_end(arguments);
    line->at = min_u64(line->at + (bytes > 0 ? (size_t)bytes : 0), TLV_DECODE_TEXT_MAX - 1);
}

static void say_escaped(struct line *line, const char *label, const void *data, size_t bytes) {
    char text[4 * TLV_REPLY_MAX + 1];
    size_t shown = min_u64(bytes, TLV_REPLY_MAX);
    log_escape(text, sizeof text, data, shown);
    say(line, " %s=\"%s\"%s", label, text, shown < bytes ? "..." : "");
}

static void say_key(struct line *line, const struct key *key) {
    char text[CID_TEXT_MAX];
    struct cid cid;
    cid_of_key(key, CID_RAW, &cid);
    cid_format(&cid, text);
    say(line, " key=%s", text);
}

static void say_codec(struct line *line, uint32_t codec) {
    const char *name = cid_codec_name(codec);
    if (name) {
        say(line, " codec=%s", name);
    } else {
        say(line, " codec=0x%x", codec);
    }
}

static void say_class(struct line *line, uint8_t class) {
    if (class < array_count(class_names)) {
        say(line, " class=%s", class_names[class]);
    }
}

/* ---- requests ---- */

static void say_credentials(struct line *line, const uint8_t *body, size_t count) {
    struct tlv_credentials credentials;
    if (count == 0) {
        return;
    }
    if (tlv_credentials_read(body, count, &credentials) != 0) {
        say(line, " credentials=damaged");
        return;
    }
    say_escaped(line, "name", credentials.name, min_u64(credentials.name_bytes, TEXT_SHOWN));
    say(line, " token=%u bytes", credentials.token_bytes);
}

static void say_keys(struct line *line, const uint8_t *body, size_t count, uint32_t keys) {
    size_t at = 0, used = 0;
    for (uint32_t i = 0; i < keys && i < KEYS_SHOWN; i++) {
        struct key key;
        if (key_read(body + at, count - at, &key, &used) != 0) {
            say(line, " key=?");
            return;
        }
        say_key(line, &key);
        at += used;
    }
    if (keys > KEYS_SHOWN) {
        say(line, " +%u", keys - KEYS_SHOWN);
    }
}

static void say_request(struct line *line, const struct tlv_request *request,
                        const struct key *key) {
    say(line, "> %s id=%u", type_names[request->type], request->id);
    say_class(line, request->class);
    if (request->deadline_ms) {
        say(line, " deadline=%ums", request->deadline_ms);
    }
    if (request->flags) {
        say(line, " flags=0x%02x", request->flags);
    }
    switch (request->type) {
    case TLV_HELLO:
        say(line, " version=%u features=0x%x", request->version, request->features);
        break;
    case TLV_GET_RANGE:
        say(line, " offset=%u length=%u", request->offset, request->length);
        break;
    case TLV_PUT:
        say_codec(line, request->codec);
        break;
    case TLV_HAVE:
    case TLV_PUT_MANY:
        say(line, " count=%u", request->count);
        break;
    case TLV_GET_MANY:
        say(line, " count=%u most=%u", request->count, request->length);
        break;
    case TLV_PIN:
        say(line, " mode=%s", request->mode == 1 ? "recursive" : "direct");
        say_codec(line, request->codec);
        break;
    case TLV_LIST:
        say(line, " cursor=%llu max=%u", (unsigned long long)request->cursor, request->count);
        break;
    default:
        break;
    }
    if (request->key_refused && request->key_code == TLV_CODE_UNKNOWN_HASH) {
        say(line, " key=unknown hash 0x%llx", (unsigned long long)request->refused_hash);
    } else if (request->key_refused) {
        say(line, " key=bad");
    } else if (key->digest_bytes > 0) {
        say_key(line, key);
    }
    if (request->body_bytes > 0) {
        say(line, " body=%u", request->body_bytes);
    }
}

static void say_puts(struct line *line, const uint8_t *body, size_t count, uint32_t items) {
    size_t at = 0, used = 0;
    for (uint32_t i = 0; i < items && i < KEYS_SHOWN; i++) {
        struct tlv_put_item item;
        if (tlv_put_item_read(body + at, count - at, &item, &used) != 0) {
            say(line, " item=?");
            return;
        }
        say_codec(line, item.codec);
        say(line, " bytes=%u", item.bytes);
        if (item.unknown_hash) {
            say(line, " key=unknown hash");
        } else {
            say_key(line, &item.key);
        }
        at += used;
    }
    if (items > KEYS_SHOWN) {
        say(line, " +%u", items - KEYS_SHOWN);
    }
}

/* ---- replies ---- */

static void say_values(struct line *line, const uint8_t *body, size_t count, uint32_t items) {
    size_t at = 0, used = 0;
    for (uint32_t i = 0; i < items && i < KEYS_SHOWN; i++) {
        struct tlv_value_item item;
        if (tlv_value_item_read(body + at, count - at, &item, &used) != 0) {
            say(line, " item=?");
            return;
        }
        say(line, " result=%u", item.result);
        if (item.result == TLV_RESULT_DONE) {
            say_codec(line, item.codec);
            say(line, " bytes=%u", item.bytes);
        }
        at += used;
    }
    if (items > KEYS_SHOWN) {
        say(line, " +%u", items - KEYS_SHOWN);
    }
}

static void say_results(struct line *line, const uint8_t *body, size_t count) {
    for (size_t i = 0; i < count / 2 && i < KEYS_SHOWN; i++) {
        say(line, " result=%u", get_be16(body + 2 * i));
    }
    if (count / 2 > KEYS_SHOWN) {
        say(line, " +%zu", count / 2 - KEYS_SHOWN);
    }
}

static void say_items(struct line *line, const uint8_t *body, size_t count, uint32_t items) {
    size_t at = 0, used = 0;
    for (uint32_t i = 0; i < items && i < KEYS_SHOWN; i++) {
        struct tlv_item item;
        if (tlv_item_read(body + at, count - at, &item, &used) != 0) {
            say(line, " item=?");
            return;
        }
        say_codec(line, item.codec);
        say(line, " bytes=%u", item.bytes);
        say_key(line, &item.key);
        at += used;
    }
    if (items > KEYS_SHOWN) {
        say(line, " +%u", items - KEYS_SHOWN);
    }
}

static void say_answers(struct line *line, const uint8_t *body, size_t count) {
    say(line, " have=");
    for (size_t i = 0; i < count && i < ANSWERS_SHOWN; i++) {
        say(line, "%c", body[i] <= 2 ? '0' + body[i] : '?');
    }
    if (count > ANSWERS_SHOWN) {
        say(line, "+%zu", count - ANSWERS_SHOWN);
    }
}

static void say_reply(struct line *line, const struct tlv_reply *reply) {
    say(line, "< %s id=%u", type_names[reply->type], reply->id);
    switch (reply->type) {
    case TLV_WELCOME:
        say(line, " version=%u", reply->version);
        say_class(line, reply->class);
        say(line, " features=0x%x credits=%u block_max=%u", reply->features, reply->credits,
            reply->block_max);
        break;
    case TLV_VALUE:
        say_codec(line, reply->codec);
        say(line, " total=%u offset=%u body=%u", reply->total, reply->offset, reply->body_bytes);
        break;
    case TLV_HAVES:
    case TLV_VALUES:
    case TLV_RESULTS:
        say(line, " count=%u body=%u", reply->count, reply->body_bytes);
        break;
    case TLV_STATS:
        say(line, " body=%u", reply->body_bytes);
        break;
    case TLV_ITEMS:
        say(line, " cursor=%llu count=%u body=%u", (unsigned long long)reply->cursor, reply->count,
            reply->body_bytes);
        break;
    case TLV_BUSY:
        say(line, " retry=%ums credits=%u", reply->retry_ms, reply->credits);
        break;
    case TLV_RETRY:
        say(line, " retry=%ums", reply->retry_ms);
        break;
    case TLV_FAULT:
        say(line, " code=%u", reply->code);
        say_escaped(line, "text", reply->text, strlen(reply->text));
        break;
    default:
        break;
    }
}

/* ---- frames ---- */

static void say_body(struct line *line, uint8_t type, const uint8_t *body, size_t count,
                     uint32_t items) {
    switch (type) {
    case TLV_HELLO:
        say_credentials(line, body, count);
        break;
    case TLV_HAVE:
    case TLV_GET_MANY:
        say_keys(line, body, count, items);
        break;
    case TLV_PUT_MANY:
        say_puts(line, body, count, items);
        break;
    case TLV_VALUES:
        say_values(line, body, count, items);
        break;
    case TLV_RESULTS:
        say_results(line, body, count);
        break;
    case TLV_HAVES:
        say_answers(line, body, count);
        break;
    case TLV_STATS:
        say_escaped(line, "json", body, min_u64(count, TEXT_SHOWN));
        break;
    case TLV_ITEMS:
        say_items(line, body, count, items);
        break;
    default: /* blocks: their bytes tell a reader nothing */
        break;
    }
}

static int not_a_frame(struct line *line, const uint8_t *bytes, enum tlv_code code,
                       size_t *ret_used) {
    say(line, "? type 0x%02x: %s", bytes[0], tlv_code_text(code));
    *ret_used = 0;
    return TLV_BAD;
}

int tlv_decode(const uint8_t *bytes, size_t count, char text[TLV_DECODE_TEXT_MAX],
               size_t *ret_used) {
    struct line line = {text, 0};
    struct tlv_request request;
    struct tlv_reply reply;
    struct key key = {0};
    size_t used = 0;
    uint32_t body_bytes = 0, items = 0;
    enum tlv_code code = 0;
    text[0] = '\0';
    int r = tlv_request_read(bytes, count, &request, &key, &used, &code);
    if (r == 0) {
        say_request(&line, &request, &key);
        body_bytes = request.body_bytes;
        items = request.count;
    } else if (r == TLV_BAD && code == TLV_CODE_UNKNOWN_TYPE) {
        r = tlv_reply_read(bytes, count, &reply, &used, &code);
        if (r == 0) {
            say_reply(&line, &reply);
            body_bytes = reply.body_bytes;
            items = reply.count;
        }
    }
    if (r == TLV_BAD) {
        return not_a_frame(&line, bytes, code, ret_used);
    }
    if (r == TLV_SHORT) {
        const char *name = count > 0 ? type_names[bytes[0]] : "";
        say(&line, "? %s cut off after %zu bytes", name, count);
        *ret_used = count;
        return TLV_SHORT;
    }
    if (count - used < body_bytes) {
        say(&line, " cut off after %zu bytes of its body", count - used);
        *ret_used = count;
        return TLV_SHORT;
    }
    say_body(&line, bytes[0], bytes + used, body_bytes, items);
    *ret_used = used + body_bytes;
    return 0;
}
