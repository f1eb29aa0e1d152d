/* SPDX-License-Identifier: MIT */
#include "tools/millrace/interrupt.h"

#include <signal.h>
#include <stdatomic.h>

static _Atomic bool came; /* lock-free: a handler may set it */

static void on_signal(int signal_number) {
    (void)signal_number;
    came = true;
}

void interrupt_mind(void) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}

bool interrupt_came(void) {
    return came;
}
