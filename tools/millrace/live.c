/* SPDX-License-Identifier: MIT */
#include "tools/millrace/live.h"

#include "base/clock.h"
#include "base/option.h"
#include "tools/millrace/admin.h"

#include <curses.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Two answers, the older one to make rates with. */
struct samples {
    json_t *now, *before;
    uint64_t now_ns, before_ns;
};

static bool sample(const struct cli *cli, const struct live *live, struct samples *samples,
                   int *ret_status) {
    json_t *answer = admin_ask(cli, live->command, ret_status);
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

static void write_view(FILE *out, const struct live *live, const struct samples *samples) {
    double seconds = (double)(samples->now_ns - samples->before_ns) / (double)NS_PER_S;
    live->view(out, samples->now, samples->before, seconds, live->state);
}

/* One screen: headings stand out, and what does not fit is left away. */
static void draw(const struct live *live, const struct samples *samples, uint64_t seconds) {
    char *text = NULL, *rest = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    if (out == NULL) {
        return;
    }
    write_view(out, live, samples);
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
    mvprintw(LINES - 1, 0, " q quit%s%s  + - every %llu s  space now",
             live->keys[0] != '\0' ? "  " : "", live->keys, (unsigned long long)seconds);
    attrset(A_NORMAL);
    refresh();
    free(text);
}

int live_run(const struct cli *cli, const struct live *live, uint64_t seconds) {
    struct samples samples = {0};
    int status = CLI_DONE;
    bool quit = false;
    if (!sample(cli, live, &samples, &status)) {
        return status; /* before the screen is taken: the words must stay readable */
    }
    initscr();
    cbreak();
    noecho();
    curs_set(0);
    keypad(stdscr, TRUE);
    while (!quit) {
        timeout((int)(samples.before == NULL ? 300 : seconds * 1000));
        draw(live, &samples, seconds);
        int key = getch();
        if (key == 'q' || key == 'Q' || key == 27) {
            quit = true;
        } else if (key == '+' && seconds < 60) {
            seconds++;
        } else if (key == '-' && seconds > 1) {
            seconds--;
        } else if (key == ERR || key == ' ') {
            quit = !sample(cli, live, &samples, &status);
        } else if (live->key != NULL) {
            live->key(key, live->state);
        }
    }
    endwin();
    if (status != CLI_DONE) {
        samples_free(&samples); /* the screen took the words away: ask once more to have them */
        samples = (struct samples){0};
        (void)sample(cli, live, &samples, &status);
    }
    samples_free(&samples);
    return status;
}

int live_once(const struct cli *cli, const struct live *live) {
    struct samples samples = {0};
    int status = CLI_DONE;
    if (sample(cli, live, &samples, &status)) {
        poll(NULL, 0, 1000);
        if (sample(cli, live, &samples, &status)) {
            write_view(stdout, live, &samples);
        }
    }
    samples_free(&samples);
    return status;
}

int live_show(const struct cli *cli, const struct live *live) {
    const char *every = cli_value(cli, "every", "1");
    uint64_t seconds = 1;
    if (option_count(every, &seconds) != 0 || seconds < 1 || seconds > 60) {
        return cli_misuse(cli, "--every %s: it takes seconds, 1 to 60", every);
    }
    if (cli_has(cli, "once") || isatty(STDOUT_FILENO) != 1 || isatty(STDIN_FILENO) != 1) {
        return live_once(cli, live);
    }
    return live_run(cli, live, seconds);
}
