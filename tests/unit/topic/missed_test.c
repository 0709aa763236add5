/*
 * missed_test: a filter's subscriber gets what was published, while its host was cut off from Redis, to topics that
 * nobody knew there; or a gap. And it gets no more than that.
 */
#include "link.h"
#include "topic/missed.h"

#define T "log/t"

/* Five messages are old when somebody follows a filter; `missed` more come while the host is cut off. */
static struct link *link_after_cut(const char *const *sets, uint32_t missed)
{
    struct link *link = link_create_followed(1, T, sets, "log/#");
    link_tell_patterns(link, RELAY_AWAY);
    link_settle(link);
    link->now_ms = link->host->now_ms;
    link_append_some(link, missed);
    link_tell_patterns(link, RELAY_DONE);
    link_settle(link);
    return link;
}

/* One more, which arrives. */
static void one_more(struct link *link)
{
    link_append_some(link, 1);
    link_arrive(link, link->epoch, link->tail);
    link_settle(link);
}

/* What the filter's subscribers were given in all. */
static uint64_t copies(const struct link *link)
{
    return STATS_READ(&link->host->peers[0]->stats, filter_copies);
}

static uint64_t gaps(const struct link *link)
{
    return STATS_READ(&link->host->peers[0]->stats, gaps_logged);
}

static void filter_gets_what_it_missed_of_an_unknown_topic(void **state)
{
    (void)state;
    const char *const *const settings[] = {link_kept, link_unkept};
    for (int i = 0; i < 2; i++) {
        struct link *link = link_after_cut(settings[i], 2);
        one_more(link);
        assert_int_equal(link->fetches, 1);
        assert_int_equal(copies(link), 3);
        assert_int_equal(gaps(link), 0);
        one_more(link);
        assert_int_equal(copies(link), 4);
        link_destroy(link);
    }
}

static void filter_that_missed_nothing_is_told_nothing(void **state)
{
    (void)state;
    struct link *link = link_after_cut(link_kept, 0);
    one_more(link);
    assert_int_equal(copies(link), 1);
    assert_int_equal(gaps(link), 0);
    link_destroy(link);
}

/* The page of the newest ones does not reach back: all before it may have been missed. */
static void filter_is_told_of_what_the_page_does_not_hold(void **state)
{
    (void)state;
    struct link *link = link_after_cut(link_unkept, 2 * MISSED_MESSAGES_MAX);
    one_more(link);
    assert_int_equal(gaps(link), 1);
    assert_int_equal(copies(link), MISSED_MESSAGES_MAX + 1); /* the gap is one */
    link_destroy(link);
}

/* What has arrived is older than the page: so much was published meanwhile. */
static void filter_is_told_of_what_lies_before_its_first_message(void **state)
{
    (void)state;
    struct link *link = link_after_cut(link_unkept, 2);
    link_append_some(link, 1);
    link_arrive(link, link->epoch, 8);
    link_append_some(link, MISSED_MESSAGES_MAX);
    link_settle(link);
    assert_int_equal(gaps(link), 1); /* 1 to 7 */
    assert_int_equal(copies(link), MISSED_MESSAGES_MAX + 2);
    link_destroy(link);
}

static void cut_is_forgotten_after_a_while(void **state)
{
    (void)state;
    struct link *link = link_after_cut(link_kept, 2);
    host_time(link->host, MISSED_COUNTS_MS);
    one_more(link);
    assert_int_equal(copies(link), 1);
    link_destroy(link);
}

static void topic_that_begins_after_a_cut_is_not_looked_at(void **state)
{
    (void)state;
    struct link *link = link_create(1, 64, T, link_kept);
    host_subscribe(link->host, 0, 7, LANE_JSON, "log/#", from_new);
    link_tell_patterns(link, RELAY_AWAY);
    link_tell_patterns(link, RELAY_DONE);
    link_settle(link);
    link->deaf = true;
    link_append_some(link, 1);
    link_arrive(link, link->epoch, 1);
    host_settle(link->host);
    assert_int_equal(copies(link), 1);
    link->deaf = false;
    link_settle(link);
    link_destroy(link);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filter_gets_what_it_missed_of_an_unknown_topic),
        cmocka_unit_test(filter_that_missed_nothing_is_told_nothing),
        cmocka_unit_test(filter_is_told_of_what_the_page_does_not_hold),
        cmocka_unit_test(filter_is_told_of_what_lies_before_its_first_message),
        cmocka_unit_test(cut_is_forgotten_after_a_while),
        cmocka_unit_test(topic_that_begins_after_a_cut_is_not_looked_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
