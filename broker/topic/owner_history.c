/*
 * owner_history: where in a log a subscriber that comes back goes on, and what a plain GET reads. See owner.h.
 */
#include "base/check.h"
#include "topic/owner.h"

/* A position right before the oldest chunk is shown as what its first entry goes on from. */
static uint64_t offset_in(const struct chunk *chunk, uint64_t position)
{
    bool before_gap = position < chunk->base && chunk->has_gap && chunk->gap_from > 0;
    return before_gap ? chunk->gap_from - 1 : chunk_offset(chunk, position);
}

struct place owner_place_at(const struct owner *owner, const struct topic *topic, uint64_t position)
{
    const struct chunk *chunk = position == topic->log.tail ? NULL : log_chunk_at(&topic->log, position);
    return (struct place){
        .position = position,
        .epoch = chunk ? chunk->epoch : topic->epoch,
        .offset = chunk ? offset_in(chunk, position) : position + (uint64_t)topic_shift(owner, topic),
    };
}

struct place owner_place_begin(const struct owner *owner, const struct topic *topic, uint64_t kept)
{
    const struct chunk *chunk = log_find(&topic->log, kept);
    bool gap = chunk && chunk_is_gap(chunk, (uint32_t)(kept - chunk->base));
    return owner_place_at(owner, topic, gap ? kept : kept - 1);
}

enum history_status owner_place_find(const struct owner *owner, const struct topic *topic, uint64_t kept,
                                     uint64_t epoch, uint64_t offset, struct place *place)
{
    uint64_t position;
    bool present = epoch == topic->epoch;
    if (present && offset >= topic_tail_offset(owner, topic)) {
        *place = owner_place_at(owner, topic, topic->log.tail);
        return offset == place->offset ? HISTORY_REACHES : HISTORY_AHEAD;
    }
    if (log_position(&topic->log, epoch, offset, &position) && position + 1 >= kept) {
        *place = owner_place_at(owner, topic, position);
        return HISTORY_REACHES;
    }
    uint64_t first = present ? kept : topic_epoch_first(owner, topic, kept);
    *place = owner_place_begin(owner, topic, first);
    return present ? HISTORY_EXPIRED : HISTORY_EPOCH;
}

/* The place before the last message, if history has it. A gap is none. */
static struct place place_of_last(const struct owner *owner, const struct topic *topic, uint64_t kept)
{
    uint64_t tail = topic->log.tail;
    return kept <= tail ? owner_place_begin(owner, topic, tail) : owner_place_at(owner, topic, tail);
}

/* The place after which to deliver, for what was asked. */
static enum history_status place_resolve(struct owner *owner, const struct topic *topic, const struct envelope *ask,
                                         struct place *place)
{
    struct log_limits limits = log_limits_of(topic_namespace(owner, topic));
    uint64_t first = log_first(&topic->log, &limits, owner->now_ms);
    if (ask->from_kind == FROM_LAST) {
        *place = place_of_last(owner, topic, first);
        return HISTORY_REACHES;
    }
    return owner_place_find(owner, topic, first, ask->epoch, ask->offset, place);
}

/* Whether another host may know more of a position than this one. */
static bool is_ahead(enum history_status status)
{
    return status == HISTORY_AHEAD || status == HISTORY_EPOCH;
}

void owner_history(struct owner *owner, const struct envelope *ask)
{
    struct topic *topic = topic_at(owner, ask->topic);
    struct place place;
    enum history_status status = place_resolve(owner, topic, ask, &place);
    enum remote_gate gate = is_ahead(status) ? owner_gate_ahead(owner, ask->topic, ask) : GATE_OPEN;
    if (gate == GATE_PARKED) {
        return;
    }
    if (gate == GATE_REFUSED) {
        status = HISTORY_AWAY;
    }
    owner_match_filters(owner, ask->topic);
    for (uint32_t n = topic->followers; n; n = follower_at(owner, n)->next) {
        struct follower *follower = follower_at(owner, n);
        if (follower->shard == ask->from && follower->state == FOLLOWER_ACTIVE) {
            /* so that the shard knows the tail that the answer counts from */
            CHECK(owner_tell_tail(owner, topic, follower));
        }
    }
    struct chunk *chunk = log_find(&topic->log, place.position + 1);
    struct envelope tell = {
        .kind = TELL_HISTORY,
        .ref = ask->ref,
        .epoch = place.epoch,
        .offset = place.position,
        .shift = (int64_t)(place.offset - place.position),
        .chunk = chunk ? chunk_share(chunk) : NULL,
        .status = (uint8_t)status,
    };
    CHECK(mesh_tell(owner->mesh, owner->shard, ask->from, &tell));
}

/*
 * The position where a plain GET begins: after its position; else with the last `read_max` messages. A position of
 * another epoch, or one that the history no longer reaches back to, begins with the oldest: the reader sees by `first`
 * what is missing.
 */
static uint64_t read_first(struct owner *owner, const struct topic *topic, const struct ticket *ticket)
{
    struct log_limits limits = log_limits_of(topic_namespace(owner, topic));
    uint64_t first = log_first(&topic->log, &limits, owner->now_ms);
    uint64_t present = log_epoch_first(&topic->log, topic->epoch);
    first = present > first ? present : first;
    if (ticket->epoch) {
        struct place place;
        enum history_status status = owner_place_find(owner, topic, first, ticket->epoch, ticket->offset, &place);
        uint64_t beyond = status == HISTORY_AHEAD ? ticket->offset - place.offset : 0; /* nothing is there yet */
        uint64_t most = UINT64_MAX - 1 - place.position; /* positions may be ahead of offsets */
        return place.position + 1 + (beyond < most ? beyond : most);
    }
    return topic->log.tail + 1 - first > ticket->read_max ? topic->log.tail + 1 - ticket->read_max : first;
}

/* Whether a reader's position is one that only another host can know of. */
static bool reads_ahead(const struct owner *owner, const struct topic *topic, const struct ticket *ticket)
{
    struct place place;
    return ticket->epoch && is_ahead(owner_place_find(owner, topic, 1, ticket->epoch, ticket->offset, &place));
}

/* Finds the topic; one whose log is in Redis is made, and opened. GATE_REFUSED: it can't be. */
static enum remote_gate read_gate(struct owner *owner, const struct envelope *ask, uint32_t *number)
{
    const struct ticket *ticket = ask->ticket;
    struct span name = ticket_topic(ticket);
    *number = owner_topic_find(owner, ticket->hash, name);
    if (!owner_federates(owner, name) || !config_namespace_of(owner->config, name)->logged) {
        return GATE_OPEN;
    }
    *number = owner_topic(owner, ticket->hash, NULL, name);
    enum remote_gate gate = *number ? owner_gate(owner, *number, ask) : GATE_REFUSED;
    if (gate == GATE_OPEN && reads_ahead(owner, topic_at(owner, *number), ticket)) {
        gate = owner_gate_ahead(owner, *number, ask);
    }
    return gate;
}

static void read_topic(struct owner *owner, const struct topic *topic, struct ticket *ticket)
{
    uint64_t first = read_first(owner, topic, ticket);
    struct chunk *chunk = log_find(&topic->log, first);
    ticket->epoch = topic->epoch;
    ticket->first = owner_place_at(owner, topic, first - 1).offset + 1;
    ticket->offset = topic_tail_offset(owner, topic);
    ticket->position = first;
    ticket->position_last = topic->log.tail;
    ticket->chunk = chunk ? chunk_share(chunk) : NULL;
}

/* A topic that is not there reads as empty: epoch and offset 0. */
void owner_read(struct owner *owner, const struct envelope *ask)
{
    struct ticket *ticket = ask->ticket;
    uint32_t number;
    enum remote_gate gate = read_gate(owner, ask, &number);
    if (gate == GATE_PARKED) {
        return;
    }
    ticket->status = gate == GATE_OPEN ? REPLY_OK : REPLY_UNAVAILABLE;
    if (gate == GATE_OPEN && number) {
        read_topic(owner, topic_at(owner, number), ticket);
    } else {
        ticket->epoch = 0;
        ticket->first = 1;
        ticket->offset = 0;
        ticket->position = 1;
        ticket->position_last = 0;
    }
    struct envelope tell = {.kind = TELL_READ, .ticket = ticket};
    CHECK(mesh_tell(owner->mesh, owner->shard, ask->from, &tell));
}
