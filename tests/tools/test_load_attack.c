/* SPDX-License-Identifier: MIT */
/* Every attack against a toy server and against the sink: it does something, ends in time, and the
 * generator survives what the server answers. tools/load/bitswap/attack.c,
 * tools/load/bitswap/attack_run.c, tools/load/bitswap/giant.c, tools/load/bitswap/sink.c. */

#include "base/hash.h"
#include "tests/tools/toy_swarm.h"
#include "tools/load/bitswap/attack.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEYS 1500u

static struct content content;
static struct toy_swarm toy;

static void set_up(void) {
    cr_assert_eq(hash_open(), 0);
    cr_assert_eq(content_open(&content, KEYS, 1024, 1, true), 0);
    cr_assert(toy_swarm_start(&toy, &content));
}

static void tear_down(void) {
    toy_swarm_stop(&toy);
    content_close(&content);
}

/* Returns: bytes the attack sent. */
static uint64_t attack(const char *name, uint32_t port, uint64_t *ret_connections) {
    char command[400], text[600] = "";
    snprintf(command, sizeof command,
             "%s bitswap --to 127.0.0.1:%u --keys %u --hostile %s --conns 7 --seconds 0.4 2>&1",
             LOAD_PROGRAM, port, KEYS, name);
    FILE *out = popen(command, "r");
    cr_assert_gt(fread(text, 1, sizeof text - 1, out), 0);
    cr_assert_eq(pclose(out), 0, "%s: %s", name, text);
    const char *sent = strstr(text, "\"sent_bytes\": ");
    const char *connections = strstr(text, "\"connections\": ");
    cr_assert(sent != NULL && connections != NULL, "%s", text);
    *ret_connections = strtoull(connections + 15, NULL, 10);
    return strtoull(sent + 14, NULL, 10);
}

static void honest(uint32_t port) {
    char command[300];
    snprintf(
        command, sizeof command,
        "%s bitswap --to 127.0.0.1:%u --keys %u --conns 2 --warmup 0.1 --seconds 0.2 --drain 10 "
        ">/dev/null",
        LOAD_PROGRAM, port, KEYS);
    cr_assert_eq(system(command), 0);
}

Test(attack, each_has_a_name_of_its_own_and_a_line_that_says_what_it_does) {
    uint32_t count = 0;
    for (const struct attack *it; (it = attack_at(count)) != NULL; count++) {
        cr_assert_eq(attack_find(it->name), it);
        cr_assert_gt(strlen(it->about), 10);
        cr_assert_gt(it->conns, 0);
    }
    cr_assert_geq(count, 16);
    cr_assert_null(attack_find("kindness"));
}

Test(attack, each_reaches_a_server_and_leaves_the_generator_whole, .init = set_up,
     .fini = tear_down, .timeout = 120) {
    for (uint32_t i = 0; attack_at(i) != NULL; i++) {
        uint64_t connections = 0;
        uint32_t before = toy.accepted;
        uint64_t sent = attack(attack_at(i)->name, toy.port, &connections);
        cr_assert_geq(connections, 7, "%s", attack_at(i)->name);
        cr_assert_gt(toy.accepted, before, "%s", attack_at(i)->name);
        bool half = strcmp(attack_at(i)->name, "half-handshake") == 0;
        cr_assert_gt(sent, half ? 100 : 1000, "%s", attack_at(i)->name);
    }
    honest(toy.port);
}

Test(attack, the_sink_takes_them_and_ends_with_its_input, .timeout = 120) {
    char line[300];
    char folder[] = "/tmp/sink-XXXXXX", fifo[40];
    cr_assert_not_null(mkdtemp(folder));
    snprintf(fifo, sizeof fifo, "%s/in", folder);
    cr_assert_eq(mkfifo(fifo, 0600), 0);
    snprintf(line, sizeof line, "exec %s sink <%s", LOAD_PROGRAM, fifo);
    FILE *sink = popen(line, "r");
    int input = open(fifo, O_WRONLY | O_CLOEXEC); /* the attackers below must not hold it open */
    cr_assert_not_null(fgets(line, sizeof line, sink));
    uint32_t port = (uint32_t)strtoul(strchr(line, ':') + 1, NULL, 10);
    static const char *const names[] = {"want-flood", "stream-flood", "half-handshake", "vanish"};
    for (size_t i = 0; i < array_count(names); i++) {
        uint64_t connections;
        cr_assert_gt(attack(names[i], port, &connections), 100);
        cr_assert_geq(connections, 7);
    }
    close(input);
    cr_assert_eq(pclose(sink), 0);
    unlink(fifo);
    rmdir(folder);
}
