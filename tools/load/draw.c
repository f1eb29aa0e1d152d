/* SPDX-License-Identifier: MIT */
#include "tools/load/draw.h"

#include "base/must.h"

#include <math.h>

/* The integral of x^-s, and its inverse; written with expm1 and log1p so that s near 1 is exact. */
static double area(double x, double s) {
    double log_x = log(x);
    double t = (1.0 - s) * log_x;
    return fabs(t) > 1e-8 ? expm1(t) / t * log_x : log_x * (1.0 + t / 2.0);
}

static double area_inverse(double y, double s) {
    double t = y * (1.0 - s);
    if (t < -1.0) {
        t = -1.0; /* rounding at the far end */
    }
    return exp(fabs(t) > 1e-8 ? log1p(t) / t * y : y * (1.0 - t / 2.0));
}

static double height(double x, double s) {
    return exp(-s * log(x));
}

void zipf_init(struct zipf *zipf, uint64_t count, double s) {
    must(count > 0 && s > 0);
    zipf->count = count;
    zipf->s = s;
    zipf->high = area((double)count + 0.5, s);
    zipf->low = area(1.5, s) - 1.0;
    zipf->cut = 2.0 - area_inverse(area(2.5, s) - height(2.0, s), s);
}

uint64_t zipf_draw(const struct zipf *zipf, struct draw *draw) {
    for (;;) {
        double y = zipf->high + draw_unit(draw) * (zipf->low - zipf->high);
        double x = area_inverse(y, zipf->s);
        double rank = floor(x + 0.5);
        if (rank < 1.0) {
            rank = 1.0;
        } else if (rank > (double)zipf->count) {
            rank = (double)zipf->count;
        }
        if (rank - x <= zipf->cut || y >= area(rank + 0.5, zipf->s) - height(rank, zipf->s)) {
            return (uint64_t)rank - 1;
        }
    }
}
