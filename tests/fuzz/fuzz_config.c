/* SPDX-License-Identifier: MIT */
/* Any text as a configuration file: it is taken, and then every value can be shown and read back;
 * or it is refused in one line that begins with a place. */

#include "tests/fuzz/fuzz.h"

#include "base/must.h"
#include "base/option.h"
#include "tools/millrace/conf.h"

#include <stdlib.h>
#include <string.h>

/* libconfig's scanner loses the string it was reading when that has a syntax error in it: a few
 * bytes of a process that then ends with the error. Theirs, and known by this name. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
    return "leak:strbuf_append\n";
}

static void check_values(const struct conf *conf) {
    for (size_t i = 0; i < settings_rows; i++) {
        struct settings again = conf->settings;
        char text[2048], why[512];
        option_format(&settings_table[i], &conf->settings, text, sizeof text);
        must(option_parse(&settings_table[i], &again, text, why, sizeof why) == 0);
        must(conf->origins[i].kind != CONF_FLAG);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    static struct conf conf;
    char why[CONF_WHY_MAX] = "";
    char *text = malloc(bytes + 1);
    must(text != NULL);
    memcpy(text, data, bytes);
    text[bytes] = '\0';
    if (strstr(text, "@include") == NULL) { /* it would read the host's files */
        conf_init(&conf);
        if (conf_read_text(&conf, text, "f.conf", why, sizeof why) != 0) {
            must(strncmp(why, "f.conf:", 7) == 0);
        } else if (conf_check(&conf, why, sizeof why) == 0) {
            check_values(&conf);
        } else {
            must(why[0] != '\0');
        }
    }
    free(text);
    return 0;
}
