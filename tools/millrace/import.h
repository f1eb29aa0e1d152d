/* SPDX-License-Identifier: MIT */
#pragma once

/* import — blocks out of files into a daemon: CARv1, CARv2 and plain files, told apart by their
 * first bytes, and directories (import_dir.h).
 *
 * Every block is checked against its CID by the daemon. What is wrong with a section is told by
 * file, offset and CID; blocks before it are kept, and later ones where the archive can still be
 * followed. Where the first bad one ends the import no more is sent once that is known: of the
 * blocks behind it, those that were under way may be stored. Large blocks of a file are not read
 * here, but sent as they lie in it. Memory is bounded by the flight and one section.
 * Thread: one. */

#include "tools/millrace/flight.h"
#include "tools/millrace/known.h"
#include "tools/millrace/progress.h"

#include "base/cid.h"

#include <jansson.h>

#define IMPORT_CHUNK (256u << 10) /* a leaf of a plain file */

#define IMPORT_NAMES    (2 * FLIGHT_MAX)
#define IMPORT_NAME_MAX 256

/* What ends a flight from within: below every -errno. */
enum { IMPORT_HALT = -10001, IMPORT_NO_MORE = -10002, IMPORT_BROKEN = -10003 };

enum import_end {
    IMPORT_WENT_ON,  /* to the end, whatever was wrong on the way */
    IMPORT_STOPPED,  /* at the first wrong thing, as the caller wished */
    IMPORT_UNREAD,   /* a file could not be read: -errno in import->error */
    IMPORT_LOST,     /* the connection: a client's result in import->error */
    IMPORT_REFUSING, /* the daemon takes nothing more (full, read only): its code in error */
};

struct import_totals {
    uint64_t blocks, bytes; /* acknowledged by the daemon: they are on disk */
    uint64_t inlined;       /* identity CIDs: the CID is the block, nothing is sent */
    uint64_t known;         /* skipped: the daemon has them */
    uint64_t bad;           /* sections damaged or refused */
};

struct import {
    bool stop_on_error;      /* set by the caller, as the rest of this group */
    bool padded;             /* zeros behind the last section end an archive */
    bool verbose;            /* print every CID that was stored */
    bool quiet;              /* print no line per file (JSON) */
    const char *to;          /* the daemon */
    uint32_t block_max;      /* what the daemon takes */
    json_t *files;           /* NULL, or an array that gets an object per file */
    json_t *pins;            /* NULL, or an object that gets the roots to pin (import_roots.h) */
    struct mr_client *asker; /* a connection of its own: what of a directory is stored already */

    struct import_totals totals;
    uint64_t read_bytes; /* of all files, for the progress */
    int error;
    struct progress progress;
    struct flight flight;
    /* The file at hand. */
    char name[1024]; /* tamed */
    uint64_t file_blocks, file_bytes, file_bad, file_known;
    int fd;
    uint64_t file_end; /* bytes of a regular file; 0: it is none, or not to be sent from */
    uint64_t beyond;   /* bytes passed over behind what was read */
    uint32_t version;  /* of its CAR; 0: a plain file */
    json_t *roots, *bad;
    bool plain; /* not an archive */
    bool lost;  /* where its next section begins cannot be told */
    bool stop;
    char leaf[CID_TEXT_MAX]; /* of a plain file: its last leaf */
    uint8_t *section;        /* where split sections are put together */
    struct known *known;     /* NULL, or sections that wait to be asked for: a directory's */
    /* A directory of block files: who each block under way came from, by the tag of its request. */
    char (*names)[IMPORT_NAME_MAX];
};

/* import_begin makes it ready; `import` has the caller's wishes and zeros. Returns: 0 or -ENOMEM.
 */
must_check int import_begin(struct import *import, struct mr_client *client);
/* One file, "-" for stdin. Returns when all its blocks are answered. */
must_check enum import_end import_file(struct import *import, const char *name);
void import_end(struct import *import);

/* The same in parts, for what is no single file: begin, then blocks and what is wrong with them,
 * then end with 0 or what import_put gave (or -errno: it could not be read further). Tags: the
 * offset, or where `names` is set the place of the block's name in it. */
struct import_block {
    struct cid cid;
    const uint8_t *data;
    uint32_t bytes;
    uint64_t tag;
    uint64_t place; /* where it lies in the file at hand; 0: in `data` */
};
void import_input_begin(struct import *import, const char *name);
must_check int import_put(struct import *import, const struct import_block *block);
__attribute__((format(printf, 3, 4))) void
import_bad(struct import *import, const struct import_block *block, const char *format, ...);
must_check enum import_end import_input_end(struct import *import, int result);

/* Whether bytes look like the start of a CAR. */
bool import_is_car(const uint8_t *bytes, size_t count);
