/* SPDX-License-Identifier: MIT */
#include "proto/ipld/unixfs.h"

#include "base/bits.h"
#include "base/must.h"
#include "proto/wire.h"

#include <string.h>

enum { NODE_DATA = 1, NODE_LINK = 2 };
enum { LINK_HASH = 1, LINK_NAME = 2, LINK_TSIZE = 3 };
enum { DATA_TYPE = 1, DATA_DATA = 2, DATA_FILE_SIZE = 3, DATA_BLOCK_SIZE = 4 };

#define PREFIX_MAX 2u

/* ---- writing --------------------------------------------------------------------------------- */

void unixfs_link_init(struct unixfs_link *link, const struct cid *cid, uint64_t bytes) {
    uint8_t name[CID_BYTES_MAX];
    size_t count = cid_write(cid, name);
    must(count <= UNIXFS_CID_MAX);
    *link = (struct unixfs_link){.total_bytes = bytes, .cid_bytes = (uint32_t)count};
    memcpy(link->cid, name, count);
}

size_t unixfs_link_write(const struct unixfs_link *link, const char *prefix, const char *name,
                         uint32_t name_bytes, uint8_t *out) {
    size_t prefix_bytes = strlen(prefix);
    must(prefix_bytes <= PREFIX_MAX);
    must(name_bytes <= UNIXFS_NAME_MAX);
    must(link->cid_bytes > 0);
    must(link->cid_bytes <= UNIXFS_CID_MAX);
    size_t whole_name = prefix_bytes + name_bytes;
    size_t inside = wire_bytes_size(link->cid_bytes) + wire_bytes_size(whole_name) +
                    wire_varint_size(link->total_bytes);
    size_t used = wire_put_head(out, NODE_LINK, inside);
    used += wire_put_bytes(out + used, LINK_HASH, link->cid, link->cid_bytes);
    used += wire_put_head(out + used, LINK_NAME, whole_name);
    memcpy(out + used, prefix, prefix_bytes);
    used += prefix_bytes;
    if (name_bytes > 0) {
        memcpy(out + used, name, name_bytes);
        used += name_bytes;
    }
    return used + wire_put_varint(out + used, LINK_TSIZE, link->total_bytes);
}

size_t unixfs_leaf_write(const uint8_t *data, uint32_t count, uint8_t *out) {
    size_t inside = wire_varint_size(UNIXFS_FILE) + wire_varint_size(count) +
                    (count > 0 ? wire_bytes_size(count) : 0);
    size_t used = wire_put_head(out, NODE_DATA, inside);
    used += wire_put_varint(out + used, DATA_TYPE, UNIXFS_FILE);
    if (count > 0) {
        used += wire_put_bytes(out + used, DATA_DATA, data, count);
    }
    used += wire_put_varint(out + used, DATA_FILE_SIZE, count);
    must(used <= count + UNIXFS_LEAF_MORE);
    return used;
}

size_t unixfs_file_room(uint32_t count) {
    /* A size is a key and up to ten bytes; type, file size and two heads are less than 64. */
    return (size_t)count * (UNIXFS_LINK_MAX + 11u) + 64u;
}

size_t unixfs_file_write(const struct unixfs_link links[], uint32_t count, uint8_t *out) {
    size_t used = 0, inside = wire_varint_size(UNIXFS_FILE);
    uint64_t file_bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        used += unixfs_link_write(&links[i], "", "", 0, out + used);
        inside += wire_varint_size(links[i].file_bytes);
        file_bytes += links[i].file_bytes;
    }
    inside += wire_varint_size(file_bytes);
    used += wire_put_head(out + used, NODE_DATA, inside);
    used += wire_put_varint(out + used, DATA_TYPE, UNIXFS_FILE);
    used += wire_put_varint(out + used, DATA_FILE_SIZE, file_bytes);
    for (uint32_t i = 0; i < count; i++) {
        used += wire_put_varint(out + used, DATA_BLOCK_SIZE, links[i].file_bytes);
    }
    must(used <= unixfs_file_room(count));
    return used;
}

size_t unixfs_directory_room(const struct unixfs_entry entries[], uint32_t count) {
    size_t room = 16;
    for (uint32_t i = 0; i < count; i++) {
        room += UNIXFS_LINK_MAX + entries[i].name_bytes;
    }
    return room;
}

size_t unixfs_directory_write(const struct unixfs_entry entries[], uint32_t count, uint8_t *out) {
    size_t used = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct unixfs_entry *entry = &entries[i];
        must(i == 0 || unixfs_entry_compare(entry - 1, entry) < 0);
        used += unixfs_link_write(&entry->link, "", entry->name, entry->name_bytes, out + used);
    }
    used += wire_put_head(out + used, NODE_DATA, wire_varint_size(UNIXFS_DIRECTORY));
    return used + wire_put_varint(out + used, DATA_TYPE, UNIXFS_DIRECTORY);
}

int unixfs_entry_compare(const struct unixfs_entry *a, const struct unixfs_entry *b) {
    uint32_t both = min_u32(a->name_bytes, b->name_bytes);
    int order = both > 0 ? memcmp(a->name, b->name, both) : 0;
    if (order != 0 || a->name_bytes == b->name_bytes) {
        return order;
    }
    return a->name_bytes < b->name_bytes ? -1 : 1;
}

size_t unixfs_symlink_write(const char *target, uint32_t count, uint8_t *out) {
    must(count <= UNIXFS_TARGET_MAX);
    size_t used =
        wire_put_head(out, NODE_DATA, wire_varint_size(UNIXFS_SYMLINK) + wire_bytes_size(count));
    used += wire_put_varint(out + used, DATA_TYPE, UNIXFS_SYMLINK);
    return used + wire_put_bytes(out + used, DATA_DATA, target, count);
}

/* ---- reading --------------------------------------------------------------------------------- */

static int link_read(const struct wire_field *whole, struct unixfs_child *ret_child) {
    const uint8_t *at = whole->bytes, *end = whole->bytes + whole->count;
    struct wire_field field;
    bool found = false;
    int r;
    *ret_child = (struct unixfs_child){.name = ""};
    while ((r = wire_next(&at, end, &field)) == 0) {
        size_t used;
        bool sound = field.number <= LINK_TSIZE &&
                     field.type == (field.number == LINK_TSIZE ? WIRE_VARINT : WIRE_BYTES);
        if (!sound) {
            return UNIXFS_BAD;
        }
        if (field.number == LINK_TSIZE) {
            ret_child->total_bytes = field.value;
        } else if (field.number == LINK_NAME) {
            ret_child->name = (const char *)field.bytes;
            ret_child->name_bytes = field.count;
        } else if (found || cid_read(field.bytes, field.count, &ret_child->cid, &used) != 0 ||
                   used != field.count) {
            return UNIXFS_BAD;
        } else {
            found = true;
        }
    }
    return r == WIRE_END && found ? 0 : UNIXFS_BAD;
}

/* The next block size in Data, alone or of a packed run. Returns: 0, UNIXFS_END, UNIXFS_BAD. */
static int size_next(struct unixfs_node *node, uint64_t *ret_size) {
    struct wire_field field;
    for (;;) {
        if (node->packed_at < node->packed_end) {
            uint32_t shift = 0;
            for (uint64_t size = 0; node->packed_at < node->packed_end && shift < 63; shift += 7) {
                uint8_t byte = *node->packed_at++;
                size |= (uint64_t)(byte & 0x7fu) << shift;
                if (byte < 0x80) {
                    *ret_size = size;
                    return 0;
                }
            }
            return UNIXFS_BAD;
        }
        int r = wire_next(&node->sizes_at, node->sizes_end, &field);
        if (r != 0) {
            return r == WIRE_END ? UNIXFS_END : UNIXFS_BAD;
        }
        if (field.number == DATA_BLOCK_SIZE && field.type == WIRE_VARINT) {
            *ret_size = field.value;
            return 0;
        }
        if (field.number == DATA_BLOCK_SIZE && field.type == WIRE_BYTES) {
            node->packed_at = field.bytes;
            node->packed_end = field.bytes + field.count;
        } else if (field.number == DATA_BLOCK_SIZE) {
            return UNIXFS_BAD;
        }
    }
}

static bool is_file(const struct unixfs_node *node) {
    return node->type == UNIXFS_FILE || node->type == UNIXFS_RAW;
}

/* Type and data out of Data; the last of each counts, as protobuf has it. */
static int data_read(const uint8_t *at, const uint8_t *end, struct unixfs_node *node) {
    struct wire_field field;
    bool typed = false;
    int r;
    node->sizes_at = at;
    node->sizes_end = end;
    while ((r = wire_next(&at, end, &field)) == 0) {
        if (field.number == DATA_TYPE) {
            if (field.type != WIRE_VARINT || field.value >= UNIXFS_TYPE_COUNT) {
                return UNIXFS_BAD;
            }
            node->type = (enum unixfs_type)field.value;
            typed = true;
        } else if (field.number == DATA_DATA) {
            if (field.type != WIRE_BYTES) {
                return UNIXFS_BAD;
            }
            node->data = field.bytes;
            node->data_bytes = field.count;
        }
    }
    return r == WIRE_END && typed ? 0 : UNIXFS_BAD;
}

/* Adds up the parts of a file; there must be a size for each link. */
static int sizes_check(struct unixfs_node *node) {
    struct unixfs_node walk = *node;
    uint64_t size, sum = node->data_bytes;
    uint32_t count = 0;
    int r;
    while ((r = size_next(&walk, &size)) == 0) {
        if (size > INT64_MAX - sum) {
            return UNIXFS_BAD;
        }
        sum += size;
        count++;
    }
    node->file_bytes = sum;
    return r == UNIXFS_END && count == node->links ? 0 : UNIXFS_BAD;
}

int unixfs_read(const uint8_t *block, size_t bytes, struct unixfs_node *ret_node) {
    struct unixfs_node node = {.data = block, .at = block, .end = block + bytes};
    const uint8_t *at = block;
    struct wire_field field;
    bool found = false;
    int r;
    while ((r = wire_next(&at, node.end, &field)) == 0) {
        if (field.type != WIRE_BYTES || field.number > NODE_LINK) {
            return UNIXFS_BAD;
        }
        if (field.number == NODE_LINK) {
            node.links++;
        } else if (found || data_read(field.bytes, field.bytes + field.count, &node) != 0) {
            return UNIXFS_BAD;
        } else {
            found = true;
        }
    }
    if (r != WIRE_END || !found || (is_file(&node) && sizes_check(&node) != 0)) {
        return UNIXFS_BAD;
    }
    *ret_node = node;
    return 0;
}

int unixfs_next(struct unixfs_node *node, struct unixfs_child *ret_child) {
    struct wire_field field;
    uint64_t size = 0;
    while (wire_next(&node->at, node->end, &field) == 0) {
        if (field.number != NODE_LINK) {
            continue;
        }
        if (is_file(node) && size_next(node, &size) != 0) {
            return UNIXFS_BAD;
        }
        int r = link_read(&field, ret_child);
        ret_child->file_bytes = size;
        return r;
    }
    return UNIXFS_END;
}
