/*
 * check_spread: the checker of several hosts for the end of a run, when all that is under way has arrived.
 *
 *   - all who follow a logged topic are in the same epoch, whatever host they are on, and (check_loss) at its last
 *     message: so what was acknowledged is in each one's row, or a gap that it was told of
 *   - in a calm world all who were following a topic, when a message to it was sent on any host, have got it
 */
#ifndef SHOAL_TESTS_CHECK_SPREAD_H
#define SHOAL_TESTS_CHECK_SPREAD_H

#include "clients.h"

void check_spread(const struct clients *clients);

#endif
