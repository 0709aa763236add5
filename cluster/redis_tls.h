/*
 * redis_tls: TLS for connections to Redis, by OpenSSL over a socket that does not block.
 *
 * hiredis' own needs a library that Debian 12 does not have; and of hiredis only the reader is used, which takes bytes
 * from anywhere. So a connection that is connected gets a *session*, and is read and written by it:
 *
 *   tls_begin() ── tls_handshake() until TLS_DONE ── tls_read(), tls_write() … ── tls_end()
 *
 * TLS 1.2 or later. The server's certificate must lead to a known authority, and name the host as it is written in
 * the URL (or as a sentinel or the cluster has named it): a name, or an address. There is no way to look away.
 *
 * Thread: the link's; redis_tls_create() and _destroy() before and after it.
 */
#ifndef SHOAL_CLUSTER_REDIS_TLS_H
#define SHOAL_CLUSTER_REDIS_TLS_H

#include <stddef.h>

struct redis_tls;
struct tls_session;

/* PEM files; "": none. */
struct redis_tls_files {
    const char *authorities; /* "": those of the system */
    const char *certificate; /* of this client, with what leads to its authority */
    const char *key;         /* of that */
};

/* NULL: *problem says why, a literal. Gives it. */
struct redis_tls *redis_tls_create(const struct redis_tls_files *files, const char **problem);
/* After its sessions. NULL is allowed. */
void redis_tls_destroy(struct redis_tls *tls);

enum tls_result {
    TLS_DONE,
    TLS_READS,  /* to be called again when the socket is readable */
    TLS_WRITES, /* … writable */
    TLS_FAILED, /* tls_problem(); the other end closed it, or it was cut, or is not who it should be */
};

/* Over a connected socket, which stays the caller's. NULL: no memory. Gives it. */
struct tls_session *tls_begin(struct redis_tls *tls, int socket, const char *host);
void tls_end(struct tls_session *session);

enum tls_result tls_handshake(struct tls_session *session);
/* TLS_DONE: *count bytes, at least one. */
enum tls_result tls_read(struct tls_session *session, char *bytes, size_t size, size_t *count);
/* The same; not all may have been written. */
enum tls_result tls_write(struct tls_session *session, const char *bytes, size_t size, size_t *count);

/* For people, valid until the next call. */
const char *tls_problem(const struct tls_session *session);

#endif
