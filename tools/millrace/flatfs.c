/* SPDX-License-Identifier: MIT */
#include "tools/millrace/flatfs.h"

#include "base/key.h"
#include "base/multibase.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SHARDS_MAX (1u << 20)
#define SUFFIX     ".data"

int flatfs_cid(const char *name, struct cid *ret_cid) {
    uint8_t bytes[CID_BYTES_MAX];
    struct key key;
    size_t chars = strlen(name), suffix = strlen(SUFFIX), count = 0, used = 0;
    if (chars <= suffix || strcmp(name + chars - suffix, SUFFIX) != 0 ||
        multibase_read('b', name, chars - suffix, bytes, sizeof bytes, &count) != 0) {
        return FLATFS_NOT;
    }
    if (count > 0 && bytes[0] == 1) { /* 0x01 is no hash function: it is a CID's version */
        struct cid cid;
        int r = cid_read(bytes, count, &cid, &used);
        if (r != 0 || used != count) {
            return FLATFS_NOT;
        }
        *ret_cid = cid;
        ret_cid->codec = CID_RAW;
        return 0;
    }
    int r = key_read(bytes, count, &key, &used);
    if (r != 0 || used != count) {
        return FLATFS_NOT;
    }
    cid_of_key(&key, CID_RAW, ret_cid);
    return 0;
}

/* The first line of a small file. Returns: 0 or -errno. */
static int first_line(const char *path, char *line, size_t bytes) {
    struct stat about;
    if (stat(path, &about) == 0 && !S_ISREG(about.st_mode)) {
        return -EINVAL; /* opening a pipe waits for whoever writes to it */
    }
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return -errno;
    }
    bool got = fgets(line, (int)bytes, file) != NULL;
    fclose(file);
    line[got ? strcspn(line, "\r\n") : 0] = '\0';
    return 0;
}

static bool is_folder(const char *path) {
    struct stat stat_out;
    return stat(path, &stat_out) == 0 && S_ISDIR(stat_out.st_mode);
}

/* A repository that keeps its blocks elsewhere says so. Returns: 0 or FLATFS_REFUSED. */
static int spec_judge(struct flatfs *flatfs, const char *dir) {
    char path[FLATFS_PATH_MAX];
    if ((size_t)snprintf(path, sizeof path, "%s/datastore_spec", dir) >= sizeof path) {
        return 0;
    }
    json_t *spec = json_load_file(path, 0, NULL);
    const char *kind = NULL;
    size_t i;
    json_t *mount;
    json_array_foreach(json_object_get(spec, "mounts"), i, mount) {
        const char *point = json_string_value(json_object_get(mount, "mountpoint"));
        if (point != NULL && strcmp(point, "/blocks") == 0) {
            kind = json_string_value(json_object_get(mount, "type"));
        }
    }
    if (kind == NULL) {
        kind = json_string_value(json_object_get(spec, "type"));
    }
    bool other = kind != NULL && strcmp(kind, "flatfs") != 0 && strcmp(kind, "mount") != 0;
    if (other) {
        snprintf(flatfs->why, sizeof flatfs->why,
                 "this repository keeps its blocks in %s, of which only flatfs is read here; "
                 "'ipfs dag export' writes archives that can be imported",
                 kind);
    }
    json_decref(spec);
    return other ? FLATFS_REFUSED : 0;
}

static int by_name(const void *a, const void *b) {
    return strcmp(a, b);
}

static int list_shards(struct flatfs *flatfs) {
    DIR *folder = opendir(flatfs->blocks);
    if (folder == NULL) {
        return -errno;
    }
    int r = 0;
    uint32_t room = 0;
    struct dirent *entry;
    while (r == 0 && (entry = readdir(folder)) != NULL) {
        char path[FLATFS_PATH_MAX + FLATFS_NAME_MAX];
        snprintf(path, sizeof path, "%s/%s", flatfs->blocks, entry->d_name);
        if (entry->d_name[0] == '.' || !is_folder(path)) { /* . .. .temp, and files of its own */
            continue;
        }
        if (flatfs->shard_count == room) {
            room = room == 0 ? 1024 : room * 2;
            void *more =
                room > SHARDS_MAX ? NULL : realloc(flatfs->shards, (size_t)room * FLATFS_NAME_MAX);
            r = more == NULL ? -ENOMEM : 0;
            flatfs->shards = more != NULL ? more : flatfs->shards;
        }
        if (r == 0) {
            snprintf(flatfs->shards[flatfs->shard_count++], FLATFS_NAME_MAX, "%s", entry->d_name);
        }
    }
    closedir(folder);
    if (flatfs->shard_count > 0) {
        qsort(flatfs->shards, flatfs->shard_count, FLATFS_NAME_MAX, by_name);
    }
    return r;
}

int flatfs_open(struct flatfs *flatfs, const char *dir) {
    char path[FLATFS_PATH_MAX + 16], line[256] = "";
    *flatfs = (struct flatfs){.shard_count = 0};
    if (spec_judge(flatfs, dir) != 0) {
        return FLATFS_REFUSED;
    }
    int r = -ENOENT;
    for (uint32_t i = 0; i < 2 && r == -ENOENT; i++) {
        int chars =
            snprintf(flatfs->blocks, sizeof flatfs->blocks, "%s%s", dir, i == 0 ? "/blocks" : "");
        if (chars < 0 || (size_t)chars >= sizeof flatfs->blocks) {
            return -ENAMETOOLONG;
        }
        snprintf(path, sizeof path, "%s/SHARDING", flatfs->blocks);
        r = first_line(path, line, sizeof line);
    }
    if (r == -ENOENT) {
        return FLATFS_NOT;
    }
    if (r == 0 && strncmp(line, "/repo/flatfs/shard/v1/", 22) != 0) {
        snprintf(flatfs->why, sizeof flatfs->why,
                 "SHARDING says '%s', which is no way of laying out files that is known here",
                 line);
        return FLATFS_REFUSED;
    }
    r = r == 0 ? list_shards(flatfs) : r;
    if (r != 0) {
        flatfs_close(flatfs);
    }
    return r;
}

static int by_inode(const void *a, const void *b) {
    const struct flatfs_file *x = a, *y = b;
    return x->inode < y->inode ? -1 : x->inode > y->inode;
}

static int add_file(struct flatfs *flatfs, const char *shard, const struct dirent *entry) {
    if (flatfs->file_count == flatfs->files_room) {
        uint32_t room = flatfs->files_room == 0 ? 4096 : flatfs->files_room * 2;
        struct flatfs_file *more = realloc(flatfs->files, (size_t)room * sizeof *more);
        if (more == NULL) {
            return -ENOMEM;
        }
        flatfs->files = more;
        flatfs->files_room = room;
    }
    struct flatfs_file *file = &flatfs->files[flatfs->file_count];
    int chars = snprintf(file->name, sizeof file->name, "%s/%s", shard, entry->d_name);
    if (chars < 0 || (size_t)chars >= sizeof file->name) {
        flatfs->strange++;
        return 0;
    }
    file->inode = entry->d_ino;
    flatfs->file_count++;
    return 0;
}

int flatfs_shard(struct flatfs *flatfs) {
    char path[FLATFS_PATH_MAX + FLATFS_NAME_MAX];
    if (flatfs->shards_done == flatfs->shard_count) {
        return 0;
    }
    const char *shard = flatfs->shards[flatfs->shards_done++];
    snprintf(path, sizeof path, "%s/%s", flatfs->blocks, shard);
    flatfs->file_count = 0;
    DIR *folder = opendir(path);
    if (folder == NULL) {
        snprintf(flatfs->why, sizeof flatfs->why, "%s", shard);
        return -errno;
    }
    int r = 0;
    struct dirent *entry;
    while (r == 0 && (entry = readdir(folder)) != NULL) {
        struct cid cid;
        if (flatfs_cid(entry->d_name, &cid) == 0) {
            r = add_file(flatfs, shard, entry);
        } else if (entry->d_name[0] != '.' && strncmp(entry->d_name, "put-", 4) != 0) {
            flatfs->strange++;
        }
    }
    closedir(folder);
    if (flatfs->file_count > 0) {
        qsort(flatfs->files, flatfs->file_count, sizeof *flatfs->files, by_inode);
    }
    return r == 0 ? 1 : r;
}

void flatfs_close(struct flatfs *flatfs) {
    free(flatfs->shards);
    free(flatfs->files);
    flatfs->shards = NULL;
    flatfs->files = NULL;
    flatfs->shard_count = flatfs->shards_done = flatfs->file_count = flatfs->files_room = 0;
}
