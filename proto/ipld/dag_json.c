/* SPDX-License-Identifier: MIT */
#include "proto/ipld/dag_json.h"

#include <string.h>

/*   VALUE -> scalar or link -------------------> BEHIND -+- nothing is open: END
 *     |  ^                                         ^  |  +- , in a list: VALUE
 *     |  +- [ -- LIST (a value, or ]) -- ] --------+  |  +- , in an object: KEY
 *     +---- { -- OBJECT (a key, or }) -- } --------+  +- ] or }: BEHIND
 *                 KEY : VALUE */
enum json_state {
    JSON_VALUE, /* what links_init leaves */
    JSON_LIST,
    JSON_OBJECT,
    JSON_KEY,
    JSON_BEHIND
};

static void space_pass(const uint8_t **at, const uint8_t *end) {
    while (*at < end && (**at == ' ' || **at == '\t' || **at == '\n' || **at == '\r')) {
        ++*at;
    }
}

static bool char_take(const uint8_t **at, const uint8_t *end, char c) {
    if (*at < end && **at == (uint8_t)c) {
        ++*at;
        return true;
    }
    return false;
}

static bool is_digit(uint8_t c) {
    return c >= '0' && c <= '9';
}

static int hex_value(uint8_t c) {
    if (is_digit(c)) {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* ---- strings ---- */

/* A string's text is kept only where it is short and ASCII: enough to know "/" and CIDs. */
struct text {
    char chars[CID_TEXT_MAX];
    uint32_t count;
    bool other; /* too long, or with characters no CID has */
};

static void text_add(struct text *text, uint32_t c) {
    if (c == 0 || c >= 0x80 || text->count >= sizeof text->chars - 1) {
        text->other = true;
        return;
    }
    text->chars[text->count++] = (char)c;
}

/* Behind a backslash. Returns: false where it is no escape. */
static bool escape_take(const uint8_t **at, const uint8_t *end, struct text *text) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (*at == end) {
        return false;
    }
    uint8_t c = *(*at)++;
    if (c != 'u') {
        const char *found = c == 0 ? NULL : strchr(from, c);
        if (!found) {
            return false;
        }
        text_add(text, (uint8_t)to[found - from]);
        return true;
    }
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) {
        int digit = *at < end ? hex_value(*(*at)++) : -1;
        if (digit < 0) {
            return false;
        }
        value = value << 4 | (uint32_t)digit;
    }
    text_add(text, value);
    return true;
}

/* A whole string, quotes and all. Returns: false where there is none. */
static bool string_take(const uint8_t **at, const uint8_t *end, struct text *ret_text) {
    ret_text->count = 0;
    ret_text->other = false;
    if (!char_take(at, end, '"')) {
        return false;
    }
    while (*at < end) {
        uint8_t c = *(*at)++;
        if (c == '"') {
            ret_text->chars[ret_text->count] = 0;
            return true;
        }
        if (c < ' ' || (c == '\\' && !escape_take(at, end, ret_text))) {
            return false;
        }
        if (c != '\\') {
            text_add(ret_text, c);
        }
    }
    return false;
}

static bool text_is(const struct text *text, const char *other) {
    return !text->other && strcmp(text->chars, other) == 0;
}

/* ---- scalars ---- */

static bool digits_take(const uint8_t **at, const uint8_t *end) {
    const uint8_t *start = *at;
    while (*at < end && is_digit(**at)) {
        ++*at;
    }
    return *at > start;
}

static bool number_take(const uint8_t **at, const uint8_t *end) {
    char_take(at, end, '-');
    if (!char_take(at, end, '0') && !digits_take(at, end)) {
        return false;
    }
    if (char_take(at, end, '.') && !digits_take(at, end)) {
        return false;
    }
    if (char_take(at, end, 'e') || char_take(at, end, 'E')) {
        if (!char_take(at, end, '+')) {
            char_take(at, end, '-');
        }
        return digits_take(at, end);
    }
    return true;
}

static bool word_take(const uint8_t **at, const uint8_t *end, const char *word) {
    size_t chars = strlen(word);
    if ((size_t)(end - *at) < chars || memcmp(*at, word, chars) != 0) {
        return false;
    }
    *at += chars;
    return true;
}

static bool scalar_take(const uint8_t **at, const uint8_t *end) {
    struct text text;
    if (*at == end) {
        return false;
    }
    switch (**at) {
    case '"':
        return string_take(at, end, &text);
    case 't':
        return word_take(at, end, "true");
    case 'f':
        return word_take(at, end, "false");
    case 'n':
        return word_take(at, end, "null");
    default:
        return number_take(at, end);
    }
}

/* ---- structure ---- */

static bool in_object(const struct links *links) {
    uint32_t level = links->depth - 1;
    return links->nest[level / 8] & BIT(level % 8);
}

static bool level_open(struct links *links, bool object) {
    if (links->depth == LINKS_DEPTH_MAX) {
        return false;
    }
    uint32_t level = links->depth++;
    uint8_t bit = (uint8_t)BIT(level % 8);
    links->nest[level / 8] =
        (uint8_t)(object ? links->nest[level / 8] | bit : links->nest[level / 8] & ~bit);
    links->state = object ? JSON_OBJECT : JSON_LIST;
    return true;
}

static void level_close(struct links *links) {
    links->depth--;
    links->state = JSON_BEHIND;
}

/* At the { of an object: is it a link? Then `at` moves behind it. Returns: 0 with the link;
 * LINKS_END: an object like any other, or one that is damaged, which reading it will show;
 * LINKS_BAD. */
static int link_take(struct links *links, struct cid *ret_cid) {
    const uint8_t *at = links->at + 1, *end = links->end;
    struct text text;
    space_pass(&at, end);
    if (!string_take(&at, end, &text) || !text_is(&text, "/")) {
        return LINKS_END;
    }
    space_pass(&at, end);
    if (!char_take(&at, end, ':')) {
        return LINKS_END;
    }
    space_pass(&at, end);
    if (!string_take(&at, end, &text)) {
        return LINKS_END;
    }
    space_pass(&at, end);
    if (!char_take(&at, end, '}')) {
        return LINKS_END;
    }
    if (text.other || text.chars[0] == '/' || cid_parse(text.chars, ret_cid, NULL, 0) != 0) {
        return LINKS_BAD;
    }
    links->at = at;
    links->state = JSON_BEHIND;
    return 0;
}

/* Returns: as link_take. */
static int value_take(struct links *links, struct cid *ret_cid) {
    if (links->at == links->end) {
        return LINKS_BAD;
    }
    if (*links->at == '{') {
        int r = link_take(links, ret_cid);
        if (r != LINKS_END) {
            return r;
        }
    }
    if (*links->at == '{' || *links->at == '[') {
        return level_open(links, *links->at++ == '{') ? LINKS_END : LINKS_BAD;
    }
    links->state = JSON_BEHIND;
    return scalar_take(&links->at, links->end) ? LINKS_END : LINKS_BAD;
}

static int key_take(struct links *links) {
    struct text text;
    if (!string_take(&links->at, links->end, &text)) {
        return LINKS_BAD;
    }
    space_pass(&links->at, links->end);
    links->state = JSON_VALUE;
    return char_take(&links->at, links->end, ':') ? LINKS_END : LINKS_BAD;
}

/* Behind a value, something being open. */
static int behind_take(struct links *links) {
    bool object = in_object(links);
    if (char_take(&links->at, links->end, ',')) {
        links->state = object ? JSON_KEY : JSON_VALUE;
        return LINKS_END;
    }
    if (!char_take(&links->at, links->end, object ? '}' : ']')) {
        return LINKS_BAD;
    }
    level_close(links);
    return LINKS_END;
}

/* One step of the drawing. Returns: as link_take. */
static int part_take(struct links *links, struct cid *ret_cid) {
    switch ((enum json_state)links->state) {
    case JSON_LIST:
        if (char_take(&links->at, links->end, ']')) {
            level_close(links);
            return LINKS_END;
        }
        return value_take(links, ret_cid);
    case JSON_VALUE:
        return value_take(links, ret_cid);
    case JSON_OBJECT:
        if (char_take(&links->at, links->end, '}')) {
            level_close(links);
            return LINKS_END;
        }
        return key_take(links);
    case JSON_KEY:
        return key_take(links);
    case JSON_BEHIND:
        return behind_take(links);
    }
    return LINKS_BAD;
}

int dag_json_next(struct links *links, struct cid *ret_cid) {
    for (;;) {
        space_pass(&links->at, links->end);
        if (links->state == JSON_BEHIND && links->depth == 0) {
            return links->at == links->end ? LINKS_END : LINKS_BAD;
        }
        int r = part_take(links, ret_cid);
        if (r != LINKS_END) {
            return r;
        }
    }
}
