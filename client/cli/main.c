/*
 * shoal: the command line: publish, subscribe, and all that an operator inspects or changes. commands.h has the word.
 */
#include <signal.h>

#include "cli/commands.h"

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_DFL); /* `shoal topics | head` ends quietly */
    return commands_main(argc, argv);
}
