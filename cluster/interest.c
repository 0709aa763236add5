/* interest: see interest.h. */
#include "cluster/interest.h"

#include <stddef.h>

#include "base/check.h"
#include "mesh/relay.h"

struct interest_topic {
    struct index_link link;
    uint32_t serial;
    struct name *name; /* NULL: not in use */
    uint32_t topic;    /* number at its owner */
    uint32_t todo_next;
    uint32_t tell_next;
    uint8_t shard;
    uint8_t server;
    uint8_t status; /* to be told: enum relay_status */
    bool wanted : 1;
    bool sent : 1;
    bool acked : 1;
    bool queued : 1;  /* on the todo line */
    bool telling : 1; /* on the line of tells */
};

#define LINK_TODO offsetof(struct interest_topic, todo_next)
#define LINK_TELL offsetof(struct interest_topic, tell_next)

static struct interest_topic *topic_at(const struct interest *interest, uint32_t number)
{
    return slab_at(&interest->topics, number);
}

bool interest_init(struct interest *interest)
{
    *interest = (struct interest){0};
    slab_init(&interest->topics, sizeof(struct interest_topic), UINT32_MAX - SLAB_SEGMENT_RECORDS);
    return index_init(&interest->index, &interest->topics);
}

/* Calls `each` for all records of a server, which it may free. Not fast: for a server that comes or goes. */
static void each_of_server(struct interest *interest, uint32_t server,
                           void (*each)(struct interest *interest, uint32_t number))
{
    uint32_t end = slab_end(&interest->topics);
    for (uint32_t number = 1; number < end; number++) {
        if (!slab_mapped(&interest->topics, number)) {
            number |= SLAB_SEGMENT_RECORDS - 1;
            continue;
        }
        const struct interest_topic *topic = topic_at(interest, number);
        if (topic->name && topic->server == server) {
            each(interest, number);
        }
    }
}

static void drop_name(struct interest *interest, uint32_t number)
{
    name_drop(topic_at(interest, number)->name);
}

void interest_destroy(struct interest *interest)
{
    for (uint32_t server = 0; server <= SLOT_NOWHERE && interest->topics.used; server++) {
        each_of_server(interest, server, drop_name);
    }
    index_destroy(&interest->index);
    slab_destroy(&interest->topics);
}

/* 0: there is none. */
static uint32_t find(const struct interest *interest, uint64_t hash, const struct name *name)
{
    uint32_t number = index_first(&interest->index, hash);
    while (number && !span_equal(name_span(topic_at(interest, number)->name), name_span(name))) {
        number = index_next(&interest->index, number);
    }
    return number;
}

static void release_if_unused(struct interest *interest, uint32_t number)
{
    struct interest_topic *topic = topic_at(interest, number);
    if (topic->wanted || topic->sent || topic->queued || topic->telling) {
        return;
    }
    index_remove(&interest->index, number);
    name_drop(topic->name);
    topic->name = NULL;
    slab_give(&interest->topics, number);
}

static void todo(struct interest *interest, uint32_t number)
{
    struct interest_topic *topic = topic_at(interest, number);
    if (!topic->queued) {
        topic->queued = true;
        queue_push(&interest->servers[topic->server].todo, &interest->topics, LINK_TODO, number);
    }
}

static void tell(struct interest *interest, uint32_t number, enum relay_status status)
{
    struct interest_topic *topic = topic_at(interest, number);
    topic->status = (uint8_t)status;
    if (!topic->telling) {
        topic->telling = true;
        queue_push(&interest->tells[topic->shard], &interest->topics, LINK_TELL, number);
    }
}

/* Keeps the server's sums: all changes of `wanted` and `acked` come here. */
static void set(struct interest *interest, uint32_t number, bool wanted, bool acked)
{
    struct interest_topic *topic = topic_at(interest, number);
    struct interest_server *server = &interest->servers[topic->server];
    server->wanted = server->wanted - topic->wanted + wanted;
    server->acked = server->acked - (topic->wanted && topic->acked) + (wanted && acked);
    topic->wanted = wanted;
    topic->acked = acked;
}

bool interest_want(struct interest *interest, uint32_t server, const struct envelope *ask)
{
    uint32_t number = find(interest, ask->hash, ask->name);
    if (number) {
        name_drop(ask->name);
    } else {
        number = slab_take(&interest->topics);
        if (!number) {
            return false;
        }
        *topic_at(interest, number) = (struct interest_topic){
            .link.hash = ask->hash,
            .serial = ++interest->serial,
            .name = ask->name,
            .shard = ask->from,
            .server = (uint8_t)server,
        };
        index_insert(&interest->index, number);
    }
    struct interest_topic *topic = topic_at(interest, number);
    topic->topic = ask->topic;
    set(interest, number, true, topic->acked);
    if (topic->acked) {
        tell(interest, number, RELAY_DONE); /* left and wanted again before its turn */
    } else if (!interest->servers[server].up) {
        tell(interest, number, RELAY_AWAY);
    } else {
        todo(interest, number);
    }
    return true;
}

void interest_unwant(struct interest *interest, const struct envelope *ask)
{
    uint32_t number = find(interest, ask->hash, ask->name);
    name_drop(ask->name);
    if (number) {
        set(interest, number, false, topic_at(interest, number)->acked);
        if (topic_at(interest, number)->sent) {
            todo(interest, number);
        }
        release_if_unused(interest, number);
    }
}

static void want_again(struct interest *interest, uint32_t number)
{
    todo(interest, number);
}

void interest_up(struct interest *interest, uint32_t server)
{
    interest->servers[server].up = true;
    each_of_server(interest, server, want_again);
}

static void cut_off(struct interest *interest, uint32_t number)
{
    struct interest_topic *topic = topic_at(interest, number);
    topic->sent = false;
    set(interest, number, topic->wanted, false);
    if (topic->wanted) {
        tell(interest, number, RELAY_AWAY);
    }
    release_if_unused(interest, number);
}

void interest_cut(struct interest *interest, uint32_t server)
{
    struct queue *line = &interest->servers[server].todo;
    uint32_t number;
    while ((number = queue_take(line, &interest->topics, LINK_TODO)) != 0) {
        topic_at(interest, number)->queued = false;
    }
    interest->servers[server].up = false;
    each_of_server(interest, server, cut_off);
}

bool interest_next(struct interest *interest, uint32_t server, struct interest_change *change)
{
    uint32_t number;
    while ((number = queue_take(&interest->servers[server].todo, &interest->topics, LINK_TODO)) != 0) {
        struct interest_topic *topic = topic_at(interest, number);
        topic->queued = false;
        if (topic->wanted == topic->sent) {
            release_if_unused(interest, number);
            continue;
        }
        *change = (struct interest_change){
            .subscribe = topic->wanted,
            .number = number,
            .serial = topic->serial,
            .name = name_share(topic->name),
        };
        topic->sent = topic->wanted;
        if (!topic->wanted) {
            topic->acked = false;
            topic->serial = ++interest->serial; /* a confirmation that is still to come means nothing any more */
            release_if_unused(interest, number);
        }
        return true;
    }
    return false;
}

void interest_acked(struct interest *interest, uint32_t number, uint32_t serial)
{
    if (!slab_mapped(&interest->topics, number)) {
        return;
    }
    const struct interest_topic *topic = topic_at(interest, number);
    if (!topic->name || topic->serial != serial || !topic->sent) {
        return;
    }
    set(interest, number, topic->wanted, true);
    if (topic->wanted) {
        tell(interest, number, RELAY_DONE);
    }
}

/* --- of a Redis Cluster --- */

static void unsubscribed(struct interest *interest, uint32_t number)
{
    struct interest_topic *topic = topic_at(interest, number);
    topic->sent = false;
    topic->serial = ++interest->serial; /* a confirmation that is still to come means nothing any more */
    set(interest, number, topic->wanted, false);
    if (topic->wanted) {
        tell(interest, number, RELAY_AWAY);
    }
    release_if_unused(interest, number);
}

void interest_refused(struct interest *interest, uint32_t number, uint32_t serial)
{
    if (slab_mapped(&interest->topics, number)) {
        const struct interest_topic *topic = topic_at(interest, number);
        if (topic->name && topic->serial == serial && topic->sent) {
            unsubscribed(interest, number);
        }
    }
}

void interest_lost(struct interest *interest, uint32_t server, struct span topic)
{
    uint64_t hash = name_hash(topic);
    uint32_t number = index_first(&interest->index, hash);
    while (number && !span_equal(name_span(topic_at(interest, number)->name), topic)) {
        number = index_next(&interest->index, number);
    }
    if (number && topic_at(interest, number)->server == server && topic_at(interest, number)->sent) {
        unsubscribed(interest, number);
    }
}

static void server_change(struct interest *interest, uint32_t number, uint32_t server)
{
    struct interest_topic *topic = topic_at(interest, number);
    bool wanted = topic->wanted;
    set(interest, number, false, false);
    topic->server = (uint8_t)server;
    topic->sent = false;
    topic->serial = ++interest->serial;
    set(interest, number, wanted, false);
    if (wanted) {
        tell(interest, number, RELAY_AWAY);
    }
}

static void move_one(struct interest *interest, uint32_t number, uint32_t server)
{
    struct interest_topic *topic = topic_at(interest, number);
    if (topic->server != server) {
        server_change(interest, number, server);
    }
    if (topic->wanted != topic->sent && interest->servers[server].up) {
        todo(interest, number);
    }
    release_if_unused(interest, number);
}

void interest_move(struct interest *interest, uint32_t (*server_of)(void *context, struct span topic), void *context)
{
    uint32_t number;
    for (uint32_t server = 0; server <= SLOT_NOWHERE; server++) {
        while ((number = queue_take(&interest->servers[server].todo, &interest->topics, LINK_TODO)) != 0) {
            topic_at(interest, number)->queued = false;
        }
    }
    uint32_t end = slab_end(&interest->topics);
    for (number = 1; number < end; number++) {
        if (!slab_mapped(&interest->topics, number)) {
            number |= SLAB_SEGMENT_RECORDS - 1;
        } else if (topic_at(interest, number)->name) {
            move_one(interest, number, server_of(context, name_span(topic_at(interest, number)->name)));
        }
    }
}

static bool send_tell(const struct interest_topic *topic, struct mesh *mesh, uint32_t peer)
{
    struct envelope envelope = {
        .kind = TELL_WANTED, .topic = topic->topic, .hash = topic->link.hash, .status = topic->status};
    return !topic->wanted || mesh_tell(mesh, peer, topic->shard, &envelope);
}

bool interest_tell(struct interest *interest, struct mesh *mesh, uint32_t peer, uint32_t shards)
{
    bool all = true;
    for (uint32_t shard = 0; shard < shards; shard++) {
        struct queue *line = &interest->tells[shard];
        uint32_t number;
        while ((number = line->first) != 0 && send_tell(topic_at(interest, number), mesh, peer)) {
            queue_take(line, &interest->topics, LINK_TELL);
            topic_at(interest, number)->telling = false;
            release_if_unused(interest, number);
        }
        all &= line->first == 0;
    }
    return all;
}
