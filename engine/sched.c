/* SPDX-License-Identifier: MIT */
#include "engine/sched.h"

#include "base/bits.h"
#include "base/must.h"

/* Every queued job has a node in two lists: the FIFO of its flow, and the arrival order of its
 * class (doubly linked, nodes 0..3 are the heads, so that any job leaves it without a branch).
 *
 * Deficit round robin without rounds that serve nobody. A flow is served while its deficit is
 * positive, and may end its turn in debt by the rest of one job. Each round would give it a quantum
 * back, so a flow that owes d is due d / quantum + 1 rounds from now: it is filed there, in a
 * calendar of 64 rounds, each a FIFO of flows, with a bit mask of those that have any. The next
 * round with work is one count of trailing zeros away; every step is O(1) whatever jobs cost and
 * however many flows there are. A flow that runs empty keeps its due round and deficit, so it earns
 * nothing by leaving and coming back.
 *
 *        round        round+1      round+3
 *      [f7 f2 f9]     [f1 f4]       [f3]      <- f3 had a costly job
 *       serve f7: still positive -> stays first; spent -> filed at round + 1 + debt / quantum
 *
 * Classes carry virtual time, cost x product of all shares / own share: exact in integers, so a
 * hundred equal dispatches are 25, 25, 33, 17 to the job. When nothing is queued all start again
 * from zero. */

#define ROUNDS      64u /* of the calendar: bits of a word */
#define NONE        0u  /* node 0 is the head of a class list, never in a flow */
#define SHARE_MAX   100u
#define VIRTUAL_MAX (UINT64_C(1) << 62) /* one job adds less than 2^52 */
#define BOOST_COST  100                 /* a dispatch earns boost_percent of it */
#define BOOST_SAVED (10 * BOOST_COST)   /* so an hour without need buys ten in a row, not more */
#define P50_STEP    32u                 /* one batch moves the median estimate by a 32nd */
#define CODEL_SEEN_MIN                                                                         \
    8u                  /* jobs an interval must have shown before it can be called overloaded \
                         */
#define TARGET_PARTS 5u /* CoDel's target: a fifth of the class's, or */
#define P50_TIMES    5u /* five times its median service */

struct node {
    struct job *job;
    uint64_t arrived_ns; /* a copy: looking at the oldest must not fetch the job */
    uint32_t cost_ns;
    uint32_t flow_next;
    uint32_t older;
    uint32_t newer;
};
static_assert(sizeof(struct node) == 32, "two nodes a line");

struct flow {
    int64_t deficit; /* > 0: may be served when due */
    uint32_t head;
    uint32_t tail;
    uint32_t due;       /* round it is filed at, or may come back at */
    uint32_t next_flow; /* in the same round */
};

struct flow_list {
    uint32_t head; /* flow numbers; valid while the round's bit is set */
    uint32_t tail;
};

struct codel {
    uint64_t ends_ns; /* of the running interval; 0: none has begun */
    uint64_t least_ns;
    uint64_t target_ns;
    uint32_t seen; /* jobs in the running interval */
    bool overloaded;
};

struct class_queue {
    uint32_t count;
    uint32_t round;
    uint64_t rounds_filled; /* bit r: some flow is filed at a round that is r modulo 64 */
    struct codel codel;
    uint64_t p50_ns; /* of service; 0: nothing served yet */
    struct flow_list rounds[ROUNDS];
    struct flow flows[SCHED_FLOWS];
};

struct sched {
    struct node *nodes;
    uint32_t free_head;  /* given back, last in first out, linked by flow_next */
    uint32_t fresh;      /* nodes from here on were never used */
    uint32_t backlog;    /* jobs queued */
    uint32_t backlogged; /* bit per class */
    int32_t boost_credit;
    uint32_t quantum_shift;
    uint64_t virtual_time[CLASS_COUNT];
    uint64_t weight[CLASS_COUNT]; /* virtual time per unit of cost */
    struct class_queue classes[CLASS_COUNT];
    struct sched_stats stats;
    struct sched_config config;
};

const struct sched_config sched_config_default = {
    .shares = {25, 25, 33, 17},
    .target_ns = {10 * NS_PER_MS, 50 * NS_PER_MS, 200 * NS_PER_MS, 1000 * NS_PER_MS},
    .codel_interval_ns = 100 * NS_PER_MS,
    .jobs_max = 65536,
    .flow_quantum = 8192, /* some forty memory hits, or one disk read and a debt */
    .boost_percent = 10,
    .shed = true,
};

static uint64_t age_ns(uint64_t arrived_ns, uint64_t now_ns) {
    return now_ns > arrived_ns ? now_ns - arrived_ns : 0; /* another core's stamp may be ahead */
}

/* --- birth ------------------------------------------------------------------------------------ */

static size_t nodes_offset(void) {
    return round_up(sizeof(struct sched), CACHE_PAIR);
}

size_t sched_footprint(const struct sched_config *config) {
    size_t nodes = (size_t)config->jobs_max + CLASS_COUNT;
    return round_up(nodes_offset() + nodes * sizeof(struct node), CACHE_PAIR);
}

static void retarget(struct sched *sched, enum job_class class) {
    struct class_queue *queue = &sched->classes[class];
    queue->codel.target_ns =
        max_u64(sched->config.target_ns[class] / TARGET_PARTS, P50_TIMES * queue->p50_ns);
}

struct sched *sched_init(void *memory, const struct sched_config *config) {
    must(((uintptr_t)memory & (CACHE_PAIR - 1)) == 0);
    must(config->jobs_max >= 1 && config->jobs_max < UINT32_MAX - CLASS_COUNT);
    must(config->flow_quantum >= 1 && config->flow_quantum <= BIT(30));
    must(config->boost_percent <= 100);
    struct sched *sched = memory;
    *sched = (struct sched){.config = *config, .fresh = CLASS_COUNT, .free_head = NONE};
    sched->nodes = (struct node *)(void *)((uint8_t *)memory + nodes_offset());
    sched->quantum_shift = (uint32_t)__builtin_ctzll(power_of_two_above(config->flow_quantum));
    uint64_t product = 1;
    for (uint32_t c = 0; c < CLASS_COUNT; c++) {
        must(config->shares[c] >= 1 && config->shares[c] <= SHARE_MAX);
        product *= config->shares[c];
    }
    for (uint32_t c = 0; c < CLASS_COUNT; c++) {
        struct class_queue *queue = &sched->classes[c];
        sched->nodes[c] = (struct node){.older = c, .newer = c};
        sched->weight[c] = product / config->shares[c];
        for (uint32_t f = 0; f < SCHED_FLOWS; f++) {
            queue->flows[f].deficit = INT64_C(1) << sched->quantum_shift;
        }
        retarget(sched, (enum job_class)c);
    }
    return sched;
}

/* --- flows of one class ----------------------------------------------------------------------- */

static void flow_file(struct class_queue *queue, uint32_t number) {
    struct flow *flow = &queue->flows[number];
    uint32_t slot = flow->due % ROUNDS;
    struct flow_list *list = &queue->rounds[slot];
    uint64_t bit = UINT64_C(1) << slot;
    if (queue->rounds_filled & bit) {
        queue->flows[list->tail].next_flow = number;
    } else {
        list->head = number;
        queue->rounds_filled |= bit;
    }
    list->tail = number;
}

/* Moves to the next round in which a flow is filed: this one if it has any. */
static void round_seek(struct class_queue *queue) {
    uint32_t slot = queue->round % ROUNDS;
    uint64_t ahead = queue->rounds_filled >> slot | queue->rounds_filled << (-slot % ROUNDS);
    queue->round += (uint32_t)__builtin_ctzll(ahead);
}

/* The flow comes back: in this round with what it had left, later if it owes, afresh if it has been
 * away. A due round more than the calendar ahead is one that has long passed. */
static void flow_wake(struct sched *sched, struct class_queue *queue, uint32_t number) {
    struct flow *flow = &queue->flows[number];
    if (flow->due - queue->round >= ROUNDS) {
        flow->due = queue->round;
        flow->deficit = INT64_C(1) << sched->quantum_shift;
    }
    flow_file(queue, number);
    if (queue->count == 0) {
        round_seek(queue);
    }
}

/* The first flow of the round has spent its turn or its jobs: it leaves the round, and if it has
 * jobs it is filed where its debt is paid. */
static void flow_turn_ends(struct sched *sched, struct class_queue *queue, uint32_t number) {
    struct flow *flow = &queue->flows[number];
    uint32_t slot = queue->round % ROUNDS;
    struct flow_list *list = &queue->rounds[slot];
    if (list->head == list->tail) {
        queue->rounds_filled &= ~(UINT64_C(1) << slot);
    } else {
        list->head = flow->next_flow;
    }
    flow->due = queue->round;
    if (flow->deficit <= 0) {
        uint64_t owed = (uint64_t)-flow->deficit >> sched->quantum_shift;
        uint32_t rounds = (uint32_t)min_u64(owed + 1, ROUNDS - 1);
        flow->due += rounds;
        flow->deficit += (int64_t)rounds << sched->quantum_shift;
    }
    if (flow->head != NONE) {
        flow_file(queue, number);
    }
    if (queue->rounds_filled) {
        round_seek(queue);
    }
}

/* The flow whose turn it is. A flow that owed more than the calendar reaches comes up still in
 * debt and is filed again: once per 63 quanta of what its job cost. */
static uint32_t flow_first(struct sched *sched, struct class_queue *queue) {
    for (;;) {
        uint32_t number = queue->rounds[queue->round % ROUNDS].head;
        if (likely(queue->flows[number].deficit > 0)) {
            return number;
        }
        flow_turn_ends(sched, queue, number);
    }
}

/* --- classes ---------------------------------------------------------------------------------- */

/* The backlogged class with the least virtual time, the higher class at a tie. Some class is. */
static inline uint32_t class_least(const struct sched *sched) {
    uint64_t least_time = UINT64_MAX;
    uint32_t least = 0;
    for (uint32_t c = 0; c < CLASS_COUNT; c++) {
        uint64_t time = sched->backlogged & BIT(c) ? sched->virtual_time[c] : UINT64_MAX;
        if (time < least_time) {
            least_time = time;
            least = c;
        }
    }
    return least;
}

static uint64_t oldest_ns(const struct sched *sched, uint32_t class) {
    return sched->nodes[sched->nodes[class].newer].arrived_ns;
}

static bool class_late(const struct sched *sched, uint32_t class, uint64_t now_ns) {
    return sched->classes[class].count != 0 &&
           age_ns(oldest_ns(sched, class), now_ns) > sched->config.target_ns[class] / 2;
}

/* The classes whose oldest job is past half its target. None joins them while now_ns stands. */
static uint32_t classes_late(const struct sched *sched, uint64_t now_ns) {
    uint32_t late = 0;
    for (uint32_t c = 0; c < CLASS_COUNT; c++) {
        late |= class_late(sched, c, now_ns) ? BIT(c) : 0;
    }
    return late;
}

/* Whose dispatch is next: virtual time's choice, unless the most urgent late class may be put
 * before it. `late` may name classes that no longer are. */
static inline uint32_t class_choose(const struct sched *sched, uint32_t late, uint64_t now_ns,
                                    bool *ret_boosted) {
    uint32_t least = class_least(sched);
    *ret_boosted = false;
    if (sched->boost_credit >= BOOST_COST) {
        for (; late; late &= late - 1) {
            uint32_t c = (uint32_t)__builtin_ctz(late);
            if (class_late(sched, c, now_ns)) {
                *ret_boosted = c != least;
                return c;
            }
        }
    }
    return least;
}

/* An idle spell earns nothing: a class that wakes is pulled up to the least of those at work. */
static void class_wake(struct sched *sched, uint32_t class) {
    if (sched->backlogged) {
        uint64_t least = sched->virtual_time[class_least(sched)];
        sched->virtual_time[class] = max_u64(sched->virtual_time[class], least);
    }
    sched->backlogged |= BIT(class);
}

static cold_path void virtual_time_rebase(struct sched *sched) {
    uint64_t least = sched->virtual_time[class_least(sched)];
    for (uint32_t c = 0; c < CLASS_COUNT; c++) {
        sched->virtual_time[c] -= min_u64(sched->virtual_time[c], least);
    }
}

static void class_charge(struct sched *sched, uint32_t class, uint64_t cost_ns) {
    sched->virtual_time[class] += cost_ns * sched->weight[class];
    if (unlikely(sched->virtual_time[class] > VIRTUAL_MAX)) {
        virtual_time_rebase(sched);
    }
}

static void class_idle(struct sched *sched, uint32_t class) {
    sched->backlogged &= ~BIT(class);
    if (!sched->backlogged) {
        for (uint32_t c = 0; c < CLASS_COUNT; c++) {
            sched->virtual_time[c] = 0;
        }
    }
}

/* --- CoDel, by folly's rule ------------------------------------------------------------------- */

static cold_path void codel_interval_ends(struct codel *codel, uint64_t delay_ns, uint64_t now_ns,
                                          uint64_t interval_ns, uint64_t *overloads) {
    /* The first job, or the first after an interval in which none was seen: nothing is known. */
    bool stale = codel->ends_ns == 0 || now_ns - codel->ends_ns > interval_ns;
    /* Few jobs say little: one client that waits for each answer is not an overload. */
    codel->overloaded =
        !stale && codel->seen >= CODEL_SEEN_MIN && codel->least_ns > codel->target_ns;
    *overloads += codel->overloaded;
    codel->ends_ns = now_ns + interval_ns;
    codel->least_ns = delay_ns;
    codel->seen = 0;
}

/* Returns: true if the job is to be shed. */
static inline bool codel_step(struct sched *sched, uint32_t class, uint64_t delay_ns,
                              uint64_t now_ns) {
    struct codel *codel = &sched->classes[class].codel;
    if (unlikely(now_ns > codel->ends_ns)) {
        codel_interval_ends(codel, delay_ns, now_ns, sched->config.codel_interval_ns,
                            &sched->stats.overloaded[class]);
    }
    codel->seen++;
    if (delay_ns < codel->least_ns) {
        codel->least_ns = delay_ns;
    }
    return codel->overloaded && delay_ns > 2 * codel->target_ns && sched->config.shed;
}

void sched_served(struct sched *sched, enum job_class class, uint64_t service_ns, uint32_t jobs) {
    must(class < CLASS_COUNT && jobs != 0);
    struct class_queue *queue = &sched->classes[class];
    uint64_t each = service_ns / jobs;
    uint64_t step = queue->p50_ns / P50_STEP + 1;
    if (queue->p50_ns == 0) {
        queue->p50_ns = each;
    } else if (each > queue->p50_ns) {
        queue->p50_ns = min_u64(queue->p50_ns + step, each);
    } else {
        queue->p50_ns = max_u64(queue->p50_ns - step, each);
    }
    retarget(sched, class);
}

/* --- push and pick ---------------------------------------------------------------------------- */

static uint32_t node_get(struct sched *sched) {
    uint32_t index = sched->free_head;
    if (index != NONE) {
        sched->free_head = sched->nodes[index].flow_next;
        return index;
    }
    return sched->fresh++;
}

hot_path bool sched_push(struct sched *sched, struct job *job, uint32_t cost_ns, uint64_t now_ns) {
    (void)now_ns;
    must(job->class < CLASS_COUNT);
    if (unlikely(sched->backlog == sched->config.jobs_max)) {
        return false;
    }
    uint32_t index = node_get(sched);
    struct node *nodes = sched->nodes;
    uint32_t class = job->class;
    struct class_queue *queue = &sched->classes[class];

    uint32_t newest = nodes[class].older;
    nodes[index] = (struct node){
        .job = job,
        .arrived_ns = job->arrived_ns,
        .cost_ns = max_u32(cost_ns, 1), /* or a class of free jobs would never show progress */
        .flow_next = NONE,
        .older = newest,
        .newer = class,
    };
    nodes[newest].newer = index;
    nodes[class].older = index;

    uint32_t number = job->flow % SCHED_FLOWS;
    struct flow *flow = &queue->flows[number];
    if (flow->head == NONE) {
        flow->head = index;
        flow_wake(sched, queue, number);
    } else {
        nodes[flow->tail].flow_next = index;
    }
    flow->tail = index;
    if (queue->count++ == 0) {
        class_wake(sched, class);
    }
    sched->backlog++;
    return true;
}

static inline enum sched_fate judge(struct sched *sched, uint32_t class, const struct job *job,
                                    uint64_t now_ns) {
    uint64_t delay_ns = age_ns(job->arrived_ns, now_ns);
    bool shed = codel_step(sched, class, delay_ns, now_ns);
    if (unlikely(job->deadline_ms != 0 && delay_ns >= job->deadline_ms * NS_PER_MS)) {
        sched->stats.expired[class]++;
        return SCHED_EXPIRED;
    }
    if (unlikely(shed)) {
        sched->stats.shed[class]++;
        return SCHED_SHED;
    }
    return SCHED_RUN;
}

static void boost_account(struct sched *sched, uint32_t class, uint32_t dispatched, bool boosted) {
    int32_t credit = sched->boost_credit + (int32_t)(dispatched * sched->config.boost_percent);
    if (boosted) {
        credit -= (int32_t)(dispatched * BOOST_COST);
        sched->stats.boosted[class] += dispatched;
    }
    sched->boost_credit = credit < BOOST_SAVED ? credit : BOOST_SAVED;
}

/* What one call of pick or pick_class has done so far. */
struct picking {
    struct sched_pick *picks;
    uint32_t count;
    uint32_t max;
    uint64_t spent_ns;
    uint64_t budget_ns;
    uint64_t now_ns;
};

/* Serves one class from the flow whose turn it is: until that turn ends, at most `jobs`. What can
 * be added up is settled once at the end; the nodes are a chain already and go back as one. */
static inline void class_serve(struct sched *sched, uint32_t class, struct picking *picking,
                               uint32_t jobs, bool boosted) {
    struct class_queue *queue = &sched->classes[class];
    struct node *nodes = sched->nodes;
    uint32_t number = flow_first(sched, queue);
    struct flow *flow = &queue->flows[number];
    uint64_t may_spend_ns =
        min_u64(picking->budget_ns - picking->spent_ns, (uint64_t)flow->deficit);
    uint64_t spent_ns = 0;
    uint32_t taken = 0;
    uint32_t dispatched = 0;
    uint32_t index = flow->head;
    struct node *node;
    do {
        node = &nodes[index];
        struct sched_pick *pick = &picking->picks[picking->count + taken++];
        index = node->flow_next;
        __builtin_prefetch(nodes[index].job); /* of node 0: NULL, which does no harm */
        nodes[node->older].newer = node->newer;
        nodes[node->newer].older = node->older;
        pick->job = node->job;
        pick->cost_ns = node->cost_ns;
        pick->fate = judge(sched, class, node->job, picking->now_ns);
        if (likely(pick->fate == SCHED_RUN)) {
            spent_ns += node->cost_ns;
            dispatched++;
        }
    } while (index != NONE && taken < jobs && spent_ns < may_spend_ns);

    node->flow_next = sched->free_head;
    sched->free_head = flow->head;
    flow->head = index;
    flow->deficit -= (int64_t)spent_ns;
    queue->count -= taken;
    sched->backlog -= taken;
    picking->count += taken;
    picking->spent_ns += spent_ns;
    sched->stats.picked[class] += dispatched;
    sched->stats.cost_ns[class] += spent_ns;
    boost_account(sched, class, dispatched, boosted);
    class_charge(sched, class, spent_ns);
    if (flow->head == NONE || flow->deficit <= 0) {
        flow_turn_ends(sched, queue, number);
    }
    if (queue->count == 0) {
        class_idle(sched, class);
    }
}

static inline bool picking_goes_on(const struct picking *picking) {
    return picking->count < picking->max && picking->spent_ns < picking->budget_ns;
}

hot_path uint32_t sched_pick(struct sched *sched, struct sched_pick picks[], uint32_t max,
                             uint64_t budget_ns, uint64_t now_ns) {
    struct picking picking = {
        .picks = picks,
        .max = max,
        .budget_ns = budget_ns ? budget_ns : UINT64_MAX,
        .now_ns = now_ns,
    };
    uint32_t late = classes_late(sched, now_ns);
    while (sched->backlogged && picking_goes_on(&picking)) {
        if (is_power_of_two(sched->backlogged)) { /* one class: nothing to choose */
            uint32_t class = (uint32_t)__builtin_ctz(sched->backlogged);
            class_serve(sched, class, &picking, max - picking.count, false);
        } else {
            bool boosted;
            uint32_t class = class_choose(sched, late, now_ns, &boosted);
            class_serve(sched, class, &picking, 1, boosted);
        }
    }
    return picking.count;
}

uint32_t sched_pick_class(struct sched *sched, enum job_class class, struct sched_pick picks[],
                          uint32_t max, uint64_t budget_ns, uint64_t now_ns) {
    must(class < CLASS_COUNT);
    struct picking picking = {
        .picks = picks,
        .max = max,
        .budget_ns = budget_ns ? budget_ns : UINT64_MAX,
        .now_ns = now_ns,
    };
    /* A class the policy did not choose is the caller's own choice: charged, but no boost of ours.
     */
    bool boosted = false;
    bool ours = sched->backlogged &&
                class_choose(sched, classes_late(sched, now_ns), now_ns, &boosted) == class;
    while (sched->classes[class].count && picking_goes_on(&picking)) {
        class_serve(sched, class, &picking, max - picking.count, ours && boosted);
    }
    return picking.count;
}

enum job_class sched_next(const struct sched *sched, uint64_t now_ns) {
    if (!sched->backlogged) {
        return CLASS_COUNT;
    }
    bool boosted;
    return (enum job_class)class_choose(sched, classes_late(sched, now_ns), now_ns, &boosted);
}

/* --- questions -------------------------------------------------------------------------------- */

uint32_t sched_backlog(const struct sched *sched) {
    return sched->backlog;
}

uint32_t sched_backlog_of(const struct sched *sched, enum job_class class) {
    must(class < CLASS_COUNT);
    return sched->classes[class].count;
}

uint32_t sched_classes_backlogged(const struct sched *sched) {
    return (uint32_t)__builtin_popcount(sched->backlogged);
}

uint64_t sched_oldest_ns(const struct sched *sched, enum job_class class) {
    must(class < CLASS_COUNT);
    return oldest_ns(sched, class); /* an empty class: its head node, whose stamp is 0 */
}

const struct sched_stats *sched_stats(const struct sched *sched) {
    return &sched->stats;
}

/* --- batch closing ---------------------------------------------------------------------------- */

const uint64_t batch_age_ns[CLASS_COUNT] = {
    [CLASS_CRITICAL] = 1 * NS_PER_MS,
    [CLASS_HIGH] = 5 * NS_PER_MS,
    [CLASS_NORMAL] = 20 * NS_PER_MS,
    [CLASS_LOW] = 100 * NS_PER_MS,
};

void batch_rules_init(struct batch_rules *rules) {
    *rules = (struct batch_rules){.size = BATCH_SIZE_MIN};
}

enum close_reason batch_close(const struct batch_rules *rules, const struct batch_state *state,
                              uint64_t now_ns) {
    must(state->class < CLASS_COUNT);
    if (state->jobs == 0) {
        return CLOSE_NOT_YET;
    }
    if (state->jobs >= rules->size) {
        return CLOSE_SIZE;
    }
    if (state->bytes >= BATCH_BYTES_MAX) {
        return CLOSE_BYTES;
    }
    if (state->cost_ns >= BATCH_COST_MAX_NS) {
        return CLOSE_COST;
    }
    if (state->consumer_idle) {
        return CLOSE_IDLE;
    }
    return age_ns(state->first_ns, now_ns) >= batch_age_ns[state->class] ? CLOSE_AGE
                                                                         : CLOSE_NOT_YET;
}

void batch_rules_adapt(struct batch_rules *rules, enum close_reason reason) {
    rules->full_runs = reason == CLOSE_SIZE ? rules->full_runs + 1 : 0;
    rules->late_runs = reason == CLOSE_AGE ? rules->late_runs + 1 : 0;
    if (rules->full_runs == 2) {
        rules->size = min_u32(rules->size * 5 / 4, BATCH_SIZE_MAX);
        rules->full_runs = 0;
    }
    if (rules->late_runs == 2) {
        rules->size = max_u32(rules->size * 4 / 5, BATCH_SIZE_MIN);
        rules->late_runs = 0;
    }
}
