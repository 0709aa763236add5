/*
 * subscriptions: see subscriptions.h.
 */
#include "client/subscriptions.h"

#include <assert.h>
#include <stdlib.h>

#include "client/ids.h"
#include "protocol/dialect_bin.h"
#include "protocol/topic.h"

static struct span filter_of(const struct shoal_subscription *subscription)
{
    return (struct span){subscription->filter, subscription->filter_size};
}

static uint32_t bucket_of(struct span text)
{
    uint32_t hash = 0x811C9DC5u; /* FNV-1a */
    for (size_t i = 0; i < text.size; i++)
        hash = (hash ^ (uint8_t)text.data[i]) * 0x01000193u;
    return (hash ^ hash >> 16) % SUBSCRIPTION_BUCKETS;
}

/* --- overlap --- */

static bool is(struct span level, char c)
{
    return level.size == 1 && level.data[0] == c;
}

static bool levels_meet(struct span a, struct span b, bool first)
{
    if (is(a, '+') || is(b, '+'))
        return !(first && (topic_is_reserved(a) || topic_is_reserved(b)));
    return span_equal(a, b);
}

/* Whether there is a topic that both match. */
static bool filters_overlap(struct span a, struct span b)
{
    size_t at_a = 0, at_b = 0;
    struct span level_a, level_b;
    for (bool first = true;; first = false) {
        bool more_a = topic_level_next(a, &at_a, &level_a), more_b = topic_level_next(b, &at_b, &level_b);
        bool rest_a = more_a && is(level_a, '#'), rest_b = more_b && is(level_b, '#');
        if (rest_a || rest_b)
            return !(first && ((more_a && topic_is_reserved(level_a)) || (more_b && topic_is_reserved(level_b))));
        if (!more_a || !more_b)
            return !more_a && !more_b;
        if (!levels_meet(level_a, level_b, first))
            return false;
    }
}

enum shoal_error subscriptions_check(const struct subscriptions *table, struct span filter)
{
    if (subscriptions_named(table, filter))
        return SHOAL_ERROR_ALREADY_SUBSCRIBED;
    bool wild = topic_filter_is_wild(filter);
    if (!wild && table->wild_count == 0)
        return SHOAL_OK;
    for (const struct shoal_subscription *other = table->all; other; other = other->next)
        if ((wild || other->wild) && other->state != SUBSCRIPTION_ENDING && filters_overlap(filter_of(other), filter))
            return SHOAL_ERROR_OVERLAP;
    return SHOAL_OK;
}

/* --- the table --- */

struct shoal_subscription *subscriptions_add(struct subscriptions *table, struct span filter)
{
    struct shoal_subscription *made = calloc(1, sizeof *made + filter.size + 1);
    if (!made)
        return NULL;
    memcpy(made->filter, filter.data, filter.size);
    made->filter_size = filter.size;
    made->wild = topic_filter_is_wild(filter);
    struct shoal_subscription **bucket = &table->buckets[bucket_of(filter)];
    made->bucket_next = *bucket;
    *bucket = made;
    made->next = table->all;
    table->all = made;
    table->count++;
    table->wild_count += made->wild;
    table->unsettled++; /* WANTED */
    return made;
}

static void unlink_from(struct subscriptions *table, struct shoal_subscription *subscription)
{
    struct shoal_subscription **at = &table->all;
    while (*at != subscription)
        at = &(*at)->next;
    *at = subscription->next;
    at = &table->buckets[bucket_of(filter_of(subscription))];
    while (*at != subscription)
        at = &(*at)->bucket_next;
    *at = subscription->bucket_next;
    table->count--;
    table->wild_count -= subscription->wild;
    if (table->last_found == subscription)
        table->last_found = NULL;
    subscription->next = table->dead;
    table->dead = subscription;
}

static bool is_unsettled(enum subscription_state state)
{
    return state == SUBSCRIPTION_WANTED || state == SUBSCRIPTION_ASKED;
}

void subscription_set_state(struct subscriptions *table, struct shoal_subscription *subscription,
                            enum subscription_state state)
{
    table->unsettled -= is_unsettled(subscription->state);
    table->unsettled += is_unsettled(state);
    table->ending -= subscription->state == SUBSCRIPTION_ENDING;
    table->ending += state == SUBSCRIPTION_ENDING;
    subscription->state = state;
    if (state == SUBSCRIPTION_DEAD)
        unlink_from(table, subscription);
}

/* Answers are few: not worth an index. */
struct shoal_subscription *subscriptions_asked(const struct subscriptions *table, uint32_t id)
{
    struct shoal_subscription *at = table->all;
    while (at && !(at->id == id && (at->state == SUBSCRIPTION_ASKED || at->state == SUBSCRIPTION_ENDING)))
        at = at->next;
    return at;
}

struct shoal_subscription *subscriptions_named(const struct subscriptions *table, struct span filter)
{
    struct shoal_subscription *at = table->buckets[bucket_of(filter)];
    while (at && !(span_equal(filter_of(at), filter) && at->state != SUBSCRIPTION_ENDING))
        at = at->bucket_next;
    return at;
}

static struct shoal_subscription *wild_for(const struct subscriptions *table, struct span topic)
{
    struct shoal_subscription *at = table->wild_count ? table->all : NULL;
    while (at && !(at->wild && at->state == SUBSCRIPTION_LIVE && topic_filter_matches(filter_of(at), topic)))
        at = at->next;
    return at;
}

struct shoal_subscription *subscriptions_for(struct subscriptions *table, struct span topic)
{
    struct shoal_subscription *found = table->last_found;
    if (found && !found->wild && found->state == SUBSCRIPTION_LIVE && span_equal(filter_of(found), topic))
        return found;
    found = subscriptions_named(table, topic);
    if (!found || found->wild)
        found = wild_for(table, topic);
    if (!found || found->state != SUBSCRIPTION_LIVE)
        return NULL;
    table->last_found = found;
    return found;
}

/* --- the connection --- */

void subscription_command(struct subscriptions *table, struct shoal_subscription *subscription, char id[4],
                          struct span positions, struct command *command)
{
    static const enum from_kind kinds[] = {
        [SHOAL_FROM_NEW] = FROM_NEW, [SHOAL_FROM_LAST] = FROM_LAST, [SHOAL_FROM_POSITION] = FROM_POSITION};
    table->id = table->id < OTHER_IDS_LAST ? table->id + 1 : 1;
    subscription->id = OTHER_IDS_FIRST + table->id;
    bin_id_write(subscription->id, id);
    *command = (struct command){.verb = COMMAND_SUBSCRIBE,
                                .id = {id, BIN_ID_SIZE},
                                .topic = filter_of(subscription),
                                .from = {.kind = FROM_NEW}};
    if (subscription->restarts)
        return;
    if (!subscription->established) {
        command->from.kind = kinds[subscription->from.kind];
        command->from.epoch = subscription->from.position.epoch;
        command->from.offset = subscription->from.position.offset;
    } else if (subscription->wild) {
        command->from.kind = FROM_POSITIONS;
        command->from.since_ms = subscription->since_ms;
        command->from.positions = positions;
    } else {
        command->from.kind = FROM_POSITION;
        command->from.epoch = subscription->position.epoch;
        command->from.offset = subscription->position.offset;
    }
}

void subscriptions_disconnected(struct subscriptions *table)
{
    struct shoal_subscription *next;
    for (struct shoal_subscription *at = table->all; at; at = next) {
        next = at->next;
        at->not_before_ms = 0;
        subscription_set_state(table, at, at->state == SUBSCRIPTION_ENDING ? SUBSCRIPTION_DEAD : SUBSCRIPTION_WANTED);
    }
}

static void list_free(struct shoal_subscription **list)
{
    while (*list) {
        struct shoal_subscription *next = (*list)->next;
        positions_free(&(*list)->positions);
        free(*list);
        *list = next;
    }
}

void subscriptions_reap(struct subscriptions *table)
{
    list_free(&table->dead);
}

void subscriptions_free(struct subscriptions *table)
{
    list_free(&table->dead);
    list_free(&table->all);
    *table = (struct subscriptions){0};
}
