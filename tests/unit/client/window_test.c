/*
 * window_test: publishes go out in order, come back in any order, are sent again with the same bytes, and never take
 * more than they may.
 */
#include "client/window.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "protocol/dialect_bin.h"

static struct command publish_of(const char *payload)
{
    return (struct command){.verb = COMMAND_PUBLISH, .topic = SPAN_LITERAL("a"), .payload = {payload, strlen(payload)}};
}

static void put(struct window *window, const char *payload)
{
    struct command command = publish_of(payload);
    size_t size = window_size_of(&command), before = window->bytes;
    assert_true(window_fits(window, size));
    assert_true(window_put(window, &command, NULL, NULL));
    assert_int_equal(window->bytes - before, size);
}

static const struct window_broker first_broker = {.instance = 7};

/* The id of the next one that this broker is sent; 0: none. */
static uint32_t sent_to(struct window *window, const struct window_broker *broker, bool again)
{
    const struct publish *publish = window_send(window, SIZE_MAX, 1, broker);
    if (!publish)
        return 0;
    struct command command;
    size_t at = 0;
    struct span record = {publish->record, publish->size};
    assert_int_equal(dialect_bin.parse(record, false, &at, NULL, &command), REPLY_OK);
    assert_int_equal(command.key.size, 12);
    assert_int_equal(command.again, again);
    return bin_id_read(command.id);
}

static uint32_t sent(struct window *window)
{
    return sent_to(window, &first_broker, false);
}

static size_t list_free(struct publish_list *list)
{
    size_t count = 0;
    for (struct publish *next; list->first; list->first = next, count++) {
        next = list->first->next;
        free(list->first);
    }
    return count;
}

static bool done(struct window *window, uint32_t id)
{
    struct publish_list list = {0};
    bool was = window_done(window, id, SHOAL_OK, (struct shoal_position){0}, &list);
    assert_int_equal(list_free(&list), was);
    return was;
}

static void in_order_and_again(void **state)
{
    (void)state;
    struct window window;
    assert_true(window_init(&window, 8, 1 << 20, 42));
    for (int i = 0; i < 5; i++)
        put(&window, "x");
    for (uint32_t id = 1; id <= 3; id++)
        assert_int_equal(sent(&window), id);
    assert_false(done(&window, 4)); /* not sent yet */
    assert_true(done(&window, 2));
    assert_false(done(&window, 2));
    assert_int_equal(window.first, 0); /* 1 is still there */
    window_rewind(&window);
    assert_int_equal(sent(&window), 1);
    assert_int_equal(sent(&window), 3); /* 2 is done */
    assert_int_equal(sent(&window), 4);
    assert_int_equal(sent(&window), 5);
    assert_int_equal(sent(&window), 0);
    assert_true(done(&window, 1));
    assert_int_equal(window.first, 2);
    for (uint32_t id = 3; id <= 5; id++)
        assert_true(done(&window, id));
    assert_int_equal(window.bytes, 0);
    assert_int_equal(window.count, 0);
    window_free(&window);
}

static void bounds(void **state)
{
    (void)state;
    struct window window;
    struct command command = publish_of("0123456789");
    size_t size = window_size_of(&command);
    assert_true(window_init(&window, 4, 3 * size + 1, 42));
    for (int i = 0; i < 3; i++)
        put(&window, "0123456789");
    assert_false(window_fits(&window, size));
    assert_true(window_fits(&window, 1));
    window.bytes_max += size;
    put(&window, "");
    assert_false(window_fits(&window, 0)); /* 4 messages */
    assert_null(window_send(&window, size - 1, 1, &first_broker));
    assert_int_equal(sent(&window), 1);
    assert_true(done(&window, 1));
    assert_true(window_fits(&window, 1));
    window_free(&window); /* with some left */
}

static bool was_sent_elsewhere(const struct publish *publish, const void *what)
{
    return publish->sent_ms && publish->broker.instance != *(const uint64_t *)what;
}

static void uncertain_ones_fail(void **state)
{
    (void)state;
    struct window window;
    assert_true(window_init(&window, 8, 1 << 20, 42));
    for (int i = 0; i < 5; i++)
        put(&window, "x");
    for (int i = 0; i < 3; i++)
        sent(&window);
    window_postpone(&window, 2);
    struct publish_list list = {0};
    uint64_t instance = 8;
    window_fail(&window, was_sent_elsewhere, &instance, SHOAL_ERROR_UNCERTAIN, &list);
    assert_int_equal(list.first->error, SHOAL_ERROR_UNCERTAIN);
    assert_int_equal(list_free(&list), 2);
    window_rewind(&window);
    assert_int_equal(sent(&window), 2);
    assert_int_equal(sent(&window), 4);
    window_free(&window);
}

static void all_fail_and_those_that_were_sent_are_uncertain(void **state)
{
    (void)state;
    struct window window;
    assert_true(window_init(&window, 8, 1 << 20, 42));
    for (int i = 0; i < 4; i++)
        put(&window, "x");
    for (int i = 0; i < 2; i++)
        sent(&window);
    struct publish_list list = {0};
    window_fail_all(&window, SHOAL_ERROR_CLOSED, &list);
    const struct publish *publish = list.first;
    for (int i = 0; i < 4; i++, publish = publish->next)
        assert_int_equal(publish->error, i < 2 ? SHOAL_ERROR_UNCERTAIN : SHOAL_ERROR_CLOSED);
    assert_int_equal(list_free(&list), 4);
    assert_int_equal(window.count, 0);
    window_free(&window);
}

/* Another broker is told that it is not the first, and the first one is not. */
static void others_are_told_that_it_was_sent(void **state)
{
    (void)state;
    const struct window_broker other = {.instance = 8};
    struct window window;
    assert_true(window_init(&window, 8, 1 << 20, 42));
    put(&window, "x");
    put(&window, "y");
    assert_int_equal(sent(&window), 1);
    window_rewind(&window);
    assert_int_equal(sent_to(&window, &other, true), 1);
    assert_int_equal(sent_to(&window, &other, false), 2); /* the other is its first */
    window_rewind(&window);
    assert_int_equal(sent_to(&window, &first_broker, false), 1);
    assert_int_equal(sent_to(&window, &first_broker, true), 2);
    window_rewind(&window);
    window.doubles = true;
    assert_int_equal(sent_to(&window, &other, false), 1);
    window_free(&window);
}

/* Ids come round again, and the slots with them, against a slow model: a bit for each number. */
static void round_and_round(void **state)
{
    (void)state;
    struct window window;
    assert_true(window_init(&window, 64, 1 << 20, 42));
    window.first = window.unsent = window.next = (uint64_t)PUBLISH_IDS * 3 - 500;
    bool open[2000] = {false};
    uint32_t ids[2000], put_count = 0, sent_count = 0;
    unsigned random = 1;
    while (sent_count < 1000 || window.count) {
        random = random * 1103515245 + 12345;
        if (put_count < 1000 && window_fits(&window, 100)) {
            put(&window, "x");
            put_count++;
        }
        uint32_t id = sent(&window);
        if (id) {
            assert_true(id >= 1 && id <= PUBLISH_IDS);
            ids[sent_count] = id;
            open[sent_count++] = true;
        }
        uint32_t pick = sent_count ? (random >> 16) % sent_count : 0;
        if (sent_count)
            assert_int_equal(done(&window, ids[pick]), open[pick]);
        open[pick] = false;
        for (uint32_t i = 0; put_count == 1000 && i < sent_count; i++)
            if (open[i]) {
                assert_true(done(&window, ids[i]));
                open[i] = false;
            }
    }
    assert_int_equal(window.bytes, 0);
    window_free(&window);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_order_and_again),
        cmocka_unit_test(bounds),
        cmocka_unit_test(uncertain_ones_fail),
        cmocka_unit_test(all_fail_and_those_that_were_sent_are_uncertain),
        cmocka_unit_test(others_are_told_that_it_was_sent),
        cmocka_unit_test(round_and_round),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
