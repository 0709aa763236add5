/*
 * thread: the library's own thread, which waits in poll() and drives the worker; and shoal_close(), which depends on
 * whose thread ends a client.
 *
 * No wake-up is lost: the thread marks itself asleep under the lock, after it has looked for work; whoever leaves work
 * for it does so under the same lock, and writes into the pipe if the mark is set.
 */
#include <poll.h>
#include <unistd.h>

#include "client/client.h"

static void sleep_until_needed(struct shoal_client *client)
{
    client_lock(client);
    struct pollfd fds[2] = {
        {.fd = client->wake[0], .events = POLLIN},
        {.fd = client->link.fd, .events = worker_events(client)},
    };
    int timeout = worker_timeout_ms(client);
    client->asleep = !client->closing;
    bool closing = client->closing;
    client_unlock(client);
    if (!closing)
        poll(fds, 2, timeout);
    client_lock(client);
    client->asleep = false;
    client_unlock(client);
    char drain[64];
    while (fds[0].revents && read(client->wake[0], drain, sizeof drain) == (ssize_t)sizeof drain) {
    }
}

static void *thread_main(void *argument)
{
    struct shoal_client *client = argument;
    while (worker_step(client))
        sleep_until_needed(client);
    client_end(client);
    return NULL;
}

bool thread_start(struct shoal_client *client)
{
    client_lock(client); /* the thread must not run before `worker` is set */
    bool started = pthread_create(&client->worker, NULL, thread_main, client) == 0;
    client_unlock(client);
    return started;
}

void shoal_close(struct shoal_client *client)
{
    if (!client)
        return;
    client_lock(client);
    if (client->closing) { /* in a callback of the end itself */
        client_unlock(client);
        return;
    }
    client->closing = true;
    client_changed(client);
    client_wake(client);
    bool poll_driven = client->options.poll, inside = client_in_callback(client);
    pthread_t worker = client->worker;
    client_unlock(client);
    if (inside && !poll_driven)
        pthread_detach(worker); /* nobody will join it */
    else if (!inside && poll_driven)
        client_end(client);
    else if (!inside)
        pthread_join(worker, NULL);
}
