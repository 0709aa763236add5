/*
 * subscriptions: see subscriptions.h.
 */
#include "client/subscriptions.h"

#include <assert.h>
#include <stdlib.h>

#include "client/hash.h"
#include "client/ids.h"
#include "protocol/dialect_bin.h"
#include "protocol/topic.h"

static struct span filter_of(const struct shoal_subscription *subscription)
{
    return (struct span){subscription->filter, subscription->filter_size};
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

static bool has_ended(const struct shoal_subscription *subscription)
{
    return subscription->state == SUBSCRIPTION_ENDING || subscription->state == SUBSCRIPTION_LEAVING;
}

static bool may_meet(const struct shoal_subscription *other, struct span filter)
{
    return !has_ended(other) && filters_overlap(filter_of(other), filter);
}

/* A topic can only meet the wild ones. */
static bool topic_overlaps(const struct subscriptions *table, struct span topic)
{
    const struct shoal_subscription *at = table->wild;
    while (at && !may_meet(at, topic))
        at = at->wild_next;
    return at != NULL;
}

static bool wild_overlaps(const struct subscriptions *table, struct span filter)
{
    for (int state = 0; state < SUBSCRIPTION_DEAD; state++)
        for (const struct shoal_subscription *at = table->lists[state].first; at; at = at->next)
            if (may_meet(at, filter))
                return true;
    return false;
}

enum shoal_error subscriptions_check(const struct subscriptions *table, struct span filter)
{
    if (subscriptions_named(table, filter))
        return SHOAL_ERROR_ALREADY_SUBSCRIBED;
    bool overlaps = topic_filter_is_wild(filter) ? wild_overlaps(table, filter) : topic_overlaps(table, filter);
    return overlaps ? SHOAL_ERROR_OVERLAP : SHOAL_OK;
}

/* --- by text --- */

#define BUCKETS_FIRST 64u

static struct shoal_subscription **bucket_of(const struct subscriptions *table, struct span text)
{
    return &table->buckets[hash_of_text(text) & (table->bucket_count - 1)];
}

static void bucket_put(const struct subscriptions *table, struct shoal_subscription *subscription)
{
    struct shoal_subscription **bucket = bucket_of(table, filter_of(subscription));
    subscription->bucket_next = *bucket;
    *bucket = subscription;
}

static void bucket_take(const struct subscriptions *table, struct shoal_subscription *subscription)
{
    struct shoal_subscription **at = bucket_of(table, filter_of(subscription));
    while (*at != subscription)
        at = &(*at)->bucket_next;
    *at = subscription->bucket_next;
}

/* As many buckets as subscriptions. False: there are none, and no memory; more of them may wait for memory. */
static bool buckets_grow(struct subscriptions *table)
{
    struct shoal_subscription **former = table->buckets;
    uint32_t former_count = table->bucket_count;
    if (table->count < former_count)
        return true;
    uint32_t count = former_count ? 2 * former_count : BUCKETS_FIRST;
    struct shoal_subscription **buckets = calloc(count, sizeof(struct shoal_subscription *));
    if (!buckets)
        return former != NULL;
    table->buckets = buckets;
    table->bucket_count = count;
    for (uint32_t i = 0; i < former_count; i++) {
        struct shoal_subscription *next;
        for (struct shoal_subscription *at = former[i]; at; at = next) {
            next = at->bucket_next;
            bucket_put(table, at);
        }
    }
    free(former);
    return true;
}

struct shoal_subscription *subscriptions_named(const struct subscriptions *table, struct span filter)
{
    struct shoal_subscription *at = table->buckets ? *bucket_of(table, filter) : NULL;
    while (at && !(span_equal(filter_of(at), filter) && !has_ended(at)))
        at = at->bucket_next;
    return at;
}

/* --- by state --- */

static void list_append(struct subscription_list *list, struct shoal_subscription *subscription)
{
    subscription->previous = list->last;
    subscription->next = NULL;
    *(list->last ? &list->last->next : &list->first) = subscription;
    list->last = subscription;
}

static void list_remove(struct subscription_list *list, struct shoal_subscription *subscription)
{
    *(subscription->previous ? &subscription->previous->next : &list->first) = subscription->next;
    *(subscription->next ? &subscription->next->previous : &list->last) = subscription->previous;
}

static void wild_take(struct subscriptions *table, const struct shoal_subscription *subscription)
{
    struct shoal_subscription **at = &table->wild;
    while (*at != subscription)
        at = &(*at)->wild_next;
    *at = subscription->wild_next;
}

struct shoal_subscription *subscriptions_add(struct subscriptions *table, struct span filter)
{
    struct shoal_subscription *made =
        buckets_grow(table) ? calloc(1, sizeof *made + filter.size + 1) : NULL; /* in the state WANTED */
    if (!made)
        return NULL;
    memcpy(made->filter, filter.data, filter.size);
    made->filter_size = filter.size;
    made->wild = topic_filter_is_wild(filter);
    if (made->wild) {
        made->wild_next = table->wild;
        table->wild = made;
    }
    bucket_put(table, made);
    list_append(&table->lists[SUBSCRIPTION_WANTED], made);
    table->count++;
    return made;
}

static void die(struct subscriptions *table, struct shoal_subscription *subscription)
{
    bucket_take(table, subscription);
    if (subscription->wild)
        wild_take(table, subscription);
    if (table->last_found == subscription)
        table->last_found = NULL;
    table->count--;
}

void subscription_set_state(struct subscriptions *table, struct shoal_subscription *subscription,
                            enum subscription_state state)
{
    list_remove(&table->lists[subscription->state], subscription);
    list_append(&table->lists[state], subscription);
    subscription->state = state;
    if (state == SUBSCRIPTION_DEAD)
        die(table, subscription);
}

void subscriptions_retry(struct subscriptions *table, int64_t now_ms)
{
    struct shoal_subscription *first; /* all were delayed by the same time: the first is due first */
    while ((first = subscriptions_first(table, SUBSCRIPTION_DELAYED)) != NULL && first->not_before_ms <= now_ms)
        subscription_set_state(table, first, SUBSCRIPTION_WANTED);
}

/* Answers come nearly in the order in which was asked: the first ones are looked at. */
static struct shoal_subscription *asked_in(const struct subscriptions *table, enum subscription_state state,
                                           uint32_t id)
{
    struct shoal_subscription *at = subscriptions_first(table, state);
    while (at && at->id != id)
        at = at->next;
    return at;
}

struct shoal_subscription *subscriptions_asked(const struct subscriptions *table, uint32_t id)
{
    struct shoal_subscription *found = asked_in(table, SUBSCRIPTION_ASKED, id);
    return found ? found : asked_in(table, SUBSCRIPTION_ENDING, id);
}

/* --- by topic --- */

static struct shoal_subscription *wild_for(const struct subscriptions *table, struct span topic)
{
    struct shoal_subscription *at = table->wild;
    while (at && !(at->state == SUBSCRIPTION_LIVE && topic_filter_matches(filter_of(at), topic)))
        at = at->wild_next;
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
    static const struct {
        enum subscription_state from, to;
    } moves[] = {
        {SUBSCRIPTION_LIVE, SUBSCRIPTION_WANTED},    {SUBSCRIPTION_ASKED, SUBSCRIPTION_WANTED},
        {SUBSCRIPTION_DELAYED, SUBSCRIPTION_WANTED}, {SUBSCRIPTION_ENDING, SUBSCRIPTION_DEAD},
        {SUBSCRIPTION_LEAVING, SUBSCRIPTION_DEAD},
    };
    struct shoal_subscription *first;
    table->unanswered = 0;
    for (size_t i = 0; i < sizeof moves / sizeof moves[0]; i++)
        while ((first = subscriptions_first(table, moves[i].from)) != NULL)
            subscription_set_state(table, first, moves[i].to);
}

static void list_free(struct subscription_list *list)
{
    struct shoal_subscription *next;
    for (struct shoal_subscription *at = list->first; at; at = next) {
        next = at->next;
        positions_free(&at->positions);
        free(at);
    }
    *list = (struct subscription_list){0};
}

void subscriptions_reap(struct subscriptions *table)
{
    list_free(&table->lists[SUBSCRIPTION_DEAD]);
}

void subscriptions_free(struct subscriptions *table)
{
    for (int state = 0; state < SUBSCRIPTION_STATES; state++)
        list_free(&table->lists[state]);
    free(table->buckets);
    *table = (struct subscriptions){0};
}
