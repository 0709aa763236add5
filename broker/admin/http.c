/*
 * http: who may ask the admin port, what for, and how it is answered.
 *
 * Guards, in this order:
 *   Host            without a token: an address or "localhost". A page whose name was rebound to this host sends its
 * name. Authorization   with a token: Bearer and just that, but for health, readiness and the page itself (which asks
 * for it). Shoal-Admin     levers: any value. A page of another origin can't send the header without a preflight, which
 *                   is never allowed here. An Origin other than the Host's is refused, too.
 *
 * Bodies of requests are read and forgotten: no lever takes one.
 */
#include <arpa/inet.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "admin/routes.h"
#include "base/check.h"

enum route_flags {
    ROUTE_OPEN = 1 << 0,  /* needs no token */
    ROUTE_LEVER = 1 << 1, /* changes something: POST */
    ROUTE_MORE = 1 << 2,  /* the path is a beginning: something follows */
};

struct route {
    const char *path;
    int flags;
    void (*answer)(struct request *request, const char *rest);
};

static const struct route routes[] = {
    {"/", ROUTE_OPEN, page_answer},
    {"/healthz", ROUTE_OPEN, report_health},
    {"/readyz", ROUTE_OPEN, report_readiness},
    {"/metrics", 0, metrics_answer},
    {"/v1/version", 0, report_version},
    {"/v1/stats", 0, report_stats},
    {"/v1/shards", 0, report_shards},
    {"/v1/cluster", 0, federation_cluster},
    {"/v1/topics", 0, listing_topics},
    {"/v1/topics/", ROUTE_MORE, listing_topic},
    {"/v1/filters", 0, listing_filters},
    {"/v1/connections", 0, listing_connections},
    {"/v1/connections/", ROUTE_MORE | ROUTE_LEVER, lever_kick},
    {"/v1/drain", ROUTE_LEVER, lever_drain},
};

/* --- answers --- */

void request_answer_json(struct request *request, int status, json_t *body)
{
    static char failed[] =
        "{\"error\":{\"code\":\"internal\",\"message\":\"The answer could not be made.\",\"retry\":true}}";
    request->body = body ? json_dumps(body, JSON_COMPACT) : NULL;
    if (!request->body) {
        request->body = failed;
        request->body_is_static = true;
        status = MHD_HTTP_INTERNAL_SERVER_ERROR;
    }
    json_decref(body);
    request->body_size = strlen(request->body);
    request->content_type = "application/json";
    request->status = status;
    request->answered = true;
}

void request_answer_problem(struct request *request, int status, const char *code, const char *message, bool retry)
{
    request_answer_json(request, status,
                        json_pack("{s:{s:s, s:s, s:b}}", "error", "code", code, "message", message, "retry", retry));
}

/* What keeps the page to itself: its own script and style, and whatever broker it is told to talk to. */
static const char page_policy[] = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
                                  "img-src data:; connect-src * ws: wss:; frame-ancestors 'none'; base-uri 'none'";

static enum MHD_Result queue(struct request *request)
{
    bool is_static = request->body_is_static;
    struct MHD_Response *response = MHD_create_response_from_buffer(
        request->body_size, request->body, is_static ? MHD_RESPMEM_PERSISTENT : MHD_RESPMEM_MUST_FREE);
    if (!response) {
        return MHD_NO; /* no memory: the connection is closed */
    }
    request->body = NULL;
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, request->content_type);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(response, "Content-Security-Policy", page_policy);
    if (request->status == MHD_HTTP_UNAUTHORIZED) {
        MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
    }
    if (request->status == MHD_HTTP_METHOD_NOT_ALLOWED) {
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD, POST");
    }
    enum MHD_Result result = MHD_queue_response(request->connection, (unsigned)request->status, response);
    MHD_destroy_response(response);
    return result;
}

/* --- guards --- */

static const char *header(const struct request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

/* "127.0.0.1:7071", "[::1]", "localhost:7071": not a name that somebody else's DNS decides on. */
static bool host_is_literal(const char *host)
{
    char name[64];
    const char *end = host[0] == '[' ? strchr(host, ']') : host + strcspn(host, ":");
    const char *begin = host[0] == '[' ? host + 1 : host;
    if (!end || (size_t)(end - begin) >= sizeof name) {
        return false;
    }
    memcpy(name, begin, (size_t)(end - begin));
    name[end - begin] = 0;
    struct in6_addr address;
    return strcasecmp(name, "localhost") == 0 || inet_pton(AF_INET, name, &address) == 1 ||
           inet_pton(AF_INET6, name, &address) == 1;
}

static bool token_fits(const struct admin *admin, const char *authorization)
{
    static const char scheme[] = "Bearer ";
    const size_t scheme_size = sizeof scheme - 1;
    if (!authorization || strncasecmp(authorization, scheme, scheme_size) != 0) {
        return false;
    }
    const char *token = authorization + scheme_size;
    return strlen(token) == admin->token_size && CRYPTO_memcmp(token, admin->token, admin->token_size) == 0;
}

/* "http://127.0.0.1:7071" is of the host "127.0.0.1:7071". */
static bool origin_fits(const char *origin, const char *host)
{
    const char *after = strstr(origin, "://");
    return after && host && strcasecmp(after + 3, host) == 0;
}

static bool may_ask(struct request *request, const struct route *route)
{
    const struct admin *admin = request->admin;
    const char *host = header(request, MHD_HTTP_HEADER_HOST);
    if (admin->token_size == 0 && host && !host_is_literal(host)) {
        request_answer_problem(request, MHD_HTTP_FORBIDDEN, "host_forbidden",
                               "Without admin.token_file this port is asked by address, or as localhost.", false);
        return false;
    }
    if (admin->token_size && !(route->flags & ROUTE_OPEN) &&
        !token_fits(admin, header(request, MHD_HTTP_HEADER_AUTHORIZATION))) {
        request_answer_problem(request, MHD_HTTP_UNAUTHORIZED, "token_required",
                               "Send the token of admin.token_file: Authorization: Bearer TOKEN.", false);
        return false;
    }
    const char *origin = header(request, "Origin");
    if ((route->flags & ROUTE_LEVER) && (!header(request, "Shoal-Admin") || (origin && !origin_fits(origin, host)))) {
        request_answer_problem(request, MHD_HTTP_FORBIDDEN, "header_required",
                               "What changes something needs the header Shoal-Admin: 1, from no other origin.", false);
        return false;
    }
    return true;
}

/* --- requests --- */

static bool method_fits(const struct route *route, const char *method)
{
    if (route->flags & ROUTE_LEVER) {
        return strcmp(method, MHD_HTTP_METHOD_POST) == 0;
    }
    return strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
}

static const struct route *route_of(const char *url)
{
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        size_t size = strlen(routes[i].path);
        bool more = routes[i].flags & ROUTE_MORE;
        if (more ? strncmp(url, routes[i].path, size) == 0 && url[size] : strcmp(url, routes[i].path) == 0) {
            return &routes[i];
        }
    }
    return NULL;
}

static void dispatch(struct request *request, const char *url, const char *method)
{
    const struct route *route = route_of(url);
    if (!route) {
        request_answer_problem(request, MHD_HTTP_NOT_FOUND, "not_found", "There is nothing at this path.", false);
    } else if (!method_fits(route, method)) {
        request_answer_problem(request, MHD_HTTP_METHOD_NOT_ALLOWED, "method_not_allowed",
                               route->flags & ROUTE_LEVER ? "This path takes POST." : "This path takes GET.", false);
    } else if (may_ask(request, route)) {
        route->answer(request, url + strlen(route->path));
    }
}

enum MHD_Result http_answer(void *admin, struct MHD_Connection *connection, const char *url, const char *method,
                            const char *version, const char *upload, size_t *upload_size, void **state)
{
    (void)version;
    (void)upload;
    struct request *request = *state;
    if (!request) { /* the head has come: the body, if any, comes with the next calls */
        request = calloc(1, sizeof *request);
        if (!request) {
            return MHD_NO;
        }
        request->admin = admin;
        request->connection = connection;
        *state = request;
        return MHD_YES;
    }
    if (*upload_size) {
        *upload_size = 0;
        return MHD_YES;
    }
    if (!request->answered) {
        dispatch(request, url, method);
    }
    return request->answered ? queue(request) : MHD_YES; /* not yet: it has a job, and is suspended */
}

void http_completed(void *admin, struct MHD_Connection *connection, void **state, enum MHD_RequestTerminationCode code)
{
    (void)code;
    visitor_was_served(admin, connection);
    struct request *request = *state;
    if (request) {
        if (!request->body_is_static) {
            free(request->body);
        }
        free(request);
        *state = NULL;
    }
}
