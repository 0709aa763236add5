/*
 * dialect_sse_test: the exact bytes of each event, and a reader after the HTML standard that gets every text back.
 */
#include "protocol/dialect.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct span of(const char *text)
{
    return (struct span){text, strlen(text)};
}

/* Also tries every smaller room: the size is the same, and no byte is written beyond. */
static void encodes_as(struct reply reply, const char *want)
{
    char out[1024];
    size_t size = strlen(want);
    for (size_t room = 0; room <= size; room++) {
        memset(out, '~', sizeof out);
        assert_int_equal(dialect_sse.encode(&reply, out, room), size);
        for (size_t i = room; i < sizeof out; i++)
            assert_int_equal(out[i], '~');
    }
    assert_int_equal(dialect_sse.encode(&reply, NULL, 0), size);
    assert_memory_equal(out, want, size);
}

static struct reply message(enum payload_kind kind, const char *payload)
{
    return (struct reply){.kind = REPLY_KIND_MESSAGE,
                          .topic = of("t"),
                          .epoch = 0xAB,
                          .offset = 7,
                          .payload_kind = kind,
                          .payload = of(payload)};
}

#define ID "id: 00000000000000ab:7\n"

static void messages_are_lines(void **state)
{
    (void)state;
    encodes_as(message(PAYLOAD_JSON, "{\"a\":1}"), ID "data: {\"a\":1}\n\n");
    encodes_as(message(PAYLOAD_JSON, "[1,\r\n2]"), ID "data: [1,\ndata: 2]\n\n");
    encodes_as(message(PAYLOAD_TEXT, ""), ID "data: \n\n");
    struct reply nothing = message(PAYLOAD_TEXT, "");
    nothing.payload = SPAN_NONE;
    encodes_as(nothing, ID "data: \n\n");
    encodes_as(message(PAYLOAD_TEXT, "a\nb\rc\r\nd"), ID "data: a\ndata: b\ndata: c\ndata: d\n\n");
    encodes_as(message(PAYLOAD_TEXT, "a\n"), ID "data: a\ndata: \n\n");
    encodes_as(message(PAYLOAD_TEXT, "\r\r\n\n"), ID "data: \ndata: \ndata: \ndata: \n\n");
    encodes_as(message(PAYLOAD_TEXT, " x: y"), ID "data:  x: y\n\n");
    encodes_as(message(PAYLOAD_BINARY, "\xFF\xFE"), ID "event: binary\ndata: //4=\n\n");
    encodes_as(message(PAYLOAD_BINARY, ""), ID "event: binary\ndata: \n\n");
}

static void the_rest_is_events(void **state)
{
    (void)state;
    encodes_as((struct reply){.kind = REPLY_KIND_PONG}, ":\n\n");
    encodes_as((struct reply){.kind = REPLY_KIND_OK,
                              .has_position = true,
                              .epoch = 0xAB,
                              .offset = 7,
                              .has_recovered = true,
                              .recovered = true},
               "event: open\n" ID
               "data: {\"op\":\"ok\",\"epoch\":\"00000000000000ab\",\"offset\":7,\"recovered\":true}\n\n");
    encodes_as((struct reply){.kind = REPLY_KIND_OK, .time_ms = 5},
               "event: open\ndata: {\"op\":\"ok\",\"time_ms\":5}\n\n");
    encodes_as((struct reply){.kind = REPLY_KIND_GAP,
                              .topic = of("a/b"),
                              .from_offset = 1,
                              .to_offset = 3,
                              .reason = GAP_SLOW,
                              .epoch = 0xAB},
               "event: gap\ndata: {\"op\":\"gap\",\"topic\":\"a/b\",\"from\":1,\"to\":3,\"reason\":\"slow\","
               "\"epoch\":\"00000000000000ab\"}\n\n");
    struct reply hidden = {.kind = REPLY_KIND_HELLO};
    assert_int_equal(dialect_sse.encode(&hidden, NULL, 0), 0);
    hidden = (struct reply){.kind = REPLY_KIND_ERROR, .error = REPLY_BUSY};
    assert_int_equal(dialect_sse.encode(&hidden, NULL, 0), 0);
}

static void clients_say_nothing(void **state)
{
    (void)state;
    struct command command;
    size_t at = 0;
    assert_int_equal(dialect_sse.parse(of("x"), true, &at, NULL, &command), REPLY_UNSUPPORTED);
}

/* What a browser hands out for one event (HTML 9.2.6): its data lines, with LF between them. */
static size_t browser_data(const char *event, size_t size, char *out)
{
    size_t written = 0;
    for (const char *line = event, *end = event + size; line < end;) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        assert_non_null(newline);
        assert_null(memchr(line, '\r', (size_t)(newline - line)));
        if (newline - line >= 6 && memcmp(line, "data: ", 6) == 0) {
            memcpy(out + written, line + 6, (size_t)(newline - line) - 6);
            written += (size_t)(newline - line) - 6;
            out[written++] = '\n';
        }
        line = newline + 1;
    }
    assert_true(written > 0); /* an event without data is not handed out at all */
    return written - 1;
}

/* CR and CRLF as LF. */
static size_t line_ends_unified(const char *text, size_t size, char *out)
{
    size_t written = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] != '\n' || i == 0 || text[i - 1] != '\r')
            out[written++] = text[i] == '\r' ? '\n' : text[i];
    }
    return written;
}

static uint32_t number_state = 1;

/* Numbers that are the same in each run. */
static uint32_t number_below(uint32_t bound)
{
    number_state = number_state * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)number_state * bound) >> 32);
}

static void every_text_comes_back(void **state)
{
    (void)state;
    for (int round = 0; round < 20000; round++) {
        char text[24], event[512], got[512], want[32];
        size_t size = number_below(sizeof text);
        for (size_t i = 0; i < size; i++)
            text[i] = "\r\n a:"[number_below(5)];
        struct reply reply = message(PAYLOAD_TEXT, "");
        reply.payload = (struct span){text, size};
        size_t event_size = dialect_sse.encode(&reply, event, sizeof event);
        assert_in_range(event_size, 1, sizeof event);
        assert_memory_equal(event + event_size - 2, "\n\n", 2);
        assert_null(memmem(event, event_size - 1, "\n\n", 2)); /* one event, not two */
        size_t want_size = line_ends_unified(text, size, want);
        assert_int_equal(browser_data(event, event_size, got), want_size);
        assert_memory_equal(got, want, want_size);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_are_lines),
        cmocka_unit_test(the_rest_is_events),
        cmocka_unit_test(clients_say_nothing),
        cmocka_unit_test(every_text_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
