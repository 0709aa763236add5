/*
 * command: look-ups in the tables of the header.
 */
#include "protocol/command.h"

#include <assert.h>

struct error_row {
    const char *code;
    const char *message;
    bool retry;
};

static const struct error_row error_rows[REPLY_ERROR_COUNT] = {
#define X(name, code, retry, message) [REPLY_##name] = {code, message, retry},
    REPLY_ERRORS(X)
#undef X
};

static const struct error_row *error_row(enum reply_error error)
{
    assert(error > REPLY_OK && error < REPLY_ERROR_COUNT);
    return &error_rows[error];
}

const char *reply_error_code(enum reply_error error)
{
    return error_row(error)->code;
}

bool reply_error_retry(enum reply_error error)
{
    return error_row(error)->retry;
}

const char *reply_error_message(enum reply_error error)
{
    return error_row(error)->message;
}

const char *gap_reason_name(enum gap_reason reason)
{
    switch (reason) {
    case GAP_SLOW:
        return "slow";
    case GAP_EXPIRED:
        return "expired";
    case GAP_EPOCH:
        return "epoch";
    }
    assert(!"a reason of the enum");
    return "";
}
