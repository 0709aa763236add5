/*
 * owner_follow: which shards want a topic: for their subscribers, or for filters that match it. See owner.h.
 */
#include "base/check.h"
#include "topic/match.h"
#include "topic/owner.h"

static struct follower *follower_find(struct owner *owner, const struct topic *topic, uint32_t shard)
{
    for (uint32_t n = topic->followers; n; n = follower_at(owner, n)->next) {
        if (follower_at(owner, n)->shard == shard) {
            return follower_at(owner, n);
        }
    }
    return NULL;
}

/* NULL: no memory. */
static struct follower *follower_add(struct owner *owner, struct topic *topic, uint32_t shard)
{
    uint32_t number = slab_take(&owner->followers);
    if (!number) {
        return NULL;
    }
    struct follower *follower = follower_at(owner, number);
    *follower = (struct follower){.next = topic->followers, .shard = (uint8_t)shard, .told = topic->log.tail};
    topic->followers = number;
    STATS_SET(owner->stats, followers, owner->followers.used);
    return follower;
}

static void follower_remove(struct owner *owner, struct topic *topic, uint32_t shard)
{
    for (uint32_t *at = &topic->followers; *at; at = &follower_at(owner, *at)->next) {
        struct follower *follower = follower_at(owner, *at);
        if (follower->shard == shard) {
            uint32_t number = *at;
            owner_report_arrived(owner, topic, follower);
            chunk_drop(follower->untold);
            owner_follower_told(owner, follower);
            *at = follower->next;
            slab_give(&owner->followers, number);
            STATS_SET(owner->stats, followers, owner->followers.used);
            return;
        }
    }
}

/* The lanes that somebody wants. One that nobody wants any more ends with the open chunk. */
static void lanes_update(struct owner *owner, struct topic *topic)
{
    topic->lanes = LANE_BIT(LANE_RAW);
    for (uint32_t n = topic->followers; n; n = follower_at(owner, n)->next) {
        topic->lanes |= follower_at(owner, n)->lanes | follower_at(owner, n)->filter_lanes;
    }
}

/* False: no memory for the lanes. */
static bool follower_wants(struct owner *owner, struct topic *topic, struct follower *follower, uint8_t lanes)
{
    follower->lanes |= lanes;
    lanes_update(owner, topic);
    return log_lanes(&topic->log, topic->lanes, owner->writer, name_span(topic->name));
}

static enum reply_error join(struct owner *owner, const struct envelope *ask, uint32_t number)
{
    if (!number) {
        return REPLY_TOPICS_LIMIT;
    }
    struct topic *topic = topic_at(owner, number);
    struct follower *follower = follower_find(owner, topic, ask->from);
    if (!follower) {
        follower = follower_add(owner, topic, ask->from);
    }
    if (!follower) {
        return REPLY_BUSY;
    }
    if (!follower_wants(owner, topic, follower, ask->lanes)) {
        return REPLY_BUSY; /* the follower stays, without a promise: the shard leaves, or asks again */
    }
    if (follower->state == FOLLOWER_UNANNOUNCED && follower->untold) {
        CHECK(owner_announce(owner, number, follower)); /* whoever is told of a tail must know where it was before */
    }
    follower->feed = ask->feed;
    follower->state = FOLLOWER_ACTIVE;
    topic->used_s = owner->now_s;
    return REPLY_OK;
}

void owner_join(struct owner *owner, const struct envelope *ask)
{
    uint32_t number = owner_topic(owner, ask->hash, ask->name, name_span(ask->name));
    enum remote_gate gate = number ? owner_gate(owner, number, ask) : GATE_OPEN;
    if (gate == GATE_PARKED) {
        return;
    }
    enum reply_error error = gate == GATE_REFUSED ? REPLY_UNAVAILABLE : join(owner, ask, number);
    name_drop(ask->name);
    struct envelope tell = {
        .kind = TELL_JOINED, .feed = ask->feed, .topic = number, .lanes = ask->lanes, .status = (uint8_t)error};
    if (number) {
        struct topic *topic = topic_at(owner, number);
        if (!error) {
            owner_match_filters(owner, number);
            struct follower *follower = follower_find(owner, topic, ask->from);
            CHECK(owner_tell_tail(owner, topic, follower)); /* owner_ask() has seen that there is room */
        }
        tell.epoch = topic->epoch;
        tell.offset = topic->log.tail;
        tell.shift = topic_shift(owner, topic);
    }
    CHECK(mesh_tell(owner->mesh, owner->shard, ask->from, &tell));
}

void owner_leave(struct owner *owner, const struct envelope *ask)
{
    struct topic *topic = topic_at(owner, ask->topic);
    struct envelope tell = {.kind = TELL_LEFT, .feed = ask->feed};
    CHECK(mesh_tell(owner->mesh, owner->shard, ask->from, &tell)); /* first: held answers may fill the ring */
    follower_remove(owner, topic, ask->from);
    lanes_update(owner, topic);
    topic->filters_version = 0; /* a filter of that shard may match again by now */
    topic->used_s = owner->now_s;
}

void owner_followed(struct owner *owner, const struct envelope *ask)
{
    struct follower *follower = follower_find(owner, topic_at(owner, ask->topic), ask->from);
    if (follower && follower->state == FOLLOWER_ANNOUNCED) {
        follower->feed = ask->feed;
        follower->state = FOLLOWER_ACTIVE;
        owner_mark_dirty(owner, ask->topic);
    }
}

void owner_walked(struct owner *owner, const struct envelope *ask)
{
    struct topic *topic = topic_at(owner, ask->topic);
    struct follower *follower = follower_find(owner, topic, ask->from);
    if (follower && ask->offset >= topic->barrier_offset) {
        owner_report_arrived(owner, topic, follower);
    }
}

/* --- filters --- */

static uint32_t filter_value(uint32_t shard, uint8_t lanes)
{
    return shard << 8 | lanes;
}

void owner_filter(struct owner *owner, const struct envelope *ask)
{
    struct span filter = name_span(ask->name);
    if (ask->lanes && !filters_add(owner->filters, filter, filter_value(ask->from, ask->lanes))) {
        STATS_ADD(owner->stats, memory_refusals, 1);
    }
    if (ask->lanes_before) {
        filters_remove(owner->filters, filter, filter_value(ask->from, ask->lanes_before));
    }
    name_drop(ask->name);
    struct envelope tell = {.kind = TELL_FILTERED, .feed = ask->feed, .lanes = ask->lanes};
    CHECK(mesh_tell(owner->mesh, owner->shard, ask->from, &tell));
}

/* One matching filter: its shard becomes a follower. True: it was none yet. */
static bool follow_by_filter(struct owner *owner, struct topic *topic, uint32_t value)
{
    struct follower *follower = follower_find(owner, topic, value >> 8);
    bool added = !follower;
    if (added) {
        follower = follower_add(owner, topic, value >> 8);
    }
    if (follower) {
        follower->filter_lanes |= (uint8_t)value;
    }
    return added && follower;
}

/* Those that were announced stay, even if no filter matches any more: their shard leaves by itself. */
static void followers_forget_filters(struct owner *owner, struct topic *topic)
{
    for (uint32_t n = topic->followers; n; n = follower_at(owner, n)->next) {
        follower_at(owner, n)->filter_lanes = 0;
    }
}

void owner_match_filters(struct owner *owner, uint32_t number)
{
    struct topic *topic = topic_at(owner, number);
    uint64_t version = filters_version(owner->filters);
    if (topic->filters_version == version || !topic_is_open(owner, topic)) {
        return;
    }
    if (!match_all(owner->filters, name_span(topic->name), &owner->matches)) {
        STATS_ADD(owner->stats, memory_refusals, 1);
        return; /* again with the next message */
    }
    bool added = false;
    followers_forget_filters(owner, topic);
    for (uint32_t i = 0; i < owner->matches.size; i++) {
        added |= follow_by_filter(owner, topic, owner->matches.items[i]);
    }
    topic->filters_version = version;
    lanes_update(owner, topic);
    if (!log_lanes(&topic->log, topic->lanes, owner->writer, name_span(topic->name))) {
        topic->filters_version = 0; /* again with the next message */
    }
    if (added) {
        owner_mark_dirty(owner, number);
    }
}
