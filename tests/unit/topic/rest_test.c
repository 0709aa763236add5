/*
 * rest_test: when a round is held up, for how long, and that publishers who wait for their messages come to meet.
 */
#include "topic/rest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define ROUND_US 4000u
#define QUIET_US 1000u
#define START_US UINT32_C(0xffffff00) /* the clock's low bits soon begin anew */

/* A rest whose last round ended at START_US and had so many messages. */
static struct rest after_round(uint64_t messages)
{
    struct rest rest = {0};
    rest_round_begins(&rest, messages);
    rest_round_ended(&rest, START_US);
    return rest;
}

/* A round with so many messages, the newest of which was published right now, so long after START_US. */
static struct round round_with(uint64_t messages, uint32_t after_us)
{
    return (struct round){
        .now_us = START_US + after_us,
        .us = ROUND_US,
        .quiet_us = QUIET_US,
        .came_us = START_US + after_us,
        .messages = messages,
        .shared = messages > 1,
    };
}

static void a_latecomer_is_not_held_up(void **state)
{
    (void)state;
    struct rest rest = after_round(10);
    struct round round = round_with(5, ROUND_US / 2 + 1);
    assert_int_equal(rest_before(&rest, &round), 0);
}

static void it_ends_when_the_expected_are_there(void **state)
{
    (void)state;
    struct rest rest = after_round(10);
    struct round few = round_with(9, 100), all = round_with(10, 200);
    assert_int_equal(rest_before(&rest, &few), QUIET_US);
    assert_int_equal(rest_before(&rest, &all), 0);
}

static void it_ends_when_nothing_comes(void **state)
{
    (void)state;
    struct rest rest = after_round(10);
    struct round round = round_with(5, 100);
    assert_int_equal(rest_before(&rest, &round), QUIET_US);
    round.now_us += QUIET_US - 1;
    assert_int_equal(rest_before(&rest, &round), 1);
    round.now_us += 1;
    assert_int_equal(rest_before(&rest, &round), 0);
}

static void it_ends_after_half_a_round(void **state)
{
    (void)state;
    struct rest rest = after_round(1000);
    struct round round = round_with(2, 100);
    uint32_t rested_us = 0, us;
    while ((us = rest_before(&rest, &round)) > 0) {
        uint32_t step_us = us < 500 ? us : 500; /* in which one more comes */
        rested_us += step_us;
        round.now_us += step_us;
        round.came_us = round.now_us;
        round.messages++;
    }
    assert_int_equal(rested_us, ROUND_US / 2);
}

/* A round with so many messages right after the last one. Whether it was held up. */
static bool quick_round(struct rest *rest, uint64_t messages)
{
    struct round round = round_with(messages, 0);
    bool held_up = rest_before(rest, &round) > 0;
    rest_round_begins(rest, messages);
    rest_round_ended(rest, START_US);
    return held_up;
}

static uint32_t count_held_up(struct rest *rest, uint64_t messages, uint32_t rounds)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < rounds; i++) {
        count += quick_round(rest, messages);
    }
    return count;
}

/* One in sixteen waits for more than the expected. */
static void more_than_expected_are_found(void **state)
{
    (void)state;
    struct rest rest = after_round(10);
    assert_int_equal(count_held_up(&rest, 10, 64), 4);
}

/* When fewer come, they are waited for in vain for some rounds only. */
static void fewer_than_expected_are_noticed(void **state)
{
    (void)state;
    struct rest rest = after_round(100);
    assert_in_range(count_held_up(&rest, 10, 64), 20, 40);
    assert_int_equal(count_held_up(&rest, 10, 64), 4);
}

/* Messages that come one by one are held up after 2, 4, 8 … 1,024 rounds, and then each 1,024. */
static void alone_it_is_tried_more_and_more_rarely(void **state)
{
    (void)state;
    struct rest rest = after_round(1);
    uint32_t since = 0, wanted = 2;
    for (uint32_t i = 0; i < 10000; i++) {
        since++;
        if (quick_round(&rest, 1)) {
            assert_int_equal(since, wanted);
            wanted = wanted < 1024 ? wanted * 2 : wanted;
            since = 0;
        }
    }
    assert_int_equal(wanted, 1024);
}

/*
 * A model of publishers that wait: each has one message on its way, and publishes the next one some time after it has
 * arrived. At first half of them come while the others are being sent.
 */
#define PUBLISHERS 40u
#define ANSWER_US  300u /* and so much for each before it: */
#define ANSWERS_US 10u

struct model {
    struct rest rest;
    uint32_t now_us;
    uint32_t due_us[PUBLISHERS]; /* when the message of each comes, or came */
    uint32_t came_us;
};

static bool is_there(const struct model *model, uint32_t publisher)
{
    return (int32_t)(model->now_us - model->due_us[publisher]) >= 0;
}

/* Those that are there; also when the last of them came, and how long until the next one does. */
static uint32_t look(struct model *model, uint32_t *next_us)
{
    uint32_t count = 0;
    *next_us = UINT32_MAX;
    model->came_us = model->now_us - ROUND_US;
    for (uint32_t i = 0; i < PUBLISHERS; i++) {
        uint32_t until_us = model->due_us[i] - model->now_us;
        if (!is_there(model, i)) {
            *next_us = until_us < *next_us ? until_us : *next_us;
        } else {
            count++;
            model->came_us = (int32_t)(model->due_us[i] - model->came_us) > 0 ? model->due_us[i] : model->came_us;
        }
    }
    return count;
}

/* The next round. Gives how many messages it had. */
static uint32_t model_round(struct model *model, bool *shared)
{
    uint32_t next_us, there, rest_us;
    do {
        there = look(model, &next_us);
        struct round round = {model->now_us, ROUND_US, QUIET_US, model->came_us, there, *shared || there > 1};
        rest_us = there > 0 ? rest_before(&model->rest, &round) : next_us;
        model->now_us += rest_us < next_us ? rest_us : next_us;
    } while (rest_us > 0);
    *shared = there > 1;
    rest_round_begins(&model->rest, there);
    uint32_t answered = 0, end_us = model->now_us + ROUND_US;
    for (uint32_t i = 0; i < PUBLISHERS; i++) {
        if (is_there(model, i)) {
            model->due_us[i] = end_us + ANSWER_US + ANSWERS_US * answered++;
        }
    }
    model->now_us = end_us;
    rest_round_ended(&model->rest, model->now_us);
    return there;
}

static void publishers_that_wait_come_to_meet(void **state)
{
    (void)state;
    struct model model = {.now_us = START_US};
    for (uint32_t i = 0; i < PUBLISHERS; i++) {
        model.due_us[i] = START_US + (i % 2) * ROUND_US / 2;
    }
    bool shared = false;
    for (uint32_t i = 0; i < 20; i++) {
        model_round(&model, &shared);
    }
    for (uint32_t i = 0; i < 200; i++) {
        assert_int_equal(model_round(&model, &shared), PUBLISHERS);
    }
}

/* Together, they wait for the last of their number, and not until it has been quiet. */
static void those_that_meet_do_not_wait_for_more(void **state)
{
    (void)state;
    struct model model = {.now_us = START_US};
    for (uint32_t i = 0; i < PUBLISHERS; i++) {
        model.due_us[i] = START_US;
    }
    bool shared = false;
    uint32_t quick = 0;
    model_round(&model, &shared);
    for (uint32_t i = 0; i < 160; i++) {
        uint32_t since_us = model.now_us;
        model_round(&model, &shared);
        quick += model.now_us - since_us <= ROUND_US + ANSWER_US + ANSWERS_US * PUBLISHERS;
    }
    assert_int_equal(quick, 150);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_latecomer_is_not_held_up),
        cmocka_unit_test(it_ends_when_the_expected_are_there),
        cmocka_unit_test(it_ends_when_nothing_comes),
        cmocka_unit_test(it_ends_after_half_a_round),
        cmocka_unit_test(more_than_expected_are_found),
        cmocka_unit_test(fewer_than_expected_are_noticed),
        cmocka_unit_test(alone_it_is_tried_more_and_more_rarely),
        cmocka_unit_test(publishers_that_wait_come_to_meet),
        cmocka_unit_test(those_that_meet_do_not_wait_for_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
