/* SPDX-License-Identifier: MIT */
#pragma once

/* stat_view — the answers of the admin socket as tables for people. */

#include "base/base.h"

#include <jansson.h>
#include <stdio.h>

/* stat_view writes the answer to "stat". With an older one of `seconds` ago, counters become rates.
 */
void stat_view(FILE *out, const json_t *now, const json_t *before, double seconds);
/* One line of rates for `stat --watch`; its heading. */
void stat_line_heading(FILE *out);
void stat_line(FILE *out, const json_t *now, const json_t *before, double seconds);

void topo_view(FILE *out, const json_t *topo);
void why_view(FILE *out, const json_t *why);
