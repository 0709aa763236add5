/*
 * feed_cursor: the places of those who are behind, and the chunks that are held for them. See feed.h.
 */
#include "base/check.h"
#include "topic/feed.h"

struct chunk *chunk_with(struct chunk *chunk, uint64_t offset)
{
    for (struct chunk *next = chunk_next(chunk); next && next->base <= offset; next = chunk_next(chunk)) {
        chunk = next;
    }
    return chunk;
}

/* --- holds --- */

/* The hold of a chunk among the feed's, made in its place if need be. 0: no memory. */
static uint32_t hold_of(struct feeds *feeds, struct feed *feed, struct chunk *chunk)
{
    uint32_t *at = &feed->holds;
    while (*at && hold_at(feeds, *at)->chunk->base < chunk->base) {
        at = &hold_at(feeds, *at)->next;
    }
    if (*at && hold_at(feeds, *at)->chunk == chunk) {
        return *at;
    }
    uint32_t number = slab_take(&feeds->holds);
    if (number) {
        *hold_at(feeds, number) = (struct hold){.chunk = chunk_share(chunk), .next = *at};
        *at = number;
    }
    return number;
}

static void hold_remove(struct feeds *feeds, struct feed *feed, uint32_t number)
{
    uint32_t *at = &feed->holds;
    while (*at != number) {
        CHECK(*at);
        at = &hold_at(feeds, *at)->next;
    }
    *at = hold_at(feeds, number)->next;
    chunk_drop(hold_at(feeds, number)->chunk);
    slab_give(&feeds->holds, number);
}

/* --- the lists that a cursor is in: of its hold, or of the parked ones --- */

static uint32_t *list_of(struct feeds *feeds, struct feed *feed, const struct cursor *cursor)
{
    return cursor->hold ? &hold_at(feeds, cursor->hold)->cursors : &feed->parked;
}

static void cursor_link(struct feeds *feeds, struct feed *feed, uint32_t number, uint32_t hold)
{
    struct cursor *cursor = cursor_at(feeds, number);
    cursor->hold = hold;
    uint32_t *list = list_of(feeds, feed, cursor);
    cursor->previous = 0;
    cursor->next = *list;
    if (*list) {
        cursor_at(feeds, *list)->previous = number;
    }
    *list = number;
    if (hold) {
        hold_at(feeds, hold)->count++;
    }
}

static void cursor_unlink(struct feeds *feeds, struct feed *feed, uint32_t number)
{
    struct cursor *cursor = cursor_at(feeds, number);
    if (cursor->previous) {
        cursor_at(feeds, cursor->previous)->next = cursor->next;
    } else {
        *list_of(feeds, feed, cursor) = cursor->next;
    }
    if (cursor->next) {
        cursor_at(feeds, cursor->next)->previous = cursor->previous;
    }
    if (cursor->hold && --hold_at(feeds, cursor->hold)->count == 0) {
        hold_remove(feeds, feed, cursor->hold);
    }
}

/* --- cursors --- */

static struct feed *feed_of(struct feeds *feeds, const struct cursor *cursor)
{
    return feed_at(feeds, subscription_at(feeds, cursor->subscription)->feed);
}

static void cursors_count(struct feeds *feeds)
{
    STATS_SET(feeds->stats, cursors, feeds->cursors.used);
}

uint32_t cursor_create(struct feeds *feeds, uint32_t subscription, uint64_t offset)
{
    struct feed *feed = feed_at(feeds, subscription_at(feeds, subscription)->feed);
    bool reads = offset < feed->tail;
    uint32_t hold = reads ? hold_of(feeds, feed, chunk_with(feed->base, offset + 1)) : 0;
    uint32_t number = !reads || hold ? slab_take(&feeds->cursors) : 0;
    if (!number) {
        if (hold && hold_at(feeds, hold)->count == 0) {
            hold_remove(feeds, feed, hold);
        }
        return 0;
    }
    *cursor_at(feeds, number) = (struct cursor){.subscription = subscription, .offset = offset};
    cursor_link(feeds, feed, number, hold);
    subscription_at(feeds, subscription)->cursor = number;
    cursors_count(feeds);
    return number;
}

void cursor_free(struct feeds *feeds, uint32_t number)
{
    struct cursor *cursor = cursor_at(feeds, number);
    cursor_unlink(feeds, feed_of(feeds, cursor), number);
    subscription_at(feeds, cursor->subscription)->cursor = 0;
    slab_give(&feeds->cursors, number);
    cursors_count(feeds);
}

struct chunk *cursor_chunk(struct feeds *feeds, const struct cursor *cursor)
{
    return cursor->hold ? hold_at(feeds, cursor->hold)->chunk : NULL;
}

/* A cursor at the tail is needed no longer when a part of the feed stands there, too. */
static bool cursor_drop_at_tail(struct feeds *feeds, struct feed *feed, uint32_t number)
{
    uint32_t subscription = cursor_at(feeds, number)->subscription;
    if (!feed_tail_is_reached(feeds, feed) || subscription_at(feeds, subscription)->suspended) {
        return false;
    }
    cursor_free(feeds, number);
    feed_place_newest(feeds, feed, subscription);
    return true;
}

bool cursor_move(struct feeds *feeds, uint32_t number, struct chunk *chunk, uint64_t offset, uint32_t partial,
                 bool *dropped)
{
    struct cursor *cursor = cursor_at(feeds, number);
    struct feed *feed = feed_of(feeds, cursor);
    CHECK(offset <= feed->tail);
    *dropped = false;
    cursor->offset = offset;
    cursor->partial = partial;
    if (offset == feed->tail) {
        CHECK(partial == 0);
        if (cursor->hold) {
            cursor_unlink(feeds, feed, number);
            cursor_link(feeds, feed, number, 0);
        }
        *dropped = cursor_drop_at_tail(feeds, feed, number);
        return true;
    }
    chunk = chunk_with(chunk, offset + 1);
    CHECK(chunk->base <= offset + 1);
    if (!cursor->hold || hold_at(feeds, cursor->hold)->chunk != chunk) {
        uint32_t hold = hold_of(feeds, feed, chunk);
        CHECK_MSG(hold, "no memory for a hold"); /* at most one a chunk in the backlog */
        cursor_unlink(feeds, feed, number);
        cursor_link(feeds, feed, number, hold);
    }
    return false;
}

void feed_unpark(struct feeds *feeds, uint32_t number, void (*woken)(void *context, uint32_t cursor), void *context)
{
    struct feed *feed = feed_at(feeds, number);
    uint32_t next;
    for (uint32_t n = feed->parked; n; n = next) {
        struct cursor *cursor = cursor_at(feeds, n);
        next = cursor->next;
        if (cursor->offset < feed->tail) {
            bool dropped;
            cursor_move(feeds, n, feed->base, cursor->offset, 0, &dropped);
            woken(context, n);
        }
    }
}

void cursors_parked_drop(struct feeds *feeds, struct feed *feed)
{
    uint32_t next;
    for (uint32_t n = feed->parked; n; n = next) {
        next = cursor_at(feeds, n)->next;
        if (cursor_at(feeds, n)->offset == feed->tail) {
            cursor_drop_at_tail(feeds, feed, n);
        }
    }
}

/* --- the backlog's end --- */

/* Whether the backlog has outgrown a chunk: nobody may be left in it. */
static bool chunk_is_passed(const struct feeds *feeds, const struct feed *feed, const struct chunk *chunk)
{
    const struct chunk *next = chunk_next(chunk);
    return next && next->base <= feed->tail && atomic_load_explicit(&chunk->retired, memory_order_acquire) &&
           feed->tail_bytes - next->start_bytes > feed_namespace(feeds, feed)->backlog_bytes;
}

uint32_t feed_passed(struct feeds *feeds, uint32_t number)
{
    struct feed *feed = feed_at(feeds, number);
    return feed->holds && chunk_is_passed(feeds, feed, hold_at(feeds, feed->holds)->chunk) ? feed->holds : 0;
}

uint64_t feed_backlog_first(struct feeds *feeds, uint32_t number, struct chunk **chunk)
{
    struct feed *feed = feed_at(feeds, number);
    struct chunk *at = hold_at(feeds, feed->holds)->chunk;
    while (chunk_is_passed(feeds, feed, at)) {
        at = chunk_next(at);
    }
    *chunk = at;
    return at->base;
}
