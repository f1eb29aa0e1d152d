/* SPDX-License-Identifier: MIT */
#pragma once

/* millrace_client — talk to a Millrace server from C, over its compact protocol (TLV).
 *
 *   struct mr_client *client = mr_new();
 *   struct mr_cid cid;
 *   struct mr_block block;
 *   if (client && mr_connect(client, "127.0.0.1:7411", NULL) == 0 &&
 *       mr_cid_parse("bafkrei...", &cid) == 0 && mr_get(client, &cid, &block) == 0) {
 *       fwrite(block.data, 1, block.size, stdout);
 *       mr_block_free(&block);
 *   } else {
 *       fprintf(stderr, "%s\n", mr_error(client));
 *   }
 *   mr_free(client);
 *
 * Build with `cc prog.c $(pkg-config --cflags --libs millrace-client)`.
 *
 * Two ways to ask, which may be mixed on one connection. Blocking calls (mr_get, mr_put ...) send
 * one request, wait for its answer, and try again by themselves when the server says it is busy.
 * Pipelined calls (mr_submit_*) only queue a request; mr_poll sends, receives and hands out what is
 * done, in the order of the server, which is not the order of asking.
 *
 * Results. Every int result is 0 for done, above 0 one of enum mr_result, below 0 a negative errno
 * of the operating system. mr_error() has the sentence to show.
 *
 * Truth. The bytes of every whole block are checked against its CID before they are handed out, and
 * MR_CORRUPT is returned instead where they do not match; struct mr_options can turn that off. Part
 * of a block (mr_get_range) cannot be checked by its hash: check the whole where it matters.
 *
 * Threads. A client belongs to one thread at a time; different clients are independent. The library
 * starts no thread, installs no signal handler and raises no SIGPIPE.
 *
 * Source: docs/protocol.md. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define MR_API __attribute__((visibility("default")))
#else
#define MR_API
#endif

#define MR_BLOCK_MAX 4193664u /* no block of any server is larger; most servers take 2 MiB */
#define MR_CID_MAX   164u     /* longest binary CID */
#define MR_CID_TEXT  320u     /* longest text of a CID, with its NUL */

struct mr_client;

enum mr_result {
    MR_OK = 0,
    MR_NOT_FOUND = 1, /* the server does not have the block */
    MR_BUSY = 2,      /* overload or a limit, and the retries are used up */
    MR_RETRY = 3,     /* the block's tier is missing or loading, and the retries are used up */
    MR_REFUSED = 4,   /* the server says why: mr_fault() has the code, mr_error() the text */
    MR_CORRUPT = 5,   /* bytes that do not match their CID, here or (damaged) on the server */
    MR_BAD_CID = 6,   /* not a CID, or its hash function is not known here */
    MR_TOO_SMALL = 7, /* the caller's buffer is too small */
    MR_TOO_LARGE = 8, /* the block is larger than this server takes */
    MR_FULL = 9,      /* as many requests are unanswered as the server allows: mr_poll first */
    MR_CLOSED = 10,   /* not connected, or the server closed the connection */
    MR_TIMEOUT = 11,  /* no answer in time; the connection stays usable */
    MR_PROTOCOL = 12, /* the server sent what the protocol does not allow; connection closed */
    MR_STOPPED = 13,  /* the caller's callback asked to stop */
    MR_BAD_ARGUMENT = 14,
    MR_ABORTED = 15, /* mr_put_many, all or nothing: another block of it failed */
};
/* The words for a result ("not found"), negative errno included. Never NULL. Lives: static. */
MR_API const char *mr_result_text(int result);

/* The request class: what the server serves first under load. The server may lower it. */
enum mr_class { MR_CRITICAL = 0, MR_HIGH = 1, MR_NORMAL = 2, MR_LOW = 3, MR_CLASS_DEFAULT = 255 };

/* What a connection is like. Start from mr_options_default(), so that fields of later versions have
 * their defaults too. */
struct mr_options {
    int class_;                  /* enum mr_class of the connection; default normal */
    uint32_t connect_timeout_ms; /* default 5,000 */
    uint32_t timeout_ms;         /* of one blocking call, retries included; default 30,000 */
    uint32_t deadline_ms;  /* the server drops a request not begun by then; 0: none; <= 65535 */
    uint32_t retries;      /* of a blocking call after BUSY or RETRY; default 8 */
    uint32_t retry_max_ms; /* longest single wait between them; default 1,000 */
    bool verify;           /* check blocks against their CID; default true */
    const char *name;      /* credentials; NULL: none; read by mr_connect only */
    const void *token;
    size_t token_size;
};
MR_API void mr_options_default(struct mr_options *options);

/* ---- connection ------------------------------------------------------------------------------ */

/* mr_new makes a client that is not connected. Returns: NULL when there is no memory. */
MR_API struct mr_client *mr_new(void);
/* mr_free closes and frees; requests without an answer are forgotten. NULL is allowed. */
MR_API void mr_free(struct mr_client *client);

/* mr_connect resolves "HOST:PORT" ("[::1]:7411" for IPv6), connects, and says HELLO. A client that
 * was connected is disconnected first, so this also reconnects. options may be NULL (defaults).
 * Returns: 0, MR_TIMEOUT, MR_REFUSED (credentials, version), MR_CLOSED, MR_PROTOCOL,
 * MR_BAD_ARGUMENT, -errno. Blocks: at most connect_timeout_ms, and name resolution. */
MR_API int mr_connect(struct mr_client *client, const char *address,
                      const struct mr_options *options);
/* mr_disconnect closes the connection. Requests without an answer complete as MR_CLOSED at the next
 * mr_poll. */
MR_API void mr_disconnect(struct mr_client *client);
MR_API bool mr_connected(const struct mr_client *client);
/* mr_scan says that from here on this client's reads go once through much (a copy, a check): what
 * the server has to read from disk for them does not push out of its memory what others use. Off in
 * the beginning; a server that does not know of it reads as always. */
MR_API void mr_scan(struct mr_client *client, bool scan);

/* mr_error gives the sentence for the last call that did not return 0; "" before. NULL is allowed
 * ("out of memory"). Bytes of the server in it are escaped. Lives: until the next call. */
MR_API const char *mr_error(const struct mr_client *client);
/* mr_fault gives the server's code for the last MR_REFUSED (docs/protocol.md, "codes"), else 0. */
MR_API uint32_t mr_fault(const struct mr_client *client);

/* What the server said in its WELCOME. Valid while connected. */
struct mr_server {
    uint32_t version;   /* of the protocol */
    int class_;         /* enum mr_class this connection got */
    uint32_t features;  /* bits both sides may use */
    uint32_t credits;   /* requests that may be unanswered at once */
    uint32_t block_max; /* bytes of the largest block it takes */
};
MR_API void mr_server(const struct mr_client *client, struct mr_server *ret_server);

/* ---- names of content ------------------------------------------------------------------------ */

/* A CID in binary. The server stores by its multihash: CIDs of one hash name one block. */
struct mr_cid {
    uint32_t size;
    uint8_t bytes[MR_CID_MAX];
};
/* All return 0 or MR_BAD_CID. mr_cid_parse takes text in base58btc (Qm...), base32 (b), base36 (k),
 * base58 (z) or base16 (f), "/ipfs/" in front allowed; mr_cid_read takes one binary CID that fills
 * `bytes`; mr_cid_of_multihash takes a multihash and a codec. */
MR_API int mr_cid_parse(const char *text, struct mr_cid *ret_cid);
MR_API int mr_cid_read(const void *bytes, size_t size, struct mr_cid *ret_cid);
MR_API int mr_cid_of_multihash(const void *multihash, size_t size, uint64_t codec,
                               struct mr_cid *ret_cid);
/* mr_cid_of_data makes a CIDv1 by hashing. codec 0: raw (0x55); hash 0: sha2-256 (0x12). Returns: 0
 * or MR_BAD_CID for a hash function not known here. */
MR_API int mr_cid_of_data(const void *data, size_t size, uint64_t codec, uint64_t hash,
                          struct mr_cid *ret_cid);
/* mr_cid_format writes the usual text (v0 base58btc, v1 base32) and returns its length; 0 and ""
 * for what is no CID. */
MR_API size_t mr_cid_format(const struct mr_cid *cid, char text[MR_CID_TEXT]);
MR_API uint64_t mr_cid_codec(const struct mr_cid *cid); /* 0 for what is no CID */
/* mr_cid_check hashes `data` and compares. Returns: 0, MR_CORRUPT, MR_BAD_CID. */
MR_API int mr_cid_check(const struct mr_cid *cid, const void *data, size_t size);

/* ---- blocking calls -------------------------------------------------------------------------- */
/* Each returns 0 or, besides what its comment names, MR_BUSY, MR_RETRY, MR_REFUSED, MR_CLOSED,
 * MR_TIMEOUT, MR_PROTOCOL, MR_BAD_CID, -errno. BUSY and RETRY answers are waited out (as long as
 * the server says, within retries, retry_max_ms and timeout_ms) and asked again. Completions of
 * pipelined requests that arrive meanwhile are kept for mr_poll. */

MR_API int mr_ping(struct mr_client *client);

/* A block in memory of the C library. */
struct mr_block {
    void *data; /* never NULL after success; mr_block_free */
    size_t size;
    uint32_t codec; /* as stored with the first put; the CID's own codec may differ */
};
/* mr_get fetches a whole block. Identity CIDs are answered without asking. Returns also:
 * MR_NOT_FOUND, MR_CORRUPT. Owns: the caller, until mr_block_free. */
MR_API int mr_get(struct mr_client *client, const struct mr_cid *cid, struct mr_block *ret_block);
MR_API void mr_block_free(struct mr_block *block);

/* mr_get_into fetches into the caller's buffer. Returns also: MR_NOT_FOUND, MR_CORRUPT (the buffer
 * then holds the wrong bytes), MR_TOO_SMALL with the size needed in *ret_size. */
MR_API int mr_get_into(struct mr_client *client, const struct mr_cid *cid, void *buffer,
                       size_t buffer_size, size_t *ret_size);

/* mr_get_range fetches `length` bytes from `offset` (fewer at the block's end), not checked by
 * hash. buffer has at least `length` bytes, length > 0. *ret_total (may be NULL) is the size of the
 * whole block. Returns also: MR_NOT_FOUND, MR_REFUSED (code 109) past the end. */
MR_API int mr_get_range(struct mr_client *client, const struct mr_cid *cid, uint32_t offset,
                        uint32_t length, void *buffer, size_t *ret_size, uint32_t *ret_total);

/* mr_have asks for any number of blocks: present[i] = 1 stored, 0 not, 2 cannot be told just now. A
 * CID with an unknown hash function counts as not stored, an identity CID as stored. */
MR_API int mr_have(struct mr_client *client, const struct mr_cid cids[], size_t count,
                   uint8_t present[]);

/* mr_put stores data under the CID made from it (codec 0: raw; hash 0: sha2-256), and returns it in
 * *ret_cid (may be NULL). 0 means the block is durable. Returns also: MR_TOO_LARGE. */
MR_API int mr_put(struct mr_client *client, const void *data, size_t size, uint64_t codec,
                  uint64_t hash, struct mr_cid *ret_cid);
/* mr_put_cid stores data under a CID the caller knows; with verify on, it is checked before it is
 * sent (MR_CORRUPT). The server checks in any case. */
MR_API int mr_put_cid(struct mr_client *client, const struct mr_cid *cid, const void *data,
                      size_t size);
/* mr_put_stream stores `size` bytes that `give` yields, piece by piece: it fills up to `size` bytes
 * of `buffer` and returns how many, or < 0 to stop. Stopping in the middle of a body has to close
 * the connection: MR_STOPPED, then mr_connect again. Not tried again after BUSY. */
typedef long (*mr_give)(void *user, void *buffer, size_t size);
MR_API int mr_put_stream(struct mr_client *client, const struct mr_cid *cid, size_t size,
                         mr_give give, void *user);

/* mr_get_many fetches whole blocks, many in each request: results[i] is what mr_get would have
 * returned for cids[i], and blocks[i] its block where that is 0 (mr_block_free each; the others are
 * zeroes). Returns: 0 when all results are; else the first that is not; MR_CLOSED, MR_TIMEOUT,
 * MR_PROTOCOL and -errno where it broke off: blocks that came before stay the caller's, and those
 * without an answer have the result MR_RETRY. */
MR_API int mr_get_many(struct mr_client *client, const struct mr_cid cids[], size_t count,
                       struct mr_block blocks[], int results[]);

/* mr_put_many stores blocks under CIDs the caller knows, many in each request. all: all of them or
 * none, whatever happens (at most 1024 blocks of 4 MiB together; MR_TOO_LARGE beyond): where one is
 * refused its result says why, and the others' is MR_ABORTED; a failure with the server's code 106
 * or 108, MR_CLOSED or MR_TIMEOUT leaves open which of the two it was. Returns: 0 when all results
 * are; else the first that is neither 0 nor MR_ABORTED. */
struct mr_put_item {
    struct mr_cid cid;
    const void *data;
    size_t size;
    int result;
};
MR_API int mr_put_many(struct mr_client *client, struct mr_put_item items[], size_t count,
                       bool all);

/* Returns also: MR_NOT_FOUND. 0 means durably gone. */
MR_API int mr_delete(struct mr_client *client, const struct mr_cid *cid);

/* mr_verify makes the server read its copy from disk and check it. Returns also: MR_NOT_FOUND,
 * MR_CORRUPT. */
MR_API int mr_verify(struct mr_client *client, const struct mr_cid *cid);

/* mr_pin keeps the block, and unless `direct` all under it, from being collected: durable when it
 * returns 0. Returns also: MR_NOT_FOUND: it, or a block under it, is not there; MR_CORRUPT. It
 * takes as long as the server needs to look at the whole DAG. mr_unpin: MR_NOT_FOUND: it is not
 * pinned. */
MR_API int mr_pin(struct mr_client *client, const struct mr_cid *cid, bool direct);
MR_API int mr_unpin(struct mr_client *client, const struct mr_cid *cid);

/* mr_stat fetches the server's counters as JSON text, terminated. Owns: the caller, free(3). */
MR_API int mr_stat(struct mr_client *client, char **ret_json, size_t *ret_size);

struct mr_item {
    struct mr_cid cid; /* v1, with the stored codec */
    uint32_t size;
};
/* mr_list fetches the next page of stored blocks, in no useful order: start with *cursor = 0, go on
 * until it is 0 again. max in 1..1024. Blocks stored or deleted meanwhile may or may not appear;
 * the others appear once. */
MR_API int mr_list(struct mr_client *client, uint64_t *cursor, struct mr_item items[], uint32_t max,
                   uint32_t *ret_count);

/* ---- pipelined calls ------------------------------------------------------------------------- */

enum mr_kind {
    MR_KIND_PING,
    MR_KIND_GET,
    MR_KIND_PUT,
    MR_KIND_HAVE,
    MR_KIND_DELETE,
    MR_KIND_VERIFY
};

/* How one request departs from the connection. Zero it for the defaults. */
struct mr_ask {
    bool class_set;       /* class_ counts */
    int class_;           /* enum mr_class; only lower than the connection's takes effect */
    uint32_t deadline_ms; /* 0: the options' */
};

/* Each mr_submit_* queues one request and returns at once: 0, MR_FULL, MR_BAD_CID, MR_TOO_LARGE,
 * MR_CLOSED, -ENOMEM. `user` comes back with the completion. `ask` may be NULL. Nothing is sent
 * before mr_poll or mr_flush.
 * get: buffer NULL: the completion brings memory of its own; otherwise the buffer stays the
 *   library's until the completion (offset and length: 0, 0 for the whole block; a part is not
 *   checked). put: data is copied or sent before the call returns control of it: free to reuse it.
 *   With verify on, the CID is not checked here: the server does. have: at most 1024 CIDs; the
 *   completion brings one byte each. */
MR_API int mr_submit_ping(struct mr_client *client, const struct mr_ask *ask, void *user);
MR_API int mr_submit_get(struct mr_client *client, const struct mr_cid *cid, uint32_t offset,
                         uint32_t length, void *buffer, size_t buffer_size,
                         const struct mr_ask *ask, void *user);
MR_API int mr_submit_put(struct mr_client *client, const struct mr_cid *cid, const void *data,
                         size_t size, const struct mr_ask *ask, void *user);
/* As mr_submit_put, of a block that lies in a file: it goes from the page cache to the socket and
 * is read nowhere else. `fd` must stay open, and should stay as it is, until the completion: what
 * the file has no more is sent as zeros, which the server finds to be another block. Not for
 * identity CIDs (MR_BAD_CID). Linux only. */
MR_API int mr_submit_put_file(struct mr_client *client, const struct mr_cid *cid, int fd,
                              uint64_t offset, size_t size, const struct mr_ask *ask, void *user);
MR_API int mr_submit_have(struct mr_client *client, const struct mr_cid cids[], size_t count,
                          const struct mr_ask *ask, void *user);
MR_API int mr_submit_delete(struct mr_client *client, const struct mr_cid *cid,
                            const struct mr_ask *ask, void *user);
MR_API int mr_submit_verify(struct mr_client *client, const struct mr_cid *cid,
                            const struct mr_ask *ask, void *user);

struct mr_completion {
    void *user;
    enum mr_kind kind;
    int result;        /* as the blocking call; BUSY and RETRY are not tried again */
    uint32_t retry_ms; /* MR_BUSY, MR_RETRY: when to ask again */
    uint32_t fault;    /* MR_REFUSED: the server's code */
    uint32_t codec;    /* get */
    uint32_t total;    /* get: bytes of the whole block */
    uint32_t offset;   /* get: of the first byte */
    void *data;        /* get, have: the bytes; in the caller's buffer if one was given */
    size_t size;
    bool data_owned;  /* data is the caller's to give to mr_completion_free */
    const char *text; /* result not 0: the sentence, escaped; lives until the next call */
};

/* mr_poll sends what is queued, receives, and writes up to `max` completions. timeout_ms: 0 does
 * not wait, -1 waits until one is there. With nothing unanswered it returns 0 at once. Returns: how
 * many (>= 0), or below 0 a negative errno. A lost connection is not an error here: every
 * unanswered request completes as MR_CLOSED. */
MR_API int mr_poll(struct mr_client *client, struct mr_completion completions[], int max,
                   int timeout_ms);
MR_API void mr_completion_free(struct mr_completion *completion);
/* mr_flush sends what the socket takes now. Returns: 0 or MR_CLOSED. What is left goes with the
 * next mr_poll. */
MR_API int mr_flush(struct mr_client *client);

/* For event loops: wait for mr_events() (POLLIN, and POLLOUT while requests are unsent) on mr_fd(),
 * then call mr_poll with timeout 0. Call mr_poll without waiting while mr_ready() is true. -1 when
 * not connected. */
MR_API int mr_fd(const struct mr_client *client);
MR_API short mr_events(const struct mr_client *client);
MR_API bool mr_ready(const struct mr_client *client);
MR_API uint32_t mr_unanswered(const struct mr_client *client);

#ifdef __cplusplus
}
#endif
