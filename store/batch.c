/* SPDX-License-Identifier: MIT */
#include "base/bits.h"
#include "base/must.h"
#include "store/inside.h"

#include <xxhash.h>

/* The bytes of a batch: records are laid down as operations come, all but what depends on where
 * the batch will lie. That is stamped when it is written, and stamped again where a failed write
 * sends it elsewhere: same LSNs, other offsets. */

static enum record_type type_of(const struct store_op *op) {
    switch ((enum store_op_kind)op->kind) {
    case STORE_PUT:
        return RECORD_BLOCK;
    case STORE_DELETE:
    case STORE_SWEEP:
        return RECORD_TOMBSTONE;
    case STORE_PIN:
        return RECORD_PIN;
    case STORE_UNPIN:
        return RECORD_UNPIN;
    case STORE_COMMIT:
        return RECORD_COMMIT;
    case STORE_READ:
    case STORE_VERIFY:
        break;
    }
    never("an operation that writes nothing");
}

static uint32_t payload_bytes(const struct store_op *op) {
    return op->kind == STORE_PUT || op->kind == STORE_PIN || op->kind == STORE_COMMIT ? op->bytes
                                                                                      : 0;
}

/* A commit record has no key. */
static size_t multihash_write(const struct store_op *op, uint8_t *out) {
    return op->kind == STORE_COMMIT ? 0 : key_write(&op->key, out);
}

uint32_t batch_record_bytes(const struct store_op *op) {
    uint8_t multihash[KEY_MULTIHASH_MAX];
    uint32_t header = record_header_bytes((uint32_t)multihash_write(op, multihash));
    return record_span(header, payload_bytes(op));
}

void batch_reset(struct log_batch *batch) {
    batch->ops = (struct op_list){NULL, NULL};
    batch->used = BATCH_RECORD;
    batch->records = 0;
    batch->puts = 0;
    batch->undecided = 0;
    batch->first_ns = 0;
    batch->first_lsn = 0;
    batch->last_lsn = 0;
    batch->segment = NULL;
}

void batch_add(struct log_batch *batch, struct store_op *op) {
    uint8_t *at = batch->buffer + batch->used;
    uint32_t bytes = payload_bytes(op);
    bool atomic = op->bundle && op->bundle->atomic;
    memset(at, 0, RECORD_HEADER_MAX);
    struct record_header *header = (struct record_header *)(void *)at;
    size_t multihash = multihash_write(op, at + RECORD_FIXED);
    *header = (struct record_header){
        .magic = RECORD_MAGIC,
        .type = (uint8_t)type_of(op),
        .header_bytes = (uint16_t)record_header_bytes((uint32_t)multihash),
        .stored_bytes = bytes,
        .logical_bytes = bytes,
        .txn = atomic ? op->bundle->txn : 0,
        .codec = op->codec,
        .multihash_bytes = (uint16_t)multihash,
        .version = 1,
        .payload_xxh3 = bytes > 0 ? XXH3_64bits(op->data, bytes) : XXH3_64bits("", 0),
    };
    uint32_t span = record_span(header->header_bytes, header->stored_bytes);
    uint32_t end = header->header_bytes + header->stored_bytes;
    if (bytes > 0) {
        memcpy(at + header->header_bytes, op->data, bytes);
    }
    memset(at + end, 0, span - end);
    op_state(op)->record_offset = batch->used;
    batch->used += span;
    batch->records++;
    batch->puts += op->kind == STORE_PUT;
    batch->undecided += atomic && op->kind == STORE_PUT;
    op_list_push(&batch->ops, op);
}

static void stamp_records(struct log_batch *batch, const struct batch_stamp *stamp,
                          struct batch_header *head) {
    uint64_t lsn = batch->first_lsn;
    uint32_t at = BATCH_RECORD;
    for (uint32_t i = 0; i < batch->records; i++) {
        struct record_header *header = (struct record_header *)(void *)(batch->buffer + at);
        header->lsn = ++lsn;
        if ((header->flags & RECORD_MOVED_IN) == 0) {
            header->birth_lsn = lsn;
        }
        header->generation = stamp->segment->generation;
        header->crc = format_record_crc(stamp->segment->crc_base, stamp->offset + at, header);
        head->headers_xxh3 = XXH3_64bits_withSeed(header, header->header_bytes, head->headers_xxh3);
        at += record_span(header->header_bytes, header->stored_bytes);
    }
    must(at == batch->used && lsn == batch->last_lsn);
}

void batch_stamp(struct log_batch *batch, const struct batch_stamp *stamp) {
    uint32_t bytes = (uint32_t)round_up(batch->used, PAGE_BYTES);
    memset(batch->buffer + batch->used, 0, bytes - batch->used);
    struct record_header *header = (struct record_header *)(void *)batch->buffer;
    struct batch_header *head = (struct batch_header *)(void *)(batch->buffer + RECORD_FIXED);
    *head = (struct batch_header){.first_lsn = batch->first_lsn,
                                  .last_lsn = batch->last_lsn,
                                  .durable_lsn = stamp->durable_lsn,
                                  .previous_generation = stamp->previous_generation,
                                  .records = batch->records,
                                  .batch_bytes = bytes,
                                  .log = stamp->log};
    stamp_records(batch, stamp, head);
    *header = (struct record_header){.magic = RECORD_MAGIC,
                                     .type = RECORD_BATCH,
                                     .header_bytes = RECORD_FIXED,
                                     .stored_bytes = sizeof *head,
                                     .logical_bytes = sizeof *head,
                                     .lsn = batch->first_lsn,
                                     .birth_lsn = batch->first_lsn,
                                     .generation = stamp->segment->generation,
                                     .version = 1,
                                     .payload_xxh3 = XXH3_64bits(head, sizeof *head)};
    header->crc = format_record_crc(stamp->segment->crc_base, stamp->offset, header);
    batch->durable_lsn = stamp->durable_lsn;
}
