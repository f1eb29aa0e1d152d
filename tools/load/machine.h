/* SPDX-License-Identifier: MIT */
#pragma once

/* machine — what the generator asks of the system it runs on. */

#include "base/base.h"

/* Raises the limit of open files to hold `conns` connections. Returns: 0, or -errno with a sentence
 * in `why`. */
must_check int machine_files(uint32_t conns, char *why, size_t why_bytes);
/* CPU time of all threads of a process, in seconds; below 0 where it cannot be read. */
double machine_cpu(int pid);
