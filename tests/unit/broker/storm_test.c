/*
 * storm_test: thousands come at once while messages are delivered, and the reverse: who waits for whom, counted in
 * turns, never in time. One shard over the simulated network.
 */
#include "one_shard.h"

#define GET_ALL "GET /v1/topics/all HTTP/1.1\r\n" UPGRADE
#define GET_PUB "GET /v1/topics/t?mode=pub HTTP/1.1\r\n" UPGRADE
#define PUB_ALL "GET /v1/topics/all?mode=pub HTTP/1.1\r\n" UPGRADE
#define FRAME   "\x81\x82\0\0\0\0hi" /* masked with zeros */

enum { SLOTS = 16384, EVENTS_A_TURN = 4096 /* as in shard.c */ };

static void host_start(const char *text, uint32_t shares)
{
    host_make(
        &(struct host_setup){.text = text, .slots = SLOTS, .buffers = EVENTS_A_TURN, .batch = 64, .shares = shares});
}

/* Only sent: nothing is worked yet. */
static void send_bytes(uint32_t client, const char *bytes)
{
    if (*bytes)
        assert_int_equal(sim_client_write(host.network, client, bytes, strlen(bytes)), strlen(bytes));
}

static void send_frame(uint32_t client)
{
    assert_int_equal(sim_client_write(host.network, client, FRAME, sizeof FRAME - 1), sizeof FRAME - 1);
}

static uint32_t comes(const char *request)
{
    uint32_t client = sim_connect(host.network, 0);
    assert_int_not_equal(client, SIM_NONE);
    send_bytes(client, request);
    return client;
}

static uint32_t welcome(const char *request)
{
    uint32_t client = comes(request);
    turns(5);
    hear(client);
    assert_non_null(strstr(input, "HTTP/1.1 101 "));
    return client;
}

static void crowd_comes(uint32_t *clients, uint32_t count, const char *request)
{
    for (uint32_t i = 0; i < count; i++)
        clients[i] = comes(request);
}

/* Turns until all that wait for it are accepted: the simulated network gives some dozens a turn. */
static void accept_all(uint32_t connections)
{
    for (uint32_t i = 0; i < SLOTS && host.connections < connections; i++)
        turns(1);
    assert_int_equal(host.connections, connections);
}

/*
 * More make their request than a turn can work, and as many wait to be accepted; what is published meanwhile is
 * delivered in the turn that sees its bytes, at most one turn late.
 */
static void accepting_does_not_starve_delivery(void **state)
{
    (void)state;
    enum { CROWD = EVENTS_A_TURN + 1000, WAITING = 4000, MESSAGES = 20 };
    static uint32_t crowd[CROWD], waiting[WAITING];
    host_start("", 1);
    uint32_t reader = welcome(GET_RAW), writer = welcome(GET_PUB);
    for (uint32_t i = 0; i < CROWD; i += 1000) {
        crowd_comes(crowd + i, CROWD - i < 1000 ? CROWD - i : 1000, "");
        accept_all(2 + i + (CROWD - i < 1000 ? CROWD - i : 1000));
    }
    for (uint32_t i = 0; i < CROWD; i++)
        send_bytes(crowd[i], GET_ALL);
    crowd_comes(waiting, WAITING, GET_ALL);
    for (uint32_t i = 0; i < MESSAGES; i++) {
        send_frame(writer);
        uint32_t waited = 0;
        for (; hear(reader) == 0; waited++)
            turns(1);
        assert_in_range(waited, 1, 3);
    }
    assert_true(host.connections < 2 + CROWD + WAITING); /* it was still at it, */
    accept_all(2 + CROWD + WAITING);
    turns(CROWD / 64);
    for (uint32_t i = 0; i < CROWD; i++) {
        hear(crowd[i]);
        assert_non_null(strstr(input, "HTTP/1.1 101 ")); /* and let all of them in */
    }
    host_stop();
}

/* A large topic has more to deliver than many turns can send; who comes meanwhile is served in a few of them. */
static void delivery_does_not_starve_accepting(void **state)
{
    (void)state;
    enum { READERS = 4000, MESSAGES = 50, NEWCOMERS = 5 };
    static uint32_t readers[READERS];
    host_start("", 64); /* a thread's 64th part: 64 sends a turn */
    crowd_comes(readers, READERS, GET_ALL);
    accept_all(READERS);
    turns(READERS / 64 + 100);
    uint32_t writer = welcome(PUB_ALL);
    for (uint32_t i = 0; i < READERS; i++)
        hear(readers[i]);
    uint64_t sent = STATS_READ(&host.shard->stats, deliveries);
    for (uint32_t i = 0; i < MESSAGES; i++)
        send_frame(writer);
    turns(3);
    for (uint32_t i = 0; i < NEWCOMERS; i++) {
        uint32_t newcomer = comes(GET_RAW);
        turns(4);
        hear(newcomer);
        assert_non_null(strstr(input, "HTTP/1.1 101 "));
    }
    sent = STATS_READ(&host.shard->stats, deliveries) - sent;
    assert_in_range(sent, 1, READERS * MESSAGES - 1); /* it was still at it, */
    for (uint32_t i = 0; i < READERS * MESSAGES / 64 + 100; i++)
        turns(1);
    for (uint32_t i = 0; i < READERS; i++)
        assert_int_equal(hear(readers[i]), MESSAGES * 4); /* and has left nothing out */
    host_stop();
}

/* Half-open ones fill their bound: those who have made their request are served, new ones wait, and get in later. */
static void half_open_ones_are_bounded(void **state)
{
    (void)state;
    enum { HALF_OPEN = 10, MORE = 30 };
    uint32_t silent[HALF_OPEN], waiting[MORE];
    host_start("[limits]\nhandshakes = 10\nhandshake_ms = 2000\n", 1);
    uint32_t reader = welcome(GET_RAW), writer = welcome(GET_PUB);
    crowd_comes(silent, HALF_OPEN, "");
    turns(3);
    crowd_comes(waiting, MORE, GET_ALL);
    turns(5);
    assert_int_equal(host.shard->conns.handshakes, HALF_OPEN);
    assert_int_equal(host.connections, 2 + HALF_OPEN);
    assert_int_equal(STATS_READ(&host.shard->stats, accept_pauses), 1);
    send_frame(writer);
    turns(3);
    assert_int_equal(hear(reader), 4);
    for (uint32_t i = 0; i < 40; i++) {
        sim_advance(host.network, 100000);
        turns(2);
        assert_true(host.shard->conns.handshakes <= HALF_OPEN + MORE);
    }
    assert_int_equal(STATS_READ(&host.shard->stats, handshakes_timed_out), HALF_OPEN);
    for (uint32_t i = 0; i < MORE; i++) {
        hear(waiting[i]);
        assert_non_null(strstr(input, "HTTP/1.1 101 "));
    }
    host_stop();
}

/* When the broker drains, each is told when to come back: as many a second as limits.return_rate says. */
static void crowd_is_told_when_to_come_back(void **state)
{
    (void)state;
    enum { CROWD = 2000, RATE = 100, SECONDS = 30 };
    static uint32_t clients[CROWD];
    uint32_t comes_back[SECONDS + 1] = {0};
    host_start("[broker]\ndrain_s = 0\n[limits]\nreturn_rate = 100\n", 1);
    crowd_comes(clients, CROWD, GET_ALL);
    accept_all(CROWD);
    turns(20);
    for (uint32_t i = 0; i < CROWD; i++)
        hear(clients[i]);
    shard_order(host.shard, SHARD_ORDER_DRAIN);
    for (uint32_t i = 0; i < 20; i++) {
        sim_advance(host.network, 10000);
        turns(2);
    }
    for (uint32_t i = 0; i < CROWD; i++) {
        size_t size = hear(clients[i]);
        assert_true(size > 4);
        assert_int_equal((uint8_t)input[2] << 8 | (uint8_t)input[3], CLOSE_DRAINING);
        uint32_t after_ms = close_reason_after_ms(input + 4, size - 4);
        assert_true(after_ms <= SECONDS * 1000);
        comes_back[after_ms / 1000]++;
    }
    for (uint32_t second = 0; second < SECONDS; second++)
        assert_true(comes_back[second] <= RATE * 3 / 2);
    assert_in_range(STATS_READ(&host.shard->stats, returns_spread), CROWD - RATE, CROWD);
    host_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepting_does_not_starve_delivery),
        cmocka_unit_test(delivery_does_not_starve_accepting),
        cmocka_unit_test(half_open_ones_are_bounded),
        cmocka_unit_test(crowd_is_told_when_to_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
