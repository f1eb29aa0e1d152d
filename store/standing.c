/* SPDX-License-Identifier: MIT */
#include "store/standing.h"

#include "store/inside.h"
#include "store/page_file.h"

#include <string.h>

/* A lane that has just come to its end stands behind the last segment there can be. */
static bool lanes_possible(const struct standing *standing) {
    bool possible = true;
    for (uint32_t kind = 0; kind < STANDING_KINDS; kind++) {
        possible = possible && standing->lanes[kind].id <= SEGMENT_IDS;
    }
    return possible;
}

int standing_check(const void *page, const uint8_t store_uuid[16]) {
    const struct standing *standing = page;
    return standing->magic == STANDING_MAGIC && standing->version == FORMAT_MAJOR &&
                   memcmp(standing->store_uuid, store_uuid, 16) == 0 && page_sound(page, 0) &&
                   lanes_possible(standing)
               ? 0
               : FORMAT_BAD;
}

void standing_read(const struct store *store, void *page,
                   struct standing_lane lanes[STANDING_KINDS]) {
    memset(lanes, 0, STANDING_KINDS * sizeof *lanes);
    if (page_file_read(&store->config.disk, store->dir, "/SCRUB", page) == 0 &&
        standing_check(page, store->super.slot.uuid) == 0) {
        memcpy(lanes, ((const struct standing *)page)->lanes, STANDING_KINDS * sizeof *lanes);
    }
}

int standing_write(const struct store *store, void *page,
                   const struct standing_lane lanes[STANDING_KINDS]) {
    memset(page, 0, PAGE_BYTES);
    struct standing *standing = page;
    *standing = (struct standing){.magic = STANDING_MAGIC, .version = FORMAT_MAJOR};
    memcpy(standing->store_uuid, store->super.slot.uuid, 16);
    memcpy(standing->lanes, lanes, STANDING_KINDS * sizeof *lanes);
    page_seal(page, 0);
    return page_file_write(&store->config.disk, store->dir, "/SCRUB", page);
}
