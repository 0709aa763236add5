/* close: see close.h. */
#include "conn/close.h"

#include "base/check.h"
#include "conn/partial.h"

void conn_abort(struct conns *conns, uint32_t slot)
{
    struct conn *conn = conn_at(conns, slot);
    if (conn->state == CONN_GONE) {
        return;
    }
    conn_set_state(conns, conn, CONN_GONE);
    CHECK_MSG(vector_push(&conns->doomed, slot), "no memory for the list of those to close");
}

bool conn_finish_frame(struct conns *conns, uint32_t slot)
{
    struct conn *conn = conn_at(conns, slot);
    struct cursor *cursor = conn->behind ? cursor_at(conns->feeds, conn->behind) : NULL;
    if (!cursor || cursor->partial == 0) {
        return true;
    }
    struct chunk *chunk = cursor_chunk(conns->feeds, cursor);
    enum lane lane = subscription_at(conns->feeds, cursor->subscription)->lane;
    const struct chunk_lane *bytes = chunk_lane(chunk, lane);
    uint32_t index = (uint32_t)(cursor->offset + 1 - chunk->base);
    uint32_t from = chunk_begin(bytes, index) + cursor->partial;
    struct session *session = conn_session(conns, slot);
    if (!session || !buffer_add_front(&session->out, bytes->bytes + from, bytes->ends[index] - from)) {
        return false;
    }
    uint32_t next = cursor->conn_next;
    bool dropped;
    if (cursor_move(conns->feeds, conn->behind, chunk, cursor->offset + 1, 0, &dropped)) {
        conn->behind = next;
    }
    return true;
}

/* From now on only what is queued goes out. */
static void begin_closing(struct conns *conns, uint32_t slot)
{
    struct conn *conn = conn_at(conns, slot);
    conn_subscriptions_end(conns, slot);
    struct session *session = session_at(conns, conn);
    buffer_free(&session->in);
    partial_free(conns, session);
    session->message_valid = false;
    session->deadline_ms = conns->heard_ms + CLOSE_LINGER_MS;
    conn_set_state(conns, conn, CONN_CLOSING);
    conn->flags &= (uint16_t)~CONN_PAUSED;
    io_receive(conns->io, slot, IO_RECEIVE_IDLE);
    conn_mark_ready(conns, slot);
}

/* A place in the queue of those who come back: of any code that says so. */
static uint32_t conn_after_ms(struct conns *conns, uint16_t code)
{
    enum close_class class = code < 4000 ? CLOSE_CLASS_NEVER : close_code_class(code);
    return class == CLOSE_CLASS_NEVER ? 0 : conns_spread(conns, class == CLOSE_CLASS_LATER ? SPREAD_LATER_MS : 0);
}

/* Whether a close frame, or the end of a stream, can still be sent. False: it is gone. */
static bool can_say_farewell(struct conns *conns, uint32_t slot)
{
    struct conn *conn = conn_at(conns, slot);
    bool speaks = conn->state == CONN_OPEN || conn->state == CONN_STREAM;
    if (!speaks || (conn->flags & CONN_ENDED) || !conn_finish_frame(conns, slot) || !conn_session(conns, slot)) {
        conn_abort(conns, slot);
        return false;
    }
    return true;
}

/* Says the last word: a close frame, if that is what the dialect has. */
static void say_farewell(struct conns *conns, uint32_t slot, uint16_t code, struct span reason)
{
    struct session *session = session_at(conns, conn_at(conns, slot));
    if (conn_at(conns, slot)->state == CONN_OPEN) {
        char frame[WS_CONTROL_FRAME_MAX];
        if (!buffer_add(&session->out, frame, ws_close_write(frame, code, reason))) {
            conn_abort(conns, slot);
            return;
        }
        session->close_code = code;
    }
    begin_closing(conns, slot);
}

void conn_close(struct conns *conns, uint32_t slot, uint16_t code)
{
    uint8_t state = conn_at(conns, slot)->state;
    if (state == CONN_CLOSING || state == CONN_GONE || !can_say_farewell(conns, slot)) {
        return;
    }
    char reason[CLOSE_REASON_BYTES_MAX];
    size_t size = state == CONN_OPEN ? close_reason_write(reason, code, conn_after_ms(conns, code)) : 0;
    say_farewell(conns, slot, code, (struct span){reason, size});
}

void conn_close_answer(struct conns *conns, uint32_t slot, uint16_t code)
{
    if (can_say_farewell(conns, slot)) {
        say_farewell(conns, slot, code, SPAN_NONE);
    }
}

void conn_finish(struct conns *conns, uint32_t slot)
{
    struct conn *conn = conn_at(conns, slot);
    if (conn->state != CONN_CLOSING && conn->state != CONN_GONE) {
        begin_closing(conns, slot);
    }
}

void conn_last_sent(struct conns *conns, uint32_t slot)
{
    struct conn *conn = conn_at(conns, slot);
    if (conn->flags & CONN_ENDED) {
        conn_abort(conns, slot);
    } else if (!(conn->flags & CONN_SHUT)) {
        conn->flags |= CONN_SHUT;
        io_shutdown_write(conns->io, slot);
    }
}

void conn_ended(struct conns *conns, uint32_t slot, int32_t result)
{
    struct conn *conn = conn_at(conns, slot);
    conn->flags |= CONN_ENDED;
    bool still_sending = conn->state == CONN_CLOSING && result == 0 && !(conn->flags & CONN_SHUT);
    bool may_answer = (conn->state == CONN_ANSWERING || conn->state == CONN_OPENING) && result == 0;
    bool is_answered = conn->state == CONN_REQUEST && result == 0 && conn_has_out(conns, conn);
    if (is_answered) {
        begin_closing(conns, slot); /* the answer to its last request is still to be sent */
    } else if (!still_sending && !may_answer) {
        conn_abort(conns, slot);
    }
}

void close_turn(struct conns *conns)
{
    for (uint32_t i = 0; i < conns->doomed.size; i++) {
        uint32_t slot = conns->doomed.items[i];
        conn_release(conns, slot);
        io_close(conns->io, slot);
    }
    conns->doomed.size = 0;
}

static void ready_remove(struct conns *conns, uint32_t slot)
{
    uint32_t before = 0;
    for (uint32_t at = conns->ready_first; at; before = at, at = conn_at(conns, at - 1)->ready_next) {
        if (at != slot + 1) {
            continue;
        }
        uint32_t next = conn_at(conns, slot)->ready_next;
        if (before) {
            conn_at(conns, before - 1)->ready_next = next;
        } else {
            conns->ready_first = next;
        }
        if (conns->ready_last == at) {
            conns->ready_last = before;
        }
        return;
    }
}

void close_slot_free(struct conns *conns, uint32_t slot)
{
    if (conn_at(conns, slot)->flags & CONN_READY) {
        ready_remove(conns, slot);
    }
    *conn_at(conns, slot) = (struct conn){0};
    slab_unclaim(&conns->table, slot);
    atomic_fetch_sub_explicit(conns->connections, 1, memory_order_relaxed);
    STATS_ADD(conns->stats, connections_closed, 1);
    STATS_SET(conns->stats, connections, conns->table.used);
}
