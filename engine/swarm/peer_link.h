/* SPDX-License-Identifier: MIT */
#pragma once

/* peer link — between a peer and a session that fetches from it: each knows the other by a link,
 * wherever they live. */

#include "base/base.h"

#define PEER_LINKS_MAX 8u /* sessions that one peer serves */

/* A session, as a peer knows it. */
struct peer_link {
    uint32_t generation; /* of the session; 0: none */
    uint32_t epoch;      /* of its slot for the peer: a late word about one that went is void */
    uint32_t owed;       /* a session on another core: what the peer was asked, less the blocks
                            that came: presences only make it too many */
    uint8_t core;
    uint8_t session;
    uint8_t slot;
};
