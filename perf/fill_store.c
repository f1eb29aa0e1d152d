/* SPDX-License-Identifier: MIT */

/* fill_store — a store of many blocks, left on the disk: what G19 starts daemons on.
 *
 * It is made in a new directory of TMPDIR (or /var/tmp), whose name is printed. Block i is `--size`
 * bytes of i's lowest byte, the first eight of which are i, little-endian. */

#include "perf/kit.h"
#include "perf/shelf.h"

#include <stdlib.h>

static uint64_t keys = 10000000, bytes = 64, quick;

int main(int argc, char **argv) {
    const struct kit_option options[] = {
        {"--keys", &keys, "blocks"},
        {"--size", &bytes, "bytes of a block, from 8"},
        {"--quick", &quick, "few, to see that it works; nothing is left"},
    };
    kit_options(argc, argv, options, array_count(options));
    keys = quick ? 2000 : keys;
    if (keys < 1 || keys > UINT32_MAX || bytes < 8 || bytes > STORE_BLOCK_MAX) {
        kit_skip("--keys 1..2^32-1, --size 8..2 MiB");
    }
    const char *parent = getenv("TMPDIR");
    const struct shelf_config config = {.dir = parent ? parent : "/var/tmp",
                                        .blocks = keys,
                                        .bytes = (uint32_t)bytes,
                                        .memory_bytes = MiB,
                                        .segment_bytes = quick ? STORE_SEGMENT_BYTES_MIN : 0,
                                        .keep = !quick};
    struct shelf *shelf = shelf_open(&config);
    kit_begin("fill_store");
    kit_text("dir", shelf_dir(shelf));
    kit_number("keys", (double)keys, "blocks");
    kit_number("fill_rate", (double)keys / shelf_fill_seconds(shelf), "puts/s, durable");
    kit_end();
    shelf_close(shelf);
    return 0;
}
