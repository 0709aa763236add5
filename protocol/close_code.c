/*
 * close_code: look-ups in the table of the header. All are switches that the compiler makes from the table, so that
 * there is no second place to keep up to date.
 */
#include "protocol/close_code.h"

#define X(name, code, text, class, sentence)                                                                           \
    _Static_assert(sizeof(sentence) - 1 <= CLOSE_REASON_BYTES_MAX, #name " does not fit into a close frame");
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
