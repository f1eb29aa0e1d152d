/* SPDX-License-Identifier: MIT */
#include "engine/tasks.h"

#include "base/cid.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/must.h"
#include "engine/answer.h"
#include "engine/engine_private.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PINS_PAGE 1024u
#define PINS_NS   (2 * NS_PER_S) /* what the store has to answer with a page of pins */

/* One command that begins a task. */
struct row {
    const char *command;
    uint8_t kind; /* enum store_task_kind */
    /* Takes the request into task->ask. Returns: NULL, or an error in its stead; may be NULL. */
    json_t *(*read)(struct engine *engine, const json_t *request, struct store_task *task);
    /* Adds what this kind has to say of itself; may be NULL. */
    void (*show)(const struct store_task *task, json_t *answer);
};

static json_t *read_pin(struct engine *engine, const json_t *request, struct store_task *task);
static json_t *read_unpin(struct engine *engine, const json_t *request, struct store_task *task);
static json_t *read_gc(struct engine *engine, const json_t *request, struct store_task *task);
static void show_gc(const struct store_task *task, json_t *answer);
static json_t *read_backup(struct engine *engine, const json_t *request, struct store_task *task);
static void show_backup(const struct store_task *task, json_t *answer);
static void show_scrub(const struct store_task *task, json_t *answer);

static const struct row rows[] = {
    {"pin", STORE_TASK_PIN, read_pin, NULL},
    {"unpin", STORE_TASK_UNPIN, read_unpin, NULL},
    {"gc", STORE_TASK_GC, read_gc, show_gc},
    {"backup", STORE_TASK_BACKUP, read_backup, show_backup},
    {"scrub", STORE_TASK_SCRUB, NULL, show_scrub},
};

struct slot {
    struct store_task task;
    const struct row *row; /* NULL: never used */
    uint32_t number;
};

struct tasks {
    struct slot slots[TASKS_MAX];
    uint32_t last; /* number given out */
    /* the list of pins: one page at a time, control waits for it */
    struct store_task list;
    bool listed;
    struct store_pin page[PINS_PAGE];
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

/* ---- what is asked -------------------------------------------------------------------------- */

static json_t *read_unpin(struct engine *engine, const json_t *request, struct store_task *task) {
    (void)engine;
    const char *text = json_string_value(json_object_get(request, "cid"));
    struct cid cid;
    struct answer_shown shown;
    char why[256];
    if (cid_parse(text ? text : "", &cid, why, sizeof why) != 0) {
        return answer_error("'%s': %s", answer_show(text ? text : "", &shown), why);
    }
    int r = cid_key(&cid, &task->ask.pin.key);
    if (r != 0) {
        return answer_error("'%s': %s", answer_show(text, &shown),
                            r == CID_IDENTITY
                                ? "an identity CID is its own block: there is nothing "
                                  "to pin"
                                : "no block of such a hash is stored here");
    }
    if (cid.codec > UINT32_MAX) {
        return answer_error("'%s': its codec is not known here", answer_show(text, &shown));
    }
    task->ask.pin.codec = (uint32_t)cid.codec;
    return NULL;
}

static json_t *read_pin(struct engine *engine, const json_t *request, struct store_task *task) {
    const json_t *name = json_object_get(request, "name");
    size_t bytes = json_string_length(name);
    if (bytes > STORE_PIN_NAME_MAX) {
        return answer_error("the name of a pin has at most %u bytes", STORE_PIN_NAME_MAX);
    }
    memcpy(task->ask.pin.name, bytes ? json_string_value(name) : "", bytes);
    task->ask.pin.name_bytes = (uint8_t)bytes;
    task->ask.pin.mode =
        json_is_true(json_object_get(request, "direct")) ? STORE_PIN_DIRECT : STORE_PIN_RECURSIVE;
    return read_unpin(engine, request, task);
}

static json_t *read_gc(struct engine *engine, const json_t *request, struct store_task *task) {
    (void)engine;
    const json_t *grace = json_object_get(request, "grace_ns");
    if (grace && (!json_is_integer(grace) || json_integer_value(grace) < 0)) {
        return answer_error("grace_ns is a time in nanoseconds, from 0 up");
    }
    task->ask.gc.grace_ns = grace ? (uint64_t)json_integer_value(grace) : UINT64_MAX;
    task->ask.gc.dry_run = json_is_true(json_object_get(request, "dry_run"));
    return NULL;
}

static json_t *read_backup(struct engine *engine, const json_t *request, struct store_task *task) {
    struct store_backup *ask = &task->ask.backup;
    const char *path = json_string_value(json_object_get(request, "path"));
    static_assert(sizeof ask->files == ENGINE_FILES_MAX * ENGINE_FILE_MAX, "one fills the other");
    if (!path || path[0] != '/' || strlen(path) >= sizeof ask->path) {
        return answer_error("a backup is given a directory, from / on and shorter than %zu bytes",
                            sizeof ask->path);
    }
    (void)snprintf(ask->path, sizeof ask->path, "%s", path);
    const struct engine_hooks *hooks = &engine->hooks;
    ask->files_count = hooks->files ? hooks->files(hooks->context, ask->files) : 0;
    must(ask->files_count <= STORE_BACKUP_FILES);
    return NULL;
}

static bool is_done(const struct store_task *task) {
    /* acquire: pairs with porter_finish; result and why are there */
    return atomic_load_explicit(&task->state, memory_order_acquire) == STORE_TASK_DONE;
}

static void show_backup(const struct store_task *task, json_t *answer) {
    const struct store_backup *ask = &task->ask.backup;
    json_t *config = json_array();
    for (uint32_t i = 0; i < ask->files_count; i++) {
        json_array_append_new(config, json_string(ask->files[i]));
    }
    json_object_set_new(answer, "configuration", config);
    json_t *files = json_array();
    for (uint32_t i = 0; is_done(task) && i < ask->kept_count; i++) {
        json_array_append_new(files, json_string(ask->kept[i]));
    }
    json_object_set_new(answer, "files", files);
    json_object_set_new(answer, "configuration_copied",
                        json_integer((json_int_t)counter_get(&task->phase)));
    json_object_set_new(answer, "segments", json_integer((json_int_t)counter_get(&task->total)));
    json_object_set_new(answer, "copied", json_integer((json_int_t)counter_get(&task->blocks)));
}

static void show_scrub(const struct store_task *task, json_t *answer) {
    json_object_set_new(answer, "repaired", json_integer((json_int_t)counter_get(&task->blocks)));
    json_object_set_new(answer, "damaged", json_integer((json_int_t)counter_get(&task->phase)));
}

static void show_gc(const struct store_task *task, json_t *answer) {
    json_object_set_new(answer, "pinned", json_integer((json_int_t)counter_get(&task->pinned)));
    json_object_set_new(answer, "young", json_integer((json_int_t)counter_get(&task->young)));
    json_object_set_new(answer, "put_again", json_integer((json_int_t)counter_get(&task->again)));
    json_object_set_new(answer, "dry_run", json_boolean(task->ask.gc.dry_run));
    json_object_set_new(answer, "phase",
                        json_string(counter_get(&task->phase) < 4 ? "mark" : "sweep"));
}

/* ---- the table ------------------------------------------------------------------------------ */

static bool is_over(const struct slot *slot) {
    return !slot->row || is_done(&slot->task);
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
    struct store_task asked = {.kind = row->kind};
    json_t *error = row->read ? row->read(engine, request, &asked) : NULL;
    if (error) {
        return error;
    }
    struct slot *slot = take(tasks);
    if (!slot) {
        return answer_error("as many long requests are under way as there may be (%u); try again "
                            "when one is over",
                            TASKS_MAX);
    }
    struct slot before = *slot; /* a task that is over: forgotten when a new one stands there */
    *slot = (struct slot){.task = asked};
    int r = store_task_begin(engine->store, &slot->task);
    if (r != 0) {
        *slot = before;
        return answer_error(r == STORE_RETRY
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
    return slot ? slot_json(slot) : answer_error("no such task, or it is too long ago");
}

static json_t *answer_cancel(struct engine *engine, const json_t *request) {
    struct slot *slot = find(engine->tasks, request);
    if (!slot) {
        return answer_error("no such task, or it is too long ago");
    }
    /* Relaxed: the porter looks at it at its next step, and nothing else follows from it. */
    atomic_store_explicit(&slot->task.cancel, true, memory_order_relaxed);
    return json_pack("{s:b}", "canceled", !is_over(slot)); /* what is over stays as it ended */
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

/* ---- the list of pins ----------------------------------------------------------------------- */

static json_t *pin_json(const struct store_pin *pin) {
    struct cid cid;
    char text[CID_TEXT_MAX];
    cid_of_key(&pin->key, pin->codec, &cid);
    cid_format(&cid, text);
    json_t *line = json_pack("{s:s,s:s}", "cid", text, "mode",
                             pin->mode == STORE_PIN_RECURSIVE ? "recursive" : "direct");
    /* The wire's names are any bytes, JSON's are text. */
    json_t *name = json_stringn(pin->name, pin->name_bytes);
    struct answer_shown shown;
    json_object_set_new(line, "name", name ? name : json_string(answer_show(pin->name, &shown)));
    return line;
}

static bool list_over(const struct tasks *tasks) {
    return !tasks->listed ||
           atomic_load_explicit(&tasks->list.state, memory_order_acquire) == STORE_TASK_DONE;
}

static json_t *answer_pins(struct engine *engine, const json_t *request) {
    struct tasks *tasks = engine->tasks;
    if (!list_over(tasks)) {
        return answer_error("the store has not answered yet; try again");
    }
    const json_t *cursor = json_object_get(request, "cursor");
    tasks->list = (struct store_task){.kind = STORE_TASK_PINS};
    tasks->list.ask.pins = (struct store_pins){
        .cursor = (uint64_t)json_integer_value(cursor), .pins = tasks->page, .max = PINS_PAGE};
    if (store_task_begin(engine->store, &tasks->list) != 0) {
        return answer_error("the store takes no such request now; try again");
    }
    tasks->listed = true;
    uint64_t give_up_ns = clock_ns() + PINS_NS;
    while (!list_over(tasks)) {
        if (clock_ns() > give_up_ns) {
            return answer_error("the store does not answer; try again");
        }
        (void)poll(NULL, 0, 1);
    }
    if (tasks->list.result != 0) {
        return answer_error("%s", tasks->list.why[0] ? tasks->list.why : "it failed");
    }
    const struct store_pins *list = &tasks->list.ask.pins;
    json_t *pins = json_array();
    for (uint32_t i = 0; i < list->count; i++) {
        json_array_append_new(pins, pin_json(&list->pins[i]));
    }
    json_t *answer = json_pack("{s:o}", "pins", pins);
    if (list->cursor != UINT64_MAX) {
        json_object_set_new(answer, "cursor", json_integer((json_int_t)list->cursor));
    }
    return answer;
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
    if (strcmp(command, "pins") == 0) {
        return answer_pins(engine, request);
    }
    for (size_t i = 0; i < array_count(rows); i++) {
        if (strcmp(command, rows[i].command) == 0) {
            return answer_begin(engine, &rows[i], request);
        }
    }
    return NULL;
}
