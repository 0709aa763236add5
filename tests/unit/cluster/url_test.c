/*
 * url_test: addresses of Redis servers as operators write them, and what is said of those that are wrong.
 */
#include "cluster/url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static struct span text_span(const char *text)
{
    return (struct span){text, strlen(text)};
}

static void good_ones_are_taken_apart(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        struct url url;
        const char *address;
    } cases[] = {
        {"redis://localhost", {.host = "localhost", .port = 6379}, "localhost:6379"},
        {"REDIS://10.0.0.7:7000", {.host = "10.0.0.7", .port = 7000}, "10.0.0.7:7000"},
        {"redis://[::1]:7000/2", {.host = "::1", .port = 7000, .database = 2}, "[::1]:7000"},
        {"redis://[fe80::1]", {.host = "fe80::1", .port = 6379}, "[fe80::1]:6379"},
        {"redis://h/", {.host = "h", .port = 6379}, "h:6379"},
        {"redis://:secret@h:1/15", {.host = "h", .port = 1, .password = "secret", .database = 15}, "h:1"},
        {"redis://me:pa:ss@h", {.host = "h", .port = 6379, .user = "me", .password = "pa:ss"}, "h:6379"},
        {"redis://me:p%40%2f%20@h", {.host = "h", .port = 6379, .user = "me", .password = "p@/ "}, "h:6379"},
        {"redis://me:p@ss@h", {.host = "h", .port = 6379, .user = "me", .password = "p@ss"}, "h:6379"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct url url;
        char address[URL_ADDRESS_MAX];
        assert_null(url_parse(text_span(cases[i].text), &url));
        assert_string_equal(url.host, cases[i].url.host);
        assert_string_equal(url.user, cases[i].url.user);
        assert_string_equal(url.password, cases[i].url.password);
        assert_int_equal(url.port, cases[i].url.port);
        assert_int_equal(url.database, cases[i].url.database);
        url_address(&url, address);
        assert_string_equal(address, cases[i].address);
    }
}

static void bad_ones_are_refused_without_their_password(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "localhost",
        "redis:/h",
        "redis://",
        "redis://:7000",
        "redis://h:0",
        "redis://h:65536",
        "redis://h:",
        "redis://h:12x",
        "redis://h/x",
        "redis://h/-1",
        "redis://h/4294967296",
        "redis://[::1",
        "redis://[::1]x",
        "redis://secret@h",
        "redis://me:@h",
        "redis://me:secret%4@h",
        "redis://me:secret%zz@h",
        "redis://me:secret%00@h",
        "rediss://me:secret@h",
        "http://h",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct url url;
        const char *problem = url_parse(text_span(texts[i]), &url);
        if (!problem) {
            print_error("%s was taken\n", texts[i]);
        }
        assert_non_null(problem);
        assert_null(strstr(problem, "secret"));
    }
}

static void parts_that_are_too_long_are_refused(void **state)
{
    (void)state;
    char text[2 * URL_PART_MAX];
    struct url url;
    snprintf(text, sizeof text, "redis://%0*d", URL_PART_MAX, 0);
    assert_null(url_parse(text_span(text), &url));
    snprintf(text, sizeof text, "redis://%0*d", URL_PART_MAX + 1, 0);
    assert_non_null(url_parse(text_span(text), &url));
    snprintf(text, sizeof text, "redis://:%0*d@h", URL_PART_MAX + 1, 0);
    assert_non_null(url_parse(text_span(text), &url));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_ones_are_taken_apart),
        cmocka_unit_test(bad_ones_are_refused_without_their_password),
        cmocka_unit_test(parts_that_are_too_long_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
