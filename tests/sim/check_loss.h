/*
 * check_loss: the checker for the end of a run, when all that is under way has arrived.
 *
 *   - no request of a connection that was accepted and still stands is without its answer
 *   - a topic's subscriber has come to the last message that is known of, by an answer or by another subscriber
 *   - a filter's subscriber has each publish that was sent after its own ok was there and that was acknowledged, but
 * for as many as it was told of in gaps
 */
#ifndef SHOAL_TESTS_CHECK_LOSS_H
#define SHOAL_TESTS_CHECK_LOSS_H

#include "clients.h"

void check_loss(const struct clients *clients);

#endif
