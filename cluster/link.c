/*
 * link: the turn. See link.h for its drawing, and mesh/relay.h for what is asked and told.
 *
 * Each turn works, in this order: what the shards ask; what each server has answered and delivered; what is to be
 * subscribed; what the shards are to be told. Then it waits: not at all if something is left, shortly while a ring is
 * full, else until a socket or a shard rings, or the next thing is due.
 */
#include "cluster/link.h"

#include "base/check.h"
#include "cluster/state.h"

/* Messages of one server that one turn hands on, so that a flood of one does not keep others waiting. */
#define TURN_MESSAGES_MAX 4096

#define WAIT_IDLE_US    100000
#define WAIT_BLOCKED_US 100  /* the reader of a full ring is awake, and has room soon */
#define WAIT_HUNGRY_US  2000 /* until there are tokens for some more subscriptions */

/* Between two turns more time than this has gone only if the host, or this process, stood still. */
#define STANDSTILL_US 1000000

/* --- what shards ask --- */

static void relay_work(struct link *link, struct relay *relay, bool fetch)
{
    struct server *server = link->sharding ? NULL : &link->servers[ring_server(&link->ring, relay->hash)];
    if (fetch || relay->logged) {
        if (server) {
            server_logged(server, relay, fetch);
        } else {
            sharding_logged(link, relay, fetch);
        }
    } else if (server) {
        server_live(server, relay);
    } else {
        sharding_live(link, relay);
    }
}

static uint32_t server_of(const struct link *link, const struct envelope *ask)
{
    return link->sharding ? sharding_server(link->sharding, name_span(ask->name)) : ring_server(&link->ring, ask->hash);
}

/* False: no memory; it stays, and is tried again. */
static bool work_ask(struct link *link, const struct envelope *ask)
{
    switch ((enum envelope_kind)ask->kind) {
    case ASK_RELAY:
    case ASK_FETCH:
        ask->relay->shard = ask->from;
        relay_work(link, ask->relay, ask->kind == ASK_FETCH);
        return true;
    case ASK_WANT:
        return interest_want(&link->interest, server_of(link, ask), ask);
    case ASK_UNWANT:
        interest_unwant(&link->interest, ask);
        return true;
    case ASK_FILTER:
        return patterns_ask(&link->patterns, ask);
    default:
        UNREACHABLE();
    }
}

/* A shard with more answers to take than its ring holds is not read from: it has room to make first. */
static void drain_asks(struct link *link)
{
    struct mesh_peers senders = mesh_look(link->mesh, link->peer);
    for (uint32_t shard = mesh_peers_next(&senders, 0); shard < link->shard_count;
         shard = mesh_peers_next(&senders, shard + 1)) {
        struct spsc *ring = mesh_asks(link->mesh, shard, link->peer);
        const struct envelope *ask = NULL;
        for (uint32_t i = 0; i <= ring->mask && (ask = spsc_peek(ring)) != NULL; i++) {
            struct envelope copy = *ask;
            if (link->answers[shard].count > ring->mask || !work_ask(link, &copy)) {
                link->blocked = true;
                break;
            }
            spsc_pop(ring);
        }
    }
    mesh_settle(link->mesh, link->peer, &senders);
}

/* --- what servers deliver --- */

/* False: no room, the server keeps it. */
static bool hand_over(struct link *link, uint32_t number)
{
    struct relay *relay = link->held[number];
    struct envelope ask = {.kind = ASK_ARRIVED, .hash = relay->hash, .relay = relay};
    uint32_t payload_size = relay->payload_size; /* once it is handed over, it is the shard's */
    if (!mesh_ask(link->mesh, link->peer, name_owner(relay->hash, link->shard_count), &ask)) {
        return false;
    }
    STATS_ADD(&link->stats, arrived, 1);
    STATS_ADD(&link->stats, arrived_bytes, payload_size);
    link->servers[number].arrived++;
    link->held[number] = NULL;
    return true;
}

/* NULL: no memory. */
static struct relay *relay_of(const struct wire *wire)
{
    struct relay *relay =
        relay_create(wire->topic.data, wire->topic.size, NULL, 0, wire->payload.data, wire->payload.size);
    if (relay) {
        relay->hash = name_hash(wire->topic);
        relay->logged = wire->logged;
        relay->kind = wire->kind;
        relay->epoch = wire->epoch;
        relay->offset = wire->offset;
        relay->time_ms = wire->time_ms;
    }
    return relay;
}

static void acked(struct link *link, uint32_t number, const struct server_ack *ack)
{
    if (ack->filter) {
        patterns_acked(&link->patterns, number, ack->number, ack->serial);
    } else {
        interest_acked(&link->interest, ack->number, ack->serial);
    }
}

/* False: there is no memory for it, and it will come again. */
static bool work_event(struct link *link, uint32_t number, const struct subscription_event *event)
{
    switch (event->kind) {
    case SUBSCRIPTION_MESSAGE:
        link->held[number] = relay_of(&event->wire);
        if (!link->held[number]) {
            subscription_keep(&link->servers[number], &event->wire);
        }
        return link->held[number];
    case SUBSCRIPTION_ACKED:
        acked(link, number, &event->ack);
        return true;
    case SUBSCRIPTION_REFUSED:
        interest_refused(&link->interest, event->ack.number, event->ack.serial);
        break;
    case SUBSCRIPTION_LOST:
        interest_lost(&link->interest, number, event->topic);
        break;
    }
    link->servers[number].complete = false;
    sharding_unsettle(link);
    return true;
}

static void deliver(struct link *link, uint32_t number)
{
    struct server *server = &link->servers[number];
    struct subscription_event event;
    for (int i = 0; i < TURN_MESSAGES_MAX; i++) {
        if (link->held[number] && !hand_over(link, number)) {
            STATS_ADD(&link->stats, arrived_blocked, !server->blocked);
            server->blocked = link->blocked = true;
            return;
        }
        server->blocked = false;
        if (!subscription_next(server, &event)) {
            return;
        }
        if (!work_event(link, number, &event)) {
            server->blocked = link->blocked = true;
            return;
        }
    }
    link->more = true;
}

/* --- what is to be subscribed --- */

static const enum change topic_changes[2][2] = {
    {CHANGE_UNSUBSCRIBE, CHANGE_SUBSCRIBE},
    {CHANGE_SUNSUBSCRIBE, CHANGE_SSUBSCRIBE},
};

static void change_topic(struct link *link, struct server *server, const struct interest_change *change)
{
    char key[SERVER_KEY_MAX];
    struct server_ack ack = {.number = change->number, .serial = change->serial};
    subscription_change(server, topic_changes[link->common.sharded][change->subscribe],
                        server_key(&link->common, key, name_span(change->name), "", SPAN_NONE), ack);
}

static void change_filter(struct server *server, const struct interest_change *change)
{
    struct pattern patterns[2];
    char prefix[SERVER_PATTERN_PREFIX_MAX];
    uint32_t count = pattern_write(server_pattern_prefix(server, prefix), name_span(change->name), patterns);
    for (uint32_t i = 0; i < count; i++) {
        bool last = i + 1 == count;
        struct server_ack ack = {.number = last ? change->number : 0, .serial = change->serial, .filter = true};
        subscription_change(server, change->subscribe ? CHANGE_PSUBSCRIBE : CHANGE_PUNSUBSCRIBE,
                            (struct span){patterns[i].bytes, patterns[i].size}, ack);
    }
}

static void count_change(struct link *link, const struct interest_change *change)
{
    if (change->subscribe) {
        STATS_ADD(&link->stats, subscribes, 1);
    } else {
        STATS_ADD(&link->stats, unsubscribes, 1);
    }
    name_drop(change->name);
}

static void subscribe(struct link *link, uint32_t number)
{
    struct server *server = &link->servers[number];
    struct interest_change change;
    uint32_t room = subscription_room(server);
    for (; room >= 2 && patterns_next(&link->patterns, number, &change); room -= 2) {
        change_filter(server, &change);
        count_change(link, &change);
    }
    for (; room >= 2 && interest_next(&link->interest, number, &change); room--) {
        change_topic(link, server, &change);
        count_change(link, &change);
    }
    subscription_flush(server);
    link->hungry |= server->state == SERVER_UP && room < 2;
    if (server->state == SERVER_UP && !server->complete && interest_is_complete(&link->interest, number) &&
        patterns_is_complete(&link->patterns, number)) {
        server->complete = true;
        link->report_us = INT64_MIN; /* is written in this turn */
    }
}

/* --- servers that come and go --- */

static void note_state(struct link *link, uint32_t number)
{
    bool up = link->servers[number].state == SERVER_UP;
    if (up == link->was_up[number]) {
        return;
    }
    link->was_up[number] = up;
    if (up) {
        interest_up(&link->interest, number);
        patterns_up(&link->patterns, number);
    } else {
        interest_cut(&link->interest, number);
        patterns_cut(&link->patterns, number);
    }
    link->report_us = INT64_MIN; /* is written in this turn */
}

/* --- what shards are told --- */

static void count_answer(struct link *link, const struct relay *relay)
{
    struct link_stats *stats = &link->stats;
    if (relay->fetch) {
        STATS_ADD(stats, fetches, relay->status == RELAY_DONE);
        STATS_ADD(stats, fetches_failed, relay->status != RELAY_DONE);
        STATS_ADD(stats, fetched_messages, relay->page ? relay->page->count : 0);
    } else {
        STATS_ADD(stats, logged_relayed, relay->status == RELAY_DONE);
        STATS_ADD(stats, logged_away, relay->status == RELAY_AWAY);
        STATS_ADD(stats, logged_full, relay->status == RELAY_FULL);
    }
}

void link_answer(struct link *link, struct relay *relay)
{
    count_answer(link, relay);
    relays_push(&link->answers[relay->shard], relay);
}

static void collect_answers(struct link *link, struct server *server)
{
    struct relay *relay;
    if (link->sharding) {
        sharding_collect(link, server);
    }
    while ((relay = relays_take(&server->answered)) != NULL) {
        if (link->sharding && relay->status == RELAY_DONE && !relay->fetch) {
            sharding_done(link, relay);
        }
        link_answer(link, relay);
    }
}

static void tell(struct link *link)
{
    for (uint32_t shard = 0; shard < link->shard_count; shard++) {
        struct relays *line = &link->answers[shard];
        while (line->first) {
            struct envelope envelope = {.kind = line->first->fetch ? TELL_FETCHED : TELL_RELAYED,
                                        .hash = line->first->hash,
                                        .topic = line->first->topic,
                                        .relay = line->first};
            struct relay *next = line->first->next; /* told, it is the shard's */
            if (!mesh_tell(link->mesh, link->peer, shard, &envelope)) {
                link->blocked = true;
                break;
            }
            line->first = next;
            line->last = next ? line->last : NULL;
            line->count--;
        }
    }
    link->blocked |= !interest_tell(&link->interest, link->mesh, link->peer, link->shard_count);
    link->blocked |= !patterns_tell(&link->patterns, link->mesh, link->peer, link->shard_count);
}

/* Where hosts are listed: on all servers; in a cluster on the one that has the slot of the list. */
static struct server *servers_of_nodes(struct link *link, uint32_t *count)
{
    if (!link->sharding) {
        *count = link->server_count;
        return link->servers;
    }
    uint32_t number = link->sharding->owner[nodes_slot()];
    *count = number != SLOT_NOWHERE;
    return &link->servers[*count ? number : 0];
}

/* --- the turn --- */

static void begin(struct link *link)
{
    link->common.now_us = link->clock->monotonic_us(link->clock);
    link->common.lenient = link->common.now_us - link->turn_us > STANDSTILL_US;
    link->turn_us = link->common.now_us;
    link->blocked = link->more = link->hungry = false;
    STATS_ADD(&link->stats, turns, 1);
}

static int64_t rest_us(const struct link *link)
{
    int64_t rest = WAIT_IDLE_US;
    for (uint32_t i = 0; i < link->server_count; i++) {
        int64_t server_us = server_rest_us(&link->servers[i]);
        rest = server_us < rest ? server_us : rest;
    }
    if (link->sharding) {
        int64_t sharding_us = sharding_rest_us(link);
        rest = sharding_us < rest ? sharding_us : rest;
    }
    rest = link->hungry && WAIT_HUNGRY_US < rest ? WAIT_HUNGRY_US : rest;
    rest = link->blocked && WAIT_BLOCKED_US < rest ? WAIT_BLOCKED_US : rest;
    return link->more ? 0 : rest;
}

static void wait(struct link *link, int64_t wait_us)
{
    int64_t rest = rest_us(link);
    wait_us = rest < wait_us ? rest : wait_us;
    if (wait_us == 0 || (!link->blocked && !mesh_sleep(link->mesh, link->peer))) {
        redis_wait(link->common.redis, 0);
        return;
    }
    redis_wait(link->common.redis, wait_us);
    mesh_awake(link->mesh, link->peer);
}

void link_turn(struct link *link, int64_t wait_us)
{
    begin(link);
    drain_asks(link);
    if (link->sharding) {
        sharding_turn(link);
    }
    for (uint32_t i = 0; i < link->server_count; i++) {
        link->more |= server_turn(&link->servers[i]);
        note_state(link, i);
        deliver(link, i);
        note_state(link, i);
        subscribe(link, i);
        collect_answers(link, &link->servers[i]);
    }
    struct nodes_self self = {.topics = link->report.topics, .filters = link->patterns.wanted};
    uint32_t node_servers;
    struct server *first = servers_of_nodes(link, &node_servers);
    nodes_turn(&link->nodes, first, node_servers, &self, link->common.now_us);
    tell(link);
    mesh_ring_bells(link->mesh, link->peer);
    if (link->common.now_us - LINK_REPORT_US >= link->report_us) {
        report_write(link);
    }
    wait(link, wait_us);
}

/* --- its thread --- */

static void *run(void *argument)
{
    struct link *link = argument;
    while (!atomic_load_explicit(&link->stopping, memory_order_acquire)) {
        link_turn(link, WAIT_IDLE_US);
    }
    uint32_t node_servers;
    struct server *first = servers_of_nodes(link, &node_servers);
    for (uint32_t i = 0; i < node_servers; i++) {
        nodes_leave(&link->nodes, &first[i]);
    }
    redis_wait(link->common.redis, 0);
    return NULL;
}

bool link_start(struct link *link)
{
    link->running = pthread_create(&link->thread, NULL, run, link) == 0;
    if (link->running) {
        pthread_setname_np(link->thread, "link");
    }
    return link->running;
}

void link_stop(struct link *link)
{
    if (link->running) {
        atomic_store_explicit(&link->stopping, true, memory_order_release);
        redis_wake(link->common.redis);
        pthread_join(link->thread, NULL);
        link->running = false;
    }
}
