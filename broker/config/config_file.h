/*
 * config_file: a configuration file (INI) as a series of calls.
 *
 * Reading is inih's. What it leaves out is added here: the line of each pair, every broken line and not just the first,
 * and lines that would have been cut are told instead.
 *
 *      [section]               section names have at most CONFIG_SECTION_MAX bytes
 *      key = value  ; comment  whole lines have at most CONFIG_LINE_MAX bytes
 *          more of the value   an indented line goes on with the value above: lists only
 *      # comment
 */
#ifndef SHOAL_CONFIG_CONFIG_FILE_H
#define SHOAL_CONFIG_CONFIG_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_LINE_MAX    196     /* inih's own room for a line */
#define CONFIG_SECTION_MAX 49      /* and for a section's name */
#define CONFIG_FILE_MAX    1048576 /* bytes of a file */

/* What is found, in the file's order. Texts are borrowed for the call; they have no spaces around them. */
struct config_file_reader {
    void *user;
    void (*section)(void *user, uint32_t line, const char *section);
    /* `continued`: an indented line that adds to the pair before. Sections of broken headers have no pairs. */
    void (*pair)(void *user, uint32_t line, const char *section, const char *name, const char *value, bool continued);
    void (*broken)(void *user, uint32_t line, const char *why);
};

/* Reads `size` bytes of text. */
void config_file_read(const char *text, size_t size, const struct config_file_reader *reader);

/*
 * Reads a whole file into memory, a NUL behind it: gives *text, to be freed with free(). Returns 0 or -errno; -EFBIG:
 * longer than CONFIG_FILE_MAX.
 */
int config_file_load(const char *path, char **text, size_t *size);

#endif
