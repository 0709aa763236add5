/*
 * fixture: what the tests of the federation link share: one Redis (and a second one, where a test starts it), two hosts
 * that turn on the test's thread, and what is waited for. Nothing is measured; waits have a bound of a minute.
 */
#ifndef SHOAL_TESTS_CLUSTER_FIXTURE_H
#define SHOAL_TESTS_CLUSTER_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "host.h"
#include "redis_process.h"

extern struct redis_process redis;
extern struct redis_process second; /* another server, where a test starts one */
extern struct host one, two;
extern struct host *const both[2];
extern struct link_settings settings; /* of both, from cluster_setup() on */
extern char servers[512];             /* cluster.redis of both: `redis` */
extern char answer[4096];             /* what say() was answered */

#define TEST(function) cmocka_unit_test_setup_teardown(function, cluster_setup, cluster_teardown)
int cluster_setup(void **state);
int cluster_teardown(void **state);

/* Makes the hosts. */
void hosts_begin(void);
/* Starts Redis, makes the hosts, and turns until both are ready. */
void cluster_start(void);
/* Runs redis-cli. */
void say(const struct redis_process *process, const char *arguments);

/* Turns both hosts. */
void turn_until(bool (*done)(void *context), void *context, const char *what);
bool both_ready(void *context);
bool neither_ready(void *context);
/* Until a host was told so many times of a kind; ASK_ARRIVED: so many messages have arrived. */
void turn_until_count(const struct host *host, enum envelope_kind kind, uint32_t count, const char *what);
/* Until the latest TELL_WANTED of host two has this status. */
void turn_until_status(int status, const char *what);
/* Until a message that was published now by host one has come to host two: all before it has, too. Forgets what it had.
 */
void settle(void);

/* Wants a topic, and turns until Redis has confirmed. Forgets what the host had. */
void want_on(struct host *host, const char *topic, uint32_t number);
/* Publishes to a logged topic and returns what was answered, which is valid until host_forget(). */
const struct relay *append(struct host *host, const char *topic, const char *payload, const char *key);
/* Reads a page, valid as long. */
const struct relay_page *fetch(struct host *host, const char *topic, uint64_t epoch, uint64_t offset, uint32_t newest);
void assert_message(const struct relay *relay, const char *topic, const char *payload);

#endif
