/*
 * error: the tables behind the words of shoal.h, and positions as text. Pure; any thread.
 */
#include <stdio.h>

#include "protocol/dialect.h"
#include <shoal.h>

static const struct {
    const char *name;
    const char *sentence;
    enum shoal_retry retry;
} rows[SHOAL_ERROR_COUNT] = {[SHOAL_OK] = {"ok", "Nothing is wrong.", SHOAL_RETRY_NEVER},
#define ROW(error, when, text, words) [SHOAL_ERROR_##error] = {text, words, SHOAL_RETRY_##when},
                             SHOAL_ERRORS(ROW)
#undef ROW
};

/* A number that is not in the table came from a newer library's header: treated as the last row. */
static enum shoal_error row_of(enum shoal_error error)
{
    return (unsigned)error < SHOAL_ERROR_COUNT ? error : SHOAL_ERROR_BROKER;
}

const char *shoal_version(void)
{
    return SHOAL_VERSION;
}

const char *shoal_error_name(enum shoal_error error)
{
    return rows[row_of(error)].name;
}

const char *shoal_error_message(enum shoal_error error)
{
    return rows[row_of(error)].sentence;
}

enum shoal_retry shoal_error_retry(enum shoal_error error)
{
    return rows[row_of(error)].retry;
}

const char *shoal_gap_reason_name(enum shoal_gap_reason reason)
{
    static const char *const names[] = {"slow", "expired", "epoch", "filter"};
    return (unsigned)reason < sizeof names / sizeof names[0] ? names[reason] : "unknown";
}

void shoal_position_write(struct shoal_position position, char text[SHOAL_POSITION_TEXT_SIZE])
{
    snprintf(text, SHOAL_POSITION_TEXT_SIZE, "%016llx:%llu", (unsigned long long)position.epoch,
             (unsigned long long)position.offset);
}

enum shoal_error shoal_position_read(const char *text, struct shoal_position *position)
{
    struct shoal_position read;
    if (!text || !position || !position_read((struct span){text, strlen(text)}, &read.epoch, &read.offset))
        return SHOAL_ERROR_ARGUMENT;
    *position = read;
    return SHOAL_OK;
}
