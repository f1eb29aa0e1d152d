/* SPDX-License-Identifier: MIT */
#pragma once

/* links — the CIDs a block links to, in the order they stand: dag-pb, dag-cbor, dag-json, raw.
 *
 * An iterator over a whole block in memory; nothing is allocated and nothing recursed: dag-cbor is
 * followed by the number of items still expected, dag-json by a bit a level (LINKS_DEPTH_MAX of
 * them; deeper is BAD). A block that is not what its codec says is LINKS_BAD at the place where
 * that shows; links handed out before stand. Not checked: UTF-8, order and kind of map keys,
 * shortest numbers, order of dag-pb's fields. Codecs without links (raw, libp2p-key, json,
 * cbor) and codecs unknown here have none; links_codec_known tells them apart. Identity links are
 * handed out like any other. Duplicates are not removed. Thread: any. Cost: one pass over the
 * block. Source: IPLD specs dag-pb, dag-cbor, dag-json. */

#include "base/base.h"
#include "base/cid.h"

#define LINKS_DEPTH_MAX 1024u

enum { LINKS_END = 1, LINKS_BAD = 2 };

struct links {
    const uint8_t *at, *end;
    uint64_t codec;
    uint32_t depth;
    uint8_t state, over;                /* over: the outcome that ended it */
    uint64_t left;                      /* private: items still expected, by codec */
    uint8_t nest[LINKS_DEPTH_MAX / 8u]; /* private: a level is an object, not a list */
};

bool links_codec_known(uint64_t codec);
void links_init(struct links *links, uint64_t codec, const uint8_t *block, size_t bytes);
/* Returns: 0 with the next link; LINKS_END; LINKS_BAD. */
must_check int links_next(struct links *links, struct cid *ret_cid);
