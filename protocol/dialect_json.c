/*
 * dialect_json: one JSON object a text frame, for browsers and for people (subprotocol shoal.v1.json).
 *
 * Reading takes two steps: the members that we know are collected into a table of raw values (the text is checked to
 * its end on the way, other members are ignored), then the op takes from the table what it needs. A client's mistake is
 * told with its id, so the id is read before anything else is judged.
 *
 *      what is wrong                                             error
 *      a binary frame, not one object, not valid JSON            message_invalid
 *      a field that we know occurs twice in one object           field_invalid
 *      an id that is no number or string of at most 64 bytes     field_invalid, without an id
 *      an op that we don't know                                  op_unknown
 *      what the op needs is missing, or of the wrong form        field_missing, field_invalid
 *      an empty topic, a key of more than 128 bytes              topic_invalid, key_too_long
 *
 * Whether a topic may be used is not decided here: command.topic may be any other text.
 *
 * `data` is published verbatim, byte for byte, as JSON. `data_base64` publishes any bytes; it is the mirror image of
 * how binary messages are shown. Text that was published elsewhere is shown as a JSON string.
 */
#include <assert.h>

#include "protocol/base64.h"
#include "protocol/dialect.h"
#include "protocol/json.h"
#include "protocol/topic.h"
#include "protocol/writer.h"

#define COMMAND_ID_BYTES_MAX 64
#define KEY_BYTES_MAX        128

/*
 * Reading
 */

enum field { OP, ID, TOPIC, FROM, DATA, DATA_BASE64, KEY, AGAIN, TOKEN, FIELD_COUNT };
enum position_field { EPOCH, OFFSET, POSITIONS, SINCE_MS, POSITION_FIELD_COUNT };

static const struct span field_names[FIELD_COUNT] = {
    [OP] = SPAN_LITERAL("op"),     [ID] = SPAN_LITERAL("id"),       [TOPIC] = SPAN_LITERAL("topic"),
    [FROM] = SPAN_LITERAL("from"), [DATA] = SPAN_LITERAL("data"),   [DATA_BASE64] = SPAN_LITERAL("data_base64"),
    [KEY] = SPAN_LITERAL("key"),   [AGAIN] = SPAN_LITERAL("again"), [TOKEN] = SPAN_LITERAL("token"),
};

static const struct span position_field_names[POSITION_FIELD_COUNT] = {
    [EPOCH] = SPAN_LITERAL("epoch"),
    [OFFSET] = SPAN_LITERAL("offset"),
    [POSITIONS] = SPAN_LITERAL("positions"),
    [SINCE_MS] = SPAN_LITERAL("since_ms"),
};

struct parser {
    struct json_value fields[FIELD_COUNT];
    char *scratch; /* where the next decoded string goes */
    char *scratch_end;
    struct command *command;
};

/* The field of a key, or `count`. */
static size_t field_of(struct span key, const struct span *names, size_t count)
{
    size_t field = 0;
    while (field < count && !json_string_is(key, names[field]))
        field++;
    return field;
}

/*
 * Collects the members of an object that have a name. One that occurs twice is an error, and counts as not given: which
 * one was meant is not ours to guess.
 */
static enum reply_error fields_collect(struct span object, const struct span *names, size_t count,
                                       struct json_value *fields)
{
    struct json_member member;
    uint32_t seen = 0;
    bool twice = false;
    size_t at = 0;
    enum json_walk walk;
    while ((walk = json_object_next(object, &at, &member)) == JSON_MEMBER) {
        size_t field = field_of(member.key, names, count);
        if (field == count)
            continue;
        bool again = seen >> field & 1;
        fields[field] = again ? (struct json_value){0} : member.value;
        seen |= UINT32_C(1) << field;
        twice |= again;
    }
    if (walk == JSON_INVALID)
        return REPLY_MESSAGE_INVALID;
    return twice ? REPLY_FIELD_INVALID : REPLY_OK;
}

static enum reply_error id_take(struct parser *parser)
{
    const struct json_value *id = &parser->fields[ID];
    if (id->type == JSON_NONE)
        return REPLY_OK;
    if ((id->type != JSON_NUMBER && id->type != JSON_STRING) || id->raw.size > COMMAND_ID_BYTES_MAX)
        return REPLY_FIELD_INVALID;
    parser->command->id = id->raw;
    return REPLY_OK;
}

/* The value of a string that must be there. What is decoded moves the scratch on: it holds as much as the body does. */
static enum reply_error string_take(struct parser *parser, enum field field, struct span *text)
{
    const struct json_value *value = &parser->fields[field];
    if (value->type == JSON_NONE)
        return REPLY_FIELD_MISSING;
    if (value->type != JSON_STRING)
        return REPLY_FIELD_INVALID;
    bool fits = json_string_read(value->raw, parser->scratch, (size_t)(parser->scratch_end - parser->scratch), text);
    assert(fits);
    (void)fits;
    if (text->data == parser->scratch)
        parser->scratch += text->size;
    return REPLY_OK;
}

static enum reply_error topic_take(struct parser *parser)
{
    enum reply_error error = string_take(parser, TOPIC, &parser->command->topic);
    if (error == REPLY_OK && parser->command->topic.size == 0)
        return REPLY_TOPIC_INVALID;
    return error;
}

static bool u64_read(const struct json_value *value, uint64_t *number)
{
    return value->type == JSON_NUMBER && json_u64_read(value->raw, number);
}

/* {"epoch":E,"offset":N}, out of the members of an object. */
static enum reply_error position_take(const struct json_value *fields, uint64_t *epoch, uint64_t *offset)
{
    char digits[EPOCH_TEXT_SIZE];
    struct span text;
    if (fields[EPOCH].type == JSON_NONE || fields[OFFSET].type == JSON_NONE)
        return REPLY_FIELD_MISSING;
    if (fields[EPOCH].type != JSON_STRING || !json_string_read(fields[EPOCH].raw, digits, sizeof digits, &text) ||
        !epoch_read(text, epoch) || !u64_read(&fields[OFFSET], offset))
        return REPLY_FIELD_INVALID;
    return REPLY_OK;
}

/* The same of one topic among those of a filter: who only follows the filter may not know the epoch (0: not told). */
static enum reply_error filter_position_take(const struct json_value *fields, uint64_t *epoch, uint64_t *offset)
{
    *epoch = 0;
    if (fields[EPOCH].type != JSON_NONE)
        return position_take(fields, epoch, offset);
    if (fields[OFFSET].type == JSON_NONE)
        return REPLY_FIELD_MISSING;
    return u64_read(&fields[OFFSET], offset) ? REPLY_OK : REPLY_FIELD_INVALID;
}

/* TOPIC:{"epoch":E,"offset":N}. The topic is decoded to `scratch` if it has to be (TOPIC_BYTES_MAX). */
static enum reply_error position_member_read(const struct json_member *member, char *scratch, struct span *topic,
                                             uint64_t *epoch, uint64_t *offset)
{
    struct json_value fields[POSITION_FIELD_COUNT] = {0};
    if (!json_string_read(member->key, scratch, TOPIC_BYTES_MAX, topic) || topic_name_check(*topic) != TOPIC_OK)
        return REPLY_TOPIC_INVALID;
    if (member->value.type != JSON_OBJECT)
        return REPLY_FIELD_INVALID;
    enum reply_error error = fields_collect(member->value.raw, position_field_names, POSITION_FIELD_COUNT, fields);
    return error == REPLY_OK ? filter_position_take(fields, epoch, offset) : error;
}

/* Checked here as a whole, so that who walks them later meets no error. */
static enum reply_error positions_check(struct span positions)
{
    char scratch[TOPIC_BYTES_MAX];
    struct json_member member;
    struct span topic;
    uint64_t epoch, offset;
    enum reply_error error = REPLY_OK;
    for (size_t at = 0; error == REPLY_OK && json_object_next(positions, &at, &member) == JSON_MEMBER;)
        error = position_member_read(&member, scratch, &topic, &epoch, &offset);
    return error;
}

static bool json_next_position(struct span positions, size_t *at, char *scratch, struct span *topic, uint64_t *epoch,
                               uint64_t *offset)
{
    struct json_member member;
    return json_object_next(positions, at, &member) == JSON_MEMBER &&
           position_member_read(&member, scratch, topic, epoch, offset) == REPLY_OK;
}

static enum reply_error from_positions_take(const struct json_value *fields, struct from *from)
{
    from->kind = FROM_POSITIONS;
    if (fields[SINCE_MS].type == JSON_NONE)
        return REPLY_FIELD_MISSING;
    if (fields[POSITIONS].type != JSON_OBJECT || !u64_read(&fields[SINCE_MS], &from->since_ms))
        return REPLY_FIELD_INVALID;
    from->positions = fields[POSITIONS].raw;
    return positions_check(from->positions);
}

static enum reply_error from_object_take(struct span object, struct from *from)
{
    struct json_value fields[POSITION_FIELD_COUNT] = {0};
    enum reply_error error = fields_collect(object, position_field_names, POSITION_FIELD_COUNT, fields);
    if (error != REPLY_OK)
        return error;
    bool of_filter = fields[POSITIONS].type != JSON_NONE || fields[SINCE_MS].type != JSON_NONE;
    bool of_topic = fields[EPOCH].type != JSON_NONE || fields[OFFSET].type != JSON_NONE;
    if (of_filter && of_topic)
        return REPLY_FIELD_INVALID;
    if (of_filter)
        return fields[POSITIONS].type == JSON_NONE ? REPLY_FIELD_MISSING : from_positions_take(fields, from);
    from->kind = FROM_POSITION;
    return position_take(fields, &from->epoch, &from->offset);
}

static enum reply_error from_take(const struct json_value *value, struct from *from)
{
    from->kind = FROM_NEW;
    if (value->type == JSON_NONE)
        return REPLY_OK;
    if (value->type == JSON_OBJECT)
        return from_object_take(value->raw, from);
    if (value->type != JSON_STRING)
        return REPLY_FIELD_INVALID;
    if (json_string_is(value->raw, SPAN_LITERAL("last"))) {
        from->kind = FROM_LAST;
        return REPLY_OK;
    }
    return json_string_is(value->raw, SPAN_LITERAL("new")) ? REPLY_OK : REPLY_FIELD_INVALID;
}

static enum reply_error data_base64_take(struct parser *parser)
{
    char *out = parser->scratch;
    struct span text;
    size_t size;
    enum reply_error error = string_take(parser, DATA_BASE64, &text);
    if (error != REPLY_OK)
        return error;
    if (!base64_read(text, out, &size))
        return REPLY_FIELD_INVALID;
    parser->scratch = out + size;
    parser->command->payload = (struct span){out, size};
    parser->command->kind = PAYLOAD_BINARY;
    return REPLY_OK;
}

static enum reply_error data_take(struct parser *parser)
{
    const struct json_value *data = &parser->fields[DATA];
    if (data->type == JSON_NONE)
        return data_base64_take(parser);
    if (parser->fields[DATA_BASE64].type != JSON_NONE)
        return REPLY_FIELD_INVALID;
    parser->command->payload = data->raw;
    parser->command->kind = PAYLOAD_JSON;
    return REPLY_OK;
}

/* An empty key would read as none: whoever sends one means something else. */
static enum reply_error key_take(struct parser *parser)
{
    struct span *key = &parser->command->key;
    if (parser->fields[KEY].type == JSON_NONE)
        return REPLY_OK;
    enum reply_error error = string_take(parser, KEY, key);
    if (error != REPLY_OK)
        return error;
    if (key->size == 0)
        return REPLY_FIELD_INVALID;
    return key->size > KEY_BYTES_MAX ? REPLY_KEY_TOO_LONG : REPLY_OK;
}

static enum reply_error again_take(struct parser *parser)
{
    const struct json_value *again = &parser->fields[AGAIN];
    if (again->type == JSON_NONE)
        return REPLY_OK;
    if (again->type != JSON_TRUE && again->type != JSON_FALSE)
        return REPLY_FIELD_INVALID;
    parser->command->again = again->type == JSON_TRUE;
    return parser->command->again && parser->command->key.size == 0 ? REPLY_FIELD_MISSING : REPLY_OK;
}

static enum reply_error subscribe_parse(struct parser *parser)
{
    enum reply_error error = topic_take(parser);
    return error == REPLY_OK ? from_take(&parser->fields[FROM], &parser->command->from) : error;
}

static enum reply_error publish_parse(struct parser *parser)
{
    enum reply_error error = topic_take(parser);
    if (error == REPLY_OK)
        error = data_take(parser);
    if (error == REPLY_OK)
        error = key_take(parser);
    return error == REPLY_OK ? again_take(parser) : error;
}

static enum reply_error auth_parse(struct parser *parser)
{
    enum reply_error error = string_take(parser, TOKEN, &parser->command->token);
    return error == REPLY_OK && parser->command->token.size == 0 ? REPLY_FIELD_INVALID : error;
}

static enum reply_error ping_parse(struct parser *parser)
{
    (void)parser;
    return REPLY_OK;
}

static const struct {
    struct span name;
    enum command_verb verb;
    enum reply_error (*parse)(struct parser *parser);
} ops[] = {
    {SPAN_LITERAL("publish"), COMMAND_PUBLISH, publish_parse},
    {SPAN_LITERAL("subscribe"), COMMAND_SUBSCRIBE, subscribe_parse},
    {SPAN_LITERAL("unsubscribe"), COMMAND_UNSUBSCRIBE, topic_take},
    {SPAN_LITERAL("ping"), COMMAND_PING, ping_parse},
    {SPAN_LITERAL("auth"), COMMAND_AUTH, auth_parse},
};

static enum reply_error op_parse(struct parser *parser)
{
    const struct json_value *op = &parser->fields[OP];
    if (op->type == JSON_NONE)
        return REPLY_FIELD_MISSING;
    if (op->type != JSON_STRING)
        return REPLY_FIELD_INVALID;
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        if (json_string_is(op->raw, ops[i].name)) {
            parser->command->verb = ops[i].verb;
            return ops[i].parse(parser);
        }
    }
    return REPLY_OP_UNKNOWN;
}

static enum reply_error json_parse(struct span body, bool text, size_t *at, char *scratch, struct command *command)
{
    *at = body.size;
    *command = (struct command){0};
    if (!text || body.size == 0)
        return REPLY_MESSAGE_INVALID;
    struct parser parser = {.scratch = scratch, .scratch_end = scratch + body.size, .command = command};
    enum reply_error form = fields_collect(body, field_names, FIELD_COUNT, parser.fields);
    enum reply_error id = id_take(&parser);
    if (form != REPLY_OK)
        return form;
    return id == REPLY_OK ? op_parse(&parser) : id;
}

/*
 * Writing
 */

/* `name` with its comma, quotes and colon: ",\"offset\":". */
#define field_u64(writer, name, value)    (writer_literal(writer, name), writer_u64(writer, value))
#define field_string(writer, name, value) (writer_literal(writer, name), writer_json_string(writer, value))

static void field_bool(struct writer *writer, struct span name, bool value)
{
    writer_put(writer, name);
    writer_put(writer, value ? SPAN_LITERAL("true") : SPAN_LITERAL("false"));
}

static void field_epoch(struct writer *writer, uint64_t epoch)
{
    writer_literal(writer, ",\"epoch\":\"");
    writer_epoch(writer, epoch);
    writer_literal(writer, "\"");
}

static void field_instance(struct writer *writer, uint64_t instance)
{
    writer_literal(writer, ",\"instance\":\"");
    writer_epoch(writer, instance);
    writer_literal(writer, "\"");
}

static void field_federation(struct writer *writer, uint64_t federation)
{
    if (federation == 0)
        return;
    writer_literal(writer, ",\"federation\":\"");
    writer_epoch(writer, federation);
    writer_literal(writer, "\"");
}

static void field_id(struct writer *writer, struct span id)
{
    if (id.size == 0)
        return;
    writer_literal(writer, ",\"id\":");
    writer_put(writer, id);
}

static void field_time(struct writer *writer, uint64_t time_ms)
{
    if (time_ms != 0)
        field_u64(writer, ",\"time_ms\":", time_ms);
}

static void hello_write(struct writer *writer, const struct reply *reply)
{
    writer_literal(writer, "{\"op\":\"hello\"");
    field_string(writer, ",\"server\":", reply->server);
    field_string(writer, ",\"node\":", reply->node);
    field_string(writer, ",\"session\":", reply->session);
    field_instance(writer, reply->instance);
    field_federation(writer, reply->federation);
    field_u64(writer, ",\"limits\":{\"payload_bytes_max\":", reply->payload_bytes_max);
    field_u64(writer, ",\"subscriptions_max\":", reply->subscriptions_max);
    field_u64(writer, ",\"heartbeat_interval_ms\":", reply->heartbeat_interval_ms);
    field_u64(writer, ",\"idempotency_ms\":", reply->idempotency_ms);
    writer_literal(writer, "}");
    field_time(writer, reply->time_ms);
}

static void ok_write(struct writer *writer, const struct reply *reply)
{
    writer_literal(writer, "{\"op\":\"ok\"");
    field_id(writer, reply->id);
    if (reply->has_position) {
        field_epoch(writer, reply->epoch);
        field_u64(writer, ",\"offset\":", reply->offset);
    }
    if (reply->has_recovered)
        field_bool(writer, SPAN_LITERAL(",\"recovered\":"), reply->recovered);
    field_time(writer, reply->time_ms);
}

static void ack_write(struct writer *writer, const struct reply *reply)
{
    writer_literal(writer, "{\"op\":\"ok\"");
    field_id(writer, reply->id);
    field_epoch(writer, reply->epoch);
    field_u64(writer, ",\"offset\":", reply->offset);
}

static void error_write(struct writer *writer, const struct reply *reply)
{
    const char *code = reply_error_code(reply->error), *message = reply_error_message(reply->error);
    writer_literal(writer, "{\"op\":\"error\"");
    field_id(writer, reply->id);
    field_string(writer, ",\"code\":", ((struct span){code, strlen(code)}));
    field_string(writer, ",\"message\":", ((struct span){message, strlen(message)}));
    field_bool(writer, SPAN_LITERAL(",\"retry\":"), reply_error_retry(reply->error));
}

static void pong_write(struct writer *writer, const struct reply *reply)
{
    writer_literal(writer, "{\"op\":\"pong\"");
    field_id(writer, reply->id);
    field_time(writer, reply->time_ms);
}

static void payload_write(struct writer *writer, const struct reply *reply)
{
    switch (reply->payload_kind) {
    case PAYLOAD_JSON:
        writer_literal(writer, ",\"data\":");
        writer_put(writer, reply->payload);
        return;
    case PAYLOAD_TEXT:
        field_string(writer, ",\"data\":", reply->payload);
        return;
    case PAYLOAD_BINARY:
        writer_literal(writer, ",\"data_base64\":\"");
        writer_base64(writer, reply->payload);
        writer_literal(writer, "\"");
        return;
    }
    assert(!"a kind of the enum");
}

static void message_write(struct writer *writer, const struct reply *reply)
{
    writer_literal(writer, "{\"op\":\"message\"");
    field_string(writer, ",\"topic\":", reply->topic);
    field_u64(writer, ",\"offset\":", reply->offset);
    payload_write(writer, reply);
}

static void gap_write(struct writer *writer, const struct reply *reply)
{
    const char *reason = gap_reason_name(reply->reason);
    writer_literal(writer, "{\"op\":\"gap\"");
    field_string(writer, ",\"topic\":", reply->topic);
    field_u64(writer, ",\"from\":", reply->from_offset);
    field_u64(writer, ",\"to\":", reply->to_offset);
    field_string(writer, ",\"reason\":", ((struct span){reason, strlen(reason)}));
    field_epoch(writer, reply->epoch);
}

static size_t json_encode(const struct reply *reply, char *out, size_t room)
{
    static void (*const writes[])(struct writer *, const struct reply *) = {
        [REPLY_KIND_HELLO] = hello_write, [REPLY_KIND_OK] = ok_write,     [REPLY_KIND_ACK] = ack_write,
        [REPLY_KIND_ERROR] = error_write, [REPLY_KIND_PONG] = pong_write, [REPLY_KIND_MESSAGE] = message_write,
        [REPLY_KIND_GAP] = gap_write,
    };
    struct writer writer = {.out = out, .room = room};
    assert(reply->kind < sizeof writes / sizeof writes[0]);
    writes[reply->kind](&writer, reply);
    writer_literal(&writer, "}");
    return writer.size;
}

static bool json_is_text(const struct reply *reply)
{
    (void)reply;
    return true;
}

const struct dialect dialect_json = {
    .id = DIALECT_JSON,
    .name = "json",
    .subprotocol = "shoal.v1.json",
    .parse = json_parse,
    .encode = json_encode,
    .is_text = json_is_text,
    .next_position = json_next_position,
};
