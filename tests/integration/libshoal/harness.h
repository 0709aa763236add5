/*
 * harness: a real broker for a test in C, and words for what tests wait for.
 *
 * The program is SHOALD of the environment, the room of the kernel SHOAL_BACKEND. A broker listens on a free port (or
 * on the one that it had before it was killed), and logs to a file in the working directory that is shown if the test
 * fails to start it. All waits are bounded: what does not come in time fails the test.
 */
#ifndef SHOAL_TESTS_LIBSHOAL_HARNESS_H
#define SHOAL_TESTS_LIBSHOAL_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cmocka.h>

#include <shoal.h>

#define PATIENCE_MS 30000

struct broker {
    pid_t pid;
    int port;
    int admin_port;
    const char *const *settings; /* "section.key=value", NULL at the end; may be NULL */
    char log[64];
};

/* Starts a broker and waits until it is ready. `settings` are borrowed as long as it runs. */
void broker_start(struct broker *broker, const char *const *settings);
/* SIGKILL. */
void broker_kill(struct broker *broker);
/* The same broker again, at the same port. */
void broker_again(struct broker *broker);
/* SIGTERM; it must end well, with nothing left over. */
void broker_stop(struct broker *broker);

/* Options for a port of this host, with short pauses between attempts. Given. */
struct shoal_options *options_for(int port);

/* A client of these options (taken), connected. */
struct shoal_client *client_of(struct shoal_options *options);

/* Waits until a counter that other threads raise has reached a value. */
void await_count(const _Atomic uint32_t *counter, uint32_t value, const char *what);

/* A message whose payload is a number: it. */
uint32_t message_number(const struct shoal_message *message);

void sleep_ms(int ms);

#endif
