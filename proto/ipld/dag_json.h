/* SPDX-License-Identifier: MIT */
#pragma once

/* dag_json — links of a dag-json block: {"/": "cid"} and nothing else in the object.
 *
 * JSON's grammar is held to; space between its parts is read, as Go does, though dag-json writes
 * none. An object with "/" and more is an object like any other, and so is {"/": {"bytes": ...}}.
 * A lone "/" whose text is no CID is BAD. Used by links.c alone. Source: IPLD spec dag-json;
 * RFC 8259. */

#include "proto/ipld/links.h"

must_check int dag_json_next(struct links *links, struct cid *ret_cid);
