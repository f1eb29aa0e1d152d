/* SPDX-License-Identifier: MIT */
#include "engine/swarm/front.h"

#include "base/clock.h"
#include "base/must.h"
#include "engine/answer.h"
#include "engine/engine_private.h"
#include "engine/swarm/desk.h"
#include "proto/libp2p/multiaddr.h"
#include "proto/libp2p/secure.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static json_t *too_many(void) {
    return answer_error("as many requests about peers are under way as there may be; try again");
}

static const char *text_of(const json_t *request, const char *name) {
    const char *text = json_string_value(json_object_get(request, name));
    return text ? text : "";
}

/* Net tiles in turn. */
static uint32_t next_core(const struct engine *engine) {
    uint32_t core = engine->desk->next_number % engine->layout.count;
    while (!engine->cores[core].net) {
        core = (core + 1) % engine->layout.count;
    }
    return core;
}

/* The tile that holds a connection to this peer; the layout's count: none does. */
static uint32_t core_of(struct engine *engine, const struct peer_id *id) {
    struct desk *desk = engine->desk;
    for (uint32_t i = 0; id->count > 0 && i < engine->layout.count; i++) {
        struct desk_request *request = engine->cores[i].net ? desk_take(desk, DESK_FIND) : NULL;
        if (!request) {
            continue;
        }
        request->id = *id;
        bool answered = desk_ask(desk, request, i);
        if (answered && request->found > 0) {
            desk_give(request);
            return i;
        }
        if (answered) {
            desk_give(request);
        }
    }
    return engine->layout.count;
}

static uint64_t read_word(const _Atomic uint64_t *word) {
    return atomic_load_explicit(word, memory_order_relaxed); /* a number to look at, no more */
}

/* ---- where to dial -------------------------------------------------------------------------- */

/* Somebody to be connected to. */
struct whom {
    struct multiaddr address; /* of a bare one: the peer and no more */
    bool bare;                /* an id, or /p2p/ and an id: it must be connected */
};

static json_t *read_whom(const struct engine *engine, const char *text, struct whom *ret_whom) {
    char why[256];
    struct answer_shown shown;
    const char *id = strncmp(text, "/p2p/", 5) == 0 ? text + 5 : text;
    *ret_whom = (struct whom){0};
    ret_whom->bare = peer_id_parse(id, &ret_whom->address.peer) == 0;
    if (!ret_whom->bare && multiaddr_parse(text, &ret_whom->address, why, sizeof why) != 0) {
        return answer_error("'%s': %s", answer_show(text, &shown), why);
    }
    if (peer_id_equal(&ret_whom->address.peer, secure_self_id(engine->self))) {
        return answer_error("'%s': that id is this node's own", answer_show(text, &shown));
    }
    return NULL;
}

/* Who is connected is dealt with where it is: a second connection, on another tile, would only make
 * notes between the two, for a peer answers over whichever it likes. Returns: NULL or an error. */
static json_t *core_for(struct engine *engine, const struct whom *whom, size_t count,
                        uint32_t *ret_core) {
    uint32_t none = engine->layout.count, found = none;
    for (size_t i = 0; i < count; i++) {
        char id[PEER_ID_TEXT_MAX];
        if (found != none && !whom[i].bare) {
            continue; /* it can be dialled from there */
        }
        uint32_t core = core_of(engine, &whom[i].address.peer);
        if (whom[i].bare && (core == none || (found != none && core != found))) {
            peer_id_format(&whom[i].address.peer, id);
            return answer_error(core == none
                                    ? "%s is not connected, and an id does not say where to "
                                      "dial: give its address, as /ip4/HOST/tcp/PORT/p2p/ID"
                                    : "%s is connected to another core than the peers named "
                                      "before it: give its address, or name no peer",
                                id);
        }
        found = found == none ? core : found;
    }
    *ret_core = found == none ? next_core(engine) : found;
    return NULL;
}

static void target(struct desk_request *request, const struct whom *whom) {
    if (whom->bare) {
        desk_target_peer(request, &whom->address.peer);
    } else {
        desk_target(request, &whom->address);
    }
}

/* ---- peers ---------------------------------------------------------------------------------- */

static json_t *address_json(const struct desk_peer *peer) {
    char text[MULTIADDR_TEXT_MAX];
    struct multiaddr address = {0};
    const struct sockaddr_storage *from = &peer->address;
    if (from->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)from;
        address.host = MULTIADDR_IP4;
        memcpy(address.address, &in->sin_addr, 4);
        address.port = ntohs(in->sin_port);
    } else if (from->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)(const void *)from;
        address.host = MULTIADDR_IP6;
        memcpy(address.address, &in->sin6_addr, 16);
        address.port = ntohs(in->sin6_port);
    } else {
        return json_string("");
    }
    multiaddr_format(&address, text);
    return json_string(text);
}

static json_t *id_json(const struct peer_id *id) {
    char text[PEER_ID_TEXT_MAX] = "";
    if (id->count > 0) {
        peer_id_format(id, text);
    }
    return json_string(text);
}

/* To the millisecond: its JSON has no more digits than that. */
static double seconds_of(uint64_t ns) {
    return (double)(ns / NS_PER_MS) / 1e3;
}

static json_t *peer_json(const struct desk_peer *peer) {
    json_t *line = json_object();
    json_object_set_new(line, "id", id_json(&peer->id));
    json_object_set_new(line, "address", address_json(peer));
    json_object_set_new(line, "direction", json_string(peer->outbound ? "outbound" : "inbound"));
    json_object_set_new(line, "security", json_string(peer->security));
    json_object_set_new(line, "agent", json_string(peer->agent));
    json_object_set_new(line, "state", json_string(peer->state));
    json_object_set_new(line, "class", json_string(peer->class));
    json_object_set_new(line, "age_s", json_real(seconds_of(peer->age_ns)));
    json_object_set_new(line, "bytes_in", json_integer((json_int_t)peer->bytes_in));
    json_object_set_new(line, "bytes_out", json_integer((json_int_t)peer->bytes_out));
    json_object_set_new(line, "blocks_sent", json_integer((json_int_t)peer->blocks_out));
    json_object_set_new(line, "blocks_received", json_integer((json_int_t)peer->blocks_in));
    json_object_set_new(line, "wants", json_integer(peer->wants));
    json_object_set_new(line, "waiting", json_integer(peer->waiting));
    json_object_set_new(line, "debt", json_integer(peer->debt_bytes));
    json_object_set_new(line, "latency_us",
                        json_integer((json_int_t)(peer->round_trip_ns / NS_PER_US)));
    return line;
}

/* Asks one tile for all its peers, page by page. Returns: false: it did not answer. */
static bool add_peers(struct desk *desk, uint32_t core, json_t *list) {
    uint32_t cursor = 0;
    do {
        struct desk_request *request = desk_take(desk, DESK_PEERS);
        if (!request) {
            return false;
        }
        request->page = &desk->page;
        request->cursor = cursor;
        if (!desk_ask(desk, request, core)) {
            desk->page_out = request; /* the page is the tile's until it answers */
            return false;
        }
        for (uint32_t i = 0; i < desk->page.count; i++) {
            json_array_append_new(list, peer_json(&desk->page.peers[i]));
        }
        cursor = desk->page.next;
        desk_give(request);
    } while (cursor != 0);
    return true;
}

static json_t *answer_peers(struct engine *engine) {
    struct desk *desk = engine->desk;
    if (desk->page_out && !desk_ended(desk->page_out)) {
        return answer_error("a core has not answered yet; try again");
    }
    desk->page_out = NULL;
    json_t *list = json_array();
    for (uint32_t i = 0; i < engine->layout.count; i++) {
        if (engine->cores[i].net && !add_peers(desk, i, list)) {
            json_decref(list);
            return answer_error("a core does not answer; try again");
        }
    }
    json_int_t total = (json_int_t)json_array_size(list);
    return json_pack("{s:o,s:I}", "peers", list, "total", total);
}

/* ---- connect and dial ----------------------------------------------------------------------- */

static json_t *answer_connect(struct engine *engine, const json_t *json) {
    struct whom whom;
    uint32_t core = 0;
    json_t *error = read_whom(engine, text_of(json, "to"), &whom);
    if (error) {
        return error;
    }
    struct desk_request *request = desk_take(engine->desk, DESK_DIAL);
    if (!request) {
        return too_many();
    }
    error = core_for(engine, &whom, 1, &core);
    if (error) {
        desk_give(request);
        return error;
    }
    target(request, &whom);
    request->core = core;
    request->wait = true;
    front_poll(engine);
    return json_pack("{s:i}", "dial", (int)request->number);
}

static struct desk_request *find(struct engine *engine, const json_t *json, const char *name,
                                 enum desk_kind kind) {
    json_int_t number = json_integer_value(json_object_get(json, name));
    return number > 0 ? desk_find(engine->desk, (uint32_t)number, kind) : NULL;
}

static json_t *answer_dial(struct engine *engine, const json_t *json) {
    struct desk_request *request = find(engine, json, "dial", DESK_DIAL);
    if (!request) {
        return answer_error("no such dial, or it is too long ago");
    }
    enum desk_state state = desk_state(request);
    if (state == DESK_FAILED) {
        return json_pack("{s:s,s:s}", "state", "failed", "why", request->why);
    }
    if (state == DESK_DONE) {
        return json_pack("{s:s,s:o}", "state", "connected", "id", id_json(&request->answered));
    }
    bool shaking = atomic_load_explicit(&request->phase, memory_order_relaxed) == DESK_SHAKING;
    return json_pack("{s:s}", "state", shaking ? "handshake" : "dialing");
}

/* ---- disconnect and ping -------------------------------------------------------------------- */

/* Asks tile after tile about one peer until `enough` were found. Returns: the last request, which
 * is the caller's; NULL with an error. */
static struct desk_request *ask_about(struct engine *engine, enum desk_kind kind,
                                      const json_t *json, bool all, uint32_t *ret_found,
                                      json_t **ret_error) {
    struct peer_id id;
    struct answer_shown shown;
    if (peer_id_parse(text_of(json, "peer"), &id) != 0) {
        *ret_error =
            answer_error("'%s' is not a peer id", answer_show(text_of(json, "peer"), &shown));
        return NULL;
    }
    struct desk_request *request = NULL;
    *ret_found = 0;
    for (uint32_t i = 0; i < engine->layout.count && (all || *ret_found == 0); i++) {
        if (!engine->cores[i].net) {
            continue;
        }
        if (request) {
            desk_give(request);
        }
        request = desk_take(engine->desk, kind);
        if (!request) {
            *ret_error = too_many();
            return NULL;
        }
        request->id = id;
        desk_hand(engine->desk, request, i);
        if (!desk_settle(request)) {
            *ret_error = answer_error("a core does not answer; try again");
            return NULL;
        }
        *ret_found += request->found;
    }
    if (*ret_found == 0) {
        desk_give(request);
        *ret_error = answer_error("that peer is not connected; its address would be dialled first");
        return NULL;
    }
    return request;
}

static json_t *answer_disconnect(struct engine *engine, const json_t *json) {
    json_t *error = NULL;
    uint32_t found = 0;
    struct desk_request *request = ask_about(engine, DESK_DISCONNECT, json, true, &found, &error);
    if (!request) {
        return error;
    }
    desk_give(request);
    return json_pack("{s:i}", "disconnected", (int)found);
}

static json_t *answer_ping(struct engine *engine, const json_t *json) {
    json_t *error = NULL;
    uint32_t found = 0;
    struct desk_request *request = ask_about(engine, DESK_PING, json, false, &found, &error);
    return request ? json_pack("{s:i}", "ping", (int)request->number) : error;
}

static json_t *answer_ping_result(struct engine *engine, const json_t *json) {
    struct desk_request *request = find(engine, json, "ping", DESK_PING);
    if (!request) {
        return answer_error("no such ping, or it is too long ago");
    }
    switch (desk_state(request)) {
    case DESK_DONE:
        return json_pack("{s:s,s:I}", "state", "done", "rtt_us",
                         (json_int_t)(request->round_trip_ns / NS_PER_US));
    case DESK_FAILED:
        return json_pack("{s:s,s:s}", "state", "failed", "why", request->why);
    case DESK_FREE:
    case DESK_TAKEN:
    case DESK_ASKED:
    case DESK_UNDER_WAY:
        break;
    }
    return json_pack("{s:s}", "state", "pending");
}

/* ---- fetch ---------------------------------------------------------------------------------- */

static json_t *answer_fetch(struct engine *engine, const json_t *json) {
    struct whom whom[CLIENT_FROM_MAX];
    uint32_t core = 0;
    struct cid root;
    struct answer_shown shown;
    char why[256];
    const json_t *from = json_object_get(json, "from");
    size_t count = json_array_size(from);
    if (cid_parse(text_of(json, "cid"), &root, why, sizeof why) != 0) {
        return answer_error("'%s': %s", answer_show(text_of(json, "cid"), &shown), why);
    }
    if (count > CLIENT_FROM_MAX) {
        return answer_error("a fetch can name at most %u peers", CLIENT_FROM_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        const char *text = json_string_value(json_array_get(from, i));
        json_t *error = read_whom(engine, text ? text : "", &whom[i]);
        if (error) {
            return error;
        }
    }
    struct desk_request *request = desk_take(engine->desk, DESK_FETCH);
    if (!request) {
        return too_many();
    }
    json_t *error = core_for(engine, whom, count, &core);
    if (error) {
        desk_give(request);
        return error;
    }
    for (size_t i = 0; i < count; i++) {
        target(request, &whom[i]);
    }
    request->root = root;
    request->dag = json_is_true(json_object_get(json, "dag"));
    request->core = core;
    request->wait = true;
    front_poll(engine);
    return json_pack("{s:i}", "session", (int)request->number);
}

static json_t *answer_fetch_status(struct engine *engine, const json_t *json) {
    struct desk_request *request = find(engine, json, "session", DESK_FETCH);
    if (!request) {
        return answer_error("no such fetch, or it is too long ago");
    }
    /* Relaxed: a time to look at, no more. */
    atomic_store_explicit(&request->asked_ns, clock_ns(), memory_order_relaxed);
    enum desk_state state = desk_state(request);
    const struct desk_progress *progress = &request->progress;
    const struct {
        const char *name;
        const _Atomic uint64_t *word;
    } numbers[] = {
        {"blocks", &progress->blocks},
        {"bytes", &progress->bytes},
        {"here_blocks", &progress->here_blocks},
        {"duplicates", &progress->duplicates},
        {"duplicate_bytes", &progress->duplicate_bytes},
        {"unwanted", &progress->unwanted},
        {"in_flight", &progress->in_flight},
        {"seeking", &progress->seeking},
        {"known", &progress->known},
        {"frontier", &progress->frontier},
        {"late", &progress->late},
        {"dont_haves", &progress->dont_haves},
        {"peers", &progress->peers},
        {"dialing", &progress->dialing},
    };
    json_t *answer = json_object();
    json_object_set_new(answer, "state",
                        json_string(state == DESK_DONE     ? "done"
                                    : state == DESK_FAILED ? "failed"
                                                           : "running"));
    json_object_set_new(answer, "resolving", json_boolean(state == DESK_TAKEN));
    if (state == DESK_FAILED) {
        json_object_set_new(answer, "why", json_string(request->why));
        json_object_set_new(answer, "absent", json_boolean(request->absent));
    }
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        json_object_set_new(answer, numbers[i].name,
                            json_integer((json_int_t)read_word(numbers[i].word)));
    }
    return answer;
}

static json_t *answer_fetch_cancel(struct engine *engine, const json_t *json) {
    struct desk_request *request = find(engine, json, "session", DESK_FETCH);
    if (!request) {
        return answer_error("no such fetch, or it is too long ago");
    }
    /* Relaxed: the tile looks at it at its tick, and nothing else follows from it. */
    atomic_store_explicit(&request->cancel, true, memory_order_relaxed);
    return json_pack("{s:b}", "canceled", 1);
}

/* ---- all ------------------------------------------------------------------------------------ */

void front_poll(struct engine *engine) {
    struct desk *desk = engine->desk;
    for (uint32_t i = 0; i < DESK_REQUESTS; i++) {
        struct desk_request *request = &desk->requests[i];
        if (desk_state(request) != DESK_TAKEN || !request->wait) {
            continue;
        }
        int r = desk_resolved(request);
        if (r == 0) {
            request->wait = false;
            desk_hand(desk, request, request->core);
        } else if (r == DESK_UNRESOLVED) {
            request->wait = false;
            desk_end(request, DESK_FAILED);
        }
    }
}

json_t *front_answer(struct engine *engine, const char *command, const json_t *request) {
    static const struct {
        const char *name;
        json_t *(*answer)(struct engine *engine, const json_t *request);
    } commands[] = {
        {"connect", answer_connect},           {"dial", answer_dial},
        {"disconnect", answer_disconnect},     {"ping", answer_ping},
        {"ping_result", answer_ping_result},   {"fetch", answer_fetch},
        {"fetch_status", answer_fetch_status}, {"fetch_cancel", answer_fetch_cancel},
    };
    front_poll(engine);
    if (strcmp(command, "peers") == 0) {
        return answer_peers(engine);
    }
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(command, commands[i].name) == 0) {
            return commands[i].answer(engine, request);
        }
    }
    return NULL;
}
