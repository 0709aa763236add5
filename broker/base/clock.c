/* clock: see clock.h. CLOCK_MONOTONIC is read in user space (vDSO), some 25 ns. */
#include "base/clock.h"

#include <time.h>

static int64_t host_monotonic_us(const struct clock *clock)
{
    (void)clock;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int64_t host_wall_ms(const struct clock *clock)
{
    (void)clock;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

const struct clock clock_of_host = {host_monotonic_us, host_wall_ms};
