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

/* Passes over the table in a heartbeat's interval: a power of two. */
#define PASSES 4u

static bool ping_is_due(const struct conns *conns, uint32_t slot, uint32_t silent_s)
{
    uint32_t interval_s = conns->config->heartbeat.interval_s;
    bool own_pass = slot % PASSES == conns->sweep_pass;
    return silent_s >= interval_s || (own_pass && silent_s * PASSES >= interval_s);
}

/* A WebSocket answers pings; a stream never speaks: for it a heartbeat only shows whether its TCP is alive. */
static void sweep_silence(struct conns *conns, uint32_t slot)
{
    struct conn *conn = conn_at(conns, slot);
    uint16_t silent = (uint16_t)(conns->heard_s - conn->seen_s);
    if ((conn->flags & CONN_BUSY) && silent >= BUSY_FOR_S) {
        receive_becomes_idle(conns, slot);
    }
    bool asked = conn->flags & (CONN_PINGED | CONN_BLOCKED); /* who was not asked yet gets his chance to answer */
    if (conn->state == CONN_OPEN && asked && silent >= conns->config->heartbeat.timeout_s) {
        STATS_ADD(conns->stats, heartbeat_timeouts, 1);
        conn_close(conns, slot, CLOSE_HEARTBEAT_TIMEOUT);
    } else if (ping_is_due(conns, slot, silent) && !(conn->flags & CONN_PINGED)) {
        heartbeat(conns, slot);
        if (conn->state == CONN_STREAM) {
            conn->seen_s = conns->heard_s;
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

/* A token is owed, or the rest of a message: we pause between two messages only, so it is not us who don't read it. */
static void sweep_open(struct conns *conns, uint32_t slot)
{
    if (conn_at(conns, slot)->principal == PRINCIPAL_NOBODY) {
        conn_close(conns, slot, CLOSE_TOKEN_REQUIRED);
        return;
    }
    STATS_ADD(conns->stats, messages_timed_out, 1);
    conn_close(conns, slot, CLOSE_MESSAGE_TIMEOUT);
}

static void sweep_session(struct conns *conns, struct session *session)
{
    uint32_t slot = session->conn;
    struct conn *conn = conn_at(conns, slot);
    if (conn->state == CONN_GONE || session->deadline_ms == 0 || session->deadline_ms > conns->heard_ms) {
        return;
    }
    if (conn->state == CONN_OPEN) {
        sweep_open(conns, slot);
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
        if (++conns->sweep_at >= end) {
            conns->sweep_at = 0;
            conns->sweep_pass = (conns->sweep_pass + 1) % PASSES;
        }
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
    } else if (conn->state == CONN_REQUEST && conn_has_out(conns, conn)) {
        conn_finish(conns, slot); /* an answer is on its way */
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

/* The table is not looked at more often than this, */
#define LOOK_US 10000
/* nor for fewer records, */
#define RECORDS_A_STEP 256u
/* unless so much of a pass has passed, within these. */
#define STEPS_A_PASS  8
#define STEP_US_LEAST 100000
#define STEP_US_MOST  1000000
/* Without anything that has a deadline, so long until the next look: after a second a turn counts as late. */
#define REST_US_MOST 500000

static uint64_t pass_us(const struct conns *conns)
{
    return (uint64_t)conns->config->heartbeat.interval_s * 1000000 / PASSES;
}

static int64_t within(int64_t us, int64_t least, int64_t most)
{
    return us < least ? least : us > most ? most : us;
}

static int64_t step_us(const struct conns *conns)
{
    return within((int64_t)pass_us(conns) / STEPS_A_PASS, STEP_US_LEAST, STEP_US_MOST);
}

/* Since the last moment for a step. Each shard has its own moments, so that they do not all ping at once. */
static int64_t since_moment_us(const struct conns *conns)
{
    int64_t step = step_us(conns);
    return (conns->now_us + step * conns->shard / conns->shard_count) % step;
}

/* Of the records × us that are owed, how many whole records: taken off, the rest stands for the next time. */
static uint32_t take_owed(uint64_t *owed, uint32_t end, uint64_t period_us)
{
    uint64_t records = *owed / period_us;
    *owed -= records * period_us;
    return records < end ? (uint32_t)records : end;
}

static void sweep_conns(struct conns *conns, int64_t elapsed_us)
{
    uint32_t end = slab_end(&conns->table);
    conns->sweep_owed += (uint64_t)end * (uint64_t)elapsed_us;
    if (since_moment_us(conns) < elapsed_us || conns->sweep_owed >= RECORDS_A_STEP * pass_us(conns)) {
        sweep_table(conns, take_owed(&conns->sweep_owed, end, pass_us(conns)));
    }
}

int64_t sweep_rest_us(const struct conns *conns)
{
    if (conns->draining || conns->accept_paused || conns->sessions.used > 0) {
        return STEP_US_LEAST;
    }
    int64_t rest_us = step_us(conns) - since_moment_us(conns);
    uint32_t end = slab_end(&conns->table);
    if (end > 0) {
        int64_t enough_us = (int64_t)(RECORDS_A_STEP * pass_us(conns) / end);
        rest_us = enough_us < rest_us ? enough_us : rest_us;
    }
    return within(rest_us, STEP_US_LEAST, REST_US_MOST);
}

void sweep_turn(struct conns *conns)
{
    int64_t elapsed_us = conns->now_us - conns->sweep_us;
    if (elapsed_us < LOOK_US) {
        return;
    }
    conns->sweep_us = conns->now_us;
    sweep_conns(conns, elapsed_us);
    conns->sessions_owed += (uint64_t)slab_end(&conns->sessions) * (uint64_t)elapsed_us;
    sweep_sessions(conns, take_owed(&conns->sessions_owed, slab_end(&conns->sessions), 1000000));
    if (conns->draining) {
        drain_step(conns);
    }
    deliver_flush(conns);
}
