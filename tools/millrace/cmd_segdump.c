/* SPDX-License-Identifier: MIT */

/* cmd_segdump — one segment file as it lies on the disk: header, batches, records, footer, trailer,
 * and what in it does not verify. It needs no store around the file and changes nothing. */

#include "tools/millrace/commands.h"

#include "base/cid.h"
#include "store/crc32c.h"
#include "store/seal.h"
#include "store/vm.h"
#include "tools/millrace/human.h"

#include <jansson.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static const char *const type_names[16] = {
    [RECORD_BLOCK] = "block", [RECORD_TOMBSTONE] = "tombstone", [RECORD_PAD] = "pad",
    [RECORD_BATCH] = "batch", [RECORD_COMMIT] = "commit",       [RECORD_PIN] = "pin",
    [RECORD_UNPIN] = "unpin",
};

struct dump {
    const struct cli *cli;
    bool json, brief;
    struct disk disk;
    struct segments segments; /* of this one file: what seal.h wants to know */
    struct segment segment;
    struct segment_header header;
    struct segment_trailer trailer;
    bool sealed;
    uint64_t damage; /* things that do not verify */
    struct scan scan;
    void *page;
};

/* Prints one thing: a line of words, or one JSON object a line. Takes the object. */
static void emit(const struct dump *dump, json_t *object, const char *line) {
    if (dump->json) {
        json_dumpf(object, stdout, JSON_COMPACT);
        printf("\n");
    } else {
        printf("%s\n", line);
    }
    json_decref(object);
}

static void say_damage(struct dump *dump, uint64_t offset, const char *what) {
    char line[160];
    dump->damage++;
    (void)snprintf(line, sizeof line, "DAMAGED   at %llu: %s", (unsigned long long)offset, what);
    emit(dump,
         json_pack("{s:s, s:I, s:s}", "kind", "damage", "offset", (json_int_t)offset, "what", what),
         line);
}

/* An LSN as people read it: epoch and counter. */
static const char *lsn_text(uint64_t lsn, char text[40]) {
    (void)snprintf(text, 40, "%u:%llu", lsn_epoch(lsn),
                   (unsigned long long)(lsn & ((UINT64_C(1) << LSN_COUNTER_BITS) - 1)));
    return text;
}

/* ---- header and trailer ---------------------------------------------------------------------- */

static int header_read(struct dump *dump, uint64_t file_bytes) {
    const struct disk *disk = &dump->disk;
    int64_t n = disk->calls->pread(disk->backend, dump->segment.fd, dump->page, PAGE_BYTES, 0);
    if (n != PAGE_BYTES) {
        return n < 0 ? (int)n : FORMAT_BAD;
    }
    memcpy(&dump->header, dump->page, sizeof dump->header);
    const struct segment_header *header = &dump->header;
    if (header->magic != SEGMENT_MAGIC) {
        return FORMAT_BAD;
    }
    dump->segment.id = (uint32_t)header->segment_id;
    dump->segment.generation = header->generation;
    dump->segment.log = header->log;
    dump->segment.epoch = header->epoch;
    dump->segment.crc_base = format_crc_base(header->uuid, header->generation);
    dump->segments.uuid = dump->header.uuid;
    atomic_init(&dump->segment.file_bytes, file_bytes);
    if (segment_header_check(dump->page, header->uuid, (uint32_t)header->segment_id) != 0) {
        say_damage(dump, 0, "segment header: its checksum does not match");
    }
    return 0;
}

static void header_print(const struct dump *dump) {
    const struct segment_header *header = &dump->header;
    char line[320], lsn[40], uuid[33], size[HUMAN_MAX];
    for (uint32_t i = 0; i < 16; i++) {
        (void)snprintf(uuid + (size_t)2 * i, 3, "%02x", header->uuid[i]);
    }
    const char *tier = header->tier == 0 ? "ssd" : "hdd";
    (void)snprintf(line, sizeof line,
                   "segment   %05llx  tier %s  generation %llu  log %u  epoch %u  made at LSN %s\n"
                   "          store %s  format %u  segments of %s",
                   (unsigned long long)header->segment_id, tier,
                   (unsigned long long)header->generation, header->log, header->epoch,
                   lsn_text(header->create_lsn, lsn), uuid, header->version,
                   human_bytes(header->segment_bytes, size));
    emit(dump,
         json_pack("{s:s, s:I, s:s, s:I, s:i, s:i, s:I, s:I, s:s, s:i}", "kind", "segment", "id",
                   (json_int_t)header->segment_id, "tier", tier, "generation",
                   (json_int_t)header->generation, "log", (int)header->log, "epoch",
                   (int)header->epoch, "create_lsn", (json_int_t)header->create_lsn,
                   "segment_bytes", (json_int_t)header->segment_bytes, "store", uuid, "version",
                   (int)header->version),
         line);
}

static void trailer_print(const struct dump *dump) {
    const struct segment_trailer *trailer = &dump->trailer;
    char line[320], first[40], last[40];
    if (!dump->sealed) {
        emit(dump, json_pack("{s:s, s:b}", "kind", "trailer", "sealed", 0),
             "trailer   none: the segment is not sealed");
        return;
    }
    const char *how = trailer->flags & TRAILER_SUSPECT     ? "  a write to it failed"
                      : trailer->flags & TRAILER_RECOVERED ? "  sealed by a recovery"
                                                           : "";
    (void)snprintf(line, sizeof line,
                   "trailer   LSN %s..%s  %u footer entries, %u tombstones  %llu live bytes when "
                   "sealed  %u damaged ranges%s",
                   lsn_text(trailer->first_lsn, first), lsn_text(trailer->last_lsn, last),
                   trailer->footer_count, trailer->tombstones,
                   (unsigned long long)trailer->live_bytes, trailer->damaged_ranges, how);
    emit(dump,
         json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:i, s:i, s:I, s:I, s:i, s:i}", "kind",
                   "trailer", "sealed", 1, "first_lsn", (json_int_t)trailer->first_lsn, "last_lsn",
                   (json_int_t)trailer->last_lsn, "durable_lsn", (json_int_t)trailer->durable_lsn,
                   "data_bytes", (json_int_t)trailer->data_bytes, "footer_count",
                   (int)trailer->footer_count, "tombstones", (int)trailer->tombstones, "live_bytes",
                   (json_int_t)trailer->live_bytes, "min_birth_lsn",
                   (json_int_t)trailer->min_birth_lsn, "damaged_ranges",
                   (int)trailer->damaged_ranges, "flags", (int)trailer->flags),
         line);
}

/* ---- batches and records --------------------------------------------------------------------- */

static void batch_print(struct dump *dump, const struct scan_batch *batch) {
    const struct batch_header *head = &batch->head;
    char line[240], first[40], last[40], durable[40];
    (void)snprintf(line, sizeof line,
                   "batch     at %llu  LSN %s..%s  %u records, %u bytes  durable before it: %s",
                   (unsigned long long)batch->offset, lsn_text(head->first_lsn, first),
                   lsn_text(head->last_lsn, last), head->records, head->batch_bytes,
                   lsn_text(head->durable_lsn, durable));
    emit(dump,
         json_pack("{s:s, s:I, s:I, s:I, s:I, s:i, s:i, s:i, s:b}", "kind", "batch", "offset",
                   (json_int_t)batch->offset, "first_lsn", (json_int_t)head->first_lsn, "last_lsn",
                   (json_int_t)head->last_lsn, "durable_lsn", (json_int_t)head->durable_lsn,
                   "records", (int)head->records, "bytes", (int)head->batch_bytes, "log",
                   (int)head->log, "whole", batch->whole),
         line);
    if (!batch->whole) {
        say_damage(dump, batch->offset, "batch: not all of its records are what it says");
    }
}

/* The CID of a record: the footer's form of it holds 32 bytes of the digest, the record all. */
static const char *record_cid(struct dump *dump, const struct scan_entry *entry,
                              char text[CID_TEXT_MAX]) {
    uint64_t offset = (uint64_t)entry->entry.offset_units * RECORD_UNIT;
    uint64_t here = 0;
    const struct record_header *header =
        (const void *)scan_bytes(&dump->scan, offset, RECORD_HEADER_MAX, &here);
    struct key key;
    struct cid cid;
    if (here < RECORD_FIXED || header->header_bytes > here || record_key(header, &key) != 0) {
        return "?";
    }
    cid_of_key(&key, entry->entry.codec ? entry->entry.codec : CID_RAW, &cid);
    cid_format(&cid, text);
    return text;
}

static void record_print(struct dump *dump, const struct scan_entry *entry) {
    const struct footer_entry *at = &entry->entry;
    uint64_t offset = (uint64_t)at->offset_units * RECORD_UNIT;
    uint32_t flags = at->type_flags >> 4;
    const char *name = type_names[at->type_flags & 15];
    char line[480], cid[CID_TEXT_MAX], lsn[40], birth[40];
    name = name ? name : "unknown";
    const char *text = record_cid(dump, entry, cid);
    bool stray = entry->batch == SCAN_STRAY;
    (void)snprintf(line, sizeof line, "  %-9s at %llu  LSN %s  born %s  %u bytes%s%s%s  %s", name,
                   (unsigned long long)offset, lsn_text(entry->lsn, lsn),
                   lsn_text(at->birth_lsn, birth), at->stored_bytes,
                   flags & RECORD_ZSTD ? "  zstd" : "", flags & RECORD_MOVED_IN ? "  moved" : "",
                   stray ? "  stray" : "", text);
    emit(dump,
         json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:b, s:b, s:b, s:b, s:s}", "kind", "record",
                   "type", name, "offset", (json_int_t)offset, "lsn", (json_int_t)entry->lsn,
                   "birth_lsn", (json_int_t)at->birth_lsn, "stored_bytes",
                   (json_int_t)at->stored_bytes, "zstd", (flags & RECORD_ZSTD) != 0, "moved",
                   (flags & RECORD_MOVED_IN) != 0, "stray", stray, "sound", !entry->bad_payload,
                   "cid", text),
         line);
    if (entry->bad_payload) {
        say_damage(dump, offset, "payload: its checksum does not match");
    }
}

/* Batches, each before its records, and strays where they lie. */
static void body_print(struct dump *dump) {
    struct scan *scan = &dump->scan;
    uint64_t batch = 0;
    for (uint64_t i = 0; i <= scan->entry_count; i++) {
        const struct scan_entry *entry = i < scan->entry_count ? &scan->entries[i] : NULL;
        uint64_t offset = entry ? (uint64_t)entry->entry.offset_units * RECORD_UNIT : UINT64_MAX;
        for (; batch < scan->batch_count && scan->batches[batch].offset <= offset; batch++) {
            batch_print(dump, &scan->batches[batch]);
        }
        if (entry && (!dump->brief || entry->bad_payload || entry->batch == SCAN_STRAY)) {
            record_print(dump, entry);
        }
    }
    if (scan->torn > 0 && dump->sealed) {
        say_damage(dump, dump->trailer.data_bytes, "places that begin like a batch and are none");
    }
    if (scan->unreadable > 0) {
        say_damage(dump, 0, "pages that cannot be read");
    }
}

static void footer_print(struct dump *dump) {
    struct footer footer = {0};
    char line[120];
    if (!dump->sealed) {
        return;
    }
    int r = footer_read(&dump->segments, &dump->segment, &dump->trailer, &footer);
    (void)snprintf(line, sizeof line, "footer    at %llu  %u entries",
                   (unsigned long long)dump->trailer.footer_offset, dump->trailer.footer_count);
    emit(dump,
         json_pack("{s:s, s:I, s:i, s:b}", "kind", "footer", "offset",
                   (json_int_t)dump->trailer.footer_offset, "entries",
                   (int)dump->trailer.footer_count, "sound", r == 0),
         line);
    if (r != 0) {
        say_damage(dump, dump->trailer.footer_offset, "footer: its checksum does not match");
    }
    footer_close(&footer);
}

/* ---- the command ----------------------------------------------------------------------------- */

static int dump_file(struct dump *dump, uint64_t file_bytes) {
    int r = header_read(dump, file_bytes);
    if (r != 0) {
        return r;
    }
    header_print(dump);
    dump->sealed = trailer_read(&dump->segments, &dump->segment, dump->page) == 0;
    if (dump->sealed) {
        memcpy(&dump->trailer, dump->page, sizeof dump->trailer);
    }
    struct scan_window window;
    r = scan_window_open(&window);
    if (r != 0) {
        return r;
    }
    uint64_t end = dump->sealed ? dump->trailer.data_bytes : file_bytes;
    struct scan_source source = {&dump->disk, &dump->segment, &window, end};
    r = scan_open(&dump->scan, &source);
    if (r == 0) {
        scan_run(&dump->scan);
        body_print(dump);
        scan_close(&dump->scan);
    }
    scan_window_close(&window);
    footer_print(dump);
    trailer_print(dump);
    return r;
}

static int cmd_segdump(struct cli *cli) {
    const char *name = cli->args[0];
    static struct dump dump;
    dump = (struct dump){.cli = cli,
                         .json = cli_has(cli, "json"),
                         .brief = cli_has(cli, "brief"),
                         .disk = {.calls = &disk_sync_calls}};
    const struct disk *disk = &dump.disk;
    crc32c_open();
    dump.segments.disk = disk;
    dump.segment.fd = disk->calls->open_file(NULL, name, O_RDONLY | O_DIRECT, 0);
    if (dump.segment.fd == -EINVAL) { /* a file system without direct access: a copy elsewhere */
        dump.segment.fd = disk->calls->open_file(NULL, name, O_RDONLY, 0);
    }
    if (dump.segment.fd < 0) {
        return cli_fail(cli, CLI_FAILED, "%s: %s", name, strerror(-dump.segment.fd));
    }
    int64_t bytes = disk->calls->file_bytes(NULL, dump.segment.fd);
    dump.page = vm_map(PAGE_BYTES);
    int r = bytes < 0 ? (int)bytes : dump.page ? dump_file(&dump, (uint64_t)bytes) : -ENOMEM;
    vm_unmap(dump.page, PAGE_BYTES);
    (void)disk->calls->close_file(NULL, dump.segment.fd);
    if (r == FORMAT_BAD) {
        return cli_fail(cli, CLI_DAMAGED, "%s does not begin with a segment's header", name);
    }
    if (r < 0) {
        return cli_fail(cli, CLI_FAILED, "%s: %s", name, strerror(-r));
    }
    return dump.damage > 0 ? cli_fail(cli, CLI_DAMAGED, "%s: %llu place%s in it %s not verify",
                                      name, (unsigned long long)dump.damage,
                                      dump.damage == 1 ? "" : "s", dump.damage == 1 ? "does" : "do")
                           : CLI_DONE;
}

static const struct cli_flag flags[] = {
    {"brief", 0, NULL, "batches only; records where they are damaged"},
    {"json", 0, NULL, "print one JSON object a line"},
    CLI_FLAG_END,
};

const struct cli_command command_segdump = {
    .name = "segdump",
    .args = "FILE",
    .summary = "print what lies in a segment file, and what in it is damaged",
    .flags = flags,
    .args_min = 1,
    .args_max = 1,
    .more = "The file may belong to a store that is being served: it is only read. An LSN,\n"
            "as 2:17, is the place of a record in its log: the epoch (one a start) and a number in "
            "it.\n"
            "Exit status 4: something does not verify.",
    .examples = "  millrace segdump store/ssd/00001.seg\n"
                "  millrace segdump --json --brief copy.seg | jq 'select(.kind == \"damage\")'\n",
    .run = cmd_segdump,
};
