/* deliver: see deliver.h. */
#include "conn/deliver.h"

#include "base/check.h"
#include "conn/close.h"
#include "conn/lanes.h"
#include "conn/replay.h"
#include "conn/reply.h"
#include "conn/slow.h"
#include "conn/walk.h"

/* --- the batch --- */

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
        uint32_t count = chunk_count_to(chunk, feed->tail);
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

/*
 * Of what is queued for a connection so much went out. An answer of HTTP may be large: who reads it has time. When its
 * last part is out, a connection that closes waits no longer than any other.
 */
static void settle_out(struct conns *conns, uint32_t slot, uint32_t size)
{
    const struct conn *conn = conn_at(conns, slot);
    struct session *session = session_at(conns, conn);
    buffer_take(&session->out, size);
    bool last_answer = conn->state == CONN_CLOSING && !session->close_code && buffer_waiting(&session->out);
    if (conn->state == CONN_REQUEST || last_answer) {
        session_set_deadline(conns, session);
    }
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
            settle_out(conns, entry->conn, size);
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
    return conn->behind || conn_has_out(conns, conn);
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

uint32_t deliver_range(struct conns *conns, uint32_t subscription, const struct walk_range *range, uint64_t messages)
{
    uint32_t slot = slot_of_subscription(conns, subscription);
    if (range->count == 1) {
        io_send(conns->io, slot, range->parts[0].iov_base, range->parts[0].iov_len, conns->batch_size);
    } else {
        io_sendv(conns->io, slot, range->parts, range->count, conns->batch_size);
    }
    batch_add(conns, slot, range->size)->subscription = subscription;
    STATS_ADD(conns->stats, deliveries, messages);
    STATS_ADD(conns->stats, delivery_sends, 1);
    STATS_ADD(conns->stats, delivery_bytes, range->size);
    flush_if_full(conns);
    return send_cost(range->size);
}

/* --- gathering --- */

struct gather {
    struct iovec parts[IO_PARTS_MAX];
    int count;
    uint32_t size;
    bool closes; /* behind these, the connection is to be closed: it has no words for a gap */
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

/* All that a cursor has to read, chunk by chunk, or up to a gap that it can't be told of. */
static void gather_cursor(struct conns *conns, struct gather *gather, uint32_t number)
{
    const struct cursor *cursor = cursor_at(conns->feeds, number);
    const struct subscription *subscription = subscription_at(conns->feeds, cursor->subscription);
    const struct feed *feed = feed_at(conns->feeds, subscription->feed);
    struct chunk *chunk = cursor_chunk(conns->feeds, cursor);
    uint64_t offset = cursor->offset;
    uint32_t partial = cursor->partial;
    while (offset < feed->tail && !gather_is_full(gather) && !gather->closes) {
        chunk = chunk_with(chunk, offset + 1);
        const struct chunk_lane *lane = lane_of_chunk(conns, chunk, subscription->lane, name_span(feed->name));
        uint32_t index = (uint32_t)(offset + 1 - chunk->base);
        uint32_t begin = chunk_begin(lane, index) + partial;
        uint32_t known = chunk_count_to(chunk, feed->tail);
        uint32_t count = chunk_sendable(chunk, subscription->lane, index, known);
        gather->closes = count < known;
        if (count > index) {
            gather_part(conns, gather, number, lane->bytes + begin, lane->ends[count - 1] - begin);
        }
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
    if (!conn_has_out(conns, conn) && replay_refill(conns, slot)) {
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
    if (gather.count == 0 && gather.closes) {
        conn_close(conns, slot, CLOSE_POSITION_LOST);
        return 1;
    }
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

bool deliver_turn(struct conns *conns)
{
    uint32_t budget = conns->turn_deliveries;
    conns->rest_us = 0;
    feeds_rested(conns->feeds, &conns->feeds->resting);
    uint32_t used = deliver_all_ready(conns, budget / 2);
    budget -= used < budget ? used : budget;
    budget = walk_small(conns, budget);
    budget = walk_large(conns, budget);
    if (budget > 0) {
        deliver_all_ready(conns, budget);
    }
    return conns->ready_first || conns->feeds->dirty.first;
}
