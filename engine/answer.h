/* SPDX-License-Identifier: MIT */
#pragma once

/* answer — what the admin socket's commands say when they cannot do what was asked.
 *
 * Thread: control. Allocates: from the general heap, by jansson. */

#include "base/base.h"

#include <jansson.h>

/* {"error": sentence}. Returns: NULL without memory. */
json_t *answer_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What somebody sent, as it may stand in a sentence: JSON takes no half of a character, and people
 * no escapes of their terminals. Returns: shown->text. */
struct answer_shown {
    char text[256];
};
const char *answer_show(const char *text, struct answer_shown *shown);
