/*
 * proxy: stands between clients and a broker on this host, and is a bad network: it cuts connections after so many
 * bytes as chance says, in the middle of whatever they are, or falls silent.
 *
 *      client ──▶ proxy.port ──▶ broker's port
 *
 * One thread; the functions may be called from any other.
 */
#ifndef SHOAL_TESTS_LIBSHOAL_PROXY_H
#define SHOAL_TESTS_LIBSHOAL_PROXY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#define PROXY_PAIRS_MAX 16

struct proxy_pair {
    int client; /* -1: free */
    int broker;
    int64_t bytes_left; /* until it is cut; < 0: never */
};

struct proxy {
    int port;
    int listener;
    int target;
    int other; /* every second connection goes here; 0: none does. Set before there are any */
    uint32_t taken;
    pthread_t thread;
    struct proxy_pair pairs[PROXY_PAIRS_MAX];
    uint64_t random;
    atomic_bool ends;
    atomic_bool silent;    /* takes bytes, and passes nothing on */
    atomic_int bytes_most; /* connections are cut after at most so many bytes; 0: not at all */
    _Atomic uint32_t cuts; /* so far */
};

void proxy_start(struct proxy *proxy, int target, uint64_t seed);
void proxy_stop(struct proxy *proxy);

#endif
