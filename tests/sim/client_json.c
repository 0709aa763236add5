/* client_json: see client_json.h. */
#include "client_json.h"

#include <stdarg.h>

#include "base/check.h"
#include "protocol/base64.h"
#include "protocol/dialect.h"
#include "protocol/json.h"

void json_open(struct clients *clients, struct client *client)
{
    static const char plain[] = "GET /v1/ws HTTP/1.1\r\nHost: sim\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
    static const char deflate[] = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    wire_request(&client->wire, (struct span){plain, sizeof plain - 1});
    if (sim_random(clients->network, 4) == 0) {
        wire_request(&client->wire, (struct span){deflate, sizeof deflate - 1});
    }
    wire_request(&client->wire, SPAN_LITERAL("\r\n"));
}

/* --- reading --- */

enum field { OP, ID, CODE, TOPIC, OFFSET, EPOCH, DATA, DATA_BASE64, RECOVERED, FROM, TO, REASON, TIME, FIELD_COUNT };

static const struct span field_names[FIELD_COUNT] = {
    [OP] = SPAN_LITERAL("op"),
    [ID] = SPAN_LITERAL("id"),
    [CODE] = SPAN_LITERAL("code"),
    [TOPIC] = SPAN_LITERAL("topic"),
    [OFFSET] = SPAN_LITERAL("offset"),
    [EPOCH] = SPAN_LITERAL("epoch"),
    [DATA] = SPAN_LITERAL("data"),
    [DATA_BASE64] = SPAN_LITERAL("data_base64"),
    [RECOVERED] = SPAN_LITERAL("recovered"),
    [FROM] = SPAN_LITERAL("from"),
    [TO] = SPAN_LITERAL("to"),
    [REASON] = SPAN_LITERAL("reason"),
    [TIME] = SPAN_LITERAL("time_ms"),
};

/* False: it is no object. */
static bool fields_read(struct span object, struct json_value fields[FIELD_COUNT])
{
    struct json_member member;
    size_t at = 0;
    enum json_walk walk;
    memset(fields, 0, FIELD_COUNT * sizeof *fields);
    while ((walk = json_object_next(object, &at, &member)) == JSON_MEMBER) {
        for (size_t i = 0; i < FIELD_COUNT; i++) {
            if (json_string_is(member.key, field_names[i])) {
                fields[i] = member.value;
            }
        }
    }
    return walk == JSON_END;
}

static uint64_t number_of(const struct json_value *value)
{
    uint64_t number = 0;
    if (value->type == JSON_NUMBER) {
        json_u64_read(value->raw, &number);
    }
    return number;
}

/* A string without its quotes. Ours have no escapes. */
static struct span text_of(const struct json_value *value)
{
    return value->type == JSON_STRING ? (struct span){value->raw.data + 1, value->raw.size - 2} : SPAN_NONE;
}

static uint64_t epoch_of(const struct json_value *value)
{
    uint64_t epoch = 0;
    epoch_read(text_of(value), &epoch);
    return epoch;
}

/* The payload of a message, and the kind that it is shown as. */
static struct span payload_of(const struct json_value fields[FIELD_COUNT], enum payload_kind *kind)
{
    static char decoded[PAYLOAD_ROOM];
    struct span payload = fields[DATA].raw;
    size_t size;
    *kind = fields[DATA].type == JSON_OBJECT ? PAYLOAD_JSON : PAYLOAD_TEXT;
    if (fields[DATA].type == JSON_STRING && !json_string_read(fields[DATA].raw, decoded, sizeof decoded, &payload)) {
        return SPAN_NONE;
    }
    if (fields[DATA_BASE64].type == JSON_STRING) {
        *kind = PAYLOAD_BINARY;
        struct span text = text_of(&fields[DATA_BASE64]);
        payload =
            text.size < sizeof decoded && base64_read(text, decoded, &size) ? (struct span){decoded, size} : SPAN_NONE;
    }
    return payload;
}

static uint32_t publish_of(struct clients *clients, const struct json_value fields[FIELD_COUNT])
{
    enum payload_kind kind;
    struct span payload = payload_of(fields, &kind);
    uint32_t publish = payload_read(clients->record, payload);
    if (publish != UINT32_MAX && clients->record->publishes[publish].kind != kind) {
        verdict_fail(verdict_of(clients), CHECK_PROTOCOL, "publish %u comes as another kind", publish);
    }
    return publish;
}

uint32_t json_payload(struct clients *clients, struct span object)
{
    struct json_value fields[FIELD_COUNT];
    return fields_read(object, fields) ? publish_of(clients, fields) : payload_read(clients->record, object);
}

void json_recovered(struct span object, bool *has_recovered, bool *recovered)
{
    struct json_value fields[FIELD_COUNT];
    *has_recovered = fields_read(object, fields) && fields[RECOVERED].type != JSON_NONE;
    *recovered = *has_recovered && fields[RECOVERED].type == JSON_TRUE;
}

void json_gap(struct clients *clients, struct follow *follow, struct span object)
{
    struct json_value fields[FIELD_COUNT];
    fields_read(object, fields);
    TRACE(verdict_of(clients), "  gap: %.*s", (int)object.size, object.data);
    clients->gaps++;
    follow_gap(follow, clients->record, topic_number(text_of(&fields[TOPIC])), text_of(&fields[REASON]),
               epoch_of(&fields[EPOCH]), number_of(&fields[FROM]), number_of(&fields[TO]));
}

/* --- answers --- */

static struct request *request_of(struct client *client, const struct json_value fields[FIELD_COUNT])
{
    for (uint32_t i = 0; i < REQUESTS_MAX; i++) {
        if (client->requests[i].kind != REQUEST_NONE && client->requests[i].id == number_of(&fields[ID])) {
            return &client->requests[i];
        }
    }
    return NULL;
}

static void ok(struct clients *clients, struct client *client, struct request *request,
               const struct json_value fields[FIELD_COUNT])
{
    uint64_t epoch = epoch_of(&fields[EPOCH]), offset = number_of(&fields[OFFSET]);
    struct follow *follow = &client->follows[request->what % FOLLOWS_MAX];
    switch ((enum request_kind)request->kind) {
    case REQUEST_PUBLISH:
        client_acknowledged(clients, request, epoch, offset);
        break;
    case REQUEST_SUBSCRIBE:
        clients->resumes += fields[RECOVERED].type != JSON_NONE;
        follow_begin(follow, clients->record, epoch, offset, fields[RECOVERED].type != JSON_NONE,
                     fields[RECOVERED].type == JSON_TRUE);
        if (!follow->since_ms) {
            follow->since_ms = number_of(&fields[TIME]);
        }
        break;
    case REQUEST_UNSUBSCRIBE:
        if (!follow->wild) {
            client->positions[follow->number] = (struct position){follow->epoch, follow->last};
        }
        follow_end(follow);
        break;
    default:
        verdict_fail(verdict_of(clients), CHECK_PROTOCOL, "ok to a request of kind %d", request->kind);
    }
    request->kind = REQUEST_NONE;
}

/* What may be refused, and with which word. */
static bool refusal_is_fair(struct clients *clients, const struct client *client, const struct request *request,
                            struct span code)
{
    bool ahead = request->kind == REQUEST_SUBSCRIBE && client->follows[request->what].asked_offset >= FOLLOW_AHEAD;
    if (request->kind == REQUEST_WRONG || (ahead && span_equal(code, SPAN_LITERAL("position_invalid")))) {
        return true;
    }
    if (clients->draining && span_equal(code, SPAN_LITERAL("draining"))) {
        return true;
    }
    bool short_of_room = span_equal(code, SPAN_LITERAL("busy")) || span_equal(code, SPAN_LITERAL("topics_limit")) ||
                         (request->kind == REQUEST_SUBSCRIBE && span_equal(code, SPAN_LITERAL("subscriptions_limit")));
    return short_of_room && !is_calm(clients) && request->kind != REQUEST_UNSUBSCRIBE;
}

static void refused(struct clients *clients, struct client *client, struct request *request,
                    const struct json_value fields[FIELD_COUNT])
{
    struct span code = text_of(&fields[CODE]);
    if (!refusal_is_fair(clients, client, request, code)) {
        verdict_fail(verdict_of(clients), CHECK_PROTOCOL, "a request of kind %d is refused: %.*s", request->kind,
                     (int)code.size, code.data);
    }
    if (request->kind == REQUEST_PUBLISH) {
        client_refused(clients, client, request);
    } else if (request->kind == REQUEST_SUBSCRIBE) {
        follow_end(&client->follows[request->what]);
    }
    request->kind = REQUEST_NONE;
}

static struct follow *follow_of(struct client *client, struct span text)
{
    uint32_t topic = topic_number(text);
    for (uint32_t i = 0; i < FOLLOWS_MAX; i++) {
        struct follow *follow = &client->follows[i];
        if (follow->state == FOLLOW_FREE) {
            continue;
        }
        const char *name = name_of(follow->number);
        if (span_equal(text, (struct span){name, strlen(name)}) ||
            (topic < TOPIC_COUNT && name_covers(follow->number, topic))) {
            return follow;
        }
    }
    return NULL;
}

static void message(struct clients *clients, struct client *client, const struct json_value fields[FIELD_COUNT])
{
    struct span topic = text_of(&fields[TOPIC]);
    uint32_t publish = publish_of(clients, fields);
    struct follow *follow = follow_of(client, topic);
    if (publish == UINT32_MAX) {
        return;
    }
    if (!follow || clients->record->publishes[publish].topic != topic_number(topic)) {
        verdict_fail(verdict_of(clients), CHECK_ORDER, "client %u gets publish %u of %s as one of %.*s", client->number,
                     publish, topic_names[clients->record->publishes[publish].topic], (int)topic.size, topic.data);
        return;
    }
    client_deliver(clients, follow, publish, 0, number_of(&fields[OFFSET]));
}

static void answer(struct clients *clients, struct client *client, struct span object,
                   const struct json_value fields[FIELD_COUNT])
{
    struct span op = text_of(&fields[OP]);
    struct request *request = request_of(client, fields);
    TRACE(verdict_of(clients), "%u is told %.*s", client->number, (int)object.size, object.data);
    if (!request) {
        verdict_fail(verdict_of(clients), CHECK_PROTOCOL, "client %u is told what it did not ask: %.*s", client->number,
                     object.size < 100 ? (int)object.size : 100, object.data);
    } else if (span_equal(op, SPAN_LITERAL("ok"))) {
        ok(clients, client, request, fields);
    } else if (span_equal(op, SPAN_LITERAL("error"))) {
        refused(clients, client, request, fields);
    } else { /* pong */
        request->kind = REQUEST_NONE;
    }
}

static void object_works(struct clients *clients, struct client *client, struct span object)
{
    struct json_value fields[FIELD_COUNT];
    if (!fields_read(object, fields)) {
        verdict_fail(verdict_of(clients), CHECK_PROTOCOL, "client %u gets no JSON: %.*s", client->number,
                     object.size < 100 ? (int)object.size : 100, object.data);
        return;
    }
    struct span op = text_of(&fields[OP]);
    if (span_equal(op, SPAN_LITERAL("message"))) {
        message(clients, client, fields);
    } else if (span_equal(op, SPAN_LITERAL("gap"))) {
        struct follow *follow = follow_of(client, text_of(&fields[TOPIC]));
        if (follow) {
            json_gap(clients, follow, object);
        } else {
            verdict_fail(verdict_of(clients), CHECK_PROTOCOL, "a gap of what is not followed");
        }
    } else if (!span_equal(op, SPAN_LITERAL("hello"))) {
        answer(clients, client, object, fields);
    }
}

void json_news(struct clients *clients, struct client *client, const struct wire_news *news)
{
    if (news->kind == WIRE_HEAD) {
        client->open = true;
    } else if (news->kind == WIRE_MESSAGE) {
        object_works(clients, client, news->data);
    } else {
        if (news->status != 503 || is_calm(clients)) {
            verdict_fail(verdict_of(clients), CHECK_PROTOCOL, "the upgrade is refused with %d", news->status);
        }
        client_finish(clients, client);
    }
}

/* --- asking --- */

__attribute__((format(printf, 2, 3))) static void say(struct client *client, const char *format, ...)
{
    static char text[2 * PAYLOAD_ROOM];
    va_list values;
    va_start(values, format);
    int size = vsnprintf(text, sizeof text, format, values);
    va_end(values);
    CHECK(size > 0 && (size_t)size < sizeof text);
    TRACE(client->wire.verdict, "%u asks %.*s", client->number, size < 200 ? size : 200, text);
    wire_message(&client->wire, true, (struct span){text, (size_t)size});
}

static void publish(struct clients *clients, struct client *client, uint32_t number)
{
    static char payload[PAYLOAD_ROOM], base64[2 * PAYLOAD_ROOM];
    struct request *request = client_request(client, REQUEST_PUBLISH, number);
    const struct publish *what = &clients->record->publishes[number];
    size_t size = payload_write(clients->record, number, payload);
    const char *data = payload, *name = "data", *quote = "";
    if (what->kind == PAYLOAD_BINARY) {
        base64_write(base64, (struct span){payload, size});
        data = base64;
        size = base64_size(size);
        name = "data_base64";
        quote = "\"";
    }
    char key[32] = "";
    if (publish_has_key(number)) {
        snprintf(key, sizeof key, ",\"key\":\"k%u\"", number);
    }
    say(client, "{\"op\":\"publish\",\"id\":%u,\"topic\":\"%s\",\"%s\":%s%.*s%s%s}", request->id,
        topic_names[what->topic], name, quote, (int)size, data, quote, key);
}

/* Comes back to a filter. Messages do not tell epochs, so their positions have none. */
static void subscribe_again(struct client *client, struct follow *follow)
{
    struct keepsake *keepsake = &client->keepsake;
    char positions[TOPIC_COUNT * 64] = "";
    size_t size = 0;
    for (uint32_t topic = 0; topic < TOPIC_COUNT; topic++) {
        if (keepsake->tops[topic]) {
            size += (size_t)snprintf(positions + size, sizeof positions - size, "%s\"%s\":{\"offset\":%llu}",
                                     size ? "," : "", topic_names[topic], (unsigned long long)keepsake->tops[topic]);
        }
    }
    struct request *request = client_request(client, REQUEST_SUBSCRIBE, (uint32_t)(follow - client->follows));
    follow_ask_again(follow, keepsake);
    say(client, "{\"op\":\"subscribe\",\"id\":%u,\"topic\":\"%s\",\"from\":{\"positions\":{%s},\"since_ms\":%llu}}",
        request->id, name_of(keepsake->number), positions, (unsigned long long)keepsake->since_ms);
    keepsake->number = 0;
}

static void subscribe(struct clients *clients, struct client *client)
{
    uint32_t number;
    struct follow *follow = client_follow_free(client);
    if (!follow) {
        return;
    }
    if (client->keepsake.number && client_may_follow(client, client->keepsake.number)) {
        subscribe_again(client, follow);
        return;
    }
    if (!client_name(clients, client, &number)) {
        return;
    }
    struct position position = {0};
    char from[96] = "";
    if (client_position(clients, client, number, &position)) {
        snprintf(from, sizeof from, ",\"from\":{\"epoch\":\"%016llx\",\"offset\":%llu}",
                 (unsigned long long)position.epoch, (unsigned long long)position.offset);
    } else if (number < TOPIC_COUNT && sim_random(clients->network, 3) == 0) {
        snprintf(from, sizeof from, ",\"from\":\"last\"");
    }
    struct request *request = client_request(client, REQUEST_SUBSCRIBE, (uint32_t)(follow - client->follows));
    follow_ask(follow, number, position.epoch, position.offset);
    say(client, "{\"op\":\"subscribe\",\"id\":%u,\"topic\":\"%s\"%s}", request->id, name_of(number), from);
}

static void unsubscribe(struct clients *clients, struct client *client)
{
    uint32_t at = sim_random(clients->network, FOLLOWS_MAX);
    struct follow *follow = &client->follows[at];
    if (follow->state != FOLLOW_LIVE) {
        return;
    }
    follow->state = FOLLOW_ENDING;
    struct request *request = client_request(client, REQUEST_UNSUBSCRIBE, at);
    say(client, "{\"op\":\"unsubscribe\",\"id\":%u,\"topic\":\"%s\"}", request->id, name_of(follow->number));
}

static void ask_wrong(struct clients *clients, struct client *client)
{
    static const char *const members[] = {
        "\"op\":\"dance\"",
        "\"op\":\"publish\",\"topic\":\"plain/#\",\"data\":1",
        "\"op\":\"publish\",\"topic\":\"plain/a\"",
        "\"op\":\"publish\",\"topic\":\"$sys\",\"data\":1",
        "\"op\":\"subscribe\",\"topic\":\"a//b\"",
        "\"op\":\"subscribe\",\"topic\":\"a/#/b\"",
        "\"op\":\"subscribe\",\"topic\":\"plain/#\",\"from\":\"last\"",
        "\"op\":\"unsubscribe\",\"topic\":\"nobody/is/here\"",
        "\"op\":\"subscribe\",\"topic\":7",
    };
    struct request *request = client_request(client, REQUEST_WRONG, 0);
    say(client, "{\"id\":%u,%s}", request->id, members[sim_random(clients->network, sizeof members / sizeof *members)]);
}

static bool has_room(const struct client *client)
{
    for (uint32_t i = 0; i < REQUESTS_MAX; i++) {
        if (client->requests[i].kind == REQUEST_NONE) {
            return true;
        }
    }
    return false;
}

void json_act(struct clients *clients, struct client *client)
{
    const struct habits *habits = &clients->profile->habits;
    if (!has_room(client)) {
        return;
    }
    if (client->again.valid) {
        client->again.valid = false;
        clients->repeats++;
        publish(clients, client, client->again.publish);
    } else if (by_chance(clients, habits->publish)) {
        enum payload_kind kind = sim_random(clients->network, 4) == 0 ? PAYLOAD_BINARY : PAYLOAD_JSON;
        publish(clients, client, client_publish(clients, TOPIC_COUNT, kind));
    } else if (by_chance(clients, habits->subscribe)) {
        subscribe(clients, client);
    } else if (by_chance(clients, habits->unsubscribe)) {
        unsubscribe(clients, client);
    } else if (by_chance(clients, habits->wrong)) {
        ask_wrong(clients, client);
    } else if (by_chance(clients, 10)) {
        struct request *request = client_request(client, REQUEST_PING, 0);
        say(client, "{\"op\":\"ping\",\"id\":%u}", request->id);
    }
}
