/* SPDX-License-Identifier: MIT */
#include "engine/conn.h"

#include "store/frame.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum { SMALL = 4, LARGE = 3, LEASED = 6 };
#define FRAME_BYTES 50000u

static struct out_pools pools;
static struct conn conn;
static struct frame_home home;
static struct frame *frame; /* live, leased once by the test */
static uint32_t bodies_out;
static void *pool_memory;

static void *take_body(void *context, size_t bytes, size_t align) {
    (void)context;
    bodies_out++;
    return aligned_alloc(align, (bytes + align - 1) / align * align);
}
static void give_body(void *context, void *body, size_t bytes) {
    (void)context, (void)bytes;
    bodies_out--;
    free(body);
}

static void setup(void) {
    size_t bytes = out_pools_footprint(SMALL, LARGE, LEASED);
    uint8_t *memory = aligned_alloc(CACHE_PAIR, (bytes + CACHE_PAIR - 1) / CACHE_PAIR * CACHE_PAIR);
    pool_memory = memory;
    out_pools_init(&pools, memory, SMALL, LARGE, LEASED);
    memset(&conn, 0, sizeof conn);
    const struct store_memory memory_of_frames = {.take = take_body, .give = give_body};
    cr_assert_eq(frame_home_open(&home, 0, 4 * MiB, &memory_of_frames), 0);
    frame = frame_take_free(&home, FRAME_BYTES);
    cr_assert_not_null(frame);
    for (uint32_t i = 0; i < FRAME_BYTES; i++) {
        frame->body[i] = (uint8_t)(i * 7 + i / 256);
    }
    frame_fill(frame, 1, true);
}

static void teardown(void) {
    frame_home_close(&home);
    free(pool_memory);
}

TestSuite(conn, .init = setup, .fini = teardown);

static uint32_t leases(void) {
    return (uint32_t)(atomic_load(&frame->word) & FRAME_LEASES);
}

/* Appends a range of the frame with a lease of its own. */
static bool append_frame(uint32_t offset, uint32_t count) {
    frame_lease_again(frame);
    bool taken =
        conn_append_frame(&pools, &conn, frame, frame_body(frame) + offset, count, OUT_PLAIN);
    if (!taken) {
        frame_give_back(frame);
    }
    return taken;
}

static bool all_home(void) {
    return pool_used(&pools.small) == 0 && pool_used(&pools.large) == 0 &&
           pool_used(&pools.leased) == 0;
}

/* The output's first bytes, as a send of at most `max` would gather them. */
static uint32_t gather(uint8_t *bytes, uint32_t max) {
    uint32_t count = 0;
    for (const struct out *out = conn.out_head; out && count < max; out = out->next) {
        uint32_t part = out->used < max - count ? out->used : max - count;
        memcpy(bytes + count, out->bytes, part);
        count += part;
    }
    return count;
}

/* ---- states */

static void goes(enum conn_state from, enum conn_state to) {
    conn.state = (uint8_t)from;
    conn_goto(&conn, to);
    cr_assert_eq(conn.state, to);
}

Test(conn, goes_the_ways_of_the_drawing) {
    goes(CONN_FREE, CONN_HELLO);
    goes(CONN_HELLO, CONN_READY);
    goes(CONN_HELLO, CONN_CLOSING);
    goes(CONN_READY, CONN_CLOSING);
    goes(CONN_CLOSING, CONN_FREE);
}

/* A panic ends the process, so each refused way is a test of its own. */
#define REFUSED(name, from, to)                             \
    Test(conn, never_goes_from_##name, .signal = SIGABRT) { \
        goes(from, to);                                     \
    }
REFUSED(free_to_free, CONN_FREE, CONN_FREE)
REFUSED(free_to_ready, CONN_FREE, CONN_READY)
REFUSED(free_to_closing, CONN_FREE, CONN_CLOSING)
REFUSED(hello_to_free, CONN_HELLO, CONN_FREE)
REFUSED(hello_to_hello, CONN_HELLO, CONN_HELLO)
REFUSED(ready_to_free, CONN_READY, CONN_FREE)
REFUSED(ready_to_hello, CONN_READY, CONN_HELLO)
REFUSED(ready_to_ready, CONN_READY, CONN_READY)
REFUSED(closing_to_hello, CONN_CLOSING, CONN_HELLO)
REFUSED(closing_to_ready, CONN_CLOSING, CONN_READY)
REFUSED(closing_to_closing, CONN_CLOSING, CONN_CLOSING)
REFUSED(any_to_no_state, CONN_READY, CONN_STATE_COUNT)

Test(conn, is_not_freed_under_a_receive, .signal = SIGABRT) {
    conn.receive_out = true;
    goes(CONN_CLOSING, CONN_FREE);
}
Test(conn, is_not_freed_under_a_send, .signal = SIGABRT) {
    conn.send_out = true;
    goes(CONN_CLOSING, CONN_FREE);
}
Test(conn, is_not_freed_under_a_cancel, .signal = SIGABRT) {
    conn.cancel_out = true;
    goes(CONN_CLOSING, CONN_FREE);
}
Test(conn, is_not_freed_while_a_job_names_it, .signal = SIGABRT) {
    conn.jobs = 1;
    goes(CONN_CLOSING, CONN_FREE);
}
Test(conn, is_not_freed_with_output, .signal = SIGABRT) {
    cr_assert_not_null(conn_room(&pools, &conn, 1));
    goes(CONN_CLOSING, CONN_FREE);
}

Test(conn, every_end_has_a_name) {
    for (uint32_t i = 0; i < CONN_END_COUNT; i++) {
        cr_assert_not_null(conn_end_names[i]);
    }
}

/* ---- output: room */

Test(conn, room_is_contiguous_and_counted) {
    uint8_t *first = conn_room(&pools, &conn, 100);
    uint8_t *second = conn_room(&pools, &conn, 50);
    cr_assert_eq(second, first + 100);
    cr_assert_eq(conn.out_bytes, 150);
    cr_assert_eq(conn.out_head, conn.out_tail);
    cr_assert_eq(pool_used(&pools.small), 1);
    cr_assert_eq(out_pools_free(&pools), SMALL + LARGE - 1);
}

Test(conn, the_first_chunk_is_small_and_those_behind_it_large) {
    cr_assert_not_null(conn_room(&pools, &conn, OUT_SMALL_BYTES));
    cr_assert_eq(pool_used(&pools.small), 1);
    cr_assert_not_null(conn_room(&pools, &conn, 1));
    cr_assert_eq(pool_used(&pools.large), 1);
    cr_assert_eq(conn.out_tail->size, OUT_LARGE_BYTES);
}

Test(conn, either_kind_of_chunk_serves_where_the_other_ran_out) {
    while (pools.small.free_count > 0) {
        cr_assert_not_null(pool_get(&pools.small));
    }
    cr_assert_not_null(conn_room(&pools, &conn, OUT_SMALL_BYTES));
    cr_assert_eq(conn.out_tail->size, OUT_LARGE_BYTES);
    conn_drop_output(&pools, &conn);
    cr_assert_eq(pool_used(&pools.large), 0);
}

Test(conn, room_ends_when_the_pools_are_empty_and_nothing_changes) {
    uint32_t taken = 0;
    while (conn_room(&pools, &conn, OUT_SMALL_BYTES)) {
        taken++;
    }
    cr_assert_eq(out_pools_free(&pools), 0);
    cr_assert_eq(conn.out_bytes, taken * OUT_SMALL_BYTES);
    cr_assert_eq(taken, SMALL + LARGE * (OUT_LARGE_BYTES / OUT_SMALL_BYTES));
    conn_sent(&pools, &conn, conn.out_bytes);
    cr_assert(all_home());
    cr_assert_null(conn.out_head);
    cr_assert_null(conn.out_tail);
}

Test(conn, more_room_than_a_small_chunk_is_a_bug, .signal = SIGABRT) {
    (void)conn_room(&pools, &conn, OUT_SMALL_BYTES + 1);
}

/* Bytes that a partial send took off the front are no room behind. */
Test(conn, room_never_overruns_a_chunk_whose_front_was_sent) {
    for (uint32_t i = 0; i < 300; i++) {
        uint8_t *room = conn_room(&pools, &conn, 1500);
        cr_assert_not_null(room, "round %u", i);
        memset(room, (int)i, 1500);
        const struct out *tail = conn.out_tail;
        cr_assert_leq(room + 1500, (const uint8_t *)(tail + 1) + tail->size);
        conn_sent(&pools, &conn, conn.out_bytes - 1); /* always one byte stays */
        cr_assert_eq(*conn.out_head->bytes, (uint8_t)i);
    }
}

/* ---- output: append */

Test(conn, append_copies_any_number_of_bytes) {
    static uint8_t bytes[60000], back[60000];
    for (uint32_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i * 13);
    }
    cr_assert_not(conn_append(&pools, &conn, bytes, sizeof bytes), "it may need 31 chunks");
    cr_assert_eq(conn.out_bytes, 0, "nothing was appended");
    cr_assert_null(conn.out_head);
    cr_assert(conn_append(&pools, &conn, bytes, 10000));
    cr_assert_eq(gather(back, sizeof back), 10000);
    cr_assert_eq(memcmp(bytes, back, 10000), 0);
    cr_assert(conn_append(&pools, &conn, bytes, 0));
    cr_assert_eq(conn.out_bytes, 10000);
    conn_sent(&pools, &conn, 10000);
    cr_assert(all_home());
}

Test(conn, append_frame_fails_without_a_node_and_the_caller_keeps_the_lease) {
    for (uint32_t i = 0; i < LEASED; i++) {
        cr_assert(append_frame(i, 10));
    }
    cr_assert_eq(leases(), 1 + LEASED);
    cr_assert_not(append_frame(0, 10));
    cr_assert_eq(leases(), 1 + LEASED);
    cr_assert_eq(conn.out_bytes, LEASED * 10);
    conn_drop_output(&pools, &conn);
    cr_assert_eq(leases(), 1);
    cr_assert(all_home());
}

/* ---- output: sent */

/* A head in a chunk, a leased body, a head, a body, as replies lie. */
static uint32_t mixed_output(uint8_t *copy, uint32_t max) {
    static const uint32_t bodies[] = {37, 1, 90};
    for (uint32_t i = 0; i < array_count(bodies); i++) {
        uint8_t *head = conn_room(&pools, &conn, 22);
        cr_assert_not_null(head);
        memset(head, (int)(0xa0 + i), 22);
        cr_assert(append_frame(100 * i, bodies[i]));
    }
    uint8_t *last = conn_room(&pools, &conn, 6);
    memset(last, 0xee, 6);
    return gather(copy, max);
}

/* However the kernel cuts what it takes, the bytes that follow are the right ones, and leases and
 * nodes go back exactly once. */
Test(conn, partial_sends_at_every_byte_count_keep_the_order) {
    uint8_t whole[512], rest[512];
    uint32_t total = mixed_output(whole, sizeof whole);
    cr_assert_eq(total, 3 * 22 + 37 + 1 + 90 + 6);
    conn_drop_output(&pools, &conn);
    for (uint32_t step = 1; step <= total; step++) {
        cr_assert_eq(mixed_output(whole, sizeof whole), total);
        cr_assert_eq(leases(), 4);
        for (uint32_t sent = 0; sent < total;) {
            uint32_t part = step < total - sent ? step : total - sent;
            conn_sent(&pools, &conn, part);
            sent += part;
            cr_assert_eq(conn.out_bytes, total - sent);
            cr_assert_eq(gather(rest, sizeof rest), total - sent, "step %u", step);
            cr_assert_eq(memcmp(rest, whole + sent, total - sent), 0, "step %u at %u", step, sent);
        }
        cr_assert_eq(leases(), 1, "step %u", step);
        cr_assert(all_home(), "step %u", step);
    }
}

Test(conn, a_lease_ends_with_the_last_byte_of_its_body_and_not_before) {
    cr_assert(append_frame(0, 100));
    conn_sent(&pools, &conn, 99);
    cr_assert_eq(leases(), 2);
    cr_assert_eq(conn.out_bytes, 1);
    conn_sent(&pools, &conn, 1);
    cr_assert_eq(leases(), 1);
}

Test(conn, dropped_output_gives_every_lease_and_node_back) {
    uint8_t whole[512];
    uint32_t total = mixed_output(whole, sizeof whole);
    conn_sent(&pools, &conn, total / 2);
    conn_drop_output(&pools, &conn);
    cr_assert_eq(leases(), 1);
    cr_assert_eq(conn.out_bytes, 0);
    cr_assert_null(conn.out_head);
    cr_assert_null(conn.out_tail);
    cr_assert(all_home());
}

Test(conn, a_frame_that_dies_is_whole_until_it_was_sent) {
    cr_assert(append_frame(0, FRAME_BYTES));
    frame_kill(frame);
    frame_give_back(frame); /* the test's own lease: now only the output holds it */
    uint8_t first;
    cr_assert_eq(gather(&first, 1), 1);
    (void)frame_home_poll(&home);
    cr_assert_eq(bodies_out, 1, "it is still leased");
    conn_sent(&pools, &conn, FRAME_BYTES);
    (void)frame_home_poll(&home);
    cr_assert_eq(bodies_out, 0, "and home again");
}

Test(conn, more_sent_than_there_was_is_a_bug, .signal = SIGABRT) {
    cr_assert_not_null(conn_room(&pools, &conn, 10));
    conn_sent(&pools, &conn, 11);
}

Test(conn, output_is_not_dropped_under_a_send, .signal = SIGABRT) {
    cr_assert_not_null(conn_room(&pools, &conn, 10));
    conn.send_out = true;
    conn_drop_output(&pools, &conn);
}

Test(conn, counts_pieces_that_are_not_to_go_plain_until_they_leave) {
    for (uint32_t i = 0; i < 3; i++) {
        frame_lease_again(frame);
        cr_assert(conn_append_frame(&pools, &conn, frame, frame_body(frame), 100,
                                    i == 1 ? OUT_PLAIN : OUT_FILE));
    }
    cr_assert_eq(conn.out_special, 2);
    conn_head_plain(&conn);
    conn_head_plain(&conn);
    cr_assert_eq(conn.out_special, 1);
    conn_sent(&pools, &conn, 250);
    cr_assert_eq(conn.out_special, 1, "a part of it is there");
    conn_sent(&pools, &conn, 50);
    cr_assert_eq(conn.out_special, 0);
    frame_lease_again(frame);
    cr_assert(conn_append_frame(&pools, &conn, frame, frame_body(frame), 100, OUT_ZERO));
    conn_drop_output(&pools, &conn);
    cr_assert_eq(conn.out_special, 0);
}
