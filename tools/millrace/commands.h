/* SPDX-License-Identifier: MIT */
#pragma once

/* commands — the rows of the command table, each made by the file of its group. */

#include "tools/millrace/cli.h"

#include <stdio.h>

extern const struct cli_command command_serve;
extern const struct cli_command command_put, command_get, command_has, command_rm;
extern const struct cli_command command_add, command_cat;
extern const struct cli_command command_ls, command_import, command_export, command_verify;
extern const struct cli_command command_stat, command_topo, command_why, command_top;
extern const struct cli_command command_pin, command_unpin, command_pins, command_gc;
extern const struct cli_command command_id;
extern const struct cli_command command_peers, command_connect, command_ping, command_fetch;
extern const struct cli_command command_segdump, command_scrub;
extern const struct cli_command command_backup, command_restore;
extern const struct cli_command command_config, command_doctor, command_decode;
extern const struct cli_command command_help, command_version;

/* manual.c: what the tables say, in other clothes, for documentation that cannot go stale. */
void manual_reference(FILE *out);  /* docs/configuration.md */
void manual_conf_page(FILE *out);  /* millrace.conf(5) */
void manual_page(FILE *out);       /* millrace(1) */
void manual_completion(FILE *out); /* bash */
