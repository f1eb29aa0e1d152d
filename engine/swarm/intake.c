/* SPDX-License-Identifier: MIT */
#include "engine/swarm/intake.h"

#include "base/bits.h"
#include "base/hash.h"
#include "base/must.h"
#include "engine/arena.h"
#include "engine/net.h"
#include "engine/swarm/client.h"
#include "engine/swarm/peer.h"

#include <string.h>

#define HASH_HERE_BYTES (8u * 1024) /* hashed on the net tile: a hop costs more */
#define SHARE_PARTS     4u

static void give(struct client *client, struct intake *intake) {
    if (intake->body) {
        arena_give(client->net->core->arena, intake->body, intake->bytes);
        client->body_bytes -= intake->bytes;
    }
    pool_put(&client->intakes, intake);
}

static struct intake *take(struct client *client, uint32_t bytes) {
    if (client->body_bytes + bytes > client->body_bytes_max) {
        counter_add(&client->counters.no_body_memory, 1);
        return NULL;
    }
    struct intake *intake = pool_get(&client->intakes);
    if (!intake) {
        counter_add(&client->counters.no_intake, 1);
        return NULL;
    }
    *intake = (struct intake){.bytes = bytes};
    if (bytes > 0) {
        intake->body =
            arena_take(client->net->core->arena, bytes, bytes >= 16 * KiB ? PAGE_BYTES : 16);
        if (!intake->body) {
            counter_add(&client->counters.no_body_memory, 1);
            pool_put(&client->intakes, intake);
            return NULL;
        }
        client->body_bytes += bytes;
    }
    return intake;
}

/* A peer that begins blocks and does not end them must leave room for the others': beside its
 * first it has a quarter of what is left, which is the less the more of them do so. */
static bool has_share(const struct client *client, const struct peer *peer, uint32_t bytes) {
    uint64_t used = min_u64(client->body_bytes, client->body_bytes_max);
    return peer->filling == 0 ||
           peer->filling_bytes + bytes <= (client->body_bytes_max - used) / SHARE_PARTS;
}

struct intake *intake_begin(struct client *client, struct peer *peer, uint32_t bytes) {
    if (bytes == 0 || bytes > client->net->block_bytes_max ||
        client_owed(client, peer) <= peer->filling) {
        return NULL;
    }
    if (!has_share(client, peer, bytes)) {
        counter_add(&client->counters.no_share, 1);
        return NULL;
    }
    struct intake *intake = take(client, bytes);
    if (!intake) {
        return NULL;
    }
    peer->filling++;
    peer->filling_bytes += bytes;
    intake->moved_ns = client->net->core->now_ns;
    intake->conn = peer->conn->slot;
    intake->generation = pool_generation(&client->net->conns, intake->conn);
    for (uint32_t i = 0; i < PEER_LINKS_MAX; i++) {
        if (peer->links[i].generation != 0) {
            intake->links[intake->link_count++] = peer->links[i];
        }
    }
    return intake;
}

void intake_data(struct intake *intake, const uint8_t *bytes, uint32_t count) {
    must(intake->filled + count <= intake->bytes);
    memcpy(intake->body + intake->filled, bytes, count);
    intake->filled += count;
}

/* It does not fill any more. */
static void filled(struct peer *peer, const struct intake *intake) {
    must(peer->filling > 0 && peer->filling_bytes >= intake->bytes);
    peer->filling--;
    peer->filling_bytes -= intake->bytes;
}

void intake_drop(struct client *client, struct peer *peer, struct intake *intake) {
    filled(peer, intake);
    give(client, intake);
}

static bool has_session(const struct peer *peer, const struct intake *intake) {
    for (uint32_t i = 0; i < intake->link_count; i++) {
        for (uint32_t k = 0; k < PEER_LINKS_MAX; k++) {
            const struct peer_link *link = &peer->links[k];
            if (link->generation == intake->links[i].generation &&
                link->core == intake->links[i].core) {
                return true;
            }
        }
    }
    return false;
}

enum intake_pace intake_pace(const struct peer *peer, struct intake *intake, uint64_t now_ns) {
    if (!has_session(peer, intake)) {
        return INTAKE_ORPHANED;
    }
    if (intake->filled - intake->moved_bytes >= INTAKE_STEP_BYTES || !peer->conn->receive_out) {
        intake->moved_bytes = intake->filled;
        intake->moved_ns = now_ns;
    }
    return now_ns - intake->moved_ns > INTAKE_STEP_NS ? INTAKE_STUCK : INTAKE_MOVES;
}

/* ---- jobs ----------------------------------------------------------------------------------- */

static void wait_for_job(struct client *client, struct intake *intake) {
    intake->next = NULL;
    if (client->waiting_tail) {
        client->waiting_tail->next = intake;
    } else {
        client->waiting_head = intake;
    }
    client->waiting_tail = intake;
}

static bool push_job(struct client *client, struct intake *intake) {
    struct net *net = client->net;
    struct job *job = net_job_take(net, NULL, CLIENT_CLASS);
    if (!job) {
        return false;
    }
    job->kind = intake->phase == INTAKE_HASHING ? JOB_HASH : JOB_STORE;
    job->id = pool_index(&client->intakes, intake);
    job->key = intake->key;
    job->data = intake->body;
    job->data_bytes = intake->bytes;
    job->arg = intake->codec;
    net_push_heavy(net, job);
    return true;
}

static void send_job(struct client *client, struct intake *intake) {
    if (client->waiting_head || !push_job(client, intake)) {
        wait_for_job(client, intake);
    }
}

bool intake_retry(struct client *client) {
    while (client->waiting_head && push_job(client, client->waiting_head)) {
        client->waiting_head = client->waiting_head->next;
        client->waiting_tail = client->waiting_head ? client->waiting_tail : NULL;
    }
    return client->waiting_head != NULL;
}

/* ---- its name is known ---------------------------------------------------------------------- */

/* All have spoken: it is stored if somebody takes it. */
static void judged(struct client *client, struct intake *intake) {
    bool wanted = false;
    for (uint32_t i = 0; i < intake->link_count; i++) {
        wanted |= intake->wants[i] != INTAKE_NOBODY;
    }
    if (!wanted) {
        give(client, intake);
        return;
    }
    struct conn *conn = pool_find(&client->net->conns, intake->conn, intake->generation);
    if (conn && conn->peer) {
        conn->peer->wants.losses = 0;
    }
    intake->phase = INTAKE_STORING;
    send_job(client, intake);
}

static void answered(struct client *client, const struct intake *intake, uint32_t place) {
    struct conn *conn = pool_find(&client->net->conns, intake->conn, intake->generation);
    for (uint32_t i = 0; conn && conn->peer && i < PEER_LINKS_MAX; i++) {
        struct peer_link *link = &conn->peer->links[i];
        if (link->generation == intake->links[place].generation &&
            link->core == intake->links[place].core && link->epoch == intake->links[place].epoch) {
            link->owed -= link->owed > 0;
        }
    }
}

/* Stored under the codec it was asked for by, whatever its sender called it. */
static void take_for(struct intake *intake, uint32_t place, uint32_t want, uint32_t codec) {
    intake->wants[place] = want;
    intake->codec = want != INTAKE_NOBODY ? codec : intake->codec;
}

void intake_verdict(struct client *client, struct intake *intake, uint32_t place, uint32_t want,
                    uint32_t codec, bool known) {
    must(intake->phase == INTAKE_JUDGED && intake->awaited > 0);
    if (known) {
        answered(client, intake, place);
    }
    take_for(intake, place, want, codec);
    if (--intake->awaited == 0) {
        judged(client, intake);
    }
}

static void judge(struct client *client, struct intake *intake) {
    uint32_t self = client->net->core->index;
    bool known = false;
    counter_add(&client->counters.blocks_in, 1);
    counter_add(&client->counters.block_bytes_in, intake->bytes);
    intake->phase = INTAKE_JUDGED;
    for (uint32_t i = 0; i < intake->link_count; i++) {
        known |= client_knows(client, &intake->links[i], intake);
    }
    for (uint32_t i = 0; i < intake->link_count; i++) {
        const struct peer_link *link = &intake->links[i];
        intake->wants[i] = INTAKE_NOBODY;
        if (link->core != self) {
            intake->awaited +=
                far_offer(client, link, intake, i, !known && intake->link_count == 1);
        } else if (client_knows(client, link, intake) || intake->link_count == 1) {
            uint32_t codec = 0;
            uint32_t want = client_offer(client, link, intake, &codec);
            take_for(intake, i, want, codec);
        } /* else it is for a session that knows it, or for nobody's blame */
    }
    if (intake->awaited == 0) {
        judged(client, intake);
    }
}

void intake_end(struct client *client, struct peer *peer, struct intake *intake,
                const struct bitswap_prefix *prefix) {
    must(intake->filled == intake->bytes);
    filled(peer, intake);
    if (!prefix->known) {
        counter_add(&client->counters.unknown_hashes, 1);
        give(client, intake);
        return;
    }
    uint32_t whole = min_u32(hash_full_bytes(prefix->hash), HASH_DIGEST_MAX);
    intake->form = prefix->form;
    intake->key.code = (uint16_t)prefix->hash;
    intake->key.digest_bytes =
        (uint8_t)(prefix->digest_bytes == UINT32_MAX ? whole : prefix->digest_bytes);
    if (hash_check(prefix->hash, intake->key.digest_bytes) != 0) {
        counter_add(&client->counters.unknown_hashes, 1);
        give(client, intake);
        return;
    }
    intake->phase = INTAKE_HASHING;
    if (intake->bytes > HASH_HERE_BYTES) {
        send_job(client, intake);
        return;
    }
    int r = hash_compute(intake->key.code, intake->body, intake->bytes, intake->key.digest,
                         intake->key.digest_bytes);
    if (r != 0) {
        give(client, intake);
        return;
    }
    judge(client, intake);
}

bool intake_empty(struct client *client, const struct peer_link *link, uint32_t want,
                  const struct key *key, uint32_t codec) {
    struct intake *intake = take(client, 0);
    if (!intake) {
        return false;
    }
    intake->key = *key;
    intake->codec = codec;
    intake->link_count = 1;
    intake->links[0] = *link;
    intake->wants[0] = want;
    intake->phase = INTAKE_STORING;
    send_job(client, intake);
    return true;
}

/* ---- home ----------------------------------------------------------------------------------- */

static enum fetch_stored how_of(const struct job *job) {
    return job->status == JOB_OK                                    ? FETCH_STORED
           : job->status == JOB_FULL || job->status == JOB_READONLY ? FETCH_STORE_FULL
                                                                    : FETCH_STORE_FAILED;
}

void intake_home(struct client *client, struct job *job, uint64_t now_ns) {
    struct intake *intake = pool_at(&client->intakes, job->id);
    uint8_t status = job->status;
    enum fetch_stored how = how_of(job);
    if (job->kind == JOB_HASH && status == JOB_OK) {
        intake->key = job->key;
    }
    job->data = NULL;
    net_finish(client->net, job, now_ns);
    if (status == JOB_BUSY || status == JOB_EXPIRED || status == JOB_RETRY) {
        wait_for_job(client, intake); /* shed: the block is here, and overload passes */
        client->pause_ns = now_ns + CLIENT_PAUSE_NS;
    } else if (intake->phase == INTAKE_HASHING && status == JOB_OK) {
        judge(client, intake);
    } else if (intake->phase == INTAKE_HASHING) {
        give(client, intake);
    } else {
        for (uint32_t i = 0; i < intake->link_count; i++) {
            if (intake->wants[i] != INTAKE_NOBODY) {
                client_stored(client, &intake->links[i], intake->wants[i], how);
            }
        }
        give(client, intake);
    }
}
