/*
 * interest: which topics this host wants from others, and how far Redis knows. (Filters: patterns.h.)
 *
 *   shard ── ASK_WANT ──▶ record: wanted ──▶ todo of its server ── interest_next() ──▶ SUBSCRIBE: sent
 *         ◀─ TELL_WANTED ── tells of its shard ◀── interest_acked() ◀── Redis confirms: acked
 *
 * A record says what is wished (`wanted`) and what is so on this life of the server's connection (`sent`, `acked`).
 * Whatever changes, the record goes on the todo line, and whoever takes it from there compares the two: so a topic that
 * is left and wanted again before its turn costs nothing, and after a reconnect it is enough to forget what was sent
 * and to put all on the line again.
 *
 *      wanted, not sent: SUBSCRIBE      not wanted, sent: UNSUBSCRIBE, and the record goes      else: nothing
 *
 * A topic has one server (ring.h) and one shard that wants it, its owner. The shard is told when Redis has confirmed,
 * each time anew, and when the server is away. Of tells that wait for room the latest counts: DONE after AWAY says all
 * that is to be said.
 *
 * In a Redis Cluster a topic's server is that of its slot, and may change: interest_move(). While it has none it is
 * "nowhere" (SLOT_NOWHERE), which never comes up.
 *
 * Bounds: the shards' own tables of topics. No memory: the ask stays in the mesh, and is tried again.
 * Thread: the link's.
 */
#ifndef SHOAL_CLUSTER_INTEREST_H
#define SHOAL_CLUSTER_INTEREST_H

#include "base/index.h"
#include "base/queue.h"
#include "cluster/report.h"
#include "cluster/slots.h"
#include "mesh/mesh.h"
#include "mesh/name.h"

/* One change that is to be made in Redis. */
struct interest_change {
    bool subscribe;    /* else: unsubscribe */
    uint32_t number;   /* of the record, for the confirmation */
    uint32_t serial;   /* tells it from former ones at the same number */
    struct name *name; /* a reference, given */
};

/* What one server has to do with it. */
struct interest_server {
    struct queue todo;
    uint64_t wanted;
    uint64_t acked; /* of these */
    bool up;
};

struct interest {
    struct slab topics; /* struct interest_topic */
    struct index index;
    uint32_t serial;                                      /* of the latest record */
    struct interest_server servers[LINK_SERVERS_MAX + 1]; /* the last one is nowhere */
    struct queue tells[SHARDS_MAX];
};

/* False: no memory. */
bool interest_init(struct interest *interest);
void interest_destroy(struct interest *interest);

/* ASK_WANT. Takes the name's reference. False: no memory, nothing taken. */
bool interest_want(struct interest *interest, uint32_t server, const struct envelope *ask);

/* ASK_UNWANT. Takes the name's reference. */
void interest_unwant(struct interest *interest, const struct envelope *ask);

/* The server is in service: all that is wanted of it is to be subscribed. */
void interest_up(struct interest *interest, uint32_t server);

/* It is not any more: nothing is subscribed there, and the shards are told. */
void interest_cut(struct interest *interest, uint32_t server);

/* The next change to be made at a server that is up, which counts as made from now on. False: none. */
bool interest_next(struct interest *interest, uint32_t server, struct interest_change *change);

/* Redis has confirmed a subscription. Records that are gone meanwhile are known by their serial, and ignored. */
void interest_acked(struct interest *interest, uint32_t number, uint32_t serial);

/* The server has refused the subscription, for the slot is another's: it is made again after interest_move(). */
void interest_refused(struct interest *interest, uint32_t number, uint32_t serial);

/* The server has taken the subscription away, for the same reason. */
void interest_lost(struct interest *interest, uint32_t server, struct span topic);

/*
 * Topics whose server is another one now are subscribed there; what was refused or lost is tried again. Not fast: for a
 * map of slots that has changed.
 */
void interest_move(struct interest *interest, uint32_t (*server_of)(void *context, struct span topic), void *context);

/* Sends to the shards what they have to be told, as far as there is room. True: all is sent. */
bool interest_tell(struct interest *interest, struct mesh *mesh, uint32_t peer, uint32_t shards);

/* Whether all that is wanted of the server was confirmed. */
static inline bool interest_is_complete(const struct interest *interest, uint32_t server)
{
    return interest->servers[server].acked == interest->servers[server].wanted;
}

#endif
