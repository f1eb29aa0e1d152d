/* SPDX-License-Identifier: MIT */
#include "tools/millrace/private.h"

#include "store/disk.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOOK_MS 50 /* how often we look whether it ended instead of serving */

/* A port that is free now. Returns: it, or -errno. */
static int free_port(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    bool bound = bind(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
                 getsockname(fd, (struct sockaddr *)&address, &bytes) == 0;
    int r = bound ? ntohs(address.sin_port) : -errno;
    close(fd);
    return r;
}

/* Where the daemon says that it is ready; the kernel picks an abstract name. *ret_name: as
 * NOTIFY_SOCKET wants it. Returns: the socket, or -errno. */
static int notify_open(char name[static 64]) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t bytes = sizeof address;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    if (bind(fd, (struct sockaddr *)&address, sizeof address.sun_family) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &bytes) != 0) {
        int r = -errno;
        close(fd);
        return r;
    }
    size_t chars = bytes - offsetof(struct sockaddr_un, sun_path) - 1;
    snprintf(name, 64, "@%.*s", (int)chars, address.sun_path + 1);
    return fd;
}

_Noreturn static void become_daemon(const char *store, const char *to, const char *notify,
                                    pid_t parent) {
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) { /* it is gone already */
        _exit(CLI_FAILED);
    }
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        (void)dup2(null, STDIN_FILENO);
        (void)dup2(null, STDOUT_FILENO);
    }
    (void)setenv("NOTIFY_SOCKET", notify, 1);
    execl("/proc/self/exe", "millrace", "serve", "--store", store, "--tlv", to, "--set",
          "log.level=error", "--set", "bitswap.listen=", (char *)NULL);
    _exit(CLI_FAILED);
}

/* Waits until it says READY or ends. */
static int wait_ready(struct private *private, int notify) {
    char words[4096];
    int status = 0;
    for (;;) {
        struct pollfd waiting = {.fd = notify, .events = POLLIN};
        if (poll(&waiting, 1, LOOK_MS) > 0) {
            ssize_t got = recv(notify, words, sizeof words - 1, MSG_DONTWAIT);
            words[got > 0 ? got : 0] = '\0';
            if (strstr(words, "READY=1") != NULL) {
                return CLI_DONE;
            }
        }
        if (waitpid(private->pid, &status, WNOHANG) == private->pid) {
            private->pid = 0;
            return WIFEXITED(status) && WEXITSTATUS(status) != 0 ? WEXITSTATUS(status) : CLI_FAILED;
        }
    }
}

/* A daemon of our own would end for it, in words that name another command. */
static bool is_served(const char *store) {
    char path[4096];
    uint32_t pid = 0;
    if (snprintf(path, sizeof path, "%s/LOCK", store) >= (int)sizeof path) {
        return false;
    }
    int fd = disk_sync_calls.lock_file(NULL, path, true, &pid);
    if (fd >= 0) {
        (void)disk_sync_calls.close_file(NULL, fd);
    }
    return fd == -EAGAIN;
}

int private_start(struct private *private, const struct cli *cli, const char *store) {
    char name[64];
    *private = (struct private){.pid = 0};
    if (is_served(store)) {
        return cli_fail(cli, CLI_FAILED,
                        "%s: another process has this store open; where it is a daemon, import "
                        "through it with --to ADDR:PORT",
                        store);
    }
    int port = free_port();
    int notify = port > 0 ? notify_open(name) : port;
    if (notify < 0) {
        return cli_fail(cli, CLI_FAILED, "a daemon of its own: %s", strerror(-notify));
    }
    snprintf(private->to, sizeof private->to, "127.0.0.1:%d", port);
    pid_t parent = getpid();
    private->pid = fork();
    if (private->pid == 0) {
        become_daemon(store, private->to, name, parent);
    }
    int status = private->pid > 0
                     ? wait_ready(private, notify)
                     : cli_fail(cli, CLI_FAILED, "a daemon of its own: %s", strerror(errno));
    close(notify);
    return status;
}

int private_end(struct private *private, const struct cli *cli) {
    int status = 0;
    if (private->pid <= 0) {
        return CLI_DONE;
    }
    (void)kill(private->pid, SIGTERM);
    while (waitpid(private->pid, &status, 0) < 0 && errno == EINTR) {
    }
    private->pid = 0;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0
               ? CLI_DONE
               : cli_fail(cli, CLI_FAILED,
                          "the store was not closed in order; its next start "
                          "looks at everything again");
}
