/* SPDX-License-Identifier: MIT */
#include "tools/millrace/parts.h"

#include "base/hash.h"
#include "base/varint.h"
#include "proto/ipld/car.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- what is there already ------------------------------------------------------------------- */

static void digest_of(const struct cid *cid, uint8_t digest[PARTS_DIGEST]) {
    uint32_t count = cid->digest_bytes < PARTS_DIGEST ? cid->digest_bytes : PARTS_DIGEST;
    memset(digest, 0, PARTS_DIGEST);
    memcpy(digest, cid->digest, count);
}

/* Where it is, or would be. */
static uint64_t slot_of(const struct parts *parts, const uint8_t digest[PARTS_DIGEST]) {
    static const uint8_t none[PARTS_DIGEST];
    uint64_t at = 0;
    memcpy(&at, digest, sizeof at);
    at &= parts->known_room - 1;
    while (memcmp(parts->known[at], none, PARTS_DIGEST) != 0 &&
           memcmp(parts->known[at], digest, PARTS_DIGEST) != 0) {
        at = (at + 1) & (parts->known_room - 1);
    }
    return at;
}

static int grow(struct parts *parts) {
    struct parts larger = {.known_room = parts->known_room == 0 ? 4096 : parts->known_room * 2};
    static const uint8_t none[PARTS_DIGEST];
    larger.known = calloc(larger.known_room, PARTS_DIGEST);
    if (larger.known == NULL) {
        return -ENOMEM;
    }
    for (uint64_t i = 0; i < parts->known_room; i++) {
        if (memcmp(parts->known[i], none, PARTS_DIGEST) != 0) {
            memcpy(larger.known[slot_of(&larger, parts->known[i])], parts->known[i], PARTS_DIGEST);
        }
    }
    free(parts->known);
    parts->known = larger.known;
    parts->known_room = larger.known_room;
    return 0;
}

static int learn(struct parts *parts, const struct cid *cid) {
    uint8_t digest[PARTS_DIGEST];
    if (parts->known_count * 3 >= parts->known_room * 2) {
        int r = grow(parts);
        if (r != 0) {
            return r;
        }
    }
    digest_of(cid, digest);
    uint64_t at = slot_of(parts, digest);
    parts->known_count += memcmp(parts->known[at], digest, PARTS_DIGEST) != 0;
    memcpy(parts->known[at], digest, PARTS_DIGEST);
    return 0;
}

bool parts_have(const struct parts *parts, const struct cid *cid) {
    uint8_t digest[PARTS_DIGEST];
    if (parts->known_room == 0) {
        return false;
    }
    digest_of(cid, digest);
    return memcmp(parts->known[slot_of(parts, digest)], digest, PARTS_DIGEST) == 0;
}

/* Sections are passed over by their heads. Returns: 0, PARTS_BAD, -errno. */
static int read_archive(struct parts *parts, int fd) {
    uint64_t at = 0;
    for (bool header = true;; header = false) {
        uint8_t head[CAR_SECTION_HEAD_MAX];
        uint64_t length = 0;
        size_t used = 0, cid_bytes = 0;
        struct cid cid;
        ssize_t got = pread(fd, head, sizeof head, (off_t)at);
        if (got < 0) {
            return -errno;
        }
        if (got == 0) {
            return header ? PARTS_BAD : 0;
        }
        if (varint_read(head, (size_t)got, &length, &used) != 0 || length == 0 ||
            length > CAR_HEADER_MAX) {
            return PARTS_BAD;
        }
        if (!header) {
            if (cid_read(head + used, (size_t)got - used, &cid, &cid_bytes) != 0) {
                return PARTS_BAD;
            }
            int r = learn(parts, &cid);
            if (r != 0) {
                return r;
            }
        }
        at += used + length;
        struct stat stat_out;
        if (fstat(fd, &stat_out) != 0 || at > (uint64_t)stat_out.st_size) {
            return PARTS_BAD;
        }
    }
}

static int is_archive(const struct dirent *entry) {
    size_t chars = strlen(entry->d_name);
    return chars > 4 && strcmp(entry->d_name + chars - 4, ".car") == 0;
}

static int read_one(struct parts *parts, const char *name) {
    snprintf(parts->path, sizeof parts->path, "%s/%s", parts->dir, name);
    int fd = open(parts->path, O_RDONLY | O_CLOEXEC);
    int r = fd < 0 ? -errno : read_archive(parts, fd);
    if (fd >= 0) {
        close(fd);
    }
    if (r != 0) {
        snprintf(parts->why, sizeof parts->why,
                 r == PARTS_BAD ? "%s is not whole, or no CARv1; take it away first" : "%s",
                 parts->path);
    }
    uint32_t number = (uint32_t)strtoul(name, NULL, 10);
    parts->number = number > parts->number ? number : parts->number;
    return r;
}

int parts_open(struct parts *parts, const char *dir, uint64_t bytes_max) {
    *parts = (struct parts){.dir = dir, .bytes_max = bytes_max};
    struct dirent **entries = NULL;
    snprintf(parts->why, sizeof parts->why, "%.4000s", dir);
    if (strlen(dir) > PARTS_PATH_MAX - 300) {
        return -ENAMETOOLONG;
    }
    if (mkdir(dir, 0777) != 0 && errno != EEXIST) {
        return -errno;
    }
    int count = scandir(dir, &entries, is_archive, alphasort);
    int r = count < 0 ? -errno : 0;
    for (int i = 0; i < count; i++) {
        r = r == 0 ? read_one(parts, entries[i]->d_name) : r;
        free(entries[i]);
    }
    free(entries);
    if (r != 0) {
        free(parts->known);
        parts->known = NULL;
    }
    return r;
}

/* ---- writing --------------------------------------------------------------------------------- */

static int begin(struct parts *parts) {
    size_t bytes = parts->header_bytes;
    parts->number++;
    snprintf(parts->path, sizeof parts->path, "%.4000s/%06u.car", parts->dir, parts->number);
    snprintf(parts->part, sizeof parts->part, "%s.part", parts->path);
    parts->file = fopen(parts->part, "we");
    if (parts->file == NULL || fwrite(parts->header, 1, bytes, parts->file) != bytes) {
        return -errno;
    }
    parts->bytes = bytes;
    return 0;
}

static int end(struct parts *parts) {
    int r = fflush(parts->file) != 0 || fsync(fileno(parts->file)) != 0 ? -errno : 0;
    if (fclose(parts->file) != 0 && r == 0) {
        r = -errno;
    }
    parts->file = NULL;
    if (r == 0 && rename(parts->part, parts->path) != 0) {
        r = -errno;
    }
    if (r != 0) {
        unlink(parts->part);
    }
    return r;
}

FILE *parts_room(struct parts *parts, uint64_t bytes) {
    int r = 0;
    if (parts->file != NULL && parts->bytes + bytes > parts->bytes_max) {
        r = end(parts);
    }
    if (r == 0 && parts->file == NULL) {
        r = begin(parts);
    }
    if (r != 0) {
        errno = -r;
        return NULL;
    }
    parts->bytes += bytes;
    return parts->file;
}

int parts_close(struct parts *parts, bool whole) {
    int r = 0;
    if (parts->file != NULL && whole) {
        r = end(parts);
    } else if (parts->file != NULL) {
        fclose(parts->file);
        unlink(parts->part);
        parts->file = NULL;
    }
    free(parts->known);
    parts->known = NULL;
    parts->known_room = 0;
    return r;
}
