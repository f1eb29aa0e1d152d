/* SPDX-License-Identifier: MIT */
#include "store/reach.h"

#include "base/cid.h"
#include "store/inside.h"
#include "store/text.h"

#include <string.h>

int reach_open(struct reach *reach, struct porter *porter) {
    reach->porter = porter;
    return peek_open(&reach->peek, porter->store);
}

void reach_close(struct reach *reach) {
    reach_end(reach);
    peek_close(&reach->peek);
}

int reach_begin(struct reach *reach, struct store_task *task) {
    struct store *store = reach->porter->store;
    reach->task = task;
    int r = dag_open(&reach->dag, store, &reach->marks);
    if (r != 0) {
        return r;
    }
    reach->walks = true;
    reach->dag.shared = true;
    mark_init(&reach->marks, store->config.gc_memory_bytes);
    return 0;
}

void reach_pins(struct reach *reach) {
    reach->keeper = 0;
    reach->page.cursor = 0;
    reach->page.count = reach->at = 0;
    reach->listing = reach->walking = false;
}

void reach_end(struct reach *reach) {
    mark_fini(&reach->marks);
    if (reach->walks) {
        dag_close(&reach->dag);
        reach->walks = false;
    }
}

bool reach_lent(const struct reach *reach) {
    return reach->listing && !note_done(&reach->page.note);
}

static bool stop(struct reach *reach, int32_t result, const char *why) {
    struct text text = {reach->why, sizeof reach->why, 0};
    text_add(&text, why);
    reach->result = result;
    return true;
}

/* Names the pin, and what stopped its walk. */
static bool stop_at(struct reach *reach, int32_t result) {
    const struct store_pin *pin = &reach->page.pins[reach->at];
    char name[CID_TEXT_MAX];
    struct cid cid;
    cid_of_key(&pin->key, pin->codec, &cid);
    (void)cid_format(&cid, name);
    struct text text = {reach->why, sizeof reach->why, 0};
    text_add(&text, "nothing was collected: of the DAG pinned as ");
    text_add(&text, name);
    text_add(&text, ", ");
    dag_why(&reach->dag, result, reach->why, sizeof reach->why);
    text.used = strlen(reach->why);
    text_add(&text, "; bring it back (millrace fetch --dag, or add it again), or unpin that DAG");
    reach->result = result;
    return true;
}

/* Each of these returns: it is over. */

static bool pin_mark(struct reach *reach) {
    const struct store_pin *pin = &reach->page.pins[reach->at];
    if (pin->mode == STORE_PIN_RECURSIVE) {
        dag_begin(&reach->dag, &pin->key, pin->codec);
        reach->walking = true;
        return false;
    }
    int r = mark_add(&reach->marks, store_hash(reach->porter->store, &pin->key));
    if (r < 0 || r == MARK_FULL) {
        return stop(reach, r < 0 ? r : STORE_FULL,
                    "the mark set has no room for all that is pinned");
    }
    reach->at++;
    return false;
}

static bool walk(struct reach *reach) {
    reach->dag.peek = &reach->peek;
    int r = dag_step(&reach->dag);
    counter_set(&reach->task->seen, reach->dag.blocks);
    if (r == DAG_MORE) {
        return false;
    }
    reach->walking = false;
    if (r != 0) {
        return stop_at(reach, r);
    }
    reach->at++;
    return false;
}

static bool list(struct reach *reach) {
    const struct store *store = reach->porter->store;
    if (reach->page.cursor == PINS_NONE) {
        reach->keeper++;
        reach->page.cursor = 0;
    }
    if (reach->keeper < store->config.keepers) {
        reach->page.max = PIN_PAGE;
        reach->listing = true;
        pin_page_ask(reach->porter->store, reach->keeper, &reach->page);
        return false;
    }
    reach->result = 0;
    return true;
}

uint32_t reach_step(struct reach *reach, bool *ret_over) {
    *ret_over = false;
    if (reach->walking) {
        *ret_over = walk(reach);
    } else if (!reach->listing && reach->at < reach->page.count) {
        *ret_over = pin_mark(reach);
    } else if (!reach->listing) {
        *ret_over = list(reach);
    } else if (reach_lent(reach)) {
        return 0;
    } else {
        reach->listing = false;
        reach->at = 0;
    }
    return 1;
}
