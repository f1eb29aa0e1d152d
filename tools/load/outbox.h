/* SPDX-License-Identifier: MIT */
#pragma once

/* outbox — the requests of one connection's turn, gathered into one send.
 *
 * Heads and small bodies are copied into one buffer; the tails of large bodies are pointed at where
 * the content keeps them. While a send is out the outbox is the kernel's and takes nothing. */

#include "base/base.h"

#include <sys/socket.h>
#include <sys/uio.h>

struct outbox {
    uint8_t *bytes;
    uint32_t used, room;
    uint32_t cut; /* bytes before this are already behind an iovec */
    uint32_t parts, parts_room;
    struct iovec *iov; /* NULL where all requests are heads */
    struct msghdr message;
};

/* Memory is the caller's and outlives the outbox. */
void outbox_init(struct outbox *outbox, uint8_t *bytes, uint32_t room, struct iovec *iov,
                 uint32_t parts_room);
/* Where to write next, `room - used` bytes; outbox_add says how many were written. */
static inline uint8_t *outbox_at(struct outbox *outbox) {
    return outbox->bytes + outbox->used;
}
static inline uint32_t outbox_room(const struct outbox *outbox) {
    return outbox->room - outbox->used;
}
void outbox_add(struct outbox *outbox, size_t bytes);
/* outbox_point adds bytes that stay where they are until the send is done. */
void outbox_point(struct outbox *outbox, const uint8_t *bytes, size_t count);
static inline bool outbox_pointable(const struct outbox *outbox) {
    return outbox->parts + 3 <= outbox->parts_room;
}
static inline bool outbox_empty(const struct outbox *outbox) {
    return outbox->used == 0;
}
/* The message to send where there are parts, NULL where bytes[0..used) is all. */
struct msghdr *outbox_message(struct outbox *outbox);
size_t outbox_bytes(const struct outbox *outbox);
void outbox_clear(struct outbox *outbox);
