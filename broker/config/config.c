/*
 * config: from the sources to a checked configuration.
 *
 *      config_load:  defaults ─▶ file ─▶ environment ─▶ --set ─▶ complete ─▶ rules
 *                       └────────────┴─── pair_set() ──┘
 *
 * Every source becomes calls of pair_set(place, section, key, value). It finds the row, reads the value into
 * its field and notes the origin, or reports what is wrong and goes on: so one run finds all errors.
 */
#include "config/config.h"

#include <ctype.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/check.h"
#include "config/config_file.h"
#include "config/config_keys.h"
#include "config/config_report.h"
#include "config/config_rules.h"
#include "config/config_value.h"

#define VARIABLE_MAX 160 /* bytes of the name of an environment variable that can be ours */

struct loading {
    struct config *config;
    struct config_report *report;
};

static void defaults_set(struct config *config);
static void file_read(struct loading *loading, const struct config_sources *sources);
static void environment_read(struct loading *loading, char *const *environment);
static void set_read(struct loading *loading, const char *text);
static void complete(struct config *config);

struct config *config_load(const struct config_sources *sources, struct config_report *report)
{
    struct config *config = calloc(1, sizeof *config);
    CHECK_MSG(config, "no memory for the configuration");
    struct loading loading = {config, report};
    config_report_start(report);

    defaults_set(config);
    file_read(&loading, sources);
    if (sources->environment)
        environment_read(&loading, sources->environment);
    for (uint32_t i = 0; i < sources->set_count; i++)
        set_read(&loading, sources->sets[i]);
    complete(config);
    config_rules_check(config, report);

    if (report->errors == 0)
        return config;
    config_free(config);
    return NULL;
}

void config_free(struct config *config)
{
    if (config)
        explicit_bzero(config->cluster.redis, sizeof config->cluster.redis);
    free(config);
}

/* --- namespaces by name --- */

/* Names as variables see them: - and _ are one, and so are cases. */
static bool variable_equal(const char *a, const char *b)
{
    for (; *a && *b; a++, b++) {
        int x = *a == '-' ? '_' : tolower((unsigned char)*a);
        int y = *b == '-' ? '_' : tolower((unsigned char)*b);
        if (x != y)
            return false;
    }
    return *a == *b;
}

static struct namespace_config *namespace_find(struct config *config, const char *name)
{
    for (uint32_t i = 0; i < config->namespace_count; i++)
        if (strcmp(config->namespaces[i].name, name) == 0)
            return &config->namespaces[i];
    return NULL;
}

static struct namespace_config *namespace_create(struct config *config, const char *name)
{
    struct namespace_config *space = &config->namespaces[config->namespace_count++];
    char error[CONFIG_VALUE_ERROR_MAX];
    snprintf(space->name, sizeof space->name, "%s", name);
    for (size_t i = 0; i < config_namespace_keys.count; i++) {
        const struct config_key *key = &config_namespace_keys.keys[i];
        CHECK_MSG(config_value_read(key, space, key->standard, error), "%s: %s", key->name, error);
    }
    return space;
}

static bool namespace_name_valid(const char *name)
{
    size_t size = strlen(name);
    if (size == 0 || size > CONFIG_NAMESPACE_NAME_MAX)
        return false;
    for (const char *at = name; *at; at++)
        if (!isalnum((unsigned char)*at) && *at != '-' && *at != '_')
            return false;
    return true;
}

/* The namespace of a name, made if it is new. NULL: it was reported why not. */
static struct namespace_config *namespace_get(struct loading *loading, const struct config_place *place,
                                              const char *name)
{
    struct namespace_config *space = namespace_find(loading->config, name);
    if (space)
        return space;
    if (!namespace_name_valid(name))
        config_report_error(loading->report, place,
                            "'%s' is no name for a namespace: 1 to %d letters, digits, - and _ are allowed", name,
                            CONFIG_NAMESPACE_NAME_MAX);
    else if (loading->config->namespace_count == CONFIG_NAMESPACES_MAX)
        config_report_error(loading->report, place, "namespace %s is one too many: %d are allowed", name,
                            CONFIG_NAMESPACES_MAX);
    else
        return namespace_create(loading->config, name);
    return NULL;
}

/* The NAME of the section "namespace NAME", NULL: it is another section. */
static const char *namespace_of_section(const char *section)
{
    static const char word[] = "namespace";
    if (strncmp(section, word, sizeof word - 1) != 0)
        return NULL;
    const char *name = section + sizeof word - 1;
    return *name == 0 || *name == ' ' || *name == '\t' ? name + strspn(name, " \t") : NULL;
}

/* --- one pair --- */

static void defaults_set(struct config *config)
{
    char error[CONFIG_VALUE_ERROR_MAX];
    for (size_t i = 0; i < config_keys.count; i++) {
        const struct config_key *key = &config_keys.keys[i];
        CHECK_MSG(config_value_read(key, config, key->standard, error), "%s.%s: %s", key->section, key->name, error);
    }
    namespace_create(config, "default");
}

static void unknown_report(struct loading *loading, const struct config_place *place, const struct config_table *table,
                           const char *section, const char *name)
{
    const char *dot = section[0] ? "." : "";
    const struct config_key *nearest = config_key_nearest(table, section, name);
    if (nearest)
        config_report_error(loading->report, place, "there is no key %s%s%s: do you mean %s%s%s?", section, dot, name,
                            nearest->section, nearest->section[0] ? "." : "", nearest->name);
    else
        config_report_error(loading->report, place, "there is no key %s%s%s (--print-config shows all)", section, dot,
                            name);
}

static void value_report(struct loading *loading, const struct config_place *place, const struct config_key *key,
                         const char *value, const char *error)
{
    bool secret = key->flags & CONFIG_SECRET;
    config_report_error(loading->report, place, "%s%s%s: '%.120s' is not valid: %s", key->section,
                        key->section[0] ? "." : "", key->name, secret ? "***" : value, error);
}

/* Reads the value into a row's field, unless the file has it twice. */
static void row_set(struct loading *loading, const struct config_place *place, const struct config_key *key, void *base,
                    struct config_origin *origin, const char *value, bool continued)
{
    char error[CONFIG_VALUE_ERROR_MAX];
    bool list = key->kind == CONFIG_LIST;
    bool again = place->origin.source == CONFIG_FROM_FILE && origin->source == CONFIG_FROM_FILE;
    if (continued && !list) {
        config_report_error(loading->report, place,
                            "an indented line goes on with the value above (%s), and that is not a list", key->name);
        return;
    }
    if (again && !list) {
        config_report_error(loading->report, place, "%s was set in line %u already", key->name, origin->line);
        return;
    }
    bool read =
        again && list ? config_value_append(key, base, value, error) : config_value_read(key, base, value, error);
    if (read)
        *origin = place->origin;
    else
        value_report(loading, place, key, value, error);
}

static void namespace_pair_set(struct loading *loading, const struct config_place *place, const char *space_name,
                               const char *name, const char *value, bool continued)
{
    struct namespace_config *space = namespace_get(loading, place, space_name);
    if (!space)
        return;
    size_t row = config_key_find(&config_namespace_keys, "", name);
    if (row == CONFIG_KEY_NONE)
        unknown_report(loading, place, &config_namespace_keys, "", name);
    else
        row_set(loading, place, &config_namespace_keys.keys[row], space, &space->origins[row], value, continued);
}

static void pair_set(struct loading *loading, const struct config_place *place, const char *section, const char *name,
                     const char *value, bool continued)
{
    size_t row = config_key_find(&config_keys, section, name);
    if (row == CONFIG_KEY_NONE)
        unknown_report(loading, place, &config_keys, section, name);
    else
        row_set(loading, place, &config_keys.keys[row], loading->config, &loading->config->origins[row], value,
                continued);
}

/* --- the file --- */

static struct config_place place_in_file(const struct loading *loading, uint32_t line)
{
    return (struct config_place){{CONFIG_FROM_FILE, line}, loading->config->file};
}

static void file_broken(void *user, uint32_t line, const char *why)
{
    struct loading *loading = user;
    struct config_place place = place_in_file(loading, line);
    config_report_error(loading->report, &place, "%s", why);
}

static void file_section(void *user, uint32_t line, const char *section)
{
    struct loading *loading = user;
    struct config_place place = place_in_file(loading, line);
    const char *name = namespace_of_section(section);
    if (name) {
        namespace_get(loading, &place, name);
        return;
    }
    if (config_section_known(section))
        return;
    const char *nearest = config_section_nearest(section);
    if (nearest)
        config_report_error(loading->report, &place, "there is no section [%s]: do you mean [%s]?", section, nearest);
    else
        config_report_error(loading->report, &place, "there is no section [%s] (--print-config shows all)", section);
}

static void file_pair(void *user, uint32_t line, const char *section, const char *name, const char *value,
                      bool continued)
{
    struct loading *loading = user;
    struct config_place place = place_in_file(loading, line);
    const char *space = namespace_of_section(section);
    if (space && namespace_name_valid(space))
        namespace_pair_set(loading, &place, space, name, value, continued);
    else if (!space && config_section_known(section))
        pair_set(loading, &place, section, name, value, continued);
    else if (section[0] == 0)
        config_report_error(loading->report, &place, "%s stands before the first [section]", name);
    /* else: the section was reported, once is enough */
}

static void file_read(struct loading *loading, const struct config_sources *sources)
{
    const struct config_file_reader reader = {loading, file_section, file_pair, file_broken};
    char *text = NULL;
    size_t size = 0;
    if (!sources->file && !sources->file_text)
        return;
    snprintf(loading->config->file, sizeof loading->config->file, "%s", sources->file ? sources->file : "(text)");
    if (sources->file_text) {
        config_file_read(sources->file_text, strlen(sources->file_text), &reader);
        return;
    }
    int result = config_file_load(sources->file, &text, &size);
    struct config_place place = place_in_file(loading, 0);
    if (result < 0)
        config_report_error(loading->report, &place, "can't be read: %s", strerror(-result));
    else
        config_file_read(text, size, &reader);
    free(text);
}

/* --- the environment --- */

/* Whether a variable is called SHOAL_SECTION_KEY. */
static bool variable_is_key(const char *variable, const struct config_key *key)
{
    char name[VARIABLE_MAX];
    snprintf(name, sizeof name, "SHOAL_%s_%s", key->section, key->name);
    for (char *at = name; *at; at++)
        *at = (char)toupper((unsigned char)*at);
    return strcmp(variable, name) == 0;
}

/* The key whose name a variable ends in, and how many bytes stand before it. NULL: none. */
static const struct config_key *variable_namespace_key(const char *rest, size_t *name_size)
{
    const struct config_key *found = NULL;
    size_t size = strlen(rest);
    for (size_t i = 0; i < config_namespace_keys.count; i++) {
        const struct config_key *key = &config_namespace_keys.keys[i];
        size_t key_size = strlen(key->name);
        bool ends = size > key_size + 1 && rest[size - key_size - 1] == '_' &&
                    strcasecmp(rest + size - key_size, key->name) == 0;
        if (ends && (!found || key_size > strlen(found->name)))
            found = key;
    }
    if (found)
        *name_size = size - strlen(found->name) - 1;
    return found;
}

/* SHOAL_NAMESPACE_NAME_KEY: the name is that of a namespace of the file, or in lower case if there is none. */
static void variable_namespace_read(struct loading *loading, const struct config_place *place, const char *rest,
                                    const char *value)
{
    size_t size;
    const struct config_key *key = variable_namespace_key(rest, &size);
    if (!key) {
        config_report_warning(loading->report, place, "no key of a namespace is called so: it is not used");
        return;
    }
    char name[VARIABLE_MAX];
    snprintf(name, sizeof name, "%.*s", (int)size, rest);
    for (char *at = name; *at; at++)
        *at = (char)tolower((unsigned char)*at);
    for (uint32_t i = 0; i < loading->config->namespace_count; i++)
        if (variable_equal(loading->config->namespaces[i].name, name))
            snprintf(name, sizeof name, "%s", loading->config->namespaces[i].name);
    namespace_pair_set(loading, place, name, key->name, value, false);
}

/* A variable that looks like ours but names no key: only a warning, since others may set such names too. */
static void variable_unknown(struct loading *loading, const struct config_place *place, const char *rest)
{
    const char *bar = strchr(rest, '_');
    char section[VARIABLE_MAX];
    char name[VARIABLE_MAX];
    if (!bar)
        return;
    snprintf(section, sizeof section, "%.*s", (int)(bar - rest), rest);
    snprintf(name, sizeof name, "%s", bar + 1);
    for (char *at = section; *at; at++)
        *at = (char)tolower((unsigned char)*at);
    if (!config_section_known(section))
        return;
    const struct config_key *nearest = config_key_nearest(&config_keys, section, name);
    if (nearest)
        config_report_warning(loading->report, place, "no key is called so: do you mean the one of %s.%s?",
                              nearest->section, nearest->name);
    else
        config_report_warning(loading->report, place, "no key is called so: it is not used");
}

static void variable_read(struct loading *loading, const char *variable, const char *value)
{
    static const char namespace_prefix[] = "SHOAL_NAMESPACE_";
    struct config_place place = {{CONFIG_FROM_ENVIRONMENT, 0}, variable};
    if (strncmp(variable, namespace_prefix, sizeof namespace_prefix - 1) == 0) {
        variable_namespace_read(loading, &place, variable + sizeof namespace_prefix - 1, value);
        return;
    }
    for (size_t i = 0; i < config_keys.count; i++)
        if (variable_is_key(variable, &config_keys.keys[i])) {
            pair_set(loading, &place, config_keys.keys[i].section, config_keys.keys[i].name, value, false);
            return;
        }
    variable_unknown(loading, &place, variable + strlen("SHOAL_"));
}

/* Copies text without the spaces around it. Gives a string for free(). */
static char *trimmed(const char *text)
{
    text += strspn(text, " \t\r\n");
    size_t size = strlen(text);
    while (size > 0 && strchr(" \t\r\n", text[size - 1]))
        size--;
    char *copy = strndup(text, size);
    CHECK_MSG(copy, "no memory for the configuration");
    return copy;
}

static void environment_read(struct loading *loading, char *const *environment)
{
    for (; *environment; environment++) {
        const char *equals = strchr(*environment, '=');
        if (strncmp(*environment, "SHOAL_", 6) != 0 || !equals || equals - *environment >= VARIABLE_MAX)
            continue;
        char name[VARIABLE_MAX];
        snprintf(name, sizeof name, "%.*s", (int)(equals - *environment), *environment);
        char *value = trimmed(equals + 1);
        variable_read(loading, name, value);
        free(value);
    }
}

/* --- the command line --- */

/* `name`: "section.key" or "namespace.NAME.key", cut into its parts. */
static void set_apply(struct loading *loading, const struct config_place *place, char *name, const char *value)
{
    static const char namespace_prefix[] = "namespace.";
    bool space = strncmp(name, namespace_prefix, sizeof namespace_prefix - 1) == 0;
    char *section = space ? name + sizeof namespace_prefix - 1 : name;
    char *dot = strrchr(section, '.');
    if (!dot) {
        config_report_error(loading->report, place, "write it as section.key=value, or namespace.NAME.key=value");
        return;
    }
    *dot = 0;
    if (space)
        namespace_pair_set(loading, place, section, dot + 1, value, false);
    else
        pair_set(loading, place, section, dot + 1, value, false);
}

static void set_read(struct loading *loading, const char *text)
{
    char *copy = trimmed(text);
    char *equals = strchr(copy, '=');
    char *name = equals ? strndup(copy, (size_t)(equals - copy)) : strdup(copy);
    char *value = equals ? trimmed(equals + 1) : NULL;
    CHECK_MSG(name, "no memory for the configuration");
    name[strcspn(name, " \t")] = 0;
    char *shown = strdup(name); /* without the value, which may be secret; set_apply() cuts the name */
    CHECK_MSG(shown, "no memory for the configuration");
    struct config_place place = {{CONFIG_FROM_SET, 0}, shown};
    if (value)
        set_apply(loading, &place, name, value);
    else
        config_report_error(loading->report, &place, "write it as section.key=value");
    free(shown);
    free(value);
    free(name);
    free(copy);
}

/* --- what follows from the rest --- */

/* Longest prefix first, so that the first that fits is the one; then by name, so that the order is always the same. */
static int namespace_compare(const void *a, const void *b)
{
    const struct namespace_config *x = a;
    const struct namespace_config *y = b;
    size_t x_size = strlen(x->prefix);
    size_t y_size = strlen(y->prefix);
    if (x_size != y_size)
        return x_size < y_size ? 1 : -1;
    return strcmp(x->name, y->name);
}

static void complete(struct config *config)
{
    if (!config->broker.node[0] && gethostname(config->broker.node, sizeof config->broker.node - 1) != 0)
        snprintf(config->broker.node, sizeof config->broker.node, "unnamed");
    for (uint32_t i = 0; i < config->namespace_count; i++)
        if (config->namespaces[i].payload_bytes_max == CONFIG_AUTO)
            config->namespaces[i].payload_bytes_max = config->limits.message_bytes;
    qsort(config->namespaces, config->namespace_count, sizeof *config->namespaces, namespace_compare);
}

/* --- reloading --- */

static void fixed_key_keep(struct config *config, const struct config *running, size_t row,
                           struct config_report *report)
{
    const struct config_key *key = &config_keys.keys[row];
    if (key->flags & CONFIG_RELOADS)
        return;
    if (!config_value_equal(key, config, running)) {
        config_report_warning(report, NULL, "%s.%s can't change while running: the change waits for a restart",
                              key->section, key->name);
    }
    config_value_copy(key, config, running);
    config->origins[row] = running->origins[row];
}

/* A running namespace with those of its keys that may change taken from the one read now. */
static void namespace_update(struct namespace_config *space, const struct namespace_config *read,
                             struct config_report *report)
{
    for (size_t i = 0; i < config_namespace_keys.count; i++) {
        const struct config_key *key = &config_namespace_keys.keys[i];
        if (key->flags & CONFIG_RELOADS) {
            config_value_copy(key, space, read);
            space->origins[i] = read->origins[i];
        } else if (!config_value_equal(key, space, read)) {
            config_report_warning(report, NULL,
                                  "namespace %s: %s can't change while running: the change waits for a restart",
                                  space->name, key->name);
        }
    }
}

/* The running namespaces in their places, updated. */
static void namespaces_keep(struct config *config, const struct config *running, struct config_report *report)
{
    struct config *read = malloc(sizeof *read);
    CHECK_MSG(read, "no memory for the configuration");
    *read = *config;
    config->namespace_count = running->namespace_count;
    memcpy(config->namespaces, running->namespaces, sizeof running->namespaces);
    for (uint32_t i = 0; i < config->namespace_count; i++) {
        struct namespace_config *space = &config->namespaces[i];
        const struct namespace_config *now = namespace_find(read, space->name);
        if (now)
            namespace_update(space, now, report);
        else
            config_report_warning(report, NULL, "namespace %s can't go while running: it stays until a restart",
                                  space->name);
        if (space->payload_bytes_max > config->limits.message_bytes)
            space->payload_bytes_max = config->limits.message_bytes;
    }
    for (uint32_t i = 0; i < read->namespace_count; i++)
        if (!namespace_find(config, read->namespaces[i].name))
            config_report_warning(report, NULL, "namespace %s can't come while running: it waits for a restart",
                                  read->namespaces[i].name);
    config_free(read);
}

struct config *config_reload(const struct config *running, const struct config_sources *sources,
                             struct config_report *report)
{
    struct config *config = config_load(sources, report);
    if (!config)
        return NULL;
    for (size_t i = 0; i < config_keys.count; i++)
        fixed_key_keep(config, running, i, report);
    namespaces_keep(config, running, report);
    config_rules_check(config, report); /* of what will really hold: kept and new values may contradict */
    if (report->errors == 0)
        return config;
    config_free(config);
    return NULL;
}

/* --- questions --- */

const struct namespace_config *config_namespace_of(const struct config *config, struct span topic)
{
    for (uint32_t i = 0; i < config->namespace_count; i++) {
        const struct namespace_config *space = &config->namespaces[i];
        size_t size = strlen(space->prefix);
        if (size <= topic.size && memcmp(space->prefix, topic.data, size) == 0)
            return space;
    }
    UNREACHABLE(); /* `default` has the empty prefix */
}

/* At most CONFIG_SHARDS_MAX. */
static uint32_t usable_processors(void)
{
    cpu_set_t processors;
    if (sched_getaffinity(0, sizeof processors, &processors) != 0)
        return 1;
    int count = CPU_COUNT(&processors);
    return count > CONFIG_SHARDS_MAX ? CONFIG_SHARDS_MAX : (uint32_t)count;
}

uint32_t config_shards(const struct config *config)
{
    return config->broker.shards != CONFIG_AUTO ? config->broker.shards : usable_processors();
}

uint32_t config_threads(const struct config *config)
{
    uint32_t shards = config_shards(config);
    uint32_t threads = config->broker.threads != CONFIG_AUTO ? config->broker.threads : usable_processors();
    return threads < shards ? threads : shards;
}

uint32_t config_connections_per_address(const struct config *config)
{
    if (config->limits.connections_per_address != CONFIG_AUTO)
        return config->limits.connections_per_address;
    return config->listen.address.loopback ? 0 : 1000;
}

bool config_has_key(const struct config *config)
{
    return config->auth.hs256_key_file[0] || config->auth.rs256_key_file[0];
}
