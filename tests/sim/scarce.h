/*
 * scarce: memory that runs out at a moment of a test's choosing.
 *
 * Programs that link it have their calloc() wrapped (by the linker: see CMakeLists.txt). Others than the link's relays
 * (mesh/relay.h) use it, too, so the moment must be narrow: simulated Redis arms it as it hands a message out, and
 * disarms it when it is asked for anything again.
 *
 * Thread: the test's.
 */
#ifndef SHOAL_TESTS_SCARCE_H
#define SHOAL_TESTS_SCARCE_H

#include <stdbool.h>

/* The next calloc() finds no memory, unless it is disarmed before. */
void scarce_arm(void);

/* Whether it was armed, and nobody has asked for memory since. */
bool scarce_disarm(void);

#endif
