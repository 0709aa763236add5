/*
 * report: the shards' statistics as JSON, and what /healthz and /readyz say. See routes.h.
 *
 * Histograms are told as percentiles since the start, and as their buckets ([largest value, count], empty ones left
 * out), so that who looks again can tell the percentiles of the time between.
 */
#include <stdlib.h>
#include <string.h>

#include "admin/memory.h"
#include "admin/routes.h"
#include "base/clock.h"
#include "base/logger.h"
#include "protocol/dialect.h"
#include "topic/chunk.h"

/* --- health --- */

void report_health(struct request *request, const char *rest)
{
    (void)rest;
    uint32_t stuck;
    if (admin_is_alive(request->admin, &stuck)) {
        request_answer_json(request, MHD_HTTP_OK, json_pack("{s:s}", "status", "ok"));
    } else {
        request_answer_json(request, MHD_HTTP_SERVICE_UNAVAILABLE,
                            json_pack("{s:s, s:i}", "status", "stuck", "shard", (int)stuck));
    }
}

void report_readiness(struct request *request, const char *rest)
{
    (void)rest;
    char why[ADMIN_REASON_MAX];
    const char *status = admin_status(request->admin, why);
    json_t *body = json_pack("{s:s}", "status", status);
    if (why[0]) {
        json_object_set_new(body, "reason", json_string(why));
    }
    bool ready = strcmp(status, "ready") == 0;
    request_answer_json(request, ready ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, body);
}

/* --- figures --- */

struct distribution {
    uint64_t count;
    uint64_t sum;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

static void distribution_add(struct distribution *all, const struct histogram *histogram)
{
    all->sum += atomic_load_explicit(&histogram->sum, memory_order_relaxed);
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        uint64_t count = histogram_count(histogram, i);
        all->buckets[i] += count;
        all->count += count;
    }
}

/* The value that so many thousandths do not exceed; 0: there are none. */
static uint64_t percentile(const struct distribution *all, uint32_t thousandths)
{
    uint64_t rank = (all->count * thousandths + 999) / 1000;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS && all->count; i++) {
        seen += all->buckets[i];
        if (seen >= rank) {
            return histogram_upper(i);
        }
    }
    return 0;
}

static json_t *distribution_json(const struct distribution *all)
{
    json_t *buckets = json_array();
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        if (all->buckets[i]) {
            json_array_append_new(buckets,
                                  json_pack("[I, I]", (json_int_t)histogram_upper(i), (json_int_t)all->buckets[i]));
        }
    }
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:o}",    //
                     "count", (json_int_t)all->count,          //
                     "sum", (json_int_t)all->sum,              //
                     "p50", (json_int_t)percentile(all, 500),  //
                     "p90", (json_int_t)percentile(all, 900),  //
                     "p99", (json_int_t)percentile(all, 990),  //
                     "max", (json_int_t)percentile(all, 1000), //
                     "buckets", buckets);
}

/* A table's figures, summed over the shards from `first` on. The longest turn is the longest, not the sum. */
static void figures_add(json_t *out, const struct admin *admin, uint32_t first, uint32_t count)
{
    json_t *gauges = json_object();
    json_t *counters = json_object();
    uint64_t sum;
#define SUM(name)                                                                                                      \
    sum = 0;                                                                                                           \
    for (uint32_t i = first; i < first + count; i++) {                                                                 \
        uint64_t value = STATS_READ(admin->broker.stats[i], name);                                                     \
        sum = strcmp(#name, "turn_us_worst") == 0 ? (value > sum ? value : sum) : sum + value;                         \
    }
#define ADD_GAUGE(name, help)   SUM(name) json_object_set_new(gauges, #name, json_integer((json_int_t)sum));
#define ADD_COUNTER(name, help) SUM(name) json_object_set_new(counters, #name, json_integer((json_int_t)sum));
    STATS_GAUGES(ADD_GAUGE)
    STATS_COUNTERS(ADD_COUNTER)
    json_object_set_new(out, "gauges", gauges);
    json_object_set_new(out, "counters", counters);
#define ADD_HISTOGRAM(name, unit, help)                                                                                \
    {                                                                                                                  \
        struct distribution all = {0};                                                                                 \
        for (uint32_t i = first; i < first + count; i++) {                                                             \
            distribution_add(&all, &admin->broker.stats[i]->name);                                                     \
        }                                                                                                              \
        json_object_set_new(out, #name, distribution_json(&all));                                                      \
    }
    STATS_HISTOGRAMS(ADD_HISTOGRAM)
}

static json_t *memory_json(void)
{
    struct memory_figures figures;
    memory_read(&figures);
    json_t *memory = json_pack("{s:I, s:I, s:I}", "resident_bytes", (json_int_t)figures.resident_bytes, "chunks",
                               (json_int_t)chunk_count_in_use(), "chunk_bytes", (json_int_t)chunk_bytes_in_use());
    if (figures.jemalloc) {
        json_object_set_new(memory, "allocator",
                            json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "allocated", (json_int_t)figures.allocated,
                                      "active", (json_int_t)figures.active, "metadata", (json_int_t)figures.metadata,
                                      "resident", (json_int_t)figures.resident, "mapped", (json_int_t)figures.mapped,
                                      "retained", (json_int_t)figures.retained));
    }
    return memory;
}

void report_stats(struct request *request, const char *rest)
{
    (void)rest;
    const struct admin *admin = request->admin;
    int64_t now_ms = clock_of_host.wall_ms(&clock_of_host);
    char why[ADMIN_REASON_MAX];
    json_t *body = json_pack("{s:I, s:I, s:s, s:i, s:I, s:I, s:o}",                         //
                             "time_ms", (json_int_t)now_ms,                                 //
                             "uptime_s", (json_int_t)((now_ms - admin->started_ms) / 1000), //
                             "status", admin_status(admin, why),                            //
                             "shards", (int)admin->shard_count,                             //
                             "connections_max", (json_int_t)admin->broker.connections_max,  //
                             "cpu_us", (json_int_t)memory_cpu_us(),                         //
                             "memory", memory_json());
    figures_add(body, admin, 0, admin->shard_count);
    request_answer_json(request, MHD_HTTP_OK, body);
}

void report_shards(struct request *request, const char *rest)
{
    (void)rest;
    const struct admin *admin = request->admin;
    json_t *list = json_array();
    for (uint32_t i = 0; i < admin->shard_count; i++) {
        json_t *shard = json_pack("{s:i}", "shard", (int)i);
        figures_add(shard, admin, i, 1);
        json_array_append_new(list, shard);
    }
    int64_t now_ms = clock_of_host.wall_ms(&clock_of_host);
    request_answer_json(request, MHD_HTTP_OK, json_pack("{s:I, s:o}", "time_ms", (json_int_t)now_ms, "shards", list));
}

void report_version(struct request *request, const char *rest)
{
    (void)rest;
    const struct admin *admin = request->admin;
    json_t *dialects = json_array();
    for (int id = 0; id < DIALECT_COUNT; id++) {
        if (dialect_of((enum dialect_id)id)) {
            json_array_append_new(dialects, json_string(dialect_of((enum dialect_id)id)->name));
        }
    }
    request_answer_json(request, MHD_HTTP_OK,
                        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:o}", //
                                  "server", "shoald",                                        //
                                  "version", admin->build.version,                           //
                                  "commit", admin->build.commit,                             //
                                  "build", admin->build.type,                                //
                                  "compiler", admin->build.compiler,                         //
                                  "node", admin->node,                                       //
                                  "data", admin->broker.data_address,                        //
                                  "admin", admin->address,                                   //
                                  "io", admin->broker.io_name,                               //
                                  "tokens", admin->broker.tokens,                            //
                                  "dialects", dialects));
}
