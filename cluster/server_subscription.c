/* server_subscription: a server's subscription connection. See server.h. */
#include "base/check.h"
#include "cluster/server.h"

/* Subscriptions that may be made at once after a rest: a tenth of a second's. */
#define TOKENS_REST_S 0.1

static struct span text_span(const char *text)
{
    return (struct span){text, strlen(text)};
}

void subscription_greet(struct server *server)
{
    const struct span with_user[] = {SPAN_LITERAL("AUTH"), text_span(server->url.user),
                                     text_span(server->url.password)};
    const struct span without[] = {SPAN_LITERAL("AUTH"), text_span(server->url.password)};
    if (server->url.user[0]) {
        redis_send(server->subscription, 3, with_user);
    } else if (server->url.password[0]) {
        redis_send(server->subscription, 2, without);
    }
    struct span probe = text_span(server->common->probe_channel);
    subscription_change(server, CHANGE_SUBSCRIBE, probe, (struct server_ack){0});
    subscription_flush(server);
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
        [CHANGE_SUBSCRIBE] = SPAN_LITERAL("SUBSCRIBE"),
        [CHANGE_UNSUBSCRIBE] = SPAN_LITERAL("UNSUBSCRIBE"),
        [CHANGE_PSUBSCRIBE] = SPAN_LITERAL("PSUBSCRIBE"),
        [CHANGE_PUNSUBSCRIBE] = SPAN_LITERAL("PUNSUBSCRIBE"),
    };
    struct server_batch *batch = &server->batch;
    if (batch->count && server->subscription) {
        batch->words[0] = commands[batch->change];
        redis_send(server->subscription, 1 + batch->count, batch->words);
    }
    batch->count = 0;
    batch->size = 0;
}

void subscription_change(struct server *server, enum change change, struct span channel, struct server_ack ack)
{
    struct server_batch *batch = &server->batch;
    if (batch->count == SERVER_BATCH || batch->change != change || sizeof batch->bytes - batch->size < channel.size) {
        subscription_flush(server);
    }
    CHECK(server->acks_sent - server->acks_taken < SERVER_ACKS);
    char *copy = batch->bytes + batch->size;
    memcpy(copy, channel.data, channel.size);
    batch->size += channel.size;
    batch->change = change;
    batch->words[1 + batch->count++] = (struct span){copy, channel.size};
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
    if (span_equal(channel, text_span(server->common->probe_channel))) {
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

/* True: *ack is what was confirmed. */
static bool take_ack(struct server *server, bool subscribed, struct server_ack *ack)
{
    if (server->acks_sent == server->acks_taken) {
        server_fail(server, "it confirms what was not asked");
        return false;
    }
    *ack = server->acks[server->acks_taken++ % SERVER_ACKS];
    server->proving = true; /* the first one is the probe's channel */
    return subscribed && ack->number != 0;
}

static bool is_one_of(struct span word, const char *first, const char *second)
{
    return span_equal(word, text_span(first)) || span_equal(word, text_span(second));
}

/* True: *wire or *ack is set. */
static bool take_push(struct server *server, const struct redis_value *value, struct wire *wire, struct server_ack *ack)
{
    if (value->kind == REDIS_FAILURE) {
        server_fail(server, "%.*s", (int)value->text.size, value->text.data);
        return false;
    }
    if (value->kind != REDIS_ARRAY || value->count < 3 || value->items[0].kind != REDIS_STRING) {
        return false; /* what AUTH answers */
    }
    const struct redis_value *items = value->items;
    struct span word = items[0].text;
    if (is_one_of(word, "message", "pmessage")) {
        const struct redis_value *last = &items[value->count - 1];
        return last[-1].kind == REDIS_STRING && last->kind == REDIS_STRING &&
               take_message(server, last[-1].text, last->text, wire);
    }
    bool subscribed = is_one_of(word, "subscribe", "psubscribe");
    if (subscribed || is_one_of(word, "unsubscribe", "punsubscribe")) {
        return take_ack(server, subscribed, ack);
    }
    return false;
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

static bool kept_take(struct server *server, struct wire *wire)
{
    *wire = server->kept;
    server->kept.topic = SPAN_NONE;
    return server->subscription && wire->topic.size > 0;
}

bool subscription_next(struct server *server, struct wire *wire, struct server_ack *ack)
{
    struct redis_event event;
    if (kept_take(server, wire)) {
        return true;
    }
    server->scarce_us = 0;
    while (server->subscription && redis_next(server->subscription, &event)) {
        wire->topic = SPAN_NONE;
        if (event.kind == REDIS_OPENED) {
            subscription_greet(server);
        } else if (event.kind == REDIS_CLOSED) {
            server_fail(server, "subscriptions: %s", event.reason);
        } else if (take_push(server, event.value, wire, ack)) {
            return true;
        }
    }
    return false;
}
