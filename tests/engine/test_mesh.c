/* SPDX-License-Identifier: MIT */
#include "engine/mesh.h"

#include <criterion/criterion.h>

#define JOBS_MAX 1000u

static struct mesh mesh;

/* One word a core: n, w, s in any order. */
static struct layout layout_of(const char *const cores[], uint32_t count) {
    struct layout layout = {.count = count};
    for (uint32_t i = 0; i < count; i++) {
        for (const char *at = cores[i]; *at; at++) {
            layout.cores[i].net |= *at == 'n';
            layout.cores[i].work |= *at == 'w';
            layout.cores[i].sched |= *at == 's';
        }
        layout.net_count += layout.cores[i].net;
        layout.work_count += layout.cores[i].work;
    }
    return layout;
}

static void holds(const struct ring *ring, bool wanted, uint32_t items, const char *name,
                  uint32_t core) {
    cr_assert_eq(ring != NULL, wanted, "%s of core %u", name, core);
    if (ring) {
        cr_assert_geq(ring_capacity(ring), items, "%s of core %u", name, core);
        cr_assert_eq(ring_count(ring), 0);
    }
}

/* Every ring is where both its ends are, and nowhere else. */
static void check_mesh(const struct layout *layout, uint32_t sched_core) {
    cr_assert_eq(mesh_open(&mesh, layout, JOBS_MAX), 0);
    cr_assert_eq(mesh.core_count, layout->count);
    cr_assert_eq(mesh.helper_core, layout->count);
    cr_assert_eq(mesh.sched_core, sched_core);
    for (uint32_t c = 0; c < CLASS_COUNT; c++) {
        holds(mesh.class_rings[c], true, MESH_CLASS_RING - 1, "class ring", c);
    }
    holds(mesh.helper_in, true, MESH_HELPER_RING - 1, "helper_in", 0);
    for (uint32_t i = 0; i < LAYOUT_CORES_MAX; i++) {
        bool net = i < layout->count && layout->cores[i].net;
        bool work = i < layout->count && layout->cores[i].work;
        holds(mesh.batch_home[i], net, MESH_NET_BATCHES, "batch_home", i);
        holds(mesh.shed[i], net, JOBS_MAX, "shed", i);
        holds(mesh.helper_done[i], net, JOBS_MAX, "helper_done", i);
        holds(mesh.inbox[i], work, 2, "inbox", i);
        holds(mesh.order_home[i], work, MESH_ORDER_BATCHES, "order_home", i);
        for (uint32_t n = 0; n < LAYOUT_CORES_MAX; n++) {
            bool both = work && n < layout->count && layout->cores[n].net;
            holds(mesh.done[i][n], both, JOBS_MAX, "done", i);
        }
    }
    mesh_close(&mesh);
}

Test(mesh, of_one_core_has_every_ring_once) {
    const char *cores[] = {"nws"};
    struct layout layout = layout_of(cores, array_count(cores));
    check_mesh(&layout, 0);
}

Test(mesh, of_fused_cores_joins_every_work_tile_with_every_net_tile) {
    const char *cores[] = {"nw", "nw", "nw", "s"};
    struct layout layout = layout_of(cores, array_count(cores));
    check_mesh(&layout, 3);
}

Test(mesh, of_split_cores_has_no_ring_without_its_two_ends) {
    const char *cores[] = {"n", "n", "w", "ws", "n"};
    struct layout layout = layout_of(cores, array_count(cores));
    check_mesh(&layout, 3);
}

Test(mesh, of_the_most_cores_fits_its_own_sum) {
    const char *cores[LAYOUT_CORES_MAX];
    for (uint32_t i = 0; i < LAYOUT_CORES_MAX; i++) {
        cores[i] = i == LAYOUT_CORES_MAX - 1 ? "s" : "nw";
    }
    struct layout layout = layout_of(cores, array_count(cores));
    check_mesh(&layout, LAYOUT_CORES_MAX - 1);
}

/* "Cannot fail" on a way home is only true if all jobs of a tile fit. */
Test(mesh, done_and_shed_rings_take_every_job_of_their_net_tile) {
    const char *cores[] = {"n", "ws"};
    struct layout layout = layout_of(cores, array_count(cores));
    cr_assert_eq(mesh_open(&mesh, &layout, 4096), 0);
    int item;
    for (uint32_t i = 0; i < 4096; i++) {
        cr_assert(ring_push_spsc(mesh.done[1][0], &item));
        cr_assert(ring_push_spsc(mesh.shed[0], &item));
        cr_assert(ring_push_spsc(mesh.helper_done[0], &item));
    }
    mesh_close(&mesh);
}

Test(mesh, rings_are_of_the_kind_their_writers_need) {
    const char *cores[] = {"nws", "nw"};
    struct layout layout = layout_of(cores, array_count(cores));
    cr_assert_eq(mesh_open(&mesh, &layout, 64), 0);
    int item;
    cr_assert(ring_push_mpmc(mesh.class_rings[CLASS_LOW], &item)); /* another kind would panic */
    cr_assert(ring_push_mpmc(mesh.helper_in, &item));
    cr_assert(ring_push_spsc(mesh.inbox[1], &item));
    cr_assert(ring_push_spsc(mesh.order_home[0], &item));
    cr_assert(ring_push_spsc(mesh.batch_home[1], &item));
    cr_assert_eq(ring_pop_mpmc(mesh.class_rings[CLASS_LOW]), &item);
    cr_assert_null(ring_pop_mpmc(mesh.class_rings[CLASS_HIGH]));
    mesh_close(&mesh);
}
