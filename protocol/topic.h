/*
 * topic: names and filters, and when one matches the other.
 *
 *   name      sport/tennis/final      1 to 255 bytes of UTF-8, levels separated by `/`
 *   filter    sport/+/final           `+` stands for exactly one level
 *             sport/#                 `#`, as the last level, for all that follow, and for none: it matches `sport` too
 *
 * No level is empty, nothing holds a control character, and `+` and `#` occur in filters only, alone in their level: so
 * every name is also a filter, which matches just itself. A wildcard at the first level does not match names that start
 * with `$`, which are the broker's own: they have to be asked for by name. These are MQTT's rules (MQTT 5.0, 4.7) but
 * for the empty levels.
 *
 * Pure; any thread.
 */
#ifndef SHOAL_PROTOCOL_TOPIC_H
#define SHOAL_PROTOCOL_TOPIC_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/span.h"

#define TOPIC_BYTES_MAX 255

/* Levels of the longest name: single characters and the separators between them. */
#define TOPIC_LEVELS_MAX ((TOPIC_BYTES_MAX + 1) / 2)

/* What can be wrong. X(NAME, "text") */
#define TOPIC_PROBLEMS(X)                                                                                              \
    X(EMPTY, "it is empty")                                                                                            \
    X(TOO_LONG, "it is longer than 255 bytes")                                                                         \
    X(NOT_UTF8, "it is not valid UTF-8")                                                                               \
    X(CONTROL, "it holds a control character")                                                                         \
    X(LEVEL_EMPTY, "it has an empty level: a / at an end, or two in a row")                                            \
    X(WILDCARD, "+ and # are for filters only")                                                                        \
    X(WILDCARD_NOT_ALONE, "+ and # must stand alone in their level")                                                   \
    X(WILDCARD_NOT_LAST, "# must be the last level")

enum topic_problem {
    TOPIC_OK = 0,
#define X(name, text) TOPIC_##name,
    TOPIC_PROBLEMS(X)
#undef X
};

/* Whether this is a topic's name; the first problem, in the order of the table. `$` may begin it: see
 * topic_is_reserved(). */
enum topic_problem topic_name_check(struct span name);

/* Whether this is a filter. Every name is one. */
enum topic_problem topic_filter_check(struct span filter);

/* A clause for messages, as in the table; "" for TOPIC_OK. Borrowed, static. */
const char *topic_problem_text(enum topic_problem problem);

/* Whether it starts with `$`: clients may not publish to it. */
static inline bool topic_is_reserved(struct span topic)
{
    return topic.size > 0 && topic.data[0] == '$';
}

/*
 * From here on names and filters are valid: checked by the functions above.
 */

/* Whether a filter has a wildcard: if not, it is the name of one topic. */
bool topic_filter_is_wild(struct span filter);

/* Whether the filter matches the name. */
bool topic_filter_matches(struct span filter, struct span name);

/* Whether every name that `inner` matches is matched by `outer`: then a right to outer is a right to inner. */
bool topic_filter_covers(struct span outer, struct span inner);

/* Walks the levels: *at is 0 at first. False: there are no more. */
bool topic_level_next(struct span topic, size_t *at, struct span *level);

#endif
