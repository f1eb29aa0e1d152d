/* SPDX-License-Identifier: MIT */
/* Long requests by the admin socket: engine/tasks.c. */
#include "engine/tasks.h"

#include "tests/engine/rig.h"

#include <criterion/criterion.h>
#include <string.h>

static struct rig rig;

static void setup(void) {
    rig_init(&rig);
}
TestSuite(tasks, .init = setup, .timeout = 120);

static void expect_error(const char *command, const char *words) {
    json_t *answer = rig_ask(&rig, command);
    const char *error = json_string_value(json_object_get(answer, "error"));
    cr_assert_not_null(error, "%s", command);
    cr_assert(strstr(error, words), "%s: %s", command, error);
    json_decref(answer);
}

static size_t over(void) {
    json_t *answer = rig_ask(&rig, "tasks");
    const json_t *list = json_object_get(answer, "tasks");
    size_t count = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *state = json_string_value(json_object_get(json_array_get(list, i), "state"));
        count += strcmp(state, "done") == 0 || strcmp(state, "failed") == 0;
    }
    json_decref(answer);
    return count;
}

Test(tasks, a_request_that_is_refused_makes_none_forgotten) {
    rig_run(&rig);
    for (uint32_t i = 0; i < TASKS_MAX; i++) {
        json_decref(rig_ask(&rig, "gc"));
        while (over() != i + 1) {
        }
    }
    expect_error("backup", "a backup is given a directory");
    cr_assert_eq(over(), TASKS_MAX);
    cr_assert_eq(rig_close(&rig), 0);
}

Test(tasks, one_that_never_was_is_not_found) {
    rig_run(&rig);
    expect_error("task", "no such task");
    expect_error("cancel", "no such task");
    json_t *answer = rig_ask(&rig, "tasks");
    cr_assert_eq(json_array_size(json_object_get(answer, "tasks")), 0);
    json_decref(answer);
    cr_assert_eq(rig_close(&rig), 0, "with nothing under way a drain waits for nothing");
}
