/*
 * options_test: what the command line asks for, and what is refused.
 */
#include "broker/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct options options;

static int parse(const char *const *arguments)
{
    char *argv[OPTIONS_SETS_MAX + 8];
    int argc = 0;
    argv[argc++] = "shoald";
    for (; *arguments; arguments++)
        argv[argc++] = (char *)*arguments;
    argv[argc] = NULL;
    return options_parse(argc, argv, &options);
}

#define PARSE(...) parse((const char *const[]){__VA_ARGS__, NULL})

static void nothing_means_serve(void **state)
{
    (void)state;
    assert_int_equal(parse((const char *const[]){NULL}), 0);
    assert_int_equal(options.action, OPTIONS_SERVE);
    assert_null(options.config_file);
    assert_int_equal(options.set_count, 0);
}

static void sources_are_kept_in_order(void **state)
{
    (void)state;
    assert_int_equal(PARSE("--config", "a.ini", "--set", "a.b=c", "--set=d.e=f", "-s", "g.h=i"), 0);
    assert_string_equal(options.config_file, "a.ini");
    assert_int_equal(options.set_count, 3);
    assert_string_equal(options.sets[0], "a.b=c");
    assert_string_equal(options.sets[1], "d.e=f");
    assert_string_equal(options.sets[2], "g.h=i");
}

static void actions_are_told_apart(void **state)
{
    (void)state;
    assert_int_equal(PARSE("--check"), 0);
    assert_int_equal(options.action, OPTIONS_CHECK);
    assert_int_equal(PARSE("--print-config"), 0);
    assert_int_equal(options.action, OPTIONS_PRINT_CONFIG);
    assert_int_equal(PARSE("--version"), 0);
    assert_int_equal(options.action, OPTIONS_VERSION);
    assert_int_equal(PARSE("--help", "--nonsense"), 0);
    assert_int_equal(options.action, OPTIONS_HELP);
}

static void what_is_wrong_is_refused(void **state)
{
    (void)state;
    assert_int_equal(PARSE("--nonsense"), 2);
    assert_int_equal(PARSE("--limits.topics", "7"), 2);
    assert_int_equal(PARSE("--config"), 2);
    assert_int_equal(PARSE("--set"), 2);
    assert_int_equal(PARSE("shoal.ini"), 2);
    assert_int_equal(PARSE("--config", "a", "--config", "b"), 2);
}

static void settings_are_bounded(void **state)
{
    (void)state;
    const char *arguments[OPTIONS_SETS_MAX + 2];
    for (unsigned i = 0; i <= OPTIONS_SETS_MAX; i++)
        arguments[i] = "--set=a.b=c";
    arguments[OPTIONS_SETS_MAX] = NULL;
    assert_int_equal(parse(arguments), 0);
    arguments[OPTIONS_SETS_MAX] = "--set=a.b=c";
    arguments[OPTIONS_SETS_MAX + 1] = NULL;
    assert_int_equal(parse(arguments), 2);
}

static void help_shows_every_option(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    options_help(out);
    fclose(out);
    static const char *const names[] = {"--config",  "--set",  "--check", "--print-config",
                                        "--version", "--help", "Examples"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_non_null(strstr(text, names[i]));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_means_serve),    cmocka_unit_test(sources_are_kept_in_order),
        cmocka_unit_test(actions_are_told_apart), cmocka_unit_test(what_is_wrong_is_refused),
        cmocka_unit_test(settings_are_bounded),   cmocka_unit_test(help_shows_every_option),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
