/*
 * metrics: the statistics in Prometheus' text format (version 0.0.4). See routes.h.
 *
 * Written from the tables of base/stats.h: a counter NAME is shoal_NAME_total, a gauge shoal_NAME, each with a sample
 * a shard. Prometheus wants base units: what we count in us is told in seconds. A histogram has a bucket an octave,
 * though we keep four: a scrape is read by machines that hold each bucket of each shard as a series.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/memory.h"
#include "admin/routes.h"
#include "base/clock.h"
#include "base/logger.h"
#include "topic/chunk.h"

enum unit { UNIT_ONE, UNIT_US };

static void head(FILE *out, const char *name, const char *suffix, const char *type, const char *help)
{
    fprintf(out, "# HELP shoal_%s%s %s.\n# TYPE shoal_%s%s %s\n", name, suffix, help, name, suffix, type);
}

static void sample(FILE *out, const char *name, const char *suffix, uint32_t shard, uint64_t value)
{
    fprintf(out, "shoal_%s%s{shard=\"%u\"} %llu\n", name, suffix, shard, (unsigned long long)value);
}

/* One that is not a shard's. */
static void figure(FILE *out, const char *name, const char *type, const char *help, double value)
{
    fprintf(out, "# HELP %s %s\n# TYPE %s %s\n%s %.15g\n", name, help, name, type, name, value);
}

static void write_counters(FILE *out, const struct admin *admin)
{
#define WRITE(name, help)                                                                                              \
    if (strcmp(#name, "turn_us_worst") != 0) {                                                                         \
        head(out, #name, "_total", "counter", help);                                                                   \
        for (uint32_t i = 0; i < admin->shard_count; i++) {                                                            \
            sample(out, #name, "_total", i, STATS_READ(admin->broker.stats[i], name));                                 \
        }                                                                                                              \
    }
    STATS_COUNTERS(WRITE)
#undef WRITE
    head(out, "turn_worst_seconds", "", "gauge", "Longest turn since the start, without waiting");
    for (uint32_t i = 0; i < admin->shard_count; i++) {
        fprintf(out, "shoal_turn_worst_seconds{shard=\"%u\"} %.6f\n", i,
                (double)STATS_READ(admin->broker.stats[i], turn_us_worst) / 1e6);
    }
}

static void write_gauges(FILE *out, const struct admin *admin)
{
#define WRITE(name, help)                                                                                              \
    head(out, #name, "", "gauge", help);                                                                               \
    for (uint32_t i = 0; i < admin->shard_count; i++) {                                                                \
        sample(out, #name, "", i, STATS_READ(admin->broker.stats[i], name));                                           \
    }
    STATS_GAUGES(WRITE)
#undef WRITE
}

/* The buckets are cumulative; a value is at most the last whole one before the next octave. */
static void write_histogram(FILE *out, const char *name, uint32_t shard, const struct histogram *histogram,
                            enum unit unit)
{
    double scale = unit == UNIT_US ? 1e-6 : 1;
    double edge = unit == UNIT_US ? 1 : 0; /* us are cut off: 4095 stands for all below 4096 */
    uint64_t seen = 0;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram_count(histogram, i);
        if (i % 4 == 3) {
            fprintf(out, "shoal_%s_bucket{shard=\"%u\",le=\"%.10g\"} %llu\n", name, shard,
                    (histogram_upper(i) + edge) * scale, (unsigned long long)seen);
        }
    }
    fprintf(out, "shoal_%s_bucket{shard=\"%u\",le=\"+Inf\"} %llu\n", name, shard, (unsigned long long)seen);
    fprintf(out, "shoal_%s_sum{shard=\"%u\"} %.10g\n", name, shard,
            (double)atomic_load_explicit(&histogram->sum, memory_order_relaxed) * scale);
    fprintf(out, "shoal_%s_count{shard=\"%u\"} %llu\n", name, shard, (unsigned long long)seen);
}

static void write_histograms(FILE *out, const struct admin *admin)
{
    head(out, "delivery_delay_seconds", "", "histogram",
         "From a publish to the last send of the walk that delivers it, a walk");
    for (uint32_t i = 0; i < admin->shard_count; i++) {
        write_histogram(out, "delivery_delay_seconds", i, &admin->broker.stats[i]->delay_us, UNIT_US);
    }
    head(out, "fan_out_subscribers", "", "histogram", "Subscribers of a topic or filter on a shard, a walk");
    for (uint32_t i = 0; i < admin->shard_count; i++) {
        write_histogram(out, "fan_out_subscribers", i, &admin->broker.stats[i]->fan_out, UNIT_ONE);
    }
}

static void write_memory(FILE *out)
{
    struct memory_figures figures;
    memory_read(&figures);
    figure(out, "process_resident_memory_bytes", "gauge", "Resident memory of the process.",
           (double)figures.resident_bytes);
    figure(out, "shoal_chunks", "gauge", "Chunks of logs in memory.", (double)chunk_count_in_use());
    figure(out, "shoal_chunk_bytes", "gauge", "Bytes that these take.", (double)chunk_bytes_in_use());
    if (!figures.jemalloc) {
        return;
    }
    figure(out, "shoal_allocator_allocated_bytes", "gauge", "Bytes that the program has from jemalloc.",
           (double)figures.allocated);
    figure(out, "shoal_allocator_active_bytes", "gauge", "Bytes of pages with something of these.",
           (double)figures.active);
    figure(out, "shoal_allocator_metadata_bytes", "gauge", "Bytes that jemalloc takes for itself.",
           (double)figures.metadata);
    figure(out, "shoal_allocator_resident_bytes", "gauge", "Resident bytes of jemalloc's mappings.",
           (double)figures.resident);
    figure(out, "shoal_allocator_mapped_bytes", "gauge", "Bytes of jemalloc's mappings in use.",
           (double)figures.mapped);
    figure(out, "shoal_allocator_retained_bytes", "gauge", "Bytes given back whose addresses are kept.",
           (double)figures.retained);
}

static void write_process(FILE *out, const struct admin *admin)
{
    uint32_t stuck;
    figure(out, "shoal_ready", "gauge", "Whether /readyz says yes.", admin_is_ready(admin));
    figure(out, "shoal_alive", "gauge", "Whether /healthz says yes.", admin_is_alive(admin, &stuck));
    figure(out, "shoal_shards", "gauge", "Shards.", admin->shard_count);
    figure(out, "shoal_connections_max", "gauge", "Connections that there is room for.",
           (double)admin->broker.connections_max);
    figure(out, "shoal_log_lines_dropped_total", "counter", "Log lines dropped because their reader had stopped.",
           (double)logger_dropped());
    figure(out, "process_cpu_seconds_total", "counter", "CPU time of the process.", (double)memory_cpu_us() / 1e6);
    figure(out, "process_start_time_seconds", "gauge", "When the broker started, since 1970.",
           (double)admin->started_ms / 1e3);
    fprintf(out,
            "# HELP shoal_build_info What was built.\n# TYPE shoal_build_info gauge\n"
            "shoal_build_info{version=\"%s\",commit=\"%s\",build=\"%s\",compiler=\"%s\",io=\"%s\"} 1\n",
            admin->build.version, admin->build.commit, admin->build.type, admin->build.compiler, admin->broker.io_name);
}

void metrics_answer(struct request *request, const char *rest)
{
    (void)rest;
    FILE *out = open_memstream(&request->body, &request->body_size);
    if (!out) {
        request_answer_json(request, MHD_HTTP_OK, NULL);
        return;
    }
    write_process(out, request->admin);
    write_memory(out);
    write_gauges(out, request->admin);
    write_counters(out, request->admin);
    write_histograms(out, request->admin);
    bool all = !request->admin->broker.link || federation_metrics(out, request->admin->broker.link);
    all &= fclose(out) == 0;
    if (!all) {
        free(request->body);
        request_answer_json(request, MHD_HTTP_OK, NULL);
        return;
    }
    request->content_type = "text/plain; version=0.0.4; charset=utf-8";
    request->status = MHD_HTTP_OK;
    request->answered = true;
}
