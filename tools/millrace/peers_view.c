/* SPDX-License-Identifier: MIT */
#include "tools/millrace/peers_view.h"

#include "tools/millrace/admin.h"
#include "tools/millrace/human.h"

#include <stdlib.h>
#include <string.h>

#define CELL_MAX 96
#define ID_SHOWN 8 /* characters of an id that is not shown whole */

const char *const peers_order_names[] = {"out", "in", "wants", "debt", "age", "latency", NULL};

/* The columns from left to right. */
enum column {
    COLUMN_ADDRESS,
    COLUMN_AGENT,
    COLUMN_AGE,
    COLUMN_IN,
    COLUMN_OUT,
    COLUMN_WANTS,
    COLUMN_WAITING,
    COLUMN_DEBT,
    COLUMN_CLASS,
    COLUMN_STATE,
    COLUMN_LATENCY,
    COLUMN_WAY,
    COLUMN_ID,
    COLUMN_COUNT
};
static const struct {
    const char *name;
    bool right;
    uint8_t worth; /* where they do not all fit, those worth least go; ORDERED_WORTH: never */
} columns[COLUMN_COUNT] = {
    [COLUMN_ADDRESS] = {"address", false, 13}, [COLUMN_AGENT] = {"agent", false, 4},
    [COLUMN_AGE] = {"age", true, 6},           [COLUMN_IN] = {"in", true, 10},
    [COLUMN_OUT] = {"out", true, 11},          [COLUMN_WANTS] = {"wants", true, 9},
    [COLUMN_WAITING] = {"waiting", true, 5},   [COLUMN_DEBT] = {"debt", true, 8},
    [COLUMN_CLASS] = {"class", false, 3},      [COLUMN_STATE] = {"state", false, 1},
    [COLUMN_LATENCY] = {"latency", true, 7},   [COLUMN_WAY] = {"way", false, 2},
    [COLUMN_ID] = {"id", false, 12},
};
#define ORDERED_WORTH 14 /* of the column that is sorted by */

static const enum column column_of_order[PEERS_ORDER_COUNT] = {
    [PEERS_BY_OUT] = COLUMN_OUT,   [PEERS_BY_IN] = COLUMN_IN,   [PEERS_BY_WANTS] = COLUMN_WANTS,
    [PEERS_BY_DEBT] = COLUMN_DEBT, [PEERS_BY_AGE] = COLUMN_AGE, [PEERS_BY_LATENCY] = COLUMN_LATENCY,
};

/* One peer as it will be printed. */
struct row {
    const json_t *peer;
    double bytes_in, bytes_out; /* totals, or a second's */
    double key;                 /* greater goes first */
    char cells[COLUMN_COUNT][CELL_MAX];
};

/* Printable, and no longer than its cell. */
static const char *plain(const char *text, char cell[CELL_MAX]) {
    size_t used = 0;
    for (; text[used] != '\0' && used + 1 < CELL_MAX; used++) {
        cell[used] = text[used] >= 0x20 && text[used] < 0x7f ? text[used] : '?';
    }
    cell[used] = '\0';
    return cell;
}

/* Whose row it is: a peer may have more than one connection. */
static const char *name_of(const json_t *peer, char name[2 * CELL_MAX]) {
    snprintf(name, 2 * CELL_MAX, "%s %s", admin_text(peer, "id"), admin_text(peer, "address"));
    return name;
}

/* The peers of an answer by name. Owns: the caller. */
static json_t *by_name(const json_t *answer) {
    char name[2 * CELL_MAX];
    json_t *names = json_object();
    size_t i;
    json_t *peer;
    json_array_foreach(json_object_get(answer, "peers"), i, peer) {
        json_object_set(names, name_of(peer, name), peer);
    }
    return names;
}

/* How much a number grew in a second; all of it for a peer that was not there before. */
static double rate(const json_t *now, const json_t *before, const char *name, double seconds) {
    double grown = admin_number(now, name) - admin_number(before, name);
    return grown > 0 ? grown / seconds : 0;
}

static double key_of(const struct row *row, enum peers_order order) {
    double latency = admin_number(row->peer, "latency_us");
    switch (order) {
    case PEERS_BY_OUT:
        return row->bytes_out;
    case PEERS_BY_IN:
        return row->bytes_in;
    case PEERS_BY_WANTS:
        return admin_number(row->peer, "wants");
    case PEERS_BY_DEBT:
        return admin_number(row->peer, "debt");
    case PEERS_BY_AGE:
        return admin_number(row->peer, "age_s");
    case PEERS_BY_LATENCY:
        return latency > 0 ? -latency : -1e300;
    case PEERS_ORDER_COUNT:
    default:
        return 0;
    }
}

/* Equal rows keep an order of their own, so that a live table does not flicker. */
static int compare(const void *a, const void *b) {
    const struct row *one = a, *other = b;
    if (one->key != other->key) {
        return one->key > other->key ? -1 : 1;
    }
    int order = strcmp(admin_text(one->peer, "address"), admin_text(other->peer, "address"));
    return order != 0 ? order : strcmp(admin_text(one->peer, "id"), admin_text(other->peer, "id"));
}

static const char *signed_bytes(double bytes, char text[HUMAN_MAX]) {
    char whole[HUMAN_MAX];
    human_bytes((uint64_t)(bytes < 0 ? -bytes : bytes), whole);
    snprintf(text, HUMAN_MAX, "%s%.*s", bytes < 0 ? "-" : "", HUMAN_MAX - 2, whole);
    return text;
}

/* HOST:PORT of a multiaddr that is a TCP address and no more; others as they are. */
static const char *short_address(const char *text, char cell[CELL_MAX]) {
    char host[CELL_MAX], port[8], rest;
    int six = strncmp(text, "/ip6/", 5) == 0;
    if (sscanf(text, six ? "/ip6/%80[0-9a-f:.]/tcp/%7[0-9]%c" : "/ip4/%80[0-9.]/tcp/%7[0-9]%c",
               host, port, &rest) != 2) {
        return plain(text, cell);
    }
    snprintf(cell, CELL_MAX, six ? "[%.60s]:%s" : "%.60s:%s", host, port);
    return cell;
}

/* The end of an id: many begin alike. */
static const char *short_id(const char *text, char cell[CELL_MAX]) {
    char whole[CELL_MAX];
    size_t length = strlen(plain(text, whole));
    bool cut = length > ID_SHOWN;
    snprintf(cell, CELL_MAX, "%s%.*s", cut ? ".." : "", ID_SHOWN,
             cut ? whole + length - ID_SHOWN : whole);
    return cell;
}

static void fill_cells(struct row *row, bool full) {
    const json_t *peer = row->peer;
    char text[HUMAN_MAX], agent[CELL_MAX];
    char(*cells)[CELL_MAX] = row->cells;
    const char *address = admin_text(peer, "address"), *id = admin_text(peer, "id");
    double latency = admin_number(peer, "latency_us");
    plain(admin_text(peer, "agent"), agent);
    snprintf(cells[COLUMN_AGENT], CELL_MAX, "%.18s", agent[0] != '\0' ? agent : "-");
    snprintf(cells[COLUMN_AGE], CELL_MAX, "%s", human_time(admin_number(peer, "age_s"), text));
    snprintf(cells[COLUMN_IN], CELL_MAX, "%s", human_bytes((uint64_t)row->bytes_in, text));
    snprintf(cells[COLUMN_OUT], CELL_MAX, "%s", human_bytes((uint64_t)row->bytes_out, text));
    snprintf(cells[COLUMN_WANTS], CELL_MAX, "%s",
             human_count((uint64_t)admin_number(peer, "wants"), text));
    snprintf(cells[COLUMN_WAITING], CELL_MAX, "%s",
             human_count((uint64_t)admin_number(peer, "waiting"), text));
    snprintf(cells[COLUMN_DEBT], CELL_MAX, "%s", signed_bytes(admin_number(peer, "debt"), text));
    snprintf(cells[COLUMN_LATENCY], CELL_MAX, "%s", latency > 0 ? human_us(latency, text) : "-");
    plain(admin_text(peer, "class"), cells[COLUMN_CLASS]);
    plain(admin_text(peer, "state"), cells[COLUMN_STATE]);
    plain(admin_text(peer, "direction"), cells[COLUMN_WAY]);
    cells[COLUMN_WAY][strcspn(cells[COLUMN_WAY], "b")] = '\0'; /* "inbound" */
    if (full) {
        plain(address, cells[COLUMN_ADDRESS]);
        plain(id, cells[COLUMN_ID]);
    } else {
        short_address(address, cells[COLUMN_ADDRESS]);
        short_id(id, cells[COLUMN_ID]);
    }
}

static uint32_t width_of(const uint32_t widths[COLUMN_COUNT]) {
    uint32_t sum = 0;
    for (uint32_t i = 0; i < COLUMN_COUNT; i++) {
        sum += widths[i] > 0 ? widths[i] + (sum > 0) : 0;
    }
    return sum;
}

/* How wide each column is; 0: it is left out. */
static void fit(const struct row rows[], size_t count, const char *const titles[COLUMN_COUNT],
                const struct peers_look *look, uint32_t widths[COLUMN_COUNT]) {
    for (uint32_t i = 0; i < COLUMN_COUNT; i++) {
        widths[i] = (uint32_t)strlen(titles[i]);
        for (size_t at = 0; at < count; at++) {
            uint32_t length = (uint32_t)strlen(rows[at].cells[i]);
            widths[i] = length > widths[i] ? length : widths[i];
        }
    }
    while (look->width > 0 && width_of(widths) > look->width) {
        uint32_t least = COLUMN_COUNT, worth = ORDERED_WORTH;
        for (uint32_t i = 0; i < COLUMN_COUNT; i++) {
            bool ordered = column_of_order[look->order] == i;
            if (widths[i] > 0 && !ordered && columns[i].worth < worth) {
                worth = columns[i].worth;
                least = i;
            }
        }
        if (least == COLUMN_COUNT) {
            return; /* one is left */
        }
        widths[least] = 0;
    }
}

static void print_line(FILE *out, const char *const words[COLUMN_COUNT],
                       const uint32_t widths[COLUMN_COUNT]) {
    char line[COLUMN_COUNT * (CELL_MAX + 1) + 1];
    size_t used = 0;
    for (uint32_t i = 0; i < COLUMN_COUNT; i++) {
        int width = columns[i].right ? (int)widths[i] : -(int)widths[i];
        if (widths[i] > 0) {
            used += (size_t)snprintf(line + used, sizeof line - used, "%s%*s", used > 0 ? " " : "",
                                     width, words[i]);
        }
    }
    while (used > 0 && line[used - 1] == ' ') {
        used--;
    }
    fprintf(out, "%.*s\n", (int)used, line);
}

static void print_table(FILE *out, const struct row rows[], size_t count, bool rates,
                        const struct peers_look *look) {
    uint32_t widths[COLUMN_COUNT];
    const char *words[COLUMN_COUNT];
    for (uint32_t i = 0; i < COLUMN_COUNT; i++) {
        words[i] = columns[i].name;
    }
    words[COLUMN_IN] = rates ? "in/s" : words[COLUMN_IN];
    words[COLUMN_OUT] = rates ? "out/s" : words[COLUMN_OUT];
    fit(rows, count, words, look, widths);
    print_line(out, words, widths);
    for (size_t i = 0; i < count; i++) {
        for (uint32_t j = 0; j < COLUMN_COUNT; j++) {
            words[j] = rows[i].cells[j];
        }
        print_line(out, words, widths);
    }
}

/* How many different peers: one may have more than one connection, and one that has not proven
 * itself has no id yet. */
static size_t peers_among(const json_t *peers) {
    json_t *ids = json_object();
    size_t i, unknown = 0;
    json_t *peer;
    json_array_foreach(peers, i, peer) {
        const char *id = admin_text(peer, "id");
        unknown += id[0] == '\0';
        json_object_set(ids, id, peer);
    }
    size_t count = json_object_size(ids) - (unknown > 0) + unknown;
    json_decref(ids);
    return count;
}

static void print_heading(FILE *out, const json_t *now, const json_t *peers) {
    char shown[HUMAN_MAX], all[HUMAN_MAX];
    size_t count = json_array_size(peers), distinct = peers_among(peers);
    double total = admin_number(now, "total");
    human_count(count, shown);
    if (total > (double)count) {
        fprintf(out, "%s of %s connections\n\n", shown, human_count((uint64_t)total, all));
    } else {
        fprintf(out, "%s %s to %s %s\n\n", shown, count == 1 ? "connection" : "connections",
                human_count(distinct, all), distinct == 1 ? "peer" : "peers");
    }
}

void peers_view(FILE *out, const json_t *now, const json_t *before, double seconds,
                const struct peers_look *look) {
    const json_t *peers = json_object_get(now, "peers");
    size_t count = json_array_size(peers);
    bool rates = before != NULL && seconds > 0;
    if (count == 0) {
        fprintf(out, "no peer is connected\n");
        return;
    }
    print_heading(out, now, peers);
    struct row *rows = calloc(count, sizeof *rows);
    if (rows == NULL) {
        return;
    }
    json_t *names = rates ? by_name(before) : NULL;
    char name[2 * CELL_MAX];
    for (size_t i = 0; i < count; i++) {
        const json_t *peer = json_array_get(peers, i);
        const json_t *then = json_object_get(names, name_of(peer, name));
        rows[i].peer = peer;
        rows[i].bytes_in =
            rates ? rate(peer, then, "bytes_in", seconds) : admin_number(peer, "bytes_in");
        rows[i].bytes_out =
            rates ? rate(peer, then, "bytes_out", seconds) : admin_number(peer, "bytes_out");
        rows[i].key = key_of(&rows[i], look->order);
        fill_cells(&rows[i], look->full);
    }
    qsort(rows, count, sizeof *rows, compare);
    print_table(out, rows, count, rates, look);
    json_decref(names);
    free(rows);
}
