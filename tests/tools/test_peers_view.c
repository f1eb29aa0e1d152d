/* SPDX-License-Identifier: MIT */
#include "tools/millrace/peers_view.h"

#include "tools/millrace/cli.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* admin.c reads flags of the command line, and so wants a table of commands. */
const struct cli_command *const cli_commands[] = {NULL};

static json_t *peer(const char *id, int in, int out, int wants, int debt, int latency) {
    json_t *json =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i}", "id", id,
                  "address", "/ip4/10.0.0.1/tcp/4001", "direction", "in", "agent", "kubo/0.40",
                  "state", "open", "class", "normal", "age_s", 65, "bytes_in", in, "bytes_out", out,
                  "wants", wants, "waiting", 7, "debt", debt, "latency_us", latency);
    cr_assert_not_null(json);
    return json;
}

static json_t *answer(json_t *one, json_t *other, int total) {
    json_t *json = json_pack("{s:[o,o], s:i}", "peers", one, other, "total", total);
    cr_assert_not_null(json);
    return json;
}

/* Out of line: gcc 12 takes the text of an inlined memory stream for a dangling pointer. */
cold_path static char *shown(const json_t *now, const json_t *before, double seconds,
                             enum peers_order order) {
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    peers_view(out, now, before, seconds, order);
    fclose(out);
    return text;
}

/* Whether `first` stands above `second`. */
static bool above(const char *text, const char *first, const char *second) {
    cr_assert(strstr(text, first) != NULL && strstr(text, second) != NULL, "%s", text);
    return strlen(strstr(text, first)) > strlen(strstr(text, second));
}

Test(peers_view, shows_totals_then_rates) {
    json_t *before = answer(peer("A", 0, 1 << 20, 1, 0, 0), peer("B", 0, 0, 2, 0, 0), 2);
    json_t *now = answer(peer("A", 0, 1 << 20, 1, 0, 0), peer("B", 0, 6 << 20, 2, 0, 0), 2);
    char *totals = shown(now, NULL, 0, PEERS_BY_OUT), *rates = shown(now, before, 2, PEERS_BY_OUT);
    cr_assert(strstr(totals, "2 peers\n\naddress") == totals, "%s", totals);
    cr_assert(strstr(totals, "6.0 MiB") != NULL, "%s", totals);
    cr_assert(strstr(totals, "1m05s") != NULL && strstr(totals, "kubo/0.40") != NULL);
    cr_assert(strstr(rates, "out/s") != NULL && strstr(rates, "3.0 MiB") != NULL, "%s", rates);
    cr_assert(strstr(rates, "1.0 MiB") == NULL, "A did nothing lately: %s", rates);
    free(totals);
    free(rates);
    json_decref(before);
    json_decref(now);
}

Test(peers_view, sorts_by_what_is_asked) {
    json_t *now = answer(peer("PeerA", 10, 20, 5, -4096, 300), peer("PeerB", 20, 10, 1, 9, 0), 2);
    static const bool a_first[PEERS_ORDER_COUNT] = {
        [PEERS_BY_OUT] = true,   [PEERS_BY_IN] = false, [PEERS_BY_WANTS] = true,
        [PEERS_BY_DEBT] = false, [PEERS_BY_AGE] = true, [PEERS_BY_LATENCY] = true,
    };
    for (uint32_t i = 0; i < PEERS_ORDER_COUNT; i++) {
        char *text = shown(now, NULL, 0, (enum peers_order)i);
        cr_assert_eq(above(text, "PeerA", "PeerB"), a_first[i], "by %s: %s", peers_order_names[i],
                     text);
        cr_assert(strstr(text, "-4.0 KiB") != NULL, "%s", text);
        free(text);
    }
    json_decref(now);
}

Test(peers_view, a_peer_cannot_write_to_the_terminal) {
    json_t *bad = peer("B", 0, 0, 0, 0, 0);
    json_object_set_new(bad, "agent", json_string("x\x1b[2Jy\xc2\x9bz\n"));
    json_t *now = answer(peer("A", 0, 0, 0, 0, 0), bad, 300);
    char *text = shown(now, NULL, 0, PEERS_BY_OUT);
    cr_assert(strstr(text, "x?[2Jy??z?") != NULL, "%s", text);
    cr_assert(strchr(text, 0x1b) == NULL);
    cr_assert(strstr(text, "2 of 300 peers") == text, "%s", text);
    free(text);
    json_decref(now);
}

Test(peers_view, says_so_when_nobody_is_there) {
    json_t *now = json_pack("{s:[], s:i}", "peers", "total", 0);
    char *text = shown(now, NULL, 0, PEERS_BY_OUT);
    cr_assert_str_eq(text, "0 peers\n\n");
    free(text);
    json_decref(now);
    now = json_object();
    text = shown(now, NULL, 0, PEERS_BY_OUT);
    cr_assert_str_eq(text, "0 peers\n\n");
    free(text);
    json_decref(now);
}
