/* SPDX-License-Identifier: MIT */
#include "tools/millrace/tree.h"

#include "base/must.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int fail(const struct tree *tree, const char *name, int error) {
    progress_clear(&tree->adder->progress);
    return cli_fail(tree->adder->cli, CLI_FAILED, "%s: %s", name, strerror(error));
}

static int refuse(const struct tree *tree, const char *name) {
    progress_clear(&tree->adder->progress);
    return cli_fail(tree->adder->cli, CLI_FAILED,
                    "%s: neither a file, a directory nor a symbolic link; '-' reads standard input",
                    name);
}

/* ---- one folder ------------------------------------------------------------------------------ */

static int by_bytes(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int name_keep(struct tree_folder *folder, const char *name, uint32_t *room) {
    if (folder->count == *room) {
        *room = *room == 0 ? 64 : 2 * *room;
        char **more = realloc(folder->names, *room * sizeof *more);
        if (more == NULL) {
            return ENOMEM;
        }
        folder->names = more;
    }
    folder->names[folder->count] = strdup(name);
    return folder->names[folder->count++] != NULL ? 0 : ENOMEM;
}

/* Returns: 0 or an errno. */
static int names_read(struct tree_folder *folder, bool hidden) {
    uint32_t room = 0;
    int error = 0;
    int fd = fcntl(folder->fd, F_DUPFD_CLOEXEC, 0); /* closedir closes one, openat needs one */
    DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;
    if (directory == NULL) {
        error = errno;
        if (fd >= 0) {
            close(fd);
        }
        return error;
    }
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(directory);
        if (entry == NULL) {
            error = errno;
            break;
        }
        const char *name = entry->d_name;
        bool self = strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
        if (self || (name[0] == '.' && !hidden)) {
            continue;
        }
        error = name_keep(folder, name, &room);
        if (error != 0) {
            break;
        }
    }
    closedir(directory);
    if (error == 0 && folder->count > 0) {
        qsort(folder->names, folder->count, sizeof folder->names[0], by_bytes);
        folder->entries = calloc(folder->count, sizeof folder->entries[0]);
        error = folder->entries != NULL ? 0 : ENOMEM;
    }
    return error;
}

static void folder_close(struct tree *tree) {
    struct tree_folder *folder = &tree->folders[--tree->depth];
    for (uint32_t i = 0; i < folder->count; i++) {
        free(folder->names[i]);
    }
    free(folder->names);
    free(folder->entries);
    free(folder->path);
    close(folder->fd);
}

/* "above/name"; malloc'd, or NULL. */
static char *path_of(const char *above, const char *name) {
    size_t room = strlen(above) + strlen(name) + 2;
    char *path = malloc(room);
    if (path != NULL) {
        snprintf(path, room, "%s/%s", above, name);
    }
    return path;
}

/* Goes down into `fd`, called `name` in the folder on top, or at all. Owns: fd. */
static int folder_open(struct tree *tree, int fd, const char *name) {
    const char *above = tree->depth > 0 ? tree->folders[tree->depth - 1].path : "";
    if (tree->depth == TREE_DEPTH_MAX) {
        close(fd);
        return cli_fail(tree->adder->cli, CLI_FAILED, "%s/%s: more than %u directories deep", above,
                        name, TREE_DEPTH_MAX);
    }
    char *path = tree->depth > 0 ? path_of(above, name) : strdup(name);
    if (path == NULL) {
        close(fd);
        return fail(tree, name, ENOMEM);
    }
    struct tree_folder *folder = &tree->folders[tree->depth++];
    *folder = (struct tree_folder){.path = path, .fd = fd};
    int error = names_read(folder, tree->hidden);
    return error != 0 ? fail(tree, path, error) : CLI_DONE;
}

/* ---- what a folder has ------------------------------------------------------------------------
 */

static int add_symlink(struct tree *tree, int at, const char *path, const char *name,
                       struct unixfs_link *ret_link) {
    char target[UNIXFS_TARGET_MAX];
    ssize_t bytes = readlinkat(at, path, target, sizeof target);
    if (bytes < 0) {
        return fail(tree, name, errno);
    }
    return adder_symlink(tree->adder, target, (size_t)bytes, ret_link);
}

static int add_content(struct tree *tree, int at, const char *path, int flags, const char *name,
                       struct unixfs_link *ret_link) {
    int fd = openat(at, path, O_RDONLY | O_CLOEXEC | flags);
    if (fd < 0) {
        return fail(tree, name, errno);
    }
    int status = adder_content(tree->adder, fd, name, ret_link);
    close(fd);
    return status;
}

/* The link of the name at hand is known: it becomes an entry and a line. */
static int entry_add(struct tree *tree, const struct unixfs_link *link, const char *printed) {
    struct tree_folder *folder = &tree->folders[tree->depth - 1];
    const char *name = folder->names[folder->at++];
    folder->entries[folder->entries_count++] =
        (struct unixfs_entry){.link = *link, .name = name, .name_bytes = (uint32_t)strlen(name)};
    return adder_line(tree->adder, link, printed);
}

/* The name at hand of the folder on top, printed as `printed`: an entry, or one folder more. */
static int one(struct tree *tree, const char *printed) {
    const struct tree_folder *folder = &tree->folders[tree->depth - 1];
    const char *name = folder->names[folder->at];
    struct stat about;
    struct unixfs_link link;
    int status;
    if (fstatat(folder->fd, name, &about, AT_SYMLINK_NOFOLLOW) != 0) {
        return fail(tree, printed, errno);
    }
    if (S_ISDIR(about.st_mode)) {
        int fd = openat(folder->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        return fd < 0 ? fail(tree, printed, errno) : folder_open(tree, fd, name);
    }
    if (S_ISLNK(about.st_mode)) {
        status = add_symlink(tree, folder->fd, name, printed, &link);
    } else if (S_ISREG(about.st_mode)) {
        status = add_content(tree, folder->fd, name, O_NOFOLLOW, printed, &link);
    } else {
        return refuse(tree, printed);
    }
    return status == CLI_DONE ? entry_add(tree, &link, printed) : status;
}

static int next(struct tree *tree) {
    const struct tree_folder *folder = &tree->folders[tree->depth - 1];
    char *printed = path_of(folder->path, folder->names[folder->at]);
    int status =
        printed != NULL ? one(tree, printed) : fail(tree, folder->names[folder->at], ENOMEM);
    free(printed);
    return status;
}

/* The folder on top is whole: it becomes an entry of the one above it, or the result. */
static int folder_done(struct tree *tree, struct unixfs_link *ret_link) {
    struct tree_folder *folder = &tree->folders[tree->depth - 1];
    struct unixfs_link link;
    int status =
        adder_directory(tree->adder, folder->entries, folder->entries_count, folder->path, &link);
    if (status != CLI_DONE) {
        return status;
    }
    char *path = folder->path;
    folder->path = NULL;
    folder_close(tree);
    if (tree->depth > 0) {
        status = entry_add(tree, &link, path);
    } else {
        status = adder_line(tree->adder, &link, path);
        *ret_link = link;
    }
    free(path);
    return status;
}

/* ---- arguments ------------------------------------------------------------------------------- */

static int add_folder(struct tree *tree, const char *path, const char *name,
                      struct unixfs_link *ret_link) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return fail(tree, name, errno);
    }
    tree->depth = 0;
    int status = folder_open(tree, fd, name);
    while (status == CLI_DONE && tree->depth > 0) {
        const struct tree_folder *folder = &tree->folders[tree->depth - 1];
        status = folder->at < folder->count ? next(tree) : folder_done(tree, ret_link);
    }
    while (tree->depth > 0) {
        folder_close(tree);
    }
    return status;
}

/* A link to a pipe or a device is how a shell hands over a stream: what it carries is meant. A
 * named pipe itself may have nobody at its other end, and then opening it waits for ever. */
static bool is_stream(const char *path, mode_t mode) {
    struct stat about;
    if (S_ISLNK(mode)) {
        return stat(path, &about) == 0 && (S_ISFIFO(about.st_mode) || S_ISCHR(about.st_mode));
    }
    return S_ISCHR(mode) || S_ISBLK(mode);
}

int tree_add(struct tree *tree, const char *path, const char *name, struct unixfs_link *ret_link) {
    struct stat about;
    int status;
    if (lstat(path, &about) != 0) {
        return fail(tree, path, errno);
    }
    if (S_ISDIR(about.st_mode)) {
        return add_folder(tree, path, name, ret_link);
    }
    if (S_ISREG(about.st_mode) || is_stream(path, about.st_mode)) {
        status = add_content(tree, AT_FDCWD, path, 0, path, ret_link);
    } else if (S_ISLNK(about.st_mode)) {
        status = add_symlink(tree, AT_FDCWD, path, path, ret_link);
    } else {
        return refuse(tree, path);
    }
    return status == CLI_DONE ? adder_line(tree->adder, ret_link, name) : status;
}
