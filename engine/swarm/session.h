/* SPDX-License-Identifier: MIT */
#pragma once

/* session — one fetch with the peers, look-ups and dials that carry it out; what client.c and
 * session.c know of each other. Thread: the net tile's. */

#include "engine/swarm/client.h"

struct job;
struct far_note;

/* Returns: false: no memory. */
must_check bool session_open(struct session *session, struct client *client,
                             const struct session_spec *spec);
/* Returns: whether more could be done at once. */
bool session_poll(struct session *session);
void session_tick(struct session *session);
/* Uses this peer. from: which of those it was told of, or CLIENT_FROM_MAX. Returns: false: the peer
 * serves as many sessions as it can, the session has as many peers, or it broke off too often. */
must_check bool session_attach(struct session *session, struct peer *peer, uint8_t from);
/* One peer of all there are: if it cannot be used others will be. */
void session_offer(struct session *session, struct peer *peer);
/* As session_attach for a peer of another core, by its UP. Returns: false: no slot for it. */
must_check bool session_attach_far(struct session *session, const struct far_note *up,
                                   struct peer_link *ret_link);
/* Another core was asked for its peers; that many of them have told. */
#define SESSION_TOLD_NS NS_PER_S /* one that has no room to say so is not waited for */
void session_ask_told(struct session *session);
void session_told(struct session *session, uint32_t cores);
/* The session, as peers of other cores know it. */
struct peer_link session_link(const struct session *session);
/* The peer of this slot is gone. */
void session_detach(struct session *session, uint8_t slot);
/* It is dialled no more. */
void session_from_dead(struct session *session, uint8_t from, const char *why);
/* Why one is given up, for session_from_dead. */
extern const char session_why_busy[], session_why_losses[];
/* A local read came home. Takes the job. */
void session_read_home(struct session *session, struct job *job);
