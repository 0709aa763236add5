/*
 * mesh_test: each ordered pair of peers has rings of its own, a bell rings once for a turn and only for who sleeps, and
 * nobody goes to sleep over what was pushed. With threads: tests/stress/mesh_stress.c.
 */
#include "mesh/mesh.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define PEERS 3

static struct mesh mesh;
static uint32_t rings[PEERS];

static void count_ring(void *door)
{
    (*(uint32_t *)door)++;
}

static int setup(void **state)
{
    (void)state;
    assert_true(mesh_init(&mesh, PEERS, 4));
    for (uint32_t i = 0; i < PEERS; i++) {
        rings[i] = 0;
        mesh_set_bell(&mesh, i, (struct mesh_bell){count_ring, &rings[i]});
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mesh_destroy(&mesh);
    return 0;
}

static bool tell(uint32_t from, uint32_t to, uint64_t mark)
{
    return mesh_tell(&mesh, from, to, &(struct envelope){.kind = TELL_LEFT, .offset = mark});
}

static bool ask(uint32_t from, uint32_t to, uint64_t mark)
{
    return mesh_ask(&mesh, from, to, &(struct envelope){.kind = ASK_LEAVE, .offset = mark});
}

static void every_pair_has_its_own_rings(void **state)
{
    (void)state;
    for (uint32_t from = 0; from < PEERS; from++) {
        for (uint32_t to = 0; to < PEERS; to++) {
            assert_true(tell(from, to, from * 10 + to));
            assert_true(ask(from, to, 100 + from * 10 + to));
        }
    }
    for (uint32_t from = 0; from < PEERS; from++) {
        for (uint32_t to = 0; to < PEERS; to++) {
            const struct envelope *told = spsc_peek(mesh_tells(&mesh, from, to));
            const struct envelope *asked = spsc_peek(mesh_asks(&mesh, from, to));
            assert_int_equal(told->offset, from * 10 + to);
            assert_int_equal(asked->offset, 100 + from * 10 + to);
            assert_int_equal(told->from, from);
            assert_int_equal(asked->from, from);
            spsc_pop(mesh_tells(&mesh, from, to));
            assert_null(spsc_peek(mesh_tells(&mesh, from, to)));
        }
    }
}

static void full_rings_refuse_and_are_counted(void **state)
{
    (void)state;
    assert_int_equal(mesh_tell_room(&mesh, 0, 1), 4);
    for (uint64_t i = 0; i < 4; i++)
        assert_true(tell(0, 1, i));
    assert_int_equal(mesh_tell_room(&mesh, 0, 1), 0);
    assert_false(tell(0, 1, 4));
    assert_false(tell(0, 1, 4));
    assert_int_equal(mesh_full(&mesh, 0), 2);
    assert_int_equal(mesh_full(&mesh, 1), 0);
    assert_true(tell(0, 2, 0)); /* others have room */
    assert_true(ask(0, 1, 0));
    spsc_peek(mesh_tells(&mesh, 0, 1));
    spsc_pop(mesh_tells(&mesh, 0, 1));
    assert_int_equal(mesh_tell_room(&mesh, 0, 1), 1);
    assert_true(tell(0, 1, 4));
}

static void bell_rings_once_for_who_sleeps(void **state)
{
    (void)state;
    assert_true(mesh_sleep(&mesh, 1));
    tell(0, 1, 1);
    tell(0, 1, 2);
    ask(0, 1, 3);
    tell(0, 2, 4);                 /* awake */
    assert_int_equal(rings[1], 0); /* not before the turn's end */
    mesh_ring_bells(&mesh, 0);
    assert_int_equal(rings[1], 1);
    assert_int_equal(rings[2], 0);
    mesh_ring_bells(&mesh, 0); /* nothing sent since */
    tell(2, 1, 5);
    mesh_ring_bells(&mesh, 2); /* it was rung for already, though it has not woken yet */
    assert_int_equal(rings[1], 1);
    mesh_awake(&mesh, 1);
}

/* Reads all that a peer has; returns how many envelopes. */
static uint32_t read_all(uint32_t peer)
{
    uint32_t count = 0;
    struct mesh_peers senders = mesh_look(&mesh, peer);
    for (uint32_t from = mesh_peers_next(&senders, 0); from < PEERS_MAX; from = mesh_peers_next(&senders, from + 1)) {
        for (int asks = 0; asks < 2; asks++) {
            struct spsc *ring = asks ? mesh_asks(&mesh, from, peer) : mesh_tells(&mesh, from, peer);
            for (; spsc_peek(ring); count++) {
                spsc_pop(ring);
            }
        }
    }
    mesh_settle(&mesh, peer, &senders);
    return count;
}

static void nobody_sleeps_over_what_has_come(void **state)
{
    (void)state;
    for (int asks = 0; asks < 2; asks++) {
        asks ? ask(2, 1, 1) : tell(2, 1, 1);
        mesh_ring_bells(&mesh, 2);
        assert_false(mesh_sleep(&mesh, 1));
        assert_int_equal(rings[1], 0); /* it is awake */
        assert_int_equal(read_all(1), 1);
    }
    assert_true(mesh_sleep(&mesh, 1));
    mesh_awake(&mesh, 1);
    tell(0, 1, 1);
    mesh_ring_bells(&mesh, 0);
    assert_int_equal(rings[1], 0);
}

/* A push is heard of when its sender rings, not before. */
static void who_sleeps_before_the_bell_is_rung_for(void **state)
{
    (void)state;
    tell(0, 1, 1);
    assert_int_equal(read_all(1), 0);
    assert_true(mesh_sleep(&mesh, 1));
    mesh_ring_bells(&mesh, 0);
    assert_int_equal(rings[1], 1);
    assert_int_equal(read_all(1), 1);
}

static bool names(const struct mesh_peers *peers, uint32_t peer)
{
    return peers->words[peer / 64] >> (peer % 64) & 1;
}

static void news_names_those_who_sent(void **state)
{
    (void)state;
    struct mesh_peers senders = mesh_look(&mesh, 1);
    assert_int_equal(mesh_peers_next(&senders, 0), PEERS_MAX);
    tell(2, 1, 1);
    mesh_ring_bells(&mesh, 2);
    senders = mesh_look(&mesh, 1);
    assert_true(names(&senders, 2) && !names(&senders, 0) && !names(&senders, 1));
    assert_int_equal(mesh_peers_next(&senders, 0), 2);
    assert_int_equal(mesh_peers_next(&senders, 3), PEERS_MAX);
}

/* What has to wait in a ring keeps its sender in the set, and its reader awake, until the ring is empty. */
static void what_is_left_in_a_ring_is_not_forgotten(void **state)
{
    (void)state;
    tell(0, 1, 1);
    tell(0, 1, 2);
    ask(0, 1, 3);
    mesh_ring_bells(&mesh, 0);
    struct mesh_peers senders = mesh_look(&mesh, 1);
    spsc_peek(mesh_tells(&mesh, 0, 1));
    spsc_pop(mesh_tells(&mesh, 0, 1));
    mesh_settle(&mesh, 1, &senders);
    assert_false(mesh_sleep(&mesh, 1));
    senders = mesh_look(&mesh, 1);
    assert_true(names(&senders, 0));
    assert_int_equal(read_all(1), 2);
    assert_true(mesh_sleep(&mesh, 1));
    mesh_awake(&mesh, 1);
}

/* What a peer has for itself goes through its own ring, and needs no bell. */
static void own_ring_needs_no_bell(void **state)
{
    (void)state;
    tell(1, 1, 1);
    mesh_ring_bells(&mesh, 1);
    assert_int_equal(rings[1], 0);
    assert_false(mesh_sleep(&mesh, 1));
    assert_int_equal(read_all(1), 1);
    assert_true(mesh_sleep(&mesh, 1));
    mesh_awake(&mesh, 1);
}

static void largest_mesh_has_a_bit_for_each_peer(void **state)
{
    (void)state;
    struct mesh large;
    const uint32_t last = PEERS_MAX - 1;
    uint32_t rung = 0;
    assert_true(mesh_init(&large, PEERS_MAX, 4));
    mesh_set_bell(&large, last, (struct mesh_bell){count_ring, &rung});
    assert_true(mesh_sleep(&large, last));
    assert_true(mesh_tell(&large, 3, last, &(struct envelope){.kind = TELL_LEFT}));
    mesh_ring_bells(&large, 3);
    assert_int_equal(rung, 1);
    assert_true(mesh_tell(&large, last, 3, &(struct envelope){.kind = TELL_LEFT}));
    mesh_ring_bells(&large, last);
    struct mesh_peers senders = mesh_look(&large, 3);
    assert_int_equal(mesh_peers_next(&senders, 0), last);
    assert_int_equal(mesh_peers_next(&senders, last + 1), PEERS_MAX);
    mesh_destroy(&large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_pair_has_its_own_rings, setup, teardown),
        cmocka_unit_test_setup_teardown(full_rings_refuse_and_are_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(bell_rings_once_for_who_sleeps, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_sleeps_over_what_has_come, setup, teardown),
        cmocka_unit_test_setup_teardown(who_sleeps_before_the_bell_is_rung_for, setup, teardown),
        cmocka_unit_test_setup_teardown(news_names_those_who_sent, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_left_in_a_ring_is_not_forgotten, setup, teardown),
        cmocka_unit_test_setup_teardown(own_ring_needs_no_bell, setup, teardown),
        cmocka_unit_test(largest_mesh_has_a_bit_for_each_peer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
