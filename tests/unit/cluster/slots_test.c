/*
 * slots_test: the slots of a Redis Cluster: the vectors of its specification, the tags that hosts have to agree on, and
 * what is made of the answers to CLUSTER SLOTS.
 */
#include "cluster/slots.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void crc_is_that_of_the_specification(void **state)
{
    (void)state;
    assert_int_equal(slot_crc16(span_of_text("123456789")), 0x31C3);
    assert_int_equal(slot_crc16(span_of_text("")), 0);
}

/* As CLUSTER KEYSLOT of Redis 7.0 says. */
static void keys_are_in_their_slots(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        uint32_t slot;
    } cases[] = {
        {"foo", 12182},          {"bar", 5061},           {"hello", 866}, {"somekey", 11058},
        {"foo{hash_tag}", 2515}, {"bar{hash_tag}", 2515}, {"", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(slot_of_key(span_of_text(cases[i].key)), cases[i].slot);
    }
}

/* The examples of the specification. */
static void tags_are_cut_out_as_specified(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        const char *hashed;
    } cases[] = {
        {"{user1000}.following", "user1000"},
        {"{user1000}.followers", "user1000"},
        {"foo{}{bar}", "foo{}{bar}"},
        {"foo{{bar}}zap", "{bar"},
        {"foo{bar}{zap}", "bar"},
        {"foo{bar", "foo{bar"},
        {"foo}bar{", "foo}bar{"},
        {"}{a}", "a"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(slot_of_key(span_of_text(cases[i].key)), slot_of_bytes(span_of_text(cases[i].hashed)));
    }
}

static void each_slot_has_a_tag_of_its_own(void **state)
{
    (void)state;
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        struct span tag = slot_tag(slot);
        assert_in_range(tag.size, 1, SLOT_TAG_MAX);
        assert_int_equal(slot_of_bytes(tag), slot);
        assert_null(memchr(tag.data, '{', tag.size));
        assert_null(memchr(tag.data, '}', tag.size));
    }
}

/* Names in Redis are made of them: what is here now is here for ever. */
static void tags_are_what_they_were(void **state)
{
    (void)state;
    static const struct {
        uint32_t slot;
        const char *tag;
    } cases[] = {{0, "1bz"}, {1, "emj"}, {866, "9l2"}, {8192, "fjl"}, {12182, "foo"}, {16383, "hia"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct span tag = slot_tag(cases[i].slot);
        assert_int_equal(tag.size, strlen(cases[i].tag));
        assert_memory_equal(tag.data, cases[i].tag, tag.size);
    }
}

/* --- maps --- */

#define INTEGER(number)                                                                                                \
    {                                                                                                                  \
        .kind = REDIS_INTEGER, .integer = (number)                                                                     \
    }
#define STRING(literal)                                                                                                \
    {                                                                                                                  \
        .kind = REDIS_STRING, .text = { literal, sizeof(literal) - 1 }                                                 \
    }
#define ARRAY(name)                                                                                                    \
    {                                                                                                                  \
        .kind = REDIS_ARRAY, .count = sizeof(name) / sizeof *(name), .items = (name)                                   \
    }

static const struct url_place asked = {"10.0.0.9", 7009};
static struct slot_map map;

static void a_map_is_read(void **state)
{
    (void)state;
    static const struct redis_value a[] = {STRING("10.0.0.1"), INTEGER(7001), STRING("id")};
    static const struct redis_value b[] = {STRING("::1"), INTEGER(7002), STRING("id"), {.kind = REDIS_ARRAY}};
    static const struct redis_value itself[] = {STRING(""), INTEGER(7003), STRING("id")};
    static const struct redis_value nil[] = {{.kind = REDIS_NIL}, INTEGER(7004), STRING("id")};
    static const struct redis_value first[] = {INTEGER(0), INTEGER(99), ARRAY(a), ARRAY(nil), ARRAY(itself)};
    static const struct redis_value second[] = {INTEGER(100), INTEGER(16383), ARRAY(b)};
    static const struct redis_value third[] = {INTEGER(200), INTEGER(200), ARRAY(a)}; /* the later one counts */
    static const struct redis_value ranges[] = {ARRAY(first), ARRAY(second), ARRAY(third)};
    static const struct redis_value answer = ARRAY(ranges);
    assert_null(slot_map_parse(&answer, &asked, &map));
    assert_int_equal(map.covered, SLOTS);
    assert_int_equal(map.master_count, 2);
    assert_string_equal(map.masters[0].host, "10.0.0.1");
    assert_int_equal(map.masters[0].port, 7001);
    assert_string_equal(map.masters[1].host, "::1");
    assert_int_equal(map.owner[0], 0);
    assert_int_equal(map.owner[99], 0);
    assert_int_equal(map.owner[100], 1);
    assert_int_equal(map.owner[200], 0);
    assert_int_equal(map.owner[16383], 1);
    assert_int_equal(map.other_count, 2);
    assert_string_equal(map.others[0].host, "10.0.0.9");
    assert_int_equal(map.others[0].port, 7004);
    assert_int_equal(map.others[1].port, 7003);
}

static void holes_have_no_server(void **state)
{
    (void)state;
    static const struct redis_value a[] = {STRING("h"), INTEGER(1), STRING("id")};
    static const struct redis_value range[] = {INTEGER(5), INTEGER(5), ARRAY(a)};
    static const struct redis_value ranges[] = {ARRAY(range)};
    static const struct redis_value answer = ARRAY(ranges);
    assert_null(slot_map_parse(&answer, &asked, &map));
    assert_int_equal(map.covered, 1);
    assert_int_equal(map.owner[4], SLOT_NOWHERE);
    assert_int_equal(map.owner[5], 0);
}

static void what_is_no_map_is_told(void **state)
{
    (void)state;
    static const struct redis_value good[] = {STRING("h"), INTEGER(1), STRING("id")};
    static const struct redis_value no_port[] = {STRING("h"), INTEGER(0), STRING("id")};
    static const struct redis_value unknown[] = {STRING("?"), INTEGER(1), STRING("id")};
    static const struct redis_value nul[] = {STRING("h\0x"), INTEGER(1), STRING("id")};
    static const struct redis_value ranges[][3] = {
        {INTEGER(0), INTEGER(16384), ARRAY(good)}, {INTEGER(-1), INTEGER(5), ARRAY(good)},
        {INTEGER(6), INTEGER(5), ARRAY(good)},     {INTEGER(0), STRING("5"), ARRAY(good)},
        {INTEGER(0), INTEGER(5), ARRAY(no_port)},  {INTEGER(0), INTEGER(5), ARRAY(unknown)},
        {INTEGER(0), INTEGER(5), ARRAY(nul)},      {INTEGER(0), INTEGER(5), STRING("h")},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        const struct redis_value range = ARRAY(ranges[i]);
        const struct redis_value answer = {.kind = REDIS_ARRAY, .count = 1, .items = &range};
        assert_non_null(slot_map_parse(&answer, &asked, &map));
    }
    static const struct redis_value others[] = {STRING("OK"), {.kind = REDIS_ARRAY}, {.kind = REDIS_NIL}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        assert_non_null(slot_map_parse(&others[i], &asked, &map));
    }
}

static void too_many_masters_are_refused(void **state)
{
    (void)state;
    static struct redis_value nodes[LINK_SERVERS_MAX + 1][2];
    static struct redis_value ranges[LINK_SERVERS_MAX + 1][3];
    static struct redis_value answer_items[LINK_SERVERS_MAX + 1];
    for (uint32_t i = 0; i <= LINK_SERVERS_MAX; i++) {
        nodes[i][0] = (struct redis_value)STRING("h");
        nodes[i][1] = (struct redis_value)INTEGER(i + 1);
        ranges[i][0] = ranges[i][1] = (struct redis_value)INTEGER(i);
        ranges[i][2] = (struct redis_value)ARRAY(nodes[i]);
        answer_items[i] = (struct redis_value)ARRAY(ranges[i]);
    }
    struct redis_value answer = {.kind = REDIS_ARRAY, .count = LINK_SERVERS_MAX, .items = answer_items};
    assert_null(slot_map_parse(&answer, &asked, &map));
    answer.count++;
    assert_non_null(strstr(slot_map_parse(&answer, &asked, &map), "more than 64 masters"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc_is_that_of_the_specification),
        cmocka_unit_test(keys_are_in_their_slots),
        cmocka_unit_test(tags_are_cut_out_as_specified),
        cmocka_unit_test(each_slot_has_a_tag_of_its_own),
        cmocka_unit_test(tags_are_what_they_were),
        cmocka_unit_test(a_map_is_read),
        cmocka_unit_test(holes_have_no_server),
        cmocka_unit_test(what_is_no_map_is_told),
        cmocka_unit_test(too_many_masters_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
