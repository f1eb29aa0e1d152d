/* SPDX-License-Identifier: MIT */
#include "engine/swarm/client.h"

#include "base/bits.h"
#include "base/must.h"
#include "engine/arena.h"
#include "engine/net.h"
#include "engine/swarm/intake.h"
#include "engine/swarm/peer.h"
#include "engine/swarm/session.h"

#include <string.h>

COUNTER_NAMES(client, CLIENT_COUNTERS);

#define INTAKES_MAX 4096u
#define HEARD_NS    (100 * NS_PER_MS) /* between two words to another core about it */

/* ---- set-up --------------------------------------------------------------------------------- */

size_t client_footprint(void) {
    size_t sum = mem_need(0, pool_footprint(sizeof(struct intake), INTAKES_MAX), CACHE_PAIR);
    return mem_need(sum, CLIENT_SESSIONS * sizeof(struct session), CACHE_PAIR);
}

size_t client_arena_bytes(const struct settings *settings) {
    return 4 * settings->bitswap_fetch_window_bytes + CLIENT_LENT_MAX;
}

void client_open(struct client *client, struct swarm *swarm, const struct settings *settings) {
    struct mem_region *region = &swarm->net->core->region;
    client->swarm = swarm;
    client->net = swarm->net;
    client->window_bytes = settings->bitswap_fetch_window_bytes;
    client->body_bytes_max = 2 * settings->bitswap_fetch_window_bytes;
    pool_init(&client->intakes,
              mem_carve(region, pool_footprint(sizeof(struct intake), INTAKES_MAX), CACHE_PAIR),
              sizeof(struct intake), INTAKES_MAX);
    client->sessions = mem_carve(region, CLIENT_SESSIONS * sizeof(struct session), CACHE_PAIR);
    memset(client->sessions, 0, CLIENT_SESSIONS * sizeof(struct session));
}

/* ---- sessions ------------------------------------------------------------------------------- */

struct session *client_begin(struct client *client, const struct session_spec *spec) {
    for (uint32_t i = 0; i < CLIENT_SESSIONS && !client->net->draining; i++) {
        struct session *session = &client->sessions[i];
        if (session->generation != 0) {
            continue;
        }
        client->generation = client->generation == UINT32_MAX ? 1 : client->generation + 1;
        if (!session_open(session, client, spec)) {
            return NULL;
        }
        session->generation = client->generation;
        counter_add(&client->counters.sessions, 1);
        counter_add(&client->counters.begun, 1);
        return session;
    }
    return NULL;
}

bool client_poll(struct client *client) {
    bool more = false;
    far_poll(client);
    if (client->waiting_head && client->net->core->now_ns >= client->pause_ns) {
        (void)intake_retry(client); /* those left wait for jobs that come home */
    }
    for (uint32_t i = 0; counter_get(&client->counters.sessions) > 0 && i < CLIENT_SESSIONS; i++) {
        if (client->sessions[i].generation != 0) {
            more |= session_poll(&client->sessions[i]);
        }
    }
    return more;
}

bool client_flush(struct client *client) {
    bool more = far_flush(client);
    for (uint32_t i = 0; counter_get(&client->counters.sessions) > 0 && i < CLIENT_SESSIONS; i++) {
        more |= client->sessions[i].generation != 0 && client->sessions[i].dirty;
    }
    return more;
}

void client_tick(struct client *client) {
    for (uint32_t i = 0; i < CLIENT_SESSIONS; i++) {
        if (client->sessions[i].generation != 0) {
            session_tick(&client->sessions[i]);
        }
    }
}

void client_drain(struct client *client) {
    for (uint32_t i = 0; i < CLIENT_SESSIONS; i++) {
        if (client->sessions[i].generation != 0) {
            session_cancel(&client->sessions[i]);
        }
    }
}

bool client_idle(const struct client *client) {
    return counter_get(&client->counters.sessions) == 0 && pool_used(&client->intakes) == 0 &&
           far_idle(client);
}

void client_home(struct client *client, struct job *job, uint64_t now_ns) {
    if (job->kind == JOB_GET) {
        struct session *session = &client->sessions[job->arg >> 1];
        must(session->generation != 0);
        session_read_home(session, job);
    } else {
        intake_home(client, job, now_ns);
    }
}

/* ---- peers ---------------------------------------------------------------------------------- */

/* The session a link means, if it is still that one. */
static struct session *session_of(struct client *client, const struct peer_link *link) {
    struct session *session = &client->sessions[link->session];
    bool ours = link->generation != 0 && link->core == client->net->core->index;
    return ours && session->generation == link->generation ? session : NULL;
}

static bool is_far(const struct client *client, const struct peer_link *link) {
    return link->generation != 0 && link->core != client->net->core->index;
}

/* The fetch's slot for the peer of this link, if it is still that peer's. */
static uint8_t slot_of(const struct session *session, const struct peer_link *link) {
    const struct session_peer *peer = &session->peers[link->slot];
    return peer->used && peer->epoch == link->epoch ? link->slot : FETCH_PEER_NONE;
}

struct peer *client_find(const struct client *client, const struct peer_id *id) {
    struct pool *conns = &client->net->conns;
    for (uint32_t i = 0; id->count > 0 && i < conns->slots_max; i++) {
        struct conn *conn = pool_at(conns, i);
        if (conn->state != CONN_FREE && conn->peer && conn->peer->state == PEER_OPEN &&
            peer_id_equal(secure_peer(conn->peer->secure), id)) {
            return conn->peer;
        }
    }
    return NULL;
}

void client_peer_opened(struct client *client, struct peer *peer) {
    for (uint32_t i = 0; counter_get(&client->counters.sessions) > 0 && i < CLIENT_SESSIONS; i++) {
        struct session *session = &client->sessions[i];
        if (session->generation != 0 && session->all && !session->ending) {
            session_offer(session, peer);
        }
    }
    far_peer_opened(client, peer);
}

void client_peer_gone(struct client *client, struct peer *peer) {
    for (uint32_t i = 0; i < PEER_LINKS_MAX; i++) {
        struct session *session = session_of(client, &peer->links[i]);
        if (session && slot_of(session, &peer->links[i]) != FETCH_PEER_NONE) {
            session_detach(session, peer->links[i].slot);
        } else if (is_far(client, &peer->links[i])) {
            far_down(client, &peer->links[i]);
        }
        peer->links[i].generation = 0;
    }
    wants_free(peer);
}

void client_stream_lost(struct client *client, struct peer *peer) {
    wants_lost(peer);
    counter_add(&client->counters.streams_lost, 1);
    struct peer_link links[PEER_LINKS_MAX];
    memcpy(links, peer->links, sizeof links);
    for (uint32_t i = 0; i < PEER_LINKS_MAX; i++) {
        struct session *session = session_of(client, &links[i]);
        if (is_far(client, &links[i])) {
            far_down(client, &links[i]);
            peer->links[i].generation = 0;
        }
        if (!session || slot_of(session, &links[i]) == FETCH_PEER_NONE) {
            continue;
        }
        uint8_t from = session->peers[links[i].slot].from;
        session->peers[links[i].slot].from = CLIENT_FROM_MAX; /* it is not gone */
        session_detach(session, links[i].slot);
        peer->links[i].generation = 0;
        bool speaks = peer->wants.refusals < BITSWAP_PROTOCOLS;
        if (!(speaks && session_attach(session, peer, from)) && from != CLIENT_FROM_MAX) {
            session_from_dead(session, from,
                              speaks ? session_why_losses : "it does not speak Bitswap");
        }
    }
    if (peer->wants.refusals < BITSWAP_PROTOCOLS && peer->wants.losses < CLIENT_LOSSES_MAX) {
        far_peer_opened(client, peer); /* they know it anew */
    }
}

void client_presence(struct client *client, struct peer *peer,
                     const struct bitswap_presence *presence) {
    counter_add(&client->counters.presences_in, 1);
    for (uint32_t i = 0; i < PEER_LINKS_MAX; i++) {
        struct session *session = session_of(client, &peer->links[i]);
        uint8_t slot = session ? slot_of(session, &peer->links[i]) : FETCH_PEER_NONE;
        if (slot != FETCH_PEER_NONE) {
            fetch_presence(&session->fetch, slot, &presence->key, &presence->form, presence->have);
            session->dirty = true;
        } else if (is_far(client, &peer->links[i])) {
            far_presence(client, &peer->links[i], presence);
        }
    }
}

void client_heard(struct client *client, struct peer *peer) {
    for (uint32_t i = 0; i < PEER_LINKS_MAX; i++) {
        struct session *session = session_of(client, &peer->links[i]);
        uint8_t slot = session ? slot_of(session, &peer->links[i]) : FETCH_PEER_NONE;
        if (slot != FETCH_PEER_NONE) {
            fetch_heard(&session->fetch, slot, client->net->core->now_ns);
        } else if (is_far(client, &peer->links[i]) &&
                   client->net->core->now_ns - peer->useful_ns > HEARD_NS) {
            far_heard(client, &peer->links[i]);
        }
    }
    peer->useful_ns = client->net->core->now_ns;
}

uint32_t client_owed(struct client *client, const struct peer *peer) {
    uint32_t owed = 0;
    for (uint32_t i = 0; i < PEER_LINKS_MAX; i++) {
        struct session *session = session_of(client, &peer->links[i]);
        uint8_t slot = session ? slot_of(session, &peer->links[i]) : FETCH_PEER_NONE;
        if (slot != FETCH_PEER_NONE) {
            owed += fetch_owes(&session->fetch, slot);
        } else if (is_far(client, &peer->links[i])) {
            owed += peer->links[i].owed;
        }
    }
    return owed;
}

/* ---- blocks --------------------------------------------------------------------------------- */

bool client_knows(struct client *client, const struct peer_link *link,
                  const struct intake *intake) {
    const struct session *session = session_of(client, link);
    return session && fetch_knows(&session->fetch, &intake->key, intake->form.codec);
}

/* It gave what was wanted: what it broke off before counts no more. */
static void forgive(struct session *session, uint8_t slot) {
    if (slot != FETCH_PEER_NONE && session->peers[slot].from != CLIENT_FROM_MAX) {
        session->from[session->peers[slot].from].failures = 0;
    }
}

uint32_t client_offer(struct client *client, const struct peer_link *link,
                      const struct intake *intake, uint32_t *ret_codec) {
    struct session *session = session_of(client, link);
    uint32_t want = INTAKE_NOBODY;
    if (!session) {
        return INTAKE_NOBODY;
    }
    session->dirty = true;
    switch (fetch_block(&session->fetch, slot_of(session, link), &intake->key, &intake->form,
                        intake->body, intake->bytes, client->net->core->now_ns, &want)) {
    case FETCH_TAKE:
        forgive(session, slot_of(session, link));
        session->intakes_out++;
        *ret_codec = fetch_codec(&session->fetch, want);
        return want;
    case FETCH_DUPLICATE:
        counter_add(&client->counters.duplicates, 1);
        return INTAKE_NOBODY;
    case FETCH_UNWANTED:
        counter_add(&client->counters.lies, 1);
        break;
    }
    return INTAKE_NOBODY;
}

void client_stored(struct client *client, const struct peer_link *link, uint32_t want,
                   enum fetch_stored how) {
    struct session *session = session_of(client, link);
    if (is_far(client, link)) {
        far_stored(client, link, want, how);
        return;
    }
    must(session != NULL && session->intakes_out > 0); /* it waits for all of them */
    session->intakes_out--;
    session->dirty = true;
    counter_add(&client->counters.stored, how == FETCH_STORED);
    fetch_stored(&session->fetch, want, how);
}
