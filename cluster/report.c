/* report: see report.h. Readiness (link.h) is read from it, too. */
#include "cluster/report.h"

#include <stdio.h>

#include "cluster/state.h"
#include "protocol/utf8.h"

/* A link that has not written for so long does not turn. */
#define REPORT_STALE_US 5000000

/* What a server says is told to people, as JSON: of what is not UTF-8, or was cut so that it is not, only the ASCII. */
static void make_utf8(char *text)
{
    bool valid = utf8_valid(text, strlen(text));
    for (char *at = text; !valid && *at; at++) {
        *at = (unsigned char)*at < 0x80 ? *at : '?';
    }
}

static void copy_text(char *to, size_t size, const char *from)
{
    snprintf(to, size, "%.*s", (int)size - 1, from); /* cut */
    make_utf8(to);
}

#define COPY_TEXT(to, from) copy_text((to), sizeof(to), (from))

/* Subscriptions that are still to be made there. */
static uint64_t left_of(const struct link *link, uint32_t number)
{
    const struct interest_server *interest = &link->interest.servers[number];
    return interest->wanted - interest->acked + link->patterns.wanted - link->patterns.acked[number];
}

static void server_fill(const struct link *link, uint32_t number, struct link_report_server *to)
{
    const struct server *server = &link->servers[number];
    const struct interest_server *interest = &link->interest.servers[number];
    int64_t now_us = link->common.now_us;
    const struct asked *oldest = commands_oldest(server);
    *to = (struct link_report_server){
        .state = server->state,
        .complete = server->complete,
        .state_us = now_us - server->state_us,
        .retry_us = server->state == SERVER_AWAY ? server->retry_us - now_us : 0,
        .probe_age_us = server->proved_us ? now_us - server->proved_us : -1,
        .round_trip_us = server->round_trip_us,
        .answer_age_us = oldest ? now_us - oldest->sent_us : 0,
        .topics = interest->wanted,
        .subscriptions = interest->acked + link->patterns.acked[number],
        .subscriptions_left = left_of(link, number),
        .backlog = server->appends.count + server->reads.count + server->again.count + server->asked_count,
        .backlog_bytes = server->backlog_bytes,
        .relayed = server->relayed,
        .arrived = server->arrived,
        .failures = server->failures,
        .blocked = server->blocked,
    };
    to->number = number;
    COPY_TEXT(to->name, server->name);
    COPY_TEXT(to->address, server->address);
    COPY_TEXT(to->master, server->url.master);
    COPY_TEXT(to->sentinel, server->sentinel_address);
    COPY_TEXT(to->role, server->role);
    COPY_TEXT(to->version, server->version);
    COPY_TEXT(to->run_id, server->run_id);
    COPY_TEXT(to->generation, server->generation);
    COPY_TEXT(to->reason, server->reason);
    COPY_TEXT(to->error, server->error);
}

static void nodes_fill(const struct link *link, struct link_report *report)
{
    const struct nodes *nodes = &link->nodes;
    report->node_count = nodes->count;
    report->nodes_more = nodes->more;
    for (uint32_t i = 0; i < nodes->count; i++) {
        report->nodes[i] = nodes->nodes[i].told;
        report->nodes[i].seen_us = link->common.now_us - nodes->nodes[i].seen_us;
    }
}

/* "10.0.0.7:6379", "mymaster at 10.0.0.7:6379" or "mymaster". */
static const char *where(const struct server *server, char *text, size_t size)
{
    const char *master = server->url.master;
    snprintf(text, size, "%s%s%s", master, master[0] && server->address[0] ? " at " : "", server->address);
    return text;
}

static void sharding_fill(const struct link *link, struct link_report *report)
{
    const struct sharding *sharding = link->sharding;
    report->sharded = sharding != NULL;
    if (!sharding) {
        return;
    }
    uint32_t slots[LINK_SERVERS_MAX + 1] = {0};
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        slots[sharding->owner[slot]]++;
    }
    for (uint32_t i = 0; i < report->server_count; i++) {
        report->servers[i].slots = slots[report->servers[i].number];
    }
    report->topics += link->interest.servers[SLOT_NOWHERE].wanted;
    report->slots_covered = sharding->covered;
    report->map_age_us = sharding->mapper.read_us ? link->common.now_us - sharding->mapper.read_us : -1;
    COPY_TEXT(report->map_from, sharding->mapper.from);
    COPY_TEXT(report->map_problem, sharding->problem);
}

/* The first server that is not well says why; of a Redis Cluster before them the map, while there is none. */
static void readiness_fill(const struct link *link, struct link_report *report)
{
    const struct sharding *sharding = link->sharding;
    report->ready = !sharding || sharding->covered;
    snprintf(report->why, sizeof report->why, "redis cluster: %s", sharding ? sharding->problem : "");
    for (uint32_t i = 0; i < link->server_count && report->ready; i++) {
        const struct server *server = &link->servers[i];
        char text[URL_PART_MAX + URL_ADDRESS_MAX + sizeof " at "];
        if (server->retired) {
            continue;
        }
        if (server->state != SERVER_UP) {
            report->ready = false;
            snprintf(report->why, sizeof report->why, "redis %u (%s): %s", i + 1, where(server, text, sizeof text),
                     server->reason[0] ? server->reason : "connecting");
        } else if (!server->complete) {
            report->ready = false;
            snprintf(report->why, sizeof report->why, "redis %u (%s): %llu subscriptions are still to be made", i + 1,
                     where(server, text, sizeof text), (unsigned long long)left_of(link, i));
        } else if (server->cluster_down) {
            report->ready = false;
            snprintf(report->why, sizeof report->why, "redis %u (%s): it says that the cluster is down", i + 1,
                     where(server, text, sizeof text));
        }
    }
    if (report->ready && sharding && sharding->covered < SLOTS) {
        report->ready = false;
        snprintf(report->why, sizeof report->why, "redis cluster: %s", sharding->problem);
    }
    make_utf8(report->why);
    report->why[0] = report->ready ? 0 : report->why[0];
}

static void gauges_set(struct link *link, const struct link_report *report)
{
    uint64_t up = 0, acked = 0, relays = 0, bytes = 0;
    if (link->sharding) {
        relays = link->sharding->returned.count + link->sharding->waiting.count;
        bytes = link->sharding->bytes;
    }
    for (uint32_t i = 0; i < report->server_count; i++) {
        up += report->servers[i].state == SERVER_UP;
        acked += link->interest.servers[report->servers[i].number].acked;
        relays += report->servers[i].backlog;
        bytes += report->servers[i].backlog_bytes;
    }
    STATS_SET(&link->stats, ready, report->ready);
    STATS_SET(&link->stats, servers, report->server_count);
    STATS_SET(&link->stats, slots_covered, report->slots_covered);
    STATS_SET(&link->stats, servers_up, up);
    STATS_SET(&link->stats, topics_wanted, report->topics);
    STATS_SET(&link->stats, topics_subscribed, acked);
    STATS_SET(&link->stats, filters_wanted, report->filters);
    STATS_SET(&link->stats, relays, relays);
    STATS_SET(&link->stats, relay_bytes, bytes);
    STATS_SET(&link->stats, nodes, report->node_count + report->nodes_more);
}

/*
 * Generations are chance, so no two servers have one in common; hosts may name the servers in different orders. Those
 * of a Redis Cluster are its slots', too many to be known: hosts that share one tell none.
 */
static uint64_t identity_now(const struct link *link)
{
    uint64_t identity = 0;
    if (link->common.sharded) {
        return 0;
    }
    for (uint32_t i = 0; i < link->server_count; i++) {
        uint64_t generation;
        if (!wire_hex_parse((struct span){link->servers[i].generation, WIRE_HEX_SIZE}, &generation)) {
            return 0;
        }
        identity ^= generation;
    }
    return identity;
}

const _Atomic uint64_t *link_identity(const struct link *link)
{
    return &link->identity;
}

void report_write(struct link *link)
{
    atomic_store_explicit(&link->identity, identity_now(link), memory_order_relaxed);
    struct link_report *report = &link->report;
    pthread_mutex_lock(link->report_mutex);
    report->written_us = link->report_us = link->common.now_us;
    report->server_count = 0;
    report->topics = 0;
    for (uint32_t i = 0; i < link->server_count; i++) {
        if (!link->servers[i].retired) {
            struct link_report_server *server = &report->servers[report->server_count++];
            server_fill(link, i, server);
            report->topics += server->topics;
        }
    }
    sharding_fill(link, report);
    report->filters = link->patterns.wanted;
    nodes_fill(link, report);
    readiness_fill(link, report);
    pthread_mutex_unlock(link->report_mutex);
    gauges_set(link, report); /* nobody else writes it */
}

void link_report(const struct link *link, struct link_report *report)
{
    pthread_mutex_lock(link->report_mutex);
    *report = link->report;
    pthread_mutex_unlock(link->report_mutex);
}

bool link_is_ready(const struct link *link, char *why, size_t size)
{
    int64_t now_us = link->clock->monotonic_us(link->clock);
    pthread_mutex_lock(link->report_mutex);
    bool stale = now_us - link->report.written_us > REPORT_STALE_US;
    bool ready = link->report.ready && !stale;
    snprintf(why, size, "%s", stale ? "the federation link does not turn" : link->report.why);
    make_utf8(why); /* cut, maybe in the middle of a character */
    pthread_mutex_unlock(link->report_mutex);
    return ready;
}

const struct link_stats *link_stats(const struct link *link)
{
    return &link->stats;
}
