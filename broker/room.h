/*
 * room: the io of a shard, as the configuration wants it.
 */
#ifndef SHOAL_BROKER_ROOM_H
#define SHOAL_BROKER_ROOM_H

#include "config/config.h"
#include "io/io.h"

/* Makes a room for one of so many shards. NULL: *problem (static text) says why. Gives the io. By the shard's thread.
 */
struct io *room_make(const struct config *config, enum config_backend backend, uint32_t shard_count,
                     const char **problem);

#endif
