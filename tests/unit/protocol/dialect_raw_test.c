/*
 * dialect_raw_test: payloads go through untouched, and nothing else is shown; the table of dialects, epochs and
 * positions.
 */
#include "protocol/dialect.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct span of(const char *text)
{
    return (struct span){text, strlen(text)};
}

static void frames_are_payloads(void **state)
{
    (void)state;
    struct command command;
    struct span body = of("{\"any\":\"thing\"}");
    size_t at = 0;
    assert_int_equal(dialect_raw.parse(body, true, &at, NULL, &command), REPLY_OK);
    assert_int_equal(at, body.size);
    assert_int_equal(command.verb, COMMAND_PUBLISH);
    assert_int_equal(command.kind, PAYLOAD_TEXT);
    assert_ptr_equal(command.payload.data, body.data);
    assert_int_equal(command.payload.size, body.size);
    assert_int_equal(command.topic.size + command.id.size + command.key.size, 0);
    assert_int_equal(dialect_raw.parse((struct span){"\xFF\0", 2}, false, &at, NULL, &command), REPLY_OK);
    assert_int_equal(command.kind, PAYLOAD_BINARY);
    assert_int_equal(command.payload.size, 2);
}

static void messages_are_payloads(void **state)
{
    (void)state;
    char out[16] = "~~~~~~~~";
    struct reply reply = {.kind = REPLY_KIND_MESSAGE, .topic = of("t"), .payload = of("hello")};
    assert_int_equal(dialect_raw.encode(&reply, NULL, 0), 5);
    assert_int_equal(dialect_raw.encode(&reply, out, 4), 5);
    assert_memory_equal(out, "~~~~~~~~", 8);
    assert_int_equal(dialect_raw.encode(&reply, out, 5), 5);
    assert_memory_equal(out, "hello~~~", 8);
    assert_false(dialect_raw.is_text(&reply));
    reply.payload_kind = PAYLOAD_TEXT;
    assert_true(dialect_raw.is_text(&reply));
    reply.payload_kind = PAYLOAD_JSON;
    assert_true(dialect_raw.is_text(&reply));
}

static void nothing_else_is_shown(void **state)
{
    (void)state;
    for (int kind = REPLY_KIND_HELLO; kind <= REPLY_KIND_GAP; kind++) {
        struct reply reply = {.kind = (enum reply_kind)kind, .error = REPLY_BUSY, .payload = of("x")};
        assert_int_equal(dialect_raw.encode(&reply, NULL, 0), kind == REPLY_KIND_MESSAGE ? 1 : 0);
    }
}

static void dialects_are_found(void **state)
{
    (void)state;
    assert_ptr_equal(dialect_of(DIALECT_RAW), &dialect_raw);
    assert_ptr_equal(dialect_of(DIALECT_JSON), &dialect_json);
    assert_ptr_equal(dialect_of(DIALECT_BIN), &dialect_bin);
    assert_ptr_equal(dialect_of(DIALECT_SSE), &dialect_sse);
    for (int id = 0; id < DIALECT_COUNT; id++) {
        assert_int_equal(dialect_of((enum dialect_id)id)->id, id);
    }
}

static void errors_have_words(void **state)
{
    (void)state;
    for (int error = REPLY_OK + 1; error < REPLY_ERROR_COUNT; error++) {
        assert_true(strlen(reply_error_code((enum reply_error)error)) > 3);
        assert_true(strlen(reply_error_message((enum reply_error)error)) > 10);
    }
    assert_string_equal(reply_error_code(REPLY_TOPIC_INVALID), "topic_invalid");
    assert_true(reply_error_retry(REPLY_BUSY));
    assert_false(reply_error_retry(REPLY_FORBIDDEN));
    assert_string_equal(gap_reason_name(GAP_EPOCH), "epoch");
}

static void epochs_are_hex(void **state)
{
    (void)state;
    char out[EPOCH_TEXT_SIZE];
    uint64_t epoch;
    epoch_write(UINT64_C(0x0123456789abcdef), out);
    assert_memory_equal(out, "0123456789abcdef", sizeof out);
    assert_true(epoch_read((struct span){out, sizeof out}, &epoch));
    assert_true(epoch == UINT64_C(0x0123456789abcdef));
    assert_true(epoch_read(of("F"), &epoch) && epoch == 15);
    static const char *const bad[] = {"", "0x1", "g", " 1", "-1", "00123456789abcdef", "1:"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(epoch_read(of(bad[i]), &epoch));
}

static void positions_are_read(void **state)
{
    (void)state;
    uint64_t epoch, offset;
    assert_true(position_read(of("00000000000000ff:42"), &epoch, &offset));
    assert_true(epoch == 255 && offset == 42);
    assert_true(position_read(of("1:18446744073709551615"), &epoch, &offset) && offset == UINT64_MAX);
    static const char *const bad[] = {"",      ":",  "1", "1:", ":1", "1:-1", "1:1:1", "1:18446744073709551616",
                                      "1:0x1", "x:1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(position_read(of(bad[i]), &epoch, &offset));
    assert_false(position_read(SPAN_NONE, &epoch, &offset));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_are_payloads),   cmocka_unit_test(messages_are_payloads),
        cmocka_unit_test(nothing_else_is_shown), cmocka_unit_test(dialects_are_found),
        cmocka_unit_test(errors_have_words),     cmocka_unit_test(epochs_are_hex),
        cmocka_unit_test(positions_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
