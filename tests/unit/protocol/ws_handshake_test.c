/*
 * ws_handshake_test: each MUST of RFC 6455 4.2 and RFC 7692 7.1 that binds a server. Requests are put together from
 * lines, parsed by the real parser, and checked.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "protocol/ws_handshake.h"

#include <stdio.h>

#define REQUEST    "GET /v1/ws HTTP/1.1\r\n"
#define HOST       "Host: localhost\r\n"
#define UPGRADE    "Upgrade: websocket\r\n"
#define CONNECTION "Connection: Upgrade\r\n"
#define VERSION    "Sec-WebSocket-Version: 13\r\n"
#define KEY        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define ALL        REQUEST HOST UPGRADE CONNECTION VERSION KEY

static const char *const ours[] = {"shoal.v1.json", "shoal.v1.bin", NULL};

static struct ws_handshake check_with(const char *head, enum ws_deflate_policy policy)
{
    static char text[4096];
    struct http_request request;
    struct ws_handshake handshake;
    int size = snprintf(text, sizeof text, "%s\r\n", head);
    assert_int_equal(http_request_parse(text, (size_t)size, sizeof text, &request), HTTP_DONE);
    int status = ws_handshake_check(&request, ours, policy, &handshake);
    assert_int_equal(status, handshake.status);
    assert_int_equal(handshake.status == 101, handshake.problem == NULL);
    return handshake;
}

static int status_of(const char *head)
{
    return check_with(head, WS_DEFLATE_ANY).status;
}

/* RFC 6455 1.3, 4.2.2 item 5: the whole answer, byte by byte, with the RFC's own key. */
static void test_answer(void **unused)
{
    (void)unused;
    static const char expected[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                   "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nX: y\r\n\r\n";
    char out[512];
    struct ws_handshake handshake = check_with(ALL, WS_DEFLATE_ANY);
    size_t size = ws_handshake_write(&handshake, SPAN_LITERAL("X: y\r\n"), NULL, 0);
    assert_int_equal(size, sizeof expected - 1);
    assert_int_equal(ws_handshake_write(&handshake, SPAN_LITERAL("X: y\r\n"), out, size), size);
    assert_memory_equal(out, expected, size);
    assert_int_equal(handshake.subprotocol, -1);
    assert_false(handshake.subprotocols_offered);
    assert_false(handshake.deflate.on);
}

/* RFC 6455 4.2.1: what must be there, with the error for each that is not. */
static void test_required(void **unused)
{
    (void)unused;
    assert_int_equal(status_of(ALL), 101);
    assert_int_equal(status_of("POST / HTTP/1.1\r\n" HOST UPGRADE CONNECTION VERSION KEY), 405); /* item 1 */
    assert_int_equal(status_of("GET / HTTP/1.0\r\n" HOST UPGRADE CONNECTION VERSION KEY), 400);  /* item 1 */
    assert_int_equal(status_of(REQUEST HOST CONNECTION VERSION KEY), 426);                       /* item 3 */
    assert_int_equal(status_of(REQUEST HOST "Upgrade: h2c\r\n" CONNECTION VERSION KEY), 426);    /* item 3 */
    assert_int_equal(status_of(REQUEST HOST UPGRADE VERSION KEY), 400);                          /* item 4 */
    assert_int_equal(status_of(REQUEST HOST UPGRADE CONNECTION VERSION), 400);                   /* item 5 */
    assert_int_equal(status_of(REQUEST HOST UPGRADE CONNECTION KEY), 400);                       /* item 6 */
    assert_int_equal(status_of(ALL "Content-Length: 1\r\n"), 400);
    assert_int_equal(status_of(ALL "Content-Length: 0\r\n"), 101);
    assert_int_equal(status_of(ALL "Transfer-Encoding: chunked\r\n"), 400);
}

/* RFC 6455 4.2.1 items 3 and 4: tokens in lists, without regard to case. */
static void test_tokens(void **unused)
{
    (void)unused;
    assert_int_equal(status_of(REQUEST HOST "Upgrade: WebSocket\r\nConnection: keep-alive, UPGRADE\r\n" VERSION KEY),
                     101);
    assert_int_equal(status_of(REQUEST HOST "Upgrade: foo , websocket\r\n" CONNECTION VERSION KEY), 101);
    assert_int_equal(status_of(REQUEST HOST UPGRADE "Connection: close\r\n" CONNECTION VERSION KEY), 101);
    assert_int_equal(status_of(REQUEST HOST "Upgrade: websockets\r\n" CONNECTION VERSION KEY), 426);
    assert_int_equal(status_of(REQUEST HOST UPGRADE "Connection: upgraded\r\n" VERSION KEY), 400);
}

/* RFC 6455 4.2.1 item 5, 11.3.1: one key, the base64 of 16 bytes. */
static void test_key(void **unused)
{
    (void)unused;
#define WITH_KEY(key) REQUEST HOST UPGRADE CONNECTION VERSION "Sec-WebSocket-Key: " key "\r\n"
    assert_int_equal(status_of(WITH_KEY("AAAAAAAAAAAAAAAAAAAAAA==")), 101);
    assert_int_equal(status_of(WITH_KEY("+/+/+/+/+/+/+/+/+/+/+w==")), 101);
    assert_int_equal(status_of(WITH_KEY("")), 400);
    assert_int_equal(status_of(WITH_KEY("AAAAAAAAAAAAAAAAAAAAAA")), 400);       /* no padding */
    assert_int_equal(status_of(WITH_KEY("AAAAAAAAAAAAAAAAAAAAAAA=")), 400);     /* 17 bytes */
    assert_int_equal(status_of(WITH_KEY("AAAAAAAAAAAAAAAAAAAA")), 400);         /* 15 bytes */
    assert_int_equal(status_of(WITH_KEY("AAAAAAAAAAAAAAAAAAAA-_==")), 400);     /* base64url */
    assert_int_equal(status_of(WITH_KEY("AAAAAAAAAA=AAAAAAAAAAA==")), 400);     /* padding inside */
    assert_int_equal(status_of(WITH_KEY("AAAAAAAAAAAAAAAAAAAAAA==AAAA")), 400); /* more behind */
    assert_int_equal(status_of(ALL KEY), 400);                                  /* two of them */
}

/* RFC 6455 4.2.2 item 4, 4.4: another version is a 426 that names ours; 11.3.5: once. */
static void test_version(void **unused)
{
    (void)unused;
    static const char *const others[] = {"8", "12", "14", "013", "13, 8", "x", ""};
    char head[512];
    for (size_t at = 0; at < sizeof others / sizeof *others; at++) {
        snprintf(head, sizeof head, REQUEST HOST UPGRADE CONNECTION KEY "Sec-WebSocket-Version: %s\r\n", others[at]);
        struct ws_handshake handshake = check_with(head, WS_DEFLATE_ANY);
        struct span lines = ws_handshake_refusal_lines(&handshake);
        assert_int_equal(handshake.status, 426);
        assert_non_null(memmem(lines.data, lines.size, "Sec-WebSocket-Version: 13\r\n", 27));
        assert_non_null(memmem(lines.data, lines.size, "Upgrade: websocket\r\n", 20)); /* RFC 9110 15.5.22 */
    }
    assert_int_equal(status_of(ALL VERSION), 400);
    struct ws_handshake handshake = check_with("PUT / HTTP/1.1\r\n" HOST, WS_DEFLATE_ANY);
    assert_true(span_equal(ws_handshake_refusal_lines(&handshake), SPAN_LITERAL("Allow: GET\r\n"))); /* 15.5.6 */
    handshake = check_with(REQUEST HOST UPGRADE, WS_DEFLATE_ANY);
    assert_int_equal(ws_handshake_refusal_lines(&handshake).size, 0);
}

/* RFC 6455 4.2.2 item 5 (/subprotocol/), 11.3.4: the client's order decides; none of ours is no error. */
static void test_subprotocols(void **unused)
{
    (void)unused;
#define WITH(lists) check_with(ALL "Sec-WebSocket-Protocol: " lists "\r\n", WS_DEFLATE_ANY)
    char out[512];
    struct ws_handshake handshake = WITH("shoal.v1.bin, shoal.v1.json");
    assert_int_equal(handshake.subprotocol, 1);
    assert_true(handshake.subprotocols_offered);
    size_t size = ws_handshake_write(&handshake, SPAN_NONE, out, sizeof out);
    assert_non_null(memmem(out, size, "\r\nSec-WebSocket-Protocol: shoal.v1.bin\r\n", 40));
    assert_int_equal(WITH("mqtt,shoal.v1.json").subprotocol, 0);
    assert_int_equal(WITH("mqtt\r\nSec-WebSocket-Protocol: shoal.v1.bin").subprotocol, 1); /* two lines are one list */
    assert_int_equal(WITH("SHOAL.V1.BIN").subprotocol, -1);                                /* case matters */
    handshake = WITH("mqtt");
    assert_int_equal(handshake.subprotocol, -1);
    assert_true(handshake.subprotocols_offered);
    size = ws_handshake_write(&handshake, SPAN_NONE, out, sizeof out);
    assert_null(memmem(out, size, "Sec-WebSocket-Protocol", 22)); /* never one that was not offered */
    assert_int_equal(WITH("shoal.v1.json, a b").status, 400);
    assert_int_equal(WITH("\"shoal.v1.json\"").status, 400);
#undef WITH
}

/* What we answer to an Extensions header: "400", "off", or the answer's parameters behind the two that are always
 * there. */
static const char *answer_to(const char *extensions, enum ws_deflate_policy policy)
{
    static const char always[] = "\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; "
                                 "client_no_context_takeover";
    static char out[512];
    char head[1024];
    snprintf(head, sizeof head, ALL "Sec-WebSocket-Extensions: %s\r\n", extensions);
    struct ws_handshake handshake = check_with(head, policy);
    if (handshake.status != 101)
        return handshake.status == 400 ? "400" : "unexpected";
    out[ws_handshake_write(&handshake, SPAN_NONE, out, sizeof out - 1)] = '\0';
    char *line = strstr(out, always);
    assert_int_equal(line != NULL, handshake.deflate.on);
    if (line == NULL)
        return "off";
    *strstr(line + 2, "\r\n") = '\0';
    return line + sizeof always - 1;
}

static void check_answer(const char *extensions, const char *expected)
{
    assert_string_equal(answer_to(extensions, WS_DEFLATE_ANY), expected);
}

/* RFC 7692 7.1.1 and 7.1.2: the four parameters. */
static void test_deflate_parameters(void **unused)
{
    (void)unused;
    check_answer("permessage-deflate", "");
    check_answer("Permessage-Deflate", "");
    check_answer("permessage-deflate; server_no_context_takeover", "");
    check_answer("permessage-deflate; client_no_context_takeover", "");
    check_answer("permessage-deflate;client_no_context_takeover ;\tserver_no_context_takeover", "");
    check_answer("permessage-deflate; client_max_window_bits", ""); /* 7.1.2.2: "you may bound me": we need not */
    check_answer("permessage-deflate; client_max_window_bits=10", "; client_max_window_bits=10");
    check_answer("permessage-deflate; client_max_window_bits=8", "; client_max_window_bits=8");
    check_answer("permessage-deflate; server_max_window_bits=10", "; server_max_window_bits=10"); /* 7.1.2.1 */
    check_answer("permessage-deflate; server_max_window_bits=\"9\"", "; server_max_window_bits=9");
    check_answer("permessage-deflate; server_max_window_bits=15; client_max_window_bits = 15",
                 "; server_max_window_bits=15; client_max_window_bits=15");
}

/* RFC 7692 7.1: a server MUST decline an offer with an unknown, invalid or repeated parameter; 7.1.2: 8 to 15, no zeros
 * before. */
static void test_deflate_invalid_offers(void **unused)
{
    (void)unused;
    check_answer("permessage-deflate; unknown", "off");
    check_answer("permessage-deflate; unknown=1", "off");
    check_answer("permessage-deflate; server_no_context_takeover=1", "off");
    check_answer("permessage-deflate; client_no_context_takeover=\"\"",
                 "400"); /* RFC 6455 9.1: no token in the quotes */
    check_answer("permessage-deflate; client_no_context_takeover=true", "off");
    check_answer("permessage-deflate; server_no_context_takeover; server_no_context_takeover", "off");
    check_answer("permessage-deflate; client_no_context_takeover; client_no_context_takeover", "off");
    check_answer("permessage-deflate; server_max_window_bits=10; server_max_window_bits=10", "off");
    check_answer("permessage-deflate; client_max_window_bits; client_max_window_bits", "off");
    check_answer("permessage-deflate; server_max_window_bits", "off");
    static const char *const values[] = {"7", "16", "0", "010", "09", "1", "100", "-9", "+9", "0x9", "9.0", "a"};
    for (size_t at = 0; at < sizeof values / sizeof *values; at++) {
        char text[128];
        snprintf(text, sizeof text, "permessage-deflate; server_max_window_bits=%s", values[at]);
        check_answer(text, "off");
        snprintf(text, sizeof text, "permessage-deflate; client_max_window_bits=%s", values[at]);
        check_answer(text, "off");
    }
    check_answer("permessage-deflate; server_max_window_bits=8", "off"); /* zlib can't: declined, never broken */
}

/* RFC 7692 5 and 7.1: several offers, the first that can be accepted; other extensions are not ours. */
static void test_deflate_fallbacks(void **unused)
{
    (void)unused;
    check_answer("permessage-deflate; server_max_window_bits=8, permessage-deflate", "");
    check_answer("permessage-deflate; x, permessage-deflate; server_max_window_bits=9, permessage-deflate",
                 "; server_max_window_bits=9");
    check_answer("x-webkit-deflate-frame, permessage-deflate; client_max_window_bits", "");
    check_answer("foo; bar=\"baz\"\r\nSec-WebSocket-Extensions: permessage-deflate", "");
    check_answer("foo", "off");
}

/* RFC 6455 9.1: what does not conform to the grammar fails the handshake, in any extension. */
static void test_extensions_malformed(void **unused)
{
    (void)unused;
    static const char *const malformed[] = {
        "permessage-deflate;",
        "permessage-deflate; =1",
        "permessage-deflate; a=",
        "permessage-deflate; a=\"b",
        "permessage-deflate a",
        "; a",
        "per(message)",
        "foo; a=\"b c\"",
        "foo; a=b=c",
        "foo; a=\"b\"c",
        "foo;; a",
    };
    for (size_t at = 0; at < sizeof malformed / sizeof *malformed; at++)
        check_answer(malformed[at], "400");
}

static void test_deflate_policies(void **unused)
{
    (void)unused;
    assert_string_equal(answer_to("permessage-deflate", WS_DEFLATE_OFF), "off");
    assert_string_equal(answer_to("permessage-deflate", WS_DEFLATE_SHARED), "");
    assert_string_equal(answer_to("permessage-deflate; server_max_window_bits=15", WS_DEFLATE_SHARED),
                        "; server_max_window_bits=15");
    assert_string_equal(answer_to("permessage-deflate; server_max_window_bits=14", WS_DEFLATE_SHARED), "off");
    assert_string_equal(
        answer_to("permessage-deflate; server_max_window_bits=14, permessage-deflate", WS_DEFLATE_SHARED), "");
    assert_string_equal(answer_to("permessage-deflate;", WS_DEFLATE_OFF), "400");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answer),
        cmocka_unit_test(test_required),
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_key),
        cmocka_unit_test(test_version),
        cmocka_unit_test(test_subprotocols),
        cmocka_unit_test(test_deflate_parameters),
        cmocka_unit_test(test_deflate_invalid_offers),
        cmocka_unit_test(test_deflate_fallbacks),
        cmocka_unit_test(test_extensions_malformed),
        cmocka_unit_test(test_deflate_policies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
