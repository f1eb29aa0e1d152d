/* SPDX-License-Identifier: MIT */
#include "store/backup.h"

#include "base/must.h"
#include "store/archive.h"
#include "store/restore.h"
#include "tests/store/rig.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Backups of a store in use (store/backup.c, their form in store/archive.c), and stores made of
 * them (store/restore.c). */

enum {
    BYTES = 60000, /* some seventy fill a segment */
    MANIFEST_NUMBER = offsetof(struct archive_head, number)
};

static struct store_task begin_backup(struct rig *rig, struct store_task *task, const char *dir) {
    *task = (struct store_task){.kind = STORE_TASK_BACKUP};
    snprintf(task->ask.backup.path, sizeof task->ask.backup.path, "%s", dir);
    cr_assert_eq(store_task_begin(rig->store, task), 0);
    return *task;
}

static bool is_done(const struct store_task *task) {
    return atomic_load(&task->state) == STORE_TASK_DONE;
}

/* A backup with nothing going on beside it. Returns: its result. */
static int32_t back_up(struct rig *rig, struct store_task *task, const char *dir) {
    (void)begin_backup(rig, task, dir);
    for (uint32_t i = 0; !is_done(task); i++) {
        cr_assert_lt(i, 20000u);
        rig_maintain(rig, 1);
    }
    return task->result;
}

static int restore_to(struct rig *rig, const char *from, const char *to, struct restore *restore) {
    *restore = (struct restore){.disk = &rig->disk, .from = from, .to = to};
    return store_restore(restore);
}

static void start(struct rig *rig, uint64_t seed) {
    rig_start(rig, seed);
    rig->config.memory_bytes = 256 * KiB;
    must(rig->disk.calls->make_dir(rig->disk.backend, "/s", 0750) == 0);
    must(rig->disk.calls->sync_dir(rig->disk.backend, "/") == 0);
    cr_assert_eq(rig_open(rig), 0, "%s", rig->report.why);
}

static void put_many(struct rig *rig, uint32_t first, uint32_t count) {
    for (uint32_t i = first; i < first + count; i++) {
        cr_assert_eq(rig_put(rig, i, BYTES), 0);
        (void)store_housekeep(rig->store);
    }
}

/* Opens the store at `dir`: so many blocks from `first` on are there, and read back right. */
static void expect(struct rig *rig, const char *dir, uint32_t first, uint32_t count) {
    rig->config.dir = dir;
    cr_assert_eq(rig_open(rig), 0, "%s: %s", dir, rig->report.why);
    cr_assert_eq(rig->report.corrupt_ranges, 0);
    for (uint32_t i = first; i < first + count; i++) {
        cr_assert_eq(rig_get(rig, i, BYTES), 0, "block %u", i);
    }
    rig_close(rig);
    rig->config.dir = "/s";
}

static void write_file(struct rig *rig, const char *path, const char *words) {
    static uint8_t page[PAGE_BYTES];
    const struct disk *disk = &rig->disk;
    memset(page, 0, sizeof page);
    memcpy(page, words, strlen(words));
    int fd = disk->calls->open_file(disk->backend, path, O_RDWR | O_CREAT, 0600);
    must(fd >= 0 && disk->calls->pwrite(disk->backend, fd, page, sizeof page, 0) == sizeof page);
    must(disk->calls->truncate(disk->backend, fd, strlen(words)) == 0);
    must(disk->calls->sync_file(disk->backend, fd) == 0);
    must(disk->calls->close_file(disk->backend, fd) == 0);
}

static uint32_t pins_held(const struct rig *rig) {
    uint32_t held = 0;
    for (uint32_t id = 1; id < rig->store->segments.top; id++) {
        held += atomic_load(&rig->store->segments.all[id].pins);
    }
    return held;
}

Test(backup, what_was_acknowledged_before_it_began_is_in_it_while_writing_goes_on) {
    struct rig rig;
    struct store_task task;
    struct restore restore;
    start(&rig, 1);
    write_file(&rig, "/s/identity.key", "who we are");
    put_many(&rig, 0, 200);
    for (uint32_t i = 0; i < 20; i++) {
        cr_assert_eq(rig_delete(&rig, i, BYTES), 0);
    }
    (void)begin_backup(&rig, &task, "/srv/b");
    for (uint32_t i = 200; !is_done(&task); i++) { /* puts, deletes and sealing beside it */
        rig_maintain(&rig, 1);
        put_many(&rig, i, 1);
        int32_t r = rig_delete(&rig, i - 100, BYTES);
        cr_assert(r == 0 || r == STORE_ABSENT);
        cr_assert_lt(i, 2000u);
    }
    cr_assert_eq(task.result, 0, "%s", task.why);
    cr_assert_geq(counter_get(&task.blocks), 3);
    cr_assert_eq(counter_get(&task.seen), counter_get(&task.total));
    rig_crash(&rig);
    cr_assert_eq(restore_to(&rig, "/srv/b", "/srv/r", &restore), 0, "%s", restore.why);
    cr_assert_eq(restore.number, 1);
    cr_assert_eq(restore.segments, restore.segments_all);
    cr_assert_geq(restore.files, 1);
    uint64_t size = 0;
    const uint8_t *key = sim_disk_bytes(rig.sim, "/srv/r/identity.key", &size);
    cr_assert_eq(size, strlen("who we are"));
    cr_assert_arr_eq(key, "who we are", size);
    expect(&rig, "/srv/r", 20, 180);
    rig.config.dir = "/srv/r";
    cr_assert_eq(rig_open(&rig), 0);
    for (uint32_t i = 0; i < 20; i++) {
        cr_assert_eq(rig_get(&rig, i, BYTES), STORE_ABSENT);
    }
    cr_assert_gt(lsn_epoch(store_keeper(rig.store, 0)->log.next_lsn), RESTORE_EPOCHS);
    rig_end(&rig);
}

Test(backup, the_next_one_copies_what_is_new_and_drops_what_nobody_needs) {
    struct rig rig;
    struct store_task task;
    struct restore restore;
    start(&rig, 2);
    put_many(&rig, 0, 210);
    cr_assert_eq(back_up(&rig, &task, "/srv/b"), 0, "%s", task.why);
    uint64_t first = counter_get(&task.total);
    cr_assert_eq(counter_get(&task.blocks), first);
    cr_assert_eq(back_up(&rig, &task, "/srv/b"), 0, "%s", task.why);
    cr_assert_eq(counter_get(&task.blocks), 0, "nothing is new");
    put_many(&rig, 300, 5);
    cr_assert_eq(back_up(&rig, &task, "/srv/b"), 0, "%s", task.why);
    cr_assert_eq(counter_get(&task.blocks), 1, "the open one");
    cr_assert_eq(counter_get(&task.total), first);
    put_many(&rig, 400, 100);
    cr_assert_eq(back_up(&rig, &task, "/srv/b"), 0, "%s", task.why);
    cr_assert_leq(counter_get(&task.blocks), 3);
    uint32_t segments = 0;
    for (uint32_t n = 0; sim_disk_name(rig.sim, n); n++) {
        segments += strncmp(sim_disk_name(rig.sim, n), "/srv/b/segments/", 16) == 0;
    }
    cr_assert_eq(segments, counter_get(&task.total), "one file a segment");
    rig_close(&rig);
    cr_assert_eq(restore_to(&rig, "/srv/b", "/srv/r", &restore), 0, "%s", restore.why);
    cr_assert_eq(restore.number, 4);
    expect(&rig, "/srv/r", 0, 210);
    expect(&rig, "/srv/r", 400, 100);
    rig_end(&rig);
}

Test(backup, the_configuration_is_in_it_and_wins_over_a_file_of_its_name_beside_the_store) {
    struct rig rig;
    struct store_task task;
    struct restore restore;
    uint64_t size = 0;
    start(&rig, 3);
    must(rig.disk.calls->make_dir(rig.disk.backend, "/etc", 0750) == 0);
    write_file(&rig, "/etc/mill.conf", "in force");
    write_file(&rig, "/s/mill.conf", "an old one");
    write_file(&rig, "/etc/more.conf", "included");
    put_many(&rig, 0, 3);
    task = (struct store_task){.kind = STORE_TASK_BACKUP, .ask.backup.files_count = 3};
    snprintf(task.ask.backup.path, sizeof task.ask.backup.path, "/srv/b");
    static const char *const files[] = {"/etc/mill.conf", "/etc/more.conf", "/etc/gone.conf"};
    for (uint32_t i = 0; i < 3; i++) {
        snprintf(task.ask.backup.files[i], sizeof task.ask.backup.files[i], "%s", files[i]);
    }
    cr_assert_eq(store_task_begin(rig.store, &task), 0);
    rig_maintain(&rig, 200);
    cr_assert(is_done(&task));
    cr_assert_eq(task.result, 0, "%s", task.why);
    cr_assert_eq(counter_get(&task.phase), 2, "one is not there");
    cr_assert_eq(restore_to(&rig, "/srv/b", "/srv/r", &restore), 0, "%s", restore.why);
    cr_assert_str_eq(restore.config, "/srv/r/mill.conf");
    const uint8_t *words = sim_disk_bytes(rig.sim, "/srv/r/mill.conf", &size);
    cr_assert_eq(size, strlen("in force"));
    cr_assert_arr_eq(words, "in force", size);
    words = sim_disk_bytes(rig.sim, "/srv/r/more.conf", &size);
    cr_assert_arr_eq(words, "included", strlen("included"));
    rig_end(&rig);
}

/* Whoever is restored without its key is another node. */
Test(backup, a_file_that_cannot_be_read_is_not_left_out) {
    struct rig rig;
    struct store_task task;
    struct restore restore;
    start(&rig, 13);
    put_many(&rig, 0, 3);
    write_file(&rig, "/s/identity.key", "who we are");
    static const enum sim_error errors[] = {SIM_EMFILE, SIM_EIO};
    static const int32_t results[] = {-EMFILE, -EIO};
    for (uint32_t i = 0; i < 2; i++) {
        sim_disk_plan(rig.sim, &(struct sim_plan){errors[i], 0, UINT64_MAX, "/s/identity.key"});
        cr_assert_eq(back_up(&rig, &task, "/srv/b"), results[i]);
        cr_assert_not_null(strstr(task.why, "identity.key"), "%s", task.why);
    }
    sim_disk_plan(rig.sim, &(struct sim_plan){SIM_FINE, 0, 0, NULL});
    cr_assert_eq(back_up(&rig, &task, "/srv/b"), 0, "%s", task.why);
    cr_assert_eq(task.ask.backup.kept_count, 1);
    cr_assert_str_eq(task.ask.backup.kept[0], "identity.key");
    rig_close(&rig);
    cr_assert_eq(restore_to(&rig, "/srv/b", "/srv/r", &restore), 0, "%s", restore.why);
    rig_end(&rig);
}

Test(backup, a_large_file_is_in_it_and_one_too_large_is_named) {
    struct rig rig;
    struct store_task task;
    struct restore restore;
    uint64_t size = 0;
    start(&rig, 14);
    put_many(&rig, 0, 3);
    write_file(&rig, "/s/notes", "the first words");
    sim_disk_set_size(rig.sim, "/s/notes", 5 * MiB + 77);
    uint8_t end = 9;
    sim_disk_spoil(rig.sim, "/s/notes", 5 * MiB + 76, &end, 1);
    cr_assert_eq(back_up(&rig, &task, "/srv/b"), 0, "%s", task.why);
    cr_assert_eq(restore_to(&rig, "/srv/b", "/srv/r", &restore), 0, "%s", restore.why);
    const uint8_t *notes = sim_disk_bytes(rig.sim, "/srv/r/notes", &size);
    cr_assert_eq(size, 5 * MiB + 77);
    cr_assert_eq(notes[size - 1], 9);
    cr_assert_arr_eq(notes, "the first words", strlen("the first words"));
    sim_disk_set_size(rig.sim, "/s/notes", ARCHIVE_FILE_BYTES + 1);
    cr_assert_eq(back_up(&rig, &task, "/srv/b"), -EFBIG);
    cr_assert_not_null(strstr(task.why, "notes"), "%s", task.why);
    rig_end(&rig);
}

Test(backup, more_files_than_it_takes_are_not_left_out_one_by_one) {
    struct rig rig;
    struct store_task task;
    start(&rig, 15);
    put_many(&rig, 0, 3);
    for (uint32_t i = 0; i < ARCHIVE_FILES_MAX + 1; i++) {
        char name[32];
        snprintf(name, sizeof name, "/s/note%u", i);
        write_file(&rig, name, "a word");
    }
    cr_assert_eq(back_up(&rig, &task, "/srv/b"), STORE_FULL);
    cr_assert_not_null(strstr(task.why, "more files"), "%s", task.why);
    sim_disk_remove(rig.sim, "/s/note0");
    cr_assert_eq(back_up(&rig, &task, "/srv/b"), 0, "%s", task.why);
    cr_assert_eq(task.ask.backup.kept_count, ARCHIVE_FILES_MAX);
    rig_end(&rig);
}

/* An open segment is cut, and goes on; what was written behind its end is let go of while the copy
 * is made: where the copy spoke of that, its log would have a gap. */
Test(backup, what_compaction_lets_go_of_behind_the_cut_is_no_gap_in_it) {
    struct rig rig;
    struct store_task task;
    struct restore restore;
    start(&rig, 16);
    put_many(&rig, 0, 10);
    struct log *log = &store_keeper(rig.store, 0)->log;
    struct gone *gone = &rig.store->gone;
    struct gone_range before = {.first_lsn = lsn_make(lsn_epoch(log->next_lsn), 1),
                                .last_lsn = lsn_make(lsn_epoch(log->next_lsn), 2)};
    cr_assert_eq(gone_add(gone, &before), 0);
    (void)begin_backup(&rig, &task, "/srv/b");
    rig_maintain(&rig, 1);
    cr_assert_gt(pins_held(&rig), 0, "cut");
    struct gone_range behind = {.first_lsn = log->next_lsn + 100, .last_lsn = log->next_lsn + 200};
    cr_assert_eq(gone_add(gone, &behind), 0);
    cr_assert_eq(gone_write(gone, &rig.store->segments, true), 0);
    for (uint32_t i = 0; !is_done(&task); i++) {
        cr_assert_lt(i, 20000u);
        rig_maintain(&rig, 1);
    }
    cr_assert_eq(task.result, 0, "%s", task.why);
    rig_crash(&rig);
    cr_assert_eq(restore_to(&rig, "/srv/b", "/srv/r", &restore), 0, "%s", restore.why);
    uint64_t size = 0;
    const struct gone_header *copy = (const void *)sim_disk_bytes(rig.sim, "/srv/r/GONE", &size);
    cr_assert_eq(gone_check(copy, size, copy->uuid), 1, "that of before the cut");
    expect(&rig, "/srv/r", 0, 10);
    rig_end(&rig);
}

Test(backup, a_directory_of_ours_that_was_cut_off_is_gone_on_with) {
    struct rig rig;
    struct store_task task;
    start(&rig, 17);
    put_many(&rig, 0, 3);
    const struct disk *disk = &rig.disk;
    must(disk->calls->make_dir(disk->backend, "/srv/half", 0700) == 0);
    must(disk->calls->make_dir(disk->backend, "/srv/half/files", 0700) == 0);
    cr_assert_eq(back_up(&rig, &task, "/srv/half"), 0, "%s", task.why);
    must(disk->calls->make_dir(disk->backend, "/srv/theirs", 0700) == 0);
    must(disk->calls->make_dir(disk->backend, "/srv/theirs/files", 0700) == 0);
    write_file(&rig, "/srv/theirs/files/letters", "dear");
    cr_assert_eq(back_up(&rig, &task, "/srv/theirs"), STORE_FORMAT);
    rig_end(&rig);
}

Test(backup, power_may_go_at_any_call_and_one_is_always_whole, .timeout = 240) {
    for (uint64_t at = 1, over = 0; !over; at++) {
        struct rig rig;
        struct store_task task;
        struct restore restore;
        start(&rig, 100 + at);
        put_many(&rig, 0, 80);
        cr_assert_eq(back_up(&rig, &task, "/srv/b"), 0);
        put_many(&rig, 80, 80);
        sim_disk_crash_after(rig.sim, at);
        (void)begin_backup(&rig, &task, "/srv/b");
        for (uint32_t i = 0; i < 500 && !is_done(&task); i++) {
            rig_maintain(&rig, 1);
        }
        bool done = is_done(&task) && task.result == 0;
        over = !sim_disk_dead(rig.sim);
        rig_crash(&rig);
        cr_assert_eq(restore_to(&rig, "/srv/b", "/srv/r", &restore), 0, "call %lu: %s", at,
                     restore.why);
        cr_assert(restore.number == 2 || (restore.number == 1 && !done));
        expect(&rig, "/srv/r", 0, restore.number == 2 ? 160 : 80);
        cr_assert_lt(at, 2000u);
        rig_end(&rig);
    }
}

Test(backup, a_directory_that_cannot_be_listed_is_not_called_another_ones) {
    struct rig rig;
    struct store_task task;
    int32_t r = -EIO;
    start(&rig, 11);
    put_many(&rig, 0, 1);
    for (uint32_t i = 12; i > 0; i--) { /* the first time its directories are made */
        uint64_t call = sim_disk_calls(rig.sim) + i;
        sim_disk_plan(rig.sim, &(struct sim_plan){SIM_EIO, call, UINT64_MAX, "/srv"});
        r = back_up(&rig, &task, "/srv/b");
        cr_assert_eq(r, -EIO, "call %u: %d %s", i, r, task.why);
    }
    rig_end(&rig);
}

Test(backup, damage_in_it_is_found_by_restoring) {
    struct rig rig;
    struct store_task task;
    struct restore restore;
    start(&rig, 3);
    put_many(&rig, 0, 100);
    write_file(&rig, "/s/identity.key", "who we are");
    cr_assert_eq(back_up(&rig, &task, "/srv/b"), 0);
    rig_close(&rig);
    uint32_t looked = 0;
    for (uint32_t n = 0; sim_disk_name(rig.sim, n); n++) {
        char name[128];
        uint64_t size = 0;
        snprintf(name, sizeof name, "%s", sim_disk_name(rig.sim, n));
        if (strncmp(name, "/srv/b/", 7) != 0) {
            continue;
        }
        bool manifest = strcmp(name, "/srv/b/BACKUP") == 0; /* most of its page is padding */
        for (uint32_t i = 0; i < (manifest ? 2u : 4u); i++) {
            const uint8_t *bytes = sim_disk_bytes(rig.sim, name, &size);
            uint64_t offset = manifest ? i * MANIFEST_NUMBER : i * (size - 1) / 3;
            uint8_t right = bytes[offset], wrong = right ^ 4;
            sim_disk_spoil(rig.sim, name, offset, &wrong, 1);
            char to[32];
            snprintf(to, sizeof to, "/srv/r%u", looked++);
            cr_assert_eq(restore_to(&rig, "/srv/b", to, &restore), STORE_CORRUPT, "%s", name);
            cr_assert_neq(restore.why[0], 0);
            char super[64];
            snprintf(super, sizeof super, "%s/SUPER", to);
            int fd = rig.disk.calls->open_file(rig.disk.backend, super, O_RDONLY, 0);
            cr_assert_eq(fd, -ENOENT, "it is no store");
            sim_disk_spoil(rig.sim, name, offset, &right, 1);
        }
    }
    cr_assert_gt(looked, 8u);
    rig_end(&rig);
}

Test(backup, no_byte_of_a_manifest_is_believed_when_wrong) {
    struct rig rig;
    struct store_task task;
    struct archive archive;
    start(&rig, 12);
    put_many(&rig, 0, 100);
    write_file(&rig, "/s/identity.key", "who we are");
    cr_assert_eq(back_up(&rig, &task, "/srv/b"), 0);
    cr_assert_eq(archive_read(&archive, &rig.disk, "/srv/b"), 0);
    uint64_t bytes = 2 * PAGE_BYTES + archive_head(&archive)->count * sizeof(struct archive_entry);
    for (uint64_t at = 0; at < bytes; at++) {
        archive.pages[at] ^= 0x10;
        cr_assert_neq(archive_check(&archive), 0, "byte %lu", at);
        archive.pages[at] ^= 0x10;
    }
    cr_assert_eq(archive_check(&archive), 0);
    archive_free(&archive);
    rig_end(&rig);
}

Test(backup, other_peoples_directories_are_left_alone) {
    struct rig rig;
    struct store_task task;
    struct restore restore;
    start(&rig, 4);
    put_many(&rig, 0, 10);
    must(rig.disk.calls->make_dir(rig.disk.backend, "/srv/full", 0750) == 0);
    must(rig.disk.calls->sync_dir(rig.disk.backend, "/srv") == 0);
    write_file(&rig, "/srv/full/letters", "dear");
    must(rig.disk.calls->sync_dir(rig.disk.backend, "/srv/full") == 0);
    cr_assert_eq(back_up(&rig, &task, "/srv/full"), STORE_FORMAT);
    cr_assert_neq(strstr(task.why, "not empty"), NULL, "%s", task.why);
    cr_assert_eq(back_up(&rig, &task, "/srv/b"), 0);
    rig_crash(&rig);
    cr_assert_eq(restore_to(&rig, "/srv/b", "/srv/full", &restore), STORE_FORMAT);
    cr_assert_eq(restore_to(&rig, "/srv/full", "/srv/r", &restore), STORE_FORMAT);
    cr_assert_neq(strstr(restore.why, "no backup"), NULL, "%s", restore.why);
    /* the same directory, another store */
    rig.config.dir = "/other";
    must(rig.disk.calls->make_dir(rig.disk.backend, "/other", 0750) == 0);
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    cr_assert_eq(back_up(&rig, &task, "/srv/b"), STORE_FORMAT);
    cr_assert_neq(strstr(task.why, "another store"), NULL, "%s", task.why);
    rig_end(&rig);
}

Test(backup, a_failure_says_where_it_was) {
    struct rig rig;
    struct store_task task;
    start(&rig, 9);
    put_many(&rig, 0, 20);
    cr_assert_eq(back_up(&rig, &task, "/srv/b"), 0);
    put_many(&rig, 20, 20);
    sim_disk_device(rig.sim, "/srv", &(struct sim_device){.space = 1});
    cr_assert_eq(back_up(&rig, &task, "/srv/b"), -ENOSPC);
    cr_assert_neq(strstr(task.why, "directory for the backup"), NULL, "%s", task.why);
    rig_end(&rig);
}

/* Sealed, so nothing but this look at what it claims stands in the way. */
Test(backup, a_manifest_that_claims_what_no_segment_can_be_is_damaged) {
    struct rig rig;
    struct archive archive;
    rig_start(&rig, 10);
    cr_assert_eq(archive_make(&archive, 1), 0);
    archive_head(&archive)->count = 1;
    struct archive_entry *entry = archive_entries(&archive);
    *entry = (struct archive_entry){.generation = 1, .id = 1, .bytes = 16 * MiB};
    archive_seal(&archive);
    cr_assert_eq(archive_check(&archive), 0);
    entry->bytes = UINT64_C(1) << 40;
    archive_seal(&archive);
    cr_assert_eq(archive_check(&archive), FORMAT_BAD);
    archive_free(&archive);
    rig_end(&rig);
}

Test(backup, one_at_a_time_and_it_can_be_called_off) {
    struct rig rig;
    struct store_task first, second;
    start(&rig, 5);
    put_many(&rig, 0, 100);
    uint32_t held = pins_held(&rig);
    (void)begin_backup(&rig, &first, "/srv/b");
    rig_maintain(&rig, 2);
    cr_assert_gt(pins_held(&rig), held);
    (void)begin_backup(&rig, &second, "/srv/c");
    rig_maintain(&rig, 2);
    cr_assert(is_done(&second));
    cr_assert_eq(second.result, STORE_RETRY);
    cr_assert_not(is_done(&first));
    atomic_store(&first.cancel, true);
    rig_maintain(&rig, 2);
    cr_assert(is_done(&first));
    cr_assert_eq(first.result, STORE_RETRY);
    cr_assert_eq(pins_held(&rig), held, "nothing is held");
    cr_assert_eq(back_up(&rig, &first, "/srv/b"), 0, "%s", first.why);
    (void)begin_backup(&rig, &second, "/srv/b");
    rig_maintain(&rig, 1);
    rig_close(&rig); /* ends it */
    cr_assert(is_done(&second));
    rig_end(&rig);
}
