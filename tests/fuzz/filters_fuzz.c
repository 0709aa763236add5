/*
 * filters_fuzz: changes to a set of filters, one a line, beside a list.
 *
 *      +FILTER   add the filter; its value, 0 to 3, is taken from its last byte
 *      -FILTER   remove it
 *      ?NAME     match
 *
 * The set is small, so that it is full at times: then it must be as it was before.
 */
#include "fuzz.h"

#include "protocol/topic.h"
#include "topic/filters.h"

#define ENTRIES_MAX 24

struct entry {
    struct span filter;
    uint32_t value;
};

struct list {
    struct entry entries[ENTRIES_MAX];
    uint32_t count;
};

static struct span line_take(struct span *input)
{
    const char *end = memchr(input->data, '\n', input->size);
    struct span line = {input->data, end ? (size_t)(end - input->data) : input->size};
    size_t taken = end ? line.size + 1 : line.size;
    *input = (struct span){input->data + taken, input->size - taken};
    return line;
}

static uint32_t list_find(const struct list *list, struct entry entry)
{
    uint32_t at = 0;
    while (at < list->count &&
           (list->entries[at].value != entry.value || !span_equal(list->entries[at].filter, entry.filter)))
        at++;
    return at;
}

static void add(struct filters *filters, struct list *list, struct entry entry)
{
    uint32_t at = list_find(list, entry);
    uint64_t version = filters_version(filters);
    bool added = filters_add(filters, entry.filter, entry.value);
    FUZZ_CHECK(added || at == list->count);
    FUZZ_CHECK((filters_version(filters) > version) == (added && at == list->count));
    if (added && at == list->count)
        list->entries[list->count++] = entry; /* the set takes no more than the list */
}

static void drop(struct filters *filters, struct list *list, struct entry entry)
{
    uint32_t at = list_find(list, entry);
    FUZZ_CHECK(filters_remove(filters, entry.filter, entry.value) == (at < list->count));
    if (at < list->count)
        list->entries[at] = list->entries[--list->count];
}

static void match(const struct filters *filters, const struct list *list, struct span name)
{
    uint32_t values[ENTRIES_MAX], got[4] = {0}, want[4] = {0};
    uint32_t count = filters_match(filters, name, values, ENTRIES_MAX);
    FUZZ_CHECK(count <= list->count);
    for (uint32_t i = 0; i < count; i++)
        got[values[i]]++;
    for (uint32_t i = 0; i < list->count; i++)
        want[list->entries[i].value] += topic_filter_matches(list->entries[i].filter, name);
    FUZZ_CHECK(memcmp(got, want, sizeof got) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span input = {(const char *)data, size};
    struct filters *filters = filters_create(ENTRIES_MAX, size);
    struct list list = {.count = 0};
    while (input.size > 0) {
        struct span line = line_take(&input);
        char what = (char)fuzz_byte(&line);
        struct entry entry = {line, line.size > 0 ? (uint8_t)line.data[line.size - 1] % 4 : 0};
        if (what == '?' && topic_name_check(line) == TOPIC_OK)
            match(filters, &list, line);
        else if (what == '+' && topic_filter_check(line) == TOPIC_OK)
            add(filters, &list, entry);
        else if (what == '-' && topic_filter_check(line) == TOPIC_OK)
            drop(filters, &list, entry);
        FUZZ_CHECK(filters_count(filters) == list.count);
    }
    while (list.count > 0)
        drop(filters, &list, list.entries[0]);
    filters_destroy(filters);
    return 0;
}
