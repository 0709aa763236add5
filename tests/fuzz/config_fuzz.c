/*
 * config_fuzz: configurations.
 *
 * The input is texts with NULs between them: first the file, then by turns a variable of the environment and a --set.
 *
 * Checked beside what the sanitizers see: there is a configuration or an error, never both nor neither; what is
 * printed reads back to the same; a configuration that is read again while it runs changes nothing.
 */
#include "fuzz.h"

#include "config/config.h"
#include "config/config_file.h"

#define TEXTS_MAX 16

static struct config_report report;

struct texts {
    char *file;
    char *variables[TEXTS_MAX + 1]; /* ends in NULL */
    const char *sets[TEXTS_MAX];
    uint32_t set_count;
};

/* Cuts the input, which ends in a NUL, at its NULs. */
static void texts_cut(struct texts *texts, char *input, size_t size)
{
    uint32_t variable_count = 0;
    *texts = (struct texts){.file = input};
    size_t at = strlen(input) + 1;
    for (unsigned i = 0; at < size && i < 2 * TEXTS_MAX; i++) {
        if (i % 2)
            texts->sets[texts->set_count++] = input + at;
        else
            texts->variables[variable_count++] = input + at;
        at += strlen(input + at) + 1;
    }
}

static char *print(const struct config *config)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    FUZZ_CHECK(out != NULL);
    config_print(config, out);
    fclose(out);
    return text;
}

/* The text without its comments, which name sources. */
static void comments_drop(char *text)
{
    char *to = text;
    while (*text) {
        size_t size = strcspn(text, "\n") + 1;
        if (text[0] != '#') {
            memmove(to, text, size);
            to += size;
        }
        text += size;
    }
    *to = 0;
}

/* Whether a file can hold it: values from elsewhere may be longer than a line. */
static bool lines_fit(const char *text)
{
    while (*text) {
        size_t size = strcspn(text, "\n");
        if (size > CONFIG_LINE_MAX)
            return false;
        text += size + 1;
    }
    return true;
}

static void check_reads_back(const struct config *config)
{
    char *first = print(config);
    comments_drop(first);
    if (lines_fit(first)) {
        struct config_sources sources = {.file_text = first};
        struct config *again = config_load(&sources, &report);
        FUZZ_CHECK(again != NULL);
        char *second = print(again);
        comments_drop(second);
        FUZZ_CHECK(strcmp(first, second) == 0);
        free(second);
        config_free(again);
    }
    free(first);
}

static void check_reloads(const struct config *config, const struct config_sources *sources)
{
    struct config *again = config_reload(config, sources, &report);
    FUZZ_CHECK(again != NULL);
    FUZZ_CHECK(again->namespace_count == config->namespace_count);
    FUZZ_CHECK(config_namespace_of(again, SPAN_LITERAL("a/b")) != NULL);
    config_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct texts texts;
    char *input = calloc(1, size + 1);
    FUZZ_CHECK(input != NULL);
    memcpy(input, data, size);
    texts_cut(&texts, input, size);
    struct config_sources sources = {
        .file_text = texts.file, .environment = texts.variables, .sets = texts.sets, .set_count = texts.set_count};
    struct config *config = config_load(&sources, &report);
    FUZZ_CHECK((config == NULL) == (report.errors > 0));
    FUZZ_CHECK(report.size == strlen(report.text));
    if (config) {
        check_reads_back(config);
        check_reloads(config, &sources);
    }
    config_free(config);
    free(input);
    return 0;
}
