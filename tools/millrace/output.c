/* SPDX-License-Identifier: MIT */
#include "tools/millrace/output.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int output_open(struct output *output, const struct cli *cli, const char *name) {
    struct stat about;
    *output = (struct output){.cli = cli, .name = name, .standard = strcmp(name, "-") == 0};
    if (output->standard) {
        output->file = stdout;
        return CLI_DONE;
    }
    if ((size_t)snprintf(output->part, sizeof output->part, "%s.part", name) >=
        sizeof output->part) {
        return cli_fail(cli, CLI_USAGE, "-o: the name is too long");
    }
    bool there = stat(name, &about) == 0;
    if (there && S_ISDIR(about.st_mode)) {
        return cli_fail(cli, CLI_USAGE, "-o %s: that is a directory; name a file in it", name);
    }
    if (there && !S_ISREG(about.st_mode)) { /* a device or a pipe keeps its name */
        memcpy(output->part, name, strlen(name) + 1);
    }
    output->file = fopen(output->part, "we");
    if (output->file == NULL) {
        return cli_fail(cli, CLI_FAILED, "%s: %s", output->part, strerror(errno));
    }
    return CLI_DONE;
}

int output_fail(const struct output *output) {
    return cli_fail(output->cli, CLI_FAILED, "%s: %s", output->name, strerror(errno));
}

int output_close(struct output *output, int status) {
    bool moved = strcmp(output->part, output->name) != 0;
    if (output->standard) {
        return status; /* main says what is wrong with that */
    }
    if (fclose(output->file) != 0 && status == CLI_DONE) {
        status = output_fail(output);
    }
    if (status == CLI_DONE && moved && rename(output->part, output->name) != 0) {
        status = output_fail(output);
    }
    if (status != CLI_DONE && moved) {
        unlink(output->part);
    }
    return status;
}
