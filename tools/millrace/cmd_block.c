/* SPDX-License-Identifier: MIT */

/* cmd_block — put, get, has, rm: commands about blocks one by one. */

#include "tools/millrace/commands.h"

#include "base/cid.h"
#include "base/hash.h"
#include "proto/tlv/tlv.h"
#include "tools/millrace/output.h"
#include "tools/millrace/remote.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- put ------------------------------------------------------------------------------------- */

/* A name of the table or a number; false for neither. */
static bool code_read(const char *text, int (*by_name)(const char *, uint64_t *),
                      uint64_t *ret_code) {
    char *end = NULL;
    if (by_name(text, ret_code) == 0) {
        return true;
    }
    if (text[0] < '0' || text[0] > '9') {
        return false;
    }
    *ret_code = strtoull(text, &end, 0);
    return *end == '\0';
}

/* Reads a whole block. One byte more than the largest tells "too large" from "just fits". */
static int block_read(const struct cli *cli, const char *name, uint8_t **ret_data,
                      size_t *ret_size) {
    bool standard = strcmp(name, "-") == 0;
    FILE *file = standard ? stdin : fopen(name, "re");
    uint8_t *data = malloc(MR_BLOCK_MAX + 1);
    if (file == NULL || data == NULL) {
        int error = file == NULL ? errno : ENOMEM;
        free(data);
        if (file != NULL && !standard) {
            fclose(file);
        }
        return cli_fail(cli, CLI_FAILED, "%s: %s", name, strerror(error));
    }
    size_t size = fread(data, 1, MR_BLOCK_MAX + 1, file);
    int error = ferror(file) ? errno : 0;
    if (!standard) {
        fclose(file);
    }
    if (error != 0) {
        free(data);
        return cli_fail(cli, CLI_FAILED, "%s: %s", name, strerror(error));
    }
    *ret_data = data;
    *ret_size = size;
    return CLI_DONE;
}

static int put_data(const struct cli *cli, const char *name, const void *data, size_t size,
                    uint64_t codec, uint64_t hash) {
    int status = CLI_DONE;
    struct mr_cid cid;
    char text[MR_CID_TEXT];
    struct mr_client *client = remote_open(cli, &status);
    if (client == NULL) {
        return status;
    }
    int r = mr_put(client, data, size, codec, hash, &cid);
    if (r == 0) {
        mr_cid_format(&cid, text);
        printf("%s\n", text);
    } else if (r == MR_TOO_LARGE) {
        struct mr_server server;
        mr_server(client, &server);
        status = cli_fail(cli, CLI_DAMAGED,
                          "%s: larger than a block may be (%u bytes); 'millrace add' cuts "
                          "files into blocks",
                          name, server.block_max);
    } else {
        status = remote_fail(cli, client, r, name);
    }
    mr_free(client);
    return status;
}

/* One file of several, and its CID. */
struct put_files {
    struct mr_put_item *items;
    uint8_t **data;
    size_t count; /* read so far */
    size_t bytes; /* of those */
};

static int files_read(const struct cli *cli, struct put_files *files, uint64_t codec,
                      uint64_t hash) {
    for (; files->count < cli->args_count; files->count++) {
        struct mr_put_item *item = &files->items[files->count];
        const char *name = cli->args[files->count];
        int r = block_read(cli, name, &files->data[files->count], &item->size);
        if (r != CLI_DONE) {
            return r;
        }
        item->data = files->data[files->count];
        files->bytes += item->size;
        if (files->bytes > MR_BLOCK_MAX) {
            free(files->data[files->count]);
            return cli_fail(cli, CLI_DAMAGED,
                            "%s: several files at once may have %u bytes together, no more", name,
                            MR_BLOCK_MAX);
        }
        if (mr_cid_of_data(item->data, item->size, codec, hash, &item->cid) != 0) {
            return cli_fail(cli, CLI_DAMAGED, "%s: cannot be hashed so", name);
        }
    }
    return CLI_DONE;
}

/* CIDs of what is stored, words for what is not. */
static int files_print(const struct cli *cli, const struct put_files *files) {
    int status = CLI_DONE;
    for (size_t i = 0; i < files->count; i++) {
        const struct mr_put_item *item = &files->items[i];
        char text[MR_CID_TEXT];
        if (item->result == 0) {
            mr_cid_format(&item->cid, text);
            printf("%s\n", text);
        } else if (item->result != MR_CLOSED) { /* what broke off is said once, by the caller */
            int one = cli_fail(cli, remote_status(item->result, 0), "%s: %s", cli->args[i],
                               mr_result_text(item->result));
            status = status == CLI_DONE ? one : status;
        }
    }
    return status;
}

static int put_files(const struct cli *cli, uint64_t codec, uint64_t hash) {
    struct put_files files = {.items = calloc(cli->args_count, sizeof *files.items),
                              .data = calloc(cli->args_count, sizeof *files.data)};
    struct mr_client *client = NULL;
    int status = files.items == NULL || files.data == NULL
                     ? cli_fail(cli, CLI_FAILED, "out of memory")
                     : files_read(cli, &files, codec, hash);
    if (status == CLI_DONE) {
        client = remote_open(cli, &status);
    }
    if (client != NULL) {
        int r = mr_put_many(client, files.items, files.count, cli_has(cli, "atomic"));
        int said = files_print(cli, &files);
        status = r == 0 || said != CLI_DONE ? said : remote_fail(cli, client, r, remote_to(cli));
    }
    mr_free(client);
    for (size_t i = 0; i < files.count; i++) {
        free(files.data[i]);
    }
    free(files.data);
    free(files.items);
    return status;
}

static int cmd_put(struct cli *cli) {
    const char *codec_name = cli_value(cli, "codec", "raw");
    const char *hash_name_ = cli_value(cli, "mh", "sha2-256");
    uint64_t codec = 0, hash = 0;
    uint8_t *data = NULL;
    size_t size = 0;
    if (!code_read(codec_name, cid_codec_of, &codec) || codec == 0 || codec > UINT32_MAX) {
        return cli_misuse(cli,
                          "--codec %s: not known (raw, dag-pb, dag-cbor, dag-json, json, "
                          "cbor, or a number as 0x55)",
                          codec_name);
    }
    if (!code_read(hash_name_, hash_code_of, &hash)) {
        return cli_misuse(cli,
                          "--mh %s: not known (sha2-256, sha2-512, sha3-256, blake2b-256 ..., "
                          "or a number as 0x12)",
                          hash_name_);
    }
    if (hash == HASH_IDENTITY) {
        return cli_misuse(cli, "--mh %s: an identity CID holds its block, nothing is stored",
                          hash_name_);
    }
    if (hash_full_bytes(hash) == 0) {
        return cli_fail(cli, CLI_DAMAGED, "--mh %s: hash function 0x%llx is not known here",
                        hash_name_, (unsigned long long)hash);
    }
    if (cli->args_count > 1) {
        return put_files(cli, codec, hash);
    }
    int r = block_read(cli, cli->args[0], &data, &size);
    if (r == CLI_DONE) {
        r = put_data(cli, cli->args[0], data, size, codec, hash);
        free(data);
    }
    return r;
}

/* ---- get ------------------------------------------------------------------------------------- */

/* "A-B" (both counted in) or "A-". Returns false for anything else. */
static bool range_read(const char *text, uint32_t *ret_offset, uint32_t *ret_length) {
    unsigned long long first = 0, last = MR_BLOCK_MAX - 1;
    char *end = NULL;
    if (text[0] < '0' || text[0] > '9') {
        return false;
    }
    first = strtoull(text, &end, 10);
    if (*end != '-' || first >= MR_BLOCK_MAX) {
        return false;
    }
    text = end + 1;
    if (*text != '\0') {
        if (*text < '0' || *text > '9') {
            return false;
        }
        last = strtoull(text, &end, 10);
        if (*end != '\0' || last < first) {
            return false;
        }
        last = last < MR_BLOCK_MAX ? last : MR_BLOCK_MAX - 1;
    }
    *ret_offset = (uint32_t)first;
    *ret_length = (uint32_t)(last - first + 1);
    return true;
}

static int write_out(const struct cli *cli, const void *data, size_t size) {
    static struct output output;
    int status = output_open(&output, cli, cli_value(cli, "output", "-"));
    if (status != CLI_DONE) {
        return status;
    }
    if (fwrite(data, 1, size, output.file) != size) {
        status = output_fail(&output);
    }
    return output_close(&output, status);
}

static int get_range(const struct cli *cli, struct mr_client *client, const struct mr_cid *cid,
                     const char *range) {
    uint32_t offset = 0, length = 0;
    size_t size = 0;
    if (!range_read(range, &offset, &length)) {
        return cli_misuse(cli, "--range %s: write it as FIRST-LAST, both counted, or FIRST-",
                          range);
    }
    uint8_t *buffer = malloc(length);
    if (buffer == NULL) {
        return cli_fail(cli, CLI_FAILED, "out of memory");
    }
    int r = mr_get_range(client, cid, offset, length, buffer, &size, NULL);
    int status;
    struct mr_block block;
    if (r == 0) {
        status = write_out(cli, buffer, size);
    } else if (r == MR_REFUSED && mr_fault(client) == TLV_CODE_RANGE &&
               mr_get(client, cid, &block) == 0) {
        status = cli_misuse(cli, "--range %s: the block ends before: it has %zu bytes", range,
                            block.size);
        mr_block_free(&block);
    } else {
        status = remote_fail(cli, client, r, cli->args[0]);
    }
    free(buffer);
    return status;
}

static int cmd_get(struct cli *cli) {
    struct remote_cids cids;
    struct mr_client *client = NULL;
    const char *range = cli_value(cli, "range", NULL);
    int status = remote_cids_read(cli, &cids);
    if (status == CLI_DONE && cids.count != 1) {
        status = cli_misuse(cli, "one CID at a time; 'millrace export' fetches many");
    }
    if (status == CLI_DONE) {
        client = remote_open(cli, &status);
    }
    if (client != NULL && range != NULL) {
        status = get_range(cli, client, &cids.cids[0], range);
    } else if (client != NULL) {
        struct mr_block block;
        int r = mr_get(client, &cids.cids[0], &block);
        if (r == 0) {
            status = write_out(cli, block.data, block.size);
            mr_block_free(&block);
        } else {
            status = remote_fail(cli, client, r, cids.names[0]);
        }
    }
    mr_free(client);
    remote_cids_free(&cids);
    return status;
}

/* ---- has, rm --------------------------------------------------------------------------------- */

static int has_print(const struct remote_cids *cids, const uint8_t present[]) {
    static const char *const words[] = {"no", "yes", "unknown"};
    int status = CLI_DONE;
    for (size_t i = 0; i < cids->count; i++) {
        uint8_t answer = present[i] < 2 ? present[i] : 2;
        printf("%s %s\n", cids->names[i], words[answer]);
        if (answer == 0) {
            status = CLI_ABSENT;
        } else if (answer == 2 && status == CLI_DONE) {
            status = CLI_FAILED;
        }
    }
    return status;
}

static int cmd_has(struct cli *cli) {
    struct remote_cids cids;
    struct mr_client *client = NULL;
    int status = remote_cids_read(cli, &cids);
    if (status == CLI_DONE) {
        client = remote_open(cli, &status);
    }
    if (client != NULL) {
        uint8_t *present = calloc(cids.count + 1, 1);
        int r = present != NULL ? mr_have(client, cids.cids, cids.count, present) : -ENOMEM;
        status = r == 0 ? has_print(&cids, present) : remote_fail(cli, client, r, remote_to(cli));
        free(present);
    }
    mr_free(client);
    remote_cids_free(&cids);
    return status;
}

static int cmd_rm(struct cli *cli) {
    struct remote_cids cids;
    struct mr_client *client = NULL;
    int status = remote_cids_read(cli, &cids);
    if (status == CLI_DONE) {
        client = remote_open(cli, &status);
    }
    for (size_t i = 0; client != NULL && i < cids.count; i++) {
        int r = mr_delete(client, &cids.cids[i]);
        if (r == 0) {
            printf("removed %s\n", cids.names[i]);
            continue;
        }
        int one = remote_fail(cli, client, r, cids.names[i]);
        status = status == CLI_DONE || status == CLI_ABSENT ? one : status;
        if (!mr_connected(client)) {
            break; /* the rest would only say so again */
        }
    }
    mr_free(client);
    remote_cids_free(&cids);
    return status;
}

static const struct cli_flag put_flags[] = {
    CLI_FLAG_TO,
    {"codec", 0, "CODEC", "what the block is: raw (default), dag-pb, dag-cbor ..."},
    {"mh", 0, "HASH", "hash function: sha2-256 (default), sha2-512, blake2b-256 ..."},
    {"atomic", 0, NULL, "of several files store all or none, whatever happens"},
    CLI_FLAG_END,
};
static const struct cli_flag get_flags[] = {
    CLI_FLAG_TO,
    {"output", 'o', "FILE", "write there instead of standard output"},
    {"range", 0, "A-B", "bytes A to B, both counted (B may be left out); not checked by hash"},
    CLI_FLAG_END,
};
static const struct cli_flag to_flags[] = {CLI_FLAG_TO, CLI_FLAG_END};

const struct cli_command command_put = {
    .name = "put",
    .args = "FILE...|-",
    .summary = "store each file as one block and print its CID",
    .flags = put_flags,
    .args_min = 1,
    .args_max = CLI_ARGS_ANY,
    .more = "When it returns 0, the block is on disk. The store keys by hash: CIDs that differ in\n"
            "version or codec name one block, 'ls' shows it as raw or as first put, and a later "
            "put of the same\n"
            "bytes under another codec stores nothing new. Larger files: 'millrace add'.\n"
            "Several files (1024 at most, 4 MiB together) go in one request. With --atomic they "
            "are\n"
            "stored all or none: also a crash of the server at whatever moment leaves no part.",
    .examples = "  echo hello | millrace put -\n  millrace put block.bin --codec dag-pb\n"
                "  millrace put --atomic node.bin leaf1.bin leaf2.bin\n",
    .run = cmd_put,
};
const struct cli_command command_get = {
    .name = "get",
    .args = "CID",
    .summary = "fetch one block, check it, and write it out",
    .flags = get_flags,
    .args_min = 1,
    .args_max = 1,
    .examples = "  millrace get bafkrei... -o block.bin\n  millrace get bafkrei... --range 0-99\n",
    .run = cmd_get,
};
const struct cli_command command_has = {
    .name = "has",
    .args = "CID...|-",
    .summary = "say which blocks are stored; exit status 3 if one is not",
    .flags = to_flags,
    .args_min = 1,
    .args_max = CLI_ARGS_ANY,
    .more = "Prints 'CID yes' or 'CID no'. With '-' the CIDs are read from standard input.",
    .examples = "  millrace has bafkrei... QmdfTb...\n  millrace has - < cids.txt\n",
    .run = cmd_has,
};
const struct cli_command command_rm = {
    .name = "rm",
    .args = "CID...|-",
    .summary = "remove blocks; exit status 3 if one was not there",
    .flags = to_flags,
    .args_min = 1,
    .args_max = CLI_ARGS_ANY,
    .more =
        "When it returns 0, the blocks are durably gone. The space they took is not given back\n"
        "yet: compaction comes with the store's next stage. With '-' CIDs are read from stdin.",
    .examples = "  millrace rm bafkrei...\n",
    .run = cmd_rm,
};
