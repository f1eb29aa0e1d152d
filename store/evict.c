/* SPDX-License-Identifier: MIT */
#include "store/evict.h"

#include "base/must.h"

#define LOOKS_MAX 64u /* frames put round before one must go, whatever its uses */
#define LRFU_USE  4u  /* weight of one use: it lasts for three passes */
static_assert(LRFU_USE * FRAME_USES_MAX * 2 <= UINT8_MAX, "a frame's weight fits its byte");

static void list_push(const struct evictor *evictor, struct evict_list *list, struct frame *frame) {
    uint32_t name = frame_name(frame);
    frame->prev = FRAME_NONE;
    frame->next = list->head;
    if (list->head != FRAME_NONE) {
        evictor_frame(evictor, list->head)->prev = name;
    } else {
        list->tail = name;
    }
    list->head = name;
    list->bytes += frame->charge;
}

static void list_remove(const struct evictor *evictor, struct evict_list *list,
                        struct frame *frame) {
    if (frame->prev != FRAME_NONE) {
        evictor_frame(evictor, frame->prev)->next = frame->next;
    } else {
        must(list->head == frame_name(frame));
        list->head = frame->next;
    }
    if (frame->next != FRAME_NONE) {
        evictor_frame(evictor, frame->next)->prev = frame->prev;
    } else {
        list->tail = frame->prev;
    }
    must(list->bytes >= frame->charge);
    list->bytes -= frame->charge;
}

static struct evict_list *list_of(struct evictor *evictor, const struct frame *frame) {
    must(frame->queue == FRAME_SMALL || frame->queue == FRAME_MAIN);
    return frame->queue == FRAME_SMALL ? &evictor->small : &evictor->main;
}

static void move_to(struct evictor *evictor, struct frame *frame, enum frame_queue queue) {
    list_remove(evictor, list_of(evictor, frame), frame);
    frame->queue = (uint8_t)queue;
    list_push(evictor, list_of(evictor, frame), frame);
}

static void enter_queue(struct evictor *evictor, struct frame *frame, enum frame_queue queue) {
    frame->queue = (uint8_t)queue;
    frame->freq = 0;
    list_push(evictor, list_of(evictor, frame), frame);
    evictor->frames++;
}

static void any_leave(struct evictor *evictor, struct frame *frame) {
    list_remove(evictor, list_of(evictor, frame), frame);
    frame->queue = FRAME_LOOSE;
    evictor->frames--;
}

/* Takes the readers' count and starts it anew; a vote lost between the two is a lost vote. */
static uint32_t take_uses(struct frame *frame) {
    uint32_t uses = atomic_load_explicit(&frame->uses, memory_order_relaxed);
    if (uses > 0) {
        atomic_store_explicit(&frame->uses, 0, memory_order_relaxed);
    }
    return uses;
}

static uint32_t fold_uses(struct frame *frame) {
    uint32_t freq = frame->freq + take_uses(frame);
    frame->freq = (uint8_t)(freq > FRAME_USES_MAX ? FRAME_USES_MAX : freq);
    return frame->freq;
}

/* --- S3-FIFO ---------------------------------------------------------------------------------- */

static void s3_enter(struct evictor *evictor, struct frame *frame, bool ghost) {
    enter_queue(evictor, frame, ghost ? FRAME_MAIN : FRAME_SMALL);
}

static struct frame *s3_victim(struct evictor *evictor, bool *ret_ghost) {
    for (uint32_t looks = 0; evictor->frames > 0; looks++) {
        bool small =
            evictor->small.tail != FRAME_NONE &&
            (evictor->small.bytes * 10 > evictor->budget_bytes || evictor->main.tail == FRAME_NONE);
        struct frame *frame =
            evictor_frame(evictor, small ? evictor->small.tail : evictor->main.tail);
        uint32_t freq = fold_uses(frame);
        bool keep = small ? freq >= 2 : freq > 0;
        if (!keep || looks >= LOOKS_MAX) {
            *ret_ghost = small;
            return frame;
        }
        frame->freq = small ? 0 : (uint8_t)(freq - 1);
        move_to(evictor, frame, FRAME_MAIN);
    }
    return NULL;
}

/* --- LRU -------------------------------------------------------------------------------------- */

static void lru_enter(struct evictor *evictor, struct frame *frame, bool ghost) {
    (void)ghost;
    enter_queue(evictor, frame, FRAME_MAIN);
}

static struct frame *lru_victim(struct evictor *evictor, bool *ret_ghost) {
    *ret_ghost = false;
    for (uint32_t looks = 0; evictor->main.tail != FRAME_NONE; looks++) {
        struct frame *frame = evictor_frame(evictor, evictor->main.tail);
        if (fold_uses(frame) == 0 || looks >= LOOKS_MAX) {
            return frame;
        }
        frame->freq = 0;
        move_to(evictor, frame, FRAME_MAIN);
    }
    return NULL;
}

/* --- LRFU ------------------------------------------------------------------------------------- */

static struct frame *lrfu_victim(struct evictor *evictor, bool *ret_ghost) {
    *ret_ghost = false;
    for (uint32_t looks = 0; evictor->main.tail != FRAME_NONE; looks++) {
        struct frame *frame = evictor_frame(evictor, evictor->main.tail);
        uint32_t weight = frame->freq / 2u + take_uses(frame) * LRFU_USE;
        frame->freq = (uint8_t)weight;
        if (weight == 0 || looks >= LOOKS_MAX) {
            return frame;
        }
        move_to(evictor, frame, FRAME_MAIN);
    }
    return NULL;
}

static const struct evict_policy policies[] = {
    [STORE_POLICY_S3FIFO] = {"s3fifo", s3_enter, any_leave, s3_victim},
    [STORE_POLICY_LRU] = {"lru", lru_enter, any_leave, lru_victim},
    [STORE_POLICY_LRFU] = {"lrfu", lru_enter, any_leave, lrfu_victim},
};

void evictor_init(struct evictor *evictor, enum store_policy policy, uint64_t budget_bytes,
                  struct frame_home *const *homes) {
    must((size_t)policy < array_count(policies));
    *evictor = (struct evictor){.policy = &policies[policy],
                                .homes = homes,
                                .budget_bytes = budget_bytes,
                                .small = {FRAME_NONE, FRAME_NONE, 0},
                                .main = {FRAME_NONE, FRAME_NONE, 0}};
}
