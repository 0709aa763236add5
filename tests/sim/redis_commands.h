/*
 * redis_commands: what a simulated Redis server does with a command: exactly those that the link sends.
 *
 * A script is known by the bytes of its Lua source, which the link loads, and is run as the C function that says the
 * same (redis_scripts.c). redis_differential_test.c asks both, a real server and this one, and compares.
 *
 * What belongs to a connection (AUTH, SELECT, SUBSCRIBE …) or to the process (INFO) is worked before it comes here:
 * redis_simulated.c. An unknown command aborts the test: the model must know all that the link says.
 */
#ifndef SHOAL_TESTS_REDIS_COMMANDS_H
#define SHOAL_TESTS_REDIS_COMMANDS_H

#include "redis_reply.h"
#include "redis_store.h"

enum { REDIS_SCRIPTS_MAX = 8, REDIS_SHA_SIZE = 40 };

struct redis_mind {
    struct store *store;
    bool loaded[REDIS_SCRIPTS_MAX]; /* scripts that it knows; forgotten when it restarts */
    bool full;                      /* refuses to write: maxmemory */
    bool read_only;                 /* a replica */
    /* Takes a message to who has subscribed; returns to how many. */
    int64_t (*publish)(void *context, struct span channel, struct span message);
    void *context;
};

/* Works one command. `wrote`, not NULL: set if the store may have changed (a replica must be told). Gives the reply. */
struct redis_value redis_command(struct redis_mind *mind, uint32_t count, const struct span *words, bool *wrote);

/* Whether the word is this one, in whatever case. */
bool word_is(struct span word, const char *name);

/* A number in a word; aborts if it is none. */
int64_t word_number(struct span word);

/* A whole number as its digits, in static memory: for storing. */
struct span number_word(int64_t number);

/* As PSUBSCRIBE matches: * ? [a-z] and \. */
bool redis_glob(struct span pattern, struct span text);

/* --- redis_scripts.c --- */

/* Runs script `number`. */
struct redis_value redis_script_run(struct redis_mind *mind, uint32_t number, const struct span *keys,
                                    uint32_t key_count, const struct span *values, uint32_t value_count);

/* Which script has this source, or this SHA-1 in hex. UINT32_MAX: none. */
uint32_t redis_script_by_source(struct span source);
uint32_t redis_script_by_sha(struct span sha);

/* Its SHA-1 in hex, in static memory. */
const char *redis_script_sha(uint32_t number);

#endif
