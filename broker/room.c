/* room: see room.h. Here is what a shard is given of buffers and slots. */
#include "broker/room.h"

/*
 * Buffers that the kernel receives into, of all shards together: 2 MB, all of which is touched in the end. Hence the
 * more shards, the fewer has each: with a shard for each ring of 20,000 connections they would outweigh the
 * subscribers.
 */
#define RECEIVE_BUFFERS       256u
#define RECEIVE_BUFFERS_MOST  64u /* of a shard */
#define RECEIVE_BUFFERS_LEAST 16u
#define RECEIVE_BUFFER_SIZE   8192
/* Sends queued between two flushes. */
#define SEND_BATCH 512
/* Sockets of a ring at most (IORING_MAX_FIXED_FILES); the room takes what the descriptor limit allows. */
#define SLOTS_MAX (1u << 20)

/* A power of two. */
static uint32_t receive_buffers(uint32_t shard_count)
{
    uint32_t buffers = RECEIVE_BUFFERS_MOST;
    while (buffers > RECEIVE_BUFFERS_LEAST && buffers * shard_count > RECEIVE_BUFFERS) {
        buffers /= 2;
    }
    return buffers;
}

struct io *room_make(const struct config *config, enum config_backend backend, uint32_t shard_count,
                     const char **problem)
{
    const struct io_options options = {
        .slots_max = SLOTS_MAX,
        .receive_buffers = receive_buffers(shard_count),
        .receive_buffer_size = RECEIVE_BUFFER_SIZE,
        .batch = SEND_BATCH,
        .peer_addresses = config_connections_per_address(config) > 0,
    };
    return backend == CONFIG_BACKEND_EPOLL ? io_epoll_create(&options, problem)
                                           : io_uring_room_create(&options, problem);
}
