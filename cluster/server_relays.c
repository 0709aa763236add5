/*
 * server_relays: what is sent of messages and fetches: PUBLISH, and the words of the scripts (append.lua, read.lua,
 * live.lua). See server.h.
 */
#include <stdio.h>

#include "base/check.h"
#include "cluster/digits.h"
#include "cluster/server.h"

struct span server_generation_key(const struct server *server, char *at, struct span topic)
{
    uint32_t slot = server->common->sharded ? slot_of_bytes(topic) : 0;
    size_t size = server_name_begin(server->common, at, slot);
    struct span name = SPAN_LITERAL("generation");
    memcpy(at + size, name.data, name.size);
    return (struct span){at, size + name.size};
}

/* --- live messages --- */

static char *scratch(struct server *server, size_t size)
{
    struct server_common *common = server->common;
    if (common->scratch_room < size) {
        free(common->scratch);
        common->scratch = malloc(size);
        common->scratch_room = common->scratch ? size : 0;
    }
    return common->scratch;
}

/* Where a topic's messages go for those that have patterns: see live.lua. */
static struct span pattern_channel(const struct server *server, char *at, struct span topic)
{
    size_t size = server_pattern_prefix(server, at).size;
    at[size++] = '{';
    memcpy(at + size, topic.data, topic.size);
    size += topic.size;
    at[size++] = '}';
    return (struct span){at, size};
}

static struct wire wire_of(struct server *server, const struct relay *relay)
{
    return (struct wire){
        .logged = relay->logged,
        .kind = relay->kind,
        .instance = server->common->instance,
        .sequence = ++server->sequence,
        .time_ms = relay->time_ms,
        .topic = {relay_topic(relay), relay->topic_size},
        .payload = {relay_payload(relay), relay->payload_size},
    };
}

static void send_live(struct server *server, uint64_t bytes, struct span topic, struct span message)
{
    char key[SERVER_KEY_MAX];
    char classic[SERVER_KEY_MAX + SERVER_PATTERN_PREFIX_MAX];
    struct span channel = server_key(server->common, key, topic, "", SPAN_NONE);
    if (server->common->sharded) {
        const struct span words[] = {SPAN_LITERAL("EVALSHA"),
                                     {server->common->hashes[SCRIPT_LIVE], SCRIPT_HASH_SIZE},
                                     SPAN_LITERAL("0"),
                                     channel,
                                     pattern_channel(server, classic, topic),
                                     message};
        command_send_live(server, bytes, 6, words);
    } else {
        const struct span words[] = {SPAN_LITERAL("PUBLISH"), channel, message};
        command_send_live(server, bytes, 3, words);
    }
}

void server_live(struct server *server, struct relay *relay)
{
    struct link_stats *stats = server->common->stats;
    uint64_t bytes = relay_bytes(relay);
    size_t size = WIRE_HEADER_SIZE + relay->topic_size + relay->payload_size;
    char *word = NULL;
    if (server->state != SERVER_UP) {
        STATS_ADD(stats, live_dropped_away, 1);
    } else if (server->backlog_bytes + bytes > server->common->settings->queue_bytes_max) {
        STATS_ADD(stats, live_dropped_full, 1);
    } else if ((word = scratch(server, size)) == NULL) {
        STATS_ADD(stats, memory_refusals, 1);
    } else {
        struct wire wire = wire_of(server, relay);
        wire_write(&wire, word);
        memcpy(word + WIRE_HEADER_SIZE, wire.topic.data, wire.topic.size);
        memcpy(word + WIRE_HEADER_SIZE + wire.topic.size, wire.payload.data, wire.payload.size);
        send_live(server, bytes, wire.topic, (struct span){word, size});
    }
    relay_free(relay);
}

/* --- logged ones --- */

/* Keys that both scripts begin with. */
struct script_keys {
    char generation[SERVER_KEY_MAX];
    char meta[SERVER_KEY_MAX];
    char stream[SERVER_KEY_MAX];
    char key[SERVER_KEY_MAX];
    char channel[SERVER_KEY_MAX];
    char classic[SERVER_KEY_MAX + SERVER_PATTERN_PREFIX_MAX];
};

#define LINEAGE_WORDS 3

/* What a script of a cluster claims its slot's generation with. */
static uint32_t lineage_words(const struct server *server, struct span words[LINEAGE_WORDS])
{
    words[0] = span_of_text(server->run_id);
    words[1] = span_of_text(server->origin);
    words[2] = server->common->settings->durable ? SPAN_LITERAL("1") : SPAN_LITERAL("0");
    return LINEAGE_WORDS;
}

/* The generation that a script is to find, or, sharded, may make. */
static struct span generation_word(const struct server *server, char proposed[WIRE_HEX_SIZE])
{
    if (!server->common->sharded) {
        return (struct span){server->generation, WIRE_HEX_SIZE};
    }
    wire_hex_write(server_random(server->common), proposed);
    return (struct span){proposed, WIRE_HEX_SIZE};
}

/*
 * Both topic and key are text of clients, and may have braces: of a topic x and a key y}m one could make the meta of a
 * topic x}i:y. The topic's size at the end says where which of them ends.
 */
static struct span idempotency_name(const struct server_common *common, char *at, const struct relay *relay)
{
    struct span topic = {relay_topic(relay), relay->topic_size};
    struct span name = server_key(common, at, topic, "i:", (struct span){relay_key(relay), relay->key_size});
    name.size += (size_t)snprintf(at + name.size, sizeof ":255", ":%u", (unsigned)topic.size);
    return name;
}

void relay_send_append(struct server *server, struct relay *relay)
{
    struct wire wire = wire_of(server, relay);
    char header[WIRE_HEADER_SIZE];
    wire_write(&wire, header);
    char proposed[WIRE_HEX_SIZE];
    wire_hex_write(server_random(server->common), proposed);
    struct script_keys keys;
    struct digits kind, time, messages, age, key_age;
    const struct server_common *common = server->common;
    struct span words[22];
    char generation[WIRE_HEX_SIZE];
    uint32_t count = 0;
    words[count++] = SPAN_LITERAL("EVALSHA");
    words[count++] = (struct span){common->hashes[SCRIPT_APPEND], SCRIPT_HASH_SIZE};
    words[count++] = relay->key_size ? SPAN_LITERAL("4") : SPAN_LITERAL("3");
    words[count++] = server_generation_key(server, keys.generation, wire.topic);
    words[count++] = server_key(common, keys.meta, wire.topic, "m", SPAN_NONE);
    words[count++] = server_key(common, keys.stream, wire.topic, "s", SPAN_NONE);
    if (relay->key_size) {
        words[count++] = idempotency_name(common, keys.key, relay);
    }
    words[count++] = generation_word(server, generation);
    words[count++] = (struct span){proposed, sizeof proposed};
    words[count++] = server_key(common, keys.channel, wire.topic, "", SPAN_NONE);
    words[count++] = (struct span){header, WIRE_STAMP_AT};
    words[count++] = wire.topic;
    words[count++] = wire.payload;
    words[count++] = digits_of(&kind, relay->kind);
    words[count++] = digits_of(&time, (uint64_t)relay->time_ms);
    words[count++] = digits_of(&messages, relay->messages_max ? relay->messages_max : 1);
    words[count++] = digits_of(&age, relay->stream_age_s ? relay->stream_age_s : 1);
    words[count++] = digits_of(&key_age, common->settings->idempotency_s ? common->settings->idempotency_s : 1);
    if (common->sharded) {
        count += lineage_words(server, &words[count]);
        words[count++] = pattern_channel(server, keys.classic, wire.topic);
    }
    CHECK(count <= sizeof words / sizeof *words);
    command_send(server, COMMAND_APPEND, relay, count, words);
}

/* Of one server's; a cluster's has its lineage behind them. */
#define READ_WORDS 14

void relay_send_read(struct server *server, struct relay *relay)
{
    struct span topic = {relay_topic(relay), relay->topic_size};
    char proposed[WIRE_HEX_SIZE];
    char known[WIRE_HEX_SIZE];
    wire_hex_write(server_random(server->common), proposed);
    wire_hex_write(relay->epoch, known);
    struct script_keys keys;
    struct digits offset, newest, messages, bytes, age;
    char generation[WIRE_HEX_SIZE];
    struct span words[READ_WORDS + LINEAGE_WORDS] = {
        SPAN_LITERAL("EVALSHA"),
        {server->common->hashes[SCRIPT_READ], SCRIPT_HASH_SIZE},
        SPAN_LITERAL("3"),
        server_generation_key(server, keys.generation, topic),
        server_key(server->common, keys.meta, topic, "m", SPAN_NONE),
        server_key(server->common, keys.stream, topic, "s", SPAN_NONE),
        generation_word(server, generation),
        {proposed, sizeof proposed},
        relay->epoch ? (struct span){known, sizeof known} : SPAN_LITERAL("0"),
        digits_of(&offset, relay->offset),
        digits_of(&newest, relay->messages_max),
        digits_of(&messages, SERVER_PAGE_MESSAGES),
        digits_of(&bytes, SERVER_PAGE_BYTES),
        digits_of(&age, relay->stream_age_s ? relay->stream_age_s : SERVER_READ_AGE_S),
    };
    uint32_t count = READ_WORDS;
    count += server->common->sharded ? lineage_words(server, &words[count]) : 0;
    command_send(server, COMMAND_READ, relay, count, words);
}
