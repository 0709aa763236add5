/*
 * config_rules: one small function a rule, all called.
 *
 * A message says what contradicts what, and what to write instead.
 */
#include "config/config_rules.h"

#include <string.h>
#include <strings.h>

#include "config/config_keys.h"
#include "config/config_report.h"
#include "protocol/utf8.h"

/* Where a key's value was written, if it was in the file. The messages name the key anyway. */
static struct config_place place_in_file(const struct config *config, struct config_origin origin)
{
    bool file = origin.source == CONFIG_FROM_FILE;
    return (struct config_place){file ? origin : (struct config_origin){CONFIG_FROM_DEFAULT, 0}, config->file};
}

static struct config_place place_of(const struct config *config, const char *section, const char *name)
{
    return place_in_file(config, config->origins[config_key_find(&config_keys, section, name)]);
}

static struct config_place place_of_namespace(const struct config *config, const struct namespace_config *space,
                                              const char *name)
{
    return place_in_file(config, space->origins[config_key_find(&config_namespace_keys, "", name)]);
}

static void heartbeat_has_time(const struct config *config, struct config_report *report)
{
    struct config_place place = place_of(config, "heartbeat", "timeout_s");
    if (config->heartbeat.timeout_s <= config->heartbeat.interval_s)
        config_report_error(report, &place,
                            "heartbeat.timeout_s (%u) must be more than heartbeat.interval_s (%u): a connection has "
                            "to be pinged before it is given up",
                            config->heartbeat.timeout_s, config->heartbeat.interval_s);
}

static void parts_of_a_message_have_room(const struct config *config, struct config_report *report)
{
    struct config_place place = place_of(config, "limits", "partial_bytes");
    if (config->limits.partial_bytes / 2 < config->limits.message_bytes)
        config_report_error(report, &place,
                            "limits.partial_bytes (%u) must be at least twice limits.message_bytes (%u): a message of "
                            "one peer has to find room beside another's",
                            config->limits.partial_bytes, config->limits.message_bytes);
}

/* Clients and operators are told it, in JSON. */
static void node_is_utf8(const struct config *config, struct config_report *report)
{
    struct config_place place = place_of(config, "broker", "node");
    if (!utf8_valid(config->broker.node, strlen(config->broker.node)))
        config_report_error(report, &place, "broker.node must be UTF-8");
}

static void data_address_is_guarded(const struct config *config, struct config_report *report)
{
    struct config_place place = place_of(config, "listen", "address");
    if (config->listen.address.loopback || config_has_key(config) || config->auth.anonymous)
        return;
    config_report_error(report, &place,
                        "listen.address (%s) is not loopback, and no key is configured to authenticate with: set "
                        "auth.hs256_key_file or auth.rs256_key_file, or say auth.anonymous=true if everybody may come",
                        config->listen.address.text);
}

/* There is no anonymous operator: who reaches the port could drain the broker. */
static void admin_address_is_guarded(const struct config *config, struct config_report *report)
{
    struct config_place place = place_of(config, "admin", "address");
    if (config->admin.address.loopback || config->admin.token_file[0])
        return;
    config_report_error(report, &place,
                        "admin.address (%s) is not loopback, and it would serve everybody: set admin.token_file to a "
                        "file that holds a token",
                        config->admin.address.text);
}

static void addresses_are_guarded(const struct config *config, struct config_report *report)
{
    data_address_is_guarded(config, report);
    admin_address_is_guarded(config, report);
    struct config_place place = place_of(config, "auth", "anonymous");
    if (config_has_key(config) && config->auth.anonymous)
        config_report_warning(report, &place, "auth.anonymous has no effect while a key is configured");
}

static void addresses_differ(const struct config *config, struct config_report *report)
{
    const struct sockaddr_in *port = (const struct sockaddr_in *)&config->listen.address.socket; /* same in IPv6 */
    struct config_place place = place_of(config, "admin", "address");
    if (port->sin_port && strcmp(config->listen.address.text, config->admin.address.text) == 0)
        config_report_error(report, &place, "admin.address and listen.address are the same (%s)",
                            config->admin.address.text);
}

/* --- Redis --- */

static bool redis_port_valid(const char *text, size_t size)
{
    unsigned port = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9' || port > UINT16_MAX)
            return false;
        port = port * 10 + (unsigned)(text[i] - '0');
    }
    return size > 0 && port > 0 && port <= UINT16_MAX;
}

static bool digits_valid(const char *text, size_t size)
{
    return size > 0 && size <= 9 && strspn(text, "0123456789") >= size;
}

/* What follows the scheme, up to the end, or NULL: it begins otherwise. */
static const char *behind_scheme(const char *url, const char *end, const char *scheme)
{
    size_t size = strlen(scheme);
    return (size_t)(end - url) > size && strncasecmp(url, scheme, size) == 0 ? url + size : NULL;
}

/* What follows user and password. */
static const char *behind_user(const char *at, const char *end)
{
    const char *user_end = memrchr(at, '@', (size_t)(end - at));
    return user_end ? user_end + 1 : at;
}

/* host[:port]; the host may be [IPv6]. */
static bool redis_place_valid(const char *at, const char *end)
{
    const char *bracket = at < end && *at == '[' ? memchr(at, ']', (size_t)(end - at)) : at;
    if (!bracket)
        return false;
    const char *colon = memchr(bracket, ':', (size_t)(end - bracket));
    if (colon && !redis_port_valid(colon + 1, (size_t)(end - colon - 1)))
        return false;
    return (colon ? colon : end) > at;
}

/* [user:password@]host[:port][/db] */
static bool redis_server_valid(const char *at, const char *end)
{
    at = behind_user(at, end);
    const char *path = memchr(at, '/', (size_t)(end - at));
    if (path && !digits_valid(path + 1, (size_t)(end - path - 1)))
        return false;
    return redis_place_valid(at, path ? path : end);
}

enum { PLACES_MAX = 8 }; /* as the link takes (URL_SENTINELS_MAX) */

/* host[:port][,host[:port]...] */
static bool redis_places_valid(const char *at, const char *end)
{
    unsigned places = 1;
    for (const char *comma; (comma = memchr(at, ',', (size_t)(end - at))) != NULL; at = comma + 1, places++)
        if (!redis_place_valid(at, comma))
            return false;
    return places <= PLACES_MAX && redis_place_valid(at, end);
}

/* [user:password@]host[:port][,host[:port]...]/MASTER_NAME[/db] */
static bool redis_sentinels_valid(const char *at, const char *end)
{
    at = behind_user(at, end);
    const char *name = memchr(at, '/', (size_t)(end - at));
    if (!name || name + 1 == end || name[1] == '/')
        return false;
    const char *path = memchr(name + 1, '/', (size_t)(end - name - 1));
    if (path && !digits_valid(path + 1, (size_t)(end - path - 1)))
        return false;
    return redis_places_valid(at, name);
}

/* [user:password@]host[:port][,host[:port]...][/] */
static bool redis_cluster_valid(const char *at, const char *end)
{
    at = behind_user(at, end);
    end -= end > at && end[-1] == '/';
    return !memchr(at, '/', (size_t)(end - at)) && redis_places_valid(at, end);
}

/* NULL: it is valid. Else its form. */
static const char *redis_form_missed(const char *url, size_t size)
{
    const char *end = url + size;
    const char *at = behind_scheme(url, end, "redis+sentinel://");
    at = at ? at : behind_scheme(url, end, "rediss+sentinel://");
    if (at)
        return redis_sentinels_valid(at, end)
                   ? NULL
                   : "redis[s]+sentinel://[user:password@]host[:port][,host[:port]...]/MASTER_NAME[/db], "
                     "with up to 8 hosts";
    at = behind_scheme(url, end, "redis+cluster://");
    at = at ? at : behind_scheme(url, end, "rediss+cluster://");
    if (at)
        return redis_cluster_valid(at, end) ? NULL
                                            : "redis[s]+cluster://[user:password@]host[:port][,host[:port]...], "
                                              "with up to 8 hosts";
    at = behind_scheme(url, end, "redis://");
    at = at ? at : behind_scheme(url, end, "rediss://");
    return at && redis_server_valid(at, end) ? NULL : "redis[s]://[user:password@]host[:port][/db]";
}

/* A Redis Cluster is alone, and its keys' tags are the broker's. */
static void redis_cluster_stands_alone(const struct config *config, struct config_report *report)
{
    const char *urls = config->cluster.redis;
    struct config_place place = place_of(config, "cluster", "redis");
    if (!strcasestr(urls, "redis+cluster://") && !strcasestr(urls, "rediss+cluster://"))
        return;
    if (strchr(urls, ' '))
        config_report_error(report, &place,
                            "cluster.redis: a Redis Cluster is all servers that there are: no others "
                            "can be named with it, and its nodes are separated by commas");
    place = place_of(config, "cluster", "prefix");
    if (strchr(config->cluster.prefix, '{'))
        config_report_error(report, &place, "cluster.prefix: with a Redis Cluster it must not have a {");
}

/* One without the other is of no use. */
static void redis_certificate_has_a_key(const struct config *config, struct config_report *report)
{
    bool key = config->cluster.tls_key[0] != 0;
    struct config_place place = place_of(config, "cluster", key ? "tls_key" : "tls_cert");
    if (key != (config->cluster.tls_cert[0] != 0))
        config_report_error(report, &place, "cluster.tls_cert and cluster.tls_key go together: one is empty");
}

static void redis_urls_are_valid(const struct config *config, struct config_report *report)
{
    struct config_place place = place_of(config, "cluster", "redis");
    unsigned number = 1; /* told instead of the URL: it may hold a password */
    for (const char *at = config->cluster.redis; *at; number++) {
        size_t size = strcspn(at, " ");
        const char *form = redis_form_missed(at, size);
        if (form)
            config_report_error(report, &place, "cluster.redis: server %u is not of the form %s", number, form);
        at += size + (at[size] == ' ');
    }
}

static void probes_have_time(const struct config *config, struct config_report *report)
{
    struct config_place place = place_of(config, "cluster", "timeout_ms");
    if (config->cluster.timeout_ms <= config->cluster.probe_ms)
        config_report_error(report, &place,
                            "cluster.timeout_ms (%u) must be more than cluster.probe_ms (%u): a server has to be "
                            "probed before it is taken for gone",
                            config->cluster.timeout_ms, config->cluster.probe_ms);
}

/* --- namespaces --- */

static bool prefix_valid(const char *prefix)
{
    return prefix[0] != '/' && !strpbrk(prefix, "+#") && !strstr(prefix, "//") && utf8_valid(prefix, strlen(prefix));
}

static void namespace_prefix_is_valid(const struct config *config, const struct namespace_config *space,
                                      struct config_report *report)
{
    struct config_place place = place_of_namespace(config, space, "prefix");
    if (!prefix_valid(space->prefix))
        config_report_error(report, &place,
                            "namespace %s: prefix '%s' is the start of no topic: UTF-8, no + or #, no empty level",
                            space->name, space->prefix);
    if (strcmp(space->name, "default") == 0 && space->prefix[0])
        config_report_error(report, &place, "namespace default holds what no other prefix fits: its own stays empty");
    for (const struct namespace_config *other = config->namespaces; other < space; other++)
        if (strcmp(other->prefix, space->prefix) == 0)
            config_report_error(report, &place, "namespaces %s and %s have the same prefix '%s'", other->name,
                                space->name, space->prefix);
}

static void namespace_payload_fits(const struct config *config, const struct namespace_config *space,
                                   struct config_report *report)
{
    struct config_place place = place_of_namespace(config, space, "payload_bytes_max");
    if (space->payload_bytes_max > config->limits.message_bytes)
        config_report_error(report, &place, "namespace %s: payload_bytes_max (%u) is above limits.message_bytes (%u)",
                            space->name, space->payload_bytes_max, config->limits.message_bytes);
    if (space->payload_bytes_max > space->backlog_bytes)
        config_report_warning(report, &place,
                              "namespace %s: one payload of payload_bytes_max (%u) is more than backlog_bytes (%llu): "
                              "readers that are one message behind may be too slow",
                              space->name, space->payload_bytes_max, (unsigned long long)space->backlog_bytes);
}

static void namespace_history_is_meant(const struct config *config, const struct namespace_config *space,
                                       struct config_report *report)
{
    static const char *const names[] = {"history_bytes", "history_age_s"};
    for (size_t i = 0; i < 2 && space->history_messages == 0; i++) {
        struct config_origin origin = space->origins[config_key_find(&config_namespace_keys, "", names[i])];
        struct config_place place = place_in_file(config, origin);
        if (origin.source != CONFIG_FROM_DEFAULT)
            config_report_warning(report, &place, "namespace %s: %s has no effect while history_messages is 0",
                                  space->name, names[i]);
    }
}

static void namespace_log_is_possible(const struct config *config, const struct namespace_config *space,
                                      struct config_report *report)
{
    struct config_place place = place_of_namespace(config, space, "logged");
    if (space->logged && !config->cluster.redis[0])
        config_report_warning(report, &place,
                              "namespace %s: logged has no effect while cluster.redis is empty: this host alone gives "
                              "the order, and keeps the history",
                              space->name);
}

void config_rules_check(const struct config *config, struct config_report *report)
{
    node_is_utf8(config, report);
    heartbeat_has_time(config, report);
    parts_of_a_message_have_room(config, report);
    addresses_are_guarded(config, report);
    addresses_differ(config, report);
    redis_urls_are_valid(config, report);
    redis_cluster_stands_alone(config, report);
    redis_certificate_has_a_key(config, report);
    probes_have_time(config, report);
    for (uint32_t i = 0; i < config->namespace_count; i++) {
        const struct namespace_config *space = &config->namespaces[i];
        namespace_prefix_is_valid(config, space, report);
        namespace_payload_fits(config, space, report);
        namespace_history_is_meant(config, space, report);
        namespace_log_is_possible(config, space, report);
    }
}
