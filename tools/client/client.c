/* SPDX-License-Identifier: MIT */
#include "tools/client/client.h"

#include "base/hash.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pthread_once_t hash_once = PTHREAD_ONCE_INIT;
static int hash_opened;

static void hash_open_once(void) {
    hash_opened = hash_open();
}

const char *mr_result_text(int result) {
    if (result < 0) {
        const char *text = strerrordesc_np(-result);
        return text ? text : "unknown error";
    }
    switch ((enum mr_result)result) {
    case MR_OK:
        return "done";
    case MR_NOT_FOUND:
        return "not found";
    case MR_BUSY:
        return "the server is busy";
    case MR_RETRY:
        return "the block's tier is missing or loading";
    case MR_REFUSED:
        return "refused by the server";
    case MR_CORRUPT:
        return "the bytes do not match their CID";
    case MR_BAD_CID:
        return "not a CID, or its hash function is not known here";
    case MR_TOO_SMALL:
        return "the buffer is too small";
    case MR_TOO_LARGE:
        return "the block is larger than the server takes";
    case MR_FULL:
        return "too many unanswered requests";
    case MR_CLOSED:
        return "not connected";
    case MR_TIMEOUT:
        return "no answer in time";
    case MR_PROTOCOL:
        return "the server broke the protocol";
    case MR_STOPPED:
        return "stopped by the caller";
    case MR_BAD_ARGUMENT:
        return "bad argument";
    case MR_ABORTED:
        return "not stored: another of the same all or nothing failed";
    }
    return "unknown result";
}

int client_say(struct mr_client *client, int result, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(client->error, sizeof client->error, format, arguments);
    va_end(arguments);
    return result;
}

int client_say_closed(struct mr_client *client) {
    return client_say(client, MR_CLOSED, "%s", client->lost[0] ? client->lost : "not connected");
}

void mr_options_default(struct mr_options *options) {
    *options = (struct mr_options){
        .class_ = MR_CLASS_DEFAULT,
        .connect_timeout_ms = 5000,
        .timeout_ms = 30000,
        .retries = 8,
        .retry_max_ms = 1000,
        .verify = true,
    };
}

struct mr_client *mr_new(void) {
    pthread_once(&hash_once, hash_open_once);
    struct mr_client *client = calloc(1, sizeof *client);
    uint8_t *in = malloc(CLIENT_IN_BYTES);
    if (!client || !in || hash_opened < 0) {
        free(client);
        free(in);
        return NULL;
    }
    client->in = in;
    client->fd = -1;
    client->body_slot = CLIENT_NONE;
    client->slots_free = CLIENT_NONE;
    client->done_head = CLIENT_NONE;
    client->done_tail = CLIENT_NONE;
    mr_options_default(&client->options);
    return client;
}

void mr_free(struct mr_client *client) {
    if (!client) {
        return;
    }
    mr_disconnect(client);
    for (uint32_t i = 0; i < client->slots_count; i++) {
        if (client->slots[i].state != SLOT_FREE && client->slots[i].done.data_owned) {
            free(client->slots[i].done.data);
        }
    }
    free(client->slots);
    free(client->out);
    free(client->in);
    free(client);
}

void mr_disconnect(struct mr_client *client) {
    if (client->fd >= 0) {
        client_fail(client, MR_CLOSED, "disconnected");
    }
}

void mr_scan(struct mr_client *client, bool scan) {
    client->scan = scan;
}

bool mr_connected(const struct mr_client *client) {
    return client->fd >= 0;
}

const char *mr_error(const struct mr_client *client) {
    return client ? client->error : "out of memory";
}

uint32_t mr_fault(const struct mr_client *client) {
    return client->fault;
}

void mr_server(const struct mr_client *client, struct mr_server *ret_server) {
    *ret_server = client->server;
}

int mr_fd(const struct mr_client *client) {
    return client->fd;
}

short mr_events(const struct mr_client *client) {
    return (short)(client_unsent(client) ? POLLIN | POLLOUT : POLLIN);
}

bool mr_ready(const struct mr_client *client) {
    return client->done_head != CLIENT_NONE;
}

uint32_t mr_unanswered(const struct mr_client *client) {
    return client->unanswered;
}

void mr_block_free(struct mr_block *block) {
    free(block->data);
    *block = (struct mr_block){0};
}

void mr_completion_free(struct mr_completion *completion) {
    if (completion->data_owned) {
        free(completion->data);
    }
    completion->data = NULL;
    completion->data_owned = false;
    completion->size = 0;
}
