/* SPDX-License-Identifier: MIT */
#include "engine/tasks.h"

#include "base/err.h"
#include "engine/engine_private.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One command that begins a task. */
struct row {
    const char *command;
    uint8_t kind; /* enum store_task_kind */
    /* Takes the request into task->ask. Returns: NULL, or an error in its stead; may be NULL. */
    json_t *(*read)(struct engine *engine, const json_t *request, struct store_task *task);
    /* Adds what this kind has to say of itself; may be NULL. */
    void (*show)(const struct store_task *task, json_t *answer);
};

static const struct row rows[] = {
    {NULL, STORE_TASK_NONE, NULL, NULL},
};

struct slot {
    struct store_task task;
    const struct row *row; /* NULL: never used */
    uint32_t number;
};

struct tasks {
    struct slot slots[TASKS_MAX];
    uint32_t last; /* number given out */
};

int tasks_open(struct engine *engine, struct tasks **ret_tasks) {
    (void)engine;
    struct tasks *tasks = calloc(1, sizeof *tasks);
    if (!tasks) {
        return err_raise(-ENOMEM);
    }
    *ret_tasks = tasks;
    return 0;
}

void tasks_close(struct tasks *tasks) {
    free(tasks);
}

static json_t *error_json(const char *format, ...) __attribute__((format(printf, 1, 2)));
static json_t *error_json(const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return json_pack("{s:s}", "error", text);
}

static bool is_over(const struct slot *slot) {
    /* acquire: pairs with porter_finish; result and why are there */
    return !slot->row ||
           atomic_load_explicit(&slot->task.state, memory_order_acquire) == STORE_TASK_DONE;
}

/* A slot for a new task: an unused one, else of those that are over the oldest. */
static struct slot *take(struct tasks *tasks) {
    struct slot *best = NULL;
    for (uint32_t i = 0; i < TASKS_MAX; i++) {
        struct slot *slot = &tasks->slots[i];
        if (is_over(slot) && (!best || slot->number < best->number)) {
            best = slot;
        }
    }
    return best;
}

static struct slot *find(struct tasks *tasks, const json_t *request) {
    json_int_t number = json_integer_value(json_object_get(request, "task"));
    for (uint32_t i = 0; number > 0 && i < TASKS_MAX; i++) {
        if (tasks->slots[i].row && tasks->slots[i].number == (uint64_t)number) {
            return &tasks->slots[i];
        }
    }
    return NULL;
}

static const char *outcome_name(int32_t result) {
    static const char *const names[] = {
        [0] = "ok",
        [STORE_ABSENT] = "absent",
        [STORE_RETRY] = "retry",
        [STORE_CORRUPT] = "corrupt",
        [STORE_MISMATCH] = "mismatch",
        [STORE_HASH] = "hash",
        [STORE_SIZE] = "size",
        [STORE_FULL] = "full",
        [STORE_LOCKED] = "locked",
        [STORE_FORMAT] = "format",
        [STORE_READONLY] = "read-only",
        [STORE_PINNED] = "pinned",
    };
    bool known = result >= 0 && (size_t)result < array_count(names) && names[result];
    return known ? names[result] : "failed";
}

static json_t *slot_json(const struct slot *slot) {
    const struct store_task *task = &slot->task;
    bool over = is_over(slot);
    bool failed = over && task->result != 0;
    /* relaxed: a word to look at, no more */
    bool runs = atomic_load_explicit(&task->state, memory_order_relaxed) == STORE_TASK_RUNNING;
    const struct {
        const char *name;
        const counter_t *word;
    } numbers[] = {{"seen", &task->seen},
                   {"total", &task->total},
                   {"blocks", &task->blocks},
                   {"bytes", &task->bytes}};
    json_t *answer = json_object();
    json_object_set_new(answer, "task", json_integer(slot->number));
    json_object_set_new(answer, "command", json_string(slot->row->command));
    json_object_set_new(answer, "state",
                        json_string(failed ? "failed"
                                    : over ? "done"
                                    : runs ? "running"
                                           : "waiting"));
    if (over) {
        json_object_set_new(answer, "outcome", json_string(outcome_name(task->result)));
    }
    if (failed) {
        const char *why = task->why[0]       ? task->why
                          : task->result < 0 ? err_text(task->result)
                                             : "it ended without a word";
        json_object_set_new(answer, "why", json_string(why));
    }
    for (size_t i = 0; i < array_count(numbers); i++) {
        json_object_set_new(answer, numbers[i].name,
                            json_integer((json_int_t)counter_get(numbers[i].word)));
    }
    if (slot->row->show) {
        slot->row->show(task, answer);
    }
    return answer;
}

static json_t *answer_begin(struct engine *engine, const struct row *row, const json_t *request) {
    struct tasks *tasks = engine->tasks;
    struct slot *slot = take(tasks);
    if (!slot) {
        return error_json("as many long requests are under way as there may be (%u); try again "
                          "when one is over",
                          TASKS_MAX);
    }
    *slot = (struct slot){.number = slot->number}; /* what stood there is forgotten */
    slot->task.kind = row->kind;
    json_t *error = row->read ? row->read(engine, request, &slot->task) : NULL;
    if (error) {
        return error;
    }
    int r = store_task_begin(engine->store, &slot->task);
    if (r != 0) {
        return error_json(r == STORE_RETRY
                              ? "the store has as many long requests as it takes, or is closing; "
                                "try again"
                              : "this store takes no such request");
    }
    slot->row = row;
    slot->number = ++tasks->last;
    return json_pack("{s:i}", "task", (int)slot->number);
}

static json_t *answer_task(struct engine *engine, const json_t *request) {
    const struct slot *slot = find(engine->tasks, request);
    return slot ? slot_json(slot) : error_json("no such task, or it is too long ago");
}

static json_t *answer_cancel(struct engine *engine, const json_t *request) {
    struct slot *slot = find(engine->tasks, request);
    if (!slot) {
        return error_json("no such task, or it is too long ago");
    }
    /* Relaxed: the porter looks at it at its next step, and nothing else follows from it. */
    atomic_store_explicit(&slot->task.cancel, true, memory_order_relaxed);
    return json_pack("{s:b}", "canceled", 1);
}

static json_t *answer_tasks(struct engine *engine) {
    json_t *list = json_array();
    for (uint32_t i = 0; i < TASKS_MAX; i++) {
        const struct slot *slot = &engine->tasks->slots[i];
        if (slot->row) {
            json_array_append_new(list, slot_json(slot));
        }
    }
    return json_pack("{s:o}", "tasks", list);
}

json_t *tasks_answer(struct engine *engine, const char *command, const json_t *request) {
    if (strcmp(command, "tasks") == 0) {
        return answer_tasks(engine);
    }
    if (strcmp(command, "task") == 0) {
        return answer_task(engine, request);
    }
    if (strcmp(command, "cancel") == 0) {
        return answer_cancel(engine, request);
    }
    for (size_t i = 0; i < array_count(rows); i++) {
        if (rows[i].command && strcmp(command, rows[i].command) == 0) {
            return answer_begin(engine, &rows[i], request);
        }
    }
    return NULL;
}
