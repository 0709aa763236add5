/*
 * feed_tell: what the owners tell, and what they are asked. See feed.h.
 */
#include "base/check.h"
#include "protocol/topic.h"
#include "topic/feed.h"
#include "topic/match.h"
#include "topic/ticket.h"

/* --- asking --- */

static bool ask(struct feeds *feeds, uint32_t to, struct envelope *envelope)
{
    return mesh_ask(feeds->mesh, feeds->shard, to, envelope);
}

bool feed_ask_with_name(struct feeds *feeds, uint32_t to, struct envelope *envelope, const struct feed *feed)
{
    envelope->name = name_share(feed->name);
    envelope->hash = feed->link.hash;
    if (!ask(feeds, to, envelope)) {
        name_drop(feed->name);
        return false;
    }
    return true;
}

static bool send_join(struct feeds *feeds, uint32_t number, struct feed *feed)
{
    struct envelope join = {.kind = ASK_JOIN, .feed = number, .lanes = feed->lanes_wanted};
    if (!feed_ask_with_name(feeds, feed->owner, &join, feed)) {
        return false;
    }
    feed->lanes_asked = feed->lanes_wanted;
    feed->asking = true;
    if (feed->state == FEED_NEW) {
        feed->state = FEED_JOINING;
    }
    return true;
}

static bool send_leave(struct feeds *feeds, uint32_t number, struct feed *feed)
{
    struct envelope leave = {.kind = ASK_LEAVE, .feed = number, .topic = feed->topic};
    if (!ask(feeds, feed->owner, &leave)) {
        return false;
    }
    feed->state = FEED_LEAVING;
    return true;
}

static bool send_followed(struct feeds *feeds, uint32_t number, struct feed *feed)
{
    struct envelope followed = {.kind = ASK_FOLLOWED, .feed = number, .topic = feed->topic};
    if (!ask(feeds, feed->owner, &followed)) {
        return false;
    }
    feed->owes_followed = false;
    return true;
}

static bool send_walked(struct feeds *feeds, struct feed *feed)
{
    struct envelope walked = {.kind = ASK_WALKED, .topic = feed->topic, .offset = feed->walked};
    if (!ask(feeds, feed->owner, &walked)) {
        return false;
    }
    feed->owes_walked = false;
    return true;
}

/* Those that are asked for leave the list: the answer names them. */
static bool send_histories(struct feeds *feeds, uint32_t number, struct feed *feed)
{
    uint32_t *at = &feed->waiting;
    while (*at) {
        struct subscription *subscription = subscription_at(feeds, *at);
        if (subscription->state != SUBSCRIPTION_ASKING) {
            at = &subscription->place;
            continue;
        }
        const struct wish *wish = wish_at(feeds, subscription->cursor);
        struct envelope history = {
            .kind = ASK_HISTORY,
            .feed = number,
            .topic = feed->topic,
            .ref = *at,
            .from_kind = wish->from_kind,
            .epoch = wish->epoch,
            .offset = wish->offset,
        };
        if (!ask(feeds, feed->owner, &history)) {
            return false;
        }
        subscription->state = SUBSCRIPTION_ASKED;
        *at = subscription->place;
        feed->histories_awaited++;
    }
    return true;
}

/* How many are asked for a filter's topics. Those that start with $ are each host's own. */
static uint32_t filter_asked(const struct feeds *feeds, const struct feed *feed)
{
    return feeds->shard_count + (feeds->link_peer && !topic_is_reserved(name_span(feed->name)) ? 1 : 0);
}

/*
 * A filter's ask goes to all shards, and the federation link, and the next one only when all have answered. Lanes
 * become more, or none: whoever subscribes while the ask is under way relies on those that are there.
 */
static bool send_lanes(struct feeds *feeds, uint32_t number, struct feed *feed)
{
    if (!feed->asking) {
        uint8_t lanes = feed->lanes_wanted ? feed->lanes_wanted | feed->lanes : 0;
        if (lanes == feed->lanes) {
            return true;
        }
        feed->asking = true;
        feed->filter->asked = 0;
        feed->lanes_asked = lanes;
        feed->filter->answers_awaited = filter_asked(feeds, feed);
        feed->state = feed->lanes_asked == 0 ? FEED_LEAVING : feed->state == FEED_NEW ? FEED_JOINING : feed->state;
    }
    uint32_t asked = filter_asked(feeds, feed);
    for (uint32_t *to = &feed->filter->asked; *to < asked; ++*to) {
        struct envelope filter = {
            .kind = ASK_FILTER, .feed = number, .lanes = feed->lanes_asked, .lanes_before = feed->lanes};
        if (!feed_ask_with_name(feeds, *to < feeds->shard_count ? *to : feeds->link_peer, &filter, feed)) {
            return false;
        }
    }
    return true;
}

/* True: nothing is left to send. */
static bool filter_send(struct feeds *feeds, uint32_t number, struct feed *feed, bool over)
{
    if (over) {
        feed->filter->behind = false; /* there is nobody left to wait for */
    }
    bool told = feed_filter_brake_send(feeds, number);
    return (over || send_lanes(feeds, number, feed)) && told;
}

static bool feed_has_nobody(const struct feed *feed)
{
    return feed->subscribers.size == 0 && !feed->waiting && feed->histories_awaited == 0;
}

static bool lanes_are_missing(const struct feed *feed)
{
    return (feed->lanes_wanted & ~feed->lanes_asked) != 0;
}

/* True: nothing is left to send. One ASK_JOIN at a time, so that none is answered when we have left already. */
static bool topic_send(struct feeds *feeds, uint32_t number, struct feed *feed)
{
    if (feed->owes_followed && !send_followed(feeds, number, feed)) {
        return false;
    }
    if (feed->owes_walked && feed->walked >= feed->report_at && !send_walked(feeds, feed)) {
        return false;
    }
    if (feed->state == FEED_LEAVING) {
        return true;
    }
    if (!feed->asking && lanes_are_missing(feed) && !send_join(feeds, number, feed)) {
        return false;
    }
    bool done = send_histories(feeds, number, feed);
    feed_match(feeds, number);
    if (feed->state == FEED_JOINED && !feed->asking && feed->matches.size == 0 && feed_has_nobody(feed)) {
        done &= !feed->dirty && send_leave(feeds, number, feed); /* with nothing left of what it was told */
    }
    return done;
}

/* No owner knows of it, and nobody here needs it. Filters that match don't count: see feed_check_used(). */
static bool feed_is_over(const struct feed *feed)
{
    return feed->state == FEED_NEW && !feed->asking && feed_has_nobody(feed);
}

void feeds_send(struct feeds *feeds)
{
    struct queue unsent = feeds->unsent; /* who finds no room is put into a new line */
    feeds->unsent = (struct queue){0};
    uint32_t number;
    while ((number = queue_take(&unsent, &feeds->feeds, offsetof(struct feed, unsent_next))) != 0) {
        struct feed *feed = feed_at(feeds, number);
        feed->unsent = false;
        bool over = feed_is_over(feed);
        bool sent = feed->filter ? filter_send(feeds, number, feed, over) : over || topic_send(feeds, number, feed);
        if (over && sent && !feed->dirty) {
            feed_free(feeds, number);
        } else if (over || !sent) {
            feed_mark_unsent(feeds, number);
        }
    }
}

/* --- the answers --- */

static void told_of_tail(struct feed *feed, const struct envelope *tell)
{
    feed->known = true;
    feed->topic = tell->topic;
    feed->epoch = tell->epoch;
    feed->tail_shift = tell->shift;
    feed->tail = tell->offset;
    feed->walked = tell->offset;
}

/* All that wait are refused: conn/execute ends them. */
static void refuse_waiting(struct feeds *feeds, struct feed *feed, enum reply_error error)
{
    for (uint32_t n = feed->waiting; n; n = subscription_at(feeds, n)->place) {
        feeds_answer(feeds, &(struct feed_answer){.subscription = n, .error = error});
    }
}

static void tell_joined(struct feeds *feeds, const struct envelope *tell)
{
    struct feed *feed = feed_at(feeds, tell->feed);
    feed->asking = false;
    if (tell->status != REPLY_OK) {
        feed->lanes_asked = feed->lanes;
        feed->lanes_wanted = feed->lanes;
        if (!feed->known) {
            feed->state = FEED_NEW;
        }
        refuse_waiting(feeds, feed, tell->status);
        feed_check_used(feeds, tell->feed);
        return;
    }
    if (!feed->known) {
        told_of_tail(feed, tell);
    }
    feed->state = FEED_JOINED;
    feed->lanes |= tell->lanes;
    feed_serve_waiting(feeds, tell->feed);
    feed_check_used(feeds, tell->feed);
    if (lanes_are_missing(feed)) {
        feed_mark_unsent(feeds, tell->feed);
    }
}

/* The end, or a beginning: somebody has come while we were leaving. */
static void left(struct feeds *feeds, uint32_t number)
{
    struct feed *feed = feed_at(feeds, number);
    feed->asking = false;
    feed->lanes = 0;
    feed->lanes_asked = 0;
    feed->owes_walked = false;
    feed->state = FEED_NEW;
    if (!feed->filter) {
        feed->known = false;
    }
    if (feed->waiting) {
        for (uint32_t n = feed->waiting; n; n = subscription_at(feeds, n)->place) {
            feed->lanes_wanted |= LANE_BIT(subscription_at(feeds, n)->lane);
        }
        feed_mark_unsent(feeds, number);
    } else {
        vector_free(&feed->matches);
        feed->matches_version = 0;       /* TELL_FOLLOW may come before it is freed */
        feed_mark_unsent(feeds, number); /* feeds_send() frees it */
    }
}

static void tell_filtered(struct feeds *feeds, const struct envelope *tell)
{
    struct feed *feed = feed_at(feeds, tell->feed);
    if (--feed->filter->answers_awaited > 0) {
        return;
    }
    feed->asking = false;
    feed->lanes = feed->lanes_asked;
    if (feed->lanes == 0) {
        left(feeds, tell->feed);
        return;
    }
    feed->state = FEED_JOINED;
    feed_serve_waiting(feeds, tell->feed);
    feed_check_used(feeds, tell->feed);
    if (feed->lanes_wanted != feed->lanes) {
        feed_mark_unsent(feeds, tell->feed);
    }
}

static void tell_follow(struct feeds *feeds, const struct envelope *tell)
{
    uint32_t number = feeds_feed(feeds, name_span(tell->name), false, tell->name);
    name_drop(tell->name);
    CHECK_MSG(number, "no memory to follow a topic for a filter");
    struct feed *feed = feed_at(feeds, number);
    if (!feed->known) {
        told_of_tail(feed, tell);
        if (feed->state == FEED_NEW) {
            feed->state = FEED_JOINED;
        }
    }
    feed->owes_followed = true;
    feed_mark_unsent(feeds, number);
}

static void tell_history(struct feeds *feeds, const struct envelope *tell)
{
    struct subscription *subscription = subscription_at(feeds, tell->ref);
    uint32_t number = subscription->feed;
    struct feed *feed = feed_at(feeds, number);
    feed->histories_awaited--;
    if (subscription->state == SUBSCRIPTION_DEAD) {
        slab_give(&feeds->subscriptions, tell->ref);
        STATS_SET(feeds->stats, subscriptions, feeds->subscriptions.used);
        chunk_drop(tell->chunk);
        feed_check_used(feeds, number);
        return;
    }
    struct wish wish = *wish_at(feeds, subscription->cursor);
    struct feed_answer answer = {.subscription = tell->ref, .epoch = tell->epoch};
    answer.offset = tell->offset + (uint64_t)tell->shift;
    answer.has_recovered = wish.from_kind == FROM_POSITION;
    answer.recovered = answer.has_recovered && tell->status == HISTORY_REACHES;
    answer.lost = tell->status == HISTORY_EXPIRED || tell->status == HISTORY_EPOCH;
    answer.reason = tell->status == HISTORY_EPOCH ? GAP_EPOCH : GAP_EXPIRED;
    answer.gap_from = tell->status == HISTORY_EPOCH ? 0 : wish.offset + 1;
    answer.gap_to = answer.offset;
    answer.error = tell->status == HISTORY_AHEAD  ? REPLY_POSITION_INVALID
                   : tell->status == HISTORY_AWAY ? REPLY_UNAVAILABLE
                                                  : REPLY_OK;
    if (answer.error == REPLY_OK && !feed_add_live(feeds, tell->ref, tell->chunk, tell->offset)) {
        answer.error = REPLY_BUSY;
    }
    if (answer.error) { /* back among those that wait, where conn/execute finds and ends it */
        subscription->state = SUBSCRIPTION_JOINING;
        subscription->place = feed->waiting;
        feed->waiting = tell->ref;
    }
    feeds_answer(feeds, &answer);
    chunk_drop(tell->chunk); /* the cursor's hold has one of its own */
}

/* --- new messages --- */

void feed_match(struct feeds *feeds, uint32_t number)
{
    struct feed *feed = feed_at(feeds, number);
    uint64_t version = filters_version(feeds->matcher);
    if (feed->matches_version == version) {
        return;
    }
    feed->matches_version = version;
    CHECK_MSG(match_all(feeds->matcher, name_span(feed->name), &feed->matches),
              "no memory for the filters that match a topic");
    if (feed->matches.size == 0) {
        vector_free(&feed->matches);
    }
}

/* The feed's log has grown up to `tail`, beginning in `chunk`, whose reference is taken. */
static void feed_grown(struct feeds *feeds, uint32_t number, struct chunk *chunk, uint64_t tail, uint64_t tail_bytes,
                       uint32_t time_us)
{
    struct feed *feed = feed_at(feeds, number);
    if (feed_tail_is_reached(feeds, feed)) {
        feed->fresh_us = time_us;
    }
    feed->came_us = time_us;
    if (feed->subscribers.size <= SLICE_DELIVERIES) {
        feeds->small_came_us = time_us;
        feeds->small_came += (uint32_t)(tail - feed->tail);
    }
    feed->tail = tail;
    feed->tail_bytes = tail_bytes;
    if (feed->subscribers.size == 0 && !feed->walk) {
        feed->walked = tail;
        chunk_drop(feed->base);
        feed->base = NULL;
        chunk_drop(chunk);
        return;
    }
    if (feed->base) {
        chunk_drop(chunk); /* the chain leads there */
    } else {
        feed->base = chunk;
    }
    feeds_mark_dirty(feeds, number);
}

/*
 * What a filter reads of a topic's chunk must be there before it is copied. The owner has written it in the open chunk,
 * before it told of its tail; a sealed one may be from a time when nobody wanted that lane. Without memory the message
 * has no bytes for those who read it.
 */
static void lanes_complete(struct feeds *feeds, uint8_t lanes, struct chunk *chunk, struct span topic)
{
    const struct chunk *next = chunk_next(chunk);
    for (int i = 0; i < LANE_COUNT && next; i++) {
        if ((lanes & LANE_BIT(i)) && !chunk_lane(chunk, i) &&
            !chunk_lane_make(chunk, i, (uint32_t)(next->base - chunk->base), feeds->writer, topic)) {
            STATS_ADD(feeds->stats, memory_refusals, 1);
        }
    }
}

static void filter_append(struct feeds *feeds, uint32_t number, const struct feed *topic, struct chunk *chunk,
                          uint32_t index, uint32_t time_us)
{
    struct feed *feed = feed_at(feeds, number);
    if (feed->subscribers.size == 0 || feed->lanes == 0) {
        return;
    }
    lanes_complete(feeds, feed->lanes, chunk, name_span(topic->name));
    struct log *log = &feed->filter->log;
    struct log_limits limits = {.chunk_bytes_max = CHUNK_BYTES_MAX};
    if (!log_append_copy(log, &limits, feed->lanes, chunk, index, topic->link.hash)) {
        STATS_ADD(feeds->stats, memory_refusals, 1);
        return;
    }
    log_trim(log, &limits, 0);
    STATS_ADD(feeds->stats, filter_copies, 1);
    feed_grown(feeds, number, chunk_share(log->newest), log->tail, log->bytes, time_us);
    feed_filter_grown(feeds, number);
}

/* Every message of a topic goes into the log of each filter that matches, once for all who follow the filter. */
static void copy_to_filters(struct feeds *feeds, uint32_t number, struct chunk *chunk, uint64_t from, uint64_t to,
                            uint32_t time_us)
{
    feed_match(feeds, number);
    struct feed *feed = feed_at(feeds, number);
    for (uint64_t offset = from; offset <= to && feed->matches.size; offset++) {
        chunk = chunk_with(chunk, offset);
        for (uint32_t i = 0; i < feed->matches.size; i++) {
            filter_append(feeds, feed->matches.items[i], feed, chunk, (uint32_t)(offset - chunk->base), time_us);
        }
    }
}

static void tell_tail(struct feeds *feeds, const struct envelope *tell)
{
    struct feed *feed = feed_at(feeds, tell->feed);
    if (tell->flags & TELL_TAIL_REPORT) {
        feed->owes_walked = true;
        feed->report_at = tell->offset;
    }
    if (tell->chunk) {
        copy_to_filters(feeds, tell->feed, tell->chunk, feed->tail + 1, tell->offset, tell->time_us);
        feed->epoch = tell->epoch;
        feed->tail_shift = tell->shift;
        feed_grown(feeds, tell->feed, tell->chunk, tell->offset, tell->bytes, tell->time_us);
    }
    if (feed->owes_walked && feed->walked >= feed->report_at) {
        feed_mark_unsent(feeds, tell->feed);
    }
}

void feeds_tell(struct feeds *feeds, const struct envelope *tell)
{
    switch ((enum envelope_kind)tell->kind) {
    case TELL_JOINED:
        tell_joined(feeds, tell);
        break;
    case TELL_LEFT:
        left(feeds, tell->feed);
        break;
    case TELL_FILTERED:
        tell_filtered(feeds, tell);
        break;
    case TELL_FOLLOW:
        tell_follow(feeds, tell);
        break;
    case TELL_HISTORY:
        tell_history(feeds, tell);
        break;
    case TELL_TAIL:
        tell_tail(feeds, tell);
        break;
    default:
        UNREACHABLE();
    }
}
