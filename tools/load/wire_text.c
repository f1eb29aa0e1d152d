/* SPDX-License-Identifier: MIT */
#include "tools/load/wire.h"

#include "base/must.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* RESP, memcache's text protocol and HTTP/1.1: only as much of each as a load of reads needs. A
 * block is named by its index, "k:" and 16 hex digits. */

#define NAME_BYTES 18u

static uint8_t *name_write(uint8_t *out, uint64_t index) {
    static const char digits[] = "0123456789abcdef";
    out[0] = 'k';
    out[1] = ':';
    for (uint32_t i = 0; i < 16; i++) {
        out[2 + i] = (uint8_t)digits[index >> (60 - 4 * i) & 15];
    }
    return out + NAME_BYTES;
}

static uint8_t *text_write(uint8_t *out, const char *text, size_t bytes) {
    memcpy(out, text, bytes);
    return out + bytes;
}
#define TEXT(out, literal) text_write((out), (literal), sizeof(literal) - 1)

/* The line at the front, without its CR LF. Returns: 0, WIRE_SHORT or WIRE_BAD. */
static int line_read(const uint8_t *bytes, size_t count, size_t *ret_line, size_t *ret_used) {
    size_t look = count < WIRE_REPLY_MAX ? count : WIRE_REPLY_MAX;
    const uint8_t *end = memchr(bytes, '\n', look);
    if (end == NULL) {
        return count < WIRE_REPLY_MAX ? WIRE_SHORT : WIRE_BAD;
    }
    size_t at = (size_t)(end - bytes);
    if (at == 0 || bytes[at - 1] != '\r') {
        return WIRE_BAD;
    }
    *ret_line = at - 1;
    *ret_used = at + 1;
    return 0;
}

/* Digits up to the end of the text. */
static bool number_read(const uint8_t *bytes, size_t count, uint32_t *ret_number) {
    uint64_t number = 0;
    if (count == 0 || count > 10) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (!isdigit(bytes[i])) {
            return false;
        }
        number = number * 10 + (uint64_t)(bytes[i] - '0');
    }
    *ret_number = (uint32_t)number;
    return number <= UINT32_MAX;
}

static int fault_read(const uint8_t *bytes, size_t count, struct wire_reply *reply) {
    wire_text_keep(reply, (const char *)bytes, count);
    reply->answer = WIRE_FAULT;
    return 0;
}

static void reply_clear(struct wire_reply *reply) {
    reply->keyed = false;
    reply->trailer_bytes = 0;
    reply->body_bytes = 0;
    reply->offset = 0;
}

/* ---- RESP ------------------------------------------------------------------------------------ */

static size_t resp_write(const struct wire_request *request, uint8_t *out) {
    uint8_t *at = out;
    if (request->op != WIRE_PUT) {
        at = TEXT(at, "*2\r\n$3\r\nGET\r\n$18\r\n");
        at = name_write(at, request->index);
        at = TEXT(at, "\r\n");
        return (size_t)(at - out);
    }
    at = TEXT(at, "*3\r\n$3\r\nSET\r\n$18\r\n");
    at = name_write(at, request->index);
    at += snprintf((char *)at, 24, "\r\n$%u\r\n", request->body_bytes);
    return (size_t)(at - out);
}

static int resp_read(const uint8_t *bytes, size_t count, struct wire_reply *ret_reply,
                     size_t *ret_used) {
    size_t line;
    int r = line_read(bytes, count, &line, ret_used);
    if (r != 0) {
        return r;
    }
    reply_clear(ret_reply);
    if (line >= 2 && bytes[0] == '$' && bytes[1] == '-') {
        ret_reply->answer = WIRE_NOT_FOUND;
        return 0;
    }
    if (line >= 2 && bytes[0] == '$') {
        ret_reply->answer = WIRE_VALUE;
        ret_reply->trailer_bytes = 2;
        if (!number_read(bytes + 1, line - 1, &ret_reply->body_bytes)) {
            return WIRE_BAD;
        }
        ret_reply->total = ret_reply->body_bytes;
        return 0;
    }
    if (line >= 1 && bytes[0] == '+') {
        ret_reply->answer = WIRE_DONE;
        return 0;
    }
    if (line >= 1 && bytes[0] == '-') {
        return fault_read(bytes + 1, line - 1, ret_reply);
    }
    return WIRE_BAD;
}

const struct wire wire_resp = {
    .name = "resp",
    .about = "Redis: GET and SET, pipelined to the depth",
    .ordered = true,
    .fills = true,
    .verifies = true,
    .head_max = 80,
    .trailer = "\r\n",
    .write = resp_write,
    .read = resp_read,
};

/* ---- memcache -------------------------------------------------------------------------------- */

static size_t memcache_write(const struct wire_request *request, uint8_t *out) {
    uint8_t *at = out;
    if (request->op == WIRE_PUT) {
        at = TEXT(at, "set ");
        at = name_write(at, request->index);
        at += snprintf((char *)at, 24, " 0 0 %u\r\n", request->body_bytes);
        return (size_t)(at - out);
    }
    at = request->first ? TEXT(at, "get ") : TEXT(at, " ");
    at = name_write(at, request->index);
    return (size_t)(at - out);
}

/* "VALUE k:0123456789abcdef 0 64" */
static int value_read(const uint8_t *bytes, size_t line, struct wire_reply *reply) {
    const size_t name = 6;
    if (line < name + NAME_BYTES + 4 || bytes[name + NAME_BYTES] != ' ') {
        return WIRE_BAD;
    }
    char hex[17] = {0};
    memcpy(hex, bytes + name + 2, 16);
    char *end;
    reply->index = strtoull(hex, &end, 16);
    const uint8_t *flags = bytes + name + NAME_BYTES + 1;
    const uint8_t *space = memchr(flags, ' ', (size_t)(bytes + line - flags));
    if (*end != '\0' || space == NULL) {
        return WIRE_BAD;
    }
    reply->answer = WIRE_VALUE;
    reply->keyed = true;
    reply->trailer_bytes = 2;
    if (!number_read(space + 1, (size_t)(bytes + line - space - 1), &reply->body_bytes)) {
        return WIRE_BAD;
    }
    reply->total = reply->body_bytes;
    return 0;
}

static int memcache_read(const uint8_t *bytes, size_t count, struct wire_reply *ret_reply,
                         size_t *ret_used) {
    size_t line;
    int r = line_read(bytes, count, &line, ret_used);
    if (r != 0) {
        return r;
    }
    reply_clear(ret_reply);
    if (line > 6 && memcmp(bytes, "VALUE ", 6) == 0) {
        return value_read(bytes, line, ret_reply);
    }
    if (line == 3 && memcmp(bytes, "END", 3) == 0) {
        ret_reply->answer = WIRE_END;
        return 0;
    }
    if (line == 6 && memcmp(bytes, "STORED", 6) == 0) {
        ret_reply->answer = WIRE_DONE;
        return 0;
    }
    return fault_read(bytes, line, ret_reply);
}

const struct wire wire_memcache = {
    .name = "memcache",
    .about = "memcached's text protocol: get, multi-get at depth, set",
    .ordered = true,
    .fills = true,
    .verifies = true,
    .head_max = 64,
    .trailer = "\r\n",
    .run_end = "\r\n",
    .write = memcache_write,
    .read = memcache_read,
};

/* ---- HTTP/1.1 -------------------------------------------------------------------------------- */

static size_t http_write(const struct wire_request *request, uint8_t *out) {
    memcpy(out, request->text, request->text_bytes);
    return request->text_bytes;
}

static bool field_is(const uint8_t *line, size_t bytes, const char *name, size_t name_bytes) {
    return bytes > name_bytes && line[name_bytes] == ':' &&
           strncasecmp((const char *)line, name, name_bytes) == 0;
}

/* Content-Length of the fields in a head. False where it is missing or absurd. */
static bool length_find(const uint8_t *bytes, size_t head, uint32_t *ret_length) {
    static const char name[] = "content-length";
    for (size_t at = 0; at < head;) {
        const uint8_t *line = bytes + at;
        const uint8_t *end = memchr(line, '\r', head - at);
        size_t line_bytes = end == NULL ? head - at : (size_t)(end - line);
        if (field_is(line, line_bytes, name, sizeof name - 1)) {
            size_t skip = sizeof name;
            while (skip < line_bytes && line[skip] == ' ') {
                skip++;
            }
            return number_read(line + skip, line_bytes - skip, ret_length);
        }
        at += line_bytes + 2;
    }
    return false;
}

static int http_read(const uint8_t *bytes, size_t count, struct wire_reply *ret_reply,
                     size_t *ret_used) {
    size_t look = count < WIRE_REPLY_MAX ? count : WIRE_REPLY_MAX;
    const uint8_t *end = memmem(bytes, look, "\r\n\r\n", 4);
    if (end == NULL) {
        return count < WIRE_REPLY_MAX ? WIRE_SHORT : WIRE_BAD;
    }
    size_t head = (size_t)(end - bytes);
    reply_clear(ret_reply);
    *ret_used = head + 4;
    if (head < 12 || memcmp(bytes, "HTTP/1.", 7) != 0 ||
        !length_find(bytes, head, &ret_reply->body_bytes)) {
        return WIRE_BAD; /* chunked replies have no length and are no part of this load */
    }
    ret_reply->total = ret_reply->body_bytes;
    if (memcmp(bytes + 9, "200", 3) == 0) {
        ret_reply->answer = WIRE_VALUE;
        return 0;
    }
    if (memcmp(bytes + 9, "404", 3) == 0) {
        ret_reply->answer = WIRE_NOT_FOUND;
        return 0;
    }
    if (memcmp(bytes + 9, "429", 3) == 0 || memcmp(bytes + 9, "503", 3) == 0) {
        ret_reply->answer = WIRE_BUSY;
        ret_reply->retry_ms = 1;
        return 0;
    }
    const uint8_t *first = memchr(bytes, '\r', head);
    return fault_read(bytes, first == NULL ? head : (size_t)(first - bytes), ret_reply);
}

const struct wire wire_http = {
    .name = "http",
    .about = "HTTP/1.1 GET of one path with keep-alive, pipelined to the depth",
    .ordered = true,
    .head_max = 640,
    .write = http_write,
    .read = http_read,
};
