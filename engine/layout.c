/* SPDX-License-Identifier: MIT */
#include "engine/layout.h"

#include "base/err.h"
#include "base/must.h"

#include <errno.h>
#include <hwloc.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void read_isolated(struct layout_host *host) {
    FILE *file = fopen("/sys/devices/system/cpu/isolated", "re");
    char text[1024] = "";
    if (!file) {
        return;
    }
    uint64_t map[CORES_MAX / 64] = {0};
    bool automatic = false;
    if (fgets(text, sizeof text, file)) {
        text[strcspn(text, "\n")] = '\0';
        if (text[0] && option_cores(text, map, &automatic) == 0) {
            for (uint32_t i = 0; i < host->count; i++) {
                uint32_t cpu = host->cpus[i];
                host->isolated[i] = (map[cpu / 64] >> (cpu % 64) & 1) != 0;
            }
        }
    }
    (void)fclose(file);
}

static void read_topology(struct layout_host *host) {
    hwloc_topology_t topology;
    if (hwloc_topology_init(&topology) != 0) {
        return;
    }
    if (hwloc_topology_load(topology) == 0) {
        for (uint32_t i = 0; i < host->count; i++) {
            hwloc_obj_t unit = hwloc_get_pu_obj_by_os_index(topology, host->cpus[i]);
            hwloc_obj_t core =
                unit ? hwloc_get_ancestor_obj_by_type(topology, HWLOC_OBJ_CORE, unit) : NULL;
            if (core) {
                host->core_of[i] = (uint16_t)core->logical_index;
            }
            hwloc_obj_t node = unit ? hwloc_get_next_obj_covering_cpuset_by_type(
                                          topology, unit->cpuset, HWLOC_OBJ_NUMANODE, NULL)
                                    : NULL;
            host->node_of[i] = node ? (uint16_t)node->os_index : 0;
        }
    }
    hwloc_topology_destroy(topology);
}

int layout_host_read(struct layout_host *host) {
    memset(host, 0, sizeof *host);
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) {
        return err_raise(-errno);
    }
    for (uint32_t cpu = 0; cpu < CPU_SETSIZE && cpu < CORES_MAX; cpu++) {
        if (CPU_ISSET(cpu, &set)) {
            host->cpus[host->count] = cpu;
            host->core_of[host->count] = (uint16_t)cpu;
            host->count++;
        }
    }
    read_topology(host);
    read_isolated(host);
    return 0;
}

static int complain(char *why, size_t why_bytes, const char *format, ...) {
    va_list list;
    va_start(list, format);
    (void)vsnprintf(why, why_bytes, format, list);
    va_end(list);
    return OPTION_BAD;
}

/* Where in host->cpus a CPU named by the operator stands; -1: nowhere. */
static int32_t find_cpu(const struct layout_host *host, uint32_t name, bool overcommit) {
    for (uint32_t i = 0; i < host->count; i++) {
        if (host->cpus[i] == name) {
            return (int32_t)i;
        }
    }
    return overcommit ? (int32_t)(name % host->count) : -1;
}

static struct layout_core *core_named(struct layout *layout, const struct layout_host *host,
                                      uint32_t name, uint32_t place) {
    for (uint32_t i = 0; i < layout->count; i++) {
        if (layout->cores[i].name == name) {
            return &layout->cores[i];
        }
    }
    if (layout->count == LAYOUT_CORES_MAX) {
        return NULL;
    }
    struct layout_core *core = &layout->cores[layout->count++];
    *core = (struct layout_core){.cpu = host->cpus[place],
                                 .name = name,
                                 .node = host->node_of[place],
                                 .alone = host->isolated[place]};
    return core;
}

enum part { PART_NET, PART_WORK, PART_SCHED };

/* Puts a part on every core of a list. An empty or "auto" list leaves *ret_auto true. */
static int place_list(const struct settings *settings, const struct layout_host *host,
                      const char *flag, const char *text, enum part part, struct layout *layout,
                      bool *ret_auto, char *why, size_t why_bytes) {
    uint64_t map[CORES_MAX / 64] = {0};
    *ret_auto = text[0] == '\0';
    if (*ret_auto) {
        return 0;
    }
    if (option_cores(text, map, ret_auto) != 0) {
        return complain(why, why_bytes,
                        "%s: '%s' is not a core list (try 0-3,8 or 0-10/2 or auto; no core twice)",
                        flag, text);
    }
    for (uint32_t name = 0; name < CORES_MAX && !*ret_auto; name++) {
        if ((map[name / 64] >> (name % 64) & 1) == 0) {
            continue;
        }
        int32_t place = find_cpu(host, name, settings->cores_overcommit);
        if (place < 0) {
            return complain(why, why_bytes,
                            "%s: core %u is offline or outside the CPUs this process may use "
                            "(taskset -p $$ shows them; --overcommit shares CPUs)",
                            flag, name);
        }
        struct layout_core *core = core_named(layout, host, name, (uint32_t)place);
        if (!core) {
            return complain(why, why_bytes, "%s: more than %d cores", flag, LAYOUT_CORES_MAX);
        }
        core->net |= part == PART_NET;
        core->work |= part == PART_WORK;
        core->sched |= part == PART_SCHED;
    }
    return 0;
}

/* The CPUs auto takes: one of each physical core where four or more remain, else all. */
static uint32_t auto_places(const struct layout_host *host, uint32_t places[LAYOUT_CORES_MAX]) {
    uint32_t firsts = 0;
    bool seen[CORES_MAX] = {false};
    for (uint32_t i = 0; i < host->count; i++) {
        if (!seen[host->core_of[i] % CORES_MAX]) {
            seen[host->core_of[i] % CORES_MAX] = true;
            firsts++;
        }
    }
    bool skip = firsts >= 4;
    uint32_t count = 0;
    memset(seen, 0, sizeof seen);
    for (uint32_t i = 0; i < host->count && count < LAYOUT_CORES_MAX; i++) {
        bool again = seen[host->core_of[i] % CORES_MAX];
        seen[host->core_of[i] % CORES_MAX] = true;
        if (!(skip && again)) {
            places[count++] = i;
        }
    }
    return count;
}

static void place_auto(const struct layout_host *host, struct layout *layout, bool net, bool work) {
    uint32_t places[LAYOUT_CORES_MAX];
    uint32_t count = auto_places(host, places);
    uint32_t serving = count >= 4 ? count - 1 : count;
    for (uint32_t i = 0; i < count; i++) {
        bool last_alone = i >= serving;
        if (last_alone) {
            continue; /* the scheduler's, placed by place_sched */
        }
        struct layout_core *core = core_named(layout, host, host->cpus[places[i]], places[i]);
        must(core != NULL);
        core->net |= net;
        core->work |= work;
    }
}

static void place_sched(const struct layout_host *host, struct layout *layout, bool whole_auto) {
    uint32_t places[LAYOUT_CORES_MAX];
    uint32_t count = auto_places(host, places);
    if (whole_auto && count >= 4) {
        uint32_t last = places[count - 1];
        struct layout_core *core = core_named(layout, host, host->cpus[last], last);
        must(core != NULL);
        core->sched = true;
        layout->ctl_cpu = (int32_t)core->cpu;
        return;
    }
    for (uint32_t i = layout->count;
         i-- > 0;) { /* the last work core: disk and CPU work is there */
        if (layout->cores[i].work) {
            layout->cores[i].sched = true;
            return;
        }
    }
}

static int place_ctl(const struct settings *settings, const struct layout_host *host,
                     struct layout *layout, char *why, size_t why_bytes) {
    struct layout scratch = {0};
    bool automatic;
    int r = place_list(settings, host, "--ctl-core", settings->cores_ctl, PART_SCHED, &scratch,
                       &automatic, why, why_bytes);
    if (r == 0 && !automatic) {
        layout->ctl_cpu = (int32_t)scratch.cores[0].cpu;
    }
    return r;
}

int layout_make(const struct settings *settings, const struct layout_host *host,
                struct layout *layout, char *why, size_t why_bytes) {
    memset(layout, 0, sizeof *layout);
    layout->ctl_cpu = -1;
    bool net_auto, work_auto, sched_auto;
    int r = place_list(settings, host, "--net-cores", settings->cores_net, PART_NET, layout,
                       &net_auto, why, why_bytes);
    if (r == 0) {
        r = place_list(settings, host, "--work-cores", settings->cores_work, PART_WORK, layout,
                       &work_auto, why, why_bytes);
    }
    if (r == 0) {
        r = place_list(settings, host, "--sched-core", settings->cores_sched, PART_SCHED, layout,
                       &sched_auto, why, why_bytes);
    }
    if (r != 0) {
        return r;
    }
    layout->automatic = net_auto && work_auto && sched_auto;
    if (net_auto && work_auto) {
        place_auto(host, layout, true, true);
    } else {
        for (uint32_t i = 0; i < layout->count;
             i++) { /* one list given: the other part goes with it */
            layout->cores[i].net |= net_auto && layout->cores[i].work;
            layout->cores[i].work |= work_auto && layout->cores[i].net;
        }
    }
    if (sched_auto) {
        place_sched(host, layout, layout->automatic);
    }
    uint32_t sched_count = 0;
    for (uint32_t i = 0; i < layout->count; i++) {
        layout->net_count += layout->cores[i].net;
        layout->work_count += layout->cores[i].work;
        sched_count += layout->cores[i].sched;
    }
    if (sched_count != 1) {
        return complain(why, why_bytes, "--sched-core: one core, not %u", sched_count);
    }
    must(layout->net_count > 0 && layout->work_count > 0);
    return place_ctl(settings, host, layout, why, why_bytes);
}

size_t layout_describe(const struct layout *layout, char *text, size_t text_bytes) {
    size_t used = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < layout->count && used < text_bytes; i++) {
        const struct layout_core *core = &layout->cores[i];
        int n = snprintf(text + used, text_bytes - used, "%score %u (cpu %u):%s%s%s",
                         i ? " | " : "", core->name, core->cpu, core->net ? " net" : "",
                         core->work ? " work" : "", core->sched ? " sched" : "");
        if (n < 0) {
            break;
        }
        used += (size_t)n;
    }
    return used < text_bytes ? used : text_bytes - 1;
}
