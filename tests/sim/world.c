/* world: see world.h. */
#include "world.h"

#include <stdlib.h>

#include "base/check.h"
#include "broker/shard.h"
#include "check_loss.h"
#include "check_references.h"
#include "check_spread.h"
#include "sim_host.h"

enum { SHARDS_OF_WORLD_MAX = 12 };

/* How long a world may take to come to rest, in rounds and in its own time. */
#define SETTLE_ROUNDS_MAX 20000
#define SETTLE_STILL      20 /* rounds without a byte moved, until bigger steps are taken */
#define SETTLE_OVER       80 /* and so many of these: longer than any limit that keeps somebody waiting */
#define SETTLE_STEP_US    250000
#define LEAVE_US_MAX      1200000000 /* a cut cable is found out late */
#define LEAVE_STEP_US     250000

/* Where links are about, who are quick to take a silent server for gone. */
#define SETTLE_LINK_STEP_US 20000
#define LEAVE_LINK_STEP_US  50000
#define LEAVE_LINK_ROUNDS   500

struct world {
    const struct seed_options *options;
    struct profile profile;
    struct config *config;
    struct sim_network *network;
    struct redis_sim *redis; /* NULL: one host alone */
    struct sim_host hosts[RECORD_HOSTS_MAX];
    uint32_t host_count;  /* ever made: one may be killed */
    uint32_t shard_count; /* of all hosts that live, in a row */
    uint32_t shard_hosts[SHARDS_OF_WORLD_MAX];
    struct shard *shards[SHARDS_OF_WORLD_MAX];
    struct io *rooms[SHARDS_OF_WORLD_MAX];
    struct verdict *verdict;
    struct record record;
    struct clients clients;
    struct name *leaked_name;
    struct chunk *leaked_chunk;
};

/* --- making --- */

static struct config *config_make(const char *text)
{
    struct config_report *report = malloc(sizeof *report);
    CHECK(report);
    const struct config_sources sources = {.file = "world.ini", .file_text = text};
    struct config *config = config_load(&sources, report);
    CHECK_MSG(config, "%s", report->text);
    free(report);
    return config;
}

/* Shard `number` of the host that was made last. Its room has the next number in the network: see come() in clients.c.
 */
static void shard_make(struct world *world, uint32_t number)
{
    uint32_t at = world->shard_count++, of = world->host_count - 1;
    struct sim_host *host = &world->hosts[of];
    CHECK(at < SHARDS_OF_WORLD_MAX);
    world->shard_hosts[at] = of;
    world->rooms[at] = sim_room_create(world->network, &world->profile.io);
    CHECK(io_listen(world->rooms[at], -1) == 0);
    const struct shard_setup setup = {
        .shard = number,
        .shard_count = world->profile.shards,
        .io = world->rooms[at],
        .mesh = &host->mesh,
        .clock = &host->clock,
        .config = world->config,
        .connections = &host->connections,
        .seed = world->options->seed + ((uint64_t)(of * world->profile.shards + number) << 32),
        .link_peer = world->redis ? sim_host_link_peer(host) : 0,
    };
    world->shards[at] = shard_create(&setup);
    CHECK(world->shards[at]);
    world->shards[at]->conns.send_ns = world->profile.send_ns;
    world->shards[at]->conns.subscription_index.few = world->profile.few;
}

static void host_make(struct world *world)
{
    uint32_t number = world->host_count++;
    struct sim_host *host = &world->hosts[number];
    sim_host_init(host, world->network, world->profile.shards, world->config->broker.mesh_slots, world->redis);
    if (world->redis) {
        sim_host_join(host, number, world->options->seed, world->redis, &world->profile.cluster);
    }
    for (uint32_t i = 0; i < world->profile.shards; i++) {
        shard_make(world, i);
    }
}

/* What the record may rely on: history that neither bytes nor age cut short. */
static void tell_history(struct world *world)
{
    for (uint32_t topic = 0; topic < TOPIC_COUNT; topic++) {
        struct span name = {topic_names[topic], strlen(topic_names[topic])};
        const struct namespace_config *namespace = config_namespace_of(world->config, name);
        /* Of several hosts each has its own history, and Redis' own may be lost. */
        bool promised = namespace->history_age_s == 0 && namespace->history_bytes >= 16u << 20 && !world->redis;
        world->record.topics[topic].logged = namespace->logged && world->redis;
        world->record.topics[topic].history_messages = promised ? namespace->history_messages : 0;
    }
}

static void world_make(struct world *world, const struct seed_options *options, bool federated, struct verdict *verdict)
{
    *world = (struct world){.options = options, .verdict = verdict};
    verdict->trace = options->trace;
    profile_make(&world->profile, options->seed, options->steps, options->calm, federated);
    world->config = config_make(world->profile.config);
    world->network = sim_create(&world->profile.network);
    if (federated) {
        world->redis = cluster_redis_create(&world->profile.cluster, sim_clock(world->network), options->trace);
    }
    for (uint32_t i = 0; i < world->profile.hosts; i++) {
        host_make(world);
    }
    record_init(&world->record, verdict);
    world->record.federated = federated;
    world->record.restarts = federated && !world->profile.calm && !world->profile.cluster.durable;
    tell_history(world);
    clients_init(&world->clients, &world->profile, world->config, world->network, &world->record);
    world->clients.sabotage = (enum sabotage)options->sabotage;
    world->clients.sabotage_at = 50;
}

static void world_free(struct world *world)
{
    for (uint32_t i = 0; i < world->shard_count; i++) {
        shard_destroy(world->shards[i]);
    }
    for (uint32_t i = 0; i < world->host_count; i++) {
        if (i != world->clients.host_killed) {
            sim_host_free(&world->hosts[i]);
        }
    }
    if (world->verdict->failures == 0) {
        check_references_end(world->verdict);
    }
    if (world->leaked_name) {
        name_drop(world->leaked_name);
    }
    chunk_drop(world->leaked_chunk);
    clients_free(&world->clients);
    if (world->redis) {
        redis_sim_destroy(world->redis);
    }
    sim_destroy(world->network);
    record_free(&world->record);
    config_free(world->config);
}

/* --- living --- */

static uint32_t random_below(struct world *world, uint32_t bound)
{
    return sim_random(world->network, bound);
}

static void turn(struct world *world, uint32_t shard)
{
    shard_turn(world->shards[shard], 0);
}

/* As on SIGHUP: another configuration, which happens to say the same. */
static void reload(struct world *world)
{
    struct config *before = world->config;
    world->config = config_make(world->profile.config);
    for (uint32_t i = 0; i < world->shard_count; i++) {
        atomic_store(&world->shards[i]->config_next, world->config);
        shard_order(world->shards[i], SHARD_ORDER_RELOAD);
        turn(world, i);
    }
    world->clients.config = world->config;
    config_free(before);
}

/* As on SIGTERM. */
static void drain(struct world *world)
{
    TRACE(world->verdict, "%llu: the broker drains", (unsigned long long)world->record.step);
    world->clients.draining = true;
    for (uint32_t i = 0; i < world->shard_count; i++) {
        shard_order(world->shards[i], SHARD_ORDER_DRAIN);
    }
}

/* Its connections break, what was in it is gone. Another one begins with nothing. */
static void kill_host(struct world *world)
{
    uint32_t number = random_below(world, world->host_count), left = 0;
    TRACE(world->verdict, "%llu: host %u is killed", (unsigned long long)world->record.step, number);
    for (uint32_t i = 0; i < world->shard_count; i++) {
        if (world->shard_hosts[i] == number) {
            shard_destroy(world->shards[i]);
        } else {
            world->shards[left] = world->shards[i];
            world->rooms[left] = world->rooms[i];
            world->shard_hosts[left++] = world->shard_hosts[i];
        }
    }
    world->shard_count = left;
    sim_host_free(&world->hosts[number]);
    world->clients.host_killed = number;
    host_make(world);
    world->clients.hosts = world->host_count;
}

static bool has_link(const struct world *world, uint32_t host)
{
    return world->redis && host != world->clients.host_killed;
}

/* Mostly a little, to what is due next; now and then far. */
static void pass_time(struct world *world)
{
    if (random_below(world, 1000) < world->profile.jump) {
        int64_t us = random_below(world, (uint32_t)world->profile.jump_us_max);
        TRACE(world->verdict, "%llu: the clock jumps by %lld us", (unsigned long long)world->record.step,
              (long long)us);
        sim_advance(world->network, us);
    } else if (random_below(world, 3) == 0) {
        sim_advance(world->network, random_below(world, 3000));
    } else {
        sim_advance_to_next(world->network, 1000);
    }
}

/* A link or a server does something, or something goes wrong with one. */
static void step_federation(struct world *world)
{
    redis_sim_mischief(world->redis);
    world->record.amnesia = redis_sim_amnesias(world->redis) > 0;
    uint32_t act = random_below(world, 4);
    if (act < 2) {
        uint32_t host = random_below(world, world->host_count);
        if (has_link(world, host)) {
            link_turn(world->hosts[host].link, 0);
        }
    } else if (act == 2) {
        redis_sim_turn(world->redis);
    } else if (random_below(world, 20) == 0) {
        sim_advance(world->network, random_below(world, 100000));
    }
}

static void step(struct world *world)
{
    world->record.step++;
    if (world->redis) {
        step_federation(world);
    }
    if (world->record.step == world->profile.drain_at) {
        drain(world);
    }
    if (world->record.step == world->profile.kill_at && !world->clients.draining) { /* the other one would not drain */
        kill_host(world);
    }
    if (random_below(world, 10000) < world->profile.reload) {
        reload(world);
    }
    uint32_t act = random_below(world, 10);
    if (act < 4) {
        turn(world, random_below(world, world->shard_count));
    } else if (act < 9) {
        client_act(&world->clients, random_below(world, world->clients.count));
    } else {
        pass_time(world);
    }
}

static bool failed(const struct world *world)
{
    return world->verdict->failures > 0;
}

static void live(struct world *world)
{
    for (uint32_t i = 0; i < world->profile.steps && !failed(world); i++) {
        step(world);
    }
}

static void turn_all(struct world *world)
{
    for (uint32_t i = 0; i < world->host_count; i++) {
        if (has_link(world, i)) {
            link_turn(world->hosts[i].link, 0);
        }
    }
    for (uint32_t i = 0; i < world->shard_count; i++) {
        turn(world, i);
    }
}

/* Bytes and connections that have moved so far. */
static uint64_t moved_so_far(const struct world *world)
{
    uint64_t moved = world->clients.moved;
    for (uint32_t i = 0; i < world->shard_count; i++) {
        moved += world->rooms[i]->counters.receive_bytes + world->rooms[i]->counters.accepts;
    }
    return moved;
}

static bool links_are_ready(const struct world *world)
{
    char why[192];
    for (uint32_t i = 0; i < world->host_count; i++) {
        if (has_link(world, i) && !link_is_ready(world->hosts[i].link, why, sizeof why)) {
            return false;
        }
    }
    return true;
}

/* Until nothing has moved for a while: first only what is under way, then also what waits for time. */
static void come_to_rest(struct world *world)
{
    uint64_t moved = 0;
    uint32_t still = 0;
    int64_t step_us = world->redis ? SETTLE_LINK_STEP_US : SETTLE_STEP_US;
    uint32_t over = (uint32_t)(SETTLE_OVER * SETTLE_STEP_US / step_us);
    for (uint32_t round = 0; round < SETTLE_ROUNDS_MAX && still < over && !failed(world); round++) {
        world->record.step++;
        clients_pump(&world->clients);
        turn_all(world);
        if (still < SETTLE_STILL) {
            sim_advance_to_next(world->network, 2000);
        } else {
            sim_advance(world->network, step_us);
        }
        still = moved_so_far(world) == moved && links_are_ready(world) ? still + 1 : 0;
        moved = moved_so_far(world);
    }
    if (!failed(world) && !links_are_ready(world)) {
        verdict_fail(world->verdict, CHECK_LOSS, "a link does not become ready");
    }
}

/* Links are up before a calm world begins: what is published live before that need not arrive elsewhere. */
static void warm_up(struct world *world)
{
    for (uint32_t round = 0; round < 100 && world->redis && world->profile.calm; round++) {
        turn_all(world);
        sim_advance(world->network, 20000);
    }
}

static void settle(struct world *world)
{
    sim_calm(world->network);
    if (world->redis) {
        redis_sim_calm(world->redis);
        come_to_rest(world);
        clients_publish_last(&world->clients);
    }
    come_to_rest(world);
}

/* Who was told to go has gone when the time for it is over, and what is left of the broker is quiet. */
static void check_drained(struct world *world)
{
    int64_t end_us = sim_now_us(world->network) + ((int64_t)world->config->broker.drain_s + 10) * 1000000;
    while (sim_now_us(world->network) < end_us) {
        clients_pump(&world->clients);
        turn_all(world);
        sim_advance(world->network, 50000);
    }
    for (uint32_t i = 0; i < world->shard_count; i++) {
        if (!shard_is_quiet(world->shards[i])) {
            verdict_fail(world->verdict, CHECK_REFERENCES, "shard %u is not quiet after draining", i);
        }
    }
}

/* --- leaving --- */

/* A reference that somebody has forgotten. */
static void leak(struct world *world)
{
    if (world->options->sabotage == SABOTAGE_LEAK_NAME) {
        world->leaked_name = name_create(SPAN_LITERAL("leaked"));
        world->clients.sabotaged = true;
    } else if (world->options->sabotage == SABOTAGE_LEAK_CHUNK) {
        world->leaked_chunk = chunk_create(1, 0, 1, 1, LANE_BIT(LANE_RAW), false);
        world->clients.sabotaged = true;
    }
}

static bool all_left(struct world *world)
{
    for (uint32_t i = 0; i < world->shard_count; i++) {
        if (!shard_is_left(world->shards[i])) {
            return false;
        }
    }
    return true;
}

static void leave(struct world *world)
{
    leak(world);
    clients_leave(&world->clients);
    int64_t step_us = world->redis ? LEAVE_LINK_STEP_US : LEAVE_STEP_US;
    int64_t end_us = sim_now_us(world->network) + LEAVE_US_MAX;
    while (sim_now_us(world->network) < end_us && !all_left(world)) {
        turn_all(world);
        clients_pump(&world->clients); /* who stays behaves well */
        sim_advance(world->network, step_us);
    }
    for (uint32_t round = 0; round < LEAVE_LINK_ROUNDS && world->redis; round++) { /* links let go of their names */
        turn_all(world);
        sim_advance(world->network, SETTLE_LINK_STEP_US);
    }
    check_references(world->verdict, world->shards, world->shard_count);
    for (uint32_t i = 0; i < world->shard_count; i++) {
        uint32_t used = sim_slots_used(world->rooms[i]);
        if (used) {
            verdict_fail(world->verdict, CHECK_REFERENCES, "room %u is left with %u slots", i, used);
        }
    }
}

/* --- the whole --- */

static void sum_up(struct world *world, struct world_result *result)
{
    const struct clients *clients = &world->clients;
    result->seed.digest = world->record.digest;
    result->seed.work = world->record.publish_count;
    result->seed.sabotaged = clients->sabotaged;
    result->publishes = world->record.publish_count;
    result->delivered = world->record.delivered;
    result->answers = clients->answers;
    result->refusals = clients->refusals;
    result->resumes = clients->resumes;
    result->gaps = clients->gaps;
    result->closes = clients->closes;
    result->repeats = clients->repeats;
    result->returns = clients->returns;
    result->kills = clients->host_killed != UINT32_MAX;
    result->drains = clients->draining;
    for (uint32_t i = 0; i < world->shard_count; i++) {
        const struct stats *stats = &world->shards[i]->stats;
        result->mesh_full += mesh_full(&world->hosts[world->shard_hosts[i]].mesh, world->shards[i]->number);
        result->held += STATS_READ(stats, publishes_held);
        result->slow_disconnects += STATS_READ(stats, slow_disconnects);
        result->copies += STATS_READ(stats, filter_copies);
    }
}

void world_run(const struct seed_options *options, bool federated, struct world_result *result)
{
    static struct world world; /* large, and only one at a time */
    *result = (struct world_result){0};
    world_make(&world, options, federated, &result->seed.verdict);
    warm_up(&world);
    live(&world);
    if (!failed(&world)) {
        settle(&world);
    }
    if (!failed(&world)) {
        check_loss(&world.clients);
    }
    if (!failed(&world) && world.redis) {
        check_spread(&world.clients);
    }
    if (!failed(&world) && world.clients.draining) {
        check_drained(&world);
    }
    if (!failed(&world)) {
        leave(&world);
    }
    sum_up(&world, result);
    world_free(&world);
}
