/* SPDX-License-Identifier: MIT */
#pragma once

/* import_dir — a directory into a daemon: a Kubo repository with flatfs, or a folder of archives.
 *
 * What the daemon has already is asked for in groups and skipped: of a repository its files are not
 * even opened, of an archive the blocks are read but not checked. So a second run goes on where the
 * first was cut off. Files are read by threads ahead of their turn and checked by the daemon, whose
 * work cores hash while the next are read. A file that is damaged or cannot be read is named, and
 * the rest goes on unless the caller wishes to stop. */

#include "tools/millrace/import.h"

/* import_dir takes in all of it. *ret_why: a sentence for IMPORT_UNREAD where errno says too
 * little, else NULL; lives until the next call. import->asker must be set. */
must_check enum import_end import_dir(struct import *import, const char *name,
                                      const char **ret_why);
