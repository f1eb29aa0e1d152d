/* SPDX-License-Identifier: MIT */
#include "tools/millrace/import.h"

#include "base/hash.h"
#include "base/key.h"
#include "base/varint.h"
#include "proto/ipld/car.h"
#include "proto/tlv/tlv.h"
#include "tools/millrace/human.h"
#include "tools/millrace/remote.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READ_BYTES (1u << 20)

/* What ends a flight from within: below every -errno. */
enum { HALT = -10001, NO_MORE = -10002, BROKEN = -10003 };

bool import_is_car(const uint8_t *bytes, size_t count) {
    uint64_t length = 0;
    size_t used = 0;
    if (varint_read(bytes, count, &length, &used) != 0 || length < 10 || used + 9 > count) {
        return false;
    }
    const uint8_t *map = bytes + used;
    bool roots_first = (map[0] == 0xa2 || map[0] == 0xa1) && memcmp(map + 1, "\x65roots", 6) == 0;
    bool version_first =
        (map[0] == 0xa2 || map[0] == 0xa1) && memcmp(map + 1, "\x67version", 8) == 0;
    return roots_first || version_first;
}

/* ---- what went wrong ------------------------------------------------------------------------- */

/* Counts and tells one bad section; `sentence` has the place. */
static void bad_section(struct import *import, uint64_t offset, const struct cid *cid,
                        const char *sentence) {
    char text[CID_TEXT_MAX] = "";
    import->totals.bad++;
    import->file_bad++;
    import->stop = import->stop || import->stop_on_error;
    if (cid != NULL) {
        cid_format(cid, text);
    }
    progress_clear(&import->progress);
    fprintf(stderr, "%s: %s\n", import->name, sentence);
    if (import->bad != NULL) {
        json_array_append_new(import->bad,
                              json_pack("{s:I, s:s, s:s}", "offset", (json_int_t)offset, "cid",
                                        text, "what", sentence));
    }
}

__attribute__((format(printf, 4, 5))) static void
bad_block(struct import *import, uint64_t offset, const struct cid *cid, const char *format, ...) {
    char sentence[768], cid_text[CID_TEXT_MAX], what[256];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    cid_format(cid, cid_text);
    snprintf(sentence, sizeof sentence, "section at offset %llu: %s: %s",
             (unsigned long long)offset, cid_text, what);
    bad_section(import, offset, cid, sentence);
}

/* ---- blocks out ------------------------------------------------------------------------------ */

static int on_stored(void *context, const struct flight_ask *ask,
                     struct mr_completion *completion) {
    struct import *import = context;
    char text[MR_CID_TEXT];
    if (completion->result == 0) {
        import->totals.blocks++;
        import->totals.bytes += ask->bytes;
        import->file_blocks++;
        import->file_bytes += ask->bytes;
        if (import->verbose) {
            mr_cid_format(&ask->cid, text);
            progress_clear(&import->progress);
            printf("%s\n", text);
        }
        return 0;
    }
    if (remote_status(completion->result, completion->fault) == CLI_DAMAGED) {
        struct cid cid;
        size_t used = 0;
        if (cid_read(ask->cid.bytes, ask->cid.size, &cid, &used) == 0) {
            const char *why = completion->result == MR_REFUSED
                                  ? tlv_code_text((enum tlv_code)completion->fault)
                                  : mr_result_text(completion->result);
            bad_block(import, ask->tag, &cid, "refused by the daemon: %s", why);
        }
        return import->stop ? HALT : 0;
    }
    import->error = completion->result == MR_REFUSED ? (int)completion->fault : completion->result;
    return completion->result == MR_REFUSED ? NO_MORE : BROKEN;
}

/* What a flight's result means here. */
static enum import_end ended(struct import *import, int result) {
    switch (result) {
    case 0:
        return IMPORT_WENT_ON;
    case HALT:
        return IMPORT_STOPPED;
    case NO_MORE:
        return IMPORT_REFUSING;
    case BROKEN:
        return IMPORT_LOST;
    default:
        import->error = result;
        return IMPORT_LOST;
    }
}

static int send_block(struct import *import, const struct cid *cid, const void *data,
                      uint32_t bytes, uint64_t offset) {
    struct flight_ask ask = {.kind = MR_KIND_PUT, .bytes = bytes, .data = data, .tag = offset};
    uint8_t binary[CID_BYTES_MAX];
    size_t size = cid_write(cid, binary);
    if (mr_cid_read(binary, size, &ask.cid) != 0) {
        bad_block(import, offset, cid, "this CID cannot be stored");
        return import->stop ? HALT : 0;
    }
    progress_show(&import->progress, import->read_bytes, import->totals.blocks);
    return flight_ask(&import->flight, &ask);
}

/* Is the block what its CID says? Bad ones are told and counted. */
static bool block_sound(struct import *import, const struct car_step *step) {
    uint8_t digest[HASH_DIGEST_MAX];
    struct key key;
    const struct cid *cid = &step->cid;
    switch (cid_key(cid, &key)) {
    case 0:
        break;
    case CID_IDENTITY:
        if (cid->digest_bytes != step->data_bytes ||
            memcmp(cid->digest, step->data, step->data_bytes) != 0) {
            bad_block(import, step->offset, cid, "the bytes do not match the CID");
        } else {
            import->totals.inlined++;
        }
        return false;
    case CID_UNKNOWN_HASH:
        bad_block(import, step->offset, cid, "hash function 0x%llx is not known here",
                  (unsigned long long)cid->hash);
        return false;
    default:
        bad_block(import, step->offset, cid, "a digest of %u bytes is not valid for its hash",
                  cid->digest_bytes);
        return false;
    }
    if (step->data_bytes > import->block_max) {
        bad_block(import, step->offset, cid, "%u bytes are more than a block may have here (%u)",
                  step->data_bytes, import->block_max);
        return false;
    }
    if (hash_compute(key.code, step->data, step->data_bytes, digest, key.digest_bytes) != 0 ||
        memcmp(digest, key.digest, key.digest_bytes) != 0) {
        bad_block(import, step->offset, cid, "the bytes do not match the CID");
        return false;
    }
    return true;
}

/* ---- archives -------------------------------------------------------------------------------- */

static void note_roots(struct import *import, const struct car_step *step) {
    struct car_roots roots = step->roots;
    struct cid root;
    char text[CID_TEXT_MAX];
    import->version = step->version;
    while (car_root_next(&roots, &root)) {
        cid_format(&root, text);
        json_array_append_new(import->roots, json_string(text));
    }
}

static void bad_step(struct import *import, const struct car_step *step) {
    char sentence[sizeof step->text + 64];
    snprintf(sentence, sizeof sentence, "%s%s", step->text,
             step->fault == CAR_ZERO_LENGTH && step->offset > 0
                 ? " (zeros that pad the end: --padded)"
                 : "");
    bad_section(import, step->offset, step->cid_known ? &step->cid : NULL, sentence);
}

/* Follows one run of bytes. Returns: 0, HALT, or what ended the flight; *ret_over after the last
 * thing this archive can say. */
static int car_bytes(struct import *import, struct car_reader *reader, const uint8_t *bytes,
                     size_t count, bool *ret_over) {
    static struct car_step step;
    for (;;) {
        enum car_event event = car_reader_step(reader, bytes, count, &step);
        int r = 0;
        bytes += step.used;
        count -= step.used;
        import->read_bytes += step.used;
        switch (event) {
        case CAR_HEADER:
            note_roots(import, &step);
            break;
        case CAR_BLOCK:
            if (block_sound(import, &step)) {
                r = send_block(import, &step.cid, step.data, step.data_bytes, step.offset);
            }
            break;
        case CAR_BAD:
            bad_step(import, &step);
            *ret_over = import->lost = !step.skipped;
            break;
        case CAR_MORE:
        case CAR_END:
            return 0;
        default:
            return 0;
        }
        if (r != 0 || import->stop || *ret_over) {
            return r != 0 ? r : import->stop ? HALT : 0;
        }
    }
}

static int car_file(struct import *import, int fd, uint8_t *bytes, size_t count) {
    struct car_reader reader;
    static struct car_step step;
    bool over = false;
    car_reader_init(&reader, import->section, CAR_HEADER_MAX, import->padded);
    for (;;) {
        int r = car_bytes(import, &reader, bytes, count, &over);
        if (r != 0 || over) {
            return r;
        }
        ssize_t got = read(fd, bytes, READ_BYTES);
        if (got < 0) {
            return -errno;
        }
        if (got == 0) {
            break;
        }
        count = (size_t)got;
    }
    if (car_reader_end(&reader, &step) == CAR_BAD) {
        import->lost = true;
        bad_step(import, &step);
    }
    return import->stop ? HALT : 0;
}

/* ---- plain files ----------------------------------------------------------------------------- */

static int leaf(struct import *import, const uint8_t *bytes, uint32_t count, uint64_t offset) {
    struct key key = {.code = HASH_SHA2_256, .digest_bytes = 32};
    struct cid cid;
    int r = hash_compute(key.code, bytes, count, key.digest, key.digest_bytes);
    if (r != 0) {
        return -EIO;
    }
    cid_of_key(&key, CID_RAW, &cid);
    cid_format(&cid, import->leaf);
    import->read_bytes += count;
    return send_block(import, &cid, bytes, count, offset);
}

/* `bytes` holds the first `count` bytes already, and has room for READ_BYTES. */
static int plain_file(struct import *import, int fd, uint8_t *bytes, size_t count) {
    uint32_t chunk = import->block_max < IMPORT_CHUNK ? import->block_max : IMPORT_CHUNK;
    uint64_t offset = 0;
    bool end = false;
    do {
        while (!end && count < chunk) {
            ssize_t got = read(fd, bytes + count, READ_BYTES - count);
            if (got < 0) {
                return -errno;
            }
            end = got == 0;
            count += (size_t)got;
        }
        uint32_t take = count < chunk ? (uint32_t)count : chunk;
        if (take > 0 || offset == 0) { /* an empty file is one empty block */
            int r = leaf(import, bytes, take, offset);
            if (r != 0) {
                return r;
            }
        }
        offset += take;
        count -= take;
        memmove(bytes, bytes + take, count);
    } while (!end || count > 0);
    return 0;
}

/* ---- one file -------------------------------------------------------------------------------- */

/* Waits for every answer: a block refused meanwhile is told, and is no reason not to wait. */
static int drain(struct import *import) {
    int r;
    do {
        r = flight_drain(&import->flight);
    } while (r == HALT && import->flight.out > 0);
    return r;
}

static bool named_car(const char *name) {
    size_t bytes = strlen(name);
    return bytes >= 4 && strcasecmp(name + bytes - 4, ".car") == 0;
}

/* Reads the first bytes, tells what the file is, and follows it. */
static int follow(struct import *import, int fd, uint8_t *bytes) {
    size_t count = 0;
    while (count < 64) {
        ssize_t got = read(fd, bytes + count, READ_BYTES - count);
        if (got < 0) {
            return -errno;
        }
        if (got == 0) {
            break;
        }
        count += (size_t)got;
    }
    /* A file called .car that does not begin like one is a damaged archive, not a plain file. */
    bool car = import_is_car(bytes, count) || named_car(import->name);
    import->plain = !car;
    return car ? car_file(import, fd, bytes, count) : plain_file(import, fd, bytes, count);
}

static void tell_file(struct import *import) {
    char blocks[HUMAN_MAX], bytes[HUMAN_MAX];
    if (import->files != NULL) {
        json_array_append_new(import->files,
                              json_pack("{s:s, s:i, s:O, s:I, s:I, s:O}", "file", import->name,
                                        "car_version", (int)import->version, "roots", import->roots,
                                        "blocks", (json_int_t)import->file_blocks, "bytes",
                                        (json_int_t)import->file_bytes, "bad", import->bad));
    }
    if (import->quiet) {
        return;
    }
    progress_clear(&import->progress);
    bool one = import->file_blocks == 1;
    printf("%s: %s %s, %s", import->name, human_count(import->file_blocks, blocks),
           import->plain ? one ? "leaf" : "leaves"
           : one         ? "block"
                         : "blocks",
           human_bytes(import->file_bytes, bytes));
    if (import->plain && one && !import->verbose) {
        printf(", %s", import->leaf);
    } else if (import->plain && import->file_blocks > 1) {
        printf(", no root");
    }
    if (import->version != 0) {
        printf(", CARv%u", import->version);
    }
    if (import->file_bad > 0) {
        printf(", %llu bad", (unsigned long long)import->file_bad);
    }
    for (size_t i = 0; i < json_array_size(import->roots) && i < 3; i++) {
        printf("%s%s", i == 0 ? ", root " : " ",
               json_string_value(json_array_get(import->roots, i)));
    }
    if (json_array_size(import->roots) > 3) {
        printf(" and %zu more", json_array_size(import->roots) - 3);
    }
    printf("\n");
}

enum import_end import_file(struct import *import, const char *name) {
    uint8_t *bytes = malloc(READ_BYTES);
    bool standard = strcmp(name, "-") == 0;
    int fd = standard ? STDIN_FILENO : open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || bytes == NULL) {
        import->error = fd < 0 ? -errno : -ENOMEM;
        free(bytes);
        return IMPORT_UNREAD;
    }
    import->name = standard ? "stdin" : name;
    import->file_blocks = import->file_bytes = import->file_bad = 0;
    import->version = 0;
    import->lost = import->plain = false;
    import->error = 0;
    import->roots = json_array();
    import->bad = json_array();
    int r = follow(import, fd, bytes);
    bool unread = r < 0 && r > HALT && mr_connected(import->flight.client);
    /* What was sent is waited for, even when the rest will not be: the counts must be true. */
    int drained = r == 0 || r == HALT || unread ? drain(import) : r;
    enum import_end end = ended(import, import->stop && drained == 0 ? HALT : drained);
    if (unread && end == IMPORT_WENT_ON) {
        import->error = r;
        end = IMPORT_UNREAD;
    }
    tell_file(import);
    json_decref(import->roots);
    json_decref(import->bad);
    import->roots = import->bad = NULL;
    free(bytes);
    if (!standard) {
        close(fd);
    }
    return end;
}

int import_begin(struct import *import, struct mr_client *client) {
    import->section = malloc(CAR_HEADER_MAX);
    if (import->section == NULL) {
        return -ENOMEM;
    }
    flight_begin(&import->flight, client, on_stored, import);
    return 0;
}

void import_end(struct import *import) {
    flight_end(&import->flight);
    free(import->section);
}
