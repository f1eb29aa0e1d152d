/* SPDX-License-Identifier: MIT */
#include "proto/libp2p/multiaddr.h"

#include "base/bits.h"
#include "base/log.h"
#include "base/must.h"
#include "base/varint.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Codes of multicodec's table, those that are told apart here. */
enum {
    CODE_IP4 = 4,
    CODE_TCP = 6,
    CODE_IP6 = 41,
    CODE_IP6ZONE = 42,
    CODE_DNS = 53,
    CODE_DNS4 = 54,
    CODE_DNS6 = 55,
    CODE_UNIX = 400,
    CODE_P2P = 421,
};

#define VALUE_COUNTED  UINT8_MAX /* a varint says how many bytes the value has */
#define PARTS_MAX      32u       /* components of one address */
#define COMPONENT_MAX  MULTIADDR_TEXT_MAX
#define QUOTED_MAX     32u /* bytes of an address shown in a sentence */
#define PORT_CHARS_MAX 5u

struct protocol {
    uint16_t code;
    uint8_t value_bytes; /* of the binary form; VALUE_COUNTED */
    const char *name;
};

/* What we speak, then what others do: known so that an address of theirs is passed over as such and
 * a misspelt one is not. Short names for the same code come behind the one that is written. */
static const struct protocol protocols[] = {
    {CODE_IP4, 4, "ip4"},
    {CODE_IP6, 16, "ip6"},
    {CODE_TCP, 2, "tcp"},
    {CODE_DNS, VALUE_COUNTED, "dns"},
    {CODE_DNS4, VALUE_COUNTED, "dns4"},
    {CODE_DNS6, VALUE_COUNTED, "dns6"},
    {CODE_P2P, VALUE_COUNTED, "p2p"},
    {CODE_P2P, VALUE_COUNTED, "ipfs"},
    {CODE_IP6ZONE, VALUE_COUNTED, "ip6zone"},
    {33, 2, "dccp"},
    {43, 1, "ipcidr"},
    {56, VALUE_COUNTED, "dnsaddr"},
    {132, 2, "sctp"},
    {273, 2, "udp"},
    {275, 0, "p2p-webrtc-star"},
    {276, 0, "p2p-webrtc-direct"},
    {277, 0, "p2p-stardust"},
    {280, 0, "webrtc-direct"},
    {281, 0, "webrtc"},
    {290, 0, "p2p-circuit"},
    {301, 0, "udt"},
    {302, 0, "utp"},
    {CODE_UNIX, VALUE_COUNTED, "unix"},
    {443, 0, "https"},
    {444, 12, "onion"},
    {445, 37, "onion3"},
    {446, VALUE_COUNTED, "garlic64"},
    {447, VALUE_COUNTED, "garlic32"},
    {448, 0, "tls"},
    {449, VALUE_COUNTED, "sni"},
    {454, 0, "noise"},
    {460, 0, "quic"},
    {461, 0, "quic-v1"},
    {465, 0, "webtransport"},
    {466, VALUE_COUNTED, "certhash"},
    {477, 0, "ws"},
    {478, 0, "wss"},
    {479, 0, "p2p-websocket-star"},
    {480, 0, "http"},
    {481, VALUE_COUNTED, "http-path"},
    {777, VALUE_COUNTED, "memory"},
};

static const struct protocol *protocol_of_code(uint64_t code) {
    for (size_t i = 0; i < array_count(protocols); i++) {
        if (protocols[i].code == code) {
            return &protocols[i];
        }
    }
    return NULL;
}

static const struct protocol *protocol_of_name(const char *name, size_t chars) {
    for (size_t i = 0; i < array_count(protocols); i++) {
        if (strlen(protocols[i].name) == chars && memcmp(protocols[i].name, name, chars) == 0) {
            return &protocols[i];
        }
    }
    return NULL;
}

static const uint16_t host_codes[] = {
    [MULTIADDR_IP4] = CODE_IP4,   [MULTIADDR_IP6] = CODE_IP6,   [MULTIADDR_DNS] = CODE_DNS,
    [MULTIADDR_DNS4] = CODE_DNS4, [MULTIADDR_DNS6] = CODE_DNS6,
};

static bool host_of_code(uint16_t code, enum multiaddr_host *ret_host) {
    for (size_t i = 0; i < array_count(host_codes); i++) {
        if (host_codes[i] == code) {
            *ret_host = (enum multiaddr_host)i;
            return true;
        }
    }
    return false;
}

static bool host_is_name(enum multiaddr_host host) {
    return host >= MULTIADDR_DNS;
}

/* A name that a resolver may be asked for. What is not plain ASCII (blanks, slashes, NUL, names
 * that want IDNA first) is none. */
static bool name_is_plain(const uint8_t *name, size_t chars) {
    for (size_t i = 0; i < chars; i++) {
        uint8_t c = name[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                     c == '-' || c == '.' || c == '_';
        if (!plain) {
            return false;
        }
    }
    return chars > 0 && chars < MULTIADDR_NAME_MAX;
}

/* ---- which addresses are ours: host, TCP port, perhaps a peer ---- */

enum shape_next { WANT_HOST, WANT_TCP, WANT_PEER, WANT_END };

struct shape {
    enum shape_next next;
    bool other; /* has a component where this node has no use for it */
    struct multiaddr address;
};

static void shape_add(struct shape *shape, const struct multiaddr *part, uint16_t code) {
    struct multiaddr *address = &shape->address;
    enum multiaddr_host host;
    if (shape->other) {
        return;
    }
    if (shape->next == WANT_HOST && host_of_code(code, &host)) {
        *address = *part;
        shape->next = WANT_TCP;
    } else if (shape->next == WANT_TCP && code == CODE_TCP) {
        address->port = part->port;
        shape->next = WANT_PEER;
    } else if (shape->next == WANT_PEER && code == CODE_P2P) {
        address->peer = part->peer;
        shape->next = WANT_END;
    } else {
        shape->other = true;
    }
}

static bool shape_is_ours(const struct shape *shape) {
    return !shape->other && shape->next >= WANT_PEER;
}

/* ---- text ---- */

struct excuse {
    char *why;
    size_t why_bytes;
};

static int refuse(const struct excuse *excuse, int outcome, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int refuse(const struct excuse *excuse, int outcome, const char *format, ...) {
    if (excuse->why && excuse->why_bytes > 0) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(excuse->why, excuse->why_bytes, format, arguments);
        va_end(arguments);
    }
    return outcome;
}

struct quoted {
    char text[4 * QUOTED_MAX + 1];
};

static const char *quote(struct quoted *quoted, const char *text, size_t chars) {
    log_escape(quoted->text, sizeof quoted->text, text, min_u64(chars, QUOTED_MAX));
    return quoted->text;
}

static bool parse_port(const char *text, uint16_t *ret_port) {
    uint32_t port = 0;
    size_t chars = strlen(text);
    for (size_t i = 0; i < chars; i++) {
        if (text[i] < '0' || text[i] > '9' || chars > PORT_CHARS_MAX) {
            return false;
        }
        port = port * 10 + (uint32_t)(text[i] - '0');
    }
    *ret_port = (uint16_t)port;
    return chars > 0 && port <= UINT16_MAX;
}

static int parse_value(const struct protocol *protocol, const char *value, struct multiaddr *part,
                       const struct excuse *excuse) {
    struct quoted quoted;
    const char *shown = quote(&quoted, value, strlen(value));
    switch (protocol->code) {
    case CODE_IP4:
        part->host = MULTIADDR_IP4;
        return inet_pton(AF_INET, value, part->address) == 1
                   ? 0
                   : refuse(excuse, MULTIADDR_BAD, "'%s' is not an IPv4 address", shown);
    case CODE_IP6:
        part->host = MULTIADDR_IP6;
        return inet_pton(AF_INET6, value, part->address) == 1
                   ? 0
                   : refuse(excuse, MULTIADDR_BAD, "'%s' is not an IPv6 address (without a zone)",
                            shown);
    case CODE_TCP:
        return parse_port(value, &part->port)
                   ? 0
                   : refuse(excuse, MULTIADDR_BAD, "'%s' is not a port (0 to 65535)", shown);
    case CODE_DNS:
    case CODE_DNS4:
    case CODE_DNS6:
        if (!name_is_plain((const uint8_t *)value, strlen(value))) {
            return refuse(excuse, MULTIADDR_BAD,
                          "'%s' is not a host name: letters, digits, '-', '.' and '_', at most %u",
                          shown, MULTIADDR_NAME_MAX - 1);
        }
        must(host_of_code(protocol->code, &part->host));
        memcpy(part->name, value, strlen(value) + 1);
        return 0;
    case CODE_P2P:
        return peer_id_parse(value, &part->peer) == 0
                   ? 0
                   : refuse(excuse, MULTIADDR_BAD, "'%s' is not a peer's id (12D3Koo..., Qm...)",
                            shown);
    case CODE_IP6ZONE:
        return refuse(excuse, MULTIADDR_BAD, "an IPv6 zone means nothing to another host");
    default: /* another's, and its to judge */
        return 0;
    }
}

/* Copies what stands before the next slash and moves *at behind it. */
static bool take_component(const char **at, char out[COMPONENT_MAX]) {
    const char *slash = strchrnul(*at, '/');
    size_t chars = (size_t)(slash - *at);
    if (chars == 0 || chars >= COMPONENT_MAX) {
        return false;
    }
    memcpy(out, *at, chars);
    out[chars] = 0;
    *at = *slash ? slash + 1 : slash;
    return true;
}

static int parse_part(const char **at, struct shape *shape, const struct excuse *excuse) {
    char name[COMPONENT_MAX], value[COMPONENT_MAX];
    struct multiaddr part = {0};
    struct quoted quoted;
    if (!take_component(at, name)) {
        return refuse(excuse, MULTIADDR_BAD, "two slashes with nothing between them");
    }
    const struct protocol *protocol = protocol_of_name(name, strlen(name));
    if (!protocol) {
        return refuse(excuse, MULTIADDR_BAD, "no protocol of addresses is called '%s'",
                      quote(&quoted, name, strlen(name)));
    }
    if (protocol->code == CODE_UNIX) {
        *at = strchr(*at, 0); /* a path, with the slashes that paths have */
    } else if (protocol->value_bytes > 0) {
        if (!take_component(at, value)) {
            return refuse(excuse, MULTIADDR_BAD, "/%s has no value behind it", protocol->name);
        }
        int r = parse_value(protocol, value, &part, excuse);
        if (r != 0) {
            return r;
        }
    }
    shape_add(shape, &part, protocol->code);
    return 0;
}

int multiaddr_parse(const char *text, struct multiaddr *ret_address, char *why, size_t why_bytes) {
    struct excuse excuse = {why, why_bytes};
    struct shape shape = {0};
    if (text[0] != '/') {
        return refuse(
            &excuse, MULTIADDR_BAD,
            "an address begins with a slash, as in /ip4/127.0.0.1/tcp/4001/p2p/12D3Koo...");
    }
    if (strnlen(text, MULTIADDR_TEXT_MAX) == MULTIADDR_TEXT_MAX) {
        return refuse(&excuse, MULTIADDR_BAD, "too long for an address");
    }
    uint32_t parts = 0;
    for (const char *at = text + 1; *at || parts == 0; parts++) {
        if (parts == PARTS_MAX) {
            return refuse(&excuse, MULTIADDR_BAD, "too many parts for an address");
        }
        int r = parse_part(&at, &shape, &excuse);
        if (r != 0) {
            return r;
        }
    }
    if (strncmp(text, "/dnsaddr/", 9) == 0) {
        return refuse(
            &excuse, MULTIADDR_OTHER,
            "/dnsaddr stands for a list in the DNS, which is not looked up here: give one "
            "address of it, as /dns4/HOST/tcp/PORT/p2p/ID");
    }
    if (shape.other || shape.next == WANT_HOST) {
        return refuse(&excuse, MULTIADDR_OTHER,
                      "only TCP is spoken here: /ip4/HOST/tcp/PORT[/p2p/ID], also with /ip6, /dns, "
                      "/dns4, /dns6");
    }
    if (!shape_is_ours(&shape)) {
        return refuse(&excuse, MULTIADDR_OTHER, "a host without its port: /tcp/PORT is missing");
    }
    *ret_address = shape.address;
    return 0;
}

size_t multiaddr_format(const struct multiaddr *address, char text[MULTIADDR_TEXT_MAX]) {
    char literal[INET6_ADDRSTRLEN], id[PEER_ID_TEXT_MAX];
    const char *host = address->name;
    if (!host_is_name(address->host)) {
        int family = address->host == MULTIADDR_IP4 ? AF_INET : AF_INET6;
        host = inet_ntop(family, address->address, literal, sizeof literal);
        must(host != NULL);
    }
    peer_id_format(&address->peer, id);
    const struct protocol *protocol = protocol_of_code(host_codes[address->host]);
    int chars = snprintf(text, MULTIADDR_TEXT_MAX, "/%s/%s/tcp/%u%s%s", protocol->name, host,
                         address->port, address->peer.count ? "/p2p/" : "", id);
    must(chars > 0);
    must(chars < (int)MULTIADDR_TEXT_MAX);
    return (size_t)chars;
}

/* ---- binary ---- */

static int read_varint(const uint8_t **at, const uint8_t *end, uint64_t *ret_value) {
    size_t used;
    if (varint_read(*at, (size_t)(end - *at), ret_value, &used) != 0) {
        return MULTIADDR_BAD;
    }
    *at += used;
    return 0;
}

static int read_value(uint16_t code, const uint8_t *value, size_t bytes, struct multiaddr *part) {
    switch (code) {
    case CODE_IP4:
    case CODE_IP6:
        part->host = code == CODE_IP4 ? MULTIADDR_IP4 : MULTIADDR_IP6;
        memcpy(part->address, value, bytes);
        return 0;
    case CODE_TCP:
        part->port = get_be16(value);
        return 0;
    case CODE_DNS:
    case CODE_DNS4:
    case CODE_DNS6:
        if (!name_is_plain(value, bytes)) {
            return MULTIADDR_BAD;
        }
        must(host_of_code(code, &part->host));
        memcpy(part->name, value, bytes);
        return 0;
    case CODE_P2P:
        return peer_id_read(value, bytes, &part->peer) == 0 ? 0 : MULTIADDR_BAD;
    case CODE_IP6ZONE:
        return MULTIADDR_BAD;
    default:
        return 0;
    }
}

/* One component. Returns: 0; BAD; OTHER for a protocol of which not even the length is known: what
 * follows it cannot be judged. */
static int read_part(const uint8_t **at, const uint8_t *end, struct shape *shape) {
    uint64_t code, bytes;
    if (read_varint(at, end, &code) != 0) {
        return MULTIADDR_BAD;
    }
    const struct protocol *protocol = protocol_of_code(code);
    if (!protocol) {
        return MULTIADDR_OTHER;
    }
    bytes = protocol->value_bytes;
    if (protocol->value_bytes == VALUE_COUNTED && read_varint(at, end, &bytes) != 0) {
        return MULTIADDR_BAD;
    }
    if (bytes > (size_t)(end - *at)) {
        return MULTIADDR_BAD;
    }
    struct multiaddr part = {0};
    if (read_value(protocol->code, *at, (size_t)bytes, &part) != 0) {
        return MULTIADDR_BAD;
    }
    *at += bytes;
    shape_add(shape, &part, protocol->code);
    return 0;
}

int multiaddr_read(const uint8_t *bytes, size_t count, struct multiaddr *ret_address) {
    struct shape shape = {0};
    const uint8_t *at = bytes, *end = bytes + count;
    uint32_t parts = 0;
    do {
        int r = parts++ == PARTS_MAX ? MULTIADDR_BAD : read_part(&at, end, &shape);
        if (r != 0) {
            return r;
        }
    } while (at < end);
    if (!shape_is_ours(&shape)) {
        return MULTIADDR_OTHER;
    }
    *ret_address = shape.address;
    return 0;
}

static size_t write_counted(uint16_t code, const void *value, size_t bytes, uint8_t *out) {
    size_t used = varint_write(code, out);
    used += varint_write(bytes, out + used);
    memcpy(out + used, value, bytes);
    return used + bytes;
}

size_t multiaddr_write(const struct multiaddr *address, uint8_t out[MULTIADDR_BYTES_MAX]) {
    uint16_t code = host_codes[address->host];
    size_t used;
    if (host_is_name(address->host)) {
        used = write_counted(code, address->name, strnlen(address->name, MULTIADDR_NAME_MAX), out);
    } else {
        size_t bytes = address->host == MULTIADDR_IP4 ? 4 : 16;
        used = varint_write(code, out);
        memcpy(out + used, address->address, bytes);
        used += bytes;
    }
    used += varint_write(CODE_TCP, out + used);
    put_be16(out + used, address->port);
    used += 2;
    if (address->peer.count > 0) {
        used += write_counted(CODE_P2P, address->peer.bytes, address->peer.count, out + used);
    }
    must(used <= MULTIADDR_BYTES_MAX);
    return used;
}
