/*
 * listen: makes the sockets that io_listen() takes, and reads the addresses of those who connect to them.
 *
 * What must hold for each accepted socket is set here, on the listening one, because they inherit it and io_uring's
 * direct descriptors cannot be asked for socket options one by one: TCP_NODELAY above all. (A broker coalesces its
 * messages itself; Nagle's algorithm would only make the lone one wait.)
 *
 * Thread: any. No state.
 */
#ifndef SHOAL_IO_LISTEN_H
#define SHOAL_IO_LISTEN_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

/* Connections that wait in the kernel: a storm's arrivals while a turn is long. The kernel cuts it to
 * net.core.somaxconn. */
#define IO_BACKLOG_DEFAULT 65535

/*
 * A listening, non-blocking socket on that address (IPv4, IPv6 with IPv4 mapped into it). `reuse_port` lets each shard
 * have its own on the same port, among which the kernel spreads connections. Gives the descriptor to the caller.
 * Negative: -errno, and *problem (static text) says which step was refused.
 */
int io_listen_socket(const struct sockaddr *address, socklen_t size, bool reuse_port, int backlog,
                     const char **problem);

/* The address that a socket is bound to, IPv4 as mapped IPv6: what port was given for 0. 0 or -errno. */
int io_bound_address(int socket, struct sockaddr_in6 *address);

/* IPv4 as mapped IPv6, IPv6 as it is. False: of another family. */
bool io_address_unify(const struct sockaddr *address, struct sockaddr_in6 *unified);

#endif
