/* SPDX-License-Identifier: MIT */
#pragma once

/* multistream — multistream-select 1.0: who speaks what, on a connection or a stream.
 *
 * Both sides send the header token; the opener proposes protocols, the responder echoes one or says
 * "na". A token is a varint length, text and a newline that the length counts. One reader serves
 * both roles: it yields the header, then token after token, until its owner has agreed and stops
 * feeding it; bytes behind the last token taken are the protocol's and are never consumed here.
 *
 *   MORE* -> HEADER -> (MORE* -> TOKEN)*      any BAD ends it
 *
 * Bounds: a length above MULTISTREAM_TOKEN_MAX is BAD, so is a token without its newline, a first
 * token that is not the header, and more tokens than MULTISTREAM_TOKENS_MAX. Names longer than
 * MULTISTREAM_NAME_MAX are read and yielded as too long (name_chars 0): nobody serves one.
 * Thread: owner. Source: libp2p specs connections/README.md; multiformats/multistream-select. */

#include "base/base.h"

#define MULTISTREAM_TOKEN_MAX  1024u
#define MULTISTREAM_TOKENS_MAX 32u
#define MULTISTREAM_NAME_MAX   63u
#define MULTISTREAM_WRITE_MAX  (2u + MULTISTREAM_NAME_MAX + 1u)

extern const char multistream_header[]; /* "/multistream/1.0.0" */
extern const char multistream_na[];     /* "na" */

enum multistream_event { MULTISTREAM_MORE, MULTISTREAM_HEADER, MULTISTREAM_TOKEN, MULTISTREAM_BAD };

struct multistream {
    uint8_t state;
    uint8_t tokens;                      /* yielded, the header included */
    uint16_t length;                     /* of the token in progress */
    uint16_t used;                       /* of it, read */
    uint8_t name_chars;                  /* TOKEN: 0 for one too long for us */
    char name[MULTISTREAM_NAME_MAX + 1]; /* TOKEN: terminated, without its newline */
};

void multistream_init(struct multistream *reader);
/* Reads up to the end of one token. Returns: the event; *ret_used bytes were taken. */
must_check enum multistream_event multistream_step(struct multistream *reader, const uint8_t *bytes,
                                                   size_t count, size_t *ret_used);
bool multistream_is(const struct multistream *reader, const char *name);
/* Writes one token; name: at most MULTISTREAM_NAME_MAX characters. Returns: bytes. */
size_t multistream_write(const char *name, uint8_t out[MULTISTREAM_WRITE_MAX]);
