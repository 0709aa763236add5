/* ask: see ask.h. */
#include "cli/ask.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/http.h"

#define PAGE_RECORDS 1000

static int status_of_outcome(enum http_outcome outcome)
{
    switch (outcome) {
    case HTTP_URL_INVALID:
        return EXIT_USAGE;
    case HTTP_TOO_LATE:
        return EXIT_TIMEOUT;
    default:
        return EXIT_UNREACHABLE;
    }
}

static int status_of_http(int status)
{
    switch (status) {
    case 401:
    case 403:
        return EXIT_FORBIDDEN;
    case 404:
        return EXIT_NOT_FOUND;
    case 504:
        return EXIT_TIMEOUT;
    default:
        return EXIT_FAILED;
    }
}

/* What the port said of its own about why not. */
static int refused(const struct options *options, const char *command, const struct http_answer *answer)
{
    json_t *body = json_loadb(answer->body, answer->size, 0, NULL);
    const char *message = json_string_value(json_object_get(json_object_get(body, "error"), "message"));
    const char *code = json_string_value(json_object_get(json_object_get(body, "error"), "code"));
    if (code && strcmp(code, "not_found") == 0) {
        message = NULL; /* the path is not known: a data port says the same */
    }
    int status = message ? status_of_http(answer->status) : EXIT_UNREACHABLE;
    if (message && answer->status == 401) {
        fail(status, command, "%s (here: --admin-token or SHOAL_ADMIN_TOKEN)", message);
    } else if (message) {
        fail(status, command, "%s", message);
    } else {
        fail(status, command, "what answers at %s (with %d) is no admin port of Shoal: see --admin", options->admin,
             answer->status);
    }
    json_decref(body);
    return status;
}

int ask(const struct options *options, const char *command, const char *method, const char *path, json_t **answer)
{
    struct http_answer http;
    char problem[HTTP_PROBLEM_MAX];
    *answer = NULL;
    enum http_outcome outcome =
        http_ask(options->admin, method, path, options->admin_token, options->timeout_ms, &http, problem);
    if (outcome != HTTP_ANSWERED) {
        return fail(status_of_outcome(outcome), command, "%s%s", problem,
                    outcome == HTTP_UNREACHABLE ? ". Is shoald running, and is this its admin.address?" : "");
    }
    int status = EXIT_DONE;
    if (http.status >= 300) {
        status = refused(options, command, &http);
    } else {
        *answer = json_loadb(http.body, http.size, 0, NULL);
        if (!*answer) {
            status = fail(EXIT_UNREACHABLE, command, "what answers at %s is no admin port of Shoal: see --admin",
                          options->admin);
        }
    }
    free(http.body);
    return status;
}

const char *ask_encoded(const char *text)
{
    static char out[3 * 1024 + 1];
    size_t at = 0;
    for (; *text && at + 4 < sizeof out; text++) {
        unsigned char byte = (unsigned char)*text;
        bool plain = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
                     strchr("-._~", byte);
        at += (size_t)snprintf(out + at, sizeof out - at, plain ? "%c" : "%%%02X", byte);
    }
    out[at] = 0;
    return out;
}

/* How many records the next page should have; 0: there are enough. */
static unsigned page_size(const struct options *options, uint64_t seen)
{
    uint64_t left = options->limit ? options->limit - seen : PAGE_RECORDS;
    return left < PAGE_RECORDS ? (unsigned)left : PAGE_RECORDS;
}

int ask_list(const struct options *options, const char *command, const char *path, const char *name,
             void (*each)(json_t *record, void *context), void *context)
{
    char place[64] = "";
    uint64_t seen = 0;
    unsigned size;
    while ((size = page_size(options, seen)) > 0) {
        char full[256];
        snprintf(full, sizeof full, "%s?limit=%u%s%s", path, size, place[0] ? "&after=" : "", place);
        json_t *page;
        int status = ask(options, command, "GET", full, &page);
        if (status != EXIT_DONE) {
            return status;
        }
        size_t index;
        json_t *record;
        json_array_foreach(json_object_get(page, name), index, record)
        {
            each(record, context);
            seen++;
        }
        const char *next = json_string_value(json_object_get(page, "next"));
        snprintf(place, sizeof place, "%s", next ? next : "");
        json_decref(page);
        if (!place[0]) {
            break;
        }
    }
    return EXIT_DONE;
}
