/*
 * ws_frame_test: each MUST of RFC 6455 5 to 8 that binds who reads or writes frames, and RFC 7692 6.
 *
 * A test makes bytes with a writer of its own (slow, and able to write what is forbidden), and compares what the reader
 * tells with a story in text:
 *
 *      "T(Hello)" text   "B(…)" binary   "Tz(…)" compressed   "ping(…)" "pong(…)" "close(1000 bye)" "error(1002)"
 *
 * Every input is fed whole, byte by byte, and cut in two at each place; all must tell the same story.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "protocol/close_code.h"
#include "protocol/ws_frame.h"

#include <stdio.h>

/* ---- the slow writer ---- */

struct bytes {
    char data[140000];
    size_t size;
};

static struct bytes wire;

static void add(const void *bytes, size_t size)
{
    assert_true(size <= sizeof wire.data - wire.size);
    if (size > 0)
        memcpy(wire.data + wire.size, bytes, size);
    wire.size += size;
}

static void add_byte(unsigned byte)
{
    add(&(uint8_t){(uint8_t)byte}, 1);
}

enum length_form { SHORTEST, FORM_16 = 2, FORM_64 = 8 };

struct frame {
    unsigned first; /* FIN, RSV, opcode */
    const char *payload;
    size_t size;
    bool unmasked;
    enum length_form form;
};

static void add_length(const struct frame *frame)
{
    size_t form = frame->form ? frame->form : frame->size < 126 ? 0 : frame->size < 65536 ? 2 : 8;
    unsigned mask = frame->unmasked ? 0 : 0x80;
    add_byte(mask | (form == 0 ? (unsigned)frame->size : form == 2 ? 126 : 127));
    for (size_t at = form; at > 0; at--)
        add_byte((unsigned)((uint64_t)frame->size >> (8 * (at - 1)) & 0xFF));
}

static void add_frame(struct frame frame)
{
    static const uint8_t key[4] = {0x37, 0xfa, 0x21, 0x3d};
    add_byte(frame.first);
    add_length(&frame);
    if (!frame.unmasked)
        add(key, 4);
    for (size_t at = 0; at < frame.size; at++)
        add_byte((uint8_t)frame.payload[at] ^ (frame.unmasked ? 0u : key[at % 4]));
}

#define FRAME(first, text) add_frame((struct frame){(first), (text), sizeof(text) - 1, false, SHORTEST})

/* ---- the story ---- */

static struct bytes story;

static void tell(const char *bytes, size_t size)
{
    assert_true(size <= sizeof story.data - story.size);
    if (size > 0)
        memcpy(story.data + story.size, bytes, size);
    story.size += size;
}

static void tell_text(const char *text)
{
    tell(text, strlen(text));
}

static void tell_span(const char *before, struct span span)
{
    tell_text(before);
    tell(span.data, span.size);
    tell_text(")");
}

static void tell_number(const char *before, unsigned number)
{
    char text[64];
    snprintf(text, sizeof text, "%s%u", before, number);
    tell_text(text);
}

static void tell_event(const struct ws_event *event)
{
    switch (event->kind) {
    case WS_EVENT_NONE:
        break;
    case WS_EVENT_DATA:
        if (event->first) {
            tell_text(event->opcode == WS_TEXT ? "T" : "B");
            tell_text(event->compressed ? "z(" : "(");
        }
        tell(event->data.data, event->data.size);
        if (event->last)
            tell_text(")");
        break;
    case WS_EVENT_PING:
        tell_span("ping(", event->data);
        break;
    case WS_EVENT_PONG:
        tell_span("pong(", event->data);
        break;
    case WS_EVENT_CLOSE:
        tell_number("close(", event->close_code);
        tell_span(event->data.size > 0 ? " " : "", event->data);
        break;
    case WS_EVENT_ERROR:
        assert_non_null(event->problem);
        tell_number("error(", event->close_code);
        tell_text(")");
        break;
    }
}

/* ---- feeding ---- */

struct setting {
    enum ws_role role;
    uint64_t max;
    bool deflate;
};

static const struct setting server = {WS_ROLE_SERVER, 1 << 20, false};
static const struct setting server_deflate = {WS_ROLE_SERVER, 1 << 20, true};
static const struct setting client = {WS_ROLE_CLIENT, 1 << 20, false};

/* Feeds one piece, from a copy of its exact size. False: an error was told. */
static bool feed_piece(struct ws_reader *reader, const char *bytes, size_t size)
{
    struct ws_event event = {.kind = WS_EVENT_NONE};
    char *copy = malloc(size);
    memcpy(copy, bytes, size);
    for (size_t at = 0; at < size && event.kind != WS_EVENT_ERROR;) {
        size_t taken = ws_reader_feed(reader, copy + at, size - at, &event);
        assert_true(taken > 0 && taken <= size - at);
        tell_event(&event);
        at += taken;
    }
    free(copy);
    return event.kind != WS_EVENT_ERROR;
}

/* The first `head` bytes as one piece, then pieces of `piece` bytes. Between pieces an idle reader is thrown away. */
static void feed(const struct setting *setting, size_t head, size_t piece)
{
    struct ws_reader reader;
    size_t at = 0;
    bool open = true;
    ws_reader_init(&reader, setting->role, setting->max, setting->deflate);
    story.size = 0;
    while (open && at < wire.size) {
        size_t size = at == 0 && head > 0 ? head : piece;
        size = wire.size - at < size ? wire.size - at : size;
        open = feed_piece(&reader, wire.data + at, size);
        at += size;
        if (open && ws_reader_idle(&reader)) {
            memset(&reader, 0xEE, sizeof reader);
            ws_reader_init(&reader, setting->role, setting->max, setting->deflate);
        }
    }
}

static void check_story(const char *expected)
{
    if (story.size != strlen(expected) || memcmp(story.data, expected, story.size) != 0)
        fail_msg("told \"%.*s\", expected \"%s\"", (int)story.size, story.data, expected);
}

/* What the bytes of `wire` tell in every cut; then begins a new wire. */
static void expect(const struct setting *setting, const char *expected)
{
    feed(setting, 0, wire.size);
    check_story(expected);
    feed(setting, 0, 1);
    check_story(expected);
    for (size_t cut = 1; cut < wire.size && cut < 600; cut++) {
        feed(setting, cut, wire.size);
        check_story(expected);
    }
    wire.size = 0;
}

/* For errors in a payload, of which a cut may tell some good bytes before: only the end must be the same. */
static void expect_end(const struct setting *setting, const char *end)
{
    size_t size = strlen(end);
    for (size_t cut = 1; cut <= wire.size; cut++) {
        feed(setting, cut, cut % 2 ? 1 : wire.size);
        assert_true(story.size >= size);
        assert_memory_equal(story.data + story.size - size, end, size);
    }
    wire.size = 0;
}

/* ---- messages ---- */

/* RFC 6455 5.7: the RFC's own examples, byte by byte. */
static void test_examples_of_the_rfc(void **unused)
{
    (void)unused;
    add("\x81\x05\x48\x65\x6c\x6c\x6f", 7);
    expect(&client, "T(Hello)");
    add("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", 11);
    expect(&server, "T(Hello)");
    add("\x01\x03\x48\x65\x6c\x80\x02\x6c\x6f", 9);
    expect(&client, "T(Hello)");
    add("\x89\x05\x48\x65\x6c\x6c\x6f", 7);
    expect(&client, "ping(Hello)");
    add("\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", 11);
    expect(&server, "pong(Hello)");
}

/* The fast path: one event, first and last, that points into the caller's bytes. */
static void test_whole_message_is_one_event(void **unused)
{
    (void)unused;
    struct ws_reader reader;
    struct ws_event event;
    wire.size = 0;
    FRAME(0x81, "Hello");
    FRAME(0x82, "x");
    ws_reader_init(&reader, WS_ROLE_SERVER, 100, false);
    assert_int_equal(ws_reader_feed(&reader, wire.data, wire.size, &event), 11);
    assert_int_equal(event.kind, WS_EVENT_DATA);
    assert_int_equal(event.opcode, WS_TEXT);
    assert_true(event.first && event.last && !event.compressed);
    assert_ptr_equal(event.data.data, wire.data + 6);
    assert_int_equal(event.data.size, 5);
    assert_true(ws_reader_idle(&reader));
    wire.size = 0;
}

/* RFC 6455 5.2: the three forms of the length, on both sides of their bounds, and only the shortest. */
static void test_lengths(void **unused)
{
    (void)unused;
    static const size_t sizes[] = {0, 1, 125, 126, 127, 65535, 65536, 65537};
    static char payload[65537];
    static char expected[65537 + 4];
    memset(payload, 'p', sizeof payload);
    for (size_t at = 0; at < sizeof sizes / sizeof *sizes; at++) {
        snprintf(expected, sizeof expected, "B(%.*s)", (int)sizes[at], payload);
        for (int unmasked = 0; unmasked < 2; unmasked++) {
            add_frame((struct frame){0x82, payload, sizes[at], unmasked, SHORTEST});
            feed(unmasked ? &client : &server, 0, 1);
            check_story(expected);
            feed(unmasked ? &client : &server, 0, 1000);
            check_story(expected);
            feed(unmasked ? &client : &server, 0, wire.size);
            check_story(expected);
            wire.size = 0;
        }
    }
}

static void test_lengths_invalid(void **unused)
{
    (void)unused;
    static char payload[65535];
    static const size_t sizes_16[] = {0, 1, 125};
    static const size_t sizes_64[] = {0, 125, 126, 65535};
    for (size_t at = 0; at < 3; at++) {
        add_frame((struct frame){0x82, payload, sizes_16[at], false, FORM_16});
        expect(&server, "error(1002)");
    }
    for (size_t at = 0; at < 4; at++) {
        add_frame((struct frame){0x82, payload, sizes_64[at], false, FORM_64});
        wire.size = wire.size < 30 ? wire.size : 30; /* the header is enough */
        expect(&server, "error(1002)");
    }
    add("\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00mask", 14); /* the highest bit */
    expect(&server, "error(1002)");
    add("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xffmask", 14);
    expect(&server, "error(1009)");
}

/* RFC 6455 5.1: a client masks, a server does not. */
static void test_masking_required(void **unused)
{
    (void)unused;
    static const unsigned firsts[] = {0x81, 0x82, 0x88, 0x89, 0x8A, 0x01};
    for (size_t at = 0; at < sizeof firsts / sizeof *firsts; at++) {
        add_frame((struct frame){firsts[at], "ab", 2, true, SHORTEST});
        expect(&server, "error(1002)");
        add_frame((struct frame){firsts[at], "ab", 2, false, SHORTEST});
        expect(&client, "error(1002)");
    }
}

/* RFC 6455 5.2: reserved bits and opcodes; RFC 7692 6: RSV1 only when agreed on, and only on the first frame of a
 * message. */
static void test_reserved(void **unused)
{
    (void)unused;
    for (unsigned rsv = 0x10; rsv <= 0x70; rsv += 0x10) {
        FRAME(0x81 | rsv, "");
        expect(&server, "error(1002)");
        FRAME(0x89 | rsv, "");
        expect(&server, "error(1002)");
        FRAME(0x81 | rsv, "");
        expect(&server_deflate, rsv == 0x40 ? "Tz()" : "error(1002)");
        FRAME(0x88 | rsv, "");
        expect(&server_deflate, "error(1002)");
    }
    for (unsigned opcode = 0; opcode <= 0xF; opcode++) {
        bool known = opcode <= 2 || (opcode >= 8 && opcode <= 10);
        if (known)
            continue;
        FRAME(0x80 | opcode, "x");
        expect(&server, "error(1002)");
    }
    FRAME(0x01, "a");
    FRAME(0xC0, "b"); /* RSV1 on a continuation */
    expect(&server_deflate, "T(aerror(1002)");
}

/* RFC 6455 5.4. */
static void test_fragments(void **unused)
{
    (void)unused;
    FRAME(0x01, "Hel");
    FRAME(0x00, "lo, ");
    FRAME(0x80, "world");
    FRAME(0x82, "next");
    expect(&server, "T(Hello, world)B(next)");
    FRAME(0x01, ""); /* empty ones anywhere */
    FRAME(0x00, "");
    FRAME(0x00, "a");
    FRAME(0x80, "");
    expect(&server, "T(a)");
    FRAME(0x02, "");
    FRAME(0x80, "");
    expect(&server, "B()");
    FRAME(0x01, "a"); /* control frames between, and inside a character */
    FRAME(0x89, "1");
    FRAME(0x00, "\xC3");
    FRAME(0x8A, "2");
    FRAME(0x80, "\xBC");
    expect(&server, "T(aping(1)\xC3pong(2)\xBC)");
    FRAME(0x02, "a");
    FRAME(0x88, "");
    FRAME(0x80, "b");
    expect(&server, "B(aclose(1005)");
}

static void test_fragments_invalid(void **unused)
{
    (void)unused;
    FRAME(0x80, "x"); /* nothing to continue */
    expect(&server, "error(1002)");
    FRAME(0x00, "x");
    expect(&server, "error(1002)");
    FRAME(0x81, "a");
    FRAME(0x80, "x");
    expect(&server, "T(a)error(1002)");
    FRAME(0x01, "a");
    FRAME(0x81, "b"); /* a message in a message */
    expect(&server, "T(aerror(1002)");
    FRAME(0x01, "a");
    FRAME(0x02, "b");
    expect(&server, "T(aerror(1002)");
}

/* RFC 7692 6: the whole message is compressed if its first frame says so; its text is not checked before it is
 * inflated. */
static void test_compressed(void **unused)
{
    (void)unused;
    FRAME(0xC1, "\xff\xfe");
    FRAME(0x42, "a");
    FRAME(0x89, "");
    FRAME(0x80, "b");
    FRAME(0x81, "plain");
    expect(&server_deflate, "Tz(\xff\xfe)Bz(aping()b)T(plain)");
}

/* ---- control frames ---- */

/* RFC 6455 5.5: 125 bytes at most, never fragmented; 5.5.2, 5.5.3. */
static void test_control(void **unused)
{
    (void)unused;
    char payload[126];
    char expected[140];
    memset(payload, 'c', sizeof payload);
    add_frame((struct frame){0x89, payload, 125, false, SHORTEST});
    snprintf(expected, sizeof expected, "ping(%.125s)", payload);
    expect(&server, expected);
    FRAME(0x8A, "");
    FRAME(0x89, "\x00\xff");
    feed(&server, 0, wire.size);
    assert_int_equal(story.size, 14);
    assert_memory_equal(story.data, "pong()ping(\x00\xff)", 14);
    wire.size = 0;
    for (unsigned opcode = 8; opcode <= 10; opcode++) {
        add_frame((struct frame){0x80 | opcode, payload, 126, false, SHORTEST});
        expect(&server, "error(1002)");
        add_frame((struct frame){0x80 | opcode, payload, 125, false, FORM_16});
        expect(&server, "error(1002)");
        add_frame((struct frame){opcode, payload, 2, false, SHORTEST});
        expect(&server, "error(1002)");
    }
}

/* Bytes that are no string: without a NUL behind them. */
static void put(char *at, struct span bytes)
{
    memcpy(at, bytes.data, bytes.size);
}

static void add_close(unsigned code, const char *reason)
{
    char payload[125] = {(char)(code >> 8), (char)code};
    size_t size = strlen(reason);
    put(payload + 2, (struct span){reason, size});
    add_frame((struct frame){0x88, payload, 2 + size, false, SHORTEST});
}

/* RFC 6455 5.5.1 and 7.1.5 to 7.1.6: what a close frame may hold, and that what follows it is ignored. */
static void test_close(void **unused)
{
    (void)unused;
    FRAME(0x88, "");
    expect(&server, "close(1005)");
    add_close(1000, "bye \xE2\x98\xBA");
    FRAME(0x81, "late");
    add("\xff\xff\xff\xff", 4);
    expect(&server, "close(1000 bye \xE2\x98\xBA)");
    add_close(4001, "");
    expect(&server, "close(4001)");
    FRAME(0x88, "x"); /* half a code */
    expect(&server, "error(1002)");
    add_close(1000, "\xff"); /* 8.1 */
    expect(&server, "error(1007)");
    add_close(1000, "cut \xE2\x98");
    expect(&server, "error(1007)");
}

/* RFC 6455 7.4.1 and 7.4.2. */
static void test_close_codes(void **unused)
{
    (void)unused;
    static const unsigned good[] = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010,
                                    1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999};
    static const unsigned bad[] = {0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535};
    char expected[32];
    for (size_t at = 0; at < sizeof good / sizeof *good; at++) {
        add_close(good[at], "");
        snprintf(expected, sizeof expected, "close(%u)", good[at]);
        expect(&server, expected);
    }
    for (size_t at = 0; at < sizeof bad / sizeof *bad; at++) {
        add_close(bad[at], "");
        expect(&server, "error(1002)");
    }
}

/* ---- text ---- */

/* RFC 6455 8.1, also over fragments and control frames; characters may be cut anywhere. */
static void test_text(void **unused)
{
    (void)unused;
    FRAME(0x81, "Gr\xC3\xBC\xC3\x9F"
                "e \xF0\x9F\x90\x9F");
    expect(&server, "T(Gr\xC3\xBC\xC3\x9F"
                    "e \xF0\x9F\x90\x9F)");
    FRAME(0x01, "\xF0\x9F");
    FRAME(0x00, "\x90");
    FRAME(0x80, "\x9F");
    expect(&server, "T(\xF0\x9F\x90\x9F)");
    FRAME(0x82, "\xff"); /* binary may be anything, also behind a text */
    expect(&server, "B(\xff)");
    FRAME(0x81, "all of it \xED\xA0\x80 is refused");
    expect_end(&server, "error(1007)");
    FRAME(0x81, "cut \xE4\xB8");
    expect_end(&server, "error(1007)");
    FRAME(0x01, "cut \xE4\xB8");
    FRAME(0x80, "");
    expect_end(&server, "error(1007)");
    FRAME(0x01, "\xE4\xB8");
    FRAME(0x80, "x\x96");
    expect_end(&server, "error(1007)");
}

/* The error comes at the first byte that can't be right, not at the frame's end. */
static void test_text_fails_early(void **unused)
{
    (void)unused;
    add("\x81\xfe\x10\x00\x00\x00\x00\x00"
        "ab\xF4\x90",
        12); /* 4 of 4,096 bytes */
    expect_end(&server, "error(1007)");
    add("\x81\xfe\x10\x00\x00\x00\x00\x00"
        "ab\xF4",
        11);
    expect(&server, "T(ab\xF4"); /* may still become U+100000 */
}

/* ---- limits ---- */

static void test_limit(void **unused)
{
    (void)unused;
    const struct setting ten = {WS_ROLE_SERVER, 10, true};
    FRAME(0x82, "0123456789");
    FRAME(0x02, "01234");
    FRAME(0x89, "a ping does not count");
    FRAME(0x80, "56789");
    expect(&ten, "B(0123456789)B(01234ping(a ping does not count)56789)");
    add("\x82\x8bmask", 6); /* at the header: no payload is needed */
    expect(&ten, "error(1009)");
    add("\xC2\xCCmask", 6); /* compressed, with what that may add: 10 + 1 + 64 */
    expect(&ten, "error(1009)");
    FRAME(0x02, "01234");
    add("\x80\x86mask", 6);
    expect(&ten, "B(01234error(1009)");
    FRAME(0x02, "0123456789");
    FRAME(0x00, "");
    add("\x80\x81mask", 6);
    expect(&ten, "B(0123456789error(1009)");
    add("\x82\xff\x00\x00\x00\x01\x00\x00\x00\x00mask", 14);
    expect(&ten, "error(1009)");
}

static void test_after_an_error(void **unused)
{
    (void)unused;
    struct ws_reader reader;
    struct ws_event event;
    char bytes[] = "\x83\x80maskmore";
    ws_reader_init(&reader, WS_ROLE_SERVER, 10, false);
    assert_int_equal(ws_reader_feed(&reader, bytes, 10, &event), 10);
    assert_int_equal(event.kind, WS_EVENT_ERROR);
    const char *problem = event.problem;
    assert_int_equal(ws_reader_feed(&reader, bytes, 3, &event), 3);
    assert_int_equal(event.kind, WS_EVENT_ERROR);
    assert_int_equal(event.close_code, CLOSE_PROTOCOL_ERROR);
    assert_ptr_equal(event.problem, problem);
    assert_false(ws_reader_idle(&reader));
}

/* Idle exactly between messages: a reader is kept as long as it knows something. */
static void test_idle(void **unused)
{
    (void)unused;
    struct ws_reader reader;
    struct ws_event event;
    wire.size = 0;
    FRAME(0x01, "ab");  /* 0 to 7 */
    FRAME(0x89, "p");   /* 8 to 14 */
    FRAME(0x80, "");    /* 15 to 20 */
    FRAME(0x8A, "pon"); /* 21 to 29 */
    ws_reader_init(&reader, WS_ROLE_SERVER, 100, false);
    assert_true(ws_reader_idle(&reader));
    for (size_t at = 0; at < wire.size; at++) {
        assert_int_equal(ws_reader_feed(&reader, wire.data + at, 1, &event), 1);
        assert_int_equal(ws_reader_idle(&reader), at == 20 || at == 29);
    }
    wire.size = 0;
}

/* ---- writing ---- */

/* RFC 6455 5.2, read back by the reader. */
static void test_header_write(void **unused)
{
    (void)unused;
    static const struct {
        uint64_t size;
        const char *header;
        size_t header_size;
    } headers[] = {
        {0, "\x81\x00", 2},
        {125, "\x81\x7d", 2},
        {126, "\x81\x7e\x00\x7e", 4},
        {65535, "\x81\x7e\xff\xff", 4},
        {65536, "\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 10},
        {INT64_MAX, "\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", 10},
    };
    char out[WS_MASKED_HEADER_BYTES_MAX];
    uint32_t key;
    memcpy(&key, "\x01\x02\x03\x04", 4);
    for (size_t at = 0; at < sizeof headers / sizeof *headers; at++) {
        size_t size = headers[at].header_size;
        assert_int_equal(ws_header_size(headers[at].size), size);
        assert_int_equal(ws_header_write(out, WS_TEXT, true, false, headers[at].size), size);
        assert_memory_equal(out, headers[at].header, size);
        assert_int_equal(ws_masked_header_write(out, WS_TEXT, true, false, headers[at].size, key), size + 4);
        assert_int_equal((uint8_t)out[1], (uint8_t)headers[at].header[1] | 0x80);
        assert_memory_equal(out + size, "\x01\x02\x03\x04", 4);
    }
    ws_header_write(out, WS_BINARY, false, true, 0);
    assert_int_equal((uint8_t)out[0], 0x42);
    ws_header_write(out, WS_CONTINUATION, true, false, 0);
    assert_int_equal((uint8_t)out[0], 0x80);
}

static void test_control_write(void **unused)
{
    (void)unused;
    char out[WS_CONTROL_FRAME_MAX];
    char reason[200];
    wire.size = 0;
    add(out, ws_control_write(out, WS_PONG, SPAN_LITERAL("abc")));
    add(out, ws_control_write(out, WS_PING, SPAN_NONE));
    add(out, ws_close_write(out, 4001, SPAN_LITERAL("slow")));
    expect(&client, "pong(abc)ping()close(4001 slow)");
    add(out, ws_close_write(out, CLOSE_NONE, SPAN_LITERAL("never sent")));
    expect(&client, "close(1005)");
    memset(reason, 'r', sizeof reason);
    put(reason + 121, SPAN_LITERAL("\xE2\x98\xBA")); /* would be cut after 2 of its 3 bytes */
    assert_int_equal(ws_close_write(out, 1000, (struct span){reason, sizeof reason}), 2 + 2 + 121);
    assert_int_equal(ws_close_write(out, 1000, (struct span){reason, 124}), 2 + 2 + 121);
    memset(reason, 'r', sizeof reason);
    assert_int_equal(ws_close_write(out, 1000, (struct span){reason, sizeof reason}), WS_CONTROL_FRAME_MAX);
    assert_int_equal(ws_close_write(out, 1000, (struct span){reason, 123}), WS_CONTROL_FRAME_MAX);
    assert_int_equal(ws_close_payload_write(out, 1000, (struct span){reason, 5}), 7);
    assert_memory_equal(out, "\x03\xe8rrrrr", 7);
}

/* RFC 6455 5.3, as it is written there: the model of the fast mask. At every alignment, size and phase. */
static void model_mask(char *bytes, size_t size, uint32_t key, size_t phase)
{
    const char *key_bytes = (const char *)&key;
    for (size_t at = 0; at < size; at++)
        bytes[at] = (char)(bytes[at] ^ key_bytes[(phase + at) % 4]);
}

static void test_mask(void **unused)
{
    (void)unused;
    char fast[96];
    char slow[96];
    uint32_t key;
    memcpy(&key, "\x37\xfa\x21\x3d", 4);
    for (size_t offset = 0; offset < 9; offset++)
        for (size_t size = 0; offset + size <= sizeof fast; size++)
            for (size_t phase = 0; phase < 9; phase++) {
                for (size_t at = 0; at < sizeof fast; at++)
                    fast[at] = slow[at] = (char)(at * 7);
                ws_mask(fast + offset, size, key, phase);
                model_mask(slow + offset, size, key, phase);
                assert_memory_equal(fast, slow, sizeof fast);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples_of_the_rfc),
        cmocka_unit_test(test_whole_message_is_one_event),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_lengths_invalid),
        cmocka_unit_test(test_masking_required),
        cmocka_unit_test(test_reserved),
        cmocka_unit_test(test_fragments),
        cmocka_unit_test(test_fragments_invalid),
        cmocka_unit_test(test_compressed),
        cmocka_unit_test(test_control),
        cmocka_unit_test(test_close),
        cmocka_unit_test(test_close_codes),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_text_fails_early),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_after_an_error),
        cmocka_unit_test(test_idle),
        cmocka_unit_test(test_header_write),
        cmocka_unit_test(test_control_write),
        cmocka_unit_test(test_mask),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
