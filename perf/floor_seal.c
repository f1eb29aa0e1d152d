/* SPDX-License-Identifier: MIT */

/* floor_seal (F5) — what sending blocks sealed must cost however it is written: one AEAD and one
 * send for every 64 KiB, and as many to receive.
 *
 *   sender (CPU 0):   seal plaintext -> record, send        receiver (CPU 1): recv, open
 *
 * There is no muxer, no message, no handshake: both ends have the key. The plaintext is one of
 * `--blocks` in turn, so that it comes from where blocks would (beyond the caches when there are
 * enough of them). ChaCha20-Poly1305 as Noise has it; --aes: AES-128-GCM as TLS has it, in records
 * of at most 16 KiB, which is all TLS allows. --nosend leaves the socket out: seal and open on one
 * core. */

#include "perf/kit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TAG 16u

static uint64_t size = 65519, blocks = 64, millis = 1000, aes, nosend, quick;
static uint64_t piece_max;

struct end {
    EVP_CIPHER_CTX *ctx;
    uint64_t nonce;
    bool seals;
    uint8_t *buffer;
    uint64_t cpu_ns;
    int fd;
};

static uint64_t thread_cpu_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static void end_open(struct end *end, bool seals) {
    static const uint8_t key[32] = {1};
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, aes ? "AES-128-GCM" : "ChaCha20-Poly1305", NULL);
    end->ctx = EVP_CIPHER_CTX_new();
    end->seals = seals;
    end->buffer = kit_map(size + 4096);
    if (!cipher || !end->ctx || !EVP_CipherInit_ex2(end->ctx, cipher, key, NULL, seals, NULL)) {
        kit_fail("libcrypto has no such cipher");
    }
}

/* One AEAD: `count` bytes of plaintext, the tag behind the ciphertext. */
static void turn(struct end *end, uint8_t *out, const uint8_t *in, size_t count) {
    uint8_t nonce[12] = {0}, tag[TAG];
    int made = 0;
    memcpy(nonce + 4, &end->nonce, 8);
    end->nonce++;
    bool done = EVP_CipherInit_ex2(end->ctx, NULL, NULL, nonce, -1, NULL) == 1;
    if (!end->seals) {
        memcpy(tag, in + count, TAG);
        done = done && EVP_CIPHER_CTX_ctrl(end->ctx, EVP_CTRL_AEAD_SET_TAG, TAG, tag) == 1;
    }
    done = done && EVP_CipherUpdate(end->ctx, out, &made, in, (int)count) == 1 &&
           EVP_CipherFinal_ex(end->ctx, tag, &made) == 1;
    if (end->seals) {
        done = done && EVP_CIPHER_CTX_ctrl(end->ctx, EVP_CTRL_AEAD_GET_TAG, TAG, out + count) == 1;
    }
    if (!done) {
        kit_fail("a record does not open, or seal");
    }
}

/* A send's worth: one record, or as many as TLS makes of it. Returns: bytes on the wire. */
static size_t turn_all(struct end *end, uint8_t *out, const uint8_t *in) {
    size_t wire = 0, plain = 0;
    while (plain < size) {
        size_t count = size - plain < piece_max ? size - plain : piece_max;
        turn(end, out + (end->seals ? wire : plain), in + (end->seals ? plain : wire), count);
        plain += count;
        wire += count + TAG;
    }
    return wire;
}

static void *receive(void *argument) {
    struct end *end = argument;
    size_t wire = size + TAG * ((size + piece_max - 1) / piece_max), there = 0;
    uint8_t *in = kit_map(wire);
    kit_pin(1);
    for (;;) {
        ssize_t got = recv(end->fd, in + there, wire - there, 0);
        if (got <= 0) {
            end->cpu_ns = thread_cpu_ns();
            return NULL;
        }
        there += (size_t)got;
        if (there == wire) {
            turn_all(end, end->buffer, in);
            there = 0;
        }
    }
}

static void connect_both(int ret_fds[2]) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t bytes = sizeof at;
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0 || bind(listener, (void *)&at, sizeof at) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, (void *)&at, &bytes) != 0) {
        kit_fail("a listener on loopback");
    }
    ret_fds[0] = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(ret_fds[0], (void *)&at, sizeof at) != 0) {
        kit_fail("a connection over loopback");
    }
    ret_fds[1] = accept(listener, NULL, NULL);
    setsockopt(ret_fds[0], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    close(listener);
}

static void send_all(int fd, const uint8_t *bytes, size_t count) {
    while (count > 0) {
        ssize_t sent = send(fd, bytes, count, MSG_NOSIGNAL);
        if (sent <= 0) {
            kit_fail("send");
        }
        bytes += sent;
        count -= (size_t)sent;
    }
}

int main(int argc, char **argv) {
    const struct kit_option options[] = {
        {"--size", &size, "bytes of plaintext of a send"},
        {"--blocks", &blocks, "different plaintexts, in turn"},
        {"--millis", &millis, "how long to run"},
        {"--aes", &aes, "AES-128-GCM in records of 16 KiB"},
        {"--nosend", &nosend, "no socket: seal and open, one core"},
        {"--quick", &quick, "short, to see that it works"},
    };
    kit_options(argc, argv, options, array_count(options));
    millis = quick ? 50 : millis;
    if (size == 0 || size > MiB || blocks == 0 || blocks > 65536) {
        kit_skip("--size to 1 MiB, --blocks to 65536");
    }
    piece_max = aes ? 16384 : size;
    (void)kit_cpus();
    kit_pin(0);
    struct end sender = {0}, receiver = {0};
    end_open(&sender, true);
    end_open(&receiver, false);
    uint8_t *plain = kit_map(size * blocks);
    memset(plain, 'p', size * blocks);
    pthread_t thread;
    int fds[2] = {-1, -1};
    if (!nosend) {
        connect_both(fds);
        receiver.fd = fds[1];
        if (pthread_create(&thread, NULL, receive, &receiver) != 0) {
            kit_fail("a thread");
        }
    }
    uint64_t count = 0, cpu = thread_cpu_ns(), start = kit_ns(), now = start;
    while (now - start < millis * NS_PER_MS) {
        for (uint32_t i = 0; i < 16; i++) {
            size_t wire = turn_all(&sender, sender.buffer, plain + size * (count % blocks));
            if (nosend) {
                turn_all(&receiver, receiver.buffer, sender.buffer);
            } else {
                send_all(fds[0], sender.buffer, wire);
            }
            count++;
        }
        now = kit_ns();
    }
    sender.cpu_ns = thread_cpu_ns() - cpu;
    if (!nosend) {
        close(fds[0]);
        pthread_join(thread, NULL);
    }
    double bytes = (double)(count * size);
    kit_begin("floor_seal");
    kit_text("cipher", aes ? "aes-128-gcm" : "chacha20-poly1305");
    kit_number("size", (double)size, "bytes");
    kit_number("rate", bytes / (double)(now - start) * 1e3, "MB/s");
    kit_number("send_cpu", (double)sender.cpu_ns / bytes, "ns/byte");
    kit_number("receive_cpu", (double)receiver.cpu_ns / bytes, "ns/byte");
    kit_end();
    return 0;
}
