/*
 * json_fuzz: any bytes as JSON.
 *
 * Checked beside what the sanitizers see: reading a text at once and walking its members agree on what is valid; spans
 * lie in the input; strings survive being read and written again.
 */
#include "fuzz.h"

#include "protocol/json.h"
#include "protocol/utf8.h"

static void check_inside(struct span part, struct span whole)
{
    FUZZ_CHECK(part.size > 0 && part.data >= whole.data && part.data + part.size <= whole.data + whole.size);
}

static void check_string(struct span raw)
{
    char *scratch = malloc(raw.size);
    struct span text;
    FUZZ_CHECK(json_string_read(raw, scratch, raw.size, &text) && text.size <= raw.size - 2);
    FUZZ_CHECK(utf8_valid(text.data, text.size) && json_string_is(raw, text));
    size_t size = json_string_write(NULL, 0, text);
    char *written = malloc(size);
    FUZZ_CHECK(json_string_write(written, size, text) == size);
    FUZZ_CHECK(json_string_is((struct span){written, size}, text));
    FUZZ_CHECK(json_valid((struct span){written, size}));
    free(written);
    free(scratch);
}

static void check_value(const struct json_value *value)
{
    uint64_t number;
    struct json_value again = json_read(value->raw);
    FUZZ_CHECK(again.type == value->type && span_equal(again.raw, value->raw));
    if (value->type == JSON_STRING)
        check_string(value->raw);
    if (json_u64_read(value->raw, &number))
        FUZZ_CHECK(value->type == JSON_NUMBER);
}

static enum json_walk check_walk(struct span text)
{
    struct json_member member;
    enum json_walk walk;
    size_t at = 0;
    while ((walk = json_object_next(text, &at, &member)) == JSON_MEMBER) {
        check_inside(member.key, text);
        check_inside(member.value.raw, text);
        check_string(member.key);
        check_value(&member.value);
    }
    return walk;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = {(const char *)data, size};
    struct json_value value = json_read(text);
    FUZZ_CHECK((check_walk(text) == JSON_END) == (value.type == JSON_OBJECT));
    if (value.type != JSON_NONE) {
        check_inside(value.raw, text);
        check_value(&value);
    }
    return 0;
}
