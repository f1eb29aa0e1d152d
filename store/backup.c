/* SPDX-License-Identifier: MIT */
#include "store/backup.h"

#include "base/bits.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/must.h"
#include "store/archive.h"
#include "store/inside.h"
#include "store/text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#define XXH_STATIC_LINKING_ONLY /* the state's size: it lies in ours */
#include <xxhash.h>

#define STEP_BYTES (2 * MiB)
#define CUT_TRIES  4096u
#define WRITING    "writing into the directory for the backup (the last one there is as it was)"
#define SYNC_BYTES (32 * MiB) /* of a copy, before its pages are waited for */
#define OF_THE_CUT UINT32_MAX /* an entry's id until it is copied: it lies in memory */

enum backup_phase { BACKUP_SEGMENTS, BACKUP_FILES, BACKUP_MANIFEST };

struct backup {
    struct store *store;
    struct store_task *task;
    const char *dir;
    enum backup_phase phase;
    const char *doing;     /* for people, when it fails */
    struct archive before; /* no pages: the first of its directory */
    struct archive now;
    uint32_t segments; /* of the cut: the first entries */
    uint32_t at;       /* entry that is copied */
    uint32_t pinned;   /* entries from `at` on hold their segments: up to here */
    int fd;            /* of the copy; -1: none */
    int source;        /* of the file beside the store that is copied; -1: none */
    bool listed;       /* files beside the store: entries behind the segments */
    bool crowded;      /* there are more than there is room for */
    uint8_t *gone;     /* GONE as it was at the cut: compaction goes on, and the copy knows nothing
                        * of what it lets go of later */
    uint64_t gone_bytes;
    uint64_t copied, synced;
    XXH3_state_t state;
    uint8_t *buffer; /* STEP_BYTES, page-aligned */
    char words[96];  /* what `doing` points at, where it names a file */
};

static const struct disk *disk_of(const struct backup *backup) {
    return &backup->store->config.disk;
}

/* --- the end ---------------------------------------------------------------------------------- */

static void unpin_rest(struct backup *backup) {
    for (; backup->at < backup->pinned; backup->at++) {
        uint32_t id = archive_entries(&backup->now)[backup->at].id;
        segment_unpin(&backup->store->segments.all[id]);
    }
}

static void let_go(struct backup *backup) {
    const struct disk *disk = disk_of(backup);
    unpin_rest(backup);
    if (backup->fd >= 0) {
        (void)disk->calls->close_file(disk->backend, backup->fd);
    }
    if (backup->source >= 0) {
        (void)disk->calls->close_file(disk->backend, backup->source);
    }
    archive_free(&backup->before);
    archive_free(&backup->now);
    vm_unmap(backup->gone, backup->gone_bytes);
    vm_unmap(backup->buffer, STEP_BYTES);
    backup->store->backup = NULL;
    vm_unmap(backup, sizeof *backup);
}

/* Ends the task: `what` failed with r, where r is not 0. */
static void finish(struct porter *porter, struct backup *backup, int r, const char *what) {
    char why[256];
    struct text text = {why, sizeof why, 0};
    struct store_task *task = backup->task;
    text_add(&text, what);
    if (r < 0) {
        text_add(&text, ": ");
        text_add(&text, err_text(r));
    }
    let_go(backup);
    porter_finish(porter, task, r, r == 0 ? NULL : why);
}

/* --- the cut ---------------------------------------------------------------------------------- */

/* How many bytes of the segment count now; 0: it is none. A sealed one is taken with its footer. */
static uint64_t cut_bytes(const struct segment *segment) {
    enum segment_state state = segment_state(segment);
    if (state == SEGMENT_SEALED) {
        return atomic_load_explicit(&segment->file_bytes, memory_order_relaxed);
    }
    if (state != SEGMENT_OPEN && state != SEGMENT_CLOSED) {
        return 0;
    }
    return atomic_load_explicit(&segment->data_bytes, memory_order_acquire);
}

static uint64_t look(struct backup *backup) {
    const struct segments *segments = &backup->store->segments;
    struct archive_entry *entries = archive_entries(&backup->now);
    uint32_t count = 0;
    for (uint32_t id = 1; id < segments->top; id++) {
        const struct segment *segment = &segments->all[id];
        uint64_t bytes = cut_bytes(segment);
        if (bytes > PAGE_BYTES) {
            entries[count++] =
                (struct archive_entry){.generation = segment->generation, .bytes = bytes, .id = id};
        }
    }
    backup->segments = count;
    return XXH3_64bits(entries, count * sizeof *entries);
}

/* Moves and their ends are the porter's, which is here: only logs and sealing go on beside it. */
static int cut(struct backup *backup) {
    struct store *store = backup->store;
    (void)pthread_mutex_lock(&store->files);
    int r = archive_make(&backup->now, store->segments.top + ARCHIVE_FILES_MAX);
    r = r == 0 ? gone_copy(&store->gone, &store->segments, &backup->gone, &backup->gone_bytes) : r;
    if (r != 0) {
        (void)pthread_mutex_unlock(&store->files);
        return r;
    }
    uint64_t before = look(backup), again = look(backup);
    for (uint32_t tries = 0; before != again && tries < CUT_TRIES; tries++) {
        before = again;
        again = look(backup);
    }
    for (uint32_t i = 0; before == again && i < backup->segments; i++) {
        uint32_t id = archive_entries(&backup->now)[i].id;
        must(segment_pin(&store->segments.all[id])); /* only the porter ends one */
        backup->pinned = i + 1;
    }
    (void)pthread_mutex_unlock(&store->files);
    counter_set(&backup->task->total, backup->segments);
    return before == again ? 0 : STORE_RETRY;
}

/* --- one copy --------------------------------------------------------------------------------- */

static bool is_there(const struct backup *backup, const struct archive_entry *entry) {
    const struct disk *disk = disk_of(backup);
    char path[ARCHIVE_PATH_MAX];
    archive_path(backup->dir, entry, path);
    int fd = disk->calls->open_file(disk->backend, path, O_RDONLY, 0);
    if (fd < 0) {
        return false;
    }
    int64_t bytes = disk->calls->file_bytes(disk->backend, fd);
    (void)disk->calls->close_file(disk->backend, fd);
    return bytes == (int64_t)entry->bytes;
}

static int open_copy(struct backup *backup, int mode) {
    const struct disk *disk = disk_of(backup);
    backup->doing = WRITING;
    char path[ARCHIVE_PATH_MAX];
    archive_join(backup->dir, "copy.new", "", path);
    (void)disk->calls->unlink_file(disk->backend, path); /* with the mode of another */
    backup->fd = disk->calls->open_file(disk->backend, path, O_RDWR | O_CREAT | O_EXCL, mode);
    backup->copied = backup->synced = 0;
    (void)XXH3_64bits_reset(&backup->state);
    return backup->fd < 0 ? backup->fd : 0;
}

static int put_piece(struct backup *backup, uint64_t bytes) {
    const struct disk *disk = disk_of(backup);
    backup->doing = WRITING;
    (void)XXH3_64bits_update(&backup->state, backup->buffer, bytes);
    int64_t n = disk->calls->pwrite(disk->backend, backup->fd, backup->buffer,
                                    round_up(bytes, PAGE_BYTES), backup->copied);
    if (n != (int64_t)round_up(bytes, PAGE_BYTES)) {
        return n < 0 ? (int)n : err_raise(-ENOSPC); /* the rest found no room */
    }
    backup->copied += bytes;
    counter_add(&backup->task->bytes, bytes);
    if (backup->copied < backup->synced + SYNC_BYTES) {
        return 0;
    }
    backup->synced = backup->copied;
    return disk->calls->sync_file(disk->backend, backup->fd);
}

/* The copy is whole: cut to size, made durable, and given its name. */
static int close_copy(struct backup *backup, struct archive_entry *entry) {
    const struct disk *disk = disk_of(backup);
    char from[ARCHIVE_PATH_MAX], to[ARCHIVE_PATH_MAX];
    entry->xxh3 = XXH3_64bits_digest(&backup->state);
    archive_join(backup->dir, "copy.new", "", from);
    archive_path(backup->dir, entry, to);
    int r = disk->calls->truncate(disk->backend, backup->fd, entry->bytes);
    r = r == 0 ? disk->calls->sync_file(disk->backend, backup->fd) : r;
    int closed = disk->calls->close_file(disk->backend, backup->fd);
    backup->fd = -1;
    r = r == 0 ? closed : r;
    return r == 0 ? disk->calls->rename_file(disk->backend, from, to) : r;
}

static void next_segment(struct backup *backup) {
    segment_unpin(&backup->store->segments.all[archive_entries(&backup->now)[backup->at].id]);
    backup->at++;
    counter_add(&backup->task->seen, 1);
}

/* One piece of one segment. Returns: 0 or -errno. */
static int copy_step(struct backup *backup) {
    const struct disk *disk = disk_of(backup);
    struct archive_entry *entry = &archive_entries(&backup->now)[backup->at];
    if (backup->fd < 0) {
        const struct archive_entry *before =
            backup->before.pages ? archive_find(&backup->before, entry) : NULL;
        if (before && is_there(backup, before)) {
            *entry = *before;
            next_segment(backup);
            return 0;
        }
        int r = open_copy(backup, 0640);
        if (r != 0) {
            return r;
        }
    }
    backup->doing = "reading a segment of the store";
    const struct segment *segment = &backup->store->segments.all[entry->id];
    uint64_t bytes = min_u64(STEP_BYTES, entry->bytes - backup->copied);
    int64_t n = disk->calls->pread(disk->backend, segment_fd(segment), backup->buffer, bytes,
                                   backup->copied);
    if (n != (int64_t)bytes) {
        return n < 0 ? (int)n : err_raise(-EIO);
    }
    int r = put_piece(backup, bytes);
    if (r == 0 && backup->copied == entry->bytes) {
        r = close_copy(backup, entry);
        counter_add(&backup->task->blocks, 1);
        next_segment(backup);
    }
    return r;
}

/* --- files beside the store ------------------------------------------------------------------- */

/* Another file, where there is room for its name and none has it yet. */
static void add_file(struct backup *backup, const char *name, struct archive_entry what) {
    struct archive_head *head = archive_head(&backup->now);
    struct archive_entry *entries = archive_entries(&backup->now);
    bool taken = !archive_takes(name);
    for (uint32_t i = backup->segments; i < head->count && !taken; i++) {
        taken = strcmp(entries[i].name, name) == 0;
    }
    bool room = head->count < backup->segments + ARCHIVE_FILES_MAX;
    backup->crowded = backup->crowded || (!taken && !room);
    if (!taken && room) {
        struct archive_entry *entry = &entries[head->count++];
        *entry = what;
        struct text text = {entry->name, sizeof entry->name, 0};
        text_add(&text, name);
    }
}

static int list_file(void *context, const char *name) {
    if (strcmp(name, "GONE") != 0) {
        add_file(context, name, (struct archive_entry){.mode = 0600});
    }
    return 0;
}

/* Files of the configuration keep their names where those will do; the main one is there always.
 * Until it is copied, such a file's id tells which it is, from 1. */
static void list_config(struct backup *backup) {
    const struct store_backup *ask = &backup->task->ask.backup;
    for (uint32_t i = 0; i < ask->files_count; i++) {
        const char *slash = strrchr(ask->files[i], '/');
        const char *name = slash ? slash + 1 : ask->files[i];
        name = i == 0 && !archive_takes(name) ? "millrace.conf" : name;
        add_file(
            backup, name,
            (struct archive_entry){.mode = i == 0 ? 0600 | ARCHIVE_CONFIG : 0600, .id = i + 1});
    }
}

static int list_files(struct backup *backup) {
    const struct disk *disk = disk_of(backup);
    backup->doing = "listing the files beside the store";
    archive_head(&backup->now)->count = backup->segments;
    list_config(backup);
    if (backup->gone_bytes > 0) {
        add_file(backup, "GONE", (struct archive_entry){.mode = 0600, .id = OF_THE_CUT});
    }
    int r = disk->calls->list_dir(disk->backend, backup->store->dir, list_file, backup);
    if (r == 0 && backup->crowded) {
        backup->doing = "more files lie beside the store than a backup takes (64)";
        static_assert(ARCHIVE_FILES_MAX == 64, "said in words");
        r = STORE_FULL;
    }
    backup->listed = true;
    return r;
}

/* What stands at such a name is none of the files that belong to a store. */
static bool no_file(int r) {
    return r == -ENOENT || r == -ENXIO || r == -EISDIR || r == -EOPNOTSUPP;
}

/* Opens what the entry at `at` is copied from. Returns: 0; 1: there is no file; -errno. */
static int open_source(struct backup *backup) {
    const struct disk *disk = disk_of(backup);
    const struct archive_entry *entry = &archive_entries(&backup->now)[backup->at];
    char path[ARCHIVE_PATH_MAX];
    if (entry->id == OF_THE_CUT) {
        return 0;
    }
    archive_join(backup->store->dir, entry->name, "", path);
    bool config = entry->id > 0;
    const char *from = config ? backup->task->ask.backup.files[entry->id - 1] : path;
    backup->source = disk->calls->open_file(disk->backend, from, O_RDONLY, 0);
    if (backup->source >= 0) {
        return 0;
    }
    /* The asker counts files of the configuration, and sees that one could not be read. */
    return no_file(backup->source) || (config && backup->source == -EACCES) ? 1 : backup->source;
}

static void close_source(struct backup *backup) {
    const struct disk *disk = disk_of(backup);
    if (backup->source >= 0) {
        (void)disk->calls->close_file(disk->backend, backup->source);
    }
    backup->source = -1;
}

/* The next piece into the buffer, zeroes behind it. Returns: 0 with *ret_last; 1: there is no file;
 * -errno. */
static int read_piece(struct backup *backup, uint64_t *ret_bytes, bool *ret_last) {
    const struct disk *disk = disk_of(backup);
    memset(backup->buffer, 0, STEP_BYTES);
    if (archive_entries(&backup->now)[backup->at].id == OF_THE_CUT) {
        *ret_bytes = min_u64(STEP_BYTES, backup->gone_bytes - backup->copied);
        memcpy(backup->buffer, backup->gone + backup->copied, *ret_bytes);
        *ret_last = backup->copied + *ret_bytes == backup->gone_bytes;
        return 0;
    }
    int64_t size = disk->calls->file_bytes(disk->backend, backup->source);
    int64_t n = disk->calls->pread(disk->backend, backup->source, backup->buffer, STEP_BYTES,
                                   backup->copied);
    if (size < 0 || n < 0) {
        return size < 0 ? (int)size : no_file((int)n) ? 1 : (int)n;
    }
    if (size > (int64_t)ARCHIVE_FILE_BYTES) {
        return err_raise(-EFBIG);
    }
    uint64_t left = (uint64_t)size - min_u64(backup->copied, (uint64_t)size);
    if ((uint64_t)n != min_u64(STEP_BYTES, left)) {
        return err_raise(-EIO); /* cut short, or it was changed just now: not what it is */
    }
    *ret_bytes = (uint64_t)n;
    *ret_last = (uint64_t)n == left;
    return 0;
}

static_assert(STORE_BACKUP_KEPT == ARCHIVE_FILES_MAX && STORE_BACKUP_NAME == ARCHIVE_NAME_MAX,
              "each entry's name finds room");

/* The entry at `at` is copied, or is none: those that are stand one behind the other. */
static void next_file(struct backup *backup, bool kept) {
    struct archive_entry *entries = archive_entries(&backup->now);
    struct archive_entry entry = entries[backup->at];
    struct store_backup *ask = &backup->task->ask.backup;
    bool config = entry.id > 0 && entry.id != OF_THE_CUT;
    entry.id = 0;
    entries[backup->at++] = (struct archive_entry){0};
    if (kept) {
        counter_add(&backup->task->phase, config);
        memcpy(ask->kept[ask->kept_count++], entry.name, sizeof entry.name);
        entries[backup->segments + ask->kept_count - 1] = entry;
    }
}

/* One piece of one file. Returns: 0 or -errno. */
static int file_step(struct backup *backup) {
    struct archive_entry *entry = &archive_entries(&backup->now)[backup->at];
    struct text text = {backup->words, sizeof backup->words, 0};
    text_add(&text, "reading ");
    text_add(&text, entry->name);
    text_add(&text, ", which goes with the store");
    bool begins = backup->fd < 0, last = false;
    uint64_t bytes = 0;
    backup->doing = backup->words;
    backup->copied = begins ? 0 : backup->copied;
    int r = begins ? open_source(backup) : 0;
    r = r == 0 ? read_piece(backup, &bytes, &last) : r;
    if (r == 1) {
        close_source(backup);
        next_file(backup, false);
        return 0;
    }
    r = r == 0 && begins ? open_copy(backup, 0600) : r;
    r = r == 0 && bytes > 0 ? put_piece(backup, bytes) : r;
    if (r == 0 && last) {
        close_source(backup);
        entry->bytes = backup->copied;
        r = close_copy(backup, entry);
        if (r == 0) {
            next_file(backup, true);
        }
    }
    return r;
}

/* Lists them, then copies one after the other. Returns: 0 or -errno, with *ret_over. */
static int files_step(struct backup *backup, bool *ret_over) {
    struct archive_head *head = archive_head(&backup->now);
    int r = !backup->listed ? list_files(backup) : backup->at < head->count ? file_step(backup) : 0;
    *ret_over = r == 0 && backup->listed && backup->at == head->count;
    if (*ret_over) {
        head->count = backup->segments + backup->task->ask.backup.kept_count;
    }
    return r;
}

/* --- manifest --------------------------------------------------------------------------------- */

static int write_manifest(struct backup *backup) {
    const struct disk *disk = disk_of(backup);
    struct archive_head *head = archive_head(&backup->now);
    char from[ARCHIVE_PATH_MAX], to[ARCHIVE_PATH_MAX];
    backup->doing = WRITING;
    memcpy(head->uuid, backup->store->segments.uuid, sizeof head->uuid);
    head->number = backup->before.pages ? archive_head(&backup->before)->number + 1 : 1;
    head->created_us = clock_wall_us();
    (void)pthread_mutex_lock(&backup->store->files);
    memcpy(archive_super(&backup->now), &backup->store->super.slot, sizeof(struct super_slot));
    (void)pthread_mutex_unlock(&backup->store->files);
    archive_seal(&backup->now);
    archive_join(backup->dir, "BACKUP.new", "", from);
    archive_join(backup->dir, "BACKUP", "", to);
    int fd = disk->calls->open_file(disk->backend, from, O_RDWR | O_CREAT | O_TRUNC, 0640);
    if (fd < 0) {
        return fd;
    }
    uint64_t bytes = archive_bytes(head->count);
    int64_t n = disk->calls->pwrite(disk->backend, fd, backup->now.pages, bytes, 0);
    int r = n == (int64_t)bytes ? 0 : n < 0 ? (int)n : err_raise(-ENOSPC);
    r = r == 0 ? disk->calls->sync_file(disk->backend, fd) : r;
    (void)disk->calls->close_file(disk->backend, fd);
    char sub[ARCHIVE_PATH_MAX];
    archive_join(backup->dir, "segments", "", sub);
    r = r == 0 ? disk->calls->sync_dir(disk->backend, sub) : r;
    archive_join(backup->dir, "files", "", sub);
    r = r == 0 ? disk->calls->sync_dir(disk->backend, sub) : r;
    r = r == 0 ? disk->calls->rename_file(disk->backend, from, to) : r;
    return r == 0 ? disk->calls->sync_dir(disk->backend, backup->dir) : r;
}

/* Files of the last backup that this one does not need. What is left of one that broke off stays
 * until a later one names it again, or for ever: it harms nobody. */
static void drop_older(const struct backup *backup) {
    const struct disk *disk = disk_of(backup);
    if (!backup->before.pages) {
        return;
    }
    const struct archive_entry *entries = archive_entries(&backup->before);
    for (uint32_t i = 0; i < archive_head(&backup->before)->count; i++) {
        if (!archive_find(&backup->now, &entries[i])) {
            char path[ARCHIVE_PATH_MAX];
            archive_path(backup->dir, &entries[i], path);
            (void)disk->calls->unlink_file(disk->backend, path);
        }
    }
}

/* --- the task --------------------------------------------------------------------------------- */

static int any_name(void *context, const char *name) {
    bool *any = context;
    *any = *any || name[0] != '.';
    return 0;
}

static int any_other(void *context, const char *name) {
    bool *any = context;
    *any = *any || (name[0] != '.' && strcmp(name, "files") != 0);
    return 0;
}

/* No manifest is there yet: is the directory empty, or one of ours that was cut off? Of those made
 * first, power may have left segments/ or an empty files/ alone. Returns: 0; STORE_FORMAT: it is
 * somebody else's; -errno. */
static int place_judge_new(const struct backup *backup) {
    const struct disk *disk = disk_of(backup);
    char path[ARCHIVE_PATH_MAX];
    bool other = false, in_files = false;
    int r = disk->calls->list_dir(disk->backend, backup->dir, any_other, &other);
    if (r != 0) {
        return r;
    }
    archive_join(backup->dir, "segments", "", path);
    r = disk->calls->list_dir(disk->backend, path, any_name, &(bool){false});
    if (r != -ENOENT) {
        return r;
    }
    archive_join(backup->dir, "files", "", path);
    r = disk->calls->list_dir(disk->backend, path, any_name, &in_files);
    r = r == -ENOENT ? 0 : r;
    return r == 0 && (other || in_files) ? STORE_FORMAT : r;
}

/* The directory is new, or holds backups of this very store. Returns: 0; an outcome or -errno, with
 * words in *ret_why. */
static int place_judge(struct backup *backup, const char **ret_why) {
    const struct disk *disk = disk_of(backup);
    char path[ARCHIVE_PATH_MAX];
    int r = archive_make_dir(disk, backup->dir, 0700);
    *ret_why = "the directory for the backup";
    if (r != 0) {
        return r;
    }
    r = archive_read(&backup->before, disk, backup->dir);
    if (r == -ENOENT) {
        r = place_judge_new(backup);
        if (r == STORE_FORMAT) {
            *ret_why = "the directory is not empty and holds no backup; name an empty or a new one";
        }
    } else if (r == 0 &&
               memcmp(archive_head(&backup->before)->uuid, backup->store->segments.uuid, 16) != 0) {
        *ret_why = "the directory holds a backup of another store";
        r = STORE_FORMAT;
    } else if (r == FORMAT_BAD) {
        r = 0; /* its manifest is damaged: all is copied again */
    }
    static const char *const subs[] = {"segments", "files"};
    for (size_t i = 0; r == 0 && i < array_count(subs); i++) {
        *ret_why = "the directory for the backup";
        archive_join(backup->dir, subs[i], "", path);
        r = archive_make_dir(disk, path, 0700);
    }
    return r;
}

static int begin(struct porter *porter, struct store_task *task, struct backup **ret_backup) {
    struct store *store = porter->store;
    struct backup *backup = vm_map(sizeof *backup);
    if (!backup) {
        return err_raise(-ENOMEM);
    }
    *backup = (struct backup){.store = store,
                              .task = task,
                              .dir = task->ask.backup.path,
                              .fd = -1,
                              .source = -1,
                              .doing = "a backup"};
    task->ask.backup.kept_count = 0;
    store->backup = backup;
    *ret_backup = backup;
    backup->buffer = vm_map(STEP_BYTES);
    return backup->buffer ? 0 : err_raise(-ENOMEM);
}

static uint32_t step_begin(struct porter *porter, struct store_task *task) {
    struct backup *backup = NULL;
    const char *why = "no memory";
    int r = begin(porter, task, &backup);
    if (!backup) {
        porter_finish(porter, task, r, why);
        return 1;
    }
    if (r == 0 && tiers_unknown(&porter->store->tiers)) {
        why = "a tier is missing, and what lies on it would not be in the backup";
        r = STORE_RETRY;
    }
    if (r == 0 && porter->store->tiers.given_up) {
        why = "some segments cannot be read, and what lies in them would not be in the backup; see "
              "'millrace stat'";
        r = STORE_RETRY;
    }
    r = r == 0 ? place_judge(backup, &why) : r;
    if (r == 0) {
        why = "no moment was found at which nothing was written; try again";
        r = cut(backup);
    }
    if (r != 0) {
        finish(porter, backup, r, why);
    }
    return 1;
}

uint32_t backup_step(struct porter *porter, struct store_task *task) {
    struct backup *backup = porter->store->backup;
    if (!backup) {
        return step_begin(porter, task);
    }
    if (backup->task != task) {
        porter_finish(porter, task, STORE_RETRY, "another backup is under way");
        return 1;
    }
    if (porter_canceled(porter, task)) {
        finish(porter, backup, STORE_RETRY, "it was told to end; the last backup is as it was");
        return 1;
    }
    int r = 0;
    bool over = false;
    switch (backup->phase) {
    case BACKUP_SEGMENTS:
        backup->phase = backup->at == backup->segments ? BACKUP_FILES : BACKUP_SEGMENTS;
        r = backup->at < backup->segments ? copy_step(backup) : 0;
        break;
    case BACKUP_FILES:
        r = files_step(backup, &over);
        backup->phase = over ? BACKUP_MANIFEST : BACKUP_FILES;
        break;
    case BACKUP_MANIFEST:
        r = write_manifest(backup);
        if (r == 0) {
            drop_older(backup);
            finish(porter, backup, 0, "");
            return 1;
        }
        break;
    }
    if (r != 0) {
        finish(porter, backup, r, backup->doing);
    }
    return 1;
}

void backup_close(struct porter *porter) {
    if (porter->store->backup) {
        let_go(porter->store->backup);
    }
}
