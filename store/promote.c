/* SPDX-License-Identifier: MIT */
#include "store/promote.h"

#include "base/bits.h"
#include "base/err.h"
#include "base/must.h"
#include "store/choose.h"
#include "store/compact.h"
#include "store/inside.h"
#include "store/move.h"
#include "store/peek.h"

#include <errno.h>

#define DAY_SECONDS UINT64_C(86400)
#define BATCH_MAX   64u
#define STEP_BYTES  (4 * MiB)
#define LOOK_NS     (100 * NS_PER_MS) /* wishes gather for so long: one sync for many */
#define REST_NS     (10 * NS_PER_S)   /* after a batch was dropped */

enum promote_phase { PROMOTE_IDLE, PROMOTE_COPY, PROMOTE_SETTLE };

struct promoter {
    struct porter *porter;
    struct store *store;
    struct peek peek;
    struct day_budget budget;
    enum promote_phase phase;
    struct wish batch[BATCH_MAX];
    uint32_t count, next;
    bool held;       /* the next one's record is in the peek's buffer */
    uint32_t tier;   /* where the batch goes */
    uint32_t keeper; /* whose wishes are next */
    uint64_t look_ns;
};

/* --- wishes ----------------------------------------------------------------------------------- */

bool wish_push(struct wishes *wishes, const struct wish *wish) {
    uint32_t tail = atomic_load_explicit(&wishes->tail, memory_order_relaxed); /* our own */
    /* acquire: a place is written again only after the porter has read it; pairs with wish_take */
    if (tail - atomic_load_explicit(&wishes->head, memory_order_acquire) == WISHES_MAX) {
        return false;
    }
    wishes->all[tail % WISHES_MAX] = *wish;
    atomic_store_explicit(&wishes->tail, tail + 1, memory_order_release); /* wish_take */
    return true;
}

bool wish_take(struct wishes *wishes, struct wish *ret_wish) {
    uint32_t head = atomic_load_explicit(&wishes->head, memory_order_relaxed); /* our own */
    /* acquire pairs with wish_push */
    if (head == atomic_load_explicit(&wishes->tail, memory_order_acquire)) {
        return false;
    }
    *ret_wish = wishes->all[head % WISHES_MAX];
    atomic_store_explicit(&wishes->head, head + 1, memory_order_release); /* wish_push */
    return true;
}

/* What the entry says of the block at this place; 0: nothing lies there any more. */
static uint64_t word_at(struct store *store, uint32_t reader, const struct wish *wish) {
    turn_begin(&store->turns, reader);
    struct entry entry = store_entry(store, wish->hash, wish->place);
    uint64_t word = entry.bucket ? entry_place(&entry) : 0;
    turn_park(&store->turns, reader);
    return word;
}

void promote_read(struct keeper *keeper, uint64_t hash, uint64_t place) {
    struct store *store = keeper->store;
    if ((place & PLACE_STATE_MASK) != PLACE_HDD || store->config.promote_budget == 0 ||
        store_rung(store) >= LADDER_PROMOTIONS) {
        return;
    }
    struct wish wish = {.hash = hash, .place = place & (PLACE_MASK | PLACE_STATE_MASK)};
    uint64_t word = word_at(store, keeper->reader, &wish);
    if (word == 0 || place_resident(word)) {
        return; /* another keeper read it just now, and judged */
    }
    bool again = (word & PLACE_GHOST) != 0 || (word >> PLACE_FREQ_SHIFT & 3) >= 2;
    if (again && !wish_push(&keeper->wishes, &wish)) {
        counter_add(&keeper->counters.promotions_dropped, 1);
    }
}

/* --- the day's budget ------------------------------------------------------------------------- */

uint64_t day_budget_left(struct day_budget *budget, uint64_t now_ns) {
    uint64_t seconds = now_ns > budget->at_ns ? (now_ns - budget->at_ns) / NS_PER_S : 0;
    budget->at_ns += seconds * NS_PER_S;
    seconds = min_u64(seconds, DAY_SECONDS);
    uint64_t more = budget->day_bytes / DAY_SECONDS * seconds +
                    budget->day_bytes % DAY_SECONDS * seconds / DAY_SECONDS;
    budget->left = min_u64(budget->day_bytes, budget->left + more);
    return budget->left;
}

/* --- the duty --------------------------------------------------------------------------------- */

int promote_open(struct porter *porter) {
    struct promoter *promoter = vm_map(sizeof *promoter);
    if (!promoter) {
        return err_raise(-ENOMEM);
    }
    uint64_t day_bytes = porter->store->config.promote_budget;
    promoter->porter = porter;
    promoter->store = porter->store;
    promoter->budget = (struct day_budget){.day_bytes = day_bytes, .left = day_bytes};
    porter->promoter = promoter;
    return 0;
}

void promote_close(struct porter *porter) {
    struct promoter *promoter = porter->promoter;
    if (!promoter) {
        return;
    }
    if (promoter->peek.store) {
        peek_close(&promoter->peek);
    }
    vm_unmap(promoter, sizeof *promoter);
    porter->promoter = NULL;
}

bool promote_busy(const struct porter *porter) {
    return porter->promoter->phase != PROMOTE_IDLE;
}

/* The emptiest fast tier below the high water: above it the oldest are on their way down, and what
 * came up would only push others. Returns: false: there is none. */
static bool fast_tier(struct promoter *promoter) {
    const struct choose_tier *tiers = compact_tiers(promoter->porter);
    uint32_t least = choose_default.high;
    for (uint32_t i = 0; i < promoter->store->tiers.count; i++) {
        if (tiers[i].present && !tiers[i].slow && !tiers[i].full && tiers[i].fill < least) {
            least = tiers[i].fill;
            promoter->tier = i;
        }
    }
    return least < choose_default.high;
}

/* Takes from each keeper in turn. */
static uint32_t gather(struct promoter *promoter) {
    uint32_t keepers = promoter->store->config.keepers;
    uint32_t empty = 0;
    promoter->count = promoter->next = 0;
    while (promoter->count < BATCH_MAX && empty < keepers) {
        struct keeper *keeper = &promoter->store->keepers[promoter->keeper];
        bool taken = wish_take(&keeper->wishes, &promoter->batch[promoter->count]);
        promoter->keeper = (promoter->keeper + 1) % keepers;
        promoter->count += taken;
        empty = taken ? 0 : empty + 1;
    }
    return promoter->count;
}

static uint32_t begin(struct promoter *promoter) {
    struct porter *porter = promoter->porter;
    if (porter->now_ns < promoter->look_ns || store_rung(promoter->store) >= LADDER_PROMOTIONS ||
        !compact_idle(porter)) {
        return 0;
    }
    promoter->look_ns = porter->now_ns + LOOK_NS;
    if (gather(promoter) == 0) {
        return 0;
    }
    if (!fast_tier(promoter)) { /* a wish that waits for room for long is none any more */
        counter_add(&porter->counters.promotions_no_room, promoter->count);
        return 1;
    }
    if (!promoter->peek.store && peek_open(&promoter->peek, promoter->store) != 0) {
        promoter->look_ns = porter->now_ns + REST_NS;
        return 0;
    }
    promoter->phase = PROMOTE_COPY;
    return 1;
}

/* Is it there yet, and sound? What is damaged, its readers and the scrub tell of. */
static bool look(struct promoter *promoter, const struct wish *wish) {
    struct peek *peek = &promoter->peek;
    return word_at(promoter->store, promoter->porter->reader, wish) != 0 &&
           peek_look(peek, wish->place, PEEK_MULTIHASH) == 0 &&
           peek->record->type == RECORD_BLOCK &&
           store_hash(promoter->store, &peek->key) == wish->hash;
}

/* Returns: what move_add did, or 0: nothing is to be done for it. */
static int copy_one(struct promoter *promoter, const struct wish *wish, uint64_t *ret_bytes) {
    struct porter *porter = promoter->porter;
    promoter->held = promoter->held || look(promoter, wish);
    if (!promoter->held) {
        return 0;
    }
    const struct record_header *header = promoter->peek.record;
    uint32_t span = record_span(header->header_bytes, header->stored_bytes);
    if (span > day_budget_left(&promoter->budget, porter->now_ns)) {
        counter_add(&porter->counters.promotions_over_budget, 1);
        promoter->held = false;
        return 0;
    }
    int r = move_add(porter_mover(porter), promoter->tier,
                     &(struct move_record){header, (const uint8_t *)header + header->header_bytes,
                                           wish->hash, wish->place});
    promoter->held = r == MOVE_BUSY;
    if (r == 0) {
        promoter->budget.left -= span;
        allowance_spend(compact_rate(porter), porter->now_ns, span);
        *ret_bytes += span;
    }
    return r;
}

static uint32_t copy_some(struct promoter *promoter) {
    uint64_t bytes = 0;
    uint32_t before = promoter->next;
    while (promoter->next < promoter->count && bytes < STEP_BYTES) {
        int r = copy_one(promoter, &promoter->batch[promoter->next], &bytes);
        if (r == MOVE_BUSY) {
            return promoter->next - before;
        }
        promoter->next = r == 0 ? promoter->next + 1 : promoter->count; /* no space: that was it */
    }
    if (promoter->next == promoter->count) {
        move_flush(porter_mover(promoter->porter));
        promoter->phase = PROMOTE_SETTLE;
    }
    return 1;
}

static uint32_t settle(struct promoter *promoter) {
    struct porter *porter = promoter->porter;
    if (!move_settled(porter_mover(porter))) {
        return 0;
    }
    if (move_dropped(porter_mover(porter))) {
        promoter->look_ns = porter->now_ns + REST_NS;
    }
    promoter->phase = PROMOTE_IDLE;
    return 1;
}

uint32_t promote_step(struct porter *porter) {
    struct promoter *promoter = porter->promoter;
    switch (promoter->phase) {
    case PROMOTE_IDLE:
        return promoter->budget.day_bytes != 0 ? begin(promoter) : 0;
    case PROMOTE_COPY:
        return allowance_open(compact_rate(porter), porter->now_ns) ? copy_some(promoter) : 0;
    case PROMOTE_SETTLE:
        return settle(promoter);
    }
    never("a promotion in no phase");
}
