/*
 * acknowledged: how fast libshoal publishes on one connection, with every publish acknowledged.
 *
 * Workload: one client, driven by poll() on one thread; one topic that nobody follows; --messages payloads of --size
 * bytes, as many unacknowledged as the library's window has room for (--window). The run ends with the last
 * acknowledgement; each must come once, in order, without an error, with the offset after the one before.
 *
 * Measured: publishes a second; CPU time of the broker's process and of this one, by publishes; the delay from
 * shoal_publish() to the callback.
 *
 * Not measured: delivery. The first tenth is a warm-up. The result is one JSON object on standard output.
 */
#include <poll.h>
#include <shoal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "delays.h"
#include "process.h"

#define TOPIC      "bench/acknowledged"
#define SIZE_MAX_B 65536u

static struct {
    uint16_t port;
    int pid;
    uint32_t size;
    uint32_t window;
    uint64_t messages;
} options = {.size = 128, .window = 16384, .messages = 1000000};

static struct {
    uint64_t published;
    uint64_t acknowledged;
    uint64_t offset;   /* of the last */
    uint64_t *sent_ns; /* by number modulo the window */
    struct delays delays;
} state;

static void on_ack(struct shoal_client *client, enum shoal_error error, struct shoal_position position, void *context)
{
    (void)client;
    uint64_t number = (uint64_t)(uintptr_t)context;
    if (error) {
        die("a publish was refused: %s", shoal_error_message(error));
    }
    if (number != state.acknowledged || (number > 0 && position.offset != state.offset + 1)) {
        die("publish %lu was acknowledged at offset %lu, after %lu at %lu", number, position.offset, state.acknowledged,
            state.offset);
    }
    state.offset = position.offset;
    state.acknowledged++;
    if (number >= options.messages / 10) {
        delays_add(&state.delays, now_ns() - state.sent_ns[number % options.window]);
    }
}

static struct shoal_client *connect_client(void)
{
    char url[64];
    struct shoal_client *client;
    struct shoal_options *set = shoal_options_create();
    snprintf(url, sizeof url, "ws://127.0.0.1:%u", options.port);
    if (!set || shoal_options_set_url(set, url) || shoal_options_set_poll(set, true) ||
        shoal_options_set_window_waits(set, false) ||
        shoal_options_set_window(set, options.window, (size_t)options.window * (options.size + 512))) {
        die("an option that libshoal does not take");
    }
    enum shoal_error error = shoal_connect(set, &client);
    if (error) {
        die("libshoal: %s", shoal_error_message(error));
    }
    shoal_options_destroy(set);
    return client;
}

static void wait_and_work(struct shoal_client *client)
{
    struct pollfd wait = {.fd = shoal_fd(client), .events = shoal_events(client)};
    if (poll(&wait, 1, shoal_timeout_ms(client)) < 0) {
        die("poll failed");
    }
    enum shoal_error error = shoal_poll(client);
    if (error) {
        die("libshoal: %s", shoal_error_message(error));
    }
}

static void publish_until(struct shoal_client *client, uint64_t messages)
{
    static char payload[SIZE_MAX_B];
    memset(payload, 'x', sizeof payload);
    while (state.acknowledged < messages) {
        enum shoal_error error = SHOAL_OK;
        while (state.published < messages && !error) {
            state.sent_ns[state.published % options.window] = now_ns();
            error = shoal_publish(client, TOPIC, payload, options.size, SHOAL_BINARY, on_ack,
                                  (void *)(uintptr_t)state.published);
            state.published += !error;
        }
        if (error && error != SHOAL_ERROR_FULL) {
            die("libshoal: %s", shoal_error_message(error));
        }
        wait_and_work(client);
    }
}

static void parse(int argc, char **argv)
{
    for (int i = 1; i < argc; i += 2) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(name, "--port") == 0) {
            options.port = (uint16_t)number_read(name, value, UINT16_MAX);
        } else if (strcmp(name, "--pid") == 0) {
            options.pid = (int)number_read(name, value, INT32_MAX);
        } else if (strcmp(name, "--size") == 0) {
            options.size = (uint32_t)number_read(name, value, SIZE_MAX_B);
        } else if (strcmp(name, "--window") == 0) {
            options.window = (uint32_t)number_read(name, value, 1048576);
        } else if (strcmp(name, "--messages") == 0) {
            options.messages = number_read(name, value, 10000000000);
        } else {
            die("unknown option %s (see the head of acknowledged.c)", name);
        }
    }
    if (!options.pid || !options.port || options.window == 0) {
        die("--pid and --port of the broker are needed");
    }
}

int main(int argc, char **argv)
{
    parse(argc, argv);
    state.sent_ns = calloc(options.window, sizeof *state.sent_ns);
    if (!state.sent_ns) {
        die("no memory");
    }
    struct shoal_client *client = connect_client();
    uint64_t warm_up = options.messages / 10;
    publish_until(client, warm_up);
    uint64_t ns = now_ns(), cpu_ns = process_cpu_ns(options.pid), own_ns = process_cpu_ns(getpid());
    publish_until(client, options.messages);
    ns = now_ns() - ns;
    cpu_ns = process_cpu_ns(options.pid) - cpu_ns;
    own_ns = process_cpu_ns(getpid()) - own_ns;
    double messages = (double)(options.messages - warm_up);
    printf("{\"messages\":%.0f,\"messages_per_s\":%.0f,\"cpu_ns_each\":%.1f,\"messages_per_cpu_s\":%.0f,"
           "\"client_cpu_ns_each\":%.1f,",
           messages, messages * 1e9 / (double)ns, (double)cpu_ns / messages, messages * 1e9 / (double)cpu_ns,
           (double)own_ns / messages);
    delays_print(&state.delays, "");
    printf("}\n");
    shoal_close(client);
    return 0;
}
