/* SPDX-License-Identifier: MIT */
#include "store/archive.h"

#include "base/must.h"
#include "store/crc32c.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

/* The manifest of a backup, any bytes of it.
 *
 * First byte: whether checksums are made right, so that what stands behind them is reached. What
 * must hold: nothing is read outside, and no accepted entry leads out of the directory. */

#define MANIFEST_MAX (256u * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1 || size > MANIFEST_MAX) {
        return 0;
    }
    crc32c_open();
    struct archive archive = {.bytes = size - 1};
    archive.pages = malloc(archive.bytes ? archive.bytes : 1);
    must(archive.pages != NULL);
    memcpy(archive.pages, data + 1, archive.bytes);
    bool whole = archive.bytes >= 2 * PAGE_BYTES && archive.bytes % PAGE_BYTES == 0;
    if (whole && (data[0] & 1) && archive_bytes(archive_head(&archive)->count) <= archive.bytes) {
        archive_seal(&archive);
    }
    if (archive_check(&archive) == 0) {
        const struct archive_entry *entries = archive_entries(&archive);
        for (uint32_t i = 0; i < archive_head(&archive)->count; i++) {
            char path[ARCHIVE_PATH_MAX];
            archive_path("/srv", &entries[i], path);
            bool segment = strncmp(path, "/srv/segments/", 14) == 0;
            const char *name = path + (segment ? 14 : 11);
            must(segment || strncmp(path, "/srv/files/", 11) == 0);
            must(strchr(name, '/') == NULL && name[0] != '.');
            must(archive_find(&archive, &entries[i]) != NULL);
        }
    }
    free(archive.pages);
    return 0;
}
