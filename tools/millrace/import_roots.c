/* SPDX-License-Identifier: MIT */
#include "tools/millrace/import_roots.h"

#include "base/hash.h"
#include "base/must.h"
#include "proto/tlv/tlv.h"
#include "tools/millrace/dag.h"
#include "tools/millrace/remote.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define WAIT_MS   (24u * 3600 * 1000) /* a walk takes as long as it takes; a lost daemon ends it */
#define LOOK_MOST (1ull << 30)        /* bytes read to name the block that is missing */
#define WHY_MAX   (CID_TEXT_MAX + 128)

/* What ends a walk: below every -errno. */
enum { FOUND = -10001, ENOUGH = -10002 };

struct looking {
    uint64_t bytes;
    char missing[CID_TEXT_MAX];
};

void import_roots_note(struct import *import) {
    size_t i;
    json_t *root;
    json_array_foreach(import->roots, i, root) {
        if (import->pins != NULL) {
            json_object_set_new(import->pins, json_string_value(root), json_object());
        }
    }
}

uint64_t import_roots_pinned(const struct import *import) {
    uint64_t count = 0;
    const char *name;
    json_t *pin;
    json_object_foreach(import->pins, name, pin) {
        count += json_is_true(json_object_get(pin, "pinned"));
    }
    return count;
}

/* ---- the block that is missing --------------------------------------------------------------- */

static int on_block(void *context, const struct mr_cid *cid, const void *data, uint32_t bytes) {
    struct looking *looking = context;
    (void)cid;
    (void)data;
    looking->bytes += bytes;
    return looking->bytes > LOOK_MOST ? ENOUGH : 0;
}

static int on_trouble(void *context, const struct dag_trouble *trouble) {
    struct looking *looking = context;
    if (trouble->fault != DAG_NOT_HAD || trouble->result != MR_NOT_FOUND) {
        return 0;
    }
    mr_cid_format(trouble->cid, looking->missing);
    return FOUND;
}

/* The daemon says that one is missing, not which: asked for the blocks in their order, it does. */
static void look(struct import *import, const struct mr_cid *root, char why[WHY_MAX]) {
    static struct dag dag;
    struct looking looking = {.bytes = 0};
    struct dag_calls calls = {.on_block = on_block, .on_trouble = on_trouble, .context = &looking};
    struct mr_client *client = mr_new(); /* what was asked ahead of its turn goes with it */
    int r = client != NULL ? mr_connect(client, import->to, NULL) : -ENOMEM;
    if (r == 0) {
        mr_scan(client, true);
        r = dag_walk(&dag, client, root, &calls);
    }
    mr_free(client);
    (void)snprintf(why, WHY_MAX, "%s is not here", r == FOUND ? looking.missing : "a block of it");
}

/* ---- pins ------------------------------------------------------------------------------------ */

static void tell(struct import *import, const char *root, const char *why, const char *what_to_do) {
    progress_clear(&import->progress);
    fprintf(stderr, "root %s is not pinned: %s; %s\n", root, why, what_to_do);
}

/* Some roots need no pin or can have none: inline, or of a hash that is not stored here. */
static bool can_pin(struct import *import, const char *root, struct mr_cid *ret_cid,
                    char why[WHY_MAX]) {
    char reason[128];
    struct cid cid;
    must(cid_parse(root, &cid, reason, sizeof reason) == 0);
    if (cid.hash == HASH_IDENTITY) {
        (void)snprintf(why, WHY_MAX, "it is inline");
        if (cid.codec != CID_RAW) {
            tell(import, root, why, "pin what it links to");
        }
        return false;
    }
    if (mr_cid_parse(root, ret_cid) != 0) {
        (void)snprintf(why, WHY_MAX, "no block can be stored under it");
        tell(import, root, why, "nothing of it is here");
        return false;
    }
    return true;
}

static int pin(const struct cli *cli, struct import *import, struct mr_client *client,
               const char *root, char why[WHY_MAX]) {
    struct mr_cid cid;
    why[0] = '\0';
    if (!can_pin(import, root, &cid, why)) {
        return CLI_DONE;
    }
    progress_show(&import->progress, import->read_bytes, import->totals.blocks);
    int r = mr_pin(client, &cid, false);
    if (r == 0) {
        return CLI_DONE;
    }
    if (r == MR_NOT_FOUND) {
        look(import, &cid, why);
        tell(import, root, why, "import the rest, or let 'millrace pin' fetch it");
        return CLI_DONE;
    }
    if (r == MR_CORRUPT) {
        (void)snprintf(why, WHY_MAX, "a block under it is not what its codec says, or damaged");
        tell(import, root, why, "'millrace verify' looks for damage");
        return CLI_DONE;
    }
    (void)snprintf(why, WHY_MAX, "%s", mr_error(client));
    if (r == MR_REFUSED && mr_fault(client) == TLV_CODE_POLICY) {
        tell(import, root, why, "'millrace pin --direct' keeps single blocks");
        return CLI_DONE;
    }
    progress_clear(&import->progress);
    return cli_fail(cli, remote_status(r, mr_fault(client)),
                    "root %s is stored, but not pinned: %s (--pin-roots=false imports without)",
                    root, why);
}

int import_roots_pin(const struct cli *cli, struct import *import) {
    struct mr_options options;
    const char *root;
    json_t *said;
    int status = CLI_DONE;
    if (json_object_size(import->pins) == 0) {
        return CLI_DONE;
    }
    mr_options_default(&options);
    options.timeout_ms = WAIT_MS;
    struct mr_client *client = mr_new();
    int r = client != NULL ? mr_connect(client, import->to, &options) : -ENOMEM;
    if (r != 0) {
        status = cli_fail(cli, CLI_FAILED, "the roots are not pinned: %s", mr_result_text(r));
    }
    import->progress.note = "pinning the roots";
    json_object_foreach(import->pins, root, said) {
        char why[WHY_MAX] = "the connection is lost";
        int one = r == 0 && mr_connected(client) ? pin(cli, import, client, root, why) : CLI_FAILED;
        bool pinned = one == CLI_DONE && why[0] == '\0';
        json_object_set_new(said, "pinned", json_boolean(pinned));
        if (!pinned) {
            json_object_set_new(said, "why", json_string(why));
        }
        status = status == CLI_DONE ? one : status;
    }
    import->progress.note = NULL;
    progress_clear(&import->progress);
    mr_free(client);
    return status;
}
