/* SPDX-License-Identifier: MIT */
#pragma once

/* mesh — every ring between tiles, by who writes and who reads: the picture of docs/concurrency.md
 * as data.
 *
 *   net n ──batches──► class ring c (4, many to many) ──► sched
 *   sched ──empty containers──► net n                          (batch_home[n])
 *   sched ──orders──► work w                                   (inbox[w])
 *   work w ──empty containers──► sched                         (order_home[w])
 *   work w ──chains of finished jobs──► net n                  (done[w][n])
 *   sched ──chains of jobs shed or expired──► net n            (shed[n])
 *   net n ──chains of notes, and home again──► net m           (notes[n][m], notes_home[n][m])
 *   control ──requests about peers and fetches──► net n        (desk[n]; answers by a word in them)
 *   net n ──jobs──► helper ──chains──► net n                   (helper_in, helper_done[n])
 *
 * Each is as large as everything that could ever be in it at once, but for the class rings and
 * helper_in, whose fullness is an answer (the net tile keeps what it could not push).
 * Indices are core indices; entries of cores without that tile are NULL. Thread: boot makes it. */

#include "base/mem.h"
#include "engine/layout.h"
#include "rings/batch.h"
#include "rings/ring.h"

#define MESH_NET_BATCHES   256u /* containers a net tile owns */
#define MESH_ORDER_BATCHES 64u  /* containers the scheduler owns per work tile */
#define MESH_CLASS_RING    1024u
#define MESH_HELPER_RING   1024u
#define MESH_NOTES         63u  /* chains of notes, of one turn each */
#define MESH_DESK          128u /* requests control may have out */

struct mesh {
    struct mem_region region;
    struct ring *class_rings[CLASS_COUNT];
    struct ring *batch_home[LAYOUT_CORES_MAX];
    struct ring *inbox[LAYOUT_CORES_MAX];
    struct ring *order_home[LAYOUT_CORES_MAX];
    struct ring *done[LAYOUT_CORES_MAX][LAYOUT_CORES_MAX]; /* [work][net] */
    struct ring *shed[LAYOUT_CORES_MAX];
    struct ring *helper_in;
    struct ring *helper_done[LAYOUT_CORES_MAX];
    struct ring *desk[LAYOUT_CORES_MAX]; /* requests about peers (swarm/desk.h) */
    struct ring *notes[LAYOUT_CORES_MAX][LAYOUT_CORES_MAX];      /* [net][net] swarm/far.h */
    struct ring *notes_home[LAYOUT_CORES_MAX][LAYOUT_CORES_MAX]; /* [net][net] read, going back */
    uint32_t sched_core;
    uint32_t helper_core;
    uint32_t core_count; /* without the helper */
};

/* jobs_max: of one net tile. Returns: 0 or -ENOMEM. Thread: boot. */
must_check int mesh_open(struct mesh *mesh, const struct layout *layout, uint32_t jobs_max);
void mesh_close(struct mesh *mesh);
