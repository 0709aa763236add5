/*
 * ledger: which messages all subscribers of one worker have had, and that each had them once and in order.
 *
 * Order and loss are checked where a message arrives: a subscriber knows the number that it has to get next of each
 * topic that it follows, and any other ends the run. What is counted here is when a message is complete, that is, has
 * reached all of this worker's subscribers: the closed loop publishes by that, and the end of the run waits for it.
 *
 *        complete          published
 *           ▼                  ▼
 *   …  ■  ■ │ 3  5  0  2  5  5 │           how many had message n, in a ring of INFLIGHT_MAX
 *
 * Slow readers are not in it: they may be behind, and lose their place.
 *
 * One a process and group; no locks.
 */
#ifndef SHOAL_BENCH_LEDGER_H
#define SHOAL_BENCH_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include "workload.h"

struct ledger {
    uint32_t topics;
    uint32_t everywhere; /* subscribers that follow all topics */
    uint32_t *followers; /* of each topic, those besides */
    uint64_t complete;   /* messages, from the first on, that all have had */
    struct ledger_slot {
        uint64_t number; /* and one; 0: never used */
        uint32_t had;
    } * slots;
};

/* Dies without memory. */
void ledger_init(struct ledger *ledger, const struct group *group);

/* One more subscriber, of that topic or of all. Before anything is published. */
void ledger_follow(struct ledger *ledger, uint32_t topic, bool all);

/* A subscriber has had message `number`. */
void ledger_had(struct ledger *ledger, uint64_t number);

/* Moves `complete` as far as it goes, when `published` are. */
void ledger_advance(struct ledger *ledger, uint64_t published);

#endif
