/*
 * topic_fuzz: two filters and a name, one a line.
 *
 * Checked beside what the sanitizers see: matching against a model of one recursive sentence, and that rights are safe:
 * what covers a filter matches all that the filter matches.
 */
#include "fuzz.h"

#include "protocol/topic.h"

static struct span line_take(struct span *input)
{
    const char *end = input->size > 0 ? memchr(input->data, '\n', input->size) : NULL;
    struct span line = {input->data, end ? (size_t)(end - input->data) : input->size};
    size_t taken = end ? line.size + 1 : line.size;
    *input = (struct span){input->data + taken, input->size - taken};
    return line;
}

/* Both at the beginning of a level, or ended (at == size + 1). */
static bool model_matches(struct span filter, size_t f, struct span name, size_t n)
{
    if (f < filter.size && filter.data[f] == '#')
        return true;
    if (f > filter.size || n > name.size)
        return f > filter.size && n > name.size;
    if (filter.data[f] == '+') {
        while (n < name.size && name.data[n] != '/')
            n++;
        return model_matches(filter, f + 2, name, n + 1);
    }
    for (;; f++, n++) {
        bool filter_ends = f == filter.size || filter.data[f] == '/', name_ends = n == name.size || name.data[n] == '/';
        if (filter_ends || name_ends)
            return filter_ends && name_ends && model_matches(filter, f + 1, name, n + 1);
        if (filter.data[f] != name.data[n])
            return false;
    }
}

static bool model(struct span filter, struct span name)
{
    bool wild_first = filter.data[0] == '+' || filter.data[0] == '#';
    return !(wild_first && name.data[0] == '$') && model_matches(filter, 0, name, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span input = {(const char *)data, size};
    struct span filter = line_take(&input), other = line_take(&input), name = line_take(&input);
    bool filter_valid = topic_filter_check(filter) == TOPIC_OK, other_valid = topic_filter_check(other) == TOPIC_OK;
    bool name_valid = topic_name_check(name) == TOPIC_OK;
    if (name_valid)
        FUZZ_CHECK(topic_filter_check(name) == TOPIC_OK && !topic_filter_is_wild(name));
    if (filter_valid) {
        FUZZ_CHECK(topic_filter_covers(filter, filter));
        FUZZ_CHECK(topic_filter_is_wild(filter) == (topic_name_check(filter) != TOPIC_OK));
    }
    if (filter_valid && name_valid)
        FUZZ_CHECK(topic_filter_matches(filter, name) == model(filter, name));
    if (filter_valid && other_valid && name_valid && topic_filter_covers(filter, other) && model(other, name))
        FUZZ_CHECK(model(filter, name));
    return 0;
}
