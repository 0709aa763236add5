/*
 * completion: scripts for bash, zsh and fish, written from the tables of commands and options.
 */
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"

static void names(const char *between)
{
    for (int i = 0; i < command_count; i++) {
        printf("%s%s", i ? between : "", commands[i].name);
    }
}

static void options_of(const struct command *command)
{
    for (int i = 0; i < OPTION_COUNT; i++) {
        if (command->options & (1u << i)) {
            printf(" --%s", cli_options[i].name);
        }
    }
}

/* What `help` and `completion` take. */
static void words_of(const struct command *command)
{
    if (strcmp(command->name, "help") == 0) {
        putchar(' ');
        names(" ");
    } else if (strcmp(command->name, "completion") == 0) {
        fputs(" bash zsh fish", stdout);
    }
}

static void bash(void)
{
    puts("# shoal: completion for bash\n_shoal()\n{\n    local word=${COMP_WORDS[COMP_CWORD]} words=");
    printf("    if [[ $COMP_CWORD == 1 ]]; then\n        words='");
    names(" ");
    printf("'\n    else\n        case ${COMP_WORDS[1]} in\n");
    for (int i = 0; i < command_count; i++) {
        printf("        %s) words='", commands[i].name);
        options_of(&commands[i]);
        words_of(&commands[i]);
        puts("' ;;");
    }
    puts("        esac\n    fi\n    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n}\n"
         "complete -F _shoal shoal");
}

/* Without the full stop, and with what zsh and fish would take for quotes doubled or left out. */
static void sentence(const char *text)
{
    for (; *text; text++) {
        if (!strchr("'[]`", *text) && !(text[0] == '.' && text[1] == 0)) {
            putchar(*text);
        }
    }
}

static void zsh(void)
{
    puts("#compdef shoal\n# shoal: completion for zsh\n_shoal() {\n    local -a commands\n"
         "    if (( CURRENT == 2 )); then\n        commands=(");
    for (int i = 0; i < command_count; i++) {
        printf("            '%s:", commands[i].name);
        sentence(commands[i].sentence);
        puts("'");
    }
    puts("        )\n        _describe command commands\n        return\n    fi\n    case ${words[2]} in");
    for (int i = 0; i < command_count; i++) {
        printf("    %s) compadd --", commands[i].name);
        options_of(&commands[i]);
        words_of(&commands[i]);
        puts(" ;;");
    }
    puts("    esac\n}\n_shoal \"$@\"");
}

static void fish(void)
{
    puts("# shoal: completion for fish\ncomplete -c shoal -f");
    for (int i = 0; i < command_count; i++) {
        const struct command *command = &commands[i];
        printf("complete -c shoal -n __fish_use_subcommand -a %s -d '", command->name);
        sentence(command->sentence);
        puts("'");
        for (int option = 0; option < OPTION_COUNT; option++) {
            if (command->options & (1u << option)) {
                printf("complete -c shoal -n '__fish_seen_subcommand_from %s' -l %s%s -d '", command->name,
                       cli_options[option].name, cli_options[option].argument ? " -x" : "");
                sentence(cli_options[option].help);
                puts("'");
            }
        }
    }
    printf("complete -c shoal -n '__fish_seen_subcommand_from completion' -a 'bash zsh fish'\n"
           "complete -c shoal -n '__fish_seen_subcommand_from help' -a '");
    names(" ");
    puts("'");
}

int command_completion(const struct options *options)
{
    static const struct {
        const char *name;
        void (*print)(void);
    } shells[] = {{"bash", bash}, {"zsh", zsh}, {"fish", fish}};
    for (size_t i = 0; i < sizeof shells / sizeof *shells; i++) {
        if (strcmp(options->arguments[0], shells[i].name) == 0) {
            shells[i].print();
            return EXIT_DONE;
        }
    }
    return fail(EXIT_USAGE, "completion", "there is none for %s: bash, zsh, fish", options->arguments[0]);
}
