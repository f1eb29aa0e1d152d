/* SPDX-License-Identifier: MIT */
#include "engine/swarm/session.h"

#include "base/bits.h"
#include "base/must.h"
#include "engine/arena.h"
#include "engine/net.h"
#include "engine/swarm/intake.h"
#include "engine/swarm/peer.h"
#include "engine/swarm/wants.h"
#include "store/store.h"

#include <stdio.h>
#include <string.h>

#define WANTS_MAX      1024u
#define BLOCKS_MAX     (UINT64_C(1) << 24)
#define FRONTIER_BYTES (64 * MiB)
#define PATIENCE_NS    (10 * NS_PER_S) /* without any peer */
#define ACTIONS        256u
#define ROUNDS         8u /* of actions in one turn */
#define FIND_GROUP     64u
#define REST_NS        (250 * NS_PER_MS) /* before a lost peer is dialled again; doubles, */
#define REST_MAX_NS    (16 * NS_PER_S)   /* up to here */

const char session_why_busy[] = "it serves as many fetches already as a peer may";
const char session_why_losses[] = "it breaks off again and again and gives no block";

static uint64_t now_ns(const struct session *session) {
    return session->client->net->core->now_ns;
}

/* ---- life ----------------------------------------------------------------------------------- */

/* What sessions remember comes out of the arena, and is no more than the arena was made larger for
 * their sake: the rest of it is other people's. */
static void *lend(void *context, size_t bytes) {
    struct client *client = context;
    bool fits = client->lent_bytes + bytes <= CLIENT_LENT_MAX;
    void *memory = fits ? arena_take(client->net->core->arena, bytes, 16) : NULL;
    client->lent_bytes += memory ? bytes : 0;
    return memory;
}
static void take_back(void *context, void *memory, size_t bytes) {
    struct client *client = context;
    must(client->lent_bytes >= bytes);
    client->lent_bytes -= bytes;
    arena_give(client->net->core->arena, memory, bytes);
}

static void begin_dial(struct session *session, uint8_t index);

/* One it was told of, and that is connected. */
static void attach_from(struct session *session, struct peer *peer, uint8_t index) {
    if (!session_attach(session, peer, index)) {
        session_from_dead(session, index,
                          peer->wants.losses >= CLIENT_LOSSES_MAX ? session_why_losses
                                                                  : session_why_busy);
    }
}

static void attach_all(struct session *session) {
    struct pool *conns = &session->client->net->conns;
    for (uint32_t i = 0; i < conns->slots_max; i++) {
        struct conn *conn = pool_at(conns, i);
        if (conn->state != CONN_FREE && conn->peer && conn->peer->state == PEER_OPEN) {
            session_offer(session, conn->peer);
        }
    }
}

void session_ask_told(struct session *session) {
    session->untold++;
    session->untold_ns = now_ns(session) + SESSION_TOLD_NS;
    fetch_expect(&session->fetch, 1);
}

void session_told(struct session *session, uint32_t cores) {
    if (cores <= session->untold) {
        session->untold -= cores;
        session->dirty = true;
        fetch_expect(&session->fetch, -(int32_t)cores);
    }
}

static void find_peers(struct session *session) {
    if (session->all) {
        attach_all(session);
        far_use(session);
        return;
    }
    for (uint8_t i = 0; i < session->from_count; i++) {
        struct session_from *from = &session->from[i];
        struct peer *peer = client_find(session->client, &from->target.peer);
        if (peer) {
            from->state = FROM_UP;
            from->was_up = true;
            attach_from(session, peer, i);
        } else {
            fetch_expect(&session->fetch, 1);
            begin_dial(session, i);
        }
    }
}

bool session_open(struct session *session, struct client *client, const struct session_spec *spec) {
    struct arena *arena = client->net->core->arena;
    uint32_t bytes = (uint32_t)fetch_wants_footprint(WANTS_MAX);
    void *wants = arena_take(arena, bytes, CACHE_LINE);
    if (!wants) {
        return false;
    }
    memset(session, 0, sizeof *session);
    session->client = client;
    session->generation = client->generation;
    session->spec = *spec;
    session->wants = wants;
    session->wants_bytes = bytes;
    session->all = spec->from_count == 0;
    session->dirty = true;
    session->from_count = min_u32(spec->from_count, CLIENT_FROM_MAX);
    for (uint32_t i = 0; i < session->from_count; i++) {
        session->from[i].target = spec->from[i];
    }
    session->spec.from = NULL; /* the caller's, and gone by and by */
    struct fetch_config config = {
        .seed = client->swarm->salt ^ session->generation * UINT64_C(0x9e3779b97f4a7c15),
        .wants_max = WANTS_MAX,
        .window_bytes = client->window_bytes,
        .blocks_max = BLOCKS_MAX,
        .frontier_bytes = FRONTIER_BYTES,
        .patience_ns = PATIENCE_NS,
    };
    struct lender lender = {.take = lend, .give = take_back, .context = client};
    fetch_init(&session->fetch, wants, &config, &lender, &spec->root, spec->dag, now_ns(session));
    find_peers(session);
    return true;
}

void session_cancel(struct session *session) {
    fetch_cancel(&session->fetch);
    session->dirty = true;
}

bool session_over(const struct session *session) {
    return session->fetch.state != FETCH_RUNNING && session->jobs_out == 0 &&
           session->intakes_out == 0;
}

size_t session_say(const struct session *session, char text[SESSION_SAY_MAX]) {
    size_t used = fetch_say(&session->fetch, text);
    enum fetch_why why = session->fetch.why;
    if (used > 0 && session->dial_why[0] && (why == FETCH_WHY_ABSENT || why == FETCH_WHY_NO_PEER)) {
        int more = snprintf(text + used, SESSION_SAY_MAX - used,
                            " (the last peer that was lost: %s)", session->dial_why);
        used = min_u64(used + (size_t)more, SESSION_SAY_MAX - 1);
    }
    return used;
}

struct peer_link session_link(const struct session *session) {
    return (struct peer_link){
        .generation = session->generation,
        .core = (uint8_t)session->client->net->core->index,
        .session = (uint8_t)(session - session->client->sessions),
    };
}

static bool is_ours(const struct session *session, const struct peer_link *link) {
    return link->generation == session->generation &&
           link->core == session->client->net->core->index;
}

static void close_session(struct session *session) {
    struct client *client = session->client;
    bool done = session->fetch.state == FETCH_DONE;
    for (uint8_t slot = 0; slot < FETCH_PEERS_MAX; slot++) {
        struct session_peer *known = &session->peers[slot];
        struct conn *conn = known->used && known->core == client->net->core->index
                                ? pool_find(&client->net->conns, known->conn, known->generation)
                                : NULL;
        for (uint32_t i = 0; conn && conn->peer && i < PEER_LINKS_MAX; i++) {
            if (is_ours(session, &conn->peer->links[i])) {
                wants_unlink(conn->peer, &conn->peer->links[i]);
            }
        }
        known->used = false;
    }
    if (session->all) {
        far_leave(session);
    }
    counter_set(&client->counters.sessions, counter_get(&client->counters.sessions) - 1);
    counter_add(done ? &client->counters.done : &client->counters.failed, 1);
    if (session->spec.changed) {
        session->spec.changed(session->spec.context, session);
    }
    fetch_fini(&session->fetch);
    arena_give(client->net->core->arena, session->wants, session->wants_bytes);
    session->generation = 0;
}

/* ---- dials ---------------------------------------------------------------------------------- */

/* It may be the dial's own words, which go with it. */
static void note_why(struct session *session, const char *why) {
    (void)snprintf(session->dial_why, sizeof session->dial_why, "%s", why);
}

void session_from_dead(struct session *session, uint8_t index, const char *why) {
    struct session_from *from = &session->from[index];
    from->state = FROM_DEAD;
    note_why(session, why);
    session->dirty = true;
    for (uint32_t i = 0; i < session->from_count; i++) {
        if (session->from[i].state != FROM_DEAD) {
            return;
        }
    }
    fetch_abandon(&session->fetch);
}

static void rest_or_give_up(struct session *session, uint8_t index, const char *why) {
    struct session_from *from = &session->from[index];
    from->failures++;
    if (!from->was_up || from->failures >= CLIENT_LOSSES_MAX) {
        fetch_expect(&session->fetch, -1);
        session_from_dead(session, index, from->was_up ? session_why_losses : why);
        return;
    }
    from->state = FROM_RESTING;
    from->next_ns = now_ns(session) + min_u64(REST_NS << from->failures, REST_MAX_NS);
    note_why(session, why);
}

static void dialled(void *context, struct dial *dial, struct peer *peer) {
    struct session *session = context;
    for (uint8_t i = 0; i < session->from_count; i++) {
        struct session_from *from = &session->from[i];
        if (from->state == FROM_DIALING && from->dial == dial) {
            from->dial = NULL;
            if (peer) {
                from->state = FROM_UP;
                from->was_up = true; /* its failures only a block makes good */
                fetch_expect(&session->fetch, -1);
                attach_from(session, peer, i);
            } else {
                rest_or_give_up(session, i, dial->why);
            }
        }
    }
    session->dirty = true;
}

static void begin_dial(struct session *session, uint8_t index) {
    struct session_from *from = &session->from[index];
    from->state = FROM_DIALING;
    from->dial = dial_begin(session->client->net, &from->target, dialled, session);
    if (!from->dial) {
        rest_or_give_up(session, index, "too many connections are being made, or no address");
    }
}

static void end_dials(struct session *session) {
    for (uint32_t i = 0; i < session->from_count; i++) {
        struct session_from *from = &session->from[i];
        struct dial *dial = from->state == FROM_DIALING ? from->dial : NULL;
        from->state = FROM_DEAD;
        from->dial = NULL;
        if (dial) {
            dial_cancel(dial);
        }
    }
}

void session_tick(struct session *session) {
    for (uint8_t i = 0; i < session->from_count; i++) {
        if (session->from[i].state == FROM_RESTING && now_ns(session) >= session->from[i].next_ns) {
            begin_dial(session, i);
        }
    }
    if (session->untold > 0 && now_ns(session) >= session->untold_ns) {
        session_told(session, session->untold);
    }
    session->dirty = true; /* time passes */
    if (session->spec.changed) {
        session->spec.changed(session->spec.context, session);
    }
}

/* ---- peers ---------------------------------------------------------------------------------- */

bool session_attach(struct session *session, struct peer *peer, uint8_t from) {
    struct peer_link *free_link = NULL;
    if (peer->wants.losses >= CLIENT_LOSSES_MAX) {
        return false;
    }
    for (uint32_t i = 0; i < PEER_LINKS_MAX; i++) {
        if (is_ours(session, &peer->links[i])) {
            session->peers[peer->links[i].slot].from = from;
            return true;
        }
        free_link = peer->links[i].generation == 0 ? &peer->links[i] : free_link;
    }
    uint8_t slot = free_link
                       ? fetch_peer_up(&session->fetch, peer->yamux.round_trip_ns, now_ns(session))
                       : FETCH_PEER_NONE;
    if (slot == FETCH_PEER_NONE) {
        counter_add(&session->client->counters.no_link, 1);
        return false; /* it, or the session, has as many as it can have */
    }
    struct session_peer *known = &session->peers[slot];
    *known = (struct session_peer){
        .used = true,
        .core = (uint8_t)session->client->net->core->index,
        .from = from,
        .conn = peer->conn->slot,
        .generation = pool_generation(&session->client->net->conns, peer->conn->slot),
        .epoch = known->epoch + 1,
    };
    *free_link = session_link(session);
    free_link->epoch = known->epoch;
    free_link->slot = slot;
    session->dirty = true;
    return true;
}

void session_offer(struct session *session, struct peer *peer) {
    bool used = session_attach(session, peer, CLIENT_FROM_MAX);
    (void)used;
}

bool session_attach_far(struct session *session, const struct far_note *up,
                        struct peer_link *ret_link) {
    uint8_t slot = fetch_peer_up(&session->fetch, up->round_trip_ns, now_ns(session));
    if (slot == FETCH_PEER_NONE) {
        return false;
    }
    struct session_peer *known = &session->peers[slot];
    *known = (struct session_peer){
        .used = true,
        .core = up->from,
        .from = CLIENT_FROM_MAX,
        .conn = up->conn,
        .generation = up->generation,
        .epoch = known->epoch + 1,
    };
    *ret_link = session_link(session);
    ret_link->epoch = known->epoch;
    ret_link->slot = slot;
    session->dirty = true;
    return true;
}

void session_detach(struct session *session, uint8_t slot) {
    struct session_peer *known = &session->peers[slot];
    must(known->used);
    known->used = false;
    fetch_peer_down(&session->fetch, slot);
    session->dirty = true;
    if (known->from != CLIENT_FROM_MAX && session->fetch.state == FETCH_RUNNING) {
        fetch_expect(&session->fetch, 1);
        rest_or_give_up(session, known->from, "it closed the connection");
    }
}

/* ---- local look-ups ------------------------------------------------------------------------- */

static void queue_read(struct session *session, uint32_t want, bool ask) {
    must(session->reads_count < SESSION_READS_MAX); /* fetch.h has fewer local answers out */
    uint32_t at = (session->reads_head + session->reads_count++) % SESSION_READS_MAX;
    session->reads[at] = (struct session_read){.want = want, .ask = ask};
}

static void push_reads(struct session *session) {
    struct client *client = session->client;
    while (session->reads_count > 0 && now_ns(session) >= client->pause_ns) {
        const struct session_read *read = &session->reads[session->reads_head];
        struct job *job = net_job_take(client->net, NULL, CLIENT_CLASS);
        if (!job) {
            return; /* the tick tries again */
        }
        job->kind = JOB_GET;
        job->key = *fetch_key(&session->fetch, read->want);
        job->id = read->want;
        job->arg = (uint32_t)(session - client->sessions) << 1 | read->ask;
        session->reads_head = (session->reads_head + 1) % SESSION_READS_MAX;
        session->reads_count--;
        session->jobs_out++;
        net_push_heavy(client->net, job);
    }
}

/* A local answer is known; body NULL: it is here, but its bytes are not at hand. */
static void answer_local(struct session *session, uint32_t want, bool present, const uint8_t *body,
                         uint32_t bytes) {
    struct fetch *fetch = &session->fetch;
    struct key key = *fetch_key(fetch, want);
    struct peer_link self = session_link(session);
    switch (fetch_local(fetch, want, present)) {
    case FETCH_ORDER_READ:
        if (body) {
            fetch_read(fetch, want, body, bytes);
        } else {
            queue_read(session, want, false);
        }
        break;
    case FETCH_ORDER_STORE_EMPTY:
        session->intakes_out++;
        if (!intake_empty(session->client, &self, want, &key, CID_RAW)) {
            session->intakes_out--;
            fetch_stored(fetch, want, FETCH_STORE_FAILED);
        }
        break;
    case FETCH_ORDER_NONE:
        break;
    }
    session->dirty = true;
}

void session_read_home(struct session *session, struct job *job) {
    bool ask = (job->arg & 1) != 0;
    bool shed = job->status == JOB_BUSY || job->status == JOB_EXPIRED || job->status == JOB_RETRY;
    struct frame *frame = job->status == JOB_OK ? job->data : NULL;
    uint32_t want = job->id;
    must(session->jobs_out > 0);
    session->jobs_out--;
    job->data = NULL;
    net_finish(session->client->net, job, now_ns(session));
    if (shed && session->fetch.state == FETCH_RUNNING) {
        session->client->pause_ns = now_ns(session) + CLIENT_PAUSE_NS;
        queue_read(session, want, ask);
        return;
    }
    const uint8_t *body = frame ? frame_body(frame) : NULL;
    uint32_t bytes = frame ? frame_bytes(frame) : 0;
    if (ask) {
        answer_local(session, want, frame != NULL, body, bytes);
    } else {
        fetch_read(&session->fetch, want, body, bytes);
    }
    if (frame) {
        frame_give_back(frame);
    }
    session->dirty = true;
}

static void look_up(struct session *session, const struct fetch_action *const asks[],
                    uint32_t count) {
    struct net *net = session->client->net;
    struct find finds[FIND_GROUP];
    for (uint32_t i = 0; i < count; i++) {
        finds[i].key = &asks[i]->key;
    }
    if (count > 0) {
        store_find(net->store, net->core->index, finds, count);
    }
    for (uint32_t i = 0; i < count; i++) {
        switch (finds[i].state) {
        case FIND_FRAME:
            answer_local(session, asks[i]->want, true, frame_body(finds[i].frame),
                         frame_bytes(finds[i].frame));
            frame_give_back(finds[i].frame);
            break;
        case FIND_DISK:
            answer_local(session, asks[i]->want, true, NULL, 0);
            break;
        case FIND_ABSENT:
            answer_local(session, asks[i]->want, false, NULL, 0);
            break;
        case FIND_RETRY:
            queue_read(session, asks[i]->want, true);
            break;
        }
    }
}

/* ---- the turn ------------------------------------------------------------------------------- */

static void say(struct session *session, const struct fetch_action *action) {
    struct client *client = session->client;
    const struct session_peer *known = &session->peers[action->peer];
    bool far = known->used && known->core != client->net->core->index;
    struct conn *conn =
        known->used && !far ? pool_find(&client->net->conns, known->conn, known->generation) : NULL;
    if (!far && (!conn || !conn->peer || conn->peer->state != PEER_OPEN)) {
        return; /* it went since; the fetch hears of it */
    }
    counter_add(action->kind == FETCH_WANT_BLOCK  ? &client->counters.wants_out
                : action->kind == FETCH_WANT_HAVE ? &client->counters.haves_out
                                                  : &client->counters.cancels_out,
                1);
    if (far) {
        far_word(session, action);
    } else if (!wants_say(conn->peer, action)) {
        peer_end(conn->peer, CONN_END_STALLED);
    }
}

static void perform(struct session *session, const struct fetch_action actions[], uint32_t count) {
    const struct fetch_action *asks[FIND_GROUP];
    uint32_t ask_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (actions[i].kind != FETCH_ASK_LOCAL) {
            say(session, &actions[i]);
            continue;
        }
        asks[ask_count++] = &actions[i];
        if (ask_count == FIND_GROUP) {
            look_up(session, asks, ask_count);
            ask_count = 0;
        }
    }
    look_up(session, asks, ask_count);
}

bool session_poll(struct session *session) {
    if (!session->dirty && now_ns(session) < fetch_due_ns(&session->fetch)) {
        return false;
    }
    struct fetch_action actions[ACTIONS];
    uint32_t count = 1;
    session->dirty = false;
    for (uint32_t round = 0; round < ROUNDS && count > 0; round++) {
        count = fetch_next(&session->fetch, now_ns(session), actions, ACTIONS);
        perform(session, actions, count);
    }
    session->dirty = count > 0;
    push_reads(session);
    if (session->fetch.state != FETCH_RUNNING && !session->dirty) {
        if (!session->ending) {
            session->ending = true;
            end_dials(session);
            session->reads_count = 0; /* what they were for is over */
        }
        if (session_over(session)) {
            close_session(session);
            return false;
        }
    }
    return session->dirty;
}
