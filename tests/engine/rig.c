/* SPDX-License-Identifier: MIT */
#include "tests/engine/rig.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "engine/control.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- the engine */

void rig_init(struct rig *rig) {
    memset(rig, 0, sizeof *rig);
    (void)snprintf(rig->dir, sizeof rig->dir, "/tmp/millrace-engine-XXXXXX");
    cr_assert_not_null(mkdtemp(rig->dir));
    option_defaults(settings_table, settings_rows, &rig->settings);
    struct settings *settings = &rig->settings;
    (void)snprintf(settings->store_dir, sizeof settings->store_dir, "%s", rig->dir);
    (void)snprintf(settings->tlv_listen, sizeof settings->tlv_listen, "127.0.0.1:0");
    (void)snprintf(settings->cores_net, sizeof settings->cores_net, "0");
    settings->cores_overcommit = true; /* core 0 may be outside the allowed set */
    settings->store_segment_bytes = 4 * MiB;
    settings->store_memory_bytes = 16 * MiB;
    settings->net_connections_max = 256;
    settings->net_jobs_max = 512;
    settings->net_buffers = 64;
}

static void *run(void *argument) {
    struct rig *rig = argument;
    rig->result = engine_run(rig->engine);
    return NULL;
}

void rig_run(struct rig *rig) {
    char why[512] = "";
    log_setup(LOG_LEVEL_ERROR, LOG_FORM_TEXT);
    int r = engine_open(&rig->settings, &rig->hooks, why, sizeof why, &rig->engine);
    cr_assert_eq(r, 0, "%s", why);
    cr_assert_eq(pthread_create(&rig->thread, NULL, run, rig), 0);
}

void rig_open(struct rig *rig) {
    rig_init(rig);
    rig_run(rig);
}

static void remove_tree(const char *path) {
    DIR *dir = opendir(path);
    if (!dir) {
        (void)unlink(path);
        return;
    }
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            char inner[512];
            (void)snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
            remove_tree(inner);
        }
    }
    closedir(dir);
    (void)rmdir(path);
}

void rig_remove(struct rig *rig) {
    remove_tree(rig->dir);
}

int rig_wait(struct rig *rig) {
    struct timespec limit;
    (void)clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += (time_t)(PATIENCE_NS / NS_PER_S);
    cr_assert_eq(pthread_timedjoin_np(rig->thread, NULL, &limit), 0, "the engine does not end");
    if (rig->check) {
        rig->check(rig->engine);
    }
    engine_close(rig->engine);
    rig_remove(rig);
    return rig->result;
}

int rig_close(struct rig *rig) {
    control_drain(rig->engine);
    return rig_wait(rig);
}

json_t *rig_ask(struct rig *rig, const char *command) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s/admin.sock", rig->dir);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_gt(dprintf(fd, "{\"command\":\"%s\"}\n", command), 0);
    size_t used = 0, room = 1 << 20;
    char *text = malloc(room);
    ssize_t n;
    while ((n = read(fd, text + used, room - used - 1)) > 0) {
        used += (size_t)n;
    }
    close(fd);
    json_error_t error;
    json_t *document = json_loadb(text, used, 0, &error);
    cr_assert_not_null(document, "%s: %.*s", error.text, (int)used, text);
    free(text);
    return document;
}

uint64_t rig_net_counter(struct rig *rig, const char *name) {
    json_t *stat = rig_ask(rig, "stat");
    json_t *core;
    size_t i;
    uint64_t sum = 0;
    json_array_foreach(json_object_get(stat, "cores"), i, core) {
        json_t *net = json_object_get(core, "net");
        if (net) {
            json_t *value = json_object_get(net, name);
            cr_assert_not_null(value, "no counter %s", name);
            sum += (uint64_t)json_integer_value(value);
        }
    }
    json_decref(stat);
    return sum;
}

/* ---- a caller */

struct caller caller_open(struct rig *rig) {
    struct caller caller = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), .room = 1 << 16};
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons(rig->engine->listeners[0].address.port)};
    cr_assert_eq(connect(caller.fd, (struct sockaddr *)&address, sizeof address), 0);
    caller.bytes = malloc(caller.room);
    caller.turn = rig->turn;
    caller.context = rig->context;
    return caller;
}

void caller_close(struct caller *caller) {
    close(caller->fd);
    free(caller->bytes);
    free(caller->body);
    *caller = (struct caller){.fd = -1};
}

void caller_send(struct caller *caller, const void *bytes, size_t count) {
    size_t sent = 0;
    while (sent < count) {
        ssize_t n = send(caller->fd, (const uint8_t *)bytes + sent, count - sent, MSG_NOSIGNAL);
        cr_assert_gt(n, 0, "send: %s", strerror(errno));
        sent += (size_t)n;
    }
}

void caller_ask(struct caller *caller, const struct tlv_request *request, const struct key *key) {
    uint8_t frame[TLV_REQUEST_MAX];
    caller_send(caller, frame, tlv_request_write(request, key, frame));
}

void caller_put(struct caller *caller, uint32_t id, const struct block *block) {
    struct tlv_request request = {.type = TLV_PUT,
                                  .id = id,
                                  .class = TLV_CLASS_DEFAULT,
                                  .codec = 0x55,
                                  .body_bytes = block->count};
    caller_ask(caller, &request, &block->key);
    caller_send(caller, block->bytes, block->count);
}

void caller_get(struct caller *caller, uint32_t id, const struct key *key) {
    struct tlv_request request = {.type = TLV_GET, .id = id, .class = TLV_CLASS_DEFAULT};
    caller_ask(caller, &request, key);
}

struct tlv_reply caller_hello(struct caller *caller, uint8_t class) {
    struct tlv_request request = {
        .type = TLV_HELLO, .id = 1, .class = class, .version = TLV_VERSION};
    caller_ask(caller, &request, NULL);
    return caller_expect(caller, TLV_WELCOME, 1);
}

/* Returns: false at the connection's end. */
static bool receive_more(struct caller *caller) {
    struct pollfd waiting = {.fd = caller->fd, .events = POLLIN};
    uint64_t limit = clock_ns() + PATIENCE_NS;
    while (caller->turn && poll(&waiting, 1, 0) == 0 && clock_ns() < limit) {
        caller->turn(caller->context);
    }
    cr_assert_eq(poll(&waiting, 1, (int)(PATIENCE_NS / NS_PER_MS)), 1, "no reply came");
    if (caller->used == caller->room) {
        caller->room *= 2;
        caller->bytes = realloc(caller->bytes, caller->room);
    }
    ssize_t n = recv(caller->fd, caller->bytes + caller->used, caller->room - caller->used, 0);
    if (n <= 0) {
        return false;
    }
    caller->used += (size_t)n;
    return true;
}

bool caller_try_reply(struct caller *caller, struct tlv_reply *ret_reply) {
    size_t used = 0;
    enum tlv_code code;
    int r;
    while ((r = tlv_reply_read(caller->bytes, caller->used, ret_reply, &used, &code)) ==
           TLV_SHORT) {
        if (!receive_more(caller)) {
            cr_assert_eq(caller->used, 0, "the connection ended inside a reply");
            return false;
        }
    }
    cr_assert_eq(r, 0, "no reply: %s", tlv_code_text(code));
    while (caller->used < used + ret_reply->body_bytes) {
        cr_assert(receive_more(caller), "the connection ended inside a body");
    }
    caller->body_bytes = ret_reply->body_bytes;
    caller->body = realloc(caller->body, caller->body_bytes + 1);
    memcpy(caller->body, caller->bytes + used, caller->body_bytes);
    used += caller->body_bytes;
    memmove(caller->bytes, caller->bytes + used, caller->used - used);
    caller->used -= used;
    return true;
}

struct tlv_reply caller_reply(struct caller *caller) {
    struct tlv_reply reply;
    cr_assert(caller_try_reply(caller, &reply), "the connection ended");
    return reply;
}

struct tlv_reply caller_expect(struct caller *caller, uint8_t type, uint32_t id) {
    struct tlv_reply reply = caller_reply(caller);
    cr_assert_eq(reply.type, type, "type 0x%02x (%s), not 0x%02x", reply.type,
                 reply.type == TLV_FAULT ? reply.text : "", type);
    cr_assert_eq(reply.id, id, "id %u, not %u", reply.id, id);
    return reply;
}

void caller_expect_fault(struct caller *caller, uint32_t id, enum tlv_code code) {
    struct tlv_reply reply = caller_expect(caller, TLV_FAULT, id);
    cr_assert_eq(reply.code, code, "code %u (%s), not %u", reply.code, reply.text, code);
}

void caller_expect_value(struct caller *caller, uint32_t id, const struct block *block) {
    struct tlv_reply reply = caller_expect(caller, TLV_VALUE, id);
    cr_assert_eq(reply.total, block->count);
    cr_assert_eq(reply.offset, 0);
    cr_assert_eq(caller->body_bytes, block->count);
    cr_assert(block->count == 0 || memcmp(caller->body, block->bytes, block->count) == 0);
}

void caller_expect_end(struct caller *caller) {
    struct tlv_reply reply;
    cr_assert_not(caller_try_reply(caller, &reply), "a reply 0x%02x came", reply.type);
}

/* ---- blocks */

struct block block_make(uint32_t seed, uint32_t count) {
    struct block block = {.bytes = malloc(count + 1), .count = count};
    uint64_t state = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
    for (uint32_t i = 0; i < count; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        block.bytes[i] = (uint8_t)(state >> 32);
    }
    block.key = (struct key){.code = HASH_SHA2_256, .digest_bytes = 32};
    cr_assert_eq(hash_compute(HASH_SHA2_256, block.bytes, count, block.key.digest, 32), 0);
    return block;
}

void block_free(struct block *block) {
    free(block->bytes);
    *block = (struct block){0};
}
