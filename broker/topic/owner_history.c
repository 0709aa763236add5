/*
 * owner_history: where in a log a subscriber that comes back goes on, and what a plain GET reads. See owner.h.
 */
#include "base/check.h"
#include "topic/owner.h"

/* The place after which to deliver, for what was asked. */
static enum history_status position_resolve(struct owner *owner, const struct topic *topic, const struct envelope *ask,
                                            uint64_t *position)
{
    struct log_limits limits = log_limits_of(topic_namespace(owner, topic));
    uint64_t first = log_first(&topic->log, &limits, owner->now_ms);
    if (ask->from_kind == FROM_LAST) {
        *position = first <= topic->log.tail ? topic->log.tail - 1 : topic->log.tail;
        return HISTORY_REACHES;
    }
    *position = first - 1;
    if (ask->epoch != topic->epoch) {
        return HISTORY_EPOCH;
    }
    if (ask->offset > topic->log.tail) {
        *position = topic->log.tail;
        return HISTORY_AHEAD;
    }
    if (ask->offset + 1 < first) {
        return HISTORY_EXPIRED;
    }
    *position = ask->offset;
    return HISTORY_REACHES;
}

void owner_history(struct owner *owner, const struct envelope *ask)
{
    struct topic *topic = topic_at(owner, ask->topic);
    owner_match_filters(owner, ask->topic);
    for (uint32_t n = topic->followers; n; n = follower_at(owner, n)->next) {
        struct follower *follower = follower_at(owner, n);
        if (follower->shard == ask->from && follower->state == FOLLOWER_ACTIVE) {
            /* so that the shard knows the tail that the answer counts from */
            CHECK(owner_tell_tail(owner, topic, follower));
        }
    }
    uint64_t position;
    enum history_status status = position_resolve(owner, topic, ask, &position);
    struct chunk *chunk = log_find(&topic->log, position + 1);
    struct envelope tell = {
        .kind = TELL_HISTORY,
        .ref = ask->ref,
        .epoch = topic->epoch,
        .offset = position,
        .chunk = chunk ? chunk_share(chunk) : NULL,
        .status = (uint8_t)status,
    };
    CHECK(mesh_tell(owner->mesh, owner->shard, ask->from, &tell));
}

/*
 * Where a plain GET begins: after its position; else with the last `read_max` messages. A position of another epoch, or
 * one that the history no longer reaches back to, begins with the oldest: the reader sees by `first` what is missing.
 */
static uint64_t read_first(struct owner *owner, const struct topic *topic, const struct ticket *ticket)
{
    struct log_limits limits = log_limits_of(topic_namespace(owner, topic));
    uint64_t first = log_first(&topic->log, &limits, owner->now_ms);
    if (ticket->epoch) {
        return ticket->epoch == topic->epoch && ticket->offset + 1 > first ? ticket->offset + 1 : first;
    }
    return topic->log.tail + 1 - first > ticket->read_max ? topic->log.tail + 1 - ticket->read_max : first;
}

/* A topic that is not there reads as empty: epoch and offset 0. */
void owner_read(struct owner *owner, const struct envelope *ask)
{
    struct ticket *ticket = ask->ticket;
    uint32_t number = owner_topic_find(owner, ticket->hash, ticket_topic(ticket));
    ticket->status = REPLY_OK;
    if (number) {
        struct topic *topic = topic_at(owner, number);
        uint64_t first = read_first(owner, topic, ticket);
        struct chunk *chunk = log_find(&topic->log, first);
        ticket->epoch = topic->epoch;
        ticket->first = first;
        ticket->offset = topic->log.tail;
        ticket->chunk = chunk ? chunk_share(chunk) : NULL;
    } else {
        ticket->epoch = 0;
        ticket->first = 1;
        ticket->offset = 0;
    }
    struct envelope tell = {.kind = TELL_READ, .ticket = ticket};
    CHECK(mesh_tell(owner->mesh, owner->shard, ask->from, &tell));
}
