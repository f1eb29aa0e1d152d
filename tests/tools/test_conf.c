/* SPDX-License-Identifier: MIT */
#include "tools/millrace/conf.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct conf conf;
static char why[CONF_WHY_MAX];

static int text(const char *words) {
    conf_init(&conf);
    memset(why, 0, sizeof why);
    return conf_read_text(&conf, words, "t.conf", why, sizeof why);
}

static void refused(const char *words, const char *place, const char *part) {
    cr_assert_eq(text(words), CONF_BAD, "taken: %s", words);
    cr_assert_eq(strncmp(why, place, strlen(place)), 0, "'%s' does not begin with %s", why, place);
    cr_assert(strstr(why, part) != NULL, "'%s' does not say %s", why, part);
    cr_assert_null(strchr(why, '\n'), "one line");
}

Test(conf, keys_of_every_type_are_read_with_their_line) {
    cr_assert_eq(text("store = { memory = \"1GiB\"; quota = 1048576; };\n"
                      "cores = {\n  overcommit = true;\n  idle = \"spin\";\n};\n"
                      "net = { credits = 77; stall_timeout = \"2s\"; };\n"
                      "tlv = { listen = [\"127.0.0.1:1\", \"127.0.0.1:2\"]; };\n"),
                 0, "%s", why);
    cr_assert_eq(conf.settings.store_memory_bytes, GiB);
    cr_assert_eq(conf.settings.store_quota_bytes, MiB);
    cr_assert(conf.settings.cores_overcommit);
    cr_assert_eq(conf.settings.cores_idle, IDLE_SPIN);
    cr_assert_eq(conf.settings.net_credits, 77);
    cr_assert_eq(conf.settings.net_stall_timeout_ns, 2 * NS_PER_S);
    cr_assert_str_eq(conf.settings.tlv_listen, "127.0.0.1:1 127.0.0.1:2");
    uint32_t from_file = 0, line_4 = 0;
    for (size_t i = 0; i < settings_rows; i++) {
        from_file += conf.origins[i].kind == CONF_FILE;
        line_4 += conf.origins[i].kind == CONF_FILE && conf.origins[i].line == 4;
    }
    cr_assert_eq(from_file, 7);
    cr_assert_eq(line_4, 1, "cores.idle");
}

Test(conf, errors_name_place_and_nearest) {
    refused("store = {\n  memorry = \"1GiB\";\n};\n", "t.conf:2:", "did you mean 'store.memory'");
    refused("store = {\n  scrub_cycle = \"14d\";\n};\n",
            "t.conf:2:", "set store.scrub_cycle_ssd and store.scrub_cycle_hdd");
    refused("\n\nnet = { credits = 0; };\n", "t.conf:3:", "net.credits");
    refused("drain = { timeout = \"10 parsecs\"; };\n", "t.conf:1:", "10 parsecs");
    refused("sore = { memory = \"1GiB\"; };\n", "t.conf:1:", "unknown section 'sore'");
    refused("memory = \"1GiB\";\n", "t.conf:1:", "outside a section");
    refused("store = {\n  memory = ;\n};\n", "t.conf:2:", "syntax error");
    refused("store = {\n  memory = \"1GiB\";\n", "t.conf:", "syntax error");
    refused("store = { memory = { size = 1; }; };\n", "t.conf:1:", "store.memory");
    refused("net = { credits = [1, [2]]; };\n", "t.conf:1:", "");
    refused("store = { memory = \"1GiB\"; memory = \"2GiB\"; };\n", "t.conf:1:", "duplicate");
}

Test(conf, what_the_parser_refuses_is_named_with_its_key) {
    char path[] = "/tmp/millrace-conf-XXXXXX", sentence[CONF_WHY_MAX];
    static struct conf twice;
    int fd = mkstemp(path);
    static const char text[] = "store = {\n  memory = \"1GiB\";\n  memory = \"2GiB\";\n};\n";
    cr_assert_eq(write(fd, text, sizeof text - 1), (ssize_t)sizeof text - 1);
    close(fd);
    conf_init(&twice);
    cr_assert_neq(conf_read_file(&twice, path, sentence, sizeof sentence), 0);
    cr_assert(strstr(sentence, ":3: 'memory' is set a second time"), "%s", sentence);
    unlink(path);
    cr_assert_neq(conf_read_text(&twice, "stor = { a = 1; };", "x", sentence, sizeof sentence), 0);
    cr_assert(strstr(sentence, "did you mean 'store'"), "%s", sentence);
}

Test(conf, an_empty_file_is_all_defaults) {
    cr_assert_eq(text(""), 0, "%s", why);
    cr_assert_eq(text("# nothing\n"), 0, "%s", why);
    struct conf fresh;
    conf_init(&fresh);
    cr_assert_eq(memcmp(&conf.settings, &fresh.settings, sizeof conf.settings), 0);
}

Test(conf, flags_win_and_say_so) {
    cr_assert_eq(text("store = { memory = \"1GiB\"; };\n"), 0);
    cr_assert_eq(conf_set(&conf, "store.memory", "2GiB", "--memory", why, sizeof why), 0);
    cr_assert_eq(conf.settings.store_memory_bytes, 2 * GiB);
    cr_assert_eq(conf_set(&conf, "store.memory", "lots", "--memory", why, sizeof why), CONF_BAD);
    cr_assert_eq(strncmp(why, "--memory: ", 10), 0, "%s", why);
    cr_assert_eq(conf_set(&conf, "stor.memory", "1", "--set", why, sizeof why), CONF_BAD);
    cr_assert(strstr(why, "store.memory") != NULL, "%s", why);
}

Test(conf, the_check_names_file_and_line_or_flag) {
    cr_assert_eq(text("\ntlv = {\n listen = \"nowhere\";\n};\n"), 0, "%s", why);
    cr_assert_eq(conf_check(&conf, why, sizeof why), CONF_BAD);
    cr_assert_eq(strncmp(why, "t.conf:3: tlv.listen: ", 22), 0, "%s", why);
    cr_assert_eq(conf_set(&conf, "tlv.listen", "elsewhere", "--tlv", why, sizeof why), 0);
    cr_assert_eq(conf_check(&conf, why, sizeof why), CONF_BAD);
    cr_assert_eq(strncmp(why, "--tlv: tlv.listen: ", 19), 0, "%s", why);
}

static void write_file(const char *path, const char *words) {
    FILE *file = fopen(path, "we");
    cr_assert_not_null(file);
    fputs(words, file);
    fclose(file);
}

Test(conf, an_included_file_stands_beside_the_first_and_has_its_own_name) {
    char dir[] = "/tmp/millrace-conf-XXXXXX", one[64], two[64];
    cr_assert_not_null(mkdtemp(dir));
    snprintf(one, sizeof one, "%s/one.conf", dir);
    snprintf(two, sizeof two, "%s/two.conf", dir);
    write_file(one, "@include \"two.conf\"\nnet = { credits = 5; };\n");
    write_file(two, "store = { memory = \"8MiB\"; };\n");
    conf_init(&conf);
    cr_expect_eq(conf_read_file(&conf, one, why, sizeof why), 0, "%s", why);
    cr_expect_eq(conf.settings.store_memory_bytes, 8 * MiB);
    cr_expect_eq(conf.settings.net_credits, 5);
    write_file(two, "\nstore = { memory = \"8 miles\"; };\n");
    cr_expect_eq(conf_read_file(&conf, one, why, sizeof why), CONF_BAD);
    cr_expect(strstr(why, "two.conf:2: ") != NULL, "%s", why);
    cr_expect_eq(conf_read_file(&conf, dir, why, sizeof why), CONF_BAD, "a directory");
    unlink(one);
    unlink(two);
    cr_expect_eq(conf_read_file(&conf, one, why, sizeof why), CONF_BAD);
    cr_expect(strstr(why, one) != NULL, "%s", why);
    rmdir(dir);
}

/* Each would hold the control thread up: a pipe for ever, a large text for longer than anybody
 * waits. */
Test(conf, what_is_no_file_or_too_large_is_refused_before_it_is_read, .timeout = 20) {
    char dir[] = "/tmp/millrace-conf-XXXXXX", one[64], two[64];
    cr_assert_not_null(mkdtemp(dir));
    snprintf(one, sizeof one, "%s/one.conf", dir);
    snprintf(two, sizeof two, "%s/two.conf", dir);
    cr_assert_eq(mkfifo(two, 0600), 0);
    write_file(one, "  @include \"two.conf\"\n");
    conf_init(&conf);
    cr_expect_eq(conf_read_file(&conf, two, why, sizeof why), CONF_BAD);
    cr_expect(strstr(why, "not a regular file") != NULL, "%s", why);
    cr_expect_eq(conf_read_file(&conf, one, why, sizeof why), CONF_BAD);
    cr_expect(strstr(why, "two.conf") != NULL, "%s", why);
    cr_expect_eq(conf_read_file(&conf, "/dev/zero", why, sizeof why), CONF_BAD);
    unlink(two);
    write_file(two, "");
    cr_assert_eq(truncate(two, 2 << 20), 0);
    cr_expect_eq(conf_read_file(&conf, one, why, sizeof why), CONF_BAD);
    cr_expect(strstr(why, "larger than") != NULL, "%s", why);
    write_file(two, "@include \"two.conf\"\n@include \"two.conf\"\n@include \"two.conf\"\n");
    cr_expect_eq(conf_read_file(&conf, one, why, sizeof why), CONF_BAD);
    cr_expect(strstr(why, "too many") != NULL, "%s", why);
    unlink(one);
    unlink(two);
    rmdir(dir);
}
