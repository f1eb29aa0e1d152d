/* SPDX-License-Identifier: MIT */
#pragma once

/* import_roots — pins what archives name as their roots, once all their blocks are stored: each
 * with all under it, as `add` pins what it added.
 *
 *   roots of every archive -> import->pins, each once -> after the last file: pinned | why not
 *
 * Archives that hold one DAG between them name one root, so nothing is pinned before the last is
 * read. A root whose DAG is not whole here gets a line, and is no failure: archives may be parts.
 * Thread: one. Blocks: as long as the daemon needs to walk the DAGs. */

#include "tools/millrace/cli.h"
#include "tools/millrace/import.h"

/* Notes the roots of the archive at hand. Nothing where import->pins is NULL. */
void import_roots_note(struct import *import);
/* Pins them; import->pins has an object for each root then: pinned, and why not. Returns: CLI_DONE,
 * or another status after saying why a root that is whole was not pinned. */
must_check int import_roots_pin(const struct cli *cli, struct import *import);
/* How many are pinned. */
uint64_t import_roots_pinned(const struct import *import);
