/*
 * profile: what a seed makes of its world: how many shards, how small the rings, which limits, and what goes wrong how
 * often.
 *
 * Every fourth seed or so is *calm*: nothing goes wrong in it, so nothing may be closed, refused or left out. In the
 * others each fault is there or not by a throw of its own, since many at once hide each other.
 */
#ifndef SHOAL_TESTS_PROFILE_H
#define SHOAL_TESTS_PROFILE_H

#include "cluster_profile.h"
#include "config/config.h"
#include "io_simulated.h"

/* Times in 1000 acts of a client. */
struct habits {
    uint16_t stall;   /* stops reading for a while */
    uint16_t sip;     /* reads and writes just a few bytes */
    uint16_t reset;   /* breaks the connection */
    uint16_t leave;   /* ends it, in good order or not */
    uint16_t vanish;  /* a cut cable */
    uint16_t publish; /* does these when it can */
    uint16_t subscribe;
    uint16_t unsubscribe;
    uint16_t wrong; /* asks for something that must be refused */
    uint16_t large; /* in 1000 publishes */
    uint32_t large_bytes;
};

struct profile {
    bool calm;
    uint32_t hosts;
    uint32_t shards; /* of each host */
    uint32_t clients;
    uint32_t steps;
    uint32_t drain_at; /* the step in which the broker begins to go away; 0: never */
    uint32_t kill_at;  /* the step in which a host is killed, of several, and another one is started; 0: never */
    uint16_t jump;     /* in 1000 steps the clock jumps */
    uint16_t reload;   /* in 10000 steps the configuration is taken anew */
    bool overlaps;     /* clients follow names that cover the same topics */
    int64_t jump_us_max;
    int64_t stall_us_max;
    uint32_t send_ns; /* what a shard takes a send to cost, which no time passes for here: how long walks rest */
    uint32_t few;     /* subscriptions of a connection beyond which they are indexed */
    struct sim_options network;
    struct io_options io;
    struct habits habits;
    struct cluster_profile cluster; /* several hosts: their links, and Redis */
    char config[4096];              /* as a file */
};

/* `steps` 0: as many as the seed says. `calm`: whatever the seed says. `federated`: several hosts. */
void profile_make(struct profile *profile, uint64_t seed, uint32_t steps, bool calm, bool federated);

#endif
