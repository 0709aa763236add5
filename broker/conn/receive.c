/* receive: see receive.h. */
#include "conn/receive.h"

#include "base/check.h"
#include "conn/close.h"
#include "conn/execute.h"
#include "conn/partial.h"
#include "conn/replay.h"
#include "conn/reply.h"
#include "conn/request.h"
#include "protocol/dialect_bin.h"
#include "protocol/utf8.h"

/* --- WebSocket --- */

/* The largest message of a client. A record has its fields beside the largest payload. */
static size_t message_bytes_max(const struct conns *conns, const struct conn *conn)
{
    return conns->config->limits.message_bytes + (conn->dialect == DIALECT_BIN ? BIN_OVERHEAD_BYTES_MAX : 0);
}

/* The reader goes on from the session if it is inside of something, else it begins afresh. */
static void reader_load(struct conns *conns, const struct conn *conn, struct ws_reader *reader)
{
    if (conn->session && session_at(conns, conn)->reader_valid) {
        *reader = session_at(conns, conn)->reader;
    } else {
        ws_reader_init(reader, WS_ROLE_SERVER, message_bytes_max(conns, conn), conn->flags & CONN_INFLATES);
    }
}

/*
 * A message, or a control frame outside of one, has limits.message_ms from its first byte to its last: nobody makes us
 * keep a part of one for ever. Who still owes a token has the deadline for that instead.
 */
static void message_begins(const struct conns *conns, const struct conn *conn, struct session *session)
{
    if (conn->principal != PRINCIPAL_NOBODY && session->deadline_ms == 0) {
        session->deadline_ms = conns->heard_ms + conns->config->limits.message_ms;
    }
}

static void message_ends(const struct conns *conns, const struct conn *conn)
{
    if (conn->session && conn->principal != PRINCIPAL_NOBODY) {
        session_at(conns, conn)->deadline_ms = 0;
    }
}

/* False: no memory; the connection is being closed. */
static bool reader_store(struct conns *conns, uint32_t slot, const struct ws_reader *reader)
{
    struct conn *conn = conn_at(conns, slot);
    bool idle = ws_reader_idle(reader);
    if (idle && !conn->session) {
        return true;
    }
    struct session *session = conn_session(conns, slot);
    if (!session) {
        conn_close(conns, slot, CLOSE_OVERLOADED);
        return false;
    }
    session->reader_valid = !idle;
    if (!idle) {
        message_begins(conns, conn, session);
        session->reader = *reader;
    }
    return true;
}

/* A message that is whole: inflated if need be, then executed. False: it has to wait. */
static bool message_whole(struct conns *conns, uint32_t slot, struct span body, bool text, bool compressed)
{
    if (compressed) {
        size_t size;
        size_t most = message_bytes_max(conns, conn_at(conns, slot));
        enum inflate_result result = inflate_message(conns->inflater, body, conns->inflated, most, &size);
        if (result != INFLATE_OK || (text && !utf8_valid(conns->inflated, size))) {
            STATS_ADD(conns->stats, protocol_errors, 1);
            conn_close(conns, slot, result == INFLATE_TOO_LARGE ? CLOSE_TOO_BIG : CLOSE_INVALID_PAYLOAD);
            return true;
        }
        body = (struct span){conns->inflated, size};
    }
    size_t at = 0;
    enum execute_result result = execute_message(conns, slot, body, text, compressed, &at);
    if (result == EXECUTE_DONE) {
        return true;
    }
    struct session *session = conn_session(conns, slot);
    struct buffer copy = {0};
    if (!session || !buffer_add(&copy, body.data + at, body.size - at)) {
        conn_close(conns, slot, CLOSE_OVERLOADED);
        return true;
    }
    partial_free(conns, session);
    session->message = copy;
    session->message_valid = true;
    session->message_text = text;
    if (result == EXECUTE_WAIT) {
        return false; /* is paused, and goes on when enough is answered (conn/answer) */
    }
    conn_at(conns, slot)->flags |= CONN_PAUSED;
    io_receive(conns->io, slot, IO_RECEIVE_PAUSED);
    conn_mark_retry(conns, slot);
    STATS_ADD(conns->stats, publisher_blocks, 1);
    return false;
}

/* One piece of a data message. */
static void data_event(struct conns *conns, uint32_t slot, const struct ws_event *event)
{
    if (event->first && event->last) {
        message_whole(conns, slot, event->data, event->opcode == WS_TEXT, event->compressed);
        return;
    }
    struct session *session = conn_session(conns, slot);
    if (!session || !partial_add(conns, session, event->data, event->last)) {
        conn_close(conns, slot, CLOSE_OVERLOADED);
        return;
    }
    if (event->last) {
        struct buffer whole = partial_take(conns, session);
        message_whole(conns, slot, (struct span){whole.bytes, whole.size}, event->opcode == WS_TEXT, event->compressed);
        buffer_free(&whole);
    }
}

static void ws_event_work(struct conns *conns, uint32_t slot, const struct ws_event *event)
{
    switch (event->kind) {
    case WS_EVENT_NONE:
    case WS_EVENT_PONG:
        break;
    case WS_EVENT_DATA:
        data_event(conns, slot, event);
        break;
    case WS_EVENT_PING:
        conn_queue_frame(conns, slot, WS_PONG, false, event->data);
        break;
    case WS_EVENT_CLOSE:
        conn_close_answer(conns, slot, event->close_code == CLOSE_NO_CODE ? CLOSE_NONE : event->close_code);
        break;
    case WS_EVENT_ERROR:
        STATS_ADD(conns->stats, protocol_errors, 1);
        conn_close(conns, slot, event->close_code);
        break;
    }
}

/* Returns the bytes taken: all, unless something has to wait. */
static size_t receive_frames(struct conns *conns, uint32_t slot, char *bytes, size_t size)
{
    struct conn *conn = conn_at(conns, slot);
    struct ws_reader reader;
    reader_load(conns, conn, &reader);
    size_t taken = 0;
    while (taken < size && conn->state == CONN_OPEN && !(conn->flags & CONN_PAUSED)) {
        struct ws_event event;
        taken += ws_reader_feed(&reader, bytes + taken, size - taken, &event);
        if (ws_reader_idle(&reader)) {
            message_ends(conns, conn);
        }
        ws_event_work(conns, slot, &event);
    }
    if (conn->state != CONN_OPEN) {
        return size; /* what is behind a close frame or an error is not looked at */
    }
    return reader_store(conns, slot, &reader) ? taken : size;
}

/* --- by state --- */

/* Returns the bytes taken; 0: more are needed, or they have to wait. */
static size_t receive_step(struct conns *conns, uint32_t slot, char *bytes, size_t size)
{
    switch ((enum conn_state)conn_at(conns, slot)->state) {
    case CONN_REQUEST:
        return request_head(conns, slot, bytes, size);
    case CONN_BODY:
        return request_body(conns, slot, bytes, size);
    case CONN_OPEN:
        return receive_frames(conns, slot, bytes, size);
    case CONN_ANSWERING:
    case CONN_OPENING:
        return 0;
    default:
        return size; /* nothing is expected any more */
    }
}

/* All that can be worked now. Returns the bytes taken. */
static size_t receive_steps(struct conns *conns, uint32_t slot, char *bytes, size_t size)
{
    size_t taken = 0;
    while (taken < size && !(conn_at(conns, slot)->flags & CONN_PAUSED)) {
        size_t step = receive_step(conns, slot, bytes + taken, size - taken);
        if (step == 0) {
            break;
        }
        taken += step;
    }
    return taken;
}

/* What waits must stay small: a connection in a state that does not take bytes is not read on. */
static void wait_bounded(struct conns *conns, uint32_t slot)
{
    struct conn *conn = conn_at(conns, slot);
    bool waits = conn->state == CONN_ANSWERING || conn->state == CONN_OPENING || (conn->flags & CONN_PAUSED);
    if (waits && buffer_waiting(&session_at(conns, conn)->in) > 0) {
        conn->flags |= CONN_PAUSED;
        io_receive(conns->io, slot, IO_RECEIVE_PAUSED);
    }
}

static void work_waiting(struct conns *conns, uint32_t slot)
{
    struct conn *conn = conn_at(conns, slot);
    struct session *session = session_at(conns, conn);
    size_t taken = receive_steps(conns, slot, session->in.bytes + session->in.at, buffer_waiting(&session->in));
    if (taken && buffer_waiting(&session->in)) { /* closing empties it */
        buffer_take(&session->in, taken);
    }
}

static void receive_input(struct conns *conns, uint32_t slot, char *bytes, size_t size)
{
    struct conn *conn = conn_at(conns, slot);
    bool behind_others = conn->session && buffer_waiting(&session_at(conns, conn)->in);
    size_t taken = behind_others ? 0 : receive_steps(conns, slot, bytes, size);
    if (taken == size || conn->state == CONN_CLOSING || conn->state == CONN_GONE) {
        return;
    }
    struct session *session = conn_session(conns, slot);
    if (!session || !buffer_add(&session->in, bytes + taken, size - taken)) {
        conn_close(conns, slot, CLOSE_OVERLOADED);
        return;
    }
    if (behind_others) {
        work_waiting(conns, slot);
    }
    if (conn->session) {
        wait_bounded(conns, slot);
    }
}

/* Publishing, echoing, or in the middle of a message that is larger than a buffer: not just subscribing. */
static bool talks_much(const struct conns *conns, const struct conn *conn)
{
    if (conn->flags & (CONN_ECHO | CONN_PUBLISHES)) {
        return true;
    }
    const struct session *session = conn->session ? session_at(conns, conn) : NULL;
    return session && (session->inflight_messages > 0 || session->reader_valid);
}

/* Who talks much, and twice within a second, is received by multishot until it falls silent. */
static void seen(struct conns *conns, uint32_t slot)
{
    struct conn *conn = conn_at(conns, slot);
    bool again = conn->seen_s == conns->heard_s && (conn->flags & CONN_TALKED);
    if (again && conn->state == CONN_OPEN && !(conn->flags & (CONN_BUSY | CONN_PAUSED)) && talks_much(conns, conn)) {
        conn->flags |= CONN_BUSY;
        io_receive(conns->io, slot, IO_RECEIVE_BUSY);
    }
    conn->seen_s = conns->heard_s;
    conn->flags |= CONN_TALKED;
    conn->flags &= (uint16_t)~CONN_PINGED;
}

void receive_becomes_idle(struct conns *conns, uint32_t slot)
{
    struct conn *conn = conn_at(conns, slot);
    conn->flags &= (uint16_t) ~(CONN_BUSY | CONN_TALKED);
    if (!(conn->flags & CONN_PAUSED)) {
        io_receive(conns->io, slot, IO_RECEIVE_IDLE);
    }
}

void receive_bytes(struct conns *conns, uint32_t slot, char *bytes, size_t size)
{
    seen(conns, slot);
    receive_input(conns, slot, bytes, size);
    conn_session_release(conns, conn_at(conns, slot));
}

/* --- those that had to wait --- */

/* False: it has to wait again. */
static bool message_again(struct conns *conns, uint32_t slot)
{
    struct session *session = session_at(conns, conn_at(conns, slot));
    if (!session->message_valid) {
        return true;
    }
    struct buffer whole = partial_take(conns, session);
    session->message_valid = false;
    bool done = message_whole(conns, slot, (struct span){whole.bytes, whole.size}, session->message_text, false);
    buffer_free(&whole);
    return done;
}

static void retry(struct conns *conns, uint32_t slot)
{
    struct conn *conn = conn_at(conns, slot);
    conn->flags &= (uint16_t)~CONN_PAUSED;
    replay_ask_on(conns, slot);
    if (conn->state == CONN_ANSWERING && !request_again(conns, slot)) {
        return;
    }
    if (conn->session && message_again(conns, slot) && conn->session) {
        if (buffer_waiting(&session_at(conns, conn)->in)) {
            work_waiting(conns, slot);
        }
        if (conn->session) {
            wait_bounded(conns, slot);
        }
    }
    if (!(conn->flags & (CONN_PAUSED | CONN_ENDED)) && conn->state != CONN_GONE) {
        io_receive(conns->io, slot, conn->flags & CONN_BUSY ? IO_RECEIVE_BUSY : IO_RECEIVE_IDLE);
    }
    conn_session_release(conns, conn);
}

void receive_retries(struct conns *conns)
{
    struct vector slots = conns->retries; /* who has to wait again is put on a new list */
    conns->retries = (struct vector){0};
    for (uint32_t i = 0; i < slots.size; i++) {
        uint32_t slot = slots.items[i];
        if (!slab_mapped(&conns->table, slot) || !(conn_at(conns, slot)->flags & CONN_RETRY)) {
            continue;
        }
        conn_at(conns, slot)->flags &= (uint16_t)~CONN_RETRY;
        if (conn_at(conns, slot)->state != CONN_GONE) {
            retry(conns, slot);
        }
    }
    vector_free(&slots);
}
