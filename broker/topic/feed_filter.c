/*
 * feed_filter: what is told of a filter's feed: to publishers, whether they have to wait for its subscribers, and to
 * clients, up to which time these have been sent everything. See owner.h and feed.h.
 */
#include "topic/feed.h"

/* --- publishers wait for subscribers that keep up, as they do for a topic's --- */

/*
 * Any number of topics, of all shards, contribute to a filter's log, so none of their owners can tell how far its
 * fan-out is behind. Its feed can. Each time that `backlog_bytes / 4` were copied to the log, it looks whether all that
 * was there the last time has been walked. If not, it is behind, and all owners are told so, until that has been
 * walked.
 */
static void brake_grown(struct feeds *feeds, uint32_t number)
{
    struct feed *feed = feed_at(feeds, number);
    struct filter *filter = feed->filter;
    uint64_t step = feed_namespace(feeds, feed)->backlog_bytes / 4;
    if (filter->behind || feed->tail_bytes - filter->barrier_bytes < step) {
        return;
    }
    if (feed->walked >= filter->barrier_offset) {
        filter->barrier_offset = feed->tail;
        filter->barrier_bytes = feed->tail_bytes;
        return;
    }
    filter->behind = true;
    STATS_ADD(feeds->stats, filter_brakes, 1);
    feed_mark_unsent(feeds, number);
}

static void brake_walked(struct feeds *feeds, uint32_t number)
{
    const struct feed *feed = feed_at(feeds, number);
    if (feed->filter->behind && feed->walked >= feed->filter->barrier_offset) {
        feed->filter->behind = false;
        feed_mark_unsent(feeds, number);
    }
}

bool feed_filter_brake_send(struct feeds *feeds, uint32_t number)
{
    const struct feed *feed = feed_at(feeds, number);
    struct filter *filter = feed->filter;
    for (;;) {
        for (; filter->brakes_asked < feeds->shard_count; filter->brakes_asked++) {
            struct envelope brake = {.kind = filter->behind_told ? ASK_BRAKE : ASK_RELEASE, .feed = number};
            if (!feed_ask_with_name(feeds, filter->brakes_asked, &brake, feed)) {
                return false;
            }
        }
        if (filter->behind == filter->behind_told) {
            return true;
        }
        filter->behind_told = filter->behind;
        filter->brakes_asked = 0;
    }
}

/* --- up to when everything was delivered --- */

static void delivery_begins(struct feeds *feeds, struct filter *filter)
{
    filter->undelivered = true;
    filter->older_until = 0;
    filter->generation = watermark_begin(&feeds->delivered);
}

/* The message that came may be younger than those that are under way: as far as these go, they are waited for first. */
static void delivery_grown(struct feeds *feeds, const struct feed *feed)
{
    struct filter *filter = feed->filter;
    if (!filter->undelivered) {
        delivery_begins(feeds, filter);
    } else if (filter->generation != feeds->delivered.younger && !filter->older_until) {
        filter->older_until = feed->tail - 1;
    }
}

static void delivery_walked(struct feeds *feeds, const struct feed *feed)
{
    struct filter *filter = feed->filter;
    uint64_t until = filter->older_until ? filter->older_until : feed->tail;
    if (!filter->undelivered || feed->walked < until) {
        return;
    }
    watermark_end(&feeds->delivered, filter->generation);
    filter->undelivered = false;
    if (feed->walked < feed->tail) {
        delivery_begins(feeds, filter);
    }
}

/* --- both --- */

void feed_filter_grown(struct feeds *feeds, uint32_t number)
{
    delivery_grown(feeds, feed_at(feeds, number));
    brake_grown(feeds, number);
}

void feed_filter_walked(struct feeds *feeds, uint32_t number)
{
    delivery_walked(feeds, feed_at(feeds, number));
    brake_walked(feeds, number);
}
