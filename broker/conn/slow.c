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

/* Whether the log itself tells of a gap with what a cursor reads next. */
static bool next_is_gap(const struct chunk *chunk, const struct cursor *cursor)
{
    return chunk_is_gap(chunk, (uint32_t)(cursor->offset + 1 - chunk->base));
}

static bool next_is_epoch_gap(const struct chunk *chunk, const struct cursor *cursor)
{
    return next_is_gap(chunk, cursor) && chunk->gap_reason == GAP_EPOCH;
}

/* What a jump passes over. */
struct skipped {
    uint64_t epoch; /* in which it begins; 0: in one that its reader has not been told of */
    uint64_t from;  /* public offset */
    uint64_t count;
};

/* All from where the cursor stands up to `first`. If that begins with a gap in the log, nobody else tells of it. */
static struct skipped skipped_by(const struct chunk *chunk, const struct cursor *cursor, uint64_t first)
{
    bool gap = next_is_gap(chunk, cursor);
    return (struct skipped){
        .epoch = gap && chunk->gap_reason == GAP_EPOCH ? 0 : chunk->epoch,
        .from = gap ? chunk->gap_from : chunk_offset(chunk, cursor->offset + 1),
        .count = first - 1 - cursor->offset,
    };
}

/*
 * What lies between is told as a gap, but not now: its reader takes nothing, and may be passed many times before it
 * does. One cursor remembers one gap, however long; frames that wait would grow with the stream.
 *
 * If the epoch changed in between, what it missed can't be counted: `missed` is MISSED_EPOCH. And if the log itself
 * tells so next, nothing more is to be told.
 */
static void miss(struct conns *conns, uint32_t slot, struct cursor *cursor, const struct skipped *skipped)
{
    STATS_ADD(conns->stats, messages_skipped, skipped->count);
    if (conn_at(conns, slot)->dialect == DIALECT_RAW) {
        return; /* can't be told */
    }
    const struct chunk *chunk = cursor_chunk(conns->feeds, cursor);
    if (chunk->epoch != skipped->epoch) {
        cursor->missed = MISSED_EPOCH;
    } else if (cursor->missed == 0) {
        cursor->missed = skipped->from;
    }
    if (next_is_epoch_gap(chunk, cursor)) {
        cursor->missed = 0;
    }
    conn_at(conns, slot)->flags |= CONN_MISSED;
}

/* Moves a cursor on to the message `first`, of which the chunk is known. */
static void jump(struct conns *conns, uint32_t slot, uint32_t number, struct chunk *chunk, uint64_t first)
{
    struct cursor *cursor = cursor_at(conns->feeds, number);
    const struct skipped skipped = skipped_by(cursor_chunk(conns->feeds, cursor), cursor, first);
    bool dropped;
    bool at_tail = cursor_move(conns->feeds, number, chunk, first - 1, 0, &dropped);
    CHECK(!at_tail); /* `first` is there to be read */
    if (skipped.count > 0) {
        miss(conns, slot, cursor, &skipped);
    }
}

static void pass(struct conns *conns, uint32_t feed_number, uint32_t number)
{
    struct feed *feed = feed_at(conns->feeds, feed_number);
    enum config_slow policy = feed_namespace(conns->feeds, feed)->slow;
    uint32_t subscription = cursor_at(conns->feeds, number)->subscription;
    uint32_t slot = slot_of_subscription(conns, subscription);
    bool raw = conn_at(conns, slot)->dialect == DIALECT_RAW;
    bool replays = subscription_at(conns->feeds, subscription)->suspended;
    if (policy == CONFIG_SLOW_DISCONNECT || replays || (policy == CONFIG_SLOW_SKIP && raw)) {
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

/* The offset of the last message that was skipped. What a gap in the log tells by itself next is left to it. */
static uint64_t skipped_to(const struct chunk *chunk, const struct cursor *cursor)
{
    return next_is_gap(chunk, cursor) ? chunk->gap_from - 1 : chunk_offset(chunk, cursor->offset);
}

static void tell_gap(struct conns *conns, uint32_t slot, struct cursor *cursor)
{
    const struct feed *feed = feed_at(conns->feeds, subscription_at(conns->feeds, cursor->subscription)->feed);
    const struct chunk *chunk = cursor_chunk(conns->feeds, cursor);
    const struct reply gap = {
        .kind = REPLY_KIND_GAP,
        .topic = name_span(feed->name),
        .epoch = chunk->epoch,
        .from_offset = cursor->missed == MISSED_EPOCH ? 0 : cursor->missed,
        .to_offset = skipped_to(chunk, cursor),
        .reason = cursor->missed == MISSED_EPOCH ? GAP_EPOCH : GAP_SLOW,
    };
    cursor->missed = 0;
    STATS_ADD(conns->stats, gaps_told, 1);
    conn_reply(conns, slot, &gap);
}

void slow_tell(struct conns *conns, uint32_t slot)
{
    struct conn *conn = conn_at(conns, slot);
    if (!(conn->flags & CONN_MISSED)) {
        return;
    }
    conn->flags &= (uint16_t)~CONN_MISSED;
    uint32_t next;
    for (uint32_t n = conn->behind; n; n = next) {
        struct cursor *cursor = cursor_at(conns->feeds, n);
        next = cursor->conn_next;
        if (cursor->missed) {
            tell_gap(conns, slot, cursor);
        }
        if (conn->state == CONN_CLOSING || conn->state == CONN_GONE) {
            return; /* too many replies: its cursors are gone */
        }
    }
}
