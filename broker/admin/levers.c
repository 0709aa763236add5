/* levers: what an operator changes by way of the admin port. See routes.h. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/routes.h"
#include "base/logger.h"

/* Digits, up to `most`, and the character behind them. */
static bool number_read(const char **at, uint32_t most, char end, uint32_t *number)
{
    if (**at < '0' || **at > '9') {
        return false;
    }
    char *behind;
    unsigned long long value = strtoull(*at, &behind, 10);
    if (value > most || *behind != end) {
        return false;
    }
    *number = (uint32_t)value;
    *at = behind + 1;
    return true;
}

static void kicked(struct job *job)
{
    const struct inspection *inspection = job->inspection;
    if (!inspection->found) {
        job_finish_problem(job, MHD_HTTP_NOT_FOUND, "no_such_connection", "That connection is not there any more.");
        return;
    }
    logger_write(LOG_INFO, "kicked", LOG_U64("shard", job->shard), LOG_U64("slot", inspection->number));
    job_finish(job, MHD_HTTP_OK, json_pack("{s:b}", "kicked", 1));
}

/* SHARD-SLOT-GENERATION/kick: the name that a connection's greeting tells as its session */
void lever_kick(struct request *request, const char *rest)
{
    uint32_t shard, slot, generation;
    const char *at = rest;
    if (!number_read(&at, request->admin->shard_count - 1, '-', &shard) || !number_read(&at, UINT32_MAX, '-', &slot) ||
        !number_read(&at, UINT16_MAX, '/', &generation) || strcmp(at, "kick") != 0) {
        request_answer_problem(request, MHD_HTTP_NOT_FOUND, "no_such_connection",
                               "A connection is named SHARD-SLOT-GENERATION, as /v1/connections lists it.", false);
        return;
    }
    struct job *job = job_create(request, INSPECT_KICK, kicked);
    if (job) {
        job->inspection->number = slot;
        job->inspection->generation = (uint16_t)generation;
        job_ask(job, shard);
    }
}

/* The same as SIGTERM: the control thread takes it from there. */
void lever_drain(struct request *request, const char *rest)
{
    (void)rest;
    uint64_t connections = 0;
    for (uint32_t i = 0; i < request->admin->shard_count; i++) {
        connections += STATS_READ(request->admin->broker.stats[i], connections);
    }
    admin_set_readiness(request->admin, ADMIN_DRAINING);
    logger_write(LOG_INFO, "drain_asked", LOG_STR("by", "admin"));
    request_answer_json(request, MHD_HTTP_ACCEPTED,
                        json_pack("{s:b, s:I}", "draining", 1, "connections", (json_int_t)connections));
    kill(getpid(), SIGTERM);
}
