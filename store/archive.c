/* SPDX-License-Identifier: MIT */
#include "store/archive.h"

#include "base/bits.h"
#include "base/err.h"
#include "store/text.h"
#include "store/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <xxhash.h>

uint64_t archive_bytes(uint32_t count) {
    return 2 * PAGE_BYTES + round_up((uint64_t)count * sizeof(struct archive_entry), PAGE_BYTES);
}

int archive_make(struct archive *archive, uint32_t count) {
    *archive = (struct archive){.bytes = archive_bytes(count)};
    archive->pages = vm_map(archive->bytes);
    return archive->pages ? 0 : err_raise(-ENOMEM);
}

void archive_free(struct archive *archive) {
    vm_unmap(archive->pages, archive->bytes);
    *archive = (struct archive){.pages = NULL};
}

void archive_seal(struct archive *archive) {
    struct archive_head *head = archive_head(archive);
    head->magic = ARCHIVE_MAGIC;
    head->version = ARCHIVE_VERSION;
    head->entries_xxh3 =
        XXH3_64bits(archive_entries(archive), head->count * sizeof(struct archive_entry));
    head->super_xxh3 = XXH3_64bits(archive_super(archive), PAGE_BYTES);
    page_seal(archive->pages, format_crc_base(head->uuid, head->number));
}

static bool entry_fits(const struct archive_entry *entry) {
    if (memchr(entry->name, 0, sizeof entry->name) == NULL || entry->id >= SEGMENT_IDS) {
        return false;
    }
    return entry->generation != 0
               ? entry->id > 0 && entry->name[0] == 0 && entry->bytes % PAGE_BYTES == 0 &&
                     entry->bytes <= ARCHIVE_SEGMENT_MAX
               : entry->id == 0 && archive_takes(entry->name) && entry->bytes <= ARCHIVE_FILE_BYTES;
}

int archive_check(const struct archive *archive) {
    if (archive->bytes < 2 * PAGE_BYTES || archive->bytes % PAGE_BYTES != 0) {
        return FORMAT_BAD;
    }
    const struct archive_head *head = archive_head(archive);
    if (head->magic != ARCHIVE_MAGIC || head->version != ARCHIVE_VERSION ||
        !page_sound(archive->pages, format_crc_base(head->uuid, head->number)) ||
        archive->bytes != archive_bytes(head->count)) {
        return FORMAT_BAD;
    }
    const struct archive_entry *entries = archive_entries(archive);
    if (XXH3_64bits(entries, head->count * sizeof *entries) != head->entries_xxh3 ||
        XXH3_64bits(archive_super(archive), PAGE_BYTES) != head->super_xxh3) {
        return FORMAT_BAD;
    }
    uint32_t id = 0;
    bool files = false; /* come behind the segments */
    for (uint32_t i = 0; i < head->count; i++) {
        bool segment = entries[i].generation != 0;
        if (!entry_fits(&entries[i]) || (segment && (files || entries[i].id <= id))) {
            return FORMAT_BAD;
        }
        id = segment ? entries[i].id : id;
        files = files || !segment;
    }
    return 0;
}

int archive_read(struct archive *archive, const struct disk *disk, const char *dir) {
    *archive = (struct archive){.pages = NULL};
    char path[ARCHIVE_PATH_MAX];
    archive_join(dir, "BACKUP", "", path);
    int fd = disk->calls->open_file(disk->backend, path, O_RDONLY, 0);
    if (fd < 0) {
        return fd;
    }
    int64_t bytes = disk->calls->file_bytes(disk->backend, fd);
    int r = bytes < 0 ? (int)bytes : 0;
    if (r == 0 && (bytes == 0 || bytes > (int64_t)archive_bytes(SEGMENT_IDS + ARCHIVE_FILES_MAX))) {
        r = FORMAT_BAD;
    }
    if (r == 0) {
        archive->bytes = round_up((uint64_t)bytes, PAGE_BYTES);
        archive->pages = vm_map(archive->bytes);
        r = archive->pages ? 0 : err_raise(-ENOMEM);
    }
    int64_t n = r == 0 ? disk->calls->pread(disk->backend, fd, archive->pages, archive->bytes, 0)
                       : (int64_t)bytes;
    (void)disk->calls->close_file(disk->backend, fd);
    r = r == 0 && n < 0 ? (int)n : r;
    r = r == 0 ? n == (int64_t)archive->bytes ? archive_check(archive) : FORMAT_BAD : r;
    if (r != 0) {
        archive_free(archive);
    }
    return r;
}

const struct archive_entry *archive_find(const struct archive *archive,
                                         const struct archive_entry *wanted) {
    const struct archive_entry *entries = archive_entries(archive);
    uint32_t count = archive_head(archive)->count;
    uint32_t low = 0, high = wanted->generation != 0 ? count : 0;
    while (low < high) { /* segments come first, by id; files have none */
        uint32_t middle = (low + high) / 2;
        bool below = entries[middle].generation != 0 && entries[middle].id < wanted->id;
        low = below ? middle + 1 : low;
        high = below ? high : middle;
    }
    for (; low < count && (wanted->generation == 0 || entries[low].id == wanted->id); low++) {
        if (entries[low].generation == wanted->generation && entries[low].bytes == wanted->bytes &&
            (wanted->generation != 0 ||
             (entries[low].xxh3 == wanted->xxh3 && strcmp(entries[low].name, wanted->name) == 0))) {
            return &entries[low];
        }
    }
    return NULL;
}

void archive_join(const char *dir, const char *name, const char *more,
                  char path[ARCHIVE_PATH_MAX]) {
    struct text text = {path, ARCHIVE_PATH_MAX, 0};
    text_add(&text, dir);
    text_add(&text, name[0] ? "/" : "");
    text_add(&text, name);
    text_add(&text, more);
}

void archive_path(const char *dir, const struct archive_entry *entry, char path[ARCHIVE_PATH_MAX]) {
    struct text text = {path, ARCHIVE_PATH_MAX, 0};
    text_add(&text, dir);
    text_add(&text, "/");
    if (entry->generation == 0) {
        text_add(&text, "files/");
        text_add(&text, entry->name);
        text_add(&text, "-");
        text_add_hex(&text, entry->xxh3, 16);
        return;
    }
    text_add(&text, "segments/");
    text_add_hex(&text, entry->id, 5);
    text_add(&text, "-");
    text_add_hex(&text, entry->generation, 16);
    text_add(&text, "-");
    text_add_hex(&text, entry->bytes, 8);
    text_add(&text, ".seg");
}

int archive_make_dir(const struct disk *disk, const char *path, int mode) {
    char parent[ARCHIVE_PATH_MAX];
    struct text text = {parent, sizeof parent, 0};
    text_add(&text, path);
    int r = disk->calls->make_dir(disk->backend, path, mode);
    if (r != 0) {
        return r == -EEXIST ? 0 : r;
    }
    size_t end = strlen(parent);
    while (end > 1 && parent[end - 1] == '/') { /* a name may end in one */
        end--;
    }
    while (end > 0 && parent[end - 1] != '/') {
        end--;
    }
    while (end > 1 && parent[end - 1] == '/') {
        end--;
    }
    parent[end] = 0;
    return disk->calls->sync_dir(disk->backend, end > 0 ? parent : ".");
}

bool archive_takes(const char *name) {
    static const char *const made_anew[] = {"LOCK",       "SUPER",   "SUPER.new",    "ssd",
                                            "hdd",        "index",   "millrace.log", "millrace.pid",
                                            "admin.sock", "samples", "lost+found",   "BACKUP"};
    for (size_t i = 0; i < array_count(made_anew); i++) {
        if (strcmp(name, made_anew[i]) == 0) {
            return false;
        }
    }
    size_t length = strlen(name);
    if (length >= 4 && strcmp(name + length - 4, ".new") == 0) {
        return false; /* half made */
    }
    return length > 0 && length < ARCHIVE_NAME_MAX && name[0] != '.' && !strchr(name, '/');
}
