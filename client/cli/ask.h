/*
 * ask: the admin port's JSON, or the reason why there is none, told to the person and turned into an exit status.
 */
#ifndef SHOAL_CLI_ASK_H
#define SHOAL_CLI_ASK_H

#include <jansson.h>

#include "cli/options.h"

/*
 * EXIT_DONE: *answer is what the port said, to be given back by json_decref(). Else the reason is printed, and the
 * status is the one to end with.
 */
int ask(const struct options *options, const char *command, const char *method, const char *path, json_t **answer);

/* `text` percent-encoded, `/` too. Static: until the next call. */
const char *ask_encoded(const char *text);

/*
 * Calls back for each record of a listing, page by page, at most options->limit of them. Each is borrowed. Returns as
 * ask().
 */
int ask_list(const struct options *options, const char *command, const char *path, const char *name,
             void (*each)(json_t *record, void *context), void *context);

#endif
