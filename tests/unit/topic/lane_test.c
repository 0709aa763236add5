/*
 * lane_test: what each lane writes is one whole frame (or event) that says the message, it tells exactly what room it
 * needs, and deflated lanes inflate to the same body.
 */
#include "topic/lane.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "protocol/ws_frame.h"

static char out[300000];
static char payload[200000];

static struct message message_of(size_t size, enum payload_kind kind)
{
    for (size_t i = 0; i < size; i++)
        payload[i] = (char)('a' + i % 23);
    return (struct message){
        .topic = SPAN_LITERAL("a/b"),
        .payload = {payload, size},
        .kind = kind,
        .epoch = 0xABCDEF,
        .offset = 1234567,
        .time_ms = 5,
    };
}

/* The body of a whole frame that fills `size` bytes exactly. */
static struct span body_of(const char *frame, size_t size, bool rsv1)
{
    uint8_t first = (uint8_t)frame[0], length = (uint8_t)frame[1];
    assert_int_equal(first & 0x80, 0x80);
    assert_int_equal((first & 0x40) != 0, rsv1);
    assert_int_equal(length & 0x80, 0); /* a server does not mask */
    size_t header = length < 126 ? 2 : length == 126 ? 4 : 10;
    uint64_t body = length;
    if (header > 2)
        body = 0;
    for (size_t i = 2; i < header; i++)
        body = body << 8 | (uint8_t)frame[i];
    assert_int_equal(header + body, size);
    return (struct span){frame + header, body};
}

static const size_t sizes[] = {0, 1, 124, 125, 126, 127, 65535, 65536, 150000};

static void raw_frame_is_the_payload(void **state)
{
    (void)state;
    struct lane_writer writer = {0};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (int kind = PAYLOAD_BINARY; kind <= PAYLOAD_JSON; kind++) {
            struct message message = message_of(sizes[i], kind);
            size_t needed;
            size_t size = lane_write(&writer, LANE_RAW, &message, out, sizeof out, &needed);
            assert_int_equal(size, needed);
            assert_int_equal(out[0] & 0x0F, kind == PAYLOAD_BINARY ? WS_BINARY : WS_TEXT);
            assert_true(span_equal(body_of(out, size, false), message.payload));
            assert_true(span_equal(lane_raw_payload(out, size), message.payload));
        }
    }
    lane_writer_destroy(&writer);
}

static void json_frame_says_all(void **state)
{
    (void)state;
    struct lane_writer writer = {0};
    size_t needed;
    struct message message = message_of(0, PAYLOAD_JSON);
    message.payload = SPAN_LITERAL("{\"x\":1}");
    size_t size = lane_write(&writer, LANE_JSON, &message, out, sizeof out, &needed);
    struct span body = body_of(out, size, false);
    const char *expected = "{\"op\":\"message\",\"topic\":\"a/b\",\"offset\":1234567,";
    assert_true(body.size > strlen(expected));
    assert_memory_equal(body.data, expected, strlen(expected));
    assert_non_null(memmem(body.data, body.size, "\"data\":{\"x\":1}", 14));
    lane_writer_destroy(&writer);
}

static void event_has_no_frame(void **state)
{
    (void)state;
    struct lane_writer writer = {0};
    size_t needed;
    struct message message = message_of(5, PAYLOAD_TEXT);
    size_t size = lane_write(&writer, LANE_SSE, &message, out, sizeof out, &needed);
    assert_int_equal(size, needed);
    assert_non_null(memmem(out, size, "0000000000abcdef:1234567", 24));
    assert_memory_equal(out + size - 2, "\n\n", 2);
    lane_writer_destroy(&writer);
}

/* One byte too few: nothing is written beyond, and `needed` is enough the next time. */
static void needed_room_is_told(void **state)
{
    (void)state;
    struct deflater deflater;
    assert_true(deflater_init(&deflater, DEFLATE_WINDOW_BITS_MAX, DEFLATE_LEVEL_DEFAULT));
    struct lane_writer writer = {.deflater = &deflater, .deflate_bytes_min = 64};
    static const enum lane lanes[] = {LANE_RAW, LANE_JSON, LANE_SSE, LANE_RAW_DEFLATED, LANE_JSON_DEFLATED};
    for (size_t i = 1; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct message message = message_of(sizes[i], PAYLOAD_TEXT);
        for (size_t n = 0; n < sizeof lanes / sizeof lanes[0]; n++) {
            size_t needed, again;
            assert_int_equal(lane_write(&writer, lanes[n], &message, NULL, 0, &needed), 0);
            assert_int_equal(lane_write(&writer, lanes[n], &message, out, needed - 1, &again), 0);
            assert_int_equal(again, needed);
            size_t size = lane_write(&writer, lanes[n], &message, out, needed, &again);
            assert_in_range(size, 1, needed);
        }
    }
    lane_writer_destroy(&writer);
    deflater_free(&deflater);
}

static void deflated_lane_inflates_to_the_plain_one(void **state)
{
    (void)state;
    static char plain[300000], inflated[300000];
    struct deflater deflater;
    struct inflater inflater;
    assert_true(deflater_init(&deflater, DEFLATE_WINDOW_BITS_MAX, DEFLATE_LEVEL_DEFAULT));
    assert_true(inflater_init(&inflater));
    struct lane_writer writer = {.deflater = &deflater, .deflate_bytes_min = 100};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct message message = message_of(sizes[i], PAYLOAD_TEXT);
        size_t needed, size;
        size_t plain_size = lane_write(&writer, LANE_JSON, &message, plain, sizeof plain, &needed);
        struct span plain_body = body_of(plain, plain_size, false);
        size_t deflated_size = lane_write(&writer, LANE_JSON_DEFLATED, &message, out, sizeof out, &needed);
        bool deflated = plain_body.size >= writer.deflate_bytes_min;
        struct span body = body_of(out, deflated_size, deflated);
        if (!deflated) { /* not worth it: written plain, which is always valid */
            assert_true(span_equal(body, plain_body));
            continue;
        }
        assert_int_equal(inflate_message(&inflater, body, inflated, sizeof inflated, &size), INFLATE_OK);
        assert_true(span_equal((struct span){inflated, size}, plain_body));
    }
    writer.deflater = NULL;
    struct message message = message_of(1000, PAYLOAD_TEXT);
    size_t needed;
    body_of(out, lane_write(&writer, LANE_JSON_DEFLATED, &message, out, sizeof out, &needed), false);
    lane_writer_destroy(&writer);
    inflater_free(&inflater);
    deflater_free(&deflater);
}

static void lanes_are_found_by_dialect(void **state)
{
    (void)state;
    assert_int_equal(lane_of(DIALECT_RAW, false), LANE_RAW);
    assert_int_equal(lane_of(DIALECT_RAW, true), LANE_RAW_DEFLATED);
    assert_int_equal(lane_of(DIALECT_JSON, false), LANE_JSON);
    assert_int_equal(lane_of(DIALECT_JSON, true), LANE_JSON_DEFLATED);
    assert_int_equal(lane_of(DIALECT_BIN, true), LANE_BIN_DEFLATED);
    assert_int_equal(lane_of(DIALECT_SSE, false), LANE_SSE);
    assert_int_equal(lane_of(DIALECT_SSE, true), LANE_SSE); /* events are not deflated */
    for (int lane = 0; lane < LANE_COUNT; lane++)
        assert_non_null(lane_name(lane));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(raw_frame_is_the_payload),
        cmocka_unit_test(json_frame_says_all),
        cmocka_unit_test(event_has_no_frame),
        cmocka_unit_test(needed_room_is_told),
        cmocka_unit_test(deflated_lane_inflates_to_the_plain_one),
        cmocka_unit_test(lanes_are_found_by_dialect),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
