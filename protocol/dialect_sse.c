/*
 * dialect_sse: server-sent events (HTML Living Standard 9.2), for EventSource and `curl -N`.
 *
 *      message    id: EPOCH:OFFSET         the browser sends the last id back as Last-Event-ID when it reconnects
 *                 data: a line of it       one field a line of the payload
 *                                          an empty line ends the event
 *      binary     event: binary, and data in base64
 *      ok         event: open, with an id: so there is a position to come back to before the first message
 *      gap        event: gap
 *      pong       a comment: `:` alone, for heartbeats
 *
 * The data of open and gap are the objects of the JSON dialect. Nothing else is shown: what is wrong is told by the
 * HTTP status before the stream begins, and a stream that must end just ends.
 *
 * A reader puts lines together with LF, so CR and CRLF within a text arrive as LF. In JSON they can only stand between
 * values, where it makes no difference.
 */
#include "protocol/dialect.h"
#include "protocol/writer.h"

static enum reply_error sse_parse(struct span body, bool text, size_t *at, char *scratch, struct command *command)
{
    *at = body.size;
    (void)text;
    (void)scratch;
    *command = (struct command){0};
    return REPLY_UNSUPPORTED;
}

static void id_write(struct writer *writer, const struct reply *reply)
{
    writer_literal(writer, "id: ");
    writer_epoch(writer, reply->epoch);
    writer_literal(writer, ":");
    writer_u64(writer, reply->offset);
    writer_literal(writer, "\n");
}

/* The end of the line that begins at `at`: where its CR or LF is, or the text ends. */
static size_t line_end(struct span text, size_t at)
{
    while (at < text.size && text.data[at] != '\r' && text.data[at] != '\n')
        at++;
    return at;
}

/* As many data fields as there are lines: a text that ends with a line break has an empty last one. */
static void lines_write(struct writer *writer, struct span text)
{
    if (text.size == 0)
        text = SPAN_LITERAL(""); /* data may be NULL */
    for (size_t at = 0, end;; at = end + 1) {
        end = line_end(text, at);
        writer_literal(writer, "data: ");
        writer_put(writer, (struct span){text.data + at, end - at});
        writer_literal(writer, "\n");
        if (end == text.size)
            return;
        if (text.data[end] == '\r' && end + 1 < text.size && text.data[end + 1] == '\n')
            end++;
    }
}

static void message_write(struct writer *writer, const struct reply *reply)
{
    id_write(writer, reply);
    if (reply->payload_kind != PAYLOAD_BINARY) {
        lines_write(writer, reply->payload);
        return;
    }
    writer_literal(writer, "event: binary\ndata: ");
    writer_base64(writer, reply->payload);
    writer_literal(writer, "\n");
}

/* The JSON dialect's object, written straight to its place. It has no line break. */
static void object_write(struct writer *writer, const struct reply *reply)
{
    writer_literal(writer, "data: ");
    bool fits = writer->size <= writer->room;
    writer->size +=
        dialect_json.encode(reply, fits ? writer->out + writer->size : NULL, fits ? writer->room - writer->size : 0);
    writer_literal(writer, "\n");
}

static void open_write(struct writer *writer, const struct reply *reply)
{
    writer_literal(writer, "event: open\n");
    if (reply->has_position)
        id_write(writer, reply);
    object_write(writer, reply);
}

static void gap_write(struct writer *writer, const struct reply *reply)
{
    writer_literal(writer, "event: gap\n");
    object_write(writer, reply);
}

static size_t sse_encode(const struct reply *reply, char *out, size_t room)
{
    struct writer writer = {.out = out, .room = room};
    switch (reply->kind) {
    case REPLY_KIND_MESSAGE:
        message_write(&writer, reply);
        break;
    case REPLY_KIND_OK:
        open_write(&writer, reply);
        break;
    case REPLY_KIND_GAP:
        gap_write(&writer, reply);
        break;
    case REPLY_KIND_PONG:
        writer_literal(&writer, ":\n");
        break;
    case REPLY_KIND_HELLO:
    case REPLY_KIND_ACK:
    case REPLY_KIND_ERROR:
        return 0;
    }
    writer_literal(&writer, "\n");
    return writer.size;
}

static bool sse_is_text(const struct reply *reply)
{
    (void)reply;
    return true;
}

const struct dialect dialect_sse = {
    .id = DIALECT_SSE,
    .name = "sse",
    .parse = sse_parse,
    .encode = sse_encode,
    .is_text = sse_is_text,
};
