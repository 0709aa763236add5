/*
 * options: what a client is made from, checked by the setters of shoal.h; a plain record that is copied as it is.
 */
#ifndef SHOAL_CLIENT_OPTIONS_H
#define SHOAL_CLIENT_OPTIONS_H

#include <shoal.h>

#define HOST_BYTES_MAX  255
#define TOKEN_BYTES_MAX 8192

struct shoal_options {
    char host[HOST_BYTES_MAX + 1]; /* without the brackets of an IPv6 address */
    char port[6];
    char token[TOKEN_BYTES_MAX + 1]; /* "": none */
    bool poll;
    bool patient;
    bool window_waits;
    bool republish;
    int64_t connect_timeout_ms;
    int64_t backoff_first_ms;
    int64_t backoff_most_ms;
    int64_t heartbeat_ms;
    uint32_t window_messages;
    size_t window_bytes;
    shoal_on_state *on_state;
    void *on_state_context;
};

/* The defaults, and SHOAL_URL. SHOAL_ERROR_URL: that is not a URL; all else is set. */
enum shoal_error options_init(struct shoal_options *options);

/* Copies a token. False: it is not one. */
bool token_set(char token[TOKEN_BYTES_MAX + 1], const char *text);

#endif
