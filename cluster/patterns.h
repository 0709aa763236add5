/*
 * patterns: which filters this host wants from others. (Topics: interest.h.)
 *
 * A filter is a PSUBSCRIBE on every server, for its topics may be on any. It is answered (TELL_FILTERED) when all
 * servers that are up have confirmed it, and at once if none is, or if it is not told to Redis at all: an answer must
 * never hang.
 *
 * What a filter costs is everything that matches it on any host. So there are two limits: levels without wildcard that
 * it must begin with (cluster.filter_levels), and their number (cluster.filters). A filter that is refused is answered
 * like any other, sees what reaches this host anyway, and is counted. Filters that begin with `$` are the broker's own
 * and concern this host only.
 *
 * While a server is away, or what is wanted of it is not subscribed again yet, messages are missed. Topics that shards
 * know are fetched (interest.h); of those that they do not know they are told that something may be missed, and when
 * that is over (TELL_PATTERNS; topic/missed.h). Each cut is told, however short.
 *
 * Patterns of Redis are wider than filters: `+` becomes `*`, which matches deeper levels, too; the exact
 * match is the owner's. No two filters make the same pattern (`a/#` has `**` where `a/+` has `*`, which Redis takes for
 * the same), so one can be given up without a look at the others.
 *
 *      filter      patterns
 *      a/+/b       P{a/ * /b}                    (without the spaces, which keep this comment a comment)
 *      a/#         P{a} and P{a/ ** }
 *      #           P{ ** }
 *
 * Bounds: cluster.filters. No memory: the ask stays in the mesh, and is tried again. Thread: the link's.
 */
#ifndef SHOAL_CLUSTER_PATTERNS_H
#define SHOAL_CLUSTER_PATTERNS_H

#include "cluster/interest.h"
#include "cluster/link_stats.h"

struct patterns {
    struct slab filters; /* struct pattern_filter */
    struct index index;
    struct link_stats *stats;
    uint32_t filters_max;
    uint32_t levels_min;
    uint32_t serial;
    uint64_t up;     /* servers: bits */
    uint64_t missed; /* those that were cut off, and are not complete again */
    uint32_t cuts;   /* times that messages began to be missed */
    struct queue todo;
    uint64_t wanted;
    uint64_t acked[LINK_SERVERS_MAX]; /* of the wanted ones */
    struct pattern_answers {
        struct pattern_asker *first;
        struct pattern_asker *last;
    } answers[SHARDS_MAX];
    struct pattern_told {
        uint32_t cuts;
        bool missed; /* not yet that it is over */
    } told[SHARDS_MAX];
};

/* False: no memory. */
bool patterns_init(struct patterns *patterns, uint32_t filters_max, uint32_t levels_min, struct link_stats *stats);
void patterns_destroy(struct patterns *patterns);

/* ASK_FILTER. Takes the name's reference. False: no memory, nothing taken. */
bool patterns_ask(struct patterns *patterns, const struct envelope *ask);

/* As for topics: interest.h. */
void patterns_up(struct patterns *patterns, uint32_t server);
void patterns_cut(struct patterns *patterns, uint32_t server);
bool patterns_next(struct patterns *patterns, uint32_t server, struct interest_change *change);
void patterns_acked(struct patterns *patterns, uint32_t server, uint32_t number, uint32_t serial);
bool patterns_tell(struct patterns *patterns, struct mesh *mesh, uint32_t peer, uint32_t shards);

static inline bool patterns_is_complete(const struct patterns *patterns, uint32_t server)
{
    return patterns->acked[server] == patterns->wanted;
}

/* A filter as Redis has it. */
#define PATTERN_PREFIX_MAX 104 /* with a name of Redis Cluster's */
#define PATTERN_BYTES_MAX  (2 * PATTERN_PREFIX_MAX + 2 * TOPIC_BYTES_MAX + 2)
struct pattern {
    size_t size;
    char bytes[PATTERN_BYTES_MAX];
};

/* Writes one or two patterns and returns how many. `prefix` at most PATTERN_PREFIX_MAX bytes. */
uint32_t pattern_write(struct span prefix, struct span filter, struct pattern patterns[2]);

#endif
