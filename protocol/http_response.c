/*
 * http_response: the writer of responses. One pass that writes or only measures (writer.h), so that the two can't
 * disagree.
 */
#include "protocol/http.h"

#include <assert.h>

#include "protocol/writer.h"

static void put_text(struct writer *writer, const char *text)
{
    writer_put(writer, (struct span){text, strlen(text)});
}

/* Whether header lines, each with its CRLF, have one of this name ("name:"). */
static bool lines_have(struct span lines, const char *name_and_colon)
{
    size_t size = strlen(name_and_colon);
    for (size_t at = 0; at + size <= lines.size; at++) {
        bool line_begins = at == 0 || lines.data[at - 1] == '\n';
        if (line_begins && http_equal_nocase((struct span){lines.data + at, size}, name_and_colon))
            return true;
    }
    return false;
}

/* RFC 9110 8.6: these never have a body, and so no length. */
static bool has_no_body(int status)
{
    return status < 200 || status == 204 || status == 304;
}

static void put_body_lines(struct writer *writer, const struct http_response *response)
{
    if (response->content_type != NULL) {
        put_text(writer, "Content-Type: ");
        put_text(writer, response->content_type);
        put_text(writer, "\r\n");
    }
    if (response->content_length == HTTP_UNTIL_CLOSE || has_no_body(response->status))
        return;
    put_text(writer, "Content-Length: ");
    writer_u64(writer, response->body.size > 0 ? response->body.size : (uint64_t)response->content_length);
    put_text(writer, "\r\n");
}

size_t http_response_write(char *out, size_t room, const struct http_response *response)
{
    struct writer writer = {out, room, 0};
    assert(response->status >= 100 && response->status <= 999);
    assert(response->content_length >= HTTP_UNTIL_CLOSE);
    assert(!response->keep_alive || response->content_length != HTTP_UNTIL_CLOSE);

    put_text(&writer, "HTTP/1.1 ");
    writer_u64(&writer, (uint64_t)response->status);
    put_text(&writer, " ");
    put_text(&writer, http_status_reason(response->status));
    put_text(&writer, "\r\n");
    put_body_lines(&writer, response);
    put_text(&writer, response->keep_alive ? "Connection: keep-alive\r\n" : "Connection: close\r\n");
    put_text(&writer, "X-Content-Type-Options: nosniff\r\n");
    if (!lines_have(response->extra, "cache-control:"))
        put_text(&writer, "Cache-Control: no-store\r\n");
    writer_put(&writer, response->extra);
    put_text(&writer, "\r\n");
    if (!response->head_only && !has_no_body(response->status))
        writer_put(&writer, response->body);
    return writer.size;
}

const char *http_status_reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } known[] = {
        {100, "Continue"},
        {101, "Switching Protocols"},
        {200, "OK"},
        {202, "Accepted"},
        {204, "No Content"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {411, "Length Required"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {421, "Misdirected Request"},
        {422, "Unprocessable Content"},
        {426, "Upgrade Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t at = 0; at < sizeof known / sizeof *known; at++)
        if (known[at].status == status)
            return known[at].reason;
    return "";
}
