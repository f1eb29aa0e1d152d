/* SPDX-License-Identifier: MIT */

/* cmd_decode — captured bytes of the binary protocol as one line a frame. */

#include "tools/millrace/commands.h"

#include "proto/tlv/tlv.h"
#include "proto/tlv/tlv_decode.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CAPTURE_MAX (256u << 20)

/* Reads to the end. Returns: 0 or -errno. Owns: the caller frees *ret_bytes. */
static int read_all(FILE *file, uint8_t **ret_bytes, size_t *ret_count) {
    size_t room = 64u << 10, count = 0;
    uint8_t *bytes = malloc(room);
    while (bytes != NULL) {
        count += fread(bytes + count, 1, room - count, file);
        if (ferror(file)) {
            int error = errno;
            free(bytes);
            return -error;
        }
        if (count < room) {
            *ret_bytes = bytes;
            *ret_count = count;
            return 0;
        }
        if (room >= CAPTURE_MAX) {
            free(bytes);
            return -EFBIG;
        }
        room *= 2;
        uint8_t *more = realloc(bytes, room);
        if (more == NULL) {
            free(bytes);
        }
        bytes = more;
    }
    return -ENOMEM;
}

static int decode(const struct cli *cli, const uint8_t *bytes, size_t count) {
    char text[TLV_DECODE_TEXT_MAX];
    size_t at = 0, used = 0;
    bool offsets = cli_has(cli, "offsets");
    while (at < count) {
        int r = tlv_decode(bytes + at, count - at, text, &used);
        if (r != 0) {
            return cli_fail(cli, CLI_DAMAGED, "at offset %zu: %s", at, text);
        }
        if (offsets) {
            printf("%8zu  ", at);
        }
        printf("%s\n", text);
        at += used;
    }
    return CLI_DONE;
}

static int cmd_decode(struct cli *cli) {
    const char *name = cli->args[0];
    bool standard = strcmp(name, "-") == 0;
    FILE *file = standard ? stdin : fopen(name, "re");
    uint8_t *bytes = NULL;
    size_t count = 0;
    if (file == NULL) {
        return cli_fail(cli, CLI_FAILED, "%s: %s", name, strerror(errno));
    }
    int r = read_all(file, &bytes, &count);
    if (!standard) {
        fclose(file);
    }
    if (r != 0) {
        return cli_fail(cli, CLI_FAILED, "%s: %s", name, strerror(-r));
    }
    int status = decode(cli, bytes, count);
    free(bytes);
    return status;
}

static const struct cli_flag flags[] = {
    {"offsets", 0, NULL, "say where each frame begins"},
    CLI_FLAG_END,
};

const struct cli_command command_decode = {
    .name = "decode",
    .args = "FILE|-",
    .summary = "print captured frames of the binary protocol, one a line",
    .flags = flags,
    .args_min = 1,
    .args_max = 1,
    .more = "'>' is a request, '<' a reply. The file holds the bytes of one direction of a\n"
            "connection, as tcpflow or Wireshark's 'Follow TCP stream' save them.",
    .examples = "  millrace decode capture.bin\n",
    .run = cmd_decode,
};
