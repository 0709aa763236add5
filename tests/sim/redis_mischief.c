/* redis_mischief: what goes wrong with simulated servers and the way to them. See redis_simulated.h. */
#include <stdio.h>

#include "redis_sim.h"

static bool happens(struct redis_sim *sim, uint16_t in_10000)
{
    return in_10000 > 0 && sim_redis_random(sim, 10000) < in_10000;
}

/* How long a fault lasts: mostly short, sometimes long. */
static int64_t a_while_us(struct redis_sim *sim)
{
    uint32_t most = (uint32_t)sim->options.trouble_us_max;
    return sim_redis_random(sim, sim_redis_random(sim, 3) ? most / 20 + 1 : most + 1);
}

/* --- connections --- */

/* NULL: there is none. */
static struct sim_redis *any_connection(struct redis_sim *sim)
{
    uint32_t count = 0;
    for (const struct sim_redis *redis = sim->connections; redis; redis = redis->next) {
        count += redis->process != NULL;
    }
    uint32_t chosen = count ? sim_redis_random(sim, count) : 0;
    for (struct sim_redis *redis = sim->connections; redis; redis = redis->next) {
        if (redis->process && chosen-- == 0) {
            return redis;
        }
    }
    return NULL;
}

static void break_one(struct redis_sim *sim)
{
    struct sim_redis *redis = any_connection(sim);
    if (redis) {
        sim->counters.breaks++;
        connection_break(redis, "Connection reset by peer");
    }
}

static void silence_one(struct redis_sim *sim)
{
    struct sim_redis *redis = any_connection(sim);
    if (redis && redis->held) {
        SIM_TRACE(sim, "connection %u falls silent", redis->number);
        sim->counters.silences++;
        redis->silent = true;
    }
}

static void hold_one(struct redis_sim *sim)
{
    struct sim_redis *redis = any_connection(sim);
    if (redis) {
        int64_t until_us = sim_redis_now_us(sim) + a_while_us(sim);
        uint32_t ways = sim_redis_random(sim, 3);
        SIM_TRACE(sim, "connection %u is held up until %lld, way %u", redis->number, (long long)until_us, ways);
        sim->counters.holds++;
        redis->up_held_until_us = ways != 1 ? until_us : 0;
        redis->down_held_until_us = ways != 0 ? until_us : 0;
    }
}

/* --- processes --- */

/* NULL: the server is down. */
static struct process *any_process(struct redis_sim *sim)
{
    return sim->servers[sim_redis_random(sim, sim->options.servers)].process;
}

static void pause_one(struct redis_sim *sim)
{
    struct process *process = any_process(sim);
    if (process) {
        sim->counters.pauses++;
        process->paused_until_us = sim_redis_now_us(sim) + a_while_us(sim);
        SIM_TRACE(sim, "server %u stands still until %lld", process->server, (long long)process->paused_until_us);
    }
}

/* Killed, to return some time later with this. */
static void restart_one(struct redis_sim *sim, enum comeback comeback, uint64_t *counter)
{
    struct process *process = any_process(sim);
    if (!process) {
        return;
    }
    struct server *server = &sim->servers[process->server];
    SIM_TRACE(sim, "server %u is killed, to come back as %d", process->server, comeback);
    ++*counter;
    sim->amnesias += comeback != COMEBACK_WITH_ALL;
    server->kept = process_end(process);
    server->returns_us = sim_redis_now_us(sim) + a_while_us(sim);
    if (comeback != COMEBACK_WITH_ALL) {
        store_destroy(server->kept);
        bool snapshot = comeback == COMEBACK_WITH_SNAPSHOT && server->snapshot;
        server->kept = snapshot ? store_copy(server->snapshot) : store_create();
    }
}

static void server_return(struct redis_sim *sim, uint32_t number)
{
    struct server *server = &sim->servers[number];
    struct store *store = server->kept;
    server->kept = NULL;
    process_start(sim, number, store);
    if (!sim->calm && sim_redis_random(sim, 2)) {
        server->process->loading_until_us = sim_redis_now_us(sim) + a_while_us(sim) / 4;
    }
    SIM_TRACE(sim, "server %u is back: %s", number, server->process->run_id);
}

/* The replica takes over with what it has. The old one dies, or lives on without knowing it. */
static void fail_over(struct redis_sim *sim)
{
    struct process *process = any_process(sim);
    if (!process) {
        return;
    }
    uint32_t number = process->server;
    struct server *server = &sim->servers[number];
    sim->counters.failovers++;
    sim->amnesias++;
    int64_t lag_us = sim->options.lag_us_max ? sim_redis_random(sim, (uint32_t)sim->options.lag_us_max) : 0;
    replica_follow(sim, number, sim_redis_now_us(sim) - lag_us);
    struct store *store = store_copy(server->replica);
    char origin_id[sizeof process->replication_id];
    memcpy(origin_id, process->replication_id, sizeof origin_id);
    server->process = NULL;
    if (sim_redis_random(sim, 2)) {
        store_destroy(process_end(process));
    } else {
        process->ghost = true;
        process->mind.read_only = sim_redis_random(sim, 3) == 0; /* it has been told */
        process->ends_us = sim_redis_now_us(sim) + a_while_us(sim);
    }
    process_start(sim, number, store);
    memcpy(server->process->origin_id, origin_id, sizeof origin_id);
    SIM_TRACE(sim, "server %u fails over, lag %lld us: %s", number, (long long)lag_us, server->process->run_id);
}

static bool may_be_evicted(const struct redis_sim *sim, const struct store_key *key)
{
    return sim->options.evicts_anything || key->type == STORE_STREAM || key->type == STORE_ZSET;
}

static void evict_one(struct redis_sim *sim)
{
    struct process *process = any_process(sim);
    struct store *store = process ? process->mind.store : NULL;
    if (!store || !store->key_count) {
        return;
    }
    const struct store_key *key = store->keys[sim_redis_random(sim, store->key_count)];
    if (may_be_evicted(sim, key)) {
        SIM_TRACE(sim, "server %u evicts %s", process->server, key->name.data);
        sim->counters.evictions++;
        sim->amnesias++;
        const struct span told[] = {SPAN_LITERAL("DEL"), blob_span(&key->name)};
        if (!process->ghost) {
            process_replicate(process, 2, told); /* else it would do later what the master did, at another state */
        }
        store_drop(store, blob_span(&key->name));
    }
}

static void flood_one(struct redis_sim *sim)
{
    struct process *process = any_process(sim);
    if (process) {
        sim->counters.floods++;
        process->full_until_us = sim_redis_now_us(sim) + a_while_us(sim);
        SIM_TRACE(sim, "server %u is full until %lld", process->server, (long long)process->full_until_us);
    }
}

void redis_sim_flood(struct redis_sim *sim, uint32_t server, int64_t until_us)
{
    if (sim->servers[server].process) {
        sim->servers[server].process->full_until_us = until_us;
    }
}

static void forget_scripts(struct redis_sim *sim)
{
    struct process *process = any_process(sim);
    if (process) {
        sim->counters.forgets++;
        memset(process->mind.loaded, false, sizeof process->mind.loaded);
    }
}

static void take_snapshot(struct redis_sim *sim)
{
    struct process *process = any_process(sim);
    if (process) {
        struct server *server = &sim->servers[process->server];
        store_destroy(server->snapshot);
        server->snapshot = store_copy(process->mind.store);
    }
}

/* --- all of it --- */

static void mischief_with_connections(struct redis_sim *sim, const struct redis_mischief *mischief)
{
    if (happens(sim, mischief->breaks)) {
        break_one(sim);
    }
    if (happens(sim, mischief->silences)) {
        silence_one(sim);
    }
    if (happens(sim, mischief->holds)) {
        hold_one(sim);
    }
}

static void mischief_with_processes(struct redis_sim *sim, const struct redis_mischief *mischief)
{
    if (happens(sim, mischief->pauses)) {
        pause_one(sim);
    }
    if (happens(sim, mischief->restarts)) {
        restart_one(sim, COMEBACK_WITH_ALL, &sim->counters.restarts);
    }
    if (happens(sim, mischief->snapshots)) {
        restart_one(sim, COMEBACK_WITH_SNAPSHOT, &sim->counters.snapshots);
    }
    if (mischief->snapshots && happens(sim, 20)) {
        take_snapshot(sim);
    }
    if (happens(sim, mischief->losses)) {
        restart_one(sim, COMEBACK_EMPTY, &sim->counters.losses);
    }
    if (happens(sim, mischief->failovers)) {
        fail_over(sim);
    }
}

static void mischief_with_memory(struct redis_sim *sim, const struct redis_mischief *mischief)
{
    if (happens(sim, mischief->evictions)) {
        evict_one(sim);
    }
    if (happens(sim, mischief->floods)) {
        flood_one(sim);
    }
    if (happens(sim, mischief->forgets)) {
        forget_scripts(sim);
    }
}

void redis_sim_mischief(struct redis_sim *sim)
{
    if (!sim->calm) {
        mischief_with_connections(sim, &sim->options.mischief);
        mischief_with_processes(sim, &sim->options.mischief);
        mischief_with_memory(sim, &sim->options.mischief);
    }
}

static void end_ghosts(struct redis_sim *sim, int64_t now_us)
{
    for (struct process *process = sim->processes, *next; process; process = next) {
        next = process->next;
        if (process->ghost && process->ends_us <= now_us) {
            SIM_TRACE(sim, "the ghost of server %u ends", process->server);
            store_destroy(process_end(process));
        }
    }
}

void mischief_ends(struct redis_sim *sim)
{
    int64_t now_us = sim_redis_now_us(sim);
    end_ghosts(sim, now_us);
    for (uint32_t i = 0; i < sim->options.servers; i++) {
        if (!sim->servers[i].process && sim->servers[i].returns_us <= now_us) {
            server_return(sim, i);
        }
    }
}

void redis_sim_calm(struct redis_sim *sim)
{
    sim->calm = true;
    sim->options.output_max = 0;
    sim->options.mischief.scarcity = 0;
    for (struct process *process = sim->processes; process; process = process->next) {
        process->ends_us = process->paused_until_us = process->full_until_us = process->loading_until_us = 0;
    }
    for (struct sim_redis *redis = sim->connections; redis; redis = redis->next) {
        redis->up_held_until_us = redis->down_held_until_us = 0;
    }
    for (uint32_t i = 0; i < sim->options.servers; i++) {
        sim->servers[i].returns_us = 0;
    }
    mischief_ends(sim);
}
