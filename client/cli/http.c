/* http: see http.h. */
#include "cli/http.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_BYTES_MAX (64u << 20)
#define PORT_DEFAULT     "7071"

/* A request under way. */
struct exchange {
    int socket;
    int64_t end_ms;
    char *problem;
};

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static enum http_outcome problem_tell(char *problem, enum http_outcome outcome, const char *what, const char *why)
{
    snprintf(problem, HTTP_PROBLEM_MAX, "%.500s%s%.500s", what, why[0] ? ": " : "", why);
    return outcome;
}

bool http_url_read(const char *text, struct http_url *url)
{
    static const char scheme[] = "http://";
    if (strncasecmp(text, scheme, sizeof scheme - 1) != 0) {
        return false;
    }
    const char *begin = text + sizeof scheme - 1;
    size_t size = strcspn(begin, "/?#");
    if (size == 0 || size >= sizeof url->authority || (begin[size] && strcmp(begin + size, "/") != 0) ||
        memchr(begin, '@', size)) {
        return false;
    }
    memcpy(url->authority, begin, size);
    url->authority[size] = 0;
    bool bracket = begin[0] == '[';
    const char *host_end = bracket ? strchr(url->authority, ']') : strchr(url->authority, ':');
    const char *host = url->authority + bracket;
    size_t host_size = host_end ? (size_t)(host_end - host) : strlen(host);
    const char *port = host_end ? host_end + bracket : "";
    if ((bracket && !host_end) || host_size == 0 || host_size >= sizeof url->host || (port[0] && port[0] != ':') ||
        strlen(port) > sizeof url->port || (port[0] && strspn(port + 1, "0123456789") != strlen(port + 1))) {
        return false;
    }
    memcpy(url->host, host, host_size);
    url->host[host_size] = 0;
    snprintf(url->port, sizeof url->port, "%s", port[0] && port[1] ? port + 1 : PORT_DEFAULT);
    return true;
}

/* Waits until the socket is ready for `events`. */
static bool wait_for(const struct exchange *exchange, short events)
{
    struct pollfd door = {.fd = exchange->socket, .events = events};
    int ready;
    do {
        int64_t left_ms = exchange->end_ms - now_ms();
        ready = poll(&door, 1, left_ms > 0 ? (int)left_ms : 0);
    } while (ready < 0 && errno == EINTR);
    return ready > 0;
}

static enum http_outcome connect_one(struct exchange *exchange, const struct addrinfo *to, const char *where)
{
    exchange->socket = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (exchange->socket < 0) {
        return problem_tell(exchange->problem, HTTP_UNREACHABLE, "no socket", strerror(errno));
    }
    int error = connect(exchange->socket, to->ai_addr, to->ai_addrlen) == 0 ? 0 : errno;
    if (error == EINPROGRESS) {
        if (!wait_for(exchange, POLLOUT)) {
            return problem_tell(exchange->problem, HTTP_TOO_LATE, "no answer in time from", where);
        }
        socklen_t size = sizeof error;
        getsockopt(exchange->socket, SOL_SOCKET, SO_ERROR, &error, &size);
    }
    if (error) {
        char what[400];
        snprintf(what, sizeof what, "can't reach %s", where);
        return problem_tell(exchange->problem, HTTP_UNREACHABLE, what, strerror(error));
    }
    return HTTP_ANSWERED;
}

/* The first of the host's addresses that answers. */
static enum http_outcome open_connection(struct exchange *exchange, const struct http_url *url)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list;
    int error = getaddrinfo(url->host, url->port, &hints, &list);
    if (error) {
        return problem_tell(exchange->problem, HTTP_UNREACHABLE, url->host, gai_strerror(error));
    }
    enum http_outcome outcome = HTTP_UNREACHABLE;
    for (const struct addrinfo *to = list; to; to = to->ai_next) {
        outcome = connect_one(exchange, to, url->authority);
        if (outcome == HTTP_ANSWERED) {
            break;
        }
        close(exchange->socket);
        exchange->socket = -1;
    }
    freeaddrinfo(list);
    return outcome;
}

static enum http_outcome send_all(struct exchange *exchange, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(exchange->socket, bytes, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            if (!wait_for(exchange, POLLOUT)) {
                return problem_tell(exchange->problem, HTTP_TOO_LATE, "the request was not taken in time", "");
            }
        } else if (sent < 0 && errno != EINTR) {
            return problem_tell(exchange->problem, HTTP_UNREACHABLE, "the connection broke", strerror(errno));
        } else if (sent > 0) {
            bytes += sent;
            size -= (size_t)sent;
        }
    }
    return HTTP_ANSWERED;
}

/* All until the end, into answer->body. */
static enum http_outcome receive_all(struct exchange *exchange, struct http_answer *answer)
{
    size_t room = 0;
    for (;;) {
        if (answer->size + 1 >= room) {
            room = room ? room * 2 : 65536;
            char *grown = room <= ANSWER_BYTES_MAX ? realloc(answer->body, room) : NULL;
            if (!grown) {
                return problem_tell(exchange->problem, HTTP_NOT_HTTP, "the answer is too large", "");
            }
            answer->body = grown;
        }
        ssize_t got = recv(exchange->socket, answer->body + answer->size, room - answer->size - 1, 0);
        if (got == 0) {
            answer->body[answer->size] = 0;
            return HTTP_ANSWERED;
        }
        if (got > 0) {
            answer->size += (size_t)got;
        } else if (errno == EAGAIN && !wait_for(exchange, POLLIN)) {
            return problem_tell(exchange->problem, HTTP_TOO_LATE, "no answer in time", "");
        } else if (errno != EAGAIN && errno != EINTR) {
            return problem_tell(exchange->problem, HTTP_UNREACHABLE, "the connection broke", strerror(errno));
        }
    }
}

/* Splits the head off; what the length says must all be there. */
static enum http_outcome read_answer(struct exchange *exchange, struct http_answer *answer)
{
    static const char length[] = "\r\ncontent-length:";
    char *end = strstr(answer->body, "\r\n\r\n");
    bool http = strncmp(answer->body, "HTTP/1.", 7) == 0 && answer->size > 12 && end;
    if (!http) {
        return problem_tell(exchange->problem, HTTP_NOT_HTTP, "what answers there does not speak HTTP", "");
    }
    answer->status = (int)strtol(answer->body + 9, NULL, 10);
    *end = 0;
    size_t head = (size_t)(end - answer->body) + 4;
    const char *said = strcasestr(answer->body, length);
    if (said && strtoull(said + sizeof length - 1, NULL, 10) != answer->size - head) {
        return problem_tell(exchange->problem, HTTP_UNREACHABLE, "the connection broke within the answer", "");
    }
    answer->size -= head;
    memmove(answer->body, answer->body + head, answer->size + 1);
    return HTTP_ANSWERED;
}

enum http_outcome http_ask(const char *text, const char *method, const char *path, const char *token,
                           int64_t timeout_ms, struct http_answer *answer, char problem[HTTP_PROBLEM_MAX])
{
    struct http_url url;
    *answer = (struct http_answer){0};
    if (!http_url_read(text, &url)) {
        return problem_tell(problem, HTTP_URL_INVALID, "write http://HOST:PORT instead of", text);
    }
    struct exchange exchange = {.socket = -1, .end_ms = now_ms() + timeout_ms, .problem = problem};
    char *request = NULL;
    int size =
        asprintf(&request, "%s %s HTTP/1.0\r\nHost: %s\r\nAccept: application/json\r\n%s%s%s%s\r\n", method, path,
                 url.authority, token ? "Authorization: Bearer " : "", token ? token : "", token ? "\r\n" : "",
                 strcmp(method, "POST") == 0 ? "Shoal-Admin: 1\r\nContent-Length: 0\r\n" : "");
    enum http_outcome outcome =
        size < 0 ? problem_tell(problem, HTTP_UNREACHABLE, "no memory", "") : open_connection(&exchange, &url);
    if (outcome == HTTP_ANSWERED) {
        outcome = send_all(&exchange, request, (size_t)size);
    }
    if (outcome == HTTP_ANSWERED) {
        outcome = receive_all(&exchange, answer);
    }
    if (outcome == HTTP_ANSWERED) {
        outcome = read_answer(&exchange, answer);
    }
    if (outcome != HTTP_ANSWERED) {
        free(answer->body);
        answer->body = NULL;
    }
    if (exchange.socket >= 0) {
        close(exchange.socket);
    }
    free(request);
    return outcome;
}
