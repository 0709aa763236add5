/*
 * script: the Lua scripts that run in Redis, which are part of the program as they stand in cluster/NAME.lua
 * (claim, append and read behind generation.lua).
 *
 * They are called by the hash of their text (EVALSHA); a link loads them each time that it connects. Each file says
 * what its keys, arguments and results are.
 */
#ifndef SHOAL_CLUSTER_SCRIPT_H
#define SHOAL_CLUSTER_SCRIPT_H

#include "protocol/span.h"

enum script {
    SCRIPT_CLAIM,
    SCRIPT_APPEND,
    SCRIPT_READ,
    SCRIPT_LIVE, /* of a Redis Cluster alone */
    SCRIPTS,
};

#define SCRIPT_HASH_SIZE 40

/* The text. Any thread. */
struct span script_text(enum script script);

/* The hash, as EVALSHA wants it: SHA-1 in lower case hex digits. Not fast: for start. Any thread. */
void script_hash(enum script script, char hash[SCRIPT_HASH_SIZE]);

#endif
