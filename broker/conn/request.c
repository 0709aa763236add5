/* request: see request.h. */
#include "conn/request.h"

#include "base/check.h"
#include "conn/close.h"
#include "conn/execute.h"
#include "conn/partial.h"
#include "conn/reply.h"
#include "protocol/dialect_bin.h"
#include "protocol/json.h"
#include "protocol/topic.h"
#include "protocol/utf8.h"

#define TOPICS_PREFIX "/v1/topics/"

#define READ_MESSAGES_DEFAULT 100
#define READ_MESSAGES_MAX     1000

#define PREFLIGHT_LINES                                                                                                \
    HTTP_CORS_ANY "Access-Control-Allow-Methods: GET, POST, OPTIONS\r\n"                                               \
                  "Access-Control-Allow-Headers: Authorization, Content-Type, Idempotency-Key, Last-Event-ID\r\n"      \
                  "Access-Control-Max-Age: 86400\r\n"

static void not_found(struct conns *conns, uint32_t slot)
{
    conn_respond_problem(conns, slot, 404, "not_found",
                         "There is nothing here. Topics are at /v1/topics/{topic}, the WebSocket is at /v1/ws.", false,
                         SPAN_NONE);
}

static void bad_request(struct conns *conns, uint32_t slot, const char *message)
{
    conn_respond_problem(conns, slot, 400, "bad_request", message, false, SPAN_NONE);
}

/* The request is there: the handshake's time no longer counts. */
static void leave_request(struct conns *conns, uint32_t slot, enum conn_state state)
{
    struct conn *conn = conn_at(conns, slot);
    session_at(conns, conn)->deadline_ms = 0;
    conn_set_state(conns, conn, state);
}

/* --- what the request says besides its path --- */

/* The token, wherever it stands. data NULL: none. */
static bool token_of(const struct http_request *request, char *scratch, size_t room, struct span *token)
{
    *token = SPAN_NONE;
    struct span header = http_header(request, "Authorization");
    if (header.size > 7 && http_equal_nocase((struct span){header.data, 7}, "Bearer ")) {
        *token = (struct span){header.data + 7, header.size - 7};
        return true;
    }
    return http_query_get(request->query, "access_token", scratch, room, token) != HTTP_QUERY_BAD;
}

/* The rights of the token that came with the request, if one did. */
static enum reply_error authenticate(struct conns *conns, uint32_t slot, const struct http_request *request)
{
    struct span token;
    if (!token_of(request, conns->scratch, conns->config->limits.message_bytes, &token)) {
        return REPLY_TOKEN_INVALID;
    }
    return token.data ? execute_auth(conns, slot, token) : REPLY_OK;
}

/* `from` of the query, or Last-Event-ID. False: not one of those that there are. */
static bool from_of(const struct http_request *request, struct from *from)
{
    char scratch[64];
    struct span text;
    *from = (struct from){.kind = FROM_NEW};
    enum http_query query = http_query_get(request->query, "from", scratch, sizeof scratch, &text);
    struct span last_event = http_header(request, "Last-Event-ID");
    if (last_event.size) {
        text = last_event; /* an EventSource that comes back keeps the URL that it began with */
    } else if (query == HTTP_QUERY_NONE) {
        return true;
    } else if (query == HTTP_QUERY_BAD) {
        return false;
    }
    if (span_equal(text, SPAN_LITERAL("new"))) {
        return true;
    }
    if (span_equal(text, SPAN_LITERAL("last"))) {
        from->kind = FROM_LAST;
        return true;
    }
    from->kind = FROM_POSITION;
    return position_read(text, &from->epoch, &from->offset);
}

enum mode { MODE_SUB, MODE_PUB, MODE_BOTH, MODE_BAD };

static enum mode mode_of(const struct http_request *request)
{
    char scratch[16];
    struct span text;
    enum http_query query = http_query_get(request->query, "mode", scratch, sizeof scratch, &text);
    if (query == HTTP_QUERY_NONE || (query == HTTP_QUERY_FOUND && span_equal(text, SPAN_LITERAL("sub")))) {
        return MODE_SUB;
    }
    if (query == HTTP_QUERY_FOUND && span_equal(text, SPAN_LITERAL("pub"))) {
        return MODE_PUB;
    }
    return query == HTTP_QUERY_FOUND && span_equal(text, SPAN_LITERAL("both")) ? MODE_BOTH : MODE_BAD;
}

static bool starts_with(struct span text, const char *prefix)
{
    return text.size >= strlen(prefix) && memcmp(text.data, prefix, strlen(prefix)) == 0;
}

static bool is_nocase_prefix(struct span text, const char *prefix)
{
    size_t size = strlen(prefix);
    return text.size >= size && http_equal_nocase((struct span){text.data, size}, prefix);
}

/* As what a body is published, by its Content-Type; a body that is not what it says it is comes out as binary. */
static enum payload_kind kind_of(const struct http_request *request)
{
    struct span type = http_header(request, "Content-Type");
    if (is_nocase_prefix(type, "application/json")) {
        return PAYLOAD_JSON;
    }
    bool text = type.size == 0 || is_nocase_prefix(type, "text/") ||
                is_nocase_prefix(type, "application/x-www-form-urlencoded");
    return text ? PAYLOAD_TEXT : PAYLOAD_BINARY;
}

/* --- WebSocket --- */

/* False: refused, and told so. */
static bool handshake(struct conns *conns, uint32_t slot, const struct http_request *request,
                      const char *const *subprotocols)
{
    struct session *session = session_at(conns, conn_at(conns, slot));
    enum ws_deflate_policy policy = conns->config->compression.enabled ? WS_DEFLATE_SHARED : WS_DEFLATE_OFF;
    int status = ws_handshake_check(request, subprotocols, policy, &session->handshake);
    if (status != 101) {
        const char *code = status == 426 ? "upgrade_required" : status == 405 ? "method_not_allowed" : "bad_request";
        conn_respond_problem(conns, slot, status, code, session->handshake.problem, false,
                             ws_handshake_refusal_lines(&session->handshake));
        return false;
    }
    if (session->handshake.deflate.on) {
        conn_at(conns, slot)->flags |= CONN_DEFLATED | CONN_INFLATES;
    }
    return true;
}

/* Opens a WebSocket that waits for nothing. */
static void open_now(struct conns *conns, uint32_t slot, enum dialect_id dialect)
{
    struct conn *conn = conn_at(conns, slot);
    struct session *session = session_at(conns, conn);
    char head[1024];
    size_t size = ws_handshake_write(&session->handshake, SPAN_NONE, head, sizeof head);
    CHECK(size <= sizeof head);
    conn->dialect = (uint8_t)dialect;
    leave_request(conns, slot, CONN_OPEN);
    conn_queue(conns, slot, head, size);
}

static void open_multiplexed(struct conns *conns, uint32_t slot, const struct http_request *request)
{
    static const char *const subprotocols[] = {"shoal.v1.json", BIN_SUBPROTOCOL, NULL};
    enum reply_error error = authenticate(conns, slot, request);
    if (error) {
        conn_respond_error(conns, slot, error);
        return;
    }
    if (!handshake(conns, slot, request, subprotocols)) {
        return;
    }
    bool bin = session_at(conns, conn_at(conns, slot))->handshake.subprotocol == 1;
    open_now(conns, slot, bin ? DIALECT_BIN : DIALECT_JSON);
    struct conn *conn = conn_at(conns, slot);
    if (conn->principal == PRINCIPAL_NOBODY && conn->session) {
        session_set_deadline(conns, session_at(conns, conn));
    }
    conn_reply_hello(conns, slot);
}

static void open_echo(struct conns *conns, uint32_t slot, const struct http_request *request)
{
    static const char *const subprotocols[] = {NULL};
    if (handshake(conns, slot, request, subprotocols)) {
        struct conn *conn = conn_at(conns, slot);
        conn->flags |= CONN_ECHO;
        if (conn->principal == PRINCIPAL_NOBODY) {
            conn->principal = PRINCIPAL_ANYBODY; /* needs no rights, and so owes no token */
        }
        open_now(conns, slot, DIALECT_RAW);
    }
}

/* Subscribes on behalf of the URL; the answer opens the connection (answer_feeds). */
static void open_subscription(struct conns *conns, uint32_t slot, struct span topic, const struct from *from)
{
    leave_request(conns, slot, CONN_OPENING);
    struct command command = {.verb = COMMAND_SUBSCRIBE, .topic = topic, .from = *from};
    enum reply_error error;
    if (!execute_subscribe(conns, slot, &command, &error)) {
        conn_respond_error(conns, slot, error);
    }
}

/* False: no memory, and told so. */
static bool keep_topic(struct conns *conns, uint32_t slot, struct span topic)
{
    struct session *session = session_at(conns, conn_at(conns, slot));
    session->topic = name_create(topic);
    if (!session->topic) {
        conn_respond_error(conns, slot, REPLY_BUSY);
    }
    return session->topic != NULL;
}

/* Whether this connection may publish to the topic that it is opened for. */
static enum reply_error may_publish(struct conns *conns, uint32_t slot, struct span topic)
{
    if (topic_name_check(topic) != TOPIC_OK) {
        return REPLY_NOT_A_TOPIC;
    }
    uint32_t principal = conn_at(conns, slot)->principal;
    if (topic_is_reserved(topic)) {
        return REPLY_TOPIC_RESERVED;
    }
    if (!principal_may_publish(conns->principals, principal, topic)) {
        return principal == PRINCIPAL_NOBODY ? REPLY_AUTH_REQUIRED : REPLY_FORBIDDEN;
    }
    return REPLY_OK;
}

static void open_raw(struct conns *conns, uint32_t slot, const struct http_request *request, struct span topic,
                     const struct from *from)
{
    static const char *const subprotocols[] = {NULL};
    enum mode mode = mode_of(request);
    enum reply_error error = mode == MODE_BAD   ? REPLY_FIELD_INVALID
                             : mode == MODE_SUB ? REPLY_OK
                                                : may_publish(conns, slot, topic);
    if (error) {
        conn_respond_error(conns, slot, error);
        return;
    }
    if (!handshake(conns, slot, request, subprotocols)) {
        return;
    }
    struct conn *conn = conn_at(conns, slot);
    conn->dialect = DIALECT_RAW;
    if (mode != MODE_SUB) {
        if (!keep_topic(conns, slot, topic)) {
            return;
        }
        conn->flags |= CONN_PUBLISHES;
    }
    if (mode == MODE_PUB) {
        open_now(conns, slot, DIALECT_RAW);
    } else {
        session_at(conns, conn)->handshake_valid = true;
        open_subscription(conns, slot, topic, from);
    }
}

/* --- POST --- */

static void post_publish(struct conns *conns, uint32_t slot);

/* Two keys, or an empty one: whoever sends that means something else than none. */
static enum reply_error key_judge(const struct http_request *request, struct span key)
{
    size_t count = http_header_count(request, "Idempotency-Key");
    if (count > 1 || (count == 1 && key.size == 0)) {
        return REPLY_FIELD_INVALID;
    }
    return key.size > KEY_BYTES_MAX ? REPLY_KEY_TOO_LONG : REPLY_OK;
}

static void post_begin(struct conns *conns, uint32_t slot, const struct http_request *request, struct span topic)
{
    struct session *session = session_at(conns, conn_at(conns, slot));
    uint32_t most = conns->config->limits.message_bytes;
    struct span key = http_header(request, "Idempotency-Key");
    enum reply_error error = may_publish(conns, slot, topic);
    if (!error && request->content_length > most) {
        error = REPLY_PAYLOAD_TOO_LARGE;
    }
    if (!error) {
        error = key_judge(request, key);
    }
    if (error) {
        conn_respond_error(conns, slot, error);
        return;
    }
    if (!keep_topic(conns, slot, topic)) {
        return;
    }
    session->keep_alive = request->keep_alive; /* its body will be read */
    session->key_size = (uint8_t)key.size;
    if (key.size) {
        memcpy(session->key, key.data, key.size);
    }
    session->body_kind = (uint8_t)kind_of(request);
    session->body_chunked = request->chunked;
    session->body_left = request->content_length > 0 ? request->content_length : 0;
    if (request->chunked) {
        http_chunked_init(&session->chunked, most);
    }
    conn_set_state(conns, conn_at(conns, slot), CONN_BODY);
    if (request->expects_continue && !conn_queue(conns, slot, HTTP_CONTINUE, sizeof HTTP_CONTINUE - 1)) {
        return; /* too many answers are waiting already: it is gone */
    }
    if (!session->body_chunked && session->body_left == 0) {
        post_publish(conns, slot);
    }
}

static bool body_add(struct conns *conns, uint32_t slot, struct span bytes, bool last)
{
    struct session *session = session_at(conns, conn_at(conns, slot));
    if (!partial_add(conns, session, bytes, last)) {
        session->keep_alive = false;
        conn_respond_error(conns, slot, REPLY_BUSY);
        return false;
    }
    return true;
}

static size_t body_chunked(struct conns *conns, uint32_t slot, char *bytes, size_t size)
{
    struct session *session = session_at(conns, conn_at(conns, slot));
    size_t consumed, decoded;
    enum http_parse result = http_chunked_feed(&session->chunked, bytes, size, &consumed, &decoded);
    if (result == HTTP_BAD) {
        session->keep_alive = false;
        if (session->chunked.status == 413) {
            conn_respond_error(conns, slot, REPLY_PAYLOAD_TOO_LARGE);
        } else {
            bad_request(conns, slot, "The body is not validly chunked.");
        }
        return size;
    }
    bool last = result == HTTP_DONE;
    if (body_add(conns, slot, (struct span){bytes, decoded}, last) && last) {
        post_publish(conns, slot);
    }
    return consumed;
}

size_t request_body(struct conns *conns, uint32_t slot, char *bytes, size_t size)
{
    struct session *session = session_at(conns, conn_at(conns, slot));
    if (session->body_chunked) {
        return body_chunked(conns, slot, bytes, size);
    }
    size_t taken = (size_t)session->body_left < size ? (size_t)session->body_left : size;
    session->body_left -= (int64_t)taken;
    bool last = session->body_left == 0;
    if (body_add(conns, slot, (struct span){bytes, taken}, last) && last) {
        post_publish(conns, slot);
    }
    return taken;
}

/* The kind that the body really has. False: it says that it is JSON, and is not. */
static bool body_kind(struct session *session, struct span body, enum payload_kind *kind)
{
    *kind = session->body_kind;
    if (*kind == PAYLOAD_TEXT && !utf8_valid(body.data, body.size)) {
        *kind = PAYLOAD_BINARY;
    }
    return *kind != PAYLOAD_JSON || json_valid(body);
}

bool request_again(struct conns *conns, uint32_t slot)
{
    struct session *session = session_at(conns, conn_at(conns, slot));
    if (!session->message_valid) {
        return true; /* waits for its answer, not for a ring */
    }
    struct span body = {session->message.bytes ? session->message.bytes : "", buffer_waiting(&session->message)};
    struct command command = {
        .verb = COMMAND_PUBLISH,
        .topic = name_span(session->topic),
        .payload = body,
        .key = {session->key, session->key_size},
    };
    enum reply_error error = REPLY_OK;
    if (!body_kind(session, body, &command.kind)) {
        error = REPLY_MESSAGE_INVALID;
    } else if (execute_publish(conns, slot, &command, &error) == EXECUTE_RETRY) {
        conn_at(conns, slot)->flags |= CONN_PAUSED;
        io_receive(conns->io, slot, IO_RECEIVE_PAUSED);
        conn_mark_retry(conns, slot);
        STATS_ADD(conns->stats, publisher_blocks, 1);
        return false;
    }
    session->message_valid = false;
    partial_free(conns, session);
    if (error) {
        conn_respond_error(conns, slot, error);
    }
    return true;
}

/* The whole body is there. */
static void post_publish(struct conns *conns, uint32_t slot)
{
    leave_request(conns, slot, CONN_ANSWERING);
    session_at(conns, conn_at(conns, slot))->message_valid = true;
    request_again(conns, slot);
}

/* --- GET --- */

static bool wants_stream(const struct http_request *request)
{
    struct span accept = http_header(request, "Accept");
    struct span element;
    while (http_list_next(&accept, &element)) {
        if (is_nocase_prefix(element, "text/event-stream")) {
            return true;
        }
    }
    return false;
}

/* 0: it is not a number of messages. More than are given at once is no mistake: `more` tells. */
static uint32_t limit_of(const struct http_request *request)
{
    char scratch[32];
    struct span text;
    uint64_t limit;
    enum http_query query = http_query_get(request->query, "limit", scratch, sizeof scratch, &text);
    if (query == HTTP_QUERY_NONE) {
        return READ_MESSAGES_DEFAULT;
    }
    if (query == HTTP_QUERY_BAD || !json_u64_read(text, &limit)) {
        return 0;
    }
    return limit > READ_MESSAGES_MAX ? READ_MESSAGES_MAX : (uint32_t)limit;
}

static void get_history(struct conns *conns, uint32_t slot, const struct http_request *request, struct span topic,
                        const struct from *from)
{
    struct conn *conn = conn_at(conns, slot);
    if (topic_name_check(topic) != TOPIC_OK) {
        conn_respond_error(conns, slot, REPLY_NOT_A_TOPIC);
        return;
    }
    if (!principal_may_subscribe(conns->principals, conn->principal, topic)) {
        conn_respond_error(conns, slot, conn->principal == PRINCIPAL_NOBODY ? REPLY_AUTH_REQUIRED : REPLY_FORBIDDEN);
        return;
    }
    uint32_t limit = limit_of(request);
    if (limit == 0) {
        conn_respond_error(conns, slot, REPLY_FIELD_INVALID);
        return;
    }
    if (!keep_topic(conns, slot, topic)) {
        return;
    }
    leave_request(conns, slot, CONN_ANSWERING);
    if (execute_read(conns, slot, session_at(conns, conn)->topic, from, limit) == EXECUTE_RETRY) {
        conn_respond_error(conns, slot, REPLY_BUSY);
    }
}

static void get_topic(struct conns *conns, uint32_t slot, const struct http_request *request, struct span topic)
{
    struct from from;
    if (!from_of(request, &from)) {
        conn_respond_error(conns, slot, REPLY_FIELD_INVALID);
    } else if (ws_handshake_wanted(request)) {
        open_raw(conns, slot, request, topic, &from);
    } else if (request->method == HTTP_GET && wants_stream(request)) {
        if (!keep_topic(conns, slot, topic)) {
            return;
        }
        conn_at(conns, slot)->dialect = DIALECT_SSE;
        open_subscription(conns, slot, topic, &from);
    } else {
        get_history(conns, slot, request, topic, &from);
    }
}

/* --- routes --- */

/* Whether the path names a topic or filter at all; else told so. The name is decoded to `out`. */
static bool topic_of(struct conns *conns, uint32_t slot, struct span path, char out[TOPIC_BYTES_MAX + 1],
                     struct span *topic)
{
    struct span encoded = {path.data + sizeof TOPICS_PREFIX - 1, path.size - (sizeof TOPICS_PREFIX - 1)};
    size_t size;
    if (!http_percent_decode(encoded, out, TOPIC_BYTES_MAX, &size)) {
        conn_respond_error(conns, slot, REPLY_TOPIC_INVALID);
        return false;
    }
    *topic = (struct span){out, size};
    enum topic_problem problem = topic_filter_check(*topic);
    if (problem != TOPIC_OK) {
        bool of_filter = problem == TOPIC_WILDCARD_NOT_ALONE || problem == TOPIC_WILDCARD_NOT_LAST;
        conn_respond_error(conns, slot, of_filter ? REPLY_FILTER_INVALID : REPLY_TOPIC_INVALID);
        return false;
    }
    return true;
}

static void route_topic(struct conns *conns, uint32_t slot, const struct http_request *request)
{
    char name[TOPIC_BYTES_MAX + 1];
    struct span topic;
    if (request->method == HTTP_OPTIONS) {
        struct http_response response = {.status = 204, .extra = SPAN_LITERAL(PREFLIGHT_LINES)};
        conn_respond(conns, slot, &response);
        return;
    }
    if (!topic_of(conns, slot, request->path, name, &topic)) {
        return;
    }
    enum reply_error error = authenticate(conns, slot, request);
    if (error) {
        conn_respond_error(conns, slot, error);
    } else if (request->method == HTTP_POST) {
        post_begin(conns, slot, request, topic);
    } else if (request->method == HTTP_GET || request->method == HTTP_HEAD) {
        get_topic(conns, slot, request, topic);
    } else {
        conn_respond_problem(conns, slot, 405, "method_not_allowed", "A topic takes GET, POST and OPTIONS.", false,
                             SPAN_LITERAL("Allow: GET, HEAD, POST, OPTIONS\r\n"));
    }
}

static void route(struct conns *conns, uint32_t slot, const struct http_request *request)
{
    if (starts_with(request->path, TOPICS_PREFIX)) {
        route_topic(conns, slot, request);
    } else if (span_equal(request->path, SPAN_LITERAL("/v1/ws"))) {
        open_multiplexed(conns, slot, request);
    } else if (span_equal(request->path, SPAN_LITERAL("/v1/echo")) && conns->config->debug.echo) {
        open_echo(conns, slot, request);
    } else {
        not_found(conns, slot);
    }
}

/* A body that nobody reads can't be told from the next request: only post_begin() goes on after one. */
static bool has_body(const struct http_request *request)
{
    return request->chunked || request->content_length > 0;
}

/* Requests on one connection need not be of one user: a proxy shares it (RFC 9110, 3.3). */
static void forget_former_request(struct conns *conns, struct conn *conn)
{
    struct session *session = session_at(conns, conn);
    if (session->topic) {
        name_drop(session->topic);
        session->topic = NULL;
    }
    principals_drop(conns->principals, conn->principal);
    conn->principal = conns->verifier ? PRINCIPAL_NOBODY : PRINCIPAL_ANYBODY;
}

size_t request_head(struct conns *conns, uint32_t slot, char *bytes, size_t size)
{
    struct conn *conn = conn_at(conns, slot);
    struct session *session = session_at(conns, conn);
    struct http_request request;
    enum http_parse parsed = http_request_parse(bytes, size, conns->config->limits.header_bytes, &request);
    if (parsed == HTTP_MORE) {
        return 0;
    }
    session->head_only = false;
    session->keep_alive = false;
    if (parsed == HTTP_BAD) {
        conn_respond_problem(conns, slot, request.status, "bad_request", request.problem, false, SPAN_NONE);
        return size;
    }
    if (conns->draining) {
        conn_respond_error(conns, slot, REPLY_DRAINING);
        return size;
    }
    session->keep_alive = request.keep_alive && !has_body(&request);
    session->head_only = request.method == HTTP_HEAD;
    forget_former_request(conns, conn);
    route(conns, slot, &request);
    return request.head_size;
}
