/* SPDX-License-Identifier: MIT */
#include "engine/settings.h"

#include "base/bits.h"
#include "base/log.h"
#include "base/option.h"
#include "store/store.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const compress_words[] = {"off", "hdd", NULL};
static const char *const policy_words[] = {"s3fifo", "lru", "lrfu", NULL};
static const char *const idle_words[] = {"spin", "adaptive", "sleep", NULL};
static const char *const level_words[] = {"debug", "info", "warn", "error", NULL};
static const char *const form_words[] = {"auto", "text", "json", "journal", NULL};
const char *const listener_protocol_names[] = {"tlv", "bitswap"};
static_assert(LISTENER_TLV == 0 && LISTENER_BITSWAP == 1, "listener_protocol_names");
static_assert(STORE_COMPRESS_OFF == 0 && STORE_COMPRESS_HDD == 1, "compress_words has their order");
static_assert(STORE_POLICY_S3FIFO == 0 && STORE_POLICY_LRFU == 2, "policy_words has their order");
static_assert(IDLE_SPIN == 0 && IDLE_ADAPTIVE == 1 && IDLE_SLEEP == 2, "idle_words");
static_assert(LOG_LEVEL_DEBUG == 0 && LOG_LEVEL_ERROR == 3, "level_words");
static_assert(LOG_FORM_AUTO == 0 && LOG_FORM_JOURNAL == 3, "form_words");

#define AT(field)   offsetof(struct settings, field)
#define ROOM(field) sizeof(((struct settings *)0)->field)

/* Rows are short forms of struct option: what varies by kind stands in the macro's arguments. */
#define TEXT(name_, field_, fallback_, reload_, unit_, help_)                            \
    {                                                                                    \
        .name = name_, .kind = OPTION_TEXT, .offset = AT(field_), .fallback = fallback_, \
        .max = ROOM(field_), .reloadable = reload_, .unit = unit_, .help = help_         \
    }
#define NUMBER(kind_, name_, field_, fallback_, min_, max_, reload_, unit_, help_)              \
    {                                                                                           \
        .name = name_, .kind = kind_, .offset = AT(field_), .fallback = fallback_, .min = min_, \
        .max = max_, .reloadable = reload_, .unit = unit_, .help = help_                        \
    }
#define CHOICE(name_, field_, fallback_, words_, reload_, help_)                           \
    {                                                                                      \
        .name = name_, .kind = OPTION_CHOICE, .offset = AT(field_), .fallback = fallback_, \
        .choices = words_, .reloadable = reload_, .unit = "word", .help = help_            \
    }
#define SWITCH(name_, field_, fallback_, reload_, help_)                                 \
    {                                                                                    \
        .name = name_, .kind = OPTION_BOOL, .offset = AT(field_), .fallback = fallback_, \
        .reloadable = reload_, .unit = "on/off", .help = help_                           \
    }
#define SIZE(...)     NUMBER(OPTION_SIZE, __VA_ARGS__)
#define DURATION(...) NUMBER(OPTION_DURATION, __VA_ARGS__)
#define COUNT(...)    NUMBER(OPTION_COUNT, __VA_ARGS__)

#define FOREVER_NS (UINT64_C(365) * 24 * 3600 * NS_PER_S)

/* clang-format off */
const struct option settings_table[] = {
    TEXT("store.dir", store_dir, "./run", false, "path",
         "Directory of the store; it also holds the node's identity.key, millrace.pid and "
         "admin.sock."),
    SIZE("store.segment_size", store_segment_bytes, "0", 0, STORE_SEGMENT_BYTES_MAX, false,
         "bytes",
         "Size of a segment file, a power of two from 4MiB; decided when the store is made, 0 "
         "takes what it was made with (for a new one 256MiB, less for small disks and tiers)."),
    SIZE("store.memory", store_memory_bytes, "256MiB", MiB, 64 * 1024 * GiB, false, "bytes",
         "Memory for blocks that are read often, all cores together."),
    SIZE("store.quota", store_quota_bytes, "0", 0, UINT64_C(1) << 60, false, "bytes",
         "Most bytes the store may take on disk in its own directory; 0 is the file system's free "
         "space less a reserve. Other tiers have a size of their own."),
    TEXT("store.ssd", store_ssd, "", false, "paths",
         "Fast tiers: directories with what they may take, PATH[:SIZE], separated by spaces; a "
         "relative path lies in the store's directory. Empty: DIR/ssd, or what the store had when "
         "it was last open and store.hdd is empty too."),
    TEXT("store.hdd", store_hdd, "", false, "paths",
         "Slow tiers, written as store.ssd: blocks go there when the fast ones are full."),
    DURATION("store.snapshot_interval", store_snapshot_interval_ns, "10m", 0, FOREVER_NS, false,
             "time",
             "Between snapshots of the index, from which a start after a crash is quick; one is "
             "always written at a clean stop. 0: only then."),
    SIZE("store.move_rate", store_move_bytes, "128MiB", 0, 64 * GiB, false, "bytes",
         "Most bytes a second that compaction and moves between tiers write; 0: no limit."),
    SIZE("store.promote_budget", store_promote_bytes, "64GiB", 0, UINT64_C(1) << 50, false,
         "bytes",
         "Most bytes a day that go from slow tiers to fast ones because they are read again and "
         "again; 0: none do."),
    DURATION("store.scrub_cycle_ssd", store_scrub_ssd_ns, "14d", 0, FOREVER_NS, false, "time",
             "In so long every block on fast tiers is read again and verified, a little at a time; "
             "0: only when asked. A daemon that is down does not count."),
    DURATION("store.scrub_cycle_hdd", store_scrub_hdd_ns, "28d", 0, FOREVER_NS, false, "time",
             "The same for slow tiers."),
    SIZE("store.scrub_rate", store_scrub_bytes, "256MiB", 0, 64 * GiB, false, "bytes",
         "Most bytes a second that a scrub reads when it is asked for; 0: no limit."),
    SIZE("store.block_max", store_block_bytes_max, "2MiB", 4 * KiB, STORE_BLOCK_HARD_MAX, false,
         "bytes", "Largest block that is accepted; other IPFS nodes take at most 2MiB."),
    CHOICE("store.compress", store_compress, "hdd", compress_words, false,
           "Where blocks are stored compressed (zstd) if that saves an eighth: hdd compresses what "
           "moves to a slow tier, off nothing; what is compressed is read either way."),
    CHOICE("store.policy", store_policy, "s3fifo", policy_words, false,
           "Which blocks leave memory first: s3fifo keeps what is used again and resists scans, "
           "lru is plain least recently used, lrfu counts frequency that fades too."),

    DURATION("gc.grace", gc_grace_ns, "1h", 0, FOREVER_NS, false, "time",
             "Blocks younger than this are not collected, so that an upload has time to be pinned; "
             "blocks of before the last start count as no older than the start."),
    COUNT("gc.watermark", gc_watermark, "0", 0, 99, false, "percent",
          "Collect garbage when more than this part of store.quota (or of the disk) is used, at "
          "most every ten minutes; 0: only when asked."),
    SIZE("gc.memory", gc_memory_bytes, "128MiB", MiB, 64 * GiB, false, "bytes",
         "Most memory for the set of blocks that pins reach, while a collection or a pin is under "
         "way; about 11 to 22 bytes a block."),

    SIZE("memory.budget", memory_budget_bytes, "0", 0, 64 * 1024 * GiB, false, "bytes",
         "Most memory the daemon may take as a whole, from 48MiB: buffers are sized by it at start "
         "and blocks in memory give way to the index; 0: only what the other settings say."),

    TEXT("tlv.listen", tlv_listen, "127.0.0.1:7411", false, "addresses",
         "Where the binary protocol listens: ADDR:PORT[,ceiling=CLASS], several separated by "
         "spaces or given as a list; a ceiling is critical, high, normal or low (loopback: "
         "critical, else normal)."),

    TEXT("bitswap.listen", bitswap_listen, "", false, "addresses",
         "Where IPFS peers may connect (libp2p over TCP), written as tlv.listen; empty: nowhere."),
    TEXT("bitswap.announce", bitswap_announce, "", false, "multiaddrs",
         "Addresses that peers are told instead of the listeners', such as "
         "/dns4/node.example/tcp/4001, separated by spaces or given as a list."),
    COUNT("bitswap.peers_max", bitswap_peers_max, "16384", 1, 1000000, false, "count",
          "Most connected peers, all cores together; more are refused and counted."),
    COUNT("bitswap.wants_max", bitswap_wants_max, "262144", 1024, 1 << 24, false, "count",
          "Most wants that the peers of one net core may have listed; more are dropped and "
          "counted."),
    COUNT("bitswap.peer_wants_max", bitswap_peer_wants_max, "1024", 16, 65536, false, "count",
          "Most wants that one peer may have listed; more are dropped and counted."),
    COUNT("bitswap.high_water", bitswap_high_water, "10240", 1, 1000000, true, "count",
          "Above so many connections, all cores together, those that are used least are closed."),
    COUNT("bitswap.low_water", bitswap_low_water, "8192", 0, 1000000, true, "count",
          "So many connections are left when bitswap.high_water was passed."),
    DURATION("bitswap.grace", bitswap_grace_ns, "20s", 0, FOREVER_NS, true, "time",
             "A connection younger than this is not closed to come down to bitswap.low_water."),
    COUNT("bitswap.address_peers_max", bitswap_address_peers_max, "64", 1, 1000000, false, "count",
          "Most connections that one address may have opened; loopback may open any number."),
    DURATION("bitswap.handshake_timeout", bitswap_handshake_timeout_ns, "10s", 100 * NS_PER_MS,
             FOREVER_NS, true, "time",
             "A peer that has not agreed on encryption and multiplexing by then is closed."),
    DURATION("bitswap.idle_timeout", bitswap_idle_timeout_ns, "10m", 0, FOREVER_NS, true, "time",
             "A connection without a want or a block for so long is closed; 0s: never."),
    DURATION("bitswap.want_expiry", bitswap_want_expiry_ns, "10m", NS_PER_S, FOREVER_NS, true,
             "time", "A want that could not be met for so long is forgotten, cancelled or not."),
    SIZE("bitswap.fetch_window", bitswap_fetch_window_bytes, "64MiB", 4 * MiB, 64 * GiB, false,
         "bytes", "Bytes a fetch may have asked of peers and not stored yet."),

    TEXT("cores.net", cores_net, "auto", false, "core list",
         "Cores that serve connections, as taskset takes them (0-3,8 or 0-10/2), or auto: every "
         "core of the allowed set."),
    TEXT("cores.work", cores_work, "auto", false, "core list",
         "Cores that do disk reads, writes and verification; auto: the same cores as cores.net."),
    TEXT("cores.sched", cores_sched, "auto", false, "core",
         "Core of the scheduler; auto: the last one, by itself from four cores on."),
    TEXT("cores.ctl", cores_ctl, "auto", false, "core",
         "Core of the control thread; auto: beside the scheduler."),
    SWITCH("cores.overcommit", cores_overcommit, "off", false,
           "Allow a core to be named twice, or to lie outside the allowed set."),
    CHOICE("cores.idle", cores_idle, "adaptive", idle_words, false,
           "What an idle core does: spin burns it for the least latency, sleep parks at once, "
           "adaptive spins no longer than parking would cost and only where the core is ours."),

    COUNT("net.connections_max", net_connections_max, "16384", 1, 4000000, false, "count",
          "Most connections, all cores together; more are refused and counted."),
    COUNT("net.jobs_max", net_jobs_max, "8192", 64, 1 << 20, false, "count",
          "Most requests in flight on one net core; above it connections are read later."),
    COUNT("net.buffers", net_buffers, "1024", 16, 32768, false, "count",
          "Receive buffers of 4KiB per class and net core."),
    SIZE("net.output_max", net_output_bytes_max, "4MiB", 64 * KiB, GiB, false, "bytes",
         "Unsent replies of one connection before it is no longer read."),
    SIZE("net.body_max", net_body_bytes_max, "64MiB", 8 * MiB, 64 * GiB, false, "bytes",
         "Upload bodies held in memory on one net core."),
    COUNT("net.credits", net_credits, "1024", 1, 65536, false, "count",
          "Requests a connection may have unanswered; it learns the number at HELLO."),
    SIZE("net.zero_copy_min", net_zero_copy_bytes, "32KiB", 0, GiB, true, "bytes",
         "Bodies from this size on are sent to other hosts without a copy (SEND_ZC), as long as "
         "the kernel does not copy them all the same; 0 is off."),
    DURATION("net.stall_timeout", net_stall_timeout_ns, "30s", 100 * NS_PER_MS, FOREVER_NS, true,
             "time",
             "A peer that takes no byte of its replies for so long is closed, within twice that "
             "time; an upload has as long, and a second more for every 64 KiB of it."),
    DURATION("net.idle_timeout", net_idle_timeout_ns, "0s", 0, FOREVER_NS, true, "time",
             "A connection without a request for so long is closed; 0s: never."),
    COUNT("net.backlog", net_backlog, "4096", 1, 1 << 20, false, "count",
          "Connections the kernel may hold before they are accepted; net.core.somaxconn bounds "
          "it."),

    DURATION("sched.quantum", sched_quantum_ns, "150us", 10 * NS_PER_US, 100 * NS_PER_MS, true,
             "time", "Work a core does in one turn while two classes wait on it."),
    SWITCH("sched.shed", sched_shed, "on", false,
           "Refuse the oldest requests of a class early (BUSY) when its queue stands too long."),
    DURATION("drain.timeout", drain_timeout_ns, "10s", 0, 3600 * NS_PER_S, true, "time",
             "After SIGTERM: how long requests in flight may take to finish."),

    CHOICE("log.level", log_level, "info", level_words, true,
           "Least severe event that is logged."),
    CHOICE("log.form", log_form, "auto", form_words, true,
           "How events are written: auto is text on a terminal, journal under systemd, and JSON "
           "lines elsewhere."),
};
/* clang-format on */
const size_t settings_rows = array_count(settings_table);

static const struct {
    const char *name, *instead;
} replaced[] = {
    {"store.scrub_cycle", "store.scrub_cycle_ssd and store.scrub_cycle_hdd"},
};

const char *settings_replaced(const char *name) {
    for (size_t i = 0; i < array_count(replaced); i++) {
        if (strcmp(replaced[i].name, name) == 0) {
            return replaced[i].instead;
        }
    }
    return NULL;
}

cold_path static int refuse(char *why, size_t why_bytes, const char *item, const char *problem) {
    snprintf(why, why_bytes, "'%s' is not a listener: %s", item, problem);
    return OPTION_BAD;
}

/* "ceiling=CLASS" behind the address. */
static bool ceiling_read(const char *text, enum job_class *ret_class) {
    if (strncmp(text, "ceiling=", 8) != 0) {
        return false;
    }
    for (uint32_t class = 0; class < CLASS_COUNT; class ++) {
        if (strcmp(text + 8, job_class_names[class]) == 0) {
            *ret_class = (enum job_class) class;
            return true;
        }
    }
    return false;
}

/* Puts the host in canonical form and says whether only this machine can reach it. */
static bool host_read(const char *host, struct listener_address *address) {
    struct in_addr four;
    struct in6_addr six;
    if (strcmp(host, "localhost") == 0) {
        host = "127.0.0.1";
    } else if (strcmp(host, "*") == 0) {
        host = "0.0.0.0";
    }
    if (inet_pton(AF_INET, host, &four) == 1) {
        address->loopback = (ntohl(four.s_addr) >> 24) == 127;
        return inet_ntop(AF_INET, &four, address->host, sizeof address->host) != NULL;
    }
    if (inet_pton(AF_INET6, host, &six) == 1) {
        address->loopback = IN6_IS_ADDR_LOOPBACK(&six);
        return inet_ntop(AF_INET6, &six, address->host, sizeof address->host) != NULL;
    }
    return false;
}

static bool port_read(const char *text, uint16_t *ret_port) {
    char *end = NULL;
    if (text[0] < '0' || text[0] > '9') {
        return false;
    }
    unsigned long port = strtoul(text, &end, 10);
    if (*end != '\0' || port > UINT16_MAX) {
        return false;
    }
    *ret_port = (uint16_t)port;
    return true;
}

/* One item, which this function may cut up: ADDR:PORT[,ceiling=CLASS]. */
static int listener_read(char *item, struct listener_address *ret_address, char *why,
                         size_t why_bytes) {
    struct listener_address address = {.ceiling = CLASS_COUNT};
    char whole[192];
    snprintf(whole, sizeof whole, "%s", item);
    char *comma = strchr(item, ',');
    if (comma != NULL) {
        *comma = '\0';
        if (!ceiling_read(comma + 1, &address.ceiling)) {
            return refuse(why, why_bytes, whole,
                          "after the address only ,ceiling=critical|high|normal|low may follow");
        }
    }
    char *colon = strrchr(item, ':');
    if (colon == NULL || !port_read(colon + 1, &address.port)) {
        return refuse(why, why_bytes, whole, "it must end in :PORT (try 127.0.0.1:7411)");
    }
    *colon = '\0';
    char *host = item;
    size_t length = strlen(host);
    bool bracketed = length >= 2 && host[0] == '[' && host[length - 1] == ']';
    if (bracketed) {
        host[length - 1] = '\0';
        host++;
    }
    if (bracketed != (strchr(host, ':') != NULL)) {
        return refuse(why, why_bytes, whole, "an IPv6 address stands in brackets: [::1]:7411");
    }
    if (!host_read(host, &address)) {
        return refuse(why, why_bytes, whole,
                      "the address must be a number (127.0.0.1, 0.0.0.0, [::1]) or localhost");
    }
    if (address.ceiling == CLASS_COUNT) {
        address.ceiling = address.loopback ? CLASS_CRITICAL : CLASS_NORMAL;
    }
    *ret_address = address;
    return 0;
}

/* The next word of a list, cutting it up; NULL at its end. */
static char *next_word(char **rest) {
    char *word;
    do {
        word = strsep(rest, " \t");
    } while (word != NULL && *word == '\0');
    return word;
}

/* Adds the listeners of one row to `list`. */
static int listeners_add(const char *text, enum listener_protocol protocol,
                         struct listener_address list[SETTINGS_LISTENERS_MAX], uint32_t *count,
                         char *why, size_t why_bytes) {
    char copy[ROOM(tlv_listen)];
    static_assert(ROOM(bitswap_listen) == ROOM(tlv_listen), "one copy serves both");
    if (strlen(text) >= sizeof copy) {
        snprintf(why, why_bytes, "the list of listeners is longer than %zu bytes", sizeof copy - 1);
        return OPTION_BAD;
    }
    memcpy(copy, text, strlen(text) + 1);
    char *rest = copy;
    for (char *item; (item = next_word(&rest)) != NULL;) {
        if (*count == SETTINGS_LISTENERS_MAX) {
            snprintf(why, why_bytes, "more than %d listeners", SETTINGS_LISTENERS_MAX);
            return OPTION_BAD;
        }
        int r = listener_read(item, &list[*count], why, why_bytes);
        if (r != 0) {
            return r;
        }
        list[(*count)++].protocol = protocol;
    }
    return 0;
}

int settings_listeners(const struct settings *settings,
                       struct listener_address ret_list[SETTINGS_LISTENERS_MAX],
                       uint32_t *ret_count, const char **ret_name, char *why, size_t why_bytes) {
    const struct {
        const char *name, *text;
        enum listener_protocol protocol;
    } rows[] = {
        {"tlv.listen", settings->tlv_listen, LISTENER_TLV},
        {"bitswap.listen", settings->bitswap_listen, LISTENER_BITSWAP},
    };
    static_assert(array_count(rows) == LISTENER_PROTOCOLS, "a row for each");
    struct listener_address list[SETTINGS_LISTENERS_MAX];
    char detail[384];
    uint32_t count = 0;
    for (size_t i = 0; i < array_count(rows); i++) {
        if (listeners_add(rows[i].text, rows[i].protocol, list, &count, detail, sizeof detail) !=
            0) {
            *ret_name = rows[i].name;
            snprintf(why, why_bytes, "%s: %s", rows[i].name, detail);
            return OPTION_BAD;
        }
    }
    if (count == 0) {
        *ret_name = "tlv.listen";
        snprintf(why, why_bytes, "tlv.listen: no listener is named: nobody could connect");
        return OPTION_BAD;
    }
    memcpy(ret_list, list, count * sizeof list[0]);
    *ret_count = count;
    return 0;
}

int settings_announced(const struct settings *settings,
                       struct multiaddr ret_list[SETTINGS_ANNOUNCE_MAX], uint32_t *ret_count,
                       const char **ret_name, char *why, size_t why_bytes) {
    char copy[ROOM(bitswap_announce)], detail[256] = "";
    struct multiaddr list[SETTINGS_ANNOUNCE_MAX];
    uint32_t count = 0;
    *ret_name = "bitswap.announce";
    memcpy(copy, settings->bitswap_announce, sizeof copy);
    char *rest = copy;
    for (char *word; (word = next_word(&rest)) != NULL; count++) {
        if (count == SETTINGS_ANNOUNCE_MAX) {
            snprintf(why, why_bytes, "%s: more than %d addresses", *ret_name,
                     SETTINGS_ANNOUNCE_MAX);
            return OPTION_BAD;
        }
        int r = multiaddr_parse(word, &list[count], detail, sizeof detail);
        if (r == 0 && list[count].peer.count > 0) {
            snprintf(detail, sizeof detail, "the node's own id is added, leave /p2p/... away");
            r = MULTIADDR_BAD;
        }
        if (r != 0) {
            snprintf(why, why_bytes, "%s: '%.80s': %s", *ret_name, word, detail);
            return OPTION_BAD;
        }
    }
    memcpy(ret_list, list, count * sizeof list[0]);
    *ret_count = count;
    return 0;
}

/* One of the core lists: well formed, and of one core where `single`. */
static int cores_check(const char *name, const char *text, bool single, char *why,
                       size_t why_bytes) {
    uint64_t map[CORES_MAX / 64];
    bool automatic = false;
    uint32_t cores = 0;
    if (option_cores(text, map, &automatic) != 0) {
        snprintf(why, why_bytes,
                 "%s: '%s' is not a core list (try auto, 0-3,8 or 0-10/2; no core twice)", name,
                 text);
        return OPTION_BAD;
    }
    for (size_t i = 0; !automatic && i < array_count(map); i++) {
        cores += (uint32_t)__builtin_popcountll(map[i]);
    }
    if (!automatic && (single ? cores != 1 : cores == 0)) {
        snprintf(why, why_bytes, "%s: '%s' names %u cores, it takes %s", name, text, cores,
                 single ? "one" : "at least one");
        return OPTION_BAD;
    }
    return 0;
}

/* One list of paths. */
static int tiers_add(struct settings_tiers *tiers, const char *name, char *text,
                     enum tier_kind kind, char *why, size_t why_bytes) {
    char *rest = NULL;
    for (char *word = strtok_r(text, " \t", &rest); word; word = strtok_r(NULL, " \t", &rest)) {
        uint64_t bytes = 0;
        char *colon = strrchr(word, ':');
        if (colon && (colon == word || option_size(colon + 1, &bytes) != 0 || bytes == 0)) {
            snprintf(why, why_bytes, "%s: %.100s: write PATH or PATH:SIZE, as tier:200GiB", name,
                     word);
            return OPTION_BAD;
        }
        if (colon) {
            *colon = '\0';
        }
        if (tiers->count == TIERS_MAX) {
            snprintf(why, why_bytes, "%s: there may be %u tiers, of both kinds together", name,
                     TIERS_MAX);
            return OPTION_BAD;
        }
        tiers->list[tiers->count++] = (struct store_tier){word, bytes, kind};
    }
    return 0;
}

int settings_tiers(const struct settings *settings, struct settings_tiers *tiers,
                   const char **ret_name, char *why, size_t why_bytes) {
    tiers->count = 0;
    memcpy(tiers->ssd, settings->store_ssd, sizeof tiers->ssd);
    memcpy(tiers->hdd, settings->store_hdd, sizeof tiers->hdd);
    *ret_name = "store.ssd";
    int r = tiers_add(tiers, *ret_name, tiers->ssd, TIER_SSD, why, why_bytes);
    if (r == 0) {
        *ret_name = "store.hdd";
        r = tiers_add(tiers, *ret_name, tiers->hdd, TIER_HDD, why, why_bytes);
    }
    return r;
}

int settings_check(const struct settings *settings, const char **ret_name, char *why,
                   size_t why_bytes) {
    struct listener_address list[SETTINGS_LISTENERS_MAX];
    struct multiaddr announced[SETTINGS_ANNOUNCE_MAX];
    uint32_t count = 0;
    const struct {
        const char *name, *text;
        bool single;
    } cores[] = {
        {"cores.net", settings->cores_net, false},
        {"cores.work", settings->cores_work, false},
        {"cores.sched", settings->cores_sched, true},
        {"cores.ctl", settings->cores_ctl, true},
    };
    uint64_t segment = settings->store_segment_bytes;
    if (settings->store_dir[0] == '\0') {
        *ret_name = "store.dir";
        snprintf(why, why_bytes, "store.dir: no directory is named");
        return OPTION_BAD;
    }
    if (segment != 0 && (!is_power_of_two(segment) || segment < STORE_SEGMENT_BYTES_MIN)) {
        *ret_name = "store.segment_size";
        snprintf(why, why_bytes,
                 "store.segment_size: it must be a power of two from 4MiB to 256MiB");
        return OPTION_BAD;
    }
    if (settings->memory_budget_bytes != 0 && settings->memory_budget_bytes < 48 * MiB) {
        *ret_name = "memory.budget";
        snprintf(why, why_bytes, "memory.budget: at least 48MiB, or 0 for none");
        return OPTION_BAD;
    }
    struct settings_tiers tiers;
    if (settings_tiers(settings, &tiers, ret_name, why, why_bytes) != 0) {
        return OPTION_BAD;
    }
    if (settings_listeners(settings, list, &count, ret_name, why, why_bytes) != 0 ||
        settings_announced(settings, announced, &count, ret_name, why, why_bytes) != 0) {
        return OPTION_BAD;
    }
    if (settings->bitswap_low_water > settings->bitswap_high_water) {
        *ret_name = "bitswap.low_water";
        snprintf(why, why_bytes, "bitswap.low_water: it must not lie above bitswap.high_water");
        return OPTION_BAD;
    }
    for (size_t i = 0; i < array_count(cores); i++) {
        if (cores_check(cores[i].name, cores[i].text, cores[i].single, why, why_bytes) != 0) {
            *ret_name = cores[i].name;
            return OPTION_BAD;
        }
    }
    return 0;
}
