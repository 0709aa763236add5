/* client_http: see client_http.h. */
#include "client_http.h"

#include <stdarg.h>

#include "base/check.h"
#include "client_json.h"
#include "protocol/dialect.h"
#include "protocol/json.h"

#define HANDSHAKE                                                                                                      \
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"                     \
    "Sec-WebSocket-Version: 13\r\n"

/* A name as it stands in a URL. */
static void name_encode(uint32_t number, char out[64])
{
    size_t size = 0;
    for (const char *at = name_of(number); *at; at++) {
        size += (size_t)snprintf(out + size, 64 - size, *at == '#' || *at == '+' ? "%%%02X" : "%c", *at);
    }
}

__attribute__((format(printf, 2, 3))) static void request(struct client *client, const char *format, ...)
{
    char text[512];
    va_list values;
    va_start(values, format);
    int size = vsnprintf(text, sizeof text, format, values);
    va_end(values);
    CHECK(size > 0 && (size_t)size < sizeof text);
    TRACE(client->wire.verdict, "%u requests %.*s", client->number, (int)strcspn(text, "\r"), text);
    wire_request(&client->wire, (struct span){text, (size_t)size});
}

/* --- opening --- */

static bool is_conflated(struct clients *clients, uint32_t number)
{
    struct span name = {name_of(number), strlen(name_of(number))};
    return config_namespace_of(clients->config, name)->slow == CONFIG_SLOW_CONFLATE;
}

/* Follows one name from somewhere; what the URL or a header says of it goes to `from`. */
static void follow_url(struct clients *clients, struct client *client, uint32_t number, char from[64])
{
    struct position position = {0};
    from[0] = 0;
    if (client_position(clients, client, number, &position)) {
        snprintf(from, 64, "%016llx:%llu", (unsigned long long)position.epoch, (unsigned long long)position.offset);
    } else if (number < TOPIC_COUNT && sim_random(clients->network, 3) == 0) {
        snprintf(from, 64, "last");
    }
    follow_ask(&client->follows[0], number, client->host, position.epoch, position.offset);
}

static void raw_open(struct clients *clients, struct client *client)
{
    static const char *const modes[] = {"sub", "sub", "sub", "both", "pub"};
    const char *mode = modes[sim_random(clients->network, 5)];
    client->publishes = mode[0] != 's';
    uint32_t number = sim_random(clients->network, client->publishes ? TOPIC_COUNT : TOPIC_COUNT + FILTER_COUNT);
    char name[64], from[64] = "";
    name_encode(number, name);
    if (mode[0] != 'p') {
        follow_url(clients, client, number, from);
        client->follows[0].jumps = is_conflated(clients, number);
    }
    client->topic = (uint8_t)number;
    request(client, "GET /v1/topics/%s?mode=%s%s%s HTTP/1.1\r\nHost: sim\r\n" HANDSHAKE "%s\r\n", name, mode,
            from[0] ? "&from=" : "", from,
            sim_random(clients->network, 4) == 0 ? "Sec-WebSocket-Extensions: permessage-deflate\r\n" : "");
}

static void stream_open(struct clients *clients, struct client *client)
{
    uint32_t number = sim_random(clients->network, TOPIC_COUNT + FILTER_COUNT);
    char name[64], from[64];
    name_encode(number, name);
    follow_url(clients, client, number, from);
    bool header = from[0] && sim_random(clients->network, 2);
    request(client, "GET /v1/topics/%s%s%s HTTP/1.1\r\nHost: sim\r\nAccept: text/event-stream\r\n%s%s%s\r\n", name,
            from[0] && !header ? "?from=" : "", header ? "" : from, header ? "Last-Event-ID: " : "", header ? from : "",
            header ? "\r\n" : "");
}

void http_open(struct clients *clients, struct client *client)
{
    if (client->kind == CLIENT_RAW) {
        raw_open(clients, client);
    } else if (client->kind == CLIENT_STREAM) {
        stream_open(clients, client);
    } else {
        client->open = true;
    }
}

/* --- raw --- */

/* The head tells where it begins; if that is not where it was asked to, a close frame follows. */
static void raw_opened(struct clients *clients, struct client *client, const struct wire_news *news)
{
    struct follow *follow = &client->follows[0];
    client->open = true;
    if (follow->state == FOLLOW_ASKED) {
        bool recovered = news->epoch == follow->asked_epoch && news->offset == follow->asked_offset;
        clients->resumes += follow->by_cursor;
        follow_begin(follow, clients->record, news->epoch, news->offset, follow->by_cursor,
                     follow->by_cursor && recovered);
    }
}

static void raw_message(struct clients *clients, struct client *client, const struct wire_news *news)
{
    struct follow *follow = &client->follows[0];
    uint32_t publish = payload_read(clients->record, news->data);
    if (publish == UINT32_MAX) {
        return;
    }
    if (news->text != (clients->record->publishes[publish].kind != PAYLOAD_BINARY)) {
        verdict_fail(verdict_of(clients), CHECK_PROTOCOL, "publish %u comes as another kind", publish);
    }
    client_deliver(clients, follow, publish, 0, 0);
}

/* --- streams --- */

/* `open` and `gap` carry the objects of the JSON dialect. */
static void stream_told(struct clients *clients, struct follow *follow, const struct wire_news *news, uint64_t epoch,
                        uint64_t offset)
{
    struct reply reply;
    uint32_t id;
    if (!json_reply_read(news->data, &reply, &id)) {
        verdict_fail(verdict_of(clients), CHECK_PROTOCOL, "an event without an object");
    } else if (reply.kind == REPLY_KIND_GAP) {
        clients->gaps++;
        follow_gap(follow, clients->record, topic_number(reply.topic), reply.reason, reply.epoch, reply.from_offset,
                   reply.to_offset);
    } else {
        clients->resumes += reply.has_recovered;
        follow_begin(follow, clients->record, epoch, offset, reply.has_recovered, reply.recovered);
    }
}

static void stream_event(struct clients *clients, struct client *client, const struct wire_news *news)
{
    static char object[2 * PAYLOAD_ROOM];
    struct follow *follow = &client->follows[0];
    struct reply reply = {.payload = news->data, .payload_kind = PAYLOAD_TEXT};
    uint64_t epoch = 0, offset = 0;
    bool is_gap = span_equal(news->name, SPAN_LITERAL("gap"));
    if (!is_gap && !position_read(news->id, &epoch, &offset)) {
        verdict_fail(verdict_of(clients), CHECK_PROTOCOL, "an event without a position");
        return;
    }
    if (is_gap || span_equal(news->name, SPAN_LITERAL("open"))) {
        stream_told(clients, follow, news, epoch, offset);
        return;
    }
    if (span_equal(news->name, SPAN_LITERAL("binary"))) {
        int size = snprintf(object, sizeof object, "{\"data_base64\":\"%.*s\"}", (int)news->data.size, news->data.data);
        json_payload_read((struct span){object, (size_t)size}, &reply);
    }
    uint32_t publish = payload_read(clients->record, reply.payload);
    if (publish != UINT32_MAX) {
        client_deliver(clients, follow, publish, epoch, offset);
    }
}

/* --- POST and GET --- */

/* {"epoch":"…","offset":N} */
static bool place_read(struct span body, uint64_t *epoch, uint64_t *offset, uint64_t *first)
{
    struct json_member member;
    size_t at = 0;
    *epoch = *offset = *first = 0;
    while (json_object_next(body, &at, &member) == JSON_MEMBER) {
        if (json_string_is(member.key, SPAN_LITERAL("epoch"))) {
            epoch_read((struct span){member.value.raw.data + 1, member.value.raw.size - 2}, epoch);
        } else if (json_string_is(member.key, SPAN_LITERAL("offset"))) {
            json_u64_read(member.value.raw, offset);
        } else if (json_string_is(member.key, SPAN_LITERAL("first"))) {
            json_u64_read(member.value.raw, first);
        }
    }
    return *epoch != 0;
}

static void posted(struct clients *clients, struct client *client, const struct wire_news *news)
{
    struct request *request_first = &client->requests[0];
    uint64_t epoch, offset, first;
    if (request_first->kind == REQUEST_NONE) {
        verdict_fail(verdict_of(clients), CHECK_PROTOCOL, "a response that nobody waits for");
    } else if (news->status == 200 && place_read(news->data, &epoch, &offset, &first)) {
        client_acknowledged(clients, client, request_first, epoch, offset);
    } else if (news->status == 503) {
        uint32_t topic = clients->record->publishes[request_first->what].topic;
        client_refused(clients, request_first, clients->record->topics[topic].logged);
    } else {
        verdict_fail(verdict_of(clients), CHECK_PROTOCOL, "a POST is answered with %d", news->status);
    }
    request_first->kind = REQUEST_NONE;
}

/* Each object of the array of messages. Our payloads have nothing in them that looks like the next one's beginning. */
static uint64_t messages_read(struct clients *clients, uint32_t host, struct span body, uint64_t epoch, uint64_t first)
{
    static const char start[] = "{\"offset\":";
    uint64_t expected = first;
    const char *end = body.data + body.size;
    const char *at = memmem(body.data, body.size, start, sizeof start - 1);
    while (at) {
        const char *next = memmem(at + 1, (size_t)(end - at - 1), start, sizeof start - 1);
        const char *stop = next ? next - 1 : memmem(at, (size_t)(end - at), "],\"more\"", 8);
        struct span object = {at, (size_t)(stop - at)};
        uint64_t offset = strtoull(at + sizeof start - 1, NULL, 10);
        struct reply reply;
        json_payload_read(object, &reply);
        uint32_t publish = payload_read(clients->record, reply.payload);
        if (offset != expected++) {
            verdict_fail(verdict_of(clients), CHECK_ORDER, "the history has %llu where %llu should be",
                         (unsigned long long)offset, (unsigned long long)expected - 1);
        }
        if (publish != UINT32_MAX) {
            record_received(clients->record, publish, host, epoch, offset);
        }
        at = next;
    }
    return expected - 1;
}

static void history_read(struct clients *clients, struct client *client, const struct wire_news *news)
{
    uint64_t epoch, offset, first;
    client->requests[0].kind = REQUEST_NONE;
    if (news->status == 503) {
        return; /* a full ring is reason enough */
    }
    if (news->status != 200) {
        verdict_fail(verdict_of(clients), CHECK_PROTOCOL, "a GET is answered with %d", news->status);
    } else if (place_read(news->data, &epoch, &offset, &first)) {
        uint64_t kept = clients->record->topics[client->topic].history_messages;
        uint64_t last = messages_read(clients, client->host, news->data, epoch, first);
        bool all = memmem(news->data.data, news->data.size, "\"more\":false", 12) != NULL;
        if (all && (last != offset || (kept && first > 1 && first + kept > offset + 1))) {
            verdict_fail(verdict_of(clients), CHECK_LOSS, "%s: the history is %llu to %llu of %llu, %llu are kept",
                         topic_names[client->topic], (unsigned long long)first, (unsigned long long)last,
                         (unsigned long long)offset, (unsigned long long)kept);
        }
    }
}

static void answer(struct clients *clients, struct client *client, const struct wire_news *news)
{
    TRACE(verdict_of(clients), "%u is answered %d %.*s", client->number, news->status,
          news->data.size < 100 ? (int)news->data.size : 100, news->data.data);
    if (client->kind == CLIENT_POST && client->requests[0].kind == REQUEST_PUBLISH) {
        posted(clients, client, news);
    } else if (client->kind == CLIENT_READ && client->requests[0].kind == REQUEST_PING) {
        history_read(clients, client, news);
    } else if (client->kind != CLIENT_POST && client->kind != CLIENT_READ) {
        bool ahead = client->follows[0].asked_offset >= FOLLOW_AHEAD && news->status == 400;
        if (!ahead && (news->status != 503 || is_calm(clients))) {
            verdict_fail(verdict_of(clients), CHECK_PROTOCOL, "a subscription is refused with %d", news->status);
        }
        client_finish(clients, client);
        return;
    } else if (news->status != 503 || is_calm(clients)) { /* who is not let in is told unasked */
        verdict_fail(verdict_of(clients), CHECK_PROTOCOL, "an unasked response %d", news->status);
    }
    client->closing = !news->keep_alive;
}

void http_news(struct clients *clients, struct client *client, const struct wire_news *news)
{
    if (news->kind == WIRE_BODY) {
        answer(clients, client, news);
    } else if (news->kind == WIRE_MESSAGE) {
        raw_message(clients, client, news);
    } else if (news->kind == WIRE_EVENT) {
        stream_event(clients, client, news);
    } else if (client->kind == CLIENT_RAW) {
        raw_opened(clients, client, news);
    } else {
        client->open = true;
    }
}

/* --- acting --- */

static void post(struct clients *clients, struct client *client)
{
    static char payload[PAYLOAD_ROOM];
    static const char *const types[] = {
        [PAYLOAD_BINARY] = "application/octet-stream",
        [PAYLOAD_TEXT] = "text/plain",
        [PAYLOAD_JSON] = "application/json",
    };
    uint32_t number = client_publish(clients, TOPIC_COUNT, (enum payload_kind)sim_random(clients->network, 3));
    const struct publish *publish = &clients->record->publishes[number];
    size_t size = payload_write(clients->record, number, payload);
    bool chunked = sim_random(clients->network, 3) == 0;
    client_request(client, REQUEST_PUBLISH, number);
    request(client, "POST /v1/topics/%s HTTP/1.1\r\nHost: sim\r\nContent-Type: %s\r\n%s", topic_names[publish->topic],
            types[publish->kind], sim_random(clients->network, 8) == 0 ? "Expect: 100-continue\r\n" : "");
    if (publish_has_key(number)) {
        request(client, "Idempotency-Key: k%u\r\n", number);
    }
    if (!chunked) {
        request(client, "Content-Length: %zu\r\n\r\n", size);
        wire_request(&client->wire, (struct span){payload, size});
        return;
    }
    request(client, "Transfer-Encoding: chunked\r\n\r\n");
    for (size_t at = 0; at < size;) {
        size_t part = 1 + sim_random(clients->network, (uint32_t)(size - at));
        request(client, "%zx\r\n", part);
        wire_request(&client->wire, (struct span){payload + at, part});
        wire_request(&client->wire, SPAN_LITERAL("\r\n"));
        at += part;
    }
    wire_request(&client->wire, SPAN_LITERAL("0\r\n\r\n"));
}

static void get(struct clients *clients, struct client *client)
{
    client->topic = (uint8_t)sim_random(clients->network, TOPIC_COUNT);
    client_request(client, REQUEST_PING, 0);
    request(client, "GET /v1/topics/%s?limit=1000 HTTP/1.1\r\nHost: sim\r\n\r\n", topic_names[client->topic]);
}

static void raw_publish(struct clients *clients, struct client *client)
{
    static char payload[PAYLOAD_ROOM];
    enum payload_kind kind = sim_random(clients->network, 2) ? PAYLOAD_TEXT : PAYLOAD_BINARY;
    uint32_t number = client_publish(clients, client->topic, kind);
    size_t size = payload_write(clients->record, number, payload);
    wire_message(&client->wire, kind == PAYLOAD_TEXT, (struct span){payload, size});
}

void http_act(struct clients *clients, struct client *client)
{
    if (!by_chance(clients, clients->profile->habits.publish)) {
        return;
    }
    if (client->kind == CLIENT_RAW && client->publishes) {
        raw_publish(clients, client);
    } else if (client->kind == CLIENT_POST && client->requests[0].kind == REQUEST_NONE) {
        post(clients, client);
    } else if (client->kind == CLIENT_READ && client->requests[0].kind == REQUEST_NONE) {
        get(clients, client);
    }
}
