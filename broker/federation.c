/* federation: see federation.h. */
#include "broker/federation.h"

#include <stdio.h>
#include <string.h>

#include "cluster/link.h"
#include "cluster/redis.h"
#include "cluster/redis_tls.h"

uint32_t federation_peers(const struct config *config)
{
    return config->cluster.redis[0] ? 1 : 0;
}

static struct link_settings settings_of(const struct federation *federation, const struct federation_setup *setup)
{
    const struct config *config = setup->config;
    return (struct link_settings){
        .servers = federation->servers,
        .prefix = federation->prefix,
        .node = federation->node,
        .address = federation->address,
        .version = setup->version,
        .timeout_ms = config->cluster.timeout_ms,
        .probe_ms = config->cluster.probe_ms,
        .wait_ms = config->cluster.wait_ms,
        .queue_bytes_max = config->cluster.queue_bytes,
        .filters_max = config->cluster.filters,
        .filter_levels = config->cluster.filter_levels,
        .subscribe_rate = config->cluster.subscribe_rate,
        .idempotency_s = config->publish.idempotency_s,
        .durable = config->cluster.durable,
    };
}

static void keep_texts(struct federation *federation, const struct federation_setup *setup)
{
    const struct config *config = setup->config;
    memcpy(federation->servers, config->cluster.redis, sizeof federation->servers);
    memcpy(federation->prefix, config->cluster.prefix, sizeof federation->prefix);
    memcpy(federation->node, config->broker.node, sizeof federation->node);
    snprintf(federation->address, sizeof federation->address, "%s", setup->address);
}

uint32_t federation_peer(const struct federation *federation)
{
    return federation->link ? federation->peer : 0;
}

/* NULL: all is well. Certificates are read now, so that what is wrong with them is told before anything runs. */
static const char *tls_make(struct federation *federation, const struct config *config)
{
    const struct redis_tls_files files = {config->cluster.tls_ca, config->cluster.tls_cert, config->cluster.tls_key};
    const char *problem = NULL;
    if (strcasestr(federation->servers, "rediss")) { /* or a name that holds it: nothing is lost */
        federation->tls = redis_tls_create(&files, &problem);
        redis_hiredis_tls(federation->redis, federation->tls);
    }
    return problem;
}

const _Atomic uint64_t *federation_identity(const struct federation *federation)
{
    return federation->link ? link_identity(federation->link) : NULL;
}

bool federation_create(struct federation *federation, const struct federation_setup *setup, const char **problem)
{
    *problem = NULL;
    if (!federation_peers(setup->config)) {
        return true;
    }
    keep_texts(federation, setup);
    federation->redis = redis_hiredis_create();
    if (!federation->redis) {
        *problem = "no descriptors or memory for connections to Redis";
        return false;
    }
    *problem = tls_make(federation, setup->config);
    if (*problem) {
        return false;
    }
    federation->peer = setup->shard_count + 1;
    const struct link_setup link = {
        .mesh = setup->mesh,
        .peer = federation->peer,
        .shard_count = setup->shard_count,
        .clock = &clock_of_host,
        .redis = federation->redis,
        .connections = setup->connections,
        .instance = setup->instance,
        .seed = setup->seed,
        .settings = settings_of(federation, setup),
    };
    federation->link = link_create(&link, problem);
    return federation->link != NULL;
}

bool federation_start(struct federation *federation)
{
    return !federation->link || link_start(federation->link);
}

void federation_stop(struct federation *federation)
{
    if (federation->link) {
        link_stop(federation->link);
    }
}

void federation_destroy(struct federation *federation)
{
    link_destroy(federation->link);
    redis_destroy(federation->redis);
    redis_tls_destroy(federation->tls);
    federation->tls = NULL;
    federation->link = NULL;
    federation->redis = NULL;
}

const char *federation_servers(const struct federation *federation, char *text, size_t size)
{
    size_t at = 0;
    text[0] = 0;
    for (const char *url = federation->servers; *url && at < size; url += url[0] == ' ') {
        const char *end = url + strcspn(url, " ");
        const char *scheme_end = strstr(url, "://") + strlen("://"); /* the configuration has seen to that */
        const char *user_end = memrchr(scheme_end, '@', (size_t)(end - scheme_end));
        const char *host = user_end ? user_end + 1 : scheme_end;
        at += (size_t)snprintf(text + at, size - at, "%s%.*s%.*s", at ? " " : "", (int)(scheme_end - url), url,
                               (int)(end - host), host);
        url = end;
    }
    return text;
}
