/*
 * dialect_raw: the payload and nothing else, for the topic URL.
 *
 * What a client sends is published to the topic of its URL, which the connection knows: `topic` comes out empty and is
 * filled in there. Nothing but messages is shown: there is no place in the stream for anything else. Errors are told by
 * close codes.
 */
#include "protocol/dialect.h"
#include "protocol/writer.h"

static enum reply_error raw_parse(struct span body, bool text, size_t *at, char *scratch, struct command *command)
{
    (void)scratch;
    *at = body.size;
    *command = (struct command){
        .verb = COMMAND_PUBLISH,
        .payload = body,
        .kind = text ? PAYLOAD_TEXT : PAYLOAD_BINARY,
    };
    return REPLY_OK;
}

static size_t raw_encode(const struct reply *reply, char *out, size_t room)
{
    if (reply->kind != REPLY_KIND_MESSAGE)
        return 0;
    struct writer writer = {.out = out, .room = room};
    writer_put(&writer, reply->payload);
    return writer.size;
}

static bool raw_is_text(const struct reply *reply)
{
    return reply->payload_kind != PAYLOAD_BINARY;
}

const struct dialect dialect_raw = {
    .id = DIALECT_RAW,
    .name = "raw",
    .parse = raw_parse,
    .encode = raw_encode,
    .is_text = raw_is_text,
};
