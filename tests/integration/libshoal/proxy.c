/*
 * proxy: see proxy.h.
 */
#include "proxy.h"

#include "harness.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sockaddr_in address_of(int port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static uint64_t chance(struct proxy *proxy)
{
    proxy->random = proxy->random * 6364136223846793005u + 1442695040888963407u;
    return proxy->random >> 33;
}

/* Half of the cuts are resets, the other half orderly ends. */
static void cut(struct proxy *proxy, struct proxy_pair *pair)
{
    struct linger hard = {.l_onoff = 1, .l_linger = 0};
    if (chance(proxy) % 2) {
        setsockopt(pair->client, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        setsockopt(pair->broker, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    }
    close(pair->client);
    close(pair->broker);
    pair->client = -1;
    atomic_fetch_add(&proxy->cuts, 1);
}

static void take_in(struct proxy *proxy)
{
    bool second = proxy->taken++ % 2 && proxy->other;
    struct sockaddr_in target = address_of(second ? proxy->other : proxy->target);
    int client = accept(proxy->listener, NULL, NULL), broker = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct proxy_pair *pair = proxy->pairs;
    while (pair < proxy->pairs + PROXY_PAIRS_MAX && pair->client >= 0)
        pair++;
    if (pair == proxy->pairs + PROXY_PAIRS_MAX || connect(broker, (struct sockaddr *)&target, sizeof target) != 0) {
        close(client);
        close(broker);
        return;
    }
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(broker, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    *pair = (struct proxy_pair){client, broker, -1};
}

/* All of it, waiting if need be: the other side reads. False: it is gone. */
static bool pass(int to, const char *bytes, ssize_t size)
{
    for (ssize_t done = 0; done < size;) {
        ssize_t sent = send(to, bytes + done, (size_t)(size - done), MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        done += sent;
    }
    return true;
}

static void forward(struct proxy *proxy, struct proxy_pair *pair, int from, int to)
{
    char bytes[16384];
    ssize_t got = recv(from, bytes, sizeof bytes, MSG_DONTWAIT);
    if (got < 0)
        return;
    int most = atomic_load(&proxy->bytes_most);
    if (most && pair->bytes_left < 0)
        pair->bytes_left = (int64_t)(chance(proxy) % (uint64_t)most);
    bool over = pair->bytes_left >= 0 && got > pair->bytes_left;
    ssize_t size = over ? (ssize_t)pair->bytes_left : got;
    bool gone = got == 0 || (!atomic_load(&proxy->silent) && !pass(to, bytes, size));
    if (pair->bytes_left >= 0)
        pair->bytes_left -= size;
    if (gone || over)
        cut(proxy, pair);
}

static void *proxy_main(void *argument)
{
    struct proxy *proxy = argument;
    while (!atomic_load(&proxy->ends)) {
        struct pollfd fds[1 + 2 * PROXY_PAIRS_MAX] = {{.fd = proxy->listener, .events = POLLIN}};
        for (int i = 0; i < PROXY_PAIRS_MAX; i++) {
            bool used = proxy->pairs[i].client >= 0;
            fds[1 + 2 * i] = (struct pollfd){.fd = used ? proxy->pairs[i].client : -1, .events = POLLIN};
            fds[2 + 2 * i] = (struct pollfd){.fd = used ? proxy->pairs[i].broker : -1, .events = POLLIN};
        }
        poll(fds, 1 + 2 * PROXY_PAIRS_MAX, 10);
        for (int i = 0; i < PROXY_PAIRS_MAX; i++) {
            struct proxy_pair *pair = &proxy->pairs[i];
            if (fds[1 + 2 * i].revents && pair->client >= 0)
                forward(proxy, pair, pair->client, pair->broker);
            if (fds[2 + 2 * i].revents && pair->client >= 0)
                forward(proxy, pair, pair->broker, pair->client);
        }
        if (fds[0].revents)
            take_in(proxy);
    }
    return NULL;
}

void proxy_start(struct proxy *proxy, int target, uint64_t seed)
{
    *proxy = (struct proxy){.target = target, .random = seed};
    for (int i = 0; i < PROXY_PAIRS_MAX; i++)
        proxy->pairs[i].client = -1;
    struct sockaddr_in address = address_of(0);
    socklen_t size = sizeof address;
    proxy->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(proxy->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(proxy->listener, 16), 0);
    getsockname(proxy->listener, (struct sockaddr *)&address, &size);
    proxy->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&proxy->thread, NULL, proxy_main, proxy), 0);
}

void proxy_stop(struct proxy *proxy)
{
    atomic_store(&proxy->ends, true);
    pthread_join(proxy->thread, NULL);
    for (int i = 0; i < PROXY_PAIRS_MAX; i++) {
        if (proxy->pairs[i].client >= 0) {
            close(proxy->pairs[i].client);
            close(proxy->pairs[i].broker);
        }
    }
    close(proxy->listener);
}
