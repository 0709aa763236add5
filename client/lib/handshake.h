/*
 * handshake: the client's half of the WebSocket opening handshake (RFC 6455 4.1). Bytes in, bytes out.
 */
#ifndef SHOAL_CLIENT_HANDSHAKE_H
#define SHOAL_CLIENT_HANDSHAKE_H

#include "client/bytes.h"
#include "protocol/span.h"
#include <shoal.h>

#define HANDSHAKE_ANSWER_BYTES_MAX 16384

struct handshake_answer {
    enum shoal_error error; /* SHOAL_OK: none */
    bool final;             /* trying again would not help */
    uint32_t after_ms;      /* error: Retry-After, 0: none */
    char detail[160];       /* error: for people */
};

/*
 * Adds the request to `out`. `token`: "" for none. `random`: 16 bytes; `key` is set to what the answer must prove to
 * know. False: no memory.
 */
bool handshake_request(struct bytes *out, const char *host, const char *token, const char random[16], char key[24]);

/*
 * Reads the answer. Returns the size of its head, behind which frames follow; 0: more is needed, or answer->error is
 * set. `ended`: no more will come.
 */
size_t handshake_answer_read(struct span bytes, const char key[24], bool ended, struct handshake_answer *answer);

#endif
