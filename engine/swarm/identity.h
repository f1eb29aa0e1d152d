/* SPDX-License-Identifier: MIT */
#pragma once

/* identity — who this node is to its peers: an Ed25519 key in the store directory, made at the
 * first start and kept for good, since peers know the node by nothing else.
 *
 * The file (IDENTITY_FILE) is one line: 'b' and, in base32, libp2p's PrivateKey message (Type 1,
 * Ed25519; Data: seed and public key, 64 bytes). It is the message that Kubo keeps in base64 as
 * Identity.PrivKey, so a key moves either way. Whoever reads the file can pass for this node, so
 * one that others may read, or that another user owns, is refused and not mended: it may have been
 * read already. Writing is whole or not at all (another name, sync, rename, sync of the directory).
 *
 * The store's lock keeps a second process away while this runs. Thread: boot. */

#include "base/base.h"

#define IDENTITY_FILE "identity.key"

struct secure_self;

enum {
    IDENTITY_EXPOSED = 1, /* others may read it, or it is not this user's */
    IDENTITY_DAMAGED = 2, /* not a key, or not one of this kind */
};

/* Reads the key in `dir`, or makes one where there is none (*ret_made). Returns: 0; EXPOSED,
 * DAMAGED or -errno, each with a sentence in `why`. Owns: the caller, secure_self_close. */
must_check int identity_open(const char *dir, struct secure_self **ret_self, bool *ret_made,
                             char *why, size_t why_bytes);
