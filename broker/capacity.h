/*
 * capacity: how many connections this process can hold, what bounds that, and what to change.
 *
 *   descriptors          a ring holds as many as the limit on open files, and each shard has a ring; with epoll all
 *                        shards share that limit
 *   limits.connections   what the operator allows
 *   memory               what the host, or the control group, has left now: the kernel takes 4 KB a connection
 *
 * Connections spread over the shards by chance, so the last few percent of the descriptors are not reached before one
 * ring is full. Nothing here is a limit itself: it is what is told at start.
 *
 * Thread: any. No state.
 */
#ifndef SHOAL_BROKER_CAPACITY_H
#define SHOAL_BROKER_CAPACITY_H

#include <stdbool.h>
#include <stdint.h>

struct capacity_facts {
    uint64_t slots;             /* of all shards together */
    uint64_t descriptors;       /* the limit on open files */
    bool shared;                /* descriptors are shared by the shards (epoll) */
    uint64_t limit_connections; /* 0: none */
    uint64_t memory_bytes;      /* that are left; 0: not known */
};

struct capacity {
    uint64_t connections;
    const char *bound;  /* "descriptors", "limits.connections", "memory" */
    const char *change; /* what to do for more */
};

/* What there is of memory for connections: of the host, or of the control group if that has less. 0: not known. */
uint64_t capacity_memory_bytes(void);

/* The limit on open files. */
uint64_t capacity_descriptors(void);

struct capacity capacity_of(const struct capacity_facts *facts);

#endif
