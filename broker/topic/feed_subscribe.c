/*
 * feed_subscribe: how a subscription becomes live, and how it ends. See feed.h.
 *
 *   JOINING ── the feed is told in its lane ──▶ LIVE (from new)
 *      └─────────────────────────────────────▶ ASKING ── ASK_HISTORY ──▶ ASKED ── TELL_HISTORY ──▶ LIVE
 */
#include "base/check.h"
#include "topic/feed.h"

static void wish_take_back(struct feeds *feeds, struct subscription *subscription)
{
    slab_give(&feeds->wishes, subscription->cursor);
    subscription->cursor = 0;
}

static void subscription_free(struct feeds *feeds, uint32_t number)
{
    slab_give(&feeds->subscriptions, number);
    STATS_SET(feeds->stats, subscriptions, feeds->subscriptions.used);
}

uint32_t feeds_subscribe(struct feeds *feeds, uint32_t conn, enum lane lane, struct span text, bool wild,
                         const struct from *from)
{
    uint32_t feed_number = feeds_feed(feeds, text, wild, NULL);
    uint32_t wish = feed_number ? slab_take(&feeds->wishes) : 0;
    uint32_t number = wish ? slab_take(&feeds->subscriptions) : 0;
    if (!number) {
        if (wish) {
            slab_give(&feeds->wishes, wish);
        }
        if (feed_number) {
            feed_check_used(feeds, feed_number);
        }
        return 0;
    }
    struct feed *feed = feed_at(feeds, feed_number);
    *wish_at(feeds, wish) =
        (struct wish){.from_kind = (uint8_t)from->kind, .epoch = from->epoch, .offset = from->offset};
    *subscription_at(feeds, number) = (struct subscription){
        .conn = conn,
        .feed = feed_number,
        .place = feed->waiting,
        .cursor = wish,
        .lane = (uint8_t)lane,
        .state = SUBSCRIPTION_JOINING,
    };
    feed->waiting = number;
    feed->lanes_wanted |= LANE_BIT(lane);
    STATS_SET(feeds->stats, subscriptions, feeds->subscriptions.used);
    if (feed->state == FEED_JOINED && (feed->lanes & LANE_BIT(lane))) {
        feed_serve_waiting(feeds, feed_number);
    } else {
        feed_mark_unsent(feeds, feed_number);
    }
    return number;
}

void feed_waiting_remove(struct feeds *feeds, uint32_t number, uint32_t subscription)
{
    uint32_t *at = &feed_at(feeds, number)->waiting;
    while (*at != subscription) {
        CHECK(*at);
        at = &subscription_at(feeds, *at)->place;
    }
    *at = subscription_at(feeds, subscription)->place;
}

void feeds_unsubscribe(struct feeds *feeds, uint32_t number)
{
    struct subscription *subscription = subscription_at(feeds, number);
    uint32_t feed = subscription->feed;
    switch ((enum subscription_state)subscription->state) {
    case SUBSCRIPTION_ASKED:
        wish_take_back(feeds, subscription);
        subscription->state = SUBSCRIPTION_DEAD; /* the answer still names this number */
        return;
    case SUBSCRIPTION_JOINING:
    case SUBSCRIPTION_ASKING:
        feed_waiting_remove(feeds, feed, number);
        wish_take_back(feeds, subscription);
        break;
    case SUBSCRIPTION_LIVE:
        if (subscription->cursor) {
            cursor_free(feeds, subscription->cursor);
        }
        feed_remove_live(feeds, number);
        break;
    case SUBSCRIPTION_DEAD:
        UNREACHABLE();
    }
    subscription_free(feeds, number);
    feed_check_used(feeds, feed);
}

/* --- among the live ones --- */

bool feed_add_live(struct feeds *feeds, uint32_t number, struct chunk *chunk, uint64_t offset)
{
    struct subscription *subscription = subscription_at(feeds, number);
    struct feed *feed = feed_at(feeds, subscription->feed);
    if (!vector_push(&feed->subscribers, number)) {
        return false;
    }
    uint32_t wish = subscription->cursor;
    subscription->place = feed->subscribers.size - 1;
    subscription->state = SUBSCRIPTION_LIVE;
    subscription->cursor = 0;
    bool at_feed = !feed->walk && offset == feed->walked && offset == feed->tail;
    if (!at_feed) {
        uint32_t cursor = cursor_create(feeds, number, feed->walked);
        if (!cursor) {
            subscription->cursor = wish;
            vector_pop(&feed->subscribers);
            return false;
        }
        bool dropped;
        cursor_move(feeds, cursor, chunk, offset, 0, &dropped);
    }
    slab_give(&feeds->wishes, wish);
    STATS_ADD(feeds->stats, subscribes, 1);
    return true;
}

void feed_remove_live(struct feeds *feeds, uint32_t number)
{
    feed_place_remove(feeds, feed_at(feeds, subscription_at(feeds, number)->feed), number);
    STATS_ADD(feeds->stats, unsubscribes, 1);
}

/* --- those that wait --- */

/* From now on: at the tail. */
static void become_live(struct feeds *feeds, uint32_t number)
{
    struct subscription *subscription = subscription_at(feeds, number);
    const struct feed *feed = feed_at(feeds, subscription->feed);
    struct feed_answer answer = {.subscription = number, .epoch = feed->epoch};
    answer.offset = feed->tail + (uint64_t)feed->tail_shift;
    /* a stream of a filter that comes back goes on from now, and is told that it did not resume */
    answer.has_recovered = wish_at(feeds, subscription->cursor)->from_kind == FROM_POSITION;
    feed_waiting_remove(feeds, subscription->feed, number);
    if (!feed_add_live(feeds, number, NULL, feed->tail)) {
        subscription->place = feed->waiting;
        feed_at(feeds, subscription->feed)->waiting = number;
        answer.error = REPLY_BUSY;
    }
    feeds_answer(feeds, &answer);
}

void feed_serve_waiting(struct feeds *feeds, uint32_t number)
{
    struct feed *feed = feed_at(feeds, number);
    uint32_t next;
    for (uint32_t n = feed->waiting; n; n = next) {
        struct subscription *subscription = subscription_at(feeds, n);
        next = subscription->place;
        if (subscription->state != SUBSCRIPTION_JOINING || !(feed->lanes & LANE_BIT(subscription->lane))) {
            continue;
        }
        if (feed->filter || wish_at(feeds, subscription->cursor)->from_kind == FROM_NEW) {
            become_live(feeds, n);
        } else {
            subscription->state = SUBSCRIPTION_ASKING;
            feed_mark_unsent(feeds, number);
        }
    }
}
