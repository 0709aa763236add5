/*
 * ws_handshake: the server's half of the WebSocket opening handshake (RFC 6455 4.2), with permessage-deflate (RFC 7692
 * 7).
 *
 *      http_request_parse ──▶ ws_handshake_check ──▶ 101: ws_handshake_write
 *                                               └──▶ 400, 405, 426: an ordinary response, with
 * ws_handshake_refusal_lines
 *
 * Which compression we agree to is decided by how we deflate: each message alone, once for all subscribers. So the
 * answer always has server_no_context_takeover, and asks the same of the client, who then costs us no state.
 * Pure (SHA-1 is libcrypto's); any thread.
 */
#ifndef SHOAL_PROTOCOL_WS_HANDSHAKE_H
#define SHOAL_PROTOCOL_WS_HANDSHAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/http.h"
#include "protocol/span.h"

#define WS_ACCEPT_SIZE 28 /* base64 of a SHA-1 */

/* Which offers of permessage-deflate are accepted. */
enum ws_deflate_policy {
    WS_DEFLATE_OFF,    /* none */
    WS_DEFLATE_SHARED, /* those that let us use the full window: one deflated copy of a message serves all */
    WS_DEFLATE_ANY,    /* also those that ask for a smaller window: a copy for each window size */
};

/* What was agreed on. */
struct ws_deflate_terms {
    bool on;
    uint8_t server_window_bits; /* 9 to 15: we deflate with at most this */
    uint8_t client_window_bits; /* 8 to 15: the client deflates with at most this */
    bool answer_server_bits;    /* the answer has server_max_window_bits */
    bool answer_client_bits;    /* the answer has client_max_window_bits */
};

struct ws_handshake {
    int status;          /* 101, or 400, 405, 426 */
    const char *problem; /* unless 101: what is wrong, a sentence. Static */
    int subprotocol;     /* index into the list given, -1: none agreed */
    bool subprotocols_offered;
    const char *subprotocol_name; /* NULL: none. Borrowed from the list given */
    struct ws_deflate_terms deflate;
    char accept[WS_ACCEPT_SIZE]; /* Sec-WebSocket-Accept, no NUL */
};

/* Whether the request asks for a WebSocket at all: "websocket" is in its Upgrade header. */
bool ws_handshake_wanted(const struct http_request *request);

/*
 * Checks a request, and decides the answer. `subprotocols` is what we speak, ends with NULL; NULL itself: none. Of what
 * the client offers, the first that we speak is taken; if none is, the handshake still succeeds with
 * subprotocol == -1 (RFC 6455 4.2.2), and the caller may refuse it (offered, and none is ours).
 * Returns out->status.
 */
int ws_handshake_check(const struct http_request *request, const char *const *subprotocols,
                       enum ws_deflate_policy deflate_policy, struct ws_handshake *out);

/*
 * Writes the 101 if it fits into `room`; returns its exact size in any case. `extra` are further header lines, each
 * with its CRLF. Only after a check that returned 101.
 */
size_t ws_handshake_write(const struct ws_handshake *handshake, struct span extra, char *out, size_t room);

/* The header lines that a refusal must have (RFC 6455 4.4, RFC 9110 15.5.6): for http_response.extra. Static. */
struct span ws_handshake_refusal_lines(const struct ws_handshake *handshake);

/* The accept value of a key (RFC 6455 4.2.2 item 5.4). Clients use it too. `key` is the header's value. */
void ws_accept_write(struct span key, char out[WS_ACCEPT_SIZE]);

#endif
