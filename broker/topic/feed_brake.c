/*
 * feed_brake: publishers wait for a filter's subscribers that keep up, as they do for a topic's. See owner.h.
 *
 * Any number of topics, of all shards, contribute to a filter's log, so none of their owners can tell how far its
 * fan-out is behind. Its feed can. Each time that `backlog_bytes / 4` were copied to the log, it looks whether all that
 * was there the last time has been walked. If not, it is behind, and all owners are told so, until that has been
 * walked.
 */
#include "topic/feed.h"

void feed_brake_grown(struct feeds *feeds, uint32_t number)
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

void feed_brake_walked(struct feeds *feeds, uint32_t number)
{
    struct feed *feed = feed_at(feeds, number);
    if (feed->filter && feed->filter->behind && feed->walked >= feed->filter->barrier_offset) {
        feed->filter->behind = false;
        feed_mark_unsent(feeds, number);
    }
}

bool feed_brake_send(struct feeds *feeds, uint32_t number)
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
