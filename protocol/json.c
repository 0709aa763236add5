/*
 * json: the scanner below everything, then walks and strings.
 *
 * The scanner goes over the text once and alternates between two questions: what value begins here, and what may come
 * after one. What is open is a stack of bits, 1 for an object and 0 for an array:
 *
 *              ┌────────── "," (and a key) ───────────┐
 *              ▼                                      │
 *      STEP_VALUE ── scalar, or {} or [] ──▶ STEP_AFTER ── "}" or "]": one bracket fewer ──▶ STEP_AFTER
 *         │    ▲
 *         └────┘ "{" (and a key) or "[": one bracket more                  all closed again: the value ends
 */
#include "protocol/json.h"

#include <assert.h>

#include "protocol/utf8.h"
#include "protocol/writer.h"

struct scan {
    const char *at;
    const char *end;
    uint64_t objects; /* bit n - 1: whether the n-th open bracket is an object's */
    unsigned depth;   /* brackets open */
};

static_assert(JSON_DEPTH_MAX == 64, "the open brackets are the bits of a word");

enum step {
    STEP_VALUE,   /* a value must begin here */
    STEP_AFTER,   /* a value has ended here */
    STEP_INVALID, /* this is not JSON */
};

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void space_skip(struct scan *scan)
{
    while (scan->at < scan->end && is_space(*scan->at))
        scan->at++;
}

/* Goes over `c` if it comes next. */
static bool char_take(struct scan *scan, char c)
{
    if (scan->at == scan->end || *scan->at != c)
        return false;
    scan->at++;
    return true;
}

static bool literal_take(struct scan *scan, struct span literal)
{
    if ((size_t)(scan->end - scan->at) < literal.size || memcmp(scan->at, literal.data, literal.size) != 0)
        return false;
    scan->at += literal.size;
    return true;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* At least one digit. */
static bool digits_take(struct scan *scan)
{
    const char *begin = scan->at;
    while (scan->at < scan->end && is_digit(*scan->at))
        scan->at++;
    return scan->at > begin;
}

/* RFC 8259 6: -? (0 | 1-9 digits) (. digits)? (e sign? digits)? */
static bool number_take(struct scan *scan)
{
    char_take(scan, '-');
    if (!char_take(scan, '0') && !digits_take(scan))
        return false;
    if (char_take(scan, '.') && !digits_take(scan))
        return false;
    if (!char_take(scan, 'e') && !char_take(scan, 'E'))
        return true;
    if (!char_take(scan, '+'))
        char_take(scan, '-');
    return digits_take(scan);
}

static bool hex4_take(struct scan *scan, uint32_t *value)
{
    if (scan->end - scan->at < 4)
        return false;
    *value = 0;
    for (int i = 0; i < 4; i++) {
        char c = *scan->at++, lower = (char)(c | 0x20);
        if (!is_digit(c) && (lower < 'a' || lower > 'f'))
            return false;
        *value = *value << 4 | (uint32_t)(is_digit(c) ? c - '0' : lower - 'a' + 10);
    }
    return true;
}

/* What follows `\u`: a character, or the two halves of one above U+FFFF. A half alone stands for nothing. */
static bool unicode_escape_take(struct scan *scan, uint32_t *character)
{
    uint32_t low;
    if (!hex4_take(scan, character) || (*character >= 0xDC00 && *character <= 0xDFFF))
        return false;
    if (*character < 0xD800 || *character > 0xDBFF)
        return true;
    if (!literal_take(scan, SPAN_LITERAL("\\u")) || !hex4_take(scan, &low) || low < 0xDC00 || low > 0xDFFF)
        return false;
    *character = 0x10000 + ((*character - 0xD800) << 10) + (low - 0xDC00);
    return true;
}

/* What follows a backslash, and the character that it stands for. */
static bool escape_take(struct scan *scan, uint32_t *character)
{
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    if (scan->at == scan->end)
        return false;
    char c = *scan->at++;
    if (c == 'u')
        return unicode_escape_take(scan, character);
    const char *letter = memchr(letters, c, sizeof letters - 1);
    *character = letter ? (uint32_t)meanings[letter - letters] : 0;
    return letter != NULL;
}

static bool string_take(struct scan *scan)
{
    if (!char_take(scan, '"'))
        return false;
    const char *begin = scan->at;
    uint32_t character;
    while (scan->at < scan->end && *scan->at != '"') {
        char c = *scan->at++;
        if ((unsigned char)c < 0x20 || (c == '\\' && !escape_take(scan, &character)))
            return false;
    }
    return utf8_valid(begin, (size_t)(scan->at - begin)) && char_take(scan, '"');
}

/* A key and its colon. */
static bool key_take(struct scan *scan)
{
    space_skip(scan);
    if (!string_take(scan))
        return false;
    space_skip(scan);
    return char_take(scan, ':');
}

static bool in_object(const struct scan *scan)
{
    return scan->objects >> (scan->depth - 1) & 1;
}

/* Goes over the closing bracket of what was opened last, if it comes next. */
static bool close_take(struct scan *scan)
{
    if (!char_take(scan, in_object(scan) ? '}' : ']'))
        return false;
    scan->depth--;
    return true;
}

static enum step container_begin(struct scan *scan, bool object)
{
    if (scan->depth == JSON_DEPTH_MAX)
        return STEP_INVALID;
    uint64_t bit = UINT64_C(1) << scan->depth++;
    scan->objects = object ? scan->objects | bit : scan->objects & ~bit;
    scan->at++;
    space_skip(scan);
    if (close_take(scan))
        return STEP_AFTER;
    return !object || key_take(scan) ? STEP_VALUE : STEP_INVALID;
}

static enum json_type type_by_first(char c)
{
    switch (c) {
    case '{':
        return JSON_OBJECT;
    case '[':
        return JSON_ARRAY;
    case '"':
        return JSON_STRING;
    case 't':
        return JSON_TRUE;
    case 'f':
        return JSON_FALSE;
    case 'n':
        return JSON_NULL;
    default:
        return c == '-' || is_digit(c) ? JSON_NUMBER : JSON_NONE;
    }
}

static bool scalar_take(struct scan *scan, enum json_type type)
{
    switch (type) {
    case JSON_STRING:
        return string_take(scan);
    case JSON_NUMBER:
        return number_take(scan);
    case JSON_TRUE:
        return literal_take(scan, SPAN_LITERAL("true"));
    case JSON_FALSE:
        return literal_take(scan, SPAN_LITERAL("false"));
    case JSON_NULL:
        return literal_take(scan, SPAN_LITERAL("null"));
    default:
        return false;
    }
}

static enum step value_begin(struct scan *scan)
{
    space_skip(scan);
    enum json_type type = scan->at < scan->end ? type_by_first(*scan->at) : JSON_NONE;
    if (type == JSON_OBJECT || type == JSON_ARRAY)
        return container_begin(scan, type == JSON_OBJECT);
    return scalar_take(scan, type) ? STEP_AFTER : STEP_INVALID;
}

static enum step value_after(struct scan *scan)
{
    space_skip(scan);
    if (close_take(scan))
        return STEP_AFTER;
    if (!char_take(scan, ',') || (in_object(scan) && !key_take(scan)))
        return STEP_INVALID;
    return STEP_VALUE;
}

/* Goes over one value, after space; the span that it stands in. */
static bool value_take(struct scan *scan, struct json_value *value)
{
    space_skip(scan);
    const char *begin = scan->at;
    unsigned outer = scan->depth;
    enum step step = value_begin(scan);
    while (step == STEP_VALUE || (step == STEP_AFTER && scan->depth > outer))
        step = step == STEP_VALUE ? value_begin(scan) : value_after(scan);
    if (step == STEP_INVALID)
        return false;
    *value = (struct json_value){type_by_first(*begin), {begin, (size_t)(scan->at - begin)}};
    return true;
}

static struct scan scan_of(struct span text)
{
    return (struct scan){.at = text.data, .end = text.data + text.size};
}

struct json_value json_read(struct span text)
{
    struct json_value none = {.type = JSON_NONE}, value;
    if (text.size == 0)
        return none; /* data may be NULL */
    struct scan scan = scan_of(text);
    if (!value_take(&scan, &value))
        return none;
    space_skip(&scan);
    return scan.at == scan.end ? value : none;
}

bool json_valid(struct span text)
{
    return json_read(text).type != JSON_NONE;
}

static enum json_walk object_end(struct scan *scan)
{
    space_skip(scan);
    return scan->at == scan->end ? JSON_END : JSON_INVALID;
}

enum json_walk json_object_next(struct span object, size_t *at, struct json_member *member)
{
    if (*at >= object.size)
        return JSON_INVALID;
    struct scan scan = scan_of(object);
    bool first = *at == 0;
    scan.at += *at;
    scan.depth = 1; /* inside of this object: nothing in it may be deeper than if the whole text were read at once */
    space_skip(&scan);
    if (first && !char_take(&scan, '{'))
        return JSON_INVALID;
    space_skip(&scan);
    if (char_take(&scan, '}'))
        return object_end(&scan);
    if (!first && !char_take(&scan, ','))
        return JSON_INVALID;
    space_skip(&scan);
    const char *key = scan.at;
    if (!string_take(&scan))
        return JSON_INVALID;
    member->key = (struct span){key, (size_t)(scan.at - key)};
    space_skip(&scan);
    if (!char_take(&scan, ':') || !value_take(&scan, &member->value))
        return JSON_INVALID;
    *at = (size_t)(scan.at - object.data);
    return JSON_MEMBER;
}

/* What stands between the quotes. */
static struct span unquoted(struct span raw)
{
    assert(raw.size >= 2 && raw.data[0] == '"' && raw.data[raw.size - 1] == '"');
    return (struct span){raw.data + 1, raw.size - 2};
}

static bool has_escapes(struct span text)
{
    return text.size > 0 && memchr(text.data, '\\', text.size) != NULL;
}

static size_t utf8_write(uint32_t character, char out[4])
{
    if (character < 0x80) {
        out[0] = (char)character;
        return 1;
    }
    size_t more = character < 0x800 ? 1 : character < 0x10000 ? 2 : 3;
    static const unsigned char first[] = {0, 0xC0, 0xE0, 0xF0};
    out[0] = (char)(first[more] | character >> (6 * more));
    for (size_t i = 1; i <= more; i++)
        out[i] = (char)(0x80 | (character >> (6 * (more - i)) & 0x3F));
    return more + 1;
}

/* The bytes of one character of a valid string, or of a part of one. `scan` is within the quotes and not at the end. */
static size_t character_take(struct scan *scan, char out[4])
{
    uint32_t character = 0;
    if (!char_take(scan, '\\')) {
        out[0] = *scan->at++;
        return 1;
    }
    bool valid = escape_take(scan, &character);
    assert(valid);
    (void)valid;
    return utf8_write(character, out);
}

bool json_string_is(struct span raw, struct span text)
{
    struct span value = unquoted(raw);
    if (!has_escapes(value))
        return span_equal(value, text);
    struct scan scan = scan_of(value);
    size_t at = 0;
    while (scan.at < scan.end) {
        char bytes[4];
        size_t size = character_take(&scan, bytes);
        if (size > text.size - at || memcmp(text.data + at, bytes, size) != 0)
            return false;
        at += size;
    }
    return at == text.size;
}

bool json_string_read(struct span raw, char *scratch, size_t room, struct span *text)
{
    *text = unquoted(raw);
    if (!has_escapes(*text))
        return true;
    struct scan scan = scan_of(*text);
    struct writer writer = {.out = scratch, .room = room};
    while (scan.at < scan.end) {
        char bytes[4];
        size_t size = character_take(&scan, bytes);
        writer_put(&writer, (struct span){bytes, size});
    }
    *text = (struct span){scratch, writer.size};
    return writer.size <= room;
}

size_t json_string_write(char *out, size_t room, struct span text)
{
    struct writer writer = {.out = out, .room = room};
    writer_json_string(&writer, text);
    return writer.size;
}

bool json_u64_read(struct span raw, uint64_t *value)
{
    if (raw.size == 0 || (raw.size > 1 && raw.data[0] == '0'))
        return false;
    uint64_t sum = 0;
    for (size_t i = 0; i < raw.size; i++) {
        if (!is_digit(raw.data[i]) || __builtin_mul_overflow(sum, UINT64_C(10), &sum) ||
            __builtin_add_overflow(sum, (uint64_t)(raw.data[i] - '0'), &sum))
            return false;
    }
    *value = sum;
    return true;
}
