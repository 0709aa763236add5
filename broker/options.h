/*
 * options: the command line of shoald. It says what to do and where the configuration is; what the configuration
 * says is config's. Started once, by main.
 */
#ifndef SHOAL_BROKER_OPTIONS_H
#define SHOAL_BROKER_OPTIONS_H

#include <stdint.h>
#include <stdio.h>

#define OPTIONS_SETS_MAX 256

enum options_action {
    OPTIONS_SERVE,
    OPTIONS_CHECK,        /* check the configuration, say what is wrong, exit with 0 or 1 */
    OPTIONS_PRINT_CONFIG, /* the same, and print the effective configuration */
    OPTIONS_VERSION,      /* print the build identity (main's: it has it) */
    OPTIONS_HELP,         /* options_help() */
};

struct options {
    enum options_action action;
    const char *config_file; /* NULL: none */
    uint32_t set_count;
    const char *sets[OPTIONS_SETS_MAX]; /* "section.key=value" */
};

/*
 * Reads the arguments; the options borrow from argv. Returns 0: do what `action` says. Else it has said on standard
 * error what is wrong, and returns the status to exit with (2).
 */
int options_parse(int argc, char *const *argv, struct options *options);

/* Writes how to call shoald, with examples. */
void options_help(FILE *out);

#endif
