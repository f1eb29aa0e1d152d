/* SPDX-License-Identifier: MIT */

/* cmd_top — the daemon live: the tables of stat as rates, redrawn on a terminal. */

#include "tools/millrace/commands.h"

#include "base/clock.h"
#include "base/option.h"
#include "tools/millrace/admin.h"
#include "tools/millrace/stat_view.h"

#include <curses.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Two answers, the older one to make rates with. */
struct samples {
    json_t *now, *before;
    uint64_t now_ns, before_ns;
};

static bool sample(const struct cli *cli, struct samples *samples, int *ret_status) {
    json_t *answer = admin_ask(cli, "stat", ret_status);
    if (answer == NULL) {
        return false;
    }
    json_decref(samples->before);
    samples->before = samples->now;
    samples->before_ns = samples->now_ns;
    samples->now = answer;
    samples->now_ns = clock_ns();
    return true;
}

static void samples_free(struct samples *samples) {
    json_decref(samples->now);
    json_decref(samples->before);
}

static double samples_seconds(const struct samples *samples) {
    return (double)(samples->now_ns - samples->before_ns) / (double)NS_PER_S;
}

/* One screen: headings stand out, and what does not fit is left away. */
static void draw(const struct samples *samples, bool totals, uint64_t seconds) {
    char *text = NULL, *rest = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    if (out == NULL) {
        return;
    }
    stat_view(out, samples->now, totals ? NULL : samples->before, samples_seconds(samples));
    fclose(out);
    erase();
    rest = text;
    bool heading = true;
    int row = 0;
    for (char *line; row < LINES - 1 && (line = strsep(&rest, "\n")) != NULL; row++) {
        attrset(heading ? A_BOLD : strncmp(line, "TROUBLE", 7) == 0 ? A_REVERSE : A_NORMAL);
        mvaddnstr(row, 0, line, COLS);
        heading = line[0] == '\0';
    }
    attrset(A_REVERSE);
    mvprintw(LINES - 1, 0, " q quit   t %s   + - every %llu s   space now ",
             totals ? "rates" : "totals", (unsigned long long)seconds);
    attrset(A_NORMAL);
    refresh();
    free(text);
}

/* Until q. Returns: the status of the last question. */
static int live(const struct cli *cli, uint64_t seconds) {
    struct samples samples = {0};
    int status = CLI_DONE;
    bool totals = false, quit = false;
    if (!sample(cli, &samples, &status)) {
        return status; /* before the screen is taken: the words must stay readable */
    }
    initscr();
    cbreak();
    noecho();
    curs_set(0);
    keypad(stdscr, TRUE);
    while (!quit) {
        timeout((int)(samples.before == NULL ? 300 : seconds * 1000));
        draw(&samples, totals, seconds);
        int key = getch();
        if (key == 'q' || key == 'Q' || key == 27) {
            quit = true;
        } else if (key == 't') {
            totals = !totals;
        } else if (key == '+' && seconds < 60) {
            seconds++;
        } else if (key == '-' && seconds > 1) {
            seconds--;
        } else if (key == ERR || key == ' ') {
            quit = !sample(cli, &samples, &status);
        }
    }
    endwin();
    if (status != CLI_DONE) {
        samples_free(&samples); /* the screen took the words away: ask once more to have them */
        samples = (struct samples){0};
        (void)sample(cli, &samples, &status);
    }
    samples_free(&samples);
    return status;
}

static int once(const struct cli *cli) {
    struct samples samples = {0};
    int status = CLI_DONE;
    if (sample(cli, &samples, &status)) {
        poll(NULL, 0, 1000);
        if (sample(cli, &samples, &status)) {
            stat_view(stdout, samples.now, samples.before, samples_seconds(&samples));
        }
    }
    samples_free(&samples);
    return status;
}

static int cmd_top(struct cli *cli) {
    const char *every = cli_value(cli, "every", "1");
    uint64_t seconds = 1;
    if (option_count(every, &seconds) != 0 || seconds < 1 || seconds > 60) {
        return cli_misuse(cli, "--every %s: it takes seconds, 1 to 60", every);
    }
    if (cli_has(cli, "once") || isatty(STDOUT_FILENO) != 1 || isatty(STDIN_FILENO) != 1) {
        return once(cli);
    }
    return live(cli, seconds);
}

static const struct cli_flag flags[] = {
    CLI_FLAG_ADMIN,
    {"once", 0, NULL, "print one second of rates and end (so without a terminal, too)"},
    {"every", 'n', "N", "seconds between two looks (default 1)"},
    CLI_FLAG_END,
};

const struct cli_command command_top = {
    .name = "top",
    .args = "",
    .summary = "the daemon live: cores, rings, classes, latencies",
    .flags = flags,
    .more = "Keys: q quits, t switches between rates and totals, + and - change how often.",
    .examples = "  millrace top\n  millrace top --once\n",
    .run = cmd_top,
};
