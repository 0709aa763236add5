/* options: see options.h. */
#include "cli/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_DEFAULT_MS 10000

const struct cli_option_row cli_options[OPTION_COUNT] = {
#define X(name, text, letter, argument, help) {text, letter, argument, help},
    CLI_OPTIONS(X)
#undef X
};

int fail(int status, const char *command, const char *format, ...)
{
    va_list values;
    fflush(stdout);
    fprintf(stderr, "shoal %s: ", command);
    va_start(values, format);
    vfprintf(stderr, format, values);
    va_end(values);
    fputc('\n', stderr);
    return status;
}

static bool number_read(const char *text, uint64_t *number)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    *number = value;
    return end != text && *end == 0 && errno == 0 && text[0] != '-' && value > 0;
}

/* "250000", "500k", "10M" */
static bool count_read(const char *text, uint64_t *count)
{
    char digits[16];
    size_t size = strlen(text);
    if (size == 0 || size >= sizeof digits) {
        return false;
    }
    memcpy(digits, text, size + 1);
    char last = digits[size - 1];
    uint64_t unit = last == 'k' || last == 'K' ? 1000 : last == 'm' || last == 'M' ? 1000000 : 1;
    if (unit > 1) {
        digits[size - 1] = 0;
    }
    bool valid = number_read(digits, count) && *count <= 1000000000 / unit;
    *count *= unit;
    return valid;
}

/* Seconds, with a fraction if need be: from a hundredth to a day. */
static bool seconds_read(const char *text, double *seconds)
{
    char *end;
    *seconds = strtod(text, &end);
    return end != text && *end == 0 && *seconds >= 0.01 && *seconds <= 86400;
}

static bool timeout_read(struct options *options, const char *text)
{
    double seconds;
    options->timeout_given = true;
    if (!seconds_read(text, &seconds)) {
        return false;
    }
    options->timeout_ms = (int64_t)(seconds * 1000);
    return true;
}

/* False: the value is not valid. */
static bool option_set(struct options *options, enum cli_option option, const char *value)
{
    switch (option) {
    case OPTION_URL:
        options->url = value;
        return true;
    case OPTION_TOKEN:
        options->token = value;
        return true;
    case OPTION_ADMIN:
        options->admin = value;
        return true;
    case OPTION_ADMIN_TOKEN:
        options->admin_token = value;
        return true;
    case OPTION_JSON:
        return options->json = true;
    case OPTION_WATCH:
        return seconds_read(value, &options->watch_s);
    case OPTION_LIMIT:
        return number_read(value, &options->limit);
    case OPTION_TIMEOUT:
        return timeout_read(options, value);
    case OPTION_WAIT:
        return options->wait = true;
    case OPTION_TYPE:
        options->type = value;
        return strcmp(value, "text") == 0 || strcmp(value, "json") == 0 || strcmp(value, "binary") == 0;
    case OPTION_KEY:
        options->key = value;
        return true;
    case OPTION_LINES:
        return options->lines = true;
    case OPTION_FROM:
        options->from = value;
        return true;
    case OPTION_MESSAGES:
        return number_read(value, &options->count);
    case OPTION_RAW:
        return options->raw = true;
    case OPTION_CONNECTIONS:
        return count_read(value, &options->connections);
    case OPTION_HELP:
        return options->help = true;
    default:
        return false;
    }
}

static const char *environment(const char *name, const char *instead)
{
    const char *value = getenv(name);
    return value && value[0] ? value : instead;
}

/* The tables that getopt_long() wants, of the options that are allowed. */
static void tables_make(uint32_t allowed, struct option longs[OPTION_COUNT + 1], char *shorts)
{
    *shorts++ = ':'; /* a missing argument is told apart */
    for (int i = 0; i < OPTION_COUNT; i++) {
        if (!(allowed & (1u << i))) {
            continue;
        }
        const struct cli_option_row *row = &cli_options[i];
        *longs++ = (struct option){row->name, row->argument ? required_argument : no_argument, NULL, 256 + i};
        if (row->letter) {
            *shorts++ = row->letter;
        }
        if (row->letter && row->argument) {
            *shorts++ = ':';
        }
    }
    *longs = (struct option){0};
    *shorts = 0;
}

static enum cli_option option_of(int given)
{
    for (int i = 0; given < 256 && i < OPTION_COUNT; i++) {
        if (cli_options[i].letter == given) {
            return (enum cli_option)i;
        }
    }
    return (enum cli_option)(given - 256);
}

int options_read(struct options *options, const char *command, uint32_t allowed, int argc, char **argv)
{
    struct option longs[OPTION_COUNT + 1];
    char shorts[2 * OPTION_COUNT + 2];
    *options = (struct options){
        .url = environment("SHOAL_URL", "ws://127.0.0.1:7070"),
        .token = environment("SHOAL_TOKEN", NULL),
        .admin = environment("SHOAL_ADMIN", "http://127.0.0.1:7071"),
        .admin_token = environment("SHOAL_ADMIN_TOKEN", NULL),
        .timeout_ms = TIMEOUT_DEFAULT_MS,
    };
    tables_make(allowed, longs, shorts);
    optind = 0; /* glibc: begin anew */
    int given;
    while ((given = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
        if (given == ':') {
            return fail(EXIT_USAGE, command, "%s needs a value", argv[optind - 1]);
        }
        if (given == '?') {
            const char letter[] = {'-', (char)optopt, 0}; /* it may be one of several in a word */
            bool is_letter = optopt > 0 && optopt < 256;
            return fail(EXIT_USAGE, command, "there is no option %s here: see shoal help %s",
                        is_letter ? letter : argv[optind - 1], command);
        }
        enum cli_option option = option_of(given);
        if (!option_set(options, option, optarg)) {
            return fail(EXIT_USAGE, command, "--%s: '%s' is not valid", cli_options[option].name, optarg);
        }
    }
    options->arguments = argv + optind;
    options->argument_count = argc - optind;
    return EXIT_DONE;
}
