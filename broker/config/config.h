/*
 * config: what the operator decides, typed and checked before a port is bound.
 *
 *      defaults  <  file (INI)  <  environment (SHOAL_SECTION_KEY)  <  command line (--set section.key=value)
 *
 * All keys stand in one table (config_keys.c): type, default, range, whether it can change while running, and a
 * sentence of help. Parsing, checking, printing and the documentation's test read that table, so that a key is
 * added in three places: its field below, its row there, and docs/OPERATIONS.md (a test looks).
 *
 * A configuration is either whole or not there: config_load() reports every error that it finds, each with its place,
 * what was written, and the nearest valid key or the allowed range, and then gives none. Once loaded it is constant:
 * any thread may read it. Reloading makes another (config_reload()), and the one who swaps them frees the old one.
 *
 * Fields end in the unit that they are in (_s, _ms, _bytes); the text may use another: "90s", "2m", "64K".
 */
#ifndef SHOAL_CONFIG_CONFIG_H
#define SHOAL_CONFIG_CONFIG_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>

#include "protocol/span.h"

#define CONFIG_NAMESPACES_MAX     64   /* [namespace …] sections, `default` included */
#define CONFIG_NAMESPACE_NAME_MAX 32   /* bytes: letters, digits, - and _ */
#define CONFIG_STRING_MAX         255  /* bytes of a string value */
#define CONFIG_LIST_MAX           2047 /* bytes of a list value */
#define CONFIG_REPORT_MAX         16384
#define CONFIG_KEYS_MAX           64         /* rows of the table of keys */
#define CONFIG_NAMESPACE_KEYS_MAX 16         /* rows of the table of a namespace's keys */
#define CONFIG_SHARDS_MAX         254        /* SHARDS_MAX of base/limits.h */
#define CONFIG_AUTO               UINT32_MAX /* what "auto" is as a number */

typedef char config_string[CONFIG_STRING_MAX + 1];
typedef char config_list[CONFIG_LIST_MAX + 1]; /* separated by single spaces */

struct config_address {
    struct sockaddr_storage socket;
    socklen_t socket_size;
    bool loopback; /* 127.0.0.0/8, ::1, or the former mapped into IPv6 */
    char text[64]; /* "127.0.0.1:7070", "[::1]:7070" */
};

/* Where a value came from. */
enum config_source { CONFIG_FROM_DEFAULT, CONFIG_FROM_FILE, CONFIG_FROM_ENVIRONMENT, CONFIG_FROM_SET };

struct config_origin {
    enum config_source source;
    uint32_t line; /* CONFIG_FROM_FILE: counted from 1 */
};

enum config_backend { CONFIG_BACKEND_AUTO, CONFIG_BACKEND_IO_URING, CONFIG_BACKEND_EPOLL };

/* What happens to a reader that the topic's log no longer reaches back to. */
enum config_slow { CONFIG_SLOW_DISCONNECT, CONFIG_SLOW_SKIP, CONFIG_SLOW_CONFLATE };

/* What holds for the topics under one prefix. The longest prefix wins; `default` has the empty one. */
struct namespace_config {
    char name[CONFIG_NAMESPACE_NAME_MAX + 1];
    config_string prefix;      /* bytes that the topic's name starts with */
    uint32_t history_messages; /* kept for those who come later; 0: none, 1: the last value */
    uint32_t history_age_s;    /* 0: kept however old */
    uint64_t history_bytes;    /* kept a topic, at most */
    uint64_t backlog_bytes;    /* how far a slow reader may lag behind */
    enum config_slow slow;
    uint32_t payload_bytes_max; /* never above limits.message_bytes */
    bool logged;                /* Redis gives the order (DESIGN: federation) */
    struct config_origin origins[CONFIG_NAMESPACE_KEYS_MAX];
};

struct config {
    struct {
        struct config_address address;
    } listen;
    struct {
        struct config_address address;
        config_string token_file; /* "": none */
    } admin;
    struct {
        uint32_t shards;  /* CONFIG_AUTO: see config_shards() */
        uint32_t threads; /* CONFIG_AUTO: see config_threads() */
        config_string node;
        uint32_t drain_s;
        uint32_t mesh_slots; /* a power of two */
    } broker;
    struct {
        enum config_backend backend;
    } io;
    struct {
        int level;          /* enum log_level */
        config_string file; /* "": standard error */
    } log;
    struct {
        config_string hs256_key_file; /* "": none */
        config_string rs256_key_file; /* "": none */
        config_string audience;       /* "": not checked */
        config_string issuer;         /* "": not checked */
        bool anonymous;
    } auth;
    struct {
        uint32_t connections;             /* 0: what descriptors allow */
        uint32_t connections_per_address; /* CONFIG_AUTO: see config_connections_per_address() */
        uint32_t topics;
        uint32_t subscriptions_per_connection;
        uint32_t header_bytes;
        uint32_t message_bytes;
        uint32_t partial_bytes; /* a shard */
        uint32_t reply_bytes;
        uint32_t handshake_ms;
        uint32_t message_ms;
        uint32_t handshakes;
        uint32_t accept_rate; /* a second a shard; 0: no limit */
        uint32_t return_rate; /* a second; 0: clients come back as they like */
        uint32_t publish_inflight_bytes;
        uint32_t publish_inflight_messages;
    } limits;
    struct {
        uint32_t interval_s;
        uint32_t timeout_s;
    } heartbeat;
    struct {
        uint32_t idempotency_keys; /* a shard */
        uint32_t idempotency_s;
    } publish;
    struct {
        uint32_t idle_s;
    } topics;
    struct {
        bool enabled;
        uint32_t min_bytes;
    } compression;
    struct {
        config_list redis;
        config_string tls_ca;
        config_string tls_cert;
        config_string tls_key;
        config_string prefix;
        uint32_t timeout_ms;
        uint32_t probe_ms;
        uint32_t wait_ms;
        uint64_t queue_bytes;
        uint32_t linger_s;
        uint32_t filters;
        uint32_t filter_levels;
        uint32_t subscribe_rate;
        uint32_t stream_messages;
        uint32_t stream_age_s;
        bool durable;
    } cluster;
    struct {
        bool echo;
    } debug;

    uint32_t namespace_count;                                  /* at least 1 */
    struct namespace_config namespaces[CONFIG_NAMESPACES_MAX]; /* longest prefix first; `default` is the last */

    struct config_origin origins[CONFIG_KEYS_MAX]; /* by row of the table of keys */
    char file[4096];                               /* what was read, "": none */
};

/* Where to look. All of it is borrowed for the call. */
struct config_sources {
    const char *file;         /* path, NULL: no file */
    const char *file_text;    /* instead of reading the file: its contents (tests, fuzzer), NULL: read it */
    char *const *environment; /* as environ, NULL: none */
    const char *const *sets;  /* "section.key=value" */
    uint32_t set_count;
};

/* What was found wrong: one line each, and how many. Errors beyond the room are counted only. */
struct config_report {
    uint32_t errors;
    uint32_t warnings;
    size_t size;
    char text[CONFIG_REPORT_MAX]; /* ends in a NUL */
};

/*
 * Reads all sources and checks everything. Gives the configuration (to be freed with config_free()), or NULL: then
 * the report has at least one error. The report is started afresh. Without memory: aborts (it is the start).
 */
struct config *config_load(const struct config_sources *sources, struct config_report *report);

/*
 * The same while running. What can't change while running keeps its running value in the configuration given, with a
 * warning for each such key that differs; so the new one can be adopted as it is. Namespaces keep their places. NULL:
 * errors; go on with the running one.
 */
struct config *config_reload(const struct config *running, const struct config_sources *sources,
                             struct config_report *report);

/* Takes the configuration. NULL is allowed. */
void config_free(struct config *config);

/*
 * Writes the effective configuration as a file that reads back to the same, a comment before each key with its
 * sentence and source. Passwords are shown as ***.
 */
void config_print(const struct config *config, FILE *out);

/* The namespace that a topic or filter belongs to: the longest prefix that it starts with. Borrowed, never NULL. */
const struct namespace_config *config_namespace_of(const struct config *config, struct span topic);

/* Shards to start: broker.shards, or for `auto` the processors that this process may use, at most CONFIG_SHARDS_MAX. */
uint32_t config_shards(const struct config *config);
/* Threads that turn them: broker.threads, or for `auto` the processors; never more than there are shards. */
uint32_t config_threads(const struct config *config);

/* Connections a source address: 0 is no limit. `auto` is none when listening on loopback, else 1000. */
uint32_t config_connections_per_address(const struct config *config);

/* Whether a key to verify tokens with is configured. If not, everybody who can connect may do everything. */
bool config_has_key(const struct config *config);

#endif
