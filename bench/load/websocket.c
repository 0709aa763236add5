/* websocket: see websocket.h. */
#include "websocket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "process.h"

/* 127.1.0.1 and on, 250 in the last byte. */
static uint32_t source_address(uint32_t index)
{
    uint32_t number = index / WEBSOCKET_PER_SOURCE_ADDRESS;
    return 0x7F010001u + (number / 250 << 8) + number % 250;
}

size_t websocket_request(const char *path, char out[WEBSOCKET_REQUEST_MAX])
{
    return websocket_request_with(path, "", out);
}

size_t websocket_request_with(const char *path, const char *lines, char out[WEBSOCKET_REQUEST_MAX])
{
    int size = snprintf(out, WEBSOCKET_REQUEST_MAX,
                        "GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n%s\r\n",
                        path, lines);
    if (size < 0 || (size_t)size >= WEBSOCKET_REQUEST_MAX) {
        die("the path is too long: %s", path);
    }
    return (size_t)size;
}

int websocket_connect(uint16_t port, uint32_t index)
{
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct sockaddr_in source = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(source_address(index))};
    const struct sockaddr_in target = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    setsockopt(descriptor, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (descriptor >= 0 && bind(descriptor, (const struct sockaddr *)&source, sizeof source) == 0 &&
        connect(descriptor, (const struct sockaddr *)&target, sizeof target) == 0) {
        return descriptor;
    }
    int error = errno;
    if (descriptor >= 0) {
        close(descriptor);
    }
    errno = error;
    return -1;
}

void websocket_send(int descriptor, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(descriptor, bytes, size, MSG_NOSIGNAL);
        if (sent < 0) {
            die("send: %s", strerror(errno));
        }
        bytes += sent;
        size -= (size_t)sent;
    }
}

/* Looks before it takes: what follows the answer's head belongs to the stream. */
void websocket_await_answer(int descriptor, const char *path)
{
    char answer[4096];
    const char *end = NULL;
    ssize_t size = 0, last;
    while (!end) {
        last = size;
        size = recv(descriptor, answer, sizeof answer - 1, MSG_PEEK);
        if (size <= 0 || size == sizeof answer - 1) {
            die("%s: the connection ended during its handshake", path);
        }
        if (size == last) { /* a part of the head is there already, so that looking does not wait */
            nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
        }
        end = memmem(answer, (size_t)size, "\r\n\r\n", 4);
    }
    size = recv(descriptor, answer, (size_t)(end - answer) + 4, 0);
    answer[size > 0 ? size : 0] = '\0';
    if (!strstr(answer, " 101 ")) {
        die("%s: refused: %s", path, answer);
    }
}

int websocket_open(uint16_t port, uint32_t index, const char *path)
{
    char request[WEBSOCKET_REQUEST_MAX];
    int descriptor = websocket_connect(port, index);
    if (descriptor < 0) {
        die("%s: %s", path, strerror(errno));
    }
    websocket_send(descriptor, request, websocket_request(path, request));
    websocket_await_answer(descriptor, path);
    return descriptor;
}

size_t websocket_frame(uint8_t opcode, const void *payload, size_t size, char out[WEBSOCKET_PAYLOAD_MAX + 6])
{
    if (size > WEBSOCKET_PAYLOAD_MAX) {
        die("a payload of %zu bytes is too large", size);
    }
    out[0] = (char)(0x80 | opcode);
    out[1] = (char)(0x80 | size);
    memset(out + 2, 0, 4);
    memcpy(out + 6, payload, size);
    return size + 6;
}
