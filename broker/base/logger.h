/*
 * logger: what the broker says about itself, one JSON object a line.
 *
 *      logger_write(LOG_INFO, "ready", LOG_STR("data", address), LOG_U64("shards", count));
 *
 *      {"time":"2024-05-01T12:00:00.123Z","level":"info","event":"ready","data":"127.0.0.1:7070","shards":2}
 *
 * A line goes out in one write() of at most LOGGER_LINE_MAX bytes, which is PIPE_BUF: lines of several threads never
 * mix, and a pipe that poll() calls writable takes one whole. So the logger does not wait for a reader that has
 * stopped: such lines are dropped and counted, and the number is told when the reader is back ("log_dropped"). A line
 * that would be longer loses its last fields and says so ("truncated":true).
 *
 * What peers can cause is written by logger_limited(): at most LOGGER_LIMIT_BURST lines a second for each event name.
 * The rest is counted, and told by the next line of that name or by logger_tick() ("suppressed":N).
 *
 * Not for the path of a message: one lock guards the file and the counts. Event and field names are literals (they
 * are not escaped and not copied). Any thread, after logger_open(); before it, lines go to standard error.
 */
#ifndef SHOAL_BASE_LOGGER_H
#define SHOAL_BASE_LOGGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOGGER_LINE_MAX    4096 /* bytes, newline included */
#define LOGGER_LIMIT_BURST 10   /* lines a second of one event by logger_limited() */
#define LOGGER_EVENTS_MAX  64   /* event names that logger_limited() tells apart; more share the last */

enum log_level {
    LOG_DEBUG,
    LOG_INFO,
    LOG_WARNING, /* something is wrong, service goes on */
    LOG_ERROR,   /* somebody has to act */
};

enum log_field_type { LOG_FIELD_NONE, LOG_FIELD_TEXT, LOG_FIELD_U64, LOG_FIELD_I64, LOG_FIELD_DOUBLE, LOG_FIELD_BOOL };

/* One field of a line; made by the LOG_… macros below. Borrows its name and text. */
struct log_field {
    const char *name;
    enum log_field_type type;
    size_t size; /* LOG_FIELD_TEXT: bytes */
    union {
        const char *text;
        uint64_t u64;
        int64_t i64;
        double number;
        bool flag;
    };
};

#define LOG_BYTES(n, data, bytes)                                                                                      \
    ((struct log_field){.name = (n), .type = LOG_FIELD_TEXT, .size = (bytes), .text = (data)})
#define LOG_STR(n, string)   logger_field_string((n), (string))
#define LOG_U64(n, value)    ((struct log_field){.name = (n), .type = LOG_FIELD_U64, .u64 = (value)})
#define LOG_I64(n, value)    ((struct log_field){.name = (n), .type = LOG_FIELD_I64, .i64 = (value)})
#define LOG_DOUBLE(n, value) ((struct log_field){.name = (n), .type = LOG_FIELD_DOUBLE, .number = (value)})
#define LOG_BOOL(n, value)   ((struct log_field){.name = (n), .type = LOG_FIELD_BOOL, .flag = (value)})

/* Writes one line, if the level is being logged: logger_write(level, "event", fields…). */
#define logger_write(level, event, ...)                                                                                \
    do {                                                                                                               \
        if (logger_enabled(level)) {                                                                                   \
            const struct log_field logger_fields_[] = {{.name = NULL}, ##__VA_ARGS__};                                 \
            logger_emit((level), (event), logger_fields_ + 1, sizeof logger_fields_ / sizeof *logger_fields_ - 1);     \
        }                                                                                                              \
    } while (0)

/* The same for what a peer can cause, and cause often: limited for each event name. */
#define logger_limited(level, event, ...)                                                                              \
    do {                                                                                                               \
        uint64_t logger_suppressed_;                                                                                   \
        if (logger_enabled(level) && logger_limit_pass((event), &logger_suppressed_)) {                                \
            const struct log_field logger_fields_[] = {                                                                \
                {.name = NULL}, ##__VA_ARGS__, logger_field_suppressed(logger_suppressed_)};                           \
            logger_emit((level), (event), logger_fields_ + 1, sizeof logger_fields_ / sizeof *logger_fields_ - 1);     \
        }                                                                                                              \
    } while (0)

/*
 * Where lines go from now on: appended to the file at `path` (copied; created with mode 0640), or to standard error
 * (NULL or ""). Returns 0, or -errno: then everything stays as it was.
 */
int logger_open(const char *path);

/* Opens the same path again, after somebody has moved the file away (SIGHUP). Returns as logger_open(). */
int logger_reopen(void);

/* Closes the file, and writes to standard error from now on. Tells first what is still counted. */
void logger_close(void);

/* The least level that is written; LOG_INFO at start. */
void logger_level_set(enum log_level level);
bool logger_enabled(enum log_level level);

/* "debug", "info", "warning", "error". Static. */
const char *logger_level_name(enum log_level level);

/* Tells what has been suppressed or dropped and was not told yet. Call it about once a second, from one thread. */
void logger_tick(void);

/* Lines dropped since the start because their reader had stopped (for the metrics). */
uint64_t logger_dropped(void);

/* --- behind the macros --- */

/* Writes one line now. Borrows everything. */
void logger_emit(enum log_level level, const char *event, const struct log_field *fields, size_t count);
/* False: this line is one too many. True: write it, and tell `suppressed` (0: nothing to tell). */
bool logger_limit_pass(const char *event, uint64_t *suppressed);
/* The bytes of a string; NULL is shown as null. */
struct log_field logger_field_string(const char *name, const char *string);
/* A field that tells the count, or none for 0. */
struct log_field logger_field_suppressed(uint64_t count);

#endif
