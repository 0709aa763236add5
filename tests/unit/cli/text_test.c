/*
 * text_test: what the command line reads (URLs, options) and how it words numbers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#undef fail /* cmocka's: the command line has a function of this name */
#include "cli/ask.h"
#include "cli/http.h"
#include "cli/options.h"
#include "cli/table.h"

static void urls(void **state)
{
    (void)state;
    struct http_url url;
    assert_true(http_url_read("http://127.0.0.1:7071", &url));
    assert_string_equal(url.host, "127.0.0.1");
    assert_string_equal(url.port, "7071");
    assert_true(http_url_read("HTTP://[::1]:80/", &url));
    assert_string_equal(url.host, "::1");
    assert_string_equal(url.port, "80");
    assert_string_equal(url.authority, "[::1]:80");
    assert_true(http_url_read("http://broker.example", &url));
    assert_string_equal(url.port, "7071");
    const char *const wrong[] = {"",           "127.0.0.1:7071", "https://x",   "http://",      "http://x/y",
                                 "http://x?y", "http://u@x",     "http://[::1", "http://x:12a", "http://x:1234567"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_false(http_url_read(wrong[i], &url));
    }
}

static void encoding(void **state)
{
    (void)state;
    assert_string_equal(ask_encoded("a/b c"), "a%2Fb%20c");
    assert_string_equal(ask_encoded("#+\xC3\xA9"), "%23%2B%C3%A9");
    assert_string_equal(ask_encoded(""), "");
}

static void numbers(void **state)
{
    (void)state;
    char out[TABLE_TEXT_MAX];
    assert_string_equal(text_number(out, 0), "0");
    assert_string_equal(text_number(out, 999), "999");
    assert_string_equal(text_number(out, 1000), "1,000");
    assert_string_equal(text_number(out, -1234567), "-1,234,567");
    assert_string_equal(text_number(out, INT64_MAX), "9,223,372,036,854,775,807");
    assert_string_equal(text_bytes(out, 999), "999 B");
    assert_string_equal(text_bytes(out, 1500), "1.5 KB");
    assert_string_equal(text_bytes(out, 250000000), "250 MB");
    assert_string_equal(text_seconds(out, 59), "59 s");
    assert_string_equal(text_seconds(out, 3700), "1 h 1 m");
    assert_string_equal(text_seconds(out, 90000), "1 d 1 h");
    assert_string_equal(text_us(out, 999), "999 us");
    assert_string_equal(text_us(out, 1500), "1.5 ms");
    assert_string_equal(text_us(out, 2500000), "2.5 s");
}

static int read_options(struct options *options, uint32_t allowed, char **argv)
{
    int count = 0;
    while (argv[count]) {
        count++;
    }
    return options_read(options, "test", allowed, count, argv);
}

static void options(void **state)
{
    (void)state;
    struct options read;
    const uint32_t allowed = OPTION_BIT(JSON) | OPTION_BIT(WATCH) | OPTION_BIT(LIMIT) | OPTION_BIT(TIMEOUT);
    unsetenv("SHOAL_ADMIN");
    assert_int_equal(read_options(&read, allowed, (char *[]){"test", "a", "-jn", "5", "--watch=0.5", "b", NULL}), 0);
    assert_true(read.json);
    assert_int_equal(read.limit, 5);
    assert_int_equal(read.watch_s * 10, 5);
    assert_int_equal(read.argument_count, 2);
    assert_string_equal(read.arguments[1], "b");
    assert_string_equal(read.admin, "http://127.0.0.1:7071");
    assert_false(read.timeout_given);
    assert_int_equal(read_options(&read, allowed, (char *[]){"test", "--timeout", "1.5", "--", "--json", NULL}), 0);
    assert_int_equal(read.timeout_ms, 1500);
    assert_string_equal(read.arguments[0], "--json");
    char *const wrong[][4] = {{"test", "--from", "new", NULL}, {"test", "--limit", "0", NULL},
                              {"test", "-n", "-1", NULL},      {"test", "-n", "1x", NULL},
                              {"test", "--limit", NULL},       {"test", "--watch", "0", NULL},
                              {"test", "--json=1", NULL},      {"test", "-x", NULL}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char *argv[4];
        memcpy(argv, wrong[i], sizeof argv);
        assert_int_equal(read_options(&read, allowed, argv), EXIT_USAGE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls),
        cmocka_unit_test(encoding),
        cmocka_unit_test(numbers),
        cmocka_unit_test(options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
