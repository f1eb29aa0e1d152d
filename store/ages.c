/* SPDX-License-Identifier: MIT */
#include "store/ages.h"

#include "store/inside.h"

#include <string.h>

static void lsn_note(struct keeper *keeper, struct note *note) {
    container_of(note, struct age_ask, note)->lsn = keeper->log.durable_lsn;
}

void ages_ask(struct ages *ages, struct porter *porter) {
    for (uint32_t k = 0; k < porter->store->config.keepers; k++) {
        ages->asks[k].note.run = lsn_note;
        note_post(porter->store, k, &ages->asks[k].note);
    }
    ages->sampling = true;
}

static void thin(struct ages *ages) {
    uint32_t kept = 1; /* the first tells this start from those before */
    for (uint32_t i = 1; i < ages->count; i++) {
        if (i >= AGES_SAMPLES / 2 || i % 2 == 0) {
            ages->samples[kept++] = ages->samples[i];
        }
    }
    ages->count = kept;
}

bool ages_take(struct ages *ages, const struct porter *porter) {
    uint32_t keepers = porter->store->config.keepers;
    for (uint32_t k = 0; k < keepers; k++) {
        if (!note_done(&ages->asks[k].note)) {
            return false;
        }
    }
    if (ages->count == AGES_SAMPLES) {
        thin(ages);
    }
    struct age_sample *sample = &ages->samples[ages->count++];
    sample->at_ns = porter->now_ns;
    for (uint32_t k = 0; k < keepers; k++) {
        sample->lsn[k] = ages->asks[k].lsn;
    }
    ages->sampled_ns = porter->now_ns;
    ages->sampling = false;
    return true;
}

void ages_limit(const struct ages *ages, uint64_t now_ns, uint64_t grace_ns,
                uint64_t ret_limit[STORE_KEEPERS_MAX]) {
    memset(ret_limit, 0, STORE_KEEPERS_MAX * sizeof *ret_limit);
    for (uint32_t i = ages->count; i-- > 0;) {
        if (ages->samples[i].at_ns + grace_ns <= now_ns) {
            memcpy(ret_limit, ages->samples[i].lsn, STORE_KEEPERS_MAX * sizeof *ret_limit);
            return;
        }
    }
}
