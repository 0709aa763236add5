/* redis_process: a simulated server's process: who it is, who has subscribed, and its replica. See redis_sim.h. */
#include <stdio.h>

#include "redis_sim.h"

/* --- subscriptions --- */

static uint32_t name_place(const struct name_list *list, struct span name)
{
    uint32_t at = 0;
    while (at < list->count && !span_equal(blob_span(&list->names[at]), name)) {
        at++;
    }
    return at;
}

static void name_add(struct name_list *list, struct span name)
{
    if (name_place(list, name) < list->count) {
        return;
    }
    list->names = realloc(list->names, (list->count + 1) * sizeof *list->names);
    CHECK(list->names);
    list->names[list->count++] = blob_of(name);
}

static void name_remove(struct name_list *list, struct span name)
{
    uint32_t at = name_place(list, name);
    if (at < list->count) {
        free(list->names[at].data);
        list->count--;
        memmove(&list->names[at], &list->names[at + 1], (list->count - at) * sizeof *list->names);
    }
}

/* SUBSCRIBE, PSUBSCRIBE and their opposites: an answer for each name. */
static void subscribe(struct sim_redis *redis, const struct packet *packet, const char *word)
{
    bool patterns = word[0] == 'p', off = strncmp(word + patterns, "un", 2) == 0;
    struct name_list *list = patterns ? &redis->patterns : &redis->channels;
    CHECK(packet->count > 1); /* UNSUBSCRIBE from all is not simulated */
    for (uint32_t i = 1; i < packet->count; i++) {
        SIM_TRACE(redis->sim, "connection %u: %s %.*s", redis->number, word, (int)packet->words[i].size,
                  packet->words[i].data);
        if (off) {
            name_remove(list, packet->words[i]);
        } else {
            name_add(list, packet->words[i]);
        }
        struct redis_value reply = reply_array(3);
        *reply_item(&reply, 0) = reply_words(word);
        *reply_item(&reply, 1) = reply_string(packet->words[i]);
        *reply_item(&reply, 2) = reply_integer(redis->channels.count + redis->patterns.count);
        connection_tell(redis, REDIS_VALUE, reply, NULL);
    }
}

static void push_message(struct sim_redis *redis, const struct blob *pattern, struct span channel, struct span message)
{
    struct redis_value reply = reply_array(pattern ? 4 : 3);
    uint32_t at = 0;
    *reply_item(&reply, at++) = reply_words(pattern ? "pmessage" : "message");
    if (pattern) {
        *reply_item(&reply, at++) = reply_string(blob_span(pattern));
    }
    *reply_item(&reply, at++) = reply_string(channel);
    *reply_item(&reply, at++) = reply_string(message);
    SIM_TRACE(redis->sim, "connection %u is pushed %.*s", redis->number, (int)channel.size, channel.data);
    redis->sim->counters.pushes++;
    connection_tell(redis, REDIS_VALUE, reply, NULL);
}

/* True: this message is lost on purpose. */
static bool sabotage_takes(struct redis_sim *sim, struct span channel)
{
    size_t size = sim->sabotage ? strlen(sim->sabotage) : 0;
    if (!sim->sabotage || sim->sabotaged || channel.size < size || memcmp(channel.data, sim->sabotage, size) != 0) {
        return false;
    }
    SIM_TRACE(sim, "sabotage: a message of %.*s is lost", (int)channel.size, channel.data);
    sim->sabotaged = true;
    return true;
}

static int64_t publish(void *context, struct span channel, struct span message)
{
    struct process *process = context;
    int64_t count = 0;
    if (sabotage_takes(process->sim, channel)) {
        return 0;
    }
    for (struct sim_redis *redis = process->sim->connections; redis; redis = redis->next) {
        if (redis->process != process) {
            continue;
        }
        if (name_place(&redis->channels, channel) < redis->channels.count) {
            push_message(redis, NULL, channel, message);
            count++;
        }
        for (uint32_t i = 0; i < redis->patterns.count; i++) {
            if (redis_glob(blob_span(&redis->patterns.names[i]), channel)) {
                push_message(redis, &redis->patterns.names[i], channel, message);
                count++;
            }
        }
    }
    return count;
}

/* --- a command --- */

/* INFO, one section of it, or all. */
static struct redis_value info(const struct process *process, const struct packet *packet)
{
    char text[512] = "";
    size_t size = 0;
    bool all = packet->count == 1;
    if (all || word_is(packet->words[1], "server")) {
        size +=
            (size_t)snprintf(text, sizeof text, "# Server\r\nredis_version:7.0.15\r\nrun_id:%s\r\n", process->run_id);
    }
    if (all || word_is(packet->words[1], "replication")) {
        size += (size_t)snprintf(
            text + size, sizeof text - size, "# Replication\r\nrole:%s\r\nmaster_replid:%s\r\nmaster_replid2:%s\r\n",
            process->mind.read_only ? "slave" : "master", process->replication_id, process->origin_id);
    }
    return reply_string((struct span){text, size});
}

static struct redis_value authenticate(struct sim_redis *redis, const struct packet *packet)
{
    const char *password = redis->sim->options.password;
    struct span given = packet->words[packet->count - 1];
    if (!password) {
        return reply_failure("ERR AUTH <password> called without any password configured for the default user.");
    }
    if (!span_equal(given, (struct span){password, strlen(password)})) {
        return reply_failure("WRONGPASS invalid username-password pair or user is disabled.");
    }
    redis->admitted = true;
    return reply_words("OK");
}

/* The subscribing words, as they come back. NULL: another command. */
static const char *subscribing_word(struct span word)
{
    static const char *const words[] = {"subscribe", "unsubscribe", "psubscribe", "punsubscribe"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (word_is(word, words[i])) {
            return words[i];
        }
    }
    return NULL;
}

void process_replicate(struct process *process, uint32_t count, const struct span *words)
{
    struct redis_sim *sim = process->sim;
    struct packet *copy = packet_create(count, words);
    copy->due_us = sim_redis_now_us(sim);
    packets_push(&sim->servers[process->server].changes, copy);
    replica_follow(sim, process->server, sim_redis_now_us(sim) - sim->options.lag_us_max);
}

static bool is_subscribed(const struct sim_redis *redis)
{
    return redis->channels.count + redis->patterns.count > 0;
}

/* On a connection that has subscribed, an answer to PING looks like a message. */
static struct redis_value pong(void)
{
    struct redis_value reply = reply_array(2);
    *reply_item(&reply, 0) = reply_words("pong");
    *reply_item(&reply, 1) = reply_words("");
    return reply;
}

static struct redis_value work(struct process *process, struct sim_redis *redis, const struct packet *packet)
{
    struct span verb = packet->words[0];
    int64_t now_us = sim_redis_now_us(process->sim);
    if (word_is(verb, "AUTH")) {
        return authenticate(redis, packet);
    }
    if (!redis->admitted) {
        return reply_failure("NOAUTH Authentication required.");
    }
    if (word_is(verb, "SELECT") || word_is(verb, "CLIENT")) {
        return reply_words("OK");
    }
    if (word_is(verb, "INFO")) {
        return info(process, packet);
    }
    if (process->loading_until_us > now_us) {
        return reply_failure("LOADING Redis is loading the dataset in memory");
    }
    if (word_is(verb, "PING") && is_subscribed(redis)) {
        return pong();
    }
    bool wrote = false;
    process->mind.full = process->full_until_us > now_us;
    process->mind.store->now_ms = now_us / 1000;
    struct redis_value reply = redis_command(&process->mind, packet->count, packet->words, &wrote);
    if (wrote && !process->ghost && reply.kind != REDIS_FAILURE) {
        process_replicate(process, packet->count, packet->words);
    }
    return reply;
}

/* A line of the story. */
static void trace_work(const struct process *process, const struct sim_redis *redis, const struct packet *packet,
                       const struct redis_value *reply)
{
    if (process->sim->options.trace) {
        fprintf(stderr, "%lld redis: connection %u:", (long long)sim_redis_now_us(process->sim), redis->number);
        for (uint32_t i = 0; i < packet->count && i < 16; i++) {
            bool long_word = packet->words[i].size > 60;
            fprintf(stderr, " %.*s", long_word ? 20 : (int)packet->words[i].size, packet->words[i].data);
        }
        fprintf(stderr, " -> %d %.*s %lld\n", reply->kind, (int)reply->text.size, reply->text.data,
                (long long)reply->integer);
    }
}

void process_work(struct process *process, struct sim_redis *redis, const struct packet *packet)
{
    const char *word = redis->admitted ? subscribing_word(packet->words[0]) : NULL;
    if (word && process->loading_until_us <= sim_redis_now_us(process->sim)) {
        subscribe(redis, packet, word);
        return;
    }
    struct redis_value reply =
        word ? reply_failure("LOADING Redis is loading the dataset in memory") : work(process, redis, packet);
    trace_work(process, redis, packet, &reply);
    connection_tell(redis, REDIS_VALUE, reply, NULL);
}

/* --- processes --- */

static void make_id(struct redis_sim *sim, char id[SIM_RUN_ID_SIZE + 1])
{
    for (int i = 0; i < SIM_RUN_ID_SIZE; i++) {
        id[i] = "0123456789abcdef"[sim_redis_random(sim, 16)];
    }
    id[SIM_RUN_ID_SIZE] = '\0';
}

void process_start(struct redis_sim *sim, uint32_t server, struct store *store)
{
    struct process *process = calloc(1, sizeof *process);
    CHECK(process && !sim->servers[server].process);
    *process = (struct process){
        .next = sim->processes,
        .sim = sim,
        .mind = {.store = store, .publish = publish, .context = process},
        .server = server,
    };
    store->slack = sim->options.slack;
    make_id(sim, process->run_id);
    make_id(sim, process->replication_id);
    memset(process->origin_id, '0', SIM_RUN_ID_SIZE);
    sim->processes = process;
    sim->servers[server].process = process;
    store_destroy(sim->servers[server].replica);
    sim->servers[server].replica = store_copy(store);
    packets_clear(&sim->servers[server].changes);
}

struct store *process_end(struct process *process)
{
    struct redis_sim *sim = process->sim;
    for (struct sim_redis *redis = sim->connections, *next; redis; redis = next) {
        next = redis->next;
        if (redis->process == process) {
            redis->silent |= !sim->calm && sim_redis_random(sim, 5) == 0; /* the host has gone, too */
            connection_break(redis, "Connection reset by peer");
        }
    }
    struct process **at = &sim->processes;
    while (*at != process) {
        at = &(*at)->next;
    }
    *at = process->next;
    if (sim->servers[process->server].process == process) {
        sim->servers[process->server].process = NULL;
    }
    struct store *store = process->mind.store;
    free(process);
    return store;
}

/* --- the replica --- */

static int64_t publish_to_nobody(void *context, struct span channel, struct span message)
{
    (void)context, (void)channel, (void)message;
    return 0;
}

void replica_follow(struct redis_sim *sim, uint32_t number, int64_t until_us)
{
    struct server *server = &sim->servers[number];
    struct redis_mind mind = {.store = server->replica, .publish = publish_to_nobody};
    memset(mind.loaded, true, sizeof mind.loaded);
    while (server->changes.first && server->changes.first->due_us <= until_us) {
        struct packet *packet = packets_pop(&server->changes);
        mind.store->now_ms = packet->due_us / 1000;
        struct redis_value reply = redis_command(&mind, packet->count, packet->words, NULL);
        reply_clear(&reply);
        free(packet);
    }
}
