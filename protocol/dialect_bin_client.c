/*
 * dialect_bin_client: the client's half of the binary dialect: commands are written, replies are read. The tables of
 * the records stand in dialect_bin.c.
 */
#include <assert.h>

#include "protocol/bin_record.h"

static void put_id(struct writer *writer, struct span id)
{
    put_u32(writer, bin_id_read(id));
}

static void put_from(struct writer *writer, const struct from *from)
{
    if (from->kind == FROM_POSITION) {
        put_u64(writer, from->epoch);
        put_u64(writer, from->offset);
    } else if (from->kind == FROM_POSITIONS) {
        put_u64(writer, from->since_ms);
        writer_put(writer, from->positions);
    }
}

static void command_write(struct writer *writer, const void *what)
{
    const struct command *command = what;
    put_id(writer, command->id);
    switch (command->verb) {
    case COMMAND_SUBSCRIBE:
        put_u8(writer, command->from.kind);
        put_u8(writer, command->topic.size);
        writer_put(writer, command->topic);
        put_from(writer, &command->from);
        break;
    case COMMAND_UNSUBSCRIBE:
        writer_put(writer, command->topic);
        break;
    case COMMAND_PUBLISH:
        put_u8(writer, command->kind | (command->again ? PUBLISH_AGAIN : 0));
        put_u8(writer, command->topic.size);
        put_u8(writer, command->key.size);
        writer_put(writer, command->topic);
        writer_put(writer, command->key);
        writer_put(writer, command->payload);
        break;
    case COMMAND_AUTH:
        writer_put(writer, command->token);
        break;
    case COMMAND_PING:
        break;
    }
}

size_t bin_command_write(const struct command *command, char *out, size_t room)
{
    static const enum bin_type types[] = {
        [COMMAND_SUBSCRIBE] = BIN_SUBSCRIBE, [COMMAND_UNSUBSCRIBE] = BIN_UNSUBSCRIBE,
        [COMMAND_PUBLISH] = BIN_PUBLISH,     [COMMAND_AUTH] = BIN_AUTH,
        [COMMAND_PING] = BIN_PING,
    };
    assert(bin_id_read(command->id) != 0);
    assert(command->topic.size <= BIN_TEXT_BYTES_MAX && command->key.size <= BIN_KEY_BYTES_MAX);
    return record_write(types[command->verb], command_write, command, out, room);
}

void bin_publish_again(char *record, size_t size, bool again)
{
    struct span body;
    uint8_t type;
    size_t at = 0;
    bool whole = record_next((struct span){record, size}, &at, &type, &body);
    assert(whole && type == BIN_PUBLISH);
    (void)whole;
    char *kind = record + (body.data - record) + BIN_ID_SIZE;
    *kind = (char)(again ? *kind | PUBLISH_AGAIN : *kind & ~PUBLISH_AGAIN);
}

size_t bin_position_write(struct span topic, uint64_t epoch, uint64_t offset, char *out, size_t room)
{
    struct writer writer = {.out = out, .room = room};
    put_u8(&writer, topic.size);
    writer_put(&writer, topic);
    put_u64(&writer, epoch);
    put_u64(&writer, offset);
    return writer.size;
}

static void hello_read(struct reader *reader, struct reply *reply)
{
    take(reader, 1); /* the version: later ones only add */
    uint8_t server = take_u8(reader), node = take_u8(reader), session = take_u8(reader);
    reply->kind = REPLY_KIND_HELLO;
    reply->payload_bytes_max = take_u32(reader);
    reply->subscriptions_max = take_u32(reader);
    reply->heartbeat_interval_ms = take_u32(reader);
    reply->idempotency_ms = take_u32(reader);
    reply->time_ms = take_u64(reader);
    reply->instance = take_u64(reader);
    reply->server = take(reader, server);
    reply->node = take(reader, node);
    reply->session = take(reader, session);
    reply->federation = reader->left.size >= sizeof reply->federation ? take_u64(reader) : 0;
}

static void ok_read(struct reader *reader, struct reply *reply)
{
    reply->kind = REPLY_KIND_OK;
    reply->id = take(reader, BIN_ID_SIZE);
    uint8_t flags = take_u8(reader);
    reply->has_position = flags & OK_HAS_POSITION;
    reply->has_recovered = flags & OK_HAS_RECOVERED;
    reply->recovered = flags & OK_RECOVERED;
    reply->epoch = take_u64(reader);
    reply->offset = take_u64(reader);
    reply->time_ms = take_u64(reader);
}

static void ack_read(struct reader *reader, struct reply *reply)
{
    reply->kind = REPLY_KIND_ACK;
    reply->id = take(reader, BIN_ID_SIZE);
    reply->count = take_u32(reader);
    reply->epoch = take_u64(reader);
    reply->offset = take_u64(reader);
    reader->failed |= reply->count == 0;
}

static void error_read(struct reader *reader, struct reply *reply)
{
    reply->kind = REPLY_KIND_ERROR;
    reply->id = take(reader, BIN_ID_SIZE);
    uint16_t number = take_u16(reader);
    reply->error = number < REPLY_ERROR_COUNT ? number : REPLY_ERROR_COUNT;
    take(reader, 1); /* the flags: known by the number */
    take(reader, take_u8(reader));
    reader->failed |= number == REPLY_OK;
}

static void pong_read(struct reader *reader, struct reply *reply)
{
    reply->kind = REPLY_KIND_PONG;
    reply->id = take(reader, BIN_ID_SIZE);
    reply->time_ms = take_u64(reader);
}

static void message_read(struct reader *reader, struct reply *reply)
{
    reply->kind = REPLY_KIND_MESSAGE;
    reply->epoch = take_u64(reader);
    reply->offset = take_u64(reader);
    reply->time_ms = take_u64(reader);
    uint8_t kind = take_u8(reader);
    reply->payload_kind = kind;
    reply->topic = take_topic(reader);
    reply->payload = take_rest(reader);
    reader->failed |= kind > PAYLOAD_JSON;
}

static void gap_read(struct reader *reader, struct reply *reply)
{
    reply->kind = REPLY_KIND_GAP;
    reply->epoch = take_u64(reader);
    reply->from_offset = take_u64(reader);
    reply->to_offset = take_u64(reader);
    uint8_t reason = take_u8(reader);
    reply->reason = reason <= GAP_EPOCH ? reason : GAP_SLOW;
    reply->topic = take_topic(reader);
}

static void (*const reply_reads[])(struct reader *, struct reply *) = {
    [BIN_HELLO - BIN_HELLO] = hello_read,     [BIN_OK - BIN_HELLO] = ok_read,   [BIN_ACK - BIN_HELLO] = ack_read,
    [BIN_ERROR - BIN_HELLO] = error_read,     [BIN_GAP - BIN_HELLO] = gap_read, [BIN_PONG - BIN_HELLO] = pong_read,
    [BIN_MESSAGE - BIN_HELLO] = message_read,
};

enum bin_read bin_reply_read(struct span body, size_t *at, struct reply *reply)
{
    while (*at < body.size) {
        uint8_t type;
        struct reader reader = {0};
        if (!record_next(body, at, &type, &reader.left))
            return BIN_READ_INVALID;
        if (type < BIN_HELLO || type > BIN_PONG)
            continue;
        *reply = (struct reply){0};
        reply_reads[type - BIN_HELLO](&reader, reply);
        return reader.failed ? BIN_READ_INVALID : BIN_READ_REPLY;
    }
    return BIN_READ_END;
}
