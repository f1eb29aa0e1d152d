/* SPDX-License-Identifier: MIT */
#pragma once

/* dag_pb — links of a dag-pb node: PBNode{Data = 1, repeated PBLink = 2}, PBLink{Hash = 1, Name =
 * 2, Tsize = 3}.
 *
 * Every PBLink has exactly one Hash, which is a CID; a field of another number or type is not
 * dag-pb. Any order is read. Used by links.c alone. Source: IPLD spec dag-pb. */

#include "proto/ipld/links.h"

must_check int dag_pb_next(struct links *links, struct cid *ret_cid);
