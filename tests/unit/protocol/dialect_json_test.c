/*
 * dialect_json_test: every op and every way of getting it wrong, the exact bytes of every reply, and base64 both ways.
 * Each body that is parsed lies at the end of a buffer of exactly its size, and so does its scratch: the sanitizer sees
 * every byte too far.
 */
#include "protocol/dialect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "protocol/base64.h"
#include "protocol/json.h"
#include "protocol/topic.h"

static struct span of(const char *text)
{
    return (struct span){text, strlen(text)};
}

static struct command command;
static char *body, *scratch;

static enum reply_error parse_bytes(struct span text)
{
    free(body);
    free(scratch);
    body = malloc(text.size ? text.size : 1);
    scratch = malloc(text.size ? text.size : 1);
    if (text.size > 0)
        memcpy(body, text.data, text.size);
    size_t at = 0;
    return dialect_json.parse((struct span){body, text.size}, true, &at, scratch, &command);
}

static enum reply_error parse(const char *text)
{
    return parse_bytes(of(text));
}

static int buffers_free(void **state)
{
    (void)state;
    free(body);
    free(scratch);
    body = scratch = NULL;
    return 0;
}

#define assert_span(span, text) assert_true(span_equal(span, of(text)))

static void subscribe(void **state)
{
    (void)state;
    assert_int_equal(parse("{\"op\":\"subscribe\",\"id\":1,\"topic\":\"a/+\"}"), REPLY_OK);
    assert_int_equal(command.verb, COMMAND_SUBSCRIBE);
    assert_int_equal(command.from.kind, FROM_NEW);
    assert_span(command.id, "1");
    assert_span(command.topic, "a/+");
    assert_int_equal(parse("{\"op\":\"subscribe\",\"topic\":\"a\",\"from\":\"new\"}"), REPLY_OK);
    assert_int_equal(command.from.kind, FROM_NEW);
    assert_span(command.id, "");
    assert_int_equal(parse("{\"op\":\"subscribe\",\"topic\":\"a\",\"from\":\"last\"}"), REPLY_OK);
    assert_int_equal(command.from.kind, FROM_LAST);
    assert_int_equal(parse("{\"op\":\"subscribe\",\"topic\":\"a\",\"from\":{\"epoch\":\"00000000000000ff\",\"x\":1,"
                           "\"offset\":18446744073709551615}}"),
                     REPLY_OK);
    assert_int_equal(command.from.kind, FROM_POSITION);
    assert_true(command.from.epoch == 255 && command.from.offset == UINT64_MAX);
}

static void subscribe_with_positions(void **state)
{
    (void)state;
    assert_int_equal(parse("{\"op\":\"subscribe\",\"topic\":\"#\",\"from\":{\"since_ms\":1700000000000,\"positions\":"
                           "{\"a/b\":{\"epoch\":\"1\",\"offset\":2},\"\\u0063\" : {\"offset\":4,\"epoch\":\"3\"},"
                           "\"d\":{\"offset\":5}}}}"),
                     REPLY_OK);
    assert_int_equal(command.from.kind, FROM_POSITIONS);
    assert_true(command.from.since_ms == UINT64_C(1700000000000));
    char topic_scratch[256];
    struct span topic;
    uint64_t epoch, offset;
    size_t at = 0;
    assert_true(dialect_json.next_position(command.from.positions, &at, topic_scratch, &topic, &epoch, &offset));
    assert_span(topic, "a/b");
    assert_true(epoch == 1 && offset == 2);
    assert_true(dialect_json.next_position(command.from.positions, &at, topic_scratch, &topic, &epoch, &offset));
    assert_span(topic, "c");
    assert_true(epoch == 3 && offset == 4);
    assert_true(dialect_json.next_position(command.from.positions, &at, topic_scratch, &topic, &epoch, &offset));
    assert_span(topic, "d");
    assert_true(epoch == 0 && offset == 5); /* who only follows the filter need not know the epoch */
    assert_false(dialect_json.next_position(command.from.positions, &at, topic_scratch, &topic, &epoch, &offset));

    assert_int_equal(parse("{\"op\":\"subscribe\",\"topic\":\"#\",\"from\":{\"positions\":{},\"since_ms\":0}}"),
                     REPLY_OK);
    at = 0;
    assert_false(dialect_json.next_position(command.from.positions, &at, topic_scratch, &topic, &epoch, &offset));
}

static void from_of_wrong_form(void **state)
{
    (void)state;
    static const struct {
        const char *from;
        enum reply_error error;
    } cases[] = {
        {"null", REPLY_FIELD_INVALID},
        {"1", REPLY_FIELD_INVALID},
        {"\"first\"", REPLY_FIELD_INVALID},
        {"[]", REPLY_FIELD_INVALID},
        {"{}", REPLY_FIELD_MISSING},
        {"{\"epoch\":\"1\"}", REPLY_FIELD_MISSING},
        {"{\"offset\":1}", REPLY_FIELD_MISSING},
        {"{\"epoch\":1,\"offset\":1}", REPLY_FIELD_INVALID},
        {"{\"epoch\":\"\",\"offset\":1}", REPLY_FIELD_INVALID},
        {"{\"epoch\":\"x\",\"offset\":1}", REPLY_FIELD_INVALID},
        {"{\"epoch\":\"11111111111111111\",\"offset\":1}", REPLY_FIELD_INVALID},
        {"{\"epoch\":\"\\u0031\\u0031\\u0031\\u0031\\u0031\\u0031\\u0031\\u0031\\u0031\\u0031\\u0031\\u0031\\u0031"
         "\\u0031\\u0031\\u0031\\u0031\",\"offset\":1}",
         REPLY_FIELD_INVALID},
        {"{\"epoch\":\"1\",\"offset\":-1}", REPLY_FIELD_INVALID},
        {"{\"epoch\":\"1\",\"offset\":1.0}", REPLY_FIELD_INVALID},
        {"{\"epoch\":\"1\",\"offset\":\"1\"}", REPLY_FIELD_INVALID},
        {"{\"epoch\":\"1\",\"epoch\":\"1\",\"offset\":1}", REPLY_FIELD_INVALID},
        {"{\"positions\":{}}", REPLY_FIELD_MISSING},
        {"{\"since_ms\":1}", REPLY_FIELD_MISSING},
        {"{\"positions\":[],\"since_ms\":1}", REPLY_FIELD_INVALID},
        {"{\"positions\":{},\"since_ms\":\"1\"}", REPLY_FIELD_INVALID},
        {"{\"positions\":{},\"since_ms\":1,\"epoch\":\"1\",\"offset\":1}", REPLY_FIELD_INVALID},
        {"{\"positions\":{\"a\":1},\"since_ms\":1}", REPLY_FIELD_INVALID},
        {"{\"positions\":{\"a\":{\"epoch\":\"1\"}},\"since_ms\":1}", REPLY_FIELD_MISSING},
        {"{\"positions\":{\"a\":{\"epoch\":\"1\",\"offset\":\"2\"}},\"since_ms\":1}", REPLY_FIELD_INVALID},
        {"{\"positions\":{\"a\":{\"epoch\":\"1\",\"offset\":2},\"b\":{}},\"since_ms\":1}", REPLY_FIELD_MISSING},
        {"{\"positions\":{\"\":{\"epoch\":\"1\",\"offset\":2}},\"since_ms\":1}", REPLY_TOPIC_INVALID},
        {"{\"positions\":{\"a/#\":{\"epoch\":\"1\",\"offset\":2}},\"since_ms\":1}", REPLY_TOPIC_INVALID},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[512];
        snprintf(text, sizeof text, "{\"op\":\"subscribe\",\"id\":9,\"topic\":\"a\",\"from\":%s}", cases[i].from);
        enum reply_error error = parse(text);
        if (error != cases[i].error)
            fail_msg("%s gave %d", cases[i].from, error);
        assert_span(command.id, "9");
    }
}

/* A topic of any length whose every byte is an escape is decoded, or refused, within 256 bytes of scratch. */
static void escaped_topics_of_positions(void **state)
{
    (void)state;
    for (int size = 250; size <= 260; size++) {
        char topic[6 * 260 + 1], text[2048];
        for (int i = 0; i < size; i++)
            memcpy(topic + 6 * i, "\\u0061", 7);
        snprintf(text, sizeof text,
                 "{\"op\":\"subscribe\",\"topic\":\"#\",\"from\":{\"since_ms\":1,\"positions\":{\"%s\":"
                 "{\"epoch\":\"1\",\"offset\":1}}}}",
                 topic);
        assert_int_equal(parse(text), size <= TOPIC_BYTES_MAX ? REPLY_OK : REPLY_TOPIC_INVALID);
    }
}

static void unsubscribe_auth_ping(void **state)
{
    (void)state;
    assert_int_equal(parse("{\"op\":\"unsubscribe\",\"id\":\"two\",\"topic\":\"a\\/b\"}"), REPLY_OK);
    assert_int_equal(command.verb, COMMAND_UNSUBSCRIBE);
    assert_span(command.id, "\"two\"");
    assert_span(command.topic, "a/b");
    assert_int_equal(parse("{\"op\":\"auth\",\"id\":4,\"token\":\"x.y.z\"}"), REPLY_OK);
    assert_int_equal(command.verb, COMMAND_AUTH);
    assert_span(command.token, "x.y.z");
    assert_int_equal(parse("{\"op\":\"auth\"}"), REPLY_FIELD_MISSING);
    assert_int_equal(parse("{\"op\":\"auth\",\"token\":\"\"}"), REPLY_FIELD_INVALID);
    assert_int_equal(parse("{\"op\":\"auth\",\"token\":1}"), REPLY_FIELD_INVALID);
    assert_int_equal(parse(" {\"\\u006fp\" : \"p\\u0069ng\" , \"id\":-5e2 } "), REPLY_OK);
    assert_int_equal(command.verb, COMMAND_PING);
    assert_span(command.id, "-5e2");
}

static void publish(void **state)
{
    (void)state;
    assert_int_equal(
        parse("{\"op\":\"publish\",\"id\":3,\"topic\":\"a\",\"data\": {\"n\" : 1.50, \"n\":[ ] } ,\"key\":\"k\\n1\"}"),
        REPLY_OK);
    assert_int_equal(command.verb, COMMAND_PUBLISH);
    assert_int_equal(command.kind, PAYLOAD_JSON);
    assert_span(command.payload, "{\"n\" : 1.50, \"n\":[ ] }"); /* verbatim */
    assert_span(command.key, "k\n1");
    static const char *const values[] = {"null", "0", "\"text\"", "[]", "false", "123456789012345678901234567890.0"};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        char text[128];
        snprintf(text, sizeof text, "{\"op\":\"publish\",\"topic\":\"a\",\"data\":%s}", values[i]);
        assert_int_equal(parse(text), REPLY_OK);
        assert_span(command.payload, values[i]);
        assert_span(command.key, "");
    }
    assert_int_equal(parse("{\"op\":\"publish\",\"topic\":\"a\"}"), REPLY_FIELD_MISSING);
    assert_int_equal(parse("{\"op\":\"publish\",\"data\":1}"), REPLY_FIELD_MISSING);
    assert_int_equal(parse("{\"op\":\"publish\",\"topic\":1,\"data\":1}"), REPLY_FIELD_INVALID);
    assert_int_equal(parse("{\"op\":\"publish\",\"topic\":\"\",\"data\":1}"), REPLY_TOPIC_INVALID);
    assert_int_equal(parse("{\"op\":\"publish\",\"topic\":\"a\",\"data\":1,\"key\":1}"), REPLY_FIELD_INVALID);
    assert_int_equal(parse("{\"op\":\"publish\",\"topic\":\"a\",\"data\":1,\"key\":\"\"}"), REPLY_FIELD_INVALID);
}

static void publish_binary(void **state)
{
    (void)state;
    assert_int_equal(parse("{\"op\":\"publish\",\"topic\":\"a\",\"data_base64\":\"//4=\"}"), REPLY_OK);
    assert_int_equal(command.kind, PAYLOAD_BINARY);
    assert_span(command.payload, "\xFF\xFE");
    assert_int_equal(
        parse("{\"op\":\"publish\",\"topic\":\"\\u0061\",\"data_base64\":\"\\/\\/4=\",\"key\":\"\\u006b\"}"), REPLY_OK);
    assert_span(command.payload, "\xFF\xFE");
    assert_span(command.topic, "a");
    assert_span(command.key, "k");
    assert_int_equal(parse("{\"op\":\"publish\",\"topic\":\"a\",\"data_base64\":\"\"}"), REPLY_OK);
    assert_int_equal(command.payload.size, 0);
    static const char *const bad[] = {"\"A\"",    "\"AA\"",       "\"AAA\"",  "\"A===\"", "\"AB==\"", "\"AAB=\"",
                                      "\"AA=A\"", "\"AA==AAAA\"", "\"AAA-\"", "\"AAA \"", "\"====\"", "1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[128];
        snprintf(text, sizeof text, "{\"op\":\"publish\",\"topic\":\"a\",\"data_base64\":%s}", bad[i]);
        assert_int_equal(parse(text), REPLY_FIELD_INVALID);
    }
    assert_int_equal(parse("{\"op\":\"publish\",\"topic\":\"a\",\"data\":1,\"data_base64\":\"\"}"),
                     REPLY_FIELD_INVALID);
}

static void bounds_of_key_and_id(void **state)
{
    (void)state;
    for (int size = 126; size <= 130; size++) {
        char text[512];
        snprintf(text, sizeof text, "{\"op\":\"publish\",\"topic\":\"a\",\"data\":1,\"key\":\"%0*d\"}", size, 0);
        assert_int_equal(parse(text), size <= 128 ? REPLY_OK : REPLY_KEY_TOO_LONG);
    }
    assert_int_equal(parse("{\"op\":\"publish\",\"topic\":\"a\",\"data\":1,\"key\":\"k\",\"again\":true}"), REPLY_OK);
    assert_true(command.again);
    assert_int_equal(parse("{\"op\":\"publish\",\"topic\":\"a\",\"data\":1,\"again\":false}"), REPLY_OK);
    assert_false(command.again);
    assert_int_equal(parse("{\"op\":\"publish\",\"topic\":\"a\",\"data\":1,\"again\":true}"), REPLY_FIELD_MISSING);
    assert_int_equal(parse("{\"op\":\"publish\",\"topic\":\"a\",\"data\":1,\"key\":\"k\",\"again\":1}"),
                     REPLY_FIELD_INVALID);
    for (int size = 60; size <= 64; size++) {
        char text[512];
        snprintf(text, sizeof text, "{\"op\":\"ping\",\"id\":\"%0*d\"}", size, 0);
        assert_int_equal(parse(text), size + 2 <= 64 ? REPLY_OK : REPLY_FIELD_INVALID);
        assert_int_equal(command.id.size, size + 2 <= 64 ? size + 2 : 0);
    }
}

static void messages_of_wrong_form(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum reply_error error;
        const char *id;
    } cases[] = {
        {"", REPLY_MESSAGE_INVALID, ""},
        {"[]", REPLY_MESSAGE_INVALID, ""},
        {"\"ping\"", REPLY_MESSAGE_INVALID, ""},
        {"{\"op\":\"ping\"} {}", REPLY_MESSAGE_INVALID, ""},
        {"{\"op\":\"ping\",}", REPLY_MESSAGE_INVALID, ""},
        {"{\"id\":7,\"op\":\"ping\"", REPLY_MESSAGE_INVALID, "7"}, /* as far as it could be read */
        {"{\"op\":\"ping\",\"other\":[1,}", REPLY_MESSAGE_INVALID, ""},
        {"{}", REPLY_FIELD_MISSING, ""},
        {"{\"id\":1}", REPLY_FIELD_MISSING, "1"},
        {"{\"op\":1,\"id\":1}", REPLY_FIELD_INVALID, "1"},
        {"{\"op\":null}", REPLY_FIELD_INVALID, ""},
        {"{\"op\":\"PING\",\"id\":1}", REPLY_OP_UNKNOWN, "1"},
        {"{\"op\":\"\",\"id\":1}", REPLY_OP_UNKNOWN, "1"},
        {"{\"op\":\"ping\",\"id\":null}", REPLY_FIELD_INVALID, ""},
        {"{\"op\":\"ping\",\"id\":[1]}", REPLY_FIELD_INVALID, ""},
        {"{\"op\":\"ping\",\"id\":true}", REPLY_FIELD_INVALID, ""},
        {"{\"op\":\"ping\",\"id\":1,\"op\":\"ping\"}", REPLY_FIELD_INVALID, "1"},
        {"{\"op\":\"ping\",\"id\":1,\"id\":2}", REPLY_FIELD_INVALID, ""},
        {"{\"op\":\"ping\",\"id\":1,\"\\u0069d\":2,\"id\":3}", REPLY_FIELD_INVALID, ""},
        {"{\"op\":\"subscribe\",\"id\":1}", REPLY_FIELD_MISSING, "1"},
        {"{\"op\":\"subscribe\",\"id\":1,\"topic\":\"\"}", REPLY_TOPIC_INVALID, "1"},
        {"{\"op\":\"unsubscribe\",\"id\":1,\"topic\":[]}", REPLY_FIELD_INVALID, "1"},
        /* Unknown fields, even twice, and those of other ops are no business of ours. */
        {"{\"op\":\"ping\",\"x\":1,\"x\":2,\"\":{\"op\":1}}", REPLY_OK, ""},
        {"{\"op\":\"ping\",\"topic\":1,\"from\":2,\"key\":3}", REPLY_OK, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        enum reply_error error = parse(cases[i].text);
        if (error != cases[i].error || !span_equal(command.id, of(cases[i].id)))
            fail_msg("%s gave %d, id %.*s", cases[i].text, error, (int)command.id.size, command.id.data);
    }
    size_t at = 0;
    assert_int_equal(dialect_json.parse(SPAN_NONE, true, &at, NULL, &command), REPLY_MESSAGE_INVALID);
    assert_int_equal(dialect_json.parse(of("{\"op\":\"ping\"}"), false, &at, scratch, &command), REPLY_MESSAGE_INVALID);
    assert_int_equal(at, strlen("{\"op\":\"ping\"}"));
}

/* Wherever a message is cut off it is refused, and nothing beyond is read. */
static void cut_off_messages(void **state)
{
    (void)state;
    struct span whole = of("{\"op\":\"publish\",\"id\":\"\\u0031\",\"topic\":\"\\u0061/\xC3\xA9\",\"key\":\"\\n\","
                           "\"data_base64\":\"\\/\\/4=\",\"x\":[1.5e3,true,{\"y\":null}]}");
    assert_int_equal(parse_bytes(whole), REPLY_OK);
    for (size_t size = 0; size < whole.size; size++)
        assert_int_equal(parse_bytes((struct span){whole.data, size}), REPLY_MESSAGE_INVALID);
}

/* Also tries every smaller room: the size is the same, and no byte is written beyond. */
static void encodes_as(struct reply reply, const char *want)
{
    char out[1024];
    size_t size = strlen(want);
    assert_int_equal(dialect_json.encode(&reply, NULL, 0), size);
    for (size_t room = 0; room <= size; room++) {
        memset(out, '~', sizeof out);
        assert_int_equal(dialect_json.encode(&reply, out, room), size);
        for (size_t i = room; i < sizeof out; i++)
            assert_int_equal(out[i], '~');
    }
    assert_memory_equal(out, want, size);
    assert_true(json_valid((struct span){out, size}));
    assert_true(dialect_json.is_text(&reply));
}

static void replies(void **state)
{
    (void)state;
    encodes_as((struct reply){.kind = REPLY_KIND_HELLO,
                              .server = of("shoald/0.1.0"),
                              .node = of("n\"1"),
                              .session = of("s"),
                              .payload_bytes_max = 1,
                              .subscriptions_max = 2,
                              .heartbeat_interval_ms = 3,
                              .idempotency_ms = 5,
                              .instance = 0xFE,
                              .time_ms = 4},
               "{\"op\":\"hello\",\"server\":\"shoald/0.1.0\",\"node\":\"n\\\"1\",\"session\":\"s\","
               "\"instance\":\"00000000000000fe\",\"limits\":{\"payload_bytes_max\":1,\"subscriptions_max\":2,"
               "\"heartbeat_interval_ms\":3,\"idempotency_ms\":5},\"time_ms\":4}");
    encodes_as((struct reply){.kind = REPLY_KIND_HELLO, .instance = 1, .federation = 0xFD},
               "{\"op\":\"hello\",\"server\":\"\",\"node\":\"\",\"session\":\"\",\"instance\":\"0000000000000001\","
               "\"federation\":\"00000000000000fd\",\"limits\":{\"payload_bytes_max\":0,\"subscriptions_max\":0,"
               "\"heartbeat_interval_ms\":0,\"idempotency_ms\":0}}");
    encodes_as((struct reply){.kind = REPLY_KIND_OK,
                              .id = of("1"),
                              .has_position = true,
                              .epoch = 0xAB,
                              .offset = 12,
                              .has_recovered = true,
                              .time_ms = 99},
               "{\"op\":\"ok\",\"id\":1,\"epoch\":\"00000000000000ab\",\"offset\":12,\"recovered\":false,"
               "\"time_ms\":99}");
    encodes_as((struct reply){.kind = REPLY_KIND_OK, .id = of("\"x\"")}, "{\"op\":\"ok\",\"id\":\"x\"}");
    encodes_as((struct reply){.kind = REPLY_KIND_OK}, "{\"op\":\"ok\"}");
    encodes_as((struct reply){.kind = REPLY_KIND_ACK, .id = of("2"), .epoch = 0xAB, .offset = 12, .count = 1},
               "{\"op\":\"ok\",\"id\":2,\"epoch\":\"00000000000000ab\",\"offset\":12}");
    encodes_as((struct reply){.kind = REPLY_KIND_ERROR, .id = of("1"), .error = REPLY_BUSY},
               "{\"op\":\"error\",\"id\":1,\"code\":\"busy\",\"message\":\"The broker is short of room for this now: "
               "try again.\",\"retry\":true}");
    encodes_as((struct reply){.kind = REPLY_KIND_PONG, .id = of("5"), .time_ms = UINT64_MAX},
               "{\"op\":\"pong\",\"id\":5,\"time_ms\":18446744073709551615}");
    encodes_as((struct reply){.kind = REPLY_KIND_GAP,
                              .topic = of("t"),
                              .from_offset = 1,
                              .to_offset = 2,
                              .reason = GAP_EXPIRED,
                              .epoch = 1},
               "{\"op\":\"gap\",\"topic\":\"t\",\"from\":1,\"to\":2,\"reason\":\"expired\",\"epoch\":"
               "\"0000000000000001\"}");
}

static void messages(void **state)
{
    (void)state;
    struct reply reply = {.kind = REPLY_KIND_MESSAGE, .topic = of("a\\\"b"), .offset = 7, .epoch = 1};
    reply.payload_kind = PAYLOAD_JSON;
    reply.payload = of("{ \"x\": 1.50 }");
    encodes_as(reply, "{\"op\":\"message\",\"topic\":\"a\\\\\\\"b\",\"offset\":7,\"data\":{ \"x\": 1.50 }}");
    reply.payload_kind = PAYLOAD_TEXT;
    reply.payload = of("say \"hi\"\n\x01\xC3\xA9");
    encodes_as(reply, "{\"op\":\"message\",\"topic\":\"a\\\\\\\"b\",\"offset\":7,\"data\":\"say \\\"hi\\\"\\n\\u0001"
                      "\xC3\xA9\"}");
    reply.payload_kind = PAYLOAD_BINARY;
    reply.payload = of("\xFF\xFE");
    encodes_as(reply, "{\"op\":\"message\",\"topic\":\"a\\\\\\\"b\",\"offset\":7,\"data_base64\":\"//4=\"}");
    reply.payload = SPAN_NONE;
    reply.payload_kind = PAYLOAD_TEXT;
    encodes_as(reply, "{\"op\":\"message\",\"topic\":\"a\\\\\\\"b\",\"offset\":7,\"data\":\"\"}");
    reply.payload_kind = PAYLOAD_BINARY;
    encodes_as(reply, "{\"op\":\"message\",\"topic\":\"a\\\\\\\"b\",\"offset\":7,\"data_base64\":\"\"}");
}

static void errors_are_all_shown(void **state)
{
    (void)state;
    for (int error = REPLY_OK + 1; error < REPLY_ERROR_COUNT; error++) {
        char out[512];
        struct reply reply = {.kind = REPLY_KIND_ERROR, .error = (enum reply_error)error};
        size_t size = dialect_json.encode(&reply, out, sizeof out);
        assert_in_range(size, 1, sizeof out);
        assert_true(json_valid((struct span){out, size}));
    }
}

/* RFC 4648 10, and every size both ways, in place as well. */
static void base64(void **state)
{
    (void)state;
    static const char *const vectors[][2] = {{"", ""},
                                             {"f", "Zg=="},
                                             {"fo", "Zm8="},
                                             {"foo", "Zm9v"},
                                             {"foob", "Zm9vYg=="},
                                             {"fooba", "Zm9vYmE="},
                                             {"foobar", "Zm9vYmFy"}};
    char text[512], bytes[256];
    size_t size;
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        base64_write(text, of(vectors[i][0]));
        assert_int_equal(base64_size(strlen(vectors[i][0])), strlen(vectors[i][1]));
        assert_memory_equal(text, vectors[i][1], strlen(vectors[i][1]));
    }
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * 167 + 13);
    for (size_t n = 0; n <= sizeof bytes; n++) {
        base64_write(text, (struct span){bytes, n});
        assert_true(base64_read((struct span){text, base64_size(n)}, text, &size));
        assert_int_equal(size, n);
        assert_memory_equal(text, bytes, n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(subscribe),
        cmocka_unit_test(subscribe_with_positions),
        cmocka_unit_test(from_of_wrong_form),
        cmocka_unit_test(escaped_topics_of_positions),
        cmocka_unit_test(unsubscribe_auth_ping),
        cmocka_unit_test(publish),
        cmocka_unit_test(publish_binary),
        cmocka_unit_test(bounds_of_key_and_id),
        cmocka_unit_test(messages_of_wrong_form),
        cmocka_unit_test(cut_off_messages),
        cmocka_unit_test(replies),
        cmocka_unit_test(messages),
        cmocka_unit_test(errors_are_all_shown),
        cmocka_unit_test(base64),
    };
    return cmocka_run_group_tests(tests, NULL, buffers_free);
}
