/* SPDX-License-Identifier: MIT */
#include "engine/loan.h"

#include "base/bits.h"
#include "store/frame.h"
#include "store/heap.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>

#define FRAME_BYTES 50000u

static struct heap *heap;
static struct frame_home home;
static struct frame *frame; /* live, leased once by the test */
static struct loans loans;
static void *memory;

static void setup(void) {
    struct store_memory bodies;
    cr_assert_eq(heap_open(&heap, 4 * MiB, &bodies), 0);
    cr_assert_eq(frame_home_open(&home, 0, MiB, &bodies), 0);
    frame = frame_take_free(&home, FRAME_BYTES);
    cr_assert_not_null(frame);
    frame_fill(frame, 1, true);
    memory = aligned_alloc(CACHE_PAIR, round_up(loans_footprint(), CACHE_PAIR));
    loans_init(&loans, memory);
    loans.bytes_max = UINT64_MAX / 2;
}
static void teardown(void) {
    frame_give_back(frame);
    frame_home_close(&home);
    heap_close(heap);
    free(memory);
}
TestSuite(loan, .init = setup, .fini = teardown);

static uint32_t leases(void) {
    return (uint32_t)(atomic_load(&frame->word) & FRAME_LEASES);
}

Test(loan, keeps_its_frame_from_being_evicted) {
    struct loan *loan = loan_make(&loans, frame, 1000);
    cr_assert_not_null(loan);
    cr_assert_eq(leases(), 2);
    cr_assert_eq(loans.bytes, 1000);
    cr_assert_not(frame_evict(frame));
    loan_end(&loans, loan);
    cr_assert_eq(leases(), 1);
    cr_assert_eq(loans.bytes, 0);
}

Test(loan, is_refused_beyond_the_bound_and_leases_nothing) {
    loans.bytes_max = 2500;
    struct loan *first = loan_make(&loans, frame, 1000), *second = loan_make(&loans, frame, 1500);
    cr_assert_not_null(first);
    cr_assert_not_null(second);
    cr_assert_null(loan_make(&loans, frame, 1));
    cr_assert_eq(leases(), 3);
    loan_end(&loans, first);
    first = loan_make(&loans, frame, 1000);
    cr_assert_not_null(first);
    loan_end(&loans, first);
    loan_end(&loans, second);
    cr_assert_eq(leases(), 1);
}

Test(loan, is_refused_when_all_are_out) {
    struct loan *all[LOANS_MAX];
    for (uint32_t i = 0; i < LOANS_MAX; i++) {
        all[i] = loan_make(&loans, frame, 1);
        cr_assert_not_null(all[i]);
    }
    cr_assert_null(loan_make(&loans, frame, 1));
    cr_assert_eq(loans.bytes, LOANS_MAX);
    for (uint32_t i = 0; i < LOANS_MAX; i++) {
        loan_end(&loans, all[i]);
    }
    cr_assert_eq(leases(), 1);
}

Test(loan, ended_twice_is_a_bug, .signal = SIGABRT) {
    struct loan *loan = loan_make(&loans, frame, 1);
    loan_end(&loans, loan);
    loan_end(&loans, loan);
}
