/*
 * logger: one JSON object a line, one write() each.
 *
 * A line is built on the caller's stack without the lock. The lock is held to poll and write (so that no other thread
 * fills the pipe between the two), to swap the file, and to count. Nobody waits for a pipe's reader under it.
 *
 * The room of a line is LOGGER_LINE_MAX less a tail kept free for the closing words, so that every line is whole JSON:
 * a field that does not fit is left out altogether, and so are those after it.
 */
#include "base/logger.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"

#define LINE_TAIL      ",\"truncated\":true}\n"
#define LINE_ROOM      (LOGGER_LINE_MAX - (sizeof LINE_TAIL - 1))
#define LOG_STDERR     STDERR_FILENO
#define EVENT_NAME_MAX 48

static_assert(LOGGER_LINE_MAX <= 4096, "a pipe takes a line whole only up to PIPE_BUF");

struct line {
    size_t size;
    char text[LOGGER_LINE_MAX];
};

/* What logger_limited() knows of one event. */
struct event_limit {
    char name[EVENT_NAME_MAX];
    uint64_t second; /* the one that `passed` counts in */
    uint32_t passed;
    uint64_t suppressed; /* not told yet */
};

static struct {
    pthread_mutex_t lock;
    int fd;
    char *path; /* NULL: standard error */
    uint64_t dropped_untold;
    struct event_limit events[LOGGER_EVENTS_MAX];
    uint32_t event_count;
} logger = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = LOG_STDERR};

static atomic_int logger_level = LOG_INFO;
static atomic_uint_least64_t logger_dropped_total;

static void line_begin(struct line *line, enum log_level level, const char *event);
static bool line_add(struct line *line, const struct log_field *field);
static void line_end(struct line *line, bool whole);
static void line_write(const struct line *line);
static bool fd_write(int fd, const char *text, size_t size);

void logger_emit(enum log_level level, const char *event, const struct log_field *fields, size_t count)
{
    struct line line;
    line_begin(&line, level, event);
    bool whole = true;
    for (size_t i = 0; i < count && whole; i++)
        whole = line_add(&line, &fields[i]);
    line_end(&line, whole);

    pthread_mutex_lock(&logger.lock);
    line_write(&line);
    pthread_mutex_unlock(&logger.lock);
}

int logger_open(const char *path)
{
    int fd = LOG_STDERR;
    char *copy = NULL;
    if (path && path[0]) {
        copy = strdup(path);
        if (!copy)
            return -ENOMEM;
        fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
        if (fd < 0) {
            free(copy);
            return -errno;
        }
    }
    pthread_mutex_lock(&logger.lock);
    int former = logger.fd;
    char *former_path = logger.path;
    logger.fd = fd;
    logger.path = copy;
    pthread_mutex_unlock(&logger.lock);
    if (former != LOG_STDERR)
        close(former);
    free(former_path);
    return 0;
}

int logger_reopen(void)
{
    pthread_mutex_lock(&logger.lock);
    char *path = logger.path ? strdup(logger.path) : NULL;
    bool lost = logger.path && !path;
    pthread_mutex_unlock(&logger.lock);
    int result = lost ? -ENOMEM : logger_open(path);
    free(path);
    return result;
}

void logger_close(void)
{
    logger_tick();
    logger_open(NULL);
}

void logger_level_set(enum log_level level)
{
    atomic_store_explicit(&logger_level, (int)level, memory_order_relaxed);
}

bool logger_enabled(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&logger_level, memory_order_relaxed);
}

const char *logger_level_name(enum log_level level)
{
    static const char *const names[] = {"debug", "info", "warning", "error"};
    return names[level];
}

uint64_t logger_dropped(void)
{
    return atomic_load_explicit(&logger_dropped_total, memory_order_relaxed);
}

/* --- limits --- */

static uint64_t second_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec;
}

/* The record of an event, made at its first line. A linear search: there are a few dozen names, all of them ours. */
static struct event_limit *event_limit_of(const char *event)
{
    for (uint32_t i = 0; i < logger.event_count; i++)
        if (strncmp(logger.events[i].name, event, EVENT_NAME_MAX - 1) == 0)
            return &logger.events[i];
    if (logger.event_count == LOGGER_EVENTS_MAX)
        return &logger.events[LOGGER_EVENTS_MAX - 1];
    struct event_limit *limit = &logger.events[logger.event_count++];
    snprintf(limit->name, sizeof limit->name, "%s", event);
    return limit;
}

bool logger_limit_pass(const char *event, uint64_t *suppressed)
{
    uint64_t second = second_now();
    pthread_mutex_lock(&logger.lock);
    struct event_limit *limit = event_limit_of(event);
    if (limit->second != second) {
        limit->second = second;
        limit->passed = 0;
    }
    bool pass = limit->passed < LOGGER_LIMIT_BURST;
    if (pass) {
        limit->passed++;
        *suppressed = limit->suppressed;
        limit->suppressed = 0;
    } else {
        limit->suppressed++;
    }
    pthread_mutex_unlock(&logger.lock);
    return pass;
}

/* Takes one count of an earlier second that nobody was told of. False: there is none left. */
static bool untold_take(char name[EVENT_NAME_MAX], uint64_t *suppressed)
{
    uint64_t second = second_now();
    bool found = false;
    pthread_mutex_lock(&logger.lock);
    for (uint32_t i = 0; i < logger.event_count && !found; i++) {
        struct event_limit *limit = &logger.events[i];
        found = limit->suppressed > 0 && limit->second != second;
        if (found) {
            memcpy(name, limit->name, EVENT_NAME_MAX);
            *suppressed = limit->suppressed;
            limit->suppressed = 0;
        }
    }
    pthread_mutex_unlock(&logger.lock);
    return found;
}

/* Under the lock. Keeps the count if the reader still stands. */
static void dropped_tell(void)
{
    struct line line;
    line_begin(&line, LOG_WARNING, "log_dropped");
    line_add(&line, &LOG_U64("lines", logger.dropped_untold));
    line_end(&line, true);
    if (fd_write(logger.fd, line.text, line.size))
        logger.dropped_untold = 0;
}

void logger_tick(void)
{
    char name[EVENT_NAME_MAX];
    uint64_t suppressed;
    while (untold_take(name, &suppressed))
        logger_write(LOG_WARNING, "log_suppressed", LOG_STR("of", name), LOG_U64("suppressed", suppressed));
    pthread_mutex_lock(&logger.lock);
    if (logger.dropped_untold)
        dropped_tell();
    pthread_mutex_unlock(&logger.lock);
}

/* --- fields --- */

struct log_field logger_field_string(const char *name, const char *string)
{
    return LOG_BYTES(name, string, string ? strlen(string) : 0);
}

struct log_field logger_field_suppressed(uint64_t count)
{
    return count ? LOG_U64("suppressed", count) : (struct log_field){.type = LOG_FIELD_NONE};
}

/* --- the line --- */

static bool line_put(struct line *line, const char *bytes, size_t size)
{
    if (line->size + size > LINE_ROOM)
        return false;
    memcpy(line->text + line->size, bytes, size);
    line->size += size;
    return true;
}

/* Bytes of the UTF-8 character that starts at text, 0 if it is none that JSON may hold (RFC 3629 section 4). */
static size_t character_size(const unsigned char *text, size_t room)
{
    unsigned char first = text[0];
    size_t size = 0;
    if (first < 0x80)
        size = 1;
    else if (first >= 0xc2 && first < 0xe0)
        size = 2;
    else if (first >= 0xe0 && first < 0xf0)
        size = 3;
    else if (first >= 0xf0 && first < 0xf5)
        size = 4;
    if (size == 0 || size > room)
        return 0;
    for (size_t i = 1; i < size; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (first == 0xe0 && text[1] < 0xa0) || (first == 0xf0 && text[1] < 0x90);
    bool surrogate = first == 0xed && text[1] >= 0xa0;
    bool beyond = first == 0xf4 && text[1] >= 0x90;
    return overlong || surrogate || beyond ? 0 : size;
}

/* One character, escaped where JSON wants it (RFC 8259 section 7). Bytes that are no UTF-8 become U+FFFD. */
static bool line_put_character(struct line *line, const unsigned char *text, size_t room, size_t *taken)
{
    size_t size = character_size(text, room);
    *taken = size ? size : 1;
    if (size == 0)
        return line_put(line, "\\ufffd", 6);
    if (text[0] == '"' || text[0] == '\\') {
        char escaped[2] = {'\\', (char)text[0]};
        return line_put(line, escaped, 2);
    }
    if (text[0] < 0x20 || text[0] == 0x7f) {
        char escaped[8];
        snprintf(escaped, sizeof escaped, "\\u%04x", text[0]);
        return line_put(line, escaped, 6);
    }
    return line_put(line, (const char *)text, size);
}

static bool line_put_string(struct line *line, const char *text, size_t size)
{
    bool fits = line_put(line, "\"", 1);
    for (size_t at = 0, taken; fits && at < size; at += taken)
        fits = line_put_character(line, (const unsigned char *)text + at, size - at, &taken);
    return fits && line_put(line, "\"", 1);
}

static bool line_put_value(struct line *line, const struct log_field *field)
{
    char number[40];
    int size = 0;
    switch (field->type) {
    case LOG_FIELD_TEXT:
        return field->text ? line_put_string(line, field->text, field->size) : line_put(line, "null", 4);
    case LOG_FIELD_U64:
        size = snprintf(number, sizeof number, "%llu", (unsigned long long)field->u64);
        break;
    case LOG_FIELD_I64:
        size = snprintf(number, sizeof number, "%lld", (long long)field->i64);
        break;
    case LOG_FIELD_DOUBLE: /* JSON has no infinity */
        size = snprintf(number, sizeof number, isfinite(field->number) ? "%.9g" : "null", field->number);
        break;
    case LOG_FIELD_BOOL:
        size = snprintf(number, sizeof number, "%s", field->flag ? "true" : "false");
        break;
    case LOG_FIELD_NONE:
        UNREACHABLE();
    }
    return line_put(line, number, (size_t)size);
}

/* Adds a field, or leaves the line as it was: false. */
static bool line_add(struct line *line, const struct log_field *field)
{
    if (field->type == LOG_FIELD_NONE)
        return true;
    size_t before = line->size;
    bool fits = line_put(line, ",\"", 2) && line_put(line, field->name, strlen(field->name)) &&
                line_put(line, "\":", 2) && line_put_value(line, field);
    if (!fits)
        line->size = before;
    return fits;
}

static void line_begin(struct line *line, enum log_level level, const char *event)
{
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    char date[32];
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &utc);
    int size = snprintf(line->text, LINE_ROOM, "{\"time\":\"%s.%03dZ\",\"level\":\"%s\",\"event\":\"%.128s\"", date,
                        (int)(now.tv_nsec / 1000000), logger_level_name(level), event);
    line->size = (size_t)size;
}

static void line_end(struct line *line, bool whole)
{
    const char *tail = whole ? "}\n" : LINE_TAIL;
    size_t size = strlen(tail);
    CHECK(line->size + size <= LOGGER_LINE_MAX);
    memcpy(line->text + line->size, tail, size);
    line->size += size;
}

/* A file is always writable; a pipe is if it has room for PIPE_BUF bytes, which is room for any line. */
static bool fd_has_room(int fd)
{
    struct pollfd poller = {.fd = fd, .events = POLLOUT};
    return poll(&poller, 1, 0) == 1 && (poller.revents & POLLOUT);
}

static bool fd_write(int fd, const char *text, size_t size)
{
    if (!fd_has_room(fd))
        return false;
    ssize_t written;
    do
        written = write(fd, text, size);
    while (written < 0 && errno == EINTR);
    return written == (ssize_t)size;
}

/* Under the lock. */
static void line_write(const struct line *line)
{
    if (fd_write(logger.fd, line->text, line->size))
        return;
    logger.dropped_untold++;
    atomic_fetch_add_explicit(&logger_dropped_total, 1, memory_order_relaxed);
}
