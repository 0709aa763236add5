/*
 * dialect_json_fuzz: any bytes as a client's message, then as the payload of a broker's.
 *
 * Body and scratch lie in memory of exactly their size. Checked beside what the sanitizers see: what a command borrows
 * lies in one of them and keeps its bounds; what is written is as long as it was measured, and is JSON.
 */
#include "fuzz.h"

#include "protocol/dialect.h"
#include "protocol/json.h"
#include "protocol/topic.h"
#include "protocol/utf8.h"

struct memory {
    struct span body;
    struct span scratch;
};

static bool inside(struct span part, struct span whole)
{
    return part.data >= whole.data && part.data + part.size <= whole.data + whole.size;
}

static void check_borrowed(struct span part, const struct memory *memory)
{
    FUZZ_CHECK(part.size == 0 || inside(part, memory->body) || inside(part, memory->scratch));
}

static void check_positions(struct span positions)
{
    char scratch[256];
    struct span topic;
    uint64_t epoch, offset;
    size_t count = 0, members = 0;
    for (size_t at = 0; dialect_json.next_position(positions, &at, scratch, &topic, &epoch, &offset); count++)
        FUZZ_CHECK(topic_name_check(topic) == TOPIC_OK);
    struct json_member member;
    for (size_t at = 0; json_object_next(positions, &at, &member) == JSON_MEMBER;)
        members++;
    FUZZ_CHECK(count == members); /* what parse let pass has no error in it */
}

static void check_command(const struct command *command, const struct memory *memory)
{
    check_borrowed(command->topic, memory);
    check_borrowed(command->payload, memory);
    check_borrowed(command->key, memory);
    check_borrowed(command->token, memory);
    FUZZ_CHECK(command->key.size <= 128);
    bool has_topic = command->verb <= COMMAND_PUBLISH;
    FUZZ_CHECK((command->topic.size > 0) == has_topic);
    if (command->verb == COMMAND_PUBLISH && command->kind == PAYLOAD_JSON)
        FUZZ_CHECK(json_valid(command->payload));
    if (command->verb == COMMAND_SUBSCRIBE && command->from.kind == FROM_POSITIONS)
        check_positions(command->from.positions);
}

static void check_message(struct span payload, enum payload_kind kind)
{
    struct reply reply = {.kind = REPLY_KIND_MESSAGE,
                          .topic = payload.size > 0 && kind == PAYLOAD_TEXT ? payload : SPAN_LITERAL("t"),
                          .payload_kind = kind,
                          .payload = payload,
                          .offset = payload.size};
    size_t size = dialect_json.encode(&reply, NULL, 0);
    char *out = malloc(size);
    FUZZ_CHECK(dialect_json.encode(&reply, out, size) == size);
    FUZZ_CHECK(json_valid((struct span){out, size}));
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *scratch = malloc(size);
    struct memory memory = {{(const char *)data, size}, {scratch, size}};
    struct command command;
    size_t at = 0;
    enum reply_error error = dialect_json.parse(memory.body, true, &at, scratch, &command);
    FUZZ_CHECK(at == size);
    FUZZ_CHECK(error < REPLY_ERROR_COUNT && command.id.size <= 64);
    check_borrowed(command.id, &memory);
    if (error == REPLY_OK)
        check_command(&command, &memory);

    check_message(memory.body, PAYLOAD_BINARY);
    if (utf8_valid(memory.body.data, size))
        check_message(memory.body, PAYLOAD_TEXT);
    free(scratch);
    return 0;
}
