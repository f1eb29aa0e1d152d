/* SPDX-License-Identifier: MIT */
#include "engine/swarm/identity.h"

#include "base/err.h"
#include "base/multibase.h"
#include "base/must.h"
#include "proto/libp2p/secure.h"
#include "proto/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES    600
#define PUBLIC_BYTES  32u
#define DATA_BYTES    (SECURE_SEED_BYTES + PUBLIC_BYTES)
#define MESSAGE_BYTES (2u + 2u + DATA_BYTES) /* two fields, their heads */
#define TEXT_MAX      256u                   /* of the file; its own length is 110 */
#define TEXT_BASE     'b'
#define TEMPORARY     IDENTITY_FILE ".new"

/* Fields of the PrivateKey message, and the kind of key that is ours. */
enum { FIELD_TYPE = 1, FIELD_DATA = 2, TYPE_ED25519 = 1 };

struct excuse {
    const char *path;
    char *why;
    size_t why_bytes;
};

__attribute__((format(printf, 3, 4))) static int refuse(const struct excuse *excuse, int outcome,
                                                        const char *format, ...) {
    int used = snprintf(excuse->why, excuse->why_bytes, "%s: ", excuse->path);
    if (used > 0 && (size_t)used < excuse->why_bytes) {
        va_list list;
        va_start(list, format);
        (void)vsnprintf(excuse->why + used, excuse->why_bytes - (size_t)used, format, list);
        va_end(list);
    }
    return outcome;
}

static int fail(const struct excuse *excuse, const char *what, int r) {
    return refuse(excuse, err_pass(r), "%s: %s", what, err_text(r));
}

static int damaged(const struct excuse *excuse, const char *what) {
    return refuse(excuse, IDENTITY_DAMAGED,
                  "%s; put back a copy of it, or take it away to become another peer", what);
}

/* The last 32 bytes of our serialized PublicKey are the key. */
static const uint8_t *public_half(const struct secure_self *self) {
    size_t bytes;
    const uint8_t *key = secure_self_key(self, &bytes);
    must(bytes >= PUBLIC_BYTES);
    return key + bytes - PUBLIC_BYTES;
}

/* ---- reading -------------------------------------------------------------------------------- */

/* Is it a file that nobody else can have read or written? */
static int examine(const struct excuse *excuse, int fd) {
    struct stat stat;
    if (fstat(fd, &stat) != 0) {
        return fail(excuse, "cannot be examined", err_raise(-errno));
    }
    if (!S_ISREG(stat.st_mode)) {
        return damaged(excuse, "not a regular file");
    }
    if (stat.st_uid != geteuid()) {
        return refuse(
            excuse, IDENTITY_EXPOSED,
            "the key of this node belongs to user %u, and the daemon runs as %u; chown it",
            stat.st_uid, geteuid());
    }
    if ((stat.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        return refuse(excuse, IDENTITY_EXPOSED,
                      "others may read the key of this node (mode %04o): chmod 600 it, and if "
                      "somebody may have read it, take it away to become another peer",
                      stat.st_mode & 07777);
    }
    return 0;
}

/* The file's text without the blanks at its end. */
static int read_text(const struct excuse *excuse, int fd, char text[TEXT_MAX]) {
    size_t used = 0;
    for (ssize_t n = 1; n != 0 && used < TEXT_MAX - 1;) {
        n = read(fd, text + used, TEXT_MAX - 1 - used);
        if (n < 0 && errno != EINTR) {
            return fail(excuse, "cannot be read", err_raise(-errno));
        }
        used += n > 0 ? (size_t)n : 0;
    }
    while (used > 0 && strchr(" \t\r\n", text[used - 1]) != NULL) {
        used--;
    }
    text[used] = '\0';
    return 0;
}

/* Finds seed and public half in the message. */
static int find_data(const struct excuse *excuse, const uint8_t *message, size_t bytes,
                     const uint8_t **ret_data) {
    const uint8_t *at = message, *end = message + bytes;
    struct wire_field type, data;
    if (wire_next(&at, end, &type) != 0 || type.number != FIELD_TYPE || type.type != WIRE_VARINT ||
        wire_next(&at, end, &data) != 0 || data.number != FIELD_DATA || data.type != WIRE_BYTES ||
        at != end) {
        return damaged(excuse, "not a private key of libp2p");
    }
    if (type.value != TYPE_ED25519) {
        return damaged(excuse, "the key of a peer, but not an Ed25519 key");
    }
    if (data.count != DATA_BYTES) {
        return damaged(excuse, "an Ed25519 key of a wrong length");
    }
    *ret_data = data.bytes;
    return 0;
}

static int open_message(const struct excuse *excuse, const uint8_t *message, size_t bytes,
                        struct secure_self **ret_self) {
    const uint8_t *data = NULL;
    struct secure_self *self;
    int r = find_data(excuse, message, bytes, &data);
    if (r != 0) {
        return r;
    }
    r = secure_self_open(data, &self);
    if (r < 0) {
        return fail(excuse, "the key cannot be used", r);
    }
    if (memcmp(data + SECURE_SEED_BYTES, public_half(self), PUBLIC_BYTES) != 0) {
        secure_self_close(self);
        return damaged(excuse, "the two halves of the key do not belong together");
    }
    *ret_self = self;
    return 0;
}

static int open_file(const struct excuse *excuse, int fd, struct secure_self **ret_self) {
    char text[TEXT_MAX];
    uint8_t message[TEXT_MAX];
    size_t bytes;
    int r = examine(excuse, fd);
    if (r == 0) {
        r = read_text(excuse, fd, text);
    }
    if (r != 0) {
        return r;
    }
    if (text[0] == TEXT_BASE && multibase_read(TEXT_BASE, text + 1, strlen(text) - 1, message,
                                               sizeof message, &bytes) == 0) {
        r = open_message(excuse, message, bytes, ret_self);
    } else {
        r = damaged(excuse, text[0] != '\0' ? "not a key in base32" : "empty");
    }
    explicit_bzero(text, sizeof text);
    explicit_bzero(message, sizeof message);
    return r;
}

/* ---- making --------------------------------------------------------------------------------- */

/* The line that the file holds. Returns: its bytes. */
static size_t write_text(const uint8_t seed[SECURE_SEED_BYTES], const struct secure_self *self,
                         char text[TEXT_MAX]) {
    uint8_t message[MESSAGE_BYTES], data[DATA_BYTES];
    memcpy(data, seed, SECURE_SEED_BYTES);
    memcpy(data + SECURE_SEED_BYTES, public_half(self), PUBLIC_BYTES);
    size_t bytes = wire_put_varint(message, FIELD_TYPE, TYPE_ED25519);
    bytes += wire_put_bytes(message + bytes, FIELD_DATA, data, sizeof data);
    must(bytes == sizeof message);
    text[0] = TEXT_BASE;
    size_t chars = 1 + multibase_write(TEXT_BASE, message, bytes, text + 1, TEXT_MAX - 2);
    text[chars++] = '\n';
    explicit_bzero(message, sizeof message);
    explicit_bzero(data, sizeof data);
    return chars;
}

static int write_all(int fd, const char *text, size_t chars) {
    for (size_t at = 0; at < chars;) {
        ssize_t n = write(fd, text + at, chars - at);
        if (n < 0 && errno != EINTR) {
            return err_raise(-errno);
        }
        at += n > 0 ? (size_t)n : 0;
    }
    return fsync(fd) == 0 ? 0 : err_raise(-errno);
}

/* Writes it under another name, then moves it: the name never stands for half a key. */
static int store_text(int dir_fd, const char *text, size_t chars) {
    (void)unlinkat(dir_fd, TEMPORARY, 0); /* of a start that ended in the middle of this */
    int fd = openat(dir_fd, TEMPORARY, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return err_raise(-errno);
    }
    int r = fchmod(fd, 0600) == 0 ? 0 : err_raise(-errno); /* whatever the umask takes away */
    if (r == 0) {
        r = write_all(fd, text, chars);
    }
    if (close(fd) != 0 && r == 0) {
        r = err_raise(-errno);
    }
    if (r == 0 && (renameat(dir_fd, TEMPORARY, dir_fd, IDENTITY_FILE) != 0 || fsync(dir_fd) != 0)) {
        r = err_raise(-errno);
    }
    if (r < 0) {
        (void)unlinkat(dir_fd, TEMPORARY, 0);
    }
    return r;
}

static int make(const struct excuse *excuse, int dir_fd, struct secure_self **ret_self) {
    uint8_t seed[SECURE_SEED_BYTES];
    char text[TEXT_MAX];
    struct secure_self *self = NULL;
    int r = secure_seed_make(seed);
    if (r == 0) {
        r = secure_self_open(seed, &self);
    }
    if (r == 0) {
        r = store_text(dir_fd, text, write_text(seed, self, text));
    }
    explicit_bzero(seed, sizeof seed);
    explicit_bzero(text, sizeof text);
    if (r < 0) {
        secure_self_close(self);
        return fail(excuse, "the key of this node cannot be made", r);
    }
    *ret_self = self;
    return 0;
}

int identity_open(const char *dir, struct secure_self **ret_self, bool *ret_made, char *why,
                  size_t why_bytes) {
    char path[PATH_BYTES];
    struct excuse excuse = {.path = path, .why = why, .why_bytes = why_bytes};
    (void)snprintf(path, sizeof path, "%s/%s", dir, IDENTITY_FILE);
    int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0) {
        return fail(&excuse, "its directory cannot be opened", err_raise(-errno));
    }
    /* Not blocking: what stands there may be a pipe. */
    int fd = openat(dir_fd, IDENTITY_FILE, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    bool absent = fd < 0 && errno == ENOENT;
    int r;
    if (fd >= 0) {
        r = open_file(&excuse, fd, ret_self);
        close(fd);
    } else if (absent) {
        r = make(&excuse, dir_fd, ret_self);
    } else if (errno == ELOOP) {
        r = damaged(&excuse, "a symbolic link, not the key itself");
    } else {
        r = fail(&excuse, "cannot be opened", err_raise(-errno));
    }
    close(dir_fd);
    if (r == 0) {
        *ret_made = absent;
    }
    return r;
}
