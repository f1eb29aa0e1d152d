/* SPDX-License-Identifier: MIT */
#include "store/judge.h"

#include "store/format.h"

#include <stdlib.h>

static int compare(const void *left, const void *right) {
    const struct judge_item *a = left, *b = right;
    uint32_t epoch_a = lsn_epoch(a->first_lsn), epoch_b = lsn_epoch(b->first_lsn);
    if (epoch_a != epoch_b) {
        return epoch_a < epoch_b ? -1 : 1;
    }
    if (a->log != b->log) {
        return a->log < b->log ? -1 : 1;
    }
    if (a->first_lsn != b->first_lsn) {
        return a->first_lsn < b->first_lsn ? -1 : 1;
    }
    return (int)b->sound - (int)a->sound; /* of two copies the sound one first */
}

static bool same_log(const struct judge_item *a, const struct judge_item *b) {
    return a->log == b->log && lsn_epoch(a->first_lsn) == lsn_epoch(b->first_lsn);
}

static void note_gap(struct judge_verdict *verdict, const struct judge_item *after,
                     uint64_t first_lsn) {
    if (verdict->gap_count < verdict->gaps_max) {
        verdict->gaps[verdict->gap_count] = (struct judge_gap){.first_lsn = first_lsn,
                                                               .last_lsn = after->first_lsn - 1,
                                                               .log = after->log,
                                                               .segment = after->segment};
    }
    verdict->gap_count++;
}

static void judge_log(struct judge_item items[], uint64_t count, struct judge_verdict *verdict) {
    uint64_t durable = 0;
    for (uint64_t i = 0; i < count; i++) {
        durable = items[i].durable_lsn > durable ? items[i].durable_lsn : durable;
    }
    uint64_t next = lsn_make(lsn_epoch(items[0].first_lsn), 1);
    bool torn = false;
    for (uint64_t i = 0; i < count; i++) {
        struct judge_item *item = &items[i];
        bool covered = item->last_lsn < next;
        bool acknowledged = item->last_lsn <= durable;
        torn = torn || (item->first_lsn > next && next > durable);
        if (torn || (!item->sound && (covered || !acknowledged))) {
            verdict->ignored += !covered;
            continue;
        }
        if (item->first_lsn > next) {
            note_gap(verdict, item, next);
        }
        item->accepted = true;
        item->damaged = !item->sound;
        next = item->last_lsn + 1 > next ? item->last_lsn + 1 : next;
    }
}

void judge(struct judge_item items[], uint64_t count, struct judge_verdict *verdict) {
    verdict->gap_count = 0;
    verdict->ignored = 0;
    if (count > 0) {
        qsort(items, count, sizeof *items, compare);
    }
    for (uint64_t from = 0; from < count;) {
        uint64_t to = from + 1;
        while (to < count && same_log(&items[from], &items[to])) {
            to++;
        }
        judge_log(items + from, to - from, verdict);
        from = to;
    }
}
