/* SPDX-License-Identifier: MIT */
#pragma once

/* car_header — the little dag-cbor at the front of an archive: {roots: [CID...], version: n}.
 *
 * Only what a CAR header may hold is understood: definite lengths, the two keys in either order,
 * no key twice, nothing behind the map. Every root is checked. */

#include "base/base.h"
#include "proto/ipld/car.h"

struct car_header {
    uint64_t version;
    bool roots_present;
    struct car_roots roots; /* inside the bytes given */
};
/* Returns: NULL, or what is wrong as a clause ("root 3 is not a CID"). Lives: static. */
must_check const char *car_header_read(const uint8_t *bytes, uint32_t count,
                                       struct car_header *ret_header);
