/*
 * http: HTTP/1.1 request heads in, responses out. Strict (RFC 9112), bounded, no allocation.
 *
 *      GET /v1/topics/a%2Fb?mode=sub HTTP/1.1 CRLF     request line    ─┐
 *      Host: localhost CRLF                            header           ├ head_size bytes, all spans point into them
 *      CRLF                                            end             ─┘
 *      …                                               body: content_length bytes, or chunked
 *
 * The parser is a function of the bytes that came so far: call it again with more until it says something else than
 * HTTP_MORE. What it says does not depend on how the bytes were cut. Whatever two readers could understand differently
 * is refused (request smuggling): see http_request_parse.
 *
 * Two things are left to the caller: the bytes after the head, and what a method or path means. Pure; any thread.
 */
#ifndef SHOAL_PROTOCOL_HTTP_H
#define SHOAL_PROTOCOL_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/span.h"

#define HTTP_HEADERS_MAX 64 /* more is a 431 */

enum http_parse {
    HTTP_MORE, /* valid so far: call again when there are more bytes */
    HTTP_DONE, /* complete */
    HTTP_BAD,  /* refused: answer with `status` and `problem`, and close */
};

enum http_method {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_DELETE,
    HTTP_OPTIONS,
    HTTP_OTHER, /* any other token: method_text says which */
};

struct http_header {
    struct span name;  /* as sent; compare without regard to case */
    struct span value; /* without the white space around it */
};

/* A parsed request head. Borrows from the bytes that were parsed. */
struct http_request {
    enum http_method method;
    struct span method_text;
    struct span target;     /* raw, as it stood in the request line */
    struct span path;       /* raw, up to '?', still percent-encoded; "*" for OPTIONS * */
    struct span query;      /* raw, behind '?'; empty if there is none */
    struct span host;       /* of an absolute target, else of the Host header; empty: none (HTTP/1.0) */
    uint8_t minor_version;  /* HTTP/1.x */
    bool chunked;           /* the body is chunked: http_chunked_feed */
    bool keep_alive;        /* the connection may serve another request */
    bool expects_continue;  /* send HTTP_CONTINUE before the body will come */
    int64_t content_length; /* of the body; -1: not given */
    size_t head_size;       /* bytes up to and with the empty line */
    size_t header_count;
    struct http_header headers[HTTP_HEADERS_MAX]; /* only the first header_count are valid */

    int status;          /* HTTP_BAD: 400, 414, 431, 501 or 505 */
    const char *problem; /* HTTP_BAD: what is wrong, a sentence. Static */
};

/*
 * Reads a request head from the first `size` bytes of a connection, or behind an earlier request. The head may have
 * at most `head_bytes_max` bytes. HTTP_DONE: all fields are valid. HTTP_BAD: only status and problem are.
 *
 * Refused, with RFC 9112's section: bare LF or CR (2.2), white space before the first header or before a colon, folded
 * lines (5.1, 5.2), control characters, two Content-Lengths even if equal, Content-Length with Transfer-Encoding,
 * Transfer-Encoding in HTTP/1.0 (6.1), any coding other than chunked (501, 6.1), no Host or two of them in HTTP/1.1
 * (3.2). Accepted: one empty line before the request line (2.2), absolute targets (3.2.2), later minor versions (2.3).
 */
enum http_parse http_request_parse(const char *bytes, size_t size, size_t head_bytes_max, struct http_request *out);

/* The value of the first header of this name, without regard to case. data == NULL: there is none. Borrows. */
struct span http_header(const struct http_request *request, const char *name);

/* How many headers have this name. */
size_t http_header_count(const struct http_request *request, const char *name);

/* Whether a comma-separated list header has this element, in any of its lines, without regard to case. */
bool http_header_has_token(const struct http_request *request, const char *name, const char *token);

/*
 * Walks a comma-separated list (RFC 9110 5.6.1): takes the next non-empty element off the front of `list`, without the
 * white space around it. Commas in quoted strings do not separate. False: no more.
 */
bool http_list_next(struct span *list, struct span *element);

/* Whether all bytes are token characters (RFC 9110 5.6.2) and there is at least one. */
bool http_is_token(struct span text);

/* Compares without regard to ASCII case; `text` is NUL-terminated. */
bool http_equal_nocase(struct span span, const char *text);

/*
 * Decodes %XX into `out`. False: a broken escape, or no room. Never needs more room than in.size. '+' stays as it is;
 * %00 is decoded: whether it may be there is for the caller to say. `out` may be in.data.
 */
bool http_percent_decode(struct span in, char *out, size_t room, size_t *size);

enum http_query {
    HTTP_QUERY_NONE,  /* no such parameter */
    HTTP_QUERY_FOUND, /* value is set; it may be empty */
    HTTP_QUERY_BAD,   /* a broken escape, the parameter is there twice, or no room */
};

/*
 * Finds a parameter of a raw query, and decodes its value into `scratch` (as forms do: '+' is a space). The value
 * borrows from scratch. Names are compared as they stand, undecoded: ours need no escapes.
 */
enum http_query http_query_get(struct span query, const char *name, char *scratch, size_t room, struct span *value);

/*
 * Decoder of a chunked body (RFC 9112 7.1). Chunk extensions and trailers are checked and forgotten.
 * 32 bytes, a plain record.
 */
struct http_chunked {
    uint64_t left;           /* bytes of this chunk to come; while its size is read: the size so far */
    uint64_t body_bytes;     /* of all chunks so far, announced ones included */
    uint64_t body_bytes_max; /* more is a 413 */
    uint16_t line_bytes;     /* of the size line or trailers being read: bounded */
    uint8_t state;           /* enum chunked_state in http.c */
    uint8_t digits;          /* of the chunk size so far */
    int16_t status;          /* HTTP_BAD: 400 or 413 */
};

_Static_assert(sizeof(struct http_chunked) == 32, "lives beside each body that is being received");

void http_chunked_init(struct http_chunked *chunked, uint64_t body_bytes_max);

/*
 * Decodes in place: of `size` bytes the first *consumed were read, and the body bytes in them now stand in the first
 * *decoded. HTTP_MORE: all were consumed. HTTP_DONE: the body ends here, what is behind *consumed is the next request.
 * HTTP_BAD: chunked->status says which error; close the connection.
 */
enum http_parse http_chunked_feed(struct http_chunked *chunked, char *bytes, size_t size, size_t *consumed,
                                  size_t *decoded);

/* What a client that sent "Expect: 100-continue" waits for (RFC 9110 10.1.1). */
#define HTTP_CONTINUE "HTTP/1.1 100 Continue\r\n\r\n"

#define HTTP_UNTIL_CLOSE (-1)

struct http_response {
    int status;
    const char *content_type; /* NULL: none */
    /*
     * The body's bytes. Either `body` holds them all, and is written behind the head; or it is empty, and the caller
     * sends content_length bytes himself (0: none), or HTTP_UNTIL_CLOSE as many as he likes (then never keep_alive).
     */
    struct span body;
    int64_t content_length;
    bool keep_alive;
    bool head_only;    /* HEAD: the head tells of a body that is not written */
    struct span extra; /* further header lines, each with its CRLF, e.g. HTTP_CORS_ANY */
};

#define HTTP_CORS_ANY "Access-Control-Allow-Origin: *\r\n"

/*
 * Writes the response to `out` if all of it fits into `room` bytes (no NUL). Returns its exact size in any case, so
 * that a first call with room 0 measures. Adds `X-Content-Type-Options: nosniff` and, unless `extra` has a
 * Cache-Control line, `Cache-Control: no-store`: nothing that a broker says may be sniffed or cached.
 */
size_t http_response_write(char *out, size_t room, const struct http_response *response);

/* "Not Found" for 404; "" if unknown. Borrowed, static. */
const char *http_status_reason(int status);

#endif
