/* SPDX-License-Identifier: MIT */
#include "tools/millrace/import_dir.h"

#include "base/must.h"
#include "tools/millrace/ahead.h"
#include "tools/millrace/cli.h"
#include "tools/millrace/flatfs.h"
#include "tools/millrace/human.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct repository {
    struct import *import;
    struct flatfs flatfs;
    struct ahead *ahead;
    char group[KNOWN_ITEMS][FLATFS_NAME_MAX]; /* names of what waits in import->known */
    char note[128];
};

/* ---- a flatfs repository --------------------------------------------------------------------- */

static uint64_t name_take(struct import *import, const char *name) {
    for (uint64_t i = 0; i < IMPORT_NAMES; i++) {
        if (import->names[i][0] == '\0') {
            snprintf(import->names[i], IMPORT_NAME_MAX, "%s", name);
            return i;
        }
    }
    never("more names than requests can be under way");
}

/* Puts the oldest of the files that are read ahead. */
static int put_next(struct repository *repository) {
    struct import *import = repository->import;
    const struct ahead_file *file = ahead_next(repository->ahead);
    must(file != NULL);
    const char *name = file->path + strlen(repository->flatfs.blocks) + 1;
    struct import_block block = {
        .data = file->data, .bytes = file->bytes, .tag = name_take(import, name)};
    must(flatfs_cid(strrchr(name, '/') + 1, &block.cid) == 0);
    import->read_bytes += file->bytes;
    if (file->error == 0) {
        return import_put(import, &block);
    }
    if (file->error == -EFBIG) {
        import_bad(import, &block, "more bytes than a block may have here (%u)", import->block_max);
    } else if (file->error != -ENOENT) { /* collected by Kubo since it was listed */
        import_bad(import, &block, "it cannot be read: %s", strerror(-file->error));
    }
    import->names[block.tag][0] = '\0';
    return import->stop ? IMPORT_HALT : 0;
}

/* Reads and puts those of the group that the daemon does not have. */
static int put_group(struct repository *repository) {
    struct import *import = repository->import;
    struct known *known = import->known;
    char path[AHEAD_PATH_MAX];
    int r = known_ask(known, import->asker);
    if (r != 0) {
        import->error = r;
        return IMPORT_BROKEN;
    }
    for (uint32_t i = 0; i < known->count && r == 0; i++) {
        if (known->present[i] == 1) {
            import->totals.known++;
            import->file_known++;
            continue;
        }
        while (r == 0 && ahead_full(repository->ahead)) {
            r = put_next(repository);
        }
        snprintf(path, sizeof path, "%s/%s", repository->flatfs.blocks,
                 repository->group[known->items[i].tag]);
        if (r == 0) {
            ahead_ask(repository->ahead, path, 0);
        }
    }
    known_clear(known);
    return r;
}

static int put_shard(struct repository *repository) {
    struct import *import = repository->import;
    const struct flatfs *flatfs = &repository->flatfs;
    char known[HUMAN_MAX];
    int r = 0;
    snprintf(repository->note, sizeof repository->note, "folder %u of %u, %s already here",
             flatfs->shards_done, flatfs->shard_count, human_count(import->totals.known, known));
    /* A group may span folders: a small repository has but a few files in each. */
    for (uint32_t i = 0; i < flatfs->file_count && r == 0; i++) {
        const char *name = flatfs->files[i].name;
        struct known_item item = {.tag = import->known->count};
        must(flatfs_cid(strrchr(name, '/') + 1, &item.cid) == 0);
        must(known_add(import->known, &item));
        memcpy(repository->group[item.tag], name, strlen(name) + 1);
        if (import->known->count == KNOWN_ITEMS) {
            r = put_group(repository);
        }
    }
    progress_show(&import->progress, import->read_bytes, import->totals.blocks);
    return r;
}

static enum import_end put_repository(struct repository *repository, const char *name) {
    struct import *import = repository->import;
    int r;
    import_input_begin(import, name);
    import->progress.note = repository->note;
    while ((r = flatfs_shard(&repository->flatfs)) != 0) {
        struct import_block none = {.tag = 0};
        if (r < 0) {
            snprintf(import->names[0], IMPORT_NAME_MAX, "%.200s", repository->flatfs.why);
            import_bad(import, &none, "the folder cannot be read: %s", strerror(-r));
            import->names[0][0] = '\0';
        }
        r = r < 0 && import->stop ? IMPORT_HALT : r < 0 ? 0 : put_shard(repository);
        if (r != 0) {
            break;
        }
    }
    r = r == 0 ? put_group(repository) : r;
    while (r == 0 && ahead_waiting(repository->ahead)) {
        r = put_next(repository);
    }
    enum import_end end = import_input_end(import, r);
    import->progress.note = NULL;
    if (repository->flatfs.strange > 0) {
        progress_clear(&import->progress);
        fprintf(stderr, "%s: %llu files whose names are no block's were left alone\n", name,
                (unsigned long long)repository->flatfs.strange);
    }
    return end;
}

/* ---- a folder of archives -------------------------------------------------------------------- */

static int is_archive(const struct dirent *entry) {
    size_t chars = strlen(entry->d_name);
    bool file = entry->d_type == DT_REG || entry->d_type == DT_LNK || entry->d_type == DT_UNKNOWN;
    return file && chars > 4 && strcasecmp(entry->d_name + chars - 4, ".car") == 0;
}

static enum import_end put_archives(struct import *import, const char *name, const char **ret_why) {
    static char path[FLATFS_PATH_MAX + 256];
    struct dirent **entries = NULL;
    int count = scandir(name, &entries, is_archive, alphasort);
    enum import_end end = count < 0 ? IMPORT_UNREAD : IMPORT_WENT_ON;
    import->error = count < 0 ? -errno : 0;
    if (count == 0) {
        *ret_why = "neither a Kubo repository (no blocks/SHARDING) nor a folder with .car files; "
                   "'millrace add' stores directories";
        end = IMPORT_UNREAD;
    }
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/%s", name, entries[i]->d_name);
        free(entries[i]);
        if (end != IMPORT_WENT_ON) {
            continue; /* only to free the rest */
        }
        end = import_file(import, path);
        if (end == IMPORT_UNREAD && !import->stop_on_error) {
            progress_clear(&import->progress);
            fprintf(stderr, "%s: %s\n", cli_tame(path), strerror(-import->error));
            import->totals.bad++;
            end = IMPORT_WENT_ON;
        }
    }
    free(entries);
    return end;
}

enum import_end import_dir(struct import *import, const char *name, const char **ret_why) {
    static struct repository repository;
    static char why[sizeof repository.flatfs.why];
    must(import->asker != NULL);
    *ret_why = NULL;
    repository = (struct repository){.import = import};
    enum import_end end = IMPORT_UNREAD;
    int r = flatfs_open(&repository.flatfs, name);
    import->known = calloc(1, sizeof *import->known);
    if (r == FLATFS_REFUSED) {
        snprintf(why, sizeof why, "%s", repository.flatfs.why);
        *ret_why = why;
    } else if (r < 0 || import->known == NULL) {
        import->error = r < 0 ? r : -ENOMEM;
    } else if (r == FLATFS_NOT) {
        end = put_archives(import, name, ret_why);
    } else {
        import->names = calloc(IMPORT_NAMES, IMPORT_NAME_MAX);
        repository.ahead = ahead_open(import->block_max);
        import->error = -ENOMEM;
        if (import->names != NULL && repository.ahead != NULL) {
            end = put_repository(&repository, name);
        }
        if (repository.ahead != NULL) {
            ahead_close(repository.ahead);
        }
        free(import->names);
        import->names = NULL;
    }
    flatfs_close(&repository.flatfs);
    free(import->known);
    import->known = NULL;
    return end;
}
