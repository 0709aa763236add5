/*
 * utf8_test: the validator beside a slow, obvious model that decodes code points, over every sequence of up to three
 * bytes, and over those of four that matter.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "protocol/utf8.h"

#include <string.h>

/* ---- the model: RFC 3629, decoded number by number ---- */

/* The bytes of the character at the front; 0: there is none. */
static size_t model_character(const uint8_t *bytes, size_t size)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = bytes[0] < 0x80             ? 1
                    : (bytes[0] & 0xE0) == 0xC0 ? 2
                    : (bytes[0] & 0xF0) == 0xE0 ? 3
                    : (bytes[0] & 0xF8) == 0xF0 ? 4
                                                : 0;
    if (length <= 1 || length > size)
        return length > size ? 0 : length;
    uint32_t point = bytes[0] & (0x7Fu >> length);
    for (size_t at = 1; at < length; at++) {
        if ((bytes[at] & 0xC0) != 0x80)
            return 0;
        point = point << 6 | (bytes[at] & 0x3F);
    }
    bool surrogate = point >= 0xD800 && point <= 0xDFFF;
    return point >= smallest[length] && point <= 0x10FFFF && !surrogate ? length : 0;
}

static bool model_valid(const uint8_t *bytes, size_t size)
{
    for (size_t at = 0; at < size;) {
        size_t length = model_character(bytes + at, size - at);
        if (length == 0)
            return false;
        at += length;
    }
    return true;
}

/* Whether some continuation of up to three bytes makes it valid: what "as early as possible" means. */
static bool model_may_become_valid(const uint8_t *bytes, size_t size)
{
    static const uint8_t tries[] = {0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF};
    uint8_t longer[16];
    memcpy(longer, bytes, size);
    if (model_valid(bytes, size))
        return true;
    for (size_t first = 0; first < sizeof tries; first++) {
        longer[size] = tries[first];
        longer[size + 1] = longer[size + 2] = 0x80;
        for (size_t more = 1; more <= 3; more++)
            if (model_valid(longer, size + more))
                return true;
    }
    return false;
}

/* ---- tests ---- */

static bool valid_bytewise(const uint8_t *bytes, size_t size)
{
    uint32_t state = UTF8_START;
    for (size_t at = 0; at < size; at++)
        if (!utf8_feed(&state, (const char *)bytes + at, 1))
            return false;
    return utf8_complete(state);
}

static void check(const uint8_t *bytes, size_t size)
{
    uint32_t state = UTF8_START;
    bool expected = model_valid(bytes, size);
    assert_int_equal(utf8_valid((const char *)bytes, size), expected);
    assert_int_equal(valid_bytewise(bytes, size), expected);
    assert_int_equal(utf8_feed(&state, (const char *)bytes, size), model_may_become_valid(bytes, size));
}

static void test_all_up_to_two_bytes(void **unused)
{
    (void)unused;
    for (uint32_t number = 0; number < 0x10000; number++) {
        uint8_t bytes[] = {(uint8_t)(number >> 8), (uint8_t)number};
        check(bytes, 2);
        if (number < 0x100)
            check(bytes + 1, 1);
    }
}

/* Bytes on both sides of each boundary of the tables. */
static const uint8_t edges[] = {0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF,
                                0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xF8, 0xFF};
enum { EDGES = sizeof edges };

static void test_edges_of_up_to_five_bytes(void **unused)
{
    (void)unused;
    uint8_t bytes[5];
    for (uint32_t number = 0; number < EDGES * EDGES * EDGES * EDGES; number++) {
        uint32_t rest = number;
        for (size_t at = 0; at < 4; at++, rest /= EDGES)
            bytes[at] = edges[rest % EDGES];
        bytes[4] = 'x';
        check(bytes, 3);
        check(bytes, 4);
        check(bytes, 5);
    }
}

/* A bad byte at each place of a text that is else ASCII, so that no word of the fast path hides one. */
static void test_fast_path(void **unused)
{
    (void)unused;
    char text[64];
    for (size_t size = 0; size <= sizeof text; size++) {
        memset(text, 'a', sizeof text);
        assert_true(utf8_valid(text, size));
        for (size_t at = 0; at < size; at++) {
            text[at] = (char)0xFF;
            assert_false(utf8_valid(text, size));
            text[at] = 'a';
        }
    }
}

static void test_cut_anywhere(void **unused)
{
    (void)unused;
    static const char text[] = "Gr\xC3\xBC\xC3\x9F"
                               "e, \xE4\xB8\x96\xE7\x95\x8C \xF0\x9F\x90\x9F and the usual ASCII behind it";
    for (size_t cut = 0; cut < sizeof text; cut++) {
        uint32_t state = UTF8_START;
        assert_true(utf8_feed(&state, text, cut));
        assert_true(utf8_feed(&state, text + cut, sizeof text - 1 - (cut < sizeof text - 1 ? cut : sizeof text - 1)));
        assert_true(utf8_complete(state));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_up_to_two_bytes),
        cmocka_unit_test(test_edges_of_up_to_five_bytes),
        cmocka_unit_test(test_fast_path),
        cmocka_unit_test(test_cut_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
