/*
 * options: the arguments, by getopt_long(). --help and --version end the reading where they stand; of the other
 * actions the last one counts.
 */
#include "broker/options.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

enum { OPTION_PRINT_CONFIG = 256 };

static const struct option long_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"set", required_argument, NULL, 's'},
    {"check", no_argument, NULL, 'k'},
    {"print-config", no_argument, NULL, OPTION_PRINT_CONFIG},
    {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

__attribute__((format(printf, 2, 3))) static int usage_error(const char *program, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s: ", program);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\nTry '%s --help'.\n", program);
    va_end(arguments);
    return 2;
}

/* One option. Returns as options_parse(). */
static int option_apply(int option, const char *value, const char *program, struct options *options)
{
    switch (option) {
    case 'c':
        if (options->config_file)
            return usage_error(program, "--config can be given once only");
        options->config_file = value;
        return 0;
    case 's':
        if (options->set_count == OPTIONS_SETS_MAX)
            return usage_error(program, "too many --set: write a file");
        options->sets[options->set_count++] = value;
        return 0;
    case 'k':
        options->action = OPTIONS_CHECK;
        return 0;
    case OPTION_PRINT_CONFIG:
        options->action = OPTIONS_PRINT_CONFIG;
        return 0;
    case 'V':
        options->action = OPTIONS_VERSION;
        return 0;
    case 'h':
        options->action = OPTIONS_HELP;
        return 0;
    default: /* getopt_long() has said what is wrong */
        return usage_error(program, "I can't start like this");
    }
}

/* --SECTION.KEY=VALUE: what is meant is not an option, but a key of the configuration. */
static bool is_key(const char *word)
{
    return strncmp(word, "--", 2) == 0 && strcspn(word, ".") < strcspn(word, "=");
}

int options_parse(int argc, char *const *argv, struct options *options)
{
    const char *program = argc > 0 ? argv[0] : "shoald";
    *options = (struct options){.action = OPTIONS_SERVE};
    optind = 0; /* start afresh: tests call this more than once */
    for (int option; (option = getopt_long(argc, argv, "c:s:hV", long_options, NULL)) != -1;) {
        if (option == '?' && is_key(argv[optind - 1])) {
            const char *key = argv[optind - 1] + 2;
            return usage_error(program, "a key of the configuration is given so: --set %s%s", key,
                               strchr(key, '=') ? "" : "=VALUE");
        }
        int status = option_apply(option, optarg, program, options);
        if (status)
            return status;
        if (options->action == OPTIONS_HELP || options->action == OPTIONS_VERSION)
            return 0;
    }
    if (optind < argc)
        return usage_error(program, "no argument is expected here: %s", argv[optind]);
    return 0;
}

void options_help(FILE *out)
{
    fputs("shoald: a publish/subscribe broker over WebSockets\n"
          "\n"
          "  shoald [--config FILE] [--set section.key=value]...\n"
          "\n"
          "  -c, --config FILE            read this configuration (INI)\n"
          "  -s, --set section.key=value  set one key; the last one counts, and it goes before all else\n"
          "      --check                  check the configuration, say all that is wrong with it, and exit\n"
          "      --print-config           print the effective configuration, every key with help and source, and exit\n"
          "  -V, --version                print version, commit and libraries, and exit\n"
          "  -h, --help                   print this, and exit\n"
          "\n"
          "A key is also read from the environment as SHOAL_SECTION_KEY. Priority rises from the defaults over the\n"
          "file and the environment to --set. SIGHUP reads the file again, SIGTERM drains and ends.\n"
          "\n"
          "Examples:\n"
          "  shoald                                        for this host alone, at 127.0.0.1:7070\n"
          "  shoald --set listen.address=127.0.0.1:8080 --set broker.shards=2\n"
          "  shoald --set namespace.default.history_messages=100\n"
          "  shoald --print-config > shoal.ini             a file with every key, to begin with\n"
          "  shoald --config shoal.ini --check\n"
          "  SHOAL_AUTH_HS256_KEY_FILE=/etc/shoal/secret shoald --set listen.address=0.0.0.0:7070\n",
          out);
}
