/*
 * check_cluster: what must be true of a world of links when it has come to rest.
 *
 * Each publish to a logged topic has its answer; each wanted topic is confirmed; all hosts' logs end where Redis says,
 * in the same epoch; what was acknowledged in that epoch is in each log at its place, or a gap covers it; in a calm
 * world each live message has come to all who had it confirmed by then. After leaving, nothing stays subscribed.
 */
#ifndef SHOAL_TESTS_CHECK_CLUSTER_H
#define SHOAL_TESTS_CHECK_CLUSTER_H

#include "cluster_world.h"

void check_cluster_settled(struct cluster_world *world);

/* Whether it may be looked at: nobody waits for an answer, and all that is wanted is known. */
bool cluster_is_settled(struct cluster_world *world);

void check_cluster_left(struct cluster_world *world);

#endif
