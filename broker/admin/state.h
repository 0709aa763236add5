/*
 * state: what the files of the admin port share: the port itself, its requests, and its jobs.
 *
 * A request is one of HTTP. One that can't be answered at once has a job: that asks shards, one at a time, until it can
 * tell an answer. There are JOBS_MAX, so the shards never have more than these to look at; policy: 503 with retry.
 *
 *      FREE ──▶ SENDING (no room in the ring yet) ──▶ ASKED ──┬─ answered ──▶ SENDING again, or FREE
 *                                                             └─ too late ──▶ LATE ── the tell comes ──▶ FREE
 *
 * Thread: the admin port's.
 */
#ifndef SHOAL_ADMIN_STATE_H
#define SHOAL_ADMIN_STATE_H

#include <jansson.h>
#include <microhttpd.h>
#include <pthread.h>

#include "admin/admin.h"
#include "admin/inspection.h"

#define VISITORS_MAX     64 /* connections; more wait to be accepted */
#define VISITORS_EACH    32 /* of one address; more are closed */
#define JOBS_MAX         16
#define JOB_TIMEOUT_MS   5000
#define ADMIN_TOKEN_MAX  255
#define NODE_BYTES_MAX   255
#define ADMIN_REASON_MAX 192

struct request {
    struct admin *admin;
    struct MHD_Connection *connection;
    bool answered;
    int status;
    const char *content_type;
    char *body; /* from malloc() */
    size_t body_size;
    bool body_is_static;
};

/*
 * How long one request may take, from when the connection was accepted or the last answer had gone out to when the next
 * one has: else who sends a byte now and then would keep others out. Who is idle is closed before that.
 */
#define VISITOR_IDLE_MS    30000
#define VISITOR_REQUEST_MS 40000

struct visitor {
    bool here;
    int descriptor; /* the library's */
    int64_t since_ms;
};

enum job_state { JOB_FREE, JOB_SENDING, JOB_ASKED, JOB_LATE };

struct job {
    enum job_state state;
    struct request *request; /* SENDING, ASKED */
    struct inspection *inspection;
    uint32_t shard; /* that is asked */
    int64_t deadline_ms;
    void (*answered)(struct job *job); /* looks at the inspection, then job_ask() again or job_finish() */
    /* the listing's */
    json_t *body;
    json_t *list; /* within body */
    uint32_t wanted;
    int64_t page_until_ms;
};

struct admin {
    /* fixed after start */
    struct mesh *mesh;
    uint32_t shard_count;
    uint32_t peer;
    struct admin_broker broker;
    struct build_identity build;
    char node[NODE_BYTES_MAX + 1];
    char address[64];
    char namespaces[CONFIG_NAMESPACES_MAX][CONFIG_NAMESPACE_NAME_MAX + 1]; /* they keep their places when reloaded */
    char token[ADMIN_TOKEN_MAX + 1];
    size_t token_size;  /* 0: nobody needs it */
    int64_t started_ms; /* wall clock */
    int socket;
    int bell; /* eventfd */
    struct MHD_Daemon *daemon;
    pthread_t thread;
    bool running;
    /* the port's thread */
    struct visitor visitors[VISITORS_MAX];
    struct job jobs[JOBS_MAX];
    int64_t now_ms; /* monotonic, of this turn of the loop */
    bool resumed;   /* in this turn of the loop: the library has to be run for it */
    int64_t turns_looked_ms;
    uint64_t turns_seen[SHARDS_MAX];
    int64_t turned_ms[SHARDS_MAX]; /* when each shard was last seen to turn */
    /* written by others */
    _Atomic int readiness; /* enum admin_readiness */
    _Atomic bool stopping;
};

/* --- requests (http.c) --- */

enum MHD_Result http_answer(void *admin, struct MHD_Connection *connection, const char *url, const char *method,
                            const char *version, const char *upload, size_t *upload_size, void **request);
void http_completed(void *admin, struct MHD_Connection *connection, void **request,
                    enum MHD_RequestTerminationCode code);

/* --- connections (visitor.c) --- */

/* What the library calls when one comes and goes. */
void visitor_notice(void *admin, struct MHD_Connection *connection, void **state,
                    enum MHD_ConnectionNotificationCode what);
/* A request has ended. */
void visitor_was_served(struct admin *admin, struct MHD_Connection *connection);
/* Ends those that take too long. */
void visitors_turn(struct admin *admin);

/* The answer to a request: takes the JSON. NULL: 500, it could not be made. */
void request_answer_json(struct request *request, int status, json_t *body);
/* An error as all of Shoal's HTTP tells them. */
void request_answer_problem(struct request *request, int status, const char *code, const char *message, bool retry);

/* --- readiness (federation.c) --- */

/* "ready", or what it is instead; `why` is "" unless it is "federation". */
const char *admin_status(const struct admin *admin, char why[ADMIN_REASON_MAX]);
bool admin_is_ready(const struct admin *admin);

/* --- jobs (job.c) --- */

/* A job for the request, its inspection empty but for kind and peer. NULL: all are busy; the request is answered. */
struct job *job_create(struct request *request, enum inspect_kind kind, void (*answered)(struct job *job));
/* Asks the shard, at once or when its ring has room. The request is suspended with the first ask. */
void job_ask(struct job *job, uint32_t shard);
/* Answers the request, which goes on; the job is free. Takes the JSON. */
void job_finish(struct job *job, int status, json_t *body);
void job_finish_problem(struct job *job, int status, const char *code, const char *message);

/* Takes in what the shards have told, sends what waits, gives up what takes too long. True: something is under way. */
bool jobs_turn(struct admin *admin);
/* Answers all that is under way with 503: nothing is suspended any more. */
void jobs_abandon(struct admin *admin);
void jobs_free(struct admin *admin);

/* Whether all shards have turned within the last seconds. Counted by the port's loop. */
bool admin_is_alive(const struct admin *admin, uint32_t *stuck);

#endif
