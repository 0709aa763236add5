/*
 * ring_test: topics are spread over servers, an added server takes its share from all others and moves nothing else,
 * and hosts that list servers in another order agree. Prints spread and movement.
 */
#include "cluster/ring.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "mesh/name.h"

#define TOPICS      100000u
#define SERVERS_MAX 16u

static char addresses[SERVERS_MAX][32];
static struct span names[SERVERS_MAX];

static int make_names(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < SERVERS_MAX; i++) {
        int size = snprintf(addresses[i], sizeof addresses[i], "10.0.0.%u:6379", i + 1);
        names[i] = (struct span){addresses[i], (size_t)size};
    }
    return 0;
}

static uint64_t topic_hash(uint32_t number)
{
    char topic[32];
    int size = snprintf(topic, sizeof topic, "user/%u/inbox", number);
    return name_hash((struct span){topic, (size_t)size});
}

static void topics_are_spread(void **state)
{
    (void)state;
    for (uint32_t servers = 1; servers <= SERVERS_MAX; servers *= 2) {
        struct ring ring;
        uint32_t counts[SERVERS_MAX] = {0};
        assert_true(ring_init(&ring, servers, names));
        for (uint32_t i = 0; i < TOPICS; i++) {
            counts[ring_server(&ring, topic_hash(i))]++;
        }
        ring_free(&ring);
        double even = (double)TOPICS / servers;
        double least = even, most = even;
        for (uint32_t i = 0; i < servers; i++) {
            least = counts[i] < least ? counts[i] : least;
            most = counts[i] > most ? counts[i] : most;
        }
        print_message("%2u servers: the least has %.2f, the most %.2f of an even share\n", servers, least / even,
                      most / even);
        assert_true(least / even > 0.75 && most / even < 1.25);
    }
}

static void an_added_server_takes_its_share_and_moves_nothing_else(void **state)
{
    (void)state;
    for (uint32_t servers = 1; servers < SERVERS_MAX; servers++) {
        struct ring before, after;
        uint32_t moved = 0;
        assert_true(ring_init(&before, servers, names) && ring_init(&after, servers + 1, names));
        for (uint32_t i = 0; i < TOPICS; i++) {
            uint32_t old = ring_server(&before, topic_hash(i));
            uint32_t new = ring_server(&after, topic_hash(i));
            assert_true(new == old || new == servers);
            moved += new != old;
        }
        ring_free(&before);
        ring_free(&after);
        double share = (double)TOPICS / (servers + 1);
        print_message("from %2u to %2u servers: %.1f %% of the topics move (%.1f %% must)\n", servers, servers + 1,
                      100.0 * moved / TOPICS, 100.0 / (servers + 1));
        assert_true(moved > 0.75 * share && moved < 1.25 * share);
    }
}

static void the_order_of_servers_does_not_matter(void **state)
{
    (void)state;
    struct span turned[SERVERS_MAX];
    for (uint32_t i = 0; i < SERVERS_MAX; i++) {
        turned[i] = names[SERVERS_MAX - 1 - i];
    }
    struct ring one, other;
    assert_true(ring_init(&one, SERVERS_MAX, names) && ring_init(&other, SERVERS_MAX, turned));
    for (uint32_t i = 0; i < TOPICS; i++) {
        assert_int_equal(ring_server(&one, topic_hash(i)), SERVERS_MAX - 1 - ring_server(&other, topic_hash(i)));
    }
    ring_free(&one);
    ring_free(&other);
}

/* The topics of one shard are spread, too: owner and server are decided by different bits. */
static void topics_of_one_shard_are_spread(void **state)
{
    (void)state;
    struct ring ring;
    uint32_t counts[2] = {0};
    assert_true(ring_init(&ring, 2, names));
    for (uint32_t i = 0; i < TOPICS; i++) {
        if (name_owner(topic_hash(i), 8) == 3) {
            counts[ring_server(&ring, topic_hash(i))]++;
        }
    }
    ring_free(&ring);
    assert_true(counts[0] > counts[1] / 2 && counts[1] > counts[0] / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(topics_are_spread),
        cmocka_unit_test(an_added_server_takes_its_share_and_moves_nothing_else),
        cmocka_unit_test(the_order_of_servers_does_not_matter),
        cmocka_unit_test(topics_of_one_shard_are_spread),
    };
    return cmocka_run_group_tests(tests, make_names, NULL);
}
