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
