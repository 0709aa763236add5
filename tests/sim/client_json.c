/* client_json: see client_json.h. */
#include "client_json.h"

#include <stdarg.h>

#include "base/check.h"
#include "protocol/base64.h"
#include "protocol/dialect.h"
#include "protocol/json.h"
#include "record.h"

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

/* A string without its quotes. */
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

static enum reply_error error_of(struct span code)
{
    int error = 1;
    while (error < REPLY_ERROR_COUNT &&
           !span_equal(code, (struct span){reply_error_code(error), strlen(reply_error_code(error))})) {
        error++;
    }
    return (enum reply_error)error;
}

static enum gap_reason reason_of(struct span name)
{
    return span_equal(name, SPAN_LITERAL("slow"))      ? GAP_SLOW
           : span_equal(name, SPAN_LITERAL("expired")) ? GAP_EXPIRED
                                                       : GAP_EPOCH;
}

/* False: an op that is none of the broker's. */
static bool kind_of(struct span op, enum reply_kind *kind)
{
    static const struct {
        struct span op;
        enum reply_kind kind;
    } kinds[] = {
        {SPAN_LITERAL("message"), REPLY_KIND_MESSAGE}, {SPAN_LITERAL("ok"), REPLY_KIND_OK},
        {SPAN_LITERAL("error"), REPLY_KIND_ERROR},     {SPAN_LITERAL("gap"), REPLY_KIND_GAP},
        {SPAN_LITERAL("pong"), REPLY_KIND_PONG},       {SPAN_LITERAL("hello"), REPLY_KIND_HELLO},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (span_equal(op, kinds[i].op)) {
            *kind = kinds[i].kind;
            return true;
        }
    }
    return false;
}

static void payload_read_fields(const struct json_value fields[FIELD_COUNT], struct reply *reply)
{
    static char decoded[PAYLOAD_ROOM];
    size_t size;
    reply->payload = fields[DATA].raw;
    reply->payload_kind = fields[DATA].type == JSON_OBJECT ? PAYLOAD_JSON : PAYLOAD_TEXT;
    if (fields[DATA].type == JSON_STRING &&
        !json_string_read(fields[DATA].raw, decoded, sizeof decoded, &reply->payload)) {
        reply->payload = SPAN_NONE;
    }
    if (fields[DATA_BASE64].type == JSON_STRING) {
        struct span text = text_of(&fields[DATA_BASE64]);
        bool valid = text.size < sizeof decoded && base64_read(text, decoded, &size);
        reply->payload = valid ? (struct span){decoded, size} : SPAN_NONE;
        reply->payload_kind = PAYLOAD_BINARY;
    }
}

void json_payload_read(struct span object, struct reply *reply)
{
    struct json_value fields[FIELD_COUNT];
    *reply = (struct reply){.payload = SPAN_NONE};
    if (fields_read(object, fields)) {
        payload_read_fields(fields, reply);
    }
}

bool json_reply_read(struct span object, struct reply *reply, uint32_t *id)
{
    struct json_value fields[FIELD_COUNT];
    *reply = (struct reply){.count = 1};
    if (!fields_read(object, fields) || !kind_of(text_of(&fields[OP]), &reply->kind)) {
        return false;
    }
    *id = (uint32_t)number_of(&fields[ID]);
    reply->error = error_of(text_of(&fields[CODE]));
    reply->topic = text_of(&fields[TOPIC]);
    reply->epoch = epoch_of(&fields[EPOCH]);
    reply->offset = number_of(&fields[OFFSET]);
    reply->has_recovered = fields[RECOVERED].type != JSON_NONE;
    reply->recovered = fields[RECOVERED].type == JSON_TRUE;
    reply->from_offset = number_of(&fields[FROM]);
    reply->to_offset = number_of(&fields[TO]);
    reply->reason = reason_of(text_of(&fields[REASON]));
    reply->time_ms = number_of(&fields[TIME]);
    if (reply->kind == REPLY_KIND_MESSAGE) {
        payload_read_fields(fields, reply);
    }
    return true;
}

/* --- writing --- */

__attribute__((format(printf, 2, 3))) static void put(struct buffer *out, const char *format, ...)
{
    static char text[2 * PAYLOAD_ROOM];
    va_list values;
    va_start(values, format);
    int size = vsnprintf(text, sizeof text, format, values);
    va_end(values);
    CHECK(size >= 0 && (size_t)size < sizeof text && buffer_add(out, text, (size_t)size));
}

static void put_payload(const struct command *command, struct buffer *out)
{
    static char base64[2 * PAYLOAD_ROOM];
    if (command->kind == PAYLOAD_BINARY) {
        base64_write(base64, command->payload);
        put(out, ",\"data_base64\":\"%.*s\"", (int)base64_size(command->payload.size), base64);
    } else {
        put(out, ",\"data\":%.*s", (int)command->payload.size, command->payload.data);
    }
    if (command->key.size) {
        put(out, ",\"key\":\"%.*s\"", (int)command->key.size, command->key.data);
    }
}

static void put_from(const struct from *from, struct buffer *out)
{
    if (from->kind == FROM_LAST) {
        put(out, ",\"from\":\"last\"");
    } else if (from->kind == FROM_POSITION) {
        put(out, ",\"from\":{\"epoch\":\"%016llx\",\"offset\":%llu}", (unsigned long long)from->epoch,
            (unsigned long long)from->offset);
    } else if (from->kind == FROM_POSITIONS) {
        put(out, ",\"from\":{\"positions\":%.*s,\"since_ms\":%llu}", (int)from->positions.size, from->positions.data,
            (unsigned long long)from->since_ms);
    }
}

void json_command_write(const struct command *command, uint32_t id, struct buffer *out)
{
    static const char *const ops[] = {
        [COMMAND_SUBSCRIBE] = "subscribe", [COMMAND_UNSUBSCRIBE] = "unsubscribe",
        [COMMAND_PUBLISH] = "publish",     [COMMAND_AUTH] = "auth",
        [COMMAND_PING] = "ping",
    };
    put(out, "{\"op\":\"%s\",\"id\":%u", ops[command->verb], id);
    if (command->topic.size) {
        put(out, ",\"topic\":\"%.*s\"", (int)command->topic.size, command->topic.data);
    }
    if (command->verb == COMMAND_PUBLISH) {
        put_payload(command, out);
    } else if (command->verb == COMMAND_SUBSCRIBE) {
        put_from(&command->from, out);
    }
    put(out, "}");
}
