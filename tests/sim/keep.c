/* SPDX-License-Identifier: MIT */
#include "base/must.h"
#include "store/inside.h"
#include "tests/sim/life.h"

/* What is kept: direct pins, and collections that must not take what they pin. A block that was
 * put again while a collection ran stays too; what nobody pinned may go from then on, until a start
 * shows what became of it. */

void life_keep(struct life *life, struct slot *slot, uint32_t key, enum store_op_kind kind) {
    struct store_pin pin = {.key = *life_key(key), .codec = 0x55, .mode = STORE_PIN_DIRECT};
    slot->op = (struct store_op){.kind = (uint8_t)kind, .key = pin.key, .codec = pin.codec};
    if (kind == STORE_PIN) {
        slot->op.data = slot->payload;
        slot->op.bytes = pin_write(&pin, slot->payload);
    } else if (life->collecting) {
        life->may_go[key] = true;
    }
    slot->out = true;
    slot->key = key;
    slot->alone = life->pins_out[key] == 0;
    life->pins_out[key]++;
    for (uint32_t i = 0; i < OPS; i++) {
        struct slot *other = &life->slots[i];
        bool keeps = other->op.kind == STORE_PIN || other->op.kind == STORE_UNPIN;
        if (other != slot && other->out && keeps && other->key == key) {
            other->alone = slot->alone = false;
        }
    }
    keeper_begin(store_keeper(life->store, store_keeper_of(life->store, &pin.key)), &slot->op);
}

void life_learn_keep(struct life *life, struct slot *slot) {
    uint32_t key = slot->key;
    int32_t result = slot->op.result;
    bool pin = slot->op.kind == STORE_PIN;
    life->pins_out[key]--;
    life->pins_done[key]++;
    if (result == 0 || (!pin && result == STORE_ABSENT)) {
        bool lost = !pin && result == STORE_ABSENT && slot->alone && !life->lied &&
                    life->pinned[key] == KNOWN_PRESENT;
        if (lost) {
            life_fail(life, key, "I7: an acknowledged pin is not there to be ended");
        }
        life->pinned[key] = pin ? KNOWN_PRESENT : KNOWN_ABSENT;
    } else if (pin && result == STORE_PINNED && life->lied) {
        life->pinned[key] = KNOWN_PRESENT; /* its record had rotted: it counts as the wider mode */
    } else if (result < 0 || result == STORE_READONLY) {
        life->pinned[key] = KNOWN_EITHER;
    } else if (result != STORE_FULL && !(result == STORE_RETRY && (life->tiered || life->unread))) {
        life_fail(life, key, "an outcome of a pin that nothing explains");
    }
}

void life_collect(struct life *life) {
    if (life->collecting && atomic_load(&life->gc.state) != STORE_TASK_DONE) {
        return;
    }
    life->gc = (struct store_task){.kind = STORE_TASK_GC, .ask.gc = {.grace_ns = 0}};
    if (store_task_begin(life->store, &life->gc) != 0) {
        life->collecting = false;
        return;
    }
    life->collecting = true;
    life->collections++;
    for (uint32_t i = 0; i < KEYS; i++) {
        /* What an earlier one of this start took stays gone, though a pin came since. */
        life->may_go[i] |= life->pinned[i] != KNOWN_PRESENT || life->pins_out[i] != 0;
    }
    for (uint32_t i = 0; i < GROUPS; i++) {
        life->whole[i] = false;
        life->ungroups[i]++;
    }
}

void life_check_pins(struct life *life) {
    for (uint32_t key = 0; key < KEYS; key++) {
        if (life_canonical(key) != key) {
            continue;
        }
        uint64_t hash = store_hash(life->store, life_key(key));
        const struct keeper *keeper = &life->store->keepers[hash_keeper(life->store, hash)];
        bool pinned = pins_find(&keeper->pins, hash, life_key(key)) != NULL;
        if (!life->lied && !pinned && life->pinned[key] == KNOWN_PRESENT) {
            life_fail(life, key, "I7: an acknowledged pin is lost");
        }
        if (!life->lied && pinned && life->pinned[key] == KNOWN_ABSENT) {
            life_fail(life, key, "I7: a pin that was ended is back");
        }
        life->pinned[key] = pinned ? KNOWN_PRESENT : KNOWN_ABSENT;
    }
}

void life_stop_tasks(struct life *life) {
    for (uint32_t i = 0; !store_tasks_stop(life->store); i++) {
        (void)life_turn(life);
        (void)store_housekeep(life->store);
        (void)store_maintain(life->store, life->now_ns);
        if (i > 20000) {
            life_fail(life, 0, "tasks that never end");
        }
    }
    life->collecting = false;
    life_learn_scrub(life);
    life_learn_backup(life);
}
