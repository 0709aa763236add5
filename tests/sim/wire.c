/* wire: see wire.h. */
#include "wire.h"

#include <errno.h>

#include "base/check.h"
#include "protocol/close_code.h"
#include "protocol/dialect.h"
#include "protocol/json.h"

static uint32_t random_below(struct wire *wire, uint32_t bound)
{
    return sim_random(wire->network, bound);
}

/* --- beginning and end --- */

bool wire_connect(struct wire *wire, uint32_t shard)
{
    CHECK(wire->state == WIRE_CLOSED);
    wire->link = sim_connect(wire->network, shard);
    if (wire->link == SIM_NONE) {
        return false;
    }
    wire->state = WIRE_RESPONSE;
    wire->ended = wire->told_end = wire->told_close = wire->finishing = false;
    wire->used = 0;
    return true;
}

void wire_leave(struct wire *wire, enum sim_leaving how)
{
    CHECK(wire->state != WIRE_CLOSED);
    sim_client_leave(wire->network, wire->link, how);
    buffer_free(&wire->out);
    buffer_free(&wire->in);
    buffer_free(&wire->message);
    buffer_free(&wire->inflated);
    wire->state = WIRE_CLOSED;
}

/* --- sending --- */

static void queue(struct wire *wire, const void *bytes, size_t size)
{
    CHECK(buffer_add(&wire->out, bytes, size));
}

void wire_request(struct wire *wire, struct span bytes)
{
    queue(wire, bytes.data, bytes.size);
}

static void queue_frame(struct wire *wire, enum ws_opcode opcode, bool fin, struct span bytes)
{
    char header[WS_MASKED_HEADER_BYTES_MAX];
    uint32_t key = random_below(wire, UINT32_MAX);
    queue(wire, header, ws_masked_header_write(header, opcode, fin, false, bytes.size, key));
    if (bytes.size) {
        queue(wire, bytes.data, bytes.size);
        ws_mask(wire->out.bytes + wire->out.size - bytes.size, bytes.size, key, 0);
    }
}

void wire_message(struct wire *wire, bool text, struct span bytes)
{
    enum ws_opcode opcode = text ? WS_TEXT : WS_BINARY;
    while (random_below(wire, 6) == 0) {
        size_t part = random_below(wire, (uint32_t)bytes.size + 1);
        queue_frame(wire, opcode, false, (struct span){bytes.data, part});
        bytes = (struct span){bytes.data + part, bytes.size - part};
        opcode = WS_CONTINUATION;
        if (random_below(wire, 3) == 0) {
            wire_ping(wire);
        }
    }
    queue_frame(wire, opcode, true, bytes);
}

void wire_ping(struct wire *wire)
{
    queue_frame(wire, WS_PING, true, SPAN_LITERAL("are you there"));
}

void wire_close(struct wire *wire, uint16_t code)
{
    char payload[WS_CONTROL_PAYLOAD_MAX];
    queue_frame(wire, WS_CLOSE, true, (struct span){payload, ws_close_payload_write(payload, code, SPAN_NONE)});
    wire->finishing = true;
}

size_t wire_send(struct wire *wire, size_t most)
{
    size_t size = buffer_waiting(&wire->out);
    size = size < most ? size : most;
    if (size == 0 || wire->ended) {
        return 0;
    }
    ssize_t taken = sim_client_write(wire->network, wire->link, wire->out.bytes + wire->out.at, size);
    if (taken > 0) {
        buffer_take(&wire->out, (size_t)taken);
    }
    return taken > 0 ? (size_t)taken : 0;
}

/* --- receiving --- */

/* What the last news pointed into may go. */
static void let_go(struct wire *wire)
{
    if (wire->used) {
        buffer_take(&wire->in, wire->used);
        wire->used = 0;
    }
}

size_t wire_receive(struct wire *wire, size_t most)
{
    char bytes[4096];
    let_go(wire);
    if (wire->ended || most == 0) {
        return 0;
    }
    ssize_t size = sim_client_read(wire->network, wire->link, bytes, most < sizeof bytes ? most : sizeof bytes);
    if (size > 0) {
        CHECK(buffer_add(&wire->in, bytes, (size_t)size));
        return (size_t)size;
    }
    if (size != -EAGAIN) {
        wire->ended = true;
        wire->end_status = (int)size;
    }
    return 0;
}

static struct span waiting(const struct wire *wire)
{
    uint32_t size = buffer_waiting(&wire->in);
    return size ? (struct span){wire->in.bytes + wire->in.at, size} : SPAN_LITERAL("");
}

static struct wire_news broken(struct wire *wire, const char *what)
{
    struct span bytes = waiting(wire);
    verdict_fail(wire->verdict, CHECK_PROTOCOL, "%s: %.*s", what, bytes.size < 120 ? (int)bytes.size : 120, bytes.data);
    wire->used = buffer_waiting(&wire->in);
    return (struct wire_news){.kind = WIRE_NOTHING};
}

/* --- HTTP --- */

/* The value of a header in a response's head; SPAN_NONE: none. */
static struct span header(struct span head, const char *name)
{
    char line[64];
    int size = snprintf(line, sizeof line, "\r\n%s: ", name);
    const char *at = memmem(head.data, head.size, line, (size_t)size);
    if (!at) {
        return SPAN_NONE;
    }
    at += size;
    const char *end = memmem(at, (size_t)(head.data + head.size - at), "\r\n", 2);
    return (struct span){at, (size_t)(end - at)};
}

static bool opens(struct wire *wire, struct span head, int status, struct wire_news *news)
{
    bool socket = status == 101;
    bool stream = span_equal(header(head, "Content-Type"), SPAN_LITERAL("text/event-stream"));
    if (!socket && !stream) {
        return false;
    }
    news->kind = WIRE_HEAD;
    epoch_read(header(head, "Shoal-Epoch"), &news->epoch);
    json_u64_read(header(head, "Shoal-Offset"), &news->offset);
    if (socket) {
        bool deflate = header(head, "Sec-WebSocket-Extensions").size > 0;
        ws_reader_init(&wire->reader, WS_ROLE_CLIENT, UINT32_MAX, deflate);
    }
    wire->state = socket ? WIRE_FRAMES : WIRE_EVENTS;
    wire->used = (uint32_t)head.size;
    return true;
}

static struct wire_news next_response(struct wire *wire)
{
    struct wire_news news = {.kind = WIRE_NOTHING};
    struct span in = waiting(wire);
    const char *end = in.data ? memmem(in.data, in.size, "\r\n\r\n", 4) : NULL;
    if (!end) {
        return news;
    }
    struct span head = {in.data, (size_t)(end + 4 - in.data)};
    if (head.size < 16 || memcmp(head.data, "HTTP/1.1 ", 9) != 0) {
        return broken(wire, "not a response");
    }
    news.status = (head.data[9] - '0') * 100 + (head.data[10] - '0') * 10 + (head.data[11] - '0');
    if (opens(wire, head, news.status, &news)) {
        return news;
    }
    uint64_t length = 0;
    if (news.status != 100 && news.status != 204 && !json_u64_read(header(head, "Content-Length"), &length)) {
        return broken(wire, "a response without a length");
    }
    if (in.size - head.size < length) {
        return news;
    }
    news.keep_alive = !span_equal(header(head, "Connection"), SPAN_LITERAL("close"));
    news.kind = news.status == 100 ? WIRE_NOTHING : WIRE_BODY;
    news.data = (struct span){head.data + head.size, (size_t)length};
    wire->used = (uint32_t)(head.size + length);
    return news;
}

/* --- frames --- */

static struct span inflated(struct wire *wire, struct span data)
{
    size_t size = 0;
    buffer_free(&wire->inflated);
    char *place = buffer_reach(&wire->inflated, 1u << 20);
    CHECK(place);
    if (inflate_message(wire->inflater, data, place, 1u << 20, &size) != INFLATE_OK) {
        verdict_fail(wire->verdict, CHECK_PROTOCOL, "a deflated message is corrupt");
    }
    return (struct span){place, size};
}

static struct wire_news message_end(struct wire *wire, const struct ws_event *event)
{
    struct span data = {wire->message.bytes ? wire->message.bytes : "", wire->message.size};
    return (struct wire_news){
        .kind = WIRE_MESSAGE,
        .text = event->opcode == WS_TEXT,
        .data = event->compressed ? inflated(wire, data) : data,
    };
}

static struct wire_news frame_event(struct wire *wire, const struct ws_event *event)
{
    switch (event->kind) {
    case WS_EVENT_DATA:
        if (event->first) {
            buffer_free(&wire->message);
        }
        CHECK(buffer_add(&wire->message, event->data.data, event->data.size));
        if (event->last) {
            return message_end(wire, event);
        }
        break;
    case WS_EVENT_PING:
        if (!wire->finishing) {
            queue_frame(wire, WS_PONG, true, event->data);
        }
        break;
    case WS_EVENT_CLOSE:
        wire->told_close = true;
        return (struct wire_news){.kind = WIRE_CLOSE, .status = event->close_code};
    case WS_EVENT_ERROR:
        verdict_fail(wire->verdict, CHECK_PROTOCOL, "the broker sends broken frames: %s", event->problem);
        break;
    case WS_EVENT_NONE:
    case WS_EVENT_PONG:
        break;
    }
    return (struct wire_news){.kind = WIRE_NOTHING};
}

static struct wire_news next_frame(struct wire *wire)
{
    struct wire_news news = {.kind = WIRE_NOTHING};
    while (news.kind == WIRE_NOTHING && buffer_waiting(&wire->in)) {
        struct ws_event event;
        if (wire->told_close) {
            return broken(wire, "something follows a close frame");
        }
        size_t taken = ws_reader_feed(&wire->reader, wire->in.bytes + wire->in.at, buffer_waiting(&wire->in), &event);
        news = frame_event(wire, &event);
        buffer_take(&wire->in, taken);
    }
    return news;
}

/* --- events --- */

static void event_line(struct wire_news *news, struct span line)
{
    static const struct {
        struct span prefix;
        size_t field;
    } fields[] = {
        {SPAN_LITERAL("event: "), offsetof(struct wire_news, name)},
        {SPAN_LITERAL("id: "), offsetof(struct wire_news, id)},
        {SPAN_LITERAL("data: "), offsetof(struct wire_news, data)},
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        size_t size = fields[i].prefix.size;
        if (line.size >= size && memcmp(line.data, fields[i].prefix.data, size) == 0) {
            struct span value = {line.data + size, line.size - size};
            memcpy((char *)news + fields[i].field, &value, sizeof value);
            news->kind = WIRE_EVENT;
        }
    }
}

/* One event: lines up to an empty one. Our payloads have one line. */
static struct wire_news next_event(struct wire *wire)
{
    struct wire_news news = {.kind = WIRE_NOTHING};
    struct span in = waiting(wire);
    const char *end = in.data ? memmem(in.data, in.size, "\n\n", 2) : NULL;
    if (!end) {
        return news;
    }
    for (const char *at = in.data; at <= end;) {
        const char *line_end = memchr(at, '\n', (size_t)(end + 1 - at));
        struct span line = {at, (size_t)(line_end - at)};
        event_line(&news, line);
        if (news.kind == WIRE_NOTHING && !(line.size && line.data[0] == ':')) {
            return broken(wire, "not an event");
        }
        at = line_end + 1;
    }
    wire->used = (uint32_t)(end + 2 - in.data);
    return news;
}

struct wire_news wire_next(struct wire *wire)
{
    struct wire_news news = {.kind = WIRE_NOTHING};
    do { /* heartbeats and the like are no news */
        let_go(wire);
        switch (wire->state) {
        case WIRE_CLOSED:
            return news;
        case WIRE_RESPONSE:
            news = next_response(wire);
            break;
        case WIRE_FRAMES:
            news = next_frame(wire);
            break;
        case WIRE_EVENTS:
            news = next_event(wire);
            break;
        }
    } while (news.kind == WIRE_NOTHING && wire->used);
    if (news.kind == WIRE_NOTHING && wire->ended && !wire->told_end) {
        wire->told_end = true;
        return (struct wire_news){.kind = WIRE_END, .status = wire->end_status};
    }
    return news;
}
