/*
 * http_test: RFC 9112's rules for who receives requests, by section; chunked bodies; responses.
 *
 * Every head is parsed whole and grown byte by byte, and both must say the same: that the answer does not depend on how
 * the bytes were cut is part of each test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "protocol/http.h"

#include <stdio.h>

#define HEAD_BYTES_MAX 4096
#define HOST           "Host: localhost\r\n"

static struct http_request request; /* what the last parse said */

/* Grows the input byte by byte up to the first answer, in copies of the exact size so that sanitizers see a read too
 * far. */
static enum http_parse parse_bytewise(struct span text, size_t head_bytes_max, struct http_request *out)
{
    enum http_parse state = HTTP_MORE;
    for (size_t size = 1; size <= text.size && state == HTTP_MORE; size++) {
        char *copy = malloc(size);
        memcpy(copy, text.data, size);
        state = http_request_parse(copy, size, head_bytes_max, out);
        free(copy);
    }
    return state;
}

static enum http_parse parse_within(struct span text, size_t head_bytes_max)
{
    struct http_request grown = {0};
    enum http_parse state = http_request_parse(text.data, text.size, head_bytes_max, &request);
    assert_int_equal(parse_bytewise(text, head_bytes_max, &grown), state);
    assert_int_equal(grown.status, request.status);
    assert_ptr_equal(grown.problem, request.problem);
    assert_int_equal(grown.head_size, request.head_size);
    assert_int_equal(state == HTTP_BAD, request.problem != NULL);
    return state;
}

static void check_good(struct span text)
{
    assert_int_equal(parse_within(text, HEAD_BYTES_MAX), HTTP_DONE);
    assert_int_equal(request.head_size, text.size);
}

static void check_bad(struct span text, int status)
{
    assert_int_equal(parse_within(text, HEAD_BYTES_MAX), HTTP_BAD);
    assert_int_equal(request.status, status);
}

#define GOOD(text)              check_good(SPAN_LITERAL(text))
#define BAD(status, text)       check_bad(SPAN_LITERAL(text), status)
#define assert_span(span, text) assert_true(span_equal(span, SPAN_LITERAL(text)))

/* ---- request line ---- */

static void test_request(void **unused)
{
    (void)unused;
    GOOD("POST /v1/topics/a%2Fb?mode=sub&x HTTP/1.1\r\n" HOST "Content-Length: 12\r\nAccept:\t*/* \r\nEmpty:\r\n\r\n");
    assert_int_equal(request.method, HTTP_POST);
    assert_span(request.method_text, "POST");
    assert_span(request.target, "/v1/topics/a%2Fb?mode=sub&x");
    assert_span(request.path, "/v1/topics/a%2Fb");
    assert_span(request.query, "mode=sub&x");
    assert_span(request.host, "localhost");
    assert_int_equal(request.minor_version, 1);
    assert_int_equal(request.content_length, 12);
    assert_int_equal(request.header_count, 4);
    assert_span(http_header(&request, "ACCEPT"), "*/*");
    assert_non_null(http_header(&request, "empty").data);
    assert_int_equal(http_header(&request, "empty").size, 0);
    assert_null(http_header(&request, "accep").data);
    assert_null(http_header(&request, "accepts").data);
    assert_true(request.keep_alive);
    assert_false(request.chunked);
}

/* What stands behind the head is not looked at. */
static void test_bytes_behind(void **unused)
{
    (void)unused;
    struct span text = SPAN_LITERAL("GET / HTTP/1.1\r\n" HOST "\r\n\x00\n garbage");
    assert_int_equal(parse_within(text, HEAD_BYTES_MAX), HTTP_DONE);
    assert_int_equal(request.head_size, text.size - 10);
}

static void test_methods(void **unused)
{
    (void)unused;
    static const struct {
        const char *text;
        enum http_method method;
    } methods[] = {
        {"GET", HTTP_GET},       {"HEAD", HTTP_HEAD},       {"POST", HTTP_POST},   {"PUT", HTTP_PUT},
        {"DELETE", HTTP_DELETE}, {"OPTIONS", HTTP_OPTIONS}, {"PATCH", HTTP_OTHER}, {"get", HTTP_OTHER},
    };
    for (size_t at = 0; at < sizeof methods / sizeof *methods; at++) {
        char text[64];
        int size = snprintf(text, sizeof text, "%s / HTTP/1.1\r\n" HOST "\r\n", methods[at].text);
        check_good((struct span){text, (size_t)size});
        assert_int_equal(request.method, methods[at].method);
    }
    BAD(400, " / HTTP/1.1\r\n" HOST "\r\n");
    BAD(400, "G(T / HTTP/1.1\r\n" HOST "\r\n");
    BAD(501, "CONNECT localhost:80 HTTP/1.1\r\n" HOST "\r\n"); /* RFC 9112 3.2.3 */
}

/* RFC 9112 3: exactly one space between the three parts; no other white space. */
static void test_request_line(void **unused)
{
    (void)unused;
    BAD(400, "GET /\r\n" HOST "\r\n"); /* HTTP/0.9 */
    BAD(400, "GET\r\n" HOST "\r\n");
    BAD(400, "GET  / HTTP/1.1\r\n" HOST "\r\n");
    BAD(400, "GET /  HTTP/1.1\r\n" HOST "\r\n");
    BAD(400, "GET\t/ HTTP/1.1\r\n" HOST "\r\n");
    BAD(400, "GET / HTTP/1.1 \r\n" HOST "\r\n");
    BAD(400, "GET /a b HTTP/1.1\r\n" HOST "\r\n");
    BAD(400, "GET / HTTP/1.1 x\r\n" HOST "\r\n");
    GOOD("\r\nGET / HTTP/1.1\r\n" HOST "\r\n"); /* 2.2: one empty line before is ignored */
    BAD(400, "\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n");
    BAD(400, "\nGET / HTTP/1.1\r\n" HOST "\r\n");
    BAD(400, "\rGET / HTTP/1.1\r\n" HOST "\r\n");
    BAD(400, "\x16\x03\x01\x02"); /* a TLS client: refused at its first byte */
}

/* RFC 9112 2.3. */
static void test_versions(void **unused)
{
    (void)unused;
    GOOD("GET / HTTP/1.0\r\n\r\n");
    assert_int_equal(request.minor_version, 0);
    GOOD("GET / HTTP/1.2\r\n" HOST "\r\n");
    BAD(505, "GET / HTTP/2.0\r\n" HOST "\r\n");
    BAD(505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    BAD(505, "GET / HTTP/0.9\r\n" HOST "\r\n");
    BAD(400, "GET / HTTP/1\r\n" HOST "\r\n");
    BAD(400, "GET / HTTP/1.10\r\n" HOST "\r\n");
    BAD(400, "GET / http/1.1\r\n" HOST "\r\n");
    BAD(400, "GET / HTTP/1,1\r\n" HOST "\r\n");
    BAD(400, "GET / HTTP/x.1\r\n" HOST "\r\n");
}

/* RFC 9112 3.2.1 to 3.2.4. */
static void test_targets(void **unused)
{
    (void)unused;
    GOOD("GET http://example.org:8080/a?b HTTP/1.1\r\n" HOST "\r\n");
    assert_span(request.host, "example.org:8080"); /* 3.2.2: instead of the Host header */
    assert_span(request.path, "/a");
    assert_span(request.query, "b");
    GOOD("GET HTTPS://example.org?b HTTP/1.1\r\n" HOST "\r\n");
    assert_span(request.path, "/");
    assert_span(request.query, "b");
    GOOD("GET http://[::1]:80 HTTP/1.1\r\n" HOST "\r\n");
    assert_span(request.host, "[::1]:80");
    GOOD("OPTIONS * HTTP/1.1\r\n" HOST "\r\n");
    assert_span(request.path, "*");
    GOOD("GET /a?b?c=/ HTTP/1.1\r\n" HOST "\r\n");
    assert_span(request.query, "b?c=/");
    GOOD("GET /? HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(request.query.size, 0);
    BAD(400, "GET * HTTP/1.1\r\n" HOST "\r\n");
    BAD(400, "GET a HTTP/1.1\r\n" HOST "\r\n");
    BAD(400, "GET http:///a HTTP/1.1\r\n" HOST "\r\n");
    BAD(400, "GET http://user@host/a HTTP/1.1\r\n" HOST "\r\n"); /* RFC 9110 4.2.4 */
    BAD(400, "GET ftp://host/a HTTP/1.1\r\n" HOST "\r\n");
    BAD(400, "GET /a#b HTTP/1.1\r\n" HOST "\r\n");
    BAD(400, "GET /\x01 HTTP/1.1\r\n" HOST "\r\n");
    BAD(400, "GET /\x7f HTTP/1.1\r\n" HOST "\r\n");
    BAD(400, "GET /\xc3\xbc HTTP/1.1\r\n" HOST "\r\n");
    BAD(400, "GET /\x00 HTTP/1.1\r\n" HOST "\r\n");
}

/* ---- headers ---- */

/* RFC 9112 2.2 and 5: what a line is, and what it may hold. */
static void test_lines(void **unused)
{
    (void)unused;
    BAD(400, "GET / HTTP/1.1\n" HOST "\r\n");
    BAD(400, "GET / HTTP/1.1\r\nHost: localhost\n\r\n");
    BAD(400, "GET / HTTP/1.1\r\n" HOST "\n");
    BAD(400, "GET / HTTP/1.1\r\n" HOST "A: b\rC: d\r\n\r\n"); /* 2.2: a bare CR */
    BAD(400, "GET / HTTP/1.1\r\n" HOST "A: b\r\r\n\r\n");
    BAD(400, "GET / HTTP/1.1\r\n Host: localhost\r\n\r\n");   /* 2.2: white space before the first header */
    BAD(400, "GET / HTTP/1.1\r\n" HOST "A: b\r\n c\r\n\r\n"); /* 5.2: folded */
    BAD(400, "GET / HTTP/1.1\r\n" HOST "A: b\r\n\tc\r\n\r\n");
    BAD(400, "GET / HTTP/1.1\r\n" HOST "A : b\r\n\r\n"); /* 5.1: white space before the colon */
    BAD(400, "GET / HTTP/1.1\r\n" HOST "A\t: b\r\n\r\n");
    BAD(400, "GET / HTTP/1.1\r\n" HOST "no colon\r\n\r\n");
    BAD(400, "GET / HTTP/1.1\r\n" HOST ": b\r\n\r\n");
    BAD(400, "GET / HTTP/1.1\r\n" HOST "A(: b\r\n\r\n");
    BAD(400, "GET / HTTP/1.1\r\n" HOST "A\xc3\xbc: b\r\n\r\n");
    BAD(400, "GET / HTTP/1.1\r\n" HOST "A: \x00\r\n\r\n"); /* RFC 9110 5.5 */
    BAD(400, "GET / HTTP/1.1\r\n" HOST "A: \x08\r\n\r\n");
    BAD(400, "GET / HTTP/1.1\r\n" HOST "A: \x7f\r\n\r\n");
    GOOD("GET / HTTP/1.1\r\n" HOST "A: tab\there, \xc3\xbc\xff there\r\n\r\n");
}

/* RFC 9112 3.2: one Host, and a valid one. */
static void test_host(void **unused)
{
    (void)unused;
    BAD(400, "GET / HTTP/1.1\r\n\r\n");
    BAD(400, "GET / HTTP/1.1\r\n" HOST HOST "\r\n");
    BAD(400, "GET / HTTP/1.0\r\n" HOST HOST "\r\n");
    BAD(400, "GET http://a/ HTTP/1.1\r\n\r\n"); /* also with an absolute target */
    BAD(400, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n");
    BAD(400, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n");
    BAD(400, "GET / HTTP/1.1\r\nHost: user@a\r\n\r\n");
    GOOD("GET / HTTP/1.1\r\nHost:\r\n\r\n");
    GOOD("GET / HTTP/1.1\r\nhOST: [::1]:7070\r\n\r\n");
}

/* RFC 9112 6.1 to 6.3: how long the body is, in one way only. */
static void test_body_length(void **unused)
{
    (void)unused;
#define POST "POST / HTTP/1.1\r\n" HOST
    GOOD(POST "\r\n");
    assert_int_equal(request.content_length, -1);
    GOOD(POST "Content-Length: 0\r\n\r\n");
    assert_int_equal(request.content_length, 0);
    GOOD(POST "content-length: 999999999999999999\r\n\r\n");
    assert_int_equal(request.content_length, 999999999999999999);
    BAD(400, POST "Content-Length: 1000000000000000000\r\n\r\n");
    BAD(400, POST "Content-Length: 99999999999999999999999\r\n\r\n");
    BAD(400, POST "Content-Length:\r\n\r\n");
    BAD(400, POST "Content-Length: +5\r\n\r\n");
    BAD(400, POST "Content-Length: -5\r\n\r\n");
    BAD(400, POST "Content-Length: 0x5\r\n\r\n");
    BAD(400, POST "Content-Length: 5 5\r\n\r\n");
    BAD(400, POST "Content-Length: 5, 5\r\n\r\n");
    BAD(400, POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n");
    BAD(400, POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\n");
    GOOD(POST "Transfer-Encoding: Chunked\r\n\r\n");
    assert_true(request.chunked);
    BAD(400, POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n");
    BAD(400, POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n");
    BAD(400, POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n");
    BAD(400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n");
    BAD(501, POST "Transfer-Encoding: gzip\r\n\r\n");
    BAD(501, POST "Transfer-Encoding: gzip, chunked\r\n\r\n");
    BAD(501, POST "Transfer-Encoding: chunked, chunked\r\n\r\n");
    BAD(501, POST "Transfer-Encoding: xchunked\r\n\r\n");
    BAD(501, POST "Transfer-Encoding:\r\n\r\n");
    BAD(501, POST "Transfer-Encoding: \"chunked\"\r\n\r\n");
}

/* RFC 9112 9.3 and RFC 9110 10.1.1. */
static void test_connection(void **unused)
{
    (void)unused;
    GOOD("GET / HTTP/1.1\r\n" HOST "Connection: foo, Close\r\n\r\n");
    assert_false(request.keep_alive);
    GOOD("GET / HTTP/1.0\r\n\r\n");
    assert_false(request.keep_alive);
    GOOD("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
    assert_true(request.keep_alive);
    GOOD("GET / HTTP/1.0\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n");
    assert_false(request.keep_alive);
    GOOD(POST "Expect: 100-Continue\r\n\r\n");
    assert_true(request.expects_continue);
    GOOD("POST / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n");
    assert_false(request.expects_continue); /* an old client would not understand */
}

/* ---- limits ---- */

static void test_head_limit(void **unused)
{
    (void)unused;
    struct span text = SPAN_LITERAL("GET /0123456789 HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(parse_within(text, text.size), HTTP_DONE);
    assert_int_equal(parse_within(text, text.size - 1), HTTP_BAD);
    assert_int_equal(request.status, 431);
    assert_int_equal(parse_within(text, 26), HTTP_BAD);
    assert_int_equal(request.status, 431);
    assert_int_equal(parse_within(text, 25), HTTP_BAD);
    assert_int_equal(request.status, 414);
}

static void test_headers_limit(void **unused)
{
    (void)unused;
    static char text[HEAD_BYTES_MAX];
    for (int headers = HTTP_HEADERS_MAX; headers <= HTTP_HEADERS_MAX + 1; headers++) {
        int size = snprintf(text, sizeof text, "GET / HTTP/1.1\r\n" HOST);
        for (int at = 1; at < headers; at++)
            size += snprintf(text + size, sizeof text - (size_t)size, "H%d: v\r\n", at);
        size += snprintf(text + size, sizeof text - (size_t)size, "\r\n");
        bool fits = headers == HTTP_HEADERS_MAX;
        assert_int_equal(parse_within((struct span){text, (size_t)size}, sizeof text), fits ? HTTP_DONE : HTTP_BAD);
        assert_int_equal(request.status, fits ? 0 : 431);
    }
}

/* ---- lists, percent-encoding, queries ---- */

static void test_lists(void **unused)
{
    (void)unused;
    GOOD("GET / HTTP/1.1\r\n" HOST "A: ,, b ,\"c, d\\\", e\" , f\r\na: G\r\n\r\n");
    assert_true(http_header_has_token(&request, "A", "B"));
    assert_true(http_header_has_token(&request, "a", "f"));
    assert_true(http_header_has_token(&request, "a", "g"));
    assert_false(http_header_has_token(&request, "a", "d"));
    assert_false(http_header_has_token(&request, "a", "e"));
    assert_false(http_header_has_token(&request, "a", ""));
    assert_false(http_header_has_token(&request, "b", "b"));
    assert_int_equal(http_header_count(&request, "A"), 2);
    struct span list = http_header(&request, "a");
    struct span element;
    assert_true(http_list_next(&list, &element));
    assert_span(element, "b");
    assert_true(http_list_next(&list, &element));
    assert_span(element, "\"c, d\\\", e\"");
    assert_true(http_list_next(&list, &element));
    assert_span(element, "f");
    assert_false(http_list_next(&list, &element));
}

static void check_decodes(const char *in, const char *expected)
{
    char out[64];
    size_t size = 0;
    struct span span = {in, strlen(in)};
    bool valid = http_percent_decode(span, out, sizeof out, &size);
    assert_int_equal(valid, expected != NULL);
    if (!valid || !expected)
        return;
    assert_true(span_equal((struct span){out, size}, (struct span){expected, strlen(expected)}));
    assert_true(size == 0 || !http_percent_decode(span, out, size - 1, &size));
}

static void test_percent_decode(void **unused)
{
    (void)unused;
    check_decodes("", "");
    check_decodes("a/b+c", "a/b+c");
    check_decodes("%2f%2F%C3%bc", "//\xc3\xbc");
    check_decodes("100%25", "100%");
    check_decodes("%", NULL);
    check_decodes("a%2", NULL);
    check_decodes("%2g", NULL);
    check_decodes("%g2", NULL);
    check_decodes("%%41", NULL);
    check_decodes("% 1", NULL);
    char in_place[] = "a%20b";
    size_t size = 0;
    assert_true(http_percent_decode((struct span){in_place, 5}, in_place, 5, &size));
    assert_memory_equal(in_place, "a b", size);
}

static enum http_query query(const char *text, const char *name, struct span *value)
{
    static char scratch[16];
    *value = SPAN_NONE;
    return http_query_get((struct span){text, strlen(text)}, name, scratch, sizeof scratch, value);
}

static void test_query(void **unused)
{
    (void)unused;
    struct span value;
    assert_int_equal(query("mode=sub&from=1%3A2", "from", &value), HTTP_QUERY_FOUND);
    assert_span(value, "1:2");
    assert_int_equal(query("mode=sub&from=1%3A2", "mode", &value), HTTP_QUERY_FOUND);
    assert_span(value, "sub");
    assert_int_equal(query("a=b+c=d", "a", &value), HTTP_QUERY_FOUND);
    assert_span(value, "b c=d");
    assert_int_equal(query("&&a&b=", "a", &value), HTTP_QUERY_FOUND);
    assert_int_equal(value.size, 0);
    assert_int_equal(query("&&a&b=", "b", &value), HTTP_QUERY_FOUND);
    assert_int_equal(query("&&a&b=", "", &value), HTTP_QUERY_BAD); /* an empty name is there, even twice */
    assert_int_equal(query("mode=sub", "mod", &value), HTTP_QUERY_NONE);
    assert_int_equal(query("mode=sub", "modes", &value), HTTP_QUERY_NONE);
    assert_int_equal(query("", "mode", &value), HTTP_QUERY_NONE);
    assert_int_equal(query("a=%zz", "a", &value), HTTP_QUERY_BAD);
    assert_int_equal(query("a=1&a=1", "a", &value), HTTP_QUERY_BAD); /* given twice: which one would be meant? */
    assert_int_equal(query("a=0123456789abcdefg", "a", &value), HTTP_QUERY_BAD); /* no room */
}

/* ---- chunked bodies ---- */

struct decoded {
    enum http_parse state;
    int status;
    size_t consumed;
    size_t size;
    char bytes[8192];
};

static void decode_in_pieces(struct span text, size_t piece, uint64_t max, struct decoded *out)
{
    struct http_chunked chunked;
    http_chunked_init(&chunked, max);
    *out = (struct decoded){.state = HTTP_MORE};
    for (size_t left = text.size; out->state == HTTP_MORE && left > 0 && piece > 0; left = text.size - out->consumed) {
        size_t size = left < piece ? left : piece;
        size_t consumed;
        size_t decoded;
        char *copy = malloc(size);
        memcpy(copy, text.data + out->consumed, size);
        out->state = http_chunked_feed(&chunked, copy, size, &consumed, &decoded);
        memcpy(out->bytes + out->size, copy, decoded);
        out->size += decoded;
        out->consumed += consumed;
        free(copy);
    }
    out->status = chunked.status;
}

/* In pieces of every size; returns what they all said. */
static const struct decoded *decode(struct span text, uint64_t max)
{
    static struct decoded whole;
    static struct decoded cut;
    decode_in_pieces(text, text.size, max, &whole);
    for (size_t piece = 1; piece < text.size && piece < 20; piece++) {
        decode_in_pieces(text, piece, max, &cut);
        assert_int_equal(cut.state, whole.state);
        assert_int_equal(cut.status, whole.status);
        assert_int_equal(cut.consumed, whole.consumed);
        assert_int_equal(cut.size, whole.size);
        assert_memory_equal(cut.bytes, whole.bytes, cut.size);
    }
    return &whole;
}

static void check_chunked(struct span text, struct span body)
{
    const struct decoded *out = decode(text, 1000);
    assert_int_equal(out->state, HTTP_DONE);
    assert_int_equal(out->consumed, text.size);
    assert_true(span_equal((struct span){out->bytes, out->size}, body));
}

static void check_chunked_bad(struct span text, int status)
{
    const struct decoded *out = decode(text, 1000);
    assert_int_equal(out->state, HTTP_BAD);
    assert_int_equal(out->status, status);
}

#define CHUNKED(text, body)       check_chunked(SPAN_LITERAL(text), SPAN_LITERAL(body))
#define CHUNKED_BAD(status, text) check_chunked_bad(SPAN_LITERAL(text), status)

/* RFC 9112 7.1, 7.1.1 (extensions), 7.1.2 (trailers). */
static void test_chunked(void **unused)
{
    (void)unused;
    CHUNKED("0\r\n\r\n", "");
    CHUNKED("5\r\nhello\r\n0\r\n\r\n", "hello");
    CHUNKED("5\r\nhello\r\n009\r\n, \r\n\r\n0\r\n\r\n0\r\n\r\n",
            "hello, \r\n\r\n0\r\n"); /* data that looks like an end */
    CHUNKED("1;a;b=\"c;d\"\r\nx\r\n0;z\r\n\r\n", "x");
    CHUNKED("1\r\nx\r\n0\r\nA: b\r\nC:\r\n\r\n", "x");
    const struct decoded *out = decode(SPAN_LITERAL("1\r\nx\r\n0\r\n\r\nGET /"), 10);
    assert_int_equal(out->state, HTTP_DONE);
    assert_int_equal(out->consumed, 11);
    out = decode(SPAN_LITERAL("5\r\nhel"), 10);
    assert_int_equal(out->state, HTTP_MORE);
    assert_int_equal(out->size, 3);
}

static void test_chunked_bad(void **unused)
{
    (void)unused;
    CHUNKED_BAD(400, "\r\n");
    CHUNKED_BAD(400, "g\r\n");
    CHUNKED_BAD(400, "-1\r\n");
    CHUNKED_BAD(400, "0x5\r\nhello\r\n");
    CHUNKED_BAD(400, " 5\r\nhello\r\n");
    CHUNKED_BAD(400, "5 \r\nhello\r\n"); /* white space behind a size: some take it for a part of the size */
    CHUNKED_BAD(400, "5\nhello\r\n");    /* bare LF */
    CHUNKED_BAD(400, "5;a\nhello\r\n");
    CHUNKED_BAD(400, "5\rxhello\r\n");
    CHUNKED_BAD(400, "5\r\nhello0\r\n"); /* more than was announced */
    CHUNKED_BAD(400, "5\r\nhello\n0\r\n");
    CHUNKED_BAD(400, "5\r\nhello\rx");
    CHUNKED_BAD(400, "0\r\n A: b\r\n\r\n");
    CHUNKED_BAD(400, "0\r\nA : b\r\n\r\n");
    CHUNKED_BAD(400, "0\r\n: b\r\n\r\n");
    CHUNKED_BAD(400, "0\r\nA\r\n\r\n");
    CHUNKED_BAD(400, "0\r\nA: \x01\r\n\r\n");
    CHUNKED_BAD(400, "0\r\nA: b\n\r\n");
    CHUNKED_BAD(400, "0\r\n\n");
    CHUNKED_BAD(400, "1000000000000000\r\n"); /* 16 digits */
    CHUNKED_BAD(413, "3e9\r\n");
    CHUNKED_BAD(413, "fffffffffffffff\r\n");
    CHUNKED_BAD(413, "1\r\nx\r\n3e8\r\n"); /* together more than the limit */
}

/* Bytes that are no string: without a NUL behind them. */
static void put(char *at, struct span bytes)
{
    memcpy(at, bytes.data, bytes.size);
}

static void test_chunked_limits(void **unused)
{
    (void)unused;
    char text[2048];
    memset(text, 'x', sizeof text);
    put(text, SPAN_LITERAL("5;"));
    assert_int_equal(decode((struct span){text, 256}, 10)->state, HTTP_MORE);
    assert_int_equal(decode((struct span){text, 257}, 10)->state, HTTP_BAD);
    memset(text, '0', sizeof text);
    assert_int_equal(decode((struct span){text, sizeof text}, 10)->state, HTTP_BAD); /* a size of zeros only */
    memset(text, 'x', sizeof text);
    put(text, SPAN_LITERAL("0\r\nA:"));
    assert_int_equal(decode((struct span){text, 3 + 1024}, 10)->state, HTTP_MORE);
    assert_int_equal(decode((struct span){text, 3 + 1025}, 10)->state, HTTP_BAD);
    const struct decoded *out = decode(SPAN_LITERAL("a\r\n0123456789\r\n0\r\n\r\n"), 10);
    assert_int_equal(out->state, HTTP_DONE); /* exactly the limit */
}

/* ---- responses ---- */

static void check_response(const struct http_response *response, const char *expected)
{
    char out[512];
    size_t size = http_response_write(NULL, 0, response);
    assert_true(size <= sizeof out);
    assert_int_equal(size, strlen(expected));
    memset(out, '#', sizeof out);
    assert_int_equal(http_response_write(out, size, response), size);
    assert_memory_equal(out, expected, size);
    assert_int_equal(out[size], '#');
    for (size_t room = 0; room < size; room++) { /* too little room: the same size, and nothing beyond the room */
        memset(out, '#', sizeof out);
        assert_int_equal(http_response_write(out, room, response), size);
        assert_int_equal(out[room], '#');
    }
}

#define SECURE "X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n"

static void test_responses(void **unused)
{
    (void)unused;
    struct http_response response = {
        .status = 200,
        .content_type = "application/json",
        .body = SPAN_LITERAL("{\"offset\":1}"),
        .keep_alive = true,
        .extra = SPAN_LITERAL(HTTP_CORS_ANY),
    };
    check_response(&response, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n"
                              "Connection: keep-alive\r\n" SECURE HTTP_CORS_ANY "\r\n{\"offset\":1}");
    response.head_only = true;
    check_response(&response, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n"
                              "Connection: keep-alive\r\n" SECURE HTTP_CORS_ANY "\r\n");
    check_response(&(struct http_response){.status = 404},
                   "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n" SECURE "\r\n");
    check_response(&(struct http_response){.status = 200, .content_length = 7000000},
                   "HTTP/1.1 200 OK\r\nContent-Length: 7000000\r\nConnection: close\r\n" SECURE "\r\n");
    check_response(&(struct http_response){.status = 204, .keep_alive = true}, /* RFC 9110 8.6: no length */
                   "HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n" SECURE "\r\n");
    check_response(&(struct http_response){.status = 200,
                                           .content_type = "text/event-stream",
                                           .content_length = HTTP_UNTIL_CLOSE,
                                           .extra = SPAN_LITERAL("A: b\r\ncache-control: no-cache\r\n")},
                   "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n"
                   "X-Content-Type-Options: nosniff\r\nA: b\r\ncache-control: no-cache\r\n\r\n");
}

static void test_reasons(void **unused)
{
    (void)unused;
    assert_string_equal(http_status_reason(426), "Upgrade Required");
    assert_string_equal(http_status_reason(431), "Request Header Fields Too Large");
    assert_string_equal(http_status_reason(299), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request),     cmocka_unit_test(test_bytes_behind),
        cmocka_unit_test(test_methods),     cmocka_unit_test(test_request_line),
        cmocka_unit_test(test_versions),    cmocka_unit_test(test_targets),
        cmocka_unit_test(test_lines),       cmocka_unit_test(test_host),
        cmocka_unit_test(test_body_length), cmocka_unit_test(test_connection),
        cmocka_unit_test(test_head_limit),  cmocka_unit_test(test_headers_limit),
        cmocka_unit_test(test_lists),       cmocka_unit_test(test_percent_decode),
        cmocka_unit_test(test_query),       cmocka_unit_test(test_chunked),
        cmocka_unit_test(test_chunked_bad), cmocka_unit_test(test_chunked_limits),
        cmocka_unit_test(test_responses),   cmocka_unit_test(test_reasons),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
