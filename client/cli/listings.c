/* listings: topics, filters and connections, as the admin port lists them. See commands.h. */
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
    return text ? text : "-";
}

static void print_json(json_t *record, void *context)
{
    (void)context;
    json_dumpf(record, stdout, JSON_COMPACT);
    putchar('\n');
}

/* A listing as lines of JSON, or as a table. */
static int list(const struct options *options, const char *command, const char *path, const char *name,
                const struct column *columns, int count, void (*row)(json_t *record, void *context))
{
    if (options->json) {
        return ask_list(options, command, path, name, print_json, NULL);
    }
    table_head(columns, count);
    return ask_list(options, command, path, name, row, NULL);
}

/* --- topics --- */

static const struct column topic_columns[] = {{"OFFSET", 12, true},   {"HISTORY", 10, true}, {"BYTES", 8, true},
                                              {"FOLLOWERS", 9, true}, {"SHARD", 5, true},    {"NAMESPACE", 10, false},
                                              {"TOPIC", 0, false}};

static void topic_row(json_t *record, void *context)
{
    (void)context;
    const int count = COUNT(topic_columns);
    char bytes[TABLE_TEXT_MAX];
    table_number(topic_columns, count, 0, number_of(record, "offset"));
    table_number(topic_columns, count, 1, number_of(record, "history_messages"));
    table_text(topic_columns, count, 2, text_bytes(bytes, number_of(record, "history_bytes")));
    table_number(topic_columns, count, 3, number_of(record, "followers"));
    table_number(topic_columns, count, 4, number_of(record, "shard"));
    table_text(topic_columns, count, 5, text_of(record, "namespace"));
    table_text(topic_columns, count, 6, text_of(record, "topic"));
}

int command_topics(const struct options *options)
{
    return list(options, "topics", "/v1/topics", "topics", topic_columns, COUNT(topic_columns), topic_row);
}

/* --- filters, and what a shard has of a topic --- */

static const struct column feed_columns[] = {{"SUBSCRIBERS", 11, true}, {"BEHIND", 8, true},  {"TAIL", 12, true},
                                             {"SHARD", 5, true},        {"LANES", 16, false}, {"NAME", 0, false}};

static const char *lanes_text(char *out, size_t room, const json_t *record)
{
    size_t index, at = 0;
    json_t *lane;
    out[0] = 0;
    json_array_foreach(json_object_get(record, "lanes"), index, lane)
    {
        int size = snprintf(out + at, room - at, "%s%s", index ? "," : "", json_string_value(lane));
        at += (size_t)size < room - at ? (size_t)size : room - at - 1;
    }
    return out;
}

static void feed_row(json_t *record, void *context)
{
    (void)context;
    const int count = COUNT(feed_columns);
    char lanes[128];
    table_number(feed_columns, count, 0, number_of(record, "subscribers"));
    table_number(feed_columns, count, 1, number_of(record, "behind"));
    table_number(feed_columns, count, 2, number_of(record, "tail"));
    table_number(feed_columns, count, 3, number_of(record, "shard"));
    table_text(feed_columns, count, 4, lanes_text(lanes, sizeof lanes, record));
    table_text(feed_columns, count, 5, text_of(record, "name"));
}

int command_filters(const struct options *options)
{
    return list(options, "filters", "/v1/filters", "filters", feed_columns, COUNT(feed_columns), feed_row);
}

/* --- one topic --- */

static int64_t subscribers_of(const json_t *topic)
{
    int64_t sum = 0;
    size_t index;
    json_t *feed;
    json_array_foreach(json_object_get(topic, "feeds"), index, feed)
    {
        sum += number_of(feed, "subscribers");
    }
    return sum;
}

static void topic_print(const json_t *topic)
{
    char number[TABLE_TEXT_MAX], bytes[TABLE_TEXT_MAX];
    printf("topic        %s\n", text_of(topic, "topic"));
    if (json_object_get(topic, "epoch")) {
        printf("position     %s:%lld\n", text_of(topic, "epoch"), (long long)number_of(topic, "offset"));
        printf("owner        shard %lld, namespace %s\n", (long long)number_of(topic, "shard"),
               text_of(topic, "namespace"));
        printf("history      %s messages, %s\n", text_number(number, number_of(topic, "history_messages")),
               text_bytes(bytes, number_of(topic, "history_bytes")));
        printf("held         %s publishers wait for slow fan-out\n", text_number(number, number_of(topic, "held")));
    }
    printf("subscribers  %s\n", text_number(number, subscribers_of(topic)));
    size_t index;
    json_t *feed;
    json_array_foreach(json_object_get(topic, "feeds"), index, feed)
    {
        if (index == 0) {
            putchar('\n');
            table_head(feed_columns, COUNT(feed_columns));
        }
        feed_row(feed, NULL);
    }
}

int command_topic(const struct options *options)
{
    char path[1100];
    json_t *topic;
    if (strlen(options->arguments[0]) > 255) {
        return fail(EXIT_USAGE, "topic", "a topic has at most 255 bytes");
    }
    snprintf(path, sizeof path, "/v1/topics/%s", ask_encoded(options->arguments[0]));
    int status = ask(options, "topic", "GET", path, &topic);
    if (status == EXIT_DONE && options->json) {
        print_json(topic, NULL);
    } else if (status == EXIT_DONE) {
        topic_print(topic);
    }
    json_decref(topic);
    return status;
}

/* --- connections --- */

static const struct column conn_columns[] = {{"ID", 14, false},    {"STATE", 9, false},    {"DIALECT", 7, false},
                                             {"FOLLOWS", 7, true}, {"BEHIND", 6, true},    {"SILENT", 8, true},
                                             {"TO SEND", 8, true}, {"ADDRESS", 21, false}, {"IDENTITY", 0, false}};

static void conn_row(json_t *record, void *context)
{
    (void)context;
    const int count = COUNT(conn_columns);
    char text[TABLE_TEXT_MAX];
    table_text(conn_columns, count, 0, text_of(record, "id"));
    table_text(conn_columns, count, 1, text_of(record, "state"));
    table_text(conn_columns, count, 2, text_of(record, "dialect"));
    table_number(conn_columns, count, 3, number_of(record, "subscriptions"));
    table_number(conn_columns, count, 4, number_of(record, "behind"));
    table_text(conn_columns, count, 5, text_seconds(text, number_of(record, "silent_s")));
    table_text(conn_columns, count, 6, text_bytes(text, number_of(record, "waiting_bytes")));
    table_text(conn_columns, count, 7, text_of(record, "address"));
    table_text(conn_columns, count, 8, text_of(record, "identity"));
}

int command_conns(const struct options *options)
{
    return list(options, "conns", "/v1/connections", "connections", conn_columns, COUNT(conn_columns), conn_row);
}
