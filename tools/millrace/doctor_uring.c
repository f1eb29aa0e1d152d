/* SPDX-License-Identifier: MIT */
#include "tools/millrace/doctor.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#define say(field, ...) snprintf((field), sizeof(field), __VA_ARGS__)

/* What the engine cannot do without. */
static const struct {
    uint8_t op;
    const char *name;
} required[] = {
    {IORING_OP_READ, "read"},       {IORING_OP_WRITE, "write"},
    {IORING_OP_FSYNC, "fsync"},     {IORING_OP_ACCEPT, "accept"},
    {IORING_OP_RECV, "recv"},       {IORING_OP_SEND, "send"},
    {IORING_OP_SENDMSG, "sendmsg"}, {IORING_OP_ASYNC_CANCEL, "cancel"},
    {IORING_OP_TIMEOUT, "timeout"}, {IORING_OP_MSG_RING, "message ring"},
};

static void look_kernel(struct doctor *doctor) {
    struct utsname name;
    unsigned major = 0, minor = 0;
    if (uname(&name) != 0 || sscanf(name.release, "%u.%u", &major, &minor) != 2) {
        return;
    }
    bool old = major < 6 || (major == 6 && minor < 1);
    struct doctor_finding *finding = doctor_add(doctor, "kernel", old ? DOCTOR_BAD : DOCTOR_OK);
    say(finding->found, "Linux %.64s", name.release);
    if (old) {
        say(finding->costs, "serve does not start: rings with one issuer and deferred work came "
                            "with 6.1");
        say(finding->mend, "install a kernel of 6.1 or later (Debian 12 has it)");
    }
}

/* The kernel said no to a ring: why, and who can allow it. */
static void explain(struct doctor_finding *finding, int error) {
    char line[64] = "", seccomp[16] = "0";
    bool sysctl = doctor_line("/proc/sys/kernel/io_uring_disabled", line, sizeof line);
    FILE *status = fopen("/proc/self/status", "re");
    for (char text[256]; status != NULL && fgets(text, sizeof text, status) != NULL;) {
        if (sscanf(text, "Seccomp: %15s", seccomp) == 1) {
            break;
        }
    }
    if (status != NULL) {
        fclose(status);
    }
    say(finding->costs, "serve does not start: every socket and disk operation goes through it");
    if (error == EPERM && sysctl && line[0] != '0') {
        say(finding->found, "forbidden by sysctl: kernel.io_uring_disabled is %s", line);
        say(finding->mend, "%s",
            line[0] == '1' ? "sysctl -w kernel.io_uring_disabled=0, or put the user's group in "
                             "kernel.io_uring_group, or run as root"
                           : "sysctl -w kernel.io_uring_disabled=0");
    } else if ((error == EPERM || error == ENOSYS) && strcmp(seccomp, "2") == 0) {
        say(finding->found, "forbidden by a seccomp filter of the container or unit (%s)",
            strerror(error));
        say(finding->mend, "docker and podman: --security-opt seccomp=PROFILE that allows "
                           "io_uring_setup, io_uring_enter and io_uring_register (or "
                           "seccomp=unconfined); systemd: SystemCallFilter=@system-service");
    } else if (error == ENOSYS) {
        say(finding->found, "this kernel was built without io_uring");
        say(finding->mend, "use a kernel with CONFIG_IO_URING=y, 6.1 or later");
    } else if (error == EINVAL) {
        say(finding->found, "this kernel's io_uring is too old (single issuer, deferred work)");
        say(finding->mend, "install a kernel of 6.1 or later (Debian 12 has it)");
    } else if (error == ENOMEM) {
        say(finding->found, "no memory for a ring: the limit on locked memory is too low");
        say(finding->mend, "LimitMEMLOCK=infinity in the unit, or 'ulimit -l unlimited' as root");
    } else {
        say(finding->found, "a ring cannot be made: %s", strerror(error));
        say(finding->mend, "look at what the kernel log says (dmesg)");
    }
}

static void probe_ops(struct doctor_finding *finding, struct doctor *doctor, int fd) {
    enum { OPS = 256 };
    struct io_uring_probe *probe =
        calloc(1, sizeof *probe + OPS * sizeof(struct io_uring_probe_op));
    size_t used = 0;
    char missing[128] = "";
    if (probe == NULL ||
        syscall(__NR_io_uring_register, fd, IORING_REGISTER_PROBE, probe, OPS) < 0) {
        free(probe);
        say(finding->found, "usable; its operations could not be listed");
        return;
    }
    for (size_t i = 0; i < array_count(required); i++) {
        bool have = required[i].op <= probe->last_op &&
                    (probe->ops[required[i].op].flags & IO_URING_OP_SUPPORTED) != 0;
        if (!have && used < sizeof missing) {
            used +=
                (size_t)snprintf(missing + used, sizeof missing - used, " %s", required[i].name);
        }
    }
    free(probe);
    if (missing[0] == '\0') {
        say(finding->found, "usable, with every operation that is needed");
        return;
    }
    finding->level = doctor->worst = DOCTOR_BAD;
    say(finding->found, "operations are missing:%s", missing);
    say(finding->costs, "serve does not start");
    say(finding->mend, "install a kernel of 6.1 or later (Debian 12 has it)");
}

void doctor_look_uring(struct doctor *doctor) {
    struct io_uring_params params = {.flags =
                                         IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN};
    look_kernel(doctor);
    int fd = (int)syscall(__NR_io_uring_setup, 8, &params);
    if (fd < 0) {
        int error = errno;
        explain(doctor_add(doctor, "io_uring", DOCTOR_BAD), error);
        return;
    }
    probe_ops(doctor_add(doctor, "io_uring", DOCTOR_OK), doctor, fd);
    close(fd);
}
