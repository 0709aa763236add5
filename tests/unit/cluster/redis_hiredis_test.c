/*
 * redis_hiredis_test: the door to Redis, with a server that the test plays byte by byte: how it opens, closes, and
 * fails; values of all kinds, in pieces; and that who does not pull is neither read for nor woken.
 */
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/clock.h"
#include "cluster/redis.h"

#define WAIT_US     10000
#define WAIT_LONG_S 60

static struct redis_room *room;
static struct redis *redis;
static int listener = -1;
static int peer = -1; /* the server's end */
static uint16_t port;

static void listen_begin(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    listener = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(bind(listener, (struct sockaddr *)&address, size) == 0 && listen(listener, 1) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&address, &size) == 0);
    port = ntohs(address.sin_port);
}

static int setup(void **state)
{
    (void)state;
    room = redis_hiredis_create();
    listen_begin();
    redis = redis_connect(room, "127.0.0.1", port);
    return room && redis ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    redis_close(redis);
    redis_destroy(room);
    close(listener);
    if (peer >= 0) {
        close(peer);
    }
    peer = -1;
    return 0;
}

static int64_t now_us(void)
{
    return clock_of_host.monotonic_us(&clock_of_host);
}

static struct redis_event next_event(void)
{
    struct redis_event event;
    int64_t begin_us = now_us();
    while (!redis_next(redis, &event)) {
        redis_wait(room, WAIT_US);
        CHECK(now_us() - begin_us < WAIT_LONG_S * 1000000ll);
    }
    return event;
}

static void open_connection(void)
{
    assert_int_equal(next_event().kind, REDIS_OPENED);
    peer = accept(listener, NULL, NULL);
    assert_true(peer >= 0);
}

static void serve(const char *bytes)
{
    assert_int_equal(send(peer, bytes, strlen(bytes), 0), strlen(bytes));
}

static const struct redis_value *next_value(enum redis_kind kind)
{
    struct redis_event event = next_event();
    assert_int_equal(event.kind, REDIS_VALUE);
    assert_int_equal(event.value->kind, kind);
    return event.value;
}

static void assert_text(const struct redis_value *value, const char *text)
{
    assert_true(span_equal(value->text, (struct span){text, strlen(text)}));
}

static void values_of_all_kinds_come_in_order(void **state)
{
    (void)state;
    open_connection();
    serve("+OK\r\n:-42\r\n");
    assert_text(next_value(REDIS_STRING), "OK");
    assert_int_equal(next_value(REDIS_INTEGER)->integer, -42);
    serve("$0\r\n\r\n$-1\r\n*-1\r\n*0\r\n-ERR no\r\n*3\r\n$1\r\na\r\n*2\r\n:1\r\n*1\r\n+x\r\n$-1\r\n");
    assert_text(next_value(REDIS_STRING), "");
    next_value(REDIS_NIL);
    next_value(REDIS_NIL);
    assert_int_equal(next_value(REDIS_ARRAY)->count, 0);
    assert_text(next_value(REDIS_FAILURE), "ERR no");
    const struct redis_value *array = next_value(REDIS_ARRAY);
    assert_int_equal(array->count, 3);
    assert_text(&array->items[0], "a");
    assert_int_equal(array->items[1].count, 2);
    assert_int_equal(array->items[1].items[0].integer, 1);
    assert_text(&array->items[1].items[1].items[0], "x");
    assert_int_equal(array->items[2].kind, REDIS_NIL);
}

static void pieces_make_a_value(void **state)
{
    (void)state;
    static const char bytes[] = "*2\r\n$5\r\nhello\r\n:7\r\n";
    open_connection();
    struct redis_event event;
    for (size_t i = 0; i < sizeof bytes - 1; i++) {
        assert_false(redis_next(redis, &event));
        assert_int_equal(send(peer, bytes + i, 1, 0), 1);
        redis_wait(room, WAIT_US);
    }
    const struct redis_value *array = next_value(REDIS_ARRAY);
    assert_text(&array->items[0], "hello");
    assert_int_equal(array->items[1].integer, 7);
    assert_false(redis_next(redis, &event));
}

static void commands_go_out_as_words(void **state)
{
    (void)state;
    /* before it is open: kept */
    redis_send(redis, 2, (const struct span[]){SPAN_LITERAL("GET"), {"a\0b", 3}});
    open_connection();
    redis_send(redis, 1, (const struct span[]){SPAN_LITERAL("PING")});
    redis_send(redis, 2, (const struct span[]){SPAN_LITERAL("ECHO"), SPAN_LITERAL("")});
    redis_wait(room, 0);
    static const char expected[] =
        "*2\r\n$3\r\nGET\r\n$3\r\na\0b\r\n*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nECHO\r\n$0\r\n\r\n";
    char bytes[sizeof expected];
    assert_int_equal(recv(peer, bytes, sizeof expected - 1, MSG_WAITALL), sizeof expected - 1);
    assert_memory_equal(bytes, expected, sizeof expected - 1);
}

/* More than a socket takes at once: the rest goes out as the server reads. */
static void much_is_sent_whole(void **state)
{
    (void)state;
    enum { SIZE = 8 << 20 };
    char *payload = malloc(SIZE);
    char *received = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++) {
        payload[i] = (char)(i * 31 / 7);
    }
    open_connection();
    redis_send(redis, 1, (const struct span[]){{payload, SIZE}});
    static const char head[] = "*1\r\n$8388608\r\n";
    char got_head[sizeof head];
    redis_wait(room, 0);
    assert_int_equal(recv(peer, got_head, sizeof head - 1, MSG_WAITALL), sizeof head - 1);
    for (size_t got = 0; got < SIZE;) {
        redis_wait(room, 0);
        ssize_t size = recv(peer, received + got, SIZE - got, MSG_DONTWAIT);
        got += size > 0 ? (size_t)size : 0;
    }
    assert_memory_equal(payload, received, SIZE);
    free(payload);
    free(received);
}

static void a_refused_connection_says_why(void **state)
{
    (void)state;
    assert_int_equal(next_event().kind, REDIS_OPENED);
    redis_close(redis);
    close(listener);
    redis = redis_connect(room, "127.0.0.1", port);
    struct redis_event event = next_event();
    assert_int_equal(event.kind, REDIS_CLOSED);
    assert_string_equal(event.reason, "Connection refused");
    assert_false(redis_next(redis, &event));
    redis_send(redis, 1, (const struct span[]){SPAN_LITERAL("PING")}); /* nothing */
    redis_wait(room, 0);
    assert_false(redis_next(redis, &event));
    listen_begin();
}

static void what_came_before_the_end_is_taken_first(void **state)
{
    (void)state;
    open_connection();
    serve("+one\r\n+two\r\n+cut");
    close(peer);
    peer = -1;
    assert_text(next_value(REDIS_STRING), "one");
    assert_text(next_value(REDIS_STRING), "two");
    struct redis_event event = next_event();
    assert_int_equal(event.kind, REDIS_CLOSED);
    assert_true(event.reason[0] != 0);
}

static void what_is_no_redis_is_closed(void **state)
{
    (void)state;
    open_connection();
    serve("HTTP/1.1 400 Bad Request\r\n\r\n");
    struct redis_event event = next_event();
    assert_int_equal(event.kind, REDIS_CLOSED);
    assert_non_null(strstr(event.reason, "Protocol error"));
}

static void who_does_not_pull_is_not_read_for_nor_woken(void **state)
{
    (void)state;
    open_connection();
    serve("+one\r\n");
    assert_text(next_value(REDIS_STRING), "one");
    enum { SIZE = 100000 };
    static char filler[SIZE + 1];
    for (size_t i = 0; i < SIZE; i++) {
        filler[i] = "+ab\r\n"[i % 5];
    }
    serve(filler);
    int64_t first_us = now_us();
    int64_t begin_us;
    do { /* news wakes, as long as it is some; then nobody has looked, and it is still there */
        begin_us = now_us();
        redis_wait(room, 5 * WAIT_US);
        assert_true(now_us() - first_us < WAIT_LONG_S * 1000000ll);
    } while (now_us() - begin_us < 5 * WAIT_US);
    struct redis_event event;
    size_t count = 0;
    while (count < SIZE / 5) {
        if (redis_next(redis, &event)) {
            assert_text(event.value, "ab");
            count++;
        } else {
            redis_wait(room, WAIT_US);
        }
    }
    assert_false(redis_next(redis, &event));
}

static void *ring(void *unused)
{
    redis_wake(room);
    return unused;
}

static void another_thread_ends_the_wait(void **state)
{
    (void)state;
    open_connection();
    struct redis_event event;
    assert_false(redis_next(redis, &event));
    redis_wake(room); /* also before it begins */
    redis_wait(room, WAIT_LONG_S * 1000000ll);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, ring, NULL), 0);
    redis_wait(room, WAIT_LONG_S * 1000000ll);
    pthread_join(thread, NULL);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(values_of_all_kinds_come_in_order), TEST(pieces_make_a_value),
        TEST(commands_go_out_as_words),          TEST(much_is_sent_whole),
        TEST(a_refused_connection_says_why),     TEST(what_came_before_the_end_is_taken_first),
        TEST(what_is_no_redis_is_closed),        TEST(who_does_not_pull_is_not_read_for_nor_woken),
        TEST(another_thread_ends_the_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
