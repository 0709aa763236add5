/*
 * dialect_bin: see dialect_bin.h. The bodies of the records, offsets from the body's begin; "rest" is up to its end:
 *
 *      SUBSCRIBE    0 id 4   4 from 1   5 topic size 1   6 topic   …, by from:
 *                   2 (position): epoch 8, offset 8
 *                   3 (positions): since_ms 8, then elements to the end: topic size 1, topic, epoch 8, offset 8
 *      UNSUBSCRIBE  0 id 4   4 topic rest
 *      PUBLISH      0 id 4   4 kind 1 (0x80: again)   5 topic size 1   6 key size 1   7 topic   … key
 *                   … payload rest
 *      AUTH         0 id 4   4 token rest
 *      PING         0 id 4
 *
 *      HELLO        0 version 1   1 server size 1   2 node size 1   3 session size 1   4 payload_bytes_max 4
 *                   8 subscriptions_max 4   12 heartbeat_interval_ms 4   16 idempotency_ms 4   20 time_ms 8
 *                   28 instance 8   36 server   … node   … session   … federation 8, if there is one
 *      OK           0 id 4   4 flags 1 (1: position, 2: recovered is told, 4: recovered)   5 epoch 8   13 offset 8
 *                   21 time_ms 8
 *      ACK          0 first id 4   4 count 4   8 epoch 8   16 first offset 8
 *      ERROR        0 id 4   4 number 2   6 flags 1 (1: retry)   7 code size 1   8 code   … message rest
 *      MESSAGE      0 epoch 8   8 offset 8   16 time_ms 8   24 kind 1   25 topic size 1   26 topic   … payload rest
 *      GAP          0 epoch 8   8 from 8   16 to 8   24 reason 1   25 topic size 1   26 topic
 *      PONG         0 id 4   4 time_ms 8
 *
 * An ACK has always the same size, so the next publish's can be added to one that waits to be sent by changing its
 * count in place (merge). A client's mistake inside of a record is told with the record's id, and the records behind
 * it are worked; if where the next record begins can't be known, the rest of the message is given up.
 */
#include "protocol/dialect_bin.h"

#include <assert.h>

#include "protocol/bin_record.h"
#include "protocol/json.h"
#include "protocol/topic.h"
#include "protocol/utf8.h"

/* The numbers of these enums are on the wire: they may be added to, never changed. */
_Static_assert(PAYLOAD_BINARY == 0 && PAYLOAD_TEXT == 1 && PAYLOAD_JSON == 2, "kinds are on the wire");
_Static_assert(FROM_NEW == 0 && FROM_LAST == 1 && FROM_POSITION == 2 && FROM_POSITIONS == 3, "from is on the wire");
_Static_assert(GAP_SLOW == 0 && GAP_EXPIRED == 1 && GAP_EPOCH == 2, "reasons are on the wire");
_Static_assert(REPLY_MESSAGE_INVALID == 1 && REPLY_BUSY == 20 && REPLY_UNSUPPORTED == 22, "errors are on the wire");

/*
 * The broker reads
 */

static bool position_take(struct span positions, size_t *at, struct span *topic, uint64_t *epoch, uint64_t *offset)
{
    struct reader reader = {.left = {positions.data + *at, positions.size - *at}};
    *topic = take_topic(&reader);
    *epoch = take_u64(&reader);
    *offset = take_u64(&reader);
    *at = positions.size - reader.left.size;
    return !reader.failed;
}

static bool bin_next_position(struct span positions, size_t *at, char *scratch, struct span *topic, uint64_t *epoch,
                              uint64_t *offset)
{
    (void)scratch;
    return *at < positions.size && position_take(positions, at, topic, epoch, offset);
}

/* Checked here as a whole, so that who walks them later meets no error. */
static enum reply_error positions_check(struct span positions)
{
    struct span topic;
    uint64_t epoch, offset;
    for (size_t at = 0; at < positions.size;) {
        if (!position_take(positions, &at, &topic, &epoch, &offset))
            return REPLY_FIELD_MISSING;
        if (topic_name_check(topic) != TOPIC_OK)
            return REPLY_TOPIC_INVALID;
    }
    return REPLY_OK;
}

static enum reply_error from_parse(struct reader *reader, uint8_t kind, struct from *from)
{
    if (kind > FROM_POSITIONS)
        return REPLY_FIELD_INVALID;
    from->kind = kind;
    if (kind == FROM_POSITION) {
        from->epoch = take_u64(reader);
        from->offset = take_u64(reader);
    } else if (kind == FROM_POSITIONS) {
        from->since_ms = take_u64(reader);
        from->positions = take_rest(reader);
        return positions_check(from->positions);
    }
    return REPLY_OK;
}

static enum reply_error topic_judge(const struct reader *reader, struct span topic)
{
    if (reader->failed)
        return REPLY_FIELD_MISSING;
    return topic.size == 0 ? REPLY_TOPIC_INVALID : REPLY_OK;
}

static enum reply_error subscribe_parse(struct reader *reader, struct command *command)
{
    uint8_t kind = take_u8(reader);
    command->topic = take_topic(reader);
    enum reply_error error = topic_judge(reader, command->topic);
    return error == REPLY_OK ? from_parse(reader, kind, &command->from) : error;
}

static enum reply_error unsubscribe_parse(struct reader *reader, struct command *command)
{
    command->topic = take_rest(reader);
    return topic_judge(reader, command->topic);
}

/* Others are shown text and JSON as it stands, so it has to be what it says it is. */
static bool payload_is_valid(struct span payload, enum payload_kind kind)
{
    switch (kind) {
    case PAYLOAD_BINARY:
        return true;
    case PAYLOAD_TEXT:
        return utf8_valid(payload.data, payload.size);
    case PAYLOAD_JSON:
        return json_valid(payload);
    }
    return false;
}

static enum reply_error publish_parse(struct reader *reader, struct command *command)
{
    uint8_t kind = take_u8(reader);
    uint8_t topic_size = take_u8(reader);
    uint8_t key_size = take_u8(reader);
    command->topic = take(reader, topic_size);
    command->key = take(reader, key_size);
    command->payload = take_rest(reader);
    enum reply_error error = topic_judge(reader, command->topic);
    if (error != REPLY_OK)
        return error;
    command->again = kind & PUBLISH_AGAIN;
    kind &= (uint8_t)~PUBLISH_AGAIN;
    if (kind > PAYLOAD_JSON)
        return REPLY_FIELD_INVALID;
    if (command->again && key_size == 0)
        return REPLY_FIELD_MISSING;
    if (key_size > BIN_KEY_BYTES_MAX)
        return REPLY_KEY_TOO_LONG;
    command->kind = kind;
    return payload_is_valid(command->payload, command->kind) ? REPLY_OK : REPLY_MESSAGE_INVALID;
}

static enum reply_error auth_parse(struct reader *reader, struct command *command)
{
    command->token = take_rest(reader);
    return command->token.size == 0 ? REPLY_FIELD_MISSING : REPLY_OK;
}

static enum reply_error ping_parse(struct reader *reader, struct command *command)
{
    (void)reader;
    (void)command;
    return REPLY_OK;
}

static const struct {
    enum command_verb verb;
    enum reply_error (*parse)(struct reader *reader, struct command *command);
} commands[] = {
    [BIN_SUBSCRIBE] = {COMMAND_SUBSCRIBE, subscribe_parse},
    [BIN_UNSUBSCRIBE] = {COMMAND_UNSUBSCRIBE, unsubscribe_parse},
    [BIN_PUBLISH] = {COMMAND_PUBLISH, publish_parse},
    [BIN_AUTH] = {COMMAND_AUTH, auth_parse},
    [BIN_PING] = {COMMAND_PING, ping_parse},
};

static enum reply_error bin_parse(struct span body, bool text, size_t *at, char *scratch, struct command *command)
{
    (void)scratch;
    *command = (struct command){0};
    uint8_t type;
    struct reader reader = {0};
    if (text || *at >= body.size || !record_next(body, at, &type, &reader.left)) {
        *at = body.size;
        return REPLY_MESSAGE_INVALID;
    }
    struct span id = take(&reader, BIN_ID_SIZE);
    if (bin_id_read(id) == 0)
        return reader.failed ? REPLY_FIELD_MISSING : REPLY_FIELD_INVALID;
    command->id = id;
    if (type >= sizeof commands / sizeof commands[0] || !commands[type].parse)
        return REPLY_OP_UNKNOWN;
    command->verb = commands[type].verb;
    enum reply_error error = commands[type].parse(&reader, command);
    return error == REPLY_OK && reader.failed ? REPLY_FIELD_MISSING : error;
}

/*
 * The broker writes
 */

static void put_id(struct writer *writer, struct span id)
{
    put_u32(writer, bin_id_read(id));
}

/* Its size in one byte; what is longer is cut. */
static struct span text_of(struct span text)
{
    return (struct span){text.data, text.size < BIN_TEXT_BYTES_MAX ? text.size : BIN_TEXT_BYTES_MAX};
}

static void hello_write(struct writer *writer, const void *what)
{
    const struct reply *reply = what;
    struct span server = text_of(reply->server), node = text_of(reply->node), session = text_of(reply->session);
    put_u8(writer, BIN_VERSION);
    put_u8(writer, server.size);
    put_u8(writer, node.size);
    put_u8(writer, session.size);
    put_u32(writer, reply->payload_bytes_max);
    put_u32(writer, reply->subscriptions_max);
    put_u32(writer, reply->heartbeat_interval_ms);
    put_u32(writer, reply->idempotency_ms);
    put_u64(writer, reply->time_ms);
    put_u64(writer, reply->instance);
    writer_put(writer, server);
    writer_put(writer, node);
    writer_put(writer, session);
    if (reply->federation)
        put_u64(writer, reply->federation);
}

static void ok_write(struct writer *writer, const void *what)
{
    const struct reply *reply = what;
    put_id(writer, reply->id);
    put_u8(writer, (reply->has_position ? OK_HAS_POSITION : 0) | (reply->has_recovered ? OK_HAS_RECOVERED : 0) |
                       (reply->recovered ? OK_RECOVERED : 0));
    put_u64(writer, reply->epoch);
    put_u64(writer, reply->offset);
    put_u64(writer, reply->time_ms);
}

enum { ACK_ID = 0, ACK_COUNT = 4, ACK_EPOCH = 8, ACK_OFFSET = 16, ACK_BODY_SIZE = 24, ACK_SIZE = 2 + ACK_BODY_SIZE };

static void ack_write(struct writer *writer, const void *what)
{
    const struct reply *reply = what;
    put_id(writer, reply->id);
    put_u32(writer, reply->count);
    put_u64(writer, reply->epoch);
    put_u64(writer, reply->offset);
}

static void error_write(struct writer *writer, const void *what)
{
    const struct reply *reply = what;
    const char *code = reply_error_code(reply->error), *message = reply_error_message(reply->error);
    put_id(writer, reply->id);
    put_u16(writer, reply->error);
    put_u8(writer, reply_error_retry(reply->error) ? ERROR_RETRY : 0);
    put_u8(writer, strlen(code));
    writer_put(writer, (struct span){code, strlen(code)});
    writer_put(writer, (struct span){message, strlen(message)});
}

static void pong_write(struct writer *writer, const void *what)
{
    const struct reply *reply = what;
    put_id(writer, reply->id);
    put_u64(writer, reply->time_ms);
}

static void message_write(struct writer *writer, const void *what)
{
    const struct reply *reply = what;
    put_u64(writer, reply->epoch);
    put_u64(writer, reply->offset);
    put_u64(writer, reply->time_ms);
    put_u8(writer, reply->payload_kind);
    put_u8(writer, reply->topic.size);
    writer_put(writer, reply->topic);
    writer_put(writer, reply->payload);
}

static void gap_write(struct writer *writer, const void *what)
{
    const struct reply *reply = what;
    put_u64(writer, reply->epoch);
    put_u64(writer, reply->from_offset);
    put_u64(writer, reply->to_offset);
    put_u8(writer, reply->reason);
    put_u8(writer, reply->topic.size);
    writer_put(writer, reply->topic);
}

static size_t bin_encode(const struct reply *reply, char *out, size_t room)
{
    static const struct {
        enum bin_type type;
        void (*write)(struct writer *, const void *);
    } records[] = {
        [REPLY_KIND_HELLO] = {BIN_HELLO, hello_write}, [REPLY_KIND_OK] = {BIN_OK, ok_write},
        [REPLY_KIND_ACK] = {BIN_ACK, ack_write},       [REPLY_KIND_ERROR] = {BIN_ERROR, error_write},
        [REPLY_KIND_PONG] = {BIN_PONG, pong_write},    [REPLY_KIND_MESSAGE] = {BIN_MESSAGE, message_write},
        [REPLY_KIND_GAP] = {BIN_GAP, gap_write},
    };
    assert(reply->kind < sizeof records / sizeof records[0]);
    assert(reply->topic.size <= BIN_TEXT_BYTES_MAX);
    return record_write(records[reply->kind].type, records[reply->kind].write, reply, out, room);
}

/* Both acknowledge one publish or more; the new one must go on where the last one ends. */
static bool bin_merge(const struct reply *reply, char *last, size_t size)
{
    if (reply->kind != REPLY_KIND_ACK || size != ACK_SIZE || (uint8_t)last[0] != BIN_ACK)
        return false;
    char *body = last + ACK_SIZE - ACK_BODY_SIZE;
    uint32_t id = (uint32_t)number_load(body + ACK_ID, 4);
    uint32_t count = (uint32_t)number_load(body + ACK_COUNT, 4);
    bool follows = id + count == bin_id_read(reply->id) && number_load(body + ACK_EPOCH, 8) == reply->epoch &&
                   number_load(body + ACK_OFFSET, 8) + count == reply->offset && count <= UINT32_MAX - reply->count;
    if (follows)
        number_store(body + ACK_COUNT, 4, count + reply->count);
    return follows;
}

static bool bin_is_text(const struct reply *reply)
{
    (void)reply;
    return false;
}

const struct dialect dialect_bin = {
    .id = DIALECT_BIN,
    .name = "bin",
    .subprotocol = BIN_SUBPROTOCOL,
    .parse = bin_parse,
    .encode = bin_encode,
    .merge = bin_merge,
    .is_text = bin_is_text,
    .next_position = bin_next_position,
};

void bin_id_write(uint32_t id, char out[BIN_ID_SIZE])
{
    number_store(out, BIN_ID_SIZE, id);
}

uint32_t bin_id_read(struct span id)
{
    return id.size == BIN_ID_SIZE ? (uint32_t)number_load(id.data, BIN_ID_SIZE) : 0;
}
