/* profile: see profile.h. */
#include "profile.h"

#include <stdio.h>

#include "base/check.h"
#include "chance.h"
#include "conn/subscriptions.h"

static void make_network(struct profile *profile, struct chance *chance, uint64_t seed)
{
    bool calm = profile->calm;
    profile->network = (struct sim_options){
        .seed = seed,
        .start_us = (int64_t)chance_below(chance, 100) * 1000000,
        .window_bytes = calm ? 65536 : ONE_OF(chance, 200, 1000, 4096, 65536),
        .backlog = calm ? 64 : ONE_OF(chance, 2, 64),
        .delay_us_max = ONE_OF(chance, 0, 100, 2000, 50000),
        .short_sends = (uint16_t)(calm ? 0 : ONE_OF(chance, 0, 50, 500)),
        .short_receives = (uint16_t)ONE_OF(chance, 0, 50, 500),
        .late_receives = (uint16_t)(calm ? 0 : ONE_OF(chance, 0, 50, 300)),
        .resets = (uint16_t)(calm ? 0 : ONE_OF(chance, 0, 0, 1, 5)),
        .failed_accepts = (uint16_t)(calm ? 0 : ONE_OF(chance, 0, 0, 50)),
        .gives_up_us = 200000000,
    };
    profile->io = (struct io_options){
        .slots_max = calm ? 64 : ONE_OF(chance, 4, 10, 64),
        .receive_buffers = ONE_OF(chance, 1, 4, 64),
        .receive_buffer_size = ONE_OF(chance, 64, 512, 8192),
        .batch = ONE_OF(chance, 1, 4, 64),
        .peer_addresses = chance_below(chance, 2) == 0,
    };
}

static void make_habits(struct profile *profile, struct chance *chance)
{
    bool calm = profile->calm;
    profile->habits = (struct habits){
        .stall = (uint16_t)(calm ? 0 : ONE_OF(chance, 0, 2, 20)),
        .sip = (uint16_t)ONE_OF(chance, 0, 100, calm ? 200 : 700), /* who sips long enough is slow */
        .reset = (uint16_t)(calm ? 0 : ONE_OF(chance, 0, 1, 10)),
        .leave = (uint16_t)ONE_OF(chance, 0, 2, 10),
        .vanish = (uint16_t)(calm ? 0 : ONE_OF(chance, 0, 0, 2)),
        .publish = (uint16_t)ONE_OF(chance, 50, 200, 600),
        .subscribe = (uint16_t)ONE_OF(chance, 50, 200),
        .unsubscribe = (uint16_t)ONE_OF(chance, 0, 10, 50),
        .wrong = (uint16_t)(calm ? 0 : ONE_OF(chance, 0, 10)),
        .large = (uint16_t)ONE_OF(chance, 0, 50, 500),
        .large_bytes = ONE_OF(chance, 300, 3000, 20000),
    };
    profile->jump = (uint16_t)(calm ? 0 : ONE_OF(chance, 0, 1, 5));
    profile->jump_us_max = ONE_OF(chance, 1000000, 10000000, 100000000);
    profile->stall_us_max = ONE_OF(chance, 100000, 5000000, 60000000);
    profile->send_ns = ONE_OF(chance, 0, 4000, 1000000);
}

static void make_config(struct profile *profile, struct chance *chance)
{
    bool calm = profile->calm;
    uint32_t backlog = calm ? 1000000000 : ONE_OF(chance, 4096, 10000, 1000000); /* calm: more than all that is said */
    uint32_t kept = ONE_OF(chance, 3, 20, 300);
    uint32_t interval = ONE_OF(chance, 1, 5, 30);
    const char *slow = chance_below(chance, 2) ? "skip" : "conflate";
    int size = snprintf(
        profile->config, sizeof profile->config,
        "[listen]\naddress=127.0.0.1:0\n[broker]\nnode=sim\nshards=%u\nmesh_slots=%u\ndrain_s=%u\n"
        "[limits]\ntopics=%u\nsubscriptions_per_connection=%u\nhandshake_ms=%u\nhandshakes=%u\nreply_bytes=%u\n"
        "publish_inflight_bytes=%u\npublish_inflight_messages=%u\naccept_rate=%u\nconnections=%u\n"
        "[heartbeat]\ninterval_s=%u\ntimeout_s=%u\n[topics]\nidle_s=%u\n[publish]\nidempotency_s=86400\n"
        "[compression]\nenabled=%s\nmin_bytes=16\n"
        "[namespace default]\nbacklog_bytes=%u\n"
        "[namespace kept]\nprefix=kept/\nbacklog_bytes=%u\nhistory_messages=%u\n"
        "[namespace skip]\nprefix=skip/\nbacklog_bytes=%u\nslow=skip\n"
        "[namespace last]\nprefix=last/\nbacklog_bytes=%u\nslow=conflate\nhistory_messages=1\n"
        "[namespace aged]\nprefix=aged/\nbacklog_bytes=%u\nslow=%s\nhistory_messages=1000\nhistory_age_s=%u\n"
        "[namespace tight]\nprefix=tight/\nbacklog_bytes=%u\nhistory_messages=1000\nhistory_bytes=%u\n",
        profile->shards, ONE_OF(chance, 4, 4, 8, 1024), ONE_OF(chance, 0, 1, 5),
        calm ? 1000 : ONE_OF(chance, 3, 30, 1000), calm ? 100 : ONE_OF(chance, 2, 100),
        calm ? 10000 : ONE_OF(chance, 100, 10000), calm ? 1000 : ONE_OF(chance, 2, 1000),
        calm ? 262144 : ONE_OF(chance, 4096, 262144), ONE_OF(chance, 4096, 262144), ONE_OF(chance, 1, 10, 1024),
        calm ? 0 : ONE_OF(chance, 0, 0, 20), calm ? 0 : ONE_OF(chance, 0, 0, 12), interval,
        interval + ONE_OF(chance, 1, 3, 45), ONE_OF(chance, 1, 10, 60), chance_below(chance, 2) ? "true" : "false",
        backlog, backlog, kept, backlog, backlog, backlog, slow, ONE_OF(chance, 1, 10, 1000), backlog,
        ONE_OF(chance, 1024, 3000, 100000));
    CHECK(size > 0 && (size_t)size < sizeof profile->config);
}

/* Of several hosts. The namespaces kept, aged and tight are logged: Redis gives their order. */
static void make_federation(struct profile *profile, struct chance *chance, uint64_t seed)
{
    bool calm = profile->calm;
    cluster_profile_make(&profile->cluster, seed, profile->steps, calm);
    profile->cluster.filters_max = calm ? 1000 : profile->cluster.filters_max;
    profile->cluster.filter_levels = calm ? 0 : profile->cluster.filter_levels;
    profile->hosts = ONE_OF(chance, 2, 2, 3);
    profile->shards = ONE_OF(chance, 1, 2, 3);
    profile->overlaps = false; /* whose a gap is could not be told */
    profile->kill_at = !calm && chance_below(chance, 3) == 0 ? 1 + chance_below(chance, profile->steps) : 0;
    uint32_t backlog = calm ? 1000000000 : ONE_OF(chance, 10000, 1000000);
    uint32_t kept = calm ? 100000 : ONE_OF(chance, 3, 20, 300);
    int size = snprintf(
        profile->config, sizeof profile->config,
        "[listen]\naddress=127.0.0.1:0\n[broker]\nnode=sim\nshards=%u\nmesh_slots=%u\n"
        "[limits]\ntopics=1000\nhandshake_ms=10000\nhandshakes=1000\nreply_bytes=262144\n"
        "[heartbeat]\ninterval_s=30\ntimeout_s=75\n[topics]\nidle_s=%u\n[publish]\nidempotency_s=86400\n"
        "[cluster]\nredis=redis://redis0\nlinger_s=%u\nstream_messages=%u\n"
        "[namespace default]\nbacklog_bytes=%u\n"
        "[namespace kept]\nprefix=kept/\nbacklog_bytes=%u\nhistory_messages=%u\nhistory_bytes=64M\nlogged=true\n"
        "[namespace skip]\nprefix=skip/\nbacklog_bytes=%u\nslow=skip\n"
        "[namespace last]\nprefix=last/\nbacklog_bytes=%u\nslow=conflate\nhistory_messages=1\n"
        "[namespace aged]\nprefix=aged/\nbacklog_bytes=%u\nhistory_messages=%u\nhistory_bytes=64M\nlogged=true\n"
        "[namespace tight]\nprefix=tight/\nbacklog_bytes=%u\nslow=skip\nlogged=true\n",
        profile->shards, ONE_OF(chance, 4, 8, 1024), ONE_OF(chance, 1, 10, 60), ONE_OF(chance, 0, 1, 15),
        calm ? 100000 : ONE_OF(chance, 1, 10, 1000), backlog, backlog, kept, backlog, backlog, backlog, kept, backlog);
    CHECK(size > 0 && (size_t)size < sizeof profile->config);
}

void profile_make(struct profile *profile, uint64_t seed, uint32_t steps, bool calm, bool federated)
{
    struct chance chance = {.state = seed * 0xD1342543DE82EF95u + 7};
    *profile = (struct profile){0};
    profile->calm = chance_below(&chance, 4) == 0 || calm;
    profile->hosts = 1;
    profile->shards = ONE_OF(&chance, 1, 2, 3, 5);
    profile->clients = ONE_OF(&chance, 3, 8, 20);
    uint32_t own_steps = ONE_OF(&chance, 3000, 10000, 40000);
    profile->steps = steps ? steps : own_steps;
    profile->drain_at = chance_below(&chance, 6) == 0 ? 1 + chance_below(&chance, profile->steps) : 0;
    profile->reload = (uint16_t)ONE_OF(&chance, 0, 0, 10);
    profile->overlaps = chance_below(&chance, 3) == 0;
    make_network(profile, &chance, seed);
    make_habits(profile, &chance);
    make_config(profile, &chance);
    if (federated) {
        make_federation(profile, &chance, seed);
    }
    profile->few = ONE_OF(&chance, 1, 3, SUBSCRIPTIONS_FEW);
}
