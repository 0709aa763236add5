/*
 * redis_simulated: Redis servers that exist only in memory, behind the contract of cluster/redis.h.
 *
 *      link of host 0 ── room ──┐    connection: up: commands, each with the time it arrives     ┌── process ── store
 *      link of host 1 ── room ──┼─▶                                                          ──▶ ┤   (server 0)
 *      link of host 2 ── room ──┘    ◀── down: values, the same, and how it ended                └── process ── store
 *
 * A *server* is an address ("redisN:6379"), behind which a *process* runs, mostly. When it is killed the address
 * refuses, until another process is there with all, an older or no data; when it fails over the address is a
 * replica's that lags, and the old process may live on for a while, with the connections that it has: a *ghost*, that
 * still answers and delivers to who has not noticed.
 *
 * All chance comes from one seed, all time from a clock that the test moves. Nothing happens by itself: processes work
 * what has arrived when a room is asked, or in redis_sim_turn(); faults come from redis_sim_mischief().
 *
 * Connections break (with the last commands not arrived, or done and not answered), fall silent for ever, or are held
 * up one way or both for a while; processes are paused, killed, restarted, failed over; keys are evicted, memory is
 * full, slow readers are thrown out; scripts are forgotten.
 */
#ifndef SHOAL_TESTS_REDIS_SIMULATED_H
#define SHOAL_TESTS_REDIS_SIMULATED_H

#include "base/clock.h"
#include "cluster/redis.h"
#include "redis_store.h"

struct redis_sim;

/* How often, in 1/10000 of the calls of redis_sim_mischief(): */
struct redis_mischief {
    uint16_t breaks;    /* a connection breaks */
    uint16_t silences;  /* a connection says nothing any more, for ever */
    uint16_t holds;     /* it says nothing for a while, one way or both, and then all */
    uint16_t pauses;    /* a process stands still for a while */
    uint16_t restarts;  /* it is killed, and comes back with all that it had */
    uint16_t snapshots; /* … with what it had some time before */
    uint16_t losses;    /* … empty */
    uint16_t failovers; /* its replica takes over */
    uint16_t evictions; /* a key is evicted */
    uint16_t floods;    /* memory is full for a while: writes are refused */
    uint16_t forgets;   /* scripts are forgotten */
    uint16_t scarcity;  /* in 1/10000 of the messages that a link takes: it has no memory for it (scarce.h) */
};

struct redis_sim_options {
    uint64_t seed;
    const struct clock *clock; /* borrowed */
    uint32_t servers;
    int64_t delay_us_max;   /* each command and value arrives after 0 to this; in order */
    int64_t trouble_us_max; /* how long a fault lasts */
    int64_t lag_us_max;     /* how far a replica may be behind */
    uint64_t output_max;    /* bytes that wait for a reader who is thrown out then; 0: never */
    uint32_t slack;         /* XTRIM ~ leaves so many more */
    bool evicts_anything;   /* else just streams and sorted sets */
    const char *password;   /* NULL: none is asked for */
    struct redis_mischief mischief;
    bool trace; /* tell on standard error what goes on */
};

struct redis_sim *redis_sim_create(const struct redis_sim_options *options);

/* After its rooms. */
void redis_sim_destroy(struct redis_sim *sim);

/* A room for one link. Gives it; redis_destroy(). */
struct redis_room *redis_sim_room(struct redis_sim *sim);

/* Processes work what has arrived; who was away may return. */
void redis_sim_turn(struct redis_sim *sim);

/* Perhaps something goes wrong. */
void redis_sim_mischief(struct redis_sim *sim);

/* Memory is full until then: one fault by name, for a test of just that. */
void redis_sim_flood(struct redis_sim *sim, uint32_t server, int64_t until_us);

/* From now on nothing goes wrong any more, and what went wrong is over. Connections that are silent stay so. */
void redis_sim_calm(struct redis_sim *sim);

/* --- for checkers --- */

/* What the server at this address has now. NULL: it is down. Borrowed. */
struct store *redis_sim_store(struct redis_sim *sim, uint32_t server);

/* Things that have gone so far. */
struct redis_sim_counters {
    uint64_t commands, pushes, breaks, silences, holds, pauses, restarts, snapshots, losses, failovers, evictions;
    uint64_t floods, forgets, overflows, scarcities;
};
const struct redis_sim_counters *redis_sim_counters(const struct redis_sim *sim);

/* Times that a server may have lost what it had acknowledged. */
uint64_t redis_sim_amnesias(const struct redis_sim *sim);

/* Connections that rooms have open, and channels and patterns that are subscribed at the server's process. */
uint32_t redis_sim_connections(const struct redis_sim *sim);
uint32_t redis_sim_subscriptions(const struct redis_sim *sim, uint32_t server);

/* --- to break a run on purpose --- */

/* From now on the links find no memory for so many messages of 10000, as in redis_mischief. */
void redis_sim_starve(struct redis_sim *sim, uint16_t in_10000);

/* The next message of a channel that begins with this is not pushed to anybody, though all connections live. Borrows.
 */
void redis_sim_sabotage(struct redis_sim *sim, const char *channel_prefix);
bool redis_sim_sabotaged(const struct redis_sim *sim);

#endif
