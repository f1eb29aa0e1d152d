/* SPDX-License-Identifier: MIT */
#include "tools/millrace/dial.h"

#include "base/bits.h"
#include "base/clock.h"
#include "base/option.h"
#include "proto/libp2p/multiaddr.h"
#include "tools/millrace/admin.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

/* Between two questions: short at first, since a connection on a LAN takes a few milliseconds. */
#define POLL_FIRST_MS 5u
#define POLL_MOST_MS  250u

static const char *const dialing[] = {"dialing", "handshake", NULL};

int dial_duration(const struct cli *cli, const char *flag, const char *fallback, uint64_t *ret_ns) {
    const char *text = cli_value(cli, flag, fallback);
    if (option_duration(text, ret_ns) != 0 || *ret_ns > 3600 * NS_PER_S) {
        return cli_misuse(cli, "--%s %s: it takes a time up to 1h, as 500ms or 10s", flag, text);
    }
    return CLI_DONE;
}

int dial_target(const struct cli *cli, const char *text, struct dial_target *ret_target) {
    bool prefixed = strncmp(text, "/p2p/", 5) == 0 && strchr(text + 5, '/') == NULL;
    struct dial_target target = {.multiaddr = text[0] == '/' && !prefixed ? text : NULL};
    struct peer_id id;
    if (target.multiaddr == NULL) {
        if (peer_id_parse(prefixed ? text + 5 : text, &id) != 0) {
            return cli_misuse(cli,
                              "'%s' is neither a peer id (12D3Koo...) nor an address "
                              "(/ip4/192.0.2.7/tcp/4001)",
                              text);
        }
        peer_id_format(&id, target.id);
    } else {
        struct multiaddr address;
        char why[160] = "";
        if (multiaddr_parse(text, &address, why, sizeof why) != 0) {
            return cli_misuse(cli, "'%s': %s", text, why);
        }
        if (address.peer.count > 0) {
            peer_id_format(&address.peer, target.id);
        }
    }
    *ret_target = target;
    return CLI_DONE;
}

static bool is_one_of(const char *word, const char *const words[]) {
    while (*words != NULL && strcmp(*words, word) != 0) {
        words++;
    }
    return *words != NULL;
}

json_t *dial_wait(const struct cli *cli, const char *command, const char *key, json_int_t number,
                  const char *const pending[], uint64_t deadline_ns, int *ret_status) {
    for (uint32_t wait_ms = POLL_FIRST_MS;; wait_ms = min_u32(2 * wait_ms, POLL_MOST_MS)) {
        json_t *request = json_pack("{s:s, s:I}", "command", command, key, number);
        json_t *answer = admin_request(cli, request, ret_status);
        if (answer == NULL || !is_one_of(admin_text(answer, "state"), pending) ||
            clock_ns() >= deadline_ns) {
            return answer;
        }
        json_decref(answer);
        poll(NULL, 0, (int)wait_ms);
    }
}

int dial_connect(const struct cli *cli, struct dial_target *target) {
    uint64_t timeout_ns = 0;
    int status = dial_duration(cli, "timeout", "15s", &timeout_ns);
    if (status != CLI_DONE) {
        return status;
    }
    uint64_t deadline_ns = clock_ns() + timeout_ns;
    const char *whom = target->multiaddr != NULL ? target->multiaddr : target->id;
    json_t *request = json_pack("{s:s, s:s}", "command", "connect", "to", whom);
    json_t *answer = admin_request(cli, request, &status);
    if (answer == NULL) {
        return status;
    }
    json_int_t number = json_integer_value(json_object_get(answer, "dial"));
    json_decref(answer);
    answer = dial_wait(cli, "dial", "dial", number, dialing, deadline_ns, &status);
    if (answer == NULL) {
        return status;
    }
    const char *state = admin_text(answer, "state");
    if (strcmp(state, "connected") == 0) {
        snprintf(target->id, sizeof target->id, "%s", admin_text(answer, "id"));
    } else if (is_one_of(state, dialing)) {
        char time[32];
        option_duration_format(timeout_ns, time, sizeof time);
        status = cli_fail(cli, CLI_FAILED, "%s: not connected within %s (still %s)", whom, time,
                          strcmp(state, "dialing") == 0 ? "dialing" : "shaking hands");
    } else {
        const char *why = admin_text(answer, "why");
        status = cli_fail(cli, CLI_FAILED, "%s: %s", whom,
                          why[0] != '\0' ? why : "the connection failed");
    }
    json_decref(answer);
    return status;
}
