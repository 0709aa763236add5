/*
 * shoald: the broker. Here is the order in which it starts: options, configuration, signals, then broker.h has the
 * word.
 *
 * Exit status: 0 served and stopped as asked (or checked and found good), 1 it could not start (or the configuration is
 * wrong), 2 the command line is wrong.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "admin/admin.h"
#include "auth/token.h"
#include "base/logger.h"
#include "broker/broker.h"
#include "broker/options.h"

/*
 * How jemalloc is to work, which finds this by its name: what a wave of connections has used goes back to the host
 * within seconds, also when nothing happens any more, and not just as a side effect of allocating.
 */
extern const char *malloc_conf;
__attribute__((visibility("default"))) const char *malloc_conf =
    "background_thread:true,dirty_decay_ms:3000,muzzy_decay_ms:0";

static void print_version(void)
{
    printf("shoald %s (commit %s, %s build, %s)\n", SHOAL_VERSION, SHOAL_COMMIT, SHOAL_BUILD_TYPE, SHOAL_COMPILER);
    printf("built with %s\n", SHOAL_PARTS);
}

static void log_starting(const struct config *config)
{
    logger_write(LOG_INFO, "starting", LOG_STR("version", SHOAL_VERSION), LOG_STR("commit", SHOAL_COMMIT),
                 LOG_STR("build", SHOAL_BUILD_TYPE), LOG_STR("compiler", SHOAL_COMPILER), LOG_STR("parts", SHOAL_PARTS),
                 LOG_STR("config", config->file), LOG_I64("pid", getpid()));
}

/* NULL: the report is printed. */
static struct config *load(const struct config_sources *sources)
{
    static struct config_report report;
    struct config *config = config_load(sources, &report);
    if (report.size) {
        fputs(report.text, stderr);
    }
    return config;
}

static int serve(struct config *config, const struct config_sources *sources)
{
    int error = logger_open(config->log.file);
    if (error) {
        fprintf(stderr, "shoald: can't open log.file %s: %s\n", config->log.file, strerror(-error));
        config_free(config);
        return 1;
    }
    logger_level_set(config->log.level);
    log_starting(config);
    static const struct build_identity build = {SHOAL_VERSION, SHOAL_COMMIT, SHOAL_BUILD_TYPE, SHOAL_COMPILER};
    struct broker *broker = broker_start(config, sources, &build);
    if (!broker) {
        return 1;
    }
    broker_wait(broker);
    broker_stop(broker);
    logger_close();
    return 0;
}

/* Also looks into the key files, which the configuration only names. */
static int check(struct config *config, bool print)
{
    if (print) {
        config_print(config, stdout);
    }
    const struct token_settings settings = {.hs256_key_file = config->auth.hs256_key_file,
                                            .rs256_key_file = config->auth.rs256_key_file};
    char error[TOKEN_ERROR_MAX];
    struct token_verifier *verifier = token_verifier_create(&settings, error);
    config_free(config);
    if (!verifier) {
        fprintf(stderr, "shoald: %s\n", error);
        return 1;
    }
    token_verifier_destroy(verifier);
    if (!print) {
        puts("The configuration is valid.");
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct options options;
    int status = options_parse(argc, argv, &options);
    if (status) {
        return status;
    }
    if (options.action == OPTIONS_HELP) {
        options_help(stdout);
        return 0;
    }
    if (options.action == OPTIONS_VERSION) {
        print_version();
        return 0;
    }
    const struct config_sources sources = {
        .file = options.config_file,
        .environment = environ,
        .sets = options.sets,
        .set_count = options.set_count,
    };
    broker_block_signals();
    struct config *config = load(&sources);
    if (!config) {
        return 1;
    }
    return options.action == OPTIONS_SERVE ? serve(config, &sources)
                                           : check(config, options.action == OPTIONS_PRINT_CONFIG);
}
