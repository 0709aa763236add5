/*
 * commands: what `shoal` can do. The table in commands.c is read by the dispatch, by help and by completion.
 *
 * A command gives an exit status back, and has told the reason on standard error if it is not EXIT_DONE.
 */
#ifndef SHOAL_CLI_COMMANDS_H
#define SHOAL_CLI_COMMANDS_H

#include "cli/options.h"

struct command {
    const char *name;
    const char *arguments; /* for the usage line */
    int least;             /* arguments */
    int most;
    uint32_t options; /* bits */
    int (*run)(const struct options *options);
    const char *sentence;
    const char *more; /* details and examples, lines */
};

extern const struct command commands[];
extern const int command_count;

/* NULL: there is none of this name. */
const struct command *command_find(const char *name);

/* Runs what the arguments say. Gives the program's exit status. */
int commands_main(int argc, char **argv);

/* messages.c */
int command_pub(const struct options *options);
int command_sub(const struct options *options);
/* figures.c */
int command_stat(const struct options *options);
int command_shards(const struct options *options);
int command_version(const struct options *options);
/* listings.c */
int command_topics(const struct options *options);
int command_topic(const struct options *options);
int command_filters(const struct options *options);
int command_conns(const struct options *options);
/* cluster.c */
int command_cluster(const struct options *options);
/* levers.c */
int command_kick(const struct options *options);
int command_drain(const struct options *options);
/* doctor.c */
int command_doctor(const struct options *options);
/* completion.c */
int command_completion(const struct options *options);
/* commands.c */
int command_help(const struct options *options);

#endif
