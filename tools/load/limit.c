/* SPDX-License-Identifier: MIT */
#include "tools/load/run.h"

#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* What the server takes, found out before millions of blocks are hashed for it. */

/* Says hello and reads until the answer is whole. Returns: 0 or -errno. */
static int hello(const struct wire *wire, int fd, struct wire_reply *ret_reply) {
    uint8_t bytes[WIRE_REPLY_MAX];
    size_t size = wire->hello(2, bytes), used = 0;
    if (send(fd, bytes, size, MSG_NOSIGNAL) != (ssize_t)size) {
        return err_raise(-errno);
    }
    for (size_t got = 0; got < sizeof bytes;) {
        ssize_t more = recv(fd, bytes + got, sizeof bytes - got, 0);
        if (more <= 0) {
            return err_raise(more == 0 ? -ECONNRESET : errno == EAGAIN ? -ETIMEDOUT : -errno);
        }
        got += (size_t)more;
        int r = wire->read(bytes, got, ret_reply, &used);
        if (r != WIRE_SHORT) {
            return r == 0 ? 0 : err_raise(-EPROTO);
        }
    }
    return err_raise(-EPROTO);
}

int run_limit(const struct plan *plan, uint32_t *ret_block_max, char *why, size_t why_bytes) {
    struct timeval patience = {.tv_sec = 5};
    struct wire_reply reply = {.answer = WIRE_FAULT};
    *ret_block_max = 0;
    if (plan->wire->hello == NULL) {
        return 0;
    }
    int fd = socket(plan->to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return err_raise(-errno);
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    int r = connect(fd, (const struct sockaddr *)&plan->to, plan->to_bytes) == 0 ? 0 : -errno;
    if (r != 0) {
        r = r == -EINPROGRESS ? -ETIMEDOUT : r;
        snprintf(why, why_bytes, "cannot connect to %s: %s%s", plan->to_text, err_text(r),
                 r == -ECONNREFUSED ? " (is the server running there?)" : "");
    } else {
        r = hello(plan->wire, fd, &reply);
        if (r != 0) {
            snprintf(why, why_bytes, "%s does not answer as %s does: %s", plan->to_text,
                     plan->wire->name, err_text(r));
        }
    }
    close(fd);
    *ret_block_max = r == 0 && reply.answer == WIRE_WELCOME ? reply.block_max : 0;
    return err_raise(r);
}
