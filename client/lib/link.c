/*
 * link: see link.h.
 */
#include "client/link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/handshake.h"
#include "protocol/close_code.h"

#define READ_BYTES (64u << 10)
#define MESSAGE_BYTES                                                                                                  \
    ((64u << 20) + 4096) /* the largest message of a broker: its largest payload, and a record's fields */

/* --- the end of it --- */

static void addresses_free(struct link *link)
{
    if (link->addresses)
        freeaddrinfo(link->addresses);
    link->addresses = link->address = NULL;
}

static void link_drop(struct link *link)
{
    if (link->fd >= 0)
        close(link->fd);
    link->fd = -1;
    addresses_free(link);
    link->stage = LINK_DOWN;
    bytes_clear(&link->in);
    bytes_clear(&link->message);
    bytes_clear(&link->out);
}

static enum link_event lose(struct link *link, enum shoal_error error, bool final, const char *detail)
{
    link->error = error;
    link->final = final;
    link->soon = false;
    link->after_ms = 0;
    snprintf(link->detail, sizeof link->detail, "%s", detail);
    link_drop(link);
    return LINK_LOST;
}

void link_lose(struct link *link, enum shoal_error error, const char *detail)
{
    lose(link, error, false, detail);
}

/* The same, with what the system says. */
static enum link_event lose_errno(struct link *link, enum shoal_error error, const char *what, int number)
{
    char words[64], detail[LINK_DETAIL_BYTES];
    const char *said = strerror_r(number, words, sizeof words); /* GNU's: gives the text */
    snprintf(detail, sizeof detail, "%s: %s", what, said);
    return lose(link, error, false, detail);
}

void link_init(struct link *link, uint64_t seed)
{
    *link = (struct link){.fd = -1, .random = seed};
}

void link_free(struct link *link)
{
    link_drop(link);
    bytes_free(&link->in);
    bytes_free(&link->message);
    bytes_free(&link->out);
}

/* --- frames out --- */

/* SplitMix64: the keys need only be unforeseeable to what stands between, and the seed is the system's. */
static uint64_t random_next(struct link *link)
{
    uint64_t value = link->random += 0x9E3779B97F4A7C15u;
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9u;
    value = (value ^ value >> 27) * 0x94D049BB133111EBu;
    return value ^ value >> 31;
}

static bool frame_add(struct link *link, enum ws_opcode opcode, struct span payload)
{
    uint32_t key = (uint32_t)random_next(link);
    char *place = bytes_reach(&link->out, WS_MASKED_HEADER_BYTES_MAX + payload.size);
    if (!place)
        return false;
    size_t header = ws_masked_header_write(place, opcode, true, false, payload.size, key);
    if (payload.size) {
        memcpy(place + header, payload.data, payload.size);
        ws_mask(place + header, payload.size, key, 0);
    }
    link->out.size += header + payload.size;
    return true;
}

bool link_send(struct link *link, struct span body)
{
    if (frame_add(link, WS_BINARY, body))
        return true;
    snprintf(link->detail, sizeof link->detail, "no memory for what is to be sent");
    link->ended = true;
    return false;
}

void link_flush(struct link *link)
{
    while (link->fd >= 0 && link_unsent(link) > 0) {
        ssize_t sent = send(link->fd, link->out.data + link->out.at, link_unsent(link), MSG_NOSIGNAL);
        if (sent <= 0)
            return; /* full, or broken: then reading tells */
        bytes_take(&link->out, (size_t)sent);
    }
}

void link_close(struct link *link)
{
    if (link->stage == LINK_OPEN) {
        char payload[WS_CONTROL_PAYLOAD_MAX];
        size_t size = ws_close_payload_write(payload, CLOSE_NORMAL, SPAN_NONE);
        frame_add(link, WS_CLOSE, (struct span){payload, size});
        link_flush(link);
    }
    link_drop(link);
}

/* --- connecting --- */

void link_open(struct link *link, const struct shoal_options *options, const char *token, int64_t now_ms)
{
    bool literal = strchr(options->host, ':') != NULL;
    snprintf(link->host, sizeof link->host, literal ? "[%s]:%s" : "%s:%s", options->host, options->port);
    link->token = token;
    link->heartbeat_ms = options->heartbeat_ms;
    link->deadline_ms = now_ms + options->connect_timeout_ms;
    link->ended = link->pinged = link->message_given = false;
    link->stage = LINK_CONNECTING;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    int result = getaddrinfo(options->host, options->port, &hints, &link->addresses);
    if (result != 0) {
        link->addresses = NULL;
        snprintf(link->detail, sizeof link->detail, "%s: %s", options->host, gai_strerror(result));
    }
    link->address = link->addresses;
}

/* Those that were not tried yet share the time that is left, so that a silent one doesn't take all of it. */
static int64_t turn_of_address_ms(const struct link *link, int64_t now_ms)
{
    int64_t count = 0;
    for (const struct addrinfo *left = link->address; left; left = left->ai_next)
        count++;
    return (link->deadline_ms - now_ms) / count;
}

/* Begins with an address. 0, or the system's error. */
static int socket_begin(struct link *link)
{
    const struct addrinfo *address = link->address;
    int fd = socket(address->ai_family, SOCK_STREAM, 0);
    if (fd < 0)
        return errno;
    int one = 1;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, address->ai_addr, address->ai_addrlen) != 0 && errno != EINPROGRESS && errno != EINTR) {
        int number = errno;
        close(fd);
        return number;
    }
    link->fd = fd;
    return 0;
}

/* Whether the socket can be written, without waiting. */
static bool is_writable(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};
    return poll(&poll_fd, 1, 0) > 0;
}

/* Whether its turn is over, silent or ended, and another may have a broker behind it. */
static bool address_is_passed(const struct link *link, int64_t now_ms)
{
    return link->address->ai_next && (link->ended || now_ms >= link->turn_ends_ms);
}

/* The next address, if there is one. */
static enum link_event address_failed(struct link *link, int number)
{
    if (link->fd >= 0)
        close(link->fd);
    link->fd = -1;
    link->ended = false;
    link->stage = LINK_CONNECTING;
    bytes_clear(&link->in);
    bytes_clear(&link->out);
    link->address = link->address->ai_next;
    return link->address ? LINK_IDLE : lose_errno(link, SHOAL_ERROR_CONNECT, link->host, number);
}

static enum link_event handshake_begin(struct link *link)
{
    char bytes[16];
    for (size_t i = 0; i < sizeof bytes; i += 8) {
        uint64_t random = random_next(link);
        memcpy(bytes + i, &random, 8);
    }
    link->stage = LINK_HANDSHAKE;
    return handshake_request(&link->out, link->host, link->token, bytes, link->key)
               ? LINK_IDLE
               : lose(link, SHOAL_ERROR_MEMORY, false, "no memory for the handshake");
}

/* One attempt at the present address: LINK_IDLE: waits, or goes on (with the stage or the address changed). */
static enum link_event connect_step(struct link *link, int64_t now_ms)
{
    if (!link->addresses) {
        char detail[sizeof link->detail];
        memcpy(detail, link->detail, sizeof detail);
        return lose(link, SHOAL_ERROR_RESOLVE, false, detail);
    }
    if (link->fd < 0) {
        int number = socket_begin(link);
        if (number)
            return address_failed(link, number);
        link->turn_ends_ms = now_ms + turn_of_address_ms(link, now_ms);
    }
    if (!is_writable(link->fd))
        return address_is_passed(link, now_ms) ? address_failed(link, ETIMEDOUT) : LINK_IDLE;
    int number = 0;
    socklen_t size = sizeof number;
    getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &number, &size);
    return number ? address_failed(link, number) : handshake_begin(link);
}

static enum link_event connecting(struct link *link, int64_t now_ms)
{
    enum link_event event;
    const struct addrinfo *tried;
    do { /* addresses that fail at once */
        tried = link->address;
        event = connect_step(link, now_ms);
    } while (event == LINK_IDLE && link->stage == LINK_CONNECTING && link->address != tried);
    return event;
}

/* --- bytes in --- */

/* False: nothing came. `ended` is set, or the link is lost, if nothing ever will. */
static bool receive(struct link *link, int64_t now_ms)
{
    char *place = link->ended ? NULL : bytes_reach(&link->in, READ_BYTES);
    ssize_t got = place ? recv(link->fd, place, READ_BYTES, 0) : 0;
    if (got > 0) {
        link->in.size += (size_t)got;
        link->heard_ms = now_ms;
        link->pinged = false;
        return true;
    }
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return false;
    link->ended = true;
    if (got < 0)
        snprintf(link->detail, sizeof link->detail, "the connection was reset");
    else
        snprintf(link->detail, sizeof link->detail, "the broker ended the connection");
    return false;
}

static enum link_event ended(struct link *link)
{
    char detail[sizeof link->detail];
    memcpy(detail, link->detail, sizeof detail);
    return lose(link, SHOAL_ERROR_DISCONNECTED, false, detail);
}

static enum link_event handshaking(struct link *link, int64_t now_ms)
{
    link_flush(link);
    while (receive(link, now_ms)) {
    }
    struct handshake_answer answer;
    size_t size = handshake_answer_read(bytes_span(&link->in), link->key, link->ended, &answer);
    if (answer.error) {
        lose(link, answer.error, answer.final, answer.detail);
        link->after_ms = answer.after_ms;
        return LINK_LOST;
    }
    if (size == 0 && address_is_passed(link, now_ms))
        return address_failed(link, ETIMEDOUT);
    if (size == 0)
        return link->ended ? ended(link) : LINK_IDLE;
    bytes_take(&link->in, size);
    addresses_free(link);
    ws_reader_init(&link->reader, WS_ROLE_CLIENT, MESSAGE_BYTES, false);
    link->stage = LINK_OPEN;
    link->token = NULL;
    link->heard_ms = now_ms;
    return LINK_OPENED;
}

/* --- frames in --- */

static enum link_event closed_by_broker(struct link *link, const struct ws_event *event)
{
    static const struct {
        uint16_t code;
        enum shoal_error error;
    } errors[] = {
        {CLOSE_TOKEN_REQUIRED, SHOAL_ERROR_AUTH_REQUIRED}, {CLOSE_TOKEN_EXPIRED, SHOAL_ERROR_TOKEN_EXPIRED},
        {CLOSE_TOKEN_INVALID, SHOAL_ERROR_TOKEN_INVALID},  {CLOSE_FORBIDDEN, SHOAL_ERROR_FORBIDDEN},
        {CLOSE_TOO_BIG, SHOAL_ERROR_PAYLOAD_TOO_LARGE},    {CLOSE_PAYLOAD_TOO_LARGE, SHOAL_ERROR_PAYLOAD_TOO_LARGE},
    };
    uint16_t code = event->close_code;
    enum close_class class = code == CLOSE_NO_CODE || code == CLOSE_NORMAL ? CLOSE_CLASS_LATER : close_code_class(code);
    enum shoal_error error = class == CLOSE_CLASS_NEVER ? SHOAL_ERROR_PROTOCOL : SHOAL_ERROR_DISCONNECTED;
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++)
        if (errors[i].code == code)
            error = errors[i].error;
    char detail[sizeof link->detail];
    snprintf(detail, sizeof detail, "closed by the broker: %u %s: %.*s", code, close_code_name(code),
             (int)event->data.size, event->data.size ? event->data.data : "");
    uint32_t after_ms = event->data.size ? close_reason_after_ms(event->data.data, event->data.size) : 0;
    lose(link, error, class == CLOSE_CLASS_NEVER, detail);
    link->after_ms = after_ms;
    link->soon = class == CLOSE_CLASS_RESUME;
    return LINK_LOST;
}

/* A message that came in one piece is given where it lies; of others the pieces are collected. */
static enum link_event data_event(struct link *link, const struct ws_event *event, struct span *message)
{
    if (event->opcode != WS_BINARY)
        return lose(link, SHOAL_ERROR_PROTOCOL, true, "a text frame, where binary was agreed on");
    if (event->first && event->last) {
        *message = event->data;
        return LINK_MESSAGE;
    }
    if (!bytes_add(&link->message, event->data.data, event->data.size))
        return lose(link, SHOAL_ERROR_MEMORY, false, "no memory for a message");
    if (!event->last)
        return LINK_IDLE;
    *message = bytes_span(&link->message);
    link->message_given = true;
    return LINK_MESSAGE;
}

static enum link_event event_work(struct link *link, const struct ws_event *event, struct span *message)
{
    switch (event->kind) {
    case WS_EVENT_NONE:
    case WS_EVENT_PONG:
        return LINK_IDLE;
    case WS_EVENT_DATA:
        return data_event(link, event, message);
    case WS_EVENT_PING:
        return frame_add(link, WS_PONG, event->data) ? LINK_IDLE
                                                     : lose(link, SHOAL_ERROR_MEMORY, false, "no memory for a pong");
    case WS_EVENT_CLOSE:
        return closed_by_broker(link, event);
    case WS_EVENT_ERROR:
        return lose(link, SHOAL_ERROR_PROTOCOL, true, event->problem);
    }
    return LINK_IDLE;
}

/* Works what was received until there is something to tell. */
static enum link_event frames(struct link *link, struct span *message)
{
    enum link_event result = LINK_IDLE;
    while (result == LINK_IDLE && bytes_waiting(&link->in) > 0) {
        struct ws_event event;
        size_t taken = ws_reader_feed(&link->reader, link->in.data + link->in.at, bytes_waiting(&link->in), &event);
        link->in.at += taken; /* bytes_take() might free what the event points to */
        result = event_work(link, &event, message);
    }
    return result;
}

/* A broker that is silent is pinged, and then lost. */
static enum link_event watch(struct link *link, int64_t now_ms)
{
    int64_t silent_ms = now_ms - link->heard_ms;
    if (silent_ms >= 2 * link->heartbeat_ms)
        return lose(link, SHOAL_ERROR_DISCONNECTED, false, "the broker gave no sign of life");
    if (silent_ms >= link->heartbeat_ms && !link->pinged) {
        link->pinged = true;
        frame_add(link, WS_PING, SPAN_NONE);
    }
    return LINK_IDLE;
}

static enum link_event open_next(struct link *link, int64_t now_ms, struct span *message)
{
    if (link->message_given) {
        bytes_clear(&link->message);
        link->message_given = false;
    }
    enum link_event event;
    do {
        event = frames(link, message);
        if (event != LINK_IDLE)
            return event;
        bytes_clear(&link->in);
    } while (receive(link, now_ms));
    if (link->ended)
        return ended(link);
    event = watch(link, now_ms);
    link_flush(link);
    return event;
}

enum link_event link_next(struct link *link, int64_t now_ms, struct span *message)
{
    enum link_event event = LINK_IDLE;
    if (link->stage == LINK_CONNECTING)
        event = connecting(link, now_ms);
    if (link->stage == LINK_HANDSHAKE)
        event = handshaking(link, now_ms);
    else if (link->stage == LINK_OPEN)
        return open_next(link, now_ms, message);
    bool late = (link->stage == LINK_CONNECTING || link->stage == LINK_HANDSHAKE) && now_ms >= link->deadline_ms;
    return late ? lose(link, SHOAL_ERROR_TIMEOUT, false, "the broker did not answer in time") : event;
}

/* --- waiting --- */

short link_events(const struct link *link)
{
    switch (link->stage) {
    case LINK_DOWN:
        return 0;
    case LINK_CONNECTING:
        return POLLOUT;
    case LINK_HANDSHAKE:
    case LINK_OPEN:
        return (short)(POLLIN | (link_unsent(link) ? POLLOUT : 0));
    }
    return 0;
}

int64_t link_wakes_ms(const struct link *link)
{
    switch (link->stage) {
    case LINK_DOWN:
        return INT64_MAX;
    case LINK_CONNECTING:
        return link->fd < 0 ? 0 : link->turn_ends_ms;
    case LINK_HANDSHAKE:
        return link->address->ai_next ? link->turn_ends_ms : link->deadline_ms;
    case LINK_OPEN:
        return link->heard_ms + (link->pinged ? 2 : 1) * link->heartbeat_ms;
    }
    return INT64_MAX;
}
