/*
 * routes: what answers each path of the admin port. http.c has the table; a route answers its request, or gives it a
 * job that does so later.
 *
 * `rest` is what follows the route's path, decoded: a topic's name, a connection's. Thread: the admin port's.
 */
#ifndef SHOAL_ADMIN_ROUTES_H
#define SHOAL_ADMIN_ROUTES_H

#include <stdio.h>

#include "admin/state.h"

/* report.c: figures that are read from the statistics */
void report_health(struct request *request, const char *rest);
void report_readiness(struct request *request, const char *rest);
void report_version(struct request *request, const char *rest);
void report_stats(struct request *request, const char *rest);
void report_shards(struct request *request, const char *rest);

/* metrics.c: the same for Prometheus */
void metrics_answer(struct request *request, const char *rest);

/* federation.c: Redis servers and other hosts; the metrics of both. */
void federation_cluster(struct request *request, const char *rest);
/* False: no memory. */
bool federation_metrics(FILE *out, const struct link *link);

/* page.c */
void page_answer(struct request *request, const char *rest);

/* listing.c: what shards are asked for */
void listing_connections(struct request *request, const char *rest);
void listing_topics(struct request *request, const char *rest);
void listing_filters(struct request *request, const char *rest);
void listing_topic(struct request *request, const char *rest);

/* levers.c: what changes something */
void lever_kick(struct request *request, const char *rest);
void lever_drain(struct request *request, const char *rest);

#endif
