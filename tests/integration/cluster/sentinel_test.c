/*
 * sentinel_test: federation links that know their Redis server by its sentinels alone, with a real master (`redis`),
 * its replica (`second`) and real sentinels: they find the master, follow it when it falls, and say what is wrong where
 * they can't.
 */
#include "fixture.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/check.h"
#include "base/logger.h"

#define SAY_MAX_US 120000000

static struct redis_process sentinel, other_sentinel;
static struct link_report report;

static int sentinel_setup(void **state)
{
    redis_process_init(&sentinel);
    redis_process_init(&other_sentinel);
    cluster_setup(state);
    snprintf(servers, sizeof servers, "redis+sentinel://127.0.0.1:%u/mymaster", sentinel.port);
    return 0;
}

static int sentinel_teardown(void **state)
{
    redis_process_free(&sentinel);
    redis_process_free(&other_sentinel);
    return cluster_teardown(state);
}

#define SENTINEL_TEST(function) cmocka_unit_test_setup_teardown(function, sentinel_setup, sentinel_teardown)

static const struct link_report_server *reported(void)
{
    link_report(one.link, &report);
    return &report.servers[0];
}

static void assert_port_reported(uint16_t port)
{
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%u", port);
    assert_string_equal(reported()->address, address);
    snprintf(address, sizeof address, "127.0.0.1:%u", sentinel.port);
    assert_string_equal(reported()->sentinel, address);
    assert_string_equal(reported()->master, "mymaster");
    char name[64];
    snprintf(name, sizeof name, "mymaster@%s", address);
    assert_string_equal(reported()->name, name);
}

static bool one_says(void *context)
{
    char why[1024];
    bool ready = link_is_ready(one.link, why, sizeof why);
    assert_null(strstr(why, "secret"));
    return !ready && strstr(why, context);
}

/* Turns until host one is not ready, and says this. */
static void turn_until_reason(char *text)
{
    turn_until(one_says, text, text);
}

static bool both_at_second(void *context)
{
    (void)context;
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%u", second.port);
    bool there = both_ready(NULL);
    for (size_t i = 0; i < 2 && there; i++) {
        link_report(both[i]->link, &report);
        there = strcmp(report.servers[0].address, address) == 0;
    }
    return there;
}

static void turn_until_followed(void)
{
    turn_until(both_at_second, NULL, "readiness with the new master");
}

/*
 * Asks by redis-cli until the answer has this text. A sentinel cuts off whoever is connected to a server that it
 * changes: then it is asked again. The hosts, if there are any, turn meanwhile.
 */
static void say_until(const struct redis_process *process, const char *arguments, const char *text)
{
    int64_t begin_us = clock_of_host.monotonic_us(&clock_of_host);
    while (!redis_process_ask(process, arguments, answer, sizeof answer) || !strstr(answer, text)) {
        CHECK_MSG(clock_of_host.monotonic_us(&clock_of_host) - begin_us < SAY_MAX_US, "waited in vain for %s in: %s",
                  text, answer);
        usleep(10000);
        for (size_t i = 0; i < 2 && one.link; i++) {
            host_turn(both[i]);
        }
    }
}

static void replica_start(void)
{
    static char port[8];
    snprintf(port, sizeof port, "%u", redis.port);
    second.options[0] = "--replicaof";
    second.options[1] = "127.0.0.1";
    second.options[2] = port;
    redis_process_start(&second);
    say_until(&second, "INFO replication", "master_link_status:up");
}

/* Until the sentinel could promote the replica. */
static void wait_for_replica(void)
{
    say_until(&sentinel, "SENTINEL REPLICAS mymaster", "master-link-status\nok");
}

/* A master, a replica, a sentinel that knows both, and hosts that are ready. */
static void begin_with_replica(void)
{
    redis_process_start(&redis);
    replica_start();
    redis_process_start_sentinel(&sentinel, &redis, "");
    wait_for_replica();
    hosts_begin();
    turn_until(both_ready, NULL, "readiness");
}

static void a_failover_is_followed(void **state)
{
    (void)state;
    begin_with_replica();
    assert_port_reported(redis.port);
    want_on(&two, "log", 1);
    want_on(&two, "news", 2);
    host_forget(&two);
    uint64_t epoch = append(&one, "log", "before", NULL)->epoch;
    turn_until_count(&two, ASK_ARRIVED, 1, "the message");
    say_until(&second, "HGET 'test:{log}m' o", "1");
    redis_process_kill(&redis);
    turn_until_status(RELAY_AWAY, "to be told that Redis is away");
    turn_until(neither_ready, NULL, "no readiness");
    turn_until_followed();
    assert_port_reported(second.port);
    turn_until_status(RELAY_DONE, "to be told that all arrives again");
    const struct relay *relay = append(&one, "log", "after", NULL);
    assert_int_equal(relay->status, RELAY_DONE);
    assert_int_equal(relay->offset, 2);
    assert_int_not_equal(relay->epoch, epoch);
    uint64_t now = relay->epoch;
    assert_int_equal(append(&two, "log", "and on", NULL)->epoch, now);
    host_publish(&one, "news", "after", NULL, false);
    turn_until_count(&two, ASK_ARRIVED, 4, "messages after the failover");
    assert_int_equal(STATS_READ(link_stats(one.link), lineage_changes), 1);
}

/* The sentinel turns it into a replica of the new master: nobody goes back to it. */
static void a_former_master_that_comes_back_is_left_alone(void **state)
{
    (void)state;
    begin_with_replica();
    redis_process_kill(&redis);
    turn_until_followed();
    redis_process_start(&redis);
    char follower[48];
    snprintf(follower, sizeof follower, "port=%u,state=online", redis.port);
    /* the sentinel cuts off who is connected to the former master: the new one is asked */
    say_until(&second, "INFO replication", follower);
    assert_true(both_ready(NULL));
    assert_port_reported(second.port);
}

/* A planned one: the master lives on, and says that it is none any more. */
static void a_failover_on_request_is_followed(void **state)
{
    (void)state;
    begin_with_replica();
    uint64_t epoch = append(&one, "log", "before", NULL)->epoch;
    say(&sentinel, "SENTINEL FAILOVER mymaster");
    turn_until_followed();
    assert_port_reported(second.port);
    assert_int_not_equal(append(&one, "log", "after", NULL)->epoch, epoch);
}

static void sentinels_that_are_of_no_use_are_passed_over(void **state)
{
    (void)state;
    redis_process_start(&redis);
    redis_process_start_sentinel(&sentinel, &redis, "");
    redis_process_start(&second); /* no sentinel at all */
    redis_process_start_sentinel(&other_sentinel, &redis, "");
    redis_process_signal(&other_sentinel, SIGSTOP); /* answers nothing */
    settings.timeout_ms = 8000;                     /* two seconds each */
    struct redis_process nobody;
    redis_process_init(&nobody);
    snprintf(servers, sizeof servers, "redis+sentinel://127.0.0.1:%u,127.0.0.1:%u,127.0.0.1:%u,127.0.0.1:%u/mymaster",
             nobody.port, second.port, other_sentinel.port, sentinel.port);
    hosts_begin();
    turn_until(both_ready, NULL, "readiness");
    assert_int_equal(reported()->failures, 0);
    assert_non_null(strstr(reported()->name, "mymaster@127.0.0.1:"));
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%u", sentinel.port);
    assert_string_equal(reported()->sentinel, address);
    redis_process_free(&nobody);
}

static void a_sentinel_that_is_dead_at_start_is_asked_again(void **state)
{
    (void)state;
    redis_process_start(&redis);
    hosts_begin();
    turn_until_reason("Connection refused");
    assert_string_equal(reported()->address, "");
    assert_string_equal(reported()->sentinel, "");
    char why[1024];
    link_is_ready(one.link, why, sizeof why);
    assert_non_null(strstr(why, "redis 1 (mymaster): no sentinel names the master: 127.0.0.1:"));
    redis_process_start_sentinel(&sentinel, &redis, "");
    turn_until(both_ready, NULL, "readiness");
    redis_process_kill(&sentinel); /* it is needed to find the master, not to keep it */
    uint64_t probes = STATS_READ(link_stats(one.link), probes);
    while (STATS_READ(link_stats(one.link), probes) < probes + 3) {
        host_turn(&one);
    }
    assert_true(host_is_ready(&one));
}

static void a_wrong_name_is_told(void **state)
{
    (void)state;
    redis_process_start(&redis);
    redis_process_start_sentinel(&sentinel, &redis, "");
    snprintf(servers, sizeof servers, "redis+sentinel://:secret@127.0.0.1:%u/yours", sentinel.port);
    hosts_begin();
    turn_until_reason("it knows no master of this name");
    assert_int_equal(reported()->state == SERVER_UP, false);
}

static void passwords_of_both_are_given_where_they_are_asked_for(void **state)
{
    (void)state;
    redis.options[0] = "--requirepass";
    redis.options[1] = "secret";
    redis_process_start(&redis);
    redis_process_start_sentinel(&sentinel, &redis, "sentinel auth-pass mymaster secret\nrequirepass secret\n");
    redis_process_start_sentinel(&other_sentinel, &redis, "sentinel auth-pass mymaster secret\n");
    snprintf(servers, sizeof servers, "redis+sentinel://:secret@127.0.0.1:%u/mymaster", sentinel.port);
    hosts_begin();
    turn_until(both_ready, NULL, "readiness at a sentinel with a password");
    assert_port_reported(redis.port);
    host_destroy(&one);
    host_destroy(&two);
    snprintf(servers, sizeof servers, "redis+sentinel://:secret@127.0.0.1:%u/mymaster", other_sentinel.port);
    hosts_begin();
    turn_until(both_ready, NULL, "readiness at a sentinel without one");
    host_destroy(&one);
    host_destroy(&two);
    snprintf(servers, sizeof servers, "redis+sentinel://:wrong@127.0.0.1:%u/mymaster", sentinel.port);
    hosts_begin();
    turn_until_reason("WRONGPASS");
}

static void a_sentinel_that_names_a_dead_end_is_doubted(void **state)
{
    (void)state;
    redis_process_start(&redis);
    replica_start();
    struct redis_process nobody;
    redis_process_init(&nobody);
    redis_process_start_sentinel(&sentinel, &redis, "");
    settings.timeout_ms = 10000;
    /* one that was cut off, as it were: its master is a dead end, and it has nobody to promote */
    redis_process_start_sentinel(&other_sentinel, &nobody, "");
    snprintf(servers, sizeof servers, "redis+sentinel://127.0.0.1:%u,127.0.0.1:%u/mymaster", other_sentinel.port,
             sentinel.port);
    hosts_begin();
    turn_until(both_ready, NULL, "readiness");
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%u", redis.port);
    assert_string_equal(reported()->address, address);
    assert_int_equal(reported()->failures, 1);
    redis_process_free(&nobody);
}

int main(int argc, char **argv)
{
    logger_level_set(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        SENTINEL_TEST(a_failover_is_followed),
        SENTINEL_TEST(a_former_master_that_comes_back_is_left_alone),
        SENTINEL_TEST(a_failover_on_request_is_followed),
        SENTINEL_TEST(sentinels_that_are_of_no_use_are_passed_over),
        SENTINEL_TEST(a_sentinel_that_is_dead_at_start_is_asked_again),
        SENTINEL_TEST(a_wrong_name_is_told),
        SENTINEL_TEST(passwords_of_both_are_given_where_they_are_asked_for),
        SENTINEL_TEST(a_sentinel_that_names_a_dead_end_is_doubted),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
