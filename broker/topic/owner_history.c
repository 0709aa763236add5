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

/* The last `read_max` messages after ticket->offset. Does not make a topic that is not there. */
void owner_read(struct owner *owner, const struct envelope *ask)
{
    struct ticket *ticket = ask->ticket;
    uint32_t number = owner_topic(owner, ticket->hash, NULL, ticket_topic(ticket));
    ticket->status = number ? REPLY_OK : REPLY_TOPICS_LIMIT;
    if (number) {
        struct topic *topic = topic_at(owner, number);
        struct log_limits limits = log_limits_of(topic_namespace(owner, topic));
        uint64_t first = log_first(&topic->log, &limits, owner->now_ms);
        if (ticket->epoch == topic->epoch && ticket->offset + 1 > first) {
            first = ticket->offset + 1;
        } else if (topic->log.tail + 1 - first > ticket->read_max) {
            first = topic->log.tail + 1 - ticket->read_max;
        }
        struct chunk *chunk = log_find(&topic->log, first);
        ticket->epoch = topic->epoch;
        ticket->first = first;
        ticket->offset = topic->log.tail;
        ticket->chunk = chunk ? chunk_share(chunk) : NULL;
    }
    struct envelope tell = {.kind = TELL_READ, .ticket = ticket};
    CHECK(mesh_tell(owner->mesh, owner->shard, ask->from, &tell));
}
