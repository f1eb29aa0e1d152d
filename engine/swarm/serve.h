/* SPDX-License-Identifier: MIT */
#pragma once

/* serve — wants become jobs, and what the store says becomes answers.
 *
 * A peer has at most SERVE_JOBS_MAX wants in the policy at once, and none while its output is full,
 * so a greedy peer's backlog stays in its own ledger. A large block takes its lease anew for every
 * stretch of window: between stretches the want keeps an offset, not a frame.
 *
 * Thread: owner. */

#include "base/base.h"

struct peer;
struct stream;
struct bitswap_want;

#define SERVE_JOBS_MAX 64u

/* One entry of a message. */
void serve_want(struct stream *stream, const struct bitswap_want *want);
/* The end of a message. */
void serve_message_end(struct stream *stream);
/* Makes jobs of what may be served now. */
void serve_poll(struct peer *peer);
/* A reply stream went away in the middle of a block: the want begins again elsewhere. */
void serve_stream_lost(struct stream *stream);
