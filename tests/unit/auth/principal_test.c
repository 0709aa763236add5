/*
 * principal_test: claims with their bounds, what they allow, and that references come back.
 */
#include "auth/principal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct span text(const char *string)
{
    return (struct span){string, strlen(string)};
}

static void claims_make(struct principal_claims *claims, const char *identity)
{
    principal_claims_clear(claims);
    assert_true(principal_claims_identify(claims, text(identity)));
    assert_true(principal_claims_allow_publish(claims, text("jobs/+")));
    assert_true(principal_claims_allow_subscribe(claims, text("news/#")));
    assert_true(principal_claims_allow_subscribe(claims, text("me/inbox")));
    claims->expires_s = 1000;
}

static void the_fixed_ones_need_no_counting(void **state)
{
    (void)state;
    struct principals *principals = principals_create();
    assert_false(principal_may_publish(principals, PRINCIPAL_NOBODY, text("a")));
    assert_false(principal_may_subscribe(principals, PRINCIPAL_NOBODY, text("a")));
    assert_true(principal_may_publish(principals, PRINCIPAL_ANYBODY, text("a")));
    assert_true(principal_may_subscribe(principals, PRINCIPAL_ANYBODY, text("$broker/#")));
    principals_drop(principals, PRINCIPAL_ANYBODY);
    principals_take(principals, PRINCIPAL_NOBODY);
    assert_int_equal(principal_identity(principals, PRINCIPAL_ANYBODY).size, 0);
    assert_int_equal(principal_expires_s(principals, PRINCIPAL_NOBODY), 0);
    assert_int_equal(principals_count(principals), 0);
    principals_destroy(principals);
}

static void claims_allow_what_they_say(void **state)
{
    (void)state;
    struct principals *principals = principals_create();
    struct principal_claims claims;
    claims_make(&claims, "ada");
    uint32_t ada = principals_add(principals, &claims);
    assert_true(ada > PRINCIPAL_ANYBODY && ada != PRINCIPAL_NONE);
    assert_true(span_equal(principal_identity(principals, ada), text("ada")));
    assert_int_equal(principal_expires_s(principals, ada), 1000);

    assert_true(principal_may_publish(principals, ada, text("jobs/1")));
    assert_false(principal_may_publish(principals, ada, text("jobs/1/2")));
    assert_false(principal_may_publish(principals, ada, text("news/x")));
    assert_true(principal_may_subscribe(principals, ada, text("news/x")));
    assert_true(principal_may_subscribe(principals, ada, text("news/+/today")));
    assert_true(principal_may_subscribe(principals, ada, text("me/inbox")));
    assert_false(principal_may_subscribe(principals, ada, text("me/+")));
    assert_false(principal_may_subscribe(principals, ada, text("#")));
    assert_false(principal_may_subscribe(principals, ada, text("jobs/1")));
    principals_drop(principals, ada);
    principals_destroy(principals);
}

static void no_claims_allow_nothing(void **state)
{
    (void)state;
    struct principals *principals = principals_create();
    struct principal_claims claims;
    principal_claims_clear(&claims);
    uint32_t index = principals_add(principals, &claims);
    assert_false(principal_may_publish(principals, index, text("a")));
    assert_false(principal_may_subscribe(principals, index, text("a")));
    principals_destroy(principals);
}

static void equal_claims_share_one(void **state)
{
    (void)state;
    struct principals *principals = principals_create();
    struct principal_claims claims;
    claims_make(&claims, "ada");
    uint32_t first = principals_add(principals, &claims);
    assert_int_equal(principals_add(principals, &claims), first);
    claims.expires_s++;
    uint32_t later = principals_add(principals, &claims);
    assert_int_not_equal(later, first);
    assert_int_equal(principals_count(principals), 2);

    principals_drop(principals, first);
    assert_int_equal(principals_count(principals), 2);
    principals_take(principals, first);
    principals_drop(principals, first);
    principals_drop(principals, first);
    principals_drop(principals, later);
    assert_int_equal(principals_count(principals), 0);
    principals_destroy(principals);
}

static void claims_are_bounded(void **state)
{
    (void)state;
    struct principal_claims claims;
    char long_text[300];
    memset(long_text, 'x', sizeof long_text);
    principal_claims_clear(&claims);
    assert_false(principal_claims_identify(&claims, (struct span){long_text, PRINCIPAL_IDENTITY_MAX + 1}));
    assert_true(principal_claims_identify(&claims, (struct span){long_text, PRINCIPAL_IDENTITY_MAX}));
    assert_false(principal_claims_allow_publish(&claims, text("a//b")));
    assert_false(principal_claims_allow_publish(&claims, text("a/#/b")));
    assert_false(principal_claims_allow_subscribe(&claims, text("")));
    assert_int_equal(claims.publish_count, 0);

    for (unsigned i = 0; i < PRINCIPAL_FILTERS_MAX; i++)
        assert_true(principal_claims_allow_subscribe(&claims, text("a")));
    assert_false(principal_claims_allow_subscribe(&claims, text("a")));

    principal_claims_clear(&claims);
    unsigned fitting = 0;
    while (principal_claims_allow_publish(&claims, (struct span){long_text, 255}))
        fitting++;
    assert_int_equal(fitting, PRINCIPAL_FILTER_BYTES_MAX / 255);
}

static void many_come_and_go(void **state)
{
    (void)state;
    struct principals *principals = principals_create();
    static uint32_t indexes[10000];
    struct principal_claims claims;
    for (unsigned i = 0; i < 10000; i++) {
        char name[32];
        snprintf(name, sizeof name, "client-%u", i);
        claims_make(&claims, name);
        indexes[i] = principals_add(principals, &claims);
    }
    assert_int_equal(principals_count(principals), 10000);
    for (unsigned i = 0; i < 10000; i += 2)
        principals_drop(principals, indexes[i]);
    assert_true(span_equal(principal_identity(principals, indexes[77]), text("client-77")));
    assert_int_equal(principals_count(principals), 5000);
    principals_destroy(principals); /* with references left: nothing may leak */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_fixed_ones_need_no_counting),
        cmocka_unit_test(claims_allow_what_they_say),
        cmocka_unit_test(no_claims_allow_nothing),
        cmocka_unit_test(equal_claims_share_one),
        cmocka_unit_test(claims_are_bounded),
        cmocka_unit_test(many_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
