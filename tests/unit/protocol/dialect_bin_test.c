/*
 * dialect_bin_test: the golden vectors (tests/golden/bin_v1.json), each written and read; records one behind the other;
 * what is wrong with a record, and what becomes of those behind it; acknowledgements that are merged.
 */
#include "protocol/dialect_bin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <jansson.h>

#define BYTES_MAX 4096

static struct span of(const char *text)
{
    return (struct span){text, strlen(text)};
}

static const char *id_of(uint32_t id)
{
    static char bytes[BIN_ID_SIZE];
    bin_id_write(id, bytes);
    return bytes;
}

static struct span id_span(uint32_t id)
{
    return (struct span){id_of(id), BIN_ID_SIZE};
}

/* --- the golden vectors --- */

static struct span hex_read(const json_t *vector, const char *field, char *out)
{
    const char *hex = json_string_value(json_object_get(vector, field));
    size_t size = hex ? strlen(hex) / 2 : 0;
    assert_true(size <= BYTES_MAX);
    for (size_t i = 0; i < size; i++)
        out[i] = (char)strtoul((char[]){hex[2 * i], hex[2 * i + 1], 0}, NULL, 16);
    return (struct span){out, size};
}

static struct span text_of(const json_t *vector, const char *field)
{
    const json_t *value = json_object_get(vector, field);
    return value ? (struct span){json_string_value(value), json_string_length(value)} : SPAN_NONE;
}

static uint64_t number_of(const json_t *vector, const char *field)
{
    return (uint64_t)json_integer_value(json_object_get(vector, field));
}

static uint64_t hex64_of(const json_t *vector, const char *field)
{
    uint64_t value = 0;
    struct span text = text_of(vector, field);
    assert_true(text.size == 0 || epoch_read(text, &value));
    return value;
}

/* Which of the choices, that end with a NULL, the field names; the first if it is not there. */
static int choice_of(const json_t *vector, const char *field, const char *const *choices)
{
    struct span text = text_of(vector, field);
    int choice = 0;
    while (text.size && choices[choice] && !span_equal(text, of(choices[choice])))
        choice++;
    assert_non_null(choices[choice]);
    return choice;
}

static const char *const kinds[] = {"binary", "text", "json", NULL};
static const char *const froms[] = {"new", "last", "position", "positions", NULL};
static const char *const reasons[] = {"slow", "expired", "epoch", NULL};

static struct span positions_of(const json_t *vector, char *out)
{
    size_t size = 0, index;
    const json_t *position;
    json_array_foreach(json_object_get(vector, "positions"), index, position)
    {
        size += bin_position_write(text_of(position, "topic"), hex64_of(position, "epoch"),
                                   number_of(position, "offset"), out + size, BYTES_MAX - size);
    }
    return (struct span){out, size};
}

/* Writes the command of a vector, and reads it again. */
static void command_check(const json_t *vector, enum command_verb verb, struct span golden)
{
    static char payload[BYTES_MAX], positions[BYTES_MAX];
    char written[BYTES_MAX];
    struct command command = {
        .verb = verb,
        .id = id_span((uint32_t)number_of(vector, "id")),
        .topic = text_of(vector, "topic"),
        .payload = hex_read(vector, "payload", payload),
        .kind = (enum payload_kind)choice_of(vector, "kind", kinds),
        .key = text_of(vector, "key"),
        .again = json_is_true(json_object_get(vector, "again")),
        .token = text_of(vector, "token"),
        .from = {.kind = (enum from_kind)choice_of(vector, "from", froms),
                 .epoch = hex64_of(vector, "epoch"),
                 .offset = number_of(vector, "offset"),
                 .since_ms = number_of(vector, "since_ms"),
                 .positions = positions_of(vector, positions)},
    };
    assert_int_equal(bin_command_write(&command, NULL, 0), golden.size);
    assert_int_equal(bin_command_write(&command, written, sizeof written), golden.size);
    assert_memory_equal(written, golden.data, golden.size);
    struct command read;
    size_t at = 0;
    assert_int_equal(dialect_bin.parse(golden, false, &at, NULL, &read), REPLY_OK);
    assert_int_equal(at, golden.size);
    assert_int_equal(read.verb, command.verb);
    assert_int_equal(bin_id_read(read.id), number_of(vector, "id"));
    assert_true(span_equal(read.topic, command.topic));
    assert_true(span_equal(read.payload, command.payload));
    assert_int_equal(read.kind, command.kind);
    assert_true(span_equal(read.key, command.key));
    assert_int_equal(read.again, command.again);
    assert_true(span_equal(read.token, command.token));
    assert_int_equal(read.from.kind, command.from.kind);
    assert_true(read.from.epoch == command.from.epoch && read.from.offset == command.from.offset);
    assert_true(read.from.since_ms == command.from.since_ms);
    assert_true(span_equal(read.from.positions, command.from.positions));
}

static enum reply_error error_named(struct span code)
{
    for (int error = 1; code.size && error < REPLY_ERROR_COUNT; error++)
        if (span_equal(code, of(reply_error_code((enum reply_error)error))))
            return (enum reply_error)error;
    return REPLY_OK;
}

/* Writes the reply of a vector, and reads it again: what is read is written as the same bytes. */
static void reply_check(const json_t *vector, enum reply_kind kind, struct span golden)
{
    static char payload[BYTES_MAX];
    char written[BYTES_MAX];
    struct reply reply = {
        .kind = kind,
        .id = id_span((uint32_t)number_of(vector, "id")),
        .has_position = json_object_get(vector, "offset") != NULL,
        .has_recovered = json_object_get(vector, "recovered") != NULL,
        .recovered = json_is_true(json_object_get(vector, "recovered")),
        .error = error_named(text_of(vector, "code")),
        .payload_kind = (enum payload_kind)choice_of(vector, "kind", kinds),
        .reason = (enum gap_reason)choice_of(vector, "reason", reasons),
        .epoch = hex64_of(vector, "epoch"),
        .offset = number_of(vector, "offset"),
        .from_offset = number_of(vector, "from"),
        .to_offset = number_of(vector, "to"),
        .count = (uint32_t)number_of(vector, "count"),
        .time_ms = number_of(vector, "time_ms"),
        .topic = text_of(vector, "topic"),
        .payload = hex_read(vector, "payload", payload),
        .server = text_of(vector, "server"),
        .node = text_of(vector, "node"),
        .session = text_of(vector, "session"),
        .instance = hex64_of(vector, "instance"),
        .federation = hex64_of(vector, "federation"),
        .payload_bytes_max = (uint32_t)number_of(vector, "payload_bytes_max"),
        .subscriptions_max = (uint32_t)number_of(vector, "subscriptions_max"),
        .heartbeat_interval_ms = (uint32_t)number_of(vector, "heartbeat_interval_ms"),
        .idempotency_ms = (uint32_t)number_of(vector, "idempotency_ms"),
    };
    assert_int_equal(dialect_bin.encode(&reply, NULL, 0), golden.size);
    assert_int_equal(dialect_bin.encode(&reply, written, sizeof written), golden.size);
    assert_memory_equal(written, golden.data, golden.size);
    assert_false(dialect_bin.is_text(&reply));
    struct reply read;
    size_t at = 0;
    assert_int_equal(bin_reply_read(golden, &at, &read), BIN_READ_REPLY);
    assert_int_equal(read.kind, kind);
    assert_int_equal(bin_reply_read(golden, &at, &read), BIN_READ_END);
    at = 0;
    bin_reply_read(golden, &at, &read);
    memset(written, 0, sizeof written);
    assert_int_equal(dialect_bin.encode(&read, written, sizeof written), golden.size);
    assert_memory_equal(written, golden.data, golden.size);
}

static void golden_vectors(void **state)
{
    (void)state;
    static const char *const commands[] = {"subscribe", "unsubscribe", "publish", "auth", "ping"};
    static const char *const replies[] = {"hello", "ok", "ack", "error", "pong", "message", "gap"};
    json_t *golden = json_load_file("golden/bin_v1.json", 0, NULL);
    assert_non_null(golden);
    const json_t *vector;
    size_t index;
    json_array_foreach(json_object_get(golden, "vectors"), index, vector)
    {
        char bytes[BYTES_MAX];
        struct span record = hex_read(vector, "hex", bytes), op = text_of(vector, "op");
        for (int verb = 0; verb < 5; verb++)
            if (span_equal(op, of(commands[verb])))
                command_check(vector, (enum command_verb)verb, record);
        for (int kind = 0; kind < 7; kind++)
            if (span_equal(op, of(replies[kind])))
                reply_check(vector, (enum reply_kind)kind, record);
    }
    assert_true(index > 20);
    json_decref(golden);
}

/* --- records --- */

static void again_is_a_bit_of_what_is_written(void **state)
{
    (void)state;
    static char payload[1000];
    char first[BYTES_MAX], again[BYTES_MAX];
    struct command command = {.verb = COMMAND_PUBLISH,
                              .id = id_span(7),
                              .topic = of("a"),
                              .key = of("k"),
                              .payload = {payload, sizeof payload}}; /* its size takes two bytes */
    size_t size = bin_command_write(&command, first, sizeof first);
    command.again = true;
    assert_int_equal(bin_command_write(&command, again, sizeof again), size);
    bin_publish_again(first, size, true);
    assert_memory_equal(first, again, size);
    bin_publish_again(first, size, false);
    size_t at = 0;
    assert_int_equal(dialect_bin.parse((struct span){first, size}, false, &at, NULL, &command), REPLY_OK);
    assert_false(command.again);
}

static size_t ping_add(uint32_t id, char *out)
{
    struct command ping = {.verb = COMMAND_PING, .id = id_span(id)};
    return bin_command_write(&ping, out, BYTES_MAX);
}

static void many_in_a_message(void **state)
{
    (void)state;
    char bytes[BYTES_MAX];
    size_t size = 0, at = 0;
    for (uint32_t id = 1; id <= 100; id++)
        size += ping_add(id, bytes + size);
    for (uint32_t id = 1; id <= 100; id++) {
        struct command command;
        assert_true(at < size);
        assert_int_equal(dialect_bin.parse((struct span){bytes, size}, false, &at, NULL, &command), REPLY_OK);
        assert_int_equal(bin_id_read(command.id), id);
    }
    assert_int_equal(at, size);
}

/* A record that is whole but wrong: its error, its id, and the one behind it is read. */
static void record_is(enum reply_error error, uint32_t id, const char *record, size_t size)
{
    char bytes[BYTES_MAX];
    memcpy(bytes, record, size);
    struct span message = {bytes, size + ping_add(77, bytes + size)};
    struct command command;
    size_t at = 0;
    assert_int_equal(dialect_bin.parse(message, false, &at, NULL, &command), error);
    assert_int_equal(at, size);
    assert_int_equal(command.id.size ? bin_id_read(command.id) : 0, id);
    assert_int_equal(dialect_bin.parse(message, false, &at, NULL, &command), REPLY_OK);
    assert_int_equal(bin_id_read(command.id), 77);
}

#define RECORD_IS(error, id, literal) record_is(error, id, literal, sizeof(literal) - 1)

static void wrong_records(void **state)
{
    (void)state;
    RECORD_IS(REPLY_FIELD_MISSING, 0, "\x05\x00");
    RECORD_IS(REPLY_FIELD_MISSING, 0, "\x05\x03\x01\x00\x00");
    RECORD_IS(REPLY_FIELD_INVALID, 0, "\x05\x04\x00\x00\x00\x00");
    RECORD_IS(REPLY_OP_UNKNOWN, 1, "\x06\x04\x01\x00\x00\x00");
    RECORD_IS(REPLY_OP_UNKNOWN, 1, "\x00\x04\x01\x00\x00\x00");
    RECORD_IS(REPLY_OP_UNKNOWN, 1, "\x81\x04\x01\x00\x00\x00");
    RECORD_IS(REPLY_FIELD_MISSING, 2, "\x03\x08\x02\x00\x00\x00\x80\x01\x00\x61"); /* again, without a key */
    RECORD_IS(REPLY_FIELD_INVALID, 2, "\x03\x08\x02\x00\x00\x00\x83\x01\x00\x61");
    RECORD_IS(REPLY_FIELD_MISSING, 2, "\x04\x04\x02\x00\x00\x00");         /* auth without a token */
    RECORD_IS(REPLY_TOPIC_INVALID, 2, "\x02\x04\x02\x00\x00\x00");         /* unsubscribe from nothing */
    RECORD_IS(REPLY_FIELD_MISSING, 2, "\x01\x04\x02\x00\x00\x00");         /* subscribe: no from */
    RECORD_IS(REPLY_TOPIC_INVALID, 2, "\x01\x06\x02\x00\x00\x00\x00\x00"); /* an empty topic */
    RECORD_IS(REPLY_FIELD_MISSING, 2,
              "\x01\x07\x02\x00\x00\x00\x00\x02"
              "a"); /* a topic that is cut */
    RECORD_IS(REPLY_FIELD_INVALID, 2,
              "\x01\x07\x02\x00\x00\x00\x04\x01"
              "a"); /* from 4 */
    RECORD_IS(REPLY_FIELD_MISSING, 2,
              "\x01\x07\x02\x00\x00\x00\x02\x01"
              "a"); /* no position */
    RECORD_IS(REPLY_FIELD_MISSING, 2, "\x03\x06\x02\x00\x00\x00\x00\x01");
    RECORD_IS(REPLY_FIELD_MISSING, 2,
              "\x03\x08\x02\x00\x00\x00\x00\x01\x01"
              "a"); /* a key that is cut */
    RECORD_IS(REPLY_FIELD_INVALID, 2,
              "\x03\x08\x02\x00\x00\x00\x03\x01\x00"
              "a"); /* kind 3 */
    RECORD_IS(REPLY_MESSAGE_INVALID, 2,
              "\x03\x09\x02\x00\x00\x00\x01\x01\x00"
              "a\xFF");
    RECORD_IS(REPLY_MESSAGE_INVALID, 2,
              "\x03\x09\x02\x00\x00\x00\x02\x01\x00"
              "a{");
    RECORD_IS(REPLY_OK, 9, "\x05\x06\x09\x00\x00\x00zz"); /* what is behind the fields is for later versions */
}

static void key_too_long(void **state)
{
    (void)state;
    char record[BYTES_MAX] = {3, (char)0x89, 1, 2, 0, 0, 0, 0, 1, (char)129, 'a'};
    record_is(REPLY_KEY_TOO_LONG, 2, record, 3 + 137);
}

/* Where the next record begins can't be known: the rest of the message is given up. */
static void broken_messages(void **state)
{
    (void)state;
    static const struct span messages[] = {
        {"", 0},
        SPAN_LITERAL("\x05"),
        SPAN_LITERAL("\x05\x80"),
        SPAN_LITERAL("\x05\x05\x01\x00\x00\x00"),
        SPAN_LITERAL("\x05\x84\x80\x80\x80\x00\x01\x00\x00\x00"), /* a size of 5 bytes */
        SPAN_LITERAL("\x05\xFF\xFF\xFF\x7F"),
    };
    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
        struct command command;
        size_t at = 0;
        assert_int_equal(dialect_bin.parse(messages[i], false, &at, NULL, &command), REPLY_MESSAGE_INVALID);
        assert_int_equal(at, messages[i].size);
        struct reply reply;
        at = 0;
        assert_int_equal(bin_reply_read(messages[i], &at, &reply), i == 0 ? BIN_READ_END : BIN_READ_INVALID);
    }
    struct command command;
    size_t at = 0;
    assert_int_equal(dialect_bin.parse(SPAN_LITERAL("\x05\x04\x01\x00\x00\x00"), true, &at, NULL, &command),
                     REPLY_MESSAGE_INVALID);
}

/* A client passes over what it does not know, and refuses what is cut. */
static void replies_of_later_versions(void **state)
{
    (void)state;
    static const struct span message = SPAN_LITERAL("\x88\x02zz"
                                                    "\x01\x00"
                                                    "\x87\x0D\x09\0\0\0\x01\0\0\0\0\0\0\0z");
    struct reply reply;
    size_t at = 0;
    assert_int_equal(bin_reply_read(message, &at, &reply), BIN_READ_REPLY);
    assert_int_equal(reply.kind, REPLY_KIND_PONG);
    assert_int_equal(reply.time_ms, 1);
    assert_int_equal(bin_reply_read(message, &at, &reply), BIN_READ_END);
    at = 0;
    assert_int_equal(bin_reply_read(SPAN_LITERAL("\x87\x04\x09\0\0\0"), &at, &reply), BIN_READ_INVALID);
    at = 0;
    static const struct span unknown = SPAN_LITERAL("\x84\x0A\x01\0\0\0\xE7\x03\x00\x02xx");
    assert_int_equal(bin_reply_read(unknown, &at, &reply), BIN_READ_REPLY);
    assert_int_equal(reply.error, REPLY_ERROR_COUNT);
}

/* --- acknowledgements --- */

static struct reply ack_of(uint32_t id, uint64_t epoch, uint64_t offset)
{
    return (struct reply){.kind = REPLY_KIND_ACK, .id = id_span(id), .count = 1, .epoch = epoch, .offset = offset};
}

static void acknowledgements_merge(void **state)
{
    (void)state;
    char last[BYTES_MAX];
    struct reply reply = ack_of(10, 1, 100);
    size_t size = dialect_bin.encode(&reply, last, sizeof last);
    for (uint32_t i = 1; i < 1000; i++) {
        reply = ack_of(10 + i, 1, 100 + i);
        assert_true(dialect_bin.merge(&reply, last, size));
    }
    size_t at = 0;
    assert_int_equal(bin_reply_read((struct span){last, size}, &at, &reply), BIN_READ_REPLY);
    assert_int_equal(bin_id_read(reply.id), 10);
    assert_int_equal(reply.count, 1000);
    assert_int_equal(reply.offset, 100);
    reply = ack_of(1011, 1, 1100); /* another id */
    assert_false(dialect_bin.merge(&reply, last, size));
    reply = ack_of(1010, 1, 1101); /* another offset */
    assert_false(dialect_bin.merge(&reply, last, size));
    reply = ack_of(1010, 2, 1100); /* another epoch */
    assert_false(dialect_bin.merge(&reply, last, size));
    reply = (struct reply){.kind = REPLY_KIND_OK, .id = id_span(1010), .epoch = 1, .offset = 1100};
    assert_false(dialect_bin.merge(&reply, last, size));
    size = dialect_bin.encode(&reply, last, sizeof last);
    reply = ack_of(1011, 1, 1101);
    assert_false(dialect_bin.merge(&reply, last, size));
}

static void positions_are_checked(void **state)
{
    (void)state;
    char bytes[BYTES_MAX], positions[256];
    size_t size = bin_position_write(of("a/+"), 1, 2, positions, sizeof positions);
    struct command command = {.verb = COMMAND_SUBSCRIBE,
                              .id = id_span(2),
                              .topic = of("#"),
                              .from = {.kind = FROM_POSITIONS, .positions = {positions, size}}};
    record_is(REPLY_TOPIC_INVALID, 2, bytes, bin_command_write(&command, bytes, sizeof bytes));
    size = bin_position_write(of("a"), 1, 2, positions, sizeof positions);
    command.id = id_span(2);
    command.from.positions.size = size - 1;
    record_is(REPLY_FIELD_MISSING, 2, bytes, bin_command_write(&command, bytes, sizeof bytes));
    struct span topic;
    uint64_t epoch, offset;
    size_t at = 0;
    assert_true(dialect_bin.next_position((struct span){positions, size}, &at, NULL, &topic, &epoch, &offset));
    assert_true(span_equal(topic, of("a")) && epoch == 1 && offset == 2);
    assert_false(dialect_bin.next_position((struct span){positions, size}, &at, NULL, &topic, &epoch, &offset));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_vectors),
        cmocka_unit_test(many_in_a_message),
        cmocka_unit_test(again_is_a_bit_of_what_is_written),
        cmocka_unit_test(wrong_records),
        cmocka_unit_test(key_too_long),
        cmocka_unit_test(broken_messages),
        cmocka_unit_test(replies_of_later_versions),
        cmocka_unit_test(acknowledgements_merge),
        cmocka_unit_test(positions_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
