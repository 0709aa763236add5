/* redis_process: see redis_process.h. */
#include "redis_process.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"

static uint16_t free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(bind(listener, (struct sockaddr *)&address, size) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&address, &size) == 0);
    close(listener);
    return ntohs(address.sin_port);
}

void redis_process_init(struct redis_process *process)
{
    *process = (struct redis_process){.port = free_port()};
    snprintf(process->folder, sizeof process->folder, "/tmp/shoal-redis-XXXXXX");
    CHECK(mkdtemp(process->folder));
}

static void become(const char *const *words, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == parent) {
        execvp(words[0], (char **)words);
    }
    _exit(127);
}

static void become_redis(const struct redis_process *process, pid_t parent)
{
    char port[8];
    snprintf(port, sizeof port, "%u", process->port);
    const char *words[18 + REDIS_OPTIONS_MAX] = {"redis-server",
                                                 "--port",
                                                 port,
                                                 "--bind",
                                                 "127.0.0.1",
                                                 "--save",
                                                 "",
                                                 "--appendonly",
                                                 "no",
                                                 "--dir",
                                                 process->folder,
                                                 "--logfile",
                                                 "log",
                                                 "--repl-diskless-sync-delay",
                                                 "0"};
    size_t count = 15;
    for (size_t i = 0; i < REDIS_OPTIONS_MAX && process->options[i]; i++) {
        words[count++] = process->options[i];
    }
    become(words, parent);
}

static bool answers(const struct redis_process *process)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_port = htons(process->port)};
    int connection = socket(AF_INET, SOCK_STREAM, 0);
    char answer[8];
    bool answered = connect(connection, (struct sockaddr *)&address, sizeof address) == 0 &&
                    send(connection, "PING\r\n", 6, MSG_NOSIGNAL) == 6 &&
                    recv(connection, answer, sizeof answer, 0) > 0;
    close(connection);
    return answered;
}

static void wait_for_answer(const struct redis_process *process)
{
    while (!answers(process)) {
        CHECK_MSG(waitpid(process->pid, NULL, WNOHANG) == 0, "redis-server ended: see %s/log", process->folder);
        usleep(5000);
    }
}

void redis_process_start(struct redis_process *process)
{
    pid_t parent = getpid();
    process->pid = fork();
    CHECK(process->pid >= 0);
    if (process->pid == 0) {
        become_redis(process, parent);
    }
    wait_for_answer(process);
}

/* A sentinel writes what it learns into its configuration, so that has to be a file. */
static void write_sentinel(const struct redis_process *process, const char *path, uint16_t master, const char *further)
{
    FILE *file = fopen(path, "w");
    CHECK(file);
    fprintf(file,
            "port %u\nbind 127.0.0.1\ndir %s\nlogfile log\n"
            "sentinel monitor mymaster 127.0.0.1 %u 1\n"
            "sentinel down-after-milliseconds mymaster 1500\n"
            "sentinel failover-timeout mymaster 3000\n%s",
            process->port, process->folder, master, further);
    CHECK(fclose(file) == 0);
}

void redis_process_start_sentinel(struct redis_process *process, const struct redis_process *master,
                                  const char *further)
{
    char path[sizeof process->folder + sizeof "/sentinel"];
    snprintf(path, sizeof path, "%s/sentinel", process->folder);
    write_sentinel(process, path, master->port, further);
    pid_t parent = getpid();
    process->pid = fork();
    CHECK(process->pid >= 0);
    if (process->pid == 0) {
        become((const char *[]){"redis-server", path, "--sentinel", NULL}, parent);
    }
    wait_for_answer(process);
}

void redis_process_signal(const struct redis_process *process, int signal)
{
    CHECK(kill(process->pid, signal) == 0);
}

void redis_process_kill(struct redis_process *process)
{
    redis_process_signal(process, SIGKILL);
    CHECK(waitpid(process->pid, NULL, 0) == process->pid);
    process->pid = 0;
}

void redis_process_free(struct redis_process *process)
{
    if (process->pid) {
        redis_process_kill(process);
    }
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", process->folder);
    CHECK(system(command) == 0);
}

bool redis_process_ask(const struct redis_process *process, const char *arguments, char *answer, size_t size)
{
    char command[512];
    snprintf(command, sizeof command, "redis-cli -h 127.0.0.1 -p %u --no-auth-warning %s", process->port, arguments);
    FILE *pipe = popen(command, "r");
    CHECK(pipe);
    size_t used = fread(answer, 1, size - 1, pipe);
    answer[used] = 0;
    if (used && answer[used - 1] == '\n') {
        answer[used - 1] = 0;
    }
    return pclose(pipe) == 0;
}

void redis_process_say(const struct redis_process *process, const char *arguments, char *answer, size_t size)
{
    CHECK_MSG(redis_process_ask(process, arguments, answer, size), "redis-cli %s: %s", arguments, answer);
}
