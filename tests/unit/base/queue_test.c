/*
 * queue_test: first in, first out, through any mix of pushes and takes.
 */
#include "base/queue.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct record {
    uint32_t value;
    uint32_t next;
};

#define LINK offsetof(struct record, next)

static void first_in_first_out(void **state)
{
    (void)state;
    struct slab slab;
    struct queue queue = {0};
    slab_init(&slab, sizeof(struct record), 1000);
    assert_int_equal(queue_take(&queue, &slab, LINK), 0);
    uint32_t pushed = 0, taken = 0;
    for (uint32_t round = 0; round < 50; round++) {
        for (uint32_t i = 0; i < round % 7 + 1; i++) {
            uint32_t number = slab_take(&slab);
            ((struct record *)slab_at(&slab, number))->value = pushed++;
            queue_push(&queue, &slab, LINK, number);
        }
        for (uint32_t i = 0; i < round % 5 + 1 && taken < pushed; i++) {
            uint32_t number = queue_take(&queue, &slab, LINK);
            assert_int_equal(((struct record *)slab_at(&slab, number))->value, taken++);
            slab_give(&slab, number);
        }
    }
    while (taken < pushed) {
        uint32_t number = queue_take(&queue, &slab, LINK);
        assert_int_equal(((struct record *)slab_at(&slab, number))->value, taken++);
    }
    assert_int_equal(queue_take(&queue, &slab, LINK), 0);
    assert_int_equal(queue.first + queue.last, 0);
    slab_destroy(&slab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_in_first_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
