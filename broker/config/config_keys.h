/*
 * config_keys: the table of all keys. What can be configured, how it is read, shown and explained follows from here.
 *
 * A row tells where the value stands in struct config (or in struct namespace_config: its keys have a table of their
 * own), so one piece of code reads, prints and compares all of them by kind.
 */
#ifndef SHOAL_CONFIG_CONFIG_KEYS_H
#define SHOAL_CONFIG_CONFIG_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum config_kind {
    CONFIG_BOOL,         /* bool: true, false (yes, no, on, off) */
    CONFIG_NUMBER,       /* uint32_t */
    CONFIG_BYTES,        /* uint32_t: K, M, G (powers of 1024) */
    CONFIG_BYTES64,      /* uint64_t: the same */
    CONFIG_SECONDS,      /* uint32_t: ms, s, m, h */
    CONFIG_MILLISECONDS, /* uint32_t: the same */
    CONFIG_CHOICE,       /* int, an enum: one of `choices` */
    CONFIG_STRING,       /* config_string */
    CONFIG_LIST,         /* config_list */
    CONFIG_ADDRESS,      /* struct config_address */
};

enum config_key_flag {
    CONFIG_RELOADS = 1,      /* can change while running */
    CONFIG_ALLOWS_AUTO = 2,  /* CONFIG_NUMBER and CONFIG_BYTES: "auto" is CONFIG_AUTO */
    CONFIG_POWER_OF_TWO = 4, /* CONFIG_NUMBER */
    CONFIG_SECRET = 8,       /* may hold passwords (in URLs) */
};

struct config_key {
    const char *section; /* "" in the table of a namespace's keys */
    const char *name;
    enum config_kind kind;
    unsigned flags;
    size_t offset; /* in struct config, or in struct namespace_config */
    size_t size;
    const char *standard; /* the default, as it would be written */
    uint64_t min;         /* numbers: the least allowed */
    uint64_t max;
    const char *const *choices; /* CONFIG_CHOICE: ends in NULL; the index is the value */
    const char *help;           /* one sentence */
};

struct config_table {
    const struct config_key *keys;
    size_t count;
};

extern const struct config_table config_keys;           /* of struct config */
extern const struct config_table config_namespace_keys; /* of struct namespace_config */

#define CONFIG_KEY_NONE SIZE_MAX

/* The row of a key, CONFIG_KEY_NONE: there is no such key. */
size_t config_key_find(const struct config_table *table, const char *section, const char *name);

/* Whether any key has this section. */
bool config_section_known(const char *section);

/* The key, or the section, that was probably meant. NULL: none is near. Borrowed. */
const struct config_key *config_key_nearest(const struct config_table *table, const char *section, const char *name);
const char *config_section_nearest(const char *section);

#endif
