/*
 * redis_process: redis-server processes of a test, sentinels among them: started on a free port in a directory of their
 * own, stopped, killed, and gone when the test is. They keep nothing unless told to.
 */
#ifndef SHOAL_TESTS_REDIS_PROCESS_H
#define SHOAL_TESTS_REDIS_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define REDIS_OPTIONS_MAX 16

struct redis_process {
    pid_t pid; /* 0: not running */
    uint16_t port;
    char folder[64];
    const char *options[REDIS_OPTIONS_MAX]; /* further ones of the command line, NULL ends them */
};

/* A free port and a new folder; does not start it. */
void redis_process_init(struct redis_process *process);
/* Starts it, with what its folder has, and returns when it answers. */
void redis_process_start(struct redis_process *process);
/*
 * Starts it as a sentinel that knows `master` as "mymaster", is quick to promote a replica of it, and decides alone.
 * `further`: more lines of its configuration.
 */
void redis_process_start_sentinel(struct redis_process *process, const struct redis_process *master,
                                  const char *further);
void redis_process_signal(const struct redis_process *process, int signal);
/* SIGKILL, and waits for its end. */
void redis_process_kill(struct redis_process *process);
/* Kills it if it runs, and removes its folder. */
void redis_process_free(struct redis_process *process);

/*
 * Runs redis-cli with these arguments; what it prints goes to `answer`, cut, without the last newline. False: it
 * failed, for example because the server cut it off.
 */
bool redis_process_ask(const struct redis_process *process, const char *arguments, char *answer, size_t size);
/* The same where it has to succeed. */
void redis_process_say(const struct redis_process *process, const char *arguments, char *answer, size_t size);

#endif
