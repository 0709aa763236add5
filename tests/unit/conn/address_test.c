/*
 * address_test: connections are counted by IPv4 address or IPv6 /64, refused at the limit, and forgotten with the
 * last.
 */
#include "conn/address.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct sockaddr_in6 of(const char *text)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6};
    assert_int_equal(inet_pton(AF_INET6, text, &address.sin6_addr), 1);
    return address;
}

static uint32_t add(struct addresses *addresses, const char *text, uint32_t limit)
{
    struct sockaddr_in6 address = of(text);
    return addresses_add(addresses, &address, limit);
}

static void limit_is_an_addresss_own(void **state)
{
    (void)state;
    struct addresses addresses;
    assert_true(addresses_init(&addresses, 100));
    uint32_t one = add(&addresses, "::ffff:10.0.0.1", 2);
    assert_int_not_equal(one, 0);
    assert_int_equal(add(&addresses, "::ffff:10.0.0.1", 2), one);
    assert_int_equal(add(&addresses, "::ffff:10.0.0.1", 2), 0);
    assert_int_not_equal(add(&addresses, "::ffff:10.0.0.2", 2), one);
    addresses_remove(&addresses, one);
    assert_int_equal(add(&addresses, "::ffff:10.0.0.1", 2), one);
    addresses_destroy(&addresses);
}

static void ipv6_counts_by_its_first_half(void **state)
{
    (void)state;
    struct addresses addresses;
    assert_true(addresses_init(&addresses, 100));
    uint32_t line = add(&addresses, "2001:db8:1:2::1", 9);
    assert_int_equal(add(&addresses, "2001:db8:1:2:ffff::7", 9), line);
    assert_int_not_equal(add(&addresses, "2001:db8:1:3::1", 9), line);
    assert_int_not_equal(add(&addresses, "::ffff:32.1.13.184", 9), line);
    addresses_destroy(&addresses);
}

static void last_one_frees_the_record(void **state)
{
    (void)state;
    struct addresses addresses;
    assert_true(addresses_init(&addresses, 1000));
    uint32_t numbers[1000];
    for (int round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < 1000; i++) {
            char text[32];
            snprintf(text, sizeof text, "::ffff:10.0.%u.%u", i / 250, i % 250 + 1);
            numbers[i] = add(&addresses, text, 1);
            assert_int_not_equal(numbers[i], 0);
        }
        assert_int_equal(addresses.records.used, 1000);
        for (uint32_t i = 0; i < 1000; i++)
            addresses_remove(&addresses, numbers[i]);
        assert_int_equal(addresses.records.used, 0);
    }
    addresses_destroy(&addresses);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limit_is_an_addresss_own),
        cmocka_unit_test(ipv6_counts_by_its_first_half),
        cmocka_unit_test(last_one_frees_the_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
