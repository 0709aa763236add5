/*
 * feed_test: how subscriptions come, are walked, fall behind, are passed and leave, over owners and a mesh that are
 * real; delivery is played by the test.
 *
 * Beside single cases there is a random run against a slow model. Each reader remembers the next offset that it must
 * be given, so what is lost, doubled or out of order is seen at once; after every step the parts of the
 * subscribers, the cursors and the holds of all feeds are compared with what the readers say. All from seeds that a
 * failure names.
 */
#include "host.h"

static const struct from from_new = {.kind = FROM_NEW};

static struct feed *feed_named(struct host *host, uint32_t number, const char *text)
{
    struct feeds *feeds = &host->peers[number]->feeds;
    uint32_t found = feeds_find(feeds, host_span(text), strpbrk(text, "+#") != NULL);
    return found ? feed_at(feeds, found) : NULL;
}

static uint32_t live_subscription(struct host *host, uint32_t number, uint32_t conn, const char *text)
{
    uint32_t subscription = host_subscribe(host, number, conn, LANE_RAW, text, from_new);
    host_settle(host);
    const struct feed_answer *answer = host_subscribed(host, number, subscription);
    assert_non_null(answer);
    assert_int_equal(answer->error, REPLY_OK);
    assert_int_equal(subscription_at(&host->peers[number]->feeds, subscription)->state, SUBSCRIPTION_LIVE);
    return subscription;
}

/* --- single cases --- */

static void subscription_ends_in_every_state(void **state)
{
    (void)state;
    struct host *host = host_create(2, 64, (const char *const[]){"namespace.default.history_messages=5", NULL});
    struct feeds *feeds = &host->peers[1]->feeds;
    const char *topic = host_name_of(host, 0, "t");
    const struct from from = {.kind = FROM_LAST};
    for (int i = 0; i < 3; i++)
        host_publish_now(host, 0, topic, "x");
    for (int turns = 0; turns < 8; turns++) {
        uint32_t subscription = host_subscribe(host, 1, 7, LANE_JSON, topic, from);
        for (int i = 0; i < turns; i++)
            host_turn(host, i % 2 ? 0 : 1);
        feeds_unsubscribe(feeds, subscription);
        feeds->answer_count = 0;
        host_settle(host);
        assert_int_equal(feeds->subscriptions.used + feeds->wishes.used + feeds->cursors.used + feeds->feeds.used, 0);
        assert_int_equal(host_topic(host, topic)->followers, 0);
    }
    host_destroy(host);
}

static void lane_that_is_missing_is_joined_later(void **state)
{
    (void)state;
    struct host *host = host_create(2, 64, NULL);
    const char *topic = host_name_of(host, 0, "t");
    live_subscription(host, 1, 7, topic);
    host_publish_now(host, 0, topic, "x");
    uint32_t json = host_subscribe(host, 1, 8, LANE_JSON, topic, from_new);
    assert_null(host_subscribed(host, 1, json));
    host_settle(host);
    assert_int_equal(host_subscribed(host, 1, json)->offset, 1);
    assert_non_null(chunk_lane(feed_named(host, 1, topic)->base, LANE_JSON)); /* of the message before, too */
    uint32_t third = host_subscribe(host, 1, 9, LANE_JSON, topic, from_new);
    assert_non_null(host_subscribed(host, 1, third)); /* at once: the feed is told in this lane */
    host_deliver(host, 1, NULL, NULL);
    host_destroy(host);
}

/* Counts what walks bring, and looks that the messages are where the feed says. */
struct seen {
    struct host *host;
    uint32_t peer;
    uint64_t count;
};

static void see(void *context, uint32_t subscription, uint64_t from, uint64_t to)
{
    struct seen *seen = context;
    const struct feeds *feeds = &seen->host->peers[seen->peer]->feeds;
    const struct feed *feed = feed_at(feeds, subscription_at(feeds, subscription)->feed);
    for (uint64_t offset = from; offset <= to; offset++, seen->count++) {
        const struct chunk *chunk = chunk_with(feed->base, offset);
        assert_true(offset >= chunk->base && offset < chunk->base + chunk->count);
    }
}

/* Two joins, and everybody leaves between the answers: who comes then has joined when it is told so, not before. */
static void nobody_becomes_live_on_a_feed_that_leaves(void **state)
{
    (void)state;
    struct host *host = host_create(2, 64, NULL);
    struct feeds *feeds = &host->peers[1]->feeds;
    struct seen seen = {.host = host, .peer = 1};
    const char *topic = host_name_of(host, 0, "t");
    uint32_t raw = host_subscribe(host, 1, 7, LANE_RAW, topic, from_new);
    host_turn(host, 1); /* ASK_JOIN for raw */
    uint32_t json = host_subscribe(host, 1, 8, LANE_JSON, topic, from_new);
    feeds_send(feeds);
    host_asks(host, 0, 1);
    host_turn(host, 1); /* the first answer */
    feeds_unsubscribe(feeds, raw);
    feeds_unsubscribe(feeds, json);
    host_turn(host, 1);
    uint32_t late = host_subscribe(host, 1, 9, LANE_RAW, topic, from_new);
    host_asks(host, 0, UINT32_MAX);
    host_publish(host, 0, topic, "x");
    host_asks(host, 0, UINT32_MAX);
    host_settle(host);
    host_deliver(host, 1, see, &seen);
    const struct feed_answer *answer = host_subscribed(host, 1, late);
    assert_int_equal(answer->error, REPLY_OK);
    assert_int_equal(answer->offset + seen.count, 1); /* before it came, or seen */
    host_publish_now(host, 0, topic, "x");
    host_deliver(host, 1, see, &seen);
    assert_int_equal(answer->offset + seen.count, 2);
    host_destroy(host);
}

/* Left with messages that no walk has taken: the feed goes when the walk has been, or is followed again as it stands.
 */
static void feed_that_is_left_while_dirty(void **state)
{
    (void)state;
    struct host *host = host_create(1, 64, NULL);
    struct feeds *feeds = &host->peers[0]->feeds;
    struct seen seen = {.host = host, .peer = 0};
    for (int wild = 0; wild < 2; wild++) {
        uint32_t subscription = live_subscription(host, 0, 7, wild ? "t/#" : "t/1");
        host_publish_now(host, 0, "t/1", "x");
        feeds_unsubscribe(feeds, subscription);
        for (int i = 0; i < 10; i++)
            host_turn(host, 0);
        host_publish(host, 0, "t/1", "x");
        for (int i = 0; i < 10; i++)
            host_turn(host, 0);
        uint32_t again = host_subscribe(host, 0, 8, LANE_RAW, wild ? "t/#" : "t/1", from_new);
        host_publish(host, 0, "t/1", "x");
        for (int i = 0; i < 10; i++)
            host_turn(host, 0);
        assert_non_null(host_subscribed(host, 0, again));
        host_publish(host, 0, "t/1", "x");
        for (int i = 0; i < 10; i++)
            host_turn(host, 0);
        host_deliver(host, 0, see, &seen);
        feeds_unsubscribe(feeds, again);
        host_settle(host);
        feeds_sweep(feeds, slab_end(&feeds->feeds));
        host_settle(host);
        assert_int_equal(feeds->feeds.used, 0);
    }
    assert_true(seen.count >= 2);
    host_destroy(host);
}

/* A filter that comes while a topic that it matches is being left. */
static void topic_is_left_and_announced_in_one_turn(void **state)
{
    (void)state;
    struct host *host = host_create(2, 64, NULL);
    struct feeds *feeds = &host->peers[1]->feeds;
    const char *topic = host_name_of(host, 0, "t/");
    uint32_t plain = live_subscription(host, 1, 7, topic);
    host_publish(host, 0, topic, "to the plain one");
    feeds_unsubscribe(feeds, plain);
    feeds_send(feeds); /* ASK_LEAVE */
    uint32_t filter = host_subscribe(host, 1, 8, LANE_RAW, "t/#", from_new);
    feeds_send(feeds); /* ASK_FILTER behind it */
    host_turn(host, 1);
    struct envelope copy = *spsc_peek(mesh_asks(&host->mesh, 0, 0)); /* the publish is worked before the leave */
    spsc_pop(mesh_asks(&host->mesh, 0, 0));
    assert_true(owner_ask(&host->peers[0]->owner, &copy));
    owner_advance(&host->peers[0]->owner);
    host_turn(host, 1); /* matches are looked up for a feed that is LEAVING */
    host_asks(host, 0, UINT32_MAX);
    host_publish(host, 0, topic, "to the filter");
    host_asks(host, 0, UINT32_MAX);
    owner_advance(&host->peers[0]->owner); /* TELL_LEFT, TELL_FILTERED and TELL_FOLLOW at once */
    host_settle(host);
    assert_int_equal(host_subscribed(host, 1, filter)->error, REPLY_OK);
    assert_int_equal(feed_named(host, 1, "t/#")->tail, 1);
    host_deliver(host, 1, NULL, NULL);
    host_destroy(host);
}

static void filter_matches_as_many_topics_as_there_may_be(void **state)
{
    (void)state;
    struct host *host = host_create(2, 64, (const char *const[]){"limits.topics=8", NULL});
    uint32_t filter = live_subscription(host, 1, 7, "#");
    for (int i = 0; i < 40; i++) {
        char topic[16];
        snprintf(topic, sizeof topic, "t%d", i);
        host_publish(host, 0, topic, "x");
        host_settle(host);
    }
    assert_int_equal(host->peers[0]->owner.topics.used, 4);
    assert_int_equal(host->peers[1]->owner.topics.used, 4);
    assert_int_equal(host->peers[1]->feeds.feeds.used, 9);
    assert_int_equal(feed_named(host, 1, "#")->tail, 8);
    live_subscription(host, 1, 8, host_name_of(host, 0, "t")); /* of a topic that is there */
    host_deliver(host, 1, NULL, NULL);
    feeds_unsubscribe(&host->peers[1]->feeds, filter);
    host_settle(host);
    host_destroy(host);
}

/* The reader's chunk is the log's only one, and the topic falls silent: what comes next must be chained to it. */
static void reader_in_the_open_chunk_of_a_silent_topic(void **state)
{
    (void)state;
    struct host *host = host_create(1, 64, NULL);
    struct feeds *feeds = &host->peers[0]->feeds;
    for (int wild = 0; wild < 2; wild++) {
        const char *text = wild ? "t/#" : "t/1";
        uint32_t subscription = live_subscription(host, 0, 7, text);
        host_publish_now(host, 0, "t/1", "one");
        struct feed *feed = feed_named(host, 0, text);
        uint32_t number = feeds_dirty_take(feeds);
        while (feed_at(feeds, number) != feed)
            number = feeds_dirty_take(feeds);
        assert_true(feed_walk_begin(feeds, number));
        assert_int_equal(feed_walk_next(feeds, feed), subscription);
        uint32_t published_us, cursor = cursor_create(feeds, subscription, feed->walked); /* takes nothing */
        assert_true(feed_walk_settle(feeds, number, &published_us));
        assert_int_equal(feed->walk, 0);
        host_time(host, 60000);
        owner_sweep(&host->peers[0]->owner, slab_end(&host->peers[0]->owner.topics));
        feeds_sweep(feeds, slab_end(&feeds->feeds));
        host_settle(host);
        host_publish_now(host, 0, "t/1", "two");
        const struct chunk *chunk = cursor_chunk(feeds, cursor_at(feeds, cursor));
        assert_int_equal(chunk_with((struct chunk *)chunk, feed->tail)->base + 1 > feed->tail,
                         chunk_next(chunk) != NULL);
        assert_true(feed->tail - chunk_with((struct chunk *)chunk, feed->tail)->base < chunk->count);
        host_deliver(host, 0, NULL, NULL);
        feeds_unsubscribe(feeds, subscription);
        feeds_sweep(feeds, slab_end(&feeds->feeds));
        host_settle(host);
        host_time(host, 60000);
        owner_sweep(&host->peers[0]->owner, slab_end(&host->peers[0]->owner.topics));
        assert_int_equal(chunk_count_in_use(), host->chunks_before);
    }
    host_destroy(host);
}

/* --- the random run --- */

#define READERS 48
#define TOPICS  4
#define TEXTS   7
#define STEPS   3000
#define SEEDS   6 /* of each sort: each number of peers with each size of ring; SHOAL_UNIT_SEEDS asks for more */

static const char *const texts[TEXTS] = {"a/1", "a/2", "b/1", "b/2", "a/#", "+/1", "#"};

struct reader {
    uint32_t subscription; /* 0: none */
    uint32_t peer;
    uint32_t text;
    enum lane lane;
    bool live;
    uint64_t next; /* offset in its feed's log */
    /* of a filter: numbers of the messages that it saw */
    uint64_t last[TOPICS];
    uint64_t due[TOPICS]; /* the first seen may be this one at most; 0: any */
};

struct run {
    struct host *host;
    uint32_t random;
    uint64_t published[TOPICS];
    struct reader readers[READERS];
    uint64_t given;
    uint64_t passed;
    uint64_t stalls;
};

static uint32_t chance(struct run *run, uint32_t bound)
{
    run->random = run->random * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)run->random * bound) >> 32);
}

static struct feeds *feeds_of(struct run *run, const struct reader *reader)
{
    return &run->host->peers[reader->peer]->feeds;
}

static struct feed *feed_of_reader(struct run *run, const struct reader *reader)
{
    return feed_at(feeds_of(run, reader), subscription_at(feeds_of(run, reader), reader->subscription)->feed);
}

/* Payloads are "(#TOPIC NUMBER)" and then filling. In both lanes the text stands in the frame as it is. */
static bool numbers_in(const struct chunk *chunk, uint32_t index, enum lane lane, uint32_t *topic, uint64_t *number)
{
    const struct chunk_lane *bytes = chunk_lane(chunk, lane);
    assert_non_null(bytes);
    uint32_t begin = chunk_begin(bytes, index);
    const char *at = memmem(bytes->bytes + begin, bytes->ends[index] - begin, "(#", 2);
    if (!at)
        return false;
    char *end;
    *topic = (uint32_t)strtoul(at + 2, &end, 10);
    *number = strtoull(end, NULL, 10);
    return true;
}

static uint32_t topic_of(uint64_t hash)
{
    uint32_t topic = 0;
    while (name_hash(host_span(texts[topic])) != hash)
        assert_true(++topic < TOPICS);
    return topic;
}

/* A message in the log of a filter: each topic's in their order, and without a hole. */
static void give_of_filter(struct reader *reader, const struct chunk *chunk, uint32_t index)
{
    uint32_t topic = topic_of(chunk->origins[index].hash), topic_shown = TOPICS;
    uint64_t number = chunk->origins[index].position, number_shown = 0;
    if (!numbers_in(chunk, index, reader->lane, &topic_shown, &number_shown)) {
        /* not written in this lane: allowed only if it was published before the reader was told that it is live */
        assert_true(number < reader->due[topic] || !reader->due[topic]);
        return;
    }
    assert_int_equal(topic_shown, topic);
    assert_int_equal(number_shown, number);
    if (reader->last[topic])
        assert_int_equal(number, reader->last[topic] + 1);
    else if (reader->due[topic])
        assert_true(number <= reader->due[topic]);
    reader->last[topic] = number;
}

/* As conn/deliver does it: a chunk of the history may have been sealed before anybody read this lane. */
static void lane_reach(struct run *run, const struct reader *reader, struct chunk *chunk)
{
    if (chunk_lane(chunk, reader->lane))
        return;
    const struct chunk *next = chunk_next(chunk);
    assert_non_null(next);
    assert_true(reader->text < TOPICS);
    assert_true(chunk_lane_make(chunk, reader->lane, (uint32_t)(next->base - chunk->base),
                                &run->host->peers[reader->peer]->writer, name_span(feed_of_reader(run, reader)->name)));
}

/* A reader is given one message. */
static void give(struct run *run, struct reader *reader, struct chunk *chunk, uint64_t offset)
{
    assert_true(reader->live);
    assert_int_equal(offset, reader->next);
    chunk = chunk_with(chunk, offset);
    assert_true(offset >= chunk->base && offset - chunk->base < chunk->messages_max);
    uint32_t index = (uint32_t)(offset - chunk->base), topic = TOPICS;
    uint64_t number = 0;
    lane_reach(run, reader, chunk);
    reader->next++;
    run->given++;
    if (reader->text >= TOPICS) {
        give_of_filter(reader, chunk, index);
        return;
    }
    assert_true(numbers_in(chunk, index, reader->lane, &topic, &number));
    assert_int_equal(topic, reader->text);
    assert_int_equal(number, offset);
}

static void publish(struct run *run)
{
    char payload[2048];
    uint32_t topic = chance(run, TOPICS);
    uint32_t filling = chance(run, 4) ? chance(run, 100) : chance(run, 1500);
    int size = snprintf(payload, sizeof payload, "(#%u %llu)", topic, (unsigned long long)run->published[topic] + 1);
    memset(payload + size, '.', filling);
    struct span span = {payload, (size_t)size + filling};
    if (run->host->peers[0]->answer_count > HOST_ANSWERS_MAX / 2)
        run->host->peers[0]->answer_count = 0;
    /* all from one peer, so that their numbers are their offsets */
    if (host_try_publish(run->host, 0, texts[topic], span, NULL))
        run->published[topic]++;
}

static struct reader *reader_with(struct run *run, uint32_t peer, uint32_t subscription)
{
    uint32_t conn = subscription_at(&run->host->peers[peer]->feeds, subscription)->conn;
    assert_true(conn < READERS && run->readers[conn].subscription == subscription && run->readers[conn].peer == peer);
    return &run->readers[conn];
}

static void end(struct run *run, struct reader *reader)
{
    struct feeds *feeds = feeds_of(run, reader);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < feeds->answer_count; i++)
        if (feeds->answers[i].subscription != reader->subscription)
            feeds->answers[kept++] = feeds->answers[i];
    feeds->answer_count = kept;
    feeds_unsubscribe(feeds, reader->subscription);
    *reader = (struct reader){0};
}

/* What conn/answer does: those that are refused are ended, the others know where they begin. */
static void take_answers(struct run *run, uint32_t peer)
{
    struct feeds *feeds = &run->host->peers[peer]->feeds;
    while (feeds->answer_count > 0) {
        struct feed_answer answer = feeds->answers[0];
        memmove(feeds->answers, feeds->answers + 1, --feeds->answer_count * sizeof answer);
        struct reader *reader = reader_with(run, peer, answer.subscription);
        if (answer.error) {
            end(run, reader);
            continue;
        }
        reader->live = true;
        reader->next = answer.offset + 1;
        for (uint32_t i = 0; i < TOPICS; i++) {
            const struct topic *topic = host_topic(run->host, texts[i]);
            reader->due[i] = (topic ? topic->log.tail : 0) + 1;
        }
    }
}

static void subscribe(struct run *run)
{
    uint32_t conn = chance(run, READERS);
    struct reader *reader = &run->readers[conn];
    if (reader->subscription)
        return;
    *reader = (struct reader){.peer = chance(run, run->host->count), .text = chance(run, TEXTS)};
    reader->lane = chance(run, 3) ? LANE_RAW : LANE_JSON;
    struct from from = {.kind = FROM_NEW};
    if (reader->text < TOPICS && chance(run, 2)) {
        const struct topic *topic = host_topic(run->host, texts[reader->text]);
        from.kind = chance(run, 2) ? FROM_LAST : FROM_POSITION;
        from.epoch = topic ? topic->epoch : 1;
        from.offset = chance(run, (uint32_t)run->published[reader->text] + 3);
    }
    reader->subscription = host_subscribe(run->host, reader->peer, conn, reader->lane, texts[reader->text], from);
    assert_int_not_equal(reader->subscription, 0);
}

/* A cursor reads on by some messages, and perhaps into the next one. */
static void read_on(struct run *run, struct reader *reader, uint64_t most)
{
    struct feeds *feeds = feeds_of(run, reader);
    uint32_t number = subscription_at(feeds, reader->subscription)->cursor;
    if (!number || !cursor_at(feeds, number)->hold)
        return;
    struct feed *feed = feed_of_reader(run, reader);
    struct chunk *chunk = cursor_chunk(feeds, cursor_at(feeds, number));
    assert_int_equal(cursor_at(feeds, number)->offset + 1, reader->next);
    for (; most > 0 && reader->next <= feed->tail; most--)
        give(run, reader, chunk, reader->next);
    bool dropped;
    uint64_t offset = reader->next - 1;
    bool at_tail = cursor_move(feeds, number, chunk, offset, offset < feed->tail ? chance(run, 5) : 0, &dropped);
    assert_int_equal(at_tail, offset == feed->tail);
    assert_int_equal(dropped, subscription_at(feeds, reader->subscription)->cursor == 0);
}

static void woken(void *context, uint32_t cursor)
{
    (void)context;
    assert_int_not_equal(cursor, 0);
}

/* All that the backlog has passed end, or jump. */
static void apply_policy(struct run *run, uint32_t peer, uint32_t number)
{
    struct feeds *feeds = &run->host->peers[peer]->feeds;
    uint32_t hold;
    while ((hold = feed_passed(feeds, number)) != 0) {
        uint32_t cursor = hold_at(feeds, hold)->cursors;
        struct reader *reader = reader_with(run, peer, cursor_at(feeds, cursor)->subscription);
        run->passed++;
        if (chance(run, 2)) {
            end(run, reader);
            continue;
        }
        struct chunk *chunk;
        bool dropped;
        reader->next = feed_backlog_first(feeds, number, &chunk);
        memset(reader->last, 0, sizeof reader->last);
        memset(reader->due, 0, sizeof reader->due);
        cursor_move(feeds, cursor, chunk, reader->next - 1, 0, &dropped);
    }
}

static void walk_one(struct run *run, uint32_t peer, struct feed *feed, uint32_t subscription, bool stalls)
{
    struct feeds *feeds = &run->host->peers[peer]->feeds;
    struct reader *reader = reader_with(run, peer, subscription);
    if (subscription_at(feeds, subscription)->cursor)
        return;
    if (stalls && chance(run, 3) == 0) {
        assert_int_not_equal(cursor_create(feeds, subscription, feed->walked), 0);
        run->stalls++;
        if (chance(run, 2))
            read_on(run, reader, chance(run, 3));
        return;
    }
    uint64_t target = walk_at(feeds, feed)->target;
    for (uint64_t offset = feed->walked + 1; offset <= target; offset++)
        give(run, reader, feed->base, offset);
}

/* One slice of one dirty feed, as conn/deliver does it. False: none is dirty. */
static bool deliver(struct run *run, uint32_t peer, bool stalls)
{
    struct feeds *feeds = &run->host->peers[peer]->feeds;
    uint32_t number = feeds_dirty_take(feeds);
    if (!number)
        return false;
    struct feed *feed = feed_at(feeds, number);
    feed_unpark(feeds, number, woken, NULL);
    apply_policy(run, peer, number);
    if (!feed_walk_begin(feeds, number))
        return true;
    uint32_t most = stalls ? chance(run, 4) : UINT32_MAX, subscription, published_us;
    while (feed->walk && most > 0) {
        while (most > 0 && (subscription = feed_walk_next(feeds, feed)) != 0) {
            walk_one(run, peer, feed, subscription, stalls);
            most--;
        }
        feed_walk_settle(feeds, number, &published_us);
    }
    if (feed->walk || feed->walked < feed->tail)
        feeds_mark_dirty(feeds, number);
    return true;
}

/* --- the slow model: what must be true of a feed between two steps --- */

static void check_place(struct run *run, uint32_t peer, const struct feed *feed, uint32_t place)
{
    const struct feeds *feeds = &run->host->peers[peer]->feeds;
    uint32_t number = feed->subscribers.items[place];
    const struct subscription *subscription = subscription_at(feeds, number);
    const struct reader *reader = reader_with(run, peer, number);
    assert_int_equal(subscription->state, SUBSCRIPTION_LIVE);
    assert_int_equal(subscription->place, place);
    assert_ptr_equal(feed_at(feeds, subscription->feed), feed);
    if (!reader->live)
        return; /* its answer was not taken yet */
    if (subscription->cursor) {
        assert_int_equal(cursor_at(feeds, subscription->cursor)->subscription, number);
        assert_int_equal(cursor_at(feeds, subscription->cursor)->offset + 1, reader->next);
    } else {
        assert_int_equal(reader->next, feed_offset_of(feeds, feed, number) + 1);
    }
}

/* Parts cover the vector in its order, none but the oldest is empty, and going round from there offsets don't fall. */
static void check_walk(const struct feeds *feeds, const struct feed *feed)
{
    const struct walk *walk = walk_at(feeds, feed);
    uint64_t before = feed->walked;
    assert_true(walk->target > feed->walked && walk->target <= feed->tail);
    assert_in_range(walk->part_count, feed->subscribers.size ? 1 : 0, WALK_PARTS_MAX);
    for (uint32_t i = 0; i < walk->part_count; i++) {
        uint32_t part = (walk->at + i) % walk->part_count;
        uint32_t end = part + 1 < walk->part_count ? walk->parts[part + 1].begin : feed->subscribers.size;
        assert_true(part > 0 || walk->parts[part].begin == 0);
        assert_true(walk->parts[part].begin < end || part == walk->at);
        assert_true(i > 0 || walk->parts[part].offset == feed->walked);
        assert_true(walk->parts[part].offset >= before && walk->parts[part].offset <= walk->target);
        before = walk->parts[part].offset;
    }
}

static uint32_t check_cursors(const struct feeds *feeds, const struct feed *feed)
{
    uint32_t count = 0;
    uint64_t base = 0;
    for (uint32_t h = feed->holds; h; h = hold_at(feeds, h)->next) {
        const struct hold *hold = hold_at(feeds, h);
        uint32_t in_hold = 0;
        assert_true(hold->chunk->base > base); /* oldest first, one a chunk */
        base = hold->chunk->base;
        for (uint32_t c = hold->cursors; c; c = cursor_at(feeds, c)->next, in_hold++) {
            const struct cursor *cursor = cursor_at(feeds, c);
            assert_int_equal(cursor->hold, h);
            assert_true(cursor->offset < feed->tail && cursor->offset + 1 >= base);
            const struct chunk *next = chunk_next(hold->chunk);
            assert_true(!next || cursor->offset + 1 < next->base);
        }
        assert_int_equal(hold->count, in_hold);
        assert_true(in_hold > 0);
        count += in_hold;
    }
    for (uint32_t c = feed->parked; c; c = cursor_at(feeds, c)->next, count++) {
        assert_int_equal(cursor_at(feeds, c)->hold, 0);
        assert_true(cursor_at(feeds, c)->offset <= feed->tail);
    }
    return count;
}

static void check_peer(struct run *run, uint32_t peer)
{
    const struct feeds *feeds = &run->host->peers[peer]->feeds;
    uint32_t cursors = 0;
    for (uint32_t n = 1; n < slab_end(&feeds->feeds); n++) {
        const struct feed *feed = slab_mapped(&feeds->feeds, n) ? feed_at(feeds, n) : NULL;
        if (!feed || !feed->name)
            continue;
        assert_true(feed->walked <= feed->tail);
        assert_int_equal(feed->base != NULL, feed->walked < feed->tail);
        if (feed->walk)
            check_walk(feeds, feed);
        assert_true(feed->dirty || (!feed->walk && feed->walked == feed->tail));
        for (uint32_t place = 0; place < feed->subscribers.size; place++)
            check_place(run, peer, feed, place);
        cursors += check_cursors(feeds, feed);
    }
    assert_int_equal(cursors, feeds->cursors.used);
}

/* --- a run --- */

static void sweep(struct run *run, uint32_t peer)
{
    host_time(run->host, chance(run, 3000));
    owner_sweep(&run->host->peers[peer]->owner, 64);
    feeds_sweep(&run->host->peers[peer]->feeds, 64);
}

/* Gives the peer that it was about. */
static uint32_t step(struct run *run)
{
    uint32_t peer = chance(run, run->host->count);
    struct reader *reader = &run->readers[chance(run, READERS)];
    switch (chance(run, 16)) {
    case 0:
    case 1:
        subscribe(run);
        break;
    case 2:
        if (reader->subscription)
            end(run, reader);
        break;
    case 3:
    case 4:
    case 5:
    case 6:
        publish(run);
        break;
    case 7:
        host_tells(run->host, peer, 1 + chance(run, 3));
        break;
    case 8:
        host_asks(run->host, peer, 1 + chance(run, 3));
        break;
    case 9:
        owner_advance(&run->host->peers[peer]->owner);
        break;
    case 10:
        if (reader->live)
            read_on(run, reader, chance(run, 20));
        break;
    case 11:
        host_turn(run->host, peer);
        break;
    case 12:
        if (chance(run, 10) == 0)
            sweep(run, peer);
        break;
    default:
        deliver(run, peer, true);
    }
    take_answers(run, peer);
    return peer;
}

/* Everything that is under way arrives, and all who are behind read to the end. */
static void run_dry(struct run *run)
{
    bool moved = true;
    for (int i = 0; moved && i < 10000; i++) {
        moved = false;
        for (uint32_t peer = 0; peer < run->host->count; peer++) {
            moved |= host_turn(run->host, peer);
            take_answers(run, peer);
            moved |= deliver(run, peer, false);
        }
        for (uint32_t n = 0; n < READERS; n++)
            if (run->readers[n].live)
                read_on(run, &run->readers[n], UINT64_MAX);
    }
    assert_false(moved);
}

/* Held answers included: nobody is behind any more. */
static void check_all_are_answered(struct run *run)
{
    uint64_t published = 0;
    for (uint32_t topic = 0; topic < TOPICS; topic++)
        published += run->published[topic];
    assert_int_equal(run->host->peers[0]->answered, published);
}

static void check_all_have_read(struct run *run)
{
    for (uint32_t n = 0; n < READERS; n++) {
        const struct reader *reader = &run->readers[n];
        if (!reader->subscription)
            continue;
        assert_true(reader->live);
        assert_int_equal(reader->next, feed_of_reader(run, reader)->tail + 1);
        for (uint32_t topic = 0; reader->text >= TOPICS && topic < TOPICS; topic++)
            if (reader->last[topic])
                assert_int_equal(reader->last[topic], run->published[topic]);
            else if (topic_filter_matches(host_span(texts[reader->text]), host_span(texts[topic])))
                assert_true(!reader->due[topic] || reader->due[topic] > run->published[topic]);
    }
}

static void leave_all(struct run *run)
{
    for (uint32_t n = 0; n < READERS; n++)
        if (run->readers[n].subscription)
            end(run, &run->readers[n]);
    run_dry(run);
    for (uint32_t peer = 0; peer < run->host->count; peer++)
        feeds_sweep(&run->host->peers[peer]->feeds, slab_end(&run->host->peers[peer]->feeds.feeds));
    run_dry(run);
    for (uint32_t peer = 0; peer < run->host->count; peer++) {
        const struct feeds *feeds = &run->host->peers[peer]->feeds;
        assert_int_equal(feeds->feeds.used, 0);
        assert_int_equal(feeds->subscriptions.used, 0);
        assert_int_equal(feeds->wishes.used, 0);
        assert_int_equal(feeds->cursors.used, 0);
        assert_int_equal(feeds->holds.used, 0);
        assert_int_equal(run->host->peers[peer]->owner.followers.used, 0);
    }
}

static void run_seed(uint32_t seed, uint32_t slots, const char *const *sets, struct run *sums)
{
    struct run run = {.host = host_create(1 + seed % HOST_PEERS_MAX, slots, sets), .random = seed};
    printf("seed %u\n", seed);
    for (int i = 0; i < STEPS; i++) {
        check_peer(&run, step(&run));
        for (uint32_t peer = 0; i % 32 == 0 && peer < run.host->count; peer++)
            check_peer(&run, peer);
    }
    run_dry(&run);
    check_all_are_answered(&run);
    check_all_have_read(&run);
    leave_all(&run);
    sums->given += run.given;
    sums->passed += run.passed;
    sums->stalls += run.stalls;
    host_destroy(run.host);
}

static void random_run(void **state)
{
    const char *const *sets = *state;
    const char *more = getenv("SHOAL_UNIT_SEEDS");
    uint32_t seeds = more ? (uint32_t)strtoul(more, NULL, 10) : SEEDS;
    struct run sums = {0};
    for (uint32_t seed = 1; seed <= seeds; seed++)
        run_seed(seed, seed % 2 ? 4 : 256, sets, &sums);
    assert_true(sums.given > seeds * 1000 && sums.stalls > seeds * 20); /* the run does what it is for */
    assert_int_equal(sums.passed > 0, strstr(sets[0], "64K") != NULL);
}

int main(void)
{
    static const char *wide[] = {"namespace.default.backlog_bytes=64M", "topics.idle_s=1000", NULL};
    static const char *narrow[] = {"namespace.default.backlog_bytes=64K", "topics.idle_s=1000", NULL};
    static const char *kept[] = {"namespace.default.backlog_bytes=64K", "topics.idle_s=1000",
                                 "namespace.default.history_messages=20", NULL};
    static const char *aged[] = {"namespace.default.backlog_bytes=64K", "topics.idle_s=1000",
                                 "namespace.default.history_messages=1000", "namespace.default.history_age_s=1", NULL};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(subscription_ends_in_every_state),
        cmocka_unit_test(lane_that_is_missing_is_joined_later),
        cmocka_unit_test(nobody_becomes_live_on_a_feed_that_leaves),
        cmocka_unit_test(feed_that_is_left_while_dirty),
        cmocka_unit_test(topic_is_left_and_announced_in_one_turn),
        cmocka_unit_test(filter_matches_as_many_topics_as_there_may_be),
        cmocka_unit_test(reader_in_the_open_chunk_of_a_silent_topic),
        {"random_run_wide", random_run, NULL, NULL, wide},
        {"random_run_narrow", random_run, NULL, NULL, narrow},
        {"random_run_with_history", random_run, NULL, NULL, kept},
        {"random_run_with_aged_history", random_run, NULL, NULL, aged},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
