/* host: see host.h. */
#include "host.h"

#include "base/check.h"

#define WAIT_MAX_US 60000000

const struct link_settings host_settings = {
    .prefix = "test:",
    .node = "host",
    .address = "127.0.0.1:7070",
    .version = "0.1.0",
    .timeout_ms = 1500,
    .probe_ms = 100,
    .wait_ms = 300,
    .queue_bytes_max = 1 << 20,
    .filters_max = 10,
    .filter_levels = 1,
    .subscribe_rate = 50000,
    .idempotency_s = 60,
};

uint32_t keep_messages = 100;

void host_create(struct host *host, uint64_t instance, const struct link_settings *settings)
{
    *host = (struct host){0};
    CHECK(mesh_init(&host->mesh, HOST_SHARDS + 2, HOST_SLOTS));
    host->redis = redis_hiredis_create();
    CHECK(host->redis);
    const struct link_setup setup = {
        .mesh = &host->mesh,
        .peer = HOST_LINK,
        .shard_count = HOST_SHARDS,
        .clock = &clock_of_host,
        .redis = host->redis,
        .connections = &host->connections,
        .instance = instance,
        .seed = instance,
        .settings = *settings,
    };
    const char *problem = NULL;
    host->link = link_create(&setup, &problem);
    CHECK_MSG(host->link, "%s", problem);
}

void host_destroy(struct host *host)
{
    link_stop(host->link);
    link_destroy(host->link);
    host->link = NULL;
    for (uint32_t shard = 0; shard < HOST_SHARDS; shard++) { /* what was still on its way */
        struct spsc *rings[] = {mesh_tells(&host->mesh, HOST_LINK, shard), mesh_asks(&host->mesh, HOST_LINK, shard)};
        for (size_t i = 0; i < 2; i++) {
            for (const struct envelope *envelope; (envelope = spsc_peek(rings[i])) != NULL; spsc_pop(rings[i])) {
                if (envelope->kind == TELL_RELAYED || envelope->kind == TELL_FETCHED || envelope->kind == ASK_ARRIVED) {
                    relay_free(envelope->relay);
                }
            }
        }
    }
    host_forget(host);
    redis_destroy(host->redis);
    mesh_destroy(&host->mesh);
}

void host_forget(struct host *host)
{
    while (host->told) {
        struct told *told = host->told;
        host->told = told->before;
        if (told->envelope.kind == TELL_RELAYED || told->envelope.kind == TELL_FETCHED) {
            relay_free(told->envelope.relay);
        }
        free(told);
    }
    while (host->arrived) {
        struct relay *relay = host->arrived;
        host->arrived = relay->next;
        relay_free(relay);
    }
    host->arrived_last = NULL;
    host->arrived_count = 0;
}

static void take_tell(struct host *host, const struct envelope *envelope)
{
    struct told *told = malloc(sizeof *told);
    CHECK(told);
    *told = (struct told){.before = host->told, .envelope = *envelope};
    host->told = told;
}

static void take_message(struct host *host, struct relay *relay)
{
    relay->next = NULL;
    if (host->arrived_last) {
        host->arrived_last->next = relay;
    } else {
        host->arrived = relay;
    }
    host->arrived_last = relay;
    host->arrived_count++;
}

static void shard_turn(struct host *host, uint32_t shard)
{
    const struct envelope *envelope;
    struct spsc *tells = mesh_tells(&host->mesh, HOST_LINK, shard);
    for (; (envelope = spsc_peek(tells)) != NULL; spsc_pop(tells)) {
        take_tell(host, envelope);
    }
    struct spsc *asks = mesh_asks(&host->mesh, HOST_LINK, shard);
    for (; (envelope = spsc_peek(asks)) != NULL; spsc_pop(asks)) {
        CHECK(envelope->kind == ASK_ARRIVED && envelope->relay->hash % HOST_SHARDS == shard);
        take_message(host, envelope->relay);
    }
}

void host_turn(struct host *host)
{
    link_turn(host->link, 1000);
    for (uint32_t shard = 0; shard < HOST_SHARDS && !host->deaf; shard++) {
        shard_turn(host, shard);
    }
}

void hosts_turn_until(struct host **hosts, size_t count, bool (*done)(void *context), void *context, const char *what)
{
    int64_t begin_us = clock_of_host.monotonic_us(&clock_of_host);
    while (!done(context)) {
        for (size_t i = 0; i < count; i++) {
            host_turn(hosts[i]);
        }
        if (clock_of_host.monotonic_us(&clock_of_host) - begin_us > WAIT_MAX_US) {
            for (size_t i = 0; i < count; i++) {
                char why[512];
                bool ready = link_is_ready(hosts[i]->link, why, sizeof why);
                fprintf(stderr, "host %zu: ready %d: %s\n", i, ready, why);
            }
            CHECK_MSG(false, "waited in vain for %s", what);
        }
    }
}

uint64_t topic_hash(const char *topic)
{
    return name_hash((struct span){topic, strlen(topic)});
}

static void ask(struct host *host, uint32_t shard, struct envelope *envelope)
{
    while (!mesh_ask(&host->mesh, shard, HOST_LINK, envelope)) {
        host_turn(host);
    }
    mesh_ring_bells(&host->mesh, shard);
}

/* The relay is set by itself: in an initializer the analyzer loses what goes into a union. */
static void ask_relay(struct host *host, enum envelope_kind kind, struct relay *relay)
{
    struct envelope envelope = {.kind = kind, .hash = relay->hash};
    envelope.relay = relay;
    ask(host, (uint32_t)(relay->hash % HOST_SHARDS), &envelope);
}

static struct name *name_of(const char *topic)
{
    struct name *name = name_create((struct span){topic, strlen(topic)});
    CHECK(name);
    return name;
}

void host_want(struct host *host, const char *topic, uint32_t number)
{
    uint64_t hash = topic_hash(topic);
    struct envelope envelope = {.kind = ASK_WANT, .name = name_of(topic), .hash = hash, .topic = number};
    ask(host, (uint32_t)(hash % HOST_SHARDS), &envelope);
}

void host_unwant(struct host *host, const char *topic)
{
    uint64_t hash = topic_hash(topic);
    struct envelope envelope = {.kind = ASK_UNWANT, .name = name_of(topic), .hash = hash};
    ask(host, (uint32_t)(hash % HOST_SHARDS), &envelope);
}

void host_filter(struct host *host, uint32_t shard, const char *filter, uint32_t feed, uint8_t lanes, uint8_t before)
{
    struct envelope envelope = {
        .kind = ASK_FILTER, .name = name_of(filter), .feed = feed, .lanes = lanes, .lanes_before = before};
    ask(host, shard, &envelope);
}

static struct relay *relay_for(const char *topic, const char *key, const char *payload)
{
    struct relay *relay =
        relay_create(topic, strlen(topic), key, key ? strlen(key) : 0, payload, payload ? strlen(payload) : 0);
    CHECK(relay);
    relay->hash = topic_hash(topic);
    relay->time_ms = clock_of_host.wall_ms(&clock_of_host);
    return relay;
}

void host_publish(struct host *host, const char *topic, const char *payload, const char *key, bool logged)
{
    struct relay *relay = relay_for(topic, key, payload);
    relay->logged = logged;
    relay->messages_max = keep_messages;
    relay->stream_age_s = 3600;
    ask_relay(host, ASK_RELAY, relay);
}

void host_fetch(struct host *host, const char *topic, uint64_t epoch, uint64_t offset, uint32_t newest)
{
    struct relay *relay = relay_for(topic, NULL, NULL);
    relay->logged = true;
    relay->epoch = epoch;
    relay->offset = offset;
    relay->messages_max = newest;
    ask_relay(host, ASK_FETCH, relay);
}

bool host_is_ready(const struct host *host)
{
    char why[512];
    return link_is_ready(host->link, why, sizeof why);
}

const struct envelope *host_told(const struct host *host, enum envelope_kind kind)
{
    const struct told *told = host->told;
    while (told && told->envelope.kind != kind) {
        told = told->before;
    }
    return told ? &told->envelope : NULL;
}

uint32_t host_told_count(const struct host *host, enum envelope_kind kind)
{
    uint32_t count = 0;
    for (const struct told *told = host->told; told; told = told->before) {
        count += told->envelope.kind == kind;
    }
    return count;
}
