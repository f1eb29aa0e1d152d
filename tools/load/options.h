/* SPDX-License-Identifier: MIT */
#pragma once

/* options — the command line of millrace-load, made into a plan. */

#include "tools/load/plan.h"

/* options_read fills the plan from the words after the program's name, the protocol first.
 * Returns: 0; OPTIONS_HELP: help was asked for; OPTIONS_BAD with a sentence in `why`. */
enum { OPTIONS_HELP = 1, OPTIONS_BAD = 2 };
must_check int options_read(int count, char *const words[], struct plan *ret_plan, char *why,
                            size_t why_bytes);
void options_help(void);
extern const char *const class_names[TALLY_CLASSES];
