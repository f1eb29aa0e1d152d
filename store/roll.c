/* SPDX-License-Identifier: MIT */
#include "store/roll.h"

#include "base/bits.h"
#include "base/err.h"
#include "base/must.h"
#include "store/vm.h"

#include <errno.h>

void roll_begin(struct roll *roll, const struct segment *segment) {
    must(roll_state(roll) == ROLL_FREE);
    roll->segment = segment->id;
    roll->generation = segment->generation;
    roll->count = 0;
    roll->over = false;
    roll->first_lsn = 0;
    roll->last_lsn = 0;
    roll->durable_lsn = 0;
    atomic_store_explicit(&roll->state, ROLL_FILLING, memory_order_relaxed); /* still the log's */
}

void roll_batch(struct roll *roll, const struct batch_header *head) {
    roll->first_lsn = roll->first_lsn ? roll->first_lsn : head->first_lsn;
    roll->last_lsn = max_u64(roll->last_lsn, head->last_lsn);
    roll->durable_lsn = max_u64(roll->durable_lsn, head->durable_lsn);
}

void roll_record(struct roll *roll, const struct record_header *record, uint64_t offset,
                 uint64_t hash_seed) {
    if (roll->over || roll->count == roll->max) {
        roll->over = true;
        return;
    }
    roll->count += scan_name(record, offset, hash_seed, &roll->entries[roll->count]);
}

void roll_leave(struct roll *roll, bool doubted) {
    must(roll_state(roll) == ROLL_FILLING);
    if (doubted || roll->over) {
        roll_free(roll);
        return;
    }
    atomic_store_explicit(&roll->state, ROLL_LEFT, memory_order_release);
}

int roll_scan(const struct roll *roll, struct scan *ret_scan) {
    *ret_scan = (struct scan){.batches_max = 1,
                              .batch_count = 1,
                              .entries_max = roll->count + 1u, /* of nothing there is no map */
                              .entry_count = roll->count};
    ret_scan->batches = vm_map(ret_scan->batches_max * sizeof *ret_scan->batches);
    ret_scan->entries = vm_map(ret_scan->entries_max * sizeof *ret_scan->entries);
    if (!ret_scan->batches || !ret_scan->entries) {
        scan_close(ret_scan);
        return err_raise(-ENOMEM);
    }
    ret_scan->batches[0] = (struct scan_batch){.head = {.first_lsn = roll->first_lsn,
                                                        .last_lsn = roll->last_lsn,
                                                        .durable_lsn = roll->durable_lsn},
                                               .whole = true,
                                               .accepted = true};
    for (uint32_t i = 0; i < roll->count; i++) {
        ret_scan->entries[i] = (struct scan_entry){.entry = roll->entries[i], .accepted = true};
    }
    return 0;
}

void roll_free(struct roll *roll) {
    vm_drop(roll->entries, round_up(roll->count * sizeof *roll->entries, PAGE_BYTES));
    atomic_store_explicit(&roll->state, ROLL_FREE, memory_order_release);
}
