/* slow: see slow.h. */
#include "conn/slow.h"

#include "base/check.h"
#include "conn/close.h"
#include "conn/reply.h"

static void disconnect(struct conns *conns, uint32_t slot, uint32_t subscription)
{
    STATS_ADD(conns->stats, slow_disconnects, 1);
    conn_close(conns, slot, CLOSE_SLOW);
    if (conn_at(conns, slot)->state == CONN_GONE) { /* it could not be closed in good order; the cursor must go now */
        conn_subscription_end(conns, subscription);
    }
}

static void tell_gap(struct conns *conns, uint32_t slot, const struct feed *feed, uint64_t from, uint64_t to)
{
    STATS_ADD(conns->stats, gaps_told, 1);
    STATS_ADD(conns->stats, messages_skipped, to - from + 1);
    conn_reply(conns, slot,
               &(struct reply){
                   .kind = REPLY_KIND_GAP,
                   .topic = name_span(feed->name),
                   .epoch = feed->epoch,
                   .from_offset = from,
                   .to_offset = to,
                   .reason = GAP_SLOW,
               });
}

/* Moves a cursor on to the message `first`, of which the chunk is known; what lies between is told as a gap. */
static void jump(struct conns *conns, uint32_t slot, uint32_t number, struct chunk *chunk, uint64_t first)
{
    struct cursor *cursor = cursor_at(conns->feeds, number);
    const struct subscription *subscription = subscription_at(conns->feeds, cursor->subscription);
    const struct feed *feed = feed_at(conns->feeds, subscription->feed);
    uint64_t from = cursor->offset + 1;
    bool dropped;
    cursor_move(conns->feeds, number, chunk, first - 1, 0, &dropped);
    if (from < first) {
        tell_gap(conns, slot, feed, from, first - 1);
    }
}

static void pass(struct conns *conns, uint32_t feed_number, uint32_t number)
{
    struct feed *feed = feed_at(conns->feeds, feed_number);
    enum config_slow policy = feed_namespace(conns->feeds, feed)->slow;
    uint32_t subscription = cursor_at(conns->feeds, number)->subscription;
    uint32_t slot = slot_of_subscription(conns, subscription);
    bool raw = conn_at(conns, slot)->dialect == DIALECT_RAW;
    if (policy == CONFIG_SLOW_DISCONNECT || (policy == CONFIG_SLOW_SKIP && raw)) {
        disconnect(conns, slot, subscription);
        return;
    }
    struct chunk *chunk;
    uint64_t first = feed_backlog_first(conns->feeds, feed_number, &chunk);
    if (policy == CONFIG_SLOW_CONFLATE) {
        first = feed->tail;
    }
    if (conn_at(conns, slot)->behind == number && !conn_finish_frame(conns, slot)) {
        disconnect(conns, slot, subscription);
        return;
    }
    jump(conns, slot, number, chunk, first);
}

void slow_policy(struct conns *conns, uint32_t feed)
{
    uint32_t hold;
    while ((hold = feed_passed(conns->feeds, feed)) != 0) {
        pass(conns, feed, hold_at(conns->feeds, hold)->cursors);
    }
}
