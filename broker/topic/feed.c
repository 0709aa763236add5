/*
 * feed: the table of feeds, and their life. See feed.h for the model.
 */
#include "topic/feed.h"

#include "base/check.h"

bool feeds_init(struct feeds *feeds, uint32_t shard, uint32_t shard_count, struct mesh *mesh,
                const struct config *config, struct stats *stats, struct lane_writer *writer, uint64_t seed)
{
    *feeds = (struct feeds){
        .shard = shard,
        .shard_count = shard_count,
        .mesh = mesh,
        .config = config,
        .stats = stats,
        .writer = writer,
    };
    const uint32_t most = UINT32_MAX - SLAB_SEGMENT_RECORDS;
    slab_init(&feeds->feeds, sizeof(struct feed), most); /* bounded by the topics, and by the matcher */
    slab_init(&feeds->subscriptions, sizeof(struct subscription), most);
    slab_init(&feeds->wishes, sizeof(struct wish), most);
    slab_init(&feeds->cursors, sizeof(struct cursor), most);
    slab_init(&feeds->holds, sizeof(struct hold), most);
    slab_init(&feeds->walks, sizeof(struct walk), most);
    feeds->matcher = filters_create(config->limits.topics, seed);
    return index_init(&feeds->topics, &feeds->feeds) && index_init(&feeds->filters, &feeds->feeds) && feeds->matcher;
}

static void feed_release(struct feeds *feeds, struct feed *feed)
{
    for (uint32_t n = feed->holds; n; n = hold_at(feeds, n)->next) {
        chunk_drop(hold_at(feeds, n)->chunk);
    }
    chunk_drop(feed->base);
    if (feed->filter) {
        log_release(&feed->filter->log);
        free(feed->filter);
    }
    vector_free(&feed->subscribers);
    vector_free(&feed->matches);
    name_drop(feed->name);
    feed->name = NULL;
}

void feeds_destroy(struct feeds *feeds)
{
    for (uint32_t n = 1; n < slab_end(&feeds->feeds); n++) {
        if (slab_mapped(&feeds->feeds, n) && feed_at(feeds, n)->name) {
            feed_release(feeds, feed_at(feeds, n));
        }
    }
    if (feeds->matcher) {
        filters_destroy(feeds->matcher);
    }
    index_destroy(&feeds->topics);
    index_destroy(&feeds->filters);
    slab_destroy(&feeds->feeds);
    slab_destroy(&feeds->subscriptions);
    slab_destroy(&feeds->wishes);
    slab_destroy(&feeds->cursors);
    slab_destroy(&feeds->holds);
    slab_destroy(&feeds->walks);
    free(feeds->answers);
}

static struct index *index_of(struct feeds *feeds, bool wild)
{
    return wild ? &feeds->filters : &feeds->topics;
}

static uint32_t find(struct feeds *feeds, uint64_t hash, struct span text, bool wild)
{
    const struct index *index = index_of(feeds, wild);
    for (uint32_t n = index_first(index, hash); n; n = index_next(index, n)) {
        if (span_equal(name_span(feed_at(feeds, n)->name), text)) {
            return n;
        }
    }
    return 0;
}

uint32_t feeds_find(struct feeds *feeds, struct span text, bool wild)
{
    return find(feeds, name_hash(text), text, wild);
}

/* A filter's log lives here, and the shard's matcher must know it. */
static bool filter_prepare(struct feeds *feeds, struct feed *feed, uint32_t number)
{
    feed->filter = calloc(1, sizeof *feed->filter);
    if (!feed->filter || !filters_add(feeds->matcher, name_span(feed->name), number)) {
        free(feed->filter);
        feed->filter = NULL;
        return false;
    }
    feed->filter->brakes_asked = feeds->shard_count; /* nothing is to be told */
    feed->known = true;
    feed->epoch = FILTER_EPOCH;
    return true;
}

uint32_t feeds_feed(struct feeds *feeds, struct span text, bool wild, struct name *name)
{
    uint64_t hash = name_hash(text);
    uint32_t number = find(feeds, hash, text, wild);
    if (number) {
        return number;
    }
    struct name *own = name ? name_share(name) : name_create(text);
    number = own ? slab_take(&feeds->feeds) : 0;
    if (!number) {
        if (own) {
            name_drop(own);
        }
        return 0;
    }
    struct feed *feed = feed_at(feeds, number);
    *feed = (struct feed){
        .link.hash = hash,
        .name = own,
        .owner = (uint8_t)name_owner(hash, feeds->shard_count),
        .namespace = (uint16_t)(config_namespace_of(feeds->config, text) - feeds->config->namespaces),
    };
    if (wild && !filter_prepare(feeds, feed, number)) {
        name_drop(own);
        feed->name = NULL;
        slab_give(&feeds->feeds, number);
        return 0;
    }
    index_insert(index_of(feeds, wild), number);
    STATS_SET(feeds->stats, feeds, feeds->feeds.used);
    return number;
}

void feed_free(struct feeds *feeds, uint32_t number)
{
    struct feed *feed = feed_at(feeds, number);
    CHECK(!feed->dirty && !feed->unsent && !feed->walk && !feed->holds && !feed->waiting &&
          feed->subscribers.size == 0);
    if (feed->filter) {
        filters_remove(feeds->matcher, name_span(feed->name), number);
    }
    index_remove(index_of(feeds, feed->filter != NULL), number);
    feed_release(feeds, feed);
    slab_give(&feeds->feeds, number);
    STATS_SET(feeds->stats, feeds, feeds->feeds.used);
}

/* --- lists --- */

void feeds_mark_dirty(struct feeds *feeds, uint32_t number)
{
    if (!feed_at(feeds, number)->dirty) {
        feed_at(feeds, number)->dirty = true;
        queue_push(&feeds->dirty, &feeds->feeds, offsetof(struct feed, dirty_next), number);
    }
}

uint32_t feeds_dirty_take(struct feeds *feeds)
{
    uint32_t number = queue_take(&feeds->dirty, &feeds->feeds, offsetof(struct feed, dirty_next));
    if (number) {
        feed_at(feeds, number)->dirty = false;
    }
    return number;
}

void feeds_rest(struct feeds *feeds, struct queue *line, uint32_t number)
{
    feed_at(feeds, number)->dirty = true;
    queue_push(line, &feeds->feeds, offsetof(struct feed, dirty_next), number);
}

void feeds_rested(struct feeds *feeds, struct queue *line)
{
    queue_append(&feeds->dirty, &feeds->feeds, offsetof(struct feed, dirty_next), line);
}

void feed_mark_unsent(struct feeds *feeds, uint32_t number)
{
    if (!feed_at(feeds, number)->unsent) {
        feed_at(feeds, number)->unsent = true;
        queue_push(&feeds->unsent, &feeds->feeds, offsetof(struct feed, unsent_next), number);
    }
}

void feeds_answer(struct feeds *feeds, const struct feed_answer *answer)
{
    if (feeds->answer_count == feeds->answer_room) {
        uint32_t room = feeds->answer_room ? feeds->answer_room * 2 : 64;
        struct feed_answer *grown = realloc(feeds->answers, room * sizeof *grown);
        CHECK_MSG(grown, "no memory for the answers of a turn");
        feeds->answers = grown;
        feeds->answer_room = room;
    }
    feeds->answers[feeds->answer_count++] = *answer;
}

/* --- life --- */

/* A topic that no owner knows us for is not needed for a filter: it would be announced (TELL_FOLLOW). */
static bool feed_is_used(const struct feed *feed)
{
    bool by_filter = feed->matches.size > 0 && feed->state != FEED_NEW;
    return feed->subscribers.size > 0 || feed->waiting || by_filter;
}

void feed_check_used(struct feeds *feeds, uint32_t number)
{
    struct feed *feed = feed_at(feeds, number);
    if (!feed->filter) {
        feed_match(feeds, number);
    }
    if (feed_is_used(feed) || feed->state == FEED_LEAVING) {
        return;
    }
    feed->lanes_wanted = 0;
    feed_mark_unsent(feeds, number); /* feeds_send() leaves it when nothing else is under way */
}

void feeds_sweep(struct feeds *feeds, uint32_t count)
{
    uint32_t end = slab_end(&feeds->feeds);
    for (uint32_t i = 0; i < count && end > 0; i++) {
        feeds->sweep_at = feeds->sweep_at + 1 < end ? feeds->sweep_at + 1 : 1;
        uint32_t number = feeds->sweep_at;
        if (slab_mapped(&feeds->feeds, number) && feed_at(feeds, number)->name) {
            struct feed *feed = feed_at(feeds, number);
            if (feed->filter && feed->walked == feed->tail) {
                log_release_unread(&feed->filter->log); /* a silent filter's open chunk */
            }
            if (!feed->filter && feed->known && feed->subscribers.size == 0) {
                feed_check_used(feeds, number);
            }
        }
    }
}
