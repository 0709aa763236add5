/* walk: see walk.h. */
#include "conn/walk.h"

#include "base/check.h"
#include "conn/close.h"
#include "conn/deliver.h"
#include "conn/lanes.h"
#include "conn/slow.h"

/*
 * A rest ends when such a part of a round has passed without a message. The round of a large feed is long beside the
 * time that publishers take to answer; that of small feeds, some hundred sends, is not.
 */
#define REST_QUIET_OF_LARGE 16
#define REST_QUIET_OF_SMALL 4

/* Small feeds rest if at least one in so many had more than one message to send. */
#define SHARED_OF_SMALL 8

/* --- one feed --- */

/* What the subscribers of a lane are sent in this slice. */
static struct walk_range *range_of(struct conns *conns, const struct feed *feed, enum lane lane)
{
    struct walk_range *range = &conns->ranges[lane];
    if (range->count || range->closes) {
        return range;
    }
    uint64_t target = walk_at(conns->feeds, feed)->target;
    struct chunk *chunk = feed->base;
    uint64_t offset = feed->walked;
    range->size = 0;
    while (offset < target && !range->closes) {
        chunk = chunk_with(chunk, offset + 1);
        const struct chunk_lane *bytes = lane_of_chunk(conns, chunk, lane, name_span(feed->name));
        uint32_t index = (uint32_t)(offset + 1 - chunk->base);
        uint32_t begin = chunk_begin(bytes, index);
        uint32_t count = chunk_count_to(chunk, target);
        range->closes = chunk_sendable(chunk, lane, index, count) < count; /* then nobody is sent the range */
        uint32_t size = bytes->ends[count - 1] - begin;
        range->parts[range->count++] = (struct iovec){.iov_base = bytes->bytes + begin, .iov_len = size};
        range->size += size;
        offset = chunk->base + count - 1;
    }
    return range;
}

/* Not now: a place of its own, from which it goes on when its connection is free again. */
static void postpone(struct conns *conns, const struct feed *feed, uint32_t subscription, uint32_t slot)
{
    uint32_t cursor = cursor_create(conns->feeds, subscription, feed->walked);
    if (!cursor) {
        STATS_ADD(conns->stats, memory_refusals, 1);
        conn_abort(conns, slot);
        return;
    }
    conn_behind_add(conns, slot, cursor);
    if (!(conn_at(conns, slot)->flags & CONN_BLOCKED)) {
        conn_mark_ready(conns, slot);
    }
}

/* Returns what it took of the budget. */
static uint32_t walk_one(struct conns *conns, struct feed *feed, uint32_t number)
{
    struct subscription *subscription = subscription_at(conns->feeds, number);
    uint32_t slot = subscription->conn;
    struct conn *conn = conn_at(conns, slot);
    if (subscription->cursor || conn->state == CONN_GONE) {
        return 1;
    }
    if (conn->flags & (CONN_BLOCKED | CONN_SENDING | CONN_READY)) {
        postpone(conns, feed, number, slot);
        return 1;
    }
    const struct walk_range *range = range_of(conns, feed, subscription->lane);
    if (range->closes) {
        postpone(conns, feed, number, slot);
        return 1;
    }
    if (range->size == 0) {
        return 1; /* messages from before somebody read this lane of a filter */
    }
    return deliver_range(conns, number, range, walk_at(conns->feeds, feed)->target - feed->walked);
}

/*
 * After many have come and gone, neighbours in the vector are strangers in the tables, and to fetch their memory takes
 * as long as all else that is done here: so it is asked for ahead, first the subscription, then what it points at.
 */
#define SUBSCRIPTIONS_AHEAD 8
#define CONNS_AHEAD         4

static void walk_prefetch(const struct conns *conns, const struct feed *feed)
{
    uint32_t subscription = feed_walk_ahead(conns->feeds, feed, SUBSCRIPTIONS_AHEAD);
    __builtin_prefetch(subscription_at(conns->feeds, subscription));
    subscription = feed_walk_ahead(conns->feeds, feed, CONNS_AHEAD);
    __builtin_prefetch(conn_at(conns, subscription_at(conns->feeds, subscription)->conn));
}

/* Walks on in the oldest part until `most` of the budget is used. Returns what was. Its sends are queued. */
static uint32_t walk_on(struct conns *conns, struct feed *feed, uint32_t most)
{
    uint32_t done = 0, subscription;
    for (int lane = 0; lane < LANE_COUNT; lane++) {
        conns->ranges[lane].count = 0;
        conns->ranges[lane].closes = false;
    }
    while (done < most && (subscription = feed_walk_next(conns->feeds, feed)) != 0) {
        walk_prefetch(conns, feed);
        done += walk_one(conns, feed, subscription);
    }
    return done;
}

static void woken(void *context, uint32_t cursor)
{
    struct conns *conns = context;
    uint32_t subscription = cursor_at(conns->feeds, cursor)->subscription;
    uint32_t slot = slot_of_subscription(conns, subscription);
    if (subscription_at(conns->feeds, subscription)->suspended) {
        return; /* what it has to read now waits for its replay */
    }
    conn_behind_add(conns, slot, cursor);
    if (!(conn_at(conns, slot)->flags & CONN_BLOCKED)) {
        conn_mark_ready(conns, slot);
    }
}

/*
 * After its sends were settled a feed moves on, if a part of it is at its end. What the metrics tell of it: those who
 * were postponed or blocked are not waited for.
 */
static void walk_settle(struct conns *conns, uint32_t number)
{
    uint32_t published_us;
    if (feed_walk_settle(conns->feeds, number, &published_us)) {
        uint32_t now_us = (uint32_t)conns->clock->monotonic_us(conns->clock);
        histogram_add(&conns->stats->delay_us, now_us - published_us);
        histogram_add(&conns->stats->fan_out, feed_at(conns->feeds, number)->subscribers.size);
    }
}

/* A feed that is not done is to be taken again. */
static void walk_end(struct conns *conns, uint32_t number)
{
    const struct feed *feed = feed_at(conns->feeds, number);
    if (feed->walk || feed->walked < feed->tail) {
        feeds_mark_dirty(conns->feeds, number);
    }
}

/* --- what sends take, and how long to rest for it --- */

/* So many slices count in the average of what a send takes. */
#define SEND_NS_SLICES 16
/* One slice tells of no more than so much above twice the average. */
#define SEND_NS_STEP 1000

/*
 * A slice of many sends is long enough to be timed. It may have been interrupted, though, even stopped for seconds:
 * what a round takes, and how long it may rest, must not follow from that.
 */
static void send_measure(struct conns *conns, int64_t begun_us, uint32_t sends)
{
    if (sends >= SLICE_DELIVERIES / 2) {
        int64_t ns = (conns->clock->monotonic_us(conns->clock) - begun_us) * 1000 / sends;
        int64_t average = conns->send_ns;
        int64_t most = 2 * average + SEND_NS_STEP;
        conns->send_ns = (uint32_t)((average * (SEND_NS_SLICES - 1) + (ns < most ? ns : most)) / SEND_NS_SLICES);
    }
}

/* What so many sends take. */
static uint32_t sends_us(const struct conns *conns, uint32_t sends)
{
    return (uint32_t)((uint64_t)sends * conns->send_ns / 1000);
}

/* Whether it is to wait; then the turn is not to wait longer than that. */
static bool rests(struct conns *conns, struct rest *rest, const struct round *round)
{
    uint32_t rest_us = rest_before(rest, round);
    if (rest_us > 0) {
        conns->rest_us = conns->rest_us && conns->rest_us < rest_us ? conns->rest_us : rest_us;
    }
    return rest_us > 0;
}

/* --- small feeds --- */

static bool is_small(const struct conns *conns, uint32_t number)
{
    const struct feed *feed = feed_at(conns->feeds, number);
    return !feed->walk && feed->subscribers.size <= SLICE_DELIVERIES;
}

/* All that is queued goes out; then the feeds whose subscribers it went to move on. */
static void small_settle(struct conns *conns)
{
    struct small_feeds *small = &conns->small;
    deliver_flush(conns); /* short ones get their cursors while their feeds are still at `walked` */
    for (uint32_t i = 0; i < small->walked_count; i++) {
        walk_settle(conns, small->walked[i]);
        walk_end(conns, small->walked[i]);
    }
    small->walked_count = 0;
}

/*
 * One small feed, whole (but for large messages, of which a slice has fewer: then it goes on as a large one); it is
 * settled later. Returns what it took of the budget.
 */
static uint32_t small_walk(struct conns *conns, uint32_t number)
{
    struct small_feeds *small = &conns->small;
    struct feed *feed = feed_at(conns->feeds, number);
    feed_unpark(conns->feeds, number, woken, conns);
    if (feed_passed(conns->feeds, number)) {
        small_settle(conns); /* the policy decides about connections that nothing is being sent to */
        slow_policy(conns, number);
    }
    if (!feed_walk_begin(conns->feeds, number)) {
        return 0;
    }
    small->walks++;
    small->shared += walk_at(conns->feeds, feed)->target - feed->walked > 1;
    uint32_t done = walk_on(conns, feed, SLICE_DELIVERIES);
    small->walked[small->walked_count++] = number;
    if (small->walked_count == SMALL_FEEDS_BATCH) {
        small_settle(conns);
    }
    return done;
}

/* Each that is dirty now, once, as far as the budget goes. Returns what it took of it. */
static uint32_t small_walk_all(struct conns *conns, uint32_t budget)
{
    uint32_t done = 0, last = conns->feeds->dirty.last;
    bool more = last != 0;
    while (more && done < budget) {
        uint32_t number = feeds_dirty_take(conns->feeds);
        more = number != last;
        if (is_small(conns, number)) {
            done += small_walk(conns, number);
        } else {
            feeds_mark_dirty(conns->feeds, number);
        }
    }
    small_settle(conns);
    conns->small.under_way = more;
    return done;
}

static bool small_rest(struct conns *conns)
{
    struct small_feeds *small = &conns->small;
    uint32_t round_us = sends_us(conns, small->sends); /* the next one will be like the last */
    const struct round round = {
        .now_us = (uint32_t)conns->now_us,
        .us = round_us,
        .quiet_us = round_us / REST_QUIET_OF_SMALL,
        .came_us = conns->feeds->small_came_us,
        .messages = conns->feeds->small_came - small->taken,
        .shared = small->shared > 0 && small->shared >= small->walks / SHARED_OF_SMALL,
    };
    return rests(conns, &small->rest, &round);
}

uint32_t walk_small(struct conns *conns, uint32_t budget)
{
    struct small_feeds *small = &conns->small;
    bool any = conns->feeds->dirty.first || conns->feeds->small_resting.first;
    if (!any || (!small->under_way && small_rest(conns))) {
        return budget;
    }
    feeds_rested(conns->feeds, &conns->feeds->small_resting);
    if (!small->under_way) {
        small->sends = small->walks = small->shared = 0;
        rest_round_begins(&small->rest, conns->feeds->small_came - small->taken);
        small->taken = conns->feeds->small_came;
    }
    int64_t begun_us = conns->clock->monotonic_us(conns->clock);
    uint32_t done = small_walk_all(conns, budget);
    send_measure(conns, begun_us, done);
    small->sends += done;
    rest_round_ended(&small->rest, (uint32_t)conns->clock->monotonic_us(conns->clock));
    return budget - (done < budget ? done : budget);
}

/* --- large feeds --- */

/* A large feed's rest before its next round. */
static bool large_rest(struct conns *conns, uint32_t number)
{
    struct feed *feed = feed_at(conns->feeds, number);
    bool begins = !feed->walk || feed_walk_is_at_start(conns->feeds, feed);
    if (!begins || feed->subscribers.size <= SLICE_DELIVERIES) {
        feed->rest.resting = false;
        return false;
    }
    uint32_t round_us = sends_us(conns, feed->subscribers.size);
    const struct round round = {
        .now_us = (uint32_t)conns->now_us,
        .us = round_us,
        .quiet_us = round_us / REST_QUIET_OF_LARGE,
        .came_us = feed->came_us,
        .messages = feed->tail - feed->walked,
        .shared = feed->shared || feed->tail - feed->walked > 1,
    };
    if (!rests(conns, &feed->rest, &round)) {
        return false;
    }
    feeds_rest(conns->feeds, &conns->feeds->resting, number);
    return true;
}

/* One part after another, until all are at the target or the budget is used. Returns what was. */
static uint32_t large_walk_parts(struct conns *conns, uint32_t number, uint32_t most)
{
    struct feed *feed = feed_at(conns->feeds, number);
    uint32_t done = 0;
    bool walks = true;
    while (walks && done < most) {
        int64_t begun_us = conns->clock->monotonic_us(conns->clock);
        feed->shared |= walk_at(conns->feeds, feed)->target - feed->walked > 1;
        uint32_t slice = walk_on(conns, feed, most - done);
        deliver_flush(conns); /* as in small_settle() */
        send_measure(conns, begun_us, slice);
        walk_settle(conns, number);
        done += slice;
        walks = feed->walk && !feed_walk_is_at_start(conns->feeds, feed);
        if (!walks) {
            rest_round_ended(&feed->rest, (uint32_t)conns->clock->monotonic_us(conns->clock));
        }
    }
    return done;
}

/* One large feed's share. Returns the sends that it took. */
static uint32_t large_walk(struct conns *conns, uint32_t number, uint32_t most)
{
    struct feed *feed = feed_at(conns->feeds, number);
    feed_unpark(conns->feeds, number, woken, conns);
    slow_policy(conns, number);
    if (feed->walked == feed->tail || large_rest(conns, number)) {
        return 0;
    }
    uint32_t done = 0;
    if (feed_walk_begin(conns->feeds, number)) {
        if (feed_walk_is_at_start(conns->feeds, feed)) {
            feed->shared = false;
            rest_round_begins(&feed->rest, feed->tail - feed->walked);
        }
        done = large_walk_parts(conns, number, most);
    }
    walk_end(conns, number);
    return done;
}

uint32_t walk_large(struct conns *conns, uint32_t budget)
{
    uint32_t last = conns->feeds->dirty.last;
    bool more = last != 0;
    while (more && budget > 0) {
        uint32_t number = feeds_dirty_take(conns->feeds);
        more = number != last;
        if (!is_small(conns, number)) {
            uint32_t done = large_walk(conns, number, budget < SLICE_DELIVERIES ? budget : SLICE_DELIVERIES);
            budget -= done < budget ? done : budget;
        } else if (conns->small.rest.resting) {
            feeds_rest(conns->feeds, &conns->feeds->small_resting, number);
        } else {
            feeds_mark_dirty(conns->feeds, number);
        }
    }
    return budget;
}
