/* cluster_profile: see cluster_profile.h. */
#include "cluster_profile.h"

#include <stdio.h>

#include "chance.h"

/* Rates are times in 10000 steps: a run has some thousand of them. */
static void make_mischief(struct redis_mischief *mischief, struct chance *chance)
{
    *mischief = (struct redis_mischief){
        .breaks = (uint16_t)ONE_OF(chance, 0, 0, 10, 50),
        .silences = (uint16_t)ONE_OF(chance, 0, 0, 10),
        .holds = (uint16_t)ONE_OF(chance, 0, 0, 10, 50),
        .pauses = (uint16_t)ONE_OF(chance, 0, 0, 5, 20),
        .restarts = (uint16_t)ONE_OF(chance, 0, 0, 5),
        .forgets = (uint16_t)ONE_OF(chance, 0, 10),
        .floods = (uint16_t)ONE_OF(chance, 0, 0, 5),
    };
}

/* Faults with which servers lose what they have acknowledged. */
static void make_amnesia(struct redis_mischief *mischief, struct chance *chance)
{
    mischief->snapshots = (uint16_t)ONE_OF(chance, 0, 0, 10);
    mischief->losses = (uint16_t)ONE_OF(chance, 0, 0, 5);
    mischief->failovers = (uint16_t)ONE_OF(chance, 0, 5, 10);
    mischief->evictions = (uint16_t)ONE_OF(chance, 0, 0, 10, 50);
}

static void make_redis(struct cluster_profile *profile, struct chance *chance, uint64_t seed)
{
    bool calm = profile->calm;
    profile->redis = (struct redis_sim_options){
        .seed = seed,
        .servers = profile->servers,
        .delay_us_max = ONE_OF(chance, 0, 200, 5000, calm ? 20000 : 100000),
        .trouble_us_max = ONE_OF(chance, 1000000, 10000000),
        .lag_us_max = ONE_OF(chance, 0, 100000, 2000000),
        .output_max = calm ? 0 : ONE_OF(chance, 0, 0, 3000, 100000),
        .slack = ONE_OF(chance, 0, 10, 100),
        .evicts_anything = chance_below(chance, 2) == 0,
        .password = chance_below(chance, 2) ? "secret" : NULL,
    };
    profile->durable = chance_below(chance, 3) == 0;
    if (!calm) {
        make_mischief(&profile->redis.mischief, chance);
        if (!profile->durable) {
            make_amnesia(&profile->redis.mischief, chance);
        }
    }
}

/* Delays that a server is greeted with until a probe has come back, and some: a link must be able to do that in time.
 */
#define GREETING_DELAYS 16u

static void make_links(struct cluster_profile *profile, struct chance *chance)
{
    bool calm = profile->calm;
    profile->timeout_ms = calm ? 5000 : ONE_OF(chance, 500, 2000);
    uint32_t greeting_ms = (uint32_t)(profile->redis.delay_us_max / 1000) * GREETING_DELAYS;
    profile->timeout_ms = profile->timeout_ms > greeting_ms ? profile->timeout_ms : greeting_ms;
    profile->probe_ms = ONE_OF(chance, 100, 1000);
    profile->wait_ms = calm ? 5000 : ONE_OF(chance, 0, 500, 5000);
    profile->queue_bytes_max = calm ? 16u << 20 : ONE_OF(chance, 3000, 100000, 16u << 20);
    profile->filters_max = ONE_OF(chance, 1, 100);
    profile->filter_levels = ONE_OF(chance, 0, 1);
    profile->subscribe_rate = calm ? 100000 : ONE_OF(chance, 20, 100000);
}

void cluster_profile_make(struct cluster_profile *profile, uint64_t seed, uint32_t steps, bool calm)
{
    struct chance chance = {.state = seed * 0xD1342543DE82EF95u + 13};
    *profile = (struct cluster_profile){0};
    profile->calm = chance_below(&chance, 3) == 0 || calm;
    profile->hosts = ONE_OF(&chance, 1, 2, 2, 3, 4);
    profile->shards = ONE_OF(&chance, 1, 2, 3);
    profile->servers = ONE_OF(&chance, 1, 1, 2, 3);
    profile->mesh_slots = ONE_OF(&chance, 4, 8, 1024);
    uint32_t own_steps = ONE_OF(&chance, 1000, 4000, 12000);
    profile->steps = steps ? steps : own_steps;
    profile->publish = (uint16_t)ONE_OF(&chance, 20, 100, 300);
    profile->want = (uint16_t)ONE_OF(&chance, 10, 50);
    profile->unwant = (uint16_t)ONE_OF(&chance, 0, 2, 20);
    profile->filter = (uint16_t)ONE_OF(&chance, 0, 2, 10);
    profile->jump = (uint16_t)(profile->calm ? 0 : ONE_OF(&chance, 0, 2));
    profile->jump_us_max = ONE_OF(&chance, 1000000, 10000000);
    profile->pad_max = ONE_OF(&chance, 10, 300, 3000);
    profile->history_max = ONE_OF(&chance, 0, 3, 1000);
    profile->stream_max = profile->calm ? 100000 : ONE_OF(&chance, 1, 10, 1000);
    make_redis(profile, &chance, seed);
    make_links(profile, &chance);
    profile->redis.mischief.scarcity = (uint16_t)ONE_OF(&chance, 0, 0, 50, 1000);
}

void cluster_servers_write(const struct cluster_profile *profile, char *out, size_t room)
{
    size_t size = 0;
    for (uint32_t i = 0; i < profile->servers; i++) {
        const char *password = profile->redis.password;
        size += (size_t)snprintf(out + size, room - size, "%sredis://%s%s%sredis%u:6379", i ? " " : "",
                                 password ? ":" : "", password ? password : "", password ? "@" : "", i);
    }
}

struct redis_sim *cluster_redis_create(const struct cluster_profile *profile, const struct clock *clock, bool trace)
{
    struct redis_sim_options options = profile->redis;
    options.clock = clock;
    options.trace = trace;
    return redis_sim_create(&options);
}

struct link_settings cluster_link_settings(const struct cluster_profile *profile, const char *servers, const char *node)
{
    return (struct link_settings){
        .servers = servers,
        .prefix = "shoal:",
        .node = node,
        .address = "127.0.0.1:7070",
        .version = "0.1.0",
        .timeout_ms = profile->timeout_ms,
        .probe_ms = profile->probe_ms,
        .wait_ms = profile->wait_ms,
        .queue_bytes_max = profile->queue_bytes_max,
        .filters_max = profile->filters_max,
        .filter_levels = profile->filter_levels,
        .subscribe_rate = profile->subscribe_rate,
        .idempotency_s = 86400,
        .durable = profile->durable,
    };
}
