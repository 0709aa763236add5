/*
 * remote_test: live and logged topics at their owner, beside a federation link of the test's own: what waits for it,
 * what comes early, twice or never, what the stream has lost, epochs that change, and what happens while Redis is away.
 *
 * The witness is a subscriber that reads all its feed is told of: each message once and in order, unless it was told of
 * a gap.
 */
#include "link.h"
#include "topic/replay.h"

#define T "log/t"

/* --- the witness --- */

struct witness {
    struct link *link;
    uint32_t peer;
    uint32_t subscription;
    uint64_t epoch;
    uint64_t offset; /* the last one seen */
    uint32_t seen;
    uint32_t gaps;
    struct gap gap; /* the last one */
    char text[32];
};

static void witness_gap(struct witness *witness, const struct gap *gap)
{
    bool same = gap->epoch == witness->epoch;
    assert_int_equal(gap->reason, same ? GAP_EXPIRED : GAP_EPOCH);
    assert_int_equal(gap->from, same ? witness->offset + 1 : 0);
    witness->gaps++;
    witness->gap = *gap;
    witness->epoch = gap->epoch;
    witness->offset = gap->to;
}

static void witness_message(struct witness *witness, const struct message *message)
{
    assert_int_equal(message->epoch, witness->epoch);
    assert_int_equal(message->offset, witness->offset + 1);
    snprintf(witness->text, sizeof witness->text, "%.*s", (int)message->payload.size, message->payload.data);
    assert_string_equal(witness->text, link_text(witness->link, message->epoch, message->offset));
    witness->offset = message->offset;
    witness->seen++;
}

static void witness_seen(void *context, uint32_t subscription, uint64_t from, uint64_t to)
{
    struct witness *witness = context;
    const struct feeds *feeds = &witness->link->host->peers[witness->peer]->feeds;
    const struct feed *feed = feed_at(feeds, subscription_at(feeds, subscription)->feed);
    for (uint64_t position = from; subscription == witness->subscription && position <= to; position++) {
        const struct chunk *chunk = chunk_with(feed->base, position);
        uint32_t index = (uint32_t)(position - chunk->base);
        if (chunk_is_gap(chunk, index)) {
            const struct gap gap = chunk_gap(chunk);
            witness_gap(witness, &gap);
        } else {
            struct message message = chunk_message(chunk, index, host_span(T));
            witness_message(witness, &message);
        }
    }
}

static void witness_read(struct witness *witness)
{
    link_settle(witness->link);
    host_deliver(witness->link->host, witness->peer, witness_seen, witness);
    link_settle(witness->link);
}

/* Subscribes to the logged topic; it stands at `offset` then. */
static struct witness witness_join(struct link *link, uint32_t peer)
{
    struct witness witness = {.link = link, .peer = peer};
    witness.subscription = host_subscribe(link->host, peer, 9, LANE_JSON, T, from_new);
    link_settle(link);
    const struct feed_answer *answer = host_subscribed(link->host, peer, witness.subscription);
    assert_non_null(answer);
    assert_int_equal(answer->error, REPLY_OK);
    witness.epoch = answer->epoch;
    witness.offset = answer->offset;
    return witness;
}

/* The connection is gone. */
static void witness_leave(struct witness *witness)
{
    feeds_unsubscribe(&witness->link->host->peers[witness->peer]->feeds, witness->subscription);
    link_settle(witness->link);
}

static struct remote *remote_now(struct link *link, const char *name)
{
    struct topic *topic = host_topic(link->host, name);
    return topic ? remote_of(&link->host->peers[host_owner(link->host, name)]->owner, topic) : NULL;
}

static void sweep(struct link *link)
{
    for (uint32_t i = 0; i < link->host->count; i++) {
        struct owner *owner = &link->host->peers[i]->owner;
        owner_sweep(owner, slab_end(&owner->topics));
    }
    link_settle(link);
}

/* --- live topics --- */

static void live_join_waits_for_the_link(void **state)
{
    (void)state;
    struct link *link = link_create(2, 64, "t", link_unkept);
    link->deaf = true;
    uint32_t one = host_subscribe(link->host, 0, 7, LANE_RAW, "t", from_new);
    uint32_t two = host_subscribe(link->host, 1, 7, LANE_RAW, "t", from_new);
    host_settle(link->host);
    assert_null(host_subscribed(link->host, 0, one));
    assert_int_equal(STATS_READ(&link->host->peers[link_owner(link)]->stats, asks_parked), 2);
    link->deaf = false;
    link_settle(link);
    assert_int_equal(host_subscribed(link->host, 0, one)->error, REPLY_OK);
    assert_int_equal(host_subscribed(link->host, 1, two)->error, REPLY_OK);
    assert_int_equal(link->wants, 1);
    uint32_t three = host_subscribe(link->host, 1, 8, LANE_JSON, "t", from_new);
    host_settle(link->host); /* nothing to wait for any more */
    assert_int_equal(host_subscribed(link->host, 1, three)->error, REPLY_OK);
    link_destroy(link);
}

static void live_goes_on_while_redis_is_away(void **state)
{
    (void)state;
    struct link *link = link_create(1, 64, "t", link_unkept);
    link->away = true;
    uint32_t one = host_subscribe(link->host, 0, 7, LANE_RAW, "t", from_new);
    link_settle(link);
    assert_int_equal(host_subscribed(link->host, 0, one)->error, REPLY_OK);
    host_publish(link->host, 0, "t", "x");
    link_settle(link);
    assert_int_equal(host_answer(link->host, 0)->status, REPLY_OK);
    assert_int_equal(host_topic(link->host, "t")->log.tail, 1);
    host_deliver(link->host, 0, NULL, NULL);
    link_destroy(link);
}

static void live_is_relayed_once_and_arrivals_are_not(void **state)
{
    (void)state;
    struct link *link = link_create(2, 64, "t", link_unkept);
    host_subscribe(link->host, 0, 7, LANE_RAW, "t", from_new);
    link_settle(link);
    host_publish(link->host, 1, "t", "ours");
    link_settle(link);
    assert_int_equal(link->live, 1);
    assert_string_equal(link->live_text, "ours");
    link_send_arrived(link, link_relay("t", "theirs", false));
    link_settle(link);
    assert_int_equal(link->live, 1);
    assert_int_equal(host_topic(link->host, "t")->log.tail, 2);
    link_send_arrived(link, link_relay("unknown", "theirs", false)); /* came late: nobody wants it */
    link_settle(link);
    assert_null(host_topic(link->host, "unknown"));
    host_publish(link->host, 0, "$own", "x"); /* each host's own */
    link_settle(link);
    assert_int_equal(link->live, 1);
    host_deliver(link->host, 0, NULL, NULL);
    link_destroy(link);
}

static void filters_are_asked_of_the_link_too(void **state)
{
    (void)state;
    struct link *link = link_create(2, 64, "a/b", link_unkept);
    struct witness witness = {.link = link};
    uint32_t filter = host_subscribe(link->host, 0, 7, LANE_JSON, "a/#", from_new);
    host_settle(link->host);
    assert_null(host_subscribed(link->host, 0, filter));
    link_settle(link);
    assert_int_equal(host_subscribed(link->host, 0, filter)->error, REPLY_OK);
    assert_int_equal(link->filters, 1);
    uint32_t own = host_subscribe(link->host, 0, 7, LANE_JSON, "$a/#", from_new);
    host_settle(link->host);
    assert_int_equal(host_subscribed(link->host, 0, own)->error, REPLY_OK);
    link_send_arrived(link, link_relay("a/b", "theirs", false)); /* makes the topic here */
    witness_read(&witness);
    assert_int_equal(STATS_READ(&link->host->peers[0]->stats, filter_copies), 1);
    assert_int_equal(link->wants, 0);
    link_destroy(link);
}

static void unused_topic_is_unwanted_after_a_while(void **state)
{
    (void)state;
    struct link *link = link_create(1, 64, "t", link_unkept);
    uint32_t one = host_subscribe(link->host, 0, 7, LANE_RAW, "t", from_new);
    link_settle(link);
    sweep(link);
    feeds_unsubscribe(&link->host->peers[0]->feeds, one);
    link_settle(link);
    host_time(link->host, 4000);
    sweep(link);
    assert_int_equal(link->unwants, 0);
    one = host_subscribe(link->host, 0, 7, LANE_RAW, "t", from_new); /* churn costs nothing */
    link_settle(link);
    feeds_unsubscribe(&link->host->peers[0]->feeds, one);
    link_settle(link);
    host_time(link->host, 6000);
    sweep(link);
    assert_int_equal(link->wants, 1);
    assert_int_equal(link->unwants, 1);
    assert_null(remote_now(link, "t"));
    host_subscribe(link->host, 0, 7, LANE_RAW, "t", from_new);
    link_settle(link);
    assert_int_equal(link->wants, 2);
    link_destroy(link);
}

/* --- logged topics --- */

static void publish_is_answered_with_the_position_in_redis(void **state)
{
    (void)state;
    struct link *link = link_create(2, 64, T, link_kept);
    link_append_some(link, 41);
    struct witness witness = witness_join(link, 0);
    assert_int_equal(witness.epoch, link->epoch);
    assert_int_equal(witness.offset, 41);
    host_publish(link->host, 1, T, "ours");
    host_settle(link->host);
    assert_int_equal(link->host->peers[1]->answer_count, 0); /* not before Redis has it */
    link_settle(link);
    assert_int_equal(host_answer(link->host, 1)->status, REPLY_OK);
    assert_int_equal(host_answer(link->host, 1)->epoch, link->epoch);
    assert_int_equal(host_answer(link->host, 1)->offset, 42);
    link_arrive_all(link);
    link_arrive(link, link->epoch, 42);
    witness_read(&witness);
    assert_int_equal(witness.seen, 1);
    assert_string_equal(witness.text, "ours");
    assert_int_equal(STATS_READ(&link->host->peers[link_owner(link)]->stats, arrivals_repeated), 1);
    link_destroy(link);
}

static void holes_are_fetched_before_anything_later_is_shown(void **state)
{
    (void)state;
    struct link *link = link_create(2, 64, T, link_unkept);
    struct witness witness = witness_join(link, 1);
    link_append_some(link, 5);
    link_arrive(link, link->epoch, 1);
    link_arrive(link, link->epoch, 5);
    link_arrive(link, link->epoch, 3);
    link->deaf = true;
    host_settle(link->host);
    host_deliver(link->host, 1, witness_seen, &witness);
    assert_int_equal(witness.offset, 1);
    link->deaf = false;
    witness_read(&witness);
    assert_int_equal(witness.offset, 5);
    assert_int_equal(link->fetches, 2);
    link_destroy(link);
}

static void more_than_a_page_is_fetched_page_by_page(void **state)
{
    (void)state;
    struct link *link = link_create(1, 64, T, link_kept);
    link->page_max = 7;
    link_append_some(link, 100);
    struct witness witness = witness_join(link, 0);
    assert_int_equal(witness.offset, 100);
    assert_int_equal(host_topic(link->host, T)->log.oldest->base, 1);
    link_append_some(link, 50);
    link->arrival_count = 0;
    link_tell_wanted(link, RELAY_DONE); /* it was cut off */
    witness_read(&witness);
    assert_int_equal(witness.offset, 150);
    assert_int_equal(witness.gaps, 0);
    link_destroy(link);
}

static void too_many_early_messages_are_one_more_fetch(void **state)
{
    (void)state;
    struct link *link = link_create(1, 4096, T, link_unkept);
    link->page_max = 5000;
    struct witness witness = witness_join(link, 0);
    link_append_some(link, REMOTE_EARLY_MAX + 500);
    link->arrivals[0] = link->arrivals[1]; /* the first does not arrive */
    link->deaf = true;
    link_arrive_all(link);
    host_settle(link->host);
    assert_int_equal(remote_now(link, T)->early_count, REMOTE_EARLY_MAX);
    link->deaf = false;
    witness_read(&witness);
    assert_int_equal(witness.offset, REMOTE_EARLY_MAX + 500);
    assert_int_equal(remote_now(link, T)->early_count, 0);
    assert_int_equal(link->host->peers[0]->owner.early_bytes, 0);
    link_destroy(link);
}

/* Cut off and back again while a page was on its way: that page is too old to say that nothing is missing. */
static void page_from_before_a_cut_is_not_the_last_one(void **state)
{
    (void)state;
    struct link *link = link_create(1, 64, T, link_unkept);
    struct witness witness = witness_join(link, 0);
    link->slow = true;
    link_append_some(link, 2);
    link_arrive(link, link->epoch, 2);
    link_settle(link);
    link_append_some(link, 1); /* lost on its way */
    link_tell_wanted(link, RELAY_AWAY);
    link_tell_wanted(link, RELAY_DONE);
    link_settle(link);
    link_let_go(link);
    witness_read(&witness);
    assert_int_equal(witness.offset, 3);
    link_destroy(link);
}

static void lost_messages_are_a_gap_in_their_place(void **state)
{
    (void)state;
    struct link *link = link_create(2, 64, T, link_unkept);
    link_append_some(link, 3);
    struct witness witness = witness_join(link, 0);
    link_append_some(link, 20);
    link->arrival_count = 0;
    link->first = 11; /* the stream is trimmed */
    link_tell_wanted(link, RELAY_DONE);
    witness_read(&witness);
    assert_int_equal(witness.gaps, 1);
    assert_int_equal(witness.gap.to, 10);
    assert_int_equal(witness.seen, 13);
    link_append_some(link, 2);
    link->arrival_count = 0;
    link->first = link->tail + 1; /* nothing is left of it */
    link_tell_wanted(link, RELAY_DONE);
    witness_read(&witness);
    assert_int_equal(witness.gaps, 2);
    assert_int_equal(witness.gap.to, 25);
    link_append_some(link, 1);
    link_arrive_all(link);
    witness_read(&witness);
    assert_int_equal(witness.offset, 26);
    link_destroy(link);
}

static void new_epoch_is_a_gap_and_counts_anew(void **state)
{
    (void)state;
    struct link *link = link_create(2, 64, T, link_kept);
    link_append_some(link, 9);
    struct witness witness = witness_join(link, 0);
    link_new_epoch(link, 4); /* an old snapshot: 5 to 9 are lost, and will be given out again */
    link_append_some(link, 2);
    link_arrive_all(link);
    witness_read(&witness);
    assert_int_equal(witness.gaps, 1);
    assert_int_equal(witness.gap.to, 4);
    assert_int_equal(witness.epoch, link->epoch);
    assert_int_equal(witness.offset, 6);
    link_new_epoch(link, 0); /* empty, and nobody has published since: noticed when subscribed again */
    link_tell_wanted(link, RELAY_DONE);
    witness_read(&witness);
    assert_int_equal(witness.gaps, 2);
    assert_int_equal(witness.offset, 0);
    host_publish(link->host, 1, T, "again");
    link_settle(link);
    link_arrive_all(link);
    witness_read(&witness);
    assert_int_equal(host_answer(link->host, 1)->offset, 1);
    assert_int_equal(witness.offset, 1);
    link_destroy(link);
}

static void old_messages_of_a_former_epoch_are_dropped(void **state)
{
    (void)state;
    struct link *link = link_create(1, 64, T, link_unkept);
    struct witness witness = witness_join(link, 0);
    link_append_some(link, 3);
    uint64_t before = link->epoch;
    link_new_epoch(link, 3);
    link_tell_wanted(link, RELAY_DONE);
    witness_read(&witness);
    assert_int_equal(witness.gaps, 1);
    link_arrive(link, before, 2); /* was late */
    witness_read(&witness);
    link_append_some(link, 1);
    link_arrive(link, link->epoch, 4);
    witness_read(&witness);
    assert_int_equal(witness.offset, 4);
    assert_int_equal(remote_now(link, T)->early_count, 0);
    link_destroy(link);
}

static struct feed_answer resume(struct link *link, uint32_t peer, uint64_t epoch, uint64_t offset)
{
    const struct from from = {.kind = FROM_POSITION, .epoch = epoch, .offset = offset};
    uint32_t subscription = host_subscribe(link->host, peer, 9, LANE_JSON, T, from);
    link_settle(link);
    const struct feed_answer *answer = host_subscribed(link->host, peer, subscription);
    assert_non_null(answer);
    struct feed_answer found = *answer;
    feeds_unsubscribe(&link->host->peers[peer]->feeds, subscription);
    link_settle(link);
    return found;
}

static void resume_reaches_across_gap_and_epoch(void **state)
{
    (void)state;
    struct link *link = link_create(2, 64, T, link_kept);
    link_append_some(link, 5);
    struct witness witness = witness_join(link, 0);
    uint64_t before = link->epoch;
    link_new_epoch(link, 5);
    link_append_some(link, 3); /* 6 7 8 */
    link_arrive_all(link);
    witness_read(&witness);
    struct feed_answer answer = resume(link, 1, before, 2); /* goes on in the old epoch, and is told in the log */
    assert_true(answer.recovered);
    assert_int_equal(answer.epoch, before);
    assert_int_equal(answer.offset, 2);
    answer = resume(link, 1, link->epoch, 6);
    assert_true(answer.recovered);
    assert_int_equal(answer.offset, 6);
    answer = resume(link, 1, 0x77, 6); /* of no epoch that anybody knows: from the present one's beginning */
    assert_true(answer.lost);
    assert_int_equal(answer.reason, GAP_EPOCH);
    assert_int_equal(answer.epoch, link->epoch);
    assert_int_equal(answer.gap_to, 5);
    answer = resume(link, 1, link->epoch, 99);
    assert_int_equal(answer.error, REPLY_POSITION_INVALID);
    link_destroy(link);
}

/* What a filter's subscriber that names no topic, and was here long ago, is replayed of the logged one. */
static struct replay_piece replay_since_ever(struct link *link)
{
    struct replay_ask *ask = replay_ask_create(host_span("log/#"), SPAN_NONE);
    ask->dialect = dialect_of(DIALECT_BIN);
    ask->lane = LANE_JSON;
    ask->since_ms = 1;
    owner_replay(&link->host->peers[0]->owner, &(struct envelope){.kind = ASK_REPLAY, .replay = ask});
    struct spsc *ring = mesh_tells(&link->host->mesh, 0, 0);
    assert_ptr_equal(spsc_peek(ring)->replay, ask);
    spsc_pop(ring);
    assert_int_equal(ask->piece_count, 1);
    struct replay_piece piece = ask->pieces[0];
    replay_ask_free(ask);
    return piece;
}

/* The history begins in a former epoch: at its beginning, behind it, or with the gap that ends it. */
static void replay_is_told_of_the_epoch_that_its_history_begins_in(void **state)
{
    (void)state;
    static const struct {
        const char *history;
        bool lost;
        enum gap_reason reason;
        uint64_t epoch, from, to;
    } cases[] = {
        {"namespace.log.history_messages=4", true, GAP_EPOCH, LINK_EPOCH_FIRST + 1, 0, 0},
        {"namespace.log.history_messages=3", true, GAP_EXPIRED, LINK_EPOCH_FIRST + 1, 1, 1},
        {"namespace.log.history_messages=2", false, 0, 0, 0, 0},
        {"namespace.log.history_messages=1", true, GAP_EPOCH, LINK_EPOCH_FIRST + 2, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *const sets[] = {link_unkept[0], link_unkept[1], link_unkept[2], cases[i].history, NULL};
        struct link *link = link_create(1, 64, T, sets);
        struct witness witness = witness_join(link, 0);
        for (int epoch = 0; epoch < 3; epoch++) { /* 1 2, epoch, 1 2, epoch, 1 */
            link_append_some(link, epoch < 2 ? 2 : 1);
            link_arrive_all(link);
            witness_read(&witness);
            if (epoch < 2)
                link_new_epoch(link, 0);
        }
        struct replay_piece piece = replay_since_ever(link);
        assert_int_equal(piece.lost, cases[i].lost);
        if (piece.lost) {
            assert_int_equal(piece.reason, cases[i].reason);
            assert_int_equal(piece.epoch, cases[i].epoch);
            assert_int_equal(piece.gap_from, cases[i].from);
            assert_int_equal(piece.gap_to, cases[i].to);
        }
        link_destroy(link);
    }
}

static void resume_from_a_host_that_is_ahead_waits_for_a_fetch(void **state)
{
    (void)state;
    struct link *link = link_create(1, 64, T, link_kept);
    link_append_some(link, 5);
    struct witness witness = witness_join(link, 0);
    link_append_some(link, 5);
    link->arrival_count = 0; /* still on their way */
    struct feed_answer answer = resume(link, 0, link->epoch, 8);
    assert_true(answer.recovered);
    assert_int_equal(answer.offset, 8);
    link_new_epoch(link, 10);
    link_append_some(link, 1);
    link->arrival_count = 0;
    answer = resume(link, 0, link->epoch, 11); /* knows of the epoch before we do */
    assert_true(answer.recovered);
    link_tell_wanted(link, RELAY_AWAY);
    link->away = true;
    answer = resume(link, 0, link->epoch, 12);
    assert_int_equal(answer.error, REPLY_UNAVAILABLE);
    assert_true(resume(link, 0, link->epoch, 11).recovered); /* what is here is enough */
    witness_read(&witness);
    assert_int_equal(witness.offset, 11);
    link_destroy(link);
}

/* Nobody can know then: the client is to try again, not to give its position up. */
static void position_stays_unknown_if_the_fetch_for_it_fails(void **state)
{
    (void)state;
    struct link *link = link_create(1, 64, T, link_kept);
    link_append_some(link, 5);
    struct witness witness = witness_join(link, 0);
    link_append_some(link, 3);
    link->arrival_count = 0;
    link->away = true; /* the fetch finds out */
    struct feed_answer answer = resume(link, 0, link->epoch, 8);
    assert_int_equal(answer.error, REPLY_UNAVAILABLE);
    answer = resume(link, 0, 0x77, 8);
    assert_int_equal(answer.error, REPLY_UNAVAILABLE);
    link->away = false;
    host_time(link->host, 2000);
    assert_true(resume(link, 0, link->epoch, 8).recovered);
    witness_read(&witness);
    assert_int_equal(witness.offset, 8);
    link_destroy(link);
}

static void while_redis_is_away(void **state)
{
    (void)state;
    struct link *link = link_create(2, 64, T, link_kept);
    link->away = true;
    uint32_t one = host_subscribe(link->host, 0, 9, LANE_JSON, T, from_new);
    link_settle(link);
    assert_int_equal(host_subscribed(link->host, 0, one)->error, REPLY_UNAVAILABLE);
    feeds_unsubscribe(&link->host->peers[0]->feeds, one);
    host_publish(link->host, 1, T, "x");
    link_settle(link);
    assert_int_equal(host_answer(link->host, 1)->status, REPLY_UNAVAILABLE);
    assert_int_equal(STATS_READ(&link->host->peers[link_owner(link)]->stats, publishes_unavailable), 1);
    one = host_subscribe(link->host, 0, 9, LANE_JSON, T, from_new);
    link_settle(link); /* at once, though nobody asks the link again */
    assert_int_equal(host_subscribed(link->host, 0, one)->error, REPLY_UNAVAILABLE);
    feeds_unsubscribe(&link->host->peers[0]->feeds, one);
    assert_int_equal(STATS_READ(&link->host->peers[link_owner(link)]->stats, asks_unavailable), 2);
    link->away = false;
    link_append_some(link, 3);
    link_tell_wanted(link, RELAY_DONE);
    struct witness witness = witness_join(link, 0);
    assert_int_equal(witness.offset, 3);
    link->arrival_count = 0;
    link_tell_wanted(link, RELAY_AWAY);
    link_append_some(link, 4); /* by others */
    link->arrival_count = 0;
    struct witness second = witness_join(link, 1); /* goes on with what is here */
    assert_int_equal(second.offset, 3);
    link_tell_wanted(link, RELAY_DONE);
    witness_read(&witness);
    witness_read(&second);
    assert_int_equal(witness.offset, 7);
    assert_int_equal(second.offset, 7);
    link_destroy(link);
}

static void failed_fetch_is_tried_again(void **state)
{
    (void)state;
    struct link *link = link_create(1, 64, T, link_unkept);
    struct witness witness = witness_join(link, 0);
    link_append_some(link, 3);
    link->away = true; /* and does not even say so */
    link_arrive(link, link->epoch, 3);
    witness_read(&witness);
    assert_int_equal(witness.seen, 0);
    uint32_t fetches = link->fetches;
    link_arrive(link, link->epoch, 2);
    sweep(link);
    assert_int_equal(link->fetches, fetches); /* not in the same second */
    link->away = false;
    host_time(link->host, 2000);
    sweep(link);
    witness_read(&witness);
    assert_int_equal(witness.offset, 3);
    link_destroy(link);
}

/* Somebody GETs up to 3 messages after a position (epoch 0: the last ones); host_answer() has what came. */
static void read_after(struct link *link, uint64_t epoch, uint64_t offset)
{
    struct ticket *ticket = ticket_create(host_span(T), SPAN_NONE, SPAN_NONE, SPAN_NONE);
    ticket->hash = name_hash(host_span(T));
    ticket->key_id = idempotency_id(ticket->hash, ticket_key(ticket));
    ticket->epoch = epoch;
    ticket->offset = offset;
    ticket->read_max = 3;
    struct envelope ask = {.kind = ASK_READ, .ticket = ticket};
    assert_true(mesh_ask(&link->host->mesh, 0, link_owner(link), &ask));
    link_settle(link);
}

static void read_opens_the_topic(void **state)
{
    (void)state;
    struct link *link = link_create(2, 64, T, link_kept);
    link_append_some(link, 10);
    for (int round = 0; round < 2; round++) {
        read_after(link, round ? link->epoch : 0, round ? 12 : 0); /* the second is ahead */
        assert_int_equal(host_answer(link->host, 0)->status, REPLY_OK);
        assert_int_equal(host_answer(link->host, 0)->first, round ? 13 : 8);
        assert_int_equal(host_answer(link->host, 0)->offset, round ? 14 : 10);
        assert_int_equal(host_answer(link->host, 0)->epoch, link->epoch);
        link_append_some(link, 4);
        link->arrival_count = 0;
    }
    sweep(link);
    assert_int_equal(link->unwants, 0); /* the next reader may come soon */
    host_time(link->host, 6000);
    sweep(link);
    assert_int_equal(link->unwants, 1);
    assert_null(host_topic(link->host, T)->log.oldest); /* was a copy */
    link_destroy(link);
}

/* Redis came back with nothing: positions are ahead of offsets then, and must not begin anew at the end of the numbers.
 */
static void read_far_ahead_finds_nothing(void **state)
{
    (void)state;
    struct link *link = link_create(2, 64, T, link_kept);
    link_append_some(link, 10);
    struct witness witness = witness_join(link, 0);
    link_new_epoch(link, 0);
    link_append_some(link, 2);
    link_arrive_all(link);
    witness_read(&witness);
    assert_int_equal(witness.offset, 2);
    read_after(link, link->epoch, UINT64_MAX);
    assert_int_equal(host_answer(link->host, 0)->status, REPLY_OK);
    assert_null(host_answer(link->host, 0)->chunk);
    assert_int_equal(host_answer(link->host, 0)->offset, 2);
    witness_leave(&witness);
    link_destroy(link);
}

static void filter_opens_a_topic_with_its_first_message(void **state)
{
    (void)state;
    struct link *link = link_create_followed(2, T, link_kept, "log/#");
    struct witness witness = {.link = link};
    link_append_some(link, 1);
    link_arrive(link, link->epoch, 6); /* by the pattern */
    witness_read(&witness);
    const struct stats *stats = &link->host->peers[0]->stats;
    assert_int_equal(STATS_READ(stats, filter_copies), 1); /* and nothing of the history */
    assert_int_equal(link->wants, 1);
    host_publish(link->host, 1, T, "ours");
    link_settle(link);
    link_arrive_all(link);
    witness_read(&witness);
    assert_int_equal(STATS_READ(stats, filter_copies), 2);
    link_destroy(link);
}

/* The filter is not subscribed in Redis, so nothing arrives but what is published here. */
static void filter_sees_what_is_published_here(void **state)
{
    (void)state;
    struct link *link = link_create_followed(2, T, link_unkept, "#");
    struct witness witness = {.link = link};
    host_publish(link->host, 1, T, "ours");
    witness_read(&witness);
    assert_int_equal(host_answer(link->host, 1)->offset, 6);
    assert_int_equal(STATS_READ(&link->host->peers[0]->stats, filter_copies), 1);
    link_destroy(link);
}

/* It gets the first one's position, and is no message: what it brings may differ from what has that offset. */
static void filter_does_not_see_what_is_published_again(void **state)
{
    (void)state;
    struct link *link = link_create_followed(1, T, link_unkept, "#");
    link->repeat_of = 3;
    host_publish(link->host, 0, T, "again");
    link_settle(link);
    assert_int_equal(host_answer(link->host, 0)->status, REPLY_OK);
    assert_int_equal(host_answer(link->host, 0)->offset, 3);
    assert_int_equal(STATS_READ(&link->host->peers[0]->stats, filter_copies), 0);
    assert_int_equal(STATS_READ(&link->host->peers[0]->stats, publishes_repeated), 1);
    assert_int_equal(link->tail, 5);
    link_destroy(link);
}

static void filter_that_comes_later_gets_the_next_message(void **state)
{
    (void)state;
    struct link *link = link_create(2, 64, T, link_unkept);
    struct witness witness = witness_join(link, 0);
    host_subscribe(link->host, 1, 7, LANE_JSON, "log/#", from_new);
    link_settle(link);
    link_append_some(link, 1);
    link_arrive_all(link);
    witness_read(&witness);
    assert_int_equal(witness.seen, 1);
    host_deliver(link->host, 1, NULL, NULL);
    assert_int_equal(STATS_READ(&link->host->peers[1]->stats, filter_copies), 1);
    link_destroy(link);
}

/* The answer to a publish overtakes what another host published before. */
static void filter_misses_nothing_before_its_own_hosts_message(void **state)
{
    (void)state;
    struct link *link = link_create_followed(1, T, link_unkept, "log/#");
    struct witness witness = {.link = link};
    link_append_some(link, 1); /* 6, by another host */
    host_publish(link->host, 0, T, "ours");
    host_turn(link->host, 0);
    link_turn(link);
    host_tells(link->host, 0, UINT32_MAX); /* 7 is answered */
    link_arrive(link, link->epoch, 6);
    link_arrive(link, link->epoch, 7);
    host_asks(link->host, 0, UINT32_MAX);
    witness_read(&witness);
    assert_int_equal(host_answer(link->host, 0)->offset, 7);
    assert_int_equal(STATS_READ(&link->host->peers[0]->stats, filter_copies), 2);
    link_destroy(link);
}

/* A subscriber by filter gets no history when somebody else opens the topic, but all that is new meanwhile. */
static void filter_gets_just_what_is_new(void **state)
{
    (void)state;
    struct link *link = link_create(1, 64, T, link_kept);
    struct witness witness = {.link = link};
    link->page_max = 4;
    link_append_some(link, 10);
    host_subscribe(link->host, 0, 7, LANE_JSON, "log/#", from_new);
    link_settle(link);
    link->deaf = true;
    host_subscribe(link->host, 0, 8, LANE_JSON, T, from_new);
    host_settle(link->host);
    link_append_some(link, 2);
    link_arrive(link, link->epoch, 11);
    host_settle(link->host);
    link->deaf = false;
    witness_read(&witness);
    assert_int_equal(STATS_READ(&link->host->peers[0]->stats, filter_copies), 2); /* 11 and 12 */
    link_destroy(link);
}

static void all_is_given_back_with_everything_under_way(void **state)
{
    (void)state;
    struct link *link = link_create(1, 64, T, link_kept);
    struct witness witness = witness_join(link, 0);
    link_append_some(link, 5);
    link_arrive(link, link->epoch, 4);
    host_publish(link->host, 0, T, "x");
    host_settle(link->host);
    link_turn(link); /* the fetch and the publish are answered, but nobody works the tells */
    host_publish(link->host, 0, T, "y");
    host_subscribe(link->host, 0, 9, LANE_JSON, "other", from_new);
    host_asks(link->host, 0, UINT32_MAX);
    feeds_send(&link->host->peers[0]->feeds);
    host_asks(link->host, 0, UINT32_MAX); /* "other" is parked */
    assert_int_equal(STATS_READ(&link->host->peers[0]->stats, asks_parked), 1);
    link_turn(link);
    struct spsc *tells = mesh_tells(&link->host->mesh, link_peer(link), 0);
    const struct envelope *tell;
    while ((tell = spsc_peek(tells)) != NULL) { /* as shard_destroy() does */
        if (tell->kind != TELL_WANTED)
            relay_free(tell->relay);
        spsc_pop(tells);
    }
    (void)witness;
    link_destroy(link);
}

/* --- at random --- */

static uint32_t random_state;

static uint32_t chance(uint32_t bound)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)random_state * bound) >> 32);
}

/* One of those that wait arrives, is lost, or arrives and waits on. */
static void arrive_at_random(struct link *link)
{
    uint32_t at = chance(chance(4) ? 1 : link->arrival_count);
    uint32_t fate = chance(10);
    if (fate > 0)
        link_arrive(link, link->arrival_epochs[at], link->arrivals[at]);
    if (fate < 9) {
        link->arrival_count--;
        for (uint32_t i = at; i < link->arrival_count; i++) {
            link->arrivals[i] = link->arrivals[i + 1];
            link->arrival_epochs[i] = link->arrival_epochs[i + 1];
        }
    }
}

static void act_at_random(struct link *link)
{
    uint32_t act = chance(100);
    if (act < 30)
        link_append_some(link, 1 + chance(3));
    else if (act < 45)
        host_publish(link->host, chance(2), T, "ours");
    else if (act < 75 && link->arrival_count)
        arrive_at_random(link);
    else if (act < 85)
        link_turn(link);
    else if (act < 87)
        link->first = link->tail - chance(4) > link->first ? link->tail - chance(3) : link->first;
    else if (act < 88)
        link_new_epoch(link, link->tail - chance(link->tail < 3 ? 1 : 3));
    else if (act < 90)
        link_tell_wanted(link, chance(2) ? RELAY_DONE : RELAY_AWAY);
    else
        host_turn(link->host, chance(2));
}

static void random_run(uint32_t seed)
{
    random_state = seed;
    struct link *link = link_create(2, 256, T, seed % 2 ? link_kept : link_unkept);
    struct witness witnesses[2] = {witness_join(link, 0), witness_join(link, 1)};
    link->page_max = 1 + chance(20);
    for (uint32_t i = 0; i < 600; i++) {
        act_at_random(link);
        if (chance(20) == 0)
            for (uint32_t n = 0; n < 2; n++)
                host_deliver(link->host, n, witness_seen, &witnesses[n]);
    }
    link_settle(link);
    link->arrival_count = 0;
    link->first = link->first <= link->tail ? link->first : link->tail + 1;
    link_tell_wanted(link, RELAY_DONE);
    for (uint32_t n = 0; n < 2; n++) {
        witness_read(&witnesses[n]);
        assert_int_equal(witnesses[n].epoch, link->epoch);
        assert_int_equal(witnesses[n].offset, link->tail);
        witness_leave(&witnesses[n]);
    }
    link_destroy(link);
}

static void each_sees_all_once_or_is_told(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 300; seed++)
        random_run(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(live_join_waits_for_the_link),
        cmocka_unit_test(live_goes_on_while_redis_is_away),
        cmocka_unit_test(live_is_relayed_once_and_arrivals_are_not),
        cmocka_unit_test(filters_are_asked_of_the_link_too),
        cmocka_unit_test(unused_topic_is_unwanted_after_a_while),
        cmocka_unit_test(publish_is_answered_with_the_position_in_redis),
        cmocka_unit_test(holes_are_fetched_before_anything_later_is_shown),
        cmocka_unit_test(more_than_a_page_is_fetched_page_by_page),
        cmocka_unit_test(too_many_early_messages_are_one_more_fetch),
        cmocka_unit_test(page_from_before_a_cut_is_not_the_last_one),
        cmocka_unit_test(lost_messages_are_a_gap_in_their_place),
        cmocka_unit_test(new_epoch_is_a_gap_and_counts_anew),
        cmocka_unit_test(old_messages_of_a_former_epoch_are_dropped),
        cmocka_unit_test(resume_reaches_across_gap_and_epoch),
        cmocka_unit_test(replay_is_told_of_the_epoch_that_its_history_begins_in),
        cmocka_unit_test(resume_from_a_host_that_is_ahead_waits_for_a_fetch),
        cmocka_unit_test(position_stays_unknown_if_the_fetch_for_it_fails),
        cmocka_unit_test(while_redis_is_away),
        cmocka_unit_test(failed_fetch_is_tried_again),
        cmocka_unit_test(read_opens_the_topic),
        cmocka_unit_test(read_far_ahead_finds_nothing),
        cmocka_unit_test(filter_opens_a_topic_with_its_first_message),
        cmocka_unit_test(filter_sees_what_is_published_here),
        cmocka_unit_test(filter_does_not_see_what_is_published_again),
        cmocka_unit_test(filter_that_comes_later_gets_the_next_message),
        cmocka_unit_test(filter_misses_nothing_before_its_own_hosts_message),
        cmocka_unit_test(filter_gets_just_what_is_new),
        cmocka_unit_test(all_is_given_back_with_everything_under_way),
        cmocka_unit_test(each_sees_all_once_or_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
