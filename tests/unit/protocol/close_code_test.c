/*
 * close_code_test: the table's promises: what may be received, the classes of the ranges, and names that nobody has
 * twice.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "protocol/close_code.h"

#include <string.h>

static const uint16_t codes[] = {
#define X(name, code, text, class, sentence) code,
    CLOSE_CODES(X)
#undef X
};
#define CODES (sizeof codes / sizeof *codes)

/* RFC 6455 7.4.1 and 7.4.2, and the IANA registry of close codes: listed out, all 65,536 of them. */
static void test_may_be_received(void **unused)
{
    (void)unused;
    static const uint16_t standard[] = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014};
    for (uint32_t code = 0; code <= UINT16_MAX; code++) {
        bool expected = code >= 3000 && code <= 4999;
        for (size_t at = 0; at < sizeof standard / sizeof *standard; at++)
            expected |= code == standard[at];
        assert_int_equal(close_code_may_be_received((uint16_t)code), expected);
    }
}

static void test_classes_follow_the_ranges(void **unused)
{
    (void)unused;
    for (size_t at = 0; at < CODES; at++) {
        enum close_class class = close_code_class(codes[at]);
        if (codes[at] < 4000)
            continue;
        assert_int_equal(class, codes[at] < 4100   ? CLOSE_CLASS_RESUME
                                : codes[at] < 4200 ? CLOSE_CLASS_LATER
                                                   : CLOSE_CLASS_NEVER);
    }
    assert_int_equal(close_code_class(4099), CLOSE_CLASS_RESUME); /* not in the table: by its range */
    assert_int_equal(close_code_class(4499), CLOSE_CLASS_NEVER);
    assert_int_equal(close_code_class(CLOSE_ABNORMAL), CLOSE_CLASS_LATER);
    assert_string_equal(close_class_name(CLOSE_CLASS_RESUME), "resume");
    assert_string_equal(close_class_name(CLOSE_CLASS_LATER), "later");
    assert_string_equal(close_class_name(CLOSE_CLASS_NEVER), "never");
}

static void test_names_and_sentences(void **unused)
{
    (void)unused;
    for (size_t at = 0; at < CODES; at++) {
        assert_string_not_equal(close_code_name(codes[at]), "unknown");
        assert_true(strlen(close_code_sentence(codes[at])) > 0);
        assert_true(strlen(close_code_sentence(codes[at])) <= CLOSE_REASON_BYTES_MAX);
        for (size_t other = 0; other < at; other++)
            assert_string_not_equal(close_code_name(codes[at]), close_code_name(codes[other]));
    }
    assert_string_equal(close_code_name(CLOSE_SLOW), "slow");
    assert_string_equal(close_code_name(CLOSE_NO_CODE), "no_code");
    assert_string_equal(close_code_name(CLOSE_ABNORMAL), "abnormal");
    assert_string_equal(close_code_name(4999), "unknown");
    assert_string_equal(close_code_sentence(4999), "");
}

static void test_reasons_tell_when(void **unused)
{
    (void)unused;
    char reason[CLOSE_REASON_BYTES_MAX];
    for (size_t at = 0; at < CODES; at++) {
        size_t size = close_reason_write(reason, codes[at], 0);
        assert_int_equal(size, strlen(close_code_sentence(codes[at])));
        assert_int_equal(close_reason_after_ms(reason, size), 0);
        size = close_reason_write(reason, codes[at], UINT32_MAX);
        bool asks = close_code_class(codes[at]) != CLOSE_CLASS_NEVER;
        assert_true(size <= CLOSE_REASON_BYTES_MAX);
        assert_int_equal(close_reason_after_ms(reason, size), asks ? CLOSE_AFTER_MS_MAX : 0);
    }
    size_t size = close_reason_write(reason, CLOSE_DRAINING, 1234);
    assert_string_equal(reason, "The broker is going away: reconnect and resume. after_ms=1234");
    assert_int_equal(close_reason_after_ms(reason, size), 1234);
    assert_int_equal(close_reason_after_ms(reason, size - 1), 123);
    assert_int_equal(close_reason_write(reason, CLOSE_NONE, 5), 0);
}

static void test_reasons_of_others(void **unused)
{
    (void)unused;
    static const struct {
        const char *reason;
        uint32_t after_ms;
    } reasons[] = {{"", 0},
                   {" after_ms=", 0},
                   {" after_ms=7", 7},
                   {"after_ms=7", 0},
                   {"x after_ms=7x", 0},
                   {"x after_ms=-7", 0},
                   {"x after_ms=99999999999999999999999", CLOSE_AFTER_MS_MAX}};
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        assert_int_equal(close_reason_after_ms(reasons[i].reason, strlen(reasons[i].reason)), reasons[i].after_ms);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_may_be_received),     cmocka_unit_test(test_classes_follow_the_ranges),
        cmocka_unit_test(test_names_and_sentences), cmocka_unit_test(test_reasons_tell_when),
        cmocka_unit_test(test_reasons_of_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
