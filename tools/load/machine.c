/* SPDX-License-Identifier: MIT */
#include "tools/load/machine.h"

#include "base/err.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>

int machine_files(uint32_t conns, char *why, size_t why_bytes) {
    struct rlimit limit;
    uint64_t need = (uint64_t)conns + 64;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= need) {
        return 0;
    }
    if (limit.rlim_max < need) {
        struct rlimit higher = {need, need}; /* root may */
        if (setrlimit(RLIMIT_NOFILE, &higher) == 0) {
            return 0;
        }
        snprintf(why, why_bytes,
                 "%u connections need %" PRIu64 " open files, and only %" PRIu64
                 " are allowed: raise the hard limit (ulimit -Hn)",
                 conns, need, (uint64_t)limit.rlim_max);
        return err_raise(-EMFILE);
    }
    limit.rlim_cur = need;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? 0 : err_raise(-errno);
}

double machine_cpu(int pid) {
    char path[300];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = pid > 0 ? opendir(path) : NULL;
    if (tasks == NULL) {
        return -1;
    }
    double seconds = 0;
    for (struct dirent *task; (task = readdir(tasks)) != NULL;) {
        if (task->d_name[0] == '.') {
            continue;
        }
        snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", pid, task->d_name);
        FILE *file = fopen(path, "r");
        uint64_t ns = 0;
        if (file != NULL && fscanf(file, "%" SCNu64, &ns) == 1) {
            seconds += (double)ns / (double)NS_PER_S;
        }
        if (file != NULL) {
            fclose(file);
        }
    }
    closedir(tasks);
    return seconds;
}
