/* redis_real: see redis_real.h. */
#include "redis_real.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"

static struct sockaddr_in address_of(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* A port that nobody has; somebody may take it before the server does, whereupon another is tried. */
static uint16_t free_port(void)
{
    int socket_number = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = address_of(0);
    socklen_t size = sizeof address;
    CHECK(bind(socket_number, (struct sockaddr *)&address, size) == 0);
    CHECK(getsockname(socket_number, (struct sockaddr *)&address, &size) == 0);
    close(socket_number);
    return ntohs(address.sin_port);
}

static void become_server(const struct redis_real *server)
{
    char port[8];
    snprintf(port, sizeof port, "%u", server->port);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (chdir(server->folder) == 0) {
        execlp("redis-server", "redis-server", "--bind", "127.0.0.1", "--port", port, "--save", "", "--daemonize", "no",
               "--stream-node-max-entries", "1", "--logfile", "log", (char *)NULL);
    }
    _exit(127);
}

static bool answers(const struct redis_real *server)
{
    int socket_number = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = address_of(server->port);
    bool there = connect(socket_number, (struct sockaddr *)&address, sizeof address) == 0;
    close(socket_number);
    return there;
}

/* False: it has ended instead. */
static bool wait_until_there(const struct redis_real *server)
{
    while (!answers(server)) {
        if (waitpid(server->process, NULL, WNOHANG) != 0) {
            return false;
        }
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    return true;
}

void redis_real_start(struct redis_real *server)
{
    *server = (struct redis_real){0};
    snprintf(server->folder, sizeof server->folder, "/tmp/shoal-redis-XXXXXX");
    CHECK(mkdtemp(server->folder));
    for (int tries = 0; tries < 5; tries++) {
        server->port = free_port();
        server->process = fork();
        CHECK(server->process >= 0);
        if (server->process == 0) {
            become_server(server);
        }
        if (wait_until_there(server)) {
            return;
        }
    }
    CHECK_MSG(false, "redis-server does not start: is it installed?");
}

void redis_real_stop(struct redis_real *server)
{
    char log[96];
    kill(server->process, SIGKILL);
    waitpid(server->process, NULL, 0);
    snprintf(log, sizeof log, "%s/log", server->folder);
    unlink(log);
    rmdir(server->folder);
}
