/* SPDX-License-Identifier: MIT */
#include "tools/millrace/cli.h"

#include <string.h>

#define WORD_MAX 64

/* Edits (insert, delete, change) from a to b; words longer than WORD_MAX are far from everything.
 */
static uint32_t distance(const char *a, const char *b) {
    size_t a_bytes = strlen(a), b_bytes = strlen(b);
    uint32_t row[WORD_MAX + 1];
    if (a_bytes > WORD_MAX || b_bytes > WORD_MAX) {
        return UINT32_MAX;
    }
    for (uint32_t j = 0; j <= b_bytes; j++) {
        row[j] = j;
    }
    for (uint32_t i = 1; i <= a_bytes; i++) {
        uint32_t diagonal = row[0];
        row[0] = i;
        for (uint32_t j = 1; j <= b_bytes; j++) {
            uint32_t change = diagonal + (a[i - 1] != b[j - 1]);
            uint32_t skip = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = change < skip ? change : skip;
        }
    }
    return row[b_bytes];
}

const char *cli_nearest(const char *const words[], const char *word) {
    const char *best = NULL;
    uint32_t least = (uint32_t)(strlen(word) / 3) + 2;
    for (size_t i = 0; words[i] != NULL; i++) {
        bool prefix = strlen(word) >= 2 && strncmp(words[i], word, strlen(word)) == 0;
        uint32_t edits = prefix ? 1 : distance(word, words[i]);
        if (edits < least) {
            least = edits;
            best = words[i];
        }
    }
    return best;
}
