/*
 * websocket: as much of a WebSocket client as a benchmark needs, on plain sockets.
 *
 * Messages are at most WEBSOCKET_PAYLOAD_MAX bytes, so that a frame's header is two bytes and its mask, which is zero.
 * Each process binds its connections to loopback addresses of its own: one address has 28,000 ports, of which the
 * kernel looks at every other first, so that ten thousand are found at once.
 *
 * Thread: any. No state.
 */
#ifndef SHOAL_BENCH_WEBSOCKET_H
#define SHOAL_BENCH_WEBSOCKET_H

#include <stddef.h>
#include <stdint.h>

#define WEBSOCKET_PAYLOAD_MAX        125u
#define WEBSOCKET_REQUEST_MAX        512u
#define WEBSOCKET_PER_SOURCE_ADDRESS 10000u

/* The request for an upgrade at that path. Returns its size. */
size_t websocket_request(const char *path, char out[WEBSOCKET_REQUEST_MAX]);

/* The same with header lines of the caller's, each with its line end. */
size_t websocket_request_with(const char *path, const char *lines, char out[WEBSOCKET_REQUEST_MAX]);

/*
 * A blocking TCP connection to 127.0.0.1:port from the address for the `index`-th connection. -1 with errno; the
 * descriptor is the caller's.
 */
int websocket_connect(uint16_t port, uint32_t index);

/* All of it: connects, upgrades, and waits for the answer. Dies if it is refused. */
int websocket_open(uint16_t port, uint32_t index, const char *path);

/* Waits for the answer to a request on a blocking socket, and takes it and no byte more. Dies if it is refused. */
void websocket_await_answer(int descriptor, const char *path);

/* A masked frame (`opcode` with FIN) around at most WEBSOCKET_PAYLOAD_MAX bytes. Returns its size. */
size_t websocket_frame(uint8_t opcode, const void *payload, size_t size, char out[WEBSOCKET_PAYLOAD_MAX + 6]);

/* Sends all bytes on a blocking socket; dies if it can't. */
void websocket_send(int descriptor, const char *bytes, size_t size);

#endif
