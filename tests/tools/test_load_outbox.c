/* SPDX-License-Identifier: MIT */
#include "tools/load/outbox.h"

#include <criterion/criterion.h>
#include <string.h>

Test(load_outbox, copied_bytes_alone_need_no_message) {
    uint8_t bytes[16];
    struct outbox outbox;
    outbox_init(&outbox, bytes, sizeof bytes, NULL, 0);
    cr_assert(outbox_empty(&outbox));
    memcpy(outbox_at(&outbox), "abcd", 4);
    outbox_add(&outbox, 4);
    cr_assert_null(outbox_message(&outbox));
    cr_assert_eq(outbox_bytes(&outbox), 4);
    cr_assert_eq(outbox_room(&outbox), 12);
}

Test(load_outbox, pointed_and_copied_bytes_leave_in_the_order_they_came) {
    uint8_t bytes[16];
    struct iovec iov[8];
    struct outbox outbox;
    outbox_init(&outbox, bytes, sizeof bytes, iov, 8);
    for (int turn = 0; turn < 2; turn++) {
        memcpy(outbox_at(&outbox), "ab", 2);
        outbox_add(&outbox, 2);
        outbox_point(&outbox, (const uint8_t *)"LARGE", 5);
        memcpy(outbox_at(&outbox), "cd", 2);
        outbox_add(&outbox, 2);
        const struct msghdr *message = outbox_message(&outbox);
        char whole[32] = "";
        for (size_t i = 0; i < message->msg_iovlen; i++) {
            strncat(whole, message->msg_iov[i].iov_base, message->msg_iov[i].iov_len);
        }
        cr_assert_str_eq(whole, "abLARGEcd");
        cr_assert_eq(outbox_bytes(&outbox), 9);
        outbox_clear(&outbox);
        cr_assert(outbox_empty(&outbox));
    }
}
