/* SPDX-License-Identifier: MIT */
#include "engine/engine.h"

#include "base/bits.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/must.h"
#include "engine/admin.h"
#include "engine/control.h"
#include "engine/crypto_heap.h"
#include "engine/dispatch.h"
#include "engine/engine_private.h"
#include "engine/heap.h"
#include "engine/helper.h"
#include "engine/listen.h"
#include "engine/net.h"
#include "engine/park.h"
#include "engine/store_links.h"
#include "engine/swarm/client.h"
#include "engine/swarm/desk.h"
#include "engine/swarm/identity.h"
#include "engine/swarm/self.h"
#include "engine/tasks.h"
#include "engine/work.h"
#include "proto/libp2p/secure.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int complain(char *why, size_t why_bytes, int band, const char *format, ...) {
    va_list list;
    va_start(list, format);
    (void)vsnprintf(why, why_bytes, format, list);
    va_end(list);
    return band;
}

/* ---- cores and their memory ----------------------------------------------------------------- */

/* What one core's region must hold, by the tiles it hosts. */
static size_t core_need(const struct engine *engine, const struct layout_core *place) {
    const struct settings *settings = &engine->settings;
    size_t sum = 0;
    if (place->net) {
        sum = mem_need(sum, sizeof(struct net), CACHE_PAIR);
        sum = mem_need(sum, net_footprint(settings, &engine->sizes, engine->layout.net_count),
                       CACHE_PAIR);
    }
    if (place->sched) {
        sum = mem_need(sum, sizeof(struct dispatch), CACHE_PAIR);
        sum = mem_need(
            sum, dispatch_footprint(settings, engine->layout.net_count, engine->layout.work_count),
            CACHE_PAIR);
    }
    if (place->work) {
        sum = mem_need(sum, sizeof(struct work), CACHE_PAIR);
        sum = mem_need(sum, work_footprint(), CACHE_PAIR);
    }
    return sum;
}

/* Address space of a core's share of the frames twice over: jemalloc keeps freed extents of other
 * sizes. */
static size_t frames_need(const struct engine *engine) {
    return engine->settings.store_memory_bytes / engine->layout.work_count * 2 + 64 * MiB;
}

/* And of its arena: small frames, upload bodies, what fetches hold. */
static size_t arena_need(const struct engine *engine, const struct layout_core *place) {
    size_t frames = place->work ? frames_need(engine) : 0;
    size_t bodies = place->net ? engine->settings.net_body_bytes_max * 2 : 0;
    size_t fetches = place->net ? client_arena_bytes(&engine->settings) : 0;
    return frames + bodies + fetches + 64 * MiB;
}

static struct arena *frame_arena(struct core *core, size_t bytes) {
    return bytes >= CORE_FILED_BYTES ? core->frames : core->arena;
}
static void *frame_take(void *context, size_t bytes, size_t align) {
    core_trim(context); /* frames of other sizes that have left should make room for this one */
    return arena_take(frame_arena(context, bytes), bytes, align);
}
static void frame_give(void *context, void *body, size_t bytes) {
    arena_give(frame_arena(context, bytes), body, bytes);
}
static int frame_punch(void *context, void *body, size_t bytes) {
    return arena_punch(frame_arena(context, bytes), body, bytes);
}

static struct store_memory frame_memory(struct core *core) {
    struct store_memory memory = {
        .take = frame_take, .give = frame_give, .punch = frame_punch, .context = core};
    memory.file = arena_file(core->frames, &memory.file_base, &memory.file_bytes);
    return memory;
}

static uint64_t spin_limit(const struct engine *engine, const struct layout_core *place) {
    switch ((enum idle_policy)engine->settings.cores_idle) {
    case IDLE_SPIN:
        return NS_PER_S;
    case IDLE_ADAPTIVE:
        return place->alone ? engine->park_cost_ns : 0;
    case IDLE_SLEEP:
        break;
    }
    return 0;
}

static int open_cores(struct engine *engine, char *why, size_t why_bytes) {
    const struct layout_core no_place = {.name = engine->layout.count};
    for (uint32_t i = 0; i < engine_threads(engine); i++) {
        const struct layout_core *place =
            i < engine->layout.count ? &engine->layout.cores[i] : &no_place;
        struct core *core = &engine->cores[i];
        int r = core_open(core, engine, i, place);
        if (r < 0) {
            return complain(
                why, why_bytes, ENGINE_HOST,
                "io_uring: %s (millrace doctor says what forbids it and how to allow it)",
                err_text(r));
        }
        core->spin_ns_max = spin_limit(engine, place);
        if (i == engine->layout.count) {
            r = helper_open(core, &core->helper);
        } else if (i > engine->layout.count) {
            core->porter = true;
        } else {
            r = mem_open(&core->region, core_need(engine, place));
            if (r == 0) {
                r = arena_open(arena_need(engine, place), &core->arena);
            }
            if (r == 0 && place->work) {
                r = arena_open_file(frames_need(engine), &core->frames);
            }
        }
        if (r < 0) {
            return complain(why, why_bytes, ENGINE_HOST, "memory for core %u: %s", place->name,
                            err_text(r));
        }
    }
    return 0;
}

/* ---- the store ------------------------------------------------------------------------------ */

static void submit_to_ring(void *backend, struct disk_op *op) {
    io_disk(backend, op);
}

/* Thread: the porter. */
static void block_lost(void *context, const struct key *key, uint32_t codec) {
    (void)context;
    char name[CID_TEXT_MAX] = "";
    if (key) {
        struct cid cid;
        cid_of_key(key, codec, &cid);
        (void)cid_format(&cid, name);
    }
    log_warn("a stored block is damaged and there is no other copy here: a put of it heals it",
             log_str("cid", name));
}

static int open_store(struct engine *engine, char *why, size_t why_bytes) {
    static struct disk_calls ring_calls;
    ring_calls = disk_sync_calls; /* the blocking half stays plain */
    ring_calls.submit = submit_to_ring;
    uint32_t keepers = 0;
    for (uint32_t i = 0; i < engine->layout.count; i++) {
        struct core *core = &engine->cores[i];
        if (core->place.work) {
            engine->keeper_core[keepers] = i;
            engine->memories[keepers] = frame_memory(core);
            engine->disks[keepers] = (struct disk){.calls = &ring_calls, .backend = &core->io};
            keepers++;
        }
    }
    const struct settings *settings = &engine->settings;
    if (mkdir(settings->store_dir, 0700) != 0 && errno != EEXIST) {
        return complain(why, why_bytes, ENGINE_HOST, "making the store directory %s: %s%s",
                        settings->store_dir, strerror(errno),
                        errno == ENOENT ? " (what is above it must be there: mkdir -p)" : "");
    }
    struct settings_tiers tiers;
    const char *name;
    if (settings_tiers(settings, &tiers, &name, why, why_bytes) != 0) {
        return ENGINE_HOST;
    }
    struct store_config config = {
        .dir = settings->store_dir,
        .tiers = tiers.list,
        .tier_count = tiers.count,
        .keepers = keepers,
        .readers = engine->layout.count,
        .segment_bytes = settings->store_segment_bytes,
        .memory_bytes = settings->store_memory_bytes,
        .quota_bytes = settings->store_quota_bytes,
        .snapshot_interval_ns = settings->store_snapshot_interval_ns,
        .move_rate = settings->store_move_bytes,
        .promote_budget = settings->store_promote_bytes,
        .scrub_cycle_ns =
            {[TIER_SSD] = settings->store_scrub_ssd_ns, [TIER_HDD] = settings->store_scrub_hdd_ns},
        .scrub_rate = settings->store_scrub_bytes,
        .block_bytes_max = (uint32_t)settings->store_block_bytes_max,
        .batches = engine->sizes.batches,
        .fetches = {engine->sizes.fetches[0], engine->sizes.fetches[1], engine->sizes.fetches[2]},
        .compress = (enum store_compress)settings->store_compress,
        .policy = (enum store_policy)settings->store_policy,
        .links = store_links,
        .lost = block_lost,
        .lost_context = engine,
        .gc_grace_ns = settings->gc_grace_ns,
        .gc_memory_bytes = settings->gc_memory_bytes,
        .gc_watermark_percent = (uint32_t)settings->gc_watermark,
        .create = true,
        .memory = engine->memories,
        .disk = {.calls = &disk_sync_calls},
        .keeper_disks = engine->disks,
    };
    int r = store_open(&config, &engine->report, &engine->store);
    if (r == 0) {
        return 0;
    }
    int band = engine->report.misconfigured              ? ENGINE_CONFIG
               : r == STORE_FORMAT || r == STORE_CORRUPT ? ENGINE_DATA
                                                         : ENGINE_HOST;
    return complain(why, why_bytes, band, "%s",
                    engine->report.why[0] ? engine->report.why : err_text(r));
}

/* Who we are: after the store, whose lock keeps another process from making a second key. */
static int open_identity(struct engine *engine, char *why, size_t why_bytes) {
    bool made = false;
    int r = identity_open(engine->settings.store_dir, &engine->self, &made, why, why_bytes);
    if (r != 0) {
        return r == IDENTITY_DAMAGED ? ENGINE_DATA : ENGINE_HOST;
    }
    if (made) {
        char id[PEER_ID_TEXT_MAX];
        peer_id_format(secure_self_id(engine->self), id);
        log_info("identity made", log_str("id", id));
    }
    return 0;
}

/* ---- tiles ---------------------------------------------------------------------------------- */

static int open_tiles(struct engine *engine, char *why, size_t why_bytes) {
    uint32_t keeper = 0;
    bool acceptor = true; /* the first net core listens for all */
    for (uint32_t i = 0; i < engine->layout.count; i++) {
        struct core *core = &engine->cores[i];
        if (core->place.net) {
            core->net = mem_carve(&core->region, sizeof(struct net), CACHE_PAIR);
            int r = net_open(core->net, core, &engine->settings, acceptor);
            acceptor = false;
            if (r < 0) {
                return complain(why, why_bytes, ENGINE_HOST, "receive buffers of core %u: %s",
                                core->place.name, err_text(r));
            }
        }
        if (core->place.sched) {
            core->dispatch = mem_carve(&core->region, sizeof(struct dispatch), CACHE_PAIR);
            dispatch_open(core->dispatch, core, &engine->settings);
        }
        if (core->place.work) {
            core->work = mem_carve(&core->region, sizeof(struct work), CACHE_PAIR);
            work_open(core->work, core, keeper++);
        }
    }
    return 0;
}

static int launch(struct engine *engine, char *why, size_t why_bytes) {
    for (uint32_t i = 0; i < engine_threads(engine); i++) {
        int r = core_launch(&engine->cores[i]);
        if (r < 0) {
            return complain(why, why_bytes, ENGINE_HOST, "starting a thread: %s", err_text(r));
        }
    }
    for (uint32_t i = 0; i < engine_threads(engine); i++) {
        struct core *core = &engine->cores[i];
        enum core_life life = CORE_BOOT;
        while (life == CORE_BOOT) {
            sched_yield();
            life = (enum core_life)atomic_load_explicit(&core->life, memory_order_acquire);
        }
        if (life == CORE_FAIL) {
            return complain(why, why_bytes, ENGINE_HOST, "io_uring on core %u: %s",
                            core->place.name, err_text(core->failure));
        }
    }
    atomic_store_explicit(&engine->go, true, memory_order_release); /* pairs with await_go */
    return 0;
}

/* ---- files in the store directory ----------------------------------------------------------- */

static int write_pid(const struct engine *engine, char *why, size_t why_bytes) {
    char path[600];
    (void)snprintf(path, sizeof path, "%s/millrace.pid", engine->settings.store_dir);
    FILE *file = fopen(path, "we");
    if (!file || fprintf(file, "%d\n", (int)getpid()) < 0 || fclose(file) != 0) {
        return complain(why, why_bytes, ENGINE_HOST, "%s: %s", path, strerror(errno));
    }
    return 0;
}

static int open_admin(struct engine *engine, char *why, size_t why_bytes) {
    char path[600];
    (void)snprintf(path, sizeof path, "%s/admin.sock", engine->settings.store_dir);
    int r = admin_open(engine, path, &engine->admin);
    if (r < 0) {
        return complain(
            why, why_bytes, ENGINE_HOST, "%s: %s%s", path, err_text(r),
            r == -ENAMETOOLONG
                ? " (a unix socket's path has at most 107 bytes: choose a shorter store directory)"
                : "");
    }
    return write_pid(engine, why, why_bytes);
}

static void say_hello(const struct engine *engine) {
    char text[2048];
    (void)layout_describe(&engine->layout, text, sizeof text);
    log_info("layout", log_str("cores", text));
    const struct store_report *report = &engine->report;
    log_info(report->formatted ? "store formatted"
             : report->clean   ? "store opened"
                               : "store recovered after an unclean end",
             log_str("dir", engine->settings.store_dir), log_u64("blocks", report->blocks),
             log_u64("bytes", report->bytes), log_u64("segments", report->segments),
             log_u64("from_snapshot_percent", 100 * report->snapshot_shards / STORE_SHARDS),
             log_u64("footers", report->segments_footer),
             log_u64("scanned", report->segments_scanned),
             log_u64("took_ms", report->open_ns / NS_PER_MS));
    if (report->tiers[0] != '\0') {
        log_warn("not all tiers are as they were", log_str("why", report->tiers));
    }
    if (report->torn_batches > 0) {
        log_info("unacknowledged writes at the end of a log were dropped",
                 log_u64("batches", report->torn_batches));
    }
    if (report->segments_unread > 0) {
        log_warn("the disk did not give all of some segments; they are tried again, and what only "
                 "they hold is answered with 'try again' meanwhile",
                 log_u64("segments", report->segments_unread));
    }
    if (report->corrupt_ranges > 0) {
        log_error("acknowledged data is damaged or gone; millrace verify names the blocks that are "
                  "there and damaged, what is gone has no name any more and is answered as absent",
                  log_u64("ranges", report->corrupt_ranges),
                  log_u64("gone_segments", report->segments_gone), log_str("known", report->gone));
    }
    for (uint32_t i = 0; i < engine->listener_count; i++) {
        const struct listener_address *at = &engine->listeners[i].address;
        log_info("listening", log_str("protocol", listener_protocol_names[at->protocol]),
                 log_str("address", at->host), log_u64("port", at->port),
                 log_str("ceiling", job_class_names[at->ceiling]));
    }
}

/* ---- open, run, close ----------------------------------------------------------------------- */

/* The order of boot; what fails is undone by engine_close, which accepts a half-built engine. */
static int boot(struct engine *engine, char *why, size_t why_bytes) {
    budget_open(&engine->settings);
    int r = crypto_heap_open();
    if (r < 0) {
        return complain(why, why_bytes, ENGINE_HOST, "memory for libcrypto: %s", err_text(r));
    }
    r = layout_host_read(&engine->host);
    if (r < 0) {
        return complain(why, why_bytes, ENGINE_HOST, "reading the machine's CPUs: %s", err_text(r));
    }
    if (layout_make(&engine->settings, &engine->host, &engine->layout, why, why_bytes) != 0) {
        return ENGINE_CONFIG;
    }
    engine->sizes =
        budget_fit(&engine->settings, engine->layout.net_count, engine->layout.work_count);
    engine->published[0] = engine->settings;
    atomic_init(&engine->frames_limit, engine->settings.store_memory_bytes);
    r = hash_open();
    if (r == 0) {
        r = control_block_signals();
    }
    if (r < 0) {
        return complain(why, why_bytes, ENGINE_HOST, "start-up: %s", err_text(r));
    }
    engine->park_cost_ns = park_cost_ns();
    r = open_cores(engine, why, why_bytes);
    if (r == 0) {
        r = listen_open(engine, why, why_bytes); /* a taken port leaves no new store behind */
    }
    if (r == 0) {
        r = open_store(engine, why, why_bytes);
    }
    if (r == 0) {
        r = open_identity(engine, why, why_bytes);
    }
    if (r == 0) {
        r = listen_start(engine, why, why_bytes);
    }
    if (r != 0) {
        return r;
    }
    self_locate(engine);
    r = mesh_open(&engine->mesh, &engine->layout, (uint32_t)engine->settings.net_jobs_max);
    if (r < 0) {
        return complain(why, why_bytes, ENGINE_HOST, "memory for rings: %s", err_text(r));
    }
    r = open_tiles(engine, why, why_bytes);
    if (r == 0 &&
        (desk_open(engine, &engine->desk) < 0 || tasks_open(engine, &engine->tasks) < 0)) {
        return complain(why, why_bytes, ENGINE_HOST, "out of memory");
    }
    if (r == 0) {
        r = open_admin(engine, why, why_bytes);
    }
    return r == 0 ? launch(engine, why, why_bytes) : r;
}

int engine_open(const struct settings *settings, const struct engine_hooks *hooks, char *why,
                size_t why_bytes, struct engine **ret_engine) {
    struct engine *engine = aligned_alloc(CACHE_PAIR, round_up(sizeof *engine, CACHE_PAIR));
    if (!engine) {
        return complain(why, why_bytes, ENGINE_HOST, "out of memory");
    }
    memset(engine, 0, sizeof *engine);
    engine->settings = *settings;
    engine->published[0] = *settings;
    atomic_store_explicit(&engine->current, &engine->published[0], memory_order_release);
    engine->hooks = hooks ? *hooks : (struct engine_hooks){0};
    engine->started_ns = clock_ns();
    engine->counts_heap = heap_watch();
    int r = boot(engine, why, why_bytes);
    if (r != 0) {
        engine_close(engine);
        return r;
    }
    say_hello(engine);
    *ret_engine = engine;
    return 0;
}

/* Cores that still run must not see their memory go, nor their store close under open operations.
 */
_Noreturn cold_path static void leave_running(void) {
    log_warn("stopped hard; the next start recovers the store");
    _exit(1);
}

int engine_run(struct engine *engine) {
    int stopped = control_run(engine);
    if (stopped < 0) {
        log_error("control failed", log_str("why", err_text(stopped)));
        leave_running();
    }
    if (stopped > 0) {
        for (uint32_t i = 0; i < engine_threads(engine); i++) {
            if (atomic_load_explicit(&engine->cores[i].life, memory_order_acquire) != CORE_DONE) {
                leave_running();
            }
        }
    }
    for (uint32_t i = 0; i < engine_threads(engine); i++) {
        core_join(&engine->cores[i]);
    }
    int r = store_close(engine->store);
    engine->store = NULL;
    if (r < 0) {
        log_error("closing the store", log_str("why", err_text(r)));
        return 1;
    }
    log_info("stopped", log_str("store", "clean"));
    return stopped;
}

/* Threads that were launched before boot failed are told to end before anything they use goes away.
 * No ring to wake them with is no reason to wait less: they look by themselves. */
static void halt_launched(struct engine *engine) {
    struct io bells;
    bool launched = false;
    for (uint32_t i = 0; i < engine_threads(engine); i++) {
        launched |= engine->cores[i].launched;
    }
    if (!launched) {
        return;
    }
    bool open = io_open(&bells, 128) == 0;
    bool rings = open && io_start(&bells) == 0;
    for (uint32_t i = 0; i < engine_threads(engine); i++) {
        if (engine->cores[i].launched) {
            core_ask(&engine->cores[i], WISH_HALT, rings ? &bells : NULL);
        }
    }
    if (rings) {
        int r = io_enter(&bells, false, 0);
        must(r == 0);
    }
    if (open) {
        io_close(&bells);
    }
    for (uint32_t i = 0; i < engine_threads(engine); i++) {
        core_join(&engine->cores[i]);
    }
}

void engine_close(struct engine *engine) {
    halt_launched(engine);
    if (engine->store) { /* boot failed after it was opened */
        int r = store_close(engine->store);
        if (r < 0) {
            log_error("closing the store", log_str("why", err_text(r)));
        }
    }
    listen_close(engine);
    desk_close(engine->desk);
    tasks_close(engine->tasks);
    if (engine->admin) {
        char path[600];
        admin_close(engine->admin);
        (void)snprintf(path, sizeof path, "%s/millrace.pid", engine->settings.store_dir);
        (void)unlink(path);
    }
    for (uint32_t i = 0; i < engine_threads(engine); i++) {
        if (engine->cores[i].net) {
            net_close(engine->cores[i].net);
        }
        helper_close(engine->cores[i].helper);
        core_close(&engine->cores[i]);
    }
    mesh_close(&engine->mesh);
    secure_self_close(engine->self);
    free(engine);
}
