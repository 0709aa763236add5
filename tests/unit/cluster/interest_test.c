/*
 * interest_test: topics from being wanted to being confirmed, left before and after their turn, cut off and made again;
 * and a long random life beside a slow model of it.
 */
#include "cluster/interest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/check.h"
#include "mesh/relay.h"

#define SHARDS 2
#define PEER   2

static struct interest interest;
static struct mesh mesh;

static int setup(void **state)
{
    (void)state;
    return mesh_init(&mesh, PEER + 1, 8) && interest_init(&interest) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    interest_destroy(&interest);
    mesh_destroy(&mesh);
    return name_count_in_use() == 0 ? 0 : -1;
}

static struct envelope ask(const char *topic, uint32_t number)
{
    struct span text = {topic, strlen(topic)};
    struct envelope envelope = {.topic = number, .hash = name_hash(text), .name = name_create(text)};
    CHECK(envelope.name);
    return envelope;
}

static void want(uint32_t server, const char *topic, uint32_t number)
{
    struct envelope envelope = ask(topic, number);
    assert_true(interest_want(&interest, server, &envelope));
}

static void unwant(const char *topic)
{
    struct envelope envelope = ask(topic, 0);
    interest_unwant(&interest, &envelope);
}

static struct interest_change next(uint32_t server, bool subscribe, const char *topic)
{
    struct interest_change change;
    assert_true(interest_next(&interest, server, &change));
    assert_int_equal(change.subscribe, subscribe);
    assert_true(span_equal(name_span(change.name), (struct span){topic, strlen(topic)}));
    name_drop(change.name);
    return change;
}

static void assert_nothing_to_do(uint32_t server)
{
    struct interest_change change;
    assert_false(interest_next(&interest, server, &change));
}

static void assert_told(uint32_t number, enum relay_status status)
{
    assert_true(interest_tell(&interest, &mesh, PEER, SHARDS));
    const struct envelope *tell = spsc_peek(mesh_tells(&mesh, PEER, 0));
    assert_non_null(tell);
    assert_int_equal(tell->kind, TELL_WANTED);
    assert_int_equal(tell->topic, number);
    assert_int_equal(tell->status, status);
    spsc_pop(mesh_tells(&mesh, PEER, 0));
}

static void assert_nothing_told(void)
{
    assert_true(interest_tell(&interest, &mesh, PEER, SHARDS));
    assert_null(spsc_peek(mesh_tells(&mesh, PEER, 0)));
}

static void a_topic_is_subscribed_confirmed_told_and_left(void **state)
{
    (void)state;
    interest_up(&interest, 1);
    want(1, "a", 7);
    assert_false(interest_is_complete(&interest, 1));
    assert_nothing_to_do(0);
    struct interest_change change = next(1, true, "a");
    assert_nothing_to_do(1);
    assert_nothing_told();
    interest_acked(&interest, change.number, change.serial);
    assert_true(interest_is_complete(&interest, 1));
    assert_told(7, RELAY_DONE);
    assert_nothing_told();
    unwant("a");
    next(1, false, "a");
    assert_int_equal(interest.topics.used, 0);
}

static void what_changes_its_mind_costs_nothing(void **state)
{
    (void)state;
    interest_up(&interest, 0);
    want(0, "a", 1);
    unwant("a");
    assert_nothing_to_do(0);
    assert_int_equal(interest.topics.used, 0);
    want(0, "a", 1);
    struct interest_change change = next(0, true, "a");
    interest_acked(&interest, change.number, change.serial);
    assert_told(1, RELAY_DONE);
    unwant("a");
    want(0, "a", 2);
    assert_told(2, RELAY_DONE); /* it never was unsubscribed */
    assert_nothing_to_do(0);
}

static void a_late_confirmation_of_a_former_subscription_means_nothing(void **state)
{
    (void)state;
    interest_up(&interest, 0);
    want(0, "a", 1);
    struct interest_change former = next(0, true, "a");
    unwant("a");
    next(0, false, "a");
    want(0, "a", 2);
    struct interest_change latter = next(0, true, "a");
    interest_acked(&interest, former.number, former.serial);
    assert_nothing_told();
    interest_acked(&interest, latter.number, latter.serial);
    assert_told(2, RELAY_DONE);
}

static void an_absent_server_is_told_and_made_good(void **state)
{
    (void)state;
    want(0, "a", 1);
    assert_told(1, RELAY_AWAY);
    assert_nothing_to_do(0);
    interest_up(&interest, 0);
    struct interest_change change = next(0, true, "a");
    interest_acked(&interest, change.number, change.serial);
    assert_told(1, RELAY_DONE);
    interest_cut(&interest, 0);
    assert_told(1, RELAY_AWAY);
    assert_int_equal(interest.servers[0].acked, 0);
    interest_up(&interest, 0);
    assert_false(interest_is_complete(&interest, 0));
    change = next(0, true, "a");
    interest_acked(&interest, change.number, change.serial);
    assert_told(1, RELAY_DONE);
    unwant("a");
    interest_cut(&interest, 0); /* before it was unsubscribed: there is nothing to do any more */
    interest_up(&interest, 0);
    assert_nothing_to_do(0);
    assert_int_equal(interest.topics.used, 0);
}

static void tells_wait_for_room_and_the_latest_counts(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 20; i++) {
        char topic[8];
        snprintf(topic, sizeof topic, "t%u", i);
        want(0, topic, i);
    }
    assert_false(interest_tell(&interest, &mesh, PEER, SHARDS)); /* 8 slots */
    interest_up(&interest, 0);
    struct interest_change change;
    while (interest_next(&interest, 0, &change)) {
        interest_acked(&interest, change.number, change.serial);
        name_drop(change.name);
    }
    uint32_t away = 0, done = 0;
    do {
        interest_tell(&interest, &mesh, PEER, SHARDS);
        struct spsc *ring = mesh_tells(&mesh, PEER, 0);
        for (const struct envelope *tell; (tell = spsc_peek(ring)) != NULL; spsc_pop(ring)) {
            away += tell->status == RELAY_AWAY;
            done += tell->status == RELAY_DONE;
        }
    } while (done < 20);
    assert_int_equal(away, 8);
    assert_int_equal(done, 20);
    assert_nothing_told();
}

/* --- a random life: Redis is played by a list of what it was told, confirmations come late --- */

#define TOPICS  12
#define PENDING 4096

static struct {
    bool wanted[TOPICS];
    bool redis[TOPICS]; /* subscribed there */
    int told[TOPICS];   /* the last status, -1: none since it was wanted */
    struct interest_change pending[PENDING];
    uint32_t pending_first, pending_last;
} model;

static uint32_t topic_of(const struct interest_change *change)
{
    return (uint32_t)(name_span(change->name).data[0] - 'a');
}

static void model_take_changes(void)
{
    struct interest_change change;
    while (interest_next(&interest, 0, &change)) {
        uint32_t topic = topic_of(&change);
        assert_int_not_equal(model.redis[topic], change.subscribe);
        model.redis[topic] = change.subscribe;
        name_drop(change.name);
        if (change.subscribe) {
            model.pending[model.pending_last++ % PENDING] = change;
        }
    }
}

static void model_confirm(uint32_t count)
{
    for (; count && model.pending_first != model.pending_last; count--) {
        const struct interest_change *change = &model.pending[model.pending_first++ % PENDING];
        interest_acked(&interest, change->number, change->serial);
    }
}

static void model_tell(void)
{
    interest_tell(&interest, &mesh, PEER, SHARDS);
    struct spsc *ring = mesh_tells(&mesh, PEER, 0);
    for (const struct envelope *tell; (tell = spsc_peek(ring)) != NULL; spsc_pop(ring)) {
        model.told[tell->topic] = tell->status;
    }
}

static void a_random_life_ends_as_wished(void **state)
{
    (void)state;
    uint32_t random = 12345;
    bool up = false;
    for (int step = 0; step < 200000; step++) {
        random = random * 1664525 + 1013904223;
        uint32_t topic = (random >> 8) % TOPICS;
        char name[2] = {(char)('a' + topic), 0};
        switch ((random >> 24) % 8) {
        case 0:
        case 1:
            want(0, name, topic);
            model.told[topic] = model.wanted[topic] ? model.told[topic] : -1;
            model.wanted[topic] = true;
            break;
        case 2:
            unwant(name);
            model.wanted[topic] = false;
            break;
        case 3:
        case 4:
            if (up) {
                model_take_changes();
            }
            break;
        case 5:
            model_confirm(3);
            break;
        case 6:
            model_tell();
            break;
        default:
            if (random % 5 == 0) {
                up = !up;
                memset(model.redis, 0, sizeof model.redis);
                model.pending_first = model.pending_last;
                if (up) {
                    interest_up(&interest, 0);
                } else {
                    interest_cut(&interest, 0);
                }
            }
        }
    }
    if (!up) {
        interest_up(&interest, 0);
    }
    model_take_changes();
    model_confirm(PENDING);
    for (int i = 0; i < TOPICS; i++) {
        model_tell();
    }
    uint32_t wanted = 0;
    for (uint32_t topic = 0; topic < TOPICS; topic++) {
        assert_int_equal(model.redis[topic], model.wanted[topic]);
        assert_true(!model.wanted[topic] || model.told[topic] == RELAY_DONE);
        wanted += model.wanted[topic];
    }
    assert_int_equal(interest.topics.used, wanted);
    assert_int_equal(interest.servers[0].wanted, wanted);
    assert_true(interest_is_complete(&interest, 0));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_topic_is_subscribed_confirmed_told_and_left),
        TEST(what_changes_its_mind_costs_nothing),
        TEST(a_late_confirmation_of_a_former_subscription_means_nothing),
        TEST(an_absent_server_is_told_and_made_good),
        TEST(tells_wait_for_room_and_the_latest_counts),
        TEST(a_random_life_ends_as_wished),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
