/* deliver: see deliver.h. */
#include "conn/deliver.h"

#include "base/check.h"
#include "conn/close.h"
#include "conn/lanes.h"
#include "conn/replay.h"
#include "conn/reply.h"
#include "conn/slow.h"

/* --- the batch --- */

/* Messages and bytes that went out to subscribers. */
static void count_delivered(struct conns *conns, uint64_t messages, uint64_t bytes)
{
    STATS_ADD(conns->stats, deliveries, messages);
    STATS_ADD(conns->stats, delivery_sends, 1);
    STATS_ADD(conns->stats, delivery_bytes, bytes);
}

/* What a send takes of the turn's budget: a small one is one, and each so many bytes cost as much again. */
static uint32_t send_cost(uint32_t size)
{
    return 1 + size / SEND_COST_BYTES;
}

static struct batch_entry *batch_add(struct conns *conns, uint32_t slot, uint32_t size)
{
    struct batch_entry *entry = &conns->batch[conns->batch_size++];
    *entry = (struct batch_entry){.conn = slot, .size = size, .result = (int32_t)size};
    conn_at(conns, slot)->flags |= CONN_SENDING;
    return entry;
}

static void block(struct conns *conns, uint32_t slot)
{
    conn_at(conns, slot)->flags |= CONN_BLOCKED;
    io_want_writable(conns->io, slot);
}

/* Messages of a chunk that lie below the tail that this shard knows. */
static uint32_t count_known(const struct chunk *chunk, uint64_t tail)
{
    const struct chunk *next = chunk_next(chunk);
    uint64_t end = next && next->base <= tail ? next->base : tail + 1;
    return (uint32_t)(end - chunk->base);
}

/* --- advancing cursors --- */

/* How many messages of a lane, from `index` on, end at or before byte `position`. */
static uint32_t messages_before(const struct chunk_lane *lane, uint32_t index, uint32_t count, uint32_t position)
{
    uint32_t low = index, high = count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (lane->ends[middle] <= position) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low - index;
}

/*
 * A cursor's connection was sent `size` more bytes of its lane; it passes what has no bytes there (messages of a filter
 * from before somebody read this lane). Returns true if the cursor has nothing more to read.
 */
static bool cursor_advance(struct conns *conns, uint32_t number, uint32_t size)
{
    struct cursor *cursor = cursor_at(conns->feeds, number);
    const struct subscription *subscription = subscription_at(conns->feeds, cursor->subscription);
    const struct feed *feed = feed_at(conns->feeds, subscription->feed);
    struct chunk *chunk = cursor_chunk(conns->feeds, cursor);
    uint64_t offset = cursor->offset;
    uint32_t partial = cursor->partial;
    while (offset < feed->tail) {
        chunk = chunk_with(chunk, offset + 1);
        const struct chunk_lane *lane = lane_of_chunk(conns, chunk, subscription->lane, name_span(feed->name));
        uint32_t index = (uint32_t)(offset + 1 - chunk->base);
        uint32_t count = count_known(chunk, feed->tail);
        uint32_t begin = chunk_begin(lane, index) + partial;
        uint32_t end = begin + size < lane->ends[count - 1] ? begin + size : lane->ends[count - 1];
        uint32_t whole = messages_before(lane, index, count, end);
        size -= end - begin;
        offset += whole;
        partial = end - chunk_begin(lane, index + whole);
        if (index + whole < count) {
            break;
        }
    }
    STATS_ADD(conns->stats, deliveries, offset - cursor->offset);
    bool dropped;
    return cursor_move(conns->feeds, number, chunk, offset, partial, &dropped);
}

/* --- settling --- */

/* A walk's send was short: the subscriber has a place of its own from now on. */
static void settle_walk(struct conns *conns, const struct batch_entry *entry)
{
    const struct feed *feed = feed_at(conns->feeds, subscription_at(conns->feeds, entry->subscription)->feed);
    uint32_t cursor = cursor_create(conns->feeds, entry->subscription, feed->walked);
    if (!cursor) {
        STATS_ADD(conns->stats, memory_refusals, 1);
        conn_abort(conns, entry->conn);
        return;
    }
    if (!cursor_advance(conns, cursor, (uint32_t)entry->result)) {
        conn_behind_add(conns, entry->conn, cursor);
    }
    block(conns, entry->conn);
}

/* The parts of a gathered send, in their order, as far as the bytes went. */
static void settle_plan(struct conns *conns, const struct batch_entry *entry)
{
    uint32_t left = (uint32_t)entry->result;
    for (uint32_t i = 0; i < entry->plan_count && left > 0; i++) {
        const struct plan_part *part = &conns->plan[entry->plan_first + i];
        uint32_t size = part->size < left ? part->size : left;
        left -= size;
        if (!part->cursor) {
            buffer_take(&session_at(conns, conn_at(conns, entry->conn))->out, size);
            continue;
        }
        conn_behind_remove(conns, entry->conn, part->cursor);
        if (!cursor_advance(conns, part->cursor, size)) {
            conn_behind_add(conns, entry->conn, part->cursor);
        }
    }
    if (entry->result < (int32_t)entry->size) {
        block(conns, entry->conn);
    }
}

static bool has_more(const struct conns *conns, const struct conn *conn)
{
    return conn->behind || (conn->session && buffer_waiting(&session_at(conns, conn)->out));
}

static void settle(struct conns *conns, const struct batch_entry *entry)
{
    struct conn *conn = conn_at(conns, entry->conn);
    conn->flags &= (uint16_t)~CONN_SENDING;
    if (entry->result < 0) {
        conn_abort(conns, entry->conn);
    } else if (entry->plan_count) {
        settle_plan(conns, entry);
    } else if (entry->subscription && entry->result < (int32_t)entry->size) {
        settle_walk(conns, entry);
    } else if (entry->result < (int32_t)entry->size) {
        conn_abort(conns, entry->conn); /* two bytes of a heartbeat did not fit, after all that was sent before did */
    }
    if (has_more(conns, conn) && !(conn->flags & CONN_BLOCKED)) {
        conn_mark_ready(conns, entry->conn);
    }
}

void deliver_flush(struct conns *conns)
{
    if (conns->batch_size == 0) {
        return;
    }
    io_flush(conns->io);
    struct io_short report;
    while (io_next_short(conns->io, &report)) {
        conns->batch[report.tag].result = report.result;
    }
    for (uint32_t i = 0; i < conns->batch_size; i++) {
        settle(conns, &conns->batch[i]);
    }
    conns->batch_size = 0;
    conns->plan_size = 0;
}

static void flush_if_full(struct conns *conns)
{
    if (conns->batch_size == conns->io->batch || conns->plan_size + IO_PARTS_MAX > conns->plan_room) {
        deliver_flush(conns);
    }
}

bool deliver_static(struct conns *conns, uint32_t slot, const void *bytes, size_t size)
{
    struct conn *conn = conn_at(conns, slot);
    if (conn->flags & (CONN_SENDING | CONN_BLOCKED | CONN_READY)) {
        return false;
    }
    io_send(conns->io, slot, bytes, size, conns->batch_size);
    batch_add(conns, slot, (uint32_t)size);
    flush_if_full(conns);
    return true;
}

/* --- gathering --- */

struct gather {
    struct iovec parts[IO_PARTS_MAX];
    int count;
    uint32_t size;
};

static bool gather_is_full(const struct gather *gather)
{
    return gather->count == IO_PARTS_MAX || gather->size >= SEND_BYTES_MAX;
}

static void gather_part(struct conns *conns, struct gather *gather, uint32_t cursor, const char *bytes, uint32_t size)
{
    if (size == 0) {
        return; /* see cursor_advance() */
    }
    gather->parts[gather->count++] = (struct iovec){.iov_base = (char *)bytes, .iov_len = size};
    gather->size += size;
    conns->plan[conns->plan_size++] = (struct plan_part){.cursor = cursor, .size = size};
}

/* All that a cursor has to read, chunk by chunk. */
static void gather_cursor(struct conns *conns, struct gather *gather, uint32_t number)
{
    const struct cursor *cursor = cursor_at(conns->feeds, number);
    const struct subscription *subscription = subscription_at(conns->feeds, cursor->subscription);
    const struct feed *feed = feed_at(conns->feeds, subscription->feed);
    struct chunk *chunk = cursor_chunk(conns->feeds, cursor);
    uint64_t offset = cursor->offset;
    uint32_t partial = cursor->partial;
    while (offset < feed->tail && !gather_is_full(gather)) {
        chunk = chunk_with(chunk, offset + 1);
        const struct chunk_lane *lane = lane_of_chunk(conns, chunk, subscription->lane, name_span(feed->name));
        uint32_t begin = chunk_begin(lane, (uint32_t)(offset + 1 - chunk->base)) + partial;
        uint32_t count = count_known(chunk, feed->tail);
        gather_part(conns, gather, number, lane->bytes + begin, lane->ends[count - 1] - begin);
        offset = chunk->base + count - 1;
        partial = 0;
    }
}

/* The rest of a frame that was sent in part, then replies, then messages. */
static void gather_all(struct conns *conns, const struct conn *conn, struct gather *gather)
{
    uint32_t cursor = conn->behind;
    if (cursor && cursor_at(conns->feeds, cursor)->partial) {
        gather_cursor(conns, gather, cursor);
        cursor = cursor_at(conns->feeds, cursor)->conn_next;
    }
    struct session *session = conn->session ? session_at(conns, conn) : NULL;
    if (session && buffer_waiting(&session->out) && !gather_is_full(gather)) {
        gather_part(conns, gather, 0, session->out.bytes + session->out.at, buffer_waiting(&session->out));
    }
    for (; cursor && !gather_is_full(gather); cursor = cursor_at(conns->feeds, cursor)->conn_next) {
        gather_cursor(conns, gather, cursor);
    }
}

/* The cursors of a connection have no bytes to read: they go to the tail. */
static void pass_empty(struct conns *conns, uint32_t slot)
{
    struct conn *conn = conn_at(conns, slot);
    while (conn->behind) {
        uint32_t cursor = conn->behind;
        conn_behind_remove(conns, slot, cursor);
        CHECK(cursor_advance(conns, cursor, 0));
    }
    conn_mark_ready(conns, slot);
}

/* Nothing is left to be sent: what the connection was waiting for comes true. */
static void all_sent(struct conns *conns, uint32_t slot)
{
    struct conn *conn = conn_at(conns, slot);
    if (conn->state == CONN_CLOSING) {
        conn_last_sent(conns, slot);
    } else if ((conn->flags & CONN_ECHO) && (conn->flags & CONN_PAUSED)) {
        conn_mark_retry(conns, slot);
    } else {
        conn_session_release(conns, conn);
    }
}

/* Returns what it took of the budget. */
static uint32_t deliver_ready(struct conns *conns, uint32_t slot)
{
    struct conn *conn = conn_at(conns, slot);
    if (conn->state == CONN_GONE || (conn->flags & (CONN_BLOCKED | CONN_SENDING))) {
        return 1; /* settling, or IO_WRITABLE, makes it ready again */
    }
    slow_tell(conns, slot);
    if (conn->state == CONN_GONE) {
        return 1;
    }
    bool out = conn->session && buffer_waiting(&session_at(conns, conn)->out);
    if (!out && replay_refill(conns, slot)) {
        conn_mark_ready(conns, slot);
    }
    if (conn->state == CONN_GONE) {
        return 1;
    }
    if (!has_more(conns, conn)) {
        all_sent(conns, slot);
        return 1;
    }
    struct gather gather = {.count = 0};
    uint32_t plan_first = conns->plan_size;
    gather_all(conns, conn, &gather);
    if (gather.count == 0) {
        pass_empty(conns, slot);
        return 1;
    }
    io_sendv(conns->io, slot, gather.parts, gather.count, conns->batch_size);
    struct batch_entry *entry = batch_add(conns, slot, gather.size);
    entry->plan_first = plan_first;
    entry->plan_count = (uint32_t)gather.count;
    STATS_ADD(conns->stats, delivery_sends, 1);
    STATS_ADD(conns->stats, delivery_bytes, gather.size);
    conn_mark_ready(conns, slot); /* to see that all is sent, or to go on */
    flush_if_full(conns);
    return send_cost(gather.size);
}

/* Takes each connection that is ready now once. Returns what it took of the budget. */
static uint32_t deliver_all_ready(struct conns *conns, uint32_t most)
{
    uint32_t done = 0;
    uint32_t last = conns->ready_last;
    while (conns->ready_first && done < most) {
        uint32_t slot = conns->ready_first - 1;
        struct conn *conn = conn_at(conns, slot);
        conns->ready_first = conn->ready_next;
        if (!conns->ready_first) {
            conns->ready_last = 0;
        }
        conn->flags &= (uint16_t)~CONN_READY;
        done += deliver_ready(conns, slot);
        if (slot + 1 == last) {
            break; /* those behind have become ready meanwhile */
        }
    }
    deliver_flush(conns);
    return done;
}

void deliver_writable(struct conns *conns, uint32_t slot)
{
    struct conn *conn = conn_at(conns, slot);
    conn->flags &= (uint16_t)~CONN_BLOCKED;
    conn_mark_ready(conns, slot);
}

/* --- walking --- */

/* Parts of a round: without a message for so long a rest ends, and after so long at the latest. */
#define REST_QUIET_OF_ROUND 16
#define REST_MOST_OF_ROUND  2

/* What the subscribers of a lane are sent in this slice. */
static struct walk_range *range_of(struct conns *conns, const struct feed *feed, enum lane lane)
{
    struct walk_range *range = &conns->ranges[lane];
    if (range->count) {
        return range;
    }
    uint64_t target = walk_at(conns->feeds, feed)->target;
    struct chunk *chunk = feed->base;
    uint64_t offset = feed->walked;
    range->size = 0;
    while (offset < target) {
        chunk = chunk_with(chunk, offset + 1);
        const struct chunk_lane *bytes = lane_of_chunk(conns, chunk, lane, name_span(feed->name));
        uint32_t begin = chunk_begin(bytes, (uint32_t)(offset + 1 - chunk->base));
        uint32_t count = count_known(chunk, target);
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
    struct walk_range *range = range_of(conns, feed, subscription->lane);
    if (range->size == 0) {
        return 1; /* messages from before somebody read this lane of a filter */
    }
    if (range->count == 1) {
        io_send(conns->io, slot, range->parts[0].iov_base, range->parts[0].iov_len, conns->batch_size);
    } else {
        io_sendv(conns->io, slot, range->parts, range->count, conns->batch_size);
    }
    batch_add(conns, slot, range->size)->subscription = number;
    count_delivered(conns, walk_at(conns->feeds, feed)->target - feed->walked, range->size);
    flush_if_full(conns);
    return send_cost(range->size);
}

/* So many slices count in the average of what a send takes. */
#define SEND_NS_SLICES 16
/* One slice tells of no more than so much above twice the average. */
#define SEND_NS_STEP 1000

/*
 * A slice of a large feed is long enough to be timed. It may have been interrupted, though, even stopped for seconds:
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

/* Walks on in the oldest part until `most` of the budget is used. Returns what was. */
static uint32_t walk_slice(struct conns *conns, struct feed *feed, uint32_t most)
{
    uint32_t done = 0, subscription;
    int64_t begun_us = conns->clock->monotonic_us(conns->clock);
    for (int lane = 0; lane < LANE_COUNT; lane++) {
        conns->ranges[lane].count = 0;
    }
    while (done < most && (subscription = feed_walk_next(conns->feeds, feed)) != 0) {
        done += walk_one(conns, feed, subscription);
    }
    deliver_flush(conns); /* short ones get their cursors while the feed is still at `walked` */
    send_measure(conns, begun_us, done);
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

/* What the metrics tell of a walk. Those who were postponed or blocked are not waited for. */
static void walk_measure(struct conns *conns, const struct feed *feed, uint32_t published_us)
{
    uint32_t now_us = (uint32_t)conns->clock->monotonic_us(conns->clock);
    histogram_add(&conns->stats->delay_us, now_us - published_us);
    histogram_add(&conns->stats->fan_out, feed->subscribers.size);
}

/*
 * How long a large feed rests before its next round, us; 0: not at all.
 *
 * A send costs nearly the same for one message as for twenty, so a round had better carry all that are on their way.
 * Publishers who wait for their messages to arrive send the next ones all at once, just after a round: the rest ends
 * when a sixteenth of a round has passed without a message, or after half a round. A message that comes alone, as the
 * last did, or later than half a round after the last round, is not held up at all.
 */
static uint32_t rest_of(const struct conns *conns, struct feed *feed)
{
    uint32_t now_us = (uint32_t)conns->now_us;
    uint32_t round_us = (uint32_t)((uint64_t)feed->subscribers.size * conns->send_ns / 1000);
    bool begins = !feed->walk || feed_walk_is_at_start(conns->feeds, feed);
    bool busy = (feed->shared || feed->tail - feed->walked > 1) && now_us - feed->round_us <= round_us / 2;
    if (feed->subscribers.size <= SLICE_DELIVERIES || !begins || !(busy || feed->resting)) {
        feed->resting = false;
        return 0;
    }
    if (!feed->resting) {
        feed->resting = true;
        feed->rest_us = now_us;
    }
    int32_t quiet_us = (int32_t)(feed->came_us + round_us / REST_QUIET_OF_ROUND - now_us);
    int32_t most_us = (int32_t)(feed->rest_us + round_us / REST_MOST_OF_ROUND - now_us);
    int32_t rest_us = quiet_us < most_us ? quiet_us : most_us;
    feed->resting = rest_us > 0;
    return feed->resting ? (uint32_t)rest_us : 0;
}

static bool feed_rests(struct conns *conns, uint32_t number)
{
    uint32_t rest_us = rest_of(conns, feed_at(conns->feeds, number));
    if (rest_us > 0) {
        conns->rest_us = conns->rest_us && conns->rest_us < rest_us ? conns->rest_us : rest_us;
        feeds_rest(conns->feeds, number);
    }
    return rest_us > 0;
}

/* One feed's share. Returns the sends that it took. */
static uint32_t deliver_feed(struct conns *conns, uint32_t number, uint32_t most)
{
    struct feed *feed = feed_at(conns->feeds, number);
    uint32_t done = 0, published_us;
    feed_unpark(conns->feeds, number, woken, conns);
    slow_policy(conns, number);
    if (feed->walked == feed->tail || feed_rests(conns, number)) {
        return 0;
    }
    bool walks = feed_walk_begin(conns->feeds, number);
    feed->shared = feed->shared && !feed_walk_is_at_start(conns->feeds, feed);
    while (walks && done < most) {
        feed->shared |= walk_at(conns->feeds, feed)->target - feed->walked > 1;
        done += walk_slice(conns, feed, most - done);
        if (feed_walk_settle(conns->feeds, number, &published_us)) {
            walk_measure(conns, feed, published_us);
        }
        walks = feed->walk && !feed_walk_is_at_start(conns->feeds, feed);
        if (!walks) {
            feed->round_us = (uint32_t)conns->clock->monotonic_us(conns->clock);
        }
    }
    if (feed->walk || feed->walked < feed->tail) {
        feeds_mark_dirty(conns->feeds, number);
    }
    return done;
}

static bool is_small(const struct conns *conns, uint32_t number)
{
    const struct feed *feed = feed_at(conns->feeds, number);
    return !feed->walk && feed->subscribers.size <= SLICE_DELIVERIES;
}

/*
 * Each feed that is dirty now once; first the small ones whole, then slices of the large ones in turn. Returns the
 * sends that are left of the budget.
 */
static uint32_t deliver_feeds(struct conns *conns, uint32_t budget, bool small)
{
    uint32_t last = conns->feeds->dirty.last;
    bool more = last != 0;
    while (more && budget > 0) {
        uint32_t number = feeds_dirty_take(conns->feeds);
        more = number != last;
        if (is_small(conns, number) != small) {
            feeds_mark_dirty(conns->feeds, number);
            continue;
        }
        uint32_t done = deliver_feed(conns, number, budget < SLICE_DELIVERIES ? budget : SLICE_DELIVERIES);
        budget -= done < budget ? done : budget;
    }
    return budget;
}

bool deliver_turn(struct conns *conns)
{
    uint32_t budget = conns->turn_deliveries;
    conns->rest_us = 0;
    feeds_rested(conns->feeds);
    uint32_t used = deliver_all_ready(conns, budget / 2);
    budget -= used < budget ? used : budget;
    budget = deliver_feeds(conns, budget, true);
    budget = deliver_feeds(conns, budget, false);
    if (budget > 0) {
        deliver_all_ready(conns, budget);
    }
    return conns->ready_first || conns->feeds->dirty.first;
}
