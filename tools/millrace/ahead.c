/* SPDX-License-Identifier: MIT */
#include "tools/millrace/ahead.h"

#include "base/must.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum slot_state { SLOT_FREE, SLOT_ASKED, SLOT_READING, SLOT_READ };

/* asked, taken, given: sequence numbers; a file's slot is its number modulo AHEAD_FILES. */
struct ahead {
    pthread_mutex_t lock; /* of all below but the content of files being read */
    pthread_cond_t more, done;
    pthread_t threads[AHEAD_THREADS];
    uint32_t thread_count;
    uint32_t bytes_max;
    bool stop;
    uint64_t asked, taken, given;
    bool held; /* the caller still looks at the last file given */
    enum slot_state states[AHEAD_FILES];
    struct ahead_file files[AHEAD_FILES];
};

static void read_file(struct ahead_file *file, uint32_t bytes_max) {
    struct stat about; /* a pipe is not waited for, and has no block in it */
    int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    file->error = fd < 0 || fstat(fd, &about) != 0 ? -errno : S_ISREG(about.st_mode) ? 0 : -EINVAL;
    file->bytes = 0;
    while (file->error == 0 && file->bytes <= bytes_max) {
        ssize_t got = read(fd, file->data + file->bytes, bytes_max + 1 - file->bytes);
        if (got <= 0) {
            file->error = got < 0 ? -errno : 0;
            break;
        }
        file->bytes += (uint32_t)got;
    }
    if (file->bytes > bytes_max) {
        file->error = -EFBIG;
    }
    if (fd >= 0) {
        close(fd);
    }
}

static void *reader(void *argument) {
    struct ahead *ahead = argument;
    pthread_mutex_lock(&ahead->lock);
    while (!ahead->stop) {
        if (ahead->taken == ahead->asked) {
            pthread_cond_wait(&ahead->more, &ahead->lock);
            continue;
        }
        uint32_t slot = (uint32_t)(ahead->taken++ % AHEAD_FILES);
        must(ahead->states[slot] == SLOT_ASKED);
        ahead->states[slot] = SLOT_READING;
        pthread_mutex_unlock(&ahead->lock);
        read_file(&ahead->files[slot], ahead->bytes_max);
        pthread_mutex_lock(&ahead->lock);
        ahead->states[slot] = SLOT_READ;
        pthread_cond_signal(&ahead->done);
    }
    pthread_mutex_unlock(&ahead->lock);
    return NULL;
}

struct ahead *ahead_open(uint32_t bytes_max) {
    struct ahead *ahead = calloc(1, sizeof *ahead);
    if (ahead == NULL) {
        return NULL;
    }
    ahead->bytes_max = bytes_max;
    pthread_mutex_init(&ahead->lock, NULL);
    pthread_cond_init(&ahead->more, NULL);
    pthread_cond_init(&ahead->done, NULL);
    bool whole = true;
    for (uint32_t i = 0; i < AHEAD_FILES; i++) {
        ahead->files[i].data = malloc((size_t)bytes_max + 1);
        whole = whole && ahead->files[i].data != NULL;
    }
    while (whole && ahead->thread_count < AHEAD_THREADS &&
           pthread_create(&ahead->threads[ahead->thread_count], NULL, reader, ahead) == 0) {
        ahead->thread_count++;
    }
    if (ahead->thread_count == 0) {
        ahead_close(ahead);
        return NULL;
    }
    return ahead;
}

static uint64_t oldest(const struct ahead *ahead) {
    return ahead->held ? ahead->given - 1 : ahead->given;
}

bool ahead_full(const struct ahead *ahead) {
    return ahead->asked - oldest(ahead) == AHEAD_FILES;
}

bool ahead_waiting(const struct ahead *ahead) {
    return ahead->given < ahead->asked;
}

void ahead_ask(struct ahead *ahead, const char *path, uint64_t tag) {
    must(!ahead_full(ahead));
    must(strlen(path) < AHEAD_PATH_MAX);
    uint32_t slot = (uint32_t)(ahead->asked % AHEAD_FILES);
    memcpy(ahead->files[slot].path, path, strlen(path) + 1);
    ahead->files[slot].tag = tag;
    pthread_mutex_lock(&ahead->lock);
    ahead->states[slot] = SLOT_ASKED;
    ahead->asked++;
    pthread_cond_signal(&ahead->more);
    pthread_mutex_unlock(&ahead->lock);
}

const struct ahead_file *ahead_next(struct ahead *ahead) {
    if (ahead->given == ahead->asked) {
        ahead->held = false;
        return NULL;
    }
    uint32_t slot = (uint32_t)(ahead->given % AHEAD_FILES);
    pthread_mutex_lock(&ahead->lock);
    while (ahead->states[slot] != SLOT_READ) {
        pthread_cond_wait(&ahead->done, &ahead->lock);
    }
    pthread_mutex_unlock(&ahead->lock);
    ahead->given++;
    ahead->held = true;
    return &ahead->files[slot];
}

void ahead_close(struct ahead *ahead) {
    pthread_mutex_lock(&ahead->lock);
    ahead->stop = true;
    pthread_cond_broadcast(&ahead->more);
    pthread_mutex_unlock(&ahead->lock);
    for (uint32_t i = 0; i < ahead->thread_count; i++) {
        pthread_join(ahead->threads[i], NULL);
    }
    for (uint32_t i = 0; i < AHEAD_FILES; i++) {
        free(ahead->files[i].data);
    }
    pthread_mutex_destroy(&ahead->lock);
    pthread_cond_destroy(&ahead->more);
    pthread_cond_destroy(&ahead->done);
    free(ahead);
}
