/* SPDX-License-Identifier: MIT */
#pragma once

/* errand — what a net tile does about control's requests (desk.h): dials, shows its peers, ends
 * and pings them, fetches. Bounded a turn: a few requests, a page of peers. Thread: the tile's. */

#include "base/base.h"

struct stream;
struct swarm;

/* Takes requests that came. Once a turn. Returns: whether more wait. */
bool errand_poll(struct swarm *swarm);
bool errand_has_input(const struct swarm *swarm);
/* A ping's echo is whole (good) or its stream is gone. */
void errand_pinged(struct stream *stream, bool good);
