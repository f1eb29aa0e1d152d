/* SPDX-License-Identifier: MIT */
#pragma once

/* fuzz — what every fuzz target defines; called by libFuzzer or by replay.c, many times a process.
 * Broken invariants end in must(), which aborts, which both callers notice. */

#include "base/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
