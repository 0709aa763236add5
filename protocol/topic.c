/*
 * topic: checks and matching, all by one walk over the levels.
 *
 * Matching needs no function of its own: a name is a filter that matches just itself, so "the filter matches the name"
 * is "the filter covers the name".
 */
#include "protocol/topic.h"

#include <assert.h>

#include "protocol/utf8.h"

static_assert(TOPIC_LEVELS_MAX == 128, "who walks a topic with a table of its levels counts on this");

static bool is_wildcard(char c)
{
    return c == '+' || c == '#';
}

static bool level_is(struct span level, char c)
{
    return level.size == 1 && level.data[0] == c;
}

bool topic_level_next(struct span topic, size_t *at, struct span *level)
{
    if (*at >= topic.size)
        return false;
    const char *begin = topic.data + *at;
    const char *slash = memchr(begin, '/', topic.size - *at);
    level->data = begin;
    level->size = slash ? (size_t)(slash - begin) : topic.size - *at;
    *at += level->size + 1;
    return true;
}

/* Unicode's Cc: below U+0020, U+007F, and U+0080 to U+009F, which UTF-8 writes as C2 80 to C2 9F. The text is valid
 * UTF-8. */
static bool has_control(struct span text)
{
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c < 0x20 || c == 0x7F || (c == 0xC2 && (unsigned char)text.data[i + 1] < 0xA0))
            return true;
    }
    return false;
}

/* What names and filters have in common. */
static enum topic_problem text_check(struct span text)
{
    if (text.size == 0)
        return TOPIC_EMPTY;
    if (text.size > TOPIC_BYTES_MAX)
        return TOPIC_TOO_LONG;
    if (!utf8_valid(text.data, text.size))
        return TOPIC_NOT_UTF8;
    if (has_control(text))
        return TOPIC_CONTROL;
    if (text.data[0] == '/' || text.data[text.size - 1] == '/' || memmem(text.data, text.size, "//", 2))
        return TOPIC_LEVEL_EMPTY;
    return TOPIC_OK;
}

enum topic_problem topic_name_check(struct span name)
{
    enum topic_problem problem = text_check(name);
    if (problem == TOPIC_OK && (memchr(name.data, '+', name.size) || memchr(name.data, '#', name.size)))
        return TOPIC_WILDCARD;
    return problem;
}

static bool has_wildcard(struct span level)
{
    for (size_t i = 0; i < level.size; i++) {
        if (is_wildcard(level.data[i]))
            return true;
    }
    return false;
}

enum topic_problem topic_filter_check(struct span filter)
{
    enum topic_problem problem = text_check(filter);
    if (problem != TOPIC_OK)
        return problem;
    struct span level;
    for (size_t at = 0; topic_level_next(filter, &at, &level);) {
        if (level.size > 1 && has_wildcard(level))
            return TOPIC_WILDCARD_NOT_ALONE;
        if (level_is(level, '#') && at < filter.size)
            return TOPIC_WILDCARD_NOT_LAST;
    }
    return TOPIC_OK;
}

const char *topic_problem_text(enum topic_problem problem)
{
    switch (problem) {
    case TOPIC_OK:
        break;
#define X(name, text)                                                                                                  \
    case TOPIC_##name:                                                                                                 \
        return text;
        TOPIC_PROBLEMS(X)
#undef X
    }
    return "";
}

bool topic_filter_is_wild(struct span filter)
{
    return has_wildcard(filter);
}

bool topic_filter_matches(struct span filter, struct span name)
{
    return topic_filter_covers(filter, name);
}

/*
 * A name has at least one level, so `#` and `+/#` match the same: the only pair of filters that do with different
 * texts. Each `#` that stands alone is taken as the longer one, and `+` and `+/#` meet level by level.
 */
static struct span written_out(struct span filter)
{
    return level_is(filter, '#') ? SPAN_LITERAL("+/#") : filter;
}

bool topic_filter_covers(struct span outer, struct span inner)
{
    outer = written_out(outer);
    inner = written_out(inner);
    if (topic_is_reserved(inner) && is_wildcard(outer.data[0]))
        return false;
    size_t outer_at = 0, inner_at = 0;
    struct span wide, narrow;
    while (topic_level_next(outer, &outer_at, &wide)) {
        if (level_is(wide, '#'))
            return true;
        if (!topic_level_next(inner, &inner_at, &narrow))
            return false;
        bool any_one = level_is(wide, '+') && !level_is(narrow, '#');
        if (!any_one && !span_equal(wide, narrow))
            return false;
    }
    return inner_at >= inner.size;
}
