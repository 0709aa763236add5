/*
 * listen: see listen.h. The steps stand in a table, because all that differs between them is a name, and the name is
 * what the operator must be told when one is refused.
 */
#include "io/listen.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

struct option_step {
    int level, name, value;
    bool only_v6, only_reuse_port;
    const char *problem;
};

static const struct option_step OPTION_STEPS[] = {
    {SOL_SOCKET, SO_REUSEADDR, 1, false, false, "cannot set SO_REUSEADDR on the listening socket"},
    {SOL_SOCKET, SO_REUSEPORT, 1, false, true, "cannot set SO_REUSEPORT on the listening socket"},
    {IPPROTO_IPV6, IPV6_V6ONLY, 0, true, false, "cannot clear IPV6_V6ONLY on the listening socket"},
    {IPPROTO_TCP, TCP_NODELAY, 1, false, false, "cannot set TCP_NODELAY on the listening socket"},
};

static int set_options(int fd, bool v6, bool reuse_port, const char **problem)
{
    for (size_t i = 0; i < sizeof OPTION_STEPS / sizeof *OPTION_STEPS; i++) {
        const struct option_step *step = &OPTION_STEPS[i];
        if ((step->only_v6 && !v6) || (step->only_reuse_port && !reuse_port))
            continue;
        if (setsockopt(fd, step->level, step->name, &step->value, sizeof step->value) != 0) {
            *problem = step->problem;
            return -errno;
        }
    }
    return 0;
}

static int bind_and_listen(int fd, const struct sockaddr *address, socklen_t size, int backlog, const char **problem)
{
    if (bind(fd, address, size) != 0) {
        *problem = "cannot bind the listening address (is another process listening there?)";
        return -errno;
    }
    if (listen(fd, backlog > 0 ? backlog : IO_BACKLOG_DEFAULT) != 0) {
        *problem = "cannot listen on the bound address";
        return -errno;
    }
    return 0;
}

int io_listen_socket(const struct sockaddr *address, socklen_t size, bool reuse_port, int backlog, const char **problem)
{
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        *problem = "cannot make a socket of that address family";
        return -errno;
    }
    int result = set_options(fd, address->sa_family == AF_INET6, reuse_port, problem);
    if (result == 0)
        result = bind_and_listen(fd, address, size, backlog, problem);
    if (result != 0) {
        close(fd);
        return result;
    }
    return fd;
}

bool io_address_unify(const struct sockaddr *address, struct sockaddr_in6 *unified)
{
    if (address->sa_family == AF_INET6) {
        memcpy(unified, address, sizeof *unified);
        return true;
    }
    if (address->sa_family != AF_INET)
        return false;
    struct sockaddr_in v4;
    memcpy(&v4, address, sizeof v4);
    *unified = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = v4.sin_port};
    unified->sin6_addr.s6_addr[10] = 0xff;
    unified->sin6_addr.s6_addr[11] = 0xff;
    memcpy(&unified->sin6_addr.s6_addr[12], &v4.sin_addr, sizeof v4.sin_addr);
    return true;
}

int io_bound_address(int socket, struct sockaddr_in6 *address)
{
    struct sockaddr_storage bound = {0};
    socklen_t size = sizeof bound;
    if (getsockname(socket, (struct sockaddr *)&bound, &size) != 0)
        return -errno;
    return io_address_unify((struct sockaddr *)&bound, address) ? 0 : -EAFNOSUPPORT;
}
