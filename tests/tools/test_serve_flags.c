/* SPDX-License-Identifier: MIT */
#include "tools/millrace/serve_flags.h"

#include <criterion/criterion.h>
#include <string.h>

static const struct cli_flag flags[] = {SERVE_FLAGS, CLI_FLAG_END};
static const struct cli_command serve = {.name = "serve", .args = "", .flags = flags};
const struct cli_command *const cli_commands[] = {&serve, NULL};

static struct conf conf;
static char why[CONF_WHY_MAX];

static int with(const char *const words[]) {
    static struct cli cli;
    static char copies[16][96];
    static char *args[16];
    uint32_t count = 0;
    for (; words[count] != NULL; count++) {
        cr_assert_lt(strlen(words[count]), sizeof copies[0]);
        memcpy(copies[count], words[count], strlen(words[count]) + 1);
        args[count] = copies[count];
    }
    cr_assert_eq(cli_parse(&cli, &serve, args, count), CLI_DONE);
    return serve_settings(&cli, &conf, why, sizeof why);
}

Test(serve_flags, short_names_set_their_rows) {
    const char *words[] = {
        "--store",      "/srv/x", "--memory", "64MiB", "--net-cores",  "0", "--work-cores", "1",
        "--sched-core", "1",      "--idle",   "sleep", "--overcommit", NULL};
    cr_assert_eq(with(words), CLI_DONE, "%s", why);
    cr_assert_str_eq(conf.settings.store_dir, "/srv/x");
    cr_assert_eq(conf.settings.store_memory_bytes, 64 * MiB);
    cr_assert_str_eq(conf.settings.cores_net, "0");
    cr_assert_str_eq(conf.settings.cores_sched, "1");
    cr_assert_eq(conf.settings.cores_idle, IDLE_SLEEP);
    cr_assert(conf.settings.cores_overcommit);
}

Test(serve_flags, listeners_add_up_and_replace_the_default) {
    const char *words[] = {"--tlv", "127.0.0.1:1", "--tlv=0.0.0.0:2,ceiling=low", NULL};
    cr_assert_eq(with(words), CLI_DONE, "%s", why);
    cr_assert_str_eq(conf.settings.tlv_listen, "127.0.0.1:1 0.0.0.0:2,ceiling=low");
    cr_assert_str_eq(conf.settings.bitswap_listen, "");
    const char *both[] = {"--bitswap", "[::1]:4001",   "--tlv", "127.0.0.1:3",
                          "--bitswap", "0.0.0.0:4001", NULL};
    cr_assert_eq(with(both), CLI_DONE, "%s", why);
    cr_assert_str_eq(conf.settings.tlv_listen, "127.0.0.1:3");
    cr_assert_str_eq(conf.settings.bitswap_listen, "[::1]:4001 0.0.0.0:4001");
}

Test(serve_flags, tiers_add_up_with_their_sizes) {
    cr_assert_eq(with((const char *const[]){"--ssd", "fast:20GiB", "--hdd", "slow", "--hdd",
                                            "slower:1TiB", NULL}),
                 CLI_DONE, "%s", why);
    struct settings_tiers tiers;
    const char *name;
    cr_assert_eq(settings_tiers(&conf.settings, &tiers, &name, why, sizeof why), 0);
    cr_assert_eq(tiers.count, 3);
    cr_assert_str_eq(tiers.list[0].dir, "fast");
    cr_assert_eq(tiers.list[0].bytes, 20 * GiB);
    cr_assert_eq(tiers.list[0].kind, TIER_SSD);
    cr_assert_str_eq(tiers.list[1].dir, "slow");
    cr_assert_eq(tiers.list[1].bytes, 0);
    cr_assert_eq(tiers.list[2].kind, TIER_HDD);
    cr_assert_neq(with((const char *const[]){"--ssd", "fast:much", NULL}), CLI_DONE);
    cr_assert_not_null(strstr(why, "PATH:SIZE"), "%s", why);
    cr_assert_neq(with((const char *const[]){"--hdd", ":3GiB", NULL}), CLI_DONE);
}

Test(serve_flags, set_reaches_every_row) {
    const char *good[] = {"--set", "net.backlog=128", "--set", "log.level=debug", NULL};
    cr_assert_eq(with(good), CLI_DONE, "%s", why);
    cr_assert_eq(conf.settings.net_backlog, 128);
    const char *shapeless[] = {"--set", "net.backlog", NULL};
    cr_assert_eq(with(shapeless), CLI_USAGE);
    cr_assert(strstr(why, "section.key=value") != NULL, "%s", why);
    const char *unknown[] = {"--set", "net.backlock=1", NULL};
    cr_assert_eq(with(unknown), CLI_USAGE);
    cr_assert(strstr(why, "net.backlog") != NULL, "%s", why);
}

Test(serve_flags, what_the_whole_makes_wrong_names_the_flag) {
    const char *words[] = {"--tlv", "nowhere", NULL};
    cr_assert_eq(with(words), CLI_USAGE);
    cr_assert_eq(strncmp(why, "--tlv: ", 7), 0, "%s", why);
    const char *bitswap[] = {"--bitswap", "nowhere", NULL};
    cr_assert_eq(with(bitswap), CLI_USAGE);
    cr_assert_eq(strncmp(why, "--bitswap: ", 11), 0, "%s", why);
    const char *port[] = {"--bitswap", "127.0.0.1:70000", NULL};
    cr_assert_eq(with(port), CLI_USAGE);
    cr_assert_eq(strncmp(why, "--bitswap 127.0.0.1:70000: ", 27), 0, "%s", why);
    const char *segment[] = {"--segment-size", "5MiB", NULL};
    cr_assert_eq(with(segment), CLI_USAGE);
    cr_assert_eq(strncmp(why, "--segment-size: ", 16), 0, "%s", why);
}

Test(serve_flags, a_sentence_of_the_engine_gets_its_file_and_line) {
    char text[512];
    conf_init(&conf);
    cr_assert_eq(
        conf_read_text(&conf, "cores = {\n net = \"1000\";\n};\n", "m.conf", why, sizeof why), 0);
    serve_place(&conf, "--net-cores: core 1000 is offline", text, sizeof text);
    cr_assert_str_eq(text, "m.conf:2: cores.net: core 1000 is offline");
    serve_place(&conf, "cores.net: core 1000 is offline", text, sizeof text);
    cr_assert_str_eq(text, "m.conf:2: cores.net: core 1000 is offline");
    serve_place(&conf, "--work-cores: core 9 is offline", text, sizeof text);
    cr_assert_str_eq(text, "--work-cores: core 9 is offline", "a default has no place");
    cr_assert_eq(conf_read_text(&conf, "bitswap = {\n\n listen = \"127.0.0.1:1\";\n};\n", "m.conf",
                                why, sizeof why),
                 0);
    serve_place(&conf, "bitswap.listen: taken", text, sizeof text);
    cr_assert_str_eq(text, "m.conf:3: bitswap.listen: taken");
    serve_place(&conf, "no core is left", text, sizeof text);
    cr_assert_str_eq(text, "no core is left");
}
