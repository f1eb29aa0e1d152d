/* SPDX-License-Identifier: MIT */
#include "base/clock.h"
#include "tools/client/client.h"

/* Requests that only queue, and the poll that hands out what became of them. */

static int submit(struct mr_client *client, struct asking asking) {
    uint32_t index;
    return client_ask(client, &asking, &index);
}

int mr_submit_ping(struct mr_client *client, const struct mr_ask *ask, void *user) {
    return submit(client, (struct asking){.kind = MR_KIND_PING, .ask = ask, .user = user});
}

int mr_submit_get(struct mr_client *client, const struct mr_cid *cid, uint32_t offset,
                  uint32_t length, void *buffer, size_t buffer_size, const struct mr_ask *ask,
                  void *user) {
    return submit(client, (struct asking){
                              .kind = MR_KIND_GET,
                              .cid = cid,
                              .offset = offset,
                              .length = length,
                              .buffer = buffer,
                              .buffer_bytes = buffer_size,
                              .check = client->options.verify && offset == 0 && length == 0,
                              .ask = ask,
                              .user = user,
                          });
}

int mr_submit_put(struct mr_client *client, const struct mr_cid *cid, const void *data, size_t size,
                  const struct mr_ask *ask, void *user) {
    return submit(client, (struct asking){
                              .kind = MR_KIND_PUT,
                              .cid = cid,
                              .data = size > 0 ? data : "",
                              .data_bytes = size,
                              .ask = ask,
                              .user = user,
                          });
}

int mr_submit_put_file(struct mr_client *client, const struct mr_cid *cid, int fd, uint64_t offset,
                       size_t size, const struct mr_ask *ask, void *user) {
    return submit(client, (struct asking){
                              .kind = MR_KIND_PUT,
                              .cid = cid,
                              .data_bytes = size,
                              .in_file = true,
                              .fd = fd,
                              .file_offset = offset,
                              .ask = ask,
                              .user = user,
                          });
}

int mr_submit_have(struct mr_client *client, const struct mr_cid cids[], size_t count,
                   const struct mr_ask *ask, void *user) {
    if (count == 0 || count > TLV_HAVE_KEYS_MAX) {
        return client_say(client, MR_BAD_ARGUMENT, "%zu CIDs; 1 to %u are possible", count,
                          TLV_HAVE_KEYS_MAX);
    }
    return submit(client, (struct asking){
                              .kind = MR_KIND_HAVE,
                              .cids = cids,
                              .cids_count = count,
                              .ask = ask,
                              .user = user,
                          });
}

int mr_submit_delete(struct mr_client *client, const struct mr_cid *cid, const struct mr_ask *ask,
                     void *user) {
    return submit(client,
                  (struct asking){.kind = MR_KIND_DELETE, .cid = cid, .ask = ask, .user = user});
}

int mr_submit_verify(struct mr_client *client, const struct mr_cid *cid, const struct mr_ask *ask,
                     void *user) {
    return submit(client,
                  (struct asking){.kind = MR_KIND_VERIFY, .cid = cid, .ask = ask, .user = user});
}

static int collect(struct mr_client *client, struct mr_completion completions[], int max) {
    int count = 0;
    while (count < max && client->done_head != CLIENT_NONE) {
        uint32_t index = client->done_head;
        client->done_head = client->slots[index].next;
        completions[count++] = client->slots[index].done;
        slot_release(client, index);
    }
    return count;
}

int mr_poll(struct mr_client *client, struct mr_completion completions[], int max, int timeout_ms) {
    uint64_t deadline_ns = timeout_ms == 0  ? 0
                           : timeout_ms < 0 ? UINT64_MAX
                                            : clock_ns() + (uint64_t)timeout_ms * NS_PER_MS;
    int r = client_turn(client, 0);
    for (;;) {
        if (r < 0) {
            return client_say(client, r, "poll: %s", mr_result_text(r));
        }
        int count = collect(client, completions, max);
        if (count > 0 || client->unanswered == 0 || deadline_ns == 0 || max <= 0 ||
            (deadline_ns != UINT64_MAX && clock_ns() >= deadline_ns)) {
            return count;
        }
        r = client_turn(client, deadline_ns);
    }
}
