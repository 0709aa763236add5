/*
 * link_test: of several addresses of a host each has its turn, one that is silent as well, and the time for all of them
 * is that of the options.
 */
#include "client/link.h"

#include <arpa/inet.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define TIMEOUT_MS  900
#define CROWD_MAX   16
#define ADDRESS_MAX 3

/* --- a host with the addresses that a test wants, in place of the name service --- */

static struct sockaddr_in places[ADDRESS_MAX];
static struct addrinfo addresses[ADDRESS_MAX];
static bool given;

int getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **result)
{
    (void)host, (void)port, (void)hints;
    assert_false(given);
    given = true;
    *result = addresses;
    return 0;
}

void freeaddrinfo(struct addrinfo *result)
{
    assert_ptr_equal(result, addresses);
    given = false;
}

static void host_has(uint32_t count, const int *listeners)
{
    for (uint32_t i = 0; i < count; i++) {
        socklen_t size = sizeof places[i];
        assert_int_equal(getsockname(listeners[i], (struct sockaddr *)&places[i], &size), 0);
        addresses[i] = (struct addrinfo){.ai_family = AF_INET,
                                         .ai_socktype = SOCK_STREAM,
                                         .ai_addr = (struct sockaddr *)&places[i],
                                         .ai_addrlen = size,
                                         .ai_next = i + 1 < count ? &addresses[i + 1] : NULL};
    }
}

static int listener(void)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&any, sizeof any), 0);
    assert_int_equal(listen(fd, 0), 0);
    return fd;
}

/* A listener that says nothing to who comes: others wait there already, as many as the kernel lets. */
struct silent {
    int fd;
    int crowd[CROWD_MAX];
    uint32_t size;
};

static void silent_begin(struct silent *silent)
{
    struct sockaddr_in place;
    socklen_t size = sizeof place;
    *silent = (struct silent){.fd = listener()};
    assert_int_equal(getsockname(silent->fd, (struct sockaddr *)&place, &size), 0);
    bool taken = true;
    while (taken) {
        assert_true(silent->size < CROWD_MAX);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        assert_true(fd >= 0);
        (void)connect(fd, (struct sockaddr *)&place, sizeof place);
        struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};
        taken = poll(&poll_fd, 1, 100) > 0; /* on loopback it is taken within the call, or not at all */
        silent->crowd[silent->size++] = fd;
    }
}

static void silent_end(struct silent *silent)
{
    for (uint32_t i = 0; i < silent->size; i++) {
        close(silent->crowd[i]);
    }
    close(silent->fd);
}

/* --- the tests --- */

static struct shoal_options options = {.host = "host", .port = "1", .connect_timeout_ms = TIMEOUT_MS};

static enum link_event at(struct link *link, int64_t now_ms)
{
    struct span message;
    return link_next(link, now_ms, &message);
}

static void silent_one_leaves_time_for_the_next(void **state)
{
    (void)state;
    struct silent silent;
    silent_begin(&silent);
    int answers = listener();
    host_has(3, (int[]){silent.fd, silent.fd, answers});
    struct link link;
    link_init(&link, 1);
    link_open(&link, &options, "", 0);
    assert_int_equal(at(&link, 0), LINK_IDLE);
    assert_int_equal(link_wakes_ms(&link), TIMEOUT_MS / 3);
    assert_int_equal(at(&link, TIMEOUT_MS / 3 - 1), LINK_IDLE);
    assert_ptr_equal(link.address, &addresses[0]);
    assert_int_equal(at(&link, TIMEOUT_MS / 3), LINK_IDLE);
    assert_ptr_equal(link.address, &addresses[1]);
    assert_int_equal(link_wakes_ms(&link), TIMEOUT_MS / 3 * 2);
    assert_int_equal(at(&link, TIMEOUT_MS / 3 * 2), LINK_IDLE);
    assert_int_equal(link.stage, LINK_HANDSHAKE);
    link_free(&link);
    assert_false(given);
    close(answers);
    silent_end(&silent);
}

static void takes_the_connection_and_says_nothing(void **state)
{
    (void)state;
    int silent = listener(), ends = listener(), last = listener();
    host_has(3, (int[]){silent, ends, last});
    struct link link;
    link_init(&link, 1);
    link_open(&link, &options, "", 0);
    assert_int_equal(at(&link, 0), LINK_IDLE);
    assert_int_equal(link.stage, LINK_HANDSHAKE);
    assert_int_equal(link_wakes_ms(&link), TIMEOUT_MS / 3);
    assert_int_equal(at(&link, TIMEOUT_MS / 3 - 1), LINK_IDLE);
    assert_ptr_equal(link.address, &addresses[0]);
    assert_int_equal(at(&link, TIMEOUT_MS / 3), LINK_IDLE);
    assert_ptr_equal(link.address, &addresses[1]);

    assert_int_equal(at(&link, TIMEOUT_MS / 3), LINK_IDLE);
    assert_int_equal(link.stage, LINK_HANDSHAKE);
    int taken = accept(ends, NULL, NULL);
    assert_true(taken >= 0);
    char request[1024];
    assert_true(read(taken, request, sizeof request) > 0); /* else closing resets */
    close(taken);
    struct pollfd poll_fd = {.fd = link.fd, .events = POLLIN};
    assert_int_equal(poll(&poll_fd, 1, -1), 1);
    assert_int_equal(at(&link, TIMEOUT_MS / 3 + 1), LINK_IDLE);
    assert_ptr_equal(link.address, &addresses[2]);

    assert_int_equal(at(&link, TIMEOUT_MS / 3 + 1), LINK_IDLE);
    assert_int_equal(link.stage, LINK_HANDSHAKE);
    assert_int_equal(link_wakes_ms(&link), TIMEOUT_MS);
    assert_int_equal(at(&link, TIMEOUT_MS), LINK_LOST);
    assert_int_equal(link.error, SHOAL_ERROR_TIMEOUT);
    assert_false(given);
    link_free(&link);
    close(silent), close(ends), close(last);
}

static void all_silent(void **state)
{
    (void)state;
    struct silent silent;
    silent_begin(&silent);
    host_has(2, (int[]){silent.fd, silent.fd});
    struct link link;
    link_init(&link, 1);
    link_open(&link, &options, "", 0);
    for (int64_t now_ms = 0; now_ms < TIMEOUT_MS; now_ms++) {
        assert_int_equal(at(&link, now_ms), LINK_IDLE);
    }
    assert_ptr_equal(link.address, &addresses[1]);
    assert_int_equal(at(&link, TIMEOUT_MS), LINK_LOST);
    assert_int_equal(link.error, SHOAL_ERROR_TIMEOUT);
    assert_false(given);
    link_free(&link);
    silent_end(&silent);
}

static void one_that_refuses_is_passed_at_once(void **state)
{
    (void)state;
    int refuses = listener(), answers = listener();
    host_has(2, (int[]){refuses, answers});
    close(refuses);
    struct link link;
    link_init(&link, 1);
    link_open(&link, &options, "", 0);
    for (int i = 0; i < 3 && link.stage == LINK_CONNECTING; i++) {
        assert_int_equal(at(&link, 0), LINK_IDLE);
    }
    assert_int_equal(link.stage, LINK_HANDSHAKE);
    link_free(&link);
    close(answers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(silent_one_leaves_time_for_the_next),
        cmocka_unit_test(takes_the_connection_and_says_nothing),
        cmocka_unit_test(all_silent),
        cmocka_unit_test(one_that_refuses_is_passed_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
