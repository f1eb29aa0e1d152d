/* SPDX-License-Identifier: MIT */
#pragma once

/* interrupt — Ctrl-C (and SIGTERM) asks a command once to end what it began in the daemon; a second
 * one ends the command as ever. Thread: main. */

#include "base/base.h"

/* From here on the next signal is taken note of. */
void interrupt_mind(void);
bool interrupt_came(void);
