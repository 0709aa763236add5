/* execute: see execute.h. */
#include "conn/execute.h"

#include "base/check.h"
#include "conn/answer.h"
#include "conn/close.h"
#include "conn/replay.h"
#include "conn/reply.h"
#include "protocol/topic.h"

/* --- auth --- */

enum reply_error execute_auth(struct conns *conns, uint32_t slot, struct span token)
{
    if (!conns->verifier) {
        return REPLY_OK; /* nobody asks for tokens here */
    }
    struct principal_claims claims;
    enum token_result result = token_verify(conns->verifier, token, (uint64_t)conns->wall_ms / 1000, &claims);
    if (result != TOKEN_OK) {
        STATS_ADD(conns->stats, tokens_refused, 1);
        return result == TOKEN_EXPIRED ? REPLY_TOKEN_EXPIRED : REPLY_TOKEN_INVALID;
    }
    uint32_t principal = principals_add(conns->principals, &claims);
    if (principal == PRINCIPAL_NONE) {
        STATS_ADD(conns->stats, memory_refusals, 1);
        return REPLY_BUSY;
    }
    struct conn *conn = conn_at(conns, slot);
    principals_drop(conns->principals, conn->principal);
    conn->principal = principal;
    if (conn->state == CONN_OPEN && conn->session) {
        session_at(conns, conn)->deadline_ms = 0; /* a token came in time */
    }
    return REPLY_OK;
}

static enum reply_error refused(const struct conn *conn)
{
    return conn->principal == PRINCIPAL_NOBODY ? REPLY_AUTH_REQUIRED : REPLY_FORBIDDEN;
}

/* --- publish --- */

static enum reply_error publish_check(struct conns *conns, const struct conn *conn, const struct command *command)
{
    if (topic_name_check(command->topic) != TOPIC_OK) {
        return topic_filter_check(command->topic) == TOPIC_OK ? REPLY_NOT_A_TOPIC : REPLY_TOPIC_INVALID;
    }
    if (topic_is_reserved(command->topic)) {
        return REPLY_TOPIC_RESERVED;
    }
    if (!principal_may_publish(conns->principals, conn->principal, command->topic)) {
        return refused(conn);
    }
    if (command->payload.size > config_namespace_of(conns->config, command->topic)->payload_bytes_max) {
        return REPLY_PAYLOAD_TOO_LARGE;
    }
    if (command->key.size > KEY_BYTES_MAX) {
        return REPLY_KEY_TOO_LONG;
    }
    return conns->draining ? REPLY_DRAINING : REPLY_OK;
}

/* One more unanswered publish; who has too many is not read until some are answered. */
static void inflight_add(struct conns *conns, uint32_t slot, struct session *session, uint32_t bytes)
{
    struct conn *conn = conn_at(conns, slot);
    session->inflight_bytes += bytes;
    session->inflight_messages++;
    bool too_much = session->inflight_bytes >= conns->config->limits.publish_inflight_bytes ||
                    session->inflight_messages >= conns->config->limits.publish_inflight_messages;
    if (too_much && !(conn->flags & CONN_PAUSED)) {
        conn->flags |= CONN_PAUSED;
        io_receive(conns->io, slot, IO_RECEIVE_PAUSED);
        STATS_ADD(conns->stats, publisher_pauses, 1);
    }
}

/* Sends a ticket to the owner of its topic. Takes the ticket only if it is done. */
static enum execute_result ticket_send(struct conns *conns, uint32_t slot, struct ticket *ticket, uint8_t kind)
{
    ticket->conn = slot;
    ticket->generation = conn_at(conns, slot)->generation;
    ticket->shard = (uint8_t)conns->shard;
    ticket->hash = name_hash(ticket_topic(ticket));
    if (ticket->key_size) {
        ticket->key_id = idempotency_id(ticket->hash, ticket_key(ticket));
    }
    struct envelope ask = {.kind = kind, .hash = ticket->hash, .ticket = ticket};
    if (!mesh_ask(conns->mesh, conns->shard, name_owner(ticket->hash, conns->shard_count), &ask)) {
        return EXECUTE_RETRY;
    }
    conns->tickets++;
    STATS_SET(conns->stats, tickets, conns->tickets);
    return EXECUTE_DONE;
}

enum execute_result execute_publish(struct conns *conns, uint32_t slot, const struct command *command,
                                    enum reply_error *error)
{
    *error = publish_check(conns, conn_at(conns, slot), command);
    if (*error) {
        return EXECUTE_DONE;
    }
    struct session *session = conn_session(conns, slot);
    struct ticket *ticket = session ? ticket_create(command->topic, command->key, command->id, command->payload) : NULL;
    if (!ticket) {
        STATS_ADD(conns->stats, memory_refusals, 1);
        *error = REPLY_BUSY;
        return EXECUTE_DONE;
    }
    ticket->kind = (uint8_t)command->kind;
    ticket->again = command->again;
    if (feeds_have_unsent(conns->feeds)) {
        feeds_send(conns->feeds); /* who subscribes and then publishes is told of what it published */
    }
    if (ticket_send(conns, slot, ticket, ASK_PUBLISH) == EXECUTE_RETRY) {
        free(ticket);
        return EXECUTE_RETRY;
    }
    inflight_add(conns, slot, session, (uint32_t)command->payload.size);
    return EXECUTE_DONE;
}

enum execute_result execute_read(struct conns *conns, uint32_t slot, struct name *topic, const struct from *from,
                                 uint32_t messages_max)
{
    struct ticket *ticket = ticket_create(name_span(topic), SPAN_NONE, SPAN_NONE, SPAN_NONE);
    if (!ticket) {
        conn_respond_error(conns, slot, REPLY_BUSY);
        return EXECUTE_DONE;
    }
    ticket->epoch = from->kind == FROM_POSITION ? from->epoch : 0;
    ticket->offset = from->offset;
    ticket->read_max = messages_max;
    if (ticket_send(conns, slot, ticket, ASK_READ) == EXECUTE_RETRY) {
        free(ticket);
        return EXECUTE_RETRY;
    }
    return EXECUTE_DONE;
}

/* --- subscribe --- */

/* By which subscription the connection follows this, 0: it does not. */
static uint32_t subscription_to(const struct conns *conns, uint32_t slot, struct span topic, bool wild)
{
    uint32_t feed = feeds_find(conns->feeds, topic, wild);
    return feed ? conn_subscription_find(conns, slot, feed) : 0;
}

static enum reply_error subscribe_check(struct conns *conns, uint32_t slot, const struct command *command, bool wild)
{
    const struct conn *conn = conn_at(conns, slot);
    if (topic_filter_check(command->topic) != TOPIC_OK) {
        enum topic_problem problem = topic_filter_check(command->topic);
        bool of_filter = problem == TOPIC_WILDCARD_NOT_ALONE || problem == TOPIC_WILDCARD_NOT_LAST;
        return of_filter ? REPLY_FILTER_INVALID : REPLY_TOPIC_INVALID;
    }
    if (!principal_may_subscribe(conns->principals, conn->principal, command->topic)) {
        return refused(conn);
    }
    enum from_kind from = command->from.kind;
    bool of_filter = from == FROM_NEW || from == FROM_POSITIONS;
    of_filter |= from == FROM_POSITION && conn->dialect == DIALECT_SSE; /* an EventSource can't know better */
    if (wild ? !of_filter : from == FROM_POSITIONS) {
        return REPLY_UNSUPPORTED;
    }
    if (subscription_to(conns, slot, command->topic, wild)) {
        return REPLY_ALREADY_SUBSCRIBED;
    }
    if (conn_subscription_count(conns, slot) >= conns->config->limits.subscriptions_per_connection) {
        return REPLY_SUBSCRIPTIONS_LIMIT;
    }
    return conns->draining ? REPLY_DRAINING : REPLY_OK;
}

/* Remembers under which id a subscription was asked for. False: no memory. */
static bool pending_add(struct session *session, uint32_t subscription, struct span id)
{
    struct pending *pending = malloc(sizeof *pending + id.size);
    if (!pending) {
        return false;
    }
    *pending = (struct pending){.subscription = subscription, .id_size = (uint8_t)id.size};
    if (id.size) {
        memcpy(pending->id, id.data, id.size);
    }
    if (session->pending_last) {
        session->pending_last->next = pending;
    } else {
        session->pending_first = pending;
    }
    session->pending_last = pending;
    return true;
}

uint32_t execute_subscribe(struct conns *conns, uint32_t slot, const struct command *command, enum reply_error *error)
{
    bool wild = topic_filter_check(command->topic) == TOPIC_OK && topic_filter_is_wild(command->topic);
    *error = subscribe_check(conns, slot, command, wild);
    if (*error) {
        return 0;
    }
    struct session *session = conn_session(conns, slot);
    uint32_t number = session ? feeds_subscribe(conns->feeds, slot, conn_lane(conn_at(conns, slot)), command->topic,
                                                wild, &command->from)
                              : 0;
    if (!number) {
        STATS_ADD(conns->stats, memory_refusals, 1);
        *error = conns->feeds->feeds.used >= conns->config->limits.topics ? REPLY_TOPICS_LIMIT : REPLY_BUSY;
        return 0;
    }
    if (!conn_subscription_add(conns, number)) {
        STATS_ADD(conns->stats, memory_refusals, 1);
        feeds_unsubscribe(conns->feeds, number);
        *error = REPLY_BUSY;
        return 0;
    }
    bool replays = command->from.kind == FROM_POSITIONS;
    if (!pending_add(session, number, command->id) || (replays && !replay_begin(conns, slot, number, command))) {
        conn_subscription_end(conns, number);
        *error = REPLY_BUSY;
        return 0;
    }
    answer_feeds(conns); /* it may be answered at once */
    return number;
}

static enum reply_error unsubscribe(struct conns *conns, uint32_t slot, const struct command *command)
{
    if (topic_filter_check(command->topic) != TOPIC_OK) {
        return REPLY_TOPIC_INVALID;
    }
    if (conn_at(conns, slot)->principal == PRINCIPAL_NOBODY) {
        return REPLY_AUTH_REQUIRED;
    }
    uint32_t number = subscription_to(conns, slot, command->topic, topic_filter_is_wild(command->topic));
    if (!number || subscription_at(conns->feeds, number)->state != SUBSCRIPTION_LIVE) {
        return REPLY_NOT_SUBSCRIBED;
    }
    uint32_t cursor = subscription_at(conns->feeds, number)->cursor;
    if (cursor && cursor_at(conns->feeds, cursor)->partial && !conn_finish_frame(conns, slot)) {
        return REPLY_BUSY;
    }
    conn_subscription_end(conns, number);
    return REPLY_OK;
}

/* --- messages --- */

static void echo(struct conns *conns, uint32_t slot, struct span body, bool text, bool compressed)
{
    enum ws_opcode opcode = text ? WS_TEXT : WS_BINARY;
    struct deflater *deflater = conns->writer->deflater;
    if (!compressed || !deflater) {
        conn_queue_frame(conns, slot, opcode, false, body);
        return;
    }
    size_t room = deflate_room(deflater, body.size);
    char *out = malloc(room);
    size_t size;
    if (out && deflate_message(deflater, body, out, room, &size)) {
        conn_queue_frame(conns, slot, opcode, true, (struct span){out, size});
    } else {
        conn_queue_frame(conns, slot, opcode, false, body);
    }
    free(out);
}

/* An echo is not read on while it does not read: what waits to go out is bounded by what comes in. */
static void echo_backpressure(struct conns *conns, uint32_t slot)
{
    struct conn *conn = conn_at(conns, slot);
    if (conn->session && conn->state == CONN_OPEN &&
        buffer_waiting(&session_at(conns, conn)->out) > conns->config->limits.reply_bytes) {
        conn->flags |= CONN_PAUSED;
        io_receive(conns->io, slot, IO_RECEIVE_PAUSED);
    }
}

static void execute_and_reply(struct conns *conns, uint32_t slot, const struct command *command)
{
    enum reply_error error = REPLY_OK;
    struct reply reply = {.kind = REPLY_KIND_OK, .id = command->id, .time_ms = conn_safe_time_ms(conns, slot)};
    switch (command->verb) {
    case COMMAND_AUTH:
        error = execute_auth(conns, slot, command->token);
        break;
    case COMMAND_UNSUBSCRIBE:
        error = unsubscribe(conns, slot, command);
        break;
    case COMMAND_PING:
        reply.kind = REPLY_KIND_PONG;
        break;
    case COMMAND_SUBSCRIBE:
    case COMMAND_PUBLISH:
        UNREACHABLE(); /* answered later */
    }
    if (error) {
        conn_refuse(conns, slot, command->id, error);
    } else {
        conn_reply(conns, slot, &reply);
    }
}

static enum execute_result execute_command(struct conns *conns, uint32_t slot, const struct command *command)
{
    enum reply_error error = REPLY_OK;
    enum execute_result result = EXECUTE_DONE;
    if (command->verb == COMMAND_PUBLISH) {
        result = execute_publish(conns, slot, command, &error);
    } else if (command->verb == COMMAND_SUBSCRIBE) {
        execute_subscribe(conns, slot, command, &error);
    } else {
        execute_and_reply(conns, slot, command);
        return EXECUTE_DONE;
    }
    if (error) {
        conn_refuse(conns, slot, command->id, error);
    }
    return result;
}

/* One command of a message. */
static enum execute_result execute_parsed(struct conns *conns, uint32_t slot, struct command *command,
                                          enum reply_error error)
{
    struct conn *conn = conn_at(conns, slot);
    STATS_ADD(conns->stats, commands, 1);
    if (!error && conn->dialect == DIALECT_RAW) {
        if (!(conn->flags & CONN_PUBLISHES)) {
            error = REPLY_UNSUPPORTED;
        } else {
            command->topic = name_span(session_at(conns, conn)->topic);
        }
    }
    if (error) {
        conn_refuse(conns, slot, command->id, error);
        return EXECUTE_DONE;
    }
    return execute_command(conns, slot, command);
}

enum execute_result execute_message(struct conns *conns, uint32_t slot, struct span body, bool text, bool compressed,
                                    size_t *at)
{
    struct conn *conn = conn_at(conns, slot);
    if (conn->flags & CONN_ECHO) {
        echo(conns, slot, body, text, compressed);
        echo_backpressure(conns, slot);
        return EXECUTE_DONE;
    }
    size_t next = *at;
    do {
        struct command command = {0};
        enum reply_error error = dialect_of(conn->dialect)->parse(body, text, &next, conns->scratch, &command);
        if (execute_parsed(conns, slot, &command, error) == EXECUTE_RETRY) {
            return EXECUTE_RETRY;
        }
        *at = next;
        if (conn->state != CONN_OPEN) {
            return EXECUTE_DONE; /* closed by what it said, or by how much it did not read */
        }
    } while (next < body.size && !(conn->flags & CONN_PAUSED));
    return next < body.size ? EXECUTE_WAIT : EXECUTE_DONE;
}
