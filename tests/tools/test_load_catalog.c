/* SPDX-License-Identifier: MIT */
#include "tools/load/bitswap/catalog.h"

#include "base/cid.h"
#include "base/hash.h"
#include "proto/ipld/car.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct content make(uint64_t keys, uint32_t bytes) {
    struct content content;
    cr_assert_eq(hash_open(), 0);
    cr_assert_eq(content_open(&content, keys, bytes, 1, true), 0);
    return content;
}

static void file_with(char path[32], const char *text) {
    snprintf(path, 32, "/tmp/catalog-XXXXXX");
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

Test(catalog, every_block_of_the_content_is_found_by_its_name) {
    struct content content = make(1000, 100);
    struct catalog catalog;
    cr_assert_eq(catalog_open(&catalog, &content), 0);
    struct key key;
    struct bitswap_form form;
    for (uint32_t i = 0; i < 1000; i++) {
        catalog_name(&catalog, i, &key, &form);
        cr_assert_eq(form.codec, CID_RAW);
        cr_assert_eq(catalog_find(&catalog, &key), i);
    }
    key.digest[31] ^= 1;
    cr_assert_eq(catalog_find(&catalog, &key), CATALOG_NONE);
    catalog_close(&catalog);
    content_close(&content);
}

Test(catalog, a_block_says_itself_which_one_it_is) {
    struct content content = make(300, 64);
    uint8_t block[64];
    for (uint64_t i = 0; i < 300; i++) {
        content_copy(&content, i, block);
        cr_assert_eq(content_find(&content, block), i);
    }
    block[0] ^= 1;
    cr_assert_geq(content_find(&content, block), 300);
    content_close(&content);
}

Test(catalog, a_list_of_cids_of_all_forms_is_read) {
    char path[32], why[200] = "";
    struct catalog catalog;
    file_with(path, "# a comment\n"
                    "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWKPbdG\n\n"
                    "bafkreifzjut3te7nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e\n");
    cr_assert_eq(catalog_read(&catalog, path, why, sizeof why), 0, "%s", why);
    cr_assert_eq(catalog.count, 2);
    cr_assert_eq(catalog.entries[0].form.version, 0);
    cr_assert_eq(catalog.entries[0].form.codec, CID_DAG_PB);
    cr_assert_eq(catalog.entries[1].form.codec, CID_RAW);
    cr_assert_eq(catalog_find(&catalog, &catalog.entries[1].key), 1);
    catalog_close(&catalog);
    unlink(path);
}

Test(catalog, a_bad_list_is_refused_with_its_line) {
    char path[32], why[200] = "";
    struct catalog catalog;
    file_with(path, "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWKPbdG\nnonsense\n");
    cr_assert_lt(catalog_read(&catalog, path, why, sizeof why), 0);
    cr_assert(strstr(why, "line 2") != NULL, "%s", why);
    unlink(path);
    file_with(path, "\n");
    cr_assert_lt(catalog_read(&catalog, path, why, sizeof why), 0);
    unlink(path);
    cr_assert_lt(catalog_read(&catalog, path, why, sizeof why), 0, "it is gone");
}

Test(catalog, its_archive_holds_every_block_under_its_name) {
    struct content content = make(50, 333);
    char path[32];
    static uint8_t bytes[64 * 1024], buffer[CAR_BUFFER_MIN];
    file_with(path, "");
    cr_assert_eq(catalog_car(&content, path), 0);
    FILE *file = fopen(path, "rb");
    size_t count = fread(bytes, 1, sizeof bytes, file), at = 0;
    fclose(file);
    struct car_reader reader;
    uint64_t blocks = 0;
    car_reader_init(&reader, buffer, sizeof buffer, false);
    for (enum car_event event = CAR_HEADER; event != CAR_MORE;) {
        struct car_step step;
        event = car_reader_step(&reader, bytes + at, count - at, &step);
        at += step.used;
        cr_assert_neq(event, CAR_BAD);
        if (event == CAR_BLOCK) {
            cr_assert_eq(step.data_bytes, 333);
            cr_assert(content_equal(&content, blocks, 0, step.data, 333));
            cr_assert_eq(memcmp(step.cid.digest, content_digest(&content, blocks), 32), 0);
            blocks++;
        }
    }
    cr_assert_eq(blocks, 50);
    unlink(path);
    content_close(&content);
}
