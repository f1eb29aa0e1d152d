/* SPDX-License-Identifier: MIT */

/* cmd_export — blocks into a CARv1, each checked against its CID on the way.
 *
 * The roots are the CIDs that were named. Where none is (all blocks), the root is the empty
 * identity CID bafkqaaa: CARv1 asks for a root and some readers refuse an archive without one, and
 * this one claims nothing of the blocks that follow. */

#include "tools/millrace/commands.h"

#include "base/cid.h"
#include "base/hash.h"
#include "base/must.h"
#include "base/option.h"
#include "proto/ipld/car.h"
#include "proto/tlv/tlv.h"
#include "tools/millrace/dag.h"
#include "tools/millrace/flight.h"
#include "tools/millrace/human.h"
#include "tools/millrace/output.h"
#include "tools/millrace/parts.h"
#include "tools/millrace/progress.h"
#include "tools/millrace/walk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SPLIT_MIN      (UINT64_C(1) << 20)
#define EXPORT_STOPPED (-10000) /* what ends the flight when words were already said */

/* A block that came before those asked for earlier waits here for its turn. */
struct waiting {
    bool here;
    uint32_t bytes;
    void *data;
    struct mr_cid cid;
};
struct export {
    const struct cli *cli;
    struct output output; /* but of --split */
    FILE *file;
    const char *name;
    uint64_t asked, written; /* sequence numbers */
    uint64_t blocks, bytes, gone, damaged, absent, known;
    bool go_on; /* --on-error continue: damaged blocks are named and left out */
    bool all;   /* a block that has gone since it was listed is no failure */
    bool quiet; /* --quiet: no progress, no summary */
    bool dag;   /* --dag: all that one CID leads to */
    bool split; /* --split: into a folder of archives, what they do not hold yet */
    uint8_t *header;
    size_t header_bytes;
    int status;
    struct progress progress;
    struct parts parts;
    struct walk walk;
    struct flight flight;
    struct waiting waiting[FLIGHT_MAX];
};

static void show(struct export *export) {
    if (!export->quiet) {
        progress_show(&export->progress, export->bytes, export->blocks);
    }
}

static int write_block(struct export *export, const struct mr_cid *name, const void *data,
                       uint32_t bytes) {
    uint8_t head[CAR_SECTION_HEAD_MAX];
    struct cid cid;
    size_t used = 0;
    must(cid_read(name->bytes, name->size, &cid, &used) == 0);
    size_t head_bytes = car_section_head(&cid, bytes, head);
    if (export->split && parts_have(&export->parts, &cid)) {
        export->known++;
        return 0;
    }
    if (export->split) {
        export->file = parts_room(&export->parts, head_bytes + bytes);
    }
    if (export->file == NULL || fwrite(head, 1, head_bytes, export->file) != head_bytes ||
        fwrite(data, 1, bytes, export->file) != bytes) {
        export->status = cli_fail(export->cli, CLI_FAILED, "%s: %s", export->name, strerror(errno));
        return EXPORT_STOPPED;
    }
    export->blocks++;
    export->bytes += bytes;
    return 0;
}

/* Writes what is next in order, as far as it is here. */
static int write_ready(struct export *export) {
    for (struct waiting *next = &export->waiting[export->written % FLIGHT_MAX]; next->here;
         next = &export->waiting[export->written % FLIGHT_MAX]) {
        int r = next->data != NULL ? write_block(export, &next->cid, next->data, next->bytes) : 0;
        free(next->data);
        *next = (struct waiting){.here = false};
        export->written++;
        if (r != 0) {
            return r;
        }
    }
    show(export);
    return 0;
}

static const char damage_text[] = "the stored block is damaged";

static bool is_damage(int result, uint32_t fault) {
    return result == MR_CORRUPT || (result == MR_REFUSED && fault == TLV_CODE_CORRUPT);
}

static int on_block(void *context, const struct flight_ask *ask, struct mr_completion *completion) {
    struct export *export = context;
    struct waiting *place = &export->waiting[ask->tag % FLIGHT_MAX];
    *place = (struct waiting){.here = true, .cid = ask->cid};
    if (completion->result == 0) {
        place->bytes = (uint32_t)completion->size;
        place->data = malloc(completion->size > 0 ? completion->size : 1);
        if (place->data == NULL) {
            return -ENOMEM;
        }
        memcpy(place->data, completion->data, completion->size);
        return write_ready(export);
    }
    if (completion->result == MR_NOT_FOUND && export->all) {
        export->gone++;
        return write_ready(export);
    }
    char cid[MR_CID_TEXT];
    mr_cid_format(&ask->cid, cid);
    progress_clear(&export->progress);
    int status = remote_status(completion->result, completion->fault);
    bool damaged = is_damage(completion->result, completion->fault);
    const char *what = damaged ? damage_text : mr_result_text(completion->result);
    if (damaged && export->go_on) {
        (void)cli_fail(export->cli, status, "%s: %s; left out", cid, what);
        export->damaged++;
        return write_ready(export);
    }
    export->status = cli_fail(export->cli, status, "%s: %s%s", cid, what,
                              damaged ? " (--on-error continue leaves it out)" : "");
    return EXPORT_STOPPED;
}

static int ask_block(struct export *export, const struct mr_cid *cid) {
    struct flight_ask ask = {.kind = MR_KIND_GET, .tag = export->asked, .cid = *cid};
    while (export->asked - export->written >= FLIGHT_MAX) {
        int r = flight_step(&export->flight);
        if (r != 0) {
            return r;
        }
    }
    export->asked++;
    return flight_ask(&export->flight, &ask);
}

static int ask_all(struct export *export) {
    const struct mr_item *item = NULL;
    int r;
    while ((r = walk_next(&export->walk, &item)) == 0 && item != NULL) {
        struct mr_cid cid = item->cid; /* the page may turn while the flight waits */
        struct cid parted;
        size_t used = 0;
        must(cid_read(cid.bytes, cid.size, &parted, &used) == 0);
        if (export->split && parts_have(&export->parts, &parted)) {
            export->known++;
            continue;
        }
        r = ask_block(export, &cid);
        if (r != 0) {
            return r;
        }
    }
    return r;
}

/* Identity CIDs are blocks of their own: no section stands for them. */
static int ask_named(struct export *export, const struct remote_cids *cids) {
    int r = 0;
    for (size_t i = 0; r == 0 && i < cids->count; i++) {
        struct cid cid;
        size_t used = 0;
        must(cid_read(cids->cids[i].bytes, cids->cids[i].size, &cid, &used) == 0);
        if (export->split && parts_have(&export->parts, &cid)) {
            export->known++;
        } else if (cid.hash != HASH_IDENTITY) {
            r = ask_block(export, &cids->cids[i]);
        }
    }
    return r;
}

/* ---- all that one CID leads to ---- */

static int on_dag_block(void *context, const struct mr_cid *cid, const void *data, uint32_t bytes) {
    struct export *export = context;
    int r = write_block(export, cid, data, bytes);
    show(export);
    return r;
}

static const char *trouble_text(const struct dag_trouble *trouble) {
    switch (trouble->fault) {
    case DAG_NOT_HAD:
        return is_damage(trouble->result, trouble->code) ? damage_text
                                                         : mr_result_text(trouble->result);
    case DAG_MALFORMED:
        return "its bytes are not what its codec says: what it links to is not known";
    case DAG_STRANGE:
        return "what a block of its codec links to is not known here";
    case DAG_TOO_WIDE:
        return "it links to more blocks than an export keeps in mind";
    }
    never("a fault that does not exist");
}

static int on_dag_trouble(void *context, const struct dag_trouble *trouble) {
    struct export *export = context;
    char cid[MR_CID_TEXT];
    mr_cid_format(trouble->cid, cid);
    progress_clear(&export->progress);
    int status =
        trouble->fault == DAG_NOT_HAD ? remote_status(trouble->result, trouble->code) : CLI_DAMAGED;
    const char *what = trouble_text(trouble);
    bool passable = status == CLI_ABSENT || status == CLI_DAMAGED;
    bool root = export->blocks + export->known == 0; /* without it there is nothing to go on with */
    if (passable && !root && export->go_on) {
        (void)cli_fail(export->cli, status, "%s: %s; left out", cid, what);
        export->absent += status == CLI_ABSENT;
        export->damaged += status == CLI_DAMAGED;
        return 0;
    }
    export->status = cli_fail(export->cli, status, "%s: %s%s", cid, what,
                              passable && !root ? " (--on-error continue leaves it out)" : "");
    return EXPORT_STOPPED;
}

static int ask_dag(struct export *export, struct mr_client *client, const struct mr_cid *root) {
    static struct dag dag;
    struct dag_calls calls = {on_dag_block, on_dag_trouble, export};
    return dag_walk(&dag, client, root, &calls);
}

static int make_header(struct export *export, const struct remote_cids *cids) {
    uint32_t count = cids->count > 0 ? (uint32_t)cids->count : 1;
    size_t room = (size_t)count * (CID_BYTES_MAX + 8) + 64, used = 0;
    struct cid *roots = calloc(count, sizeof *roots);
    export->header = malloc(room);
    if (roots == NULL || export->header == NULL) {
        free(roots);
        return cli_fail(export->cli, CLI_FAILED, "out of memory");
    }
    roots[0] = (struct cid){.version = 1, .codec = CID_RAW, .hash = HASH_IDENTITY};
    for (size_t i = 0; i < cids->count; i++) {
        must(cid_read(cids->cids[i].bytes, cids->cids[i].size, &roots[i], &used) == 0);
    }
    export->header_bytes = car_header_write(roots, count, export->header, room);
    free(roots);
    if (export->header_bytes == 0) {
        return cli_fail(export->cli, CLI_FAILED, "%s: too many roots for a CAR header",
                        export->name);
    }
    return CLI_DONE;
}

static int write_header(struct export *export) {
    if (fwrite(export->header, 1, export->header_bytes, export->file) != export->header_bytes) {
        return cli_fail(export->cli, CLI_FAILED, "%s: %s", export->name, strerror(errno));
    }
    return CLI_DONE;
}

static int fetch(struct export *export, struct mr_client *client, const struct remote_cids *cids) {
    export->all = cids->count == 0;
    export->status = CLI_DONE;
    walk_begin(&export->walk, client);
    flight_begin(&export->flight, client, on_block, export);
    progress_begin(&export->progress, "export", 0, true);
    mr_scan(client, true);
    int r = export->split ? CLI_DONE : write_header(export);
    if (r != CLI_DONE) {
        return r;
    }
    r = export->dag   ? ask_dag(export, client, &cids->cids[0])
        : export->all ? ask_all(export)
                      : ask_named(export, cids);
    r = r == 0 ? flight_drain(&export->flight) : r;
    flight_end(&export->flight);
    for (size_t i = 0; i < FLIGHT_MAX; i++) {
        free(export->waiting[i].data);
    }
    progress_clear(&export->progress);
    if (r != 0 && export->status == CLI_DONE) {
        return remote_fail(export->cli, client, r, "export broke off");
    }
    return export->status;
}

static void conclude(const struct export *export) {
    char blocks[HUMAN_MAX], bytes[HUMAN_MAX], time[HUMAN_MAX];
    fprintf(stderr, "%s: %s block%s, %s in %s", export->name, human_count(export->blocks, blocks),
            export->blocks == 1 ? "" : "s", human_bytes(export->bytes, bytes),
            human_time(progress_seconds(&export->progress), time));
    if (export->known > 0) {
        fprintf(stderr, "; %llu were there already", (unsigned long long)export->known);
    }
    if (export->gone > 0) {
        fprintf(stderr, "; %llu were removed meanwhile", (unsigned long long)export->gone);
    }
    if (export->damaged > 0) {
        fprintf(stderr, "; %llu left out: damaged", (unsigned long long)export->damaged);
    }
    if (export->absent > 0) {
        fprintf(stderr, "; %llu left out: not found", (unsigned long long)export->absent);
    }
    fprintf(stderr, "\n");
}

static int concluded(const struct export *export, int status) {
    if (status != CLI_DONE) {
        return status;
    }
    if (!export->quiet) {
        conclude(export);
    }
    return export->damaged > 0 ? CLI_DAMAGED : export->absent > 0 ? CLI_ABSENT : CLI_DONE;
}

static int export_to(struct export *export, struct mr_client *client,
                     const struct remote_cids *cids) {
    int status = output_open(&export->output, export->cli, export->name);
    if (status != CLI_DONE) {
        return status;
    }
    export->file = export->output.file;
    status = fetch(export, client, cids);
    return concluded(export, output_close(&export->output, status));
}

/* Archives that are whole stay, whatever becomes of the rest. */
static int export_parts(struct export *export, struct mr_client *client,
                        const struct remote_cids *cids, uint64_t bytes_max) {
    struct parts *parts = &export->parts;
    int r = parts_open(parts, export->name, bytes_max);
    if (r != 0) {
        return cli_fail(export->cli, r < 0 ? CLI_FAILED : CLI_DAMAGED, "%s%s%s", parts->why,
                        r < 0 ? ": " : "", r < 0 ? strerror(-r) : "");
    }
    parts->header = export->header;
    parts->header_bytes = export->header_bytes;
    int status = fetch(export, client, cids);
    r = parts_close(parts, status == CLI_DONE);
    if (r != 0 && status == CLI_DONE) {
        status = cli_fail(export->cli, CLI_FAILED, "%s: %s", parts->path, strerror(-r));
    }
    return concluded(export, status);
}

static int cmd_export(struct cli *cli) {
    static struct export export;
    struct remote_cids cids;
    struct mr_client *client = NULL;
    export.cli = cli;
    export.name = cli_value(cli, "output", NULL);
    if (export.name == NULL) {
        return cli_misuse(cli, "-o FILE.car is missing ('-' for standard output)");
    }
    const char *on_error = cli_value(cli, "on-error", "stop");
    if (strcmp(on_error, "stop") != 0 && strcmp(on_error, "continue") != 0) {
        return cli_misuse(cli, "--on-error %s: it takes stop or continue", on_error);
    }
    export.go_on = on_error[0] == 'c';
    if (strcmp(export.name, "-") == 0 && isatty(STDOUT_FILENO) == 1) {
        return cli_misuse(cli, "a CAR is no text for a terminal; name a file with -o");
    }
    export.dag = cli_has(cli, "dag");
    export.quiet = cli_has(cli, "quiet");
    const char *split = cli_value(cli, "split", NULL);
    uint64_t split_bytes = 0;
    export.split = split != NULL;
    if (export.split && (option_size(split, &split_bytes) != 0 || split_bytes < SPLIT_MIN)) {
        return cli_misuse(cli, "--split %s: a size from 1MiB on", split);
    }
    if (export.split && strcmp(export.name, "-") == 0) {
        return cli_misuse(cli, "--split writes into a folder: name one with -o");
    }
    int status = remote_cids_read(cli, &cids);
    if (status == CLI_DONE && export.dag && cids.count != 1) {
        status = cli_misuse(cli, "--dag takes one CID, the root");
    }
    status = status == CLI_DONE ? make_header(&export, &cids) : status;
    if (status == CLI_DONE) {
        client = remote_open(cli, &status);
    }
    if (client != NULL) {
        status = export.split ? export_parts(&export, client, &cids, split_bytes)
                              : export_to(&export, client, &cids);
    }
    free(export.header);
    mr_free(client);
    remote_cids_free(&cids);
    return status;
}

static const struct cli_flag flags[] = {
    CLI_FLAG_TO,
    {"output", 'o', "FILE.car", "the archive to write (required); '-' is standard output"},
    {"split", 0, "SIZE", "into archives of at most SIZE in the folder -o, what it lacks"},
    {"dag", 0, NULL, "all that the CID links to, directly or not"},
    {"quiet", 'q', NULL, "say nothing but errors"},
    {"on-error", 0, "stop|continue", "at a damaged block: end (default), or leave it out"},
    CLI_FLAG_END,
};

const struct cli_command command_export = {
    .name = "export",
    .args = "[CID...|-]",
    .summary = "write blocks into a CARv1; all of them when none is named",
    .flags = flags,
    .args_max = CLI_ARGS_ANY,
    .more =
        "The roots are the named CIDs, or bafkqaaa (the empty identity) when all are exported.\n"
        "Blocks are checked against their CIDs; if one is missing or damaged, no archive is left\n"
        "behind. With --on-error continue damaged ones are named and left out, and the exit "
        "status\n"
        "is 4.\n"
        "With --dag the archive holds the whole DAG under one CID: each block once, depth first, "
        "links\n"
        "in order, byte for byte what 'ipfs dag export' writes. Links are followed in dag-pb,\n"
        "dag-cbor and dag-json. --on-error continue then leaves out missing blocks too (exit\n"
        "status 3), and what only they lead to.\n"
        "With --split the folder's archives hold every block once, each with the roots it was\n"
        "written for: the same command goes on where it was cut off, later adds what has come\n"
        "since, and another DAG adds what the folder lacks. 'import DIR' takes them back.",
    .examples = "  millrace export -o all.car\n  millrace export bafkrei... -o one.car\n"
                "  millrace export --dag bafybei... -o site.car\n"
                "  millrace export --split 4GiB -o archives\n"
                "  millrace export --split 1GiB --dag bafybei... -o site\n",
    .run = cmd_export,
};
