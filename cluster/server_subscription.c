/* server_subscription: a server's subscription connection. See server.h. */
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

#include "base/check.h"
#include "cluster/server.h"

/* Subscriptions that may be made at once after a rest: a tenth of a second's. */
#define TOKENS_REST_S 0.1

void subscription_greet(struct server *server)
{
    struct span words[URL_AUTH_WORDS];
    uint32_t count = url_auth(&server->url, words);
    if (count > 0) {
        redis_send(server->subscription, count, words);
    }
    subscription_probe(server);
}

void subscription_probe(struct server *server)
{
    enum change change = server->common->sharded ? CHANGE_SSUBSCRIBE : CHANGE_SUBSCRIBE;
    subscription_change(server, change, span_of_text(server->probe_channel), (struct server_ack){.probe = true});
    subscription_flush(server);
}

void subscription_fence(struct server *server)
{
    char text[24];
    int size = snprintf(text, sizeof text, "%c%llu", WIRE_FENCE, (unsigned long long)server->fence);
    if (server->subscription) {
        redis_send(server->subscription, 2, (const struct span[]){SPAN_LITERAL("PING"), {text, (size_t)size}});
    }
}

/* --- changes --- */

uint32_t subscription_room(struct server *server)
{
    double rate = server->common->settings->subscribe_rate;
    double most = rate * TOKENS_REST_S > SERVER_BATCH ? rate * TOKENS_REST_S : SERVER_BATCH;
    server->tokens += rate * (double)(server->common->now_us - server->tokens_us) / 1e6;
    server->tokens = server->tokens < most ? server->tokens : most;
    server->tokens_us = server->common->now_us;
    uint32_t room = SERVER_ACKS - (server->acks_sent - server->acks_taken);
    if (server->state != SERVER_UP || server->tokens < 1) { /* what must be sent at once may have left a debt */
        return 0;
    }
    return server->tokens < room ? (uint32_t)server->tokens : room;
}

void subscription_flush(struct server *server)
{
    static const struct span commands[] = {
        [CHANGE_SUBSCRIBE] = SPAN_LITERAL("SUBSCRIBE"),   [CHANGE_UNSUBSCRIBE] = SPAN_LITERAL("UNSUBSCRIBE"),
        [CHANGE_PSUBSCRIBE] = SPAN_LITERAL("PSUBSCRIBE"), [CHANGE_PUNSUBSCRIBE] = SPAN_LITERAL("PUNSUBSCRIBE"),
        [CHANGE_SSUBSCRIBE] = SPAN_LITERAL("SSUBSCRIBE"), [CHANGE_SUNSUBSCRIBE] = SPAN_LITERAL("SUNSUBSCRIBE"),
    };
    struct server_batch *batch = &server->batch;
    if (batch->count && server->subscription) {
        batch->words[0] = commands[batch->change];
        redis_send(server->subscription, 1 + batch->count, batch->words);
    }
    batch->count = 0;
    batch->size = 0;
}

static uint32_t channel_hash(struct span channel)
{
    return (uint32_t)XXH3_64bits(channel.data, channel.size);
}

void subscription_change(struct server *server, enum change change, struct span channel, struct server_ack ack)
{
    struct server_batch *batch = &server->batch;
    bool alone = change == CHANGE_SSUBSCRIBE || change == CHANGE_SUNSUBSCRIBE;
    if (batch->count == SERVER_BATCH || batch->change != change || sizeof batch->bytes - batch->size < channel.size ||
        alone) {
        subscription_flush(server);
    }
    CHECK(server->acks_sent - server->acks_taken < SERVER_ACKS);
    char *copy = batch->bytes + batch->size;
    memcpy(copy, channel.data, channel.size);
    batch->size += channel.size;
    batch->change = change;
    batch->words[1 + batch->count++] = (struct span){copy, channel.size};
    ack.change = (uint8_t)change;
    ack.channel = alone ? channel_hash(channel) : 0;
    ack.slot = alone ? (uint16_t)slot_of_key(channel) : 0;
    server->acks[server->acks_sent++ % SERVER_ACKS] = ack;
    server->tokens -= 1;
}

/* --- what Redis pushes --- */

static uint64_t number_of(struct span text)
{
    uint64_t number = 0;
    for (size_t i = 0; i < text.size; i++) {
        number = number * 10 + (uint64_t)(text.data[i] - '0');
    }
    return number;
}

/* Probes are numbered, and so are fences; those of a former life may still be on their way. */
static void probe_came_back(struct server *server, struct span text)
{
    if (text.size && text.data[0] == WIRE_FENCE) {
        server_fence_came_back(server, number_of((struct span){text.data + 1, text.size - 1}));
        return;
    }
    uint64_t number = number_of(text);
    if (server->probe_out && number == server->probe) {
        server->probe_out = false;
        server->proved_us = server->probe_us;
        server->unprobed_us = 0;
        server->round_trip_us = server->common->now_us - server->probe_us;
        STATS_ADD(server->common->stats, probes, 1);
    }
}

/* Whether the live message is older than one that its host sent later. It outlives connections: see server.h. */
static bool is_late(struct server *server, const struct wire *wire)
{
    struct server_heard *heard = &server->heard[wire->instance * 0x9E3779B97F4A7C15u >> 54];
    static_assert(SERVER_HEARD == 1u << (64 - 54), "the hash's upper bits");
    bool late = heard->instance == wire->instance && wire->sequence < heard->sequence;
    if (!late) {
        *heard = (struct server_heard){wire->instance, wire->sequence};
    }
    return late;
}

/* Whether the message is for our shards. */
static bool take_message(struct server *server, struct span channel, struct span bytes, struct wire *wire)
{
    struct link_stats *stats = server->common->stats;
    if (span_equal(channel, span_of_text(server->probe_channel))) {
        probe_came_back(server, bytes);
        return false;
    }
    if (!wire_parse(bytes, wire)) {
        STATS_ADD(stats, arrived_malformed, 1);
        return false;
    }
    if (!wire->logged && wire->instance == server->common->instance) {
        STATS_ADD(stats, arrived_own, 1);
        return false;
    }
    if (wire->instance == server->last_instance && wire->sequence == server->last_sequence) {
        STATS_ADD(stats, arrived_twice, 1); /* Redis sends a message to all that match it before the next one */
        return false;
    }
    server->last_instance = wire->instance;
    server->last_sequence = wire->sequence;
    if (!wire->logged && is_late(server, wire)) {
        STATS_ADD(stats, arrived_late, 1);
        return false;
    }
    return true;
}

static const struct server_ack *next_ack(const struct server *server)
{
    return server->acks_sent != server->acks_taken ? &server->acks[server->acks_taken % SERVER_ACKS] : NULL;
}

/* True: *event is set. */
static bool take_ack(struct server *server, bool subscribed, struct subscription_event *event)
{
    if (!next_ack(server)) {
        server_fail(server, "it confirms what was not asked");
        return false;
    }
    event->kind = SUBSCRIPTION_ACKED;
    event->ack = *next_ack(server);
    server->acks_taken++;
    server->proving |= event->ack.probe;
    return subscribed && event->ack.number != 0;
}

static bool is_one_of(struct span word, const char *first, const char *second)
{
    return span_equal(word, span_of_text(first)) || span_equal(word, span_of_text(second));
}

/* --- of a Redis Cluster --- */

/* The topic in "PREFIX{TAG}{TOPIC}", or SPAN_NONE. */
static struct span topic_of(const struct server *server, struct span channel)
{
    size_t prefix = server->common->prefix.size;
    const char *end = channel.size > prefix ? memchr(channel.data + prefix, '}', channel.size - prefix) : NULL;
    size_t head = end ? (size_t)(end - channel.data) + 2 : 0; /* behind "}{" */
    return end && channel.size > head + 1 ? (struct span){channel.data + head, channel.size - head - 1} : SPAN_NONE;
}

/* A channel was taken away, for its slot has moved. */
static bool take_loss(struct server *server, struct span channel, struct subscription_event *event)
{
    server->redirected = true;
    if (span_equal(channel, span_of_text(server->probe_channel))) {
        server_probe_lost(server);
        return false;
    }
    event->kind = SUBSCRIPTION_LOST;
    event->topic = topic_of(server, channel);
    return event->topic.size > 0;
}

/*
 * What a server takes away by itself looks as what it was asked to. Where the next confirmation to come is for just
 * that, it counts as it; then the error that answers the request itself comes later, see take_refusal().
 */
static bool take_sharded(struct server *server, bool subscribed, struct span channel, struct subscription_event *event)
{
    const struct server_ack *ack = next_ack(server);
    enum change change = subscribed ? CHANGE_SSUBSCRIBE : CHANGE_SUNSUBSCRIBE;
    if (ack && ack->change == change && ack->channel == channel_hash(channel)) {
        return take_ack(server, subscribed, event);
    }
    if (subscribed) {
        server_fail(server, "it confirms what was not asked");
        return false;
    }
    return take_loss(server, channel, event);
}

/* "MOVED 3999 10.0.0.7:6379": the slot. Without one: SLOTS. */
static uint32_t slot_in(struct span error)
{
    char text[16];
    snprintf(text, sizeof text, "%.*s", (int)error.size, error.data);
    const char *space = strchr(text, ' ');
    bool told = space && space[1] >= '0' && space[1] <= '9';
    return told ? (uint32_t)strtoul(space + 1, NULL, 10) : SLOTS;
}

/* An error of another slot than that of the next one to come answers a request that counts as done already. */
static bool take_refusal(struct server *server, struct span error, struct subscription_event *event)
{
    const struct server_ack *ack = next_ack(server);
    bool sharded = ack && (ack->change == CHANGE_SSUBSCRIBE || ack->change == CHANGE_SUNSUBSCRIBE);
    server->redirected = true;
    STATS_ADD(server->common->stats, redirections, 1);
    if (!sharded || (slot_in(error) != SLOTS && slot_in(error) != ack->slot)) {
        return false;
    }
    event->kind = SUBSCRIPTION_REFUSED;
    event->ack = *ack;
    server->acks_taken++;
    if (event->ack.probe) {
        server_probe_lost(server);
    }
    return event->ack.change == CHANGE_SSUBSCRIBE && event->ack.number != 0;
}

/* What PING is answered: an array, or a plain string while nothing is subscribed. */
static void take_pong(struct server *server, struct span text)
{
    if (text.size > 1 && text.data[0] == WIRE_FENCE) {
        server_fence_came_back(server, number_of((struct span){text.data + 1, text.size - 1}));
    }
}

/* --- all that comes --- */

static bool take_array(struct server *server, const struct redis_value *items, uint32_t count,
                       struct subscription_event *event)
{
    struct span word = items[0].text;
    const struct redis_value *last = &items[count - 1];
    if (is_one_of(word, "message", "pmessage") || span_equal(word, SPAN_LITERAL("smessage"))) {
        event->kind = SUBSCRIPTION_MESSAGE;
        return last[-1].kind == REDIS_STRING && last->kind == REDIS_STRING &&
               take_message(server, last[-1].text, last->text, &event->wire);
    }
    bool subscribed = is_one_of(word, "subscribe", "psubscribe");
    if (subscribed || is_one_of(word, "unsubscribe", "punsubscribe")) {
        return take_ack(server, subscribed, event);
    }
    if (is_one_of(word, "ssubscribe", "sunsubscribe") && items[1].kind == REDIS_STRING) {
        return take_sharded(server, span_equal(word, SPAN_LITERAL("ssubscribe")), items[1].text, event);
    }
    return false;
}

/* True: *event is set. */
static bool take_push(struct server *server, const struct redis_value *value, struct subscription_event *event)
{
    bool sharded = server->common->sharded;
    if (value->kind == REDIS_FAILURE && sharded && command_was_redirected(value->text)) {
        return take_refusal(server, value->text, event);
    }
    if (value->kind == REDIS_FAILURE) {
        server_fail(server, "%.*s", (int)value->text.size, value->text.data);
        return false;
    }
    if (sharded && value->kind == REDIS_STRING) {
        take_pong(server, value->text);
    } else if (sharded && value->kind == REDIS_ARRAY && value->count == 2 && value->items[1].kind == REDIS_STRING) {
        take_pong(server, value->items[1].text);
    } else if (value->kind == REDIS_ARRAY && value->count >= 3 && value->items[0].kind == REDIS_STRING) {
        return take_array(server, value->items, value->count, event);
    }
    return false; /* what AUTH answers */
}

void subscription_keep(struct server *server, const struct wire *wire)
{
    int64_t now_us = server->common->now_us;
    server->kept = *wire;
    server->scarce_us = server->scarce_us ? server->scarce_us : now_us;
    STATS_ADD(server->common->stats, arrived_scarce, server->scarce_us == now_us);
    if (now_us - server->scarce_us > server->common->settings->timeout_ms * 1000ll) {
        server_fail(server, "no memory for messages that arrive");
    }
}

static bool kept_take(struct server *server, struct subscription_event *event)
{
    event->kind = SUBSCRIPTION_MESSAGE;
    event->wire = server->kept;
    server->kept.topic = SPAN_NONE;
    return server->subscription && event->wire.topic.size > 0;
}

bool subscription_next(struct server *server, struct subscription_event *subscription)
{
    struct redis_event event;
    if (kept_take(server, subscription)) {
        return true;
    }
    server->scarce_us = 0;
    while (server->subscription && redis_next(server->subscription, &event)) {
        if (event.kind == REDIS_OPENED) {
            subscription_greet(server);
        } else if (event.kind == REDIS_CLOSED) {
            server_fail(server, "subscriptions: %s", event.reason);
        } else if (take_push(server, event.value, subscription)) {
            return true;
        }
    }
    return false;
}
