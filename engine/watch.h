/* SPDX-License-Identifier: MIT */
#pragma once

/* watch — what an operator must hear of at once, said in the log: damage, failed disk operations, a
 * full store, a core that writes no more, heap calls on a sealed core, keepers that stand still,
 * puts that are refused for long. Tiles count and never log; once a second the control thread looks
 * at what moved. Thread: control. */

struct engine;

void watch_counters(struct engine *engine);
