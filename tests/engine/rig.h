/* SPDX-License-Identifier: MIT */
#pragma once

/* rig — a whole engine in a directory of its own, and callers that talk to it over loopback.
 *
 * rig_open fills settings with small defaults (one core, port 0), lets the test change them, opens
 * the engine and runs it on a thread; rig_close drains it and returns what engine_run returned.
 * Everything that can hang has a limit of PATIENCE and then fails the test. */

#include "engine/engine_private.h"
#include "proto/tlv/tlv.h"

#include <jansson.h>
#include <pthread.h>

#define PATIENCE_NS (20 * NS_PER_S)

struct rig {
    char dir[64];
    struct settings settings;
    struct engine_hooks hooks;
    struct engine *engine;
    pthread_t thread;
    int result;
    void (*turn)(void *context); /* called instead of waiting, where the test makes the turns */
    void *context;
    void (*check)(struct engine *engine); /* its cores have ended, their memory is still there */
};

/* Settings a test may change before rig_run; the directory exists. */
void rig_init(struct rig *rig);
void rig_run(struct rig *rig);
/* Both at once. */
void rig_open(struct rig *rig);
/* Removes the directory. */
void rig_remove(struct rig *rig);
/* Waits for engine_run, closes the engine, removes the directory. Returns: engine_run's result. */
int rig_wait(struct rig *rig);
/* As rig_wait, after asking it to drain. */
int rig_close(struct rig *rig);

/* One question to the admin socket. Returns: its document, the caller's to release. */
json_t *rig_ask(struct rig *rig, const char *command);
/* The sum of a counter of all net tiles, by name. */
uint64_t rig_net_counter(struct rig *rig, const char *name);

/* ---- a caller */

struct caller {
    int fd;
    uint8_t *bytes; /* received, not yet read */
    size_t used;
    size_t room;
    uint8_t *body; /* of the last reply */
    uint32_t body_bytes;
    void (*turn)(void *context);
    void *context;
};

struct block {
    struct key key;
    uint8_t *bytes;
    uint32_t count;
};

struct caller caller_open(struct rig *rig);
void caller_close(struct caller *caller);
void caller_send(struct caller *caller, const void *bytes, size_t count);
/* A request without or with a body. */
void caller_ask(struct caller *caller, const struct tlv_request *request, const struct key *key);
void caller_put(struct caller *caller, uint32_t id, const struct block *block);
void caller_get(struct caller *caller, uint32_t id, const struct key *key);
/* HELLO of a class and its WELCOME. */
struct tlv_reply caller_hello(struct caller *caller, uint8_t class);
/* Returns: false when the server has ended the connection instead. */
bool caller_try_reply(struct caller *caller, struct tlv_reply *ret_reply);
struct tlv_reply caller_reply(struct caller *caller);
/* The next reply, which must be this. */
struct tlv_reply caller_expect(struct caller *caller, uint8_t type, uint32_t id);
void caller_expect_fault(struct caller *caller, uint32_t id, enum tlv_code code);
void caller_expect_value(struct caller *caller, uint32_t id, const struct block *block);
void caller_expect_end(struct caller *caller);

/* Its bytes follow from the seed. */
struct block block_make(uint32_t seed, uint32_t count);
void block_free(struct block *block);
