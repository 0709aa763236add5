/* check_references: see check_references.h. */
#include "check_references.h"

#include "topic/filters.h"

static struct topic *topic_in(struct shard *shard, uint32_t number)
{
    bool there = slab_mapped(&shard->owner.topics, number) && topic_at(&shard->owner, number)->name;
    return there ? topic_at(&shard->owner, number) : NULL;
}

static uint32_t chunks_of(const struct log *log)
{
    uint32_t count = 0;
    for (const struct chunk *chunk = log->oldest; chunk; chunk = chunk_next(chunk)) {
        count++;
    }
    return count;
}

/* Topics without history go when they have been idle for long enough; what other hosts have a part in, before that. */
static bool topic_will_go(struct shard *shard, const struct topic *topic)
{
    return topic->remote || topic_namespace(&shard->owner, topic)->history_messages == 0 || !topic->log.oldest;
}

bool shard_is_left(struct shard *shard)
{
    if (!shard_is_quiet(shard) || shard->owner.followers.used) {
        return false;
    }
    for (uint32_t n = 1; n < slab_end(&shard->owner.topics); n++) {
        const struct topic *topic = topic_in(shard, n);
        if (topic && topic_will_go(shard, topic)) {
            return false;
        }
    }
    return true;
}

struct left {
    const char *what;
    uint64_t count;
};

static void check_shard(struct verdict *verdict, struct shard *shard)
{
    const struct left all[] = {
        {"connections", shard->conns.table.used},
        {"sessions", shard->conns.sessions.used},
        {"handshakes", shard->conns.handshakes},
        {"tickets", shard->conns.tickets},
        {"addresses", shard->conns.addresses.records.used},
        {"subscriptions in the index", shard->conns.subscription_index.records.used},
        {"connections that are ready", shard->conns.ready_first},
        {"connections that are doomed", shard->conns.doomed.size},
        {"feeds", shard->feeds.feeds.used},
        {"subscriptions", shard->feeds.subscriptions.used},
        {"wishes", shard->feeds.wishes.used},
        {"cursors", shard->feeds.cursors.used},
        {"holds", shard->feeds.holds.used},
        {"feeds that are dirty", shard->feeds.dirty.first},
        {"feeds with something to ask", shard->feeds.unsent.first},
        {"filters of the shard", filters_count(shard->feeds.matcher)},
        {"followers", shard->owner.followers.used},
        {"filters at the owner", filters_count(shard->owner.filters)},
        {"topics that are dirty", shard->owner.dirty.first},
        {"answers that wait", shard->owner.answers.first != NULL},
        {"messages that were not told", watermark_pending(&shard->owner.told)},
        {"messages of filters that were not delivered", watermark_pending(&shard->feeds.delivered)},
        {"filters that publishers wait for", shard->owner.brakes.used},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (all[i].count) {
            verdict_fail(verdict, CHECK_REFERENCES, "shard %u is left with %llu %s", shard->number,
                         (unsigned long long)all[i].count, all[i].what);
        }
    }
}

static void check_topic(struct verdict *verdict, struct shard *shard, const struct topic *topic)
{
    if (topic_will_go(shard, topic) || topic->held.first || topic->reports_awaited) {
        verdict_fail(verdict, CHECK_REFERENCES, "shard %u has not forgotten %.*s, or holds its answers", shard->number,
                     topic->name->size, topic->name->bytes);
    }
}

void check_references(struct verdict *verdict, struct shard *const *shards, uint32_t count)
{
    uint64_t chunks = 0, names = 0;
    for (uint32_t i = 0; i < count; i++) {
        check_shard(verdict, shards[i]);
        names += shards[i]->owner.topics.used;
        for (uint32_t n = 1; n < slab_end(&shards[i]->owner.topics); n++) {
            const struct topic *topic = topic_in(shards[i], n);
            if (topic) {
                chunks += chunks_of(&topic->log);
                check_topic(verdict, shards[i], topic);
            }
        }
    }
    if (chunks != chunk_count_in_use()) {
        verdict_fail(verdict, CHECK_REFERENCES, "%llu chunks are in use, and logs have %llu",
                     (unsigned long long)chunk_count_in_use(), (unsigned long long)chunks);
    }
    if (names != name_count_in_use()) {
        verdict_fail(verdict, CHECK_REFERENCES, "%llu names are in use, and there are %llu topics",
                     (unsigned long long)name_count_in_use(), (unsigned long long)names);
    }
}

void check_references_end(struct verdict *verdict)
{
    if (chunk_count_in_use() || chunk_bytes_in_use() || name_count_in_use()) {
        verdict_fail(verdict, CHECK_REFERENCES, "at the end %llu chunks of %llu bytes and %llu names are left",
                     (unsigned long long)chunk_count_in_use(), (unsigned long long)chunk_bytes_in_use(),
                     (unsigned long long)name_count_in_use());
    }
}
