/* SPDX-License-Identifier: MIT */

/* floor_ingest — F8: what taking in a block cannot cost less than: its SHA-256, and one copy of it
 * into memory that is used in turn. No product code. */

#include "perf/kit.h"

#include <openssl/sha.h>
#include <string.h>

#define SLAB_BYTES (64 * MiB) /* past every cache, as batches on their way to a disk are */

static uint64_t bytes = 256 * KiB, blocks = 900, sources = 32, quick;

int main(int argc, char **argv) {
    const struct kit_option options[] = {
        {"--size", &bytes, "bytes of a block"},
        {"--blocks", &blocks, "how many"},
        {"--sources", &sources, "buffers they come from in turn"},
        {"--quick", &quick, "few, to see that it works"},
    };
    kit_options(argc, argv, options, array_count(options));
    blocks = quick ? 32 : blocks;
    if (bytes < 8 || bytes > SLAB_BYTES || sources < 1) {
        kit_skip("--size 8..64 MiB, --sources from 1");
    }
    kit_pin(0);
    uint8_t *slab = kit_map(SLAB_BYTES);
    uint8_t *from = kit_map(sources * bytes);
    struct kit_random random = {.state = 1};
    for (uint64_t i = 0; i < sources * bytes / 8; i++) {
        uint64_t word = kit_random(&random);
        memcpy(from + i * 8, &word, 8);
    }
    uint64_t start = kit_ns(), cpu = kit_cpu_ns(), at = 0;
    for (uint64_t i = 0; i < blocks; i++) {
        uint8_t digest[SHA256_DIGEST_LENGTH];
        uint8_t *body = from + i % sources * bytes;
        memcpy(body, &i, sizeof i);
        SHA256(body, bytes, digest);
        kit_keep(digest);
        at = at + bytes > SLAB_BYTES ? 0 : at;
        memcpy(slab + at, body, bytes);
        kit_keep(slab + at);
        at += bytes;
    }
    double total = (double)blocks * (double)bytes;
    kit_begin("floor_ingest");
    kit_number("rate", (double)blocks * 1e9 / (double)(kit_ns() - start), "blocks/s");
    kit_number("cpu_ns_per_byte", (double)(kit_cpu_ns() - cpu) / total, "ns");
    kit_end();
    return 0;
}
