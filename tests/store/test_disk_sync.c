/* SPDX-License-Identifier: MIT */
#include "store/disk.h"

#include "base/hash.h"
#include "store/store.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The plain backend (store/disk_sync.c) on a real directory, and a store on it. */

static char dir[] = "/tmp/millrace-disk-XXXXXX";
static struct disk_sync *sync_disk;
static struct disk disk;

static void start(void) {
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_eq(disk_sync_open(&sync_disk, &disk), 0);
    cr_assert_eq(hash_open(), 0);
}

static int remove_one(void *context, const char *name) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", (const char *)context, name);
    if (unlink(path) != 0) {
        (void)disk.calls->list_dir(disk.backend, path, remove_one, path);
        (void)rmdir(path);
    }
    return 0;
}

static void end(void) {
    (void)disk.calls->list_dir(disk.backend, dir, remove_one, dir);
    (void)rmdir(dir);
    disk_sync_close(sync_disk);
}
TestSuite(disk_sync, .init = start, .fini = end);

static uint32_t calls_done;
static void count_done(struct disk_op *op) {
    (void)op;
    calls_done++;
}

/* Without a reader or a writer on the other side opening one would last for ever. */
Test(disk_sync, a_pipe_or_a_device_is_no_file, .timeout = 20) {
    char path[512];
    snprintf(path, sizeof path, "%s/pipe", dir);
    cr_assert_eq(mkfifo(path, 0600), 0);
    cr_assert_eq(disk.calls->open_file(disk.backend, path, O_RDONLY | O_DIRECT, 0), -EOPNOTSUPP);
    cr_assert_eq(disk.calls->open_file(disk.backend, path, O_RDWR, 0), -EOPNOTSUPP);
    cr_assert_eq(disk.calls->open_file(disk.backend, "/dev/zero", O_RDONLY, 0), -EOPNOTSUPP);
    snprintf(path, sizeof path, "%s/file", dir);
    int fd = disk.calls->open_file(disk.backend, path, O_RDWR | O_CREAT, 0600);
    cr_assert_eq(fcntl(fd, F_GETFL) & O_NONBLOCK, 0, "reads of it wait");
    cr_assert_eq(disk.calls->close_file(disk.backend, fd), 0);
}

Test(disk_sync, says_what_reads_are_multiples_of) {
    char path[512];
    snprintf(path, sizeof path, "%s/file", dir);
    int fd = disk.calls->open_file(disk.backend, path, O_RDWR | O_CREAT | O_DIRECT, 0600);
    uint8_t *page = aligned_alloc(PAGE_BYTES, PAGE_BYTES);
    memset(page, 7, PAGE_BYTES);
    cr_assert_eq(disk.calls->pwrite(disk.backend, fd, page, PAGE_BYTES, 0), PAGE_BYTES);
    uint32_t unit = disk.calls->read_unit(disk.backend, fd);
    if (unit > 0 && unit < PAGE_BYTES) { /* whoever says so takes it */
        cr_assert_eq(disk.calls->pread(disk.backend, fd, page, unit, unit), unit);
    }
    cr_assert_eq(disk.calls->close_file(disk.backend, fd), 0);
    cr_assert_eq(disk.calls->read_unit(disk.backend, fd), 0, "of no file nobody knows");
    free(page);
}

Test(disk_sync, writes_and_reads_when_polled_and_not_before) {
    char path[512];
    snprintf(path, sizeof path, "%s/file", dir);
    int fd = disk.calls->open_file(disk.backend, path, O_RDWR | O_CREAT | O_DIRECT, 0600);
    cr_assert_geq(fd, 0);
    uint8_t *pages = aligned_alloc(PAGE_BYTES, 4 * PAGE_BYTES);
    memset(pages, 7, 2 * PAGE_BYTES);
    struct disk_op write = {.buffer = pages,
                            .bytes = 2 * PAGE_BYTES,
                            .fd = fd,
                            .kind = DISK_WRITE,
                            .dsync = true,
                            .done = count_done};
    struct disk_op read = {.buffer = pages + 2 * PAGE_BYTES,
                           .offset = PAGE_BYTES,
                           .bytes = 2 * PAGE_BYTES,
                           .fd = fd,
                           .kind = DISK_READ,
                           .done = count_done};
    disk.calls->submit(disk.backend, &write);
    disk.calls->submit(disk.backend, &read);
    cr_assert_eq(calls_done, 0);
    cr_assert_eq(disk_sync_poll(sync_disk), 2);
    cr_assert_eq(calls_done, 2);
    cr_assert_eq(write.result, 2 * PAGE_BYTES);
    cr_assert_eq(read.result, PAGE_BYTES, "the file ends there");
    cr_assert_eq(pages[2 * PAGE_BYTES], 7);
    cr_assert_eq(disk.calls->close_file(disk.backend, fd), 0);
    free(pages);
}

Test(disk_sync, names_what_failed) {
    cr_assert_eq(disk.calls->open_file(disk.backend, "/nowhere/at/all", O_RDONLY, 0), -ENOENT);
    cr_assert_eq(disk.calls->list_dir(disk.backend, "/nowhere", remove_one, NULL), -ENOENT);
    cr_assert_eq(disk.calls->make_dir(disk.backend, dir, 0700), -EEXIST);
}

Test(disk_sync, a_second_opener_is_refused_and_told_the_pid) {
    struct store_config config = {.dir = dir,
                                  .keepers = 1,
                                  .readers = 1,
                                  .segment_bytes = STORE_SEGMENT_BYTES_MIN,
                                  .memory_bytes = 1 * MiB,
                                  .create = true,
                                  .disk = disk};
    struct store_report report;
    struct store *store = NULL, *second = NULL;
    cr_assert_eq(store_open(&config, &report, &store), 0, "%s", report.why);
    char pid[16];
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    cr_assert_eq(store_open(&config, &report, &second), STORE_LOCKED);
    cr_assert_not_null(strstr(report.why, pid), "%s", report.why);
    cr_assert_eq(store_close(store), 0);
    cr_assert_eq(store_open(&config, &report, &store), 0);
    cr_assert_eq(store_close(store), 0);
}

static void copy_file(const char *from, const char *to) {
    static uint8_t bytes[64 * KiB];
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    cr_assert(in && out);
    size_t n = fread(bytes, 1, sizeof bytes, in);
    cr_assert_eq(fwrite(bytes, 1, n, out), n);
    cr_assert_eq(fclose(in), 0);
    cr_assert_eq(fclose(out), 0);
}

Test(disk_sync, a_store_and_its_copy_never_share_a_tier) {
    char one[256], two[256], tier[256], from[300], to[300];
    snprintf(one, sizeof one, "%s/one", dir);
    snprintf(two, sizeof two, "%s/two", dir);
    snprintf(tier, sizeof tier, "%s/tier", dir);
    cr_assert_eq(mkdir(one, 0700) + mkdir(two, 0700), 0);
    struct store_tier tiers[] = {{tier, 0, TIER_SSD}};
    struct store_config config = {.dir = one,
                                  .keepers = 1,
                                  .readers = 1,
                                  .segment_bytes = STORE_SEGMENT_BYTES_MIN,
                                  .memory_bytes = 1 * MiB,
                                  .tiers = tiers,
                                  .tier_count = 1,
                                  .create = true,
                                  .disk = disk};
    struct store_report report;
    struct store *store = NULL, *second = NULL;
    cr_assert_eq(store_open(&config, &report, &store), 0, "%s", report.why);
    snprintf(from, sizeof from, "%s/SUPER", one);
    snprintf(to, sizeof to, "%s/SUPER", two);
    copy_file(from, to);
    config.dir = two;
    char pid[16];
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    for (uint32_t way = 0; way < 3; way++) { /* named; as SUPER knows it; by a tool that reads */
        config.tier_count = way == 0;
        config.read_only = way == 2;
        cr_assert_eq(store_open(&config, &report, &second), STORE_LOCKED, "%u", way);
        cr_assert_not_null(strstr(report.why, tier), "%s", report.why);
        cr_assert_not_null(strstr(report.why, pid), "%s", report.why);
    }
    cr_assert_eq(store_close(store), 0);
    config.read_only = false;
    cr_assert_eq(store_open(&config, &report, &second), 0, "%s", report.why);
    cr_assert_eq(store_close(second), 0);
}

Test(disk_sync, a_store_lives_on_a_real_file_system) {
    struct store_config config = {.dir = dir,
                                  .keepers = 1,
                                  .readers = 1,
                                  .segment_bytes = STORE_SEGMENT_BYTES_MIN,
                                  .memory_bytes = 1 * MiB,
                                  .create = true,
                                  .disk = disk};
    for (uint32_t round = 0; round < 3; round++) {
        struct store_report report;
        struct store *store = NULL;
        cr_assert_eq(store_open(&config, &report, &store), 0, "%s", report.why);
        cr_assert_eq(report.blocks, round);
        struct keeper *keeper = store_keeper(store, 0);
        uint8_t body[1000];
        memset(body, (int)round, sizeof body);
        struct store_op op = {.kind = STORE_PUT, .data = body, .bytes = sizeof body};
        op.key = (struct key){.code = HASH_SHA2_256, .digest_bytes = 32};
        cr_assert_eq(hash_compute(HASH_SHA2_256, body, sizeof body, op.key.digest, 32), 0);
        keeper_begin(keeper, &op);
        for (uint64_t now_ns = 1; !keeper_done(keeper); now_ns += NS_PER_MS) {
            (void)keeper_poll(keeper, now_ns);
            (void)disk_sync_poll(sync_disk);
            (void)store_housekeep(store);
        }
        cr_assert_eq(op.result, 0);
        cr_assert_eq(store_close(store), 0);
    }
}

Test(disk_sync, a_file_system_that_says_nothing_of_its_size_is_not_taken_for_a_full_one) {
    cr_assert_eq(disk.calls->free_bytes(disk.backend, "/proc"), DISK_FREE_UNKNOWN);
    int64_t free_bytes = disk.calls->free_bytes(disk.backend, dir);
    cr_assert(free_bytes > 0 && free_bytes != DISK_FREE_UNKNOWN);
}

Test(disk_sync, a_directory_that_cannot_be_written_is_refused_in_words) {
    struct store_config config = {.dir = "/proc/self",
                                  .keepers = 1,
                                  .readers = 1,
                                  .memory_bytes = 1 * MiB,
                                  .create = true,
                                  .disk = disk};
    struct store_report report;
    struct store *store = NULL;
    cr_assert_neq(store_open(&config, &report, &store), 0);
    cr_assert_gt(strlen(report.why), 10);
}

static void make_file(const char *name) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    (void)close(fd);
}

Test(disk_sync, a_store_is_not_formatted_into_a_directory_of_somebody_else) {
    char path[512];
    struct store *store = NULL;
    struct store_report report;
    struct store_config config = {.dir = dir,
                                  .keepers = 1,
                                  .readers = 1,
                                  .memory_bytes = MiB,
                                  .segment_bytes = STORE_SEGMENT_BYTES_MIN,
                                  .create = true,
                                  .disk = disk};
    make_file("millrace.log");
    make_file("passwd");
    cr_assert_eq(store_open(&config, &report, &store), STORE_FORMAT);
    cr_assert(strstr(report.why, "not a store and not empty"), "%s", report.why);
    cr_assert(strstr(report.why, "passwd"), "%s", report.why);
    snprintf(path, sizeof path, "%s/LOCK", dir);
    cr_assert_neq(access(path, F_OK), 0, "nothing is left behind");
    snprintf(path, sizeof path, "%s/passwd", dir);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(store_open(&config, &report, &store), 0, "its own log is no stranger: %s",
                 report.why);
    cr_assert_eq(store_close(store), 0);
}
