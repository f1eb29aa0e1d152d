/* SPDX-License-Identifier: MIT */
/* Whole connections as Kubo and Helia lead them, byte for byte under the encryption:
 * proto/libp2p/multistream.c, proto/libp2p/yamux.c and proto/bitswap/bitswap.c on top of each
 * other. However the bytes are cut, every stream tells the same. */

#include "proto/bitswap/bitswap.h"
#include "proto/libp2p/multistream.h"
#include "proto/libp2p/yamux.h"

#include "base/bits.h"
#include "base/varint.h"
#include "tests/proto/bitswap_story.h"

#include <criterion/criterion.h>

#define DIGEST "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
#define CID    "01551220" DIGEST
#define NAME   "v1 55 12-2cf24dba/32"

#define HEADER_HEX  "132f6d756c746973747265616d2f312e302e300a"
#define BITSWAP_HEX "142f697066732f626974737761702f312e322e300a"
#define ID_HEX      "0f2f697066732f69642f312e302e300a"
#define NOISE_HEX   "072f6e6f6973650a"
#define TLS_HEX     "0b2f746c732f312e302e300a"
#define NA_HEX      "036e610a"

static const char bitswap_name[] = "/ipfs/bitswap/1.2.0", id_name[] = "/ipfs/id/1.0.0";

enum { DATA = 0, WINDOW = 1, PING = 2 };
enum { SYN = 1, ACK = 2, FIN = 4, RST = 8 };

/* ---- what a peer sends ---- */

struct trace {
    uint8_t bytes[1 << 19];
    size_t count;
};

static void add(struct trace *trace, const void *bytes, size_t count) {
    cr_assert_leq(trace->count + count, sizeof trace->bytes);
    memcpy(trace->bytes + trace->count, bytes, count);
    trace->count += count;
}

/* Hex digits; [ ] stand around a Bitswap message, whose length is put before it. */
static void add_hex(struct trace *trace, const char *hex) {
    size_t start = 0;
    for (unsigned value; *hex; hex++) {
        if (*hex == '[') {
            start = trace->count;
        } else if (*hex == ']') {
            uint8_t length[BITSWAP_LENGTH_MAX];
            size_t bytes = trace->count - start;
            size_t used = bitswap_put_length((uint32_t)bytes, length);
            memmove(trace->bytes + start + used, trace->bytes + start, bytes);
            memcpy(trace->bytes + start, length, used);
            trace->count += used;
        } else if (*hex != ' ') {
            cr_assert_eq(sscanf(hex++, "%2x", &value), 1);
            uint8_t byte = (uint8_t)value;
            add(trace, &byte, 1);
        }
    }
}

static void add_frame(struct trace *trace, unsigned type, unsigned flags, uint32_t id,
                      uint32_t length) {
    uint8_t head[YAMUX_HEAD_BYTES] = {0, (uint8_t)type};
    put_be16(head + 2, (uint16_t)flags);
    put_be32(head + 4, id);
    put_be32(head + 8, length);
    add(trace, head, sizeof head);
}

static void add_data(struct trace *trace, uint32_t id, const char *hex) {
    size_t start = trace->count;
    add_frame(trace, DATA, 0, id, 0);
    add_hex(trace, hex);
    put_be32(trace->bytes + start + 8, (uint32_t)(trace->count - start - YAMUX_HEAD_BYTES));
}

/* ---- our side ---- */

#define LANES 8u

struct lane {
    struct yamux_stream stream;
    struct multistream names;
    struct bitswap_reader messages;
    struct bitswap_story story;
    uint64_t block_digest; /* of the data of the block in progress */
    uint32_t block_bytes;
    bool ours;   /* we opened it */
    bool agreed; /* Bitswap is spoken on it */
    bool served; /* something else is: its bytes are only counted */
    bool bad;    /* what it said was; the rest is nobody's */
    uint32_t other_bytes;
};

struct node {
    struct yamux yamux;
    struct lane lanes[LANES];
    uint32_t used;
    struct bitswap_story story; /* of the session */
};

static struct lane *lane_of(struct node *node, const struct yamux_stream *stream) {
    for (uint32_t i = 0; i < node->used; i++) {
        if (&node->lanes[i].stream == stream) {
            return &node->lanes[i];
        }
    }
    cr_assert(false, "an event of a stream that nobody has");
    return NULL;
}

static struct lane *lane_new(struct node *node, bool ours) {
    cr_assert_lt(node->used, LANES);
    struct lane *lane = &node->lanes[node->used++];
    memset(lane, 0, sizeof *lane);
    lane->ours = ours;
    multistream_init(&lane->names);
    bitswap_reader_init(&lane->messages);
    if (ours) {
        cr_assert(yamux_open_stream(&node->yamux, &lane->stream));
    } else {
        yamux_accept(&node->yamux, &lane->stream);
    }
    return lane;
}

static void lane_messages(struct lane *lane, const uint8_t *bytes, size_t count) {
    enum bitswap_event event;
    struct bitswap_step step;
    do {
        event = bitswap_step(&lane->messages, bytes, count, &step);
        bytes += step.used;
        count -= step.used;
        if (event == BITSWAP_BLOCK) {
            lane->block_digest = UINT64_C(0xcbf29ce484222325);
            lane->block_bytes = 0;
        } else if (event == BITSWAP_DATA) {
            for (uint32_t i = 0; i < step.count; i++) {
                lane->block_digest = (lane->block_digest ^ step.bytes[i]) * UINT64_C(0x100000001b3);
            }
            lane->block_bytes += step.count;
            continue;
        } else if (event == BITSWAP_BLOCK_END) {
            bitswap_say(&lane->story, "%u bytes %016llx\n", lane->block_bytes,
                        (unsigned long long)lane->block_digest);
        }
        bitswap_say_event(&lane->story, event, &step);
    } while (event != BITSWAP_MORE && event != BITSWAP_BAD);
    lane->bad = event == BITSWAP_BAD;
    cr_assert(lane->bad || count == 0);
}

static void lane_take(struct lane *lane, const uint8_t *bytes, size_t count) {
    while (count > 0 && !lane->agreed && !lane->served) {
        size_t used;
        enum multistream_event event = multistream_step(&lane->names, bytes, count, &used);
        bytes += used;
        count -= used;
        if (event == MULTISTREAM_HEADER) {
            bitswap_say(&lane->story, "header\n");
        } else if (event == MULTISTREAM_TOKEN) {
            bitswap_say(&lane->story, "%s\n", lane->names.name);
            lane->agreed = multistream_is(&lane->names, bitswap_name);
            lane->served = multistream_is(&lane->names, id_name);
        } else if (event == MULTISTREAM_BAD) {
            bitswap_say(&lane->story, "no multistream\n");
            return;
        }
    }
    if (lane->agreed && !lane->bad && count > 0) {
        lane_messages(lane, bytes, count);
    }
    lane->other_bytes += lane->served ? (uint32_t)count : 0;
}

static void node_event(struct node *node, enum yamux_event event, const struct yamux_step *step) {
    switch (event) {
    case YAMUX_OPENED:
        bitswap_say(&node->story, "%u opened\n", step->id);
        lane_new(node, false);
        return;
    case YAMUX_DATA:
        lane_take(lane_of(node, step->stream), step->bytes, step->count);
        yamux_consumed(&node->yamux, step->stream, step->count, 0);
        return;
    case YAMUX_FIN:
        bitswap_say(&lane_of(node, step->stream)->story, "fin%s\n",
                    bitswap_reader_idle(&lane_of(node, step->stream)->messages) ? "" : " too soon");
        return;
    case YAMUX_RESET:
        bitswap_say(&lane_of(node, step->stream)->story, "reset\n");
        return;
    case YAMUX_PONG:
        bitswap_say(&node->story, "pong\n");
        return;
    case YAMUX_BAD:
        bitswap_say(&node->story, "bad %d\n", (int)step->fault);
        return;
    case YAMUX_GOAWAY:
        bitswap_say(&node->story, "go away %u\n", step->id);
        return;
    case YAMUX_MORE:
    case YAMUX_WINDOW:
    case YAMUX_FULL:
        return;
    }
}

/* Reads the whole trace; what is owed is written behind it, or, where `out` is NULL, at once and
 * forgotten. Returns: bytes written to `out`. */
static size_t node_read(struct node *node, const struct trace *trace, size_t piece, uint8_t *out,
                        size_t room) {
    uint8_t sink[256];
    for (size_t at = 0, end = 0; at < trace->count;) {
        end = min_u64(trace->count, end + piece);
        enum yamux_event event;
        do {
            struct yamux_step step;
            event = yamux_step(&node->yamux, trace->bytes + at, end - at, 0, &step);
            cr_assert_leq(step.used, end - at);
            at += step.used;
            node_event(node, event, &step);
            while (out == NULL && yamux_owes(&node->yamux)) {
                (void)yamux_write_owed(&node->yamux, 0, sink, sizeof sink);
            }
        } while (event != YAMUX_MORE && event != YAMUX_BAD);
        if (event == YAMUX_BAD) {
            return 0;
        }
    }
    return out ? yamux_write_owed(&node->yamux, 0, out, room) : 0;
}

/* What all streams tell, in the order they were opened: this text, for every piece. */
static struct node node;
static struct trace trace;

struct play {
    bool dialer;
    uint32_t ours;       /* streams we open before anything comes */
    const char *stories; /* the session's, then each stream's, a line of "--" between them */
    const char *owed;    /* hex of what we owe when all was read; NULL: not compared */
};

static void stories_tell(const char *expected, size_t piece) {
    static char text[1 << 17];
    size_t used = (size_t)snprintf(text, sizeof text, "%s", node.story.text);
    for (uint32_t i = 0; i < node.used; i++) {
        used +=
            (size_t)snprintf(text + used, sizeof text - used, "--\n%s", node.lanes[i].story.text);
        cr_assert_lt(used, sizeof text);
    }
    cr_assert_str_eq(text, expected, "pieces of %zu: %s", piece, text);
}

static void play_with(const struct play *play, size_t piece) {
    uint8_t out[512];
    static char hex[1025];
    memset(&node, 0, sizeof node);
    yamux_init(&node.yamux, play->dialer, 64, YAMUX_WINDOW_BYTES);
    for (uint32_t i = 0; i < play->ours; i++) {
        lane_new(&node, true);
    }
    size_t count = node_read(&node, &trace, piece, play->owed ? out : NULL, sizeof out);
    stories_tell(play->stories, piece);
    if (play->owed) {
        for (size_t i = 0; i < count; i++) {
            snprintf(hex + 2 * i, 3, "%02x", out[i]);
        }
        hex[2 * count] = 0;
        cr_assert_str_eq(hex, play->owed, "pieces of %zu: %s", piece, hex);
    }
}

static void plays(const struct play *play) {
    play_with(play, trace.count);
    for (size_t piece = 1; piece < 200 && piece < trace.count; piece++) {
        play_with(play, piece);
    }
}

/* ---- before the encryption ---- */

static void security_is(const char *hex, const char *expected) {
    trace.count = 0;
    add_hex(&trace, hex);
    for (size_t piece = 1; piece <= trace.count; piece++) {
        struct multistream reader;
        char text[256] = "";
        multistream_init(&reader);
        for (size_t at = 0, end = 0; at < trace.count;) {
            size_t used;
            end = min_u64(trace.count, at < end ? end : end + piece);
            enum multistream_event event =
                multistream_step(&reader, trace.bytes + at, end - at, &used);
            at += used;
            size_t chars = strlen(text);
            if (event != MULTISTREAM_MORE) {
                snprintf(text + chars, sizeof text - chars, "%s;",
                         event == MULTISTREAM_BAD ? "bad" : reader.name);
            }
            if (event == MULTISTREAM_BAD) {
                break;
            }
        }
        cr_assert_str_eq(text, expected, "pieces of %zu", piece);
    }
}

static void token_is(const char *name, const char *hex) {
    uint8_t out[MULTISTREAM_WRITE_MAX];
    trace.count = 0;
    add_hex(&trace, hex);
    cr_assert_eq(multistream_write(name, out), trace.count);
    cr_assert_eq(memcmp(out, trace.bytes, trace.count), 0);
}

Test(traces, security_is_agreed_on_though_kubo_proposes_tls_first) {
    security_is(HEADER_HEX TLS_HEX NOISE_HEX, "/multistream/1.0.0;/tls/1.0.0;/noise;");
    security_is(HEADER_HEX NOISE_HEX, "/multistream/1.0.0;/noise;"); /* Helia, in one write */
    security_is(HEADER_HEX NA_HEX, "/multistream/1.0.0;na;");
    token_is(multistream_header, HEADER_HEX);
    token_is(multistream_na, NA_HEX);
    token_is("/noise", NOISE_HEX);
    token_is("/tls/1.0.0", TLS_HEX);
    token_is(bitswap_name, BITSWAP_HEX);
    token_is(id_name, ID_HEX);
}

Test(traces, what_speaks_something_else_is_known_by_its_first_bytes) {
    security_is("474554202f20485454502f312e310d0a", "bad;"); /* GET / HTTP/1.1 */
    security_is("160301", "bad;");                           /* a TLS hello without multistream */
}

/* ---- Kubo fetches from us: it dialled, so our ids are even ---- */

#define WANT_HAVE   "[0a340a320a24" CID "10ffffffff07180020012800]"
#define WANT_BLOCK  "[0a340a320a24" CID "10feffffff07180020002801]"
#define CANCEL_NEXT "[0a560a280a24" CID "18010a2a0a24" CID "10012801]"

static void kubo_fetches(void) {
    trace.count = 0;
    add_frame(&trace, PING, SYN, 0, 0x11223344);
    add_frame(&trace, WINDOW, SYN, 1, 0);
    add_data(&trace, 1, HEADER_HEX ID_HEX);
    add_frame(&trace, WINDOW, ACK, 2, 0);
    add_data(&trace, 2, HEADER_HEX ID_HEX);
    add_frame(&trace, WINDOW, SYN, 3, 0);
    add_data(&trace, 3, HEADER_HEX BITSWAP_HEX WANT_HAVE); /* lazy: all in one frame */
    add_data(&trace, 3, WANT_BLOCK);
    add_frame(&trace, WINDOW, ACK, 4, 0);
    add_data(&trace, 4, HEADER_HEX BITSWAP_HEX);
    add_data(&trace, 3, CANCEL_NEXT);
}

static const char kubo_fetches_stories[] = "1 opened\n3 opened\n"
                                           "--\nheader\n/ipfs/id/1.0.0\n"
                                           "--\nheader\n/ipfs/bitswap/1.2.0\n"
                                           "--\nheader\n/ipfs/id/1.0.0\n"
                                           "--\nheader\n/ipfs/bitswap/1.2.0\n"
                                           "begin 54\nwant " NAME " 2147483647 have\nend\n"
                                           "begin 54\nwant " NAME " 2147483646 dont\nend\n"
                                           "begin 88\nwant " NAME " 0 cancel\n"
                                           "want " NAME " 1 dont\nend\n";

Test(traces, kubo_fetches_a_block_from_us) {
    kubo_fetches();
    plays(&(struct play){.ours = 2,
                         .stories = kubo_fetches_stories,
                         .owed = "000200020000000011223344" /* the pong */
                                 "000100010000000200000000" /* 2 and 4 open */
                                 "000100010000000400000000" /* ... */
                                 "000100020000000100000000" /* 1 and 3 are accepted */
                                 "000100020000000300000000"});
}

/* What we send on stream 4: its SYN, both tokens, an empty list and the block in one frame. */
Test(traces, our_answer_is_one_frame_that_go_reads) {
    static const struct bitswap_form raw = {CID_RAW, 1};
    struct yamux_stream streams[2];
    struct key key = {.code = HASH_SHA2_256, .digest_bytes = 32};
    uint8_t out[256], message[64], head[BITSWAP_BLOCK_HEAD_MAX];
    memset(&node, 0, sizeof node);
    yamux_init(&node.yamux, false, 64, YAMUX_WINDOW_BYTES);
    cr_assert(yamux_open_stream(&node.yamux, &streams[0]));
    cr_assert(yamux_open_stream(&node.yamux, &streams[1]));

    size_t used = bitswap_put_length(
        (uint32_t)(BITSWAP_EMPTY_LIST_BYTES + bitswap_block_size(&key, &raw, 5)), message);
    used += bitswap_put_empty_list(message + used);
    size_t head_bytes = bitswap_put_block_head(&key, &raw, 5, head);
    memcpy(message + used, head, head_bytes);
    memcpy(message + used + head_bytes, "hello", 5);
    used += head_bytes + 5;

    size_t at = YAMUX_HEAD_BYTES;
    at += multistream_write(multistream_header, out + at);
    at += multistream_write(bitswap_name, out + at);
    memcpy(out + at, message, used);
    at += used;
    yamux_data_head(&node.yamux, &streams[1], (uint32_t)(at - YAMUX_HEAD_BYTES), out);

    trace.count = 0;
    add_hex(&trace, "00000001 00000004 0000003b" HEADER_HEX BITSWAP_HEX
                    "[0a00 1a0d0a0401551220120568656c6c6f]");
    cr_assert_eq(at, trace.count);
    cr_assert_eq(memcmp(out, trace.bytes, at), 0);
    /* And the end of the stream is a frame of its own, never a flag on data. */
    yamux_finish(&node.yamux, &streams[1]);
    uint8_t owed[64];
    cr_assert_eq(yamux_write_owed(&node.yamux, 0, owed, sizeof owed), 2 * YAMUX_HEAD_BYTES);
    trace.count = 0;
    add_hex(&trace, "00010001 00000002 00000000 00010004 00000004 00000000");
    cr_assert_eq(memcmp(owed, trace.bytes, trace.count), 0);
}

/* ---- we fetch from Kubo: we dialled, so our ids are odd ---- */

Test(traces, kubo_answers_on_streams_of_its_own) {
    trace.count = 0;
    add_frame(&trace, WINDOW, ACK, 1, 0);
    add_data(&trace, 1, HEADER_HEX BITSWAP_HEX);
    add_frame(&trace, WINDOW, SYN, 2, 0);
    add_data(&trace, 2, HEADER_HEX BITSWAP_HEX "[0a00 1a0d0a0401551220120568656c6c6f]");
    add_frame(&trace, WINDOW, FIN, 2, 0);
    add_frame(&trace, WINDOW, SYN, 4, 0);
    /* Cut in the middle of tokens, of a message's length, and of a block. */
    add_data(&trace, 4, "132f6d756c74697374726561");
    add_data(&trace, 4, "6d2f312e302e300a142f6970");
    add_data(&trace, 4, "66732f626974737761702f312e322e30");
    add_data(&trace, 4, "0a [0a00 22260a24" CID "22280a24" CID "1001 2880808001]");
    add_frame(&trace, WINDOW, FIN, 4, 0);
    plays(&(struct play){.dialer = true,
                         .ours = 1,
                         .stories =
                             "2 opened\n4 opened\n"
                             "--\nheader\n/ipfs/bitswap/1.2.0\n"
                             "--\nheader\n/ipfs/bitswap/1.2.0\nbegin 17\n"
                             "block 5\n5 bytes a430d84680aabd0b\nis v1 55 12/32\nend\nfin\n"
                             "--\nheader\n/ipfs/bitswap/1.2.0\nbegin 89\n"
                             "have " NAME "\ndont have " NAME "\npending 2097152\nend\nfin\n",
                         .owed = "000100010000000100000000"
                                 "000100020000000200000000"
                                 "000100020000000400000000"});
}

/* A block of 256 KiB: five frames of Go's full size, each two records of Noise, and more than a
 * window holds. */
Test(traces, a_large_block_comes_in_full_frames_and_two_records_each) {
    static struct trace message;
    static uint8_t block[256 * 1024];
    static const struct bitswap_form raw = {CID_RAW, 1};
    struct key key = {.code = HASH_SHA2_256, .digest_bytes = 32};
    uint8_t head[BITSWAP_BLOCK_HEAD_MAX], length[BITSWAP_LENGTH_MAX];
    for (uint32_t i = 0; i < sizeof block; i++) {
        block[i] = (uint8_t)(i * 31 + i / 251);
    }
    message.count = 0;
    add_hex(&message, HEADER_HEX BITSWAP_HEX);
    size_t inside = 2 + bitswap_block_size(&key, &raw, sizeof block);
    add(&message, length, bitswap_put_length((uint32_t)inside, length));
    add_hex(&message, "0a00");
    add(&message, head, bitswap_put_block_head(&key, &raw, sizeof block, head));
    add(&message, block, sizeof block);

    trace.count = 0;
    add_frame(&trace, WINDOW, ACK, 1, 0);
    add_frame(&trace, WINDOW, SYN, 2, 0);
    for (size_t at = 0; at < message.count;) {
        size_t count = min_u64(message.count - at, 65536 - YAMUX_HEAD_BYTES);
        add_frame(&trace, DATA, 0, 2, (uint32_t)count);
        add(&trace, message.bytes + at, count);
        at += count;
    }
    add_frame(&trace, WINDOW, FIN, 2, 0);
    char story[256];
    uint64_t digest = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < sizeof block; i++) {
        digest = (digest ^ block[i]) * UINT64_C(0x100000001b3);
    }
    snprintf(story, sizeof story,
             "2 opened\n--\n--\nheader\n/ipfs/bitswap/1.2.0\nbegin %zu\nblock 262144\n"
             "262144 bytes %016llx\nis v1 55 12/32\nend\nfin\n",
             inside, (unsigned long long)digest);
    struct play play = {.dialer = true, .ours = 1, .stories = story};
    static const size_t pieces[] = {1, 17, 1000, 16384, 65507, 65519, 65536, 1 << 19};
    for (size_t i = 0; i < array_count(pieces); i++) {
        play_with(&play, pieces[i]);
    }
}

/* ---- Helia ---- */

Test(traces, helia_asks_on_a_new_stream_a_batch_and_ends_it) {
    trace.count = 0;
    add_frame(&trace, PING, SYN, 0, 7);
    add_frame(&trace, WINDOW, SYN, 1, 0);
    add_data(&trace, 1, HEADER_HEX);
    add_data(&trace, 1, BITSWAP_HEX); /* and waits for both tokens */
    add_data(&trace, 1, "[0a320a2e0a24" CID "10011800200028001001]");
    add_frame(&trace, WINDOW, FIN, 1, 0);
    add_frame(&trace, WINDOW, SYN, 3, 0);
    add_data(&trace, 3, HEADER_HEX BITSWAP_HEX);
    add_data(&trace, 3, "[0a320a2e0a24" CID "10011800200028011000] [0a021000]");
    add_frame(&trace, WINDOW, FIN, 3, 0);
    plays(&(struct play){.stories = "1 opened\n3 opened\n"
                                    "--\nheader\n/ipfs/bitswap/1.2.0\nbegin 52\n"
                                    "want " NAME " 1\nfull\nend\nfin\n"
                                    "--\nheader\n/ipfs/bitswap/1.2.0\nbegin 52\n"
                                    "want " NAME " 1 dont\nend\nbegin 4\nend\nfin\n",
                         .owed = "000200020000000000000007"
                                 "000100020000000100000000"
                                 "000100020000000300000000"});
}

Test(traces, helia_finishes_its_side_of_our_want_stream_and_resets_it_later) {
    trace.count = 0;
    add_frame(&trace, WINDOW, ACK, 1, 0);
    add_data(&trace, 1, HEADER_HEX BITSWAP_HEX);
    add_frame(&trace, WINDOW, FIN, 1, 0);
    add_frame(&trace, WINDOW, SYN, 2, 0);
    add_data(&trace, 2, HEADER_HEX BITSWAP_HEX);
    add_data(
        &trace, 2,
        "[0a021000 1a0d0a0401551220120568656c6c6f 1a08 0a0401551220 1200] [0a021000 22260a24" CID
        "]");
    add_frame(&trace, WINDOW, FIN, 2, 0);
    add_frame(&trace, WINDOW, RST, 1, 0);
    plays(&(struct play){.dialer = true,
                         .ours = 1,
                         .stories = "2 opened\n"
                                    "--\nheader\n/ipfs/bitswap/1.2.0\nfin\nreset\n"
                                    "--\nheader\n/ipfs/bitswap/1.2.0\nbegin 29\n"
                                    "block 5\n5 bytes a430d84680aabd0b\nis v1 55 12/32\n"
                                    "block 0\n0 bytes cbf29ce484222325\nis v1 55 12/32\nend\n"
                                    "begin 44\nhave " NAME "\nend\nfin\n"});
}

/* ---- a peer that is cut off, or breaks off ---- */

Test(traces, a_stream_that_ends_inside_a_message_is_known) {
    trace.count = 0;
    add_frame(&trace, WINDOW, SYN, 1, 0);
    add_data(&trace, 1, HEADER_HEX BITSWAP_HEX "320a2e0a24");
    add_frame(&trace, WINDOW, FIN, 1, 0);
    plays(&(struct play){
        .stories = "1 opened\n--\nheader\n/ipfs/bitswap/1.2.0\nbegin 50\nfin too soon\n"});
}

Test(traces, a_bad_message_is_bad_for_its_stream_alone) {
    trace.count = 0;
    add_frame(&trace, WINDOW, SYN, 1, 0);
    add_data(&trace, 1, HEADER_HEX BITSWAP_HEX "ffffffff7f");
    add_frame(&trace, WINDOW, SYN, 3, 0);
    add_data(&trace, 3, HEADER_HEX BITSWAP_HEX "[0a00]");
    plays(&(struct play){.stories = "1 opened\n3 opened\n"
                                    "--\nheader\n/ipfs/bitswap/1.2.0\nbad\n"
                                    "--\nheader\n/ipfs/bitswap/1.2.0\nbegin 2\nend\n"});
}
