/*
 * http: the parser of request heads, and how to look things up in them. Bodies: http_chunked.c; answers:
 * http_response.c.
 *
 * The head is read line by line from its beginning at each call, and nothing is kept between calls. A head that comes
 * in many pieces is thus read several times; but nearly all come whole, and what a peer that trickles can cost is
 * bounded by the size of a head.
 *
 * What makes the answer independent of how the bytes were cut: a line is looked at only when it is complete, lines are
 * judged in their order, and a line that does not end within the limit is too long however much of it is here.
 */
#include "protocol/http.h"

#include "protocol/http_chars.h"

static bool all_are(struct span text, enum char_class class)
{
    for (size_t at = 0; at < text.size; at++)
        if (!char_is(text.data[at], class))
            return false;
    return true;
}

static char lower_of(char byte)
{
    return byte >= 'A' && byte <= 'Z' ? (char)(byte | 0x20) : byte;
}

static bool is_space(char byte)
{
    return byte == ' ' || byte == '\t';
}

static struct span trimmed(struct span text)
{
    while (text.size > 0 && is_space(text.data[0]))
        text = (struct span){text.data + 1, text.size - 1};
    while (text.size > 0 && is_space(text.data[text.size - 1]))
        text.size--;
    return text;
}

bool http_is_token(struct span text)
{
    return text.size > 0 && all_are(text, CHAR_TOKEN);
}

bool http_equal_nocase(struct span span, const char *text)
{
    for (size_t at = 0; at < span.size; at++)
        if (text[at] == '\0' || lower_of(span.data[at]) != lower_of(text[at]))
            return false;
    return text[span.size] == '\0';
}

/* Splits at the first `separator`: what is before it is returned, what is behind it is left. False: there is none. */
static bool split(struct span *rest, char separator, struct span *front)
{
    const char *found = rest->size > 0 ? memchr(rest->data, separator, rest->size) : NULL;
    if (found == NULL)
        return false;
    *front = (struct span){rest->data, (size_t)(found - rest->data)};
    *rest = (struct span){found + 1, rest->size - front->size - 1};
    return true;
}

/* ---- request line ---- */

static enum http_parse refuse(struct http_request *out, int status, const char *problem)
{
    out->status = status;
    out->problem = problem;
    return HTTP_BAD;
}

static enum http_method method_of(struct span text)
{
    static const struct {
        struct span text;
        enum http_method method;
    } known[] = {
        {SPAN_LITERAL("GET"), HTTP_GET}, {SPAN_LITERAL("POST"), HTTP_POST},     {SPAN_LITERAL("HEAD"), HTTP_HEAD},
        {SPAN_LITERAL("PUT"), HTTP_PUT}, {SPAN_LITERAL("DELETE"), HTTP_DELETE}, {SPAN_LITERAL("OPTIONS"), HTTP_OPTIONS},
    };
    for (size_t at = 0; at < sizeof known / sizeof *known; at++)
        if (span_equal(text, known[at].text))
            return known[at].method;
    return HTTP_OTHER;
}

static enum http_parse version_parse(struct span text, struct http_request *out)
{
    if (text.size != 8 || memcmp(text.data, "HTTP/", 5) != 0 || !char_is_digit(text.data[5]) || text.data[6] != '.' ||
        !char_is_digit(text.data[7]))
        return refuse(out, 400, "The request line does not end with an HTTP version.");
    if (text.data[5] != '1')
        return refuse(out, 505, "Only HTTP/1.x is spoken here.");
    out->minor_version = (uint8_t)(text.data[7] - '0');
    return HTTP_DONE;
}

/* Splits "/path?query". */
static void path_split(struct span target, struct http_request *out)
{
    out->query = target;
    if (!split(&out->query, '?', &out->path)) {
        out->path = target;
        out->query = SPAN_NONE;
    }
    if (out->path.size == 0) /* "http://host" and "http://host?query" */
        out->path = SPAN_LITERAL("/");
}

/* The bytes of "http://" or "https://" at the front; 0: it is no absolute target of ours. */
static size_t scheme_size(struct span target)
{
    if (target.size >= 7 && http_equal_nocase((struct span){target.data, 7}, "http://"))
        return 7;
    if (target.size >= 8 && http_equal_nocase((struct span){target.data, 8}, "https://"))
        return 8;
    return 0;
}

/* RFC 9112 3.2.2: the authority of an absolute target replaces the Host header. User names in it are refused. */
static enum http_parse absolute_parse(struct span target, size_t skip, struct http_request *out)
{
    struct span rest = {target.data + skip, target.size - skip};
    size_t size = 0;
    while (size < rest.size && rest.data[size] != '/' && rest.data[size] != '?')
        size++;
    out->host = (struct span){rest.data, size};
    if (size == 0 || !all_are(out->host, CHAR_HOST))
        return refuse(out, 400, "The host in the request target is not valid.");
    path_split((struct span){rest.data + size, rest.size - size}, out);
    return HTTP_DONE;
}

static enum http_parse target_parse(struct span target, struct http_request *out)
{
    out->target = target;
    if (target.size == 0 || !all_are(target, CHAR_TARGET))
        return refuse(out, 400, "The request target has characters that must be percent-encoded.");
    if (span_equal(out->method_text, SPAN_LITERAL("CONNECT")))
        return refuse(out, 501, "This is not a proxy.");
    if (target.data[0] == '/') {
        path_split(target, out);
        return HTTP_DONE;
    }
    if (out->method == HTTP_OPTIONS && span_equal(target, SPAN_LITERAL("*"))) {
        out->path = target;
        return HTTP_DONE;
    }
    size_t skip = scheme_size(target);
    if (skip == 0)
        return refuse(out, 400, "The request target is neither a path nor an http URL.");
    return absolute_parse(target, skip, out);
}

/* method SP target SP version, with exactly one space each (RFC 9112 3: what else some accept is what smugglers use).
 */
static enum http_parse request_line_parse(struct span line, struct http_request *out)
{
    struct span target;
    if (!split(&line, ' ', &out->method_text) || !http_is_token(out->method_text))
        return refuse(out, 400, "The request line does not begin with a method.");
    out->method = method_of(out->method_text);
    if (!split(&line, ' ', &target))
        return refuse(out, 400, "The request line is not method, target and version with one space between.");
    if (version_parse(line, out) == HTTP_BAD)
        return HTTP_BAD;
    return target_parse(target, out);
}

/* ---- headers ---- */

static enum http_parse content_length_parse(struct span value, struct http_request *out)
{
    if (out->content_length >= 0)
        return refuse(out, 400, "Content-Length is given twice.");
    if (value.size == 0 || value.size > 18) /* 18 digits fit into 63 bits, and no body is near that */
        return refuse(out, 400, "Content-Length is not a number.");
    int64_t length = 0;
    for (size_t at = 0; at < value.size; at++) {
        if (!char_is_digit(value.data[at]))
            return refuse(out, 400, "Content-Length is not a number.");
        length = length * 10 + (value.data[at] - '0');
    }
    out->content_length = length;
    return HTTP_DONE;
}

static enum http_parse transfer_encoding_parse(struct span value, struct http_request *out)
{
    if (out->chunked)
        return refuse(out, 400, "Transfer-Encoding is given twice.");
    if (out->minor_version == 0)
        return refuse(out, 400, "HTTP/1.0 has no Transfer-Encoding.");
    if (!http_equal_nocase(value, "chunked"))
        return refuse(out, 501, "The only transfer coding known here is chunked.");
    out->chunked = true;
    return HTTP_DONE;
}

static enum http_parse header_parse(struct span line, struct http_request *out)
{
    struct span value = line;
    struct span name;
    if (is_space(line.data[0]))
        return refuse(out, 400, "A header line begins with white space: folded lines are obsolete.");
    if (!split(&value, ':', &name) || !http_is_token(name))
        return refuse(out, 400, "A header line does not begin with a name and a colon.");
    value = trimmed(value);
    if (!all_are(value, CHAR_VALUE))
        return refuse(out, 400, "A header's value has control characters.");
    if (out->header_count == HTTP_HEADERS_MAX)
        return refuse(out, 431, "There are too many headers.");
    out->headers[out->header_count++] = (struct http_header){name, value};
    if (http_equal_nocase(name, "content-length"))
        return content_length_parse(value, out);
    if (http_equal_nocase(name, "transfer-encoding"))
        return transfer_encoding_parse(value, out);
    return HTTP_DONE;
}

/* RFC 9112 3.2: exactly one Host in HTTP/1.1, and a valid one, even beside an absolute target. */
static enum http_parse host_check(struct http_request *out)
{
    size_t count = http_header_count(out, "host");
    if (count > 1 || (count == 0 && out->minor_version > 0))
        return refuse(out, 400, count == 0 ? "HTTP/1.1 needs a Host header." : "Host is given twice.");
    struct span host = http_header(out, "host");
    if (!all_are(host, CHAR_HOST))
        return refuse(out, 400, "The Host header is not valid.");
    if (out->host.size == 0)
        out->host = host;
    return HTTP_DONE;
}

/* What only all headers together can tell. */
static enum http_parse head_finish(struct http_request *out)
{
    if (out->chunked && out->content_length >= 0)
        return refuse(out, 400, "Content-Length and Transfer-Encoding are both given.");
    if (host_check(out) == HTTP_BAD)
        return HTTP_BAD;
    bool close = http_header_has_token(out, "connection", "close");
    out->keep_alive = !close && (out->minor_version > 0 || http_header_has_token(out, "connection", "keep-alive"));
    out->expects_continue = out->minor_version > 0 && http_header_has_token(out, "expect", "100-continue");
    return HTTP_DONE;
}

/* ---- the head ---- */

struct lines {
    const char *bytes;
    size_t at;
    size_t size;   /* of what came, at most the limit */
    bool at_limit; /* no more may come */
};

/* The next line without its CRLF. HTTP_BAD: it is too long (line->data == NULL), or does not end with CRLF. */
static enum http_parse line_next(struct lines *lines, struct span *line)
{
    size_t size = lines->size - lines->at;
    const char *begin = lines->bytes + lines->at;
    const char *end = size > 0 ? memchr(begin, '\n', size) : NULL;
    *line = SPAN_NONE;
    if (end == NULL)
        return lines->at_limit ? HTTP_BAD : HTTP_MORE;
    *line = (struct span){begin, (size_t)(end - begin)};
    lines->at += line->size + 1;
    if (line->size == 0 || begin[line->size - 1] != '\r')
        return HTTP_BAD;
    line->size--;
    return HTTP_DONE;
}

static enum http_parse line_refuse(struct span line, bool first, struct http_request *out)
{
    if (line.data != NULL)
        return refuse(out, 400, "A line does not end with CR LF.");
    return first ? refuse(out, 414, "The request target is too long.") : refuse(out, 431, "The head is too large.");
}

static void request_clear(struct http_request *out)
{
    memset(out, 0, offsetof(struct http_request, headers)); /* the array's 2 KB are not worth clearing */
    out->content_length = -1;
    out->status = 0;
    out->problem = NULL;
}

enum http_parse http_request_parse(const char *bytes, size_t size, size_t head_bytes_max, struct http_request *out)
{
    struct lines lines = {bytes, 0, size < head_bytes_max ? size : head_bytes_max, size >= head_bytes_max};
    struct span line;
    enum http_parse state;

    request_clear(out);
    if (size >= 2 && memcmp(bytes, "\r\n", 2) == 0 && lines.size >= 2)
        lines.at = 2; /* RFC 9112 2.2: some clients send one too many after a POST */
    if (lines.at < lines.size && !char_is(bytes[lines.at], CHAR_TOKEN) && (lines.at > 0 || bytes[0] != '\r'))
        return refuse(out, 400, "This is not HTTP."); /* at once: TLS on this port would wait for our answer */

    state = line_next(&lines, &line);
    if (state != HTTP_DONE)
        return state == HTTP_BAD ? line_refuse(line, true, out) : HTTP_MORE;
    if (request_line_parse(line, out) == HTTP_BAD)
        return HTTP_BAD;
    while ((state = line_next(&lines, &line)) == HTTP_DONE && line.size > 0)
        if (header_parse(line, out) == HTTP_BAD)
            return HTTP_BAD;
    if (state != HTTP_DONE)
        return state == HTTP_BAD ? line_refuse(line, false, out) : HTTP_MORE;
    out->head_size = lines.at;
    return head_finish(out);
}

/* ---- looking things up ---- */

struct span http_header(const struct http_request *request, const char *name)
{
    for (size_t at = 0; at < request->header_count; at++)
        if (http_equal_nocase(request->headers[at].name, name))
            return request->headers[at].value;
    return SPAN_NONE;
}

size_t http_header_count(const struct http_request *request, const char *name)
{
    size_t count = 0;
    for (size_t at = 0; at < request->header_count; at++)
        count += http_equal_nocase(request->headers[at].name, name);
    return count;
}

/* Bytes before the next comma that is not in a quoted string, or all. */
static size_t element_size(struct span list)
{
    bool quoted = false;
    size_t at = 0;
    for (; at < list.size && (quoted || list.data[at] != ','); at++) {
        if (list.data[at] == '"')
            quoted = !quoted;
        else if (quoted && list.data[at] == '\\' && at + 1 < list.size)
            at++;
    }
    return at;
}

bool http_list_next(struct span *list, struct span *element)
{
    while (list->size > 0) {
        size_t size = element_size(*list);
        size_t taken = size < list->size ? size + 1 : size;
        *element = trimmed((struct span){list->data, size});
        *list = (struct span){list->data + taken, list->size - taken};
        if (element->size > 0)
            return true;
    }
    return false;
}

bool http_header_has_token(const struct http_request *request, const char *name, const char *token)
{
    for (size_t at = 0; at < request->header_count; at++) {
        struct span list = request->headers[at].value;
        struct span element;
        if (!http_equal_nocase(request->headers[at].name, name))
            continue;
        while (http_list_next(&list, &element))
            if (http_equal_nocase(element, token))
                return true;
    }
    return false;
}

/* ---- percent-encoding ---- */

static bool decode(struct span in, bool plus_is_space, char *out, size_t room, size_t *size)
{
    size_t written = 0;
    for (size_t at = 0; at < in.size; at++, written++) {
        char byte = in.data[at];
        if (written == room)
            return false;
        if (byte == '%') {
            int high = at + 2 < in.size ? char_hex(in.data[at + 1]) : -1;
            int low = at + 2 < in.size ? char_hex(in.data[at + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            byte = (char)(high << 4 | low);
            at += 2;
        } else if (byte == '+' && plus_is_space) {
            byte = ' ';
        }
        out[written] = byte;
    }
    *size = written;
    return true;
}

bool http_percent_decode(struct span in, char *out, size_t room, size_t *size)
{
    return decode(in, false, out, room, size);
}

enum http_query http_query_get(struct span query, const char *name, char *scratch, size_t room, struct span *value)
{
    struct span wanted = {name, strlen(name)};
    struct span raw = SPAN_NONE;
    bool found = false;
    while (query.size > 0) {
        struct span pair;
        struct span key;
        if (!split(&query, '&', &pair)) {
            pair = query;
            query = SPAN_NONE;
        }
        struct span rest = pair;
        if (!split(&rest, '=', &key)) {
            key = pair;
            rest = SPAN_NONE;
        }
        if (!span_equal(key, wanted))
            continue;
        if (found)
            return HTTP_QUERY_BAD;
        found = true;
        raw = rest;
    }
    if (!found)
        return HTTP_QUERY_NONE;
    *value = (struct span){scratch, 0};
    return decode(raw, true, scratch, room, &value->size) ? HTTP_QUERY_FOUND : HTTP_QUERY_BAD;
}
