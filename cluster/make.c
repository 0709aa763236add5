/*
 * make: how a link comes to be, and goes: its servers from the text of cluster.redis, what they share, and, in the end,
 * all that is left to be given back. See link.h.
 */
#include <stdio.h>
#include <xxhash.h>

#include "cluster/state.h"

static void bell_ring(void *door)
{
    redis_wake(door);
}

/* The next word of a text, from *at on, which moves behind it. False: there is none. */
static bool next_word(const char **at, struct span *word)
{
    *at += strspn(*at, " ");
    *word = (struct span){*at, strcspn(*at, " ")};
    *at += word->size;
    return word->size > 0;
}

static const char *server_add(struct link *link, struct span text)
{
    struct url url;
    const char *problem = url_parse(text, &url);
    if (!problem && url.cluster) {
        problem = "a Redis Cluster is named together with other servers";
    }
    if (!problem) {
        struct server *server = &link->servers[link->server_count];
        server_init(server, &link->common, link->server_count, &url);
        for (uint32_t i = 0; i < link->server_count && !problem; i++) {
            problem = strcmp(link->servers[i].name, server->name) == 0 ? "a server is named twice" : NULL;
        }
        link->server_count++;
    }
    explicit_bzero(&url, sizeof url);
    return problem;
}

/* Whether the one that is named is a Redis Cluster, which brings its servers by itself. */
static bool is_cluster(const struct link *link)
{
    struct span word;
    struct url url = {0};
    const char *at = link->settings.servers;
    bool is = next_word(&at, &word) && !url_parse(word, &url) && url.cluster;
    explicit_bzero(&url, sizeof url);
    return is;
}

/* NULL: all is well. */
static const char *cluster_make(struct link *link)
{
    struct span word;
    struct url url;
    const char *at = link->settings.servers;
    next_word(&at, &word);
    const char *problem = url_parse(word, &url);
    if (next_word(&at, &word)) {
        problem = "a Redis Cluster is named together with other servers";
    }
    if (strchr(link->settings.prefix, '{')) {
        problem = "with a Redis Cluster the prefix must not have a {";
    }
    problem = problem ? problem : sharding_init(link, &url);
    explicit_bzero(&url, sizeof url);
    return problem;
}

/* NULL: all is well. */
static const char *servers_make(struct link *link)
{
    struct span word;
    uint32_t count = 0;
    for (const char *at = link->settings.servers; next_word(&at, &word);) {
        count++;
    }
    if (count == 0 || count > LINK_SERVERS_MAX) {
        return count ? "too many servers" : "no server is named";
    }
    link->servers = calloc(count, sizeof *link->servers);
    if (!link->servers) {
        return "no memory";
    }
    struct span names[LINK_SERVERS_MAX];
    const char *problem = NULL;
    for (const char *at = link->settings.servers; !problem && next_word(&at, &word);) {
        problem = server_add(link, word);
    }
    for (uint32_t i = 0; i < link->server_count; i++) {
        names[i] = span_of_text(link->servers[i].name);
    }
    if (!problem && !ring_init(&link->ring, count, names)) {
        problem = "no memory";
    }
    return problem;
}

/*
 * Where chance begins: far apart for seeds and instances that are not, for two hosts with one stream of it would
 * propose the same epochs, and give their offsets out twice.
 */
static uint64_t random_begin(const struct link_setup *setup)
{
    return XXH3_64bits_withSeed(&setup->instance, sizeof setup->instance, setup->seed) | 1;
}

static void common_fill(struct link *link, const struct link_setup *setup)
{
    link->common = (struct server_common){
        .redis = setup->redis,
        .settings = &link->settings,
        .stats = &link->stats,
        .nodes = &link->nodes,
        .prefix = span_of_text(link->settings.prefix),
        .instance = setup->instance,
        .random = random_begin(setup),
        .now_us = setup->clock->monotonic_us(setup->clock),
    };
    for (enum script script = 0; script < SCRIPTS; script++) {
        script_hash(script, link->common.hashes[script]);
    }
    link->nodes = (struct nodes){
        .settings = &link->settings,
        .connections = setup->connections,
        .instance = setup->instance,
        .started_us = link->common.now_us,
        .beat_us = link->common.now_us,
    };
}

/* NULL: all is well. */
static const char *parts_make(struct link *link)
{
    if (strlen(link->settings.prefix) > PREFIX_BYTES_MAX) {
        return "the prefix is too long";
    }
    link->report_mutex = malloc(sizeof *link->report_mutex);
    if (!link->report_mutex) {
        return "no memory";
    }
    pthread_mutex_init(link->report_mutex, NULL);
    bool interest = interest_init(&link->interest);
    bool patterns =
        patterns_init(&link->patterns, link->settings.filters_max, link->settings.filter_levels, &link->stats);
    if (!interest || !patterns) {
        return "no memory";
    }
    return is_cluster(link) ? cluster_make(link) : servers_make(link);
}

struct link *link_create(const struct link_setup *setup, const char **problem)
{
    struct link *link = calloc(1, sizeof *link);
    if (!link) {
        *problem = "no memory";
        return NULL;
    }
    link->mesh = setup->mesh;
    link->peer = setup->peer;
    link->shard_count = setup->shard_count;
    link->clock = setup->clock;
    link->settings = setup->settings;
    common_fill(link, setup);
    *problem = parts_make(link);
    if (*problem) {
        link_destroy(link);
        return NULL;
    }
    link->turn_us = link->common.now_us;
    mesh_set_bell(setup->mesh, setup->peer, (struct mesh_bell){bell_ring, setup->redis});
    report_write(link);
    return link;
}

static void ask_discard(const struct envelope *ask)
{
    switch ((enum envelope_kind)ask->kind) {
    case ASK_RELAY:
    case ASK_FETCH:
        relay_free(ask->relay);
        break;
    case ASK_WANT:
    case ASK_UNWANT:
    case ASK_FILTER:
        name_drop(ask->name);
        break;
    default:
        break;
    }
}

void link_destroy(struct link *link)
{
    if (!link) {
        return;
    }
    for (uint32_t from = 0; from < link->mesh->peer_count; from++) {
        struct spsc *ring = mesh_asks(link->mesh, from, link->peer);
        for (const struct envelope *ask; (ask = spsc_peek(ring)) != NULL; spsc_pop(ring)) {
            ask_discard(ask);
        }
    }
    for (uint32_t i = 0; i < link->server_count; i++) {
        server_destroy(&link->servers[i]);
        relay_free(link->held[i]);
    }
    sharding_destroy(link);
    for (uint32_t shard = 0; shard < SHARDS_MAX; shard++) {
        relays_free(&link->answers[shard]);
    }
    interest_destroy(&link->interest);
    patterns_destroy(&link->patterns);
    ring_free(&link->ring);
    if (link->report_mutex) {
        pthread_mutex_destroy(link->report_mutex);
    }
    free(link->report_mutex);
    free(link->common.scratch);
    free(link->servers);
    free(link);
}
