/*
 * harness: see harness.h.
 */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ARGUMENTS_MAX 64
#define LOG_BYTES_MAX 65536

void sleep_ms(int ms)
{
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&time, NULL);
}

static size_t log_read(const struct broker *broker, char *out)
{
    int fd = open(broker->log, O_RDONLY | O_CLOEXEC);
    off_t end = lseek(fd, 0, SEEK_END);
    lseek(fd, end > LOG_BYTES_MAX - 1 ? end - (LOG_BYTES_MAX - 1) : 0, SEEK_SET);
    ssize_t got = read(fd, out, LOG_BYTES_MAX - 1);
    close(fd);
    out[got > 0 ? got : 0] = '\0';
    return got > 0 ? (size_t)got : 0;
}

static const char *environment(const char *name)
{
    const char *value = getenv(name);
    if (!value)
        fail_msg("%s must be set", name);
    return value;
}

/* In the child, which must not fail like a test. */
static void run(const struct broker *broker, const char *program, const char *room)
{
    static char listen_at[64], backend[64];
    const char *arguments[ARGUMENTS_MAX] = {program};
    int count = 1;
    snprintf(listen_at, sizeof listen_at, "listen.address=127.0.0.1:%d", broker->port);
    snprintf(backend, sizeof backend, "io.backend=%s", room);
    const char *const always[] = {listen_at,          backend, "admin.address=127.0.0.1:0", "broker.shards=2",
                                  "broker.drain_s=0", NULL};
    const char *const *const lists[] = {always, broker->settings};
    for (size_t list = 0; list < 2; list++) {
        for (const char *const *setting = lists[list]; setting && *setting && count < ARGUMENTS_MAX - 3; setting++) {
            arguments[count++] = "--set";
            arguments[count++] = *setting;
        }
    }
    int log = open(broker->log, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    dup2(log, STDERR_FILENO);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that crashes leaves no broker behind */
    execv(arguments[0], (char *const *)arguments);
    _exit(127);
}

/* The number behind `before` in the line that tells that it is ready; 0: there is none. */
static int port_in(const char *line, const char *before)
{
    const char *at = strstr(line, before);
    return at ? (int)strtol(at + strlen(before), NULL, 10) : 0;
}

void broker_again(struct broker *broker)
{
    static char text[LOG_BYTES_MAX];
    const char *program = environment("SHOALD"), *room = environment("SHOAL_BACKEND");
    broker->pid = fork();
    assert_true(broker->pid >= 0);
    if (broker->pid == 0)
        run(broker, program, room);
    for (int waited = 0; waited < PATIENCE_MS; waited += 10) {
        sleep_ms(10);
        const char *ready = log_read(broker, text) ? strstr(text, "\"event\":\"ready\"") : NULL;
        if (ready && strchr(ready, '\n')) {
            broker->port = port_in(ready, "\"data\":\"127.0.0.1:");
            broker->admin_port = port_in(ready, "\"admin\":\"127.0.0.1:");
            return;
        }
        if (waitpid(broker->pid, NULL, WNOHANG) != 0)
            break;
    }
    fail_msg("the broker did not start: %s", text);
}

void broker_start(struct broker *broker, const char *const *settings)
{
    static int number;
    *broker = (struct broker){.settings = settings};
    snprintf(broker->log, sizeof broker->log, "libshoal-%d-%d.log", (int)getpid(), ++number);
    broker_again(broker);
}

void broker_kill(struct broker *broker)
{
    kill(broker->pid, SIGKILL);
    waitpid(broker->pid, NULL, 0);
}

void broker_stop(struct broker *broker)
{
    static char text[LOG_BYTES_MAX];
    int status = 0;
    kill(broker->pid, SIGTERM);
    pid_t ended = 0;
    for (int waited = 0; waited < PATIENCE_MS && ended == 0; waited += 10) {
        sleep_ms(10);
        ended = waitpid(broker->pid, &status, WNOHANG);
    }
    if (ended == 0)
        broker_kill(broker);
    log_read(broker, text);
    const char *stopped = strstr(text, "\"event\":\"stopped\"");
    if (ended == 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0 || !stopped) {
        fail_msg("the broker did not end well (status %x): %s", (unsigned)status, text);
        return; /* cmocka does not say that it never returns */
    }
    static const char *const leftovers[] = {"\"connections\":0", "\"sessions\":0", "\"subscriptions\":0",
                                            "\"cursors\":0", "\"tickets\":0"};
    for (size_t i = 0; i < sizeof leftovers / sizeof leftovers[0]; i++)
        if (!strstr(stopped, leftovers[i]))
            fail_msg("not %s at its end: %s", leftovers[i], stopped);
    unlink(broker->log);
}

uint32_t message_number(const struct shoal_message *message)
{
    char text[16] = {0};
    memcpy(text, message->payload, message->payload_size < 15 ? message->payload_size : 15);
    return (uint32_t)strtoul(text, NULL, 10);
}

struct shoal_options *options_for(int port)
{
    char url[64];
    snprintf(url, sizeof url, "ws://127.0.0.1:%d", port);
    struct shoal_options *options = shoal_options_create();
    assert_non_null(options);
    assert_int_equal(shoal_options_set_url(options, url), SHOAL_OK);
    assert_int_equal(shoal_options_set_backoff(options, 5, 50), SHOAL_OK);
    return options;
}

struct shoal_client *client_of(struct shoal_options *options)
{
    struct shoal_client *client;
    enum shoal_error error = shoal_connect(options, &client);
    shoal_options_destroy(options);
    assert_string_equal(shoal_error_name(error), "ok");
    return client;
}

void await_count(const _Atomic uint32_t *counter, uint32_t value, const char *what)
{
    for (int waited = 0; atomic_load(counter) < value; waited++) {
        if (waited > 2 * PATIENCE_MS)
            fail_msg("%s: %u of %u came", what, atomic_load(counter), value);
        sleep_ms(1);
    }
}
