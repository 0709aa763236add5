/*
 * logger_test: lines are whole JSON, at most LOGGER_LINE_MAX, in the file where they belong; a stopped reader is not
 * waited for; what is left out is counted and told.
 */
#include "base/logger.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char directory[] = "/tmp/shoal-logger-XXXXXX";
static char path[64];
static char text[1 << 20];

static size_t file_read(const char *name)
{
    int fd = open(name, O_RDONLY);
    assert_true(fd >= 0);
    size_t size = 0;
    ssize_t got;
    while ((got = read(fd, text + size, sizeof text - 1 - size)) > 0)
        size += (size_t)got;
    text[size] = 0;
    close(fd);
    return size;
}

static unsigned count_of(const char *needle)
{
    unsigned count = 0;
    for (const char *at = text; (at = strstr(at, needle)); at += strlen(needle))
        count++;
    return count;
}

static int setup(void **state)
{
    (void)state;
    unlink(path);
    logger_level_set(LOG_INFO);
    return logger_open(path);
}

static int teardown(void **state)
{
    (void)state;
    logger_close();
    return 0;
}

static void fields_are_typed_and_escaped(void **state)
{
    (void)state;
    logger_write(LOG_INFO, "ready", LOG_STR("data", "a\"b\\c\n\x01"), LOG_U64("big", UINT64_MAX), LOG_I64("low", -5),
                 LOG_DOUBLE("part", 0.25), LOG_BOOL("yes", true), LOG_STR("none", NULL));
    file_read(path);
    assert_non_null(strstr(text,
                           "\"level\":\"info\",\"event\":\"ready\",\"data\":\"a\\\"b\\\\c\\u000a\\u0001\","
                           "\"big\":18446744073709551615,\"low\":-5,\"part\":0.25,\"yes\":true,\"none\":null}\n"));
    assert_memory_equal(text, "{\"time\":\"20", 11);
    assert_int_equal(text[strlen("{\"time\":\"2024-05-01")], 'T');
    assert_non_null(strstr(text, "Z\",\"level\""));
}

static void a_line_needs_no_fields(void **state)
{
    (void)state;
    logger_write(LOG_ERROR, "alone");
    file_read(path);
    assert_non_null(strstr(text, "\"level\":\"error\",\"event\":\"alone\"}\n"));
}

static void infinity_is_null(void **state)
{
    (void)state;
    logger_write(LOG_INFO, "number", LOG_DOUBLE("x", 1.0 / 0.0));
    file_read(path);
    assert_non_null(strstr(text, "\"x\":null}"));
}

static void bytes_that_are_no_utf8_are_replaced(void **state)
{
    (void)state;
    static const char *const bad[] = {"\xff",         "\xc0\x80",         "\xe0\x80\x80",
                                      "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        logger_write(LOG_INFO, "bad", LOG_STR("x", bad[i]));
    logger_write(LOG_INFO, "good", LOG_STR("x", "h\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x9f"));
    size_t size = file_read(path);
    for (size_t i = 0; i < size; i++)
        assert_true((unsigned char)text[i] != 0xff && (unsigned char)text[i] != 0xed);
    assert_true(count_of("\\ufffd") >= 6);
    assert_non_null(strstr(text, "\"x\":\"h\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x9f\"}"));
}

static void levels_below_are_not_written(void **state)
{
    (void)state;
    logger_write(LOG_DEBUG, "quiet");
    logger_level_set(LOG_WARNING);
    logger_write(LOG_INFO, "quiet");
    logger_write(LOG_WARNING, "loud");
    file_read(path);
    assert_null(strstr(text, "quiet"));
    assert_non_null(strstr(text, "loud"));
}

static void long_lines_end_whole_and_say_so(void **state)
{
    (void)state;
    static char lots[2 * LOGGER_LINE_MAX];
    memset(lots, '"', sizeof lots);
    logger_write(LOG_INFO, "long", LOG_U64("first", 1), LOG_BYTES("x", lots, sizeof lots), LOG_U64("last", 2));
    size_t size = file_read(path);
    assert_true(size <= LOGGER_LINE_MAX);
    assert_non_null(strstr(text, "\"first\":1,\"truncated\":true}\n"));
    assert_null(strstr(text, "last"));
}

static void a_line_may_fill_its_room(void **state)
{
    (void)state;
    static char lots[LOGGER_LINE_MAX];
    memset(lots, 'x', sizeof lots);
    for (size_t size = LOGGER_LINE_MAX - 150; size < LOGGER_LINE_MAX; size++)
        logger_write(LOG_INFO, "edge", LOG_BYTES("x", lots, size));
    file_read(path);
    for (char *line = text, *end; *line; line = end + 1) {
        end = strchr(line, '\n');
        assert_non_null(end);
        assert_true(end + 1 - line <= LOGGER_LINE_MAX);
        assert_int_equal(end[-1], '}');
    }
}

static void reopen_follows_the_name(void **state)
{
    (void)state;
    char moved[80];
    snprintf(moved, sizeof moved, "%s.1", path);
    logger_write(LOG_INFO, "before");
    assert_int_equal(rename(path, moved), 0);
    logger_write(LOG_INFO, "between");
    assert_int_equal(logger_reopen(), 0);
    logger_write(LOG_INFO, "after");
    file_read(moved);
    assert_non_null(strstr(text, "between"));
    assert_null(strstr(text, "after"));
    file_read(path);
    assert_non_null(strstr(text, "after"));
    unlink(moved);
}

static void a_path_that_fails_changes_nothing(void **state)
{
    (void)state;
    assert_true(logger_open("/nonexistent/shoal.log") < 0);
    logger_write(LOG_INFO, "still");
    file_read(path);
    assert_non_null(strstr(text, "still"));
}

static void peers_cannot_flood_it(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 1000; i++)
        logger_limited(LOG_WARNING, "flood", LOG_U64("i", i));
    logger_limited(LOG_WARNING, "other");
    file_read(path);
    assert_in_range(count_of("\"event\":\"flood\""), LOGGER_LIMIT_BURST, 2 * LOGGER_LIMIT_BURST);
    assert_int_equal(count_of("\"event\":\"other\"}"), 1);

    usleep(1100 * 1000);
    logger_tick();
    file_read(path);
    const char *told = strstr(text, "\"event\":\"log_suppressed\",\"of\":\"flood\",\"suppressed\":");
    assert_non_null(told);
    logger_limited(LOG_WARNING, "flood"); /* told once: not again */
    file_read(path);
    assert_int_equal(count_of("\"suppressed\":"),
                     count_of("log_suppressed") + (count_of("\"i\":") > LOGGER_LIMIT_BURST));
}

static void a_stopped_reader_is_not_waited_for(void **state)
{
    (void)state;
    char pipe_path[80];
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    snprintf(pipe_path, sizeof pipe_path, "/dev/fd/%d", ends[1]);
    assert_int_equal(logger_open(pipe_path), 0);
    uint64_t before = logger_dropped();
    for (unsigned i = 0; i < 5000; i++)
        logger_write(LOG_INFO, "unread", LOG_STR("x", "some forty bytes that fill the pipe in time"));
    assert_true(logger_dropped() > before);

    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    while (read(ends[0], text, sizeof text - 1) > 0)
        ;
    logger_tick();
    ssize_t got = read(ends[0], text, sizeof text - 1);
    assert_true(got > 0);
    text[got] = 0;
    assert_non_null(strstr(text, "\"event\":\"log_dropped\",\"lines\":"));
    logger_close();
    close(ends[0]);
    close(ends[1]);
}

static void *write_many(void *name)
{
    for (unsigned i = 0; i < 500; i++)
        logger_write(LOG_INFO, "thread", LOG_STR("name", name), LOG_U64("i", i));
    return NULL;
}

static void threads_do_not_mix_lines(void **state)
{
    (void)state;
    pthread_t threads[4];
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, "one"), 0);
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    file_read(path);
    unsigned lines = 0;
    for (char *line = text, *end; *line; line = end + 1, lines++) {
        end = strchr(line, '\n');
        assert_non_null(end);
        assert_int_equal(line[0], '{');
        assert_int_equal(end[-1], '}');
    }
    assert_int_equal(lines, 2000);
}

int main(void)
{
    if (!mkdtemp(directory))
        return 1;
    snprintf(path, sizeof path, "%s/log", directory);
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(fields_are_typed_and_escaped),
        TEST(a_line_needs_no_fields),
        TEST(infinity_is_null),
        TEST(bytes_that_are_no_utf8_are_replaced),
        TEST(levels_below_are_not_written),
        TEST(long_lines_end_whole_and_say_so),
        TEST(a_line_may_fill_its_room),
        TEST(reopen_follows_the_name),
        TEST(a_path_that_fails_changes_nothing),
        TEST(peers_cannot_flood_it),
        TEST(a_stopped_reader_is_not_waited_for),
        TEST(threads_do_not_mix_lines),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    rmdir(directory);
    return failed;
}
