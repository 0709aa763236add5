/*
 * close_code: look-ups in the table of the header. All are switches that the compiler makes from the table, so that
 * there is no second place to keep up to date.
 */
#include "protocol/close_code.h"

#include <stdio.h>
#include <string.h>

#define AFTER       " after_ms="
#define AFTER_BYTES (sizeof AFTER "600000" - 1)

#define X(name, code, text, class, sentence)                                                                           \
    _Static_assert(sizeof(sentence) + AFTER_BYTES <= CLOSE_REASON_BYTES_MAX, #name " does not fit into a close "       \
                                                                                   "frame");
CLOSE_CODES(X)
#undef X

const char *close_code_name(uint16_t code)
{
    switch (code) {
#define X(name, number, text, class, sentence)                                                                         \
    case number:                                                                                                       \
        return text;
        CLOSE_CODES(X)
#undef X
    case CLOSE_NO_CODE:
        return "no_code";
    case CLOSE_ABNORMAL:
        return "abnormal";
    default:
        return "unknown";
    }
}

const char *close_code_sentence(uint16_t code)
{
    switch (code) {
#define X(name, number, text, class, sentence)                                                                         \
    case number:                                                                                                       \
        return sentence;
        CLOSE_CODES(X)
#undef X
    default:
        return "";
    }
}

size_t close_reason_write(char reason[CLOSE_REASON_BYTES_MAX], uint16_t code, uint32_t after_ms)
{
    const char *sentence = close_code_sentence(code);
    bool asks = after_ms > 0 && *sentence && close_code_class(code) != CLOSE_CLASS_NEVER;
    uint32_t told_ms = after_ms < CLOSE_AFTER_MS_MAX ? after_ms : CLOSE_AFTER_MS_MAX;
    int size = asks ? snprintf(reason, CLOSE_REASON_BYTES_MAX, "%s" AFTER "%u", sentence, (unsigned)told_ms)
                    : snprintf(reason, CLOSE_REASON_BYTES_MAX, "%s", sentence);
    return (size_t)size;
}

/* Digits up to the end of the reason; anything else is part of a sentence. */
static uint32_t after_ms_read(const char *digits, size_t size)
{
    uint32_t ms = 0;
    for (size_t i = 0; i < size; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return 0;
        if (ms < CLOSE_AFTER_MS_MAX)
            ms = ms * 10 + (uint32_t)(digits[i] - '0');
    }
    return ms < CLOSE_AFTER_MS_MAX ? ms : CLOSE_AFTER_MS_MAX;
}

uint32_t close_reason_after_ms(const char *reason, size_t size)
{
    const size_t word = sizeof AFTER - 1;
    for (size_t at = 0; at + word < size; at++)
        if (memcmp(reason + at, AFTER, word) == 0)
            return after_ms_read(reason + at + word, size - at - word);
    return 0;
}

/* For codes that a newer broker may send to an older client: the ranges are what is promised. */
static enum close_class class_by_range(uint16_t code)
{
    if (code >= 4000 && code <= 4099)
        return CLOSE_CLASS_RESUME;
    if (code >= 4400 && code <= 4499)
        return CLOSE_CLASS_NEVER;
    return CLOSE_CLASS_LATER;
}

enum close_class close_code_class(uint16_t code)
{
    switch (code) {
#define X(name, number, text, class, sentence)                                                                         \
    case number:                                                                                                       \
        return CLOSE_CLASS_##class;
        CLOSE_CODES(X)
#undef X
    default:
        return class_by_range(code);
    }
}

const char *close_class_name(enum close_class class)
{
    switch (class) {
    case CLOSE_CLASS_RESUME:
        return "resume";
    case CLOSE_CLASS_LATER:
        return "later";
    case CLOSE_CLASS_NEVER:
        return "never";
    }
    return "unknown";
}

/*
 * RFC 6455 7.4.2: below 1000 nothing is used; up to 2999 belongs to the standard, so only what is registered may occur
 * (1004, 1005, 1006 and 1015 are, as codes that are never sent); 3000 to 4999 is for libraries and applications.
 */
bool close_code_may_be_received(uint16_t code)
{
    if (code >= 3000)
        return code <= 4999;
    switch (code) {
#define X(name, number, text, class, sentence) case number:
        CLOSE_CODES(X)
#undef X
        return true;
    default:
        return false;
    }
}
