/* SPDX-License-Identifier: MIT */
#pragma once

/* standing — where the scrub stands, so that a start goes on with its cycles: DIR/SCRUB, one page.
 *
 * It is a hint: without it, or where it does not verify, the cycles begin anew. It is replaced
 * whole (SCRUB.new, then renamed). Thread: boot, then the porter. */

#include "base/base.h"
#include "store/tier.h"

#define STANDING_MAGIC 0x42524353u /* "SCRB" */
#define STANDING_KINDS 2u          /* by enum tier_kind */

/* A cycle over the tiers of one kind. */
struct standing_lane {
    uint64_t elapsed_ns; /* of the cycle; a daemon that is down does not count */
    uint64_t bytes;      /* looked at in it */
    uint64_t ended_us;   /* wall clock, when the last one was through, for people; 0: never */
    uint32_t id;         /* the last segment that was looked through; 0: none */
    uint32_t zero;
};
static_assert(sizeof(struct standing_lane) == 32, "format");

/* The page; its CRC is its last word. */
struct standing {
    uint32_t magic;
    uint16_t version;
    uint16_t zero;
    uint8_t store_uuid[16];
    struct standing_lane lanes[STANDING_KINDS];
};
static_assert(sizeof(struct standing) == 88, "format");
static_assert(offsetof(struct standing, lanes) == 24, "format");

struct store;

/* page: PAGE_BYTES. Returns: 0 or FORMAT_BAD. */
must_check int standing_check(const void *page, const uint8_t store_uuid[16]);
/* page: PAGE_BYTES, aligned scratch. What cannot be read is a beginning. */
void standing_read(const struct store *store, void *page,
                   struct standing_lane lanes[STANDING_KINDS]);
/* Returns: 0 or -errno; then what was there before is there still. Blocks: a sync. */
must_check int standing_write(const struct store *store, void *page,
                              const struct standing_lane lanes[STANDING_KINDS]);
