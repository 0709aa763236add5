/*
 * one_shard: a host of one shard, for tests that turn it by hand: a simulated network and clock, and clients whose
 * bytes the test says and hears itself.
 */
#ifndef SHOAL_TESTS_BROKER_ONE_SHARD_H
#define SHOAL_TESTS_BROKER_ONE_SHARD_H

#include "broker/shard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "io_simulated.h"
#include "mesh/name.h"

#define UPGRADE                                                                                                        \
    "Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"                            \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
#define GET_RAW "GET /v1/topics/t HTTP/1.1\r\n" UPGRADE

static struct {
    struct config *config;
    struct sim_network *network;
    struct mesh mesh;
    struct io *room;
    struct shard *shard;
    _Atomic uint32_t connections;
} host;

static char input[65536];

struct host_setup {
    const char *text; /* its configuration */
    bool linked;      /* peer 1 is a federation link, which the test plays */
    uint32_t window;  /* bytes under way to a client at most; 0: plenty */
    uint32_t slots;
    uint32_t buffers; /* for receiving */
    uint32_t batch;
    uint32_t shares; /* shards of its thread */
};

static inline struct config *config_make(const char *text)
{
    static struct config_report report;
    const struct config_sources sources = {.file = "test.ini", .file_text = text};
    struct config *config = config_load(&sources, &report);
    if (!config)
        fail_msg("%s", report.text);
    return config;
}

static inline void host_make(const struct host_setup *wishes)
{
    const struct sim_options network = {.seed = 1, .start_us = 1000000, .window_bytes = wishes->window};
    const struct io_options room = {.slots_max = wishes->slots,
                                    .receive_buffers = wishes->buffers,
                                    .receive_buffer_size = 4096,
                                    .batch = wishes->batch};
    host.config = config_make(wishes->text);
    host.network = sim_create(&network);
    host.room = sim_room_create(host.network, &room);
    assert_int_equal(io_listen(host.room, -1), 0);
    assert_true(mesh_init(&host.mesh, wishes->linked ? 2 : 1, 64));
    host.connections = 0;
    const struct shard_setup setup = {
        .shard_count = 1,
        .io = host.room,
        .mesh = &host.mesh,
        .clock = sim_clock(host.network),
        .config = host.config,
        .connections = &host.connections,
        .seed = 1,
        .instance = 1,
        .link_peer = wishes->linked ? 1 : 0,
        .shares = wishes->shares,
    };
    host.shard = shard_create(&setup);
    assert_non_null(host.shard);
}

/* Whatever was still open: nothing may be left of it. */
static inline void host_stop(void)
{
    shard_destroy(host.shard);
    mesh_destroy(&host.mesh);
    sim_destroy(host.network);
    config_free(host.config);
    assert_int_equal(chunk_count_in_use(), 0);
    assert_int_equal(name_count_in_use(), 0);
}

static inline void turns(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        shard_turn(host.shard, 0);
}

/* What has come for a client, as a string too. */
static inline size_t hear(uint32_t client)
{
    ssize_t size = sim_client_read(host.network, client, input, sizeof input - 1);
    input[size > 0 ? size : 0] = 0;
    return size > 0 ? (size_t)size : 0;
}

#endif
