/* SPDX-License-Identifier: MIT */
#include "engine/mesh.h"

#include "base/bits.h"
#include "base/err.h"

#include <string.h>

/* Two passes over one list: first the sum of footprints, then the carving, so they cannot differ.
 */
struct carver {
    struct mem_region *region; /* NULL: only add up */
    size_t need;
};

static struct ring *one_to_one(struct carver *carver, uint32_t items) {
    uint32_t size = (uint32_t)power_of_two_above(items + 1);
    size_t bytes = ring_footprint(size);
    if (!carver->region) {
        carver->need = mem_need(carver->need, bytes, CACHE_PAIR);
        return NULL;
    }
    return ring_init_spsc(mem_carve(carver->region, bytes, CACHE_PAIR), size);
}

static struct ring *many_to_many(struct carver *carver, uint32_t size) {
    size_t bytes = ring_footprint(size);
    if (!carver->region) {
        carver->need = mem_need(carver->need, bytes, CACHE_PAIR);
        return NULL;
    }
    return ring_init_mpmc(mem_carve(carver->region, bytes, CACHE_PAIR), size);
}

static void carve(struct mesh *mesh, struct carver *carver, const struct layout *layout,
                  uint32_t jobs_max) {
    for (uint32_t c = 0; c < CLASS_COUNT; c++) {
        mesh->class_rings[c] = many_to_many(carver, MESH_CLASS_RING);
    }
    mesh->helper_in = many_to_many(carver, MESH_HELPER_RING);
    for (uint32_t i = 0; i < layout->count; i++) {
        if (layout->cores[i].net) {
            mesh->batch_home[i] = one_to_one(carver, MESH_NET_BATCHES);
            mesh->helper_done[i] = one_to_one(carver, jobs_max);
            mesh->shed[i] = one_to_one(carver, jobs_max);
            mesh->desk[i] = one_to_one(carver, MESH_DESK);
            for (uint32_t n = 0; n < layout->count; n++) {
                bool pair = n != i && layout->cores[n].net;
                mesh->notes[i][n] = pair ? one_to_one(carver, MESH_NOTES) : NULL;
                mesh->notes_home[i][n] = pair ? one_to_one(carver, MESH_NOTES) : NULL;
            }
        }
        if (layout->cores[i].work) {
            mesh->inbox[i] = one_to_one(carver, MESH_ORDER_BATCHES);
            mesh->order_home[i] = one_to_one(carver, MESH_ORDER_BATCHES);
            for (uint32_t n = 0; n < layout->count; n++) {
                mesh->done[i][n] = layout->cores[n].net ? one_to_one(carver, jobs_max) : NULL;
            }
        }
    }
}

int mesh_open(struct mesh *mesh, const struct layout *layout, uint32_t jobs_max) {
    memset(mesh, 0, sizeof *mesh);
    mesh->core_count = layout->count;
    mesh->helper_core = layout->count;
    for (uint32_t i = 0; i < layout->count; i++) {
        if (layout->cores[i].sched) {
            mesh->sched_core = i;
        }
    }
    struct carver carver = {0};
    carve(mesh, &carver, layout, jobs_max);
    int r = mem_open(&mesh->region, carver.need);
    if (r < 0) {
        return err_pass(r);
    }
    carver.region = &mesh->region;
    carve(mesh, &carver, layout, jobs_max);
    return 0;
}

void mesh_close(struct mesh *mesh) {
    mem_close(&mesh->region);
}
