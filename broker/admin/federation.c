/*
 * federation: what the admin port tells of the link to other hosts: readiness, /v1/cluster, and metrics. See routes.h.
 *
 * All of it comes from the link's report (cluster/report.h) and counters; no Redis server is asked.
 */
#include <stdlib.h>
#include <string.h>

#include "admin/routes.h"
#include "cluster/link.h"
#include "cluster/link_stats.h"
#include "cluster/report.h"
#include "cluster/slots.h"

/* --- readiness --- */

static const char *const readiness_names[] = {"starting", "ready", "draining"};

const char *admin_status(const struct admin *admin, char why[ADMIN_REASON_MAX])
{
    int readiness = atomic_load_explicit(&admin->readiness, memory_order_relaxed);
    why[0] = 0;
    if (readiness == ADMIN_READY && admin->broker.link && !link_is_ready(admin->broker.link, why, ADMIN_REASON_MAX)) {
        return "federation";
    }
    return readiness_names[readiness];
}

bool admin_is_ready(const struct admin *admin)
{
    char why[ADMIN_REASON_MAX];
    return strcmp(admin_status(admin, why), readiness_names[ADMIN_READY]) == 0;
}

/* --- JSON --- */

/* What is told in us or ms; null where there is none. */
static json_t *time_json(int64_t us, int64_t us_each)
{
    return us < 0 ? json_null() : json_integer((json_int_t)(us / us_each));
}

/* NULL: no memory; so of those that follow. */
static json_t *server_json(const struct link_report_server *server)
{
    json_t *out = json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:s, s:s, s:s, s:s, s:s, s:b}", //
                            "server", server->name,                                         //
                            "address", server->address,                                     //
                            "master", server->master,                                       //
                            "sentinel", server->sentinel,                                   //
                            "state", server_state_name(server->state),                      //
                            "complete", server->complete,                                   //
                            "role", server->role,                                           //
                            "version", server->version,                                     //
                            "run_id", server->run_id,                                       //
                            "generation", server->generation,                               //
                            "problem", server->reason,                                      //
                            "blocked", server->blocked);
    json_object_set_new(out, "state_ms", time_json(server->state_us, 1000));
    json_object_set_new(out, "retry_ms",
                        server->state == SERVER_AWAY ? time_json(server->retry_us, 1000) : json_null());
    json_object_set_new(out, "probe_age_ms", time_json(server->probe_age_us, 1000));
    json_object_set_new(out, "round_trip_us", time_json(server->round_trip_us, 1));
    json_object_set_new(out, "answer_age_ms", time_json(server->answer_age_us, 1000));
#define FIGURE(name) json_object_set_new(out, #name, json_integer((json_int_t)server->name))
    FIGURE(topics);
    FIGURE(subscriptions);
    FIGURE(subscriptions_left);
    FIGURE(backlog);
    FIGURE(backlog_bytes);
    FIGURE(relayed);
    FIGURE(arrived);
    FIGURE(failures);
    FIGURE(slots);
#undef FIGURE
    return out;
}

static json_t *node_json(const struct link_report_node *node)
{
    char instance[17];
    snprintf(instance, sizeof instance, "%016llx", (unsigned long long)node->instance);
    json_t *out = json_pack("{s:s, s:s, s:s, s:s, s:b, s:I, s:I, s:I, s:I}", //
                            "instance", instance,                            //
                            "name", node->name,                              //
                            "address", node->address,                        //
                            "version", node->version,                        //
                            "self", node->self,                              //
                            "connections", (json_int_t)node->connections,    //
                            "topics", (json_int_t)node->topics,              //
                            "filters", (json_int_t)node->filters,            //
                            "uptime_s", (json_int_t)node->uptime_s);
    if (!out) { /* a name that is no UTF-8: of something that is no Shoal */
        out = json_pack("{s:s, s:s}", "instance", instance, "name", "?");
    }
    json_object_set_new(out, "seen_ms", time_json(node->seen_us, 1000));
    json_object_set_new(out, "servers", json_integer((json_int_t)__builtin_popcountll(node->servers)));
    return out;
}

static json_t *counters_json(const struct link_stats *stats)
{
    json_t *out = json_object();
#define ADD(name, help) json_object_set_new(out, #name, json_integer((json_int_t)STATS_READ(stats, name)));
    LINK_COUNTERS(ADD)
    LINK_GAUGES(ADD)
#undef ADD
    return out;
}

/* To be freed. */
static struct link_report *report_of(const struct link *link)
{
    struct link_report *report = malloc(sizeof *report);
    if (report) {
        link_report(link, report);
    }
    return report;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct link_report_node *)a)->name, ((const struct link_report_node *)b)->name);
}

/* Of a Redis Cluster: which of its nodes has told the map of slots, and how whole it is. */
static json_t *map_json(const struct link_report *report)
{
    json_t *out = json_pack("{s:I, s:I, s:s, s:s}",                       //
                            "slots", (json_int_t)SLOTS,                   //
                            "covered", (json_int_t)report->slots_covered, //
                            "from", report->map_from,                     //
                            "problem", report->map_problem);
    json_object_set_new(out, "age_ms", time_json(report->map_age_us, 1000));
    return out;
}

static json_t *cluster_json(const struct link *link)
{
    struct link_report *report = report_of(link);
    if (!report) {
        return NULL;
    }
    qsort(report->nodes, report->node_count, sizeof *report->nodes, by_name);
    json_t *servers = json_array();
    json_t *nodes = json_array();
    bool all = true;
    for (uint32_t i = 0; i < report->server_count; i++) {
        all &= json_array_append_new(servers, server_json(&report->servers[i])) == 0;
    }
    for (uint32_t i = 0; i < report->node_count; i++) {
        all &= json_array_append_new(nodes, node_json(&report->nodes[i])) == 0;
    }
    char why[LINK_REASON_MAX];
    bool ready = link_is_ready(link, why, sizeof why); /* not the report's, which is a moment older */
    json_t *out = json_pack("{s:b, s:b, s:s, s:I, s:I, s:o, s:I, s:o, s:o}", //
                            "enabled", true,                                 //
                            "ready", ready,                                  //
                            "reason", ready ? "" : why,                      //
                            "topics", (json_int_t)report->topics,            //
                            "filters", (json_int_t)report->filters,          //
                            "nodes", nodes,                                  //
                            "nodes_more", (json_int_t)report->nodes_more,    //
                            "servers", servers,                              //
                            "figures", counters_json(link_stats(link)));
    if (report->sharded) {
        all &= json_object_set_new(out, "map", map_json(report)) == 0;
    }
    free(report);
    if (!all) {
        json_decref(out);
        return NULL;
    }
    return out;
}

void federation_cluster(struct request *request, const char *rest)
{
    (void)rest;
    const struct link *link = request->admin->broker.link;
    request_answer_json(request, MHD_HTTP_OK,
                        link ? cluster_json(link)
                             : json_pack("{s:b, s:[], s:[]}", "enabled", false, "nodes", "servers"));
}

/* --- metrics --- */

static void write_figures(FILE *out, const struct link_stats *stats)
{
#define COUNTER(name, help)                                                                                            \
    fprintf(out,                                                                                                       \
            "# HELP shoal_link_" #name "_total " help ".\n# TYPE shoal_link_" #name "_total counter\n"                 \
            "shoal_link_" #name "_total %llu\n",                                                                       \
            (unsigned long long)STATS_READ(stats, name));
#define GAUGE(name, help)                                                                                              \
    fprintf(out,                                                                                                       \
            "# HELP shoal_link_" #name " " help ".\n# TYPE shoal_link_" #name " gauge\nshoal_link_" #name " %llu\n",   \
            (unsigned long long)STATS_READ(stats, name));
    LINK_COUNTERS(COUNTER)
    LINK_GAUGES(GAUGE)
#undef COUNTER
#undef GAUGE
}

/* One figure of each server, as a double. */
struct server_metric {
    const char *name;
    const char *type;
    const char *help;
    double (*value)(const struct link_report_server *server);
};

#define VALUE_OF(name, expression)                                                                                     \
    static double name(const struct link_report_server *server)                                                        \
    {                                                                                                                  \
        return (double)(expression);                                                                                   \
    }
VALUE_OF(up_of, server->state == SERVER_UP)
VALUE_OF(complete_of, server->complete)
VALUE_OF(round_trip_of, server->round_trip_us < 0 ? -1 : (double)server->round_trip_us / 1e6)
VALUE_OF(probe_age_of, server->probe_age_us < 0 ? -1 : (double)server->probe_age_us / 1e6)
VALUE_OF(answer_age_of, (double)server->answer_age_us / 1e6)
VALUE_OF(subscriptions_of, server->subscriptions)
VALUE_OF(left_of, server->subscriptions_left)
VALUE_OF(backlog_of, server->backlog)
VALUE_OF(backlog_bytes_of, server->backlog_bytes)
VALUE_OF(relayed_of, server->relayed)
VALUE_OF(arrived_of, server->arrived)
VALUE_OF(failures_of, server->failures)

static const struct server_metric server_metrics[] = {
    {"up", "gauge", "Whether the Redis server is in service: proved by a probe", up_of},
    {"complete", "gauge", "Whether all that is wanted of it is subscribed", complete_of},
    {"round_trip_seconds", "gauge", "Round trip of the last probe, -1: none yet", round_trip_of},
    {"probe_age_seconds", "gauge", "Since the last probe that came back, -1: none yet", probe_age_of},
    {"answer_age_seconds", "gauge", "How long the oldest command waits for its answer", answer_age_of},
    {"subscriptions", "gauge", "Topics and filters confirmed", subscriptions_of},
    {"subscriptions_left", "gauge", "Topics and filters still to be subscribed", left_of},
    {"backlog", "gauge", "Messages and fetches on their way to it", backlog_of},
    {"backlog_bytes", "gauge", "Bytes of these", backlog_bytes_of},
    {"relayed_total", "counter", "Messages that it has taken", relayed_of},
    {"arrived_total", "counter", "Messages that came from it", arrived_of},
    {"failures_total", "counter", "Times that it was given up", failures_of},
};

/* The number tells servers apart that differ by their database alone. */
static void write_servers(FILE *out, const struct link_report *report)
{
    for (size_t m = 0; m < sizeof server_metrics / sizeof *server_metrics; m++) {
        const struct server_metric *metric = &server_metrics[m];
        fprintf(out, "# HELP shoal_redis_%s %s.\n# TYPE shoal_redis_%s %s\n", metric->name, metric->help, metric->name,
                metric->type);
        for (uint32_t i = 0; i < report->server_count; i++) {
            fprintf(out, "shoal_redis_%s{server=\"%u\",address=\"%s\"} %.15g\n", metric->name,
                    report->servers[i].number + 1, report->servers[i].name, metric->value(&report->servers[i]));
        }
    }
}

bool federation_metrics(FILE *out, const struct link *link)
{
    struct link_report *report = report_of(link);
    if (!report) {
        return false;
    }
    write_figures(out, link_stats(link));
    write_servers(out, report);
    free(report);
    return true;
}
