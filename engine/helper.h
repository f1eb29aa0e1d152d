/* SPDX-License-Identifier: MIT */
#pragma once

/* helper — the unpinned thread beside the cores: everything that may block.
 *
 * It makes spare segments and seals full ones (store_housekeep), answers LIST (which reads record
 * headers from disk) and STAT (which builds JSON). Net tiles push it single jobs over one ring; it
 * sends them home as chains, like a work tile. It has a ring of its own for bells only.
 *
 * Thread: its own, not sealed: it may use the general heap. */

#include "base/base.h"
#include "engine/core.h"
#include "engine/mesh.h"

#define HELPER_PINS  32u /* pins under way for connections; more are told BUSY */
#define HELPER_PAGES 64u

/* What LIST and STAT bring home: a page of the helper's own pool. */
struct helper_page {
    _Atomic uint32_t
        taken;       /* helper: 0 -> 1 (acquire); net tile: 1 -> 0 when written out (release) */
    uint32_t count;  /* LIST: items */
    uint32_t bytes;  /* of body */
    uint64_t cursor; /* LIST: where the next page begins */
    uint8_t body[128 * 1024];
};

struct helper;

must_check int helper_open(struct core *core, struct helper **ret_helper);
void helper_close(struct helper *helper);
/* The thread's whole life. */
void helper_run(struct core *core);
/* The net tile has written the page out. Thread: any tile. */
void helper_page_done(struct helper_page *page);
