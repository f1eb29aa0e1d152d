/* SPDX-License-Identifier: MIT */
#include "engine/swarm/far.h"

#include "base/bits.h"
#include "base/must.h"
#include "engine/arena.h"
#include "engine/net.h"
#include "engine/swarm/client.h"
#include "engine/swarm/intake.h"
#include "engine/swarm/peer.h"
#include "engine/swarm/session.h"
#include "engine/swarm/wants.h"

#include <string.h>

#define OWED_MAX 4096u

static uint32_t here(const struct client *client) {
    return client->net->core->index;
}

/* ---- notes ---------------------------------------------------------------------------------- */

static void chain_push(struct far_chain *chain, struct far_note *note) {
    note->next = NULL;
    if (chain->tail) {
        chain->tail->next = note;
    } else {
        chain->head = note;
    }
    chain->tail = note;
}

/* lossy: the fetch would ask again. Returns: NULL: not now. */
static struct far_note *note_take(struct client *client, enum note_kind kind, bool lossy) {
    struct far *far = &client->far;
    uint32_t most = lossy ? FAR_NOTES_MAX : 2 * FAR_NOTES_MAX;
    struct far_note *note =
        far->notes < most ? arena_take(client->net->core->arena, sizeof *note, 16) : NULL;
    if (!note) {
        counter_add(&client->counters.notes_lost, 1);
        return NULL;
    }
    far->notes++;
    memset(note, 0, sizeof *note);
    note->kind = (uint8_t)kind;
    note->from = (uint8_t)here(client);
    return note;
}

static void note_send(struct client *client, uint32_t core, struct far_note *note) {
    chain_push(&client->far.out[core], note);
}

static bool push_chain(struct client *client, struct far_chain *chain, struct ring *ring,
                       uint32_t core) {
    if (!chain->head) {
        return true;
    }
    if (!ring_push_spsc(ring, chain->head)) {
        return false; /* it has 63 turns of ours to read: the next turn tries again */
    }
    *chain = (struct far_chain){0};
    core_tell(client->net->core, core);
    return true;
}

static void take_home(struct client *client, struct far_note *note) {
    while (note) {
        struct far_note *next = note->next;
        arena_give(client->net->core->arena, note, sizeof *note);
        must(client->far.notes > 0);
        client->far.notes--;
        note = next;
    }
}

/* ---- what a session's tile hears ------------------------------------------------------------ */

static struct session *session_of(struct client *client, const struct peer_link *link) {
    struct session *session = &client->sessions[link->session];
    return link->core == here(client) && session->generation == link->generation ? session : NULL;
}

static uint8_t slot_of(const struct session *session, const struct peer_link *link) {
    const struct session_peer *peer = &session->peers[link->slot];
    return peer->used && peer->epoch == link->epoch ? link->slot : FETCH_PEER_NONE;
}

static void on_up(struct client *client, struct session *session, const struct far_note *note) {
    struct peer_link link;
    if (session->ending || !session_attach_far(session, note, &link)) {
        return;
    }
    struct far_note *answer = note_take(client, NOTE_LINKED, false);
    if (!answer) {
        session_detach(session, link.slot); /* it never heard of it */
        return;
    }
    answer->link = link;
    answer->conn = note->conn;
    answer->generation = note->generation;
    note_send(client, note->from, answer);
}

static void on_offer(struct client *client, struct session *session, const struct far_note *note) {
    uint32_t want = INTAKE_NOBODY, codec = 0;
    const struct intake *intake = note->intake; /* its bytes stay until the verdict is there */
    bool known = client_knows(client, &note->link, intake);
    if (session && (note->flag || known)) {
        want = client_offer(client, &note->link, intake, &codec);
    }
    struct far_note *answer = note_take(client, NOTE_VERDICT, false);
    must(answer != NULL); /* as many as may be lost have as much room again */
    answer->intake = note->intake;
    answer->place = note->want;
    answer->want = want;
    answer->codec = codec;
    answer->flag = known;
    note_send(client, note->from, answer);
}

static void hear_session(struct client *client, const struct far_note *note) {
    struct session *session = session_of(client, &note->link);
    uint8_t slot = session && note->kind != NOTE_UP && note->kind != NOTE_TOLD
                       ? slot_of(session, &note->link)
                       : FETCH_PEER_NONE;
    if (note->kind == NOTE_OFFER) {
        on_offer(client, session, note);
    } else if (note->kind == NOTE_STORED) {
        client_stored(client, &note->link, note->want, (enum fetch_stored)note->how);
    } else if (session && note->kind == NOTE_UP) {
        on_up(client, session, note);
    } else if (session && note->kind == NOTE_TOLD) {
        session_told(session, 1);
    } else if (slot != FETCH_PEER_NONE && note->kind == NOTE_PRESENCE) {
        fetch_presence(&session->fetch, slot, &note->presence.key, &note->presence.form,
                       note->presence.have);
        session->dirty = true;
    } else if (slot != FETCH_PEER_NONE && note->kind == NOTE_HEARD) {
        fetch_heard(&session->fetch, slot, client->net->core->now_ns);
    } else if (slot != FETCH_PEER_NONE && note->kind == NOTE_DOWN) {
        session_detach(session, slot);
    }
}

/* ---- what a peer's tile hears --------------------------------------------------------------- */

static void say_up(struct client *client, const struct peer_link *user, const struct peer *peer) {
    struct far_note *note = note_take(client, NOTE_UP, true);
    if (note) {
        note->link = *user;
        note->conn = peer->conn->slot;
        note->generation = pool_generation(&client->net->conns, peer->conn->slot);
        note->round_trip_ns = peer->yamux.round_trip_ns;
        note_send(client, user->core, note);
    }
}

static void on_use(struct client *client, const struct far_note *note) {
    struct pool *conns = &client->net->conns;
    struct peer_link *user = NULL;
    for (uint32_t i = 0; i < FAR_USERS_MAX && !user; i++) {
        user = client->far.users[i].generation == 0 ? &client->far.users[i] : NULL;
    }
    if (user) { /* else it has the peers of other cores */
        *user = note->link;
    }
    uint32_t told = 0;
    for (uint32_t i = 0; user && i < conns->slots_max && told < FAR_PEERS_MAX; i++) {
        struct conn *conn = pool_at(conns, i);
        if (conn->state != CONN_FREE && conn->peer && conn->peer->state == PEER_OPEN) {
            say_up(client, user, conn->peer);
            told++;
        }
    }
    struct far_note *end = note_take(client, NOTE_TOLD, false);
    if (end) { /* else the session waits no longer than SESSION_TOLD_NS */
        end->link = note->link;
        note_send(client, note->from, end);
    }
}

static bool same_session(const struct peer_link *a, const struct peer_link *b) {
    return a->core == b->core && a->session == b->session && a->generation == b->generation;
}

static void on_leave(struct client *client, const struct far_note *note) {
    struct pool *conns = &client->net->conns;
    for (uint32_t i = 0; i < FAR_USERS_MAX; i++) {
        if (same_session(&client->far.users[i], &note->link)) {
            client->far.users[i].generation = 0;
        }
    }
    for (uint32_t i = 0; i < conns->slots_max; i++) {
        struct conn *conn = pool_at(conns, i);
        for (uint32_t k = 0; conn->state != CONN_FREE && conn->peer && k < PEER_LINKS_MAX; k++) {
            if (same_session(&conn->peer->links[k], &note->link)) {
                wants_unlink(conn->peer, &conn->peer->links[k]);
            }
        }
    }
}

static struct peer *peer_of(struct client *client, const struct far_note *note) {
    struct conn *conn = pool_find(&client->net->conns, note->conn, note->generation);
    return conn && conn->peer && conn->peer->state == PEER_OPEN ? conn->peer : NULL;
}

static void on_linked(struct client *client, const struct far_note *note) {
    struct peer *peer = peer_of(client, note);
    for (uint32_t i = 0; peer && i < PEER_LINKS_MAX; i++) {
        if (peer->links[i].generation == 0) {
            peer->links[i] = note->link;
            return;
        }
    }
    far_down(client, &note->link); /* gone since, or it has as many as it can have */
}

static void on_word(struct client *client, const struct far_note *note) {
    struct peer *peer = peer_of(client, note);
    for (uint32_t i = 0; peer && i < PEER_LINKS_MAX; i++) {
        if (same_session(&peer->links[i], &note->link) && note->action.kind != FETCH_CANCEL) {
            peer->links[i].owed = min_u32(peer->links[i].owed + 1, OWED_MAX);
        }
    }
    if (peer && !wants_say(peer, &note->action)) {
        peer_end(peer, CONN_END_STALLED);
    }
}

static void hear(struct client *client, const struct far_note *note) {
    switch ((enum note_kind)note->kind) {
    case NOTE_USE:
        on_use(client, note);
        break;
    case NOTE_LEAVE:
        on_leave(client, note);
        break;
    case NOTE_LINKED:
        on_linked(client, note);
        break;
    case NOTE_WORD:
        on_word(client, note);
        break;
    case NOTE_VERDICT:
        intake_verdict(client, note->intake, note->place, note->want, note->codec, note->flag);
        break;
    case NOTE_UP:
    case NOTE_TOLD:
    case NOTE_PRESENCE:
    case NOTE_HEARD:
    case NOTE_OFFER:
    case NOTE_STORED:
    case NOTE_DOWN:
        hear_session(client, note);
        break;
    }
}

/* ---- the turn ------------------------------------------------------------------------------- */

void far_poll(struct client *client) {
    struct mesh *mesh = client->net->mesh;
    uint32_t self = here(client);
    for (uint32_t core = 0; core < mesh->core_count; core++) {
        if (!mesh->notes[core][self]) {
            continue;
        }
        take_home(client, ring_pop_spsc(mesh->notes_home[core][self]));
        struct far_note *note = ring_pop_spsc(mesh->notes[core][self]);
        while (note) {
            struct far_note *next = note->next;
            hear(client, note);
            chain_push(&client->far.home[core], note);
            note = next;
        }
    }
}

bool far_flush(struct client *client) {
    struct mesh *mesh = client->net->mesh;
    struct far *far = &client->far;
    uint32_t self = here(client);
    bool left = false;
    for (uint32_t core = 0; core < mesh->core_count; core++) {
        if (mesh->notes[self][core]) {
            left |= !push_chain(client, &far->home[core], mesh->notes_home[self][core], core);
            left |= !push_chain(client, &far->out[core], mesh->notes[self][core], core);
        }
    }
    return left;
}

bool far_has_input(const struct client *client) {
    const struct mesh *mesh = client->net->mesh;
    uint32_t self = here(client);
    for (uint32_t core = 0; core < mesh->core_count; core++) {
        if (mesh->notes[core][self] && (ring_count(mesh->notes[core][self]) > 0 ||
                                        ring_count(mesh->notes_home[core][self]) > 0)) {
            return true;
        }
    }
    return false;
}

bool far_idle(const struct client *client) {
    return client->far.notes == 0 && !far_has_input(client);
}

/* ---- of a session --------------------------------------------------------------------------- */

static void tell_all(struct session *session, enum note_kind kind) {
    struct client *client = session->client;
    const struct mesh *mesh = client->net->mesh;
    for (uint32_t core = 0; core < mesh->core_count; core++) {
        struct far_note *note =
            mesh->notes[here(client)][core] ? note_take(client, kind, false) : NULL;
        if (note) {
            note->link = session_link(session);
            note_send(client, core, note);
            if (kind == NOTE_USE) {
                session_ask_told(session);
            }
        }
    }
}

void far_use(struct session *session) {
    tell_all(session, NOTE_USE);
}

void far_leave(struct session *session) {
    tell_all(session, NOTE_LEAVE);
}

void far_word(struct session *session, const struct fetch_action *action) {
    struct client *client = session->client;
    const struct session_peer *known = &session->peers[action->peer];
    struct far_note *note = note_take(client, NOTE_WORD, true);
    if (note) {
        note->link = session_link(session);
        note->conn = known->conn;
        note->generation = known->generation;
        note->action = *action;
        note_send(client, known->core, note);
    }
}

/* ---- of a peer ------------------------------------------------------------------------------ */

void far_peer_opened(struct client *client, struct peer *peer) {
    for (uint32_t i = 0; i < FAR_USERS_MAX; i++) {
        if (client->far.users[i].generation != 0) {
            say_up(client, &client->far.users[i], peer);
        }
    }
}

static struct far_note *about(struct client *client, const struct peer_link *link,
                              enum note_kind kind, bool lossy) {
    struct far_note *note = note_take(client, kind, lossy);
    if (note) {
        note->link = *link;
        note_send(client, link->core, note);
    }
    return note;
}

void far_down(struct client *client, const struct peer_link *link) {
    (void)about(client, link, NOTE_DOWN, false);
}

void far_presence(struct client *client, const struct peer_link *link,
                  const struct bitswap_presence *presence) {
    struct far_note *note = about(client, link, NOTE_PRESENCE, true);
    if (note) {
        note->presence = *presence;
    }
}

void far_heard(struct client *client, const struct peer_link *link) {
    (void)about(client, link, NOTE_HEARD, true);
}

bool far_offer(struct client *client, const struct peer_link *link, struct intake *intake,
               uint32_t place, bool alone) {
    struct far_note *note = about(client, link, NOTE_OFFER, true);
    if (note) {
        note->intake = intake;
        note->want = place;
        note->flag = alone;
    }
    return note != NULL;
}

void far_stored(struct client *client, const struct peer_link *link, uint32_t want,
                enum fetch_stored how) {
    struct far_note *note = about(client, link, NOTE_STORED, false);
    must(note != NULL); /* no more than offers that were taken */
    note->want = want;
    note->how = (uint8_t)how;
}
