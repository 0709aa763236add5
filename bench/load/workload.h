/*
 * workload: what a run of the load generator is: who follows what, and what is published when.
 *
 *      workload ─▶ group: subscribers, topics, and one stream of messages, numbered from 0
 *                    subscriber i follows topic i mod topics, or all of them
 *                    message n goes to topic n mod topics, of which there are as many publishers as it takes
 *
 * A group's messages are either published by the clock (`rate`: open loop; message n is due at start + n / rate,
 * whatever became of the others, and its delay counts from when it was due), or as fast as they are delivered
 * (`inflight`: closed loop; message n goes out when all subscribers have had message n - inflight).
 *
 * A payload begins with its stamp, 16 decimal digits: one of the group, 15 of the number. Digits, because every peer
 * carries them and every dialect shows them as they are. The rest is `x`.
 *
 * Fixed once it is read from the command line; read by all processes.
 */
#ifndef SHOAL_BENCH_WORKLOAD_H
#define SHOAL_BENCH_WORKLOAD_H

#include <stddef.h>
#include <stdint.h>

#define GROUPS_MAX    4u
#define GROUP_NAME    16u
#define STAMP_BYTES   16u
#define TOPIC_NAME    64u
#define INFLIGHT_MAX  65536u /* messages of a group that not all have had: more, and the run has failed */
#define PAYLOAD_LIMIT (1u << 24)

enum follow {
    FOLLOW_ONE,    /* subscriber i follows topic i mod topics */
    FOLLOW_ALL,    /* each follows every topic, by name, on one connection */
    FOLLOW_FILTER, /* each follows every topic, by one filter */
};

struct group {
    char name[GROUP_NAME];
    uint32_t subscribers;
    uint32_t slow; /* of these, the last: they read slowly, and may lose their place */
    uint32_t topics;
    enum follow follow;
    uint32_t size; /* of a payload, in bytes, at least STAMP_BYTES */
    uint64_t messages;
    uint32_t inflight; /* closed loop; 0: open loop */
    double rate;       /* open loop: messages a second */
};

struct workload {
    uint32_t group_count;
    struct group groups[GROUPS_MAX];
};

/* Adds a group from "name=main,subscribers=1000,…": the fields above. Dies of what makes no sense. */
void workload_add(struct workload *workload, char *text);

uint64_t workload_subscribers(const struct workload *workload);

/* The group of the `index`-th subscriber of all; *at is its index within the group. */
uint32_t workload_group_of(const struct workload *workload, uint64_t index, uint32_t *at);

/* How many deliveries all messages of a group make, those to slow readers left out. */
uint64_t workload_deliveries(const struct group *group);

/* "bench/GROUP/TOPIC". */
void workload_topic(uint32_t group, uint32_t topic, char out[TOPIC_NAME]);

/* When message `number` is due, in ns after the start. Open loop. */
uint64_t workload_due_ns(const struct group *group, uint64_t number);

/* Writes the stamp of a message. */
void stamp_write(char out[STAMP_BYTES], uint32_t group, uint64_t number);

/* Reads one; dies if it is none. Returns the number. */
uint64_t stamp_read(const char in[STAMP_BYTES], uint32_t *group);

#endif
