/*
 * options: see options.h and shoal.h. A setter either changes its option or tells what is wrong; nothing in between.
 */
#include "client/options.h"

#include <stdlib.h>
#include <string.h>

#define URL_DEFAULT "ws://127.0.0.1:7070"
#define TIME_MS_MAX 600000

/* --- the URL: ws://HOST[:PORT][/] --- */

static bool is_digits(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (text[i] < '0' || text[i] > '9')
            return false;
    return size > 0;
}

/* Whether the bytes may be a host's name or address: what could be anything else in a request is refused. */
static bool is_host(const char *text, size_t size, bool bracketed)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    for (size_t i = 0; i < size; i++)
        if (!memchr(plain, text[i], sizeof plain - 1) && !(bracketed && (text[i] == ':' || text[i] == '%')))
            return false;
    return size > 0 && size <= HOST_BYTES_MAX;
}

/* The port behind the host, if there is one. False: not a port. */
static bool port_read(const char *text, size_t size, char port[6])
{
    if (size == 0) {
        memcpy(port, "7070", 5);
        return true;
    }
    if (text[0] != ':' || size > 6 || !is_digits(text + 1, size - 1))
        return false;
    long number = strtol(text + 1, NULL, 10);
    memset(port, 0, 6);
    memcpy(port, text + 1, size - 1);
    return number > 0 && number <= 65535;
}

enum shoal_error shoal_options_set_url(struct shoal_options *options, const char *url)
{
    if (!options || !url)
        return SHOAL_ERROR_ARGUMENT;
    if (strncmp(url, "ws://", 5) != 0)
        return SHOAL_ERROR_URL;
    const char *host = url + 5, *end = url + strcspn(url + 5, "/?#") + 5;
    if (strcmp(end, "") != 0 && strcmp(end, "/") != 0)
        return SHOAL_ERROR_URL;
    bool bracketed = host[0] == '[';
    host += bracketed;
    const char *host_end =
        bracketed ? memchr(host, ']', (size_t)(end - host)) : memchr(host, ':', (size_t)(end - host));
    if (!host_end && bracketed)
        return SHOAL_ERROR_URL;
    host_end = host_end ? host_end : end;
    const char *behind = host_end + bracketed;
    char port[6];
    size_t size = (size_t)(host_end - host);
    if (!is_host(host, size, bracketed) || !port_read(behind, (size_t)(end - behind), port))
        return SHOAL_ERROR_URL;
    memcpy(options->host, host, size);
    options->host[size] = '\0';
    memcpy(options->port, port, sizeof port);
    return SHOAL_OK;
}

/* --- the others --- */

bool token_set(char token[TOKEN_BYTES_MAX + 1], const char *text)
{
    size_t size = text ? strlen(text) : 0;
    if (size > TOKEN_BYTES_MAX)
        return false;
    for (size_t i = 0; i < size; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return false;
    if (size)
        memcpy(token, text, size);
    token[size] = '\0';
    return true;
}

enum shoal_error shoal_options_set_token(struct shoal_options *options, const char *token)
{
    return options && token_set(options->token, token) ? SHOAL_OK : SHOAL_ERROR_ARGUMENT;
}

enum shoal_error shoal_options_set_poll(struct shoal_options *options, bool poll)
{
    if (!options)
        return SHOAL_ERROR_ARGUMENT;
    options->poll = poll;
    return SHOAL_OK;
}

enum shoal_error shoal_options_set_patient(struct shoal_options *options, bool patient)
{
    if (!options)
        return SHOAL_ERROR_ARGUMENT;
    options->patient = patient;
    return SHOAL_OK;
}

enum shoal_error shoal_options_set_connect_timeout(struct shoal_options *options, int64_t timeout_ms)
{
    if (!options || timeout_ms < 1 || timeout_ms > TIME_MS_MAX)
        return SHOAL_ERROR_ARGUMENT;
    options->connect_timeout_ms = timeout_ms;
    return SHOAL_OK;
}

enum shoal_error shoal_options_set_backoff(struct shoal_options *options, int64_t first_ms, int64_t most_ms)
{
    if (!options || first_ms < 1 || first_ms > most_ms || most_ms > TIME_MS_MAX)
        return SHOAL_ERROR_ARGUMENT;
    options->backoff_first_ms = first_ms;
    options->backoff_most_ms = most_ms;
    return SHOAL_OK;
}

enum shoal_error shoal_options_set_heartbeat(struct shoal_options *options, int64_t silence_ms)
{
    if (!options || silence_ms < 100 || silence_ms > TIME_MS_MAX)
        return SHOAL_ERROR_ARGUMENT;
    options->heartbeat_ms = silence_ms;
    return SHOAL_OK;
}

enum shoal_error shoal_options_set_window(struct shoal_options *options, uint32_t messages, size_t bytes)
{
    if (!options || messages < 1 || messages > 1u << 20 || bytes < 1024 || bytes > 1u << 30)
        return SHOAL_ERROR_ARGUMENT;
    options->window_messages = messages;
    options->window_bytes = bytes;
    return SHOAL_OK;
}

enum shoal_error shoal_options_set_window_waits(struct shoal_options *options, bool waits)
{
    if (!options)
        return SHOAL_ERROR_ARGUMENT;
    options->window_waits = waits;
    return SHOAL_OK;
}

enum shoal_error shoal_options_set_republish(struct shoal_options *options, bool republish)
{
    if (!options)
        return SHOAL_ERROR_ARGUMENT;
    options->republish = republish;
    return SHOAL_OK;
}

enum shoal_error shoal_options_set_on_state(struct shoal_options *options, shoal_on_state *on_state, void *context)
{
    if (!options)
        return SHOAL_ERROR_ARGUMENT;
    options->on_state = on_state;
    options->on_state_context = context;
    return SHOAL_OK;
}

enum shoal_error options_init(struct shoal_options *options)
{
    *options = (struct shoal_options){
        .window_waits = true,
        .connect_timeout_ms = 10000,
        .backoff_first_ms = 100,
        .backoff_most_ms = 10000,
        .heartbeat_ms = 15000,
        .window_messages = 16384,
        .window_bytes = 16u << 20,
    };
    shoal_options_set_url(options, URL_DEFAULT);
    const char *url = getenv("SHOAL_URL");
    return url && *url ? shoal_options_set_url(options, url) : SHOAL_OK;
}

/* A SHOAL_URL that is none is told by shoal_connect(): here there is only one way to fail. */
struct shoal_options *shoal_options_create(void)
{
    struct shoal_options *options = malloc(sizeof *options);
    if (options && options_init(options) != SHOAL_OK)
        options->host[0] = '\0';
    return options;
}

void shoal_options_destroy(struct shoal_options *options)
{
    free(options);
}
