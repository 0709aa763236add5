/*
 * figures: stat, shards and version.
 *
 * Rates and the delay are of the time between two looks: what `stat` showed before under --watch, else what it sees
 * when it looks again after a second.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/ask.h"
#include "cli/commands.h"
#include "cli/table.h"

#define COUNT(table) ((int)(sizeof(table) / sizeof *(table)))

static int64_t member(const json_t *record, const char *group, const char *name)
{
    return json_integer_value(json_object_get(group ? json_object_get(record, group) : record, name));
}

static void print_json(const json_t *value)
{
    json_dumpf(value, stdout, JSON_COMPACT);
    putchar('\n');
}

/* --- between two looks --- */

static double rate(const json_t *before, const json_t *now, const char *counter)
{
    double seconds = (double)(member(now, NULL, "time_ms") - member(before, NULL, "time_ms")) / 1000;
    int64_t grown = member(now, "counters", counter) - member(before, "counters", counter);
    return seconds > 0 && grown > 0 ? (double)grown / seconds : 0;
}

/* How often a value fell into the bucket that ends at `upper`. */
static int64_t bucket_count(const json_t *look, const char *name, int64_t upper)
{
    size_t index;
    json_t *bucket;
    json_array_foreach(json_object_get(json_object_get(look, name), "buckets"), index, bucket)
    {
        if (json_integer_value(json_array_get(bucket, 0)) == upper) {
            return json_integer_value(json_array_get(bucket, 1));
        }
    }
    return 0;
}

/* The delay that so many thousandths of the walks between the looks did not exceed; -1: there was none. */
static int64_t percentile(const json_t *before, const json_t *now, const char *name, int64_t thousandths)
{
    int64_t all = member(now, name, "count") - member(before, name, "count");
    int64_t seen = 0, upper = -1;
    size_t index;
    json_t *bucket;
    json_array_foreach(json_object_get(json_object_get(now, name), "buckets"), index, bucket)
    {
        upper = json_integer_value(json_array_get(bucket, 0));
        seen += json_integer_value(json_array_get(bucket, 1)) - bucket_count(before, name, upper);
        if (all > 0 && seen * 1000 >= all * thousandths) {
            return upper;
        }
    }
    return -1;
}

/* --- stat --- */

static void line(const char *name, const char *text)
{
    printf("%-14s %s\n", name, text);
}

static void line_rate(const char *name, const json_t *before, const json_t *now, const char *counter, const char *bytes)
{
    char total[TABLE_TEXT_MAX], a_second[TABLE_TEXT_MAX], volume[TABLE_TEXT_MAX], text[3 * TABLE_TEXT_MAX];
    snprintf(text, sizeof text, "%s/s, %s/s   (%s in all)", //
             text_number(a_second, (int64_t)(rate(before, now, counter) + 0.5)),
             text_bytes(volume, (int64_t)rate(before, now, bytes)),
             text_number(total, member(now, "counters", counter)));
    line(name, text);
}

static void line_delay(const json_t *before, const json_t *now)
{
    static const int64_t thousandths[] = {500, 900, 990, 1000};
    static const char *const names[] = {"p50", "p90", "p99", "max"};
    char text[256];
    size_t at = 0;
    text[0] = 0;
    for (int i = 0; i < 4; i++) {
        char us[TABLE_TEXT_MAX];
        int64_t value = percentile(before, now, "delay_us", thousandths[i]);
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%s %s", i ? "   " : "", names[i],
                               value < 0 ? "-" : text_us(us, value));
    }
    line("delay", text);
}

/* What an operator should know of, if there is any of it. */
static void lines_trouble(const json_t *now)
{
    static const char *const counters[] = {
        "slow_disconnects",          "reply_overflows",
        "messages_skipped",          "gaps_told",
        "heartbeat_timeouts",        "handshakes_timed_out",
        "protocol_errors",           "tokens_refused",
        "connections_refused_limit", "connections_refused_address",
        "publishes_refused",         "memory_refusals",
        "messages_timed_out",        "partial_refusals",
    };
    for (int i = 0; i < COUNT(counters); i++) {
        int64_t value = member(now, "counters", counters[i]);
        if (value > 0) {
            char number[TABLE_TEXT_MAX];
            printf("  %s %s\n", text_number(number, value), counters[i]);
        }
    }
}

static void stat_print(const json_t *before, const json_t *now)
{
    char a[TABLE_TEXT_MAX], b[TABLE_TEXT_MAX], c[TABLE_TEXT_MAX], d[TABLE_TEXT_MAX], text[6 * TABLE_TEXT_MAX];
    const char *status = json_string_value(json_object_get(now, "status"));
    snprintf(text, sizeof text, "%s, up %s, %lld shards", status ? status : "-",
             text_seconds(a, member(now, NULL, "uptime_s")), (long long)member(now, NULL, "shards"));
    line("broker", text);
    snprintf(text, sizeof text, "%s of %s (%s in handshake, %s with state)",
             text_number(a, member(now, "gauges", "connections")), text_number(b, member(now, NULL, "connections_max")),
             text_number(c, member(now, "gauges", "handshakes")), text_number(d, member(now, "gauges", "sessions")));
    line("connections", text);
    snprintf(text, sizeof text, "%s, %s behind", text_number(a, member(now, "gauges", "subscriptions")),
             text_number(b, member(now, "gauges", "cursors")));
    line("subscriptions", text);
    line("topics", text_number(a, member(now, "gauges", "topics")));
    line_rate("published", before, now, "publishes", "publish_bytes");
    line_rate("delivered", before, now, "deliveries", "delivery_bytes");
    line_delay(before, now);
    snprintf(text, sizeof text, "%s resident, %s of logs", text_bytes(a, member(now, "memory", "resident_bytes")),
             text_bytes(b, member(now, "memory", "chunk_bytes")));
    line("memory", text);
    double seconds = (double)(member(now, NULL, "time_ms") - member(before, NULL, "time_ms")) / 1000;
    double busy = (double)(member(now, NULL, "cpu_us") - member(before, NULL, "cpu_us")) / 1e4;
    printf("%-14s %.1f %% of one processor\n", "cpu", seconds > 0 ? busy / seconds : 0);
    lines_trouble(now);
}

int command_stat(const struct options *options)
{
    static json_t *before; /* what --watch showed last */
    json_t *now;
    int status = ask(options, "stat", "GET", "/v1/stats", &now);
    if (status == EXIT_DONE && options->json) {
        print_json(now);
        json_decref(now);
        return EXIT_DONE;
    }
    if (status == EXIT_DONE && !before) {
        before = now;
        nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
        status = ask(options, "stat", "GET", "/v1/stats", &now);
    }
    if (status == EXIT_DONE) {
        stat_print(before, now);
        json_decref(before);
        before = now;
    }
    if (status != EXIT_DONE || options->watch_s == 0) {
        json_decref(before);
        before = NULL;
    }
    return status;
}

/* --- shards --- */

static const struct column shard_columns[] = {
    {"SHARD", 5, true},     {"CONNS", 10, true},      {"FOLLOWS", 10, true},   {"BEHIND", 8, true},
    {"TOPICS", 10, true},   {"FEEDS", 10, true},      {"PUBLISHED", 13, true}, {"DELIVERED", 14, true},
    {"DELAY P99", 9, true}, {"WORST TURN", 10, true},
};

static void shard_row(const json_t *shard)
{
    static const char *const gauges[] = {"connections", "subscriptions", "cursors", "topics", "feeds"};
    const int count = COUNT(shard_columns);
    char text[TABLE_TEXT_MAX];
    table_number(shard_columns, count, 0, member(shard, NULL, "shard"));
    for (int i = 0; i < 5; i++) {
        table_number(shard_columns, count, 1 + i, member(shard, "gauges", gauges[i]));
    }
    table_number(shard_columns, count, 6, member(shard, "counters", "publishes"));
    table_number(shard_columns, count, 7, member(shard, "counters", "deliveries"));
    table_text(shard_columns, count, 8, text_us(text, member(shard, "delay_us", "p99")));
    table_text(shard_columns, count, 9, text_us(text, member(shard, "counters", "turn_us_worst")));
}

int command_shards(const struct options *options)
{
    json_t *answer;
    int status = ask(options, "shards", "GET", "/v1/shards", &answer);
    if (status == EXIT_DONE && !options->json) {
        table_head(shard_columns, COUNT(shard_columns));
    }
    size_t index;
    json_t *shard;
    json_array_foreach(json_object_get(answer, "shards"), index, shard)
    {
        if (options->json) {
            print_json(shard);
        } else {
            shard_row(shard);
        }
    }
    json_decref(answer);
    return status;
}

/* --- version --- */

static const char *word(const json_t *record, const char *name)
{
    const char *text = json_string_value(json_object_get(record, name));
    return text ? text : "-";
}

int command_version(const struct options *options)
{
    if (!options->json) {
        printf("shoal  %s\n", SHOAL_VERSION);
    }
    json_t *broker;
    int status = ask(options, "version", "GET", "/v1/version", &broker);
    if (status != EXIT_DONE) {
        return status;
    }
    if (options->json) {
        json_object_set_new(broker, "shoal", json_string(SHOAL_VERSION));
        print_json(broker);
    } else {
        printf("shoald %s (commit %s, %s build, %s) on %s, %s, data port %s\n", word(broker, "version"),
               word(broker, "commit"), word(broker, "build"), word(broker, "compiler"), word(broker, "node"),
               word(broker, "io"), word(broker, "data"));
    }
    json_decref(broker);
    return EXIT_DONE;
}
