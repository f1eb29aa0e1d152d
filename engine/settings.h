/* SPDX-License-Identifier: MIT */
#pragma once

/* settings — everything an operator can set, as one plain struct and one table.
 *
 * The table (settings_table) makes the defaults, the configuration file's keys, `millrace config
 * show`, the reference in docs/configuration.md and the man page. A setting that is not
 * `reloadable` is refused by SIGHUP with its name. Command-line flags are short names for rows of
 * this table. */

#include "base/base.h"
#include "base/option.h"
#include "proto/libp2p/multiaddr.h"
#include "rings/job.h"
#include "store/store.h"

#define SETTINGS_LISTENERS_MAX 16 /* of all protocols together */
#define SETTINGS_ANNOUNCE_MAX  16

enum idle_policy { IDLE_SPIN, IDLE_ADAPTIVE, IDLE_SLEEP };

struct settings {
    char store_dir[512];
    uint64_t store_segment_bytes; /* 0: as formatted, or 256 MiB for a new store */
    uint64_t store_memory_bytes;  /* frames */
    uint64_t store_quota_bytes;   /* of DIR/ssd; 0: the file system's, less a reserve */
    char store_ssd[1024];         /* "PATH[:SIZE]" separated by spaces; empty: DIR/ssd */
    char store_hdd[1024];
    uint64_t store_snapshot_interval_ns;
    uint64_t store_move_bytes;    /* a second; 0: no limit */
    uint64_t store_promote_bytes; /* a day; 0: no promotions */
    uint64_t store_scrub_bytes;   /* a second, when asked; 0: no limit */
    uint64_t store_scrub_ssd_ns;  /* cycles */
    uint64_t store_scrub_hdd_ns;
    uint64_t store_block_bytes_max;
    uint32_t store_compress; /* enum store_compress */
    uint32_t store_policy;   /* enum store_policy */

    uint64_t gc_grace_ns;
    uint64_t gc_watermark; /* percent, 0: never by itself */
    uint64_t gc_memory_bytes;

    uint64_t memory_budget_bytes; /* the whole daemon's; 0: none */

    char tlv_listen[1024]; /* "ADDR:PORT[,ceiling=CLASS]" separated by spaces */

    char bitswap_listen[1024];       /* as tlv_listen; empty: nobody may connect */
    char bitswap_announce[1024];     /* multiaddrs separated by spaces; empty: the listeners' */
    uint64_t bitswap_peers_max;      /* all cores together */
    uint64_t bitswap_wants_max;      /* listed by the peers of one net core */
    uint64_t bitswap_peer_wants_max; /* listed by one peer */
    uint64_t bitswap_high_water;     /* connections; above it they are trimmed to low_water */
    uint64_t bitswap_low_water;
    uint64_t bitswap_grace_ns;          /* a connection younger than this is not trimmed */
    uint64_t bitswap_address_peers_max; /* inbound, per address; loopback is exempt */
    uint64_t bitswap_handshake_timeout_ns;
    uint64_t bitswap_idle_timeout_ns; /* 0: never */
    uint64_t bitswap_want_expiry_ns;
    uint64_t bitswap_fetch_window_bytes; /* asked for by one fetch and not stored yet */

    char cores_net[256], cores_work[256], cores_sched[32],
        cores_ctl[32]; /* taskset lists or "auto" */
    bool cores_overcommit;
    uint32_t cores_idle; /* enum idle_policy */

    uint64_t net_connections_max;  /* all cores together */
    uint64_t net_jobs_max;         /* requests in flight per net core */
    uint64_t net_buffers;          /* receive buffers per class and core, 4 KiB each */
    uint64_t net_output_bytes_max; /* unsent replies per connection before it is no longer read */
    uint64_t net_body_bytes_max;   /* upload bodies in memory per net core */
    uint64_t net_credits;          /* requests a connection may have unanswered */
    uint64_t net_zero_copy_bytes;  /* bodies from here on leave without a copy; 0: none does */
    uint64_t net_stall_timeout_ns; /* a peer that takes no reply bytes for so long is closed */
    uint64_t net_idle_timeout_ns;  /* 0: never */
    uint64_t net_backlog;          /* listen(2) */

    uint64_t sched_quantum_ns; /* light work per turn while two classes wait */
    bool sched_shed;           /* CoDel */
    uint64_t drain_timeout_ns; /* SIGTERM: how long to finish what is in flight */

    uint32_t log_level; /* enum log_level */
    uint32_t log_form;  /* enum log_form */
};

extern const struct option settings_table[];
extern const size_t settings_rows;

/* What stands in the place of a key that there once was, for the sentence that refuses it; NULL:
 * there never was one of that name. */
const char *settings_replaced(const char *name);

enum listener_protocol { LISTENER_TLV, LISTENER_BITSWAP, LISTENER_PROTOCOLS };
extern const char *const listener_protocol_names[LISTENER_PROTOCOLS]; /* "tlv", "bitswap" */

/* One listener, out of tlv_listen or bitswap_listen. */
struct listener_address {
    char host[64];
    uint16_t port;
    enum job_class ceiling;
    enum listener_protocol protocol;
    bool loopback;
};
/* All listeners, those of TLV first. Returns: 0 or OPTION_BAD with a sentence in `why` that begins
 * with the row's name, and that name (static) in *ret_name. No ceiling given: critical on loopback,
 * else normal. */
must_check int settings_listeners(const struct settings *settings,
                                  struct listener_address ret_list[SETTINGS_LISTENERS_MAX],
                                  uint32_t *ret_count, const char **ret_name, char *why,
                                  size_t why_bytes);
/* The addresses of bitswap_announce, none of them with a peer's id. Returns: as above. */
must_check int settings_announced(const struct settings *settings,
                                  struct multiaddr ret_list[SETTINGS_ANNOUNCE_MAX],
                                  uint32_t *ret_count, const char **ret_name, char *why,
                                  size_t why_bytes);

/* settings_check looks at what a single row cannot say: listeners, announced addresses, core
 * lists, waters that are the right way round, a segment size that is a power of two. Whether a core
 * is there is the engine's to find out. Returns: 0; OPTION_BAD with the row's name (static) and a
 * sentence. */
must_check int settings_check(const struct settings *settings, const char **ret_name, char *why,
                              size_t why_bytes);

/* The tiers that store.ssd and store.hdd name. Returns: 0, or OPTION_BAD with a sentence that
 * begins with *ret_name. The list points into `tiers`. */
struct settings_tiers {
    struct store_tier list[TIERS_MAX];
    uint32_t count;
    char ssd[sizeof((struct settings *)0)->store_ssd], hdd[sizeof((struct settings *)0)->store_hdd];
};
must_check int settings_tiers(const struct settings *settings, struct settings_tiers *tiers,
                              const char **ret_name, char *why, size_t why_bytes);
