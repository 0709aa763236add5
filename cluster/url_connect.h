/* url_connect: a connection to a place, in the clear or by TLS, as the URL says that has led there. */
#ifndef SHOAL_CLUSTER_URL_CONNECT_H
#define SHOAL_CLUSTER_URL_CONNECT_H

#include "cluster/redis.h"
#include "cluster/url.h"

/* As redis_connect(). */
static inline struct redis *url_connect(struct redis_room *room, const struct url *url, const struct url_place *place)
{
    return url->tls ? redis_connect_tls(room, place->host, place->port) : redis_connect(room, place->host, place->port);
}

#endif
