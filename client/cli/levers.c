/* levers: kick and drain, each one request to the admin port; drain may wait for its end. See commands.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/ask.h"
#include "cli/commands.h"
#include "cli/http.h"
#include "cli/table.h"

static int kick(const struct options *options, const char *id)
{
    char path[4096];
    json_t *answer;
    if (strlen(id) > 64) {
        return fail(EXIT_USAGE, "kick", "a connection is named SHARD-SLOT-GENERATION: see shoal conns");
    }
    snprintf(path, sizeof path, "/v1/connections/%s/kick", ask_encoded(id));
    int status = ask(options, "kick", "POST", path, &answer);
    if (status == EXIT_DONE) {
        printf("kicked %s\n", id);
    }
    json_decref(answer);
    return status;
}

/* All of them, whatever becomes of one; the first failure is the program's. */
int command_kick(const struct options *options)
{
    int first = EXIT_DONE;
    for (int i = 0; i < options->argument_count; i++) {
        int status = kick(options, options->arguments[i]);
        first = first == EXIT_DONE ? status : first;
    }
    return first;
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Until nobody answers at the admin port any more. Draining takes what broker.drain_s says: no bound of ours by
 * default. */
static int wait_for_end(const struct options *options)
{
    int64_t end_ms = now_ms() + options->timeout_ms;
    while (!options->timeout_given || now_ms() < end_ms) {
        struct http_answer answer;
        char problem[HTTP_PROBLEM_MAX];
        enum http_outcome outcome = http_ask(options->admin, "GET", "/healthz", NULL, 1000, &answer, problem);
        free(answer.body);
        if (outcome == HTTP_UNREACHABLE) {
            puts("the broker has ended");
            return EXIT_DONE;
        }
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    }
    return fail(EXIT_TIMEOUT, "drain", "the broker is still there: it goes on draining");
}

int command_drain(const struct options *options)
{
    json_t *answer;
    int status = ask(options, "drain", "POST", "/v1/drain", &answer);
    if (status == EXIT_DONE) {
        char number[TABLE_TEXT_MAX];
        printf("draining %s connections\n",
               text_number(number, json_integer_value(json_object_get(answer, "connections"))));
        fflush(stdout);
    }
    json_decref(answer);
    return status == EXIT_DONE && options->wait ? wait_for_end(options) : status;
}
