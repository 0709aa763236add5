/*
 * completion: scripts for bash, zsh and fish, written from the tables of commands and options. They know the values of
 * an option where these are few, and offer nothing where any may stand.
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

static bool takes(const struct command *command, int option)
{
    return command->options & (1u << option);
}

static void options_of(const struct command *command)
{
    for (int i = 0; i < OPTION_COUNT; i++) {
        if (takes(command, i)) {
            printf(" --%s", cli_options[i].name);
        }
    }
}

/* What an option's argument may be; "": many things. */
static const char *values_of(int option)
{
    switch (option) {
    case OPTION_TYPE:
        return "text json binary";
    case OPTION_FROM:
        return "new last";
    default:
        return "";
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

/* The word after an option with an argument is that; "=" between them is a word of its own to bash. */
static void bash_values(void)
{
    for (int i = 0; i < OPTION_COUNT; i++) {
        if (!cli_options[i].argument) {
            continue;
        }
        printf("        --%s", cli_options[i].name);
        if (cli_options[i].letter) {
            printf(" | -%c", cli_options[i].letter);
        }
        printf(") words='%s' ;;\n", values_of(i));
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
    puts("        esac\n"
         "        local before=${COMP_WORDS[COMP_CWORD - 1]}\n"
         "        [[ $before == = ]] && before=${COMP_WORDS[COMP_CWORD - 2]}\n"
         "        [[ $word == = ]] && word=\n"
         "        case $before in");
    bash_values();
    puts("        esac\n    fi\n    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n}\n"
         "complete -F _shoal shoal");
}

/* Within single quotes: without the full stop, and the brackets that zsh takes for its own. */
static void sentence(const char *text, const char *apostrophe)
{
    for (; *text; text++) {
        if (*text == '\'') {
            fputs(apostrophe, stdout);
        } else if (!strchr("[]`", *text) && !(text[0] == '.' && text[1] == 0)) {
            putchar(*text);
        }
    }
}

static void zsh_sentence(const char *text)
{
    sentence(text, "'\\''");
}

static void fish_sentence(const char *text)
{
    sentence(text, "\\'");
}

/* '(-u --url)'{-u+,--url=}'[help]:URL:(values)': either form, once, an argument behind it or joined to it. */
static void zsh_option(int option)
{
    const struct cli_option_row *row = &cli_options[option];
    if (row->letter) {
        printf("'(-%c --%s)'{-%c%s,--%s%s}'[", row->letter, row->name, row->letter, row->argument ? "+" : "", row->name,
               row->argument ? "=" : "");
    } else {
        printf("'--%s%s[", row->name, row->argument ? "=" : "");
    }
    zsh_sentence(row->help);
    putchar(']');
    if (row->argument) {
        printf(":%s:(%s)", row->argument, values_of(option));
    }
    putchar('\'');
}

static void zsh(void)
{
    puts("#compdef shoal\n# shoal: completion for zsh\n_shoal() {\n    local -a commands\n"
         "    if (( CURRENT == 2 )); then\n        commands=(");
    for (int i = 0; i < command_count; i++) {
        printf("            '%s:", commands[i].name);
        zsh_sentence(commands[i].sentence);
        puts("'");
    }
    puts("        )\n        _describe command commands\n        return\n    fi\n    local command=${words[2]}\n"
         "    shift words\n    (( CURRENT-- ))\n    case $command in");
    for (int i = 0; i < command_count; i++) {
        printf("    %s)\n        _arguments", commands[i].name);
        for (int option = 0; option < OPTION_COUNT; option++) {
            if (takes(&commands[i], option)) {
                printf(" \\\n            ");
                zsh_option(option);
            }
        }
        if (commands[i].most > 0) {
            printf(" \\\n            '*:%s:(", commands[i].arguments);
            words_of(&commands[i]);
            printf(")'");
        }
        puts(" ;;");
    }
    puts("    esac\n}\nif [[ ${funcstack[1]} == _shoal ]]; then\n    _shoal \"$@\" # from $fpath\nelse\n"
         "    compdef _shoal shoal\nfi");
}

static void fish_option(const struct command *command, int option)
{
    const struct cli_option_row *row = &cli_options[option];
    printf("complete -c shoal -n '__fish_seen_subcommand_from %s' -l %s", command->name, row->name);
    if (row->letter) {
        printf(" -s %c", row->letter);
    }
    if (row->argument) {
        printf(" -x -a '%s'", values_of(option));
    }
    printf(" -d '");
    fish_sentence(row->help);
    puts("'");
}

static void fish(void)
{
    puts("# shoal: completion for fish\ncomplete -c shoal -f");
    for (int i = 0; i < command_count; i++) {
        const struct command *command = &commands[i];
        printf("complete -c shoal -n __fish_use_subcommand -a %s -d '", command->name);
        fish_sentence(command->sentence);
        puts("'");
        for (int option = 0; option < OPTION_COUNT; option++) {
            if (takes(command, option)) {
                fish_option(command, option);
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
