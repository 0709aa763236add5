/*
 * config_file: feeds inih line by line, and watches what it makes of each.
 *
 * inih asks for a line (next_line), then calls back if it found a pair in it (pair_found). So the line of a pair is the
 * one that was given last; and if a line that has to be a pair brought no call before the next one is asked for, it was
 * broken.
 */
#include "config/config_file.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SPACES " \t\r\n\v\f"

enum line_kind { LINE_EMPTY, LINE_SECTION, LINE_CONTINUED, LINE_PAIR };

struct reading {
    const struct config_file_reader *reader;
    const char *at; /* what is not read yet */
    const char *end;
    uint32_t line;       /* of the line given last */
    enum line_kind kind; /* of the same */
    bool seen;           /* a pair was found in it */
    bool after_pair;     /* an indented line goes on with a pair */
    bool skipping;       /* the section's header was broken */
};

/* A line that has to be a pair and is none. */
static void line_settle(struct reading *reading)
{
    bool pair = reading->kind == LINE_PAIR || reading->kind == LINE_CONTINUED;
    if (pair && !reading->seen)
        reading->reader->broken(reading->reader->user, reading->line, "this is neither [section] nor key = value");
    reading->kind = LINE_EMPTY;
}

static void section_found(struct reading *reading, const char *header)
{
    char section[CONFIG_SECTION_MAX + 1];
    size_t size = strcspn(header, "]\r\n");
    const char *comment = memmem(header, size, " ;", 2);
    reading->skipping = true;
    reading->after_pair = false;
    if (header[size] != ']' || comment)
        reading->reader->broken(reading->reader->user, reading->line, "a section ends with ]");
    else if (size > CONFIG_SECTION_MAX)
        reading->reader->broken(reading->reader->user, reading->line, "a section's name is at most 49 bytes long");
    else {
        memcpy(section, header, size);
        section[size] = 0;
        reading->skipping = false;
        reading->reader->section(reading->reader->user, reading->line, section);
    }
}

/* The same rules as inih's: comments first, then indented lines, then sections. */
static enum line_kind kind_of(const struct reading *reading, const char *line)
{
    const char *text = line + strspn(line, SPACES);
    if (!*text || strchr(";#", *text))
        return LINE_EMPTY;
    if (text > line && reading->after_pair)
        return LINE_CONTINUED;
    return *text == '[' ? LINE_SECTION : LINE_PAIR;
}

/* inih's fgets(): the next line, NULL at the end. A line that is too long or binary is told, and given as an empty one.
 */
static char *next_line(char *buffer, int room, void *user)
{
    struct reading *reading = user;
    line_settle(reading);
    if (reading->at == reading->end)
        return NULL;
    const char *newline = memchr(reading->at, '\n', (size_t)(reading->end - reading->at));
    size_t size = (size_t)((newline ? newline : reading->end) - reading->at);
    const char *line = reading->at;
    reading->at += size + (newline ? 1 : 0);
    reading->line++;
    reading->seen = false;

    bool binary = memchr(line, 0, size) != NULL;
    bool fits = size <= CONFIG_LINE_MAX && (int)size + 2 <= room;
    if (binary || !fits) {
        reading->reader->broken(reading->reader->user, reading->line,
                                binary ? "this is not text"
                                       : "a line is at most 196 bytes long; lists may go on in indented lines");
        size = 0;
    }
    memcpy(buffer, line, size);
    memcpy(buffer + size, "\n", 2);
    const char *text = buffer;
    if (reading->line == 1 && strncmp(text, "\xef\xbb\xbf", 3) == 0) /* a byte order mark: inih skips it too */
        text += 3;
    reading->kind = kind_of(reading, text);
    if (reading->kind == LINE_SECTION)
        section_found(reading, text + strspn(text, SPACES) + 1);
    return buffer;
}

static int pair_found(void *user, const char *section, const char *name, const char *value)
{
    struct reading *reading = user;
    reading->seen = true;
    reading->after_pair = name[0] != 0; /* inih's condition for going on */
    if (!reading->skipping)
        reading->reader->pair(reading->reader->user, reading->line, section, name, value,
                              reading->kind == LINE_CONTINUED);
    return 1;
}

void config_file_read(const char *text, size_t size, const struct config_file_reader *reader)
{
    struct reading reading = {.reader = reader, .at = text, .end = text + size};
    ini_parse_stream(next_line, &reading, pair_found, &reading);
    line_settle(&reading);
}

/* Reads up to `room` bytes. Returns how many, or -errno. */
static ssize_t read_all(int fd, char *buffer, size_t room)
{
    size_t size = 0;
    while (size < room) {
        ssize_t got = read(fd, buffer + size, room - size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        size += (size_t)got;
    }
    return (ssize_t)size;
}

int config_file_load(const char *path, char **text, size_t *size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t result = -ENOMEM;
    char *buffer = malloc(CONFIG_FILE_MAX + 1);
    if (!buffer)
        goto done;
    result = read_all(fd, buffer, CONFIG_FILE_MAX + 1);
    if (result > CONFIG_FILE_MAX)
        result = -EFBIG;
    if (result < 0)
        goto done;
    buffer[result] = 0;
    *text = buffer;
    *size = (size_t)result;
    buffer = NULL;
    result = 0;
done:
    free(buffer);
    close(fd);
    return (int)result;
}
