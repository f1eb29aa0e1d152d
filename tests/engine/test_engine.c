/* SPDX-License-Identifier: MIT */
/* The whole engine: engine/engine.c, engine/core.c, engine/control.c, engine/admin.c,
 * engine/answer.c, engine/helper.c, engine/porter.c, engine/work.c, engine/stat.c, engine/why.c. */
#include "tests/engine/rig.h"

#include "base/clock.h"
#include "engine/control.h"
#include "engine/heap.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static struct rig rig;

static void setup(void) {
    rig_init(&rig);
}
TestSuite(engine, .init = setup, .timeout = 120);

static void has(const json_t *object, const char *const names[], size_t count, const char *of) {
    for (size_t i = 0; i < count; i++) {
        cr_assert_not_null(json_object_get(object, names[i]), "%s has no %s", of, names[i]);
    }
}
#define HAS(object, of, ...)                              \
    do {                                                  \
        static const char *const names[] = {__VA_ARGS__}; \
        has(object, names, array_count(names), of);       \
    } while (0)

/* One heavy request, one light one. */
static void some_traffic(struct caller *caller) {
    struct block block = block_make(1, 100);
    (void)caller_hello(caller, CLASS_HIGH);
    caller_put(caller, 2, &block);
    (void)caller_expect(caller, TLV_DONE, 2);
    for (uint32_t i = 0; i < 5; i++) {
        caller_get(caller, 3, &block.key);
        caller_expect_value(caller, 3, &block);
    }
    block_free(&block);
}

static json_int_t number(const json_t *object, const char *name) {
    const json_t *value = json_object_get(object, name);
    cr_assert(json_is_number(value), "%s", name);
    return json_integer_value(value);
}

/* ---- what it says of itself */

Test(engine, stat_has_every_documented_name) {
    rig_run(&rig);
    struct caller caller = caller_open(&rig);
    some_traffic(&caller);
    json_t *stat = rig_ask(&rig, "stat");
    HAS(stat, "stat", "version", "build", "pid", "uptime_s", "state", "store", "cores", "rings",
        "classes", "paths", "batches", "memory");
    cr_assert_str_eq(json_string_value(json_object_get(stat, "state")), "serving");
    cr_assert_eq(number(stat, "pid"), getpid());

    const json_t *store = json_object_get(stat, "store");
    HAS(store, "store", "segments", "spare_segments", "bytes_on_disk", "live_bytes", "free_bytes",
        "catalog_bytes", "read_only", "formatted", "clean", "open_ms", "torn_batches",
        "corrupt_ranges");
    for (size_t i = 0; i < store_counter_count; i++) {
        cr_assert_not_null(json_object_get(store, store_counter_info[i].name), "store has no %s",
                           store_counter_info[i].name);
    }
    cr_assert_eq(number(store, "blocks"), 1);
    cr_assert_eq(number(store, "puts"), 1);

    const json_t *core = json_array_get(json_object_get(stat, "cores"), 0);
    HAS(core, "core", "core", "cpu", "tiles", "turns", "parks", "rings_sent", "rings_spurious",
        "busy_ratio", "heap_calls", "net", "work");
    HAS(json_object_get(core, "net"), "net", "connections", "accepts", "closes", "light", "heavy",
        "jobs_used", "jobs_max", "bytes_in", "bytes_out", "sends", "bad_frames", "busy",
        "refused_connections", "stalled_closes", "starved");
    HAS(json_object_get(core, "work"), "work", "jobs", "batches", "inbox");
    HAS(json_array_get(json_object_get(stat, "rings"), 0), "ring", "ring", "size", "count", "full");

    const json_t *classes = json_object_get(stat, "classes");
    cr_assert_eq(json_array_size(classes), CLASS_COUNT);
    for (size_t i = 0; i < CLASS_COUNT; i++) {
        const json_t *class = json_array_get(classes, i);
        HAS(class, "class", "class", "requests", "done", "busy", "expired", "queued_light",
            "queued_heavy", "share", "p50_us", "p95_us", "p99_us", "p999_us", "sla_misses");
        cr_assert_str_eq(json_string_value(json_object_get(class, "class")), job_class_names[i]);
    }
    cr_assert_eq(number(json_array_get(classes, CLASS_HIGH), "done"), 6);
    HAS(json_object_get(stat, "paths"), "paths", "light", "heavy");
    HAS(json_object_get(stat, "batches"), "batches", "closed_idle", "closed_size", "closed_bytes",
        "closed_cost", "closed_age");
    HAS(json_object_get(stat, "memory"), "memory", "rss_bytes", "frames_bytes");
    json_decref(stat);
    caller_close(&caller);
    cr_assert_eq(rig_close(&rig), 0);
}

/* The promise of the sealed allocator: what tiles do takes nothing from the general heap. */
Test(engine, tiles_take_nothing_from_the_heap) {
    rig_run(&rig);
    struct caller caller = caller_open(&rig);
    some_traffic(&caller);
    struct block block = block_make(2, 50000);
    for (uint32_t i = 0; i < 50; i++) {
        caller_put(&caller, i, &block);
        (void)caller_expect(&caller, TLV_DONE, i);
        caller_get(&caller, i, &block.key);
        caller_expect_value(&caller, i, &block);
        struct tlv_request remove = {.type = TLV_DELETE, .id = i, .class = TLV_CLASS_DEFAULT};
        caller_ask(&caller, &remove, &block.key);
        (void)caller_expect(&caller, TLV_DONE, i);
    }
    uint64_t give_up = clock_ns() + PATIENCE_NS;
    uint64_t turns = 0;
    json_t *stat = NULL;
    do { /* the number is published at the tick, so let some pass */
        json_decref(stat);
        stat = rig_ask(&rig, "stat");
        const json_t *core = json_array_get(json_object_get(stat, "cores"), 0);
        cr_assert_eq(number(core, "heap_calls"), 0);
        turns = (uint64_t)json_real_value(json_object_get(stat, "uptime_s"));
    } while (turns < 1 && clock_ns() < give_up);
    json_decref(stat);
    block_free(&block);
    caller_close(&caller);
    cr_assert_eq(rig_close(&rig), 0);
}

Test(engine, topo_says_who_runs_where) {
    rig_run(&rig);
    json_t *topo = rig_ask(&rig, "topo");
    HAS(topo, "topo", "auto", "cores", "sched_core", "ctl_core", "listeners", "idle");
    const json_t *core = json_array_get(json_object_get(topo, "cores"), 0);
    HAS(core, "core", "core", "cpu", "numa", "tiles");
    cr_assert_eq(json_array_size(json_object_get(core, "tiles")), 3);
    const json_t *listener = json_array_get(json_object_get(topo, "listeners"), 0);
    char address[64];
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", rig.engine->listeners[0].address.port);
    cr_assert_str_eq(json_string_value(json_object_get(listener, "address")), address);
    cr_assert_str_eq(json_string_value(json_object_get(listener, "ceiling")), "critical");
    cr_assert_str_eq(json_string_value(json_object_get(topo, "idle")), "adaptive");
    json_decref(topo);
    cr_assert_eq(rig_close(&rig), 0);
}

/* Each stamp is there and none is before the one it follows. */
static void check_trace(const json_t *trace, const char *kind, const char *const path[],
                        size_t places) {
    cr_assert_str_eq(json_string_value(json_object_get(trace, "kind")), kind);
    cr_assert_str_eq(json_string_value(json_object_get(trace, "class")), "high");
    const json_t *have = json_object_get(trace, "path");
    cr_assert_eq(json_array_size(have), places);
    for (size_t i = 0; i < places; i++) {
        cr_assert_str_eq(json_string_value(json_array_get(have, i)), path[i]);
    }
    static const char *const stamps[] = {"arrived_us", "queued_us", "started_us", "finished_us",
                                         "replied_us"};
    double before = 0;
    for (size_t i = 0; i < array_count(stamps); i++) {
        const json_t *stamp = json_object_get(trace, stamps[i]);
        cr_assert(json_is_real(stamp), "%s", stamps[i]);
        cr_assert_geq(json_real_value(stamp), before, "%s is %.3f after %.3f", stamps[i],
                      json_real_value(stamp), before);
        before = json_real_value(stamp);
    }
}

Test(engine, why_shows_the_way_of_a_light_and_of_a_heavy_request) {
    static const char *const light[] = {"net 0", "light policy 0", "net 0"};
    static const char *const heavy[] = {"net 0",  "class ring", "sched 0",
                                        "work 0", "done ring",  "net 0"};
    rig_run(&rig);
    struct caller caller = caller_open(&rig);
    some_traffic(&caller);
    struct block block = block_make(5, 100);
    caller_put(&caller, 9, &block); /* the last heavy one */
    (void)caller_expect(&caller, TLV_DONE, 9);
    json_t *why = rig_ask(&rig, "why");
    HAS(why, "why", "last_light", "last_heavy", "limits", "limiting");
    check_trace(json_object_get(why, "last_light"), "get", light, array_count(light));
    check_trace(json_object_get(why, "last_heavy"), "put", heavy, array_count(heavy));
    const json_t *limit;
    size_t i;
    json_array_foreach(json_object_get(why, "limits"), i, limit) {
        HAS(limit, "limit", "what", "value", "max");
    }
    cr_assert_gt(strlen(json_string_value(json_object_get(why, "limiting"))), 5);
    json_decref(why);
    block_free(&block);
    caller_close(&caller);
    cr_assert_eq(rig_close(&rig), 0);
}

Test(engine, why_has_no_trace_before_the_first_request) {
    rig_run(&rig);
    json_t *why = rig_ask(&rig, "why");
    cr_assert(json_is_null(json_object_get(why, "last_light")));
    cr_assert(json_is_null(json_object_get(why, "last_heavy")));
    json_decref(why);
    cr_assert_eq(rig_close(&rig), 0);
}

/* ---- the admin socket */

static int admin_connected(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s/admin.sock", rig.dir);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void is_error(int fd, const char *word) {
    char text[1024] = "";
    size_t used = 0;
    ssize_t n;
    while ((n = read(fd, text + used, sizeof text - 1 - used)) > 0) {
        used += (size_t)n;
    }
    cr_assert(strstr(text, "\"error\""), "%s", text);
    cr_assert(strstr(text, word), "%s", text);
    close(fd);
}

Test(engine, admin_answers_nonsense_with_a_sentence) {
    rig_run(&rig);
    static const char *const lines[] = {"hello\n", "{}\n", "[1,2]\n", "{\"command\":7}\n", "\n"};
    for (size_t i = 0; i < array_count(lines); i++) {
        int fd = admin_connected();
        cr_assert_gt(write(fd, lines[i], strlen(lines[i])), 0);
        is_error(fd, "line");
    }
    int fd = admin_connected();
    cr_assert_gt(dprintf(fd, "{\"command\":\"explode\"}\n"), 0);
    is_error(fd, "drain"); /* it names what there is */
    fd = admin_connected();
    char much[5000];
    memset(much, ' ', sizeof much);
    (void)send(fd, much, sizeof much, MSG_NOSIGNAL);
    is_error(fd, "too long");
    cr_assert_eq(rig_close(&rig), 0);
}

Test(engine, admin_is_the_operators_alone_and_gone_at_the_end) {
    char socket_path[128], pid_path[128], text[32] = "";
    struct stat status;
    rig_run(&rig);
    (void)snprintf(socket_path, sizeof socket_path, "%s/admin.sock", rig.dir);
    (void)snprintf(pid_path, sizeof pid_path, "%s/millrace.pid", rig.dir);
    cr_assert_eq(stat(socket_path, &status), 0);
    cr_assert_eq(status.st_mode & 0777, 0600);
    FILE *file = fopen(pid_path, "r");
    cr_assert_not_null(file);
    cr_assert_not_null(fgets(text, sizeof text, file));
    (void)fclose(file);
    cr_assert_eq(strtol(text, NULL, 10), getpid());
    cr_assert_eq(rig_close(&rig), 0);
    cr_assert_neq(access(socket_path, F_OK), 0);
    cr_assert_neq(access(pid_path, F_OK), 0);
}

Test(engine, admin_drops_whoever_is_silent_and_serves_the_next) {
    rig_run(&rig);
    int silent[20];
    for (size_t i = 0; i < array_count(silent); i++) { /* more than it keeps at once */
        silent[i] = admin_connected();
    }
    for (size_t i = 0; i < array_count(silent); i++) {
        close(silent[i]);
    }
    json_decref(rig_ask(&rig, "stat"));
    cr_assert_eq(rig_close(&rig), 0);
}

Test(engine, drain_over_the_admin_socket_ends_with_zero) {
    rig_run(&rig);
    struct caller caller = caller_open(&rig);
    some_traffic(&caller);
    json_t *reply = rig_ask(&rig, "drain");
    cr_assert(json_is_true(json_object_get(reply, "draining")));
    json_decref(reply);
    caller_expect_end(&caller); /* quiet connections are ended */
    cr_assert_eq(rig_wait(&rig), 0);
    caller_close(&caller);
}

/* ---- signals; each test is a process of its own */

Test(engine, sigterm_drains_and_answers_what_came) {
    enum { ASKED = 100 };
    rig_run(&rig);
    struct caller caller = caller_open(&rig);
    (void)caller_hello(&caller, CLASS_NORMAL);
    struct block block = block_make(1, 100000);
    for (uint32_t i = 0; i < ASKED; i++) {
        caller_put(&caller, i, &block);
    }
    (void)caller_reply(&caller); /* they are under way */
    cr_assert_eq(kill(getpid(), SIGTERM), 0);
    uint32_t answered = 1;
    struct tlv_reply reply;
    while (caller_try_reply(&caller, &reply)) {
        cr_assert_eq(reply.type, TLV_DONE);
        answered++;
    }
    cr_assert_eq(rig_wait(&rig), 0);
    cr_assert_gt(answered, 1);
    caller_close(&caller);
    block_free(&block);
}

Test(engine, two_signals_in_one_read_are_two) {
    rig_run(&rig);
    cr_assert_eq(kill(getpid(), SIGTERM), 0);
    cr_assert_eq(kill(getpid(), SIGINT), 0);
    cr_assert_eq(rig_wait(&rig), 1, "the second one stops hard");
}

Test(engine, what_was_acknowledged_is_there_after_a_restart) {
    enum { BLOCKS = 30 };
    rig_run(&rig);
    struct caller caller = caller_open(&rig);
    struct block blocks[BLOCKS];
    for (uint32_t i = 0; i < BLOCKS; i++) {
        blocks[i] = block_make(i, 1000 * i + 1);
        caller_put(&caller, i, &blocks[i]);
        (void)caller_expect(&caller, TLV_DONE, i);
    }
    caller_close(&caller);
    control_drain(rig.engine);
    cr_assert_eq(pthread_join(rig.thread, NULL), 0);
    cr_assert_eq(rig.result, 0);
    engine_close(rig.engine);

    rig_run(&rig);
    cr_assert(rig.engine->report.clean);
    cr_assert_eq(rig.engine->report.blocks, BLOCKS);
    caller = caller_open(&rig);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        caller_get(&caller, i, &blocks[i].key);
        caller_expect_value(&caller, i, &blocks[i]);
        block_free(&blocks[i]);
    }
    caller_close(&caller);
    cr_assert_eq(rig_close(&rig), 0);
}

/* ---- reload */

static struct settings next_settings;
static bool next_is_bad;

static int read_again(void *context, struct settings *ret_settings, char *why, size_t why_bytes) {
    (void)context;
    *ret_settings = next_settings;
    if (next_is_bad) {
        (void)snprintf(why, why_bytes, "millrace.conf:3: nonsense");
    }
    return next_is_bad ? 1 : 0;
}

static void reload_refused_with(const char *word) {
    json_t *reply = rig_ask(&rig, "reload");
    const char *error = json_string_value(json_object_get(reply, "error"));
    cr_assert_not_null(error);
    cr_assert(strstr(error, word), "%s", error);
    json_decref(reply);
}

Test(engine, reload_of_a_fixed_setting_is_refused_by_its_name) {
    rig.hooks.reload = read_again;
    rig_run(&rig);
    next_settings = rig.settings;
    next_settings.net_credits = 7;
    next_settings.net_idle_timeout_ns = NS_PER_S;
    reload_refused_with("net.credits");
    cr_assert_eq(atomic_load(&rig.engine->current)->net_idle_timeout_ns, 0, "all of it or none");
    next_settings = rig.settings;
    next_settings.store_memory_bytes *= 2;
    reload_refused_with("store.memory");
    next_is_bad = true;
    reload_refused_with("millrace.conf:3");
    cr_assert_eq(rig_close(&rig), 0);
}

Test(engine, reload_without_a_configuration_says_so) {
    rig_run(&rig);
    reload_refused_with("without a configuration");
    cr_assert_eq(rig_close(&rig), 0);
}

Test(engine, reload_reaches_the_net_tiles) {
    rig.hooks.reload = read_again;
    rig_run(&rig);
    struct caller caller = caller_open(&rig);
    (void)caller_hello(&caller, CLASS_NORMAL);
    for (int i = 0; i < 3; i++) { /* more than the two copies that take turns */
        next_settings = rig.settings;
        next_settings.sched_quantum_ns = (uint64_t)(100 + i) * NS_PER_US;
        json_t *reply = rig_ask(&rig, "reload");
        cr_assert(json_is_true(json_object_get(reply, "reloaded")));
        json_decref(reply);
        cr_assert_eq(atomic_load(&rig.engine->current)->sched_quantum_ns,
                     next_settings.sched_quantum_ns);
    }
    next_settings.net_idle_timeout_ns = 200 * NS_PER_MS;
    cr_assert_eq(kill(getpid(), SIGHUP), 0);
    caller_expect_end(&caller); /* what was for ever idle before is now too long */
    caller_close(&caller);
    cr_assert_eq(rig_close(&rig), 0);
}

/* ---- layouts */

static void serves_on(const char *net, const char *work, const char *sched) {
    (void)snprintf(rig.settings.cores_net, sizeof rig.settings.cores_net, "%s", net);
    (void)snprintf(rig.settings.cores_work, sizeof rig.settings.cores_work, "%s", work);
    (void)snprintf(rig.settings.cores_sched, sizeof rig.settings.cores_sched, "%s", sched);
    rig.settings.sched_shed = false; /* more cores than CPUs: delays say nothing of overload */
    rig_run(&rig);
    struct caller callers[6];
    for (uint32_t i = 0; i < array_count(callers); i++) { /* spread over the net cores */
        callers[i] = caller_open(&rig);
        (void)caller_hello(&callers[i], (uint8_t)(i % CLASS_COUNT));
    }
    for (uint32_t i = 0; i < 60; i++) {
        struct block block = block_make(i, 500 * i);
        caller_put(&callers[i % 6], i, &block);
        (void)caller_expect(&callers[i % 6], TLV_DONE, i);
        for (uint32_t again = 0; again < 3; again++) { /* by another one */
            caller_get(&callers[(i + again) % 6], i, &block.key);
            caller_expect_value(&callers[(i + again) % 6], i, &block);
        }
        block_free(&block);
    }
    for (uint32_t i = 0; i < array_count(callers); i++) {
        caller_close(&callers[i]);
    }
    cr_assert_eq(rig_close(&rig), 0);
}

Test(engine, serves_on_one_core) {
    serves_on("0", "auto", "auto");
}
Test(engine, serves_on_two_cores) {
    serves_on("0-1", "auto", "auto");
}
Test(engine, serves_on_split_cores) {
    serves_on("0", "1", "auto");
}
Test(engine, serves_on_four_cores_with_the_scheduler_alone) {
    serves_on("0-2", "0-2", "3");
}
Test(engine, serves_with_every_part_on_a_core_of_its_own) {
    serves_on("0-1", "2-3", "4");
}

/* ---- a storm at the door while it opens */

struct storm {
    pthread_t thread;
    struct sockaddr_in address;
    int fds[64];
};

/* A port that is free now, and most likely still when the engine asks for it. */
static struct sockaddr_in free_address(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, length), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    close(fd);
    return address;
}

static void *rush_in(void *argument) {
    struct storm *storm = argument;
    for (size_t i = 0; i < array_count(storm->fds); i++) {
        storm->fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        while (connect(storm->fds[i], (struct sockaddr *)&storm->address, sizeof storm->address) !=
               0) {
            sched_yield(); /* nobody listens yet */
        }
    }
    return NULL;
}

Test(engine, whoever_connects_while_it_opens_is_answered) {
    static struct storm storm;
    storm.address = free_address();
    (void)snprintf(rig.settings.tlv_listen, sizeof rig.settings.tlv_listen, "127.0.0.1:%u",
                   ntohs(storm.address.sin_port));
    (void)snprintf(rig.settings.cores_net, sizeof rig.settings.cores_net, "0-3");
    cr_assert_eq(pthread_create(&storm.thread, NULL, rush_in, &storm), 0);
    rig_run(&rig);
    cr_assert_eq(pthread_join(storm.thread, NULL), 0);
    for (size_t i = 0; i < array_count(storm.fds); i++) {
        struct caller caller = {.fd = storm.fds[i], .bytes = malloc(1 << 16), .room = 1 << 16};
        (void)caller_hello(&caller,
                           CLASS_NORMAL); /* its WELCOME comes, or the test's patience ends */
        caller_close(&caller);
    }
    cr_assert_eq(rig_close(&rig), 0);
}

/* ---- what it cannot do */

static void refused(int band, const char *word) {
    char why[512] = "";
    struct engine *engine = NULL;
    cr_assert_eq(engine_open(&rig.settings, NULL, why, sizeof why, &engine), band, "%s", why);
    cr_assert(strstr(why, word), "%s", why);
    cr_assert_null(engine);
}

Test(engine, a_core_that_is_not_there_is_a_matter_of_configuration) {
    rig.settings.cores_overcommit = false;
    (void)snprintf(rig.settings.cores_net, sizeof rig.settings.cores_net, "1000");
    refused(ENGINE_CONFIG, "1000");
}

Test(engine, a_file_where_the_admin_socket_goes_is_left_alone) {
    char path[128];
    (void)snprintf(path, sizeof path, "%s/admin.sock", rig.dir);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    (void)fclose(file);
    refused(ENGINE_HOST, "admin.sock");
    cr_assert_eq(access(path, F_OK), 0);
}

Test(engine, a_second_one_on_the_same_store_is_refused) {
    rig_run(&rig);
    refused(ENGINE_HOST, "another process");
    cr_assert_eq(rig_close(&rig), 0);
}

Test(engine, a_taken_port_is_refused_and_the_store_unlocked_again) {
    rig_run(&rig);
    struct rig other;
    rig_init(&other);
    uint16_t port = rig.engine->listeners[0].address.port;
    struct settings settings = rig.settings;
    rig.settings = other.settings;
    (void)snprintf(rig.settings.tlv_listen, sizeof rig.settings.tlv_listen, "127.0.0.1:%u", port);
    refused(ENGINE_HOST, "in use");
    rig.settings = settings;
    rig_run(&other); /* its directory is free */
    cr_assert_eq(rig_close(&other), 0);
    cr_assert_eq(rig_close(&rig), 0);
}

/* ---- what is put is what it is called */

/* Puts that come together are hashed two by two: each has its own answer all the same. */
Test(engine, a_wrong_block_among_sound_ones_is_refused_alone) {
    enum { PUTS = 24, BYTES = 2500 };
    rig_run(&rig);
    struct caller caller = caller_open(&rig);
    (void)caller_hello(&caller, CLASS_HIGH);
    uint32_t refused = 0;
    for (uint32_t round = 0; round < 8; round++) {
        for (uint32_t i = 0; i < PUTS; i++) {
            struct block block = block_make(1000 * round + i, BYTES + i * 64);
            block.bytes[block.count - 1] ^= i % 4 == round % 4 ? 1 : 0;
            caller_put(&caller, i, &block);
            block_free(&block);
        }
        for (uint32_t n = 0; n < PUTS; n++) {
            struct tlv_reply reply = caller_reply(&caller);
            cr_assert_lt(reply.id, PUTS);
            if (reply.id % 4 == round % 4) {
                cr_assert_eq(reply.type, TLV_FAULT, "put %u of round %u", reply.id, round);
                cr_assert_eq(reply.code, TLV_CODE_MISMATCH);
                refused++;
            } else {
                cr_assert_eq(reply.type, TLV_DONE, "put %u of round %u", reply.id, round);
            }
        }
    }
    cr_assert_eq(refused, 8 * PUTS / 4);
    caller_close(&caller);
    cr_assert_eq(rig_close(&rig), 0);
}
