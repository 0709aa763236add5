/* page: see page.h, and read.lua for what is answered. */
#include "cluster/page.h"

#include "cluster/wire.h"
#include "protocol/command.h"

/* What stands where in the answer. */
enum { PAGE_EPOCH, PAGE_BASE, PAGE_FIRST, PAGE_LAST, PAGE_ENTRIES, PAGE_ITEMS };

/* The digits that a text begins with. */
static uint64_t number_of(struct span text)
{
    uint64_t number = 0;
    for (size_t i = 0; i < text.size && text.data[i] >= '0' && text.data[i] <= '9'; i++) {
        number = number * 10 + (uint64_t)(text.data[i] - '0');
    }
    return number;
}

/* The value of a field of a stream's entry. */
static struct span field(const struct redis_value *entry, const char *name)
{
    const struct redis_value *fields = &entry->items[1];
    for (uint32_t i = 0; i + 1 < fields->count; i += 2) {
        const struct redis_value *pair = &fields->items[i];
        if (pair[0].kind == REDIS_STRING && pair[1].kind == REDIS_STRING &&
            span_equal(pair[0].text, span_of_text(name))) {
            return pair[1].text;
        }
    }
    return SPAN_LITERAL("");
}

/* A kind that this version does not know is bytes to it. */
static uint8_t kind_of(struct span text)
{
    uint64_t kind = number_of(text);
    return kind <= PAYLOAD_JSON ? (uint8_t)kind : PAYLOAD_BINARY;
}

static bool is_entry(const struct redis_value *entry)
{
    return entry->kind == REDIS_ARRAY && entry->count == 2 && entry->items[0].kind == REDIS_STRING &&
           entry->items[1].kind == REDIS_ARRAY && wire_is_offset(number_of(entry->items[0].text));
}

static bool is_page(const struct redis_value *value, uint64_t *epoch)
{
    if (value->kind != REDIS_ARRAY || value->count != PAGE_ITEMS || value->items[PAGE_EPOCH].kind != REDIS_STRING ||
        !wire_hex_parse(value->items[PAGE_EPOCH].text, epoch) || !*epoch ||
        value->items[PAGE_ENTRIES].kind != REDIS_ARRAY) {
        return false;
    }
    for (int i = PAGE_BASE; i <= PAGE_LAST; i++) {
        if (value->items[i].kind != REDIS_INTEGER || value->items[i].integer < 0 ||
            value->items[i].integer > (int64_t)WIRE_OFFSET_MAX) {
            return false;
        }
    }
    const struct redis_value *entries = &value->items[PAGE_ENTRIES];
    for (uint32_t i = 0; i < entries->count; i++) {
        if (!is_entry(&entries->items[i])) {
            return false;
        }
    }
    return true;
}

struct relay_page *page_create(const struct redis_value *value)
{
    uint64_t epoch;
    if (!is_page(value, &epoch)) {
        return NULL;
    }
    const struct redis_value *entries = &value->items[PAGE_ENTRIES];
    size_t payload_bytes = 0;
    for (uint32_t i = 0; i < entries->count; i++) {
        payload_bytes += field(&entries->items[i], "d").size;
    }
    size_t head_bytes = sizeof(struct relay_page) + entries->count * sizeof(struct relay_entry);
    struct relay_page *page = malloc(head_bytes + payload_bytes);
    if (!page) {
        return NULL;
    }
    *page = (struct relay_page){
        .epoch = epoch,
        .epoch_base = (uint64_t)value->items[PAGE_BASE].integer,
        .first = (uint64_t)value->items[PAGE_FIRST].integer,
        .tail = (uint64_t)value->items[PAGE_LAST].integer,
        .count = entries->count,
    };
    char *bytes = (char *)page + head_bytes;
    for (uint32_t i = 0; i < entries->count; i++) {
        const struct redis_value *entry = &entries->items[i];
        struct span payload = field(entry, "d");
        page->entries[i] = (struct relay_entry){
            .offset = number_of(entry->items[0].text),
            .time_ms = (int64_t)number_of(field(entry, "t")),
            .payload = bytes,
            .payload_size = (uint32_t)payload.size,
            .kind = kind_of(field(entry, "k")),
        };
        memcpy(bytes, payload.data, payload.size);
        bytes += payload.size;
    }
    return page;
}
