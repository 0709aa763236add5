/* redis_tls: see redis_tls.h. */
#include "cluster/redis_tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct redis_tls {
    SSL_CTX *context;
};

struct tls_session {
    SSL *ssl;
    char problem[120];
};

/* --- what all sessions share --- */

/* OpenSSL does not tell a file that it can't open from one that it can't use. */
static bool missed(const char *path)
{
    FILE *file = path[0] ? fopen(path, "re") : NULL;
    if (file) {
        fclose(file);
    }
    return path[0] && !file;
}

static const char *files_load(SSL_CTX *context, const struct redis_tls_files *files)
{
    if (missed(files->authorities)) {
        return "cluster.tls_ca: there is no such file, or it may not be read";
    }
    if (missed(files->certificate)) {
        return "cluster.tls_cert: there is no such file, or it may not be read";
    }
    if (missed(files->key)) {
        return "cluster.tls_key: there is no such file, or it may not be read";
    }
    if (files->authorities[0] ? SSL_CTX_load_verify_locations(context, files->authorities, NULL) != 1
                              : SSL_CTX_set_default_verify_paths(context) != 1) {
        return "cluster.tls_ca: not a file of certificates in PEM";
    }
    if (files->certificate[0] && SSL_CTX_use_certificate_chain_file(context, files->certificate) != 1) {
        return "cluster.tls_cert: not a certificate in PEM";
    }
    if (files->key[0] && (SSL_CTX_use_PrivateKey_file(context, files->key, SSL_FILETYPE_PEM) != 1 ||
                          SSL_CTX_check_private_key(context) != 1)) {
        return "cluster.tls_key: not the key of cluster.tls_cert in PEM";
    }
    return NULL;
}

struct redis_tls *redis_tls_create(const struct redis_tls_files *files, const char **problem)
{
    *problem = "no memory";
    struct redis_tls *tls = calloc(1, sizeof *tls);
    if (tls && (tls->context = SSL_CTX_new(TLS_client_method())) != NULL) {
        SSL_CTX_set_min_proto_version(tls->context, TLS1_2_VERSION);
        SSL_CTX_set_verify(tls->context, SSL_VERIFY_PEER, NULL);
        /* what is written waits in a buffer that may grow, and move, before it is written again */
        SSL_CTX_set_mode(tls->context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        *problem = files_load(tls->context, files);
        ERR_clear_error();
        if (!*problem) {
            return tls;
        }
    }
    redis_tls_destroy(tls);
    return NULL;
}

void redis_tls_destroy(struct redis_tls *tls)
{
    if (tls) {
        SSL_CTX_free(tls->context);
        free(tls);
    }
}

/* --- sessions --- */

/* Whom the certificate must name. */
static bool host_set(SSL *ssl, const char *host)
{
    struct in6_addr address;
    if (inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1) {
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    }
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

struct tls_session *tls_begin(struct redis_tls *tls, int socket, const char *host)
{
    struct tls_session *session = calloc(1, sizeof *session);
    if (!session) {
        return NULL;
    }
    session->ssl = SSL_new(tls->context);
    if (!session->ssl || !host_set(session->ssl, host) || SSL_set_fd(session->ssl, socket) != 1) {
        tls_end(session);
        return NULL;
    }
    SSL_set_connect_state(session->ssl);
    return session;
}

void tls_end(struct tls_session *session)
{
    SSL_free(session->ssl);
    free(session);
}

static void problem_note(struct tls_session *session, int error, int system)
{
    long verified = SSL_get_verify_result(session->ssl);
    unsigned long code = ERR_peek_last_error();
    const char *reason = verified != X509_V_OK        ? X509_verify_cert_error_string(verified)
                         : code                       ? ERR_reason_error_string(code)
                         : error != SSL_ERROR_SYSCALL ? "Server closed the connection"
                         : system                     ? strerror(system)
                                                      : "Server closed the connection";
    snprintf(session->problem, sizeof session->problem, "TLS: %s", reason ? reason : "failed");
}

static enum tls_result result_of(struct tls_session *session, int returned)
{
    int system = errno;
    if (returned == 1) {
        return TLS_DONE;
    }
    int error = SSL_get_error(session->ssl, returned);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
        return error == SSL_ERROR_WANT_READ ? TLS_READS : TLS_WRITES;
    }
    problem_note(session, error, system);
    ERR_clear_error();
    return TLS_FAILED;
}

enum tls_result tls_handshake(struct tls_session *session)
{
    ERR_clear_error();
    return result_of(session, SSL_do_handshake(session->ssl));
}

enum tls_result tls_read(struct tls_session *session, char *bytes, size_t size, size_t *count)
{
    ERR_clear_error();
    return result_of(session, SSL_read_ex(session->ssl, bytes, size, count));
}

enum tls_result tls_write(struct tls_session *session, const char *bytes, size_t size, size_t *count)
{
    ERR_clear_error();
    return result_of(session, SSL_write_ex(session->ssl, bytes, size, count));
}

const char *tls_problem(const struct tls_session *session)
{
    return session->problem;
}
