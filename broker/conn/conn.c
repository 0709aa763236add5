/* conn: the table of connections, and their sessions. See conn.h. */
#include "conn/conn.h"

#include "base/check.h"
#include "conn/partial.h"
#include "conn/replay.h"

static const char *const state_names[CONN_STATES] = {
    "free", "request", "body", "answering", "opening", "open", "stream", "closing", "gone",
};

const char *conn_state_name(enum conn_state state)
{
    return state_names[state];
}

#define TO(state) (1u << (state))

/* Which states may follow which. */
static const uint16_t state_follows[CONN_STATES] = {
    [CONN_FREE] = TO(CONN_REQUEST) | TO(CONN_GONE),
    [CONN_REQUEST] =
        TO(CONN_BODY) | TO(CONN_ANSWERING) | TO(CONN_OPENING) | TO(CONN_OPEN) | TO(CONN_CLOSING) | TO(CONN_GONE),
    [CONN_BODY] = TO(CONN_ANSWERING) | TO(CONN_REQUEST) | TO(CONN_CLOSING) | TO(CONN_GONE),
    [CONN_ANSWERING] = TO(CONN_REQUEST) | TO(CONN_CLOSING) | TO(CONN_GONE),
    [CONN_OPENING] = TO(CONN_OPEN) | TO(CONN_STREAM) | TO(CONN_CLOSING) | TO(CONN_GONE),
    [CONN_OPEN] = TO(CONN_CLOSING) | TO(CONN_GONE),
    [CONN_STREAM] = TO(CONN_CLOSING) | TO(CONN_GONE),
    [CONN_CLOSING] = TO(CONN_GONE),
};

void conn_set_state(struct conns *conns, struct conn *conn, enum conn_state state)
{
    CHECK(state_follows[conn->state] & TO(state));
    if (conn->state == CONN_REQUEST) {
        conns->handshakes--;
    }
    if (state == CONN_REQUEST) {
        conns->handshakes++;
    }
    conn->state = (uint8_t)state;
    STATS_SET(conns->stats, handshakes, conns->handshakes);
}

bool conns_init(struct conns *conns)
{
    uint32_t slots = conns->io->slots_max;
    conns->caught_up = true;
    slab_init(&conns->table, sizeof(struct conn), slots);
    slab_init(&conns->sessions, sizeof(struct session), slots + 1);
    conns->plan_room = 16384;
    conns->batch = calloc(conns->io->batch, sizeof *conns->batch);
    conns->plan = calloc(conns->plan_room, sizeof *conns->plan);
    conns->scratch = malloc(conns->config->limits.message_bytes + 1024);
    conns->inflated = malloc(conns->config->limits.message_bytes + 1024);
    return addresses_init(&conns->addresses, slots) && subscription_index_init(&conns->subscription_index) &&
           conns->batch && conns->plan && conns->scratch && conns->inflated;
}

void conns_destroy(struct conns *conns)
{
    for (uint32_t slot = 0; slot < slab_end(&conns->table); slot++) {
        if (slab_mapped(&conns->table, slot) && conn_at(conns, slot)->session) {
            conn_session_free(conns, conn_at(conns, slot));
        }
    }
    slab_destroy(&conns->table);
    slab_destroy(&conns->sessions);
    addresses_destroy(&conns->addresses);
    subscription_index_destroy(&conns->subscription_index);
    vector_free(&conns->retries);
    vector_free(&conns->doomed);
    free(conns->batch);
    free(conns->plan);
    free(conns->scratch);
    free(conns->inflated);
}

uint32_t conns_spread(struct conns *conns, uint32_t least_ms)
{
    uint32_t after_ms =
        spread_after_ms(&conns->spread, conns->config->limits.return_rate, conns->shard_count, least_ms, conns->now_us);
    if (after_ms > 0) {
        STATS_ADD(conns->stats, returns_spread, 1);
    }
    return after_ms;
}

/* Of the time since the last turn, at most so much counts as listened to. */
#define HEARD_A_TURN_US 1000000
/* And where input was left over, one part in so many: those who were silent may stand in it. */
#define HEARD_BEHIND_ONE_IN 4

static void hear(struct conns *conns, int64_t elapsed_us)
{
    bool late = elapsed_us > HEARD_A_TURN_US;
    int64_t heard_us = late ? HEARD_A_TURN_US : elapsed_us;
    if (late || !conns->caught_up) {
        STATS_ADD(conns->stats, turns_behind, 1);
    }
    conns->heard_us += conns->caught_up ? heard_us : heard_us / HEARD_BEHIND_ONE_IN;
    conns->heard_ms = conns->heard_us / 1000;
    conns->heard_s = (uint16_t)(conns->heard_us / 1000000);
}

void conns_set_time(struct conns *conns, int64_t monotonic_us, int64_t wall_ms)
{
    if (conns->now_us) {
        hear(conns, monotonic_us - conns->now_us);
    }
    conns->now_us = monotonic_us;
    conns->now_ms = monotonic_us / 1000;
    conns->wall_ms = wall_ms;
}

/* --- sessions --- */

struct session *conn_session(struct conns *conns, uint32_t slot)
{
    struct conn *conn = conn_at(conns, slot);
    if (!conn->session) {
        conn->session = slab_take(&conns->sessions);
        if (!conn->session) {
            STATS_ADD(conns->stats, memory_refusals, 1);
            return NULL;
        }
        session_at(conns, conn)->conn = slot;
        STATS_SET(conns->stats, sessions, conns->sessions.used);
    }
    return session_at(conns, conn);
}

void conn_session_free(struct conns *conns, struct conn *conn)
{
    struct session *session = session_at(conns, conn);
    buffer_free(&session->in);
    partial_free(conns, session);
    buffer_free(&session->out);
    replay_end_all(session);
    while (session->pending_first) {
        struct pending *next = session->pending_first->next;
        free(session->pending_first);
        session->pending_first = next;
    }
    if (session->topic) {
        name_drop(session->topic);
    }
    slab_give(&conns->sessions, conn->session);
    conn->session = 0;
    STATS_SET(conns->stats, sessions, conns->sessions.used);
}

static bool session_is_needed(const struct session *session)
{
    return session->reader_valid || session->message_valid || session->deadline_ms || session->inflight_messages ||
           buffer_waiting(&session->in) || session->message.bytes || buffer_waiting(&session->out) ||
           session->pending_first || session->replays || session->topic;
}

void conn_session_release(struct conns *conns, struct conn *conn)
{
    bool settled = conn->state == CONN_OPEN || conn->state == CONN_STREAM;
    if (conn->session && settled && !session_is_needed(session_at(conns, conn))) {
        conn_session_free(conns, conn);
    }
}

enum lane conn_lane(const struct conn *conn)
{
    return lane_of(conn->dialect, conn->flags & CONN_DEFLATED);
}

/* --- lists --- */

void conn_mark_ready(struct conns *conns, uint32_t slot)
{
    struct conn *conn = conn_at(conns, slot);
    if (conn->flags & CONN_READY) {
        return;
    }
    conn->flags |= CONN_READY;
    conn->ready_next = 0;
    if (conns->ready_last) {
        conn_at(conns, conns->ready_last - 1)->ready_next = slot + 1;
    } else {
        conns->ready_first = slot + 1;
    }
    conns->ready_last = slot + 1;
}

void conn_mark_retry(struct conns *conns, uint32_t slot)
{
    struct conn *conn = conn_at(conns, slot);
    if (!(conn->flags & CONN_RETRY)) {
        CHECK_MSG(vector_push(&conns->retries, slot), "no memory for the list of those that wait");
        conn->flags |= CONN_RETRY;
    }
}

void conn_behind_add(struct conns *conns, uint32_t slot, uint32_t number)
{
    struct conn *conn = conn_at(conns, slot);
    struct cursor *cursor = cursor_at(conns->feeds, number);
    struct cursor *first = conn->behind ? cursor_at(conns->feeds, conn->behind) : NULL;
    if (!first || cursor->partial) {
        cursor->conn_next = conn->behind;
        conn->behind = number;
    } else {
        cursor->conn_next = first->conn_next;
        first->conn_next = number;
    }
}

void conn_behind_remove(struct conns *conns, uint32_t slot, uint32_t number)
{
    uint32_t *at = &conn_at(conns, slot)->behind;
    while (*at && *at != number) {
        at = &cursor_at(conns->feeds, *at)->conn_next;
    }
    if (*at) {
        *at = cursor_at(conns->feeds, number)->conn_next;
    }
}

void conn_release(struct conns *conns, uint32_t slot)
{
    struct conn *conn = conn_at(conns, slot);
    conn_subscriptions_end(conns, slot);
    if (conn->session) {
        conn_session_free(conns, conn);
    }
    if (conn->principal) {
        principals_drop(conns->principals, conn->principal);
        conn->principal = PRINCIPAL_NOBODY;
    }
    if (conn->address) {
        addresses_remove(&conns->addresses, conn->address);
        conn->address = 0;
    }
}
