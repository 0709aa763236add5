/* federation: which servers are named, and that no password is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/federation.h"

static const char *servers_of(const char *urls)
{
    static char text[CONFIG_LIST_MAX];
    struct federation federation = {0};
    snprintf(federation.servers, sizeof federation.servers, "%s", urls);
    return federation_servers(&federation, text, sizeof text);
}

static void no_user_and_password_is_told(void **state)
{
    (void)state;
    assert_string_equal(servers_of(""), "");
    assert_string_equal(servers_of("redis://h"), "redis://h");
    assert_string_equal(servers_of("redis://me:pass@h:1/2"), "redis://h:1/2");
    assert_string_equal(servers_of("redis://:p@ss@h redis://[::1]:7/0"), "redis://h redis://[::1]:7/0");
}

static void a_short_text_is_cut(void **state)
{
    (void)state;
    char text[12];
    struct federation federation = {0};
    snprintf(federation.servers, sizeof federation.servers, "redis://one redis://two redis://three");
    assert_string_equal(federation_servers(&federation, text, sizeof text), "redis://one");
}

static void without_servers_there_is_nothing(void **state)
{
    (void)state;
    struct config *config = calloc(1, sizeof *config);
    struct federation federation = {0};
    const char *problem = "untouched";
    const struct federation_setup setup = {.config = config, .address = "127.0.0.1:1", .version = "0"};
    assert_int_equal(federation_peers(config), 0);
    assert_true(federation_create(&federation, &setup, &problem));
    assert_null(problem);
    assert_int_equal(federation_peer(&federation), 0);
    assert_true(federation_start(&federation));
    federation_stop(&federation);
    federation_destroy(&federation);
    free(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_user_and_password_is_told),
        cmocka_unit_test(a_short_text_is_cut),
        cmocka_unit_test(without_servers_there_is_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
