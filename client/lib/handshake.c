/*
 * handshake: see handshake.h. The answer is read strictly where it matters (status, accept value, subprotocol), and not
 * at all elsewhere.
 */
#include "client/handshake.h"

#include <stdio.h>

#include "protocol/base64.h"
#include "protocol/close_code.h"
#include "protocol/dialect_bin.h"
#include "protocol/http.h"
#include "protocol/ws_handshake.h"

bool handshake_request(struct bytes *out, const char *host, const char *token, const char random[16], char key[24])
{
    base64_write(key, (struct span){random, 16});
    size_t room = strlen(host) + strlen(token) + 512;
    char *place = bytes_reach(out, room);
    if (!place)
        return false;
    int size = snprintf(place, room,
                        "GET /v1/ws HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %.24s\r\n"
                        "Sec-WebSocket-Protocol: " BIN_SUBPROTOCOL "\r\nUser-Agent: libshoal/" SHOAL_VERSION "\r\n"
                        "%s%s%s\r\n",
                        host, key, *token ? "Authorization: Bearer " : "", token, *token ? "\r\n" : "");
    out->size += (size_t)size;
    return true;
}

static size_t fail(struct handshake_answer *answer, enum shoal_error error, bool final, const char *detail)
{
    answer->error = error;
    answer->final = final;
    snprintf(answer->detail, sizeof answer->detail, "%s", detail);
    return 0;
}

/* Where `what` begins in `bytes`, or its size. */
static size_t find(struct span bytes, const char *what)
{
    const char *at = bytes.size ? memmem(bytes.data, bytes.size, what, strlen(what)) : NULL;
    return at ? (size_t)(at - bytes.data) : bytes.size;
}

/* The value of a header line, without the white space around it; SPAN_NONE: there is none. */
static struct span header_of(struct span head, const char *name)
{
    size_t name_size = strlen(name);
    for (size_t line = find(head, "\r\n") + 2; line < head.size;) {
        struct span rest = {head.data + line, head.size - line};
        size_t size = find(rest, "\r\n");
        if (size > name_size && rest.data[name_size] == ':' &&
            http_equal_nocase((struct span){rest.data, name_size}, name)) {
            size_t begin = name_size + 1;
            while (begin < size && (rest.data[begin] == ' ' || rest.data[begin] == '\t'))
                begin++;
            while (size > begin && (rest.data[size - 1] == ' ' || rest.data[size - 1] == '\t'))
                size--;
            return (struct span){rest.data + begin, size - begin};
        }
        line += size + 2;
    }
    return SPAN_NONE;
}

/* 0: this is not HTTP. */
static int status_of(struct span head)
{
    bool http = head.size >= 12 && memcmp(head.data, "HTTP/1.", 7) == 0 && head.data[8] == ' ';
    int status = 0;
    for (size_t i = 9; http && i < 12; i++)
        status = head.data[i] >= '0' && head.data[i] <= '9' ? status * 10 + head.data[i] - '0' : -1000;
    return status > 0 ? status : 0;
}

/* Retry-After in seconds; a date, which we do not read, is as none. */
static uint32_t after_ms_of(struct span head)
{
    struct span value = header_of(head, "Retry-After");
    uint32_t seconds = 0;
    for (size_t i = 0; i < value.size; i++) {
        if (value.data[i] < '0' || value.data[i] > '9')
            return 0;
        if (seconds < CLOSE_AFTER_MS_MAX)
            seconds = seconds * 10 + (uint32_t)(value.data[i] - '0');
    }
    return seconds < CLOSE_AFTER_MS_MAX / 1000 ? seconds * 1000 : CLOSE_AFTER_MS_MAX;
}

/* Another status than 101: the body has the error's code. */
static size_t refused(struct handshake_answer *answer, int status, struct span body)
{
    char detail[64];
    snprintf(detail, sizeof detail, "the broker answered the handshake with status %d", status);
    if (status == 401)
        return fail(answer,
                    find(body, "token_expired") < body.size ? SHOAL_ERROR_TOKEN_EXPIRED : SHOAL_ERROR_TOKEN_INVALID,
                    true, detail);
    if (status == 403)
        return fail(answer, SHOAL_ERROR_FORBIDDEN, true, detail);
    if (status == 429 || status >= 500)
        return fail(answer, SHOAL_ERROR_BUSY, false, detail);
    return fail(answer, SHOAL_ERROR_HANDSHAKE, true, detail);
}

size_t handshake_answer_read(struct span bytes, const char key[24], bool ended, struct handshake_answer *answer)
{
    *answer = (struct handshake_answer){0};
    size_t end = find(bytes, "\r\n\r\n");
    if (bytes.size >= 5 && memcmp(bytes.data, "HTTP/", 5) != 0)
        return fail(answer, SHOAL_ERROR_HANDSHAKE, true, "what answers does not speak HTTP");
    if (end == bytes.size)
        return bytes.size > HANDSHAKE_ANSWER_BYTES_MAX
                   ? fail(answer, SHOAL_ERROR_HANDSHAKE, true, "the answer to the handshake is too long")
                   : 0;
    struct span head = {bytes.data, end + 2};
    struct span body = {bytes.data + end + 4, bytes.size - end - 4};
    int status = status_of(head);
    if (status != 101) {
        struct span length = header_of(head, "Content-Length");
        bool whole = ended || body.size > 0 || span_equal(length, SPAN_LITERAL("0"));
        answer->after_ms = whole ? after_ms_of(head) : 0;
        return whole ? refused(answer, status, body) : 0;
    }
    char accept[WS_ACCEPT_SIZE];
    ws_accept_write((struct span){key, 24}, accept);
    if (!span_equal(header_of(head, "Sec-WebSocket-Accept"), (struct span){accept, sizeof accept}))
        return fail(answer, SHOAL_ERROR_HANDSHAKE, true, "the answer does not belong to our handshake");
    if (!span_equal(header_of(head, "Sec-WebSocket-Protocol"), SPAN_LITERAL(BIN_SUBPROTOCOL)))
        return fail(answer, SHOAL_ERROR_HANDSHAKE, true, "the broker does not speak " BIN_SUBPROTOCOL);
    return end + 4;
}
