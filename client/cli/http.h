/*
 * http: one request to the admin port, and its whole answer.
 *
 * It speaks HTTP/1.0, so that whatever stands before the port answers in one piece and then closes: an answer is what
 * comes until the end. Waits at most as long as it is told; blocks the program, which has nothing else to do.
 */
#ifndef SHOAL_CLI_HTTP_H
#define SHOAL_CLI_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_PROBLEM_MAX 1024

struct http_url {
    char host[256]; /* without brackets */
    char port[6];
    char authority[272]; /* as in the Host header */
};

struct http_answer {
    int status;
    char *body; /* from malloc(), ends in a NUL */
    size_t size;
};

enum http_outcome {
    HTTP_ANSWERED,
    HTTP_URL_INVALID,
    HTTP_UNREACHABLE, /* no connection, or it broke */
    HTTP_TOO_LATE,
    HTTP_NOT_HTTP, /* what answers there is something else */
};

/* "http://HOST[:PORT][/]". False: it is not like that. */
bool http_url_read(const char *text, struct http_url *url);

/*
 * `token` NULL: none. HTTP_ANSWERED: *answer is set, its body to be freed by the caller; else `problem` says what went
 * wrong.
 */
enum http_outcome http_ask(const char *url, const char *method, const char *path, const char *token, int64_t timeout_ms,
                           struct http_answer *answer, char problem[HTTP_PROBLEM_MAX]);

#endif
