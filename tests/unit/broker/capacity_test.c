/* Tests of the account at start: each bound in turn is the least, and is named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "broker/capacity.h"

static const struct capacity_facts plenty = {
    .slots = 1280000, .descriptors = 20000, .memory_bytes = 64ull << 30, .limit_connections = 0};

static void assert_bound(const struct capacity_facts *facts, uint64_t connections, const char *bound)
{
    struct capacity capacity = capacity_of(facts);
    assert_int_equal(capacity.connections, connections);
    assert_string_equal(capacity.bound, bound);
    assert_non_null(capacity.change);
}

static void the_least_bound_is_named(void **state)
{
    (void)state;
    assert_bound(&plenty, 1280000, "descriptors");
    struct capacity_facts facts = plenty;
    facts.limit_connections = 5000;
    assert_bound(&facts, 5000, "limits.connections");
    facts = plenty;
    facts.memory_bytes = 1 << 30;
    assert_bound(&facts, (1u << 30) / 4114, "memory");
}

/* With epoll a shard more is no descriptor more. */
static void shared_descriptors_count_once(void **state)
{
    (void)state;
    struct capacity_facts facts = plenty;
    facts.shared = true;
    assert_bound(&facts, 20000 - 256, "descriptors");
}

static void memory_that_is_not_known_bounds_nothing(void **state)
{
    (void)state;
    struct capacity_facts facts = plenty;
    facts.memory_bytes = 0;
    assert_bound(&facts, 1280000, "descriptors");
}

static void the_host_is_read(void **state)
{
    (void)state;
    assert_true(capacity_memory_bytes() > 0);
    assert_true(capacity_descriptors() > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_least_bound_is_named),
        cmocka_unit_test(shared_descriptors_count_once),
        cmocka_unit_test(memory_that_is_not_known_bounds_nothing),
        cmocka_unit_test(the_host_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
