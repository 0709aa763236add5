/*
 * pause: how long to wait between two tries at a server, a map or a slot. Whoever tries doubles it each time, between
 * bounds of its own; here is only the chance in it. Any thread.
 */
#ifndef SHOAL_CLUSTER_PAUSE_H
#define SHOAL_CLUSTER_PAUSE_H

#include <stdint.h>

/* Half of a pause (us, 2 or more), and up to as much again by chance: hosts that lost a server at once come back apart.
 */
static inline int64_t pause_spread(int64_t pause_us, uint64_t random)
{
    return pause_us / 2 + (int64_t)(random % (uint64_t)(pause_us / 2));
}

#endif
