/* SPDX-License-Identifier: MIT */
#pragma once

/* dag_cbor — links of a dag-cbor block: byte strings under tag 42, a zero byte and a CID each.
 *
 * One item, nothing behind it; definite lengths only, no other tag, no simple values but false,
 * true and null, floats of any width. Used by links.c alone.
 * Source: IPLD spec dag-cbor; RFC 8949. */

#include "proto/ipld/links.h"

must_check int dag_cbor_next(struct links *links, struct cid *ret_cid);
