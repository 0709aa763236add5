/* reply: see reply.h. */
#include "conn/reply.h"

#include <stdio.h>

#include "base/check.h"
#include "conn/close.h"
#include "protocol/writer.h"

/* Room at the end of `out`, if the bound allows. NULL: the connection is being closed. */
static char *queue_reach(struct conns *conns, uint32_t slot, size_t size)
{
    struct conn *conn = conn_at(conns, slot);
    if (conn->state == CONN_GONE || conn->state == CONN_CLOSING) {
        return NULL;
    }
    struct session *session = conn_session(conns, slot);
    if (session && buffer_waiting(&session->out) > conns->config->limits.reply_bytes) {
        STATS_ADD(conns->stats, reply_overflows, 1);
        conn_close(conns, slot, CLOSE_REPLY_OVERFLOW);
        return NULL;
    }
    char *place = session ? buffer_reach(&session->out, size) : NULL;
    if (!place) {
        STATS_ADD(conns->stats, memory_refusals, 1);
        conn_abort(conns, slot);
        return NULL;
    }
    session->out_last = 0;
    conn_mark_ready(conns, slot);
    return place;
}

bool conn_queue(struct conns *conns, uint32_t slot, const void *bytes, size_t size)
{
    char *place = queue_reach(conns, slot, size);
    if (place) {
        memcpy(place, bytes, size);
        session_at(conns, conn_at(conns, slot))->out.size += (uint32_t)size;
    }
    return place != NULL;
}

void conn_queue_frame(struct conns *conns, uint32_t slot, enum ws_opcode opcode, bool rsv1, struct span payload)
{
    char *place = queue_reach(conns, slot, WS_HEADER_BYTES_MAX + payload.size);
    if (place) {
        size_t header = ws_header_write(place, opcode, true, rsv1, payload.size);
        if (payload.size) {
            memcpy(place + header, payload.data, payload.size);
        }
        session_at(conns, conn_at(conns, slot))->out.size += (uint32_t)(header + payload.size);
    }
}

/* Whether the last reply, all of which still waits to be sent, could take this one in. */
static bool reply_merged(struct conns *conns, uint32_t slot, const struct dialect *dialect, const struct reply *reply)
{
    const struct conn *conn = conn_at(conns, slot);
    if (!dialect->merge || !conn->session || conn->state != CONN_OPEN) {
        return false;
    }
    struct session *session = session_at(conns, conn);
    uint32_t last = session->out_last;
    return last && buffer_waiting(&session->out) >= last &&
           dialect->merge(reply, session->out.bytes + session->out.size - last, last);
}

void conn_reply(struct conns *conns, uint32_t slot, const struct reply *reply)
{
    const struct dialect *dialect = dialect_of(conn_at(conns, slot)->dialect);
    if (reply_merged(conns, slot, dialect, reply)) {
        return;
    }
    size_t size = dialect->encode(reply, NULL, 0);
    char *place = size ? queue_reach(conns, slot, WS_HEADER_BYTES_MAX + size) : NULL;
    if (place) {
        enum ws_opcode opcode = dialect->is_text(reply) ? WS_TEXT : WS_BINARY;
        size_t header = dialect->id == DIALECT_SSE ? 0 : ws_header_write(place, opcode, true, false, size);
        dialect->encode(reply, place + header, size);
        struct session *session = session_at(conns, conn_at(conns, slot));
        session->out.size += (uint32_t)(header + size);
        session->out_last = (uint32_t)size;
    }
}

void conn_reply_error(struct conns *conns, uint32_t slot, struct span id, enum reply_error error)
{
    STATS_ADD(conns->stats, commands_refused, 1);
    conn_reply(conns, slot, &(struct reply){.kind = REPLY_KIND_ERROR, .id = id, .error = error});
}

/* Raw connections can't be told a reason but by closing. */
static void raw_refuse(struct conns *conns, uint32_t slot, enum reply_error error)
{
    STATS_ADD(conns->stats, commands_refused, 1);
    switch (error) {
    case REPLY_PAYLOAD_TOO_LARGE:
        conn_close(conns, slot, CLOSE_PAYLOAD_TOO_LARGE);
        break;
    case REPLY_FORBIDDEN:
    case REPLY_AUTH_REQUIRED:
    case REPLY_TOPIC_RESERVED:
        conn_close(conns, slot, CLOSE_FORBIDDEN);
        break;
    case REPLY_DRAINING:
        conn_close(conns, slot, CLOSE_DRAINING);
        break;
    case REPLY_BUSY:
    case REPLY_TOPICS_LIMIT:
    case REPLY_UNAVAILABLE:
        conn_close(conns, slot, CLOSE_OVERLOADED);
        break;
    default:
        conn_close(conns, slot, CLOSE_MESSAGE_INVALID);
    }
}

void conn_refuse(struct conns *conns, uint32_t slot, struct span id, enum reply_error error)
{
    if (conn_at(conns, slot)->dialect == DIALECT_RAW) {
        raw_refuse(conns, slot, error);
    } else {
        conn_reply_error(conns, slot, id, error);
    }
}

uint64_t conn_safe_time_ms(const struct conns *conns, uint32_t slot)
{
    const struct conn *conn = conn_at(conns, slot);
    bool waits = conn->behind || (conn->session && session_at(conns, conn)->replays);
    return waits ? 0 : (uint64_t)conns->feeds->delivered.ms;
}

void conn_reply_hello(struct conns *conns, uint32_t slot)
{
    char name[48];
    int size = snprintf(name, sizeof name, "%u-%u-%u", conns->shard, slot, conn_at(conns, slot)->generation);
    const struct config *config = conns->config;
    conn_reply(conns, slot,
               &(struct reply){
                   .kind = REPLY_KIND_HELLO,
                   .server = SPAN_LITERAL("shoald/" SHOAL_VERSION),
                   .node = {config->broker.node, strlen(config->broker.node)},
                   .session = {name, (size_t)size},
                   .time_ms = (uint64_t)conns->wall_ms,
                   .payload_bytes_max = config->limits.message_bytes,
                   .subscriptions_max = config->limits.subscriptions_per_connection,
                   .heartbeat_interval_ms = config->heartbeat.interval_s * 1000,
                   .idempotency_ms = config->publish.idempotency_keys ? config->publish.idempotency_s * 1000 : 0,
                   .instance = conns->instance,
                   .federation = conns->federation ? atomic_load_explicit(conns->federation, memory_order_relaxed) : 0,
               });
}

/* --- HTTP --- */

void conn_respond(struct conns *conns, uint32_t slot, struct http_response *response)
{
    struct conn *conn = conn_at(conns, slot);
    struct session *session = session_at(conns, conn);
    bool opening = conn->state == CONN_OPENING; /* refused: its handshake must not be left to a next request */
    response->keep_alive = session->keep_alive && !opening && !conns->draining && !(conn->flags & CONN_ENDED);
    response->head_only = session->head_only;
    size_t size = http_response_write(NULL, 0, response);
    char *place = queue_reach(conns, slot, size);
    if (!place) {
        return;
    }
    http_response_write(place, size, response);
    session->out.size += (uint32_t)size;
    if (response->status >= 400) {
        STATS_ADD(conns->stats, handshakes_failed, 1);
    }
    if (!response->keep_alive) {
        conn_finish(conns, slot);
        return;
    }
    if (conn->state != CONN_REQUEST) {
        conn_set_state(conns, conn, CONN_REQUEST);
    }
    session_set_deadline(conns, session);
    conn_mark_retry(conns, slot); /* the next request may be here already */
}

void conn_respond_problem(struct conns *conns, uint32_t slot, int status, const char *code, const char *message,
                          bool retry, struct span extra)
{
    char lines[512];
    int lines_size =
        snprintf(lines, sizeof lines, HTTP_CORS_ANY "%s%.*s", status == 401 ? "WWW-Authenticate: Bearer\r\n" : "",
                 (int)extra.size, extra.data ? extra.data : "");
    char body[1024];
    struct writer writer = {.out = body, .room = sizeof body};
    writer_literal(&writer, "{\"error\":{\"code\":\"");
    writer_put(&writer, (struct span){code, strlen(code)});
    writer_literal(&writer, "\",\"message\":");
    writer_json_string(&writer, (struct span){message, strlen(message)});
    if (retry) {
        writer_literal(&writer, ",\"retry\":true}}\n");
    } else {
        writer_literal(&writer, ",\"retry\":false}}\n");
    }
    CHECK(writer.size <= sizeof body && (size_t)lines_size < sizeof lines);
    struct http_response response = {
        .status = status,
        .content_type = "application/json",
        .body = {body, writer.size},
        .extra = {lines, (size_t)lines_size},
    };
    conn_respond(conns, slot, &response);
}

static int status_of(enum reply_error error)
{
    switch (error) {
    case REPLY_AUTH_REQUIRED:
    case REPLY_TOKEN_INVALID:
    case REPLY_TOKEN_EXPIRED:
        return 401;
    case REPLY_FORBIDDEN:
    case REPLY_TOPIC_RESERVED:
        return 403;
    case REPLY_PAYLOAD_TOO_LARGE:
        return 413;
    case REPLY_SUBSCRIPTIONS_LIMIT:
        return 429;
    case REPLY_BUSY:
    case REPLY_DRAINING:
    case REPLY_TOPICS_LIMIT:
    case REPLY_UNAVAILABLE:
        return 503;
    default:
        return 400;
    }
}

void conn_respond_later(struct conns *conns, uint32_t slot, const char *code, const char *message, uint32_t after_ms)
{
    char line[64];
    int size = snprintf(line, sizeof line, "Retry-After: %u\r\n", after_ms > 1000 ? (after_ms + 999) / 1000 : 1);
    conn_respond_problem(conns, slot, 503, code, message, true, (struct span){line, (size_t)size});
}

void conn_respond_error(struct conns *conns, uint32_t slot, enum reply_error error)
{
    if (status_of(error) == 503) { /* the connection stays: it is none of those who come back, and needs no place */
        uint32_t after_ms = spread_after_ms(&conns->spread, 0, conns->shard_count, SPREAD_LATER_MS, conns->now_us);
        conn_respond_later(conns, slot, reply_error_code(error), reply_error_message(error), after_ms);
        return;
    }
    conn_respond_problem(conns, slot, status_of(error), reply_error_code(error), reply_error_message(error),
                         reply_error_retry(error), SPAN_NONE);
}
