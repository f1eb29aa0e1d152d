/* SPDX-License-Identifier: MIT */
#include "tools/millrace/adder.h"

#include "base/hash.h"
#include "base/must.h"
#include "proto/tlv/tlv.h"
#include "tools/millrace/remote.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READ_BYTES   (1u << 20)
#define BUFFER_BYTES (CHUNK_MAX + 2 * READ_BYTES)

static_assert(READ_BYTES <= BUFFER_BYTES - CHUNK_MAX, "a chunk and a read have room together");

/* What ends the flight when words were already said; below every -errno. */
enum { SAID = -10001 };

struct adder_line {
    struct adder_line *next;
    uint64_t before; /* blocks below this number must be on disk */
    char text[];
};

/* ---- lines ----------------------------------------------------------------------------------- */

const char *adder_cid_text(const struct unixfs_link *link, char text[CID_TEXT_MAX]) {
    struct cid cid;
    size_t used;
    must(cid_read(link->cid, link->cid_bytes, &cid, &used) == 0);
    cid_format(&cid, text);
    return text;
}

/* Prints what is true now: nothing below `oldest` is out, and all of it was taken. */
static void lines_print(struct adder *adder, uint64_t oldest) {
    while (adder->status == CLI_DONE && adder->first != NULL && adder->first->before <= oldest) {
        struct adder_line *line = adder->first;
        progress_clear(&adder->progress);
        printf("%s\n", line->text);
        adder->first = line->next;
        adder->last = adder->first == NULL ? &adder->first : adder->last;
        free(line);
    }
}

/* The lowest number that is out; the one whose answer is being told counts as out. */
static uint64_t oldest_out(const struct adder *adder) {
    uint64_t oldest = adder->asked;
    for (uint32_t i = 0; i < FLIGHT_MAX; i++) {
        const struct flight_slot *slot = &adder->flight.slots[i];
        oldest = slot->used && slot->ask.tag < oldest ? slot->ask.tag : oldest;
    }
    return oldest;
}

/* A name as it stands, but for what would move a terminal's cursor or begin a line. */
static void name_print(char *text, const char *name) {
    for (; *name != '\0'; name++) {
        uint8_t byte = (uint8_t)*name;
        if (byte < 0x20 || byte == 0x7f) {
            text += snprintf(text, 5, "\\x%02x", byte);
        } else {
            *text++ = *name;
        }
    }
    *text = '\0';
}

int adder_line(struct adder *adder, const struct unixfs_link *link, const char *name) {
    char cid[CID_TEXT_MAX];
    size_t room = CID_TEXT_MAX + 4 * strlen(name) + 16;
    if (adder->quiet) {
        return CLI_DONE;
    }
    struct adder_line *line = malloc(sizeof *line + room);
    if (line == NULL) {
        return cli_fail(adder->cli, CLI_FAILED, "out of memory");
    }
    *line = (struct adder_line){.before = adder->asked};
    int used =
        snprintf(line->text, room, adder->bare ? "%s" : "added %s ", adder_cid_text(link, cid));
    if (!adder->bare) {
        name_print(line->text + used, name);
    }
    *adder->last = line;
    adder->last = &line->next;
    lines_print(adder, oldest_out(adder));
    return CLI_DONE;
}

/* ---- blocks ---------------------------------------------------------------------------------- */

static int on_stored(void *context, const struct flight_ask *ask,
                     struct mr_completion *completion) {
    struct adder *adder = context;
    char cid[MR_CID_TEXT];
    if (completion->result == 0) {
        adder->blocks++;
        lines_print(adder, oldest_out(adder));
        return 0;
    }
    mr_cid_format(&ask->cid, cid);
    progress_clear(&adder->progress);
    const char *why = completion->result == MR_REFUSED
                          ? tlv_code_text((enum tlv_code)completion->fault)
                          : mr_result_text(completion->result);
    adder->status = cli_fail(adder->cli, remote_status(completion->result, completion->fault),
                             "%s: the daemon did not take it: %s", cid, why);
    return SAID;
}

/* What a flight's result means to the caller. */
static int flown(struct adder *adder, int result) {
    if (result == 0) {
        return CLI_DONE;
    }
    if (adder->status == CLI_DONE) {
        progress_clear(&adder->progress);
        adder->status = remote_fail(adder->cli, adder->client, result, "the add broke off");
    }
    return adder->status;
}

/* Hashes a block, gives it to the daemon, and says what it is called. */
static int put(struct adder *adder, uint64_t codec, const uint8_t *data, size_t bytes,
               struct cid *ret_cid) {
    struct flight_ask ask = {
        .kind = MR_KIND_PUT, .bytes = (uint32_t)bytes, .data = data, .tag = adder->asked};
    struct cid cid = {.version = codec == CID_RAW ? 1 : adder->cid_version,
                      .codec = codec,
                      .hash = HASH_SHA2_256,
                      .digest_bytes = 32};
    uint8_t name[CID_BYTES_MAX];
    must(hash_compute(HASH_SHA2_256, data, bytes, cid.digest, cid.digest_bytes) == 0);
    size_t name_bytes = cid_write(&cid, name);
    must(mr_cid_read(name, name_bytes, &ask.cid) == 0);
    progress_show(&adder->progress, adder->read_bytes, adder->blocks);
    int status = flown(adder, flight_ask(&adder->flight, &ask));
    adder->asked++;
    *ret_cid = cid;
    return status;
}

/* ---- files ----------------------------------------------------------------------------------- */

static int nodes(struct adder *adder) {
    uint8_t out[UNIXFS_FILE_NODE_MAX];
    size_t bytes;
    int status = CLI_DONE;
    while (status == CLI_DONE && (bytes = unixfs_file_node(&adder->file, out)) > 0) {
        struct cid cid;
        status = put(adder, CID_DAG_PB, out, bytes, &cid);
        unixfs_file_named(&adder->file, &cid);
    }
    return status;
}

static int leaf(struct adder *adder, const uint8_t *data, uint32_t count) {
    struct unixfs_link link;
    struct cid cid;
    size_t bytes = count;
    uint64_t codec = adder->raw_leaves ? CID_RAW : CID_DAG_PB;
    if (!adder->raw_leaves) {
        bytes = unixfs_leaf_write(data, count, adder->node);
        data = adder->node;
    }
    int status = put(adder, codec, data, bytes, &cid);
    if (status != CLI_DONE) {
        return status;
    }
    unixfs_link_init(&link, &cid, bytes);
    link.file_bytes = count;
    unixfs_file_add(&adder->file, &link);
    return nodes(adder);
}

/* Cuts leaves off the front of the buffer: `begin` is where the chunk in progress starts, `seen`
 * how far the chunker has looked, `end` where the content ends. */
static int leaves(struct adder *adder, size_t *begin, size_t *seen, size_t end) {
    int status = CLI_DONE;
    while (status == CLI_DONE && *seen < end) {
        bool cut = false;
        *seen += chunker_step(&adder->chunker, adder->buffer + *seen, end - *seen, &cut);
        if (cut) {
            status = leaf(adder, adder->buffer + *begin, (uint32_t)(*seen - *begin));
            *begin = *seen;
        }
    }
    return status;
}

int adder_content(struct adder *adder, int fd, const char *name, struct unixfs_link *ret_link) {
    size_t begin = 0, seen = 0;
    uint64_t before = adder->read_bytes;
    int status = CLI_DONE;
    chunker_restart(&adder->chunker);
    unixfs_file_init(&adder->file);
    while (status == CLI_DONE) {
        if (begin == seen || BUFFER_BYTES - seen < READ_BYTES) {
            memmove(adder->buffer, adder->buffer + begin, seen - begin);
            seen -= begin;
            begin = 0;
        }
        ssize_t got = read(fd, adder->buffer + seen, READ_BYTES);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            progress_clear(&adder->progress);
            return cli_fail(adder->cli, CLI_FAILED, "%s: %s", name, strerror(errno));
        }
        if (got == 0) {
            break;
        }
        adder->read_bytes += (size_t)got;
        status = leaves(adder, &begin, &seen, seen + (size_t)got);
    }
    /* An empty file is one empty leaf. */
    if (status == CLI_DONE && (seen > begin || adder->read_bytes == before)) {
        status = leaf(adder, adder->buffer + begin, (uint32_t)(seen - begin));
    }
    if (status != CLI_DONE) {
        return status;
    }
    unixfs_file_end(&adder->file);
    status = nodes(adder);
    if (status == CLI_DONE) {
        *ret_link = *unixfs_file_root(&adder->file);
    }
    return status;
}

/* ---- directories and links ------------------------------------------------------------------- */

int adder_symlink(struct adder *adder, const char *target, size_t target_bytes,
                  struct unixfs_link *ret_link) {
    uint8_t out[UNIXFS_TARGET_MAX + 16];
    struct cid cid;
    size_t bytes = unixfs_symlink_write(target, (uint32_t)target_bytes, out);
    int status = put(adder, CID_DAG_PB, out, bytes, &cid);
    unixfs_link_init(ret_link, &cid, bytes);
    return status;
}

static int by_name(const void *a, const void *b) {
    return unixfs_entry_compare(a, b);
}

static int by_hash(const void *a, const void *b) {
    uint64_t x = ((const struct unixfs_entry *)a)->hash, y = ((const struct unixfs_entry *)b)->hash;
    return x < y ? -1 : x > y;
}

static int spread(struct adder *adder, struct unixfs_entry entries[], uint32_t count,
                  const char *name, struct unixfs_link *ret_link) {
    int status = CLI_DONE;
    size_t bytes;
    for (uint32_t i = 0; i < count; i++) {
        entries[i].hash = unixfs_shard_hash(entries[i].name, entries[i].name_bytes);
    }
    qsort(entries, count, sizeof entries[0], by_hash);
    if (unixfs_shard_init(&adder->shard, entries, count) != 0) {
        return cli_fail(adder->cli, CLI_FAILED,
                        "%s: two of its %u names have one hash, which a directory of that size "
                        "cannot hold",
                        name, count);
    }
    uint8_t *out = malloc(UNIXFS_SHARD_ROOM);
    if (out == NULL) {
        return cli_fail(adder->cli, CLI_FAILED, "out of memory");
    }
    while (status == CLI_DONE && (bytes = unixfs_shard_node(&adder->shard, out)) > 0) {
        struct cid cid;
        status = put(adder, CID_DAG_PB, out, bytes, &cid);
        unixfs_shard_named(&adder->shard, &cid);
    }
    free(out);
    if (status == CLI_DONE) {
        *ret_link = adder->shard.root;
    }
    return status;
}

int adder_directory(struct adder *adder, struct unixfs_entry entries[], uint32_t count,
                    const char *name, struct unixfs_link *ret_link) {
    uint64_t weight = 0, below = 0;
    struct cid cid;
    for (uint32_t i = 0; i < count; i++) {
        weight += entries[i].name_bytes + entries[i].link.cid_bytes;
        below += entries[i].link.total_bytes;
    }
    if (weight > UNIXFS_SHARD_ABOVE) {
        return spread(adder, entries, count, name, ret_link);
    }
    if (count > 0) {
        qsort(entries, count, sizeof entries[0], by_name);
    }
    uint8_t *out = malloc(unixfs_directory_room(entries, count));
    if (out == NULL) {
        return cli_fail(adder->cli, CLI_FAILED, "out of memory");
    }
    size_t bytes = unixfs_directory_write(entries, count, out);
    int status = put(adder, CID_DAG_PB, out, bytes, &cid);
    free(out);
    unixfs_link_init(ret_link, &cid, bytes + below);
    return status;
}

/* ---- the whole ------------------------------------------------------------------------------- */

int adder_begin(struct adder *adder, struct mr_client *client) {
    struct mr_server server;
    mr_server(client, &server);
    adder->client = client;
    adder->block_max = server.block_max;
    adder->last = &adder->first;
    adder->buffer = malloc(BUFFER_BYTES);
    adder->node = malloc(CHUNK_MAX + UNIXFS_LEAF_MORE);
    if (adder->buffer == NULL || adder->node == NULL) {
        return cli_fail(adder->cli, CLI_FAILED, "out of memory");
    }
    chunker_init(&adder->chunker, &adder->plan);
    flight_begin(&adder->flight, client, on_stored, adder);
    progress_begin(&adder->progress, "add", adder->expect, true);
    return CLI_DONE;
}

int adder_drain(struct adder *adder) {
    int status = flown(adder, flight_drain(&adder->flight));
    if (status == CLI_DONE) {
        lines_print(adder, adder->asked);
        must(adder->first == NULL);
    }
    return status;
}

void adder_end(struct adder *adder) {
    progress_clear(&adder->progress);
    if (adder->flight.client != NULL) {
        flight_end(&adder->flight);
    }
    while (adder->first != NULL) {
        struct adder_line *line = adder->first;
        adder->first = line->next;
        free(line);
    }
    free(adder->buffer);
    free(adder->node);
    adder->buffer = adder->node = NULL;
}
