/*
 * page: what the script `read` answers, as the page of a fetch (mesh/relay.h).
 */
#ifndef SHOAL_CLUSTER_PAGE_H
#define SHOAL_CLUSTER_PAGE_H

#include "cluster/redis.h"
#include "mesh/relay.h"

/* NULL: not an answer of that script, or no memory. Gives one allocation. Any thread. */
struct relay_page *page_create(const struct redis_value *value);

#endif
