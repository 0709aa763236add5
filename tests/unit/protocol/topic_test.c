/*
 * topic_test: checks by table, matching by MQTT's own examples, and both matching and covering against the slow obvious
 * definition over all small filters and names.
 */
#include "protocol/topic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct span of(const char *text)
{
    return (struct span){text, strlen(text)};
}

static void names_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum topic_problem as_name, as_filter;
    } cases[] = {
        {"a", TOPIC_OK, TOPIC_OK},
        {"sport/tennis/final 2026", TOPIC_OK, TOPIC_OK},
        {"caf\xC3\xA9/\xF0\x9F\x90\x9F", TOPIC_OK, TOPIC_OK},
        {"$sys/shards", TOPIC_OK, TOPIC_OK},
        {"", TOPIC_EMPTY, TOPIC_EMPTY},
        {"/", TOPIC_LEVEL_EMPTY, TOPIC_LEVEL_EMPTY},
        {"/a", TOPIC_LEVEL_EMPTY, TOPIC_LEVEL_EMPTY},
        {"a/", TOPIC_LEVEL_EMPTY, TOPIC_LEVEL_EMPTY},
        {"a//b", TOPIC_LEVEL_EMPTY, TOPIC_LEVEL_EMPTY},
        {"a\nb", TOPIC_CONTROL, TOPIC_CONTROL},
        {"a\x7F", TOPIC_CONTROL, TOPIC_CONTROL},
        {"a\xC2\x80", TOPIC_CONTROL, TOPIC_CONTROL},
        {"a\xC2\x9F", TOPIC_CONTROL, TOPIC_CONTROL},
        {"a\xC2\xA0", TOPIC_OK, TOPIC_OK},
        {"a\xC2", TOPIC_NOT_UTF8, TOPIC_NOT_UTF8},
        {"\xFF", TOPIC_NOT_UTF8, TOPIC_NOT_UTF8},
        {"\xED\xA0\x80", TOPIC_NOT_UTF8, TOPIC_NOT_UTF8},
        {"+", TOPIC_WILDCARD, TOPIC_OK},
        {"#", TOPIC_WILDCARD, TOPIC_OK},
        {"a/+/b/#", TOPIC_WILDCARD, TOPIC_OK},
        {"$sys/#", TOPIC_WILDCARD, TOPIC_OK},
        {"c++", TOPIC_WILDCARD, TOPIC_WILDCARD_NOT_ALONE},
        {"a/b#", TOPIC_WILDCARD, TOPIC_WILDCARD_NOT_ALONE},
        {"a/#b", TOPIC_WILDCARD, TOPIC_WILDCARD_NOT_ALONE},
        {"a/#/b", TOPIC_WILDCARD, TOPIC_WILDCARD_NOT_LAST},
        {"#/#", TOPIC_WILDCARD, TOPIC_WILDCARD_NOT_LAST},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(topic_name_check(of(cases[i].text)), cases[i].as_name);
        assert_int_equal(topic_filter_check(of(cases[i].text)), cases[i].as_filter);
    }
    assert_int_equal(topic_name_check((struct span){"a\0b", 3}), TOPIC_CONTROL);
    assert_int_equal(topic_name_check(SPAN_NONE), TOPIC_EMPTY);
}

static void length_is_bounded(void **state)
{
    (void)state;
    char text[TOPIC_BYTES_MAX + 1];
    memset(text, 'a', sizeof text);
    assert_int_equal(topic_name_check((struct span){text, TOPIC_BYTES_MAX}), TOPIC_OK);
    assert_int_equal(topic_name_check((struct span){text, TOPIC_BYTES_MAX + 1}), TOPIC_TOO_LONG);
    for (size_t i = 1; i < TOPIC_BYTES_MAX; i += 2)
        text[i] = '/';
    struct span deepest = {text, TOPIC_BYTES_MAX}, level;
    assert_int_equal(topic_name_check(deepest), TOPIC_OK);
    unsigned levels = 0;
    for (size_t at = 0; topic_level_next(deepest, &at, &level); levels++)
        assert_true(span_equal(level, SPAN_LITERAL("a")));
    assert_int_equal(levels, TOPIC_LEVELS_MAX);
}

static void problems_have_texts(void **state)
{
    (void)state;
    assert_string_equal(topic_problem_text(TOPIC_OK), "");
    for (int problem = TOPIC_EMPTY; problem <= TOPIC_WILDCARD_NOT_LAST; problem++)
        assert_true(strlen(topic_problem_text((enum topic_problem)problem)) > 5);
}

static void filters_match_as_in_mqtt(void **state)
{
    (void)state;
    static const struct {
        const char *filter, *name;
        bool matches;
    } cases[] = {
        /* MQTT 5.0, 4.7.1.2 */
        {"sport/tennis/player1/#", "sport/tennis/player1", true},
        {"sport/tennis/player1/#", "sport/tennis/player1/ranking", true},
        {"sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true},
        {"sport/#", "sport", true},
        {"sport/#", "sports", false},
        {"#", "a/b/c", true},
        /* 4.7.1.3 */
        {"sport/tennis/+", "sport/tennis/player1", true},
        {"sport/tennis/+", "sport/tennis/player1/ranking", false},
        {"sport/+", "sport", false},
        {"+/tennis/#", "sport/tennis", true},
        {"sport/+/player1", "sport/tennis/player1", true},
        /* 4.7.2 */
        {"#", "$SYS/a", false},
        {"+/monitor/Clients", "$SYS/monitor/Clients", false},
        {"+", "$SYS", false},
        {"$SYS/#", "$SYS/a", true},
        {"$SYS/#", "$SYS", true},
        {"$SYS/monitor/+", "$SYS/monitor/Clients", true},
        {"a/+", "a/$b", true},
        /* 4.7.3: no folding of case, no normal forms */
        {"ACCOUNTS", "Accounts", false},
        {"a", "a", true},
        {"a/b", "a", false},
        {"a", "a/b", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(topic_filter_matches(of(cases[i].filter), of(cases[i].name)), cases[i].matches);
}

static void reserved_and_wild(void **state)
{
    (void)state;
    assert_true(topic_is_reserved(of("$sys")));
    assert_false(topic_is_reserved(of("a/$sys")));
    assert_false(topic_is_reserved(SPAN_NONE));
    assert_true(topic_filter_is_wild(of("a/+")));
    assert_true(topic_filter_is_wild(of("#")));
    assert_false(topic_filter_is_wild(of("a/b")));
}

/*
 * The model: topics as arrays of single-letter levels. `c` and `%` stand for every other level, and every other one
 * with a dollar ahead: a filter never names them.
 */

#define MODEL_LEVELS 4

struct words {
    int count;
    char level[MODEL_LEVELS + 1];
};

static void words_text(struct words words, char out[16])
{
    for (int i = 0; i < words.count; i++) {
        char level = words.level[i];
        *out = '/';
        out += i > 0;
        *out = '$';
        out += level == '$' || level == '%';
        *out++ = level == '$' ? 'a' : level == '%' ? 'c' : level;
    }
    *out = 0;
}

static bool model_matches(const char *filter, int filters, const char *name, int names, bool first)
{
    bool reserved = first && (name[0] == '$' || name[0] == '%');
    if (filters == 1 && filter[0] == '#')
        return !reserved;
    if (filters == 0 || names == 0)
        return filters == names;
    if (filter[0] != name[0] && (filter[0] != '+' || reserved))
        return false;
    return model_matches(filter + 1, filters - 1, name + 1, names - 1, false);
}

/* All topics of 1 to `levels_max` levels over an alphabet, but for those with # before the end. */
static int words_all(const char *alphabet, int levels_max, struct words *out)
{
    int count = 0, letters = (int)strlen(alphabet);
    for (int levels = 1, all = letters; levels <= levels_max; levels++, all *= letters) {
        for (int n = 0; n < all; n++) {
            struct words words = {.count = levels};
            for (int i = 0, rest = n; i < levels; i++, rest /= letters)
                words.level[i] = alphabet[rest % letters];
            char *hash = memchr(words.level, '#', (size_t)levels);
            if (!hash || hash == words.level + levels - 1)
                out[count++] = words;
        }
    }
    return count;
}

static bool model_covers(struct words outer, struct words inner, const struct words *names, int count)
{
    for (int i = 0; i < count; i++) {
        if (model_matches(inner.level, inner.count, names[i].level, names[i].count, true) &&
            !model_matches(outer.level, outer.count, names[i].level, names[i].count, true))
            return false;
    }
    return true;
}

static void small_topics_agree_with_the_model(void **state)
{
    (void)state;
    static struct words filters[400], names[1200];
    int filter_count = words_all("ab$+#", 3, filters), name_count = words_all("abc$%", MODEL_LEVELS, names);
    assert_in_range(filter_count, 100, 400);
    assert_in_range(name_count, 700, 1200);
    char outer[16], inner[16];
    for (int f = 0; f < filter_count; f++) {
        words_text(filters[f], outer);
        assert_int_equal(topic_filter_check(of(outer)), TOPIC_OK);
        for (int n = 0; n < name_count; n++) {
            words_text(names[n], inner);
            bool matches = model_matches(filters[f].level, filters[f].count, names[n].level, names[n].count, true);
            if (topic_filter_matches(of(outer), of(inner)) != matches)
                fail_msg("%s matches %s: should be %d", outer, inner, matches);
        }
        for (int g = 0; g < filter_count; g++) {
            words_text(filters[g], inner);
            bool covers = model_covers(filters[f], filters[g], names, name_count);
            if (topic_filter_covers(of(outer), of(inner)) != covers)
                fail_msg("%s covers %s: should be %d", outer, inner, covers);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_checked),   cmocka_unit_test(length_is_bounded),
        cmocka_unit_test(problems_have_texts), cmocka_unit_test(filters_match_as_in_mqtt),
        cmocka_unit_test(reserved_and_wild),   cmocka_unit_test(small_topics_agree_with_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
