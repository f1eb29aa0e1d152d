/* SPDX-License-Identifier: MIT */
#include "engine/admin.h"

#include "base/err.h"
#include "engine/answer.h"
#include "engine/control.h"
#include "engine/engine_private.h"
#include "engine/stat.h"
#include "engine/swarm/front.h"
#include "engine/swarm/self.h"
#include "engine/tasks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ADMIN_LINE_MAX  4096
#define ADMIN_CLIENT_NS (5 * NS_PER_S)

struct admin_client {
    int fd; /* -1: free */
    uint64_t opened_ns;
    char line[ADMIN_LINE_MAX];
    size_t used;
    char *reply; /* being written; owned */
    size_t reply_bytes, written;
};

struct admin {
    struct engine *engine;
    int fd;
    char path[108];
    struct admin_client clients[ADMIN_CLIENTS_MAX];
};

/* One of a daemon that ended without a word. Anything else is somebody's, and refuses the bind. */
static void unlink_socket(const char *path) {
    struct stat about;
    if (lstat(path, &about) == 0 && S_ISSOCK(about.st_mode)) {
        (void)unlink(path);
    }
}

int admin_open(struct engine *engine, const char *path, struct admin **ret_admin) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        return err_raise(-ENAMETOOLONG);
    }
    struct admin *admin = calloc(1, sizeof *admin);
    if (!admin) {
        return err_raise(-ENOMEM);
    }
    admin->engine = engine;
    for (size_t i = 0; i < ADMIN_CLIENTS_MAX; i++) {
        admin->clients[i].fd = -1;
    }
    memcpy(admin->path, path, strlen(path));
    memcpy(address.sun_path, path, strlen(path));
    admin->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int r = admin->fd < 0 ? -errno : 0;
    if (r == 0) {
        unlink_socket(path);
        mode_t old = umask(0177);
        r = bind(admin->fd, (struct sockaddr *)&address, sizeof address) != 0 ? -errno : 0;
        (void)umask(old);
    }
    if (r == 0 && listen(admin->fd, ADMIN_CLIENTS_MAX) != 0) {
        r = -errno;
    }
    if (r < 0) {
        if (admin->fd >= 0) {
            close(admin->fd);
        }
        free(admin);
        return err_raise(r);
    }
    *ret_admin = admin;
    return 0;
}

static void drop_client(struct admin_client *client) {
    if (client->fd >= 0) {
        close(client->fd);
        free(client->reply);
        *client = (struct admin_client){.fd = -1};
    }
}

void admin_close(struct admin *admin) {
    if (admin) {
        for (size_t i = 0; i < ADMIN_CLIENTS_MAX; i++) {
            drop_client(&admin->clients[i]);
        }
        close(admin->fd);
        unlink_socket(admin->path);
        free(admin);
    }
}

uint32_t admin_poll_fds(struct admin *admin, struct pollfd fds[ADMIN_CLIENTS_MAX + 1]) {
    uint32_t count = 0;
    fds[count++] = (struct pollfd){.fd = admin->fd, .events = POLLIN};
    for (size_t i = 0; i < ADMIN_CLIENTS_MAX; i++) {
        const struct admin_client *client = &admin->clients[i];
        if (client->fd >= 0) {
            fds[count++] =
                (struct pollfd){.fd = client->fd, .events = client->reply ? POLLOUT : POLLIN};
        }
    }
    return count;
}

static json_t *answer(struct engine *engine, const char *line) {
    json_t *request = json_loads(line, 0, NULL);
    const char *command = json_string_value(json_object_get(request, "command"));
    json_t *reply;
    char why[512] = "";
    if (!command) {
        reply = answer_error("a request is one line like {\"command\":\"stat\"}");
    } else if (strcmp(command, "stat") == 0) {
        reply = stat_json(engine);
    } else if (strcmp(command, "topo") == 0) {
        reply = stat_topology(engine);
    } else if (strcmp(command, "why") == 0) {
        reply = stat_why(engine);
    } else if (strcmp(command, "id") == 0) {
        reply = self_json(engine);
    } else if (strcmp(command, "reload") == 0) {
        reply = control_reload(engine, why, sizeof why) == 0 ? json_pack("{s:b}", "reloaded", 1)
                                                             : answer_error("%s", why);
    } else if (strcmp(command, "drain") == 0) {
        control_drain(engine);
        reply = json_pack("{s:b}", "draining", 1);
    } else {
        reply = front_answer(engine, command, request);
        reply = reply ? reply : tasks_answer(engine, command, request);
    }
    if (!reply) {
        reply = answer_error("no such command; there are stat, topo, why, id, peers, connect, "
                             "disconnect, ping, fetch, pin, unpin, pins, gc, "
                             "backup, task, tasks, cancel, reload, drain");
    }
    json_decref(request);
    return reply;
}

static void read_client(struct admin *admin, struct admin_client *client) {
    ssize_t n =
        read(client->fd, client->line + client->used, sizeof client->line - 1 - client->used);
    if (n <= 0) {
        if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
            drop_client(client);
        }
        return;
    }
    client->used += (size_t)n;
    client->line[client->used] = '\0';
    bool whole = strchr(client->line, '\n') != NULL;
    if (!whole && client->used < sizeof client->line - 1) {
        return;
    }
    json_t *reply =
        whole ? answer(admin->engine, client->line) : answer_error("the request line is too long");
    client->reply = reply ? json_dumps(reply, JSON_COMPACT) : NULL;
    client->reply_bytes = client->reply ? strlen(client->reply) : 0;
    json_decref(reply);
    if (!client->reply) {
        drop_client(client);
    }
}

static void write_client(struct admin_client *client) {
    ssize_t n = send(client->fd, client->reply + client->written,
                     client->reply_bytes - client->written, MSG_NOSIGNAL);
    if (n > 0) {
        client->written += (size_t)n;
    }
    bool failed = n < 0 && errno != EAGAIN && errno != EINTR;
    if (failed || client->written == client->reply_bytes) {
        drop_client(client);
    }
}

static void accept_client(struct admin *admin, uint64_t now_ns) {
    int fd = accept4(admin->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        return; /* out of descriptors or gone again: the client sees its own timeout */
    }
    for (size_t i = 0; i < ADMIN_CLIENTS_MAX; i++) {
        if (admin->clients[i].fd < 0) {
            admin->clients[i].fd = fd;
            admin->clients[i].opened_ns = now_ns;
            return;
        }
    }
    close(fd);
}

static struct admin_client *client_of(struct admin *admin, int fd) {
    for (size_t i = 0; i < ADMIN_CLIENTS_MAX; i++) {
        if (admin->clients[i].fd == fd) {
            return &admin->clients[i];
        }
    }
    return NULL;
}

void admin_serve(struct admin *admin, const struct pollfd fds[], uint32_t count, uint64_t now_ns) {
    for (uint32_t i = 0; i < count; i++) {
        if (fds[i].revents == 0) {
            continue;
        }
        struct admin_client *client = client_of(admin, fds[i].fd);
        if (fds[i].fd == admin->fd) {
            accept_client(admin, now_ns);
        } else if (client && !client->reply) {
            read_client(admin, client);
        } else if (client) {
            write_client(client);
        }
    }
    for (size_t i = 0; i < ADMIN_CLIENTS_MAX; i++) {
        if (admin->clients[i].fd >= 0 && now_ns - admin->clients[i].opened_ns > ADMIN_CLIENT_NS) {
            drop_client(&admin->clients[i]);
        }
    }
}
