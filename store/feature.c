/* SPDX-License-Identifier: MIT */
#include "store/feature.h"

#include "store/bundle.h"
#include "store/inside.h"

bool feature_has(const struct store *store, enum feature feature) {
    /* acquire: SUPER says it; pairs with feature_set */
    return (atomic_load_explicit(&store->features.durable, memory_order_acquire) & feature) != 0;
}

/* --- SUPER ------------------------------------------------------------------------------------ */

static void slot_add(struct super_slot *slot, uint32_t features) {
    slot->ro_compat |= features & FEATURE_PINS ? SUPER_RO_COMPAT_PINS : 0;
    slot->incompat |= features & FEATURE_COMMITS ? SUPER_INCOMPAT_COMMITS : 0;
    slot->incompat |= features & FEATURE_ZSTD ? SUPER_INCOMPAT_ZSTD : 0;
}

static uint32_t slot_has(const struct super_slot *slot) {
    return (slot->ro_compat & SUPER_RO_COMPAT_PINS ? FEATURE_PINS : 0) |
           (slot->incompat & SUPER_INCOMPAT_COMMITS ? FEATURE_COMMITS : 0) |
           (slot->incompat & SUPER_INCOMPAT_ZSTD ? FEATURE_ZSTD : 0);
}

void feature_begin(struct store *store) {
    struct super_slot *slot = &store->super.slot;
    /* Written by a program that compressed and had no bit for it: footers tell of pins and commits,
     * but not all of them are read. */
    bool zstd = store->super.minor_before == 1 && store->segments.top > 1;
    slot_add(slot, store->features.found | (zstd ? FEATURE_ZSTD : 0));
    atomic_init(&store->features.durable, slot_has(slot));
}

int feature_set(struct store *store, uint32_t features, void *page) {
    uint32_t durable = atomic_load_explicit(&store->features.durable, memory_order_acquire);
    if ((features & ~durable) == 0) {
        return 0;
    }
    (void)pthread_mutex_lock(&store->files);
    struct super_slot before = store->super.slot;
    slot_add(&store->super.slot, features);
    int r = super_write(&store->super, &store->config.disk, page);
    if (r != 0) { /* it may stand there all the same: that does no harm */
        store->super.slot.ro_compat = before.ro_compat;
        store->super.slot.incompat = before.incompat;
    }
    (void)pthread_mutex_unlock(&store->files);
    if (r == 0) {
        atomic_fetch_or_explicit(&store->features.durable, features, memory_order_release);
    }
    return r;
}

uint32_t feature_step(struct store *store) {
    struct features *features = &store->features;
    if (atomic_load_explicit(&features->wanted, memory_order_relaxed) == 0) {
        return 0;
    }
    uint32_t wanted = atomic_exchange_explicit(&features->wanted, 0, memory_order_acq_rel);
    if (feature_set(store, wanted, store->page) != 0) {
        atomic_fetch_or_explicit(&features->refused, wanted, memory_order_release);
    }
    return 1;
}

/* --- keepers ---------------------------------------------------------------------------------- */

static void want(struct store *store, enum feature feature) {
    struct features *features = &store->features;
    atomic_fetch_and_explicit(&features->refused, ~(uint32_t)feature, memory_order_relaxed);
    atomic_fetch_or_explicit(&features->wanted, feature, memory_order_release);
}

static bool refused(const struct store *store, enum feature feature) {
    return (atomic_load_explicit(&store->features.refused, memory_order_acquire) & feature) != 0;
}

void feature_append(struct keeper *keeper, struct store_op *op) {
    struct feature_gate *gate = &keeper->gate;
    if (likely(feature_has(keeper->store, FEATURE_PINS) && !gate->pins)) {
        log_append(keeper, op);
        return;
    }
    op->next = NULL;
    if (gate->pins) {
        gate->pins_last->next = op;
    } else {
        gate->pins = op;
    }
    gate->pins_last = op;
    want(keeper->store, FEATURE_PINS);
}

void feature_gate(struct keeper *keeper, struct store_bundle *bundle) {
    if (likely(feature_has(keeper->store, FEATURE_COMMITS))) {
        bundle_granted(bundle, true);
        return;
    }
    bundle->next = keeper->gate.bundles;
    keeper->gate.bundles = bundle;
    want(keeper->store, FEATURE_COMMITS);
}

static uint32_t pins_go_on(struct keeper *keeper, bool granted) {
    struct store_op *op = keeper->gate.pins;
    uint32_t count = 0;
    keeper->gate.pins = keeper->gate.pins_last = NULL;
    for (; op; count++) {
        struct store_op *next = op->next;
        if (granted) {
            log_append(keeper, op);
        } else {
            order_fail(keeper, op, STORE_READONLY);
        }
        op = next;
    }
    return count;
}

static uint32_t bundles_go_on(struct keeper *keeper, bool granted) {
    struct store_bundle *bundle = keeper->gate.bundles;
    uint32_t count = 0;
    keeper->gate.bundles = NULL;
    for (; bundle; count++) {
        struct store_bundle *next = bundle->next;
        bundle_granted(bundle, granted);
        bundle = next;
    }
    return count;
}

uint32_t feature_poll(struct keeper *keeper) {
    const struct store *store = keeper->store;
    uint32_t count = 0;
    bool granted = feature_has(store, FEATURE_PINS);
    if (keeper->gate.pins && (granted || refused(store, FEATURE_PINS))) {
        count += pins_go_on(keeper, granted);
    }
    granted = feature_has(store, FEATURE_COMMITS);
    if (keeper->gate.bundles && (granted || refused(store, FEATURE_COMMITS))) {
        count += bundles_go_on(keeper, granted);
    }
    return count;
}
