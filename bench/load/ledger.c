/* ledger: see ledger.h. */
#include "ledger.h"

#include <stdlib.h>

#include "process.h"

void ledger_init(struct ledger *ledger, const struct group *group)
{
    *ledger = (struct ledger){.topics = group->topics};
    ledger->followers = calloc(group->topics, sizeof *ledger->followers);
    ledger->slots = calloc(INFLIGHT_MAX, sizeof *ledger->slots);
    if (!ledger->followers || !ledger->slots) {
        die("no memory");
    }
}

void ledger_follow(struct ledger *ledger, uint32_t topic, bool all)
{
    if (all) {
        ledger->everywhere++;
    } else {
        ledger->followers[topic]++;
    }
}

static struct ledger_slot *slot_of(struct ledger *ledger, uint64_t number)
{
    return &ledger->slots[number % INFLIGHT_MAX];
}

void ledger_had(struct ledger *ledger, uint64_t number)
{
    struct ledger_slot *slot = slot_of(ledger, number);
    if (slot->number != number + 1) {
        *slot = (struct ledger_slot){.number = number + 1};
    }
    slot->had++;
}

void ledger_advance(struct ledger *ledger, uint64_t published)
{
    while (ledger->complete < published) {
        const struct ledger_slot *slot = slot_of(ledger, ledger->complete);
        uint32_t had = slot->number == ledger->complete + 1 ? slot->had : 0;
        if (had < ledger->everywhere + ledger->followers[ledger->complete % ledger->topics]) {
            return;
        }
        ledger->complete++;
    }
}
