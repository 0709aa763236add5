/*
 * handshake_test: the request is one that our own broker takes; answers, cut anywhere, are taken or refused with the
 * error that says what is wrong.
 */
#include "client/handshake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "protocol/ws_handshake.h"

static const char random_bytes[16] = "0123456789abcdef";

/* The answer of the broker's half to our request. Returns its size. */
static size_t ask(const char *token, char key[24], char *answer, size_t room)
{
    static const char *const spoken[] = {"shoal.v1.json", "shoal.v1.bin", NULL};
    struct bytes out = {0};
    assert_true(handshake_request(&out, "127.0.0.1:7070", token, random_bytes, key));
    struct http_request request;
    assert_int_equal(http_request_parse(out.data, out.size, 16384, &request), HTTP_DONE);
    assert_int_equal(request.head_size, out.size);
    assert_true(http_equal_nocase(http_header(&request, "Host"), "127.0.0.1:7070"));
    assert_int_equal(http_header(&request, "Authorization").data != NULL, *token != '\0');
    struct ws_handshake handshake;
    assert_int_equal(ws_handshake_check(&request, spoken, WS_DEFLATE_SHARED, &handshake), 101);
    assert_int_equal(handshake.subprotocol, 1);
    assert_false(handshake.deflate.on);
    bytes_free(&out);
    return ws_handshake_write(&handshake, SPAN_NONE, answer, room);
}

/* Bytes that are no string: without a NUL behind them. */
static void put(char *at, struct span bytes)
{
    memcpy(at, bytes.data, bytes.size);
}

static void taken(void **state)
{
    (void)state;
    char key[24], answer[1024];
    struct handshake_answer result;
    size_t size = ask("x.y.z", key, answer, sizeof answer);
    assert_int_equal(ask("", key, answer, sizeof answer), size);
    for (size_t cut = 0; cut < size; cut++) {
        assert_int_equal(handshake_answer_read((struct span){answer, cut}, key, false, &result), 0);
        assert_int_equal(result.error, SHOAL_OK);
    }
    put(answer + size, SPAN_LITERAL("\x82\x00")); /* frames may follow at once */
    assert_int_equal(handshake_answer_read((struct span){answer, size + 2}, key, false, &result), size);
}

static enum shoal_error read_all(const char *answer, bool *final)
{
    struct handshake_answer result;
    char key[24];
    memset(key, 'A', sizeof key);
    assert_int_equal(handshake_answer_read((struct span){answer, strlen(answer)}, key, true, &result), 0);
    *final = result.final;
    assert_true(!result.error || result.detail[0]);
    return result.error;
}

static void refused(void **state)
{
    (void)state;
    static const struct {
        const char *answer;
        enum shoal_error error;
        bool final;
    } cases[] = {
        {"SSH-2.0-OpenSSH_9.2\r\n", SHOAL_ERROR_HANDSHAKE, true},
        {"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", SHOAL_ERROR_HANDSHAKE, true},
        {"HTTP/1.1 200 OK\r\n\r\nhello", SHOAL_ERROR_HANDSHAKE, true},
        {"HTTP/1.1 4x4 No\r\n\r\n", SHOAL_ERROR_HANDSHAKE, true},
        {"HTTP/1.1 401 Unauthorized\r\n\r\n{\"error\":{\"code\":\"token_expired\"}}", SHOAL_ERROR_TOKEN_EXPIRED, true},
        {"HTTP/1.1 401 Unauthorized\r\n\r\n{\"error\":{\"code\":\"token_invalid\"}}", SHOAL_ERROR_TOKEN_INVALID, true},
        {"HTTP/1.1 403 Forbidden\r\n\r\n", SHOAL_ERROR_FORBIDDEN, true},
        {"HTTP/1.1 503 Service Unavailable\r\n\r\n", SHOAL_ERROR_BUSY, false},
        {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", SHOAL_ERROR_HANDSHAKE, true},
        {"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: no\r\n\r\n", SHOAL_ERROR_HANDSHAKE, true},
        {"HTTP/1.1 101 Switch", SHOAL_OK, false}, /* cut: the connection's end is told as such */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bool final;
        assert_int_equal(read_all(cases[i].answer, &final), cases[i].error);
        assert_int_equal(final, cases[i].final);
    }
}

static void retry_after_is_read(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        uint32_t after_ms;
    } cases[] = {{"1", 1000}, {"30", 30000}, {"600", 600000}, {"601", 600000}, {"99999999999999999999", 600000},
                 {"0", 0},    {"-1", 0},     {"", 0},         {"1.5", 0},      {"Fri, 31 Dec 1999 23:59:59 GMT", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char answer[256], key[24] = {0};
        struct handshake_answer result;
        snprintf(answer, sizeof answer, "HTTP/1.1 503 Service Unavailable\r\nRetry-After: %s\r\n\r\n", cases[i].value);
        handshake_answer_read((struct span){answer, strlen(answer)}, key, true, &result);
        assert_int_equal(result.error, SHOAL_ERROR_BUSY);
        assert_int_equal(result.after_ms, cases[i].after_ms);
    }
}

static void another_subprotocol(void **state)
{
    (void)state;
    char key[24], answer[1024];
    struct handshake_answer result;
    size_t size = ask("", key, answer, sizeof answer - 1);
    answer[size] = '\0';
    memcpy(strstr(answer, "shoal.v1.bin"), "shoal.v9.bin", 12);
    assert_int_equal(handshake_answer_read((struct span){answer, size}, key, false, &result), 0);
    assert_int_equal(result.error, SHOAL_ERROR_HANDSHAKE);
}

static void endless(void **state)
{
    (void)state;
    static char answer[HANDSHAKE_ANSWER_BYTES_MAX + 1];
    char key[24] = {0};
    struct handshake_answer result;
    memset(answer, 'x', sizeof answer);
    put(answer, SPAN_LITERAL("HTTP/1.1 101 "));
    assert_int_equal(handshake_answer_read((struct span){answer, sizeof answer}, key, false, &result), 0);
    assert_int_equal(result.error, SHOAL_ERROR_HANDSHAKE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(taken),
        cmocka_unit_test(refused),
        cmocka_unit_test(retry_after_is_read),
        cmocka_unit_test(another_subprotocol),
        cmocka_unit_test(endless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
