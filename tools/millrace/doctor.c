/* SPDX-License-Identifier: MIT */
#include "tools/millrace/doctor.h"

#include "base/must.h"
#include "base/option.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define say(field, ...) snprintf((field), sizeof(field), __VA_ARGS__)

const char *doctor_level_name(enum doctor_level level) {
    static const char *const names[] = {"ok", "warn", "bad"};
    must((size_t)level < array_count(names));
    return names[level];
}

struct doctor_finding *doctor_add(struct doctor *doctor, const char *what,
                                  enum doctor_level level) {
    must(doctor->count < DOCTOR_FINDINGS_MAX);
    struct doctor_finding *finding = &doctor->findings[doctor->count++];
    *finding = (struct doctor_finding){.level = level, .what = what};
    if (level > doctor->worst) {
        doctor->worst = level;
    }
    return finding;
}

bool doctor_line(const char *path, char *text, size_t text_bytes) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    ssize_t got = read(fd, text, text_bytes - 1);
    close(fd);
    if (got < 0) {
        return false;
    }
    text[got] = '\0';
    text[strcspn(text, "\n")] = '\0';
    return true;
}

static bool number(const char *path, uint64_t *ret_value) {
    char text[64];
    char *end = NULL;
    if (!doctor_line(path, text, sizeof text)) {
        return false;
    }
    *ret_value = strtoull(text, &end, 10);
    return end != text;
}

static void look_files(struct doctor *doctor, const struct settings *settings) {
    struct rlimit limit;
    uint64_t need = settings->net_connections_max + 1024;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return;
    }
    bool low = limit.rlim_max < need;
    enum doctor_level level = limit.rlim_max < 256 ? DOCTOR_BAD : low ? DOCTOR_WARN : DOCTOR_OK;
    struct doctor_finding *finding = doctor_add(doctor, "open files", level);
    say(finding->found, "the hard limit is %llu; net.connections_max asks for %llu",
        (unsigned long long)limit.rlim_max, (unsigned long long)need);
    if (low) {
        say(finding->costs, "connections past the limit are refused");
        say(finding->mend,
            "LimitNOFILE=1048576 in the unit, or 'ulimit -Hn %llu' as root, or lower "
            "net.connections_max",
            (unsigned long long)need);
    }
}

static void look_memlock(struct doctor *doctor) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0) {
        return;
    }
    uint64_t need = ((uint64_t)sysconf(_SC_NPROCESSORS_ONLN) + 1) * MiB; /* measured: under 1 MiB */
    bool low = limit.rlim_max < need && geteuid() != 0;
    struct doctor_finding *finding =
        doctor_add(doctor, "locked memory", low ? DOCTOR_WARN : DOCTOR_OK);
    if (limit.rlim_max == RLIM_INFINITY) {
        say(finding->found, "no limit");
    } else {
        say(finding->found, "the hard limit is %llu KiB",
            (unsigned long long)limit.rlim_max / 1024);
    }
    if (low) {
        say(finding->costs, "kernels that count rings against it (6.18 does, all of a user's "
                            "together) refuse those of so many cores");
        say(finding->mend, "LimitMEMLOCK=infinity in the unit, or 'ulimit -l unlimited' as root");
    }
}

static void look_backlog(struct doctor *doctor, const struct settings *settings) {
    uint64_t value = 0;
    if (number("/proc/sys/net/core/somaxconn", &value)) {
        bool low = value < settings->net_backlog;
        struct doctor_finding *finding =
            doctor_add(doctor, "accept backlog", low ? DOCTOR_WARN : DOCTOR_OK);
        say(finding->found, "net.core.somaxconn is %llu, net.backlog asks for %llu",
            (unsigned long long)value, (unsigned long long)settings->net_backlog);
        if (low) {
            say(finding->costs, "a storm of connections is dropped before it can be accepted");
            say(finding->mend, "sysctl -w net.core.somaxconn=%llu",
                (unsigned long long)settings->net_backlog);
        }
    }
    if (number("/proc/sys/net/ipv4/tcp_max_syn_backlog", &value)) {
        bool low = value < 1024;
        struct doctor_finding *finding =
            doctor_add(doctor, "SYN backlog", low ? DOCTOR_WARN : DOCTOR_OK);
        say(finding->found, "net.ipv4.tcp_max_syn_backlog is %llu", (unsigned long long)value);
        if (low) {
            say(finding->costs, "bursts of new connections wait for a repeated SYN (1 s)");
            say(finding->mend, "sysctl -w net.ipv4.tcp_max_syn_backlog=4096");
        }
    }
    if (number("/proc/sys/net/ipv4/tcp_syncookies", &value)) {
        struct doctor_finding *finding =
            doctor_add(doctor, "SYN cookies", value == 0 ? DOCTOR_WARN : DOCTOR_OK);
        say(finding->found, "%s", value == 0 ? "off" : "on");
        if (value == 0) {
            say(finding->costs, "a SYN flood fills the backlog and locks everybody out");
            say(finding->mend, "sysctl -w net.ipv4.tcp_syncookies=1");
        }
    }
}

static void look_memory(struct doctor *doctor, const struct settings *settings) {
    char line[256];
    uint64_t limit = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE), group = 0;
    if (number("/sys/fs/cgroup/memory.max", &group) && group < limit) {
        limit = group;
    }
    bool low = settings->store_memory_bytes > limit / 4 * 3;
    struct doctor_finding *finding = doctor_add(doctor, "memory", low ? DOCTOR_WARN : DOCTOR_OK);
    say(finding->found, "%llu MiB for this machine, store.memory takes %llu MiB",
        (unsigned long long)(limit / MiB),
        (unsigned long long)(settings->store_memory_bytes / MiB));
    if (low) {
        say(finding->costs, "the kernel may kill the daemon under load");
        say(finding->mend, "store.memory = \"%lluMiB\"", (unsigned long long)(limit / 2 / MiB));
    }
    if (doctor_line("/sys/kernel/mm/transparent_hugepage/enabled", line, sizeof line)) {
        bool never_huge = strstr(line, "[never]") != NULL;
        finding = doctor_add(doctor, "huge pages", never_huge ? DOCTOR_WARN : DOCTOR_OK);
        say(finding->found, "transparent huge pages: %.100s", line);
        if (never_huge) {
            say(finding->costs, "look-ups in a large catalog miss the TLB, some 10-20 %% slower");
            say(finding->mend, "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled");
        }
    }
}

static void look_cores(struct doctor *doctor, const struct settings *settings) {
    char line[256];
    cpu_set_t set;
    int allowed = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;
    bool named = strcmp(settings->cores_net, "auto") != 0;
    bool isolated =
        doctor_line("/sys/devices/system/cpu/isolated", line, sizeof line) && line[0] != '\0';
    bool shared = named && !isolated;
    struct doctor_finding *finding = doctor_add(doctor, "cores", shared ? DOCTOR_WARN : DOCTOR_OK);
    say(finding->found, "%d allowed, isolated: %.100s", allowed, isolated ? line : "none");
    if (shared) {
        say(finding->costs, "other programs run on the named cores and stretch the p99");
        say(finding->mend,
            "boot with isolcpus=%.64s nohz_full=%.64s, or give other services an "
            "AllowedCPUs= without them",
            settings->cores_net, settings->cores_net);
    }
    if (doctor_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", line, sizeof line)) {
        bool slow = strcmp(line, "performance") != 0;
        finding = doctor_add(doctor, "governor", slow ? DOCTOR_WARN : DOCTOR_OK);
        say(finding->found, "%.100s", line);
        if (slow) {
            say(finding->costs, "a core that was idle answers late while its clock rises");
            say(finding->mend, "cpupower frequency-set -g performance");
        }
    } else {
        say(doctor_add(doctor, "governor", DOCTOR_OK)->found, "not set by this machine");
    }
}

static void look_clock(struct doctor *doctor) {
    char line[128];
    if (!doctor_line("/sys/devices/system/clocksource/clocksource0/current_clocksource", line,
                     sizeof line)) {
        return;
    }
    bool slow = strcmp(line, "hpet") == 0 || strcmp(line, "acpi_pm") == 0 ||
                strcmp(line, "jiffies") == 0 || strcmp(line, "refined-jiffies") == 0;
    struct doctor_finding *finding = doctor_add(doctor, "clock", slow ? DOCTOR_WARN : DOCTOR_OK);
    say(finding->found, "clocksource %s", line);
    if (slow) {
        say(finding->costs, "reading the time is a system call of about 1 us instead of 40 ns");
        say(finding->mend, "boot with clocksource=tsc tsc=reliable where the processor has it");
    }
}

void doctor_examine(struct doctor *doctor, const struct settings *settings) {
    memset(doctor, 0, sizeof *doctor);
    doctor_look_uring(doctor);
    look_files(doctor, settings);
    look_memlock(doctor);
    look_backlog(doctor, settings);
    doctor_look_disk(doctor, settings);
    look_memory(doctor, settings);
    look_cores(doctor, settings);
    look_clock(doctor);
}
