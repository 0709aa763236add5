/*
 * cluster: the Redis servers that federate this broker with others, and the hosts that it knows by them. See
 * commands.h.
 *
 * All of it is what this broker's link sees: another host may see a server that is away from here.
 */
#include <stdio.h>
#include <string.h>

#include "cli/ask.h"
#include "cli/commands.h"
#include "cli/table.h"

#define COUNT(table) ((int)(sizeof(table) / sizeof *(table)))

static int64_t number_of(const json_t *record, const char *name)
{
    return json_integer_value(json_object_get(record, name));
}

static const char *text_of(const json_t *record, const char *name)
{
    const char *text = json_string_value(json_object_get(record, name));
    return text && text[0] ? text : "-";
}

/* A time that is null where there is none. */
static const char *time_of(char out[TABLE_TEXT_MAX], const json_t *record, const char *name, int64_t us_each)
{
    const json_t *time = json_object_get(record, name);
    return json_is_integer(time) ? text_us(out, json_integer_value(time) * us_each) : "-";
}

/* --- servers --- */

static const struct column server_columns[] = {
    {"STATE", 6, false},   {"ROUND TRIP", 10, true}, {"PROBED", 9, true},  {"SUBSCRIBED", 12, true},
    {"LEFT", 10, true},    {"BACKLOG", 9, true},     {"BYTES", 8, true},   {"RELAYED", 12, true},
    {"ARRIVED", 12, true}, {"FAILED", 6, true},      {"SERVER", 0, false},
};

static bool is_up(const json_t *server)
{
    return strcmp(text_of(server, "state"), "up") == 0;
}

/* "10.0.0.7:6379", or what a sentinel says of a master: "10.0.0.7:6379 (mymaster by sentinel 10.0.0.1:26379)". */
static void place_print(const json_t *server)
{
    const char *sentinel = text_of(server, "sentinel");
    if (strcmp(sentinel, "-") == 0) {
        table_text(server_columns, COUNT(server_columns), 10, text_of(server, "server"));
        return;
    }
    char text[3 * 256];
    snprintf(text, sizeof text, "%s (%s by sentinel %s)", text_of(server, "address"), text_of(server, "master"),
             sentinel);
    table_text(server_columns, COUNT(server_columns), 10, text);
}

static void server_row(const json_t *server)
{
    const int count = COUNT(server_columns);
    char text[TABLE_TEXT_MAX];
    table_text(server_columns, count, 0, text_of(server, "state"));
    table_text(server_columns, count, 1, time_of(text, server, "round_trip_us", 1));
    table_text(server_columns, count, 2, time_of(text, server, "probe_age_ms", 1000));
    table_number(server_columns, count, 3, number_of(server, "subscriptions"));
    table_number(server_columns, count, 4, number_of(server, "subscriptions_left"));
    table_number(server_columns, count, 5, number_of(server, "backlog"));
    table_text(server_columns, count, 6, text_bytes(text, number_of(server, "backlog_bytes")));
    table_number(server_columns, count, 7, number_of(server, "relayed"));
    table_number(server_columns, count, 8, number_of(server, "arrived"));
    table_number(server_columns, count, 9, number_of(server, "failures"));
    place_print(server);
    if (!is_up(server)) {
        printf("        %s\n", text_of(server, "problem"));
    }
}

/* --- nodes --- */

static const struct column node_columns[] = {{"NODE", 24, false},       {"ADDRESS", 24, false}, {"VERSION", 8, false},
                                             {"CONNECTIONS", 11, true}, {"SEEN", 9, true},      {"", 0, false}};

static void node_row(const json_t *node)
{
    const int count = COUNT(node_columns);
    char text[TABLE_TEXT_MAX];
    table_text(node_columns, count, 0, text_of(node, "name"));
    table_text(node_columns, count, 1, text_of(node, "address"));
    table_text(node_columns, count, 2, text_of(node, "version"));
    table_number(node_columns, count, 3, number_of(node, "connections"));
    table_text(node_columns, count, 4, time_of(text, node, "seen_ms", 1000));
    table_text(node_columns, count, 5, json_is_true(json_object_get(node, "self")) ? "(this one)" : "");
}

/* --- both --- */

static void rows(const json_t *list, const struct column *columns, int count, void (*row)(const json_t *record))
{
    size_t index;
    json_t *record;
    putchar('\n');
    table_head(columns, count);
    json_array_foreach(list, index, record)
    {
        row(record);
    }
}

/* Of a Redis Cluster; there is none else. */
static void map_print(const json_t *map)
{
    char text[TABLE_TEXT_MAX];
    if (map) {
        printf("slots       %lld of %lld, as %s told %s ago\n", (long long)number_of(map, "covered"),
               (long long)number_of(map, "slots"), text_of(map, "from"), time_of(text, map, "age_ms", 1000));
    }
}

static void cluster_print(const json_t *cluster)
{
    if (!json_is_true(json_object_get(cluster, "enabled"))) {
        puts("This broker stands alone: cluster.redis is empty.");
        return;
    }
    bool ready = json_is_true(json_object_get(cluster, "ready"));
    printf("federation  %s%s\n", ready ? "ready" : "not ready: ", ready ? "" : text_of(cluster, "reason"));
    map_print(json_object_get(cluster, "map"));
    rows(json_object_get(cluster, "servers"), server_columns, COUNT(server_columns), server_row);
    rows(json_object_get(cluster, "nodes"), node_columns, COUNT(node_columns), node_row);
}

int command_cluster(const struct options *options)
{
    json_t *cluster;
    int status = ask(options, "cluster", "GET", "/v1/cluster", &cluster);
    if (status == EXIT_DONE && options->json) {
        json_dumpf(cluster, stdout, JSON_COMPACT);
        putchar('\n');
    } else if (status == EXIT_DONE) {
        cluster_print(cluster);
    }
    json_decref(cluster);
    return status;
}
