/* commands: the table, help, and the dispatch. See commands.h. */
#include "cli/commands.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define DATA  (OPTION_BIT(URL) | OPTION_BIT(TOKEN) | OPTION_BIT(TIMEOUT) | OPTION_BIT(HELP))
#define ADMIN (OPTION_BIT(ADMIN) | OPTION_BIT(ADMIN_TOKEN) | OPTION_BIT(TIMEOUT) | OPTION_BIT(HELP))
#define SHOW  (ADMIN | OPTION_BIT(JSON) | OPTION_BIT(WATCH))
#define LIST  (SHOW | OPTION_BIT(LIMIT))

const struct command commands[] = {
    {"pub", "TOPIC [PAYLOAD]", 1, 2, DATA | OPTION_BIT(TYPE) | OPTION_BIT(KEY) | OPTION_BIT(LINES) | OPTION_BIT(JSON),
     command_pub, "Publishes a message, and prints its position when the broker has it.",
     "Without PAYLOAD the message is what comes on standard input.\n"
     "\n"
     "  shoal pub demo/hello 'hello, world'\n"
     "  shoal pub --type json demo/state '{\"on\":true}'\n"
     "  shoal pub --key order-17 orders/new < order.json\n"
     "  tail -f access.log | shoal pub --lines logs/web\n"},
    {"sub", "FILTER...", 1, 64, DATA | OPTION_BIT(FROM) | OPTION_BIT(MESSAGES) | OPTION_BIT(JSON) | OPTION_BIT(RAW),
     command_sub, "Prints the messages of topics or filters as they come, until Ctrl-C.",
     "One line a message: topic, offset, payload. After a cut it connects again and resumes; what was\n"
     "missed is told on standard error (with --json on standard output). --timeout ends it after so long.\n"
     "\n"
     "  shoal sub demo/hello\n"
     "  shoal sub 'demo/#' 'sensors/+/heat'\n"
     "  shoal sub --from last --count 1 --raw demo/state\n"
     "  shoal sub --json --from 6a09e667f3bcc908:41 orders/new\n"},
    {"stat", "", 0, 0, SHOW, command_stat, "Shows what the broker does now: connections, rates, delay, memory.",
     "Rates are of the time between two looks: with --watch, or over one second.\n"
     "\n"
     "  shoal stat --watch 2\n"
     "  shoal stat --json | jq .gauges.connections\n"},
    {"shards", "", 0, 0, SHOW, command_shards, "Shows what each shard has and does.", "  shoal shards --watch 1\n"},
    {"topics", "", 0, 0, LIST, command_topics, "Lists the topics: offset, history, who follows.",
     "FOLLOWERS are shards with somebody who follows; `shoal topic` counts subscribers.\n"
     "\n"
     "  shoal topics --limit 20\n"
     "  shoal topics --json | jq -r 'select(.history_messages > 1000).topic'\n"},
    {"topic", "TOPIC", 1, 1, SHOW, command_topic, "Shows one topic (or filter), and its subscribers on each shard.",
     "  shoal topic demo/hello\n"
     "  shoal topic 'demo/#'\n"},
    {"conns", "", 0, 0, LIST, command_conns, "Lists the connections: who, what they follow, whether they keep up.",
     "BEHIND counts subscriptions with something left to send; ID is what `shoal kick` takes. A long list is\n"
     "fetched in pages and never holds the broker up; it is no snapshot.\n"
     "\n"
     "  shoal conns\n"
     "  shoal conns --json | jq -r 'select(.behind > 0).id'\n"},
    {"filters", "", 0, 0, LIST, command_filters, "Lists the filters that are followed, a line for each shard.",
     "  shoal filters --limit 20\n"},
    {"cluster", "", 0, 0, SHOW, command_cluster,
     "Shows the Redis servers that federate this broker, and the hosts that it knows by them.",
     "PROBED is how long ago a message went out to the server that came back; LEFT counts topics that are not\n"
     "subscribed yet; BACKLOG is what waits for the server's answer. What this host sees: others may see less.\n"
     "\n"
     "  shoal cluster --watch 1\n"
     "  shoal cluster --json | jq -r '.servers[] | select(.state != \"up\").problem'\n"},
    {"kick", "ID...", 1, 64, ADMIN, command_kick, "Closes connections with code 4003; they may come back.",
     "The IDs are those of `shoal conns`; a client finds its own as `session` in the greeting.\n"
     "\n"
     "  shoal kick 0-17-3\n"},
    {"drain", "", 0, 0, ADMIN | OPTION_BIT(WAIT), command_drain,
     "Lets the broker go: no new connections, the present ones move on, then it ends.",
     "The same as SIGTERM: /readyz says no at once, connections are closed with code 4000 (reconnect and\n"
     "resume) over broker.drain_s. --wait comes back when the broker has ended (--timeout bounds that).\n"
     "\n"
     "  shoal drain --wait\n"},
    {"doctor", "", 0, 0, OPTION_BIT(CONNECTIONS) | OPTION_BIT(JSON) | OPTION_BIT(HELP), command_doctor,
     "Checks whether this host can hold so many connections, and says what to change.",
     "What is short comes with the command or unit-file line that mends it; status 1 if anything is. It looks\n"
     "at the host and user that it runs as, and asks no broker. docs/TUNING.md explains each check.\n"
     "\n"
     "  shoal doctor --connections 10M\n"
     "  shoal doctor --connections 500k --json | jq -r 'select(.state == \"short\").mend'\n"},
    {"version", "", 0, 0, ADMIN | OPTION_BIT(JSON), command_version,
     "Prints the version of this program and of the broker.",
     "Status 3 if the broker does not answer; `shoal --version` asks none.\n"
     "\n"
     "  shoal version --json\n"},
    {"completion", "SHELL", 1, 1, OPTION_BIT(HELP), command_completion, "Prints the completion for bash, zsh or fish.",
     "  source <(shoal completion bash)\n"
     "  shoal completion zsh > ~/.zfunc/_shoal\n"
     "  shoal completion fish > ~/.config/fish/completions/shoal.fish\n"},
    {"help", "[COMMAND]", 0, 1, OPTION_BIT(HELP), command_help, "Shows help.", "  shoal help pub\n"},
};

const int command_count = sizeof commands / sizeof *commands;

const struct command *command_find(const char *name)
{
    for (int i = 0; i < command_count; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

/* --- help --- */

static void help_options(const struct command *command)
{
    printf("\noptions:\n");
    for (int i = 0; i < OPTION_COUNT; i++) {
        const struct cli_option_row *row = &cli_options[i];
        if (command->options & (1u << i)) {
            char left[40];
            snprintf(left, sizeof left, "--%s%s%s", row->name, row->argument ? " " : "",
                     row->argument ? row->argument : "");
            printf(row->letter ? "  -%c, %-20s %s\n" : "  %c   %-20s %s\n", row->letter ? row->letter : ' ', left,
                   row->help);
        }
    }
}

static void help_command(const struct command *command)
{
    printf("usage: shoal %s [OPTION...] %s\n\n%s\n\n%s", command->name, command->arguments, command->sentence,
           command->more);
    help_options(command);
}

static void help_all(FILE *out)
{
    fprintf(out, "usage: shoal COMMAND [OPTION...] [ARGUMENT...]\n\n");
    for (int i = 0; i < command_count; i++) {
        fprintf(out, "  %-11s %s\n", commands[i].name, commands[i].sentence);
    }
    fprintf(out,
            "\n"
            "Messages go through the broker's data port (--url, SHOAL_URL), all else asks its admin port (--admin,\n"
            "SHOAL_ADMIN). `shoal help COMMAND` tells more, with examples.\n"
            "\n"
            "Exit status: 0 done, 1 failed or refused, 2 wrong usage, 3 nobody answers, 4 not allowed, 5 not found,\n"
            "6 not in time.\n");
}

int command_help(const struct options *options)
{
    if (options->argument_count == 0) {
        help_all(stdout);
        return EXIT_DONE;
    }
    const struct command *command = command_find(options->arguments[0]);
    if (!command) {
        return fail(EXIT_USAGE, "help", "there is no command %s", options->arguments[0]);
    }
    help_command(command);
    return EXIT_DONE;
}

/* --- dispatch --- */

static void pause_for(double seconds)
{
    struct timespec left = {.tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&left, NULL);
}

/* On a terminal each look replaces the one before. */
static int watch(const struct command *command, const struct options *options)
{
    bool terminal = isatty(STDOUT_FILENO) && !options->json;
    for (;;) {
        if (terminal) {
            fputs("\033[H\033[2J", stdout);
        }
        int status = command->run(options);
        if (status != EXIT_DONE || ferror(stdout)) {
            return status;
        }
        if (!terminal && !options->json) {
            putchar('\n');
        }
        fflush(stdout);
        pause_for(options->watch_s);
    }
}

static int run(const struct command *command, int argc, char **argv)
{
    struct options options;
    int status = options_read(&options, command->name, command->options, argc, argv);
    if (status != EXIT_DONE) {
        return status;
    }
    if (options.help) {
        help_command(command);
        return EXIT_DONE;
    }
    if (options.argument_count < command->least || options.argument_count > command->most) {
        return fail(EXIT_USAGE, command->name, "usage: shoal %s [OPTION...] %s", command->name, command->arguments);
    }
    return options.watch_s > 0 ? watch(command, &options) : command->run(&options);
}

int commands_main(int argc, char **argv)
{
    if (argc < 2) {
        help_all(stderr);
        return EXIT_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        name = "help";
    } else if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        printf("shoal %s\n", SHOAL_VERSION);
        return EXIT_DONE;
    }
    const struct command *command = command_find(name);
    if (!command) {
        fprintf(stderr, "shoal: there is no command %s: see shoal help\n", name);
        return EXIT_USAGE;
    }
    int status = run(command, argc - 1, argv + 1);
    if (fflush(stdout) != 0 && status == EXIT_DONE) {
        status = fail(EXIT_FAILED, command->name, "can't write to standard output");
    }
    return status;
}
