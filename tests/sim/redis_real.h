/*
 * redis_real: a redis-server of the test's own: a process on a free port of 127.0.0.1, in a directory of its own, that
 * goes when the test does.
 *
 * Its streams have nodes of one entry, so that XTRIM ~ cuts exactly: what a model can repeat.
 */
#ifndef SHOAL_TESTS_REDIS_REAL_H
#define SHOAL_TESTS_REDIS_REAL_H

#include <stdint.h>
#include <sys/types.h>

struct redis_real {
    pid_t process;
    uint16_t port;
    char folder[64];
};

/* Aborts where it can't be started. It takes connections when this returns. */
void redis_real_start(struct redis_real *server);
void redis_real_stop(struct redis_real *server);

#endif
