/* SPDX-License-Identifier: MIT */
#include "store/pins.h"

#include "base/bits.h"
#include "base/err.h"
#include "base/must.h"
#include "store/inside.h"

#include <errno.h>
#include <string.h>

/* gcc warns that ThreadSanitizer does not model fences; the words they order are all atomic. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wtsan"
#endif

/* --- the table -------------------------------------------------------------------------------- */

static size_t slots_bytes(const struct pins *pins) {
    return pins->slots_max * sizeof *pins->slots;
}
static size_t names_bytes(const struct pins *pins) {
    return pins->slots_max * sizeof *pins->names;
}
static size_t buckets_bytes(const struct pins *pins) {
    return pins->bucket_count * sizeof *pins->buckets;
}

/* An empty bucket is zero, so chains count from one. */
static uint32_t chain_get(const _Atomic uint32_t *link) {
    return atomic_load_explicit(link, memory_order_relaxed) - 1; /* the sequence orders readers */
}
static void chain_set(_Atomic uint32_t *link, uint32_t slot) {
    atomic_store_explicit(link, slot + 1, memory_order_relaxed);
}

int pins_open(struct pins *pins, uint32_t keepers) {
    /* Another number of keepers may have admitted a little more of our shards than our share. */
    pins->admitted_max = PINS_MAX / keepers;
    pins->slots_max = 2 * pins->admitted_max + 1024;
    pins->bucket_count = (uint32_t)power_of_two_above(pins->admitted_max);
    pins->free = PINS_NONE;
    pins->slots = vm_map(slots_bytes(pins));
    pins->names = vm_map(names_bytes(pins));
    pins->buckets = vm_map(buckets_bytes(pins));
    return pins->slots && pins->names && pins->buckets ? 0 : err_raise(-ENOMEM);
}

void pins_close(struct pins *pins) {
    vm_unmap(pins->slots, slots_bytes(pins));
    vm_unmap(pins->names, names_bytes(pins));
    vm_unmap(pins->buckets, buckets_bytes(pins));
}

static _Atomic uint32_t *bucket_of(const struct pins *pins, uint64_t hash) {
    return &pins->buckets[hash & (pins->bucket_count - 1)];
}

static uint64_t slot_hash(const struct pin_slot *slot) {
    return atomic_load_explicit(&slot->hash, memory_order_relaxed);
}

static struct pin_slot *find(const struct pins *pins, uint64_t hash, const struct key *key) {
    uint32_t at = chain_get(bucket_of(pins, hash));
    while (at != PINS_NONE) {
        struct pin_slot *slot = &pins->slots[at];
        if (slot_hash(slot) == hash && (!key || key_equal(&slot->key, key))) {
            return slot;
        }
        at = chain_get(&slot->next);
    }
    return NULL;
}

const struct pin_slot *pins_find(const struct pins *pins, uint64_t hash, const struct key *key) {
    return find(pins, hash, key);
}

bool pins_has(const struct pins *pins, uint64_t hash) {
    return find(pins, hash, NULL) != NULL;
}

/* A reader that sees an odd sequence, or another than before, has seen a change. */
static void change_begin(struct pins *pins) {
    uint64_t now = atomic_load_explicit(&pins->sequence, memory_order_relaxed);
    atomic_store_explicit(&pins->sequence, now + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release); /* pairs with the reader's acquire fence */
}
static void change_end(struct pins *pins) {
    uint64_t now = atomic_load_explicit(&pins->sequence, memory_order_relaxed);
    atomic_store_explicit(&pins->sequence, now + 1, memory_order_release);
}

static struct pin_slot *slot_take(struct pins *pins, uint64_t hash, const struct key *key) {
    uint32_t index = pins->free;
    if (index != PINS_NONE) {
        pins->free = chain_get(&pins->slots[index].next);
    } else if (pins->top < pins->slots_max) {
        index = pins->top++;
    } else {
        return NULL;
    }
    struct pin_slot *slot = &pins->slots[index];
    slot->key = *key;
    _Atomic uint32_t *bucket = bucket_of(pins, hash);
    atomic_store_explicit(&slot->hash, hash, memory_order_relaxed);
    chain_set(&slot->next, chain_get(bucket));
    chain_set(bucket, index);
    pins->count++;
    return slot;
}

/* Sets what is pinned under the key. Returns: false: no room. */
static bool set(struct pins *pins, uint64_t hash, const struct store_pin *pin, uint64_t birth_lsn) {
    change_begin(pins);
    struct pin_slot *slot = find(pins, hash, &pin->key);
    slot = slot ? slot : slot_take(pins, hash, &pin->key);
    if (slot) {
        atomic_store_explicit(&slot->birth_lsn, birth_lsn, memory_order_relaxed);
        slot->codec = pin->codec;
        slot->mode = pin->mode;
        slot->name_bytes = pin->name_bytes;
        if (pin->name_bytes > 0) {
            memcpy(pins->names[slot - pins->slots], pin->name, pin->name_bytes);
        }
    }
    change_end(pins);
    return slot != NULL;
}

static void forget(struct pins *pins, struct pin_slot *slot) {
    uint32_t index = (uint32_t)(slot - pins->slots);
    change_begin(pins);
    _Atomic uint32_t *link = bucket_of(pins, slot_hash(slot));
    while (chain_get(link) != index) {
        must(chain_get(link) != PINS_NONE);
        link = &pins->slots[chain_get(link)].next;
    }
    chain_set(link, chain_get(&slot->next));
    atomic_store_explicit(&slot->hash, 0, memory_order_relaxed);
    chain_set(&slot->next, pins->free);
    pins->free = index;
    pins->count--;
    change_end(pins);
}

int pins_load(struct pins *pins, uint64_t hash, const struct store_pin *pin, uint64_t birth_lsn) {
    const struct pin_slot *slot = find(pins, hash, &pin->key);
    if (slot && atomic_load_explicit(&slot->birth_lsn, memory_order_relaxed) >= birth_lsn) {
        return 0;
    }
    return set(pins, hash, pin, birth_lsn) ? 0 : STORE_FULL;
}

void pins_unload(struct pins *pins, const struct footer_entry *unpin) {
    uint32_t at = chain_get(bucket_of(pins, unpin->hash));
    while (at != PINS_NONE) {
        struct pin_slot *slot = &pins->slots[at];
        const struct key *key = &slot->key;
        at = chain_get(&slot->next);
        bool same =
            slot_hash(slot) == unpin->hash && key->code == unpin->hash_code &&
            key->digest_bytes == unpin->digest_bytes &&
            memcmp(key->digest, unpin->digest,
                   key->digest_bytes < FOOTER_PREFIX ? key->digest_bytes : FOOTER_PREFIX) == 0;
        if (same &&
            atomic_load_explicit(&slot->birth_lsn, memory_order_relaxed) <= unpin->birth_lsn) {
            forget(pins, slot);
        }
    }
}

uint32_t pins_page(const struct pins *pins, uint32_t *cursor, struct store_pin out[],
                   uint32_t max) {
    uint32_t count = 0;
    uint32_t at = *cursor;
    for (; at < pins->top && count < max; at++) {
        const struct pin_slot *slot = &pins->slots[at];
        if (slot_hash(slot) == 0) {
            continue;
        }
        struct store_pin *pin = &out[count++];
        *pin = (struct store_pin){.key = slot->key,
                                  .codec = slot->codec,
                                  .mode = slot->mode,
                                  .name_bytes = slot->name_bytes};
        memcpy(pin->name, pins->names[at], slot->name_bytes);
    }
    *cursor = at < pins->top ? at : PINS_NONE;
    return count;
}

bool pins_unclear(const struct store *store) {
    uint64_t sum = 0;
    for (uint32_t k = 0; k < store->config.keepers; k++) {
        sum += store->keepers[k].pins.unclear;
    }
    return sum > 0;
}

bool pins_record_live(const struct store *store, uint64_t hash, uint64_t birth_lsn) {
    const struct pins *pins = &store->keepers[hash_keeper(store, hash)].pins;
    if (pins->unclear > 0) { /* set at boot */
        return true;
    }
    uint64_t before = atomic_load_explicit(&pins->sequence, memory_order_acquire);
    bool live = (before & 1) != 0;
    uint32_t at = chain_get(bucket_of(pins, hash));
    for (uint32_t steps = 0; at != PINS_NONE && !live; steps++) {
        if (at >= pins->slots_max || steps == 1024) {
            return true; /* a chain under change */
        }
        const struct pin_slot *slot = &pins->slots[at];
        live = slot_hash(slot) == hash &&
               atomic_load_explicit(&slot->birth_lsn, memory_order_relaxed) == birth_lsn;
        at = chain_get(&slot->next);
    }
    atomic_thread_fence(memory_order_acquire); /* pairs with change_begin */
    return live || atomic_load_explicit(&pins->sequence, memory_order_relaxed) != before;
}

/* --- the record ------------------------------------------------------------------------------- */

uint32_t pin_write(const struct store_pin *pin, uint8_t out[PIN_PAYLOAD_MAX]) {
    struct pin_head head = {.mode = pin->mode, .name_bytes = pin->name_bytes};
    memcpy(out, &head, sizeof head);
    memcpy(out + sizeof head, pin->name, pin->name_bytes);
    return (uint32_t)sizeof head + pin->name_bytes;
}

int pin_read(const uint8_t *bytes, uint64_t count, struct store_pin *ret_pin) {
    struct pin_head head;
    if (count < sizeof head) {
        return FORMAT_BAD;
    }
    memcpy(&head, bytes, sizeof head);
    bool known = head.mode == STORE_PIN_RECURSIVE || head.mode == STORE_PIN_DIRECT;
    if (!known || count != sizeof head + head.name_bytes) {
        return FORMAT_BAD;
    }
    ret_pin->mode = head.mode;
    ret_pin->name_bytes = head.name_bytes;
    memcpy(ret_pin->name, bytes + sizeof head, head.name_bytes);
    ret_pin->name[head.name_bytes] = '\0';
    return 0;
}

/* --- operations ------------------------------------------------------------------------------- */

/* Nothing to write; no name leaves the one there is. */
static bool same_pin(const struct pins *pins, const struct pin_slot *slot,
                     const struct store_pin *pin) {
    return slot->mode == pin->mode && slot->codec == pin->codec &&
           (pin->name_bytes == 0 || slot->name_bytes == pin->name_bytes) &&
           memcmp(pins->names[slot - pins->slots], pin->name, pin->name_bytes) == 0;
}

static void resolve_pin(struct keeper *keeper, struct store_op *op) {
    struct pins *pins = &keeper->pins;
    struct store_pin pin = {.key = op->key, .codec = op->codec};
    int r = pin_read(op->data, op->bytes, &pin);
    must(r == 0); /* its maker wrote it */
    const struct pin_slot *slot = find(pins, op_state(op)->hash, &op->key);
    if (slot && slot->mode == STORE_PIN_RECURSIVE && pin.mode == STORE_PIN_DIRECT) {
        order_fail(keeper, op, STORE_PINNED);
        return;
    }
    /* An UNPIN of it may lie on a tier that is away: then it is pinned anew. */
    if (slot && same_pin(pins, slot, &pin) && !tiers_unknown(&keeper->store->tiers)) {
        order_fail(keeper, op, 0);
        return;
    }
    if (!slot && pins->count + pins->reserved >= pins->admitted_max) {
        order_fail(keeper, op, STORE_FULL);
        return;
    }
    pins->reserved++;
    op_state(op)->reserved = 1;
    feature_append(keeper, op);
}

void pins_resolve(struct keeper *keeper, struct store_op *op) {
    if (op->kind == STORE_PIN) {
        resolve_pin(keeper, op);
    } else if (find(&keeper->pins, op_state(op)->hash, &op->key)) {
        feature_append(keeper, op);
    } else { /* the record may lie on a tier that is away */
        bool unknown = tiers_unknown(&keeper->store->tiers);
        order_fail(keeper, op, unknown ? STORE_RETRY : STORE_ABSENT);
    }
}

void pins_release(struct keeper *keeper, struct store_op *op) {
    must(keeper->pins.reserved >= op_state(op)->reserved);
    keeper->pins.reserved -= op_state(op)->reserved;
    op_state(op)->reserved = 0;
}

void pins_publish(struct keeper *keeper, struct store_op *op, uint64_t lsn) {
    struct pins *pins = &keeper->pins;
    pins_release(keeper, op);
    if (op->kind == STORE_PIN) {
        struct store_pin pin = {.key = op->key, .codec = op->codec};
        int r = pin_read(op->data, op->bytes, &pin);
        must(r == 0);
        must(set(pins, op_state(op)->hash, &pin, lsn)); /* a place was reserved */
    } else {
        struct pin_slot *slot = find(pins, op_state(op)->hash, &op->key);
        must(slot != NULL); /* one operation a key at a time */
        forget(pins, slot);
        order_bury(keeper, op, RECORD_UNPIN, lsn);
    }
    counter_set(&keeper->counters.pins, pins->count);
}
