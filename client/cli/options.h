/*
 * options: what stands behind `shoal`: a command, its options, its arguments.
 *
 * All options of all commands stand in one table (options.c), which help and completion read, too; a command names
 * those that it takes. What is not given comes from the environment, then from a default:
 *
 *   --url          SHOAL_URL           ws://127.0.0.1:7070      the broker's data port
 *   --token        SHOAL_TOKEN         none                     for the data port
 *   --admin        SHOAL_ADMIN         http://127.0.0.1:7071    the admin port
 *   --admin-token  SHOAL_ADMIN_TOKEN   none                     for the admin port
 *
 * The values are borrowed from the arguments and the environment.
 */
#ifndef SHOAL_CLI_OPTIONS_H
#define SHOAL_CLI_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

/* How the program ends. Documented in docs/man/shoal.1: scripts rely on them, so they only ever get more. */
enum exit_status {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,      /* the broker refused, or something went wrong: the message says what */
    EXIT_USAGE = 2,       /* the command line is wrong */
    EXIT_UNREACHABLE = 3, /* nobody answers there, or no broker does */
    EXIT_FORBIDDEN = 4,   /* a token is needed, or the one given does not allow it */
    EXIT_NOT_FOUND = 5,   /* there is no such topic or connection */
    EXIT_TIMEOUT = 6,     /* it was not done in time */
};

/* X(NAME, "long", letter, argument or NULL, "help") */
#define CLI_OPTIONS(X)                                                                                                 \
    X(URL, "url", 'u', "URL", "the broker's data port (SHOAL_URL; default ws://127.0.0.1:7070)")                       \
    X(TOKEN, "token", 't', "TOKEN", "JSON Web Token for the data port (SHOAL_TOKEN)")                                  \
    X(ADMIN, "admin", 'a', "URL", "the admin port (SHOAL_ADMIN; default http://127.0.0.1:7071)")                       \
    X(ADMIN_TOKEN, "admin-token", 0, "TOKEN", "the admin port's token (SHOAL_ADMIN_TOKEN)")                            \
    X(JSON, "json", 'j', NULL, "JSON instead of a table, one value a line")                                            \
    X(WATCH, "watch", 'w', "SECONDS", "again and again, each so many seconds; Ctrl-C ends it")                         \
    X(LIMIT, "limit", 'n', "N", "at most N of them (default: all)")                                                    \
    X(TIMEOUT, "timeout", 0, "SECONDS", "how long to wait for an answer (default: 10)")                                \
    X(WAIT, "wait", 0, NULL, "wait until it is done")                                                                  \
    X(TYPE, "type", 0, "TYPE", "text, json or binary (default: text if it is UTF-8, else binary)")                     \
    X(KEY, "key", 'k', "KEY", "idempotency key: repeated with the same key it is published once")                      \
    X(LINES, "lines", 'l', NULL, "each line of standard input is a message")                                           \
    X(FROM, "from", 'f', "PLACE", "new, last, or the EPOCH:OFFSET to go on after (default: new)")                      \
    X(MESSAGES, "count", 'c', "N", "end after N messages")                                                             \
    X(RAW, "raw", 'r', NULL, "just the payloads, byte for byte, a newline after each")                                 \
    X(CONNECTIONS, "connections", 0, "N", "how many are wanted: 250000, 500k, 10M (default: 1M)")                      \
    X(HELP, "help", 'h', NULL, "this help")

enum cli_option {
#define X(name, text, letter, argument, help) OPTION_##name,
    CLI_OPTIONS(X)
#undef X
        OPTION_COUNT
};

#define OPTION_BIT(name) (1u << OPTION_##name)

struct cli_option_row {
    const char *name;
    char letter;          /* 0: none */
    const char *argument; /* NULL: takes none */
    const char *help;
};

extern const struct cli_option_row cli_options[OPTION_COUNT];

struct options {
    const char *url; /* NULL: libshoal's default */
    const char *token;
    const char *admin;
    const char *admin_token;
    bool json;
    double watch_s; /* 0: once */
    uint64_t limit; /* 0: all */
    int64_t timeout_ms;
    bool timeout_given;
    bool wait;
    const char *type;
    const char *key;
    bool lines;
    const char *from;
    uint64_t count; /* 0: no end */
    bool raw;
    uint64_t connections; /* 0: not given */
    bool help;
    char **arguments;
    int argument_count;
};

/*
 * Reads what stands behind the command's name; `allowed` has the bits of its options. EXIT_DONE, or EXIT_USAGE with the
 * reason printed.
 */
int options_read(struct options *options, const char *command, uint32_t allowed, int argc, char **argv);

/* Prints "shoal COMMAND: " and the message to standard error; gives the status back. */
__attribute__((format(printf, 3, 4))) int fail(int status, const char *command, const char *format, ...);

#endif
