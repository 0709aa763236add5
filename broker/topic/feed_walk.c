/*
 * feed_walk: the walk over a feed's subscribers, and where they stand meanwhile. See feed.h for the drawing.
 *
 * All that moves a subscriber from one place of the vector to another is here, because it may have to pass the parts
 * between: each of them then hands over one of its own at its edge, so that nobody else changes parts. That is some ten
 * swaps at most, whatever the number of subscribers.
 */
#include "base/check.h"
#include "topic/feed.h"

/* --- parts --- */

static uint32_t part_end(const struct feed *feed, const struct walk *walk, uint32_t part)
{
    return part + 1u < walk->part_count ? walk->parts[part + 1].begin : feed->subscribers.size;
}

static bool part_is_empty(const struct feed *feed, const struct walk *walk, uint32_t part)
{
    return walk->parts[part].begin == part_end(feed, walk, part);
}

/* The part of a place. Parts are few. */
static uint32_t part_of(const struct walk *walk, uint32_t place)
{
    uint32_t part = walk->part_count - 1u;
    while (walk->parts[part].begin > place) {
        part--;
    }
    return part;
}

static void part_insert(struct walk *walk, uint32_t part, uint32_t begin)
{
    CHECK(walk->part_count < WALK_PARTS_MAX);
    memmove(&walk->parts[part + 1], &walk->parts[part], (walk->part_count - part) * sizeof *walk->parts);
    walk->parts[part] = (struct walk_part){.begin = begin, .fresh_us = walk->target_us, .offset = walk->target};
    walk->part_count++;
    walk->at += part <= walk->at;
}

static void part_remove(struct walk *walk, uint32_t part)
{
    walk->part_count--;
    memmove(&walk->parts[part], &walk->parts[part + 1], (walk->part_count - part) * sizeof *walk->parts);
    walk->at -= part < walk->at;
    if (walk->at == walk->part_count) {
        walk->at = 0; /* the round begins anew */
    }
}

/* The part behind which the walk is, if it stands at the target; else part_count. */
static uint32_t part_newest(const struct walk *walk)
{
    uint32_t part = (walk->at ? walk->at : walk->part_count) - 1u;
    return walk->parts[part].offset == walk->target ? part : walk->part_count;
}

/* The part that ends where the walk is and stands at the target, made if need be. */
static uint32_t part_before_walk(struct walk *walk)
{
    if (walk->at == 0 || walk->parts[walk->at - 1].offset != walk->target) {
        part_insert(walk, walk->at, walk->parts[walk->at].begin);
    }
    return walk->at - 1u;
}

/* --- places --- */

/* Puts a subscriber of the vector at another place, and the one there at its place. Gives the other place. */
static uint32_t places_swap(struct feeds *feeds, struct feed *feed, uint32_t a, uint32_t b)
{
    uint32_t *items = feed->subscribers.items;
    uint32_t moved = items[a];
    items[a] = items[b];
    items[b] = moved;
    subscription_at(feeds, items[a])->place = a;
    subscription_at(feeds, items[b])->place = b;
    return b;
}

/* Moves the subscriber at a place of one part into another one. Gives its place there. */
static uint32_t place_move(struct feeds *feeds, struct feed *feed, struct walk *walk, uint32_t place, uint32_t from,
                           uint32_t to)
{
    for (uint32_t part = from; part < to; part++) {
        place = places_swap(feeds, feed, place, --walk->parts[part + 1].begin);
    }
    for (uint32_t part = from; part > to; part--) {
        place = places_swap(feeds, feed, place, walk->parts[part].begin++);
    }
    return place;
}

/* A part that nobody is left in goes; the oldest one when the walk settles. */
static void part_check(const struct feed *feed, struct walk *walk, uint32_t part)
{
    if (part != walk->at && part_is_empty(feed, walk, part)) {
        part_remove(walk, part);
    }
}

uint64_t feed_offset_of(const struct feeds *feeds, const struct feed *feed, uint32_t subscription)
{
    if (!feed->walk) {
        return feed->walked;
    }
    const struct walk *walk = walk_at(feeds, feed);
    return walk->parts[part_of(walk, subscription_at(feeds, subscription)->place)].offset;
}

void feed_place_newest(struct feeds *feeds, struct feed *feed, uint32_t subscription)
{
    if (!feed->walk) {
        return;
    }
    struct walk *walk = walk_at(feeds, feed);
    uint32_t to = part_newest(walk);
    if (to == walk->part_count) {
        to = part_before_walk(walk);
    }
    uint32_t place = subscription_at(feeds, subscription)->place;
    uint32_t from = part_of(walk, place);
    place_move(feeds, feed, walk, place, from, to);
    part_check(feed, walk, from);
}

void feed_place_remove(struct feeds *feeds, struct feed *feed, uint32_t subscription)
{
    uint32_t place = subscription_at(feeds, subscription)->place;
    CHECK(place < feed->subscribers.size && feed->subscribers.items[place] == subscription);
    struct walk *walk = feed->walk ? walk_at(feeds, feed) : NULL;
    uint32_t part = walk ? part_of(walk, place) : 0;
    if (walk) {
        place = place_move(feeds, feed, walk, place, part, walk->part_count - 1u);
    }
    places_swap(feeds, feed, place, feed->subscribers.size - 1);
    vector_pop(&feed->subscribers);
    if (walk) {
        part_check(feed, walk, part);
    }
}

/* --- the walk --- */

/* How far a walk goes: what one send may carry, in whole chunks but for the last. */
static uint64_t target_of(const struct feed *feed)
{
    const struct chunk *chunk = feed->base;
    for (int i = 1; i < WALK_CHUNKS_MAX; i++) {
        const struct chunk *next = chunk_next(chunk);
        if (!next || next->base > feed->tail) {
            return feed->tail;
        }
        chunk = next;
    }
    const struct chunk *next = chunk_next(chunk);
    return next && next->base <= feed->tail ? next->base - 1 : feed->tail;
}

/* Whether enough subscribers were sent the present target, or none, and there is room for a part more. */
static bool may_be_raised(const struct feed *feed, const struct walk *walk)
{
    uint32_t newest = part_newest(walk);
    if (newest == walk->part_count) {
        return true;
    }
    uint32_t sent = part_end(feed, walk, newest) - walk->parts[newest].begin;
    return walk->part_count + 2u <= WALK_PARTS_MAX && sent >= feed->subscribers.size / WALK_RAISES_A_ROUND;
}

/* Messages that come now are for those who are still to be walked, and for the others in the next round. */
static void target_raise(struct feeds *feeds, struct feed *feed, struct walk *walk)
{
    uint64_t target = target_of(feed);
    if (target <= walk->target || !may_be_raised(feed, walk)) {
        return;
    }
    if (part_newest(walk) != walk->part_count) {
        walk->target_us = feed->fresh_us;
        STATS_ADD(feeds->stats, walks, 1);
    }
    walk->target = target;
    cursors_parked_drop(feeds, feed);
}

bool feed_walk_begin(struct feeds *feeds, uint32_t number)
{
    struct feed *feed = feed_at(feeds, number);
    if (feed->walk) {
        target_raise(feeds, feed, walk_at(feeds, feed));
        return true;
    }
    if (feed->walked == feed->tail) {
        return false;
    }
    feed->walk = slab_take(&feeds->walks);
    CHECK_MSG(feed->walk, "no memory for a walk"); /* at most one a feed with something to be sent */
    *walk_at(feeds, feed) = (struct walk){
        .target = target_of(feed),
        .target_us = feed->fresh_us,
        .part_count = 1,
        .parts = {{.offset = feed->walked}},
    };
    cursors_parked_drop(feeds, feed);
    STATS_ADD(feeds->stats, walks, 1);
    return true;
}

uint32_t feed_walk_next(struct feeds *feeds, struct feed *feed)
{
    struct walk *walk = walk_at(feeds, feed);
    if (part_is_empty(feed, walk, walk->at)) {
        return 0;
    }
    part_before_walk(walk);
    return feed->subscribers.items[walk->parts[walk->at].begin++];
}

uint32_t feed_walk_ahead(const struct feeds *feeds, const struct feed *feed, uint32_t places)
{
    const struct walk *walk = walk_at(feeds, feed);
    uint32_t place = walk->parts[walk->at].begin - 1 + places;
    return feed->subscribers.items[place < feed->subscribers.size ? place : feed->subscribers.size - 1];
}

bool feed_walk_is_at_start(const struct feeds *feeds, const struct feed *feed)
{
    const struct walk *walk = walk_at(feeds, feed);
    return walk->parts[walk->at].begin == 0;
}

static void walk_finish(struct feeds *feeds, struct feed *feed)
{
    slab_give(&feeds->walks, feed->walk);
    feed->walk = 0;
    cursors_parked_drop(feeds, feed);
}

/* All subscribers without a cursor were sent up to `offset`. */
static void walked_set(struct feeds *feeds, uint32_t number, uint64_t offset)
{
    struct feed *feed = feed_at(feeds, number);
    struct chunk *before = feed->base;
    feed->walked = offset;
    feed->base = offset < feed->tail ? chunk_share(chunk_with(before, offset + 1)) : NULL;
    chunk_drop(before);
    if (feed->owes_walked && offset >= feed->report_at) {
        feed_mark_unsent(feeds, number);
    }
    if (feed->filter) {
        feed_filter_walked(feeds, number);
    }
}

bool feed_walk_settle(struct feeds *feeds, uint32_t number, uint32_t *published_us)
{
    struct feed *feed = feed_at(feeds, number);
    struct walk *walk = walk_at(feeds, feed);
    if (!part_is_empty(feed, walk, walk->at)) {
        return false;
    }
    part_remove(walk, walk->at);
    const struct walk_part *oldest = walk->part_count ? &walk->parts[walk->at] : NULL;
    uint64_t offset = oldest ? oldest->offset : walk->target; /* NULL: the last subscriber has left */
    bool further = offset > feed->walked;
    *published_us = oldest ? oldest->fresh_us : walk->target_us;
    if (further) {
        walked_set(feeds, number, offset);
    }
    if (feed->walked == walk->target) {
        walk_finish(feeds, feed);
    }
    return further;
}
