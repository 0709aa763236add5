/* job: asks of a request to the shards, one after the other. See state.h. */
#include <stdlib.h>

#include "admin/state.h"
#include "base/check.h"

struct job *job_create(struct request *request, enum inspect_kind kind, void (*answered)(struct job *job))
{
    struct admin *admin = request->admin;
    if (atomic_load_explicit(&admin->stopping, memory_order_relaxed)) {
        request_answer_problem(request, MHD_HTTP_SERVICE_UNAVAILABLE, "busy", "The broker is stopping.", true);
        return NULL; /* nobody would resume it */
    }
    for (struct job *job = admin->jobs; job < admin->jobs + JOBS_MAX; job++) {
        if (job->state != JOB_FREE) {
            continue;
        }
        struct inspection *inspection = job->inspection ? job->inspection : malloc(sizeof *inspection);
        if (!inspection) {
            break;
        }
        *job = (struct job){.inspection = inspection, .request = request, .answered = answered};
        inspection->kind = kind;
        inspection->peer = admin->peer;
        inspection->after = 0;
        inspection->limit = INSPECT_RECORDS_MAX;
        return job;
    }
    request_answer_problem(request, MHD_HTTP_SERVICE_UNAVAILABLE, "busy", "Too many listings at a time: try again.",
                           true);
    return NULL;
}

static void ask_send(struct admin *admin, struct job *job)
{
    struct envelope ask = {.kind = ASK_INSPECT, .inspection = job->inspection};
    job->state = mesh_ask(admin->mesh, admin->peer, job->shard, &ask) ? JOB_ASKED : JOB_SENDING;
}

void job_ask(struct job *job, uint32_t shard)
{
    struct admin *admin = job->request->admin;
    if (job->state == JOB_FREE) {
        MHD_suspend_connection(job->request->connection);
        job->deadline_ms = admin->now_ms + JOB_TIMEOUT_MS;
    }
    job->shard = shard;
    ask_send(admin, job);
}

/* The request goes on, answered. */
static void let_go(struct job *job, enum job_state next)
{
    MHD_resume_connection(job->request->connection);
    job->request->admin->resumed = true;
    json_decref(job->body);
    job->body = NULL;
    job->list = NULL;
    job->request = NULL;
    job->state = next;
}

void job_finish(struct job *job, int status, json_t *body)
{
    request_answer_json(job->request, status, body);
    let_go(job, JOB_FREE);
}

void job_finish_problem(struct job *job, int status, const char *code, const char *message)
{
    request_answer_problem(job->request, status, code, message, false);
    let_go(job, JOB_FREE);
}

static void job_answered(struct admin *admin, const struct inspection *inspection)
{
    for (struct job *job = admin->jobs; job < admin->jobs + JOBS_MAX; job++) {
        if (job->inspection != inspection) {
            continue;
        }
        CHECK(job->state == JOB_ASKED || job->state == JOB_LATE);
        if (job->state == JOB_LATE) {
            job->state = JOB_FREE;
        } else {
            job->answered(job);
        }
        return;
    }
    UNREACHABLE();
}

static void take_tells(struct admin *admin)
{
    struct mesh_peers senders = mesh_look(admin->mesh, admin->peer);
    for (uint32_t shard = mesh_peers_next(&senders, 0); shard < PEERS_MAX;
         shard = mesh_peers_next(&senders, shard + 1)) {
        struct spsc *ring = mesh_tells(admin->mesh, shard, admin->peer);
        const struct envelope *tell;
        while ((tell = spsc_peek(ring)) != NULL) {
            CHECK(tell->kind == TELL_INSPECTED);
            const struct inspection *inspection = tell->inspection;
            spsc_pop(ring);
            job_answered(admin, inspection);
        }
    }
    mesh_settle(admin->mesh, admin->peer, &senders);
}

static void give_up(struct job *job, int status, const char *message)
{
    request_answer_problem(job->request, status, "busy", message, true);
    let_go(job, job->state == JOB_ASKED ? JOB_LATE : JOB_FREE);
}

bool jobs_turn(struct admin *admin)
{
    bool busy = false;
    take_tells(admin);
    for (struct job *job = admin->jobs; job < admin->jobs + JOBS_MAX; job++) {
        if (job->state == JOB_SENDING) {
            ask_send(admin, job);
        }
        if ((job->state == JOB_SENDING || job->state == JOB_ASKED) && admin->now_ms >= job->deadline_ms) {
            give_up(job, MHD_HTTP_GATEWAY_TIMEOUT, "A shard did not answer in time: look at /healthz.");
        }
        busy |= job->state != JOB_FREE;
    }
    mesh_ring_bells(admin->mesh, admin->peer);
    return busy;
}

void jobs_abandon(struct admin *admin)
{
    for (struct job *job = admin->jobs; job < admin->jobs + JOBS_MAX; job++) {
        if (job->state == JOB_SENDING || job->state == JOB_ASKED) {
            give_up(job, MHD_HTTP_SERVICE_UNAVAILABLE, "The broker is stopping.");
        }
    }
}

void jobs_free(struct admin *admin)
{
    for (struct job *job = admin->jobs; job < admin->jobs + JOBS_MAX; job++) {
        free(job->inspection);
    }
}
