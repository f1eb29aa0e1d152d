/* SPDX-License-Identifier: MIT */
#include "rings/job.h"

#include <criterion/criterion.h>

Test(job, a_chain_gives_jobs_back_in_order) {
    struct job jobs[5] = {{0}};
    struct job_chain chain = {0};
    cr_assert_null(job_chain_pop(&chain));
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 5; i++) {
            job_chain_push(&chain, &jobs[i]);
        }
        cr_assert_eq(chain.count, 5);
        for (int i = 0; i < 5; i++) {
            cr_assert_eq(job_chain_pop(&chain), &jobs[i]);
        }
        cr_assert_null(chain.head);
        cr_assert_null(chain.tail);
        cr_assert_eq(chain.count, 0);
    }
}

Test(job, a_stamp_saturates) {
    struct job job = {.arrived_ns = 1000};
    cr_assert_eq(job_since(&job, 1000), 0);
    cr_assert_eq(job_since(&job, 1000 + NS_PER_S), NS_PER_S);
    cr_assert_eq(job_since(&job, 1000 + 5 * NS_PER_S), UINT32_MAX);
}

Test(job, a_stamp_of_a_turn_that_began_before_it_arrived_is_none) {
    struct job job = {.arrived_ns = 1000};
    cr_assert_eq(job_since(&job, 999), 0, "not 4.29 s: a deadline would be past at once");
}

Test(job, stamps_keep_their_order) {
    struct job job = {.arrived_ns = 1000, .queued_ns = 700};
    job_start(&job, 1600); /* the turn of the core that works began before it was queued */
    cr_assert_eq(job.started_ns, 700);
    job_finish(&job, 1650);
    cr_assert_eq(job.finished_ns, 700);
    job_start(&job, 2000);
    job_finish(&job, 2500);
    cr_assert_eq(job.started_ns, 1000);
    cr_assert_eq(job.finished_ns, 1500);
}

/* Came home from a work tile to a connection that took no reply, and is looked up anew. */
Test(job, an_answer_on_the_light_way_keeps_no_stamp_of_another) {
    struct job job = {.arrived_ns = 1000, .queued_ns = 700, .started_ns = 800, .finished_ns = 900};
    job_answer_light(&job, 1500, 1600);
    cr_assert_eq(job.queued_ns, 0);
    cr_assert_eq(job.started_ns, 500);
    cr_assert_eq(job.finished_ns, 600);
}

Test(job, everything_has_a_name) {
    for (int i = 0; i < CLASS_COUNT; i++) {
        cr_assert_not_null(job_class_names[i]);
    }
    for (int i = 0; i < JOB_KIND_COUNT; i++) {
        cr_assert_not_null(job_kind_names[i]);
    }
    for (int i = 0; i < JOB_STATUS_COUNT; i++) {
        cr_assert_not_null(job_status_names[i]);
    }
}
