/* check_cluster: see check_cluster.h. */
#include "check_cluster.h"

#include "redis_store.h"

#define POSITION(value) ((unsigned long long)(value))

/* --- settled --- */

static bool topic_is_known(const struct fake_topic *topic, uint32_t number)
{
    return !topic->wanted || (topic->confirmed && !(topic_is_logged(number) && (topic->stale || topic->fetching)));
}

static bool shard_is_settled(const struct fake_shard *shard)
{
    for (uint32_t i = 0; i < CLUSTER_TOPICS; i++) {
        if (!topic_is_known(&shard->topics[i], i)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < CLUSTER_FILTERS; i++) {
        if (shard->filters[i].asked && !shard->filters[i].told) {
            return false;
        }
    }
    return shard->relays_out == 0 && shard->pending_count == 0;
}

bool cluster_is_settled(struct cluster_world *world)
{
    char why[192];
    for (uint32_t i = 0; i < world->profile.hosts; i++) {
        for (uint32_t j = 0; j < world->profile.shards; j++) {
            if (!shard_is_settled(&world->shards[i][j])) {
                return false;
            }
        }
        if (!link_is_ready(world->hosts[i].link, why, sizeof why)) {
            return false;
        }
    }
    return true;
}

static void check_answers(struct cluster_world *world, uint32_t host)
{
    char why[192];
    if (!link_is_ready(world->hosts[host].link, why, sizeof why)) {
        verdict_fail(world->verdict, CHECK_LOSS, "host %u does not become ready: %s", host, why);
    }
    for (uint32_t i = 0; i < world->profile.shards; i++) {
        const struct fake_shard *shard = &world->shards[host][i];
        if (shard->relays_out || shard->pending_count) {
            verdict_fail(world->verdict, CHECK_LOSS, "host %u, shard %u waits for %u answers, %u are not sent", host, i,
                         shard->relays_out, shard->pending_count);
        }
        for (uint32_t j = 0; j < CLUSTER_TOPICS; j++) {
            if (!topic_is_known(&shard->topics[j], j)) {
                verdict_fail(world->verdict, CHECK_LOSS,
                             "host %u, %s: told %d, confirmed %d, stale %d, fetching %d at the end", host,
                             cluster_topics[j], shard->topics[j].told, shard->topics[j].confirmed,
                             shard->topics[j].stale, shard->topics[j].fetching);
            }
        }
        for (uint32_t j = 0; j < CLUSTER_FILTERS; j++) {
            if (shard->filters[j].asked && !shard->filters[j].told) {
                verdict_fail(world->verdict, CHECK_LOSS, "host %u, shard %u: filter %s is never told", host, i,
                             cluster_filters[j]);
            }
        }
    }
}

/* A field of the topic's meta, as number in this base. 0: none. */
static uint64_t meta_field(struct cluster_world *world, uint32_t topic, const char *field, int base)
{
    char name[64];
    for (uint32_t i = 0; i < world->profile.servers; i++) {
        struct store *store = redis_sim_store(world->redis, i);
        int size = snprintf(name, sizeof name, "shoal:{%s}m", cluster_topics[topic]);
        const struct store_key *key = store ? store_find(store, (struct span){name, (size_t)size}) : NULL;
        const struct blob *value = store_hash_get(key, (struct span){field, strlen(field)});
        if (value) {
            return strtoull(value->data, NULL, base);
        }
    }
    return 0;
}

/* Where a log has this position. NULL: it begins later. */
static const struct fake_entry *entry_at(const struct fake_topic *topic, uint64_t epoch, uint64_t offset)
{
    for (uint32_t i = 0; i < topic->entry_count; i++) {
        const struct fake_entry *entry = &topic->entries[i];
        bool gap_covers = entry->publish == UINT32_MAX && entry->offset >= offset;
        if (entry->epoch == epoch && (entry->offset == offset || gap_covers)) {
            return entry;
        }
    }
    return NULL;
}

static void check_acknowledged(struct cluster_world *world, uint32_t host, uint32_t number, uint64_t epoch)
{
    const struct fake_topic *topic = &cluster_owner(world, host, number)->topics[number];
    for (uint32_t i = 0; i < world->record.publish_count; i++) {
        const struct cluster_publish *publish = &world->record.publishes[i];
        bool concerns = publish->topic == number && publish->state == CLUSTER_ACKNOWLEDGED &&
                        publish->acknowledged_epoch == epoch && publish->sent_at > topic->confirmed_at &&
                        topic->entry_count > 0 && topic->entries[0].offset <= publish->acknowledged_offset;
        if (!concerns) {
            continue;
        }
        const struct fake_entry *entry = entry_at(topic, epoch, publish->acknowledged_offset);
        if (!entry || (entry->publish != i && entry->publish != UINT32_MAX)) {
            verdict_fail(world->verdict, CHECK_LOSS, "host %u has not got publish %u of %s, acknowledged at %llx:%llu",
                         host, i, cluster_topics[number], POSITION(epoch), POSITION(publish->acknowledged_offset));
        }
    }
}

/* A log has each offset once, in order, and each message once. */
static void check_log(struct cluster_world *world, uint32_t host, uint32_t number)
{
    const struct fake_topic *topic = &cluster_owner(world, host, number)->topics[number];
    for (uint32_t i = 1; i < topic->entry_count; i++) {
        const struct fake_entry *entry = &topic->entries[i], *before = &topic->entries[i - 1];
        bool next = entry->publish == UINT32_MAX ? entry->epoch != before->epoch || entry->offset > before->offset
                                                 : entry->epoch == before->epoch && entry->offset == before->offset + 1;
        if (!next) {
            verdict_fail(world->verdict, CHECK_ORDER, "host %u, %s: %llx:%llu stands behind %llx:%llu", host,
                         cluster_topics[number], POSITION(entry->epoch), POSITION(entry->offset),
                         POSITION(before->epoch), POSITION(before->offset));
        }
        for (uint32_t j = 0; j < i && !world->record.amnesia; j++) {
            if (entry->publish != UINT32_MAX && topic->entries[j].publish == entry->publish) {
                verdict_fail(world->verdict, CHECK_ORDER, "host %u, %s: publish %u stands there twice", host,
                             cluster_topics[number], entry->publish);
            }
        }
    }
}

static void check_logged(struct cluster_world *world, uint32_t number)
{
    uint64_t epoch = meta_field(world, number, "e", 16), last = meta_field(world, number, "o", 10);
    for (uint32_t host = 0; host < world->profile.hosts; host++) {
        const struct fake_topic *topic = &cluster_owner(world, host, number)->topics[number];
        if (!topic->wanted) {
            continue;
        }
        if (topic->epoch != epoch || topic->tail != last) {
            verdict_fail(world->verdict, CHECK_LOSS, "host %u has %s up to %llx:%llu, Redis up to %llx:%llu", host,
                         cluster_topics[number], POSITION(topic->epoch), POSITION(topic->tail), POSITION(epoch),
                         POSITION(last));
        }
        check_log(world, host, number);
        check_acknowledged(world, host, number, epoch);
    }
}

/* First levels without a wildcard: what cluster.filter_levels asks for. */
static uint32_t levels_of(uint32_t filter)
{
    static const uint8_t levels[CLUSTER_FILTERS] = {1, 2, 2, 0};
    return levels[filter];
}

/* Whether a filter of this host, which Redis surely knows, has been waiting for what was sent then. */
static bool filter_expects(struct cluster_world *world, uint32_t host, const struct cluster_publish *publish)
{
    for (uint32_t i = 0; i < CLUSTER_FILTERS; i++) {
        bool known = world->profile.filters_max >= CLUSTER_FILTERS && levels_of(i) >= world->profile.filter_levels;
        for (uint32_t j = 0; j < world->profile.shards && known && filter_covers(i, publish->topic); j++) {
            const struct fake_filter *filter = &world->shards[host][j].filters[i];
            if (filter->asked && filter->told && filter->told_at < publish->sent_at) {
                return true;
            }
        }
    }
    return false;
}

/* Whether the host must have got what was published live at that step: by its topic, or by a filter. */
static bool host_expects(struct cluster_world *world, uint32_t host, const struct cluster_publish *publish)
{
    const struct fake_topic *topic = &cluster_owner(world, host, publish->topic)->topics[publish->topic];
    return (topic->wanted && topic->confirmed && topic->confirmed_at < publish->sent_at) ||
           filter_expects(world, host, publish);
}

static void check_live(struct cluster_world *world)
{
    for (uint32_t i = 0; i < world->record.publish_count; i++) {
        const struct cluster_publish *publish = &world->record.publishes[i];
        for (uint32_t host = 0; host < world->profile.hosts && !topic_is_logged(publish->topic); host++) {
            bool missing = host != publish->host && !(publish->arrived >> host & 1);
            if (missing && host_expects(world, host, publish)) {
                verdict_fail(world->verdict, CHECK_LOSS, "live publish %u of %s has not come to host %u", i,
                             cluster_topics[publish->topic], host);
            }
        }
    }
}

void check_cluster_settled(struct cluster_world *world)
{
    for (uint32_t host = 0; host < world->profile.hosts; host++) {
        check_answers(world, host);
    }
    for (uint32_t topic = CLUSTER_TOPICS / 2; topic < CLUSTER_TOPICS && !world->verdict->failures; topic++) {
        check_logged(world, topic);
    }
    if (world->profile.calm) {
        check_live(world);
    }
}

/* --- left --- */

void check_cluster_left(struct cluster_world *world)
{
    for (uint32_t i = 0; i < world->profile.servers; i++) {
        uint32_t subscriptions = redis_sim_subscriptions(world->redis, i);
        if (subscriptions != world->profile.hosts) { /* each has its probe's channel */
            verdict_fail(world->verdict, CHECK_REFERENCES, "server %u is left with %u subscriptions of %u hosts", i,
                         subscriptions, world->profile.hosts);
        }
    }
    if (redis_sim_connections(world->redis) != 2 * world->profile.hosts * world->profile.servers) {
        verdict_fail(world->verdict, CHECK_REFERENCES, "%u connections of %u hosts to %u servers",
                     redis_sim_connections(world->redis), world->profile.hosts, world->profile.servers);
    }
}
