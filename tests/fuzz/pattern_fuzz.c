/*
 * pattern_fuzz: a filter and a name, one a line.
 *
 * Checked beside what the sanitizers see: what the filter matches, one of its patterns matches, too, by a model of how
 * Redis matches; so no message is missed. And a filter without wildcards is a pattern of just itself.
 */
#include "fuzz.h"

#include "cluster/patterns.h"
#include "protocol/topic.h"

/* As Redis does it, for what occurs: stars, and characters that may be escaped. */
static bool redis_matches(struct span pattern, struct span text)
{
    size_t p = 0, t = 0, star = SIZE_MAX, retry = 0;
    while (t < text.size || p < pattern.size) {
        if (p < pattern.size && pattern.data[p] == '*') {
            star = p++;
            retry = t;
            continue;
        }
        size_t literal = p + (p + 1 < pattern.size && pattern.data[p] == '\\');
        if (literal < pattern.size && t < text.size && pattern.data[literal] == text.data[t]) {
            p = literal + 1;
            t++;
        } else if (star != SIZE_MAX && retry < text.size) {
            p = star + 1;
            t = ++retry;
        } else {
            return false;
        }
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct span prefix = {"a*[", 3};
    struct span input = {(const char *)data, size};
    const char *end = size ? memchr(input.data, '\n', size) : NULL;
    struct span filter = {input.data, end ? (size_t)(end - input.data) : size};
    struct span name = end ? (struct span){end + 1, size - filter.size - 1} : filter;
    if (topic_filter_check(filter) != TOPIC_OK || topic_name_check(name) != TOPIC_OK) {
        return 0;
    }
    char channel[PATTERN_PREFIX_MAX + TOPIC_BYTES_MAX];
    memcpy(channel, prefix.data, prefix.size);
    channel[prefix.size] = '{';
    memcpy(channel + prefix.size + 1, name.data, name.size);
    channel[prefix.size + 1 + name.size] = '}';
    struct span text = {channel, prefix.size + 2 + name.size};

    struct pattern patterns[2];
    uint32_t count = pattern_write(prefix, filter, patterns);
    bool matches = false;
    for (uint32_t i = 0; i < count; i++) {
        matches |= redis_matches((struct span){patterns[i].bytes, patterns[i].size}, text);
    }
    if (topic_filter_is_wild(filter)) {
        FUZZ_CHECK(matches || !topic_filter_matches(filter, name));
    } else {
        FUZZ_CHECK(matches == span_equal(filter, name));
    }
    return 0;
}
