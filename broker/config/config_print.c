/*
 * config_print: the effective configuration, as a file.
 *
 *      [listen]
 *      # Where clients connect: …  (shoal.ini:3)
 *      address = 0.0.0.0:7070
 *
 * Reads back to the same configuration, but for passwords, and but for strings that are too long for a line of a file
 * (CONFIG_LINE_MAX) and can come from the environment or --set only.
 */
#include <ctype.h>
#include <string.h>

#include "config/config.h"
#include "config/config_keys.h"
#include "config/config_value.h"

static void variable_print(FILE *out, const char *section, const char *name, const char *key)
{
    const char *parts[] = {"SHOAL", section, name, key};
    for (size_t i = 0; i < 4; i++) {
        if (i && parts[i][0])
            fputc('_', out);
        for (const char *at = parts[i]; *at; at++)
            fputc(*at == '-' ? '_' : toupper((unsigned char)*at), out);
    }
}

/* `name`: of a namespace, "" for the other sections. */
static void origin_print(FILE *out, const struct config *config, struct config_origin origin, const char *section,
                         const char *name, const char *key)
{
    switch (origin.source) {
    case CONFIG_FROM_DEFAULT:
        fputs("default", out);
        break;
    case CONFIG_FROM_FILE:
        fprintf(out, "%s:%u", config->file, origin.line);
        break;
    case CONFIG_FROM_ENVIRONMENT:
        variable_print(out, section, name, key);
        break;
    case CONFIG_FROM_SET:
        fputs("--set", out);
        break;
    }
}

/* Prints a URL with *** for its password: what stands between the first colon behind the scheme and the last @. */
static void url_print(FILE *out, const char *url, size_t size)
{
    const char *scheme = memmem(url, size, "://", 3);
    const char *at = memrchr(url, '@', size);
    const char *user = scheme ? scheme + 3 : url;
    const char *colon = at && at > user ? memchr(user, ':', (size_t)(at - user)) : NULL;
    if (colon)
        fprintf(out, "%.*s***%.*s", (int)(colon + 1 - url), url, (int)(url + size - at), at);
    else
        fprintf(out, "%.*s", (int)size, url);
}

/* One word a line, so that long lists fit. */
static void list_print(FILE *out, const char *list, bool secret)
{
    for (const char *at = list; *at;) {
        size_t size = strcspn(at, " ");
        if (secret)
            url_print(out, at, size);
        else
            fprintf(out, "%.*s", (int)size, at);
        at += size + (at[size] == ' ');
        if (*at)
            fputs("\n    ", out);
    }
}

static void value_print(FILE *out, const struct config_key *key, const void *base)
{
    char value[CONFIG_LIST_MAX + 1];
    config_value_write(key, base, value);
    fprintf(out, "%s = ", key->name);
    if (key->kind == CONFIG_LIST)
        list_print(out, value, key->flags & CONFIG_SECRET);
    else
        fputs(value, out);
    fputs("\n", out);
}

static void key_print(FILE *out, const struct config *config, const struct config_key *key, const void *base,
                      struct config_origin origin, const char *section, const char *name)
{
    fprintf(out, "# %s  (", key->help);
    origin_print(out, config, origin, section, name, key->name);
    fputs(")\n", out);
    value_print(out, key, base);
}

static void namespace_print(FILE *out, const struct config *config, const struct namespace_config *space)
{
    fprintf(out, "\n[namespace %s]\n", space->name);
    for (size_t i = 0; i < config_namespace_keys.count; i++)
        key_print(out, config, &config_namespace_keys.keys[i], space, space->origins[i], "namespace", space->name);
}

void config_print(const struct config *config, FILE *out)
{
    const char *section = "";
    for (size_t i = 0; i < config_keys.count; i++) {
        const struct config_key *key = &config_keys.keys[i];
        if (strcmp(section, key->section) != 0) {
            fprintf(out, "%s[%s]\n", i ? "\n" : "", key->section);
            section = key->section;
        }
        key_print(out, config, key, config, config->origins[i], section, "");
    }
    for (uint32_t i = 0; i < config->namespace_count; i++)
        namespace_print(out, config, &config->namespaces[i]);
}
