/* SPDX-License-Identifier: MIT */
/* The examples of docs/protocol.md are what the code makes: each stands there, to the byte. With
 * --print it writes them, to be copied there when the protocol grows. */

#include "proto/tlv/tlv_decode.h"
#include "tests/proto/tlv_frames.h"

#include <stdio.h>
#include <stdlib.h>

#define EXAMPLE_MAX 4096u

/* The decoded line, then the bytes in rows of sixteen. */
static void example_of(const struct frame *frame, char text[EXAMPLE_MAX]) {
    char line[TLV_DECODE_TEXT_MAX];
    size_t used = 0, at;
    must(tlv_decode(frame->bytes, frame->count, line, &used) == 0);
    must(used == frame->count);
    at = (size_t)snprintf(text, EXAMPLE_MAX, "%s\n", line);
    for (size_t i = 0; i < frame->count; i++) {
        bool last = i % 16 == 15 || i + 1 == frame->count;
        at += (size_t)snprintf(text + at, EXAMPLE_MAX - at, "%02x%c", frame->bytes[i],
                               last ? '\n' : ' ');
    }
}

static char *page_read(const char *path) {
    static char page[1 << 18];
    FILE *file = fopen(path, "rb");
    if (!file) {
        return NULL;
    }
    size_t count = fread(page, 1, sizeof page - 1, file);
    page[count] = '\0';
    fclose(file);
    return page;
}

int main(int argc, char **argv) {
    struct frame frames[REQUEST_FRAMES + REPLY_FRAMES];
    if (argc != 2) {
        fprintf(stderr, "usage: %s --print | PAGE\n", argv[0]);
        return 2;
    }
    must(hash_open() == 0);
    request_frames(frames);
    reply_frames(frames + REQUEST_FRAMES);
    bool print = strcmp(argv[1], "--print") == 0;
    const char *page = print ? "" : page_read(argv[1]);
    if (!page) {
        fprintf(stderr, "%s cannot be read\n", argv[1]);
        return 1;
    }
    uint32_t missing = 0;
    for (uint32_t i = 0; i < array_count(frames); i++) {
        char example[EXAMPLE_MAX];
        example_of(&frames[i], example);
        if (print) {
            printf("%s\n", example);
        } else if (!strstr(page, example)) {
            printf("%s does not show this:\n%s\n", argv[1], example);
            missing++;
        }
    }
    /* Every code has a row that begins with its number and has its words. */
    for (int code = 1; code < 256 && !print; code++) {
        const char *words = tlv_code_text((enum tlv_code)code);
        char row[160];
        snprintf(row, sizeof row, "| %d | %s |", code, words);
        if (strcmp(words, "unknown code") != 0 && !strstr(page, row)) {
            printf("%s has no row '%s'\n", argv[1], row);
            missing++;
        }
    }
    return missing == 0 ? 0 : 1;
}
