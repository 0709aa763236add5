/* cluster_world: see cluster_world.h. */
#include "cluster_world.h"

#include "base/check.h"
#include "check_cluster.h"
#include "cluster/link_stats.h"

/* How long a world may take to come to rest, in rounds, and for how long it must stay so. */
#define SETTLE_ROUNDS_MAX 6000
#define SETTLE_STILL      100
#define SETTLE_STEP_US    20000
#define LEAVE_ROUNDS      200

/* --- making --- */

static uint32_t random_below(struct cluster_world *world, uint32_t bound)
{
    return sim_random(world->network, bound);
}

static void host_make(struct cluster_world *world, uint32_t number)
{
    struct sim_host *host = &world->hosts[number];
    const struct cluster_profile *profile = &world->profile;
    sim_host_init(host, world->network, profile->shards, profile->mesh_slots, true);
    sim_host_join(host, number, world->options->seed, world->redis, profile);
    for (uint32_t i = 0; i < profile->shards; i++) {
        world->shards[number][i] = (struct fake_shard){
            .record = &world->record,
            .mesh = &host->mesh,
            .clock = &host->clock,
            .host = number,
            .shard = i,
            .shard_count = profile->shards,
            .link_peer = sim_host_link_peer(host),
            .calm = profile->calm,
            .durable = profile->durable,
            .history_max = profile->history_max,
            .stream_max = profile->stream_max,
        };
    }
}

static void sabotage_begin(struct cluster_world *world)
{
    static const enum fake_sabotage fakes[CLUSTER_SABOTAGES] = {
        [CLUSTER_SABOTAGE_DROP] = FAKE_DROPS,
        [CLUSTER_SABOTAGE_TWICE] = FAKE_TAKES_TWICE,
        [CLUSTER_SABOTAGE_LEAK_NAME] = FAKE_LEAKS_NAME,
    };
    for (uint32_t i = 0; i < world->profile.shards; i++) {
        world->shards[0][i].sabotage = (uint8_t)fakes[world->options->sabotage];
    }
}

static void world_make(struct cluster_world *world, const struct seed_options *options, struct verdict *verdict)
{
    *world = (struct cluster_world){.options = options, .verdict = verdict};
    verdict->trace = options->trace;
    cluster_profile_make(&world->profile, options->seed, options->steps, options->calm);
    const struct sim_options network = {.seed = options->seed, .start_us = 1000000};
    world->network = sim_create(&network);
    world->redis = cluster_redis_create(&world->profile, sim_clock(world->network), options->trace);
    cluster_record_init(&world->record, verdict);
    for (uint32_t i = 0; i < world->profile.hosts; i++) {
        host_make(world, i);
    }
    sabotage_begin(world);
}

struct fake_shard *cluster_owner(struct cluster_world *world, uint32_t host, uint32_t topic)
{
    return &world->shards[host][name_owner(name_hash(topic_span(topic)), world->profile.shards)];
}

/* --- turning --- */

static void turn_link(struct cluster_world *world, uint32_t host)
{
    link_turn(world->hosts[host].link, 0);
}

static void turn_all(struct cluster_world *world)
{
    for (uint32_t i = 0; i < world->profile.hosts; i++) {
        for (uint32_t j = 0; j < world->profile.shards; j++) {
            fake_shard_turn(&world->shards[i][j]);
        }
        turn_link(world, i);
    }
    redis_sim_turn(world->redis);
    world->record.amnesia = redis_sim_amnesias(world->redis) > 0;
}

static bool failed(const struct cluster_world *world)
{
    return world->verdict->failures > 0;
}

/* --- living --- */

static void publish(struct cluster_world *world, uint32_t host, uint32_t topic, bool keyed)
{
    uint32_t number =
        cluster_publish_new(&world->record, topic, host, random_below(world, world->profile.pad_max), keyed);
    TRACE(world->verdict, "%llu: host %u publishes %u to %s", (unsigned long long)world->record.step, host, number,
          cluster_topics[topic]);
    fake_shard_publish(cluster_owner(world, host, topic), number);
}

/* A publisher that was told to tries again what has a key. */
static void try_again(struct cluster_world *world)
{
    if (!world->record.publish_count) {
        return;
    }
    uint32_t number = random_below(world, world->record.publish_count);
    const struct cluster_publish *again = &world->record.publishes[number];
    if (again->state == CLUSTER_FAILED && again->keyed) {
        TRACE(world->verdict, "%llu: publish %u is tried again", (unsigned long long)world->record.step, number);
        fake_shard_publish(cluster_owner(world, again->host, again->topic), number);
    }
}

static void change_filter(struct cluster_world *world, uint32_t host)
{
    struct fake_shard *shard = &world->shards[host][random_below(world, world->profile.shards)];
    uint32_t filter = random_below(world, CLUSTER_FILTERS);
    if (!shard->filters[filter].asked || shard->filters[filter].told) {
        fake_shard_filter(shard, filter, !shard->filters[filter].asked);
    }
}

static void shards_do_something(struct cluster_world *world)
{
    const struct cluster_profile *profile = &world->profile;
    uint32_t host = random_below(world, profile->hosts), topic = random_below(world, CLUSTER_TOPICS);
    struct fake_shard *owner = cluster_owner(world, host, topic);
    if (random_below(world, 1000) < profile->publish) {
        publish(world, host, topic, topic_is_logged(topic) && random_below(world, 2));
    } else if (random_below(world, 1000) < profile->want && !owner->topics[topic].wanted) {
        fake_shard_want(owner, topic);
    } else if (random_below(world, 1000) < profile->unwant && owner->topics[topic].wanted) {
        fake_shard_unwant(owner, topic);
    } else if (random_below(world, 1000) < profile->filter) {
        change_filter(world, host);
    } else if (random_below(world, 100) < 5) {
        try_again(world);
    }
}

/* What waits in a link is bounded, whatever Redis does. */
static void check_bounds(struct cluster_world *world, uint32_t host)
{
    uint64_t bytes = STATS_READ(link_stats(world->hosts[host].link), relay_bytes);
    uint64_t bytes_max = world->profile.queue_bytes_max * world->profile.servers;
    if (bytes > bytes_max) {
        verdict_fail(world->verdict, CHECK_LOSS, "host %u keeps %llu bytes of relays, %llu are allowed", host,
                     (unsigned long long)bytes, (unsigned long long)bytes_max);
    }
}

/* Mostly a little. */
static void pass_time(struct cluster_world *world)
{
    uint32_t chosen = random_below(world, 100);
    if (random_below(world, 1000) < world->profile.jump) {
        sim_advance(world->network, random_below(world, (uint32_t)world->profile.jump_us_max));
    } else {
        sim_advance(world->network, random_below(world, chosen < 70 ? 1000 : chosen < 95 ? 20000 : 200000));
    }
}

static void step(struct cluster_world *world)
{
    world->record.step++;
    redis_sim_mischief(world->redis);
    world->record.amnesia = redis_sim_amnesias(world->redis) > 0;
    shards_do_something(world);
    uint32_t host = random_below(world, world->profile.hosts), act = random_below(world, 10);
    if (act < 4) {
        turn_link(world, host);
        check_bounds(world, host);
    } else if (act < 7) {
        fake_shard_turn(&world->shards[host][random_below(world, world->profile.shards)]);
    } else if (act < 8) {
        redis_sim_turn(world->redis);
    } else {
        pass_time(world);
    }
}

static void sabotage_redis(struct cluster_world *world)
{
    if (world->options->sabotage == CLUSTER_SABOTAGE_LOSE_LIVE) {
        redis_sim_sabotage(world->redis, "shoal:{live/");
    } else if (world->options->sabotage == CLUSTER_SABOTAGE_LOSE_LAST) {
        redis_sim_sabotage(world->redis, "shoal:{logged/");
    } else if (world->options->sabotage == CLUSTER_SABOTAGE_STARVE) {
        redis_sim_starve(world->redis, 5000);
    }
}

static void live(struct cluster_world *world)
{
    for (uint32_t i = 0; i < world->profile.steps && !failed(world); i++) {
        if (i == world->profile.steps / 2) {
            sabotage_redis(world);
        }
        step(world);
    }
}

/* --- coming to rest --- */

/* Until all answers are in, and nothing has arrived for a while. */
static void come_to_rest(struct cluster_world *world)
{
    uint32_t still = 0;
    uint64_t arrived = 0;
    for (uint32_t round = 0; round < SETTLE_ROUNDS_MAX && still < SETTLE_STILL && !failed(world); round++) {
        world->record.step++;
        turn_all(world);
        sim_advance(world->network, SETTLE_STEP_US);
        uint64_t now = world->record.live_arrived + world->record.logged_arrived + world->record.fetched;
        still = cluster_is_settled(world) && now == arrived ? still + 1 : 0;
        arrived = now;
    }
}

/* Before a calm world begins: what is published while Redis is not reached yet need not arrive. */
static void warm_up(struct cluster_world *world)
{
    if (world->profile.calm) {
        come_to_rest(world);
    }
}

/* What was lost without anybody's knowing is found out with the next message. */
static void publish_last(struct cluster_world *world)
{
    for (uint32_t topic = CLUSTER_TOPICS / 2; topic < CLUSTER_TOPICS; topic++) {
        publish(world, random_below(world, world->profile.hosts), topic, false);
    }
}

static void settle(struct cluster_world *world)
{
    redis_sim_calm(world->redis);
    come_to_rest(world);
    if (world->options->sabotage != CLUSTER_SABOTAGE_STARVE) {
        publish_last(world);
        come_to_rest(world);
    }
    if (!failed(world)) {
        check_cluster_settled(world);
    }
}

/* --- leaving --- */

static void give_up_all(struct fake_shard *shard)
{
    for (uint32_t topic = 0; topic < CLUSTER_TOPICS; topic++) {
        if (shard->topics[topic].wanted) {
            fake_shard_unwant(shard, topic);
        }
    }
    for (uint32_t filter = 0; filter < CLUSTER_FILTERS; filter++) {
        if (shard->filters[filter].asked) {
            fake_shard_filter(shard, filter, false);
        }
    }
}

static void leave(struct cluster_world *world)
{
    for (uint32_t i = 0; i < world->profile.hosts; i++) {
        for (uint32_t j = 0; j < world->profile.shards; j++) {
            give_up_all(&world->shards[i][j]);
        }
    }
    for (uint32_t round = 0; round < LEAVE_ROUNDS && !failed(world); round++) {
        turn_all(world);
        sim_advance(world->network, SETTLE_STEP_US);
    }
    if (!failed(world)) {
        check_cluster_left(world);
    }
}

static bool sabotaged(const struct cluster_world *world)
{
    bool found = redis_sim_sabotaged(world->redis);
    found |= world->options->sabotage == CLUSTER_SABOTAGE_STARVE && redis_sim_counters(world->redis)->scarcities > 0;
    for (uint32_t i = 0; i < world->profile.shards; i++) {
        found |= world->shards[0][i].sabotaged;
    }
    return found;
}

static void host_free(struct cluster_world *world, uint32_t number)
{
    sim_host_part(&world->hosts[number]);
    for (uint32_t i = 0; i < world->profile.shards; i++) {
        struct fake_shard *shard = &world->shards[number][i];
        shard->pending_count = 0;
        fake_shard_turn(shard); /* what is left in its rings */
        fake_shard_free(shard);
    }
    sim_host_free(&world->hosts[number]);
}

static void world_free(struct cluster_world *world)
{
    bool passed = !failed(world);
    uint64_t names_before = name_count_in_use();
    for (uint32_t i = 0; i < world->profile.hosts; i++) {
        host_free(world, i);
    }
    if (passed && name_count_in_use()) {
        verdict_fail(world->verdict, CHECK_REFERENCES, "at the end %llu names are left, of %llu",
                     (unsigned long long)name_count_in_use(), (unsigned long long)names_before);
    }
    redis_sim_destroy(world->redis);
    sim_destroy(world->network);
    cluster_record_free(&world->record);
}

/* --- the whole --- */

static void sum_up(const struct cluster_world *world, struct cluster_result *result)
{
    const struct cluster_record *record = &world->record;
    result->seed.digest = record->digest;
    result->seed.work = redis_sim_counters(world->redis)->commands;
    result->seed.sabotaged = sabotaged(world);
    result->publishes = record->publish_count;
    result->acknowledged = record->acknowledged;
    result->failed = record->failed;
    result->live_arrived = record->live_arrived;
    result->logged_arrived = record->logged_arrived;
    result->fetched = record->fetched;
    result->gaps = record->gaps;
    result->redis = *redis_sim_counters(world->redis);
}

void cluster_world_run(const struct seed_options *options, struct cluster_result *result)
{
    static struct cluster_world world; /* large, and only one at a time */
    *result = (struct cluster_result){0};
    world_make(&world, options, &result->seed.verdict);
    warm_up(&world);
    live(&world);
    if (!failed(&world)) {
        settle(&world);
    }
    if (!failed(&world)) {
        leave(&world);
    }
    sum_up(&world, result);
    world_free(&world);
}
