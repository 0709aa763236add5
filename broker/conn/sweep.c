/* sweep: see sweep.h. */
#include "conn/sweep.h"

#include "auth/token.h"
#include "conn/close.h"
#include "conn/deliver.h"
#include "conn/receive.h"
#include "conn/reply.h"

/* Who has been silent for so long no longer is received by multishot. */
#define BUSY_FOR_S 5u

static const char ping_frame[2] = {(char)(0x80 | WS_PING), 0};
static const char stream_comment[3] = {':', '\n', '\n'};

static void heartbeat(struct conns *conns, uint32_t slot)
{
    struct conn *conn = conn_at(conns, slot);
    bool stream = conn->state == CONN_STREAM;
    if (deliver_static(conns, slot, stream ? stream_comment : ping_frame,
                       stream ? sizeof stream_comment : sizeof ping_frame)) {
        conn->flags |= CONN_PINGED;
        STATS_ADD(conns->stats, heartbeats_sent, 1);
    }
}

/* A WebSocket answers pings; a stream never speaks: for it a heartbeat only shows whether its TCP is alive. */
static void sweep_silence(struct conns *conns, uint32_t slot)
{
    struct conn *conn = conn_at(conns, slot);
    uint16_t silent = (uint16_t)(conns->now_s - conn->seen_s);
    if ((conn->flags & CONN_BUSY) && silent >= BUSY_FOR_S) {
        receive_becomes_idle(conns, slot);
    }
    bool asked = conn->flags & (CONN_PINGED | CONN_BLOCKED); /* who was not asked yet gets his chance to answer */
    if (conn->state == CONN_OPEN && asked && silent >= conns->config->heartbeat.timeout_s) {
        STATS_ADD(conns->stats, heartbeat_timeouts, 1);
        conn_close(conns, slot, CLOSE_HEARTBEAT_TIMEOUT);
    } else if (silent >= conns->config->heartbeat.interval_s && !(conn->flags & CONN_PINGED)) {
        heartbeat(conns, slot);
        if (conn->state == CONN_STREAM) {
            conn->seen_s = conns->now_s;
            conn->flags &= (uint16_t)~CONN_PINGED;
        }
    }
}

static void sweep_conn(struct conns *conns, uint32_t slot)
{
    struct conn *conn = conn_at(conns, slot);
    if (conn->state != CONN_OPEN && conn->state != CONN_STREAM) {
        return;
    }
    uint64_t expires_s = principal_expires_s(conns->principals, conn->principal);
    if (expires_s && (int64_t)(expires_s + TOKEN_CLOCK_SKEW_S) * 1000 < conns->wall_ms) {
        STATS_ADD(conns->stats, tokens_expired, 1);
        conn_close(conns, slot, CLOSE_TOKEN_EXPIRED);
        return;
    }
    sweep_silence(conns, slot);
}

static void sweep_session(struct conns *conns, struct session *session)
{
    uint32_t slot = session->conn;
    struct conn *conn = conn_at(conns, slot);
    if (conn->state == CONN_GONE || session->deadline_ms == 0 || session->deadline_ms > conns->now_ms) {
        return;
    }
    if (conn->state == CONN_OPEN) {
        conn_close(conns, slot, CLOSE_TOKEN_REQUIRED);
        return;
    }
    if (conn->state == CONN_REQUEST || conn->state == CONN_BODY) {
        STATS_ADD(conns->stats, handshakes_timed_out, 1);
    }
    conn_abort(conns, slot);
}

/* How many of `count` records are due when all of them are to be seen once in `period_us`. */
static uint32_t due(uint64_t count, int64_t elapsed_us, int64_t period_us)
{
    uint64_t records = count * (uint64_t)elapsed_us / (uint64_t)period_us;
    return records < count ? (uint32_t)records : (uint32_t)count;
}

static void sweep_table(struct conns *conns, uint32_t count)
{
    uint32_t end = slab_end(&conns->table);
    for (uint32_t i = 0; i < count; i++) {
        conns->sweep_at = conns->sweep_at + 1 < end ? conns->sweep_at + 1 : 0;
        if (slab_mapped(&conns->table, conns->sweep_at)) {
            sweep_conn(conns, conns->sweep_at);
        }
    }
}

static void sweep_sessions(struct conns *conns, uint32_t count)
{
    uint32_t end = slab_end(&conns->sessions);
    for (uint32_t i = 0; i < count; i++) {
        conns->session_sweep_at = conns->session_sweep_at + 1 < end ? conns->session_sweep_at + 1 : 1;
        uint32_t number = conns->session_sweep_at;
        if (!slab_mapped(&conns->sessions, number)) {
            continue;
        }
        struct session *session = slab_at(&conns->sessions, number);
        /* a free record's first bytes are a link: it is a session only if its connection says so */
        if (slab_mapped(&conns->table, session->conn) && conn_at(conns, session->conn)->session == number) {
            sweep_session(conns, session);
        }
    }
}

void sweep_drain(struct conns *conns)
{
    conns->draining = true;
    conns->drain_us = conns->now_us;
    conns->drain_at = 0;
    conns->drain_count = conns->table.used;
    conns->drained = 0;
    io_listen_stop(conns->io);
}

/* Whether there was one that had to be told. */
static bool drain_conn(struct conns *conns, uint32_t slot)
{
    struct conn *conn = conn_at(conns, slot);
    if (conn->state == CONN_OPEN || conn->state == CONN_STREAM) {
        conn_close(conns, slot, CLOSE_DRAINING);
    } else if (conn->state == CONN_REQUEST) {
        conn_abort(conns, slot);
    } else {
        return false;
    }
    return true;
}

static void drain_all(struct conns *conns)
{
    for (uint32_t slot = 0; slot < slab_end(&conns->table); slot++) {
        if (slab_mapped(&conns->table, slot)) {
            drain_conn(conns, slot);
        }
    }
}

/* As many as are due by now; when the time is up, whoever is left, again and again. */
static void drain_step(struct conns *conns)
{
    int64_t span_us = (int64_t)conns->config->broker.drain_s * 1000000;
    int64_t elapsed_us = conns->now_us - conns->drain_us;
    if (elapsed_us >= span_us) {
        drain_all(conns);
        return;
    }
    uint32_t end = slab_end(&conns->table);
    uint32_t wanted = due(conns->drain_count, elapsed_us, span_us);
    for (; conns->drain_at < end && conns->drained < wanted; conns->drain_at++) {
        if (slab_mapped(&conns->table, conns->drain_at) && drain_conn(conns, conns->drain_at)) {
            conns->drained++;
        }
    }
}

/* Steps are not worth it more often than this. */
#define STEP_US 10000

void sweep_turn(struct conns *conns)
{
    int64_t elapsed_us = conns->now_us - conns->sweep_us;
    if (elapsed_us < STEP_US) {
        return;
    }
    conns->sweep_us = conns->now_us;
    int64_t period_us = (int64_t)conns->config->heartbeat.interval_s * 1000000 / 4;
    sweep_table(conns, due(slab_end(&conns->table), elapsed_us, period_us));
    sweep_sessions(conns, due(slab_end(&conns->sessions), elapsed_us, 1000000));
    if (conns->draining) {
        drain_step(conns);
    }
    deliver_flush(conns);
}
