/*
 * relays_test: what an owner tells the federation link of publishes here, and how much of it may wait: beside a link of
 * the test's own.
 */
#include "link.h"

#define T "log/t"

static const char *const unkept[] = {"cluster.redis=redis://127.0.0.1", "namespace.log.prefix=log/",
                                     "namespace.log.logged=true", NULL};

static void relays_beyond_the_bound_are_dropped(void **state)
{
    (void)state;
    struct link *link = link_create(1, 64, "t", unkept);
    link->deaf = true;
    for (uint32_t i = 0; i < REMOTE_RELAYS_MAX + 100; i++) {
        host_publish(link->host, 0, "t", "x");
        host_turn(link->host, 0);
    }
    const struct stats *stats = &link->host->peers[0]->stats;
    assert_int_equal(STATS_READ(stats, relays_dropped), 100 - 64);
    assert_int_equal(STATS_READ(stats, publishes), REMOTE_RELAYS_MAX + 100); /* here all were */
    host_publish(link->host, 0, T, "x");
    host_turn(link->host, 0);
    assert_int_equal(host_answer(link->host, 0)->status, REPLY_UNAVAILABLE);
    link->deaf = false;
    link_settle(link);
    assert_int_equal(link->live, REMOTE_RELAYS_MAX + 64);
    link_destroy(link);
}

/* Large messages reach the bound in bytes first; one alone may be as large as it likes. */
static void relays_beyond_the_bound_of_bytes_are_dropped(void **state)
{
    (void)state;
    enum { SIZE = 64 << 10, RING = 4 };
    static char large[SIZE + 1];
    memset(large, 'x', SIZE);
    struct link *link = link_create(1, RING, "t", unkept);
    const struct stats *stats = &link->host->peers[0]->stats;
    link->deaf = true;
    uint32_t published = 0;
    for (; STATS_READ(stats, relays_dropped) == 0; published++) {
        assert_true(published < REMOTE_RELAYS_MAX);
        host_publish(link->host, 0, "t", large);
        host_turn(link->host, 0);
    }
    uint64_t bytes = STATS_READ(stats, relays_waiting_bytes);
    assert_in_range(bytes, REMOTE_RELAY_BYTES_MAX - SIZE - sizeof(struct relay), REMOTE_RELAY_BYTES_MAX);
    assert_int_equal(STATS_READ(stats, relays_waiting), published - 1 - RING);
    host_publish(link->host, 0, T, large);
    host_turn(link->host, 0);
    assert_int_equal(host_answer(link->host, 0)->status, REPLY_UNAVAILABLE);
    assert_int_equal(STATS_READ(stats, relays_refused), 1);
    link->deaf = false;
    link_settle(link);
    assert_int_equal(link->live, published - 1);
    assert_int_equal(STATS_READ(stats, relays_waiting), 0);
    assert_int_equal(STATS_READ(stats, relays_waiting_bytes), 0);
    link_destroy(link);
}

/* What another host was sent first: Redis knows the key, of a logged topic. */
static void publish_again_is_for_logged_topics_alone(void **state)
{
    (void)state;
    struct link *link = link_create(1, 64, T, unkept);
    const struct host_answer *answer;
    assert_true(host_try_publish_again(link->host, 0, T, host_span("x"), "key", true));
    link_settle(link);
    answer = host_answer(link->host, 0);
    assert_true(answer->status == REPLY_OK && answer->offset == 1);
    assert_true(host_try_publish_again(link->host, 0, "t", host_span("x"), "key", true));
    link_settle(link);
    assert_int_equal(host_answer(link->host, 0)->status, REPLY_UNCERTAIN);
    assert_int_equal(link->live, 0);
    assert_true(host_try_publish(link->host, 0, "t", host_span("x"), "key"));
    assert_true(host_try_publish_again(link->host, 0, "t", host_span("x"), "key", true)); /* but this host knows it */
    link_settle(link);
    answer = host_answer(link->host, 0);
    assert_true(answer->status == REPLY_OK && answer->offset == 1);
    assert_int_equal(link->live, 1);
    link_destroy(link);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(relays_beyond_the_bound_are_dropped),
        cmocka_unit_test(relays_beyond_the_bound_of_bytes_are_dropped),
        cmocka_unit_test(publish_again_is_for_logged_topics_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
