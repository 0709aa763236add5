/*
 * dialect_bin_fuzz: any bytes as a client's message of many records, then as a broker's.
 *
 * The body lies in memory of exactly its size. Checked beside what the sanitizers see: every command ends behind where
 * it began, borrows from the body, and is written as a record that reads as the same command.
 */
#include "fuzz.h"

#include "protocol/dialect_bin.h"
#include "protocol/json.h"
#include "protocol/topic.h"
#include "protocol/utf8.h"

static void check_borrowed(struct span part, struct span body)
{
    FUZZ_CHECK(part.size == 0 || (part.data >= body.data && part.data + part.size <= body.data + body.size));
}

static void check_same(const struct command *a, const struct command *b)
{
    FUZZ_CHECK(a->verb == b->verb && a->kind == b->kind && a->from.kind == b->from.kind);
    FUZZ_CHECK(span_equal(a->id, b->id) && span_equal(a->topic, b->topic) && span_equal(a->payload, b->payload));
    FUZZ_CHECK(span_equal(a->key, b->key) && span_equal(a->token, b->token));
    FUZZ_CHECK(a->from.epoch == b->from.epoch && a->from.offset == b->from.offset);
    FUZZ_CHECK(a->from.since_ms == b->from.since_ms && span_equal(a->from.positions, b->from.positions));
}

static void check_round_trip(const struct command *command)
{
    size_t size = bin_command_write(command, NULL, 0), at = 0;
    char *record = malloc(size);
    FUZZ_CHECK(bin_command_write(command, record, size) == size);
    struct command again;
    FUZZ_CHECK(dialect_bin.parse((struct span){record, size}, false, &at, NULL, &again) == REPLY_OK && at == size);
    check_same(command, &again);
    free(record);
}

static void check_positions(struct span positions)
{
    struct span topic;
    uint64_t epoch, offset;
    size_t at = 0;
    while (dialect_bin.next_position(positions, &at, NULL, &topic, &epoch, &offset))
        FUZZ_CHECK(topic_name_check(topic) == TOPIC_OK);
    FUZZ_CHECK(at == positions.size);
}

static void check_command(const struct command *command, struct span body)
{
    check_borrowed(command->topic, body);
    check_borrowed(command->payload, body);
    check_borrowed(command->key, body);
    check_borrowed(command->token, body);
    FUZZ_CHECK(command->key.size <= 128 && bin_id_read(command->id) != 0);
    FUZZ_CHECK((command->topic.size > 0) == (command->verb <= COMMAND_PUBLISH));
    if (command->kind == PAYLOAD_JSON)
        FUZZ_CHECK(json_valid(command->payload));
    if (command->kind == PAYLOAD_TEXT)
        FUZZ_CHECK(utf8_valid(command->payload.data, command->payload.size));
    if (command->from.kind == FROM_POSITIONS)
        check_positions(command->from.positions);
    if (command->topic.size <= TOPIC_BYTES_MAX)
        check_round_trip(command);
}

static void commands(struct span body)
{
    size_t at = 0;
    do {
        size_t begin = at;
        struct command command;
        enum reply_error error = dialect_bin.parse(body, false, &at, NULL, &command);
        FUZZ_CHECK(error < REPLY_ERROR_COUNT && at <= body.size && (at > begin || body.size == 0));
        check_borrowed(command.id, body);
        if (error == REPLY_OK)
            check_command(&command, body);
    } while (at < body.size);
}

static void replies(struct span body)
{
    struct reply reply;
    for (size_t at = 0; bin_reply_read(body, &at, &reply) == BIN_READ_REPLY;) {
        FUZZ_CHECK(at <= body.size && reply.topic.size <= TOPIC_BYTES_MAX);
        check_borrowed(reply.topic, body);
        check_borrowed(reply.payload, body);
        check_borrowed(reply.server, body);
        if (reply.kind != REPLY_KIND_ERROR) { /* whose text the broker may change */
            size_t size = dialect_bin.encode(&reply, NULL, 0);
            char *out = malloc(size);
            FUZZ_CHECK(dialect_bin.encode(&reply, out, size) == size);
            free(out);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span body = {(const char *)data, size};
    commands(body);
    replies(body);
    return 0;
}
