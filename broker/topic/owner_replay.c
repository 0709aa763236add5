/*
 * owner_replay: what a filter's subscriber missed of the topics owned here. See replay.h.
 *
 * Not efficient: it looks at every topic of the shard, some 50 ns each, for each filter that is resumed. That is a
 * price of having no index from filters to topics, which nobody but this would need.
 */
#include "base/check.h"
#include "protocol/topic.h"
#include "topic/owner.h"
#include "topic/replay.h"

/* Where a subscriber says that it is in a topic. */
struct position {
    uint64_t epoch; /* 0: it does not say */
    uint64_t offset;
};

/* What the asking shard has been told of a topic: the rest reaches it by itself. */
static uint64_t told(struct owner *owner, const struct topic *topic, uint32_t shard)
{
    for (uint32_t n = topic->followers; n; n = follower_at(owner, n)->next) {
        if (follower_at(owner, n)->shard == shard) {
            return follower_at(owner, n)->told;
        }
    }
    return topic->log.tail;
}

/* The first message that was published at a time or after it: what was told at that time may have been told before. */
static uint64_t first_since(const struct topic *topic, uint64_t first, int64_t since_ms)
{
    for (struct chunk *chunk = log_find(&topic->log, first); chunk; chunk = chunk_next(chunk)) {
        for (uint32_t i = (uint32_t)(first - chunk->base); i < chunk->count; i++, first++) {
            if (chunk_time_ms(chunk, i) >= since_ms) {
                return first;
            }
        }
    }
    return topic->log.tail + 1;
}

/* Whether the history begins with the gap between two epochs, which tells of itself. */
static bool begins_with_epoch(const struct topic *topic, uint64_t kept)
{
    const struct chunk *chunk = log_find(&topic->log, kept);
    return chunk && chunk_is_gap(chunk, (uint32_t)(kept - chunk->base)) && chunk->gap_reason == GAP_EPOCH;
}

/* From a time: a topic that was not named. */
static void piece_begin_since(struct owner *owner, const struct topic *topic, struct replay_piece *piece, uint64_t kept,
                              int64_t since_ms)
{
    uint64_t gone = kept - 1 < piece->last ? kept - 1 : piece->last; /* what is not told yet comes by itself */
    struct place before = owner_place_at(owner, topic, gone);
    piece->lost = gone > 0 && log_time_ms(&topic->log, gone) >= since_ms && !begins_with_epoch(topic, kept);
    piece->first = piece->lost ? gone + 1 : first_since(topic, kept, since_ms);
    if (piece->first > piece->last + 1) {
        piece->first = piece->last + 1; /* and may be new */
    }
    piece->reason = before.offset ? GAP_EXPIRED : GAP_EPOCH; /* of its own epoch nothing is missing: of a former one */
    piece->gap_from = before.offset ? 1 : 0;
    piece->gap_to = before.offset;
    piece->epoch = before.epoch;
}

/* From a position. Without an epoch it is of the present one if that had begun when the subscriber was last here. */
static void piece_begin_at(struct owner *owner, const struct topic *topic, struct replay_piece *piece, uint64_t kept,
                           const struct position *position, int64_t since_ms)
{
    uint64_t epoch = position->epoch;
    if (!epoch && topic_began_ms(owner, topic) <= since_ms) {
        epoch = topic->epoch;
    }
    struct place place;
    enum history_status status = owner_place_find(owner, topic, kept, epoch, position->offset, &place);
    if (status == HISTORY_AHEAD) { /* of what is lost: all that there is begins anew */
        place = owner_place_at(owner, topic, kept - 1);
    }
    piece->lost = status != HISTORY_REACHES;
    piece->first = place.position + 1;
    piece->reason = status == HISTORY_EXPIRED ? GAP_EXPIRED : GAP_EPOCH;
    piece->gap_from = status == HISTORY_EXPIRED ? position->offset + 1 : 0;
    piece->gap_to = place.offset;
    piece->epoch = place.epoch;
}

/*
 * `position` NULL: the topic was not named. The asking shard follows it from now on, as it would after the next
 * message: a topic that it has positions of must not be forgotten, and begin at 1 again, behind its back.
 */
static void piece_add(struct owner *owner, uint32_t number, struct replay_ask *ask, const struct position *position)
{
    struct topic *topic = topic_at(owner, number);
    owner_match_filters(owner, number);
    topic->lanes |= LANE_BIT(ask->lane);
    bool lanes = log_lanes(&topic->log, topic->lanes, owner->writer, name_span(topic->name));
    struct replay_piece *piece = lanes ? replay_ask_add(ask) : NULL;
    if (!piece) {
        ask->failed = true;
        return;
    }
    struct log_limits limits = log_limits_of(topic_namespace(owner, topic));
    uint64_t kept = log_first(&topic->log, &limits, owner->now_ms);
    piece->hash = topic->link.hash;
    piece->name = name_share(topic->name);
    piece->last = told(owner, topic, ask->shard);
    if (position) {
        piece_begin_at(owner, topic, piece, kept, position, (int64_t)ask->since_ms);
    } else {
        piece_begin_since(owner, topic, piece, kept, (int64_t)ask->since_ms);
    }
    struct chunk *chunk = piece->first <= piece->last ? log_find(&topic->log, piece->first) : NULL;
    piece->chunk = chunk ? chunk_share(chunk) : NULL;
}

/* A topic that was named, but is not known any more: all of it is lost. */
static void piece_add_forgotten(struct replay_ask *ask, struct span name, uint64_t hash)
{
    struct name *own = name_create(name);
    struct replay_piece *piece = own ? replay_ask_add(ask) : NULL;
    if (!piece) {
        ask->failed = true;
        if (own) {
            name_drop(own);
        }
        return;
    }
    *piece = (struct replay_piece){.hash = hash, .name = own, .lost = true, .reason = GAP_EPOCH};
    piece->first = 1; /* of its next life */
}

/* Among the first `named` pieces, which are sorted. */
static bool is_named(const struct replay_ask *ask, uint32_t named, const struct topic *topic)
{
    const struct replay_piece *piece = replay_ask_find(ask, named, topic->link.hash);
    for (; piece && piece < ask->pieces + named && piece->hash == topic->link.hash; piece++) {
        if (span_equal(name_span(piece->name), name_span(topic->name))) {
            return true;
        }
    }
    return false;
}

/* One row of what the subscriber named. */
struct named {
    char scratch[TOPIC_BYTES_MAX + 1];
    struct span name;
    uint64_t hash;
    struct position position;
};

/* The next one from *at on that is owned here, and that the filter matches. False: there is none. */
static bool named_next(const struct owner *owner, const struct replay_ask *ask, size_t *at, struct named *named)
{
    while (ask->dialect->next_position(replay_ask_positions(ask), at, named->scratch, &named->name,
                                       &named->position.epoch, &named->position.offset)) {
        named->hash = name_hash(named->name);
        if (name_owner(named->hash, owner->shard_count) == owner->shard &&
            topic_filter_matches(replay_ask_filter(ask), named->name)) {
            return true;
        }
    }
    return false;
}

static void add_named(struct owner *owner, struct replay_ask *ask)
{
    size_t at = 0;
    struct named named;
    while (named_next(owner, ask, &at, &named)) {
        uint32_t number = owner_topic_find(owner, named.hash, named.name);
        if (!number) {
            piece_add_forgotten(ask, named.name, named.hash);
        } else if (!topic_is_open(owner, topic_at(owner, number))) {
            ask->failed = true;
        } else {
            piece_add(owner, number, ask, &named.position);
        }
    }
    replay_ask_sort(ask);
}

static bool is_ahead(const struct owner *owner, const struct topic *topic, const struct position *position)
{
    struct place place;
    enum history_status status =
        owner_place_find(owner, topic, 1, position->epoch ? position->epoch : topic->epoch, position->offset, &place);
    return status == HISTORY_AHEAD || (position->epoch && status == HISTORY_EPOCH);
}

/* Opens a topic that was named, as far as the position. */
static enum remote_gate open_named(struct owner *owner, const struct envelope *envelope, const struct named *named)
{
    if (!owner_federates(owner, named->name) || !config_namespace_of(owner->config, named->name)->logged) {
        return GATE_OPEN;
    }
    uint32_t number = owner_topic(owner, named->hash, NULL, named->name);
    enum remote_gate gate = number ? owner_gate(owner, number, envelope) : GATE_REFUSED;
    if (gate == GATE_OPEN && is_ahead(owner, topic_at(owner, number), &named->position)) {
        gate = owner_gate_ahead(owner, number, envelope);
    }
    return gate;
}

/* What was named of logged topics must be known here first. True: the ask is parked until the next of them is. */
static bool waits_for_named(struct owner *owner, const struct envelope *envelope)
{
    struct replay_ask *ask = envelope->replay;
    struct envelope next = *envelope;
    struct named named;
    size_t at = ask->ready_at;
    while (!ask->failed && named_next(owner, ask, &at, &named)) {
        enum remote_gate gate = open_named(owner, &next, &named);
        if (gate == GATE_PARKED) {
            return true;
        }
        ask->failed = gate == GATE_REFUSED;
        ask->ready_at = at;
        next.flags &= (uint8_t)~ASK_CAUGHT_UP; /* that was for the first */
    }
    return false;
}

static void add_others(struct owner *owner, struct replay_ask *ask)
{
    uint32_t named = ask->piece_count;
    for (uint32_t n = 1; n < slab_end(&owner->topics); n++) {
        if (!slab_mapped(&owner->topics, n) || !topic_at(owner, n)->name) {
            continue;
        }
        const struct topic *topic = topic_at(owner, n);
        bool silent = !topic->log.oldest && log_time_ms(&topic->log, topic->log.tail) < (int64_t)ask->since_ms;
        if (!silent && topic_is_open(owner, topic) &&
            topic_filter_matches(replay_ask_filter(ask), name_span(topic->name)) && !is_named(ask, named, topic)) {
            piece_add(owner, n, ask, NULL);
        }
    }
}

void owner_replay(struct owner *owner, const struct envelope *envelope)
{
    struct replay_ask *ask = envelope->replay;
    if (owner->link_peer && waits_for_named(owner, envelope)) {
        return;
    }
    add_named(owner, ask);
    add_others(owner, ask);
    replay_ask_sort(ask);
    struct envelope tell = {.kind = TELL_REPLAY, .replay = ask};
    CHECK(mesh_tell(owner->mesh, owner->shard, envelope->from, &tell)); /* owner_ask() has seen that there is room */
}
