/*
 * config_value: one value, from text and to text, by its key's kind.
 *
 * What is written by config_value_write() reads back to the same value: times and sizes are shown in the key's own
 * unit, and text that the file's syntax would change is refused when it is read.
 */
#ifndef SHOAL_CONFIG_CONFIG_VALUE_H
#define SHOAL_CONFIG_CONFIG_VALUE_H

#include "config/config.h"
#include "config/config_keys.h"

#define CONFIG_VALUE_ERROR_MAX 512

/*
 * Reads `text` (no spaces around it) into the key's field of `base`, the struct that holds it. False: `error` says what
 * is allowed, and the field is as it was.
 */
bool config_value_read(const struct config_key *key, void *base, const char *text, char error[CONFIG_VALUE_ERROR_MAX]);

/* Adds an element to a list (CONFIG_LIST). As config_value_read(). */
bool config_value_append(const struct config_key *key, void *base, const char *text,
                         char error[CONFIG_VALUE_ERROR_MAX]);

/* The value as it would be written in a file, at most CONFIG_LIST_MAX bytes and a NUL. Passwords are shown. */
void config_value_write(const struct config_key *key, const void *base, char out[CONFIG_LIST_MAX + 1]);

bool config_value_equal(const struct config_key *key, const void *base, const void *other);
void config_value_copy(const struct config_key *key, void *base, const void *other);

#endif
