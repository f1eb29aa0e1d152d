/* SPDX-License-Identifier: MIT */
#include "store/super.h"

#include "base/bits.h"
#include "base/clock.h"
#include "base/err.h"
#include "store/crc32c.h"
#include "store/text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

static void path_of(const struct store_config *config, const char *name,
                    char path[SUPER_PATH_MAX]) {
    struct text text = {path, SUPER_PATH_MAX, 0};
    text_add(&text, config->dir);
    text_add(&text, name);
}

static_assert(sizeof(struct super_slot) == SUPER_TIERS_OFFSET, "the tiers stand behind the slot");

static void slot_seal(const struct super *super, void *page) {
    memset(page, 0, PAGE_BYTES);
    memcpy(page, &super->slot, sizeof super->slot);
    memcpy((uint8_t *)page + SUPER_TIERS_OFFSET, &super->tiers, sizeof super->tiers);
    memcpy((uint8_t *)page + SUPER_END_OFFSET, &super->end, sizeof super->end);
    page_seal(page, 0);
}

/* Takes the list of tiers, as far as it makes sense. */
static void tiers_take_list(struct super *super, const void *page) {
    memcpy(&super->tiers, (const uint8_t *)page + SUPER_TIERS_OFFSET, sizeof super->tiers);
    super->tiers_listed =
        super->tiers.magic == SUPER_TIERS_MAGIC && super->tiers.count <= SUPER_TIERS_MAX;
    if (!super->tiers_listed) {
        super->tiers = (struct super_tiers){.magic = SUPER_TIERS_MAGIC};
    }
    for (uint32_t i = 0; i < super->tiers.count; i++) {
        super->tiers.tiers[i].path[SUPER_TIER_PATH - 1] = 0;
    }
}

static bool slot_sound(const void *page) {
    const struct super_slot *slot = page;
    return slot->magic == SUPER_MAGIC && page_sound(page, 0);
}

static int refuse(const struct super_scratch *scratch, const char *words) {
    struct text text = {scratch->why, scratch->why_bytes, 0};
    text_add(&text, words);
    return STORE_FORMAT;
}

static int slot_judge(const struct store_config *config, const struct super_slot *slot,
                      const struct super_scratch *scratch) {
    if (slot->major != FORMAT_MAJOR) {
        return refuse(scratch, slot->major > FORMAT_MAJOR
                                   ? "the store was written by a newer version of Millrace"
                                   : "the store's format is too old to read");
    }
    if ((slot->incompat & ~SUPER_INCOMPAT_KNOWN) != 0) {
        return refuse(scratch, "the store uses a feature that this version does not have");
    }
    if ((slot->ro_compat & ~SUPER_RO_COMPAT_KNOWN) != 0 && !config->read_only) {
        return refuse(scratch,
                      "the store uses a feature that this version can only read: open read-only");
    }
    if (slot->shards != STORE_SHARDS || !is_power_of_two(slot->segment_bytes) ||
        slot->segment_bytes < STORE_SEGMENT_BYTES_MIN ||
        slot->segment_bytes > STORE_SEGMENT_BYTES_MAX) {
        return refuse(scratch, "SUPER says what no store can be");
    }
    if (config->segment_bytes != 0 && config->segment_bytes != slot->segment_bytes) {
        return refuse(scratch, "the segment size was fixed when the store was formatted, and is "
                               "another; leave it out");
    }
    return 0;
}

int super_read(struct super *super, const struct store_config *config,
               const struct super_scratch *scratch, bool *ret_absent) {
    const struct disk *disk = &config->disk;
    char path[SUPER_PATH_MAX];
    path_of(config, "/SUPER", path);
    int flags = (config->read_only ? O_RDONLY : O_RDWR) | O_DIRECT;
    int fd = disk->calls->open_file(disk->backend, path, flags, 0);
    *ret_absent = fd == -ENOENT;
    if (fd == -ENOENT) {
        return refuse(scratch, "no SUPER in the directory: not a store");
    }
    if (fd < 0) {
        return fd;
    }
    struct super found = {.fd = fd};
    bool any = false;
    for (uint32_t i = 0; i < 2; i++) {
        int64_t n = disk->calls->pread(disk->backend, fd, scratch->page, PAGE_BYTES,
                                       (uint64_t)i * PAGE_BYTES);
        const struct super_slot *slot = scratch->page;
        if (n == PAGE_BYTES && slot_sound(slot) && (!any || slot->sequence > found.slot.sequence)) {
            found.slot = *slot;
            found.minor_before = slot->minor;
            tiers_take_list(&found, scratch->page);
            memcpy(&found.end, (const uint8_t *)scratch->page + SUPER_END_OFFSET, sizeof found.end);
            found.next = 1 - i;
            any = true;
        }
    }
    int r = any ? slot_judge(config, &found.slot, scratch)
                : refuse(scratch, "both slots of SUPER are damaged");
    if (r != 0) {
        (void)disk->calls->close_file(disk->backend, fd);
        return r;
    }
    *super = found;
    return 0;
}

int super_write(struct super *super, const struct disk *disk, void *page) {
    super->slot.sequence++;
    slot_seal(super, page);
    int64_t n = disk->calls->pwrite(disk->backend, super->fd, page, PAGE_BYTES,
                                    (uint64_t)super->next * PAGE_BYTES);
    int r = n == PAGE_BYTES ? 0 : n < 0 ? (int)n : err_raise(-EIO);
    r = r == 0 ? disk->calls->sync_file(disk->backend, super->fd) : r;
    /* after a failure the other slot is the sound one: the next try is for this one again */
    super->next = r == 0 ? 1 - super->next : super->next;
    return r;
}

#define IDS_STEP 1024u

int super_allow_ids(struct super *super, const struct disk *disk, void *page, uint32_t top) {
    uint32_t before = super->tiers.ids_top;
    if (top <= before) {
        return 0;
    }
    super->tiers.ids_top = (uint32_t)min_u64(round_up(top, IDS_STEP), SEGMENT_IDS);
    int r = super_write(super, disk, page);
    if (r != 0) {
        super->tiers.ids_top = before; /* it may stand there all the same: that does no harm */
    }
    return r;
}

static int write_slots(const struct disk *disk, int fd, const struct super_slot *slot, void *page) {
    struct super super = {.slot = *slot,
                          .tiers = {.magic = SUPER_TIERS_MAGIC, .ids_top = IDS_STEP}};
    for (uint32_t i = 0; i < 2; i++) {
        super.slot.sequence = i + 1;
        slot_seal(&super, page);
        int64_t n =
            disk->calls->pwrite(disk->backend, fd, page, PAGE_BYTES, (uint64_t)i * PAGE_BYTES);
        if (n != PAGE_BYTES) {
            return n < 0 ? (int)n : err_raise(-EIO);
        }
    }
    return disk->calls->sync_file(disk->backend, fd);
}

int super_entropy(const struct disk *disk, void *bytes, size_t count) {
    return disk->calls->entropy ? disk->calls->entropy(disk->backend, bytes, count)
                                : disk_sync_calls.entropy(NULL, bytes, count);
}

int super_format(const struct store_config *config, uint64_t segment_bytes, void *page) {
    const struct disk *disk = &config->disk;
    char from[SUPER_PATH_MAX], to[SUPER_PATH_MAX];
    path_of(config, "/SUPER.new", from);
    path_of(config, "/SUPER", to);
    struct super_slot slot = {.magic = SUPER_MAGIC,
                              .major = FORMAT_MAJOR,
                              .minor = FORMAT_MINOR,
                              .segment_bytes = segment_bytes,
                              .created_us = clock_wall_us(),
                              .clean = 1,
                              .shards = STORE_SHARDS};
    int r = super_entropy(disk, slot.uuid, sizeof slot.uuid);
    r = r == 0 ? super_entropy(disk, &slot.hash_seed, sizeof slot.hash_seed) : r;
    if (r != 0) {
        return r;
    }
    int fd =
        disk->calls->open_file(disk->backend, from, O_RDWR | O_CREAT | O_TRUNC | O_DIRECT, 0640);
    if (fd < 0) {
        return fd;
    }
    r = write_slots(disk, fd, &slot, page);
    (void)disk->calls->close_file(disk->backend, fd);
    r = r == 0 ? disk->calls->sync_dir(disk->backend, config->dir) : r;
    r = r == 0 ? disk->calls->rename_file(disk->backend, from, to) : r;
    return r == 0 ? disk->calls->sync_dir(disk->backend, config->dir) : r;
}
