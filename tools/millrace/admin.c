/* SPDX-License-Identifier: MIT */
#include "tools/millrace/admin.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define ADMIN_DEFAULT "./run/admin.sock"
#define ANSWER_MAX    (64 * MiB)
#define REQUEST_MAX   4096 /* as the daemon reads */

/* Returns: a connected socket or -errno. */
static int dial(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = 10};
    if (strlen(path) >= sizeof address.sun_path) {
        return -ENAMETOOLONG;
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

/* Everything until the daemon closes. Returns: 0 or -errno. Owns: the caller frees *ret_text. */
static int read_all(int fd, char **ret_text, size_t *ret_bytes) {
    size_t room = 64 * KiB, used = 0;
    char *text = malloc(room);
    for (;;) {
        if (text == NULL) {
            return -ENOMEM;
        }
        ssize_t got = read(fd, text + used, room - used);
        if (got <= 0) {
            *ret_text = text;
            *ret_bytes = used;
            return got == 0 ? 0 : -errno;
        }
        used += (size_t)got;
        if (used == room && room < ANSWER_MAX) {
            room *= 2;
            char *more = realloc(text, room);
            if (more == NULL) {
                free(text);
            }
            text = more;
        } else if (used == room) {
            *ret_text = text;
            return -EMSGSIZE;
        }
    }
}

cold_path static void say_unreachable(const struct cli *cli, const char *path, int error) {
    if (error == ENOENT || error == ECONNREFUSED) {
        cli_fail(cli, CLI_FAILED,
                 "no daemon answers at %s (%s); start one with 'millrace serve' or tools/up, or "
                 "name its socket with --admin STOREDIR/admin.sock",
                 path, strerror(error));
    } else if (error == EACCES) {
        cli_fail(cli, CLI_FAILED, "%s: only the daemon's user (or root) may ask", path);
    } else if (error == EAGAIN) {
        cli_fail(cli, CLI_FAILED, "%s: the daemon did not answer within 10 s", path);
    } else {
        cli_fail(cli, CLI_FAILED, "%s: %s", path, strerror(error));
    }
}

/* Sends a line and reads everything that comes back. Returns: 0 or -errno. Owns: the caller frees
 * *ret_text, which is NULL if nothing was read. */
static int exchange(const char *path, const char *line, char **ret_text, size_t *ret_bytes) {
    size_t length = strlen(line);
    int fd = dial(path);
    if (fd < 0) {
        return fd;
    }
    int r = send(fd, line, length, MSG_NOSIGNAL) == (ssize_t)length ? 0 : -errno;
    if (r == 0) {
        r = read_all(fd, ret_text, ret_bytes);
    }
    close(fd);
    return r;
}

json_t *admin_ask(const struct cli *cli, const char *command, int *ret_status) {
    return admin_request(cli, json_pack("{s:s}", "command", command), ret_status);
}

json_t *admin_request(const struct cli *cli, json_t *request, int *ret_status) {
    const char *path = cli_value(cli, "admin", cli_environment("MILLRACE_ADMIN", ADMIN_DEFAULT));
    char line[REQUEST_MAX], *text = NULL;
    size_t bytes = 0;
    json_error_t error;
    *ret_status = CLI_FAILED;
    size_t length = json_dumpb(request, line, sizeof line - 2, JSON_COMPACT);
    json_decref(request);
    if (length == 0 || length > sizeof line - 2) {
        cli_fail(cli, CLI_FAILED,
                 length == 0 ? "a name or a path that is not UTF-8 cannot be asked for"
                             : "the request is too long for the admin socket");
        return NULL;
    }
    memcpy(line + length, "\n", 2);
    int r = exchange(path, line, &text, &bytes);
    if (r < 0) {
        free(text);
        say_unreachable(cli, path, -r);
        return NULL;
    }
    json_t *document = json_loadb(text, bytes, 0, &error);
    free(text);
    if (document == NULL) {
        cli_fail(cli, CLI_FAILED, "%s: the answer is not JSON: %s", path, error.text);
        return NULL;
    }
    const char *sentence = json_string_value(json_object_get(document, "error"));
    if (sentence != NULL) {
        cli_fail(cli, CLI_FAILED, "the daemon says: %s", sentence);
        json_decref(document);
        return NULL;
    }
    *ret_status = CLI_DONE;
    return document;
}

void admin_print(const json_t *document) {
    json_dumpf(document, stdout, JSON_INDENT(2));
    printf("\n");
}

const json_t *admin_at(const json_t *object, const char *path) {
    char key[64];
    while (object != NULL && *path != '\0') {
        size_t bytes = strcspn(path, ".");
        snprintf(key, sizeof key, "%.*s", (int)bytes, path);
        object = json_object_get(object, key);
        path += bytes + (path[bytes] == '.');
    }
    return object;
}

double admin_number(const json_t *object, const char *path) {
    return json_number_value(admin_at(object, path));
}

const char *admin_text(const json_t *object, const char *path) {
    const char *text = json_string_value(admin_at(object, path));
    return text != NULL ? text : "";
}
