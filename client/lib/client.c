/*
 * client: made, ended, waited for, and driven by poll(). See client.h.
 */
#include "client/client.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

int64_t clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t deadline_of(int64_t timeout_ms)
{
    int64_t now = clock_ms();
    return timeout_ms < 0 || timeout_ms > INT64_MAX - now ? INT64_MAX : now + timeout_ms;
}

/* From the system; should it refuse, from the clock: ids and masks must differ, they are no secrets. */
uint64_t random_u64(void)
{
    uint64_t value = 0;
    int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    bool read_all = fd >= 0 && read(fd, &value, sizeof value) == (ssize_t)sizeof value;
    if (fd >= 0)
        close(fd);
    return read_all ? value : (uint64_t)clock_ms() * 0x9E3779B97F4A7C15u ^ (uint64_t)getpid() << 32;
}

/* --- made and ended --- */

static bool lock_init(struct shoal_client *client)
{
    pthread_condattr_t attributes;
    if (pthread_condattr_init(&attributes) != 0)
        return false;
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    bool made = pthread_cond_init(&client->changed, &attributes) == 0;
    pthread_condattr_destroy(&attributes);
    if (made && pthread_mutex_init(&client->lock, NULL) != 0) {
        pthread_cond_destroy(&client->changed);
        made = false;
    }
    return made;
}

static bool pipe_init(int wake[2])
{
    if (pipe(wake) != 0) {
        wake[0] = wake[1] = -1;
        return false;
    }
    for (int i = 0; i < 2; i++) {
        fcntl(wake[i], F_SETFD, FD_CLOEXEC);
        fcntl(wake[i], F_SETFL, O_NONBLOCK);
    }
    return true;
}

static void client_free(struct shoal_client *client)
{
    link_free(&client->link);
    bytes_free(&client->batch);
    bytes_free(&client->control);
    window_free(&client->window);
    subscriptions_free(&client->subscriptions);
    for (int i = 0; i < 2; i++)
        if (client->wake[i] >= 0)
            close(client->wake[i]);
    pthread_cond_destroy(&client->changed);
    pthread_mutex_destroy(&client->lock);
    free(client);
}

static struct shoal_client *client_create(const struct shoal_options *options)
{
    struct shoal_client *client = calloc(1, sizeof *client);
    if (!client || !lock_init(client)) {
        free(client);
        return NULL;
    }
    client->options = *options;
    client->wake[0] = client->wake[1] = -1;
    client->state = SHOAL_CONNECTING;
    memcpy(client->token, options->token, sizeof client->token);
    client->backoff_random = random_u64();
    link_init(&client->link, random_u64());
    bool made = window_init(&client->window, options->window_messages, options->window_bytes, random_u64());
    client->window.doubles = options->republish;
    if (!made || (!options->poll && !pipe_init(client->wake))) {
        client_free(client);
        return NULL;
    }
    return client;
}

void client_end(struct shoal_client *client)
{
    struct publish_list left = {0};
    link_close(&client->link);
    client_lock(client);
    window_fail_all(&client->window, SHOAL_ERROR_CLOSED, &left);
    client_reports(client);
    client_unlock(client);
    publishes_report(client, &left);
    client_lock(client);
    client->working = false;
    while (client->waiters) { /* they see that it is closing, and leave */
        pthread_cond_broadcast(&client->changed);
        pthread_cond_wait(&client->changed, &client->lock);
    }
    client_unlock(client);
    client_free(client);
}

void client_reported(struct shoal_client *client)
{
    client_lock(client);
    client->reporting = false;
    client_changed(client);
    client_unlock(client);
}

void publishes_report(struct shoal_client *client, struct publish_list *list)
{
    struct publish *next;
    for (struct publish *publish = list->first; publish; publish = next) {
        next = publish->next;
        if (publish->on_ack)
            publish->on_ack(client, publish->error, publish->position, publish->context);
        free(publish);
    }
    *list = (struct publish_list){0};
    client_reported(client);
}

/* --- waiting --- */

enum shoal_error client_usable(const struct shoal_client *client)
{
    if (client->closing)
        return SHOAL_ERROR_CLOSED;
    return client->state == SHOAL_FAILED && !client->revived ? client->failure : SHOAL_OK;
}

void client_wake(struct shoal_client *client)
{
    if (client->asleep) {
        client->asleep = false;
        ssize_t written = write(client->wake[1], "", 1);
        (void)written; /* a full pipe wakes as well */
    }
}

void client_wait_changed(struct shoal_client *client, int64_t deadline_ms)
{
    client->waiters++;
    if (deadline_ms == INT64_MAX) {
        pthread_cond_wait(&client->changed, &client->lock);
    } else {
        struct timespec until = {.tv_sec = (time_t)(deadline_ms / 1000), .tv_nsec = deadline_ms % 1000 * 1000000};
        pthread_cond_timedwait(&client->changed, &client->lock, &until);
    }
    client->waiters--;
    if (client->closing && client->waiters == 0)
        pthread_cond_broadcast(&client->changed); /* client_end() waits for the last one */
}

/* One wait of a poll-driven client, with the lock; it may be gone after it: then SHOAL_ERROR_CLOSED, without the lock.
 */
static enum shoal_error wait_driving(struct shoal_client *client, int64_t deadline_ms)
{
    client_unlock(client);
    int64_t left = deadline_ms == INT64_MAX ? 1000 : deadline_ms - clock_ms();
    struct pollfd fd = {.fd = shoal_fd(client), .events = shoal_events(client)};
    int timeout = shoal_timeout_ms(client);
    poll(&fd, 1, left < timeout || timeout < 0 ? (int)left : timeout);
    enum shoal_error error = shoal_poll(client);
    if (error == SHOAL_ERROR_CLOSED)
        return error;
    client_lock(client);
    return SHOAL_OK;
}

enum shoal_error client_wait(struct shoal_client *client, bool (*is_done)(struct shoal_client *client, void *what),
                             void *what, int64_t deadline_ms)
{
    client_lock(client);
    enum shoal_error error = client_in_callback(client) ? SHOAL_ERROR_IN_CALLBACK : SHOAL_OK;
    while (!error && !is_done(client, what)) {
        error = client_usable(client);
        if (!error && clock_ms() >= deadline_ms)
            error = SHOAL_ERROR_TIMEOUT;
        if (error)
            break;
        if (client->options.poll)
            error = wait_driving(client, deadline_ms);
        else
            client_wait_changed(client, deadline_ms);
        if (error)
            return error; /* the client is gone */
    }
    client_unlock(client);
    return error;
}

/* --- shoal.h: the client --- */

static bool is_settled(struct shoal_client *client, void *what)
{
    (void)what;
    return client->state == SHOAL_CONNECTED || client->attempted;
}

/* The first attempt, waited for. */
static enum shoal_error connect_wait(struct shoal_client *client)
{
    enum shoal_error error = client_wait(client, is_settled, NULL, INT64_MAX);
    if (error)
        return error;
    client_lock(client);
    error = client->state == SHOAL_CONNECTED ? SHOAL_OK : client->failure;
    client_unlock(client);
    return error;
}

enum shoal_error shoal_connect(const struct shoal_options *options, struct shoal_client **client)
{
    if (!client)
        return SHOAL_ERROR_ARGUMENT;
    *client = NULL;
    struct shoal_options *chosen = options ? NULL : shoal_options_create();
    if (!options && !chosen)
        return SHOAL_ERROR_MEMORY;
    options = options ? options : chosen;
    enum shoal_error error = options->host[0] ? SHOAL_OK : SHOAL_ERROR_URL;
    bool waits = !options->poll && !options->patient;
    struct shoal_client *made = error ? NULL : client_create(options);
    if (!error && (!made || (!options->poll && !thread_start(made)))) {
        error = SHOAL_ERROR_MEMORY;
        if (made)
            client_free(made);
    } else if (!error && waits && (error = connect_wait(made)) != SHOAL_OK && error != SHOAL_ERROR_CLOSED) {
        shoal_close(made);
    }
    shoal_options_destroy(chosen);
    if (!error)
        *client = made;
    return error;
}

enum shoal_state shoal_client_state(struct shoal_client *client)
{
    client_lock(client);
    enum shoal_state state = client->state;
    client_unlock(client);
    return state;
}

void shoal_set_user(struct shoal_client *client, void *user)
{
    atomic_store(&client->user, user);
}

void *shoal_user(struct shoal_client *client)
{
    return atomic_load(&client->user);
}

/* --- shoal.h: poll-driven use --- */

int shoal_fd(struct shoal_client *client)
{
    return client->link.fd;
}

short shoal_events(struct shoal_client *client)
{
    client_lock(client);
    short events = worker_events(client);
    client_unlock(client);
    return events;
}

int shoal_timeout_ms(struct shoal_client *client)
{
    client_lock(client);
    int timeout = worker_timeout_ms(client);
    client_unlock(client);
    return timeout;
}

enum shoal_error shoal_poll(struct shoal_client *client)
{
    client_lock(client);
    bool nested = client_in_callback(client), poll_driven = client->options.poll;
    client_unlock(client);
    if (nested)
        return SHOAL_ERROR_IN_CALLBACK;
    if (!poll_driven)
        return SHOAL_ERROR_ARGUMENT;
    if (!worker_step(client)) {
        client_end(client);
        return SHOAL_ERROR_CLOSED;
    }
    client_lock(client);
    enum shoal_error error = client_usable(client);
    client_unlock(client);
    return error;
}

static bool never(struct shoal_client *client, void *what)
{
    (void)client;
    (void)what;
    return false;
}

enum shoal_error shoal_run(struct shoal_client *client, int64_t timeout_ms)
{
    if (!client->options.poll)
        return SHOAL_ERROR_ARGUMENT;
    enum shoal_error error = client_wait(client, never, NULL, deadline_of(timeout_ms));
    return error == SHOAL_ERROR_TIMEOUT ? SHOAL_OK : error;
}
