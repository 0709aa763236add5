/*
 * json_test: what is JSON and what is not, by table and against a recursive model with random mutations; walks; strings
 * in both directions.
 */
#include "protocol/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "protocol/utf8.h"

static struct span of(const char *text)
{
    return (struct span){text, strlen(text)};
}

static const char *const valid[] = {
    "null",
    "true",
    "false",
    "0",
    "-0",
    "-1.5e+10",
    "1E-2",
    "0.1",
    "123456789012345678901234567890",
    "\"\"",
    "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\"",
    "\"\\uD83D\\uDC1F\"",
    "\"\x7F caf\xC3\xA9 \xF0\x9F\x90\x9F\"",
    "[]",
    "[ ]",
    "{}",
    "{ }",
    " \t\r\n1 \t\r\n",
    "[1,2]",
    "[[],{},[{}]]",
    "{\"a\":1}",
    "{ \"a\" : [ 1 , { \"b\" : null } ] , \"c\" : \"d\" }",
    "{\"a\":1,\"a\":2,\"\":3}",
};

static const char *const invalid[] = {
    "",
    " ",
    "nul",
    "True",
    "nulll",
    "+1",
    "-",
    "01",
    "-01",
    "1.",
    ".5",
    "1e",
    "1e+",
    "0x10",
    "NaN",
    "Infinity",
    "1 2",
    "\"",
    "\"a",
    "'a'",
    "\"\\",
    "\"\\x\"",
    "\"\\u12\"",
    "\"\\u12G4\"",
    "\"\\uD83D\"",        /* a high half alone */
    "\"\\uDC1F\"",        /* a low half alone */
    "\"\\uD83D\\uD83D\"", /* two high halves */
    "\"\\uD83Dx\"",
    "\"\\uD83D\\n\"",
    "\"a\nb\"", /* control characters must be escaped */
    "\"\xFF\"",
    "\"\xC0\x80\"",     /* overlong */
    "\"\xED\xA0\x80\"", /* a surrogate in UTF-8 */
    "\"\xC3\"",
    "[",
    "]",
    "[1",
    "[1,",
    "[1,]",
    "[,1]",
    "[1 2]",
    "[1}",
    "{",
    "}",
    "{1:2}",
    "{\"a\"}",
    "{\"a\":}",
    "{\"a\" 1}",
    "{\"a\":1,}",
    "{,}",
    "{\"a\":1]",
    "{\"a\":1 \"b\":2}",
    "{a:1}",
    "[1]]",
    "{}{}",
    "\xEF\xBB\xBF{}", /* byte order mark */
    "// comment\n1",
    "\f1",
    "\xC2\xA0 1", /* a space, but not one of the four */
};

static void texts_are_told_apart(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof valid / sizeof valid[0]; i++) {
        if (!json_valid(of(valid[i])))
            fail_msg("should be valid: %s", valid[i]);
    }
    for (size_t i = 0; i < sizeof invalid / sizeof invalid[0]; i++) {
        if (json_valid(of(invalid[i])))
            fail_msg("should be invalid: %s", invalid[i]);
    }
    assert_false(json_valid((struct span){"1\0", 2}));
    assert_false(json_valid((struct span){"\"\0\"", 3}));
    assert_false(json_valid(SPAN_NONE));
}

static void depth_is_bounded(void **state)
{
    (void)state;
    char text[2 * (JSON_DEPTH_MAX + 1)];
    memset(text, '[', JSON_DEPTH_MAX + 1);
    memset(text + JSON_DEPTH_MAX + 1, ']', JSON_DEPTH_MAX + 1);
    assert_true(json_valid((struct span){text + 1, (size_t)2 * JSON_DEPTH_MAX}));
    assert_false(json_valid((struct span){text, sizeof text}));

    /* A walk counts the object that it walks. */
    char object[sizeof text + 16];
    size_t at = 0;
    struct json_member member;
    int size = snprintf(object, sizeof object, "{\"a\":%.*s}", 2 * (JSON_DEPTH_MAX - 1), text + 2);
    assert_int_equal(json_object_next((struct span){object, (size_t)size}, &at, &member), JSON_MEMBER);
    at = 0;
    size = snprintf(object, sizeof object, "{\"a\":%.*s}", 2 * JSON_DEPTH_MAX, text + 1);
    assert_int_equal(json_object_next((struct span){object, (size_t)size}, &at, &member), JSON_INVALID);
}

static void a_value_is_found_in_its_space(void **state)
{
    (void)state;
    struct json_value value = json_read(of(" [1, 2]\n"));
    assert_int_equal(value.type, JSON_ARRAY);
    assert_true(span_equal(value.raw, of("[1, 2]")));
    static const struct {
        const char *text;
        enum json_type type;
    } cases[] = {{"null", JSON_NULL},   {"true", JSON_TRUE}, {"false", JSON_FALSE}, {"-1", JSON_NUMBER},
                 {"\"\"", JSON_STRING}, {"{}", JSON_OBJECT}, {"x", JSON_NONE}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(json_read(of(cases[i].text)).type, cases[i].type);
}

static void members_come_one_by_one(void **state)
{
    (void)state;
    struct span object = of(" { \"a\" : 1 , \"b\\u0063\" : [ 2 , {} ] , \"a\" : \"x\" } ");
    struct json_member member;
    size_t at = 0;
    assert_int_equal(json_object_next(object, &at, &member), JSON_MEMBER);
    assert_true(span_equal(member.key, of("\"a\"")));
    assert_true(span_equal(member.value.raw, of("1")));
    assert_int_equal(json_object_next(object, &at, &member), JSON_MEMBER);
    assert_true(json_string_is(member.key, of("bc")));
    assert_true(span_equal(member.value.raw, of("[ 2 , {} ]")));
    assert_int_equal(member.value.type, JSON_ARRAY);
    assert_int_equal(json_object_next(object, &at, &member), JSON_MEMBER);
    assert_true(json_string_is(member.value.raw, of("x")));
    assert_int_equal(json_object_next(object, &at, &member), JSON_END);
}

static enum json_walk walk_all(struct span text)
{
    struct json_member member;
    enum json_walk walk;
    size_t at = 0;
    while ((walk = json_object_next(text, &at, &member)) == JSON_MEMBER) {
        assert_true(json_valid(member.key));
        assert_true(json_valid(member.value.raw));
    }
    return walk;
}

/*
 * The model: recursive descent, as in the RFC's grammar. Returns what follows the value, NULL: invalid.
 */

static const char *model_space(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'))
        at++;
    return at;
}

static bool model_hex(const char *at, const char *end, unsigned *value)
{
    char digits[5] = {0};
    if (end - at < 4)
        return false;
    memcpy(digits, at, 4);
    *value = (unsigned)strtoul(digits, NULL, 16);
    return strspn(digits, "0123456789abcdefABCDEF") == 4;
}

static const char *model_string(const char *at, const char *end)
{
    const char *begin = at;
    if (at == end || *at++ != '"')
        return NULL;
    while (at < end && *at != '"') {
        unsigned high, low;
        if ((unsigned char)*at < 0x20)
            return NULL;
        if (*at++ != '\\')
            continue;
        if (at == end || !strchr("\"\\/bfnrtu", *at) || *at == 0)
            return NULL;
        if (*at++ != 'u')
            continue;
        if (!model_hex(at, end, &high))
            return NULL;
        at += 4;
        if (high >= 0xD800 && high < 0xDC00) {
            if (end - at < 6 || at[0] != '\\' || at[1] != 'u' || !model_hex(at + 2, end, &low) || low < 0xDC00 ||
                low > 0xDFFF)
                return NULL;
            at += 6;
        } else if (high >= 0xDC00 && high < 0xE000) {
            return NULL;
        }
    }
    return at < end && utf8_valid(begin, (size_t)(at - begin)) ? at + 1 : NULL;
}

static const char *model_digits(const char *at, const char *end)
{
    const char *begin = at;
    while (at < end && *at >= '0' && *at <= '9')
        at++;
    return at > begin ? at : NULL;
}

static const char *model_number(const char *at, const char *end)
{
    if (*at == '-')
        at++;
    at = at < end && *at == '0' ? at + 1 : model_digits(at, end);
    if (at && at < end && *at == '.')
        at = model_digits(at + 1, end);
    if (at && at < end && (*at == 'e' || *at == 'E')) {
        at++;
        if (at < end && (*at == '+' || *at == '-'))
            at++;
        at = model_digits(at, end);
    }
    return at;
}

static const char *model_value(const char *at, const char *end, int depth);

static const char *model_list(const char *at, const char *end, bool object, int depth)
{
    char close = object ? '}' : ']';
    if (depth == JSON_DEPTH_MAX)
        return NULL;
    at = model_space(at + 1, end);
    if (at < end && *at == close)
        return at + 1;
    for (;;) {
        at = model_space(at, end);
        if (object) {
            at = model_string(at, end);
            at = at ? model_space(at, end) : NULL;
            if (!at || at == end || *at++ != ':')
                return NULL;
        }
        at = model_value(at, end, depth + 1);
        at = at ? model_space(at, end) : NULL;
        if (!at || at == end)
            return NULL;
        if (*at == close)
            return at + 1;
        if (*at++ != ',')
            return NULL;
    }
}

static const char *model_value(const char *at, const char *end, int depth)
{
    static const char *const words[] = {"null", "true", "false"};
    at = model_space(at, end);
    for (int i = 0; i < 3; i++) {
        if ((size_t)(end - at) >= strlen(words[i]) && memcmp(at, words[i], strlen(words[i])) == 0)
            return at + strlen(words[i]);
    }
    if (at == end)
        return NULL;
    if (*at == '{' || *at == '[')
        return model_list(at, end, *at == '{', depth);
    return *at == '"' ? model_string(at, end) : model_number(at, end);
}

static bool model_valid(struct span text)
{
    const char *end = text.data + text.size, *at = model_value(text.data, end, 0);
    return at && model_space(at, end) == end;
}

static uint32_t number_state = 1;

static uint32_t number_below(uint32_t bound)
{
    number_state = number_state * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)number_state * bound) >> 32);
}

/* Changes, drops or doubles a few bytes; most of what comes in belongs to the grammar. */
static size_t mutate(char *text, size_t size)
{
    static const char pieces[] = "{}[]:,\"\\\\u0deD8C19.eE+- \n\x01tfn\xC3\xA9\xED\xF0";
    for (uint32_t times = 1 + number_below(3); times > 0 && size > 0; times--) {
        size_t at = number_below((uint32_t)size);
        switch (number_below(3)) {
        case 0:
            text[at] = pieces[number_below(sizeof pieces - 1)];
            break;
        case 1:
            memmove(text + at, text + at + 1, --size - at);
            break;
        default:
            memmove(text + at + 1, text + at, size++ - at);
            break;
        }
    }
    return size;
}

static void mutations_agree_with_the_model(void **state)
{
    (void)state;
    unsigned found_valid = 0;
    for (int round = 0; round < 200000; round++) {
        char text[256];
        struct span seed = of(valid[number_below(sizeof valid / sizeof valid[0])]);
        if (round % 3 == 0)
            seed = of("{\"op\":\"publish\",\"id\":1,\"data\":{\"k\":[1.5,\"\\uD83D\\uDC1F\",null]}}");
        memcpy(text, seed.data, seed.size);
        size_t size = mutate(text, seed.size);
        struct span changed = {text, size};
        bool is_valid = model_valid(changed);
        bool is_object = is_valid && *model_space(text, text + size) == '{';
        if (json_valid(changed) != is_valid || (walk_all(changed) == JSON_END) != is_object)
            fail_msg("should be %s: %.*s", is_valid ? "valid" : "invalid", (int)size, text);
        found_valid += is_valid;
    }
    assert_in_range(found_valid, 10000, 190000); /* both sides of the border are visited */
}

/* Strings of all kinds of characters: written, read back, equal. */
static void strings_survive(void **state)
{
    (void)state;
    static const char *const characters[] = {
        "a", "\"", "\\", "/", "\n", "\x01", "\x1F", "\x7F", "\xC3\xA9", "\xE2\x80\xA8", "\xF0\x9F\x90\x9F", "\b\f\r\t"};
    for (int round = 0; round < 20000; round++) {
        char text[200], raw[1000], back[1000];
        size_t size = 0;
        for (uint32_t count = number_below(20); count > 0; count--) {
            struct span character = of(characters[number_below(sizeof characters / sizeof characters[0])]);
            memcpy(text + size, character.data, character.size);
            size += character.size;
        }
        struct span in = {text, size}, out;
        size_t raw_size = json_string_write(NULL, 0, in);
        assert_int_equal(json_string_write(raw, raw_size, in), raw_size);
        struct span written = {raw, raw_size};
        assert_int_equal(json_read(written).type, JSON_STRING);
        assert_true(json_string_is(written, in));
        assert_true(json_string_read(written, back, size, &out));
        assert_true(span_equal(in, out));
        if (size > 0) {
            assert_false(json_string_is(written, (struct span){text, size - 1}));
            text[size - 1] ^= 1;
            assert_false(json_string_is(written, in));
        }
    }
}

static void escapes_are_read(void **state)
{
    (void)state;
    char scratch[64];
    struct span text;
    struct span raw = of("\"\\u0000\\u007f\\u0080\\u07FF\\u0800\\uffff\\uD800\\uDC00\\udbff\\udfff\\/\"");
    assert_true(json_valid(raw));
    assert_true(json_string_read(raw, scratch, sizeof scratch, &text));
    static const char want[] = "\0\x7F\xC2\x80\xDF\xBF\xE0\xA0\x80\xEF\xBF\xBF\xF0\x90\x80\x80\xF4\x8F\xBF\xBF/";
    assert_true(span_equal(text, SPAN_LITERAL(want)));
    for (size_t room = 0; room < sizeof want - 1; room++)
        assert_false(json_string_read(raw, scratch, room, &text));

    raw = of("\"no escapes\""); /* needs no scratch */
    assert_true(json_string_read(raw, NULL, 0, &text));
    assert_ptr_equal(text.data, raw.data + 1);
}

static void writing_stays_in_its_room(void **state)
{
    (void)state;
    struct span text = of("a\"b\n\x01z");
    size_t size = json_string_write(NULL, 0, text);
    assert_int_equal(size, strlen("\"a\\\"b\\n\\u0001z\""));
    for (size_t room = 0; room <= size; room++) {
        char out[32];
        memset(out, '~', sizeof out);
        assert_int_equal(json_string_write(out, room, text), size);
        for (size_t i = room; i < sizeof out; i++)
            assert_int_equal(out[i], '~');
        if (room == size)
            assert_memory_equal(out, "\"a\\\"b\\n\\u0001z\"", size);
    }
}

static void numbers_are_read(void **state)
{
    (void)state;
    uint64_t value;
    assert_true(json_u64_read(of("0"), &value) && value == 0);
    assert_true(json_u64_read(of("42"), &value) && value == 42);
    assert_true(json_u64_read(of("18446744073709551615"), &value) && value == UINT64_MAX);
    static const char *const bad[] = {
        "", "18446744073709551616", "99999999999999999999", "-1", "1.0", "1e3", "01", " 1", "1 ", "\"1\""};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(json_u64_read(of(bad[i]), &value));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_told_apart),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(a_value_is_found_in_its_space),
        cmocka_unit_test(members_come_one_by_one),
        cmocka_unit_test(mutations_agree_with_the_model),
        cmocka_unit_test(strings_survive),
        cmocka_unit_test(escapes_are_read),
        cmocka_unit_test(writing_stays_in_its_room),
        cmocka_unit_test(numbers_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
