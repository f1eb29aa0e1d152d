/* SPDX-License-Identifier: MIT */
#pragma once

/* store_links — how the store follows links: dag-pb, dag-cbor and dag-json are read, raw, json,
 * cbor and libp2p-key have none, and of any other codec it is not known. Thread: any. */

#include "store/store.h"

extern const struct store_links store_links;
