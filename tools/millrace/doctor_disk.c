/* SPDX-License-Identifier: MIT */
#include "tools/millrace/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/uio.h>
#include <unistd.h>

#define say(field, ...) snprintf((field), sizeof(field), __VA_ARGS__)

#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif
#define ZFS_MAGIC  0x2fc12fc1
#define FUSE_MAGIC 0x65735546

static const struct file_system {
    uint32_t magic;
    const char *name;
    const char *costs; /* NULL: none */
} file_systems[] = {
    {EXT4_SUPER_MAGIC, "ext4", NULL},
    {XFS_SUPER_MAGIC, "xfs", NULL},
    {BTRFS_SUPER_MAGIC, "btrfs", "copy on write doubles what is written and scatters segments"},
    {ZFS_MAGIC, "zfs", "records are written twice and cached twice"},
    {TMPFS_MAGIC, "tmpfs", "blocks are in memory only: a restart of the host loses them"},
    {OVERLAYFS_SUPER_MAGIC, "overlay", "the blocks go when the container goes"},
    {NFS_SUPER_MAGIC, "nfs", "each acknowledgement waits for the network, and locks are advisory"},
    {FUSE_MAGIC, "fuse", "what is synced may not be on a disk"},
};

/* The store's directory, or the nearest one above it that is there. */
static void existing(const char *dir, char *path, size_t path_bytes) {
    struct stat stat_out;
    snprintf(path, path_bytes, "%s", dir);
    while (stat(path, &stat_out) != 0) {
        char *slash = strrchr(path, '/');
        if (slash == NULL) {
            snprintf(path, path_bytes, ".");
            return;
        }
        if (slash == path) {
            path[1] = '\0';
            return;
        }
        *slash = '\0';
    }
}

#define TIER_ROOM 2048

/* Where a tier lies: a relative path is in the store's directory. */
static void tier_place(const struct settings *settings, const struct store_tier *tier,
                       char dir[TIER_ROOM]) {
    bool relative = tier->dir[0] != '/';
    snprintf(dir, TIER_ROOM, "%s%s%s", relative ? settings->store_dir : "", relative ? "/" : "",
             tier->dir);
}

static void look_type(struct doctor *doctor, const char *path, const struct statfs *fs) {
    const struct file_system *known = NULL;
    for (size_t i = 0; i < array_count(file_systems); i++) {
        if ((uint32_t)fs->f_type == file_systems[i].magic) {
            known = &file_systems[i];
        }
    }
    bool costs = known != NULL && known->costs != NULL;
    struct doctor_finding *finding =
        doctor_add(doctor, "file system", costs ? DOCTOR_WARN : DOCTOR_OK);
    if (known != NULL) {
        say(finding->found, "%.120s is on %s", path, known->name);
    } else {
        say(finding->found, "%.120s is on type 0x%x", path, (unsigned)fs->f_type);
    }
    if (costs) {
        say(finding->costs, "%s", known->costs);
        say(finding->mend, "put store.dir on ext4 or xfs on a disk of this host");
    }
}

static void look_space(struct doctor *doctor, const struct statfs *fs) {
    uint64_t unused = (uint64_t)fs->f_bavail * (uint64_t)fs->f_bsize;
    /* Never worse than a warning: a full store must still start, to be read and to delete. */
    enum doctor_level level = unused < 2 * GiB ? DOCTOR_WARN : DOCTOR_OK;
    struct doctor_finding *finding = doctor_add(doctor, "free space", level);
    say(finding->found, "%llu MiB free of %llu MiB", (unsigned long long)(unused / MiB),
        (unsigned long long)((uint64_t)fs->f_blocks * (uint64_t)fs->f_bsize / MiB));
    if (level != DOCTOR_OK) {
        say(finding->costs, "the store is soon full and refuses to put");
        say(finding->mend, "make room, or move store.dir; for a small store --segment-size 4MiB");
    }
}

/* One page, written as the log writes: O_DIRECT and durable. Returns: 0 or errno. */
static int write_page(const char *dir, bool *ret_direct) {
    char name[600];
    int error = 0;
    void *page = aligned_alloc(PAGE_BYTES, PAGE_BYTES);
    snprintf(name, sizeof name, "%s/.millrace-doctor-%d", dir, (int)getpid());
    *ret_direct = true;
    int fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_DIRECT, 0600);
    if (fd < 0 && errno == EINVAL) {
        unlink(name); /* some file systems make the file before they refuse the flag */
        *ret_direct = false;
        fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    }
    if (fd < 0 || page == NULL) {
        error = page == NULL ? ENOMEM : errno;
    } else {
        memset(page, 0, PAGE_BYTES);
        struct iovec vector = {page, PAGE_BYTES};
        if (pwritev2(fd, &vector, 1, 0, RWF_DSYNC) != (ssize_t)PAGE_BYTES) {
            error = errno != 0 ? errno : EIO;
        }
    }
    if (fd >= 0) {
        close(fd);
        unlink(name);
    }
    free(page);
    return error;
}

static void look_direct(struct doctor *doctor, const char *path) {
    bool direct = true;
    int error = write_page(path, &direct);
    if (error == ENOSPC) {
        return; /* said under free space */
    }
    if (error == ENOTDIR) {
        struct doctor_finding *finding = doctor_add(doctor, "store directory", DOCTOR_BAD);
        say(finding->found, "%.120s is not a directory", path);
        say(finding->costs, "serve does not start");
        say(finding->mend, "name a directory with --store DIR; a new one is made");
        return;
    }
    if (error != 0) {
        struct doctor_finding *finding = doctor_add(doctor, "store directory", DOCTOR_BAD);
        say(finding->found, "%.120s cannot be written: %s", path, strerror(error));
        say(finding->costs, "serve does not start");
        say(finding->mend, "chown it to the daemon's user, or name another with --store DIR");
        return;
    }
    say(doctor_add(doctor, "store directory", DOCTOR_OK)->found, "%.120s can be written", path);
    struct doctor_finding *finding =
        doctor_add(doctor, "direct I/O", direct ? DOCTOR_OK : DOCTOR_BAD);
    say(finding->found, "%s",
        direct ? "O_DIRECT works, durable writes too" : "O_DIRECT is refused");
    if (!direct) {
        say(finding->costs, "serve does not start: segments are read and written past the page "
                            "cache");
        say(finding->mend, "put store.dir on ext4 or xfs");
    }
}

/* The tier before this one that lies on the same file system, or NULL. */
static const char *beside(const struct settings *settings, const struct settings_tiers *tiers,
                          uint32_t which, dev_t device) {
    for (uint32_t i = 0; i < which; i++) {
        char dir[TIER_ROOM], path[TIER_ROOM];
        struct stat stat_out;
        tier_place(settings, &tiers->list[i], dir);
        existing(dir, path, sizeof path);
        if (stat(path, &stat_out) == 0 && stat_out.st_dev == device) {
            return tiers->list[i].dir;
        }
    }
    return NULL;
}

/* One line a tier: can it be written, directly and durably, and has it a disk of its own? */
static void look_tier(struct doctor *doctor, const struct settings *settings,
                      const struct settings_tiers *tiers, uint32_t which) {
    const struct store_tier *tier = &tiers->list[which];
    char dir[TIER_ROOM], path[TIER_ROOM];
    struct stat stat_out = {.st_dev = 0};
    bool direct = true;
    tier_place(settings, tier, dir);
    existing(dir, path, sizeof path);
    int error = write_page(path, &direct);
    const char *other =
        stat(path, &stat_out) == 0 ? beside(settings, tiers, which, stat_out.st_dev) : NULL;
    bool bad = (error != 0 && error != ENOSPC) || !direct;
    struct doctor_finding *finding =
        doctor_add(doctor, tier->kind == TIER_SSD ? "fast tier" : "slow tier",
                   bad     ? DOCTOR_BAD
                   : other ? DOCTOR_WARN
                           : DOCTOR_OK);
    if (bad) {
        say(finding->found, "%.120s %s%s", path, direct ? "cannot be written: " : "has no O_DIRECT",
            direct ? strerror(error) : "");
        say(finding->costs, "a new tier is not set up there; one with blocks is only read");
        say(finding->mend, "%s",
            error == ENOTDIR  ? "name a directory; a new one is made"
            : error == ENOENT ? "name a directory on a disk; a new one is made"
                              : "chown it to the daemon's user, on ext4 or xfs");
    } else if (other) {
        say(finding->found, "%.80s is on the file system of %.80s", path, other);
        say(finding->costs, "they share its space and its speed, and fail together");
        say(finding->mend, "give each a disk of its own, or both a size");
    } else {
        say(finding->found, "%.120s can be written", path);
    }
}

static void look_tiers(struct doctor *doctor, const struct settings *settings) {
    struct settings_tiers tiers;
    const char *name;
    char why[256];
    if (settings_tiers(settings, &tiers, &name, why, sizeof why) != 0) {
        return; /* said when the settings were read */
    }
    for (uint32_t i = 0; i < tiers.count; i++) {
        look_tier(doctor, settings, &tiers, i);
    }
}

void doctor_look_disk(struct doctor *doctor, const struct settings *settings) {
    char path[sizeof settings->store_dir];
    struct statfs fs;
    existing(settings->store_dir, path, sizeof path);
    if (statfs(path, &fs) == 0) {
        look_type(doctor, path, &fs);
        look_space(doctor, &fs);
    }
    look_direct(doctor, path);
    look_tiers(doctor, settings);
}
