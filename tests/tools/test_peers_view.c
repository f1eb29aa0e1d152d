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
cold_path static char *shown_as(const json_t *now, const json_t *before, double seconds,
                                const struct peers_look *look) {
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    peers_view(out, now, before, seconds, look);
    fclose(out);
    return text;
}

static char *shown(const json_t *now, const json_t *before, double seconds,
                   enum peers_order order) {
    return shown_as(now, before, seconds, &(struct peers_look){.order = order});
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
    cr_assert(strstr(totals, "2 connections to 2 peers\n\naddress") == totals, "%s", totals);
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
    cr_assert(strstr(text, "2 of 300 connections") == text, "%s", text);
    free(text);
    json_decref(now);
}

Test(peers_view, says_so_when_nobody_is_there) {
    json_t *now = json_pack("{s:[], s:i}", "peers", "total", 0);
    char *text = shown(now, NULL, 0, PEERS_BY_OUT);
    cr_assert_str_eq(text, "no peer is connected\n");
    free(text);
    json_decref(now);
    now = json_object();
    text = shown(now, NULL, 0, PEERS_BY_OUT);
    cr_assert_str_eq(text, "no peer is connected\n");
    free(text);
    json_decref(now);
}

#define ID "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq"

Test(peers_view, ids_and_addresses_are_short_unless_all_is_asked_for) {
    json_t *now = answer(peer(ID, 0, 0, 1, 0, 0), peer(ID, 0, 0, 1, 0, 0), 2);
    json_t *six = json_array_get(json_object_get(now, "peers"), 1);
    json_object_set_new(six, "address", json_string("/ip6/fd00::1/tcp/4001"));
    char *brief = shown(now, NULL, 0, PEERS_BY_OUT);
    char *whole = shown_as(now, NULL, 0, &(struct peers_look){.full = true});
    cr_assert(strstr(brief, "2 connections to 1 peer\n") == brief, "%s", brief);
    cr_assert(strstr(brief, "\n10.0.0.1:4001 ") != NULL, "%s", brief);
    cr_assert(strstr(brief, "\n[fd00::1]:4001 ") != NULL, "%s", brief);
    cr_assert(strstr(brief, " ..Umo7R3pq\n") != NULL && strstr(brief, ID) == NULL, "%s", brief);
    cr_assert(strstr(whole, ID) != NULL, "%s", whole);
    cr_assert(strstr(whole, "/ip4/10.0.0.1/tcp/4001 ") != NULL, "%s", whole);
    free(brief);
    free(whole);
    json_decref(now);
}

Test(peers_view, what_matters_least_gives_way_and_never_what_is_sorted_by) {
    json_t *now =
        answer(peer(ID, 1 << 30, 1 << 30, 100000, 1 << 30, 99999), peer("B", 0, 0, 0, 0, 0), 2);
    for (uint32_t width = 20; width <= 160; width += 20) {
        for (uint32_t order = 0; order < PEERS_ORDER_COUNT; order++) {
            char *text =
                shown_as(now, NULL, 0,
                         &(struct peers_look){.order = (enum peers_order)order, .width = width});
            char *rest = strstr(text, "\n\n") + 2;
            cr_assert(strstr(rest, peers_order_names[order]) != NULL, "%s", text);
            cr_assert_eq(strstr(rest, "class") != NULL, width >= 100, "%s", text);
            for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
                cr_assert(strlen(line) <= width, "%u: %s", width, line);
            }
            free(text);
        }
    }
    json_decref(now);
}
