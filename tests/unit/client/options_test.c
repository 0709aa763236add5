/*
 * options_test: what the setters take and refuse, the environment, and the tables of words.
 */
#include "client/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void urls(void **state)
{
    (void)state;
    static const struct {
        const char *url, *host, *port; /* host NULL: refused */
    } cases[] = {
        {"ws://127.0.0.1:7070", "127.0.0.1", "7070"},
        {"ws://localhost", "localhost", "7070"},
        {"ws://localhost/", "localhost", "7070"},
        {"ws://[::1]:1", "::1", "1"},
        {"ws://[fe80::1%eth0]", "fe80::1%eth0", "7070"},
        {"ws://a-b.example.org:65535/", "a-b.example.org", "65535"},
        {"", NULL, NULL},
        {"ws://", NULL, NULL},
        {"ws://:7070", NULL, NULL},
        {"wss://localhost", NULL, NULL},
        {"http://localhost", NULL, NULL},
        {"ws://localhost:0", NULL, NULL},
        {"ws://localhost:65536", NULL, NULL},
        {"ws://localhost:7070x", NULL, NULL},
        {"ws://localhost:", NULL, NULL},
        {"ws://[::1", NULL, NULL},
        {"ws://::1", NULL, NULL},
        {"ws://user@localhost", NULL, NULL},
        {"ws://localhost/v1/ws", NULL, NULL},
        {"ws://local\r\nhost", NULL, NULL},
    };
    struct shoal_options options;
    assert_int_equal(options_init(&options), SHOAL_OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct shoal_options before = options;
        enum shoal_error error = shoal_options_set_url(&options, cases[i].url);
        assert_int_equal(error, cases[i].host ? SHOAL_OK : SHOAL_ERROR_URL);
        if (error)
            assert_memory_equal(&before, &options, sizeof options);
        else {
            assert_string_equal(options.host, cases[i].host);
            assert_string_equal(options.port, cases[i].port);
        }
    }
}

static void environment(void **state)
{
    (void)state;
    struct shoal_options options;
    setenv("SHOAL_URL", "ws://elsewhere:1", 1);
    assert_int_equal(options_init(&options), SHOAL_OK);
    assert_string_equal(options.host, "elsewhere");
    setenv("SHOAL_URL", "elsewhere", 1);
    struct shoal_client *client;
    assert_int_equal(shoal_connect(NULL, &client), SHOAL_ERROR_URL);
    assert_null(client);
    unsetenv("SHOAL_URL");
    assert_int_equal(options_init(&options), SHOAL_OK);
    assert_string_equal(options.host, "127.0.0.1");
}

static void ranges(void **state)
{
    (void)state;
    struct shoal_options *options = shoal_options_create();
    assert_int_equal(shoal_options_set_connect_timeout(options, 0), SHOAL_ERROR_ARGUMENT);
    assert_int_equal(shoal_options_set_connect_timeout(options, 600001), SHOAL_ERROR_ARGUMENT);
    assert_int_equal(shoal_options_set_connect_timeout(options, 1), SHOAL_OK);
    assert_int_equal(shoal_options_set_backoff(options, 2, 1), SHOAL_ERROR_ARGUMENT);
    assert_int_equal(shoal_options_set_backoff(options, 0, 1), SHOAL_ERROR_ARGUMENT);
    assert_int_equal(shoal_options_set_backoff(options, 1, 1), SHOAL_OK);
    assert_int_equal(shoal_options_set_heartbeat(options, 99), SHOAL_ERROR_ARGUMENT);
    assert_int_equal(shoal_options_set_window(options, 0, 1024), SHOAL_ERROR_ARGUMENT);
    assert_int_equal(shoal_options_set_window(options, 1, 1023), SHOAL_ERROR_ARGUMENT);
    assert_int_equal(shoal_options_set_window(options, 1, 1024), SHOAL_OK);
    assert_int_equal(shoal_options_set_token(options, "x.y z"), SHOAL_ERROR_ARGUMENT);
    assert_int_equal(shoal_options_set_token(options, "x.y\r\n"), SHOAL_ERROR_ARGUMENT);
    char *longest = malloc(TOKEN_BYTES_MAX + 2);
    memset(longest, 'x', TOKEN_BYTES_MAX + 1);
    longest[TOKEN_BYTES_MAX + 1] = '\0';
    assert_int_equal(shoal_options_set_token(options, longest), SHOAL_ERROR_ARGUMENT);
    assert_int_equal(shoal_options_set_token(options, longest + 1), SHOAL_OK);
    assert_int_equal(shoal_options_set_poll(NULL, true), SHOAL_ERROR_ARGUMENT);
    free(longest);
    shoal_options_destroy(options);
    shoal_options_destroy(NULL);
}

static void errors_have_words(void **state)
{
    (void)state;
    for (int a = 0; a < SHOAL_ERROR_COUNT; a++) {
        assert_true(strlen(shoal_error_message((enum shoal_error)a)) > 10);
        for (int b = 0; b < a; b++)
            assert_string_not_equal(shoal_error_name((enum shoal_error)a), shoal_error_name((enum shoal_error)b));
    }
    assert_string_equal(shoal_error_name((enum shoal_error)9999), "broker");
    assert_int_equal(shoal_error_retry(SHOAL_ERROR_UNCERTAIN), SHOAL_RETRY_CHECK);
    assert_int_equal(shoal_error_retry(SHOAL_ERROR_UNAVAILABLE), SHOAL_RETRY_CHECK);
    assert_string_equal(shoal_gap_reason_name(SHOAL_GAP_FILTER), "filter");
}

static void positions_as_text(void **state)
{
    (void)state;
    char text[SHOAL_POSITION_TEXT_SIZE];
    struct shoal_position position = {0xAB, UINT64_MAX};
    shoal_position_write(position, text);
    assert_string_equal(text, "00000000000000ab:18446744073709551615");
    struct shoal_position read;
    assert_int_equal(shoal_position_read(text, &read), SHOAL_OK);
    assert_true(read.epoch == position.epoch && read.offset == position.offset);
    static const char *const wrong[] = {"", ":", "1", "1:", ":1", "x:1", "1:-1", "1:1 ", "12345678901234567:1"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(shoal_position_read(wrong[i], &read), SHOAL_ERROR_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls),
        cmocka_unit_test(environment),
        cmocka_unit_test(ranges),
        cmocka_unit_test(errors_have_words),
        cmocka_unit_test(positions_as_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
