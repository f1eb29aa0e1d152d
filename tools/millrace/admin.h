/* SPDX-License-Identifier: MIT */
#pragma once

/* admin — one question to the daemon's admin socket, one JSON document back. */

#include "tools/millrace/cli.h"

#include <jansson.h>

/* admin_ask sends {"command": command} to --admin. Returns: the document, or NULL after saying why
 * on stderr with the exit status in *ret_status. Owns: the caller; json_decref. Blocks: at most
 * 10 s. */
json_t *admin_ask(const struct cli *cli, const char *command, int *ret_status);

/* The same for a command with more to say: `request` is the whole object. Owns: takes it over. */
json_t *admin_request(const struct cli *cli, json_t *request, int *ret_status);

/* Prints a document on stdout as every --json does. */
void admin_print(const json_t *document);

/* Reading a document without minding what is not there: 0, "" or NULL instead. A path is keys with
 * dots between. */
double admin_number(const json_t *object, const char *path);
const char *admin_text(const json_t *object, const char *path);
const json_t *admin_at(const json_t *object, const char *path);
