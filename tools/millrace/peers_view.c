/* SPDX-License-Identifier: MIT */
#include "tools/millrace/peers_view.h"

#include "tools/millrace/admin.h"
#include "tools/millrace/human.h"

#include <stdlib.h>
#include <string.h>

#define CELL_MAX 96

const char *const peers_order_names[] = {"out", "in", "wants", "debt", "age", "latency", NULL};

/* One peer as it will be printed. */
struct row {
    const json_t *peer;
    double bytes_in, bytes_out; /* totals, or a second's */
    double key;                 /* greater goes first */
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

static void print_row(FILE *out, const struct row *row, int address_width) {
    char address[CELL_MAX], agent[CELL_MAX], class[CELL_MAX], state[CELL_MAX], id[CELL_MAX];
    char way[CELL_MAX], age[HUMAN_MAX], in[HUMAN_MAX], sent[HUMAN_MAX], wants[HUMAN_MAX];
    char waiting[HUMAN_MAX], debt[HUMAN_MAX], latency[HUMAN_MAX] = "-";
    const json_t *peer = row->peer;
    if (admin_number(peer, "latency_us") > 0) {
        human_us(admin_number(peer, "latency_us"), latency);
    }
    plain(admin_text(peer, "agent"), agent);
    fprintf(out, "%-*s %-18.18s %7s %9s %9s %6s %7s %9s %-8s %-9s %8s %-3.3s %s\n", address_width,
            plain(admin_text(peer, "address"), address), agent[0] != '\0' ? agent : "-",
            human_time(admin_number(peer, "age_s"), age), human_bytes((uint64_t)row->bytes_in, in),
            human_bytes((uint64_t)row->bytes_out, sent),
            human_count((uint64_t)admin_number(peer, "wants"), wants),
            human_count((uint64_t)admin_number(peer, "waiting"), waiting),
            signed_bytes(admin_number(peer, "debt"), debt), plain(admin_text(peer, "class"), class),
            plain(admin_text(peer, "state"), state), latency,
            plain(admin_text(peer, "direction"), way), plain(admin_text(peer, "id"), id));
}

void peers_view(FILE *out, const json_t *now, const json_t *before, double seconds,
                enum peers_order order) {
    const json_t *peers = json_object_get(now, "peers");
    size_t count = json_array_size(peers);
    bool rates = before != NULL && seconds > 0;
    double total = admin_number(now, "total");
    char shown[HUMAN_MAX], all[HUMAN_MAX];
    total = total > (double)count ? total : (double)count;
    if (total > (double)count) {
        fprintf(out, "%s of %s peers\n\n", human_count(count, shown),
                human_count((uint64_t)total, all));
    } else {
        fprintf(out, "%s %s\n\n", human_count(count, shown), count == 1 ? "peer" : "peers");
    }
    struct row *rows = count > 0 ? calloc(count, sizeof *rows) : NULL;
    if (rows == NULL) {
        return;
    }
    json_t *names = rates ? by_name(before) : NULL;
    char name[2 * CELL_MAX];
    int width = (int)strlen("address");
    for (size_t i = 0; i < count; i++) {
        const json_t *peer = json_array_get(peers, i);
        const json_t *then = json_object_get(names, name_of(peer, name));
        int length = (int)strnlen(admin_text(peer, "address"), CELL_MAX - 1);
        rows[i] = (struct row){.peer = peer};
        rows[i].bytes_in =
            rates ? rate(peer, then, "bytes_in", seconds) : admin_number(peer, "bytes_in");
        rows[i].bytes_out =
            rates ? rate(peer, then, "bytes_out", seconds) : admin_number(peer, "bytes_out");
        rows[i].key = key_of(&rows[i], order);
        width = length > width ? length : width;
    }
    qsort(rows, count, sizeof *rows, compare);
    fprintf(out, "%-*s %-18s %7s %9s %9s %6s %7s %9s %-8s %-9s %8s %-3s %s\n", width, "address",
            "agent", "age", rates ? "in/s" : "in", rates ? "out/s" : "out", "wants", "waiting",
            "debt", "class", "state", "latency", "way", "id");
    for (size_t i = 0; i < count; i++) {
        print_row(out, &rows[i], width);
    }
    json_decref(names);
    free(rows);
}
