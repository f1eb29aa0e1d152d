/* SPDX-License-Identifier: MIT */
#include "tools/load/bitswap/catalog.h"

#include "base/bits.h"
#include "base/cid.h"
#include "base/err.h"
#include "base/must.h"
#include "proto/ipld/car.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIST_MAX (1u << 26)

static uint32_t home_of(const struct catalog *catalog, const struct key *key) {
    return get_le32(key->digest) & catalog->mask; /* digests are as good as random */
}

static int table_make(struct catalog *catalog) {
    uint64_t places = power_of_two_above((uint64_t)catalog->count * 2);
    catalog->table = malloc(places * sizeof *catalog->table);
    if (catalog->table == NULL) {
        return err_raise(-ENOMEM);
    }
    catalog->mask = (uint32_t)places - 1;
    memset(catalog->table, 0xff, places * sizeof *catalog->table);
    for (uint32_t i = 0; i < catalog->count; i++) {
        struct key key;
        struct bitswap_form form;
        catalog_name(catalog, i, &key, &form);
        uint32_t at = home_of(catalog, &key);
        while (catalog->table[at] != CATALOG_NONE) {
            at = (at + 1) & catalog->mask;
        }
        catalog->table[at] = i;
    }
    return 0;
}

int catalog_open(struct catalog *catalog, const struct content *content) {
    must(content->digests != NULL && content->keys < CATALOG_NONE / 2);
    *catalog = (struct catalog){.content = content, .count = (uint32_t)content->keys};
    return err_pass(table_make(catalog));
}

void catalog_close(struct catalog *catalog) {
    free(catalog->entries);
    free(catalog->table);
    *catalog = (struct catalog){0};
}

/* A line of the list. Returns: 0, or 1 with a sentence in `why`. */
static int entry_parse(char *line, struct catalog_entry *entry, char *why, size_t why_bytes) {
    struct cid cid;
    line[strcspn(line, " \t\r\n")] = '\0';
    if (cid_parse(line, &cid, why, why_bytes) != 0) {
        return 1;
    }
    if (cid_key(&cid, &entry->key) != 0) {
        snprintf(why, why_bytes, "its hash cannot be checked here");
        return 1;
    }
    entry->form.codec = (uint32_t)cid.codec;
    entry->form.version = (uint8_t)cid.version;
    return 0;
}

static int list_grow(struct catalog *catalog, uint32_t *room) {
    if (catalog->count < *room) {
        return 0;
    }
    uint32_t wanted = *room > 0 ? *room * 2 : 1024;
    void *grown =
        wanted > LIST_MAX ? NULL : realloc(catalog->entries, wanted * sizeof(struct catalog_entry));
    if (grown == NULL) {
        return err_raise(-ENOMEM);
    }
    catalog->entries = grown;
    *room = wanted;
    return 0;
}

int catalog_read(struct catalog *catalog, const char *path, char *why, size_t why_bytes) {
    *catalog = (struct catalog){0};
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        snprintf(why, why_bytes, "--cids: %s: %s", path, strerror(errno));
        return err_raise(-errno);
    }
    char line[CID_TEXT_MAX + 16];
    uint32_t room = 0, number = 0;
    int r = 0;
    while (r == 0 && fgets(line, sizeof line, file) != NULL) {
        char reason[160];
        number++;
        if (line[0] == '\n' || line[0] == '#') {
            continue;
        }
        r = list_grow(catalog, &room);
        if (r == 0 &&
            entry_parse(line, &catalog->entries[catalog->count], reason, sizeof reason) != 0) {
            snprintf(why, why_bytes, "--cids: %s line %u: %s", path, number, reason);
            r = -EINVAL;
        }
        catalog->count += r == 0;
    }
    fclose(file);
    if (r == 0 && catalog->count == 0) {
        snprintf(why, why_bytes, "--cids: %s holds no CID", path);
        r = -EINVAL;
    }
    r = r != 0 ? r : table_make(catalog);
    if (r != 0) {
        catalog_close(catalog);
    }
    return err_raise(r);
}

void catalog_name(const struct catalog *catalog, uint32_t index, struct key *ret_key,
                  struct bitswap_form *ret_form) {
    must(index < catalog->count);
    if (catalog->content == NULL) {
        *ret_key = catalog->entries[index].key;
        *ret_form = catalog->entries[index].form;
        return;
    }
    ret_key->code = HASH_SHA2_256;
    ret_key->digest_bytes = CONTENT_DIGEST_BYTES;
    ret_key->zero = 0;
    memcpy(ret_key->digest, content_digest(catalog->content, index), CONTENT_DIGEST_BYTES);
    *ret_form = (struct bitswap_form){.codec = CID_RAW, .version = 1};
}

uint32_t catalog_find(const struct catalog *catalog, const struct key *key) {
    if (key->digest_bytes < 4) {
        return CATALOG_NONE;
    }
    uint32_t at = home_of(catalog, key), index;
    for (; (index = catalog->table[at]) != CATALOG_NONE; at = (at + 1) & catalog->mask) {
        struct key there;
        struct bitswap_form form;
        catalog_name(catalog, index, &there, &form);
        if (key_equal(&there, key)) {
            break;
        }
    }
    return index;
}

int catalog_car(const struct content *content, const char *path) {
    FILE *file = fopen(path, "wb");
    uint8_t *block = malloc(content->bytes);
    int r = file == NULL ? -errno : block == NULL ? -ENOMEM : 0;
    for (uint64_t i = 0; r == 0 && i < content->keys; i++) {
        struct cid cid = {
            .version = 1, .codec = CID_RAW, .hash = HASH_SHA2_256, .digest_bytes = 32};
        uint8_t head[CAR_SECTION_HEAD_MAX];
        memcpy(cid.digest, content_digest(content, i), CONTENT_DIGEST_BYTES);
        size_t bytes = i == 0 ? car_header_write(&cid, 1, head, sizeof head) : 0;
        if (bytes > 0) {
            fwrite(head, 1, bytes, file);
        }
        bytes = car_section_head(&cid, content->bytes, head);
        content_copy(content, i, block);
        fwrite(head, 1, bytes, file);
        fwrite(block, 1, content->bytes, file);
        r = ferror(file) ? -EIO : 0;
    }
    free(block);
    if (file != NULL && fclose(file) != 0 && r == 0) {
        r = -errno;
    }
    return err_raise(r);
}
