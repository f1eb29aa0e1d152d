/* SPDX-License-Identifier: MIT */

/* floor_want (F7) — what answering a want must cost however it is written: read the request's
 * bytes, hash the key, load one bucket, prove the frame by comparing the key, write the reply.
 *
 *   request bytes -> hash, prefetch bucket | bucket -> prefetch frame | frame == key -> memcpy out
 *        (groups of 16: each step runs over the whole group, so its misses overlap)
 *
 * The table has as many entries as the product's catalog, 16 bytes each in 64-byte buckets, and is
 * as full; frames hold key and body side by side. There is no parser, no class, no policy, no
 * lease, no retry: bench_pipeline does the same wants with the product, and its rate is divided by
 * this one. The bytes are those of TLV GET and VALUE, written out here by hand. */

#include "perf/kit.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define GROUP        16u
#define MULTIHASH    34u                 /* sha2-256: two bytes of prefix, 32 of digest */
#define REQUEST      (2 + 8 + MULTIHASH) /* type, length, common 8 bytes, multihash */
#define REPLY_HEAD   22u                 /* type, length, id, codec, total, offset, body length */
#define BUCKET_SLOTS 4u
#define SEED         UINT64_C(0x6d696c6c72616365)
#define WANTS        65536u /* request frames made once and walked again and again */

struct entry {
    uint64_t hash; /* 0: empty */
    uint64_t place;
};
struct bucket {
    alignas(CACHE_LINE) struct entry entries[BUCKET_SLOTS];
};
struct bytes {
    uint8_t *frames;
    size_t stride; /* of one frame: key, padding, body */
    struct bucket *buckets;
    uint64_t bucket_count;
    uint8_t *requests;
    uint8_t *out;
};

static uint64_t keys = 1000000, batch = 16, body_bytes = 64, millis = 1000, quick;

static void digest_of(uint64_t number, uint8_t out[32]) {
    struct kit_random random = {.state = number * 2 + 1};
    for (uint32_t i = 0; i < 4; i++) {
        uint64_t word = kit_random(&random);
        memcpy(out + 8 * i, &word, sizeof word);
    }
}

static uint64_t hash_of(const uint8_t *multihash) {
    return XXH3_64bits_withSeed(multihash, MULTIHASH, SEED) | 1;
}

static uint64_t bucket_of(const struct bytes *bytes, uint64_t hash) {
    return (uint64_t)(((unsigned __int128)hash * bytes->bucket_count) >> 64);
}

static void fill(struct bytes *bytes) {
    for (uint64_t i = 0; i < keys; i++) {
        uint8_t *frame = bytes->frames + i * bytes->stride;
        frame[0] = 0x12;
        frame[1] = 32;
        digest_of(i, frame + 2);
        memset(frame + CACHE_LINE, (int)i, body_bytes);
        uint64_t hash = hash_of(frame);
        uint64_t at = bucket_of(bytes, hash);
        for (uint32_t slot = 0;; slot++) { /* the next bucket takes what does not fit: rare */
            if (slot == BUCKET_SLOTS) {
                slot = 0;
                at = at + 1 == bytes->bucket_count ? 0 : at + 1;
            }
            struct entry *entry = &bytes->buckets[at].entries[slot];
            if (entry->hash == 0) {
                *entry = (struct entry){.hash = hash, .place = i};
                break;
            }
        }
    }
    struct kit_random random = {.state = 42};
    for (uint64_t i = 0; i < WANTS; i++) {
        uint8_t *request = bytes->requests + i * REQUEST;
        memset(request, 0, REQUEST);
        request[0] = 0x20;
        request[1] = REQUEST - 2;
        request[10] = 0x12;
        request[11] = 32;
        digest_of(kit_below(&random, keys), request + 12);
    }
}

/* Answers one group. Returns: bytes written. */
static size_t answer(const struct bytes *bytes, const uint8_t *requests, uint32_t count,
                     uint8_t *out) {
    uint64_t hash[GROUP], at[GROUP];
    const uint8_t *frame[GROUP];
    for (uint32_t i = 0; i < count; i++) {
        hash[i] = hash_of(requests + i * REQUEST + 10);
        at[i] = bucket_of(bytes, hash[i]);
        __builtin_prefetch(&bytes->buckets[at[i]]);
    }
    for (uint32_t i = 0; i < count; i++) {
        frame[i] = NULL;
        while (!frame[i]) {
            for (uint32_t slot = 0; slot < BUCKET_SLOTS; slot++) {
                const struct entry *entry = &bytes->buckets[at[i]].entries[slot];
                if (entry->hash == hash[i]) {
                    frame[i] = bytes->frames + entry->place * bytes->stride;
                    __builtin_prefetch(frame[i]);
                    __builtin_prefetch(frame[i] + CACHE_LINE);
                }
            }
            at[i] = at[i] + 1 == bytes->bucket_count ? 0 : at[i] + 1;
        }
    }
    size_t used = 0;
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *request = requests + i * REQUEST;
        if (memcmp(frame[i], request + 10, MULTIHASH) != 0) {
            kit_fail("a frame is not the one that was asked for");
        }
        uint32_t length = htobe32((uint32_t)body_bytes);
        out[used] = 0x40;
        out[used + 1] = REPLY_HEAD - 2;
        memcpy(out + used + 2, request + 2, 4);
        memset(out + used + 6, 0, 12);
        memcpy(out + used + 18, &length, 4);
        memcpy(out + used + REPLY_HEAD, frame[i] + CACHE_LINE, body_bytes);
        used += REPLY_HEAD + body_bytes;
    }
    return used;
}

int main(int argc, char **argv) {
    const struct kit_option options[] = {
        {"--keys", &keys, "entries in the table"},
        {"--batch", &batch, "wants answered into one buffer"},
        {"--size", &body_bytes, "bytes of a body"},
        {"--millis", &millis, "how long to run"},
        {"--quick", &quick, "small and short, to see that it works"},
    };
    kit_options(argc, argv, options, array_count(options));
    keys = quick ? 10000 : keys;
    millis = quick ? 50 : millis;
    if (keys == 0 || batch == 0 || batch > 1024 || body_bytes > MiB) {
        kit_skip("--keys from 1, --batch 1..1024, --size to 1 MiB");
    }
    kit_pin(0);
    struct bytes bytes = {.stride = CACHE_LINE + ((body_bytes + 63) & ~UINT64_C(63)),
                          .bucket_count = (uint64_t)((double)keys / BUCKET_SLOTS / 0.85) + 1};
    bytes.frames = kit_map(keys * bytes.stride);
    bytes.buckets = kit_map(bytes.bucket_count * sizeof(struct bucket));
    bytes.requests = kit_map((size_t)WANTS * REQUEST);
    bytes.out = kit_map(batch * (REPLY_HEAD + body_bytes));
    fill(&bytes);

    uint64_t wants = 0, at = 0, written = 0;
    uint64_t start = kit_ns(), now = start, end = start + millis * NS_PER_MS;
    while (now < end) {
        for (uint32_t round = 0; round < 64; round++) {
            at = at + batch > WANTS ? 0 : at;
            size_t used = 0;
            for (uint64_t done = 0; done < batch; done += GROUP) {
                uint32_t count = (uint32_t)(batch - done < GROUP ? batch - done : GROUP);
                used +=
                    answer(&bytes, bytes.requests + (at + done) * REQUEST, count, bytes.out + used);
            }
            kit_keep(bytes.out);
            at += batch;
            wants += batch;
            written += used;
        }
        now = kit_ns();
    }
    kit_begin("floor_want");
    kit_number("keys", (double)keys, "entries");
    kit_number("batch", (double)batch, "wants");
    kit_number("ns_per_want", (double)(now - start) / (double)wants, "ns");
    kit_number("rate", (double)wants / (double)(now - start) * 1e9, "wants/s");
    kit_number("bytes_per_want", (double)written / (double)wants, "bytes");
    kit_end();
    return 0;
}
