/* SPDX-License-Identifier: MIT */
#pragma once

/* human — numbers as people read them: "1.5 MiB", "12,345", "3m05s". */

#include "base/base.h"

#define HUMAN_MAX 32

/* Each writes into text and returns it, so that it can stand in a printf. */
const char *human_bytes(uint64_t bytes, char text[HUMAN_MAX]);
const char *human_count(uint64_t count, char text[HUMAN_MAX]);
const char *human_time(double seconds, char text[HUMAN_MAX]);
const char *human_us(double us, char text[HUMAN_MAX]); /* a latency: "850 us", "12.4 ms" */
