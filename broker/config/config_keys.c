/*
 * config_keys: the rows, and how a mistyped name finds the one that was meant.
 */
#include "config/config_keys.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

#include "config/config.h"

/* NOLINTBEGIN(bugprone-macro-parentheses): names of members can't stand in parentheses */
#define KEY(s, n, k, std, lo, hi, f, text)                                                                             \
    {                                                                                                                  \
        .section = #s, .name = #n, .kind = (k), .flags = (f), .offset = offsetof(struct config, s.n),                  \
        .size = sizeof(((struct config *)0)->s.n), .standard = (std), .min = (lo), .max = (hi), .help = (text)         \
    }
#define CHOICE(s, n, std, list, f, text)                                                                               \
    {                                                                                                                  \
        .section = #s, .name = #n, .kind = CONFIG_CHOICE, .flags = (f), .offset = offsetof(struct config, s.n),        \
        .size = sizeof(((struct config *)0)->s.n), .standard = (std), .choices = (list), .help = (text)                \
    }
#define NAMESPACE_KEY(n, k, std, lo, hi, f, text)                                                                      \
    {                                                                                                                  \
        .section = "", .name = #n, .kind = (k), .flags = (f), .offset = offsetof(struct namespace_config, n),          \
        .size = sizeof(((struct namespace_config *)0)->n), .standard = (std), .min = (lo), .max = (hi), .help = (text) \
    }
/* NOLINTEND(bugprone-macro-parentheses) */

#define KIB          1024ull
#define MIB          (1024 * KIB)
#define GIB          (1024 * MIB)
#define DAY_S        86400ull
#define RELOADS      CONFIG_RELOADS
#define ALLOWS_AUTO  CONFIG_ALLOWS_AUTO
#define POWER_OF_TWO CONFIG_POWER_OF_TWO
#define SECRET       CONFIG_SECRET

static const char *const levels[] = {"debug", "info", "warning", "error", NULL};     /* enum log_level */
static const char *const backends[] = {"auto", "io_uring", "epoll", NULL};           /* enum config_backend */
static const char *const slow_policies[] = {"disconnect", "skip", "conflate", NULL}; /* enum config_slow */

/* clang-format off: a table */
static const struct config_key keys[] = {
    KEY(listen, address, CONFIG_ADDRESS, "127.0.0.1:7070", 0, 0, 0,
        "Where clients connect: IPv4:port or [IPv6]:port; port 0 takes a free one."),
    KEY(admin, address, CONFIG_ADDRESS, "127.0.0.1:7071", 0, 0, 0,
        "Where health, metrics and levers are served: keep it away from clients."),
    KEY(admin, token_file, CONFIG_STRING, "", 0, CONFIG_STRING_MAX, 0,
        "File with the token that the admin port asks for; needed where it is not on loopback."),

    KEY(broker, shards, CONFIG_NUMBER, "auto", 1, CONFIG_SHARDS_MAX, ALLOWS_AUTO,
        "Parts that share the connections and topics, each with a ring of its own; auto is one a processor."),
    KEY(broker, threads, CONFIG_NUMBER, "auto", 1, CONFIG_SHARDS_MAX, ALLOWS_AUTO,
        "Threads that turn the shards, several each if there are more shards; auto is one a processor."),
    KEY(broker, node, CONFIG_STRING, "", 0, CONFIG_STRING_MAX, 0,
        "Name of this host in greetings and logs; empty is the host's own name."),
    KEY(broker, drain_s, CONFIG_SECONDS, "10", 0, DAY_S, RELOADS,
        "Time over which SIGTERM spreads the closing of connections."),
    KEY(broker, mesh_slots, CONFIG_NUMBER, "1024", 4, 1048576, POWER_OF_TWO,
        "Envelopes that the ring between two shards holds; a power of two."),
    {.section = "io",
     .name = "backend",
     .kind = CONFIG_CHOICE,
     .offset = offsetof(struct config, io.backend),
     .size = sizeof(enum config_backend),
     .standard = "auto",
     .choices = backends,
     .help = "How the kernel is spoken to; auto is io_uring, or epoll with a warning where that is forbidden."},

    CHOICE(log, level, "info", levels, RELOADS, "The least level that is logged."),
    KEY(log, file, CONFIG_STRING, "", 0, CONFIG_STRING_MAX, RELOADS,
        "File that log lines are appended to, opened again on SIGHUP; empty is standard error."),

    KEY(auth, hs256_key_file, CONFIG_STRING, "", 0, CONFIG_STRING_MAX, RELOADS,
        "File with the secret (32 bytes or more) that HS256 tokens are signed with."),
    KEY(auth, rs256_key_file, CONFIG_STRING, "", 0, CONFIG_STRING_MAX, RELOADS,
        "PEM file with the public key that RS256 tokens are verified with."),
    KEY(auth, audience, CONFIG_STRING, "", 0, CONFIG_STRING_MAX, RELOADS,
        "What a token's aud must hold; empty does not look."),
    KEY(auth, issuer, CONFIG_STRING, "", 0, CONFIG_STRING_MAX, RELOADS,
        "What a token's iss must be; empty does not look."),
    KEY(auth, anonymous, CONFIG_BOOL, "false", 0, 0, 0,
        "With no key: serve everybody, also on an address that is not loopback."),

    KEY(limits, connections, CONFIG_NUMBER, "0", 0, 100000000, 0,
        "Connections at most; 0 is what the limit on descriptors allows."),
    KEY(limits, connections_per_address, CONFIG_NUMBER, "auto", 0, 100000000, ALLOWS_AUTO | RELOADS,
        "Connections from one source address; 0 is no limit, auto none when listening on loopback and 1000 elsewhere."),
    KEY(limits, topics, CONFIG_NUMBER, "10000000", 1, 1000000000, RELOADS,
        "Topics known at a time, on all shards together."),
    KEY(limits, subscriptions_per_connection, CONFIG_NUMBER, "1000", 1, 1000000, RELOADS,
        "Topics and filters that one connection may follow."),
    KEY(limits, header_bytes, CONFIG_BYTES, "8K", 512, 64 * KIB, RELOADS, "Head of an HTTP request, token included."),
    KEY(limits, message_bytes, CONFIG_BYTES, "1M", KIB, 64 * MIB, 0,
        "Largest message of a client, and largest payload of any namespace."),
    KEY(limits, partial_bytes, CONFIG_BYTES, "256M", 2 * KIB, GIB, RELOADS,
        "Messages and bodies of which a part has come, on each shard; at least twice limits.message_bytes."),
    KEY(limits, reply_bytes, CONFIG_BYTES, "256K", 4 * KIB, GIB, RELOADS,
        "Replies that wait for one connection; one that does not read them is closed."),
    KEY(limits, message_ms, CONFIG_MILLISECONDS, "60s", 100, 3600000, RELOADS,
        "Time from the first byte of a WebSocket message, or control frame, to its last."),
    KEY(limits, handshake_ms, CONFIG_MILLISECONDS, "10s", 100, 600000, RELOADS,
        "Time from the connection to its whole first request."),
    KEY(limits, handshakes, CONFIG_NUMBER, "65536", 1, 100000000, RELOADS,
        "Connections at a time that have not sent a whole request yet."),
    KEY(limits, accept_rate, CONFIG_NUMBER, "0", 0, 10000000, RELOADS,
        "New connections a second a shard; 0 is no limit, what comes faster waits."),
    KEY(limits, return_rate, CONFIG_NUMBER, "10000", 0, 10000000, RELOADS,
        "Clients a second that are to come back of those who are told to: each is told when; 0 tells nobody."),
    KEY(limits, publish_inflight_bytes, CONFIG_BYTES, "256K", 4 * KIB, GIB, RELOADS,
        "Bytes that one connection has published and that are not acknowledged yet; beyond, it is not read."),
    KEY(limits, publish_inflight_messages, CONFIG_NUMBER, "1024", 1, 1000000, RELOADS, "The same in messages."),

    KEY(heartbeat, interval_s, CONFIG_SECONDS, "30", 1, DAY_S, 0,
        "A connection that has been silent for so long is pinged."),
    KEY(heartbeat, timeout_s, CONFIG_SECONDS, "75", 2, UINT16_MAX, 0, /* that of the silence */
        "A connection that has been silent for so long is closed; more than heartbeat.interval_s."),

    KEY(publish, idempotency_keys, CONFIG_NUMBER, "65536", 0, 100000000, 0,
        "Idempotency keys that each shard remembers; 0 remembers none."),
    KEY(publish, idempotency_s, CONFIG_SECONDS, "300", 1, DAY_S, 0, /* Redis and clients were told */
        "Time for which a repeated publish with the same key gets the first answer."),

    KEY(topics, idle_s, CONFIG_SECONDS, "300", 1, 30 * DAY_S, RELOADS,
        "A topic that nobody follows and that keeps no history is forgotten after so long."),

    KEY(compression, enabled, CONFIG_BOOL, "true", 0, 0, 0, "Offer permessage-deflate to clients that ask for it."),
    KEY(compression, min_bytes, CONFIG_BYTES, "64", 0, MIB, RELOADS, "Smaller payloads are sent as they are."),

    KEY(cluster, redis, CONFIG_LIST, "", 0, CONFIG_LIST_MAX, SECRET,
        "Redis servers, redis://[user:password@]host[:port][/db] or redis+sentinel://host,.../MASTER[/db], "
        "by spaces; or redis+cluster://host,...; rediss is TLS; empty is none."),
    KEY(cluster, tls_ca, CONFIG_STRING, "", 0, CONFIG_STRING_MAX, 0,
        "PEM file with the authorities that rediss:// servers are verified by; empty: those of the system."),
    KEY(cluster, tls_cert, CONFIG_STRING, "", 0, CONFIG_STRING_MAX, 0,
        "PEM file with the certificate that rediss:// servers are shown; empty: none."),
    KEY(cluster, tls_key, CONFIG_STRING, "", 0, CONFIG_STRING_MAX, 0, "PEM file with the key of cluster.tls_cert."),
    KEY(cluster, prefix, CONFIG_STRING, "shoal:", 0, 64, 0,
        "What all keys and channels in Redis begin with: hosts with the same one share their topics."),
    KEY(cluster, timeout_ms, CONFIG_MILLISECONDS, "3s", 100, 600000, 0,
        "A Redis server that has not answered for so long is taken for gone."),
    KEY(cluster, probe_ms, CONFIG_MILLISECONDS, "1s", 50, 60000, 0,
        "Time between two probes, which show that a message still comes through each Redis server."),
    KEY(cluster, wait_ms, CONFIG_MILLISECONDS, "2s", 0, 600000, 0,
        "How long a publish to a logged topic may wait while Redis is away, before its publisher is told to retry."),
    KEY(cluster, queue_bytes, CONFIG_BYTES64, "64M", MIB, 64 * GIB, 0,
        "Messages on their way to one Redis server; beyond, live ones are dropped for other hosts, logged ones "
        "refused."),
    KEY(cluster, linger_s, CONFIG_SECONDS, "15", 0, DAY_S, 0,
        "A topic that nobody here follows any more stays subscribed in Redis for so long, so that churn costs "
        "nothing."),
    KEY(cluster, filters, CONFIG_NUMBER, "1000", 0, 1000000, 0,
        "Filters with wildcards that are subscribed in Redis; further ones see what reaches this host anyway."),
    KEY(cluster, filter_levels, CONFIG_NUMBER, "1", 0, 127, 0,
        "Levels at a filter's beginning that must be without wildcard to be subscribed in Redis; 0 lets # have all."),
    KEY(cluster, subscribe_rate, CONFIG_NUMBER, "50000", 100, 10000000, 0,
        "Topics a second that are subscribed anew in a Redis server that came back."),
    KEY(cluster, stream_messages, CONFIG_NUMBER, "1000", 1, 100000000, 0,
        "Messages that the stream of a logged topic keeps in Redis at least, for hosts that were cut off; more if "
        "history_messages is."),
    KEY(cluster, stream_age_s, CONFIG_SECONDS, "168h", 60, 3650 * DAY_S, 0,
        "After so long without a message Redis may forget a logged topic."),
    KEY(cluster, durable, CONFIG_BOOL, "false", 0, 0, 0,
        "Redis loses nothing that it has acknowledged (appendfsync always, no failover): its restart keeps the "
        "epochs."),

    KEY(debug, echo, CONFIG_BOOL, "false", 0, 0, 0,
        "Serve /v1/echo, which returns each message: for conformance tests."),
};

static const struct config_key namespace_keys[] = {
    NAMESPACE_KEY(prefix, CONFIG_STRING, "", 0, CONFIG_STRING_MAX, 0,
                  "Topics that start with these bytes belong here, unless a longer prefix fits; end it with / to mean "
                  "whole levels."),
    NAMESPACE_KEY(history_messages, CONFIG_NUMBER, "0", 0, 100000000, RELOADS,
                  "Messages of a topic kept for those who come later; 0 is none, 1 the last value."),
    NAMESPACE_KEY(history_bytes, CONFIG_BYTES64, "16M", KIB, 1024 * GIB, RELOADS,
                  "Bytes of a topic's history, at most."),
    NAMESPACE_KEY(history_age_s, CONFIG_SECONDS, "0", 0, 3650 * DAY_S, RELOADS,
                  "Age at which history is forgotten; 0 is never."),
    NAMESPACE_KEY(backlog_bytes, CONFIG_BYTES64, "1M", 4 * KIB, 64 * GIB, RELOADS,
                  "How far a slow reader may lag behind, beyond the history, before `slow` decides."),
    {.section = "",
     .name = "slow",
     .kind = CONFIG_CHOICE,
     .flags = CONFIG_RELOADS,
     .offset = offsetof(struct namespace_config, slow),
     .size = sizeof(enum config_slow),
     .standard = "disconnect",
     .choices = slow_policies,
     .help = "What happens to a reader that lags further: disconnect (it resumes), skip (told how "
             "much it missed) or conflate (goes on with the latest)."},
    NAMESPACE_KEY(payload_bytes_max, CONFIG_BYTES, "auto", 1, 64 * MIB, ALLOWS_AUTO | RELOADS,
                  "Largest payload; auto is limits.message_bytes."),
    NAMESPACE_KEY(logged, CONFIG_BOOL, "false", 0, 0, 0,
                  "Redis gives the order and keeps the log, the same on every host; needs cluster.redis."),
};
/* clang-format on */

#define COUNT(table) (sizeof(table) / sizeof *(table))
static_assert(COUNT(keys) <= CONFIG_KEYS_MAX, "origins are kept by row");
static_assert(COUNT(namespace_keys) <= CONFIG_NAMESPACE_KEYS_MAX, "origins are kept by row");
static_assert(sizeof(enum config_slow) == sizeof(int) && sizeof(enum config_backend) == sizeof(int),
              "a choice is stored as an int");

const struct config_table config_keys = {keys, COUNT(keys)};
const struct config_table config_namespace_keys = {namespace_keys, COUNT(namespace_keys)};

size_t config_key_find(const struct config_table *table, const char *section, const char *name)
{
    for (size_t i = 0; i < table->count; i++)
        if (strcmp(table->keys[i].section, section) == 0 && strcmp(table->keys[i].name, name) == 0)
            return i;
    return CONFIG_KEY_NONE;
}

bool config_section_known(const char *section)
{
    for (size_t i = 0; i < COUNT(keys); i++)
        if (strcmp(keys[i].section, section) == 0)
            return true;
    return false;
}

/* --- the nearest name --- */

#define NAME_MAX_COMPARED 64
#define DISTANCE_FAR      1000

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Edits (a letter more, less or other) that make b of a, without regard to case. Long names are far from all. */
static size_t distance(const char *a, const char *b)
{
    size_t row[NAME_MAX_COMPARED + 1];
    size_t width = strlen(b);
    if (strlen(a) > NAME_MAX_COMPARED || width > NAME_MAX_COMPARED)
        return DISTANCE_FAR;
    for (size_t j = 0; j <= width; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0]; /* the row above, one to the left */
        row[0] = i;
        for (size_t j = 1; j <= width; j++) {
            size_t above = row[j];
            bool same = strncasecmp(&a[i - 1], &b[j - 1], 1) == 0;
            row[j] = least(least(above, row[j - 1]) + 1, diagonal + !same);
            diagonal = above;
        }
    }
    return row[width];
}

/* Whether so many edits still make it likely that this name was meant. */
static bool is_near(size_t edits, const char *written)
{
    return edits <= 2 || edits <= strlen(written) / 3;
}

const struct config_key *config_key_nearest(const struct config_table *table, const char *section, const char *name)
{
    const struct config_key *nearest = NULL;
    size_t fewest = DISTANCE_FAR;
    for (size_t i = 0; i < table->count; i++) {
        size_t in_name = distance(name, table->keys[i].name);
        if (!is_near(in_name, name))
            continue;
        size_t edits = 2 * in_name + distance(section, table->keys[i].section); /* the name says more */
        if (edits < fewest) {
            fewest = edits;
            nearest = &table->keys[i];
        }
    }
    return nearest;
}

const char *config_section_nearest(const char *section)
{
    const char *nearest = NULL;
    size_t fewest = DISTANCE_FAR;
    for (size_t i = 0; i < COUNT(keys); i++) {
        size_t edits = distance(section, keys[i].section);
        if (edits < fewest && is_near(edits, section)) {
            fewest = edits;
            nearest = keys[i].section;
        }
    }
    return nearest;
}
