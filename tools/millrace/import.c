/* SPDX-License-Identifier: MIT */
#include "tools/millrace/import.h"

#include "base/hash.h"
#include "base/key.h"
#include "base/varint.h"
#include "proto/ipld/car.h"
#include "proto/tlv/tlv.h"
#include "tools/millrace/human.h"
#include "tools/millrace/import_roots.h"
#include "tools/millrace/remote.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_BYTES  (1u << 20)
#define HEADS_BYTES (4u << 10) /* read at a time while only the heads of sections are wanted */
#define LARGE_BYTES                                                               \
    (64u << 10) /* blocks of a file that go to the daemon without being read here \
                 */

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
                        char *sentence) {
    char text[CID_TEXT_MAX] = "";
    import->totals.bad++;
    import->file_bad++;
    import->stop = import->stop || import->stop_on_error;
    if (cid != NULL) {
        cid_format(cid, text);
    }
    progress_clear(&import->progress);
    fprintf(stderr, "%s: %s\n", import->name, cli_tame(sentence));
    if (import->bad != NULL) {
        json_array_append_new(import->bad,
                              json_pack("{s:I, s:s, s:s}", "offset", (json_int_t)offset, "cid",
                                        text, "what", sentence));
    }
}

void import_bad(struct import *import, const struct import_block *block, const char *format, ...) {
    char sentence[1024], cid_text[CID_TEXT_MAX], what[256];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    cid_format(&block->cid, cid_text);
    bool nameless = block->cid.version == 0 && block->cid.digest_bytes == 0; /* a whole folder */
    if (import->names != NULL) {
        snprintf(sentence, sizeof sentence, "%s: %s%s%s", import->names[block->tag],
                 nameless ? "" : cid_text, nameless ? "" : ": ", what);
    } else {
        snprintf(sentence, sizeof sentence, "section at offset %llu: %s: %s",
                 (unsigned long long)block->tag, cid_text, what);
    }
    bad_section(import, block->tag, &block->cid, sentence);
}

/* ---- blocks out ------------------------------------------------------------------------------ */

static void refused(struct import *import, const struct import_block *block,
                    const struct mr_completion *completion) {
    const char *why = completion->result == MR_REFUSED
                          ? tlv_code_text((enum tlv_code)completion->fault)
                          : mr_result_text(completion->result);
    if (completion->result == MR_REFUSED && completion->fault == TLV_CODE_MISMATCH) {
        import_bad(import, block, "the bytes do not match the CID"); /* as where we find it out */
    } else {
        import_bad(import, block, "refused by the daemon: %s", why);
    }
}

/* Returns: 0 to go on, or what ends the flight. */
static int answered(struct import *import, const struct flight_ask *ask,
                    const struct mr_completion *completion) {
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
        struct import_block block = {.tag = ask->tag};
        size_t used = 0;
        if (cid_read(ask->cid.bytes, ask->cid.size, &block.cid, &used) == 0) {
            refused(import, &block, completion);
        }
        return import->stop ? IMPORT_HALT : 0;
    }
    import->error = completion->result == MR_REFUSED ? (int)completion->fault : completion->result;
    return completion->result == MR_REFUSED ? IMPORT_NO_MORE : IMPORT_BROKEN;
}

static int on_stored(void *context, const struct flight_ask *ask,
                     struct mr_completion *completion) {
    struct import *import = context;
    int r = answered(import, ask, completion);
    if (import->names != NULL) {
        import->names[ask->tag][0] = '\0';
    }
    return r;
}

/* What a flight's result means here. */
static enum import_end ended(struct import *import, int result) {
    switch (result) {
    case 0:
        return IMPORT_WENT_ON;
    case IMPORT_HALT:
        return IMPORT_STOPPED;
    case IMPORT_NO_MORE:
        return IMPORT_REFUSING;
    case IMPORT_BROKEN:
        return IMPORT_LOST;
    default:
        import->error = result;
        return IMPORT_LOST;
    }
}

int import_put(struct import *import, const struct import_block *block) {
    struct flight_ask ask = {
        .kind = MR_KIND_PUT, .bytes = block->bytes, .data = block->data, .tag = block->tag};
    if (block->place != 0) {
        ask.in_file = true;
        ask.fd = import->fd;
        ask.offset = block->place;
    }
    uint8_t binary[CID_BYTES_MAX];
    size_t size = cid_write(&block->cid, binary);
    if (mr_cid_read(binary, size, &ask.cid) != 0) {
        import_bad(import, block, "this CID cannot be stored");
        if (import->names != NULL) {
            import->names[block->tag][0] = '\0';
        }
        return import->stop ? IMPORT_HALT : 0;
    }
    progress_show(&import->progress, import->read_bytes, import->totals.blocks);
    return flight_ask(&import->flight, &ask);
}

/* Can the block be what its CID says? Bad ones are told and counted. Whether it is, the daemon
 * finds out: hashing it here too would cost as much as all the rest of an import. */
static bool block_sound(struct import *import, const struct import_block *block) {
    struct key key;
    const struct cid *cid = &block->cid;
    switch (cid_key(cid, &key)) {
    case 0:
        break;
    case CID_IDENTITY:
        if (cid->digest_bytes != block->bytes ||
            memcmp(cid->digest, block->data, block->bytes) != 0) {
            import_bad(import, block, "the bytes do not match the CID");
        } else {
            import->totals.inlined++;
        }
        return false;
    case CID_UNKNOWN_HASH:
        import_bad(import, block, "hash function 0x%llx is not known here",
                   (unsigned long long)cid->hash);
        return false;
    default:
        import_bad(import, block, "a digest of %u bytes is not valid for its hash",
                   cid->digest_bytes);
        return false;
    }
    if (block->bytes > import->block_max) {
        import_bad(import, block, "%u bytes are more than a block may have here (%u)", block->bytes,
                   import->block_max);
        return false;
    }
    return true;
}

static int put_sound(struct import *import, const struct import_block *block) {
    return block_sound(import, block) ? import_put(import, block) : import->stop ? IMPORT_HALT : 0;
}

/* Puts what waits and is not there yet. */
static int put_unknown(struct import *import) {
    struct known *known = import->known;
    int r = known_ask(known, import->asker);
    if (r != 0) {
        import->error = r;
        return IMPORT_BROKEN;
    }
    for (uint32_t i = 0; i < known->count && r == 0; i++) {
        const struct known_item *item = &known->items[i];
        struct import_block block = {item->cid, item->data, item->bytes, item->tag, item->place};
        if (known->present[i] == 1 && item->cid.hash != HASH_IDENTITY) {
            import->totals.known++;
            import->file_known++;
        } else {
            r = put_sound(import, &block);
        }
    }
    known_clear(known);
    return r;
}

/* One section of an archive: now, or in a group that is asked for first. */
static int section(struct import *import, const struct car_step *step) {
    uint64_t place = step->data == NULL ? step->offset + step->used : 0;
    struct import_block block = {step->cid, step->data, step->data_bytes, step->offset, place};
    if (import->known == NULL) {
        return put_sound(import, &block);
    }
    struct known_item item = {block.cid, block.data, block.bytes, block.tag, block.place};
    if (known_add(import->known, &item)) {
        return 0;
    }
    int r = put_unknown(import);
    if (r != 0) {
        return r;
    }
    return known_add(import->known, &item) ? 0 : put_sound(import, &block);
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

/* Where a section begins: is it one whose block goes from the file to the daemon as it lies there?
 * What is wrong with a section is found out by reading it. */
static bool large_section(const struct import *import, const struct car_reader *reader,
                          const uint8_t *bytes, size_t count, struct car_step *ret_step) {
    struct key key;
    return import->file_end > 0 && car_reader_peek(reader, bytes, count, ret_step) &&
           ret_step->data_bytes >= LARGE_BYTES && ret_step->data_bytes <= import->block_max &&
           ret_step->offset + ret_step->used + ret_step->data_bytes <= import->file_end &&
           cid_key(&ret_step->cid, &key) == 0;
}

/* One step of the reader. Returns: 0, IMPORT_HALT, or what ended the flight; *ret_over after the
 * last thing this archive can say. */
static int car_event(struct import *import, enum car_event event, const struct car_step *step,
                     bool *ret_over) {
    int r = 0;
    switch (event) {
    case CAR_HEADER:
        note_roots(import, step);
        break;
    case CAR_BLOCK:
        r = section(import, step);
        break;
    case CAR_BAD:
        bad_step(import, step);
        *ret_over = import->lost = !step->skipped;
        break;
    case CAR_MORE:
    case CAR_END:
        return 0;
    default:
        return 0;
    }
    return r != 0 ? r : import->stop ? IMPORT_HALT : 0;
}

/* Follows one run of bytes, and of a large section behind its end no more than the head. Returns:
 * as car_event. */
static int car_bytes(struct import *import, struct car_reader *reader, const uint8_t *bytes,
                     size_t count, bool *ret_over) {
    static struct car_step step;
    int r = 0;
    enum car_event event = CAR_HEADER;
    while (r == 0 && event != CAR_MORE && import->beyond == 0 && !*ret_over) {
        size_t used;
        if (count > 0 && large_section(import, reader, bytes, count, &step)) {
            event = CAR_BLOCK;
            car_reader_pass(reader, &step);
            used = step.used + step.data_bytes;
        } else {
            event = car_reader_step(reader, bytes, count, &step);
            used = step.used;
        }
        import->read_bytes += used;
        import->beyond = used > count ? used - count : 0;
        bytes += used - import->beyond;
        count -= used - import->beyond;
        r = car_event(import, event, &step, ret_over);
    }
    return r;
}

/* Reads on, behind what was passed over: little where that was a large section. */
static ssize_t read_on(struct import *import, uint8_t *bytes, size_t *size) {
    if (import->beyond == 0) {
        *size = *size * 2 < READ_BYTES ? *size * 2 : READ_BYTES;
        return read(import->fd, bytes, *size);
    }
    *size = HEADS_BYTES;
    off_t at = lseek(import->fd, (off_t)import->beyond, SEEK_CUR);
    import->beyond = 0;
    return at < 0 ? at : read(import->fd, bytes, *size);
}

static int car_file(struct import *import, uint8_t *bytes, size_t count) {
    struct car_reader reader;
    static struct car_step step;
    bool over = false;
    size_t size = READ_BYTES;
    car_reader_init(&reader, import->section, CAR_HEADER_MAX, import->padded);
    for (;;) {
        int r = car_bytes(import, &reader, bytes, count, &over);
        if (r != 0 || over) {
            return r;
        }
        ssize_t got = read_on(import, bytes, &size);
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
    return import->stop ? IMPORT_HALT : 0;
}

static int archive(struct import *import, uint8_t *bytes, size_t count) {
    int r = car_file(import, bytes, count);
    if (r == 0 && import->known != NULL) {
        r = put_unknown(import);
    } else if (import->known != NULL) {
        known_clear(import->known);
    }
    return r;
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
    struct import_block block = {.cid = cid, .data = bytes, .bytes = count, .tag = offset};
    return import_put(import, &block);
}

/* `bytes` holds the first `count` bytes already, and has room for READ_BYTES. */
static int plain_file(struct import *import, uint8_t *bytes, size_t count) {
    uint32_t chunk = import->block_max < IMPORT_CHUNK ? import->block_max : IMPORT_CHUNK;
    uint64_t offset = 0;
    bool end = false;
    do {
        while (!end && count < chunk) {
            ssize_t got = read(import->fd, bytes + count, READ_BYTES - count);
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
    } while (r == IMPORT_HALT && import->flight.out > 0);
    return r;
}

static bool named_car(const char *name) {
    size_t bytes = strlen(name);
    return bytes >= 4 && strcasecmp(name + bytes - 4, ".car") == 0;
}

/* Reads the first bytes, tells what the file is, and follows it. */
static int follow(struct import *import, uint8_t *bytes) {
    size_t count = 0;
    while (count < 64) {
        ssize_t got = read(import->fd, bytes + count, READ_BYTES - count);
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
    return car ? archive(import, bytes, count) : plain_file(import, bytes, count);
}

static void tell_file(struct import *import) {
    char blocks[HUMAN_MAX], bytes[HUMAN_MAX];
    if (import->files != NULL) {
        json_array_append_new(import->files,
                              json_pack("{s:s, s:i, s:O, s:I, s:I, s:I, s:O}", "file", import->name,
                                        "car_version", (int)import->version, "roots", import->roots,
                                        "blocks", (json_int_t)import->file_blocks, "bytes",
                                        (json_int_t)import->file_bytes, "known",
                                        (json_int_t)import->file_known, "bad", import->bad));
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
    if (import->file_known > 0) {
        printf(", %s already here", human_count(import->file_known, blocks));
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

void import_input_begin(struct import *import, const char *name) {
    snprintf(import->name, sizeof import->name, "%s", name);
    (void)cli_tame(import->name);
    import->file_blocks = import->file_bytes = import->file_bad = import->file_known = 0;
    import->version = 0;
    import->lost = import->plain = false;
    import->error = 0;
    import->roots = json_array();
    import->bad = json_array();
}

enum import_end import_input_end(struct import *import, int r) {
    bool unread = r < 0 && r > IMPORT_HALT && mr_connected(import->flight.client);
    /* What was sent is waited for, even when the rest will not be: the counts must be true. */
    int drained = r == 0 || r == IMPORT_HALT || unread ? drain(import) : r;
    enum import_end end = ended(import, import->stop && drained == 0 ? IMPORT_HALT : drained);
    if (unread && end == IMPORT_WENT_ON) {
        import->error = r;
        end = IMPORT_UNREAD;
    }
    tell_file(import);
    import_roots_note(import);
    json_decref(import->roots);
    json_decref(import->bad);
    import->roots = import->bad = NULL;
    return end;
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
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL); /* a hint: pipes have no use for it */
    struct stat about;
    bool regular = !standard && fstat(fd, &about) == 0 && S_ISREG(about.st_mode);
    import->fd = fd;
    import->file_end = regular ? (uint64_t)about.st_size : 0;
    import->beyond = 0;
    import_input_begin(import, standard ? "stdin" : name);
    enum import_end end = import_input_end(import, follow(import, bytes));
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
