/*
 * redis_sim: what the simulated servers (redis_process.c), their faults (redis_mischief.c) and the rooms that reach
 * them (redis_simulated.c) share. Private to the three.
 *
 * A connection has two ends. The room's (struct sim_redis, `held` by the link until redis_close()) and the process's
 * (`process`, NULL when it has ended). It is freed when both are gone: so a command that was sent before redis_close()
 * may still be done, as with TCP.
 */
#ifndef SHOAL_TESTS_REDIS_SIM_H
#define SHOAL_TESTS_REDIS_SIM_H

#include "chance.h"
#include "redis_commands.h"
#include "redis_simulated.h"

enum { SIM_SERVERS_MAX = 8, SIM_RUN_ID_SIZE = 40 };

/* A command under way, or one that a replica has not done yet. One allocation. */
struct packet {
    struct packet *next;
    int64_t due_us;
    uint64_t order; /* among those of one time */
    uint32_t count;
    struct span words[];
};

/* What comes back. */
struct news {
    struct news *next;
    int64_t due_us;
    enum redis_event_kind kind;
    struct redis_value value;
    const char *reason; /* REDIS_CLOSED: static */
};

struct packets {
    struct packet *first, *last;
};

struct name_list {
    struct blob *names;
    uint32_t count;
};

struct process {
    struct process *next;
    struct redis_sim *sim;
    struct redis_mind mind;
    uint32_t server;
    bool ghost; /* no address leads here any more */
    int64_t ends_us;
    int64_t paused_until_us, full_until_us, loading_until_us;
    char run_id[SIM_RUN_ID_SIZE + 1], replication_id[SIM_RUN_ID_SIZE + 1];
    char origin_id[SIM_RUN_ID_SIZE + 1]; /* replication id of the master that it was a replica of; zeros: it was none */
};

/* How a server that is down returns. */
enum comeback { COMEBACK_WITH_ALL, COMEBACK_WITH_SNAPSHOT, COMEBACK_EMPTY };

struct server {
    struct process *process; /* NULL: down */
    int64_t returns_us;      /* if it is down */
    struct store *kept;      /* what it returns with */
    struct store *snapshot;
    struct store *replica;
    struct packets changes; /* that the replica has not done */
};

struct sim_redis {
    struct redis base; /* first */
    struct redis_sim *sim;
    struct sim_redis *next; /* of all, by age */
    uint32_t number;
    bool held;        /* the link has it */
    bool closed_told; /* REDIS_CLOSED was given out */
    bool admitted;    /* has given the password */
    bool silent;      /* nothing passes, ever */
    struct process *process;
    int64_t up_held_until_us, down_held_until_us;
    int64_t up_last_us, down_last_us; /* due of the last: order is kept */
    struct packets unsent, up;
    struct news *down_first, *down_last;
    struct news *shown; /* its value is borrowed by the link */
    uint64_t down_bytes;
    struct name_list channels, patterns;
};

struct redis_sim {
    struct redis_sim_options options;
    struct chance chance;
    uint64_t order;
    uint32_t next_number;
    bool calm;
    struct server servers[SIM_SERVERS_MAX];
    struct process *processes;
    struct sim_redis *connections;
    struct redis_sim_counters counters;
    uint64_t amnesias;
    const char *sabotage; /* channel prefix; NULL: none */
    bool sabotaged;
    bool armed; /* the link has no memory for what it was handed (scarce.h) */
};

struct sim_redis_room {
    struct redis_room base; /* first */
    struct redis_sim *sim;
};

int64_t sim_redis_now_us(const struct redis_sim *sim);
uint32_t sim_redis_random(struct redis_sim *sim, uint32_t bound);
int64_t sim_redis_delay(struct redis_sim *sim);

#define SIM_TRACE(sim, ...)                                                                                            \
    do {                                                                                                               \
        if ((sim)->options.trace) {                                                                                    \
            fprintf(stderr, "%lld redis: ", (long long)sim_redis_now_us(sim));                                         \
            fprintf(stderr, __VA_ARGS__);                                                                              \
            fputc('\n', stderr);                                                                                       \
        }                                                                                                              \
    } while (0)

/* --- redis_simulated.c: packets and news --- */

struct packet *packet_create(uint32_t count, const struct span *words);
void packets_push(struct packets *packets, struct packet *packet);
struct packet *packets_pop(struct packets *packets);
void packets_clear(struct packets *packets);

/* Takes the value. */
void connection_tell(struct sim_redis *redis, enum redis_event_kind kind, struct redis_value value, const char *reason);

/* The process's end is gone. What is under way may be lost, the latest first. */
void connection_break(struct sim_redis *redis, const char *reason);

/* --- redis_process.c --- */

/* A new process behind the address. Takes the store. */
void process_start(struct redis_sim *sim, uint32_t server, struct store *store);

/* Its connections break or fall silent, all of it is freed but what it gives: its store. */
struct store *process_end(struct process *process);

/* Works one command of a connection. */
void process_work(struct process *process, struct sim_redis *redis, const struct packet *packet);

/* The replica will do the same, later. Not of a ghost. */
void process_replicate(struct process *process, uint32_t count, const struct span *words);

/* The replica does what is older than that. */
void replica_follow(struct redis_sim *sim, uint32_t server, int64_t until_us);

/* --- redis_mischief.c --- */

/* What was to end or return by now does so. */
void mischief_ends(struct redis_sim *sim);

void names_clear(struct name_list *list);

#endif
