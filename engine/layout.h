/* SPDX-License-Identifier: MIT */
#pragma once

/* layout — which tiles run on which core and which CPU that is: data, made once at start, printed.
 *
 *   auto, 1..3 CPUs   every core: net + work; the last one also sched
 *   auto, 4 and more  all but the last: net + work; the last: sched alone, ctl beside it
 *   lists             what --net-cores, --work-cores, --sched-core, --ctl-core say, as taskset
 * takes them
 *
 * Auto uses one CPU of each physical core (SMT siblings share what a net tile needs most) unless
 * that would leave fewer than four. A list entry is a CPU number. A CPU that is offline, outside
 * the allowed set, or named twice in one list is an error, unless overcommit: then names are taken
 * modulo the allowed CPUs, and two cores may share one. Pure but for layout_host, which asks the
 * machine. */

#include "base/base.h"
#include "base/option.h"
#include "engine/settings.h"

#define LAYOUT_CORES_MAX 62 /* with helper and porter the 64 bits of a bell mask */

struct layout_host {
    uint32_t cpus[CORES_MAX];    /* allowed CPUs, rising */
    uint16_t core_of[CORES_MAX]; /* physical core of each, for SMT */
    uint16_t node_of[CORES_MAX]; /* NUMA node of each */
    bool isolated[CORES_MAX];    /* named in isolcpus: ours alone */
    uint32_t count;
};

struct layout_core {
    uint32_t cpu;
    uint32_t name; /* the number the operator used; differs from cpu under overcommit */
    uint16_t node;
    bool net, work, sched;
    bool alone; /* nothing else of the machine runs there */
};

struct layout {
    struct layout_core cores[LAYOUT_CORES_MAX];
    uint32_t count;
    uint32_t net_count, work_count;
    int32_t ctl_cpu; /* -1: anywhere */
    bool automatic;
};

/* layout_host_read asks the kernel and hwloc. Returns: 0 or -errno. Thread: boot. */
must_check int layout_host_read(struct layout_host *ret_host);

/* layout_make. Returns: 0, or OPTION_BAD with a sentence in `why`. Thread: boot. */
must_check int layout_make(const struct settings *settings, const struct layout_host *host,
                           struct layout *ret_layout, char *why, size_t why_bytes);
/* layout_describe writes a line for people: "core 0 (cpu 0): net work | core 1 (cpu 1): net work
 * sched". */
size_t layout_describe(const struct layout *layout, char *text, size_t text_bytes);
