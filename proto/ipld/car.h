/* SPDX-License-Identifier: MIT */
#pragma once

/* car — content archives, CARv1 and CARv2: bytes in any split become roots and blocks, and back.
 *
 *   v1: varint length · dag-cbor header {roots, version}, then sections: varint length · CID ·
 * block v2: an 11-byte pragma, 40 bytes {characteristics, data offset, data size, index offset},
 * and a v1 archive inside the data window; the index behind it is not read
 *
 *   MORE* -> HEADER -> (BLOCK | BAD skipped)* -> car_reader_end() -> END
 *                                   any BAD that is not skipped ends the archive
 *
 * A block that lies whole in the caller's bytes is handed out in place; one that is split is put
 * together in the caller's buffer, whose size is therefore the limit of header and section (at most
 * CAR_HEADER_MAX and CAR_SECTION_MAX). Nothing is hashed here: the caller verifies each block.
 * A section of length zero is an error that names its place, unless the caller says that such
 * padding ends the archive. Blocks handed out before an error stand.
 * Thread: one per reader. Source: the CARv1 and CARv2 specifications of IPLD; go-car for limits. */

#include "base/base.h"
#include "base/cid.h"

#define CAR_HEADER_MAX  (32u << 20)
#define CAR_SECTION_MAX (8u << 20)
#define CAR_BUFFER_MIN  4096u
#define CAR_TEXT_MAX    640u

enum car_event {
    CAR_MORE,   /* all bytes were taken, nothing is complete */
    CAR_HEADER, /* version and roots are known */
    CAR_BLOCK,
    CAR_BAD, /* something is wrong at a known place; `skipped` says whether the reader can go on */
    CAR_END, /* of car_reader_end only */
};

enum car_fault {
    CAR_TRUNCATED,   /* the bytes end inside a header or a section */
    CAR_BAD_VARINT,  /* a length that is not a minimal varint */
    CAR_BAD_HEADER,  /* not the dag-cbor a CAR begins with */
    CAR_BAD_VERSION, /* neither 1 nor 2 */
    CAR_TOO_LONG,    /* a header or section longer than the limit */
    CAR_PAST_END,    /* v2: a section that leaves the data window */
    CAR_ZERO_LENGTH, /* a section without even a CID */
    CAR_BAD_CID,     /* a section that does not begin with a CID; skipped */
};

/* The roots of a HEADER: step through them with car_root_next. */
struct car_roots {
    const uint8_t *bytes;
    uint32_t bytes_left;
    uint32_t count; /* left */
};

struct car_step {
    size_t used; /* of the caller's bytes; set for every event */

    uint32_t version;       /* HEADER: of the file */
    struct car_roots roots; /* HEADER; lives until the next step */

    /* BLOCK; pointers live until the next step */
    const uint8_t *cid_bytes; /* as they stand in the archive */
    const uint8_t *data;
    uint32_t cid_bytes_count;
    uint32_t data_bytes;

    uint64_t offset; /* BLOCK, BAD: of the section's (or header's) length, from the file's start */
    struct cid cid;  /* BLOCK; BAD if cid_known */

    enum car_fault fault; /* BAD */
    bool skipped;         /* BAD: the section is passed over and the next step goes on behind it */
    bool cid_known;
    char text[CAR_TEXT_MAX]; /* BAD: a sentence for people, with offset and CID; ASCII */
};

struct car_reader {
    uint8_t *buffer; /* the caller's */
    uint32_t header_max, section_max;
    bool zero_ends;
    uint8_t state;
    uint8_t varint_count;
    uint8_t varint[10];
    bool version_2;
    uint64_t offset;     /* bytes taken so far, from the file's start */
    uint64_t start;      /* offset of the length now being followed */
    uint64_t window_end; /* v2: first byte behind the data; else UINT64_MAX */
    uint64_t skip;       /* bytes to pass over */
    uint64_t announced;  /* length of the header or section in progress */
    uint32_t wanted;     /* bytes to put together before the state can go on */
    uint32_t gathered;   /* of them, already in the buffer */
};

/* buffer: CAR_BUFFER_MIN bytes or more, the caller's for the reader's life. */
void car_reader_init(struct car_reader *reader, void *buffer, size_t buffer_bytes, bool zero_ends);
/* Returns: MORE, HEADER, BLOCK, BAD. After a BAD that is not skipped only `used` of earlier steps
 * counts: the reader is done for. Cost: one copy of what is split, else none. */
must_check enum car_event car_reader_step(struct car_reader *reader, const uint8_t *bytes,
                                          size_t count, struct car_step *ret_step);
/* Where a section begins: what lies there, told by its first bytes alone. Returns: whether it is a
 * section that car_reader_step would hand out as a BLOCK once all of it came; step->data is NULL,
 * `used` the bytes of length and CID. Nothing is taken: step on, or pass over it. */
must_check bool car_reader_peek(const struct car_reader *reader, const uint8_t *bytes, size_t count,
                                struct car_step *ret_step);
/* Passes over the section that was seen there. */
void car_reader_pass(struct car_reader *reader, const struct car_step *step);
/* No more bytes will come. Returns: END or BAD. */
must_check enum car_event car_reader_end(struct car_reader *reader, struct car_step *ret_step);

/* Returns: whether there was one more. The reader has checked them all. */
bool car_root_next(struct car_roots *roots, struct cid *ret_root);

const char *car_fault_name(enum car_fault fault); /* "truncated", "bad varint" ... */

/* ---- writing ---- */

#define CAR_SECTION_HEAD_MAX (9u + CID_BYTES_MAX)

/* car_header_write makes length and header of a CARv1 with these roots. Returns: bytes written; 0
 * where they exceed out_bytes. With one CIDv1/sha2-256 root the header has 58 bytes behind its
 * length of one, with one CIDv0 root 56. */
size_t car_header_write(const struct cid roots[], uint32_t count, uint8_t *out, size_t out_bytes);
/* car_section_head makes length and CID of a section; the block's bytes follow. */
size_t car_section_head(const struct cid *cid, uint32_t data_bytes,
                        uint8_t out[CAR_SECTION_HEAD_MAX]);
