/* redis_simulated: see redis_simulated.h. This file: the network between links and servers, and the room. */
#include "redis_simulated.h"

#include <stdio.h>

#include "redis_sim.h"
#include "scarce.h"

/* --- chance and time --- */

int64_t sim_redis_now_us(const struct redis_sim *sim)
{
    return sim->options.clock->monotonic_us(sim->options.clock);
}

uint32_t sim_redis_random(struct redis_sim *sim, uint32_t bound)
{
    return chance_below(&sim->chance, bound);
}

int64_t sim_redis_delay(struct redis_sim *sim)
{
    return sim->options.delay_us_max ? sim_redis_random(sim, (uint32_t)sim->options.delay_us_max + 1) : 0;
}

/* --- packets --- */

struct packet *packet_create(uint32_t count, const struct span *words)
{
    size_t size = sizeof(struct packet) + count * sizeof(struct span);
    for (uint32_t i = 0; i < count; i++) {
        size += words[i].size;
    }
    struct packet *packet = calloc(1, size);
    CHECK(packet);
    packet->count = count;
    char *at = (char *)&packet->words[count];
    for (uint32_t i = 0; i < count; i++) {
        packet->words[i] = (struct span){at, words[i].size};
        if (words[i].size) {
            memcpy(at, words[i].data, words[i].size);
        }
        at += words[i].size;
    }
    return packet;
}

void packets_push(struct packets *packets, struct packet *packet)
{
    packet->next = NULL;
    if (packets->last) {
        packets->last->next = packet;
    } else {
        packets->first = packet;
    }
    packets->last = packet;
}

struct packet *packets_pop(struct packets *packets)
{
    struct packet *packet = packets->first;
    if (packet) {
        packets->first = packet->next;
        packets->last = packets->first ? packets->last : NULL;
    }
    return packet;
}

void packets_clear(struct packets *packets)
{
    for (struct packet *packet; (packet = packets_pop(packets));) {
        free(packet);
    }
}

/* All but the first `count` are lost. */
static void packets_cut(struct packets *packets, uint32_t count)
{
    struct packets kept = {0};
    for (; count && packets->first; count--) {
        packets_push(&kept, packets_pop(packets));
    }
    packets_clear(packets);
    *packets = kept;
}

static uint32_t packets_count(const struct packets *packets)
{
    uint32_t count = 0;
    for (const struct packet *packet = packets->first; packet; packet = packet->next) {
        count++;
    }
    return count;
}

/* --- news --- */

static void news_free(struct news *news)
{
    if (news) {
        reply_clear(&news->value);
        free(news);
    }
}

static struct news *news_pop(struct sim_redis *redis)
{
    struct news *news = redis->down_first;
    if (news) {
        redis->down_first = news->next;
        redis->down_last = news->next ? redis->down_last : NULL;
        redis->down_bytes -= reply_size(&news->value);
    }
    return news;
}

static void news_push(struct sim_redis *redis, struct news *news)
{
    news->next = NULL;
    if (redis->down_last) {
        redis->down_last->next = news;
    } else {
        redis->down_first = news;
    }
    redis->down_last = news;
    redis->down_bytes += reply_size(&news->value);
}

static int64_t later(int64_t a_us, int64_t b_us)
{
    return a_us > b_us ? a_us : b_us;
}

void connection_tell(struct sim_redis *redis, enum redis_event_kind kind, struct redis_value value, const char *reason)
{
    struct news *news = calloc(1, sizeof *news);
    CHECK(news);
    int64_t due_us = sim_redis_now_us(redis->sim) + sim_redis_delay(redis->sim);
    redis->down_last_us = later(redis->down_last_us, due_us);
    *news = (struct news){.due_us = redis->down_last_us, .kind = kind, .value = value, .reason = reason};
    news_push(redis, news);
}

/* All but the first `count` are lost. */
static void news_cut(struct sim_redis *redis, uint32_t count)
{
    struct news *all = redis->down_first;
    redis->down_first = redis->down_last = NULL;
    redis->down_bytes = 0;
    while (all) {
        struct news *next = all->next;
        if (count) {
            count--;
            news_push(redis, all);
        } else {
            news_free(all);
        }
        all = next;
    }
}

static uint32_t news_count(const struct sim_redis *redis)
{
    uint32_t count = 0;
    for (const struct news *news = redis->down_first; news; news = news->next) {
        count++;
    }
    return count;
}

/* --- connections --- */

void names_clear(struct name_list *list)
{
    for (uint32_t i = 0; i < list->count; i++) {
        free(list->names[i].data);
    }
    free(list->names);
    *list = (struct name_list){0};
}

/* Freed when neither end is there any more, or it can do nothing more. */
static void connection_release(struct sim_redis *redis)
{
    if (redis->held || (redis->process && redis->up.first && !redis->silent)) {
        return;
    }
    struct sim_redis **at = &redis->sim->connections;
    while (*at != redis) {
        at = &(*at)->next;
    }
    *at = redis->next;
    packets_clear(&redis->unsent);
    packets_clear(&redis->up);
    news_cut(redis, 0);
    news_free(redis->shown);
    names_clear(&redis->channels);
    names_clear(&redis->patterns);
    free(redis);
}

void connection_break(struct sim_redis *redis, const char *reason)
{
    if (!redis->process) {
        return;
    }
    struct redis_sim *sim = redis->sim;
    SIM_TRACE(sim, "connection %u: %s", redis->number, reason);
    redis->process = NULL;
    packets_clear(&redis->up); /* what has arrived is not worked any more */
    names_clear(&redis->channels);
    names_clear(&redis->patterns);
    if (!redis->silent) {
        news_cut(redis, sim_redis_random(sim, news_count(redis) + 1));
        connection_tell(redis, REDIS_CLOSED, reply_nil(), reason);
    }
    connection_release(redis);
}

/* What could not be met, for nobody asked for memory, is over; else it is counted. */
static void disarm(struct redis_sim *sim)
{
    sim->counters.scarcities += sim->armed && !scarce_disarm();
    sim->armed = false;
}

static struct redis *sim_redis_connect(struct redis_room *room, const char *host, uint16_t port, bool tls)
{
    CHECK(!tls);
    (void)port;
    struct redis_sim *sim = ((struct sim_redis_room *)room)->sim;
    disarm(sim);
    uint32_t server = (uint32_t)strtoul(host + strlen("redis"), NULL, 10);
    CHECK_MSG(strncmp(host, "redis", 5) == 0 && server < sim->options.servers, "no such host: %s", host);
    struct sim_redis *redis = calloc(1, sizeof *redis);
    CHECK(redis);
    *redis = (struct sim_redis){.base.room = room, .sim = sim, .number = sim->next_number++, .held = true};
    redis->admitted = !sim->options.password;
    struct sim_redis **at = &sim->connections;
    while (*at) {
        at = &(*at)->next;
    }
    *at = redis;
    redis->process = sim->servers[server].process;
    SIM_TRACE(sim, "connection %u to %s%s", redis->number, host, redis->process ? "" : ", which is down");
    if (redis->process) {
        connection_tell(redis, REDIS_OPENED, reply_nil(), NULL);
    } else {
        connection_tell(redis, REDIS_CLOSED, reply_nil(), "Connection refused");
    }
    return &redis->base;
}

/* On its way now. */
static void transmit(struct sim_redis *redis)
{
    struct redis_sim *sim = redis->sim;
    for (struct packet *packet; (packet = packets_pop(&redis->unsent));) {
        redis->up_last_us = later(redis->up_last_us, sim_redis_now_us(sim) + sim_redis_delay(sim));
        packet->due_us = redis->up_last_us;
        packet->order = sim->order++;
        if (redis->process) {
            packets_push(&redis->up, packet);
        } else {
            free(packet);
        }
    }
}

static void sim_redis_send(struct redis *base, uint32_t count, const struct span *words)
{
    struct sim_redis *redis = (struct sim_redis *)base;
    CHECK(redis->held && count > 0);
    disarm(redis->sim);
    if (redis->closed_told) {
        return;
    }
    packets_push(&redis->unsent, packet_create(count, words));
    if (sim_redis_random(redis->sim, 8) == 0) { /* a room may write when it likes */
        transmit(redis);
    }
}

static bool is_message(const struct redis_event *event)
{
    const struct redis_value *value = event->value;
    return value && value->kind == REDIS_ARRAY && value->count >= 3 &&
           memmem(value->items[0].text.data, value->items[0].text.size, "message", strlen("message")) != NULL;
}

static void perhaps_arm(struct redis_sim *sim, const struct redis_event *event)
{
    uint32_t scarcity = sim->options.mischief.scarcity;
    if (scarcity && is_message(event) && sim_redis_random(sim, 10000) < scarcity) {
        sim->armed = true;
        scarce_arm();
    }
}

static bool sim_redis_next(struct redis *base, struct redis_event *event)
{
    struct sim_redis *redis = (struct sim_redis *)base;
    CHECK(redis->held);
    disarm(redis->sim);
    redis_sim_turn(redis->sim);
    news_free(redis->shown);
    redis->shown = NULL;
    int64_t now_us = sim_redis_now_us(redis->sim);
    bool arrived = redis->down_first && redis->down_first->due_us <= now_us && redis->down_held_until_us <= now_us;
    if (!arrived || redis->silent) {
        return false;
    }
    redis->shown = news_pop(redis);
    redis->closed_told = redis->shown->kind == REDIS_CLOSED;
    *event = (struct redis_event){
        .kind = redis->shown->kind,
        .value = redis->shown->kind == REDIS_VALUE ? &redis->shown->value : NULL,
        .reason = redis->shown->reason,
    };
    perhaps_arm(redis->sim, event);
    return true;
}

/* What was sent is on its way, as with TCP, or lost, or some of it. */
static void sim_redis_close(struct redis *base)
{
    struct sim_redis *redis = (struct sim_redis *)base;
    CHECK(redis->held);
    transmit(redis);
    packets_cut(&redis->up, sim_redis_random(redis->sim, packets_count(&redis->up) + 1));
    news_cut(redis, 0);
    names_clear(&redis->channels);
    names_clear(&redis->patterns);
    redis->held = false;
    connection_release(redis);
}

static void sim_redis_wait(struct redis_room *room, int64_t timeout_us)
{
    (void)timeout_us; /* the test moves the clock */
    struct redis_sim *sim = ((struct sim_redis_room *)room)->sim;
    disarm(sim);
    for (struct sim_redis *redis = sim->connections; redis; redis = redis->next) {
        if (redis->held && redis->base.room == room) {
            transmit(redis);
        }
    }
    redis_sim_turn(sim);
}

static void sim_redis_wake(struct redis_room *room)
{
    (void)room; /* nobody sleeps */
}

static void sim_redis_destroy_room(struct redis_room *room)
{
    struct redis_sim *sim = ((struct sim_redis_room *)room)->sim;
    for (const struct sim_redis *redis = sim->connections; redis; redis = redis->next) {
        CHECK_MSG(!redis->held || redis->base.room != room, "connection %u was not closed", redis->number);
    }
    free(room);
}

struct redis_room *redis_sim_room(struct redis_sim *sim)
{
    struct sim_redis_room *room = calloc(1, sizeof *room);
    CHECK(room);
    *room = (struct sim_redis_room){
        .base =
            {
                .connect = sim_redis_connect,
                .send = sim_redis_send,
                .next = sim_redis_next,
                .close = sim_redis_close,
                .wait = sim_redis_wait,
                .wake = sim_redis_wake,
                .destroy = sim_redis_destroy_room,
            },
        .sim = sim,
    };
    return &room->base;
}

/* --- turning --- */

/* INT64_MAX: nothing. */
static int64_t up_due_us(const struct sim_redis *redis)
{
    if (!redis->up.first || redis->silent || !redis->process) {
        return INT64_MAX;
    }
    int64_t due_us = later(redis->up.first->due_us, redis->up_held_until_us);
    return later(due_us, redis->process->paused_until_us);
}

/* The connection whose command comes first. NULL: none is due. */
static struct sim_redis *first_due(const struct redis_sim *sim)
{
    struct sim_redis *first = NULL;
    int64_t now_us = sim_redis_now_us(sim);
    for (struct sim_redis *redis = sim->connections; redis; redis = redis->next) {
        /* That connection_release() takes out of this list what it frees: to the analyzer redis->sim may be another. */
        int64_t due_us = up_due_us(redis); /* NOLINT(clang-analyzer-unix.Malloc) */
        if (due_us > now_us) {
            continue;
        }
        bool before = !first || due_us < up_due_us(first) ||
                      (due_us == up_due_us(first) && redis->up.first->order < first->up.first->order);
        first = before ? redis : first;
    }
    return first;
}

void redis_sim_turn(struct redis_sim *sim)
{
    mischief_ends(sim);
    for (struct sim_redis *redis; (redis = first_due(sim));) {
        struct packet *packet = packets_pop(&redis->up);
        sim->counters.commands++;
        process_work(redis->process, redis, packet);
        free(packet);
        if (sim->options.output_max && redis->down_bytes > sim->options.output_max) {
            sim->counters.overflows++;
            connection_break(redis, "Server closed the connection");
        } else {
            connection_release(redis);
        }
    }
}

/* --- making --- */

struct redis_sim *redis_sim_create(const struct redis_sim_options *options)
{
    struct redis_sim *sim = calloc(1, sizeof *sim);
    CHECK(sim && options->servers <= SIM_SERVERS_MAX);
    sim->options = *options;
    sim->chance.state = options->seed * 0xD1342543DE82EF95u + 11;
    for (uint32_t i = 0; i < options->servers; i++) {
        process_start(sim, i, store_create());
    }
    return sim;
}

void redis_sim_destroy(struct redis_sim *sim)
{
    while (sim->processes) {
        store_destroy(process_end(sim->processes));
    }
    for (uint32_t i = 0; i < sim->options.servers; i++) {
        struct server *server = &sim->servers[i];
        store_destroy(server->kept);
        store_destroy(server->snapshot);
        store_destroy(server->replica);
        packets_clear(&server->changes);
    }
    CHECK_MSG(!sim->connections, "connections were not closed");
    free(sim);
}

struct store *redis_sim_store(struct redis_sim *sim, uint32_t server)
{
    struct process *process = sim->servers[server].process;
    return process ? process->mind.store : NULL;
}

const struct redis_sim_counters *redis_sim_counters(const struct redis_sim *sim)
{
    return &sim->counters;
}

uint64_t redis_sim_amnesias(const struct redis_sim *sim)
{
    return sim->amnesias;
}

uint32_t redis_sim_connections(const struct redis_sim *sim)
{
    uint32_t count = 0;
    for (const struct sim_redis *redis = sim->connections; redis; redis = redis->next) {
        count += redis->held;
    }
    return count;
}

uint32_t redis_sim_subscriptions(const struct redis_sim *sim, uint32_t server)
{
    uint32_t count = 0;
    for (const struct sim_redis *redis = sim->connections; redis; redis = redis->next) {
        bool here = redis->process && redis->process == sim->servers[server].process;
        count += here ? redis->channels.count + redis->patterns.count : 0;
    }
    return count;
}

void redis_sim_starve(struct redis_sim *sim, uint16_t in_10000)
{
    sim->options.mischief.scarcity = in_10000;
}

void redis_sim_sabotage(struct redis_sim *sim, const char *channel_prefix)
{
    sim->sabotage = channel_prefix;
}

bool redis_sim_sabotaged(const struct redis_sim *sim)
{
    return sim->sabotaged;
}
