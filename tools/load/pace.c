/* SPDX-License-Identifier: MIT */
#include "tools/load/pace.h"

#include "base/must.h"

#include <math.h>

static double gap_draw(struct pace *pace) {
    return -log(draw_unit(&pace->draw)) * pace->gap_ns;
}

void pace_init(struct pace *pace, uint64_t start_ns, double rate, double phase, bool poisson,
               uint64_t seed) {
    must(rate > 0);
    *pace = (struct pace){
        .draw = {.state = draw_mix(seed)},
        .gap_ns = (double)NS_PER_S / rate,
        .start_ns = start_ns,
        .poisson = poisson,
    };
    /* A fixed pace multiplies rather than adds, so rounding never accumulates. */
    pace->at_ns = poisson ? gap_draw(pace) : phase * pace->gap_ns;
    if (!poisson) {
        pace->start_ns += (uint64_t)pace->at_ns;
        pace->at_ns = 0;
    }
}

uint64_t pace_take(struct pace *pace) {
    uint64_t intended_ns = pace_peek(pace);
    pace->count++;
    pace->at_ns = pace->poisson ? pace->at_ns + gap_draw(pace) : (double)pace->count * pace->gap_ns;
    return intended_ns;
}
