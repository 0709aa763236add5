/* server_commands: what goes out by a server's command connection, and what its answers mean. See server.h. */
#include <stdio.h>

#include "base/check.h"
#include "base/logger.h"
#include "cluster/digits.h"
#include "cluster/nodes.h"
#include "cluster/page.h"
#include "cluster/server.h"

#define ASKED_ROOM_MIN 64u

/* What a probe and its like count for in nobody's backlog. */
#define NO_RELAY NULL

/* --- the line of what was asked --- */

static struct asked *asked_at(const struct server *server, uint32_t place)
{
    return &server->asked[(server->asked_first + place) & (server->asked_room - 1)];
}

static bool asked_reserve(struct server *server)
{
    if (server->asked_count < server->asked_room) {
        return true;
    }
    uint32_t room = server->asked_room ? 2 * server->asked_room : ASKED_ROOM_MIN;
    struct asked *grown = malloc(room * sizeof *grown);
    if (!grown) {
        return false;
    }
    for (uint32_t i = 0; i < server->asked_count; i++) {
        grown[i] = *asked_at(server, i);
    }
    free(server->asked);
    server->asked = grown;
    server->asked_room = room;
    server->asked_first = 0;
    return true;
}

const struct asked *commands_oldest(const struct server *server)
{
    return server->asked_count ? asked_at(server, 0) : NULL;
}

/* Of a topic's slot: how many appends are under way. */
static uint32_t *inflight(const struct server *server, const struct relay *relay)
{
    struct span topic = {relay_topic(relay), relay->topic_size};
    return &server->common->inflight[slot_of_bytes(topic)];
}

void command_send(struct server *server, enum command command, struct relay *relay, uint32_t count,
                  const struct span *words)
{
    if (!server->commands || !asked_reserve(server)) {
        if (relay) {
            relay_settle(server, relay, RELAY_AWAY);
        }
        server_fail(server, "no memory");
        return;
    }
    *asked_at(server, server->asked_count++) =
        (struct asked){.relay = relay, .sent_us = server->common->now_us, .command = (uint8_t)command};
    server->scripted += command == COMMAND_APPEND || command == COMMAND_READ;
    server->fetches += command == COMMAND_READ;
    if (server->common->sharded && command == COMMAND_APPEND) {
        ++*inflight(server, relay);
    }
    redis_send(server->commands, count, words);
}

void command_send_node(struct server *server, uint64_t instance, uint32_t count, const struct span *words)
{
    command_send(server, COMMAND_NODE, NULL, count, words);
    if (server->asked_count) { /* else it failed for want of memory */
        asked_at(server, server->asked_count - 1)->instance = instance;
    }
}

void command_send_live(struct server *server, uint64_t bytes, uint32_t count, const struct span *words)
{
    command_send(server, COMMAND_LIVE, NULL, count, words);
    if (server->asked_count) { /* else it failed for want of memory */
        asked_at(server, server->asked_count - 1)->bytes = (uint32_t)bytes;
        server->backlog_bytes += bytes;
    }
}

/* Whether a relay waits for the answer. */
static bool has_relay(const struct asked *asked)
{
    return asked->command == COMMAND_APPEND || asked->command == COMMAND_READ;
}

static struct asked asked_take(struct server *server)
{
    struct asked asked = *asked_at(server, 0);
    if (server->common->sharded && asked.command == COMMAND_APPEND) {
        --*inflight(server, asked.relay);
    }
    server->asked_first = (server->asked_first + 1) & (server->asked_room - 1);
    server->asked_count--;
    server->backlog_bytes -= asked.bytes;
    server->scripted -= has_relay(&asked);
    server->fetches -= asked.command == COMMAND_READ;
    return asked;
}

void commands_abandon(struct server *server)
{
    while (server->asked_count) {
        struct asked asked = asked_take(server);
        if (has_relay(&asked)) {
            relay_settle(server, asked.relay, RELAY_AWAY);
        }
    }
    struct relay *relay;
    while ((relay = relays_take(&server->fenced)) != NULL) {
        free(relay->page);
        relay->page = NULL;
        relay_settle(server, relay, RELAY_AWAY);
    }
}

/* --- greeting --- */

static void send_auth(struct server *server)
{
    struct span words[URL_AUTH_WORDS];
    uint32_t count = url_auth(&server->url, words);
    if (count > 0) {
        command_send(server, COMMAND_SETUP, NO_RELAY, count, words);
    }
}

static void send_info(struct server *server, struct span section)
{
    command_send(server, COMMAND_INFO, NO_RELAY, 2, (const struct span[]){SPAN_LITERAL("INFO"), section});
}

void commands_greet(struct server *server)
{
    send_auth(server);
    if (server->url.database) {
        char number[16];
        snprintf(number, sizeof number, "%u", server->url.database);
        command_send(server, COMMAND_SETUP, NO_RELAY, 2,
                     (const struct span[]){SPAN_LITERAL("SELECT"), span_of_text(number)});
    }
    if (server->common->sharded) {
        command_send(server, COMMAND_MYID, NO_RELAY, 2,
                     (const struct span[]){SPAN_LITERAL("CLUSTER"), SPAN_LITERAL("MYID")});
    }
    send_info(server, SPAN_LITERAL("server"));
    send_info(server, SPAN_LITERAL("replication"));
}

static void load(struct server *server, enum script script, enum command command)
{
    const struct span words[] = {SPAN_LITERAL("SCRIPT"), SPAN_LITERAL("LOAD"), script_text(script)};
    command_send(server, command, NO_RELAY, 3, words);
}

/*
 * The scripts and the generation. The answers come in order, so that what is sent after the claim's answer finds the
 * scripts. Sharded, there is nothing to be claimed here: each slot has its generation, and the scripts claim it.
 */
static void claim(struct server *server)
{
    server->claimed = false;
    server->claiming = true;
    load(server, SCRIPT_CLAIM, COMMAND_SETUP);
    load(server, SCRIPT_APPEND, COMMAND_SETUP);
    load(server, SCRIPT_READ, COMMAND_SETUP);
    if (server->common->sharded) {
        load(server, SCRIPT_LIVE, COMMAND_LOADED);
        return;
    }
    char key[SERVER_KEY_MAX];
    char proposed[WIRE_HEX_SIZE];
    wire_hex_write(server_random(server->common), proposed);
    const struct span words[] = {
        SPAN_LITERAL("EVALSHA"),
        {server->common->hashes[SCRIPT_CLAIM], SCRIPT_HASH_SIZE},
        SPAN_LITERAL("1"),
        server_generation_key(server, key, SPAN_NONE),
        span_of_text(server->run_id),
        span_of_text(server->origin),
        {proposed, sizeof proposed},
        server->common->settings->durable ? SPAN_LITERAL("1") : SPAN_LITERAL("0"),
    };
    command_send(server, COMMAND_CLAIM, NO_RELAY, sizeof words / sizeof *words, words);
}

static void answered_claim(struct server *server, const struct redis_value *value)
{
    server->claiming = false;
    if (value->kind != REDIS_STRING || value->text.size != WIRE_HEX_SIZE) {
        server_fail(server, "claim: %.*s", value->kind == REDIS_FAILURE ? (int)value->text.size : 0,
                    value->kind == REDIS_FAILURE ? value->text.data : "");
        return;
    }
    if (server->generation[0] && memcmp(server->generation, value->text.data, WIRE_HEX_SIZE) != 0) {
        STATS_ADD(server->common->stats, lineage_changes, 1);
        logger_limited(LOG_WARNING, "redis_lineage_changed", LOG_U64("server", server->number + 1),
                       LOG_STR("address", server->address), LOG_STR("run_id", server->run_id));
    }
    memcpy(server->generation, value->text.data, WIRE_HEX_SIZE);
    server->claimed = true;
}

/* --- INFO --- */

/* Copies the value of "name:value\r\n", cut to `size`. False: INFO does not say. */
static bool info_value(struct span info, const char *name, char *value, size_t size)
{
    size_t name_size = strlen(name);
    for (size_t at = 0; at < info.size;) {
        const char *line = info.data + at;
        const char *end = memchr(line, '\n', info.size - at);
        size_t line_size = end ? (size_t)(end - line) : info.size - at;
        at += line_size + 1;
        if (line_size > name_size && memcmp(line, name, name_size) == 0 && line[name_size] == ':') {
            size_t value_size = line_size - name_size - 1;
            value_size -= value_size && line[line_size - 1] == '\r';
            snprintf(value, size, "%.*s", (int)value_size, line + name_size + 1);
            return true;
        }
    }
    return false;
}

/*
 * What makes a history another one: the process (its run id), and, if it was promoted, whose replica it had been. The
 * own replication id does not say it: that changes whenever a first replica is attached. An origin that Redis has
 * forgotten (zeros, an hour after its last replica left) is no news.
 */
static void answered_info(struct server *server, struct span info)
{
    info_value(info, "redis_version", server->version, sizeof server->version);
    info_value(info, "run_id", server->run_id, sizeof server->run_id);
    if (!info_value(info, "role", server->role, sizeof server->role)) {
        return; /* the other section */
    }
    char origin[sizeof server->origin] = "";
    info_value(info, "master_replid2", origin, sizeof origin);
    if (strspn(origin, "0") == strlen(origin)) {
        origin[0] = 0;
    }
    bool changed = origin[0] && strcmp(origin, server->origin) != 0;
    memcpy(server->origin, origin, sizeof origin);
    if (strcmp(server->role, "master") != 0) {
        server_fail(server, "it is a replica (role %s): nothing can be written", server->role);
    } else if (server->state == SERVER_TRYING && !server->claimed && !server->claiming) {
        claim(server);
    } else if (changed && server->state == SERVER_UP) {
        server_fail(server, "it became a master: what it remembers is claimed anew");
    }
}

/* A node that is cut off from the others says so itself, after its cluster-node-timeout. */
static void answered_health(struct server *server, struct span info)
{
    char state[16] = "";
    info_value(info, "cluster_state", state, sizeof state);
    server->cluster_down = strcmp(state, "ok") != 0;
    server->redirected |= server->cluster_down; /* others may know better */
}

/* --- relays --- */

void commands_restore(struct server *server)
{
    relays_append(&server->again, &server->appends);
    server->appends = server->again;
    server->again = (struct relays){0};
}

void commands_send(struct server *server)
{
    if (!server->claimed) {
        /* all that comes back has come back when nothing is under way any more */
        if (!server->claiming && server->scripted == 0) {
            commands_restore(server);
            claim(server);
        }
        return;
    }
    struct relay *relay;
    while (server->state == SERVER_UP && (relay = relays_take(&server->appends)) != NULL) {
        relay_send_append(server, relay);
    }
    while (server->state == SERVER_UP && server->fetches < SERVER_FETCHES &&
           (relay = relays_take(&server->reads)) != NULL) {
        relay_send_read(server, relay);
    }
}

/* --- answers --- */

/* Errors after which a server is of no use, whatever it is asked. */
static bool is_fatal(struct span error)
{
    return span_begins(error, "READONLY") || span_begins(error, "LOADING") || span_begins(error, "MASTERDOWN") ||
           span_begins(error, "NOAUTH");
}

/* An error that a new claim mends: the relay was not done. */
static bool is_forgotten(struct server *server, struct span error)
{
    if (span_begins(error, "NOSCRIPT")) {
        STATS_ADD(server->common->stats, script_reloads, server->claimed);
        return true;
    }
    return span_begins(error, "GENERATION") || span_begins(error, "ERR GENERATION");
}

static void answered_append(struct server *server, struct relay *relay, const struct redis_value *value)
{
    bool whole = value->kind == REDIS_ARRAY && value->count >= 3 && value->items[0].kind == REDIS_STRING &&
                 value->items[1].kind == REDIS_INTEGER && value->items[2].kind == REDIS_INTEGER &&
                 wire_is_offset((uint64_t)value->items[1].integer) &&
                 wire_hex_parse(value->items[0].text, &relay->epoch);
    if (whole) {
        relay->offset = (uint64_t)value->items[1].integer;
        relay->repeated = value->items[2].integer != 0;
        bool changed = value->count > 3 && value->items[3].integer != 0;
        STATS_ADD(server->common->stats, slot_lineages, changed);
        server->relayed++;
    }
    relay_settle(server, relay, whole ? RELAY_DONE : RELAY_AWAY);
}

static void answered_read(struct server *server, struct relay *relay, const struct redis_value *value)
{
    relay->page = page_create(value);
    if (relay->page && relay->epoch == 0) {
        server_fence(server, relay);
    } else {
        relay_settle(server, relay, relay->page ? RELAY_DONE : RELAY_AWAY);
    }
}

bool command_was_redirected(struct span error)
{
    return span_begins(error, "MOVED ") || span_begins(error, "ASK ") || span_begins(error, "TRYAGAIN") ||
           span_begins(error, "CLUSTERDOWN") || span_begins(error, "ERR Script attempted to access a non local key");
}

/* Without which the server is of no use. */
static bool is_setup(const struct asked *asked)
{
    return asked->command == COMMAND_SETUP || asked->command == COMMAND_INFO || asked->command == COMMAND_CLAIM ||
           asked->command == COMMAND_MYID || asked->command == COMMAND_LOADED || asked->command == COMMAND_HEALTH;
}

/* The link finds whose the slot is, and has what can be done again done there. */
static void answered_elsewhere(struct server *server, const struct asked *asked, struct span error)
{
    struct link_stats *stats = server->common->stats;
    STATS_ADD(stats, redirections, 1);
    snprintf(server->error, sizeof server->error, "%.*s", (int)error.size, error.data);
    server->redirected = true;
    server->cluster_down |= span_begins(error, "CLUSTERDOWN");
    if (has_relay(asked)) {
        server->backlog_bytes -= relay_bytes(asked->relay);
        relays_push(&server->returned, asked->relay);
    } else if (asked->command == COMMAND_LIVE) {
        STATS_ADD(stats, live_dropped_away, 1);
    } else if (asked->command == COMMAND_PROBE) {
        server_probe_lost(server);
    }
}

static void answered_error(struct server *server, const struct asked *asked, struct span error)
{
    if (server->common->sharded && command_was_redirected(error)) {
        answered_elsewhere(server, asked, error);
        return;
    }
    if (asked->command == COMMAND_LIVE && is_forgotten(server, error)) {
        server->claimed = false; /* the message is lost for other hosts, and the scripts are loaded for the next */
    }
    if (has_relay(asked) && is_forgotten(server, error)) {
        server->claimed = false;
        relays_push(asked->command == COMMAND_READ ? &server->reads : &server->again, asked->relay);
        return;
    }
    STATS_ADD(server->common->stats, redis_errors, 1);
    snprintf(server->error, sizeof server->error, "%.*s", (int)error.size, error.data);
    if (has_relay(asked)) {
        relay_settle(server, asked->relay, RELAY_AWAY);
    }
    if (!server->common->sharded && command_was_redirected(error)) {
        server_fail(server, "it is a node of a Redis Cluster, which is named by redis+cluster:// (%.*s)",
                    (int)error.size, error.data);
    } else if (is_setup(asked) || is_fatal(error)) {
        server_fail(server, "%.*s", (int)error.size, error.data);
    }
}

void commands_answered(struct server *server, const struct redis_value *value)
{
    if (!server->asked_count) {
        server_fail(server, "it answers what was not asked");
        return;
    }
    struct asked asked = asked_take(server);
    if (value->kind == REDIS_FAILURE) {
        answered_error(server, &asked, value->text);
        return;
    }
    switch ((enum command)asked.command) {
    case COMMAND_OTHER:
    case COMMAND_SETUP:
    case COMMAND_PROBE:
        break;
    case COMMAND_INFO:
        answered_info(server, value->kind == REDIS_STRING ? value->text : SPAN_NONE);
        break;
    case COMMAND_CLAIM:
        answered_claim(server, value);
        break;
    case COMMAND_LIVE:
        server->relayed++;
        STATS_ADD(server->common->stats, live_relayed, 1);
        break;
    case COMMAND_APPEND:
        answered_append(server, asked.relay, value);
        break;
    case COMMAND_READ:
        answered_read(server, asked.relay, value);
        break;
    case COMMAND_MYID:
        snprintf(server->node_id, sizeof server->node_id, "%.*s", (int)value->text.size, value->text.data);
        break;
    case COMMAND_LOADED:
        server->claiming = false;
        server->claimed = true;
        break;
    case COMMAND_HEALTH:
        answered_health(server, value->kind == REDIS_STRING ? value->text : SPAN_NONE);
        break;
    case COMMAND_NODES:
        nodes_listed(server->common->nodes, server, value);
        break;
    case COMMAND_NODE:
        nodes_told(server->common->nodes, server, asked.instance, value);
        break;
    }
}

/* --- probes --- */

void commands_fence(struct server *server)
{
    struct digits number;
    struct span digits = digits_of(&number, server->fence);
    char text[1 + sizeof number] = {WIRE_FENCE};
    memcpy(text + 1, digits.data, digits.size);
    const struct span words[] = {SPAN_LITERAL("PUBLISH"), span_of_text(server->probe_channel), {text, 1 + digits.size}};
    command_send(server, COMMAND_OTHER, NO_RELAY, 3, words);
}

void commands_probe(struct server *server)
{
    struct digits number;
    bool sharded = server->common->sharded;
    const struct span words[] = {sharded ? SPAN_LITERAL("SPUBLISH") : SPAN_LITERAL("PUBLISH"),
                                 span_of_text(server->probe_channel), digits_of(&number, server->probe)};
    command_send(server, sharded ? COMMAND_PROBE : COMMAND_OTHER, NO_RELAY, 3, words);
    send_info(server, SPAN_LITERAL("replication"));
    if (sharded) {
        const struct span health[] = {SPAN_LITERAL("CLUSTER"), SPAN_LITERAL("INFO")};
        command_send(server, COMMAND_HEALTH, NO_RELAY, 2, health);
    }
}
