/*
 * slots: the slots of a Redis Cluster, and which of its servers has which.
 *
 * A key belongs to the slot CRC16(tag) mod 16384, where its tag is what stands between its first { and the next }, if
 * that is not empty, or all of it. Shoal's topics are text of clients and may hold braces, so their keys do not count
 * on that: each slot has a short tag of its own, which all names begin with, and a topic's slot is that of its bytes.
 *
 *      topic a/b ── slot_of_bytes() ──▶ slot 13927 ── slot_tag() ──▶ "akj"     keys P{akj}{a/b}m, P{akj}{a/b}s …
 *
 * So one can also make a key for any slot, as generations and probes need it.
 *
 * The map is what one of the cluster's nodes says (CLUSTER SLOTS): a hint that may be old, as a sentinel's word is; the
 * proof is that servers take what they are sent.
 *
 * Pure functions; the table of tags is made at the first use. Any thread.
 */
#ifndef SHOAL_CLUSTER_SLOTS_H
#define SHOAL_CLUSTER_SLOTS_H

#include "cluster/redis.h"
#include "cluster/report.h"
#include "cluster/url.h"

#define SLOTS        16384u
#define SLOT_TAG_MAX 4u
/* A server's number, of a slot that nobody has. */
#define SLOT_NOWHERE LINK_SERVERS_MAX

/* Nodes that are not masters with slots are kept to be asked, too; of more some are left out. */
#define SLOT_OTHERS_MAX 64u

/* The specification's CRC16: polynomial 0x1021, from 0, not reflected. */
uint16_t slot_crc16(struct span bytes);

/* The slot of a key, by the specification's rule of tags. */
uint32_t slot_of_key(struct span key);

/* The slot of bytes that are no key: no tag is looked for. */
static inline uint32_t slot_of_bytes(struct span bytes)
{
    return slot_crc16(bytes) % SLOTS;
}

/* The text whose slot this is: 1 to SLOT_TAG_MAX digits and small letters; the same on every host, for ever. */
struct span slot_tag(uint32_t slot);

struct slot_map {
    uint32_t master_count;
    struct url_place masters[LINK_SERVERS_MAX];
    uint32_t other_count;
    struct url_place others[SLOT_OTHERS_MAX];
    uint32_t covered;     /* slots that have a master */
    uint8_t owner[SLOTS]; /* index of the master, or SLOT_NOWHERE */
};

/*
 * What CLUSTER SLOTS has answered. `asked`: the node that did, for one that does not know its own address says none.
 * NULL: *map is filled. Else what is wrong with the answer.
 */
const char *slot_map_parse(const struct redis_value *value, const struct url_place *asked, struct slot_map *map);

#endif
