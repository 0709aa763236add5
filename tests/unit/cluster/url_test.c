/*
 * url_test: addresses of Redis servers as operators write them, and what is said of those that are wrong.
 */
#include "cluster/url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

struct good {
    const char *text;
    struct url url;
    const char *name;
};

static void assert_taken_apart(const struct good *good)
{
    struct url url;
    char name[URL_NAME_MAX];
    assert_null(url_parse(span_of_text(good->text), &url));
    assert_string_equal(url.user, good->url.user);
    assert_string_equal(url.password, good->url.password);
    assert_string_equal(url.master, good->url.master);
    assert_int_equal(url.database, good->url.database);
    assert_int_equal(url.cluster, good->url.cluster);
    assert_int_equal(url.tls, good->url.tls);
    assert_int_equal(url.place_count, good->url.place_count);
    for (uint32_t i = 0; i < url.place_count; i++) {
        assert_string_equal(url.places[i].host, good->url.places[i].host);
        assert_int_equal(url.places[i].port, good->url.places[i].port);
    }
    url_name(&url, name);
    assert_string_equal(name, good->name);
}

static void good_ones_are_taken_apart(void **state)
{
    (void)state;
#define AT(host, port) .place_count = 1, .places = { {host, port} }
    static const struct good cases[] = {
        {"redis://localhost", {AT("localhost", 6379)}, "localhost:6379"},
        {"REDIS://10.0.0.7:7000", {AT("10.0.0.7", 7000)}, "10.0.0.7:7000"},
        {"redis://[::1]:7000/2", {AT("::1", 7000), .database = 2}, "[::1]:7000"},
        {"redis://[fe80::1]", {AT("fe80::1", 6379)}, "[fe80::1]:6379"},
        {"redis://h/", {AT("h", 6379)}, "h:6379"},
        {"redis://:secret@h:1/15", {AT("h", 1), .password = "secret", .database = 15}, "h:1"},
        {"redis://me:pa:ss@h", {AT("h", 6379), .user = "me", .password = "pa:ss"}, "h:6379"},
        {"redis://me:p%40%2f%20@h", {AT("h", 6379), .user = "me", .password = "p@/ "}, "h:6379"},
        {"redis://me:p@ss@h", {AT("h", 6379), .user = "me", .password = "p@ss"}, "h:6379"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_taken_apart(&cases[i]);
    }
}

static void sentinels_are_taken_apart_and_name_the_server(void **state)
{
    (void)state;
    static const struct good cases[] = {
        {"redis+sentinel://s1/mymaster", {AT("s1", 26379), .master = "mymaster"}, "mymaster@s1:26379"},
        {"Redis+Sentinel://10.0.0.1:1,s2,[::1]:3,[::2]/my.master-2_x/7",
         {.place_count = 4,
          .places = {{"10.0.0.1", 1}, {"s2", 26379}, {"::1", 3}, {"::2", 26379}},
          .master = "my.master-2_x",
          .database = 7},
         "my.master-2_x@10.0.0.1:1,s2:26379,[::1]:3,[::2]:26379"},
        {"redis+sentinel://me:p,a/s%40s@s1:1/m/",
         {AT("s1", 1), .master = "m", .user = "me", .password = "p,a/s@s"},
         "m@s1:1"},
        {"redis+sentinel://a,b,c,d,e,f,g,h/m",
         {.place_count = 8,
          .places = {{"a", 26379},
                     {"b", 26379},
                     {"c", 26379},
                     {"d", 26379},
                     {"e", 26379},
                     {"f", 26379},
                     {"g", 26379},
                     {"h", 26379}},
          .master = "m"},
         "m@a:26379,b:26379,c:26379,d:26379,e:26379,f:26379,g:26379,h:26379"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_taken_apart(&cases[i]);
    }
}

static void seeds_of_a_cluster_are_taken_apart(void **state)
{
    (void)state;
    static const struct good cases[] = {
        {"redis+cluster://a", {AT("a", 6379), .cluster = true}, "a:6379"},
        {"Redis+Cluster://me:se,c%2fret@10.0.0.1:1,[::1]:2,b/",
         {.place_count = 3,
          .places = {{"10.0.0.1", 1}, {"::1", 2}, {"b", 6379}},
          .user = "me",
          .password = "se,c/ret",
          .cluster = true},
         "10.0.0.1:1,[::1]:2,b:6379"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_taken_apart(&cases[i]);
    }
}

static void each_way_goes_by_tls_too(void **state)
{
    (void)state;
    static const struct good cases[] = {
        {"rediss://h:1/2", {AT("h", 1), .database = 2, .tls = true}, "h:1"},
        {"REDISS+sentinel://s/m", {AT("s", 26379), .master = "m", .tls = true}, "m@s:26379"},
        {"rediss+cluster://:p@a", {AT("a", 6379), .password = "p", .cluster = true, .tls = true}, "a:6379"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_taken_apart(&cases[i]);
    }
}

static void bad_ones_are_refused_without_their_password(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "localhost",
        "redis:/h",
        "redis://",
        "redis://:7000",
        "redis://h:0",
        "redis://h:65536",
        "redis://h:",
        "redis://h:12x",
        "redis://h/x",
        "redis://h/-1",
        "redis://h/4294967296",
        "redis://[::1",
        "redis://[::1]x",
        "redis://secret@h",
        "redis://me:@h",
        "redis://me:secret%4@h",
        "redis://me:secret%zz@h",
        "redis://me:secret%00@h",
        "redisss://me:secret@h",
        "http://h",
        "redis+sentinel://",
        "redis+sentinel://s1",
        "redis+sentinel://s1/",
        "redis+sentinel:///m",
        "redis+sentinel://s1,/m",
        "redis+sentinel://,s1/m",
        "redis+sentinel://s1:0/m",
        "redis+sentinel://s1,s2:x/m",
        "redis+sentinel://s1/m/x",
        "redis+sentinel://s1/m/1/2",
        "redis+sentinel://s1/my master",
        "redis+sentinel://s1/m%2f",
        "redis+sentinel://me:secret@s1",
        "redis+sentinel://secret@s1/m",
        "redis+sentinel://a,b,c,d,e,f,g,h,i/m",
        "rediss+me:secret@s1/m",
        "redis+cluster://",
        "redis+cluster:///",
        "redis+cluster://a,",
        "redis+cluster://,a",
        "redis+cluster://a/1",
        "redis+cluster://a:0",
        "redis+cluster://me:secret@a,b:x",
        "redis+cluster://secret@a",
        "redis+cluster://a,b,c,d,e,f,g,h,i",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct url url;
        const char *problem = url_parse(span_of_text(texts[i]), &url);
        if (!problem) {
            fail_msg("%s was taken", texts[i]);
            return; /* cmocka does not say that it never returns */
        }
        assert_null(strstr(problem, "secret"));
    }
}

static void parts_that_are_too_long_are_refused(void **state)
{
    (void)state;
    char text[2 * URL_PART_MAX];
    struct url url;
    snprintf(text, sizeof text, "redis://%0*d", URL_PART_MAX, 0);
    assert_null(url_parse(span_of_text(text), &url));
    snprintf(text, sizeof text, "redis://%0*d", URL_PART_MAX + 1, 0);
    assert_non_null(url_parse(span_of_text(text), &url));
    snprintf(text, sizeof text, "redis://:%0*d@h", URL_PART_MAX + 1, 0);
    assert_non_null(url_parse(span_of_text(text), &url));
    snprintf(text, sizeof text, "redis+sentinel://s/%0*d", URL_PART_MAX, 0);
    assert_null(url_parse(span_of_text(text), &url));
    snprintf(text, sizeof text, "redis+sentinel://s/%0*d", URL_PART_MAX + 1, 0);
    assert_non_null(url_parse(span_of_text(text), &url));
}

static void the_longest_name_fits(void **state)
{
    (void)state;
    static struct url url = {.place_count = URL_SENTINELS_MAX};
    char name[URL_NAME_MAX];
    memset(url.master, 'm', URL_PART_MAX);
    for (uint32_t i = 0; i < URL_SENTINELS_MAX; i++) {
        memset(url.places[i].host, ':', URL_PART_MAX);
        url.places[i].port = UINT16_MAX;
    }
    url_name(&url, name);
    assert_int_equal(strlen(name), URL_PART_MAX + URL_SENTINELS_MAX * (1 + URL_PART_MAX + strlen("[]:65535")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_ones_are_taken_apart),
        cmocka_unit_test(sentinels_are_taken_apart_and_name_the_server),
        cmocka_unit_test(seeds_of_a_cluster_are_taken_apart),
        cmocka_unit_test(each_way_goes_by_tls_too),
        cmocka_unit_test(bad_ones_are_refused_without_their_password),
        cmocka_unit_test(parts_that_are_too_long_are_refused),
        cmocka_unit_test(the_longest_name_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
