/* SPDX-License-Identifier: MIT */
#include "tools/load/outbox.h"

#include "base/must.h"

void outbox_init(struct outbox *outbox, uint8_t *bytes, uint32_t room, struct iovec *iov,
                 uint32_t parts_room) {
    *outbox = (struct outbox){
        .bytes = bytes, .room = room, .iov = iov, .parts_room = iov == NULL ? 0 : parts_room};
}

void outbox_add(struct outbox *outbox, size_t bytes) {
    must(bytes <= outbox_room(outbox));
    outbox->used += (uint32_t)bytes;
}

static void part_add(struct outbox *outbox, const uint8_t *bytes, size_t count) {
    must(outbox->parts < outbox->parts_room);
    outbox->iov[outbox->parts++] = (struct iovec){.iov_base = (void *)bytes, .iov_len = count};
}

/* What was copied since the last part becomes a part of its own. */
static void copied_close(struct outbox *outbox) {
    if (outbox->used > outbox->cut) {
        part_add(outbox, outbox->bytes + outbox->cut, outbox->used - outbox->cut);
        outbox->cut = outbox->used;
    }
}

void outbox_point(struct outbox *outbox, const uint8_t *bytes, size_t count) {
    copied_close(outbox);
    part_add(outbox, bytes, count);
}

struct msghdr *outbox_message(struct outbox *outbox) {
    if (outbox->parts == 0) {
        return NULL;
    }
    copied_close(outbox);
    outbox->message = (struct msghdr){.msg_iov = outbox->iov, .msg_iovlen = outbox->parts};
    return &outbox->message;
}

size_t outbox_bytes(const struct outbox *outbox) {
    size_t bytes = outbox->used - outbox->cut;
    for (uint32_t i = 0; i < outbox->parts; i++) {
        bytes += outbox->iov[i].iov_len;
    }
    return bytes;
}

void outbox_clear(struct outbox *outbox) {
    outbox->used = 0;
    outbox->cut = 0;
    outbox->parts = 0;
}
